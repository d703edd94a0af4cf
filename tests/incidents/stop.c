/* SPDX-License-Identifier: Apache-2.0
 *
 * Another process stops the service with SIGSTOP and lets it go on with SIGCONT. Truth: the time
 * between the two, by the sender's clock.
 */
#include "incidents/incident.h"

#include <signal.h>
#include <unistd.h>

static struct kpi_helper *sender;

static void stop_and_go(const struct kpi_order *order, struct kpi_report *report)
{
    kpi_sleep_until(order->at);
    report->from = kpi_now();
    kill((pid_t)order->arg, SIGSTOP);
    kpi_sleep(order->ns);
    kill((pid_t)order->arg, SIGCONT);
    report->to = kpi_now();
}

static void setup(struct kpi_run *run)
{
    (void)run;
    sender = kpi_helper_start("debug-tool", stop_and_go);
}

static void arm(struct kpi_run *run)
{
    if (!run->fault)
        return;
    struct kpi_order order = {kpi_now() + kpi_draw(run, 2000, 4000) * KPI_US, run->size_ns, 0,
                              getpid()};
    kpi_helper_order(sender, &order);
    kpi_sleep(500 * KPI_US);
}

static void serve(struct kpi_run *run)
{
    (void)run;
    kpi_burn(5 * KPI_MS);
}

static void settle(struct kpi_run *run)
{
    struct kpi_report report;
    if (!run->fault)
        return;
    kpi_helper_report(sender, &report);
    run->truth = (struct kpi_truth){
        "stopped", kpi_helper_pid(sender), "", report.to - report.from, false, NULL};
}

static void teardown(struct kpi_run *run)
{
    (void)run;
    kpi_helper_stop(sender);
}

KPI_INCIDENT(stop) = {
    .name = "stop",
    .about = "SIGSTOP and SIGCONT from another process",
    .size_min_ms = 40,
    .size_max_ms = 150,
    .setup = setup,
    .arm = arm,
    .serve = serve,
    .settle = settle,
    .teardown = teardown,
};
