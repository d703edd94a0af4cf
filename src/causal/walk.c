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
#include "causal/futex.h"

#define DEPTH_MAX 64

enum { SPAN_KIND_CLIENT = 3 }; /* catalogue: SPAN_KIND */

static void explain(struct kpi_walk *walk, const struct kpi_frame *frame);

/* ---------- frames ---------- */

static bool on_stack(const struct kpi_frame *frame, uint32_t thread)
{
    for (; frame != NULL; frame = frame->parent)
        if (frame->thread == thread)
            return true;
    return false;
}

/* Goes into another thread over a part of this frame's window. */
static void enter(struct kpi_walk *walk, const struct kpi_frame *parent,
                  const struct kpi_frame *child)
{
    if (child->depth > DEPTH_MAX)
        kpi_blame_unknown(walk, parent, "depth", child->from, child->to);
    else if (child->thread != KPI_NONE && on_stack(parent, child->thread))
        kpi_blame_handover(walk, child, "cycle", child->from, child->to);
    else
        explain(walk, child);
}

static struct kpi_frame child_frame(const struct kpi_frame *parent, uint32_t thread,
                                    enum kpi_rule edge, kp_time from, kp_time to)
{
    return (struct kpi_frame){
        .parent = parent,
        .thread = thread,
        .from = from,
        .to = to,
        .edge = edge,
        .strength = parent->strength,
        .timeout = parent->timeout,
        .depth = parent->depth + 1,
    };
}

/* ---------- wakers ---------- */

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

static void enter_waker(struct kpi_walk *walk, const struct kpi_frame *frame,
                        const struct kpi_event *wake, kp_time from, kp_time to)
{
    struct kpi_frame child = child_frame(frame, wake->a, KPI_RULE_WAKE, from, to);
    if (kpi_thread_of(walk->world, wake->a)->kthread)
        child.strength = KPI_WEAK; /* who gave it the work is not recorded */
    enter(walk, frame, &child);
}

/* ---------- span partners ---------- */

static bool overlaps(const struct kpi_span *span, kp_time from, kp_time to)
{
    return span->from < to && span->to > from;
}

static kp_dur distance(kp_time a, kp_time b)
{
    return a > b ? a - b : b - a;
}

static bool better_partner(const struct kpi_world *world, uint32_t a, uint32_t b, uint32_t waker,
                           kp_time end)
{
    if (b == KPI_NONE)
        return true;
    const struct kpi_span *x = &world->spans[a], *y = &world->spans[b];
    if ((x->thread == waker) != (y->thread == waker))
        return x->thread == waker;
    return distance(x->to, end) < distance(y->to, end);
}

/* The span this thread's open span waits for: a child on another thread that overlaps the wait,
 * the one whose thread ran at the wakeup before others, then the one that ends nearest to it. */
static uint32_t partner_of(const struct kpi_walk *walk, uint32_t thread, kp_time from, kp_time to,
                           const struct kpi_event *wake, bool *out_only)
{
    const struct kpi_world *world = walk->world;
    uint32_t best = KPI_NONE, waker = wake == NULL ? KPI_NONE : wake->a;
    uint32_t found = 0;
    for (uint32_t i = 0; i < world->spans_count; i++) {
        const struct kpi_span *span = &world->spans[i];
        if (span->up == KPI_NONE || span->thread == thread || !overlaps(span, from, to) ||
            !kp_str_equal(span->trace, walk->txn->trace))
            continue;
        const struct kpi_span *up = &world->spans[span->up];
        if (up->thread != thread || !overlaps(up, from, to))
            continue;
        found++;
        if (better_partner(world, i, best, waker, to))
            best = i;
    }
    *out_only = found == 1;
    return best;
}

/* The kernel saw the two threads, or their processes, wake each other during the call. */
static bool is_corroborated(const struct kpi_world *world, uint32_t thread,
                            const struct kpi_span *server, const struct kpi_span *client,
                            const struct kpi_event *wake)
{
    const struct kpi_thread *peer = kpi_thread_of(world, server->thread);
    if (wake != NULL && wake->a != KPI_NONE && !kpi_thread_of(world, wake->a)->idle &&
        kpi_thread_of(world, wake->a)->pid == peer->pid)
        return true;
    for (uint32_t i = kpi_timeline_find(world, peer, client->from); i < peer->count; i++) {
        const struct kpi_interval *iv = kpi_timeline_at(world, peer, i);
        if (iv->from > client->to)
            break;
        if (iv->state != KPI_STATE_RUNNABLE || iv->begin == KPI_NONE)
            continue;
        const struct kpi_event *event = kpi_event_of(world, iv->begin);
        if (event->stream == KP_S_SCHED_WAKING && event->a == thread && event->ts >= client->from)
            return true;
    }
    return false;
}

static bool has_kernel_rows(const struct kpi_world *world, uint32_t thread)
{
    return thread != KPI_NONE && kpi_thread_of(world, thread)->count > 0;
}

/* A stretch of a span whose thread left no kernel rows. */
static void remote_slice(struct kpi_walk *walk, const struct kpi_frame *frame, uint32_t span_index,
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

static void enter_server(struct kpi_walk *walk, const struct kpi_frame *frame, uint32_t index,
                         bool only, const struct kpi_event *wake, kp_time from, kp_time to)
{
    const struct kpi_span *server = &walk->world->spans[index];
    if (!has_kernel_rows(walk->world, server->thread)) {
        remote_slice(walk, frame, index, from, to);
        return;
    }
    struct kpi_frame child = child_frame(frame, server->thread, KPI_RULE_SPAN, from, to);
    const struct kpi_span *client = &walk->world->spans[server->up];
    bool sure = only || (wake != NULL && wake->a == server->thread);
    if (!sure || server->guess || client->guess ||
        !is_corroborated(walk->world, frame->thread, server, client, wake))
        child.strength = KPI_WEAK;
    if (wake != NULL && kpi_wake_is_timer(wake))
        child.timeout = true;
    enter(walk, frame, &child);
}

/* An open client span of this thread that covers the wait and has no server span: its server is
 * not recorded. KPI_NONE when there is none. */
static uint32_t lone_client(const struct kpi_walk *walk, uint32_t thread, kp_time from, kp_time to)
{
    const struct kpi_world *world = walk->world;
    uint32_t at = kpi_span_at(world, thread, from + (to - from) / 2, &walk->txn->trace);
    if (at == KPI_NONE || world->spans[at].kind != SPAN_KIND_CLIENT)
        return KPI_NONE;
    for (uint32_t i = 0; i < world->spans_count; i++)
        if (world->spans[i].up == at)
            return KPI_NONE;
    return at;
}

/* ---------- waiting ---------- */

/* The server of a span edge has no span open and nothing woke it for work of this window: it sits
 * waiting for the request, or has answered; the message is on its way. */
static bool is_idle_server(const struct kpi_walk *walk, const struct kpi_frame *frame,
                           const struct kpi_interval *iv, const struct kpi_event *wake,
                           kp_time from, kp_time to)
{
    if (frame->edge != KPI_RULE_SPAN ||
        kpi_span_at(walk->world, frame->thread, from + (to - from) / 2, NULL) != KPI_NONE)
        return false;
    return !is_thread_wake(walk->world, wake) || iv->to > frame->to || on_stack(frame, wake->a);
}

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
                         const struct kpi_event *wake, kp_time from, kp_time to)
{
    struct kpi_frame child = child_frame(frame, wake->a, KPI_RULE_NET, from, to);
    child.strength = KPI_WEAK;
    enter(walk, frame, &child);
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
        !on_stack(frame, request->thread))
        since = KP_MAX(submitter_since(walk->world, request), from);
    if (since < first) {
        struct kpi_frame child = child_frame(frame, request->thread, KPI_RULE_BLOCK, since, first);
        child.strength = KPI_WEAK; /* whose work it carried is not recorded */
        kpi_blame_block(walk, frame, iv, request, from, since);
        enter(walk, frame, &child);
        from = first;
    }
    kpi_blame_block(walk, frame, iv, request, from, to);
}

/* ---------- locks in user memory ---------- */

/* Each part of the wait is explained by the thread that held the lock during it. */
static void explain_futex(struct kpi_walk *walk, const struct kpi_frame *frame,
                          const struct kpi_interval *iv, kp_time from, kp_time to)
{
    const struct kpi_work *lock = kpi_futex_lock(walk->world, iv);
    kp_time at = from;
    while (at < to) {
        struct kpi_hold hold = kpi_futex_hold(walk->world, iv, lock, at);
        kp_time until = KP_MIN(hold.to, to);
        struct kpi_frame child = child_frame(frame, hold.thread, KPI_RULE_LOCK, at, until);
        child.lock = lock;
        if (!hold.sure)
            child.strength = KPI_WEAK;
        if (on_stack(frame, hold.thread))
            kpi_blame_lock(walk, frame, iv, lock, at, until);
        else
            enter(walk, frame, &child);
        at = until;
    }
}

static bool is_stopped(const struct kpi_interval *iv)
{
    return iv->letter == 4 || iv->letter == 8; /* catalogue: TASK_STATE T, t */
}

static void explain_wait(struct kpi_walk *walk, const struct kpi_frame *frame,
                         const struct kpi_interval *iv, kp_time from, kp_time to)
{
    const struct kpi_world *world = walk->world;
    const struct kpi_event *wake = wake_of(world, iv);
    const struct kpi_work *request = kpi_block_match(world, iv);
    bool only = false;
    if (is_stopped(iv))
        kpi_blame_wait(walk, frame, iv, from, to);
    else if (request != NULL)
        explain_block(walk, frame, iv, request, from, to);
    else if (is_idle_server(walk, frame, iv, wake, from, to))
        kpi_blame_handover(walk, frame, "", from, to);
    else if (is_thread_wake(world, wake) && kpi_futex_lock(world, iv) != NULL)
        explain_futex(walk, frame, iv, from, to);
    else if (is_thread_wake(world, wake))
        enter_waker(walk, frame, wake, from, to);
    else {
        uint32_t partner = partner_of(walk, frame->thread, from, to, wake, &only);
        uint32_t client = lone_client(walk, frame->thread, from, to);
        if (timer_explains(walk, iv, wake, partner))
            kpi_blame_wait(walk, frame, iv, from, to);
        else if (partner != KPI_NONE)
            enter_server(walk, frame, partner, only, wake, from, to);
        else if (is_sender(world, wake))
            enter_sender(walk, frame, wake, from, to);
        else if (client != KPI_NONE && wake != NULL && kpi_wake_is_net(wake))
            remote_slice(walk, frame, client, from, to);
        else
            kpi_blame_wait(walk, frame, iv, from, to);
    }
}

/* A wait for a kernel lock whose holder at its begin also ended it: that holder explains it. */
static void explain_lock(struct kpi_walk *walk, const struct kpi_frame *frame,
                         const struct kpi_interval *iv, const struct kpi_work *row, kp_time from,
                         kp_time to)
{
    const struct kpi_event *wake = wake_of(walk->world, iv);
    if (!is_thread_wake(walk->world, wake) || wake->a != row->other ||
        on_stack(frame, row->other)) {
        kpi_blame_lock(walk, frame, iv, row, from, to);
        return;
    }
    struct kpi_frame child = child_frame(frame, row->other, KPI_RULE_LOCK, from, to);
    child.lock = row;
    enter(walk, frame, &child);
}

static void explain_unlocked(struct kpi_walk *walk, const struct kpi_frame *frame,
                             const struct kpi_interval *iv, kp_time from, kp_time to)
{
    static const struct kpi_cut cut = {KPI_WORK_LOCK, explain_lock, explain_wait};
    kpi_cut_run(walk, frame, iv, &cut, frame->thread, from, to);
}

static void explain_blocked(struct kpi_walk *walk, const struct kpi_frame *frame,
                            const struct kpi_interval *iv, kp_time from, kp_time to)
{
    static const struct kpi_cut cut = {KPI_WORK_RECLAIM, kpi_blame_reclaim, explain_unlocked};
    kpi_cut_run(walk, frame, iv, &cut, frame->thread, from, to);
}

/* ---------- one thread, one window ---------- */

static void explain_interval(struct kpi_walk *walk, const struct kpi_frame *frame,
                             const struct kpi_interval *iv, kp_time from, kp_time to)
{
    switch ((enum kpi_state)iv->state) {
    case KPI_STATE_RUNNING:
        kpi_blame_running(walk, frame, iv, from, to);
        return;
    case KPI_STATE_RUNNABLE:
        kpi_blame_runnable(walk, frame, iv, from, to);
        return;
    case KPI_STATE_BLOCKED:
    case KPI_STATE_DEAD:
        explain_blocked(walk, frame, iv, from, to);
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
    for (uint32_t i = 0; i < world->spans_count && world->spans[i].from < border; i++) {
        const struct kpi_span *span = &world->spans[i];
        if (span->thread != thread)
            continue;
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
            kpi_blame_unknown(walk, frame, "before-trace", at, from);
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

/* The child that ends last within [from, to): what the span waited for at its end. */
static uint32_t last_child(const struct kpi_world *world, uint32_t span, kp_time from, kp_time to)
{
    uint32_t best = KPI_NONE;
    for (uint32_t i = 0; i < world->spans_count; i++) {
        const struct kpi_span *child = &world->spans[i];
        if (child->up != span || !overlaps(child, from, to) || child->from == child->to)
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
    while (to > from) {
        uint32_t child = depth >= DEPTH_MAX || has_kernel_rows(world, world->spans[span].thread)
                             ? KPI_NONE
                             : last_child(world, span, from, to);
        kp_time begin = child == KPI_NONE ? from : KP_MAX(world->spans[child].from, from);
        kp_time end = child == KPI_NONE ? from : KP_MIN(world->spans[child].to, to);
        if (end < to)
            *(struct piece *)kpi_list_add(pieces) = (struct piece){end, to, span};
        if (child != KPI_NONE)
            span_pieces(world, child, begin, end, depth + 1, pieces);
        to = begin;
    }
}

static void piece_out(struct kpi_walk *walk, const struct kpi_frame *frame, uint32_t root,
                      const struct piece *piece)
{
    const struct kpi_span *span = &walk->world->spans[piece->span];
    struct kpi_frame own = *frame;
    own.thread = span->thread;
    own.from = piece->from;
    own.to = piece->to;
    own.edge = KPI_RULE_SPAN;
    own.strength = KPI_WEAK;
    if (has_kernel_rows(walk->world, span->thread))
        explain(walk, &own);
    else if (piece->span == root)
        kpi_blame_unknown(walk, &own, "untraced-host", piece->from, piece->to);
    else
        remote_slice(walk, &own, piece->span, piece->from, piece->to);
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
        .edge = KPI_RULE_ROOT,
        .strength = KPI_STRONG,
    };
    walk->cursor = from;
    if (has_kernel_rows(walk->world, thread)) {
        if (span != KPI_NONE && walk->world->spans[span].guess)
            frame.strength = KPI_WEAK;
        explain(walk, &frame);
    } else if (span != KPI_NONE) {
        explain_spans(walk, &frame, span);
    } else {
        kpi_blame_unknown(walk, &frame, "untraced-host", from, to);
    }
    kp_assert(walk->cursor == KP_MAX(from, to));
}
