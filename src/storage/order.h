/* SPDX-License-Identifier: Apache-2.0
 *
 * The one order of rows: (ts, host, cpu, seq). Files are written in it and scans answer in it.
 */
#ifndef KP_STORAGE_ORDER_H
#define KP_STORAGE_ORDER_H

#include "column/batch.h"

/* Place of a row in the order. The actor is looked at for its host only when times are equal. */
struct kpi_row_key {
    kp_time ts;
    uint64_t seq;
    uint32_t cpu;
    kp_actor_id actor; /* of one registry for all compared keys */
};

static inline int kpi_row_compare(const struct kp_actors *actors, const struct kpi_row_key *a,
                                  const struct kpi_row_key *b)
{
    if (a->ts != b->ts)
        return a->ts < b->ts ? -1 : 1;
    if (a->actor != b->actor) {
        int order = kp_str_compare(kp_actors_get(actors, a->actor)->host,
                                   kp_actors_get(actors, b->actor)->host);
        if (order != 0)
            return order;
    }
    if (a->cpu != b->cpu)
        return a->cpu < b->cpu ? -1 : 1;
    return a->seq < b->seq ? -1 : a->seq > b->seq;
}

#endif
