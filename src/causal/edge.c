/* SPDX-License-Identifier: Apache-2.0
 *
 * What a wait was for. The rules are asked from the most to the least certain:
 *
 *   a stop, a page fault, reclaim, a pause of a writer, a kernel lock   rows of this thread
 *   a block request that completed just before the wakeup               its row
 *   a message                        the socket call that sent it: its thread, then the way here
 *   a lock in user memory            each holder in turn
 *   a wakeup by a thread             that thread; of a kernel worker, for whom it worked
 *   an open client span              the server's thread
 *   else                             timer, network, unknown
 *
 * A wakeup without a row (not recorded, or hidden) leaves the client span, which is weak, and a
 * call that can do nothing but sleep.
 */
#include <string.h>

#include "base/assert.h"
#include "causal/blame.h"
#include "causal/edge.h"
#include "causal/futex.h"
#include "column/syscalls.h"

#define SIGNAL_MAX  (100 * KP_US) /* from a signal to the wakeup it causes */
#define SERVICE_MAX KP_MS         /* from the end of a commit or of reclaim to the same */
#define HOLDERS_MAX 64            /* of one lock during one wait that are told apart */

enum { VMSCAN_THROTTLED = 3, VMSCAN_KSWAPD = 5 }; /* catalogue: VMSCAN_OP */

/* ---------- wakeups ---------- */

static const struct kpi_event *wake_of(const struct kpi_world *world, const struct kpi_interval *iv)
{
    if (iv->end == KPI_NONE)
        return NULL;
    const struct kpi_event *event = kpi_event_of(world, iv->end);
    return event->stream == KP_S_SCHED_WAKING ? event : NULL;
}

/* Kernel threads that only carry out what an interrupt began. */
static bool is_irq_thread(const struct kpi_world *world, uint32_t thread)
{
    const struct kpi_thread *t = kpi_thread_of(world, thread);
    struct kp_str comm = kp_actors_get(world->actors, t->actor)->comm;
    return t->kthread && ((comm.len >= 9 && memcmp(comm.ptr, "ksoftirqd", 9) == 0) ||
                          (comm.len >= 4 && memcmp(comm.ptr, "irq/", 4) == 0));
}

static bool is_thread_wake(const struct kpi_world *world, const struct kpi_event *wake)
{
    return wake != NULL && wake->context == 0 && wake->a != KPI_NONE && wake->a != wake->b &&
           !kpi_thread_of(world, wake->a)->idle && !is_irq_thread(world, wake->a);
}

/* ---------- wakers ---------- */

static bool in_syscall(const struct kpi_world *world, const struct kpi_interval *iv,
                       const char *const *names)
{
    const struct kpi_work *call = kpi_wait_syscall(world, iv);
    for (; call != NULL && *names != NULL; names++)
        if (kp_syscall_number(*names) == call->code)
            return true;
    return false;
}

/* A signal of the waker to the waiter's process just before the wakeup, or NULL. */
static const struct kpi_work *signal_of(const struct kpi_world *world,
                                        const struct kpi_interval *iv, const struct kpi_event *wake)
{
    const struct kpi_work_rows *set =
        kpi_work_since(&world->works[KPI_WORK_SIGNAL], wake->ts - SIGNAL_MAX);
    const struct kpi_thread *waiter = kpi_thread_of(world, iv->thread);
    for (uint32_t i = 0; i < set->count; i++) {
        const struct kpi_work *row = &set->rows[i];
        const struct kpi_thread *target = kpi_thread_of(world, row->group);
        if (row->thread == wake->a && target->pid == waiter->pid && target->host == waiter->host &&
            row->to <= wake->ts && row->to >= wake->ts - SIGNAL_MAX)
            return row;
    }
    return NULL;
}

static enum kpi_rule wake_rule(const struct kpi_world *world, const struct kpi_interval *iv,
                               const struct kpi_event *wake)
{
    static const char *const child[] = {"wait4", "waitid", NULL};
    if (in_syscall(world, iv, child))
        return KPI_RULE_CHILD;
    return signal_of(world, iv, wake) != NULL ? KPI_RULE_SIGNAL : KPI_RULE_WAKE;
}

/* A worker of io_uring belongs to the process it works for; who gave it the work has no event. */
static bool is_anonymous_worker(const struct kpi_world *world, uint32_t thread)
{
    const struct kpi_thread *t = kpi_thread_of(world, thread);
    struct kp_str comm = kp_actors_get(world->actors, t->actor)->comm;
    return t->kthread || (comm.len >= 8 && memcmp(comm.ptr, "iou-wrk-", 8) == 0);
}

/* The waker did something recorded for others just then: a journal's commit, reclaim. */
static bool is_serving(const struct kpi_world *world, const struct kpi_event *wake)
{
    static const enum kpi_works services[] = {KPI_WORK_COMMIT, KPI_WORK_RECLAIM};
    for (size_t i = 0; i < KP_ARRAY_LEN(services); i++)
        if (kpi_work_first(&world->works[services[i]], wake->a, wake->ts - SERVICE_MAX,
                           wake->ts + 1) != NULL)
            return true;
    return false;
}

/* Before the work was queued its submitter had yet to do so; from then on it is the worker's. */
static void enter_worker(struct kpi_walk *walk, const struct kpi_frame *frame,
                         const struct kpi_interval *iv, const struct kpi_event *wake,
                         const struct kpi_work *job, kp_time from, kp_time to)
{
    kp_time queued = KP_MIN(job->from - job->queue_dur, to);
    if (queued > from && job->other != KPI_NONE && job->other != wake->a &&
        !kpi_frame_within(frame, job->other)) {
        struct kpi_frame submitter =
            kpi_frame_child(frame, job->other, KPI_RULE_WORK, from, queued);
        submitter.by_work = job;
        kpi_frame_enter(walk, frame, &submitter);
        from = queued;
    }
    struct kpi_frame child = kpi_frame_child(frame, wake->a, KPI_RULE_WORK, from, to);
    child.by_event = iv->end;
    child.by_work = job;
    if (from < to)
        kpi_frame_enter(walk, frame, &child);
}

static void enter_waker(struct kpi_walk *walk, const struct kpi_frame *frame,
                        const struct kpi_interval *iv, const struct kpi_event *wake, kp_time from,
                        kp_time to)
{
    const struct kpi_world *world = walk->world;
    const struct kpi_work *job = kpi_job_at(world, wake->a, wake->ts);
    struct kpi_frame child = kpi_frame_child(frame, wake->a, wake_rule(world, iv, wake), from, to);
    child.by_event = iv->end;
    if (job != NULL) {
        enter_worker(walk, frame, iv, wake, job, from, to);
        return;
    }
    if (is_anonymous_worker(world, wake->a) && !is_serving(world, wake))
        child.strength = KPI_WEAK; /* who gave it the work is not recorded */
    if (kpi_wait_cut_short(world, iv))
        child.strength = KPI_WEAK; /* it did not end the wait, and nothing says what would have */
    kpi_frame_enter(walk, frame, &child);
}

/* ---------- messages ---------- */

static bool span_open(const struct kpi_walk *walk, const struct kpi_frame *frame, kp_time from,
                      kp_time to)
{
    return kpi_span_at(walk->world, frame->thread, from + (to - from) / 2, NULL) != KPI_NONE;
}

/* The thread of an edge by message or span has no span open and nothing woke it for work of this
 * window: it sits waiting for the request, or has answered; the message is on its way. */
static bool is_idle_server(const struct kpi_walk *walk, const struct kpi_frame *frame,
                           const struct kpi_interval *iv, const struct kpi_event *wake,
                           kp_time from, kp_time to)
{
    if (frame->edge != KPI_RULE_SPAN || span_open(walk, frame, from, to))
        return false;
    return !is_thread_wake(walk->world, wake) || iv->to > frame->until ||
           kpi_frame_within(frame, wake->a);
}

/* The same of one whose message is known. It is at work if it owes somebody an answer, or has
 * asked for this message within the window. */
static bool is_idle_receiver(const struct kpi_walk *walk, const struct kpi_frame *frame,
                             const struct kpi_interval *iv, const struct kpi_message *message,
                             kp_time from, kp_time to)
{
    if (frame->edge != KPI_RULE_SPAN && frame->edge != KPI_RULE_NET)
        return false;
    if (message->send == NULL || span_open(walk, frame, from, to))
        return false;
    return iv->to > frame->until || kpi_frame_within(frame, message->send->thread) ||
           !(kpi_net_owes(walk->world, message, iv->from) ||
             kpi_net_asked(walk->world, message, frame->from, iv->from));
}

/* What the sender did until it sent, then the way here. */
static void explain_message(struct kpi_walk *walk, const struct kpi_frame *frame,
                            const struct kpi_interval *iv, const struct kpi_message *message,
                            kp_time from, kp_time to)
{
    kp_time sent = KP_MIN(KP_MAX(message->sent, from), to);
    bool idle = is_idle_receiver(walk, frame, iv, message, from, to);
    if (idle && (iv->to > frame->until || !kpi_frame_within(frame, message->send->thread))) {
        kpi_blame_handover(walk, frame, "", from, to);
        return;
    }
    if (from < sent) {
        struct kpi_frame child =
            kpi_frame_child(frame, message->send->thread, KPI_RULE_NET, from, sent);
        child.until = KP_MAX(sent, message->sent);
        child.by_event = iv->end;
        child.by_work = message->send;
        if (!message->sure)
            child.strength = KPI_WEAK;
        if (idle)
            kpi_blame_handover(walk, frame, "", from, sent);
        else
            kpi_frame_enter(walk, frame, &child);
    }
    kpi_blame_message(walk, frame, iv, message, sent, to);
}

/* ---------- timers and senders ---------- */

/* A timer ended the wait. It explains it, unless the limit ran out on a server still at work. */
static bool timer_explains(const struct kpi_walk *walk, const struct kpi_interval *iv,
                           const struct kpi_event *wake, uint32_t partner)
{
    if (wake == NULL || !kpi_wake_is_timer(wake))
        return false;
    if (kpi_syscall_sleeps(kpi_wait_syscall(walk->world, iv)))
        return true;
    return partner == KPI_NONE || walk->world->spans[partner].to <= iv->to;
}

/* A message of a local process: it was inside a call that only sends when the wakeup happened. */
static bool is_sender(const struct kpi_world *world, const struct kpi_event *wake)
{
    if (wake == NULL || !kpi_wake_is_net(wake) || wake->a == KPI_NONE || wake->a == wake->b ||
        kpi_thread_of(world, wake->a)->idle || kpi_thread_of(world, wake->a)->kthread)
        return false;
    return kpi_syscall_sends(kpi_work_covering(&world->works[KPI_WORK_SYSCALL], wake->a, wake->ts));
}

static void enter_sender(struct kpi_walk *walk, const struct kpi_frame *frame,
                         const struct kpi_interval *iv, const struct kpi_event *wake, kp_time from,
                         kp_time to)
{
    struct kpi_frame child = kpi_frame_child(frame, wake->a, KPI_RULE_NET, from, to);
    child.by_event = iv->end;
    child.strength = KPI_WEAK;
    kpi_frame_enter(walk, frame, &child);
}

/* ---------- block requests handed in by others ---------- */

/* Since when the thread that handed the request in had been trying to: it was runnable or ran
 * without a break up to there. */
static kp_time submitter_since(const struct kpi_world *world, const struct kpi_work *request)
{
    const struct kpi_thread *thread = kpi_thread_of(world, request->thread);
    kp_time since = request->from;
    for (uint32_t i = kpi_timeline_find(world, thread, request->from - 1) + 1; i-- > 0;) {
        if (i >= thread->count)
            continue;
        const struct kpi_interval *iv = kpi_timeline_at(world, thread, i);
        if (iv->from > since)
            continue;
        if (iv->to < since || (iv->state != KPI_STATE_RUNNABLE && iv->state != KPI_STATE_RUNNING))
            break;
        since = iv->from;
        if (i == 0)
            kpi_miss_before(world);
    }
    return since;
}

/* A worker handed the request in (a flush, a write held back): while it waited for its CPU, that is
 * what this thread waited for. */
static void explain_block(struct kpi_walk *walk, const struct kpi_frame *frame,
                          const struct kpi_interval *iv, const struct kpi_work *request,
                          kp_time from, kp_time to)
{
    kp_time since = to, first = KP_MIN(request->from, to);
    if (request->thread != KPI_NONE && !kpi_thread_of(walk->world, request->thread)->idle &&
        !kpi_frame_within(frame, request->thread))
        since = KP_MAX(submitter_since(walk->world, request), from);
    if (since < first) {
        struct kpi_frame child =
            kpi_frame_child(frame, request->thread, KPI_RULE_BLOCK, since, first);
        child.by_event = iv->end;
        child.by_work = request;
        if (kpi_job_at(walk->world, request->thread, request->from) == NULL)
            child.strength = KPI_WEAK; /* whose work it carried is not recorded */
        kpi_blame_block(walk, frame, iv, request, from, since);
        kpi_frame_enter(walk, frame, &child);
        from = first;
    }
    kpi_blame_block(walk, frame, iv, request, from, to);
}

/* ---------- locks in user memory ---------- */

/* How many threads held the lock in turn during [from, to) of the wait. */
static unsigned holders_of(const struct kpi_world *world, const struct kpi_interval *iv,
                           const struct kpi_work *lock, kp_time from, kp_time to)
{
    uint32_t seen[HOLDERS_MAX];
    unsigned count = 0;
    for (kp_time at = from; at < to && count < HOLDERS_MAX;) {
        struct kpi_hold hold = kpi_futex_hold(world, iv, lock, at);
        unsigned i = 0;
        while (i < count && seen[i] != hold.thread)
            i++;
        if (i == count)
            seen[count++] = hold.thread;
        at = hold.to;
    }
    return count;
}

/* Each part of the wait is explained by the thread that held the lock during it. */
static void explain_futex(struct kpi_walk *walk, const struct kpi_frame *frame,
                          const struct kpi_interval *iv, kp_time from, kp_time to)
{
    const struct kpi_work *lock = kpi_futex_lock(walk->world, iv);
    unsigned holders = holders_of(walk->world, iv, lock, iv->from, iv->to);
    kp_time at = from;
    while (at < to) {
        struct kpi_hold hold = kpi_futex_hold(walk->world, iv, lock, at);
        kp_time until = KP_MIN(hold.to, to);
        struct kpi_frame child = kpi_frame_child(frame, hold.thread, KPI_RULE_LOCK, at, until);
        child.by_event = iv->end;
        child.by_work = lock;
        child.lock = lock;
        child.waiter = iv;
        child.holders = holders;
        if (!hold.sure)
            child.strength = KPI_WEAK;
        if (kpi_frame_within(frame, hold.thread))
            kpi_blame_lock(walk, frame, iv, lock, at, until);
        else
            kpi_frame_enter(walk, frame, &child);
        at = until;
    }
}

/* Nothing surer is known than who ran, or what was open, when it ended. */
static void explain_rest(struct kpi_walk *walk, const struct kpi_frame *frame,
                         const struct kpi_interval *iv, const struct kpi_event *wake, kp_time from,
                         kp_time to)
{
    const struct kpi_world *world = walk->world;
    bool only = false;
    uint32_t partner = kpi_span_partner(walk, frame->thread, from, to, wake, &only);
    uint32_t client = kpi_span_lone_client(walk, frame->thread, from, to);
    if (timer_explains(walk, iv, wake, partner) ||
        (wake == NULL && kpi_syscall_sleeps(kpi_wait_syscall(world, iv))))
        kpi_blame_wait(walk, frame, iv, from, to);
    else if (partner != KPI_NONE)
        kpi_span_enter(walk, frame, partner, only, wake == NULL ? KPI_NONE : iv->end, from, to);
    else if (is_sender(world, wake))
        enter_sender(walk, frame, iv, wake, from, to);
    else if (client != KPI_NONE && (wake == NULL || kpi_wake_is_net(wake)))
        kpi_blame_remote(walk, frame, client, from, to);
    else
        kpi_blame_wait(walk, frame, iv, from, to);
}

/* A message is known that ended the wait; without its sender, only what was sent again is. */
static void explain_net(struct kpi_walk *walk, const struct kpi_frame *frame,
                        const struct kpi_interval *iv, const struct kpi_event *wake, kp_time from,
                        kp_time to)
{
    struct kpi_message message = kpi_net_match(walk->world, iv);
    if (message.send != NULL || message.asks) {
        explain_message(walk, frame, iv, &message, from, to);
        return;
    }
    kp_time again = message.resent == NULL ? from : KP_MIN(KP_MAX(message.resent->to, from), to);
    if (from < again)
        kpi_blame_message(walk, frame, iv, &message, from, again);
    if (again < to && is_idle_server(walk, frame, iv, wake, again, to))
        kpi_blame_handover(walk, frame, "", again, to);
    else if (again < to)
        explain_rest(walk, frame, iv, wake, again, to);
}

/* Whoever woke it did so to interrupt it, and it did not wait again: while it was stopped what it
 * waited for had come, or the time it wanted to sleep had passed. */
static bool ended_unseen(const struct kpi_world *world, const struct kpi_interval *iv)
{
    return kpi_wait_stopped(world, iv) ||
           (kpi_wait_cut_short(world, iv) && kpi_syscall_sleeps(kpi_wait_syscall(world, iv)));
}

/* What ended the last try of a wait explains those before it: they were one wait. */
static void explain_wait(struct kpi_walk *walk, const struct kpi_frame *frame,
                         const struct kpi_interval *try, kp_time from, kp_time to)
{
    const struct kpi_world *world = walk->world;
    const struct kpi_interval *iv = kpi_is_stop(try) ?
    try : kpi_wait_last_try(world, try)
        ;
    const struct kpi_event *wake = wake_of(world, iv);
    const struct kpi_work *request = kpi_block_match(world, iv);
    if (kpi_is_stop(iv) || (is_thread_wake(world, wake) && ended_unseen(world, iv)))
        kpi_blame_wait(walk, frame, iv, from, to);
    else if (request != NULL)
        explain_block(walk, frame, iv, request, from, to);
    else if (wake != NULL && kpi_wake_is_net(wake))
        explain_net(walk, frame, iv, wake, from, to);
    else if (is_idle_server(walk, frame, iv, wake, from, to))
        kpi_blame_handover(walk, frame, "", from, to);
    else if (is_thread_wake(world, wake) && kpi_futex_lock(world, iv) != NULL)
        explain_futex(walk, frame, iv, from, to);
    else if (is_thread_wake(world, wake))
        enter_waker(walk, frame, iv, wake, from, to);
    else
        explain_rest(walk, frame, iv, wake, from, to);
}

/* ---------- rows of the thread that override the wait ---------- */

/* A wait for a kernel lock, split by who held it in turn. */
static void explain_lock(struct kpi_walk *walk, const struct kpi_frame *frame,
                         const struct kpi_interval *iv, const struct kpi_work *row, kp_time from,
                         kp_time to)
{
    const struct kpi_event *wake = wake_of(walk->world, iv);
    unsigned holders = kpi_lock_holders(walk->world, row);
    for (kp_time at = from, until; at < to; at = until) {
        struct kpi_hold hold = kpi_lock_hold(walk->world, row, at);
        bool last = hold.to >= to;
        bool ended = is_thread_wake(walk->world, wake) && wake->a == hold.thread;
        until = KP_MIN(hold.to, to);
        if (hold.thread == KPI_NONE || (last && !ended) || kpi_frame_within(frame, hold.thread)) {
            kpi_blame_lock(walk, frame, iv, row, at, until);
            continue;
        }
        struct kpi_frame child = kpi_frame_child(frame, hold.thread, KPI_RULE_LOCK, at, until);
        child.by_event = iv->end;
        child.by_work = row;
        child.lock = row;
        child.waiter = iv;
        child.holders = holders;
        kpi_frame_enter(walk, frame, &child);
    }
}

static void explain_unlocked(struct kpi_walk *walk, const struct kpi_frame *frame,
                             const struct kpi_interval *iv, kp_time from, kp_time to)
{
    static const struct kpi_cut cut = {KPI_WORK_LOCK, explain_lock, explain_wait};
    kpi_cut_run(walk, frame, iv, &cut, frame->thread, from, to);
}

static void explain_unpaused(struct kpi_walk *walk, const struct kpi_frame *frame,
                             const struct kpi_interval *iv, kp_time from, kp_time to)
{
    static const struct kpi_cut cut = {KPI_WORK_PAUSE, kpi_blame_pause, explain_unlocked};
    kpi_cut_run(walk, frame, iv, &cut, frame->thread, from, to);
}

/* Somebody else may be reading the page in: then the wait is for that thread. */
static void explain_fault(struct kpi_walk *walk, const struct kpi_frame *frame,
                          const struct kpi_interval *iv, const struct kpi_work *row, kp_time from,
                          kp_time to)
{
    const struct kpi_event *wake = wake_of(walk->world, iv);
    if (is_thread_wake(walk->world, wake) && !kpi_thread_of(walk->world, wake->a)->kthread)
        explain_unpaused(walk, frame, iv, from, to);
    else
        kpi_blame_fault(walk, frame, iv, row, from, to);
}

static void explain_faultless(struct kpi_walk *walk, const struct kpi_frame *frame,
                              const struct kpi_interval *iv, kp_time from, kp_time to)
{
    static const struct kpi_cut cut = {KPI_WORK_FAULT, explain_fault, explain_unpaused};
    kpi_cut_run(walk, frame, iv, &cut, frame->thread, from, to);
}

/* The waker was reclaiming for everybody just then. */
static bool is_kswapd(const struct kpi_world *world, const struct kpi_event *wake)
{
    const struct kpi_work_set *set = &world->works[KPI_WORK_RECLAIM];
    kp_time since = wake->ts - SERVICE_MAX;
    const struct kpi_work *row = kpi_work_first(set, wake->a, since, wake->ts + 1);
    while (row != NULL && row->a != VMSCAN_KSWAPD)
        row = kpi_work_next(set, row, since, wake->ts + 1);
    return row != NULL;
}

/* Held back until kswapd had made progress: an edge to it. A worker that ends such a wait has
 * written pages back, and who made those necessary is asked of the reclaim. */
static void explain_reclaim(struct kpi_walk *walk, const struct kpi_frame *frame,
                            const struct kpi_interval *iv, const struct kpi_work *row, kp_time from,
                            kp_time to)
{
    const struct kpi_event *wake = wake_of(walk->world, iv);
    if (row->a == VMSCAN_THROTTLED && is_thread_wake(walk->world, wake) &&
        is_kswapd(walk->world, wake))
        enter_waker(walk, frame, iv, wake, from, to);
    else
        kpi_blame_reclaim(walk, frame, iv, row, from, to);
}

void kpi_explain_blocked(struct kpi_walk *walk, const struct kpi_frame *frame,
                         const struct kpi_interval *iv, kp_time from, kp_time to)
{
    static const struct kpi_cut cut = {KPI_WORK_RECLAIM, explain_reclaim, explain_faultless};
    kpi_cut_run(walk, frame, iv, &cut, frame->thread, from, to);
}
