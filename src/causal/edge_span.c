/* SPDX-License-Identifier: Apache-2.0
 *
 * A wait explained by spans: this thread's open span waits for a span on another thread. Spans say
 * who was asked and not what ended the wait, so the edge is weak unless the kernel saw the two
 * threads wake each other during the call.
 */
#include "base/assert.h"
#include "causal/blame.h"
#include "causal/edge.h"

enum { SPAN_KIND_CLIENT = 3 }; /* catalogue: SPAN_KIND */

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
    kp_dur near = distance(x->to, end), other = distance(y->to, end);
    return near < other || (near == other && a < b);
}

/* The span this thread's open span waits for: a child on another thread that overlaps the wait,
 * the one whose thread ran at the wakeup before others, then the one that ends nearest to it. */
uint32_t kpi_span_partner(const struct kpi_walk *walk, uint32_t thread, kp_time from, kp_time to,
                          const struct kpi_event *wake, bool *out_only)
{
    const struct kpi_world *world = walk->world;
    uint32_t best = KPI_NONE, waker = wake == NULL ? KPI_NONE : wake->a;
    uint32_t found = 0, count;
    const struct kpi_thread_span *own = kpi_spans_of(world, thread, &count);
    for (uint32_t n = count; n-- > 0 && own[n].reach > from;) {
        const struct kpi_span *up = &world->spans[own[n].span];
        if (!overlaps(up, from, to))
            continue;
        for (uint32_t i = up->child; i != KPI_NONE; i = world->spans[i].next) {
            const struct kpi_span *span = &world->spans[i];
            if (span->thread == thread || !overlaps(span, from, to) ||
                !kp_str_equal(span->trace, walk->txn->trace))
                continue;
            found++;
            if (better_partner(world, i, best, waker, to))
                best = i;
        }
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

void kpi_span_enter(struct kpi_walk *walk, const struct kpi_frame *frame, uint32_t index, bool only,
                    uint32_t wake_index, kp_time from, kp_time to)
{
    const struct kpi_event *wake =
        wake_index == KPI_NONE ? NULL : kpi_event_of(walk->world, wake_index);
    const struct kpi_span *server = &walk->world->spans[index];
    if (!kpi_has_rows(walk->world, server->thread)) {
        kpi_blame_remote(walk, frame, index, from, to);
        return;
    }
    struct kpi_frame child = kpi_frame_child(frame, server->thread, KPI_RULE_SPAN, from, to);
    const struct kpi_span *client = &walk->world->spans[server->up];
    child.by_event = wake_index;
    bool sure = wake != NULL && (only || wake->a == server->thread);
    if (!sure || server->guess || client->guess ||
        !is_corroborated(walk->world, frame->thread, server, client, wake))
        child.strength = KPI_WEAK;
    if (wake != NULL && kpi_wake_is_timer(wake))
        child.timeout = true;
    kpi_frame_enter(walk, frame, &child);
}

uint32_t kpi_span_lone_client(const struct kpi_walk *walk, uint32_t thread, kp_time from,
                              kp_time to)
{
    const struct kpi_world *world = walk->world;
    uint32_t at = kpi_span_at(world, thread, from + (to - from) / 2, &walk->txn->trace);
    if (at == KPI_NONE || world->spans[at].kind != SPAN_KIND_CLIENT)
        return KPI_NONE;
    return world->spans[at].child == KPI_NONE ? at : KPI_NONE;
}
