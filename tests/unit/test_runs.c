/* SPDX-License-Identifier: Apache-2.0
 *
 * One directory, recorded into several times: by two boots of one machine, by another machine, with
 * data that comes late. Every row is named once, and threads that only look alike stay apart.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "storage/io_sim.h"
#include "storage/storage.h"

#define DIR  "/store"
#define ROWS 50

struct run {
    const char *host, *boot;
    kp_time zero;
};

static struct kp_store *store_open(const struct kp_io *io)
{
    struct kp_store_opts opts = {.io = io,
                                 .manual = true,
                                 .memory_bytes_max = 128 << 10,
                                 .wal_file_bytes = 64 << 10,
                                 .id_seed = 7};
    struct kp_store *store = NULL;
    assert_int_equal(kp_store_open(DIR, &opts, &store, NULL), KP_OK);
    return store;
}

/* One recording: ROWS rows of thread 7, which every boot starts at the same nanosecond. */
static void record(const struct kp_io *io, const struct run *run, bool seal)
{
    struct kp_store *store = store_open(io);
    struct kp_actor actor = {.host = kp_str_from(run->host),
                             .boot = kp_str_from(run->boot),
                             .tid = 7,
                             .pid = 7,
                             .start = 1000,
                             .comm = KP_STR("kworker")};
    kp_actor_id id = kp_store_actor(store, &actor);
    struct kp_builder builder;
    assert_int_equal(
        kp_builder_init(&builder, kp_stream_by_number(KP_S_SYSCALL), kp_store_actors(store), ROWS),
        KP_OK);
    for (int i = 0; i < ROWS; i++)
        kp_builder_row(&builder, run->zero + i, kp_store_seq(store, 1), 0, id);
    uint64_t ticket;
    assert_int_equal(kp_store_append(store, kp_builder_batch(&builder), &ticket), KP_OK);
    assert_int_equal(kp_store_wait(store, ticket, NULL), KP_OK);
    assert_int_equal(kp_store_tick(store, 1, seal), KP_OK);
    kp_builder_deinit(&builder);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
}

struct row {
    kp_time ts;
    int64_t seq;
    const struct kp_actor *actor;
};

/* Rows with from <= ts <= to, in the order of the scan; their actors live as long as the snapshot.
 */
static uint32_t rows_read(struct kp_snapshot *snapshot, kp_time from, kp_time to, struct row *out)
{
    struct kp_colref cols[] = {
        {.stored = KP_COL_TS}, {.stored = KP_COL_SEQ}, {.stored = KP_COL_ACTOR}};
    struct kp_scan_req req = {.stream = kp_stream_by_number(KP_S_SYSCALL),
                              .from = from,
                              .to = to,
                              .cols = cols,
                              .cols_count = KP_ARRAY_LEN(cols)};
    struct kp_scan *scan;
    const struct kp_batch *batch;
    uint32_t count = 0;
    assert_int_equal(kp_scan_open(snapshot, &req, &scan, NULL), KP_OK);
    while (kp_scan_next(scan, &batch, NULL) == KP_OK)
        for (uint32_t i = 0; i < batch->rows; i++)
            out[count++] =
                (struct row){batch->cols[0].i64[i], batch->cols[1].i64[i],
                             kp_actors_get(batch->actors, (kp_actor_id)batch->cols[2].i64[i])};
    kp_scan_close(scan);
    return count;
}

static const struct run runs[] = {
    {"web1", "boot-a", 1000},
    {"web1", "boot-b", 5000}, /* after a reboot */
    {"web2", "boot-c", 5000}, /* another machine at the same time */
    {"web1", "boot-a", 1020}, /* late: older than everything that is sealed */
};
#define RUNS KP_ARRAY_LEN(runs)

static void runs_check(struct kp_snapshot *snapshot)
{
    struct row rows[RUNS * ROWS];
    bool seen[RUNS * ROWS + 1] = {false};
    assert_int_equal(rows_read(snapshot, KP_TIME_MIN, KP_TIME_MAX, rows), RUNS * ROWS);
    for (uint32_t i = 0; i < RUNS * ROWS; i++) {
        assert_in_range(rows[i].seq, 1, RUNS * ROWS);
        assert_false(seen[rows[i].seq]); /* no event number twice */
        seen[rows[i].seq] = true;
        const struct run *run = &runs[(rows[i].seq - 1) / ROWS];
        assert_true(kp_str_equal(rows[i].actor->host, kp_str_from(run->host)));
        assert_true(kp_str_equal(rows[i].actor->boot, kp_str_from(run->boot)));
        assert_int_equal(rows[i].ts, run->zero + (rows[i].seq - 1) % ROWS);
        assert_true(i == 0 || rows[i].ts >= rows[i - 1].ts);
    }
    /* the two recordings of one boot speak of one thread, the others of three */
    const struct kp_actor *first = rows[0].actor;
    for (uint32_t i = 0; i < RUNS * ROWS; i++)
        assert_int_equal(kp_actor_same_thread(first, rows[i].actor), rows[i].ts < 5000);
}

static void late_rows_check(struct kp_snapshot *snapshot)
{
    struct row rows[RUNS * ROWS];
    assert_int_equal(rows_read(snapshot, 1020, 1021, rows), 4);
    assert_int_equal(rows[0].ts, 1020);
    assert_int_equal(rows[1].ts, 1020);
    assert_int_equal(rows[0].seq, 21);
    assert_int_equal(rows[1].seq, 3 * ROWS + 1);
    assert_int_equal(rows_read(snapshot, 1060, 1100, rows), 10); /* of the late ones alone */
}

static void runs_of_boots_and_hosts_lie_side_by_side(void **state)
{
    (void)state;
    for (unsigned seals = 0; seals < 1u << RUNS; seals++) { /* log and segments in every mix */
        struct kp_sim *sim;
        struct kp_snapshot *snapshot;
        assert_int_equal(kp_sim_open(seals + 1, &sim), KP_OK);
        for (uint32_t i = 0; i < RUNS; i++)
            record(kp_sim_io(sim), &runs[i], (seals >> i & 1) != 0);
        assert_int_equal(kp_snapshot_open(DIR, kp_sim_io(sim), &snapshot, NULL), KP_OK);
        runs_check(snapshot);
        late_rows_check(snapshot);
        kp_snapshot_close(snapshot);
        assert_int_equal(
            kp_verify(DIR, kp_sim_io(sim), NULL, NULL, NULL, &(struct kp_verify_report){0}, NULL),
            KP_OK);
        kp_sim_close(sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_of_boots_and_hosts_lie_side_by_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
