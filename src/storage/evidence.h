/* SPDX-License-Identifier: Apache-2.0
 *
 * Evidence: proof that a store is what was recorded. See docs/forensics.md for what it proves, what
 * it cannot prove, and what an auditor does.
 */
#ifndef KP_STORAGE_EVIDENCE_H
#define KP_STORAGE_EVIDENCE_H

#include "base/str.h"
#include "base/time.h"

struct kp_io;
struct kp_store;

enum kp_finding_kind {
#define KP_FINDING(ID, word, text) KP_FINDING_##ID,
#include "storage/finding.def"
#undef KP_FINDING
    KP_FINDING_COUNT
};
const char *kp_finding_word(enum kp_finding_kind kind);

#define KP_FINDING_TEXT_MAX 200
struct kp_finding {
    enum kp_finding_kind kind;
    kp_time from, to; /* when the events concerned, or the seals around them, were made; from > to =
                         not known */
    char text[KP_FINDING_TEXT_MAX];
};

struct kp_prove_opts {
    bool full;            /* also hash every row and compare with the log it came from */
    struct kp_str head;   /* text of a checkpoint kept elsewhere; empty = none */
    struct kp_str secret; /* text written by kp_store_seal_key; empty = none */
};

struct kp_proof {
    bool sealed;        /* there is a chain */
    bool keyed, headed; /* the secret, the head were given and hold */
    bool key_follows;   /* the key in the directory is the one after the last seal */
    bool closed;        /* the last seal says that the writer stopped in an orderly way */
    uint64_t records, seals, epochs, epochs_down;
    uint64_t segments, dropped; /* in the chain: there, dropped by retention */
    uint64_t segments_before;   /* in the store and older than the chain */
    uint64_t segments_after;    /* not in the chain yet, but proved by the log */
    uint64_t drops_after;       /* in the manifest and not in the chain yet, the file is there */
    uint64_t log_records_after; /* behind the last seal */
    kp_time from, to;           /* first and last stamp of the chain */
    char root[65];              /* over all records, in hexadecimal */
    uint64_t findings;
};

/* Checks the chain, its seals and checkpoint, the segments' roots, the manifest and the log against
 * each other. found is called for each finding; CORRUPT when there was one. A store without seals
 * is OK with sealed = false. INVALID: head or secret is not the text of one. Any thread; beside a
 * writer too. io NULL = default. */
kp_status kp_prove(const char *dir, const struct kp_io *io, const struct kp_prove_opts *opts,
                   void (*found)(void *ctx, const struct kp_finding *finding), void *ctx,
                   struct kp_proof *out, struct kp_error *err) KP_MUST;

/* The secret that verifies the seals from now on, as text to keep on another machine. UNSUPPORTED:
 * the store has no seals. Any thread. */
kp_status kp_store_seal_key(struct kp_store *store, struct kp_buf *out,
                            struct kp_error *err) KP_MUST;
/* The signed note (C2SP checkpoint) of a directory, as it lies there; *out_signer appended: the
 * verifier's key in the form of C2SP signed notes. NOT_FOUND: there is none. */
kp_status kp_checkpoint_read(const char *dir, const struct kp_io *io, struct kp_buf *out_note,
                             struct kp_buf *out_signer, struct kp_error *err) KP_MUST;

#endif
