/* SPDX-License-Identifier: Apache-2.0
 *
 * What is unusual and which row is the root: a class of normal payments, then one more. Every
 * payment runs, queues a little behind `other`, and sleeps 2 ms in its own code.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "world.h"

#define MS KP_MS

struct stage {
    struct world w;
    kp_actor_id idle, pay, batch, other;
    struct answer answer;
    kp_time next; /* where the next payment begins */
    unsigned payments;
};

struct costs {
    kp_dur run, queued, preempted, slept, hidden; /* hidden: blocked without a waker */
    int status;
};

static int setup(void **state)
{
    static struct stage stage;
    memset(&stage, 0, sizeof(stage));
    world_open(&stage.w);
    stage.idle = world_idle(&stage.w);
    stage.pay = world_thread(&stage.w, 100, 100, "pay");
    stage.batch = world_thread_in(&stage.w, 200, 200, "batch", 200000, "/batch", false);
    stage.other = world_thread(&stage.w, 300, 300, "other");
    world_switch(&stage.w, -50 * MS, 0, stage.other, S, stage.idle);
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

/* One payment from *next on; its id is its number. */
static kp_dur payment(struct stage *s, const struct costs *c)
{
    char trace[32], id[32];
    kp_time t = s->next;
    world_wake(&s->w, t - 2000, 0, s->idle, s->pay, 0);
    world_switch(&s->w, t - 1000, 0, s->idle, R, s->pay);
    t += c->run;
    if (c->queued > 0) {
        world_switch(&s->w, t, 0, s->pay, S, s->other);
        world_wake(&s->w, t + 1, 1, s->idle, s->pay, 0);
        t += c->queued;
        world_switch(&s->w, t, 0, s->other, S, s->pay);
    }
    if (c->preempted > 0) {
        world_switch(&s->w, t, 0, s->pay, RP, s->batch);
        t += c->preempted;
        world_switch(&s->w, t, 0, s->batch, S, s->pay);
    }
    if (c->slept > 0) {
        world_syscall(&s->w, t, t + c->slept, 0, s->pay, "clock_nanosleep", 0);
        world_switch(&s->w, t, 0, s->pay, S, s->idle);
        t += c->slept;
        world_wake_irq(&s->w, t, 0, s->idle, s->pay, IN_HARDIRQ, VEC_NONE, -1, 0);
        world_switch(&s->w, t, 0, s->idle, R, s->pay);
    }
    if (c->hidden > 0) {
        world_switch(&s->w, t, 0, s->pay, S, s->idle);
        t += c->hidden;
        world_wake_irq(&s->w, t, 0, s->idle, s->pay, IN_HARDIRQ, VEC_NONE, 77, 0);
        world_switch(&s->w, t, 0, s->idle, R, s->pay);
    }
    snprintf(trace, sizeof(trace), "trace%u", s->payments);
    snprintf(id, sizeof(id), "%u", s->payments++);
    world_span(&s->w, &(struct world_span){.from = s->next,
                                           .to = t,
                                           .thread = s->pay,
                                           .trace = trace,
                                           .id = "s",
                                           .txn = id,
                                           .service = "pay",
                                           .name = "POST /pay",
                                           .status = c->status});
    world_switch(&s->w, t + 1000, 0, s->pay, S, s->idle);
    kp_dur wall = t - s->next;
    s->next = t + 5 * MS;
    return wall;
}

static void normal(struct stage *s, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        payment(s, &(struct costs){.run = 3 * MS + i % 7 * 10000,
                                   .queued = MS + i % 5 * 10000,
                                   .slept = 2 * MS});
}

static void ask(struct stage *s, kp_dur wall)
{
    char id[32];
    snprintf(id, sizeof(id), "%u", s->payments - 1);
    world_commit(&s->w);
    world_causes(&s->w, id, &s->answer);
    answer_check(&s->answer, wall);
}

static void preemption_is_the_root(void **state)
{
    struct stage *s = *state;
    normal(s, 30);
    /* it sleeps for longer than it is preempted for, as all do: not the cause */
    kp_dur wall = payment(
        s, &(struct costs){.run = 3 * MS, .queued = MS, .preempted = 40 * MS, .slept = 2 * MS});
    ask(s, wall);
    int root = answer_root(&s->answer);
    assert_int_equal(root, 0);
    assert_string_equal(cell_str(&s->answer, 0, "kind"), "runnable.preempted");
    assert_int_equal(cell_i64(&s->answer, 0, "culprit_pid"), 200);
    assert_int_equal(cell_i64(&s->answer, 0, "excess_ns"), 40 * MS);
    assert_true(answer_noted(&s->answer, "baseline: the 30 normal transactions"));
}

static void usual_time_is_no_excess(void **state)
{
    struct stage *s = *state;
    normal(s, 30);
    kp_dur wall = payment(s, &(struct costs){.run = 3 * MS, .queued = MS, .slept = 2 * MS});
    ask(s, wall);
    assert_int_equal(answer_root(&s->answer), -1);
    assert_true(answer_noted(&s->answer, "no excess"));
}

/* In a class that varies, somewhat longer is nothing; a failed one is explained all the same. */
static void spread_of_the_class_counts(void **state)
{
    struct stage *s = *state;
    for (unsigned i = 0; i < 40; i++)
        payment(s, &(struct costs){.run = 10 * MS + i % 10 * 2 * MS});
    kp_dur wall = payment(s, &(struct costs){.run = 18 * MS, .preempted = 12 * MS});
    ask(s, wall);
    assert_int_equal(answer_root(&s->answer), -1);
    assert_true(answer_noted(&s->answer, "no excess"));
    answer_deinit(&s->answer);
    wall = payment(s, &(struct costs){.run = 18 * MS, .preempted = 12 * MS, .status = 2});
    ask(s, wall);
    assert_string_equal(cell_str(&s->answer, answer_root(&s->answer), "kind"),
                        "runnable.preempted");
}

static void what_is_usual_is_subtracted(void **state)
{
    struct stage *s = *state;
    for (unsigned i = 0; i < 20; i++)
        payment(s, &(struct costs){.run = MS, .slept = 50 * MS});
    kp_dur wall = payment(s, &(struct costs){.run = MS, .slept = 50 * MS, .preempted = 30 * MS});
    ask(s, wall);
    int root = answer_root(&s->answer);
    assert_int_equal(root, 0);
    assert_string_equal(cell_str(&s->answer, root, "kind"), "runnable.preempted");
    int sleep = answer_find(&s->answer, "timer.sleep");
    assert_int_equal(cell_i64(&s->answer, sleep, "excess_ns"), 0);
}

static void own_work_is_the_applications(void **state)
{
    struct stage *s = *state;
    normal(s, 30);
    kp_dur wall = payment(s, &(struct costs){.run = 90 * MS, .queued = MS, .slept = 2 * MS});
    ask(s, wall);
    int root = answer_root(&s->answer);
    assert_string_equal(cell_str(&s->answer, root, "kind"), "running");
    assert_int_equal(cell_i64(&s->answer, root, "culprit_pid"), 100);
}

static void sleep_is_the_applications(void **state)
{
    struct stage *s = *state;
    normal(s, 30);
    kp_dur wall = payment(s, &(struct costs){.run = 3 * MS, .queued = MS, .slept = 70 * MS});
    ask(s, wall);
    assert_string_equal(cell_str(&s->answer, answer_root(&s->answer), "kind"), "timer.sleep");
}

static void two_causes_stay_two(void **state)
{
    struct stage *s = *state;
    normal(s, 30);
    kp_dur wall = payment(
        s, &(struct costs){.run = 3 * MS, .queued = MS, .preempted = 40 * MS, .slept = 44 * MS});
    ask(s, wall);
    assert_string_equal(cell_str(&s->answer, 0, "kind"), "timer.sleep");
    assert_string_equal(cell_str(&s->answer, 1, "kind"), "runnable.preempted");
    assert_int_equal(answer_root(&s->answer), 0);
    assert_int_equal(cell_i64(&s->answer, 0, "excess_ns"), 42 * MS);
    assert_int_equal(cell_i64(&s->answer, 1, "excess_ns"), 40 * MS);
}

/* Most of the excess is a wait nobody can explain: the small preemption is not made the root. */
static void unexplained_excess_withholds_the_root(void **state)
{
    struct stage *s = *state;
    normal(s, 30);
    kp_dur wall =
        payment(s, &(struct costs){.run = 3 * MS, .preempted = 20 * MS, .hidden = 60 * MS});
    ask(s, wall);
    assert_int_equal(answer_root(&s->answer), -1);
    assert_true(answer_noted(&s->answer, "not explained"));
}

/* batch takes the CPU in each of eight steps, and own work grows more than any one of them. */
static void one_culprit_in_many_rows(void **state)
{
    struct stage *s = *state;
    normal(s, 30);
    kp_time t = s->next;
    world_wake(&s->w, t - 2000, 0, s->idle, s->pay, 0);
    world_switch(&s->w, t - 1000, 0, s->idle, R, s->pay);
    for (int i = 0; i < 8; i++) {
        char id[8];
        snprintf(id, sizeof(id), "leg%c", 'a' + i);
        world_switch(&s->w, t + 2 * MS, 0, s->pay, RP, s->batch);
        world_switch(&s->w, t + 12 * MS, 0, s->batch, S, s->pay);
        world_span(&s->w, &(struct world_span){.from = t,
                                               .to = t + 14 * MS,
                                               .thread = s->pay,
                                               .trace = "traceX",
                                               .id = id,
                                               .parent = "s",
                                               .service = "pay",
                                               .name = id});
        t += 14 * MS;
    }
    t += 25 * MS;
    world_span(&s->w, &(struct world_span){.from = s->next,
                                           .to = t,
                                           .thread = s->pay,
                                           .trace = "traceX",
                                           .id = "s",
                                           .txn = "30",
                                           .service = "pay",
                                           .name = "POST /pay"});
    s->payments++;
    ask(s, t - s->next);
    int root = answer_root(&s->answer);
    assert_true(root >= 0);
    assert_string_equal(cell_str(&s->answer, root, "kind"), "runnable.preempted");
    assert_int_equal(cell_i64(&s->answer, root, "culprit_pid"), 200);
    assert_int_equal(cell_i64(&s->answer, root, "dur"), 10 * MS);
}

static void first_of_its_class(void **state)
{
    struct stage *s = *state;
    kp_dur wall = payment(s, &(struct costs){.run = 3 * MS, .preempted = 20 * MS});
    ask(s, wall);
    assert_true(answer_noted(&s->answer, "baseline=none (no earlier"));
    assert_true(cell_null(&s->answer, 0, "excess_ns"));
    assert_string_equal(cell_str(&s->answer, 0, "kind"), "runnable.preempted");
    assert_int_equal(answer_root(&s->answer), 0);
}

static void failed_ones_are_not_normal(void **state)
{
    struct stage *s = *state;
    for (unsigned i = 0; i < 30; i++)
        payment(s, &(struct costs){.run = MS, .preempted = 40 * MS, .status = 2});
    normal(s, 5);
    kp_dur wall = payment(s, &(struct costs){.run = 3 * MS, .preempted = 40 * MS, .slept = 2 * MS});
    ask(s, wall);
    assert_true(answer_noted(&s->answer, "baseline: the 5 normal"));
    assert_string_equal(cell_str(&s->answer, answer_root(&s->answer), "kind"),
                        "runnable.preempted");
}

static void later_ones_are_not_compared_with(void **state)
{
    struct stage *s = *state;
    normal(s, 5);
    payment(s, &(struct costs){.run = 3 * MS, .preempted = 40 * MS, .slept = 2 * MS});
    normal(s, 50);
    world_commit(&s->w);
    world_causes(&s->w, "5", &s->answer);
    assert_true(answer_noted(&s->answer, "baseline: the 5 normal"));
}

static void newest_two_hundred(void **state)
{
    struct stage *s = *state;
    normal(s, 220);
    kp_dur wall = payment(s, &(struct costs){.run = 3 * MS, .preempted = 40 * MS, .slept = 2 * MS});
    ask(s, wall);
    assert_true(answer_noted(&s->answer, "baseline: the 200 normal"));
    assert_int_equal(answer_root(&s->answer), 0);
}

static void baseline_can_be_refused_or_bounded(void **state)
{
    struct stage *s = *state;
    normal(s, 30);
    payment(s, &(struct costs){.run = 3 * MS, .preempted = 40 * MS, .slept = 2 * MS});
    world_commit(&s->w);
    struct kp_causes_req req = world_req("30");
    req.baseline_none = true;
    world_causes_req(&s->w, &req, &s->answer);
    assert_true(answer_noted(&s->answer, "baseline=none (asked for)"));
    answer_deinit(&s->answer);
    req.baseline_none = false;
    req.baseline_last = 60 * MS;
    world_causes_req(&s->w, &req, &s->answer);
    assert_true(answer_noted(&s->answer, "baseline: the 5 normal"));
}

static void min_hides_and_says_so(void **state)
{
    struct stage *s = *state;
    payment(s, &(struct costs){.run = 3 * MS, .preempted = 40 * MS, .slept = 2 * MS});
    world_commit(&s->w);
    struct kp_causes_req req = world_req("0");
    req.min = 10 * MS;
    world_causes_req(&s->w, &req, &s->answer);
    assert_int_equal(s->answer.count, 1);
    assert_true(answer_noted(&s->answer, "2 rows below MIN are not shown; they sum to 5000000 ns"));
}

int main(void)
{
#define T_(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T_(preemption_is_the_root),       T_(usual_time_is_no_excess),
        T_(spread_of_the_class_counts),   T_(what_is_usual_is_subtracted),
        T_(own_work_is_the_applications), T_(sleep_is_the_applications),
        T_(two_causes_stay_two),          T_(unexplained_excess_withholds_the_root),
        T_(one_culprit_in_many_rows),     T_(first_of_its_class),
        T_(failed_ones_are_not_normal),   T_(later_ones_are_not_compared_with),
        T_(newest_two_hundred),           T_(baseline_can_be_refused_or_bounded),
        T_(min_hides_and_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
