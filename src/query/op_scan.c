/* SPDX-License-Identifier: Apache-2.0
 *
 * A stored stream as a table: one scan with the time range, keys and columns that plan.c found, its
 * batches in query columns.
 */
#include "query/reader.h"

struct scan_op {
    struct kpi_op base;
    const struct kp_stream *stream;
    struct kpi_scan_keys keys;
    bool descending, unordered, rolled, unread;
    bool kinds[KP_STREAM_MAX]; /* its own */
    struct kpi_reader reader;
    struct kp_batch out;
};

static kp_status scan_open(struct kpi_op *base)
{
    struct scan_op *op = (struct scan_op *)base;
    const struct kpi_bounds *bounds = &op->keys.bounds;
    if (!kpi_op_batch(base, &op->out) ||
        !kpi_reader_init(&op->reader, base->run, op->stream, base->need))
        return base->run->ctx.status;
    op->reader.any_order = op->unordered;
    if (op->rolled)
        kpi_reader_roll(&op->reader, bounds->from, bounds->to);
    return op->unread
               ? KP_OK
               : kpi_reader_open(&op->reader, &op->keys, bounds->from, bounds->to, op->descending);
}

static kp_status scan_next(struct kpi_op *base, const struct kp_batch **out)
{
    struct scan_op *op = (struct scan_op *)base;
    const struct kp_batch *batch;
    kp_status status = kpi_reader_next(&op->reader, op->out.cols, &batch);
    if (status != KP_OK)
        return status;
    op->out.rows = batch->rows;
    op->out.sel = batch->sel;
    op->out.sel_count = batch->sel_count;
    *out = &op->out;
    return KP_OK;
}

static void scan_close(struct kpi_op *base)
{
    kpi_reader_close(&((struct scan_op *)base)->reader);
}

static void scan_describe(const struct kpi_op *base, struct kp_buf *out)
{
    const struct scan_op *op = (const struct scan_op *)base;
    kp_buf_text(out, op->stream->name);
    kpi_bounds_text(&op->keys.bounds, out);
    kpi_scan_keys_text(&op->keys, op->stream, out);
    kp_buf_text(out, " columns");
    bool any = false;
    for (uint32_t c = 0; c < base->schema.count; c++) {
        if (base->need[c])
            kp_buf_printf(out, "%s%s", any ? ", " : " ", op->stream->columns[c].name);
        any |= base->need[c];
    }
    kp_buf_text(out, any ? "" : " none");
    if (op->descending)
        kp_buf_text(out, " newest first");
}

static bool scan_push(struct kpi_op *base, const struct kpi_push *push)
{
    struct scan_op *op = (struct scan_op *)base;
    return kpi_scan_keys_push(base->run, &op->keys, op->stream, &op->stream->columns[push->column],
                              push);
}

static bool scan_descend(struct kpi_op *base)
{
    ((struct scan_op *)base)->descending = true;
    return true;
}

static struct kpi_bounds *scan_bounds(struct kpi_op *base)
{
    return &((struct scan_op *)base)->keys.bounds;
}

static struct kp_str scan_value(const struct kpi_op *base, uint32_t column, uint32_t index)
{
    const struct kp_stream *stream = ((const struct scan_op *)base)->stream;
    struct kp_colref ref = stream->columns[column].ref;
    const struct kp_stored_column *stored = &stream->stored[ref.stored];
    bool named = stored->type == KP_TYPE_ENUM && ref.attr == KP_ATTR_SELF;
    return named && index < stored->names_count ? kp_str_from(stored->names[index].name)
                                                : KP_STR("");
}

static bool scan_all(const struct kpi_op *base)
{
    const struct scan_op *op = (const struct scan_op *)base;
    return op->keys.count == 0 && !op->keys.empty;
}

static uint64_t scan_lane(const struct kpi_op *base, uint32_t lane, struct kp_str *out_kind)
{
    const struct scan_op *op = (const struct scan_op *)base;
    if (lane > 0)
        return UINT64_MAX;
    *out_kind = kp_str_from(op->stream->name);
    return kp_snapshot_rows(base->run->snapshot, op->stream);
}

static void scan_unorder(struct kpi_op *base)
{
    ((struct scan_op *)base)->unordered = true;
}

static kp_status scan_split(struct kpi_op *base, uint32_t parts, kp_time *out_from,
                            uint32_t *out_count)
{
    struct scan_op *op = (struct scan_op *)base;
    return kpi_reader_split(&op->reader, &op->keys, parts, out_from, out_count);
}

static kp_status scan_window(struct kpi_op *base, kp_time from, kp_time to)
{
    struct scan_op *op = (struct scan_op *)base;
    kpi_reader_close(&op->reader);
    return kpi_reader_open(&op->reader, &op->keys, from, to, false);
}

static const struct kp_stream *scan_stream(const struct kpi_op *base)
{
    return ((const struct scan_op *)base)->stream;
}

static bool scan_tally(struct kpi_op *base, kp_time from, kp_time to, struct kp_scan_req *out)
{
    struct scan_op *op = (struct scan_op *)base;
    op->kinds[op->stream->number] = true;
    op->unread = op->stream->family == KP_FAMILY_KERNEL &&
                 kpi_scan_keys_tally(base->run, &op->keys, op->kinds, from, to, out);
    return op->unread;
}

static bool scan_roll(struct kpi_op *base)
{
    struct scan_op *op = (struct scan_op *)base;
    return op->rolled = op->keys.count == 0 && !op->keys.empty;
}

static const struct kpi_source_class scan_source = {
    scan_push,   scan_descend, scan_bounds, scan_value, scan_unorder, scan_lane, scan_split,
    scan_window, scan_all,     scan_stream, scan_tally, scan_roll,    NULL};
static const struct kpi_op_class scan_class = {"scan", scan_open,     scan_next,   scan_close,
                                               NULL,   scan_describe, &scan_source};

struct kpi_op *kpi_op_scan(struct kpi_run *run, const struct kp_stream *stream)
{
    struct scan_op *op =
        (struct scan_op *)kpi_op_new(run, &scan_class, sizeof(*op), NULL, stream->columns_count);
    if (op == NULL)
        return NULL;
    op->stream = stream;
    kpi_scan_keys_init(&op->keys);
    struct kp_field *fields = kpi_op_fields(&op->base);
    for (uint32_t c = 0; c < stream->columns_count; c++)
        fields[c] = (struct kp_field){.name = kp_str_from(stream->columns[c].name),
                                      .type = stream->columns[c].type,
                                      .unit = stream->columns[c].unit};
    op->base.ordered_by = 1;
    run->streams[stream->number] = true;
    return &op->base;
}
