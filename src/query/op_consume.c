/* SPDX-License-Identifier: Apache-2.0
 *
 * consume: reads its table to the end and gives no row, to see what reading it costs.
 */
#include "query/op.h"
#include "query/shape.h"

static kp_status consume_next(struct kpi_op *base, const struct kp_batch **out)
{
    kp_status status;
    while ((status = kpi_op_next(base->input, out)) == KP_OK)
        ;
    return status;
}

/* All columns are read: that is what it is for. */
static void consume_need(struct kpi_op *base)
{
    for (uint32_t c = 0; c < base->input->schema.count; c++)
        base->input->need[c] = true;
}

static const struct kpi_op_class consume_class = {
    .name = "consume", .next = consume_next, .need = consume_need};

struct kpi_op *kpi_op_consume(struct kpi_op *input)
{
    struct kpi_op *op =
        kpi_op_new(input->run, &consume_class, sizeof(*op), input, input->schema.count);
    if (op == NULL)
        return NULL;
    memcpy(kpi_op_fields(op), input->schema.fields,
           input->schema.count * sizeof(*input->schema.fields));
    return op;
}
