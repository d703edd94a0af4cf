/* SPDX-License-Identifier: Apache-2.0
 *
 * Pipes: each operator of the text becomes one operator of the engine, its names checked against
 * the columns that the one before gives.
 */
#include <stdio.h>

#include "query/names.h"
#include "query/nested.h"
#include "query/search.h"
#include "query/shape.h"
#include "query/sort.h"

/* --- output columns --- */

static bool name_taken(const struct kpi_outputs *outputs, struct kp_str name)
{
    for (uint32_t i = 0; i < outputs->count; i++)
        if (kp_str_equal(outputs->fields[i].name, name))
            return true;
    return false;
}

/* name, name1, name2, ... */
static struct kp_str unique_name(struct kpi_bind *bind, const struct kpi_outputs *outputs,
                                 struct kp_str name)
{
    struct kp_str base = name;
    char text[200];
    for (uint32_t n = 1; name_taken(outputs, name); n++) {
        int length =
            snprintf(text, sizeof(text), "%.*s%u", (int)KP_MIN(base.len, 150u), base.ptr, n);
        name = (struct kp_str){text, (uint32_t)length};
    }
    struct kp_str copy = kp_arena_str(bind->ctx->arena, name);
    if (copy.ptr == NULL)
        kpi_fail_memory(bind->ctx);
    return copy;
}

static bool grow_outputs(struct kpi_bind *bind, struct kpi_outputs *outputs)
{
    uint32_t capacity = outputs->capacity == 0 ? 16 : outputs->capacity * 2;
    struct kp_field *fields = kpi_new(bind->ctx, capacity, sizeof(*fields));
    struct kpi_expr **exprs = kpi_new(bind->ctx, capacity, sizeof(struct kpi_expr *));
    if (fields == NULL || exprs == NULL)
        return false;
    for (uint32_t i = 0; i < outputs->count; i++) {
        fields[i] = outputs->fields[i];
        exprs[i] = outputs->exprs[i];
    }
    outputs->fields = fields;
    outputs->exprs = exprs;
    outputs->capacity = capacity;
    return true;
}

bool kpi_outputs_add(struct kpi_bind *bind, struct kpi_outputs *outputs, struct kp_str name,
                     struct kpi_expr *expr)
{
    if (expr != NULL && expr->type == KP_TYPE_NULL)
        expr = kpi_bind_cast(bind, expr, KP_TYPE_STR);
    if (expr == NULL || bind->ctx->status != KP_OK)
        return false;
    if (outputs->count == KPI_COLUMNS_MAX) {
        kpi_fail(bind->ctx, KP_LIMIT, expr->place, "more than %d columns", KPI_COLUMNS_MAX);
        return false;
    }
    if (outputs->count == outputs->capacity && !grow_outputs(bind, outputs))
        return false;
    outputs->fields[outputs->count] =
        (struct kp_field){unique_name(bind, outputs, name), expr->type, expr->unit};
    outputs->exprs[outputs->count++] = expr;
    return bind->ctx->status == KP_OK;
}

bool kpi_outputs_put(struct kpi_bind *bind, struct kpi_outputs *outputs, struct kp_str name,
                     struct kpi_expr *expr)
{
    struct kp_schema so_far = {outputs->fields, outputs->count};
    int at = kp_schema_find(&so_far, name);
    if (at < 0)
        return kpi_outputs_add(bind, outputs, name, expr);
    if (expr != NULL && expr->type == KP_TYPE_NULL)
        expr = kpi_bind_cast(bind, expr, KP_TYPE_STR);
    if (expr == NULL)
        return false;
    outputs->exprs[at] = expr;
    outputs->fields[at].type = expr->type;
    outputs->fields[at].unit = expr->unit;
    return true;
}

struct kp_str kpi_auto_name(struct kpi_bind *bind, const struct kpi_node *node, const char *prefix,
                            uint32_t number)
{
    static const char *const through[] = {"bin",        "floor",       "bin_at",
                                          "startofday", "startofhour", "startofminute",
                                          "tostring",   "tolong",      "toint"};
    if (node->kind == KPI_NODE_NAME)
        return node->name;
    for (size_t i = 0; node->kind == KPI_NODE_CALL && i < KP_ARRAY_LEN(through); i++)
        if (kp_str_equal(node->name, kp_str_from(through[i])) && node->args_count > 0 &&
            node->args[0]->kind == KPI_NODE_NAME)
            return node->args[0]->name;
    bool member = node->kind == KPI_NODE_CALL && kp_str_equal(node->name, KP_STR("member")) &&
                  node->args_count == 2 && node->args[1]->value.type == KP_TYPE_STR;
    if (member && node->args[1]->value.str.len > 0)
        return node->args[1]->value.str;
    char text[40];
    snprintf(text, sizeof(text), "%s%u", prefix, number);
    struct kp_str copy = kp_arena_str(bind->ctx->arena, kp_str_from(text));
    if (copy.ptr == NULL)
        kpi_fail_memory(bind->ctx);
    return copy;
}

static struct kpi_op *project(struct kpi_bind *bind, struct kpi_op *input, const char *word,
                              const struct kpi_outputs *outputs)
{
    input = kpi_window_below(bind, input);
    return input == NULL
               ? NULL
               : kpi_op_project(input, word, outputs->fields, outputs->exprs, outputs->count);
}

static bool add_column(struct kpi_bind *bind, struct kpi_outputs *outputs, uint32_t i)
{
    struct kpi_place nowhere = {0};
    return kpi_outputs_add(bind, outputs, bind->schema->fields[i].name,
                           kpi_bind_column(bind, i, nowhere));
}

/* --- project and its kin --- */

/* (a, b) = array: a column for each element. */
static bool add_several(struct kpi_bind *bind, struct kpi_outputs *outputs,
                        const struct kpi_item *item, struct kpi_expr *array)
{
    struct kpi_value at = {.type = KP_TYPE_I64};
    if (array != NULL && array->type != KP_TYPE_DYN) {
        kpi_fail(bind->ctx, KP_INVALID, item->place, "several names need an array, this is a %s",
                 kp_type_name(array->type));
        return false;
    }
    for (const struct kpi_item *n = item->names.first; n != NULL && array != NULL; n = n->next) {
        struct kpi_expr *args[2] = {array, kpi_bind_value(bind, at, n->place)};
        struct kpi_expr *part = kpi_bind_named(bind, "member", n->place, args, 2);
        if (!kpi_outputs_put(bind, outputs, n->name, part))
            return false;
        at.i64++;
    }
    return array != NULL;
}

static struct kpi_op *bind_project(struct kpi_bind *bind, struct kpi_op *input,
                                   const struct kpi_stage *stage)
{
    struct kpi_outputs outputs = {0};
    uint32_t number = 1;
    for (const struct kpi_item *item = stage->items.first; item != NULL; item = item->next) {
        struct kpi_expr *expr = kpi_bind_expr(bind, item->expr);
        if (item->names.count > 0) {
            if (!add_several(bind, &outputs, item, expr))
                return NULL;
            continue;
        }
        struct kp_str name =
            item->name.ptr != NULL ? item->name : kpi_auto_name(bind, item->expr, "Column", number);
        number += item->name.ptr == NULL && name.len > 6 && memcmp(name.ptr, "Column", 6) == 0;
        if (!kpi_outputs_add(bind, &outputs, name, expr))
            return NULL;
    }
    return project(bind, input, "project", &outputs);
}

/* A name that exists is replaced in its place; others come after. Later items see earlier ones. */
static struct kpi_op *bind_extend(struct kpi_bind *bind, struct kpi_op *input,
                                  const struct kpi_stage *stage)
{
    struct kpi_outputs outputs = {0};
    uint32_t number = 1;
    for (uint32_t i = 0; i < bind->schema->count; i++)
        if (!add_column(bind, &outputs, i))
            return NULL;
    for (const struct kpi_item *item = stage->items.first; item != NULL; item = item->next) {
        struct kpi_expr *expr = kpi_bind_expr(bind, item->expr);
        bool named = item->name.ptr != NULL;
        bool good =
            item->names.count > 0
                ? add_several(bind, &outputs, item, expr)
                : expr != NULL &&
                      (named ? kpi_outputs_put(bind, &outputs, item->name, expr)
                             : kpi_outputs_add(bind, &outputs,
                                               kpi_auto_name(bind, item->expr, "Column", number++),
                                               expr));
        if (!good)
            return NULL;
    }
    return project(bind, input, "extend", &outputs);
}

static bool pattern_matches(const struct kpi_item *item, struct kp_str name)
{
    bool star = item->expr != NULL;
    if (!star)
        return kp_str_equal(item->name, name);
    return name.len >= item->name.len && memcmp(name.ptr, item->name.ptr, item->name.len) == 0;
}

static bool check_patterns(struct kpi_bind *bind, const struct kpi_items *items)
{
    for (const struct kpi_item *item = items->first; item != NULL; item = item->next)
        if (item->expr == NULL && kpi_bind_find(bind, item->name, item->place) < 0)
            return false;
    return true;
}

static bool any_matches(const struct kpi_items *items, struct kp_str name)
{
    for (const struct kpi_item *item = items->first; item != NULL; item = item->next)
        if (pattern_matches(item, name))
            return true;
    return false;
}

static struct kpi_op *bind_keep_away(struct kpi_bind *bind, struct kpi_op *input,
                                     const struct kpi_stage *stage)
{
    struct kpi_outputs outputs = {0};
    bool keep = stage->kind == KPI_STAGE_PROJECT_KEEP;
    if (!check_patterns(bind, &stage->items))
        return NULL;
    for (uint32_t i = 0; i < bind->schema->count; i++)
        if (any_matches(&stage->items, bind->schema->fields[i].name) == keep &&
            !add_column(bind, &outputs, i))
            return NULL;
    if (outputs.count == 0) {
        kpi_fail(bind->ctx, KP_INVALID, stage->place, "no column is left");
        return NULL;
    }
    return project(bind, input, keep ? "project-keep" : "project-away", &outputs);
}

static struct kpi_op *bind_reorder(struct kpi_bind *bind, struct kpi_op *input,
                                   const struct kpi_stage *stage)
{
    struct kpi_outputs outputs = {0};
    if (!check_patterns(bind, &stage->items))
        return NULL;
    for (const struct kpi_item *item = stage->items.first; item != NULL; item = item->next)
        for (uint32_t i = 0; i < bind->schema->count; i++)
            if (pattern_matches(item, bind->schema->fields[i].name) &&
                !name_taken(&outputs, bind->schema->fields[i].name) &&
                !add_column(bind, &outputs, i))
                return NULL;
    for (uint32_t i = 0; i < bind->schema->count; i++)
        if (!name_taken(&outputs, bind->schema->fields[i].name) && !add_column(bind, &outputs, i))
            return NULL;
    return project(bind, input, "project-reorder", &outputs);
}

static struct kpi_op *bind_rename(struct kpi_bind *bind, struct kpi_op *input,
                                  const struct kpi_stage *stage)
{
    struct kpi_outputs outputs = {0};
    struct kp_str *names = kpi_new(bind->ctx, bind->schema->count, sizeof(*names));
    if (names == NULL)
        return NULL;
    for (const struct kpi_item *item = stage->items.first; item != NULL; item = item->next) {
        bool named = item->name.ptr != NULL && item->expr->kind == KPI_NODE_NAME;
        if (!named) {
            kpi_fail(bind->ctx, KP_INVALID, item->place, "write new_name = old_name");
            return NULL;
        }
        int at = kpi_bind_find(bind, item->expr->name, item->expr->place);
        if (at < 0)
            return NULL;
        names[at] = item->name;
    }
    struct kpi_place nowhere = {0};
    for (uint32_t i = 0; i < bind->schema->count; i++)
        if (!kpi_outputs_add(bind, &outputs,
                             names[i].ptr != NULL ? names[i] : bind->schema->fields[i].name,
                             kpi_bind_column(bind, i, nowhere)))
            return NULL;
    return project(bind, input, "project-rename", &outputs);
}

/* --- the others --- */

static struct kpi_op *bind_where(struct kpi_bind *bind, struct kpi_op *input,
                                 const struct kpi_stage *stage)
{
    struct kpi_expr *condition = kpi_bind_expr(bind, stage->expr);
    if (condition != NULL && condition->type != KP_TYPE_BOOL && condition->type != KP_TYPE_NULL) {
        kpi_fail(bind->ctx, KP_INVALID, condition->place, "where needs a condition, this is a %s",
                 kp_type_name(condition->type));
        kpi_hint(bind->ctx, "compare it: column == value");
        return NULL;
    }
    condition = kpi_bind_cast(bind, condition, KP_TYPE_BOOL);
    if (condition == NULL)
        return NULL;
    struct kpi_op *below = kpi_window_below(bind, input);
    if (below == NULL || below == input)
        return below == NULL ? NULL : kpi_op_filter(input, condition);
    struct kpi_outputs outputs = {0}; /* the row functions' columns end here */
    for (uint32_t i = 0; i < bind->schema->count; i++)
        if (!add_column(bind, &outputs, i))
            return NULL;
    struct kpi_op *kept = kpi_op_filter(below, condition);
    return kept == NULL
               ? NULL
               : kpi_op_project(kept, "where", outputs.fields, outputs.exprs, outputs.count);
}

static struct kpi_op *bind_sort(struct kpi_bind *bind, struct kpi_op *input,
                                const struct kpi_stage *stage)
{
    struct kpi_sort_key *keys = kpi_new(bind->ctx, stage->items.count, sizeof(*keys));
    struct kpi_value limit = {.i64 = 0};
    uint32_t count = 0;
    bool top = stage->kind == KPI_STAGE_TOP;
    if (keys == NULL)
        return NULL;
    if (top && !kpi_bind_constant(bind, stage->expr, KP_TYPE_I64, "the number of rows", &limit))
        return NULL;
    if (limit.i64 < 0) {
        kpi_fail(bind->ctx, KP_INVALID, stage->expr->place, "the number of rows is negative");
        return NULL;
    }
    for (const struct kpi_item *item = stage->items.first; item != NULL; item = item->next) {
        keys[count] = (struct kpi_sort_key){kpi_bind_expr(bind, item->expr), item->ascending,
                                            item->nulls_first};
        if (keys[count++].expr == NULL)
            return NULL;
    }
    if (top && limit.i64 == 0)
        return kpi_op_limit(input, 0);
    return kpi_op_sort(input, keys, count, top ? (uint64_t)limit.i64 : 0);
}

static struct kpi_op *bind_take(struct kpi_bind *bind, struct kpi_op *input,
                                const struct kpi_stage *stage)
{
    struct kpi_value limit;
    if (!kpi_bind_constant(bind, stage->expr, KP_TYPE_I64, "the number of rows", &limit))
        return NULL;
    if (limit.i64 < 0) {
        kpi_fail(bind->ctx, KP_INVALID, stage->expr->place, "the number of rows is negative");
        return NULL;
    }
    const struct kpi_sort_op *sort = kpi_sort_of(input);
    if (sort != NULL && sort->limit == 0 && limit.i64 > 0) /* sort | take is top */
        return kpi_op_sort(input->input, sort->keys, sort->keys_count, (uint64_t)limit.i64);
    return kpi_op_limit(input, (uint64_t)limit.i64);
}

static struct kpi_op *bind_count(struct kpi_bind *bind, struct kpi_op *input,
                                 const struct kpi_stage *stage)
{
    struct kpi_node call = {.kind = KPI_NODE_CALL, .place = stage->place, .name = KP_STR("count")};
    struct kpi_item item = {.name = KP_STR("Count"), .place = stage->place, .expr = &call};
    struct kpi_items items = {&item, &item, 1}, none = {0};
    return kpi_bind_summarize(bind, input, &items, &none);
}

static struct kpi_op *bind_distinct(struct kpi_bind *bind, struct kpi_op *input,
                                    const struct kpi_stage *stage)
{
    struct kpi_items by = stage->items, none = {0};
    struct kpi_place nowhere = stage->place;
    for (uint32_t i = 0; stage->items.count == 0 && i < bind->schema->count; i++) {
        struct kpi_token token = {.text = bind->schema->fields[i].name, .place = nowhere};
        by = kpi_items_add(by, kpi_item_new(bind->ctx, NULL, kpi_node_name(bind->ctx, &token)));
    }
    return kpi_bind_summarize(bind, input, &none, &by);
}

static struct kpi_op *bind_getschema(struct kpi_bind *bind, struct kpi_op *input)
{
    static const struct kp_field fields[] = {{KP_STR("ColumnName"), KP_TYPE_STR, KP_UNIT_NONE},
                                             {KP_STR("ColumnOrdinal"), KP_TYPE_I64, KP_UNIT_NONE},
                                             {KP_STR("ColumnType"), KP_TYPE_STR, KP_UNIT_NONE},
                                             {KP_STR("Unit"), KP_TYPE_STR, KP_UNIT_NONE}};
    struct kpi_op *op = kpi_op_values(bind->run, "getschema", fields, KP_ARRAY_LEN(fields));
    for (uint32_t i = 0; op != NULL && i < input->schema.count; i++) {
        const struct kp_field *field = &input->schema.fields[i];
        struct kpi_value cells[] = {
            {.type = KP_TYPE_STR, .str = field->name},
            {.type = KP_TYPE_I64, .i64 = i},
            {.type = KP_TYPE_STR, .str = kp_str_from(kp_type_name(field->type))},
            {.type = KP_TYPE_STR, .str = kp_str_from(kp_unit_name(field->unit))}};
        for (size_t c = 0; c < KP_ARRAY_LEN(cells); c++)
            kpi_op_values_add(op, cells[c]);
    }
    return op;
}

/* --- statements --- */

/* EMIT and render end a pipe; how it is drawn is up to whoever shows the answer. */
static struct kpi_op *bind_last(struct kpi_bind *bind, struct kpi_op *input,
                                const struct kpi_stage *stage)
{
    if (stage->next != NULL) {
        kpi_fail(bind->ctx, KP_INVALID, stage->next->place, "nothing can follow %s",
                 stage->kind == KPI_STAGE_EMIT ? "EMIT" : "render");
        kpi_hint(bind->ctx, "put it last");
        return NULL;
    }
    return stage->kind == KPI_STAGE_EMIT ? kpi_bind_frame(bind, input, stage) : input;
}

/* T | as name: what comes after may use the name. */
static struct kpi_op *bind_as(struct kpi_bind *bind, struct kpi_op *input,
                              const struct kpi_stage *stage)
{
    if (bind->pipe->source == NULL)
        return input;
    struct kpi_pipe *before = kpi_pipe_before(bind);
    const struct kpi_name *scope = bind->names;
    struct kpi_name *name = kpi_name_add(bind, stage->items.first->name, stage->place);
    if (name == NULL)
        return NULL;
    name->pipe = before;
    name->scope = scope;
    return input;
}

/* Operators that keep, choose or compute columns. */
static struct kpi_op *bind_columns(struct kpi_bind *bind, struct kpi_op *input,
                                   const struct kpi_stage *stage)
{
    switch (stage->kind) {
    case KPI_STAGE_WHERE:
        return bind_where(bind, input, stage);
    case KPI_STAGE_PROJECT:
        return bind_project(bind, input, stage);
    case KPI_STAGE_PROJECT_AWAY:
    case KPI_STAGE_PROJECT_KEEP:
        return bind_keep_away(bind, input, stage);
    case KPI_STAGE_PROJECT_RENAME:
        return bind_rename(bind, input, stage);
    case KPI_STAGE_PROJECT_REORDER:
        return bind_reorder(bind, input, stage);
    case KPI_STAGE_EXTEND:
        return bind_extend(bind, input, stage);
    case KPI_STAGE_SERIALIZE:
        return stage->items.count == 0 ? input : bind_extend(bind, input, stage);
    case KPI_STAGE_PROJECT_BY_NAMES:
        return kpi_bind_by_names(bind, input, stage);
    case KPI_STAGE_ASSERT_SCHEMA:
        return kpi_bind_assert_schema(bind, input, stage);
    case KPI_STAGE_AS:
        return bind_as(bind, input, stage);
    case KPI_STAGE_GETSCHEMA:
        return bind_getschema(bind, input);
    default:
        return NULL;
    }
}

static struct kpi_op *bind_stage(struct kpi_bind *bind, struct kpi_op *input,
                                 const struct kpi_stage *stage)
{
    switch (stage->kind) {
    case KPI_STAGE_SUMMARIZE:
        return kpi_bind_summarize(bind, input, &stage->items, &stage->by);
    case KPI_STAGE_DISTINCT:
        return bind_distinct(bind, input, stage);
    case KPI_STAGE_COUNT:
        return bind_count(bind, input, stage);
    case KPI_STAGE_SORT:
    case KPI_STAGE_TOP:
        return bind_sort(bind, input, stage);
    case KPI_STAGE_TAKE:
        return bind_take(bind, input, stage);
    case KPI_STAGE_UNION:
        return kpi_bind_union(bind, input, stage->pipes, &stage->params, NULL, stage->place);
    case KPI_STAGE_SAMPLE:
    case KPI_STAGE_SAMPLE_DISTINCT:
    case KPI_STAGE_TOP_HITTERS:
    case KPI_STAGE_PARTITION:
    case KPI_STAGE_MV_APPLY:
    case KPI_STAGE_INVOKE:
        return kpi_bind_apply(bind, input, stage);
    case KPI_STAGE_MAKE_SERIES:
        return kpi_bind_series(bind, input, stage);
    case KPI_STAGE_SCAN:
        return kpi_bind_steps(bind, input, stage);
    case KPI_STAGE_EVALUATE:
        return kpi_bind_plugin(bind, input, stage);
    case KPI_STAGE_JOIN:
    case KPI_STAGE_LOOKUP:
    case KPI_STAGE_ASOF_JOIN:
        return kpi_bind_join(bind, input, stage);
    case KPI_STAGE_MV_EXPAND:
    case KPI_STAGE_PARSE:
    case KPI_STAGE_PARSE_WHERE:
    case KPI_STAGE_PARSE_KV:
        return kpi_bind_shape(bind, input, stage);
    case KPI_STAGE_SEARCH:
        return kpi_bind_search_in(bind, input, stage);
    case KPI_STAGE_TOP_NESTED:
        return kpi_bind_nested(bind, input, stage);
    case KPI_STAGE_REDUCE:
        return kpi_bind_reduce(bind, input, stage);
    case KPI_STAGE_CONSUME:
        return kpi_op_consume(input);
    case KPI_STAGE_INTERSECT:
    case KPI_STAGE_SUBTRACT:
    case KPI_STAGE_WITHIN:
    case KPI_STAGE_FLATTEN:
    case KPI_STAGE_COVERAGE:
    case KPI_STAGE_SELF_TIME:
        return kpi_bind_interval(bind, input, stage);
    default:
        return bind_columns(bind, input, stage);
    }
}

/* Names what a stage became, down to the operator below it, by the stage's word. A plugin's
 * operator is called as the plugin. */
static void name_stage(struct kpi_op *op, const struct kpi_op *below, const struct kpi_stage *stage)
{
    const struct kpi_ctx *ctx = &op->run->ctx;
    if (op == below)
        return;
    op->place = stage->place;
    if (stage->kind == KPI_STAGE_EVALUATE)
        return;
    struct kp_str word = {ctx->text.ptr + stage->place.at, stage->place.len};
    const char *copy = kp_arena_str(ctx->arena, word).ptr; /* NULL = the class's name will do */
    for (; op != NULL && op != below && op->word == NULL; op = op->input)
        op->word = copy;
}

struct kpi_op *kpi_bind_over(struct kpi_bind *bind, struct kpi_op *op, const struct kpi_pipe *pipe)
{
    struct kpi_bind scope = *bind;
    scope.pipe = pipe;
    scope.rows = NULL;
    scope.aggregates = NULL;
    for (const struct kpi_stage *stage = pipe->first; stage != NULL && op != NULL;
         stage = stage->next) {
        bool computes = stage->kind == KPI_STAGE_WHERE || stage->kind == KPI_STAGE_PROJECT ||
                        stage->kind == KPI_STAGE_EXTEND || stage->kind == KPI_STAGE_SERIALIZE;
        scope.schema = &op->schema;
        scope.stage = stage;
        scope.windows = computes ? kpi_windows_new(&scope, op->schema.count) : NULL;
        bool ends = stage->kind == KPI_STAGE_EMIT || stage->kind == KPI_STAGE_RENDER;
        struct kpi_op *next = ends ? bind_last(&scope, op, stage) : bind_stage(&scope, op, stage);
        if (next != NULL)
            name_stage(next, op, stage);
        op = next;
    }
    return bind->ctx->status == KP_OK ? op : NULL;
}

struct kpi_op *kpi_bind_pipe(struct kpi_bind *bind, const struct kpi_pipe *pipe)
{
    struct kpi_bind scope = *bind;
    scope.schema = NULL;
    scope.rows = NULL;
    scope.aggregates = NULL;
    scope.windows = NULL;
    struct kpi_op *op = kpi_source_open(&scope, pipe->source);
    return op == NULL ? NULL : kpi_bind_over(&scope, op, pipe);
}

struct kpi_op *kpi_bind_statement(struct kpi_run *run, const struct kpi_statement *statement)
{
    struct kpi_bind bind = {.run = run, .ctx = &run->ctx};
    if (!kpi_names_let(&bind, &statement->lets))
        return NULL;
    return kpi_bind_pipe(&bind, statement->pipe);
}
