/* SPDX-License-Identifier: Apache-2.0
 *
 * Locks in user memory: every part of a wait is its holder's at that time, not the last waker's;
 * conditions, other words, interrupted calls and thieves are not taken for what they are not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "base/assert.h"
#include "world.h"

#define MS KP_MS

enum { WAIT = 128, WAIT_BITSET = 137, LOCK_PI = 134, CONTENDED = 2 };
enum { WORD = 0x7f00, OTHER_WORD = 0x7f40 };

struct stage {
    struct world w;
    kp_actor_id idle, pay, first, second, third, batch;
    struct answer answer;
};

static int setup(void **state)
{
    static struct stage stage;
    memset(&stage, 0, sizeof(stage));
    world_open(&stage.w);
    stage.idle = world_idle(&stage.w);
    stage.pay = world_thread(&stage.w, 200, 200, "pay");
    stage.first = world_thread(&stage.w, 200, 201, "worker-1");
    stage.second = world_thread(&stage.w, 200, 202, "worker-2");
    stage.third = world_thread(&stage.w, 200, 203, "worker-3");
    stage.batch = world_thread(&stage.w, 500, 500, "batch");
    for (uint32_t cpu = 0; cpu < 4; cpu++)
        world_switch(&stage.w, -500 * MS, cpu, stage.batch, S, stage.idle);
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

static void on(struct stage *s, kp_time t, uint32_t cpu, kp_actor_id thread)
{
    world_switch(&s->w, t, cpu, s->idle, R, thread);
}

/* The thread waits for the word on its CPU until another wakes it, and runs on 1 ns later. */
static void wait(struct stage *s, kp_time from, kp_time to, uint32_t cpu, kp_actor_id thread,
                 uint32_t waker_cpu, kp_actor_id waker, int64_t word)
{
    world_switch(&s->w, from, cpu, thread, S, s->idle);
    world_wake(&s->w, to, waker_cpu, waker, thread, cpu);
    on(s, to + 1, cpu, thread);
    world_futex(&s->w, from - 1000, to + 1000, cpu, thread, word, WAIT, CONTENDED, 0);
}

static void all_on(struct stage *s)
{
    on(s, -1 * MS, 0, s->pay);
    on(s, -2 * MS, 1, s->first);
    on(s, -3 * MS, 2, s->second);
    on(s, -4 * MS, 3, s->third);
}

static void ask(struct stage *s)
{
    world_span(&s->w, &(struct world_span){.from = 0,
                                           .to = 100 * MS,
                                           .thread = s->pay,
                                           .trace = "t1",
                                           .id = "a",
                                           .parent = "",
                                           .txn = "98721",
                                           .service = "pay",
                                           .name = "POST /pay",
                                           .kind = 2});
    world_commit(&s->w);
    world_causes(&s->w, "98721", &s->answer);
    answer_check(&s->answer, 100 * MS);
}

/* Time and certainty of the rows of a kind whose doing is a thread's. */
static kp_dur blamed(struct stage *s, const char *kind, int64_t tid, const char *strength)
{
    kp_dur sum = 0;
    for (uint32_t i = 0; i < s->answer.count; i++) {
        if (strcmp(cell_str(&s->answer, i, "kind"), kind) != 0 ||
            cell_null(&s->answer, i, "culprit_tid") ||
            cell_i64(&s->answer, i, "culprit_tid") != tid)
            continue;
        assert_string_equal(cell_str(&s->answer, i, "strength"), strength);
        sum += cell_i64(&s->answer, i, "dur");
    }
    return sum;
}

static void convoy_is_split_by_successive_holders(void **state)
{
    struct stage *s = *state;
    all_on(s);
    wait(s, 5 * MS, 30 * MS, 2, s->second, 1, s->first, WORD);
    wait(s, 6 * MS, 60 * MS, 3, s->third, 2, s->second, WORD);
    wait(s, 10 * MS, 90 * MS, 0, s->pay, 3, s->third, WORD);
    ask(s);
    assert_int_equal(blamed(s, "lock", 201, "strong"), 20 * MS);
    assert_int_equal(blamed(s, "lock", 202, "strong"), 30 * MS - 1);
    assert_int_equal(blamed(s, "lock", 203, "strong"), 30 * MS - 1);
    int row = answer_find(&s->answer, "lock");
    assert_string_equal(cell_str(&s->answer, (uint32_t)row, "object"), "futex 0x7f00");
    assert_string_equal(cell_str(&s->answer, (uint32_t)row, "subkind"), "futex");
    assert_string_equal(cell_str(&s->answer, (uint32_t)row, "rule"), "lock-owner");
}

/* The lock went to `second`, but `third`, which never waited, took it first. */
static void thief_is_weak(void **state)
{
    struct stage *s = *state;
    all_on(s);
    wait(s, 5 * MS, 30 * MS, 2, s->second, 1, s->first, WORD);
    wait(s, 10 * MS, 90 * MS, 0, s->pay, 3, s->third, WORD);
    ask(s);
    assert_int_equal(blamed(s, "lock", 201, "strong"), 20 * MS);
    assert_int_equal(blamed(s, "lock", 203, "weak"), 60 * MS);
}

static void holder_without_a_cpu_blames_its_occupant(void **state)
{
    struct stage *s = *state;
    all_on(s);
    world_switch(&s->w, 20 * MS, 1, s->first, RP, s->batch);
    world_switch(&s->w, 70 * MS, 1, s->batch, S, s->first);
    wait(s, 10 * MS, 90 * MS, 0, s->pay, 1, s->first, WORD);
    ask(s);
    assert_int_equal(blamed(s, "runnable.preempted", 500, "strong"), 50 * MS);
    assert_int_equal(blamed(s, "lock", 201, "strong"), 30 * MS);
}

static void other_words_do_not_split(void **state)
{
    struct stage *s = *state;
    all_on(s);
    wait(s, 5 * MS, 30 * MS, 2, s->second, 1, s->first, OTHER_WORD);
    wait(s, 10 * MS, 90 * MS, 0, s->pay, 3, s->third, WORD);
    ask(s);
    assert_int_equal(blamed(s, "lock", 201, "strong"), 0);
    assert_int_equal(blamed(s, "lock", 203, "strong"), 80 * MS);
}

static void wait_with(struct stage *s, int64_t op, int64_t value, int64_t ret)
{
    all_on(s);
    world_switch(&s->w, 10 * MS, 0, s->pay, S, s->idle);
    world_wake(&s->w, 90 * MS, 1, s->first, s->pay, 0);
    on(s, 90 * MS + 1, 0, s->pay);
    world_futex(&s->w, 9 * MS, 91 * MS, 0, s->pay, WORD, op, value, ret);
    ask(s);
}

static void condition_is_no_lock(void **state)
{
    struct stage *s = *state;
    wait_with(s, WAIT_BITSET, CONTENDED, 0);
    assert_int_equal(answer_find(&s->answer, "lock"), -1);
    assert_int_equal(blamed(s, "running", 201, "strong"), 80 * MS);
}

static void other_values_are_no_lock(void **state)
{
    struct stage *s = *state;
    wait_with(s, WAIT, 7, 0);
    assert_int_equal(answer_find(&s->answer, "lock"), -1);
}

static void interrupted_call_is_no_release(void **state)
{
    struct stage *s = *state;
    wait_with(s, WAIT, CONTENDED, -4);
    assert_int_equal(answer_find(&s->answer, "lock"), -1);
}

static void inheriting_lock_is_one(void **state)
{
    struct stage *s = *state;
    wait_with(s, LOCK_PI, 0, 0);
    assert_int_equal(blamed(s, "lock", 201, "strong"), 80 * MS);
}

/* Another process has the word at another address: it is known to have ended the wait, no more. */
static void holder_of_another_process_is_weak(void **state)
{
    struct stage *s = *state;
    all_on(s);
    world_switch(&s->w, 5 * MS, 1, s->first, S, s->batch);
    wait(s, 10 * MS, 90 * MS, 0, s->pay, 1, s->batch, WORD);
    ask(s);
    assert_int_equal(blamed(s, "lock", 500, "weak"), 80 * MS);
}

static void lost_rows_make_the_holder_weak(void **state)
{
    struct stage *s = *state;
    all_on(s);
    wait(s, 10 * MS, 90 * MS, 0, s->pay, 1, s->first, WORD);
    world_gap(&s->w, 20 * MS, 40 * MS, 1);
    ask(s);
    assert_int_equal(blamed(s, "lock", 201, "weak"), 80 * MS);
}

int main(void)
{
#define T_(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T_(convoy_is_split_by_successive_holders),
        T_(thief_is_weak),
        T_(holder_without_a_cpu_blames_its_occupant),
        T_(other_words_do_not_split),
        T_(condition_is_no_lock),
        T_(other_values_are_no_lock),
        T_(interrupted_call_is_no_release),
        T_(inheriting_lock_is_one),
        T_(holder_of_another_process_is_weak),
        T_(lost_rows_make_the_holder_weak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
