/* SPDX-License-Identifier: Apache-2.0
 *
 * What the two backends on real files share: the handle and the name operations (io.c).
 */
#ifndef KP_STORAGE_IO_INT_H
#define KP_STORAGE_IO_INT_H

#include "storage/io.h"

struct kp_io_file {
    int fd;
    bool writable;
    /* io_uring: the queue that has this file in its registered table, and where. A writable file is
     * used by one thread at a time, so these have one owner; read-only files are never registered.
     */
    struct kp_io_queue *queue;
    unsigned slot;
};

/* Takes a file out of its queue's table (io_uring.c). */
void kpi_uring_forget(struct kp_io_file *file);

int kpi_posix_open(const struct kp_io *io, const char *path, int flags, struct kp_io_file **out);
void kpi_posix_close(const struct kp_io *io, struct kp_io_file *file);
int64_t kpi_posix_size(const struct kp_io *io, struct kp_io_file *file);
void kpi_posix_expect(const struct kp_io *io, struct kp_io_file *file, uint64_t offset,
                      uint64_t size);
int kpi_posix_truncate(const struct kp_io *io, struct kp_io_file *file, uint64_t size);
int kpi_posix_rename(const struct kp_io *io, const char *from, const char *to);
int kpi_posix_unlink(const struct kp_io *io, const char *path);
int kpi_posix_mkdir(const struct kp_io *io, const char *path);
int kpi_posix_sync_dir(const struct kp_io *io, const char *path);
int kpi_posix_list(const struct kp_io *io, const char *path,
                   void (*each)(void *ctx, const char *name), void *ctx);
int kpi_posix_lock(const struct kp_io *io, const char *dir, struct kp_io_file **out, int *out_pid);

#define KPI_POSIX_NAMES                                                                     \
    .open = kpi_posix_open, .close = kpi_posix_close, .size = kpi_posix_size,               \
    .expect = kpi_posix_expect, .truncate = kpi_posix_truncate, .rename = kpi_posix_rename, \
    .unlink = kpi_posix_unlink, .mkdir = kpi_posix_mkdir, .sync_dir = kpi_posix_sync_dir,   \
    .list = kpi_posix_list, .lock = kpi_posix_lock

#endif
