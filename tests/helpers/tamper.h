/* SPDX-License-Identifier: Apache-2.0
 *
 * A small sealed store on a simulated disk, and the tools of somebody who changes it afterwards: he
 * knows the format, makes every sum fit, and has the key that lies on the machine. Any failure
 * fails the running test.
 */
#ifndef KP_TESTS_TAMPER_H
#define KP_TESTS_TAMPER_H

#include "storage/chain.h"
#include "storage/io_sim.h"
#include "storage/store_int.h"

#define TAMPER_CHAIN_MAX 128u

/* Three segments, each with two epochs without a row behind it; then log records, two to an epoch;
 * closed in an orderly way. `old` is the disk after the second segment. */
struct tamper_base {
    uint64_t seed;
    struct kp_sim *sim, *old;
    struct kp_buf key, head; /* what the auditor keeps */
};

void tamper_base_make(struct tamper_base *base, uint64_t seed);
/* The same, but the first two segments became a cold one before the third was sealed. */
#define TAMPER_COLD 3u /* its id; the third segment is the next */
void tamper_base_make_cold(struct tamper_base *base, uint64_t seed);
void tamper_base_deinit(struct tamper_base *base);
struct kp_str tamper_text(const struct kp_buf *buf);

struct tamper {
    const struct tamper_base *base;
    struct kp_sim *sim; /* his copy */
    uint64_t random;
    uint8_t store_id[KPI_ID_SIZE];
    struct kpi_chain_record chain[TAMPER_CHAIN_MAX];
    uint32_t chain_count;
    uint32_t touched; /* first record of the chain that he changed */
    char paths[2][64];
    unsigned path;
};

void tamper_begin(struct tamper *t, const struct tamper_base *base, uint64_t seed);
void tamper_end(struct tamper *t);
uint64_t tamper_random(struct tamper *t, uint64_t below);

/* --- files --- */
const char *tamper_segment(struct tamper *t, uint64_t id); /* path; good until the next but one */
void tamper_file_copy(struct tamper *t, const char *from, const char *to);
void tamper_remove(struct tamper *t, const char *path);

/* --- rows --- */
enum tamper_change {
    TAMPER_SAME,
    TAMPER_VALUE,
    TAMPER_TIME,
    TAMPER_DELETE,
    TAMPER_INSERT,
    TAMPER_CLOCK,
    TAMPER_EXCHANGE,
};
/* Segment `to` is written with the rows of `from`, changed; the manifest fits. */
void tamper_segment_rewrite(struct tamper *t, uint64_t from, uint64_t to,
                            enum tamper_change change);
void tamper_segment_insert(struct tamper *t);
/* The log is written anew, changed in one record, or without the last ones. */
void tamper_log_rewrite(struct tamper *t, enum tamper_change change);
void tamper_log_cut(struct tamper *t, uint32_t records);

/* --- the manifest --- */
enum tamper_manifest { TAMPER_FORGET, TAMPER_BURY, TAMPER_ROWS, TAMPER_RANGE };
void tamper_manifest_change(struct tamper *t, enum tamper_manifest change, uint64_t id);
void tamper_manifest_restore(struct tamper *t); /* as it was before the attack */
void tamper_manifest_old(struct tamper *t);

/* --- the chain, in t->chain --- */
enum tamper_sums { TAMPER_RAW, TAMPER_SUMMED, TAMPER_LINKED, TAMPER_RESEALED };
struct kpi_chain_record *tamper_record(struct tamper *t, enum kpi_chain_type type, uint64_t n);
void tamper_chain_delete(struct tamper *t, uint32_t at, uint32_t count);
void tamper_chain_insert(struct tamper *t, uint32_t at, const struct kpi_chain_record *record);
void tamper_chain_empty_epochs(struct tamper *t, bool renumber);
/* A seal that says that the machine was off until the last one. */
void tamper_chain_seal_on(struct tamper *t);
/* Writes t->chain back, with so much of it made to fit. */
void tamper_chain_write(struct tamper *t, enum tamper_sums how);

/* --- keys and all --- */
void tamper_key_number(struct tamper *t);  /* says the number that the chain asks for */
void tamper_key_replace(struct tamper *t); /* another secret */
void tamper_checkpoint_sign(struct tamper *t);
void tamper_go_on(struct tamper *t); /* the recorder starts, records and stops */
void tamper_all_old(struct tamper *t);
void tamper_all_anew(struct tamper *t);

#endif
