/* SPDX-License-Identifier: Apache-2.0
 *
 * The walk as published descriptions of other tools have it, to lay beside ours on the same events:
 * the frames, the windows and the sum are ours, what a stretch of time means is theirs.
 *
 *   running    the thread's own; nothing that happens inside is cut out
 *   runnable   the waiter's own, whoever held the CPU
 *   blocked    explained by the thread that ended it, and by nothing else that is known
 *
 * They differ in what an interrupt says that ends a wait (struct rules). Nothing here is ever
 * strong: these are not our conclusions.
 */
#include "base/assert.h"
#include "causal/blame.h"
#include "causal/edge.h"

enum { CONTEXT_TASK }; /* catalogue: CONTEXT */
enum { VEC_BLOCK = 4 };

/* How one tool reads a wait. */
struct rules {
    bool follows;   /* the waker's time explains the wait, over exactly its window */
    bool types;     /* timers, disks and the network are told from other interrupts */
    bool packets;   /* a message leads to the thread that sent it */
    bool bystander; /* whoever ran when an interrupt woke is taken for the waker */
};

static const struct rules rules[] = {
    [KP_ORACLE_PERFETTO] = {.follows = true},
    [KP_ORACLE_TRACECOMPASS] = {.follows = true, .types = true, .packets = true},
    [KP_ORACLE_OFFWAKETIME] = {.bystander = true},
};

static const struct {
    const char *name, *text;
} words[] = {
#define KP_ORACLE(ID, name, text) [KP_ORACLE_##ID] = {name, text},
#include "causal/oracle.def"
#undef KP_ORACLE
};

const char *kp_oracle_name(enum kp_oracle oracle)
{
    return words[oracle].name == NULL ? "" : words[oracle].name;
}

const char *kp_oracle_text(enum kp_oracle oracle)
{
    return words[oracle].text == NULL ? "" : words[oracle].text;
}

/* ---------- slices ---------- */

static struct kpi_slice slice_make(struct kpi_walk *walk, const struct kpi_frame *frame,
                                   const struct kpi_interval *iv, kp_time from, kp_time to)
{
    struct kpi_slice slice = kpi_slice_make(walk, frame, iv, from, to);
    slice.rule = KPI_RULE_ORACLE;
    slice.strength = KPI_WEAK;
    slice.culprit = frame->thread;
    slice.culprit_actor = slice.actor;
    kpi_slice_event(&slice, iv->begin);
    kpi_slice_event(&slice, iv->end);
    return slice;
}

static void blame(struct kpi_slice *slice, uint32_t thread, kp_actor_id actor)
{
    slice->culprit = thread;
    slice->culprit_actor = actor;
}

/* ---------- on a CPU, or waiting for one ---------- */

static void running(struct kpi_walk *walk, const struct kpi_frame *frame,
                    const struct kpi_interval *iv, kp_time from, kp_time to)
{
    struct kpi_slice slice = slice_make(walk, frame, iv, from, to);
    slice.kind = KPI_RUNNING;
    slice.cpu = iv->cpu;
    kpi_slice_emit(walk, &slice);
}

static void runnable(struct kpi_walk *walk, const struct kpi_frame *frame,
                     const struct kpi_interval *iv, kp_time from, kp_time to)
{
    struct kpi_slice slice = slice_make(walk, frame, iv, from, to);
    bool preempted = (iv->flags & KPI_FLAG_PREEMPT) != 0;
    slice.kind = preempted ? KPI_PREEMPTED : KPI_QUEUED;
    slice.cpu = iv->cpu;
    if (rules[walk->oracle].bystander) { /* off the CPU is off the CPU, until it comes back */
        const struct kpi_event *wake =
            preempted || iv->begin == KPI_NONE ? NULL : kpi_event_of(walk->world, iv->begin);
        blame(&slice, wake == NULL ? KPI_NONE : wake->a,
              wake == NULL ? KP_ACTOR_UNKNOWN : wake->actor_a);
    }
    kpi_slice_emit(walk, &slice);
}

/* ---------- blocked ---------- */

static const struct kpi_event *wake_of(const struct kpi_world *world, const struct kpi_interval *iv)
{
    if (iv->end == KPI_NONE)
        return NULL;
    const struct kpi_event *event = kpi_event_of(world, iv->end);
    return event->stream == KP_S_SCHED_WAKING ? event : NULL;
}

static bool is_thread(const struct kpi_world *world, const struct kpi_event *wake)
{
    return wake->context == CONTEXT_TASK && wake->a != KPI_NONE &&
           !kpi_thread_of(world, wake->a)->idle;
}

/* An interrupt ended it, or nothing that was recorded: the path stays with the thread itself. */
static void stuck(struct kpi_walk *walk, const struct kpi_frame *frame,
                  const struct kpi_interval *iv, const struct kpi_event *wake, kp_time from,
                  kp_time to)
{
    const struct rules *of = &rules[walk->oracle];
    struct kpi_slice slice = slice_make(walk, frame, iv, from, to);
    slice.subkind = wake == NULL ? KP_STR("no-waker") : KP_STR("irq");
    if (of->bystander && wake != NULL) {
        slice.subkind = KP_STR("waker");
        blame(&slice, wake->a, wake->actor_a);
    } else if (of->types && wake != NULL && kpi_wake_is_timer(wake)) {
        slice.kind = KPI_TIMER_SLEEP;
    } else if (of->types && wake != NULL && kpi_wake_is_net(wake)) {
        slice.kind = KPI_NET_WIRE;
    } else if (of->types && wake != NULL && wake->vec == VEC_BLOCK) {
        slice.kind = KPI_BLOCK_DEVICE;
    }
    if (slice.kind != KPI_UNKNOWN)
        slice.subkind = KP_STR("");
    kpi_slice_emit(walk, &slice);
}

/* What the sender did until it sent, then the packet on its way. */
static bool packet(struct kpi_walk *walk, const struct kpi_frame *frame,
                   const struct kpi_interval *iv, const struct kpi_event *wake, kp_time from,
                   kp_time to)
{
    const struct kpi_message message = kpi_net_match(walk->world, iv);
    if (message.send == NULL || kpi_frame_within(frame, message.send->thread))
        return false;
    kp_time sent = KP_MIN(KP_MAX(message.sent, from), to);
    struct kpi_frame child = kpi_frame_child(frame, message.send->thread, KPI_RULE_NET, from, sent);
    child.by_event = iv->end;
    child.by_work = message.send;
    if (from < sent)
        kpi_frame_enter(walk, frame, &child);
    stuck(walk, frame, iv, wake, sent, to);
    return true;
}

static void blocked(struct kpi_walk *walk, const struct kpi_frame *frame,
                    const struct kpi_interval *iv, kp_time from, kp_time to)
{
    const struct rules *of = &rules[walk->oracle];
    const struct kpi_event *wake = wake_of(walk->world, iv);
    if (of->packets && wake != NULL && kpi_wake_is_net(wake) &&
        packet(walk, frame, iv, wake, from, to))
        return;
    if (of->follows && wake != NULL && is_thread(walk->world, wake) &&
        !kpi_frame_within(frame, wake->a)) {
        struct kpi_frame child = kpi_frame_child(frame, wake->a, KPI_RULE_WAKE, from, to);
        child.by_event = iv->end;
        kpi_frame_enter(walk, frame, &child);
        return;
    }
    stuck(walk, frame, iv, wake, from, to);
}

void kpi_oracle_explain(struct kpi_walk *walk, const struct kpi_frame *frame,
                        const struct kpi_interval *iv, kp_time from, kp_time to)
{
    if (iv->state == KPI_STATE_RUNNING)
        running(walk, frame, iv, from, to);
    else if (iv->state == KPI_STATE_RUNNABLE)
        runnable(walk, frame, iv, from, to);
    else
        blocked(walk, frame, iv, from, to);
}
