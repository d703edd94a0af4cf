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

static void freeze_group(void)
{
    kpi_write_file("FROZEN", "%s/freezer.state", group);
}

static void thaw_group(void)
{
    kpi_write_file("THAWED", "%s/freezer.state", group);
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
    kpi_pause_start("pause-agent", freeze_group, thaw_group); /* stays outside */
    kpi_write_file(pid, "%s/cgroup.procs", group);
}

static void settle(struct kpi_run *run)
{
    if (run->fault)
        run->truth = (struct kpi_truth){"frozen", 0, "", kpi_pause_took(), false, NULL};
}

static void teardown(struct kpi_run *run)
{
    char pid[24];
    (void)run;
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    kpi_write_file(pid, ROOT "/cgroup.procs");
    kpi_pause_stop();
    rmdir(group);
}

KPI_INCIDENT(freeze) = {
    .name = "freeze",
    .about = "the control group is frozen and thawed by another process",
    .size_min_ms = 40,
    .size_max_ms = 150,
    .setup = setup,
    .arm = kpi_pause_arm,
    .serve = kpi_pause_serve,
    .settle = settle,
    .teardown = teardown,
};
