/* SPDX-License-Identifier: Apache-2.0
 *
 * Spans of any protocol on their way into the stream `spans`. A parser (otlp_json.c) makes an array
 * of kpi_span; spans.c checks the ids, drops what was sent before, finds the transaction, binds the
 * span to its thread and appends rows.
 */
#ifndef KP_INGEST_SPANS_H
#define KP_INGEST_SPANS_H

#include "ingest/ingest.h"

#define KPI_ATTRS_MAX      256 /* attributes kept of one span or resource; SDKs stop at 128 */
#define KPI_TRACE_ID_CHARS 32
#define KPI_SPAN_ID_CHARS  16

struct kpi_attr {
    struct kp_str key;
    struct kp_str member; /* JSON: "key":value */
    struct kp_str text;   /* string value or decimal integer; valid with scalar */
    bool scalar;
};

struct kpi_attrs {
    const struct kpi_attr *items;
    uint32_t count;
    bool cut; /* there were more than KPI_ATTRS_MAX */
};

/* Everything is borrowed from the parser until kpi_spans_store returns. */
struct kpi_span {
    struct kp_str trace_id, span_id, parent_id; /* hex, any case */
    struct kp_str name, status_msg;
    struct kp_str events; /* JSON array, or empty */
    int64_t kind, status; /* numbers of the catalogue */
    kp_time start, end;
    struct kpi_attrs attrs;
    const struct kpi_attrs *resource;
    const char *bad; /* why the parser gave it up; NULL = good */
};

/* Stores the good ones and counts the rest. LIMIT and the errors of kp_store_append pass through:
 * then out counts what was stored before. One request at a time; callers may be any threads. */
kp_status kpi_spans_store(struct kp_store *store, const struct kp_span_opts *opts,
                          const struct kpi_span *spans, uint32_t count,
                          struct kp_otlp_result *out) KP_MUST;

#endif
