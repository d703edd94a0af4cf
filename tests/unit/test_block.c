/* SPDX-License-Identifier: Apache-2.0
 *
 * A block gives back the rows it was made of, whatever the stream, and refuses to lie: cut anywhere
 * or with any bit flipped it says CORRUPT.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "rows.h"
#include "storage/block.h"

static struct rows_gen generator(uint64_t seed)
{
    struct rows_gen gen = {.seed = seed,
                           .now = 1700000000ll * KP_SEC,
                           .cpus = 4,
                           .threads = 40,
                           .names = 6,
                           .late_every = 50};
    assert_int_equal(kp_actors_init(&gen.actors), KP_OK);
    return gen;
}

static void make_block(struct rows_gen *gen, struct kp_builder *builder, uint32_t rows,
                       enum kpi_level level, struct kp_buf *out)
{
    kp_builder_reset(builder);
    rows_fill(gen, builder, rows);
    assert_int_equal(kpi_block_encode(kp_builder_batch(builder), level, out), KP_OK);
}

static void check_block(const struct kp_batch *batch, const struct kp_buf *bytes)
{
    struct kp_actors *actors;
    struct kp_arena arena;
    struct kp_batch back;
    kp_arena_init(&arena, 0);
    assert_int_equal(kp_actors_init(&actors), KP_OK);
    assert_int_equal(kpi_block_decode(bytes->data, bytes->size, UINT64_MAX, actors, &arena, &back),
                     KP_OK);
    assert_ptr_equal(back.stream, batch->stream);
    assert_int_equal(back.rows, batch->rows);
    for (uint32_t row = 0; row < batch->rows; row++)
        assert_true(rows_equal(batch, row, &back, row));
    kp_actors_deinit(actors);
    kp_arena_deinit(&arena);
}

static void every_stream_comes_back(void **state)
{
    (void)state;
    static const uint32_t rows[] = {1, 3, 1024, 2500, 8192};
    uint32_t count;
    const struct kp_stream *streams = kp_streams(&count);
    for (uint32_t s = 0; s < count; s++) {
        struct rows_gen gen = generator(s);
        struct kp_builder builder;
        assert_int_equal(kp_builder_init(&builder, &streams[s], gen.actors, 8192), KP_OK);
        for (size_t i = 0; i < KP_ARRAY_LEN(rows); i++) {
            struct kp_buf bytes = {0};
            make_block(&gen, &builder, rows[i], i % 2 ? KPI_LEVEL_SEALED : KPI_LEVEL_HOT, &bytes);
            check_block(kp_builder_batch(&builder), &bytes);
            kp_buf_deinit(&bytes);
        }
        kp_builder_deinit(&builder);
        kp_actors_deinit(gen.actors);
    }
}

/* A small block of a stream with actors, enums, numbers and strings. */
static void small_block(enum kpi_level level, struct kp_buf *out)
{
    struct rows_gen gen = generator(7);
    struct kp_builder builder;
    assert_int_equal(kp_builder_init(&builder, kp_stream_by_name(KP_STR("task")), gen.actors, 64),
                     KP_OK);
    make_block(&gen, &builder, 60, level, out);
    kp_builder_deinit(&builder);
    kp_actors_deinit(gen.actors);
}

static void peek_knows_the_ranges(void **state)
{
    (void)state;
    struct rows_gen gen = generator(3);
    struct kp_builder builder;
    struct kp_buf bytes = {0};
    assert_int_equal(kp_builder_init(&builder, kp_stream_by_name(KP_STR("irq")), gen.actors, 64),
                     KP_OK);
    kp_builder_row(&builder, -5, 9, 0, 0);
    kp_builder_row(&builder, INT64_MAX, 3, 0, 0);
    kp_builder_row(&builder, INT64_MIN, UINT64_MAX, 0, 0);
    assert_int_equal(kpi_block_encode(kp_builder_batch(&builder), KPI_LEVEL_HOT, &bytes), KP_OK);
    kp_buf_text(&bytes, "what follows does not matter");
    struct kpi_block_info info;
    assert_int_equal(kpi_block_peek(bytes.data, bytes.size, &info), KP_OK);
    assert_true(info.ts_min == INT64_MIN && info.ts_max == INT64_MAX);
    assert_true(info.seq_min == 3 && info.seq_max == UINT64_MAX);
    assert_int_equal(info.rows, 3);
    assert_true(info.size < bytes.size);
    kp_buf_deinit(&bytes);
    kp_builder_deinit(&builder);
    kp_actors_deinit(gen.actors);
}

static void unwanted_columns_are_absent(void **state)
{
    (void)state;
    struct kp_buf bytes = {0};
    struct kp_arena arena;
    struct kp_batch back;
    small_block(KPI_LEVEL_HOT, &bytes);
    kp_arena_init(&arena, 0);
    assert_int_equal(
        kpi_block_decode(bytes.data, bytes.size, 1u << KP_COL_SEQ, NULL, &arena, &back), KP_OK);
    for (uint32_t c = 0; c < back.cols_count; c++)
        assert_true((back.cols[c].i64 != NULL) == (c == KP_COL_SEQ));
    kp_arena_deinit(&arena);
    kp_buf_deinit(&bytes);
}

static kp_status decode_copy(const void *bytes, size_t size)
{
    struct kp_actors *actors;
    struct kp_arena arena;
    struct kp_batch back;
    uint8_t *tight = malloc(size == 0 ? 1 : size);
    memcpy(tight, bytes, size);
    kp_arena_init(&arena, 0);
    assert_int_equal(kp_actors_init(&actors), KP_OK);
    kp_status status = kpi_block_decode(tight, size, UINT64_MAX, actors, &arena, &back);
    kp_actors_deinit(actors);
    kp_arena_deinit(&arena);
    free(tight);
    return status;
}

static void cut_or_flipped_is_corrupt(void **state)
{
    (void)state;
    for (int level = KPI_LEVEL_HOT; level <= KPI_LEVEL_SEALED; level++) {
        struct kp_buf bytes = {0};
        small_block((enum kpi_level)level, &bytes);
        for (size_t size = 0; size < bytes.size; size++)
            assert_int_equal(decode_copy(bytes.data, size), KP_CORRUPT);
        for (size_t bit = 0; bit < bytes.size * 8; bit++) {
            bytes.data[bit / 8] = (char)(bytes.data[bit / 8] ^ 1 << bit % 8);
            assert_int_equal(decode_copy(bytes.data, bytes.size), KP_CORRUPT);
            bytes.data[bit / 8] = (char)(bytes.data[bit / 8] ^ 1 << bit % 8);
        }
        kp_buf_deinit(&bytes);
    }
}

static void resum(struct kp_buf *block)
{
    kp_store_u64(block->data + KPI_BLOCK_AT_SUM,
                 kp_hash64(block->data + KPI_BLOCK_AT_SIZE, block->size - KPI_BLOCK_AT_SIZE,
                           kp_load_u64(block->data)));
}

/* A forged block has a good sum: decoding must stay inside its bytes all the same. */
static void forged_blocks_do_no_harm(void **state)
{
    (void)state;
    struct rows_gen gen = generator(11);
    uint32_t refused = 0;
    for (uint32_t round = 0; round < 4000; round++) {
        struct kp_buf bytes = {0};
        small_block(round % 2 ? KPI_LEVEL_SEALED : KPI_LEVEL_HOT, &bytes);
        for (uint64_t n = rows_below(&gen, 3) + 1; n > 0; n--)
            bytes.data[rows_below(&gen, bytes.size)] = (char)rows_random(&gen);
        kp_store_u32(bytes.data + KPI_BLOCK_AT_SIZE, (uint32_t)bytes.size);
        resum(&bytes);
        kp_status status = decode_copy(bytes.data, bytes.size);
        assert_true(status == KP_OK || status == KP_CORRUPT || status == KP_VERSION);
        refused += status != KP_OK;
        kp_buf_deinit(&bytes);
    }
    assert_true(refused > 500);
    kp_actors_deinit(gen.actors);
}

static void newer_versions_are_named(void **state)
{
    (void)state;
    struct kp_buf bytes = {0};
    small_block(KPI_LEVEL_HOT, &bytes);
    bytes.data[KPI_BLOCK_AT_VERSION] = KPI_BLOCK_VERSION_8 + 1;
    resum(&bytes);
    assert_int_equal(decode_copy(bytes.data, bytes.size), KP_VERSION);
    kp_buf_deinit(&bytes);
}

/* What a programmer may build on: nearly constant rows cost nearly nothing. */
static void quiet_columns_cost_nearly_nothing(void **state)
{
    (void)state;
    struct rows_gen gen = generator(5);
    struct kp_builder builder;
    struct kp_buf bytes = {0};
    assert_int_equal(
        kp_builder_init(&builder, kp_stream_by_name(KP_STR("spans")), gen.actors, 8192), KP_OK);
    for (uint32_t i = 0; i < 8192; i++)
        kp_builder_row(&builder, gen.now + i * 1000, i, 0, 0);
    assert_int_equal(kpi_block_encode(kp_builder_batch(&builder), KPI_LEVEL_HOT, &bytes), KP_OK);
    assert_true(bytes.size < 256);
    kp_buf_deinit(&bytes);
    kp_builder_deinit(&builder);
    kp_actors_deinit(gen.actors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_stream_comes_back),
        cmocka_unit_test(peek_knows_the_ranges),
        cmocka_unit_test(unwanted_columns_are_absent),
        cmocka_unit_test(cut_or_flipped_is_corrupt),
        cmocka_unit_test(forged_blocks_do_no_harm),
        cmocka_unit_test(newer_versions_are_named),
        cmocka_unit_test(quiet_columns_cost_nearly_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
