/* SPDX-License-Identifier: Apache-2.0
 *
 * Disks that rot: after a random workload one place of one file is changed as disks change it - a
 * bit, a run of bytes, a sector of zeros, a sector as it was earlier, a sector that belongs
 * elsewhere, a file cut off, a place that does not read any more. However it is read then, by a
 * scan, by the check of everything, or by a start and what it leaves behind:
 *
 *   no row is there that was not appended (invariants 2 and 9 of docs/format.md), none is missing
 *   in silence (5), and where the number of lost rows is told, it is right to the row (6, 8).
 *
 * KP_COUNT: changed places; `make soak-rot` asks for many more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/assert.h"
#include "base/log.h"
#include "trial.h"

#define PLACES    100000
#define PER_STORE 400 /* changes of one workload's disk, each alone */
#define STEPS     40
#define SECTOR    512u
#define FILES_MAX 64u

enum rot { BIT, RUN, ZEROS, STALE, ASTRAY, CUT, LATENT, ROTS };
static const char *const rot_names[ROTS] = {"bit",    "run of bytes", "zeros", "stale sector",
                                            "astray", "cut off",      "latent"};

struct ground {
    struct trial t;
    struct kp_sim *old; /* the disk in the middle of the workload */
    char files[FILES_MAX][64];
    uint32_t files_count;
    const char *folder;
    uint64_t first, next; /* numbers of the rows that are there */
    uint64_t tried[ROTS], told[ROTS], refused[ROTS];
    char what[160]; /* the case at hand */
};

static void ground_fail(const struct ground *g, const char *why, uint64_t there, uint64_t told)
{
    fail_msg("KP_SEED=%llu, steps %s, %s: %s; %llu of %llu rows, %llu told",
             (unsigned long long)g->t.seed, g->t.steps, g->what, why, (unsigned long long)there,
             (unsigned long long)(g->next - g->first), (unsigned long long)told);
}

/* ---------- a disk to spoil ---------- */

static void file_keep(void *ctx, const char *name)
{
    struct ground *g = ctx;
    char path[64];
    size_t size = 0;
    snprintf(path, sizeof(path), "%s/%.40s", g->folder, name);
    kp_assert(g->files_count < FILES_MAX);
    if (kp_sim_file(g->t.sim, path, &size) != NULL && size > 0)
        memcpy(g->files[g->files_count++], path, sizeof(path));
}

/* What the workload has left, without what only a writer knows. */
static void ground_settle(struct ground *g)
{
    static const char *const folders[] = {TRIAL_DIR, TRIAL_DIR "/wal", TRIAL_DIR "/seg",
                                          TRIAL_DIR "/evidence"};
    const struct kp_io *io = kp_sim_io(g->t.sim);
    struct seen seen;
    trial_step(&g->t, TRIAL_REOPEN);
    g->files_count = 0;
    for (size_t i = 0; i < KP_ARRAY_LEN(folders); i++) {
        g->folder = folders[i];
        int listed = io->list(io, g->folder, file_keep, g);
        assert_true(listed == 0 || listed == -2);
    }
    assert_int_equal(seen_read(io, TRIAL_DIR, &seen), KP_OK);
    g->first = seen.dropped + 1;
    g->next = g->first + seen.count;
    assert_int_equal(g->next, g->t.appended);
    seen_deinit(&seen);
}

static void ground_make(struct ground *g, uint64_t seed)
{
    trial_begin(&g->t, seed, seed % 4 == 0);
    for (int i = 0; i < STEPS; i++) {
        trial_step_random(&g->t);
        if (i == STEPS / 2)
            g->old = kp_sim_clone(g->t.sim, seed);
    }
    ground_settle(g);
}

/* Two segments and a log, one of them cold. */
static void ground_make_small(struct ground *g)
{
    static const enum trial_op ops[] = {TRIAL_APPEND, TRIAL_SEAL, TRIAL_COMPACT,
                                        TRIAL_APPEND, TRIAL_SEAL, TRIAL_APPEND};
    trial_begin(&g->t, trial_seed(), false);
    for (size_t i = 0; i < KP_ARRAY_LEN(ops); i++)
        trial_step(&g->t, ops[i]);
    g->old = kp_sim_clone(g->t.sim, 1);
    ground_settle(g);
}

static void ground_end(struct ground *g)
{
    kp_sim_close(g->old);
    trial_end(&g->t);
}

/* ---------- spoiling it ---------- */

/* A sector of another place, or of the same at another time. */
static bool sector_replace(struct kp_sim *to, const char *to_path, size_t to_at,
                           struct kp_sim *from, const char *from_path, size_t from_at)
{
    size_t size, from_size;
    uint8_t *bytes = kp_sim_file(to, to_path, &size);
    const uint8_t *other = kp_sim_file(from, from_path, &from_size);
    if (other == NULL || from_at + SECTOR > from_size || to_at + SECTOR > size)
        return false;
    if (memcmp(bytes + to_at, other + from_at, SECTOR) == 0)
        return false;
    memcpy(bytes + to_at, other + from_at, SECTOR);
    return true;
}

static void file_cut(struct kp_sim *sim, const char *path, size_t at)
{
    const struct kp_io *io = kp_sim_io(sim);
    struct kp_io_file *file = NULL;
    assert_int_equal(io->open(io, path, KP_IO_RDWR, &file), 0);
    assert_int_equal(io->truncate(io, file, at), 0);
    io->close(io, file);
}

/* False: nothing would be different. */
static bool spoil_bytes(struct ground *g, enum rot rot, uint8_t *bytes, size_t size, size_t at)
{
    size_t run = rot == ZEROS ? SECTOR : rot == RUN ? 1 + trial_random(&g->t, 64) : 1;
    bool changed = false;
    at = rot == ZEROS ? at / SECTOR * SECTOR : at;
    for (size_t i = at; i < KP_MIN(at + run, size); i++) {
        uint8_t before = bytes[i];
        bytes[i] = rot == ZEROS ? 0
                   : rot == RUN ? (uint8_t)trial_random(&g->t, 256)
                                : (uint8_t)(before ^ 1u << trial_random(&g->t, 8));
        changed |= bytes[i] != before;
    }
    return changed;
}

/* Where something was written: log files are mostly zeros. */
static size_t place_choose(struct ground *g, const uint8_t *bytes, size_t size)
{
    size_t at = 0;
    for (int i = 0; i < 12; i++) {
        at = trial_random(&g->t, size);
        if (bytes[at] != 0)
            break;
    }
    return at;
}

static bool spoil(struct ground *g, struct kp_sim *sim, enum rot rot)
{
    const char *path = g->files[trial_random(&g->t, g->files_count)];
    const char *other = g->files[trial_random(&g->t, g->files_count)];
    size_t size, other_size;
    uint8_t *bytes = kp_sim_file(sim, path, &size);
    size_t at = place_choose(g, bytes, size), sector = at / SECTOR * SECTOR;
    kp_sim_file(sim, other, &other_size);
    snprintf(g->what, sizeof(g->what), "%s in %s at %zu", rot_names[rot], path, at);
    if (rot == STALE)
        return sector_replace(sim, path, sector, g->old, path, sector);
    if (rot == ASTRAY)
        return sector_replace(sim, path, sector, sim, other,
                              trial_random(&g->t, other_size) / SECTOR * SECTOR);
    if (rot == CUT)
        file_cut(sim, path, at);
    if (rot == LATENT)
        kp_sim_rot(sim, path, sector, SECTOR);
    return rot == CUT || rot == LATENT || spoil_bytes(g, rot, bytes, size, at);
}

/* ---------- reading it ---------- */

/* What a scan gives: rows that were appended, each once; what it lacks is told of. */
static uint64_t scan_rows(struct ground *g, struct kp_snapshot *snapshot)
{
    struct kp_colref col = {.stored = KP_COL_SEQ};
    struct kp_scan_req req = {.stream = kp_stream_by_number(KP_S_SYSCALL),
                              .from = KP_TIME_MIN,
                              .to = KP_TIME_MAX,
                              .cols = &col,
                              .cols_count = 1};
    struct kp_scan *scan = NULL;
    const struct kp_batch *batch;
    uint64_t rows = 0, last = 0;
    assert_int_equal(kp_scan_open(snapshot, &req, &scan, NULL), KP_OK);
    while (kp_scan_next(scan, &batch, NULL) == KP_OK)
        for (uint32_t i = 0; i < kp_batch_count(batch); i++, rows++) {
            uint64_t seq = (uint64_t)batch->cols[0].i64[kp_batch_row(batch, i)];
            if (seq <= last || seq < g->first || seq >= g->next)
                ground_fail(g, "a row that nobody appended, or twice", rows, seq);
            last = seq;
        }
    kp_scan_close(scan);
    return rows;
}

/* Told + there = appended, where all that is told has a number; never silent. */
static void count_check(const struct ground *g, const char *by, uint64_t there,
                        const struct kp_damage *damage, uint32_t count)
{
    uint64_t told = 0, appended = g->next - g->first;
    bool known = true;
    for (uint32_t i = 0; i < count; i++) {
        known &= damage[i].rows >= 0;
        told += damage[i].rows > 0 ? (uint64_t)damage[i].rows : 0;
    }
    if (there < appended && count == 0)
        ground_fail(g, by, there, 0);
    if (known && there + told != appended)
        ground_fail(g, by, there, told);
}

/* By a reader. False: it is refused, which tells of it. */
static bool snapshot_check(struct ground *g, struct kp_sim *sim, uint64_t *there)
{
    struct kp_snapshot *snapshot = NULL;
    const struct kp_damage *damage;
    if (kp_snapshot_open(TRIAL_DIR, kp_sim_io(sim), &snapshot, NULL) != KP_OK) {
        if (strstr(g->what, "/super ") != NULL || strncmp(g->what, "cut ", 4) != 0)
            ground_fail(g, "one place makes the store unreadable", 0, 0);
        return false;
    }
    *there = scan_rows(g, snapshot);
    uint32_t count = kp_snapshot_damage(snapshot, &damage);
    count_check(g, "a scan lacks rows and tells of others", *there, damage, count);
    kp_snapshot_close(snapshot);
    return true;
}

static kp_status restart(struct kp_sim *sim, bool sealed)
{
    struct kp_store_opts opts = {.io = kp_sim_io(sim),
                                 .manual = true,
                                 .memory_bytes_max = 128 << 10,
                                 .wal_file_bytes = 64 << 10,
                                 .seal_every = sealed ? TRIAL_EPOCH : 0};
    struct kp_store *store = NULL;
    kp_status status = kp_store_open(TRIAL_DIR, &opts, &store, NULL);
    return status == KP_OK ? kp_store_close(store, NULL) : status;
}

/* By a start: the log's and the manifest's losses are rows of gaps afterwards. */
static void start_check(struct ground *g, struct kp_sim *sim, uint64_t there)
{
    struct seen seen;
    if (restart(sim, g->t.sealed) != KP_OK)
        return; /* refused: told of */
    assert_int_equal(seen_read(kp_sim_io(sim), TRIAL_DIR, &seen), KP_OK);
    if (seen.wrong != 0 || !seen_ordered(&seen))
        ground_fail(g, "a start makes rows up", seen.count, seen.gap_count);
    if (seen.count < there)
        ground_fail(g, "a start loses rows", seen.count, seen.gap_count);
    if (seen.count < g->next - g->first && seen.gap_rows + seen.damaged == 0)
        ground_fail(g, "after a start rows are missing in silence", seen.count, seen.gap_count);
    seen_deinit(&seen);
}

static void place_check(struct ground *g, struct kp_sim *sim, enum rot rot)
{
    uint64_t there = 0;
    struct kp_verify_report report = {0};
    kp_status verified = kp_verify(TRIAL_DIR, kp_sim_io(sim), NULL, NULL, NULL, &report, NULL);
    bool read = snapshot_check(g, sim, &there);
    bool lacks = !read || there < g->next - g->first;
    if (lacks && verified == KP_OK)
        ground_fail(g, "the check of everything finds nothing", there, 0);
    g->told[rot] += verified != KP_OK;
    g->refused[rot] += !read;
    start_check(g, sim, there);
}

static void disks_rot(void **state)
{
    (void)state;
    static struct ground g;
    uint64_t wanted = trial_count(PLACES), seed = trial_seed(), done = 0;
    for (; done < wanted; seed++) {
        ground_make(&g, seed);
        for (uint64_t i = 0; i < PER_STORE; i++) {
            enum rot rot = (enum rot)(i % ROTS);
            struct kp_sim *sim = kp_sim_clone(g.t.sim, i);
            if (spoil(&g, sim, rot)) {
                g.tried[rot]++;
                done++;
                place_check(&g, sim, rot);
            }
            kp_sim_close(sim);
        }
        ground_end(&g);
    }
    for (int rot = 0; rot < ROTS; rot++)
        print_message("%-12s %6llu places, %6llu found, %llu refused, 0 silent\n", rot_names[rot],
                      (unsigned long long)g.tried[rot], (unsigned long long)g.told[rot],
                      (unsigned long long)g.refused[rot]);
}

/* ---------- every place ---------- */

#ifdef KP_ASSERT_SLOW
#define EVERY 97
#else
#define EVERY 1
#endif

static void bit_check(struct ground *g, const char *path, size_t at, unsigned bit)
{
    size_t size;
    struct kp_sim *sim = kp_sim_clone(g->t.sim, at);
    kp_sim_file(sim, path, &size)[at] ^= (uint8_t)(1u << bit);
    snprintf(g->what, sizeof(g->what), "bit %u of byte %zu in %s ", bit, at, path);
    place_check(g, sim, BIT);
    g->tried[BIT]++;
    kp_sim_close(sim);
}

static void cut_check(struct ground *g, const char *path, size_t at)
{
    struct kp_sim *sim = kp_sim_clone(g->t.sim, at);
    file_cut(sim, path, at);
    snprintf(g->what, sizeof(g->what), "cut at byte %zu of %s ", at, path);
    place_check(g, sim, CUT);
    g->tried[CUT]++;
    kp_sim_close(sim);
}

/* Zeros far behind everything in a log file are like each other: some of them. */
static bool place_matters(const uint8_t *bytes, size_t size, size_t at)
{
    static const uint8_t none[96];
    size_t from = at < 32 ? 0 : at - 32, length = KP_MIN(sizeof(none), size - from);
    return size < 32 << 10 || at % 251 == 0 || memcmp(bytes + from, none, length) != 0;
}

static void every_place(struct ground *g)
{
    uint64_t places = 0;
    for (uint32_t f = 0; f < g->files_count; f++) {
        size_t size;
        const char *path = g->files[f];
        const uint8_t *bytes = kp_sim_file(g->t.sim, path, &size);
        for (size_t at = 0; at < size; at++) {
            if (!place_matters(bytes, size, at) || places++ % EVERY != 0)
                continue;
            cut_check(g, path, at);
            for (unsigned bit = 0; bit < 8; bit++)
                bit_check(g, path, at, bit);
        }
    }
    print_message("%llu bits, %llu of them found; %llu cuts, %llu of them found; 0 silent\n",
                  (unsigned long long)g->tried[BIT], (unsigned long long)g->told[BIT],
                  (unsigned long long)g->tried[CUT], (unsigned long long)g->told[CUT]);
    assert_true(g->told[BIT] > g->tried[BIT] / 8 && g->told[CUT] > g->tried[CUT] / 4);
}

/* Each bit, and each length, of each file of a small store. */
static void every_bit_and_every_length(void **state)
{
    (void)state;
    static struct ground g;
    ground_make_small(&g);
    every_place(&g);
    ground_end(&g);
}

int main(void)
{
    kp_log_level_set(KP_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(disks_rot),
        cmocka_unit_test(every_bit_and_every_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
