/* SPDX-License-Identifier: Apache-2.0
 *
 * Hash join. The right table is read first and kept by key, then the left one streams past it, so
 * the answer has the order of the left table and is the same on every run. Null keys meet nothing.
 */
#include "query/join.h"

#include "query/emit.h"
#include "query/keyed.h"

struct join_op {
    struct kpi_sides_op sides;
    struct kpi_join join;
    struct kpi_keyed right;      /* needed columns of the right table, then its keys */
    const struct kp_vec **vecs;  /* of a right batch */
    uint64_t *matched;           /* outer: right rows that met one */
    struct kpi_keyed seen;       /* innerunique: keys of the left rows so far */
    const struct kp_batch *left; /* being joined; NULL before the first and after the last */
    const struct kp_vec *keys[KPI_ARGS_MAX];
    uint32_t at;       /* row of left */
    uint32_t chain;    /* right row + 1 to give next for it */
    bool looked;       /* chain is that of row `at` */
    bool built, ended; /* right side read, left side at its end */
    uint32_t rest;     /* right row to look at for the outer kinds */
    struct kpi_emit emit;
};

/* --- what both joins share --- */

void kpi_join_need(struct kpi_op *op, const struct kpi_join *join)
{
    for (uint32_t i = 0; i < join->outputs_count; i++)
        if (op->need[i])
            join->inputs[join->outputs[i].side]->need[join->outputs[i].column] = true;
    for (uint32_t side = 0; side < 2; side++)
        for (uint32_t k = 0; k < join->keys_count; k++)
            kpi_expr_columns(join->keys[side][k], join->inputs[side]->need);
    for (uint32_t side = 0; side < 2 && join->kind == KPI_JOIN_ASOF; side++)
        join->inputs[side]->need[join->ts[side]] = true;
}

bool kpi_join_prepare(struct kpi_ctx *ctx, const struct kpi_join *join)
{
    for (uint32_t side = 0; side < 2; side++)
        for (uint32_t k = 0; k < join->keys_count; k++)
            if (!kpi_expr_prepare(ctx, join->keys[side][k], KP_VECTOR_ROWS))
                return false;
    return true;
}

void kpi_join_keys(const struct kpi_join *join, uint32_t side, const struct kp_batch *batch,
                   struct kpi_eval *eval, const struct kp_vec **out)
{
    for (uint32_t k = 0; k < join->keys_count; k++)
        out[k] = kpi_expr_eval(join->keys[side][k], batch, eval);
}

void kpi_join_describe(const struct kpi_join *join, struct kp_buf *out)
{
    static const char *const names[] = {"inner",     "innerunique", "leftouter", "rightouter",
                                        "fullouter", "leftsemi",    "leftanti",  "asof"};
    kp_buf_printf(out, "%s on ", names[join->kind]);
    for (uint32_t k = 0; k < join->keys_count; k++) {
        kp_buf_text(out, k > 0 ? ", " : "");
        kpi_expr_text(join->keys[0][k], out);
        kp_buf_text(out, " == ");
        kpi_expr_text(join->keys[1][k], out);
    }
    if (join->kind == KPI_JOIN_ASOF)
        kp_buf_printf(out, "%sts", join->keys_count > 0 ? ", " : "");
}

/* --- the right side --- */

static kp_status open_right(struct join_op *op)
{
    struct kpi_op *right = op->join.inputs[1];
    struct kpi_ctx *ctx = &right->run->ctx;
    uint32_t cols = right->schema.count + op->join.keys_count;
    enum kp_type *types = kpi_new(ctx, cols, sizeof(*types));
    bool *keep = kpi_new(ctx, cols, sizeof(*keep));
    op->vecs = kpi_new(ctx, cols, sizeof(*op->vecs));
    if (op->vecs == NULL)
        return ctx->status;
    for (uint32_t i = 0; i < op->join.outputs_count; i++)
        if (op->join.outputs[i].side == 1 && op->sides.base.need[i])
            keep[op->join.outputs[i].column] = true;
    for (uint32_t c = 0; c < cols; c++) {
        bool key = c >= right->schema.count;
        types[c] =
            key ? op->join.keys[1][c - right->schema.count]->type : right->schema.fields[c].type;
        keep[c] |= key;
    }
    kpi_keyed_init(&op->right, ctx, types, keep, cols, op->join.keys_count);
    kpi_keyed_init(&op->seen, ctx, types + right->schema.count, NULL, op->join.keys_count,
                   op->join.keys_count);
    return ctx->status;
}

static kp_status build(struct join_op *op)
{
    struct kpi_op *base = &op->sides.base, *right = op->join.inputs[1];
    const struct kp_batch *batch;
    kp_status status;
    while ((status = kpi_op_next(right, &batch)) == KP_OK) {
        kpi_eval_begin(&base->eval);
        for (uint32_t c = 0; c < right->schema.count; c++)
            op->vecs[c] = &batch->cols[c];
        kpi_join_keys(&op->join, 1, batch, &base->eval, op->vecs + right->schema.count);
        for (uint32_t i = 0; i < kp_batch_count(batch); i++)
            if (!kpi_keyed_add(&op->right, op->vecs, kp_batch_row(batch, i)))
                return base->run->ctx.status;
    }
    if (status != KP_END)
        return status;
    op->matched = kpi_new(&base->run->ctx, op->right.rows.rows / 64 + 1, sizeof(*op->matched));
    op->built = true;
    return base->run->ctx.status;
}

/* --- joining --- */

#define NO_ROW UINT32_MAX

static void emit(struct join_op *op, uint32_t left_row, uint32_t right_row)
{
    for (uint32_t i = 0; i < op->join.outputs_count; i++) {
        const struct kpi_join_output *output = &op->join.outputs[i];
        uint32_t row = output->side == 0 ? left_row : right_row;
        if (!op->sides.base.need[i])
            continue;
        if (row == NO_ROW)
            kpi_emit_null(&op->emit, i);
        else if (output->side == 0)
            kpi_emit_copy(&op->emit, i, &op->left->cols[output->column], row);
        else
            kpi_emit_copy(&op->emit, i, kpi_rowset_vec(&op->right.rows, row, output->column),
                          row & 1023);
    }
    kpi_emit_row(&op->emit);
}

/* Finds the matches of the left row; what needs no match is given here. */
static void look_up(struct join_op *op, uint32_t row)
{
    enum kpi_join_kind kind = op->join.kind;
    bool null = kpi_keyed_null(op->keys, op->join.keys_count, row);
    op->chain = null ? 0 : kpi_keyed_find(&op->right, op->keys, row);
    if (kind == KPI_JOIN_INNERUNIQUE && op->chain != 0) {
        if (kpi_keyed_find(&op->seen, op->keys, row) != 0)
            op->chain = 0;
        else
            kpi_keyed_add(&op->seen, op->keys, row);
    }
    bool outer = kind == KPI_JOIN_LEFTOUTER || kind == KPI_JOIN_FULLOUTER;
    bool semi = kind == KPI_JOIN_LEFTSEMI && op->chain != 0;
    bool none = op->chain == 0 && (outer || kind == KPI_JOIN_LEFTANTI);
    if (semi || none)
        emit(op, row, NO_ROW);
    if (kind == KPI_JOIN_LEFTSEMI || kind == KPI_JOIN_LEFTANTI)
        op->chain = 0;
}

/* One step of the left row: a match given, or the row done. */
static void step(struct join_op *op)
{
    uint32_t row = kp_batch_row(op->left, op->at);
    if (!op->looked)
        look_up(op, row);
    op->looked = true;
    if (op->chain != 0 && !kpi_emit_full(&op->emit)) {
        uint32_t found = op->chain - 1;
        emit(op, row, found);
        op->matched[found >> 6] |= 1ull << (found & 63);
        op->chain = kpi_keyed_next(&op->right, found);
    }
    if (op->chain == 0) {
        op->at++;
        op->looked = false;
    }
}

static void emit_rest(struct join_op *op)
{
    bool outer = op->join.kind == KPI_JOIN_RIGHTOUTER || op->join.kind == KPI_JOIN_FULLOUTER;
    for (; outer && op->rest < op->right.rows.rows && !kpi_emit_full(&op->emit); op->rest++)
        if ((op->matched[op->rest >> 6] >> (op->rest & 63) & 1) == 0)
            emit(op, NO_ROW, op->rest);
}

static kp_status pull_left(struct join_op *op)
{
    struct kpi_op *base = &op->sides.base;
    kp_status status = kpi_op_next(op->join.inputs[0], &op->left);
    op->at = 0;
    if (status == KP_END)
        op->left = NULL;
    op->ended = status == KP_END;
    if (status != KP_OK)
        return status;
    kpi_eval_begin(&base->eval);
    kpi_join_keys(&op->join, 0, op->left, &base->eval, op->keys);
    return base->run->ctx.status;
}

static kp_status join_next(struct kpi_op *base, const struct kp_batch **out)
{
    struct join_op *op = (struct join_op *)base;
    kp_status status = op->built ? KP_OK : build(op);
    if (status != KP_OK)
        return status;
    kpi_emit_begin(&op->emit);
    while (!kpi_emit_full(&op->emit) && !op->ended) {
        if (op->left != NULL && op->at < kp_batch_count(op->left)) {
            step(op);
            continue;
        }
        if (op->emit.batch.rows > 0)
            break; /* its text lies in the left batch */
        status = pull_left(op);
        if (status != KP_OK && status != KP_END)
            return status;
    }
    if (op->ended)
        emit_rest(op);
    if (base->run->ctx.status != KP_OK)
        return base->run->ctx.status;
    *out = &op->emit.batch;
    return op->emit.batch.rows == 0 ? KP_END : KP_OK;
}

static kp_status join_open(struct kpi_op *base)
{
    struct join_op *op = (struct join_op *)base;
    if (!kpi_join_prepare(&base->run->ctx, &op->join) || open_right(op) != KP_OK)
        return base->run->ctx.status;
    return kpi_emit_open(base, &op->emit);
}

static void join_need(struct kpi_op *base)
{
    kpi_join_need(base, &((struct join_op *)base)->join);
}

static void join_describe(const struct kpi_op *base, struct kp_buf *out)
{
    kpi_join_describe(&((const struct join_op *)base)->join, out);
}

static const struct kpi_op_class join_class = {"join",    join_open,     join_next, NULL,
                                               join_need, join_describe, NULL};

struct kpi_op *kpi_op_join(struct kpi_run *run, const struct kpi_join *join)
{
    struct join_op *op =
        (struct join_op *)kpi_op_new(run, &join_class, sizeof(*op), NULL, join->outputs_count);
    if (op == NULL)
        return NULL;
    memcpy(kpi_op_fields(&op->sides.base), join->fields,
           join->outputs_count * sizeof(*join->fields));
    op->join = *join;
    op->sides.base.sides = true;
    op->sides.inputs = op->join.inputs;
    op->sides.inputs_count = 2;
    return &op->sides.base;
}
