/* SPDX-License-Identifier: Apache-2.0
 *
 * Forged blocks: the sum is made right, so every later check is on its own. What decodes is encoded
 * and decoded again and must be the same.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "storage/joined.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same_column(const struct kp_batch *a, const struct kp_batch *b, uint32_t column)
{
    const struct kp_vec *x = &a->cols[column], *y = &b->cols[column];
    for (uint32_t row = 0; row < a->rows; row++) {
        if (kp_type_phys(x->type) == KP_PHYS_STR)
            kp_assert(kp_str_equal(kp_vec_str(x, row), kp_vec_str(y, row)));
        else
            kp_assert(x->i64[row] == y->i64[row]); /* one registry: equal actors have equal ids */
    }
}

static void encode_again(const struct kp_batch *batch, struct kp_actors *actors,
                         struct kp_arena *arena, enum kpi_level level)
{
    struct kp_buf bytes = {0};
    struct kp_batch back;
    kp_assert(kpi_block_encode(batch, level, &bytes) == KP_OK);
    kp_assert(kpi_block_decode(bytes.data, bytes.size, UINT64_MAX, actors, arena, &back) == KP_OK);
    kp_assert(back.rows == batch->rows && back.cols_count == batch->cols_count);
    for (uint32_t c = 0; c < batch->cols_count; c++)
        same_column(batch, &back, c);
    kp_buf_deinit(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size &= ~(size_t)(KPI_BLOCK_ALIGN - 1);
    if (size < KPI_BLOCK_HEADER)
        return 0;
    uint8_t *bytes = malloc(size); /* exact: an over-read shows */
    kp_assert(bytes != NULL);
    memcpy(bytes, data, size);
    kp_store_u32(bytes + KPI_BLOCK_AT_MAGIC, KPI_BLOCK_MAGIC);
    kp_store_u32(bytes + KPI_BLOCK_AT_SIZE, (uint32_t)size);
    kp_store_u64(bytes + KPI_BLOCK_AT_SUM, kp_hash64(bytes + KPI_BLOCK_AT_SIZE,
                                                     size - KPI_BLOCK_AT_SIZE, kp_load_u64(bytes)));
    struct kp_arena arena = {0};
    struct kp_actors *actors;
    struct kp_batch batch;
    kp_assert(kp_actors_init(&actors) == KP_OK);
    kp_status status = kpi_block_decode(bytes, size, UINT64_MAX, actors, &arena, &batch);
    kp_assert(status == KP_OK || status == KP_CORRUPT || status == KP_VERSION);
    if (status == KP_OK)
        encode_again(&batch, actors, &arena,
                     data[size / 2] % 2 == 0 ? KPI_LEVEL_HOT : KPI_LEVEL_SEALED);
    struct kp_batch joined[KP_STREAM_MAX];
    uint32_t count, taken;
    status = kpi_block_batches(bytes, size, actors, &arena, joined, &count, &taken);
    kp_assert(status == KP_OK || status == KP_CORRUPT || status == KP_VERSION);
    kp_actors_deinit(actors);
    kp_arena_deinit(&arena);
    free(bytes);
    return 0;
}
