/* SPDX-License-Identifier: Apache-2.0
 *
 * union: the rows of each input in turn. Columns meet by name (bind_pipe.c put a projection with
 * nulls for missing ones on top of each input), so a batch passes through as it is.
 */
#include "query/sides.h"

static kp_status union_open(struct kpi_op *base)
{
    return base->run->ctx.status; /* exec.c opens the inputs with the tree */
}

static kp_status union_next(struct kpi_op *base, const struct kp_batch **out)
{
    struct kpi_sides_op *op = (struct kpi_sides_op *)base;
    while (op->current < op->inputs_count) {
        kp_status status = kpi_op_next(op->inputs[op->current], out);
        if (status != KP_END)
            return status;
        op->current++;
    }
    return KP_END;
}

static void union_need(struct kpi_op *base)
{
    struct kpi_sides_op *op = (struct kpi_sides_op *)base;
    for (uint32_t i = 0; i < op->inputs_count; i++)
        for (uint32_t c = 0; c < base->schema.count; c++)
            op->inputs[i]->need[c] |= base->need[c];
}

static void union_describe(const struct kpi_op *base, struct kp_buf *out)
{
    kp_buf_printf(out, "%u tables", ((const struct kpi_sides_op *)base)->inputs_count);
}

static const struct kpi_op_class union_class = {"union",    union_open,     union_next, NULL,
                                                union_need, union_describe, NULL};

struct kpi_op *kpi_op_union(struct kpi_run *run, struct kpi_op **inputs, uint32_t inputs_count,
                            const struct kp_schema *schema)
{
    struct kpi_sides_op *op =
        (struct kpi_sides_op *)kpi_op_new(run, &union_class, sizeof(*op), NULL, schema->count);
    if (op == NULL)
        return NULL;
    memcpy(kpi_op_fields(&op->base), schema->fields, schema->count * sizeof(struct kp_field));
    op->base.sides = true;
    op->inputs = inputs;
    op->inputs_count = inputs_count;
    return &op->base;
}
