/* SPDX-License-Identifier: Apache-2.0
 *
 * System calls: joined, filtered, counted, bound.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/assert.h"
#include "tape.h"

#define NAPS      20
#define NAP       (3 * KP_MS)
#define CALLS     1000
#define STORM     200000
#define RING_TINY (16 * 4096)

static int nap(void *arg)
{
    (void)arg;
    for (int i = 0; i < CALLS; i++)
        syscall(SYS_getppid);
    for (int i = 0; i < NAPS; i++)
        sleep_ns(NAP);
    return close(-1) == -1 ? 0 : 1;
}

static uint64_t count_calls(const struct tape *tape, pid_t pid, uint32_t nr)
{
    uint64_t count = 0;

    TAPE_EACH(rec, tape, SYSCALL)
    {
        count += rec->head.tgid == (uint32_t)pid && rec->nr == nr;
    }
    return count;
}

static void long_calls_are_recorded(void **state)
{
    (void)state;
    struct work work;
    struct tape tape;
    struct kp_recorder_opts opts = tape_opts(KIND(SYSCALL));
    int64_t begin, end;

    work_make(&work, nap, NULL);
    tape_start(&tape, &opts);
    begin = kp_time_monotonic();
    work_go(&work);
    assert_int_equal(work_end(&work), 0);
    end = kp_time_monotonic();
    tape_stop(&tape);
    TAPE_EACH(rec, &tape, SYSCALL)
    {
        assert_true((int64_t)rec->dur >= KP_SYSCALL_MIN_DEFAULT);
        assert_int_not_equal(rec->head.tgid, getpid());
        if (rec->head.tgid != (uint32_t)work.pid)
            continue;
        assert_in_range(rec->head.mono, begin, end);
        assert_true(rec->dur <= (uint64_t)(end - begin) + (uint64_t)KP_MS);
        if (rec->nr != SYS_clock_nanosleep)
            continue;
        assert_in_range(rec->dur, NAP, 20 * NAP);
        assert_int_equal(rec->ret, 0);
        assert_int_equal(rec->arg0, CLOCK_MONOTONIC);
        assert_int_equal(rec->arg1, 0);
    }
    assert_int_equal(count_calls(&tape, work.pid, SYS_clock_nanosleep), NAPS);
    assert_in_range(tape.stat.syscalls_short, CALLS * 9 / 10, UINT32_MAX);
    assert_int_equal(tape.stat.lost, 0);
    assert_int_equal(tape.stat.joins_lost, 0);
    tape_free(&tape);
}

static void calls_begun_before_are_left_out(void **state)
{
    (void)state;
    struct work work;
    struct tape tape;
    struct kp_recorder_opts opts = tape_opts(KIND(SYSCALL));

    work_make(&work, nap, NULL);
    sleep_ns(20 * KP_MS); /* it is in read() now */
    tape_start(&tape, &opts);
    sleep_ns(20 * KP_MS);
    work_go(&work);
    assert_int_equal(work_end(&work), 0);
    tape_stop(&tape);
    assert_int_equal(count_calls(&tape, work.pid, SYS_read), 0);
    tape_free(&tape);
}

static void bound_processes_are_recorded_in_full(void **state)
{
    (void)state;
    struct work work;
    struct tape tape;
    struct kp_recorder_opts opts = tape_opts(KIND(SYSCALL));
    uint64_t failed = 0;

    work_make(&work, nap, NULL);
    tape_start(&tape, &opts);
    assert_int_equal(kp_source_bind(tape.source, (uint32_t)work.pid, true), KP_OK);
    assert_int_equal(kp_source_bind(tape.source, (uint32_t)work.pid, true), KP_OK);
    work_go(&work);
    assert_int_equal(work_end(&work), 0);
    assert_int_equal(kp_source_bind(tape.source, (uint32_t)work.pid, false), KP_OK);
    tape_stop(&tape);
    assert_int_equal(count_calls(&tape, work.pid, SYS_getppid), CALLS);
    TAPE_EACH(rec, &tape, SYSCALL)
    {
        if (rec->head.tgid != (uint32_t)work.pid || rec->nr != SYS_getppid)
            failed += rec->head.tgid == (uint32_t)work.pid && rec->nr == SYS_close &&
                      rec->ret == -9 && rec->arg0 == (uint32_t)-1;
        else
            assert_int_equal(rec->ret, getpid());
    }
    assert_int_equal(failed, 1); /* close(-1) is EBADF */
    tape_free(&tape);
}

static int storm(void *arg)
{
    (void)arg;
    for (int i = 0; i < STORM; i++)
        syscall(SYS_getppid);
    return 0;
}

/* Losses add up: what arrived and what was counted as lost is what was done, and the running count
 * in the records says between which two of a CPU the loss lies. */
static void recorded_and_lost_make_all(void **state)
{
    (void)state;
    struct work work;
    struct tape tape;
    struct kp_recorder_opts opts = tape_opts(KIND(SYSCALL));
    uint32_t last[TAPE_CPUS_MAX] = {0};
    uint64_t lost = 0, steps = 0;

    opts.ring_bytes = RING_TINY;
    opts.drain_every = 50 * KP_MS;
    opts.syscall_min = 3600 * KP_SEC; /* nothing but the bound process */
    work_make(&work, storm, NULL);
    tape_start(&tape, &opts);
    assert_int_equal(kp_source_bind(tape.source, (uint32_t)work.pid, true), KP_OK);
    work_go(&work);
    assert_int_equal(work_end(&work), 0);
    tape_stop(&tape);
    TAPE_EACH(rec, &tape, SYSCALL)
    {
        assert_true(rec->head.lost >= last[rec->head.cpu]);
        steps += rec->head.lost != last[rec->head.cpu];
        last[rec->head.cpu] = rec->head.lost;
    }
    for (uint32_t cpu = 0; cpu < tape.cpus; cpu++) {
        lost += tape.loss[cpu].records;
        assert_true(tape.loss[cpu].by_kind[KP_STREAM_SYSCALL] == tape.loss[cpu].records);
        assert_true(last[cpu] <= tape.loss[cpu].records);
    }
    uint64_t done = count_calls(&tape, work.pid, SYS_getppid) + lost;
    assert_true(lost > 0);
    assert_true(steps > 0);
    assert_in_range(done, STORM, STORM + 5); /* and the end of read(), and so on */
    tape_free(&tape);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_calls_are_recorded),
        cmocka_unit_test(calls_begun_before_are_left_out),
        cmocka_unit_test(bound_processes_are_recorded_in_full),
        cmocka_unit_test(recorded_and_lost_make_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
