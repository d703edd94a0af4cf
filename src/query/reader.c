/* SPDX-License-Identifier: Apache-2.0
 *
 * Vectors of plain columns are passed on as the scan gave them; names and attributes are made in
 * room of the reader's own.
 */
#include "query/reader.h"

#include "query/worker.h"

/* The scan's column for a reference, asked for once. */
static uint32_t scan_column(struct kpi_reader *reader, struct kp_colref ref)
{
    for (uint32_t i = 0; i < reader->cols_count; i++)
        if (reader->cols[i].stored == ref.stored && reader->cols[i].attr == ref.attr)
            return i;
    reader->cols[reader->cols_count] = ref;
    return reader->cols_count++;
}

static bool add_column(struct kpi_reader *reader, uint32_t number)
{
    struct kpi_ctx *ctx = &reader->run->ctx;
    struct kp_colref ref = reader->stream->columns[number].ref;
    const struct kp_stored_column *stored = &reader->stream->stored[ref.stored];
    struct kpi_reader_column *column = &reader->columns[reader->columns_count++];
    column->column = number;
    if (stored->type == KP_TYPE_ACTOR && kpi_actor_attr(ref.attr)) {
        column->attr = kpi_new(ctx, 1, sizeof(*column->attr));
        column->room = kpi_new(ctx, KP_VECTOR_ROWS, sizeof(int64_t));
        if (column->attr == NULL || column->room == NULL)
            return false;
        kpi_actor_column_init(column->attr, ctx, kp_snapshot_actors(reader->run->snapshot),
                              ref.attr);
        ref.attr = KP_ATTR_SELF;
    } else if (stored->type == KP_TYPE_ENUM) {
        column->names = kpi_new(ctx, 1, sizeof(*column->names));
        column->room = kpi_new(ctx, KP_VECTOR_ROWS, sizeof(uint32_t));
        if (column->names == NULL || column->room == NULL)
            return false;
        column->names->column = stored;
    }
    column->from = scan_column(reader, ref);
    return true;
}

bool kpi_reader_init(struct kpi_reader *reader, struct kpi_run *run, const struct kp_stream *stream,
                     const bool *need)
{
    *reader = (struct kpi_reader){.run = run, .stream = stream};
    reader->cols = kpi_new(&run->ctx, stream->columns_count, sizeof(*reader->cols));
    reader->columns = kpi_new(&run->ctx, stream->columns_count, sizeof(*reader->columns));
    if (reader->cols == NULL || reader->columns == NULL)
        return false;
    for (uint32_t c = 0; c < stream->columns_count; c++)
        if (need[c] && !add_column(reader, c))
            return false;
    return true;
}

void kpi_reader_roll(struct kpi_reader *reader, kp_time from, kp_time to)
{
    reader->rolled = true;
    reader->rolled_from = from;
    reader->rolled_to = to;
}

static struct kp_scan_req request(const struct kpi_reader *reader, const struct kpi_scan_keys *keys,
                                  kp_time from, kp_time to)
{
    struct kp_scan_req req = {.stream = reader->stream,
                              .from = from,
                              .to = to,
                              .cols = reader->cols,
                              .cols_count = reader->cols_count,
                              .keys_count = keys->count,
                              .any_order = reader->any_order,
                              .kinds = reader->kinds,
                              .ahead = !reader->any_order && kpi_run_threads(reader->run) > 1,
                              .rolled = reader->rolled,
                              .rolled_from = reader->rolled_from,
                              .rolled_to = reader->rolled_to,
                              .no_prune = (reader->run->opts.off & KP_OFF_PRUNING) != 0};
    memcpy(req.keys, keys->keys, sizeof(req.keys));
    return req;
}

kp_status kpi_reader_open(struct kpi_reader *reader, const struct kpi_scan_keys *keys, kp_time from,
                          kp_time to, bool descending)
{
    struct kpi_run *run = reader->run;
    struct kp_scan_req req = request(reader, keys, from, to);
    req.descending = descending;
    if (keys->empty || from > to)
        return KP_OK;
    return run->ctx.status = kp_scan_open(run->snapshot, &req, &reader->scan, run->ctx.err);
}

kp_status kpi_reader_split(struct kpi_reader *reader, const struct kpi_scan_keys *keys,
                           uint32_t parts, kp_time *out_from, uint32_t *out_count)
{
    struct kpi_run *run = reader->run;
    struct kp_scan_req req = request(reader, keys, keys->bounds.from, keys->bounds.to);
    *out_count = 0;
    if (keys->empty || req.from > req.to)
        return KP_OK;
    return run->ctx.status =
               kp_scan_split(run->snapshot, &req, parts, out_from, out_count, run->ctx.err);
}

static bool column_vector(struct kpi_reader *reader, const struct kpi_reader_column *column,
                          const struct kp_batch *batch, struct kp_vec *out)
{
    const struct kp_vec *vec = &batch->cols[column->from];
    bool text = kp_type_phys(vec->type) == KP_PHYS_STR || vec->dict != NULL;
    if (column->attr != NULL)
        return kpi_actor_column_fill(column->attr, vec->i64, batch->rows, column->room, out);
    if (column->names != NULL && !text)
        return kpi_enum_vector(&reader->run->ctx, column->names, vec, batch->rows, column->room,
                               out);
    *out = *vec;
    out->type = reader->stream->columns[column->column].type;
    return true;
}

kp_status kpi_reader_next(struct kpi_reader *reader, struct kp_vec *cols,
                          const struct kp_batch **out)
{
    struct kpi_ctx *ctx = &reader->run->ctx;
    if (reader->scan == NULL)
        return KP_END;
    kp_status status = kp_scan_next(reader->scan, out, ctx->err);
    if (status != KP_OK)
        return status == KP_END ? KP_END : (ctx->status = status);
    for (uint32_t i = 0; i < reader->columns_count; i++) {
        const struct kpi_reader_column *column = &reader->columns[i];
        if (!column_vector(reader, column, *out, &cols[column->column]))
            return ctx->status;
    }
    return KP_OK;
}

void kpi_reader_close(struct kpi_reader *reader)
{
    if (reader->scan == NULL)
        return;
    kpi_scan_account(reader->run, reader->scan);
    kp_scan_close(reader->scan);
    reader->scan = NULL;
}
