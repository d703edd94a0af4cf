/* SPDX-License-Identifier: Apache-2.0
 *
 * The walk: explain one thread over one window, and where it waited, explain over exactly that
 * part of the window the thread it waited for.
 *
 *   running, runnable -> leaf rules (blame.c)
 *   waiting           -> reclaim, lock, block request     leaf rules, from rows of this thread
 *                        woken by a thread                explain the waker over the wait
 *                        client span open, server span    explain the server's thread over the wait
 *                        else                             timer, network, unknown
 *
 * Invariants: every call gives out its window completely, in order, once (kpi_slice_emit asserts
 * it), and a nested window never leaves the one around it; so the slices of a walk sum to the
 * transaction's time by construction. A thread that is already being explained is not entered
 * again (stop `cycle`), and nesting ends at DEPTH_MAX.
 *
 * A wait that a timer ended while the server span was still at work is a time limit that ran out:
 * what the transaction waited for was the late work, not the timer, so the walk goes on into the
 * server's thread up to the end of the wait.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "causal/blame.h"
#include "causal/cursor.h"
#include "causal/edge.h"

#define DEPTH_MAX    64
#define OVERLAP_PART 8 /* one sibling may run into the next by so small a part of the shorter */

enum { TASK_FORK = 1 }; /* catalogue: TASK_OP */

static void explain(struct kpi_walk *walk, const struct kpi_frame *frame);

/* ---------- frames ---------- */

bool kpi_frame_within(const struct kpi_frame *frame, uint32_t thread)
{
    for (; frame != NULL; frame = frame->parent)
        if (frame->thread == thread)
            return true;
    return false;
}

void kpi_frame_enter(struct kpi_walk *walk, const struct kpi_frame *parent,
                     const struct kpi_frame *child)
{
    if (child->depth > DEPTH_MAX || kpi_reader_stopped(walk->world->reader))
        kpi_blame_unknown(walk, parent, "depth", child->from, child->to);
    else if (child->thread != KPI_NONE && kpi_frame_within(parent, child->thread))
        kpi_blame_handover(walk, child, "cycle", child->from, child->to);
    else
        explain(walk, child);
}

struct kpi_frame kpi_frame_child(const struct kpi_frame *parent, uint32_t thread,
                                 enum kpi_rule edge, kp_time from, kp_time to)
{
    return (struct kpi_frame){
        .parent = parent,
        .thread = thread,
        .from = from,
        .to = to,
        .until = to,
        .edge = edge,
        .strength = parent->strength,
        .timeout = parent->timeout,
        .depth = parent->depth + 1,
        .by_event = KPI_NONE,
    };
}

/* ---------- one thread, one window ---------- */

static void explain_interval(struct kpi_walk *walk, const struct kpi_frame *frame,
                             const struct kpi_interval *iv, kp_time from, kp_time to)
{
    bool known = iv->state != KPI_STATE_NONE && iv->state != KPI_STATE_UNKNOWN;
    if (known && walk->oracle != KP_ORACLE_NONE) {
        kpi_oracle_explain(walk, frame, iv, from, to);
        return;
    }
    switch ((enum kpi_state)iv->state) {
    case KPI_STATE_RUNNING:
        kpi_blame_running(walk, frame, iv, from, to);
        return;
    case KPI_STATE_RUNNABLE:
        kpi_blame_runnable(walk, frame, iv, from, to);
        return;
    case KPI_STATE_BLOCKED:
    case KPI_STATE_DEAD:
        kpi_explain_blocked(walk, frame, iv, from, to);
        return;
    case KPI_STATE_NONE:
    case KPI_STATE_UNKNOWN:
        kpi_blame_unknown(walk, frame, (iv->flags & KPI_FLAG_LOST) != 0 ? "lost" : "before-trace",
                          from, to);
        return;
    }
}

/* The first begin or end of a span of the thread within (from, to), else to. */
static kp_time span_border(const struct kpi_world *world, uint32_t thread, kp_time from, kp_time to)
{
    kp_time border = to;
    uint32_t count, low = 0;
    const struct kpi_thread_span *own = kpi_spans_of(world, thread, &count);
    for (uint32_t high = count; low < high;) { /* the first that can end later */
        uint32_t mid = low + (high - low) / 2;
        if (own[mid].reach <= from)
            low = mid + 1;
        else
            high = mid;
    }
    for (; low < count && world->spans[own[low].span].from < border; low++) {
        const struct kpi_span *span = &world->spans[own[low].span];
        if (span->from > from)
            border = span->from;
        if (span->to > from && span->to < border)
            border = span->to;
    }
    return border;
}

/* Cut where the thread's spans begin and end, so that every slice lies in one span. */
static void explain_pieces(struct kpi_walk *walk, const struct kpi_frame *frame,
                           const struct kpi_interval *iv, kp_time from, kp_time to)
{
    while (from < to) {
        kp_time border = span_border(walk->world, frame->thread, from, to);
        explain_interval(walk, frame, iv, from, border);
        from = border;
    }
}

/* The row of the thread's fork, when its parent is known. */
static const struct kpi_work *fork_of(const struct kpi_world *world, uint32_t index)
{
    const struct kpi_work_set *set = &world->works[KPI_WORK_TASK];
    kp_time born = kpi_thread_of(world, index)->born;
    const struct kpi_work *row = kpi_work_first(set, index, born - 1, born + 1);
    for (; row != NULL; row = kpi_work_next(set, row, born - 1, born + 1))
        if (row->code == TASK_FORK && row->other != KPI_NONE)
            return row;
    return NULL;
}

/* The thread did not exist yet: its parent had yet to make it. */
static void explain_unborn(struct kpi_walk *walk, const struct kpi_frame *frame, kp_time from,
                           kp_time to)
{
    const struct kpi_work *row = fork_of(walk->world, frame->thread);
    kp_time made = row == NULL ? from : KP_MIN(row->to, to);
    if (from < made && kpi_frame_within(frame, row->other)) {
        kpi_blame_fork(walk, frame, row, from, made);
    } else if (from < made) {
        struct kpi_frame parent = kpi_frame_child(frame, row->other, KPI_RULE_FORK, from, made);
        parent.by_work = row;
        kpi_frame_enter(walk, frame, &parent);
    }
    if (KP_MAX(from, made) < to)
        kpi_blame_unknown(walk, frame, "before-trace", KP_MAX(from, made), to);
}

static void explain(struct kpi_walk *walk, const struct kpi_frame *frame)
{
    const struct kpi_thread *thread = kpi_thread_of(walk->world, frame->thread);
    kp_time at = frame->from;
    uint32_t i = kpi_timeline_find(walk->world, thread, at);
    for (; at < frame->to && i < thread->count; i++) {
        const struct kpi_interval *iv = kpi_timeline_at(walk->world, thread, i);
        kp_time from = KP_MIN(KP_MAX(iv->from, at), frame->to);
        kp_time to = KP_MIN(iv->to, frame->to);
        if (from > at)
            explain_unborn(walk, frame, at, from);
        explain_pieces(walk, frame, iv, from, to);
        at = KP_MAX(from, to);
    }
    if (at < frame->to)
        kpi_blame_unknown(walk, frame, "after-trace", at, frame->to);
}

/* ---------- spans without kernel rows ---------- */

struct piece {
    kp_time from, to;
    uint32_t span;
};

static int piece_compare(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    return x->from < y->from ? -1 : x->from > y->from;
}

/* A child that still ran when the next one on the path began did not hold that one up, and so not
 * the parent; a small overlap is only the clocks'. */
static bool is_concurrent(const struct kpi_world *world, uint32_t child, uint32_t next)
{
    if (next == KPI_NONE)
        return false;
    const struct kpi_span *a = &world->spans[child], *b = &world->spans[next];
    return a->to - b->from > KP_MIN(a->to - a->from, b->to - b->from) / OVERLAP_PART;
}

/* The child that ends last within [from, to): what the span waited for at its end. next: the child
 * that begins there, KPI_NONE = none. */
static uint32_t last_child(const struct kpi_world *world, uint32_t span, uint32_t next,
                           kp_time from, kp_time to)
{
    uint32_t best = KPI_NONE;
    for (uint32_t i = world->spans[span].child; i != KPI_NONE; i = world->spans[i].next) {
        const struct kpi_span *child = &world->spans[i];
        if (child->from >= to || child->to <= from || child->from == child->to ||
            is_concurrent(world, i, next))
            continue;
        if (best == KPI_NONE || KP_MIN(child->to, to) > KP_MIN(world->spans[best].to, to))
            best = i;
    }
    return best;
}

/* Cuts [from, to) of a span into its own time and that of its children, backwards from the end. */
static void span_pieces(const struct kpi_world *world, uint32_t span, kp_time from, kp_time to,
                        unsigned depth, struct kpi_list *pieces)
{
    for (uint32_t next = KPI_NONE; to > from;) {
        uint32_t child = depth >= DEPTH_MAX || kpi_has_rows(world, world->spans[span].thread)
                             ? KPI_NONE
                             : last_child(world, span, next, from, to);
        kp_time begin = child == KPI_NONE ? from : KP_MAX(world->spans[child].from, from);
        kp_time end = child == KPI_NONE ? from : KP_MIN(world->spans[child].to, to);
        if (end < to)
            *(struct piece *)kpi_list_add(pieces) = (struct piece){end, to, span};
        if (child != KPI_NONE)
            span_pieces(world, child, begin, end, depth + 1, pieces);
        next = child;
        to = begin;
    }
}

/* Its own time, of which no kernel rows tell. */
static void own_span(struct kpi_walk *walk, const struct kpi_frame *frame, uint32_t span)
{
    struct kpi_slice slice = kpi_slice_make(walk, frame, NULL, frame->from, frame->to);
    slice.subkind = KP_STR("untraced-host");
    slice.strength = KPI_WEAK;
    slice.span = span;
    kpi_slice_emit(walk, &slice);
}

static void piece_out(struct kpi_walk *walk, const struct kpi_frame *frame, uint32_t root,
                      const struct piece *piece)
{
    const struct kpi_span *span = &walk->world->spans[piece->span];
    struct kpi_frame own = *frame;
    own.thread = span->thread;
    own.from = piece->from;
    own.to = own.until = piece->to;
    own.edge = KPI_RULE_SPAN;
    own.strength = KPI_WEAK;
    if (kpi_has_rows(walk->world, span->thread))
        explain(walk, &own);
    else if (piece->span == root)
        own_span(walk, &own, root);
    else
        kpi_blame_remote(walk, &own, piece->span, piece->from, piece->to);
}

static void explain_spans(struct kpi_walk *walk, const struct kpi_frame *frame, uint32_t root)
{
    struct kpi_list list;
    kpi_list_init(&list, walk->arena, sizeof(struct piece));
    span_pieces(walk->world, root, frame->from, frame->to, 0, &list);
    struct piece *pieces = list.failed ? NULL : kpi_list_flat(&list);
    if (pieces != NULL)
        qsort(pieces, list.count, sizeof(*pieces), piece_compare);
    for (uint32_t i = 0; pieces != NULL && i < list.count; i++)
        piece_out(walk, frame, root, &pieces[i]);
    if (walk->cursor < frame->to) /* out of memory: the caller sees it in the arena's lists */
        kpi_blame_unknown(walk, frame, "untraced-host", walk->cursor, frame->to);
}

void kpi_walk_run(struct kpi_walk *walk, uint32_t thread, uint32_t span, kp_time from, kp_time to)
{
    struct kpi_frame frame = {
        .thread = thread,
        .from = from,
        .to = to,
        .until = to,
        .edge = KPI_RULE_ROOT,
        .strength = KPI_STRONG,
        .by_event = KPI_NONE,
    };
    walk->cursor = from;
    if (kpi_has_rows(walk->world, thread)) {
        if (span != KPI_NONE && walk->world->spans[span].guess)
            frame.strength = KPI_WEAK;
        explain(walk, &frame);
    } else if (span != KPI_NONE && walk->oracle == KP_ORACLE_NONE) {
        explain_spans(walk, &frame, span);
    } else {
        kpi_blame_unknown(walk, &frame, "untraced-host", from, to);
    }
    kp_assert(walk->cursor == KP_MAX(from, to));
}
