/* SPDX-License-Identifier: Apache-2.0
 *
 * The plan: what the sources can do themselves moves down into them. Three passes over the chain:
 * conditions of `where` above a source become its time range and keys; sorts that the order
 * of stored rows already gives are dropped; columns nobody reads are not asked for.
 */
#include "query/aggregate.h"
#include "query/filter.h"
#include "query/plan.h"
#include "query/sort.h"
#include "query/sides.h"

/* --- conditions --- */

static bool is_func(const struct kpi_expr *expr, const char *name)
{
    return expr->kind == KPI_EXPR_CALL && strcmp(expr->func->name, name) == 0;
}

static const struct kpi_value *constants(struct kpi_run *run, struct kpi_expr *const *args,
                                         uint32_t count)
{
    struct kpi_value *values = kpi_new(&run->ctx, count, sizeof(*values));
    for (uint32_t i = 0; values != NULL && i < count; i++) {
        if (args[i]->kind != KPI_EXPR_CONST || args[i]->value.null)
            return NULL;
        values[i] = args[i]->value;
    }
    return values;
}

struct kpi_op *kpi_plan_source(struct kpi_op *op)
{
    while (op->input != NULL) {
        if (kpi_filter_of(op) == NULL && strcmp(op->class->name, "project") != 0)
            return NULL;
        op = op->input;
    }
    return op->class->source != NULL ? op : NULL;
}

int kpi_plan_column(const struct kpi_op *above, uint32_t column)
{
    for (; above->input != NULL; above = above->input) {
        const struct kpi_expr *expr = kpi_project_expr(above, column);
        if (expr != NULL && expr->kind != KPI_EXPR_COLUMN)
            return -1;
        if (expr != NULL)
            column = expr->column;
    }
    return (int)column;
}

/* `above` gives the columns of the condition; filters and projections lie between it and its
 * source. */
static bool push_values(struct kpi_op *above, uint32_t column, char op,
                        const struct kpi_value *values, uint32_t count)
{
    struct kpi_op *source = kpi_plan_source(above);
    int found = kpi_plan_column(above, column);
    struct kpi_push push = {(uint32_t)found, op, values, count};
    return found >= 0 && source->class->source->push(source, &push);
}

/* column < constant and its kin on a datetime column; bounds are inclusive. */
static bool push_bound(struct kpi_op *above, const struct kpi_expr *column,
                       const struct kpi_expr *bound, const char *name, bool swapped)
{
    struct kpi_value value = bound->value;
    bool below = (name[0] == '<') != swapped;
    if (bound->value.null || column->type != KP_TYPE_TIME)
        return false;
    if (name[1] == '\0' && __builtin_add_overflow(value.i64, below ? -1 : 1, &value.i64))
        return false;
    return push_values(above, column->column, below ? '<' : '>', &value, 1);
}

static bool push_comparison(struct kpi_op *above, const struct kpi_expr *expr)
{
    const char *name = expr->func->name;
    bool swapped = expr->args[0]->kind == KPI_EXPR_CONST;
    struct kpi_expr *column = expr->args[swapped ? 1 : 0], *other = expr->args[swapped ? 0 : 1];
    if (column->kind != KPI_EXPR_COLUMN || other->kind != KPI_EXPR_CONST)
        return false;
    if (strcmp(name, "==") != 0)
        return push_bound(above, column, other, name, swapped);
    const struct kpi_value *values = constants(above->run, &other, 1);
    return values != NULL && push_values(above, column->column, '=', values, 1);
}

static bool push_between(struct kpi_op *above, const struct kpi_expr *expr)
{
    const struct kpi_value *values = constants(above->run, expr->args + 1, 2);
    if (values == NULL || expr->args[0]->type != KP_TYPE_TIME)
        return false;
    struct kpi_value end = values[1]; /* an instant, or how long after the beginning */
    if (end.type == KP_TYPE_DUR && __builtin_add_overflow(end.i64, values[0].i64, &end.i64))
        return false;
    bool low = push_values(above, expr->args[0]->column, '>', &values[0], 1);
    return push_values(above, expr->args[0]->column, '<', &end, 1) && low;
}

/* A bool column by itself, or not(column). */
static bool push_flag(struct kpi_op *above, const struct kpi_expr *column, bool wanted)
{
    struct kpi_value *value = kpi_new(&above->run->ctx, 1, sizeof(*value));
    if (value == NULL || column->kind != KPI_EXPR_COLUMN || column->type != KP_TYPE_BOOL)
        return false;
    *value = (struct kpi_value){.type = KP_TYPE_BOOL, .i64 = wanted};
    return push_values(above, column->column, '=', value, 1);
}

/* One part of an `and`; true when the source applies it exactly. */
static bool push_part(struct kpi_op *above, const struct kpi_expr *expr)
{
    if (expr->kind == KPI_EXPR_COLUMN)
        return push_flag(above, expr, true);
    if (expr->kind != KPI_EXPR_CALL || expr->args_count == 0)
        return false;
    if (is_func(expr, "not"))
        return push_flag(above, expr->args[0], false);
    char first = expr->func->name[0];
    if (is_func(expr, "==") || first == '<' || first == '>')
        return push_comparison(above, expr);
    if (expr->args[0]->kind != KPI_EXPR_COLUMN)
        return false;
    if (is_func(expr, "between"))
        return push_between(above, expr);
    if (!is_func(expr, "in"))
        return false;
    const struct kpi_value *values = constants(above->run, expr->args + 1, expr->args_count - 1);
    return values != NULL &&
           push_values(above, expr->args[0]->column, '=', values, expr->args_count - 1);
}

static struct kpi_expr *push_condition(struct kpi_op *above, struct kpi_expr *condition)
{
    if (!is_func(condition, "and"))
        return push_part(above, condition) ? NULL : condition;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < condition->args_count; i++) {
        struct kpi_expr *rest = push_condition(above, condition->args[i]);
        if (rest != NULL)
            condition->args[kept++] = rest;
    }
    condition->args_count = kept;
    return kept == 0 ? NULL : kept == 1 ? condition->args[0] : condition;
}

static void push_filters(struct kpi_op *op)
{
    struct kpi_sides_op *joined = kpi_sides_of(op);
    for (uint32_t i = 0; joined != NULL && i < joined->inputs_count; i++)
        push_filters(joined->inputs[i]);
    if (op->input == NULL)
        return;
    push_filters(op->input);
    struct kpi_filter_op *filter = kpi_filter_of(op);
    if (filter != NULL && kpi_plan_source(op->input) != NULL)
        filter->condition = push_condition(op->input, filter->condition);
}

/* --- order --- */

/* Rows come in time order already, or the source can give them newest first. */
static bool order_is_given(const struct kpi_sort_op *sort)
{
    struct kpi_op *input = sort->base.input;
    const struct kpi_expr *key = sort->keys[0].expr;
    if (sort->keys_count != 1 || key->kind != KPI_EXPR_COLUMN ||
        key->column + 1 != input->ordered_by)
        return false;
    if (sort->keys[0].ascending)
        return true;
    struct kpi_op *source = kpi_plan_source(input);
    return source != NULL && source->class->source->descend != NULL &&
           source->class->source->descend(source);
}

static struct kpi_op *drop_sorts(struct kpi_op *op)
{
    struct kpi_sides_op *joined = kpi_sides_of(op);
    for (uint32_t i = 0; joined != NULL && i < joined->inputs_count; i++)
        if ((joined->inputs[i] = drop_sorts(joined->inputs[i])) == NULL)
            return NULL;
    if (op->input == NULL)
        return op;
    if ((op->input = drop_sorts(op->input)) == NULL)
        return NULL;
    struct kpi_sort_op *sort = kpi_sort_of(op);
    if (sort == NULL || !order_is_given(sort))
        return op;
    return sort->limit == 0 ? op->input : kpi_op_limit(op->input, sort->limit);
}

/* --- time --- */

static void note_window(struct kpi_run *run, kp_time from)
{
    char window[KP_DUR_TEXT_MAX], since[KP_TIME_TEXT_MAX];
    kp_dur_format(run->opts.default_window, window);
    kp_time_format(from, since);
    kpi_note(run, "no time condition: this looks at the last %s, from %s", window, since);
}

static void bound_sources(struct kpi_op *op, bool *noted)
{
    struct kpi_sides_op *joined = kpi_sides_of(op);
    for (uint32_t i = 0; joined != NULL && i < joined->inputs_count; i++)
        bound_sources(joined->inputs[i], noted);
    if (op->input != NULL) {
        bound_sources(op->input, noted);
        return;
    }
    struct kpi_run *run = op->run;
    struct kpi_bounds *bounds = op->class->source == NULL ? NULL : op->class->source->bounds(op);
    if (bounds == NULL)
        return;
    kp_time oldest, newest;
    if (!bounds->set && run->opts.default_window > 0 && run->snapshot != NULL) {
        kp_snapshot_range(run->snapshot, &oldest, &newest);
        if (oldest <= newest &&
            !__builtin_sub_overflow(newest, run->opts.default_window, &bounds->from) && !*noted) {
            note_window(run, bounds->from);
            *noted = true;
        }
    }
    run->from = KP_MIN(run->from, bounds->from);
    run->to = KP_MAX(run->to, bounds->to);
}

/* --- columns --- */

static void spread_need(struct kpi_op *op)
{
    struct kpi_sides_op *joined = kpi_sides_of(op);
    if (op->class->need != NULL)
        op->class->need(op);
    else
        for (uint32_t i = 0; op->input != NULL && i < op->schema.count; i++)
            op->input->need[i] |= op->need[i];
    for (uint32_t i = 0; joined != NULL && i < joined->inputs_count; i++)
        spread_need(joined->inputs[i]);
    if (op->input != NULL)
        spread_need(op->input);
}

bool kpi_plan_reads(const struct kpi_op *op)
{
    const struct kpi_sides_op *joined = kpi_sides_of((struct kpi_op *)(uintptr_t)op);
    for (uint32_t i = 0; joined != NULL && i < joined->inputs_count; i++)
        if (kpi_plan_reads(joined->inputs[i]))
            return true;
    return op->input != NULL ? kpi_plan_reads(op->input) : op->class->source != NULL;
}

struct kpi_op *kpi_plan(struct kpi_op *root)
{
    bool noted = false;
    kpi_remark_values(root);
    push_filters(root);
    root = drop_sorts(root);
    if (root == NULL || root->run->ctx.status != KP_OK)
        return NULL;
    bound_sources(root, &noted);
    for (uint32_t i = 0; i < root->schema.count; i++)
        root->need[i] = true;
    spread_need(root);
    kpi_aggregate_free_order(root);
    return root->run->ctx.status == KP_OK ? root : NULL;
}
