/* SPDX-License-Identifier: Apache-2.0
 *
 * scan: its conditions and assignments read the columns of the row, the declared ones, and
 * `step.column` of every step; the scope of their names is one wide row with all of these.
 */
#include <stdio.h>

#include "query/plan.h"
#include "query/steps.h"

static bool declare(struct kpi_bind *bind, const struct kpi_stage *stage,
                    struct kpi_outputs *outputs, struct kpi_value *otherwise)
{
    uint32_t i = 0;
    for (const struct kpi_item *item = stage->items.first; item != NULL; item = item->next) {
        struct kpi_value value = {.null = true, .str = KP_STR("")};
        enum kp_type type;
        if (!kpi_type_named(bind, item->type, item->place, &type))
            return false;
        value.type = type;
        value.null = kp_type_phys(type) != KP_PHYS_STR;
        if (item->expr != NULL &&
            !kpi_bind_constant(bind, item->expr, type, "what a column begins with", &value))
            return false;
        otherwise[i++] = value;
        if (!kpi_outputs_put(bind, outputs, item->name, kpi_bind_value(bind, value, item->place)))
            return false;
    }
    return true;
}

/* The columns again for each step, as step.column. */
static bool add_scope(struct kpi_bind *bind, const struct kpi_stage *stage,
                      const struct kpi_outputs *width, struct kpi_outputs *scope)
{
    for (uint32_t c = 0; c < width->count; c++)
        if (!kpi_outputs_add(bind, scope, width->fields[c].name, width->exprs[c]))
            return false;
    for (const struct kpi_step *step = stage->steps.first; step != NULL; step = step->next) {
        for (uint32_t c = 0; c < width->count; c++) {
            char text[200];
            int length = snprintf(text, sizeof(text), "%.*s.%.*s", (int)KP_MIN(step->name.len, 60u),
                                  step->name.ptr, (int)KP_MIN(width->fields[c].name.len, 120u),
                                  width->fields[c].name.ptr);
            struct kp_str name = {text, (uint32_t)length};
            if (!kpi_outputs_add(bind, scope, name, width->exprs[c]))
                return false;
        }
    }
    return true;
}

static bool bind_output(struct kpi_bind *bind, const struct kpi_step *step,
                        struct kpi_step_plan *out)
{
    bool all = step->output.ptr == NULL || kp_str_equal(step->output, KP_STR("all"));
    out->silent = kp_str_equal(step->output, KP_STR("none"));
    out->optional = step->optional;
    out->last = kp_str_equal(step->output, KP_STR("last"));
    if (all || out->silent || out->last)
        return true;
    kpi_fail(bind->ctx, KP_INVALID, step->place, "output=%.*s means nothing",
             (int)KP_MIN(step->output.len, 20u), step->output.ptr);
    kpi_hint(bind->ctx, "output=all, output=last or output=none");
    return false;
}

static bool bind_assignments(struct kpi_bind *bind, const struct kpi_step *step, uint32_t inputs,
                             struct kpi_step_plan *out)
{
    out->values = kpi_new(bind->ctx, step->assignments.count, sizeof(struct kpi_expr *));
    out->targets = kpi_new(bind->ctx, step->assignments.count, sizeof(*out->targets));
    if (out->values == NULL || out->targets == NULL)
        return false;
    for (const struct kpi_item *item = step->assignments.first; item != NULL; item = item->next) {
        int at = item->name.ptr == NULL ? -1 : kpi_bind_find(bind, item->name, item->place);
        if (at < (int)inputs) {
            kpi_fail(bind->ctx, KP_INVALID, item->place, "only declared columns are assigned");
            kpi_hint(bind->ctx, "scan declare (name: type = value) with (...)");
            return false;
        }
        struct kpi_expr *value = kpi_bind_expr(bind, item->expr);
        value = kpi_bind_cast(bind, value, bind->schema->fields[at].type);
        if (value == NULL)
            return false;
        out->targets[out->count] = (uint32_t)at - inputs;
        out->values[out->count++] = value;
    }
    return true;
}

static bool bind_step(struct kpi_bind *bind, const struct kpi_step *step, uint32_t inputs,
                      struct kpi_step_plan *out)
{
    out->condition = kpi_bind_cast(bind, kpi_bind_expr(bind, step->condition), KP_TYPE_BOOL);
    return out->condition != NULL && bind_output(bind, step, out) &&
           bind_assignments(bind, step, inputs, out);
}

static bool bind_id(struct kpi_bind *bind, const struct kpi_stage *stage,
                    struct kpi_outputs *outputs, bool *out)
{
    struct kpi_value zero = {.type = KP_TYPE_I64};
    for (const struct kpi_item *p = stage->params.first; p != NULL; p = p->next) {
        if (!kp_str_equal(p->name, KP_STR("with_match_id"))) {
            kpi_fail(bind->ctx, KP_INVALID, p->place, "scan does not take '%.*s'",
                     (int)KP_MIN(p->name.len, 60u), p->name.ptr);
            kpi_hint(bind->ctx, "with_match_id=name");
            return false;
        }
        *out = true;
        if (!kpi_outputs_add(bind, outputs, p->expr->name, kpi_bind_value(bind, zero, p->place)))
            return false;
    }
    return true;
}

static bool too_wide(struct kpi_bind *bind, const struct kpi_stage *stage, uint32_t width)
{
    if (stage->steps.count <= KPI_STEPS_MAX &&
        (uint64_t)width * (stage->steps.count + 1) < KPI_COLUMNS_MAX)
        return false;
    kpi_fail(bind->ctx, KP_LIMIT, stage->place, "scan over too many steps and columns");
    kpi_hint(bind->ctx, "project the columns it needs first");
    return true;
}

struct kpi_op *kpi_bind_steps(struct kpi_bind *bind, struct kpi_op *input,
                              const struct kpi_stage *stage)
{
    struct kpi_outputs outputs = {0}, wide = {0};
    struct kpi_place nowhere = {0};
    struct kpi_value *otherwise = kpi_new(bind->ctx, stage->items.count, sizeof(*otherwise));
    struct kp_schema *scope = kpi_new(bind->ctx, 1, sizeof(*scope));
    struct kpi_steps_plan plan = {.inputs = input->schema.count,
                                  .declared = stage->items.count,
                                  .otherwise = otherwise,
                                  .scope = scope};
    plan.steps = kpi_new(bind->ctx, stage->steps.count, sizeof(*plan.steps));
    if (otherwise == NULL || scope == NULL || plan.steps == NULL)
        return NULL;
    for (uint32_t c = 0; c < input->schema.count; c++)
        if (!kpi_outputs_add(bind, &outputs, input->schema.fields[c].name,
                             kpi_bind_column(bind, c, nowhere)))
            return NULL;
    if (!declare(bind, stage, &outputs, otherwise))
        return NULL;
    if (outputs.count != plan.inputs + plan.declared) {
        kpi_fail(bind->ctx, KP_INVALID, stage->place, "a declared column is there already");
        return NULL;
    }
    if (too_wide(bind, stage, outputs.count) || !add_scope(bind, stage, &outputs, &wide))
        return NULL;
    *scope = (struct kp_schema){wide.fields, wide.count};
    struct kpi_bind inside = *bind;
    inside.schema = scope;
    inside.windows = NULL;
    for (const struct kpi_step *step = stage->steps.first; step != NULL; step = step->next)
        if (!bind_step(&inside, step, plan.inputs, &plan.steps[plan.count++]))
            return NULL;
    if (!bind_id(bind, stage, &outputs, &plan.match_id))
        return NULL;
    return kpi_op_steps(input, outputs.fields, outputs.count, &plan);
}
