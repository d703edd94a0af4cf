/* SPDX-License-Identifier: Apache-2.0
 *
 * Bounded byte queue between one writer and one reader. Its memory is mapped twice in a row, so
 * that what is written and what is read is always one piece.
 */
#ifndef KP_INGEST_SOURCE_QUEUE_H
#define KP_INGEST_SOURCE_QUEUE_H

#include <stddef.h>

#include "base/status.h"

struct kpi_queue {
    uint8_t *bytes; /* 2 * capacity_bytes mapped */
    size_t capacity_bytes;
    uint64_t written; /* positions only grow; each belongs to one side, the other reads it */
    uint64_t released;
};

/* capacity_bytes: a power of two of at least a page. The memory is locked if the limits allow it.
 */
kp_status kpi_queue_init(struct kpi_queue *out, size_t capacity_bytes,
                         struct kp_error *err) KP_MUST;
/* Zeroed queue is legal. */
void kpi_queue_deinit(struct kpi_queue *queue);

/* Writer. */
size_t kpi_queue_room(const struct kpi_queue *queue);
/* Appends; size_bytes is at most the room. */
void kpi_queue_put(struct kpi_queue *queue, const void *bytes, size_t size_bytes);

/* Reader: everything written and not yet released. */
size_t kpi_queue_peek(const struct kpi_queue *queue, const void **out_bytes);
void kpi_queue_release(struct kpi_queue *queue, size_t size_bytes);

#endif
