/* SPDX-License-Identifier: Apache-2.0
 *
 * The verbs beside CAUSES on a service whose every second transaction is preempted: sums, who is
 * named, and the same answer for one transaction and for many.
 *
 * Transaction i begins at i ms. The handler runs 50 us, then waits for the server; the server runs
 * 100 us; the handler runs 40 us more. In odd ones a batch job, woken by cron, takes the server's
 * CPU for 300 us in the middle. KP_TXNS=10000 makes it as large as the documented goal.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "world.h"

#define US(n) ((kp_dur)(n)*KP_US)
#define MS(n) ((kp_dur)(n)*KP_MS)

static struct world world;
static uint32_t txns = 200;
static kp_actor_id idle, handler, server, batch, cron;

static void put_span(uint32_t i, kp_time from, kp_time to, bool root)
{
    char trace[40], id[20], parent[20], txn[16];
    snprintf(trace, sizeof(trace), "%032x", i + 1);
    snprintf(id, sizeof(id), "%016x", root ? 1 : 2);
    snprintf(parent, sizeof(parent), "%s", root ? "" : "0000000000000001");
    snprintf(txn, sizeof(txn), "%u", 1000 + i);
    struct world_span span = {.from = from,
                              .to = to,
                              .thread = root ? handler : server,
                              .trace = trace,
                              .id = id,
                              .parent = parent,
                              .txn = root ? txn : "",
                              .service = root ? "pay" : "ledger",
                              .name = root ? "POST /pay" : "write",
                              .status_msg = "",
                              .status = 1,
                              .kind = root ? 2 : 2};
    world_span(&world, &span);
}

static void one_txn(uint32_t i)
{
    kp_time t = MS(i), end = t + (i % 2 == 1 ? US(450) : US(150));
    if (i % 2 == 1)
        world_wake(&world, t + US(1), 2, cron, batch, 1);
    world_switch(&world, t, 0, idle, R, handler);
    world_wake(&world, t + US(50), 0, handler, server, 1);
    world_switch(&world, t + US(50), 1, idle, R, server);
    world_switch(&world, t + US(51), 0, handler, S, idle);
    if (i % 2 == 1) {
        world_switch(&world, t + US(80), 1, server, RP, batch);
        world_switch(&world, t + US(380), 1, batch, S, server);
    }
    world_wake(&world, end - US(1), 1, server, handler, 0);
    world_switch(&world, end, 0, idle, R, handler);
    world_switch(&world, end + US(1), 1, server, S, idle);
    world_switch(&world, end + US(40), 0, handler, S, idle);
    put_span(i, t, end + US(40), true);
    put_span(i, t + US(50), end, false);
}

static int setup(void **state)
{
    (void)state;
    if (getenv("KP_TXNS") != NULL)
        txns = (uint32_t)strtoul(getenv("KP_TXNS"), NULL, 10);
    world_open(&world);
    idle = world_idle(&world);
    handler = world_thread(&world, 100, 101, "handler-1");
    server = world_thread(&world, 200, 201, "server-3");
    batch = world_thread(&world, 300, 300, "batch");
    cron = world_thread(&world, 400, 400, "cron");
    world_switch(&world, -US(20), 0, handler, S, idle);
    world_switch(&world, -US(20), 1, server, S, idle);
    world_switch(&world, -US(20), 2, idle, R, cron);
    for (uint32_t i = 0; i < txns; i++)
        one_txn(i);
    world_commit(&world);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_close(&world);
    return 0;
}

static void open_answer(struct answer *out)
{
    memset(out, 0, sizeof(*out));
    kp_arena_init(&out->arena, (size_t)1 << 30);
}

static void take(struct answer *out, kp_status status, struct kp_rows *rows,
                 const struct kp_schema *schema)
{
    out->status = status;
    if (status != KP_OK)
        fail_msg("%s", out->err.text);
    answer_take(out, rows, schema);
}

static kp_dur sum_of(const struct answer *answer, const char *column)
{
    kp_dur sum = 0;
    for (uint32_t i = 0; i < answer->count; i++)
        sum += cell_i64(answer, i, column);
    return sum;
}

static int row_of(const struct answer *answer, const char *kind)
{
    for (uint32_t i = 0; i < answer->count; i++)
        if (strcmp(cell_str(answer, i, "kind"), kind) == 0)
            return (int)i;
    return -1;
}

/* ---------- one transaction ---------- */

static void parts_partition_and_keep_rank(void **state)
{
    (void)state;
    struct kp_causes_req req = world_req("1001");
    struct answer whole, parts;
    req.baseline_none = true;
    world_causes_req(&world, &req, &whole);
    req.parts = true;
    world_causes_req(&world, &req, &parts);
    assert_int_equal(whole.status, KP_OK);
    assert_int_equal(parts.status, KP_OK);
    answer_check(&whole, US(490));
    assert_int_equal(answer_sum(&parts, NULL), US(490));
    kp_time at = world.zero + MS(1);
    for (uint32_t i = 0; i < parts.count; i++) {
        int64_t rank = cell_i64(&parts, i, "rank");
        assert_int_equal(cell_i64(&parts, i, "start"), at);
        assert_string_equal(cell_str(&parts, i, "kind"),
                            cell_str(&whole, (uint32_t)rank - 1, "kind"));
        at += cell_i64(&parts, i, "dur");
    }
    assert_int_equal(at, world.zero + MS(1) + US(490));
    answer_deinit(&whole);
    answer_deinit(&parts);
}

static void depth_says_why_the_occupant_ran(void **state)
{
    (void)state;
    struct kp_causes_req req = world_req("1001");
    struct answer flat, deep;
    req.baseline_none = true;
    world_causes_req(&world, &req, &flat);
    req.depth = 3;
    world_causes_req(&world, &req, &deep);
    int at = row_of(&deep, "runnable.preempted");
    assert_true(at >= 0);
    assert_non_null(
        strstr(cell_str(&deep, (uint32_t)at, "note"), "batch(300) was woken by cron(400)"));
    assert_null(strstr(cell_str(&flat, (uint32_t)at, "note"), "cron"));
    assert_int_equal(answer_sum(&deep, NULL), answer_sum(&flat, NULL));
    answer_deinit(&flat);
    answer_deinit(&deep);
}

static void a_thread_sums_to_its_window(void **state)
{
    (void)state;
    struct kp_causes_req req = world_req("");
    struct answer answer;
    req.root = KP_ROOT_THREAD;
    req.number = 201;
    req.from = world.zero + MS(1);
    req.to = world.zero + MS(3);
    world_causes_req(&world, &req, &answer);
    assert_int_equal(answer.status, KP_OK);
    assert_int_equal(answer_sum(&answer, NULL), MS(2));
    assert_int_equal(answer_sum(&answer, "runnable.preempted"), US(300));
    answer_deinit(&answer);
    req.number = 9999;
    world_causes_req(&world, &req, &answer);
    assert_int_equal(answer.status, KP_NOT_FOUND);
    assert_non_null(strstr(answer.err.text, "no such thread 9999: searched"));
    answer_deinit(&answer);
}

static void a_chain_ends_at_the_occupant(void **state)
{
    (void)state;
    struct kp_causes_req req = world_req("1001");
    struct kp_rows *rows = NULL;
    struct answer answer;
    open_answer(&answer);
    kp_status status = kp_chain_open(world.snapshot, &req, world.zero + MS(1) + US(200),
                                     &answer.arena, &rows, &answer.err);
    take(&answer, status, rows, kp_chain_schema());
    assert_int_equal(answer.count, 2);
    assert_string_equal(cell_str(&answer, 0, "comm"), "handler-1");
    assert_string_equal(cell_str(&answer, 0, "state"), "blocked");
    assert_string_equal(cell_str(&answer, 0, "kind"), "");
    assert_string_equal(cell_str(&answer, 1, "comm"), "server-3");
    assert_string_equal(cell_str(&answer, 1, "edge"), "wake");
    assert_string_equal(cell_str(&answer, 1, "kind"), "runnable.preempted");
    assert_string_equal(cell_str(&answer, 1, "culprit_comm"), "batch");
    assert_int_equal(cell_i64(&answer, 1, "start"), world.zero + MS(1) + US(80));
    assert_int_equal(cell_i64(&answer, 1, "dur"), US(300));
    answer_deinit(&answer);
}

static void blockers_sum_to_the_wall(void **state)
{
    (void)state;
    struct kp_causes_req req = world_req("1001");
    struct kp_rows *rows = NULL;
    struct answer answer;
    open_answer(&answer);
    req.baseline_none = true;
    kp_status status = kp_blockers_open(world.snapshot, &req, &answer.arena, &rows, &answer.err);
    take(&answer, status, rows, kp_blockers_schema());
    assert_int_equal(sum_of(&answer, "dur"), US(490));
    assert_string_equal(cell_str(&answer, 0, "who"), "batch(300)");
    assert_string_equal(cell_str(&answer, 0, "blocker"), "thread");
    assert_int_equal(cell_i64(&answer, 0, "dur"), US(300));
    answer_deinit(&answer);
}

static void diff_tells_what_only_one_has(void **state)
{
    (void)state;
    struct kp_causes_req a = world_req("1001"), b = world_req("1002");
    struct kp_rows *rows = NULL;
    struct answer answer;
    open_answer(&answer);
    a.baseline_none = b.baseline_none = true;
    kp_status status = kp_diff_open(world.snapshot, &a, &b, &answer.arena, &rows, &answer.err);
    take(&answer, status, rows, kp_diff_schema());
    assert_string_equal(cell_str(&answer, 0, "kind"), "runnable.preempted");
    assert_string_equal(cell_str(&answer, 0, "only"), "a");
    assert_string_equal(cell_str(&answer, 0, "span_path"), "pay:POST /pay > ledger:write");
    assert_int_equal(cell_i64(&answer, 0, "delta"), US(300));
    assert_int_equal(sum_of(&answer, "dur_a"), US(490));
    assert_int_equal(sum_of(&answer, "dur_b"), US(190));
    assert_int_equal(sum_of(&answer, "delta"), US(300));
    answer_deinit(&answer);
}

/* A kernel worker ends the wait: for whom it worked is not recorded, so the edge to it is weak. */
static void strong_edges_end_at_the_weak_one(void **state)
{
    (void)state;
    struct world w;
    struct answer all, strong;
    world_open(&w);
    kp_actor_id cpu_idle = world_idle(&w), pay = world_thread(&w, 10, 10, "pay");
    kp_actor_id worker = world_thread_in(&w, 20, 20, "kworker/1:0", 0, "", true);
    struct world_span span = {.from = 0,
                              .to = US(400),
                              .thread = pay,
                              .trace = "aa",
                              .id = "01",
                              .parent = "",
                              .txn = "1",
                              .service = "pay",
                              .name = "POST",
                              .status_msg = "",
                              .kind = 2};
    world_switch(&w, -US(10), 0, cpu_idle, R, pay);
    world_switch(&w, US(90), 1, cpu_idle, R, worker);
    world_switch(&w, US(100), 0, pay, D, cpu_idle);
    world_wake(&w, US(299), 1, worker, pay, 0);
    world_switch(&w, US(300), 0, cpu_idle, R, pay);
    world_switch(&w, US(410), 0, pay, S, cpu_idle);
    world_switch(&w, US(420), 1, worker, S, cpu_idle);
    world_span(&w, &span);
    world_commit(&w);
    struct kp_causes_req req = world_req("1");
    world_causes_req(&w, &req, &all);
    req.strong = true;
    world_causes_req(&w, &req, &strong);
    assert_int_equal(all.status, KP_OK);
    assert_int_equal(answer_sum(&all, NULL), US(400));
    assert_int_equal(answer_sum(&strong, NULL), US(400));
    int at = row_of(&all, "running");
    assert_true(at >= 0);
    assert_int_equal(answer_sum(&all, "running"), US(399)); /* 199 us of it the worker's */
    assert_int_equal(answer_sum(&strong, "running"), US(200));
    assert_int_equal(answer_sum(&strong, "unknown(weak-edge)"), US(199));
    at = row_of(&strong, "unknown(weak-edge)");
    assert_string_equal(cell_str(&strong, (uint32_t)at, "comm"), "pay");
    assert_string_equal(cell_str(&strong, (uint32_t)at, "stop"), "weak");
    answer_deinit(&all);
    answer_deinit(&strong);
    world_close(&w);
}

/* ---------- many transactions ---------- */

static void effects_count_each_transaction_once(void **state)
{
    (void)state;
    struct kp_causes_req req = world_req("");
    struct kp_rows *rows = NULL;
    struct answer answer;
    open_answer(&answer);
    req.root = KP_ROOT_PROCESS;
    req.number = 300;
    req.from = world.zero;
    req.to = world.zero + MS(100);
    req.within = 0;
    kp_status status = kp_effects_open(world.snapshot, &req, &answer.arena, &rows, &answer.err);
    take(&answer, status, rows, kp_effects_schema());
    assert_int_equal(answer.count, 50);
    assert_int_equal(sum_of(&answer, "dur"), 50 * US(300));
    assert_int_equal(sum_of(&answer, "own"), 0);
    for (uint32_t i = 0; i < answer.count; i++) {
        char txn[16];
        snprintf(txn, sizeof(txn), "%u", 1001 + 2 * i);
        assert_string_equal(cell_str(&answer, i, "txn"), txn);
        assert_int_equal(cell_i64(&answer, i, "wall"), US(490));
    }
    answer_deinit(&answer);
}

static void make_set(struct kp_txn_set *set, uint32_t first)
{
    struct kp_str *ids = test_malloc((txns + 1) * sizeof(*ids));
    *set = (struct kp_txn_set){ids, 0, world.zero, world.zero + MS(txns + 1)};
    for (uint32_t i = first; i < txns; i += 2) {
        char *text = test_malloc(16);
        snprintf(text, 16, "%u", 1000 + i);
        ids[set->count++] = kp_str_from(text);
    }
}

static void free_set(struct kp_txn_set *set)
{
    for (uint32_t i = 0; i < set->count; i++)
        test_free((void *)(uintptr_t)set->ids[i].ptr);
    test_free((void *)(uintptr_t)set->ids);
}

/* One transaction, preempted for 10 ms, in which a CPU's events are missing for as long. */
static void gaps_are_told_by_verbs_over_many(void **state)
{
    struct world w;
    struct answer answer;
    struct kp_rows *rows = NULL;
    struct kp_str id = KP_STR("77");
    (void)state;
    world_open(&w);
    kp_actor_id nobody = world_idle(&w), pay = world_thread(&w, 100, 100, "pay");
    kp_actor_id job = world_thread(&w, 300, 300, "batch");
    world_switch(&w, -MS(1), 0, nobody, R, pay);
    world_switch(&w, MS(50), 0, pay, RP, job);
    world_switch(&w, MS(60), 0, job, S, pay);
    world_gap(&w, MS(30), MS(40), 0);
    world_span(&w, &(struct world_span){.from = 0,
                                        .to = MS(100),
                                        .thread = pay,
                                        .trace = "t",
                                        .id = "a",
                                        .parent = "",
                                        .txn = "77",
                                        .service = "s",
                                        .name = "n",
                                        .kind = 2});
    world_commit(&w);
    const struct kp_txn_set set = {&id, 1, w.zero, w.zero + MS(200)};
    open_answer(&answer);
    kp_status status = kp_culprits_open(w.snapshot, &set, NULL, &answer.arena, &rows, &answer.err);
    take(&answer, status, rows, kp_culprits_schema());
    assert_true(answer_noted(&answer, "gaps: in 1 of A events may be missing"));
    answer_deinit(&answer);
    open_answer(&answer);
    struct kp_causes_req req = world_req("77");
    status = kp_diff_open(w.snapshot, &req, &req, &answer.arena, &rows, &answer.err);
    take(&answer, status, rows, kp_diff_schema());
    assert_true(answer_noted(&answer, "gaps: in 10000000 ns of b events may be missing"));
    answer_deinit(&answer);
    open_answer(&answer);
    req = world_req("");
    req.root = KP_ROOT_PROCESS;
    req.number = 300;
    req.from = w.zero;
    req.to = w.zero + MS(100);
    status = kp_effects_open(w.snapshot, &req, &answer.arena, &rows, &answer.err);
    take(&answer, status, rows, kp_effects_schema());
    assert_int_equal(sum_of(&answer, "dur"), MS(10));
    assert_true(answer_noted(&answer, "gaps: in 1 of them events may be missing"));
    answer_deinit(&answer);
    world_close(&w);
}

static void culprits_take_the_usual_off(void **state)
{
    (void)state;
    struct kp_txn_set slow, normal;
    struct kp_rows *rows = NULL;
    struct answer answer;
    make_set(&slow, 1);
    make_set(&normal, 0);
    open_answer(&answer);
    int64_t began = kp_time_monotonic();
    kp_status status =
        kp_culprits_open(world.snapshot, &slow, &normal, &answer.arena, &rows, &answer.err);
    print_message("CULPRITS over %u transactions: %lld us\n", txns,
                  (long long)((kp_time_monotonic() - began) / 1000));
    take(&answer, status, rows, kp_culprits_schema());
    assert_string_equal(cell_str(&answer, 0, "kind"), "runnable.preempted");
    assert_string_equal(cell_str(&answer, 0, "comm"), "server");
    assert_string_equal(cell_str(&answer, 0, "culprit_comm"), "batch");
    assert_int_equal(cell_i64(&answer, 0, "diff"), US(300));
    assert_int_equal(cell_i64(&answer, 0, "diff_low"), US(300));
    assert_int_equal(cell_i64(&answer, 0, "diff_high"), US(300));
    assert_int_equal(cell_i64(&answer, 0, "txns_a"), slow.count);
    assert_int_equal(cell_i64(&answer, 0, "txns_b"), 0);
    assert_int_equal(sum_of(&answer, "total_a"), slow.count * US(490));
    assert_int_equal(sum_of(&answer, "total_b"), normal.count * US(190));
    assert_int_equal(sum_of(&answer, "diff"), US(300));
    answer_deinit(&answer);
    free_set(&slow);
    free_set(&normal);
}

/* Half of the set is preempted: the interval of the mean lies around it, and stays the same. */
static void culprits_bound_their_doubt(void **state)
{
    (void)state;
    struct kp_txn_set all = {NULL, 0, world.zero, world.zero + MS(txns + 1)}, odd, even;
    struct kp_rows *rows = NULL;
    struct answer answer;
    kp_dur low = 0, high = 0;
    make_set(&odd, 1);
    make_set(&even, 0);
    struct kp_str *ids = test_malloc(2 * txns * sizeof(*ids));
    memcpy(ids, odd.ids, odd.count * sizeof(*ids));
    memcpy(ids + odd.count, even.ids, even.count * sizeof(*ids));
    memcpy(ids + txns, ids, txns * sizeof(*ids)); /* repeats count once */
    all.ids = ids;
    all.count = 2 * txns;
    for (int run = 0; run < 2; run++) {
        open_answer(&answer);
        kp_status status =
            kp_culprits_open(world.snapshot, &all, NULL, &answer.arena, &rows, &answer.err);
        take(&answer, status, rows, kp_culprits_schema());
        int at = row_of(&answer, "runnable.preempted");
        assert_true(at >= 0);
        assert_int_equal(cell_i64(&answer, (uint32_t)at, "diff"), US(150));
        assert_true(cell_null(&answer, (uint32_t)at, "mean_b"));
        assert_true(run == 0 || low == cell_i64(&answer, (uint32_t)at, "diff_low"));
        assert_true(run == 0 || high == cell_i64(&answer, (uint32_t)at, "diff_high"));
        low = cell_i64(&answer, (uint32_t)at, "diff_low");
        high = cell_i64(&answer, (uint32_t)at, "diff_high");
        answer_deinit(&answer);
    }
    /* 200 fair coins: the mean is within +- 2 standard errors of 10.6 us */
    assert_true(low < US(150) && high > US(150));
    assert_true(txns != 200 || (low > US(150) - US(32) && high < US(150) + US(32)));
    assert_true(txns != 200 || (low < US(150) - US(14) && high > US(150) + US(14)));
    test_free(ids);
    free_set(&odd);
    free_set(&even);
}

/* The walk of many over one world says the same as CAUSES does for each of them. */
static void a_set_of_one_is_its_causes(void **state)
{
    (void)state;
    struct kp_str id = KP_STR("1007");
    struct kp_txn_set set = {&id, 1, KP_TIME_MIN, KP_TIME_MAX};
    struct kp_rows *rows = NULL;
    struct answer answer, causes;
    open_answer(&answer);
    kp_status status =
        kp_culprits_open(world.snapshot, &set, NULL, &answer.arena, &rows, &answer.err);
    take(&answer, status, rows, kp_culprits_schema());
    world_causes(&world, "1007", &causes);
    for (uint32_t i = 0; i < answer.count; i++) {
        kp_dur sum = 0;
        for (uint32_t c = 0; c < causes.count; c++)
            if (strcmp(cell_str(&causes, c, "kind"), cell_str(&answer, i, "kind")) == 0 &&
                strncmp(cell_str(&causes, c, "comm"), cell_str(&answer, i, "comm"),
                        strlen(cell_str(&answer, i, "comm"))) == 0)
                sum += cell_i64(&causes, c, "dur");
        assert_int_equal(sum, cell_i64(&answer, i, "total_a"));
    }
    assert_int_equal(sum_of(&answer, "total_a"), answer_sum(&causes, NULL));
    answer_deinit(&answer);
    answer_deinit(&causes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_partition_and_keep_rank),
        cmocka_unit_test(depth_says_why_the_occupant_ran),
        cmocka_unit_test(a_thread_sums_to_its_window),
        cmocka_unit_test(a_chain_ends_at_the_occupant),
        cmocka_unit_test(blockers_sum_to_the_wall),
        cmocka_unit_test(diff_tells_what_only_one_has),
        cmocka_unit_test(strong_edges_end_at_the_weak_one),
        cmocka_unit_test(effects_count_each_transaction_once),
        cmocka_unit_test(gaps_are_told_by_verbs_over_many),
        cmocka_unit_test(culprits_take_the_usual_off),
        cmocka_unit_test(culprits_bound_their_doubt),
        cmocka_unit_test(a_set_of_one_is_its_causes),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
