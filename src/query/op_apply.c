/* SPDX-License-Identifier: Apache-2.0
 *
 * partition and mv-apply: operators of the text run once for each key, over that key's rows. Each
 * run has an arena of its own, bound anew and given back afterwards, so that many keys cost the
 * memory of the largest. Keys come in order of their first row.
 */
#include "query/apply.h"

#include "query/keyed.h"
#include "query/names.h"
#include "query/plan.h"

struct apply_op {
    struct kpi_op base;
    struct kpi_op_class class; /* a copy that carries the word for explain */
    struct kpi_apply apply;
    enum kp_type *types; /* of the input, and its key once more */
    const struct kp_vec **vecs;
    struct kpi_keyed keyed;
    struct kpi_rowset answer;
    uint32_t first; /* row of the key at hand */
    uint32_t chunk;
    bool done;
    struct kp_batch out;
};

static kp_status apply_open(struct kpi_op *base)
{
    struct apply_op *op = (struct apply_op *)base;
    struct kpi_ctx *ctx = &base->run->ctx;
    uint32_t cols = base->input->schema.count;
    op->types = kpi_new(ctx, cols + 1, sizeof(*op->types));
    op->vecs = kpi_new(ctx, cols + 1, sizeof(*op->vecs));
    enum kp_type *answer = kpi_new(ctx, base->schema.count, sizeof(*answer));
    if (op->types == NULL || op->vecs == NULL || answer == NULL)
        return ctx->status;
    for (uint32_t c = 0; c < cols; c++)
        op->types[c] = base->input->schema.fields[c].type;
    op->types[cols] = op->types[op->apply.key];
    for (uint32_t c = 0; c < base->schema.count; c++)
        answer[c] = base->schema.fields[c].type;
    kpi_keyed_init(&op->keyed, ctx, op->types, NULL, cols + 1, 1);
    kpi_rowset_init(&op->answer, ctx, answer, NULL, base->schema.count);
    return ctx->status;
}

static kp_status consume(struct apply_op *op)
{
    struct kpi_op *base = &op->base;
    const struct kp_batch *batch;
    kp_status status;
    uint32_t cols = base->input->schema.count;
    while ((status = kpi_op_next(base->input, &batch)) == KP_OK) {
        for (uint32_t c = 0; c < cols; c++)
            op->vecs[c] = &batch->cols[c];
        op->vecs[cols] = &batch->cols[op->apply.key];
        for (uint32_t i = 0; i < kp_batch_count(batch); i++)
            if (!kpi_keyed_add(&op->keyed, op->vecs, kp_batch_row(batch, i)))
                return base->run->ctx.status;
    }
    return status == KP_END ? base->run->ctx.status : status;
}

static struct kpi_value cell(const struct apply_op *op, uint32_t row, uint32_t col)
{
    return kpi_vec_value(kpi_rowset_vec(&op->keyed.rows, row, col), row & 1023);
}

/* --- one key --- */

static bool keep_answer(void *ctx, const struct kp_batch *batch, uint32_t row)
{
    struct apply_op *op = ctx;
    uint32_t at = kpi_rowset_grow(&op->answer);
    for (uint32_t c = 0; at != UINT32_MAX && c < op->base.schema.count; c++) {
        const struct kpi_apply_output *output = &op->apply.outputs[c];
        struct kpi_value value = output->outer ? cell(op, op->first, output->index)
                                               : kpi_vec_value(&batch->cols[output->index], row);
        if (!kpi_rowset_set(&op->answer, at, c, value))
            return false;
    }
    return at != UINT32_MAX;
}

static struct kpi_op *feed(struct apply_op *op, struct kpi_run *run)
{
    const struct kp_field *fields = op->base.input->schema.fields;
    struct kpi_op *rows = kpi_op_values(run, op->base.class->name, fields, op->apply.inner);
    for (uint32_t row = op->first + 1; rows != NULL && row != 0;
         row = kpi_keyed_next(&op->keyed, row - 1))
        for (uint32_t c = 0; c < op->apply.inner; c++)
            if (!kpi_op_values_add(rows, cell(op, row - 1, c)))
                return NULL;
    return rows;
}

/* What the inner query found out goes on to the outer one, whose memory outlives it. */
static void take_over(struct kpi_run *outer, const struct kpi_run *inner)
{
    uint32_t known = outer->notes_count;
    outer->ctx.status = inner->ctx.status;
    outer->ctx.overflows = inner->ctx.overflows;
    outer->stat = inner->stat;
    outer->from = inner->from;
    outer->to = inner->to;
    memcpy(outer->streams, inner->streams, sizeof(outer->streams));
    for (uint32_t i = known; i < inner->notes_count; i++)
        kpi_note(outer, "%.*s", (int)inner->notes[i].len, inner->notes[i].ptr);
}

static bool run_key(struct apply_op *op)
{
    struct kpi_run *outer = op->base.run, *inner = kpi_new(&outer->ctx, 1, sizeof(*inner));
    if (inner == NULL)
        return false;
    *inner = *outer;
    size_t cap = outer->arena.cap_bytes;
    kp_arena_init(&inner->arena, cap == 0 ? 0 : KP_MAX(cap - outer->arena.used_bytes, 1u));
    inner->arena.owner = kpi_op_word(&op->base);
    inner->ctx.arena = &inner->arena;
    kpi_run_stoppable(inner);
    inner->root = NULL; /* its operators have no twins in the text's tree */
    inner->workers = NULL;
    inner->opts.off |= KP_OFF_PARALLEL;
    inner->notes_capacity = inner->notes_count; /* the next one moves the list */
    struct kpi_bind bind = op->apply.bind;
    bind.run = inner;
    bind.ctx = &inner->ctx;
    struct kpi_op *rows = feed(op, inner);
    struct kpi_op *last = rows == NULL ? NULL : kpi_bind_over(&bind, rows, op->apply.pipe);
    if (last != NULL)
        kpi_subquery_run(last, keep_answer, op);
    if (outer->ctx.status != KP_OK && inner->ctx.status == KP_OK)
        inner->ctx.status = outer->ctx.status;
    take_over(outer, inner);
    kp_arena_deinit(&inner->arena);
    return outer->ctx.status == KP_OK;
}

static kp_status run_all(struct apply_op *op)
{
    kp_status status = consume(op);
    bool *seen = kpi_new(&op->base.run->ctx, op->keyed.rows.rows, sizeof(*seen));
    if (status != KP_OK || seen == NULL)
        return status != KP_OK ? status : op->base.run->ctx.status;
    for (uint32_t row = 0; row < op->keyed.rows.rows; row++) {
        if (seen[row])
            continue;
        for (uint32_t at = row + 1; at != 0; at = kpi_keyed_next(&op->keyed, at - 1))
            seen[at - 1] = true;
        op->first = row;
        if (!run_key(op))
            return op->base.run->ctx.status;
    }
    op->done = true;
    return KP_OK;
}

static kp_status apply_next(struct kpi_op *base, const struct kp_batch **out)
{
    struct apply_op *op = (struct apply_op *)base;
    kp_status status = op->done ? KP_OK : run_all(op);
    if (status != KP_OK)
        return status;
    return kpi_rowset_give(&op->answer, &op->chunk, &op->out, out);
}

static void apply_need(struct kpi_op *base)
{
    for (uint32_t c = 0; c < base->input->schema.count; c++)
        base->input->need[c] = true; /* what the operators read is known only when they run */
}

static void apply_describe(const struct kpi_op *base, struct kp_buf *out)
{
    const struct apply_op *op = (const struct apply_op *)base;
    kp_buf_text(out, "by ");
    kp_buf_str(out, base->input->schema.fields[op->apply.key].name);
    kp_buf_printf(out, ", %u operator%s", op->apply.pipe->count,
                  op->apply.pipe->count == 1 ? "" : "s");
}

struct kpi_op *kpi_op_apply(struct kpi_op *input, const char *word, const struct kp_field *fields,
                            uint32_t count, const struct kpi_apply *apply)
{
    static const struct kpi_op_class none = {0};
    struct apply_op *op =
        (struct apply_op *)kpi_op_new(input->run, &none, sizeof(*op), input, count);
    if (op == NULL)
        return NULL;
    op->class = (struct kpi_op_class){.name = word,
                                      .open = apply_open,
                                      .next = apply_next,
                                      .need = apply_need,
                                      .describe = apply_describe};
    op->base.class = &op->class;
    memcpy(kpi_op_fields(&op->base), fields, count * sizeof(*fields));
    op->apply = *apply;
    return &op->base;
}
