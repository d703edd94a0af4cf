/* SPDX-License-Identifier: Apache-2.0
 *
 * A store on a simulated disk beside the simplest model of it: rows have the numbers 1, 2, 3, ...
 * in the order of appending, so three numbers say what must be there: below which one all were
 * acknowledged, below which one all were appended, and how many the tombstones account for.
 *
 * Same seed and steps, same bytes. Any failure fails the running test and names seed and steps.
 */
#ifndef KP_TESTS_TRIAL_H
#define KP_TESTS_TRIAL_H

#include "seen.h"
#include "storage/io_sim.h"

#define TRIAL_DIR       "/store"
#define TRIAL_EPOCH     (10 * KP_SEC)
#define TRIAL_STEPS_MAX 128u

enum trial_op {
    TRIAL_APPEND,
    TRIAL_COMMIT,  /* waits for what was appended */
    TRIAL_SEAL,    /* commits and seals */
    TRIAL_COMPACT, /* joins and rewrites what is sealed */
    TRIAL_RETAIN,  /* drops all segments but the last */
    TRIAL_REOPEN,
    TRIAL_OPS,
    TRIAL_TICK = TRIAL_OPS, /* a moment passes: what is due is done */
};

struct trial {
    uint64_t seed, random;
    bool sealed; /* with evidence */
    struct kp_sim *sim;
    struct kp_store *store;
    struct feed feed;
    int64_t now;
    uint64_t ticket;          /* of the last append */
    uint64_t acked, appended; /* numbers below */
    uint64_t dropped;         /* rows that acknowledged tombstones account for */
    struct kp_buf key;        /* of the seals, kept elsewhere */
    char steps[TRIAL_STEPS_MAX + 1];
    uint64_t states; /* crashes that were recovered from and checked */
};

/* How much to try: the environment's KP_COUNT, else `usual`; and its KP_SEED, else 1. */
uint64_t trial_count(uint64_t usual);
uint64_t trial_seed(void);

void trial_begin(struct trial *t, uint64_t seed, bool sealed);
void trial_end(struct trial *t);
uint64_t trial_random(struct trial *t, uint64_t below);
void trial_step(struct trial *t, enum trial_op op);
/* A random one, as a store's life is: mostly appends, commits and time that passes. */
void trial_step_random(struct trial *t);
/* Fails the test with seed, steps and place. */
void trial_fail(const struct trial *t, uint64_t place, const char *why);

struct kp_store *trial_open(struct kp_sim *sim, bool sealed);
/* Invariants 1 to 6, 11, 13, 17 and 19 of docs/format.md over a disk that lost power: as a reader
 * finds it, after a start, and after another one. */
void trial_check(struct trial *t, struct kp_sim *sim, uint64_t place);
/* The power goes in `count` ways, the first two of which lose and keep everything; each is checked.
 */
void trial_crashes(struct trial *t, struct kp_sim *sim, uint64_t count);

#endif
