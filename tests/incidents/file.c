/* SPDX-License-Identifier: Apache-2.0
 *
 * Two processes use one file. Two writers: a neighbour's large write holds the inode's lock, the
 * service's small one waits for it. Two readers of one open file, inherited over a fork: a large
 * read holds the lock of their common position. Truth: how long the small write or read took.
 */
#include "incidents/incident.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LARGE (INT64_C(192) << 20)

static struct kpi_helper *neighbour;
static char path[64];
static int fd;
static int64_t took;

static void use_much(const struct kpi_order *order, struct kpi_report *report)
{
    static char *data;
    if (data == NULL) {
        data = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
                    -1, 0);
        if (data == MAP_FAILED)
            kpi_die("no memory");
    }
    kpi_sleep_until(order->at);
    report->from = kpi_now();
    if (order->ns > 0 && pwrite(fd, data, (size_t)order->ns, 0) != order->ns)
        kpi_die("large write: %s", strerror(errno));
    if (order->arg > 0 && read(fd, data, (size_t)order->arg) < 0)
        kpi_die("large read: %s", strerror(errno));
    report->to = kpi_now();
}

static void setup(struct kpi_run *run)
{
    struct kpi_order order = {0};
    struct kpi_report report;
    (void)run;
    snprintf(path, sizeof(path), "/dev/shm/kp-incident-%d", (int)getpid());
    fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        kpi_die("cannot make %s: %s", path, strerror(errno));
    neighbour = kpi_helper_start("exporter", use_much);
    kpi_helper_order(neighbour, &order);
    kpi_helper_report(neighbour, &report);
}

static void arm(struct kpi_run *run)
{
    if (!run->fault)
        return;
    struct kpi_order order = {kpi_now() + 2 * KPI_MS, kpi_draw(run, LARGE / 2, LARGE), 0, 0};
    kpi_helper_order(neighbour, &order);
    kpi_sleep_until(order.at);
}

static void serve(struct kpi_run *run)
{
    char entry[512] = {0};
    (void)run;
    kpi_burn(2 * KPI_MS);
    int64_t from = kpi_now();
    if (pwrite(fd, entry, sizeof(entry), 0) != sizeof(entry))
        kpi_die("small write: %s", strerror(errno));
    took = kpi_now() - from;
    kpi_burn(KPI_MS);
}

static void settle(struct kpi_run *run)
{
    struct kpi_report report;
    if (!run->fault)
        return;
    kpi_helper_report(neighbour, &report);
    if (ftruncate(fd, 4096) != 0)
        kpi_die("cannot shorten the file");
    run->truth = (struct kpi_truth){"lock", kpi_helper_pid(neighbour), "", took, false, NULL};
}

static void teardown(struct kpi_run *run)
{
    (void)run;
    kpi_helper_stop(neighbour);
    close(fd);
    unlink(path);
}

static void setup_position(struct kpi_run *run)
{
    struct kpi_order order = {.ns = LARGE};
    struct kpi_report report;
    setup(run);
    kpi_helper_order(neighbour, &order);
    kpi_helper_report(neighbour, &report);
}

static void arm_position(struct kpi_run *run)
{
    if (!run->fault)
        return;
    struct kpi_order order = {kpi_now() + 2 * KPI_MS, 0, 0, kpi_draw(run, LARGE / 2, LARGE)};
    lseek(fd, 0, SEEK_SET);
    kpi_helper_order(neighbour, &order);
    kpi_sleep_until(order.at);
}

static void serve_position(struct kpi_run *run)
{
    char entry[512];
    (void)run;
    kpi_burn(2 * KPI_MS);
    int64_t from = kpi_now();
    if (read(fd, entry, sizeof(entry)) < 0)
        kpi_die("small read: %s", strerror(errno));
    took = kpi_now() - from;
    kpi_burn(KPI_MS);
}

static void settle_position(struct kpi_run *run)
{
    struct kpi_report report;
    if (!run->fault)
        return;
    kpi_helper_report(neighbour, &report);
    run->truth = (struct kpi_truth){"lock", kpi_helper_pid(neighbour), "", took, false, NULL};
}

KPI_INCIDENT(position) = {
    .name = "position",
    .about = "two processes read one open file (f_pos lock)",
    .setup = setup_position,
    .arm = arm_position,
    .serve = serve_position,
    .settle = settle_position,
    .teardown = teardown,
};

KPI_INCIDENT(file) = {
    .name = "file",
    .about = "two processes write one file (inode lock)",
    .setup = setup,
    .arm = arm,
    .serve = serve,
    .settle = settle,
    .teardown = teardown,
};
