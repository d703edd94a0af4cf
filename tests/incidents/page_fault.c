/* SPDX-License-Identifier: Apache-2.0
 *
 * The pages of a file that the service has mapped were dropped from memory: it reads each of them
 * from the disk again when it touches them. Truth: how much longer the same touches took than just
 * before, when the pages were there, less what schedstat says was waited for a CPU.
 */
#include "incidents/incident.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE  4096
#define PAGES 16384 /* of the file */
#define EACH  32    /* every so many is touched, far enough apart that few reads bring two */

static char path[192], object[48];
static char *map;
static int fd = -1;
static int64_t took, usual, majors, queued;

static void setup(struct kpi_run *run)
{
    static char page[PAGE];
    struct stat info;
    snprintf(path, sizeof(path), "%s/table", run->dir);
    fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    for (int i = 0; fd >= 0 && i < PAGES; i++)
        if (pwrite(fd, page, PAGE, (off_t)i * PAGE) != PAGE)
            kpi_die("cannot write %s: %s", path, strerror(errno));
    if (fd < 0 || fsync(fd) != 0 || fstat(fd, &info) != 0)
        kpi_die("cannot make %s: %s", path, strerror(errno));
    snprintf(object, sizeof(object), "inode %lld", (long long)info.st_ino);
    map = mmap(NULL, (size_t)PAGES * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        kpi_die("cannot map %s: %s", path, strerror(errno));
}

static int64_t major_faults(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_majflt;
}

static void arm(struct kpi_run *run)
{
    if (!run->fault)
        return;
    usual = took;
    if (madvise(map, (size_t)PAGES * PAGE, MADV_DONTNEED) != 0 ||
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
        kpi_die("cannot drop the pages of %s", path);
}

static void serve(struct kpi_run *run)
{
    static volatile char sum;
    kpi_burn(KPI_MS);
    majors = major_faults();
    queued = kpi_now_waited(gettid());
    int64_t from = kpi_now(), touched = run->size_ns / KPI_MS;
    for (int64_t i = 0; i < touched; i++)
        sum = (char)(sum + map[i * EACH * PAGE]);
    took = kpi_now() - from;
    queued = kpi_now_waited(gettid()) - queued;
    majors = major_faults() - majors;
}

static void settle(struct kpi_run *run)
{
    if (!run->fault)
        return;
    int64_t lost = majors > 0 ? took - queued - usual : 0;
    run->truth = (struct kpi_truth){"page_fault", 0, object, lost, false, NULL};
}

static void teardown(struct kpi_run *run)
{
    (void)run;
    munmap(map, (size_t)PAGES * PAGE);
    close(fd);
    unlink(path);
}

KPI_INCIDENT(page_fault) = {
    .name = "page-fault",
    .about = "mapped pages have to be read from the disk",
    .size_min_ms = 100, /* pages, here */
    .size_max_ms = 500,
    .setup = setup,
    .arm = arm,
    .serve = serve,
    .settle = settle,
    .teardown = teardown,
};
