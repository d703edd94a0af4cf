/* SPDX-License-Identifier: Apache-2.0
 *
 * Walks many transactions. Neighbours share one reading of the events: transactions in order of
 * start are cut into groups that lie within GROUP_TIME, and each group is one world in an arena of
 * its own. A walk looks at all spans of its world again and again, so each transaction gets a view
 * of the world with only the spans that meet its window: the walk then costs what the transaction
 * is, not what the group is.
 */
#include <string.h>

#include "base/assert.h"
#include "causal/cohort.h"
#include "causal/cursor.h"

#define GROUP_TIME  KP_SEC        /* read together when they lie within this */
#define GROUP_MAX   4096          /* at most so many */
#define MARGIN      (100 * KP_MS) /* read around a group */
#define AHEAD       (500 * KP_MS) /* joined rows that end later */
#define LATE_MAX    (10 * KP_SEC) /* spans that end later are not read */
#define GROUP_BYTES ((size_t)512 << 20)

/* ---------- stamps ---------- */

static kp_status stamps_map(struct kpi_cohort *cohort, struct kp_error *err)
{
    struct kpi_world *clocks;
    kp_time from = KP_TIME_MAX, to = KP_TIME_MIN;
    kp_dur bound;
    for (uint32_t i = 0; i < cohort->count; i++) {
        from = KP_MIN(from, cohort->txns[i].from);
        to = KP_MAX(to, cohort->txns[i].last);
    }
    kp_status status = kpi_world_bare(cohort->reader, cohort->arena, &clocks, err);
    if (status == KP_OK)
        status = kpi_clocks_load(clocks, from, to, err);
    for (uint32_t i = 0; status == KP_OK && i < cohort->count; i++) {
        struct kpi_txn *txn = &cohort->txns[i];
        uint32_t host = kpi_world_host(clocks, kp_actors_get(clocks->actors, txn->actor)->host);
        txn->from = kpi_clock_map(clocks, host, txn->from, &bound);
        txn->to = KP_MAX(txn->from, kpi_clock_map(clocks, host, txn->to, &bound));
        txn->last = KP_MAX(txn->to, kpi_clock_map(clocks, host, txn->last, &bound));
    }
    return status;
}

/* ---------- one transaction ---------- */

struct group {
    struct kpi_cohort *cohort;
    struct kp_arena arena;
    struct kpi_world *world;
    kp_time *reach;    /* per span: the latest end of it and all before it */
    uint32_t *renamed; /* per span: its index in the view, valid when seen[] is this one's */
    uint32_t *seen;
    struct kpi_causes *causes; /* of the transaction being walked */
};

static bool reach_make(struct group *group)
{
    uint32_t count = group->world->spans_count;
    kp_time reach = KP_TIME_MIN;
    group->reach = kp_arena_alloc(&group->arena, ((size_t)count + 1) * sizeof(*group->reach));
    group->renamed = kp_arena_zalloc(&group->arena, (size_t)count + 1, sizeof(*group->renamed));
    group->seen = kp_arena_zalloc(&group->arena, (size_t)count + 1, sizeof(*group->seen));
    group->causes = kp_arena_alloc(&group->arena, sizeof(*group->causes));
    if (group->reach == NULL || group->renamed == NULL || group->seen == NULL ||
        group->causes == NULL)
        return false;
    for (uint32_t i = 0; i < count; i++)
        group->reach[i] = reach = KP_MAX(reach, group->world->spans[i].to);
    return true;
}

/* The first span that could end after t. */
static uint32_t first_after(const struct group *group, kp_time t)
{
    uint32_t low = 0, high = group->world->spans_count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (group->reach[mid] < t)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool is_met(const struct kpi_span *span, const struct kpi_txn *txn)
{
    return span->to >= txn->from && span->from <= txn->to;
}

/* The world with the spans that meet the transaction; spans keep their order. */
static bool view_make(struct group *group, const struct kpi_txn *txn, uint32_t index,
                      struct kp_arena *arena, struct kpi_world *out)
{
    const struct kpi_world *world = group->world;
    uint32_t first = first_after(group, txn->from), end = first, kept = 0;
    while (end < world->spans_count && world->spans[end].from <= txn->to)
        end++;
    *out = *world;
    out->spans = kp_arena_alloc(arena, (size_t)(end - first + 1) * sizeof(*out->spans));
    if (out->spans == NULL)
        return false;
    for (uint32_t i = first; i < end; i++) {
        if (!is_met(&world->spans[i], txn))
            continue;
        group->renamed[i] = kept;
        group->seen[i] = index + 1;
        out->spans[kept++] = world->spans[i];
    }
    out->spans_count = kept;
    for (uint32_t i = 0; i < kept; i++) {
        uint32_t up = out->spans[i].up;
        out->spans[i].up =
            up != KPI_NONE && group->seen[up] == index + 1 ? group->renamed[up] : KPI_NONE;
    }
    return true;
}

struct sink {
    const struct kpi_cohort *cohort;
    const struct kpi_world *world;
    struct kpi_causes *causes;
};

static void sink_emit(void *ctx, const struct kpi_slice *slice)
{
    struct sink *sink = ctx;
    struct kpi_slice kept = *slice;
    const struct kpi_cohort *cohort = sink->cohort;
    if (cohort->keep == NULL || cohort->keep(cohort->ctx, sink->world, &kept))
        kpi_causes_add(sink->causes, &kept);
}

/* Walks one transaction with memory of its own, which is given back. */
static bool txn_walk(struct group *group, uint32_t index, struct kp_arena *arena)
{
    struct kpi_cohort *cohort = group->cohort;
    const struct kpi_txn *txn = &cohort->txns[index];
    struct kpi_world view;
    if (!view_make(group, txn, index, arena, &view))
        return false;
    kpi_causes_init(group->causes, arena, &view, false);
    uint32_t root = kpi_span_find(&view, txn->trace, txn->root_id);
    struct sink sink = {cohort, &view, group->causes};
    struct kpi_walk walk = {
        .world = &view, .arena = arena, .txn = txn, .emit = sink_emit, .ctx = &sink};
    if (root != KPI_NONE)
        kpi_walk_run(&walk, view.spans[root].thread, root, view.spans[root].from,
                     view.spans[root].to);
    if (group->causes->list.failed)
        return false;
    cohort->each(cohort->ctx, group->causes, index);
    return true;
}

static bool txns_walk(struct group *group, uint32_t first, uint32_t end)
{
    struct kp_arena arena;
    bool good = true;
    kp_arena_init(&arena, GROUP_BYTES);
    for (uint32_t i = first; good && i < end; i++) {
        good = txn_walk(group, i, &arena);
        kp_arena_deinit(&arena);
    }
    return good;
}

/* ---------- groups ---------- */

static kp_status group_walk(struct kpi_cohort *cohort, uint32_t first, uint32_t end,
                            struct kp_error *err)
{
    struct group group = {.cohort = cohort};
    kp_time from = cohort->txns[first].from, to = cohort->txns[first].to;
    for (uint32_t i = first; i < end; i++)
        to = KP_MAX(to, cohort->txns[i].to);
    kp_arena_init(&group.arena, GROUP_BYTES);
    group.arena.owner = cohort->arena->owner;
    kp_status status = kpi_world_load(cohort->reader, &group.arena, kpi_time_add(from, -MARGIN),
                                      kpi_time_add(to, MARGIN), AHEAD, &group.world, err);
    if (status == KP_OK) /* views are copies of the world: nothing may be read later */
        status = kpi_works_load(group.world, err);
    if (status == KP_OK)
        status = kpi_world_spans(group.world, NULL, 0, kpi_time_add(from, -MARGIN),
                                 kpi_time_add(to, LATE_MAX), err);
    bool good = status == KP_OK && reach_make(&group) && txns_walk(&group, first, end);
    if (status == KP_OK && !good)
        status = kp_arena_error(&group.arena, err);
    kp_arena_deinit(&group.arena);
    return status;
}

kp_status kpi_cohort_walk(struct kpi_cohort *cohort, struct kp_error *err)
{
    if (cohort->count == 0)
        return KP_OK;
    kp_status status = stamps_map(cohort, err);
    for (uint32_t first = 0, end; first < cohort->count && status == KP_OK; first = end) {
        kp_time until = kpi_time_add(cohort->txns[first].from, GROUP_TIME);
        for (end = first + 1; end < cohort->count && end - first < GROUP_MAX; end++)
            if (cohort->txns[end].to > until)
                break;
        status = group_walk(cohort, first, end, err);
    }
    return status;
}
