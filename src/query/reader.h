/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads one stored stream in query columns: asks the scan for what is needed only (each actor once,
 * whatever attributes of it are wanted), names ENUM values and looks up actors.
 */
#ifndef KP_QUERY_READER_H
#define KP_QUERY_READER_H

#include "query/actor_columns.h"
#include "query/scan.h"

/* How one query column comes from what the scan gives. */
struct kpi_reader_column {
    uint32_t column;               /* of the stream's query columns */
    uint32_t from;                 /* column of the scan */
    struct kpi_enum_names *names;  /* ENUM, else NULL */
    struct kpi_actor_column *attr; /* attribute of an actor, else NULL */
    void *room;                    /* for a batch of codes or numbers */
};

struct kpi_reader {
    struct kpi_run *run;
    const struct kp_stream *stream;
    struct kp_colref *cols; /* of the scan */
    uint32_t cols_count;
    struct kpi_reader_column *columns;
    uint32_t columns_count;
    bool rolled; /* without the segments that rollups answer for this range */
    kp_time rolled_from, rolled_to;
    struct kp_scan *scan; /* NULL: closed */
    bool any_order;       /* set before open: rows may come in any order */
    const bool *kinds;    /* likewise, of kp_stream_events(): streams by number */
};

/* need: per query column of the stream. False with the error set. */
bool kpi_reader_init(struct kpi_reader *reader, struct kpi_run *run, const struct kp_stream *stream,
                     const bool *need);
/* Leaves out whole segments in [from, to], all of which rollups answer. Before open. */
void kpi_reader_roll(struct kpi_reader *reader, kp_time from, kp_time to);
/* Starts to read rows of [from, to] that meet the keys; may follow a close. */
kp_status kpi_reader_open(struct kpi_reader *reader, const struct kpi_scan_keys *keys, kp_time from,
                          kp_time to, bool descending);
/* Cuts [from, to] as kp_scan_split does. */
kp_status kpi_reader_split(struct kpi_reader *reader, const struct kpi_scan_keys *keys,
                           uint32_t parts, kp_time *out_from, uint32_t *out_count);
/* The next rows; their needed columns go to cols[query column]. END at the end and when closed. */
kp_status kpi_reader_next(struct kpi_reader *reader, struct kp_vec *cols,
                          const struct kp_batch **out);
/* Ends reading and adds up what was read. May be called twice. */
void kpi_reader_close(struct kpi_reader *reader);

#endif
