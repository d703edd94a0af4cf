/* SPDX-License-Identifier: Apache-2.0
 *
 * See asked.h.
 */
#include "asked.h"

static void put_row(const struct kp_batch *batch, uint32_t row, struct kp_buf *out)
{
    for (uint32_t c = 0; c < batch->cols_count; c++) {
        const struct kp_vec *vec = &batch->cols[c];
        if (kp_vec_null(vec, row))
            kp_buf_text(out, "null ");
        else if (kp_type_phys(vec->type) == KP_PHYS_STR)
            kp_buf_str(out, kp_vec_str(vec, row));
        else
            kp_buf_printf(out, "%lld ", (long long)vec->i64[row]);
    }
    kp_buf_char(out, '\n');
}

kp_status asked_text(struct kp_snapshot *snapshot, const char *question,
                     const struct kp_query_opts *opts, struct kp_buf *out,
                     struct kp_query_stat *out_stat, struct kp_error *err)
{
    struct kp_query *query = NULL;
    const struct kp_batch *batch;
    kp_status status = kp_query_open(snapshot, kp_str_from(question), opts, &query, err);
    while (status == KP_OK && (status = kp_query_next(query, &batch, err)) == KP_OK)
        for (uint32_t i = 0; i < kp_batch_count(batch); i++)
            put_row(batch, kp_batch_row(batch, i), out);
    if (status == KP_END && out_stat != NULL)
        kp_query_stat(query, out_stat);
    kp_query_close(query);
    return status;
}
