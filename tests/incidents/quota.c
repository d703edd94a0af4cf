/* SPDX-License-Identifier: Apache-2.0
 *
 * The CPU quota of the service's control group, or of the one above it, is cut for one
 * transaction. Truth: throttled time as the group's cpu.stat counts it.
 */
#include "incidents/incident.h"

#include <stdio.h>
#include <unistd.h>

#define ROOT "/sys/fs/cgroup/cpu"

static char outer[96], inner[128];
static const char *limited;
static int64_t throttled;

static void setup(struct kpi_run *run)
{
    char pid[24];
    (void)run;
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    snprintf(outer, sizeof(outer), ROOT "/kp-incident-%s", pid);
    snprintf(inner, sizeof(inner), "%s/service", outer);
    kpi_cpu_group_make(outer);
    kpi_cpu_group_make(inner);
    kpi_write_file(pid, "%s/cgroup.procs", inner);
    kpi_sleep(300 * KPI_MS); /* a service lives in its group long before it is throttled */
}

static void arm(struct kpi_run *run)
{
    char quota[24];
    if (!run->fault)
        return;
    limited = kpi_draw(run, 0, 1) != 0 ? outer : inner;
    snprintf(quota, sizeof(quota), "%lld", (long long)kpi_draw(run, 1000, 2000));
    kpi_write_file("50000", "%s/cpu.cfs_period_us", limited);
    kpi_write_file(quota, "%s/cpu.cfs_quota_us", limited);
    throttled = kpi_read_counter("throttled_time ", "%s/cpu.stat", limited);
}

static void serve(struct kpi_run *run)
{
    (void)run;
    kpi_burn(8 * KPI_MS);
}

static void settle(struct kpi_run *run)
{
    if (!run->fault)
        return;
    int64_t now = kpi_read_counter("throttled_time ", "%s/cpu.stat", limited);
    kpi_write_file("-1", "%s/cpu.cfs_quota_us", limited);
    run->truth =
        (struct kpi_truth){"runnable.throttled", 0, "kp-incident", now - throttled, false, NULL};
}

static void teardown(struct kpi_run *run)
{
    char pid[24];
    (void)run;
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    kpi_write_file(pid, ROOT "/cgroup.procs");
    rmdir(inner);
    rmdir(outer);
}

KPI_INCIDENT(quota) = {
    .name = "quota",
    .about = "CPU quota of the own or the enclosing control group",
    .setup = setup,
    .arm = arm,
    .serve = serve,
    .settle = settle,
    .teardown = teardown,
};
