/* SPDX-License-Identifier: Apache-2.0
 *
 * explain: the bound plan as a table, source first; with analyze, what each operator did.
 */
#include "query/plan.h"
#include "query/sides.h"

static const struct kp_field explain_fields[] = {{KP_STR("step"), KP_TYPE_I64, KP_UNIT_NONE},
                                                 {KP_STR("operator"), KP_TYPE_STR, KP_UNIT_NONE},
                                                 {KP_STR("detail"), KP_TYPE_STR, KP_UNIT_NONE},
                                                 {KP_STR("rows"), KP_TYPE_I64, KP_UNIT_COUNT},
                                                 {KP_STR("batches"), KP_TYPE_I64, KP_UNIT_COUNT},
                                                 {KP_STR("self"), KP_TYPE_DUR, KP_UNIT_NS}};

enum { PLAN_FIELDS = 3, ANALYZE_FIELDS = KP_ARRAY_LEN(explain_fields) };

struct printer {
    struct kpi_op *table;
    bool analyze;
    int64_t step;
};

static bool add_text(struct kpi_op *table, struct kp_str text)
{
    struct kpi_value value = {.type = KP_TYPE_STR, .str = text};
    return kpi_op_values_add(table, value);
}

static bool add_number(struct kpi_op *table, enum kp_type type, int64_t number)
{
    struct kpi_value value = {.type = type, .i64 = number};
    return kpi_op_values_add(table, value);
}

/* Time spent in the operator itself, not below. */
static kp_dur own_time(const struct kpi_op *op, const struct kpi_sides_op *joined)
{
    kp_dur below = op->input != NULL ? op->input->busy : 0;
    for (uint32_t i = 0; joined != NULL && i < joined->inputs_count; i++)
        below += joined->inputs[i]->busy;
    return op->busy > below ? op->busy - below : 0;
}

/* What a source read before it gave rows; no operator's rows. */
static bool print_step(struct printer *printer, const struct kpi_op *op, uint32_t number)
{
    struct kp_buf detail = {0};
    uint64_t rows = 0;
    bool more = op->class->source->step(op, number, &detail, &rows);
    if (more) {
        add_number(printer->table, KP_TYPE_I64, ++printer->step);
        add_text(printer->table, KP_STR("read"));
        add_text(printer->table, (struct kp_str){kp_buf_cstr(&detail), (uint32_t)detail.size});
        add_number(printer->table, KP_TYPE_I64, (int64_t)rows);
        add_number(printer->table, KP_TYPE_I64, 0);
        add_number(printer->table, KP_TYPE_DUR, 0);
    }
    kp_buf_deinit(&detail);
    return more;
}

static void print_op(struct printer *printer, const struct kpi_op *op)
{
    struct kpi_op *table = printer->table;
    const struct kpi_sides_op *joined = kpi_sides_of((struct kpi_op *)(uintptr_t)op);
    if (op->input != NULL)
        print_op(printer, op->input);
    for (uint32_t i = 0; joined != NULL && i < joined->inputs_count; i++)
        print_op(printer, joined->inputs[i]);
    for (uint32_t i = 0;
         printer->analyze && op->class->source != NULL && op->class->source->step != NULL; i++)
        if (!print_step(printer, op, i))
            break;
    struct kp_buf detail = {0};
    if (op->class->describe != NULL)
        op->class->describe(op, &detail);
    add_number(table, KP_TYPE_I64, ++printer->step);
    add_text(table, kp_str_from(op->class->name));
    add_text(table, (struct kp_str){kp_buf_cstr(&detail), (uint32_t)detail.size});
    kp_buf_deinit(&detail);
    if (!printer->analyze)
        return;
    add_number(table, KP_TYPE_I64, (int64_t)op->rows_out);
    add_number(table, KP_TYPE_I64, (int64_t)op->batches);
    add_number(table, KP_TYPE_DUR, own_time(op, joined));
}

/* How long each thread worked, when there were several. */
static void print_threads(const struct kpi_run *run, struct kp_buf *out)
{
    uint32_t count = KP_MAX(run->threads_used, 1u);
    kp_buf_printf(out, "%u thread%s", count, count > 1 ? "s" : "");
    for (uint32_t i = 0; count > 1 && i < count; i++) {
        char text[KP_DUR_TEXT_MAX];
        kp_dur_format(run->threads_busy[i], text);
        kp_buf_printf(out, "%s%s", i == 0 ? " of " : ", ", text);
    }
}

static void print_totals(struct printer *printer, const struct kpi_run *run)
{
    const struct kp_query_stat *stat = &run->stat;
    struct kp_buf text = {0};
    kp_buf_printf(&text, "%lu rows and %lu bytes read, %u of %u segments and %u of %u pages pruned",
                  (unsigned long)stat->rows_read, (unsigned long)stat->bytes_read,
                  stat->segments_pruned, stat->segments + stat->segments_pruned, stat->pages_pruned,
                  stat->pages + stat->pages_pruned);
    kp_buf_printf(&text, " (%u by time, %u by thread, %u by value), %u counted, ",
                  stat->pages_by_time, stat->pages_by_thread, stat->pages_by_value,
                  stat->pages_counted);
    kp_buf_printf(&text, "%zu bytes of memory, ", run->arena.used_bytes);
    print_threads(run, &text);
    add_number(printer->table, KP_TYPE_I64, ++printer->step);
    add_text(printer->table, KP_STR("total"));
    add_text(printer->table, (struct kp_str){kp_buf_cstr(&text), (uint32_t)text.size});
    kp_buf_deinit(&text);
    add_number(printer->table, KP_TYPE_I64, (int64_t)stat->rows_out);
    add_number(printer->table, KP_TYPE_I64, 0);
    add_number(printer->table, KP_TYPE_DUR, stat->elapsed);
}

struct kpi_op *kpi_explain(struct kpi_run *run, const struct kpi_op *planned, bool analyze)
{
    struct printer printer = {.analyze = analyze};
    printer.table = kpi_op_values(run, "explain", explain_fields,
                                  analyze ? (uint32_t)ANALYZE_FIELDS : (uint32_t)PLAN_FIELDS);
    if (printer.table == NULL || planned == NULL)
        return printer.table;
    print_op(&printer, planned);
    if (analyze)
        print_totals(&printer, run);
    return run->ctx.status == KP_OK ? printer.table : NULL;
}
