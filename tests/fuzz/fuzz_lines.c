/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as line protocol: spans and refusals that add up to the lines there are. */
#include "fuzz_store.h"
#include "ingest/ingest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kp_otlp_result result = {0};
    struct kp_error err = {0};
    struct kp_str body = {(const char *)data, (uint32_t)size};
    uint64_t lines = 1;
    if (size > 64 * 1024)
        return 0;
    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n';
    kp_status status = kp_span_lines(fuzz_store(), NULL, body, KP_MS, &result, &err);
    kp_assert(status == KP_OK || err.text[0] != '\0');
    kp_assert(result.spans + result.rejected + result.duplicates <= lines);
    kp_assert((result.message[0] != '\0') == (result.rejected + result.warnings > 0));
    kp_assert(result.spans == 0 || result.ticket != 0);
    return 0;
}
