/* SPDX-License-Identifier: Apache-2.0
 *
 * Grouping. Keys go through an open-addressing table of group numbers; groups are numbered in order
 * of first appearance and come out in that order, so answers do not depend on hashing. A single
 * dictionary-coded key is looked up once per code and batch.
 */
#include "query/aggregate.h"

#define CODED_ENTRIES_MAX 4096

struct aggregate_op {
    struct kpi_op base;
    struct kpi_expr **keys;
    uint32_t keys_count;
    struct kpi_aggregates aggregates;
    bool one_row;
    enum kp_type *types;
    struct kpi_rowset groups; /* the keys */
    uint64_t *hashes;
    uint32_t *slots; /* group + 1 */
    uint32_t capacity;
    uint32_t *group_of; /* of the rows of this batch */
    uint32_t *coded;    /* code -> group + 1 in this batch */
    uint16_t *kept;     /* selection of an ...if() */
    uint32_t *kept_groups;
    bool done;
    uint32_t chunk; /* next to give */
    struct kp_batch out;
};

static bool grow_table(struct aggregate_op *op)
{
    struct kpi_ctx *ctx = &op->base.run->ctx;
    uint32_t capacity = op->capacity == 0 ? 1024 : op->capacity * 2;
    uint32_t *slots = kpi_new(ctx, capacity, sizeof(*slots));
    uint64_t *hashes = kpi_new(ctx, capacity, sizeof(*hashes));
    if (slots == NULL || hashes == NULL)
        return false;
    for (uint32_t g = 0; g < op->groups.rows; g++) {
        hashes[g] = op->hashes[g];
        uint32_t at = (uint32_t)hashes[g] & (capacity - 1);
        while (slots[at] != 0)
            at = (at + 1) & (capacity - 1);
        slots[at] = g + 1;
    }
    op->slots = slots;
    op->hashes = hashes;
    op->capacity = capacity;
    return true;
}

static bool grow_states(struct kpi_ctx *ctx, struct kpi_aggregate *aggregate, uint32_t groups)
{
    while (aggregate->states_count * 1024 < groups) {
        if (aggregate->states_count == aggregate->states_capacity) {
            uint32_t capacity =
                aggregate->states_capacity == 0 ? 16 : aggregate->states_capacity * 2;
            char **states = kpi_new(ctx, capacity, sizeof(*states));
            if (states == NULL)
                return false;
            for (uint32_t i = 0; i < aggregate->states_count; i++)
                states[i] = aggregate->states[i];
            aggregate->states = states;
            aggregate->states_capacity = capacity;
        }
        char *chunk = kpi_new(ctx, 1024, aggregate->func->state_bytes);
        if (chunk == NULL)
            return false;
        aggregate->states[aggregate->states_count++] = chunk;
    }
    return true;
}

static uint32_t new_group(struct aggregate_op *op)
{
    uint32_t group = kpi_rowset_grow(&op->groups);
    for (uint32_t i = 0; i < op->aggregates.count && group != UINT32_MAX; i++)
        if (!grow_states(&op->base.run->ctx, op->aggregates.items[i], group + 1))
            return UINT32_MAX;
    return group;
}

static bool group_equals(struct aggregate_op *op, uint32_t group, const struct kp_vec **keys,
                         uint32_t row)
{
    for (uint32_t k = 0; k < op->keys_count; k++)
        if (!kpi_same(kpi_rowset_vec(&op->groups, group, k), group & 1023, keys[k], row))
            return false;
    return true;
}

/* The group of a row, made when it is new; UINT32_MAX with the error set. */
static uint32_t find_group(struct aggregate_op *op, const struct kp_vec **keys, uint32_t row)
{
    if (op->groups.rows * 2 >= op->capacity && !grow_table(op))
        return UINT32_MAX;
    uint64_t hash = 0;
    for (uint32_t k = 0; k < op->keys_count; k++)
        hash = kpi_hash(keys[k], row, hash);
    uint32_t at = (uint32_t)hash & (op->capacity - 1);
    for (; op->slots[at] != 0; at = (at + 1) & (op->capacity - 1)) {
        uint32_t group = op->slots[at] - 1;
        if (op->hashes[group] == hash && group_equals(op, group, keys, row))
            return group;
    }
    uint32_t group = new_group(op);
    if (group == UINT32_MAX || !kpi_rowset_put(&op->groups, group, keys, row))
        return UINT32_MAX;
    op->slots[at] = group + 1;
    op->hashes[group] = hash;
    return group;
}

static bool assign_groups(struct aggregate_op *op, const struct kp_vec **keys,
                          const struct kp_batch *batch)
{
    uint32_t count = kp_batch_count(batch);
    const struct kp_dict *dict = op->keys_count == 1 ? keys[0]->dict : NULL;
    bool coded = dict != NULL && dict->count <= CODED_ENTRIES_MAX && keys[0]->nulls == NULL;
    if (coded)
        memset(op->coded, 0, dict->count * sizeof(*op->coded));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t row = kp_batch_row(batch, i);
        uint32_t *known = coded ? &op->coded[keys[0]->codes[row]] : NULL;
        uint32_t group = known != NULL && *known != 0 ? *known - 1 : find_group(op, keys, row);
        if (group == UINT32_MAX)
            return false;
        if (known != NULL)
            *known = group + 1;
        op->group_of[i] = group;
    }
    return true;
}

/* Rows that pass an ...if() condition. */
static void apply_filter(struct aggregate_op *op, struct kpi_fold *fold, const struct kp_vec *test)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < fold->count; i++) {
        uint32_t row = fold->sel != NULL ? fold->sel[i] : i;
        if (kp_vec_null(test, row) || test->i64[row] == 0)
            continue;
        op->kept[kept] = (uint16_t)row;
        op->kept_groups[kept++] = op->group_of[i];
    }
    fold->sel = op->kept;
    fold->groups = op->kept_groups;
    fold->count = kept;
}

static void fold_batch(struct aggregate_op *op, const struct kp_batch *batch)
{
    for (uint32_t i = 0; i < op->aggregates.count; i++) {
        struct kpi_aggregate *aggregate = op->aggregates.items[i];
        struct kpi_fold fold = {.aggregate = aggregate,
                                .groups = op->group_of,
                                .sel = batch->sel,
                                .count = kp_batch_count(batch)};
        for (uint32_t a = 0; a < aggregate->args_count; a++)
            fold.args[a] = kpi_expr_eval(aggregate->args[a], batch, &op->base.eval);
        if (aggregate->filter != NULL)
            apply_filter(op, &fold, kpi_expr_eval(aggregate->filter, batch, &op->base.eval));
        aggregate->func->fold(&fold);
    }
}

static kp_status consume(struct aggregate_op *op)
{
    struct kpi_op *base = &op->base;
    const struct kp_vec *keys[KPI_ARGS_MAX];
    const struct kp_batch *batch;
    kp_status status;
    base->run->arena.owner = "summarize";
    while ((status = kpi_op_next(base->input, &batch)) == KP_OK) {
        kpi_eval_begin(&base->eval);
        for (uint32_t k = 0; k < op->keys_count; k++)
            keys[k] = kpi_expr_eval(op->keys[k], batch, &base->eval);
        base->run->arena.owner = "summarize";
        if (assign_groups(op, keys, batch))
            fold_batch(op, batch);
        if (base->run->ctx.status != KP_OK)
            return base->run->ctx.status;
    }
    if (status == KP_END && op->one_row && op->groups.rows == 0 && new_group(op) == UINT32_MAX)
        return base->run->ctx.status;
    return status;
}

static bool open_aggregate(struct aggregate_op *op, struct kpi_aggregate *aggregate)
{
    struct kpi_ctx *ctx = &op->base.run->ctx;
    aggregate->ctx = ctx;
    enum kp_type *types = kpi_new(ctx, aggregate->args_count + 1, sizeof(*types));
    if (types == NULL)
        return false;
    for (uint32_t a = 0; a < aggregate->args_count; a++) {
        types[a] = aggregate->args[a]->type;
        if (!kpi_expr_prepare(ctx, aggregate->args[a], KP_VECTOR_ROWS))
            return false;
    }
    kpi_rowset_init(&aggregate->rows, ctx, types, NULL, aggregate->args_count);
    kpi_rowset_init(&aggregate->set.values, ctx, types, NULL, KP_MIN(aggregate->args_count, 1u));
    return aggregate->filter == NULL || kpi_expr_prepare(ctx, aggregate->filter, KP_VECTOR_ROWS);
}

static kp_status aggregate_open(struct kpi_op *base)
{
    struct aggregate_op *op = (struct aggregate_op *)base;
    struct kpi_ctx *ctx = &base->run->ctx;
    op->types = kpi_new(ctx, op->keys_count, sizeof(*op->types));
    op->group_of = kpi_new(ctx, KP_VECTOR_ROWS, sizeof(*op->group_of));
    op->kept = kpi_new(ctx, KP_VECTOR_ROWS, sizeof(*op->kept));
    op->kept_groups = kpi_new(ctx, KP_VECTOR_ROWS, sizeof(*op->kept_groups));
    op->coded = kpi_new(ctx, CODED_ENTRIES_MAX, sizeof(*op->coded));
    for (uint32_t k = 0; k < op->keys_count && ctx->status == KP_OK; k++) {
        op->types[k] = op->keys[k]->type;
        kpi_expr_prepare(ctx, op->keys[k], KP_VECTOR_ROWS);
    }
    kpi_rowset_init(&op->groups, ctx, op->types, NULL, op->keys_count);
    for (uint32_t i = 0; i < op->aggregates.count && ctx->status == KP_OK; i++)
        open_aggregate(op, op->aggregates.items[i]);
    kpi_op_batch(base, &op->out);
    for (uint32_t c = op->keys_count; c < base->schema.count && ctx->status == KP_OK; c++) {
        uint64_t *nulls;
        kpi_vec_alloc(ctx, base->schema.fields[c].type, KP_VECTOR_ROWS, &op->out.cols[c], &nulls);
        op->out.cols[c].nulls = nulls;
    }
    return ctx->status;
}

static void store(struct kp_vec *vec, uint32_t row, const struct kpi_value *value)
{
    enum kp_phys phys = kp_type_phys(vec->type);
    if (phys == KP_PHYS_STR)
        vec->strs[row] = value->null ? KP_STR("") : value->str;
    else if (phys == KP_PHYS_F64)
        vec->f64[row] = value->f64;
    else
        vec->i64[row] = value->i64;
    bool null = value->null && phys != KP_PHYS_STR;
    if (null)
        vec->nulls[row >> 6] |= 1ull << (row & 63);
    else
        vec->nulls[row >> 6] &= ~(1ull << (row & 63));
}

/* A column of arg_min/arg_max beside the first reads the row its lead kept. */
static void finish_one(struct kpi_aggregate *aggregate, uint32_t group, struct kpi_value *value)
{
    *value = (struct kpi_value){.type = aggregate->type};
    if (aggregate->lead == NULL) {
        aggregate->func->finish(aggregate, kpi_aggregate_state(aggregate, group), value);
        return;
    }
    const uint32_t *kept = kpi_aggregate_state(aggregate->lead, group);
    value->null = *kept == 0;
    if (*kept != 0)
        *value = kpi_vec_value(kpi_rowset_vec(&aggregate->lead->rows, *kept - 1, aggregate->shared),
                               (*kept - 1) & 1023);
}

static kp_status aggregate_next(struct kpi_op *base, const struct kp_batch **out)
{
    struct aggregate_op *op = (struct aggregate_op *)base;
    if (!op->done) {
        kp_status status = consume(op);
        if (status != KP_END)
            return status;
        op->done = true;
    }
    struct kp_vec *keys = NULL;
    uint32_t first = op->chunk * 1024;
    uint32_t rows = first >= op->groups.rows ? 0 : KP_MIN(op->groups.rows - first, 1024u);
    if (rows == 0)
        return KP_END;
    kpi_rowset_chunk(&op->groups, op->chunk++, &keys);
    for (uint32_t k = 0; k < op->keys_count; k++)
        op->out.cols[k] = keys[k];
    for (uint32_t i = 0; i < op->aggregates.count; i++) {
        for (uint32_t r = 0; r < rows; r++) {
            struct kpi_value value;
            finish_one(op->aggregates.items[i], first + r, &value);
            store(&op->out.cols[op->keys_count + i], r, &value);
        }
    }
    op->out.rows = rows;
    *out = &op->out;
    return base->run->ctx.status;
}

static void aggregate_need(struct kpi_op *base)
{
    struct aggregate_op *op = (struct aggregate_op *)base;
    for (uint32_t k = 0; k < op->keys_count; k++)
        kpi_expr_columns(op->keys[k], base->input->need);
    for (uint32_t i = 0; i < op->aggregates.count; i++) {
        struct kpi_aggregate *aggregate = op->aggregates.items[i];
        for (uint32_t a = 0; a < aggregate->args_count; a++)
            kpi_expr_columns(aggregate->args[a], base->input->need);
        if (aggregate->filter != NULL)
            kpi_expr_columns(aggregate->filter, base->input->need);
    }
}

static void aggregate_describe(const struct kpi_op *base, struct kp_buf *out)
{
    const struct aggregate_op *op = (const struct aggregate_op *)base;
    for (uint32_t i = 0; i < op->aggregates.count; i++) {
        const struct kpi_aggregate *aggregate = op->aggregates.items[i];
        if (aggregate->lead != NULL)
            continue;
        kp_buf_printf(out, "%s%s(", i > 0 ? ", " : "", aggregate->func->name);
        for (uint32_t a = 0; a < aggregate->args_count; a++) {
            kp_buf_text(out, a > 0 ? ", " : "");
            kpi_expr_text(aggregate->args[a], out);
        }
        kp_buf_char(out, ')');
        if (aggregate->filter != NULL) {
            kp_buf_text(out, " where ");
            kpi_expr_text(aggregate->filter, out);
        }
    }
    for (uint32_t k = 0; k < op->keys_count; k++) {
        kp_buf_text(out, k > 0 ? ", " : out->size > 0 ? " by " : "by ");
        kpi_expr_text(op->keys[k], out);
    }
}

static const struct kpi_op_class aggregate_class = {
    "summarize", aggregate_open, aggregate_next, NULL, aggregate_need, aggregate_describe, NULL};

struct kpi_op *kpi_op_aggregate(struct kpi_op *input, struct kpi_expr **keys,
                                const struct kp_field *key_fields, uint32_t keys_count,
                                const struct kpi_aggregates *aggregates, bool one_row)
{
    struct aggregate_op *op = (struct aggregate_op *)kpi_op_new(
        input->run, &aggregate_class, sizeof(*op), input, keys_count + aggregates->count);
    if (op == NULL)
        return NULL;
    op->keys = keys;
    op->keys_count = keys_count;
    op->aggregates = *aggregates;
    op->one_row = one_row;
    struct kp_field *fields = kpi_op_fields(&op->base);
    if (keys_count > 0)
        memcpy(fields, key_fields, keys_count * sizeof(*fields));
    for (uint32_t i = 0; i < aggregates->count; i++)
        fields[keys_count + i] = (struct kp_field){.name = aggregates->items[i]->name,
                                                   .type = aggregates->items[i]->type,
                                                   .unit = aggregates->items[i]->unit};
    return &op->base;
}
