/* SPDX-License-Identifier: Apache-2.0
 *
 * Raw records into total order (mono, cpu, arrival). Records come nearly ordered per CPU and in no
 * order between CPUs; they are held until the source says that nothing older can come, or until the
 * bytes held exceed the bound. Interval records carry their end as stamp, so nothing waits for a
 * duration.
 *
 *   push -> one sorted lane per CPU -> merge of the lane heads -> pop
 *
 * Not thread-safe.
 */
#ifndef KP_INGEST_ORDER_H
#define KP_INGEST_ORDER_H

#include <stddef.h>

#include "base/status.h"
#include "base/time.h"

#define KPI_ORDER_CPUS_MAX   4096
#define KPI_ORDER_RECORD_MAX 4096 /* bytes of one record */

struct kpi_order;

struct kpi_ordered {
    const void *record; /* valid until the next pop or push */
    uint32_t size_bytes;
    bool late; /* older than one that was popped before */
};

/* bytes_max bounds what is held; above it the oldest leave without waiting. */
kp_status kpi_order_init(size_t bytes_max, struct kpi_order **out) KP_MUST;
void kpi_order_deinit(struct kpi_order *order);
/* Copies one record, made at mono on cpu. INVALID: empty, too long or a CPU out of range. */
kp_status kpi_order_push(struct kpi_order *order, int64_t mono, uint32_t cpu, const void *record,
                         size_t size_bytes) KP_MUST;
/* Every record stamped before mono has been pushed. Never goes back. */
void kpi_order_complete(struct kpi_order *order, int64_t mono);
/* The next record that may leave; false when none may yet. */
bool kpi_order_pop(struct kpi_order *order, struct kpi_ordered *out);
/* Records and bytes held. */
uint64_t kpi_order_held(const struct kpi_order *order, size_t *out_bytes);

#endif
