/* SPDX-License-Identifier: Apache-2.0
 *
 * sample: so many rows, each as likely as any other, in the order they came. Reservoir sampling
 * (Vitter, "Random sampling with a reservoir", 1985, algorithm R) with numbers made from the row's
 * position, so the same table gives the same sample.
 */
#include <stdlib.h>

#include "base/hash.h"
#include "query/apply.h"
#include "query/emit.h"
#include "query/rowset.h"

struct kept {
    uint64_t position;
    uint32_t row; /* of rows */
};

struct sample_op {
    struct kpi_op base;
    uint64_t rows_max, seen;
    struct kpi_rowset rows;
    const struct kp_vec **vecs;
    struct kept *kept;
    uint32_t count, capacity, given;
    bool done;
    struct kpi_emit emit;
};

static kp_status sample_open(struct kpi_op *base)
{
    struct sample_op *op = (struct sample_op *)base;
    struct kpi_ctx *ctx = &base->run->ctx;
    enum kp_type *types = kpi_new(ctx, base->schema.count, sizeof(*types));
    op->vecs = kpi_new(ctx, base->schema.count, sizeof(*op->vecs));
    if (types == NULL || op->vecs == NULL)
        return ctx->status;
    for (uint32_t c = 0; c < base->schema.count; c++)
        types[c] = base->schema.fields[c].type;
    kpi_rowset_init(&op->rows, ctx, types, base->need, base->schema.count);
    return kpi_emit_open(base, &op->emit);
}

static bool grow(struct sample_op *op)
{
    uint32_t capacity = op->capacity == 0 ? 64 : op->capacity * 2;
    struct kept *kept = kpi_new(&op->base.run->ctx, capacity, sizeof(*kept));
    if (kept == NULL)
        return false;
    if (op->count > 0)
        memcpy(kept, op->kept, op->count * sizeof(*kept));
    op->kept = kept;
    op->capacity = capacity;
    return true;
}

static bool add_row(struct sample_op *op, uint32_t from)
{
    uint64_t position = op->seen++, slot = op->count;
    if (op->count == op->rows_max) {
        slot = kp_hash_mix(position + 0x9e3779b97f4a7c15ull) % (position + 1);
        if (slot >= op->rows_max)
            return true;
    } else {
        if (op->count == op->capacity && !grow(op))
            return false;
        uint32_t row = kpi_rowset_grow(&op->rows);
        if (row == UINT32_MAX)
            return false;
        op->kept[op->count++].row = row;
    }
    op->kept[slot].position = position;
    return kpi_rowset_put(&op->rows, op->kept[slot].row, op->vecs, from);
}

static int by_position(const void *a, const void *b)
{
    const struct kept *x = a, *y = b;
    return (x->position > y->position) - (x->position < y->position);
}

static kp_status consume(struct sample_op *op)
{
    struct kpi_op *base = &op->base;
    const struct kp_batch *batch;
    kp_status status;
    while ((status = kpi_op_next(base->input, &batch)) == KP_OK) {
        for (uint32_t c = 0; c < base->schema.count; c++)
            op->vecs[c] = &batch->cols[c];
        for (uint32_t i = 0; i < kp_batch_count(batch); i++)
            if (!add_row(op, kp_batch_row(batch, i)))
                return base->run->ctx.status;
    }
    op->done = status == KP_END;
    if (op->count > 0)
        qsort(op->kept, op->count, sizeof(*op->kept), by_position);
    return op->done ? base->run->ctx.status : status;
}

static kp_status sample_next(struct kpi_op *base, const struct kp_batch **out)
{
    struct sample_op *op = (struct sample_op *)base;
    if (op->rows_max == 0)
        return KP_END;
    kp_status status = op->done ? KP_OK : consume(op);
    if (status != KP_OK)
        return status;
    kpi_emit_begin(&op->emit);
    for (; op->given < op->count && !kpi_emit_full(&op->emit); op->given++) {
        uint32_t row = op->kept[op->given].row;
        for (uint32_t c = 0; c < base->schema.count; c++)
            if (base->need[c])
                kpi_emit_copy(&op->emit, c, kpi_rowset_vec(&op->rows, row, c), row & 1023);
        kpi_emit_row(&op->emit);
    }
    *out = &op->emit.batch;
    return op->emit.batch.rows == 0 ? KP_END : KP_OK;
}

static void sample_describe(const struct kpi_op *base, struct kp_buf *out)
{
    uint64_t rows = ((const struct sample_op *)base)->rows_max;
    kp_buf_printf(out, "%lu row%s", (unsigned long)rows, rows == 1 ? "" : "s");
}

static const struct kpi_op_class sample_class = {"sample", sample_open,     sample_next, NULL,
                                                 NULL,     sample_describe, NULL};

struct kpi_op *kpi_op_sample(struct kpi_op *input, uint64_t rows_max)
{
    struct sample_op *op = (struct sample_op *)kpi_op_new(input->run, &sample_class, sizeof(*op),
                                                          input, input->schema.count);
    if (op == NULL)
        return NULL;
    memcpy(kpi_op_fields(&op->base), input->schema.fields,
           input->schema.count * sizeof(struct kp_field));
    op->rows_max = rows_max;
    op->base.ordered_by = input->ordered_by;
    return &op->base;
}
