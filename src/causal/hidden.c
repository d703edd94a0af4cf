/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads that leave a CPU on which nobody saw them come. A kernel may keep the switches of some
 * threads from every recorder; the recorder notes such a stretch as a gap, from the last row that
 * agreed with the switches to the first one of the thread that was there in truth. Only hidden
 * threads leave a CPU without a row. So whoever is seen to leave it at the end of the stretch had
 * come after its beginning, after its own last row, and ran without a break from its own first row
 * on. Before that it and the hidden threads shared the CPU in a way nothing tells: all of that is
 * given to the one that is known, marked as doubtful.
 *
 * Invariant: the intervals of a thread tile the same time as before.
 */
#include "base/assert.h"
#include "causal/timeline.h"

/* When the thread of a broken interval can have come to the CPU it left, and was there for sure. */
struct stay {
    uint32_t left, came; /* the switch it left by; the one before on that CPU */
    kp_time since, sure;
};

/* The last switch of the CPU before the given one, or KPI_NONE. */
static uint32_t switch_before(const struct kpi_world *world, uint32_t at)
{
    const struct kpi_cpu *cpu = kpi_cpu_of(world, kpi_event_of(world, at)->cpu);
    uint32_t low = 0, high = cpu->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (world->cpu_order[cpu->first + mid] < at)
            low = mid + 1;
        else
            high = mid;
    }
    return low == 0 ? KPI_NONE : world->cpu_order[cpu->first + low - 1];
}

/* Its last row says that it was on a CPU, which it must have left by a row that was lost. */
static bool was_running(const struct kpi_world *world, const struct kpi_interval *iv)
{
    const struct kpi_event *begin = iv->begin == KPI_NONE ? NULL : kpi_event_of(world, iv->begin);
    return begin != NULL && begin->stream == KP_S_SCHED_SWITCH && begin->a != iv->thread;
}

/* A gap of hidden threads says when the thread that leaves at the interval's end had come. */
static bool stay_find(const struct kpi_world *world, const struct kpi_interval *iv,
                      struct stay *out)
{
    if (iv->state != KPI_STATE_UNKNOWN || iv->end == KPI_NONE || was_running(world, iv))
        return false;
    const struct kpi_event *left = kpi_event_of(world, iv->end);
    uint32_t came = switch_before(world, iv->end);
    if (came == KPI_NONE) {
        struct kpi_thread *thread = kpi_thread_of(world, iv->thread);
        thread->unsure |= world->reach != NULL && iv->from >= thread->settled;
        return false;
    }
    kp_time begin = kpi_event_of(world, came)->ts;
    kp_time sure = kpi_hidden_until(world, left->cpu, begin, left->ts);
    if (sure == KP_TIME_MIN)
        return false;
    kp_time since = KP_MAX(begin, iv->from);
    *out = (struct stay){iv->end, came, since, KP_MAX(sure, since)};
    return true;
}

static void interval_add(struct kpi_list *list, const struct kpi_interval *iv, kp_time from,
                         kp_time to)
{
    if (from >= to)
        return;
    struct kpi_interval *added = kpi_list_add(list);
    *added = *iv;
    added->from = from;
    added->to = to;
}

/* What the thread did until the CPU can have become its: what its last row says. */
static struct kpi_interval before_of(const struct kpi_world *world, const struct kpi_interval *iv,
                                     const struct stay *stay)
{
    struct kpi_interval before = *iv;
    before.end = KPI_NONE;
    if (iv->begin == KPI_NONE)
        return before;
    before.flags &= (uint8_t)~KPI_FLAG_LOST;
    if (kpi_event_of(world, iv->begin)->stream == KP_S_SCHED_WAKING ||
        (iv->flags & KPI_FLAG_PREEMPT) != 0) {
        before.state = KPI_STATE_RUNNABLE;
        before.end = stay->came;
    } else {
        before.state = KPI_STATE_BLOCKED;
        before.flags |= KPI_FLAG_NO_WAKER;
    }
    return before;
}

static void stay_add(const struct kpi_world *world, struct kpi_list *list,
                     const struct kpi_interval *iv, const struct stay *stay)
{
    const struct kpi_interval before = before_of(world, iv, stay);
    struct kpi_interval ran = {
        .thread = iv->thread,
        .cpu = kpi_event_of(world, stay->left)->cpu,
        .begin = KPI_NONE,
        .end = stay->left,
        .state = KPI_STATE_RUNNING,
        .flags = KPI_FLAG_LOST,
    };
    interval_add(list, &before, iv->from, stay->since);
    interval_add(list, &ran, stay->since, stay->sure);
    ran.flags = 0;
    interval_add(list, &ran, stay->sure, iv->to);
}

void kpi_hidden_repair(struct kpi_world *world)
{
    struct kpi_list list;
    struct stay stay;
    bool any = false;
    for (uint32_t i = 0; i < world->intervals.count && !any; i++)
        any = stay_find(world, kpi_interval_of(world, i), &stay);
    if (!any)
        return;
    kpi_list_init(&list, world->arena, sizeof(struct kpi_interval));
    for (uint32_t i = 0; i < world->intervals.count; i++) {
        const struct kpi_interval *iv = kpi_interval_of(world, i);
        if (stay_find(world, iv, &stay))
            stay_add(world, &list, iv, &stay);
        else
            interval_add(&list, iv, iv->from, iv->to);
    }
    list.failed |= world->intervals.failed;
    world->intervals = list;
}
