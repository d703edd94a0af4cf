/* SPDX-License-Identifier: Apache-2.0
 *
 * Events in order of (time, number), CPUs that run one thread each, and who comes next: lower
 * priority numbers first, equals in turn. A thread's work is accounted whenever something happens
 * on its CPU; what an interrupt takes is not the thread's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "sim/sim_int.h"

#define SLICE       (3 * KP_MS)
#define PREEMPT_MIN (500 * KP_US) /* a CPU-bound thread keeps its CPU so long against a sleeper */
#define PERIOD      (100 * KP_MS)
#define CALL_MIN    (10 * KP_US)
#define REAL_TIME   100 /* priorities below are real-time */
#define STEPS_MAX   1000

/* ---------- small things ---------- */

void *sim_add(struct sim_list *list, size_t size)
{
    if (list->count == list->capacity) {
        list->capacity = KP_MAX(64u, list->capacity * 2);
        list->items = realloc(list->items, list->capacity * size);
        assert_non_null(list->items);
    }
    void *item = (char *)list->items + list->count++ * size;
    memset(item, 0, size);
    return item;
}

uint64_t sim_below(struct sim *sim, uint64_t limit)
{
    sim->random ^= sim->random << 13;
    sim->random ^= sim->random >> 7;
    sim->random ^= sim->random << 17;
    return limit == 0 ? 0 : (sim->random * 0x2545f4914f6cdd1dull >> 11) % limit;
}

struct sim_row *sim_row_add(struct sim *sim, enum sim_row_type type, kp_time from, uint32_t host,
                            uint32_t cpu, uint32_t thread)
{
    struct sim_row *row = sim_add(&sim->rows, sizeof(*row));
    row->type = type;
    row->from = from;
    row->t = sim->now;
    row->host = host;
    row->cpu = cpu;
    row->thread = thread;
    return row;
}

/* ---------- the heap of events ---------- */

static bool sooner(const struct sim_event *a, const struct sim_event *b)
{
    return a->t != b->t ? a->t < b->t : a->seq < b->seq;
}

void sim_event_add(struct sim *sim, kp_time t, int type, uint32_t a, uint32_t b)
{
    sim_add(&sim->events, sizeof(struct sim_event));
    struct sim_event *heap = sim->events.items;
    uint32_t at = sim->events.count - 1;
    struct sim_event event = {t, ++sim->seq, type, a, b};
    for (; at > 0 && sooner(&event, &heap[(at - 1) / 2]); at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = event;
}

static struct sim_event event_take(struct sim *sim)
{
    struct sim_event *heap = sim->events.items;
    struct sim_event first = heap[0], last = heap[--sim->events.count];
    uint32_t at = 0, count = sim->events.count;
    for (uint32_t child; (child = at * 2 + 1) < count; at = child) {
        if (child + 1 < count && sooner(&heap[child + 1], &heap[child]))
            child++;
        if (!sooner(&heap[child], &last))
            break;
        heap[at] = heap[child];
    }
    heap[at] = last;
    return first;
}

/* ---------- states ---------- */

struct sim_cpu *sim_cpu_of(struct sim *sim, const struct sim_thread *thread)
{
    return &sim->cpu[thread->host][thread->cpu];
}

static uint32_t cpu_number(const struct sim_thread *thread)
{
    return thread->host * SIM_CPUS + thread->cpu;
}

/* All parts of the wait for a CPU learn where it ended. */
static void stretches_ran(struct sim_thread *thread)
{
    struct sim_stretch *items = thread->stretches.items;
    for (uint32_t i = thread->stretches.count; i-- > 0 && items[i].state == SIM_RUNNABLE;)
        items[i].ran = thread->cpu;
}

static void state_set(struct sim *sim, uint32_t index, enum sim_state state)
{
    struct sim_thread *thread = &sim->threads[index];
    if (sim->now > thread->since) {
        struct sim_stretch *s = sim_add(&thread->stretches, sizeof(*s));
        *s = (struct sim_stretch){.from = thread->since,
                                  .to = sim->now,
                                  .state = thread->state,
                                  .why = thread->why,
                                  .ref = thread->ref,
                                  .cpu = thread->cpu,
                                  .taker = thread->taker,
                                  .ran = SIM_NONE,
                                  .wait = thread->wait,
                                  .throttled = thread->throttled,
                                  .cut = thread->state == SIM_BLOCKED && !thread->served &&
                                         thread->hit != SIM_COMPUTE};
    }
    if (state == SIM_RUNNING)
        stretches_ran(thread);
    thread->state = state;
    thread->since = sim->now;
}

/* ---------- accounting ---------- */

static void account(struct sim *sim, struct sim_cpu *cpu)
{
    if (cpu->current != SIM_NONE && cpu->busy_until <= cpu->resumed) {
        struct sim_thread *thread = &sim->threads[cpu->current];
        kp_dur ran = sim->now - cpu->resumed;
        thread->need -= ran;
        thread->used += ran;
        struct sim_group *group = &sim->groups[thread->group];
        group->used += ran;
        if (group->quota > 0 && group->used >= group->quota && !group->throttled) {
            group->throttled = true;
            group->throttled_at = sim->now;
        }
    }
    cpu->resumed = sim->now;
}

static bool outranks(const struct sim_thread *who, const struct sim_thread *current)
{
    if (who->prio != current->prio)
        return who->prio < current->prio && who->prio < REAL_TIME;
    return current->batch && !who->batch;
}

/* When the current thread must give its CPU to somebody who waits for it. */
static kp_time turn_ends(const struct sim *sim, const struct sim_cpu *cpu)
{
    const struct sim_thread *current = &sim->threads[cpu->current];
    kp_time end = KP_TIME_MAX;
    for (uint32_t i = 0; i < cpu->queued; i++) {
        const struct sim_thread *other = &sim->threads[cpu->queue[i]];
        if (other->prio < current->prio && other->prio < REAL_TIME)
            return sim->now;
        if (outranks(other, current))
            end = KP_MIN(end, cpu->slice_from + PREEMPT_MIN);
        else if (other->prio == current->prio && current->prio >= REAL_TIME)
            end = KP_MIN(end, cpu->slice_from + SLICE);
    }
    return end;
}

/* Says when the current thread's phase, its turn, or its group's quota is over. */
static void arm(struct sim *sim, uint32_t number)
{
    struct sim_cpu *cpu = &sim->cpu[number / SIM_CPUS][number % SIM_CPUS];
    cpu->generation++;
    if (cpu->current == SIM_NONE || cpu->busy_until > sim->now)
        return;
    struct sim_thread *thread = &sim->threads[cpu->current];
    const struct sim_group *group = &sim->groups[thread->group];
    kp_dur need = KP_MAX(thread->need, 0);
    if (group->throttled)
        need = KP_MIN(need, KP_US);
    else if (group->quota > 0)
        need = KP_MIN(need, group->quota - group->used);
    sim_event_add(sim, sim->now + need, EVENT_STEP, number, cpu->generation);
    kp_time turn = turn_ends(sim, cpu);
    if (turn != KP_TIME_MAX)
        sim_event_add(sim, KP_MAX(turn, sim->now + KP_US), EVENT_SLICE, number, cpu->generation);
}

/* ---------- run queues ---------- */

static uint32_t queue_take(struct sim *sim, struct sim_cpu *cpu)
{
    uint32_t best = 0;
    if (cpu->queued == 0)
        return SIM_NONE;
    for (uint32_t i = 1; i < cpu->queued; i++)
        if (sim->threads[cpu->queue[i]].prio < sim->threads[cpu->queue[best]].prio)
            best = i;
    uint32_t thread = cpu->queue[best];
    memmove(&cpu->queue[best], &cpu->queue[best + 1],
            (cpu->queued - best - 1) * sizeof(cpu->queue[0]));
    cpu->queued--;
    return thread;
}

/* by: the CPU that decides it. */
static void queue_move(struct sim *sim, uint32_t index, uint32_t to, uint32_t by)
{
    struct sim_thread *thread = &sim->threads[index];
    struct sim_row *row = sim_row_add(sim, SIM_ROW_MOVE, sim->now, thread->host, by, index);
    row->a = thread->cpu;
    row->b = to;
    if (thread->state == SIM_RUNNABLE)
        state_set(sim, index, SIM_RUNNABLE);
    thread->cpu = to;
}

/* An idle CPU looks for a thread that waits elsewhere; it does not always find it. */
static uint32_t queue_pull(struct sim *sim, uint32_t host, uint32_t to)
{
    if (sim_below(sim, 2) == 0)
        return SIM_NONE;
    for (uint32_t c = 0; c < sim->cpus; c++) {
        struct sim_cpu *cpu = &sim->cpu[host][c];
        if (c == to || cpu->queued == 0 || cpu->current == SIM_NONE)
            continue;
        uint32_t thread = cpu->queue[cpu->queued - 1];
        if ((sim->threads[thread].mask >> to & 1) == 0)
            continue;
        cpu->queued--;
        queue_move(sim, thread, to, to);
        return thread;
    }
    return SIM_NONE;
}

/* ---------- switching ---------- */

static void occupied(struct sim *sim, struct sim_cpu *cpu, uint32_t thread)
{
    struct sim_stretch *items = cpu->spans.items;
    if (cpu->spans.count > 0)
        items[cpu->spans.count - 1].to = sim->now;
    struct sim_stretch *s = sim_add(&cpu->spans, sizeof(*s));
    s->from = sim->now;
    s->to = KP_TIME_MAX;
    s->ref = thread;
}

/* The CPU goes from whoever was on it to the next; state is that of the one who leaves. */
static void switch_next(struct sim *sim, uint32_t host, uint32_t number, int state, bool throttled)
{
    struct sim_cpu *cpu = &sim->cpu[host][number];
    uint32_t prev = cpu->current, next = queue_take(sim, cpu);
    if (next == SIM_NONE && prev != SIM_NONE)
        next = queue_pull(sim, host, number);
    if (prev != next) {
        struct sim_row *row = sim_row_add(sim, SIM_ROW_SWITCH, sim->now, host, number, prev);
        row->a = next;
        row->b = state;
        row->c = throttled;
        occupied(sim, cpu, next);
    }
    if (prev != SIM_NONE && prev != next && (state == RP || state == R))
        sim->threads[prev].taker = next;
    cpu->current = next;
    cpu->resumed = cpu->slice_from = sim->now;
    if (next != SIM_NONE)
        state_set(sim, next, SIM_RUNNING);
    arm(sim, host * SIM_CPUS + number);
}

static void preempt(struct sim *sim, struct sim_cpu *cpu)
{
    uint32_t index = cpu->current;
    struct sim_thread *thread = &sim->threads[index];
    account(sim, cpu);
    state_set(sim, index, SIM_RUNNABLE);
    thread->why = SIM_WHY_NONE;
    cpu->queue[cpu->queued++] = index;
    switch_next(sim, thread->host, thread->cpu, RP, false);
}

static void throttle(struct sim *sim, struct sim_cpu *cpu)
{
    uint32_t index = cpu->current;
    struct sim_thread *thread = &sim->threads[index];
    state_set(sim, index, SIM_RUNNABLE);
    thread->throttled = true;
    thread->taker = SIM_NONE;
    switch_next(sim, thread->host, thread->cpu, R, true);
    thread->taker = SIM_NONE;
}

/* ---------- waking ---------- */

static void enqueue(struct sim *sim, uint32_t index)
{
    struct sim_thread *thread = &sim->threads[index];
    struct sim_cpu *cpu = sim_cpu_of(sim, thread);
    uint32_t number = cpu_number(thread);
    cpu->queue[cpu->queued++] = index;
    if (cpu->current == SIM_NONE) {
        if (!cpu->waking)
            sim_event_add(sim, sim->now + (kp_dur)(2000 + sim_below(sim, 28000)), EVENT_LEAVE_IDLE,
                          number, 0);
        cpu->waking = true;
        return;
    }
    account(sim, cpu);
    arm(sim, number);
}

static bool cpu_idle(const struct sim *sim, uint32_t host, uint32_t number)
{
    const struct sim_cpu *cpu = &sim->cpu[host][number];
    return cpu->current == SIM_NONE && cpu->queued == 0;
}

/* Its last CPU if that is idle, else another idle one, else its last. */
static uint32_t place(const struct sim *sim, const struct sim_thread *thread)
{
    if (cpu_idle(sim, thread->host, thread->cpu))
        return thread->cpu;
    for (uint32_t c = 0; c < sim->cpus; c++)
        if ((thread->mask >> c & 1) != 0 && cpu_idle(sim, thread->host, c))
            return c;
    return thread->cpu;
}

void sim_wake(struct sim *sim, uint32_t index, const struct sim_source *source)
{
    struct sim_thread *thread = &sim->threads[index];
    uint32_t to = place(sim, thread);
    struct sim_row *row =
        sim_row_add(sim, SIM_ROW_WAKE, sim->now, source->host, source->cpu, source->current);
    row->a = index;
    row->b = source->context;
    row->c = source->vec;
    row->d = source->irq;
    row->e = thread->cpu;
    state_set(sim, index, SIM_RUNNABLE);
    thread->why = SIM_WHY_NONE;
    thread->taker = SIM_NONE;
    if (to != thread->cpu)
        queue_move(sim, index, to, source->cpu);
    enqueue(sim, index);
}

struct sim_source sim_by(const struct sim *sim, uint32_t thread)
{
    return (struct sim_source){
        sim->threads[thread].host, sim->threads[thread].cpu, thread, IN_TASK, VEC_NONE, -1};
}

struct sim_source sim_by_irq(struct sim *sim, uint32_t host, enum world_context context, int vec,
                             int irq)
{
    uint32_t cpu = (uint32_t)sim_below(sim, sim->cpus);
    return (struct sim_source){host, cpu, sim->cpu[host][cpu].current, context, vec, irq};
}

void sim_block(struct sim *sim, uint32_t index, enum sim_why why, uint32_t ref, int letter)
{
    struct sim_thread *thread = &sim->threads[index];
    state_set(sim, index, SIM_BLOCKED);
    thread->why = why;
    thread->ref = ref;
    switch_next(sim, thread->host, thread->cpu, letter, false);
}

void sim_start(struct sim *sim, uint32_t index, uint32_t parent)
{
    struct sim_thread *thread = &sim->threads[index];
    if (parent != SIM_NONE) {
        thread->cpu = sim->threads[parent].cpu;
        sim_row_add(sim, SIM_ROW_FORK, sim->now, thread->host, thread->cpu, index)->a = parent;
        struct sim_source source = sim_by(sim, parent);
        sim_wake(sim, index, &source);
        return;
    }
    state_set(sim, index, SIM_RUNNABLE);
    enqueue(sim, index);
}

void sim_exit(struct sim *sim, uint32_t index)
{
    struct sim_thread *thread = &sim->threads[index];
    sim_row_add(sim, SIM_ROW_EXIT, sim->now, thread->host, thread->cpu, index);
    state_set(sim, index, SIM_ENDED);
    switch_next(sim, thread->host, thread->cpu, X, false);
}

/* ---------- events ---------- */

static void on_step(struct sim *sim, uint32_t number)
{
    struct sim_cpu *cpu = &sim->cpu[number / SIM_CPUS][number % SIM_CPUS];
    uint32_t index = cpu->current;
    struct sim_thread *thread = &sim->threads[index];
    account(sim, cpu);
    if (sim->groups[thread->group].throttled) {
        throttle(sim, cpu);
        return;
    }
    for (int i = 0; thread->need <= 0 && cpu->current == index && !sim->over; i++) {
        assert_true(i < STEPS_MAX);
        sim_step(sim, index);
    }
    if (cpu->current == index && thread->state == SIM_RUNNING)
        arm(sim, number);
}

static void on_slice(struct sim *sim, uint32_t number)
{
    struct sim_cpu *cpu = &sim->cpu[number / SIM_CPUS][number % SIM_CPUS];
    if (cpu->current == SIM_NONE || cpu->queued == 0)
        return;
    if (turn_ends(sim, cpu) <= sim->now)
        preempt(sim, cpu);
}

static void on_leave_idle(struct sim *sim, uint32_t number)
{
    struct sim_cpu *cpu = &sim->cpu[number / SIM_CPUS][number % SIM_CPUS];
    if (cpu->busy_until > sim->now) {
        sim_event_add(sim, cpu->busy_until, EVENT_LEAVE_IDLE, number, 0);
        return;
    }
    cpu->waking = false;
    if (cpu->current == SIM_NONE && cpu->queued > 0)
        switch_next(sim, number / SIM_CPUS, number % SIM_CPUS, R, false);
}

/* b = microseconds << 4 | vector + 1, or 0 for a device's own interrupt. */
static void on_irq(struct sim *sim, uint32_t number, uint32_t b)
{
    struct sim_cpu *cpu = &sim->cpu[number / SIM_CPUS][number % SIM_CPUS];
    if (cpu->busy_until > sim->now)
        return;
    account(sim, cpu);
    cpu->busy_until = sim->now + (kp_dur)(b >> 4) * KP_US;
    cpu->generation++;
    struct sim_stretch *s = sim_add(&cpu->irqs, sizeof(*s));
    s->from = sim->now;
    s->to = cpu->busy_until;
    s->ref = (b & 15) == 0 ? SIM_NONE : (b & 15) - 1;
    sim_event_add(sim, cpu->busy_until, EVENT_IRQ_END, number, s->ref);
}

static void on_irq_end(struct sim *sim, uint32_t number, uint32_t vec)
{
    struct sim_cpu *cpu = &sim->cpu[number / SIM_CPUS][number % SIM_CPUS];
    struct sim_stretch *irqs = cpu->irqs.items;
    bool hard = vec == SIM_NONE;
    struct sim_row *row =
        sim_row_add(sim, hard ? SIM_ROW_IRQ : SIM_ROW_SOFTIRQ, irqs[cpu->irqs.count - 1].from,
                    number / SIM_CPUS, number % SIM_CPUS, cpu->current);
    row->a = hard ? 30 : vec;
    cpu->resumed = sim->now;
    arm(sim, number);
}

static void on_period(struct sim *sim, uint32_t number)
{
    struct sim_group *group = &sim->groups[number];
    if (group->throttled)
        group->throttled_for += sim->now - group->throttled_at;
    group->used = 0;
    group->throttled = false;
    for (uint32_t i = 0; i < sim->threads_count; i++) {
        struct sim_thread *thread = &sim->threads[i];
        if (thread->group != number || !thread->throttled)
            continue;
        state_set(sim, i, SIM_RUNNABLE);
        thread->throttled = false;
        enqueue(sim, i);
    }
    for (uint32_t i = 0; i < sim->hosts * SIM_CPUS; i++) {
        struct sim_cpu *cpu = &sim->cpu[i / SIM_CPUS][i % SIM_CPUS];
        if (cpu->current != SIM_NONE && sim->threads[cpu->current].group == number) {
            account(sim, cpu);
            arm(sim, i);
        }
    }
    sim_event_add(sim, sim->now + PERIOD, EVENT_PERIOD, number, 0);
}

static void on_continue(struct sim *sim, uint32_t index)
{
    struct sim_thread *thread = &sim->threads[index];
    if (thread->state != SIM_BLOCKED ||
        (thread->why != SIM_WHY_STOP && thread->why != SIM_WHY_FROZEN))
        return;
    struct sim_source source = sim_by_irq(sim, thread->host, IN_SOFTIRQ, VEC_TIMER, -1);
    sim_wake(sim, index, &source);
}

static void handle(struct sim *sim, const struct sim_event *event)
{
    bool on_cpu = event->type == EVENT_STEP || event->type == EVENT_SLICE;
    if (on_cpu && sim->cpu[event->a / SIM_CPUS][event->a % SIM_CPUS].generation != event->b)
        return;
    switch (event->type) {
    case EVENT_STEP:
        on_step(sim, event->a);
        return;
    case EVENT_SLICE:
        on_slice(sim, event->a);
        return;
    case EVENT_LEAVE_IDLE:
        on_leave_idle(sim, event->a);
        return;
    case EVENT_TIMER:
        sim_timer(sim, event->a, event->b);
        return;
    case EVENT_DISK:
        sim_disk_done(sim, event->a);
        return;
    case EVENT_ARRIVE:
        sim_arrive(sim, event->a);
        return;
    case EVENT_PERIOD:
        on_period(sim, event->a);
        return;
    case EVENT_IRQ:
        on_irq(sim, event->a, event->b);
        return;
    case EVENT_IRQ_END:
        on_irq_end(sim, event->a, event->b);
        return;
    default:
        on_continue(sim, event->a);
        return;
    }
}

/* ---------- the whole ---------- */

static void cpus_init(struct sim *sim)
{
    for (uint32_t i = 0; i < SIM_HOSTS * SIM_CPUS; i++) {
        struct sim_cpu *cpu = &sim->cpu[i / SIM_CPUS][i % SIM_CPUS];
        cpu->current = SIM_NONE;
        occupied(sim, cpu, SIM_NONE);
    }
    for (uint32_t i = 0; i < SIM_LOCKS; i++)
        sim->locks[i].holder = sim->locks[i].woken = SIM_NONE;
    for (uint32_t i = 0; i < SIM_PIPES; i++)
        sim->pipes[i].reader = SIM_NONE;
}

/* Calls that are still open when the world ends have rows too, as late rows would be. */
static void close_all(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->threads_count; i++)
        state_set(sim, i, sim->threads[i].state);
}

void sim_run(struct sim *out, uint64_t seed, uint64_t nth)
{
    memset(out, 0, sizeof(*out));
    out->seed = seed;
    snprintf(out->txn, sizeof(out->txn), "sim-%llu", (unsigned long long)nth);
    out->random = (seed + 1) * 0x9e3779b97f4a7c15ull;
    cpus_init(out);
    sim_story(out);
    for (uint32_t i = 0; i < SIM_GROUPS; i++)
        if (out->groups[i].quota > 0)
            sim_event_add(out, (kp_time)sim_below(out, PERIOD), EVENT_PERIOD, i, 0);
    while (!out->over && out->events.count > 0) {
        struct sim_event event = event_take(out);
        out->now = event.t;
        handle(out, &event);
        if (out->now > SIM_END && out->begin > 0 && !out->over) {
            out->end = out->now;
            out->over = true;
        }
    }
    close_all(out);
}

void sim_free(struct sim *sim)
{
    struct sim_list *lists[] = {&sim->events, &sim->messages, &sim->requests, &sim->jobs,
                                &sim->rows,   &sim->disk[0],  &sim->disk[1]};
    for (size_t i = 0; i < KP_ARRAY_LEN(lists); i++)
        free(lists[i]->items);
    for (uint32_t i = 0; i < SIM_THREADS; i++) {
        free(sim->threads[i].inbox.items);
        free(sim->threads[i].stretches.items);
    }
    for (uint32_t i = 0; i < SIM_HOSTS * SIM_CPUS; i++) {
        free(sim->cpu[i / SIM_CPUS][i % SIM_CPUS].spans.items);
        free(sim->cpu[i / SIM_CPUS][i % SIM_CPUS].irqs.items);
    }
    for (uint32_t i = 0; i < SIM_LOCKS; i++)
        free(sim->locks[i].holds.items);
}
