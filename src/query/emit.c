/* SPDX-License-Identifier: Apache-2.0
 *
 * Batches filled row by row. Null sets are attached to a vector with its first null only.
 */
#include "query/emit.h"

kp_status kpi_emit_open(struct kpi_op *op, struct kpi_emit *out)
{
    struct kpi_ctx *ctx = &op->run->ctx;
    struct kpi_emit emit = {0};
    if (!kpi_op_batch(op, &emit.batch))
        return ctx->status;
    emit.nulls = kpi_new(ctx, op->schema.count, sizeof(*emit.nulls));
    for (uint32_t c = 0; c < op->schema.count && ctx->status == KP_OK; c++)
        if (op->need[c])
            kpi_vec_alloc(ctx, op->schema.fields[c].type, KP_VECTOR_ROWS, &emit.batch.cols[c],
                          &emit.nulls[c]);
    if (ctx->status == KP_OK)
        *out = emit;
    return ctx->status;
}

void kpi_emit_begin(struct kpi_emit *emit)
{
    emit->batch.rows = 0;
    for (uint32_t c = 0; c < emit->batch.cols_count; c++)
        emit->batch.cols[c].nulls = NULL;
}

static void mark_null(struct kpi_emit *emit, uint32_t col, uint32_t row)
{
    uint64_t *nulls = emit->nulls[col];
    if (emit->batch.cols[col].nulls == NULL)
        memset(nulls, 0, KPI_NULL_WORDS * sizeof(*nulls));
    emit->batch.cols[col].nulls = nulls;
    nulls[row >> 6] |= 1ull << (row & 63);
}

void kpi_emit_value(struct kpi_emit *emit, uint32_t col, struct kpi_value value)
{
    struct kp_vec *vec = &emit->batch.cols[col];
    uint32_t row = emit->batch.rows;
    if (emit->nulls[col] == NULL)
        return;
    kpi_vec_set(vec, row, &value);
    if (value.null && kp_type_phys(vec->type) != KP_PHYS_STR)
        mark_null(emit, col, row);
}

void kpi_emit_copy(struct kpi_emit *emit, uint32_t col, const struct kp_vec *from, uint32_t row)
{
    struct kp_vec *vec = &emit->batch.cols[col];
    uint32_t to = emit->batch.rows;
    if (emit->nulls[col] == NULL)
        return;
    if (kp_vec_null(from, row))
        kpi_emit_null(emit, col);
    else if (kp_type_phys(vec->type) == KP_PHYS_STR)
        vec->strs[to] = kp_vec_str(from, row);
    else if (kp_type_phys(vec->type) == KP_PHYS_I128)
        vec->i128[to] = from->i128[row];
    else
        vec->i64[to] = from->i64[row]; /* reals too: the bits are copied */
}

void kpi_emit_null(struct kpi_emit *emit, uint32_t col)
{
    struct kpi_value none = {.null = true};
    kpi_emit_value(emit, col, none);
}
