/* SPDX-License-Identifier: Apache-2.0
 *
 * intersect, subtract and within: the left rows stream past what the right table covers. Instants
 * (an interval of no length) are inside or outside as a whole.
 */
#include "query/emit.h"
#include "query/spans.h"

struct interval_op {
    struct kpi_sides_op sides;
    struct kpi_interval_req req;
    struct kpi_spans right;
    bool built;
    const struct kp_batch *batch;
    const struct kp_vec *from, *to, *keys[KPI_ARGS_MAX];
    uint32_t at;
    /* of the row at hand */
    bool looked;
    struct kpi_span row, *spans;
    uint32_t count, next; /* next: span to look at */
    kp_time reached;      /* subtract: what lies before is done */
    struct kpi_emit emit;
};

static kp_status interval_open(struct kpi_op *base)
{
    struct interval_op *op = (struct interval_op *)base;
    struct kpi_ctx *ctx = &base->run->ctx;
    const struct kpi_interval *left = &op->req.intervals[0];
    kpi_expr_prepare(ctx, left->from, KP_VECTOR_ROWS);
    kpi_expr_prepare(ctx, left->to, KP_VECTOR_ROWS);
    for (uint32_t k = 0; k < left->keys_count && ctx->status == KP_OK; k++)
        kpi_expr_prepare(ctx, left->keys[k], KP_VECTOR_ROWS);
    if (ctx->status != KP_OK || kpi_spans_open(&op->right, ctx, &op->req.intervals[1]) != KP_OK)
        return ctx->status;
    return kpi_emit_open(base, &op->emit);
}

/* First span that ends after t. */
static uint32_t first_after(const struct kpi_span *spans, uint32_t count, kp_time t)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (spans[middle].to > t)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static void look_at(struct interval_op *op, uint32_t row)
{
    bool null = kpi_keyed_null(op->keys, op->req.intervals[0].keys_count, row);
    uint32_t found = null ? 0 : kpi_keyed_find(&op->right.rows, op->keys, row);
    op->row = (struct kpi_span){op->from->i64[row], op->to->i64[row]};
    op->spans = found == 0 ? NULL : op->right.spans + op->right.first[found - 1];
    op->count = found == 0 ? 0 : op->right.count[found - 1];
    op->next = first_after(op->spans, op->count, op->row.from);
    op->reached = op->row.from;
    op->looked = true;
}

/* Does the span hold a part of the row? An instant is held by [from, to). */
static bool meets(const struct interval_op *op, const struct kpi_span *span)
{
    return span->from < op->row.to || (op->row.from == op->row.to && span->from <= op->row.from);
}

/* An interval of no length has no parts to share or to take away. */
static void skip_empty(struct interval_op *op)
{
    while (op->next < op->count && op->spans[op->next].from == op->spans[op->next].to)
        op->next++;
}

static bool next_inside(struct interval_op *op, struct kpi_span *out)
{
    skip_empty(op);
    if (op->next == op->count || !meets(op, &op->spans[op->next]))
        return false;
    const struct kpi_span *span = &op->spans[op->next++];
    out->from = KP_MAX(span->from, op->row.from);
    out->to = KP_MIN(span->to, op->row.to);
    return true;
}

static bool next_outside(struct interval_op *op, struct kpi_span *out)
{
    bool instant = op->row.from == op->row.to;
    skip_empty(op);
    if (instant) {
        bool inside = op->next < op->count && meets(op, &op->spans[op->next]);
        bool done = op->reached == KP_TIME_MAX;
        op->reached = KP_TIME_MAX;
        *out = op->row;
        return !inside && !done;
    }
    while (op->reached < op->row.to) {
        skip_empty(op);
        bool more = op->next < op->count && meets(op, &op->spans[op->next]);
        const struct kpi_span *span = more ? &op->spans[op->next++] : NULL;
        *out = (struct kpi_span){op->reached, more ? span->from : op->row.to};
        op->reached = more ? span->to : op->row.to;
        if (out->from < out->to)
            return true;
    }
    return false;
}

/* The whole row, once, when a grown span touches it. */
static bool touched(struct interval_op *op, struct kpi_span *out)
{
    uint32_t at =
        op->next > 0 && op->spans[op->next - 1].to == op->row.from ? op->next - 1 : op->next;
    bool first = op->reached != KP_TIME_MAX;
    bool touches = at < op->count && op->spans[at].from <= op->row.to;
    op->reached = KP_TIME_MAX;
    *out = op->row;
    return first && touches;
}

static bool next_piece(struct interval_op *op, struct kpi_span *out)
{
    return op->req.kind == KPI_INTERSECT  ? next_inside(op, out)
           : op->req.kind == KPI_SUBTRACT ? next_outside(op, out)
                                          : touched(op, out);
}

static void emit(struct interval_op *op, uint32_t row, const struct kpi_span *piece)
{
    bool whole = op->req.kind == KPI_WITHIN;
    for (uint32_t c = 0; c < op->sides.base.schema.count; c++) {
        struct kpi_value value = {.type = op->sides.base.schema.fields[c].type};
        bool start = (int)c == op->req.start, end = (int)c == op->req.ts;
        if (!op->sides.base.need[c])
            continue;
        if (!whole && (start || end || (int)c == op->req.dur)) {
            value.i64 = start ? piece->from : end ? piece->to : piece->to - piece->from;
            kpi_emit_value(&op->emit, c, value);
        } else {
            kpi_emit_copy(&op->emit, c, &op->batch->cols[c], row);
        }
    }
    kpi_emit_row(&op->emit);
}

static kp_status pull(struct interval_op *op)
{
    struct kpi_op *base = &op->sides.base;
    const struct kpi_interval *left = &op->req.intervals[0];
    kp_status status = kpi_op_next(op->req.inputs[0], &op->batch);
    op->at = 0;
    op->looked = false;
    if (status != KP_OK) {
        op->batch = NULL;
        return status;
    }
    kpi_eval_begin(&base->eval);
    op->from = kpi_expr_eval(left->from, op->batch, &base->eval);
    op->to = kpi_expr_eval(left->to, op->batch, &base->eval);
    for (uint32_t k = 0; k < left->keys_count; k++)
        op->keys[k] = kpi_expr_eval(left->keys[k], op->batch, &base->eval);
    return base->run->ctx.status;
}

/* Pieces of the row at hand, as many as fit; moves on when it has no more. */
static void cut(struct interval_op *op)
{
    uint32_t row = kp_batch_row(op->batch, op->at);
    bool interval = !kp_vec_null(op->from, row) && !kp_vec_null(op->to, row) &&
                    op->from->i64[row] <= op->to->i64[row];
    struct kpi_span piece;
    if (interval && !op->looked)
        look_at(op, row);
    while (interval) {
        if (kpi_emit_full(&op->emit))
            return;
        if (!next_piece(op, &piece))
            break;
        emit(op, row, &piece);
    }
    op->at++;
    op->looked = false;
}

static kp_status interval_next(struct kpi_op *base, const struct kp_batch **out)
{
    struct interval_op *op = (struct interval_op *)base;
    kp_status status = KP_OK;
    if (!op->built)
        status = kpi_spans_build(&op->right, base, op->req.inputs[1], op->req.margin);
    op->built = true;
    kpi_emit_begin(&op->emit);
    while (status == KP_OK && !kpi_emit_full(&op->emit)) {
        if (op->batch != NULL && op->at < kp_batch_count(op->batch))
            cut(op);
        else if (op->emit.batch.rows > 0)
            break; /* its text lies in the batch */
        else
            status = pull(op);
    }
    *out = &op->emit.batch;
    return status;
}

static void interval_need(struct kpi_op *base)
{
    struct interval_op *op = (struct interval_op *)base;
    for (uint32_t c = 0; c < base->schema.count; c++)
        op->req.inputs[0]->need[c] |= base->need[c];
    for (uint32_t side = 0; side < 2; side++)
        kpi_interval_need(&op->req.intervals[side], op->req.inputs[side]->need);
}

static void interval_describe(const struct kpi_op *base, struct kp_buf *out)
{
    const struct kpi_interval *left = &((const struct interval_op *)base)->req.intervals[0];
    kpi_expr_text(left->from, out);
    kp_buf_text(out, " .. ");
    kpi_expr_text(left->to, out);
    for (uint32_t k = 0; k < left->keys_count; k++) {
        kp_buf_text(out, k > 0 ? ", " : " on ");
        kpi_expr_text(left->keys[k], out);
    }
}

#define CLASS(word)                                                                      \
    {                                                                                    \
        word, interval_open, interval_next, NULL, interval_need, interval_describe, NULL \
    }
static const struct kpi_op_class classes[] = {CLASS("intersect"), CLASS("subtract"),
                                              CLASS("within")};

struct kpi_op *kpi_op_interval(struct kpi_run *run, const struct kpi_interval_req *req)
{
    const struct kp_schema *schema = &req->inputs[0]->schema;
    struct interval_op *op = (struct interval_op *)kpi_op_new(run, &classes[req->kind], sizeof(*op),
                                                              NULL, schema->count);
    if (op == NULL)
        return NULL;
    memcpy(kpi_op_fields(&op->sides.base), schema->fields, schema->count * sizeof(*schema->fields));
    op->req = *req;
    op->sides.base.sides = true;
    op->sides.inputs = op->req.inputs;
    op->sides.inputs_count = 2;
    return &op->sides.base;
}
