/* SPDX-License-Identifier: Apache-2.0
 *
 * The power goes after every single operation while segments are sealed, merged into runs of the
 * transaction index, and dropped by retention. Afterwards a reader that comes first, and one that
 * comes after the writer's recovery, find every transaction as a scan without any index finds it;
 * nothing is damage; and after a recovery the runs agree with the segments.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>

#include "base/assert.h"
#include "spans.h"
#include "storage/io_sim.h"
#include "storage/manifest.h"

#define DIR "/store"
#ifdef KP_ASSERT_SLOW /* sanitizers cost twenty times as much */
#define SEEDS_PER_OP 1
#define SEGMENTS     18u
#else
#define SEEDS_PER_OP 3
#define SEGMENTS     20u
#endif

static struct kp_store_opts opts_of(struct kp_sim *sim, kp_dur age)
{
    return (struct kp_store_opts){.io = kp_sim_io(sim),
                                  .manual = true,
                                  .memory_bytes_max = 128 << 10,
                                  .wal_file_bytes = 64 << 10,
                                  .retention_age = age,
                                  .id_seed = 99};
}

struct world {
    uint64_t states, lookups;
    kp_dur age;
};

static void lookups_check(struct world *world, struct kp_sim *sim)
{
    struct kp_snapshot *snapshot;
    const struct kp_damage *damage;
    char text[48];
    kp_status status = kp_snapshot_open(DIR, kp_sim_io(sim), &snapshot, NULL);
    if (status == KP_NOT_FOUND)
        return; /* the store was just being made */
    assert_int_equal(status, KP_OK);
    for (uint64_t n = world->states % 7; n < SPANS_TXNS; n += 7) {
        uint32_t rows;
        assert_true(spans_lookup_agrees(snapshot, "trace_id", spans_trace(n, text), &rows));
        world->lookups += rows > 0;
    }
    assert_int_equal(kp_snapshot_damage(snapshot, &damage), 0);
    kp_snapshot_close(snapshot);
}

static void power_off(void *ctx, struct kp_sim *sim)
{
    struct world *world = ctx;
    for (uint64_t i = 0; i < SEEDS_PER_OP; i++) {
        uint64_t seed = kp_sim_ops(sim) * 1000 + i;
        enum kp_sim_crash policy = i == 0 ? KP_SIM_DROP : i == 1 ? KP_SIM_TEAR : KP_SIM_SOME;
        struct kp_sim *copy = kp_sim_clone(sim, seed);
        struct kp_store_opts opts = opts_of(copy, world->age);
        struct kp_store *store = NULL;
        struct kp_verify_report report;
        kp_sim_crash(copy, policy);
        lookups_check(world, copy);
        assert_int_equal(kp_store_open(DIR, &opts, &store, NULL), KP_OK);
        assert_int_equal(kp_store_tick(store, 1, true), KP_OK);
        assert_int_equal(kp_store_close(store, NULL), KP_OK);
        lookups_check(world, copy);
        assert_int_equal(kp_verify(DIR, kp_sim_io(copy), NULL, NULL, NULL, &report, NULL), KP_OK);
        kp_sim_close(copy);
        world->states++;
    }
}

static void workload_run(struct world *world)
{
    struct kp_sim *sim = NULL;
    struct kp_store *store = NULL;
    int64_t now = 1;
    assert_int_equal(kp_sim_open(11, &sim), KP_OK);
    struct kp_store_opts opts = opts_of(sim, world->age);
    assert_int_equal(kp_store_open(DIR, &opts, &store, NULL), KP_OK);
    for (uint32_t i = 0; i < SEGMENTS; i++) {
        if (i == SEGMENTS - 5) /* one run is there; what follows are merges, then a second level */
            kp_sim_watch(sim, power_off, world);
        now += 20 * KP_SEC;
        assert_int_equal(spans_append(store, 10, NULL), KP_OK);
        assert_int_equal(kp_store_tick(store, now, true), KP_OK);
    }
    kp_sim_watch(sim, NULL, NULL);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    kp_sim_close(sim);
}

static void power_may_go_while_runs_are_merged(void **state)
{
    (void)state;
    struct world world = {0};
    workload_run(&world);
    print_message("%llu crash states, %llu lookups that found rows\n",
                  (unsigned long long)world.states, (unsigned long long)world.lookups);
    assert_true(world.states > 100 && world.lookups > 100);
}

static void power_may_go_while_runs_are_dropped(void **state)
{
    (void)state;
    struct world world = {.age = 350};
    workload_run(&world);
    assert_true(world.states > 100 && world.lookups > 100);
}

/* Each operation of a merge fails once: nothing is lost, and the next try succeeds. */
static void every_operation_may_fail(void **state)
{
    (void)state;
    uint64_t hits = 1, tried = 0;
    for (uint64_t nth = 1; hits > 0; nth++, tried++) {
        struct kp_sim *sim = NULL;
        struct kp_store *store = NULL;
        struct world world = {0};
        struct kp_verify_report report;
        struct kp_sim_fault fault = {.points = UINT32_MAX, .nth = nth, .times = 1, .error = EIO};
        assert_int_equal(kp_sim_open(nth, &sim), KP_OK);
        struct kp_store_opts opts = opts_of(sim, 0);
        assert_int_equal(kp_store_open(DIR, &opts, &store, NULL), KP_OK);
        assert_int_equal(spans_append(store, 10, NULL), KP_OK);
        assert_int_equal(kp_store_tick(store, KP_SEC, true), KP_OK);
        assert_int_equal(spans_append(store, 10, NULL), KP_OK);
        kp_sim_fault_add(sim, &fault);
        kp_status status = kp_store_tick(store, 60 * KP_SEC, true);
        hits = kp_sim_hits(sim);
        kp_sim_fault_clear(sim);
        if (status == KP_OK)
            status = kp_store_tick(store, 90 * KP_SEC, true);
        lookups_check(&world, sim);
        for (int64_t at = 120; at < 200; at += 20) /* seals and merges are tried again */
            status = kp_store_tick(store, at * KP_SEC, true);
        assert_int_equal(status, KP_OK);
        lookups_check(&world, sim);
        assert_int_equal(kp_store_close(store, NULL), KP_OK);
        assert_int_equal(kp_verify(DIR, kp_sim_io(sim), NULL, NULL, NULL, &report, NULL), KP_OK);
        kp_sim_close(sim);
    }
    assert_true(tried > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_may_go_while_runs_are_merged),
        cmocka_unit_test(power_may_go_while_runs_are_dropped),
        cmocka_unit_test(every_operation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
