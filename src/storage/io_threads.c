/* SPDX-License-Identifier: Apache-2.0
 *
 * I/O through plain system calls in worker threads, for places where io_uring is forbidden. Each
 * queue has a small pool; requests wait in one list and come back in another. Short results and
 * errors are reported as the kernel gave them: what they mean is the caller's decision.
 */
#include "storage/io_int.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"

#define WORKERS_MAX 4u

struct kp_io_queue {
    pthread_mutex_t lock;
    pthread_cond_t work;
    pthread_cond_t finished;
    struct kp_io_req *waiting_head, **waiting_tail;
    struct kp_io_req *done;
    unsigned out;
    unsigned depth;
    bool stop;
    unsigned workers_count;
    pthread_t workers[WORKERS_MAX];
};

static int64_t request_run(const struct kp_io_req *req)
{
    ssize_t result;
    do {
        if (req->op == KP_IO_SYNC)
            result = fdatasync(req->file->fd);
        else if (req->op == KP_IO_WRITE)
            result = pwrite(req->file->fd, req->buf, req->size, (off_t)req->offset);
        else
            result = pread(req->file->fd, req->buf, req->size, (off_t)req->offset);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : result;
}

static void *worker(void *arg)
{
    struct kp_io_queue *queue = arg;
    pthread_mutex_lock(&queue->lock);
    for (;;) {
        while (queue->waiting_head == NULL && !queue->stop)
            pthread_cond_wait(&queue->work, &queue->lock);
        struct kp_io_req *req = queue->waiting_head;
        if (req == NULL)
            break;
        queue->waiting_head = req->next;
        if (queue->waiting_head == NULL)
            queue->waiting_tail = &queue->waiting_head;
        pthread_mutex_unlock(&queue->lock);
        int64_t result = request_run(req);
        pthread_mutex_lock(&queue->lock);
        req->result = result;
        req->next = queue->done;
        queue->done = req;
        pthread_cond_signal(&queue->finished);
    }
    pthread_mutex_unlock(&queue->lock);
    return NULL;
}

static void threads_queue_close(struct kp_io_queue *queue)
{
    if (queue == NULL)
        return;
    kp_assert(queue->out == 0);
    pthread_mutex_lock(&queue->lock);
    queue->stop = true;
    pthread_cond_broadcast(&queue->work);
    pthread_mutex_unlock(&queue->lock);
    for (unsigned i = 0; i < queue->workers_count; i++)
        pthread_join(queue->workers[i], NULL);
    pthread_cond_destroy(&queue->finished);
    pthread_cond_destroy(&queue->work);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

/* Signals are for the program's own threads. */
static void workers_start(struct kp_io_queue *queue, unsigned wanted)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (queue->workers_count < wanted &&
           pthread_create(&queue->workers[queue->workers_count], NULL, worker, queue) == 0)
        queue->workers_count++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static kp_status threads_queue_open(const struct kp_io *io, unsigned depth,
                                    struct kp_io_queue **out)
{
    (void)io;
    kp_assert(depth > 0);
    struct kp_io_queue *queue = calloc(1, sizeof(*queue));
    if (queue == NULL)
        return KP_NO_MEMORY;
    queue->depth = depth;
    queue->waiting_tail = &queue->waiting_head;
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->work, NULL);
    pthread_cond_init(&queue->finished, NULL);
    workers_start(queue, KP_MIN(depth, WORKERS_MAX));
    if (queue->workers_count == 0) {
        threads_queue_close(queue);
        return KP_NO_MEMORY;
    }
    *out = queue;
    return KP_OK;
}

static kp_status threads_register_buffers(struct kp_io_queue *queue, void *base, size_t size)
{
    (void)queue, (void)base, (void)size;
    return KP_OK; /* nothing to gain here */
}

static kp_status threads_submit(struct kp_io_queue *queue, struct kp_io_req *req)
{
    if (queue->out == queue->depth)
        return KP_LIMIT;
    req->done = false;
    req->next = NULL;
    queue->out++;
    pthread_mutex_lock(&queue->lock);
    *queue->waiting_tail = req;
    queue->waiting_tail = &req->next;
    pthread_cond_signal(&queue->work);
    pthread_mutex_unlock(&queue->lock);
    return KP_OK;
}

static kp_status threads_reap(struct kp_io_queue *queue)
{
    if (queue->out == 0)
        return KP_OK;
    pthread_mutex_lock(&queue->lock);
    while (queue->done == NULL)
        pthread_cond_wait(&queue->finished, &queue->lock);
    struct kp_io_req *req = queue->done;
    queue->done = NULL;
    pthread_mutex_unlock(&queue->lock);
    while (req != NULL) {
        struct kp_io_req *next = req->next;
        req->done = true;
        queue->out--;
        req = next;
    }
    return KP_OK;
}

static const struct kp_io threads_table = {
    .name = "threads",
    .queue_open = threads_queue_open,
    .queue_close = threads_queue_close,
    .register_buffers = threads_register_buffers,
    .submit = threads_submit,
    .reap = threads_reap,
    KPI_POSIX_NAMES,
};

const struct kp_io *kp_io_threads(void)
{
    return &threads_table;
}
