/* SPDX-License-Identifier: Apache-2.0
 *
 * Turns blocks in WAL order into pages: slices of time, each stream's rows in order within.
 */
#ifndef KP_STORAGE_PAGER_H
#define KP_STORAGE_PAGER_H

#include "storage/storage_int.h"

/* Takes one page: a batch for each stream that occurs, by stream number; valid during the call. */
typedef kp_status (*kpi_page_fn)(void *ctx, uint32_t page, const struct kp_batch *batches,
                                 uint32_t count);

/* Feeds every row of the runs to each, pages ascending and rows of a stream in the order of order.h
 * over all pages. Kernel streams share pages, every other stream has its own. Memory: about two
 * pages of rows and whatever blocks overlap in time. CORRUPT when a block does not read. */
kp_status kpi_pages_make(const struct kpi_block_run *runs, uint32_t runs_count, kpi_page_fn each,
                         void *ctx) KP_MUST;

/* The same of pieces that are not in memory. load: what piece `number` holds, memory from arena; a
 * piece has at most one batch of a stream, and info[number] tells of all of it. */
struct kpi_page_source {
    const struct kpi_block_info *infos;
    uint32_t count;
    kp_status (*load)(void *ctx, uint32_t number, struct kp_actors *actors, struct kp_arena *arena,
                      struct kp_batch *out, uint32_t *out_count);
    void *ctx;
};
kp_status kpi_pages_merge(const struct kpi_page_source *from, kpi_page_fn each, void *ctx) KP_MUST;

#endif
