/* SPDX-License-Identifier: Apache-2.0
 *
 * reduce, consume, project-by-names and assert-schema (bind_reduce.c, bind_names.c).
 */
#ifndef KP_QUERY_SHAPE_H
#define KP_QUERY_SHAPE_H

#include "query/plan.h"

/* Reads everything, gives nothing. */
struct kpi_op *kpi_op_consume(struct kpi_op *input);

struct kpi_reduce {
    struct kpi_expr *text;
    struct kp_str separators; /* characters that part words beside those that are no letters and
                                 digits, and that a star takes in */
    double threshold;         /* patterns of a smaller share of the rows become `*` */
};
/* Columns Pattern, Count, Representative (op_reduce.c). */
struct kpi_op *kpi_op_reduce(struct kpi_op *input, const struct kpi_reduce *reduce);
struct kpi_op *kpi_bind_reduce(struct kpi_bind *bind, struct kpi_op *input,
                               const struct kpi_stage *stage);

/* Columns by names that are values, and a check of the columns (bind_names.c). */
struct kpi_op *kpi_bind_by_names(struct kpi_bind *bind, struct kpi_op *input,
                                 const struct kpi_stage *stage);
struct kpi_op *kpi_bind_assert_schema(struct kpi_bind *bind, struct kpi_op *input,
                                      const struct kpi_stage *stage);
/* column_names_of(T): an array. */
struct kpi_expr *kpi_bind_column_names(struct kpi_bind *bind, const struct kpi_node *node);

#endif
