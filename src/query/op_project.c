/* SPDX-License-Identifier: Apache-2.0
 *
 * project, extend, project-away, project-rename and their kin: a list of expressions, one for each
 * column of the answer. Plain columns are passed on without copying.
 */
#include "query/op.h"

struct project_op {
    struct kpi_op base;
    const char *word;
    struct kpi_expr **exprs;
    struct kp_batch out;
};

static kp_status project_open(struct kpi_op *base)
{
    struct project_op *op = (struct project_op *)base;
    kpi_op_batch(base, &op->out);
    for (uint32_t i = 0; i < base->schema.count && base->run->ctx.status == KP_OK; i++)
        if (base->need[i])
            kpi_expr_prepare(&base->run->ctx, op->exprs[i], KP_VECTOR_ROWS);
    return base->run->ctx.status;
}

static kp_status project_next(struct kpi_op *base, const struct kp_batch **out)
{
    struct project_op *op = (struct project_op *)base;
    const struct kp_batch *batch;
    kp_status status = kpi_op_next(base->input, &batch);
    if (status != KP_OK)
        return status;
    kpi_eval_begin(&base->eval);
    for (uint32_t i = 0; i < base->schema.count; i++)
        if (base->need[i])
            op->out.cols[i] = *kpi_expr_eval(op->exprs[i], batch, &base->eval);
    op->out.rows = batch->rows;
    op->out.sel = batch->sel;
    op->out.sel_count = batch->sel_count;
    *out = &op->out;
    return KP_OK;
}

static void project_need(struct kpi_op *base)
{
    struct project_op *op = (struct project_op *)base;
    for (uint32_t i = 0; i < base->schema.count; i++)
        if (base->need[i])
            kpi_expr_columns(op->exprs[i], base->input->need);
}

static void project_describe(const struct kpi_op *base, struct kp_buf *out)
{
    const struct project_op *op = (const struct project_op *)base;
    bool first = true, extend = strcmp(op->word, "extend") == 0;
    if (strcmp(op->word, base->class->name) != 0)
        kp_buf_printf(out, "%s: ", op->word);
    for (uint32_t i = 0; i < base->schema.count; i++) {
        const struct kpi_expr *expr = op->exprs[i];
        const struct kp_field *field = &base->schema.fields[i];
        bool plain = expr->kind == KPI_EXPR_COLUMN && kp_str_equal(expr->name, field->name);
        if (plain && extend)
            continue;
        kp_buf_printf(out, "%s%.*s", first ? "" : ", ", (int)field->name.len, field->name.ptr);
        first = false;
        if (plain)
            continue;
        kp_buf_text(out, " = ");
        kpi_expr_text(expr, out);
    }
}

static const struct kpi_op_class project_class = {
    "project", project_open, project_next, NULL, project_need, project_describe, NULL};

struct kpi_op *kpi_op_project(struct kpi_op *input, const char *word, const struct kp_field *fields,
                              struct kpi_expr **exprs, uint32_t count)
{
    struct project_op *op =
        (struct project_op *)kpi_op_new(input->run, &project_class, sizeof(*op), input, count);
    if (op == NULL)
        return NULL;
    memcpy(kpi_op_fields(&op->base), fields, count * sizeof(*fields));
    op->word = word;
    op->exprs = exprs;
    for (uint32_t i = 0; i < count && op->base.ordered_by == 0; i++)
        if (exprs[i]->kind == KPI_EXPR_COLUMN && exprs[i]->column + 1 == input->ordered_by)
            op->base.ordered_by = i + 1;
    return &op->base;
}

const struct kpi_expr *kpi_project_expr(const struct kpi_op *op, uint32_t i)
{
    return op->class == &project_class ? ((const struct project_op *)op)->exprs[i] : NULL;
}
