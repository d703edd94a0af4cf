/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a query: text to plan at open, batches at next, remarks and figures at the end. One arena
 * holds everything, the query itself included.
 */
#include "query/plan.h"
#include "query/sides.h"
#include "query/worker.h"

#define MEMORY_BYTES_DEFAULT ((size_t)256 * 1024 * 1024)

struct kp_query {
    struct kpi_run run;
    struct kpi_op *root;     /* what next() pulls from */
    struct kpi_op *analyzed; /* explain analyze: the query to run first */
    int64_t started;         /* monotonic ns */
    bool opened, ended;
};

/* --- the tree of operators --- */

kp_status kpi_tree_open(struct kpi_op *op)
{
    struct kpi_sides_op *joined = kpi_sides_of(op);
    kp_status status = KP_OK;
    for (uint32_t i = 0; joined != NULL && i < joined->inputs_count && status == KP_OK; i++)
        status = kpi_tree_open(joined->inputs[i]);
    if (op->input != NULL && status == KP_OK)
        status = kpi_tree_open(op->input);
    if (status != KP_OK || op->class->open == NULL)
        return status;
    op->run->arena.owner = kpi_op_word(op);
    return op->class->open(op);
}

void kpi_tree_close(struct kpi_op *op)
{
    struct kpi_sides_op *joined = kpi_sides_of(op);
    for (uint32_t i = 0; joined != NULL && i < joined->inputs_count; i++)
        kpi_tree_close(joined->inputs[i]);
    if (op->input != NULL)
        kpi_tree_close(op->input);
    if (op->class->close != NULL)
        op->class->close(op);
}

/* --- open --- */

static kp_status need_data(struct kp_query *query)
{
    struct kpi_place nowhere = {0};
    kpi_fail(&query->run.ctx, KP_UNSUPPORTED, nowhere, "this query needs data and none is open");
    kpi_hint(&query->run.ctx, "open a data directory, or begin with print, range or datatable");
    return KP_UNSUPPORTED;
}

static kp_status prepare(struct kp_query *query)
{
    struct kpi_run *run = &query->run;
    struct kpi_statement *statement = kpi_parse(&run->ctx);
    struct kpi_op *op = statement == NULL ? NULL : kpi_bind_statement(run, statement);
    op = op == NULL ? NULL : kpi_plan(op);
    if (op == NULL)
        return run->ctx.status;
    bool data = kpi_plan_reads(op) && (!statement->explain || statement->analyze);
    if (data && run->snapshot == NULL)
        return need_data(query);
    query->root = op;
    run->root = op;
    if (statement->analyze)
        query->analyzed = op;
    if (statement->explain && !statement->analyze)
        memset(run->streams, 0, sizeof(run->streams)); /* nothing is read */
    if (statement->explain)
        query->root = kpi_explain(run, statement->analyze ? NULL : op, statement->analyze);
    for (uint32_t i = 0; query->root != NULL && i < query->root->schema.count; i++)
        query->root->need[i] = true;
    return run->ctx.status;
}

static kp_status copy_text(struct kp_query *query, struct kp_str text)
{
    struct kpi_ctx *ctx = &query->run.ctx;
    struct kpi_place nowhere = {0};
    if (text.len > KPI_TEXT_BYTES_MAX)
        return kpi_fail(ctx, KP_LIMIT, nowhere, "the query is longer than %d bytes",
                        KPI_TEXT_BYTES_MAX);
    struct kp_str copy = kp_arena_str(ctx->arena, text);
    if (copy.ptr == NULL)
        return kpi_fail_memory(ctx);
    ctx->text = copy;
    return KP_OK;
}

static struct kp_query *query_new(const struct kp_query_opts *opts)
{
    struct kp_arena arena;
    size_t cap =
        opts != NULL && opts->memory_bytes_max != 0 ? opts->memory_bytes_max : MEMORY_BYTES_DEFAULT;
    kp_arena_init(&arena, cap);
    struct kp_query *query = kp_arena_zalloc(&arena, 1, sizeof(*query));
    if (query == NULL) {
        kp_arena_deinit(&arena);
        return NULL;
    }
    struct kpi_run *run = &query->run;
    run->arena = arena;
    run->arena.owner = "query";
    run->ctx = (struct kpi_ctx){.arena = &run->arena, .now = kp_time_now()};
    run->from = KP_TIME_MAX;
    run->to = KP_TIME_MIN;
    if (opts != NULL)
        run->opts = *opts;
    kpi_run_stoppable(run);
    query->started = kp_time_monotonic();
    if (run->opts.timeout > 0 &&
        __builtin_add_overflow(query->started, run->opts.timeout, &run->deadline))
        run->deadline = 0;
    return query;
}

kp_status kp_query_open(struct kp_snapshot *snapshot, struct kp_str text,
                        const struct kp_query_opts *opts, struct kp_query **out,
                        struct kp_error *err)
{
    struct kp_query *query = query_new(opts);
    if (query == NULL)
        return kp_error_set(err, KP_NO_MEMORY, "no memory for a query");
    query->run.ctx.err = err;
    query->run.snapshot = snapshot;
    kp_status status = copy_text(query, text);
    if (status == KP_OK)
        status = prepare(query);
    if (status != KP_OK) {
        kp_query_close(query);
        return status;
    }
    query->run.ctx.err = NULL;
    if (snapshot != NULL)
        query->run.stat.as_of = kp_snapshot_as_of(snapshot);
    *out = query;
    return KP_OK;
}

const struct kp_schema *kp_query_schema(const struct kp_query *query)
{
    return &query->root->schema;
}

/* --- run --- */

/* explain analyze: runs the query to its end, then its description is the answer. */
static kp_status analyze(struct kp_query *query)
{
    struct kpi_run *run = &query->run;
    const struct kp_batch *batch;
    kp_status status = kpi_tree_open(query->analyzed);
    while (status == KP_OK && (status = kpi_op_next(query->analyzed, &batch)) == KP_OK)
        run->stat.rows_out += kp_batch_count(batch);
    kpi_tree_close(query->analyzed);
    if (status != KP_END)
        return status;
    run->stat.elapsed = kp_time_monotonic() - query->started;
    query->root = kpi_explain(run, query->analyzed, true);
    query->analyzed = NULL;
    for (uint32_t i = 0; query->root != NULL && i < query->root->schema.count; i++)
        query->root->need[i] = true;
    run->stat.rows_out = 0;
    return run->ctx.status;
}

static void finish(struct kp_query *query)
{
    struct kpi_run *run = &query->run;
    if (query->ended)
        return;
    query->ended = true;
    kpi_tree_close(query->root);
    if (run->ctx.overflows > 0)
        kpi_note(run, "%lu result%s did not fit in 64 bits: null",
                 (unsigned long)run->ctx.overflows, run->ctx.overflows == 1 ? "" : "s");
    kpi_answer_notes(run);
    run->stat.elapsed = kp_time_monotonic() - query->started;
}

kp_status kp_query_next(struct kp_query *query, const struct kp_batch **out, struct kp_error *err)
{
    struct kpi_run *run = &query->run;
    kp_status status = run->ctx.status;
    if (query->ended)
        return status == KP_OK ? KP_END : status;
    run->ctx.err = err;
    if (status == KP_OK && query->analyzed != NULL)
        status = analyze(query);
    if (status == KP_OK && !query->opened) {
        query->opened = true;
        status = kpi_tree_open(query->root);
    }
    if (status == KP_OK)
        status = kpi_op_next(query->root, out);
    if (status == KP_OK)
        run->stat.rows_out += kp_batch_count(*out);
    else if (status == KP_END)
        finish(query);
    else
        run->ctx.status = status;
    run->ctx.err = NULL;
    return status;
}

uint32_t kp_query_notes(const struct kp_query *query, const struct kp_str **out)
{
    *out = query->run.notes;
    return query->run.notes_count;
}

void kp_query_stat(const struct kp_query *query, struct kp_query_stat *out)
{
    *out = query->run.stat;
    out->memory_bytes = query->run.arena.used_bytes;
    if (!query->ended)
        out->elapsed = kp_time_monotonic() - query->started;
}

void kp_query_close(struct kp_query *query)
{
    if (query == NULL)
        return;
    query->run.ctx.err = NULL;
    if (query->root != NULL)
        kpi_tree_close(query->root);
    if (query->analyzed != NULL)
        kpi_tree_close(query->analyzed);
    kpi_workers_close(&query->run);
    struct kp_arena arena = query->run.arena; /* the query lies in it */
    kp_arena_deinit(&arena);
}
