/* SPDX-License-Identifier: Apache-2.0
 *
 * What is common to the backends on real files: opening, naming and locking, and the one-request
 * shortcut. Names go through plain system calls on purpose: they are rare, and a ring would only
 * make their errors arrive later.
 */
#include "storage/io_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"

const struct kp_io *kp_io_default(void)
{
    const struct kp_io *ring = kp_io_uring();
    return ring != NULL ? ring : kp_io_threads();
}

int64_t kp_io_once(const struct kp_io *io, struct kp_io_queue *queue, enum kp_io_op op,
                   struct kp_io_file *file, void *buf, size_t size, uint64_t offset)
{
    struct kp_io_req req = {
        .op = op, .file = file, .buf = buf, .size = size, .offset = offset, .result = -EIO};
    if (io->submit(queue, &req) != KP_OK)
        return -EAGAIN;
    while (!req.done) {
        if (io->reap(queue) != KP_OK)
            return -EIO;
    }
    return req.result;
}

static int open_flags(int flags)
{
    int os = O_CLOEXEC | ((flags & KP_IO_RDWR) != 0 ? O_RDWR : O_RDONLY);
    if ((flags & KP_IO_CREATE) != 0)
        os |= O_CREAT | O_EXCL;
    return os;
}

static struct kp_io_file *file_new(int fd, bool writable)
{
    struct kp_io_file *file = calloc(1, sizeof(*file));
    if (file == NULL) {
        close(fd);
        return NULL;
    }
    file->fd = fd;
    file->writable = writable;
    return file;
}

int kpi_posix_open(const struct kp_io *io, const char *path, int flags, struct kp_io_file **out)
{
    (void)io;
    int os = open_flags(flags);
    mode_t mode = (flags & KP_IO_PRIVATE) != 0 ? 0600 : 0640;
    int fd = -1;
    if ((flags & KP_IO_DIRECT) != 0) {
        fd = open(path, os | O_DIRECT, mode);
        /* tmpfs and others refuse O_DIRECT, some only after they made the file */
        if (fd < 0 && errno == EINVAL)
            os &= ~O_EXCL;
    }
    if (fd < 0 && ((flags & KP_IO_DIRECT) == 0 || errno == EINVAL))
        fd = open(path, os, mode);
    if (fd < 0)
        return -errno;
    struct kp_io_file *file = file_new(fd, (flags & KP_IO_RDWR) != 0);
    if (file == NULL)
        return -ENOMEM;
    *out = file;
    return 0;
}

void kpi_posix_close(const struct kp_io *io, struct kp_io_file *file)
{
    (void)io;
    if (file == NULL)
        return;
    if (file->queue != NULL)
        kpi_uring_forget(file);
    close(file->fd); /* nothing depends on its result: what matters was synced before */
    free(file);
}

int64_t kpi_posix_size(const struct kp_io *io, struct kp_io_file *file)
{
    (void)io;
    struct stat st;
    return fstat(file->fd, &st) == 0 ? (int64_t)st.st_size : -errno;
}

void kpi_posix_expect(const struct kp_io *io, struct kp_io_file *file, uint64_t offset,
                      uint64_t size)
{
    (void)io;
    posix_fadvise(file->fd, (off_t)offset, (off_t)size, POSIX_FADV_WILLNEED);
}

int kpi_posix_truncate(const struct kp_io *io, struct kp_io_file *file, uint64_t size)
{
    (void)io;
    return ftruncate(file->fd, (off_t)size) == 0 ? 0 : -errno;
}

int kpi_posix_rename(const struct kp_io *io, const char *from, const char *to)
{
    (void)io;
    return rename(from, to) == 0 ? 0 : -errno;
}

int kpi_posix_unlink(const struct kp_io *io, const char *path)
{
    (void)io;
    return unlink(path) == 0 ? 0 : -errno;
}

int kpi_posix_mkdir(const struct kp_io *io, const char *path)
{
    (void)io;
    return mkdir(path, 0750) == 0 ? 0 : -errno;
}

int kpi_posix_sync_dir(const struct kp_io *io, const char *path)
{
    (void)io;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int result = fsync(fd) == 0 ? 0 : -errno;
    close(fd);
    return result;
}

int kpi_posix_list(const struct kp_io *io, const char *path,
                   void (*each)(void *ctx, const char *name), void *ctx)
{
    (void)io;
    DIR *dir = opendir(path);
    if (dir == NULL)
        return -errno;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL)
            break;
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            each(ctx, entry->d_name);
    }
    int result = -errno;
    closedir(dir);
    return result;
}

/* The pid is written for whoever finds the lock taken; the lock itself is flock's and ends with the
 * process, however it ends. */
int kpi_posix_lock(const struct kp_io *io, const char *dir, struct kp_io_file **out, int *out_pid)
{
    (void)io;
    char path[4096];
    if ((size_t)snprintf(path, sizeof(path), "%s/lock", dir) >= sizeof(path))
        return -ENAMETOOLONG;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0)
        return -errno;
    char text[32] = {0};
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int error = errno;
        ssize_t got = pread(fd, text, sizeof(text) - 1, 0);
        *out_pid = got > 0 ? (int)strtol(text, NULL, 10) : 0;
        close(fd);
        return error == EWOULDBLOCK ? -EBUSY : -error;
    }
    int length = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    /* a full disk must not keep a store from being opened: without the pid the lock still holds */
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)length, 0) != length)
        errno = 0;
    struct kp_io_file *file = file_new(fd, true);
    if (file == NULL)
        return -ENOMEM;
    *out = file;
    return 0;
}
