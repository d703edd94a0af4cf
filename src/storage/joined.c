/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading joined blocks. Which streams there are, and how many rows of each, lies in the directory
 * in plain; chunks are in the body, which may be compressed as a whole. Invariant: every size is
 * checked against what is left, and the spine must count the same rows as the directory.
 */
#include "storage/joined.h"

#include "base/assert.h"

kp_status kpi_joined_next(const struct kpi_block *joined, uint32_t *at, struct kpi_block *out)
{
    const struct kpi_chunk_span *list = &joined->actors_chunk;
    if (*at == list->size)
        return KP_END;
    struct kp_reader in = kp_reader_init(list->bytes + *at, list->size - *at);
    const struct kp_stream *stream = kp_stream_by_number(kp_read_u8(&in));
    uint64_t rows = kp_read_varint(&in);
    if (in.bad || rows == 0 || rows > joined->info.rows)
        return KP_CORRUPT;
    if (stream == NULL || stream->family != KP_FAMILY_KERNEL)
        return KP_VERSION;
    *at = list->size - (uint32_t)kp_reader_left(&in);
    *out = (struct kpi_block){.info = joined->info,
                              .level = KPI_LEVEL_HOT,
                              .paged = true,
                              .sum = joined->sum,
                              .actors = joined->actors};
    out->info.stream = stream;
    out->info.rows = (uint32_t)rows;
    out->info.size = (uint32_t)(joined->info.size * rows / joined->info.rows); /* its share */
    return KP_OK;
}

/* ---------- the body ---------- */

/* Sizes of all chunks, then the chunks in the same order. */
struct body {
    struct kp_reader sizes, chunks;
    struct kpi_block head; /* the spine */
    struct kpi_block *parts;
    uint32_t count;
};

static kp_status parts_count(const struct kpi_block *joined, uint32_t *out)
{
    struct kpi_block part;
    uint32_t at = 0, rows = 0;
    kp_status status;
    for (*out = 0; (status = kpi_joined_next(joined, &at, &part)) == KP_OK; ++*out) {
        if (*out == KP_STREAM_MAX || part.info.rows > joined->info.rows - rows)
            return KP_CORRUPT;
        rows += part.info.rows;
    }
    if (status != KP_END)
        return status;
    return rows == joined->info.rows ? KP_OK : KP_CORRUPT;
}

static struct kpi_chunk_span chunk_take(struct body *body)
{
    uint64_t size = kp_read_varint(&body->sizes);
    const uint8_t *bytes =
        size > kp_reader_left(&body->chunks) ? NULL : kp_read_bytes(&body->chunks, size);
    body->sizes.bad |= bytes == NULL;
    return (struct kpi_chunk_span){bytes, (uint32_t)size};
}

static void part_read(struct body *body, struct kpi_block *part)
{
    uint32_t columns = kp_read_u8(&body->sizes);
    part->columns = KP_MIN(columns, part->info.stream->stored_count);
    for (uint32_t c = 0; c < columns && !body->sizes.bad; c++) {
        if (kpi_spine_has(part->info.stream, c))
            continue;
        struct kpi_chunk_span span = chunk_take(body);
        body->sizes.bad |= span.size == 0;
        if (c < part->columns)
            part->chunks[c] = span;
    }
    body->sizes.bad |= columns < KP_COL_FIRST;
}

static kp_status body_open(const struct kpi_block *joined, struct kp_arena *arena,
                           struct body *body)
{
    uint8_t code;
    struct kp_reader in;
    void *owned;
    kp_status status =
        kpi_chunk_body(joined->chunks[0].bytes, joined->chunks[0].size, arena, &code, &in, &owned);
    if (status != KP_OK)
        return status;
    uint64_t sizes = kp_read_varint(&in);
    if (code != KPI_CHUNK_JOINED || in.bad || sizes > kp_reader_left(&in))
        return KP_CORRUPT;
    body->sizes = kp_reader_init(in.at, sizes);
    body->chunks = kp_reader_init(in.at + sizes, kp_reader_left(&in) - sizes);
    return KP_OK;
}

static kp_status body_read(const struct kpi_block *joined, struct body *body)
{
    body->head = *joined;
    body->head.joined = false;
    body->head.columns = KPI_SPINE_COLUMNS;
    body->head.actors_chunk = chunk_take(body);
    for (uint32_t c = 0; c < KPI_SPINE_COLUMNS; c++)
        body->head.chunks[c] = chunk_take(body);
    uint32_t at = 0;
    kp_status status = KP_OK;
    for (uint32_t i = 0; i < body->count && status == KP_OK; i++) {
        status = kpi_joined_next(joined, &at, &body->parts[i]);
        if (status == KP_OK)
            part_read(body, &body->parts[i]);
    }
    if (status == KP_OK && (body->sizes.bad || kp_reader_left(&body->sizes) != 0 ||
                            kp_reader_left(&body->chunks) != 0))
        status = KP_CORRUPT;
    return status;
}

kp_status kpi_joined_open(const struct kpi_block *joined, struct kp_arena *arena,
                          struct kpi_block **out, uint32_t *out_count)
{
    struct body body = {0};
    struct kpi_spine *spine;
    kp_status status = joined->joined ? parts_count(joined, &body.count) : KP_CORRUPT;
    if (status == KP_OK)
        status = body_open(joined, arena, &body);
    if (status != KP_OK)
        return status;
    body.parts = kp_arena_alloc(arena, body.count * sizeof(*body.parts));
    if (body.parts == NULL)
        return KP_NO_MEMORY;
    status = body_read(joined, &body);
    if (status == KP_OK)
        status = kpi_spine_open(&body.head, arena, &spine);
    for (uint32_t i = 0; i < body.count && status == KP_OK; i++)
        status = kpi_spine_bind(spine, arena, &body.parts[i]);
    if (status == KP_OK) {
        *out = body.parts;
        *out_count = body.count;
    }
    return status;
}

/* ---------- rows ---------- */

kp_status kpi_block_batches(const void *bytes, size_t size, struct kp_actors *actors,
                            struct kp_arena *arena, struct kp_batch *out, uint32_t *out_count,
                            uint32_t *out_size)
{
    struct kpi_block block, *parts = &block;
    uint32_t count = 1;
    kp_status status = kpi_block_open(bytes, size, &block);
    if (status == KP_OK && block.joined)
        status = kpi_joined_open(&block, arena, &parts, &count);
    else if (status == KP_OK && (block.paged || block.info.stream == &kpi_spine_stream))
        status = KP_CORRUPT; /* a page's; not of the log */
    kp_actor_id *ids = NULL;
    for (uint32_t i = 0; i < count && status == KP_OK; i++)
        status = kpi_block_batch_ids(&parts[i], UINT64_MAX, actors, &ids, arena, &out[i]);
    if (status != KP_OK)
        return status;
    *out_count = count;
    *out_size = block.info.size;
    return KP_OK;
}
