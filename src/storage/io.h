/* SPDX-License-Identifier: Apache-2.0
 *
 * The I/O table: every byte storage reads or writes goes through one of three backends that have
 * the same functions: io_uring (io_uring.c), plain threads and pread/pwrite (io_threads.c), and the
 * simulator's disk with faults (io_sim.c). Data operations are submitted and reaped; name
 * operations are synchronous because they are rare.
 *
 * A queue belongs to one thread (SINGLE_ISSUER). A request belongs to the caller and must stay in
 * place until it is done. A write or sync that failed or came back short poisons its file: the
 * caller must not use the file for writing again (storage.md's fsync rule; see docs/format.md).
 */
#ifndef KP_STORAGE_IO_H
#define KP_STORAGE_IO_H

#include <stddef.h>

#include "base/status.h"
#include "base/time.h"

enum kp_io_op { KP_IO_READ, KP_IO_WRITE, KP_IO_SYNC };

enum kp_io_open {
    KP_IO_RDONLY = 0,
    KP_IO_RDWR = 1,
    KP_IO_CREATE = 2,  /* with RDWR: must not exist yet */
    KP_IO_DIRECT = 4,  /* page cache bypassed where the file system can; buffers 4 KiB aligned */
    KP_IO_PRIVATE = 8, /* with CREATE: nobody but the owner may read it */
};

struct kp_io_file; /* backend's own */

struct kp_io_req {
    enum kp_io_op op;
    struct kp_io_file *file;
    void *buf;
    size_t size;
    uint64_t offset;
    int64_t result; /* bytes done or -errno; valid when done */
    bool done;
    struct kp_io_req *next; /* backend's own */
};

struct kp_io_queue; /* backend's own; one thread */

struct kp_io {
    const char *name; /* "io_uring", "threads", "sim" */
    void *state;      /* backend's own: the simulator's disk */

    kp_status (*queue_open)(const struct kp_io *io, unsigned depth, struct kp_io_queue **out);
    void (*queue_close)(struct kp_io_queue *queue);
    /* Buffers that will be used again and again; a hint, at most once per queue. */
    kp_status (*register_buffers)(struct kp_io_queue *queue, void *base, size_t size);
    /* Queues a request; LIMIT when depth requests are already out. */
    kp_status (*submit)(struct kp_io_queue *queue, struct kp_io_req *req);
    /* Waits until at least one submitted request is done; all done ones are marked. */
    kp_status (*reap)(struct kp_io_queue *queue);

    /* Names. Paths are relative to nothing: whole paths. All return -errno or 0 (size: >= 0). */
    int (*open)(const struct kp_io *io, const char *path, int flags, struct kp_io_file **out);
    void (*close)(const struct kp_io *io, struct kp_io_file *file);
    int64_t (*size)(const struct kp_io *io, struct kp_io_file *file);
    /* A hint: this will be read soon, and the disk may begin. */
    void (*expect)(const struct kp_io *io, struct kp_io_file *file, uint64_t offset, uint64_t size);
    int (*truncate)(const struct kp_io *io, struct kp_io_file *file, uint64_t size);
    int (*rename)(const struct kp_io *io, const char *from, const char *to);
    int (*unlink)(const struct kp_io *io, const char *path);
    int (*mkdir)(const struct kp_io *io, const char *path);
    int (*sync_dir)(const struct kp_io *io, const char *path);
    /* Calls each(ctx, name) for every entry but . and .. in no order. */
    int (*list)(const struct kp_io *io, const char *path, void (*each)(void *ctx, const char *name),
                void *ctx);
    /* Takes the exclusive writer lock of a directory: -EBUSY and the holder's pid when taken. */
    int (*lock)(const struct kp_io *io, const char *dir, struct kp_io_file **out, int *out_pid);
};

/* Backends. The first two are stateless. */
const struct kp_io *kp_io_uring(void); /* NULL when the kernel refuses io_uring */
const struct kp_io *kp_io_threads(void);
const struct kp_io *kp_io_default(void); /* io_uring where it works, else threads */

/* One request and wait; result as in kp_io_req. For rare and serial work. */
int64_t kp_io_once(const struct kp_io *io, struct kp_io_queue *queue, enum kp_io_op op,
                   struct kp_io_file *file, void *buf, size_t size, uint64_t offset);

#endif
