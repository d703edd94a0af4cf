/* SPDX-License-Identifier: Apache-2.0
 *
 * Work of kernel workers with its submitter, lent priorities, moves between CPUs and the CPUs a
 * thread may use.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tape.h"

#define WRITES    20
#define MOVES     10
#define FIFO_PRIO 10
enum { TASK_EXEC = 2, TASK_AFFINITY = 5 };

static void run_work(struct tape *tape, struct work *work, int (*body)(void *), void *arg,
                     uint64_t kinds)
{
    struct kp_recorder_opts opts = tape_opts(kinds);

    work_make(work, body, arg);
    tape_start(tape, &opts);
    work_go(work);
    assert_int_equal(work_end(work), 0);
    tape_stop(tape);
    assert_int_equal(tape->stat.lost, 0);
}

struct terminal {
    int master, slave;
};

static bool terminal_open(struct terminal *out)
{
    char name[64];

    out->master = posix_openpt(O_RDWR | O_NOCTTY);
    if (out->master < 0 || grantpt(out->master) != 0 || unlockpt(out->master) != 0 ||
        ptsname_r(out->master, name, sizeof(name)) != 0)
        return false;
    out->slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    return out->slave >= 0;
}

/* What is written to one side of a terminal, a worker carries to the other. */
static int write_to_terminal(void *arg)
{
    const struct terminal *terminal = arg;
    char byte = 'x';

    for (int i = 0; i < WRITES; i++) {
        if (write(terminal->slave, &byte, 1) != 1 || read(terminal->master, &byte, 1) != 1)
            return 1;
    }
    sleep_ns(5 * KP_MS); /* the last one ends after it was read */
    return 0;
}

static void work_names_its_submitter(void **state)
{
    (void)state;
    struct work work;
    struct tape tape;
    struct terminal terminal;
    uint64_t rows = 0;

    if (!terminal_open(&terminal)) {
        print_message("no pseudo terminals here\n");
        skip();
    }
    run_work(&tape, &work, write_to_terminal, &terminal, KIND(WORKQUEUE));
    close(terminal.slave);
    close(terminal.master);
    TAPE_EACH(rec, &tape, WORKQUEUE)
    {
        assert_int_not_equal(rec->function, 0);
        assert_int_not_equal(rec->submitter, getpid());
        if (rec->submitter != (uint32_t)work.pid || strcmp(rec->name, "flush_to_ldisc") != 0)
            continue;
        assert_int_not_equal(rec->head.tid, work.pid);
        assert_int_equal(rec->context, 0);
        assert_in_range(rec->dur, 1, KP_SEC);
        assert_in_range(rec->queue_dur, 1, KP_SEC);
        rows++;
    }
    assert_in_range(rows, WRITES, WRITES + 2);
    tape_free(&tape);
}

/* --- lent priority --- */

struct lent {
    uint32_t futex;
    pid_t holder, waiter;
};

static void *wait_for_holder(void *arg)
{
    struct lent *lent = arg;
    struct sched_param param = {.sched_priority = FIFO_PRIO};

    lent->waiter = (pid_t)syscall(SYS_gettid);
    if (sched_setscheduler(0, SCHED_FIFO, &param) != 0)
        return NULL;
    if (syscall(SYS_futex, &lent->futex, FUTEX_LOCK_PI, 0, NULL, NULL, 0) != 0)
        return NULL;
    syscall(SYS_futex, &lent->futex, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0);
    return arg;
}

static int hold_and_give(void *arg)
{
    struct lent *lent = arg;
    pthread_t thread;
    void *result = NULL;

    lent->holder = (pid_t)syscall(SYS_gettid);
    if (syscall(SYS_futex, &lent->futex, FUTEX_LOCK_PI, 0, NULL, NULL, 0) != 0 ||
        pthread_create(&thread, NULL, wait_for_holder, lent) != 0)
        return 1;
    for (int i = 0; i < 10000 && !(__atomic_load_n(&lent->futex, __ATOMIC_ACQUIRE) & FUTEX_WAITERS);
         i++)
        sleep_ns(KP_MS);
    sleep_ns(10 * KP_MS); /* the priority is lent after the mark is set */
    syscall(SYS_futex, &lent->futex, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0);
    pthread_join(thread, &result);
    return result != lent;
}

static void priority_is_lent_and_given_back(void **state)
{
    (void)state;
    struct lent *lent =
        mmap(NULL, sizeof(*lent), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct work work;
    struct tape tape;
    uint32_t taken = 0, given = 0;

    run_work(&tape, &work, hold_and_give, lent, KIND(PI));
    TAPE_EACH(rec, &tape, PI)
    {
        if (rec->target != (uint32_t)lent->holder)
            continue;
        taken += rec->donor == (uint32_t)lent->waiter && rec->old_prio == 120 &&
                 rec->new_prio == 99 - FIFO_PRIO;
        given += rec->donor == 0 && rec->old_prio == 99 - FIFO_PRIO && rec->new_prio == 120;
    }
    assert_int_equal(taken, 1);
    assert_int_equal(given, 1);
    munmap(lent, sizeof(*lent));
    tape_free(&tape);
}

/* --- CPUs --- */

static int move_about(void *arg)
{
    (void)arg;
    for (int i = 0; i < MOVES; i++) {
        pin_cpu(0);
        pin_cpu(1);
    }
    return 0;
}

static void moves_are_recorded(void **state)
{
    (void)state;
    struct work work;
    struct tape tape;
    uint32_t up = 0, down = 0;

    if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
        print_message("one CPU\n");
        skip();
    }
    run_work(&tape, &work, move_about, NULL, KIND(MIGRATE));
    TAPE_EACH(rec, &tape, MIGRATE)
    {
        if (rec->thread != (uint32_t)work.pid)
            continue;
        up += rec->from_cpu == 0 && rec->to_cpu == 1;
        down += rec->from_cpu == 1 && rec->to_cpu == 0;
    }
    assert_in_range(up, MOVES, MOVES + 1);
    assert_in_range(down, MOVES - 1, MOVES + 1);
    tape_free(&tape);
}

static int pinned_exec(void *arg)
{
    (void)arg;
    pin_cpu(0);
    execl("/bin/true", "true", (char *)NULL);
    return 1;
}

static void threads_tell_their_cpus(void **state)
{
    (void)state;
    struct work work;
    struct tape tape;
    uint32_t execs = 0, changes = 0;

    run_work(&tape, &work, pinned_exec, NULL, KIND(TASK) | KIND(SYSCALL));
    TAPE_EACH(rec, &tape, TASK)
    {
        if (rec->head.tid != (uint32_t)work.pid ||
            (rec->op != TASK_EXEC && rec->op != TASK_AFFINITY))
            continue;
        assert_int_equal(rec->cpus, 1);
        assert_int_equal(rec->cpu_mask, 1);
        execs += rec->op == TASK_EXEC;
        changes += rec->op == TASK_AFFINITY;
    }
    assert_int_equal(execs, 1);
    assert_int_equal(changes, 1);
    tape_free(&tape);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(work_names_its_submitter),
        cmocka_unit_test(priority_is_lent_and_given_back),
        cmocka_unit_test(moves_are_recorded),
        cmocka_unit_test(threads_tell_their_cpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
