/* SPDX-License-Identifier: Apache-2.0
 *
 * asof join: each left row with the last right row of the same key at or before its ts. Both tables
 * come in order of ts and are merged; of the right one only the last row of each key is kept. Keys
 * of both are numbered batch by batch (groups.c), so a row of the merge is an index. Rows without
 * an earlier one keep nulls.
 */
#include "query/emit.h"
#include "query/groups.h"
#include "query/join.h"

struct side {
    const struct kp_batch *batch; /* NULL before the first */
    uint32_t at;
    kp_time newest;
    kp_time times[KP_VECTOR_ROWS]; /* of the rows of the batch ... */
    uint32_t ordered;              /* ... up to the first that is out of order */
    bool ended;
    struct kpi_eval eval;              /* keys of a batch outlive batches of the other side */
    const struct kp_vec **keys;        /* of the batch */
    bool null_keys;                    /* some key may be null */
    uint32_t group_of[KP_VECTOR_ROWS]; /* key number of its rows */
};

struct asof_op {
    struct kpi_sides_op sides;
    struct kpi_join join;
    struct side side[2];
    struct kpi_groups keys;
    struct kpi_rowset latest; /* of key number i: its last row; needed columns of the right table */
    bool *seen;               /* of key number i: there is one */
    uint32_t seen_capacity;
    const struct kp_vec **vecs; /* of the right batch */
    struct kpi_emit emit;
};

static kp_status asof_open(struct kpi_op *base)
{
    struct asof_op *op = (struct asof_op *)base;
    struct kpi_op *right = op->join.inputs[1];
    struct kpi_ctx *ctx = &base->run->ctx;
    uint32_t cols = right->schema.count;
    enum kp_type *types = kpi_new(ctx, cols, sizeof(*types));
    enum kp_type *key_types = kpi_new(ctx, op->join.keys_count, sizeof(*key_types));
    op->vecs = kpi_new(ctx, cols, sizeof(*op->vecs));
    if (types == NULL || key_types == NULL || !kpi_join_prepare(ctx, &op->join))
        return ctx->status;
    for (uint32_t c = 0; c < cols; c++)
        types[c] = right->schema.fields[c].type;
    for (uint32_t k = 0; k < op->join.keys_count; k++)
        key_types[k] = op->join.keys[1][k]->type;
    for (uint32_t i = 0; i < 2; i++) {
        op->side[i].newest = KP_TIME_MIN;
        op->side[i].eval.ctx = ctx;
        op->side[i].keys = kpi_new(ctx, op->join.keys_count, sizeof(*op->side[i].keys));
    }
    kpi_rowset_init(&op->latest, ctx, types, right->need, cols);
    if (ctx->status != KP_OK || !kpi_groups_init(&op->keys, ctx, key_types, op->join.keys_count))
        return ctx->status;
    return kpi_emit_open(base, &op->emit);
}

/* Room for the last row of each key met so far. */
static bool grow_latest(struct asof_op *op)
{
    uint32_t needed = op->keys.rows.rows;
    if (needed > op->seen_capacity) {
        uint32_t capacity = KP_MAX(needed, op->seen_capacity * 2);
        bool *seen = kpi_new(op->keys.ctx, capacity, sizeof(*seen));
        if (seen == NULL)
            return false;
        if (op->seen_capacity > 0)
            memcpy(seen, op->seen, op->seen_capacity * sizeof(*seen));
        op->seen = seen;
        op->seen_capacity = capacity;
    }
    while (op->latest.rows < needed)
        if (kpi_rowset_grow(&op->latest) == UINT32_MAX)
            return false;
    return true;
}

/* A row without ts takes that of the one before. */
static void take_times(struct asof_op *op, uint32_t which)
{
    struct side *side = &op->side[which];
    const struct kp_vec *vec = &side->batch->cols[op->join.ts[which]];
    uint32_t count = kp_batch_count(side->batch), i = 0;
    kp_time newest = side->newest;
    for (; i < count; i++) {
        uint32_t row = kp_batch_row(side->batch, i);
        kp_time at = kp_vec_null(vec, row) ? newest : vec->i64[row];
        if (at < newest)
            break;
        side->times[i] = newest = at;
    }
    side->newest = newest;
    side->ordered = i;
}

/* Numbers the keys of a new batch. */
static bool take_batch(struct asof_op *op, uint32_t which)
{
    struct side *side = &op->side[which];
    kpi_eval_begin(&side->eval);
    kpi_join_keys(&op->join, which, side->batch, &side->eval, side->keys);
    side->null_keys = false;
    for (uint32_t k = 0; k < op->join.keys_count; k++)
        side->null_keys |= side->keys[k]->nulls != NULL;
    for (uint32_t c = 0; which == 1 && c < op->join.inputs[1]->schema.count; c++)
        op->vecs[c] = &side->batch->cols[c];
    take_times(op, which);
    return kpi_groups_assign(&op->keys, side->keys, side->batch, side->group_of) && grow_latest(op);
}

/* Number of the key of row i of the batch, UINT32_MAX when it is null: such rows meet nothing. */
static uint32_t key_of(const struct asof_op *op, const struct side *side, uint32_t i)
{
    uint32_t row = kp_batch_row(side->batch, i);
    for (uint32_t k = 0; side->null_keys && k < op->join.keys_count; k++)
        if (kp_vec_null(side->keys[k], row))
            return UINT32_MAX;
    return side->group_of[i];
}

/* Makes sure the side has a row, or is at its end. */
static kp_status fill(struct asof_op *op, uint32_t which)
{
    struct side *side = &op->side[which];
    struct kpi_op *base = &op->sides.base;
    while (!side->ended && (side->batch == NULL || side->at == kp_batch_count(side->batch))) {
        kp_status status = kpi_op_next(op->join.inputs[which], &side->batch);
        side->at = 0;
        side->ended = status == KP_END;
        if (status == KP_END)
            return KP_OK;
        if (status != KP_OK)
            return status;
        if (!take_batch(op, which))
            break;
    }
    return base->run->ctx.status;
}

static kp_status fail_order(struct asof_op *op, uint32_t which)
{
    struct kpi_op *base = &op->sides.base;
    kpi_fail(&base->run->ctx, KP_INVALID, base->place,
             "asof join needs both tables in order of ts, and the %s one is not",
             which == 0 ? "left" : "right");
    kpi_hint(&base->run->ctx, "add | sort by ts asc before it");
    return KP_INVALID;
}

static void keep_right(struct asof_op *op)
{
    struct side *side = &op->side[1];
    uint32_t row = kp_batch_row(side->batch, side->at);
    uint32_t key = key_of(op, side, side->at++);
    if (key == UINT32_MAX)
        return;
    op->seen[key] = true;
    kpi_rowset_put(&op->latest, key, op->vecs, row);
}

/* Takes over every right row at or before t. */
static kp_status advance_right(struct asof_op *op, kp_time t)
{
    struct side *side = &op->side[1];
    for (;;) {
        kp_status status = KP_OK;
        if (side->batch == NULL || side->at == kp_batch_count(side->batch))
            status = fill(op, 1);
        if (status != KP_OK || side->ended)
            return status;
        while (side->at < side->ordered && side->times[side->at] <= t)
            keep_right(op);
        if (op->sides.base.run->ctx.status != KP_OK)
            return op->sides.base.run->ctx.status;
        if (side->at < side->ordered) /* looked at again for the next left row */
            return KP_OK;
        if (side->ordered < kp_batch_count(side->batch))
            return fail_order(op, 1);
    }
}

static void emit(struct asof_op *op, uint32_t i)
{
    const struct side *left = &op->side[0];
    uint32_t row = kp_batch_row(left->batch, i), key = key_of(op, left, i);
    bool found = key != UINT32_MAX && op->seen[key];
    for (uint32_t c = 0; c < op->join.outputs_count; c++) {
        const struct kpi_join_output *output = &op->join.outputs[c];
        if (!op->sides.base.need[c])
            continue;
        if (output->side == 0)
            kpi_emit_copy(&op->emit, c, &left->batch->cols[output->column], row);
        else if (!found)
            kpi_emit_null(&op->emit, c);
        else
            kpi_emit_copy(&op->emit, c, kpi_rowset_vec(&op->latest, key, output->column),
                          key & 1023);
    }
    kpi_emit_row(&op->emit);
}

static kp_status asof_next(struct kpi_op *base, const struct kp_batch **out)
{
    struct asof_op *op = (struct asof_op *)base;
    struct side *left = &op->side[0];
    kpi_emit_begin(&op->emit);
    kp_status status = fill(op, 0);
    if (status != KP_OK)
        return status;
    if (left->ended)
        return KP_END;
    for (; left->at < kp_batch_count(left->batch) && !kpi_emit_full(&op->emit); left->at++) {
        if (left->at == left->ordered)
            return fail_order(op, 0);
        status = advance_right(op, left->times[left->at]);
        if (status != KP_OK)
            return status;
        emit(op, left->at);
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
