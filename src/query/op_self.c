/* SPDX-License-Identifier: Apache-2.0
 *
 * self_time: whose time was it? Each nanosecond that the intervals of a key cover belongs to the
 * one of them that began last (of two that began together to the shorter, then to the later row),
 * so the shares of nested spans are what is left of them without their children, and the shares of
 * a key always sum to what the key covers.
 *
 * Why a stack: taken in order of their beginning, the interval that owns an instant is the last one
 * opened that has not ended; what ended below it is found when it comes to the top.
 */
#include <stdlib.h>

#include "query/keyed.h"
#include "query/spans.h"

struct owner {
    struct kpi_span span;
    uint32_t row;
};

struct self_op {
    struct kpi_op base;
    struct kpi_interval interval;
    struct kpi_keyed kept; /* columns, from, to, keys */
    const struct kp_vec **vecs;
    kp_dur *self; /* per kept row */
    bool done;
    uint32_t chunk;
    struct kp_vec *cols;
    struct kp_batch out;
};

static kp_status self_open(struct kpi_op *base)
{
    struct self_op *op = (struct self_op *)base;
    struct kpi_ctx *ctx = &base->run->ctx;
    uint32_t cols = base->input->schema.count, keys = op->interval.keys_count;
    enum kp_type *types = kpi_new(ctx, cols + 2 + keys, sizeof(*types));
    bool *keep = kpi_new(ctx, cols + 2 + keys, sizeof(*keep));
    op->vecs = kpi_new(ctx, cols + 2 + keys, sizeof(*op->vecs));
    op->cols = kpi_new(ctx, cols + 1, sizeof(*op->cols));
    if (ctx->status != KP_OK || !kpi_expr_prepare(ctx, op->interval.from, KP_VECTOR_ROWS) ||
        !kpi_expr_prepare(ctx, op->interval.to, KP_VECTOR_ROWS))
        return ctx->status;
    for (uint32_t c = 0; c < cols; c++) {
        types[c] = base->input->schema.fields[c].type;
        keep[c] = base->need[c];
    }
    types[cols] = types[cols + 1] = KP_TYPE_TIME;
    keep[cols] = keep[cols + 1] = true;
    for (uint32_t k = 0; k < keys; k++) {
        types[cols + 2 + k] = op->interval.keys[k]->type;
        keep[cols + 2 + k] = true;
        if (!kpi_expr_prepare(ctx, op->interval.keys[k], KP_VECTOR_ROWS))
            return ctx->status;
    }
    kpi_keyed_init(&op->kept, ctx, types, keep, cols + 2 + keys, keys);
    return ctx->status;
}

static bool keep_rows(struct self_op *op, const struct kp_batch *batch)
{
    struct kpi_op *base = &op->base;
    uint32_t cols = base->input->schema.count;
    kpi_eval_begin(&base->eval);
    for (uint32_t c = 0; c < cols; c++)
        op->vecs[c] = &batch->cols[c];
    op->vecs[cols] = kpi_expr_eval(op->interval.from, batch, &base->eval);
    op->vecs[cols + 1] = kpi_expr_eval(op->interval.to, batch, &base->eval);
    for (uint32_t k = 0; k < op->interval.keys_count; k++)
        op->vecs[cols + 2 + k] = kpi_expr_eval(op->interval.keys[k], batch, &base->eval);
    for (uint32_t i = 0; i < kp_batch_count(batch); i++) {
        uint32_t row = kp_batch_row(batch, i);
        bool part = !kpi_keyed_null(op->vecs + cols, 2, row) &&
                    op->vecs[cols]->i64[row] <= op->vecs[cols + 1]->i64[row];
        if (part && !kpi_keyed_add(&op->kept, op->vecs, row))
            return false;
    }
    return base->run->ctx.status == KP_OK;
}

/* --- whose time it is --- */

static int by_beginning(const void *left, const void *right)
{
    const struct owner *a = left, *b = right;
    if (a->span.from != b->span.from)
        return a->span.from < b->span.from ? -1 : 1;
    if (a->span.to != b->span.to)
        return a->span.to > b->span.to ? -1 : 1;
    return (a->row > b->row) - (a->row < b->row);
}

/* Gives the time from `now` to `until` to those on the stack; how many of them are left. */
static uint32_t give(struct self_op *op, const struct owner *owners, const uint32_t *stack,
                     uint32_t depth, kp_time now, kp_time until)
{
    while (depth > 0 && now < until) {
        const struct owner *top = &owners[stack[depth - 1]];
        if (top->span.to > now) {
            kp_time end = KP_MIN(top->span.to, until);
            if (__builtin_add_overflow(op->self[top->row], end - now, &op->self[top->row]))
                op->self[top->row] = INT64_MAX;
            now = end;
        }
        depth -= top->span.to <= until;
    }
    return depth;
}

static void share(struct self_op *op, struct owner *owners, uint32_t count, uint32_t *stack)
{
    uint32_t depth = 0;
    qsort(owners, count, sizeof(*owners), by_beginning);
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0)
            depth = give(op, owners, stack, depth, owners[i - 1].span.from, owners[i].span.from);
        stack[depth++] = i;
    }
    if (count > 0)
        give(op, owners, stack, depth, owners[count - 1].span.from, KP_TIME_MAX);
}

static kp_status share_all(struct self_op *op)
{
    struct kpi_ctx *ctx = &op->base.run->ctx;
    uint32_t rows = op->kept.rows.rows, from = op->base.input->schema.count;
    struct owner *owners = kpi_new(ctx, rows, sizeof(*owners));
    uint32_t *stack = kpi_new(ctx, rows, sizeof(*stack));
    op->self = kpi_new(ctx, ((size_t)rows | 1023) + 1, sizeof(*op->self));
    for (uint32_t slot = 0; ctx->status == KP_OK && slot < op->kept.capacity; slot++) {
        uint32_t count = 0;
        for (uint32_t at = op->kept.slots[slot]; at != 0; at = kpi_keyed_next(&op->kept, at - 1)) {
            const struct kp_vec *vecs = kpi_rowset_vec(&op->kept.rows, at - 1, from);
            uint32_t i = (at - 1) & 1023;
            owners[count++] = (struct owner){{vecs[0].i64[i], vecs[1].i64[i]}, at - 1};
        }
        share(op, owners, count, stack);
        if (kpi_run_check(op->base.run) != KP_OK)
            break;
    }
    return ctx->status;
}

static kp_status build(struct self_op *op)
{
    const struct kp_batch *batch;
    kp_status status;
    while ((status = kpi_op_next(op->base.input, &batch)) == KP_OK) {
        if (!keep_rows(op, batch))
            return op->base.run->ctx.status;
    }
    op->done = true;
    return status == KP_END ? share_all(op) : status;
}

static kp_status self_next(struct kpi_op *base, const struct kp_batch **out)
{
    struct self_op *op = (struct self_op *)base;
    uint32_t cols = base->input->schema.count;
    struct kp_vec *kept;
    kp_status status = op->done ? KP_OK : build(op);
    if (status != KP_OK)
        return status;
    uint32_t rows = kpi_rowset_chunk(&op->kept.rows, op->chunk, &kept);
    if (rows == 0)
        return KP_END;
    memcpy(op->cols, kept, cols * sizeof(*kept));
    op->cols[cols] = (struct kp_vec){.type = KP_TYPE_DUR, .i64 = op->self + op->chunk * 1024};
    op->chunk++;
    op->out = (struct kp_batch){.cols = op->cols, .cols_count = cols + 1, .rows = rows};
    *out = &op->out;
    return KP_OK;
}

static void self_need(struct kpi_op *base)
{
    for (uint32_t c = 0; c < base->input->schema.count; c++)
        base->input->need[c] |= base->need[c];
    kpi_interval_need(&((struct self_op *)base)->interval, base->input->need);
}

static const struct kpi_op_class self_class = {"self_time", self_open, self_next, NULL,
                                               self_need,   NULL,      NULL};

struct kpi_op *kpi_op_self(struct kpi_op *input, const struct kpi_interval *interval,
                           struct kp_str name)
{
    uint32_t cols = input->schema.count;
    struct self_op *op =
        (struct self_op *)kpi_op_new(input->run, &self_class, sizeof(*op), input, cols + 1);
    if (op == NULL)
        return NULL;
    memcpy(kpi_op_fields(&op->base), input->schema.fields, cols * sizeof(struct kp_field));
    kpi_op_fields(&op->base)[cols] = (struct kp_field){name, KP_TYPE_DUR, KP_UNIT_NS};
    op->interval = *interval;
    return &op->base;
}
