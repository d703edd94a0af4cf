/* SPDX-License-Identifier: Apache-2.0
 *
 * Seals under power loss and failing disks: the power goes after every operation of a small sealed
 * workload; the store starts, seals the gap, and every finding is a failure. Nothing that was under
 * a seal before may be called tampering afterwards.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/assert.h"
#include "folder.h"
#include "rows.h"
#include "seen.h"
#include "storage/io_sim.h"

#define DIR   "/store"
#define EPOCH (10 * KP_SEC)
#ifdef KP_ASSERT_SLOW
#define WORKLOADS 1
#else
#define WORKLOADS 3
#endif

struct world {
    uint64_t states, seals;
    uint64_t seals_seen; /* the most that a proof of the running store has found */
    int64_t now;
    struct kp_buf key; /* empty until the store is there */
};

static kp_status store_try(const struct kp_io *io, struct kp_store **out, struct kp_error *err)
{
    struct kp_store_opts opts = {.io = io,
                                 .manual = true,
                                 .segment_after = KP_DAY,
                                 .memory_bytes_max = 128 << 10,
                                 .wal_file_bytes = 64 << 10,
                                 .retention_bytes = 3000,
                                 .id_seed = 7,
                                 .seal_every = EPOCH};
    return kp_store_open(DIR, &opts, out, err);
}

static struct kp_store *store_open(const struct kp_io *io)
{
    struct kp_store *store = NULL;
    struct kp_error err;
    if (store_try(io, &store, &err) != KP_OK)
        fail_msg("open: %s", err.text);
    return store;
}

static void on_finding(void *ctx, const struct kp_finding *finding)
{
    fail_msg("state %llu: %s: %s", (unsigned long long)((struct world *)ctx)->states,
             kp_finding_word(finding->kind), finding->text);
}

static void prove(struct world *world, const struct kp_io *io, struct kp_proof *out)
{
    struct kp_error err = {0};
    struct kp_prove_opts opts = {.full = true,
                                 .secret = {world->key.data, (uint32_t)world->key.size}};
    kp_status status = kp_prove(DIR, io, &opts, on_finding, world, out, &err);
    if (status != KP_OK)
        fail_msg("state %llu: %s", (unsigned long long)world->states, err.text);
}

/* First as it was left, then after a start that seals what was missed. */
static void state_check(struct world *world, const struct kp_io *io)
{
    struct kp_proof proof;
    bool there = world->key.size > 0;
    if (there)
        prove(world, io, &proof);
    struct kp_store *store = store_open(io);
    assert_int_equal(kp_store_tick(store, world->now + 5 * EPOCH, false), KP_OK);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    if (!there)
        return;
    prove(world, io, &proof);
    assert_true(proof.sealed && proof.closed && proof.keyed && proof.key_follows);
    assert_true(proof.seals >= world->seals_seen && proof.epochs >= proof.seals);
    assert_true(proof.epochs_down > 0 || proof.seals == 2);
    world->seals += proof.seals;
}

static void power_off(void *ctx, struct kp_sim *sim)
{
    static const enum kp_sim_crash policies[] = {KP_SIM_DROP, KP_SIM_KEEP, KP_SIM_SOME,
                                                 KP_SIM_TEAR};
    struct world *world = ctx;
    for (uint64_t i = 0; i < KP_ARRAY_LEN(policies); i++) {
        struct kp_sim *copy = kp_sim_clone(sim, kp_sim_ops(sim) * 1000 + i);
        kp_sim_crash(copy, policies[i]);
        world->states++;
        state_check(world, kp_sim_io(copy));
        kp_sim_close(copy);
    }
}

static void rows_append(struct feed *feed, uint32_t rows)
{
    uint64_t first, ticket;
    assert_int_equal(feed_append(feed, rows, &first, &ticket), KP_OK);
    assert_int_equal(kp_store_wait(feed->store, ticket, NULL), KP_OK);
}

static void workload_run(struct world *world, uint64_t seed)
{
    struct kp_sim *sim = NULL;
    struct feed feed;
    assert_int_equal(kp_sim_open(seed, &sim), KP_OK);
    kp_sim_watch(sim, power_off, world);
    struct kp_store *store = store_open(kp_sim_io(sim));
    if (world->key.size == 0)
        assert_int_equal(kp_store_seal_key(store, &world->key, NULL), KP_OK);
    feed_init(&feed, store);
    for (uint64_t i = 0; i < 8; i++) {
        struct kp_store_stat stat;
        rows_append(&feed, 20 + (uint32_t)(kp_hash_mix(seed * 100 + i) % 60));
        assert_int_equal(kp_store_tick(store, world->now += EPOCH, i % 2 == 1), KP_OK);
        kp_store_stat(store, &stat);
        world->seals_seen = stat.seals;
    }
    kp_store_stat(store, &(struct kp_store_stat){0});
    feed_deinit(&feed);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    kp_sim_close(sim);
    kp_buf_deinit(&world->key);
    world->seals_seen = 0;
    world->now = 0;
}

static void power_may_go_while_seals_are_made(void **state)
{
    (void)state;
    struct world world = {0};
    for (uint64_t seed = 1; seed <= WORKLOADS; seed++)
        workload_run(&world, seed);
    print_message("%llu crash states, %llu seals proved\n", (unsigned long long)world.states,
                  (unsigned long long)world.seals);
    assert_true(world.states > 300 * WORKLOADS);
}

/* Whatever fails, once: rows go on, and what is sealed in the end is proved. */
static void a_disk_may_fail_once(void **state)
{
    (void)state;
    static const uint32_t points[] = {KP_SIM_WRITE, KP_SIM_SYNC, KP_SIM_RENAME, KP_SIM_READ};
    for (uint64_t nth = 1; nth < 80; nth++) {
        struct world world = {0};
        struct kp_sim *sim = NULL;
        struct feed feed;
        struct kp_proof proof;
        assert_int_equal(kp_sim_open(nth, &sim), KP_OK);
        struct kp_store *store = store_open(kp_sim_io(sim));
        assert_int_equal(kp_store_seal_key(store, &world.key, NULL), KP_OK);
        feed_init(&feed, store);
        kp_sim_fault_add(sim, &(struct kp_sim_fault){.points = points[nth % 4],
                                                     .nth = nth / 4 + 1,
                                                     .kind = KP_SIM_ERROR,
                                                     .error = 5});
        for (uint64_t i = 0; i < 6; i++) {
            rows_append(&feed, 30);
            kp_status status = kp_store_tick(store, world.now += EPOCH, i % 3 == 2);
            assert_true(status == KP_OK || status == KP_IO);
        }
        kp_sim_fault_clear(sim);
        kp_status status = kp_store_tick(store, world.now += 2 * EPOCH, true);
        assert_true(status == KP_OK);
        feed_deinit(&feed);
        assert_int_equal(kp_store_close(store, NULL), KP_OK);
        prove(&world, kp_sim_io(sim), &proof);
        assert_true(proof.epochs >= 8 && proof.keyed);
        kp_sim_close(sim);
        kp_buf_deinit(&world.key);
    }
}

/* Segments whose record could not be made or written are proved by the log, which keeps what they
 * were made of: a proof beside the writer accuses nobody, however much is recorded meanwhile. */
static void evidence_may_be_late(void **state)
{
    (void)state;
    static const uint32_t points[] = {KP_SIM_OPEN, KP_SIM_READ, KP_SIM_WRITE, KP_SIM_SYNC};
    uint64_t late = 0;
    for (uint64_t nth = 1; nth < 100; nth++) {
        struct world world = {0};
        struct kp_sim *sim = NULL;
        struct feed feed;
        struct kp_proof proof;
        assert_int_equal(kp_sim_open(nth, &sim), KP_OK);
        struct kp_store *store = store_open(kp_sim_io(sim));
        assert_int_equal(kp_store_seal_key(store, &world.key, NULL), KP_OK);
        store->opts.retention_bytes = 0;
        feed_init(&feed, store);
        rows_append(&feed, 30);
        kp_sim_fault_add(sim, &(struct kp_sim_fault){.points = points[nth % 4],
                                                     .nth = nth / 4 + 1,
                                                     .times = 6,
                                                     .kind = KP_SIM_ERROR,
                                                     .error = 5});
        kp_status status = kp_store_tick(store, world.now += EPOCH, true);
        kp_sim_fault_clear(sim);
        for (uint64_t i = 0; i < 40; i++) {
            if (kp_store_tick(store, world.now += 2 * KP_SEC, false) == KP_OK)
                rows_append(&feed, 30);
            status = kp_store_tick(store, world.now, true);
        }
        assert_int_equal(status, KP_OK);
        prove(&world, kp_sim_io(sim), &proof);
        late += proof.segments_after > 0;
        feed_deinit(&feed);
        assert_int_equal(kp_store_close(store, NULL), KP_OK);
        kp_sim_close(sim);
        kp_buf_deinit(&world.key);
    }
    print_message("evidence was late in %llu of 99\n", (unsigned long long)late);
    assert_true(late > 0);
}

/* A store from before is read as it is; sealing begins where it stands. */
static void sealing_may_begin_late(void **state)
{
    (void)state;
    struct world world = {0};
    struct kp_sim *sim = NULL;
    struct feed feed;
    struct kp_proof proof;
    assert_int_equal(kp_sim_open(1, &sim), KP_OK);
    struct kp_store_opts opts = {.io = kp_sim_io(sim), .manual = true, .id_seed = 7};
    struct kp_store *store = NULL;
    assert_int_equal(kp_store_open(DIR, &opts, &store, NULL), KP_OK);
    feed_init(&feed, store);
    rows_append(&feed, 50);
    assert_int_equal(kp_store_tick(store, EPOCH, true), KP_OK);
    rows_append(&feed, 50); /* stays in the log */
    feed_deinit(&feed);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    prove(&world, kp_sim_io(sim), &proof);
    assert_false(proof.sealed);

    store = store_open(kp_sim_io(sim));
    feed_init(&feed, store);
    assert_int_equal(kp_store_seal_key(store, &world.key, NULL), KP_OK);
    rows_append(&feed, 50);
    assert_int_equal(kp_store_tick(store, 2 * EPOCH, true), KP_OK);
    feed_deinit(&feed);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    prove(&world, kp_sim_io(sim), &proof);
    assert_true(proof.sealed && proof.keyed);
    assert_int_equal(proof.segments_before, 1);
    assert_int_equal(proof.segments, 1);
    kp_sim_close(sim);
    kp_buf_deinit(&world.key);
}

/* Rows of several kernel streams in turn, enough of them for the close to seal. */
static void kernel_rows_append(struct kp_store *store, uint64_t seed, uint64_t batches)
{
    static const int streams[] = {KP_S_SCHED_SWITCH, KP_S_SCHED_WAKING, KP_S_SYSCALL};
    struct rows_gen gen = {.seed = seed,
                           .actors = kp_store_actors(store),
                           .now = KP_SEC,
                           .cpus = 2,
                           .threads = 40,
                           .names = 5,
                           .late_every = 50};
    for (uint64_t i = 0; i < batches; i++) {
        struct kp_builder builder;
        uint64_t ticket;
        const struct kp_stream *stream = kp_stream_by_number(streams[i % KP_ARRAY_LEN(streams)]);
        assert_int_equal(kp_builder_init(&builder, stream, gen.actors, 512), KP_OK);
        gen.seq = kp_store_seq(store, 512);
        rows_fill(&gen, &builder, 512);
        kp_status status = kp_store_append(store, kp_builder_batch(&builder), &ticket);
        assert_int_equal(status, KP_OK);
        if (i % 8 == 7)
            assert_int_equal(kp_store_wait(store, ticket, NULL), KP_OK);
        kp_builder_deinit(&builder);
    }
}

static void closed_and_proved(const char *dir, const struct kp_store_opts *opts, uint64_t seed)
{
    struct world world = {0};
    struct kp_store *store = NULL;
    struct kp_proof proof;
    struct kp_error err = {0};
    struct kp_prove_opts prove_opts = {.full = true};
    assert_int_equal(kp_store_open(dir, opts, &store, NULL), KP_OK);
    kernel_rows_append(store, seed, 40);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    if (kp_prove(dir, opts->io, &prove_opts, on_finding, &world, &proof, &err) != KP_OK)
        fail_msg("seed %llu: %s", (unsigned long long)seed, err.text);
    assert_true(proof.sealed && proof.closed);
    assert_int_equal(proof.segments_after + proof.log_records_after, 0);
    assert_true(proof.segments > 0);
}

/* Joined rows that the close itself seals have their record when it returns; again and again. */
static void a_close_seals_what_is_left(void **state)
{
    (void)state;
    struct kp_sim *sim = NULL;
    assert_int_equal(kp_sim_open(1, &sim), KP_OK);
    struct kp_store_opts opts = {.io = kp_sim_io(sim),
                                 .manual = true,
                                 .memory_bytes_max = 16 << 20,
                                 .wal_file_bytes = 1 << 20,
                                 .id_seed = 7,
                                 .seal_every = EPOCH};
    for (uint64_t seed = 1; seed <= 4; seed++)
        closed_and_proved(DIR, &opts, seed);
    kp_sim_close(sim);
    char dir[FOLDER_PATH];
    folder_make("seals", dir);
    opts = (struct kp_store_opts){.memory_bytes_max = 16 << 20,
                                  .wal_file_bytes = 1 << 20,
                                  .segment_bytes_max = 300 << 10,
                                  .seal_every = KP_MS};
    for (uint64_t seed = 1; seed <= 12; seed++)
        closed_and_proved(dir, &opts, seed);
    assert_int_equal(folder_remove(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_may_go_while_seals_are_made),
        cmocka_unit_test(a_disk_may_fail_once),
        cmocka_unit_test(evidence_may_be_late),
        cmocka_unit_test(sealing_may_begin_late),
        cmocka_unit_test(a_close_seals_what_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
