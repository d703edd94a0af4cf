/* SPDX-License-Identifier: Apache-2.0
 *
 * A scan in two halves: scan_plan.c finds the pages that may have wanted rows, scan.c reads them.
 */
#ifndef KP_STORAGE_SCAN_INT_H
#define KP_STORAGE_SCAN_INT_H

#include "storage/filter.h"

#define KPI_FROM_LOG UINT32_MAX

/* One page's part in a scan. */
struct kpi_unit {
    uint32_t segment;      /* or KPI_FROM_LOG */
    uint32_t number;       /* block of the segment, or log page */
    uint32_t held;         /* rows of its page, by the footer */
    uint8_t stream;        /* of the log page */
    const bool *kinds;     /* of a spine's page: wanted streams; NULL = all */
    kp_time first, last;   /* times; first is where the scan meets it */
    struct kpi_page *page; /* while active */
    bool lying;            /* its rows come as they lie */
    const int64_t *ts;     /* NULL: no other page's rows can come between */
    bool tied;             /* what decides between equal times was read */
    struct kpi_rows rows;  /* that pass, in the order of the scan */
    uint32_t at;
    bool ready; /* prepared ahead, with this outcome */
    kp_status status;
};

struct kpi_ahead; /* scan_ahead.c */

/* What the disk was told of units that will be read. */
struct kpi_expect {
    uint32_t last, run; /* unit read last, how many were read before it one after the other */
    uint32_t told;      /* first unit it was not told of */
};

struct kp_scan {
    struct kp_snapshot *snapshot;
    struct kp_io_queue *queue; /* opened when a file must be read */
    struct kpi_filter filter;
    struct kp_colref *cols;
    uint32_t cols_count;
    bool descending, no_prune, rolled, any_order;
    bool events;               /* reads several streams, those that are in kinds ... */
    bool kinds[KP_STREAM_MAX]; /* ... by number */
    const bool *kinds_now;     /* of the segment that is planned */
    kp_time rolled_from, rolled_to;
    bool lying; /* any order will do, and rows of bound pages can be read as they lie */
    struct kpi_unit *units;
    uint32_t units_count, units_capacity;
    uint32_t next; /* first waiting unit */
    struct kpi_expect expect;
    struct kpi_unit **active;
    uint32_t active_count, active_capacity;
    struct kp_batch batch;
    struct kp_arena arena;
    struct kp_scan_stat stat;
    bool reads_ahead;        /* allowed to */
    struct kpi_ahead *ahead; /* NULL: it does not */
};

/* Opens the scan's I/O queue unless it is open. */
kp_status kpi_scan_queue(struct kp_scan *scan) KP_MUST;
/* Fills scan->units in the order of the scan. BUSY: retention dropped a segment meanwhile. */
kp_status kpi_scan_plan(struct kp_scan *scan) KP_MUST;
/* Gets the unit's page and holds it. CORRUPT was reported. */
kp_status kpi_unit_page(struct kp_scan *scan, struct kpi_unit *unit) KP_MUST;
/* The unit's page will be read from its file now: tells the disk of those that come next, of the
 * more the more were read one after the other. */
void kpi_scan_expect(struct kp_scan *scan, const struct kpi_unit *unit);
/* Everything that can be done before the scan gets to the unit: page, rows, columns. */
kp_status kpi_unit_prepare(struct kp_scan *scan, struct kpi_unit *unit) KP_MUST;
/* Lets go of page and rows. */
void kpi_unit_leave(struct kp_scan *scan, struct kpi_unit *unit);
/* Adds to what was read. */
void kpi_scan_read(struct kp_scan *scan, uint32_t rows);
/* By where they begin; a total order. */
int kpi_unit_compare(const void *a, const void *b);

/* ---------- reading ahead; all but start do nothing when it was not started ---------- */

/* Starts the thread when enough is left to read; else the scan goes on alone. */
void kpi_ahead_start(struct kp_scan *scan);
/* The scan enters this unit. True: it was prepared ahead, with *out. False: the caller does it. */
bool kpi_ahead_take(struct kp_scan *scan, struct kpi_unit *unit, kp_status *out);
/* Adds what was read ahead. */
void kpi_ahead_stat(const struct kp_scan *scan, struct kp_scan_stat *stat);
void kpi_ahead_stop(struct kp_scan *scan);

#endif
