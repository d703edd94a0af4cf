/* SPDX-License-Identifier: Apache-2.0
 *
 * make-series: for each key one row of arrays, a value for every step of the axis. The rows that
 * come are kept by key (one for each key and step that has data); what is missing is filled in when
 * the arrays are written.
 */
#include "query/series.h"

#include <math.h>

#include "query/emit.h"
#include "query/func.h"
#include "query/keyed.h"

struct series_op {
    struct kpi_op base;
    struct kpi_series series;
    struct kpi_keyed keyed; /* axis, values, keys */
    const struct kp_vec **vecs;
    uint32_t values;      /* value columns */
    struct kpi_value low; /* first step */
    uint32_t steps;       /* of every series */
    uint32_t given;       /* rows of keyed looked at for the next key */
    bool *seen, done, any;
    struct kpi_emit emit;
};

static kp_status series_open(struct kpi_op *base)
{
    struct series_op *op = (struct series_op *)base;
    struct kpi_ctx *ctx = &base->run->ctx;
    uint32_t cols = base->input->schema.count, keys = op->series.keys;
    enum kp_type *types = kpi_new(ctx, cols, sizeof(*types));
    op->vecs = kpi_new(ctx, cols, sizeof(*op->vecs));
    if (types == NULL || op->vecs == NULL)
        return ctx->status;
    for (uint32_t c = 0; c < cols; c++)
        types[(c + cols - keys) % cols] = base->input->schema.fields[c].type;
    kpi_keyed_init(&op->keyed, ctx, types, NULL, cols, keys);
    return kpi_emit_open(base, &op->emit);
}

static kp_status consume(struct series_op *op)
{
    struct kpi_op *base = &op->base;
    const struct kp_batch *batch;
    kp_status status;
    uint32_t cols = base->input->schema.count, keys = op->series.keys;
    while ((status = kpi_op_next(base->input, &batch)) == KP_OK) {
        for (uint32_t c = 0; c < cols; c++)
            op->vecs[(c + cols - keys) % cols] = &batch->cols[c];
        for (uint32_t i = 0; i < kp_batch_count(batch); i++)
            if (!kp_vec_null(op->vecs[0], kp_batch_row(batch, i)) &&
                !kpi_keyed_add(&op->keyed, op->vecs, kp_batch_row(batch, i)))
                return base->run->ctx.status;
    }
    return status == KP_END ? base->run->ctx.status : status;
}

static struct kpi_value cell(const struct series_op *op, uint32_t row, uint32_t col)
{
    return kpi_vec_value(kpi_rowset_vec(&op->keyed.rows, row, col), row & 1023);
}

static bool is_real(const struct series_op *op)
{
    return op->series.step.type == KP_TYPE_F64;
}

/* Steps from one value of the axis to another, as many as fit; UINT32_MAX when too many. */
static uint32_t distance(const struct series_op *op, struct kpi_value from, struct kpi_value to,
                         bool up)
{
    double steps;
    if (is_real(op)) {
        steps = (to.f64 - from.f64) / op->series.step.f64;
        steps = up ? ceil(steps) : floor(steps + 1e-9);
    } else {
        __int128 gap = (__int128)to.i64 - from.i64, step = op->series.step.i64;
        steps = (double)(up ? (gap + step - 1) / step : gap / step);
    }
    return steps < 0 ? 0 : steps > KPI_SERIES_STEPS_MAX ? UINT32_MAX : (uint32_t)steps;
}

static bool below(const struct series_op *op, struct kpi_value a, struct kpi_value b)
{
    return is_real(op) ? a.f64 < b.f64 : a.i64 < b.i64;
}

/* Where the axis begins and how many steps it has, from the text or from the rows. */
static bool measure(struct series_op *op)
{
    struct kpi_value low = op->series.from, high = op->series.to;
    bool bounded = !high.null;
    for (uint32_t row = 0; row < op->keyed.rows.rows; row++) {
        struct kpi_value at = cell(op, row, 0);
        if (op->series.from.null && (low.null || below(op, at, low)))
            low = at;
        if (!bounded && (high.null || below(op, high, at)))
            high = at;
    }
    op->low = low;
    op->steps = 0;
    if (low.null || high.null)
        return true;
    op->steps = distance(op, low, high, bounded);
    if (!bounded && op->steps != UINT32_MAX)
        op->steps++;
    if (op->steps <= KPI_SERIES_STEPS_MAX)
        return true;
    kpi_fail(&op->base.run->ctx, KP_LIMIT, op->base.place, "a series of more than %d steps",
             KPI_SERIES_STEPS_MAX);
    kpi_hint(&op->base.run->ctx, "take a longer step, or a shorter range");
    return false;
}

static struct kpi_value axis_at(const struct series_op *op, uint32_t step)
{
    struct kpi_value at = op->low;
    int64_t offset;
    if (is_real(op))
        at.f64 += step * op->series.step.f64;
    else if (__builtin_mul_overflow(op->series.step.i64, (int64_t)step, &offset) ||
             __builtin_add_overflow(at.i64, offset, &at.i64))
        at.null = true;
    return at;
}

/* --- arrays --- */

/* Row + 1 of each step for the key whose chain begins at `first` + 1; 0 = none. */
static uint32_t *rows_by_step(struct series_op *op, uint32_t first)
{
    uint32_t *rows =
        (uint32_t *)kpi_scratch(&op->base.eval, ((size_t)op->steps + 1) * sizeof(*rows));
    if (rows == NULL)
        return NULL;
    memset(rows, 0, ((size_t)op->steps + 1) * sizeof(*rows));
    for (uint32_t row = first; row != 0; row = kpi_keyed_next(&op->keyed, row - 1)) {
        uint32_t step = distance(op, op->low, cell(op, row - 1, 0), false);
        if (step < op->steps)
            rows[step] = row;
    }
    return rows;
}

static void emit_array(struct series_op *op, uint32_t col, uint32_t value, const uint32_t *rows)
{
    struct kp_buf json = {0};
    struct kpi_ctx *ctx = &op->base.run->ctx;
    kp_buf_char(&json, '[');
    for (uint32_t i = 0; i < op->steps; i++) {
        struct kpi_value element = value == 0    ? axis_at(op, i)
                                   : rows[i] > 0 ? cell(op, rows[i] - 1, value)
                                                 : op->series.otherwise[value - 1];
        if (i > 0)
            kp_buf_char(&json, ',');
        kpi_json_value(&element, &json);
    }
    kp_buf_char(&json, ']');
    char *copy = kpi_scratch(&op->base.eval, json.size + 1);
    if (json.failed)
        kpi_fail_memory(ctx);
    if (copy != NULL && !json.failed) {
        memcpy(copy, json.data, json.size);
        struct kpi_value array = {.type = KP_TYPE_DYN, .str = {copy, (uint32_t)json.size}};
        kpi_emit_value(&op->emit, col, array);
    }
    kp_buf_deinit(&json);
}

static void emit_series(struct series_op *op, uint32_t first)
{
    uint32_t keys = op->series.keys;
    uint32_t *rows = rows_by_step(op, first);
    if (rows == NULL)
        return;
    for (uint32_t k = 0; k < keys; k++)
        kpi_emit_value(&op->emit, k, cell(op, first - 1, 1 + op->values + k));
    for (uint32_t v = 0; v < op->values; v++)
        if (op->base.need[keys + v])
            emit_array(op, keys + v, v + 1, rows);
    if (op->base.need[keys + op->values])
        emit_array(op, keys + op->values, 0, rows);
    kpi_emit_row(&op->emit);
}

static kp_status begin(struct series_op *op)
{
    kp_status status = consume(op);
    if (status != KP_OK)
        return status;
    op->seen = kpi_new(&op->base.run->ctx, op->keyed.rows.rows + 1, sizeof(bool));
    op->done = op->seen != NULL && measure(op);
    return op->base.run->ctx.status;
}

static kp_status series_next(struct kpi_op *base, const struct kp_batch **out)
{
    struct series_op *op = (struct series_op *)base;
    kp_status status = op->done ? KP_OK : begin(op);
    if (status != KP_OK)
        return status;
    kpi_eval_begin(&base->eval);
    kpi_emit_begin(&op->emit);
    bool lone = op->series.nonempty && op->series.keys == 0 && op->keyed.rows.rows == 0;
    if (lone && !op->any)
        emit_series(op, 0);
    op->any = true;
    for (; op->given < op->keyed.rows.rows && op->emit.batch.rows < 16; op->given++) {
        if (op->seen[op->given])
            continue;
        for (uint32_t row = op->given + 1; row != 0; row = kpi_keyed_next(&op->keyed, row - 1))
            op->seen[row - 1] = true;
        emit_series(op, op->given + 1);
    }
    *out = &op->emit.batch;
    if (base->run->ctx.status != KP_OK)
        return base->run->ctx.status;
    return op->emit.batch.rows == 0 ? KP_END : KP_OK;
}

static void series_need(struct kpi_op *base)
{
    for (uint32_t c = 0; c < base->input->schema.count; c++)
        base->input->need[c] = true;
}

static void series_describe(const struct kpi_op *base, struct kp_buf *out)
{
    kp_buf_text(out, "step ");
    kpi_value_text(&((const struct series_op *)base)->series.step, out);
}

static const struct kpi_op_class series_class = {"make-series", series_open,     series_next, NULL,
                                                 series_need,   series_describe, NULL};

struct kpi_op *kpi_op_series(struct kpi_op *input, const struct kp_field *fields, uint32_t count,
                             const struct kpi_series *series)
{
    struct series_op *op =
        (struct series_op *)kpi_op_new(input->run, &series_class, sizeof(*op), input, count);
    if (op == NULL)
        return NULL;
    memcpy(kpi_op_fields(&op->base), fields, count * sizeof(*fields));
    op->series = *series;
    op->values = count - series->keys - 1;
    return &op->base;
}
