/* SPDX-License-Identifier: Apache-2.0
 *
 * A stored stream as a table: one scan with the time range, keys and columns that plan.c found, its
 * batches in query columns.
 */
#include "query/scan.h"

struct scan_op {
    struct kpi_op base;
    const struct kp_stream *stream;
    struct kpi_scan_keys keys;
    bool descending;
    struct kp_scan *scan;
    struct kp_colref *cols;
    uint32_t *column_of; /* query column of asked column i */
    uint32_t cols_count;
    struct kpi_enum_names **names; /* per query column, ENUM only */
    uint32_t **codes;
    struct kp_scan_stat stat;
    struct kp_batch out;
};

static kp_status prepare_columns(struct scan_op *op)
{
    struct kpi_ctx *ctx = &op->base.run->ctx;
    const struct kp_stream *stream = op->stream;
    op->cols = kpi_new(ctx, stream->columns_count, sizeof(*op->cols));
    op->column_of = kpi_new(ctx, stream->columns_count, sizeof(*op->column_of));
    op->names = kpi_new(ctx, stream->columns_count, sizeof(*op->names));
    op->codes = kpi_new(ctx, stream->columns_count, sizeof(*op->codes));
    kpi_op_batch(&op->base, &op->out);
    for (uint32_t c = 0; c < stream->columns_count && ctx->status == KP_OK; c++) {
        const struct kp_query_column *column = &stream->columns[c];
        const struct kp_stored_column *stored = &stream->stored[column->ref.stored];
        if (!op->base.need[c])
            continue;
        op->cols[op->cols_count] = column->ref;
        op->column_of[op->cols_count++] = c;
        if (stored->type != KP_TYPE_ENUM)
            continue;
        op->names[c] = kpi_new(ctx, 1, sizeof(**op->names));
        op->codes[c] = kpi_new(ctx, KP_VECTOR_ROWS, sizeof(uint32_t));
        if (op->names[c] != NULL)
            op->names[c]->column = stored;
    }
    return ctx->status;
}

static kp_status scan_open(struct kpi_op *base)
{
    struct scan_op *op = (struct scan_op *)base;
    kp_status status = prepare_columns(op);
    if (status != KP_OK || op->keys.empty)
        return status;
    struct kp_scan_req req = {.stream = op->stream,
                              .from = op->keys.bounds.from,
                              .to = op->keys.bounds.to,
                              .cols = op->cols,
                              .cols_count = op->cols_count,
                              .keys_count = op->keys.count,
                              .descending = op->descending};
    memcpy(req.keys, op->keys.keys, sizeof(req.keys));
    status = kp_scan_open(base->run->snapshot, &req, &op->scan, base->run->ctx.err);
    return base->run->ctx.status = status;
}

static kp_status scan_next(struct kpi_op *base, const struct kp_batch **out)
{
    struct scan_op *op = (struct scan_op *)base;
    const struct kp_batch *batch;
    if (op->scan == NULL)
        return KP_END;
    kp_status status = kp_scan_next(op->scan, &batch, base->run->ctx.err);
    if (status != KP_OK)
        return status == KP_END ? KP_END : (base->run->ctx.status = status);
    for (uint32_t i = 0; i < op->cols_count; i++) {
        uint32_t c = op->column_of[i];
        const struct kp_vec *vec = &batch->cols[i];
        if (op->names[c] == NULL || kp_type_phys(vec->type) == KP_PHYS_STR || vec->dict != NULL) {
            op->out.cols[c] = *vec;
            op->out.cols[c].type = base->schema.fields[c].type;
        } else if (!kpi_enum_vector(&base->run->ctx, op->names[c], vec, batch->rows, op->codes[c],
                                    &op->out.cols[c])) {
            return base->run->ctx.status;
        }
    }
    op->out.rows = batch->rows;
    op->out.sel = batch->sel;
    op->out.sel_count = batch->sel_count;
    *out = &op->out;
    return KP_OK;
}

static void scan_close(struct kpi_op *base)
{
    struct scan_op *op = (struct scan_op *)base;
    if (op->scan == NULL)
        return;
    kpi_scan_account(base->run, op->scan);
    kp_scan_close(op->scan);
    op->scan = NULL;
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

static const struct kpi_source_class scan_source = {scan_push, scan_descend, scan_bounds,
                                                    scan_value};
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
