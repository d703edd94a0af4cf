/* SPDX-License-Identifier: Apache-2.0
 *
 * One byte of the log, the manifest or the superblocks is wrong, or a file ends early. For every
 * such place: opening never crashes, no row appears that was not appended, none is missing in
 * silence, the loss is written down once, and a second recovery finds the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "seen.h"
#include "storage/io_sim.h"

#define DIR "/store"
#ifdef KP_ASSERT_SLOW
#define EVERY 10 /* places: sanitizers cost as many times more */
#else
#define EVERY 1
#endif

struct fixture {
    struct kp_sim *sim;
    uint32_t rows;
    uint64_t places, cases, told, whole, refused;
};

static struct kp_store_opts opts_of(struct kp_sim *sim)
{
    return (struct kp_store_opts){.io = kp_sim_io(sim),
                                  .manual = true,
                                  .memory_bytes_max = 256 << 10,
                                  .wal_file_bytes = 64 << 10,
                                  .id_seed = 3};
}

/* Two segments, then 20 records in two log files. */
static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct kp_store *store = NULL;
    struct feed feed;
    uint64_t first, ticket;
    assert_int_equal(kp_sim_open(1, &f->sim), KP_OK);
    struct kp_store_opts opts = opts_of(f->sim);
    assert_int_equal(kp_store_open(DIR, &opts, &store, NULL), KP_OK);
    feed_init(&feed, store);
    for (uint32_t i = 0; i < 26; i++) {
        assert_int_equal(feed_append(&feed, 5 + i % 3, &first, &ticket), KP_OK);
        assert_int_equal(kp_store_wait(store, ticket, NULL), KP_OK);
        if (i == 3 || i == 5)
            assert_int_equal(kp_store_tick(store, (int64_t)i, true), KP_OK);
        f->rows += 5 + i % 3;
    }
    feed_deinit(&feed);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    kp_sim_crash(f->sim, KP_SIM_KEEP);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    kp_sim_close(f->sim);
    free(f);
    return 0;
}

static kp_status reopen(struct kp_sim *sim)
{
    struct kp_store *store = NULL;
    struct kp_store_opts opts = opts_of(sim);
    kp_status status = kp_store_open(DIR, &opts, &store, NULL);
    return status == KP_OK ? kp_store_close(store, NULL) : status;
}

static void check(struct fixture *f, struct kp_sim *sim, const char *what, uint64_t at)
{
    struct seen before, first, second;
    f->cases++;
    /* a reader first: it tells of the same without a writer's help */
    kp_status read = seen_read(kp_sim_io(sim), DIR, &before);
    uint32_t there = before.count;
    if (before.wrong != 0 || (read == KP_OK && there < f->rows && before.damaged == 0))
        fail_msg("%s at %llu: read %u of %u rows, %u wrong, %u damaged", what,
                 (unsigned long long)at, there, f->rows, before.wrong, before.damaged);
    seen_deinit(&before);
    if (reopen(sim) != KP_OK) {
        assert_int_not_equal(read, KP_OK);
        f->refused++;
        return;
    }
    assert_int_equal(seen_read(kp_sim_io(sim), DIR, &first), KP_OK);
    bool silent = first.count < f->rows && first.gap_rows == 0;
    if (first.wrong != 0 || !seen_ordered(&first) || silent || first.count != there)
        fail_msg("%s at %llu: %u of %u rows (read %u), %u wrong, %u gaps", what,
                 (unsigned long long)at, first.count, f->rows, there, first.wrong, first.gap_rows);
    assert_int_equal(reopen(sim), KP_OK);
    assert_int_equal(seen_read(kp_sim_io(sim), DIR, &second), KP_OK);
    if (second.count != first.count || second.gap_rows != first.gap_rows)
        fail_msg("%s at %llu: a second recovery finds %u rows, %u gaps after %u, %u", what,
                 (unsigned long long)at, second.count, second.gap_rows, first.count,
                 first.gap_rows);
    f->told += first.gap_rows > 0;
    f->whole += first.count == f->rows;
    seen_deinit(&first);
    seen_deinit(&second);
}

static void flip(struct fixture *f, const char *path, size_t at)
{
    if (f->places++ % EVERY != 0)
        return;
    struct kp_sim *sim = kp_sim_clone(f->sim, at);
    size_t size = 0;
    uint8_t *bytes = kp_sim_file(sim, path, &size);
    assert_non_null(bytes);
    if (at < size) {
        bytes[at] ^= (uint8_t)(1u << at % 8);
        check(f, sim, path, at);
    }
    kp_sim_close(sim);
}

static void cut(struct fixture *f, const char *path, size_t at)
{
    if (f->places++ % EVERY != 0)
        return;
    struct kp_sim *sim = kp_sim_clone(f->sim, at);
    const struct kp_io *io = kp_sim_io(sim);
    struct kp_io_file *file = NULL;
    assert_int_equal(io->open(io, path, KP_IO_RDWR, &file), 0);
    if ((int64_t)at < io->size(io, file)) {
        assert_int_equal(io->truncate(io, file, at), 0);
        check(f, sim, path, at);
    }
    io->close(io, file);
    kp_sim_close(sim);
}

struct names {
    char paths[16][64];
    uint32_t count;
    const char *folder, *part;
};

static void name_keep(void *ctx, const char *name)
{
    struct names *names = ctx;
    kp_assert(names->count < 16);
    if (strstr(name, names->part) != NULL)
        snprintf(names->paths[names->count++], 64, "%s/%.40s", names->folder, name);
}

static struct names names_of(struct fixture *f, const char *folder, const char *part)
{
    struct names names = {.folder = folder, .part = part};
    const struct kp_io *io = kp_sim_io(f->sim);
    assert_int_equal(io->list(io, folder, name_keep, &names), 0);
    assert_true(names.count > 0);
    return names;
}

static void report(const struct fixture *f, const char *what)
{
    print_message("%s: %llu places; all rows there %llu, loss told %llu, refused %llu\n", what,
                  (unsigned long long)f->cases, (unsigned long long)f->whole,
                  (unsigned long long)f->told, (unsigned long long)f->refused);
}

/* All bytes of headers, copies and the first of the payload; every 61st of the rest. */
static void a_wrong_byte_in_the_log(void **state)
{
    struct fixture *f = *state;
    struct names names = names_of(f, DIR "/wal", ".kpw");
    for (uint32_t n = 0; n < names.count; n++) {
        for (size_t at = 0; at < 64 << 10; at++) {
            size_t in_block = at % KPI_BLOCK;
            bool table = at / KPI_BLOCK == 1 && in_block < (size_t)20 * 128;
            if (in_block < 144 || (table && at % 3 == 0) || at % 61 == 0)
                flip(f, names.paths[n], at);
        }
    }
    report(f, "log, wrong byte");
    assert_true(f->told > 100 / EVERY && f->whole > 100 / EVERY && f->refused == 0);
}

static void a_log_cut_short(void **state)
{
    struct fixture *f = *state;
    struct names names = names_of(f, DIR "/wal", ".kpw");
    for (uint32_t n = 0; n < names.count; n++) {
        for (size_t at = 0; at < 8192; at += 37)
            cut(f, names.paths[n], at);
        for (size_t at = 8192; at < 64 << 10; at += at % KPI_BLOCK < 400 ? 29 : 301)
            cut(f, names.paths[n], at);
    }
    report(f, "log, cut");
    assert_true(f->told > 100 / EVERY && f->refused == 0);
}

static void a_wrong_byte_in_the_manifest(void **state)
{
    struct fixture *f = *state;
    struct names names = names_of(f, DIR, "manifest.");
    for (uint32_t n = 0; n < names.count; n++)
        for (size_t at = 0; at < 2048; at++)
            flip(f, names.paths[n], at);
    for (size_t at = 0; at < 80; at++) {
        flip(f, DIR "/super", at);
        flip(f, DIR "/super", 4096 + at);
    }
    report(f, "manifest and superblocks, wrong byte");
    assert_true(f->told > 100 / EVERY && f->whole > 100 / EVERY);
}

static void a_manifest_cut_short(void **state)
{
    struct fixture *f = *state;
    struct names names = names_of(f, DIR, "manifest.");
    for (size_t at = 0; at < 2048; at++)
        cut(f, names.paths[0], at);
    for (size_t at = 0; at < 4700; at += 13)
        cut(f, DIR "/super", at);
    report(f, "manifest and superblocks, cut");
    assert_true(f->told + f->refused > 100 / EVERY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_wrong_byte_in_the_log, setup, teardown),
        cmocka_unit_test_setup_teardown(a_log_cut_short, setup, teardown),
        cmocka_unit_test_setup_teardown(a_wrong_byte_in_the_manifest, setup, teardown),
        cmocka_unit_test_setup_teardown(a_manifest_cut_short, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
