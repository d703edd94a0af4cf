/* SPDX-License-Identifier: Apache-2.0
 *
 * An exhausted worker pool: the service hands its work to the one worker thread there is, and that
 * one is busy with the work of other transactions, which have spans of their own. Truth: the CPU
 * time the worker spent on them while the transaction waited. An application's fault: the kernel
 * did as it was told.
 */
#include "incidents/incident.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <unistd.h>

static pthread_t worker;
static sem_t work, done;
static int64_t queue[2]; /* CPU time of the work in it: of others, then of the transaction */
static int64_t others_took;
static bool stopping;

static void *serve_queue(void *arg)
{
    (void)arg;
    while (sem_wait(&work) == 0 && !stopping) {
        int64_t cpu = kpi_now_cpu();
        if (queue[0] > 0) {
            struct kpi_span *span = kpi_span_begin("other", INT64_C(1) << 40, "", "payments",
                                                   "GET /report", KPI_SPAN_SERVER);
            kpi_burn(queue[0]);
            kpi_span_end(span);
        }
        others_took = kpi_now_cpu() - cpu;
        kpi_burn(queue[1]);
        sem_post(&done);
    }
    return NULL;
}

static void setup(struct kpi_run *run)
{
    (void)run;
    if (sem_init(&work, 0, 0) != 0 || sem_init(&done, 0, 0) != 0 ||
        pthread_create(&worker, NULL, serve_queue, NULL) != 0)
        kpi_die("no worker");
}

static void serve(struct kpi_run *run)
{
    kpi_burn(KPI_MS);
    queue[0] = run->fault ? run->size_ns : 0;
    queue[1] = KPI_MS;
    sem_post(&work);
    sem_wait(&done);
}

static void settle(struct kpi_run *run)
{
    if (run->fault)
        run->truth = (struct kpi_truth){"running", getpid(), "", others_took, true, NULL};
}

static void teardown(struct kpi_run *run)
{
    (void)run;
    stopping = true;
    sem_post(&work);
    pthread_join(worker, NULL);
}

KPI_INCIDENT(pool) = {
    .name = "pool",
    .about = "the only worker is busy with another transaction",
    .size_min_ms = 30,
    .size_max_ms = 120,
    .setup = setup,
    .serve = serve,
    .settle = settle,
    .teardown = teardown,
};
