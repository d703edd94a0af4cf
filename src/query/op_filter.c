/* SPDX-License-Identifier: Apache-2.0
 *
 * where: makes a selection over the batch below and moves no data. Null counts as false.
 */
#include "query/filter.h"

static kp_status filter_open(struct kpi_op *base)
{
    struct kpi_filter_op *op = (struct kpi_filter_op *)base;
    op->sel = kpi_new(&base->run->ctx, KP_VECTOR_ROWS, sizeof(*op->sel));
    if (op->condition != NULL)
        kpi_expr_prepare(&base->run->ctx, op->condition, KP_VECTOR_ROWS);
    return base->run->ctx.status;
}

static uint32_t select_rows(const struct kp_batch *batch, const struct kp_vec *test, uint16_t *sel)
{
    uint32_t count = kp_batch_count(batch), kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t row = kp_batch_row(batch, i);
        sel[kept] = (uint16_t)row;
        kept += test->i64[row] != 0 && !kp_vec_null(test, row);
    }
    return kept;
}

static kp_status filter_next(struct kpi_op *base, const struct kp_batch **out)
{
    struct kpi_filter_op *op = (struct kpi_filter_op *)base;
    const struct kp_batch *batch;
    kp_status status;
    while ((status = kpi_op_next(base->input, &batch)) == KP_OK) {
        if (op->condition == NULL) {
            *out = batch;
            return KP_OK;
        }
        kpi_eval_begin(&base->eval);
        const struct kp_vec *test = kpi_expr_eval(op->condition, batch, &base->eval);
        if (base->run->ctx.status != KP_OK)
            return base->run->ctx.status;
        uint32_t kept = select_rows(batch, test, op->sel);
        if (kept == 0)
            continue;
        op->out = *batch;
        op->out.sel = op->sel;
        op->out.sel_count = kept;
        *out = &op->out;
        return KP_OK;
    }
    return status;
}

static void filter_need(struct kpi_op *base)
{
    struct kpi_filter_op *op = (struct kpi_filter_op *)base;
    for (uint32_t i = 0; i < base->schema.count; i++)
        base->input->need[i] |= base->need[i];
    if (op->condition != NULL)
        kpi_expr_columns(op->condition, base->input->need);
}

static void filter_describe(const struct kpi_op *base, struct kp_buf *out)
{
    const struct kpi_filter_op *op = (const struct kpi_filter_op *)base;
    if (op->condition == NULL)
        kp_buf_text(out, "all of it is done by the source");
    else
        kpi_expr_text(op->condition, out);
}

static const struct kpi_op_class filter_class = {"where",     filter_open,     filter_next, NULL,
                                                 filter_need, filter_describe, NULL};

struct kpi_op *kpi_op_filter(struct kpi_op *input, struct kpi_expr *condition)
{
    struct kpi_filter_op *op = (struct kpi_filter_op *)kpi_op_new(
        input->run, &filter_class, sizeof(*op), input, input->schema.count);
    if (op == NULL)
        return NULL;
    memcpy(kpi_op_fields(&op->base), input->schema.fields,
           input->schema.count * sizeof(struct kp_field));
    op->condition = condition;
    op->base.ordered_by = input->ordered_by;
    return &op->base;
}

struct kpi_filter_op *kpi_filter_of(struct kpi_op *op)
{
    return op->class == &filter_class ? (struct kpi_filter_op *)op : NULL;
}
