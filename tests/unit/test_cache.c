/* SPDX-License-Identifier: Apache-2.0
 *
 * How much room decoded pages take: over the recording that lies in demo/.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "storage/page.h"

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

/* What must be read again gets room to stay, up to the bound. */
static void room_comes_with_reading_again(void **state)
{
    const char *root = getenv("KP_ROOT");
    struct kp_snapshot *snapshot;
    struct kp_error err;
    char dir[500];
    (void)state;
    snprintf(dir, sizeof(dir), "%s/demo/recording/data", root == NULL ? "." : root);
    assert_int_equal(kp_snapshot_open(dir, NULL, &snapshot, &err), KP_OK);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(room_comes_with_reading_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
