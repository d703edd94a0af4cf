/* SPDX-License-Identifier: Apache-2.0
 *
 * Walks many transactions. Neighbours share one reading of the events: transactions in order of
 * start are cut into groups that lie within GROUP_TIME, and each group is one world in an arena of
 * its own. What a walk makes lies in memory of the transaction's, which is given back after it.
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
    struct kpi_causes *causes; /* of the transaction being walked */
};

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
    const struct kpi_world *world = group->world;
    kpi_causes_init(group->causes, arena, world, false);
    uint32_t root = kpi_span_find(world, txn->trace, txn->root_id);
    struct sink sink = {cohort, world, group->causes};
    struct kpi_walk walk = {
        .world = world, .arena = arena, .txn = txn, .emit = sink_emit, .ctx = &sink};
    if (root != KPI_NONE)
        kpi_walk_run(&walk, world->spans[root].thread, root, world->spans[root].from,
                     world->spans[root].to);
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
    if (status == KP_OK)
        status = kpi_world_spans(group.world, NULL, 0, kpi_time_add(from, -MARGIN),
                                 kpi_time_add(to, LATE_MAX), err);
    group.causes = kp_arena_alloc(&group.arena, sizeof(*group.causes));
    bool good = status == KP_OK && group.causes != NULL && txns_walk(&group, first, end);
    if (status == KP_OK)
        status = kpi_reader_check(cohort->reader, err);
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
