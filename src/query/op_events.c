/* SPDX-License-Identifier: Apache-2.0
 *
 * `events`: every kernel stream in one total order (ts, host, cpu, seq). What all streams have is
 * read by one scan over all of them. `detail` is the stream's own columns as text: only who needs
 * it pays for a merge of one scan per stream.
 *
 * Strings borrow from the scans' batches, so a batch is given as soon as one scan has to move on.
 */
#include <inttypes.h>
#include <stdio.h>

#include "query/reader.h"
#include "query/worker.h"

#define WINDOW_ROWS 500000u /* that a window aims at, over all streams */
#define WINDOWS_MAX 1024u

enum {
    EV_TS,
    EV_KIND,
    EV_CPU,
    EV_HOST,
    EV_TID,
    EV_PID,
    EV_COMM,
    EV_CGROUP,
    EV_DETAIL,
    EV_SEQ,
    EV_COLUMNS
};

static const struct kp_field event_fields[EV_COLUMNS] = {
    {KP_STR("ts"), KP_TYPE_TIME, KP_UNIT_NS},      {KP_STR("kind"), KP_TYPE_STR, KP_UNIT_NONE},
    {KP_STR("cpu"), KP_TYPE_I64, KP_UNIT_ID},      {KP_STR("host"), KP_TYPE_STR, KP_UNIT_NONE},
    {KP_STR("tid"), KP_TYPE_I64, KP_UNIT_ID},      {KP_STR("pid"), KP_TYPE_I64, KP_UNIT_ID},
    {KP_STR("comm"), KP_TYPE_STR, KP_UNIT_NONE},   {KP_STR("cgroup"), KP_TYPE_STR, KP_UNIT_NONE},
    {KP_STR("detail"), KP_TYPE_STR, KP_UNIT_NONE}, {KP_STR("seq"), KP_TYPE_I64, KP_UNIT_ID},
};

struct lane {
    const struct kp_stream *stream;
    bool wanted;
    struct kp_scan *scan;
    const struct kp_batch *batch;
    uint32_t at;
    int at_column[EV_COLUMNS]; /* asked column of the scan, -1 = none */
    uint32_t detail_first;     /* its own columns begin here in the scan */
    uint32_t detail_columns[KP_STORED_MAX * 5];
    uint32_t detail_count;
};

struct events_op {
    struct kpi_op base;
    struct lane *lanes;
    uint32_t lanes_count;
    struct lane *largest;      /* NULL: none has rows */
    struct kpi_scan_keys keys; /* of all lanes alike; its bounds are those of the source */
    bool descending, unordered, unread;
    bool joined;               /* one scan over all streams */
    bool kinds[KP_STREAM_MAX]; /* that it reads */
    struct kpi_reader reader;
    struct kp_vec *vecs;            /* by query column of kp_stream_events() */
    int columns[EV_COLUMNS];        /* their numbers, -1 = none */
    kp_time *windows;               /* where windows of time begin, when they are merged */
    uint32_t windows_count, window; /* next to enter */
    struct kp_batch out;
    struct kp_buf text;
};

/* Query columns of a stream that are its own: not the common ones. */
static bool is_own(const struct kp_query_column *column)
{
    return column->ref.stored >= KP_COL_FIRST && column->ref.attr != KP_ATTR_CGROUP;
}

static uint32_t lane_columns(struct events_op *op, struct lane *lane, struct kp_colref *cols)
{
    static const char *const common[EV_COLUMNS] = {
        [EV_TS] = "ts",   [EV_CPU] = "cpu",   [EV_HOST] = "host",     [EV_TID] = "tid",
        [EV_PID] = "pid", [EV_COMM] = "comm", [EV_CGROUP] = "cgroup", [EV_SEQ] = "seq"};
    uint32_t count = 0;
    for (uint32_t c = 0; c < EV_COLUMNS; c++) {
        bool order = c == EV_TS || c == EV_CPU || c == EV_HOST || c == EV_SEQ;
        lane->at_column[c] = -1;
        if (common[c] == NULL || !(order || op->base.need[c]))
            continue;
        lane->at_column[c] = (int)count;
        cols[count++] = kp_stream_column(lane->stream, kp_str_from(common[c]))->ref;
    }
    lane->detail_first = count;
    lane->detail_count = 0;
    for (uint32_t i = 0; op->base.need[EV_DETAIL] && i < lane->stream->columns_count; i++) {
        if (!is_own(&lane->stream->columns[i]))
            continue;
        lane->detail_columns[lane->detail_count++] = i;
        cols[count++] = lane->stream->columns[i].ref;
    }
    return count;
}

static struct kp_scan_req lane_request(struct events_op *op, struct lane *lane,
                                       struct kp_colref *cols, kp_time from, kp_time to)
{
    struct kp_scan_req req = {.stream = lane->stream,
                              .from = from,
                              .to = to,
                              .cols = cols,
                              .cols_count = lane_columns(op, lane, cols),
                              .keys_count = op->keys.count,
                              .descending = op->descending,
                              .no_prune = (op->base.run->opts.off & KP_OFF_PRUNING) != 0};
    memcpy(req.keys, op->keys.keys, sizeof(req.keys));
    return req;
}

/* What streams share is decoded by the one that comes first: one that reads ahead is enough. */
static kp_status open_lane(struct events_op *op, struct lane *lane, kp_time from, kp_time to)
{
    struct kpi_run *run = op->base.run;
    struct kp_colref cols[KP_STORED_MAX * 6];
    if (!lane->wanted || op->keys.empty || from > to)
        return KP_OK;
    struct kp_scan_req req = lane_request(op, lane, cols, from, to);
    req.ahead = lane == op->largest && kpi_run_threads(run) > 1;
    return run->ctx.status = kp_scan_open(run->snapshot, &req, &lane->scan, run->ctx.err);
}

/* The wanted stream with the most rows, and the rows of all; NULL when there are none. */
static struct lane *largest_lane(struct events_op *op, uint64_t *out_rows)
{
    struct lane *most = NULL;
    uint64_t most_rows = 0;
    *out_rows = 0;
    for (uint32_t i = 0; i < op->lanes_count; i++) {
        struct lane *lane = &op->lanes[i];
        uint64_t rows = !lane->wanted || op->keys.empty
                            ? 0
                            : kp_snapshot_rows(op->base.run->snapshot, lane->stream);
        *out_rows += rows;
        if (rows <= most_rows)
            continue;
        most = lane;
        most_rows = rows;
    }
    return most;
}

/* Cuts the time into windows that are merged one after the other: a scan that finds little reads
 * far ahead of the others, and then nothing of what they share would still be decoded. */
static kp_status cut_windows(struct events_op *op)
{
    struct kpi_run *run = op->base.run;
    struct kp_colref cols[KP_STORED_MAX * 6];
    uint64_t rows;
    struct lane *most = op->largest = largest_lane(op, &rows);
    uint64_t wanted = (uint64_t)((double)rows * kpi_bounds_part(run, &op->keys.bounds));
    uint64_t parts = KP_MIN(wanted / WINDOW_ROWS + 1, (uint64_t)WINDOWS_MAX);
    op->windows_count = 1;
    op->windows = kpi_new(&run->ctx, parts, sizeof(*op->windows));
    if (op->windows == NULL)
        return run->ctx.status;
    op->windows[0] = op->keys.bounds.from;
    if (parts == 1 || most == NULL || op->keys.bounds.from > op->keys.bounds.to)
        return KP_OK;
    struct kp_scan_req req = lane_request(op, most, cols, op->keys.bounds.from, op->keys.bounds.to);
    return run->ctx.status = kp_scan_split(run->snapshot, &req, (uint32_t)parts, op->windows,
                                           &op->windows_count, run->ctx.err);
}

/* Opens the lanes of the next window in the order of the answer. */
static kp_status enter_window(struct events_op *op)
{
    uint32_t at = op->descending ? op->windows_count - 1 - op->window : op->window;
    kp_time from = op->windows[at];
    kp_time to = at + 1 < op->windows_count ? op->windows[at + 1] - 1 : op->keys.bounds.to;
    kp_status status = KP_OK;
    op->window++;
    for (uint32_t i = 0; i < op->lanes_count && status == KP_OK; i++)
        status = open_lane(op, &op->lanes[i], from, to);
    return status;
}

/* --- one scan over all streams --- */

static const bool *kinds_of(struct events_op *op)
{
    for (uint32_t i = 0; i < op->lanes_count; i++)
        op->kinds[op->lanes[i].stream->number] = op->lanes[i].wanted;
    return op->kinds;
}

static kp_status open_joined(struct events_op *op)
{
    struct kpi_ctx *ctx = &op->base.run->ctx;
    const struct kp_stream *stream = kp_stream_events();
    bool *need = kpi_new(ctx, stream->columns_count, sizeof(*need));
    op->vecs = kpi_new(ctx, stream->columns_count, sizeof(*op->vecs));
    if (need == NULL || op->vecs == NULL || !kpi_op_batch(&op->base, &op->out))
        return ctx->status;
    for (uint32_t c = 0; c < EV_COLUMNS; c++) {
        const struct kp_query_column *column = kp_stream_column(stream, event_fields[c].name);
        op->columns[c] = op->base.need[c] ? (int)(column - stream->columns) : -1;
        if (op->base.need[c])
            need[op->columns[c]] = true;
    }
    if (!kpi_reader_init(&op->reader, op->base.run, stream, need))
        return ctx->status;
    op->reader.any_order = op->unordered;
    op->reader.kinds = kinds_of(op);
    const struct kpi_bounds *bounds = &op->keys.bounds;
    return op->unread
               ? KP_OK
               : kpi_reader_open(&op->reader, &op->keys, bounds->from, bounds->to, op->descending);
}

static kp_status next_joined(struct events_op *op, const struct kp_batch **out)
{
    const struct kp_batch *batch;
    kp_status status = kpi_reader_next(&op->reader, op->vecs, &batch);
    if (status != KP_OK)
        return status;
    for (uint32_t c = 0; c < EV_COLUMNS; c++)
        if (op->columns[c] >= 0)
            op->out.cols[c] = op->vecs[op->columns[c]];
    op->out.rows = batch->rows;
    op->out.sel = batch->sel;
    op->out.sel_count = batch->sel_count;
    *out = &op->out;
    return KP_OK;
}

static kp_status events_open(struct kpi_op *base)
{
    struct events_op *op = (struct events_op *)base;
    struct kpi_ctx *ctx = &base->run->ctx;
    uint64_t *nulls;
    op->joined = !base->need[EV_DETAIL] && (base->run->opts.off & KP_OFF_JOINED) == 0;
    if (op->joined)
        return open_joined(op);
    kpi_op_batch(base, &op->out);
    for (uint32_t c = 0; c < EV_COLUMNS && ctx->status == KP_OK; c++)
        kpi_vec_alloc(ctx, event_fields[c].type, KP_VECTOR_ROWS, &op->out.cols[c], &nulls);
    return ctx->status == KP_OK ? cut_windows(op) : ctx->status;
}

/* --- merge --- */

static int64_t number_at(const struct lane *lane, int column)
{
    return lane->batch->cols[lane->at_column[column]].i64[kp_batch_row(lane->batch, lane->at)];
}

static struct kp_str text_at(const struct lane *lane, int column)
{
    return kp_vec_str(&lane->batch->cols[lane->at_column[column]],
                      kp_batch_row(lane->batch, lane->at));
}

static int compare_lanes(const struct lane *a, const struct lane *b)
{
    static const int keys[] = {EV_TS, EV_HOST, EV_CPU, EV_SEQ};
    for (size_t k = 0; k < KP_ARRAY_LEN(keys); k++) {
        int order;
        if (keys[k] == EV_HOST) {
            order = kp_str_compare(text_at(a, EV_HOST), text_at(b, EV_HOST));
        } else {
            int64_t x = number_at(a, keys[k]), y = number_at(b, keys[k]);
            order = (x > y) - (x < y);
        }
        if (order != 0)
            return order;
    }
    return (int)a->stream->number - (int)b->stream->number;
}

static struct lane *first_lane(struct events_op *op)
{
    struct lane *best = NULL;
    for (uint32_t i = 0; i < op->lanes_count; i++) {
        struct lane *lane = &op->lanes[i];
        if (lane->batch == NULL)
            continue;
        int order = best == NULL ? -1 : compare_lanes(lane, best);
        if (best == NULL || (op->descending ? order > 0 : order < 0))
            best = lane;
    }
    return best;
}

/* Batches for the lanes that have none; a lane at its end is closed. */
static kp_status refill(struct events_op *op)
{
    struct kpi_run *run = op->base.run;
    for (uint32_t i = 0; i < op->lanes_count; i++) {
        struct lane *lane = &op->lanes[i];
        if (lane->scan == NULL || lane->batch != NULL)
            continue;
        kp_status status = kp_scan_next(lane->scan, &lane->batch, run->ctx.err);
        lane->at = 0;
        if (status == KP_OK && kp_batch_count(lane->batch) > 0)
            continue;
        lane->batch = NULL;
        if (status != KP_OK && status != KP_END)
            return run->ctx.status = status;
        if (status == KP_END) {
            kpi_scan_account(run, lane->scan);
            kp_scan_close(lane->scan);
            lane->scan = NULL;
        } else {
            i--;
        }
    }
    return KP_OK;
}

/* --- rows --- */

static void value_text(const struct kp_stored_column *stored, const struct kp_vec *vec,
                       uint32_t row, struct kp_buf *out)
{
    if (kp_type_phys(vec->type) == KP_PHYS_STR || vec->dict != NULL) {
        kp_buf_str(out, kp_vec_str(vec, row));
        return;
    }
    struct kp_str name = stored->type == KP_TYPE_ENUM ? kp_enum_name(stored, vec->i64[row])
                                                      : (struct kp_str){NULL, 0};
    char span[KP_DUR_TEXT_MAX];
    kp_dur_format_exact(vec->i64[row], span);
    if (name.ptr != NULL)
        kp_buf_str(out, name);
    else if (stored->type == KP_TYPE_DUR)
        kp_buf_text(out, span);
    else if (stored->type == KP_TYPE_BOOL)
        kp_buf_text(out, "true");
    else if (stored->unit == KP_UNIT_HEX)
        kp_buf_printf(out, "0x%" PRIx64, (uint64_t)vec->i64[row]);
    else
        kp_buf_printf(out, "%" PRId64, vec->i64[row]);
}

static struct kp_str detail_of(struct events_op *op, const struct lane *lane, uint32_t row)
{
    struct kp_buf *text = &op->text;
    kp_buf_clear(text);
    for (uint32_t i = 0; i < lane->detail_count; i++) {
        const struct kp_query_column *column = &lane->stream->columns[lane->detail_columns[i]];
        const struct kp_stored_column *stored = &lane->stream->stored[column->ref.stored];
        const struct kp_vec *vec = &lane->batch->cols[lane->detail_first + i];
        bool off = stored->type == KP_TYPE_BOOL && vec->i64[row] == 0; /* flags show when set */
        if (column->ref.attr == KP_ATTR_START || off)
            continue;
        kp_buf_printf(text, "%s%s=", text->size > 0 ? " " : "", column->name);
        value_text(stored, vec, row, text);
    }
    char *copy = kpi_scratch(&op->base.eval, text->size + 1);
    if (copy == NULL || text->failed)
        return KP_STR("");
    memcpy(copy, text->data == NULL ? "" : text->data, text->size);
    return (struct kp_str){copy, (uint32_t)text->size};
}

static void write_row(struct events_op *op, const struct lane *lane, uint32_t to)
{
    struct kp_vec *cols = op->out.cols;
    uint32_t row = kp_batch_row(lane->batch, lane->at);
    for (int c = 0; c < EV_COLUMNS; c++) {
        if (lane->at_column[c] < 0)
            continue;
        const struct kp_vec *from = &lane->batch->cols[lane->at_column[c]];
        if (cols[c].type == KP_TYPE_STR)
            cols[c].strs[to] = kp_vec_str(from, row);
        else
            cols[c].i64[to] = from->i64[row];
    }
    cols[EV_KIND].strs[to] = kp_str_from(lane->stream->name);
    if (op->base.need[EV_DETAIL])
        cols[EV_DETAIL].strs[to] = detail_of(op, lane, row);
}

static kp_status events_next(struct kpi_op *base, const struct kp_batch **out)
{
    struct events_op *op = (struct events_op *)base;
    if (op->joined)
        return next_joined(op, out);
    kp_status status = refill(op);
    while (status == KP_OK && first_lane(op) == NULL && op->window < op->windows_count) {
        status = enter_window(op);
        if (status == KP_OK)
            status = refill(op);
    }
    if (status != KP_OK)
        return status;
    kpi_eval_begin(&base->eval);
    uint32_t rows = 0;
    bool moved = false; /* a scan must go on: its strings end here */
    while (rows < KP_VECTOR_ROWS && !moved) {
        struct lane *lane = first_lane(op);
        if (lane == NULL)
            break;
        write_row(op, lane, rows++);
        if (++lane->at == kp_batch_count(lane->batch)) {
            lane->batch = NULL;
            moved = true;
        }
    }
    if (rows == 0)
        return KP_END;
    op->out.rows = rows;
    *out = &op->out;
    return base->run->ctx.status;
}

static void events_close(struct kpi_op *base)
{
    struct events_op *op = (struct events_op *)base;
    kpi_reader_close(&op->reader);
    for (uint32_t i = 0; i < op->lanes_count; i++) {
        if (op->lanes[i].scan == NULL)
            continue;
        kpi_scan_account(base->run, op->lanes[i].scan);
        kp_scan_close(op->lanes[i].scan);
        op->lanes[i].scan = NULL;
    }
    kp_buf_deinit(&op->text);
}

static void events_describe(const struct kpi_op *base, struct kp_buf *out)
{
    const struct events_op *op = (const struct events_op *)base;
    kp_buf_text(out, "events");
    kpi_bounds_text(&op->keys.bounds, out);
    kpi_scan_keys_text(&op->keys, kp_stream_events(), out);
    kp_buf_text(out, op->unordered ? " each of" : " merge of");
    bool any = false;
    for (uint32_t i = 0; i < op->lanes_count; i++) {
        if (op->lanes[i].wanted)
            kp_buf_printf(out, "%s%s", any ? ", " : " ", op->lanes[i].stream->name);
        any |= op->lanes[i].wanted;
    }
    kp_buf_text(out, any ? "" : " nothing");
    if (op->descending)
        kp_buf_text(out, " newest first");
}

/* --- conditions --- */

static bool named_by(const struct kpi_push *push, const char *name)
{
    for (uint32_t i = 0; i < push->count; i++)
        if (kp_str_equal(push->values[i].str, kp_str_from(name)))
            return true;
    return false;
}

static bool push_kind(struct events_op *op, const struct kpi_push *push)
{
    if (push->op != '=')
        return false;
    for (uint32_t i = 0; i < op->lanes_count; i++) {
        op->lanes[i].wanted &= named_by(push, op->lanes[i].stream->name);
        op->base.run->streams[op->lanes[i].stream->number] = op->lanes[i].wanted;
    }
    return true;
}

static bool events_push(struct kpi_op *base, const struct kpi_push *push)
{
    struct events_op *op = (struct events_op *)base;
    if (push->column == EV_KIND)
        return push_kind(op, push);
    if (push->column == EV_TS) {
        kpi_bounds_push(&op->keys.bounds, push);
        return push->op != '=' || push->count == 1;
    }
    const struct kp_stream *stream = kp_stream_events();
    return push->column != EV_DETAIL && push->op == '=' &&
           kpi_scan_keys_push(base->run, &op->keys, stream,
                              kp_stream_column(stream, event_fields[push->column].name), push);
}

static bool events_descend(struct kpi_op *base)
{
    ((struct events_op *)base)->descending = true;
    return true;
}

static struct kpi_bounds *events_bounds(struct kpi_op *base)
{
    return &((struct events_op *)base)->keys.bounds;
}

static struct kp_str events_value(const struct kpi_op *base, uint32_t column, uint32_t index)
{
    const struct events_op *op = (const struct events_op *)base;
    return column == EV_KIND && index < op->lanes_count ? kp_str_from(op->lanes[index].stream->name)
                                                        : KP_STR("");
}

/* A merge of many scans has no other order. */
static void events_unorder(struct kpi_op *base)
{
    struct events_op *op = (struct events_op *)base;
    uint32_t without = base->run->opts.off & (KP_OFF_UNORDERED | KP_OFF_JOINED);
    op->unordered = !base->need[EV_DETAIL] && without == 0;
}

static bool events_all(const struct kpi_op *base)
{
    const struct events_op *op = (const struct events_op *)base;
    return op->unordered && op->keys.count == 0 && !op->keys.empty;
}

static uint64_t events_lane(const struct kpi_op *base, uint32_t number, struct kp_str *out_kind)
{
    const struct events_op *op = (const struct events_op *)base;
    if (number >= op->lanes_count || !op->unordered)
        return UINT64_MAX;
    const struct lane *lane = &op->lanes[number];
    *out_kind = kp_str_from(lane->stream->name);
    return lane->wanted ? kp_snapshot_rows(base->run->snapshot, lane->stream) : 0;
}

static kp_status events_split(struct kpi_op *base, uint32_t parts, kp_time *out_from,
                              uint32_t *out_count)
{
    struct events_op *op = (struct events_op *)base;
    return kpi_reader_split(&op->reader, &op->keys, parts, out_from, out_count);
}

static kp_status events_window(struct kpi_op *base, kp_time from, kp_time to)
{
    struct events_op *op = (struct events_op *)base;
    kpi_reader_close(&op->reader);
    return kpi_reader_open(&op->reader, &op->keys, from, to, false);
}

static const struct kp_stream *events_stream(const struct kpi_op *base)
{
    (void)base;
    return kp_stream_events();
}

static bool events_tally(struct kpi_op *base, kp_time from, kp_time to, struct kp_scan_req *out)
{
    struct events_op *op = (struct events_op *)base;
    return op->unordered && kpi_scan_keys_tally(base->run, &op->keys, kinds_of(op), from, to, out);
}

/* What rollups do not answer is tallied, or they are not asked. */
static bool events_roll(struct kpi_op *base)
{
    return events_all(base) && ((const struct events_op *)base)->unread;
}

static const struct kpi_source_class events_source = {
    events_push,  events_descend, events_bounds, events_value, events_unorder,
    events_lane,  events_split,   events_window, events_all,   events_stream,
    events_tally, events_roll,    NULL};
static const struct kpi_op_class events_class = {
    "merge", events_open, events_next, events_close, NULL, events_describe, &events_source};

struct kpi_op *kpi_op_events(struct kpi_run *run)
{
    uint32_t streams_count;
    const struct kp_stream *streams = kp_streams(&streams_count);
    struct events_op *op =
        (struct events_op *)kpi_op_new(run, &events_class, sizeof(*op), NULL, EV_COLUMNS);
    if (op == NULL)
        return NULL;
    memcpy(kpi_op_fields(&op->base), event_fields, sizeof(event_fields));
    kpi_scan_keys_init(&op->keys);
    op->base.ordered_by = 1;
    op->lanes = kpi_new(&run->ctx, streams_count, sizeof(*op->lanes));
    for (uint32_t i = 0; op->lanes != NULL && i < streams_count; i++) {
        if (streams[i].family != KP_FAMILY_KERNEL)
            continue;
        struct lane *lane = &op->lanes[op->lanes_count++];
        lane->stream = &streams[i];
        lane->wanted = true;
        run->streams[streams[i].number] = true;
    }
    return op->lanes == NULL ? NULL : &op->base;
}
