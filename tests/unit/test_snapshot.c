/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshots of a real directory: what was committed is seen whole, by a reader beside a writer too,
 * and stays as it was while the writer goes on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "folder.h"
#include "rows.h"
#include "storage/io.h"
#include "storage/storage.h"

struct fixture {
    char dir[FOLDER_PATH];
    struct kp_store *store;
    struct rows_gen gen;
    uint64_t rows;
};

/* The plain backend: the thread sanitizer does not see what a ring orders. */
static struct kp_store_opts small = {.manual = true,
                                     .segment_bytes_max = 256 * 1024,
                                     .wal_file_bytes = 256 * 1024,
                                     .wal_bytes_max = 8 << 20};

static int setup(void **state)
{
    struct fixture *fix = calloc(1, sizeof(*fix));
    folder_make("snap", fix->dir);
    struct kp_error err = {0};
    small.io = kp_io_threads();
    if (kp_store_open(fix->dir, &small, &fix->store, &err) != KP_OK)
        fail_msg("%s", err.text);
    fix->gen = (struct rows_gen){.seed = 9,
                                 .actors = kp_store_actors(fix->store),
                                 .now = 1700000000ll * KP_SEC,
                                 .cpus = 2,
                                 .threads = 30,
                                 .names = 20,
                                 .late_every = 200};
    *state = fix;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fix = *state;
    if (fix->store != NULL)
        assert_int_equal(kp_store_close(fix->store, NULL), KP_OK);
    assert_int_equal(folder_remove(fix->dir), 0);
    free(fix);
    return 0;
}

static void append(struct fixture *fix, const char *stream, uint32_t rows)
{
    struct kp_builder builder;
    assert_int_equal(
        kp_builder_init(&builder, kp_stream_by_name(kp_str_from(stream)), fix->gen.actors, rows),
        KP_OK);
    rows_fill(&fix->gen, &builder, rows);
    kp_status status;
    while ((status = kp_store_append(fix->store, kp_builder_batch(&builder), NULL)) == KP_LIMIT)
        assert_int_equal(kp_store_tick(fix->store, kp_time_monotonic(), true), KP_OK);
    assert_int_equal(status, KP_OK);
    kp_builder_deinit(&builder);
    fix->rows += rows;
}

/* Rows of every stream by scanning; strictly ascending times on the way. */
static uint64_t count_rows(struct kp_snapshot *snapshot)
{
    static const struct kp_colref ts = {KP_COL_TS, KP_ATTR_SELF};
    uint64_t rows = 0;
    uint32_t count;
    const struct kp_stream *streams = kp_streams(&count);
    for (uint32_t s = 0; s < count; s++) {
        struct kp_scan_req req = {.stream = &streams[s],
                                  .from = KP_TIME_MIN,
                                  .to = KP_TIME_MAX,
                                  .cols = &ts,
                                  .cols_count = 1};
        struct kp_scan *scan;
        const struct kp_batch *batch;
        kp_time before = KP_TIME_MIN;
        assert_int_equal(kp_scan_open(snapshot, &req, &scan, NULL), KP_OK);
        uint64_t of_stream = 0;
        while (kp_scan_next(scan, &batch, NULL) == KP_OK)
            for (uint32_t i = 0; i < batch->rows; i++, of_stream++) {
                assert_true(before <= batch->cols[0].i64[i]);
                before = batch->cols[0].i64[i];
            }
        kp_scan_close(scan);
        assert_int_equal(of_stream, kp_snapshot_rows(snapshot, &streams[s]));
        rows += of_stream;
    }
    return rows;
}

static uint64_t rows_on_disk(const struct fixture *fix)
{
    struct kp_snapshot *snapshot;
    struct kp_error err = {0};
    const struct kp_damage *damage;
    if (kp_snapshot_open(fix->dir, small.io, &snapshot, &err) != KP_OK)
        fail_msg("%s", err.text);
    uint64_t rows = count_rows(snapshot);
    assert_int_equal(kp_snapshot_damage(snapshot, &damage), 0);
    kp_snapshot_close(snapshot);
    return rows;
}

static void an_empty_store_is_empty(void **state)
{
    struct fixture *fix = *state;
    struct kp_snapshot *snapshot;
    kp_time min, max;
    assert_int_equal(kp_store_snapshot(fix->store, &snapshot, NULL), KP_OK);
    kp_snapshot_range(snapshot, &min, &max);
    assert_true(min > max);
    assert_int_equal(count_rows(snapshot), 0);
    kp_snapshot_close(snapshot);
}

static void a_directory_that_is_no_store_is_refused(void **state)
{
    (void)state;
    struct kp_snapshot *snapshot;
    struct kp_error err = {0};
    assert_int_equal(kp_snapshot_open("/tmp/kprobe-nowhere", NULL, &snapshot, &err), KP_NOT_FOUND);
    assert_true(strlen(err.text) > 0);
}

static void what_was_committed_is_seen_and_stays(void **state)
{
    struct fixture *fix = *state;
    struct kp_snapshot *early, *late;
    append(fix, "sched_switch", 3000);
    append(fix, "spans", 10);
    assert_int_equal(kp_store_tick(fix->store, kp_time_monotonic(), true), KP_OK);
    assert_int_equal(kp_store_snapshot(fix->store, &early, NULL), KP_OK);
    for (int i = 0; i < 30; i++) {
        append(fix, "sched_switch", 4000);
        append(fix, "syscall", 1000);
        append(fix, "spans", 50);
    }
    assert_int_equal(kp_store_tick(fix->store, kp_time_monotonic(), true), KP_OK);
    struct kp_store_stat stat;
    kp_store_stat(fix->store, &stat);
    assert_true(stat.segments >= 1);
    assert_int_equal(kp_store_snapshot(fix->store, &late, NULL), KP_OK);
    assert_int_equal(count_rows(early), 3010);
    assert_int_equal(count_rows(late), fix->rows);
    assert_true(kp_snapshot_as_of(early) < kp_snapshot_as_of(late));
    kp_snapshot_close(early);
    kp_snapshot_close(late);
    assert_int_equal(rows_on_disk(fix), fix->rows);
}

static void a_restart_changes_nothing(void **state)
{
    struct fixture *fix = *state;
    struct kp_error err = {0};
    for (int i = 0; i < 12; i++)
        append(fix, "sched_waking", 3000);
    assert_int_equal(kp_store_close(fix->store, &err), KP_OK);
    fix->store = NULL;
    assert_int_equal(rows_on_disk(fix), fix->rows);
    if (kp_store_open(fix->dir, &small, &fix->store, &err) != KP_OK)
        fail_msg("%s", err.text);
    fix->gen.actors = kp_store_actors(fix->store);
    append(fix, "sched_waking", 100);
    assert_int_equal(kp_store_tick(fix->store, kp_time_monotonic(), true), KP_OK);
    assert_int_equal(rows_on_disk(fix), fix->rows);
}

/* ---------- a reader beside a writer ---------- */

struct reader {
    struct fixture *fix;
    _Atomic bool stop;
    _Atomic uint64_t committed; /* rows that must be seen */
    uint64_t opened;
    bool failed;
};

static uint64_t quick_rows(struct kp_snapshot *snapshot)
{
    uint64_t rows = 0;
    uint32_t count;
    const struct kp_stream *streams = kp_streams(&count);
    for (uint32_t s = 0; s < count; s++)
        rows += kp_snapshot_rows(snapshot, &streams[s]);
    return rows;
}

static void *reader_main(void *ctx)
{
    struct reader *reader = ctx;
    while (!reader->stop) {
        uint64_t committed = reader->committed;
        struct kp_snapshot *snapshot;
        const struct kp_damage *damage;
        if (kp_snapshot_open(reader->fix->dir, small.io, &snapshot, NULL) != KP_OK) {
            reader->failed = true;
            break;
        }
        if (quick_rows(snapshot) < committed || kp_snapshot_damage(snapshot, &damage) != 0)
            reader->failed = true;
        kp_snapshot_close(snapshot);
        reader->opened++;
    }
    return NULL;
}

static void readers_see_all_that_was_committed(void **state)
{
    struct fixture *fix = *state;
    struct reader reader = {.fix = fix};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, reader_main, &reader), 0);
    for (int i = 0; i < 120; i++) {
        append(fix, "sched_switch", 2000);
        assert_int_equal(kp_store_tick(fix->store, kp_time_monotonic(), true), KP_OK);
        reader.committed = fix->rows;
    }
    reader.stop = true;
    pthread_join(thread, NULL);
    assert_false(reader.failed);
    assert_true(reader.opened > 0);
    assert_int_equal(rows_on_disk(fix), fix->rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_empty_store_is_empty, setup, teardown),
        cmocka_unit_test(a_directory_that_is_no_store_is_refused),
        cmocka_unit_test_setup_teardown(what_was_committed_is_seen_and_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(a_restart_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(readers_see_all_that_was_committed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
