/* SPDX-License-Identifier: Apache-2.0
 *
 * A neighbour in the service's memory control group, or a thread of the service itself, keeps it
 * full of pages that must be written back: every page the service needs has to be reclaimed first.
 * Nothing measures reclaim but the recording; so the truth is the difference to the same work
 * without the limit, made right before, less what schedstat says was waited for a CPU. The kernel's
 * workers that write the pages back get the service's priority: their waiting for a CPU is not what
 * this is about, and it delays the service as much.
 */
#include "incidents/incident.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROOT    "/sys/fs/cgroup/memory"
#define WORKERS "/sys/devices/virtual/workqueue/writeback/nice"
#define PIECE   (INT64_C(1) << 20)
#define NEED    (INT64_C(16) << 20) /* what a transaction maps */
#define LIMIT   (INT64_C(64) << 20)
#define CACHE   (INT64_C(160) << 20)

static char group[96], home[192], file[192];
static struct kpi_helper *neighbour;
static pthread_t own;
static struct kpi_order own_order;
static int64_t took, usual, queued;

static void enter(const char *where, pid_t pid)
{
    char text[24];
    snprintf(text, sizeof(text), "%d", (int)pid);
    kpi_write_file(text, "%s/cgroup.procs", where);
}

/* The group this process is in now, to go back to. */
static void find_home(void)
{
    char line[160];
    FILE *list = fopen("/proc/self/cgroup", "re");
    if (list == NULL)
        kpi_die("cannot read the control group");
    while (fgets(line, sizeof(line), list) != NULL) {
        char *path = strstr(line, ":memory:");
        if (path != NULL) {
            line[strcspn(line, "\n")] = '\0';
            snprintf(home, sizeof(home), ROOT "%s", path + strlen(":memory:"));
        }
    }
    fclose(list);
    if (home[0] == '\0')
        kpi_die("no memory controller (v1) here");
}

/* Writes a file through the page cache of the group without a pause: pages that must be written
 * back before they can go. */
static void fill_cache(const struct kpi_order *order, struct kpi_report *report)
{
    static char piece[PIECE];
    int64_t until = order->at + order->ns;
    kpi_pin((int)order->cpu);
    int fd = open(file, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    (void)report;
    if (fd < 0)
        kpi_die("cannot make %s: %s", file, strerror(errno));
    for (int64_t at = 0; kpi_now() < until; at = (at + PIECE) % CACHE)
        if (pwrite(fd, piece, PIECE, at) != PIECE)
            kpi_die("cannot write %s: %s", file, strerror(errno));
    close(fd);
}

static void *fill_own(void *arg)
{
    fill_cache(arg, NULL);
    return NULL;
}

static int64_t workers_nice; /* as it was */

static void workers_restore(void)
{
    char text[24];
    snprintf(text, sizeof(text), "%lld", (long long)workers_nice);
    kpi_write_file(text, WORKERS);
}

static void workers_first(void)
{
    if (access(WORKERS, W_OK) != 0)
        return;
    workers_nice = kpi_read_counter("", WORKERS);
    kpi_write_file("-15", WORKERS);
    atexit(workers_restore);
}

static void setup_group(struct kpi_run *run)
{
    if (access(ROOT "/cgroup.procs", W_OK) != 0)
        kpi_skip("no memory controller (v1) here");
    find_home();
    snprintf(group, sizeof(group), ROOT "/kp-incident-%d", (int)getpid());
    snprintf(file, sizeof(file), "%s/cache", run->dir);
    if (mkdir(group, 0755) != 0)
        kpi_die("no control group %s: %s", group, strerror(errno));
    enter(group, getpid());
    workers_first();
}

static void setup(struct kpi_run *run)
{
    setup_group(run);
    neighbour = kpi_helper_start("report-cache", fill_cache);
}

static void limit(int64_t bytes)
{
    char text[24];
    snprintf(text, sizeof(text), "%lld", (long long)bytes);
    kpi_write_file(text, "%s/memory.limit_in_bytes", group);
}

/* Both get a CPU of their own: waiting for one is not what this is about. */
static struct kpi_order arm_cpus(struct kpi_run *run)
{
    int64_t cpus = sysconf(_SC_NPROCESSORS_ONLN);
    kpi_pin(run->cpu);
    return (struct kpi_order){kpi_now(), run->size_ns, (run->cpu + 1) % cpus, 0};
}

static void arm(struct kpi_run *run)
{
    struct kpi_order order = arm_cpus(run);
    if (!run->fault)
        return;
    usual = took;
    limit(LIMIT);
    kpi_helper_order(neighbour, &order);
    kpi_sleep(run->size_ns / 2); /* until the group is full */
}

static void arm_own(struct kpi_run *run)
{
    own_order = arm_cpus(run);
    if (!run->fault)
        return;
    usual = took;
    limit(LIMIT);
    if (pthread_create(&own, NULL, fill_own, &own_order) != 0)
        kpi_die("no thread");
    kpi_sleep(run->size_ns / 2);
}

static void serve(struct kpi_run *run)
{
    (void)run;
    int64_t from = kpi_now(), waited = kpi_now_waited(gettid());
    char *memory = mmap(NULL, NEED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        kpi_die("no memory");
    for (int64_t at = 0; at < NEED; at += 4096)
        memory[at] = 1;
    took = kpi_now() - from;
    queued = kpi_now_waited(gettid()) - waited;
    munmap(memory, NEED);
}

static void settle(struct kpi_run *run)
{
    struct kpi_report report;
    if (!run->fault)
        return;
    kpi_helper_report(neighbour, &report);
    limit(-1);
    unlink(file);
    run->truth = (struct kpi_truth){
        "reclaim", kpi_helper_pid(neighbour), "", took - queued - usual, false, NULL};
}

static void settle_own(struct kpi_run *run)
{
    if (!run->fault)
        return;
    pthread_join(own, NULL);
    limit(-1);
    unlink(file);
    run->truth = (struct kpi_truth){"reclaim", getpid(), "", took - queued - usual, true, NULL};
}

static void teardown_group(struct kpi_run *run)
{
    (void)run;
    enter(home, getpid());
    unlink(file);
    rmdir(group);
}

static void teardown(struct kpi_run *run)
{
    kpi_helper_stop(neighbour);
    teardown_group(run);
}

KPI_INCIDENT(own_reclaim) = {
    .name = "own-reclaim",
    .about = "the service itself filled its memory control group",
    .size_min_ms = 200,
    .size_max_ms = 400,
    .setup = setup_group,
    .arm = arm_own,
    .serve = serve,
    .settle = settle_own,
    .teardown = teardown_group,
};

KPI_INCIDENT(reclaim) = {
    .name = "reclaim",
    .about = "a neighbour filled the memory control group",
    .size_min_ms = 200,
    .size_max_ms = 400,
    .setup = setup,
    .arm = arm,
    .serve = serve,
    .settle = settle,
    .teardown = teardown,
};
