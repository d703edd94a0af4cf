/* SPDX-License-Identifier: Apache-2.0
 *
 * Leaf rule `throttle`: a thread is held back because its control group has used up its quota. The
 * kernel says when that begins, at the switch, and nothing says when it ends. It lasts at least as
 * long as the CPU sits idle, for an idle CPU takes any thread it may. It is over when a thread of
 * the same group runs on that CPU, or one that was held back as well runs anywhere: a new quota is
 * handed to all CPUs at once. From then on the thread waited for its CPU like any other. Between
 * the two the kernel's word stands that it was held back. Where rows were lost it may have run and
 * been held back again meanwhile, so then that wait is not sure.
 */
#include <string.h>

#include "base/assert.h"
#include "causal/blame.h"

struct quota {
    bool set;    /* a limit is known for the cgroup or one above it */
    bool agrees; /* its counter of throttled time grew around the wait */
    const struct kpi_work *row;
};

/* True when path is the cgroup or one above it. */
static bool path_above(struct kp_str path, struct kp_str cgroup)
{
    if (path.len == 0 || path.len > cgroup.len || memcmp(path.ptr, cgroup.ptr, path.len) != 0)
        return false;
    return path.len == cgroup.len || cgroup.ptr[path.len] == '/' || path.ptr[path.len - 1] == '/';
}

/* Compares the last sample before the wait with the first after it, of one path. */
static bool counter_grew(const struct kpi_work_rows *set, const struct kpi_work *before, kp_time to)
{
    for (const struct kpi_work *row = before + 1; row < set->rows + set->count; row++) {
        if (row->group != before->group)
            break;
        if (kp_str_equal(row->name, before->name) && row->to >= to)
            return row->a > before->a;
    }
    return false;
}

static struct quota quota_of(const struct kpi_world *world, uint32_t host, struct kp_str cgroup,
                             const struct kpi_interval *iv)
{
    const struct kpi_work_rows *set = kpi_work_all(&world->works[KPI_WORK_QUOTA]);
    struct quota quota = {0};
    for (uint32_t i = 0; i < set->count; i++) {
        const struct kpi_work *row = &set->rows[i];
        if (row->group != host || row->b <= 0 || !path_above(row->name, cgroup))
            continue;
        if (quota.row == NULL)
            quota.row = row;
        quota.set = true;
        if (row->to <= iv->from && counter_grew(set, row, iv->to)) {
            quota.agrees = true;
            quota.row = row;
        }
    }
    return quota;
}

/* ---------- its end ---------- */

/* The last instant of the wait at which the CPU was idle: it was held back until then. */
static kp_time held_at_least(const struct kpi_world *world, const struct kpi_interval *iv)
{
    kp_time last = iv->from, until;
    uint32_t came;
    if (iv->cpu == KPI_NONE)
        return last;
    for (kp_time t = iv->from; t < iv->to; t = until) {
        uint32_t who = kpi_timeline_occupant(world, iv->cpu, t, iv->to, &until, &came);
        if (who != KPI_NONE && kpi_thread_of(world, who)->idle)
            last = until;
    }
    return last;
}

/* When another thread's interval proves that the group has quota again. */
static kp_time proof_of(const struct kpi_interval *wait, const struct kpi_interval *iv)
{
    if (iv->state == KPI_STATE_RUNNING && iv->cpu == wait->cpu && iv->begin != KPI_NONE)
        return iv->from;
    if (iv->state == KPI_STATE_RUNNABLE && (iv->flags & KPI_FLAG_THROTTLED) != 0 &&
        iv->end != KPI_NONE)
        return iv->to;
    return KP_TIME_MAX;
}

/* First proof from `since` on, from threads of the group `path` and those below it; the end of the
 * wait if there is none. */
static kp_time held_at_most(const struct kpi_world *world, const struct kpi_interval *iv,
                            struct kp_str path, kp_time since)
{
    kp_time first = iv->to;
    uint32_t host = kpi_thread_of(world, iv->thread)->host;
    if (path.len <= 1) /* the root has no quota: which group it was is not known */
        return first;
    for (uint32_t i = 0; i < world->threads.count && since < first; i++) {
        const struct kpi_thread *thread = kpi_thread_of(world, i);
        if (i == iv->thread || thread->host != host || thread->count == 0 ||
            !path_above(path, kp_actors_get(world->actors, thread->actor)->cgroup))
            continue;
        for (uint32_t n = kpi_timeline_find(world, thread, since); n < thread->count; n++) {
            const struct kpi_interval *other = kpi_timeline_at(world, thread, n);
            kp_time proof = proof_of(iv, other);
            if (proof >= since && proof > iv->from)
                first = KP_MIN(first, proof);
            if (other->from >= first)
                break;
        }
    }
    return first;
}

/* ---------- the rule ---------- */

kp_time kpi_blame_quota(struct kpi_walk *walk, const struct kpi_frame *frame,
                        const struct kpi_interval *iv, kp_time from, kp_time to, bool *out_sure)
{
    bool says = (iv->flags & KPI_FLAG_THROTTLED) != 0;
    bool looks = (iv->flags & KPI_FLAG_PREEMPT) != 0 && (iv->flags & KPI_FLAG_TO_IDLE) != 0;
    if (!says && !looks)
        return from;
    struct kpi_slice slice = kpi_slice_make(walk, frame, iv, from, to);
    struct kp_str cgroup = kp_actors_get(walk->world->actors, slice.actor)->cgroup;
    uint32_t host = kpi_thread_of(walk->world, frame->thread)->host;
    struct quota quota = quota_of(walk->world, host, cgroup, iv);
    if (!says && !quota.set)
        return from;
    slice.kind = KPI_THROTTLED;
    slice.rule = KPI_RULE_THROTTLE;
    slice.cpu = iv->cpu;
    slice.object = quota.row != NULL ? quota.row->name : cgroup;
    slice.subkind = says ? KP_STR("flag") : KP_STR("inferred");
    if (slice.strength != KPI_WEAK)
        slice.strength = quota.agrees ? KPI_STRONG_COUNTER : says ? KPI_STRONG : KPI_WEAK;
    kp_time least = held_at_least(walk->world, iv);
    kp_time most = held_at_most(walk->world, iv, slice.object, least);
    slice.to = KP_MIN(KP_MAX(most, from), to);
    *out_sure = kpi_gap_in(walk->world, host, KPI_NONE, true, iv->from, iv->to) == 0;
    kpi_slice_lock(walk, frame, iv, &slice);
    kpi_slice_event(&slice, iv->begin);
    kpi_slice_event(&slice, iv->end);
    kpi_slice_work(&slice, quota.row);
    kpi_slice_emit(walk, &slice);
    return slice.to;
}
