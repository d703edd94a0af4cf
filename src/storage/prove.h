/* SPDX-License-Identifier: Apache-2.0
 *
 * The proof in work, shared by prove.c (the store against the chain) and prove_chain.c (the chain
 * itself).
 */
#ifndef KP_STORAGE_PROVE_H
#define KP_STORAGE_PROVE_H

#include "storage/chain.h"
#include "storage/digest.h"
#include "storage/manifest.h"

struct kpi_proved_segment {
    struct kpi_chain_segment segment;
    bool dropped, seen;
    bool replaced;    /* by a cold segment */
    kp_time from, to; /* of the seals around it: when it was written */
};

/* A root that somebody holds. */
struct kpi_head {
    bool given, reached;
    struct kpi_checkpoint head;
    struct kpi_sha root; /* of the chain at that size */
};

/* The auditor's key. */
struct kpi_secret {
    bool given;
    uint64_t number;
    struct kpi_sha secret;
    char signer[160];
};

struct kpi_prover {
    const struct kp_io *io;
    struct kp_io_queue *queue;
    const char *dir;
    const struct kp_prove_opts *opts;
    struct kp_proof proof;
    struct kp_finding *findings;
    uint32_t findings_count, findings_capacity;
    struct kpi_manifest manifest;
    kp_status status;
    /* chain */
    struct kpi_merkle tree;
    struct kpi_sha *leaves; /* of all records so far */
    uint64_t leaves_capacity;
    uint64_t number_next;
    uint64_t *missing; /* numbers passed over */
    uint32_t missing_count, missing_capacity;
    struct kpi_sha prev;
    bool prev_known, tags_lost;
    struct kp_buf held; /* records that do not verify, until a whole one follows */
    bool genesis_known;
    struct kpi_chain_record genesis, last; /* last: seal, or the genesis */
    uint64_t seals_tagged;
    struct kpi_secret key;     /* given; then evolved */
    struct kpi_head head, own; /* the auditor's; that of DIR/checkpoint */
    struct kp_buf own_text;
    struct kpi_proved_segment *segments;
    uint32_t segments_count, segments_capacity;
    struct kpi_chain_record *seals; /* whose log records are behind the last segment */
    uint32_t seals_count, seals_capacity;
    struct kpi_log_digest log; /* at the last segment, then as far as read */
    uint64_t size;             /* records in the file when it was read */
};

/* When the epoch of a seal began. */
static inline kp_time kpi_epoch_begin(const struct kpi_prover *p,
                                      const struct kpi_chain_record *seal)
{
    return kpi_clocks_apart(p->genesis.genesis.every, seal->wall);
}

/* prove.c */
void kpi_found(struct kpi_prover *p, enum kp_finding_kind kind, kp_time from, kp_time to,
               const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* Lack of memory ends the proof without a finding. Gives the status back. */
kp_status kpi_prover_noted(struct kpi_prover *p, kp_status status);
/* Path of a segment, in out. */
const char *kpi_prover_path(struct kpi_prover *p, uint64_t id, struct kp_buf *out);

/* prove_chain.c: reads the chain and everything it says into the prover. NOT_FOUND: none. */
kp_status kpi_prove_chain(struct kpi_prover *p, struct kp_error *err) KP_MUST;
/* Reads the text of kp_store_seal_key. False: it is not one, or of another store. */
bool kpi_secret_parse(struct kp_str text, const uint8_t store_id[KPI_ID_SIZE],
                      struct kpi_secret *out);
/* Grows an array for one more item. */
bool kpi_room_for_one(void **items, uint64_t count, uint64_t *capacity, size_t item);

/* Adds a segment of the chain; NULL: no memory, which the status says. written: time of its record.
 */
struct kpi_proved_segment *kpi_proved_add(struct kpi_prover *p,
                                          const struct kpi_chain_segment *segment, kp_time written);

/* prove_cold.c */
/* A cold segment's record: what it says that it was made of is what was sealed before. */
void kpi_prove_cold(struct kpi_prover *p, const struct kpi_chain_record *record);
/* A cold segment behind the chain is honest while it has the rows of the sealed segments it was
 * made of. They are accounted for then. */
bool kpi_prove_parts_cover(struct kpi_prover *p, const struct kpi_segment_meta *meta);

#endif
