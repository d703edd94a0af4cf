/* SPDX-License-Identifier: Apache-2.0
 *
 * Switches and wakeups become intervals: what each thread was doing and who held each CPU.
 *
 * A thread is running, runnable, blocked or dead; every event closes one interval and opens the
 * next, so the intervals of a thread tile the time from its first evidence on. Where two
 * neighbouring rows contradict each other (the thread that leaves a CPU is not the one that came),
 * something is missing between them, and the intervals in doubt become `unknown` with the flag
 * LOST instead of being believed. Before its first evidence a thread was where that evidence says
 * it must have been: nothing happened to it since the first row of its host.
 *
 * A wakeup may be stamped just before the switch-out of its thread (the waker finds it still on
 * its CPU): it is kept as pending and used when the thread comes back without another one.
 */
#include <string.h>

#include "base/assert.h"
#include "causal/timeline.h"

#define STATE_RUNNABLE  0 /* catalogue: TASK_STATE */
#define STATE_PREEMPTED 256
#define STATE_DEAD_BITS (16 | 32)
#define WAKE_RACE_MAX   KP_MS /* how long before the switch-out a pending wakeup may lie */

/* ---------- state machine ---------- */

static struct kpi_interval *interval_close(struct kpi_world *world, uint32_t index, kp_time to,
                                           uint32_t end)
{
    struct kpi_thread *thread = kpi_thread_of(world, index);
    if (thread->state == KPI_STATE_NONE || thread->since >= to)
        return NULL;
    struct kpi_interval *iv = kpi_list_add(&world->intervals);
    iv->from = thread->since;
    iv->to = to;
    iv->thread = index;
    iv->cpu = thread->cpu;
    iv->begin = thread->begin;
    iv->end = end;
    iv->letter = thread->letter;
    iv->state = thread->state;
    iv->flags = thread->flags;
    return iv;
}

static void state_open(struct kpi_thread *thread, enum kpi_state state, kp_time since,
                       uint32_t begin)
{
    thread->state = (uint8_t)state;
    thread->since = since;
    thread->begin = begin;
    thread->flags = 0;
    thread->letter = 0;
}

/* Gives a thread without evidence the state it must have had since its host's first row. */
static void state_assume(struct kpi_world *world, struct kpi_thread *thread, enum kpi_state state)
{
    if (thread->state != KPI_STATE_NONE)
        return;
    kp_time since = thread->forked ? thread->born : kpi_host_of(world, thread->host)->first;
    state_open(thread, state, since, KPI_NONE);
    thread->flags = thread->forked ? 0 : KPI_FLAG_BEFORE;
}

/* What this thread did since its last event is not known; left: the switch by which it left a CPU
 * where nobody had seen it come, or KPI_NONE. */
static void state_lose(struct kpi_world *world, uint32_t index, kp_time ts, uint32_t left)
{
    struct kpi_thread *thread = kpi_thread_of(world, index);
    if (thread->idle || thread->state == KPI_STATE_NONE)
        return;
    thread->state = KPI_STATE_UNKNOWN;
    thread->flags |= KPI_FLAG_LOST;
    interval_close(world, index, ts, left);
    state_open(thread, KPI_STATE_UNKNOWN, ts, KPI_NONE);
    thread->flags = KPI_FLAG_LOST;
    thread->pending_wake = KPI_NONE;
}

static bool leaves_runnable(const struct kpi_event *event)
{
    return event->state == STATE_RUNNABLE || event->state == STATE_PREEMPTED ||
           (event->flags & KPI_FLAG_PREEMPT) != 0;
}

static enum kpi_state state_left(const struct kpi_event *event)
{
    return leaves_runnable(event)                  ? KPI_STATE_RUNNABLE
           : (event->state & STATE_DEAD_BITS) != 0 ? KPI_STATE_DEAD
                                                   : KPI_STATE_BLOCKED;
}

bool kpi_leaves_asleep(const struct kpi_event *event)
{
    return state_left(event) == KPI_STATE_BLOCKED;
}

static void thread_off(struct kpi_world *world, uint32_t at)
{
    const struct kpi_event *event = kpi_event_of(world, at);
    if (event->a == KPI_NONE)
        return;
    struct kpi_thread *thread = kpi_thread_of(world, event->a);
    if (thread->idle)
        return;
    const struct kpi_cpu *cpu = kpi_cpu_of(world, event->cpu);
    bool other = cpu->known && cpu->occupant != event->a;
    state_assume(world, thread, other ? KPI_STATE_UNKNOWN : KPI_STATE_RUNNING);
    if (thread->state == KPI_STATE_RUNNING && thread->begin == KPI_NONE)
        thread->cpu = event->cpu;
    if (thread->state != KPI_STATE_RUNNING || thread->cpu != event->cpu)
        state_lose(world, event->a, event->ts, at);
    interval_close(world, event->a, event->ts, at);
    enum kpi_state state = state_left(event);
    state_open(thread, state, event->ts, at);
    thread->cpu = event->cpu;
    thread->letter = event->state;
    thread->flags = event->flags & (KPI_FLAG_THROTTLED | KPI_FLAG_IOWAIT);
    if (state == KPI_STATE_RUNNABLE)
        thread->flags |= KPI_FLAG_PREEMPT;
    if (event->b != KPI_NONE && kpi_thread_of(world, event->b)->idle)
        thread->flags |= KPI_FLAG_TO_IDLE;
}

/* A thread's first switch settles what it does from there on. If it left its CPU then, an earlier
 * wakeup that was kept for it must be too old to be used. */
static void settle(struct kpi_world *world, uint32_t index, kp_time ts, kp_time since)
{
    struct kpi_thread *thread = index == KPI_NONE ? NULL : kpi_thread_of(world, index);
    if (thread != NULL && thread->settled == KP_TIME_MAX && since >= world->floor)
        thread->settled = ts;
}

/* A blocked thread that runs again without a wakeup: one may have been stamped early. */
static void wake_missing(struct kpi_world *world, struct kpi_thread *thread)
{
    uint32_t wake = thread->pending_wake;
    if (wake != KPI_NONE && thread->since - kpi_event_of(world, wake)->ts <= WAKE_RACE_MAX) {
        thread->state = KPI_STATE_RUNNABLE;
        thread->begin = wake;
        thread->flags = 0;
    } else {
        thread->flags |= KPI_FLAG_NO_WAKER;
    }
}

static void thread_on(struct kpi_world *world, uint32_t at)
{
    const struct kpi_event *event = kpi_event_of(world, at);
    if (event->b == KPI_NONE)
        return;
    struct kpi_thread *thread = kpi_thread_of(world, event->b);
    if (thread->idle)
        return;
    state_assume(world, thread, KPI_STATE_UNKNOWN);
    if (thread->state == KPI_STATE_BLOCKED)
        wake_missing(world, thread);
    if (thread->state == KPI_STATE_RUNNING || thread->state == KPI_STATE_DEAD)
        state_lose(world, event->b, event->ts, KPI_NONE);
    interval_close(world, event->b, event->ts, at);
    state_open(thread, KPI_STATE_RUNNING, event->ts, at);
    thread->cpu = event->cpu;
    thread->pending_wake = KPI_NONE;
}

/* By its own rows it is still there. */
static bool runs_on(const struct kpi_world *world, uint32_t index, uint32_t cpu)
{
    const struct kpi_thread *thread = index == KPI_NONE ? NULL : kpi_thread_of(world, index);
    return thread != NULL && thread->state == KPI_STATE_RUNNING && thread->cpu == cpu;
}

void kpi_timeline_switch(struct kpi_world *world, uint32_t at)
{
    const struct kpi_event *event = kpi_event_of(world, at);
    struct kpi_cpu *cpu = kpi_cpu_of(world, event->cpu);
    if (cpu->known && cpu->occupant != event->a && runs_on(world, cpu->occupant, event->cpu))
        state_lose(world, cpu->occupant, event->ts, KPI_NONE);
    if (event->a != KPI_NONE && kpi_thread_of(world, event->a)->state == KPI_STATE_NONE)
        settle(world, event->a, event->ts, event->ts - WAKE_RACE_MAX);
    settle(world, event->b, event->ts, event->ts);
    thread_off(world, at);
    thread_on(world, at);
    cpu->occupant = event->b;
    cpu->known = true;
}

void kpi_timeline_waking(struct kpi_world *world, uint32_t at)
{
    const struct kpi_event *event = kpi_event_of(world, at);
    struct kpi_thread *thread = kpi_thread_of(world, event->b);
    bool is_new = event->state != 0;
    if (thread->idle || thread->state == KPI_STATE_RUNNABLE)
        return;
    if (thread->state == KPI_STATE_DEAD && !is_new)
        return;
    if (thread->state == KPI_STATE_RUNNING) {
        thread->pending_wake = at;
        return;
    }
    if (!is_new)
        state_assume(world, thread, KPI_STATE_BLOCKED);
    interval_close(world, event->b, event->ts, at);
    state_open(thread, KPI_STATE_RUNNABLE, event->ts, at);
    thread->cpu = kpi_world_cpu(world, thread->host, event->target_cpu);
    thread->pending_wake = KPI_NONE;
}

/* ---------- orders ---------- */

static bool thread_order(struct kpi_world *world)
{
    uint32_t next = 0;
    world->order = kp_arena_alloc(world->arena, (size_t)world->intervals.count * sizeof(uint32_t));
    if (world->order == NULL)
        return world->intervals.count == 0;
    for (uint32_t i = 0; i < world->intervals.count; i++)
        kpi_thread_of(world, kpi_interval_of(world, i)->thread)->count++;
    for (uint32_t i = 0; i < world->threads.count; i++) {
        struct kpi_thread *thread = kpi_thread_of(world, i);
        thread->first = next;
        next += thread->count;
        thread->count = 0;
    }
    for (uint32_t i = 0; i < world->intervals.count; i++) {
        struct kpi_thread *thread = kpi_thread_of(world, kpi_interval_of(world, i)->thread);
        world->order[thread->first + thread->count++] = i;
    }
    return true;
}

static bool is_switch(const struct kpi_event *event)
{
    return event->stream == KP_S_SCHED_SWITCH && event->cpu != KPI_NONE;
}

static bool cpu_order(struct kpi_world *world)
{
    uint32_t next = 0;
    world->cpu_order = kp_arena_alloc(world->arena, (size_t)world->events.count * sizeof(uint32_t));
    if (world->cpu_order == NULL)
        return world->events.count == 0;
    for (uint32_t i = 0; i < world->events.count; i++)
        if (is_switch(kpi_event_of(world, i)))
            kpi_cpu_of(world, kpi_event_of(world, i)->cpu)->count++;
    for (uint32_t i = 0; i < world->cpus.count; i++) {
        struct kpi_cpu *cpu = kpi_cpu_of(world, i);
        cpu->first = next;
        next += cpu->count;
        cpu->count = 0;
    }
    for (uint32_t i = 0; i < world->events.count; i++) {
        const struct kpi_event *event = kpi_event_of(world, i);
        if (!is_switch(event))
            continue;
        struct kpi_cpu *cpu = kpi_cpu_of(world, event->cpu);
        world->cpu_order[cpu->first + cpu->count++] = i;
    }
    return true;
}

void kpi_timeline_finish(struct kpi_world *world)
{
    for (uint32_t i = 0; i < world->threads.count; i++) {
        struct kpi_interval *iv = NULL;
        if (!kpi_thread_of(world, i)->idle)
            iv = interval_close(world, i, world->to, KPI_NONE);
        if (iv != NULL)
            iv->flags |= KPI_FLAG_OPEN;
    }
    if (!cpu_order(world)) {
        world->intervals.failed = true;
        return;
    }
    kpi_hidden_repair(world);
    if (!thread_order(world))
        world->intervals.failed = true;
}

/* ---------- questions ---------- */

uint32_t kpi_timeline_find(const struct kpi_world *world, const struct kpi_thread *thread,
                           kp_time t)
{
    uint32_t low = 0, high = thread->count;
    if (t < thread->settled && thread->count > 0 && world->floor > world->from)
        kpi_lead_in(
            world->reach->world,
            kpi_thread_of(world, kpi_interval_of(world, world->order[thread->first])->thread));
    if (t < thread->settled || thread->unsure)
        kpi_miss_before(world);
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (kpi_interval_of(world, world->order[thread->first + mid])->to <= t)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Index of the first switch of the CPU after t. */
static uint32_t switch_after(const struct kpi_world *world, const struct kpi_cpu *cpu, kp_time t)
{
    uint32_t low = 0, high = cpu->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (kpi_event_of(world, world->cpu_order[cpu->first + mid])->ts <= t)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Rows between the switch at `next` and the one before are missing: only the thread that left by it
 * can be known to have been there. */
static uint32_t occupant_hidden(const struct kpi_world *world, uint32_t next, kp_time t,
                                kp_time *out_until, uint32_t *out_event)
{
    const struct kpi_event *left = kpi_event_of(world, next);
    const struct kpi_thread *thread = left->a == KPI_NONE ? NULL : kpi_thread_of(world, left->a);
    uint32_t at = thread == NULL ? 0 : kpi_timeline_find(world, thread, t);
    if (thread == NULL || at == thread->count)
        return KPI_NONE;
    const struct kpi_interval *iv = kpi_timeline_at(world, thread, at);
    *out_until = KP_MIN(*out_until, iv->from > t ? iv->from : iv->to);
    if (iv->from > t || iv->state != KPI_STATE_RUNNING || iv->cpu != left->cpu)
        return KPI_NONE;
    *out_event = next;
    return left->a;
}

uint32_t kpi_timeline_occupant(const struct kpi_world *world, uint32_t cpu_index, kp_time t,
                               kp_time limit, kp_time *out_until, uint32_t *out_event)
{
    const struct kpi_cpu *cpu = kpi_cpu_of(world, cpu_index);
    kp_time first = kpi_host_of(world, cpu->host)->first;
    uint32_t at = switch_after(world, cpu, t);
    uint32_t next = at < cpu->count ? world->cpu_order[cpu->first + at] : KPI_NONE;
    const struct kpi_event *after = next == KPI_NONE ? NULL : kpi_event_of(world, next);
    *out_event = KPI_NONE;
    *out_until = after == NULL ? limit : KP_MIN(after->ts, limit);
    if (t < first) {
        kpi_miss_before(world);
        *out_until = KP_MIN(*out_until, KP_MAX(first, t + 1));
        return KPI_NONE;
    }
    if (at == 0) {
        kpi_miss_before(world);
        return after == NULL ? KPI_NONE : after->a;
    }
    uint32_t came = world->cpu_order[cpu->first + at - 1];
    if (after != NULL && after->a != kpi_event_of(world, came)->b)
        return occupant_hidden(world, next, t, out_until, out_event);
    if (after == NULL &&
        kpi_hidden_until(world, cpu_index, kpi_event_of(world, came)->ts, world->to) != KP_TIME_MIN)
        return KPI_NONE; /* another thread came unseen, and its leaving was not read */
    *out_event = came;
    return kpi_event_of(world, came)->b;
}
