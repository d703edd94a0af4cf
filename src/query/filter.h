/* SPDX-License-Identifier: Apache-2.0
 *
 * The filter operator's inside, for plan.c: it takes conditions out that a source applies itself.
 */
#ifndef KP_QUERY_FILTER_H
#define KP_QUERY_FILTER_H

#include "query/op.h"

struct kpi_filter_op {
    struct kpi_op base;
    struct kpi_expr *condition; /* NULL = nothing left to test */
    uint16_t *sel;
    struct kp_batch out;
};

/* The filter, or NULL when op is another operator. */
struct kpi_filter_op *kpi_filter_of(struct kpi_op *op);

#endif
