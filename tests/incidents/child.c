/* SPDX-License-Identifier: Apache-2.0
 *
 * The service starts a program and waits for its end; the program computes for long. Truth: the
 * CPU time of that child, as the kernel accounts it to the parent that waited.
 */
#include "incidents/incident.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t child;
static int64_t took;

static int64_t cpu_of(const struct rusage *usage)
{
    return ((int64_t)usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1000 * KPI_MS +
           ((int64_t)usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) * KPI_US;
}

static void serve(struct kpi_run *run)
{
    struct rusage usage;
    int64_t ns = KPI_MS + (run->fault ? run->size_ns : 0);
    child = fork();
    if (child < 0)
        kpi_die("no child: %s", strerror(errno));
    if (child == 0) {
        kpi_burn(ns);
        _exit(0);
    }
    while (wait4(child, NULL, 0, &usage) < 0)
        if (errno != EINTR)
            kpi_die("wait: %s", strerror(errno));
    took = cpu_of(&usage);
}

static void settle(struct kpi_run *run)
{
    if (run->fault)
        run->truth = (struct kpi_truth){"running", child, "", took, true, NULL};
}

KPI_INCIDENT(child_process) = {
    .name = "child",
    .about = "a child process that is waited for computes",
    .size_min_ms = 30,
    .size_max_ms = 120,
    .serve = serve,
    .settle = settle,
};
