/* SPDX-License-Identifier: Apache-2.0
 *
 * Packed numbers are the numbers that were packed, whatever their range, on every vector unit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/hash.h"
#include "storage/packed.h"

#define COUNT 1003u /* no multiple of any vector */

/* Numbers from base on that need so many bits. */
static void fill(int64_t *values, int64_t base, unsigned bits)
{
    uint64_t mask = bits == 64 ? UINT64_MAX : (1ull << bits) - 1;
    for (uint32_t i = 0; i < COUNT; i++)
        values[i] = (int64_t)((uint64_t)base + (kp_hash_mix(i) & mask));
    values[COUNT / 2] = base;
    values[COUNT - 1] = (int64_t)((uint64_t)base + mask);
}

static void check(const int64_t *values, uint8_t bytes)
{
    for (enum kpi_wide_unit unit = KPI_WIDE_UNIT_NONE; unit <= kpi_wide_unit(); unit++) {
        struct kp_arena arena = {0};
        struct kpi_packed packed;
        int64_t out[COUNT];
        uint32_t list[COUNT];
        assert_int_equal(kpi_pack_on(unit, values, COUNT, &arena, &packed), KP_OK);
        assert_int_equal(packed.bytes, bytes);
        assert_int_equal(arena.used_bytes, (COUNT * bytes + 15) / 16 * 16);
        kpi_packed_take(&packed, NULL, 1, COUNT - 1, out);
        assert_memory_equal(out, values + 1, (COUNT - 1) * sizeof(*out));
        for (uint32_t i = 0; i < COUNT; i++)
            list[i] = COUNT - 1 - i;
        kpi_packed_take(&packed, list, 0, COUNT, out);
        for (uint32_t i = 0; i < COUNT; i++) {
            assert_int_equal(out[i], values[COUNT - 1 - i]);
            assert_int_equal(kpi_packed_at(&packed, i), values[i]);
        }
        kp_arena_deinit(&arena);
    }
}

static void any_range(void **state)
{
    static const int64_t bases[] = {0, -1, -129, 7, INT64_MIN, INT32_MIN};
    static const struct {
        unsigned bits;
        uint8_t bytes;
    } ranges[] = {{0, 0}, {1, 1}, {8, 1}, {9, 2}, {16, 2}, {17, 4}, {32, 4}, {33, 8}, {62, 8}};
    int64_t values[COUNT];
    (void)state;
    for (size_t b = 0; b < KP_ARRAY_LEN(bases); b++)
        for (size_t r = 0; r < KP_ARRAY_LEN(ranges); r++) {
            fill(values, bases[b], ranges[r].bits);
            check(values, ranges[r].bytes);
        }
    fill(values, INT64_MIN, 64);
    check(values, 8);
}

static void plain_and_none(void **state)
{
    static const int64_t values[] = {INT64_MAX, 0, INT64_MIN};
    struct kp_arena arena = {0}, small;
    struct kpi_packed packed = kpi_packed_plain(values);
    (void)state;
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(kpi_packed_at(&packed, i), values[i]);
    assert_int_equal(kpi_pack(values, 0, &arena, &packed), KP_OK);
    assert_int_equal(packed.bytes, 0);
    kp_arena_init(&small, 16);
    assert_int_equal(kpi_pack(values, 3, &small, &packed), KP_NO_MEMORY);
    assert_int_equal(packed.bytes, 0); /* untouched */
    kp_arena_deinit(&small);
    kp_arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_range),
        cmocka_unit_test(plain_and_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
