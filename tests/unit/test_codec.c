/* SPDX-License-Identifier: Apache-2.0
 *
 * Codecs give back what they were given, for every width, length and shape; decoders survive
 * anything.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/assert.h"
#include "storage/codec.h"

static uint64_t seed = 88172645463325252ull;

static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static uint64_t mask_of(unsigned width)
{
    return width == 0 ? 0 : UINT64_MAX >> (64 - width);
}

static void round_trip(const int64_t *values, uint32_t count, enum kpi_level level)
{
    struct kp_buf chunk = {0};
    assert_int_equal(kpi_ints_encode(values, count, level, &chunk), KP_OK);
    int64_t *back = malloc(count * sizeof(*back));
    assert_int_equal(kpi_ints_decode(chunk.data, chunk.size, count, back), KP_OK);
    assert_memory_equal(back, values, count * sizeof(*back));
    free(back);
    kp_buf_deinit(&chunk);
}

static void bits_of_every_width(void **state)
{
    (void)state;
    static uint64_t values[KPI_VECTOR_ROWS], back[KPI_VECTOR_ROWS];
    uint8_t *bytes = malloc(KPI_VECTOR_ROWS * 8);
    for (unsigned width = 0; width <= 64; width++) {
        for (uint32_t i = 0; i < KPI_VECTOR_ROWS; i++)
            values[i] = next_random() & mask_of(width);
        uint8_t *exact = realloc(bytes, KPI_VECTOR_ROWS / 8 * (width == 0 ? 1 : width));
        assert_non_null(exact); /* a byte too far shows under the address sanitizer */
        bytes = exact;
        kpi_bits_pack(values, width, bytes);
        kpi_bits_unpack(bytes, width, back);
        assert_memory_equal(values, back, sizeof(values));
        kpi_bits_pack_tail(values, 999, width, bytes);
        memset(back, 0xff, sizeof(back));
        kpi_bits_unpack_tail(bytes, 999, width, back);
        assert_memory_equal(values, back, 999 * sizeof(values[0]));
    }
    free(bytes);
}

/* Shapes of columns; each must survive at any length. */
enum shape {
    SHAPE_ZERO,
    SHAPE_CONST,
    SHAPE_WIDTH,
    SHAPE_WALK,
    SHAPE_RUNS,
    SHAPE_FEW,
    SHAPE_OUTLIERS,
    SHAPE_EXTREMES,
    SHAPE_COUNT
};

static int64_t shape_value(enum shape shape, unsigned width, uint32_t i, int64_t before)
{
    uint64_t any = next_random();
    switch (shape) {
    case SHAPE_ZERO:
        return 0;
    case SHAPE_CONST:
        return (int64_t)mask_of(width);
    case SHAPE_WIDTH:
        return (int64_t)(any & mask_of(width));
    case SHAPE_WALK:
        return (int64_t)((uint64_t)before + (any & mask_of(width)));
    case SHAPE_RUNS:
        return i % 97 == 0 ? (int64_t)(any & mask_of(width)) : before;
    case SHAPE_FEW:
        return (int64_t)(kp_hash_mix(any % 7) & mask_of(width));
    case SHAPE_OUTLIERS:
        return any % 50 == 0 ? (int64_t)(next_random() & mask_of(width)) : (int64_t)(any >> 60);
    default:
        return any % 3 == 0 ? INT64_MIN : any % 3 == 1 ? INT64_MAX : (int64_t)any;
    }
}

static void make_column(enum shape shape, unsigned width, uint32_t count, int64_t *out)
{
    int64_t before = 0;
    for (uint32_t i = 0; i < count; i++)
        before = out[i] = shape_value(shape, width, i, before);
}

/* CLASS alone, whether or not it is what would be chosen; what follows a body is not its own. */
static void class_round_trip(const int64_t *values, uint32_t count)
{
    struct kp_buf body = {0};
    int64_t *back = malloc(count * sizeof(*back));
    assert_int_equal(kpi_class_encode(values, count, KPI_LEVEL_SEALED, &body), KP_OK);
    uint8_t *tight = malloc(body.size);
    memcpy(tight, body.data, body.size);
    struct kp_reader in = kp_reader_init(tight, body.size);
    assert_int_equal(kpi_class_decode(&in, count, back), KP_OK);
    assert_int_equal(kp_reader_left(&in), 0);
    assert_memory_equal(back, values, count * sizeof(*back));
    in = kp_reader_init(tight, body.size - 1);
    assert_int_equal(kpi_class_decode(&in, count, back), KP_CORRUPT);
    free(tight);
    free(back);
    kp_buf_deinit(&body);
}

static void every_shape_and_width_comes_back(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {1, 2, 63, 1023, 1024, 1025, 2047, 2048, 2049};
    static int64_t values[2049];
    for (int shape = 0; shape < SHAPE_COUNT; shape++)
        for (unsigned width = 0; width <= 64; width++)
            for (size_t l = 0; l < KP_ARRAY_LEN(lengths); l++) {
                make_column((enum shape)shape, width, lengths[l], values);
                round_trip(values, lengths[l], KPI_LEVEL_HOT);
                if (width % 9 != 1)
                    continue;
                round_trip(values, lengths[l], KPI_LEVEL_SEALED);
                class_round_trip(values, lengths[l]);
            }
}

static void every_length_comes_back(void **state)
{
    (void)state;
    static int64_t values[2049];
    for (uint32_t count = 1; count <= 2049; count++) {
        make_column((enum shape)(count % SHAPE_COUNT), count % 65, count, values);
        round_trip(values, count, KPI_LEVEL_HOT);
    }
}

static void whole_blocks_come_back(void **state)
{
    (void)state;
    int64_t *values = malloc(KPI_BLOCK_ROWS_MAX * sizeof(*values));
    for (int shape = 0; shape < SHAPE_COUNT; shape++) {
        make_column((enum shape)shape, 33, KPI_BLOCK_ROWS_MAX, values);
        round_trip(values, KPI_BLOCK_ROWS_MAX, KPI_LEVEL_HOT);
        round_trip(values, KPI_BLOCK_ROWS_MAX - 1, KPI_LEVEL_SEALED);
    }
    free(values);
}

static size_t chunk_size(enum shape shape, unsigned width, uint32_t count, enum kpi_level level)
{
    int64_t *values = malloc(count * sizeof(*values));
    struct kp_buf chunk = {0};
    make_column(shape, width, count, values);
    assert_int_equal(kpi_ints_encode(values, count, level, &chunk), KP_OK);
    size_t size = chunk.size;
    kp_buf_deinit(&chunk);
    free(values);
    return size;
}

static void simple_columns_cost_what_they_should(void **state)
{
    (void)state;
    assert_int_equal(chunk_size(SHAPE_ZERO, 0, 65536, KPI_LEVEL_HOT), 1);
    assert_true(chunk_size(SHAPE_CONST, 40, 65536, KPI_LEVEL_HOT) <= 11);
    assert_true(chunk_size(SHAPE_WIDTH, 7, 65536, KPI_LEVEL_HOT) <= 65536 * 7 / 8 + 64 * 12);
    assert_true(chunk_size(SHAPE_FEW, 64, 65536, KPI_LEVEL_HOT) <= 65536 * 3 / 8 + 1024);
    assert_true(chunk_size(SHAPE_WALK, 5, 65536, KPI_LEVEL_HOT) <= 65536 * 5 / 8 + 64 * 20);
    assert_true(chunk_size(SHAPE_RUNS, 20, 65536, KPI_LEVEL_HOT) <= 65536 / 97 * 5 + 256);
    assert_true(chunk_size(SHAPE_OUTLIERS, 60, 65536, KPI_LEVEL_HOT) <= 65536);
}

static void damaged_chunks_never_overrun(void **state)
{
    (void)state;
    int64_t values[1500], back[1500];
    uint32_t refused = 0;
    for (uint32_t round = 0; round < 2000; round++) {
        struct kp_buf chunk = {0};
        make_column((enum shape)(round % SHAPE_COUNT), (unsigned)(next_random() % 65), 1500,
                    values);
        assert_int_equal(
            kpi_ints_encode(values, 1500, round % 2 ? KPI_LEVEL_HOT : KPI_LEVEL_SEALED, &chunk),
            KP_OK);
        size_t size = round % 3 == 0 ? next_random() % chunk.size : chunk.size;
        uint8_t *tight = malloc(size == 0 ? 1 : size);
        memcpy(tight, chunk.data, size);
        for (uint64_t flips = next_random() % 4; size > 0 && flips > 0; flips--)
            tight[next_random() % KP_MIN(size, (size_t)40)] ^= (uint8_t)(1u << next_random() % 8);
        kp_status status = kpi_ints_decode(tight, size, 1500, back);
        assert_true(status == KP_OK || status == KP_CORRUPT);
        refused += status == KP_CORRUPT;
        free(tight);
        kp_buf_deinit(&chunk);
    }
    assert_true(refused > 500);
}

/* ---------- strings ---------- */

static void strings_round_trip(const struct kp_str *strs, uint32_t count, enum kpi_level level)
{
    struct kp_vec vec = {.type = KP_TYPE_STR, .strs = (struct kp_str *)(uintptr_t)strs};
    struct kp_buf chunk = {0};
    struct kp_arena arena;
    kp_arena_init(&arena, 0);
    assert_int_equal(kpi_strs_encode(&vec, count, level, &chunk), KP_OK);
    uint8_t *tight = malloc(chunk.size);
    memcpy(tight, chunk.data, chunk.size);
    struct kp_vec back;
    assert_int_equal(kpi_strs_decode(tight, chunk.size, count, &arena, &back), KP_OK);
    memset(tight, 0, chunk.size); /* decoded strings must not point here */
    for (uint32_t i = 0; i < count; i++)
        assert_true(kp_str_equal(kp_vec_str(&back, i), strs[i]));
    free(tight);
    kp_buf_deinit(&chunk);
    kp_arena_deinit(&arena);
}

static void strings_come_back(void **state)
{
    (void)state;
    static char text[4096];
    static struct kp_str strs[3000];
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)next_random();
    static const uint32_t distinct[] = {1, 2, 50, 3000, 100000};
    for (size_t d = 0; d < KP_ARRAY_LEN(distinct); d++)
        for (uint32_t count = 1; count <= 3000; count = count * 3 + 1) {
            for (uint32_t i = 0; i < count; i++) {
                uint64_t pick = kp_hash_mix(next_random() % distinct[d]);
                strs[i] = (struct kp_str){text + pick % 4000, (uint32_t)(pick >> 32) % 40};
            }
            strings_round_trip(strs, count, KPI_LEVEL_HOT);
            strings_round_trip(strs, count, KPI_LEVEL_SEALED);
        }
}

static void empty_strings_cost_nothing(void **state)
{
    (void)state;
    static struct kp_str strs[8192];
    struct kp_vec vec = {.type = KP_TYPE_STR, .strs = strs};
    struct kp_buf chunk = {0};
    assert_int_equal(kpi_strs_encode(&vec, 8192, KPI_LEVEL_HOT, &chunk), KP_OK);
    assert_int_equal(chunk.size, 1);
    kp_buf_deinit(&chunk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_of_every_width),
        cmocka_unit_test(every_shape_and_width_comes_back),
        cmocka_unit_test(every_length_comes_back),
        cmocka_unit_test(whole_blocks_come_back),
        cmocka_unit_test(simple_columns_cost_what_they_should),
        cmocka_unit_test(damaged_chunks_never_overrun),
        cmocka_unit_test(strings_come_back),
        cmocka_unit_test(empty_strings_cost_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
