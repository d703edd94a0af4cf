/* SPDX-License-Identifier: Apache-2.0
 *
 * make-series (op_series.c), over rows that bind_series.c has grouped by key and step.
 */
#ifndef KP_QUERY_SERIES_H
#define KP_QUERY_SERIES_H

#include "query/op.h"

#define KPI_SERIES_STEPS_MAX (1024 * 1024)

struct kpi_series {
    uint32_t keys;                     /* first columns of the input; then the axis, then values */
    const struct kpi_value *otherwise; /* per value column: where no row is */
    struct kpi_value from, to, step;   /* of the axis's type; from and to may be null */
    bool nonempty;                     /* one row of defaults when nothing comes and no keys are */
};

/* fields: keys, then an array for each value, then the array of the axis. */
struct kpi_op *kpi_op_series(struct kpi_op *input, const struct kp_field *fields, uint32_t count,
                             const struct kpi_series *series);

#endif
