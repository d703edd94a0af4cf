/* SPDX-License-Identifier: Apache-2.0
 *
 * Another process freezes the service's control group, as a backup or a pause of a container does,
 * and thaws it. Truth: the time between the two, by that process's clock.
 */
#include "incidents/incident.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROOT "/sys/fs/cgroup/freezer"

static char group[96];
static struct kpi_helper *agent;

static void freeze_and_thaw(const struct kpi_order *order, struct kpi_report *report)
{
    kpi_sleep_until(order->at);
    report->from = kpi_now();
    kpi_write_file("FROZEN", "%s/freezer.state", group);
    kpi_sleep(order->ns);
    kpi_write_file("THAWED", "%s/freezer.state", group);
    report->to = kpi_now();
}

static void setup(struct kpi_run *run)
{
    char pid[24];
    (void)run;
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    snprintf(group, sizeof(group), ROOT "/kp-incident-%s", pid);
    if (access(ROOT "/cgroup.procs", W_OK) != 0)
        kpi_skip("no freezer of control groups at %s", ROOT);
    if (mkdir(group, 0755) != 0)
        kpi_die("no control group %s: %s", group, strerror(errno));
    agent = kpi_helper_start("pause-agent", freeze_and_thaw); /* stays outside */
    kpi_write_file(pid, "%s/cgroup.procs", group);
}

static void arm(struct kpi_run *run)
{
    if (!run->fault)
        return;
    struct kpi_order order = {kpi_now() + kpi_draw(run, 2000, 4000) * KPI_US, run->size_ns, 0, 0};
    kpi_helper_order(agent, &order);
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
    kpi_helper_report(agent, &report);
    run->truth = (struct kpi_truth){"frozen", 0, "", report.to - report.from, false, NULL};
}

static void teardown(struct kpi_run *run)
{
    char pid[24];
    (void)run;
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    kpi_write_file(pid, ROOT "/cgroup.procs");
    kpi_helper_stop(agent);
    rmdir(group);
}

KPI_INCIDENT(freeze) = {
    .name = "freeze",
    .about = "the control group is frozen and thawed by another process",
    .size_min_ms = 40,
    .size_max_ms = 150,
    .setup = setup,
    .arm = arm,
    .serve = serve,
    .settle = settle,
    .teardown = teardown,
};
