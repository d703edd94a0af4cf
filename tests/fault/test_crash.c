/* SPDX-License-Identifier: Apache-2.0
 *
 * The power goes after every single operation of a workload, many times over: each time another
 * subset of what was not synced survives, whole sectors or torn at any byte, and another part of
 * the unsynced names. Some states lose power again in the middle of their recovery. After each, the
 * store opens and the invariants of docs/format.md hold:
 *
 *   1 what was acknowledged is there       2 nothing is there that was not appended, or twice
 *   3 rows are in the order of appending   4 event numbers are not given out again
 *   5 a mere crash is not damage           6 recovering once more changes nothing
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "seen.h"
#include "storage/io_sim.h"

#define DIR "/store"
#ifdef KP_ASSERT_SLOW /* sanitizers cost twenty times as much */
#define WORKLOADS 1
#else
#define WORKLOADS 30
#endif
#define STEPS        40
#define SEEDS_PER_OP 8

struct world {
    uint64_t random;
    uint64_t acked;    /* event numbers below were acknowledged */
    uint64_t appended; /* event numbers below were appended */
    uint64_t states;
    uint64_t seeds_per_op;
};

static struct kp_store_opts opts_of(const struct kp_io *io)
{
    return (struct kp_store_opts){.io = io,
                                  .manual = true,
                                  .segment_bytes_max = 3000,
                                  .memory_bytes_max = 128 << 10,
                                  .wal_file_bytes = 64 << 10,
                                  .id_seed = 99};
}

static uint64_t world_random(struct world *world, uint64_t below)
{
    world->random += 0x9e3779b97f4a7c15ull;
    return kp_hash_mix(world->random) % below;
}

static struct kp_store *store_open(struct kp_sim *sim)
{
    struct kp_store_opts opts = opts_of(kp_sim_io(sim));
    struct kp_store *store = NULL;
    struct kp_error err;
    if (kp_store_open(DIR, &opts, &store, &err) != KP_OK) {
        print_error("open: %s\n", err.text);
        return NULL;
    }
    return store;
}

/* A recovery that loses power itself at some operation. */
static void recover_halfway(struct kp_sim *sim, uint64_t nth)
{
    struct kp_sim_fault off = {.points = UINT32_MAX & ~(KP_SIM_READ | KP_SIM_OPEN | KP_SIM_LIST),
                               .nth = nth,
                               .times = UINT64_MAX,
                               .error = EIO};
    struct kp_store_opts opts = opts_of(kp_sim_io(sim));
    struct kp_store *store = NULL;
    kp_sim_fault_add(sim, &off);
    kp_status closed = KP_OK;
    if (kp_store_open(DIR, &opts, &store, NULL) == KP_OK)
        closed = kp_store_close(store, NULL);
    (void)closed; /* the power is off: what it says does not matter */
    kp_sim_fault_clear(sim);
    kp_sim_crash(sim, KP_SIM_SOME);
}

static bool state_holds(const struct world *world, const struct seen *seen, const char **why)
{
    uint64_t expected = 1;
    *why = seen->wrong != 0      ? "a row that nobody appended"
           : seen->damaged != 0  ? "damage after a mere crash"
           : seen->gap_rows != 0 ? "a gap after a mere crash"
           : !seen_ordered(seen) ? "rows doubled or out of order"
                                 : NULL;
    for (uint32_t i = 0; i < seen->count && *why == NULL; i++, expected++)
        if (seen->seqs[i] != expected)
            *why = "a hole between rows";
    if (*why == NULL && expected < world->acked)
        *why = "an acknowledged row is gone";
    if (*why == NULL && expected > world->appended)
        *why = "a row that was not appended";
    return *why == NULL;
}

static void state_check(struct world *world, struct kp_sim *sim, uint64_t seed)
{
    const char *why = NULL;
    struct seen first, second;
    struct kp_store *store = store_open(sim);
    assert_non_null(store);
    uint64_t next = kp_store_seq(store, 0);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    assert_int_equal(seen_read(kp_sim_io(sim), DIR, &first), KP_OK);
    if (!state_holds(world, &first, &why))
        fail_msg("seed %llu: %s (%u rows, acked below %llu, appended below %llu)",
                 (unsigned long long)seed, why, first.count, (unsigned long long)world->acked,
                 (unsigned long long)world->appended);
    if (first.count > 0)
        assert_true(next > first.seqs[first.count - 1]);
    store = store_open(sim);
    assert_non_null(store);
    assert_int_equal(kp_store_seq(store, 0), next);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    assert_int_equal(seen_read(kp_sim_io(sim), DIR, &second), KP_OK);
    assert_int_equal(second.count, first.count);
    assert_int_equal(second.damaged + second.gap_rows + second.wrong, 0);
    seen_deinit(&first);
    seen_deinit(&second);
}

static void power_off(void *ctx, struct kp_sim *sim)
{
    struct world *world = ctx;
    for (uint64_t i = 0; i < world->seeds_per_op; i++) {
        uint64_t seed = kp_sim_ops(sim) * 1000 + i;
        enum kp_sim_crash policy = i == 0       ? KP_SIM_DROP
                                   : i == 1     ? KP_SIM_KEEP
                                   : i % 2 == 0 ? KP_SIM_SOME
                                                : KP_SIM_TEAR;
        struct kp_sim *copy = kp_sim_clone(sim, seed);
        kp_sim_crash(copy, policy);
        if (i % 3 == 2)
            recover_halfway(copy, 1 + seed % 17);
        state_check(world, copy, seed);
        kp_sim_close(copy);
        world->states++;
    }
}

/* One step of the workload; the store is closed and opened again now and then. */
static void step(struct world *world, struct kp_sim *sim, struct kp_store **store,
                 struct feed *feed, int64_t *now)
{
    uint64_t first, ticket, dice = world_random(world, 20);
    uint32_t rows = 1 + (uint32_t)world_random(world, 12);
    *now += (int64_t)world_random(world, 8 * KP_MS);
    if (dice < 12) {
        world->appended = kp_store_seq(*store, 0) + rows;
        assert_int_equal(feed_append(feed, rows, &first, &ticket), KP_OK);
        if (dice < 4) {
            assert_int_equal(kp_store_wait(*store, ticket, NULL), KP_OK);
            world->acked = world->appended;
        }
    } else if (dice < 19) {
        assert_int_equal(kp_store_tick(*store, *now, dice == 18), KP_OK);
    } else {
        feed_deinit(feed);
        assert_int_equal(kp_store_close(*store, NULL), KP_OK);
        world->acked = world->appended;
        *store = store_open(sim);
        assert_non_null(*store);
        feed_init(feed, *store);
    }
}

static uint64_t workload_run(struct world *world, uint64_t seed)
{
    struct kp_sim *sim = NULL;
    struct feed feed;
    int64_t now = 1;
    world->random = seed;
    world->acked = world->appended = 1;
    assert_int_equal(kp_sim_open(seed, &sim), KP_OK);
    if (world->seeds_per_op > 0)
        kp_sim_watch(sim, power_off, world);
    struct kp_store *store = store_open(sim);
    assert_non_null(store);
    feed_init(&feed, store);
    for (int i = 0; i < STEPS; i++)
        step(world, sim, &store, &feed, &now);
    feed_deinit(&feed);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    uint64_t hash = kp_sim_hash(sim);
    kp_sim_close(sim);
    return hash;
}

static void power_may_go_at_any_moment(void **state)
{
    (void)state;
    struct world world = {.seeds_per_op = SEEDS_PER_OP};
    int64_t start = kp_time_monotonic();
    for (uint64_t seed = 1; seed <= WORKLOADS; seed++)
        workload_run(&world, seed);
    int64_t took = kp_time_monotonic() - start;
    print_message("%llu crash states in %lld ms\n", (unsigned long long)world.states,
                  (long long)(took / KP_MS));
    assert_true(world.states > WORKLOADS * 400);
}

static void the_same_seed_writes_the_same_bytes(void **state)
{
    (void)state;
    struct world world = {.seeds_per_op = 0};
    for (uint64_t seed = 1; seed <= 50; seed++)
        assert_int_equal(workload_run(&world, seed), workload_run(&world, seed));
    assert_int_not_equal(workload_run(&world, 1), workload_run(&world, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_may_go_at_any_moment),
        cmocka_unit_test(the_same_seed_writes_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
