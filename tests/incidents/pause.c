/* SPDX-License-Identifier: Apache-2.0
 *
 * A process that pauses the service while it computes and lets it go on, by whatever means. The
 * time between the two is taken by its own clock.
 */
#include "incidents/incident.h"

static struct kpi_helper *agent;
static void (*pause_service)(void), (*resume_service)(void);

static void pause_and_resume(const struct kpi_order *order, struct kpi_report *report)
{
    kpi_sleep_until(order->at);
    report->from = kpi_now();
    pause_service();
    kpi_sleep(order->ns);
    resume_service();
    report->to = kpi_now();
}

pid_t kpi_pause_start(const char *comm, void (*pause)(void), void (*resume)(void))
{
    pause_service = pause;
    resume_service = resume;
    agent = kpi_helper_start(comm, pause_and_resume);
    return kpi_helper_pid(agent);
}

void kpi_pause_arm(struct kpi_run *run)
{
    if (!run->fault)
        return;
    struct kpi_order order = {kpi_now() + kpi_draw(run, 2000, 4000) * KPI_US, run->size_ns, 0, 0};
    kpi_helper_order(agent, &order);
    kpi_sleep(500 * KPI_US);
}

void kpi_pause_serve(struct kpi_run *run)
{
    (void)run;
    kpi_burn(5 * KPI_MS);
}

int64_t kpi_pause_took(void)
{
    struct kpi_report report;
    kpi_helper_report(agent, &report);
    return report.to - report.from;
}

void kpi_pause_stop(void)
{
    kpi_helper_stop(agent);
}
