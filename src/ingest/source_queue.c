/* SPDX-License-Identifier: Apache-2.0
 *
 * The two positions are the only shared words: a position is stored with release order after the
 * bytes it covers were written (or read), and loaded with acquire order by the other side.
 */
#include "ingest/source_queue.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"

static kp_status map_twice(int fd, size_t size, uint8_t **out, struct kp_error *err)
{
    uint8_t *base = mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return kp_error_os(err, KP_NO_MEMORY, errno, "cannot reserve %zu bytes for records",
                           2 * size);
    for (size_t i = 0; i < 2; i++) {
        if (mmap(base + i * size, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
            MAP_FAILED) {
            int failed = errno;
            munmap(base, 2 * size);
            return kp_error_os(err, KP_NO_MEMORY, failed, "cannot map %zu bytes for records", size);
        }
    }
    *out = base;
    return KP_OK;
}

kp_status kpi_queue_init(struct kpi_queue *out, size_t capacity_bytes, struct kp_error *err)
{
    uint8_t *bytes = NULL;
    kp_status status;

    kp_assert((capacity_bytes & (capacity_bytes - 1)) == 0);
    int fd = memfd_create("kprobe-records", MFD_CLOEXEC);
    if (fd < 0)
        return kp_error_os(err, KP_NO_MEMORY, errno, "cannot make memory for records");
    if (ftruncate(fd, (off_t)capacity_bytes) != 0)
        status = kp_error_os(err, KP_NO_MEMORY, errno, "cannot get %zu bytes for records",
                             capacity_bytes);
    else
        status = map_twice(fd, capacity_bytes, &bytes, err);
    close(fd);
    if (status != KP_OK)
        return status;
    if (mlock(bytes, capacity_bytes) !=
        0) /* not allowed: fault the pages in now instead of later */
        memset(bytes, 0, capacity_bytes);
    *out = (struct kpi_queue){.bytes = bytes, .capacity_bytes = capacity_bytes};
    return KP_OK;
}

void kpi_queue_deinit(struct kpi_queue *queue)
{
    if (queue->bytes)
        munmap(queue->bytes, 2 * queue->capacity_bytes);
    *queue = (struct kpi_queue){0};
}

static size_t used(const struct kpi_queue *queue)
{
    return (size_t)(__atomic_load_n(&queue->written, __ATOMIC_ACQUIRE) -
                    __atomic_load_n(&queue->released, __ATOMIC_ACQUIRE));
}

size_t kpi_queue_room(const struct kpi_queue *queue)
{
    return queue->capacity_bytes - used(queue);
}

void kpi_queue_put(struct kpi_queue *queue, const void *bytes, size_t size_bytes)
{
    kp_assert(size_bytes <= kpi_queue_room(queue));
    memcpy(queue->bytes + (queue->written & (queue->capacity_bytes - 1)), bytes, size_bytes);
    __atomic_store_n(&queue->written, queue->written + size_bytes, __ATOMIC_RELEASE);
}

size_t kpi_queue_peek(const struct kpi_queue *queue, const void **out_bytes)
{
    *out_bytes = queue->bytes + (queue->released & (queue->capacity_bytes - 1));
    return used(queue);
}

void kpi_queue_release(struct kpi_queue *queue, size_t size_bytes)
{
    kp_assert(size_bytes <= used(queue));
    __atomic_store_n(&queue->released, queue->released + size_bytes, __ATOMIC_RELEASE);
}
