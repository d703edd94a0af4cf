/* SPDX-License-Identifier: Apache-2.0
 *
 * "The last row of this thread before t" against a walk over all rows: with late rows, segments
 * that overlap, threads of two hosts and numbers that were used twice, and rows still in the log.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"
#include "rows.h"
#include "storage/io_sim.h"
#include "storage/storage.h"

#define DIR      "/store"
#define ROWS_MAX 20000u

struct all {
    struct kp_hop_row rows[ROWS_MAX]; /* in the order of the scan */
    uint32_t count;
};

struct wanted {
    const char *stream, *column;
};

static const struct wanted wanted[] = {{"sched_switch", "next"},
                                       {"sched_switch", "actor"},
                                       {"sched_waking", "wakee"},
                                       {"sched_waking", "actor"},
                                       {"spans", "actor"}};

static void store_fill(const struct kp_io *io, uint64_t seed, uint32_t segments)
{
    struct kp_store_opts opts = {.io = io,
                                 .manual = true,
                                 .memory_bytes_max = 512 << 10,
                                 .wal_file_bytes = 256 << 10,
                                 .id_seed = 7};
    static const char *const streams[] = {"sched_switch", "sched_waking", "spans", "syscall"};
    struct kp_store *store = NULL;
    assert_int_equal(kp_store_open(DIR, &opts, &store, NULL), KP_OK);
    struct rows_gen gen = {.seed = seed,
                           .actors = kp_store_actors(store),
                           .now = 1700000000ll * KP_SEC,
                           .cpus = 3,
                           .threads = 30,
                           .names = 10,
                           .late_every = 40};
    for (uint32_t i = 0; i <= segments * 4; i++) {
        for (size_t s = 0; s < KP_ARRAY_LEN(streams); s++) {
            struct kp_builder builder;
            uint32_t rows = 1 + (uint32_t)rows_below(&gen, 60);
            assert_int_equal(kp_builder_init(&builder, kp_stream_by_name(kp_str_from(streams[s])),
                                             gen.actors, rows),
                             KP_OK);
            rows_fill(&gen, &builder, rows);
            assert_int_equal(kp_store_append(store, kp_builder_batch(&builder), NULL), KP_OK);
            kp_builder_deinit(&builder);
        }
        /* what comes last stays in the log */
        assert_int_equal(kp_store_tick(store, i + 1, i % 4 == 3), KP_OK);
    }
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
}

static uint32_t column_of(const struct wanted *w)
{
    int column = kp_stream_stored(kp_stream_by_name(kp_str_from(w->stream)), w->column);
    assert_true(column >= 0);
    return (uint32_t)column;
}

static void read_all(struct kp_snapshot *snapshot, const struct wanted *w, struct all *out)
{
    const struct kp_colref cols[] = {{.stored = KP_COL_TS},
                                     {.stored = KP_COL_SEQ},
                                     {.stored = KP_COL_CPU},
                                     {.stored = KP_COL_ACTOR},
                                     {.stored = (uint8_t)column_of(w)}};
    struct kp_scan_req req = {.stream = kp_stream_by_name(kp_str_from(w->stream)),
                              .from = KP_TIME_MIN,
                              .to = KP_TIME_MAX,
                              .cols = cols,
                              .cols_count = KP_ARRAY_LEN(cols),
                              .no_prune = true};
    struct kp_scan *scan;
    const struct kp_batch *batch;
    out->count = 0;
    assert_int_equal(kp_scan_open(snapshot, &req, &scan, NULL), KP_OK);
    while (kp_scan_next(scan, &batch, NULL) == KP_OK)
        for (uint32_t i = 0; i < batch->rows; i++) {
            assert_true(out->count < ROWS_MAX);
            out->rows[out->count++] =
                (struct kp_hop_row){.ts = batch->cols[0].i64[i],
                                    .seq = (uint64_t)batch->cols[1].i64[i],
                                    .cpu = (uint32_t)batch->cols[2].i64[i],
                                    .actor = (kp_actor_id)batch->cols[3].i64[i],
                                    .thread = (kp_actor_id)batch->cols[4].i64[i]};
        }
    kp_scan_close(scan);
}

static bool is_of(const struct kp_actors *actors, const struct kp_hop_row *row,
                  const struct kp_hop_req *req)
{
    const struct kp_actor *actor = kp_actors_get(actors, row->thread);
    if (row->thread == KP_ACTOR_UNKNOWN || actor->tid != req->tid)
        return false;
    return req->same == NULL ||
           (actor->start == req->same->start && kp_str_equal(actor->host, req->same->host));
}

static const struct kp_hop_row *walk_back(const struct kp_actors *actors, const struct all *all,
                                          const struct kp_hop_req *req)
{
    for (uint32_t i = all->count; i-- > 0;)
        if (all->rows[i].ts < req->before && is_of(actors, &all->rows[i], req))
            return &all->rows[i];
    return NULL;
}

static void hops_are_right(void **state)
{
    (void)state;
    struct all *all = calloc(1, sizeof(*all));
    uint32_t found = 0, none = 0;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct kp_sim *sim;
        struct kp_snapshot *snapshot;
        struct kp_hop *hop;
        assert_int_equal(kp_sim_open(seed, &sim), KP_OK);
        store_fill(kp_sim_io(sim), seed, 6);
        assert_int_equal(kp_snapshot_open(DIR, kp_sim_io(sim), &snapshot, NULL), KP_OK);
        assert_int_equal(kp_hop_open(snapshot, &hop, NULL), KP_OK);
        const struct kp_actors *actors = kp_snapshot_actors(snapshot);
        for (size_t w = 0; w < KP_ARRAY_LEN(wanted); w++) {
            read_all(snapshot, &wanted[w], all);
            for (uint64_t i = 0; i < 400; i++) {
                uint64_t dice = kp_hash_mix(seed << 32 | w << 16 | i);
                const struct kp_hop_row *near = &all->rows[dice % all->count];
                struct kp_hop_req req = {.stream = kp_stream_by_name(kp_str_from(wanted[w].stream)),
                                         .column = column_of(&wanted[w]),
                                         .tid = (int64_t)(dice >> 20 & 31),
                                         .before = near->ts + (dice >> 40) % 3 - 1};
                struct kp_actor same = *kp_actors_get(actors, near->thread);
                if (dice >> 50 & 1 && near->thread != KP_ACTOR_UNKNOWN) {
                    req.same = &same;
                    req.tid = same.tid;
                    same.start += dice >> 51 & 1; /* another thread of that number */
                }
                struct kp_hop_row row = {0};
                const struct kp_hop_row *expected = walk_back(actors, all, &req);
                kp_status status = kp_hop_before(hop, &req, &row, NULL);
                assert_int_equal(status, expected == NULL ? KP_END : KP_OK);
                if (expected != NULL) {
                    assert_int_equal(row.ts, expected->ts);
                    assert_int_equal(row.seq, expected->seq);
                    assert_int_equal(row.thread, expected->thread);
                    assert_int_equal(row.actor, expected->actor);
                }
                found += expected != NULL;
                none += expected == NULL;
            }
        }
        kp_hop_close(hop);
        kp_snapshot_close(snapshot);
        kp_sim_close(sim);
    }
    assert_true(found > 4000 && none > 100);
    free(all);
}

static void columns_without_threads_are_refused(void **state)
{
    (void)state;
    struct kp_sim *sim;
    struct kp_snapshot *snapshot;
    struct kp_hop *hop;
    struct kp_hop_row row;
    assert_int_equal(kp_sim_open(1, &sim), KP_OK);
    store_fill(kp_sim_io(sim), 1, 1);
    assert_int_equal(kp_snapshot_open(DIR, kp_sim_io(sim), &snapshot, NULL), KP_OK);
    assert_int_equal(kp_hop_open(snapshot, &hop, NULL), KP_OK);
    struct kp_hop_req req = {.stream = kp_stream_by_number(KP_S_SPANS), .column = KP_COL_CPU};
    assert_int_equal(kp_hop_before(hop, &req, &row, NULL), KP_INVALID);
    req.column = 60;
    assert_int_equal(kp_hop_before(hop, &req, &row, NULL), KP_INVALID);
    kp_hop_close(hop);
    kp_snapshot_close(snapshot);
    kp_sim_close(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hops_are_right),
        cmocka_unit_test(columns_without_threads_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
