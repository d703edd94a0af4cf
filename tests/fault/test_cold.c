/* SPDX-License-Identifier: Apache-2.0
 *
 * Cold segments under power loss and failing disks: the power goes after every operation while
 * segments are joined and rewritten. Before and after the next start every row is there once,
 * nothing is called damage, and the proof of the seals finds nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/assert.h"
#include "seen.h"
#include "storage/io_sim.h"

#define DIR      "/store"
#define EPOCH    (10 * KP_SEC)
#define SEGMENTS 5
#define ROWS     40u

struct world {
    struct kp_buf key;
    uint64_t states, joined;
};

static struct kp_store *store_open(const struct kp_io *io, kp_dur cold_after)
{
    struct kp_store_opts opts = {.io = io,
                                 .manual = true,
                                 .segment_after = KP_DAY,
                                 .memory_bytes_max = 128 << 10,
                                 .wal_file_bytes = 64 << 10,
                                 .cold_after = cold_after,
                                 .id_seed = 7,
                                 .seal_every = EPOCH};
    struct kp_store *store = NULL;
    struct kp_error err;
    if (kp_store_open(DIR, &opts, &store, &err) != KP_OK)
        fail_msg("open: %s", err.text);
    return store;
}

static void segment_add(struct kp_store *store, struct feed *feed, int64_t now)
{
    uint64_t first, ticket;
    assert_int_equal(feed_append(feed, ROWS, &first, &ticket), KP_OK);
    assert_int_equal(kp_store_wait(store, ticket, NULL), KP_OK);
    assert_int_equal(kp_store_tick(store, now, true), KP_OK);
}

static struct kp_store *store_fill(struct kp_sim *sim, struct world *world)
{
    struct feed feed;
    struct kp_store *store = store_open(kp_sim_io(sim), 0);
    assert_int_equal(kp_store_seal_key(store, &world->key, NULL), KP_OK);
    feed_init(&feed, store);
    for (int64_t i = 1; i <= SEGMENTS; i++)
        segment_add(store, &feed, i * EPOCH);
    feed_deinit(&feed);
    return store;
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Every row is there, once. */
static void rows_check(const struct kp_io *io, uint64_t rows)
{
    struct seen seen;
    assert_int_equal(seen_read(io, DIR, &seen), KP_OK);
    assert_int_equal(seen.wrong + seen.damaged + seen.gap_rows, 0);
    assert_int_equal(seen.count, rows);
    qsort(seen.seqs, seen.count, sizeof(*seen.seqs), compare_numbers);
    assert_true(seen_ordered(&seen));
    seen_deinit(&seen);
    assert_int_equal(kp_verify(DIR, io, NULL, NULL, NULL, &(struct kp_verify_report){0}, NULL),
                     KP_OK);
}

static void on_finding(void *ctx, const struct kp_finding *finding)
{
    fail_msg("state %llu: %s: %s", (unsigned long long)((struct world *)ctx)->states,
             kp_finding_word(finding->kind), finding->text);
}

static void proof_check(struct world *world, const struct kp_io *io)
{
    struct kp_error err = {0};
    struct kp_proof proof;
    struct kp_prove_opts opts = {.full = true,
                                 .secret = {world->key.data, (uint32_t)world->key.size}};
    if (kp_prove(DIR, io, &opts, on_finding, world, &proof, &err) != KP_OK)
        fail_msg("state %llu: %s", (unsigned long long)world->states, err.text);
    assert_true(proof.sealed && proof.keyed);
}

static uint32_t segments_of(const struct kp_io *io)
{
    struct kpi_manifest manifest;
    assert_int_equal(kpi_manifest_read(io, DIR, &manifest, NULL, NULL, NULL), KP_OK);
    uint32_t count = manifest.count;
    kpi_manifest_deinit(&manifest);
    return count;
}

static void power_off(void *ctx, struct kp_sim *sim)
{
    static const enum kp_sim_crash policies[] = {KP_SIM_DROP, KP_SIM_KEEP, KP_SIM_SOME,
                                                 KP_SIM_TEAR};
    struct world *world = ctx;
    for (uint64_t i = 0; i < KP_ARRAY_LEN(policies); i++) {
        struct kp_sim *copy = kp_sim_clone(sim, kp_sim_ops(sim) * 1000 + i);
        const struct kp_io *io = kp_sim_io(copy);
        kp_sim_crash(copy, policies[i]);
        world->states++;
        rows_check(io, SEGMENTS * ROWS);
        proof_check(world, io);
        struct kp_store *store = store_open(io, 0);
        assert_int_equal(kp_store_close(store, NULL), KP_OK);
        rows_check(io, SEGMENTS * ROWS);
        proof_check(world, io);
        store = store_open(io, 0); /* what was begun can be done again */
        assert_int_equal(kp_store_compact(store, NULL), KP_OK);
        assert_int_equal(kp_store_close(store, NULL), KP_OK);
        rows_check(io, SEGMENTS * ROWS);
        proof_check(world, io);
        world->joined += segments_of(io) == 1;
        kp_sim_close(copy);
    }
}

static void power_may_go_while_segments_become_cold(void **state)
{
    (void)state;
    struct world world = {0};
    struct kp_sim *sim = NULL;
    assert_int_equal(kp_sim_open(3, &sim), KP_OK);
    struct kp_store *store = store_fill(sim, &world);
    assert_int_equal(segments_of(kp_sim_io(sim)), SEGMENTS);
    kp_sim_watch(sim, power_off, &world);
    assert_int_equal(kp_store_compact(store, NULL), KP_OK);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    print_message("%llu crash states\n", (unsigned long long)world.states);
    assert_int_equal(segments_of(kp_sim_io(sim)), 1);
    assert_int_equal(world.joined, world.states);
    assert_true(world.states > 80);
    kp_sim_close(sim);
    kp_buf_deinit(&world.key);
}

/* Each operation fails once: the segments stay, or the cold one is there; a later try joins all. */
static void every_operation_may_fail(void **state)
{
    (void)state;
    uint64_t hits = 1, nth;
    for (nth = 1; hits > 0; nth++) {
        struct world world = {0};
        struct kp_sim *sim = NULL;
        struct kp_sim_fault fault = {.points = UINT32_MAX, .nth = nth, .times = 1, .error = 5};
        assert_int_equal(kp_sim_open(nth, &sim), KP_OK);
        struct kp_store *store = store_fill(sim, &world);
        kp_sim_fault_add(sim, &fault);
        kp_status status = kp_store_compact(store, NULL);
        hits = kp_sim_hits(sim);
        kp_sim_fault_clear(sim);
        assert_true(status == KP_OK || hits > 0);
        rows_check(kp_sim_io(sim), SEGMENTS * ROWS);
        assert_int_equal(kp_store_tick(store, 20 * EPOCH, true), KP_OK);
        assert_int_equal(kp_store_compact(store, NULL), KP_OK);
        assert_int_equal(kp_store_close(store, NULL), KP_OK);
        assert_int_equal(segments_of(kp_sim_io(sim)), 1);
        rows_check(kp_sim_io(sim), SEGMENTS * ROWS);
        proof_check(&world, kp_sim_io(sim));
        kp_sim_close(sim);
        kp_buf_deinit(&world.key);
    }
    assert_true(nth > 20);
}

/* What is held stays byte for byte; its neighbours do not wait for it. */
static void held_segments_stay(void **state)
{
    (void)state;
    struct world world = {0};
    struct kp_sim *sim = NULL;
    uint64_t id;
    assert_int_equal(kp_sim_open(3, &sim), KP_OK);
    struct kp_store *store = store_fill(sim, &world);
    kp_time at = (kp_time)(2 * ROWS + 5) * 10; /* in the third */
    assert_int_equal(kp_store_hold_add(store, at, at, KP_STR("a case"), &id, NULL), KP_OK);
    assert_int_equal(kp_store_compact(store, NULL), KP_OK);
    assert_int_equal(segments_of(kp_sim_io(sim)), 3);
    assert_int_equal(kp_store_hold_release(store, id, NULL), KP_OK);
    assert_int_equal(kp_store_compact(store, NULL), KP_OK);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    assert_int_equal(segments_of(kp_sim_io(sim)), 3);
    rows_check(kp_sim_io(sim), SEGMENTS * ROWS);
    proof_check(&world, kp_sim_io(sim));
    kp_sim_close(sim);
    kp_buf_deinit(&world.key);
}

/* By age, without being asked; readers that knew the parts go on reading them for a while. */
static void age_makes_cold(void **state)
{
    (void)state;
    struct world world = {0};
    struct kp_sim *sim = NULL;
    struct feed feed;
    struct kp_snapshot *before = NULL;
    assert_int_equal(kp_sim_open(3, &sim), KP_OK);
    assert_int_equal(kp_store_close(store_fill(sim, &world), NULL), KP_OK);
    assert_int_equal(kp_snapshot_open(DIR, kp_sim_io(sim), &before, NULL), KP_OK);
    struct kp_store *store = store_open(kp_sim_io(sim), ROWS * 10);
    feed_init(&feed, store);
    segment_add(store, &feed, 10 * EPOCH);
    feed_deinit(&feed);
    struct kp_store_stat stat;
    kp_store_stat(store, &stat);
    assert_int_equal(stat.cold_segments, 1);
    assert_true(segments_of(kp_sim_io(sim)) < SEGMENTS + 1);
    struct kp_scan *scan = NULL;
    const struct kp_batch *batch;
    struct kp_colref col = {.stored = KP_COL_SEQ};
    struct kp_scan_req req = {.stream = kp_stream_by_number(KP_S_SYSCALL),
                              .from = KP_TIME_MIN,
                              .to = KP_TIME_MAX,
                              .cols = &col,
                              .cols_count = 1};
    uint64_t rows = 0;
    assert_int_equal(kp_scan_open(before, &req, &scan, NULL), KP_OK);
    while (kp_scan_next(scan, &batch, NULL) == KP_OK)
        rows += batch->rows;
    kp_scan_close(scan);
    kp_snapshot_close(before);
    assert_int_equal(rows, SEGMENTS * ROWS);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    rows_check(kp_sim_io(sim), (SEGMENTS + 1) * ROWS);
    proof_check(&world, kp_sim_io(sim));
    kp_sim_close(sim);
    kp_buf_deinit(&world.key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_may_go_while_segments_become_cold),
        cmocka_unit_test(every_operation_may_fail),
        cmocka_unit_test(held_segments_stay),
        cmocka_unit_test(age_makes_cold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
