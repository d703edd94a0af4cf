/* SPDX-License-Identifier: Apache-2.0
 *
 * What to run: the story's figures, and drawn ones for the accuracy test.
 *
 * A payment is eight legs of about 8 ms of work each. The batch job wakes up some milliseconds into
 * payment 98721 and keeps the CPU for 735 ms: alone neither reaches the handler's limit of 750 ms,
 * together they pass it, and the burst ends before the handler gives up, so that what the kernel
 * counted and what the answer says cover the same time.
 */
#include "demo.h"

#include <sched.h>

#include "base/hash.h"

uint32_t kpi_demo_cpus(uint32_t out[KPI_DEMO_CPUS_MAX])
{
    cpu_set_t set;
    uint32_t count = 0;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof(set), &set) != 0)
        return 0;
    for (uint32_t cpu = 0; cpu < CPU_SETSIZE && count < KPI_DEMO_CPUS_MAX; cpu++)
        if (CPU_ISSET(cpu, &set))
            out[count++] = cpu;
    return count;
}

void kpi_demo_plan_story(struct kpi_demo_plan *out)
{
    uint32_t cpus[KPI_DEMO_CPUS_MAX];
    uint32_t count = kpi_demo_cpus(cpus);
    *out = (struct kpi_demo_plan){.payments = 200,
                                  .cpu = count == 0 ? 0 : cpus[count - 1],
                                  .legs = KPI_DEMO_LEGS,
                                  .last_legs = KPI_DEMO_LEGS,
                                  .batch = true,
                                  /* a single CPU is needed by the driver as well */
                                  .policy = count > 1 ? "fifo" : "nice",
                                  .batch_after = 4 * KP_MS,
                                  .batch_ms = 735};
}

/* Number n of a run, evenly in [low, high]. */
static uint32_t draw(uint64_t *state, uint32_t low, uint32_t high)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    return low + (uint32_t)(kp_hash_mix(*state) % (high - low + 1));
}

void kpi_demo_plan_draw(uint64_t seed, uint32_t run, bool batch, struct kpi_demo_plan *out)
{
    uint32_t cpus[KPI_DEMO_CPUS_MAX];
    uint32_t count = kpi_demo_cpus(cpus);
    uint64_t state = kp_hash_mix(seed ^ kp_hash_mix(run + 1));
    struct kpi_demo_plan plan = {.payments = 24, .batch = batch, .quiet = true};
    plan.cpu = count == 0 ? 0 : cpus[draw(&state, 0, count - 1)];
    plan.legs = draw(&state, 3, 8);
    plan.last_legs = plan.legs;
    plan.policy = draw(&state, 0, 2) == 0 || count < 2 ? "nice" : "fifo";
    plan.batch_after = draw(&state, 1000, plan.legs * 6000) * KP_US;
    plan.batch_ms = draw(&state, 200, 900);
    plan.neighbours = draw(&state, 0, KPI_DEMO_LOADS);
    plan.duty = draw(&state, 10, 60);
    /* A control is slow by its own doing in two of three cases: that must not be blamed on the
     * kernel either. */
    uint32_t own = batch ? 0 : run % 3;
    uint32_t size = draw(&state, 4, 8);
    plan.last_legs *= own == 1 ? size : 1;
    plan.last_hold_ms = own == 2 ? size * 80 : 0;
    *out = plan;
}
