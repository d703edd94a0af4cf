/* SPDX-License-Identifier: Apache-2.0
 *
 * Grouping when the order of rows does not matter: counts of whole streams come from page headers,
 * and the rest is read in windows of time that threads claim until none is left: all streams of a
 * window one after the other, because they share what is decoded. Each worker groups its windows
 * for itself; the tables are merged at the end. Merging is exact (whole numbers, sets, ranks) and
 * groups come out in order of keys, so neither the number of threads nor who took which window
 * shows in the answer.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "query/aggregate.h"
#include "query/filter.h"
#include "query/scan.h"
#include "query/sides.h"
#include "query/worker.h"

#define WINDOW_ROWS 250000u /* aimed at; fewer are done sooner by one thread */
#define COUNT_TIMES 8u      /* rows that are only counted take so much less */
#define UNREAD_ROWS 100000u /* aimed at where pages must be decoded first ... */
#define UNREAD_MOST 4u      /* ... but not more windows a thread than this for that alone */
#define WINDOWS_MAX 256u

/* --- when --- */

static bool varies(const struct kpi_expr *expr)
{
    if (expr->kind == KPI_EXPR_CALL && (expr->func->flags & KPI_FUNC_VARYING) != 0)
        return true;
    for (uint32_t i = 0; i < expr->args_count; i++)
        if (varies(expr->args[i]))
            return true;
    return false;
}

/* Filters and projections between the operator and its source give the same for a row whenever it
 * is read. */
static bool inputs_steady(const struct kpi_op *op)
{
    for (; op->input != NULL; op = op->input) {
        const struct kpi_filter_op *filter = kpi_filter_of((struct kpi_op *)(uintptr_t)op);
        if (filter != NULL && filter->condition != NULL && varies(filter->condition))
            return false;
        for (uint32_t i = 0; i < op->schema.count; i++) {
            const struct kpi_expr *expr = kpi_project_expr(op, i);
            if (expr != NULL && varies(expr))
                return false;
        }
    }
    return true;
}

static bool is_free(struct kpi_aggregate_op *op)
{
    struct kpi_op *source = kpi_plan_source(op->base.input);
    bool is =
        source != NULL && source->class->source->lane != NULL && inputs_steady(op->base.input);
    for (uint32_t k = 0; k < op->keys_count; k++)
        is = is && !varies(op->keys[k]) && op->keys[k]->type != KP_TYPE_F64;
    for (uint32_t i = 0; is && i < op->aggregates.count; i++) {
        const struct kpi_aggregate *aggregate = op->aggregates.items[i];
        is = kpi_aggregate_merger(aggregate) != NULL &&
             (aggregate->filter == NULL || !varies(aggregate->filter));
        for (uint32_t a = 0; is && a < aggregate->args_count; a++)
            is = !varies(aggregate->args[a]);
    }
    return is;
}

void kpi_aggregate_free_order(struct kpi_op *op)
{
    struct kpi_sides_op *joined = kpi_sides_of(op);
    for (uint32_t i = 0; joined != NULL && i < joined->inputs_count; i++)
        kpi_aggregate_free_order(joined->inputs[i]);
    struct kpi_aggregate_op *aggregate = kpi_aggregate_of(op);
    if (aggregate != NULL && is_free(aggregate)) {
        struct kpi_op *source = kpi_plan_source(op->input);
        aggregate->free = true;
        if (source->class->source->unorder != NULL)
            source->class->source->unorder(source);
        kpi_aggregate_roll(aggregate);
        kpi_aggregate_bin(aggregate);
    }
    if (op->input != NULL)
        kpi_aggregate_free_order(op->input);
}

/* --- counts from headers --- */

/* Only rows are counted, by nothing or by the kind of event, and no condition is left. */
static bool can_tally(const struct kpi_aggregate_op *op, const struct kpi_op *source)
{
    struct kpi_op *of = (struct kpi_op *)(uintptr_t)source;
    bool can = op->keys_count <= 1 && kpi_aggregate_counts(op) &&
               kpi_bounds_whole(op->base.run, source->class->source->bounds(of));
    if (!can || op->keys_count == 0)
        return can;
    if (op->keys[0]->kind != KPI_EXPR_COLUMN || source->class->source->unorder == NULL)
        return false;
    int column = kpi_plan_column(op->base.input, op->keys[0]->column);
    return column >= 0 && kp_str_equal(source->schema.fields[column].name, KP_STR("kind"));
}

bool kpi_aggregate_tally(struct kpi_aggregate_op *op, kp_status *out)
{
    const struct kpi_op *source = op->free ? kpi_plan_source(op->base.input) : NULL;
    struct kp_str kind = KP_STR("");
    uint64_t rows;
    if (source == NULL || !can_tally(op, source))
        return false;
    struct kp_vec vec = {.type = KP_TYPE_STR, .strs = &kind};
    const struct kp_vec *keys[1] = {&vec};
    *out = KP_END;
    for (uint32_t l = 0; (rows = source->class->source->lane(source, l, &kind)) != UINT64_MAX;
         l++) {
        uint32_t group = 0;
        if (rows == 0)
            continue;
        if (op->keys_count > 0 || op->groups.rows.rows == 0)
            group = op->keys_count > 0 ? kpi_groups_find(&op->groups, keys, 0)
                                       : kpi_groups_new(&op->groups);
        if (group == UINT32_MAX || !kpi_aggregate_grow(op)) {
            *out = op->base.run->ctx.status;
            break;
        }
        for (uint32_t i = 0; i < op->aggregates.count; i++)
            *(int64_t *)kpi_aggregate_state(op->aggregates.items[i], group) += (int64_t)rows;
    }
    return true;
}

/* --- windows --- */

struct team {
    kp_time from[WINDOWS_MAX], end; /* window i: from[i] .. from[i + 1] - 1; the last up to end */
    uint32_t windows_count;
    _Atomic uint32_t next; /* window to claim */
    _Atomic bool stop;     /* somebody failed */
};

struct member {
    struct team *team;
    struct kpi_aggregate_op *op;
    struct kpi_worker *worker; /* NULL: the query's own thread alone */
    pthread_t thread;
    bool started;
    uint32_t failed_at; /* window; UINT32_MAX = none */
    kp_status status;
};

/* Rows that it will read at most: those of its time. */
static uint64_t rows_wanted(const struct kpi_op *source, const struct kpi_bounds *bounds)
{
    uint64_t rows, total = 0;
    struct kp_str kind;
    for (uint32_t l = 0; (rows = source->class->source->lane(source, l, &kind)) != UINT64_MAX; l++)
        total += rows;
    return (uint64_t)((double)total * kpi_bounds_part(source->run, bounds));
}

/* Windows that are worth it because pages must be read, however little is done with their rows. */
static uint64_t parts_unread(const struct kpi_op *source, const struct kpi_bounds *bounds)
{
    uint32_t threads = kpi_run_threads(source->run);
    struct kp_snapshot *snapshot = source->run->snapshot;
    if (threads == 1 || snapshot == NULL || source->run->opts.slice_rows != 0)
        return 1;
    uint64_t rows = kp_scan_unread(snapshot, bounds->from, bounds->to);
    return KP_MIN(rows / UNREAD_ROWS + 1, (uint64_t)(UNREAD_MOST * threads));
}

/* False when one window is enough, or with the error set. */
static bool cut(struct team *team, const struct kpi_aggregate_op *op)
{
    struct kpi_op *source = kpi_plan_source(op->base.input);
    const struct kp_query_opts *opts = &source->run->opts;
    const struct kpi_bounds *bounds = source->class->source->bounds(source);
    uint32_t aim = opts->slice_rows != 0               ? opts->slice_rows
                   : op->tallied || op->bin_width != 0 ? COUNT_TIMES * WINDOW_ROWS
                                                       : WINDOW_ROWS;
    uint64_t parts = KP_MIN(rows_wanted(source, bounds) / aim + 1, (uint64_t)WINDOWS_MAX);
    parts = KP_MAX(parts, parts_unread(source, bounds));
    team->end = bounds->to;
    return parts > 1 &&
           source->class->source->split(source, (uint32_t)parts, team->from,
                                        &team->windows_count) == KP_OK &&
           team->windows_count > 1;
}

/* --- work --- */

static kp_status member_window(struct member *member, uint32_t window)
{
    const struct team *team = member->team;
    struct kpi_op *source = kpi_plan_source(member->op->base.input);
    kp_status status = KP_OK;
    kp_time from = team->from[window];
    kp_time to = window + 1 < team->windows_count ? team->from[window + 1] - 1 : team->end;
    if (member->op->bin_width != 0)
        status = kpi_aggregate_bins(member->op, from, to);
    else if (member->op->tallied)
        status = kpi_aggregate_tallies(member->op, from, to);
    else
        status = source->class->source->window(source, from, to);
    if (status == KP_OK)
        status = kpi_aggregate_rows(member->op);
    return status == KP_END ? KP_OK : status;
}

static void member_windows(struct member *member)
{
    struct team *team = member->team;
    while (member->status == KP_OK && !team->stop) {
        uint32_t window = atomic_fetch_add(&team->next, 1);
        if (window >= team->windows_count)
            return;
        member->status = member_window(member, window);
        member->failed_at = window;
    }
}

static void *member_main(void *ctx)
{
    struct member *member = ctx;
    int64_t start = kp_time_monotonic();
    member->status = kpi_tree_open(&member->op->base);
    member_windows(member);
    if (member->status != KP_OK)
        member->team->stop = true;
    kpi_tree_close(&member->op->base);
    member->op->base.busy = kp_time_monotonic() - start;
    return NULL;
}

static bool merge(struct kpi_aggregate_op *op, struct kpi_aggregate_op *from)
{
    struct kpi_ctx *ctx = &op->base.run->ctx;
    uint32_t groups = from->groups.rows.rows;
    uint32_t *group_of = kpi_new(ctx, groups, sizeof(*group_of));
    const struct kp_vec *keys[KPI_ARGS_MAX];
    for (uint32_t g = 0; group_of != NULL && g < groups; g++) {
        for (uint32_t k = 0; k < op->keys_count; k++)
            keys[k] = kpi_rowset_vec(&from->groups.rows, g, k);
        if (op->keys_count > 0)
            group_of[g] = kpi_groups_find(&op->groups, keys, g & 1023);
        else if (op->groups.rows.rows == 0)
            group_of[g] = kpi_groups_new(&op->groups);
        if (group_of[g] == UINT32_MAX)
            return false;
    }
    if (group_of == NULL || !kpi_aggregate_grow(op))
        return false;
    for (uint32_t i = 0; i < op->aggregates.count; i++) {
        struct kpi_aggregate *to = op->aggregates.items[i];
        if (!kpi_aggregate_merger(to)(to, from->aggregates.items[i], group_of, groups))
            return false;
    }
    return true;
}

/* The failure of the earliest window counts. */
static kp_status take_failure(struct kpi_run *run, const struct member *members, uint32_t count)
{
    const struct member *first = NULL;
    for (uint32_t i = 0; i < count; i++)
        if (members[i].status != KP_OK &&
            (first == NULL || members[i].failed_at < first->failed_at))
            first = &members[i];
    if (first == NULL)
        return KP_OK;
    if (run->ctx.err != NULL)
        *run->ctx.err = first->worker->err;
    return run->ctx.status = first->status;
}

static void run_team(struct member *members, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++)
        members[i].started =
            pthread_create(&members[i].thread, NULL, member_main, &members[i]) == 0;
    member_main(&members[0]);
    for (uint32_t i = 1; i < count; i++) {
        if (members[i].started)
            pthread_join(members[i].thread, NULL);
    }
}

static kp_status finish_team(struct kpi_aggregate_op *op, struct member *members, uint32_t count)
{
    struct kpi_run *run = op->base.run;
    kp_status status = take_failure(run, members, count);
    for (uint32_t i = 0; i < count && status == KP_OK; i++) {
        if (i > 0 && !members[i].started)
            continue;
        kpi_worker_account(members[i].worker, &op->base);
        run->threads_busy[i] += members[i].op->base.busy;
        op->base.busy += i > 0 ? members[i].op->base.busy : 0; /* the first is this thread */
        if (!merge(op, kpi_aggregate_of(members[i].worker->twin)))
            status = run->ctx.status;
    }
    return status == KP_OK ? KP_END : status;
}

/* A worker has a share of the memory only: what does not fit there may fit into the whole. */
static bool again_alone(struct kpi_aggregate_op *op, struct member *members, uint32_t count)
{
    struct kpi_run *run = op->base.run;
    bool late = run->deadline != 0 && kp_time_monotonic() >= run->deadline;
    if (run->ctx.status != KP_LIMIT || late)
        return false;
    for (uint32_t i = 0; i < count; i++)
        kpi_worker_close(run, members[i].worker);
    run->ctx.status = KP_OK;
    return kpi_aggregate_reset(op);
}

static bool hire(struct kpi_aggregate_op *op, struct team *team, struct member *members,
                 uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct kpi_worker *worker = kpi_worker_new(&op->base, 2 * count);
        if (worker == NULL)
            return false;
        members[i] = (struct member){.team = team,
                                     .op = kpi_aggregate_of(worker->twin),
                                     .worker = worker,
                                     .failed_at = UINT32_MAX};
    }
    return true;
}

bool kpi_aggregate_windows(struct kpi_aggregate_op *op, kp_status *out)
{
    struct kpi_run *run = op->base.run;
    struct team *team = op->free ? kpi_new(&run->ctx, 1, sizeof(*team)) : NULL;
    if (team == NULL || !cut(team, op)) {
        *out = run->ctx.status;
        return run->ctx.status != KP_OK;
    }
    uint32_t count = KP_MIN(kpi_run_threads(run), team->windows_count);
    struct member *members = kpi_new(&run->ctx, count, sizeof(*members));
    if (members != NULL && count > 1 && hire(op, team, members, count)) {
        run->threads_used = KP_MAX(run->threads_used, count);
        run_team(members, count);
        *out = finish_team(op, members, count);
        if (*out == KP_END || !again_alone(op, members, count))
            return true;
        team->next = 0;
    }
    struct member alone = {.team = team, .op = op};
    team->stop = false;
    if (run->ctx.status == KP_OK)
        member_windows(&alone);
    *out = run->ctx.status != KP_OK ? run->ctx.status
           : alone.status != KP_OK  ? alone.status
                                    : KP_END;
    return true;
}
