/* SPDX-License-Identifier: Apache-2.0
 *
 * Too many threads of equal priority want the CPU of the service. Truth: the CPU time of those
 * threads during the transaction, all of it on the only CPU the service may use. Whether one
 * stretch of it is called queued or preempted depends on whether the service was waiting or running
 * before it.
 * Pinned: the service binds itself to a CPU where two threads of equal priority are at work, while
 * others are idle. It is not misplaced: it may not go there.
 */
#include "incidents/incident.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 8

static struct kpi_helper *crowd;
static int64_t used;

static void *spin(void *arg)
{
    const struct kpi_order *order = arg;
    kpi_pin((int)order->cpu);
    kpi_sleep_until(order->at);
    kpi_burn_until(order->at + order->ns);
    return NULL;
}

static void spin_all(const struct kpi_order *order, struct kpi_report *report)
{
    pthread_t threads[THREADS_MAX];
    struct kpi_order copy = *order;
    (void)report;
    for (int64_t i = 0; i < order->arg; i++)
        if (pthread_create(&threads[i], NULL, spin, &copy) != 0)
            kpi_die("no thread");
    for (int64_t i = 0; i < order->arg; i++)
        pthread_join(threads[i], NULL);
}

static int64_t crowd_cpu(void)
{
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(kpi_helper_pid(crowd), &clock) != 0 || clock_gettime(clock, &t) != 0)
        kpi_die("no CPU clock of the crowd");
    return (int64_t)t.tv_sec * 1000 * KPI_MS + t.tv_nsec;
}

static void setup(struct kpi_run *run)
{
    (void)run;
    crowd = kpi_helper_start("report-pool", spin_all);
}

static void arm_with(struct kpi_run *run, int64_t threads)
{
    if (run->fault) {
        struct kpi_order order = {kpi_now() + 3 * KPI_MS, run->size_ns, run->cpu, threads};
        kpi_helper_order(crowd, &order);
        kpi_sleep_until(order.at + 2 * KPI_MS);
    }
    used = crowd_cpu();
}

static void arm(struct kpi_run *run)
{
    kpi_pin(run->cpu);
    arm_with(run, kpi_draw(run, 4, THREADS_MAX));
}

static void arm_pinned(struct kpi_run *run)
{
    kpi_pin(-1);
    arm_with(run, 3);
}

static void serve(struct kpi_run *run)
{
    (void)run;
    kpi_burn(8 * KPI_MS);
}

static void serve_pinned(struct kpi_run *run)
{
    if (run->fault)
        kpi_pin(run->cpu);
    kpi_burn(8 * KPI_MS);
}

static void settle(struct kpi_run *run)
{
    struct kpi_report report;
    int64_t now = crowd_cpu();
    if (!run->fault)
        return;
    kpi_helper_report(crowd, &report);
    run->truth = (struct kpi_truth){
        "runnable.queued,runnable.preempted", kpi_helper_pid(crowd), "", now - used, false, NULL};
}

static void teardown(struct kpi_run *run)
{
    (void)run;
    kpi_helper_stop(crowd);
}

static void setup_pinned(struct kpi_run *run)
{
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
        kpi_skip("no CPU is left to be idle");
    setup(run);
}

KPI_INCIDENT(pinned) = {
    .name = "pinned",
    .about = "bound to a busy CPU, another one is idle",
    .size_min_ms = 100,
    .size_max_ms = 200,
    .setup = setup_pinned,
    .arm = arm_pinned,
    .serve = serve_pinned,
    .settle = settle,
    .teardown = teardown,
};

KPI_INCIDENT(crowding) = {
    .name = "crowd",
    .about = "equal-priority threads crowd the run queue",
    .size_min_ms = 150,
    .size_max_ms = 250,
    .setup = setup,
    .arm = arm,
    .serve = serve,
    .settle = settle,
    .teardown = teardown,
};
