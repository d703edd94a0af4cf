/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads whose switches leave no rows: who had the CPU between a switch to such a thread and the
 * next row, seen by a thread that waited for that CPU and by the one that came unseen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "asked.h"
#include "base/assert.h"
#include "world.h"

#define MS KP_MS

struct stage {
    struct world w;
    kp_actor_id idle, pay, batch, hid;
    struct answer answer;
};

/* Both CPUs are known from before the transaction on; pay runs on CPU 0 from -1 ms, batch waits for
 * that CPU from 10 ms on. */
static int setup(void **state)
{
    static struct stage stage;
    memset(&stage, 0, sizeof(stage));
    world_open(&stage.w);
    stage.idle = world_idle(&stage.w);
    stage.pay = world_thread(&stage.w, 100, 100, "pay");
    stage.batch = world_thread(&stage.w, 200, 200, "batch");
    stage.hid = world_thread(&stage.w, 1, 7, "hid");
    world_switch(&stage.w, -60 * MS, 0, stage.batch, S, stage.idle);
    world_switch(&stage.w, -50 * MS, 1, stage.hid, S, stage.idle);
    world_payment(&stage.w, stage.idle, stage.pay, 100 * MS);
    world_wake(&stage.w, 10 * MS, 1, stage.idle, stage.batch, 0);
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

static void ask(struct stage *stage)
{
    struct kp_causes_req req = world_req("98721");
    req.parts = true;
    world_commit(&stage->w);
    world_causes_req(&stage->w, &req, &stage->answer);
    assert_int_equal(stage->answer.status, KP_OK);
    assert_int_equal(answer_sum(&stage->answer, NULL), 100 * MS);
}

/* One stretch of the answer: until when, what, by whom (pid; 0 = nobody), how sure. */
struct part {
    int64_t until_ms;
    const char *kind;
    int64_t culprit;
    const char *strength;
};

static void expect(struct stage *stage, const struct part *parts, uint32_t count)
{
    ask(stage);
    int64_t from = 0;
    if (stage->answer.count != count)
        fail_msg("not %u parts:\n%s", count, answer_text(&stage->w, &stage->answer));
    for (uint32_t i = 0; i < count; from = parts[i++].until_ms) {
        const struct answer *answer = &stage->answer;
        assert_int_equal(cell_i64(answer, i, "start"), WORLD_ZERO + from * MS);
        assert_int_equal(cell_i64(answer, i, "dur"), (parts[i].until_ms - from) * MS);
        assert_string_equal(cell_str(answer, i, "kind"), parts[i].kind);
        assert_string_equal(cell_str(answer, i, "strength"), parts[i].strength);
        if (parts[i].culprit == 0)
            assert_true(cell_null(answer, i, "culprit_pid"));
        else
            assert_int_equal(cell_i64(answer, i, "culprit_pid"), parts[i].culprit);
    }
}
#define EXPECT(stage, ...)                            \
    expect(stage, (const struct part[]){__VA_ARGS__}, \
           KP_ARRAY_LEN(((const struct part[]){__VA_ARGS__})))

/* Nothing tells when batch took over from the hidden thread: it had the CPU, weakly. */
static void who_leaves_had_the_cpu(void **state)
{
    struct stage *stage = *state;
    world_switch(&stage->w, 20 * MS, 0, stage->pay, RP, stage->hid);
    world_switch(&stage->w, 60 * MS, 0, stage->batch, S, stage->pay);
    world_gap_hidden(&stage->w, 20 * MS, 60 * MS, 0);
    EXPECT(stage, {20, "running", 100, "strong"}, {60, "runnable.queued", 200, "weak"},
           {100, "running", 100, "strong"});
    assert_non_null(strstr(cell_str(&stage->answer, 1, "note"), "hidden threads"));
    assert_non_null(strstr(cell_str(&stage->answer, 1, "note"), "cpu 0"));
}

/* Its first own row ends the gap: from there on there is no doubt. */
static void from_its_first_row_on_it_is_sure(void **state)
{
    struct stage *stage = *state;
    world_switch(&stage->w, 20 * MS, 0, stage->pay, RP, stage->hid);
    world_gap_hidden(&stage->w, 20 * MS, 30 * MS, 0);
    world_switch(&stage->w, 60 * MS, 0, stage->batch, S, stage->pay);
    EXPECT(stage, {20, "running", 100, "strong"}, {30, "runnable.queued", 200, "weak"},
           {60, "runnable.queued", 200, "strong"}, {100, "running", 100, "strong"});
    assert_null(strstr(cell_str(&stage->answer, 2, "note"), "hidden"));
}

static void expect_table(struct stage *stage, const char *question, const char *rows)
{
    const struct kp_query_opts opts = {.threads = 1};
    struct kp_error err = {0};
    struct kp_buf text = {0};
    if (asked_text(stage->w.snapshot, question, &opts, &text, NULL, &err) != KP_END)
        fail_msg("%s", err.text);
    assert_string_equal(kp_buf_cstr(&text), rows);
    kp_buf_deinit(&text);
}

static void tables_say_the_same(void **state)
{
    struct stage *stage = *state;
    world_switch(&stage->w, 20 * MS, 0, stage->pay, RP, stage->hid);
    world_gap_hidden(&stage->w, 20 * MS, 30 * MS, 0);
    world_switch(&stage->w, 60 * MS, 0, stage->batch, S, stage->pay);
    world_commit(&stage->w);
    expect_table(stage, "cpu_state | where tid == 200 and state == 'busy' | project dur",
                 "10000000 \n30000000 \n");
    expect_table(stage,
                 "thread_state | where tid == 200 and state in ('runnable', 'running') "
                 "| project dur, state, note",
                 "10000000 runnable\n10000000 runninglost\n30000000 running\n");
}

/* What it did before, on another CPU, was seen: it cannot have come before that ended. */
static void moved_into_the_stretch(void **state)
{
    struct stage *stage = *state;
    world_switch(&stage->w, 12 * MS, 1, stage->idle, R, stage->batch);
    world_switch(&stage->w, 20 * MS, 0, stage->pay, RP, stage->hid);
    world_switch(&stage->w, 35 * MS, 1, stage->batch, RP, stage->idle);
    world_gap_hidden(&stage->w, 20 * MS, 50 * MS, 0);
    world_switch(&stage->w, 60 * MS, 0, stage->batch, S, stage->pay);
    EXPECT(stage, {20, "running", 100, "strong"}, {35, "unknown(lost)", 0, "-"},
           {50, "runnable.queued", 200, "weak"}, {60, "runnable.queued", 200, "strong"},
           {100, "running", 100, "strong"});
}

/* It leaves the stretch for another CPU: there it is seen coming, and pay follows it. */
static void moved_out_of_the_stretch(void **state)
{
    struct stage *stage = *state;
    kp_actor_id other = world_thread(&stage->w, 300, 300, "other");
    world_switch(&stage->w, 15 * MS, 1, stage->idle, R, other);
    world_switch(&stage->w, 20 * MS, 0, stage->pay, RP, stage->hid);
    world_gap_hidden(&stage->w, 20 * MS, 25 * MS, 0);
    world_switch(&stage->w, 40 * MS, 0, stage->batch, RP, stage->idle);
    world_move(&stage->w, 40 * MS, stage->pay, 0, 1);
    world_move(&stage->w, 40 * MS, stage->batch, 0, 1);
    world_switch(&stage->w, 40 * MS, 1, other, S, stage->batch);
    world_switch(&stage->w, 60 * MS, 1, stage->batch, S, stage->pay);
    EXPECT(stage, {20, "running", 100, "strong"}, {25, "runnable.queued", 200, "weak"},
           {40, "runnable.queued", 200, "strong"}, {60, "runnable.queued", 200, "strong"},
           {100, "running", 100, "strong"});
}

/* The transaction's own thread came unseen: until the hidden thread came it waited for its CPU. */
static void its_own_thread_came_unseen(void **state)
{
    struct stage *stage = *state;
    world_switch(&stage->w, 20 * MS, 0, stage->pay, RP, stage->batch);
    world_switch(&stage->w, 40 * MS, 0, stage->batch, S, stage->hid);
    world_gap_hidden(&stage->w, 40 * MS, 45 * MS, 0);
    world_switch(&stage->w, 80 * MS, 0, stage->pay, RP, stage->batch);
    world_switch(&stage->w, 90 * MS, 0, stage->batch, S, stage->pay);
    EXPECT(stage, {20, "running", 100, "strong"}, {40, "runnable.preempted", 200, "strong"},
           {45, "running", 100, "weak"}, {80, "running", 100, "strong"},
           {90, "runnable.preempted", 200, "strong"}, {100, "running", 100, "strong"});
    assert_non_null(strstr(cell_str(&stage->answer, 2, "note"), "hidden threads"));
}

/* Two CPUs at once: each stretch is judged by the rows of its own CPU. */
static void two_cpus_at_once(void **state)
{
    struct stage *stage = *state;
    kp_actor_id other = world_thread(&stage->w, 300, 300, "other");
    world_switch(&stage->w, 15 * MS, 1, stage->idle, R, stage->hid);
    world_switch(&stage->w, 20 * MS, 0, stage->pay, RP, stage->hid);
    world_gap_hidden(&stage->w, 15 * MS, 22 * MS, 1);
    world_gap_hidden(&stage->w, 20 * MS, 30 * MS, 0);
    world_switch(&stage->w, 50 * MS, 1, other, S, stage->idle);
    world_switch(&stage->w, 60 * MS, 0, stage->batch, S, stage->pay);
    EXPECT(stage, {20, "running", 100, "strong"}, {30, "runnable.queued", 200, "weak"},
           {60, "runnable.queued", 200, "strong"}, {100, "running", 100, "strong"});
}

/* The recording begins within the stretch: there is no switch to the hidden thread. */
static void hidden_when_the_recording_begins(void **state)
{
    struct stage *stage = *state;
    kp_actor_id late = world_thread(&stage->w, 400, 400, "late");
    world_gap_hidden(&stage->w, 20 * MS, 30 * MS, 2);
    world_move(&stage->w, 20 * MS, stage->pay, 0, 2);
    world_switch(&stage->w, 20 * MS, 0, stage->pay, RP, stage->idle);
    world_switch(&stage->w, 60 * MS, 2, late, S, stage->pay);
    EXPECT(stage, {20, "running", 100, "strong"}, {60, "runnable.queued", 400, "weak"},
           {100, "running", 100, "strong"});
}

/* Nobody leaves the stretch until the end of what was read: then nobody is named. */
static void hidden_when_the_recording_ends(void **state)
{
    struct stage *stage = *state;
    world_switch(&stage->w, 70 * MS, 0, stage->pay, RP, stage->hid);
    world_gap_hidden(&stage->w, 70 * MS, 80 * MS, 0);
    EXPECT(stage, {70, "running", 100, "strong"}, {100, "unknown(lost)", 0, "-"});
}

/* The thread that leaves the CPU at the end is the idle one: nobody would have waited for that. */
static void idle_is_not_who_had_it(void **state)
{
    struct stage *stage = *state;
    world_switch(&stage->w, 20 * MS, 0, stage->pay, RP, stage->hid);
    world_gap_hidden(&stage->w, 20 * MS, 60 * MS, 0);
    world_switch(&stage->w, 60 * MS, 0, stage->idle, R, stage->pay);
    EXPECT(stage, {20, "running", 100, "strong"}, {60, "unknown(lost)", 0, "-"},
           {100, "running", 100, "strong"});
}

/* A thread that was running elsewhere must have left there by a row that was lost: no guess. */
static void lost_rows_are_not_hidden_ones(void **state)
{
    struct stage *stage = *state;
    world_switch(&stage->w, 12 * MS, 1, stage->idle, R, stage->batch);
    world_switch(&stage->w, 20 * MS, 0, stage->pay, RP, stage->hid);
    world_gap_hidden(&stage->w, 20 * MS, 30 * MS, 0);
    world_switch(&stage->w, 60 * MS, 0, stage->batch, S, stage->pay);
    EXPECT(stage, {20, "running", 100, "strong"}, {60, "unknown(lost)", 0, "-"},
           {100, "running", 100, "strong"});
}

int main(void)
{
#define T_(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T_(who_leaves_had_the_cpu),
        T_(from_its_first_row_on_it_is_sure),
        T_(tables_say_the_same),
        T_(moved_into_the_stretch),
        T_(moved_out_of_the_stretch),
        T_(its_own_thread_came_unseen),
        T_(two_cpus_at_once),
        T_(hidden_when_the_recording_begins),
        T_(hidden_when_the_recording_ends),
        T_(idle_is_not_who_had_it),
        T_(lost_rows_are_not_hidden_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
