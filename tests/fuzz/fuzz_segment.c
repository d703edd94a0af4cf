/* SPDX-License-Identifier: Apache-2.0
 *
 * Forged segment files: trailer and footer sums are made right, then the file is opened, looked up
 * in, read block by block, and described.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"
#include "fuzz_sums.h"
#include "storage/segment.h"
#include "storage/spine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every column, through the spine where the block is paged. */
static void use_block(const struct kpi_segment *segment, struct kp_io_queue *queue,
                      const struct kpi_block_ref *ref, struct kpi_block *block)
{
    struct kp_arena arena = {0};
    struct kp_actors *actors;
    struct kp_batch batch;
    kp_assert(kp_actors_init(&actors) == KP_OK);
    if (kpi_segment_bind(segment, queue, ref, &arena, block) == KP_OK &&
        kpi_block_batch(block, UINT64_MAX, actors, &arena, &batch) == KP_OK)
        kp_assert(batch.rows == block->info.rows);
    kp_actors_deinit(actors);
    kp_arena_deinit(&arena);
}

static void use_index(const struct kpi_segment *segment, struct kp_io_queue *queue,
                      const struct kpi_exact *index, bool *marks)
{
    struct kp_arena arena = {0};
    struct kpi_run_entry *entries;
    kp_status found =
        kpi_exact_find(segment, queue, index->stream, index->column, KP_STR("98721"), marks);
    kp_assert(found != KP_NOT_FOUND);
    if (kpi_exact_load(segment, queue, index, &arena, &entries) == KP_OK)
        for (uint32_t i = 1; i < index->count; i++)
            kp_assert(index->entries != NULL || entries[i].key >= entries[i - 1].key);
    kp_arena_deinit(&arena);
}

static void use_segment(struct kpi_segment *segment, struct kp_io_queue *queue)
{
    const struct kpi_footer *footer = &segment->footer;
    kp_status sets = kpi_segment_sets(segment, queue);
    kp_assert(sets == KP_OK || footer->blocks_count == 0 || footer->blocks[0].sets_count == 0);
    bool *marks = calloc(footer->blocks_count + 1, sizeof(*marks));
    kp_assert(marks != NULL);
    for (uint32_t i = 0; i < footer->exact_count; i++)
        use_index(segment, queue, &footer->exact[i], marks);
    free(marks);
    for (uint32_t b = 0; b < footer->blocks_count; b++) {
        const struct kpi_block_ref *ref = &footer->blocks[b];
        int64_t tid = 1;
        struct kpi_block block;
        uint8_t *bytes = malloc(ref->size);
        kp_assert(bytes != NULL);
        kpi_block_ref_has_tid(ref, KP_COL_ACTOR, &tid, 1);
        kp_status status = kpi_segment_read(segment, queue, ref, bytes, &block);
        kp_assert(status != KP_OK || block.info.rows == ref->rows);
        if (status == KP_OK && block.info.stream != &kpi_spine_stream)
            use_block(segment, queue, ref, &block);
        free(bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < KPI_SEGMENT_HEADER + KPI_SEGMENT_TRAILER)
        return 0;
    uint8_t *bytes = malloc(size);
    kp_assert(bytes != NULL);
    memcpy(bytes, data, size);
    segment_sums_fix(bytes, size);
    int fd = memfd_create("forged.kps", MFD_CLOEXEC);
    kp_assert(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
    free(bytes);
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    const struct kp_io *io = kp_io_threads();
    static struct kp_io_queue *queue;
    if (queue == NULL)
        kp_assert(io->queue_open(io, 2, &queue) == KP_OK);
    struct kpi_segment segment;
    struct kp_error err = {0};
    if (kpi_segment_open(io, queue, path, 0, &segment, &err) == KP_OK) {
        use_segment(&segment, queue);
        kpi_segment_close(&segment);
    } else {
        kp_assert(err.text[0] != '\0');
    }
    struct kp_buf text = {0};
    if (kp_inspect(path, &text, &err) != KP_OK)
        kp_assert(err.text[0] != '\0');
    kp_buf_deinit(&text);
    close(fd);
    return 0;
}
