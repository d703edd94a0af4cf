/* SPDX-License-Identifier: Apache-2.0
 *
 * Forged pages of segments, sealed and cold: the spine and the blocks of one page are edited, their
 * own sums are made right, and everything is decoded as readers do: columns through the spine, as
 * they lie, and rows of all streams from the spine alone. Input: which segment and page, then edits
 * (block, offset in two bytes, length, bytes).
 */
#include <stdlib.h>

#include "fuzz_small.h"

#include "storage/spine.h"
#include "storage/spine_rows.h"

#define BLOCKS 8u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct page {
    uint8_t *bytes[BLOCKS]; /* exact: an over-read shows */
    uint32_t sizes[BLOCKS];
    uint32_t count;
};

static struct page pages[8];
static uint32_t pages_count;

static void page_take(const uint8_t *file, const struct kpi_block_ref *ref, bool begins)
{
    if (begins && pages_count < KP_ARRAY_LEN(pages))
        pages_count++;
    struct page *page = &pages[pages_count - 1];
    if (page->count == BLOCKS)
        return;
    page->bytes[page->count] = malloc(ref->size);
    kp_assert(page->bytes[page->count] != NULL);
    memcpy(page->bytes[page->count], file + ref->offset, ref->size);
    page->sizes[page->count++] = ref->size;
}

static void pages_make(void)
{
    const struct kp_io *io = kp_sim_io(small);
    struct kp_io_queue *queue;
    const char *path;
    size_t size;
    small_must(io->queue_open(io, 2, &queue));
    for (uint32_t n = 0; (path = small_path(SMALL_DIR "/seg/", n)) != NULL; n++) {
        struct kpi_segment segment;
        small_must(kpi_segment_open(io, queue, path, 0, &segment, NULL));
        for (uint32_t b = 0; b < segment.footer.blocks_count; b++) {
            const struct kpi_block_ref *ref = &segment.footer.blocks[b];
            page_take(kp_sim_file(small, path, &size), ref, b == 0 || ref->page != ref[-1].page);
        }
        kpi_segment_close(&segment);
    }
    io->queue_close(queue);
}

static struct page page_edited(const struct page *from, struct kp_reader *input)
{
    struct page page = *from;
    for (uint32_t b = 0; b < page.count; b++) {
        page.bytes[b] = malloc(page.sizes[b]);
        kp_assert(page.bytes[b] != NULL);
        memcpy(page.bytes[b], from->bytes[b], page.sizes[b]);
    }
    while (!input->bad && kp_reader_left(input) > 3) {
        uint32_t b = kp_read_u8(input) % page.count, at = kp_read_u16(input) % page.sizes[b];
        size_t length = KP_MIN(kp_read_u8(input), kp_reader_left(input));
        const uint8_t *bytes = kp_read_bytes(input, length);
        if (!input->bad && length > 0)
            memcpy(page.bytes[b] + at, bytes, KP_MIN(length, page.sizes[b] - at));
    }
    for (uint32_t b = 0; b < page.count; b++) {
        kp_store_u32(page.bytes[b] + KPI_BLOCK_AT_MAGIC, KPI_BLOCK_MAGIC);
        kp_store_u32(page.bytes[b] + KPI_BLOCK_AT_SIZE, page.sizes[b]);
        kp_store_u64(page.bytes[b] + KPI_BLOCK_AT_SUM,
                     kp_hash64(page.bytes[b] + KPI_BLOCK_AT_SIZE, page.sizes[b] - KPI_BLOCK_AT_SIZE,
                               kp_load_u64(page.bytes[b])));
    }
    return page;
}

static bool fair(kp_status status)
{
    return status == KP_OK || status == KP_CORRUPT || status == KP_VERSION;
}

static void block_use(struct kpi_block *block, struct kp_arena *arena)
{
    struct kp_actors *actors;
    struct kp_batch batch;
    struct kp_vec vec;
    small_must(kp_actors_init(&actors));
    kp_status status = kpi_block_batch(block, UINT64_MAX, actors, arena, &batch);
    kp_assert(fair(status));
    if (status == KP_OK)
        kp_assert(batch.rows == block->info.rows);
    for (uint32_t c = 0; c < block->info.stream->stored_count; c++)
        if (block->paged && kpi_block_lies(block->info.stream, c))
            kp_assert(fair(kpi_block_lying(block, c, arena, &vec)));
    kp_actors_deinit(actors);
}

/* Rows of all streams, from the spine alone. */
static void spine_use(struct kpi_spine *spine, const struct kpi_block *head)
{
    const struct kpi_spine_pick pick = {.from = KP_TIME_MIN, .to = KP_TIME_MAX};
    uint32_t rows = head->info.rows, counts[UINT8_MAX + 1], first, end;
    if (kpi_spine_decode(spine, 1u << KP_COL_TS | 1u << KP_COL_SEQ | 1u << KP_COL_ACTOR |
                                    1u << KP_COL_CPU) != KP_OK)
        return;
    for (uint32_t l = 0; kpi_spine_lane(spine, l, KP_TIME_MIN, KP_TIME_MAX, &first, &end); l++) {
        kp_assert(first <= end && end <= rows);
        kpi_spine_kinds_count(spine, first, end, counts);
    }
    uint32_t *places = calloc(rows, sizeof(*places));
    int64_t *values = calloc(rows, sizeof(*values));
    uint32_t *tally = calloc(2 * ((size_t)head->actors + 1), sizeof(*tally));
    kp_assert(places != NULL && values != NULL && tally != NULL);
    uint32_t count = kpi_spine_select(spine, &pick, places);
    kp_assert(count == rows);
    small_must(kpi_spine_arrange(spine, places, count));
    kpi_spine_take(spine, KP_COL_ACTOR, places, count, values);
    for (uint32_t i = 0; i < count; i++)
        kp_assert(values[i] >= 0 && values[i] <= head->actors);
    kpi_spine_take(spine, KP_COL_SEQ, places, count, values);
    kpi_spine_tally(spine, &pick, NULL, tally);
    free(places);
    free(values);
    free(tally);
}

static void page_use(struct page *page)
{
    struct kp_arena arena = {0};
    struct kpi_spine *spine = NULL;
    struct kpi_block head, block;
    if (kpi_block_open(page->bytes[0], page->sizes[0], &head) == KP_OK &&
        head.info.stream == &kpi_spine_stream && kpi_spine_open(&head, &arena, &spine) == KP_OK)
        spine_use(spine, &head);
    for (uint32_t b = 0; b < page->count; b++) {
        kp_status status = kpi_block_open(page->bytes[b], page->sizes[b], &block);
        kp_assert(fair(status));
        if (status != KP_OK || block.info.stream == &kpi_spine_stream)
            continue;
        if (block.paged && (spine == NULL || kpi_spine_bind(spine, &arena, &block) != KP_OK))
            continue;
        block_use(&block, &arena);
    }
    kp_arena_deinit(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    small_make();
    if (pages_count == 0)
        pages_make();
    struct kp_reader input = kp_reader_init(data, size);
    struct page page = page_edited(&pages[kp_read_u8(&input) % pages_count], &input);
    page_use(&page);
    for (uint32_t b = 0; b < page.count; b++)
        free(page.bytes[b]);
    return 0;
}
