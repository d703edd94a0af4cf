/* SPDX-License-Identifier: Apache-2.0
 *
 * Random queries. A pipe is drawn stage by stage; the columns after each stage are what the next
 * one draws from, so every query is right by its types. Where the next stage needs an order that
 * the rows have not, a sort by all columns comes before it.
 */
#include "oracle.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"

static const struct form forms[] = {
#define FORM(type, args, ours, sql) {type, args, ours, sql},
#include "forms.def"
};
static const struct form aggregates[] = {
#define AGGREGATE(type, args, ours, sql) {type, args, ours, sql},
#include "forms.def"
};
static const struct form row_forms[] = {
#define ROWS(type, args, ours, sql) {type, args, ours, sql},
#include "forms.def"
};
static const struct constant constants[] = {
#define CONSTANT(pool, ours, sql) {pool, ours, sql},
#include "forms.def"
};

struct maker {
    const struct universe *universe;
    struct random *random;
    struct kp_arena *arena;
    uint32_t names;
};

uint64_t random_next(struct random *random)
{
    uint64_t z = (random->state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint32_t random_below(struct random *random, uint32_t n)
{
    return (uint32_t)((random_next(random) >> 32) * n >> 32);
}

static uint32_t below(struct maker *m, uint32_t n)
{
    return random_below(m->random, n);
}

static void *make(struct maker *m, size_t size)
{
    void *memory = kp_arena_alloc(m->arena, size);
    kp_assert(memory != NULL);
    memset(memory, 0, size);
    return memory;
}

static void name_new(struct maker *m, char out[NAME_MAX])
{
    snprintf(out, NAME_MAX, "x%u", ++m->names);
}

/* --- expressions --- */

static struct node *make_constant(struct maker *m, char pool)
{
    const struct constant *found[64];
    uint32_t count = 0;
    struct node *node = make(m, sizeof(*node));
    for (size_t i = 0; i < KP_ARRAY_LEN(constants); i++)
        if (constants[i].pool == pool)
            found[count++] = &constants[i];
    kp_assert(count > 0);
    node->type = pool;
    node->constant = found[below(m, count)];
    return node;
}

static struct node *node_of_column(struct maker *m, const struct column *column)
{
    struct node *node = make(m, sizeof(*node));
    node->type = column->type;
    memcpy(node->column, column->name, NAME_MAX);
    return node;
}

/* A column of a type, or of any when type is 0; NULL when there is none. */
static const struct column *pick_column(struct maker *m, const struct columns *in, char type)
{
    uint32_t found[COLUMNS_MAX], count = 0;
    for (uint32_t i = 0; i < in->count; i++)
        if (in->at[i].type == type || (type == 0 && in->at[i].type != 'Y'))
            found[count++] = i;
    return count == 0 ? NULL : &in->at[found[below(m, count)]];
}

static struct node *make_node(struct maker *m, const struct columns *in, char type, int depth);

static struct node *make_call(struct maker *m, const struct columns *in, const struct form *form,
                              int depth)
{
    struct node *node = make(m, sizeof(*node));
    node->type = form->type;
    node->form = form;
    for (uint32_t i = 0; form->args[i] != '\0'; i++)
        node->args[i] = make_node(m, in, form->args[i], depth - 1);
    return node;
}

static struct node *make_node(struct maker *m, const struct columns *in, char type, int depth)
{
    const struct form *found[128];
    uint32_t count = 0;
    if (type >= 'a')
        return make_constant(m, type);
    for (size_t i = 0; i < KP_ARRAY_LEN(forms); i++)
        if (forms[i].type == type)
            found[count++] = &forms[i];
    const struct column *column = pick_column(m, in, type);
    if (depth > 0 && (type == 'B' || below(m, 100) < 45))
        return make_call(m, in, found[below(m, count)], depth);
    if (column != NULL && below(m, 100) < 80)
        return node_of_column(m, column);
    return make_constant(m, type);
}

static char pick_type(struct maker *m)
{
    static const char types[] = "LLLSSRTDB";
    return types[below(m, sizeof(types) - 1)];
}

/* --- stages --- */

static struct pipe *make_pipe(struct maker *m, uint32_t stages, bool sub);

static void make_items(struct maker *m, const struct columns *in, struct stage *stage)
{
    stage->items_count = 1 + below(m, 2);
    for (uint32_t i = 0; i < stage->items_count; i++) {
        name_new(m, stage->items[i].name);
        stage->items[i].node = make_node(m, in, pick_type(m), 3);
    }
    const struct column *old = pick_column(m, in, 0);
    if (stage->kind == STAGE_EXTEND && old != NULL && below(m, 5) == 0)
        memcpy(stage->items[0].name, old->name, NAME_MAX);
}

/* Some columns as they are, and perhaps something new. */
static void make_project(struct maker *m, const struct columns *in, struct stage *stage)
{
    uint32_t from = below(m, in->count), count = 1 + below(m, 3);
    make_items(m, in, stage);
    stage->items_count = below(m, 2);
    for (uint32_t i = 0; i < count && i < in->count; i++) {
        struct item *item = &stage->items[stage->items_count++];
        const struct column *column = &in->at[(from + i) % in->count];
        item->node = node_of_column(m, column);
        memcpy(item->name, column->name, NAME_MAX);
    }
}

static void make_keys(struct maker *m, const struct columns *in, struct stage *stage)
{
    stage->keys_count = below(m, 3);
    for (uint32_t i = 0; i < stage->keys_count; i++) {
        const struct column *column = pick_column(m, in, 0);
        bool plain = column != NULL && below(m, 3) > 0;
        name_new(m, stage->keys[i].name);
        stage->keys[i].node = plain ? node_of_column(m, column) : make_node(m, in, pick_type(m), 2);
    }
}

static void make_summarize(struct maker *m, const struct columns *in, struct stage *stage)
{
    make_keys(m, in, stage);
    stage->items_count = 1 + below(m, 3);
    for (uint32_t i = 0; i < stage->items_count; i++) {
        const struct form *form = &aggregates[below(m, KP_ARRAY_LEN(aggregates))];
        name_new(m, stage->items[i].name);
        stage->items[i].node = make_call(m, in, form, 2);
    }
}

static void make_distinct(struct maker *m, const struct columns *in, struct stage *stage)
{
    make_project(m, in, stage);
    for (uint32_t i = 0; i < stage->items_count; i++)
        if (stage->items[i].node->form != NULL || stage->items[i].node->constant != NULL ||
            strcmp(stage->items[i].node->column, stage->items[i].name) != 0)
            stage->items[i] = stage->items[--stage->items_count];
}

static void make_sort(struct maker *m, const struct columns *in, struct stage *stage)
{
    stage->items_count = stage->kind == STAGE_TOP ? 1 : 1 + below(m, 2);
    for (uint32_t i = 0; i < stage->items_count; i++) {
        const struct column *column = pick_column(m, in, 0);
        stage->items[i].node = column != NULL && below(m, 3) > 0
                                   ? node_of_column(m, column)
                                   : make_node(m, in, pick_type(m), 2);
        stage->items[i].desc = below(m, 2);
        stage->items[i].nulls_first = below(m, 2);
    }
    stage->n = below(m, 4) == 0 ? below(m, 3) : below(m, 400);
}

static void make_rows(struct maker *m, const struct columns *in, struct stage *stage)
{
    stage->items_count = 1;
    name_new(m, stage->items[0].name);
    const struct form *form = &row_forms[below(m, KP_ARRAY_LEN(row_forms))];
    stage->items[0].node = make_call(m, in, form, 1);
}

/* The other table's columns get names that are nowhere else, so that none needs a number. */
static void rename_all(struct maker *m, struct pipe *pipe)
{
    struct columns columns;
    struct stage *stage = make(m, sizeof(*stage));
    kp_assert(pipe_columns(pipe, pipe->count, &columns));
    stage->kind = STAGE_PROJECT;
    for (uint32_t i = 0; i < columns.count && i < ITEMS_MAX; i++) {
        uint32_t at = columns.count > ITEMS_MAX ? below(m, columns.count) : i;
        stage->items[i].node = node_of_column(m, &columns.at[at]);
        name_new(m, stage->items[i].name);
        stage->items_count++;
    }
    pipe->stages[pipe->count++] = stage;
}

/* The side of a join that is looked up, kept short: keys may have two values. */
static void take_few(struct maker *m, struct pipe *pipe)
{
    struct columns columns;
    struct stage *sort = make(m, sizeof(*sort)), *take = make(m, sizeof(*take));
    kp_assert(pipe_columns(pipe, pipe->count, &columns));
    sort->kind = STAGE_SORT_ALL;
    take->kind = STAGE_TAKE;
    take->n = below(m, 20);
    if (!columns.ordered)
        pipe->stages[pipe->count++] = sort;
    pipe->stages[pipe->count++] = take;
}

static bool make_join(struct maker *m, const struct columns *in, struct stage *stage)
{
    struct columns right;
    stage->other = make_pipe(m, below(m, 3), true);
    if (stage->kind == STAGE_JOIN)
        take_few(m, stage->other);
    rename_all(m, stage->other);
    kp_assert(pipe_columns(stage->other, stage->other->count, &right));
    for (int tries = 0; tries < 8; tries++) {
        const struct column *a = pick_column(m, in, 0);
        const struct column *b = a == NULL ? NULL : pick_column(m, &right, a->type);
        if (b == NULL || a->type == 'R' || a->type == 'B')
            continue;
        memcpy(stage->left, a->name, NAME_MAX);
        memcpy(stage->right, b->name, NAME_MAX);
        stage->n = below(m, JOIN_KINDS);
        stage->negated = below(m, 2);
        return true;
    }
    return false;
}

/* Columns of the same names and types as some of ours. */
static bool make_union(struct maker *m, const struct columns *in, struct stage *stage)
{
    struct columns right;
    struct stage *names = make(m, sizeof(*names));
    stage->other = make_pipe(m, below(m, 3), true);
    kp_assert(pipe_columns(stage->other, stage->other->count, &right));
    names->kind = STAGE_PROJECT;
    for (uint32_t i = 0; i < in->count && names->items_count < ITEMS_MAX; i++) {
        if (in->at[i].type == 'Y' || (i > 0 && below(m, 2) == 0))
            continue;
        struct item *item = &names->items[names->items_count++];
        item->node = make_node(m, &right, in->at[i].type, 1);
        memcpy(item->name, in->at[i].name, NAME_MAX);
    }
    stage->other->stages[stage->other->count++] = names;
    return names->items_count > 0;
}

/* Rows that are intervals: a stream, a condition, the columns of time and a key. */
static struct pipe *make_timed(struct maker *m)
{
    struct pipe *pipe = make(m, sizeof(*pipe));
    struct stage *where = make(m, sizeof(*where));
    pipe->table = &m->universe->tables[below(m, TABLES - 1)];
    pipe->sub = true;
    where->kind = STAGE_WHERE;
    where->items_count = 1;
    where->items[0].node = make_node(m, &pipe->table->columns, 'B', 2);
    pipe->stages[pipe->count++] = where;
    take_few(m, pipe);
    return pipe;
}

static bool make_interval(struct maker *m, const struct columns *in, struct stage *stage)
{
    stage->n = below(m, INTERVAL_KINDS);
    if (stage->n < FLATTEN)
        stage->other = make_timed(m);
    for (int tries = 0; tries < 8; tries++) {
        const struct column *key = pick_column(m, in, 0);
        if (key == NULL || key->type == 'R')
            continue;
        memcpy(stage->left, key->name, NAME_MAX);
        if (stage->other == NULL || column_named(&stage->other->table->columns, key->name) != NULL)
            return true;
    }
    return false;
}

/* Columns that the shape takes, names for those it makes. */
static bool make_shape(struct maker *m, const struct columns *in, struct stage *stage)
{
    stage->shape = (enum shape)below(m, SHAPE_KINDS);
    stage->n = below(m, 100);
    stage->negated = below(m, 2);
    const char *types = shape_types[stage->shape];
    const struct column *key = pick_column(m, in, 0), *right = pick_column(m, in, 0);
    const struct column *left = pick_column(m, in, types[below(m, (uint32_t)strlen(types))]);
    if (key == NULL || left == NULL || right == NULL)
        return false;
    memcpy(stage->key, key->name, NAME_MAX);
    memcpy(stage->left, left->name, NAME_MAX);
    memcpy(stage->right, right->name, NAME_MAX);
    for (size_t i = 0; i < KP_ARRAY_LEN(stage->names); i++)
        name_new(m, stage->names[i]);
    return true;
}

static bool needs_order(enum stage_kind kind)
{
    return kind == STAGE_TOP || kind == STAGE_TAKE || kind == STAGE_SERIALIZE ||
           kind == STAGE_SHAPE;
}

static struct stage *make_stage(struct maker *m, const struct columns *in, bool sub)
{
    static const uint8_t often[STAGE_KINDS] = {24, 4, 16, 8, 16, 4, 8, 0, 7, 4, 1, 6, 8, 4, 8, 12};
    uint32_t draw = below(m, sub ? 84 : 130), kind = 0;
    while (draw >= often[kind])
        draw -= often[kind++];
    struct stage *stage = make(m, sizeof(*stage));
    stage->kind = (enum stage_kind)kind;
    switch (stage->kind) {
    case STAGE_WHERE:
        stage->items_count = 1;
        stage->items[0].node = make_node(m, in, 'B', 3);
        break;
    case STAGE_EXTEND:
        make_items(m, in, stage);
        break;
    case STAGE_PROJECT:
        make_project(m, in, stage);
        break;
    case STAGE_SUMMARIZE:
        make_summarize(m, in, stage);
        break;
    case STAGE_DISTINCT:
        make_distinct(m, in, stage);
        break;
    case STAGE_SERIALIZE:
        make_rows(m, in, stage);
        break;
    case STAGE_WHERE_IN:
    case STAGE_JOIN:
        return make_join(m, in, stage) ? stage : NULL;
    case STAGE_UNION:
        return make_union(m, in, stage) ? stage : NULL;
    case STAGE_INTERVAL:
        return make_interval(m, in, stage) ? stage : NULL;
    case STAGE_SHAPE:
        return make_shape(m, in, stage) ? stage : NULL;
    default:
        make_sort(m, in, stage);
    }
    return stage;
}

static struct pipe *make_pipe(struct maker *m, uint32_t stages, bool sub)
{
    struct pipe *pipe = make(m, sizeof(*pipe));
    struct columns in;
    pipe->table = &m->universe->tables[below(m, TABLES)];
    pipe->sub = sub;
    for (uint32_t i = 0; i < stages; i++) {
        kp_assert(pipe_columns(pipe, pipe->count, &in));
        struct stage *stage = make_stage(m, &in, sub);
        if (stage == NULL)
            continue;
        if (needs_order(stage->kind) && !in.ordered) {
            struct stage *sort = make(m, sizeof(*sort));
            sort->kind = STAGE_SORT_ALL;
            pipe->stages[pipe->count++] = sort;
        }
        pipe->stages[pipe->count++] = stage;
        if (!pipe_columns(pipe, pipe->count, &in))
            pipe->count--;
    }
    return pipe;
}

struct pipe *generate(const struct universe *universe, struct random *random,
                      struct kp_arena *arena)
{
    struct maker m = {.universe = universe, .random = random, .arena = arena};
    return make_pipe(&m, 1 + below(&m, 4), false);
}

struct node *generate_condition(const struct columns *columns, struct random *random,
                                struct kp_arena *arena)
{
    struct maker m = {.random = random, .arena = arena};
    return make_node(&m, columns, 'B', 3);
}
