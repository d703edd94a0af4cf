/* SPDX-License-Identifier: Apache-2.0
 *
 * A preemption while events are lost: the job that takes the CPU switches between two threads of
 * its own as fast as it can, and the recording is given a small ring and no priority (truth.py).
 * An answer may then name nobody. What it must not do is be sure of something wrong.
 */
#include "incidents/incident.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

static int there[2], back[2];

static void *echo(void *arg)
{
    char byte;
    const struct kpi_order *order = arg;
    kpi_pin((int)order->cpu);
    kpi_fifo(1);
    while (read(there[0], &byte, 1) == 1 && byte != 'q' && write(back[1], &byte, 1) == 1)
        ;
    return NULL;
}

static int64_t process_cpu(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000 * KPI_MS + t.tv_nsec;
}

static void ping_pong(const struct kpi_order *order, struct kpi_report *report)
{
    pthread_t other;
    char byte = 'p';
    kpi_pin((int)order->cpu);
    kpi_fifo(1);
    if (pipe(there) != 0 || pipe(back) != 0 ||
        pthread_create(&other, NULL, echo, (void *)(uintptr_t)order) != 0)
        kpi_die("no threads to switch between");
    kpi_sleep_until(order->at);
    int64_t cpu = process_cpu();
    while (process_cpu() < cpu + order->ns)
        if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
            kpi_die("the pipe broke");
    report->cpu_ns = process_cpu() - cpu;
    if (write(there[1], "q", 1) != 1)
        kpi_die("the pipe broke");
    pthread_join(other, NULL);
    for (int i = 0; i < 2; i++) {
        close(there[i]);
        close(back[i]);
    }
}

static void setup(struct kpi_run *run)
{
    (void)run;
    kpi_job_start("chatty-job", ping_pong);
}

static void arm(struct kpi_run *run)
{
    kpi_job_arm(run, 3000, 5000, 0);
}

static void serve(struct kpi_run *run)
{
    (void)run;
    kpi_burn(6 * KPI_MS);
}

static void settle(struct kpi_run *run)
{
    kpi_job_settle(run, NULL);
}

KPI_INCIDENT(loss) = {
    .name = "loss",
    .about = "preemption while events are being lost",
    .size_min_ms = 60,
    .size_max_ms = 150,
    .setup = setup,
    .arm = arm,
    .serve = serve,
    .settle = settle,
    .teardown = kpi_job_stop,
};
