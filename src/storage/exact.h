/* SPDX-License-Identifier: Apache-2.0
 *
 * Exact indexes of one segment: from a value of an EXACT column to the blocks that hold it. Since
 * format 4 they are pages of run_page.h between the blocks and the footer, which keeps their
 * fences: a lookup reads one page. Before, the entries (u64 hash, u32 block, u32 row) lay in the
 * footer.
 *
 *   footer: u8 stream, u8 column, u16 0, u32 entries, u64 offset, u32 pages, u32 size, u64 sum,
 *           fences (4 bytes a page)
 */
#ifndef KP_STORAGE_EXACT_H
#define KP_STORAGE_EXACT_H

#include "base/arena.h"
#include "storage/run_page.h"

struct kpi_segment;
struct kpi_footer;

/* The index of one column. */
struct kpi_exact {
    uint8_t stream, column;
    uint32_t count;
    const uint8_t *entries; /* before format 4, else NULL */
    const uint8_t *fences;
    uint64_t offset, sum; /* of all pages; the sum is that of a section */
    uint32_t pages, size;
};

uint64_t kpi_exact_hash(uint32_t stream, uint32_t column, struct kp_str value);

/* ---------- writing ---------- */

/* Packs count entries of 16 bytes, ascending, as pages at `offset` of segment `id`, appended to
 * out; says in *index where and to fences (4 bytes a page) what the footer keeps. */
kp_status kpi_exact_pack(const uint8_t *entries, uint32_t count, uint64_t id, uint64_t offset,
                         struct kpi_exact *index, struct kp_buf *fences,
                         struct kp_buf *out) KP_MUST;
void kpi_exact_head_add(const struct kpi_exact *index, const struct kp_buf *fences,
                        struct kp_buf *out);

/* ---------- reading ---------- */

/* One index as the footer of a segment of this format has it. */
kp_status kpi_exact_parse(struct kp_reader *in, uint32_t version, uint64_t data_end,
                          struct kpi_exact *out) KP_MUST;
/* All index->count entries, ascending by key, segment 0. Reads every page and checks the sums.
 * Memory from arena. */
kp_status kpi_exact_load(const struct kpi_segment *segment, struct kp_io_queue *queue,
                         const struct kpi_exact *index, struct kp_arena *arena,
                         struct kpi_run_entry **out) KP_MUST;
/* Marks in `blocks` (a flag a block) every block that may hold value. NOT_FOUND: there is no index
 * for this column, or the value is empty; nothing was marked. CORRUPT: a page is damaged. */
kp_status kpi_exact_find(const struct kpi_segment *segment, struct kp_io_queue *queue,
                         uint32_t stream, uint32_t column, struct kp_str value,
                         bool *blocks) KP_MUST;

#endif
