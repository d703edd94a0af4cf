/* SPDX-License-Identifier: Apache-2.0
 *
 * One byte of a sealed store is wrong and nobody has asked for it. The scrub must tell of exactly
 * the rows that cannot be read any more, once, over restarts too; and of nothing in a sound store.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "rows.h"
#include "storage/io_sim.h"
#include "storage/snapshot.h"

#define DIR     "/store"
#define BEGIN   (1700000000ll * KP_SEC)
#define COMMITS 6u
#define ROWS    200u

static const char *const streams[] = {"syscall", "sched_switch", "spans"};

static struct kp_store *store_open(struct kp_sim *sim, kp_dur scrub_every)
{
    struct kp_store *store = NULL;
    struct kp_store_opts opts = {.io = kp_sim_io(sim),
                                 .manual = true,
                                 .memory_bytes_max = 1 << 20,
                                 .wal_file_bytes = 512 << 10,
                                 .id_seed = 7,
                                 .scrub_every = scrub_every};
    assert_int_equal(kp_store_open(DIR, &opts, &store, NULL), KP_OK);
    return store;
}

static struct kp_sim *store_make(void)
{
    struct kp_sim *sim = NULL;
    assert_int_equal(kp_sim_open(3, &sim), KP_OK);
    struct kp_store *store = store_open(sim, 0);
    struct rows_gen gen = {.seed = 8,
                           .actors = kp_store_actors(store),
                           .now = BEGIN,
                           .cpus = 3,
                           .threads = 30,
                           .names = 10};
    for (uint32_t i = 0; i < COMMITS; i++) {
        for (size_t s = 0; s < KP_ARRAY_LEN(streams); s++) {
            struct kp_builder builder;
            const struct kp_stream *stream = kp_stream_by_name(kp_str_from(streams[s]));
            assert_int_equal(kp_builder_init(&builder, stream, gen.actors, ROWS), KP_OK);
            rows_fill(&gen, &builder, ROWS);
            assert_int_equal(kp_store_append(store, kp_builder_batch(&builder), NULL), KP_OK);
            kp_builder_deinit(&builder);
        }
        assert_int_equal(kp_store_tick(store, i + 1, i % 2 == 1), KP_OK);
    }
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    return sim;
}

/* Rows of a stream that can be read, or the sum of their column `add`. */
static uint64_t rows_read(struct kp_snapshot *snapshot, const char *name, const char *add)
{
    const struct kp_stream *stream = kp_stream_by_name(kp_str_from(name));
    int place = add != NULL ? kp_stream_stored(stream, add) : KP_COL_TS;
    struct kp_colref column = {(uint8_t)place, KP_ATTR_SELF};
    struct kp_scan_req req = {
        .stream = stream, .cols = &column, .cols_count = 1, .from = KP_TIME_MIN, .to = KP_TIME_MAX};
    struct kp_scan *scan = NULL;
    const struct kp_batch *batch;
    uint64_t rows = 0;
    assert_int_equal(kp_scan_open(snapshot, &req, &scan, NULL), KP_OK);
    while (kp_scan_next(scan, &batch, NULL) == KP_OK)
        for (uint32_t i = 0; i < kp_batch_count(batch); i++)
            rows += add != NULL ? (uint64_t)batch->cols[0].i64[kp_batch_row(batch, i)] : 1;
    kp_scan_close(scan);
    return rows;
}

struct told {
    uint64_t there;   /* rows that can be read */
    uint64_t gaps;    /* rows of gaps */
    uint64_t missing; /* that they tell of */
};

static struct told told_read(struct kp_sim *sim)
{
    struct told told = {0};
    struct kp_snapshot *snapshot = NULL;
    assert_int_equal(kp_snapshot_open(DIR, kp_sim_io(sim), &snapshot, NULL), KP_OK);
    for (size_t s = 0; s < KP_ARRAY_LEN(streams); s++)
        told.there += rows_read(snapshot, streams[s], NULL);
    told.gaps = rows_read(snapshot, "gaps", NULL);
    told.missing = rows_read(snapshot, "gaps", "count");
    kp_snapshot_close(snapshot);
    return told;
}

/* A start, passes at 1 and 2 hours, an end. */
static struct kp_store_stat scrub(struct kp_sim *sim)
{
    struct kp_store_stat stat;
    struct kp_store *store = store_open(sim, KP_HOUR);
    for (int64_t hour = 1; hour <= 2; hour++)
        assert_int_equal(kp_store_tick(store, hour * KP_HOUR, false), KP_OK);
    kp_store_stat(store, &stat);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    return stat;
}

static void a_sound_store_has_no_gaps(void **state)
{
    (void)state;
    struct kp_sim *sim = store_make();
    struct kp_store_stat stat = scrub(sim);
    assert_int_equal(stat.scrub_passes, 2);
    assert_int_equal(stat.scrub_damaged, 0);
    assert_true(stat.scrub_bytes > 0);
    assert_int_equal(told_read(sim).gaps, 0);
    kp_sim_close(sim);
}

/* Where blocks of the second segment lie. */
static uint32_t places_find(struct kp_sim *sim, uint64_t *out, uint32_t room)
{
    struct kp_snapshot *snapshot = NULL;
    struct kp_io_queue *queue = NULL;
    const struct kp_io *io = kp_sim_io(sim);
    assert_int_equal(kp_snapshot_open(DIR, io, &snapshot, NULL), KP_OK);
    assert_int_equal(io->queue_open(io, 2, &queue), 0);
    const struct kpi_segment *segment = kpi_snapshot_segment(snapshot, 1, queue);
    assert_non_null(segment);
    uint32_t count = KP_MIN(segment->footer.blocks_count, room);
    for (uint32_t b = 0; b < count; b++)
        out[b] = segment->footer.blocks[b].offset + segment->footer.blocks[b].size / 2;
    io->queue_close(queue);
    kp_snapshot_close(snapshot);
    return count;
}

static void damage_is_told_of_once(struct kp_sim *sim, uint64_t place)
{
    scrub(sim);
    struct told told = told_read(sim);
    if (told.gaps != 1 || told.there + told.missing != (uint64_t)COMMITS * 3 * ROWS)
        fail_msg("at %llu: %llu rows there, %llu missing in %llu rows of gaps",
                 (unsigned long long)place, (unsigned long long)told.there,
                 (unsigned long long)told.missing, (unsigned long long)told.gaps);
    scrub(sim);
    assert_int_equal(told_read(sim).gaps, 1);
}

static void every_flipped_block_is_told_of(void **state)
{
    (void)state;
    struct kp_sim *whole = store_make();
    uint64_t places[64];
    uint32_t count = places_find(whole, places, 64);
    assert_true(count >= 4);
    for (uint32_t b = 0; b < count; b++) {
        struct kp_sim *sim = kp_sim_clone(whole, b);
        size_t size = 0;
        uint8_t *bytes = kp_sim_file(sim, DIR "/seg/0000000000000002.kps", &size);
        assert_non_null(bytes);
        bytes[places[b]] ^= 4;
        damage_is_told_of_once(sim, places[b]);
        kp_sim_close(sim);
    }
    kp_sim_close(whole);
}

static void sectors_that_do_not_read_are_told_of(void **state)
{
    (void)state;
    struct kp_sim *whole = store_make();
    uint64_t places[64];
    uint32_t count = places_find(whole, places, 64);
    for (uint32_t b = 0; b < count; b++) {
        struct kp_sim *sim = kp_sim_clone(whole, b);
        kp_sim_rot(sim, DIR "/seg/0000000000000002.kps", places[b], 1);
        struct kp_store_stat stat = scrub(sim);
        assert_true(stat.scrub_damaged >= 1);
        struct told told = told_read(sim);
        assert_true(told.gaps == stat.scrub_damaged && told.missing > 0);
        kp_sim_close(sim);
    }
    kp_sim_close(whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_store_has_no_gaps),
        cmocka_unit_test(every_flipped_block_is_told_of),
        cmocka_unit_test(sectors_that_do_not_read_are_told_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
