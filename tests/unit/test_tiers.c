/* SPDX-License-Identifier: Apache-2.0
 *
 * Late rows, stepped clocks, several boots and hosts in one store, on the whole way: log, sealed
 * segments, cold ones. At each tier a scan gives every row, in order, with who it was of.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "storage/io_sim.h"
#include "storage/storage.h"

#define DIR     "/store"
#define BATCHES 12u
#define ROWS    50u

static struct kp_store *store_open(struct kp_sim *sim)
{
    struct kp_store_opts opts = {.io = kp_sim_io(sim), .manual = true, .id_seed = 3};
    struct kp_store *store = NULL;
    assert_int_equal(kp_store_open(DIR, &opts, &store, NULL), KP_OK);
    return store;
}

/* Two hosts, each with two boots. */
static kp_actor_id actor_of(struct kp_store *store, uint32_t n)
{
    const struct kp_actor actor = {.host = n % 2 == 0 ? KP_STR("alpha") : KP_STR("beta"),
                                   .boot = n / 2 % 2 == 0 ? KP_STR("boot-1") : KP_STR("boot-2"),
                                   .comm = KP_STR("worker"),
                                   .tid = 7,
                                   .pid = 7,
                                   .start = 5};
    return kp_store_actor(store, &actor);
}

/* Batch n begins where the clock of the kernel is; every third comes late by a second. */
static kp_time time_of(uint32_t batch, uint32_t row)
{
    return KP_HOUR + (int64_t)batch * KP_SEC + (int64_t)row * KP_MS -
           (batch % 3 == 2 ? KP_SEC + 7 : 0);
}

static void rows_append(struct kp_store *store, uint32_t batch)
{
    const struct kp_stream *stream = kp_stream_by_number(KP_S_SYSCALL);
    struct kp_builder builder;
    kp_actor_id actor = actor_of(store, batch);
    assert_int_equal(kp_builder_init(&builder, stream, kp_store_actors(store), ROWS), KP_OK);
    for (uint32_t row = 0; row < ROWS; row++) {
        for (uint32_t c = 0; c < stream->stored_count; c++)
            builder.cols[c].i64[row] = 0;
        builder.cols[KP_COL_TS].i64[row] = time_of(batch, row);
        builder.cols[KP_COL_SEQ].i64[row] = (int64_t)kp_store_seq(store, 1);
        builder.cols[KP_COL_ACTOR].i64[row] = actor;
    }
    builder.batch.rows = ROWS;
    assert_int_equal(kp_store_append(store, kp_builder_batch(&builder), NULL), KP_OK);
    kp_builder_deinit(&builder);
}

/* What the wall clock said: an hour back after the third batch, a day ahead after the sixth. Rows
 * are stamped by the kernel's clock and do not care. */
static void anchor_append(struct kp_store *store, uint32_t batch)
{
    const struct kp_stream *stream = kp_stream_by_number(KP_S_CLOCK);
    struct kp_builder builder;
    kp_dur step = batch == 3 ? -KP_HOUR : batch == 6 ? KP_DAY : 0;
    assert_int_equal(kp_builder_init(&builder, stream, kp_store_actors(store), 1), KP_OK);
    for (uint32_t c = 0; c < stream->stored_count; c++)
        if (kp_type_phys(stream->stored[c].type) == KP_PHYS_STR)
            builder.cols[c].strs[0] = KP_STR("");
        else
            builder.cols[c].i64[0] = 0;
    builder.cols[KP_COL_TS].i64[0] = time_of(batch, 0);
    builder.cols[KP_COL_SEQ].i64[0] = (int64_t)kp_store_seq(store, 1);
    builder.cols[KP_COL_ACTOR].i64[0] = actor_of(store, batch);
    builder.cols[kp_stream_stored(stream, "real")].i64[0] = time_of(batch, 0) + step;
    builder.cols[kp_stream_stored(stream, "step")].i64[0] = step;
    builder.batch.rows = 1;
    assert_int_equal(kp_store_append(store, kp_builder_batch(&builder), NULL), KP_OK);
    kp_builder_deinit(&builder);
}

static uint64_t scan_check(struct kp_sim *sim, uint32_t number, uint32_t hosts[2])
{
    struct kp_snapshot *snapshot = NULL;
    struct kp_scan *scan = NULL;
    const struct kp_batch *batch;
    struct kp_colref cols[] = {{.stored = KP_COL_TS},
                               {.stored = KP_COL_ACTOR, .attr = KP_ATTR_SELF}};
    struct kp_scan_req req = {.stream = kp_stream_by_number(number),
                              .from = KP_TIME_MIN,
                              .to = KP_TIME_MAX,
                              .cols = cols,
                              .cols_count = 2};
    uint64_t rows = 0;
    kp_time last = KP_TIME_MIN;
    assert_int_equal(kp_snapshot_open(DIR, kp_sim_io(sim), &snapshot, NULL), KP_OK);
    assert_int_equal(kp_scan_open(snapshot, &req, &scan, NULL), KP_OK);
    while (kp_scan_next(scan, &batch, NULL) == KP_OK)
        for (uint32_t i = 0; i < batch->rows; i++, rows++) {
            kp_actor_id id = (kp_actor_id)batch->cols[1].i64[i];
            const struct kp_actor *actor = kp_actors_get(kp_snapshot_actors(snapshot), id);
            assert_true(batch->cols[0].i64[i] >= last);
            last = batch->cols[0].i64[i];
            assert_true(actor->boot.len == 6);
            hosts[kp_str_equal(actor->host, KP_STR("beta"))]++;
        }
    kp_scan_close(scan);
    kp_snapshot_close(snapshot);
    return rows;
}

static void tier_check(struct kp_sim *sim)
{
    uint32_t hosts[2] = {0};
    assert_int_equal(scan_check(sim, KP_S_SYSCALL, hosts), BATCHES * ROWS);
    assert_int_equal(hosts[0], BATCHES * ROWS / 2);
    assert_int_equal(hosts[1], BATCHES * ROWS / 2);
    assert_int_equal(scan_check(sim, KP_S_CLOCK, hosts), BATCHES);
    assert_int_equal(
        kp_verify(DIR, kp_sim_io(sim), NULL, NULL, NULL, &(struct kp_verify_report){0}, NULL),
        KP_OK);
}

static void every_tier_tells_the_same(void **state)
{
    (void)state;
    struct kp_sim *sim = NULL;
    assert_int_equal(kp_sim_open(1, &sim), KP_OK);
    struct kp_store *store = store_open(sim);
    for (uint32_t batch = 0; batch < BATCHES; batch++) {
        rows_append(store, batch);
        anchor_append(store, batch);
        if (batch < BATCHES - 1) /* the last ones stay in the log */
            assert_int_equal(kp_store_tick(store, (int64_t)(batch + 1) * KP_SEC, true), KP_OK);
    }
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    tier_check(sim);
    store = store_open(sim);
    assert_int_equal(kp_store_tick(store, KP_HOUR, true), KP_OK);
    tier_check(sim);
    assert_int_equal(kp_store_compact(store, NULL), KP_OK);
    tier_check(sim);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    tier_check(sim);
    kp_sim_close(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tier_tells_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
