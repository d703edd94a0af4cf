/* SPDX-License-Identifier: Apache-2.0
 *
 * One stream of a snapshot, row by row.
 */
#include <string.h>

#include "base/assert.h"
#include "causal/cursor.h"

static struct kp_colref colref(const struct kp_stream *stream, const char *name)
{
    int stored = kp_stream_stored(stream, name);
    kp_assert(stored >= 0);
    return (struct kp_colref){(uint8_t)stored, KP_ATTR_SELF};
}

kp_status kpi_cursor_open(struct kpi_reader *reader, const struct kpi_cursor_req *req,
                          struct kpi_cursor *out, struct kp_error *err)
{
    struct kp_colref cols[KPI_CURSOR_COLS];
    struct kp_scan_req scan = {
        .stream = kp_stream_by_number(req->stream),
        .from = req->from,
        .to = req->to,
        .cols = cols,
        .descending = req->descending,
    };
    kp_assert(scan.stream != NULL);
    for (; req->cols[scan.cols_count] != NULL; scan.cols_count++) {
        kp_assert(scan.cols_count < KPI_CURSOR_COLS);
        cols[scan.cols_count] = colref(scan.stream, req->cols[scan.cols_count]);
    }
    if (req->key != NULL)
        scan.keys[scan.keys_count++] = (struct kp_scan_key){
            .column = colref(scan.stream, req->key), .strs = req->strs, .count = req->strs_count};
    if (req->tids_count > 0)
        scan.keys[scan.keys_count++] = (struct kp_scan_key){
            .column = {(uint8_t)(req->tids_of == 0 ? KP_COL_ACTOR : req->tids_of), KP_ATTR_TID},
            .numbers = req->tids,
            .count = req->tids_count};
    if (req->key2 != NULL)
        scan.keys[scan.keys_count++] = (struct kp_scan_key){
            .column = colref(scan.stream, req->key2), .strs = &req->str2, .count = 1};
    for (uint32_t i = 0; req->numbers_of != NULL && req->numbers_of[i] != NULL; i++)
        scan.keys[scan.keys_count++] =
            (struct kp_scan_key){.column = colref(scan.stream, req->numbers_of[i]),
                                 .numbers = &req->numbers[i],
                                 .count = 1};
    struct kpi_cursor cursor = {.reader = reader, .stream = req->stream};
    kp_status status = kp_scan_open(reader->snapshot, &scan, &cursor.scan, err);
    if (status == KP_OK)
        *out = cursor;
    return status;
}

kp_status kpi_cursor_next(struct kpi_cursor *cursor, struct kp_error *err)
{
    if (cursor->batch != NULL && ++cursor->at < kp_batch_count(cursor->batch))
        return KP_OK;
    do {
        cursor->batch = NULL;
        cursor->at = 0;
        if (kpi_reader_stopped(cursor->reader))
            return kpi_reader_check(cursor->reader, err);
        kp_status status = kp_scan_next(cursor->scan, &cursor->batch, err);
        if (status != KP_OK) {
            cursor->batch = NULL;
            return status;
        }
    } while (kp_batch_count(cursor->batch) == 0);
    return KP_OK;
}

uint32_t kpi_cursor_pages(const struct kpi_cursor *cursor)
{
    struct kp_scan_stat stat;
    kp_scan_stat(cursor->scan, &stat);
    return stat.pages + stat.wal_blocks;
}

static void stat_add(struct kp_scan_stat *sum, const struct kp_scan_stat *stat)
{
    sum->rows_read += stat->rows_read;
    sum->rows_out += stat->rows_out;
    sum->bytes_read += stat->bytes_read;
    sum->segments += stat->segments;
    sum->segments_pruned += stat->segments_pruned;
    sum->pages += stat->pages;
    sum->pages_pruned += stat->pages_pruned;
    sum->pages_by_time += stat->pages_by_time;
    sum->pages_by_thread += stat->pages_by_thread;
    sum->pages_by_value += stat->pages_by_value;
    sum->pages_read += stat->pages_read;
    sum->pages_cached += stat->pages_cached;
    sum->wal_blocks += stat->wal_blocks;
}

static struct kpi_step *step_of(struct kpi_reader *reader, enum kp_stream_no stream)
{
    const char *part = reader->part == NULL ? "the transaction" : reader->part;
    kp_dur back = reader->part == NULL ? -1 : reader->back;
    for (uint32_t i = reader->steps_count; i-- > 0;) {
        struct kpi_step *step = &reader->steps[i];
        if (step->stream == stream && step->back == back && strcmp(step->part, part) == 0)
            return step;
    }
    if (reader->steps_count == KPI_STEPS_MAX)
        return &reader->steps[KPI_STEPS_MAX - 1];
    struct kpi_step *step = &reader->steps[reader->steps_count++];
    *step = (struct kpi_step){.part = part, .back = back, .stream = stream};
    return step;
}

static void account(const struct kpi_cursor *cursor)
{
    struct kpi_step *step = step_of(cursor->reader, cursor->stream);
    struct kp_scan_stat stat;
    kp_scan_stat(cursor->scan, &stat);
    stat_add(&cursor->reader->stat, &stat);
    stat_add(&step->stat, &stat);
    step->scans++;
}

void kpi_cursor_close(struct kpi_cursor *cursor)
{
    if (cursor->scan != NULL) {
        account(cursor);
        kp_scan_close(cursor->scan);
    }
    memset(cursor, 0, sizeof(*cursor));
}

void kpi_reader_add(struct kpi_reader *reader, const struct kpi_reader *from)
{
    stat_add(&reader->stat, &from->stat);
    for (uint32_t i = 0; i < from->steps_count; i++) {
        struct kpi_step *step = step_of(reader, from->steps[i].stream);
        stat_add(&step->stat, &from->steps[i].stat);
        step->scans += from->steps[i].scans;
    }
}

void kpi_reader_part(struct kpi_reader *reader, const char *part, kp_dur back)
{
    reader->part = part;
    reader->back = back;
}

bool kpi_reader_stopped(struct kpi_reader *reader)
{
    if (reader->failed == KP_OK && reader->stop != NULL)
        reader->failed = reader->stop->check(reader->stop->ctx, &reader->failed_err);
    return reader->failed != KP_OK;
}

kp_status kpi_reader_check(const struct kpi_reader *reader, struct kp_error *err)
{
    if (reader->failed != KP_OK && err != NULL)
        *err = reader->failed_err;
    return reader->failed;
}
