/* SPDX-License-Identifier: Apache-2.0
 *
 * Another process stops the service with SIGSTOP and lets it go on with SIGCONT. Truth: the time
 * between the two, by the sender's clock.
 */
#include "incidents/incident.h"

#include <signal.h>
#include <unistd.h>

static pid_t service, sender;

static void stop_service(void)
{
    kill(service, SIGSTOP);
}

static void continue_service(void)
{
    kill(service, SIGCONT);
}

static void setup(struct kpi_run *run)
{
    (void)run;
    service = getpid();
    sender = kpi_pause_start("debug-tool", stop_service, continue_service);
}

static void settle(struct kpi_run *run)
{
    if (run->fault)
        run->truth = (struct kpi_truth){"stopped", sender, "", kpi_pause_took(), false, NULL};
}

static void teardown(struct kpi_run *run)
{
    (void)run;
    kpi_pause_stop();
}

KPI_INCIDENT(stop) = {
    .name = "stop",
    .about = "SIGSTOP and SIGCONT from another process",
    .size_min_ms = 40,
    .size_max_ms = 150,
    .setup = setup,
    .arm = kpi_pause_arm,
    .serve = kpi_pause_serve,
    .settle = settle,
    .teardown = teardown,
};
