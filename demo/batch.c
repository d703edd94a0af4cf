/* SPDX-License-Identifier: Apache-2.0
 *
 * The batch job: hashes account statements on one CPU for as long as it is told, at a priority
 * above the services that share the CPU. That is the fault the demo injects.
 *
 *   run MS   ->   ran WALL_NS CPU_NS
 *
 * Policy fifo is SCHED_FIFO 1, nice is nice -20, other changes nothing. Bursts stay below 950 ms,
 * the share the kernel leaves to real-time threads in each second.
 */
#include "demo/common.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* A kernel with real-time group scheduling refuses SCHED_FIFO outside the root group: then nice. */
static const char *set_policy(const char *policy)
{
    struct sched_param param = {.sched_priority = 1};
    if (strcmp(policy, "fifo") == 0 && sched_setscheduler(0, SCHED_FIFO, &param) == 0)
        return "fifo";
    if (strcmp(policy, "other") != 0 && setpriority(PRIO_PROCESS, 0, -20) == 0)
        return "nice";
    return "other";
}

static int64_t cpu_time(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000 * KPI_MS + t.tv_nsec;
}

static void run(int64_t ms)
{
    int64_t start = kpi_now_mono(), cpu = cpu_time();
    uint64_t hash = 1;
    while (kpi_now_mono() - start < ms * KPI_MS)
        hash = kpi_work(20000, hash);
    printf("ran %lld %lld\n", (long long)(kpi_now_mono() - start), (long long)(cpu_time() - cpu));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct kpi_options options;
    char line[64];
    kpi_start(&options, "batch-job", argc, argv);
    const char *policy = set_policy(options.policy == NULL ? "fifo" : options.policy);
    printf("ready %s\n", policy);
    fflush(stdout);
    kpi_unblock_stop();
    while (fgets(line, sizeof(line), stdin) != NULL) {
        long long ms;
        if (sscanf(line, "run %lld", &ms) == 1 && ms > 0)
            run(ms);
        else
            fprintf(stderr, "batch-job: not understood: %s", line);
    }
    return 0;
}
