/* SPDX-License-Identifier: Apache-2.0
 *
 * Grouping: rows to group numbers (groups.c), a fold of each aggregate over them, groups given out
 * in an order that depends on neither hashing nor threads.
 */
#include "query/aggregate.h"

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

bool kpi_aggregate_grow(struct kpi_aggregate_op *op)
{
    for (uint32_t i = 0; i < op->aggregates.count; i++)
        if (!grow_states(&op->base.run->ctx, op->aggregates.items[i], op->groups.rows.rows))
            return false;
    return true;
}

/* Rows that pass an ...if() condition. */
static void apply_filter(struct kpi_aggregate_op *op, struct kpi_fold *fold,
                         const struct kp_vec *test)
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

static void fold_batch(struct kpi_aggregate_op *op, const struct kp_batch *batch)
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

kp_status kpi_aggregate_rows(struct kpi_aggregate_op *op)
{
    struct kpi_op *base = &op->base;
    const struct kp_vec *keys[KPI_ARGS_MAX];
    const struct kp_batch *batch;
    kp_status status;
    while ((status = kpi_op_next(base->input, &batch)) == KP_OK) {
        kpi_eval_begin(&base->eval);
        for (uint32_t k = 0; k < op->keys_count; k++)
            keys[k] = kpi_expr_eval(op->keys[k], batch, &base->eval);
        if (kpi_groups_assign(&op->groups, keys, batch, op->group_of) && kpi_aggregate_grow(op))
            fold_batch(op, batch);
        if (base->run->ctx.status != KP_OK)
            return base->run->ctx.status;
    }
    return status;
}

static kp_status consume(struct kpi_aggregate_op *op)
{
    struct kpi_op *base = &op->base;
    kp_status status = KP_END;
    bool tallied = kpi_aggregate_tally(op, &status);
    if (!tallied && !kpi_aggregate_windows(op, &status))
        status = op->bin_width != 0 ? kpi_aggregate_bins(op, KP_TIME_MIN, KP_TIME_MAX)
                 : op->tallied      ? kpi_aggregate_tallies(op, KP_TIME_MIN, KP_TIME_MAX)
                                    : kpi_aggregate_rows(op);
    if (status == KP_END && op->rolled && !tallied)
        status = kpi_aggregate_rollup(op);
    if (status != KP_END)
        return status;
    if (op->one_row && op->groups.rows.rows == 0 &&
        (kpi_groups_new(&op->groups) == UINT32_MAX || !kpi_aggregate_grow(op)))
        return base->run->ctx.status;
    if (op->free && op->keys_count > 0)
        op->order = kpi_groups_sorted(&op->groups, base->run);
    op->done = base->run->ctx.status == KP_OK;
    return op->done ? KP_OK : base->run->ctx.status;
}

static bool reset_aggregate(struct kpi_ctx *ctx, struct kpi_aggregate *aggregate)
{
    enum kp_type *types = kpi_new(ctx, aggregate->args_count + 1, sizeof(*types));
    for (uint32_t a = 0; types != NULL && a < aggregate->args_count; a++)
        types[a] = aggregate->args[a]->type;
    aggregate->states_count = 0;
    aggregate->set = (struct kpi_value_set){0};
    kpi_rowset_init(&aggregate->rows, ctx, types, NULL, aggregate->args_count);
    kpi_rowset_init(&aggregate->set.values, ctx, types, NULL, KP_MIN(aggregate->args_count, 1u));
    return types != NULL;
}

bool kpi_aggregate_reset(struct kpi_aggregate_op *op)
{
    struct kpi_ctx *ctx = &op->base.run->ctx;
    for (uint32_t i = 0; i < op->aggregates.count; i++)
        if (!reset_aggregate(ctx, op->aggregates.items[i]))
            return false;
    return kpi_groups_init(&op->groups, ctx, op->types, op->keys_count);
}

static bool open_aggregate(struct kpi_ctx *ctx, struct kpi_aggregate *aggregate)
{
    aggregate->ctx = ctx;
    for (uint32_t a = 0; a < aggregate->args_count; a++)
        if (!kpi_expr_prepare(ctx, aggregate->args[a], KP_VECTOR_ROWS))
            return false;
    return aggregate->filter == NULL || kpi_expr_prepare(ctx, aggregate->filter, KP_VECTOR_ROWS);
}

static kp_status aggregate_open(struct kpi_op *base)
{
    struct kpi_aggregate_op *op = (struct kpi_aggregate_op *)base;
    struct kpi_ctx *ctx = &base->run->ctx;
    op->types = kpi_new(ctx, op->keys_count, sizeof(*op->types));
    op->group_of = kpi_new(ctx, KP_VECTOR_ROWS, sizeof(*op->group_of));
    op->kept = kpi_new(ctx, KP_VECTOR_ROWS, sizeof(*op->kept));
    op->kept_groups = kpi_new(ctx, KP_VECTOR_ROWS, sizeof(*op->kept_groups));
    for (uint32_t k = 0; k < op->keys_count && ctx->status == KP_OK; k++) {
        op->types[k] = op->keys[k]->type;
        kpi_expr_prepare(ctx, op->keys[k], KP_VECTOR_ROWS);
    }
    kpi_rowset_init(&op->sorted, ctx, op->types, NULL, op->keys_count);
    for (uint32_t i = 0; i < op->aggregates.count && ctx->status == KP_OK; i++)
        open_aggregate(ctx, op->aggregates.items[i]);
    if (ctx->status != KP_OK || !kpi_aggregate_reset(op))
        return ctx->status;
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
    bool null = value->null && kp_type_phys(vec->type) != KP_PHYS_STR;
    kpi_vec_set(vec, row, value);
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

/* The keys of `rows` groups from number `first` of the order on, as columns of the answer. */
static bool give_keys(struct kpi_aggregate_op *op, uint32_t first, uint32_t rows)
{
    struct kp_vec *keys = NULL;
    const struct kp_vec *from[KPI_ARGS_MAX];
    if (op->order == NULL) {
        kpi_rowset_chunk(&op->groups.rows, first >> 10, &keys);
    } else {
        for (uint32_t r = 0; r < rows; r++) {
            uint32_t group = op->order[first + r];
            for (uint32_t k = 0; k < op->keys_count; k++)
                from[k] = kpi_rowset_vec(&op->groups.rows, group, k);
            if (r == op->sorted.rows && kpi_rowset_grow(&op->sorted) == UINT32_MAX)
                return false;
            if (!kpi_rowset_put(&op->sorted, r, from, group & 1023))
                return false;
        }
        kpi_rowset_chunk(&op->sorted, 0, &keys);
    }
    for (uint32_t k = 0; k < op->keys_count; k++)
        op->out.cols[k] = keys[k];
    return true;
}

static kp_status aggregate_next(struct kpi_op *base, const struct kp_batch **out)
{
    struct kpi_aggregate_op *op = (struct kpi_aggregate_op *)base;
    kp_status status = op->done ? KP_OK : consume(op);
    uint32_t first = op->given;
    uint32_t rows = KP_MIN(op->groups.rows.rows - first, 1024u);
    if (status != KP_OK)
        return status;
    if (rows == 0)
        return KP_END;
    if (!give_keys(op, first, rows))
        return base->run->ctx.status;
    for (uint32_t i = 0; i < op->aggregates.count; i++) {
        for (uint32_t r = 0; r < rows; r++) {
            struct kpi_value value;
            uint32_t group = op->order != NULL ? op->order[first + r] : first + r;
            finish_one(op->aggregates.items[i], group, &value);
            store(&op->out.cols[op->keys_count + i], r, &value);
        }
    }
    op->given += rows;
    op->out.rows = rows;
    *out = &op->out;
    return base->run->ctx.status;
}

static void aggregate_need(struct kpi_op *base)
{
    struct kpi_aggregate_op *op = (struct kpi_aggregate_op *)base;
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
    const struct kpi_aggregate_op *op = (const struct kpi_aggregate_op *)base;
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
    if (op->bin_width != 0)
        kp_buf_text(out, ", bins found by search");
    if (op->tallied)
        kp_buf_text(out, ", rows tallied by actor");
    if (op->rolled)
        kp_buf_text(out, ", whole segments from rollups");
}

static const struct kpi_op_class aggregate_class = {
    "summarize", aggregate_open, aggregate_next, NULL, aggregate_need, aggregate_describe, NULL};

struct kpi_op *kpi_op_aggregate(struct kpi_op *input, struct kpi_expr **keys,
                                const struct kp_field *key_fields, uint32_t keys_count,
                                const struct kpi_aggregates *aggregates, bool one_row)
{
    struct kpi_aggregate_op *op = (struct kpi_aggregate_op *)kpi_op_new(
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

struct kpi_aggregate_op *kpi_aggregate_of(struct kpi_op *op)
{
    return op->class == &aggregate_class ? (struct kpi_aggregate_op *)op : NULL;
}
