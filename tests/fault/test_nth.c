/* SPDX-License-Identifier: Apache-2.0
 *
 * Every nth operation of a workload fails, for n = 1, 2, ... until a run meets no fault any more;
 * once, a few times in a row, and from then on for ever; by every error that a write, a sync or a
 * name may meet; in twenty workloads, some of them with joining, some with seals. Then random pairs
 * of faults. Afterwards the faults are gone, some disks lose power as well, and the store is opened
 * again. Invariants 1 to 5, 7 and 8 of docs/format.md:
 *
 *   what was acknowledged is there, what was refused is not, nothing is doubled or out of order;
 *   what was accepted and lost was counted in `gaps`, when the store could still write;
 *   where the disk lied (wrong bit, wrong place, write that never happened) loss is told of.
 *
 * KP_COUNT: workloads; `make soak-nth` asks for many more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "trial.h"

#define DIR         "/store"
#define APPENDS_MAX 96
#define WORKLOADS   20
#define PAIRS       300 /* of faults, for each workload */

enum fate { REFUSED, UNKNOWN, LOST, ACKED };

struct lot {
    uint64_t first, rows, ticket;
    enum fate fate;
};

struct run {
    uint64_t workload;
    struct kp_sim *sim;
    struct lot lots[APPENDS_MAX];
    uint32_t lots_count;
    int64_t now;
    bool healthy;         /* every life of the store ended well */
    uint64_t losses_told; /* rows counted as lost while the store lived on */
    char fault[96];       /* for messages */
};

static struct kp_store_opts opts_of(struct run *run)
{
    return (struct kp_store_opts){.io = kp_sim_io(run->sim),
                                  .manual = true,
                                  .segment_bytes_max = 2500,
                                  .memory_bytes_max = 128 << 10,
                                  .wal_file_bytes = 64 << 10,
                                  .id_seed = 7,
                                  .seal_every = run->workload % 5 == 4 ? 3 * KP_SEC : 0};
}

/* What sets workloads apart; the first is the plainest. */
static uint32_t dice(const struct run *run, uint32_t i, uint32_t below)
{
    return run->workload == 0 ? i % below
                              : (uint32_t)(kp_hash_mix(run->workload * 1000 + i) % below);
}

static void lots_settle(struct run *run, struct kp_store *store, bool closed_well)
{
    for (uint32_t i = 0; i < run->lots_count; i++) {
        struct lot *lot = &run->lots[i];
        if (lot->ticket == 0 || lot->fate != UNKNOWN)
            continue;
        if (store != NULL) {
            kp_status status = kp_store_wait(store, lot->ticket, NULL);
            lot->fate = status == KP_OK ? ACKED : LOST;
        } else if (closed_well) {
            lot->fate = ACKED;
        }
    }
}

static void lot_append(struct run *run, struct feed *feed, uint32_t rows)
{
    kp_assert(run->lots_count < APPENDS_MAX);
    struct lot *lot = &run->lots[run->lots_count++];
    *lot = (struct lot){.rows = rows, .fate = REFUSED};
    if (feed_append(feed, rows, &lot->first, &lot->ticket) == KP_OK)
        lot->fate = UNKNOWN;
}

/* What it could not do shows in the tickets. */
static void life_step(struct run *run, struct kp_store *store, uint32_t i, bool flush)
{
    kp_status status = KP_OK;
    if (i % 3 == 2)
        lots_settle(run, store, false);
    run->now += dice(run, i, 4) == 3 ? 2 * KP_SEC : 6 * KP_MS; /* loss mode tries again after 1 s */
    status = kp_store_tick(store, run->now, flush);
    if (status == KP_OK && run->workload % 4 == 3 && dice(run, i, 6) == 5)
        status = kp_store_compact(store, NULL);
}

/* One life of the store: appends, waits, seals; whatever fails. */
static void life(struct run *run, uint32_t appends)
{
    struct kp_store_opts opts = opts_of(run);
    struct kp_store *store = NULL;
    struct feed feed;
    if (kp_store_open(DIR, &opts, &store, NULL) != KP_OK) {
        run->healthy = false;
        return;
    }
    feed_init(&feed, store);
    for (uint32_t i = 0; i < appends; i++) {
        lot_append(run, &feed, 3 + dice(run, i, run->workload == 0 ? 5 : 40));
        life_step(run, store, i, i == appends / 2);
    }
    lots_settle(run, store, false);
    feed_deinit(&feed);
    for (uint32_t i = 0; i < run->lots_count; i++)
        run->lots[i].ticket = 0;
    run->healthy &= kp_store_close(store, NULL) == KP_OK;
}

/* Numbers that never became durable are given out again after a restart. */
static bool number_reused(const struct run *run, const struct lot *lot)
{
    for (uint32_t i = 0; i < run->lots_count; i++) {
        const struct lot *other = &run->lots[i];
        if (other != lot && other->fate != REFUSED && other->first < lot->first + lot->rows &&
            lot->first < other->first + other->rows)
            return true;
    }
    return false;
}

static void run_fail(const struct run *run, const struct seen *seen, const char *why)
{
    fail_msg("KP_SEED=%llu, fault %s: %s; damaged %u, gaps %u of %llu rows",
             (unsigned long long)run->workload + 1, run->fault, why, seen->damaged, seen->gap_rows,
             (unsigned long long)seen->gap_count);
}

static void run_check(struct run *run, const struct seen *seen, bool disk_lies)
{
    uint64_t missing = 0, lost = 0;
    if (seen->wrong != 0)
        run_fail(run, seen, "a row that nobody appended");
    if (!seen_ordered(seen))
        run_fail(run, seen, "rows doubled or out of order");
    for (uint32_t i = 0; i < run->lots_count; i++) {
        const struct lot *lot = &run->lots[i];
        for (uint64_t row = 0; row < lot->rows; row++) {
            bool there = seen_find(seen, lot->first + row) >= 0;
            if (lot->fate == REFUSED && there && !number_reused(run, lot))
                run_fail(run, seen, "a refused row is there");
            missing += lot->fate == ACKED && !there;
            lost += lot->fate != ACKED && lot->first != 0 && !there;
        }
    }
    run->losses_told = run->healthy ? lost : 0;
    if (missing > 0 && (!disk_lies || seen->damaged + seen->gap_rows == 0))
        run_fail(run, seen, "acknowledged rows are gone");
    if (run->healthy && !disk_lies && seen->gap_count != lost)
        run_fail(run, seen, "not as many rows counted as were lost");
    if (!disk_lies && seen->damaged != 0)
        run_fail(run, seen, "an honest disk is called damaged");
}

static bool disk_lies(const struct kp_sim_fault *fault)
{
    /* reads that fail again and again: what cannot be had is told of, and may come back */
    bool unreadable = (fault->points & KP_SIM_READ) != 0 && fault->times > 1;
    return unreadable || fault->kind == KP_SIM_FLIP || fault->kind == KP_SIM_MISDIRECT ||
           fault->kind == KP_SIM_STALE;
}

static void run_name(struct run *run, const struct kp_sim_fault *faults, uint32_t count)
{
    size_t at = 0;
    for (uint32_t i = 0; i < count; i++)
        at += (size_t)snprintf(run->fault + at, sizeof(run->fault) - at,
                               "%spoints %u kind %d error %d nth %llu times %llu",
                               i == 0 ? "" : " and ", faults[i].points, faults[i].kind,
                               faults[i].error, (unsigned long long)faults[i].nth,
                               (unsigned long long)faults[i].times);
}

/* Another life on the disk that is well again: it takes everything. */
static void life_after(struct run *run, bool lies)
{
    uint32_t before = run->lots_count;
    bool healthy = run->healthy;
    life(run, 4);
    for (uint32_t i = before; i < run->lots_count && !lies; i++)
        if (run->lots[i].fate != ACKED)
            fail_msg("KP_SEED=%llu, fault %s: a healed disk is refused",
                     (unsigned long long)run->workload + 1, run->fault);
    run->healthy = healthy;
}

/* True when a fault happened at all. Adds what was lost and counted to *told. */
static bool run_once(uint64_t workload, const struct kp_sim_fault *faults, uint32_t count,
                     bool crash, uint64_t *told)
{
    struct run run = {.healthy = true, .workload = workload};
    struct seen seen;
    bool lies = false;
    run_name(&run, faults, count);
    assert_int_equal(kp_sim_open(faults->nth, &run.sim), KP_OK);
    for (uint32_t i = 0; i < count; i++) {
        kp_sim_fault_add(run.sim, &faults[i]);
        lies |= disk_lies(&faults[i]);
    }
    life(&run, 20);
    life(&run, 14);
    bool hit = kp_sim_hits(run.sim) > 0;
    kp_sim_fault_clear(run.sim);
    if (crash)
        kp_sim_crash(run.sim, KP_SIM_SOME);
    life_after(&run, lies);
    kp_status status = seen_read(kp_sim_io(run.sim), DIR, &seen);
    if (status == KP_OK)
        run_check(&run, &seen, lies);
    else
        assert_true(lies); /* refused to open: told of */
    *told += run.losses_told;
    seen_deinit(&seen);
    kp_sim_close(run.sim);
    return hit;
}

/* One: healed; a few: loss mode and out of it again; for ever: a dead disk. */
static const uint64_t times[] = {1, 2, 3, 6, UINT64_MAX};
static const int write_errors[] = {EIO, ENOSPC, EDQUOT, EROFS, EAGAIN, ECANCELED};
static const int name_errors[] = {EIO, ENOSPC, EROFS, EMFILE, EACCES, EDQUOT};

struct tally {
    uint64_t runs, told;
};

static void every_n(uint64_t workload, struct kp_sim_fault fault, struct tally *tally)
{
    bool hit = true;
    for (fault.nth = 1; hit && fault.nth < 5000; fault.nth++) {
        hit = run_once(workload, &fault, 1, fault.nth % 2 == 0, &tally->told);
        tally->runs++;
    }
    assert_false(hit); /* the last run met no fault: every n was tried */
}

/* Every n of all workloads; over them, every error so many times in a row as `times` has. */
static void every_error(uint32_t points, const int errors[6], const char *what)
{
    struct tally tally = {0};
    uint64_t first = trial_seed() - 1, count = trial_count(WORKLOADS);
    for (uint64_t w = first; w < first + count; w++)
        for (size_t i = 0; i < KP_ARRAY_LEN(times); i++) {
            struct kp_sim_fault fault = {
                .points = points, .times = times[i], .error = errors[(w + i) % 6]};
            every_n(w, fault, &tally);
        }
    print_message("%s: %llu runs, %llu rows lost and counted\n", what,
                  (unsigned long long)tally.runs, (unsigned long long)tally.told);
    assert_true(tally.runs > 2 * count);
}

static void every_kind(uint32_t points, enum kp_sim_kind kind, const char *what)
{
    struct tally tally = {0};
    uint64_t first = trial_seed() - 1, count = trial_count(WORKLOADS);
    for (uint64_t w = first; w < first + count; w++)
        every_n(w, (struct kp_sim_fault){.points = points, .kind = kind}, &tally);
    print_message("%s: %llu runs, %llu rows lost and counted\n", what,
                  (unsigned long long)tally.runs, (unsigned long long)tally.told);
    assert_true(tally.runs > 2 * count);
}

static void writes_fail(void **state)
{
    (void)state;
    every_error(KP_SIM_WRITE, write_errors, "write");
    every_kind(KP_SIM_WRITE, KP_SIM_SHORT, "short write");
}

/* fsyncgate: the sync fails once, the next one would report success for data that is gone. */
static void syncs_fail(void **state)
{
    (void)state;
    every_error(KP_SIM_SYNC, write_errors, "sync");
    every_error(KP_SIM_SYNC_DIR, write_errors, "sync of a directory");
}

static void names_fail(void **state)
{
    (void)state;
    every_error(KP_SIM_OPEN, name_errors, "open");
    every_error(KP_SIM_CREATE, name_errors, "create");
    every_error(KP_SIM_RENAME, name_errors, "rename");
    every_error(KP_SIM_UNLINK | KP_SIM_TRUNCATE, name_errors, "unlink");
    every_error(KP_SIM_MKDIR | KP_SIM_LIST, name_errors, "mkdir, list");
}

static void reads_fail(void **state)
{
    (void)state;
    every_kind(KP_SIM_READ, KP_SIM_SHORT, "short read");
    every_error(KP_SIM_READ, write_errors, "read");
}

static void disks_lie(void **state)
{
    (void)state;
    every_kind(KP_SIM_WRITE, KP_SIM_FLIP, "wrong bit written");
    every_kind(KP_SIM_WRITE, KP_SIM_MISDIRECT, "write misdirected");
    every_kind(KP_SIM_WRITE, KP_SIM_STALE, "write never done");
    every_kind(KP_SIM_READ, KP_SIM_FLIP, "wrong bit read");
    every_kind(KP_SIM_READ, KP_SIM_MISDIRECT, "read misdirected");
}

static struct kp_sim_fault fault_random(uint64_t random)
{
    uint64_t dice = kp_hash_mix(random);
    return (struct kp_sim_fault){.points = 1u << dice % 11,
                                 .nth = 1 + (dice >> 8) % 60,
                                 .times = times[(dice >> 16) % KP_ARRAY_LEN(times)],
                                 .kind = (dice >> 24) % 4 == 0 ? KP_SIM_SHORT : KP_SIM_ERROR,
                                 .error = write_errors[(dice >> 32) % 6]};
}

static void two_things_fail(void **state)
{
    (void)state;
    uint64_t first = trial_seed() - 1, count = trial_count(WORKLOADS), hits = 0, told = 0;
    for (uint64_t w = first; w < first + count; w++)
        for (uint64_t i = 0; i < PAIRS; i++) {
            struct kp_sim_fault pair[2] = {fault_random(w << 32 | i << 1),
                                           fault_random(w << 32 | i << 1 | 1)};
            hits += run_once(w, pair, 2, i % 2 == 0, &told);
        }
    print_message("pairs: %llu of %llu runs met a fault, %llu rows lost and counted\n",
                  (unsigned long long)hits, (unsigned long long)(count * PAIRS),
                  (unsigned long long)told);
    assert_true(hits > count * PAIRS / 2);
}

int main(void)
{
    kp_log_level_set(KP_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_fail), cmocka_unit_test(syncs_fail),
        cmocka_unit_test(names_fail),  cmocka_unit_test(reads_fail),
        cmocka_unit_test(disks_lie),   cmocka_unit_test(two_things_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
