/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks: rows of one stream in self-contained form.
 *
 *   header (64)  directory (chunk sizes)  actor table  column 0  column 1 ...  zeros to 8
 *
 * Actors are written once per block and columns hold small local numbers, so a block needs nothing
 * but itself to be read, and all its rows together pay for a thread's name once. Invariant:
 * whatever the bytes are, a reader gets exactly the rows that were encoded, or CORRUPT.
 */
#include "storage/block.h"

#include <stdlib.h>

#include "base/assert.h"

/* ---------- the local actor table ---------- */

/* Maps ids of the batch's registry to local numbers 1.. in order of first use. */
struct actor_set {
    kp_actor_id *ids;   /* of local number i + 1 */
    kp_actor_id *slots; /* open addressing: id */
    uint32_t *locals;   /* local number of a slot, 0 = free */
    uint32_t count, mask;
};

static kp_status actor_set_init(struct actor_set *set, uint32_t entries_max)
{
    uint32_t capacity = 16;
    while (capacity < entries_max * 2)
        capacity *= 2;
    *set = (struct actor_set){.mask = capacity - 1,
                              .ids = malloc((size_t)entries_max * sizeof(*set->ids)),
                              .slots = malloc((size_t)capacity * sizeof(*set->slots)),
                              .locals = calloc(capacity, sizeof(*set->locals))};
    return set->ids == NULL || set->slots == NULL || set->locals == NULL ? KP_NO_MEMORY : KP_OK;
}

static void actor_set_deinit(struct actor_set *set)
{
    free(set->ids);
    free(set->slots);
    free(set->locals);
}

static uint32_t actor_set_local(struct actor_set *set, kp_actor_id id)
{
    if (id == KP_ACTOR_UNKNOWN)
        return 0;
    uint32_t at = (uint32_t)kp_hash_mix(id) & set->mask;
    while (set->locals[at] != 0 && set->slots[at] != id)
        at = (at + 1) & set->mask;
    if (set->locals[at] == 0) {
        set->ids[set->count++] = id;
        set->slots[at] = id;
        set->locals[at] = set->count;
    }
    return set->locals[at];
}

/* Numbers of an actor, in the order they are stored. Strings are indexes into one list. */
enum actor_field {
    FIELD_TID,
    FIELD_PID,
    FIELD_START,
    FIELD_KTHREAD,
    FIELD_HOST,
    FIELD_COMM,
    FIELD_CGROUP,
    FIELD_COUNT
};

static void actor_numbers(const struct kp_actor *actor, int64_t *column, uint32_t stride)
{
    column[FIELD_TID * stride] = actor->tid;
    column[FIELD_PID * stride] = actor->pid;
    column[FIELD_START * stride] = actor->start;
    column[FIELD_KTHREAD * stride] = actor->kthread;
}

/* Body: for each of host, comm, cgroup a STR chunk; for each number a nested chunk. */
static kp_status actor_strings_encode(const struct kp_actors *actors, const struct actor_set *set,
                                      enum actor_field field, struct kp_buf *out)
{
    struct kp_str *strs = malloc((size_t)set->count * sizeof(*strs));
    struct kp_buf chunk = {0};
    if (strs == NULL)
        return KP_NO_MEMORY;
    for (uint32_t i = 0; i < set->count; i++) {
        const struct kp_actor *actor = kp_actors_get(actors, set->ids[i]);
        strs[i] = field == FIELD_HOST   ? actor->host
                  : field == FIELD_COMM ? actor->comm
                                        : actor->cgroup;
    }
    struct kp_vec vec = {.type = KP_TYPE_STR, .strs = strs};
    kp_status status = kpi_strs_encode(&vec, set->count, KPI_LEVEL_HOT, &chunk);
    if (status == KP_OK)
        kpi_str_add(out, (struct kp_str){chunk.data, (uint32_t)chunk.size});
    kp_buf_deinit(&chunk);
    free(strs);
    return status;
}

static kp_status actor_numbers_encode(const struct kp_actors *actors, const struct actor_set *set,
                                      struct kp_buf *out)
{
    int64_t *numbers = malloc((size_t)set->count * FIELD_HOST * sizeof(*numbers));
    if (numbers == NULL)
        return KP_NO_MEMORY;
    for (uint32_t i = 0; i < set->count; i++)
        actor_numbers(kp_actors_get(actors, set->ids[i]), numbers + i, set->count);
    kp_status status = KP_OK;
    for (uint32_t field = 0; status == KP_OK && field < FIELD_HOST; field++)
        status =
            kpi_ints_nest(numbers + (size_t)field * set->count, set->count, KPI_LEVEL_HOT, out);
    free(numbers);
    return status;
}

static kp_status actors_encode(const struct kp_actors *actors, const struct actor_set *set,
                               enum kpi_level level, struct kp_buf *out)
{
    if (set->count == 0)
        return KP_OK;
    if (set->count > KPI_BLOCK_ACTORS_MAX)
        return KP_LIMIT;
    size_t at = out->size;
    kp_buf_char(out, KPI_CHUNK_ACTORS);
    kp_status status = actor_numbers_encode(actors, set, out);
    for (enum actor_field field = FIELD_HOST; status == KP_OK && field < FIELD_COUNT; field++)
        status = actor_strings_encode(actors, set, field, out);
    if (status == KP_OK && level == KPI_LEVEL_SEALED)
        status = kpi_zstd_shrink(out, at);
    return out->failed ? KP_NO_MEMORY : status;
}

static kp_status actor_strings_decode(struct kp_reader *in, uint32_t count, struct kp_arena *arena,
                                      struct kp_vec *out)
{
    struct kp_str chunk = kpi_str_read(in);
    if (in->bad)
        return KP_CORRUPT;
    return kpi_strs_decode(chunk.ptr, chunk.len, count, arena, out);
}

static kp_status actor_numbers_decode(struct kp_reader *in, uint32_t count, int64_t *numbers,
                                      struct kp_actor *actors)
{
    for (uint32_t field = 0; field < FIELD_HOST; field++) {
        kp_status status = kpi_ints_unnest(in, count, numbers);
        if (status != KP_OK)
            return status;
        for (uint32_t i = 0; i < count; i++) {
            if (field == FIELD_TID)
                actors[i].tid = (uint32_t)numbers[i];
            else if (field == FIELD_PID)
                actors[i].pid = (uint32_t)numbers[i];
            else if (field == FIELD_START)
                actors[i].start = numbers[i];
            else
                actors[i].kthread = numbers[i] != 0;
        }
    }
    return KP_OK;
}

static kp_status actors_decode(struct kp_reader *in, uint32_t count, struct kp_arena *arena,
                               struct kp_actor *actors)
{
    int64_t *numbers = malloc((size_t)count * sizeof(*numbers));
    if (numbers == NULL)
        return KP_NO_MEMORY;
    kp_status status = actor_numbers_decode(in, count, numbers, actors);
    free(numbers);
    struct kp_vec strings[FIELD_COUNT] = {0};
    for (int field = FIELD_HOST; status == KP_OK && field < FIELD_COUNT; field++)
        status = actor_strings_decode(in, count, arena, &strings[field]);
    for (uint32_t i = 0; status == KP_OK && i < count; i++) {
        actors[i].host = kp_vec_str(&strings[FIELD_HOST], i);
        actors[i].comm = kp_vec_str(&strings[FIELD_COMM], i);
        actors[i].cgroup = kp_vec_str(&strings[FIELD_CGROUP], i);
    }
    return status == KP_OK && kp_reader_left(in) != 0 ? KP_CORRUPT : status;
}

kp_status kpi_block_actors(const struct kpi_block *block, struct kp_arena *arena,
                           struct kp_actor **out)
{
    struct kp_actor *actors = kp_arena_zalloc(arena, (size_t)block->actors + 1, sizeof(*actors));
    if (actors == NULL)
        return KP_NO_MEMORY;
    if (block->actors > 0) {
        uint8_t code;
        struct kp_reader body;
        void *owned;
        kp_status status = kpi_chunk_body(block->actors_chunk.bytes, block->actors_chunk.size, NULL,
                                          &code, &body, &owned);
        if (status != KP_OK)
            return status;
        status = code != KPI_CHUNK_ACTORS ? KP_CORRUPT
                                          : actors_decode(&body, block->actors, arena, actors + 1);
        free(owned);
        if (status != KP_OK)
            return status;
    }
    *out = actors;
    return KP_OK;
}

/* ---------- encoding ---------- */

struct encoder {
    const struct kp_batch *batch;
    enum kpi_level level;
    struct actor_set actors;
    int64_t *locals; /* one ACTOR column as local numbers */
    struct kp_buf directory, actors_chunk, columns;
};

static kp_status column_encode(struct encoder *encoder, uint32_t column)
{
    const struct kp_vec *vec = &encoder->batch->cols[column];
    uint32_t rows = encoder->batch->rows;
    if (kp_type_phys(vec->type) == KP_PHYS_STR)
        return kpi_strs_encode(vec, rows, encoder->level, &encoder->columns);
    if (vec->type != KP_TYPE_ACTOR)
        return kpi_ints_encode(vec->i64, rows, encoder->level, &encoder->columns);
    for (uint32_t i = 0; i < rows; i++)
        encoder->locals[i] = actor_set_local(&encoder->actors, (kp_actor_id)vec->i64[i]);
    return kpi_ints_encode(encoder->locals, rows, encoder->level, &encoder->columns);
}

/* All columns, then the actors they turned out to use; the directory tells the sizes of both. */
static kp_status parts_encode(struct encoder *encoder)
{
    uint32_t sizes[KP_STORED_MAX];
    uint8_t number[10];
    for (uint32_t c = 0; c < encoder->batch->cols_count; c++) {
        size_t before = encoder->columns.size;
        kp_status status = column_encode(encoder, c);
        if (status != KP_OK)
            return status;
        sizes[c] = (uint32_t)(encoder->columns.size - before);
    }
    kp_status status = actors_encode(encoder->batch->actors, &encoder->actors, encoder->level,
                                     &encoder->actors_chunk);
    if (status != KP_OK)
        return status;
    kp_buf_add(&encoder->directory, number, kp_store_varint(number, encoder->actors_chunk.size));
    for (uint32_t c = 0; c < encoder->batch->cols_count; c++)
        kp_buf_add(&encoder->directory, number, kp_store_varint(number, sizes[c]));
    return encoder->directory.failed || encoder->columns.failed ? KP_NO_MEMORY : KP_OK;
}

static void column_range(const int64_t *values, uint32_t rows, bool is_unsigned, uint8_t *out)
{
    uint64_t flip = is_unsigned ? 0 : (uint64_t)1 << 63; /* orders int64 as uint64 */
    uint64_t min = UINT64_MAX, max = 0;
    for (uint32_t i = 0; i < rows; i++) {
        uint64_t value = (uint64_t)values[i] ^ flip;
        min = KP_MIN(min, value);
        max = KP_MAX(max, value);
    }
    kp_store_u64(out, min ^ flip);
    kp_store_u64(out + 8, max ^ flip);
}

static kp_status block_assemble(const struct encoder *encoder, struct kp_buf *out)
{
    const struct kp_batch *batch = encoder->batch;
    size_t body = encoder->directory.size + encoder->actors_chunk.size + encoder->columns.size;
    size_t size = (KPI_BLOCK_HEADER + body + KPI_BLOCK_ALIGN - 1) & ~(size_t)(KPI_BLOCK_ALIGN - 1);
    if (size > UINT32_MAX)
        return KP_LIMIT;
    uint8_t header[KPI_BLOCK_HEADER] = {0};
    kp_store_u32(header + KPI_BLOCK_AT_MAGIC, KPI_BLOCK_MAGIC);
    header[KPI_BLOCK_AT_VERSION] = KPI_BLOCK_VERSION;
    header[KPI_BLOCK_AT_STREAM] = batch->stream->number;
    header[KPI_BLOCK_AT_COLUMNS] = (uint8_t)batch->cols_count;
    header[KPI_BLOCK_AT_LEVEL] = (uint8_t)encoder->level;
    kp_store_u32(header + KPI_BLOCK_AT_SIZE, (uint32_t)size);
    kp_store_u32(header + KPI_BLOCK_AT_ROWS, batch->rows);
    column_range(batch->cols[KP_COL_TS].i64, batch->rows, false, header + KPI_BLOCK_AT_TS_MIN);
    column_range(batch->cols[KP_COL_SEQ].i64, batch->rows, true, header + KPI_BLOCK_AT_SEQ_MIN);
    kp_store_u32(header + KPI_BLOCK_AT_DIRECTORY, (uint32_t)encoder->directory.size);
    kp_store_u32(header + KPI_BLOCK_AT_ACTORS, encoder->actors.count);
    if (kp_buf_reserve(out, size) == NULL)
        return KP_NO_MEMORY;
    char *at = out->data + out->size;
    static const uint8_t zeros[KPI_BLOCK_ALIGN];
    kp_buf_add(out, header, sizeof(header));
    kp_buf_add(out, encoder->directory.data, encoder->directory.size);
    kp_buf_add(out, encoder->actors_chunk.data, encoder->actors_chunk.size);
    kp_buf_add(out, encoder->columns.data, encoder->columns.size);
    kp_buf_add(out, zeros, size - KPI_BLOCK_HEADER - body);
    kp_store_u64(at + KPI_BLOCK_AT_SUM,
                 kp_hash64(at + KPI_BLOCK_AT_SIZE, size - KPI_BLOCK_AT_SIZE, kp_load_u64(at)));
    return KP_OK;
}

kp_status kpi_block_encode(const struct kp_batch *batch, enum kpi_level level, struct kp_buf *out)
{
    kp_assert(batch->sel == NULL && batch->rows > 0 && batch->rows <= KPI_BLOCK_ROWS_MAX);
    kp_assert(batch->cols_count == batch->stream->stored_count);
    struct encoder encoder = {.batch = batch, .level = level};
    uint32_t actor_columns = 0;
    for (uint32_t c = 0; c < batch->cols_count; c++)
        actor_columns += batch->cols[c].type == KP_TYPE_ACTOR;
    encoder.locals = malloc((size_t)batch->rows * sizeof(*encoder.locals));
    kp_status status = actor_set_init(&encoder.actors, batch->rows * actor_columns);
    if (encoder.locals == NULL)
        status = KP_NO_MEMORY;
    if (status == KP_OK)
        status = parts_encode(&encoder);
    if (status == KP_OK)
        status = block_assemble(&encoder, out);
    actor_set_deinit(&encoder.actors);
    free(encoder.locals);
    kp_buf_deinit(&encoder.directory);
    kp_buf_deinit(&encoder.actors_chunk);
    kp_buf_deinit(&encoder.columns);
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
        .stream = kp_stream_by_number(at[KPI_BLOCK_AT_STREAM]),
        .rows = kp_load_u32(at + KPI_BLOCK_AT_ROWS),
        .size = own_size,
        .ts_min = (kp_time)kp_load_u64(at + KPI_BLOCK_AT_TS_MIN),
        .ts_max = (kp_time)kp_load_u64(at + KPI_BLOCK_AT_TS_MAX),
        .seq_min = kp_load_u64(at + KPI_BLOCK_AT_SEQ_MIN),
        .seq_max = kp_load_u64(at + KPI_BLOCK_AT_SEQ_MAX),
    };
    out->level = at[KPI_BLOCK_AT_LEVEL] == 0 ? KPI_LEVEL_HOT : KPI_LEVEL_SEALED;
    out->actors = kp_load_u32(at + KPI_BLOCK_AT_ACTORS);
    /* the sum holds: what is strange now was written by a newer program */
    if (at[KPI_BLOCK_AT_VERSION] != KPI_BLOCK_VERSION || out->info.stream == NULL)
        return KP_VERSION;
    if (out->info.rows == 0 || out->info.rows > KPI_BLOCK_ROWS_MAX ||
        out->info.ts_min > out->info.ts_max || out->info.seq_min > out->info.seq_max ||
        out->actors > KPI_BLOCK_ACTORS_MAX)
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
        if (bytes == NULL || (size == 0 && (i > 0 || out->actors > 0)))
            return KP_CORRUPT;
        struct kpi_chunk_span span = {bytes, (uint32_t)size};
        if (i == 0)
            out->actors_chunk = span;
        else if (i <= out->columns)
            out->chunks[i - 1] = span;
    }
    return sizes.bad || kp_reader_left(&sizes) != 0 ? KP_CORRUPT : KP_OK;
}

kp_status kpi_block_open(const void *bytes, size_t size, struct kpi_block *out)
{
    struct kpi_block block = {0};
    kp_status status = header_read(bytes, size, &block);
    if (status == KP_OK)
        status = directory_read(bytes, &block);
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

static kp_status ints_column(const struct kpi_block *block, uint32_t column, struct kp_arena *arena,
                             struct kp_vec *out)
{
    const struct kpi_chunk_span *chunk = &block->chunks[column];
    uint32_t rows = block->info.rows;
    out->i64 = kp_arena_alloc(arena, (size_t)rows * sizeof(*out->i64));
    if (out->i64 == NULL)
        return KP_NO_MEMORY;
    kp_status status = kpi_ints_decode(chunk->bytes, chunk->size, rows, out->i64);
    if (status != KP_OK || out->type != KP_TYPE_ACTOR)
        return status;
    for (uint32_t i = 0; i < rows; i++)
        if ((uint64_t)out->i64[i] > block->actors)
            return KP_CORRUPT;
    return KP_OK;
}

kp_status kpi_block_column(const struct kpi_block *block, uint32_t column, struct kp_arena *arena,
                           struct kp_vec *out)
{
    struct kp_vec vec = {.type = block->info.stream->stored[column].type};
    enum kp_phys phys = kp_type_phys(vec.type);
    kp_status status;
    if (column >= block->columns) {
        status = absent_column(block->info.rows, phys, arena, &vec);
    } else if (phys == KP_PHYS_STR) {
        enum kp_type type = vec.type;
        status = kpi_strs_decode(block->chunks[column].bytes, block->chunks[column].size,
                                 block->info.rows, arena, &vec);
        vec.type = type;
    } else {
        status = ints_column(block, column, arena, &vec);
    }
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

kp_status kpi_block_decode(const void *bytes, size_t size, uint64_t wanted,
                           struct kp_actors *actors, struct kp_arena *arena, struct kp_batch *out)
{
    struct kpi_block block;
    kp_status status = kpi_block_open(bytes, size, &block);
    if (status != KP_OK)
        return status;
    uint32_t columns = block.info.stream->stored_count;
    struct kp_vec *cols = kp_arena_zalloc(arena, columns, sizeof(*cols));
    kp_actor_id *ids = NULL;
    if (cols == NULL)
        return KP_NO_MEMORY;
    for (uint32_t c = 0; c < columns; c++) {
        cols[c].type = block.info.stream->stored[c].type;
        if ((wanted >> c & 1) == 0)
            continue;
        status = kpi_block_column(&block, c, arena, &cols[c]);
        bool is_actor = cols[c].type == KP_TYPE_ACTOR;
        if (status == KP_OK && is_actor && ids == NULL)
            status = actors_intern(&block, actors, arena, &ids);
        if (status != KP_OK)
            return status;
        for (uint32_t i = 0; is_actor && i < block.info.rows; i++)
            cols[c].i64[i] = ids[cols[c].i64[i]];
    }
    *out = (struct kp_batch){.stream = block.info.stream,
                             .actors = actors,
                             .cols = cols,
                             .cols_count = columns,
                             .rows = block.info.rows};
    return KP_OK;
}
