/* SPDX-License-Identifier: Apache-2.0
 *
 * Grouping without rows. When all that is asked of rows is how many there are, and sum, least and
 * greatest of their durations, by attributes of their actors, then segments that lie in the range
 * as a whole are answered from what was summed up when they were sealed. The source leaves them out
 * and the rest comes row by row as ever; where rows are only counted, as tallies: so many rows of
 * one actor. All are added up in the same states, so the answer is the same either way.
 */
#include "base/assert.h"
#include "query/actor_columns.h"
#include "query/aggregate.h"
#include "query/filter.h"
#include "query/scan.h"

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

static bool is_kind(const struct kp_query_column *column)
{
    return column->ref.attr == KP_ATTR_KIND;
}

/* The stream's column behind one of the source's; NULL when it computes that one. */
static const struct kp_query_column *column_of(const struct kpi_op *source,
                                               const struct kp_stream *stream, uint32_t c)
{
    return kp_stream_column(stream, source->schema.fields[c].name);
}

/* Keys look at nothing but the actor, and the kind where there are several. */
static bool keys_fit(const struct kpi_aggregate_op *op, const struct kpi_op *source,
                     const struct kp_stream *stream, bool *out_actor)
{
    bool *need = kpi_new(&op->base.run->ctx, source->schema.count, sizeof(*need));
    *out_actor = false;
    for (uint32_t k = 0; k < op->keys_count && need != NULL; k++)
        kpi_expr_columns(op->keys[k], need);
    for (uint32_t c = 0; c < source->schema.count && need != NULL; c++) {
        const struct kp_query_column *column = need[c] ? column_of(source, stream, c) : NULL;
        if (need[c] && (column == NULL || !(is_of_actor(column) || is_kind(column))))
            return false;
        *out_actor |= need[c] && is_of_actor(column);
    }
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
    struct kp_scan_req req;
    bool actor, fits = op->aggregates.count > 0 && keys_fit(op, source, stream, &actor);
    bool counts = fits && actor;
    for (uint32_t i = 0; i < op->aggregates.count && fits; i++) {
        fits = aggregate_fits(op->aggregates.items[i], stream);
        counts &= fits && op->aggregates.items[i]->args_count == 0;
    }
    op->tallied = counts && source->class->source->tally(source, KP_TIME_MIN, KP_TIME_MAX, &req);
    op->rolled = fits && (op->tallied || stream != kp_stream_events()) &&
                 source->class->source->roll(source);
}

/* --- how --- */

/* Figures of actors as a batch of the source: columns that keys need, and the figures beside. */
struct kpi_rolled {
    struct kpi_aggregate_op *op;
    struct kpi_op *source;
    const struct kp_stream *stream;
    struct kpi_actor_column **attrs; /* per column of the source; NULL = not needed */
    void **rooms;
    int64_t *ids, *counts, *sums, *mins, *maxs;
    struct kp_str *kinds;
    int kind; /* column of the source that has them, -1 = not needed */
    struct kp_batch batch;
};

static bool rolled_init(struct kpi_rolled *rolled)
{
    struct kpi_run *run = rolled->op->base.run;
    struct kpi_ctx *ctx = &run->ctx;
    int64_t **figures[] = {&rolled->ids, &rolled->counts, &rolled->sums, &rolled->mins,
                           &rolled->maxs};
    uint32_t columns = rolled->source->schema.count;
    bool *need = kpi_new(ctx, columns, sizeof(*need));
    rolled->attrs = kpi_new(ctx, columns, sizeof(*rolled->attrs));
    rolled->rooms = kpi_new(ctx, columns, sizeof(*rolled->rooms));
    rolled->kinds = kpi_new(ctx, KP_VECTOR_ROWS, sizeof(*rolled->kinds));
    rolled->kind = -1;
    for (size_t i = 0; i < KP_ARRAY_LEN(figures); i++)
        *figures[i] = kpi_new(ctx, KP_VECTOR_ROWS, sizeof(**figures[i]));
    if (!kpi_op_batch(rolled->source, &rolled->batch) || ctx->status != KP_OK)
        return false;
    for (uint32_t k = 0; k < rolled->op->keys_count; k++)
        kpi_expr_columns(rolled->op->keys[k], need);
    for (uint32_t c = 0; c < columns && ctx->status == KP_OK; c++) {
        const struct kp_query_column *column = column_of(rolled->source, rolled->stream, c);
        if (!need[c])
            continue;
        if (is_kind(column)) {
            rolled->kind = (int)c;
            rolled->batch.cols[c].strs = rolled->kinds;
            continue;
        }
        rolled->attrs[c] = kpi_new(ctx, 1, sizeof(**rolled->attrs));
        rolled->rooms[c] = kpi_new(ctx, KP_VECTOR_ROWS, sizeof(int64_t));
        if (ctx->status == KP_OK)
            kpi_actor_column_init(rolled->attrs[c], ctx, kp_snapshot_actors(run->snapshot),
                                  column->ref.attr);
    }
    return ctx->status == KP_OK;
}

/* The room of the figures for this operator, made once; NULL with the error set. */
static struct kpi_rolled *rolled_of(struct kpi_aggregate_op *op)
{
    struct kpi_rolled *rolled = op->figures;
    if (rolled != NULL)
        return rolled;
    rolled = kpi_new(&op->base.run->ctx, 1, sizeof(*rolled));
    if (rolled == NULL)
        return NULL;
    rolled->op = op;
    rolled->source = kpi_plan_source(op->base.input);
    rolled->stream = rolled->source->class->source->stream(rolled->source);
    return rolled_init(rolled) ? op->figures = rolled : NULL;
}

static void take_rolled(struct kpi_rolled *rolled, const struct kp_rollup_row *rows, uint32_t count,
                        struct kp_str kind)
{
    for (uint32_t i = 0; i < count; i++) {
        rolled->ids[i] = rows[i].actor;
        rolled->counts[i] = rows[i].count;
        rolled->sums[i] = rows[i].sum;
        rolled->mins[i] = rows[i].min;
        rolled->maxs[i] = rows[i].max;
        rolled->kinds[i] = kind;
    }
    rolled->batch.rows = count;
}

static void take_tallies(struct kpi_rolled *rolled, const struct kp_tally *tallies, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        rolled->ids[i] = tallies[i].actor;
        rolled->counts[i] = tallies[i].rows;
        if (rolled->kind >= 0)
            rolled->kinds[i] = kp_str_from(kp_stream_by_number(tallies[i].kind)->name);
    }
    rolled->batch.rows = count;
}

static bool batch_fill(struct kpi_rolled *rolled)
{
    for (uint32_t c = 0; c < rolled->source->schema.count; c++)
        if (rolled->attrs[c] != NULL &&
            !kpi_actor_column_fill(rolled->attrs[c], rolled->ids, rolled->batch.rows,
                                   rolled->rooms[c], &rolled->batch.cols[c]))
            return false;
    return true;
}

/* Sums add, least ones compare with least ones: each folds as if it were the value of a row. */
static void batch_fold(struct kpi_rolled *rolled)
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

/* Adds the figures that were taken. */
static bool batch_add(struct kpi_rolled *rolled)
{
    struct kpi_aggregate_op *op = rolled->op;
    const struct kp_vec *keys[KPI_ARGS_MAX];
    if (!batch_fill(rolled))
        return false;
    kpi_eval_begin(&op->base.eval);
    for (uint32_t k = 0; k < op->keys_count; k++)
        keys[k] = kpi_expr_eval(op->keys[k], &rolled->batch, &op->base.eval);
    if (!kpi_groups_assign(&op->groups, keys, &rolled->batch, op->group_of) ||
        !kpi_aggregate_grow(op))
        return false;
    batch_fold(rolled);
    return kpi_run_check(op->base.run) == KP_OK;
}

/* --- rollups --- */

static kp_status stream_add(struct kpi_rolled *rolled, const struct kp_stream *stream)
{
    struct kpi_run *run = rolled->op->base.run;
    const struct kpi_bounds *bounds = rolled->source->class->source->bounds(rolled->source);
    const struct kp_rollup_row *rows;
    struct kp_rollup *rollup;
    uint32_t count;
    kp_status status =
        kp_rollup_open(run->snapshot, stream, bounds->from, bounds->to, &rollup, run->ctx.err);
    if (status != KP_OK)
        return run->ctx.status = status;
    while ((status = kp_rollup_next(rollup, &rows, &count, run->ctx.err)) == KP_OK)
        for (uint32_t at = 0; at < count && status == KP_OK; at += KP_VECTOR_ROWS) {
            uint32_t part = KP_MIN(count - at, (uint32_t)KP_VECTOR_ROWS);
            take_rolled(rolled, rows + at, part, kp_str_from(stream->name));
            status = batch_add(rolled) ? KP_OK : run->ctx.status;
        }
    kp_rollup_close(rollup);
    return status == KP_END ? KP_END : (run->ctx.status = status);
}

kp_status kpi_aggregate_rollup(struct kpi_aggregate_op *op)
{
    struct kpi_rolled *rolled = rolled_of(op);
    kp_status status = KP_END;
    struct kp_str name;
    uint64_t rows;
    if (rolled == NULL)
        return op->base.run->ctx.status;
    for (uint32_t l = 0; status == KP_END; l++) {
        rows = rolled->source->class->source->lane(rolled->source, l, &name);
        if (rows == UINT64_MAX)
            return KP_END;
        if (rows > 0)
            status = stream_add(rolled, kp_stream_by_name(name));
    }
    return status;
}

/* --- tallies --- */

static bool tallies_add(void *ctx, const struct kp_tally *tallies, uint32_t count)
{
    take_tallies(ctx, tallies, count);
    return batch_add(ctx);
}

kp_status kpi_aggregate_tallies(struct kpi_aggregate_op *op, kp_time from, kp_time to)
{
    struct kpi_run *run = op->base.run;
    struct kpi_rolled *rolled = rolled_of(op);
    struct kp_scan_req req;
    struct kp_scan *scan;
    if (rolled == NULL)
        return run->ctx.status;
    if (!rolled->source->class->source->tally(rolled->source, from, to, &req))
        return KP_END;
    req.rolled = op->rolled;
    kp_status status = kp_scan_open(run->snapshot, &req, &scan, run->ctx.err);
    if (status != KP_OK)
        return run->ctx.status = status;
    status = kp_scan_tally(scan, rolled->kind >= 0, tallies_add, rolled, run->ctx.err);
    kpi_scan_account(run, scan);
    kp_scan_close(scan);
    if (run->ctx.status == KP_OK)
        run->ctx.status = status;
    return run->ctx.status == KP_OK ? KP_END : run->ctx.status;
}
