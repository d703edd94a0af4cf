/* SPDX-License-Identifier: Apache-2.0
 *
 * The disk is full: the store says so, keeps what it acknowledged, counts what it could not take,
 * and when there is room again it goes on by itself and the count is in `gaps`, exact to the row.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "ingest/ingest.h"
#include "folder.h"
#include "seen.h"
#include "storage/io_sim.h"

struct tally {
    uint64_t accepted, refused;
    uint64_t last_ticket;
};

static void append_some(struct feed *feed, struct tally *tally, uint32_t times)
{
    for (uint32_t i = 0; i < times; i++) {
        uint64_t first;
        kp_status status = feed_append(feed, 400, &first, &tally->last_ticket);
        tally->accepted += status == KP_OK ? 400 : 0;
        tally->refused += status == KP_OK ? 0 : 400;
    }
}

/* ---------- the simulated disk: exact steps ---------- */

static void a_full_simulated_disk(void **state)
{
    (void)state;
    struct kp_sim *sim = NULL;
    assert_int_equal(kp_sim_open(1, &sim), KP_OK);
    struct kp_store_opts opts = {.io = kp_sim_io(sim),
                                 .manual = true,
                                 .segment_bytes_max = 32 << 10,
                                 .memory_bytes_max = 256 << 10,
                                 .wal_file_bytes = 64 << 10,
                                 .id_seed = 1};
    struct kp_store *store = NULL;
    struct feed feed;
    struct tally tally = {0};
    struct kp_store_stat stat;
    int64_t now = KP_SEC;
    kp_sim_capacity(sim, 300 << 10);
    assert_int_equal(kp_store_open("/store", &opts, &store, NULL), KP_OK);
    feed_init(&feed, store);
    kp_status ticked = KP_OK;
    for (int i = 0; i < 500 && tally.refused == 0; i++) {
        append_some(&feed, &tally, 2);
        ticked = kp_store_tick(store, now += 10 * KP_MS, false);
    }
    assert_int_equal(ticked, KP_NO_SPACE);
    assert_true(tally.refused > 0 && tally.accepted > 0);
    struct kp_error err;
    kp_sim_capacity(sim, 0); /* somebody made room */
    assert_int_equal(kp_store_tick(store, now += 10 * KP_MS, false), KP_NO_SPACE); /* too early */
    append_some(&feed, &tally, 1);
    ticked = kp_store_tick(store, now += 2 * KP_SEC, false);
    assert_int_equal(ticked, KP_OK);
    uint64_t refused = tally.refused;
    append_some(&feed, &tally, 3);
    assert_int_equal(tally.refused, refused);
    assert_int_equal(kp_store_wait(store, tally.last_ticket, &err), KP_OK);
    kp_store_stat(store, &stat);
    assert_int_equal(stat.gaps, 1);
    feed_deinit(&feed);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    struct seen seen;
    assert_int_equal(seen_read(kp_sim_io(sim), "/store", &seen), KP_OK);
    assert_int_equal(seen.gap_rows, 1);
    assert_int_equal(seen.count + seen.gap_count, tally.accepted + tally.refused);
    seen_deinit(&seen);
    kp_sim_close(sim);
}

/* Spans that were accepted and lost are not taken for known when they are sent again; a wait for
 * the last of several lots knows of the first. */
static void lost_spans_are_stored_when_sent_again(void **state)
{
    (void)state;
    static const char document[] =
        "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"name\":\"pay\","
        "\"traceId\":\"0123456789abcdef0123456789abcdef\",\"spanId\":\"0123456789abcdef\","
        "\"startTimeUnixNano\":\"1700000000000000000\","
        "\"endTimeUnixNano\":\"1700000001000000000\"}]}]}]}";
    struct kp_sim *sim = NULL;
    struct kp_store *store = NULL;
    struct kp_otlp_result first = {0}, again = {0};
    struct feed feed;
    uint64_t number, ticket;
    assert_int_equal(kp_sim_open(1, &sim), KP_OK);
    struct kp_store_opts opts = {
        .io = kp_sim_io(sim), .manual = true, .memory_bytes_max = 1 << 20, .id_seed = 1};
    assert_int_equal(kp_store_open("/store", &opts, &store, NULL), KP_OK);
    assert_int_equal(kp_otlp_json(store, NULL, kp_str_from(document), &first, NULL), KP_OK);
    assert_int_equal(first.spans, 1);
    kp_sim_fault_add(sim,
                     &(struct kp_sim_fault){
                         .points = KP_SIM_WRITE, .nth = 1, .times = UINT64_MAX, .error = ENOSPC});
    assert_int_equal(kp_store_tick(store, KP_SEC, true), KP_NO_SPACE);
    kp_sim_fault_clear(sim);
    assert_int_equal(kp_store_tick(store, 4 * KP_SEC, true), KP_OK);
    feed_init(&feed, store);
    assert_int_equal(feed_append(&feed, 5, &number, &ticket), KP_OK);
    assert_int_equal(kp_store_wait(store, ticket, NULL), KP_OK);
    assert_int_equal(kp_store_wait_all(store, first.ticket_first, ticket, NULL), KP_NO_SPACE);
    assert_int_equal(kp_otlp_json(store, NULL, kp_str_from(document), &again, NULL), KP_OK);
    assert_int_equal(again.duplicates, 0);
    assert_int_equal(again.spans, 1);
    assert_int_equal(kp_store_wait_all(store, again.ticket_first, again.ticket, NULL), KP_OK);
    feed_deinit(&feed);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    kp_sim_close(sim);
}

/* ---------- real ones ---------- */

static struct kp_store_opts real_opts(void)
{
    return (struct kp_store_opts){.commit_after = KP_MS,
                                  .segment_bytes_max = 512 << 10,
                                  .memory_bytes_max = 2 << 20,
                                  .wal_file_bytes = 1 << 20};
}

static void pause_ms(unsigned ms)
{
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&ts, NULL);
}

/* Appends until rows are refused for another reason than full buffers; then room() and on until the
 * store takes rows again. */
static void fill_and_recover(const char *dir, void (*room)(void *ctx), void *ctx)
{
    struct kp_store_opts opts = real_opts();
    struct kp_store *store = NULL;
    struct feed feed;
    struct kp_error err = {0};
    uint64_t first, ticket = 0, accepted = 0, refused = 0;
    assert_int_equal(kp_store_open(dir, &opts, &store, &err), KP_OK);
    feed_init(&feed, store);
    bool full = false, again = false;
    for (int i = 0; i < 60000 && !again; i++) {
        kp_status status = feed_append(&feed, 400, &first, &ticket);
        if (status == KP_OK) {
            accepted += 400;
            again = full;
        } else if (status == KP_LIMIT) {
            pause_ms(1);
        } else {
            refused += 400;
            if (!full)
                room(ctx);
            full = true;
            pause_ms(20);
        }
    }
    assert_true(full);
    assert_true(again);
    assert_int_equal(kp_store_wait(store, ticket, &err), KP_OK);
    feed_deinit(&feed);
    assert_int_equal(kp_store_close(store, &err), KP_OK);
    struct seen seen;
    assert_int_equal(seen_read(kp_io_default(), dir, &seen), KP_OK);
    assert_int_equal(seen.wrong + seen.damaged, 0);
    assert_true(seen.gap_rows >= 1 && seen_ordered(&seen));
    assert_int_equal(seen.count + seen.gap_count, accepted + refused);
    print_message("%llu rows accepted, %llu refused: %u there, %llu counted as lost\n",
                  (unsigned long long)accepted, (unsigned long long)refused, seen.count,
                  (unsigned long long)seen.gap_count);
    seen_deinit(&seen);
}

static void remove_file(void *ctx)
{
    assert_int_equal(unlink(ctx), 0);
}

static int setup(void **state)
{
    static char dir[FOLDER_PATH];
    folder_make("full", dir);
    *state = dir;
    return 0;
}

/* Also after a failure. Lazy, because the kernel gives up a closed ring's files a moment later. */
static int teardown(void **state)
{
    umount2(*state, MNT_DETACH);
    return folder_remove(*state);
}

static void a_full_tmpfs(void **state)
{
    const char *dir = *state;
    char ballast[64], data[64];
    if (mount("tmpfs", dir, "tmpfs", 0, "size=12m") != 0) {
        print_message("cannot mount a tmpfs here (%s): the simulated disk stands for it\n",
                      strerror(errno));
        skip();
    }
    snprintf(ballast, sizeof(ballast), "%s/ballast", dir);
    snprintf(data, sizeof(data), "%s/data", dir);
    static char zeros[6 << 20];
    FILE *file = fopen(ballast, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(zeros, 1, sizeof(zeros), file), sizeof(zeros));
    fclose(file);
    fill_and_recover(data, remove_file, ballast);
}

static void lift_limit(void *ctx)
{
    struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
    (void)ctx;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
}

/* The same with a limit on file sizes, which needs no rights: no new log file can be made. */
static void a_limited_file_size(void **state)
{
    char data[64];
    struct rlimit before, small = {600 << 10, RLIM_INFINITY};
    snprintf(data, sizeof(data), "%s/data", (const char *)*state);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    if (before.rlim_max != RLIM_INFINITY)
        skip();
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    fill_and_recover(data, lift_limit, NULL);
}

int main(void)
{
    signal(SIGXFSZ, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_simulated_disk),
        cmocka_unit_test(lost_spans_are_stored_when_sent_again),
        cmocka_unit_test_setup_teardown(a_full_tmpfs, setup, teardown),
        cmocka_unit_test_setup_teardown(a_limited_file_size, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
