/* SPDX-License-Identifier: Apache-2.0
 *
 * A real-time job takes the CPU from the service in the middle of its work. Truth: the CPU time
 * that job used, all of it while the service had nowhere else to run.
 */
#include "incidents/incident.h"

static struct kpi_helper *job;

static void setup(struct kpi_run *run)
{
    (void)run;
    job = kpi_helper_start("batch-job", kpi_fifo_job);
}

static void arm(struct kpi_run *run)
{
    kpi_pin(run->cpu);
    if (!run->fault)
        return;
    struct kpi_order order = {kpi_now() + kpi_draw(run, 2000, 4000) * KPI_US, run->size_ns,
                              run->cpu, 0};
    kpi_helper_order(job, &order);
    kpi_sleep(500 * KPI_US);
}

static void serve(struct kpi_run *run)
{
    (void)run;
    kpi_burn(6 * KPI_MS);
}

static void settle(struct kpi_run *run)
{
    struct kpi_report report;
    if (!run->fault)
        return;
    kpi_helper_report(job, &report);
    run->truth = (struct kpi_truth){
        "runnable.preempted", kpi_helper_pid(job), "", report.cpu_ns, false, NULL};
}

static void teardown(struct kpi_run *run)
{
    (void)run;
    kpi_helper_stop(job);
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
    .teardown = teardown,
};
