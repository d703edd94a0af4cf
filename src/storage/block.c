/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks: rows of one stream in self-contained form.
 *
 *   header (64)  directory (chunk sizes)  actor table  column 0  column 1 ...  zeros to 8
 *
 * Actors are written once per block and columns hold small local numbers, so a block needs nothing
 * but itself to be read, and all its rows together pay for a thread's name once. A paged block
 * leaves both to the spine of its page (spine.h). Invariant: whatever the bytes are, a reader gets
 * exactly the rows that were encoded, or CORRUPT.
 */
#include "storage/block.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/big.h"
#include "storage/codec_link.h"
#include "storage/spine_durs.h"
#include "storage/ticks.h"

#define TICKS_WORTH 64u /* bytes of a chunk: fewer are not tried */

/* ---------- encoding ---------- */

struct encoder {
    const struct kp_batch *batch;
    enum kpi_level level;
    bool paged;      /* what the page's spine holds is left out, actors are the page's */
    uint64_t period; /* of the clock's ticks, for durations; 0 = none */
    struct kpi_actor_set *actors;
    int64_t *locals;  /* one ACTOR column as local numbers */
    int64_t *ordered; /* paged: one column thread by thread */
    uint32_t *order;  /* for this, by column order_key; 0 = not made yet */
    uint32_t order_key;
    struct kp_buf actors_chunk, columns;
    struct kpi_block_parts parts;
};

static void locals_take(struct encoder *encoder, uint32_t column)
{
    const struct kp_vec *vec = &encoder->batch->cols[column];
    for (uint32_t i = 0; i < encoder->batch->rows; i++)
        encoder->locals[i] = kpi_actor_set_local(encoder->actors, (kp_actor_id)vec->i64[i]);
}

/* encoder->ordered = values thread by thread. */
static kp_status values_order(struct encoder *encoder, uint32_t column, const int64_t *values)
{
    uint32_t rows = encoder->batch->rows;
    uint32_t key = kpi_spine_key(encoder->batch->stream, column);
    if (encoder->order_key != key) {
        struct kp_arena scratch = {0};
        int64_t *keys = kp_arena_alloc(&scratch, rows * sizeof(*keys));
        kp_status status = keys == NULL ? KP_NO_MEMORY : KP_OK;
        for (uint32_t i = 0; i < rows && keys != NULL; i++)
            keys[i] =
                kpi_actor_set_local(encoder->actors, (kp_actor_id)encoder->batch->cols[key].i64[i]);
        if (status == KP_OK)
            status = kpi_spine_order(keys, rows, encoder->actors->count, encoder->order);
        kp_arena_deinit(&scratch);
        if (status != KP_OK)
            return status;
        encoder->order_key = key;
    }
    for (uint32_t i = 0; i < rows; i++)
        encoder->ordered[i] = values[encoder->order[i]];
    return KP_OK;
}

/* Blocks of the log are made in a hurry. */
static kp_status texts_encode(struct encoder *encoder, uint32_t column)
{
    const struct kp_batch *batch = encoder->batch;
    bool linked;
    if (encoder->level != KPI_LEVEL_SEALED && encoder->level != KPI_LEVEL_COLD)
        return kpi_strs_encode(&batch->cols[column], batch->rows, encoder->level,
                               &encoder->columns);
    kp_status status = kpi_link_encode(batch, column, encoder->level, &linked, &encoder->columns);
    if (linked)
        encoder->parts.version = KP_MAX(encoder->parts.version, KPI_BLOCK_VERSION_7);
    return status;
}

/* A chunk of a duration becomes one of ticks when that is smaller. */
static kp_status ticks_try(struct encoder *encoder, const int64_t *values, size_t at)
{
    struct kp_buf chunk = {0};
    if (encoder->period == 0 || encoder->columns.size - at < TICKS_WORTH)
        return KP_OK;
    kp_buf_char(&chunk, KPI_CHUNK_TICKS);
    kp_status status =
        kpi_ticks_encode(values, NULL, encoder->batch->rows, encoder->period, 0, &chunk);
    if (status == KP_OK && chunk.size < encoder->columns.size - at) {
        encoder->columns.size = at;
        kp_buf_add(&encoder->columns, chunk.data, chunk.size);
    }
    kp_buf_deinit(&chunk);
    return status == KP_LIMIT ? KP_OK : status;
}

static kp_status column_encode(struct encoder *encoder, uint32_t column)
{
    const struct kp_vec *vec = &encoder->batch->cols[column];
    uint32_t rows = encoder->batch->rows;
    bool durs = encoder->level == KPI_LEVEL_COLD && column >= KP_COL_FIRST &&
                column == kpi_spine_dur(encoder->batch->stream);
    if (encoder->paged && (durs || kpi_spine_has(encoder->batch->stream, column)))
        return KP_OK;
    if (kp_type_phys(vec->type) == KP_PHYS_STR)
        return texts_encode(encoder, column);
    const int64_t *values = vec->i64;
    if (vec->type == KP_TYPE_ACTOR) {
        locals_take(encoder, column);
        values = encoder->locals;
    }
    if (encoder->paged && !kpi_ints_same(values, rows)) {
        kp_status status = values_order(encoder, column, values);
        if (status != KP_OK)
            return status;
        values = encoder->ordered;
    }
    size_t at = encoder->columns.size;
    kp_status status = kpi_ints_encode(values, rows, encoder->level, &encoder->columns);
    return status == KP_OK && vec->type == KP_TYPE_DUR ? ticks_try(encoder, values, at) : status;
}

/* All columns, then the actors they turned out to use. */
static kp_status parts_encode(struct encoder *encoder)
{
    for (uint32_t c = 0; c < encoder->batch->cols_count; c++) {
        size_t before = encoder->columns.size;
        kp_status status = column_encode(encoder, c);
        if (status != KP_OK)
            return status;
        encoder->parts.sizes[c] = (uint32_t)(encoder->columns.size - before);
    }
    if (encoder->paged)
        return KP_OK;
    return kpi_actor_set_encode(encoder->actors, encoder->batch->actors, encoder->level,
                                &encoder->actors_chunk);
}

void kpi_range_add(const int64_t *values, uint32_t rows, bool is_unsigned, uint64_t *min,
                   uint64_t *max)
{
    uint64_t flip = is_unsigned ? 0 : (uint64_t)1 << 63; /* orders int64 as uint64 */
    uint64_t low = *min ^ flip, high = *max ^ flip;
    for (uint32_t i = 0; i < rows; i++) {
        uint64_t value = (uint64_t)values[i] ^ flip;
        low = KP_MIN(low, value);
        high = KP_MAX(high, value);
    }
    *min = low ^ flip;
    *max = high ^ flip;
}

static void header_fill(const struct kpi_block_parts *parts, size_t size, size_t directory,
                        uint8_t *header)
{
    kp_store_u32(header + KPI_BLOCK_AT_MAGIC, KPI_BLOCK_MAGIC);
    header[KPI_BLOCK_AT_VERSION] = parts->version;
    header[KPI_BLOCK_AT_STREAM] = parts->stream;
    header[KPI_BLOCK_AT_COLUMNS] = (uint8_t)parts->columns_count;
    header[KPI_BLOCK_AT_LEVEL] = parts->level;
    kp_store_u32(header + KPI_BLOCK_AT_SIZE, (uint32_t)size);
    kp_store_u32(header + KPI_BLOCK_AT_ROWS, parts->rows);
    kp_store_u64(header + KPI_BLOCK_AT_TS_MIN, parts->ts_min);
    kp_store_u64(header + KPI_BLOCK_AT_TS_MAX, parts->ts_max);
    kp_store_u64(header + KPI_BLOCK_AT_SEQ_MIN, parts->seq_min);
    kp_store_u64(header + KPI_BLOCK_AT_SEQ_MAX, parts->seq_max);
    kp_store_u32(header + KPI_BLOCK_AT_DIRECTORY, (uint32_t)directory);
    kp_store_u32(header + KPI_BLOCK_AT_ACTORS, parts->actors);
}

kp_status kpi_block_finish(const struct kpi_block_parts *parts, const void *directory,
                           size_t directory_size, const struct kp_buf *body, struct kp_buf *out)
{
    static const uint8_t zeros[KPI_BLOCK_ALIGN];
    uint8_t header[KPI_BLOCK_HEADER] = {0};
    size_t used = KPI_BLOCK_HEADER + directory_size + body->size;
    size_t size = (used + KPI_BLOCK_ALIGN - 1) & ~(size_t)(KPI_BLOCK_ALIGN - 1);
    if (size > UINT32_MAX)
        return KP_LIMIT;
    if (body->failed || kp_buf_reserve(out, size) == NULL)
        return KP_NO_MEMORY;
    header_fill(parts, size, directory_size, header);
    char *at = out->data + out->size;
    kp_buf_add(out, header, sizeof(header));
    kp_buf_add(out, directory, directory_size);
    kp_buf_add(out, body->data, body->size);
    kp_buf_add(out, zeros, size - used);
    kp_store_u64(at + KPI_BLOCK_AT_SUM,
                 kp_hash64(at + KPI_BLOCK_AT_SIZE, size - KPI_BLOCK_AT_SIZE, kp_load_u64(at)));
    return KP_OK;
}

kp_status kpi_block_assemble(const struct kpi_block_parts *parts, struct kp_buf *actors_chunk,
                             const struct kp_buf *columns, struct kp_buf *out)
{
    uint8_t directory[(KP_STORED_MAX + 1) * 10];
    size_t size = kp_store_varint(directory, actors_chunk->size);
    for (uint32_t c = 0; c < parts->columns_count; c++)
        size += kp_store_varint(directory + size, parts->sizes[c]);
    kp_buf_add(actors_chunk, columns->data, columns->size);
    if (columns->failed)
        return KP_NO_MEMORY;
    return kpi_block_finish(parts, directory, size, actors_chunk, out);
}

static kp_status encoder_init(struct encoder *encoder)
{
    size_t rows = encoder->batch->rows;
    encoder->locals = malloc(rows * sizeof(*encoder->locals));
    encoder->ordered = malloc(rows * sizeof(*encoder->ordered));
    encoder->order = malloc(rows * sizeof(*encoder->order));
    bool whole = encoder->locals != NULL && encoder->ordered != NULL && encoder->order != NULL;
    return whole ? KP_OK : KP_NO_MEMORY;
}

static void encoder_deinit(struct encoder *encoder)
{
    free(encoder->locals);
    free(encoder->ordered);
    free(encoder->order);
    kp_buf_deinit(&encoder->actors_chunk);
    kp_buf_deinit(&encoder->columns);
}

uint8_t kpi_block_version(enum kpi_level level)
{
    if (level == KPI_LEVEL_COLD)
        return KPI_BLOCK_VERSION_8;
    return level == KPI_LEVEL_HOT ? KPI_BLOCK_VERSION : KPI_BLOCK_VERSION_2;
}

static kp_status batch_encode(struct encoder *encoder, struct kp_buf *out)
{
    const struct kp_batch *batch = encoder->batch;
    struct kpi_block_parts *parts = &encoder->parts;
    kp_assert(batch->sel == NULL && batch->rows > 0 && batch->rows <= KPI_BLOCK_ROWS_MAX);
    kp_assert(batch->cols_count == batch->stream->stored_count);
    *parts = KPI_BLOCK_PARTS_EMPTY;
    parts->version = kpi_block_version(encoder->level);
    parts->stream = batch->stream->number;
    parts->level = encoder->paged                    ? KPI_BLOCK_LEVEL_PAGED
                   : encoder->level == KPI_LEVEL_HOT ? KPI_BLOCK_LEVEL_HOT
                                                     : KPI_BLOCK_LEVEL_SEALED;
    parts->columns_count = batch->cols_count;
    parts->rows = batch->rows;
    kpi_range_add(batch->cols[KP_COL_TS].i64, batch->rows, false, &parts->ts_min, &parts->ts_max);
    kpi_range_add(batch->cols[KP_COL_SEQ].i64, batch->rows, true, &parts->seq_min, &parts->seq_max);
    kp_status status = encoder_init(encoder);
    if (status == KP_OK)
        status = parts_encode(encoder);
    parts->actors = encoder->actors->count;
    if (status == KP_OK)
        status = kpi_block_assemble(parts, &encoder->actors_chunk, &encoder->columns, out);
    encoder_deinit(encoder);
    return status;
}

kp_status kpi_block_encode(const struct kp_batch *batch, enum kpi_level level, struct kp_buf *out)
{
    struct kpi_actor_set actors;
    struct encoder encoder = {.batch = batch, .level = level, .actors = &actors};
    uint32_t actor_columns = 0;
    for (uint32_t c = 0; c < batch->cols_count; c++)
        actor_columns += batch->cols[c].type == KP_TYPE_ACTOR;
    kp_status status = kpi_actor_set_init(&actors, batch->rows * actor_columns);
    if (status == KP_OK)
        status = batch_encode(&encoder, out);
    kpi_actor_set_deinit(&actors);
    return status;
}

kp_status kpi_block_encode_paged(const struct kp_batch *batch, enum kpi_level level,
                                 struct kpi_actor_set *actors, uint64_t period, struct kp_buf *out)
{
    struct encoder encoder = {
        .batch = batch, .level = level, .paged = true, .actors = actors, .period = period};
    return batch_encode(&encoder, out);
}

kp_status kpi_block_columns(const struct kp_batch *batch, struct kpi_actor_set *actors,
                            enum kpi_level level, uint32_t *out_sizes, struct kp_buf *out)
{
    struct encoder encoder = {.batch = batch, .level = level, .paged = true, .actors = actors};
    kp_status status = encoder_init(&encoder);
    if (status == KP_OK)
        status = parts_encode(&encoder);
    if (status == KP_OK && encoder.columns.failed)
        status = KP_NO_MEMORY;
    if (status == KP_OK) {
        memcpy(out_sizes, encoder.parts.sizes, sizeof(encoder.parts.sizes));
        kp_buf_add(out, encoder.columns.data, encoder.columns.size);
    }
    encoder_deinit(&encoder);
    return status;
}

/* ---------- decoding ---------- */

static kp_status header_read(const uint8_t *at, size_t size, struct kpi_block *out)
{
    if (size < KPI_BLOCK_HEADER || kp_load_u32(at + KPI_BLOCK_AT_MAGIC) != KPI_BLOCK_MAGIC)
        return KP_CORRUPT;
    uint32_t own_size = kp_load_u32(at + KPI_BLOCK_AT_SIZE);
    if (own_size < KPI_BLOCK_HEADER || own_size > size || own_size % KPI_BLOCK_ALIGN != 0)
        return KP_CORRUPT;
    out->sum = kp_load_u64(at + KPI_BLOCK_AT_SUM);
    if (kp_hash64(at + KPI_BLOCK_AT_SIZE, own_size - KPI_BLOCK_AT_SIZE, kp_load_u64(at)) !=
        out->sum)
        return KP_CORRUPT;
    out->info = (struct kpi_block_info){
        .stream = kpi_stream_by_number(at[KPI_BLOCK_AT_STREAM]),
        .rows = kp_load_u32(at + KPI_BLOCK_AT_ROWS),
        .size = own_size,
        .ts_min = (kp_time)kp_load_u64(at + KPI_BLOCK_AT_TS_MIN),
        .ts_max = (kp_time)kp_load_u64(at + KPI_BLOCK_AT_TS_MAX),
        .seq_min = kp_load_u64(at + KPI_BLOCK_AT_SEQ_MIN),
        .seq_max = kp_load_u64(at + KPI_BLOCK_AT_SEQ_MAX),
    };
    out->level = at[KPI_BLOCK_AT_LEVEL] == 0 ? KPI_LEVEL_HOT : KPI_LEVEL_SEALED;
    out->paged = at[KPI_BLOCK_AT_LEVEL] == KPI_BLOCK_LEVEL_PAGED;
    out->joined = at[KPI_BLOCK_AT_LEVEL] == KPI_BLOCK_LEVEL_JOINED;
    out->actors = kp_load_u32(at + KPI_BLOCK_AT_ACTORS);
    /* the sum holds: what is strange now was written by a newer program */
    if (at[KPI_BLOCK_AT_VERSION] < KPI_BLOCK_VERSION ||
        at[KPI_BLOCK_AT_VERSION] > KPI_BLOCK_VERSION_8 || out->info.stream == NULL)
        return KP_VERSION;
    if (out->info.rows == 0 || out->info.rows > KPI_BLOCK_ROWS_MAX ||
        out->info.ts_min > out->info.ts_max || out->info.seq_min > out->info.seq_max ||
        out->actors > KPI_BLOCK_ACTORS_MAX ||
        (out->joined && out->info.stream != &kpi_spine_stream))
        return KP_CORRUPT;
    return KP_OK;
}

static kp_status directory_read(const uint8_t *at, struct kpi_block *out)
{
    uint32_t directory = kp_load_u32(at + KPI_BLOCK_AT_DIRECTORY);
    uint32_t columns = at[KPI_BLOCK_AT_COLUMNS];
    if (directory > out->info.size - KPI_BLOCK_HEADER || columns < KP_COL_FIRST)
        return KP_CORRUPT;
    struct kp_reader sizes = kp_reader_init(at + KPI_BLOCK_HEADER, directory);
    struct kp_reader body = kp_reader_init(at + KPI_BLOCK_HEADER + directory,
                                           out->info.size - KPI_BLOCK_HEADER - directory);
    out->columns = KP_MIN(columns, out->info.stream->stored_count);
    for (uint32_t i = 0; i <= columns; i++) {
        uint64_t size = kp_read_varint(&sizes);
        const uint8_t *bytes = size > kp_reader_left(&body) ? NULL : kp_read_bytes(&body, size);
        if (bytes == NULL || (size == 0 && !out->paged && (i > 0 || out->actors > 0)))
            return KP_CORRUPT;
        struct kpi_chunk_span span = {bytes, (uint32_t)size};
        if (i == 0)
            out->actors_chunk = span;
        else if (i <= out->columns)
            out->chunks[i - 1] = span;
    }
    return sizes.bad || kp_reader_left(&sizes) != 0 ? KP_CORRUPT : KP_OK;
}

/* Directory: varint size of the body, then the streams. */
static kp_status joined_read(const uint8_t *at, struct kpi_block *out)
{
    uint32_t directory = kp_load_u32(at + KPI_BLOCK_AT_DIRECTORY);
    if (directory > out->info.size - KPI_BLOCK_HEADER)
        return KP_CORRUPT;
    struct kp_reader in = kp_reader_init(at + KPI_BLOCK_HEADER, directory);
    uint64_t body = kp_read_varint(&in);
    if (in.bad || body == 0 || body > out->info.size - KPI_BLOCK_HEADER - directory)
        return KP_CORRUPT;
    out->actors_chunk = (struct kpi_chunk_span){in.at, (uint32_t)kp_reader_left(&in)};
    out->chunks[0] = (struct kpi_chunk_span){at + KPI_BLOCK_HEADER + directory, (uint32_t)body};
    return KP_OK;
}

kp_status kpi_block_open(const void *bytes, size_t size, struct kpi_block *out)
{
    struct kpi_block block = {0};
    kp_status status = header_read(bytes, size, &block);
    if (status == KP_OK)
        status = block.joined ? joined_read(bytes, &block) : directory_read(bytes, &block);
    if (status == KP_OK)
        *out = block;
    return status;
}

kp_status kpi_block_peek(const void *bytes, size_t size, struct kpi_block_info *out)
{
    struct kpi_block block;
    kp_status status = kpi_block_open(bytes, size, &block);
    if (status == KP_OK)
        *out = block.info;
    return status;
}

kp_status kpi_block_actors(const struct kpi_block *block, struct kp_arena *arena,
                           struct kp_actor **out)
{
    struct kp_actor *actors = kp_arena_zalloc(arena, (size_t)block->actors + 1, sizeof(*actors));
    if (actors == NULL)
        return KP_NO_MEMORY;
    if (block->actors > 0) {
        kp_status status = kpi_actors_decode(block->actors_chunk.bytes, block->actors_chunk.size,
                                             block->actors, arena, actors + 1);
        if (status != KP_OK)
            return status;
    }
    *out = actors;
    return KP_OK;
}

/* A column the block's writer did not know: zeros or empty strings. */
static kp_status absent_column(uint32_t rows, enum kp_phys phys, struct kp_arena *arena,
                               struct kp_vec *out)
{
    if (phys == KP_PHYS_STR) {
        out->strs = kp_arena_zalloc(arena, rows, sizeof(*out->strs));
        for (uint32_t i = 0; out->strs != NULL && i < rows; i++)
            out->strs[i].ptr = "";
        return out->strs == NULL ? KP_NO_MEMORY : KP_OK;
    }
    out->i64 = kp_arena_zalloc(arena, rows, sizeof(*out->i64));
    return out->i64 == NULL ? KP_NO_MEMORY : KP_OK;
}

/* Numbers of a paged block lie thread by thread. */
static kp_status ints_paged(const struct kpi_block *block, uint32_t column, struct kp_arena *arena,
                            int64_t *out)
{
    const struct kpi_chunk_span *chunk = &block->chunks[column];
    if (chunk->bytes[0] == KPI_CHUNK_CONST) /* alike in any order */
        return kpi_ints_decode(chunk->bytes, chunk->size, block->info.rows, out);
    int64_t *lying = kp_big_alloc(block->info.rows * sizeof(*lying));
    if (lying == NULL)
        return KP_NO_MEMORY;
    kp_status status = kpi_ints_decode(chunk->bytes, chunk->size, block->info.rows, lying);
    if (status == KP_OK)
        status = kpi_spine_restore(block, column, arena, lying, out);
    kp_big_free(lying);
    return status;
}

kp_status kpi_block_numbers(const struct kpi_block *block, uint32_t column, struct kp_arena *arena,
                            int64_t *out)
{
    uint32_t rows = block->info.rows;
    if (column >= block->columns) {
        memset(out, 0, rows * sizeof(*out));
        return KP_OK;
    }
    const struct kpi_chunk_span *chunk = &block->chunks[column];
    if (chunk->size == 0)
        return kpi_spine_column(block, column, out);
    kp_status status = block->paged ? ints_paged(block, column, arena, out)
                                    : kpi_ints_decode(chunk->bytes, chunk->size, rows, out);
    if (status != KP_OK || block->info.stream->stored[column].type != KP_TYPE_ACTOR)
        return status;
    uint64_t most = 0;
    for (uint32_t i = 0; i < rows; i++)
        most = KP_MAX(most, (uint64_t)out[i]);
    return most > block->actors ? KP_CORRUPT : KP_OK;
}

kp_status kpi_block_column(const struct kpi_block *block, uint32_t column, struct kp_arena *arena,
                           struct kp_vec *out)
{
    struct kp_vec vec = {.type = block->info.stream->stored[column].type};
    enum kp_phys phys = kp_type_phys(vec.type);
    kp_status status;
    if (phys != KP_PHYS_STR) {
        vec.i64 = kp_arena_alloc(arena, (size_t)block->info.rows * sizeof(*vec.i64));
        status = vec.i64 == NULL ? KP_NO_MEMORY : kpi_block_numbers(block, column, arena, vec.i64);
    } else if (column >= block->columns) {
        status = absent_column(block->info.rows, phys, arena, &vec);
    } else if (block->chunks[column].size == 0) {
        status = KP_CORRUPT;
    } else {
        enum kp_type type = vec.type;
        status = kpi_link_decode(block, column, arena, &vec);
        vec.type = type;
    }
    if (status == KP_OK)
        *out = vec;
    return status;
}

bool kpi_block_lies(const struct kp_stream *stream, uint32_t column)
{
    enum kp_type type = stream->stored[column].type;
    return stream->family == KP_FAMILY_KERNEL && !kpi_spine_has(stream, column) &&
           type != KP_TYPE_ACTOR && kp_type_phys(type) != KP_PHYS_STR;
}

static kp_status lying_read(const struct kpi_block *block, uint32_t column, struct kp_arena *arena,
                            int64_t *out)
{
    const struct kpi_chunk_span *chunk = &block->chunks[column];
    if (chunk->size > 0)
        return kpi_ints_decode(chunk->bytes, chunk->size, block->info.rows, out);
    int64_t *ordered = kp_big_alloc(block->info.rows * sizeof(*ordered));
    kp_status status = ordered == NULL ? KP_NO_MEMORY : kpi_spine_column(block, column, ordered);
    if (status == KP_OK)
        status = kpi_spine_lay(block, column, arena, ordered, out);
    kp_big_free(ordered);
    return status;
}

kp_status kpi_block_lying(const struct kpi_block *block, uint32_t column, struct kp_arena *arena,
                          struct kp_vec *out)
{
    struct kp_vec vec = {.type = block->info.stream->stored[column].type};
    uint32_t rows = block->info.rows;
    kp_status status = KP_OK;
    if (column >= block->columns)
        status = absent_column(rows, KP_PHYS_I64, arena, &vec);
    else
        vec.i64 = kp_arena_alloc(arena, (size_t)rows * sizeof(*vec.i64));
    if (status == KP_OK && vec.i64 == NULL)
        status = KP_NO_MEMORY;
    if (status == KP_OK && column < block->columns)
        status = lying_read(block, column, arena, vec.i64);
    if (status == KP_OK)
        *out = vec;
    return status;
}

static kp_status actors_intern(const struct kpi_block *block, struct kp_actors *actors,
                               struct kp_arena *arena, kp_actor_id **out)
{
    struct kp_actor *table;
    kp_status status = kpi_block_actors(block, arena, &table);
    if (status != KP_OK)
        return status;
    kp_actor_id *ids = kp_arena_zalloc(arena, (size_t)block->actors + 1, sizeof(*ids));
    if (ids == NULL)
        return KP_NO_MEMORY;
    for (uint32_t i = 1; i <= block->actors; i++) {
        ids[i] = kp_actors_intern(actors, &table[i]);
        if (ids[i] == KP_ACTOR_UNKNOWN)
            return KP_NO_MEMORY;
    }
    *out = ids;
    return KP_OK;
}

kp_status kpi_block_batch(const struct kpi_block *block, uint64_t wanted, struct kp_actors *actors,
                          struct kp_arena *arena, struct kp_batch *out)
{
    kp_actor_id *ids = NULL;
    return kpi_block_batch_ids(block, wanted, actors, &ids, arena, out);
}

kp_status kpi_block_batch_ids(const struct kpi_block *block, uint64_t wanted,
                              struct kp_actors *actors, kp_actor_id **ids, struct kp_arena *arena,
                              struct kp_batch *out)
{
    uint32_t columns = block->info.stream->stored_count;
    struct kp_vec *cols = kp_arena_zalloc(arena, columns, sizeof(*cols));
    if (cols == NULL)
        return KP_NO_MEMORY;
    for (uint32_t c = 0; c < columns; c++) {
        cols[c].type = block->info.stream->stored[c].type;
        if ((wanted >> c & 1) == 0)
            continue;
        kp_status status = kpi_block_column(block, c, arena, &cols[c]);
        bool is_actor = cols[c].type == KP_TYPE_ACTOR;
        if (status == KP_OK && is_actor && *ids == NULL)
            status = actors_intern(block, actors, arena, ids);
        if (status != KP_OK)
            return status;
        for (uint32_t i = 0; is_actor && i < block->info.rows; i++)
            cols[c].i64[i] = (*ids)[cols[c].i64[i]];
    }
    *out = (struct kp_batch){.stream = block->info.stream,
                             .actors = actors,
                             .cols = cols,
                             .cols_count = columns,
                             .rows = block->info.rows};
    return KP_OK;
}

kp_status kpi_block_decode(const void *bytes, size_t size, uint64_t wanted,
                           struct kp_actors *actors, struct kp_arena *arena, struct kp_batch *out)
{
    struct kpi_block block;
    kp_status status = kpi_block_open(bytes, size, &block);
    if (status == KP_OK && block.info.stream == &kpi_spine_stream)
        status = KP_CORRUPT; /* no rows of its own */
    return status == KP_OK ? kpi_block_batch(&block, wanted, actors, arena, out) : status;
}
