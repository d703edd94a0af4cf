/* SPDX-License-Identifier: Apache-2.0
 *
 * Interval algebra: a set of half-open intervals for each key, disjoint and ascending, and the
 * operators over them (op_interval.c, op_flatten.c, op_self.c).
 */
#ifndef KP_QUERY_SPANS_H
#define KP_QUERY_SPANS_H

#include "query/keyed.h"
#include "query/sides.h"

struct kpi_span {
    kp_time from, to; /* [from, to) */
};

/* How the rows of a table are intervals: bound expressions. */
struct kpi_interval {
    struct kpi_expr *from, *to;
    struct kpi_expr **keys;
    uint32_t keys_count;
};

struct kpi_spans {
    struct kpi_interval interval;
    struct kpi_keyed rows;   /* from, to, keys of every row */
    struct kpi_span *spans;  /* of all keys, each key's together */
    uint32_t *first, *count; /* per first row of a key: its spans */
    const struct kp_vec **vecs;
};

/* Before the first row. */
kp_status kpi_spans_open(struct kpi_spans *spans, struct kpi_ctx *ctx,
                         const struct kpi_interval *interval);
/* Reads input to its end; each interval grows by `margin` on both sides. With base as the reader.
 */
kp_status kpi_spans_build(struct kpi_spans *spans, struct kpi_op *base, struct kpi_op *input,
                          kp_dur margin);
/* Marks what the intervals read. */
void kpi_interval_need(const struct kpi_interval *interval, bool *need);

enum kpi_interval_kind { KPI_INTERSECT, KPI_SUBTRACT, KPI_WITHIN };

/* Pieces of the rows of inputs[0] that lie inside or outside of what inputs[1] covers; WITHIN:
 * whole rows that come within margin of it. Columns start, ts and dur (-1 = none) become the
 * piece's. */
struct kpi_interval_req {
    enum kpi_interval_kind kind;
    struct kpi_op *inputs[2];
    struct kpi_interval intervals[2];
    int start, ts, dur;
    kp_dur margin;
};
struct kpi_op *kpi_op_interval(struct kpi_run *run, const struct kpi_interval_req *req);
/* The union of the intervals of each key: columns are the keys (fields), then start, ts, dur. */
struct kpi_op *kpi_op_flatten(struct kpi_op *input, const struct kpi_interval *interval,
                              const struct kp_field *fields);
/* The rows that are intervals, and behind their columns one of this name: the time of which they
 * are the last to have begun (op_self.c). */
struct kpi_op *kpi_op_self(struct kpi_op *input, const struct kpi_interval *interval,
                           struct kp_str name);

#endif
