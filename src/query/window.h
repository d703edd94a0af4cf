/* SPDX-License-Identifier: Apache-2.0
 *
 * Row functions: prev, next, row_number, row_cumsum, ranks, sessions. The binder collects the calls
 * of one operator here; the window operator (op_window.c) puts a column for each behind those of
 * its input.
 */
#ifndef KP_QUERY_WINDOW_H
#define KP_QUERY_WINDOW_H

#include "query/op.h"

enum kpi_window_kind {
    KPI_WINDOW_SHIFT,
    KPI_WINDOW_NUMBER,
    KPI_WINDOW_CUMSUM,
    KPI_WINDOW_RANK_MIN,   /* equal rows have the number of the first of them */
    KPI_WINDOW_RANK_DENSE, /* equal rows have one number, the next ones the next */
    KPI_WINDOW_SESSION,    /* instant at which the row's session began */
};

struct kpi_window {
    enum kpi_window_kind kind;
    struct kpi_expr *value;     /* SHIFT: what is taken; CUMSUM: long, real or timespan; ranks:
                                   what is compared; SESSION: an instant */
    struct kpi_expr *restart;   /* CUMSUM, NUMBER: begins anew where it holds; may be NULL */
    int64_t by;                 /* SHIFT: rows onward, negative backward; NUMBER: first number;
                                   SESSION: ns that a session may last */
    int64_t gap;                /* SESSION: ns between its rows */
    struct kpi_value otherwise; /* SHIFT: where there is no such row */
    enum kp_type type;
};

#define KPI_WINDOWS_MAX 64

struct kpi_windows {
    struct kpi_window items[KPI_WINDOWS_MAX];
    struct kpi_expr *exprs[KPI_WINDOWS_MAX]; /* what reads the column of each */
    uint32_t count;
    uint32_t columns;          /* of the input: window i becomes column columns + i */
    struct kpi_windows *below; /* row functions inside arguments of these; NULL = none */
};

/* Keeps the rows in memory, as sort does. */
struct kpi_op *kpi_op_window(struct kpi_op *input, const struct kpi_windows *windows);

#endif
