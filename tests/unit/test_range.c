/* SPDX-License-Identifier: Apache-2.0
 *
 * RANGE and DIRECT chunks: numbers of every width come back whatever their kinds, what repeats gets
 * small, and damaged bytes are CORRUPT or other numbers, never a read outside (the sanitizers
 * watch).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "storage/range.h"

#define COUNT_MAX 3000u

static const struct coding {
    kp_status (*encode)(const int64_t *values, const uint16_t *kinds, uint32_t count,
                        struct kp_buf *out);
    kp_status (*decode)(struct kp_reader *in, const uint16_t *kinds, uint32_t count, int64_t *out);
    bool remembers; /* numbers before */
} codings[] = {{kpi_range_encode, kpi_range_decode, true},
               {kpi_direct_encode, kpi_direct_decode, false}};
static const struct coding *coding; /* under test */

static uint64_t random_next(void)
{
    static uint64_t state = 5;
    return kp_hash_mix(state += 0x9e3779b97f4a7c15ull);
}

static void numbers_make(unsigned width, uint32_t count, int64_t *values, uint16_t *kinds)
{
    uint64_t mask = width == 64 ? UINT64_MAX : ((uint64_t)1 << width) - 1;
    for (uint32_t i = 0; i < count; i++) {
        kinds[i] = (uint16_t)(random_next() % 5 * 13000);
        values[i] = (int64_t)((random_next() & mask) >> (random_next() % (width + 1u)) % 64);
        if (width == 64 && i % 7 == 0)
            values[i] = i % 2 == 0 ? INT64_MIN : INT64_MAX;
    }
}

/* A copy without slack. */
static uint8_t *tight_copy(const struct kp_buf *bytes, size_t size)
{
    uint8_t *copy = malloc(size + (size == 0));
    assert_non_null(copy);
    if (size > 0)
        memcpy(copy, bytes->data, size);
    return copy;
}

static void round_trip(const int64_t *values, const uint16_t *kinds, uint32_t count)
{
    static int64_t back[COUNT_MAX];
    struct kp_buf body = {0};
    assert_int_equal(coding->encode(values, kinds, count, &body), KP_OK);
    uint8_t *tight = tight_copy(&body, body.size);
    struct kp_reader in = kp_reader_init(tight, body.size);
    assert_int_equal(coding->decode(&in, kinds, count, back), KP_OK);
    assert_int_equal(kp_reader_left(&in), 0);
    assert_memory_equal(back, values, count * sizeof(*back));
    free(tight);
    kp_buf_deinit(&body);
}

static void every_width_and_length_comes_back(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {1, 2, 7, 300, COUNT_MAX};
    static int64_t values[COUNT_MAX];
    static uint16_t kinds[COUNT_MAX];
    for (unsigned width = 0; width <= 64; width++)
        for (size_t l = 0; l < sizeof(lengths) / sizeof(*lengths) - (width % 8 != 0); l++) {
            numbers_make(width, lengths[l], values, kinds);
            round_trip(values, kinds, lengths[l]);
            round_trip(values, NULL, lengths[l]);
        }
}

static void what_repeats_is_small(void **state)
{
    (void)state;
    static int64_t values[COUNT_MAX];
    struct kp_buf body = {0};
    for (uint32_t i = 0; i < COUNT_MAX; i++)
        values[i] = i % 3 == 0 ? 700 : i % 3 == 1 ? 90000 : 3;
    assert_int_equal(coding->encode(values, NULL, COUNT_MAX, &body), KP_OK);
    assert_true(body.size < COUNT_MAX * 2); /* the low bits of the large ones are stored plainly */
    kp_buf_clear(&body);
    for (uint32_t i = 0; i < COUNT_MAX; i++)
        values[i] = i % 3;
    assert_int_equal(coding->encode(values, NULL, COUNT_MAX, &body), KP_OK);
    assert_true(body.size < (coding->remembers ? COUNT_MAX / 50 : COUNT_MAX / 4));
    kp_buf_deinit(&body);
}

static void damaged_bodies_never_overrun(void **state)
{
    (void)state;
    static int64_t values[300], back[300];
    static uint16_t kinds[300];
    uint32_t refused = 0;
    for (uint32_t round = 0; round < 400; round++) {
        struct kp_buf body = {0};
        numbers_make((unsigned)(random_next() % 65), 300, values, kinds);
        assert_int_equal(coding->encode(values, kinds, 300, &body), KP_OK);
        size_t size = round % 2 == 0 ? random_next() % body.size : body.size;
        uint8_t *tight = tight_copy(&body, size);
        if (size > 0)
            tight[random_next() % size] ^= (uint8_t)(1u << random_next() % 8);
        struct kp_reader in = kp_reader_init(tight, size);
        kp_status status = coding->decode(&in, kinds, 300, back);
        assert_true(status == KP_OK || status == KP_CORRUPT);
        refused += status == KP_CORRUPT;
        free(tight);
        kp_buf_deinit(&body);
    }
    assert_true(refused > 100);
}

static int take_range(void **state)
{
    (void)state;
    coding = &codings[0];
    return 0;
}

static int take_direct(void **state)
{
    (void)state;
    coding = &codings[1];
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_width_and_length_comes_back, take_range),
        cmocka_unit_test_setup(what_repeats_is_small, take_range),
        cmocka_unit_test_setup(damaged_bodies_never_overrun, take_range),
        cmocka_unit_test_setup(every_width_and_length_comes_back, take_direct),
        cmocka_unit_test_setup(what_repeats_is_small, take_direct),
        cmocka_unit_test_setup(damaged_bodies_never_overrun, take_direct),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
