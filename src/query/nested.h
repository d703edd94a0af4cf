/* SPDX-License-Identifier: Apache-2.0
 *
 * top-nested: bound by bind_nested.c, run by op_nested.c.
 */
#ifndef KP_QUERY_NESTED_H
#define KP_QUERY_NESTED_H

#include "query/plan.h"
#include "query/rowset.h"

struct kpi_nested_level {
    struct kpi_expr *key;
    struct kpi_item *aggregate;
    uint64_t count; /* UINT64_MAX = all */
    bool ascending;
    bool labelled;          /* the rest is a row, with this label */
    bool kept;              /* the rest goes on: a level from here on is labelled */
    struct kpi_value label; /* of the key's type */
};

struct kpi_nested {
    struct kpi_bind bind; /* names in force */
    struct kpi_nested_level *levels;
    uint32_t count;
    bool *need; /* columns of the input that keys and aggregates read */
};

/* fields: for each level its key; the types of the aggregates are found out. */
struct kpi_op *kpi_op_nested(struct kpi_op *input, const struct kpi_nested *nested,
                             const struct kp_field *keys, const struct kp_str *names);
struct kpi_op *kpi_bind_nested(struct kpi_bind *bind, struct kpi_op *input,
                               const struct kpi_stage *stage);

#endif
