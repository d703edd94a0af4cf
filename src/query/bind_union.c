/* SPDX-License-Identifier: Apache-2.0
 *
 * union: columns meet by name and type; what a table lacks is null. A name that has several types
 * becomes a column for each of them, name_type, as in Kusto. withsource= puts the name of the table
 * in front.
 */
#include <stdio.h>

#include "query/names.h"
#include "query/search.h"

/* One table of the union. */
struct side {
    struct kpi_op *op;
    struct kp_str name;
};

struct joining {
    struct side sides[KPI_ARGS_MAX];
    uint32_t count;
    struct kpi_place place;
    struct kp_str withsource;
    const struct kpi_search *search; /* NULL = all rows */
    bool fuzzy, inner;
    struct kpi_outputs all;
};

static bool take_params(struct kpi_bind *bind, struct joining *u, const struct kpi_items *params)
{
    for (const struct kpi_item *p = params->first; p != NULL; p = p->next) {
        struct kp_str word = p->expr->kind == KPI_NODE_VALUE && p->expr->value.type == KP_TYPE_STR
                                 ? p->expr->value.str
                                 : p->expr->name;
        if (kp_str_equal(p->name, KP_STR("withsource"))) {
            u->withsource = word;
        } else if (kp_str_equal(p->name, KP_STR("isfuzzy"))) {
            u->fuzzy = kp_str_equal_nocase(word, KP_STR("true"));
        } else if (kp_str_equal(p->name, KP_STR("kind"))) {
            u->inner = kp_str_equal(word, KP_STR("inner"));
        } else {
            kpi_fail(bind->ctx, KP_INVALID, p->place, "union does not take '%.*s'",
                     (int)KP_MIN(p->name.len, 60u), p->name.ptr);
            kpi_hint(bind->ctx, "kind=inner, kind=outer, withsource=name or isfuzzy=true");
            return false;
        }
    }
    return true;
}

static bool add_side(struct kpi_bind *bind, struct joining *u, struct kpi_op *op,
                     struct kp_str name)
{
    if (op == NULL)
        return false;
    if (u->count == KPI_ARGS_MAX) {
        kpi_fail(bind->ctx, KP_LIMIT, u->place, "a union of more than %d tables", KPI_ARGS_MAX);
        return false;
    }
    if (u->search != NULL)
        op = kpi_search_side(bind, op, name, u->search);
    u->sides[u->count++] = (struct side){op, name};
    return op != NULL;
}

/* Name of a table for withsource: its own, what `as` says, or union_argN. */
static struct kp_str side_name(struct kpi_bind *bind, const struct joining *u,
                               const struct kpi_pipe *pipe)
{
    struct kp_str name = {NULL, 0};
    char text[32];
    if (pipe->first == NULL && pipe->source->kind == KPI_SOURCE_TABLE)
        name = pipe->source->name;
    for (const struct kpi_stage *s = pipe->first; s != NULL; s = s->next)
        if (s->kind == KPI_STAGE_AS)
            name = s->items.first->name;
    if (name.ptr != NULL)
        return name;
    snprintf(text, sizeof(text), "union_arg%u", u->count);
    return kp_arena_str(bind->ctx->arena, kp_str_from(text));
}

/* isfuzzy: a table that is not there is left out, and a remark says so. */
static bool is_absent(struct kpi_bind *bind, const struct kpi_pipe *pipe)
{
    const struct kpi_source *source = pipe->source;
    return source->kind == KPI_SOURCE_TABLE && kpi_name_find(bind, source->name) == NULL &&
           !kpi_table_known(source->name);
}

/* View*: tables of the text whose name begins so, then stored ones; a search looks at streams. */
static bool add_pattern(struct kpi_bind *bind, struct joining *u, const struct kpi_source *source)
{
    const struct kpi_name *found[KPI_ARGS_MAX];
    uint32_t count = 0;
    struct kp_str start = source->name;
    struct kpi_node empty = {.kind = KPI_NODE_NAME, .place = source->place};
    for (const struct kpi_name *n = bind->names; n != NULL; n = n->before) {
        empty.name = n->name;
        bool fits = n->name.len >= start.len && memcmp(n->name.ptr, start.ptr, start.len) == 0 &&
                    kpi_name_find(bind, n->name) == n && kpi_name_table(bind, &empty) != NULL;
        if (fits && count < KPI_ARGS_MAX)
            found[count++] = n;
    }
    while (count > 0) {
        struct kpi_token word = {.text = found[--count]->name, .place = source->place};
        struct kpi_op *op = kpi_source_open(bind, kpi_source_table(bind->ctx, &word));
        if (!add_side(bind, u, op, word.text))
            return false;
    }
    const char *name, *kind, *doc;
    for (uint32_t i = 0; (name = kpi_table_name(i, &kind, &doc)) != NULL; i++) {
        struct kpi_token word = {.text = kp_str_from(name), .place = source->place};
        if (word.text.len < start.len || memcmp(name, start.ptr, start.len) != 0 ||
            (u->search != NULL &&
             (bind->run->snapshot == NULL || kp_stream_by_name(word.text) == NULL)))
            continue;
        struct kpi_op *op = kpi_source_open(bind, kpi_source_table(bind->ctx, &word));
        if (!add_side(bind, u, op, word.text))
            return false;
    }
    return true;
}

static bool add_pipe(struct kpi_bind *bind, struct joining *u, const struct kpi_pipe *pipe)
{
    if (pipe->source->kind == KPI_SOURCE_PATTERN)
        return add_pattern(bind, u, pipe->source);
    if (u->fuzzy && is_absent(bind, pipe)) {
        kpi_note(bind->run, "there is no table '%.*s': the union is made without it",
                 (int)pipe->source->name.len, pipe->source->name.ptr);
        return true;
    }
    struct kp_str name = side_name(bind, u, pipe);
    return add_side(bind, u, kpi_bind_pipe(bind, pipe), name);
}

/* --- columns --- */

static bool several_types(const struct joining *u, const struct kp_field *field)
{
    for (uint32_t i = 0; i < u->count; i++) {
        int at = kp_schema_find(&u->sides[i].op->schema, field->name);
        if (at >= 0 && u->sides[i].op->schema.fields[at].type != field->type)
            return true;
    }
    return false;
}

static bool in_all(const struct joining *u, const struct kp_field *field)
{
    for (uint32_t i = 0; i < u->count; i++)
        if (kp_schema_find(&u->sides[i].op->schema, field->name) < 0)
            return false;
    return true;
}

static struct kp_str column_name(struct kpi_bind *bind, const struct joining *u,
                                 const struct kp_field *field)
{
    char text[200];
    if (!several_types(u, field))
        return field->name;
    snprintf(text, sizeof(text), "%.*s_%s", (int)KP_MIN(field->name.len, 150u), field->name.ptr,
             kp_type_name(field->type));
    return kp_arena_str(bind->ctx->arena, kp_str_from(text));
}

static bool merge_columns(struct kpi_bind *bind, struct joining *u, const struct kp_schema *one)
{
    for (uint32_t i = 0; i < one->count; i++) {
        struct kp_str name = column_name(bind, u, &one->fields[i]);
        struct kp_schema so_far = {u->all.fields, u->all.count};
        struct kpi_value none = {.type = one->fields[i].type, .null = true};
        if (kp_schema_find(&so_far, name) >= 0 || (u->inner && !in_all(u, &one->fields[i])))
            continue;
        if (!kpi_outputs_add(bind, &u->all, name, kpi_bind_value(bind, none, u->place)))
            return false;
        struct kp_field field = one->fields[i];
        field.name = u->all.fields[u->all.count - 1].name;
        u->all.fields[u->all.count - 1] = field;
    }
    return true;
}

/* Index in a table of what becomes column i of the union; -1 = it has none. */
static int source_column(struct kpi_bind *bind, const struct joining *u,
                         const struct kp_schema *one, uint32_t i)
{
    for (uint32_t c = 0; c < one->count; c++)
        if (one->fields[c].type == u->all.fields[i].type &&
            kp_str_equal(column_name(bind, u, &one->fields[c]), u->all.fields[i].name))
            return (int)c;
    return -1;
}

static struct kpi_op *aligned(struct kpi_bind *bind, const struct joining *u,
                              const struct side *side)
{
    struct kpi_bind below = *bind;
    struct kpi_outputs outputs = {0};
    struct kpi_place nowhere = {0};
    below.schema = &side->op->schema;
    for (uint32_t i = 0; i < u->all.count; i++) {
        struct kpi_value none = {.type = u->all.fields[i].type,
                                 .null = kp_type_phys(u->all.fields[i].type) != KP_PHYS_STR};
        if (!none.null)
            none.str = KP_STR("");
        int at = -1;
        if (i == 0 && u->withsource.ptr != NULL)
            none.str = side->name;
        else
            at = source_column(bind, u, below.schema, i);
        if (!kpi_outputs_add(&below, &outputs, u->all.fields[i].name,
                             at >= 0 ? kpi_bind_column(&below, (uint32_t)at, nowhere)
                                     : kpi_bind_value(&below, none, nowhere)))
            return NULL;
    }
    return kpi_op_project(side->op, "union", u->all.fields, outputs.exprs, u->all.count);
}

struct kpi_op *kpi_bind_union(struct kpi_bind *bind, struct kpi_op *first,
                              const struct kpi_pipe *pipes, const struct kpi_items *params,
                              const struct kpi_search *search, struct kpi_place place)
{
    struct joining *u = kpi_new(bind->ctx, 1, sizeof(*u));
    struct kpi_value source = {.type = KP_TYPE_STR, .str = KP_STR("")};
    if (u == NULL || !take_params(bind, u, params))
        return NULL;
    u->place = place;
    u->search = search;
    if (first != NULL && !add_side(bind, u, first, KP_STR("union_arg0")))
        return NULL;
    for (const struct kpi_pipe *pipe = pipes; pipe != NULL; pipe = pipe->next)
        if (!add_pipe(bind, u, pipe))
            return NULL;
    if (u->count == 0) {
        kpi_fail(bind->ctx, KP_INVALID, place, "the union has no table");
        return NULL;
    }
    if (u->withsource.ptr != NULL &&
        !kpi_outputs_add(bind, &u->all, u->withsource, kpi_bind_value(bind, source, place)))
        return NULL;
    struct kpi_op **inputs = kpi_new(bind->ctx, u->count, sizeof(struct kpi_op *));
    for (uint32_t i = 0; inputs != NULL && i < u->count; i++)
        if (!merge_columns(bind, u, &u->sides[i].op->schema))
            return NULL;
    for (uint32_t i = 0; inputs != NULL && i < u->count; i++)
        if ((inputs[i] = aligned(bind, u, &u->sides[i])) == NULL)
            return NULL;
    struct kp_schema schema = {u->all.fields, u->all.count};
    return inputs == NULL ? NULL : kpi_op_union(bind->run, inputs, u->count, &schema);
}
