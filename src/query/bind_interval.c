/* SPDX-License-Identifier: Apache-2.0
 *
 * intersect, subtract, within, flatten, coverage, self_time: rows as intervals. A row reaches from
 * `start` (or ts - dur, or ts) to `ts` (or start + dur).
 */
#include "query/plan.h"
#include "query/spans.h"

/* Index of a column of this name and type, or -1. */
static int index_of(const struct kpi_bind *bind, const char *name, enum kp_type type)
{
    int found = kp_schema_find(bind->schema, kp_str_from(name));
    return found >= 0 && bind->schema->fields[found].type == type ? found : -1;
}

static struct kpi_expr *column_of(struct kpi_bind *bind, const char *name, enum kp_type type)
{
    int found = index_of(bind, name, type);
    struct kpi_place nowhere = {0};
    return found < 0 ? NULL : kpi_bind_column(bind, (uint32_t)found, nowhere);
}

static bool find_interval(struct kpi_bind *bind, struct kpi_place place, struct kpi_interval *out)
{
    struct kpi_expr *start = column_of(bind, "start", KP_TYPE_TIME);
    struct kpi_expr *ts = column_of(bind, "ts", KP_TYPE_TIME);
    struct kpi_expr *dur = column_of(bind, "dur", KP_TYPE_DUR);
    out->from = start;
    out->to = ts;
    if (start == NULL && ts != NULL && dur != NULL) {
        struct kpi_expr *args[2] = {ts, dur};
        out->from = kpi_bind_named(bind, "-", place, args, 2);
    } else if (start == NULL) {
        out->from = ts;
    }
    if (ts == NULL && start != NULL && dur != NULL) {
        struct kpi_expr *args[2] = {start, dur};
        out->to = kpi_bind_named(bind, "+", place, args, 2);
    }
    if (out->from != NULL && out->to != NULL)
        return true;
    kpi_fail(bind->ctx, KP_INVALID, place, "the rows of this table are no intervals");
    kpi_hint(bind->ctx, "they need datetimes start and ts, or one of them and a timespan dur");
    return false;
}

static bool find_keys(struct kpi_bind *bind, const struct kpi_items *items,
                      struct kpi_interval *out)
{
    out->keys = kpi_new(bind->ctx, items->count, sizeof(struct kpi_expr *));
    if (out->keys == NULL)
        return false;
    for (const struct kpi_item *item = items->first; item != NULL; item = item->next) {
        if (item->expr->kind != KPI_NODE_NAME || out->keys_count == KPI_ARGS_MAX) {
            kpi_fail(bind->ctx, KP_INVALID, item->place, "intervals meet by columns");
            kpi_hint(bind->ctx, "write names: on tid, cpu");
            return false;
        }
        int found = kpi_bind_find(bind, item->expr->name, item->expr->place);
        if (found < 0)
            return false;
        out->keys[out->keys_count++] = kpi_bind_column(bind, (uint32_t)found, item->expr->place);
    }
    return bind->ctx->status == KP_OK;
}

static bool same_types(struct kpi_bind *bind, const struct kpi_interval_req *req)
{
    for (uint32_t k = 0; k < req->intervals[0].keys_count; k++) {
        const struct kpi_expr *left = req->intervals[0].keys[k], *right = req->intervals[1].keys[k];
        if (left->type == right->type)
            continue;
        kpi_fail(bind->ctx, KP_INVALID, left->place, "'%.*s' is %s on the left and %s on the right",
                 (int)left->name.len, left->name.ptr, kp_type_name(left->type),
                 kp_type_name(right->type));
        return false;
    }
    return true;
}

static struct kpi_op *bind_beside(struct kpi_bind *bind, struct kpi_op *input,
                                  const struct kpi_stage *stage)
{
    struct kpi_interval_req req = {.kind = stage->kind == KPI_STAGE_INTERSECT  ? KPI_INTERSECT
                                           : stage->kind == KPI_STAGE_SUBTRACT ? KPI_SUBTRACT
                                                                               : KPI_WITHIN};
    struct kpi_value margin = {.i64 = 0};
    struct kpi_op *other = kpi_bind_pipe(bind, stage->pipes);
    if (other == NULL ||
        (req.kind == KPI_WITHIN &&
         !kpi_bind_constant(bind, stage->expr, KP_TYPE_DUR, "the distance", &margin)))
        return NULL;
    if (margin.i64 < 0) {
        kpi_fail(bind->ctx, KP_INVALID, stage->expr->place, "the distance is negative");
        return NULL;
    }
    struct kpi_bind scopes[2] = {*bind, *bind};
    scopes[1].schema = &other->schema;
    req.margin = margin.i64;
    req.inputs[0] = input;
    req.inputs[1] = other;
    for (uint32_t side = 0; side < 2; side++)
        if (!find_interval(&scopes[side], stage->place, &req.intervals[side]) ||
            !find_keys(&scopes[side], &stage->items, &req.intervals[side]))
            return NULL;
    req.start = index_of(bind, "start", KP_TYPE_TIME);
    req.ts = index_of(bind, "ts", KP_TYPE_TIME);
    req.dur = index_of(bind, "dur", KP_TYPE_DUR);
    return same_types(bind, &req) ? kpi_op_interval(bind->run, &req) : NULL;
}

static struct kpi_op *bind_flatten(struct kpi_bind *bind, struct kpi_op *input,
                                   const struct kpi_stage *stage)
{
    struct kpi_interval interval = {0};
    if (!find_interval(bind, stage->place, &interval) || !find_keys(bind, &stage->by, &interval))
        return NULL;
    struct kp_field *fields = kpi_new(bind->ctx, interval.keys_count, sizeof(*fields));
    for (uint32_t k = 0; fields != NULL && k < interval.keys_count; k++)
        fields[k] = bind->schema->fields[interval.keys[k]->column];
    return fields == NULL ? NULL : kpi_op_flatten(input, &interval, fields);
}

/* flatten | summarize covered = sum(dur) by keys */
static struct kpi_op *bind_coverage(struct kpi_bind *bind, struct kpi_op *input,
                                    const struct kpi_stage *stage)
{
    struct kpi_op *flat = bind_flatten(bind, input, stage);
    if (flat == NULL)
        return NULL;
    struct kpi_token dur = {.text = KP_STR("dur"), .place = stage->place};
    struct kpi_token sum = {.text = KP_STR("sum"), .place = stage->place};
    struct kpi_token covered = {.text = KP_STR("covered"), .place = stage->place};
    struct kpi_node *call =
        kpi_node_call(bind->ctx, &sum, kpi_node_name(bind->ctx, &dur), NULL, NULL);
    struct kpi_items items = {0};
    items = kpi_items_add(items, kpi_item_new(bind->ctx, &covered, call));
    struct kpi_bind above = *bind;
    above.schema = &flat->schema;
    return bind->ctx->status == KP_OK ? kpi_bind_summarize(&above, flat, &items, &stage->by) : NULL;
}

static struct kpi_op *bind_self(struct kpi_bind *bind, struct kpi_op *input,
                                const struct kpi_stage *stage)
{
    struct kpi_interval interval = {0};
    struct kpi_outputs names = {0};
    struct kpi_place nowhere = {0};
    if (!find_interval(bind, stage->place, &interval) || !find_keys(bind, &stage->by, &interval))
        return NULL;
    for (uint32_t i = 0; i < bind->schema->count; i++)
        if (!kpi_outputs_add(bind, &names, bind->schema->fields[i].name,
                             kpi_bind_column(bind, i, nowhere)))
            return NULL;
    struct kpi_value zero = {.type = KP_TYPE_DUR};
    if (!kpi_outputs_add(bind, &names, KP_STR("self_time"), kpi_bind_value(bind, zero, nowhere)))
        return NULL;
    return kpi_op_self(input, &interval, names.fields[names.count - 1].name);
}

struct kpi_op *kpi_bind_interval(struct kpi_bind *bind, struct kpi_op *input,
                                 const struct kpi_stage *stage)
{
    if (stage->kind == KPI_STAGE_FLATTEN)
        return bind_flatten(bind, input, stage);
    if (stage->kind == KPI_STAGE_COVERAGE)
        return bind_coverage(bind, input, stage);
    if (stage->kind == KPI_STAGE_SELF_TIME)
        return bind_self(bind, input, stage);
    return bind_beside(bind, input, stage);
}
