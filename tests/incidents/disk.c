/* SPDX-License-Identifier: Apache-2.0
 *
 * A disk of the incident's own, as slow as it is told to be: a loop device in memory, throttled by
 * the blkio controller, and a second one on it. Requests to the second take their time in the
 * first, so that they are seen waiting where those of any slow disk wait. What others of the
 * machine read and write does not meet them: a full queue has one author. The mount is in a
 * namespace of this process and goes with it, however that ends, and the devices with the mount.
 */
#include "incidents/incident.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define LIMITS "/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device"
#define TRIES  10 /* another program may take the free device first */

/* Makes a loop device of what fd has, which it closes. It is free again after its last use. */
static int loop_open(int fd, uint32_t flags, char *path, size_t size)
{
    struct loop_config config = {.fd = (uint32_t)fd, .info.lo_flags = flags | LO_FLAGS_AUTOCLEAR};
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), device = -1;
    if (control < 0)
        kpi_skip("no loop devices: %s", strerror(errno));
    for (int i = 0; i < TRIES && device < 0; i++) {
        snprintf(path, size, "/dev/loop%d", ioctl(control, LOOP_CTL_GET_FREE));
        device = open(path, O_RDWR | O_CLOEXEC);
        if (device >= 0 && ioctl(device, LOOP_CONFIGURE, &config) != 0) {
            close(device);
            device = -1;
        }
    }
    if (device < 0)
        kpi_die("no loop device: %s", strerror(errno));
    close(fd);
    close(control);
    return device;
}

static dev_t device_number(int fd)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        kpi_die("what device is that: %s", strerror(errno));
    return info.st_rdev;
}

static unsigned slow_major, slow_minor; /* of the device that is throttled */

static void limit_set(int64_t per_second)
{
    FILE *file = fopen(LIMITS, "we");
    if (file == NULL)
        return;
    fprintf(file, "%u:%u %lld", slow_major, slow_minor, (long long)per_second);
    fclose(file);
}

static char reserve[64]; /* the setting of pages that may always wait for the mounted device */

/* What is set of a device would stay with it for whoever has it next. */
static void settings_drop(void)
{
    limit_set(0);
    FILE *file = fopen(reserve, "we");
    if (file == NULL)
        return;
    fputs("0", file);
    fclose(file);
}

/* Memory that takes only so many bytes a second. */
static int slow_open(int64_t bytes, int64_t per_second)
{
    char path[32];
    int memory = memfd_create("disk", MFD_CLOEXEC);
    if (access(LIMITS, W_OK) != 0)
        kpi_skip("no blkio controller (v1)");
    if (memory < 0 || ftruncate(memory, bytes) != 0)
        kpi_die("no memory for a disk: %s", strerror(errno));
    int fd = loop_open(memory, 0, path, sizeof(path));
    dev_t device = device_number(fd);
    slow_major = major(device);
    slow_minor = minor(device);
    limit_set(per_second);
    atexit(settings_drop);
    return fd;
}

void kpi_disk_mount(struct kpi_disk *disk, const char *folder, int64_t bytes, int64_t per_second)
{
    char path[32];
    int fd = loop_open(slow_open(bytes, per_second), LO_FLAGS_DIRECT_IO, path, sizeof(path));
    dev_t device = device_number(fd);
    if (!kpi_shell("mkfs.ext4 -q -F -E nodiscard %s", path))
        kpi_skip("mkfs.ext4 (e2fsprogs) is not installed");
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount(path, folder, "ext4", MS_NOATIME, "noinit_itable") != 0)
        kpi_die("cannot mount %s: %s", path, strerror(errno));
    close(fd);
    /* A disk that had done little would get next to none of the pages that may wait to be written,
     * and what is to be written at once would be written as it comes. */
    kpi_write_file("100", "/sys/class/bdi/%u:%u/max_ratio", major(device), minor(device));
    snprintf(reserve, sizeof(reserve), "/sys/class/bdi/%u:%u/min_ratio", major(device),
             minor(device));
    kpi_write_file("40", "%s", reserve);
    snprintf(disk->object, sizeof(disk->object), "dev %u:%u", major(device), minor(device));
    snprintf(disk->counters, sizeof(disk->counters), "/sys/dev/block/%u:%u/inflight", major(device),
             minor(device));
}

int64_t kpi_disk_writes(const struct kpi_disk *disk)
{
    int64_t reads = 0, writes = 0;
    FILE *file = fopen(disk->counters, "re");
    if (file == NULL || fscanf(file, "%ld %ld", &reads, &writes) != 2)
        kpi_die("cannot read %s", disk->counters);
    fclose(file);
    return writes;
}
