/* SPDX-License-Identifier: Apache-2.0
 *
 * The walk through threads and processes: wakers, span edges over local TCP, a time limit that ran
 * out on late work, and everything that must end it.
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
#define US KP_US

struct stage {
    struct world w;
    kp_actor_id idle, client, handler, settle, ledger, batch;
    struct answer answer;
};

static int setup(void **state)
{
    static struct stage stage;
    memset(&stage, 0, sizeof(stage));
    world_open(&stage.w);
    stage.idle = world_idle(&stage.w);
    stage.client = world_thread(&stage.w, 100, 100, "client");
    stage.handler = world_thread(&stage.w, 200, 201, "handler");
    stage.settle = world_thread(&stage.w, 300, 301, "settlement");
    stage.ledger = world_thread(&stage.w, 400, 401, "ledger");
    stage.batch = world_thread_in(&stage.w, 500, 500, "batch", 500000, "/batch", false);
    world_switch(&stage.w, -500 * MS, 0, stage.batch, S, stage.idle);
    world_switch(&stage.w, -500 * MS, 1, stage.batch, S, stage.idle);
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

static void span(struct stage *s, const char *id, const char *parent, const char *service,
                 const char *name, kp_actor_id thread, kp_time from, kp_time to, int kind,
                 int status)
{
    world_span(&s->w, &(struct world_span){.from = from,
                                           .to = to,
                                           .thread = thread,
                                           .trace = "t1",
                                           .id = id,
                                           .parent = parent,
                                           .txn = "98721",
                                           .service = service,
                                           .name = name,
                                           .kind = kind,
                                           .status = status,
                                           .status_msg = status == 2 ? "time limit" : ""});
}

/* A message over local TCP: the wakeup comes from the sender's own soft interrupt. */
static void tcp(struct stage *s, kp_time t, uint32_t cpu, kp_actor_id from, kp_actor_id to)
{
    world_wake_irq(&s->w, t, cpu, from, to, IN_SOFTIRQ, VEC_NET_RX, -1, cpu);
}

/* The thread comes onto an idle CPU / leaves it to the idle thread. */
static void on(struct stage *s, kp_time t, uint32_t cpu, kp_actor_id thread)
{
    world_switch(&s->w, t, cpu, s->idle, R, thread);
}

static void off(struct stage *s, kp_time t, uint32_t cpu, kp_actor_id thread)
{
    world_switch(&s->w, t, cpu, thread, S, s->idle);
}

static void ask(struct stage *s, kp_dur wall)
{
    world_commit(&s->w);
    world_causes(&s->w, "98721", &s->answer);
    answer_check(&s->answer, wall);
}

static int expect(struct stage *s, const char *kind, kp_dur dur)
{
    int row = answer_find(&s->answer, kind);
    if (row < 0 || answer_sum(&s->answer, kind) != dur)
        fail_msg("%s: wanted %lld in\n%s", kind, (long long)dur, answer_text(&s->w, &s->answer));
    return row;
}

/* The payment of the demo. The client calls the handler (limit 750 ms), it calls settlement, that
 * calls the ledger; batch takes settlement's CPU from 100 to 488 ms. The work ends at 802 ms. */
static void payment(struct stage *s)
{
    on(s, -1 * MS, 0, s->client);
    tcp(s, 1 * MS, 0, s->client, s->handler);
    on(s, 1 * MS + 50 * US, 1, s->handler);
    off(s, 1 * MS + 100 * US, 0, s->client);
    tcp(s, 5 * MS, 1, s->handler, s->settle);
    on(s, 5 * MS + 50 * US, 0, s->settle);
    world_syscall(&s->w, 6 * MS, 751 * MS, 1, s->handler, "poll", 0);
    off(s, 6 * MS, 1, s->handler);
    world_switch(&s->w, 100 * MS, 0, s->settle, RP, s->batch);
    world_switch(&s->w, 488 * MS, 0, s->batch, S, s->settle);
    tcp(s, 500 * MS, 0, s->settle, s->ledger);
    on(s, 500 * MS + 50 * US, 1, s->ledger);
    off(s, 501 * MS, 0, s->settle);
    world_syscall(&s->w, 600 * MS, 790 * MS, 1, s->ledger, "fsync", 0);
    world_switch(&s->w, 610 * MS, 1, s->ledger, D, s->idle);
    world_block(&s->w, 610 * MS, 615 * MS, 789 * MS, 1, s->ledger, 9912);
    /* the limit runs out while settlement and ledger are still at work */
    world_wake_irq(&s->w, 751 * MS, 1, s->idle, s->handler, IN_HARDIRQ, VEC_NONE, -1, 1);
    on(s, 751 * MS + 20 * US, 1, s->handler);
    tcp(s, 752 * MS, 1, s->handler, s->client);
    on(s, 752 * MS + 50 * US, 0, s->client);
    off(s, 752 * MS + 100 * US, 1, s->handler);
    off(s, 754 * MS, 0, s->client);
    world_wake_irq(&s->w, 789 * MS + 10 * US, 1, s->idle, s->ledger, IN_HARDIRQ, VEC_NONE, 30, 1);
    on(s, 789 * MS + 20 * US, 1, s->ledger);
    tcp(s, 800 * MS, 1, s->ledger, s->settle);
    on(s, 800 * MS + 50 * US, 0, s->settle);
    off(s, 801 * MS, 1, s->ledger);
    off(s, 806 * MS, 0, s->settle);
    span(s, "a", "", "client", "POST /pay", s->client, 0, 753 * MS, 3, 2);
    span(s, "b", "a", "handler", "pay", s->handler, 1 * MS + 60 * US, 752 * MS, 2, 2);
    span(s, "c", "b", "handler", "settle", s->handler, 4 * MS, 751 * MS + 30 * US, 3, 2);
    span(s, "d", "c", "settlement", "settle", s->settle, 5 * MS + 60 * US, 805 * MS, 2, 1);
    span(s, "e", "d", "settlement", "book", s->settle, 499 * MS, 801 * MS, 3, 1);
    span(s, "f", "e", "ledger", "write", s->ledger, 500 * MS + 60 * US, 799 * MS, 2, 1);
}

static void late_work_behind_a_time_limit(void **state)
{
    struct stage *s = *state;
    payment(s);
    ask(s, 753 * MS);
    int row = expect(s, "runnable.preempted", 388 * MS);
    assert_int_equal(row, 0);
    assert_int_equal(answer_root(&s->answer), 0);
    assert_int_equal(cell_i64(&s->answer, row, "pid"), 300);
    assert_int_equal(cell_i64(&s->answer, row, "tid"), 301);
    assert_string_equal(cell_str(&s->answer, row, "span"), "settle");
    assert_int_equal(cell_i64(&s->answer, row, "culprit_pid"), 500);
    assert_string_equal(cell_str(&s->answer, row, "strength"), "strong");
    assert_non_null(strstr(cell_str(&s->answer, row, "note"), "a time limit ran out"));
    expect(s, "block_io.queue", 5 * MS);
    expect(s, "block_io.device", 136 * MS);
    assert_int_equal(answer_find(&s->answer, "timer.timeout"), -1);
    assert_true(answer_noted(&s->answer, "gave up after 753.000 ms: time limit"));
    assert_true(answer_noted(&s->answer, "its work ended 52.000 ms later"));
}

static void evidence_of_the_root_is_the_switch(void **state)
{
    struct stage *s = *state;
    payment(s);
    world_commit(&s->w);
    world_evidence(&s->w, "98721", 1, &s->answer);
    assert_int_equal(s->answer.status, KP_OK);
    assert_true(s->answer.count >= 2);
    assert_string_equal(cell_str(&s->answer, 0, "stream"), "sched_switch");
    assert_int_equal(cell_i64(&s->answer, 0, "ts"), WORLD_ZERO + 100 * MS);
    assert_int_equal(cell_i64(&s->answer, 0, "row"), 1);
    assert_string_equal(cell_str(&s->answer, 0, "what"),
                        "batch/500 took the CPU from settlement/301 (left in R+, prio 120 -> 120)");
}

/* Settlement's time lies two calls away: the evidence has the rows that lead there. */
static void evidence_has_the_edges(void **state)
{
    struct stage *s = *state;
    bool edge = false;
    payment(s);
    world_commit(&s->w);
    world_evidence(&s->w, "98721", 1, &s->answer);
    for (uint32_t row = 0; row < s->answer.count; row++) {
        const char *rule = cell_str(&s->answer, row, "rule");
        assert_int_equal(cell_i64(&s->answer, row, "gap_ns"), 0);
        if (strcmp(rule, "span") == 0) {
            edge = true;
            assert_string_equal(cell_str(&s->answer, row, "stream"), "sched_waking");
        } else {
            assert_string_equal(rule, "occupant");
            assert_string_equal(cell_str(&s->answer, row, "strength"), "strong");
        }
    }
    assert_true(edge);
}

static void evidence_row_out_of_range(void **state)
{
    struct stage *s = *state;
    payment(s);
    world_commit(&s->w);
    world_evidence(&s->w, "98721", 99, &s->answer);
    assert_int_equal(s->answer.status, KP_NOT_FOUND);
    assert_non_null(strstr(s->answer.err.text, "there is no row 99"));
}

/* Two threads of one host over a pipe: the reader waits for the writer, who sleeps. */
static void waker_in_process_context(void **state)
{
    struct stage *s = *state;
    on(s, -1 * MS, 0, s->client);
    off(s, 10 * MS, 0, s->client);
    on(s, -2 * MS, 1, s->handler);
    world_syscall(&s->w, 20 * MS, 60 * MS, 1, s->handler, "nanosleep", 0);
    off(s, 20 * MS, 1, s->handler);
    world_wake_irq(&s->w, 60 * MS, 1, s->idle, s->handler, IN_HARDIRQ, VEC_NONE, -1, 1);
    on(s, 60 * MS + US, 1, s->handler);
    world_wake(&s->w, 80 * MS, 1, s->handler, s->client, 0);
    on(s, 80 * MS + US, 0, s->client);
    off(s, 200 * MS, 0, s->client);
    span(s, "a", "", "client", "get", s->client, 0, 100 * MS, 1, 0);
    ask(s, 100 * MS);
    int row = expect(s, "timer.sleep", 40 * MS);
    assert_int_equal(cell_i64(&s->answer, row, "pid"), 200);
    assert_int_equal(cell_i64(&s->answer, row, "culprit_pid"), 200);
    assert_string_equal(cell_str(&s->answer, row, "strength"), "strong");
    assert_non_null(strstr(cell_str(&s->answer, row, "note"), "by wake"));
    /* 10..20 and 60+..80 the writer ran */
    expect(s, "running", 10 * MS + 10 * MS + 20 * MS - US + 20 * MS - US);
}

/* The writer's time before the wait is not anybody's cause. */
static void waker_is_bounded_by_the_wait(void **state)
{
    struct stage *s = *state;
    on(s, -1 * MS, 0, s->client);
    on(s, -400 * MS, 1, s->handler);
    off(s, 50 * MS, 0, s->client);
    world_wake(&s->w, 60 * MS, 1, s->handler, s->client, 0);
    on(s, 60 * MS + US, 0, s->client);
    span(s, "a", "", "client", "get", s->client, 0, 100 * MS, 1, 0);
    ask(s, 100 * MS);
    for (uint32_t i = 0; i < s->answer.count; i++)
        if (cell_i64(&s->answer, i, "pid") == 200) {
            assert_int_equal(cell_i64(&s->answer, i, "dur"), 10 * MS);
            assert_int_equal(cell_i64(&s->answer, i, "start"), WORLD_ZERO + 50 * MS);
        }
    expect(s, "running", 100 * MS - US);
}

static void two_threads_that_wait_for_each_other_end(void **state)
{
    struct stage *s = *state;
    on(s, -1 * MS, 0, s->client);
    off(s, 10 * MS, 0, s->client);
    on(s, -1 * MS, 1, s->handler);
    off(s, 5 * MS, 1, s->handler);
    /* each is woken by the other, at one instant: no order can be right */
    world_wake(&s->w, 50 * MS, 0, s->client, s->handler, 1);
    world_wake(&s->w, 50 * MS, 1, s->handler, s->client, 0);
    on(s, 51 * MS, 0, s->client);
    on(s, 51 * MS, 1, s->handler);
    span(s, "a", "", "client", "get", s->client, 0, 100 * MS, 1, 0);
    ask(s, 100 * MS);
    int row = expect(s, "net.local", 40 * MS);
    assert_string_equal(cell_str(&s->answer, row, "stop"), "cycle");
    assert_string_equal(cell_str(&s->answer, row, "strength"), "weak");
}

/* The server took up the request late because it was serving somebody else's payment. */
static void waits_behind_another_transaction(void **state)
{
    struct stage *s = *state;
    on(s, -1 * MS, 0, s->client);
    on(s, -20 * MS, 1, s->handler);
    off(s, 1 * MS, 0, s->client);
    tcp(s, 80 * MS, 1, s->handler, s->client);
    on(s, 80 * MS + US, 0, s->client);
    span(s, "a", "", "client", "get", s->client, 0, 100 * MS, 3, 0);
    span(s, "b", "a", "handler", "serve", s->handler, 60 * MS, 80 * MS, 2, 0);
    world_span(&s->w, &(struct world_span){.from = -20 * MS,
                                           .to = 60 * MS,
                                           .thread = s->handler,
                                           .trace = "t2",
                                           .id = "z",
                                           .txn = "98544",
                                           .service = "handler",
                                           .name = "serve"});
    ask(s, 100 * MS);
    bool seen = false;
    for (uint32_t i = 0; i < s->answer.count; i++)
        if (strcmp(cell_str(&s->answer, i, "txn"), "98544") == 0) {
            seen = true;
            assert_int_equal(cell_i64(&s->answer, i, "dur"), 59 * MS);
            assert_non_null(strstr(cell_str(&s->answer, i, "note"), "via=txn 98544"));
        }
    assert_true(seen);
}

static void server_on_a_host_without_capture(void **state)
{
    struct stage *s = *state;
    s->w.host = "db1";
    kp_actor_id remote = world_thread(&s->w, 900, 901, "db");
    on(s, -1 * MS, 0, s->client);
    off(s, 10 * MS, 0, s->client);
    world_wake_irq(&s->w, 90 * MS, 1, s->idle, s->client, IN_SOFTIRQ, VEC_NET_RX, -1, 0);
    on(s, 90 * MS + US, 0, s->client);
    span(s, "a", "", "client", "get", s->client, 0, 100 * MS, 3, 0);
    span(s, "b", "a", "db", "query", remote, 11 * MS, 89 * MS, 2, 0);
    ask(s, 100 * MS);
    int row = expect(s, "remote", 80 * MS);
    assert_string_equal(cell_str(&s->answer, row, "strength"), "weak");
    assert_string_equal(cell_str(&s->answer, row, "subkind"), "untraced-host");
    assert_int_equal(cell_i64(&s->answer, row, "culprit_pid"), 900);
}

static void spans_alone(void **state)
{
    struct stage *s = *state;
    s->w.host = "far";
    kp_actor_id a = world_thread(&s->w, 900, 901, "a"), b = world_thread(&s->w, 910, 911, "b");
    span(s, "a", "", "front", "get", a, 0, 100 * MS, 2, 0);
    span(s, "b", "a", "back", "query", b, 20 * MS, 50 * MS, 2, 0);
    span(s, "c", "a", "back", "query", b, 40 * MS, 90 * MS, 2, 0);
    ask(s, 100 * MS);
    /* c had begun before b ended: b did not hold it up */
    expect(s, "remote", 50 * MS);
    expect(s, "unknown(untraced-host)", 50 * MS);
    for (uint32_t i = 0; i < s->answer.count; i++)
        assert_string_not_equal(cell_str(&s->answer, i, "strength"), "strong");
}

static void before_the_recording_is_unknown(void **state)
{
    struct stage *s = *state;
    s->w.host = "web2";
    kp_actor_id idle = world_idle(&s->w), pay = world_thread(&s->w, 700, 700, "pay");
    /* the first row of this host comes in the middle of the wait */
    world_wake(&s->w, 40 * MS, 0, idle, pay, 0);
    world_switch(&s->w, 41 * MS, 0, idle, R, pay);
    span(s, "a", "", "pay", "get", pay, 0, 100 * MS, 2, 0);
    ask(s, 100 * MS);
    expect(s, "unknown(before-trace)", 40 * MS);
    expect(s, "running", 59 * MS);
}

static void waiting_since_before_the_first_row_read(void **state)
{
    struct stage *s = *state;
    /* handler fell asleep long before anything that is read; the client waits for it */
    on(s, -1 * MS, 0, s->client);
    off(s, 10 * MS, 0, s->client);
    world_wake(&s->w, 50 * MS, 1, s->idle, s->handler, 1);
    on(s, 51 * MS, 1, s->handler);
    world_wake(&s->w, 60 * MS, 1, s->handler, s->client, 0);
    on(s, 60 * MS + US, 0, s->client);
    span(s, "a", "", "client", "get", s->client, 0, 100 * MS, 1, 0);
    ask(s, 100 * MS);
    int row = answer_find(&s->answer, "unknown(no-waker)");
    assert_true(row >= 0);
    assert_int_equal(cell_i64(&s->answer, row, "dur"), 40 * MS);
    assert_string_equal(cell_str(&s->answer, row, "stop"), "horizon");
}

static void lock_held_by_its_last_waker(void **state)
{
    struct stage *s = *state;
    on(s, -1 * MS, 0, s->client);
    on(s, -2 * MS, 1, s->handler);
    world_switch(&s->w, 10 * MS, 0, s->client, D, s->idle);
    /* the holder is itself preempted by batch from 20 to 60 */
    world_switch(&s->w, 20 * MS, 1, s->handler, RP, s->batch);
    world_switch(&s->w, 60 * MS, 1, s->batch, S, s->handler);
    world_wake(&s->w, 80 * MS, 1, s->handler, s->client, 0);
    on(s, 80 * MS + US, 0, s->client);
    world_lock(&s->w, 10 * MS, 80 * MS + US, 0, s->client, s->handler, 0xabc);
    span(s, "a", "", "client", "get", s->client, 0, 100 * MS, 1, 0);
    ask(s, 100 * MS);
    int row = expect(s, "runnable.preempted", 40 * MS);
    assert_int_equal(cell_i64(&s->answer, row, "culprit_pid"), 500);
    row = expect(s, "lock", 30 * MS);
    assert_int_equal(cell_i64(&s->answer, row, "culprit_pid"), 200);
    assert_string_equal(cell_str(&s->answer, row, "object"), "0xabc");
    assert_string_equal(cell_str(&s->answer, row, "strength"), "strong");
}

static void lock_without_a_known_holder_is_weak(void **state)
{
    struct stage *s = *state;
    on(s, -1 * MS, 0, s->client);
    world_switch(&s->w, 10 * MS, 0, s->client, D, s->idle);
    world_wake(&s->w, 80 * MS, 1, s->handler, s->client, 0);
    on(s, 80 * MS + US, 0, s->client);
    world_lock(&s->w, 10 * MS, 80 * MS + US, 0, s->client, KP_ACTOR_UNKNOWN, 0xabc);
    span(s, "a", "", "client", "get", s->client, 0, 100 * MS, 1, 0);
    ask(s, 100 * MS);
    int row = expect(s, "lock", 70 * MS);
    assert_string_equal(cell_str(&s->answer, row, "strength"), "weak");
    assert_true(cell_null(&s->answer, row, "culprit_pid"));
}

/* A kernel without spans below the client: the sender is seen inside its send. */
static void local_sender_without_spans_is_weak(void **state)
{
    struct stage *s = *state;
    on(s, -1 * MS, 0, s->client);
    on(s, -2 * MS, 1, s->handler);
    off(s, 10 * MS, 0, s->client);
    world_syscall(&s->w, 59 * MS, 61 * MS, 1, s->handler, "sendto", 10);
    tcp(s, 60 * MS, 1, s->handler, s->client);
    on(s, 60 * MS + US, 0, s->client);
    span(s, "a", "", "client", "get", s->client, 0, 100 * MS, 1, 0);
    ask(s, 100 * MS);
    bool seen = false;
    for (uint32_t i = 0; i < s->answer.count; i++)
        if (cell_i64(&s->answer, i, "pid") == 200) {
            seen = true;
            assert_string_equal(cell_str(&s->answer, i, "strength"), "weak");
        }
    assert_true(seen);
}

/* A flush goes out through a worker of the CPU that batch holds: the device is not late. */
static void request_held_back_with_its_worker(void **state)
{
    struct stage *s = *state;
    kp_actor_id worker = world_thread_in(&s->w, 44, 44, "kworker/0:1H", 0, "/", true);
    on(s, -1 * MS, 0, s->client);
    world_switch(&s->w, 100 * MS, 0, s->client, D, s->batch);
    world_wake_irq(&s->w, 101 * MS, 0, s->batch, worker, IN_SOFTIRQ, VEC_BLOCK, -1, 0);
    world_switch(&s->w, 700 * MS, 0, s->batch, S, worker);
    world_block(&s->w, 701 * MS, 702 * MS, 710 * MS, 0, worker, 9912);
    world_switch(&s->w, 703 * MS, 0, worker, S, s->idle);
    world_wake_irq(&s->w, 710 * MS, 0, s->idle, s->client, IN_SOFTIRQ, VEC_BLOCK, -1, 0);
    on(s, 711 * MS, 0, s->client);
    span(s, "a", "", "client", "POST /pay", s->client, 0, 720 * MS, 3, 1);
    ask(s, 720 * MS);
    int row = expect(s, "runnable.queued", 599 * MS);
    assert_int_equal(cell_i64(&s->answer, (uint32_t)row, "culprit_pid"), 500);
    expect(s, "block_io.device", 8 * MS);
    expect(s, "block_io.queue", 2 * MS);
}

int main(void)
{
#define T_(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T_(late_work_behind_a_time_limit),
        T_(request_held_back_with_its_worker),
        T_(evidence_of_the_root_is_the_switch),
        T_(evidence_has_the_edges),
        T_(evidence_row_out_of_range),
        T_(waker_in_process_context),
        T_(waker_is_bounded_by_the_wait),
        T_(two_threads_that_wait_for_each_other_end),
        T_(waits_behind_another_transaction),
        T_(server_on_a_host_without_capture),
        T_(spans_alone),
        T_(before_the_recording_is_unknown),
        T_(waiting_since_before_the_first_row_read),
        T_(lock_held_by_its_last_waker),
        T_(lock_without_a_known_holder_is_weak),
        T_(local_sender_without_spans_is_weak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
