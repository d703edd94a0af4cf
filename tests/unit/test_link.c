/* SPDX-License-Identifier: Apache-2.0
 *
 * Linked strings: whatever columns of a block say of each other, each comes back alone and together
 * with the others; what is said twice is kept once; forged bytes are CORRUPT or other texts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "rows.h"
#include "storage/block.h"

#define ROWS_MAX 1500u

static const struct kp_stream *spans;
static const enum kpi_level levels[] = {KPI_LEVEL_SEALED, KPI_LEVEL_COLD};

static struct rows_gen generator(uint64_t seed)
{
    struct rows_gen gen = {.seed = seed, .now = 1700000000ll * KP_SEC};
    assert_int_equal(kp_actors_init(&gen.actors), KP_OK);
    return gen;
}

static void builder_make(struct rows_gen *gen, struct kp_builder *out)
{
    spans = kp_stream_by_number(KP_S_SPANS);
    assert_int_equal(kp_builder_init(out, spans, gen->actors, ROWS_MAX), KP_OK);
}

static void set_text(struct kp_builder *builder, const char *column, struct kp_str text)
{
    int at = kp_stream_stored(spans, column);
    assert_true(at > 0);
    assert_int_equal(kp_builder_str(builder, (uint32_t)at, text), KP_OK);
}

static void columns_equal(const struct kp_batch *batch, const struct kp_batch *back, uint32_t c)
{
    for (uint32_t row = 0; row < batch->rows; row++)
        assert_true(
            kp_str_equal(kp_vec_str(&batch->cols[c], row), kp_vec_str(&back->cols[c], row)));
}

/* All columns at once, then each STR column with nothing else decoded. */
static void round_trip(const struct kp_batch *batch, enum kpi_level level, struct kp_actors *actors)
{
    struct kp_buf bytes = {0};
    struct kp_batch back;
    assert_int_equal(kpi_block_encode(batch, level, &bytes), KP_OK);
    uint8_t *tight = malloc(bytes.size);
    assert_non_null(tight);
    memcpy(tight, bytes.data, bytes.size);
    for (uint32_t c = 0; c <= spans->stored_count; c++) {
        struct kp_arena arena = {0};
        bool all = c == spans->stored_count;
        if (!all && kp_type_phys(spans->stored[c].type) != KP_PHYS_STR)
            continue;
        uint64_t wanted = all ? UINT64_MAX : (uint64_t)1 << c;
        assert_int_equal(kpi_block_decode(tight, bytes.size, wanted, actors, &arena, &back), KP_OK);
        if (!all)
            columns_equal(batch, &back, c);
        for (uint32_t row = 0; all && row < batch->rows; row++)
            assert_true(rows_equal(batch, row, &back, row));
        kp_arena_deinit(&arena);
    }
    free(tight);
    kp_buf_deinit(&bytes);
}

static void traces_come_back(void **state)
{
    (void)state;
    static const uint32_t counts[] = {1, 2, 9, 300, ROWS_MAX};
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct rows_gen gen = generator(seed);
        struct kp_builder builder;
        builder_make(&gen, &builder);
        rows_spans(&gen, &builder, counts[seed % KP_ARRAY_LEN(counts)]);
        for (size_t l = 0; l < KP_ARRAY_LEN(levels); l++)
            round_trip(kp_builder_batch(&builder), levels[l], gen.actors);
        kp_builder_deinit(&builder);
        kp_actors_deinit(gen.actors);
    }
}

/* Texts of a few letters in every column: what is found elsewhere is there by chance, holes are
 * among the letters. */
static void any_texts_come_back(void **state)
{
    (void)state;
    static const char *const columns[] = {"trace_id", "span_id", "parent_id", "txn", "attrs"};
    static const char letters[] = "0aF\x1a";
    for (uint64_t seed = 0; seed < 24; seed++) {
        struct rows_gen gen = generator(seed);
        struct kp_builder builder;
        builder_make(&gen, &builder);
        for (uint32_t row = 0; row < 80; row++) {
            kp_builder_row(&builder, row, row, 0, KP_ACTOR_UNKNOWN);
            for (size_t c = 0; c < KP_ARRAY_LEN(columns); c++) {
                char text[300];
                uint32_t length = (uint32_t)rows_below(&gen, seed % 3 == 0 ? 3 : 300) & ~(seed & 1);
                for (uint32_t i = 0; i < length; i++)
                    text[i] = letters[rows_below(&gen, 2 + seed % 3)];
                set_text(&builder, columns[c], (struct kp_str){text, length});
            }
        }
        for (size_t l = 0; l < KP_ARRAY_LEN(levels); l++)
            round_trip(kp_builder_batch(&builder), levels[l], gen.actors);
        kp_builder_deinit(&builder);
        kp_actors_deinit(gen.actors);
    }
}

static uint32_t block_bytes(struct kp_builder *builder, enum kpi_level level)
{
    struct kp_buf bytes = {0};
    assert_int_equal(kpi_block_encode(kp_builder_batch(builder), level, &bytes), KP_OK);
    uint32_t size = (uint32_t)bytes.size;
    kp_buf_deinit(&bytes);
    return size;
}

/* Noise is 16 bytes for each of 428 traces, about 8 for its transaction, 8 for each span. */
static void what_is_said_twice_is_kept_once(void **state)
{
    (void)state;
    struct rows_gen gen = generator(3);
    struct kp_builder builder;
    builder_make(&gen, &builder);
    rows_spans(&gen, &builder, ROWS_MAX);
    uint32_t plain = block_bytes(&builder, KPI_LEVEL_FAST);
    for (size_t l = 0; l < KP_ARRAY_LEN(levels); l++)
        assert_true(block_bytes(&builder, levels[l]) < plain / 3 * 2);
    kp_builder_deinit(&builder);
    kp_actors_deinit(gen.actors);
}

static void forged_links_do_no_harm(void **state)
{
    (void)state;
    struct rows_gen gen = generator(5);
    struct kp_builder builder;
    uint32_t refused = 0;
    struct kp_buf blocks[KP_ARRAY_LEN(levels)] = {{0}};
    builder_make(&gen, &builder);
    rows_spans(&gen, &builder, 60);
    for (size_t l = 0; l < KP_ARRAY_LEN(levels); l++)
        assert_int_equal(kpi_block_encode(kp_builder_batch(&builder), levels[l], &blocks[l]),
                         KP_OK);
    for (uint32_t round = 0; round < 4000; round++) {
        const struct kp_buf *block = &blocks[round % KP_ARRAY_LEN(levels)];
        struct kp_arena arena;
        struct kp_batch back;
        kp_arena_init(&arena, (size_t)64 << 20);
        uint8_t *tight = malloc(block->size);
        assert_non_null(tight);
        memcpy(tight, block->data, block->size);
        for (uint64_t n = rows_below(&gen, 3) + 1; n > 0; n--)
            tight[64 + rows_below(&gen, block->size - 64)] = (uint8_t)rows_random(&gen);
        kp_store_u64(tight + KPI_BLOCK_AT_SUM,
                     kp_hash64(tight + KPI_BLOCK_AT_SIZE, block->size - KPI_BLOCK_AT_SIZE,
                               kp_load_u64(tight)));
        kp_status status =
            kpi_block_decode(tight, block->size, UINT64_MAX, gen.actors, &arena, &back);
        assert_true(status == KP_OK || status == KP_CORRUPT || status == KP_NO_MEMORY);
        refused += status != KP_OK;
        free(tight);
        kp_arena_deinit(&arena);
    }
    assert_true(refused > 300);
    for (size_t l = 0; l < KP_ARRAY_LEN(levels); l++)
        kp_buf_deinit(&blocks[l]);
    kp_builder_deinit(&builder);
    kp_actors_deinit(gen.actors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(traces_come_back),
        cmocka_unit_test(any_texts_come_back),
        cmocka_unit_test(what_is_said_twice_is_kept_once),
        cmocka_unit_test(forged_links_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
