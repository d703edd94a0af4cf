/* SPDX-License-Identifier: Apache-2.0
 *
 * The builder keeps strings as offsets into one text buffer while rows are added (the buffer may
 * move) and turns them into pointers when the batch is viewed.
 */
#include "column/batch.h"

#include <stdlib.h>

#include "base/assert.h"

static bool column_is_str(const struct kp_builder *builder, uint32_t column)
{
    return kp_type_phys(builder->cols[column].type) == KP_PHYS_STR;
}

kp_status kp_builder_init(struct kp_builder *builder, const struct kp_stream *stream,
                          const struct kp_actors *actors, uint32_t capacity)
{
    kp_assert(capacity > 0 && capacity <= KP_BATCH_ROWS_MAX);
    memset(builder, 0, sizeof(*builder));
    builder->capacity = capacity;
    builder->batch.stream = stream;
    builder->batch.actors = actors;
    builder->batch.cols = builder->cols;
    builder->batch.cols_count = stream->stored_count;
    for (uint32_t i = 0; i < stream->stored_count; i++) {
        builder->cols[i].type = stream->stored[i].type;
        size_t item = column_is_str(builder, i) ? sizeof(struct kp_str) : sizeof(int64_t);
        void *values = calloc(capacity, item);
        if (values == NULL) {
            kp_builder_deinit(builder);
            return KP_NO_MEMORY;
        }
        builder->cols[i].i64 = values;
    }
    return KP_OK;
}

void kp_builder_deinit(struct kp_builder *builder)
{
    for (uint32_t i = 0; i < KP_STORED_MAX; i++)
        free(builder->cols[i].i64);
    kp_buf_deinit(&builder->text);
    memset(builder, 0, sizeof(*builder));
}

void kp_builder_reset(struct kp_builder *builder)
{
    builder->batch.rows = 0;
    builder->viewed = 0;
    kp_buf_clear(&builder->text);
}

void kp_builder_row(struct kp_builder *builder, kp_time ts, uint64_t seq, uint32_t cpu,
                    kp_actor_id actor)
{
    kp_assert(!kp_builder_full(builder) && builder->viewed == 0);
    uint32_t row = builder->batch.rows++;
    builder->cols[KP_COL_TS].i64[row] = ts;
    builder->cols[KP_COL_SEQ].i64[row] = (int64_t)seq;
    builder->cols[KP_COL_CPU].i64[row] = cpu;
    builder->cols[KP_COL_ACTOR].i64[row] = actor;
    for (uint32_t i = KP_COL_FIRST; i < builder->batch.cols_count; i++) {
        if (column_is_str(builder, i))
            builder->cols[i].strs[row] = (struct kp_str){NULL, 0};
        else
            builder->cols[i].i64[row] = 0;
    }
}

kp_status kp_builder_str(struct kp_builder *builder, uint32_t column, struct kp_str value)
{
    kp_assert(column_is_str(builder, column));
    size_t offset = builder->text.size;
    kp_buf_str(&builder->text, value);
    if (builder->text.failed)
        return KP_NO_MEMORY;
    builder->cols[column].strs[builder->batch.rows - 1] =
        (struct kp_str){(const char *)(uintptr_t)offset, value.len};
    return KP_OK;
}

const struct kp_batch *kp_builder_batch(struct kp_builder *builder)
{
    for (uint32_t c = KP_COL_FIRST; c < builder->batch.cols_count; c++) {
        if (!column_is_str(builder, c))
            continue;
        struct kp_str *strs = builder->cols[c].strs;
        for (uint32_t row = builder->viewed; row < builder->batch.rows; row++)
            strs[row].ptr = strs[row].len == 0 ? "" : builder->text.data + (uintptr_t)strs[row].ptr;
    }
    builder->viewed = builder->batch.rows;
    return &builder->batch;
}

int kp_schema_find(const struct kp_schema *schema, struct kp_str name)
{
    for (uint32_t i = 0; i < schema->count; i++)
        if (kp_str_equal(schema->fields[i].name, name))
            return (int)i;
    return -1;
}
