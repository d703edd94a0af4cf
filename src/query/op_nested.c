/* SPDX-License-Identifier: Apache-2.0
 *
 * top-nested: the first values of a key, for each of them the first of the next key, and so on. The
 * rows are kept, each with the number of its group; a level is a summarize of them by group and
 * key, after which each group's first values are new groups and what is left of it one more (the
 * rest) or none. Groups are numbered in the order of the answer, so the last level's are its rows.
 */
#include "query/groups.h"
#include "query/names.h"
#include "query/nested.h"
#include "query/sorting.h"

#define NOWHERE (-1) /* group of a row that is no part of the answer any more */

/* A group of a level: a row of the answer seen from there. */
struct node {
    uint32_t parent; /* of the level before */
    bool rest;
    struct kpi_value key, value;
};

struct nodes {
    struct node *items;
    uint32_t count, capacity;
};

struct nested_op {
    struct kpi_op base;
    struct kpi_nested nested;
    const struct kp_vec **vecs;
    struct kpi_rowset rows; /* columns of the input, then keys */
    int64_t *group;         /* of each row */
    struct nodes *levels;
    bool done;
    uint32_t given;
    struct kpi_rowset answer;
    struct kp_batch out;
};

/* --- the kept rows as a table: $group, $key0.., columns --- */

struct feed_op {
    struct kpi_op base;
    struct nested_op *from;
    uint32_t chunk;
    struct kp_vec *cols;
    uint16_t sel[KP_VECTOR_ROWS];
    struct kp_batch out;
};

static kp_status feed_next(struct kpi_op *base, const struct kp_batch **out)
{
    struct feed_op *op = (struct feed_op *)base;
    struct nested_op *from = op->from;
    uint32_t columns = from->base.input->schema.count, keys = from->nested.count, selected = 0;
    struct kp_vec *kept;
    uint32_t rows = kpi_rowset_chunk(&from->rows, op->chunk, &kept);
    if (rows == 0)
        return KP_END;
    const int64_t *group = from->group + op->chunk++ * KP_VECTOR_ROWS;
    op->cols[0] = (struct kp_vec){.type = KP_TYPE_I64, .i64 = (int64_t *)(uintptr_t)group};
    for (uint32_t k = 0; k < keys; k++)
        op->cols[1 + k] = kept[columns + k];
    for (uint32_t c = 0; c < columns; c++)
        op->cols[1 + keys + c] = kept[c];
    for (uint32_t i = 0; i < rows; i++)
        if (group[i] != NOWHERE)
            op->sel[selected++] = (uint16_t)i;
    op->out = (struct kp_batch){.cols = op->cols,
                                .cols_count = 1 + keys + columns,
                                .rows = rows,
                                .sel = op->sel,
                                .sel_count = selected};
    *out = &op->out;
    return KP_OK;
}

static const struct kpi_op_class feed_class = {.name = "top-nested", .next = feed_next};

static struct kp_str key_name(struct kpi_run *run, uint32_t level)
{
    struct kp_buf text = {0};
    kp_buf_printf(&text, "$key%u", level);
    struct kp_str copy = kp_arena_str(&run->arena, kp_str_from(kp_buf_cstr(&text)));
    kp_buf_deinit(&text);
    if (copy.ptr == NULL)
        kpi_fail_memory(&run->ctx);
    return copy;
}

static struct kpi_op *feed(struct nested_op *op)
{
    struct kpi_run *run = op->base.run;
    const struct kp_schema *input = &op->base.input->schema;
    uint32_t keys = op->nested.count;
    struct feed_op *rows = (struct feed_op *)kpi_op_new(run, &feed_class, sizeof(*rows), NULL,
                                                        1 + keys + input->count);
    if (rows == NULL)
        return NULL;
    struct kp_field *fields = kpi_op_fields(&rows->base);
    fields[0] = (struct kp_field){KP_STR("$group"), KP_TYPE_I64, KP_UNIT_NONE};
    for (uint32_t k = 0; k < keys; k++)
        fields[1 + k] = (struct kp_field){key_name(run, k), op->nested.levels[k].key->type,
                                          op->nested.levels[k].key->unit};
    memcpy(fields + 1 + keys, input->fields, input->count * sizeof(*fields));
    rows->from = op;
    rows->cols = kpi_new(&run->ctx, 1 + keys + input->count, sizeof(*rows->cols));
    return rows->cols == NULL ? NULL : &rows->base;
}

static struct kpi_items plus_name(struct kpi_bind *bind, struct kpi_items items, struct kp_str name)
{
    struct kpi_token token = {.text = name};
    return kpi_items_add(items, kpi_item_new(bind->ctx, &token, kpi_node_name(bind->ctx, &token)));
}

/* summarize the level's aggregate by $group, and by its key; columns in this order. */
static struct kpi_op *tally_op(struct nested_op *op, uint32_t level, bool by_key)
{
    struct kpi_op *rows = feed(op);
    struct kpi_bind bind = op->nested.bind;
    struct kpi_item *aggregate = kpi_new(bind.ctx, 1, sizeof(*aggregate));
    if (rows == NULL || aggregate == NULL)
        return NULL;
    bind.schema = &rows->schema;
    bind.windows = NULL;
    bind.aggregates = NULL;
    *aggregate = *op->nested.levels[level].aggregate;
    aggregate->next = NULL;
    struct kpi_items items = {aggregate, aggregate, 1};
    struct kpi_items by = plus_name(&bind, (struct kpi_items){0}, KP_STR("$group"));
    if (by_key)
        by = plus_name(&bind, by, rows->schema.fields[1 + level].name);
    struct kpi_op *groups =
        bind.ctx->status == KP_OK ? kpi_bind_summarize(&bind, rows, &items, &by) : NULL;
    if (groups != NULL && groups->schema.count != 2u + by_key) {
        kpi_fail(bind.ctx, KP_INVALID, aggregate->place, "top-nested orders by one aggregate");
        return NULL;
    }
    return groups;
}

static bool keep_tally(void *ctx, const struct kp_batch *batch, uint32_t row)
{
    struct kpi_rowset *set = ctx;
    const struct kp_vec *vecs[3];
    uint32_t at = kpi_rowset_grow(set);
    for (uint32_t c = 0; c < set->cols; c++)
        vecs[c] = &batch->cols[c];
    return at != UINT32_MAX && kpi_rowset_put(set, at, vecs, row);
}

static bool tally(struct nested_op *op, uint32_t level, bool by_key, struct kpi_rowset *out)
{
    struct kpi_ctx *ctx = &op->base.run->ctx;
    struct kpi_op *groups = tally_op(op, level, by_key);
    enum kp_type *types = kpi_new(ctx, 3, sizeof(*types));
    if (groups == NULL || types == NULL)
        return false;
    for (uint32_t c = 0; c < groups->schema.count; c++)
        types[c] = groups->schema.fields[c].type;
    kpi_rowset_init(out, ctx, types, NULL, groups->schema.count);
    return kpi_subquery_run(groups, keep_tally, out);
}

/* --- one level --- */

/* What a level found: groups and keys with their values, and what became of each. */
struct found {
    struct kpi_rowset tally; /* $group, key, value */
    struct kpi_groups index; /* number of (group, key): the row of the tally */
    uint32_t *order;         /* rows of the tally, the first of each group first */
    int64_t *becomes;        /* group of the next level; NOWHERE = the rest */
    int64_t *rest;           /* per group: the rest's, or NOWHERE */
    bool ascending;
};

static const struct kp_vec *cell(const struct found *found, uint32_t row, uint32_t col)
{
    return kpi_rowset_vec(&found->tally, row, col);
}

static int64_t group_of(const struct found *found, uint32_t row)
{
    return cell(found, row, 0)->i64[row & 1023];
}

static int by_value(const void *left, const void *right, void *arg)
{
    const struct found *found = arg;
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    if (group_of(found, a) != group_of(found, b))
        return group_of(found, a) < group_of(found, b) ? -1 : 1;
    const struct kp_vec *va = cell(found, a, 2), *vb = cell(found, b, 2);
    bool null_a = kp_vec_null(va, a & 1023), null_b = kp_vec_null(vb, b & 1023);
    if (null_a != null_b)
        return null_a ? 1 : -1;
    int order = null_a ? 0 : kpi_compare(va, a & 1023, vb, b & 1023);
    if (order != 0)
        return found->ascending ? order : -order;
    return (a > b) - (a < b);
}

static bool rank(struct nested_op *op, uint32_t level, uint32_t parents, struct found *out)
{
    struct kpi_ctx *ctx = &op->base.run->ctx;
    *out = (struct found){.ascending = op->nested.levels[level].ascending};
    if (!tally(op, level, true, &out->tally) ||
        !kpi_groups_init(&out->index, ctx, out->tally.types, 2))
        return false;
    uint32_t rows = out->tally.rows;
    out->order = kpi_new(ctx, rows, sizeof(*out->order));
    out->becomes = kpi_new(ctx, rows, sizeof(*out->becomes));
    out->rest = kpi_new(ctx, parents, sizeof(*out->rest));
    for (uint32_t row = 0; ctx->status == KP_OK && row < rows; row++) {
        const struct kp_vec *keys[2] = {cell(out, row, 0), cell(out, row, 1)};
        kpi_groups_find(&out->index, keys, row & 1023);
        out->order[row] = row;
        out->becomes[row] = NOWHERE;
    }
    return ctx->status == KP_OK &&
           kpi_sort_items(op->base.run, out->order, rows, sizeof(*out->order), by_value, out);
}

static int64_t add_node(struct nested_op *op, struct nodes *nodes, struct node node)
{
    if (nodes->count == nodes->capacity) {
        uint32_t capacity = nodes->capacity == 0 ? 64 : nodes->capacity * 2;
        struct node *items = kpi_new(&op->base.run->ctx, capacity, sizeof(*items));
        if (items == NULL)
            return NOWHERE;
        for (uint32_t i = 0; i < nodes->count; i++)
            items[i] = nodes->items[i];
        nodes->items = items;
        nodes->capacity = capacity;
    }
    nodes->items[nodes->count] = node;
    return nodes->count++;
}

/* Makes the groups of the next level out of the ranked values of each parent. */
static void choose(struct nested_op *op, uint32_t level, const struct nodes *parents,
                   struct found *found)
{
    const struct kpi_nested_level *rule = &op->nested.levels[level];
    struct nodes *out = &op->levels[level];
    uint32_t at = 0, rows = found->tally.rows;
    for (uint32_t parent = 0; parent < parents->count; parent++) {
        uint64_t taken = 0;
        bool more = false, rest = parents->items[parent].rest;
        for (; at < rows && group_of(found, found->order[at]) == parent; at++) {
            uint32_t row = found->order[at];
            struct node node = {.parent = parent,
                                .key = kpi_vec_value(cell(found, row, 1), row & 1023),
                                .value = kpi_vec_value(cell(found, row, 2), row & 1023)};
            more |= rest || taken == rule->count;
            if (rest || taken++ >= rule->count)
                continue;
            found->becomes[row] = add_node(op, out, node);
        }
        struct kpi_value null = {.type = rule->key->type, .null = true, .str = KP_STR("")};
        struct node node = {.parent = parent, .rest = true, .key = null, .value = {.null = true}};
        if (rule->labelled)
            node.key = rule->label;
        found->rest[parent] = more && (rule->kept || rest) ? add_node(op, out, node) : NOWHERE;
    }
}

/* Moves the rows into the groups of the next level. */
static bool move(struct nested_op *op, uint32_t level, struct found *found)
{
    uint32_t key = op->base.input->schema.count + level;
    for (uint32_t row = 0; row < op->rows.rows; row++) {
        struct kp_vec group = {.type = KP_TYPE_I64,
                               .i64 = op->group + (row & ~(uint32_t)(KP_VECTOR_ROWS - 1))};
        const struct kp_vec *keys[2] = {&group, kpi_rowset_vec(&op->rows, row, key)};
        int64_t before = op->group[row];
        if (before == NOWHERE)
            continue;
        uint32_t at = kpi_groups_find(&found->index, keys, row & 1023);
        if (at == UINT32_MAX)
            return false;
        int64_t becomes = found->becomes[at];
        op->group[row] = becomes == NOWHERE ? found->rest[before] : becomes;
    }
    return kpi_run_check(op->base.run) == KP_OK;
}

/* The aggregate over what is left. */
static bool value_rest(struct nested_op *op, uint32_t level)
{
    struct kpi_rowset values;
    if (!op->nested.levels[level].labelled)
        return true;
    if (!tally(op, level, false, &values))
        return false;
    for (uint32_t row = 0; row < values.rows; row++) {
        int64_t group = kpi_rowset_vec(&values, row, 0)->i64[row & 1023];
        struct node *node = &op->levels[level].items[group];
        if (node->rest)
            node->value = kpi_vec_value(kpi_rowset_vec(&values, row, 1), row & 1023);
    }
    return true;
}

static bool run_level(struct nested_op *op, uint32_t level, const struct nodes *parents)
{
    struct found found;
    if (!rank(op, level, parents->count, &found))
        return false;
    choose(op, level, parents, &found);
    return move(op, level, &found) && value_rest(op, level);
}

/* --- rows in, rows out --- */

static kp_status nested_open(struct kpi_op *base)
{
    struct nested_op *op = (struct nested_op *)base;
    struct kpi_ctx *ctx = &base->run->ctx;
    uint32_t columns = base->input->schema.count, keys = op->nested.count;
    enum kp_type *types = kpi_new(ctx, columns + keys, sizeof(*types));
    enum kp_type *answer = kpi_new(ctx, 2 * keys, sizeof(*answer));
    bool *keep = kpi_new(ctx, columns + keys, sizeof(*keep));
    op->vecs = kpi_new(ctx, columns + keys, sizeof(*op->vecs));
    op->levels = kpi_new(ctx, keys, sizeof(*op->levels));
    if (ctx->status != KP_OK)
        return ctx->status;
    for (uint32_t c = 0; c < columns; c++) {
        types[c] = base->input->schema.fields[c].type;
        keep[c] = op->nested.need[c];
    }
    for (uint32_t k = 0; k < keys; k++) {
        types[columns + k] = op->nested.levels[k].key->type;
        keep[columns + k] = true;
        if (!kpi_expr_prepare(ctx, op->nested.levels[k].key, KP_VECTOR_ROWS))
            return ctx->status;
    }
    for (uint32_t c = 0; c < 2 * keys; c++)
        answer[c] = base->schema.fields[c].type;
    kpi_rowset_init(&op->rows, ctx, types, keep, columns + keys);
    kpi_rowset_init(&op->answer, ctx, answer, NULL, 2 * keys);
    return ctx->status;
}

static kp_status keep_rows(struct nested_op *op)
{
    struct kpi_op *base = &op->base;
    const struct kp_batch *batch;
    uint32_t columns = base->input->schema.count;
    kp_status status;
    while ((status = kpi_op_next(base->input, &batch)) == KP_OK) {
        kpi_eval_begin(&base->eval);
        for (uint32_t c = 0; c < columns; c++)
            op->vecs[c] = &batch->cols[c];
        for (uint32_t k = 0; k < op->nested.count; k++)
            op->vecs[columns + k] = kpi_expr_eval(op->nested.levels[k].key, batch, &base->eval);
        for (uint32_t i = 0; i < kp_batch_count(batch); i++) {
            uint32_t at = kpi_rowset_grow(&op->rows);
            if (at == UINT32_MAX ||
                !kpi_rowset_put(&op->rows, at, op->vecs, kp_batch_row(batch, i)))
                return base->run->ctx.status;
        }
    }
    return status == KP_END ? base->run->ctx.status : status;
}

/* A row for each group of the last level. */
static bool write_answer(struct nested_op *op)
{
    uint32_t levels = op->nested.count;
    for (uint32_t i = 0; i < op->levels[levels - 1].count; i++) {
        uint32_t at = kpi_rowset_grow(&op->answer), group = i;
        for (uint32_t level = levels; at != UINT32_MAX && level-- > 0;) {
            const struct node *node = &op->levels[level].items[group];
            if (!kpi_rowset_set(&op->answer, at, 2 * level, node->key) ||
                !kpi_rowset_set(&op->answer, at, 2 * level + 1, node->value))
                return false;
            group = node->parent;
        }
        if (at == UINT32_MAX)
            return false;
    }
    return true;
}

static kp_status build(struct nested_op *op)
{
    struct kpi_ctx *ctx = &op->base.run->ctx;
    struct node whole = {0};
    struct nodes top = {&whole, 1, 1};
    kp_status status = keep_rows(op);
    if (status != KP_OK)
        return status;
    op->done = true;
    op->group = kpi_new(ctx, ((size_t)op->rows.rows | 1023) + 1, sizeof(*op->group));
    for (uint32_t level = 0; ctx->status == KP_OK && level < op->nested.count; level++)
        if (!run_level(op, level, level == 0 ? &top : &op->levels[level - 1]))
            return ctx->status;
    if (ctx->status == KP_OK)
        write_answer(op);
    return ctx->status;
}

static kp_status nested_next(struct kpi_op *base, const struct kp_batch **out)
{
    struct nested_op *op = (struct nested_op *)base;
    kp_status status = op->done ? KP_OK : build(op);
    if (status != KP_OK)
        return status;
    return kpi_rowset_give(&op->answer, &op->given, &op->out, out);
}

static void nested_need(struct kpi_op *base)
{
    const struct nested_op *op = (const struct nested_op *)base;
    for (uint32_t c = 0; c < base->input->schema.count; c++)
        base->input->need[c] |= op->nested.need[c];
}

static void nested_describe(const struct kpi_op *base, struct kp_buf *out)
{
    const struct nested_op *op = (const struct nested_op *)base;
    for (uint32_t k = 0; k < op->nested.count; k++) {
        kp_buf_text(out, k > 0 ? ", " : "");
        kpi_expr_text(op->nested.levels[k].key, out);
    }
}

static const struct kpi_op_class nested_class = {"top-nested", nested_open,     nested_next, NULL,
                                                 nested_need,  nested_describe, NULL};

struct kpi_op *kpi_op_nested(struct kpi_op *input, const struct kpi_nested *nested,
                             const struct kp_field *keys, const struct kp_str *names)
{
    struct nested_op *op = (struct nested_op *)kpi_op_new(input->run, &nested_class, sizeof(*op),
                                                          input, 2 * nested->count);
    if (op == NULL)
        return NULL;
    op->nested = *nested;
    for (uint32_t k = 0; k < nested->count; k++) {
        struct kpi_op *groups = tally_op(op, k, true);
        if (groups == NULL)
            return NULL;
        struct kp_field *fields = kpi_op_fields(&op->base) + 2 * k;
        fields[0] = keys[k];
        fields[1] = groups->schema.fields[2];
        fields[1].name = names[k];
    }
    return &op->base;
}
