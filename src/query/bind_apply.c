/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators made of others: sample, sample-distinct, top-hitters, partition, mv-apply, invoke.
 */
#include "query/apply.h"
#include "query/names.h"
#include "query/plan.h"
#include "query/window.h"

static bool row_count(struct kpi_bind *bind, const struct kpi_stage *stage, uint64_t *out)
{
    struct kpi_value limit;
    if (!kpi_bind_constant(bind, stage->expr, KP_TYPE_I64, "the number of rows", &limit))
        return false;
    if (limit.i64 < 0) {
        kpi_fail(bind->ctx, KP_INVALID, stage->expr->place, "the number of rows is negative");
        return false;
    }
    *out = (uint64_t)limit.i64;
    return true;
}

static struct kpi_op *bind_sample(struct kpi_bind *bind, struct kpi_op *input,
                                  const struct kpi_stage *stage)
{
    uint64_t rows;
    return row_count(bind, stage, &rows) ? kpi_op_sample(input, rows) : NULL;
}

static struct kpi_op *bind_sample_distinct(struct kpi_bind *bind, struct kpi_op *input,
                                           const struct kpi_stage *stage)
{
    struct kpi_items none = {0};
    uint64_t rows;
    if (!row_count(bind, stage, &rows))
        return NULL;
    struct kpi_op *values = kpi_bind_summarize(bind, input, &none, &stage->items);
    return values == NULL ? NULL : kpi_op_limit(values, rows);
}

/* top-hitters 3 of x by y: the sums of y for each x, largest first; count() without `by`. */
static struct kpi_op *bind_top_hitters(struct kpi_bind *bind, struct kpi_op *input,
                                       const struct kpi_stage *stage)
{
    uint64_t rows;
    const struct kpi_item *of = stage->items.first, *by = stage->by.first;
    struct kpi_node *call = kpi_new(bind->ctx, 1, sizeof(*call));
    struct kpi_item *item = kpi_new(bind->ctx, 1, sizeof(*item));
    if (call == NULL || item == NULL || !row_count(bind, stage, &rows))
        return NULL;
    struct kpi_token word = {.text = by == NULL ? KP_STR("count") : KP_STR("sum"),
                             .place = stage->place};
    call = kpi_node_call(bind->ctx, &word, by == NULL ? NULL : by->expr, NULL, NULL);
    if (by == NULL)
        call = kpi_node_finish(bind->ctx, NULL, &word, NULL);
    struct kp_buf name = {0};
    struct kp_str of_what = kpi_auto_name(bind, by == NULL ? of->expr : by->expr, "Column", 1);
    kp_buf_printf(&name, "approximate_%s_%.*s", word.text.ptr, (int)of_what.len, of_what.ptr);
    item->name = kp_arena_str(bind->ctx->arena, kp_str_from(kp_buf_cstr(&name)));
    kp_buf_deinit(&name);
    item->place = stage->place;
    item->expr = call;
    struct kpi_items items = {item, item, 1};
    struct kpi_op *groups = kpi_bind_summarize(bind, input, &items, &stage->items);
    struct kpi_sort_key *key = kpi_new(bind->ctx, 1, sizeof(*key));
    if (groups == NULL || key == NULL)
        return NULL;
    struct kpi_bind above = *bind;
    above.schema = &groups->schema;
    *key = (struct kpi_sort_key){kpi_bind_column(&above, groups->schema.count - 1, stage->place),
                                 false, false};
    return rows == 0 ? kpi_op_limit(groups, 0) : kpi_op_sort(groups, key, 1, rows);
}

/* --- operators for each key --- */

/* What the operators give over a table of these columns. */
static struct kpi_op *inner_schema(struct kpi_bind *bind, const struct kpi_op *input,
                                   uint32_t columns, const struct kpi_pipe *pipe)
{
    struct kpi_op *none = kpi_op_values(bind->run, "partition", input->schema.fields, columns);
    return none == NULL ? NULL : kpi_bind_over(bind, none, pipe);
}

static struct kpi_op *bind_partition(struct kpi_bind *bind, struct kpi_op *input,
                                     const struct kpi_stage *stage)
{
    int key = kpi_bind_find(bind, stage->items.first->name, stage->items.first->place);
    struct kpi_apply apply = {.bind = *bind, .pipe = stage->pipes, .key = (uint32_t)key};
    struct kpi_op *inner =
        key < 0 ? NULL : inner_schema(bind, input, input->schema.count, stage->pipes);
    if (inner == NULL)
        return NULL;
    uint32_t count = inner->schema.count;
    struct kpi_apply_output *outputs = kpi_new(bind->ctx, count, sizeof(*outputs));
    if (outputs == NULL)
        return NULL;
    for (uint32_t c = 0; c < count; c++)
        outputs[c].index = c;
    apply.inner = input->schema.count;
    apply.outputs = outputs;
    return kpi_op_apply(input, "partition", inner->schema.fields, count, &apply);
}

/* The input with the number of its row behind the columns. */
static struct kpi_op *numbered(struct kpi_bind *bind, struct kpi_op *input)
{
    struct kpi_windows *windows = kpi_windows_new(bind, input->schema.count);
    if (windows == NULL)
        return NULL;
    windows->items[0] =
        (struct kpi_window){.kind = KPI_WINDOW_NUMBER, .by = 1, .type = KP_TYPE_I64};
    windows->count = 1;
    return kpi_op_window(input, windows);
}

/* The expanded table with the row numbers moved behind all other columns. */
static struct kpi_op *number_last(struct kpi_bind *bind, struct kpi_op *op, uint32_t number)
{
    struct kpi_bind above = *bind;
    struct kpi_outputs outputs = {0};
    struct kpi_place nowhere = {0};
    above.schema = &op->schema;
    for (uint32_t i = 0; i < op->schema.count; i++) {
        uint32_t c = i < number ? i : i + 1 < op->schema.count ? i + 1 : number;
        if (!kpi_outputs_add(&above, &outputs, op->schema.fields[c].name,
                             kpi_bind_column(&above, c, nowhere)))
            return NULL;
    }
    return kpi_op_project(op, "mv-apply", outputs.fields, outputs.exprs, outputs.count);
}

static bool is_expanded(struct kpi_bind *bind, const struct kpi_items *items, struct kp_str name)
{
    for (const struct kpi_item *item = items->first; item != NULL; item = item->next) {
        struct kp_str item_name =
            item->name.ptr != NULL ? item->name : kpi_auto_name(bind, item->expr, "Column", 1);
        if (kp_str_equal(item_name, name))
            return true;
    }
    return false;
}

/* Columns of the row that are not expanded, then what the operators give beside them. */
static bool mv_outputs(struct kpi_bind *bind, const struct kpi_stage *stage,
                       const struct kp_schema *row, const struct kp_schema *inner,
                       struct kpi_outputs *out, struct kpi_apply_output *from)
{
    struct kpi_bind scope = *bind;
    struct kpi_place nowhere = {0};
    scope.schema = row;
    for (uint32_t c = 0; c < row->count; c++) {
        if (is_expanded(bind, &stage->items, row->fields[c].name))
            continue;
        from[out->count] = (struct kpi_apply_output){true, c};
        if (!kpi_outputs_add(&scope, out, row->fields[c].name, kpi_bind_column(&scope, c, nowhere)))
            return false;
    }
    struct kp_schema outer = {out->fields, out->count};
    scope.schema = inner;
    for (uint32_t c = 0; c < inner->count; c++) {
        if (kp_schema_find(&outer, inner->fields[c].name) >= 0)
            continue;
        from[out->count] = (struct kpi_apply_output){false, c};
        if (!kpi_outputs_add(&scope, out, inner->fields[c].name,
                             kpi_bind_column(&scope, c, nowhere)))
            return false;
    }
    return true;
}

static struct kpi_op *bind_mv_apply(struct kpi_bind *bind, struct kpi_op *input,
                                    const struct kpi_stage *stage)
{
    struct kpi_stage expand = *stage;
    struct kpi_bind above = *bind;
    struct kpi_outputs outputs = {0};
    expand.kind = KPI_STAGE_MV_EXPAND;
    struct kpi_op *rows = numbered(bind, input);
    if (rows == NULL)
        return NULL;
    above.schema = &rows->schema;
    struct kpi_op *elements = kpi_bind_shape(&above, rows, &expand);
    if (elements != NULL)
        elements = number_last(&above, elements, input->schema.count);
    if (elements == NULL)
        return NULL;
    uint32_t columns = elements->schema.count - 1;
    struct kpi_op *inner = inner_schema(bind, elements, columns, stage->pipes);
    struct kpi_apply_output *from = kpi_new(bind->ctx, KPI_COLUMNS_MAX + 1, sizeof(*from));
    if (inner == NULL || from == NULL ||
        !mv_outputs(bind, stage, &input->schema, &inner->schema, &outputs, from))
        return NULL;
    struct kpi_apply apply = {
        .bind = *bind, .pipe = stage->pipes, .key = columns, .inner = columns, .outputs = from};
    return kpi_op_apply(elements, "mv-apply", outputs.fields, outputs.count, &apply);
}

/* --- invoke --- */

struct kpi_pipe *kpi_pipe_before(struct kpi_bind *bind)
{
    struct kpi_pipe *pipe = kpi_pipe_new(bind->ctx, bind->pipe->source);
    for (const struct kpi_stage *at = bind->pipe->first; pipe != NULL && at != bind->stage;
         at = at->next) {
        struct kpi_stage *copy = kpi_new(bind->ctx, 1, sizeof(*copy));
        if (copy == NULL)
            return NULL;
        *copy = *at;
        copy->next = NULL;
        pipe = kpi_pipe_add(bind->ctx, pipe, copy);
    }
    return pipe;
}

static bool begins_with_source(struct kpi_bind *bind, const struct kpi_stage *stage,
                               const char *word)
{
    if (bind->pipe->source != NULL)
        return true;
    kpi_fail(bind->ctx, KP_UNSUPPORTED, stage->place,
             "%s cannot stand inside partition or mv-apply", word);
    kpi_hint(bind->ctx, "nearest form: put it after the closing bracket");
    return false;
}

static struct kpi_op *bind_invoke(struct kpi_bind *bind, const struct kpi_stage *stage)
{
    if (!begins_with_source(bind, stage, "invoke"))
        return NULL;
    struct kpi_pipe *before = kpi_pipe_before(bind);
    struct kpi_node *call = kpi_new(bind->ctx, 1, sizeof(*call));
    if (before == NULL || call == NULL)
        return NULL;
    struct kpi_token word = {.text = stage->expr->name, .place = stage->expr->place};
    *call = *stage->expr;
    call->args = NULL;
    call->args_count = call->args_capacity = 0;
    struct kpi_node *list = kpi_node_append(bind->ctx, NULL, kpi_node_whole(bind->ctx, before));
    for (uint32_t i = 0; i < stage->expr->args_count; i++)
        list = kpi_node_append(bind->ctx, list, stage->expr->args[i]);
    call = kpi_node_finish(bind->ctx, list, &word, NULL);
    return call == NULL ? NULL : kpi_name_open(bind, call);
}

struct kpi_op *kpi_bind_apply(struct kpi_bind *bind, struct kpi_op *input,
                              const struct kpi_stage *stage)
{
    switch (stage->kind) {
    case KPI_STAGE_SAMPLE:
        return bind_sample(bind, input, stage);
    case KPI_STAGE_SAMPLE_DISTINCT:
        return bind_sample_distinct(bind, input, stage);
    case KPI_STAGE_TOP_HITTERS:
        return bind_top_hitters(bind, input, stage);
    case KPI_STAGE_PARTITION:
        return bind_partition(bind, input, stage);
    case KPI_STAGE_MV_APPLY:
        return bind_mv_apply(bind, input, stage);
    default:
        return bind_invoke(bind, stage);
    }
}
