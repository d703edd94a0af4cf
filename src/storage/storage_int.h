/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of src/storage share. Two halves meet here:
 *   log half      io_*.c wal.c manifest.c store.c recover.c: bytes become durable
 *   page half     block.c spine.c segment.c index.c snapshot.c scan.c verify.c inspect.c: bytes
 *                 become batches
 *
 * A *block* is one stream's rows in self-contained encoded form (its own actor and string tables).
 * The payload of a WAL record is a run of blocks; a page of a segment is a run of blocks too, one
 * per stream of a slice of time; kernel pages begin with a spine (spine.h), which their blocks
 * need. Byte layouts: format.h, format_page.h and docs/format.md.
 */
#ifndef KP_STORAGE_STORAGE_INT_H
#define KP_STORAGE_STORAGE_INT_H

#include "base/arena.h"
#include "base/hash.h"
#include "storage/format.h"
#include "storage/io.h"
#include "storage/storage.h"

/* ---------- blocks (block.c, codec_*.c) ---------- */

/* How much a chunk may cost. HOT: light codecs, chosen on a sample. SEALED: the best of all codecs
 * and zstd. FAST: chosen by simple statistics, then zstd's fastest level. BARE: as FAST without
 * zstd, which comes around the whole. COLD: zstd's strongest, and adaptive models. */
enum kpi_level { KPI_LEVEL_HOT, KPI_LEVEL_SEALED, KPI_LEVEL_FAST, KPI_LEVEL_BARE, KPI_LEVEL_COLD };

/* What can be known of a block without decoding columns. */
struct kpi_block_info {
    const struct kp_stream *stream;
    uint32_t rows;
    uint32_t size; /* bytes of the whole block */
    kp_time ts_min, ts_max;
    uint64_t seq_min, seq_max;
};

/* Appends the encoding of a stored batch to out (block starts 8-aligned relative to its own start;
 * nothing may be assumed of absolute alignment). */
kp_status kpi_block_encode(const struct kp_batch *batch, enum kpi_level level,
                           struct kp_buf *out) KP_MUST;
/* Checks the header and sums of the block at the start of bytes. CORRUPT when it lies; never reads
 * past size. */
kp_status kpi_block_peek(const void *bytes, size_t size, struct kpi_block_info *out) KP_MUST;
/* Decodes the wanted stored columns (bit n = stored column n) into out, actors interned into
 * `actors`. Memory from arena. out->cols has all stored columns; unwanted ones have i64 == NULL. */
kp_status kpi_block_decode(const void *bytes, size_t size, uint64_t wanted,
                           struct kp_actors *actors, struct kp_arena *arena,
                           struct kp_batch *out) KP_MUST;

/* ---------- write-ahead log (wal.c) ---------- */

struct kpi_wal; /* writer */

/* One record as read back. payload is a run of blocks, valid until the next call. */
struct kpi_wal_record {
    uint64_t sequence; /* of the record: ascending from 1 */
    const void *payload;
    uint32_t payload_size;
    uint32_t rows;
    uint64_t seq_next; /* event numbers handed out up to here */
    kp_time ts_min, ts_max;
    struct kp_hash128 hash; /* of its header: names it in the chain */
    const char *file;
    uint64_t offset;
};

/* Reads records with sequence > after in order, checking sums and the hash chain. `each` returns
 * false to stop. Damaged places go to `damage` (never silently skipped); a torn tail is not damage.
 * *out_last = last good sequence. BUSY: a writer recycled files underneath; read the manifest again
 * and start over. */
kp_status kpi_wal_read(const struct kp_io *io, const char *dir, uint64_t after,
                       bool (*each)(void *ctx, const struct kpi_wal_record *record),
                       void (*damage)(void *ctx, const struct kp_damage *damage), void *ctx,
                       uint64_t *out_last, struct kp_error *err) KP_MUST;

/* ---------- manifest (manifest.c) ---------- */

struct kpi_segment_meta {
    uint64_t id;                  /* dense from 1; file seg/%016x.kps */
    uint64_t wal_first, wal_last; /* WAL records it replaces */
    kp_time ts_min, ts_max;
    uint64_t rows, bytes;
    uint64_t rows_by_stream[KP_STREAM_MAX];
    struct kp_hash128 footer_hash; /* binds the file's content to the manifest */
    bool cold;                     /* made of the segments of its log records, see cold.c */
};

/* A run of the transaction index (run_file.h): which segments it may speak for. */
struct kpi_run_meta {
    uint64_t id;
    uint64_t first, last; /* segment ids */
    uint64_t segments;    /* so many of them have entries or could have */
    uint64_t entries, bytes;
    struct kp_hash128 hash; /* binds the file's content to the manifest */
};

struct kpi_manifest {
    struct kpi_segment_meta *segments; /* ascending id */
    uint32_t count;
    uint64_t sealed_through; /* WAL sequence up to which segments hold everything */
    uint64_t version;        /* grows with every record: the "as_of" of sealed state */
    uint8_t store_id[16];
    uint64_t seq_next;               /* event numbers handed out up to here when last sealed */
    struct kp_hash128 wal_hash;      /* header hash of WAL record sealed_through */
    struct kpi_manifest_drop *drops; /* tombstones, in the order of dropping */
    uint32_t drops_count, drops_capacity;
    struct kp_hold *holds; /* ascending id, released ones too */
    uint32_t holds_count, holds_capacity;
    struct kpi_run_meta *runs; /* ascending, their ranges do not overlap */
    uint32_t runs_count, runs_capacity;
};

/* Reads the newest valid state of a directory's manifest (malloc'd; free with deinit). */
kp_status kpi_manifest_read(const struct kp_io *io, const char *dir, struct kpi_manifest *out,
                            void (*damage)(void *ctx, const struct kp_damage *damage), void *ctx,
                            struct kp_error *err) KP_MUST;
void kpi_manifest_deinit(struct kpi_manifest *manifest);

/* ---------- segments (segment.c) ---------- */

/* Source of blocks for a new segment, in WAL order. */
struct kpi_block_run {
    const void *bytes;
    size_t size;
};

/* Merges the blocks of runs into one sealed segment file dir/seg/<id>.kps: written under a
 * temporary name, synced, renamed, directory synced. Fills *out. On failure no file is left behind
 * under the final name. */
kp_status kpi_segment_write(const struct kp_io *io, const char *dir, uint64_t id,
                            const struct kpi_block_run *runs, uint32_t runs_count,
                            struct kpi_segment_meta *out, struct kp_error *err) KP_MUST;

/* The same of pages of other segments, in the coding of cold ones. */
struct kpi_page_source; /* pager.h */
kp_status kpi_segment_rewrite(const struct kp_io *io, const char *dir, uint64_t id,
                              const struct kpi_page_source *pages, struct kpi_segment_meta *out,
                              struct kp_error *err) KP_MUST;

/* ---------- the open store, for kp_store_snapshot (store.c) ---------- */

const char *kpi_store_dir(const struct kp_store *store);
const struct kp_io *kpi_store_io(const struct kp_store *store);

#endif
