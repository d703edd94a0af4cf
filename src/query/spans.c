/* SPDX-License-Identifier: Apache-2.0
 *
 * Sets of intervals by key. Rows are kept as they come, then each key's are sorted and those that
 * touch are merged. Rows without an interval (a null, or an end before its beginning) are no part.
 */
#include "query/spans.h"

#include <stdlib.h>

kp_status kpi_spans_open(struct kpi_spans *spans, struct kpi_ctx *ctx,
                         const struct kpi_interval *interval)
{
    uint32_t cols = 2 + interval->keys_count;
    enum kp_type *types = kpi_new(ctx, cols, sizeof(*types));
    spans->interval = *interval;
    spans->vecs = kpi_new(ctx, cols, sizeof(*spans->vecs));
    if (types == NULL || spans->vecs == NULL ||
        !kpi_expr_prepare(ctx, interval->from, KP_VECTOR_ROWS) ||
        !kpi_expr_prepare(ctx, interval->to, KP_VECTOR_ROWS))
        return ctx->status;
    types[0] = types[1] = KP_TYPE_TIME;
    for (uint32_t k = 0; k < interval->keys_count; k++) {
        types[2 + k] = interval->keys[k]->type;
        if (!kpi_expr_prepare(ctx, interval->keys[k], KP_VECTOR_ROWS))
            return ctx->status;
    }
    kpi_keyed_init(&spans->rows, ctx, types, NULL, cols, interval->keys_count);
    return ctx->status;
}

static int by_from(const void *left, const void *right)
{
    const struct kpi_span *a = left, *b = right;
    if (a->from != b->from)
        return a->from < b->from ? -1 : 1;
    return (a->to > b->to) - (a->to < b->to);
}

static kp_time moved(kp_time t, kp_dur by)
{
    kp_time sum;
    if (__builtin_add_overflow(t, by, &sum))
        return by < 0 ? KP_TIME_MIN : KP_TIME_MAX;
    return sum;
}

/* The intervals of one key into spans[at...]; how many are left after merging. */
static uint32_t merge_chain(struct kpi_spans *spans, uint32_t first, uint32_t at, kp_dur margin)
{
    uint32_t count = 0, merged = 0;
    struct kpi_span *list = spans->spans + at;
    for (uint32_t row = first + 1; row != 0; row = kpi_keyed_next(&spans->rows, row - 1)) {
        uint32_t i = (row - 1) & 1023;
        kp_time from = kpi_rowset_vec(&spans->rows.rows, row - 1, 0)->i64[i];
        kp_time to = kpi_rowset_vec(&spans->rows.rows, row - 1, 1)->i64[i];
        list[count++] = (struct kpi_span){moved(from, -margin), moved(to, margin)};
    }
    qsort(list, count, sizeof(*list), by_from);
    for (uint32_t i = 1; i < count; i++) {
        if (list[i].from <= list[merged].to)
            list[merged].to = KP_MAX(list[merged].to, list[i].to);
        else
            list[++merged] = list[i];
    }
    return merged + 1;
}

static kp_status merge(struct kpi_spans *spans, kp_dur margin)
{
    uint32_t rows = spans->rows.rows.rows, at = 0;
    struct kpi_ctx *ctx = spans->rows.rows.ctx;
    spans->spans = kpi_new(ctx, rows, sizeof(*spans->spans));
    spans->first = kpi_new(ctx, rows, sizeof(*spans->first));
    spans->count = kpi_new(ctx, rows, sizeof(*spans->count));
    if (ctx->status != KP_OK)
        return ctx->status;
    for (uint32_t slot = 0; slot < spans->rows.capacity; slot++) {
        uint32_t first = spans->rows.slots[slot];
        if (first == 0)
            continue;
        spans->first[first - 1] = at;
        spans->count[first - 1] = merge_chain(spans, first - 1, at, margin);
        at += spans->count[first - 1];
    }
    return KP_OK;
}

kp_status kpi_spans_build(struct kpi_spans *spans, struct kpi_op *base, struct kpi_op *input,
                          kp_dur margin)
{
    const struct kpi_interval *interval = &spans->interval;
    const struct kp_batch *batch;
    kp_status status;
    while ((status = kpi_op_next(input, &batch)) == KP_OK) {
        base->run->arena.owner = base->class->name;
        kpi_eval_begin(&base->eval);
        spans->vecs[0] = kpi_expr_eval(interval->from, batch, &base->eval);
        spans->vecs[1] = kpi_expr_eval(interval->to, batch, &base->eval);
        for (uint32_t k = 0; k < interval->keys_count; k++)
            spans->vecs[2 + k] = kpi_expr_eval(interval->keys[k], batch, &base->eval);
        for (uint32_t i = 0; i < kp_batch_count(batch); i++) {
            uint32_t row = kp_batch_row(batch, i);
            bool part = !kpi_keyed_null(spans->vecs, 2, row) &&
                        spans->vecs[0]->i64[row] <= spans->vecs[1]->i64[row];
            if (part && !kpi_keyed_add(&spans->rows, spans->vecs, row))
                return base->run->ctx.status;
        }
    }
    return status == KP_END ? merge(spans, margin) : status;
}

void kpi_interval_need(const struct kpi_interval *interval, bool *need)
{
    kpi_expr_columns(interval->from, need);
    kpi_expr_columns(interval->to, need);
    for (uint32_t k = 0; k < interval->keys_count; k++)
        kpi_expr_columns(interval->keys[k], need);
}
