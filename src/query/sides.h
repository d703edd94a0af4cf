/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators with several inputs (union, join and their kin), for the walks over the tree of
 * operators (plan, explain, exec).
 */
#ifndef KP_QUERY_SIDES_H
#define KP_QUERY_SIDES_H

#include "query/op.h"

struct kpi_sides_op {
    struct kpi_op base; /* base.input is NULL, base.sides true */
    struct kpi_op **inputs;
    uint32_t inputs_count, current;
};

/* The operator as one with several inputs, or NULL when it has at most one. */
struct kpi_sides_op *kpi_sides_of(struct kpi_op *op);

#endif
