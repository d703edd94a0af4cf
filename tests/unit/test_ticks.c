/* SPDX-License-Identifier: Apache-2.0
 *
 * TICKS chunks: the tick of a clock is found from differences of its times, and only where there is
 * one; numbers come back whether they are ticks or not; damaged bytes are CORRUPT or other numbers,
 * never a read outside (the sanitizers watch).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "storage/range.h"
#include "storage/ticks.h"

#define COUNT_MAX 6000u
#define ONE       ((uint64_t)1 << 32)

static int64_t values[COUNT_MAX], back[COUNT_MAX];
static uint16_t kinds[COUNT_MAX];

static uint64_t random_next(void)
{
    static uint64_t state = 9;
    return kp_hash_mix(state += 0x9e3779b97f4a7c15ull);
}

/* Steps of a clock that ticks every `period`, of up to 2^bits ticks; single: each from a time of
 * its own. */
static void clock_run(uint64_t period, unsigned bits, bool single, uint32_t count)
{
    uint64_t before = 0, tick = random_next() % 100000;
    for (uint32_t i = 0; i < count; i++) {
        tick = single ? random_next() % 1000000 : tick;
        before = (uint64_t)((unsigned __int128)tick * period >> 32);
        tick += 1 + random_next() % ((uint64_t)1 << (1 + random_next() % bits));
        values[i] = (int64_t)((uint64_t)((unsigned __int128)tick * period >> 32) - before);
        kinds[i] = (uint16_t)(random_next() % 5 * 13000);
    }
}

static size_t round_trip(uint32_t count, uint64_t period, unsigned how, bool with_kinds)
{
    struct kp_buf body = {0};
    const uint16_t *known = with_kinds ? kinds : NULL;
    assert_int_equal(kpi_ticks_encode(values, known, count, period, how, &body), KP_OK);
    uint8_t *tight = malloc(body.size);
    assert_non_null(tight);
    memcpy(tight, body.data, body.size);
    struct kp_reader in = kp_reader_init(tight, body.size);
    assert_int_equal(kpi_ticks_decode(&in, known, count, back), KP_OK);
    assert_int_equal(kp_reader_left(&in), 0);
    assert_memory_equal(back, values, count * sizeof(*back));
    size_t size = body.size;
    free(tight);
    kp_buf_deinit(&body);
    return size;
}

static void any_numbers_come_back(void **state)
{
    (void)state;
    static const uint32_t counts[] = {1, 2, 7, 300, 2000};
    for (unsigned width = 0; width <= 60; width++) {
        uint64_t period = 3 * ONE + random_next() % (57 * ONE);
        uint32_t count = counts[width % 5];
        for (uint32_t i = 0; i < count; i++) {
            values[i] = (int64_t)(random_next() & (((uint64_t)1 << width) - 1));
            kinds[i] = (uint16_t)random_next();
        }
        values[0] = width == 60 ? (int64_t)1 << 60 : values[0];
        for (unsigned way = 0; way < 8; way++)
            round_trip(count, period, way & 3, way & 4);
        for (uint32_t i = 0; i < count; i += 2)
            values[i] = -values[i];
        round_trip(count, period, KPI_TICKS_SIGNED, width % 2);
    }
}

static void what_is_no_difference_is_refused(void **state)
{
    (void)state;
    static const int64_t wrong[] = {-1, INT64_MIN, ((int64_t)1 << 60) + 1, INT64_MAX};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        struct kp_buf body = {0};
        assert_int_equal(kpi_ticks_encode(&wrong[i], NULL, 1, 10 * ONE, KPI_TICKS_CHAINED, &body),
                         KP_LIMIT);
        kp_buf_deinit(&body);
    }
}

/* Ticks of 3.1 to 59 ns, found to a part in 2^17, among other numbers too. Steps that follow each
 * other cost no more than the number of ticks, which three bits of a nanosecond in ten are of. */
static void ticks_are_found_and_pay(void **state)
{
    (void)state;
    static const uint64_t thousandths[] = {3100, 8205, 10015, 16667, 41667, 59000};
    for (size_t i = 0; i < sizeof(thousandths) / sizeof(*thousandths); i++) {
        uint64_t period = thousandths[i] * ONE / 1000;
        for (int single = 0; single < 2; single++) {
            struct kp_buf direct = {0};
            clock_run(period, 14, single, COUNT_MAX);
            for (uint32_t other = 0; other < COUNT_MAX; other += 40)
                values[other] = (int64_t)(random_next() % 100000);
            uint64_t found = kpi_ticks_period(values, COUNT_MAX);
            assert_true(found > period - (period >> 17) && found < period + (period >> 17));
            size_t size = round_trip(COUNT_MAX, found, single ? 0 : KPI_TICKS_CHAINED, true);
            assert_int_equal(kpi_direct_encode(values, kinds, COUNT_MAX, &direct), KP_OK);
            assert_true(size < direct.size * (i == 0 ? 95 : 90) / 100);
            kp_buf_deinit(&direct);
        }
    }
}

static void other_clocks_do_not_tick(void **state)
{
    (void)state;
    for (unsigned bits = 6; bits <= 30; bits++) {
        for (uint32_t i = 0; i < COUNT_MAX; i++)
            values[i] = (int64_t)(random_next() >> (64 - bits));
        assert_int_equal(kpi_ticks_period(values, COUNT_MAX), 0);
    }
    for (uint32_t i = 0; i < COUNT_MAX; i++)
        values[i] = i % 2 == 0 ? INT64_MIN : INT64_MAX;
    assert_int_equal(kpi_ticks_period(values, COUNT_MAX), 0);
    assert_int_equal(kpi_ticks_period(values, 1), 0);
}

static void damaged_bodies_never_overrun(void **state)
{
    (void)state;
    uint32_t refused = 0;
    for (uint32_t round = 0; round < 600; round++) {
        struct kp_buf body = {0};
        clock_run(10 * ONE + round, 20, false, 300);
        assert_int_equal(kpi_ticks_encode(values, kinds, 300, 10 * ONE + round, round % 4, &body),
                         KP_OK);
        size_t size = round % 2 == 0 ? random_next() % body.size : body.size;
        uint8_t *tight = malloc(size + (size == 0));
        assert_non_null(tight);
        memcpy(tight, body.data, size);
        if (size > 0)
            tight[random_next() % (round % 4 < 2 ? size : (size + 9) / 10)] ^=
                (uint8_t)(1u << random_next() % 8);
        struct kp_reader in = kp_reader_init(tight, size);
        kp_status status = kpi_ticks_decode(&in, kinds, 300, back);
        assert_true(status == KP_OK || status == KP_CORRUPT);
        refused += status == KP_CORRUPT;
        free(tight);
        kp_buf_deinit(&body);
    }
    assert_true(refused > 150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_numbers_come_back),
        cmocka_unit_test(what_is_no_difference_is_refused),
        cmocka_unit_test(ticks_are_found_and_pay),
        cmocka_unit_test(other_clocks_do_not_tick),
        cmocka_unit_test(damaged_bodies_never_overrun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
