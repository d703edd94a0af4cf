/* SPDX-License-Identifier: Apache-2.0
 *
 * Columns of names have few values, so a comparison with any other text is true for no row, or for
 * every one. That is most often a typing mistake and never an error: the answer carries a remark
 * with the nearest name.
 */
#include "query/filter.h"
#include "query/parse.h"
#include "query/plan.h"
#include "query/sides.h"

#define LISTED_MAX 12 /* names shown where none is near */

/* Operators that ask for whole values: exactly, or ignoring case. */
static bool asks_for_values(const struct kpi_expr *expr, bool *out_nocase)
{
    static const struct {
        const char *name;
        bool nocase;
    } operators[] = {{"==", false}, {"!=", false}, {"in", false}, {"!in", false},
                     {"=~", true},  {"!~", true},  {"in~", true}, {"!in~", true}};
    for (size_t i = 0; i < KP_ARRAY_LEN(operators); i++) {
        if (strcmp(expr->func->name, operators[i].name) != 0)
            continue;
        *out_nocase = operators[i].nocase;
        return true;
    }
    return false;
}

static void remark(const struct kpi_op *source, uint32_t column, struct kp_str wanted,
                   const struct kpi_nearest *nearest)
{
    struct kp_str name = source->schema.fields[column].name, value;
    struct kp_buf list = {0};
    uint32_t count = 0;
    for (; (value = source->class->source->value(source, column, count)).len > 0; count++)
        if (count <= LISTED_MAX)
            kp_buf_printf(&list, "%s%.*s", count > 0 ? ", " : ": it is one of ", (int)value.len,
                          value.ptr);
    int shown = (int)KP_MIN(wanted.len, 60u);
    if (nearest->best.len > 0)
        kpi_note(source->run, "%.*s is never '%.*s'; did you mean '%.*s'?", (int)name.len, name.ptr,
                 shown, wanted.ptr, (int)nearest->best.len, nearest->best.ptr);
    else
        kpi_note(source->run, "%.*s is never '%.*s'%s", (int)name.len, name.ptr, shown, wanted.ptr,
                 count <= LISTED_MAX ? kp_buf_cstr(&list) : "");
    kp_buf_deinit(&list);
}

/* Values outside a table of names show as their number, so a number may be one. The nearest name is
 * one that differs in few letters, else one that the text is a part of. */
static void check_value(const struct kpi_op *source, uint32_t column, struct kp_str wanted,
                        bool nocase)
{
    struct kpi_nearest nearest = {.wanted = wanted};
    struct kpi_value number;
    struct kp_str value, part = KP_STR("");
    uint32_t count = 0;
    if (wanted.len == 0 || kpi_literal_long(wanted, &number))
        return;
    for (; (value = source->class->source->value(source, column, count)).len > 0; count++) {
        struct kp_str head = wanted;
        bool open = value.ptr[value.len - 1] == '(';
        if (open)
            head.len = KP_MIN(head.len, value.len);
        if (nocase ? kp_str_equal_nocase(value, head) : kp_str_equal(value, head))
            return;
        if (wanted.len > 1 && !open)
            kpi_nearest_offer(&nearest, value);
        if (wanted.len > 2 && memmem(value.ptr, value.len, wanted.ptr, wanted.len) != NULL)
            part = value;
    }
    if (nearest.best.len == 0)
        nearest.best = part;
    if (count > 0)
        remark(source, column, wanted, &nearest);
}

/* One condition over the columns of `above`. */
static void check_condition(struct kpi_op *above, const struct kpi_expr *expr)
{
    bool nocase = false;
    if (expr->kind != KPI_EXPR_CALL)
        return;
    for (uint32_t i = 0; i < expr->args_count; i++)
        check_condition(above, expr->args[i]);
    if (expr->args_count < 2 || !asks_for_values(expr, &nocase))
        return;
    bool swapped = expr->args[0]->kind == KPI_EXPR_CONST;
    const struct kpi_expr *column = expr->args[swapped ? 1 : 0];
    if (column->kind != KPI_EXPR_COLUMN || column->type != KP_TYPE_STR)
        return;
    const struct kpi_op *source = kpi_plan_source(above);
    int found = kpi_plan_column(above, column->column);
    for (uint32_t i = 0; found >= 0 && i < expr->args_count; i++)
        if (expr->args[i]->kind == KPI_EXPR_CONST && expr->args[i]->type == KP_TYPE_STR)
            check_value(source, (uint32_t)found, expr->args[i]->value.str, nocase);
}

void kpi_remark_values(struct kpi_op *op)
{
    struct kpi_sides_op *joined = kpi_sides_of(op);
    for (uint32_t i = 0; joined != NULL && i < joined->inputs_count; i++)
        kpi_remark_values(joined->inputs[i]);
    if (op->input == NULL)
        return;
    kpi_remark_values(op->input);
    const struct kpi_filter_op *filter = kpi_filter_of(op);
    const struct kpi_op *source = kpi_plan_source(op->input);
    if (filter != NULL && source != NULL && source->class->source->value != NULL)
        check_condition(op->input, filter->condition);
}
