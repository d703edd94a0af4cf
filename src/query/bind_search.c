/* SPDX-License-Identifier: Apache-2.0
 *
 * search and find: a union of tables of which each is filtered by itself, so that the conditions
 * reach its source. In a search a text by itself means that some column holds it, and column:'text'
 * that this one does; stars at its ends are open.
 */
#include "query/search.h"

#include "query/names.h"

/* --- texts to search for --- */

static struct kp_str joined(struct kpi_bind *bind, const char *a, struct kp_str b, const char *c)
{
    struct kp_buf text = {0};
    kp_buf_text(&text, a);
    kp_buf_str(&text, b);
    kp_buf_text(&text, c);
    struct kp_str copy = kp_arena_str(bind->ctx->arena, kp_str_from(kp_buf_cstr(&text)));
    kp_buf_deinit(&text);
    if (copy.ptr == NULL)
        kpi_fail_memory(bind->ctx);
    return copy;
}

/* a*b: a, anything, b. Everything but letters and digits is taken as it is. */
static struct kp_str wildcard(struct kpi_bind *bind, struct kp_str term, bool cased)
{
    struct kp_buf text = {0};
    kp_buf_text(&text, cased ? "(?s)" : "(?is)");
    for (uint32_t i = 0; i < term.len; i++) {
        char c = term.ptr[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     (c & 0x80) != 0;
        if (c == '*')
            kp_buf_text(&text, ".*");
        else
            kp_buf_printf(&text, "%s%c", plain ? "" : "\\", c);
    }
    struct kp_str copy = kp_arena_str(bind->ctx->arena, kp_str_from(kp_buf_cstr(&text)));
    kp_buf_deinit(&text);
    if (copy.ptr == NULL)
        kpi_fail_memory(bind->ctx);
    return copy;
}

/* where `where` (a column, or * for any) holds the term: has, hasprefix, hassuffix, contains. */
static struct kpi_node *term_node(struct kpi_bind *bind, struct kpi_node *where,
                                  const struct kpi_node *text, bool cased)
{
    struct kp_str term = text->value.str;
    struct kpi_token word = {.place = text->place};
    struct kpi_token value = {.place = text->place, .value = {.type = KP_TYPE_STR}};
    bool begin = term.len > 0 && term.ptr[0] == '*';
    bool end = term.len > begin && term.ptr[term.len - 1] == '*';
    term.ptr += begin;
    term.len -= begin + end;
    if (term.len == 0) {
        value.value = (struct kpi_value){.type = KP_TYPE_BOOL, .i64 = 1};
        return kpi_node_value(bind->ctx, &value);
    }
    bool inner = memchr(term.ptr, '*', term.len) != NULL;
    const char *name = inner          ? "matches"
                       : begin && end ? "contains"
                       : begin        ? "hassuffix"
                       : end          ? "hasprefix"
                                      : "has";
    value.value.str = inner ? wildcard(bind, term, cased) : term;
    word.text = joined(bind, name, KP_STR(""), cased && !inner ? "_cs" : "");
    return kpi_node_call(bind->ctx, &word, where, kpi_node_value(bind->ctx, &value), NULL);
}

static struct kpi_node *copy_call(struct kpi_bind *bind, const struct kpi_node *node)
{
    struct kpi_node *copy = kpi_new(bind->ctx, 1, sizeof(*copy));
    if (copy == NULL)
        return NULL;
    *copy = *node;
    copy->args = kpi_new(bind->ctx, node->args_count, sizeof(struct kpi_node *));
    return copy->args == NULL ? NULL : copy;
}

static bool is_call(const struct kpi_node *node, const char *name)
{
    return node->kind == KPI_NODE_CALL && kp_str_equal(node->name, kp_str_from(name));
}

/* The condition of a search as one of where; NULL with the error set. */
static struct kpi_node *spelled(struct kpi_bind *bind, struct kpi_node *node, bool cased)
{
    struct kpi_token star = {.text = KP_STR("*"), .place = node->place};
    bool text = node->kind == KPI_NODE_VALUE && node->value.type == KP_TYPE_STR;
    if (node->kind == KPI_NODE_STAR || text) {
        struct kpi_node all = {.place = node->place, .value = {.type = KP_TYPE_STR}};
        return term_node(bind, kpi_node_star(bind->ctx, &star), text ? node : &all, cased);
    }
    if (is_call(node, ":")) {
        if (node->args[1]->kind == KPI_NODE_VALUE && node->args[1]->value.type == KP_TYPE_STR)
            return term_node(bind, node->args[0], node->args[1], cased);
        star.text = KP_STR("==");
        return kpi_node_call(bind->ctx, &star, node->args[0], node->args[1], NULL);
    }
    if (!is_call(node, "and") && !is_call(node, "or") && !is_call(node, "not"))
        return node;
    struct kpi_node *copy = copy_call(bind, node);
    for (uint32_t i = 0; copy != NULL && i < node->args_count; i++)
        if ((copy->args[i] = spelled(bind, node->args[i], cased)) == NULL)
            return NULL;
    return copy;
}

/* --- tables that lack columns --- */

static bool is_name(struct kpi_bind *bind, struct kp_str name)
{
    static const char *const words[] = {"true", "false", "null", "time"};
    for (size_t i = 0; i < KP_ARRAY_LEN(words); i++)
        if (kp_str_equal(name, kp_str_from(words[i])))
            return true;
    return kp_schema_find(bind->schema, name) >= 0 || kpi_name_find(bind, name) != NULL;
}

/* The condition over one table: null for names that it has not, its own name for $table. */
static struct kpi_node *fitted(struct kpi_bind *bind, struct kpi_node *node, struct kp_str table)
{
    struct kpi_token token = {.text = KP_STR("null"), .place = node->place};
    if (node->kind == KPI_NODE_NAME && kp_str_equal(node->name, KP_STR("$table"))) {
        token.value = (struct kpi_value){.type = KP_TYPE_STR, .str = table};
        return kpi_node_value(bind->ctx, &token);
    }
    if (node->kind == KPI_NODE_NAME && !is_name(bind, node->name))
        return kpi_node_name(bind->ctx, &token);
    if (node->kind != KPI_NODE_CALL || is_call(node, "typeof"))
        return node;
    struct kpi_node *copy = copy_call(bind, node);
    for (uint32_t i = 0; copy != NULL && i < node->args_count; i++)
        if ((copy->args[i] = fitted(bind, node->args[i], table)) == NULL)
            return NULL;
    return copy;
}

struct kpi_op *kpi_search_side(struct kpi_bind *bind, struct kpi_op *op, struct kp_str name,
                               const struct kpi_search *search)
{
    struct kpi_bind scope = *bind;
    struct kpi_place nowhere = {0};
    scope.schema = &op->schema;
    struct kpi_node *condition = kpi_new(bind->ctx, 1, sizeof(*condition));
    if (condition == NULL)
        return NULL;
    *condition = *search->condition;
    condition = fitted(&scope, condition, name);
    struct kpi_stage where = {.kind = KPI_STAGE_WHERE, .place = nowhere, .expr = condition};
    struct kpi_pipe pipe = {.first = &where, .last = &where, .count = 1};
    return condition == NULL ? NULL : kpi_bind_over(bind, op, &pipe);
}

/* A column that no table has is a mistake. */
static bool check_names(struct kpi_bind *bind, const struct kpi_node *node)
{
    bool unknown = node->kind == KPI_NODE_NAME && !is_name(bind, node->name) &&
                   !kp_str_equal(node->name, KP_STR("$table"));
    if (unknown) {
        kpi_bind_find(bind, node->name, node->place);
        return false;
    }
    for (uint32_t i = 0; i < node->args_count && !is_call(node, "typeof"); i++)
        if (!check_names(bind, node->args[i]))
            return false;
    return true;
}

/* --- the operators --- */

/* kind=case_sensitive; other parameters are none of search's. */
static bool take_kind(struct kpi_bind *bind, const struct kpi_items *params, bool *out_cased)
{
    for (const struct kpi_item *p = params->first; p != NULL; p = p->next) {
        bool cased = kp_str_equal(p->expr->name, KP_STR("case_sensitive"));
        if (!kp_str_equal(p->name, KP_STR("kind")) ||
            (!cased && !kp_str_equal(p->expr->name, KP_STR("case_insensitive")) &&
             !kp_str_equal(p->expr->name, KP_STR("default")))) {
            kpi_fail(bind->ctx, KP_INVALID, p->place, "search does not take this '%.*s'",
                     (int)KP_MIN(p->name.len, 60u), p->name.ptr);
            kpi_hint(bind->ctx, "kind=case_sensitive or kind=case_insensitive");
            return false;
        }
        *out_cased = cased;
    }
    return true;
}

static struct kpi_item *source_param(struct kpi_bind *bind, struct kp_str column)
{
    struct kpi_token name = {.text = KP_STR("withsource")}, word = {.text = column};
    return kpi_item_new(bind->ctx, &name, kpi_node_name(bind->ctx, &word));
}

/* The tables, all streams and the text's own when none are given, filtered side by side. */
static struct kpi_op *union_of(struct kpi_bind *bind, const struct kpi_source *source,
                               struct kp_str column, struct kpi_node *condition)
{
    struct kpi_search search = {condition};
    struct kpi_token star = {.text = KP_STR(""), .place = source->place};
    struct kpi_pipe *pipes = source->pipes;
    if (pipes == NULL)
        pipes = kpi_pipe_new(bind->ctx,
                             kpi_source_new(bind->ctx, KPI_SOURCE_PATTERN, &star, KP_STR("")));
    struct kpi_items params = kpi_items_add((struct kpi_items){0}, source_param(bind, column));
    if (bind->ctx->status != KP_OK)
        return NULL;
    struct kpi_op *op = kpi_bind_union(bind, NULL, pipes, &params, &search, source->place);
    struct kpi_bind above = *bind;
    if (op == NULL)
        return NULL;
    above.schema = &op->schema;
    return check_names(&above, condition) ? op : NULL;
}

static struct kpi_op *bind_search(struct kpi_bind *bind, const struct kpi_source *source)
{
    bool cased = false;
    struct kpi_node *condition = NULL;
    if (take_kind(bind, &source->params, &cased))
        condition = spelled(bind, source->values, cased);
    return condition == NULL ? NULL : union_of(bind, source, KP_STR("$table"), condition);
}

struct kpi_op *kpi_bind_search_in(struct kpi_bind *bind, struct kpi_op *input,
                                  const struct kpi_stage *stage)
{
    bool cased = false;
    struct kpi_outputs outputs = {0};
    struct kpi_place nowhere = {0};
    const struct kpi_source *source = bind->pipe->source;
    struct kpi_value name = {.type = KP_TYPE_STR, .str = KP_STR("")};
    if (!take_kind(bind, &stage->params, &cased))
        return NULL;
    if (source != NULL && source->kind == KPI_SOURCE_TABLE)
        name.str = source->name;
    struct kpi_search search = {spelled(bind, stage->expr, cased)};
    if (search.condition == NULL || !check_names(bind, search.condition))
        return NULL;
    struct kpi_op *kept = kpi_search_side(bind, input, name.str, &search);
    if (kept == NULL || !kpi_outputs_add(bind, &outputs, KP_STR("$table"),
                                         kpi_bind_value(bind, name, stage->place)))
        return NULL;
    for (uint32_t i = 0; i < bind->schema->count; i++)
        if (!kpi_outputs_add(bind, &outputs, bind->schema->fields[i].name,
                             kpi_bind_column(bind, i, nowhere)))
            return NULL;
    return kpi_op_project(kept, "search", outputs.fields, outputs.exprs, outputs.count);
}

/* --- find --- */

static struct kpi_item *column_item(struct kpi_bind *bind, struct kp_str name,
                                    struct kpi_place place)
{
    struct kpi_token token = {.text = name, .place = place};
    return kpi_item_new(bind->ctx, &token, kpi_node_name(bind->ctx, &token));
}

static bool has_item(const struct kpi_items *items, struct kp_str name)
{
    for (const struct kpi_item *item = items->first; item != NULL; item = item->next)
        if (kp_str_equal(item->name, name))
            return true;
    return false;
}

/* Columns that the condition names, each once, in their order. */
static struct kpi_items named_columns(struct kpi_bind *bind, const struct kpi_node *node,
                                      struct kpi_items items)
{
    if (node->kind == KPI_NODE_NAME && kp_schema_find(bind->schema, node->name) >= 0 &&
        !has_item(&items, node->name))
        return kpi_items_add(items, column_item(bind, node->name, node->place));
    for (uint32_t i = 0; i < node->args_count; i++)
        items = named_columns(bind, node->args[i], items);
    return items;
}

/* pack_ = bag_remove_keys(pack_all(true), names): what the other columns hold. */
static struct kpi_item *rest(struct kpi_bind *bind, const struct kpi_items *items,
                             struct kpi_place place)
{
    struct kpi_token word = {.text = KP_STR("true"), .place = place};
    struct kpi_node *set = kpi_node_name(bind->ctx, &word), *names = NULL;
    word.text = KP_STR("pack_all");
    struct kpi_node *bag = kpi_node_call(bind->ctx, &word, set, NULL, NULL);
    struct kpi_token text = {.place = place, .value = {.type = KP_TYPE_STR}};
    for (const struct kpi_item *item = items->first; item != NULL; item = item->next) {
        text.value.str = item->name;
        names = kpi_node_append(bind->ctx, names, kpi_node_value(bind->ctx, &text));
    }
    word.text = KP_STR("pack_array");
    names = kpi_node_finish(bind->ctx, names, &word, NULL);
    word.text = KP_STR("bag_remove_keys");
    struct kpi_node *call = kpi_node_call(bind->ctx, &word, bag, names, NULL);
    word.text = KP_STR("pack_");
    return kpi_item_new(bind->ctx, &word, call);
}

/* name:type is tostring(name) and its kin. */
static struct kpi_item *converted(struct kpi_bind *bind, const struct kpi_item *given)
{
    static const char *const casts[] = {
        [KP_TYPE_BOOL] = "tobool",   [KP_TYPE_I64] = "tolong",      [KP_TYPE_F64] = "toreal",
        [KP_TYPE_STR] = "tostring",  [KP_TYPE_TIME] = "todatetime", [KP_TYPE_DUR] = "totimespan",
        [KP_TYPE_DYN] = "todynamic", [KP_TYPE_DEC] = "todecimal"};
    enum kp_type type;
    struct kpi_item *item = column_item(bind, given->name, given->place);
    if (item == NULL || given->type.ptr == NULL)
        return item;
    if (!kpi_type_named(bind, given->type, given->place, &type))
        return NULL;
    struct kpi_token word = {.text = kp_str_from(casts[type]), .place = given->place};
    item->expr = kpi_node_call(bind->ctx, &word, item->expr, NULL, NULL);
    return item;
}

/* What find gives: the table's name, the columns asked for (else those that the condition names,
 * and all others in one bag). */
static bool find_items(struct kpi_bind *bind, const struct kpi_source *source, struct kp_str column,
                       struct kpi_items *out)
{
    struct kpi_item *first = column_item(bind, column, source->place);
    struct kpi_items items = kpi_items_add((struct kpi_items){0}, first);
    bool bag = source->items.count == 0;
    for (const struct kpi_item *item = source->items.first; item != NULL; item = item->next) {
        bool packs = item->name.ptr == NULL;
        if (packs && !is_call(item->expr, "pack") && !is_call(item->expr, "pack_all")) {
            kpi_fail(bind->ctx, KP_INVALID, item->expr->place, "find gives columns, or pack(*)");
            return false;
        }
        bag |= packs;
        if (!packs)
            items = kpi_items_add(items, converted(bind, item));
    }
    if (source->items.count == 0)
        items = named_columns(bind, source->values, items);
    if (bag)
        items = kpi_items_add(items, rest(bind, &items, source->place));
    *out = items;
    return bind->ctx->status == KP_OK;
}

static struct kpi_op *bind_find(struct kpi_bind *bind, const struct kpi_source *source)
{
    struct kp_str column = KP_STR("source_");
    for (const struct kpi_item *p = source->params.first; p != NULL; p = p->next) {
        bool named = kp_str_equal_nocase(p->name, KP_STR("withsource"));
        column = named ? p->expr->name : column;
        if (named || kp_str_equal(p->name, KP_STR("datascope")))
            continue;
        kpi_fail(bind->ctx, KP_INVALID, p->place, "find does not take '%.*s'",
                 (int)KP_MIN(p->name.len, 60u), p->name.ptr);
        kpi_hint(bind->ctx, "withsource=name");
        return NULL;
    }
    struct kpi_node *condition = spelled(bind, source->values, false);
    struct kpi_op *op = condition == NULL ? NULL : union_of(bind, source, column, condition);
    struct kpi_bind above = *bind;
    struct kpi_stage project = {.kind = KPI_STAGE_PROJECT, .place = source->place};
    if (op == NULL)
        return NULL;
    above.schema = &op->schema;
    struct kpi_pipe pipe = {.first = &project, .last = &project, .count = 1};
    return find_items(&above, source, column, &project.items) ? kpi_bind_over(bind, op, &pipe)
                                                              : NULL;
}

struct kpi_op *kpi_bind_search(struct kpi_bind *bind, const struct kpi_source *source)
{
    return source->kind == KPI_SOURCE_FIND ? bind_find(bind, source) : bind_search(bind, source);
}
