/* SPDX-License-Identifier: Apache-2.0
 *
 * Result tables while they are made; struct kp_rows of causal.h is one of them.
 */
#ifndef KP_CAUSAL_TABLE_H
#define KP_CAUSAL_TABLE_H

#include "causal/causal.h"
#include "causal/cursor.h"
#include "causal/list.h"

/* A table for a schema; rows are added one by one, values default to 0 and "". Strings are
 * borrowed: they must live as long as the arena. */
kp_status kpi_rows_open(struct kp_arena *arena, const struct kp_schema *schema,
                        struct kp_rows **out) KP_MUST;
void kpi_rows_add(struct kp_rows *rows);
void kpi_rows_i64(struct kp_rows *rows, uint32_t column, int64_t value);
void kpi_rows_f64(struct kp_rows *rows, uint32_t column, double value);
void kpi_rows_str(struct kp_rows *rows, uint32_t column, struct kp_str value);
void kpi_rows_null(struct kp_rows *rows, uint32_t column);
void kpi_rows_note(struct kp_rows *rows, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* What was read for the table. */
void kpi_rows_read(struct kp_rows *rows, const struct kpi_reader *reader);
/* OK, or LIMIT when the arena ran out while rows were added. */
kp_status kpi_rows_check(const struct kp_rows *rows, struct kp_error *err) KP_MUST;

#endif
