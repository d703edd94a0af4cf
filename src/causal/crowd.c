/* SPDX-License-Identifier: Apache-2.0
 *
 * Who filled what a thread had to share: a device, by the requests that were on it meanwhile; the
 * memory of a control group, by the reclaim its threads had to do for the pages they asked for. A
 * process is named if most of it was its doing; for a device not the waiter's own, which waits for
 * what it asked for. A request that a kernel worker handed in is whose work that was.
 */
#include "base/assert.h"
#include "causal/edge.h"

#define FILLING       KP_SEC /* how long before it is needed memory can have been filled */
#define PROCESSES_MAX 64     /* told apart; what more there are counts as others */
#define MOST_PCT      50     /* of everything, the waiter's own included */
#define FILLED_LEAST  4      /* who filled it had to reclaim this part of what is needed now */

/* What each process took of something. */
struct share {
    uint32_t thread;
    kp_actor_id actor;
    const struct kpi_work *row;
    int64_t amount;
};

struct shares {
    struct share of[PROCESSES_MAX];
    uint32_t count;
    int64_t sum;
};

static bool same_process(const struct kpi_world *world, uint32_t a, uint32_t b)
{
    const struct kpi_thread *x = kpi_thread_of(world, a), *y = kpi_thread_of(world, b);
    return a == b || (x->pid == y->pid && x->host == y->host && x->pid != 0);
}

static void share_add(const struct kpi_world *world, struct shares *shares, uint32_t thread,
                      const struct kpi_work *row, int64_t amount)
{
    uint32_t i = 0;
    shares->sum += amount;
    while (i < shares->count && !same_process(world, shares->of[i].thread, thread))
        i++;
    if (i == PROCESSES_MAX)
        return;
    if (i == shares->count)
        shares->of[shares->count++] = (struct share){.thread = thread, .row = row};
    shares->of[i].amount += amount;
}

static struct kpi_crowd most_of(const struct kpi_world *world, const struct shares *shares)
{
    const struct share *most = NULL;
    for (uint32_t i = 0; i < shares->count; i++)
        if (most == NULL || shares->of[i].amount > most->amount)
            most = &shares->of[i];
    if (most == NULL || (__int128)most->amount * 100 <= (__int128)shares->sum * MOST_PCT)
        return (struct kpi_crowd){.thread = KPI_NONE};
    uint32_t thread = most->thread;
    kp_actor_id actor =
        most->row->thread == thread ? most->row->actor : kpi_thread_of(world, thread)->actor;
    return (struct kpi_crowd){thread, actor, most->row};
}

struct kpi_crowd kpi_crowd_request(const struct kpi_world *world, const struct kpi_work *request)
{
    struct kpi_crowd owner = {request->thread, request->actor, NULL};
    if (request->thread == KPI_NONE || !kpi_thread_of(world, request->thread)->kthread)
        return owner;
    const struct kpi_work *job = kpi_job_at(world, request->thread, request->from);
    if (job != NULL && job->other != KPI_NONE)
        owner = (struct kpi_crowd){job->other, job->other_actor, job};
    return owner;
}

/* Each process's share of the device's time within [from, to). */
static void requests_add(const struct kpi_world *world, struct shares *shares,
                         const struct kpi_work_set *set, uint32_t waiter, int64_t device,
                         kp_time from, kp_time to)
{
    uint32_t host = kpi_thread_of(world, waiter)->host;
    const struct kpi_work *row = kpi_work_first(set, host, from, to);
    for (; row != NULL; row = kpi_work_next(set, row, from, to)) {
        uint32_t owner = kpi_crowd_request(world, row).thread;
        kp_time issued = KP_MAX(row->from + row->queue_dur, from), done = KP_MIN(row->to, to);
        if (row->a == device && owner != KPI_NONE && issued < done &&
            !kpi_thread_of(world, owner)->idle)
            share_add(world, shares, owner, row, done - issued);
    }
}

struct kpi_crowd kpi_crowd_device(const struct kpi_world *world, uint32_t waiter, int64_t device,
                                  kp_time from, kp_time to)
{
    static const enum kpi_works kinds[] = {KPI_WORK_BLOCK, KPI_WORK_FLIGHT};
    struct shares shares = {.count = 0};
    for (size_t i = 0; i < KP_ARRAY_LEN(kinds); i++)
        requests_add(world, &shares, &world->works[kinds[i]], waiter, device, from, to);
    struct kpi_crowd most = most_of(world, &shares);
    if (most.thread != KPI_NONE && same_process(world, most.thread, waiter))
        most = (struct kpi_crowd){.thread = KPI_NONE};
    return most;
}

/* Whose pages were reclaimed in the group around [from, to). The waiter's own from `asks` on are
 * what it needs now: if not counted, they are added up in *out_own. */
static void memory_shares(const struct kpi_world *world, uint32_t waiter, kp_time asks,
                          kp_time from, kp_time to, struct shares *out, int64_t *out_own)
{
    const struct kpi_work_rows *set =
        kpi_work_since(&world->works[KPI_WORK_RECLAIM], from - FILLING);
    kpi_miss_after(world, KPI_WORK_RECLAIM);
    const struct kpi_thread *self = kpi_thread_of(world, waiter);
    struct kp_str cgroup = kp_actors_get(world->actors, self->actor)->cgroup;
    for (uint32_t i = 0; i < set->count; i++) {
        const struct kpi_work *row = &set->rows[i];
        const struct kpi_thread *thread = kpi_thread_of(world, row->thread);
        if (row->from >= to || row->to <= from - FILLING || thread->host != self->host ||
            thread->kthread ||
            !kp_str_equal(kp_actors_get(world->actors, row->actor)->cgroup, cgroup))
            continue;
        if (row->thread == waiter && row->to > asks)
            *out_own += KP_MAX(row->b, 0);
        else
            share_add(world, out, row->thread, row, KP_MAX(row->b, 0));
    }
}

struct kpi_crowd kpi_crowd_memory(const struct kpi_world *world, uint32_t waiter, kp_time asks,
                                  kp_time from, kp_time to)
{
    struct shares shares = {.count = 0}, all = {.count = 0};
    int64_t own = 0;
    memory_shares(world, waiter, asks, from, to, &shares, &own);
    struct kpi_crowd most = most_of(world, &shares);
    if (most.thread != KPI_NONE && shares.sum > own / FILLED_LEAST)
        return most;
    memory_shares(world, waiter, KP_TIME_MAX, from, to, &all, &own);
    return most_of(world, &all);
}
