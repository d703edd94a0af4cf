/* SPDX-License-Identifier: Apache-2.0
 *
 * The union operator's inside, for the walks over the tree of operators (plan, explain, exec).
 */
#ifndef KP_QUERY_UNION_H
#define KP_QUERY_UNION_H

#include "query/op.h"

struct kpi_union_op {
    struct kpi_op base; /* base.input is NULL */
    struct kpi_op **inputs;
    uint32_t inputs_count, current;
};

/* The union, or NULL when op is another operator. */
struct kpi_union_op *kpi_union_of(struct kpi_op *op);

#endif
