/* SPDX-License-Identifier: Apache-2.0
 *
 * Switches and wakings of the running kernel, against facts that can be counted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/assert.h"
#include "tape.h"

#define ROUNDS 2000
#define MORE   200 /* room for what else the machine runs on that CPU */
#define SLEEPS 50

enum { IN_TASK, IN_SOFTIRQ, IN_HARDIRQ };
enum { STATE_S = 1, STATE_PREEMPTED = 256 };
enum { FIFO_PRIO = 98 }; /* the kernel's number of real-time priority 1 */

/* What a child tells us: memory shared with it. */
struct told {
    pid_t tids[2];
};

static struct told *shared(void)
{
    struct told *told =
        mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(told != MAP_FAILED);
    return told;
}

static pid_t own_tid(void)
{
    return (pid_t)syscall(SYS_gettid);
}

/* --- a pipe between two threads on one CPU --- */

struct pong {
    struct told *told;
    int there[2], back[2];
};

/* First in, first out among equals: nobody is preempted by the one it wakes, so each round has
 * exactly one sleep and one waking on either side. */
static void one_cpu_fifo(void)
{
    struct sched_param param = {.sched_priority = 1};

    pin_cpu(0);
    if (sched_setscheduler(0, SCHED_FIFO, &param) != 0)
        abort();
}

static void *pong_main(void *arg)
{
    struct pong *pong = arg;
    char byte;

    one_cpu_fifo();
    pong->told->tids[1] = own_tid();
    for (int i = 0; i < ROUNDS; i++) {
        if (read(pong->there[0], &byte, 1) != 1 || write(pong->back[1], &byte, 1) != 1)
            return NULL;
    }
    return pong;
}

static int ping(void *arg)
{
    struct pong pong = {.told = arg};
    pthread_t thread;
    void *result = NULL;
    char byte = 'x';

    one_cpu_fifo();
    pong.told->tids[0] = own_tid();
    if (pipe(pong.there) != 0 || pipe(pong.back) != 0 ||
        pthread_create(&thread, NULL, pong_main, &pong) != 0)
        return 1;
    for (int i = 0; i < ROUNDS; i++) {
        if (write(pong.there[1], &byte, 1) != 1 || read(pong.back[0], &byte, 1) != 1)
            return 1;
    }
    pthread_join(thread, &result);
    return result ? 0 : 1;
}

/* Every time tid slept and ran again, it was woken in between; *out_sleeps of them. */
static bool sleeps_end_by_waking(const struct tape *tape, uint32_t tid, uint64_t *out_sleeps)
{
    int64_t slept_at = 0;
    bool asleep = false, woken = false;

    *out_sleeps = 0;
    for (const struct kp_record *rec = tape_next(tape, 0, NULL); rec;
         rec = tape_next(tape, 0, rec)) {
        const struct kp_record_SCHED_SWITCH *sw = (const void *)rec;
        const struct kp_record_SCHED_WAKING *wk = (const void *)rec;
        if (rec->kind == KP_STREAM_SCHED_SWITCH && rec->tid == tid) {
            asleep = sw->prev_state == STATE_S;
            woken = false;
            slept_at = (int64_t)rec->mono;
        } else if (rec->kind == KP_STREAM_SCHED_WAKING && wk->wakee == tid) {
            woken = true;
        } else if (rec->kind == KP_STREAM_SCHED_SWITCH && sw->next == tid && asleep) {
            if (!woken || (int64_t)rec->mono < slept_at)
                return false;
            (*out_sleeps)++;
            asleep = false;
        }
    }
    return true;
}

static void pipe_rounds_are_all_there(void **state)
{
    (void)state;
    struct told *told = shared();
    struct work work;
    struct tape tape;
    struct kp_recorder_opts opts = tape_opts(KIND(SCHED_SWITCH) | KIND(SCHED_WAKING));
    uint64_t into[2] = {0}, direct = 0, fifo = 0, wakings[2] = {0}, other_context = 0, sleeps;

    work_make(&work, ping, told);
    tape_start(&tape, &opts);
    work_go(&work);
    assert_int_equal(work_end(&work), 0);
    tape_stop(&tape);

    const uint32_t a = (uint32_t)told->tids[0], b = (uint32_t)told->tids[1];
    TAPE_EACH(sw, &tape, SCHED_SWITCH)
    {
        into[0] += sw->next == a;
        into[1] += sw->next == b;
        direct += (sw->head.tid == a && sw->next == b) || (sw->head.tid == b && sw->next == a);
        if (sw->head.tid == a || sw->head.tid == b) {
            assert_int_equal(sw->head.tgid, work.pid);
            assert_false(sw->throttled);
            fifo += sw->prev_prio == FIFO_PRIO && sw->head.cpu == 0;
        }
    }
    TAPE_EACH(wk, &tape, SCHED_WAKING)
    {
        bool ab = wk->head.tid == a && wk->wakee == b, ba = wk->head.tid == b && wk->wakee == a;
        wakings[0] += ab;
        wakings[1] += ba;
        if ((ab || ba) && !wk->is_new && wk->context != IN_TASK)
            other_context++;
    }
    assert_int_equal(tape.stat.lost, 0);
    assert_int_equal(tape.late, 0);
    assert_in_range(into[0], ROUNDS, ROUNDS + MORE);
    assert_in_range(into[1], ROUNDS, ROUNDS + MORE);
    assert_in_range(direct, 2 * ROUNDS - MORE, 2 * ROUNDS + MORE);
    assert_in_range(fifo, 2 * ROUNDS, 2 * ROUNDS + MORE);
    assert_in_range(wakings[0], ROUNDS - 1, ROUNDS + 3);
    assert_in_range(wakings[1], ROUNDS - 1, ROUNDS + 3);
    assert_int_equal(other_context, 0);
    assert_true(sleeps_end_by_waking(&tape, a, &sleeps));
    assert_in_range(sleeps, ROUNDS - 1, ROUNDS + 3);
    assert_true(sleeps_end_by_waking(&tape, b, &sleeps));
    assert_in_range(sleeps, ROUNDS - 1, ROUNDS + 3);
    tape_free(&tape);
}

/* --- the CPU's history has no hole, our own threads included --- */

static int busy_and_idle(void *arg)
{
    (void)arg;
    for (int i = 0; i < 100; i++) {
        spin_ns(KP_MS / 2);
        sleep_ns(KP_MS / 2);
    }
    return 0;
}

static bool ever_leaves(const struct tape *tape, uint32_t tid)
{
    TAPE_EACH(sw, tape, SCHED_SWITCH)
    {
        if (sw->head.tid == tid)
            return true;
    }
    return false;
}

/* Guests exist whose kernel hides what the agent of their host does, from every tracer: a thread
 * that comes and never leaves is such a one, all others must be seen doing both. */
static void who_leaves_is_who_came(void **state)
{
    (void)state;
    struct work work;
    struct tape tape;
    struct kp_recorder_opts opts = tape_opts(KIND(SCHED_SWITCH));
    uint32_t on_cpu[TAPE_CPUS_MAX];
    uint64_t own = 0, checked = 0;

    memset(on_cpu, 0xff, sizeof(on_cpu));
    work_make(&work, busy_and_idle, NULL);
    tape_start(&tape, &opts);
    work_go(&work);
    assert_int_equal(work_end(&work), 0);
    tape_stop(&tape);
    TAPE_EACH(sw, &tape, SCHED_SWITCH)
    {
        uint32_t *running = &on_cpu[sw->head.cpu];
        if (*running == sw->head.tid)
            checked++;
        else if (*running != UINT32_MAX)
            assert_false(ever_leaves(&tape, *running));
        *running = sw->next;
        own += sw->head.tgid == (uint32_t)getpid();
    }
    assert_int_equal(tape.stat.lost, 0);
    assert_in_range(checked, 200, UINT32_MAX);
    assert_in_range(own, 10, UINT32_MAX); /* the drain and the taking thread */
    tape_free(&tape);
}

/* --- a sleep ends by an interrupt --- */

static int sleeper(void *arg)
{
    (void)arg;
    for (int i = 0; i < SLEEPS; i++)
        sleep_ns(2 * KP_MS);
    return 0;
}

static void sleeps_end_by_interrupt(void **state)
{
    (void)state;
    struct work work;
    struct tape tape;
    struct kp_recorder_opts opts = tape_opts(KIND(SCHED_SWITCH) | KIND(SCHED_WAKING));
    uint64_t by_interrupt = 0, by_task = 0;

    work_make(&work, sleeper, NULL);
    tape_start(&tape, &opts);
    work_go(&work);
    assert_int_equal(work_end(&work), 0);
    tape_stop(&tape);
    TAPE_EACH(wk, &tape, SCHED_WAKING)
    {
        if (wk->wakee != (uint32_t)work.pid)
            continue;
        if (wk->context == IN_TASK) {
            by_task++;
            continue;
        }
        by_interrupt++;
        if (wk->context == IN_HARDIRQ)
            assert_int_not_equal(wk->irq, -1); /* a line, or minus the vector of the CPU's timer */
        else
            assert_int_not_equal(wk->vec, 255);
    }
    /* kept off the CPU past its timer, a sleeper does not sleep at all: rare, on a busy machine */
    assert_in_range(by_interrupt, SLEEPS - 3, SLEEPS + 5);
    assert_in_range(by_task, 0, 3); /* our own go */
    tape_free(&tape);
}

/* --- a CPU quota --- */

static int burner(void *arg)
{
    (void)arg;
    spin_ns(600 * KP_MS);
    return 0;
}

static void quota_shows_as_throttled(void **state)
{
    (void)state;
    char group[256];
    struct work work;
    struct tape tape;
    struct kp_recorder_opts opts = tape_opts(KIND(SCHED_SWITCH) | KIND(SCHED_WAKING));
    uint64_t throttled = 0, resumed = 0;
    int64_t since = 0, longest = 0;

    if (!group_make("cpu", group)) {
        print_message("no v1 cpu controller here\n");
        skip();
    }
    group_write(group, "cpu.cfs_period_us", "50000");
    group_write(group, "cpu.cfs_quota_us", "10000");
    work_make(&work, burner, NULL);
    group_enter(group, work.pid);
    tape_start(&tape, &opts);
    work_go(&work);
    assert_int_equal(work_end(&work), 0);
    tape_stop(&tape);
    group_remove(group);
    const uint32_t tid = (uint32_t)work.pid;
    for (const struct kp_record *rec = tape_next(&tape, 0, NULL); rec;
         rec = tape_next(&tape, 0, rec)) {
        const struct kp_record_SCHED_SWITCH *sw = (const void *)rec;
        if (rec->kind == KP_STREAM_SCHED_WAKING) {
            if (since && ((const struct kp_record_SCHED_WAKING *)(const void *)rec)->wakee == tid)
                fail_msg("woken while throttled");
        } else if (rec->tid == tid && sw->throttled) {
            assert_true(sw->prev_state == STATE_PREEMPTED || sw->prev_state == 0);
            throttled++;
            since = (int64_t)rec->mono;
        } else if (since && sw->next == tid) {
            longest = KP_MAX(longest, (int64_t)rec->mono - since);
            resumed++;
            since = 0;
        }
    }
    /* 600 ms of wall time are 12 periods of 50 ms with 10 ms of running each; on a busy machine it
     * cannot use them up in each */
    assert_in_range(throttled, 3, 14);
    assert_in_range(resumed, throttled - 1, throttled);
    assert_in_range(longest, 5 * KP_MS, 500 * KP_MS);
    tape_free(&tape);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pipe_rounds_are_all_there),
        cmocka_unit_test(who_leaves_is_who_came),
        cmocka_unit_test(sleeps_end_by_interrupt),
        cmocka_unit_test(quota_shows_as_throttled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
