/* SPDX-License-Identifier: Apache-2.0
 *
 * Two causes at once, of like size: a real-time job takes the CPU, and later the service sleeps in
 * the path. Neither may hide the other.
 */
#include "incidents/incident.h"

#include <unistd.h>

static struct kpi_truth slept;

static void setup(struct kpi_run *run)
{
    (void)run;
    kpi_job_start("batch-job", kpi_job_run);
}

static void arm(struct kpi_run *run)
{
    kpi_job_arm(run, 2000, 3000, 0);
}

static void serve(struct kpi_run *run)
{
    kpi_burn(5 * KPI_MS);
    if (run->fault) {
        int64_t from = kpi_now();
        kpi_sleep(run->size_ns * kpi_draw(run, 70, 130) / 100);
        slept = (struct kpi_truth){"timer.sleep", getpid(), "", kpi_now() - from, true, NULL};
    }
    kpi_burn(KPI_MS);
}

static void settle(struct kpi_run *run)
{
    kpi_job_settle(run, &slept);
}

KPI_INCIDENT(both) = {
    .name = "both",
    .about = "a preemption and a sleep of like size",
    .size_min_ms = 40,
    .size_max_ms = 100,
    .setup = setup,
    .arm = arm,
    .serve = serve,
    .settle = settle,
    .teardown = kpi_job_stop,
};
