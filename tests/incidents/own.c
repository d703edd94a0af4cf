/* SPDX-License-Identifier: Apache-2.0
 *
 * Faults of the application itself: it computes for long, it sleeps in the path, it waits for a
 * file descriptor, a semaphore or a condition until its time limit. And no fault at all. The kernel
 * is innocent in all four.
 */
#include "incidents/incident.h"

#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static int64_t took;
static int never[2]; /* a pipe that nobody writes to */
static sem_t nobody_posts;

static void setup_pipe(struct kpi_run *run)
{
    (void)run;
    if (pipe(never) != 0)
        kpi_die("no pipe");
}

static void serve_cpu(struct kpi_run *run)
{
    int64_t cpu = kpi_now_cpu();
    kpi_burn(2 * KPI_MS);
    if (run->fault)
        kpi_burn(run->size_ns);
    took = kpi_now_cpu() - cpu;
}

static void serve_sleep(struct kpi_run *run)
{
    kpi_burn(2 * KPI_MS);
    int64_t from = kpi_now();
    if (run->fault)
        kpi_sleep(run->size_ns);
    took = kpi_now() - from;
    kpi_burn(KPI_MS);
}

static void wait_poll(int64_t ns)
{
    struct pollfd wait = {.fd = never[0], .events = POLLIN};
    poll(&wait, 1, (int)(ns / KPI_MS));
}

static void wait_semaphore(int64_t ns)
{
    struct timespec until = kpi_time(kpi_now() + ns);
    sem_clockwait(&nobody_posts, CLOCK_MONOTONIC, &until);
}

static void wait_condition(int64_t ns)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
    struct timespec until = kpi_time(kpi_now() + ns);
    pthread_mutex_lock(&mutex);
    while (pthread_cond_clockwait(&condition, &mutex, CLOCK_MONOTONIC, &until) == 0)
        ;
    pthread_mutex_unlock(&mutex);
}

static void serve_timeout(struct kpi_run *run)
{
    static void (*const waits[])(int64_t) = {wait_poll, wait_semaphore, wait_condition};
    kpi_burn(2 * KPI_MS);
    int64_t from = kpi_now();
    if (run->fault)
        waits[kpi_draw(run, 0, 2)](run->size_ns);
    took = kpi_now() - from;
    kpi_burn(KPI_MS);
}

static void serve_nothing(struct kpi_run *run)
{
    (void)run;
    kpi_burn(3 * KPI_MS);
}

static void settle_kind(struct kpi_run *run, const char *kinds)
{
    if (run->fault)
        run->truth = (struct kpi_truth){kinds, getpid(), "", took, true, NULL};
}

static void settle_cpu(struct kpi_run *run)
{
    settle_kind(run, "running");
}

static void settle_sleep(struct kpi_run *run)
{
    settle_kind(run, "timer.sleep");
}

static void settle_timeout(struct kpi_run *run)
{
    settle_kind(run, "timer.timeout");
}

static void settle_nothing(struct kpi_run *run)
{
    if (run->fault)
        run->truth = (struct kpi_truth){"", 0, "", 0, false, NULL};
}

KPI_INCIDENT(own_cpu) = {
    .name = "own-cpu",
    .about = "the service computes for long",
    .size_min_ms = 30,
    .size_max_ms = 120,
    .serve = serve_cpu,
    .settle = settle_cpu,
};

KPI_INCIDENT(own_sleep) = {
    .name = "own-sleep",
    .about = "the service sleeps in the path",
    .size_min_ms = 30,
    .size_max_ms = 120,
    .serve = serve_sleep,
    .settle = settle_sleep,
};

KPI_INCIDENT(own_timeout) = {
    .name = "own-timeout",
    .about = "a time limit runs out, nobody was late",
    .size_min_ms = 30,
    .size_max_ms = 120,
    .setup = setup_pipe,
    .serve = serve_timeout,
    .settle = settle_timeout,
};

KPI_INCIDENT(control) = {
    .name = "control",
    .about = "no fault: no root may be named",
    .serve = serve_nothing,
    .settle = settle_nothing,
};
