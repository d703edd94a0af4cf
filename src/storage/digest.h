/* SPDX-License-Identifier: Apache-2.0
 *
 * What the chain says of data: the digest of the log so far, the root of a segment file, and the
 * sum of the rows' content, which is the same before and after rows are sorted and packed anew.
 */
#ifndef KP_STORAGE_DIGEST_H
#define KP_STORAGE_DIGEST_H

#include "storage/merkle.h"
#include "storage/storage_int.h"

/* ---------- digest.c: the log ---------- */

/* The log from the genesis to a record. */
struct kpi_log_digest {
    uint64_t sequence; /* of that record */
    uint64_t rows;
    struct kpi_sha head;   /* SHA-256(1 | head before | digest of the record) */
    struct kp_hash128 set; /* sum of the payload digests mod 2^128 */
};

/* Adds one durable record. Only sequence, rows, times and payload of it count. */
kp_status kpi_log_digest_add(struct kpi_log_digest *digest,
                             const struct kpi_wal_record *record) KP_MUST;

/* What a cold segment was made of. Zero-initialised is valid. */
struct kpi_lineage {
    uint64_t segments;
    struct kpi_sha digest; /* SHA-256(digest before | id | root) */
};
kp_status kpi_lineage_add(struct kpi_lineage *lineage, uint64_t id,
                          const struct kpi_sha *root) KP_MUST;

/* ---------- root.c: a segment file ---------- */

/* Leaves: the header, each page, then footer and trailer. */
struct kpi_segment_digest {
    uint64_t id; /* that the file itself claims */
    uint64_t bytes;
    struct kpi_sha root;
    struct kpi_sha clock; /* over the blocks of stream `clock` */
};
kp_status kpi_segment_digest(const struct kp_io *io, struct kp_io_queue *queue, const char *path,
                             struct kpi_segment_digest *out) KP_MUST;

/* ---------- content.c: rows ---------- */

/* Zero-initialised is valid. */
struct kpi_content {
    struct kp_hash128 sum; /* of the row hashes mod 2^128 */
    uint64_t rows;
    const struct kp_actors *actors; /* whose hashes are in the table */
    struct kp_hash128 *actor_hashes;
    uint32_t actors_known;
    uint64_t *lanes; /* of the rows at work */
    uint32_t lanes_capacity;
};

/* Adds every row of a stored batch. */
kp_status kpi_content_add(struct kpi_content *content, const struct kp_batch *batch) KP_MUST;
void kpi_content_deinit(struct kpi_content *content);
/* Every row of a run of blocks, of a whole segment file. */
kp_status kpi_content_blocks(struct kpi_content *content, const void *bytes, size_t size) KP_MUST;
kp_status kpi_content_segment(struct kpi_content *content, const struct kp_io *io,
                              struct kp_io_queue *queue, const char *path) KP_MUST;

/* Sum and difference modulo 2^128. */
static inline struct kp_hash128 kpi_sum128(struct kp_hash128 a, struct kp_hash128 b)
{
    uint64_t lo = a.lo + b.lo;
    return (struct kp_hash128){lo, a.hi + b.hi + (lo < a.lo)};
}

static inline struct kp_hash128 kpi_difference128(struct kp_hash128 a, struct kp_hash128 b)
{
    return (struct kp_hash128){a.lo - b.lo, a.hi - b.hi - (a.lo < b.lo)};
}

#endif
