/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory runs out: the n-th allocation fails, once and from then on for ever, for every n, in the
 * start, in appending, committing, sealing and joining, in recovery, in the checks, in queries and
 * their rendering, and at the door of spans. Nothing crashes; what was acknowledged is there, what
 * was accepted and lost is counted (invariants 1, 2, 5 and 8 of docs/format.md); an answer that is
 * called complete is the one that there is with memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/log.h"
#include "memory.h"
#include "query/query.h"
#include "render/render.h"
#include "trial.h"
#include "world.h"

#define N_MAX 20000u
#ifdef KP_ASSERT_SLOW
#define EVERY 23
#else
#define EVERY 1
#endif

/* Makes the n-th allocation fail, checks what must hold once memory is back; false: none failed. */
typedef bool (*scene_fn)(void *ctx, uint64_t n, bool lasting);

/* For every n until none fails any more. */
static void every_n(const char *what, scene_fn scene, void *ctx)
{
    uint64_t runs = 0;
    for (int lasting = 0; lasting < 2; lasting++) {
        bool hit = true;
        uint64_t n = 1;
        for (; hit && n < N_MAX; n += EVERY, runs++)
            hit = scene(ctx, n, lasting == 1);
        assert_false(hit);
    }
    print_message("%s: %llu runs\n", what, (unsigned long long)runs);
    assert_true(runs > 4);
}

/* ---------- writing ---------- */

struct writing {
    struct kp_sim *before; /* what the scene starts from */
    uint64_t first;        /* number of its first row */
    bool sealed, appends;
    uint64_t n; /* of the run */
    bool lasting;
    uint64_t accepted, acked; /* rows of a run */
    bool told;                /* the store said that rows are lost */
};

static struct kp_store_opts writing_opts(const struct kp_io *io, bool sealed)
{
    return (struct kp_store_opts){.io = io,
                                  .manual = true,
                                  .segment_bytes_max = 3000,
                                  .memory_bytes_max = 128 << 10,
                                  .wal_file_bytes = 64 << 10,
                                  .id_seed = 99,
                                  .seal_every = sealed ? TRIAL_EPOCH : 0};
}

/* Appends and waits; a commit now and then, a seal and a joining in the end. */
static void rows_write(struct writing *w, struct kp_store *store)
{
    struct feed feed;
    uint64_t first, ticket = 0, waited = 0;
    int64_t now = TRIAL_EPOCH;
    feed_init(&feed, store);
    memory_fail(w->n, w->lasting);
    for (uint32_t i = 0; i < 6; i++, now += 2 * KP_SEC) {
        if (feed_append(&feed, 8, &first, &ticket) != KP_OK)
            continue;
        w->accepted += 8;
        if (i % 2 == 1) {
            if (kp_store_wait_all(store, waited + 1, ticket, NULL) == KP_OK)
                w->acked += 8 * (ticket - waited);
            waited = ticket;
        }
        kp_status status = kp_store_tick(store, now, i == 3);
        w->told |= status != KP_OK;
    }
    if (kp_store_compact(store, NULL) == KP_OK)
        w->told |= kp_store_tick(store, now, true) != KP_OK;
    feed_deinit(&feed);
}

static void write_check(const struct writing *w, struct kp_sim *sim)
{
    struct kp_store_opts opts = writing_opts(kp_sim_io(sim), w->sealed);
    struct kp_store *store = NULL;
    struct seen seen;
    assert_int_equal(kp_store_open(TRIAL_DIR, &opts, &store, NULL), KP_OK);
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    assert_int_equal(seen_read(opts.io, TRIAL_DIR, &seen), KP_OK);
    const char *why = seen.wrong + seen.damaged != 0 ? "damage, or rows that nobody appended"
                      : !seen_ordered(&seen)         ? "rows twice, or out of order"
                      : seen.count < w->first - 1 + w->acked ? "acknowledged rows are gone"
                      : seen.count + seen.gap_count < w->first - 1 + w->accepted && !w->told
                          ? "rows are lost in silence"
                          : NULL;
    if (why != NULL)
        fail_msg("n %llu: %s: %u rows, %llu in gaps, of %llu accepted and %llu acknowledged",
                 (unsigned long long)w->n, why, seen.count, (unsigned long long)seen.gap_count,
                 (unsigned long long)w->accepted, (unsigned long long)w->acked);
    seen_deinit(&seen);
}

/* Memory fails in the start or, where rows are appended, from then on. */
static bool write_scene(void *ctx, uint64_t n, bool lasting)
{
    struct writing *w = ctx;
    struct kp_sim *sim = kp_sim_clone(w->before, n);
    struct kp_store_opts opts = writing_opts(memory_spares(kp_sim_io(sim)), w->sealed);
    struct kp_store *store = NULL;
    *w = (struct writing){.before = w->before,
                          .first = w->first,
                          .sealed = w->sealed,
                          .appends = w->appends,
                          .n = n,
                          .lasting = lasting};
    if (!w->appends)
        memory_fail(n, lasting);
    kp_status status = kp_store_open(TRIAL_DIR, &opts, &store, NULL);
    if (status == KP_OK && w->appends)
        rows_write(w, store);
    if (status == KP_OK)
        w->told |= kp_store_close(store, NULL) != KP_OK;
    bool hit = memory_back();
    write_check(w, sim);
    kp_sim_close(sim);
    return hit;
}

static void writing_run(const char *what, struct writing *w)
{
    every_n(what, write_scene, w);
    kp_sim_close(w->before);
}

static void in_the_first_start(void **state)
{
    (void)state;
    struct writing w = {.first = 1, .sealed = true};
    assert_int_equal(kp_sim_open(1, &w.before), KP_OK);
    writing_run("first start", &w);
}

/* A disk as a crash leaves it: segments, one of them cold, and a log. */
static void ground_make(struct writing *w)
{
    static const enum trial_op ops[] = {TRIAL_APPEND, TRIAL_SEAL,   TRIAL_COMPACT, TRIAL_APPEND,
                                        TRIAL_SEAL,   TRIAL_APPEND, TRIAL_COMMIT};
    struct trial t;
    trial_begin(&t, 1, w->sealed);
    for (size_t i = 0; i < KP_ARRAY_LEN(ops); i++)
        trial_step(&t, ops[i]);
    w->before = kp_sim_clone(t.sim, 1);
    kp_sim_crash(w->before, KP_SIM_KEEP);
    w->first = t.appended;
    trial_end(&t);
}

static void in_recovery(void **state)
{
    (void)state;
    struct writing w = {.sealed = false};
    ground_make(&w);
    writing_run("recovery", &w);
    w = (struct writing){.sealed = true};
    ground_make(&w);
    writing_run("recovery with seals", &w);
}

static void in_writing(void **state)
{
    (void)state;
    struct writing w = {.appends = true};
    ground_make(&w);
    writing_run("append, commit, seal, join", &w);
    w = (struct writing){.appends = true, .sealed = true};
    ground_make(&w);
    writing_run("the same with seals", &w);
}

/* ---------- reading ---------- */

struct reading {
    struct kp_sim *sim;
    uint64_t rows; /* that are there */
};

/* Rows of the stream that a new snapshot gives; -1: it says that it cannot. */
static int64_t rows_scan(const struct kp_io *io)
{
    struct kp_snapshot *snapshot = NULL;
    struct kp_scan *scan = NULL;
    const struct kp_batch *batch;
    const struct kp_damage *damage;
    struct kp_colref col = {.stored = KP_COL_SEQ};
    struct kp_scan_req req = {.stream = kp_stream_by_number(KP_S_SYSCALL),
                              .from = KP_TIME_MIN,
                              .to = KP_TIME_MAX,
                              .cols = &col,
                              .cols_count = 1};
    int64_t rows = 0;
    kp_status status = kp_snapshot_open(TRIAL_DIR, io, &snapshot, NULL);
    if (status == KP_OK)
        status = kp_scan_open(snapshot, &req, &scan, NULL);
    while (status == KP_OK && (status = kp_scan_next(scan, &batch, NULL)) == KP_OK)
        rows += kp_batch_count(batch);
    bool told = snapshot != NULL && kp_snapshot_damage(snapshot, &damage) > 0;
    kp_scan_close(scan);
    kp_snapshot_close(snapshot);
    return status == KP_END && !told ? rows : -1;
}

static bool scan_scene(void *ctx, uint64_t n, bool lasting)
{
    struct reading *reading = ctx;
    const struct kp_io *io = memory_spares(kp_sim_io(reading->sim));
    memory_fail(n, lasting);
    int64_t rows = rows_scan(io);
    bool hit = memory_back();
    if (rows >= 0 && rows != (int64_t)reading->rows)
        fail_msg("n %llu: a scan of %lld of %llu rows says nothing", (unsigned long long)n,
                 (long long)rows, (unsigned long long)reading->rows);
    assert_true(rows >= 0 || hit);
    return hit;
}

static void on_finding(void *ctx, const struct kp_finding *finding)
{
    *(struct kp_finding *)ctx = *finding;
}

/* The checks may say that they could not look; what they say of the store is that it is whole. */
static bool check_scene(void *ctx, uint64_t n, bool lasting)
{
    struct reading *reading = ctx;
    const struct kp_io *io = memory_spares(kp_sim_io(reading->sim));
    struct kp_verify_report report = {0};
    struct kp_proof proof = {0};
    struct kp_finding finding = {.text = "damaged"};
    struct kp_prove_opts opts = {.full = true};
    memory_fail(n, lasting);
    kp_status verified = kp_verify(TRIAL_DIR, io, NULL, NULL, NULL, &report, NULL);
    kp_status proved = kp_prove(TRIAL_DIR, io, &opts, on_finding, &finding, &proof, NULL);
    bool hit = memory_back();
    if (verified == KP_CORRUPT || proved == KP_CORRUPT)
        fail_msg("n %llu: of a whole store it is said: %s", (unsigned long long)n, finding.text);
    assert_true(hit || (verified == KP_OK && proved == KP_OK));
    return hit;
}

static void in_scans_and_checks(void **state)
{
    (void)state;
    struct writing w = {.sealed = true};
    ground_make(&w);
    struct reading reading = {.sim = w.before, .rows = w.first - 1};
    every_n("scan", scan_scene, &reading);
    every_n("verify and prove", check_scene, &reading);
    kp_sim_close(w.before);
}

/* ---------- questions ---------- */

struct asking {
    struct world world;
    const char *text;
    struct kp_buf whole; /* the answer with memory */
};

static bool answer_add(void *ctx, const char *text, size_t size)
{
    kp_buf_add(ctx, text, size);
    return !((struct kp_buf *)ctx)->failed;
}

/* The answer in JSON, its batches and its end; OK: it is complete. */
static kp_status answer_render(struct kp_query *query, struct kp_buf *out)
{
    const struct kp_batch *batch;
    const struct kp_str *notes;
    struct kp_term term = {0};
    struct kp_render *render = NULL;
    kp_status status = kp_query_next(query, &batch, NULL);
    if (status != KP_OK && status != KP_END)
        return status;
    kp_status opened = kp_render_open(KP_FORMAT_JSON, kp_query_schema(query), "answer", &term,
                                      answer_add, out, &render);
    for (; status == KP_OK && opened == KP_OK; status = kp_query_next(query, &batch, NULL))
        opened = kp_render_batch(render, batch);
    if (status == KP_END && opened == KP_OK) {
        uint32_t count = kp_query_notes(query, &notes);
        opened = kp_render_end(render, notes, count);
    }
    kp_render_close(render);
    if (opened != KP_OK)
        return opened == KP_END ? KP_NO_MEMORY : opened; /* END: answer_add took no more */
    return status == KP_END ? KP_OK : status;
}

static kp_status ask(struct asking *asking, struct kp_buf *out, struct kp_error *err)
{
    struct kp_snapshot *snapshot = NULL;
    struct kp_query *query = NULL;
    struct kp_query_opts opts = {.threads = 1};
    kp_status status = kp_snapshot_open(asking->world.dir, kp_io_threads(), &snapshot, NULL);
    if (status == KP_OK)
        status = kp_query_open(snapshot, kp_str_from(asking->text), &opts, &query, err);
    if (status == KP_OK)
        status = answer_render(query, out);
    kp_query_close(query);
    kp_snapshot_close(snapshot);
    return status == KP_OK && out->failed ? KP_NO_MEMORY : status;
}

static bool ask_scene(void *ctx, uint64_t n, bool lasting)
{
    struct asking *asking = ctx;
    struct kp_buf out = {0};
    memory_fail(n, lasting);
    kp_status status = ask(asking, &out, NULL);
    bool hit = memory_back();
    bool same =
        out.size == asking->whole.size && memcmp(out.data, asking->whole.data, out.size) == 0;
    if (status == KP_OK && !same)
        fail_msg("n %llu, %s: another answer, and it is called complete:\n%.*s",
                 (unsigned long long)n, asking->text, (int)out.size, (char *)out.data);
    if (status != KP_OK && status != KP_NO_MEMORY && status != KP_LIMIT)
        fail_msg("n %llu, %s: %s", (unsigned long long)n, asking->text, kp_status_text(status));
    kp_buf_deinit(&out);
    return hit;
}

static void world_make(struct world *w)
{
    world_open(w);
    kp_actor_id idle = world_idle(w), app = world_thread(w, 10, 10, "app"),
                other = world_thread(w, 20, 20, "other");
    for (int64_t i = 0; i < 40; i++) {
        kp_time t = i * KP_MS;
        world_switch(w, t, 0, i % 2 == 0 ? app : other, i % 2 == 0 ? S : R,
                     i % 2 == 0 ? other : app);
        world_wake(w, t + 300 * KP_US, 0, other, app, 0);
        world_syscall(w, t, t + 100 * KP_US, 0, app, "read", i);
        if (i == 20)
            world_commit(w);
    }
    world_switch(w, 40 * KP_MS, 0, other, S, idle);
    world_span(w, &(struct world_span){.from = KP_MS,
                                       .to = 30 * KP_MS,
                                       .thread = app,
                                       .trace = "00000000000000000000000000000001",
                                       .id = "0000000000000001",
                                       .txn = "7",
                                       .service = "app",
                                       .name = "pay"});
    world_commit(w);
}

static void in_queries(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "syscall | summarize n = count(), s = sum(dur) by comm, bin(ts, 5ms)",
        "syscall | where comm != \"x\" | sort by dur desc | take 5 | project ts, comm, dur",
        "syscall | project cpu, dur | join kind=inner (syscall | take 2 | project cpu, ret) on cpu",
        "CAUSES OF txn 7",
        "syscall | where comm matches regex 'a.*' | summarize make_list(ret), dcount(comm) by cpu",
    };
    struct asking asking = {0};
    struct kp_error err = {0};
    world_make(&asking.world);
    for (size_t i = 0; i < KP_ARRAY_LEN(texts); i++) {
        asking.text = texts[i];
        kp_buf_clear(&asking.whole);
        if (ask(&asking, &asking.whole, &err) != KP_OK)
            fail_msg("%s: %s", texts[i], err.text);
        every_n(texts[i], ask_scene, &asking);
    }
    kp_buf_deinit(&asking.whole);
    world_close(&asking.world);
}

int main(void)
{
    kp_log_level_set(KP_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_the_first_start), cmocka_unit_test(in_recovery),
        cmocka_unit_test(in_writing),         cmocka_unit_test(in_scans_and_checks),
        cmocka_unit_test(in_queries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
