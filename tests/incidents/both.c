/* SPDX-License-Identifier: Apache-2.0
 *
 * Two causes at once, of like size: a real-time job takes the CPU, and later the service sleeps in
 * the path. Neither may hide the other.
 */
#include "incidents/incident.h"

#include <unistd.h>

static struct kpi_helper *job;
static struct kpi_truth slept;

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
    struct kpi_order order = {kpi_now() + kpi_draw(run, 2000, 3000) * KPI_US, run->size_ns,
                              run->cpu, 0};
    kpi_helper_order(job, &order);
    kpi_sleep(500 * KPI_US);
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
    struct kpi_report report;
    if (!run->fault)
        return;
    kpi_helper_report(job, &report);
    run->truth = (struct kpi_truth){
        "runnable.preempted", kpi_helper_pid(job), "", report.cpu_ns, false, &slept};
}

static void teardown(struct kpi_run *run)
{
    (void)run;
    kpi_helper_stop(job);
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
    .teardown = teardown,
};
