/* SPDX-License-Identifier: Apache-2.0
 *
 * The store: one directory, one writer process, any number of readers.
 *
 *   append(batch) -> WAL block (columnar micro-batches) -> sealed segment -> manifest record
 *   snapshot = a set of segments + the WAL blocks not yet sealed; scan(snapshot) -> batches
 *
 * Invariants, proved by the tests in tests/fault and numbered in docs/format.md:
 *   - what kp_store_wait acknowledged survives a crash; nothing that was not appended appears;
 *   - damage is never returned as data: it is refused, counted, and shown as a row of `gaps`;
 *   - readers never block the writer and see one consistent state.
 *
 * Fed by src/ingest, read by src/causal and src/query. Files in reading order: storage.h io.h
 * scan.h format.h format_page.h store.c commit.c wal.c wal_read.c block.c codec_*.c pager.c
 * segment.c index.c exact.c run_page.c seal.c cold.c manifest.c manifest_read.c manifest_life.c
 * run_file.c run_merge.c retain.c disk.c recover.c snapshot.c cache.c filter.c run_find.c hop.c
 * rollup.c rollup_read.c scan.c verify.c run_verify.c inspect*.c; backends io_uring.c io_threads.c
 * io_sim.c.
 */
#ifndef KP_STORAGE_STORAGE_H
#define KP_STORAGE_STORAGE_H

#include "column/batch.h"
#include "storage/disk.h"     /* what a commit costs */
#include "storage/evidence.h" /* seals and their proof */
#include "storage/hop.h"      /* the last row of a thread */
#include "storage/life.h"     /* retention and legal hold */
#include "storage/rollup.h"   /* counts and sums of whole segments */
#include "storage/scan.h"     /* rows out of a snapshot */

struct kp_io;
struct kp_store;
struct kp_snapshot;

/* --- writing --- */

struct kp_store_opts {
    const struct kp_io *io;     /* backend; NULL = best available (io_uring, else threads) */
    bool read_only_ok;          /* open an existing directory only; never create */
    bool manual;                /* no thread of its own: caller drives kp_store_tick (simulator) */
    kp_dur commit_after;        /* group commit after this long; 0 = 5 ms */
    uint32_t commit_bytes;      /* ... or this many bytes; 0 = 1 MiB */
    uint64_t segment_bytes_max; /* seal when the unsealed WAL payload reaches this; 0 = 64 MiB */
    kp_dur segment_after;       /* ... or is this old; 0 = 10 min */
    uint64_t memory_bytes_max;  /* buffers, fixed at open; 0 = 64 MiB */
    uint64_t wal_file_bytes;    /* size of one log file; 0 = 64 MiB */
    uint64_t wal_bytes_max;     /* all log files; beyond it append gives LIMIT; 0 = 1 GiB */
    uint64_t id_seed;           /* 0 = random store id; else made from this (simulator) */
    kp_dur retention_age;       /* drop segments whose newest row is older; 0 = never (life.h) */
    uint64_t retention_bytes;   /* drop the oldest while those not held take more; 0 = never */
    kp_dur cold_after;          /* rewrite segments whose newest row is older; 0 = never */
    uint64_t cold_rate;         /* bytes a second read and written for that; 0 = no limit */
    kp_dur scrub_every;         /* read sealed segments again, to find damage; 0 = never */
    kp_dur seal_every;          /* begin to seal, an epoch being this long; 0 = go on if begun */
};

struct kp_store_stat {
    uint64_t rows_appended, rows_durable, rows_refused;
    uint64_t commits, commit_bytes;
    uint64_t waits;  /* rows somebody waited for and was told that they are durable */
    kp_dur sync_max; /* slowest sync so far */
    uint64_t segments, segments_bytes, wal_bytes;
    uint64_t memory_bytes; /* fixed at open */
    uint64_t gaps;         /* loss rows written by the store itself */
    uint64_t dropped_segments, dropped_rows, dropped_bytes; /* by retention, since open */
    uint64_t holds;                                         /* legal holds in force */
    bool retention_blocked;                                 /* holds keep what is too old */
    uint64_t cold_segments, cold_bytes;                     /* written, since open */
    uint64_t scrub_passes, scrub_bytes, scrub_damaged; /* since open; damaged: places told of */
    uint64_t seals;                                    /* in the chain of evidence */
};

/* Opens or makes a store for writing and recovers it. One writer per directory: a second open gives
 * BUSY and names the pid that holds it. *out belongs to the caller until kp_store_close. */
kp_status kp_store_open(const char *dir, const struct kp_store_opts *opts, struct kp_store **out,
                        struct kp_error *err) KP_MUST;
/* Commits, seals when worthwhile, releases the directory. Errors tell what may not be durable. */
kp_status kp_store_close(struct kp_store *store, struct kp_error *err) KP_MUST;

/* Registry that batches for this store must use for ACTOR columns. Interning only under
 * kp_store_actor (any thread). */
struct kp_actors *kp_store_actors(struct kp_store *store);
kp_actor_id kp_store_actor(struct kp_store *store, const struct kp_actor *actor);

/* The only door into storage: one stored batch of one stream (rows ascending by (ts, seq) as far as
 * known; late rows are legal). Any thread. Copies what it needs before returning.
 * *out_ticket (may be NULL) is what kp_store_wait takes. LIMIT: buffers or log full, nothing was
 * taken; INVALID: larger than a buffer (an eighth of memory_bytes_max, at most 8 MiB), nothing was
 * taken; IO/NO_SPACE: the store is in loss mode, the rows were counted and a gap will be written.
 */
kp_status kp_store_append(struct kp_store *store, const struct kp_batch *batch,
                          uint64_t *out_ticket) KP_MUST;
/* Returns when the rows of a ticket are durable, or why they never will be; the same for all
 * tickets from first to last. */
kp_status kp_store_wait(struct kp_store *store, uint64_t ticket, struct kp_error *err) KP_MUST;
kp_status kp_store_wait_all(struct kp_store *store, uint64_t first, uint64_t last,
                            struct kp_error *err) KP_MUST;
/* manual mode: runs commits and seals that are due at `now`; flush forces both. */
kp_status kp_store_tick(struct kp_store *store, int64_t now_mono, bool flush) KP_MUST;
void kp_store_stat(struct kp_store *store, struct kp_store_stat *out);
/* Next event number for a row of this host (any thread): dense, never reused, kept over restarts.
 */
uint64_t kp_store_seq(struct kp_store *store, uint32_t count);

/* --- reading --- */

/* A consistent state of a directory, with or without a writer beside it. Checks what it reads;
 * damaged parts are skipped and listed by kp_snapshot_damage. May be shared by threads. */
kp_status kp_snapshot_open(const char *dir, const struct kp_io *io, struct kp_snapshot **out,
                           struct kp_error *err) KP_MUST;
/* The newest committed state of an open store. */
kp_status kp_store_snapshot(struct kp_store *store, struct kp_snapshot **out,
                            struct kp_error *err) KP_MUST;
void kp_snapshot_close(struct kp_snapshot *snapshot);
/* Actors of everything this snapshot has handed out so far; batches of its scans point into it. */
struct kp_actors *kp_snapshot_actors(struct kp_snapshot *snapshot);
/* Time range of all rows (min > max when empty), rows per stream number (may be NULL), and the
 * number that orders states of this directory ("as_of"). */
void kp_snapshot_range(const struct kp_snapshot *snapshot, kp_time *out_min, kp_time *out_max);
uint64_t kp_snapshot_rows(const struct kp_snapshot *snapshot, const struct kp_stream *stream);
uint64_t kp_snapshot_as_of(const struct kp_snapshot *snapshot);
/* Rows, and bytes of files, that its scans have read so far. Any thread, also while they run. */
void kp_snapshot_read(const struct kp_snapshot *snapshot, uint64_t *out_rows, uint64_t *out_bytes);

/* What its reader keeps with it: made at the first call (NULL: no memory), freed when the snapshot
 * closes. There is one; what is in it is its maker's to guard. Any thread. */
void *kp_snapshot_memo(struct kp_snapshot *snapshot, void *(*make)(void), void (*drop)(void *memo));

/* One damaged place found so far. Strings live as long as the snapshot. */
struct kp_damage {
    const char *file;
    uint64_t offset;
    uint64_t size;
    kp_time from, to; /* time range of what is missing; from > to = unknown */
    int64_t rows;     /* -1 = unknown */
    const char *what;
};
uint32_t kp_snapshot_damage(const struct kp_snapshot *snapshot, const struct kp_damage **out);

/* --- looking after files --- */

struct kp_verify_report {
    uint64_t files, pages, blocks, rows, bytes;
    uint64_t damaged; /* places */
};
/* Re-reads everything and checks every sum and link; each finding goes to `found`. KP_CORRUPT when
 * there was any. progress may be NULL (done, total bytes). */
kp_status kp_verify(const char *dir, const struct kp_io *io,
                    void (*found)(void *ctx, const struct kp_damage *damage),
                    void (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx,
                    struct kp_verify_report *out, struct kp_error *err) KP_MUST;
/* Describes any one file of a store as text, damaged ones too; never writes. */
kp_status kp_inspect(const char *path, struct kp_buf *out, struct kp_error *err) KP_MUST;

#endif
