/* SPDX-License-Identifier: Apache-2.0
 *
 * A mutex of the service. Convoy: three other threads hold it one after the other, each for a
 * while, before the transaction gets it; the truth is the time the transaction waited for it less
 * what its holders waited for a CPU.
 * Inversion: one thread holds it shortly, but a real-time job takes its CPU meanwhile; the truth
 * is the CPU time of that job. The same with a mutex that gives its holder the priority of who
 * waits for it: the job outranks that too. Throttled: the CPU quota of the holder's control group
 * runs out; the truth is throttled_time.
 */
#include "incidents/incident.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HOLDERS 3

static struct holder {
    pthread_t thread;
    int64_t at, ns;
    int64_t queued; /* of its time with the mutex, waiting for a CPU */
    int cpu;
} holders[HOLDERS];

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static bool inherits; /* its holder gets the priority of who waits */
static struct kpi_helper *job;
static int started;
static int64_t waited;

static void *hold(void *arg)
{
    struct holder *holder = arg;
    kpi_pin(holder->cpu);
    kpi_sleep_until(holder->at);
    pthread_mutex_lock(&mutex);
    int64_t queued = kpi_now_waited(gettid());
    kpi_burn(holder->ns);
    holder->queued = kpi_now_waited(gettid()) - queued;
    pthread_mutex_unlock(&mutex);
    return NULL;
}

static void holders_start(int count, int64_t at, int64_t ns, int cpu)
{
    for (started = 0; started < count; started++) {
        holders[started].at = at + started * 300 * KPI_US;
        holders[started].ns = ns;
        holders[started].cpu = cpu;
        if (pthread_create(&holders[started].thread, NULL, hold, &holders[started]) != 0)
            kpi_die("no thread");
    }
}

static void serve(struct kpi_run *run)
{
    (void)run;
    kpi_burn(KPI_MS);
    int64_t from = kpi_now();
    pthread_mutex_lock(&mutex);
    waited = kpi_now() - from;
    kpi_burn(KPI_MS);
    pthread_mutex_unlock(&mutex);
}

static void arm_convoy(struct kpi_run *run)
{
    started = 0;
    if (!run->fault)
        return;
    int64_t at = kpi_now() + 2 * KPI_MS;
    holders_start(HOLDERS, at, run->size_ns / HOLDERS, -1);
    kpi_sleep_until(at + HOLDERS * 300 * KPI_US);
}

static void settle_convoy(struct kpi_run *run)
{
    for (int i = 0; i < started; i++) {
        pthread_join(holders[i].thread, NULL);
        waited -= holders[i].queued;
    }
    if (run->fault)
        run->truth = (struct kpi_truth){"lock", getpid(), "futex", waited, false, NULL};
}

static void hog(const struct kpi_order *order, struct kpi_report *report)
{
    kpi_pin((int)order->cpu);
    kpi_fifo((int)order->arg);
    kpi_sleep_until(order->at);
    int64_t cpu = kpi_now_cpu();
    kpi_burn(order->ns);
    report->cpu_ns = kpi_now_cpu() - cpu;
}

static void setup_inversion(struct kpi_run *run)
{
    (void)run;
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
        kpi_skip("the holder needs a CPU of its own");
    job = kpi_helper_start("batch-job", hog);
}

static void arm_inversion(struct kpi_run *run)
{
    started = 0;
    kpi_pin(run->cpu == 0 ? 1 : 0);
    if (!run->fault)
        return;
    struct kpi_order order = {kpi_now() + 4 * KPI_MS, run->size_ns, run->cpu, inherits ? 3 : 1};
    kpi_helper_order(job, &order);
    holders_start(1, order.at - 2 * KPI_MS, 5 * KPI_MS, run->cpu);
    kpi_sleep_until(order.at - KPI_MS);
}

static void settle_inversion(struct kpi_run *run)
{
    struct kpi_report report;
    for (int i = 0; i < started; i++)
        pthread_join(holders[i].thread, NULL);
    if (!run->fault)
        return;
    kpi_helper_report(job, &report);
    run->truth = (struct kpi_truth){
        "runnable.preempted", kpi_helper_pid(job), "", report.cpu_ns, false, NULL};
}

static void teardown_inversion(struct kpi_run *run)
{
    (void)run;
    kpi_helper_stop(job);
}

static void setup_inherit(struct kpi_run *run)
{
    pthread_mutexattr_t attr;
    setup_inversion(run);
    inherits = true;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
    pthread_mutex_init(&mutex, &attr);
    kpi_fifo(2);
}

#define GROUPS "/sys/fs/cgroup/cpu"

static char group[96];
static sem_t holding;
static int64_t throttled;

static void *hold_throttled(void *arg)
{
    struct holder *holder = arg;
    char tid[24];
    snprintf(tid, sizeof(tid), "%d", (int)gettid());
    kpi_write_file(tid, "%s/tasks", group);
    kpi_pin(holder->cpu);
    pthread_mutex_lock(&mutex);
    sem_post(&holding);
    kpi_burn(holder->ns);
    pthread_mutex_unlock(&mutex);
    return NULL;
}

static void setup_throttled(struct kpi_run *run)
{
    (void)run;
    if (access(GROUPS "/cgroup.procs", W_OK) != 0)
        kpi_skip("no cpu controller (v1) here");
    snprintf(group, sizeof(group), GROUPS "/kp-incident-%d", (int)getpid());
    if (sem_init(&holding, 0, 0) != 0)
        kpi_die("no semaphore");
    kpi_cpu_group_make(group);
    kpi_write_file("50000", "%s/cpu.cfs_period_us", group);
    kpi_write_file("3000", "%s/cpu.cfs_quota_us", group);
    kpi_sleep(300 * KPI_MS); /* the group is known long before it matters */
}

static void arm_throttled(struct kpi_run *run)
{
    started = 0;
    if (!run->fault)
        return;
    throttled = kpi_read_counter("throttled_time ", "%s/cpu.stat", group);
    holders[0] = (struct holder){.ns = run->size_ns, .cpu = -1};
    if (pthread_create(&holders[0].thread, NULL, hold_throttled, &holders[0]) != 0)
        kpi_die("no thread");
    started = 1;
    sem_wait(&holding);
}

static void settle_throttled(struct kpi_run *run)
{
    if (!run->fault)
        return;
    pthread_join(holders[0].thread, NULL);
    int64_t now = kpi_read_counter("throttled_time ", "%s/cpu.stat", group);
    run->truth =
        (struct kpi_truth){"runnable.throttled", 0, "kp-incident", now - throttled, false, NULL};
}

static void teardown_throttled(struct kpi_run *run)
{
    (void)run;
    rmdir(group);
}

KPI_INCIDENT(holder_throttled) = {
    .name = "held-quota",
    .about = "the holder of a mutex has used up its quota",
    .size_min_ms = 8,
    .size_max_ms = 16,
    .setup = setup_throttled,
    .arm = arm_throttled,
    .serve = serve,
    .settle = settle_throttled,
    .teardown = teardown_throttled,
};

KPI_INCIDENT(inherit) = {
    .name = "inherit",
    .about = "the boosted holder of a mutex loses its CPU",
    .size_min_ms = 40,
    .size_max_ms = 150,
    .setup = setup_inherit,
    .arm = arm_inversion,
    .serve = serve,
    .settle = settle_inversion,
    .teardown = teardown_inversion,
};

KPI_INCIDENT(convoy) = {
    .name = "convoy",
    .about = "a mutex held by three threads in turn",
    .size_min_ms = 45,
    .size_max_ms = 120,
    .arm = arm_convoy,
    .serve = serve,
    .settle = settle_convoy,
};

KPI_INCIDENT(inversion) = {
    .name = "inversion",
    .about = "the holder of a mutex loses its CPU",
    .size_min_ms = 40,
    .size_max_ms = 150,
    .setup = setup_inversion,
    .arm = arm_inversion,
    .serve = serve,
    .settle = settle_inversion,
    .teardown = teardown_inversion,
};
