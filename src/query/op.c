/* SPDX-License-Identifier: Apache-2.0
 *
 * What all operators share: making one, pulling from one under the query's limits, remarks.
 */
#include "query/sides.h"

#include <stdarg.h>
#include <stdio.h>

struct kpi_op *kpi_op_new(struct kpi_run *run, const struct kpi_op_class *class, size_t size,
                          struct kpi_op *input, uint32_t fields)
{
    struct kpi_op *op = kpi_new(&run->ctx, 1, size);
    struct kp_field *list = kpi_new(&run->ctx, fields, sizeof(*list));
    bool *need = kpi_new(&run->ctx, fields, sizeof(*need));
    if (op == NULL || list == NULL || need == NULL)
        return NULL;
    op->class = class;
    op->run = run;
    op->input = input;
    op->schema = (struct kp_schema){list, fields};
    op->need = need;
    op->eval.ctx = &run->ctx;
    return op;
}

struct kp_field *kpi_op_fields(struct kpi_op *op)
{
    return (struct kp_field *)(uintptr_t)op->schema.fields; /* made above, writable until planned */
}

struct kpi_sides_op *kpi_sides_of(struct kpi_op *op)
{
    return op->sides ? (struct kpi_sides_op *)op : NULL;
}

const char *kpi_op_word(const struct kpi_op *op)
{
    return op->word == NULL ? op->class->name : op->word;
}

kp_status kpi_run_check(struct kpi_run *run)
{
    struct kpi_place nowhere = {0};
    const _Atomic bool *cancel = run->opts.cancel;
    if (cancel != NULL && *cancel)
        return kpi_fail(&run->ctx, KP_CANCELLED, nowhere, "the query was cancelled");
    if (run->deadline == 0 || kp_time_monotonic() < run->deadline)
        return KP_OK;
    char text[KP_DUR_TEXT_MAX];
    kp_dur_format(run->opts.timeout, text);
    kpi_fail(&run->ctx, KP_LIMIT, nowhere,
             "the query ran longer than its limit of %s: it was at %s", text, run->arena.owner);
    kpi_hint(&run->ctx, "narrow the time range, or raise the limit");
    return KP_LIMIT;
}

static kp_status stop_check(void *ctx, struct kp_error *err)
{
    struct kpi_run *run = ctx;
    kp_status status = kpi_run_check(run);
    if (status != KP_OK && run->ctx.err != NULL && run->ctx.err != err)
        *err = *run->ctx.err;
    return status;
}

void kpi_run_stoppable(struct kpi_run *run)
{
    run->stop = (struct kp_stop){stop_check, run};
    run->arena.stop = &run->stop;
}

kp_status kpi_op_next(struct kpi_op *op, const struct kp_batch **out)
{
    int64_t start = kp_time_monotonic();
    if (kpi_run_check(op->run) != KP_OK)
        return op->run->ctx.status;
    const char *asking = op->run->arena.owner;
    op->run->arena.owner = kpi_op_word(op);
    kp_status status = op->class->next(op, out);
    if (op->run->ctx.status == KP_OK)
        op->run->arena.owner = asking;
    op->busy += kp_time_monotonic() - start;
    if (status == KP_OK && op->run->ctx.status != KP_OK)
        status = op->run->ctx.status;
    if (status != KP_OK)
        return status;
    op->batches++;
    op->rows_out += kp_batch_count(*out);
    return KP_OK;
}

bool kpi_op_batch(struct kpi_op *op, struct kp_batch *out)
{
    struct kp_vec *cols = kpi_new(&op->run->ctx, op->schema.count, sizeof(*cols));
    if (cols == NULL)
        return false;
    for (uint32_t i = 0; i < op->schema.count; i++)
        cols[i].type = op->schema.fields[i].type;
    *out = (struct kp_batch){.cols = cols, .cols_count = op->schema.count};
    return true;
}

static bool grow_notes(struct kpi_run *run)
{
    uint32_t capacity = run->notes_capacity == 0 ? 8 : run->notes_capacity * 2;
    struct kp_str *notes = kp_arena_zalloc(&run->arena, capacity, sizeof(*notes));
    if (notes == NULL)
        return false;
    for (uint32_t i = 0; i < run->notes_count; i++)
        notes[i] = run->notes[i];
    run->notes = notes;
    run->notes_capacity = capacity;
    return true;
}

void kpi_note(struct kpi_run *run, const char *fmt, ...)
{
    char text[KP_ERROR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (run->notes_count == run->notes_capacity && !grow_notes(run))
        return;
    struct kp_str copy = kp_arena_str(&run->arena, kp_str_from(text));
    if (copy.ptr != NULL)
        run->notes[run->notes_count++] = copy;
}
