/* SPDX-License-Identifier: Apache-2.0
 *
 * Sources: the tables a query can begin with, from streams of the catalogue to rows written out in
 * the query itself.
 */
#include <stdio.h>

#include "query/names.h"
#include "query/search.h"

static const struct {
    const char *name, *kind, *doc;
} special_tables[] = {
    {"events", "stream", "all kernel streams in total order, one line each"},
    {"thread_state", "derived", "what each thread did from when to when"},
    {"cpu_state", "derived", "what each CPU did from when to when"},
    {"txn", "derived", "one row per transaction"},
};

const char *kpi_table_name(uint32_t index, const char **out_kind, const char **out_doc)
{
    uint32_t count;
    const struct kp_stream *streams = kp_streams(&count);
    if (index < count) {
        *out_kind = "stream";
        *out_doc = streams[index].doc;
        return streams[index].name;
    }
    index -= count;
    if (index >= KP_ARRAY_LEN(special_tables))
        return NULL;
    *out_kind = special_tables[index].kind;
    *out_doc = special_tables[index].doc;
    return special_tables[index].name;
}

static void fail_table(struct kpi_bind *bind, struct kp_str name, struct kpi_place place)
{
    struct kpi_nearest nearest = {.wanted = name};
    const char *table, *kind, *doc;
    for (uint32_t i = 0; (table = kpi_table_name(i, &kind, &doc)) != NULL; i++)
        kpi_nearest_offer(&nearest, kp_str_from(table));
    for (uint32_t i = 0; (table = kpi_word_name(KPI_WORD_START, i, &doc)) != NULL; i++)
        kpi_nearest_offer(&nearest, kp_str_from(table));
    kpi_fail(bind->ctx, KP_INVALID, place, "unknown table '%.*s'", (int)KP_MIN(name.len, 60u),
             name.ptr);
    if (nearest.best.len != 0)
        kpi_hint(bind->ctx, "did you mean '%.*s'?", (int)nearest.best.len, nearest.best.ptr);
    else
        kpi_hint(bind->ctx, "`show tables` lists them");
}

bool kpi_table_known(struct kp_str name)
{
    const char *table, *kind, *doc;
    for (uint32_t i = 0; (table = kpi_table_name(i, &kind, &doc)) != NULL; i++)
        if (kp_str_equal(name, kp_str_from(table)))
            return true;
    return false;
}

/* A table named in the text, bound anew at each use under the names it saw when it was made. */
static struct kpi_op *open_named(struct kpi_bind *bind, const struct kpi_name *name,
                                 struct kpi_place place)
{
    struct kpi_bind inside = *bind;
    struct kpi_node call = {.kind = KPI_NODE_CALL, .place = place, .name = name->name};
    if (name->function != NULL)
        return kpi_name_open(bind, &call);
    inside.names = name->scope;
    if (++inside.let_depth > KPI_LET_DEPTH_MAX) {
        kpi_fail(bind->ctx, KP_LIMIT, place, "tables named by let are nested too deeply");
        return NULL;
    }
    return kpi_bind_pipe(&inside, name->pipe);
}

static struct kpi_op *open_table(struct kpi_bind *bind, struct kp_str name, struct kpi_place place)
{
    const struct kpi_name *named = kpi_name_find(bind, name);
    if (named != NULL && named->value == NULL)
        return open_named(bind, named, place);
    const struct kp_stream *stream = kp_stream_by_name(name);
    if (stream != NULL)
        return kpi_op_scan(bind->run, stream);
    if (kp_str_equal(name, KP_STR("events")))
        return kpi_op_events(bind->run);
    struct kpi_op *derived = kpi_op_derived(bind->run, name);
    if (derived == NULL && bind->ctx->status == KP_OK)
        fail_table(bind, name, place);
    return derived;
}

/* --- rows written out --- */

static bool count_columns(struct kpi_bind *bind, const struct kpi_source *source)
{
    if (source->items.count <= KPI_COLUMNS_MAX)
        return true;
    kpi_fail(bind->ctx, KP_LIMIT, source->place, "more than %d columns", KPI_COLUMNS_MAX);
    return false;
}

static struct kpi_op *open_print(struct kpi_bind *bind, const struct kpi_source *source)
{
    struct kp_field *fields = kpi_new(bind->ctx, source->items.count, sizeof(*fields));
    struct kpi_value *values = kpi_new(bind->ctx, source->items.count, sizeof(*values));
    uint32_t count = 0;
    if (fields == NULL || values == NULL || !count_columns(bind, source))
        return NULL;
    for (const struct kpi_item *item = source->items.first; item != NULL; item = item->next) {
        struct kpi_expr *expr = kpi_bind_expr(bind, item->expr);
        if (item->names.count > 0) {
            kpi_fail(bind->ctx, KP_INVALID, item->place, "print gives one name to a value");
            kpi_hint(bind->ctx, "print a = array | extend (b, c) = a");
            return NULL;
        }
        if (expr != NULL && expr->type == KP_TYPE_NULL)
            expr = kpi_bind_cast(bind, expr, KP_TYPE_STR);
        if (expr == NULL)
            return NULL;
        char name[24];
        snprintf(name, sizeof(name), "print_%u", count);
        struct kp_str automatic = kp_arena_str(bind->ctx->arena, kp_str_from(name));
        fields[count] = (struct kp_field){item->name.ptr != NULL ? item->name : automatic,
                                          expr->type, expr->unit};
        values[count++] = expr->value;
    }
    struct kpi_op *op = kpi_op_values(bind->run, "print", fields, count);
    for (uint32_t i = 0; op != NULL && i < count; i++)
        if (!kpi_op_values_add(op, values[i]))
            return NULL;
    return op;
}

static bool type_of_name(struct kp_str name, enum kp_type *out)
{
    static const struct {
        const char *name;
        enum kp_type type;
    } types[] = {{"bool", KP_TYPE_BOOL},     {"long", KP_TYPE_I64},     {"int", KP_TYPE_I64},
                 {"real", KP_TYPE_F64},      {"double", KP_TYPE_F64},   {"string", KP_TYPE_STR},
                 {"datetime", KP_TYPE_TIME}, {"timespan", KP_TYPE_DUR}, {"dynamic", KP_TYPE_DYN},
                 {"date", KP_TYPE_TIME},     {"time", KP_TYPE_DUR},     {"boolean", KP_TYPE_BOOL},
                 {"decimal", KP_TYPE_DEC}};
    for (size_t i = 0; i < KP_ARRAY_LEN(types); i++) {
        if (kp_str_equal(name, kp_str_from(types[i].name))) {
            *out = types[i].type;
            return true;
        }
    }
    return false;
}

static bool add_cells(struct kpi_bind *bind, struct kpi_op *op, const struct kpi_node *cells)
{
    uint32_t cols = op->schema.count;
    for (uint32_t i = 0; cells != NULL && i < cells->args_count; i++) {
        struct kpi_expr *expr = kpi_bind_expr(bind, cells->args[i]);
        if (expr == NULL)
            return false;
        enum kp_type type = op->schema.fields[i % cols].type;
        if (type == KP_TYPE_DYN && expr->type == KP_TYPE_STR)
            expr->type = expr->value.type = type;
        bool fits =
            expr->type == type || expr->type == KP_TYPE_NULL ||
            (expr->type == KP_TYPE_I64 && type == KP_TYPE_F64) ||
            (type == KP_TYPE_DEC && (expr->type == KP_TYPE_I64 || expr->type == KP_TYPE_F64));
        if (!fits) {
            kpi_fail(bind->ctx, KP_INVALID, expr->place, "a %s does not fit column '%.*s' (%s)",
                     kp_type_name(expr->type), (int)op->schema.fields[i % cols].name.len,
                     op->schema.fields[i % cols].name.ptr, kp_type_name(type));
            return false;
        }
        expr = kpi_bind_cast(bind, expr, type);
        if (expr == NULL || !kpi_op_values_add(op, expr->value))
            return false;
    }
    return true;
}

bool kpi_type_named(struct kpi_bind *bind, struct kp_str name, struct kpi_place place,
                    enum kp_type *out)
{
    if (type_of_name(name, out))
        return true;
    kpi_fail(bind->ctx, KP_INVALID, place, "unknown type '%.*s'", (int)KP_MIN(name.len, 60u),
             name.ptr);
    kpi_hint(bind->ctx, "types: bool long real string datetime timespan dynamic decimal");
    return false;
}

static struct kpi_op *open_datatable(struct kpi_bind *bind, const struct kpi_source *source)
{
    struct kp_field *fields = kpi_new(bind->ctx, source->items.count, sizeof(*fields));
    uint32_t count = 0;
    for (const struct kpi_item *item = source->items.first; fields != NULL && item != NULL;
         item = item->next) {
        fields[count] = (struct kp_field){.name = item->name};
        if (!kpi_type_named(bind, item->expr->name, item->expr->place, &fields[count++].type))
            return NULL;
    }
    if (fields == NULL || !count_columns(bind, source))
        return NULL;
    uint32_t cells = source->values == NULL ? 0 : source->values->args_count;
    if (cells % count != 0) {
        kpi_fail(bind->ctx, KP_INVALID, source->place, "%u values do not fill rows of %u columns",
                 cells, count);
        return NULL;
    }
    struct kpi_op *op = kpi_op_values(bind->run, "datatable", fields, count);
    return op != NULL && add_cells(bind, op, source->values) ? op : NULL;
}

static struct kpi_op *open_range(struct kpi_bind *bind, const struct kpi_source *source)
{
    struct kpi_expr *parts[3];
    if (source->values == NULL)
        return NULL;
    for (uint32_t i = 0; i < 3; i++) {
        parts[i] = kpi_bind_expr(bind, source->values->args[i]);
        if (parts[i] == NULL)
            return NULL;
    }
    enum kp_type type = parts[0]->type;
    enum kp_type step = type == KP_TYPE_TIME ? KP_TYPE_DUR : type;
    if (type == KP_TYPE_I64 && (parts[1]->type == KP_TYPE_F64 || parts[2]->type == KP_TYPE_F64))
        type = step = KP_TYPE_F64;
    bool counts =
        type == KP_TYPE_I64 || type == KP_TYPE_F64 || type == KP_TYPE_TIME || type == KP_TYPE_DUR;
    if (!counts) {
        kpi_fail(bind->ctx, KP_INVALID, parts[0]->place,
                 "range counts numbers, datetimes or timespans");
        return NULL;
    }
    parts[0] = kpi_bind_cast(bind, parts[0], type);
    parts[1] = kpi_bind_cast(bind, parts[1], type);
    parts[2] = kpi_bind_cast(bind, parts[2], step);
    if (parts[0] == NULL || parts[1] == NULL || parts[2] == NULL)
        return NULL;
    struct kpi_value by = parts[2]->value;
    bool moves = !by.null && (step == KP_TYPE_F64 ? by.f64 != 0 && by.f64 == by.f64 : by.i64 != 0);
    if (!moves || parts[0]->value.null || parts[1]->value.null) {
        kpi_fail(bind->ctx, KP_INVALID, parts[2]->place,
                 "range needs values, and a step other than 0");
        return NULL;
    }
    struct kp_field field = {source->name, type, parts[0]->unit};
    return kpi_op_range(bind->run, &field, parts[0]->value, parts[1]->value, by);
}

/* --- show --- */

static bool add_text(struct kpi_op *op, const char *text)
{
    struct kpi_value value = {.type = KP_TYPE_STR, .str = kp_str_from(text)};
    return kpi_op_values_add(op, value);
}

static struct kpi_op *open_show_tables(struct kpi_bind *bind)
{
    static const struct kp_field fields[] = {{KP_STR("name"), KP_TYPE_STR, KP_UNIT_NONE},
                                             {KP_STR("kind"), KP_TYPE_STR, KP_UNIT_NONE},
                                             {KP_STR("rows"), KP_TYPE_I64, KP_UNIT_COUNT},
                                             {KP_STR("meaning"), KP_TYPE_STR, KP_UNIT_NONE}};
    struct kpi_op *op = kpi_op_values(bind->run, "show", fields, KP_ARRAY_LEN(fields));
    struct kp_snapshot *snapshot = bind->run->snapshot;
    const char *name, *kind, *doc;
    for (uint32_t i = 0; op != NULL && (name = kpi_table_name(i, &kind, &doc)) != NULL; i++) {
        const struct kp_stream *stream = kp_stream_by_name(kp_str_from(name));
        struct kpi_value rows = {.type = KP_TYPE_I64, .null = stream == NULL || snapshot == NULL};
        if (!rows.null)
            rows.i64 = (int64_t)kp_snapshot_rows(snapshot, stream);
        bool good = add_text(op, name) && add_text(op, kind) && kpi_op_values_add(op, rows) &&
                    add_text(op, doc);
        if (!good)
            return NULL;
    }
    return op;
}

static struct kpi_op *open_show_columns(struct kpi_bind *bind, const struct kpi_source *source)
{
    static const struct kp_field fields[] = {{KP_STR("name"), KP_TYPE_STR, KP_UNIT_NONE},
                                             {KP_STR("type"), KP_TYPE_STR, KP_UNIT_NONE},
                                             {KP_STR("unit"), KP_TYPE_STR, KP_UNIT_NONE},
                                             {KP_STR("meaning"), KP_TYPE_STR, KP_UNIT_NONE}};
    const struct kp_stream *stream = kp_stream_by_name(source->name);
    struct kpi_op *table = open_table(bind, source->name, source->place);
    struct kpi_op *op = kpi_op_values(bind->run, "show", fields, KP_ARRAY_LEN(fields));
    for (uint32_t i = 0; table != NULL && op != NULL && i < table->schema.count; i++) {
        const struct kp_field *field = &table->schema.fields[i];
        struct kpi_value name = {.type = KP_TYPE_STR, .str = field->name};
        bool good = kpi_op_values_add(op, name) && add_text(op, kp_type_name(field->type)) &&
                    add_text(op, kp_unit_name(field->unit)) &&
                    add_text(op, stream == NULL ? "" : stream->columns[i].doc);
        if (!good)
            return NULL;
    }
    memset(bind->run->streams, 0, sizeof(bind->run->streams)); /* nothing is read */
    return table == NULL ? NULL : op;
}

struct kpi_op *kpi_source_open(struct kpi_bind *bind, const struct kpi_source *source)
{
    switch (source->kind) {
    case KPI_SOURCE_TABLE:
        return open_table(bind, source->name, source->place);
    case KPI_SOURCE_PRINT:
        return open_print(bind, source);
    case KPI_SOURCE_RANGE:
        return open_range(bind, source);
    case KPI_SOURCE_DATATABLE:
        return open_datatable(bind, source);
    case KPI_SOURCE_UNION:
        return kpi_bind_union(bind, NULL, source->pipes, &source->params, NULL, source->place);
    case KPI_SOURCE_CALL:
        return kpi_name_open(bind, source->values);
    case KPI_SOURCE_SEARCH:
    case KPI_SOURCE_FIND:
        return kpi_bind_search(bind, source);
    case KPI_SOURCE_SHOW_TABLES:
        return open_show_tables(bind);
    case KPI_SOURCE_SHOW_COLUMNS:
        return open_show_columns(bind, source);
    default:
        return kpi_bind_verb(bind, source);
    }
}
