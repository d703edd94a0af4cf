/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows that user space makes while recording (gaps, clock, capture, cgroup, cgroup_stat), and the
 * way of every batch into the store: a busy store is waited for a little, then the batch is dropped
 * and becomes a row of gaps itself. Thread-safe.
 */
#ifndef KP_INGEST_ROWS_H
#define KP_INGEST_ROWS_H

#include "ingest/cgroups.h"
#include "ingest/clock.h"
#include "ingest/decode.h"

/* Numbers of the catalogue's names. */
enum { KPI_CAPTURE_START, KPI_CAPTURE_STOP, KPI_CAPTURE_KIND };
enum { KPI_STATE_OFF, KPI_STATE_ON, KPI_STATE_UNAVAILABLE };

struct kpi_rows;

struct kpi_capture {
    int64_t op, state;
    const char *stream, *why;
};

/* actor stands in every row; ts = mono + offset. */
kp_status kpi_rows_init(struct kp_store *store, kp_actor_id actor, int64_t offset,
                        struct kpi_rows **out) KP_MUST;
/* Does not flush. */
void kpi_rows_deinit(struct kpi_rows *rows);

void kpi_rows_gap(struct kpi_rows *rows, const struct kpi_gap *gap);
void kpi_rows_clock(struct kpi_rows *rows, const struct kpi_anchor *anchor);
void kpi_rows_capture(struct kpi_rows *rows, const struct kpi_capture *capture);
void kpi_rows_cgroup(struct kpi_rows *rows, const struct kpi_cgroup *cgroup); /* op scan */
void kpi_rows_quota(struct kpi_rows *rows, const struct kpi_quota *quota);

/* Appends a batch of kernel events, or drops it and notes the gap. The status is the store's. */
kp_status kpi_rows_append(struct kpi_rows *rows, const struct kp_batch *batch);
/* Appends the rows made so far. A failure keeps the gaps for the next try. */
kp_status kpi_rows_flush(struct kpi_rows *rows);
/* Rows taken by the store so far, kernel events included. */
uint64_t kpi_rows_stored(struct kpi_rows *rows);

#endif
