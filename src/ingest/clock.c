/* SPDX-License-Identifier: Apache-2.0
 *
 * A clock that is slewed drifts by up to 500 ppm: 5 ms in ten seconds. Steps are measured against
 * the anchor before, so slow drift shows in the regular anchors and a jump makes one at once.
 */
#include "ingest/clock.h"

void kpi_clock_begin(struct kpi_clock *clock, const struct kpi_anchor *first)
{
    clock->last = *first;
    clock->last.step = 0;
    clock->offset = first->real - first->mono;
}

bool kpi_clock_update(struct kpi_clock *clock, struct kpi_anchor *now)
{
    const struct kpi_anchor *last = &clock->last;
    now->step = (now->real - now->mono) - (last->real - last->mono);
    bool stepped = now->step > KPI_ANCHOR_STEP || now->step < -KPI_ANCHOR_STEP;
    if (!stepped && now->mono - last->mono < KPI_ANCHOR_EVERY)
        return false;
    clock->last = *now;
    return true;
}

struct kpi_anchor kpi_clock_read(void)
{
    struct kpi_anchor anchor = {0};
    kp_time_anchor(&anchor.mono, &anchor.real, &anchor.bound);
    return anchor;
}
