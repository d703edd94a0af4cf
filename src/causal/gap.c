/* SPDX-License-Identifier: Apache-2.0
 *
 * Gaps: the time in which events of the timelines may be missing, and what is known of threads that
 * leave no rows.
 */
#include "base/assert.h"
#include "causal/timeline.h"

enum { GAP_HIDDEN = 9 }; /* catalogue: GAP_REASON */

kp_dur kpi_gap_in(const struct kpi_world *world, uint32_t host, uint32_t cpu, bool asleep,
                  kp_time from, kp_time to)
{
    const struct kpi_work_set *set = &world->works[KPI_WORK_GAP];
    int32_t number = cpu == KPI_NONE ? -1 : (int32_t)kpi_cpu_of(world, cpu)->number;
    kp_dur sum = 0;
    kp_time done = from;
    const struct kpi_work *row = kpi_work_first(set, host, from, to);
    for (; row != NULL; row = kpi_work_next(set, row, from, to)) {
        if ((number >= 0 && row->code >= 0 && row->code != number) ||
            (asleep && row->a == GAP_HIDDEN))
            continue;
        kp_time a = KP_MAX(row->from, done), b = KP_MIN(row->to, to);
        if (b > a) {
            sum += b - a;
            done = b;
        }
    }
    return sum;
}

kp_time kpi_hidden_until(const struct kpi_world *world, uint32_t cpu, kp_time from, kp_time to)
{
    const struct kpi_work_set *set = &world->works[KPI_WORK_GAP];
    const struct kpi_cpu *on = kpi_cpu_of(world, cpu);
    kp_time until = KP_TIME_MIN;
    const struct kpi_work *row = kpi_work_first(set, on->host, from, to);
    for (; row != NULL; row = kpi_work_next(set, row, from, to))
        if (row->a == GAP_HIDDEN && row->code == (int32_t)on->number && row->to <= to)
            until = KP_MAX(until, row->to);
    return until;
}
