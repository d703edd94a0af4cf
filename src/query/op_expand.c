/* SPDX-License-Identifier: Apache-2.0
 *
 * mv-expand: a row for each element of an array, or for each member of a bag. Several arrays go in
 * step, shorter ones with nulls. What is neither is one element; an empty array gives no row.
 */
#include "query/expand.h"

#include "query/emit.h"
#include "query/func.h"

/* The elements of one item in the row at hand. */
struct elements {
    struct kp_str *values;
    uint32_t count;
};

struct expand_op {
    struct kpi_op base;
    struct kpi_expand expand;
    const struct kp_batch *batch;
    const struct kp_vec *vecs[KPI_ARGS_MAX];
    struct elements elements[KPI_ARGS_MAX];
    uint32_t at;               /* row of batch */
    uint32_t element, longest; /* of the row at hand; longest 0 = not looked at yet */
    struct kpi_emit emit;
};

static kp_status expand_open(struct kpi_op *base)
{
    struct expand_op *op = (struct expand_op *)base;
    for (uint32_t i = 0; i < op->expand.count; i++)
        if (!kpi_expr_prepare(&base->run->ctx, op->expand.items[i], KP_VECTOR_ROWS))
            return base->run->ctx.status;
    return kpi_emit_open(base, &op->emit);
}

static char *put(char *to, struct kp_str text)
{
    if (text.len > 0)
        memcpy(to, text.ptr, text.len);
    return to + text.len;
}

/* {"key":value}, or ["key",value]. */
static struct kp_str member_text(struct expand_op *op, struct kp_str key, struct kp_str value)
{
    bool array = op->expand.bags_as_arrays;
    char *text = kpi_scratch(&op->base.eval, (size_t)key.len + value.len + 5), *at = text;
    if (text == NULL)
        return KP_STR("");
    at = put(at, array ? KP_STR("[\"") : KP_STR("{\""));
    at = put(at, key);
    at = put(at, array ? KP_STR("\",") : KP_STR("\":"));
    at = put(at, value);
    *at++ = array ? ']' : '}';
    return (struct kp_str){text, (uint32_t)(at - text)};
}

static uint32_t count_elements(struct kp_str json)
{
    struct kpi_json_walk walk;
    struct kp_str key, value;
    uint32_t count = 0;
    if (kpi_json_array(json, &walk))
        while (kpi_json_next(&walk, &value))
            count++;
    else if (kpi_json_object(json, &walk))
        while (kpi_json_next_member(&walk, &key, &value))
            count++;
    else
        count = 1;
    return count;
}

static void read_elements(struct expand_op *op, struct kp_str json, struct elements *out)
{
    struct kpi_json_walk walk;
    struct kp_str key, value;
    uint32_t count = count_elements(json);
    *out = (struct elements){NULL, 0};
    out->values = (struct kp_str *)kpi_scratch(&op->base.eval, ((size_t)count + 1) * sizeof(value));
    if (out->values == NULL)
        return;
    if (kpi_json_array(json, &walk))
        while (out->count < count && kpi_json_next(&walk, &value))
            out->values[out->count++] = kp_str_equal(value, KP_STR("null")) ? KP_STR("") : value;
    else if (kpi_json_object(json, &walk))
        while (out->count < count && kpi_json_next_member(&walk, &key, &value))
            out->values[out->count++] = member_text(op, key, value);
    else
        out->values[out->count++] = json;
}

static void look_at_row(struct expand_op *op, uint32_t row)
{
    op->element = 0;
    op->longest = 0;
    for (uint32_t i = 0; i < op->expand.count; i++) {
        read_elements(op, kp_vec_str(op->vecs[i], row), &op->elements[i]);
        op->longest = KP_MAX(op->longest, op->elements[i].count);
    }
}

static void emit(struct expand_op *op, uint32_t row)
{
    for (uint32_t c = 0; c < op->base.schema.count; c++) {
        const struct kpi_expand_output *output = &op->expand.outputs[c];
        if (output->from == KPI_EXPAND_COLUMN) {
            if (op->base.need[c])
                kpi_emit_copy(&op->emit, c, &op->batch->cols[output->index], row);
            continue;
        }
        struct kpi_value value = {.type = KP_TYPE_I64, .i64 = op->element};
        if (output->from == KPI_EXPAND_ITEM) {
            const struct elements *all = &op->elements[output->index];
            struct kp_str none = KP_STR("");
            value = (struct kpi_value){.type = KP_TYPE_DYN};
            value.str = op->element < all->count ? all->values[op->element] : none;
        }
        kpi_emit_value(&op->emit, c, value);
    }
    kpi_emit_row(&op->emit);
}

static kp_status pull(struct expand_op *op)
{
    struct kpi_op *base = &op->base;
    kp_status status = kpi_op_next(base->input, &op->batch);
    op->at = op->element = op->longest = 0;
    if (status != KP_OK) {
        op->batch = NULL;
        return status;
    }
    kpi_eval_begin(&base->eval);
    for (uint32_t i = 0; i < op->expand.count; i++)
        op->vecs[i] = kpi_expr_eval(op->expand.items[i], op->batch, &base->eval);
    return base->run->ctx.status;
}

static kp_status expand_next(struct kpi_op *base, const struct kp_batch **out)
{
    struct expand_op *op = (struct expand_op *)base;
    kpi_emit_begin(&op->emit);
    while (!kpi_emit_full(&op->emit) && base->run->ctx.status == KP_OK) {
        if (op->batch == NULL || op->at == kp_batch_count(op->batch)) {
            if (op->emit.batch.rows > 0)
                break; /* its text lies in the batch */
            kp_status status = pull(op);
            if (status != KP_OK)
                return status;
            continue;
        }
        uint32_t row = kp_batch_row(op->batch, op->at);
        if (op->element == op->longest)
            look_at_row(op, row);
        while (op->element < op->longest && !kpi_emit_full(&op->emit)) {
            emit(op, row);
            op->element++;
        }
        if (op->element == op->longest) {
            op->at++;
            op->element = op->longest = 0;
        }
    }
    *out = &op->emit.batch;
    return base->run->ctx.status;
}

static void expand_need(struct kpi_op *base)
{
    struct expand_op *op = (struct expand_op *)base;
    for (uint32_t c = 0; c < base->schema.count; c++)
        if (base->need[c] && op->expand.outputs[c].from == KPI_EXPAND_COLUMN)
            base->input->need[op->expand.outputs[c].index] = true;
    for (uint32_t i = 0; i < op->expand.count; i++)
        kpi_expr_columns(op->expand.items[i], base->input->need);
}

static void expand_describe(const struct kpi_op *base, struct kp_buf *out)
{
    const struct expand_op *op = (const struct expand_op *)base;
    for (uint32_t i = 0; i < op->expand.count; i++) {
        kp_buf_text(out, i > 0 ? ", " : "");
        kpi_expr_text(op->expand.items[i], out);
    }
}

static const struct kpi_op_class expand_class = {"mv-expand", expand_open,     expand_next, NULL,
                                                 expand_need, expand_describe, NULL};

struct kpi_op *kpi_op_expand(struct kpi_op *input, const struct kp_field *fields, uint32_t count,
                             const struct kpi_expand *expand)
{
    struct expand_op *op =
        (struct expand_op *)kpi_op_new(input->run, &expand_class, sizeof(*op), input, count);
    if (op == NULL)
        return NULL;
    memcpy(kpi_op_fields(&op->base), fields, count * sizeof(*fields));
    op->expand = *expand;
    return &op->base;
}
