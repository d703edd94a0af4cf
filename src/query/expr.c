/* SPDX-License-Identifier: Apache-2.0
 *
 * Evaluates bound expressions over vectors. Strings that arrive dictionary-coded are computed once
 * per dictionary entry and spread by code when that is less work than once per row.
 */
#include "query/expr.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SCRATCH_CHUNK_BYTES ((size_t)32 * 1024)

/* --- text of a batch --- */

static bool scratch_grow(struct kpi_eval *eval, size_t size)
{
    size_t capacity = KP_MAX(size, SCRATCH_CHUNK_BYTES);
    struct kpi_scratch_chunk *chunk = kp_arena_alloc(eval->ctx->arena, sizeof(*chunk) + capacity);
    if (chunk == NULL) {
        kpi_fail_memory(eval->ctx);
        return false;
    }
    chunk->capacity = capacity;
    chunk->next = NULL;
    if (eval->current == NULL)
        eval->first = chunk;
    else
        eval->current->next = chunk;
    eval->current = chunk;
    eval->used = 0;
    return true;
}

char *kpi_scratch(struct kpi_eval *eval, size_t size)
{
    eval->ctx->work += size;
    size = (size + 15) & ~(size_t)15;
    while (eval->current != NULL && eval->current->capacity - eval->used < size) {
        if (eval->current->next == NULL)
            break;
        eval->current = eval->current->next;
        eval->used = 0;
    }
    bool fits = eval->current != NULL && eval->current->capacity - eval->used >= size;
    if (!fits && !scratch_grow(eval, size))
        return NULL;
    char *at = (char *)(eval->current + 1) + eval->used;
    eval->used += size;
    return at;
}

void kpi_eval_begin(struct kpi_eval *eval)
{
    eval->current = eval->first;
    eval->used = 0;
}

void kpi_set_str(struct kpi_call *call, uint32_t row, const char *ptr, size_t len)
{
    call->out->strs[row] = (struct kp_str){len == 0 ? "" : ptr, (uint32_t)len};
}

void kpi_set_copy(struct kpi_call *call, uint32_t row, const char *ptr, size_t len)
{
    char *copy = len == 0 ? NULL : kpi_scratch(call->eval, len);
    if (copy == NULL)
        len = 0;
    else
        memcpy(copy, ptr, len);
    kpi_set_str(call, row, copy, len);
}

void kpi_set_null(struct kpi_call *call, uint32_t row)
{
    uint64_t *nulls = call->expr->nulls;
    if (call->out->nulls == NULL) {
        memset(nulls, 0, KPI_NULL_WORDS * sizeof(uint64_t));
        call->out->nulls = nulls;
    }
    nulls[row >> 6] |= 1ull << (row & 63);
}

void kpi_set_overflow(struct kpi_call *call, uint32_t row)
{
    call->out->i64[row] = 0;
    if (kp_vec_null(call->out, row))
        return;
    kpi_set_null(call, row);
    call->eval->ctx->overflows++;
}

/* --- vectors --- */

static size_t value_bytes(enum kp_type type)
{
    switch (kp_type_phys(type)) {
    case KP_PHYS_STR:
        return sizeof(struct kp_str);
    case KP_PHYS_I128:
        return sizeof(__int128);
    default:
        return sizeof(int64_t);
    }
}

bool kpi_vec_alloc(struct kpi_ctx *ctx, enum kp_type type, uint32_t rows, struct kp_vec *out,
                   uint64_t **out_nulls)
{
    void *values = kpi_new(ctx, rows, value_bytes(type));
    uint64_t *nulls = kpi_new(ctx, (rows + 63) / 64 + KPI_NULL_WORDS, sizeof(uint64_t));
    if (values == NULL || nulls == NULL)
        return false;
    *out = (struct kp_vec){.type = type};
    out->i64 = values;
    *out_nulls = nulls;
    return true;
}

struct kpi_value kpi_vec_value(const struct kp_vec *vec, uint32_t row)
{
    struct kpi_value value = {.type = vec->type, .null = kp_vec_null(vec, row)};
    enum kp_phys phys = kp_type_phys(vec->type);
    if (phys == KP_PHYS_STR)
        value.str = value.null ? KP_STR("") : kp_vec_str(vec, row);
    else if (phys == KP_PHYS_F64)
        value.f64 = value.null ? 0 : vec->f64[row];
    else if (phys == KP_PHYS_I128)
        value.dec = value.null ? 0 : vec->i128[row];
    else
        value.i64 = value.null ? 0 : vec->i64[row];
    return value;
}

void kpi_vec_set(struct kp_vec *vec, uint32_t row, const struct kpi_value *value)
{
    switch (kp_type_phys(vec->type)) {
    case KP_PHYS_STR:
        vec->strs[row] = value->null ? KP_STR("") : value->str;
        break;
    case KP_PHYS_F64:
        vec->f64[row] = value->null ? 0 : value->f64;
        break;
    case KP_PHYS_I128:
        vec->i128[row] = value->null ? 0 : value->dec;
        break;
    default:
        vec->i64[row] = value->null ? 0 : value->i64;
        break;
    }
}

static void fill_constant(struct kpi_expr *expr, uint32_t rows)
{
    for (uint32_t i = 0; i < rows; i++)
        kpi_vec_set(&expr->vec, i, &expr->value);
    if (!expr->value.null)
        return;
    memset(expr->nulls, 0xff, KPI_NULL_WORDS * sizeof(uint64_t));
    expr->vec.nulls = expr->nulls;
}

bool kpi_expr_prepare(struct kpi_ctx *ctx, struct kpi_expr *expr, uint32_t rows)
{
    for (uint32_t i = 0; i < expr->args_count; i++)
        if (!kpi_expr_prepare(ctx, expr->args[i], rows))
            return false;
    if (expr->kind == KPI_EXPR_COLUMN)
        return true;
    if (!kpi_vec_alloc(ctx, expr->type, rows, &expr->vec, &expr->nulls))
        return false;
    if (expr->kind == KPI_EXPR_CONST)
        fill_constant(expr, rows);
    return true;
}

/* --- evaluation --- */

/* Rows where any argument is null are null in the answer. */
static void merge_nulls(struct kpi_call *call)
{
    uint64_t *nulls = call->expr->nulls;
    for (uint32_t a = 0; a < call->args_count; a++) {
        const uint64_t *from = call->args[a]->nulls;
        if (from == NULL)
            continue;
        if (call->out->nulls == NULL)
            memset(nulls, 0, KPI_NULL_WORDS * sizeof(uint64_t));
        call->out->nulls = nulls;
        for (uint32_t w = 0; w < KPI_NULL_WORDS; w++)
            nulls[w] |= from[w];
    }
}

/* A text is never null: what a function of null would be is empty. */
static void empty_nulls(struct kpi_call *call)
{
    KPI_EACH(call, row, if (kp_vec_null(call->out, row)) kpi_set_str(call, row, "", 0));
    call->out->nulls = NULL;
}

#define SLICE_TEXT_BYTES 65536u

/* Where the rows from call->first end that have so many bytes of text, which count as work. */
static uint32_t slice_end(const struct kpi_call *call, const struct kp_vec *const *texts,
                          uint32_t texts_count)
{
    uint64_t bytes = 0;
    uint32_t at = call->first;
    while (at < call->count && bytes < SLICE_TEXT_BYTES) {
        uint32_t row = call->sel == NULL ? at : call->sel[at];
        for (uint32_t t = 0; t < texts_count; t++)
            bytes += kp_vec_str(texts[t], row).len;
        at++;
    }
    call->eval->ctx->work += bytes;
    return at;
}

/* Between slices of long texts the query can be ended. */
static void run_slices(struct kpi_call *call)
{
    const struct kp_vec *texts[KPI_ARGS_MAX];
    uint32_t texts_count = 0, count = call->count;
    for (uint32_t a = 0; a < call->args_count; a++)
        if (kp_type_phys(call->args[a]->type) == KP_PHYS_STR)
            texts[texts_count++] = call->args[a];
    if (texts_count == 0) {
        call->expr->func->kernel(call);
        return;
    }
    while (call->first < count && kpi_go_on(call->eval->ctx, 0)) {
        call->count = count;
        call->count = slice_end(call, texts, texts_count);
        call->expr->func->kernel(call);
        call->first = call->count;
    }
    call->first = 0;
    call->count = count;
}

static void run_kernel(struct kpi_call *call)
{
    call->out->nulls = NULL;
    if ((call->expr->func->flags & KPI_FUNC_NULLS) == 0)
        merge_nulls(call);
    run_slices(call);
    if (call->out->nulls != NULL && call->out->type == KP_TYPE_STR)
        empty_nulls(call);
}

/* The one argument that is a coded string while all others are constant, or -1. */
static int coded_argument(const struct kpi_call *call)
{
    int found = -1;
    for (uint32_t a = 0; a < call->args_count; a++) {
        if (call->expr->args[a]->kind == KPI_EXPR_CONST)
            continue;
        const struct kp_vec *vec = call->args[a];
        if (found >= 0 || vec->dict == NULL || vec->nulls != NULL ||
            vec->dict->count > call->count / 2)
            return -1;
        found = (int)a;
    }
    return found;
}

static void spread(struct kpi_call *call, const uint32_t *codes, const char *answers, size_t width,
                   const uint64_t *nulls)
{
    char *to = (char *)call->out->i64;
    if (width == sizeof(int64_t)) {
        const int64_t *from = (const int64_t *)answers;
        KPI_EACH(call, row, call->out->i64[row] = from[codes[row]]);
    } else {
        KPI_EACH(call, row, memcpy(to + row * width, answers + codes[row] * width, width));
    }
    if (nulls == NULL)
        return;
    KPI_EACH(call, row,
             if (nulls[codes[row] >> 6] >> (codes[row] & 63) & 1) kpi_set_null(call, row));
}

/* Runs the kernel once per dictionary entry and spreads the answers by code. The entries' answers
 * are moved aside first, because they lie where the rows' answers go. */
static bool run_coded(struct kpi_call *call, int coded)
{
    const struct kp_vec *vec = call->args[coded];
    uint32_t entries = vec->dict->count;
    size_t width = value_bytes(call->expr->type);
    struct kp_str *values = (struct kp_str *)kpi_scratch(
        call->eval, entries * sizeof(struct kp_str) + entries * width + KPI_NULL_WORDS * 8);
    if (values == NULL)
        return false;
    memcpy(values, vec->dict->values, entries * sizeof(*values));
    char *answers = (char *)(values + entries);
    uint64_t *nulls = (uint64_t *)(answers + entries * width);
    struct kp_vec flat = {.type = KP_TYPE_STR, .strs = values};
    const struct kp_vec *args[KPI_ARGS_MAX];
    memcpy(args, call->args, call->args_count * sizeof(args[0]));
    args[coded] = &flat;
    struct kpi_call over_dict = *call;
    over_dict.args = args;
    over_dict.sel = NULL;
    over_dict.count = entries;
    run_kernel(&over_dict);
    memcpy(answers, call->out->i64, entries * width);
    bool any_null = call->out->nulls != NULL;
    if (any_null)
        memcpy(nulls, call->out->nulls, KPI_NULL_WORDS * 8);
    call->out->nulls = NULL;
    spread(call, vec->codes, answers, width, any_null ? nulls : NULL);
    return true;
}

static const struct kp_vec *eval_call(struct kpi_expr *expr, const struct kp_batch *batch,
                                      struct kpi_eval *eval)
{
    const struct kp_vec *args[KPI_ARGS_MAX];
    for (uint32_t a = 0; a < expr->args_count; a++)
        args[a] = kpi_expr_eval(expr->args[a], batch, eval);
    struct kpi_call call = {.expr = expr,
                            .args = args,
                            .args_count = expr->args_count,
                            .out = &expr->vec,
                            .sel = batch->sel,
                            .count = kp_batch_count(batch),
                            .eval = eval};
    int coded = coded_argument(&call);
    if (coded < 0 || !run_coded(&call, coded))
        run_kernel(&call);
    return &expr->vec;
}

const struct kp_vec *kpi_expr_eval(struct kpi_expr *expr, const struct kp_batch *batch,
                                   struct kpi_eval *eval)
{
    if (expr->kind == KPI_EXPR_COLUMN)
        return &batch->cols[expr->column];
    if (expr->kind == KPI_EXPR_CALL)
        return eval_call(expr, batch, eval);
    return &expr->vec;
}

bool kpi_expr_constant(struct kpi_ctx *ctx, struct kpi_expr *expr, struct kpi_value *out)
{
    struct kp_batch one = {.rows = 1};
    struct kpi_eval eval = {.ctx = ctx};
    if (!kpi_expr_prepare(ctx, expr, 1))
        return false;
    *out = kpi_vec_value(kpi_expr_eval(expr, &one, &eval), 0);
    return ctx->status == KP_OK;
}

void kpi_expr_columns(const struct kpi_expr *expr, bool *need)
{
    if (expr->kind == KPI_EXPR_COLUMN)
        need[expr->column] = true;
    for (uint32_t i = 0; i < expr->args_count; i++)
        kpi_expr_columns(expr->args[i], need);
}

/* --- text --- */

static void quote_text(struct kp_str text, struct kp_buf *out)
{
    kp_buf_char(out, '\'');
    for (uint32_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\'' || text.ptr[i] == '\\')
            kp_buf_char(out, '\\');
        kp_buf_char(out, text.ptr[i]);
    }
    kp_buf_char(out, '\'');
}

static void real_text(double value, struct kp_buf *out)
{
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    kp_buf_text(out, text);
}

void kpi_value_text(const struct kpi_value *value, struct kp_buf *out)
{
    char text[KP_MAX(KP_TIME_TEXT_MAX, KP_DEC_TEXT_MAX)];
    if (value->null) {
        kp_buf_printf(out, "%s(null)", kp_type_name(value->type));
        return;
    }
    switch (value->type) {
    case KP_TYPE_BOOL:
        kp_buf_text(out, value->i64 ? "true" : "false");
        break;
    case KP_TYPE_F64:
        real_text(value->f64, out);
        break;
    case KP_TYPE_DEC:
        kp_dec_format(value->dec, text);
        kp_buf_text(out, text);
        break;
    case KP_TYPE_STR:
    case KP_TYPE_DYN:
        quote_text(value->str, out);
        break;
    case KP_TYPE_TIME:
        kp_time_format(value->i64, text);
        kp_buf_printf(out, "datetime(%s)", text);
        break;
    case KP_TYPE_DUR:
        kp_dur_format_exact(value->i64, text);
        kp_buf_text(out, text);
        break;
    default:
        kp_buf_printf(out, "%" PRId64, value->i64);
        break;
    }
}

static bool infix_name(const char *name)
{
    bool word = (name[0] >= 'a' && name[0] <= 'z') || name[0] == '!';
    return !word || strcmp(name, "and") == 0 || strcmp(name, "or") == 0 ||
           strcmp(name, "has") == 0 || strcmp(name, "contains") == 0;
}

void kpi_expr_text(const struct kpi_expr *expr, struct kp_buf *out)
{
    if (expr->kind == KPI_EXPR_CONST) {
        kpi_value_text(&expr->value, out);
        return;
    }
    if (expr->kind == KPI_EXPR_COLUMN) {
        kp_buf_str(out, expr->name);
        return;
    }
    bool infix = infix_name(expr->func->name) && expr->args_count >= 2;
    kp_buf_printf(out, "%s(", infix ? "" : expr->func->name);
    for (uint32_t i = 0; i < expr->args_count; i++) {
        if (i > 0)
            kp_buf_printf(out, infix ? " %s " : ", ", expr->func->name);
        kpi_expr_text(expr->args[i], out);
    }
    kp_buf_char(out, ')');
}
