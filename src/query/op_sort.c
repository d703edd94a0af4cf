/* SPDX-License-Identifier: Apache-2.0
 *
 * sort and top. Rows are kept in memory and a list of small items is ordered: each holds the first
 * key as 64 order-preserving bits, so that most comparisons touch no row. Ties keep the order the
 * rows came in, which makes every answer repeatable.
 *
 * top keeps a heap of N rows plus one spare slot: a row that cannot enter is refused on its first
 * key alone, one that enters is written into the spare slot and the row it drives out becomes the
 * spare.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "query/rowset.h"
#include "query/sort.h"
#include "query/sorting.h"

struct item {
    uint64_t prefix;
    uint64_t order; /* arrival */
    uint32_t row;
    uint32_t class; /* nulls first 0, values 1, nulls last 2 */
};

static uint64_t text_prefix(struct kp_str text)
{
    uint64_t bits = 0;
    for (uint32_t i = 0; i < 8; i++)
        bits = bits << 8 | (i < text.len ? (unsigned char)text.ptr[i] : 0);
    return bits;
}

static uint64_t real_prefix(double value)
{
    uint64_t bits;
    if (value != value)
        return UINT64_MAX;
    if (value == 0)
        value = 0; /* -0.0 and 0.0 are one value */
    memcpy(&bits, &value, sizeof(bits));
    return bits >> 63 ? ~bits : bits | 1ull << 63;
}

/* The whole part, as far as 64 bits go. */
static uint64_t whole_prefix(kp_dec value)
{
    int64_t whole;
    if (!kp_dec_to_i64(value, &whole))
        whole = value < 0 ? INT64_MIN : INT64_MAX;
    return (uint64_t)whole;
}

static uint64_t value_prefix(const struct kp_vec *vec, uint32_t row)
{
    switch (kp_type_phys(vec->type)) {
    case KP_PHYS_STR:
        return text_prefix(kp_vec_str(vec, row));
    case KP_PHYS_F64:
        return real_prefix(vec->f64[row]);
    case KP_PHYS_I128:
        return whole_prefix(vec->i128[row]) ^ 1ull << 63;
    default:
        return (uint64_t)vec->i64[row] ^ 1ull << 63;
    }
}

static struct item make_item(const struct kpi_sort_key *key, const struct kp_vec *vec, uint32_t row)
{
    struct item item = {.class = 1};
    if (kp_vec_null(vec, row)) {
        item.class = key->nulls_first ? 0 : 2;
        return item;
    }
    item.prefix = value_prefix(vec, row);
    if (!key->ascending)
        item.prefix = ~item.prefix;
    return item;
}

static int compare_key(const struct kpi_sort_op *op, uint32_t k, uint32_t a, uint32_t b)
{
    uint32_t col = op->base.schema.count + k;
    const struct kp_vec *va = kpi_rowset_vec(&op->rows, a, col);
    const struct kp_vec *vb = kpi_rowset_vec(&op->rows, b, col);
    bool null_a = kp_vec_null(va, a & 1023), null_b = kp_vec_null(vb, b & 1023);
    if (null_a || null_b) {
        int first = op->keys[k].nulls_first ? -1 : 1;
        return null_a == null_b ? 0 : null_a ? first : -first;
    }
    int order = kpi_compare(va, a & 1023, vb, b & 1023);
    return op->keys[k].ascending ? order : -order;
}

static int compare_items(const void *left, const void *right, void *context)
{
    const struct item *a = left, *b = right;
    if (a->class != b->class)
        return a->class < b->class ? -1 : 1;
    if (a->prefix != b->prefix)
        return a->prefix < b->prefix ? -1 : 1;
    const struct kpi_sort_op *op = context;
    for (uint32_t k = 0; k < op->keys_count; k++) {
        int order = compare_key(op, k, a->row, b->row);
        if (order != 0)
            return order;
    }
    return (a->order > b->order) - (a->order < b->order);
}

static bool grow_items(struct kpi_sort_op *op)
{
    if (op->items_count < op->items_capacity)
        return true;
    uint32_t capacity = op->items_capacity == 0 ? 4096 : op->items_capacity * 2;
    struct item *items = kpi_new(&op->base.run->ctx, capacity, sizeof(*items));
    if (items == NULL)
        return false;
    if (op->items_count > 0)
        memcpy(items, op->items, op->items_count * sizeof(*items));
    op->items = items;
    op->items_capacity = capacity;
    return true;
}

/* --- heap of the N first rows: the worst on top --- */

static bool worse(const struct kpi_sort_op *op, uint32_t a, uint32_t b)
{
    return compare_items(&op->items[a], &op->items[b], (void *)(uintptr_t)op) > 0;
}

static void swap_items(struct kpi_sort_op *op, uint32_t a, uint32_t b)
{
    struct item held = op->items[a];
    op->items[a] = op->items[b];
    op->items[b] = held;
}

static void sift_up(struct kpi_sort_op *op, uint32_t at)
{
    for (; at > 0 && worse(op, at, (at - 1) / 2); at = (at - 1) / 2)
        swap_items(op, at, (at - 1) / 2);
}

static void sift_down(struct kpi_sort_op *op, uint32_t at)
{
    for (;;) {
        uint32_t most = at;
        for (uint32_t child = 2 * at + 1; child <= 2 * at + 2; child++)
            if (child < op->items_count && worse(op, child, most))
                most = child;
        if (most == at)
            return;
        swap_items(op, at, most);
        at = most;
    }
}

/* Row cannot be among the first N: decided by its first key. */
static bool hopeless(const struct kpi_sort_op *op, const struct item *item)
{
    const struct item *top = &op->items[0];
    if (item->class != top->class)
        return item->class > top->class;
    return item->prefix > top->prefix;
}

static bool add_top(struct kpi_sort_op *op, struct item item, uint32_t row)
{
    bool full = op->items_count == op->limit;
    if (full && hopeless(op, &item))
        return true;
    item.row = full && op->spare_made ? op->spare : kpi_rowset_grow(&op->rows);
    if (item.row == UINT32_MAX || !kpi_rowset_put(&op->rows, item.row, op->vecs, row))
        return false;
    if (!full) {
        if (!grow_items(op))
            return false;
        op->items[op->items_count++] = item;
        sift_up(op, op->items_count - 1);
        return true;
    }
    op->spare_made = true;
    op->spare = item.row;
    if (compare_items(&item, &op->items[0], op) >= 0)
        return true;
    op->spare = op->items[0].row;
    op->items[0] = item;
    sift_down(op, 0);
    return true;
}

static bool add_row(struct kpi_sort_op *op, struct item item, uint32_t row)
{
    item.row = kpi_rowset_grow(&op->rows);
    if (item.row == UINT32_MAX || !grow_items(op) ||
        !kpi_rowset_put(&op->rows, item.row, op->vecs, row))
        return false;
    op->items[op->items_count++] = item;
    return true;
}

static kp_status consume(struct kpi_sort_op *op)
{
    struct kpi_op *base = &op->base;
    const struct kp_batch *batch;
    kp_status status;
    while ((status = kpi_op_next(base->input, &batch)) == KP_OK) {
        kpi_eval_begin(&base->eval);
        for (uint32_t c = 0; c < base->schema.count; c++)
            op->vecs[c] = &batch->cols[c];
        for (uint32_t k = 0; k < op->keys_count; k++)
            op->vecs[base->schema.count + k] = kpi_expr_eval(op->keys[k].expr, batch, &base->eval);
        for (uint32_t i = 0; i < kp_batch_count(batch); i++) {
            uint32_t row = kp_batch_row(batch, i);
            struct item item = make_item(&op->keys[0], op->vecs[base->schema.count], row);
            item.order = op->arrived++;
            if (op->limit != 0 ? !add_top(op, item, row) : !add_row(op, item, row))
                return base->run->ctx.status;
        }
        if (base->run->ctx.status != KP_OK)
            return base->run->ctx.status;
    }
    return status;
}

static kp_status sort_open(struct kpi_op *base)
{
    struct kpi_sort_op *op = (struct kpi_sort_op *)base;
    struct kpi_ctx *ctx = &base->run->ctx;
    uint32_t cols = base->schema.count + op->keys_count;
    enum kp_type *types = kpi_new(ctx, cols, sizeof(*types));
    bool *keep = kpi_new(ctx, cols, sizeof(*keep));
    op->vecs = kpi_new(ctx, cols, sizeof(*op->vecs));
    for (uint32_t c = 0; c < cols && ctx->status == KP_OK; c++) {
        bool key = c >= base->schema.count;
        struct kpi_expr *expr = key ? op->keys[c - base->schema.count].expr : NULL;
        types[c] = key ? expr->type : base->schema.fields[c].type;
        keep[c] = key || base->need[c];
        if (key)
            kpi_expr_prepare(ctx, expr, KP_VECTOR_ROWS);
    }
    if (ctx->status != KP_OK)
        return ctx->status;
    kpi_rowset_init(&op->rows, ctx, types, keep, cols);
    kpi_op_batch(base, &op->out);
    op->nulls = kpi_new(ctx, base->schema.count, sizeof(*op->nulls));
    for (uint32_t c = 0; c < base->schema.count && ctx->status == KP_OK; c++)
        if (base->need[c])
            kpi_vec_alloc(ctx, types[c], KP_VECTOR_ROWS, &op->out.cols[c], &op->nulls[c]);
    return ctx->status;
}

static void copy_cell(struct kp_vec *to, uint64_t *nulls, uint32_t at, const struct kp_vec *from,
                      uint32_t row)
{
    if (kp_vec_null(from, row)) {
        if (to->nulls == NULL)
            memset(nulls, 0, KPI_NULL_WORDS * sizeof(*nulls));
        to->nulls = nulls;
        nulls[at >> 6] |= 1ull << (at & 63);
    }
    switch (kp_type_phys(to->type)) {
    case KP_PHYS_STR:
        to->strs[at] = kp_vec_str(from, row);
        break;
    case KP_PHYS_I128:
        to->i128[at] = from->i128[row];
        break;
    default:
        to->i64[at] = from->i64[row];
        break;
    }
}

static kp_status sort_next(struct kpi_op *base, const struct kp_batch **out)
{
    struct kpi_sort_op *op = (struct kpi_sort_op *)base;
    if (!op->done) {
        kp_status status = consume(op);
        if (status != KP_END)
            return status;
        if (!kpi_sort_items(base->run, op->items, op->items_count, sizeof(*op->items),
                            compare_items, op))
            return base->run->ctx.status;
        op->done = true;
    }
    uint32_t count = KP_MIN(op->items_count - op->given, (uint32_t)KP_VECTOR_ROWS);
    if (count == 0)
        return KP_END;
    for (uint32_t c = 0; c < base->schema.count; c++) {
        op->out.cols[c].nulls = NULL;
        for (uint32_t i = 0; i < count && base->need[c]; i++) {
            uint32_t row = op->items[op->given + i].row;
            copy_cell(&op->out.cols[c], op->nulls[c], i, kpi_rowset_vec(&op->rows, row, c),
                      row & 1023);
        }
    }
    op->given += count;
    op->out.rows = count;
    *out = &op->out;
    return KP_OK;
}

static void sort_need(struct kpi_op *base)
{
    struct kpi_sort_op *op = (struct kpi_sort_op *)base;
    for (uint32_t c = 0; c < base->schema.count; c++)
        base->input->need[c] |= base->need[c];
    for (uint32_t k = 0; k < op->keys_count; k++)
        kpi_expr_columns(op->keys[k].expr, base->input->need);
}

static void sort_describe(const struct kpi_op *base, struct kp_buf *out)
{
    const struct kpi_sort_op *op = (const struct kpi_sort_op *)base;
    if (op->limit != 0)
        kp_buf_printf(out, "%" PRIu64 " rows ", op->limit);
    kp_buf_text(out, "by ");
    for (uint32_t k = 0; k < op->keys_count; k++) {
        kp_buf_text(out, k > 0 ? ", " : "");
        kpi_expr_text(op->keys[k].expr, out);
        kp_buf_printf(out, " %s nulls %s", op->keys[k].ascending ? "asc" : "desc",
                      op->keys[k].nulls_first ? "first" : "last");
    }
}

static const struct kpi_op_class sort_class = {"sort",    sort_open,     sort_next, NULL,
                                               sort_need, sort_describe, NULL};
static const struct kpi_op_class top_class = {"top",     sort_open,     sort_next, NULL,
                                              sort_need, sort_describe, NULL};

struct kpi_op *kpi_op_sort(struct kpi_op *input, const struct kpi_sort_key *keys, uint32_t count,
                           uint64_t limit)
{
    struct kpi_sort_op *op = (struct kpi_sort_op *)kpi_op_new(
        input->run, limit != 0 ? &top_class : &sort_class, sizeof(*op), input, input->schema.count);
    if (op == NULL)
        return NULL;
    memcpy(kpi_op_fields(&op->base), input->schema.fields,
           input->schema.count * sizeof(struct kp_field));
    op->keys = keys;
    op->keys_count = count;
    op->limit = limit;
    return &op->base;
}

struct kpi_sort_op *kpi_sort_of(struct kpi_op *op)
{
    bool is = op->class == &sort_class || op->class == &top_class;
    return is ? (struct kpi_sort_op *)op : NULL;
}
