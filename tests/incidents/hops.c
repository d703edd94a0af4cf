/* SPDX-License-Identifier: Apache-2.0
 *
 * The cause is three hops away: the service waits for a process that waits for a process that
 * waits for a third, and a real-time job takes the CPU of that last one. Pipes between them, no
 * spans. Truth: what that process
 * waited for its CPU, but no more than the CPU time of the job.
 */
#include "incidents/incident.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define HOPS 3

struct hop {
    int asked[2], answered[2];
};

static struct hop hops[HOPS];
static struct kpi_helper *helpers[HOPS], *job;
static int64_t waited; /* by the last one, for its CPU */

static int64_t ask(struct hop *hop, int64_t cpu)
{
    int64_t answer;
    if (write(hop->asked[1], &cpu, sizeof(cpu)) != sizeof(cpu) ||
        read(hop->answered[0], &answer, sizeof(answer)) != sizeof(answer))
        kpi_die("hop: %s", strerror(errno));
    return answer;
}

/* Order's arg is the number of the hop; the last one works on the CPU it is asked to. */
static void pass_on(const struct kpi_order *order, struct kpi_report *report)
{
    struct hop *own = &hops[order->arg];
    int64_t cpu;
    (void)report;
    while (read(own->asked[0], &cpu, sizeof(cpu)) == sizeof(cpu)) {
        if (order->arg + 1 < HOPS) {
            kpi_burn(200 * KPI_US);
            cpu = ask(&hops[order->arg + 1], cpu);
        } else {
            kpi_pin((int)cpu);
            int64_t before = kpi_now_waited(gettid());
            kpi_burn(5 * KPI_MS);
            cpu = kpi_now_waited(gettid()) - before; /* goes back as the answer */
        }
        if (write(own->answered[1], &cpu, sizeof(cpu)) != sizeof(cpu))
            break;
    }
}

static void setup(struct kpi_run *run)
{
    static const char *const names[HOPS] = {"gateway", "router", "ledger"};
    (void)run;
    for (int i = 0; i < HOPS; i++)
        if (pipe(hops[i].asked) != 0 || pipe(hops[i].answered) != 0)
            kpi_die("no pipe");
    for (int i = 0; i < HOPS; i++) {
        struct kpi_order order = {.arg = i};
        helpers[i] = kpi_helper_start(names[i], pass_on);
        kpi_helper_order(helpers[i], &order);
    }
    job = kpi_helper_start("batch-job", kpi_job_run);
}

static void arm(struct kpi_run *run)
{
    if (!run->fault)
        return;
    struct kpi_order order = {kpi_now() + 3 * KPI_MS, run->size_ns, run->cpu, 0};
    kpi_helper_order(job, &order);
    kpi_sleep_until(order.at - KPI_MS);
}

static void serve(struct kpi_run *run)
{
    kpi_burn(200 * KPI_US);
    waited = ask(&hops[0], run->cpu);
}

static void settle(struct kpi_run *run)
{
    struct kpi_report report;
    if (!run->fault)
        return;
    kpi_helper_report(job, &report);
    int64_t ns = waited < report.cpu_ns ? waited : report.cpu_ns;
    run->truth = (struct kpi_truth){"runnable.preempted", kpi_helper_pid(job), "", ns, false, NULL};
}

static void teardown(struct kpi_run *run)
{
    (void)run;
    for (int i = 0; i < HOPS; i++)
        kpi_helper_stop(helpers[i]);
    kpi_helper_stop(job);
}

KPI_INCIDENT(three_hops) = {
    .name = "hops",
    .about = "a job takes the CPU of a process three hops away",
    .size_min_ms = 40,
    .size_max_ms = 150,
    .setup = setup,
    .arm = arm,
    .serve = serve,
    .settle = settle,
    .teardown = teardown,
};
