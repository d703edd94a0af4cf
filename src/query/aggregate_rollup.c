/* SPDX-License-Identifier: Apache-2.0
 *
 * Grouping from rollups. When all that is asked of rows is how many there are, and sum, least and
 * greatest of their durations, by attributes of their actors, then segments that lie in the range
 * as a whole are answered from what was summed up when they were sealed. The source leaves them out
 * and the rest comes row by row as ever. Both are added up in the same states, so the answer is the
 * same either way.
 */
#include "query/actor_columns.h"
#include "query/aggregate.h"
#include "query/filter.h"

/* --- when --- */

static bool is_of_actor(const struct kp_query_column *column)
{
    return column->ref.stored == KP_COL_ACTOR && kpi_actor_attr(column->ref.attr);
}

static bool is_duration(const struct kp_stream *stream, const struct kp_query_column *column)
{
    return column->ref.attr == KP_ATTR_SELF &&
           (int)column->ref.stored == kp_stream_stored(stream, "dur");
}

/* Keys look at nothing but the actor. */
static bool keys_fit(const struct kpi_aggregate_op *op, const struct kp_stream *stream)
{
    bool *need = kpi_new(&op->base.run->ctx, stream->columns_count, sizeof(*need));
    for (uint32_t k = 0; k < op->keys_count && need != NULL; k++)
        kpi_expr_columns(op->keys[k], need);
    for (uint32_t c = 0; c < stream->columns_count && need != NULL; c++)
        if (need[c] && !is_of_actor(&stream->columns[c]))
            return false;
    return need != NULL;
}

static bool aggregate_fits(const struct kpi_aggregate *aggregate, const struct kp_stream *stream)
{
    static const char *const names[] = {"sum", "min", "max"};
    const char *name = aggregate->func->name;
    if (aggregate->filter != NULL || aggregate->lead != NULL)
        return false;
    if (strcmp(name, "count") == 0)
        return aggregate->args_count == 0;
    for (size_t i = 0; i < KP_ARRAY_LEN(names); i++)
        if (strcmp(name, names[i]) == 0)
            return aggregate->args_count == 1 && aggregate->args[0]->kind == KPI_EXPR_COLUMN &&
                   is_duration(stream, &stream->columns[aggregate->args[0]->column]);
    return false;
}

void kpi_aggregate_roll(struct kpi_aggregate_op *op)
{
    struct kpi_run *run = op->base.run;
    struct kpi_op *source = kpi_plan_source(op->base.input);
    if ((run->opts.off & KP_OFF_ROLLUPS) != 0 || run->snapshot == NULL ||
        source->class->source->stream == NULL)
        return;
    for (const struct kpi_op *at = op->base.input; at != source; at = at->input) {
        const struct kpi_filter_op *filter = kpi_filter_of((struct kpi_op *)(uintptr_t)at);
        if (filter == NULL || filter->condition != NULL)
            return;
    }
    const struct kp_stream *stream = source->class->source->stream(source);
    bool fits = op->aggregates.count > 0 && keys_fit(op, stream);
    for (uint32_t i = 0; i < op->aggregates.count && fits; i++)
        fits = aggregate_fits(op->aggregates.items[i], stream);
    op->rolled = fits && source->class->source->roll(source);
}

/* --- how --- */

/* Rows of a rollup as a batch of the source: columns that keys need, and the figures beside. */
struct rolled {
    struct kpi_aggregate_op *op;
    const struct kp_stream *stream;
    struct kpi_actor_column **attrs; /* per query column; NULL = not needed */
    void **rooms;
    int64_t *ids, *counts, *sums, *mins, *maxs;
    struct kp_batch batch;
};

static bool rolled_init(struct rolled *rolled, struct kpi_op *source)
{
    struct kpi_run *run = rolled->op->base.run;
    struct kpi_ctx *ctx = &run->ctx;
    int64_t **figures[] = {&rolled->ids, &rolled->counts, &rolled->sums, &rolled->mins,
                           &rolled->maxs};
    uint32_t columns = rolled->stream->columns_count;
    bool *need = kpi_new(ctx, columns, sizeof(*need));
    rolled->attrs = kpi_new(ctx, columns, sizeof(*rolled->attrs));
    rolled->rooms = kpi_new(ctx, columns, sizeof(*rolled->rooms));
    for (size_t i = 0; i < KP_ARRAY_LEN(figures); i++)
        *figures[i] = kpi_new(ctx, KP_VECTOR_ROWS, sizeof(**figures[i]));
    if (!kpi_op_batch(source, &rolled->batch) || ctx->status != KP_OK)
        return false;
    for (uint32_t k = 0; k < rolled->op->keys_count; k++)
        kpi_expr_columns(rolled->op->keys[k], need);
    for (uint32_t c = 0; c < columns && ctx->status == KP_OK; c++) {
        if (!need[c])
            continue;
        rolled->attrs[c] = kpi_new(ctx, 1, sizeof(**rolled->attrs));
        rolled->rooms[c] = kpi_new(ctx, KP_VECTOR_ROWS, sizeof(int64_t));
        if (ctx->status == KP_OK)
            kpi_actor_column_init(rolled->attrs[c], ctx, kp_snapshot_actors(run->snapshot),
                                  rolled->stream->columns[c].ref.attr);
    }
    return ctx->status == KP_OK;
}

static bool batch_fill(struct rolled *rolled, const struct kp_rollup_row *rows, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        rolled->ids[i] = rows[i].actor;
        rolled->counts[i] = rows[i].count;
        rolled->sums[i] = rows[i].sum;
        rolled->mins[i] = rows[i].min;
        rolled->maxs[i] = rows[i].max;
    }
    rolled->batch.rows = count;
    for (uint32_t c = 0; c < rolled->stream->columns_count; c++)
        if (rolled->attrs[c] != NULL &&
            !kpi_actor_column_fill(rolled->attrs[c], rolled->ids, count, rolled->rooms[c],
                                   &rolled->batch.cols[c]))
            return false;
    return true;
}

/* Sums add, least ones compare with least ones: each folds as if it were the value of a row. */
static void batch_fold(struct rolled *rolled)
{
    struct kpi_aggregate_op *op = rolled->op;
    for (uint32_t i = 0; i < op->aggregates.count; i++) {
        struct kpi_aggregate *aggregate = op->aggregates.items[i];
        const char *name = aggregate->func->name;
        int64_t *values = strcmp(name, "sum") == 0   ? rolled->sums
                          : strcmp(name, "min") == 0 ? rolled->mins
                                                     : rolled->maxs;
        struct kp_vec vec = {.type = KP_TYPE_DUR, .i64 = values};
        struct kpi_fold fold = {.aggregate = aggregate,
                                .args = {&vec},
                                .groups = op->group_of,
                                .count = rolled->batch.rows};
        if (aggregate->args_count > 0)
            aggregate->func->fold(&fold);
        for (uint32_t r = 0; r < rolled->batch.rows && aggregate->args_count == 0; r++)
            *(int64_t *)kpi_aggregate_state(aggregate, op->group_of[r]) += rolled->counts[r];
    }
}

static bool rows_add(struct rolled *rolled, const struct kp_rollup_row *rows, uint32_t count)
{
    struct kpi_aggregate_op *op = rolled->op;
    const struct kp_vec *keys[KPI_ARGS_MAX];
    if (!batch_fill(rolled, rows, count))
        return false;
    kpi_eval_begin(&op->base.eval);
    for (uint32_t k = 0; k < op->keys_count; k++)
        keys[k] = kpi_expr_eval(op->keys[k], &rolled->batch, &op->base.eval);
    if (!kpi_groups_assign(&op->groups, keys, &rolled->batch, op->group_of) ||
        !kpi_aggregate_grow(op))
        return false;
    batch_fold(rolled);
    return op->base.run->ctx.status == KP_OK;
}

kp_status kpi_aggregate_rollup(struct kpi_aggregate_op *op)
{
    struct kpi_run *run = op->base.run;
    struct kpi_op *source = kpi_plan_source(op->base.input);
    const struct kpi_bounds *bounds = source->class->source->bounds(source);
    struct rolled rolled = {.op = op, .stream = source->class->source->stream(source)};
    const struct kp_rollup_row *rows;
    struct kp_rollup *rollup;
    uint32_t count;
    if (!rolled_init(&rolled, source))
        return run->ctx.status;
    kp_status status = kp_rollup_open(run->snapshot, rolled.stream, bounds->from, bounds->to,
                                      &rollup, run->ctx.err);
    if (status != KP_OK)
        return run->ctx.status = status;
    while ((status = kp_rollup_next(rollup, &rows, &count, run->ctx.err)) == KP_OK)
        for (uint32_t at = 0; at < count && status == KP_OK; at += KP_VECTOR_ROWS)
            if (!rows_add(&rolled, rows + at, KP_MIN(count - at, (uint32_t)KP_VECTOR_ROWS)))
                status = run->ctx.status;
    kp_rollup_close(rollup);
    return status == KP_END ? KP_END : (run->ctx.status = status);
}
