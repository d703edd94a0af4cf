/* SPDX-License-Identifier: Apache-2.0
 *
 * `summarize count() by bin(ts, 100ms), kind` is what every chart of rates asks. No row need be
 * looked at for it: the storage counts pages, and searches the times of those that a bin cuts. The
 * counts are added to the same groups that rows would have made.
 */
#include "query/aggregate.h"
#include "query/filter.h"
#include "query/scan.h"

/* --- when --- */

/* The source's column of that name, not computed. */
static bool is_source_column(const struct kpi_aggregate_op *op, const struct kpi_expr *expr,
                             const char *name)
{
    if (expr->kind != KPI_EXPR_COLUMN)
        return false;
    const struct kpi_op *source = kpi_plan_source(op->base.input);
    int column = kpi_plan_column(op->base.input, expr->column);
    return column >= 0 && kp_str_equal(source->schema.fields[column].name, kp_str_from(name));
}

static bool is_bin(const struct kpi_aggregate_op *op, const struct kpi_expr *key)
{
    return key->kind == KPI_EXPR_CALL && strcmp(key->func->name, "bin") == 0 &&
           key->args_count == 2 && key->type == KP_TYPE_TIME &&
           is_source_column(op, key->args[0], "ts") && key->args[1]->kind == KPI_EXPR_CONST &&
           !key->args[1]->value.null && key->args[1]->value.i64 > 0;
}

/* One bin and otherwise kinds; its width, or 0. */
static kp_dur keys_width(const struct kpi_aggregate_op *op)
{
    kp_dur width = 0;
    for (uint32_t k = 0; k < op->keys_count; k++) {
        if (width == 0 && is_bin(op, op->keys[k]))
            width = op->keys[k]->args[1]->value.i64;
        else if (!is_source_column(op, op->keys[k], "kind"))
            return 0;
    }
    return width;
}

bool kpi_aggregate_counts(const struct kpi_aggregate_op *op)
{
    const struct kpi_op *source = kpi_plan_source(op->base.input);
    bool only = op->free && (op->base.run->opts.off & KP_OFF_METADATA) == 0 &&
                source->class->source->all(source);
    for (uint32_t i = 0; i < op->aggregates.count; i++)
        only = only && strcmp(op->aggregates.items[i]->func->name, "count") == 0 &&
               op->aggregates.items[i]->filter == NULL;
    for (struct kpi_op *at = op->base.input; at != source; at = at->input)
        only = only && (kpi_filter_of(at) == NULL || kpi_filter_of(at)->condition == NULL);
    return only;
}

void kpi_aggregate_bin(struct kpi_aggregate_op *op)
{
    kp_time oldest, newest;
    if (op->base.run->snapshot == NULL || op->aggregates.count == 0 || !kpi_aggregate_counts(op))
        return;
    kp_snapshot_range(op->base.run->snapshot, &oldest, &newest);
    if (oldest >= 0)
        op->bin_width = keys_width(op);
}

/* --- how --- */

struct taker {
    struct kpi_aggregate_op *op;
    const struct kp_vec *keys[KPI_ARGS_MAX];
    struct kp_vec bin, kind;
    kp_time begin;
    struct kp_str name;
};

static bool take(void *ctx, kp_time begin, uint32_t stream, uint64_t rows)
{
    struct taker *taker = ctx;
    struct kpi_aggregate_op *op = taker->op;
    taker->begin = begin;
    taker->name = kp_str_from(kp_stream_by_number(stream)->name);
    uint32_t group = kpi_groups_find(&op->groups, taker->keys, 0);
    if (group == UINT32_MAX || !kpi_aggregate_grow(op))
        return false;
    for (uint32_t i = 0; i < op->aggregates.count; i++)
        *(int64_t *)kpi_aggregate_state(op->aggregates.items[i], group) += (int64_t)rows;
    return kpi_run_check(op->base.run) == KP_OK;
}

/* Streams of the kernel share pages: they are counted at once. */
static kp_status bins_of(struct taker *taker, const struct kp_stream *stream, const bool *kinds,
                         kp_time from, kp_time to)
{
    struct kpi_aggregate_op *op = taker->op;
    struct kpi_run *run = op->base.run;
    struct kp_scan_req req = {.stream = stream,
                              .kinds = kinds,
                              .from = from,
                              .to = to,
                              .no_prune = (run->opts.off & KP_OFF_PRUNING) != 0};
    struct kp_scan *scan;
    kp_status status = kp_scan_open(run->snapshot, &req, &scan, run->ctx.err);
    if (status != KP_OK)
        return run->ctx.status = status;
    status = kp_scan_bins(scan, op->bin_width, take, taker, run->ctx.err);
    kpi_scan_account(run, scan);
    kp_scan_close(scan);
    return run->ctx.status != KP_OK ? run->ctx.status : (run->ctx.status = status);
}

kp_status kpi_aggregate_bins(struct kpi_aggregate_op *op, kp_time from, kp_time to)
{
    const struct kpi_op *source = kpi_plan_source(op->base.input);
    const struct kpi_bounds *bounds =
        source->class->source->bounds((struct kpi_op *)(uintptr_t)source);
    const struct kp_stream *stream = source->class->source->stream(source);
    struct taker taker = {.op = op};
    bool kinds[KP_STREAM_MAX] = {false};
    uint64_t rows;
    from = KP_MAX(from, bounds->from);
    to = KP_MIN(to, bounds->to);
    taker.bin = (struct kp_vec){.type = KP_TYPE_TIME, .i64 = &taker.begin};
    taker.kind = (struct kp_vec){.type = KP_TYPE_STR, .strs = &taker.name};
    for (uint32_t k = 0; k < op->keys_count; k++)
        taker.keys[k] = op->keys[k]->kind == KPI_EXPR_CALL ? &taker.bin : &taker.kind;
    for (uint32_t l = 0; (rows = source->class->source->lane(source, l, &taker.name)) != UINT64_MAX;
         l++)
        if (rows > 0)
            kinds[kp_stream_by_name(taker.name)->number] = true;
    if (stream->family == KP_FAMILY_KERNEL)
        stream = kp_stream_events();
    kp_status status = from <= to ? bins_of(&taker, stream, kinds, from, to) : KP_OK;
    return status == KP_OK ? KP_END : status;
}
