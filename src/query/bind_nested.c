/* SPDX-License-Identifier: Apache-2.0
 *
 * top-nested: its levels bound and named. What is left of a level goes on while a level from there
 * on has a label for it.
 */
#include "query/nested.h"

static bool mentions(const struct kpi_node *node, struct kp_str name)
{
    if (node->kind == KPI_NODE_STAR ||
        (node->kind == KPI_NODE_NAME && kp_str_equal(node->name, name)))
        return true;
    for (uint32_t i = 0; i < node->args_count; i++)
        if (mentions(node->args[i], name))
            return true;
    return false;
}

static bool bind_label(struct kpi_bind *bind, const struct kpi_stage *level,
                       struct kpi_nested_level *out)
{
    if (level->items.first->otherwise == NULL)
        return true;
    struct kpi_expr *label = kpi_bind_expr(bind, level->items.first->otherwise);
    if (label == NULL)
        return false;
    bool fits = label->type == out->key->type || label->type == KP_TYPE_NULL ||
                (label->type == KP_TYPE_I64 && out->key->type == KP_TYPE_F64);
    if (!fits) {
        kpi_fail(bind->ctx, KP_INVALID, level->items.first->otherwise->place,
                 "the others of a %s are no %s", kp_type_name(out->key->type),
                 kp_type_name(label->type));
        return false;
    }
    label = kpi_bind_cast(bind, label, out->key->type);
    if (label == NULL)
        return false;
    if (label->kind != KPI_EXPR_CONST) {
        kpi_fail(bind->ctx, KP_INVALID, level->items.first->otherwise->place,
                 "the others need a constant value");
        return false;
    }
    out->label = label->value;
    out->labelled = true;
    return true;
}

static bool bind_level(struct kpi_bind *bind, const struct kpi_stage *level,
                       struct kpi_nested_level *out)
{
    struct kpi_value count = {.i64 = INT64_MAX};
    *out = (struct kpi_nested_level){.aggregate = level->by.first,
                                     .ascending = level->by.first->ascending};
    out->key = kpi_bind_expr(bind, level->items.first->expr);
    if (out->key != NULL && out->key->type == KP_TYPE_NULL)
        out->key = kpi_bind_cast(bind, out->key, KP_TYPE_STR);
    if (out->key == NULL ||
        (level->expr != NULL &&
         !kpi_bind_constant(bind, level->expr, KP_TYPE_I64, "the number of values", &count)))
        return false;
    if (count.i64 < 0) {
        kpi_fail(bind->ctx, KP_INVALID, level->expr->place, "the number of values is negative");
        return false;
    }
    out->count = (uint64_t)count.i64;
    return bind_label(bind, level, out);
}

/* name of the key, aggregated_name of its value; no name twice. */
static bool add_names(struct kpi_bind *bind, const struct kpi_stage *level, uint32_t number,
                      struct kpi_expr *key, struct kpi_outputs *out)
{
    struct kp_str name = level->items.first->name.ptr != NULL
                             ? level->items.first->name
                             : kpi_auto_name(bind, level->items.first->expr, "Column", number);
    struct kp_str value = level->by.first->name;
    if (value.ptr == NULL) {
        struct kp_buf text = {0};
        kp_buf_text(&text, "aggregated_");
        kp_buf_str(&text, name);
        value = kp_arena_str(bind->ctx->arena, kp_str_from(kp_buf_cstr(&text)));
        kp_buf_deinit(&text);
        if (value.ptr == NULL)
            kpi_fail_memory(bind->ctx);
    }
    return kpi_outputs_add(bind, out, name, key) && kpi_outputs_add(bind, out, value, key);
}

static bool find_need(struct kpi_bind *bind, const struct kpi_stage *stage,
                      struct kpi_nested *nested)
{
    nested->need = kpi_new(bind->ctx, bind->schema->count, sizeof(*nested->need));
    if (nested->need == NULL)
        return false;
    for (uint32_t k = 0; k < nested->count; k++)
        kpi_expr_columns(nested->levels[k].key, nested->need);
    for (const struct kpi_stage *level = stage; level != NULL; level = level->below)
        for (uint32_t c = 0; c < bind->schema->count; c++)
            nested->need[c] |= mentions(level->by.first->expr, bind->schema->fields[c].name);
    return true;
}

struct kpi_op *kpi_bind_nested(struct kpi_bind *bind, struct kpi_op *input,
                               const struct kpi_stage *stage)
{
    struct kpi_nested nested = {.bind = *bind};
    struct kpi_outputs names = {0};
    uint32_t count = 0;
    for (const struct kpi_stage *level = stage; level != NULL; level = level->below)
        count++;
    nested.levels = kpi_new(bind->ctx, count, sizeof(*nested.levels));
    for (const struct kpi_stage *level = stage; nested.levels != NULL && level != NULL;
         level = level->below) {
        struct kpi_nested_level *out = &nested.levels[nested.count++];
        if (!bind_level(bind, level, out) ||
            !add_names(bind, level, nested.count, out->key, &names))
            return NULL;
    }
    if (nested.levels == NULL || !find_need(bind, stage, &nested))
        return NULL;
    for (uint32_t k = count; k-- > 0;)
        nested.levels[k].kept =
            nested.levels[k].labelled || (k + 1 < count && nested.levels[k + 1].kept);
    struct kp_field *keys = kpi_new(bind->ctx, count, sizeof(*keys));
    struct kp_str *values = kpi_new(bind->ctx, count, sizeof(*values));
    for (uint32_t k = 0; keys != NULL && values != NULL && k < count; k++) {
        keys[k] = names.fields[2 * k];
        values[k] = names.fields[2 * k + 1].name;
    }
    return bind->ctx->status == KP_OK ? kpi_op_nested(input, &nested, keys, values) : NULL;
}
