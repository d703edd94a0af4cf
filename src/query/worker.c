/* SPDX-License-Identifier: Apache-2.0
 *
 * Binding the text again costs some ten microseconds and needs no operator that can copy itself;
 * the instant of now() is the query's, so both plans are the same.
 */
#include "query/worker.h"

#include <unistd.h>

#include "query/plan.h"
#include "query/sides.h"

uint32_t kpi_run_threads(const struct kpi_run *run)
{
    if ((run->opts.off & KP_OFF_PARALLEL) != 0)
        return 1;
    long cpus = run->opts.threads != 0 ? (long)run->opts.threads : sysconf(_SC_NPROCESSORS_ONLN);
    return cpus < 1 ? 1 : (uint32_t)KP_MIN(cpus, (long)KPI_THREADS_MAX);
}

/* Counts operators in the order of a walk until `wanted` (or the one with its number) is met. */
static struct kpi_op *walk(struct kpi_op *op, const struct kpi_op *wanted, uint32_t number,
                           uint32_t *at)
{
    struct kpi_sides_op *joined = kpi_sides_of(op);
    if (op == wanted || (wanted == NULL && *at == number))
        return op;
    ++*at;
    struct kpi_op *found = op->input == NULL ? NULL : walk(op->input, wanted, number, at);
    for (uint32_t i = 0; joined != NULL && found == NULL && i < joined->inputs_count; i++)
        found = walk(joined->inputs[i], wanted, number, at);
    return found;
}

static struct kpi_op *plan_again(struct kpi_worker *worker, const struct kpi_run *run,
                                 const struct kpi_op *op)
{
    uint32_t number = 0, at = 0;
    if (walk(run->root, op, 0, &number) == NULL)
        return NULL;
    struct kpi_statement *statement = kpi_parse(&worker->run.ctx);
    struct kpi_op *root = statement == NULL ? NULL : kpi_bind_statement(&worker->run, statement);
    root = root == NULL ? NULL : kpi_plan(root);
    struct kpi_op *twin = root == NULL ? NULL : walk(root, NULL, number, &at);
    return twin != NULL && twin->class == op->class ? twin : NULL;
}

struct kpi_worker *kpi_worker_new(struct kpi_op *op, uint32_t share)
{
    struct kpi_run *run = op->run;
    struct kpi_worker *worker = kpi_new(&run->ctx, 1, sizeof(*worker));
    if (worker == NULL || run->root == NULL)
        return NULL;
    size_t cap = run->arena.cap_bytes;
    kp_arena_init(&worker->run.arena, cap == 0 ? 0 : (cap - run->arena.used_bytes) / share);
    worker->next = run->workers;
    run->workers = worker;
    worker->run.arena.owner = kpi_op_word(op);
    worker->run.ctx = (struct kpi_ctx){.arena = &worker->run.arena,
                                       .text = run->ctx.text,
                                       .err = &worker->err,
                                       .now = run->ctx.now};
    worker->run.snapshot = run->snapshot;
    worker->run.opts = run->opts;
    worker->run.opts.off |= KP_OFF_PARALLEL;
    worker->run.deadline = run->deadline;
    kpi_run_stoppable(&worker->run);
    worker->twin = plan_again(worker, run, op);
    return worker->twin == NULL ? NULL : worker;
}

void kpi_worker_close(struct kpi_run *run, struct kpi_worker *worker)
{
    struct kpi_worker **at = &run->workers;
    while (*at != worker)
        at = &(*at)->next;
    *at = worker->next;
    if (worker->twin != NULL)
        kpi_tree_close(worker->twin);
    kp_arena_deinit(&worker->run.arena);
}

void kpi_workers_close(struct kpi_run *run)
{
    while (run->workers != NULL)
        kpi_worker_close(run, run->workers);
}

void kpi_worker_account(struct kpi_worker *worker, struct kpi_op *op)
{
    struct kpi_run *run = op->run;
    const struct kp_query_stat *stat = &worker->run.stat;
    run->stat.rows_read += stat->rows_read;
    run->stat.bytes_read += stat->bytes_read;
    run->stat.segments += stat->segments;
    run->stat.segments_pruned += stat->segments_pruned;
    run->stat.pages += stat->pages;
    run->stat.pages_pruned += stat->pages_pruned;
    run->stat.pages_counted += stat->pages_counted;
    run->stat.pages_by_time += stat->pages_by_time;
    run->stat.pages_by_thread += stat->pages_by_thread;
    run->stat.pages_by_value += stat->pages_by_value;
    run->ctx.overflows += worker->run.ctx.overflows;
    struct kpi_op *twin = worker->twin;
    while (op->input != NULL) {
        op = op->input;
        twin = twin->input;
        op->rows_out += twin->rows_out;
        op->batches += twin->batches;
        op->busy += twin->busy;
    }
}
