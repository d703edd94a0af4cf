/* SPDX-License-Identifier: Apache-2.0
 *
 * A signal, a stop or the freezer wakes a thread out of a call, and the call begins again: by
 * itself, or because the program makes it again at once. To the thread that is one wait, and who
 * interrupted it did not end it: what ended the last try had been waited for all along. What
 * happened between two tries (a handler, the stop) is explained for itself.
 *
 * The kernel says it by the call's result: numbers that no program sees, or EINTR. The rest of a
 * wait with a limit is a call of its own, restart_syscall, which names neither the first call nor
 * its arguments.
 */
#include "causal/blame.h"
#include "causal/edge.h"
#include "column/syscalls.h"

#define BUSY_MAX                                                                     \
    KP_MS /* that a thread computes between two tries: a handler, the program's loop \
           */

enum {
    INTERRUPTED = -4,
    AGAIN = -512,
    AGAIN_NOINTR = -513,
    AGAIN_NOHAND = -514,
    AGAIN_REST = -516
};

static const struct kpi_work *call_at(const struct kpi_world *world, const struct kpi_interval *iv)
{
    return kpi_work_covering(&world->works[KPI_WORK_SYSCALL], iv->thread, iv->from);
}

static bool is_rest(const struct kpi_work *call)
{
    return call->code == kp_syscall_number("restart_syscall");
}

/* The call of which this one is the rest. */
static const struct kpi_work *whole_of(const struct kpi_world *world, const struct kpi_work *call)
{
    const struct kpi_work_set *set = &world->works[KPI_WORK_SYSCALL];
    const struct kpi_work *whole = NULL;
    const struct kpi_work *row = kpi_work_seen(set, call->group, KP_TIME_MIN, call->from);
    for (; row != NULL; row = kpi_work_next(set, row, KP_TIME_MIN, call->from))
        if (row->to <= call->from && row->a == AGAIN_REST && !is_rest(row))
            whole = row;
    if (whole == NULL)
        kpi_miss_before(world);
    return whole == NULL ? call : whole;
}

const struct kpi_work *kpi_wait_syscall(const struct kpi_world *world,
                                        const struct kpi_interval *iv)
{
    const struct kpi_work *call = call_at(world, iv);
    return call != NULL && is_rest(call) ? whole_of(world, call) : call;
}

static bool begins_itself_again(const struct kpi_work *call)
{
    return call->a == AGAIN || call->a == AGAIN_NOINTR || call->a == AGAIN_NOHAND ||
           call->a == AGAIN_REST;
}

bool kpi_wait_cut_short(const struct kpi_world *world, const struct kpi_interval *iv)
{
    const struct kpi_work *call = call_at(world, iv);
    return call != NULL && begins_itself_again(call);
}

bool kpi_wait_stopped(const struct kpi_world *world, const struct kpi_interval *iv)
{
    const struct kpi_thread *thread = kpi_thread_of(world, iv->thread);
    for (uint32_t i = kpi_timeline_find(world, thread, iv->to); i < thread->count; i++) {
        const struct kpi_interval *next = kpi_timeline_at(world, thread, i);
        if (next->state == KPI_STATE_BLOCKED && next->from >= iv->to)
            return kpi_is_stop(next) && kpi_wait_cut_short(world, iv);
    }
    return false;
}

static bool is_same(const struct kpi_work *call, const struct kpi_work *again)
{
    return is_rest(again) || (again->code == call->code && again->b == call->b);
}

/* The next try of the wait, or NULL. */
static const struct kpi_interval *next_try(const struct kpi_world *world,
                                           const struct kpi_interval *iv)
{
    const struct kpi_thread *thread = kpi_thread_of(world, iv->thread);
    const struct kpi_work *call = call_at(world, iv);
    kp_dur busy = 0;
    if (call == NULL || (call->a != INTERRUPTED && !begins_itself_again(call)))
        return NULL;
    const struct kpi_work first = *call; /* reading on may move it */
    for (uint32_t i = kpi_timeline_find(world, thread, iv->to);
         i < thread->count && busy <= BUSY_MAX; i++) {
        const struct kpi_interval *next = kpi_timeline_at(world, thread, i);
        if (next->from < iv->to)
            continue;
        if (next->state == KPI_STATE_RUNNING)
            busy += next->to - next->from;
        if (next->state != KPI_STATE_BLOCKED || kpi_is_stop(next))
            continue;
        const struct kpi_work *again = call_at(world, next);
        return again != NULL && again->from > first.from && is_same(&first, again) ? next : NULL;
    }
    return NULL;
}

const struct kpi_interval *kpi_wait_last_try(const struct kpi_world *world,
                                             const struct kpi_interval *iv)
{
    for (const struct kpi_interval *next = iv; next != NULL; next = next_try(world, iv))
        iv = next;
    return iv;
}
