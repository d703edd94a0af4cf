/* SPDX-License-Identifier: Apache-2.0
 *
 * scan (op_steps.c): a sequence of steps matched over the rows, as bind_steps.c describes it.
 *
 * Expressions read one row made of: the input's columns, the declared columns, then for each step
 * the same columns again as they were when the step last matched.
 */
#ifndef KP_QUERY_STEPS_H
#define KP_QUERY_STEPS_H

#include "query/op.h"

struct kpi_step_plan {
    bool optional;
    bool silent; /* output=none */
    bool last;   /* output=last: given when the sequence leaves the step */
    struct kpi_expr *condition;
    struct kpi_expr **values; /* assignments, in order */
    uint32_t *targets;        /* declared column of each */
    uint32_t count;
};

struct kpi_steps_plan {
    struct kpi_step_plan *steps;
    uint32_t count;
    uint32_t inputs, declared;         /* columns */
    const struct kpi_value *otherwise; /* per declared column */
    const struct kp_schema *scope;     /* the row that expressions read */
    bool match_id;                     /* one more column */
};

#define KPI_STEPS_MAX 64

struct kpi_op *kpi_op_steps(struct kpi_op *input, const struct kp_field *fields, uint32_t count,
                            const struct kpi_steps_plan *plan);

#endif
