/* SPDX-License-Identifier: Apache-2.0
 *
 * Pages of a snapshot: getting them, and decoding what is asked of them (cache.c).
 */
#ifndef KP_STORAGE_PAGE_H
#define KP_STORAGE_PAGE_H

#include "storage/order.h"
#include "storage/snapshot.h"

kp_status kpi_page_new(const struct kp_stream *stream, struct kpi_page **out) KP_MUST;
void kpi_page_free(struct kpi_page *page);
/* Adds a block of the page's stream behind its rows. joined: the bytes of the joined block it is
 * part of, else NULL. */
kp_status kpi_page_add(struct kpi_page *page, const struct kpi_block *block, const void *joined,
                       size_t joined_size) KP_MUST;
/* Holds a log page until it is released; others are held by how they were got. */
void kpi_page_hold(struct kp_snapshot *snapshot, struct kpi_page *page);
/* Block `number` of an open segment: from the cache (no queue needed) or NULL. Release it. */
struct kpi_page *kpi_page_cached(struct kp_snapshot *snapshot, uint32_t segment, uint32_t number);
/* The same, read from the file. CORRUPT: it cannot be had, and that was reported as damage. */
kp_status kpi_page_read(struct kp_snapshot *snapshot, struct kp_io_queue *queue, uint32_t segment,
                        uint32_t number, struct kpi_page **out) KP_MUST;
/* True when the block's page is in the cache. */
bool kpi_page_there(struct kp_snapshot *snapshot, uint32_t segment, uint32_t number);
/* True when the block was read before. */
bool kpi_page_seen(struct kp_snapshot *snapshot, uint32_t segment, uint32_t number);
void kpi_page_release(struct kp_snapshot *snapshot, struct kpi_page *page);
/* Numbers are kept packed, but for times, which are searched. */
static inline bool kpi_page_packs(const struct kp_stream *stream, uint32_t column)
{
    return column != KP_COL_TS && kp_type_phys(stream->stored[column].type) != KP_PHYS_STR;
}
/* Decodes a column (and for ACTOR columns page->ids) unless it is there. CORRUPT was reported. The
 * column stays as it is until the page is released: in page->packed, or in page->cols. */
kp_status kpi_page_decode(struct kp_snapshot *snapshot, struct kpi_page *page,
                          uint32_t column) KP_MUST;
/* A decoded column of numbers, or one of kpi_page_lying. */
static inline struct kpi_packed kpi_page_numbers(const struct kpi_page *page, uint32_t column,
                                                 bool lying)
{
    if (!lying && kpi_page_packs(page->stream, column))
        return page->packed[column];
    return kpi_packed_plain(lying ? page->lying[column].i64 : page->cols[column].i64);
}
/* The times of the rows. */
kp_status kpi_page_times(struct kp_snapshot *snapshot, struct kpi_page *page,
                         const int64_t **out) KP_MUST;
/* The same for a column that kpi_block_lies, of a bound page, as it lies. */
kp_status kpi_page_lying(struct kp_snapshot *snapshot, struct kpi_page *page, uint32_t column,
                         const struct kp_vec **out) KP_MUST;
/* Decodes common columns (bit each) of a spine's page for the rows of all streams, and its actors
 * with KP_COL_ACTOR. CORRUPT was reported. */
kp_status kpi_page_common(struct kp_snapshot *snapshot, struct kpi_page *page,
                          uint32_t columns) KP_MUST;
/* An attribute of the page's actors by local number, int64_t (tid, pid) or struct kp_str; after a
 * column of actors was decoded. NULL: out of memory. It lives as long as the page. */
const void *kpi_page_attr(struct kp_snapshot *snapshot, struct kpi_page *page, enum kp_attr attr);
/* Counts what its arena has grown by since `before`; the page's lock is held. */
void kpi_page_charge(struct kp_snapshot *snapshot, struct kpi_page *page, size_t before);
/* Decodes what decides between rows of equal time, and the key of a row of such a page. */
kp_status kpi_page_ties(struct kp_snapshot *snapshot, struct kpi_page *page) KP_MUST;
struct kpi_row_key kpi_page_key(const struct kpi_page *page, const int64_t *ts, uint32_t row);
/* Makes page->order right for a log block. */
kp_status kpi_page_sort(struct kp_snapshot *snapshot, struct kpi_page *page) KP_MUST;

#endif
