/* SPDX-License-Identifier: Apache-2.0
 *
 * Slices: made for a stretch of a thread's time, given what they rest on, and handed out. Here is
 * where the sum is kept: a slice begins where the one before it ended. Time in which events may be
 * missing is never strong.
 */
#include "base/assert.h"
#include "causal/blame.h"

/* ---------- names ---------- */

const char *kpi_kind_name(enum kpi_kind kind)
{
    static const char *const names[KPI_KINDS] = {
#define KPI_KIND(ID, name) [KPI_##ID] = name,
#include "causal/kind.def"
#undef KPI_KIND
    };
    return names[kind];
}

const char *kpi_rule_name(enum kpi_rule rule)
{
    static const char *const names[KPI_RULES] = {
#define KPI_RULE(ID, name, text) [KPI_RULE_##ID] = name,
#include "causal/rule.def"
#undef KPI_RULE
    };
    return names[rule];
}

/* ---------- slices ---------- */

/* The thread's attributes when the interval began. */
static kp_actor_id actor_during(const struct kpi_world *world, uint32_t thread,
                                const struct kpi_interval *iv)
{
    if (iv != NULL && iv->begin != KPI_NONE) {
        const struct kpi_event *event = kpi_event_of(world, iv->begin);
        if (event->a == thread && event->b != thread)
            return event->actor_a;
        if (event->b == thread)
            return event->actor_b;
    }
    return kpi_thread_of(world, thread)->actor;
}

struct kpi_slice kpi_slice_make(const struct kpi_walk *walk, const struct kpi_frame *frame,
                                const struct kpi_interval *iv, kp_time from, kp_time to)
{
    struct kpi_slice slice = {
        .from = from,
        .to = to,
        .kind = KPI_UNKNOWN,
        .rule = KPI_RULE_NONE,
        .edge = frame->edge,
        .strength = frame->strength,
        .thread = frame->thread,
        .cpu = KPI_NONE,
        .span = KPI_NONE,
        .culprit = KPI_NONE,
        .stop = "",
        .timeout = frame->timeout,
        .frame = frame,
    };
    if (frame->thread != KPI_NONE) {
        kp_time middle = from + (to - from) / 2;
        slice.actor = actor_during(walk->world, frame->thread, iv);
        slice.span = kpi_span_at(walk->world, frame->thread, middle, &walk->txn->trace);
        if (slice.span == KPI_NONE)
            slice.span = kpi_span_at(walk->world, frame->thread, middle, NULL);
    }
    if (iv != NULL && (iv->flags & KPI_FLAG_BEFORE) != 0 && iv->begin == KPI_NONE)
        slice.stop = "horizon";
    return slice;
}

/* Not on a CPU and not queued for one: what a hidden thread does there is nothing to it. */
static bool is_asleep(const struct kpi_slice *slice)
{
    return (slice->cpu == KPI_NONE && slice->kind != KPI_UNKNOWN) || slice->kind == KPI_THROTTLED;
}

void kpi_slice_emit(struct kpi_walk *walk, struct kpi_slice *slice)
{
    if (slice->from >= slice->to)
        return;
    kp_assert(slice->from == walk->cursor);
    walk->cursor = slice->to;
    if (slice->thread != KPI_NONE) {
        uint32_t host = kpi_thread_of(walk->world, slice->thread)->host;
        slice->gap =
            kpi_gap_in(walk->world, host, slice->cpu, is_asleep(slice), slice->from, slice->to);
    }
    if (slice->thread != KPI_NONE)
        slice->skew =
            kpi_host_of(walk->world, kpi_thread_of(walk->world, slice->thread)->host)->skew;
    if (slice->gap > 0)
        slice->strength = KPI_WEAK;
    walk->emit(walk->ctx, slice);
}

static bool has_ref(const struct kpi_slice *slice, struct kpi_ref ref)
{
    for (uint32_t i = 0; i < slice->refs_count; i++)
        if (slice->refs[i].event == ref.event && slice->refs[i].work == ref.work)
            return true;
    return slice->refs_count == KPI_SLICE_EVIDENCE;
}

void kpi_slice_event(struct kpi_slice *slice, uint32_t event)
{
    struct kpi_ref ref = {event, NULL};
    if (event != KPI_NONE && !has_ref(slice, ref))
        slice->refs[slice->refs_count++] = ref;
}

void kpi_slice_work(struct kpi_slice *slice, const struct kpi_work *work)
{
    struct kpi_ref ref = {KPI_NONE, work};
    if (work != NULL && !has_ref(slice, ref))
        slice->refs[slice->refs_count++] = ref;
}

/* ---------- cuts ---------- */

void kpi_cut_run(struct kpi_walk *walk, const struct kpi_frame *frame,
                 const struct kpi_interval *iv, const struct kpi_cut *cut, uint32_t group,
                 kp_time from, kp_time to)
{
    const struct kpi_work_set *set = &walk->world->works[cut->set];
    kp_time done = from;
    const struct kpi_work *row = kpi_work_first(set, group, from, to);
    for (; row != NULL; row = kpi_work_next(set, row, from, to)) {
        kp_time a = KP_MAX(row->from, done), b = KP_MIN(row->to, to);
        if (b <= a)
            continue;
        if (a > done)
            cut->outside(walk, frame, iv, done, a);
        cut->inside(walk, frame, iv, row, a, b);
        done = b;
    }
    if (done < to)
        cut->outside(walk, frame, iv, done, to);
}
