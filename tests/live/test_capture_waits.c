/* SPDX-License-Identifier: Apache-2.0
 *
 * Waits that have no end of their own in the kernel: major faults and the pauses of writers; and
 * the commits of a journal.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tape.h"

#define PAGES       64
#define PAGE        4096
#define STRIDE      16 /* pages between two touched ones: none is read ahead for another */
#define MB          (1 << 20)
#define PAUSE_FILES 24
#define COMMITS     5

/* --- faults --- */

struct faulty {
    int fd;
    long faults; /* counted by the kernel for the child */
};

static long major_faults(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_majflt;
}

static int touch_pages(void *arg)
{
    struct faulty *faulty = arg;
    size_t size = (size_t)PAGES * STRIDE * PAGE;
    volatile const char *pages = mmap(NULL, size, PROT_READ, MAP_SHARED, faulty->fd, 0);
    long before = major_faults();
    int sum = 0;

    if (pages == MAP_FAILED || madvise((void *)(uintptr_t)pages, size, MADV_RANDOM) != 0)
        return 1;
    for (size_t i = 0; i < PAGES; i++)
        sum += pages[i * STRIDE * PAGE];
    faulty->faults = major_faults() - before;
    return sum != PAGES;
}

/* A file of ones on a disk, and none of it in memory. */
static int cold_file(void)
{
    static char page[PAGE];
    char path[] = "/var/tmp/kprobe-fault-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    unlink(path);
    memset(page, 1, sizeof(page));
    for (int i = 0; i < PAGES * STRIDE; i++)
        assert_int_equal(write(fd, page, PAGE), PAGE);
    assert_int_equal(fsync(fd), 0);
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    return fd;
}

static void major_faults_are_recorded(void **state)
{
    (void)state;
    struct faulty *faulty =
        mmap(NULL, sizeof(*faulty), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct kp_recorder_opts opts = tape_opts(KIND(FAULT) | KIND(SYSCALL));
    struct work work;
    struct tape tape;
    struct stat st;
    uint64_t rows = 0, known = 0, seen[PAGES] = {0}, total = 0;

    faulty->fd = cold_file();
    assert_int_equal(fstat(faulty->fd, &st), 0);
    work_make(&work, touch_pages, faulty);
    tape_start(&tape, &opts);
    int64_t begin = kp_time_monotonic();
    work_go(&work);
    assert_int_equal(work_end(&work), 0);
    int64_t end = kp_time_monotonic();
    tape_stop(&tape);
    if (faulty->faults < PAGES / 2) {
        print_message("only %ld faults of %d had to read\n", faulty->faults, PAGES);
        skip();
    }
    TAPE_EACH(rec, &tape, FAULT)
    {
        if (rec->head.tid != (uint32_t)work.pid)
            continue;
        rows++;
        total += rec->dur;
        assert_int_not_equal(rec->ip, 0);
        if (rec->obj != st.st_ino)
            continue;
        known++;
        assert_int_equal(rec->obj_dev, major(st.st_dev) << 20 | minor(st.st_dev));
        assert_int_equal(rec->offset % (STRIDE * PAGE), 0);
        seen[rec->offset / (STRIDE * PAGE)]++;
    }
    /* one wait for each; a few end before the thread has gone to sleep, or sleep twice */
    assert_in_range(rows, faulty->faults * 9 / 10, faulty->faults * 2);
    assert_in_range(total, rows, end - begin);
    if (known > 0) { /* the kernel says which page */
        uint64_t touched = 0;
        for (int i = 0; i < PAGES; i++)
            touched += seen[i] > 0;
        assert_in_range(touched, faulty->faults * 9 / 10, PAGES);
    }
    close(faulty->fd);
    munmap(faulty, sizeof(*faulty));
    tape_free(&tape);
}

/* --- a file system of our own --- */

struct small_disk {
    char dir[64], image[64];
    uint32_t dev;
};

static bool run(const char *command)
{
    return system(command) == 0;
}

static void small_disk_deinit(struct small_disk *disk)
{
    char command[512];

    snprintf(command, sizeof(command), "umount %s 2>/dev/null", disk->dir);
    run(command);
    rmdir(disk->dir);
    unlink(disk->image);
}

/* A journalling file system in a file; false when this machine cannot mount one. */
static bool small_disk_init(struct small_disk *disk)
{
    char command[512];
    struct stat st;

    *disk =
        (struct small_disk){.dir = "/tmp/kprobe-fs-XXXXXX", .image = "/var/tmp/kprobe-fs-XXXXXX"};
    int fd = mkstemp(disk->image);
    assert_true(fd >= 0 && mkdtemp(disk->dir) != NULL);
    assert_int_equal(ftruncate(fd, 128 * MB), 0);
    close(fd);
    snprintf(command, sizeof(command),
             "PATH=$PATH:/sbin:/usr/sbin; mkfs.ext4 -q %s 2>/dev/null && "
             "mount -o loop %s %s 2>/dev/null",
             disk->image, disk->image, disk->dir);
    if (run(command) && stat(disk->dir, &st) == 0) {
        disk->dev = major(st.st_dev) << 20 | minor(st.st_dev);
        return true;
    }
    small_disk_deinit(disk);
    print_message("no ext4 can be mounted over a loop device here\n");
    return false;
}

static int write_much(void *arg)
{
    static char block[MB];
    const struct small_disk *disk = arg;
    char path[128];

    snprintf(path, sizeof(path), "%s/file", disk->dir);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    for (int i = 0; i < PAUSE_FILES; i++) {
        if (write(fd, block, sizeof(block)) != (ssize_t)sizeof(block))
            return 1;
    }
    return close(fd);
}

/* This disk may have so little unwritten that writers must wait; the others are left alone. */
static bool limit_unwritten(const struct small_disk *disk)
{
    char path[128];

    snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/strict_limit", disk->dev >> 20,
             disk->dev & 0xfffff);
    if (!file_write(path, "1"))
        return false;
    snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/max_bytes", disk->dev >> 20,
             disk->dev & 0xfffff);
    return file_write(path, "1048576");
}

static void writers_pause(void **state)
{
    (void)state;
    struct small_disk disk;
    struct kp_recorder_opts opts = tape_opts(KIND(WRITEBACK));
    struct work work;
    struct tape tape;
    uint64_t pauses = 0, total = 0;

    if (!small_disk_init(&disk))
        skip();
    if (!limit_unwritten(&disk)) {
        small_disk_deinit(&disk);
        print_message("this kernel sets no limit for one disk\n");
        skip();
    }
    work_make(&work, write_much, &disk);
    tape_start(&tape, &opts);
    int64_t begin = kp_time_monotonic();
    work_go(&work);
    int status = work_end(&work);
    int64_t end = kp_time_monotonic();
    tape_stop(&tape);
    small_disk_deinit(&disk);
    assert_int_equal(status, 0);
    TAPE_EACH(rec, &tape, WRITEBACK)
    {
        if (rec->head.tid != (uint32_t)work.pid)
            continue;
        assert_int_equal(rec->op, 0);
        assert_int_equal(rec->dev, disk.dev);
        pauses++;
        total += rec->dur;
    }
    assert_in_range(pauses, 1, 10 * PAUSE_FILES);
    assert_in_range(total, KP_MS, end - begin);
    tape_free(&tape);
}

static int sync_often(void *arg)
{
    const struct small_disk *disk = arg;
    char path[128];

    for (int i = 0; i < COMMITS; i++) {
        snprintf(path, sizeof(path), "%s/new-%d", disk->dir, i);
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        if (fd < 0 || fsync(fd) != 0 || close(fd) != 0)
            return 1;
    }
    return 0;
}

static void journals_commit(void **state)
{
    (void)state;
    struct small_disk disk;
    struct kp_recorder_opts opts = tape_opts(KIND(WRITEBACK));
    struct work work;
    struct tape tape;
    uint64_t commits = 0, last = 0;

    if (!small_disk_init(&disk))
        skip();
    work_make(&work, sync_often, &disk);
    tape_start(&tape, &opts);
    work_go(&work);
    int status = work_end(&work);
    tape_stop(&tape);
    small_disk_deinit(&disk);
    assert_int_equal(status, 0);
    TAPE_EACH(rec, &tape, WRITEBACK)
    {
        if (rec->op != 1 || rec->dev != disk.dev)
            continue;
        assert_in_range(rec->dur, 1, 10 * KP_SEC);
        if (last != 0)
            assert_int_equal(rec->id, last + 1);
        last = rec->id;
        commits++;
    }
    assert_in_range(commits, COMMITS, COMMITS + 2);
    tape_free(&tape);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(major_faults_are_recorded),
        cmocka_unit_test(writers_pause),
        cmocka_unit_test(journals_commit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
