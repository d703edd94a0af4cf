/* SPDX-License-Identifier: Apache-2.0
 *
 * Segments: immutable files of pages with a footer that tells what lies where.
 *
 *   header (64)  block  block ...  sections, exact indexes  footer  trailer (64)
 *
 * The footer (index.c) holds one entry per block: place, size, rows, ranges; and where the threads
 * that occur in each and the exact indexes (exact.h) are.
 */
#ifndef KP_STORAGE_SEGMENT_H
#define KP_STORAGE_SEGMENT_H

#include "storage/block.h"
#include "storage/exact.h"
#include "storage/rollup_int.h"

/* Thread ids in one ACTOR column of a block, ascending. */
struct kpi_tid_set {
    uint8_t column;
    uint32_t count;
    const int64_t *tids;
};

/* One block as the footer describes it. Blocks of a stream are in the order of their rows. */
struct kpi_block_ref {
    const struct kp_stream *stream; /* NULL: a stream this program does not know */
    uint64_t offset;
    uint64_t sum; /* kpi_place_sum of the block here */
    kp_time ts_min, ts_max;
    uint64_t seq_min, seq_max;
    uint32_t size, rows, page;
    uint32_t sets_stored; /* of which there are sets_count once they were read */
    uint32_t sets_count;
    const struct kpi_tid_set *sets;
};

/* Bytes between the blocks and the footer, read when they are asked for. */
struct kpi_section {
    uint64_t offset, size; /* size 0: there is none */
    uint64_t sum;          /* bound to its place */
};

struct kpi_footer {
    struct kpi_section rollup, sets;
    bool sets_read; /* of the blocks; until then any thread may be in them */
    uint32_t pages;
    uint32_t blocks_count, exact_count;
    struct kpi_block_ref *blocks;
    const struct kpi_exact *exact;
    struct kp_arena arena;
};

/* ---------- index.c: the footer ---------- */

/* Collects what the footer will say. Zero-initialised is valid. */
struct kpi_footer_builder {
    struct kp_buf blocks; /* encoded entries */
    uint32_t blocks_count, pages;
    struct kp_buf exact[KPI_EXACT_MAX]; /* unsorted entries per EXACT column */
    struct kp_buf fences[KPI_EXACT_MAX];
    struct kpi_exact exact_of[KPI_EXACT_MAX];
    uint32_t exact_count;
    struct kpi_rollup_builder rollup; /* of all batches */
    struct kpi_section section;       /* where that was put; by the caller */
    struct kp_buf sets;               /* thread sets of all blocks */
    struct kpi_section sets_section;
};

void kpi_footer_builder_deinit(struct kpi_footer_builder *builder);
/* Adds a block that lies as ref says (sets are computed here from the batch it was made of; NULL:
 * a spine, which has none). */
kp_status kpi_footer_add(struct kpi_footer_builder *builder, const struct kpi_block_ref *ref,
                         const struct kp_batch *batch) KP_MUST;
/* Appends the thread sets, and the exact indexes, as they lie at `offset` of segment `id`; before
 * the footer is encoded.
 */
kp_status kpi_footer_sets(struct kpi_footer_builder *builder, uint64_t id, uint64_t offset,
                          struct kp_buf *out) KP_MUST;
kp_status kpi_footer_indexes(struct kpi_footer_builder *builder, uint64_t id, uint64_t offset,
                             struct kp_buf *out) KP_MUST;
kp_status kpi_footer_encode(struct kpi_footer_builder *builder, struct kp_buf *out) KP_MUST;
/* Parses footer bytes of a format; the footer points into them. CORRUPT when they lie. data_end:
 * all else lies before it. */
kp_status kpi_footer_parse(const void *bytes, size_t size, uint32_t version, uint64_t data_end,
                           struct kpi_footer *out) KP_MUST;
void kpi_footer_deinit(struct kpi_footer *footer);
/* Takes the section of thread sets. CORRUPT: there are none afterwards. */
kp_status kpi_footer_sets_parse(struct kpi_footer *footer, const void *bytes, size_t size) KP_MUST;
/* False when no row of the block has one of these thread ids (ascending) in this ACTOR column, as
 * far as its sets were read. */
bool kpi_block_ref_has_tid(const struct kpi_block_ref *ref, uint32_t column, const int64_t *tids,
                           uint32_t count);

/* ---------- segment.c: the file ---------- */

struct kpi_segment {
    const struct kp_io *io;
    struct kp_io_file *file;
    uint64_t id;
    uint32_t version; /* of its format */
    uint64_t size;
    struct kp_hash128 footer_hash;
    struct kpi_footer footer;
    void *footer_bytes;
};

/* Binds a block's content to its place: equal content elsewhere has another sum. */
uint64_t kpi_place_sum(uint64_t block_sum, uint64_t segment_id, uint64_t offset);
/* The same for a section. */
uint64_t kpi_section_sum(const void *bytes, size_t size, uint64_t segment_id, uint64_t offset);
/* dir/seg/<id>.kps; out has room for dir and 32 bytes more. */
void kpi_segment_path(const char *dir, uint64_t id, struct kp_buf *out);
/* Opens a file and reads its footer. id 0 = take what the file says (inspect). */
kp_status kpi_segment_open(const struct kp_io *io, struct kp_io_queue *queue, const char *path,
                           uint64_t id, struct kpi_segment *out, struct kp_error *err) KP_MUST;
void kpi_segment_close(struct kpi_segment *segment);
/* Reads a block into buf (ref->size bytes) and checks it against its entry. */
kp_status kpi_segment_read(const struct kpi_segment *segment, struct kp_io_queue *queue,
                           const struct kpi_block_ref *ref, void *buf,
                           struct kpi_block *out) KP_MUST;

/* Reads the thread sets of all blocks unless they are there. Not while others look at them. */
kp_status kpi_segment_sets(struct kpi_segment *segment, struct kp_io_queue *queue) KP_MUST;
/* Reads a section into buf (section->size bytes) and checks its sum. */
kp_status kpi_segment_section(const struct kpi_segment *segment, struct kp_io_queue *queue,
                              const struct kpi_section *section, void *buf) KP_MUST;

/* The entry of the spine that a paged block's page has; NULL: there is none. */
const struct kpi_block_ref *kpi_segment_spine(const struct kpi_segment *segment,
                                              const struct kpi_block_ref *ref);
/* A paged block gets what the spine of its page holds; nothing to do for others. Memory from arena.
 */
kp_status kpi_segment_bind(const struct kpi_segment *segment, struct kp_io_queue *queue,
                           const struct kpi_block_ref *ref, struct kp_arena *arena,
                           struct kpi_block *block) KP_MUST;

#endif
