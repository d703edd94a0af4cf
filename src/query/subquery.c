/* SPDX-License-Identifier: Apache-2.0
 *
 * Queries inside a query: toscalar(T) and x in (T) need values before the query around them can be
 * bound, and plugins need to know what columns there will be. They run to their end then and there,
 * under the limits of the query they belong to.
 */
#include "query/func.h"
#include "query/names.h"
#include "query/plan.h"
#include "query/worker.h"

bool kpi_subquery_run(struct kpi_op *op, kpi_each_row *each, void *ctx)
{
    struct kpi_run *run = op->run;
    const struct kp_batch *batch;
    struct kpi_place nowhere = {0};
    op = kpi_plan(op);
    if (op == NULL)
        return false;
    if (kpi_plan_reads(op) && run->snapshot == NULL) {
        kpi_fail(&run->ctx, KP_UNSUPPORTED, nowhere, "this query needs data and none is open");
        kpi_hint(&run->ctx, "open a data directory, or begin with print, range or datatable");
        return false;
    }
    kp_status status = kpi_tree_open(op);
    bool more = true;
    while (more && status == KP_OK && (status = kpi_op_next(op, &batch)) == KP_OK)
        for (uint32_t i = 0; more && i < kp_batch_count(batch); i++)
            more = each(ctx, batch, kp_batch_row(batch, i));
    kpi_tree_close(op);
    if (status != KP_OK && status != KP_END && run->ctx.status == KP_OK)
        run->ctx.status = status;
    return run->ctx.status == KP_OK;
}

static bool keep_first(void *ctx, const struct kp_batch *batch, uint32_t row)
{
    *(struct kpi_value *)ctx = kpi_vec_value(&batch->cols[0], row);
    return false;
}

/* The table, bound apart from what stands around it. */
static struct kpi_op *open_apart(struct kpi_bind *bind, const struct kpi_pipe *pipe)
{
    struct kpi_bind apart = *bind;
    apart.schema = NULL;
    apart.aggregates = NULL;
    apart.windows = NULL;
    apart.rows = NULL;
    return kpi_bind_pipe(&apart, pipe);
}

struct kpi_expr *kpi_subquery_value(struct kpi_bind *bind, const struct kpi_pipe *pipe,
                                    struct kpi_place place)
{
    struct kpi_op *op = open_apart(bind, pipe);
    if (op == NULL)
        return NULL;
    struct kpi_value value = {.type = op->schema.fields[0].type, .null = true};
    enum kp_unit unit = op->schema.fields[0].unit;
    if (kp_type_phys(value.type) == KP_PHYS_STR)
        value = (struct kpi_value){.type = value.type, .str = KP_STR("")};
    if (!kpi_subquery_run(op, keep_first, &value))
        return NULL;
    if (kp_type_phys(value.type) == KP_PHYS_STR) {
        value.str = kp_arena_str(bind->ctx->arena, value.str);
        if (value.str.ptr == NULL)
            kpi_fail_memory(bind->ctx);
    }
    struct kpi_expr *expr = kpi_bind_value(bind, value, place);
    if (expr != NULL)
        expr->unit = unit;
    return expr;
}

/* A null equals nothing, so the list goes without. */
static bool add_element(void *ctx, const struct kp_batch *batch, uint32_t row)
{
    struct kp_buf *out = ctx;
    struct kpi_value value = kpi_vec_value(&batch->cols[0], row);
    if (value.null)
        return true;
    if (out->size > 1)
        kp_buf_char(out, ',');
    kpi_json_value(&value, out);
    return !out->failed;
}

struct kpi_expr *kpi_subquery_array(struct kpi_bind *bind, const struct kpi_pipe *pipe,
                                    struct kpi_place place)
{
    struct kp_buf json = {0};
    struct kpi_op *op = open_apart(bind, pipe);
    kp_buf_char(&json, '[');
    if (op == NULL || !kpi_subquery_run(op, add_element, &json)) {
        kp_buf_deinit(&json);
        return NULL;
    }
    kp_buf_char(&json, ']');
    struct kpi_value value = {.type = KP_TYPE_DYN};
    value.str = kp_arena_str(bind->ctx->arena, (struct kp_str){json.data, (uint32_t)json.size});
    bool good = !json.failed && value.str.ptr != NULL;
    kp_buf_deinit(&json);
    if (!good)
        kpi_fail_memory(bind->ctx);
    return good ? kpi_bind_value(bind, value, place) : NULL;
}
