/* SPDX-License-Identifier: Apache-2.0
 *
 * Columns named by values: project-by-names, column_names_of(), assert-schema.
 */
#include "query/func.h"
#include "query/names.h"
#include "query/shape.h"

static bool matches(struct kp_str pattern, struct kp_str name)
{
    bool star = pattern.len > 0 && pattern.ptr[pattern.len - 1] == '*';
    uint32_t len = pattern.len - star;
    return (star ? name.len >= len : name.len == len) && memcmp(pattern.ptr, name.ptr, len) == 0;
}

/* All columns that a name, or a beginning with * behind it, stands for; each once. */
static bool add_named(struct kpi_bind *bind, struct kp_str pattern, struct kpi_place place,
                      struct kpi_outputs *outputs)
{
    bool found = false;
    for (uint32_t i = 0; i < bind->schema->count; i++) {
        struct kp_str name = bind->schema->fields[i].name;
        struct kp_schema so_far = {outputs->fields, outputs->count};
        if (!matches(pattern, name))
            continue;
        found = true;
        if (kp_schema_find(&so_far, name) < 0 &&
            !kpi_outputs_add(bind, outputs, name, kpi_bind_column(bind, i, place)))
            return false;
    }
    if (!found)
        kpi_bind_find(bind, pattern, place);
    return found;
}

static bool add_array(struct kpi_bind *bind, struct kp_str json, struct kpi_place place,
                      struct kpi_outputs *outputs)
{
    struct kpi_eval eval = {.ctx = bind->ctx};
    struct kpi_json_walk walk;
    struct kp_str element;
    if (!kpi_json_array(json, &walk)) {
        kpi_fail(bind->ctx, KP_INVALID, place, "names of columns come as texts or an array");
        return false;
    }
    while (kpi_json_next(&walk, &element))
        if (!add_named(bind, kpi_json_plain(&eval, element), place, outputs))
            return false;
    return true;
}

struct kpi_op *kpi_bind_by_names(struct kpi_bind *bind, struct kpi_op *input,
                                 const struct kpi_stage *stage)
{
    struct kpi_outputs outputs = {0};
    struct kpi_bind alone = *bind;
    alone.schema = NULL;
    for (const struct kpi_item *item = stage->items.first; item != NULL; item = item->next) {
        struct kpi_expr *names = kpi_bind_expr(&alone, item->expr);
        if (names == NULL)
            return NULL;
        bool good = names->kind == KPI_EXPR_CONST && kp_type_phys(names->type) == KP_PHYS_STR;
        if (!good) {
            kpi_fail(bind->ctx, KP_INVALID, item->place, "names of columns are constant texts");
            return NULL;
        }
        if (names->type == KP_TYPE_STR ? !add_named(bind, names->value.str, item->place, &outputs)
                                       : !add_array(bind, names->value.str, item->place, &outputs))
            return NULL;
    }
    if (outputs.count == 0) {
        kpi_fail(bind->ctx, KP_INVALID, stage->place, "no column is left");
        return NULL;
    }
    return kpi_op_project(input, "project-by-names", outputs.fields, outputs.exprs, outputs.count);
}

struct kpi_op *kpi_bind_assert_schema(struct kpi_bind *bind, struct kpi_op *input,
                                      const struct kpi_stage *stage)
{
    uint32_t i = 0;
    for (const struct kpi_item *item = stage->items.first; item != NULL; item = item->next, i++) {
        enum kp_type type;
        if (!kpi_type_named(bind, item->expr->name, item->expr->place, &type))
            return NULL;
        const struct kp_field *field = i < input->schema.count ? &input->schema.fields[i] : NULL;
        if (field != NULL && kp_str_equal(field->name, item->name) && field->type == type)
            continue;
        if (field == NULL)
            kpi_fail(bind->ctx, KP_INVALID, item->place, "the table has only %u columns",
                     input->schema.count);
        else
            kpi_fail(bind->ctx, KP_INVALID, item->place, "column %u is %.*s:%s, not %.*s:%s", i + 1,
                     (int)field->name.len, field->name.ptr, kp_type_name(field->type),
                     (int)item->name.len, item->name.ptr, kp_type_name(type));
        return NULL;
    }
    if (i < input->schema.count) {
        kpi_fail(bind->ctx, KP_INVALID, stage->place, "the table has %u columns, not %u",
                 input->schema.count, i);
        return NULL;
    }
    return input;
}

struct kpi_expr *kpi_bind_column_names(struct kpi_bind *bind, const struct kpi_node *node)
{
    const struct kpi_pipe *pipe = kpi_name_table(bind, node->args[0]);
    struct kpi_bind apart = *bind;
    struct kp_buf json = {0};
    apart.schema = NULL;
    apart.aggregates = NULL;
    apart.windows = NULL;
    apart.rows = NULL;
    if (pipe == NULL && bind->ctx->status == KP_OK)
        kpi_fail(bind->ctx, KP_INVALID, node->place, "column_names_of takes a table");
    struct kpi_op *op = pipe == NULL ? NULL : kpi_bind_pipe(&apart, pipe);
    for (uint32_t i = 0; op != NULL && i < op->schema.count; i++) {
        kp_buf_char(&json, i > 0 ? ',' : '[');
        kpi_json_quote(op->schema.fields[i].name, &json);
    }
    kp_buf_char(&json, ']');
    struct kpi_value value = {.type = KP_TYPE_DYN,
                              .str =
                                  kp_arena_str(bind->ctx->arena, kp_str_from(kp_buf_cstr(&json)))};
    bool good = op != NULL && value.str.ptr != NULL;
    kp_buf_deinit(&json);
    return good ? kpi_bind_value(bind, value, node->place) : NULL;
}
