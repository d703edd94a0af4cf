/* SPDX-License-Identifier: Apache-2.0
 *
 * Which transaction an id means, and what is said when it is none or several.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "base/assert.h"
#include "world.h"

#define MS KP_MS

struct stage {
    struct world w;
    kp_actor_id pay;
    struct answer answer;
};

static int setup(void **state)
{
    static struct stage stage;
    memset(&stage, 0, sizeof(stage));
    world_open(&stage.w);
    stage.pay = world_thread(&stage.w, 100, 100, "pay");
    *state = &stage;
    return 0;
}

static int teardown(void **state)
{
    struct stage *stage = *state;
    answer_deinit(&stage->answer);
    world_close(&stage->w);
    return 0;
}

static void span(struct stage *s, const char *trace, const char *id, const char *parent,
                 const char *txn, kp_time from, kp_time to)
{
    world_span(&s->w, &(struct world_span){.from = from,
                                           .to = to,
                                           .thread = s->pay,
                                           .trace = trace,
                                           .id = id,
                                           .parent = parent,
                                           .txn = txn,
                                           .service = "pay",
                                           .name = id});
}

static void ask(struct stage *s, const struct kp_causes_req *req)
{
    answer_deinit(&s->answer);
    world_commit(&s->w);
    world_causes_req(&s->w, req, &s->answer);
}

static void unknown_id(void **state)
{
    struct stage *s = *state;
    span(s, "t1", "a", "", "98720", 0, 10 * MS);
    span(s, "t2", "b", "", "98700", 20 * MS, 30 * MS);
    span(s, "t3", "c", "", "order-7", 40 * MS, 50 * MS);
    struct kp_causes_req req = world_req("98721");
    ask(s, &req);
    assert_int_equal(s->answer.status, KP_NOT_FOUND);
    assert_non_null(strstr(s->answer.err.text, "no such txn 98721"));
    assert_non_null(strstr(s->answer.err.text, "searched 2023-11-14T22:13:20"));
    assert_non_null(strstr(s->answer.err.text, "hosts web1"));
    assert_non_null(strstr(s->answer.err.hint, "nearest ids: 98720, 98700"));
}

static void empty_store(void **state)
{
    struct stage *s = *state;
    struct kp_causes_req req = world_req("98721");
    ask(s, &req);
    assert_int_equal(s->answer.status, KP_NOT_FOUND);
    assert_non_null(strstr(s->answer.err.text, "the store is empty"));
}

static void same_id_twice(void **state)
{
    struct stage *s = *state;
    span(s, "t1", "a", "", "98721", 0, 10 * MS);
    span(s, "t2", "b", "", "98721", 20 * MS, 50 * MS);
    struct kp_causes_req req = world_req("98721");
    ask(s, &req);
    assert_int_equal(s->answer.status, KP_INVALID);
    assert_non_null(strstr(s->answer.err.text, "means 2 transactions"));
    assert_non_null(strstr(s->answer.err.hint, "#1 2023-11-14T22:13:20.000000000Z a 10.000 ms"));
    assert_non_null(strstr(s->answer.err.hint, "#2"));
    req.pick = 2;
    ask(s, &req);
    answer_check(&s->answer, 30 * MS);
    req.pick = 3;
    ask(s, &req);
    assert_int_equal(s->answer.status, KP_NOT_FOUND);
    req.pick = 0;
    req.at = WORLD_ZERO + 5 * MS;
    ask(s, &req);
    answer_check(&s->answer, 10 * MS);
    req.at = WORLD_ZERO + 15 * MS;
    ask(s, &req);
    assert_int_equal(s->answer.status, KP_NOT_FOUND);
}

static void two_roots_in_one_trace(void **state)
{
    struct stage *s = *state;
    span(s, "t1", "a", "", "98721", 0, 10 * MS);
    span(s, "t1", "b", "", "98721", 20 * MS, 50 * MS);
    struct kp_causes_req req = world_req("98721");
    ask(s, &req);
    assert_int_equal(s->answer.status, KP_INVALID);
}

static void root_above_the_span_with_the_id(void **state)
{
    struct stage *s = *state;
    span(s, "t1", "a", "", "", 0, 40 * MS);
    span(s, "t1", "b", "a", "98721", 10 * MS, 30 * MS);
    struct kp_causes_req req = world_req("98721");
    ask(s, &req);
    answer_check(&s->answer, 40 * MS);
}

static void batch_trace_is_cut_at_each_id(void **state)
{
    struct stage *s = *state;
    span(s, "t1", "a", "", "", 0, 90 * MS);
    span(s, "t1", "b", "a", "98721", 10 * MS, 30 * MS);
    span(s, "t1", "b2", "b", "98721", 12 * MS, 20 * MS);
    span(s, "t1", "c", "a", "98722", 40 * MS, 80 * MS);
    struct kp_causes_req req = world_req("98721");
    ask(s, &req);
    answer_check(&s->answer, 20 * MS);
    req = world_req("98722");
    ask(s, &req);
    answer_check(&s->answer, 40 * MS);
}

static void lost_parent_is_noted(void **state)
{
    struct stage *s = *state;
    span(s, "t1", "a", "", "98721", 0, 40 * MS);
    span(s, "t1", "b", "gone", "98721", 10 * MS, 30 * MS);
    struct kp_causes_req req = world_req("98721");
    ask(s, &req);
    answer_check(&s->answer, 40 * MS);
    assert_true(answer_noted(&s->answer, "1 spans of the trace lack their parent"));
}

static void repeated_export_counts_once(void **state)
{
    struct stage *s = *state;
    span(s, "t1", "a", "", "98721", 0, 40 * MS);
    span(s, "t1", "a", "", "98721", 0, 40 * MS);
    struct kp_causes_req req = world_req("98721");
    ask(s, &req);
    answer_check(&s->answer, 40 * MS);
}

static void zero_length(void **state)
{
    struct stage *s = *state;
    span(s, "t1", "a", "", "98721", 5 * MS, 5 * MS);
    struct kp_causes_req req = world_req("98721");
    ask(s, &req);
    assert_int_equal(s->answer.status, KP_OK);
    assert_int_equal(s->answer.count, 0);
    assert_true(answer_noted(&s->answer, "(0 ns)"));
}

static void parents_in_a_loop(void **state)
{
    struct stage *s = *state;
    span(s, "t1", "a", "b", "98721", 0, 40 * MS);
    span(s, "t1", "b", "a", "98721", 0, 40 * MS);
    struct kp_causes_req req = world_req("98721");
    ask(s, &req);
    assert_int_equal(s->answer.status, KP_INVALID);
    assert_non_null(strstr(s->answer.err.text, "no root"));
}

static void table_has_one_row_each(void **state)
{
    struct stage *s = *state;
    struct kp_rows *rows;
    span(s, "t1", "a", "", "1", 0, 40 * MS);
    span(s, "t1", "b", "a", "1", 10 * MS, 20 * MS);
    span(s, "t2", "c", "", "2", 5 * MS, 30 * MS);
    span(s, "t3", "d", "", "", 5 * MS, 30 * MS);
    span(s, "t4", "e", "", "3", 500 * MS, 600 * MS);
    world_commit(&s->w);
    kp_arena_init(&s->answer.arena, 0);
    assert_int_equal(kp_txn_open(s->w.snapshot, WORLD_ZERO, WORLD_ZERO + 100 * MS, &s->answer.arena,
                                 &rows, NULL),
                     KP_OK);
    answer_take(&s->answer, rows, kp_txn_schema());
    assert_int_equal(s->answer.count, 2);
    assert_string_equal(cell_str(&s->answer, 0, "txn"), "1");
    assert_int_equal(cell_i64(&s->answer, 0, "dur"), 40 * MS);
    assert_int_equal(cell_i64(&s->answer, 0, "spans_count"), 2);
    assert_int_equal(cell_i64(&s->answer, 0, "ts"), WORLD_ZERO + 40 * MS);
    assert_string_equal(cell_str(&s->answer, 1, "txn"), "2");
    assert_string_equal(cell_str(&s->answer, 1, "name"), "c");
    assert_int_equal(cell_i64(&s->answer, 1, "pid"), 100);
}

/* The wall clock runs 7 ms ahead of the kernel's stamps. */
static void spans_are_moved_onto_the_kernels_clock(void **state)
{
    struct stage *s = *state;
    kp_actor_id idle = world_idle(&s->w);
    world_clock(&s->w, -1000 * MS, 7 * MS, 250, 0);
    world_clock(&s->w, 1000 * MS, 7 * MS, 300, 0);
    world_switch(&s->w, -10 * MS, 0, idle, R, s->pay);
    world_switch(&s->w, 20 * MS, 0, s->pay, RP, idle);
    world_switch(&s->w, 30 * MS, 0, idle, R, s->pay);
    span(s, "t1", "a", "", "98721", 7 * MS, 32 * MS); /* 0..25 ms of the kernel */
    struct kp_causes_req req = world_req("98721");
    ask(s, &req);
    answer_check(&s->answer, 25 * MS);
    assert_int_equal(answer_sum(&s->answer, "idle_exit"), 5 * MS);
    assert_int_equal(cell_i64(&s->answer, 0, "start"), WORLD_ZERO);
    assert_int_equal(cell_i64(&s->answer, 0, "skew_ns"), 300);
    assert_true(answer_noted(&s->answer, "+-300 ns"));
}

/* The machine boots again between two anchors: nothing is interpolated, the nearer one counts. */
static void anchors_of_two_boots_are_not_mixed(void **state)
{
    struct stage *s = *state;
    kp_actor_id idle = world_idle(&s->w);
    s->w.boot = "one";
    world_clock(&s->w, -1000 * MS, 7 * MS, 250, 0);
    s->w.boot = "two";
    world_clock(&s->w, 5000 * MS, 907 * MS, 300, 0);
    s->w.boot = NULL;
    world_switch(&s->w, -10 * MS, 0, idle, R, s->pay);
    world_switch(&s->w, 30 * MS, 0, s->pay, RP, idle);
    span(s, "t1", "a", "", "98721", 7 * MS, 32 * MS);
    struct kp_causes_req req = world_req("98721");
    ask(s, &req);
    answer_check(&s->answer, 25 * MS);
    assert_int_equal(cell_i64(&s->answer, 0, "start"), WORLD_ZERO);
    assert_int_equal(cell_i64(&s->answer, 0, "skew_ns"), 250);
}

int main(void)
{
#define T_(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T_(unknown_id),
        T_(empty_store),
        T_(same_id_twice),
        T_(two_roots_in_one_trace),
        T_(root_above_the_span_with_the_id),
        T_(batch_trace_is_cut_at_each_id),
        T_(lost_parent_is_noted),
        T_(repeated_export_counts_once),
        T_(zero_length),
        T_(parents_in_a_loop),
        T_(table_has_one_row_each),
        T_(spans_are_moved_onto_the_kernels_clock),
        T_(anchors_of_two_boots_are_not_mixed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
