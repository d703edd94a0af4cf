/* SPDX-License-Identifier: Apache-2.0
 *
 * evaluate: plugins whose columns depend on the data. The table so far is run once to see what
 * columns there will be (unless the text says: evaluate f(...) : (name: type)), then bound again
 * below what the plugin comes down to: a projection for bag_unpack, a summarize for pivot.
 */
#include "query/func.h"
#include "query/names.h"
#include "query/plugin.h"

/* --- columns found in the data --- */

#define FOUND_MAX (KPI_COLUMNS_MAX / 2)

struct found {
    struct kpi_bind *bind;
    struct kpi_place place;
    struct kp_str names[FOUND_MAX];
    enum kp_type types[FOUND_MAX];
    uint32_t count;
};

static bool add_found(struct found *found, struct kp_str name, enum kp_type type)
{
    for (uint32_t i = 0; i < found->count; i++) {
        if (!kp_str_equal(found->names[i], name))
            continue;
        if (found->types[i] == KP_TYPE_NULL)
            found->types[i] = type;
        else if (type != KP_TYPE_NULL && type != found->types[i])
            found->types[i] = KP_TYPE_DYN;
        return true;
    }
    if (found->count == FOUND_MAX) {
        kpi_fail(found->bind->ctx, KP_LIMIT, found->place, "more than %d columns come of this",
                 FOUND_MAX);
        return false;
    }
    found->types[found->count] = type;
    found->names[found->count] = kp_arena_str(found->bind->ctx->arena, name);
    return found->names[found->count++].ptr != NULL;
}

static enum kp_type type_of_json(struct kp_str json)
{
    char first = json.len == 0 ? 'n' : json.ptr[0];
    bool point = memchr(json.ptr, '.', json.len) != NULL || memchr(json.ptr, 'e', json.len) != NULL;
    switch (first) {
    case 'n':
        return KP_TYPE_NULL;
    case '"':
    case '\'':
        return KP_TYPE_STR;
    case 't':
    case 'f':
        return KP_TYPE_BOOL;
    case '[':
    case '{':
        return KP_TYPE_DYN;
    default:
        return point ? KP_TYPE_F64 : KP_TYPE_I64;
    }
}

static bool look_at_bag(void *ctx, const struct kp_batch *batch, uint32_t row)
{
    struct found *found = ctx;
    struct kpi_json_walk walk;
    struct kp_str key, value;
    if (!kpi_json_object(kp_vec_str(&batch->cols[0], row), &walk))
        return true;
    while (kpi_json_next_member(&walk, &key, &value))
        if (!add_found(found, key, type_of_json(value)))
            return false;
    return true;
}

static bool look_at_value(void *ctx, const struct kp_batch *batch, uint32_t row)
{
    return add_found(ctx, kp_vec_str(&batch->cols[0], row), KP_TYPE_STR);
}

/* Runs the table up to this operator, one column of it, and shows each value to `each`. */
static bool look(struct kpi_bind *bind, const struct kpi_node *column, enum kp_type type,
                 kpi_each_row *each, struct found *found)
{
    struct kpi_pipe *before = bind->pipe->source == NULL ? NULL : kpi_pipe_before(bind);
    struct kpi_bind apart = *bind;
    if (bind->pipe->source == NULL) {
        kpi_fail(bind->ctx, KP_UNSUPPORTED, found->place,
                 "evaluate cannot stand inside partition or mv-apply without its columns");
        kpi_hint(bind->ctx, "nearest form: evaluate f(...) : (name: type)");
        return false;
    }
    struct kpi_op *op = before == NULL ? NULL : kpi_bind_pipe(&apart, before);
    if (op == NULL)
        return false;
    apart.schema = &op->schema;
    struct kpi_outputs outputs = {0};
    struct kpi_expr *expr = kpi_bind_cast(&apart, kpi_bind_expr(&apart, column), type);
    if (!kpi_outputs_add(&apart, &outputs, KP_STR("value"), expr))
        return false;
    op = kpi_op_project(op, "project", outputs.fields, outputs.exprs, 1);
    return op != NULL && kpi_subquery_run(op, each, found);
}

static bool given_columns(struct kpi_bind *bind, const struct kpi_stage *stage, struct found *found)
{
    for (const struct kpi_item *item = stage->items.first; item != NULL; item = item->next) {
        enum kp_type type;
        if (!kpi_type_named(bind, item->expr->name, item->expr->place, &type) ||
            !add_found(found, item->name, type))
            return false;
    }
    return true;
}

/* --- bag_unpack(column, prefix) --- */

static struct kpi_expr *member_as(struct kpi_bind *bind, uint32_t bag, struct kp_str name,
                                  enum kp_type type, struct kpi_place place)
{
    struct kpi_value key = {.type = KP_TYPE_STR, .str = name};
    struct kpi_expr *args[2] = {kpi_bind_column(bind, bag, place),
                                kpi_bind_value(bind, key, place)};
    struct kpi_expr *member = kpi_bind_named(bind, "member", place, args, 2);
    return type == KP_TYPE_DYN || type == KP_TYPE_NULL ? member : kpi_bind_cast(bind, member, type);
}

static struct kp_str prefixed(struct kpi_bind *bind, struct kp_str prefix, struct kp_str name)
{
    struct kp_buf text = {0};
    kp_buf_str(&text, prefix);
    kp_buf_str(&text, name);
    struct kp_str copy = kp_arena_str(bind->ctx->arena, kp_str_from(kp_buf_cstr(&text)));
    kp_buf_deinit(&text);
    return copy;
}

static struct kpi_op *bag_unpack(struct kpi_bind *bind, struct kpi_op *input,
                                 const struct kpi_stage *stage, struct found *found)
{
    const struct kpi_node *call = stage->expr;
    struct kpi_outputs outputs = {0};
    struct kpi_value prefix = {.str = KP_STR("")};
    int bag = call->args_count == 0 || call->args[0]->kind != KPI_NODE_NAME
                  ? -1
                  : kpi_bind_find(bind, call->args[0]->name, call->args[0]->place);
    if (bag < 0 || input->schema.fields[bag].type != KP_TYPE_DYN) {
        kpi_fail(bind->ctx, KP_INVALID, call->place, "bag_unpack takes a dynamic column");
        return NULL;
    }
    if (call->args_count > 1 &&
        !kpi_bind_constant(bind, call->args[1], KP_TYPE_STR, "the prefix", &prefix))
        return NULL;
    bool good = stage->items.count > 0 ? given_columns(bind, stage, found)
                                       : look(bind, call->args[0], KP_TYPE_DYN, look_at_bag, found);
    for (uint32_t c = 0; good && c < input->schema.count; c++)
        good = (int)c == bag || kpi_outputs_add(bind, &outputs, input->schema.fields[c].name,
                                                kpi_bind_column(bind, c, call->place));
    for (uint32_t i = 0; good && i < found->count; i++)
        good = kpi_outputs_add(
            bind, &outputs, prefixed(bind, prefix.str, found->names[i]),
            member_as(bind, (uint32_t)bag, found->names[i], found->types[i], call->place));
    if (good && outputs.count == 0)
        kpi_fail(bind->ctx, KP_INVALID, call->place, "no column is left");
    return good && outputs.count > 0
               ? kpi_op_project(input, "bag_unpack", outputs.fields, outputs.exprs, outputs.count)
               : NULL;
}

/* --- pivot(column, aggregate, keys...) --- */

static struct kpi_node *name_node(struct kpi_bind *bind, struct kp_str name, struct kpi_place place)
{
    struct kpi_token token = {.text = name, .place = place};
    return kpi_node_name(bind->ctx, &token);
}

/* sum(x) becomes sumif(x, tostring(column) == 'value'). */
static struct kpi_item *pivot_item(struct kpi_bind *bind, const struct kpi_node *call,
                                   struct kp_str value)
{
    const struct kpi_node *aggregate = call->args_count > 1 ? call->args[1] : NULL;
    struct kpi_place place = call->place;
    struct kpi_token word = {.text = KP_STR("tostring"), .place = place};
    struct kpi_token text = {.place = place, .value = {.type = KP_TYPE_STR, .str = value}};
    struct kpi_node *column = kpi_node_call(bind->ctx, &word, call->args[0], NULL, NULL);
    word.text = KP_STR("==");
    struct kpi_node *is =
        kpi_node_call(bind->ctx, &word, column, kpi_node_value(bind->ctx, &text), NULL);
    struct kpi_node *list = NULL;
    for (uint32_t i = 0; aggregate != NULL && i < aggregate->args_count; i++)
        list = kpi_node_append(bind->ctx, list, aggregate->args[i]);
    list = kpi_node_append(bind->ctx, list, is);
    struct kp_buf name = {0};
    struct kp_str plain = aggregate == NULL ? KP_STR("count") : aggregate->name;
    bool underscore =
        plain.len > 5 && (memcmp(plain.ptr, "make_", 5) == 0 || memcmp(plain.ptr, "take_", 5) == 0);
    kp_buf_printf(&name, "%.*s%s", (int)plain.len, plain.ptr, underscore ? "_if" : "if");
    word.text = kp_arena_str(bind->ctx->arena, kp_str_from(kp_buf_cstr(&name)));
    kp_buf_deinit(&name);
    struct kpi_node *node = kpi_node_finish(bind->ctx, list, &word, NULL);
    word.text = value.len == 0 ? KP_STR("Column1") : value;
    return node == NULL ? NULL : kpi_item_new(bind->ctx, &word, node);
}

static bool mentions(const struct kpi_node *node, struct kp_str name)
{
    if (node->kind == KPI_NODE_NAME)
        return kp_str_equal(node->name, name);
    for (uint32_t i = 0; i < node->args_count; i++)
        if (mentions(node->args[i], name))
            return true;
    return false;
}

static struct kpi_items pivot_keys(struct kpi_bind *bind, const struct kpi_node *call)
{
    struct kpi_items keys = {0};
    for (uint32_t i = 2; i < call->args_count; i++)
        keys = kpi_items_add(keys, kpi_item_new(bind->ctx, NULL, call->args[i]));
    for (uint32_t c = 0; call->args_count < 3 && c < bind->schema->count; c++) {
        struct kp_str name = bind->schema->fields[c].name;
        bool used = mentions(call->args[0], name) ||
                    (call->args_count > 1 && mentions(call->args[1], name));
        if (!used)
            keys = kpi_items_add(keys,
                                 kpi_item_new(bind->ctx, NULL, name_node(bind, name, call->place)));
    }
    return keys;
}

static void sort_found(struct found *found)
{
    for (uint32_t i = 1; i < found->count; i++) {
        struct kp_str name = found->names[i];
        uint32_t at = i;
        for (; at > 0 && kp_str_compare(found->names[at - 1], name) > 0; at--)
            found->names[at] = found->names[at - 1];
        found->names[at] = name;
    }
}

static struct kpi_op *pivot(struct kpi_bind *bind, struct kpi_op *input,
                            const struct kpi_stage *stage, struct found *found)
{
    const struct kpi_node *call = stage->expr;
    if (call->args_count == 0) {
        kpi_fail(bind->ctx, KP_INVALID, call->place, "pivot takes a column");
        return NULL;
    }
    struct kpi_items items = {0}, keys = pivot_keys(bind, call);
    if (!look(bind, call->args[0], KP_TYPE_STR, look_at_value, found))
        return NULL;
    sort_found(found);
    for (uint32_t i = 0; i < found->count; i++)
        items = kpi_items_add(items, pivot_item(bind, call, found->names[i]));
    if (bind->ctx->status != KP_OK)
        return NULL;
    return kpi_bind_summarize(bind, input, &items, &keys);
}

/* --- plugins whose columns are known --- */

static struct kpi_op *common(struct kpi_bind *bind, struct kpi_op *input,
                             const struct kpi_stage *stage, struct found *found)
{
    (void)found;
    return kpi_plugin_patterns(bind, input, stage);
}

/* --- the table of plugins --- */

static const struct {
    const char *name;
    struct kpi_op *(*bind)(struct kpi_bind *bind, struct kpi_op *input,
                           const struct kpi_stage *stage, struct found *found);
} plugins[] = {{"bag_unpack", bag_unpack},
               {"pivot", pivot},
               {"basket", common},
               {"autocluster", common},
               {"diffpatterns", common}};

struct kpi_op *kpi_bind_plugin(struct kpi_bind *bind, struct kpi_op *input,
                               const struct kpi_stage *stage)
{
    struct found *found = kpi_new(bind->ctx, 1, sizeof(*found));
    struct kpi_nearest nearest = {.wanted = stage->expr->name};
    if (found == NULL)
        return NULL;
    found->bind = bind;
    found->place = stage->expr->place;
    for (size_t i = 0; i < KP_ARRAY_LEN(plugins); i++) {
        if (kp_str_equal(stage->expr->name, kp_str_from(plugins[i].name)))
            return plugins[i].bind(bind, input, stage, found);
        kpi_nearest_offer(&nearest, kp_str_from(plugins[i].name));
    }
    kpi_fail(bind->ctx, KP_UNSUPPORTED, stage->expr->place, "plugin '%.*s' is not supported",
             (int)KP_MIN(stage->expr->name.len, 60u), stage->expr->name.ptr);
    kpi_hint(bind->ctx,
             nearest.best.len > 0 ? "did you mean '%s'?"
                                  : "plugins: bag_unpack pivot basket autocluster diffpatterns",
             nearest.best.ptr);
    return NULL;
}
