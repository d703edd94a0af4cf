/* SPDX-License-Identifier: Apache-2.0
 *
 * Leaf rules for a thread that waited: reclaim, locks, block requests, timers, messages, and what
 * remains unknown. A wakeup from an interrupt never accuses the thread that happened to be running
 * there; it is classified by the context it came from.
 */
#include <string.h>

#include "base/assert.h"
#include "causal/blame.h"
#include "causal/edge.h"
#include "column/syscalls.h"

#define COMPLETION_MAX (500 * KP_US) /* from a request's completion to the wakeup it causes */
#define DEV_MINOR_BITS 20

enum { CONTEXT_TASK, CONTEXT_SOFTIRQ, CONTEXT_HARDIRQ }; /* catalogue: CONTEXT */
enum { VEC_TIMER = 1, VEC_NET_TX = 2, VEC_NET_RX = 3, VEC_BLOCK = 4, VEC_HRTIMER = 8 };
enum { LETTER_D = 2, LETTER_STOPPED = 4, LETTER_TRACED = 8, LETTER_FROZEN = 512 };
enum { SIGNAL_CONT = 18, SIGNAL_STOP = 19, SIGNAL_TTOU = 22 };

static struct kp_str enum_text(enum kp_stream_no stream, const char *column, int64_t value)
{
    const struct kp_stream *s = kp_stream_by_number(stream);
    return kp_enum_name(&s->stored[kp_stream_stored(s, column)], value);
}

static bool same_host(const struct kpi_world *world, uint32_t a, uint32_t b)
{
    return a != KPI_NONE && b != KPI_NONE &&
           kpi_thread_of(world, a)->host == kpi_thread_of(world, b)->host;
}

/* ---------- reclaim, page faults, pauses and locks ---------- */

static struct kp_str device_text(const struct kpi_walk *walk, int64_t device)
{
    return kpi_text(walk->arena, "dev %lld:%lld", (long long)(device >> DEV_MINOR_BITS),
                    (long long)(device & ((1 << DEV_MINOR_BITS) - 1)));
}

static void culprit_set(struct kpi_slice *slice, const struct kpi_crowd *crowd)
{
    slice->culprit = crowd->thread;
    slice->culprit_actor = crowd->actor;
}

/* The begin of all that is being explained. */
static kp_time asked_from(const struct kpi_frame *frame)
{
    while (frame->parent != NULL)
        frame = frame->parent;
    return frame->from;
}

void kpi_blame_reclaim(struct kpi_walk *walk, const struct kpi_frame *frame,
                       const struct kpi_interval *iv, const struct kpi_work *row, kp_time from,
                       kp_time to)
{
    struct kpi_slice slice = kpi_slice_make(walk, frame, iv, from, to);
    slice.kind = KPI_RECLAIM;
    slice.rule = KPI_RULE_RECLAIM;
    slice.stop = "";
    slice.subkind = enum_text(KP_S_VMSCAN, "op", row->a);
    slice.object = kp_actors_get(walk->world->actors, slice.actor)->cgroup;
    if (iv->state == KPI_STATE_RUNNING)
        slice.cpu = iv->cpu;
    struct kpi_crowd crowd =
        kpi_crowd_memory(walk->world, frame->thread, asked_from(frame), row->from, row->to);
    culprit_set(&slice, &crowd);
    if (crowd.thread == KPI_NONE && !kpi_thread_of(walk->world, frame->thread)->kthread)
        slice.strength = KPI_WEAK; /* who filled the group is not told by its rows */
    kpi_slice_work(&slice, row);
    kpi_slice_work(&slice, crowd.row);
    kpi_slice_event(&slice, iv->begin);
    kpi_slice_emit(walk, &slice);
}

/* The request that brought the page in is evidence; the file is what it is about. */
void kpi_blame_fault(struct kpi_walk *walk, const struct kpi_frame *frame,
                     const struct kpi_interval *iv, const struct kpi_work *row, kp_time from,
                     kp_time to)
{
    const struct kpi_work *request =
        iv->state == KPI_STATE_BLOCKED ? kpi_block_match(walk->world, iv) : NULL;
    struct kpi_slice slice = kpi_slice_make(walk, frame, iv, from, to);
    struct kp_str device = device_text(walk, request != NULL ? request->a : row->a);
    slice.kind = KPI_PAGE_FAULT;
    slice.rule = KPI_RULE_FAULT;
    slice.stop = "";
    slice.subkind = KP_STR("major");
    slice.object = row->b == 0 ? device
                               : kpi_text(walk->arena, "inode %lld of %.*s", (long long)row->b,
                                          (int)device.len, device.ptr);
    if (iv->state == KPI_STATE_RUNNING)
        slice.cpu = iv->cpu;
    if (request != NULL) {
        struct kpi_crowd crowd = kpi_crowd_device(walk->world, frame->thread, request->a, from, to);
        culprit_set(&slice, &crowd);
    }
    kpi_slice_work(&slice, row);
    kpi_slice_work(&slice, request);
    kpi_slice_event(&slice, iv->end);
    kpi_slice_emit(walk, &slice);
}

void kpi_blame_pause(struct kpi_walk *walk, const struct kpi_frame *frame,
                     const struct kpi_interval *iv, const struct kpi_work *row, kp_time from,
                     kp_time to)
{
    struct kpi_slice slice = kpi_slice_make(walk, frame, iv, from, to);
    struct kpi_crowd crowd = kpi_crowd_device(walk->world, frame->thread, row->a, from, to);
    slice.kind = KPI_BLOCK_QUEUE;
    slice.rule = KPI_RULE_WRITEBACK;
    slice.stop = "";
    slice.subkind = KP_STR("dirty_pause");
    slice.object = device_text(walk, row->a);
    culprit_set(&slice, &crowd);
    kpi_slice_work(&slice, row);
    kpi_slice_work(&slice, crowd.row);
    kpi_slice_event(&slice, iv->end);
    kpi_slice_emit(walk, &slice);
}

struct kp_str kpi_lock_kind(const struct kpi_work *lock)
{
    return lock->stream == KP_S_LOCK ? enum_text(KP_S_LOCK, "kind", lock->b) : KP_STR("futex");
}

struct kp_str kpi_lock_name(const struct kpi_walk *walk, const struct kpi_work *lock)
{
    bool kernel = lock->stream == KP_S_LOCK;
    return kpi_text(walk->arena, "%s0x%llx", kernel ? "" : "futex ",
                    (unsigned long long)(kernel ? lock->a : lock->b));
}

/* The holder is known only as of the wait's begin, so a lock row alone is weak. */
void kpi_blame_lock(struct kpi_walk *walk, const struct kpi_frame *frame,
                    const struct kpi_interval *iv, const struct kpi_work *row, kp_time from,
                    kp_time to)
{
    struct kpi_slice slice = kpi_slice_make(walk, frame, iv, from, to);
    slice.kind = KPI_LOCK;
    slice.rule = KPI_RULE_LOCK;
    slice.stop = "";
    slice.strength = KPI_WEAK;
    slice.subkind = kpi_lock_kind(row);
    slice.object = kpi_lock_name(walk, row);
    if (iv->state == KPI_STATE_RUNNING)
        slice.cpu = iv->cpu;
    if (row->other_actor != KP_ACTOR_UNKNOWN && row->other != frame->thread) {
        slice.culprit = row->other;
        slice.culprit_actor = row->other_actor;
    }
    kpi_slice_lock(walk, frame, iv, &slice);
    kpi_slice_work(&slice, row);
    kpi_slice_event(&slice, iv->end);
    kpi_slice_emit(walk, &slice);
}

/* ---------- block requests ---------- */

/* A wait that the device can have ended: uninterruptible or marked as I/O, or of a kernel thread,
 * and woken from an interrupt; or anybody woken by the block soft interrupt. */
static bool could_be_block(const struct kpi_world *world, const struct kpi_interval *iv,
                           const struct kpi_event *wake)
{
    if (wake->context == CONTEXT_TASK)
        return false;
    return iv->letter == LETTER_D || (iv->flags & KPI_FLAG_IOWAIT) != 0 ||
           kpi_thread_of(world, iv->thread)->kthread ||
           (wake->context == CONTEXT_SOFTIRQ && wake->vec == VEC_BLOCK);
}

/* True when request a ended the wait rather than b: its own, then of that CPU, then the later. */
static bool better_request(const struct kpi_work *a, const struct kpi_work *b, uint32_t thread,
                           uint32_t cpu)
{
    if (b == NULL)
        return true;
    if ((a->thread == thread) != (b->thread == thread))
        return a->thread == thread;
    if ((a->cpu == cpu) != (b->cpu == cpu))
        return a->cpu == cpu;
    return a->to != b->to ? a->to > b->to : a->seq > b->seq;
}

const struct kpi_work *kpi_block_match(const struct kpi_world *world, const struct kpi_interval *iv)
{
    const struct kpi_event *wake = iv->end == KPI_NONE ? NULL : kpi_event_of(world, iv->end);
    if (wake == NULL || !could_be_block(world, iv, wake))
        return NULL;
    const struct kpi_work_set *set = &world->works[KPI_WORK_BLOCK];
    uint32_t host = kpi_thread_of(world, iv->thread)->host;
    kp_time since = KP_MAX(wake->ts - COMPLETION_MAX, iv->from);
    const struct kpi_work *best = NULL;
    kpi_work_since(set, since);
    const struct kpi_work *row = kpi_work_seen(set, host, since, wake->ts + 1);
    for (; row != NULL; row = kpi_work_next(set, row, since, wake->ts + 1)) {
        bool ours = row->cpu == wake->cpu || row->thread == iv->thread;
        if (ours && row->to <= wake->ts && better_request(row, best, iv->thread, wake->cpu))
            best = row;
    }
    return best;
}

static void block_slice(struct kpi_walk *walk, const struct kpi_frame *frame,
                        const struct kpi_interval *iv, const struct kpi_work *row,
                        enum kpi_kind kind, kp_time from, kp_time to)
{
    struct kpi_slice slice = kpi_slice_make(walk, frame, iv, from, to);
    slice.kind = kind;
    slice.rule = KPI_RULE_BLOCK;
    slice.stop = "";
    slice.subkind = enum_text(KP_S_BLOCK_RQ, "op", row->code);
    slice.object = device_text(walk, row->a);
    struct kpi_crowd crowd = kpi_crowd_device(walk->world, frame->thread, row->a, from, to);
    if (crowd.thread == KPI_NONE)
        crowd = kpi_crowd_request(walk->world, row);
    if (crowd.thread == KPI_NONE || !kpi_frame_within(frame, crowd.thread))
        culprit_set(&slice, &crowd);
    if (to <= row->from) /* before the request: nothing says what it waited for */
        slice.strength = KPI_WEAK;
    kpi_slice_work(&slice, row);
    kpi_slice_event(&slice, iv->end);
    kpi_slice_work(&slice, crowd.row);
    kpi_slice_event(&slice, iv->begin);
    kpi_slice_emit(walk, &slice);
}

void kpi_blame_block(struct kpi_walk *walk, const struct kpi_frame *frame,
                     const struct kpi_interval *iv, const struct kpi_work *row, kp_time from,
                     kp_time to)
{
    kp_time first = KP_MIN(KP_MAX(row->from, from), to);
    kp_time issued = KP_MIN(KP_MAX(row->from + row->queue_dur, first), to);
    block_slice(walk, frame, iv, row, KPI_BLOCK_QUEUE, from, first);
    block_slice(walk, frame, iv, row, KPI_BLOCK_QUEUE, first, issued);
    block_slice(walk, frame, iv, row, KPI_BLOCK_DEVICE, issued, to);
}

/* ---------- contexts ---------- */

bool kpi_wake_is_timer(const struct kpi_event *event)
{
    if (event->context == CONTEXT_HARDIRQ)
        return event->irq < 0; /* the local timer has no line */
    return event->context == CONTEXT_SOFTIRQ &&
           (event->vec == VEC_TIMER || event->vec == VEC_HRTIMER);
}

bool kpi_wake_is_net(const struct kpi_event *event)
{
    return event->context == CONTEXT_SOFTIRQ &&
           (event->vec == VEC_NET_RX || event->vec == VEC_NET_TX);
}

static bool syscall_among(const struct kpi_work *syscall, const char *const *names)
{
    for (; syscall != NULL && *names != NULL; names++)
        if (kp_syscall_number(*names) == syscall->code)
            return true;
    return false;
}

bool kpi_syscall_sleeps(const struct kpi_work *syscall)
{
    static const char *const names[] = {"nanosleep", "clock_nanosleep", NULL};
    return syscall_among(syscall, names);
}

bool kpi_syscall_sends(const struct kpi_work *syscall)
{
    static const char *const names[] = {"sendto", "sendmsg", "sendmmsg", NULL};
    return syscall_among(syscall, names);
}

/* ---------- the rest of the waits ---------- */

static void timer_slice(struct kpi_walk *walk, const struct kpi_frame *frame,
                        const struct kpi_interval *iv, kp_time from, kp_time to)
{
    const struct kpi_work *syscall = kpi_wait_syscall(walk->world, iv);
    struct kpi_slice slice = kpi_slice_make(walk, frame, iv, from, to);
    bool timed = syscall != NULL && !kpi_syscall_sleeps(syscall);
    slice.kind = timed ? KPI_TIMER_TIMEOUT : KPI_TIMER_SLEEP;
    slice.rule = KPI_RULE_TIMER;
    slice.culprit = frame->thread;
    slice.culprit_actor = slice.actor;
    bool woken =
        iv->end != KPI_NONE && kpi_event_of(walk->world, iv->end)->stream == KP_S_SCHED_WAKING;
    if (syscall == NULL || !woken || kpi_wait_cut_short(walk->world, iv))
        slice.strength = KPI_WEAK;
    if (syscall != NULL)
        slice.subkind = enum_text(KP_S_SYSCALL, "nr", syscall->code);
    kpi_slice_event(&slice, iv->end);
    kpi_slice_work(&slice, syscall);
    kpi_slice_emit(walk, &slice);
}

void kpi_blame_message(struct kpi_walk *walk, const struct kpi_frame *frame,
                       const struct kpi_interval *iv, const struct kpi_message *message,
                       kp_time from, kp_time to)
{
    const struct kpi_work *send = message->send;
    bool here = send != NULL && same_host(walk->world, frame->thread, send->thread);
    kp_time again = message->resent == NULL ? from : KP_MIN(KP_MAX(message->resent->to, from), to);
    const kp_time ends[] = {again, to};
    for (int i = 0; i < 2; i++) {
        struct kpi_slice slice = kpi_slice_make(walk, frame, iv, from, ends[i]);
        slice.kind = i == 0 ? KPI_NET_RETRANSMIT : here ? KPI_NET_LOCAL : KPI_NET_WIRE;
        slice.rule = KPI_RULE_NET;
        slice.subkind = message->asks ? KP_STR("connect") : KP_STR("");
        slice.object = message->receive->name;
        if (!message->sure)
            slice.strength = KPI_WEAK;
        kpi_slice_work(&slice, i == 0 ? message->resent : send);
        kpi_slice_event(&slice, iv->end);
        kpi_slice_work(&slice, message->receive);
        kpi_slice_emit(walk, &slice);
        from = KP_MAX(from, ends[i]);
    }
}

static void net_slice(struct kpi_walk *walk, const struct kpi_frame *frame,
                      const struct kpi_interval *iv, kp_time from, kp_time to)
{
    struct kpi_slice slice = kpi_slice_make(walk, frame, iv, from, to);
    slice.kind = KPI_NET_WIRE;
    slice.rule = KPI_RULE_NET;
    slice.strength = KPI_WEAK;
    slice.subkind = KP_STR("unknown");
    const struct kpi_message message = kpi_net_match(walk->world, iv);
    if (message.receive != NULL)
        slice.object = message.receive->name;
    kpi_slice_event(&slice, iv->end);
    kpi_slice_work(&slice, kpi_wait_syscall(walk->world, iv));
    kpi_slice_emit(walk, &slice);
}

/* The latest stop signal this thread or its process got before the wait began. */
static const struct kpi_work *stop_signal(const struct kpi_world *world,
                                          const struct kpi_interval *iv)
{
    const struct kpi_work_rows *set = kpi_work_since(&world->works[KPI_WORK_SIGNAL], world->from);
    const struct kpi_work *found = NULL;
    uint32_t pid = kpi_thread_of(world, iv->thread)->pid;
    for (uint32_t i = 0; i < set->count; i++) {
        const struct kpi_work *row = &set->rows[i];
        if (row->code >= SIGNAL_STOP && row->code <= SIGNAL_TTOU && row->to <= iv->from &&
            kpi_thread_of(world, row->group)->pid == pid &&
            same_host(world, row->group, iv->thread) && (found == NULL || row->to > found->to))
            found = row;
    }
    return found;
}

static void stopped_slice(struct kpi_walk *walk, const struct kpi_frame *frame,
                          const struct kpi_interval *iv, kp_time from, kp_time to)
{
    struct kpi_slice slice = kpi_slice_make(walk, frame, iv, from, to);
    const struct kpi_work *signal = stop_signal(walk->world, iv);
    slice.kind = KPI_STOPPED;
    slice.rule = KPI_RULE_STOP;
    slice.subkind = iv->letter == LETTER_TRACED ? KP_STR("traced") : KP_STR("signal");
    if (signal != NULL) {
        slice.culprit = signal->thread;
        slice.culprit_actor = signal->actor;
        slice.object = kpi_text(walk->arena, "signal %d", signal->code);
        kpi_slice_work(&slice, signal);
    }
    kpi_slice_event(&slice, iv->begin);
    kpi_slice_event(&slice, iv->end);
    kpi_slice_emit(walk, &slice);
}

/* Who froze the group has no row; who let it go on woke the thread. */
static void frozen_slice(struct kpi_walk *walk, const struct kpi_frame *frame,
                         const struct kpi_interval *iv, kp_time from, kp_time to)
{
    struct kpi_slice slice = kpi_slice_make(walk, frame, iv, from, to);
    const struct kpi_event *wake = iv->end == KPI_NONE ? NULL : kpi_event_of(walk->world, iv->end);
    slice.kind = KPI_FROZEN;
    slice.rule = KPI_RULE_STOP;
    slice.object = kp_actors_get(walk->world->actors, slice.actor)->cgroup;
    if (wake != NULL && wake->stream == KP_S_SCHED_WAKING && wake->context == CONTEXT_TASK) {
        const struct kp_actor *by = kp_actors_get(walk->world->actors, wake->actor_a);
        slice.note =
            kpi_text(walk->arena, "thawed by %.*s(%u)", (int)by->comm.len, by->comm.ptr, by->tid);
    }
    kpi_slice_event(&slice, iv->begin);
    kpi_slice_event(&slice, iv->end);
    kpi_slice_emit(walk, &slice);
}

static void unexplained_slice(struct kpi_walk *walk, const struct kpi_frame *frame,
                              const struct kpi_interval *iv, kp_time from, kp_time to)
{
    struct kpi_slice slice = kpi_slice_make(walk, frame, iv, from, to);
    slice.strength = KPI_WEAK;
    slice.subkind = KP_STR("no-waker");
    if (iv->end != KPI_NONE && kpi_event_of(walk->world, iv->end)->stream == KP_S_SCHED_WAKING &&
        kpi_event_of(walk->world, iv->end)->context != CONTEXT_TASK)
        slice.subkind = KP_STR("irq");
    else if ((iv->flags & KPI_FLAG_NO_WAKER) != 0)
        slice.subkind = KP_STR("lost");
    kpi_slice_event(&slice, iv->begin);
    kpi_slice_event(&slice, iv->end);
    kpi_slice_emit(walk, &slice);
}

/* Not its timer woke it, or that has no row, but it was in a call that can do nothing but sleep. It
 * slept to the end, or did not sleep again after it had been interrupted. */
static bool slept_out(const struct kpi_world *world, const struct kpi_interval *iv)
{
    const struct kpi_work *syscall = kpi_wait_syscall(world, iv);
    if (kpi_wait_cut_short(world, iv))
        return kpi_syscall_sleeps(syscall);
    return (iv->flags & KPI_FLAG_NO_WAKER) != 0 && kpi_syscall_sleeps(syscall) && syscall->a == 0 &&
           syscall->to >= iv->to;
}

bool kpi_is_stop(const struct kpi_interval *iv)
{
    return iv->letter == LETTER_STOPPED || iv->letter == LETTER_TRACED ||
           iv->letter == LETTER_FROZEN;
}

void kpi_blame_wait(struct kpi_walk *walk, const struct kpi_frame *frame,
                    const struct kpi_interval *iv, kp_time from, kp_time to)
{
    const struct kpi_event *wake = iv->end == KPI_NONE ? NULL : kpi_event_of(walk->world, iv->end);
    bool woken = wake != NULL && wake->stream == KP_S_SCHED_WAKING;
    if (iv->letter == LETTER_FROZEN)
        frozen_slice(walk, frame, iv, from, to);
    else if (iv->letter == LETTER_STOPPED || iv->letter == LETTER_TRACED)
        stopped_slice(walk, frame, iv, from, to);
    else if ((woken && kpi_wake_is_timer(wake)) || slept_out(walk->world, iv))
        timer_slice(walk, frame, iv, from, to);
    else if (woken && kpi_wake_is_net(wake))
        net_slice(walk, frame, iv, from, to);
    else
        unexplained_slice(walk, frame, iv, from, to);
}

void kpi_blame_handover(struct kpi_walk *walk, const struct kpi_frame *frame, const char *stop,
                        kp_time from, kp_time to)
{
    const struct kpi_frame *asker = frame->parent != NULL ? frame->parent : frame;
    struct kpi_slice slice = kpi_slice_make(walk, asker, NULL, from, to);
    slice.kind =
        same_host(walk->world, asker->thread, frame->thread) ? KPI_NET_LOCAL : KPI_NET_WIRE;
    slice.rule = KPI_RULE_NET;
    slice.edge = frame->edge;
    slice.strength = KPI_WEAK;
    slice.subkind = KP_STR("hand-over");
    slice.stop = stop;
    kpi_slice_emit(walk, &slice);
}

/* A stretch of a span whose thread left no kernel rows. */
void kpi_blame_remote(struct kpi_walk *walk, const struct kpi_frame *frame, uint32_t span_index,
                      kp_time from, kp_time to)
{
    const struct kpi_span *span = &walk->world->spans[span_index];
    struct kpi_slice slice = kpi_slice_make(walk, frame, NULL, from, to);
    slice.kind = KPI_REMOTE;
    slice.rule = KPI_RULE_SPAN;
    slice.strength = KPI_WEAK;
    slice.span = span_index;
    slice.subkind = KP_STR("untraced-host");
    slice.object = span->service;
    slice.culprit = span->thread;
    slice.culprit_actor = span->actor;
    kpi_slice_emit(walk, &slice);
}

void kpi_blame_fork(struct kpi_walk *walk, const struct kpi_frame *frame,
                    const struct kpi_work *row, kp_time from, kp_time to)
{
    struct kpi_slice slice = kpi_slice_make(walk, frame, NULL, from, to);
    slice.kind = KPI_FORK_WAIT;
    slice.rule = KPI_RULE_FORK;
    slice.strength = KPI_WEAK;
    slice.culprit = row->other;
    slice.culprit_actor = row->other_actor;
    kpi_slice_work(&slice, row);
    kpi_slice_emit(walk, &slice);
}
