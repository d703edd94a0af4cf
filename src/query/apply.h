/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators that bind_apply.c makes: sample (op_sample.c), and operators run once for each key
 * (op_apply.c): partition and mv-apply.
 */
#ifndef KP_QUERY_APPLY_H
#define KP_QUERY_APPLY_H

#include "query/bind.h"

struct kpi_op *kpi_op_sample(struct kpi_op *input, uint64_t rows_max);

/* Where a column of the answer comes from. */
struct kpi_apply_output {
    bool outer;     /* from the first row of the key, else from what the operators give */
    uint32_t index; /* of that table's columns */
};

struct kpi_apply {
    struct kpi_bind bind;        /* names in force */
    const struct kpi_pipe *pipe; /* operators without a source */
    uint32_t key;                /* column of the input; null is a key like any other */
    uint32_t inner; /* columns of the input that the operators see: the first so many */
    const struct kpi_apply_output *outputs;
};

struct kpi_op *kpi_op_apply(struct kpi_op *input, const char *word, const struct kp_field *fields,
                            uint32_t count, const struct kpi_apply *apply);

#endif
