/* SPDX-License-Identifier: Apache-2.0
 *
 * Collecting the rows of a commit and writing them as one joined block. Batches are copied as they
 * come, with actors as local numbers; when the commit is due they are put together by stream,
 * ordered and encoded once. Encoding each batch for itself cost a header, an actor table and a
 * choice of codecs per stream and batch.
 *
 * Codecs are chosen by one look at the values (level FAST). Few rows are compressed as a whole,
 * many column by column: small chunks have nothing to repeat but each other.
 */
#include "storage/joined.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define ROWS_MAX    32768u /* rows held */
#define ACTOR_COST  48u    /* of an entry of the actor table, without its strings */
#define CHUNK_COST  96u    /* of a chunk, beside its values */
#define COLUMN_ROWS 2048u  /* from so many rows on each column is compressed for itself */
#define VALUE_COST  10u    /* bytes a number takes at most */

struct entry {
    const struct kp_stream *stream;
    struct kp_vec *cols;
    uint32_t rows;
};

struct kpi_join {
    const struct kp_actors *registry;
    struct kpi_actor_set actors;
    uint8_t *memory;
    size_t size, used;
    struct entry *entries; /* room for entries_max */
    uint32_t entries_max, actors_max;
    uint32_t count, rows;
    size_t bound, limit; /* bytes that encoding may take; that it must not exceed */
};

/* ---------- collecting ---------- */

/* What batches and actors take beside rows follows from the memory for rows. */
static uint32_t entries_max(size_t memory)
{
    return (uint32_t)KP_MIN(memory / 512 + 16, 1024u);
}

static uint32_t actors_max(size_t memory)
{
    return (uint32_t)KP_MIN(memory / 64 + 64, 32768u);
}

size_t kpi_join_memory(size_t memory)
{
    return sizeof(struct kpi_join) + memory + entries_max(memory) * sizeof(struct entry) +
           kpi_actor_set_memory(actors_max(memory));
}

kp_status kpi_join_new(const struct kp_actors *actors, size_t memory, size_t limit,
                       struct kpi_join **out)
{
    struct kpi_join *join = calloc(1, sizeof(*join));
    if (join == NULL)
        return KP_NO_MEMORY;
    join->registry = actors;
    join->size = memory;
    join->limit = limit;
    join->memory = malloc(memory);
    join->entries_max = entries_max(memory);
    join->actors_max = actors_max(memory);
    join->entries = malloc(join->entries_max * sizeof(*join->entries));
    kp_status status = kpi_actor_set_init(&join->actors, join->actors_max);
    if (join->memory == NULL || join->entries == NULL || status != KP_OK) {
        kpi_join_free(join);
        return KP_NO_MEMORY;
    }
    *out = join;
    return KP_OK;
}

void kpi_join_free(struct kpi_join *join)
{
    if (join == NULL)
        return;
    kpi_actor_set_deinit(&join->actors);
    free(join->memory);
    free(join->entries);
    free(join);
}

uint32_t kpi_join_rows(const struct kpi_join *join)
{
    return join->rows;
}

static size_t batch_memory(const struct kp_batch *batch, uint32_t *out_actors)
{
    size_t size = batch->cols_count * sizeof(struct kp_vec);
    *out_actors = 0;
    for (uint32_t c = 0; c < batch->cols_count; c++) {
        const struct kp_vec *vec = &batch->cols[c];
        *out_actors += vec->type == KP_TYPE_ACTOR ? batch->rows : 0;
        if (kp_type_phys(vec->type) != KP_PHYS_STR) {
            size += (size_t)batch->rows * sizeof(int64_t);
            continue;
        }
        size += (size_t)batch->rows * sizeof(struct kp_str);
        for (uint32_t i = 0; i < batch->rows; i++)
            size += kp_vec_str(vec, i).len;
    }
    return (size + 7) & ~(size_t)7;
}

static void *memory_take(struct kpi_join *join, size_t size)
{
    void *at = join->memory + join->used;
    join->used += (size + 7) & ~(size_t)7;
    kp_assert(join->used <= join->size);
    return at;
}

static void actors_copy(struct kpi_join *join, const struct kp_vec *from, uint32_t rows,
                        int64_t *to)
{
    int64_t last = KP_ACTOR_UNKNOWN, local = 0;
    for (uint32_t i = 0; i < rows; i++) {
        uint32_t before = join->actors.count;
        if (from->i64[i] != last)
            local = kpi_actor_set_local(&join->actors, (kp_actor_id)from->i64[i]);
        last = from->i64[i];
        to[i] = local;
        if (join->actors.count == before)
            continue;
        const struct kp_actor *actor = kp_actors_get(join->registry, (kp_actor_id)last);
        join->bound +=
            ACTOR_COST + actor->host.len + actor->comm.len + actor->cgroup.len + actor->boot.len;
    }
}

static void strings_copy(struct kpi_join *join, const struct kp_vec *from, uint32_t rows,
                         struct kp_str *to)
{
    size_t size = 0;
    char *text = (char *)join->memory + join->used;
    for (uint32_t i = 0; i < rows; i++) {
        struct kp_str from_str = kp_vec_str(from, i);
        to[i] = (struct kp_str){text + size, from_str.len};
        if (from_str.len > 0)
            memcpy(text + size, from_str.ptr, from_str.len);
        size += from_str.len;
    }
    memory_take(join, size);
}

static void column_copy(struct kpi_join *join, const struct kp_vec *from, uint32_t rows,
                        struct kp_vec *to)
{
    *to = (struct kp_vec){.type = from->type};
    if (kp_type_phys(from->type) == KP_PHYS_STR) {
        to->strs = memory_take(join, rows * sizeof(*to->strs));
        strings_copy(join, from, rows, to->strs);
        return;
    }
    to->i64 = memory_take(join, rows * sizeof(*to->i64));
    if (from->type == KP_TYPE_ACTOR)
        actors_copy(join, from, rows, to->i64);
    else
        memcpy(to->i64, from->i64, rows * sizeof(*to->i64));
}

static void batch_copy(struct kpi_join *join, const struct kp_batch *batch)
{
    struct entry *entry = &join->entries[join->count++];
    entry->stream = batch->stream;
    entry->rows = batch->rows;
    entry->cols = memory_take(join, batch->cols_count * sizeof(*entry->cols));
    for (uint32_t c = 0; c < batch->cols_count; c++)
        column_copy(join, &batch->cols[c], batch->rows, &entry->cols[c]);
    join->rows += batch->rows;
}

bool kpi_join_add(struct kpi_join *join, const struct kp_batch *batch)
{
    uint32_t actors, actors_before = join->actors.count, rows_before = join->rows;
    size_t size = batch_memory(batch, &actors) + batch->cols_count * 8;
    size_t used_before = join->used, bound_before = join->bound;
    kp_assert(batch->sel == NULL && batch->rows > 0);
    if (batch->stream->family != KP_FAMILY_KERNEL || batch->actors != join->registry ||
        size > join->size - join->used || batch->rows > ROWS_MAX - join->rows ||
        actors > join->actors_max - join->actors.count || join->count == join->entries_max)
        return false;
    batch_copy(join, batch);
    join->bound += size / 8 * VALUE_COST + batch->cols_count * CHUNK_COST + KPI_BLOCK_HEADER;
    if (join->bound <= join->limit)
        return true;
    join->count--; /* new actors with long names: as before */
    join->rows = rows_before;
    join->used = used_before;
    join->bound = bound_before;
    kpi_actor_set_cut(&join->actors, actors_before);
    return false;
}

static void join_clear(struct kpi_join *join)
{
    kpi_actor_set_cut(&join->actors, 0);
    join->used = 0;
    join->count = 0;
    join->rows = 0;
    join->bound = 0;
}

/* ---------- by stream ---------- */

/* All rows of one stream; a single batch is used as it lies. */
static kp_status stream_gather(const struct kpi_join *join, const struct kp_stream *stream,
                               uint32_t batches, uint32_t rows, struct kp_arena *arena,
                               struct kp_batch *out)
{
    uint32_t columns = stream->stored_count;
    struct kp_vec *cols = kp_arena_zalloc(arena, columns, sizeof(*cols));
    if (cols == NULL)
        return KP_NO_MEMORY;
    for (uint32_t c = 0, i = 0; c < columns; c++, i = 0) {
        cols[c].type = stream->stored[c].type;
        size_t item = kp_type_phys(cols[c].type) == KP_PHYS_STR ? sizeof(*cols[c].strs)
                                                                : sizeof(*cols[c].i64);
        char *to = batches > 1 ? kp_arena_alloc(arena, rows * item) : NULL;
        if (batches > 1 && to == NULL)
            return KP_NO_MEMORY;
        cols[c].i64 = (int64_t *)to;
        for (const struct entry *e = join->entries; i < batches; e++) {
            if (e->stream != stream)
                continue;
            if (batches == 1)
                cols[c].i64 = e->cols[c].i64;
            else
                memcpy(to, e->cols[c].i64, e->rows * item);
            to = batches == 1 ? to : to + e->rows * item;
            i++;
        }
    }
    *out = (struct kp_batch){.stream = stream,
                             .actors = join->registry,
                             .cols = cols,
                             .cols_count = columns,
                             .rows = rows};
    return KP_OK;
}

/* One batch for each stream that occurs, by its number. */
static kp_status streams_gather(const struct kpi_join *join, struct kp_arena *arena,
                                struct kp_batch *out, uint32_t *out_count)
{
    uint32_t batches[KP_STREAM_MAX] = {0}, rows[KP_STREAM_MAX] = {0};
    kp_status status = KP_OK;
    for (uint32_t i = 0; i < join->count; i++) {
        batches[join->entries[i].stream->number]++;
        rows[join->entries[i].stream->number] += join->entries[i].rows;
    }
    *out_count = 0;
    for (uint32_t s = 0; s < KP_STREAM_MAX && status == KP_OK; s++)
        if (batches[s] > 0)
            status = stream_gather(join, kp_stream_by_number(s), batches[s], rows[s], arena,
                                   &out[(*out_count)++]);
    return status;
}

/* ---------- encoding ---------- */

struct joiner {
    struct kpi_join *join;
    enum kpi_level level;
    struct kp_batch batches[KP_STREAM_MAX];
    uint32_t count;
    struct kpi_block_parts parts;
    struct kp_buf sizes, chunks, body, directory;
};

static void varint_add(struct kp_buf *out, uint64_t value)
{
    uint8_t bytes[10];
    kp_buf_add(out, bytes, kp_store_varint(bytes, value));
}

static kp_status stream_add(struct joiner *j, const struct kp_batch *batch)
{
    uint32_t sizes[KP_STORED_MAX];
    kp_status status = kpi_block_columns(batch, &j->join->actors, j->level, sizes, &j->chunks);
    kp_buf_char(&j->directory, (char)batch->stream->number);
    varint_add(&j->directory, batch->rows);
    kp_buf_char(&j->sizes, (char)batch->cols_count);
    for (uint32_t c = 0; c < batch->cols_count && status == KP_OK; c++)
        if (!kpi_spine_has(batch->stream, c))
            varint_add(&j->sizes, sizes[c]);
    return status;
}

/* The body: sizes of all chunks and the chunks, actors first, then the spine, then each stream. */
static kp_status chunks_add(struct joiner *j)
{
    struct kp_buf spine = {0};
    kp_status status =
        kpi_spine_columns(j->batches, j->count, &j->join->actors, j->level, &j->parts, &spine);
    if (status == KP_OK)
        status = kpi_actor_set_encode(&j->join->actors, j->join->registry, j->level, &j->chunks);
    varint_add(&j->sizes, j->chunks.size);
    for (uint32_t c = 0; c < KPI_SPINE_COLUMNS && status == KP_OK; c++)
        varint_add(&j->sizes, j->parts.sizes[c]);
    kp_buf_add(&j->chunks, spine.data, spine.size);
    if (status == KP_OK && spine.failed)
        status = KP_NO_MEMORY;
    kp_buf_deinit(&spine);
    for (uint32_t i = 0; i < j->count && status == KP_OK; i++)
        status = stream_add(j, &j->batches[i]);
    return status;
}

static kp_status joined_add(struct joiner *j, struct kp_buf *out)
{
    kp_status status = chunks_add(j);
    if (status != KP_OK)
        return status;
    kp_buf_char(&j->body, KPI_CHUNK_JOINED);
    varint_add(&j->body, j->sizes.size);
    kp_buf_add(&j->body, j->sizes.data, j->sizes.size);
    kp_buf_add(&j->body, j->chunks.data, j->chunks.size);
    if (j->sizes.failed || j->chunks.failed)
        return KP_NO_MEMORY;
    if (j->level == KPI_LEVEL_BARE)
        status = kpi_zstd_shrink(&j->body, 0, KPI_LEVEL_FAST);
    if (status != KP_OK)
        return status;
    struct kp_buf directory = {0};
    varint_add(&directory, j->body.size);
    kp_buf_add(&directory, j->directory.data, j->directory.size);
    j->parts.version = KPI_BLOCK_VERSION_3;
    j->parts.stream = KPI_SPINE_STREAM;
    j->parts.level = KPI_BLOCK_LEVEL_JOINED;
    j->parts.columns_count = KPI_SPINE_COLUMNS;
    status = directory.failed || j->directory.failed
                 ? KP_NO_MEMORY
                 : kpi_block_finish(&j->parts, directory.data, directory.size, &j->body, out);
    kp_buf_deinit(&directory);
    return status;
}

/* Rows that lanes cannot tell apart: a block for each stream, with ids instead of local numbers. */
static kp_status apart_add(struct joiner *j, struct kp_buf *out)
{
    kp_status status = KP_OK;
    for (uint32_t b = 0; b < j->count && status == KP_OK; b++) {
        const struct kp_batch *batch = &j->batches[b];
        for (uint32_t c = 0; c < batch->cols_count; c++)
            for (uint32_t i = 0; batch->cols[c].type == KP_TYPE_ACTOR && i < batch->rows; i++)
                if (batch->cols[c].i64[i] != 0)
                    batch->cols[c].i64[i] = j->join->actors.ids[batch->cols[c].i64[i] - 1];
        status = kpi_block_encode(batch, KPI_LEVEL_HOT, out);
    }
    return status;
}

kp_status kpi_join_encode(struct kpi_join *join, struct kp_buf *out)
{
    struct joiner j = {.join = join,
                       .level = join->rows < COLUMN_ROWS ? KPI_LEVEL_BARE : KPI_LEVEL_FAST};
    struct kp_arena arena = {0};
    size_t at = out->size;
    join->actors.identity = true;
    kp_status status = streams_gather(join, &arena, j.batches, &j.count);
    if (status == KP_OK && j.count > 0)
        status = joined_add(&j, out);
    if (status == KP_LIMIT) {
        out->size = at;
        status = apart_add(&j, out);
    }
    join->actors.identity = false;
    join_clear(join);
    kp_buf_deinit(&j.sizes);
    kp_buf_deinit(&j.chunks);
    kp_buf_deinit(&j.body);
    kp_buf_deinit(&j.directory);
    kp_arena_deinit(&arena);
    return status;
}
