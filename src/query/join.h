/* SPDX-License-Identifier: Apache-2.0
 *
 * Joins: the hash join of all kinds (op_join.c) and the join on time (op_asof.c).
 */
#ifndef KP_QUERY_JOIN_H
#define KP_QUERY_JOIN_H

#include "query/sides.h"

enum kpi_join_kind {
    KPI_JOIN_INNER,
    KPI_JOIN_INNERUNIQUE, /* inner over the first left row of each key */
    KPI_JOIN_LEFTOUTER,
    KPI_JOIN_RIGHTOUTER,
    KPI_JOIN_FULLOUTER,
    KPI_JOIN_LEFTSEMI,
    KPI_JOIN_LEFTANTI,
    KPI_JOIN_ASOF, /* leftouter; the last right row of the key at or before the left one's ts */
};

/* Where a column of the answer comes from. */
struct kpi_join_output {
    uint32_t side; /* 0 left, 1 right */
    uint32_t column;
};

struct kpi_join {
    enum kpi_join_kind kind;
    struct kpi_op *inputs[2];
    struct kpi_expr **keys[2]; /* equal in number and type */
    uint32_t keys_count;
    uint32_t ts[2]; /* ASOF: the time column of each side */
    const struct kp_field *fields;
    const struct kpi_join_output *outputs;
    uint32_t outputs_count;
};

/* Rows in order of the left table, the matches of one row in order of the right table; rows of the
 * right table that met nothing come last. The right table is kept in memory. */
struct kpi_op *kpi_op_join(struct kpi_run *run, const struct kpi_join *join);
/* Both tables stream; only the last row of each key is kept. */
struct kpi_op *kpi_op_asof(struct kpi_run *run, const struct kpi_join *join);
/* Marks the columns that a join reads on both sides; prepares its key expressions. */
void kpi_join_need(struct kpi_op *op, const struct kpi_join *join);
bool kpi_join_prepare(struct kpi_ctx *ctx, const struct kpi_join *join);
void kpi_join_describe(const struct kpi_join *join, struct kp_buf *out);
/* Evaluates the keys of one side for a batch. */
void kpi_join_keys(const struct kpi_join *join, uint32_t side, const struct kp_batch *batch,
                   struct kpi_eval *eval, const struct kp_vec **out);

#endif
