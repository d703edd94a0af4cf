/* SPDX-License-Identifier: Apache-2.0
 *
 * A job that takes the CPU from the service: a process of its own that gets its orders before the
 * transaction and acts in the middle of it. Truth: the CPU time it used, all of it while the
 * service had nowhere else to run.
 */
#include "incidents/incident.h"

static struct kpi_helper *job;

void kpi_job_run(const struct kpi_order *order, struct kpi_report *report)
{
    kpi_pin((int)order->cpu);
    kpi_fifo(1);
    kpi_sleep_until(order->at);
    int64_t cpu = kpi_now_cpu();
    kpi_burn(order->ns);
    report->cpu_ns = kpi_now_cpu() - cpu;
}

void kpi_job_start(const char *comm, kpi_helper_fn fn)
{
    job = kpi_helper_start(comm, fn);
}

void kpi_job_arm(struct kpi_run *run, int64_t least_us, int64_t most_us, int64_t arg)
{
    kpi_pin(run->cpu);
    if (!run->fault)
        return;
    struct kpi_order order = {kpi_now() + kpi_draw(run, least_us, most_us) * KPI_US, run->size_ns,
                              run->cpu, arg};
    kpi_helper_order(job, &order);
    kpi_sleep(500 * KPI_US);
}

void kpi_job_settle(struct kpi_run *run, const struct kpi_truth *also)
{
    struct kpi_report report;
    if (!run->fault)
        return;
    kpi_helper_report(job, &report);
    run->truth = (struct kpi_truth){
        "runnable.preempted", kpi_helper_pid(job), "", report.cpu_ns, false, also};
}

void kpi_job_stop(struct kpi_run *run)
{
    (void)run;
    kpi_helper_stop(job);
}
