/* SPDX-License-Identifier: Apache-2.0
 *
 * make-series: a filter on the axis, a summarize by keys and step, and the operator that writes the
 * arrays.
 */
#include "query/plan.h"
#include "query/series.h"

static bool bind_bound(struct kpi_bind *bind, const struct kpi_node *node, enum kp_type type,
                       const char *what, struct kpi_value *out)
{
    *out = (struct kpi_value){.type = type, .null = true};
    return node == NULL || kpi_bind_constant(bind, node, type, what, out);
}

static bool bind_axis(struct kpi_bind *bind, const struct kpi_stage *stage, enum kp_type type,
                      struct kpi_series *out)
{
    enum kp_type step = type == KP_TYPE_TIME ? KP_TYPE_DUR : type;
    bool counts =
        type == KP_TYPE_TIME || type == KP_TYPE_DUR || type == KP_TYPE_I64 || type == KP_TYPE_F64;
    if (!counts) {
        kpi_fail(bind->ctx, KP_INVALID, stage->place, "a series goes along numbers or time, not %s",
                 kp_type_name(type));
        return false;
    }
    if (!bind_bound(bind, stage->from, type, "the start of the series", &out->from) ||
        !bind_bound(bind, stage->to, type, "the end of the series", &out->to) ||
        !bind_bound(bind, stage->step, step, "the step of the series", &out->step))
        return false;
    bool forward = step == KP_TYPE_F64 ? out->step.f64 > 0 : out->step.i64 > 0;
    if (!forward)
        kpi_fail(bind->ctx, KP_INVALID, stage->step->place, "the step must be larger than 0");
    return forward;
}

/* Rows of the axis's range only. */
static struct kpi_op *in_range(struct kpi_bind *bind, struct kpi_op *input, struct kpi_expr *axis,
                               const struct kpi_series *series)
{
    const struct {
        const char *name;
        const struct kpi_value *value;
    } bounds[] = {{">=", &series->from}, {"<", &series->to}};
    for (size_t i = 0; i < KP_ARRAY_LEN(bounds); i++) {
        if (bounds[i].value->null)
            continue;
        struct kpi_expr *args[2] = {axis, kpi_bind_value(bind, *bounds[i].value, axis->place)};
        struct kpi_expr *condition = kpi_bind_named(bind, bounds[i].name, axis->place, args, 2);
        input = condition == NULL ? NULL : kpi_op_filter(input, condition);
        if (input == NULL)
            return NULL;
    }
    return input;
}

/* The step a row belongs to, as one more key of the summarize. */
static struct kpi_item *step_key(struct kpi_bind *bind, const struct kpi_item *axis,
                                 const struct kpi_stage *stage, struct kp_str name)
{
    struct kpi_token word = {.text = stage->from != NULL ? KP_STR("bin_at") : KP_STR("bin"),
                             .place = axis->place};
    struct kpi_node *bin = kpi_node_call(bind->ctx, &word, axis->expr, stage->step, stage->from);
    word.text = name;
    return kpi_item_new(bind->ctx, &word, bin);
}

static bool bind_defaults(struct kpi_bind *bind, const struct kpi_stage *stage,
                          const struct kp_field *fields, struct kpi_value *out)
{
    uint32_t i = 0;
    for (const struct kpi_item *item = stage->items.first; item != NULL; item = item->next, i++) {
        enum kp_type type = fields[i].type;
        out[i] = (struct kpi_value){.type = type};
        if (kp_type_phys(type) == KP_PHYS_STR)
            out[i].str = KP_STR("");
        if (item->otherwise == NULL)
            continue;
        struct kpi_expr *expr = kpi_bind_expr(bind, item->otherwise);
        if (expr == NULL)
            return false;
        out[i] = expr->value;
        if (expr->kind != KPI_EXPR_CONST) {
            kpi_fail(bind->ctx, KP_INVALID, item->otherwise->place, "default must be a constant");
            return false;
        }
    }
    return true;
}

struct kpi_op *kpi_bind_series(struct kpi_bind *bind, struct kpi_op *input,
                               const struct kpi_stage *stage)
{
    const struct kpi_item *on = stage->params.first;
    struct kpi_expr *axis = kpi_bind_expr(bind, on->expr);
    struct kpi_series series = {.keys = stage->by.count};
    if (axis == NULL || !bind_axis(bind, stage, axis->type, &series))
        return NULL;
    series.nonempty = stage->expr != NULL && kp_str_equal(stage->expr->name, KP_STR("nonempty"));
    input = in_range(bind, input, axis, &series);
    struct kp_str name =
        on->name.ptr != NULL ? on->name : kpi_auto_name(bind, on->expr, "Column", 1);
    struct kpi_item *step = step_key(bind, on, stage, name);
    if (input == NULL || step == NULL)
        return NULL;
    struct kpi_items by = {0};
    for (const struct kpi_item *item = stage->by.first; item != NULL; item = item->next) {
        struct kpi_item *copy = kpi_new(bind->ctx, 1, sizeof(*copy));
        if (copy == NULL)
            return NULL;
        *copy = *item;
        copy->next = NULL;
        by = kpi_items_add(by, copy);
    }
    struct kpi_op *groups =
        kpi_bind_summarize(bind, input, &stage->items, (by = kpi_items_add(by, step), &by));
    if (groups == NULL)
        return NULL;
    uint32_t count = groups->schema.count, values = count - series.keys - 1;
    struct kp_field *fields = kpi_new(bind->ctx, count, sizeof(*fields));
    struct kpi_value *otherwise = kpi_new(bind->ctx, values + 1, sizeof(*otherwise));
    if (fields == NULL || otherwise == NULL)
        return NULL;
    const struct kp_field *from = groups->schema.fields;
    if (values != stage->items.count) {
        kpi_fail(bind->ctx, KP_INVALID, stage->place, "a series is one aggregate with one value");
        return NULL;
    }
    if (!bind_defaults(bind, stage, from + series.keys + 1, otherwise))
        return NULL;
    series.otherwise = otherwise;
    memcpy(fields, from, series.keys * sizeof(*fields));
    for (uint32_t i = 0; i < values; i++)
        fields[series.keys + i] =
            (struct kp_field){from[series.keys + 1 + i].name, KP_TYPE_DYN, KP_UNIT_NONE};
    fields[count - 1] = (struct kp_field){from[series.keys].name, KP_TYPE_DYN, KP_UNIT_NONE};
    return kpi_op_series(groups, fields, count, &series);
}
