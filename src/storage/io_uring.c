/* SPDX-License-Identifier: Apache-2.0
 *
 * I/O through io_uring: the default, and the only user of liburing.
 *
 * One ring per queue, owned by one thread (SINGLE_ISSUER), completions run when that thread asks
 * for them (DEFER_TASKRUN): no interrupts into the capture's drain loop. Both flags came with Linux
 * 6.1; older kernels get a plain ring. Writes never link to syncs: the caller checks the length of
 * a write before it syncs, because a short write would let a linked sync pass over a hole.
 *
 * A read that nothing else is waiting for needs no ring: who reaps does it. So a queue that only
 * reads one thing at a time, as scans mostly do, never makes a ring, which costs more than many
 * questions as a whole.
 *
 * Writable files are put into the ring's table on first use (a file has one writing thread);
 * read-only files are shared by scans of many threads and stay plain descriptors.
 */
#include "storage/io_int.h"

#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/assert.h"

#define SLOTS     16u
#define SIZE_MAX_ (1u << 30) /* one request moves at most this much; more comes back short */

struct kp_io_queue {
    struct io_uring ring;
    unsigned depth;
    unsigned out; /* submitted, not done */
    bool has_ring, has_slots;
    struct kp_io_req *alone; /* a read that the ring has not got; then there is no other */
    struct kp_io_file *slots[SLOTS];
    char *fixed; /* registered range */
    size_t fixed_size;
};

static int ring_init(struct io_uring *ring, unsigned depth)
{
    static const unsigned wishes[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CLAMP,
        IORING_SETUP_CLAMP,
        0,
    };
    int result = -EINVAL;
    for (unsigned i = 0; i < KP_ARRAY_LEN(wishes) && result == -EINVAL; i++) {
        struct io_uring_params params = {.flags = wishes[i]};
        result = io_uring_queue_init_params(depth, ring, &params);
    }
    return result;
}

static kp_status uring_queue_open(const struct kp_io *io, unsigned depth, struct kp_io_queue **out)
{
    (void)io;
    kp_assert(depth > 0 && depth <= 4096);
    struct kp_io_queue *queue = calloc(1, sizeof(*queue));
    if (queue == NULL)
        return KP_NO_MEMORY;
    queue->depth = depth;
    *out = queue;
    return KP_OK;
}

static kp_status ring_begin(struct kp_io_queue *queue)
{
    if (queue->has_ring)
        return KP_OK;
    int result = ring_init(&queue->ring, queue->depth);
    if (result < 0)
        return kp_status_from_errno(-result);
    int empty[SLOTS];
    for (unsigned i = 0; i < SLOTS; i++)
        empty[i] = -1;
    queue->has_slots = io_uring_register_files(&queue->ring, empty, SLOTS) == 0;
    queue->has_ring = true;
    return KP_OK;
}

static void uring_queue_close(struct kp_io_queue *queue)
{
    if (queue == NULL)
        return;
    kp_assert(queue->out == 0);
    for (unsigned i = 0; i < SLOTS; i++)
        if (queue->slots[i] != NULL)
            queue->slots[i]->queue = NULL;
    if (queue->has_ring)
        io_uring_queue_exit(&queue->ring);
    free(queue);
}

static kp_status uring_register_buffers(struct kp_io_queue *queue, void *base, size_t size)
{
    struct iovec range = {.iov_base = base, .iov_len = size};
    kp_status status = ring_begin(queue);
    if (status != KP_OK)
        return status;
    /* A hint: with a small RLIMIT_MEMLOCK the kernel refuses and plain writes are used. */
    if (io_uring_register_buffers(&queue->ring, &range, 1) == 0) {
        queue->fixed = base;
        queue->fixed_size = size;
    }
    return KP_OK;
}

static bool queue_knows(struct kp_io_queue *queue, struct kp_io_file *file)
{
    if (file->queue != NULL || !queue->has_slots || !file->writable)
        return file->queue == queue;
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        if (queue->slots[slot] != NULL)
            continue;
        if (io_uring_register_files_update(&queue->ring, slot, &file->fd, 1) != 1)
            return false;
        queue->slots[slot] = file;
        file->queue = queue;
        file->slot = slot;
        return true;
    }
    return false;
}

void kpi_uring_forget(struct kp_io_file *file)
{
    int none = -1;
    io_uring_register_files_update(&file->queue->ring, file->slot, &none, 1);
    file->queue->slots[file->slot] = NULL;
    file->queue = NULL;
}

static bool buffer_is_fixed(const struct kp_io_queue *queue, const struct kp_io_req *req)
{
    const char *buf = req->buf;
    return queue->fixed != NULL && buf >= queue->fixed && req->size <= queue->fixed_size &&
           (size_t)(buf - queue->fixed) <= queue->fixed_size - req->size;
}

static void sqe_fill(struct kp_io_queue *queue, struct io_uring_sqe *sqe, struct kp_io_req *req)
{
    bool known = queue_knows(queue, req->file);
    int fd = known ? (int)req->file->slot : req->file->fd;
    unsigned size = req->size > SIZE_MAX_ ? SIZE_MAX_ : (unsigned)req->size;
    if (req->op == KP_IO_SYNC)
        io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
    else if (req->op == KP_IO_WRITE && buffer_is_fixed(queue, req))
        io_uring_prep_write_fixed(sqe, fd, req->buf, size, req->offset, 0);
    else if (req->op == KP_IO_WRITE)
        io_uring_prep_write(sqe, fd, req->buf, size, req->offset);
    else if (buffer_is_fixed(queue, req))
        io_uring_prep_read_fixed(sqe, fd, req->buf, size, req->offset, 0);
    else
        io_uring_prep_read(sqe, fd, req->buf, size, req->offset);
    if (known)
        sqe->flags |= IOSQE_FIXED_FILE;
    io_uring_sqe_set_data(sqe, req);
}

static kp_status ring_submit(struct kp_io_queue *queue, struct kp_io_req *req)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&queue->ring);
    if (sqe == NULL)
        return KP_LIMIT;
    sqe_fill(queue, sqe, req);
    return KP_OK;
}

static kp_status uring_submit(struct kp_io_queue *queue, struct kp_io_req *req)
{
    if (queue->out == queue->depth)
        return KP_LIMIT;
    kp_status status = KP_OK;
    bool alone = !queue->has_ring && queue->out == 0 && req->op == KP_IO_READ;
    if (!alone)
        status = ring_begin(queue);
    if (status == KP_OK && queue->alone != NULL) {
        status = ring_submit(queue, queue->alone);
        queue->alone = status == KP_OK ? NULL : queue->alone;
    }
    if (status == KP_OK && !alone)
        status = ring_submit(queue, req);
    if (status != KP_OK)
        return status;
    req->done = false;
    queue->alone = alone ? req : NULL;
    queue->out++;
    return KP_OK;
}

static kp_status reap_alone(struct kp_io_queue *queue)
{
    struct kp_io_req *req = queue->alone;
    ssize_t result;
    do
        result = pread(req->file->fd, req->buf, KP_MIN(req->size, (size_t)SIZE_MAX_),
                       (off_t)req->offset);
    while (result < 0 && errno == EINTR);
    req->result = result < 0 ? -errno : result;
    req->done = true;
    queue->alone = NULL;
    queue->out--;
    return KP_OK;
}

static kp_status uring_reap(struct kp_io_queue *queue)
{
    if (queue->out == 0)
        return KP_OK;
    if (queue->alone != NULL)
        return reap_alone(queue);
    int result;
    do
        result = io_uring_submit_and_wait(&queue->ring, 1);
    while (result == -EINTR || result == -EAGAIN);
    if (result < 0 && result != -EBUSY)
        return kp_status_from_errno(-result);
    struct io_uring_cqe *cqe;
    unsigned head, count = 0;
    io_uring_for_each_cqe(&queue->ring, head, cqe)
    {
        struct kp_io_req *req = io_uring_cqe_get_data(cqe);
        req->result = cqe->res;
        req->done = true;
        count++;
    }
    io_uring_cq_advance(&queue->ring, count);
    queue->out -= count;
    return KP_OK;
}

static const struct kp_io uring_table = {
    .name = "io_uring",
    .queue_open = uring_queue_open,
    .queue_close = uring_queue_close,
    .register_buffers = uring_register_buffers,
    .submit = uring_submit,
    .reap = uring_reap,
    KPI_POSIX_NAMES,
};

static pthread_once_t probe_once = PTHREAD_ONCE_INIT;
static bool probe_works;

/* Containers may forbid it by seccomp, hosts by sysctl: the only sure probe is to make a ring. */
static void probe(void)
{
#ifdef __SANITIZE_THREAD__
    return; /* liburing maps rings by raw system calls: the sanitizer takes one for another */
#endif
    struct io_uring ring;
    if (ring_init(&ring, 2) < 0)
        return;
    io_uring_queue_exit(&ring);
    probe_works = true;
}

const struct kp_io *kp_io_uring(void)
{
    pthread_once(&probe_once, probe);
    return probe_works ? &uring_table : NULL;
}
