/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of a snapshot, as scans see it: segments opened on first use, log blocks held in memory,
 * and pages: blocks in memory whose columns are decoded on first use and kept in a bounded cache.
 *
 * Locks: snapshot->lock guards the registry, segments, damage and the cache, and is held for
 * moments only: files are read and columns decoded outside of it. page->lock guards what is decoded
 * of one page. They are taken in the order page, its spine, snapshot. So scans of different pages
 * run side by side, and of those that want the same column one decodes it.
 */
#ifndef KP_STORAGE_SNAPSHOT_H
#define KP_STORAGE_SNAPSHOT_H

#include <pthread.h>

#include "storage/packed.h"
#include "storage/segment.h"

#define KPI_CACHE_BYTES     ((size_t)64 << 20)
#define KPI_CACHE_BYTES_MAX ((size_t)1 << 30) /* of a snapshot beside which nothing is written */

#define KPI_LOG_PAGE_ROWS 8192u /* small blocks of the log are put together up to this */

/* One block of a page, and where its rows and local actor numbers begin in it. */
struct kpi_part {
    struct kpi_block block;
    const uint8_t *joined; /* the joined block it is part of, opened when first needed; or NULL */
    uint32_t joined_size;
    uint32_t first_row, first_actor;
};

/* Rows of one stream in memory, shared by the scans of a snapshot: a block of a segment, or blocks
 * of the log that follow each other. */
struct kpi_page {
    pthread_mutex_t lock;
    const struct kp_stream *stream;
    uint32_t rows, actors;
    kp_time ts_min, ts_max;
    struct kpi_part *parts;
    uint32_t parts_count, parts_capacity;
    void *bytes;             /* of the block, in the arena; log blocks borrow the snapshot's */
    struct kpi_spine *spine; /* the page is one: it has no columns, others are bound to it */
    struct kpi_page *bound;  /* the page of the spine it is bound to, held; NULL: to none */
    bool from_log;
    struct kp_arena arena;                   /* of what is decoded */
    struct kp_vec cols[KP_STORED_MAX];       /* times and texts */
    struct kpi_packed packed[KP_STORED_MAX]; /* other numbers; actors as local numbers */
    uint32_t decoded;                        /* bit per column; written under lock */
    struct kp_vec lying[KP_STORED_MAX]; /* bound pages: columns as they lie, not in row order */
    uint32_t lying_decoded;
    kp_actor_id *ids;          /* local number -> registry; of the spine's page if bound */
    void *attrs[KP_ATTR_KIND]; /* by attribute: local number -> value; like ids */
    struct kpi_threads *threads[KP_STORED_MAX]; /* hop.c: rows by thread of an ACTOR column */
    uint32_t *order;  /* rows in order when they do not lie so; NULL: as they lie */
    bool sorted;      /* order was looked at (log blocks; segments are in order) */
    const char *file; /* for damage */
    uint64_t offset, size;
    bool bad; /* damage was found inside and reported */
    /* of the cache, under the snapshot's lock */
    uint32_t refs;
    uint32_t segment, number;
    size_t cost;
    bool listed;
    bool again; /* it was read before and had no room to stay */
    struct kpi_page *newer, *older, *chain;
};

/* Pages of one stream's rows that are not sealed yet, in log order. */
struct kpi_log {
    struct kpi_page **pages;
    uint32_t count, capacity;
};

enum kpi_segment_state {
    KPI_SEGMENT_UNOPENED,
    KPI_SEGMENT_OPEN,
    KPI_SEGMENT_FAILED,
    KPI_SEGMENT_DROPPED, /* or replaced, after the snapshot was made and before it was opened */
};

struct kpi_snapshot_segment {
    struct kpi_segment_meta meta;
    enum kpi_segment_state state;
    struct kpi_segment segment;
    bool *seen; /* by block: it was read once; NULL = none was */
    const char *path;
    bool rollup_read, sets_tried;
    const struct kpi_rollup *rollup; /* NULL: there is none, or it is damaged, which was told */
};

struct kpi_threads;      /* hop.c */
struct kpi_snapshot_run; /* run_find.c */

#define KPI_CACHE_SLOTS 1024u

struct kp_snapshot {
    const struct kp_io *io;
    pthread_mutex_t lock;
    const char *dir; /* NULL in snapshots made of parts */
    uint64_t as_of;
    struct kp_dropped dropped;
    struct kp_arena arena; /* paths, damage, log bytes */
    struct kp_actors *actors;
    struct kp_dict kinds; /* names of streams by number */
    struct kpi_snapshot_segment *segments;
    uint32_t segments_count;
    struct kpi_snapshot_run *runs;
    uint32_t runs_count;
    struct kpi_log logs[KP_STREAM_MAX];
    struct kp_damage *damage; /* grows by copying; old arrays stay valid in the arena */
    uint32_t damage_count, damage_capacity;
    struct kp_damage damage_unlisted;
    struct kpi_page *slots[KPI_CACHE_SLOTS];
    struct kpi_page *newest, *oldest; /* cached pages by last use */
    size_t cache_bytes, cache_limit, cache_max;
    _Atomic uint64_t rows_read, bytes_read; /* of all scans, for who watches */
    void *memo;                             /* of who reads (kp_snapshot_memo) */
    void (*memo_free)(void *memo);
};

/* The opened segment, or NULL when it does not open; queue: the caller's. Missing: what that means
 * to who reads; OK: it was reported as damage. */
const struct kpi_segment *kpi_snapshot_segment(struct kp_snapshot *snapshot, uint32_t number,
                                               struct kp_io_queue *queue);
kp_status kpi_snapshot_missing(const struct kp_snapshot *snapshot, uint32_t number);
/* The thread sets of an open segment, read on first use. Without them, which is told as damage, any
 * thread may be anywhere. */
void kpi_snapshot_sets(struct kp_snapshot *snapshot, uint32_t number, struct kp_io_queue *queue);
/* Rollups of a segment, read on first use; NULL: none. Rolled: those of the stream answer for all
 * its rows in this segment, which lie in the range (rollup_read.c). */
const struct kpi_rollup *kpi_snapshot_rollup(struct kp_snapshot *snapshot, uint32_t number,
                                             struct kp_io_queue *queue);
bool kpi_snapshot_rolled(struct kp_snapshot *snapshot, uint32_t number, struct kp_io_queue *queue,
                         uint32_t stream, kp_time from, kp_time to);
/* Adds a finding unless it is known. Strings are copied. */
void kpi_snapshot_add_damage(struct kp_snapshot *snapshot, const struct kp_damage *damage);

/* ---------- making one (kp_snapshot_open is these in order; tests make theirs of parts) ----------
 */

kp_status kpi_snapshot_new(const struct kp_io *io, struct kp_snapshot **out) KP_MUST;
/* The segments of a manifest, not opened yet. */
kp_status kpi_snapshot_take_segments(struct kp_snapshot *snapshot, const char *dir,
                                     const struct kpi_manifest *manifest) KP_MUST;
/* Copies the blocks of a log record. */
kp_status kpi_snapshot_take_record(struct kp_snapshot *snapshot,
                                   const struct kpi_wal_record *record) KP_MUST;

#endif
