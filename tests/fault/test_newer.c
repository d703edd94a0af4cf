/* SPDX-License-Identifier: Apache-2.0
 *
 * Files of a newer program: a version or a flag that this one does not know, under sums that hold.
 * That is no damage and no torn tail: whoever opens the store is told, and not a byte is changed,
 * removed or written over.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "storage/format.h"
#include "storage/format_page.h"
#include "trial.h"

struct newer {
    struct trial t;
    const char *folder, *part;
    char path[64]; /* of the last file with that part in its name */
    uint64_t seed; /* of the store's sums */
};

static void name_keep(void *ctx, const char *name)
{
    struct newer *n = ctx;
    char path[64];
    snprintf(path, sizeof(path), "%s/%.40s", n->folder, name);
    if (strstr(name, n->part) != NULL && strcmp(path, n->path) > 0)
        memcpy(n->path, path, sizeof(path));
}

static uint8_t *newest(struct newer *n, const char *folder, const char *part, size_t *out_size)
{
    const struct kp_io *io = kp_sim_io(n->t.sim);
    n->folder = folder;
    n->part = part;
    n->path[0] = '\0';
    assert_int_equal(io->list(io, folder, name_keep, n), 0);
    uint8_t *bytes = kp_sim_file(n->t.sim, n->path, out_size);
    assert_non_null(bytes);
    return bytes;
}

/* A segment, and a log with two records; stopped without a farewell. */
static int setup(void **state)
{
    static struct newer n;
    static const enum trial_op ops[] = {TRIAL_APPEND, TRIAL_SEAL,   TRIAL_APPEND,
                                        TRIAL_COMMIT, TRIAL_APPEND, TRIAL_COMMIT};
    struct kpi_super super;
    size_t size;
    trial_begin(&n.t, 1, false);
    for (size_t i = 0; i < KP_ARRAY_LEN(ops); i++)
        trial_step(&n.t, ops[i]);
    struct kp_sim *sim = kp_sim_clone(n.t.sim, 1);
    kp_sim_crash(sim, KP_SIM_KEEP);
    trial_end(&n.t);
    n.t.sim = sim;
    memcpy(&super, kp_sim_file(sim, TRIAL_DIR "/super", &size), sizeof(super));
    n.seed = kpi_store_seed(super.store_id);
    *state = &n;
    return 0;
}

static int teardown(void **state)
{
    struct newer *n = *state;
    kp_sim_close(n->t.sim);
    return 0;
}

/* Reader and writer say so, and all bytes are as they were. */
static void refused_untouched(struct newer *n)
{
    uint64_t hash = kp_sim_hash(n->t.sim);
    struct kp_store_opts opts = {.io = kp_sim_io(n->t.sim),
                                 .manual = true,
                                 .memory_bytes_max = 128 << 10,
                                 .wal_file_bytes = 64 << 10};
    struct kp_snapshot *snapshot = NULL;
    struct kp_store *store = NULL;
    struct kp_error err = {0};
    assert_int_equal(kp_snapshot_open(TRIAL_DIR, opts.io, &snapshot, &err), KP_VERSION);
    assert_non_null(strstr(err.text, "newer"));
    assert_int_equal(kp_store_open(TRIAL_DIR, &opts, &store, &err), KP_VERSION);
    assert_non_null(strstr(err.text, "newer"));
    assert_true(kp_sim_hash(n->t.sim) == hash);
}

/* Changes the last record's header, where it stands and in the table. */
static void record_change(struct newer *n, bool flags)
{
    size_t size, last = 0;
    uint8_t *bytes = newest(n, TRIAL_DIR "/wal", ".kpw", &size);
    struct kpi_wal_header header;
    for (size_t at = 2 * KPI_BLOCK; at + KPI_BLOCK <= size; at += KPI_BLOCK)
        if (kp_load_u32(bytes + at) == KPI_WAL_RECORD_MAGIC)
            last = at;
    assert_true(last > 0);
    memcpy(&header, bytes + last, sizeof(header));
    struct kp_hash128 before = header.hash;
    header.version += !flags;
    header.flags += flags;
    header.hash = kp_hash128(&header, offsetof(struct kpi_wal_header, hash), n->seed);
    memcpy(bytes + last, &header, sizeof(header));
    for (size_t at = KPI_BLOCK; at < 2 * KPI_BLOCK; at += sizeof(header))
        if (memcmp(bytes + at + offsetof(struct kpi_wal_header, hash), &before, sizeof(before)) ==
            0)
            memcpy(bytes + at, &header, sizeof(header));
}

static void a_record_of_a_newer_version(void **state)
{
    record_change(*state, false);
    refused_untouched(*state);
}

static void a_record_with_a_flag(void **state)
{
    record_change(*state, true);
    refused_untouched(*state);
}

static void a_log_file_of_a_newer_version(void **state)
{
    struct newer *n = *state;
    size_t size;
    struct kpi_wal_file_header header;
    uint8_t *bytes = newest(n, TRIAL_DIR "/wal", ".kpw", &size);
    memcpy(&header, bytes, sizeof(header));
    header.version++;
    header.hash = kp_hash128(&header, offsetof(struct kpi_wal_file_header, hash), n->seed);
    memcpy(bytes, &header, sizeof(header));
    refused_untouched(n);
}

static void a_superblock_of_a_newer_version(void **state)
{
    struct newer *n = *state;
    size_t size;
    uint8_t *bytes = kp_sim_file(n->t.sim, TRIAL_DIR "/super", &size);
    for (size_t at = 0; at <= 4096; at += 4096) {
        struct kpi_super super;
        memcpy(&super, bytes + at, sizeof(super));
        super.version = KPI_MANIFEST_VERSION + 1;
        super.hash = kp_hash128(&super, offsetof(struct kpi_super, hash), 0);
        memcpy(bytes + at, &super, sizeof(super));
    }
    refused_untouched(n);
}

/* Its rows are told of as not readable; the file is not touched by starts, seals and joining. */
static void segment_stays(struct newer *n, unsigned place)
{
    size_t size;
    uint8_t *bytes = newest(n, TRIAL_DIR "/seg", ".kps", &size);
    uint8_t *trailer = bytes + size - KPI_SEGMENT_TRAILER;
    uint8_t *copy = malloc(size);
    char path[64];
    kp_store_u32(trailer + place, kp_load_u32(trailer + place) + 100);
    kp_store_u64(trailer + KPI_TRAILER_AT_SUM, kp_hash64(trailer, KPI_TRAILER_AT_SUM, 0));
    memcpy(copy, bytes, size);
    memcpy(path, n->path, sizeof(path));
    struct kp_store *store = trial_open(n->t.sim, false);
    assert_int_equal(kp_store_tick(store, KP_SEC, true), KP_OK);
    assert_int_equal(kp_store_compact(store, NULL), KP_CORRUPT);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    struct seen seen;
    assert_int_equal(seen_read(kp_sim_io(n->t.sim), TRIAL_DIR, &seen), KP_OK);
    assert_true(seen.damaged > 0 && seen.wrong == 0 && seen.count > 0);
    seen_deinit(&seen);
    size_t after;
    bytes = kp_sim_file(n->t.sim, path, &after);
    assert_non_null(bytes);
    assert_int_equal(after, size);
    assert_memory_equal(bytes, copy, size);
    free(copy);
}

static void a_segment_of_a_newer_version(void **state)
{
    segment_stays(*state, KPI_TRAILER_AT_VERSION);
}

static void a_segment_with_a_feature(void **state)
{
    segment_stays(*state, KPI_TRAILER_AT_FEATURES);
}

#define UNIT(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT(a_record_of_a_newer_version),   UNIT(a_record_with_a_flag),
        UNIT(a_log_file_of_a_newer_version), UNIT(a_superblock_of_a_newer_version),
        UNIT(a_segment_of_a_newer_version),  UNIT(a_segment_with_a_feature),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
