/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as the bodies that the server itself takes apart: the JSON of a Flux query, and gzip,
 * whose size is bounded whatever it promises. */
#include "base/assert.h"
#include "server/flux.h"
#include "server/gzip.h"
#include "server/server_int.h"

#define MOST 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The query as a call of Flux. */
static void translate(struct kp_str text)
{
    struct kpi_inquiry inquiry = {0};
    struct kp_error err = {0};
    kp_status status = KP_OK;
    if (kpi_flux_call(text, &inquiry, &status, &err))
        kp_assert(status == KP_OK || err.text[0] != '\0');
    kp_buf_deinit(&inquiry.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kp_str body = {(const char *)data, (uint32_t)size};
    struct kp_buf text = {0}, plain = {0};
    struct kp_error err = {0};
    struct kpi_dialect dialect = {.delimiter = ',', .comment = '#'};
    if (kpi_flux_read(body, &text, &dialect, &err) == KP_OK)
        kp_assert(text.size <= size && dialect.delimiter != '"' && dialect.comment != '"');
    else
        kp_assert(err.text[0] != '\0');
    translate((struct kp_str){kp_buf_cstr(&text), (uint32_t)text.size});
    err = (struct kp_error){0};
    kp_status status = kpi_gunzip(body, MOST, &plain, &err);
    kp_assert(status == KP_OK || err.text[0] != '\0');
    kp_assert(status != KP_OK || plain.size <= MOST);
    kp_buf_deinit(&text);
    kp_buf_deinit(&plain);
    return 0;
}
