/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "trial.h"

#include <stdlib.h>

#include "base/assert.h"

#define FAR_AHEAD (20 * TRIAL_EPOCH) /* later than any epoch of a trial */

uint64_t trial_count(uint64_t usual)
{
    const char *text = getenv("KP_COUNT");
#ifdef KP_ASSERT_SLOW /* sanitizers cost twenty times as much */
    usual = KP_MAX(usual / 40, 1);
#endif
    return text == NULL ? usual : strtoull(text, NULL, 10);
}

uint64_t trial_seed(void)
{
    const char *text = getenv("KP_SEED");
    return text == NULL ? 1 : strtoull(text, NULL, 10);
}

uint64_t trial_random(struct trial *t, uint64_t below)
{
    t->random += 0x9e3779b97f4a7c15ull;
    return kp_hash_mix(t->random) % below;
}

void trial_fail(const struct trial *t, uint64_t place, const char *why)
{
    fail_msg("KP_SEED=%llu, steps %s%s, place %llu: %s", (unsigned long long)t->seed, t->steps,
             t->sealed ? " (sealed)" : "", (unsigned long long)place, why);
}

/* ---------- a store and its model ---------- */

struct kp_store *trial_open(struct kp_sim *sim, bool sealed)
{
    struct kp_store_opts opts = {.io = kp_sim_io(sim),
                                 .manual = true,
                                 .segment_bytes_max = 3000,
                                 .memory_bytes_max = 128 << 10,
                                 .wal_file_bytes = 64 << 10,
                                 .id_seed = 99,
                                 .seal_every = sealed ? TRIAL_EPOCH : 0};
    struct kp_store *store = NULL;
    struct kp_error err;
    if (kp_store_open(TRIAL_DIR, &opts, &store, &err) != KP_OK)
        fail_msg("open: %s", err.text);
    return store;
}

static void trial_reopen(struct trial *t)
{
    t->store = trial_open(t->sim, t->sealed);
    feed_init(&t->feed, t->store);
    if (t->sealed && t->key.size == 0)
        assert_int_equal(kp_store_seal_key(t->store, &t->key, NULL), KP_OK);
}

static void trial_close(struct trial *t)
{
    feed_deinit(&t->feed);
    assert_int_equal(kp_store_close(t->store, NULL), KP_OK);
    t->acked = t->appended;
    t->ticket = 0;
}

void trial_begin(struct trial *t, uint64_t seed, bool sealed)
{
    *t = (struct trial){.seed = seed, .random = seed, .sealed = sealed, .now = 1};
    t->acked = t->appended = 1;
    assert_int_equal(kp_sim_open(seed, &t->sim), KP_OK);
}

void trial_end(struct trial *t)
{
    if (t->store != NULL)
        trial_close(t);
    kp_sim_close(t->sim);
    kp_buf_deinit(&t->key);
}

/* ---------- steps ---------- */

static void step_append(struct trial *t)
{
    uint64_t first;
    uint32_t rows = 1 + (uint32_t)trial_random(t, 24);
    t->appended = kp_store_seq(t->store, 0) + rows;
    assert_int_equal(feed_append(&t->feed, rows, &first, &t->ticket), KP_OK);
    assert_int_equal(first + rows, t->appended);
}

static void step_tick(struct trial *t, bool flush)
{
    assert_int_equal(kp_store_tick(t->store, t->now, flush), KP_OK);
    if (flush)
        t->acked = t->appended;
}

static void step_commit(struct trial *t)
{
    if (t->ticket == 0)
        return;
    assert_int_equal(kp_store_wait(t->store, t->ticket, NULL), KP_OK);
    t->acked = t->appended;
}

/* Everything but the last segment is too much, for one tick. */
static void step_retain(struct trial *t)
{
    struct kp_store_stat stat;
    kp_store_stat(t->store, &stat);
    uint64_t before = stat.dropped_rows;
    t->store->opts.retention_bytes = 1;
    t->store->retain_next = 0;
    step_tick(t, false);
    t->store->opts.retention_bytes = 0;
    kp_store_stat(t->store, &stat);
    t->dropped += stat.dropped_rows - before;
}

void trial_step(struct trial *t, enum trial_op op)
{
    static const char letters[] = "acsCRot";
    size_t length = strlen(t->steps);
    if (length < TRIAL_STEPS_MAX)
        t->steps[length] = letters[op];
    if (t->store == NULL)
        trial_reopen(t);
    t->now += (int64_t)trial_random(t, t->sealed ? TRIAL_EPOCH : 8 * KP_MS);
    if (op == TRIAL_APPEND)
        step_append(t);
    if (op == TRIAL_COMMIT)
        step_commit(t);
    if (op == TRIAL_SEAL || op == TRIAL_TICK)
        step_tick(t, op == TRIAL_SEAL);
    if (op == TRIAL_COMPACT)
        assert_int_equal(kp_store_compact(t->store, NULL), KP_OK);
    if (op == TRIAL_RETAIN)
        step_retain(t);
    if (op == TRIAL_REOPEN) {
        trial_close(t);
        trial_reopen(t);
    }
}

void trial_step_random(struct trial *t)
{
    static const enum trial_op often[] = {TRIAL_APPEND, TRIAL_APPEND, TRIAL_APPEND, TRIAL_APPEND,
                                          TRIAL_COMMIT, TRIAL_COMMIT, TRIAL_TICK,   TRIAL_TICK,
                                          TRIAL_TICK,   TRIAL_SEAL};
    uint64_t dice = trial_random(t, 60);
    trial_step(t, dice < 54    ? often[dice % KP_ARRAY_LEN(often)]
                  : dice < 56  ? TRIAL_COMPACT
                  : dice == 56 ? TRIAL_RETAIN
                               : TRIAL_REOPEN);
}

/* ---------- what must hold ---------- */

static void on_finding(void *ctx, const struct kp_finding *finding)
{
    const struct trial *t = ctx;
    trial_fail(t, t->states, finding->text);
}

static void proof_check(struct trial *t, struct kp_sim *sim)
{
    struct kp_error err = {0};
    struct kp_proof proof;
    struct kp_prove_opts opts = {.full = true, .secret = {t->key.data, (uint32_t)t->key.size}};
    if (kp_prove(TRIAL_DIR, kp_sim_io(sim), &opts, on_finding, t, &proof, &err) != KP_OK)
        trial_fail(t, t->states, err.text);
}

/* Numbers dropped+1 .. n, in order, once; n between what was acknowledged and what was appended. */
static const char *rows_wrong(const struct trial *t, const struct seen *seen)
{
    uint64_t expected = seen->dropped + 1;
    if (seen->wrong != 0)
        return "a row that nobody appended";
    if (seen->damaged != 0 || seen->gap_rows != 0)
        return "damage or a gap after a mere crash";
    if (seen->dropped < t->dropped)
        return "a dropped row is back";
    for (uint32_t i = 0; i < seen->count; i++, expected++)
        if (seen->seqs[i] != expected)
            return "a hole between rows, a row twice, or rows out of order";
    return expected < t->acked        ? "an acknowledged row is gone"
           : expected > t->appended   ? "a row that was not appended"
           : seen->next > t->appended ? "a number that was not given out"
                                      : NULL;
}

static uint32_t rows_check(struct trial *t, struct kp_sim *sim, uint64_t place)
{
    struct seen seen;
    kp_status status = seen_read(kp_sim_io(sim), TRIAL_DIR, &seen);
    const char *why = status == KP_OK ? rows_wrong(t, &seen) : NULL;
    if (status != KP_OK && (status != KP_NOT_FOUND || t->acked > 1))
        why = "a reader is refused";
    uint32_t count = seen.count;
    seen_deinit(&seen);
    if (why != NULL)
        trial_fail(t, place, why);
    return count;
}

/* Starts and stops; gives the number the next row would get. */
static uint64_t restart(const struct trial *t, struct kp_sim *sim)
{
    struct kp_store *store = trial_open(sim, t->sealed);
    uint64_t next = kp_store_seq(store, 0);
    if (t->sealed)
        assert_int_equal(kp_store_tick(store, t->now + FAR_AHEAD, false), KP_OK);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    return next;
}

void trial_check(struct trial *t, struct kp_sim *sim, uint64_t place)
{
    bool keyed = t->key.size > 0;
    t->states++;
    uint32_t before = rows_check(t, sim, place);
    if (keyed)
        proof_check(t, sim);
    uint64_t next = restart(t, sim);
    uint32_t after = rows_check(t, sim, place);
    if (before != after)
        trial_fail(t, place, "a start changed what a reader finds");
    if (next < t->acked)
        trial_fail(t, place, "a number is given out again");
    if (restart(t, sim) != next || rows_check(t, sim, place) != after)
        trial_fail(t, place, "a second recovery changed something");
    if (keyed)
        proof_check(t, sim);
}

void trial_crashes(struct trial *t, struct kp_sim *sim, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t place = kp_sim_ops(sim) * 1000 + i;
        enum kp_sim_crash policy = i == 0       ? KP_SIM_DROP
                                   : i == 1     ? KP_SIM_KEEP
                                   : i % 2 == 0 ? KP_SIM_SOME
                                                : KP_SIM_TEAR;
        struct kp_sim *copy = kp_sim_clone(sim, kp_hash_mix(t->seed) + place);
        kp_sim_crash(copy, policy);
        trial_check(t, copy, place);
        kp_sim_close(copy);
    }
}
