/* SPDX-License-Identifier: Apache-2.0
 *
 * One stream of a snapshot, row by row.
 */
#ifndef KP_CAUSAL_CURSOR_H
#define KP_CAUSAL_CURSOR_H

#include "base/arena.h"
#include "column/batch.h"
#include "storage/storage.h"

#define KPI_CURSOR_COLS 20

#define KPI_STEPS_MAX 96

/* What a part of a question read of a stream. */
struct kpi_step {
    const char *part;
    kp_dur back; /* since so long before the start; < 0: that is not what the part is about */
    enum kp_stream_no stream;
    uint32_t scans;
    struct kp_scan_stat stat;
};

/* The snapshot a question is asked of, and what was read from it so far. Outlives its cursors. */
struct kpi_reader {
    struct kp_snapshot *snapshot;
    struct kp_str axis;       /* host whose clock all stamps are told on; empty = each its own */
    struct kp_scan_stat stat; /* of the cursors closed */
    const char *part;         /* of the question, that is being answered; NULL = its beginning */
    kp_dur back;
    struct kpi_step steps[KPI_STEPS_MAX]; /* in order of time; the last one holds the rest */
    uint32_t steps_count;
    const struct kp_stop *stop; /* ends the question early; may be NULL */
    bool eager;                 /* oracle runs: read everything before the walk */
    kp_status failed;           /* of the first reading on demand that failed, and why */
    struct kp_error failed_err;
};

struct kpi_cursor {
    struct kpi_reader *reader;
    enum kp_stream_no stream;
    struct kp_scan *scan;
    const struct kp_batch *batch; /* NULL before the first row and after the last */
    uint32_t at;
};

struct kpi_cursor_req {
    enum kp_stream_no stream;
    kp_time from, to;
    const char *const *cols; /* stored names, NULL-terminated */
    const char *key;         /* stored STR column that must be one of strs; NULL = none */
    const struct kp_str *strs;
    uint32_t strs_count;
    const int64_t *tids; /* rows of these threads alone; NULL = of all */
    uint32_t tids_count;
    uint32_t tids_of; /* stored ACTOR column that names them; 0 = the actor */
    const char *key2; /* a second one with a single value */
    struct kp_str str2;
    const char *const *numbers_of; /* stored numbers that must be numbers[i], NULL-terminated */
    const int64_t *numbers;
    bool descending;
};

kp_status kpi_cursor_open(struct kpi_reader *reader, const struct kpi_cursor_req *req,
                          struct kpi_cursor *out, struct kp_error *err) KP_MUST;
/* Moves to the next row: OK or END. */
kp_status kpi_cursor_next(struct kpi_cursor *cursor, struct kp_error *err) KP_MUST;
/* Pages and blocks of the log that it has to read. */
uint32_t kpi_cursor_pages(const struct kpi_cursor *cursor);
void kpi_cursor_close(struct kpi_cursor *cursor);
/* What is read from here on is read for this part of the question. */
void kpi_reader_part(struct kpi_reader *reader, const char *part, kp_dur back);
/* Whether the question is to end early; then readings on demand have failed. */
bool kpi_reader_stopped(struct kpi_reader *reader);
/* Takes over what another reader read, for the part of this one. */
void kpi_reader_add(struct kpi_reader *reader, const struct kpi_reader *from);
/* How the readings on demand went so far. */
kp_status kpi_reader_check(const struct kpi_reader *reader, struct kp_error *err) KP_MUST;
static inline int64_t kpi_cursor_i64(const struct kpi_cursor *cursor, uint32_t column)
{
    return cursor->batch->cols[column].i64[kp_batch_row(cursor->batch, cursor->at)];
}
static inline struct kp_str kpi_cursor_str(const struct kpi_cursor *cursor, uint32_t column)
{
    return kp_vec_str(&cursor->batch->cols[column], kp_batch_row(cursor->batch, cursor->at));
}

#endif
