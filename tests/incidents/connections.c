/* SPDX-License-Identifier: Apache-2.0
 *
 * A pool of two connections that several processes share: a semaphore in shared memory. Both are
 * taken by neighbours; the one that computes for less time gives its back first, and that is what
 * the service waited for. Truth: that neighbour's CPU time during the wait.
 */
#include "incidents/incident.h"

#include <semaphore.h>
#include <sys/mman.h>
#include <unistd.h>

#define POOL 2

static sem_t *pool;
static struct kpi_helper *users[POOL];
static int64_t waited_from, waited_to;

static void use_connection(const struct kpi_order *order, struct kpi_report *report)
{
    kpi_pin((int)order->cpu);
    sem_wait(pool);
    kpi_sleep_until(order->at);
    report->from = kpi_now();
    int64_t cpu = kpi_now_cpu();
    kpi_burn(order->ns);
    report->cpu_ns = kpi_now_cpu() - cpu;
    report->to = kpi_now();
    sem_post(pool);
}

static void setup(struct kpi_run *run)
{
    (void)run;
    if (sysconf(_SC_NPROCESSORS_ONLN) < POOL)
        kpi_skip("each user of the pool needs a CPU");
    pool = mmap(NULL, sizeof(*pool), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (pool == MAP_FAILED || sem_init(pool, 1, POOL) != 0)
        kpi_die("no shared semaphore");
    users[0] = kpi_helper_start("web-1", use_connection);
    users[1] = kpi_helper_start("web-2", use_connection);
}

static void arm(struct kpi_run *run)
{
    if (!run->fault)
        return;
    int64_t at = kpi_now() + 2 * KPI_MS;
    int sooner = (int)kpi_draw(run, 0, 1);
    for (int i = 0; i < POOL; i++) {
        int64_t ns = i == sooner ? run->size_ns : run->size_ns + 40 * KPI_MS;
        struct kpi_order order = {at, ns, (run->cpu + i) % 2, 0};
        kpi_helper_order(users[i], &order);
    }
    kpi_sleep_until(at - KPI_MS);
}

static void serve(struct kpi_run *run)
{
    (void)run;
    kpi_burn(KPI_MS);
    waited_from = kpi_now();
    sem_wait(pool);
    waited_to = kpi_now();
    kpi_burn(KPI_MS);
    sem_post(pool);
}

static void settle(struct kpi_run *run)
{
    struct kpi_report reports[POOL];
    if (!run->fault)
        return;
    for (int i = 0; i < POOL; i++)
        kpi_helper_report(users[i], &reports[i]);
    int first = reports[0].to <= reports[1].to ? 0 : 1;
    const struct kpi_report *report = &reports[first];
    int64_t from = waited_from > report->from ? waited_from : report->from;
    int64_t to = waited_to < report->to ? waited_to : report->to;
    int64_t ns = to - from < report->cpu_ns ? to - from : report->cpu_ns;
    run->truth = (struct kpi_truth){"running", kpi_helper_pid(users[first]), "", ns, true, NULL};
}

static void teardown(struct kpi_run *run)
{
    (void)run;
    for (int i = 0; i < POOL; i++)
        kpi_helper_stop(users[i]);
}

KPI_INCIDENT(connections) = {
    .name = "connections",
    .about = "other processes hold all connections of a pool",
    .size_min_ms = 40,
    .size_max_ms = 120,
    .setup = setup,
    .arm = arm,
    .serve = serve,
    .settle = settle,
    .teardown = teardown,
};
