/* SPDX-License-Identifier: Apache-2.0
 *
 * The service reads what another process produces into a pipe, and that one is slow: it computes.
 * It has no spans; only its write shows who it is. Truth: the producer's own CPU time.
 */
#include "incidents/incident.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static struct kpi_helper *producer;
static int asked[2], made[2];
static int64_t took;

static void produce(const struct kpi_order *order, struct kpi_report *report)
{
    int64_t ns;
    (void)order;
    (void)report;
    while (read(asked[0], &ns, sizeof(ns)) == sizeof(ns)) {
        int64_t cpu = kpi_now_cpu();
        kpi_burn(ns);
        cpu = kpi_now_cpu() - cpu;
        if (write(made[1], &cpu, sizeof(cpu)) != sizeof(cpu))
            break;
    }
}

static void setup(struct kpi_run *run)
{
    struct kpi_order order = {0};
    (void)run;
    if (pipe(asked) != 0 || pipe(made) != 0)
        kpi_die("no pipe");
    producer = kpi_helper_start("rates-feed", produce);
    kpi_helper_order(producer, &order);
}

static void serve(struct kpi_run *run)
{
    int64_t ns = KPI_MS + (run->fault ? run->size_ns : 0);
    kpi_burn(KPI_MS);
    if (write(asked[1], &ns, sizeof(ns)) != sizeof(ns) ||
        read(made[0], &took, sizeof(took)) != sizeof(took))
        kpi_die("producer: %s", strerror(errno));
    kpi_burn(KPI_MS);
}

static void settle(struct kpi_run *run)
{
    if (run->fault)
        run->truth = (struct kpi_truth){"running", kpi_helper_pid(producer), "", took, true, NULL};
}

static void teardown(struct kpi_run *run)
{
    (void)run;
    kpi_helper_stop(producer);
}

KPI_INCIDENT(slow_pipe) = {
    .name = "pipe",
    .about = "hand-over through a pipe, slow producer",
    .size_min_ms = 30,
    .size_max_ms = 120,
    .setup = setup,
    .serve = serve,
    .settle = settle,
    .teardown = teardown,
};
