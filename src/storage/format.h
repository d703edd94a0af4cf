/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes of the directory, the write-ahead log and the manifest, as structs; docs/format.md says
 * the same in words. All numbers are little-endian (asserted in base/bytes.h), all structs have no
 * padding. Pages and segments: format_page.h.
 *
 *   DIR/lock                the writer's pid; held with flock
 *   DIR/super               two superblocks, written in turn: which manifest file counts
 *   DIR/manifest.XXXXXXXX   append-only records: segments, runs, up to where the log is sealed
 *   DIR/wal/ID.kpw          log files; an ID is used once, a file many times
 *   DIR/seg/ID.kps          segments
 *   DIR/txn/ID.kpt          runs of the transaction index; derived, rebuilt when they are lost
 *
 * Every hash is seeded with the store's id and covers the place it stands at, so that a block of
 * another store, file or offset does not verify.
 */
#ifndef KP_STORAGE_FORMAT_H
#define KP_STORAGE_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"

#define KPI_FORMAT_VERSION 1u
/* Of superblocks and manifest records: 1 at first, 2 once there are DROP or HOLD records, 3 once
 * there are RUN records. */
#define KPI_MANIFEST_VERSION_LIFE 2u
#define KPI_MANIFEST_VERSION_RUNS 3u
#define KPI_MANIFEST_VERSION      4u
#define KPI_BLOCK                 4096u /* unit of the log; what O_DIRECT asks for */
#define KPI_SECTOR                512u  /* unit of the manifest; what a disk writes whole */
#define KPI_ID_SIZE               16u

/* ---------- write-ahead log ---------- */

#define KPI_WAL_FILE_MAGIC   0x4657504bu /* "KPWF" */
#define KPI_WAL_RECORD_MAGIC 0x5257504bu /* "KPWR" */
#define KPI_WAL_RECORD_MAX   (64u << 20) /* no record is larger, whatever a header says */

/* Block 0. Written once before the file gets its name; a recycled file keeps it. */
struct kpi_wal_file_header {
    uint32_t magic;
    uint16_t version;
    uint16_t reserved;
    uint8_t store_id[KPI_ID_SIZE];
    uint64_t file_bytes;
    uint32_t table_blocks; /* blocks 1..table_blocks hold the copies of record headers */
    uint32_t reserved2;
    struct kp_hash128 hash; /* over the bytes before */
};
_Static_assert(sizeof(struct kpi_wal_file_header) == 56, "file header is 56 bytes");

/* Start of a record, on a block border; the payload follows. The same 128 bytes go into the table
 * once the record is durable. */
struct kpi_wal_header {
    uint32_t magic;
    uint16_t version;
    uint16_t flags;   /* 0 */
    uint64_t file_id; /* from the file's name when it was written */
    uint32_t block;   /* where it starts, in blocks */
    uint32_t payload_size;
    uint64_t sequence;
    uint64_t durable;  /* sequence of the record before it: what was durable when it was written */
    uint64_t seq_next; /* event numbers handed out so far */
    int64_t ts_min, ts_max;
    uint32_t rows;
    uint32_t reserved;
    uint64_t note;          /* damage that this record reports (kpi_damage_note), 0 = none */
    struct kp_hash128 prev; /* `hash` of record `durable` */
    struct kp_hash128 payload_hash;
    struct kp_hash128 hash; /* over the bytes before */
};
_Static_assert(sizeof(struct kpi_wal_header) == 128, "record header is 128 bytes");

#define KPI_WAL_TWINS_PER_BLOCK (KPI_BLOCK / 128u)

/* ---------- manifest ---------- */

#define KPI_SUPER_MAGIC    0x5053504bu /* "KPSP" */
#define KPI_MANIFEST_MAGIC 0x524d504bu /* "KPMR" */

/* At offsets 0 and 4096 of `super`. The valid one with the higher generation counts. */
struct kpi_super {
    uint32_t magic;
    uint16_t version;
    uint16_t reserved;
    uint8_t store_id[KPI_ID_SIZE];
    uint64_t generation;
    uint64_t file_no;          /* manifest.%08x */
    uint64_t length;           /* bytes of it that were durable */
    uint64_t manifest_version; /* of its last record then */
    struct kp_hash128 hash;    /* over the bytes before; seed 0 */
};
_Static_assert(sizeof(struct kpi_super) == 72, "superblock is 72 bytes");

enum kpi_manifest_type {
    KPI_MANIFEST_BASE = 1,
    KPI_MANIFEST_SEGMENT = 2,
    KPI_MANIFEST_DROP = 3, /* version 2 */
    KPI_MANIFEST_HOLD = 4, /* version 2 */
    KPI_MANIFEST_RUN = 5,  /* version 3 */
    KPI_MANIFEST_COLD = 6, /* version 4; payload of a segment */
};

/* Start of a manifest record, on a sector border; the payload follows, zeros up to the next border.
 */
struct kpi_manifest_header {
    struct kp_hash128 hash; /* over everything behind it up to the end of the payload */
    uint32_t magic;
    uint16_t version;
    uint16_t type; /* enum kpi_manifest_type */
    uint64_t file_no;
    uint64_t offset;
    uint64_t manifest_version; /* grows by one with every record */
    struct kp_hash128 prev;    /* hash of the record before, 0 for the first of a file */
    uint32_t payload_size;
    uint32_t reserved;
};
_Static_assert(sizeof(struct kpi_manifest_header) == 72, "manifest header is 72 bytes");

/* First record of every manifest file: the whole state but the segments, which follow as records.
 */
struct kpi_manifest_base {
    uint8_t store_id[KPI_ID_SIZE];
    uint64_t sealed_through;
    uint64_t seq_next;
    struct kp_hash128 wal_hash;
    uint64_t segments; /* so many SEGMENT records belong to the base */
    uint64_t others;   /* from version 2 on: so many DROP, HOLD and RUN records too */
};
_Static_assert(sizeof(struct kpi_manifest_base) == 64, "base payload is 56 or 64 bytes");

/* Followed by `streams` pairs of (stream number, rows), 8 bytes each. */
struct kpi_manifest_segment {
    uint64_t id;
    uint64_t wal_first, wal_last;
    int64_t ts_min, ts_max;
    uint64_t rows, bytes;
    struct kp_hash128 footer_hash;
    uint64_t seq_next;          /* as in the base, after this segment */
    struct kp_hash128 wal_hash; /* header hash of log record wal_last */
    uint64_t streams;
};
_Static_assert(sizeof(struct kpi_manifest_segment) == 104, "segment payload is 104 bytes and more");

enum kpi_drop_reason { KPI_DROP_AGE = 1, KPI_DROP_BYTES = 2 };

/* Tombstone of a segment that retention dropped; old ones are folded, several segments into one. */
struct kpi_manifest_drop {
    uint64_t id_first, id_last;
    uint64_t segments; /* how many; others between id_first and id_last may still be there */
    uint64_t wal_first, wal_last;
    int64_t ts_min, ts_max;
    uint64_t rows, bytes;
    struct kp_hash128 footer_hash; /* folded: XXH3-128 of both hashes, the older first */
    int64_t at;                    /* Unix time of the (last) drop */
    uint32_t reason;               /* enum kpi_drop_reason; folded: of the last */
    uint32_t reserved;
};
_Static_assert(sizeof(struct kpi_manifest_drop) == 104, "drop payload is 104 bytes");

/* A legal hold, whole; the last record of an id counts. The reason follows as text. */
struct kpi_manifest_hold {
    uint64_t id; /* from 1, never used again */
    int64_t from, to;
    int64_t added, released; /* Unix time; released 0 = in force */
};
_Static_assert(sizeof(struct kpi_manifest_hold) == 40, "hold payload is 40 bytes and more");

/* A run of the transaction index; takes the place of the runs whose ranges lie in its own. Without
 * bytes: those runs are no more, nothing takes their place. */
struct kpi_manifest_run {
    uint64_t id;
    uint64_t first, last; /* segment ids */
    uint64_t segments;
    uint64_t entries, bytes;
    struct kp_hash128 hash; /* of its trailer */
};
_Static_assert(sizeof(struct kpi_manifest_run) == 64, "run payload is 64 bytes");

/* Seed of all hashes of a store. */
static inline uint64_t kpi_store_seed(const uint8_t store_id[KPI_ID_SIZE])
{
    return kp_hash64(store_id, KPI_ID_SIZE, 0);
}

static inline bool kpi_hash_equal(struct kp_hash128 a, struct kp_hash128 b)
{
    return a.lo == b.lo && a.hi == b.hi;
}

static inline uint64_t kpi_round_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) / unit * unit;
}

#endif
