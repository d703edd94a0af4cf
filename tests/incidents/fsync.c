/* SPDX-License-Identifier: Apache-2.0
 *
 * A neighbour writes past the page cache, many requests deep, to the disk that the service syncs
 * its ledger to. Truth: how much longer the sync took than just before, less what schedstat says
 * was waited for a CPU. Who is to blame is asked for no further than the device: what a disk does
 * inside is not known to anybody here.
 */
#include "incidents/incident.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WRITERS 24
#define SIZE    (INT64_C(4) << 20)

static struct kpi_helper *neighbour;
static char bulk[192], ledger[192];
static int fd = -1;
static int64_t took, usual, queued;

struct writer {
    pthread_t thread;
    int64_t until, offset;
    int fd;
};

static void *write_on(void *arg)
{
    const struct writer *writer = arg;
    void *data = NULL;
    if (posix_memalign(&data, 4096, SIZE) != 0)
        kpi_die("no memory");
    memset(data, 1, SIZE);
    while (kpi_now() < writer->until)
        if (pwrite(writer->fd, data, SIZE, writer->offset) != SIZE)
            kpi_die("bulk write: %s", strerror(errno));
    free(data);
    return NULL;
}

static void write_all(const struct kpi_order *order, struct kpi_report *report)
{
    struct writer writers[WRITERS];
    int bulk_fd = open(bulk, O_CREAT | O_WRONLY | O_DIRECT | O_CLOEXEC, 0600);
    (void)report;
    if (bulk_fd < 0)
        kpi_die("cannot make %s: %s", bulk, strerror(errno));
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.until = order->at + order->ns, .offset = i * SIZE};
        writers[i].fd = bulk_fd;
        if (pthread_create(&writers[i].thread, NULL, write_on, &writers[i]) != 0)
            kpi_die("no thread");
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(writers[i].thread, NULL);
    close(bulk_fd);
}

static void setup(struct kpi_run *run)
{
    snprintf(bulk, sizeof(bulk), "%s/bulk", run->dir);
    snprintf(ledger, sizeof(ledger), "%s/ledger", run->dir);
    fd = open(ledger, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0)
        kpi_die("cannot make %s: %s", ledger, strerror(errno));
    neighbour = kpi_helper_start("backup", write_all);
}

static void arm(struct kpi_run *run)
{
    if (!run->fault)
        return;
    struct kpi_order order = {kpi_now(), run->size_ns, 0, 0};
    usual = took - queued;
    kpi_helper_order(neighbour, &order);
    kpi_sleep(20 * KPI_MS);
}

static void serve(struct kpi_run *run)
{
    char entry[512] = {0};
    (void)run;
    kpi_burn(KPI_MS / 2);
    int64_t from = kpi_now(), waited = kpi_now_waited(gettid());
    if (write(fd, entry, sizeof(entry)) != sizeof(entry) || fdatasync(fd) != 0)
        kpi_die("ledger: %s", strerror(errno));
    took = kpi_now() - from;
    queued = kpi_now_waited(gettid()) - waited;
}

static void settle(struct kpi_run *run)
{
    struct kpi_report report;
    if (!run->fault)
        return;
    kpi_helper_report(neighbour, &report);
    run->truth = (struct kpi_truth){
        "block_io.queue,block_io.device", 0, "dev", took - queued - usual, false, NULL};
}

static void teardown(struct kpi_run *run)
{
    (void)run;
    kpi_helper_stop(neighbour);
    close(fd);
    unlink(bulk);
    unlink(ledger);
}

KPI_INCIDENT(fsync_disk) = {
    .name = "fsync",
    .about = "a bulk writer on the disk of the ledger",
    .size_min_ms = 100,
    .size_max_ms = 200,
    .setup = setup,
    .arm = arm,
    .serve = serve,
    .settle = settle,
    .teardown = teardown,
};
