/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables made by src/causal: the verbs (verb.c), and the interval tables. Time conditions are
 * passed down as the range to look at (never exactly: a row is an interval, so the filter stays).
 */
#include <inttypes.h>

#include "query/scan.h"
#include "query/sides.h"
#include "query/verb.h"

enum rows_kind { ROWS_VERB, ROWS_THREAD_STATE, ROWS_CPU_STATE, ROWS_TXN };

struct rows_op {
    struct kpi_sides_op base; /* the inputs of a verb */
    enum rows_kind kind;
    struct kpi_verb verb;
    struct kpi_bounds bounds; /* derived tables */
    int64_t *tids;
    uint32_t tids_count;
    struct kp_rows *rows;
    bool noted;
    struct kp_batch out;
    struct kp_str **strs; /* per column: strings with nulls made empty */
};

static const struct kp_schema *schema_of(enum rows_kind kind, enum kpi_verb_kind verb)
{
    switch (kind) {
    case ROWS_VERB:
        return kpi_verb_schema(verb);
    case ROWS_THREAD_STATE:
        return kp_thread_state_schema();
    case ROWS_CPU_STATE:
        return kp_cpu_state_schema();
    default:
        return kp_txn_schema();
    }
}

static kp_status open_rows(struct rows_op *op)
{
    struct kpi_run *run = op->base.base.run;
    struct kp_intervals_req intervals = {op->bounds.from, op->bounds.to, op->tids, op->tids_count};
    struct kp_snapshot *snapshot = run->snapshot;
    switch (op->kind) {
    case ROWS_VERB:
        return kpi_verb_open(run, &op->verb, &op->rows);
    case ROWS_THREAD_STATE:
        return kp_thread_state_open(snapshot, &intervals, &run->arena, &op->rows, run->ctx.err);
    case ROWS_CPU_STATE:
        return kp_cpu_state_open(snapshot, &intervals, &run->arena, &op->rows, run->ctx.err);
    default:
        return kp_txn_open(snapshot, op->bounds.from, op->bounds.to, &run->arena, &op->rows,
                           run->ctx.err);
    }
}

static kp_status rows_open(struct kpi_op *base)
{
    struct rows_op *op = (struct rows_op *)base;
    struct kpi_ctx *ctx = &base->run->ctx;
    op->strs = kpi_new(ctx, base->schema.count, sizeof(*op->strs));
    kpi_op_batch(base, &op->out);
    for (uint32_t c = 0; c < base->schema.count && ctx->status == KP_OK; c++)
        if (kp_type_phys(base->schema.fields[c].type) == KP_PHYS_STR)
            op->strs[c] = kpi_new(ctx, KP_VECTOR_ROWS, sizeof(struct kp_str));
    if (ctx->status != KP_OK)
        return ctx->status;
    kp_status status = open_rows(op);
    if (status != KP_OK)
        return kpi_fail_here(ctx, status, base->place);
    struct kp_scan_stat read;
    kp_rows_stat(op->rows, &read);
    kpi_stat_account(base->run, &read);
    return KP_OK;
}

static void take_notes(struct rows_op *op)
{
    const struct kp_str *notes;
    uint32_t count = kp_rows_notes(op->rows, &notes);
    for (uint32_t i = 0; i < count && !op->noted; i++)
        kpi_note(op->base.base.run, "%.*s", (int)notes[i].len, notes[i].ptr);
    op->noted = true;
}

static void empty_for_null(struct kp_vec *vec, struct kp_str *strs, uint32_t rows)
{
    for (uint32_t i = 0; i < rows; i++)
        strs[i] = kp_vec_null(vec, i) ? KP_STR("") : kp_vec_str(vec, i);
    vec->strs = strs;
    vec->dict = NULL;
    vec->nulls = NULL;
}

static kp_status rows_next(struct kpi_op *base, const struct kp_batch **out)
{
    struct rows_op *op = (struct rows_op *)base;
    const struct kp_batch *batch;
    kp_status status = kp_rows_next(op->rows, &batch);
    if (status != KP_OK && status != KP_END) {
        kp_error_set(base->run->ctx.err, status, "%s: %s", base->class->name,
                     kp_status_text(status));
        return base->run->ctx.status = status;
    }
    take_notes(op);
    if (status == KP_END)
        return KP_END;
    for (uint32_t c = 0; c < base->schema.count; c++) {
        struct kp_vec *vec = &op->out.cols[c];
        *vec = batch->cols[c];
        vec->type = base->schema.fields[c].type;
        if (op->strs[c] != NULL && vec->nulls != NULL)
            empty_for_null(vec, op->strs[c], batch->rows);
    }
    op->out.rows = batch->rows;
    op->out.sel = batch->sel;
    op->out.sel_count = batch->sel_count;
    *out = &op->out;
    return KP_OK;
}

static void rows_describe(const struct kpi_op *base, struct kp_buf *out)
{
    const struct rows_op *op = (const struct rows_op *)base;
    if (op->kind == ROWS_VERB) {
        kpi_verb_describe(&op->verb, out);
        return;
    }
    kp_buf_text(out, "intervals");
    kpi_bounds_text(&op->bounds, out);
    for (uint32_t i = 0; i < op->tids_count; i++)
        kp_buf_printf(out, "%s%" PRId64 "%s", i == 0 ? " keys tid in (" : ", ", op->tids[i],
                      i + 1 == op->tids_count ? ")" : "");
}

/* What the answer read, by what for and of which stream. */
static bool rows_step(const struct kpi_op *base, uint32_t number, struct kp_buf *out,
                      uint64_t *out_rows)
{
    const struct rows_op *op = (const struct rows_op *)base;
    const struct kp_rows_step *steps;
    if (op->rows == NULL || number >= kp_rows_steps(op->rows, &steps))
        return false;
    const struct kp_rows_step *step = &steps[number];
    kp_buf_printf(out, "%.*s for %.*s: ", (int)step->stream.len, step->stream.ptr,
                  (int)step->part.len, step->part.ptr);
    kp_buf_printf(out, "pages %u from files, %u in memory; scans %u", step->stat.pages_read,
                  step->stat.pages_cached, step->scans);
    *out_rows = step->stat.rows_out;
    return true;
}

static void push_tids(struct rows_op *op, const struct kpi_push *push)
{
    if (push->op != '=' || op->tids_count != 0 || op->kind == ROWS_TXN)
        return;
    op->tids = kpi_new(&op->base.base.run->ctx, push->count, sizeof(*op->tids));
    for (uint32_t i = 0; op->tids != NULL && i < push->count; i++)
        op->tids[op->tids_count++] = push->values[i].i64;
}

static bool rows_push(struct kpi_op *base, const struct kpi_push *push)
{
    struct rows_op *op = (struct rows_op *)base;
    struct kp_str name = base->schema.fields[push->column].name;
    bool time = kp_str_equal(name, KP_STR("start")) || kp_str_equal(name, KP_STR("ts")) ||
                kp_str_equal(name, KP_STR("end"));
    if (op->kind == ROWS_VERB)
        return false;
    if (time && base->schema.fields[push->column].type == KP_TYPE_TIME)
        kpi_bounds_push(&op->bounds, push);
    else if (op->kind == ROWS_THREAD_STATE && kp_str_equal(name, KP_STR("tid")))
        push_tids(op, push);
    return false;
}

static struct kpi_bounds *rows_bounds(struct kpi_op *base)
{
    struct rows_op *op = (struct rows_op *)base;
    return op->kind == ROWS_VERB ? NULL : &op->bounds;
}

static struct kp_str rows_value(const struct kpi_op *base, uint32_t column, uint32_t index)
{
    const struct rows_op *op = (const struct rows_op *)base;
    return kp_rows_value(schema_of(op->kind, op->verb.kind), column, index);
}

static const struct kpi_source_class rows_source = {rows_push, NULL, rows_bounds, rows_value, NULL,
                                                    NULL,      NULL, NULL,        NULL,       NULL,
                                                    NULL,      NULL, rows_step};

static void rows_need(struct kpi_op *base)
{
    kpi_verb_need(&((struct rows_op *)base)->verb);
}

#define VERB_CLASS(name)                                                         \
    {                                                                            \
        name, rows_open, rows_next, NULL, rows_need, rows_describe, &rows_source \
    }
static const struct kpi_op_class verb_classes[KPI_VERBS] = {
    [KPI_VERB_CAUSES] = VERB_CLASS("CAUSES"),     [KPI_VERB_EVIDENCE] = VERB_CLASS("EVIDENCE"),
    [KPI_VERB_ENABLERS] = VERB_CLASS("CAUSES"),   [KPI_VERB_CHAIN] = VERB_CLASS("CHAIN"),
    [KPI_VERB_BLOCKERS] = VERB_CLASS("BLOCKERS"), [KPI_VERB_EFFECTS] = VERB_CLASS("EFFECTS"),
    [KPI_VERB_CULPRITS] = VERB_CLASS("CULPRITS"), [KPI_VERB_DIFF] = VERB_CLASS("DIFF"),
};
static const struct kpi_op_class rows_classes[] = {
    [ROWS_THREAD_STATE] = {"thread_state", rows_open, rows_next, NULL, NULL, rows_describe,
                           &rows_source},
    [ROWS_CPU_STATE] = {"cpu_state", rows_open, rows_next, NULL, NULL, rows_describe, &rows_source},
    [ROWS_TXN] = {"txn", rows_open, rows_next, NULL, NULL, rows_describe, &rows_source},
};

static struct rows_op *rows_new(struct kpi_run *run, enum rows_kind kind, enum kpi_verb_kind verb)
{
    const struct kp_schema *schema = schema_of(kind, verb);
    const struct kpi_op_class *class =
        kind == ROWS_VERB ? &verb_classes[verb] : &rows_classes[kind];
    struct rows_op *op = (struct rows_op *)kpi_op_new(run, class, sizeof(*op), NULL, schema->count);
    if (op == NULL)
        return NULL;
    memcpy(kpi_op_fields(&op->base.base), schema->fields, schema->count * sizeof(struct kp_field));
    op->kind = kind;
    bool threads = kind == ROWS_THREAD_STATE || kind == ROWS_CPU_STATE;
    run->streams[KP_S_SCHED_SWITCH] |= threads;
    run->streams[KP_S_SCHED_WAKING] |= threads;
    run->streams[KP_S_SPANS] |= kind == ROWS_TXN;
    op->bounds = (struct kpi_bounds){KP_TIME_MIN, KP_TIME_MAX, false};
    return op;
}

struct kpi_op *kpi_op_verb(struct kpi_run *run, const struct kpi_verb *verb)
{
    struct rows_op *op = rows_new(run, ROWS_VERB, verb->kind);
    if (op == NULL)
        return NULL;
    op->verb = *verb;
    op->base.base.sides = verb->inputs_count > 0;
    op->base.inputs = op->verb.inputs;
    op->base.inputs_count = verb->inputs_count;
    return &op->base.base;
}

struct kpi_op *kpi_op_derived(struct kpi_run *run, struct kp_str name)
{
    for (enum rows_kind kind = ROWS_THREAD_STATE; kind <= ROWS_TXN; kind++)
        if (kp_str_equal(name, kp_str_from(rows_classes[kind].name)))
            return (struct kpi_op *)rows_new(run, kind, KPI_VERB_CAUSES);
    return NULL;
}
