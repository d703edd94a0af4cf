/* SPDX-License-Identifier: Apache-2.0
 *
 * Many transactions walked over shared readings of the events (cohort.c): what EFFECTS and CULPRITS
 * are made from.
 */
#ifndef KP_CAUSAL_COHORT_H
#define KP_CAUSAL_COHORT_H

#include "causal/cause.h"

struct kpi_cohort {
    struct kpi_reader *reader;
    struct kp_arena *arena;
    struct kpi_txn *txns; /* in order of start; stamps become the kernel's */
    uint32_t count;
    /* False: the slice does not count. It may shorten the slice. NULL = every slice counts. */
    bool (*keep)(void *ctx, const struct kpi_world *world, struct kpi_slice *slice);
    /* The causes of transaction `index` from the slices that count. They, the world and its texts
     * are gone after the call. */
    void (*each)(void *ctx, const struct kpi_causes *causes, uint32_t index);
    void *ctx;
};

/* Walks all of them, in order. Transactions whose spans cannot be placed have no causes. */
kp_status kpi_cohort_walk(struct kpi_cohort *cohort, struct kp_error *err) KP_MUST;

#endif
