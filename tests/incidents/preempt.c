/* SPDX-License-Identifier: Apache-2.0
 *
 * A real-time job takes the CPU from the service in the middle of its work. Truth: the CPU time
 * that job used, all of it while the service had nowhere else to run.
 */
#include "incidents/incident.h"

static void setup(struct kpi_run *run)
{
    (void)run;
    kpi_job_start("batch-job", kpi_job_run);
}

static void arm(struct kpi_run *run)
{
    kpi_job_arm(run, 2000, 4000, 0);
}

static void serve(struct kpi_run *run)
{
    (void)run;
    kpi_burn(6 * KPI_MS);
}

static void settle(struct kpi_run *run)
{
    kpi_job_settle(run, NULL);
}

KPI_INCIDENT(preempt) = {
    .name = "preempt",
    .about = "a higher-priority job takes the CPU",
    .size_min_ms = 40,
    .size_max_ms = 150,
    .setup = setup,
    .arm = arm,
    .serve = serve,
    .settle = settle,
    .teardown = kpi_job_stop,
};
