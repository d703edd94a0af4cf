/* SPDX-License-Identifier: Apache-2.0
 *
 * The offset of a recording never moves; steps and the passing of time make anchors.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdint.h>

#include "ingest/clock.h"

static void the_first_anchor_fixes_the_offset(void **state)
{
    (void)state;
    struct kpi_clock clock;
    struct kpi_anchor first = {.mono = 1000, .real = 5 * KP_SEC, .bound = 30, .step = 77};
    kpi_clock_begin(&clock, &first);
    assert_int_equal(clock.offset, 5 * KP_SEC - 1000);
    assert_int_equal(clock.last.step, 0);
    struct kpi_anchor later = {.mono = 1000 + 20 * KP_SEC, .real = 90 * KP_SEC};
    assert_true(kpi_clock_update(&clock, &later));
    assert_int_equal(clock.offset, 5 * KP_SEC - 1000);
}

static void anchors_come_with_time_and_with_steps(void **state)
{
    (void)state;
    static const struct {
        int64_t mono, real;
        bool row;
        kp_dur step;
    } cases[] = {
        {KP_SEC, KP_SEC, false, 0},
        {2 * KP_SEC, 2 * KP_SEC + KP_MS, false, KP_MS},        /* a millisecond is no step */
        {3 * KP_SEC, 3 * KP_SEC + KP_MS + 1, true, KP_MS + 1}, /* more is */
        {4 * KP_SEC, 4 * KP_SEC + KP_MS + 1, false, 0},        /* measured from the last anchor */
        {5 * KP_SEC, KP_SEC, true, -4 * KP_SEC - KP_MS - 1},   /* set back */
        {15 * KP_SEC - 1, 11 * KP_SEC, false, 1},
        {15 * KP_SEC, 11 * KP_SEC, true, 0}, /* ten seconds after the last */
    };
    struct kpi_clock clock;
    struct kpi_anchor first = {0};
    kpi_clock_begin(&clock, &first);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct kpi_anchor now = {.mono = cases[i].mono, .real = cases[i].real};
        assert_int_equal(kpi_clock_update(&clock, &now), cases[i].row);
        assert_int_equal(now.step, cases[i].step);
    }
}

static void readings_are_bounded(void **state)
{
    (void)state;
    struct kpi_anchor a = kpi_clock_read(), b = kpi_clock_read();
    assert_true(b.mono > a.mono);
    assert_true(a.bound > 0 && a.bound < KP_SEC);
    assert_true(a.real > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_anchor_fixes_the_offset),
        cmocka_unit_test(anchors_come_with_time_and_with_steps),
        cmocka_unit_test(readings_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
