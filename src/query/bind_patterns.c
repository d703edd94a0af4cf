/* SPDX-License-Identifier: Apache-2.0
 *
 * Arguments of evaluate basket, autocluster and diffpatterns. '~' stands for the default.
 */
#include "query/patterns.h"

#include "query/plugin.h"

static bool is_given(const struct kpi_node *call, uint32_t i)
{
    return i < call->args_count &&
           !(call->args[i]->kind == KPI_NODE_VALUE && call->args[i]->value.type == KP_TYPE_STR &&
             kp_str_equal(call->args[i]->value.str, KP_STR("~")));
}

/* A share at argument i, 0 < x < 1. */
static bool take_share(struct kpi_bind *bind, const struct kpi_node *call, uint32_t i,
                       const char *what, double *out)
{
    struct kpi_value value;
    if (!is_given(call, i))
        return true;
    if (!kpi_bind_constant(bind, call->args[i], KP_TYPE_F64, what, &value))
        return false;
    if (value.f64 > 0 && value.f64 < 1) {
        *out = value.f64;
        return true;
    }
    kpi_fail(bind->ctx, KP_INVALID, call->args[i]->place, "%s lies between 0 and 1", what);
    return false;
}

static bool none_after(struct kpi_bind *bind, const struct kpi_node *call, uint32_t i)
{
    for (; i < call->args_count; i++) {
        if (!is_given(call, i))
            continue;
        kpi_fail(bind->ctx, KP_UNSUPPORTED, call->args[i]->place,
                 "'%.*s' does not take this argument", (int)call->name.len, call->name.ptr);
        kpi_hint(bind->ctx, "nearest form: basket(threshold), autocluster(size_weight), "
                            "diffpatterns(column, a, b, '~', threshold)");
        return false;
    }
    return true;
}

/* 0 for rows of side a, 1 for b, null for others. */
static struct kpi_expr *bind_split(struct kpi_bind *bind, const struct kpi_node *call)
{
    struct kpi_place place = call->place;
    struct kpi_value side = {.type = KP_TYPE_I64};
    struct kpi_expr *sides[3], *args[3];
    for (uint32_t s = 0; s < 2; s++) {
        struct kpi_expr *equal[2] = {kpi_bind_expr(bind, call->args[0]),
                                     kpi_bind_expr(bind, call->args[1 + s])};
        if (equal[0] == NULL || equal[1] == NULL ||
            (sides[s] = kpi_bind_named(bind, "==", call->args[1 + s]->place, equal, 2)) == NULL)
            return NULL;
    }
    side.i64 = 1;
    args[0] = sides[1];
    args[1] = kpi_bind_value(bind, side, place);
    args[2] = kpi_bind_value(bind, (struct kpi_value){.type = KP_TYPE_I64, .null = true}, place);
    args[2] = kpi_bind_named(bind, "iff", place, args, 3);
    side.i64 = 0;
    args[0] = sides[0];
    args[1] = kpi_bind_value(bind, side, place);
    return args[2] == NULL ? NULL : kpi_bind_named(bind, "iff", place, args, 3);
}

static bool take_columns(struct kpi_bind *bind, const struct kpi_node *call,
                         struct kpi_patterns *out)
{
    const struct kpi_node *split = out->split != NULL ? call->args[0] : NULL;
    out->columns = kpi_new(bind->ctx, bind->schema->count, sizeof(*out->columns));
    for (uint32_t c = 0; out->columns != NULL && c < bind->schema->count; c++)
        if (split == NULL || split->kind != KPI_NODE_NAME ||
            !kp_str_equal(split->name, bind->schema->fields[c].name))
            out->columns[out->columns_count++] = c;
    if (out->columns != NULL && out->columns_count == 0)
        kpi_fail(bind->ctx, KP_INVALID, call->place, "there is no column to look for patterns in");
    return out->columns_count > 0;
}

struct kpi_op *kpi_plugin_patterns(struct kpi_bind *bind, struct kpi_op *input,
                                   const struct kpi_stage *stage)
{
    const struct kpi_node *call = stage->expr;
    struct kpi_patterns patterns = {.threshold = 0.05, .size_weight = 0.5};
    bool good = false;
    if (kp_str_equal(call->name, KP_STR("basket"))) {
        patterns.kind = KPI_BASKET;
        good = take_share(bind, call, 0, "the threshold", &patterns.threshold) &&
               none_after(bind, call, 1);
    } else if (kp_str_equal(call->name, KP_STR("autocluster"))) {
        patterns.kind = KPI_AUTOCLUSTER;
        good = take_share(bind, call, 0, "the weight of the size", &patterns.size_weight) &&
               none_after(bind, call, 1);
    } else if (call->args_count >= 3) {
        patterns.kind = KPI_DIFFPATTERNS;
        patterns.split = bind_split(bind, call);
        good = patterns.split != NULL && (!is_given(call, 3) || none_after(bind, call, 3)) &&
               take_share(bind, call, 4, "the threshold", &patterns.threshold) &&
               none_after(bind, call, 5);
    } else {
        kpi_fail(bind->ctx, KP_INVALID, call->place,
                 "diffpatterns takes a column and the two values that tell its sides");
    }
    return good && take_columns(bind, call, &patterns) ? kpi_op_patterns(input, &patterns) : NULL;
}
