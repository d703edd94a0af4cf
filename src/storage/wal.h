/* SPDX-License-Identifier: Apache-2.0
 *
 * The write-ahead log: writer (wal.c) and the full form of the reader (wal_read.c); the plain
 * reader is kpi_wal_read in storage_int.h.
 *
 * Invariants: one record is being written at a time; a record is acknowledged only after a sync
 * that came after its whole write; a file that failed once is not written again; a log file is
 * written over only when the manifest says that segments hold all its records.
 */
#ifndef KP_STORAGE_WAL_H
#define KP_STORAGE_WAL_H

#include "storage/format.h"
#include "storage/storage_int.h"

struct kpi_wal_opts {
    const struct kp_io *io;
    const char *dir; /* of the store; must outlive the log */
    const uint8_t *store_id;
    uint64_t file_bytes; /* multiple of KPI_BLOCK, at least KPI_WAL_FILE_MIN */
};
#define KPI_WAL_FILE_MIN (64u << 10)

struct kpi_wal_file {
    uint64_t id;
    uint64_t size;
    uint64_t last; /* highest sequence in it, 0 = none */
    bool whole;    /* header valid, size as it says: may be recycled */
};

/* Where a log ends: what a writer needs to go on. */
struct kpi_wal_end {
    uint64_t sequence;      /* of the last good record (or `after`) */
    struct kp_hash128 hash; /* its header hash */
    uint64_t seq_next;
    kp_time ts_max;             /* highest seen, KP_TIME_MIN = none */
    uint64_t payload_bytes;     /* of records > after */
    bool uncertain;             /* something could not be read: records may exist behind the end */
    struct kpi_wal_file *files; /* ascending id */
    uint32_t files_count;
};

struct kpi_wal_scan {
    const struct kp_io *io;
    const char *dir;
    const uint8_t *store_id;
    uint64_t after;
    struct kp_hash128 after_hash; /* used as end hash when nothing follows */
    bool (*each)(void *ctx, const struct kpi_wal_record *record); /* may be NULL */
    void (*damage)(void *ctx, const struct kp_damage *damage);    /* may be NULL */
    void (*note)(void *ctx, uint64_t note); /* of records that report damage; may be NULL */
    void *ctx;
};

kp_status kpi_wal_scan(const struct kpi_wal_scan *scan, struct kpi_wal_end *out,
                       struct kp_error *err) KP_MUST;
void kpi_wal_end_deinit(struct kpi_wal_end *end);

/* What a record that reports this damage carries, so that it is reported once. Never 0. */
uint64_t kpi_damage_note(const struct kp_damage *damage);

/* Bytes of a file of this size that records can use, and the largest payload it can take. */
uint64_t kpi_wal_payload_max(uint64_t file_bytes);
uint32_t kpi_wal_table_blocks(uint64_t file_bytes);
void kpi_wal_path(char *out, size_t size, const char *dir, uint64_t id);

/* A writer that goes on after `end`, always in a file of its own. */
kp_status kpi_wal_open(const struct kpi_wal_opts *opts, const struct kpi_wal_end *end,
                       struct kpi_wal **out) KP_MUST;
void kpi_wal_close(struct kpi_wal *wal);

/* One record. bytes: KPI_BLOCK-aligned, sizeof(struct kpi_wal_header) of room, the payload, and
 * room to round the whole up to KPI_BLOCK. */
struct kpi_wal_entry {
    uint8_t *bytes;
    uint32_t payload_size;
    uint32_t rows;
    kp_time ts_min, ts_max;
    uint64_t seq_next;
    uint64_t note;
};
/* Makes one record durable. When its file fails it is written once more, to a new file. Afterwards
 * it is lost and the reason comes back; the log can be used on. One thread (the queue's). */
kp_status kpi_wal_commit(struct kpi_wal *wal, struct kp_io_queue *queue,
                         const struct kpi_wal_entry *entry) KP_MUST;
/* Sequence and header hash of the last durable record (the committing thread). */
uint64_t kpi_wal_sequence(const struct kpi_wal *wal);
struct kp_hash128 kpi_wal_hash(const struct kpi_wal *wal);
kp_dur kpi_wal_sync_max(const struct kpi_wal *wal);

/* Ends the current file; the next commit begins another. */
void kpi_wal_finish(struct kpi_wal *wal, struct kp_io_queue *queue);

/* Any thread, each with its own queue: gives back the files that hold nothing behind `through`. */
void kpi_wal_release(struct kpi_wal *wal, uint64_t through);
/* ... and makes a spare file, so that a commit need not; low = it is time for that. */
bool kpi_wal_low(struct kpi_wal *wal);
kp_status kpi_wal_spare(struct kpi_wal *wal, struct kp_io_queue *queue) KP_MUST;
/* Bytes of the files that hold records not yet released. */
uint64_t kpi_wal_bytes(struct kpi_wal *wal);

#endif
