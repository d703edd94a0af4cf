/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks behind a count. Who counts by footers and rollups reads no rows, so nothing would tell him
 * that some of them cannot be read any more. The sums of the blocks that hold them are checked
 * first, once a snapshot: 0.1 ms a MiB, a twentieth of what reading the rows costs. What does not
 * match is left to a scan, which lists what is missing.
 *
 * A snapshot checks so many bytes; an answer that counts more says that it was not checked.
 *
 * Invariant: what was said of a block once is said of it until the snapshot closes, so that what
 * rollups leave to a scan is what the scan reads.
 */
#include "storage/sound.h"

#include <stdlib.h>

#include "storage/spine.h"

#define RUN_BYTES (1u << 20) /* read at once */

enum sound { UNKNOWN, SOUND, UNSOUND, ASSUMED };

struct check {
    struct kp_snapshot *snapshot;
    struct kpi_snapshot_segment *from;
    const struct kpi_footer *footer;
    struct kp_io_queue *queue;
    const struct kp_stream *stream;
};

/* True for blocks that rows of the stream are read from: its own, and the spines of their pages. */
static bool stands_behind(const struct check *check, uint32_t number)
{
    const struct kpi_block_ref *ref = &check->footer->blocks[number];
    if (ref->stream == check->stream || ref->stream != &kpi_spine_stream)
        return ref->stream == check->stream;
    for (uint32_t b = number + 1; b < check->footer->blocks_count; b++) {
        if (check->footer->blocks[b].page != ref->page)
            return false;
        if (check->footer->blocks[b].stream == check->stream)
            return true;
    }
    return false;
}

static bool is_open(const struct check *check, uint32_t number)
{
    return stands_behind(check, number) && atomic_load(&check->from->sound[number]) == UNKNOWN;
}

/* The end of a stretch of blocks that are worth one read. */
static uint32_t run_end(const struct check *check, uint32_t first, uint32_t end)
{
    const struct kpi_block_ref *refs = check->footer->blocks;
    uint64_t from = refs[first].offset;
    uint32_t b = first + 1;
    while (b < end && refs[b].offset == refs[b - 1].offset + refs[b - 1].size &&
           refs[b].offset + refs[b].size - from <= RUN_BYTES && is_open(check, b))
        b++;
    return b;
}

/* Takes it from what may still be read. */
static bool room_take(struct kp_snapshot *snapshot, uint64_t size)
{
    uint64_t left = atomic_load(&snapshot->sound_left);
    while (left >= size)
        if (atomic_compare_exchange_weak(&snapshot->sound_left, &left, left - size))
            return true;
    return false;
}

/* Bytes NULL: they were not read. */
static void run_settle(struct check *check, uint32_t first, uint32_t end, const uint8_t *bytes,
                       enum sound unread)
{
    const struct kpi_block_ref *refs = check->footer->blocks;
    for (uint32_t b = first; b < end; b++) {
        const uint8_t *at = bytes == NULL ? NULL : bytes + (refs[b].offset - refs[first].offset);
        uint8_t unknown = UNKNOWN, found = (uint8_t)unread;
        struct kpi_block block;
        if (at != NULL)
            found = kpi_segment_check(&check->from->segment, &refs[b], at, &block) == KP_OK
                        ? SOUND
                        : UNSOUND;
        if (atomic_compare_exchange_strong(&check->from->sound[b], &unknown, found) &&
            found == ASSUMED)
            atomic_store(&check->from->unchecked, true);
    }
}

/* Settles all blocks of [first, end), which lie one behind the other. */
static void run_check(struct check *check, uint32_t first, uint32_t end)
{
    const struct kpi_block_ref *refs = check->footer->blocks;
    uint64_t offset = refs[first].offset;
    uint64_t size = refs[end - 1].offset + refs[end - 1].size - offset;
    uint8_t *bytes = room_take(check->snapshot, size) ? malloc(size) : NULL;
    kp_status status = KP_OK;
    if (bytes != NULL)
        status = kpi_segment_bytes(&check->from->segment, check->queue, bytes, size, offset);
    run_settle(check, first, end, status == KP_OK ? bytes : NULL,
               bytes == NULL ? ASSUMED : UNSOUND);
    free(bytes);
}

/* False: there is no memory to note what was found. */
static bool check_init(struct check *check, struct kp_snapshot *snapshot, uint32_t number,
                       struct kp_io_queue *queue, const struct kp_stream *stream)
{
    struct kpi_snapshot_segment *from = &snapshot->segments[number];
    *check = (struct check){.snapshot = snapshot,
                            .from = from,
                            .footer = &from->segment.footer,
                            .queue = queue,
                            .stream = stream};
    pthread_mutex_lock(&snapshot->lock);
    if (from->sound == NULL && !atomic_load(&from->unchecked))
        from->sound =
            kp_arena_zalloc(&snapshot->arena, check->footer->blocks_count, sizeof(*from->sound));
    if (from->sound == NULL)
        atomic_store(&from->unchecked, true);
    pthread_mutex_unlock(&snapshot->lock);
    return from->sound != NULL;
}

static bool blocks_sound(struct check *check, uint32_t first, uint32_t end)
{
    for (uint32_t b = first; b < end; b++) {
        if (is_open(check, b))
            run_check(check, b, run_end(check, b, end));
        if (stands_behind(check, b) && atomic_load(&check->from->sound[b]) == UNSOUND)
            return false;
    }
    return true;
}

bool kpi_sound_stream(struct kp_snapshot *snapshot, uint32_t number, struct kp_io_queue *queue,
                      const struct kp_stream *stream)
{
    struct check check;
    if (!check_init(&check, snapshot, number, queue, stream))
        return true;
    return blocks_sound(&check, 0, check.footer->blocks_count);
}

bool kpi_sound_block(struct kp_snapshot *snapshot, uint32_t number, struct kp_io_queue *queue,
                     uint32_t block)
{
    struct check check;
    const struct kpi_segment *segment = &snapshot->segments[number].segment;
    const struct kpi_block_ref *ref = &segment->footer.blocks[block], *spine = NULL;
    if (!check_init(&check, snapshot, number, queue, ref->stream))
        return true;
    if (ref->stream != &kpi_spine_stream)
        spine = kpi_segment_spine(segment, ref);
    return blocks_sound(&check, spine == NULL ? block : (uint32_t)(spine - segment->footer.blocks),
                        block + 1);
}

bool kp_snapshot_sound(struct kp_snapshot *snapshot, const struct kp_stream *stream)
{
    struct kp_io_queue *queue;
    if (snapshot->io->queue_open(snapshot->io, 2, &queue) != KP_OK)
        return false;
    bool sound = true;
    for (uint32_t i = 0; i < snapshot->segments_count && sound; i++)
        if (snapshot->segments[i].meta.rows_by_stream[stream->number] > 0)
            sound = kpi_snapshot_segment(snapshot, i, queue) != NULL &&
                    kpi_sound_stream(snapshot, i, queue, stream);
    snapshot->io->queue_close(queue);
    return sound;
}

uint32_t kp_snapshot_unchecked(const struct kp_snapshot *snapshot)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < snapshot->segments_count; i++)
        count += atomic_load(&snapshot->segments[i].unchecked);
    return count;
}
