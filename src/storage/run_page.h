/* SPDX-License-Identifier: Apache-2.0
 *
 * Pages of the transaction index: sorted entries of (key, segment, block), three bit-packed columns
 * of the widths that a page needs, about 5 bytes an entry. Runs (run_file.h) are made of them and
 * so are the lists of one segment (exact.h), where the segment takes no bits.
 *
 * A key is the upper 40 bits of the hash of a value (kpi_exact_hash). A fence, the upper 32 bits of
 * a page's first key, leads to the one page that matters. A sum binds a page to its file and place.
 */
#ifndef KP_STORAGE_RUN_PAGE_H
#define KP_STORAGE_RUN_PAGE_H

#include "base/bytes.h"
#include "storage/storage_int.h"

#define KPI_RUN_PAGE        4096u
#define KPI_RUN_HEAD        32u /* of a page */
#define KPI_RUN_KEY_BITS    40u
#define KPI_RUN_FENCE       4u    /* bytes of a fence */
#define KPI_RUN_ENTRIES_MAX 8192u /* of a page */

enum kpi_run_page_at {
    KPI_RUN_PAGE_AT_SUM = 0,  /* XXH3-64 of the bytes behind it, seeded with id and place */
    KPI_RUN_PAGE_AT_BASE = 8, /* first key */
    KPI_RUN_PAGE_AT_COUNT = 16,
    KPI_RUN_PAGE_AT_KEY = 18, /* bits of each column */
    KPI_RUN_PAGE_AT_SEGMENT = 19,
    KPI_RUN_PAGE_AT_BLOCK = 20,
};

/* One entry: the block of a segment (by its place in the run's table) that holds a value. */
struct kpi_run_entry {
    uint64_t key;
    uint32_t segment, block;
};

static inline uint64_t kpi_run_key(uint64_t hash)
{
    return hash >> (64 - KPI_RUN_KEY_BITS);
}

/* ---------- writing ---------- */

/* Entries of the page in work. */
struct kpi_run_packer {
    struct kpi_run_entry *entries;
    uint32_t count;
    uint32_t segment_max, block_max;
};

kp_status kpi_run_packer_init(struct kpi_run_packer *packer) KP_MUST;
void kpi_run_packer_deinit(struct kpi_run_packer *packer);
/* Whether the entry, whose key is not below the last one's, fits as well. An empty page takes any.
 */
bool kpi_run_packer_takes(const struct kpi_run_packer *packer, const struct kpi_run_entry *entry);
void kpi_run_packer_add(struct kpi_run_packer *packer, const struct kpi_run_entry *entry);
/* Writes the page, KPI_RUN_PAGE bytes of which as many count as are returned (a multiple of 8; with
 * whole all of them), and adds its fence. The packer is empty then. place: of the page in file id.
 */
uint32_t kpi_run_packer_flush(struct kpi_run_packer *packer, uint64_t id, uint64_t place,
                              bool whole, uint8_t *page, struct kp_buf *fences);

/* ---------- reading ---------- */

/* A page in memory; one byte array a cursor. */
struct kpi_run_page {
    uint8_t bytes[KPI_RUN_PAGE + 8]; /* the last column is read in steps of 8 bytes */
    uint32_t count;
    uint8_t bits[3];
    uint32_t at[3]; /* bit where each column begins */
};

/* Checks the bytes that were read into the page; the rest of them is set to 0. */
kp_status kpi_run_page_open(struct kpi_run_page *page, uint32_t size, uint64_t id,
                            uint64_t place) KP_MUST;
struct kpi_run_entry kpi_run_page_entry(const struct kpi_run_page *page, uint32_t at);

/* Pages that follow each other, wherever they lie. */
struct kpi_run_pages {
    const uint8_t *fences;
    uint32_t count;
    kp_status (*read)(const void *from, struct kp_io_queue *queue, uint32_t number,
                      struct kpi_run_page *out);
    const void *from;
};

/* Every entry of a key. CORRUPT: a page that matters is damaged; `each` may have been called. */
kp_status kpi_run_pages_find(const struct kpi_run_pages *pages, struct kp_io_queue *queue,
                             uint64_t key,
                             void (*each)(void *ctx, const struct kpi_run_entry *entry),
                             void *ctx) KP_MUST;
/* Every entry in order. CORRUPT: a page is damaged, or keys or fences are out of order. */
kp_status kpi_run_pages_walk(const struct kpi_run_pages *pages, struct kp_io_queue *queue,
                             void (*each)(void *ctx, const struct kpi_run_entry *entry),
                             void *ctx) KP_MUST;

#endif
