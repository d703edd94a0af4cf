/* SPDX-License-Identifier: Apache-2.0
 *
 * A lock in user memory has no events of its own, only the calls of those who had to wait for it.
 * They suffice. A waiter that waits for a lock, not for a condition, says so: it asks the kernel
 * to sleep as long as the word reads 2, "held, and somebody waits" (or uses the calls of a lock
 * that inherits priority). And as long as somebody waits, whoever lets go wakes a waiter. So the
 * wakeups of all who wait for one word are the instants at which the lock was let go, each by the
 * thread that woke; between two of them it had one holder, the one who ended the stretch.
 *
 * That one held it from the stretch's begin if it is the waiter woken there, or if the stretch
 * begins with the wait (nobody else can have let go unseen). Otherwise it overtook the waiter that
 * was woken, and since when it held the lock is not known: not sure.
 *
 * Words are compared within one process. A lock shared between processes has other addresses in
 * each; there only the thread that ended the wait is known.
 */
#include "causal/futex.h"

#include "base/assert.h"
#include "causal/blame.h"
#include "column/syscalls.h"

/* The kernel's futex operations; the flags above them say nothing about what is waited for. */
enum { OP_WAIT = 0, OP_LOCK_PI = 6, OP_LOCK_PI2 = 13, OP_MASK = 127 };
enum { WORD_CONTENDED = 2 };

static bool is_lock_call(const struct kpi_work *call)
{
    int64_t op = call->c & OP_MASK;
    return call->code == kp_syscall_number("futex") && call->a == 0 &&
           ((op == OP_WAIT && (uint32_t)call->d == WORD_CONTENDED) || op == OP_LOCK_PI ||
            op == OP_LOCK_PI2);
}

const struct kpi_work *kpi_futex_lock(const struct kpi_world *world, const struct kpi_interval *iv)
{
    const struct kpi_work *call = kpi_wait_syscall(world, iv);
    return call != NULL && is_lock_call(call) ? call : NULL;
}

/* The wakeup by a thread that ended the interval's wait for the lock, or NULL. */
static const struct kpi_event *release_of(const struct kpi_world *world,
                                          const struct kpi_interval *iv,
                                          const struct kpi_work *lock)
{
    if (iv->state != KPI_STATE_BLOCKED || iv->end == KPI_NONE)
        return NULL;
    const struct kpi_event *wake = kpi_event_of(world, iv->end);
    const struct kpi_work *call = kpi_futex_lock(world, iv);
    bool same = call != NULL && call->b == lock->b;
    bool woken = wake->stream == KP_S_SCHED_WAKING && wake->context == 0 && wake->a != KPI_NONE;
    return same && woken && wake->a != wake->b ? wake : NULL;
}

/* The first release after `at` of the waits of one thread that ended by `limit`, or NULL. */
static const struct kpi_event *release_after(const struct kpi_world *world, uint32_t index,
                                             const struct kpi_work *lock, kp_time at, kp_time limit)
{
    const struct kpi_thread *thread = kpi_thread_of(world, index);
    for (uint32_t i = kpi_timeline_find(world, thread, at); i < thread->count; i++) {
        const struct kpi_interval *iv = kpi_timeline_at(world, thread, i);
        if (iv->from >= limit)
            break;
        const struct kpi_event *wake = release_of(world, iv, lock);
        if (wake != NULL && wake->ts > at && wake->ts < limit)
            return wake;
    }
    return NULL;
}

/* True when the thread was waiting for the lock up to `at` and was woken then. */
static bool was_handed(const struct kpi_world *world, uint32_t index, const struct kpi_work *lock,
                       kp_time at)
{
    const struct kpi_thread *thread = kpi_thread_of(world, index);
    uint32_t i = kpi_timeline_find(world, thread, at - 1);
    if (i >= thread->count)
        return false;
    const struct kpi_event *wake = release_of(world, kpi_timeline_at(world, thread, i), lock);
    return wake != NULL && wake->ts == at;
}

struct kpi_hold kpi_futex_hold(const struct kpi_world *world, const struct kpi_interval *iv,
                               const struct kpi_work *lock, kp_time at)
{
    const struct kpi_thread *waiter = kpi_thread_of(world, iv->thread);
    const struct kpi_event *first = kpi_event_of(world, iv->end);
    struct kpi_hold hold = {.to = iv->to};
    for (uint32_t i = 0; i < world->threads.count; i++) {
        const struct kpi_thread *thread = kpi_thread_of(world, i);
        if (i == iv->thread || thread->pid != waiter->pid || thread->host != waiter->host)
            continue;
        const struct kpi_event *wake = release_after(world, i, lock, at, hold.to);
        if (wake != NULL &&
            (wake->ts < first->ts || (wake->ts == first->ts && wake->seq < first->seq))) {
            first = wake;
            hold.to = wake->ts;
        }
    }
    hold.thread = first->a;
    hold.sure = kpi_thread_of(world, first->a)->pid == waiter->pid &&
                (at <= iv->from || was_handed(world, first->a, lock, at));
    return hold;
}

/* ---------- locks of the kernel ---------- */

/* The next thread other than the waiter to get the lock after `at` and before the wait's end. */
static const struct kpi_work *got_after(const struct kpi_world *world, const struct kpi_work *lock,
                                        kp_time at)
{
    const struct kpi_work_set *set = &world->works[KPI_WORK_GOT];
    uint32_t group = kpi_lock_group(kpi_thread_of(world, lock->thread)->host, lock->a);
    const struct kpi_work *row = kpi_work_first(set, group, at, lock->to);
    for (; row != NULL; row = kpi_work_next(set, row, at, lock->to))
        if (row->a == lock->a && row->from > at && row->thread != lock->thread)
            return row;
    return NULL;
}

struct kpi_hold kpi_lock_hold(const struct kpi_world *world, const struct kpi_work *lock,
                              kp_time at)
{
    struct kpi_hold hold = {.thread = lock->other, .to = lock->to};
    const struct kpi_work *row = got_after(world, lock, lock->from);
    for (; row != NULL && row->from <= at; row = got_after(world, lock, row->from))
        hold.thread = row->thread;
    if (row != NULL)
        hold.to = row->from;
    hold.sure = hold.thread != KPI_NONE;
    return hold;
}

unsigned kpi_lock_holders(const struct kpi_world *world, const struct kpi_work *lock)
{
    unsigned count = lock->other != KPI_NONE;
    const struct kpi_work *row = got_after(world, lock, lock->from);
    for (; row != NULL; row = got_after(world, lock, row->from))
        count++;
    return count;
}
