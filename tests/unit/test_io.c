/* SPDX-License-Identifier: Apache-2.0
 *
 * The three backends do the same; the simulator's disk forgets and fails as it was told.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "folder.h"
#include "storage/io_sim.h"

struct place {
    const struct kp_io *io;
    struct kp_sim *sim;
    char dir[FOLDER_PATH];
};

static int place_open(void **state, const struct kp_io *io)
{
    struct place *place = calloc(1, sizeof(*place));
    place->io = io;
    if (io == NULL) {
        assert_int_equal(kp_sim_open(1, &place->sim), KP_OK);
        place->io = kp_sim_io(place->sim);
        snprintf(place->dir, sizeof(place->dir), "/d");
        assert_int_equal(place->io->mkdir(place->io, place->dir), 0);
    } else {
        folder_make("io", place->dir);
    }
    *state = place;
    return 0;
}

static int setup_uring(void **state)
{
    if (kp_io_uring() == NULL)
        print_message("this kernel refuses io_uring: its backend runs on threads here\n");
    return place_open(state, kp_io_default());
}

static int setup_threads(void **state)
{
    return place_open(state, kp_io_threads());
}

static int setup_sim(void **state)
{
    return place_open(state, NULL);
}

static int teardown(void **state)
{
    struct place *place = *state;
    if (place->sim == NULL)
        assert_int_equal(folder_remove(place->dir), 0);
    kp_sim_close(place->sim);
    free(place);
    return 0;
}

static struct kp_io_file *file_make(const struct place *place, const char *name, int flags)
{
    char path[128];
    struct kp_io_file *file = NULL;
    snprintf(path, sizeof(path), "%s/%s", place->dir, name);
    int made = place->io->open(place->io, path, KP_IO_RDWR | KP_IO_CREATE | flags, &file);
    assert_int_equal(made, 0);
    return file;
}

static void what_is_written_is_read(void **state)
{
    const struct place *place = *state;
    const struct kp_io *io = place->io;
    struct kp_io_queue *queue = NULL;
    enum { DEPTH = 8, SIZE = 4096 };
    assert_int_equal(io->queue_open(io, DEPTH, &queue), KP_OK);
    uint8_t *memory = aligned_alloc(4096, 2 * DEPTH * SIZE);
    assert_int_equal(io->register_buffers(queue, memory, DEPTH * SIZE), KP_OK);
    struct kp_io_file *file = file_make(place, "data", KP_IO_DIRECT);
    struct kp_io_req reqs[DEPTH + 1];
    for (int i = 0; i < DEPTH; i++) {
        memset(memory + (size_t)i * SIZE, 'a' + i, SIZE);
        reqs[i] = (struct kp_io_req){.op = KP_IO_WRITE,
                                     .file = file,
                                     .buf = memory + (size_t)i * SIZE,
                                     .size = SIZE,
                                     .offset = (uint64_t)i * SIZE};
        assert_int_equal(io->submit(queue, &reqs[i]), KP_OK);
    }
    reqs[DEPTH] = reqs[0];
    assert_int_equal(io->submit(queue, &reqs[DEPTH]), KP_LIMIT);
    for (int i = 0; i < DEPTH; i++) {
        while (!reqs[i].done)
            assert_int_equal(io->reap(queue), KP_OK);
        assert_int_equal(reqs[i].result, SIZE);
    }
    assert_int_equal(io->reap(queue), KP_OK); /* nothing out: returns at once */
    assert_int_equal(kp_io_once(io, queue, KP_IO_SYNC, file, NULL, 0, 0), 0);
    assert_int_equal(io->size(io, file), DEPTH * SIZE);
    uint8_t *back = memory + DEPTH * SIZE;
    for (int i = 0; i < DEPTH; i++) {
        int64_t got = kp_io_once(io, queue, KP_IO_READ, file, back, SIZE, (uint64_t)i * SIZE);
        assert_int_equal(got, SIZE);
        assert_memory_equal(back, memory + (size_t)i * SIZE, SIZE);
    }
    /* over the end comes back short, behind it nothing */
    assert_int_equal(kp_io_once(io, queue, KP_IO_READ, file, back, 2 * SIZE, (DEPTH - 1) * SIZE),
                     SIZE);
    assert_int_equal(kp_io_once(io, queue, KP_IO_READ, file, back, SIZE, 64 * SIZE), 0);
    io->close(io, file);
    io->queue_close(queue);
    free(memory);
}

/* A queue that has only read one thing at a time until now is asked for several at once. */
static void reads_come_alone_and_together(void **state)
{
    const struct place *place = *state;
    const struct kp_io *io = place->io;
    struct kp_io_queue *queue = NULL;
    enum { READS = 3 };
    struct kp_io_file *file = file_make(place, "data", 0);
    struct kp_io_req reqs[READS];
    char text[] = "abcdefgh", back[READS] = "";
    assert_int_equal(io->queue_open(io, READS, &queue), KP_OK);
    assert_int_equal(kp_io_once(io, queue, KP_IO_WRITE, file, text, 8, 0), 8);
    io->queue_close(queue);
    assert_int_equal(io->queue_open(io, READS, &queue), KP_OK);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(kp_io_once(io, queue, KP_IO_READ, file, back, 1, 7), 1);
        assert_int_equal(back[0], 'h');
        for (int i = 0; i < READS; i++) {
            reqs[i] = (struct kp_io_req){
                .op = KP_IO_READ, .file = file, .buf = &back[i], .size = 1, .offset = 2u + i};
            assert_int_equal(io->submit(queue, &reqs[i]), KP_OK);
        }
        for (int i = 0; i < READS; i++)
            while (!reqs[i].done)
                assert_int_equal(io->reap(queue), KP_OK);
        assert_memory_equal(back, "cde", READS);
    }
    io->queue_close(queue);
    io->close(io, file);
}

static void count_each(void *ctx, const char *name)
{
    assert_true(strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
    ++*(int *)ctx;
}

static void names_work_as_posix_says(void **state)
{
    const struct place *place = *state;
    const struct kp_io *io = place->io;
    char a[128], b[128];
    struct kp_io_file *file = file_make(place, "a", 0), *other = NULL;
    snprintf(a, sizeof(a), "%s/a", place->dir);
    snprintf(b, sizeof(b), "%s/b", place->dir);
    assert_int_equal(io->open(io, a, KP_IO_RDWR | KP_IO_CREATE, &other), -EEXIST);
    assert_int_equal(io->open(io, b, KP_IO_RDONLY, &other), -ENOENT);
    assert_int_equal(io->truncate(io, file, 10000), 0);
    assert_int_equal(io->size(io, file), 10000);
    io->close(io, file);
    assert_int_equal(io->rename(io, a, b), 0);
    assert_int_equal(io->rename(io, a, b), -ENOENT);
    assert_int_equal(io->open(io, b, KP_IO_RDONLY, &other), 0);
    io->close(io, other);
    int names = 0;
    assert_int_equal(io->list(io, place->dir, count_each, &names), 0);
    assert_int_equal(names, 1);
    assert_int_equal(io->sync_dir(io, place->dir), 0);
    assert_int_equal(io->unlink(io, b), 0);
    assert_int_equal(io->unlink(io, b), -ENOENT);
    assert_int_equal(io->mkdir(io, place->dir), -EEXIST);
    assert_int_equal(io->list(io, a, count_each, &names), -ENOENT);
}

static void a_directory_has_one_writer(void **state)
{
    const struct place *place = *state;
    const struct kp_io *io = place->io;
    struct kp_io_file *first = NULL, *second = NULL;
    int pid = 0;
    assert_int_equal(io->lock(io, place->dir, &first, &pid), 0);
    assert_int_equal(io->lock(io, place->dir, &second, &pid), -EBUSY);
    assert_int_equal(pid, place->sim != NULL ? 1 : (int)getpid());
    io->close(io, first);
    assert_int_equal(io->lock(io, place->dir, &second, &pid), 0);
    io->close(io, second);
}

/* ---------- the simulator alone ---------- */

struct disk {
    struct kp_sim *sim;
    const struct kp_io *io;
    struct kp_io_queue *queue;
};

static struct disk disk_open(uint64_t seed)
{
    struct disk disk = {0};
    assert_int_equal(kp_sim_open(seed, &disk.sim), KP_OK);
    disk.io = kp_sim_io(disk.sim);
    assert_int_equal(disk.io->queue_open(disk.io, 4, &disk.queue), KP_OK);
    return disk;
}

static void disk_close(struct disk *disk)
{
    disk->io->queue_close(disk->queue);
    kp_sim_close(disk->sim);
}

static int64_t put(struct disk *disk, struct kp_io_file *file, char c, size_t size, uint64_t offset)
{
    static char bytes[8192];
    kp_assert(size <= sizeof(bytes));
    memset(bytes, c, size);
    return kp_io_once(disk->io, disk->queue, KP_IO_WRITE, file, bytes, size, offset);
}

static int sync_file(struct disk *disk, struct kp_io_file *file)
{
    return (int)kp_io_once(disk->io, disk->queue, KP_IO_SYNC, file, NULL, 0, 0);
}

static struct kp_io_file *sim_file(struct disk *disk, const char *path)
{
    struct kp_io_file *file = NULL;
    assert_int_equal(disk->io->open(disk->io, path, KP_IO_RDWR | KP_IO_CREATE, &file), 0);
    return file;
}

static void a_crash_keeps_what_was_synced(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct disk disk = disk_open(seed);
        struct kp_io_file *file = sim_file(&disk, "/f");
        assert_int_equal(put(&disk, file, 'a', 4096, 0), 4096);
        assert_int_equal(sync_file(&disk, file), 0);
        assert_int_equal(disk.io->sync_dir(disk.io, "/"), 0);
        assert_int_equal(put(&disk, file, 'b', 1024, 1024), 1024);
        disk.io->close(disk.io, sim_file(&disk, "/unsynced"));
        kp_sim_crash(disk.sim, seed % 2 == 0 ? KP_SIM_SOME : KP_SIM_TEAR);
        assert_int_equal(put(&disk, file, 'c', 512, 0), -EIO); /* handles die with the power */
        size_t size = 0;
        const uint8_t *bytes = kp_sim_file(disk.sim, "/f", &size);
        assert_non_null(bytes);
        assert_int_equal(size, 4096);
        for (size_t i = 0; i < size; i++) {
            bool rewritten = i >= 1024 && i < 2048;
            assert_true(bytes[i] == 'a' || (rewritten && bytes[i] == 'b'));
            if (seed % 2 == 0 && rewritten) /* whole sectors only */
                assert_int_equal(bytes[i], bytes[i / 512 * 512]);
        }
        disk.io->close(disk.io, file);
        disk_close(&disk);
    }
}

static void unsynced_names_may_be_lost(void **state)
{
    (void)state;
    unsigned kept = 0;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct disk disk = disk_open(seed);
        disk.io->close(disk.io, sim_file(&disk, "/old"));
        assert_int_equal(disk.io->sync_dir(disk.io, "/"), 0);
        assert_int_equal(disk.io->rename(disk.io, "/old", "/new"), 0);
        kp_sim_crash(disk.sim, KP_SIM_SOME);
        size_t size;
        bool old = kp_sim_file(disk.sim, "/old", &size) != NULL;
        bool new = kp_sim_file(disk.sim, "/new", &size) != NULL;
        assert_true(old != new); /* a rename is one step */
        kept += new;
        disk_close(&disk);
    }
    assert_in_range(kept, 20, 80);
}

static void a_failed_sync_is_never_made_good(void **state)
{
    (void)state;
    struct disk disk = disk_open(5);
    struct kp_io_file *file = sim_file(&disk, "/f");
    assert_int_equal(disk.io->sync_dir(disk.io, "/"), 0);
    assert_int_equal(put(&disk, file, 'a', 8192, 0), 8192);
    struct kp_sim_fault fault = {.points = KP_SIM_SYNC, .nth = 1, .error = EIO};
    kp_sim_fault_add(disk.sim, &fault);
    assert_int_equal(sync_file(&disk, file), -EIO);
    assert_int_equal(sync_file(&disk, file), 0); /* reports success and does nothing */
    kp_sim_crash(disk.sim, KP_SIM_KEEP);
    size_t size = 0;
    const uint8_t *bytes = kp_sim_file(disk.sim, "/f", &size);
    size_t held = 0;
    for (size_t i = 0; i < size; i++)
        held += bytes[i] == 'a';
    assert_true(held < 8192);
    disk.io->close(disk.io, file);
    disk_close(&disk);
}

static void faults_come_at_their_time(void **state)
{
    (void)state;
    struct disk disk = disk_open(6);
    struct kp_io_file *file = sim_file(&disk, "/f");
    struct kp_sim_fault faults[] = {
        {.points = KP_SIM_WRITE, .nth = 2, .kind = KP_SIM_SHORT},
        {.points = KP_SIM_WRITE, .nth = 3, .kind = KP_SIM_STALE},
        {.points = KP_SIM_WRITE, .nth = 4, .kind = KP_SIM_MISDIRECT},
        {.points = KP_SIM_READ, .nth = 1, .kind = KP_SIM_FLIP},
        {.points = KP_SIM_RENAME | KP_SIM_UNLINK, .nth = 1, .error = EROFS},
    };
    for (size_t i = 0; i < KP_ARRAY_LEN(faults); i++)
        kp_sim_fault_add(disk.sim, &faults[i]);
    assert_int_equal(put(&disk, file, 'a', 4096, 0), 4096);
    assert_true(put(&disk, file, 'b', 4096, 4096) < 4096);
    assert_int_equal(put(&disk, file, 'c', 4096, 4096), 4096); /* stale: nothing happened */
    assert_int_equal(put(&disk, file, 'd', 4096, 4096), 4096); /* misdirected: over the 'a's */
    char buf[4096];
    assert_int_equal(kp_io_once(disk.io, disk.queue, KP_IO_READ, file, buf, 4096, 0), 4096);
    size_t different = 0;
    for (size_t i = 0; i < 4096; i++)
        different += buf[i] != 'd';
    assert_int_equal(different, 1);
    assert_int_equal(disk.io->unlink(disk.io, "/f"), -EROFS);
    assert_int_equal(disk.io->unlink(disk.io, "/f"), 0);
    assert_int_equal(kp_sim_hits(disk.sim), 5);
    disk.io->close(disk.io, file);
    disk_close(&disk);
}

static void a_full_disk_says_so(void **state)
{
    (void)state;
    struct disk disk = disk_open(7);
    kp_sim_capacity(disk.sim, 8192);
    struct kp_io_file *file = sim_file(&disk, "/f");
    assert_int_equal(put(&disk, file, 'a', 8192, 0), 8192);
    assert_int_equal(put(&disk, file, 'a', 512, 8192), -ENOSPC);
    assert_int_equal(put(&disk, file, 'b', 512, 0), 512);
    disk.io->close(disk.io, file);
    disk_close(&disk);
}

static uint64_t crash_hash(uint64_t seed)
{
    struct disk disk = disk_open(seed);
    struct kp_io_file *file = sim_file(&disk, "/f");
    assert_int_equal(put(&disk, file, '0', 8192, 0), 8192);
    assert_int_equal(sync_file(&disk, file), 0);
    for (uint64_t i = 0; i < 16; i++)
        assert_int_equal(put(&disk, file, (char)('a' + i), 512, i * 512), 512);
    assert_int_equal(disk.io->sync_dir(disk.io, "/"), 0);
    struct kp_sim *copy = kp_sim_clone(disk.sim, seed);
    assert_int_equal(kp_sim_hash(copy), kp_sim_hash(disk.sim));
    kp_sim_crash(copy, KP_SIM_TEAR);
    uint64_t hash = kp_sim_hash(copy);
    kp_sim_close(copy);
    disk.io->close(disk.io, file);
    disk_close(&disk);
    return hash;
}

static void the_same_seed_gives_the_same_disk(void **state)
{
    (void)state;
    assert_int_equal(crash_hash(11), crash_hash(11));
    assert_int_not_equal(crash_hash(11), crash_hash(12));
}

#define EACH_BACKEND(test)                                              \
    cmocka_unit_test_setup_teardown(test, setup_uring, teardown),       \
        cmocka_unit_test_setup_teardown(test, setup_threads, teardown), \
        cmocka_unit_test_setup_teardown(test, setup_sim, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH_BACKEND(what_is_written_is_read),
        EACH_BACKEND(reads_come_alone_and_together),
        EACH_BACKEND(names_work_as_posix_says),
        EACH_BACKEND(a_directory_has_one_writer),
        cmocka_unit_test(a_crash_keeps_what_was_synced),
        cmocka_unit_test(unsynced_names_may_be_lost),
        cmocka_unit_test(a_failed_sync_is_never_made_good),
        cmocka_unit_test(faults_come_at_their_time),
        cmocka_unit_test(a_full_disk_says_so),
        cmocka_unit_test(the_same_seed_gives_the_same_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
