/* SPDX-License-Identifier: Apache-2.0
 *
 * Rollups and a scan of what they leave, together, against a walk over all rows: for random ranges
 * of time, with late rows, segments that overlap, rows in the log, rows of nobody, durations whose
 * sum does not fit, and with a damaged section.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "rows.h"
#include "storage/io_sim.h"
#include "storage/snapshot.h"

#define DIR        "/store"
#define ACTORS_MAX 256u

struct sums {
    struct kp_rollup_row of[ACTORS_MAX];
    uint64_t rolled, scanned;
};

static const char *const streams[] = {"syscall", "sched_switch", "spans"};

static void store_fill(const struct kp_io *io, uint64_t seed, uint32_t threads, bool huge)
{
    struct kp_store_opts opts = {.io = io,
                                 .manual = true,
                                 .memory_bytes_max = 512 << 10,
                                 .wal_file_bytes = 256 << 10,
                                 .id_seed = 7};
    struct kp_store *store = NULL;
    assert_int_equal(kp_store_open(DIR, &opts, &store, NULL), KP_OK);
    struct rows_gen gen = {.seed = seed,
                           .actors = kp_store_actors(store),
                           .now = 1700000000ll * KP_SEC,
                           .cpus = 3,
                           .threads = threads,
                           .names = 10,
                           .late_every = 40};
    for (uint32_t i = 0; i <= 24; i++) {
        for (size_t s = 0; s < KP_ARRAY_LEN(streams); s++) {
            struct kp_builder builder;
            const struct kp_stream *stream = kp_stream_by_name(kp_str_from(streams[s]));
            uint32_t rows = 1 + (uint32_t)rows_below(&gen, 60);
            assert_int_equal(kp_builder_init(&builder, stream, gen.actors, rows), KP_OK);
            rows_fill(&gen, &builder, rows);
            int dur = kp_stream_stored(stream, "dur");
            struct kp_batch *batch = (struct kp_batch *)(uintptr_t)kp_builder_batch(&builder);
            for (uint32_t r = 0; dur >= 0 && r < rows && !huge; r++)
                batch->cols[dur].i64[r] %= KP_SEC;
            assert_int_equal(kp_store_append(store, batch, NULL), KP_OK);
            kp_builder_deinit(&builder);
        }
        assert_int_equal(kp_store_tick(store, i + 1, i % 4 == 3), KP_OK);
    }
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
}

static void sum_add(struct sums *sums, const struct kp_rollup_row *row)
{
    assert_true(row->actor < ACTORS_MAX && row->count > 0);
    struct kp_rollup_row *to = &sums->of[row->actor];
    to->min = to->count == 0 ? row->min : KP_MIN(to->min, row->min);
    to->max = to->count == 0 ? row->max : KP_MAX(to->max, row->max);
    to->count += row->count;
    to->sum = (int64_t)((uint64_t)to->sum + (uint64_t)row->sum);
}

static void scan_add(struct kp_snapshot *snapshot, const struct kp_stream *stream, kp_time from,
                     kp_time to, bool rolled, struct sums *sums)
{
    int dur = kp_stream_stored(stream, "dur");
    const struct kp_colref cols[] = {{.stored = KP_COL_ACTOR}, {.stored = (uint8_t)dur}};
    struct kp_scan_req req = {.stream = stream,
                              .from = from,
                              .to = to,
                              .cols = cols,
                              .cols_count = dur < 0 ? 1 : 2,
                              .no_prune = !rolled,
                              .rolled = rolled,
                              .rolled_from = from,
                              .rolled_to = to};
    struct kp_scan *scan;
    const struct kp_batch *batch;
    assert_int_equal(kp_scan_open(snapshot, &req, &scan, NULL), KP_OK);
    while (kp_scan_next(scan, &batch, NULL) == KP_OK)
        for (uint32_t i = 0; i < batch->rows; i++) {
            int64_t value = dur < 0 ? 0 : batch->cols[1].i64[i];
            struct kp_rollup_row row = {(kp_actor_id)batch->cols[0].i64[i], 1, value, value, value};
            sum_add(sums, &row);
            sums->scanned++;
        }
    kp_scan_close(scan);
}

static void rollup_add(struct kp_snapshot *snapshot, const struct kp_stream *stream, kp_time from,
                       kp_time to, struct sums *sums)
{
    struct kp_rollup *rollup;
    const struct kp_rollup_row *rows;
    uint32_t count;
    assert_int_equal(kp_rollup_open(snapshot, stream, from, to, &rollup, NULL), KP_OK);
    while (kp_rollup_next(rollup, &rows, &count, NULL) == KP_OK)
        for (uint32_t i = 0; i < count; i++) {
            sum_add(sums, &rows[i]);
            sums->rolled += (uint64_t)rows[i].count;
        }
    kp_rollup_close(rollup);
}

/* Rows answered by rollups. */
static uint64_t compare(struct kp_snapshot *snapshot, uint64_t seed, uint64_t rounds)
{
    struct sums *plain = malloc(sizeof(*plain)), *rolled = malloc(sizeof(*rolled));
    uint64_t by_rollup = 0;
    kp_time min, max;
    kp_snapshot_range(snapshot, &min, &max);
    for (uint64_t i = 0; i < rounds; i++) {
        uint64_t dice = kp_hash_mix(seed << 32 | i);
        const struct kp_stream *stream =
            kp_stream_by_name(kp_str_from(streams[dice % KP_ARRAY_LEN(streams)]));
        kp_time from = i % 4 == 0 ? KP_TIME_MIN : min + (kp_time)((dice >> 8) % 2000000);
        kp_time to = i % 4 == 1 ? KP_TIME_MAX : max - (kp_time)((dice >> 32) % 2000000);
        memset(plain, 0, sizeof(*plain));
        memset(rolled, 0, sizeof(*rolled));
        scan_add(snapshot, stream, from, to, false, plain);
        rollup_add(snapshot, stream, from, to, rolled);
        scan_add(snapshot, stream, from, to, true, rolled);
        assert_int_equal(rolled->rolled + rolled->scanned, plain->scanned);
        assert_memory_equal(plain->of, rolled->of, sizeof(plain->of));
        by_rollup += rolled->rolled;
    }
    free(plain);
    free(rolled);
    return by_rollup;
}

static void rollups_and_the_rest_are_all(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct kp_sim *sim;
        struct kp_snapshot *snapshot;
        assert_int_equal(kp_sim_open(seed, &sim), KP_OK);
        store_fill(kp_sim_io(sim), seed, 30, seed == 4);
        assert_int_equal(kp_snapshot_open(DIR, kp_sim_io(sim), &snapshot, NULL), KP_OK);
        assert_true(compare(snapshot, seed, 100) > 10000);
        kp_snapshot_close(snapshot);
        kp_sim_close(sim);
    }
}

/* Hash of the rows a key leaves, in their order; the pages read in *out_pages. */
static uint64_t keyed_rows(struct kp_snapshot *snapshot, struct kp_scan_key key, bool no_prune,
                           uint32_t *out_pages)
{
    const struct kp_colref cols[] = {{.stored = KP_COL_TS}, {.stored = KP_COL_ACTOR}};
    struct kp_scan_req req = {.stream = kp_stream_by_name(KP_STR("sched_switch")),
                              .from = KP_TIME_MIN,
                              .to = KP_TIME_MAX,
                              .cols = cols,
                              .cols_count = 2,
                              .keys = {key},
                              .keys_count = 1,
                              .no_prune = no_prune};
    struct kp_scan *scan;
    const struct kp_batch *batch;
    struct kp_scan_stat stat;
    uint64_t hash = 0;
    assert_int_equal(kp_scan_open(snapshot, &req, &scan, NULL), KP_OK);
    while (kp_scan_next(scan, &batch, NULL) == KP_OK)
        for (uint32_t i = 0; i < batch->rows; i++)
            hash = kp_hash_mix(hash + (uint64_t)batch->cols[0].i64[i] * 31 +
                               (uint64_t)batch->cols[1].i64[i]);
    kp_scan_stat(scan, &stat);
    *out_pages = stat.pages;
    kp_scan_close(scan);
    return hash;
}

/* Keys on names and processes become threads by the rollups' actors. */
static void keys_on_actors_read_only_their_pages(void **state)
{
    (void)state;
    static const char *const comms[] = {"worker-0", "worker-3", "nobody of that name", ""};
    struct kp_sim *sim;
    struct kp_snapshot *snapshot;
    uint32_t pages, all, fewer = 0, pages_absent = 0;
    assert_int_equal(kp_sim_open(5, &sim), KP_OK);
    store_fill(kp_sim_io(sim), 5, 600, false);
    assert_int_equal(kp_snapshot_open(DIR, kp_sim_io(sim), &snapshot, NULL), KP_OK);
    for (size_t i = 0; i < KP_ARRAY_LEN(comms); i++) {
        struct kp_str comm = kp_str_from(comms[i]);
        struct kp_scan_key key = {{KP_COL_ACTOR, KP_ATTR_COMM}, NULL, &comm, 1};
        uint64_t hash = keyed_rows(snapshot, key, false, &pages);
        assert_true(hash == keyed_rows(snapshot, key, true, &all));
        pages_absent = i == 2 ? pages : pages_absent;
    }
    assert_int_equal(pages_absent, 0);
    for (int64_t pid = 0; pid < 12; pid++) {
        struct kp_scan_key key = {{KP_COL_ACTOR, KP_ATTR_PID}, &pid, NULL, 1};
        uint64_t hash = keyed_rows(snapshot, key, false, &pages);
        assert_true(hash == keyed_rows(snapshot, key, true, &all));
        fewer += pages > 0 && pages < all;
    }
    assert_true(fewer > 0);
    kp_snapshot_close(snapshot);
    kp_sim_close(sim);
}

static void sums_that_do_not_fit_have_no_rollup(void **state)
{
    (void)state;
    struct kp_sim *sim;
    struct kp_snapshot *snapshot;
    struct kp_rollup *rollup;
    const struct kp_rollup_row *rows;
    uint32_t count, segments[2] = {0};
    assert_int_equal(kp_sim_open(4, &sim), KP_OK);
    store_fill(kp_sim_io(sim), 4, 30, true);
    assert_int_equal(kp_snapshot_open(DIR, kp_sim_io(sim), &snapshot, NULL), KP_OK);
    for (size_t s = 0; s < 2; s++) {
        const struct kp_stream *stream = kp_stream_by_name(kp_str_from(streams[s]));
        assert_int_equal(kp_rollup_open(snapshot, stream, KP_TIME_MIN, KP_TIME_MAX, &rollup, NULL),
                         KP_OK);
        while (kp_rollup_next(rollup, &rows, &count, NULL) == KP_OK)
            segments[s]++;
        kp_rollup_close(rollup);
    }
    assert_true(segments[0] < 6); /* syscall: durations of any size */
    assert_int_equal(segments[1], 6);
    kp_snapshot_close(snapshot);
    kp_sim_close(sim);
}

static void a_damaged_rollup_is_not_believed(void **state)
{
    (void)state;
    struct kp_sim *sim;
    struct kp_snapshot *snapshot;
    const struct kp_damage *damage;
    struct kp_io_queue *queue;
    struct kp_verify_report report;
    assert_int_equal(kp_sim_open(9, &sim), KP_OK);
    const struct kp_io *io = kp_sim_io(sim);
    store_fill(io, 9, 30, false);
    assert_int_equal(kp_verify(DIR, io, NULL, NULL, NULL, &report, NULL), KP_OK);
    assert_int_equal(io->queue_open(io, 2, &queue), KP_OK);
    assert_int_equal(kp_snapshot_open(DIR, io, &snapshot, NULL), KP_OK);
    const struct kpi_segment *segment = kpi_snapshot_segment(snapshot, 2, queue);
    size_t size;
    uint8_t *bytes = kp_sim_file(sim, snapshot->segments[2].path, &size);
    bytes[segment->footer.rollup.offset + segment->footer.rollup.size / 2] ^= 4;
    assert_true(compare(snapshot, 9, 20) > 0);
    assert_int_equal(kp_snapshot_damage(snapshot, &damage), 1);
    assert_int_equal(damage[0].rows, 0);
    assert_int_equal(damage[0].offset, segment->footer.rollup.offset);
    kp_snapshot_close(snapshot);
    io->queue_close(queue);
    assert_int_equal(kp_verify(DIR, io, NULL, NULL, NULL, &report, NULL), KP_CORRUPT);
    assert_int_equal(report.damaged, 1);
    kp_sim_close(sim);
}

/* Rows changed behind the back of a sum: verify compares with what it sums up itself. */
static void a_rollup_that_lies_is_named(void **state)
{
    (void)state;
    struct rows_gen gen = {.seed = 3, .now = KP_SEC, .cpus = 2, .threads = 9, .names = 3};
    assert_int_equal(kp_actors_init(&gen.actors), KP_OK);
    struct kpi_rollup_builder builder = {0};
    struct kp_builder rows;
    struct kp_buf section = {0};
    struct kp_arena arena = {0};
    struct kpi_rollup rollup;
    assert_int_equal(
        kp_builder_init(&rows, kp_stream_by_name(KP_STR("sched_switch")), gen.actors, 100), KP_OK);
    rows_fill(&gen, &rows, 100);
    assert_int_equal(kpi_rollup_add(&builder, kp_builder_batch(&rows)), KP_OK);
    assert_int_equal(kpi_rollup_encode(&builder, &section), KP_OK);
    assert_int_equal(kpi_rollup_parse(section.data, section.size, &arena, &rollup), KP_OK);
    assert_true(kpi_rollup_agrees(&builder, &rollup));
    rollup.rows[kp_stream_by_name(KP_STR("sched_switch"))->number][1].count++;
    assert_false(kpi_rollup_agrees(&builder, &rollup));
    for (size_t cut = 0; cut < section.size; cut++)
        assert_int_equal(kpi_rollup_parse(section.data, cut, &arena, &rollup), KP_CORRUPT);
    kp_arena_deinit(&arena);
    kp_buf_deinit(&section);
    kp_builder_deinit(&rows);
    kpi_rollup_builder_deinit(&builder);
    kp_actors_deinit(gen.actors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rollups_and_the_rest_are_all),
        cmocka_unit_test(keys_on_actors_read_only_their_pages),
        cmocka_unit_test(sums_that_do_not_fit_have_no_rollup),
        cmocka_unit_test(a_damaged_rollup_is_not_believed),
        cmocka_unit_test(a_rollup_that_lies_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
