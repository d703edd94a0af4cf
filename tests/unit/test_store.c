/* SPDX-License-Identifier: Apache-2.0
 *
 * The store's door: append, wait, close, open again; who may open; what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "folder.h"
#include "seen.h"
#include "storage/io_sim.h"

struct place {
    char dir[FOLDER_PATH];
    struct kp_store_opts opts;
};

static int setup(void **state)
{
    struct place *place = calloc(1, sizeof(*place));
    folder_make("store", place->dir);
    place->opts = (struct kp_store_opts){.commit_after = KP_MS,
                                         .segment_bytes_max = 256 << 10,
                                         .memory_bytes_max = 1 << 20,
                                         .wal_file_bytes = 1 << 20};
    *state = place;
    return 0;
}

static int teardown(void **state)
{
    struct place *place = *state;
    assert_int_equal(folder_remove(place->dir), 0);
    free(place);
    return 0;
}

static struct kp_store *open_store(const struct place *place)
{
    struct kp_store *store = NULL;
    struct kp_error err = {0};
    if (kp_store_open(place->dir, &place->opts, &store, &err) != KP_OK)
        fail_msg("%s", err.text);
    return store;
}

static struct seen see(const struct place *place)
{
    struct seen seen;
    assert_int_equal(seen_read(kp_io_default(), place->dir, &seen), KP_OK);
    assert_int_equal(seen.wrong + seen.damaged, 0);
    return seen;
}

/* Appends until it is taken: buffers may be full for a moment. */
static uint64_t append(struct feed *feed, uint32_t rows)
{
    uint64_t first, ticket = 0;
    kp_status status = feed_append(feed, rows, &first, &ticket);
    for (int i = 0; i < 5000 && status == KP_LIMIT; i++) {
        usleep(1000);
        status = feed_append(feed, rows, &first, &ticket);
    }
    assert_int_equal(status, KP_OK);
    return ticket;
}

static void what_was_acknowledged_is_there(void **state)
{
    struct place *place = *state;
    const struct kp_io *backends[] = {kp_io_threads(), kp_io_default()};
    uint32_t rows = 0;
    for (size_t i = 0; i < KP_ARRAY_LEN(backends); i++) {
        place->opts.io = backends[i];
        struct kp_store *store = open_store(place);
        struct feed feed;
        feed_init(&feed, store);
        for (uint32_t k = 0; k < 20; k++, rows += k)
            assert_int_equal(kp_store_wait(store, append(&feed, k + 1), NULL), KP_OK);
        struct seen seen = see(place); /* beside the writer */
        assert_int_equal(seen.count, rows);
        assert_true(seen_ordered(&seen));
        seen_deinit(&seen);
        feed_deinit(&feed);
        assert_int_equal(kp_store_close(store, NULL), KP_OK);
    }
    struct seen seen = see(place);
    assert_int_equal(seen.count, rows);
    assert_true(seen.next > seen.seqs[rows - 1]);
    seen_deinit(&seen);
}

static void seals_go_on_beside_ingest(void **state)
{
    struct place *place = *state;
    struct kp_store *store = open_store(place);
    struct kp_store_stat stat;
    struct feed feed;
    uint64_t ticket = 0;
    feed_init(&feed, store);
    uint32_t rows = 0;
    for (; rows < 300000; rows += 1000)
        ticket = append(&feed, 1000);
    assert_int_equal(kp_store_wait(store, ticket, NULL), KP_OK);
    assert_int_equal(kp_store_tick(store, 0, true), KP_OK); /* everything into segments */
    kp_store_stat(store, &stat);
    assert_int_equal(stat.rows_appended, rows);
    assert_int_equal(stat.rows_durable, rows);
    assert_int_equal(stat.rows_refused + stat.gaps, 0);
    assert_true(stat.segments >= 2 && stat.segments_bytes > 0 && stat.commits > 0);
    assert_true(stat.memory_bytes <= place->opts.memory_bytes_max);
    assert_true(stat.wal_bytes <= (uint64_t)4 << 20);
    feed_deinit(&feed);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    struct seen seen = see(place);
    assert_int_equal(seen.count, rows);
    assert_true(seen_ordered(&seen));
    seen_deinit(&seen);
}

struct worker {
    struct kp_store *store;
    pthread_t thread;
    uint64_t rows;
};

static void *work(void *arg)
{
    struct worker *worker = arg;
    struct feed feed;
    feed_init(&feed, worker->store);
    for (uint32_t i = 0; i < 60; i++) {
        uint64_t ticket = append(&feed, 1 + i % 50);
        worker->rows += 1 + i % 50;
        if (i % 7 == 0)
            kp_assert(kp_store_wait(worker->store, ticket, NULL) == KP_OK);
        struct kp_actor actor = {.host = KP_STR("h"), .tid = i + 1, .pid = 1};
        kp_assert(kp_store_actor(worker->store, &actor) != KP_ACTOR_UNKNOWN);
    }
    feed_deinit(&feed);
    return NULL;
}

static void many_threads_append(void **state)
{
    struct place *place = *state;
    struct worker workers[4];
    uint64_t rows = 0;
    struct kp_store *store = open_store(place);
    for (size_t i = 0; i < 4; i++) {
        workers[i] = (struct worker){.store = store};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(workers[i].thread, NULL);
        rows += workers[i].rows;
    }
    assert_int_equal(kp_actors_count(kp_store_actors(store)), 61);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    struct seen seen = see(place);
    assert_int_equal(seen.count, rows);
    seen_deinit(&seen);
}

/* Log files turn over and are recycled under the readers; none of them may call that damage. */
static void readers_beside_a_busy_writer(void **state)
{
    struct place *place = *state;
    place->opts.segment_bytes_max = 64 << 10;
    place->opts.wal_file_bytes = 128 << 10;
    struct kp_store *store = open_store(place);
    const struct kp_stream *stream = kp_stream_by_number(KP_S_SYSCALL);
    struct feed feed;
    uint64_t rows = 0, appended = 0, as_of = 0;
    feed_init(&feed, store);
    for (uint32_t i = 0; i < 150; i++) {
        uint64_t ticket = 0;
        for (uint32_t k = 0; k < 4; k++, appended += 1000)
            ticket = append(&feed, 1000);
        if (i % 4 == 0)
            assert_int_equal(kp_store_wait(store, ticket, NULL), KP_OK);
        struct kp_snapshot *snapshot = NULL;
        struct kp_error err;
        const struct kp_damage *damage;
        if (kp_store_snapshot(store, &snapshot, &err) != KP_OK)
            fail_msg("%s", err.text);
        if (kp_snapshot_damage(snapshot, &damage) != 0)
            fail_msg("%s@%llu: %s", damage->file, (unsigned long long)damage->offset, damage->what);
        assert_true(kp_snapshot_rows(snapshot, stream) >= rows);
        assert_true(kp_snapshot_as_of(snapshot) >= as_of);
        rows = kp_snapshot_rows(snapshot, stream);
        as_of = kp_snapshot_as_of(snapshot);
        assert_true(rows <= appended);
        if (i % 4 == 0)
            assert_int_equal(rows, appended);
        kp_snapshot_close(snapshot);
    }
    struct kp_store_stat stat;
    kp_store_stat(store, &stat);
    assert_true(stat.segments > 5);
    feed_deinit(&feed);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
}

static void one_writer_at_a_time(void **state)
{
    struct place *place = *state;
    struct kp_store *store = open_store(place), *second = NULL;
    struct kp_error err = {0};
    char pid[32];
    snprintf(pid, sizeof(pid), "process %d", (int)getpid());
    assert_int_equal(kp_store_open(place->dir, &place->opts, &second, &err), KP_BUSY);
    assert_non_null(strstr(err.text, pid));
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    assert_int_equal(kp_store_close(open_store(place), NULL), KP_OK);
}

static void wrong_directories_are_refused(void **state)
{
    struct place *place = *state;
    struct kp_store *store = NULL;
    struct kp_error err = {0};
    char path[128];
    place->opts.read_only_ok = true;
    assert_int_equal(kp_store_open(place->dir, &place->opts, &store, &err), KP_NOT_FOUND);
    place->opts.read_only_ok = false;
    snprintf(path, sizeof(path), "%s/a/b", place->dir);
    assert_int_equal(kp_store_open(path, &place->opts, &store, &err), KP_NOT_FOUND);
    snprintf(path, sizeof(path), "%s/letter", place->dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(kp_store_open(place->dir, &place->opts, &store, &err), KP_INVALID);
    assert_non_null(strstr(err.text, "not a kprobe store"));
    assert_int_equal(kp_store_open(path, &place->opts, &store, &err), KP_NOT_FOUND);
}

static void a_store_without_its_manifest_is_not_made_anew(void **state)
{
    struct place *place = *state;
    struct kp_store *store = open_store(place);
    struct feed feed;
    feed_init(&feed, store);
    append(&feed, 10);
    feed_deinit(&feed);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    char command[256];
    snprintf(command, sizeof(command), "rm '%s'/super '%s'/manifest.*", place->dir, place->dir);
    assert_int_equal(system(command), 0);
    struct kp_error err;
    assert_int_equal(kp_store_open(place->dir, &place->opts, &store, &err), KP_CORRUPT);
}

static void event_numbers_go_on_after_a_restart(void **state)
{
    struct place *place = *state;
    uint64_t expected = 1;
    for (int life = 0; life < 4; life++) {
        struct kp_store *store = open_store(place);
        struct feed feed;
        assert_int_equal(kp_store_seq(store, 0), expected);
        feed_init(&feed, store);
        append(&feed, 25);
        feed_deinit(&feed);
        expected += 25;
        if (life == 2) /* everything sealed: the number comes from the manifest */
            assert_int_equal(kp_store_tick(store, 0, true), KP_OK);
        assert_int_equal(kp_store_close(store, NULL), KP_OK);
    }
}

/* ---------- limits, on the simulated disk, step by step ---------- */

static struct kp_store *sim_store(struct kp_sim *sim, uint64_t wal_bytes_max)
{
    struct kp_store_opts opts = {.io = kp_sim_io(sim),
                                 .manual = true,
                                 .memory_bytes_max = 256 << 10,
                                 .wal_file_bytes = 64 << 10,
                                 .wal_bytes_max = wal_bytes_max,
                                 .id_seed = 5};
    struct kp_store *store = NULL;
    assert_int_equal(kp_store_open("/s", &opts, &store, NULL), KP_OK);
    return store;
}

static void full_buffers_take_nothing(void **state)
{
    (void)state;
    struct kp_sim *sim = NULL;
    assert_int_equal(kp_sim_open(1, &sim), KP_OK);
    struct kp_store *store = sim_store(sim, 0);
    struct feed feed;
    uint64_t first, ticket = 0, taken = 0;
    feed_init(&feed, store);
    while (feed_append(&feed, 100, &first, &ticket) == KP_OK)
        taken += 100;
    uint64_t last = ticket;
    assert_int_equal(feed_append(&feed, 100, &first, &ticket), KP_LIMIT);
    assert_int_equal(ticket, last);
    assert_int_equal(kp_store_tick(store, 1, true), KP_OK);
    assert_int_equal(feed_append(&feed, 100, &first, &ticket), KP_OK);
    taken += 100;
    struct kp_store_stat stat;
    kp_store_stat(store, &stat);
    assert_int_equal(stat.rows_appended, taken);
    feed_deinit(&feed);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    struct seen seen;
    assert_int_equal(seen_read(kp_sim_io(sim), "/s", &seen), KP_OK);
    assert_int_equal(seen.count, taken);
    seen_deinit(&seen);
    kp_sim_close(sim);
}

static void a_full_log_takes_nothing(void **state)
{
    (void)state;
    struct kp_sim *sim = NULL;
    assert_int_equal(kp_sim_open(1, &sim), KP_OK);
    struct kp_store *store = sim_store(sim, 256 << 10);
    struct feed feed;
    uint64_t first, ticket = 0;
    uint32_t commits = 0;
    feed_init(&feed, store);
    while (commits < 200 && feed_append(&feed, 5, &first, &ticket) == KP_OK) {
        assert_int_equal(kp_store_wait(store, ticket, NULL), KP_OK); /* commits, never seals */
        commits++;
    }
    assert_in_range(commits, 40, 70); /* four files of fourteen blocks */
    assert_int_equal(feed_append(&feed, 5, &first, &ticket), KP_LIMIT);
    assert_int_equal(kp_store_tick(store, 1, true), KP_OK); /* sealing makes room */
    assert_int_equal(feed_append(&feed, 5, &first, &ticket), KP_OK);
    feed_deinit(&feed);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    kp_sim_close(sim);
}

static void commits_and_seals_come_when_due(void **state)
{
    (void)state;
    struct kp_sim *sim = NULL;
    assert_int_equal(kp_sim_open(1, &sim), KP_OK);
    struct kp_store *store = sim_store(sim, 0);
    struct kp_store_stat stat;
    struct feed feed;
    uint64_t first, ticket;
    feed_init(&feed, store);
    assert_int_equal(feed_append(&feed, 5, &first, &ticket), KP_OK);
    assert_int_equal(kp_store_tick(store, KP_SEC, false), KP_OK);
    kp_store_stat(store, &stat);
    assert_int_equal(stat.rows_durable, 0);
    assert_int_equal(kp_store_tick(store, KP_SEC + 5 * KP_MS, false), KP_OK);
    kp_store_stat(store, &stat);
    assert_int_equal(stat.rows_durable, 5);
    assert_int_equal(stat.segments, 0);
    assert_int_equal(kp_store_tick(store, KP_SEC + 11 * KP_MIN_NS, false), KP_OK);
    kp_store_stat(store, &stat);
    assert_int_equal(stat.segments, 1);
    feed_deinit(&feed);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    kp_sim_close(sim);
}

/* The log went bad after it was written: sealing tells exactly what is missing and goes on. */
static void damage_met_while_sealing(void **state)
{
    (void)state;
    struct kp_sim *sim = NULL;
    assert_int_equal(kp_sim_open(1, &sim), KP_OK);
    struct kp_store *store = sim_store(sim, 0);
    struct feed feed;
    uint64_t first, ticket;
    size_t size;
    feed_init(&feed, store);
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(feed_append(&feed, 10 + i, &first, &ticket), KP_OK);
        assert_int_equal(kp_store_wait(store, ticket, NULL), KP_OK);
    }
    uint8_t *log = kp_sim_file(sim, "/s/wal/0000000000000001.kpw", &size);
    assert_non_null(log);
    log[4 * KPI_BLOCK + 200] ^= 1; /* the third record: 12 rows */
    assert_int_equal(kp_store_tick(store, 1, true), KP_OK);
    struct kp_store_stat stat;
    kp_store_stat(store, &stat);
    assert_int_equal(stat.gaps, 1);
    assert_int_equal(stat.segments, 1);
    feed_deinit(&feed);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    assert_int_equal(kp_store_close(sim_store(sim, 0), NULL), KP_OK);
    struct seen seen;
    assert_int_equal(seen_read(kp_sim_io(sim), "/s", &seen), KP_OK);
    assert_int_equal(seen.count, 60 - 12);
    assert_int_equal(seen.gap_rows, 1);
    assert_int_equal(seen.gap_count, 12);
    assert_int_equal(seen.damaged, 0); /* it is behind what is sealed */
    seen_deinit(&seen);
    kp_sim_close(sim);
}

#define REAL(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REAL(what_was_acknowledged_is_there),
        REAL(seals_go_on_beside_ingest),
        REAL(many_threads_append),
        REAL(readers_beside_a_busy_writer),
        REAL(one_writer_at_a_time),
        REAL(wrong_directories_are_refused),
        REAL(a_store_without_its_manifest_is_not_made_anew),
        REAL(event_numbers_go_on_after_a_restart),
        cmocka_unit_test(full_buffers_take_nothing),
        cmocka_unit_test(a_full_log_takes_nothing),
        cmocka_unit_test(commits_and_seals_come_when_due),
        cmocka_unit_test(damage_met_while_sealing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
