/* SPDX-License-Identifier: Apache-2.0
 *
 * The wall clock is set some milliseconds forth or back in the middle of a transaction, while a
 * real-time job has its CPU, and set right again when it is over. Spans carry the wall clock, so
 * the transaction seems longer or shorter than it was. Truth: the CPU time of the job, as for
 * `preempt`; the wall time is that of the monotonic clock.
 */
#include "incidents/incident.h"

#include <errno.h>
#include <string.h>
#include <time.h>

static int64_t off; /* by how much the wall clock is wrong now */

static void clock_shift(int64_t ns)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t = kpi_time((int64_t)t.tv_sec * 1000 * KPI_MS + t.tv_nsec + ns);
    if (clock_settime(CLOCK_REALTIME, &t) != 0)
        kpi_skip("the clock cannot be set: %s", strerror(errno));
}

static void hog(const struct kpi_order *order, struct kpi_report *report)
{
    kpi_pin((int)order->cpu);
    kpi_fifo(1);
    kpi_sleep_until(order->at);
    int64_t cpu = kpi_now_cpu();
    kpi_burn(order->ns / 2);
    clock_shift(order->arg);
    kpi_burn(order->ns / 2);
    report->cpu_ns = kpi_now_cpu() - cpu;
}

static void setup(struct kpi_run *run)
{
    (void)run;
    clock_shift(0);
    kpi_job_start("batch-job", hog);
}

static void arm(struct kpi_run *run)
{
    if (run->fault)
        off = kpi_draw(run, 3, 12) * KPI_MS * (kpi_draw(run, 0, 1) != 0 ? 1 : -1);
    kpi_job_arm(run, 2000, 4000, off);
}

static void serve(struct kpi_run *run)
{
    (void)run;
    kpi_burn(6 * KPI_MS);
}

static void settle(struct kpi_run *run)
{
    if (!run->fault)
        return;
    kpi_job_settle(run, NULL);
    kpi_sleep(20 * KPI_MS);
    clock_shift(-off);
}

KPI_INCIDENT(clock_step) = {
    .name = "clock-step",
    .about = "the wall clock is set while the CPU is taken",
    .size_min_ms = 40,
    .size_max_ms = 150,
    .setup = setup,
    .arm = arm,
    .serve = serve,
    .settle = settle,
    .teardown = kpi_job_stop,
};
