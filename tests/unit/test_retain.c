/* SPDX-License-Identifier: Apache-2.0
 *
 * Retention and legal hold as a user of the store sees them. Crashes: fault/test_retention.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "seen.h"
#include "storage/io_sim.h"
#include "storage/manifest.h"

#define DIR "/store"

struct bench {
    struct kp_sim *sim;
    const struct kp_io *io;
    struct kp_store_opts opts;
    struct kp_store *store;
    struct feed feed;
    int64_t now;
};

static void bench_open(struct bench *b)
{
    struct kp_error err = {0};
    if (kp_store_open(DIR, &b->opts, &b->store, &err) != KP_OK)
        fail_msg("%s", err.text);
    feed_init(&b->feed, b->store);
}

static void bench_close(struct bench *b)
{
    feed_deinit(&b->feed);
    assert_int_equal(kp_store_close(b->store, NULL), KP_OK);
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
    bench_close(b);
    kp_sim_close(b->sim);
    free(b);
    return 0;
}

/* One segment of 100 rows: event numbers (n-1)*100+1 .. n*100, time ten times that. */
static void segment_make(struct bench *b)
{
    uint64_t first, ticket;
    b->now += 20 * KP_SEC;
    assert_int_equal(feed_append(&b->feed, 100, &first, &ticket), KP_OK);
    assert_int_equal(kp_store_tick(b->store, b->now, true), KP_OK);
}

static void reopen(struct bench *b)
{
    bench_close(b);
    bench_open(b);
    b->now += 20 * KP_SEC;
    assert_int_equal(kp_store_tick(b->store, b->now, false), KP_OK);
}

static struct seen see(const struct bench *b)
{
    struct seen seen;
    assert_int_equal(seen_read(b->io, DIR, &seen), KP_OK);
    assert_int_equal(seen.wrong + seen.damaged, 0);
    return seen;
}

/* The first and last event numbers that are there, and how many. */
static void assert_rows(const struct bench *b, uint64_t first, uint64_t last, uint32_t count)
{
    struct seen seen = see(b);
    assert_int_equal(seen.count, count);
    assert_int_equal(seen.seqs[0], first);
    assert_int_equal(seen.seqs[seen.count - 1], last);
    seen_deinit(&seen);
}

static uint16_t super_version(const struct bench *b)
{
    struct kpi_super super[2];
    size_t size;
    const uint8_t *bytes = kp_sim_file(b->sim, DIR "/super", &size);
    memcpy(&super[0], bytes, sizeof(super[0]));
    memcpy(&super[1], bytes + KPI_SUPER_SPACING, sizeof(super[1]));
    return super[super[1].generation > super[0].generation].version;
}

static void nothing_is_dropped_unless_asked(void **state)
{
    struct bench *b = *state;
    for (int i = 0; i < 5; i++)
        segment_make(b);
    assert_rows(b, 1, 500, 500);
    assert_int_equal(super_version(b), 1); /* programs before retention read it */
}

static void the_oldest_go_by_age(void **state)
{
    struct bench *b = *state;
    struct kp_store_stat stat;
    for (int i = 0; i < 5; i++)
        segment_make(b);
    b->opts.retention_age = 2500; /* rows of 250 numbers and more before the newest */
    reopen(b);
    assert_rows(b, 201, 500, 300);
    kp_store_stat(b->store, &stat);
    assert_int_equal(stat.dropped_segments, 2);
    assert_int_equal(stat.dropped_rows, 200);
    assert_int_equal(stat.segments, 3);
    assert_int_equal(super_version(b), 2);
}

static void the_oldest_go_by_size(void **state)
{
    struct bench *b = *state;
    struct kp_store_stat stat;
    for (int i = 0; i < 5; i++)
        segment_make(b);
    kp_store_stat(b->store, &stat);
    b->opts.retention_bytes = stat.segments_bytes * 2 / 5;
    reopen(b);
    kp_store_stat(b->store, &stat);
    assert_true(stat.segments_bytes <= b->opts.retention_bytes);
    assert_true(stat.segments > 0 && stat.segments < 5);
    b->opts.retention_bytes = 1; /* the newest stays, whatever its size */
    reopen(b);
    assert_rows(b, 401, 500, 100);
}

static void numbers_are_not_used_again(void **state)
{
    struct bench *b = *state;
    segment_make(b);
    b->opts.retention_age = 10;
    segment_make(b);
    reopen(b);
    assert_rows(b, 101, 200, 100);
    assert_int_equal(kp_store_seq(b->store, 0), 201);
    struct kpi_manifest manifest;
    assert_int_equal(kpi_manifest_read(b->io, DIR, &manifest, NULL, NULL, NULL), KP_OK);
    assert_int_equal(manifest.drops_count, 1);
    assert_int_equal(manifest.drops[0].id_first, 1);
    assert_int_equal(manifest.drops[0].rows, 100);
    assert_int_equal(manifest.segments[0].id, 2);
    kpi_manifest_deinit(&manifest);
    b->opts.retention_age = 0;
    reopen(b);
    segment_make(b);
    assert_rows(b, 101, 300, 200);
}

static void what_is_held_stays(void **state)
{
    struct bench *b = *state;
    struct kp_store_stat stat;
    uint64_t id = 0;
    for (int i = 0; i < 5; i++)
        segment_make(b);
    /* a range that touches the second segment only */
    assert_int_equal(kp_store_hold_add(b->store, 1500, 1510, KP_STR("case 4711"), &id, NULL),
                     KP_OK);
    assert_int_equal(id, 1);
    b->opts.retention_age = 500;
    reopen(b);
    struct seen seen = see(b);
    assert_int_equal(seen.count, 200);
    assert_int_equal(seen.seqs[0], 101);
    assert_int_equal(seen.seqs[100], 401);
    seen_deinit(&seen);
    kp_store_stat(b->store, &stat);
    assert_true(stat.retention_blocked);
    assert_int_equal(stat.holds, 1);
    assert_int_equal(kp_store_hold_release(b->store, 2, NULL), KP_NOT_FOUND);
    assert_int_equal(kp_store_hold_release(b->store, 1, NULL), KP_OK);
    assert_int_equal(kp_store_hold_release(b->store, 1, NULL), KP_NOT_FOUND);
    assert_int_equal(kp_store_tick(b->store, b->now, false), KP_OK);
    assert_rows(b, 401, 500, 100);
    kp_store_stat(b->store, &stat);
    assert_false(stat.retention_blocked);
    assert_int_equal(kp_store_hold_add(b->store, 1, 2, KP_STR("again"), &id, NULL), KP_OK);
    assert_int_equal(id, 2);
}

static void wrong_holds_are_refused(void **state)
{
    struct bench *b = *state;
    uint64_t id = 99;
    char text[KP_HOLD_REASON_MAX];
    memset(text, 'x', sizeof(text));
    struct kp_str empty = {"", 0}, huge = {text, sizeof(text)};
    assert_int_equal(kp_store_hold_add(b->store, 2, 1, KP_STR("r"), &id, NULL), KP_INVALID);
    assert_int_equal(kp_store_hold_add(b->store, 1, 2, empty, &id, NULL), KP_INVALID);
    assert_int_equal(kp_store_hold_add(b->store, 1, 2, huge, &id, NULL), KP_INVALID);
    assert_int_equal(kp_store_hold_add(b->store, 1, 2, KP_STR("a\nb"), &id, NULL), KP_INVALID);
    assert_int_equal(id, 99);
}

static void hold_count(void *ctx, const struct kp_hold *hold)
{
    ((struct kp_hold *)ctx)[hold->id] = *hold;
}

static void holds_are_listed_for_ever(void **state)
{
    struct bench *b = *state;
    struct kp_hold holds[3] = {0};
    uint64_t id;
    assert_int_equal(kp_store_hold_add(b->store, 10, 20, KP_STR("one"), &id, NULL), KP_OK);
    assert_int_equal(kp_store_hold_add(b->store, 30, 40, KP_STR("two"), &id, NULL), KP_OK);
    assert_int_equal(kp_store_hold_release(b->store, 1, NULL), KP_OK);
    reopen(b);
    assert_int_equal(kp_holds_read(DIR, b->io, hold_count, holds, NULL), KP_OK);
    assert_true(holds[1].released >= holds[1].added && holds[1].added > 0);
    assert_string_equal(holds[1].reason, "one");
    assert_int_equal(holds[2].released, 0);
    assert_int_equal(holds[2].from, 30);
    assert_int_equal(holds[2].to, 40);
}

static uint64_t scan_count(struct kp_snapshot *snapshot, kp_status *out_status)
{
    struct kp_colref col = {.stored = KP_COL_SEQ};
    struct kp_scan_req req = {.stream = kp_stream_by_number(KP_S_SYSCALL),
                              .from = KP_TIME_MIN,
                              .to = KP_TIME_MAX,
                              .cols = &col,
                              .cols_count = 1};
    struct kp_scan *scan = NULL;
    const struct kp_batch *batch;
    uint64_t rows = 0;
    kp_status status = kp_scan_open(snapshot, &req, &scan, NULL);
    while (status == KP_OK && (status = kp_scan_next(scan, &batch, NULL)) == KP_OK)
        rows += kp_batch_count(batch);
    kp_scan_close(scan);
    *out_status = status;
    return rows;
}

static void readers_keep_what_they_opened_or_are_told(void **state)
{
    struct bench *b = *state;
    struct kp_snapshot *warm = NULL, *cold = NULL;
    const struct kp_damage *damage;
    kp_status status;
    for (int i = 0; i < 4; i++)
        segment_make(b);
    assert_int_equal(kp_store_snapshot(b->store, &warm, NULL), KP_OK);
    assert_int_equal(kp_store_snapshot(b->store, &cold, NULL), KP_OK);
    assert_int_equal(scan_count(warm, &status), 400);
    b->opts.retention_age = 500;
    reopen(b);
    assert_rows(b, 301, 400, 100);
    assert_int_equal(scan_count(warm, &status), 400); /* its files are open */
    assert_int_equal(status, KP_END);
    assert_int_equal(scan_count(cold, &status), 0);
    assert_int_equal(status, KP_BUSY);
    assert_int_equal(kp_snapshot_damage(cold, &damage), 0);
    kp_snapshot_close(cold);
    kp_snapshot_close(warm);
    assert_int_equal(kp_store_snapshot(b->store, &cold, NULL), KP_OK);
    assert_int_equal(scan_count(cold, &status), 100);
    struct kp_dropped dropped;
    kp_snapshot_dropped(cold, &dropped);
    assert_int_equal(dropped.rows, 300);
    assert_int_equal(dropped.from, 10);
    assert_int_equal(dropped.to, 3000);
    kp_snapshot_close(cold);
    assert_int_equal(kp_verify(DIR, b->io, NULL, NULL, NULL, &(struct kp_verify_report){0}, NULL),
                     KP_OK);
}

/* A tombstone that is no longer there leaves a hole that verify names. */
static void a_hole_without_a_tombstone_is_found(void **state)
{
    struct bench *b = *state;
    struct kpi_manifest manifest;
    for (int i = 0; i < 3; i++)
        segment_make(b);
    bench_close(b);
    struct kpi_manifest_log *log;
    struct kp_io_queue *queue;
    assert_int_equal(b->io->queue_open(b->io, 4, &queue), KP_OK);
    assert_int_equal(kpi_manifest_read(b->io, DIR, &manifest, NULL, NULL, NULL), KP_OK);
    manifest.segments[1] = manifest.segments[2];
    manifest.count = 2;
    assert_int_equal(kpi_manifest_open(b->io, queue, DIR, &manifest, &log, NULL), KP_OK);
    kpi_manifest_close(log);
    kpi_manifest_deinit(&manifest);
    b->io->queue_close(queue);
    struct kp_verify_report report;
    assert_int_equal(kp_verify(DIR, b->io, NULL, NULL, NULL, &report, NULL), KP_CORRUPT);
    assert_int_equal(report.damaged, 1);
    bench_open(b);
}

static void many_tombstones_fold_into_one(void **state)
{
    (void)state;
    struct kpi_manifest manifest = {0};
    for (uint64_t i = 1; i <= 10; i++) {
        struct kpi_manifest_drop drop = {.id_first = i,
                                         .id_last = i,
                                         .segments = 1,
                                         .wal_first = i * 10,
                                         .wal_last = i * 10 + 9,
                                         .ts_min = (int64_t)i,
                                         .ts_max = (int64_t)i + 5,
                                         .rows = 7,
                                         .bytes = 11,
                                         .at = (int64_t)i};
        assert_true(kpi_manifest_take_drop(&manifest, &drop));
    }
    kpi_manifest_fold(&manifest, 4);
    assert_int_equal(manifest.drops_count, 4);
    assert_int_equal(manifest.drops[0].segments, 7);
    assert_int_equal(manifest.drops[0].rows, 49);
    assert_int_equal(manifest.drops[0].wal_first, 10);
    assert_int_equal(manifest.drops[0].wal_last, 79);
    assert_int_equal(manifest.drops[0].ts_max, 12);
    assert_int_equal(manifest.drops[1].id_first, 8);
    assert_int_equal(manifest.drops[3].id_last, 10);
    kpi_manifest_deinit(&manifest);
}

static void add_name(void *ctx, const char *name)
{
    uint64_t no;
    if (kpi_manifest_name(name, &no))
        snprintf(ctx, 64, DIR "/%s", name);
}

/* kp_inspect reads real files: a copy of the simulated one. */
static void inspect_tells_of_drops_and_holds(void **state)
{
    struct bench *b = *state;
    char name[64] = "", path[] = "/tmp/manifest.00000001.XXXXXX";
    uint64_t id;
    size_t size;
    for (int i = 0; i < 3; i++)
        segment_make(b);
    assert_int_equal(kp_store_hold_add(b->store, 2500, 2600, KP_STR("case 7"), &id, NULL), KP_OK);
    b->opts.retention_age = 500;
    reopen(b);
    assert_int_equal(b->io->list(b->io, DIR, add_name, name), 0);
    const uint8_t *bytes = kp_sim_file(b->sim, name, &size);
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
    close(fd);
    struct kp_buf text = {0};
    assert_int_equal(kp_inspect(path, &text, NULL), KP_OK);
    unlink(path);
    const char *told = kp_buf_cstr(&text);
    assert_non_null(strstr(told, "tombstone of 1 segments 0000000000000001..0000000000000001"));
    assert_non_null(strstr(told, ", 100 rows, "));
    assert_non_null(strstr(told, "for its age"));
    assert_non_null(strstr(told, "hold 1 of "));
    assert_non_null(strstr(told, "in force, reason: case 7"));
    kp_buf_deinit(&text);
}

#define UNIT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(nothing_is_dropped_unless_asked),
        UNIT(the_oldest_go_by_age),
        UNIT(the_oldest_go_by_size),
        UNIT(numbers_are_not_used_again),
        UNIT(what_is_held_stays),
        UNIT(wrong_holds_are_refused),
        UNIT(holds_are_listed_for_ever),
        UNIT(readers_keep_what_they_opened_or_are_told),
        UNIT(inspect_tells_of_drops_and_holds),
        UNIT(a_hole_without_a_tombstone_is_found),
        cmocka_unit_test(many_tombstones_fold_into_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
