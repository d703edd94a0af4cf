/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes as a client of the query port sends them: first bytes, lines, statements over lines, and
 * each statement as InfluxQL; what comes out of the translation goes through the query parser too.
 */
#include "base/assert.h"
#include "query/query.h"
#include "server/influxql.h"
#include "server/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void translate(struct kp_str text)
{
    static const struct kp_query_opts opts = {.memory_bytes_max = 8 * 1024 * 1024,
                                              .timeout = 200 * KP_MS};
    struct kpi_inquiry inquiry = {0};
    struct kp_error err = {0};
    struct kp_query *query = NULL;
    kp_status status = kpi_influxql(text, &inquiry, &err);
    struct kp_str ours = {kp_buf_cstr(&inquiry.text), (uint32_t)inquiry.text.size};
    if (status == KP_OK && kp_query_open(NULL, ours, &opts, &query, &err) == KP_OK)
        kp_query_close(query);
    else
        kp_assert(err.text[0] != '\0'); /* a refusal says why */
    kp_buf_deinit(&inquiry.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kp_buf statement = {0}, error = {0};
    struct kpi_line line;
    if (size > 64 * 1024)
        return 0;
    kpi_sniff((struct kp_str){(const char *)data, (uint32_t)KP_MIN(size, KPI_SNIFF_BYTES)});
    for (size_t at = 0; at < size;) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        size_t next = end != NULL ? (size_t)(end - data) + 1 : size;
        kpi_line_read((struct kp_str){(const char *)data + at, (uint32_t)(next - at)}, &line);
        if (line.kind == KPI_LINE_WRONG)
            kpi_text_error(&line.err, &error);
        if (line.kind <= KPI_LINE_QUERY && kpi_statement_add(&statement, &line)) {
            translate((struct kp_str){kp_buf_cstr(&statement), (uint32_t)statement.size});
            kp_buf_clear(&statement);
        }
        at = next;
    }
    kp_buf_deinit(&statement);
    kp_buf_deinit(&error);
    return 0;
}
