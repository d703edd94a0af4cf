/* SPDX-License-Identifier: Apache-2.0
 *
 * The writer of evidence: one seal per epoch, a record per sealed or dropped segment. All calls are
 * made on every store and do nothing on one without seals (store->evidence is NULL).
 *
 * Threads: kpi_evidence_logged is the committer's, everything else the sealer's; the digest of the
 * log and the key are under the evidence's own lock.
 */
#ifndef KP_STORAGE_EPOCH_H
#define KP_STORAGE_EPOCH_H

#include "storage/chain.h"
#include "storage/digest.h"
#include "storage/store_int.h"

struct kpi_mark { /* a seal whose log records are not in segments yet */
    uint64_t seal, wal_seq;
    struct kpi_sha head;
};

struct kpi_marks {
    struct kpi_mark *items;
    uint32_t count, capacity;
};

struct kpi_registered { /* a segment in the chain that was not dropped */
    uint64_t id, rows, bytes, wal_first, wal_last;
    struct kpi_sha root;
    struct kp_hash128 content;
};

struct kpi_evidence {
    kp_dur every;
    struct kpi_chain chain;
    /* of the last seal, or of the genesis */
    uint64_t seals, epochs;
    int64_t last_wall, last_mono;
    uint8_t last_boot[16], boot[16];
    bool first;   /* this process has made no seal yet */
    bool broken;  /* a digest or a segment could not be had: no seals until the next start */
    int64_t next; /* mono time of the next seal */
    struct kpi_log_digest sealed; /* up to the last segment */
    struct kpi_log_digest taking; /* up to the last record taken for the next one */
    struct kpi_marks marks;
    uint64_t segment_last;    /* highest id in the chain, cold segments aside */
    uint64_t segment_genesis; /* highest id before the first genesis */
    uint64_t wal_genesis;     /* last log record before it */
    struct kpi_registered *segments;
    uint32_t segments_count, segments_capacity;
    uint64_t flushed;                 /* last log record of the segments in the chain, durably */
    struct kpi_chain_record *pending; /* made, not yet durable */
    uint32_t pending_count, pending_capacity;
    pthread_mutex_t lock;
    struct kpi_log_digest durable; /* up to the last durable record */
    struct kpi_key key;            /* of the next seal */
};

/* ---------- recover_seals.c ---------- */

/* Continues the chain of the store, or begins one when seal_every asks for it. Called by recovery
 * when log and manifest are as they will be, before log files are given back. */
kp_status kpi_evidence_open(struct kp_store *store, struct kp_io_queue *queue,
                            const struct kpi_manifest *manifest, struct kp_error *err) KP_MUST;

/* ---------- epoch.c, epoch_cold.c ---------- */

/* A record that has just become durable. */
void kpi_evidence_logged(struct kp_store *store, const struct kpi_wal_entry *entry);
/* Sealing: begins; takes one record; a segment made of those taken is in the manifest. */
void kpi_evidence_begin(struct kp_store *store);
void kpi_evidence_take(struct kp_store *store, const struct kpi_wal_record *record);
void kpi_evidence_segment(struct kp_store *store, const struct kpi_segment_meta *meta,
                          const struct kpi_block_run *run);
/* Content of the segments that a cold one is made of, as the chain has them. False: it
 * does not know them all. */
bool kpi_evidence_content(const struct kp_store *store, const struct kpi_segment_meta *cold,
                          struct kp_hash128 *out_content);
/* A cold segment of this content has just taken its place in the manifest. */
void kpi_evidence_cold(struct kp_store *store, const struct kpi_segment_meta *cold,
                       struct kp_hash128 content);
/* A segment has just left the manifest. */
void kpi_evidence_drop(struct kp_store *store, const struct kpi_segment_meta *gone,
                       enum kpi_drop_reason reason);
/* The last log record that may be given up: those of segments that the chain does not have yet
 * prove them, and are kept while the log has room. Recording never waits for evidence. */
uint64_t kpi_evidence_covers(const struct kp_store *store);
bool kpi_evidence_due(const struct kp_store *store, int64_t now);
int64_t kpi_evidence_next(const struct kp_store *store);
/* Called and returns with the store's lock held; it is given up meanwhile. */
void kpi_evidence_run(struct kp_store *store, int64_t now);
/* The last seal; frees everything. */
void kpi_evidence_close(struct kp_store *store, bool seal);

/* Shared by both files. */
struct kpi_chain_record *kpi_evidence_add(struct kpi_evidence *evidence, enum kpi_chain_type type);
/* Makes what is pending durable. */
kp_status kpi_evidence_flush(struct kpi_evidence *evidence, struct kp_io_queue *queue) KP_MUST;
bool kpi_evidence_register(struct kpi_evidence *evidence, const struct kpi_chain_segment *segment);
void kpi_evidence_unregister(struct kpi_evidence *evidence, uint64_t id);
bool kpi_evidence_register_cold(struct kpi_evidence *evidence, const struct kpi_chain_cold *cold);
/* Adds the record of a cold segment, whose file is read. */
kp_status kpi_evidence_add_cold(struct kp_store *store, struct kp_io_queue *queue,
                                const struct kpi_segment_meta *meta,
                                struct kp_hash128 content) KP_MUST;
bool kpi_marks_add(struct kpi_marks *marks, const struct kpi_mark *mark);
/* Compares a digest with the seal made at its place; a mismatch becomes a record. */
void kpi_marks_check(struct kpi_evidence *evidence, const struct kpi_log_digest *digest);
/* Fills the record of a segment from its file, its meta and the digest at its last log record. */
kp_status kpi_evidence_describe(const struct kp_store *store, struct kp_io_queue *queue,
                                const struct kpi_segment_meta *meta,
                                const struct kpi_log_digest *digest,
                                struct kpi_chain_segment *out) KP_MUST;
/* Clocks of now into a record; the simulator's are its ticks. */
void kpi_evidence_stamp(const struct kp_store *store, int64_t now, struct kpi_chain_record *record,
                        kp_dur *out_bound);

#endif
