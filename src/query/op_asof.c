/* SPDX-License-Identifier: Apache-2.0
 *
 * asof join: each left row with the last right row of the same key at or before its ts. Both tables
 * come in order of ts and are merged; of the right one only the last row of each key is kept.
 * Rows without an earlier one keep nulls.
 */
#include "query/emit.h"
#include "query/join.h"
#include "query/keyed.h"

struct side {
    const struct kp_batch *batch; /* NULL before the first */
    uint32_t at;
    kp_time newest;
    bool ended;
};

struct asof_op {
    struct kpi_sides_op sides;
    struct kpi_join join;
    struct side left, right;
    struct kpi_eval right_eval; /* keys of the right batch outlive left batches */
    struct kpi_keyed latest;    /* needed columns of the right table, then its keys */
    const struct kp_vec **vecs; /* of the right batch */
    const struct kp_vec *keys[KPI_ARGS_MAX];
    struct kpi_emit emit;
};

static kp_status asof_open(struct kpi_op *base)
{
    struct asof_op *op = (struct asof_op *)base;
    struct kpi_op *right = op->join.inputs[1];
    struct kpi_ctx *ctx = &base->run->ctx;
    uint32_t cols = right->schema.count + op->join.keys_count;
    enum kp_type *types = kpi_new(ctx, cols, sizeof(*types));
    bool *keep = kpi_new(ctx, cols, sizeof(*keep));
    op->vecs = kpi_new(ctx, cols, sizeof(*op->vecs));
    if (op->vecs == NULL || !kpi_join_prepare(ctx, &op->join))
        return ctx->status;
    for (uint32_t c = 0; c < cols; c++) {
        bool key = c >= right->schema.count;
        types[c] =
            key ? op->join.keys[1][c - right->schema.count]->type : right->schema.fields[c].type;
        keep[c] = key || right->need[c];
    }
    kpi_keyed_init(&op->latest, ctx, types, keep, cols, op->join.keys_count);
    op->right_eval.ctx = ctx;
    op->left.newest = op->right.newest = KP_TIME_MIN;
    return kpi_emit_open(base, &op->emit);
}

/* Makes sure the side has a row, or is at its end. */
static kp_status fill(struct asof_op *op, uint32_t which)
{
    struct side *side = which == 0 ? &op->left : &op->right;
    struct kpi_op *base = &op->sides.base;
    while (!side->ended && (side->batch == NULL || side->at == kp_batch_count(side->batch))) {
        kp_status status = kpi_op_next(op->join.inputs[which], &side->batch);
        side->at = 0;
        side->ended = status == KP_END;
        if (status == KP_END)
            return KP_OK;
        if (status != KP_OK)
            return status;
        base->run->arena.owner = base->class->name;
        struct kpi_eval *eval = which == 0 ? &base->eval : &op->right_eval;
        kpi_eval_begin(eval);
        uint32_t cols = op->join.inputs[1]->schema.count;
        for (uint32_t c = 0; which == 1 && c < cols; c++)
            op->vecs[c] = &side->batch->cols[c];
        kpi_join_keys(&op->join, which, side->batch, eval, which == 0 ? op->keys : op->vecs + cols);
    }
    return base->run->ctx.status;
}

/* ts of the side's row; its order is checked. A row without ts takes that of the one before. */
static kp_status time_of(struct asof_op *op, uint32_t which, kp_time *out)
{
    struct side *side = which == 0 ? &op->left : &op->right;
    struct kpi_op *base = &op->sides.base;
    uint32_t row = kp_batch_row(side->batch, side->at);
    const struct kp_vec *vec = &side->batch->cols[op->join.ts[which]];
    *out = kp_vec_null(vec, row) ? side->newest : vec->i64[row];
    if (*out < side->newest) {
        kpi_fail(&base->run->ctx, KP_INVALID, base->place,
                 "asof join needs both tables in order of ts, and the %s one is not",
                 which == 0 ? "left" : "right");
        kpi_hint(&base->run->ctx, "add | sort by ts asc before it");
        return KP_INVALID;
    }
    side->newest = *out;
    return KP_OK;
}

static kp_status keep_right(struct asof_op *op)
{
    uint32_t row = kp_batch_row(op->right.batch, op->right.at++);
    const struct kp_vec *const *keys = op->vecs + op->latest.keys_at;
    if (kpi_keyed_null(keys, op->join.keys_count, row))
        return KP_OK;
    uint32_t found = kpi_keyed_find(&op->latest, keys, row);
    if (found != 0)
        kpi_rowset_put(&op->latest.rows, found - 1, op->vecs, row);
    else
        kpi_keyed_add(&op->latest, op->vecs, row);
    return op->sides.base.run->ctx.status;
}

/* Takes over every right row at or before t. */
static kp_status advance_right(struct asof_op *op, kp_time t)
{
    for (;;) {
        kp_time at;
        kp_status status = fill(op, 1);
        if (status != KP_OK || op->right.ended)
            return status;
        status = time_of(op, 1, &at);
        if (status != KP_OK)
            return status;
        if (at > t) { /* looked at again for the next left row */
            return KP_OK;
        }
        status = keep_right(op);
        if (status != KP_OK)
            return status;
    }
}

static void emit(struct asof_op *op, uint32_t row)
{
    bool null = kpi_keyed_null(op->keys, op->join.keys_count, row);
    uint32_t found = null ? 0 : kpi_keyed_find(&op->latest, op->keys, row);
    for (uint32_t i = 0; i < op->join.outputs_count; i++) {
        const struct kpi_join_output *output = &op->join.outputs[i];
        if (!op->sides.base.need[i])
            continue;
        if (output->side == 0)
            kpi_emit_copy(&op->emit, i, &op->left.batch->cols[output->column], row);
        else if (found == 0)
            kpi_emit_null(&op->emit, i);
        else
            kpi_emit_copy(&op->emit, i, kpi_rowset_vec(&op->latest.rows, found - 1, output->column),
                          (found - 1) & 1023);
    }
    kpi_emit_row(&op->emit);
}

static kp_status asof_next(struct kpi_op *base, const struct kp_batch **out)
{
    struct asof_op *op = (struct asof_op *)base;
    kpi_emit_begin(&op->emit);
    kp_status status = fill(op, 0);
    if (status != KP_OK)
        return status;
    if (op->left.ended)
        return KP_END;
    for (; op->left.at < kp_batch_count(op->left.batch) && !kpi_emit_full(&op->emit);
         op->left.at++) {
        kp_time t;
        status = time_of(op, 0, &t);
        if (status == KP_OK)
            status = advance_right(op, t);
        if (status != KP_OK)
            return status;
        emit(op, kp_batch_row(op->left.batch, op->left.at));
    }
    *out = &op->emit.batch;
    return base->run->ctx.status;
}

static void asof_need(struct kpi_op *base)
{
    kpi_join_need(base, &((struct asof_op *)base)->join);
}

static void asof_describe(const struct kpi_op *base, struct kp_buf *out)
{
    kpi_join_describe(&((const struct asof_op *)base)->join, out);
}

static const struct kpi_op_class asof_class = {"asof",    asof_open,     asof_next, NULL,
                                               asof_need, asof_describe, NULL};

struct kpi_op *kpi_op_asof(struct kpi_run *run, const struct kpi_join *join)
{
    struct asof_op *op =
        (struct asof_op *)kpi_op_new(run, &asof_class, sizeof(*op), NULL, join->outputs_count);
    if (op == NULL)
        return NULL;
    memcpy(kpi_op_fields(&op->sides.base), join->fields,
           join->outputs_count * sizeof(*join->fields));
    op->join = *join;
    op->sides.base.sides = true;
    op->sides.base.ordered_by = 0;
    op->sides.inputs = op->join.inputs;
    op->sides.inputs_count = 2;
    return &op->sides.base;
}
