/* SPDX-License-Identifier: Apache-2.0
 *
 * The leaf rules, one small world each: one transaction of 100 ms on one thread, with exactly known
 * causes for every nanosecond.
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
    kp_actor_id idle, pay, batch, other;
    struct answer answer;
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
    /* both CPUs are known from before the transaction on; pay runs from -1 ms */
    world_switch(&stage.w, -50 * MS, 0, stage.other, S, stage.idle);
    world_switch(&stage.w, -50 * MS, 1, stage.other, S, stage.idle);
    world_payment(&stage.w, stage.idle, stage.pay, 100 * MS);
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
    world_commit(&stage->w);
    world_causes(&stage->w, "98721", &stage->answer);
    answer_check(&stage->answer, 100 * MS);
}

/* The only row of a kind takes dur. */
static int expect(struct stage *stage, const char *kind, kp_dur dur)
{
    int row = answer_find(&stage->answer, kind);
    if (row < 0)
        fail_msg("no row of kind %s in\n%s", kind, answer_text(&stage->w, &stage->answer));
    assert_int_equal(answer_sum(&stage->answer, kind), dur);
    return row;
}

static void runs_all_the_time(void **state)
{
    struct stage *stage = *state;
    ask(stage);
    int row = expect(stage, "running", 100 * MS);
    assert_int_equal(stage->answer.count, 1);
    assert_int_equal(cell_i64(&stage->answer, row, "culprit_pid"), 100);
    assert_string_equal(cell_str(&stage->answer, row, "strength"), "strong");
    assert_string_equal(cell_str(&stage->answer, row, "rule"), "run");
    assert_string_equal(cell_str(&stage->answer, row, "span"), "POST /pay");
    assert_string_equal(cell_str(&stage->answer, row, "txn"), "98721");
}

static void preempted_by_equal_priority(void **state)
{
    struct stage *stage = *state;
    world_switch(&stage->w, 20 * MS, 0, stage->pay, RP, stage->batch);
    world_switch(&stage->w, 60 * MS, 0, stage->batch, RP, stage->pay);
    ask(stage);
    int row = expect(stage, "runnable.preempted", 40 * MS);
    expect(stage, "running", 60 * MS);
    assert_int_equal(cell_i64(&stage->answer, row, "culprit_pid"), 200);
    assert_string_equal(cell_str(&stage->answer, row, "culprit_comm"), "batch");
    assert_string_equal(cell_str(&stage->answer, row, "culprit_cgroup"), "/batch");
    assert_int_equal(cell_i64(&stage->answer, row, "pid"), 100);
    assert_int_equal(cell_i64(&stage->answer, row, "cpu"), 0);
    assert_int_equal(cell_i64(&stage->answer, row, "start"), WORLD_ZERO + 20 * MS);
    assert_string_equal(cell_str(&stage->answer, row, "rule"), "occupant");
    assert_string_equal(cell_str(&stage->answer, row, "strength"), "strong");
    assert_non_null(strstr(cell_str(&stage->answer, row, "evidence"), "web1/0/"));
}

static void queued_behind_equal_priority(void **state)
{
    struct stage *stage = *state;
    world_switch(&stage->w, 20 * MS, 0, stage->pay, S, stage->batch);
    world_wake(&stage->w, 30 * MS, 1, stage->other, stage->pay, 0);
    world_switch(&stage->w, 45 * MS, 0, stage->batch, RP, stage->pay);
    ask(stage);
    int row = expect(stage, "runnable.queued", 15 * MS);
    assert_int_equal(cell_i64(&stage->answer, row, "culprit_pid"), 200);
    expect(stage, "running", 75 * MS);
}

static void queued_behind_higher_priority_is_preempted(void **state)
{
    struct stage *stage = *state;
    stage->w.prio[stage->batch] = 40;
    world_switch(&stage->w, 20 * MS, 0, stage->pay, S, stage->batch);
    world_wake(&stage->w, 30 * MS, 1, stage->other, stage->pay, 0);
    world_switch(&stage->w, 45 * MS, 0, stage->batch, S, stage->pay);
    ask(stage);
    expect(stage, "runnable.preempted", 15 * MS);
    assert_int_equal(answer_find(&stage->answer, "runnable.queued"), -1);
}

/* While batch has the CPU a third thread takes it for 5 ms: that part is not batch's doing. */
static void slices_of_one_culprit_are_one_row(void **state)
{
    struct stage *stage = *state;
    world_switch(&stage->w, 20 * MS, 0, stage->pay, RP, stage->batch);
    world_switch(&stage->w, 30 * MS, 0, stage->batch, RP, stage->other);
    world_switch(&stage->w, 35 * MS, 0, stage->other, S, stage->batch);
    world_switch(&stage->w, 60 * MS, 0, stage->batch, RP, stage->pay);
    ask(stage);
    expect(stage, "runnable.preempted", 35 * MS);
    int row = expect(stage, "runnable.queued", 5 * MS);
    assert_int_equal(cell_i64(&stage->answer, row, "culprit_pid"), 300);
    assert_int_equal(stage->answer.count, 3);
}

static void throttled_by_quota(void **state)
{
    struct stage *stage = *state;
    world_throttle(&stage->w, 20 * MS, 0, stage->pay, stage->idle);
    world_switch(&stage->w, 60 * MS, 0, stage->idle, R, stage->pay);
    ask(stage);
    int row = expect(stage, "runnable.throttled", 40 * MS);
    assert_string_equal(cell_str(&stage->answer, row, "culprit_cgroup"), "/pay");
    assert_true(cell_null(&stage->answer, row, "culprit_pid"));
    assert_string_equal(cell_str(&stage->answer, row, "strength"), "strong");
}

/* With its CPU busy to the end nothing tells that there was quota earlier. */
static void throttled_on_a_busy_cpu(void **state)
{
    struct stage *stage = *state;
    world_throttle(&stage->w, 20 * MS, 0, stage->pay, stage->batch);
    world_switch(&stage->w, 60 * MS, 0, stage->batch, RP, stage->pay);
    ask(stage);
    int row = expect(stage, "runnable.throttled", 40 * MS);
    assert_string_equal(cell_str(&stage->answer, row, "strength"), "strong");
}

/* A thread of its group gets the same CPU: there is quota, and it waits behind that one. */
static void quota_is_over_when_its_group_runs(void **state)
{
    struct stage *stage = *state;
    world_throttle(&stage->w, 20 * MS, 0, stage->pay, stage->idle);
    world_wake(&stage->w, 45 * MS, 1, stage->idle, stage->other, 0);
    world_switch(&stage->w, 50 * MS, 0, stage->idle, R, stage->other);
    world_switch(&stage->w, 60 * MS, 0, stage->other, S, stage->pay);
    ask(stage);
    int row = expect(stage, "runnable.throttled", 30 * MS);
    assert_string_equal(cell_str(&stage->answer, row, "strength"), "strong");
    row = expect(stage, "runnable.queued", 10 * MS);
    assert_int_equal(cell_i64(&stage->answer, row, "culprit_pid"), 300);
}

/* It may have run and been held back again where rows were lost. */
static void quota_over_and_rows_lost_is_weak(void **state)
{
    struct stage *stage = *state;
    world_throttle(&stage->w, 20 * MS, 0, stage->pay, stage->idle);
    world_gap(&stage->w, 30 * MS, 31 * MS, 1);
    world_wake(&stage->w, 45 * MS, 1, stage->idle, stage->other, 0);
    world_switch(&stage->w, 50 * MS, 0, stage->idle, R, stage->other);
    world_switch(&stage->w, 60 * MS, 0, stage->other, S, stage->pay);
    ask(stage);
    int row = expect(stage, "runnable.queued", 10 * MS);
    assert_string_equal(cell_str(&stage->answer, row, "strength"), "weak");
}

/* One of its group that was held back as well runs on another CPU: quota is given to all at once.
 * The CPU that takes it away from the batch job later ends a wait in the queue. */
static void quota_is_over_when_another_goes_on(void **state)
{
    struct stage *stage = *state;
    world_wake(&stage->w, 5 * MS, 1, stage->idle, stage->other, 1);
    world_switch(&stage->w, 6 * MS, 1, stage->idle, R, stage->other);
    world_throttle(&stage->w, 20 * MS, 0, stage->pay, stage->batch);
    world_throttle(&stage->w, 21 * MS, 1, stage->other, stage->idle);
    world_switch(&stage->w, 45 * MS, 1, stage->idle, R, stage->other);
    world_switch(&stage->w, 60 * MS, 0, stage->batch, RP, stage->pay);
    ask(stage);
    int row = expect(stage, "runnable.throttled", 25 * MS);
    assert_int_equal(cell_i64(&stage->answer, row, "start"), WORLD_ZERO + 20 * MS);
    row = expect(stage, "runnable.queued", 15 * MS);
    assert_int_equal(cell_i64(&stage->answer, row, "culprit_pid"), 200);
    assert_string_equal(cell_str(&stage->answer, row, "strength"), "strong");
}

static void throttled_and_the_counter_agrees(void **state)
{
    struct stage *stage = *state;
    world_quota(&stage->w, -500 * MS, "/pay", 20 * MS, 1000);
    world_quota(&stage->w, 500 * MS, "/pay", 20 * MS, 40 * MS + 1000);
    world_throttle(&stage->w, 20 * MS, 0, stage->pay, stage->batch);
    world_switch(&stage->w, 60 * MS, 0, stage->batch, RP, stage->pay);
    ask(stage);
    int row = expect(stage, "runnable.throttled", 40 * MS);
    assert_string_equal(cell_str(&stage->answer, row, "strength"), "strong(counter)");
}

/* A kernel without the flag: a runnable thread leaves its CPU to the idle thread. */
static void throttling_is_inferred_from_an_idle_cpu(void **state)
{
    struct stage *stage = *state;
    world_quota(&stage->w, -500 * MS, "/", -1, 0);
    world_quota(&stage->w, -500 * MS, "/pay", 20 * MS, 1000);
    world_switch(&stage->w, 20 * MS, 0, stage->pay, R, stage->idle);
    world_switch(&stage->w, 60 * MS, 0, stage->idle, R, stage->pay);
    ask(stage);
    int row = expect(stage, "runnable.throttled", 40 * MS);
    assert_string_equal(cell_str(&stage->answer, row, "strength"), "weak");
}

static void idle_cpu_without_quota_is_idle_exit(void **state)
{
    struct stage *stage = *state;
    world_switch(&stage->w, 20 * MS, 0, stage->pay, S, stage->idle);
    world_wake(&stage->w, 30 * MS, 1, stage->other, stage->pay, 0);
    world_switch(&stage->w, 31 * MS, 0, stage->idle, R, stage->pay);
    ask(stage);
    expect(stage, "idle_exit", 1 * MS);
}

/* It was woken, its last CPU idles for 50 ms, and there it runs: it waited elsewhere. */
static void long_idle_exit_is_weak(void **state)
{
    struct stage *stage = *state;
    world_switch(&stage->w, 20 * MS, 0, stage->pay, S, stage->idle);
    world_wake(&stage->w, 30 * MS, 1, stage->other, stage->pay, 0);
    world_switch(&stage->w, 80 * MS, 0, stage->idle, R, stage->pay);
    ask(stage);
    int row = expect(stage, "idle_exit", 50 * MS);
    assert_string_equal(cell_str(&stage->answer, (uint32_t)row, "strength"), "weak");
}

static void interrupts_are_cut_out_net_of_nesting(void **state)
{
    struct stage *stage = *state;
    world_softirq(&stage->w, 10 * MS, 30 * MS, 0, stage->pay, VEC_NET_RX);
    world_irq(&stage->w, 15 * MS, 20 * MS, 0, stage->pay, 24, "virtio0-input");
    world_irq(&stage->w, 50 * MS, 51 * MS, 0, stage->pay, 24, "virtio0-input");
    world_irq(&stage->w, 50 * MS, 90 * MS, 1, stage->idle, 25, "elsewhere");
    ask(stage);
    expect(stage, "softirq", 15 * MS);
    int row = expect(stage, "irq", 6 * MS);
    assert_string_equal(cell_str(&stage->answer, row, "object"), "virtio0-input");
    expect(stage, "running", 79 * MS);
}

static void interrupts_come_before_the_occupant(void **state)
{
    struct stage *stage = *state;
    world_switch(&stage->w, 20 * MS, 0, stage->pay, RP, stage->batch);
    world_irq(&stage->w, 25 * MS, 45 * MS, 0, stage->batch, 24, "nvme0q1");
    world_switch(&stage->w, 60 * MS, 0, stage->batch, RP, stage->pay);
    ask(stage);
    expect(stage, "irq", 20 * MS);
    expect(stage, "runnable.preempted", 20 * MS);
}

static void zero_length_rows_take_nothing(void **state)
{
    struct stage *stage = *state;
    world_irq(&stage->w, 10 * MS, 10 * MS, 0, stage->pay, 24, "x");
    ask(stage);
    expect(stage, "running", 100 * MS);
}

static void system_calls_and_reclaim_name_running_time(void **state)
{
    struct stage *stage = *state;
    world_syscall(&stage->w, 10 * MS, 60 * MS, 0, stage->pay, "write", 512);
    world_reclaim(&stage->w, 20 * MS, 30 * MS, 0, stage->pay);
    ask(stage);
    int row = expect(stage, "syscall", 40 * MS);
    assert_string_equal(cell_str(&stage->answer, row, "subkind"), "write");
    row = expect(stage, "reclaim", 10 * MS);
    assert_string_equal(cell_str(&stage->answer, row, "subkind"), "memcg");
    expect(stage, "running", 50 * MS);
}

/* Its own pages have to be reclaimed as well, as many as it needs: that is not what filled it. */
static void what_it_needs_did_not_fill_the_group(void **state)
{
    struct stage *stage = *state;
    world_reclaim_op(&stage->w, 5 * MS, 15 * MS, 1, stage->other, 2000, 1);
    world_reclaim_op(&stage->w, 20 * MS, 30 * MS, 0, stage->pay, 4000, 1);
    ask(stage);
    int row = expect(stage, "reclaim", 10 * MS);
    assert_int_equal(cell_i64(&stage->answer, row, "culprit_pid"), 300);
}

static void a_few_pages_did_not_fill_the_group(void **state)
{
    struct stage *stage = *state;
    world_reclaim_op(&stage->w, 5 * MS, 15 * MS, 1, stage->other, 32, 1);
    world_reclaim_op(&stage->w, 20 * MS, 30 * MS, 0, stage->pay, 4000, 1);
    ask(stage);
    int row = expect(stage, "reclaim", 10 * MS);
    assert_int_equal(cell_i64(&stage->answer, row, "culprit_pid"), 100);
}

/* Held back within its reclaim until pages are written back, which a worker tells it. */
static void a_worker_that_writes_back_is_no_cause(void **state)
{
    struct stage *stage = *state;
    kp_actor_id worker = world_thread_in(&stage->w, 40, 40, "kworker/u8:1", 40000, "", true);
    world_reclaim_op(&stage->w, 14 * MS, 60 * MS, 0, stage->pay, 256, 1);
    world_reclaim_op(&stage->w, 15 * MS, 59 * MS, 0, stage->pay, 0, 3);
    world_switch(&stage->w, 20 * MS, 0, stage->pay, D, stage->idle);
    world_wake(&stage->w, 50 * MS, 1, worker, stage->pay, 0);
    world_switch(&stage->w, 50 * MS, 0, stage->idle, R, stage->pay);
    ask(stage);
    expect(stage, "reclaim", 46 * MS);
}

/* Two others of the group reclaim alike: whose memory it was for is not known. */
static void reclaim_of_nobody_in_particular_is_weak(void **state)
{
    struct stage *stage = *state;
    kp_actor_id cache = world_thread(&stage->w, 700, 700, "cache");
    world_switch(&stage->w, 10 * MS, 1, stage->idle, R, cache);
    world_reclaim(&stage->w, 1 * MS, 2 * MS, 1, stage->other);
    world_reclaim(&stage->w, 20 * MS, 30 * MS, 0, stage->pay);
    world_reclaim(&stage->w, 19 * MS, 31 * MS, 1, cache);
    ask(stage);
    int row = expect(stage, "reclaim", 10 * MS);
    assert_true(cell_null(&stage->answer, row, "culprit_tid"));
    assert_string_equal(cell_str(&stage->answer, row, "strength"), "weak");
}

static void reclaim_overrides_a_wait(void **state)
{
    struct stage *stage = *state;
    world_switch(&stage->w, 20 * MS, 0, stage->pay, D, stage->idle);
    world_wake(&stage->w, 50 * MS, 1, stage->other, stage->pay, 0);
    world_switch(&stage->w, 50 * MS, 0, stage->idle, R, stage->pay);
    world_reclaim(&stage->w, 15 * MS, 55 * MS, 0, stage->pay);
    ask(stage);
    expect(stage, "reclaim", 40 * MS);
    expect(stage, "running", 60 * MS);
}

static void block_request_splits_into_queue_and_device(void **state)
{
    struct stage *stage = *state;
    world_switch(&stage->w, 20 * MS, 0, stage->pay, D, stage->idle);
    world_block(&stage->w, 19 * MS, 30 * MS, 60 * MS, 1, stage->pay, 9912);
    world_block(&stage->w, 1 * MS, 2 * MS, 59 * MS, 0, stage->other, 1); /* somebody else's */
    world_wake_irq(&stage->w, 60 * MS + 1000, 1, stage->batch, stage->pay, IN_SOFTIRQ, VEC_BLOCK,
                   -1, 0);
    world_switch(&stage->w, 60 * MS + 2000, 0, stage->idle, R, stage->pay);
    ask(stage);
    expect(stage, "block_io.queue", 10 * MS);
    int row = expect(stage, "block_io.device", 30 * MS + 1000);
    assert_string_equal(cell_str(&stage->answer, row, "object"), "dev 254:1");
    assert_string_equal(cell_str(&stage->answer, row, "subkind"), "write");
    assert_true(cell_null(&stage->answer, row, "culprit_pid")); /* batch was only interrupted */
}

static void sleep_in_the_path_is_the_applications(void **state)
{
    struct stage *stage = *state;
    world_syscall(&stage->w, 19 * MS, 70 * MS, 0, stage->pay, "clock_nanosleep", 0);
    world_switch(&stage->w, 20 * MS, 0, stage->pay, S, stage->batch);
    world_wake_irq(&stage->w, 70 * MS, 0, stage->batch, stage->pay, IN_HARDIRQ, VEC_NONE, -1, 0);
    world_switch(&stage->w, 70 * MS, 0, stage->batch, RP, stage->pay);
    ask(stage);
    int row = expect(stage, "timer.sleep", 50 * MS);
    assert_int_equal(cell_i64(&stage->answer, row, "culprit_pid"), 100);
    assert_string_equal(cell_str(&stage->answer, row, "subkind"), "clock_nanosleep");
}

static void poll_that_times_out(void **state)
{
    struct stage *stage = *state;
    world_syscall(&stage->w, 19 * MS, 70 * MS, 0, stage->pay, "poll", 0);
    world_switch(&stage->w, 20 * MS, 0, stage->pay, S, stage->batch);
    world_wake_irq(&stage->w, 70 * MS, 0, stage->batch, stage->pay, IN_HARDIRQ, VEC_NONE, -1, 0);
    world_switch(&stage->w, 70 * MS, 0, stage->batch, RP, stage->pay);
    ask(stage);
    expect(stage, "timer.timeout", 50 * MS);
}

/* A wakeup from an interrupt never blames who happened to be running there. */
static void bystander_is_never_blamed(void **state)
{
    struct stage *stage = *state;
    world_switch(&stage->w, -10 * MS, 1, stage->idle, R, stage->batch);
    world_switch(&stage->w, 20 * MS, 0, stage->pay, S, stage->idle);
    world_wake_irq(&stage->w, 60 * MS, 1, stage->batch, stage->pay, IN_SOFTIRQ, VEC_NET_RX, -1, 0);
    world_switch(&stage->w, 60 * MS + 1000, 0, stage->idle, R, stage->pay);
    ask(stage);
    int row = expect(stage, "net.wire", 40 * MS);
    assert_string_equal(cell_str(&stage->answer, row, "strength"), "weak");
    for (uint32_t i = 0; i < stage->answer.count; i++)
        assert_int_not_equal(cell_i64(&stage->answer, i, "culprit_pid"), 200);
    assert_int_equal(answer_root(&stage->answer), answer_find(&stage->answer, "running"));
}

/* Whoever thaws a control group is not why it was frozen. */
static void frozen_groups_are_told(void **state)
{
    struct stage *stage = *state;
    world_switch(&stage->w, 20 * MS, 0, stage->pay, F, stage->idle);
    world_wake(&stage->w, 60 * MS, 1, stage->other, stage->pay, 0);
    world_switch(&stage->w, 60 * MS + 1, 0, stage->idle, R, stage->pay);
    ask(stage);
    int row = expect(stage, "frozen", 40 * MS);
    assert_string_equal(cell_str(&stage->answer, row, "object"), "/pay");
    assert_string_equal(cell_str(&stage->answer, row, "culprit_cgroup"), "/pay");
    assert_true(cell_null(&stage->answer, row, "culprit_tid"));
    assert_string_equal(cell_str(&stage->answer, row, "strength"), "strong");
    assert_non_null(strstr(cell_str(&stage->answer, row, "note"), "thawed by other(300)"));
}

static void stopped_by_a_signal(void **state)
{
    struct stage *stage = *state;
    world_switch(&stage->w, 20 * MS, 0, stage->pay, T, stage->idle);
    world_wake(&stage->w, 60 * MS, 1, stage->other, stage->pay, 0);
    world_switch(&stage->w, 60 * MS, 0, stage->idle, R, stage->pay);
    ask(stage);
    expect(stage, "stopped", 40 * MS);
}

static void lost_events_are_unknown_and_weaken(void **state)
{
    struct stage *stage = *state;
    /* pay leaves, and the next row says batch leaves the CPU that other had got */
    world_switch(&stage->w, 20 * MS, 0, stage->pay, RP, stage->other);
    world_switch(&stage->w, 60 * MS, 0, stage->batch, RP, stage->pay);
    world_gap(&stage->w, 30 * MS, 40 * MS, 0);
    ask(stage);
    int row = expect(stage, "unknown(lost)", 40 * MS);
    assert_int_equal(cell_i64(&stage->answer, row, "gap_ns"), 10 * MS);
    assert_string_equal(cell_str(&stage->answer, row, "strength"), "-");
    assert_true(answer_noted(&stage->answer, "coverage 90.0 %"));
}

static void gap_in_a_consistent_stretch_weakens_it(void **state)
{
    struct stage *stage = *state;
    world_switch(&stage->w, 20 * MS, 0, stage->pay, RP, stage->batch);
    world_switch(&stage->w, 60 * MS, 0, stage->batch, RP, stage->pay);
    world_gap(&stage->w, 30 * MS, 40 * MS, 0);
    ask(stage);
    int row = expect(stage, "runnable.preempted", 40 * MS);
    assert_string_equal(cell_str(&stage->answer, row, "strength"), "weak");
    assert_int_equal(cell_i64(&stage->answer, row, "gap_ns"), 10 * MS);
    row = expect(stage, "running", 60 * MS);
    assert_string_equal(cell_str(&stage->answer, row, "strength"), "strong");
    assert_true(answer_noted(&stage->answer, "gaps: web1 CPU 0 10.000 ms ring_full"));
}

static void a_hidden_thread_elsewhere_does_not_weaken_a_wait(void **state)
{
    struct stage *stage = *state;
    world_switch(&stage->w, 20 * MS, 0, stage->pay, T, stage->idle);
    world_wake(&stage->w, 60 * MS, 1, stage->other, stage->pay, 0);
    world_switch(&stage->w, 60 * MS, 0, stage->idle, R, stage->pay);
    world_gap_hidden(&stage->w, 30 * MS, 40 * MS, 1);
    ask(stage);
    int row = expect(stage, "stopped", 40 * MS);
    assert_string_equal(cell_str(&stage->answer, row, "strength"), "strong");
    assert_int_equal(cell_i64(&stage->answer, row, "gap_ns"), 0);
    assert_true(answer_noted(&stage->answer, "coverage 90.0 %"));
}

static void a_hidden_thread_gives_no_quota(void **state)
{
    struct stage *stage = *state;
    world_throttle(&stage->w, 20 * MS, 0, stage->pay, stage->idle);
    world_gap_hidden(&stage->w, 30 * MS, 40 * MS, 0);
    world_switch(&stage->w, 60 * MS, 0, stage->idle, R, stage->pay);
    ask(stage);
    int row = expect(stage, "runnable.throttled", 40 * MS);
    assert_string_equal(cell_str(&stage->answer, row, "strength"), "strong");
    assert_int_equal(cell_i64(&stage->answer, row, "gap_ns"), 0);
}

static void migrated_while_queued_is_weak(void **state)
{
    struct stage *stage = *state;
    world_switch(&stage->w, 20 * MS, 0, stage->pay, RP, stage->batch);
    world_switch(&stage->w, 60 * MS, 1, stage->idle, R, stage->pay);
    ask(stage);
    int row = expect(stage, "runnable.preempted", 40 * MS);
    assert_string_equal(cell_str(&stage->answer, row, "strength"), "weak");
    assert_non_null(strstr(cell_str(&stage->answer, row, "note"), "another CPU was idle"));
}

int main(void)
{
#define T_(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T_(runs_all_the_time),
        T_(preempted_by_equal_priority),
        T_(queued_behind_equal_priority),
        T_(queued_behind_higher_priority_is_preempted),
        T_(slices_of_one_culprit_are_one_row),
        T_(throttled_by_quota),
        T_(throttled_on_a_busy_cpu),
        T_(quota_over_and_rows_lost_is_weak),
        T_(quota_is_over_when_its_group_runs),
        T_(quota_is_over_when_another_goes_on),
        T_(throttled_and_the_counter_agrees),
        T_(throttling_is_inferred_from_an_idle_cpu),
        T_(idle_cpu_without_quota_is_idle_exit),
        T_(long_idle_exit_is_weak),
        T_(interrupts_are_cut_out_net_of_nesting),
        T_(interrupts_come_before_the_occupant),
        T_(zero_length_rows_take_nothing),
        T_(system_calls_and_reclaim_name_running_time),
        T_(what_it_needs_did_not_fill_the_group),
        T_(a_few_pages_did_not_fill_the_group),
        T_(a_worker_that_writes_back_is_no_cause),
        T_(reclaim_of_nobody_in_particular_is_weak),
        T_(reclaim_overrides_a_wait),
        T_(block_request_splits_into_queue_and_device),
        T_(sleep_in_the_path_is_the_applications),
        T_(poll_that_times_out),
        T_(bystander_is_never_blamed),
        T_(frozen_groups_are_told),
        T_(stopped_by_a_signal),
        T_(lost_events_are_unknown_and_weaken),
        T_(gap_in_a_consistent_stretch_weakens_it),
        T_(a_hidden_thread_elsewhere_does_not_weaken_a_wait),
        T_(a_hidden_thread_gives_no_quota),
        T_(migrated_while_queued_is_weak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
