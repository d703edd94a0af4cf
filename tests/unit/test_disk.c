/* SPDX-License-Identifier: Apache-2.0
 *
 * The choice from made-up figures, and one short measurement of the disk under $TMPDIR.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "storage/io.h"
#include "storage/storage.h"

static struct kp_disk_report report_of(kp_dur p4k, kp_dur p64k, kp_dur p1m, kp_dur p99)
{
    struct kp_disk_report report = {.rows_count = 3};
    report.rows[0] = (struct kp_disk_row){.bytes = 4 << 10, .p50 = p4k};
    report.rows[1] = (struct kp_disk_row){.bytes = 64 << 10, .p50 = p64k, .p99 = p99};
    report.rows[2] = (struct kp_disk_row){.bytes = 1 << 20, .p50 = p1m};
    kp_disk_choose(&report);
    return report;
}

static void the_choice_follows_the_figures(void **state)
{
    (void)state;
    /* a good disk: 95 us and 1.6 GB/s: half transfer at 0.6 of a MiB */
    struct kp_disk_report fast = report_of(95 * KP_US, 96 * KP_US, 257 * KP_US, 300 * KP_US);
    assert_int_equal(fast.commit_bytes, 1 << 20);
    assert_int_equal(fast.commit_after, 5 * KP_MS);
    /* syncs cost nothing: small commits are as good */
    assert_int_equal(report_of(KP_US, 60 * KP_US, 900 * KP_US, KP_MS).commit_bytes, 64 << 10);
    /* a turning disk: 8 ms and 100 MB/s */
    struct kp_disk_report slow = report_of(8 * KP_MS, 9 * KP_MS, 18 * KP_MS, 30 * KP_MS);
    assert_int_equal(slow.commit_bytes, 1 << 20);
    assert_int_equal(slow.commit_after, 150 * KP_MS);
    /* size does not matter at all, and it hangs: the bounds */
    struct kp_disk_report odd = report_of(50 * KP_MS, 50 * KP_MS, 50 * KP_MS, 40 * KP_SEC);
    assert_int_equal(odd.commit_bytes, 4 << 20);
    assert_int_equal(odd.commit_after, KP_SEC);
}

static void count_name(void *ctx, const char *name)
{
    (void)name;
    ++*(int *)ctx;
}

static void a_real_disk_is_measured(void **state)
{
    (void)state;
    char dir[] = "/tmp/kprobe-disk-XXXXXX";
    struct kp_disk_report report;
    int names = 0;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(kp_disk_measure(dir, NULL, 20, 20 * KP_MS, &report, NULL), KP_OK);
    assert_int_equal(report.rows_count, kp_io_uring() != NULL ? 6 : 3);
    for (uint32_t i = 0; i < report.rows_count; i++) {
        assert_in_range(report.rows[i].writes, 8, 20);
        assert_true(report.rows[i].p50 > 0 && report.rows[i].p50 <= report.rows[i].p99);
        assert_true(report.rows[i].p99 <= report.rows[i].max);
    }
    assert_int_equal(kp_io_threads()->list(kp_io_threads(), dir, count_name, &names), 0);
    assert_int_equal(names, 0);
    assert_int_equal(rmdir(dir), 0);
    struct kp_error err;
    assert_int_equal(kp_disk_measure(dir, NULL, 20, 0, &report, &err), KP_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_choice_follows_the_figures),
        cmocka_unit_test(a_real_disk_is_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
