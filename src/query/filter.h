/* SPDX-License-Identifier: Apache-2.0
 *
 * The filter operator's inside, for who looks at conditions: plan.c takes those out that a source
 * applies itself, remark_value.c tells of those that make no sense.
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

/* The source below op when only filters and projections lie between, else NULL; and the column of
 * the source that column `column` of op passes on unchanged, or -1. */
struct kpi_op *kpi_plan_source(struct kpi_op *op);
int kpi_plan_column(const struct kpi_op *op, uint32_t column);
/* Remarks on conditions of a tree that ask a column for a value it cannot have. */
void kpi_remark_values(struct kpi_op *op);

#endif
