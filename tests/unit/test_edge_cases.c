/* SPDX-License-Identifier: Apache-2.0
 *
 * Edge cases of answers that no other program has: docs/causality.md lists all of them with their
 * tests.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "world.h"

#define MS KP_MS

struct stage {
    struct world w;
    kp_actor_id idle, pay, first, second;
    struct answer answer;
};

static int setup(void **state)
{
    static struct stage stage;
    memset(&stage, 0, sizeof(stage));
    world_open(&stage.w);
    stage.idle = world_idle(&stage.w);
    stage.pay = world_thread_in(&stage.w, 200, 200, "pay", 200000, "/pay/web", false);
    stage.first = world_thread(&stage.w, 300, 301, "first");
    stage.second = world_thread(&stage.w, 400, 401, "second");
    for (uint32_t cpu = 0; cpu < 3; cpu++)
        world_switch(&stage.w, -500 * MS, cpu, stage.first, S, stage.idle);
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

static void span(struct stage *s, const char *id, const char *parent, kp_actor_id thread,
                 kp_time from, kp_time to, int kind)
{
    world_span(&s->w, &(struct world_span){.from = from,
                                           .to = to,
                                           .thread = thread,
                                           .trace = "t1",
                                           .id = id,
                                           .parent = parent,
                                           .txn = "98721",
                                           .service = "pay",
                                           .name = id,
                                           .kind = kind});
}

static void ask(struct stage *s)
{
    answer_deinit(&s->answer);
    world_commit(&s->w);
    world_causes(&s->w, "98721", &s->answer);
    answer_check(&s->answer, 100 * MS);
}

/* Time of a victim thread in rows of a kind. */
static kp_dur time_of(struct stage *s, const char *kind, int64_t tid)
{
    kp_dur sum = 0;
    for (uint32_t i = 0; i < s->answer.count; i++)
        if (strcmp(cell_str(&s->answer, i, "kind"), kind) == 0 &&
            cell_i64(&s->answer, i, "tid") == tid)
            sum += cell_i64(&s->answer, i, "dur");
    return sum;
}

static void an_open_transaction_ends_where_it_was_seen(void **state)
{
    struct stage *s = *state;
    on(s, -1 * MS, 0, s->pay);
    span(s, "b", "a", s->pay, 0, 100 * MS, 2); /* span a has not ended */
    ask(s);
    assert_true(answer_noted(&s->answer, "open=true"));
    assert_int_equal(time_of(s, "running", 200), 100 * MS);
}

/* Woken, and not on a CPU again for as long as anything was recorded. */
static void woken_and_never_run(void **state)
{
    struct stage *s = *state;
    on(s, -1 * MS, 0, s->pay);
    on(s, -1 * MS, 1, s->first);
    world_switch(&s->w, 20 * MS, 0, s->pay, S, s->second);
    world_wake(&s->w, 40 * MS, 1, s->first, s->pay, 0);
    span(s, "a", "", s->pay, 0, 100 * MS, 2);
    ask(s);
    assert_int_equal(time_of(s, "running", 301), 20 * MS);
    assert_int_equal(time_of(s, "runnable.queued", 200), 60 * MS);
}

/* Two calls overlap; spans alone say the later end decides, the kernel saw who ended the wait. */
static void the_kernel_decides_between_siblings(void **state)
{
    struct stage *s = *state;
    on(s, -1 * MS, 0, s->pay);
    on(s, -2 * MS, 1, s->first);
    on(s, -2 * MS, 2, s->second);
    world_switch(&s->w, 20 * MS, 0, s->pay, S, s->idle);
    world_wake_irq(&s->w, 80 * MS, 1, s->first, s->pay, IN_SOFTIRQ, VEC_NET_RX, -1, 0);
    on(s, 80 * MS + 1, 0, s->pay);
    span(s, "a", "", s->pay, 0, 100 * MS, 2);
    span(s, "b", "a", s->first, 10 * MS, 79 * MS, 2);
    span(s, "c", "a", s->second, 10 * MS, 80 * MS, 2);
    ask(s);
    assert_int_equal(time_of(s, "running", 301), 60 * MS);
    assert_int_equal(time_of(s, "running", 401), 0);
}

/* The quota that ran out is that of the group above. */
static void nested_quota_names_the_level(void **state)
{
    struct stage *s = *state;
    on(s, -1 * MS, 0, s->pay);
    world_quota(&s->w, -1 * MS, "/pay", 20 * MS, 0);
    world_throttle(&s->w, 20 * MS, 0, s->pay, s->idle);
    on(s, 80 * MS, 0, s->pay);
    world_quota(&s->w, 90 * MS, "/pay", 20 * MS, 60 * MS);
    span(s, "a", "", s->pay, 0, 100 * MS, 2);
    ask(s);
    int row = answer_find(&s->answer, "runnable.throttled");
    assert_string_equal(cell_str(&s->answer, (uint32_t)row, "object"), "/pay");
    assert_string_equal(cell_str(&s->answer, (uint32_t)row, "cgroup"), "/pay/web");
    assert_string_equal(cell_str(&s->answer, (uint32_t)row, "strength"), "strong(counter)");
}

/* Lengths and stamps at the ends of their range, and backwards, change no sum. */
static void numbers_at_the_ends_of_their_range(void **state)
{
    struct stage *s = *state;
    on(s, -1 * MS, 0, s->pay);
    world_irq(&s->w, 50 * MS, 40 * MS, 0, s->pay, 30, "backwards");
    world_softirq(&s->w, 30 * MS, 30 * MS + 1, 0, s->pay, VEC_TIMER);
    world_syscall(&s->w, -INT64_MAX / 2, 60 * MS, 0, s->pay, "pread64", INT64_MIN);
    world_reclaim_op(&s->w, 70 * MS, 70 * MS, 0, s->pay, INT64_MAX, 1);
    world_work(&s->w, INT64_MIN / 4, 71 * MS, 72 * MS, 0, s->pay, s->first, "far");
    world_move(&s->w, 73 * MS, s->pay, UINT16_MAX, UINT16_MAX);
    struct world_sock sock = {.from = -INT64_MAX / 2,
                              .to = 74 * MS,
                              .thread = s->pay,
                              .op = 1,
                              .bytes = INT64_MAX,
                              .seq = INT64_MIN};
    world_sock(&s->w, &sock);
    world_resent(&s->w, 75 * MS, &sock, INT64_MAX);
    span(s, "a", "", s->pay, 0, 100 * MS, 2);
    ask(s);
    assert_int_equal(answer_sum(&s->answer, NULL), 100 * MS);
}

/* A host that comes late refines the answer; as_of tells the two apart. */
static void a_late_host_refines_the_answer(void **state)
{
    struct stage *s = *state;
    on(s, -1 * MS, 0, s->pay);
    world_switch(&s->w, 20 * MS, 0, s->pay, S, s->idle);
    world_wake_irq(&s->w, 80 * MS, 0, s->idle, s->pay, IN_SOFTIRQ, VEC_NET_RX, -1, 0);
    on(s, 80 * MS + 1, 0, s->pay);
    span(s, "a", "", s->pay, 0, 100 * MS, 2);
    span(s, "b", "a", s->pay, 10 * MS, 81 * MS, 3);
    ask(s);
    assert_int_equal(answer_sum(&s->answer, "remote"), 60 * MS);
    s->w.host = "db1";
    kp_actor_id db = world_thread(&s->w, 900, 901, "db"), idle = world_idle(&s->w);
    world_switch(&s->w, 5 * MS, 0, idle, R, db);
    world_switch(&s->w, 95 * MS, 0, db, S, idle);
    span(s, "c", "b", db, 21 * MS, 80 * MS, 2);
    ask(s);
    assert_int_equal(answer_sum(&s->answer, "remote"), 0);
    assert_int_equal(time_of(s, "running", 901), 60 * MS);
    assert_true(answer_noted(&s->answer, "by host: "));
}

static void idle_is_never_a_culprit(void **state)
{
    struct stage *s = *state;
    on(s, -1 * MS, 0, s->pay);
    world_switch(&s->w, 20 * MS, 0, s->pay, S, s->idle);
    world_wake(&s->w, 60 * MS, 0, s->idle, s->pay, 0);
    on(s, 70 * MS, 0, s->pay);
    span(s, "a", "", s->pay, 0, 100 * MS, 2);
    ask(s);
    for (uint32_t i = 0; i < s->answer.count; i++)
        assert_string_not_equal(cell_str(&s->answer, i, "culprit_comm"), "swapper");
    assert_int_equal(answer_sum(&s->answer, "idle_exit"), 10 * MS);
}

/* Rows at one nanosecond: their order is (host, cpu, seq), however they came. */
static void ties_are_ordered(void **state)
{
    struct stage *s = *state;
    on(s, 0, 0, s->pay);
    world_switch(&s->w, 50 * MS, 0, s->pay, S, s->idle);
    world_wake(&s->w, 50 * MS, 1, s->first, s->pay, 0);
    world_switch(&s->w, 50 * MS, 0, s->idle, R, s->pay);
    span(s, "a", "", s->pay, 0, 100 * MS, 2);
    ask(s);
    char *once = answer_text(&s->w, &s->answer);
    ask(s);
    char *again = answer_text(&s->w, &s->answer);
    assert_string_equal(once, again);
    free(once);
    free(again);
}

/* second woke first, which then held pay's CPU: told with DEPTH, and the sums stay. */
static void occupants_are_explained_on_request(void **state)
{
    struct stage *s = *state;
    on(s, -1 * MS, 0, s->pay);
    on(s, -1 * MS, 1, s->second);
    world_wake(&s->w, 19 * MS, 1, s->second, s->first, 0);
    world_switch(&s->w, 20 * MS, 0, s->pay, RP, s->first);
    world_switch(&s->w, 60 * MS, 0, s->first, S, s->pay);
    span(s, "a", "", s->pay, 0, 100 * MS, 2);
    ask(s);
    int row = answer_find(&s->answer, "runnable.preempted");
    assert_null(strstr(cell_str(&s->answer, (uint32_t)row, "note"), "was woken by"));
    struct kp_causes_req req = world_req("98721");
    req.depth = 3;
    answer_deinit(&s->answer);
    world_causes_req(&s->w, &req, &s->answer);
    answer_check(&s->answer, 100 * MS);
    row = answer_find(&s->answer, "runnable.preempted");
    assert_int_equal(cell_i64(&s->answer, (uint32_t)row, "dur"), 40 * MS);
    assert_non_null(
        strstr(cell_str(&s->answer, (uint32_t)row, "note"), "first(301) was woken by second(401)"));
}

/* Whoever held the CPU that it waited for in vain is explained, too. */
static void depth_explains_who_held_the_wrong_cpu(void **state)
{
    struct stage *s = *state;
    struct kp_causes_req req = world_req("98721");
    on(s, -1 * MS, 0, s->pay);
    on(s, -1 * MS, 2, s->second);
    world_wake(&s->w, 9 * MS, 2, s->second, s->first, 0);
    world_switch(&s->w, 10 * MS, 0, s->pay, RP, s->first);
    world_switch(&s->w, 20 * MS, 2, s->second, S, s->idle);
    world_move(&s->w, 40 * MS, s->pay, 0, 2);
    on(s, 40 * MS + 10, 2, s->pay);
    span(s, "a", "", s->pay, 0, 100 * MS, 2);
    world_commit(&s->w);
    req.depth = 2;
    world_causes_req(&s->w, &req, &s->answer);
    int row = answer_find(&s->answer, "runnable.misplaced");
    assert_int_equal(cell_i64(&s->answer, (uint32_t)row, "dur"), 20 * MS);
    assert_non_null(
        strstr(cell_str(&s->answer, (uint32_t)row, "note"), "first(301) was woken by second(401)"));
}

/* A thread is told on the clock of its host, as its transaction is: db1's is 5 s behind. */
static void a_thread_has_the_clock_of_its_host(void **state)
{
    struct stage *s = *state;
    kp_dur behind = -5 * KP_SEC;
    struct kp_causes_req req = world_req("");
    world_clock(&s->w, -KP_SEC, 0, 1000, 0);
    s->w.host = "db1";
    kp_actor_id ledger = world_thread(&s->w, 600, 601, "ledger"), idle = world_idle(&s->w);
    world_clock(&s->w, behind - KP_SEC, -behind, 2000, 0);
    world_switch(&s->w, behind - 2 * MS, 0, idle, R, ledger);
    world_sock(&s->w, &(struct world_sock){.from = behind + 55 * MS,
                                           .to = behind + 56 * MS,
                                           .thread = ledger,
                                           .op = 0,
                                           .local = 2,
                                           .local_port = 5432,
                                           .peer = 1,
                                           .peer_port = 40000,
                                           .bytes = 100,
                                           .seq = 1150});
    s->w.host = "web1";
    on(s, -1 * MS, 0, s->pay);
    world_switch(&s->w, 10 * MS, 0, s->pay, S, s->idle);
    world_wake_irq(&s->w, 60 * MS, 0, s->idle, s->pay, IN_SOFTIRQ, VEC_NET_RX, -1, 0);
    on(s, 60 * MS + 1, 0, s->pay);
    world_sock(&s->w, &(struct world_sock){.from = 9 * MS,
                                           .to = 61 * MS,
                                           .thread = s->pay,
                                           .op = 1,
                                           .local = 1,
                                           .local_port = 40000,
                                           .peer = 2,
                                           .peer_port = 5432,
                                           .bytes = 100,
                                           .seq = 1150});
    world_commit(&s->w);
    req.root = KP_ROOT_THREAD;
    req.number = 200;
    req.from = s->w.zero;
    req.to = s->w.zero + 100 * MS;
    world_causes_req(&s->w, &req, &s->answer);
    answer_check(&s->answer, 100 * MS);
    int wire = answer_find(&s->answer, "net.wire");
    assert_int_equal(cell_i64(&s->answer, (uint32_t)wire, "dur"), 4 * MS);
    assert_int_equal(answer_sum(&s->answer, "running"), 96 * MS - 1);
}

/* A signal of the timer interrupts the call; the thread makes it again, or does not. */
static void interrupted_at_30(struct stage *s, bool again)
{
    on(s, -1 * MS, 1, s->first);
    on(s, -1 * MS, 0, s->pay);
    world_switch(&s->w, 10 * MS, 0, s->pay, S, s->idle);
    world_wake_irq(&s->w, 30 * MS, 0, s->idle, s->pay, IN_HARDIRQ, 0, -1, 0);
    on(s, 30 * MS + 1, 0, s->pay);
    world_syscall(&s->w, 10 * MS - 1, 30 * MS + 10, 0, s->pay, "epoll_wait", -4);
    if (!again)
        return;
    world_switch(&s->w, 30 * MS + 100, 0, s->pay, S, s->idle);
    world_wake(&s->w, 60 * MS, 1, s->first, s->pay, 0);
    on(s, 60 * MS + 1, 0, s->pay);
    world_syscall(&s->w, 30 * MS + 90, 60 * MS + 10, 0, s->pay, "epoll_wait", 1);
}

static void a_wait_begun_again_is_one_wait(void **state)
{
    struct stage *s = *state;
    interrupted_at_30(s, true);
    span(s, "a", "", s->pay, 0, 100 * MS, 2);
    ask(s);
    assert_int_equal(time_of(s, "running", 301), 50 * MS - 100);
    assert_int_equal(answer_find(&s->answer, "timer.timeout"), -1);
}

static void a_wait_not_begun_again_ends_by_the_timer(void **state)
{
    struct stage *s = *state;
    interrupted_at_30(s, false);
    span(s, "a", "", s->pay, 0, 100 * MS, 2);
    ask(s);
    assert_int_equal(time_of(s, "timer.timeout", 200), 20 * MS);
}

#define NEXT (30 * MS + 500 * KP_US)

/* Sleeps from 10 to 80; at 30 somebody interrupts it, half a millisecond later it goes on. */
static void sleep_interrupted(struct stage *s, int64_t result, int letter, const char *again)
{
    on(s, -1 * MS, 1, s->first);
    on(s, -1 * MS, 0, s->pay);
    world_switch(&s->w, 10 * MS, 0, s->pay, S, s->idle);
    world_wake(&s->w, 30 * MS, 1, s->first, s->pay, 0);
    on(s, 30 * MS + 1, 0, s->pay);
    world_syscall(&s->w, 10 * MS - 1, 30 * MS + 10, 0, s->pay, "clock_nanosleep", result);
    if (letter != 0) {
        world_switch(&s->w, 30 * MS + 20 * KP_US, 0, s->pay, letter, s->idle);
        world_wake(&s->w, NEXT, 1, s->first, s->pay, 0);
        on(s, NEXT + 1, 0, s->pay);
    }
    if (again == NULL)
        return;
    world_switch(&s->w, NEXT + 100, 0, s->pay, S, s->idle);
    world_wake_irq(&s->w, 80 * MS, 0, s->idle, s->pay, IN_HARDIRQ, VEC_NONE, -1, 0);
    on(s, 80 * MS, 0, s->pay);
    world_syscall(&s->w, NEXT + 90, 80 * MS + 10, 0, s->pay, again, 0);
}

/* Whoever sent the signal, stopped or froze it did not make it sleep. */
static void sleeps_on(struct stage *s, int letter, const char *again)
{
    sleep_interrupted(s, -516, letter, again);
    span(s, "a", "", s->pay, 0, 100 * MS, 2);
    ask(s);
    int row = answer_find(&s->answer, "timer.sleep");
    assert_int_equal(cell_i64(&s->answer, (uint32_t)row, "dur"), 70 * MS - 500 * KP_US - 100);
    assert_string_equal(cell_str(&s->answer, (uint32_t)row, "strength"), "strong");
    assert_string_equal(cell_str(&s->answer, (uint32_t)row, "subkind"), "clock_nanosleep");
    assert_int_equal(time_of(s, "running", 301), 0);
}

static void a_signal_does_not_end_a_sleep(void **state)
{
    sleeps_on(*state, 0, "clock_nanosleep");
}

static void a_stop_does_not_end_a_sleep(void **state)
{
    struct stage *s = *state;
    sleeps_on(s, T, "restart_syscall");
    assert_int_equal(answer_sum(&s->answer, "stopped"), 480 * KP_US);
}

static void the_freezer_does_not_end_a_sleep(void **state)
{
    struct stage *s = *state;
    sleeps_on(s, F, "restart_syscall");
    assert_int_equal(answer_sum(&s->answer, "frozen"), 480 * KP_US);
}

/* The time was over while it was stopped. */
static void a_sleep_that_ends_unseen_is_weak(void **state)
{
    struct stage *s = *state;
    sleep_interrupted(s, -516, T, NULL);
    span(s, "a", "", s->pay, 0, 100 * MS, 2);
    ask(s);
    int row = answer_find(&s->answer, "timer.sleep");
    assert_int_equal(cell_i64(&s->answer, (uint32_t)row, "dur"), 20 * MS);
    assert_string_equal(cell_str(&s->answer, (uint32_t)row, "strength"), "weak");
}

#define T_(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_(an_open_transaction_ends_where_it_was_seen),
        T_(woken_and_never_run),
        T_(the_kernel_decides_between_siblings),
        T_(nested_quota_names_the_level),
        T_(numbers_at_the_ends_of_their_range),
        T_(a_late_host_refines_the_answer),
        T_(idle_is_never_a_culprit),
        T_(ties_are_ordered),
        T_(a_thread_has_the_clock_of_its_host),
        T_(occupants_are_explained_on_request),
        T_(depth_explains_who_held_the_wrong_cpu),
        T_(a_wait_begun_again_is_one_wait),
        T_(a_wait_not_begun_again_ends_by_the_timer),
        T_(a_signal_does_not_end_a_sleep),
        T_(a_stop_does_not_end_a_sleep),
        T_(the_freezer_does_not_end_a_sleep),
        T_(a_sleep_that_ends_unseen_is_weak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
