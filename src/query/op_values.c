/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables that need no store: print, datatable, show, getschema and explain (rows made cell by
 * cell), and range (made as they are asked for).
 */
#include "query/op.h"
#include "query/rowset.h"

struct values_op {
    struct kpi_op base;
    struct kpi_op_class class; /* a copy that carries the word for explain */
    enum kp_type *types;
    struct kpi_rowset rows;
    uint32_t cell; /* next to add */
    uint32_t chunk;
    struct kp_batch out;
};

static kp_status values_next(struct kpi_op *base, const struct kp_batch **out)
{
    struct values_op *op = (struct values_op *)base;
    return kpi_rowset_give(&op->rows, &op->chunk, &op->out, out);
}

static void values_describe(const struct kpi_op *base, struct kp_buf *out)
{
    uint32_t rows = ((const struct values_op *)base)->rows.rows;
    kp_buf_printf(out, "%u row%s", rows, rows == 1 ? "" : "s");
}

struct kpi_op *kpi_op_values(struct kpi_run *run, const char *name, const struct kp_field *fields,
                             uint32_t count)
{
    static const struct kpi_op_class none = {0};
    struct values_op *op =
        (struct values_op *)kpi_op_new(run, &none, sizeof(struct values_op), NULL, count);
    enum kp_type *types = kpi_new(&run->ctx, count, sizeof(*types));
    if (op == NULL || types == NULL)
        return NULL;
    op->class =
        (struct kpi_op_class){.name = name, .next = values_next, .describe = values_describe};
    op->base.class = &op->class;
    memcpy(kpi_op_fields(&op->base), fields, count * sizeof(*fields));
    for (uint32_t i = 0; i < count; i++)
        types[i] = fields[i].type;
    kpi_rowset_init(&op->rows, &run->ctx, types, NULL, count);
    return &op->base;
}

bool kpi_op_values_add(struct kpi_op *base, struct kpi_value value)
{
    struct values_op *op = (struct values_op *)base;
    if (op->cell % base->schema.count == 0 && kpi_rowset_grow(&op->rows) == UINT32_MAX)
        return false;
    uint32_t row = op->cell / base->schema.count, col = op->cell % base->schema.count;
    op->cell++;
    return kpi_rowset_set(&op->rows, row, col, value);
}

/* --- range --- */

struct range_op {
    struct kpi_op base;
    struct kpi_value from, to, step;
    int64_t made;
    bool done;
    struct kp_batch out;
    uint64_t *nulls;
};

static kp_status range_open(struct kpi_op *base)
{
    struct range_op *op = (struct range_op *)base;
    if (kpi_op_batch(base, &op->out))
        kpi_vec_alloc(&base->run->ctx, op->from.type, KP_VECTOR_ROWS, &op->out.cols[0], &op->nulls);
    return base->run->ctx.status;
}

static bool range_value_i64(struct range_op *op, int64_t *out)
{
    int64_t offset;
    if (__builtin_mul_overflow(op->made, op->step.i64, &offset) ||
        __builtin_add_overflow(op->from.i64, offset, out))
        return false;
    return op->step.i64 > 0 ? *out <= op->to.i64 : *out >= op->to.i64;
}

static bool range_value_f64(struct range_op *op, double *out)
{
    *out = op->from.f64 + (double)op->made * op->step.f64;
    return op->step.f64 > 0 ? *out <= op->to.f64 : *out >= op->to.f64;
}

static kp_status range_next(struct kpi_op *base, const struct kp_batch **out)
{
    struct range_op *op = (struct range_op *)base;
    struct kp_vec *vec = &op->out.cols[0];
    uint32_t rows = 0;
    while (!op->done && rows < KP_VECTOR_ROWS) {
        bool more = op->from.type == KP_TYPE_F64 ? range_value_f64(op, &vec->f64[rows])
                                                 : range_value_i64(op, &vec->i64[rows]);
        op->done = !more;
        rows += more;
        op->made++;
    }
    if (rows == 0)
        return KP_END;
    op->out.rows = rows;
    *out = &op->out;
    return KP_OK;
}

static void range_describe(const struct kpi_op *base, struct kp_buf *out)
{
    const struct range_op *op = (const struct range_op *)base;
    kp_buf_text(out, "from ");
    kpi_value_text(&op->from, out);
    kp_buf_text(out, " to ");
    kpi_value_text(&op->to, out);
    kp_buf_text(out, " step ");
    kpi_value_text(&op->step, out);
}

static const struct kpi_op_class range_class = {
    .name = "range", .open = range_open, .next = range_next, .describe = range_describe};

struct kpi_op *kpi_op_range(struct kpi_run *run, const struct kp_field *field,
                            struct kpi_value from, struct kpi_value to, struct kpi_value step)
{
    struct range_op *op =
        (struct range_op *)kpi_op_new(run, &range_class, sizeof(struct range_op), NULL, 1);
    if (op == NULL)
        return NULL;
    *kpi_op_fields(&op->base) = *field;
    op->from = from;
    op->to = to;
    op->step = step;
    return &op->base;
}
