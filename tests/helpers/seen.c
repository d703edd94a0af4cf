/* SPDX-License-Identifier: Apache-2.0 */
#include "seen.h"

#include <stdlib.h>

#include "base/assert.h"
#include "storage/joined.h"
#include "storage/segment.h"

#define FEED_ROWS_MAX 1024u

static uint32_t value_column(void)
{
    return (uint32_t)kp_stream_stored(kp_stream_by_number(KP_S_SYSCALL), "dur");
}

static int64_t value_of(uint64_t seq)
{
    return (int64_t)(kp_hash_mix(seq) >> 20);
}

static void seen_add(struct seen *seen, uint64_t seq)
{
    if (seen->count == seen->capacity) {
        seen->capacity = seen->capacity == 0 ? 256 : seen->capacity * 2;
        seen->seqs = realloc(seen->seqs, seen->capacity * sizeof(*seen->seqs));
        kp_assert(seen->seqs != NULL);
    }
    seen->seqs[seen->count++] = seq;
}

static void batch_see(struct seen *seen, const struct kp_batch *batch)
{
    const int64_t *seqs = batch->cols[KP_COL_SEQ].i64;
    if (batch->stream->number == KP_S_GAPS) {
        const int64_t *counts = batch->cols[kp_stream_stored(batch->stream, "count")].i64;
        for (uint32_t i = 0; i < batch->rows; i++)
            seen->gap_count += counts[i] > 0 ? (uint64_t)counts[i] : 0;
        seen->gap_rows += batch->rows;
        return;
    }
    for (uint32_t i = 0; i < batch->rows; i++) {
        uint64_t seq = (uint64_t)seqs[i];
        bool right = batch->stream->number == KP_S_SYSCALL &&
                     batch->cols[value_column()].i64[i] == value_of(seq) &&
                     batch->cols[KP_COL_TS].i64[i] == (int64_t)seq * 10;
        seen->wrong += !right;
        seen_add(seen, seq);
    }
}

/* Blocks one after the other. */
static void blocks_see(struct seen *seen, const uint8_t *bytes, size_t size)
{
    struct kp_batch batches[KP_STREAM_MAX];
    uint32_t taken = 0;
    for (size_t at = 0; at < size; at += taken) {
        uint32_t count = 0;
        kp_status status = kpi_block_batches(bytes + at, size - at, seen->actors, &seen->arena,
                                             batches, &count, &taken);
        for (uint32_t i = 0; i < count && status == KP_OK; i++)
            batch_see(seen, &batches[i]);
        kp_arena_deinit(&seen->arena);
        if (status != KP_OK) {
            seen->wrong++;
            return;
        }
    }
}

static bool record_see(void *ctx, const struct kpi_wal_record *record)
{
    struct seen *seen = ctx;
    blocks_see(seen, record->payload, record->payload_size);
    seen->next = KP_MAX(seen->next, record->seq_next);
    return true;
}

static void damage_see(void *ctx, const struct kp_damage *damage)
{
    kp_assert(damage->file != NULL && damage->what != NULL);
    ((struct seen *)ctx)->damaged++;
}

/* A block of a segment with what the spine of its page holds. */
static void segment_block_see(const struct kpi_segment *segment, struct kp_io_queue *queue,
                              const struct kpi_block_ref *ref, struct seen *seen)
{
    struct kpi_block block;
    struct kp_batch batch;
    uint8_t *bytes = malloc(ref->size);
    kp_assert(bytes != NULL);
    kp_status status = kpi_segment_read(segment, queue, ref, bytes, &block);
    if (status == KP_OK && block.info.stream != &kpi_spine_stream) {
        status = kpi_segment_bind(segment, queue, ref, &seen->arena, &block);
        if (status == KP_OK)
            status = kpi_block_batch(&block, UINT64_MAX, seen->actors, &seen->arena, &batch);
        if (status == KP_OK)
            batch_see(seen, &batch);
    }
    seen->damaged += status != KP_OK;
    kp_arena_deinit(&seen->arena);
    free(bytes);
}

static void segment_see(const struct kp_io *io, struct kp_io_queue *queue, const char *dir,
                        const struct kpi_segment_meta *meta, struct seen *seen)
{
    struct kp_buf path = {0};
    struct kpi_segment segment;
    kpi_segment_path(dir, meta->id, &path);
    kp_status status = kpi_segment_open(io, queue, kp_buf_cstr(&path), meta->id, &segment, NULL);
    kp_buf_deinit(&path);
    if (status != KP_OK) {
        seen->damaged++;
        return;
    }
    if (!kpi_hash_equal(segment.footer_hash, meta->footer_hash))
        seen->damaged++;
    for (uint32_t i = 0; i < segment.footer.blocks_count; i++)
        segment_block_see(&segment, queue, &segment.footer.blocks[i], seen);
    kpi_segment_close(&segment);
}

static int compare_log(const void *a, const void *b)
{
    const struct kpi_segment_meta *x = a, *y = b;
    return x->wal_first < y->wal_first ? -1 : x->wal_first > y->wal_first;
}

/* Ids of cold segments are no order; log records are. */
static void manifest_see(struct kpi_manifest *manifest, struct seen *seen)
{
    qsort(manifest->segments, manifest->count, sizeof(*manifest->segments), compare_log);
    for (uint32_t i = 0; i < manifest->drops_count; i++)
        seen->dropped += manifest->drops[i].rows;
    seen->next = manifest->seq_next;
}

kp_status seen_read(const struct kp_io *io, const char *dir, struct seen *out)
{
    memset(out, 0, sizeof(*out));
    struct kpi_manifest manifest;
    kp_status status = kpi_manifest_read(io, dir, &manifest, damage_see, out, NULL);
    if (status != KP_OK)
        return status;
    kp_assert(kp_actors_init(&out->actors) == KP_OK);
    manifest_see(&manifest, out);
    struct kp_io_queue *queue = NULL;
    status = io->queue_open(io, 8, &queue);
    for (uint32_t i = 0; i < manifest.count && status == KP_OK; i++)
        segment_see(io, queue, dir, &manifest.segments[i], out);
    if (queue != NULL)
        io->queue_close(queue);
    uint64_t last;
    if (status == KP_OK)
        status = kpi_wal_read(io, dir, manifest.sealed_through, record_see, damage_see, out, &last,
                              NULL);
    kpi_manifest_deinit(&manifest);
    kp_actors_deinit(out->actors);
    kp_arena_deinit(&out->arena);
    return status;
}

void seen_deinit(struct seen *seen)
{
    free(seen->seqs);
    memset(seen, 0, sizeof(*seen));
}

int64_t seen_find(const struct seen *seen, uint64_t seq)
{
    for (uint32_t i = 0; i < seen->count; i++)
        if (seen->seqs[i] == seq)
            return i;
    return -1;
}

bool seen_ordered(const struct seen *seen)
{
    for (uint32_t i = 1; i < seen->count; i++)
        if (seen->seqs[i] <= seen->seqs[i - 1])
            return false;
    return true;
}

void feed_init(struct feed *feed, struct kp_store *store)
{
    feed->store = store;
    kp_status status = kp_builder_init(&feed->builder, kp_stream_by_number(KP_S_SYSCALL),
                                       kp_store_actors(store), FEED_ROWS_MAX);
    kp_assert(status == KP_OK);
}

void feed_deinit(struct feed *feed)
{
    kp_builder_deinit(&feed->builder);
}

kp_status feed_append(struct feed *feed, uint32_t rows, uint64_t *out_first, uint64_t *out_ticket)
{
    uint64_t first = kp_store_seq(feed->store, rows);
    kp_builder_reset(&feed->builder);
    for (uint32_t i = 0; i < rows; i++) {
        kp_builder_row(&feed->builder, (kp_time)(first + i) * 10, first + i, 0, 0);
        kp_builder_i64(&feed->builder, value_column(), value_of(first + i));
    }
    *out_first = first;
    return kp_store_append(feed->store, kp_builder_batch(&feed->builder), out_ticket);
}
