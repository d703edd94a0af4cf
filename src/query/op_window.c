/* SPDX-License-Identifier: Apache-2.0
 *
 * Row functions over all rows in the order they come. The rows are kept under the query's memory
 * limit, because next() may look at any later one.
 */
#include "query/window.h"

#include "query/emit.h"
#include "query/rowset.h"

/* Where a running sum or number stands. */
struct running {
    int64_t count; /* or the rank, or the session's beginning */
    double real;
    int64_t rows; /* since the restart, for ranks */
};

struct window_op {
    struct kpi_op base;
    const struct kpi_windows *windows;
    struct kpi_rowset rows; /* needed input columns, then value and restart of each window */
    const struct kp_vec **vecs;
    struct running running[KPI_WINDOWS_MAX];
    uint32_t given;
    bool done;
    struct kpi_emit emit;
};

/* Columns of rows: value and restart of window i. */
static uint32_t value_column(const struct window_op *op, uint32_t i)
{
    return op->windows->columns + 2 * i;
}

static kp_status window_open(struct kpi_op *base)
{
    struct window_op *op = (struct window_op *)base;
    struct kpi_ctx *ctx = &base->run->ctx;
    uint32_t input = op->windows->columns, cols = input + 2 * op->windows->count;
    enum kp_type *types = kpi_new(ctx, cols, sizeof(*types));
    bool *keep = kpi_new(ctx, cols, sizeof(*keep));
    op->vecs = kpi_new(ctx, cols, sizeof(*op->vecs));
    if (op->vecs == NULL)
        return ctx->status;
    for (uint32_t c = 0; c < input; c++) {
        types[c] = base->schema.fields[c].type;
        keep[c] = base->need[c];
    }
    for (uint32_t i = 0; i < op->windows->count; i++) {
        struct kpi_expr *const exprs[2] = {op->windows->items[i].value,
                                           op->windows->items[i].restart};
        for (uint32_t part = 0; part < 2; part++) {
            uint32_t c = value_column(op, i) + part;
            types[c] = exprs[part] != NULL ? exprs[part]->type : KP_TYPE_BOOL;
            keep[c] = exprs[part] != NULL;
            if (keep[c] && !kpi_expr_prepare(ctx, exprs[part], KP_VECTOR_ROWS))
                return ctx->status;
        }
    }
    kpi_rowset_init(&op->rows, ctx, types, keep, cols);
    return kpi_emit_open(base, &op->emit);
}

static kp_status consume(struct window_op *op)
{
    struct kpi_op *base = &op->base;
    const struct kp_batch *batch;
    kp_status status;
    while ((status = kpi_op_next(base->input, &batch)) == KP_OK) {
        kpi_eval_begin(&base->eval);
        for (uint32_t c = 0; c < op->windows->columns; c++)
            op->vecs[c] = &batch->cols[c];
        for (uint32_t i = 0; i < op->windows->count; i++) {
            const struct kpi_window *window = &op->windows->items[i];
            if (window->value != NULL)
                op->vecs[value_column(op, i)] = kpi_expr_eval(window->value, batch, &base->eval);
            if (window->restart != NULL)
                op->vecs[value_column(op, i) + 1] =
                    kpi_expr_eval(window->restart, batch, &base->eval);
        }
        for (uint32_t i = 0; i < kp_batch_count(batch); i++) {
            uint32_t row = kpi_rowset_grow(&op->rows);
            if (row == UINT32_MAX ||
                !kpi_rowset_put(&op->rows, row, op->vecs, kp_batch_row(batch, i)))
                return base->run->ctx.status;
        }
    }
    op->done = status == KP_END;
    return op->done ? base->run->ctx.status : status;
}

static struct kpi_value cell(const struct window_op *op, uint32_t row, uint32_t col)
{
    return kpi_vec_value(kpi_rowset_vec(&op->rows, row, col), row & 1023);
}

static struct kpi_value shifted(const struct window_op *op, uint32_t i, uint32_t row)
{
    const struct kpi_window *window = &op->windows->items[i];
    int64_t from;
    bool inside = !__builtin_add_overflow((int64_t)row, window->by, &from) && from >= 0 &&
                  from < (int64_t)op->rows.rows;
    return inside ? cell(op, (uint32_t)from, value_column(op, i)) : window->otherwise;
}

/* Does the window begin anew in this row? */
static bool restarts(const struct window_op *op, uint32_t i, uint32_t row)
{
    if (row == 0)
        return true;
    if (op->windows->items[i].restart == NULL)
        return false;
    struct kpi_value restart = cell(op, row, value_column(op, i) + 1);
    return !restart.null && restart.i64 != 0;
}

static struct kpi_value ranked(struct window_op *op, uint32_t i, uint32_t row)
{
    const struct kpi_window *window = &op->windows->items[i];
    struct running *running = &op->running[i];
    uint32_t col = value_column(op, i);
    bool anew = restarts(op, i, row);
    running->rows = anew ? 1 : running->rows + 1;
    bool same = !anew && kpi_same(kpi_rowset_vec(&op->rows, row, col), row & 1023,
                                  kpi_rowset_vec(&op->rows, row - 1, col), (row - 1) & 1023);
    if (!same)
        running->count = anew                                    ? 1
                         : window->kind == KPI_WINDOW_RANK_DENSE ? running->count + 1
                                                                 : running->rows;
    return (struct kpi_value){.type = KP_TYPE_I64, .i64 = running->count};
}

/* A session ends when it has lasted long enough, or when the row before is too far away. */
static struct kpi_value session(struct window_op *op, uint32_t i, uint32_t row)
{
    const struct kpi_window *window = &op->windows->items[i];
    struct running *running = &op->running[i];
    struct kpi_value at = cell(op, row, value_column(op, i));
    if (at.null)
        return at;
    struct kpi_value before = at;
    if (row > 0)
        before = cell(op, row - 1, value_column(op, i));
    bool anew = restarts(op, i, row) || before.null ||
                (__int128)at.i64 - running->count > window->by ||
                (__int128)at.i64 - before.i64 > window->gap;
    if (anew)
        running->count = at.i64;
    at.i64 = running->count;
    return at;
}

static struct kpi_value run_on(struct window_op *op, uint32_t i, uint32_t row)
{
    const struct kpi_window *window = &op->windows->items[i];
    struct running *running = &op->running[i];
    struct kpi_value answer = {.type = window->type};
    if (window->kind == KPI_WINDOW_SESSION)
        return session(op, i, row);
    if (window->kind == KPI_WINDOW_RANK_MIN || window->kind == KPI_WINDOW_RANK_DENSE)
        return ranked(op, i, row);
    if (restarts(op, i, row))
        *running = (struct running){window->kind == KPI_WINDOW_NUMBER ? window->by : 0, 0, 0};
    else if (window->kind == KPI_WINDOW_NUMBER)
        answer.null = __builtin_add_overflow(running->count, 1, &running->count);
    answer.i64 = running->count;
    if (window->kind == KPI_WINDOW_NUMBER)
        return answer;
    struct kpi_value value = cell(op, row, value_column(op, i));
    if (window->type == KP_TYPE_F64)
        answer.f64 = running->real += value.null ? 0 : value.f64;
    else if (!value.null && __builtin_add_overflow(running->count, value.i64, &running->count))
        answer.null = true;
    if (window->type != KP_TYPE_F64)
        answer.i64 = running->count;
    op->base.run->ctx.overflows += answer.null;
    return answer;
}

static kp_status window_next(struct kpi_op *base, const struct kp_batch **out)
{
    struct window_op *op = (struct window_op *)base;
    kp_status status = op->done ? KP_OK : consume(op);
    if (status != KP_OK)
        return status;
    kpi_emit_begin(&op->emit);
    for (; op->given < op->rows.rows && !kpi_emit_full(&op->emit); op->given++) {
        uint32_t row = op->given;
        for (uint32_t c = 0; c < op->windows->columns; c++)
            if (base->need[c])
                kpi_emit_copy(&op->emit, c, kpi_rowset_vec(&op->rows, row, c), row & 1023);
        for (uint32_t i = 0; i < op->windows->count; i++) {
            bool shift = op->windows->items[i].kind == KPI_WINDOW_SHIFT;
            kpi_emit_value(&op->emit, op->windows->columns + i,
                           shift ? shifted(op, i, row) : run_on(op, i, row));
        }
        kpi_emit_row(&op->emit);
    }
    *out = &op->emit.batch;
    return op->emit.batch.rows == 0 ? KP_END : KP_OK;
}

static void window_need(struct kpi_op *base)
{
    struct window_op *op = (struct window_op *)base;
    for (uint32_t c = 0; c < op->windows->columns; c++)
        base->input->need[c] |= base->need[c];
    for (uint32_t i = 0; i < op->windows->count; i++) {
        if (op->windows->items[i].value != NULL)
            kpi_expr_columns(op->windows->items[i].value, base->input->need);
        if (op->windows->items[i].restart != NULL)
            kpi_expr_columns(op->windows->items[i].restart, base->input->need);
    }
}

static void window_describe(const struct kpi_op *base, struct kp_buf *out)
{
    uint32_t count = ((const struct window_op *)base)->windows->count;
    kp_buf_printf(out, "%u row function%s", count, count == 1 ? "" : "s");
}

static const struct kpi_op_class window_class = {"serialize", window_open,     window_next, NULL,
                                                 window_need, window_describe, NULL};

struct kpi_op *kpi_op_window(struct kpi_op *input, const struct kpi_windows *windows)
{
    uint32_t count = windows->columns + windows->count;
    struct window_op *op =
        (struct window_op *)kpi_op_new(input->run, &window_class, sizeof(*op), input, count);
    if (op == NULL)
        return NULL;
    struct kp_field *fields = kpi_op_fields(&op->base);
    memcpy(fields, input->schema.fields, windows->columns * sizeof(*fields));
    for (uint32_t i = 0; i < windows->count; i++)
        fields[windows->columns + i] =
            (struct kp_field){KP_STR("(row function)"), windows->items[i].type, KP_UNIT_NONE};
    op->windows = windows;
    op->base.ordered_by = input->ordered_by;
    return &op->base;
}
