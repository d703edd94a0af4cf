/* SPDX-License-Identifier: Apache-2.0
 *
 * Every nth operation of a workload fails, for n = 1, 2, ... until a run meets no fault any more;
 * once, and from then on for ever. Afterwards the fault is gone, some disks lose power as well, and
 * the store is opened again:
 *
 *   what was acknowledged is there, what was refused is not, nothing is doubled or out of order;
 *   what was accepted and lost was counted in `gaps`, when the store could still write;
 *   where the disk lied (wrong bit, wrong place, write that never happened) loss is told of.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "seen.h"
#include "storage/io_sim.h"

#define DIR         "/store"
#define APPENDS_MAX 64

enum fate { REFUSED, UNKNOWN, LOST, ACKED };

struct lot {
    uint64_t first, rows, ticket;
    enum fate fate;
};

struct run {
    struct kp_sim *sim;
    struct lot lots[APPENDS_MAX];
    uint32_t lots_count;
    int64_t now;
    bool healthy;         /* every life of the store ended well */
    uint64_t losses_told; /* rows counted as lost while the store lived on */
};

static struct kp_store_opts opts_of(struct run *run)
{
    return (struct kp_store_opts){.io = kp_sim_io(run->sim),
                                  .manual = true,
                                  .segment_bytes_max = 2500,
                                  .memory_bytes_max = 128 << 10,
                                  .wal_file_bytes = 64 << 10,
                                  .id_seed = 7};
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
        lot_append(run, &feed, 3 + i % 5);
        if (i % 3 == 2)
            lots_settle(run, store, false);
        run->now += i % 4 == 3 ? 2 * KP_SEC : 6 * KP_MS; /* loss mode tries again after a second */
        kp_status ticked = kp_store_tick(store, run->now, i == appends / 2);
        (void)ticked; /* what it could not do shows in the tickets */
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

static void run_check(struct run *run, const struct seen *seen, bool disk_lies, uint64_t n)
{
    uint64_t missing = 0, lost = 0;
    assert_int_equal(seen->wrong, 0);
    if (!seen_ordered(seen))
        fail_msg("n %llu: rows doubled or out of order", (unsigned long long)n);
    for (uint32_t i = 0; i < run->lots_count; i++) {
        const struct lot *lot = &run->lots[i];
        for (uint64_t row = 0; row < lot->rows; row++) {
            bool there = seen_find(seen, lot->first + row) >= 0;
            if (lot->fate == REFUSED && there && !number_reused(run, lot))
                fail_msg("n %llu: a refused row is there", (unsigned long long)n);
            missing += lot->fate == ACKED && !there;
            lost += lot->fate != ACKED && lot->first != 0 && !there;
        }
    }
    run->losses_told = run->healthy ? lost : 0;
    if (missing > 0 && (!disk_lies || seen->damaged + seen->gap_rows == 0))
        fail_msg("n %llu: %llu acknowledged rows are gone, damaged %u, gaps %u",
                 (unsigned long long)n, (unsigned long long)missing, seen->damaged, seen->gap_rows);
    if (run->healthy && !disk_lies && seen->gap_count != lost)
        fail_msg("n %llu: %llu rows lost, %llu counted", (unsigned long long)n,
                 (unsigned long long)lost, (unsigned long long)seen->gap_count);
    if (!disk_lies && seen->damaged != 0)
        fail_msg("n %llu: an honest disk, but %u damaged places", (unsigned long long)n,
                 seen->damaged);
}

static bool disk_lies(const struct kp_sim_fault *fault)
{
    /* reads that fail again and again: what cannot be had is told of, and may come back */
    bool unreadable = (fault->points & KP_SIM_READ) != 0 && fault->times > 1;
    return unreadable || fault->kind == KP_SIM_FLIP || fault->kind == KP_SIM_MISDIRECT ||
           fault->kind == KP_SIM_STALE;
}

/* True when the fault happened at all. Adds what was lost and counted to *told. */
static bool run_once(const struct kp_sim_fault *fault, bool crash, uint64_t *told)
{
    struct run run = {.healthy = true};
    struct seen seen;
    assert_int_equal(kp_sim_open(fault->nth, &run.sim), KP_OK);
    kp_sim_fault_add(run.sim, fault);
    life(&run, 20);
    life(&run, 14);
    bool hit = kp_sim_hits(run.sim) > 0;
    kp_sim_fault_clear(run.sim);
    if (crash)
        kp_sim_crash(run.sim, KP_SIM_SOME);
    bool healthy = run.healthy;
    uint32_t before = run.lots_count;
    life(&run, 4); /* the disk is well again */
    if (!disk_lies(fault))
        for (uint32_t i = before; i < run.lots_count; i++)
            assert_int_equal(run.lots[i].fate, ACKED);
    run.healthy = healthy;
    kp_status status = seen_read(kp_sim_io(run.sim), DIR, &seen);
    if (status == KP_OK)
        run_check(&run, &seen, disk_lies(fault), fault->nth);
    else
        assert_true(disk_lies(fault)); /* refused to open: told of */
    *told += run.losses_told;
    seen_deinit(&seen);
    kp_sim_close(run.sim);
    return hit;
}

static void every_n(uint32_t points, enum kp_sim_kind kind, int error, const char *what)
{
    /* one: healed; a few: loss mode and out of it again; for ever: a dead disk */
    static const uint64_t times[] = {1, 2, 3, 6, UINT64_MAX};
    uint64_t runs = 0, told = 0;
    for (size_t t = 0; t < (kind == KP_SIM_ERROR ? KP_ARRAY_LEN(times) : 1); t++) {
        bool hit = true;
        for (uint64_t n = 1; hit && n < 2000; n++) {
            struct kp_sim_fault fault = {
                .points = points, .nth = n, .times = times[t], .kind = kind, .error = error};
            hit = run_once(&fault, n % 2 == 0, &told);
            runs++;
        }
        assert_false(hit); /* the last run met no fault: every n was tried */
    }
    print_message("%s: %llu runs, %llu rows lost and counted\n", what, (unsigned long long)runs,
                  (unsigned long long)told);
    assert_true(runs > 2);
}

static void writes_fail(void **state)
{
    (void)state;
    every_n(KP_SIM_WRITE, KP_SIM_ERROR, EIO, "write EIO");
    every_n(KP_SIM_WRITE, KP_SIM_ERROR, ENOSPC, "write ENOSPC");
    every_n(KP_SIM_WRITE, KP_SIM_SHORT, 0, "short write");
}

/* fsyncgate: the sync fails once, the next one would report success for data that is gone. */
static void syncs_fail(void **state)
{
    (void)state;
    every_n(KP_SIM_SYNC, KP_SIM_ERROR, EIO, "sync EIO");
    every_n(KP_SIM_SYNC_DIR, KP_SIM_ERROR, EIO, "directory sync EIO");
}

static void names_fail(void **state)
{
    (void)state;
    every_n(KP_SIM_OPEN, KP_SIM_ERROR, EMFILE, "open EMFILE");
    every_n(KP_SIM_CREATE, KP_SIM_ERROR, ENOSPC, "create ENOSPC");
    every_n(KP_SIM_RENAME, KP_SIM_ERROR, EIO, "rename EIO");
    every_n(KP_SIM_UNLINK, KP_SIM_ERROR, EROFS, "unlink EROFS");
    every_n(KP_SIM_MKDIR, KP_SIM_ERROR, EACCES, "mkdir EACCES");
}

static void reads_fail(void **state)
{
    (void)state;
    every_n(KP_SIM_READ, KP_SIM_SHORT, 0, "short read");
    every_n(KP_SIM_READ, KP_SIM_ERROR, EIO, "read EIO");
}

static void disks_lie(void **state)
{
    (void)state;
    every_n(KP_SIM_WRITE, KP_SIM_FLIP, 0, "wrong bit written");
    every_n(KP_SIM_WRITE, KP_SIM_MISDIRECT, 0, "write misdirected");
    every_n(KP_SIM_WRITE, KP_SIM_STALE, 0, "write never done");
    every_n(KP_SIM_READ, KP_SIM_FLIP, 0, "wrong bit read");
    every_n(KP_SIM_READ, KP_SIM_MISDIRECT, 0, "read misdirected");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_fail), cmocka_unit_test(syncs_fail), cmocka_unit_test(names_fail),
        cmocka_unit_test(reads_fail),  cmocka_unit_test(disks_lie),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
