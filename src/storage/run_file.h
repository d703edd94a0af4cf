/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs: the merged index from transactions and traces to the blocks that hold them.
 *
 *   txn/ID.kpt = pages of 4 KiB, sorted by key | table of segments | fences | trailer
 *
 * Fences stay in memory (4 bytes a page). A run is derived data: what it says of a segment counts
 * only when its table names that segment with the footer the manifest names, and a page counts only
 * when its sum holds. Everything else is looked up in the segments themselves.
 *
 * At most one run a level: below 16 segments, below 256, above. So a lookup reads at most three
 * pages of runs, whatever the size of the archive, and an entry is rewritten at most 16 times a
 * level.
 */
#ifndef KP_STORAGE_RUN_FILE_H
#define KP_STORAGE_RUN_FILE_H

#include "storage/run_page.h"
#include "storage/snapshot.h"

#define KPI_RUN_MAGIC   0x314e55524b504b00ull /* "\0KPKRUN1" */
#define KPI_RUN_VERSION 1u
#define KPI_RUN_TRAILER 64u
#define KPI_RUN_FANOUT  16u /* segments of the first level; levels times it */

enum kpi_run_trailer_at {
    KPI_RUN_AT_MAGIC = 0,
    KPI_RUN_AT_VERSION = 8,
    KPI_RUN_AT_SEGMENTS = 12,
    KPI_RUN_AT_ID = 16,
    KPI_RUN_AT_PAGES = 24,
    KPI_RUN_AT_ENTRIES = 32,
    KPI_RUN_AT_HASH = 48, /* XXH3-128 of table, fences and [0, 48), seeded with the id */
};

/* dir/txn/<id>.kpt */
void kpi_runfile_path(const char *dir, uint64_t id, struct kp_buf *out);

/* ---------- writing ---------- */

struct kpi_run_writer;

/* Starts dir/txn/<id>.kpt.tmp. The table (id, low half of the footer hash) is copied. */
kp_status kpi_runfile_create(const struct kp_io *io, struct kp_io_queue *queue, const char *dir,
                             uint64_t id, const uint64_t (*table)[2], uint32_t segments,
                             struct kpi_run_writer **out) KP_MUST;
/* Entries in the order of their keys. */
kp_status kpi_runfile_add(struct kpi_run_writer *writer, const struct kpi_run_entry *entry) KP_MUST;
/* Writes the rest, syncs, gives the file its name and makes the name last. Fills entries, bytes and
 * hash of *out. Frees the writer in any case; after a failure no file is left under the name. */
kp_status kpi_runfile_finish(struct kpi_run_writer *writer, struct kpi_run_meta *out) KP_MUST;
/* Gives up: frees the writer and removes what it wrote. */
void kpi_runfile_abandon(struct kpi_run_writer *writer);

/* ---------- reading ---------- */

struct kpi_run {
    const struct kp_io *io;
    struct kp_io_file *file;
    uint64_t id, size, entries;
    uint32_t pages, segments;
    const uint8_t *table;  /* 16 bytes a segment: id, low half of its footer hash */
    const uint8_t *fences; /* 4 bytes a page: upper bits of its first key */
    uint8_t *bytes;        /* of table, fences and trailer */
    struct kp_hash128 hash;
};

/* CORRUPT: it is not the file that the manifest names (meta NULL: any whole run will do). */
kp_status kpi_runfile_open(const struct kp_io *io, struct kp_io_queue *queue, const char *path,
                           const struct kpi_run_meta *meta, struct kpi_run *out) KP_MUST;
void kpi_runfile_close(struct kpi_run *run);
uint64_t kpi_runfile_segment_id(const struct kpi_run *run, uint32_t segment);
/* True when the table names this segment with this footer. */
bool kpi_runfile_covers(const struct kpi_run *run, uint32_t segment,
                        const struct kpi_segment_meta *meta);

/* Reads and checks a page. */
kp_status kpi_runfile_page_read(const struct kpi_run *run, struct kp_io_queue *queue,
                                uint32_t number, struct kpi_run_page *out) KP_MUST;
/* Every entry of a key. CORRUPT: a page that matters is damaged; `each` may have been called. */
kp_status kpi_runfile_find(const struct kpi_run *run, struct kp_io_queue *queue, uint64_t key,
                           void (*each)(void *ctx, const struct kpi_run_entry *entry),
                           void *ctx) KP_MUST;
/* Reads every page: sums, order of keys, fences. */
kp_status kpi_runfile_check(const struct kpi_run *run, struct kp_io_queue *queue) KP_MUST;

#endif
