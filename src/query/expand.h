/* SPDX-License-Identifier: Apache-2.0
 *
 * mv-expand (op_expand.c), as bind_shape.c describes it.
 */
#ifndef KP_QUERY_EXPAND_H
#define KP_QUERY_EXPAND_H

#include "query/op.h"

/* Where a column of the answer comes from. */
struct kpi_expand_output {
    enum { KPI_EXPAND_COLUMN, KPI_EXPAND_ITEM, KPI_EXPAND_NUMBER } from;
    uint32_t index; /* COLUMN: of the input; ITEM: of items */
};

struct kpi_expand {
    struct kpi_expr **items; /* dynamic; at most KPI_ARGS_MAX */
    uint32_t count;
    bool bags_as_arrays; /* bagexpansion=array */
    const struct kpi_expand_output *outputs;
};

/* fields and expand->outputs: the columns of the answer. */
struct kpi_op *kpi_op_expand(struct kpi_op *input, const struct kp_field *fields, uint32_t count,
                             const struct kpi_expand *expand);

#endif
