/* SPDX-License-Identifier: Apache-2.0
 *
 * scan. Each step keeps the newest sequence of rows that has got as far as this step. A row is
 * offered to the steps from the last to the first:
 * 1. if the sequence of the step before is there and the row meets the condition, that sequence
 *    moves on to this step;
 * 2. else, if this step has a sequence (or is the first) and the row meets the condition, the row
 *    takes the place of the step's last one.
 * Either way the assignments are computed and the row is given out, by steps with output=last when
 * their sequence leaves them, makes way for another or the table ends. So a row costs at most one
 * condition twice per step, and memory holds one row per step and sequence.
 */
#include "query/steps.h"

#include "query/emit.h"
#include "query/rowset.h"

/* How far a sequence got: the rows that its steps matched last. */
struct sequence {
    bool there;
    int64_t id;
    uint32_t due;           /* 1 + the step whose last row is still to be given out; 0 = none */
    struct kpi_value *rows; /* [step][column] */
};

struct steps_op {
    struct kpi_op base;
    struct kpi_steps_plan plan;
    uint32_t width; /* columns of a step: inputs and declared */
    struct kp_batch row;
    uint64_t **nulls;
    bool *reads; /* columns of the row that some expression reads */
    struct sequence *sequences;
    struct kpi_value *current;
    struct kpi_intern strings;
    int64_t next_id;
    const struct kp_batch *batch;
    uint32_t at;
    bool done;
    struct kpi_emit emit;
};

static bool prepare(struct steps_op *op, struct kpi_expr *expr)
{
    kpi_expr_columns(expr, op->reads);
    return kpi_expr_prepare(&op->base.run->ctx, expr, 1);
}

static bool prepare_steps(struct steps_op *op)
{
    for (uint32_t s = 0; s < op->plan.count; s++) {
        const struct kpi_step_plan *step = &op->plan.steps[s];
        if (!prepare(op, step->condition))
            return false;
        for (uint32_t i = 0; i < step->count; i++)
            if (!prepare(op, step->values[i]))
                return false;
    }
    return true;
}

static kp_status steps_open(struct kpi_op *base)
{
    struct steps_op *op = (struct steps_op *)base;
    struct kpi_ctx *ctx = &base->run->ctx;
    const struct kp_schema *scope = op->plan.scope;
    op->reads = kpi_new(ctx, scope->count, sizeof(bool));
    op->nulls = kpi_new(ctx, scope->count, sizeof(*op->nulls));
    op->current = kpi_new(ctx, op->width, sizeof(*op->current));
    op->sequences = kpi_new(ctx, op->plan.count, sizeof(*op->sequences));
    op->row = (struct kp_batch){.cols = kpi_new(ctx, scope->count, sizeof(struct kp_vec)),
                                .cols_count = scope->count,
                                .rows = 1};
    if (ctx->status != KP_OK)
        return ctx->status;
    for (uint32_t c = 0; c < scope->count; c++)
        if (!kpi_vec_alloc(ctx, scope->fields[c].type, 1, &op->row.cols[c], &op->nulls[c]))
            return ctx->status;
    for (uint32_t s = 0; s < op->plan.count; s++)
        op->sequences[s].rows =
            kpi_new(ctx, (size_t)op->plan.count * op->width, sizeof(struct kpi_value));
    if (!prepare_steps(op))
        return ctx->status;
    return kpi_emit_open(base, &op->emit);
}

/* --- the row that expressions read --- */

static void set_cell(struct steps_op *op, uint32_t col, struct kpi_value value)
{
    struct kp_vec *vec = &op->row.cols[col];
    op->nulls[col][0] = value.null;
    vec->nulls = value.null ? op->nulls[col] : NULL;
    kpi_vec_set(vec, 0, &value);
}

static struct kpi_value unset(const struct steps_op *op, uint32_t col)
{
    if (col >= op->plan.inputs)
        return op->plan.otherwise[col - op->plan.inputs];
    struct kpi_value none = {.type = op->plan.scope->fields[col].type, .null = true};
    if (kp_type_phys(none.type) == KP_PHYS_STR)
        none = (struct kpi_value){.type = none.type, .str = KP_STR("")};
    return none;
}

/* The current row, and the rows of steps 0..last of a sequence; later steps have none yet. */
static void set_row(struct steps_op *op, const struct sequence *sequence, int last)
{
    for (uint32_t c = 0; c < op->width; c++)
        if (op->reads[c])
            set_cell(op, c, op->current[c]);
    for (uint32_t s = 0; s < op->plan.count; s++) {
        for (uint32_t c = 0; c < op->width; c++) {
            uint32_t col = (s + 1) * op->width + c;
            bool known = sequence->there && (int)s <= last;
            if (op->reads[col])
                set_cell(op, col, known ? sequence->rows[s * op->width + c] : unset(op, c));
        }
    }
}

static bool holds(struct steps_op *op, struct kpi_expr *condition)
{
    struct kpi_value value = kpi_vec_value(kpi_expr_eval(condition, &op->row, &op->base.eval), 0);
    return !value.null && value.i64 != 0;
}

/* --- steps --- */

/* Text must outlive the batch it came in. */
static bool keep(struct steps_op *op, struct kpi_value *value)
{
    if (kp_type_phys(value->type) == KP_PHYS_STR && !value->null)
        value->str = kpi_intern(&op->base.run->ctx, &op->strings, value->str);
    return op->base.run->ctx.status == KP_OK;
}

static void give_out(struct steps_op *op, const struct sequence *sequence,
                     const struct kpi_value *row)
{
    for (uint32_t c = 0; c < op->width; c++)
        kpi_emit_value(&op->emit, c, row[c]);
    if (op->plan.match_id) {
        struct kpi_value id = {.type = KP_TYPE_I64, .i64 = sequence->id};
        kpi_emit_value(&op->emit, op->width, id);
    }
    kpi_emit_row(&op->emit);
}

static void give_due(struct steps_op *op, struct sequence *sequence)
{
    if (sequence->there && sequence->due > 0)
        give_out(op, sequence, sequence->rows + (size_t)(sequence->due - 1) * op->width);
    sequence->due = 0;
}

/* The row belongs to step s of its sequence now. */
static void matched(struct steps_op *op, uint32_t s)
{
    const struct kpi_step_plan *step = &op->plan.steps[s];
    struct sequence *sequence = &op->sequences[s];
    if (!sequence->there)
        sequence->id = op->next_id++;
    for (uint32_t i = 0; i < step->count; i++) {
        uint32_t col = op->plan.inputs + step->targets[i];
        op->current[col] =
            kpi_vec_value(kpi_expr_eval(step->values[i], &op->row, &op->base.eval), 0);
        if (!keep(op, &op->current[col]))
            return;
        if (op->reads[col])
            set_cell(op, col, op->current[col]);
    }
    sequence->there = true;
    memcpy(sequence->rows + (size_t)s * op->width, op->current, op->width * sizeof(*op->current));
    if (step->last)
        sequence->due = s + 1;
    else if (!step->silent)
        give_out(op, sequence, op->current);
    for (uint32_t c = op->plan.inputs; c < op->width; c++)
        op->current[c] = op->plan.otherwise[c - op->plan.inputs];
}

/* The sequence of the step before (or of one further back when those between are optional). */
static bool moves_on(struct steps_op *op, uint32_t s)
{
    for (uint32_t from = s; from-- > 0;) {
        struct sequence *before = &op->sequences[from], *here = &op->sequences[s];
        set_row(op, before, (int)from);
        if (before->there && holds(op, op->plan.steps[s].condition)) {
            give_due(op, here);
            give_due(op, before);
            struct sequence old = *here;
            *here = *before;
            *before = (struct sequence){.rows = old.rows};
            matched(op, s);
            return true;
        }
        if (!op->plan.steps[from].optional)
            return false;
    }
    return false;
}

static void offer(struct steps_op *op, uint32_t s)
{
    if (moves_on(op, s))
        return;
    struct sequence *here = &op->sequences[s];
    if (!here->there && s > 0)
        return;
    set_row(op, here, (int)s);
    if (holds(op, op->plan.steps[s].condition))
        matched(op, s);
}

static void take_row(struct steps_op *op, uint32_t row)
{
    for (uint32_t c = 0; c < op->plan.inputs; c++) {
        op->current[c] = kpi_vec_value(&op->batch->cols[c], row);
        if (!keep(op, &op->current[c]))
            return;
    }
    for (uint32_t c = op->plan.inputs; c < op->width; c++)
        op->current[c] = op->plan.otherwise[c - op->plan.inputs];
    kpi_eval_begin(&op->base.eval);
    for (uint32_t s = op->plan.count; s-- > 0 && op->base.run->ctx.status == KP_OK;)
        offer(op, s);
}

static kp_status steps_next(struct kpi_op *base, const struct kp_batch **out)
{
    struct steps_op *op = (struct steps_op *)base;
    kp_status status = op->done ? KP_END : KP_OK;
    kpi_emit_begin(&op->emit);
    /* a row gives at most one row per step, and makes two of those that were due come out */
    while (op->emit.batch.rows + 3 * op->plan.count <= KP_VECTOR_ROWS && status == KP_OK) {
        if (op->batch == NULL || op->at == kp_batch_count(op->batch)) {
            status = kpi_op_next(base->input, &op->batch);
            op->at = 0;
            if (status != KP_OK)
                op->batch = NULL;
            continue;
        }
        take_row(op, kp_batch_row(op->batch, op->at++));
        status = base->run->ctx.status;
    }
    for (uint32_t s = 0; status == KP_END && s < op->plan.count; s++)
        give_due(op, &op->sequences[s]);
    op->done = status == KP_END;
    *out = &op->emit.batch;
    if (status == KP_END && op->emit.batch.rows > 0)
        return KP_OK;
    return status;
}

static void steps_need(struct kpi_op *base)
{
    for (uint32_t c = 0; c < base->input->schema.count; c++)
        base->input->need[c] = true;
}

static void steps_describe(const struct kpi_op *base, struct kp_buf *out)
{
    uint32_t count = ((const struct steps_op *)base)->plan.count;
    kp_buf_printf(out, "%u step%s", count, count == 1 ? "" : "s");
}

static const struct kpi_op_class steps_class = {"scan (steps)", steps_open,     steps_next, NULL,
                                                steps_need,     steps_describe, NULL};

struct kpi_op *kpi_op_steps(struct kpi_op *input, const struct kp_field *fields, uint32_t count,
                            const struct kpi_steps_plan *plan)
{
    struct steps_op *op =
        (struct steps_op *)kpi_op_new(input->run, &steps_class, sizeof(*op), input, count);
    if (op == NULL)
        return NULL;
    memcpy(kpi_op_fields(&op->base), fields, count * sizeof(*fields));
    op->plan = *plan;
    op->width = plan->inputs + plan->declared;
    return &op->base;
}
