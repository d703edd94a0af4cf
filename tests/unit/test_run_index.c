/* SPDX-License-Identifier: Apache-2.0
 *
 * The merged index of transactions and traces: it says what the segments say, also with segments
 * gone, and when it is damaged or missing nobody believes it. Crashes: fault/test_run_crash.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "spans.h"
#include "storage/io_sim.h"
#include "storage/manifest.h"
#include "storage/run_file.h"
#include "storage/run_find.h"

#define DIR "/store"

struct bench {
    struct kp_sim *sim;
    const struct kp_io *io;
    struct kp_store_opts opts;
    struct kp_store *store;
    int64_t now;
};

static void bench_open(struct bench *b)
{
    struct kp_error err = {0};
    if (kp_store_open(DIR, &b->opts, &b->store, &err) != KP_OK)
        fail_msg("%s", err.text);
    b->now += 20 * KP_SEC;
    assert_int_equal(kp_store_tick(b->store, b->now, false), KP_OK);
}

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));
    assert_int_equal(kp_sim_open(5, &b->sim), KP_OK);
    b->io = kp_sim_io(b->sim);
    b->opts = (struct kp_store_opts){.io = b->io,
                                     .manual = true,
                                     .memory_bytes_max = 128 << 10,
                                     .wal_file_bytes = 64 << 10,
                                     .id_seed = 7};
    b->now = 1;
    bench_open(b);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    if (b->store != NULL)
        assert_int_equal(kp_store_close(b->store, NULL), KP_OK);
    kp_sim_close(b->sim);
    free(b);
    return 0;
}

static void segments_make(struct bench *b, uint32_t count, uint32_t rows)
{
    for (uint32_t i = 0; i < count; i++) {
        b->now += 20 * KP_SEC;
        assert_int_equal(spans_append(b->store, rows, NULL), KP_OK);
        assert_int_equal(kp_store_tick(b->store, b->now, true), KP_OK);
    }
}

static void reopen(struct bench *b)
{
    assert_int_equal(kp_store_close(b->store, NULL), KP_OK);
    bench_open(b);
}

static struct kpi_manifest manifest_of(const struct bench *b)
{
    struct kpi_manifest manifest;
    assert_int_equal(kpi_manifest_read(b->io, DIR, &manifest, NULL, NULL, NULL), KP_OK);
    return manifest;
}

struct told {
    uint32_t damages;
    char what[200];
};

static void on_damage(void *ctx, const struct kp_damage *damage)
{
    struct told *told = ctx;
    told->damages++;
    snprintf(told->what, sizeof(told->what), "%s", damage->what);
}

static struct told verify(const struct bench *b)
{
    struct told told = {0};
    struct kp_verify_report report;
    kp_status status = kp_verify(DIR, b->io, on_damage, NULL, &told, &report, NULL);
    assert_int_equal(status, told.damages == 0 ? KP_OK : KP_CORRUPT);
    return told;
}

/* Every lookup as a plain scan answers it; how many places were told as damaged. */
static uint32_t lookups(const struct bench *b, uint32_t *out_rows)
{
    struct kp_snapshot *snapshot;
    const struct kp_damage *damage;
    assert_int_equal(kp_snapshot_open(DIR, b->io, &snapshot, NULL), KP_OK);
    assert_true(spans_lookups_agree(snapshot, out_rows));
    uint32_t told = kp_snapshot_damage(snapshot, &damage);
    for (uint32_t i = 0; i < told; i++)
        assert_int_equal(damage[i].rows, 0);
    kp_snapshot_close(snapshot);
    return told;
}

/* Levels fall from the oldest run to the youngest, and every segment has its run. */
static void assert_tiers(const struct bench *b, uint32_t segments)
{
    struct kpi_manifest m = manifest_of(b);
    uint64_t covered = 0, before = UINT64_MAX;
    for (uint32_t i = 0; i < m.runs_count; i++) {
        uint64_t level = m.runs[i].segments <= 16 ? 1 : m.runs[i].segments <= 256 ? 2 : 3;
        assert_true(level < before);
        before = level;
        covered += m.runs[i].segments;
    }
    assert_int_equal(m.count, segments);
    assert_int_equal(covered, segments);
    kpi_manifest_deinit(&m);
}

static void runs_follow_the_segments(void **state)
{
    struct bench *b = *state;
    uint32_t rows, made = 0;
    for (uint32_t i = 0; i < 40; i++) {
        segments_make(b, 1, 30);
        assert_tiers(b, ++made);
    }
    assert_int_equal(lookups(b, &rows), 0);
    assert_int_equal(rows, 40 * 30 + 40 * 30 * 4 / 5);
    assert_int_equal(verify(b).damages, 0);
    struct kpi_manifest m = manifest_of(b);
    assert_int_equal(m.runs_count, 2);
    kpi_manifest_deinit(&m);
}

/* The places of a value are exactly the blocks that hold it. */
static void places_are_exact(void **state)
{
    struct bench *b = *state;
    segments_make(b, 20, 3);
    struct kp_snapshot *snapshot;
    struct kp_io_queue *queue;
    struct kp_arena arena = {0};
    assert_int_equal(b->io->queue_open(b->io, 2, &queue), KP_OK);
    assert_int_equal(kp_snapshot_open(DIR, b->io, &snapshot, NULL), KP_OK);
    uint32_t trace = (uint32_t)kp_stream_stored(kp_stream_by_number(KP_S_SPANS), "trace_id");
    uint32_t found = 0;
    for (uint64_t n = 0; n < SPANS_TXNS; n++) {
        char text[48];
        struct kp_str value = spans_trace(n, text);
        struct kpi_run_places *places;
        assert_int_equal(
            kpi_runs_find(snapshot, queue, KP_S_SPANS, trace, &value, 1, &arena, &places), KP_OK);
        for (uint32_t s = 0; s < snapshot->segments_count; s++) {
            bool marks[8] = {false};
            const struct kpi_segment *segment = kpi_snapshot_segment(snapshot, s, queue);
            assert_int_equal(kpi_exact_find(segment, queue, KP_S_SPANS, trace, value, marks),
                             KP_OK);
            bool present = places->segments[s] == KPI_RUN_PRESENT;
            assert_int_equal(marks[0], present);
            found += present;
        }
        for (uint32_t i = 0; i < places->count; i++)
            assert_int_equal(places->segments[places->places[i].segment], KPI_RUN_PRESENT);
    }
    assert_true(found > 20);
    kp_arena_deinit(&arena);
    kp_snapshot_close(snapshot);
    b->io->queue_close(queue);
}

static void count_file(void *ctx, const char *name)
{
    (void)name;
    ++*(uint32_t *)ctx;
}

static void retention_takes_runs_along(void **state)
{
    struct bench *b = *state;
    uint32_t rows, files = 0;
    segments_make(b, 20, 30);
    b->opts.retention_age = 1500; /* five segments of 30 rows, 10 ns each */
    reopen(b);
    struct kpi_manifest m = manifest_of(b);
    assert_true(m.count < 8);
    assert_true(m.runs_count == 1 || m.runs_count == 2);
    uint64_t oldest = m.runs[0].last;
    assert_int_equal(lookups(b, &rows), 0);
    assert_int_equal(verify(b).damages, 0);
    kpi_manifest_deinit(&m);
    segments_make(b, 40, 30); /* the runs that only named what is gone are gone */
    m = manifest_of(b);
    assert_true(m.count < 8 && m.runs[0].first > oldest - 16);
    assert_int_equal(b->io->list(b->io, DIR "/txn", count_file, &files), 0);
    assert_int_equal(files, m.runs_count);
    assert_int_equal(lookups(b, &rows), 0);
    assert_int_equal(verify(b).damages, 0);
    kpi_manifest_deinit(&m);
}

static uint8_t *run_bytes(const struct bench *b, size_t *size)
{
    struct kpi_manifest m = manifest_of(b);
    struct kp_buf path = {0};
    kpi_runfile_path(DIR, m.runs[0].id, &path);
    uint8_t *bytes = kp_sim_file(b->sim, kp_buf_cstr(&path), size);
    kp_buf_deinit(&path);
    kpi_manifest_deinit(&m);
    return bytes;
}

/* Whatever byte is wrong: lookups are right, the damage is told, the next writer makes it anew. */
static void a_damaged_run_is_not_believed(void **state)
{
    struct bench *b = *state;
    size_t size;
    segments_make(b, 3, 40);
    assert_non_null(run_bytes(b, &size));
    for (size_t at = 0; at < size; at += 97) {
        uint32_t rows, told;
        run_bytes(b, &size)[at] ^= 0x10;
        told = lookups(b, &rows);
        assert_int_equal(rows, 120 + 96);
        assert_int_equal(told, 1);
        assert_int_equal(verify(b).damages, 1);
        reopen(b);
        assert_int_equal(lookups(b, &rows), 0);
        assert_int_equal(verify(b).damages, 0);
    }
}

static uint8_t *segment_bytes(const struct bench *b, struct kpi_segment *out)
{
    struct kpi_manifest m = manifest_of(b);
    struct kp_buf path = {0};
    struct kp_io_queue *queue;
    size_t size;
    kpi_segment_path(DIR, m.segments[0].id, &path);
    assert_int_equal(b->io->queue_open(b->io, 2, &queue), KP_OK);
    assert_int_equal(
        kpi_segment_open(b->io, queue, kp_buf_cstr(&path), m.segments[0].id, out, NULL), KP_OK);
    uint8_t *bytes = kp_sim_file(b->sim, kp_buf_cstr(&path), &size);
    b->io->queue_close(queue);
    kp_buf_deinit(&path);
    kpi_manifest_deinit(&m);
    return bytes;
}

/* Without the run the segment's own lists are asked; where they are wrong, all its pages. */
static void a_damaged_list_is_not_believed(void **state)
{
    struct bench *b = *state;
    struct kpi_segment segment;
    struct kp_buf path = {0};
    uint32_t rows;
    segments_make(b, 1, 40);
    struct kpi_manifest m = manifest_of(b);
    kpi_runfile_path(DIR, m.runs[0].id, &path);
    assert_int_equal(b->io->unlink(b->io, kp_buf_cstr(&path)), 0);
    uint8_t *bytes = segment_bytes(b, &segment);
    assert_int_equal(lookups(b, &rows), 1);
    for (uint32_t i = 0; i < segment.footer.exact_count; i++)
        for (uint32_t at = 0; at < segment.footer.exact[i].size; at += 41) {
            uint64_t place = segment.footer.exact[i].offset + at;
            bytes[place] ^= 0x10;
            assert_int_equal(lookups(b, &rows), 2);
            assert_int_equal(rows, 40 + 32);
            assert_true(verify(b).damages >= 2);
            bytes[place] ^= 0x10;
        }
    kpi_segment_close(&segment);
    kp_buf_deinit(&path);
    kpi_manifest_deinit(&m);
}

static uint64_t thread_rows(const struct bench *b, uint32_t *out_told)
{
    struct kp_snapshot *snapshot;
    struct kp_scan *scan;
    const struct kp_batch *batch;
    const struct kp_damage *damage;
    uint64_t rows = 0;
    struct kp_colref col = {.stored = KP_COL_TS};
    struct kp_scan_req req = {
        .stream = kp_stream_by_number(KP_S_SPANS),
        .from = KP_TIME_MIN,
        .to = KP_TIME_MAX,
        .cols = &col,
        .cols_count = 1,
        .keys = {{.column = {KP_COL_ACTOR, KP_ATTR_TID}, .numbers = &(int64_t){7}, .count = 1}},
        .keys_count = 1};
    assert_int_equal(kp_snapshot_open(DIR, b->io, &snapshot, NULL), KP_OK);
    assert_int_equal(kp_scan_open(snapshot, &req, &scan, NULL), KP_OK);
    while (kp_scan_next(scan, &batch, NULL) == KP_OK)
        rows += kp_batch_count(batch);
    kp_scan_close(scan);
    *out_told = kp_snapshot_damage(snapshot, &damage);
    kp_snapshot_close(snapshot);
    return rows;
}

static void damaged_threads_are_not_believed(void **state)
{
    struct bench *b = *state;
    struct kpi_segment segment;
    uint32_t told;
    segments_make(b, 1, 40);
    uint8_t *bytes = segment_bytes(b, &segment);
    uint64_t rows = thread_rows(b, &told);
    assert_int_equal(told, 0);
    assert_true(rows > 0);
    for (uint32_t at = 0; at < segment.footer.sets.size; at++) {
        bytes[segment.footer.sets.offset + at] ^= 0x10;
        assert_int_equal(thread_rows(b, &told), rows);
        assert_int_equal(told, 1);
        assert_int_equal(verify(b).damages, 1);
        bytes[segment.footer.sets.offset + at] ^= 0x10;
    }
    kpi_segment_close(&segment);
}

static void a_missing_run_is_made_again(void **state)
{
    struct bench *b = *state;
    struct kp_buf path = {0};
    uint32_t rows;
    segments_make(b, 18, 10);
    struct kpi_manifest m = manifest_of(b);
    kpi_runfile_path(DIR, m.runs[0].id, &path);
    assert_int_equal(b->io->unlink(b->io, kp_buf_cstr(&path)), 0);
    kpi_manifest_deinit(&m);
    assert_int_equal(lookups(b, &rows), 1);
    assert_int_equal(verify(b).damages, 1);
    reopen(b);
    assert_int_equal(lookups(b, &rows), 0);
    assert_int_equal(verify(b).damages, 0);
    m = manifest_of(b);
    assert_true(m.runs_count >= 1);
    kpi_manifest_deinit(&m);
    kp_buf_deinit(&path);
}

/* A run whose every sum holds but that lacks an entry: only a comparison with the rows tells. */
static void verify_names_a_run_that_lies(void **state)
{
    struct bench *b = *state;
    segments_make(b, 1, 40);
    struct kpi_manifest m = manifest_of(b);
    struct kp_io_queue *queue;
    struct kpi_manifest_log *log;
    struct kpi_run_writer *writer;
    const uint64_t table[1][2] = {{m.segments[0].id, m.segments[0].footer_hash.lo}};
    struct kpi_run_meta lie = {
        .id = 900, .first = m.segments[0].id, .last = m.segments[0].id, .segments = 1};
    assert_int_equal(kp_store_close(b->store, NULL), KP_OK);
    b->store = NULL;
    assert_int_equal(b->io->queue_open(b->io, 4, &queue), KP_OK);
    assert_int_equal(kpi_runfile_create(b->io, queue, DIR, 900, table, 1, &writer), KP_OK);
    assert_int_equal(kpi_runfile_add(writer, &(struct kpi_run_entry){.key = 5}), KP_OK);
    assert_int_equal(kpi_runfile_finish(writer, &lie), KP_OK);
    assert_int_equal(kpi_manifest_open(b->io, queue, DIR, &m, &log, NULL), KP_OK);
    assert_int_equal(kpi_manifest_run(log, queue, &lie, NULL), KP_OK);
    kpi_manifest_close(log);
    b->io->queue_close(queue);
    kpi_manifest_deinit(&m);
    struct told told = verify(b);
    assert_int_equal(told.damages, 1);
    assert_non_null(strstr(told.what, "disagrees"));
}

/* Keys of all widths, pages full to the last bit, keys that repeat over pages. */
static void run_files_hold_what_they_are_given(void **state)
{
    struct bench *b = *state;
    enum { ENTRIES = 5000 };
    static struct kpi_run_entry entries[ENTRIES];
    const uint64_t table[3][2] = {{1, 11}, {2, 22}, {3, 33}};
    struct kp_io_queue *queue;
    assert_int_equal(b->io->queue_open(b->io, 4, &queue), KP_OK);
    for (uint64_t round = 0; round < 12; round++) {
        struct kpi_run_writer *writer;
        struct kpi_run_meta meta = {.id = 700 + round};
        struct kp_buf path = {0};
        struct kpi_run run;
        uint64_t key = 0;
        assert_int_equal(kpi_runfile_create(b->io, queue, DIR, meta.id, table, 3, &writer), KP_OK);
        for (uint32_t i = 0; i < ENTRIES; i++) {
            uint64_t dice = kp_hash_mix(round << 32 | i);
            key += dice % 7 == 0 ? 0 : dice >> (62 - 2 * round) & ((1ull << 27) - 1);
            entries[i] = (struct kpi_run_entry){key, dice % 3, (uint32_t)(dice >> (20 + round))};
            assert_int_equal(kpi_runfile_add(writer, &entries[i]), KP_OK);
        }
        assert_int_equal(kpi_runfile_finish(writer, &meta), KP_OK);
        kpi_runfile_path(DIR, meta.id, &path);
        assert_int_equal(kpi_runfile_open(b->io, queue, kp_buf_cstr(&path), &meta, &run), KP_OK);
        assert_int_equal(kpi_runfile_check(&run, queue), KP_OK);
        uint32_t at = 0;
        for (uint32_t p = 0; p < run.pages; p++) {
            struct kpi_run_page page;
            assert_int_equal(kpi_runfile_page_read(&run, queue, p, &page), KP_OK);
            for (uint32_t i = 0; i < page.count; i++, at++) {
                struct kpi_run_entry entry = kpi_run_page_entry(&page, i);
                assert_memory_equal(&entry, &entries[at], sizeof(entry));
            }
        }
        assert_int_equal(at, ENTRIES);
        kpi_runfile_close(&run);
        assert_int_equal(b->io->unlink(b->io, kp_buf_cstr(&path)), 0);
        kp_buf_deinit(&path);
    }
    b->io->queue_close(queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(runs_follow_the_segments, setup, teardown),
        cmocka_unit_test_setup_teardown(places_are_exact, setup, teardown),
        cmocka_unit_test_setup_teardown(retention_takes_runs_along, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_run_is_not_believed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_list_is_not_believed, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_threads_are_not_believed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_missing_run_is_made_again, setup, teardown),
        cmocka_unit_test_setup_teardown(verify_names_a_run_that_lies, setup, teardown),
        cmocka_unit_test_setup_teardown(run_files_hold_what_they_are_given, setup, teardown),
    };
    kp_log_level_set(KP_LOG_ERROR); /* a run that is made again is told of each time */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
