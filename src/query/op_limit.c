/* SPDX-License-Identifier: Apache-2.0
 *
 * take: the first rows, and no pull below after the last of them.
 */
#include <inttypes.h>

#include "query/op.h"

struct limit_op {
    struct kpi_op base;
    uint64_t rows_max, rows;
    struct kp_batch out;
    uint16_t *sel;
};

static kp_status limit_open(struct kpi_op *base)
{
    struct limit_op *op = (struct limit_op *)base;
    op->sel = kpi_new(&base->run->ctx, KP_VECTOR_ROWS, sizeof(*op->sel));
    return base->run->ctx.status;
}

static kp_status limit_next(struct kpi_op *base, const struct kp_batch **out)
{
    struct limit_op *op = (struct limit_op *)base;
    const struct kp_batch *batch;
    if (op->rows == op->rows_max)
        return KP_END;
    kp_status status = kpi_op_next(base->input, &batch);
    if (status != KP_OK)
        return status;
    uint32_t count = kp_batch_count(batch);
    uint64_t left = op->rows_max - op->rows;
    if (count > left) {
        count = (uint32_t)left;
        for (uint32_t i = 0; i < count; i++)
            op->sel[i] = (uint16_t)kp_batch_row(batch, i);
        op->out = *batch;
        op->out.sel = op->sel;
        op->out.sel_count = count;
        batch = &op->out;
    }
    op->rows += count;
    *out = batch;
    return KP_OK;
}

static void limit_describe(const struct kpi_op *base, struct kp_buf *out)
{
    uint64_t rows = ((const struct limit_op *)base)->rows_max;
    kp_buf_printf(out, "%" PRIu64 " row%s", rows, rows == 1 ? "" : "s");
}

static const struct kpi_op_class limit_class = {"take", limit_open,     limit_next, NULL,
                                                NULL,   limit_describe, NULL};

struct kpi_op *kpi_op_limit(struct kpi_op *input, uint64_t rows_max)
{
    struct limit_op *op = (struct limit_op *)kpi_op_new(input->run, &limit_class, sizeof(*op),
                                                        input, input->schema.count);
    if (op == NULL)
        return NULL;
    memcpy(kpi_op_fields(&op->base), input->schema.fields,
           input->schema.count * sizeof(struct kp_field));
    op->rows_max = rows_max;
    op->base.ordered_by = input->ordered_by;
    return &op->base;
}
