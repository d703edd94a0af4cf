/* SPDX-License-Identifier: Apache-2.0
 *
 * How much room decoded pages take, and what the disk is told of pages that come next: over the
 * recording that lies in demo/.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "storage/page.h"
#include "storage/scan_int.h"
#include "storage/spine.h"

static uint64_t bytes_read(struct kp_snapshot *snapshot, size_t cache_limit, size_t cache_max)
{
    static const struct kp_colref cols[] = {{KP_COL_TS, KP_ATTR_SELF}};
    struct kp_scan_req req = {.stream = kp_stream_by_number(KP_S_SCHED_SWITCH),
                              .from = KP_TIME_MIN,
                              .to = KP_TIME_MAX,
                              .cols = cols,
                              .cols_count = 1};
    struct kp_scan *scan;
    const struct kp_batch *batch;
    uint64_t before = snapshot->bytes_read;
    snapshot->cache_limit = cache_limit;
    snapshot->cache_max = cache_max;
    assert_int_equal(kp_scan_open(snapshot, &req, &scan, NULL), KP_OK);
    while (kp_scan_next(scan, &batch, NULL) == KP_OK)
        continue;
    kp_scan_close(scan);
    return snapshot->bytes_read - before;
}

static struct kp_snapshot *open_demo(const struct kp_io *io)
{
    const char *root = getenv("KP_ROOT");
    struct kp_snapshot *snapshot;
    struct kp_error err;
    char dir[500];
    snprintf(dir, sizeof(dir), "%s/demo/recording/data", root == NULL ? "." : root);
    assert_int_equal(kp_snapshot_open(dir, io, &snapshot, &err), KP_OK);
    return snapshot;
}

/* What must be read again gets room to stay, up to the bound. */
static void room_comes_with_reading_again(void **state)
{
    (void)state;
    struct kp_snapshot *snapshot = open_demo(NULL);
    uint64_t all = bytes_read(snapshot, 0, 0);
    assert_true(all > 0);
    assert_int_equal(bytes_read(snapshot, 0, KPI_CACHE_BYTES), all);
    size_t grown = snapshot->cache_limit;
    assert_true(grown > all && grown < KPI_CACHE_BYTES);
    assert_int_equal(bytes_read(snapshot, grown, KPI_CACHE_BYTES), 0);
    bytes_read(snapshot, 0, 1);
    assert_int_equal(bytes_read(snapshot, 0, 1), all);
    assert_int_equal(snapshot->cache_limit, 1);
    kp_snapshot_close(snapshot);
}

/* What is not decoded counts, by the manifest before segments are open and by pages after. */
static void unread_rows_become_fewer(void **state)
{
    (void)state;
    struct kp_snapshot *snapshot = open_demo(NULL);
    kp_time oldest, newest;
    kp_snapshot_range(snapshot, &oldest, &newest);
    uint64_t all = kp_scan_unread(snapshot, KP_TIME_MIN, KP_TIME_MAX);
    assert_true(all > 0);
    assert_true(kp_scan_unread(snapshot, oldest, oldest + (newest - oldest) / 2) < all);
    assert_int_equal(kp_scan_unread(snapshot, newest + 1, KP_TIME_MAX), 0);
    bytes_read(snapshot, 0, 0);
    assert_int_equal(kp_scan_unread(snapshot, KP_TIME_MIN, KP_TIME_MAX), all);
    bytes_read(snapshot, KPI_CACHE_BYTES, KPI_CACHE_BYTES);
    uint64_t read = kp_snapshot_rows(snapshot, kp_stream_by_number(KP_S_SCHED_SWITCH));
    assert_int_equal(kp_scan_unread(snapshot, KP_TIME_MIN, KP_TIME_MAX), all - read);
    kp_snapshot_close(snapshot);
}

#define UNITS 12u

static uint32_t expected[UNITS], expected_count; /* blocks the disk was told of */
static const struct kpi_footer *footer;

static void note_expected(const struct kp_io *io, struct kp_io_file *file, uint64_t offset,
                          uint64_t size)
{
    (void)io, (void)file;
    for (uint32_t b = 0; b < footer->blocks_count; b++)
        if (footer->blocks[b].offset == offset && footer->blocks[b].stream != &kpi_spine_stream) {
            assert_true(footer->blocks[b].size == size && expected_count < UNITS);
            expected[expected_count++] = b;
        }
}

/* A scan over the first blocks of the recording's segment. */
static void blocks_scan(struct kp_snapshot *snapshot, struct kpi_unit units[UNITS],
                        struct kp_scan *out)
{
    struct kp_io_queue *queue;
    assert_int_equal(snapshot->io->queue_open(snapshot->io, 1, &queue), KP_OK);
    assert_non_null(kpi_snapshot_segment(snapshot, 0, queue));
    snapshot->io->queue_close(queue);
    footer = &snapshot->segments[0].segment.footer;
    uint32_t count = 0;
    for (uint32_t b = 0; b < footer->blocks_count && count < UNITS; b++)
        if (footer->blocks[b].stream != &kpi_spine_stream)
            units[count++] = (struct kpi_unit){.number = b};
    assert_int_equal(count, UNITS);
    *out = (struct kp_scan){.snapshot = snapshot, .units = units, .units_count = UNITS};
    expected_count = 0;
}

/* Of every unit but the first, once and before it is read; the more the longer it goes on. */
static void the_disk_is_told_what_comes(void **state)
{
    (void)state;
    struct kp_io io = *kp_io_threads();
    struct kpi_unit units[UNITS];
    struct kp_scan scan;
    io.expect = note_expected;
    struct kp_snapshot *snapshot = open_demo(&io);
    blocks_scan(snapshot, units, &scan);
    for (uint32_t i = 0; i < UNITS; i++) {
        kpi_scan_expect(&scan, &units[i]);
        assert_true(i + 1 == UNITS || expected_count > i);
        assert_true(i < 3 || expected_count >= KP_MIN(i + 6, UNITS - 1));
    }
    assert_int_equal(expected_count, UNITS - 1);
    for (uint32_t i = 1; i < UNITS; i++)
        assert_int_equal(expected[i - 1], units[i].number);
    kp_snapshot_close(snapshot);
}

/* Who wants the newest row has it after one page; who goes on wants the others. */
static void the_disk_is_told_late_of_older_pages(void **state)
{
    (void)state;
    struct kp_io io = *kp_io_threads();
    struct kpi_unit units[UNITS];
    struct kp_scan scan;
    io.expect = note_expected;
    struct kp_snapshot *snapshot = open_demo(&io);
    blocks_scan(snapshot, units, &scan);
    scan.descending = true;
    kpi_scan_expect(&scan, &units[0]);
    assert_int_equal(expected_count, 0);
    kpi_scan_expect(&scan, &units[1]);
    assert_true(expected_count > 0 && expected[0] == units[2].number);
    kp_snapshot_close(snapshot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(room_comes_with_reading_again),
        cmocka_unit_test(unread_rows_become_fewer),
        cmocka_unit_test(the_disk_is_told_what_comes),
        cmocka_unit_test(the_disk_is_told_late_of_older_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
