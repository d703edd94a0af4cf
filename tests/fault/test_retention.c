/* SPDX-License-Identifier: Apache-2.0
 *
 * Retention under power loss and beside readers: the power goes after every operation of workloads
 * that seal, drop and hold. After each, every row is either there or accounted for by a tombstone,
 * no dropped row is back, no held row is gone, and nothing is called damage.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/assert.h"
#include "seen.h"
#include "storage/io_sim.h"

#define DIR "/store"
#ifdef KP_ASSERT_SLOW /* sanitizers cost twenty times as much */
#define WORKLOADS 1
#else
#define WORKLOADS 6
#endif
#define STEPS        60
#define SEEDS_PER_OP 4
#define KEPT_BYTES   6000

struct world {
    uint64_t random, acked, appended;
    uint64_t held_from, held_to; /* event numbers under an acknowledged hold; from > to = none */
    uint64_t dropped;            /* acknowledged: as the writer counts them */
    uint64_t states, states_with_drops;
    bool off; /* no crashes: the same bytes are wanted */
};

static struct kp_store *store_open(const struct kp_io *io, uint64_t bytes)
{
    struct kp_store_opts opts = {.io = io,
                                 .manual = true,
                                 .segment_bytes_max = 3000,
                                 .memory_bytes_max = 128 << 10,
                                 .wal_file_bytes = 64 << 10,
                                 .id_seed = 99,
                                 .retention_bytes = bytes};
    struct kp_store *store = NULL;
    struct kp_error err;
    if (kp_store_open(DIR, &opts, &store, &err) != KP_OK)
        fail_msg("open: %s", err.text);
    return store;
}

static struct kp_dropped dropped_of(const struct kp_io *io)
{
    struct kp_snapshot *snapshot = NULL;
    struct kp_dropped dropped;
    assert_int_equal(kp_snapshot_open(DIR, io, &snapshot, NULL), KP_OK);
    kp_snapshot_dropped(snapshot, &dropped);
    kp_snapshot_close(snapshot);
    return dropped;
}

/* Rows 1..n are appended in order: those that are gone and those that are there make 1..n. */
static void state_check(struct world *world, const struct kp_io *io)
{
    struct seen seen;
    struct kp_store *store = store_open(io, 0);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    struct kp_dropped dropped = dropped_of(io);
    assert_int_equal(seen_read(io, DIR, &seen), KP_OK);
    assert_int_equal(seen.wrong + seen.damaged + seen.gap_rows, 0);
    assert_true(seen_ordered(&seen));
    uint64_t all = seen.count + dropped.rows;
    assert_in_range(all, world->acked - 1, world->appended - 1);
    assert_true(dropped.rows >= world->dropped);
    if (seen.count > 0)
        assert_int_equal(seen.seqs[seen.count - 1], all);
    for (uint64_t seq = world->held_from; seq <= world->held_to; seq++)
        assert_true(seen_find(&seen, seq) >= 0);
    assert_int_equal(kp_verify(DIR, io, NULL, NULL, NULL, &(struct kp_verify_report){0}, NULL),
                     KP_OK);
    world->states_with_drops += dropped.rows > 0;
    world->states++;
    seen_deinit(&seen);
}

static void power_off(void *ctx, struct kp_sim *sim)
{
    static const enum kp_sim_crash policies[SEEDS_PER_OP] = {KP_SIM_DROP, KP_SIM_KEEP, KP_SIM_SOME,
                                                             KP_SIM_TEAR};
    for (uint64_t i = 0; i < SEEDS_PER_OP; i++) {
        struct kp_sim *copy = kp_sim_clone(sim, kp_sim_ops(sim) * 1000 + i);
        kp_sim_crash(copy, policies[i]);
        state_check(ctx, kp_sim_io(copy));
        kp_sim_close(copy);
    }
}

static uint64_t world_random(struct world *world, uint64_t below)
{
    world->random += 0x9e3779b97f4a7c15ull;
    return kp_hash_mix(world->random) % below;
}

/* Holds the newest rows; they were acknowledged, so no drop before this can have taken them. */
static void hold_some(struct world *world, struct kp_store *store)
{
    uint64_t id, to = world->acked - 1;
    if (world->held_from <= world->held_to || to < 20)
        return;
    struct kp_dropped gone = dropped_of(kpi_store_io(store));
    uint64_t from = KP_MAX(to - 10, gone.rows + 1);
    if (from > to)
        return;
    assert_int_equal(
        kp_store_hold_add(store, (kp_time)from * 10, (kp_time)to * 10, KP_STR("a case"), &id, NULL),
        KP_OK);
    assert_int_equal(id, 1);
    world->held_from = from;
    world->held_to = to;
}

static void step(struct world *world, struct kp_sim *sim, struct kp_store **store,
                 struct feed *feed, int64_t *now)
{
    uint64_t first, ticket, dice = world_random(world, 20);
    struct kp_store_stat stat;
    *now += 20 * KP_SEC;
    if (dice < 12) {
        uint32_t rows = 20 + (uint32_t)world_random(world, 100);
        world->appended = kp_store_seq(*store, 0) + rows;
        assert_int_equal(feed_append(feed, rows, &first, &ticket), KP_OK);
        assert_int_equal(kp_store_wait(*store, ticket, NULL), KP_OK);
        world->acked = world->appended;
    } else if (dice < 18) {
        assert_int_equal(kp_store_tick(*store, *now, true), KP_OK);
    } else if (dice < 19 && !world->off) {
        hold_some(world, *store);
    } else {
        feed_deinit(feed);
        assert_int_equal(kp_store_close(*store, NULL), KP_OK);
        *store = store_open(kp_sim_io(sim), KEPT_BYTES);
        feed_init(feed, *store);
        world->dropped = dropped_of(kp_sim_io(sim)).rows;
    }
    kp_store_stat(*store, &stat);
    if (stat.dropped_rows > 0)
        world->dropped = KP_MAX(world->dropped, stat.dropped_rows);
}

static uint64_t workload_run(struct world *world, uint64_t seed)
{
    struct kp_sim *sim = NULL;
    struct feed feed;
    int64_t now = 1;
    world->random = seed;
    world->acked = world->appended = world->held_from = 1;
    world->held_to = world->dropped = 0;
    assert_int_equal(kp_sim_open(seed, &sim), KP_OK);
    if (!world->off)
        kp_sim_watch(sim, power_off, world);
    struct kp_store *store = store_open(kp_sim_io(sim), KEPT_BYTES);
    feed_init(&feed, store);
    for (int i = 0; i < STEPS; i++)
        step(world, sim, &store, &feed, &now);
    feed_deinit(&feed);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    uint64_t hash = kp_sim_hash(sim);
    kp_sim_close(sim);
    return hash;
}

static void power_may_go_while_data_is_dropped(void **state)
{
    (void)state;
    struct world world = {0};
    for (uint64_t seed = 1; seed <= WORKLOADS; seed++)
        workload_run(&world, seed);
    print_message("%llu crash states, %llu with tombstones\n", (unsigned long long)world.states,
                  (unsigned long long)world.states_with_drops);
    assert_true(world.states_with_drops > WORKLOADS * 100);
}

static void the_same_seed_drops_the_same(void **state)
{
    (void)state;
    struct world world = {.off = true};
    assert_int_equal(workload_run(&world, 3), workload_run(&world, 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_may_go_while_data_is_dropped),
        cmocka_unit_test(the_same_seed_drops_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
