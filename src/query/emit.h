/* SPDX-License-Identifier: Apache-2.0
 *
 * A batch that an operator fills row by row, for those that give other rows than they get (join,
 * mv-expand, parse, intervals). Text is not copied: it must live until the batch has been read.
 */
#ifndef KP_QUERY_EMIT_H
#define KP_QUERY_EMIT_H

#include "query/op.h"

struct kpi_emit {
    struct kp_batch batch; /* batch.rows: rows so far */
    uint64_t **nulls;      /* per column: room for nulls; NULL = nobody needs the column */
};

/* Makes room for KP_VECTOR_ROWS rows of the columns that op's readers need. */
kp_status kpi_emit_open(struct kpi_op *op, struct kpi_emit *out);
/* Starts an empty batch. */
void kpi_emit_begin(struct kpi_emit *emit);
/* Sets a cell of the row under construction; columns nobody needs are ignored. */
void kpi_emit_copy(struct kpi_emit *emit, uint32_t col, const struct kp_vec *from, uint32_t row);
void kpi_emit_value(struct kpi_emit *emit, uint32_t col, struct kpi_value value);
void kpi_emit_null(struct kpi_emit *emit, uint32_t col);
/* Ends the row; its number. */
static inline uint32_t kpi_emit_row(struct kpi_emit *emit)
{
    return emit->batch.rows++;
}
static inline bool kpi_emit_full(const struct kpi_emit *emit)
{
    return emit->batch.rows == KP_VECTOR_ROWS;
}

#endif
