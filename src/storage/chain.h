/* SPDX-License-Identifier: Apache-2.0
 *
 * The evidence of a store, in the folder `evidence`:
 *
 *   chain   append-only records of 320 bytes: what was sealed (segments, drops), and one seal per
 *           epoch over everything before it
 *   key     the key of the next seal; evolves with every seal (key.c)
 *
 * and beside the manifest `checkpoint`, the signed root over all records (checkpoint.c).
 *
 *   GENESIS | SEGMENT | SEAL 1 | SEAL 2 | SEGMENT | DROP | SEAL 3 ...
 *
 * Invariants: a record holds the hash of the one before it and is never changed; seals are numbered
 * from 1 without a hole, seal n is made with key n, and key n is destroyed when seal n is durable;
 * the epochs of the seals follow each other without a hole and without an overlap.
 * docs/forensics.md says what that proves.
 */
#ifndef KP_STORAGE_CHAIN_H
#define KP_STORAGE_CHAIN_H

#include "storage/merkle.h"
#include "storage/storage_int.h"

#define KPI_CHAIN_MAGIC   0x5645504bu /* "KPEV" */
#define KPI_CHAIN_VERSION 1u
#define KPI_CHAIN_RECORD  320u
#define KPI_CHAIN_BODY    192u

enum kpi_chain_type {
    KPI_CHAIN_GENESIS = 1, /* sealing begins, or begins anew with another key */
    KPI_CHAIN_SEAL = 2,
    KPI_CHAIN_SEGMENT = 3,
    KPI_CHAIN_DROP = 4,
    KPI_CHAIN_ALTERED = 5, /* the log did not match its seal when it was read for a segment */
    KPI_CHAIN_COLD = 6,    /* a segment in place of others, with their rows */
};

struct kpi_chain_genesis {
    int64_t every;         /* length of an epoch, ns */
    uint64_t wal_seq;      /* log records up to here are not covered */
    uint64_t segment_last; /* nor are segments up to here */
    struct kpi_sha key_id; /* names the first key, see kpi_key_id */
    uint8_t public_key[KPI_SIGN_KEY_SIZE];
};

enum kpi_seal_reason {
    KPI_SEAL_EPOCH = 0, /* one epoch */
    KPI_SEAL_DOWN = 1,  /* first seal of a process: the epochs since the last seal */
    KPI_SEAL_LATE = 2,  /* several epochs: the writer was held up or the disk refused */
    KPI_SEAL_CLOSE = 3, /* the writer stopped in an orderly way: an epoch cut short */
};

struct kpi_chain_seal {
    uint64_t seal;             /* from 1; also the number of its key */
    uint64_t first, last;      /* epochs it covers, from 1 */
    uint64_t wal_seq;          /* last durable log record */
    uint64_t rows;             /* in log records since the genesis */
    uint64_t manifest;         /* version of the manifest's state */
    struct kpi_sha wal_head;   /* chain over the log records since the genesis (wal_digest.c) */
    struct kp_hash128 wal_set; /* sum of the digests of their payloads, in any order */
    int64_t clock_bound;       /* how exactly wall and mono belong together, ns */
    uint32_t reason;           /* enum kpi_seal_reason */
    uint32_t reserved;
};

struct kpi_chain_segment {
    uint64_t id, wal_first, wal_last, rows, bytes;
    struct kpi_sha root;       /* over header, pages, footer (root.c) */
    struct kp_hash128 content; /* of the rows of the log records it replaces (content.c) */
    struct kpi_sha clock;      /* over its clock anchors */
    struct kpi_sha wal_head;   /* as in a seal, at wal_last */
    uint64_t log_rows;
    struct kp_hash128 log_set;
};

struct kpi_chain_drop {
    uint64_t id, rows, bytes;
    struct kpi_sha root;
    uint32_t reason; /* enum kpi_drop_reason */
    uint32_t reserved;
};

/* Takes the place of all segments whose log records lie in its own. */
struct kpi_chain_cold {
    uint64_t id, wal_first, wal_last, rows, bytes;
    struct kpi_sha root;
    struct kp_hash128 content; /* sum of theirs */
    struct kpi_sha clock;
    uint64_t segments;      /* how many */
    struct kpi_sha lineage; /* SHA-256 over their ids and roots, ascending by log records */
};

struct kpi_chain_altered {
    uint64_t seal, wal_seq; /* the seal that did not match, and where it stands */
};

struct kpi_chain_record {
    uint32_t magic;
    uint16_t version;
    uint16_t type;       /* enum kpi_chain_type */
    uint64_t number;     /* from 0 */
    int64_t wall, mono;  /* clocks when it was made */
    uint8_t boot[16];    /* boot id of the machine */
    struct kpi_sha prev; /* leaf hash of the record before, 0 for the first */
    union {
        struct kpi_chain_genesis genesis;
        struct kpi_chain_seal seal;
        struct kpi_chain_segment segment;
        struct kpi_chain_drop drop;
        struct kpi_chain_altered altered;
        struct kpi_chain_cold cold;
        uint8_t body[KPI_CHAIN_BODY];
    };
    struct kpi_sha tag;    /* seals: HMAC over the bytes before */
    struct kp_hash128 sum; /* XXH3-128 over the bytes before: tells a torn tail */
};
_Static_assert(sizeof(struct kpi_chain_record) == KPI_CHAIN_RECORD, "chain record is 320 bytes");
#define KPI_CHAIN_TAGGED offsetof(struct kpi_chain_record, tag)

/* to - from of clocks that somebody may have made up: never beyond what fits. */
static inline kp_dur kpi_clocks_apart(kp_time from, kp_time to)
{
    kp_dur apart;
    return !__builtin_sub_overflow(to, from, &apart) ? apart : to > from ? INT64_MAX : INT64_MIN;
}

/* ---------- chain.c: the file ---------- */

/* Reads all whole records in order; valid = magic, version and sum hold. each returns false to
 * stop. *out_records counts whole slots. NOT_FOUND: there is no chain. */
kp_status kpi_chain_read(const struct kp_io *io, struct kp_io_queue *queue, const char *dir,
                         uint64_t seed,
                         bool (*each)(void *ctx, uint64_t place,
                                      const struct kpi_chain_record *record, bool valid),
                         void *ctx, uint64_t *out_records, struct kp_error *err) KP_MUST;

/* Writer's end of the file: set io, dir and seed, the rest is zero. */
struct kpi_chain {
    const struct kp_io *io;
    const char *dir;         /* of the store; must outlive the chain */
    struct kp_io_file *file; /* NULL: a write failed; the next one begins a new file */
    uint64_t seed;
    uint64_t count; /* records */
    struct kpi_sha prev;
    struct kpi_merkle tree;
};

/* Puts a chain of one record in place, durably. */
kp_status kpi_chain_create(struct kpi_chain *chain, struct kp_io_queue *queue,
                           struct kpi_chain_record *genesis, struct kp_error *err) KP_MUST;
/* Opens the file for appending behind the records taken by kpi_chain_take. */
kp_status kpi_chain_open(struct kpi_chain *chain, struct kp_error *err) KP_MUST;
/* Accounts for a record that is in the file. */
kp_status kpi_chain_take(struct kpi_chain *chain, const struct kpi_chain_record *record) KP_MUST;
/* Gives records[0..count) their number, predecessor, tag (seals: with key) and sum, and makes them
 * durable. On a failure nothing was added, and the file is copied before the next try. */
kp_status kpi_chain_append(struct kpi_chain *chain, struct kp_io_queue *queue,
                           struct kpi_chain_record *records, uint32_t count,
                           const struct kpi_sha *key) KP_MUST;
void kpi_chain_close(struct kpi_chain *chain);

/* ---------- key.c: the key of the next seal ---------- */

struct kpi_key {
    uint64_t number; /* of the seal it is for */
    struct kpi_sha secret;
    uint8_t sign_seed[KPI_SIGN_SEED_SIZE];
};

/* Key n+1 from key n. One way: n is not found from n+1. */
kp_status kpi_key_next(struct kpi_key *key) KP_MUST;
/* Names a key without giving it away. */
kp_status kpi_key_id(const struct kpi_sha *secret, struct kpi_sha *out) KP_MUST;
/* seed 0: random; else made from it (simulator). */
kp_status kpi_key_make(uint64_t seed, struct kpi_key *out) KP_MUST;
/* Makes the file of a new store. */
kp_status kpi_key_create(const struct kp_io *io, struct kp_io_queue *queue, const char *dir,
                         const struct kpi_key *key, struct kp_error *err) KP_MUST;
/* Puts this key durably in place of the one before it, then overwrites that one. */
kp_status kpi_key_replace(const struct kp_io *io, struct kp_io_queue *queue, const char *dir,
                          const struct kpi_key *key) KP_MUST;
/* The newest key there is. NOT_FOUND: no file; CORRUPT: no key in it. */
kp_status kpi_key_read(const struct kp_io *io, struct kp_io_queue *queue, const char *dir,
                       struct kpi_key *out) KP_MUST;

/* ---------- checkpoint.c ---------- */

/* Writes DIR/checkpoint: the note over this tree, signed. */
kp_status kpi_checkpoint_write(const struct kp_io *io, struct kp_io_queue *queue, const char *dir,
                               const uint8_t store_id[KPI_ID_SIZE], const struct kpi_merkle *tree,
                               const uint8_t sign_seed[KPI_SIGN_SEED_SIZE]) KP_MUST;
/* What a note says. public_key NULL: the signature is not looked at. */
struct kpi_checkpoint {
    uint64_t size;
    struct kpi_sha root;
};
kp_status kpi_checkpoint_parse(struct kp_str text, const uint8_t store_id[KPI_ID_SIZE],
                               const uint8_t *public_key, struct kpi_checkpoint *out) KP_MUST;
/* "name+id+key": how a witness knows the signer. */
kp_status kpi_checkpoint_signer(const uint8_t store_id[KPI_ID_SIZE],
                                const uint8_t public_key[KPI_SIGN_KEY_SIZE],
                                struct kp_buf *out) KP_MUST;

#endif
