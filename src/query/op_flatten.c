/* SPDX-License-Identifier: Apache-2.0
 *
 * flatten: the time each key covers, as disjoint intervals; keys in order of first appearance.
 */
#include "query/emit.h"
#include "query/spans.h"

struct flatten_op {
    struct kpi_op base;
    struct kpi_interval interval;
    struct kpi_spans spans;
    bool built;
    uint32_t row, span; /* next to give: a first row of spans.rows, and its span */
    struct kpi_emit emit;
};

static kp_status flatten_open(struct kpi_op *base)
{
    struct flatten_op *op = (struct flatten_op *)base;
    if (kpi_spans_open(&op->spans, &base->run->ctx, &op->interval) != KP_OK)
        return base->run->ctx.status;
    return kpi_emit_open(base, &op->emit);
}

static void emit(struct flatten_op *op, const struct kpi_span *span)
{
    uint32_t keys = op->interval.keys_count;
    for (uint32_t k = 0; k < keys; k++)
        kpi_emit_copy(&op->emit, k, kpi_rowset_vec(&op->spans.rows.rows, op->row, 2 + k),
                      op->row & 1023);
    struct kpi_value values[3] = {{.type = KP_TYPE_TIME, .i64 = span->from},
                                  {.type = KP_TYPE_TIME, .i64 = span->to},
                                  {.type = KP_TYPE_DUR}};
    bool fits = !__builtin_sub_overflow(span->to, span->from, &values[2].i64);
    values[2].null = !fits;
    op->base.run->ctx.overflows += !fits;
    for (uint32_t i = 0; i < 3; i++)
        kpi_emit_value(&op->emit, keys + i, values[i]);
    kpi_emit_row(&op->emit);
}

static kp_status flatten_next(struct kpi_op *base, const struct kp_batch **out)
{
    struct flatten_op *op = (struct flatten_op *)base;
    if (!op->built) {
        kp_status status = kpi_spans_build(&op->spans, base, base->input, 0);
        if (status != KP_OK)
            return status;
        op->built = true;
    }
    kpi_emit_begin(&op->emit);
    while (op->row < op->spans.rows.rows.rows && !kpi_emit_full(&op->emit)) {
        if (op->span < op->spans.count[op->row]) { /* 0 for rows that are not first */
            emit(op, &op->spans.spans[op->spans.first[op->row] + op->span++]);
            continue;
        }
        op->row++;
        op->span = 0;
    }
    *out = &op->emit.batch;
    return op->emit.batch.rows == 0 ? KP_END : base->run->ctx.status;
}

static void flatten_need(struct kpi_op *base)
{
    kpi_interval_need(&((struct flatten_op *)base)->interval, base->input->need);
}

static const struct kpi_op_class flatten_class = {"flatten",    flatten_open, flatten_next, NULL,
                                                  flatten_need, NULL,         NULL};

struct kpi_op *kpi_op_flatten(struct kpi_op *input, const struct kpi_interval *interval,
                              const struct kp_field *fields)
{
    static const struct kp_field times[] = {{KP_STR("start"), KP_TYPE_TIME, KP_UNIT_NS},
                                            {KP_STR("ts"), KP_TYPE_TIME, KP_UNIT_NS},
                                            {KP_STR("dur"), KP_TYPE_DUR, KP_UNIT_NS}};
    uint32_t keys = interval->keys_count;
    struct flatten_op *op =
        (struct flatten_op *)kpi_op_new(input->run, &flatten_class, sizeof(*op), input, keys + 3);
    if (op == NULL)
        return NULL;
    memcpy(kpi_op_fields(&op->base), fields, keys * sizeof(*fields));
    memcpy(kpi_op_fields(&op->base) + keys, times, sizeof(times));
    op->interval = *interval;
    return &op->base;
}
