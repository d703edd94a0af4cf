/* SPDX-License-Identifier: Apache-2.0
 *
 * What waits were for, from the rows that tell: messages and the calls that sent them, on one host
 * and between two whose clocks differ; kernel workers, page faults, journals, forks, signals; moves
 * between run queues; whom a device was busy with.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "base/assert.h"
#include "world.h"

#define MS KP_MS
#define US KP_US

enum { SEND, RECEIVE, CONNECT, ACCEPT };

struct stage {
    struct world w;
    kp_actor_id idle, pay, peer, batch, worker;
    struct answer answer;
};

static int setup(void **state)
{
    static struct stage stage;
    memset(&stage, 0, sizeof(stage));
    world_open(&stage.w);
    stage.idle = world_idle(&stage.w);
    stage.pay = world_thread(&stage.w, 200, 200, "pay");
    stage.peer = world_thread(&stage.w, 300, 301, "ledger");
    stage.batch = world_thread_in(&stage.w, 500, 500, "batch", 500000, "/batch", false);
    stage.worker = world_thread_in(&stage.w, 40, 40, "kworker/1:0", 40000, "", true);
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

static void off(struct stage *s, kp_time t, uint32_t cpu, kp_actor_id thread)
{
    world_switch(&s->w, t, cpu, thread, S, s->idle);
}

/* pay runs on CPU 0, sleeps in [10, to) ms and runs on. */
static void pay_waits(struct stage *s, kp_time to, int state)
{
    on(s, -1 * MS, 0, s->pay);
    world_switch(&s->w, 10 * MS, 0, s->pay, state, s->idle);
    on(s, to + 1, 0, s->pay);
}

static void woken_by_net(struct stage *s, kp_time t, kp_actor_id current)
{
    world_wake_irq(&s->w, t, 0, current, s->pay, IN_SOFTIRQ, VEC_NET_RX, -1, 0);
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

/* The row of this kind whose victim is the thread; it must last so long and be so sure. */
static uint32_t expect(struct stage *s, const char *kind, int64_t tid, kp_dur dur,
                       const char *strength)
{
    for (uint32_t i = 0; i < s->answer.count; i++) {
        if (strcmp(cell_str(&s->answer, i, "kind"), kind) != 0 ||
            cell_i64(&s->answer, i, "tid") != tid || cell_i64(&s->answer, i, "dur") != dur)
            continue;
        assert_string_equal(cell_str(&s->answer, i, "strength"), strength);
        return i;
    }
    fail_msg("%s of %lld, %lld ns: not in\n%s", kind, (long long)tid, (long long)dur,
             answer_text(&s->w, &s->answer));
    return 0;
}

/* The two ends of pay's connection to the ledger. */
static struct world_sock pay_end(struct stage *s, int op, kp_time from, kp_time to, int64_t bytes,
                                 int64_t seq)
{
    return (struct world_sock){.from = from,
                               .to = to,
                               .thread = s->pay,
                               .op = op,
                               .local = 1,
                               .local_port = 40000,
                               .peer = 2,
                               .peer_port = 5432,
                               .bytes = bytes,
                               .seq = seq};
}

static struct world_sock peer_end(struct stage *s, int op, kp_time from, kp_time to, int64_t bytes,
                                  int64_t seq)
{
    return (struct world_sock){.from = from,
                               .to = to,
                               .cpu = 1,
                               .thread = s->peer,
                               .op = op,
                               .local = 2,
                               .local_port = 5432,
                               .peer = 1,
                               .peer_port = 40000,
                               .bytes = bytes,
                               .seq = seq};
}

/* ---------- messages ---------- */

/* The receiver's wakeup happens under a stranger: the sender is the one whose bytes came. */
static void the_sender_of_the_bytes_explains(void **state)
{
    struct stage *s = *state;
    on(s, -2 * MS, 1, s->peer);
    pay_waits(s, 60 * MS, S);
    woken_by_net(s, 60 * MS, s->batch);
    struct world_sock other = peer_end(s, SEND, 30 * MS, 31 * MS, 50, 1050);
    struct world_sock answer = peer_end(s, SEND, 58 * MS, 59 * MS, 100, 1150);
    struct world_sock got = pay_end(s, RECEIVE, 10 * MS - 1, 61 * MS, 100, 1150);
    world_sock(&s->w, &other);
    world_sock(&s->w, &answer);
    world_sock(&s->w, &got);
    ask(s);
    uint32_t row = expect(s, "running", 301, 49 * MS, "strong");
    assert_non_null(strstr(cell_str(&s->answer, row, "note"), "by net"));
    row = expect(s, "net.local", 200, 1 * MS, "strong");
    assert_string_equal(cell_str(&s->answer, row, "object"), "10.0.0.1:40000 > 10.0.0.2:5432");
}

static void poll_waits_for_what_is_received_after_it(void **state)
{
    struct stage *s = *state;
    on(s, -2 * MS, 1, s->peer);
    pay_waits(s, 60 * MS, S);
    woken_by_net(s, 60 * MS, s->batch);
    world_syscall(&s->w, 10 * MS - 1, 60 * MS + 100, 0, s->pay, "epoll_wait", 1);
    struct world_sock answer = peer_end(s, SEND, 59 * MS, 60 * MS, 100, 1150);
    struct world_sock got = pay_end(s, RECEIVE, 60 * MS + 200, 60 * MS + 300, 100, 1150);
    world_sock(&s->w, &answer);
    world_sock(&s->w, &got);
    ask(s);
    expect(s, "running", 301, 50 * MS, "strong");
}

/* Numbers wrap around at 2^32. */
static void numbers_of_bytes_wrap(void **state)
{
    struct stage *s = *state;
    on(s, -2 * MS, 1, s->peer);
    pay_waits(s, 60 * MS, S);
    woken_by_net(s, 60 * MS, s->batch);
    struct world_sock answer = peer_end(s, SEND, 58 * MS, 60 * MS, 100, 40);
    struct world_sock got = pay_end(s, RECEIVE, 9 * MS, 61 * MS, 100, 40);
    world_sock(&s->w, &answer);
    world_sock(&s->w, &got);
    ask(s);
    expect(s, "running", 301, 50 * MS, "strong");
}

static void what_was_sent_again_is_told_apart(void **state)
{
    struct stage *s = *state;
    on(s, -2 * MS, 1, s->peer);
    pay_waits(s, 90 * MS, S);
    woken_by_net(s, 90 * MS, s->batch);
    struct world_sock answer = peer_end(s, SEND, 19 * MS, 20 * MS, 100, 1150);
    struct world_sock got = pay_end(s, RECEIVE, 9 * MS, 91 * MS, 100, 1150);
    world_sock(&s->w, &answer);
    world_resent(&s->w, 40 * MS, &answer, 1050);
    world_resent(&s->w, 80 * MS, &answer, 1050);
    world_sock(&s->w, &got);
    ask(s);
    uint32_t row = expect(s, "net.retransmit", 200, 60 * MS, "strong");
    assert_int_equal(cell_i64(&s->answer, row, "root"), 1);
    assert_non_null(strstr(cell_str(&s->answer, row, "evidence"), "web1/1/"));
    expect(s, "net.local", 200, 10 * MS, "strong");
    expect(s, "running", 301, 10 * MS, "strong");
}

/* The peer's host is not recorded, but this side had to repeat its request. */
static void own_segments_sent_again_tell(void **state)
{
    struct stage *s = *state;
    pay_waits(s, 90 * MS, S);
    woken_by_net(s, 90 * MS, s->batch);
    struct world_sock got = pay_end(s, RECEIVE, 9 * MS, 91 * MS, 100, 1150);
    world_sock(&s->w, &got);
    world_resent(&s->w, 50 * MS, &got, 7);
    ask(s);
    expect(s, "net.retransmit", 200, 40 * MS, "strong");
    expect(s, "net.wire", 200, 40 * MS, "weak");
}

static void connecting_waits_for_the_peers_kernel(void **state)
{
    struct stage *s = *state;
    pay_waits(s, 60 * MS, S);
    woken_by_net(s, 60 * MS, s->batch);
    struct world_sock call = pay_end(s, CONNECT, 9 * MS, 61 * MS, 0, 0);
    world_sock(&s->w, &call);
    world_resent(&s->w, 40 * MS, &call, 0);
    ask(s);
    uint32_t row = expect(s, "net.retransmit", 200, 30 * MS, "strong");
    assert_string_equal(cell_str(&s->answer, row, "subkind"), "connect");
    expect(s, "net.wire", 200, 20 * MS, "strong");
}

static void the_end_of_a_stream_is_who_closed_it(void **state)
{
    struct stage *s = *state;
    on(s, -2 * MS, 1, s->peer);
    pay_waits(s, 60 * MS, S);
    woken_by_net(s, 60 * MS, s->batch);
    struct world_sock end = peer_end(s, SEND, 0, 0, 0, 0);
    struct world_sock got = pay_end(s, RECEIVE, 9 * MS, 61 * MS, 0, 1150);
    world_closed(&s->w, 60 * MS, &end);
    world_sock(&s->w, &got);
    ask(s);
    expect(s, "running", 301, 50 * MS, "strong");
}

static void accept_waits_for_who_connects(void **state)
{
    struct stage *s = *state;
    on(s, -2 * MS, 1, s->peer);
    pay_waits(s, 60 * MS, S);
    woken_by_net(s, 60 * MS, s->peer);
    struct world_sock call = peer_end(s, CONNECT, 60 * MS - 10, 62 * MS, 0, 0);
    struct world_sock got = pay_end(s, ACCEPT, 9 * MS, 61 * MS, 0, 0);
    world_sock(&s->w, &call);
    world_sock(&s->w, &got);
    ask(s);
    expect(s, "running", 301, 50 * MS, "strong");
}

/* A message without a match is net.wire, and says of which connection. */
static void unmatched_is_weak(void **state)
{
    struct stage *s = *state;
    pay_waits(s, 60 * MS, S);
    woken_by_net(s, 60 * MS, s->batch);
    struct world_sock stranger = peer_end(s, SEND, 58 * MS, 59 * MS, 100, 9999);
    struct world_sock got = pay_end(s, RECEIVE, 9 * MS, 61 * MS, 100, 1150);
    world_sock(&s->w, &stranger);
    world_sock(&s->w, &got);
    ask(s);
    uint32_t row = expect(s, "net.wire", 200, 50 * MS, "weak");
    assert_string_equal(cell_str(&s->answer, row, "subkind"), "unknown");
    assert_string_equal(cell_str(&s->answer, row, "object"), "10.0.0.1:40000 > 10.0.0.2:5432");
}

/* db1's kernel clock is 5 s behind web1's; the anchors tell. Its answer takes 4 ms to arrive. */
static void two_hosts(struct stage *s, kp_dur bound, kp_time sent)
{
    kp_dur behind = -5 * KP_SEC;
    world_clock(&s->w, -KP_SEC, 0, 1000, 0);
    s->w.host = "db1";
    s->peer = world_thread(&s->w, 300, 301, "ledger");
    kp_actor_id idle = world_idle(&s->w);
    /* an anchor of db1: at its stamp t the wall clock showed 5 s more */
    world_clock(&s->w, behind - KP_SEC, -behind, bound, 0);
    world_switch(&s->w, behind - 2 * MS, 0, idle, R, s->peer);
    world_switch(&s->w, behind + 95 * MS, 0, s->peer, S, idle);
    struct world_sock answer = peer_end(s, SEND, behind + sent - MS, behind + sent, 100, 1150);
    answer.cpu = 0;
    world_sock(&s->w, &answer);
    s->w.host = "web1";
    pay_waits(s, 60 * MS, S);
    woken_by_net(s, 60 * MS, s->batch);
    struct world_sock got = pay_end(s, RECEIVE, 9 * MS, 61 * MS, 100, 1150);
    world_sock(&s->w, &got);
}

static void messages_cross_hosts(void **state)
{
    struct stage *s = *state;
    two_hosts(s, 2000, 56 * MS);
    ask(s);
    uint32_t row = expect(s, "running", 301, 46 * MS, "strong");
    assert_string_equal(cell_str(&s->answer, row, "host"), "db1");
    assert_int_equal(cell_i64(&s->answer, row, "skew_ns"), 3000);
    assert_true(
        answer_noted(&s->answer, "clocks: db1 is known within +-3000 ns on the clock of web1"));
    assert_true(answer_noted(&s->answer, "by host: "));
    assert_true(answer_noted(&s->answer, "web1 54.000 ms"));
    assert_true(answer_noted(&s->answer, "db1 46.000 ms"));
    assert_int_equal(cell_i64(&s->answer, row, "start"), WORLD_ZERO + 10 * MS);
    expect(s, "net.wire", 200, 4 * MS, "strong");
}

/* Sent after it arrived, by clocks that may be that wrong: no negative time, and no certainty. */
static void skew_makes_the_order_weak(void **state)
{
    struct stage *s = *state;
    two_hosts(s, 10 * MS, 62 * MS);
    ask(s);
    expect(s, "running", 301, 50 * MS, "weak");
    assert_int_equal(answer_find(&s->answer, "net.wire"), -1);
}

/* A server that has no request and is asked for nothing does not explain who waits for it. */
static void an_idle_server_explains_nobody(void **state)
{
    struct stage *s = *state;
    pay_waits(s, 60 * MS, S);
    woken_by_net(s, 60 * MS, s->peer);
    on(s, 5 * MS, 1, s->peer);
    off(s, 9 * MS, 1, s->peer);
    world_wake_irq(&s->w, 40 * MS, 1, s->batch, s->peer, IN_SOFTIRQ, VEC_NET_RX, -1, 1);
    on(s, 40 * MS + 1, 1, s->peer);
    /* pay's request left at 9 ms and came at 40 */
    struct world_sock rows[] = {
        pay_end(s, SEND, 9 * MS, 9 * MS + 500, 10, 510),
        peer_end(s, RECEIVE, 8 * MS, 41 * MS, 10, 510),
        peer_end(s, SEND, 59 * MS, 60 * MS, 100, 1150),
        pay_end(s, RECEIVE, 9 * MS + 600, 61 * MS, 100, 1150),
    };
    for (size_t i = 0; i < KP_ARRAY_LEN(rows); i++)
        world_sock(&s->w, &rows[i]);
    ask(s);
    expect(s, "net.local", 301, 30 * MS, "strong");
    expect(s, "running", 301, 20 * MS - 1, "strong");
}

/* The ledger has answered another and waits for whatever comes next, which is that one's again;
 * pay's request is on its way. What the other does until it asks does not explain pay. */
static void a_server_that_was_asked_by_others_waits_for_nobody(void **state)
{
    struct stage *s = *state;
    pay_waits(s, 60 * MS, S);
    woken_by_net(s, 60 * MS, s->peer);
    on(s, 5 * MS, 1, s->peer);
    off(s, 20 * MS, 1, s->peer);
    on(s, 6 * MS, 2, s->batch);
    world_wake_irq(&s->w, 30 * MS, 2, s->batch, s->peer, IN_SOFTIRQ, VEC_NET_RX, -1, 1);
    on(s, 30 * MS + 1, 1, s->peer);
    struct world_sock asks = pay_end(s, SEND, 29 * MS, 30 * MS, 10, 20);
    struct world_sock asked = peer_end(s, RECEIVE, 19 * MS, 31 * MS, 10, 20);
    struct world_sock answered = peer_end(s, SEND, 18 * MS, 19 * MS, 10, 20);
    asks.thread = s->batch;
    asks.local = asked.peer = answered.peer = 3;
    struct world_sock rows[] = {
        asks,
        asked,
        answered,
        pay_end(s, SEND, 9 * MS, 9 * MS + 500, 10, 510),
        peer_end(s, SEND, 59 * MS, 60 * MS, 100, 1150),
        pay_end(s, RECEIVE, 9 * MS + 600, 61 * MS, 100, 1150),
    };
    for (size_t i = 0; i < KP_ARRAY_LEN(rows); i++)
        world_sock(&s->w, &rows[i]);
    ask(s);
    expect(s, "net.local", 200, 10 * MS, "weak");
    for (uint32_t i = 0; i < s->answer.count; i++)
        assert_int_not_equal(cell_i64(&s->answer, i, "tid"), 500);
}

/* ---------- kernel threads ---------- */

static void a_worker_leads_to_who_queued_its_work(void **state)
{
    struct stage *s = *state;
    on(s, -2 * MS, 1, s->batch);
    pay_waits(s, 60 * MS, D);
    off(s, 30 * MS, 1, s->batch);
    world_wake(&s->w, 30 * MS, 1, s->batch, s->worker, 2);
    on(s, 30 * MS + 1, 2, s->worker);
    world_wake(&s->w, 60 * MS, 2, s->worker, s->pay, 0);
    world_work(&s->w, 30 * MS, 30 * MS + 1, 61 * MS, 2, s->worker, s->batch, "wb_workfn");
    ask(s);
    uint32_t row = expect(s, "kworker", 40, 30 * MS - 1, "strong");
    assert_int_equal(cell_i64(&s->answer, row, "culprit_pid"), 500);
    assert_string_equal(cell_str(&s->answer, row, "subkind"), "wb_workfn");
    assert_non_null(strstr(cell_str(&s->answer, row, "note"), "by work"));
    expect(s, "running", 500, 20 * MS, "strong");
}

static void a_worker_without_a_row_is_weak(void **state)
{
    struct stage *s = *state;
    on(s, -2 * MS, 2, s->worker);
    pay_waits(s, 60 * MS, D);
    world_wake(&s->w, 60 * MS, 2, s->worker, s->pay, 0);
    ask(s);
    expect(s, "running", 40, 50 * MS, "weak");
}

static void a_journal_commit_is_told_by_its_row(void **state)
{
    struct stage *s = *state;
    kp_actor_id journal = world_thread_in(&s->w, 50, 50, "jbd2/vda1-8", 50000, "", true);
    on(s, -2 * MS, 1, journal);
    pay_waits(s, 60 * MS, D);
    world_switch(&s->w, 12 * MS, 1, journal, D, s->idle);
    world_wake_irq(&s->w, 55 * MS + 10 * US, 1, s->idle, journal, IN_HARDIRQ, VEC_NONE, 30, 1);
    on(s, 55 * MS + 20 * US, 1, journal);
    world_wake(&s->w, 60 * MS, 1, journal, s->pay, 0);
    world_block(&s->w, 12 * MS, 50 * MS, 55 * MS, 1, journal, 8);
    world_block(&s->w, 5 * MS, 14 * MS, 50 * MS, 1, s->batch, 800);
    world_writeback(&s->w, 11 * MS, 60 * MS - 1, 1, journal, 1);
    ask(s);
    uint32_t row = expect(s, "block_io.queue", 50, 38 * MS, "strong");
    assert_int_equal(cell_i64(&s->answer, row, "culprit_pid"), 500);
    assert_string_equal(cell_str(&s->answer, row, "object"), "dev 254:1");
}

static void a_pause_of_a_writer_is_the_devices(void **state)
{
    struct stage *s = *state;
    pay_waits(s, 60 * MS, D);
    world_wake_irq(&s->w, 60 * MS, 0, s->idle, s->pay, IN_HARDIRQ, VEC_NONE, -1, 0);
    world_writeback(&s->w, 10 * MS, 60 * MS + 1, 0, s->pay, 0);
    world_block(&s->w, 8 * MS, 9 * MS, 50 * MS, 1, s->batch, 800);
    ask(s);
    uint32_t row = expect(s, "block_io.queue", 200, 50 * MS, "strong");
    assert_string_equal(cell_str(&s->answer, row, "rule"), "writeback");
    assert_int_equal(cell_i64(&s->answer, row, "culprit_pid"), 500);
}

static void a_major_fault_names_the_file(void **state)
{
    struct stage *s = *state;
    pay_waits(s, 60 * MS, D);
    world_wake_irq(&s->w, 60 * MS, 0, s->idle, s->pay, IN_HARDIRQ, VEC_NONE, 30, 0);
    world_block(&s->w, 10 * MS, 11 * MS, 60 * MS - 10, 0, s->pay, 77);
    world_fault(&s->w, 9 * MS, 61 * MS, 0, s->pay, 4711);
    ask(s);
    assert_int_equal(answer_sum(&s->answer, "page_fault"), 50 * MS + MS + MS - 1);
    int row = answer_find(&s->answer, "page_fault");
    assert_string_equal(cell_str(&s->answer, (uint32_t)row, "object"), "inode 4711 of dev 254:1");
    assert_int_equal(answer_find(&s->answer, "block_io.device"), -1);
}

static void being_held_back_is_an_edge_to_kswapd(void **state)
{
    struct stage *s = *state;
    kp_actor_id kswapd = world_thread_in(&s->w, 60, 60, "kswapd0", 60000, "", true);
    on(s, -2 * MS, 1, kswapd);
    pay_waits(s, 60 * MS, D);
    world_wake(&s->w, 60 * MS, 1, kswapd, s->pay, 0);
    world_reclaim_op(&s->w, 10 * MS, 60 * MS + 1, 0, s->pay, 0, 3);
    world_reclaim_op(&s->w, 5 * MS, 90 * MS, 1, kswapd, 64, 5);
    ask(s);
    uint32_t row = expect(s, "reclaim", 60, 50 * MS, "strong");
    assert_string_equal(cell_str(&s->answer, row, "subkind"), "kswapd");
}

static void who_filled_the_group_is_named(void **state)
{
    struct stage *s = *state;
    kp_actor_id neighbour = world_thread(&s->w, 600, 600, "report");
    on(s, -1 * MS, 0, s->pay);
    on(s, -1 * MS, 1, neighbour);
    world_reclaim_op(&s->w, 20 * MS, 70 * MS, 0, s->pay, 32, 1);
    world_reclaim_op(&s->w, 15 * MS, 60 * MS, 1, neighbour, 4000, 1);
    ask(s);
    uint32_t row = expect(s, "reclaim", 200, 50 * MS, "strong");
    assert_int_equal(cell_i64(&s->answer, row, "culprit_pid"), 600);
}

/* The group was filled before the reclaim: what is reclaimed just then says little. */
static void who_had_filled_the_group_is_named(void **state)
{
    struct stage *s = *state;
    kp_actor_id neighbour = world_thread(&s->w, 600, 600, "report");
    on(s, -1 * MS, 0, s->pay);
    on(s, -1 * MS, 1, neighbour);
    world_reclaim_op(&s->w, 1 * MS, 5 * MS, 1, neighbour, 4000, 1);
    world_reclaim_op(&s->w, 20 * MS, 70 * MS, 0, s->pay, 32, 1);
    ask(s);
    uint32_t row = expect(s, "reclaim", 200, 50 * MS, "strong");
    assert_int_equal(cell_i64(&s->answer, row, "culprit_pid"), 600);
}

static void who_filled_its_own_group_is_named(void **state)
{
    struct stage *s = *state;
    on(s, -1 * MS, 0, s->pay);
    world_reclaim_op(&s->w, 20 * MS, 70 * MS, 0, s->pay, 4000, 1);
    ask(s);
    uint32_t row = expect(s, "reclaim", 200, 50 * MS, "strong");
    assert_int_equal(cell_i64(&s->answer, row, "culprit_pid"), 200);
}

/* ---------- processes ---------- */

static void before_its_fork_a_child_is_its_parents(void **state)
{
    struct stage *s = *state;
    kp_actor_id child = world_thread(&s->w, 700, 700, "child");
    on(s, -2 * MS, 1, s->peer);
    pay_waits(s, 60 * MS, S);
    world_fork(&s->w, 30 * MS, 1, child, s->peer);
    world_switch(&s->w, 30 * MS + 1, 2, s->idle, R, child);
    world_syscall(&s->w, 10 * MS - 1, 61 * MS, 0, s->pay, "wait4", 700);
    world_wake(&s->w, 60 * MS, 2, child, s->pay, 0);
    ask(s);
    uint32_t row = expect(s, "running", 700, 30 * MS - 1, "strong");
    assert_non_null(strstr(cell_str(&s->answer, row, "note"), "by child"));
    row = expect(s, "running", 301, 20 * MS, "strong");
    assert_non_null(strstr(cell_str(&s->answer, row, "note"), "by fork"));
}

static void a_signal_is_its_senders(void **state)
{
    struct stage *s = *state;
    on(s, -2 * MS, 1, s->peer);
    pay_waits(s, 60 * MS, S);
    world_syscall(&s->w, 10 * MS - 1, 61 * MS, 0, s->pay, "rt_sigtimedwait", 10);
    world_signal(&s->w, 60 * MS - 500, 1, s->peer, s->pay, 10);
    world_wake(&s->w, 60 * MS, 1, s->peer, s->pay, 0);
    ask(s);
    uint32_t row = expect(s, "running", 301, 50 * MS, "strong");
    assert_non_null(strstr(cell_str(&s->answer, row, "note"), "by signal"));
}

/* ---------- locks ---------- */

/* Three threads get a kernel lock in turn before pay does. */
static void a_kernel_lock_is_split_by_who_got_it(void **state)
{
    struct stage *s = *state;
    kp_actor_id third = world_thread(&s->w, 600, 600, "third");
    on(s, -2 * MS, 1, s->peer);
    on(s, -3 * MS, 2, s->batch);
    on(s, -4 * MS, 3, third);
    pay_waits(s, 70 * MS, D);
    world_lock(&s->w, 5 * MS, 30 * MS, 2, s->batch, s->peer, 0xabc0);
    world_lock(&s->w, 6 * MS, 50 * MS, 3, third, s->peer, 0xabc0);
    world_lock(&s->w, 10 * MS, 70 * MS + 1, 0, s->pay, s->peer, 0xabc0);
    world_wake(&s->w, 70 * MS, 3, third, s->pay, 0);
    ask(s);
    expect(s, "lock", 301, 20 * MS, "strong");
    expect(s, "lock", 500, 20 * MS, "strong");
    uint32_t row = expect(s, "lock", 600, 20 * MS, "strong");
    assert_non_null(strstr(cell_str(&s->answer, row, "note"), "convoy x3"));
}

/* The holder of a lock has a lower priority than the waiter and another takes its CPU. */
static void an_inversion_names_three(void **state)
{
    struct stage *s = *state;
    s->w.prio[s->pay] = 89;
    s->w.prio[s->peer] = 120;
    s->w.prio[s->batch] = 100;
    on(s, -2 * MS, 1, s->peer);
    pay_waits(s, 70 * MS, D);
    world_boost(&s->w, 10 * MS, 0, s->peer, s->pay, 120, 89);
    world_switch(&s->w, 20 * MS, 1, s->peer, RP, s->batch);
    world_switch(&s->w, 60 * MS, 1, s->batch, S, s->peer);
    world_lock(&s->w, 10 * MS, 70 * MS + 1, 0, s->pay, s->peer, 0xabc0);
    world_wake(&s->w, 70 * MS, 1, s->peer, s->pay, 0);
    ask(s);
    uint32_t row = expect(s, "runnable.preempted", 301, 40 * MS, "strong");
    assert_non_null(strstr(cell_str(&s->answer, row, "note"),
                           "inversion: pay/200 waits for ledger/301 (prio 120, boosted), kept off "
                           "by batch/500"));
    assert_int_equal(cell_i64(&s->answer, row, "culprit_pid"), 500);
}

/* ---------- run queues ---------- */

/* pay is moved from CPU 0 to 2 after 30 ms; 2 had been idle for the last 10 of them. */
static void moves_decide_the_queue(void **state)
{
    struct stage *s = *state;
    on(s, -1 * MS, 0, s->pay);
    on(s, -1 * MS, 2, s->peer);
    world_switch(&s->w, 10 * MS, 0, s->pay, RP, s->batch);
    off(s, 30 * MS, 2, s->peer);
    world_move(&s->w, 40 * MS, s->pay, 0, 2);
    on(s, 40 * MS + 10, 2, s->pay);
    ask(s);
    uint32_t row = expect(s, "runnable.preempted", 200, 20 * MS, "strong");
    assert_int_equal(cell_i64(&s->answer, row, "culprit_pid"), 500);
    row = expect(s, "runnable.misplaced", 200, 10 * MS, "strong");
    assert_int_equal(cell_i64(&s->answer, row, "culprit_pid"), 500);
    expect(s, "idle_exit", 200, 10, "strong");
}

/* Interrupts cut the time that its CPU sat idle into short pieces; it is too long all the same. */
static void idle_for_long_is_weak_in_pieces(void **state)
{
    struct stage *s = *state;
    on(s, -1 * MS, 0, s->pay);
    off(s, 10 * MS, 0, s->pay);
    world_wake(&s->w, 20 * MS, 1, s->batch, s->pay, 0);
    world_softirq(&s->w, 24 * MS, 25 * MS, 0, s->idle, VEC_TIMER);
    on(s, 29 * MS, 0, s->pay);
    ask(s);
    expect(s, "idle_exit", 200, 8 * MS, "weak");
}

/* Woken by the peer, queued behind batch, and soon after fetched by the CPU that the peer left: the
 * move is not the waker's choice, though it comes so soon. */
static void a_soon_pull_is_no_placement(void **state)
{
    struct stage *s = *state;
    on(s, -1 * MS, 2, s->peer);
    on(s, -1 * MS, 0, s->pay);
    world_switch(&s->w, 10 * MS, 0, s->pay, S, s->batch);
    world_wake(&s->w, 60 * MS - 90 * US, 2, s->peer, s->pay, 0);
    world_move(&s->w, 60 * MS - 10 * US, s->pay, 0, 2);
    world_switch(&s->w, 60 * MS - 10 * US, 2, s->peer, S, s->pay);
    ask(s);
    uint32_t row = expect(s, "runnable.queued", 200, 80 * US, "strong");
    assert_int_equal(cell_i64(&s->answer, row, "culprit_pid"), 500);
}

/* The same without the record of the move: nothing says when, so nothing is claimed. */
static void without_moves_the_queue_is_weak(void **state)
{
    struct stage *s = *state;
    on(s, -1 * MS, 0, s->pay);
    world_switch(&s->w, 10 * MS, 0, s->pay, RP, s->batch);
    on(s, 40 * MS + 10, 2, s->pay);
    ask(s);
    expect(s, "runnable.preempted", 200, 30 * MS + 10, "weak");
    assert_int_equal(answer_find(&s->answer, "runnable.misplaced"), -1);
}

/* batch runs on pay's CPU while another is idle, which pay may use or not. */
static void queued_beside_an_idle_cpu(struct stage *s, int64_t mask)
{
    on(s, -1 * MS, 0, s->pay);
    world_exec(&s->w, 1 * MS, 0, s->pay, mask);
    world_switch(&s->w, 10 * MS, 0, s->pay, RP, s->batch);
    world_switch(&s->w, 50 * MS, 0, s->batch, S, s->pay);
    ask(s);
}

static void an_idle_cpu_elsewhere_is_a_hint(void **state)
{
    struct stage *s = *state;
    queued_beside_an_idle_cpu(s, 3);
    uint32_t row = expect(s, "runnable.preempted", 200, 40 * MS, "strong");
    assert_non_null(strstr(cell_str(&s->answer, row, "note"), "misplaced?"));
}

static void a_cpu_that_is_not_allowed_is_none(void **state)
{
    struct stage *s = *state;
    queued_beside_an_idle_cpu(s, 1);
    uint32_t row = expect(s, "runnable.preempted", 200, 40 * MS, "strong");
    assert_null(strstr(cell_str(&s->answer, row, "note"), "misplaced?"));
}

/* ---------- devices ---------- */

/* Many submitters make many rows; together they are one device, and weigh more than the rest. */
static void a_device_is_one_cause(void **state)
{
    struct stage *s = *state;
    on(s, -1 * MS, 0, s->pay);
    for (int i = 0; i < 4; i++) {
        kp_time from = 10 * MS + i * 15 * MS, to = from + 13 * MS;
        kp_actor_id writer = world_thread(&s->w, 800 + i, 800 + i, "writer");
        on(s, from - 2 * MS, 1, writer);
        off(s, from - MS, 1, writer);
        world_switch(&s->w, from, 0, s->pay, D, s->idle);
        for (int k = 0; k < 3; k++)
            world_block(&s->w, from - MS, from - MS + 1, to - 10, 0, writer, i * 100 + k);
        world_block(&s->w, from, from + 1, to - 1, 0, s->pay, i);
        world_wake_irq(&s->w, to, 0, s->idle, s->pay, IN_HARDIRQ, VEC_NONE, 30, 0);
        on(s, to + 1, 0, s->pay);
    }
    ask(s);
    int root = answer_root(&s->answer);
    assert_string_equal(cell_str(&s->answer, (uint32_t)root, "kind"), "block_io.device");
    assert_string_equal(cell_str(&s->answer, (uint32_t)root, "object"), "dev 254:1");
    assert_true(cell_i64(&s->answer, (uint32_t)root, "dur") < answer_sum(&s->answer, "running"));
}

/* ---------- wakeups without a row ---------- */

static void a_hidden_wakeup_leaves_the_span_partner(void **state)
{
    struct stage *s = *state;
    on(s, -2 * MS, 1, s->peer);
    pay_waits(s, 60 * MS, S);
    const struct world_span spans[] = {
        {.from = 5 * MS, .to = 70 * MS, .thread = s->pay, .id = "b", .parent = "a", .kind = 3},
        {.from = 9 * MS, .to = 60 * MS, .thread = s->peer, .id = "c", .parent = "b", .kind = 2},
    };
    for (size_t i = 0; i < KP_ARRAY_LEN(spans); i++) {
        struct world_span span = spans[i];
        span.trace = "t1";
        span.txn = "98721";
        span.service = span.name = "ledger";
        world_span(&s->w, &span);
    }
    ask(s);
    uint32_t row = expect(s, "running", 301, 50 * MS, "weak");
    assert_non_null(strstr(cell_str(&s->answer, row, "note"), "by span"));
}

static void a_hidden_timer_is_still_a_sleep(void **state)
{
    struct stage *s = *state;
    pay_waits(s, 60 * MS, S);
    world_syscall(&s->w, 10 * MS - 1, 61 * MS, 0, s->pay, "clock_nanosleep", 0);
    ask(s);
    expect(s, "timer.sleep", 200, 50 * MS + 1, "weak");
}

static void without_anything_it_is_lost(void **state)
{
    struct stage *s = *state;
    pay_waits(s, 60 * MS, S);
    ask(s);
    expect(s, "unknown(lost)", 200, 50 * MS + 1, "-");
    assert_int_equal(
        answer_root(&s->answer) < 0 ||
            strcmp(cell_str(&s->answer, (uint32_t)answer_root(&s->answer), "kind"), "running") == 0,
        1);
}

#define T_(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_(the_sender_of_the_bytes_explains),
        T_(poll_waits_for_what_is_received_after_it),
        T_(numbers_of_bytes_wrap),
        T_(what_was_sent_again_is_told_apart),
        T_(own_segments_sent_again_tell),
        T_(connecting_waits_for_the_peers_kernel),
        T_(the_end_of_a_stream_is_who_closed_it),
        T_(accept_waits_for_who_connects),
        T_(unmatched_is_weak),
        T_(messages_cross_hosts),
        T_(skew_makes_the_order_weak),
        T_(an_idle_server_explains_nobody),
        T_(a_server_that_was_asked_by_others_waits_for_nobody),
        T_(a_worker_leads_to_who_queued_its_work),
        T_(a_worker_without_a_row_is_weak),
        T_(a_journal_commit_is_told_by_its_row),
        T_(a_pause_of_a_writer_is_the_devices),
        T_(a_major_fault_names_the_file),
        T_(being_held_back_is_an_edge_to_kswapd),
        T_(who_filled_the_group_is_named),
        T_(who_had_filled_the_group_is_named),
        T_(who_filled_its_own_group_is_named),
        T_(before_its_fork_a_child_is_its_parents),
        T_(a_signal_is_its_senders),
        T_(a_kernel_lock_is_split_by_who_got_it),
        T_(an_inversion_names_three),
        T_(moves_decide_the_queue),
        T_(idle_for_long_is_weak_in_pieces),
        T_(a_soon_pull_is_no_placement),
        T_(without_moves_the_queue_is_weak),
        T_(an_idle_cpu_elsewhere_is_a_hint),
        T_(a_cpu_that_is_not_allowed_is_none),
        T_(a_device_is_one_cause),
        T_(a_hidden_wakeup_leaves_the_span_partner),
        T_(a_hidden_timer_is_still_a_sleep),
        T_(without_anything_it_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
