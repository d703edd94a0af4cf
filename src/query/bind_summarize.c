/* SPDX-License-Identifier: Apache-2.0
 *
 * summarize: its aggregates may stand inside larger expressions (sum(a) / count()), so each call of
 * one becomes a column of the grouping operator and the expressions a projection on top of it.
 */
#include <stdio.h>

#include "query/func.h"
#include "query/parse.h"
#include "query/plan.h"

/* --- aggregates --- */

static struct kpi_aggregate *aggregate_new(struct kpi_bind *bind, struct kpi_place place)
{
    if (bind->aggregates->count == KPI_AGGREGATES_MAX) {
        kpi_fail(bind->ctx, KP_LIMIT, place, "more than %d aggregates", KPI_AGGREGATES_MAX);
        return NULL;
    }
    struct kpi_aggregate *aggregate = kpi_new(bind->ctx, 1, sizeof(*aggregate));
    if (aggregate != NULL)
        bind->aggregates->items[bind->aggregates->count++] = aggregate;
    return aggregate;
}

static struct kp_str text_of(struct kpi_bind *bind, struct kp_str a, struct kp_str b)
{
    char text[160];
    int length = snprintf(text, sizeof(text), "%.*s_%.*s", (int)KP_MIN(a.len, 60u), a.ptr,
                          (int)KP_MIN(b.len, 60u), b.ptr);
    struct kp_str copy = {text, (uint32_t)KP_MIN(length, (int)sizeof(text) - 1)};
    copy = kp_arena_str(bind->ctx->arena, copy);
    if (copy.ptr == NULL)
        kpi_fail_memory(bind->ctx);
    return copy;
}

/* count_, sum_dur, percentile_dur_95; arg_max(ts, comm) gives its columns their own names. */
static struct kp_str aggregate_name(struct kpi_bind *bind, struct kp_str call,
                                    const struct kpi_node *first, struct kp_str suffix)
{
    struct kp_str name = text_of(
        bind, call, first != NULL && first->kind == KPI_NODE_NAME ? first->name : KP_STR(""));
    if (kp_str_equal(call, KP_STR("take_any")) && first != NULL && first->kind == KPI_NODE_NAME)
        return first->name;
    bool list =
        kp_str_equal(call, KP_STR("make_list")) || kp_str_equal(call, KP_STR("make_list_if"));
    bool set = kp_str_equal(call, KP_STR("make_set")) || kp_str_equal(call, KP_STR("make_set_if"));
    if (list || set)
        name = text_of(bind, list ? KP_STR("list") : KP_STR("set"),
                       first != NULL && first->kind == KPI_NODE_NAME ? first->name : KP_STR(""));
    return suffix.len == 0 ? name : text_of(bind, name, suffix);
}

static void fail_aggregate(struct kpi_bind *bind, const struct kpi_node *node,
                           const enum kp_type *types, uint32_t count)
{
    struct kp_buf list = {0}, forms = {0};
    for (uint32_t i = 0; i < count; i++)
        kp_buf_printf(&list, "%s%s", i > 0 ? ", " : "", kp_type_name(types[i]));
    const struct kpi_aggregate_func *func;
    for (uint32_t i = 0; (func = kpi_aggregate_at(i)) != NULL; i++) {
        if (!kp_str_equal(node->name, kp_str_from(func->name)))
            continue;
        kp_buf_text(&forms, forms.size > 0 ? ", or (" : "it takes (");
        kpi_letters_text(func->args, &forms);
        kp_buf_char(&forms, ')');
    }
    kpi_fail(bind->ctx, KP_INVALID, node->place, "'%.*s' does not take (%s)",
             (int)KP_MIN(node->name.len, 60u), node->name.ptr, kp_buf_cstr(&list));
    kpi_hint(bind->ctx, "%s",
             forms.size > 0 ? kp_buf_cstr(&forms) : "the last argument is the condition");
    kp_buf_deinit(&list);
    kp_buf_deinit(&forms);
}

static struct kpi_expr *slot_column(struct kpi_bind *bind, const struct kpi_aggregate *aggregate,
                                    uint32_t slot, struct kpi_place place)
{
    struct kpi_expr *expr = kpi_new(bind->ctx, 1, sizeof(*expr));
    if (expr == NULL)
        return NULL;
    *expr = (struct kpi_expr){.kind = KPI_EXPR_COLUMN,
                              .type = aggregate->type,
                              .unit = aggregate->unit,
                              .place = place,
                              .name = aggregate->name,
                              .column = bind->keys + slot};
    return expr;
}

/* Splits bound arguments into values, the constant parameter and the condition of an if form. */
static bool take_arguments(struct kpi_bind *bind, struct kpi_aggregate *aggregate,
                           struct kpi_expr **args, uint32_t count, bool if_form)
{
    if (if_form)
        aggregate->filter = args[--count];
    const char *letters = aggregate->func->args;
    bool parameter = count > 0 && letters[0] != '\0' && letters[strlen(letters) - 1] == 'c';
    if (parameter) {
        const struct kpi_expr *last = args[--count];
        if (last->kind != KPI_EXPR_CONST || last->value.null) {
            kpi_fail(bind->ctx, KP_INVALID, last->place, "this must be a constant number");
            return false;
        }
        aggregate->parameter =
            last->type == KP_TYPE_F64 ? last->value.f64 : (double)last->value.i64;
    }
    aggregate->args = kpi_new(bind->ctx, count, sizeof(*aggregate->args));
    for (uint32_t i = 0; aggregate->args != NULL && i < count; i++) {
        char letter = i < strcspn(letters, "*") ? letters[i] : '.';
        bool cast = letter == 'r' || letter == 'l';
        aggregate->args[i] = cast ? kpi_bind_cast(bind, args[i], kpi_letter_type(letter)) : args[i];
        if (aggregate->args[i] == NULL)
            return false;
    }
    aggregate->args_count = count;
    return aggregate->args != NULL;
}

static bool percentile_range(struct kpi_bind *bind, const struct kpi_aggregate *aggregate,
                             struct kpi_place place)
{
    bool good = strncmp(aggregate->func->name, "percentile", 10) != 0 ||
                (aggregate->parameter >= 0 && aggregate->parameter <= 100);
    if (!good)
        kpi_fail(bind->ctx, KP_INVALID, place, "a percentile lies between 0 and 100");
    return good;
}

/* One aggregate over bound arguments; its column in the answer. */
static struct kpi_expr *add_aggregate(struct kpi_bind *bind, const struct kpi_node *node,
                                      struct kp_str name, struct kpi_expr **args, uint32_t count,
                                      struct kp_str suffix)
{
    enum kp_type types[KPI_ARGS_MAX] = {KP_TYPE_NULL};
    bool if_form = false;
    for (uint32_t i = 0; i < count; i++)
        types[i] = args[i]->type;
    const struct kpi_aggregate_func *func = kpi_aggregate_resolve(name, types, count, &if_form);
    if (func == NULL) {
        fail_aggregate(bind, node, types, count);
        return NULL;
    }
    uint32_t slot = bind->aggregates->count;
    struct kpi_aggregate *aggregate = aggregate_new(bind, node->place);
    if (aggregate == NULL)
        return NULL;
    aggregate->func = func;
    if (!take_arguments(bind, aggregate, args, count, if_form) ||
        !percentile_range(bind, aggregate, node->place))
        return NULL;
    aggregate->type =
        func->result == 'T' ? aggregate->args[0]->type : kpi_letter_type(func->result);
    bool time = aggregate->type == KP_TYPE_DUR || aggregate->type == KP_TYPE_TIME;
    if (time)
        aggregate->unit = KP_UNIT_NS;
    else if (!func->zero_unit && aggregate->args_count > 0 &&
             aggregate->args[0]->unit != KP_UNIT_ID)
        aggregate->unit = aggregate->args[0]->unit;
    const struct kpi_node *first = aggregate->args_count > 0 ? node->args[0] : NULL;
    bool pair = strncmp(func->name, "covariance", 10) == 0 && node->args[1]->kind == KPI_NODE_NAME;
    if (pair)
        suffix = node->args[1]->name;
    aggregate->name = aggregate_name(bind, name, first, suffix);
    return slot_column(bind, aggregate, slot, node->place);
}

static struct kpi_bind of_rows(const struct kpi_bind *bind)
{
    struct kpi_bind rows = *bind;
    rows.schema = bind->input;
    rows.aggregates = NULL;
    return rows;
}

/* percentiles_array(x, 25, 50), also with the numbers as one array: an array of their percentiles.
 */
static struct kpi_expr *bind_percentiles_array(struct kpi_bind *bind, const struct kpi_node *node)
{
    bool weighted = kp_str_equal(node->name, KP_STR("percentilesw_array"));
    uint32_t values = weighted ? 2 : 1, count = 0;
    struct kpi_bind rows = of_rows(bind), in_rows = *bind;
    struct kpi_expr *slots[KPI_ARGS_MAX], *args[3] = {NULL};
    in_rows.schema = bind->input;
    for (uint32_t i = values; i < node->args_count && count < KPI_ARGS_MAX; i++) {
        struct kpi_expr *number = kpi_bind_expr(&rows, node->args[i]);
        bool list = number != NULL && number->type == KP_TYPE_DYN;
        for (int64_t e = 0; number != NULL && count < KPI_ARGS_MAX; e++) {
            struct kp_str element =
                list ? kpi_json_element(number->value.str, e) : (struct kp_str){NULL, 0};
            struct kpi_value value;
            if (list && (element.ptr == NULL || !kpi_literal_real(element, &value)))
                break;
            for (uint32_t v = 0; v < values; v++)
                args[v] = kpi_bind_expr(&rows, node->args[v]);
            args[values] = list ? kpi_bind_value(bind, value, number->place) : number;
            slots[count] = add_aggregate(&in_rows, node,
                                         weighted ? KP_STR("percentilew") : KP_STR("percentile"),
                                         args, values + 1, KP_STR(""));
            if (slots[count++] == NULL)
                return NULL;
            if (!list)
                break;
        }
    }
    if (count == 0 && bind->ctx->status == KP_OK)
        kpi_fail(bind->ctx, KP_INVALID, node->place, "'%.*s' takes numbers from 0 to 100",
                 (int)node->name.len, node->name.ptr);
    return bind->ctx->status == KP_OK
               ? kpi_bind_named(bind, "pack_array", node->place, slots, count)
               : NULL;
}

struct kpi_expr *kpi_bind_aggregate(struct kpi_bind *bind, const struct kpi_node *node)
{
    struct kpi_expr *args[KPI_ARGS_MAX];
    if (bind->aggregates == NULL) {
        kpi_fail(bind->ctx, KP_INVALID, node->place, "'%.*s' is an aggregate and needs summarize",
                 (int)KP_MIN(node->name.len, 60u), node->name.ptr);
        kpi_hint(bind->ctx, "write: | summarize %.*s(...)", (int)KP_MIN(node->name.len, 60u),
                 node->name.ptr);
        return NULL;
    }
    if (kp_str_equal(node->name, KP_STR("percentiles_array")) ||
        kp_str_equal(node->name, KP_STR("percentilesw_array")))
        return bind_percentiles_array(bind, node);
    struct kpi_bind rows = of_rows(bind);
    if (node->args_count >= KPI_ARGS_MAX) {
        kpi_fail(bind->ctx, KP_LIMIT, node->place, "too many arguments");
        return NULL;
    }
    for (uint32_t i = 0; i < node->args_count; i++)
        if ((args[i] = kpi_bind_expr(&rows, node->args[i])) == NULL)
            return NULL;
    struct kpi_bind in_rows = *bind;
    in_rows.schema = bind->input;
    bool ranked = kp_str_equal(node->name, KP_STR("percentile")) && node->args_count == 2;
    return add_aggregate(&in_rows, node, node->name, args, node->args_count,
                         ranked ? node->args[1]->name : KP_STR(""));
}

/* --- the list of a summarize --- */

/* percentiles(x, 50, 95): one aggregate for each number. */
static bool bind_percentiles(struct kpi_bind *bind, const struct kpi_node *node,
                             struct kpi_outputs *outputs)
{
    struct kpi_bind rows = of_rows(bind);
    bool weighted = kp_str_equal(node->name, KP_STR("percentilesw"));
    uint32_t values = weighted ? 2 : 1;
    for (uint32_t i = values; i < node->args_count; i++) {
        struct kpi_expr *args[3] = {kpi_bind_expr(&rows, node->args[0]),
                                    kpi_bind_expr(&rows, node->args[weighted ? 1 : i]),
                                    kpi_bind_expr(&rows, node->args[i])};
        if (args[0] == NULL || args[1] == NULL || args[2] == NULL)
            return false;
        struct kp_str name = weighted ? KP_STR("percentilew") : KP_STR("percentile");
        struct kpi_expr *slot =
            add_aggregate(bind, node, name, args, values + 1, node->args[i]->name);
        if (slot == NULL || !kpi_outputs_add(bind, outputs, slot->name, slot))
            return false;
    }
    return true;
}

static bool add_follower(struct kpi_bind *bind, struct kpi_outputs *outputs,
                         struct kpi_aggregate *lead, uint32_t column, struct kp_str name)
{
    static const char reader[] = "(column of arg)";
    uint32_t slot = bind->aggregates->count;
    struct kpi_aggregate *aggregate = aggregate_new(bind, lead->args[column]->place);
    if (aggregate == NULL)
        return false;
    enum kp_type type = lead->args[column]->type;
    bool if_form;
    aggregate->func = kpi_aggregate_resolve(kp_str_from(reader), &type, 1, &if_form);
    aggregate->lead = lead;
    aggregate->shared = column;
    aggregate->type = type;
    aggregate->unit = lead->args[column]->unit;
    aggregate->name = name;
    struct kpi_expr *expr = slot_column(bind, aggregate, slot, lead->args[column]->place);
    return expr != NULL && kpi_outputs_add(bind, outputs, name, expr);
}

/* arg_max(x, a, b) and arg_max(x, *): x, then the other columns of that row. */
static bool bind_arg(struct kpi_bind *bind, const struct kpi_item *item,
                     struct kpi_outputs *outputs)
{
    const struct kpi_node *node = item->expr;
    struct kpi_bind rows = of_rows(bind);
    struct kpi_expr *args[KPI_ARGS_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < node->args_count; i++) {
        bool star = node->args[i]->kind == KPI_NODE_STAR && i == 1 && node->args_count == 2;
        for (uint32_t c = 0; star && c < bind->input->count && count < KPI_ARGS_MAX - 1; c++)
            if ((args[0]->kind != KPI_EXPR_COLUMN || args[0]->column != c) &&
                kp_schema_find(bind->schema, bind->input->fields[c].name) < 0)
                args[count++] = kpi_bind_column(&rows, c, node->args[i]->place);
        if (!star && count < KPI_ARGS_MAX - 1)
            args[count++] = kpi_bind_expr(&rows, node->args[i]);
        if (count > 0 && args[count - 1] == NULL)
            return false;
    }
    struct kpi_expr *slot = add_aggregate(bind, node, node->name, args, count, KP_STR(""));
    if (slot == NULL)
        return false;
    struct kpi_aggregate *lead = bind->aggregates->items[slot->column - bind->keys];
    struct kp_str first = item->name.ptr != NULL             ? item->name
                          : item->names.count > 0            ? item->names.first->name
                          : args[0]->kind == KPI_EXPR_COLUMN ? args[0]->name
                                                             : lead->name;
    lead->name = first;
    if (!kpi_outputs_add(bind, outputs, first, slot))
        return false;
    const struct kpi_item *given = item->names.first;
    for (uint32_t i = 1; i < count; i++) {
        given = given != NULL ? given->next : NULL;
        struct kp_str name = given != NULL                      ? given->name
                             : args[i]->kind == KPI_EXPR_COLUMN ? args[i]->name
                                                                : lead->name;
        if (!add_follower(bind, outputs, lead, i, name))
            return false;
    }
    return true;
}

static bool is_call(const struct kpi_node *node, const char *a, const char *b)
{
    return node->kind == KPI_NODE_CALL &&
           (kp_str_equal(node->name, kp_str_from(a)) || kp_str_equal(node->name, kp_str_from(b)));
}

static bool bind_item(struct kpi_bind *bind, const struct kpi_item *item,
                      struct kpi_outputs *outputs, uint32_t number)
{
    if (is_call(item->expr, "percentiles", "percentilesw"))
        return bind_percentiles(bind, item->expr, outputs);
    if (is_call(item->expr, "arg_max", "arg_min"))
        return bind_arg(bind, item, outputs);
    uint32_t before = bind->aggregates->count;
    struct kpi_expr *expr = kpi_bind_expr(bind, item->expr);
    if (expr == NULL)
        return false;
    if (bind->aggregates->count == before && expr->kind != KPI_EXPR_CONST) {
        kpi_fail(bind->ctx, KP_INVALID, item->place, "summarize needs an aggregate here");
        kpi_hint(bind->ctx, "put plain columns after `by`, or use take_any(column)");
        return false;
    }
    struct kp_str name = item->name;
    if (name.ptr == NULL && expr->kind == KPI_EXPR_COLUMN)
        name = expr->name;
    if (name.ptr == NULL)
        name = kpi_auto_name(bind, item->expr, "Column", number);
    return kpi_outputs_add(bind, outputs, name, expr);
}

/* --- the operator --- */

static bool bind_keys(struct kpi_bind *bind, const struct kpi_items *by, struct kpi_outputs *keys)
{
    uint32_t number = 1;
    for (const struct kpi_item *item = by->first; item != NULL; item = item->next) {
        struct kpi_expr *expr = kpi_bind_expr(bind, item->expr);
        if (expr == NULL)
            return false;
        if (expr->type == KP_TYPE_NULL)
            expr = kpi_bind_cast(bind, expr, KP_TYPE_STR);
        struct kp_str name = item->name.ptr != NULL
                                 ? item->name
                                 : kpi_auto_name(bind, item->expr, "Column", number++);
        if (expr == NULL || !kpi_outputs_add(bind, keys, name, expr))
            return false;
    }
    return true;
}

static struct kpi_op *on_top(struct kpi_bind *bind, struct kpi_op *groups,
                             const struct kpi_outputs *keys, struct kpi_outputs *results)
{
    struct kpi_bind above = *bind;
    above.schema = &groups->schema;
    struct kpi_outputs all = {0};
    for (uint32_t i = 0; i < keys->count; i++)
        if (!kpi_outputs_add(&above, &all, keys->fields[i].name,
                             kpi_bind_column(&above, i, keys->exprs[i]->place)))
            return NULL;
    for (uint32_t i = 0; i < results->count; i++)
        if (!kpi_outputs_add(&above, &all, results->fields[i].name, results->exprs[i]))
            return NULL;
    return kpi_op_project(groups, "project", all.fields, all.exprs, all.count);
}

struct kpi_op *kpi_bind_summarize(struct kpi_bind *bind, struct kpi_op *input,
                                  const struct kpi_items *items, const struct kpi_items *by)
{
    struct kpi_outputs keys = {0}, results = {0};
    struct kpi_aggregates *aggregates = kpi_new(bind->ctx, 1, sizeof(*aggregates));
    if (aggregates == NULL || !bind_keys(bind, by, &keys))
        return NULL;
    if (keys.count >= KPI_ARGS_MAX) {
        kpi_fail(bind->ctx, KP_LIMIT, by->first->place, "more than %d columns to group by",
                 KPI_ARGS_MAX - 1);
        return NULL;
    }
    struct kp_schema key_schema = {keys.fields, keys.count};
    struct kpi_bind inside = *bind;
    inside.input = bind->schema;
    inside.schema = &key_schema;
    inside.aggregates = aggregates;
    inside.keys = keys.count;
    uint32_t number = 1;
    for (const struct kpi_item *item = items->first; item != NULL; item = item->next)
        if (!bind_item(&inside, item, &results, number++))
            return NULL;
    struct kpi_op *groups =
        kpi_op_aggregate(input, keys.exprs, keys.fields, keys.count, aggregates, by->count == 0);
    if (groups == NULL || items->count == 0)
        return groups;
    return on_top(bind, groups, &keys, &results);
}
