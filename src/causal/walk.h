/* SPDX-License-Identifier: Apache-2.0
 *
 * The walk over a world gives out slices: parts of the transaction's time with one cause each.
 */
#ifndef KP_CAUSAL_WALK_H
#define KP_CAUSAL_WALK_H

#include "causal/span.h"
#include "causal/timeline.h"
#include "causal/verb.h"

enum kpi_kind {
#define KPI_KIND(ID, name) KPI_##ID,
#include "causal/kind.def"
#undef KPI_KIND
    KPI_KINDS
};

enum kpi_rule {
#define KPI_RULE(ID, name, text) KPI_RULE_##ID,
#include "causal/rule.def"
#undef KPI_RULE
    KPI_RULES
};

enum kpi_strength { KPI_WEAK, KPI_STRONG, KPI_STRONG_COUNTER };

const char *kpi_kind_name(enum kpi_kind kind);
const char *kpi_rule_name(enum kpi_rule rule);

#define KPI_SLICE_EVIDENCE 3

/* One row behind a slice: a scheduler event, or a joined row. */
struct kpi_ref {
    uint32_t event; /* KPI_NONE = see work */
    const struct kpi_work *work;
};

struct kpi_frame;

struct kpi_slice {
    kp_time from, to;
    enum kpi_kind kind;
    enum kpi_rule rule, edge; /* edge: how the walk came to this thread */
    enum kpi_strength strength;
    uint32_t thread; /* victim, KPI_NONE = none known */
    kp_actor_id actor;
    uint32_t cpu;  /* KPI_NONE = off CPU */
    uint32_t span; /* KPI_NONE */
    uint32_t culprit;
    kp_actor_id culprit_actor;
    struct kp_str subkind, object;
    kp_dur gap, idle_elsewhere;
    kp_dur skew; /* bound of the clock of another host */
    struct kp_str note;
    const char *stop; /* "" or horizon, cycle, depth, lost */
    struct kpi_ref refs[KPI_SLICE_EVIDENCE];
    uint32_t refs_count;
    bool timeout;                  /* explains a wait that a timer ended */
    const struct kpi_frame *frame; /* how the walk came here; gone after emit */
};

struct kpi_walk {
    enum kp_oracle oracle; /* whose rules; NONE = ours */
    const struct kpi_world *world;
    struct kp_arena *arena;
    const struct kpi_txn *txn;
    void (*emit)(void *ctx, const struct kpi_slice *slice);
    void *ctx;
    kp_time cursor; /* everything before it has been given out */
};

/* Gives out slices that partition [from, to) exactly, in order of time. */
void kpi_walk_run(struct kpi_walk *walk, uint32_t thread, uint32_t span, kp_time from, kp_time to);

/* One thread being explained over one window; frames of one walk form a chain. */
struct kpi_frame {
    const struct kpi_frame *parent;
    uint32_t thread;
    kp_time from, to;
    kp_time until; /* the thread is on the path up to there: later than `to` for a try of a wait */
    enum kpi_rule edge;
    enum kpi_strength strength;
    const struct kpi_work *lock;       /* the wait for this lock is being explained */
    const struct kpi_interval *waiter; /* ... and this is it */
    unsigned holders;                  /* of the lock in turn during the wait; 0 = not known */
    bool timeout;
    unsigned depth;
    uint32_t by_event;              /* the wakeup that led here, KPI_NONE = none */
    const struct kpi_work *by_work; /* the message, lock, job or request that did, or NULL */
};

/* True when the frame or one around it explains the thread. */
bool kpi_frame_within(const struct kpi_frame *frame, uint32_t thread);
struct kpi_frame kpi_frame_child(const struct kpi_frame *parent, uint32_t thread,
                                 enum kpi_rule edge, kp_time from, kp_time to);
/* Goes into another thread over a part of the parent's window. */
void kpi_frame_enter(struct kpi_walk *walk, const struct kpi_frame *parent,
                     const struct kpi_frame *child);
static inline bool kpi_has_rows(const struct kpi_world *world, uint32_t thread)
{
    if (thread != KPI_NONE && kpi_thread_of(world, thread)->count == 0)
        kpi_miss_before(world);
    return thread != KPI_NONE && kpi_thread_of(world, thread)->count > 0;
}

#endif
