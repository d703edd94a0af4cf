/* SPDX-License-Identifier: Apache-2.0
 *
 * Switches and wakeups as intervals, seen through the tables thread_state and cpu_state.
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

enum { OP_FORK = 1, OP_EXIT = 3 };

struct stage {
    struct world w;
    kp_actor_id idle, a, b;
    struct answer answer;
};

static int setup(void **state)
{
    static struct stage stage;
    memset(&stage, 0, sizeof(stage));
    world_open(&stage.w);
    stage.idle = world_idle(&stage.w);
    stage.a = world_thread(&stage.w, 100, 100, "a");
    stage.b = world_thread(&stage.w, 200, 200, "b");
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

static void threads(struct stage *s, int64_t tid)
{
    struct kp_rows *rows;
    struct kp_intervals_req req = {
        .from = WORLD_ZERO - MS, .to = WORLD_ZERO + 100 * MS, .tids = &tid, .tids_count = 1};
    world_commit(&s->w);
    kp_arena_init(&s->answer.arena, 0);
    assert_int_equal(kp_thread_state_open(s->w.snapshot, &req, &s->answer.arena, &rows, NULL),
                     KP_OK);
    answer_take(&s->answer, rows, kp_thread_state_schema());
}

static void cpus(struct stage *s)
{
    struct kp_rows *rows;
    struct kp_intervals_req req = {.from = WORLD_ZERO - MS, .to = WORLD_ZERO + 100 * MS};
    world_commit(&s->w);
    kp_arena_init(&s->answer.arena, 0);
    assert_int_equal(kp_cpu_state_open(s->w.snapshot, &req, &s->answer.arena, &rows, NULL), KP_OK);
    answer_take(&s->answer, rows, kp_cpu_state_schema());
}

/* "state@start+dur ..." in ms; rows of 0 ms do not exist. */
static void expect(struct stage *s, const char *wanted)
{
    char text[512] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < s->answer.count; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s@%lld+%lld", i ? " " : "",
                                 cell_str(&s->answer, i, "state"),
                                 (long long)(cell_i64(&s->answer, i, "start") - WORLD_ZERO) / MS,
                                 (long long)cell_i64(&s->answer, i, "dur") / MS);
    assert_string_equal(text, wanted);
}

static void plain_life(void **state)
{
    struct stage *s = *state;
    world_switch(&s->w, 0, 0, s->b, S, s->idle);
    world_wake(&s->w, 10 * MS, 1, s->idle, s->a, 0);
    world_switch(&s->w, 12 * MS, 0, s->idle, R, s->a);
    world_switch(&s->w, 20 * MS, 0, s->a, RP, s->b);
    world_switch(&s->w, 30 * MS, 0, s->b, S, s->a);
    world_switch(&s->w, 40 * MS, 0, s->a, D, s->idle);
    world_wake(&s->w, 50 * MS, 0, s->b, s->a, 0);
    world_switch(&s->w, 50 * MS + 1, 0, s->idle, R, s->a);
    threads(s, 100);
    expect(s, "blocked@0+10 runnable@10+2 running@12+8 runnable@20+10 running@30+10 "
              "blocked@40+10 runnable@50+0");
    assert_string_equal(cell_str(&s->answer, 3, "wait"), "R+");
    assert_string_equal(cell_str(&s->answer, 5, "wait"), "D");
    assert_int_equal(cell_i64(&s->answer, 5, "waker_tid"), 200);
    assert_string_equal(cell_str(&s->answer, 5, "context"), "task");
}

/* The same tid with the same start in another boot is another thread: nobody wakes the old one. */
static void a_boot_begins_new_lives(void **state)
{
    struct stage *s = *state;
    s->w.boot = "one";
    kp_actor_id old = world_thread(&s->w, 300, 300, "kthreadd");
    s->w.boot = "two";
    kp_actor_id new = world_thread(&s->w, 300, 300, "kthreadd");
    assert_int_not_equal(old, new);
    world_switch(&s->w, 0, 0, s->idle, R, old);
    world_switch(&s->w, 10 * MS, 0, old, R, s->idle);
    world_switch(&s->w, 50 * MS, 0, s->idle, R, new);
    world_switch(&s->w, 60 * MS, 0, new, S, s->idle);
    threads(s, 300);
    for (uint32_t i = 0; i < s->answer.count; i++)
        assert_false(strcmp(cell_str(&s->answer, i, "state"), "runnable") == 0 &&
                     cell_i64(&s->answer, i, "start") + cell_i64(&s->answer, i, "dur") ==
                         WORLD_ZERO + 50 * MS);
    uint32_t runs = 0;
    for (uint32_t i = 0; i < s->answer.count; i++)
        runs += strcmp(cell_str(&s->answer, i, "state"), "running") == 0;
    assert_int_equal(runs, 2);
}

static void second_wakeup_changes_nothing(void **state)
{
    struct stage *s = *state;
    world_switch(&s->w, 0, 0, s->a, S, s->idle);
    world_wake(&s->w, 10 * MS, 1, s->idle, s->a, 0);
    world_wake(&s->w, 11 * MS, 1, s->idle, s->a, 0);
    world_switch(&s->w, 12 * MS, 0, s->idle, R, s->a);
    world_wake(&s->w, 15 * MS, 1, s->idle, s->a, 0);
    world_switch(&s->w, 20 * MS, 0, s->a, S, s->idle);
    threads(s, 100);
    expect(s, "blocked@0+10 runnable@10+2 running@12+8");
}

static void wakeup_stamped_before_the_sleep(void **state)
{
    struct stage *s = *state;
    world_switch(&s->w, 0, 0, s->idle, R, s->a);
    world_wake(&s->w, 10 * MS - 500, 1, s->b, s->a, 0);
    world_switch(&s->w, 10 * MS, 0, s->a, S, s->idle);
    world_switch(&s->w, 12 * MS, 0, s->idle, R, s->a);
    world_switch(&s->w, 20 * MS, 0, s->a, S, s->idle);
    threads(s, 100);
    expect(s, "running@0+10 runnable@10+2 running@12+8");
    assert_int_equal(cell_i64(&s->answer, 1, "waker_tid"), 200);
}

static void wakeup_never_seen(void **state)
{
    struct stage *s = *state;
    world_switch(&s->w, 0, 0, s->idle, R, s->a);
    world_switch(&s->w, 10 * MS, 0, s->a, S, s->idle);
    world_switch(&s->w, 30 * MS, 0, s->idle, R, s->a);
    world_switch(&s->w, 40 * MS, 0, s->a, S, s->idle);
    threads(s, 100);
    expect(s, "running@0+10 blocked@10+20 running@30+10");
    assert_string_equal(cell_str(&s->answer, 1, "note"), "no-waker");
}

static void contradiction_is_unknown(void **state)
{
    struct stage *s = *state;
    world_switch(&s->w, 0, 0, s->idle, R, s->a);
    /* a never left, and yet b leaves */
    world_switch(&s->w, 20 * MS, 0, s->b, S, s->idle);
    world_switch(&s->w, 30 * MS, 0, s->idle, R, s->b);
    threads(s, 100);
    expect(s, "unknown@0+20 unknown@20+10");
    assert_string_equal(cell_str(&s->answer, 0, "note"), "lost");
}

static void on_two_cpus_is_cut_at_the_second(void **state)
{
    struct stage *s = *state;
    world_switch(&s->w, 0, 0, s->idle, R, s->a);
    world_switch(&s->w, 20 * MS, 1, s->idle, R, s->a);
    world_switch(&s->w, 30 * MS, 1, s->a, S, s->idle);
    threads(s, 100);
    expect(s, "unknown@0+20 running@20+10");
}

static void tid_used_again_is_another_thread(void **state)
{
    struct stage *s = *state;
    kp_actor_id young = world_thread_in(&s->w, 100, 100, "young", 777, "/", false);
    world_switch(&s->w, 0, 0, s->idle, R, s->a);
    world_task(&s->w, 9 * MS, 0, s->a, OP_EXIT);
    world_switch(&s->w, 10 * MS, 0, s->a, X, s->idle);
    world_task(&s->w, 20 * MS, 0, young, OP_FORK);
    world_wake(&s->w, 20 * MS + 10, 0, s->b, young, 0);
    world_switch(&s->w, 21 * MS, 0, s->idle, R, young);
    world_switch(&s->w, 25 * MS, 0, young, S, s->idle);
    threads(s, 100);
    expect(s, "running@0+10 dead@10+15 blocked@20+0 runnable@20+0 running@21+4");
    assert_string_equal(cell_str(&s->answer, 4, "comm"), "young");
    assert_string_equal(cell_str(&s->answer, 1, "comm"), "a");
}

static void rename_keeps_the_thread(void **state)
{
    struct stage *s = *state;
    kp_actor_id renamed = world_thread_in(&s->w, 100, 100, "renamed", 100000, "/pay", false);
    world_switch(&s->w, 0, 0, s->idle, R, s->a);
    world_switch(&s->w, 10 * MS, 0, renamed, S, s->idle);
    threads(s, 100);
    expect(s, "running@0+10");
}

static void cpu_history(void **state)
{
    struct stage *s = *state;
    world_switch(&s->w, 0, 0, s->b, S, s->idle);
    world_switch(&s->w, 10 * MS, 0, s->idle, R, s->a);
    world_switch(&s->w, 20 * MS, 0, s->a, RP, s->b);
    world_switch(&s->w, 30 * MS, 0, s->a, S, s->idle); /* b's end is missing */
    world_switch(&s->w, 40 * MS, 0, s->idle, R, s->b);
    cpus(s);
    expect(s, "idle@0+10 busy@10+10 unknown@20+10 idle@30+10");
    assert_int_equal(cell_i64(&s->answer, 1, "tid"), 100);
}

int main(void)
{
#define T_(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T_(plain_life),
        T_(a_boot_begins_new_lives),
        T_(second_wakeup_changes_nothing),
        T_(wakeup_stamped_before_the_sleep),
        T_(wakeup_never_seen),
        T_(contradiction_is_unknown),
        T_(on_two_cpus_is_cut_at_the_second),
        T_(tid_used_again_is_another_thread),
        T_(rename_keeps_the_thread),
        T_(cpu_history),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
