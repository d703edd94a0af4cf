/* SPDX-License-Identifier: Apache-2.0
 *
 * The content hash: the sum modulo 2^128 of one hash per row. It does not depend on the order of
 * rows, on codecs or on local actor numbers, so the log records that a segment replaces and the
 * segment itself have the same one. A value that is 0 or empty counts nothing: a column that an
 * older program did not know hashes as if it were not there.
 *
 * It shows that sealing lost, doubled and changed nothing. Against a forger stand the SHA-256
 * roots, not this sum.
 *
 * Worked on column by column: two 64-bit lanes per row take value after value.
 */
#include "storage/digest.h"

#include <stdlib.h>

#include "base/assert.h"
#include "storage/joined.h"
#include "storage/segment.h"
#include "storage/spine.h"

#define PRIME_1 0x9e3779b97f4a7c15ull
#define PRIME_2 0xc2b2ae3d27d4eb4full

void kpi_content_deinit(struct kpi_content *content)
{
    free(content->actor_hashes);
    free(content->lanes);
    *content = (struct kpi_content){0};
}

/* ---------- actors ---------- */

static struct kp_hash128 text_hash(struct kp_hash128 so_far, struct kp_str text)
{
    struct kp_hash128 one = kp_hash128(text.ptr, text.len, so_far.lo);
    return (struct kp_hash128){one.lo, one.hi ^ kp_hash_mix(so_far.hi + PRIME_1)};
}

static struct kp_hash128 actor_hash(const struct kp_actor *actor)
{
    uint64_t numbers[] = {actor->tid, actor->pid, (uint64_t)actor->start, actor->kthread};
    struct kp_hash128 hash = kp_hash128(numbers, sizeof(numbers), 0);
    hash = text_hash(hash, actor->host);
    hash = text_hash(hash, actor->boot);
    hash = text_hash(hash, actor->comm);
    return text_hash(hash, actor->cgroup);
}

/* The table grows with the registry: every actor is hashed once. */
static kp_status actors_know(struct kpi_content *content, const struct kp_actors *actors)
{
    uint32_t count = actors == NULL ? 0 : kp_actors_count(actors);
    if (content->actors != actors)
        content->actors_known = 0;
    content->actors = actors;
    if (count <= content->actors_known)
        return KP_OK;
    struct kp_hash128 *hashes = realloc(content->actor_hashes, (size_t)count * 2 * sizeof(*hashes));
    if (hashes == NULL)
        return KP_NO_MEMORY;
    content->actor_hashes = hashes;
    for (uint32_t id = content->actors_known; id < count; id++)
        hashes[id] = id == KP_ACTOR_UNKNOWN ? (struct kp_hash128){0, 0}
                                            : actor_hash(kp_actors_get(actors, id));
    content->actors_known = count;
    return KP_OK;
}

/* ---------- rows ---------- */

static inline void lane_take(uint64_t *lanes, uint64_t lo, uint64_t hi, uint64_t salt)
{
    lanes[0] = ((lanes[0] << 27 | lanes[0] >> 37) ^ (lo + salt)) * PRIME_1;
    lanes[1] = ((lanes[1] << 31 | lanes[1] >> 33) ^ (hi - salt)) * PRIME_2;
}

static void column_numbers(const struct kp_vec *vec, uint32_t rows, uint64_t salt, uint64_t *lanes)
{
    for (uint32_t i = 0; i < rows; i++)
        if (vec->i64[i] != 0)
            lane_take(lanes + 2 * (size_t)i, (uint64_t)vec->i64[i], (uint64_t)vec->i64[i], salt);
}

static void column_texts(const struct kp_vec *vec, uint32_t rows, uint64_t salt, uint64_t *lanes)
{
    for (uint32_t i = 0; i < rows; i++) {
        struct kp_str text = kp_vec_str(vec, i);
        if (text.len == 0)
            continue;
        struct kp_hash128 hash = kp_hash128(text.ptr, text.len, 0);
        lane_take(lanes + 2 * (size_t)i, hash.lo, hash.hi, salt);
    }
}

static void column_actors(const struct kpi_content *content, const struct kp_vec *vec,
                          uint32_t rows, uint64_t salt, uint64_t *lanes)
{
    for (uint32_t i = 0; i < rows; i++) {
        uint64_t id = (uint64_t)vec->i64[i];
        if (id == KP_ACTOR_UNKNOWN || id >= content->actors_known)
            continue;
        struct kp_hash128 hash = content->actor_hashes[id];
        lane_take(lanes + 2 * (size_t)i, hash.lo, hash.hi, salt);
    }
}

static bool lanes_ready(struct kpi_content *content, const struct kp_batch *batch)
{
    if (batch->rows > content->lanes_capacity) {
        free(content->lanes);
        content->lanes = malloc((size_t)batch->rows * 2 * sizeof(*content->lanes));
        content->lanes_capacity = content->lanes == NULL ? 0 : batch->rows;
    }
    for (size_t i = 0; i < 2 * (size_t)batch->rows && content->lanes_capacity > 0; i++)
        content->lanes[i] = (batch->stream->number + 1) * PRIME_2;
    return content->lanes_capacity >= batch->rows;
}

kp_status kpi_content_add(struct kpi_content *content, const struct kp_batch *batch)
{
    kp_assert_slow(batch->sel == NULL);
    kp_status status = actors_know(content, batch->actors);
    if (status != KP_OK || !lanes_ready(content, batch))
        return KP_NO_MEMORY;
    for (uint32_t c = 0; c < batch->cols_count; c++) {
        const struct kp_vec *vec = &batch->cols[c];
        uint64_t salt = (c + 1) * PRIME_2;
        if (kp_type_phys(vec->type) == KP_PHYS_STR)
            column_texts(vec, batch->rows, salt, content->lanes);
        else if (vec->type == KP_TYPE_ACTOR)
            column_actors(content, vec, batch->rows, salt, content->lanes);
        else
            column_numbers(vec, batch->rows, salt, content->lanes);
    }
    for (uint32_t i = 0; i < batch->rows; i++) {
        const uint64_t *lanes = content->lanes + 2 * (size_t)i;
        struct kp_hash128 row = {kp_hash_mix(lanes[0] ^ PRIME_2), kp_hash_mix(lanes[1] ^ lanes[0])};
        content->sum = kpi_sum128(content->sum, row);
    }
    content->rows += batch->rows;
    return KP_OK;
}

/* ---------- blocks and files ---------- */

static kp_status block_add(struct kpi_content *content, const uint8_t *bytes, size_t size,
                           struct kp_actors *actors, uint32_t *out_size)
{
    struct kp_arena arena = {0};
    struct kp_batch batches[KP_STREAM_MAX];
    uint32_t count = 0;
    kp_status status = kpi_block_batches(bytes, size, actors, &arena, batches, &count, out_size);
    for (uint32_t i = 0; i < count && status == KP_OK; i++)
        status = kpi_content_add(content, &batches[i]);
    kp_arena_deinit(&arena);
    return status;
}

kp_status kpi_content_blocks(struct kpi_content *content, const void *bytes, size_t size)
{
    struct kp_actors *actors = NULL;
    kp_status status = kp_actors_init(&actors);
    for (size_t at = 0; at < size && status == KP_OK;) {
        uint32_t used = 0;
        status = block_add(content, (const uint8_t *)bytes + at, size - at, actors, &used);
        at += used;
    }
    content->actors_known = 0; /* the registry goes */
    if (actors != NULL)
        kp_actors_deinit(actors);
    return status;
}

/* A page of a segment in work: its spine serves all its blocks, and is dear to decode. */
struct page {
    uint32_t number;
    struct kpi_spine *spine; /* NULL: the page has none */
    struct kp_arena arena;   /* of the spine */
};

static kp_status page_begin(struct page *page, const struct kpi_segment *segment,
                            struct kp_io_queue *queue, const struct kpi_block_ref *ref)
{
    struct kpi_block block;
    kp_arena_deinit(&page->arena);
    page->number = ref->page;
    page->spine = NULL;
    void *bytes = kp_arena_alloc(&page->arena, ref->size);
    kp_status status =
        bytes == NULL ? KP_NO_MEMORY : kpi_segment_read(segment, queue, ref, bytes, &block);
    return status == KP_OK ? kpi_spine_open(&block, &page->arena, &page->spine) : status;
}

static kp_status segment_block_add(struct kpi_content *content, const struct kpi_segment *segment,
                                   struct kp_io_queue *queue, const struct kpi_block_ref *ref,
                                   struct page *page, struct kp_actors *actors)
{
    struct kp_arena arena = {0};
    struct kpi_block block;
    struct kp_batch batch;
    if (ref->stream == &kpi_spine_stream)
        return page_begin(page, segment, queue, ref);
    void *bytes = kp_arena_alloc(&arena, ref->size);
    kp_status status =
        bytes == NULL ? KP_NO_MEMORY : kpi_segment_read(segment, queue, ref, bytes, &block);
    if (status == KP_OK && block.paged)
        status = page->spine == NULL || page->number != ref->page
                     ? KP_CORRUPT
                     : kpi_spine_bind(page->spine, &arena, &block);
    if (status == KP_OK)
        status = kpi_block_batch(&block, UINT64_MAX, actors, &arena, &batch);
    if (status == KP_OK)
        status = kpi_content_add(content, &batch);
    kp_arena_deinit(&arena);
    return status;
}

kp_status kpi_content_segment(struct kpi_content *content, const struct kp_io *io,
                              struct kp_io_queue *queue, const char *path)
{
    struct kpi_segment segment;
    struct page page = {0};
    struct kp_actors *actors = NULL;
    kp_status status = kpi_segment_open(io, queue, path, 0, &segment, NULL);
    if (status != KP_OK)
        return status;
    status = kp_actors_init(&actors);
    for (uint32_t i = 0; i < segment.footer.blocks_count && status == KP_OK; i++)
        status =
            segment_block_add(content, &segment, queue, &segment.footer.blocks[i], &page, actors);
    kp_arena_deinit(&page.arena);
    content->actors_known = 0;
    if (actors != NULL)
        kp_actors_deinit(actors);
    kpi_segment_close(&segment);
    return status;
}
