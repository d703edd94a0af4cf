/* SPDX-License-Identifier: Apache-2.0
 *
 * Scans: rows of one stream out of a snapshot, in order of time and filtered. Part of storage.h.
 *
 * Work is shared out among threads by windows of time (kp_scan_split), one scan for each; all of
 * them may use one snapshot.
 */
#ifndef KP_STORAGE_SCAN_H
#define KP_STORAGE_SCAN_H

#include "column/batch.h"

struct kp_snapshot;
struct kp_scan;

/* Keys that prune and filter; a zero-length set means "any". All set keys must hold (AND). */
#define KP_SCAN_KEYS_MAX 4
struct kp_scan_key {
    struct kp_colref column;   /* an attribute or stored column of the stream */
    const int64_t *numbers;    /* I64-like columns */
    const struct kp_str *strs; /* STR columns */
    uint32_t count;            /* a row passes when its value is one of these */
};

struct kp_scan_req {
    const struct kp_stream *stream;
    kp_time from, to;             /* inclusive range of ts */
    const struct kp_colref *cols; /* columns to decode, in this order */
    uint32_t cols_count;
    struct kp_scan_key keys[KP_SCAN_KEYS_MAX];
    uint32_t keys_count;
    const bool *kinds; /* kp_stream_events(): by stream number, wanted ones; NULL = all */
    bool descending;   /* newest first: batches and rows within them */
    bool any_order;    /* rows may come in any order: what counts and sums need not pay for it */
    bool ahead;        /* a second thread may prepare pages while rows of others are given out */
    bool no_prune;     /* oracle runs: read everything, filter afterwards */
    bool rolled;       /* leave out of segments what kp_rollup answers, stream by stream, for ... */
    kp_time rolled_from, rolled_to; /* ... this range */
};

struct kp_scan_stat {
    uint64_t rows_read, rows_out, bytes_read;
    uint32_t segments, segments_pruned, pages, pages_pruned, wal_blocks;
    uint32_t pages_counted;            /* of pages: their rows were counted without reading them */
    uint32_t pages_read, pages_cached; /* of pages: entered, from a file or in memory already */
    uint32_t pages_by_time, pages_by_thread, pages_by_value; /* of pages_pruned: what told */
};

/* Starts a scan; answers rows of one stream in order (ts, host, cpu, seq), keys already applied.
 * The snapshot must outlive the scan; one thread per scan, any number of scans per snapshot: they
 * share what is decoded and wait for each other only where they need the same column.
 * Without columns rows are only counted: batches have a length and no order, and pages that lie
 * within [from, to] are counted by their segment's footer, damaged ones too. */
kp_status kp_scan_open(struct kp_snapshot *snapshot, const struct kp_scan_req *req,
                       struct kp_scan **out, struct kp_error *err) KP_MUST;
/* Next batch (<= KP_VECTOR_ROWS rows, no selection) or END. Valid until the next call. */
kp_status kp_scan_next(struct kp_scan *scan, const struct kp_batch **out,
                       struct kp_error *err) KP_MUST;
/* Gives away all rows of a scan without columns and keys as counts by stream and by bins of time,
 * k * width to (k + 1) * width - 1; no row is earlier than 0. Bins come in any order, one several
 * times. Where pages end in other bins than they begin, their times are searched. each: false ends
 * it early. */
kp_status kp_scan_bins(struct kp_scan *scan, kp_dur width,
                       bool (*each)(void *ctx, kp_time begin, uint32_t stream, uint64_t rows),
                       void *ctx, struct kp_error *err) KP_MUST;
/* So many rows of one actor (and of one stream, when asked by kind). */
struct kp_tally {
    kp_actor_id actor;
    uint32_t kind; /* stream number; 0 when not asked */
    int64_t rows;
};
/* Gives away all rows of a scan of kp_stream_events() without columns, with keys on actors only and
 * with pruning, as counts by actor, in any order, one actor several times. each: false ends it. */
kp_status kp_scan_tally(struct kp_scan *scan, bool by_kind,
                        bool (*each)(void *ctx, const struct kp_tally *tallies, uint32_t count),
                        void *ctx, struct kp_error *err) KP_MUST;
void kp_scan_stat(const struct kp_scan *scan, struct kp_scan_stat *out);
void kp_scan_close(struct kp_scan *scan);
/* Cuts [req->from, req->to] where pages begin, into windows of about equally many rows to read, for
 * as many threads: window i is [out_from[i], out_from[i + 1] - 1], the last one ends at req->to.
 * Their answers one after the other are the answer of the whole. out_from: room for parts (>= 1);
 * *out_count: windows made, 1 to parts. The same for the same snapshot and request. */
kp_status kp_scan_split(struct kp_snapshot *snapshot, const struct kp_scan_req *req, uint32_t parts,
                        kp_time *out_from, uint32_t *out_count, struct kp_error *err) KP_MUST;

/* About how many rows of the kernel's streams lie in pages of this time that would have to be read
 * and decoded: most of what a question costs that only counts. Any thread. */
uint64_t kp_scan_unread(struct kp_snapshot *snapshot, kp_time from, kp_time to);

#endif
