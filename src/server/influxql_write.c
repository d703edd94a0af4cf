/* SPDX-License-Identifier: Apache-2.0
 *
 * A SELECT in our language: scan, where, summarize or project, sort by tags and time, project in
 * the order time, tags, values, take. Rows with equal tags stand together, so that a series is a
 * run of rows.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "server/influxql_select.h"

static void add_value(struct kp_buf *out, const struct kpi_item *item)
{
    struct kp_buf column = {0};
    bool known = false;
    const char *ours = item->distinct           ? "dcount(%s)"
                       : item->function.len > 0 ? kpi_iq_function(item->function, &known)
                                                : "%s";
    kpi_iq_add_name(&column, item->field);
    kp_buf_char(out, '(');
    for (const char *c = ours; *c != '\0'; c++) {
        if (c[0] != '%') {
            kp_buf_char(out, *c);
            continue;
        }
        bool number = item->argument.len > 0 && c > ours && c[-1] == ' ';
        kp_buf_str(out, number ? item->argument
                               : (struct kp_str){kp_buf_cstr(&column), (uint32_t)column.size});
        c++;
    }
    kp_buf_char(out, ')');
    if (item->change.len == 0)
        kp_buf_str(out, item->math);
    out->failed |= column.failed;
    kp_buf_deinit(&column);
}

static bool is_edge(const struct kpi_item *item)
{
    bool known = false;
    return item->function.len > 0 && !kpi_iq_is_pick(item->function) &&
           kpi_iq_function(item->function, &known) == NULL;
}

/* first and last keep their column's name in arg_min and arg_max: copies with names of our own. */
static void add_edges(struct kp_buf *out, const struct kpi_select *select)
{
    for (uint32_t i = 0; i < select->items_count; i++) {
        if (!is_edge(&select->items[i]))
            continue;
        kp_buf_printf(out, " | extend edge_%u = ", i);
        kpi_iq_add_name(out, select->items[i].field);
    }
}

/* One value that some row has stands at the time of that row. */
static bool is_selector(const struct kpi_select *select)
{
    struct kp_str function = select->items[0].function;
    return select->items_count == 1 && select->step == 0 && select->items[0].math.len == 0 &&
           !select->changes &&
           (kp_str_equal_nocase(function, KP_STR("max")) ||
            kp_str_equal_nocase(function, KP_STR("min")) || is_edge(&select->items[0]));
}

/* One value of `summarize`. */
static void add_aggregate(struct kp_buf *out, const struct kpi_select *select, uint32_t i)
{
    const struct kpi_item *item = &select->items[i];
    bool alone = is_selector(select);
    if (is_edge(item)) {
        bool last = kp_str_equal_nocase(item->function, KP_STR("last"));
        if (alone)
            kp_buf_text(out, "ts");
        else
            kp_buf_printf(out, "edge_ts_%u", i);
        kp_buf_printf(out, " = %s(ts, edge_%u)", last ? "arg_max" : "arg_min", i);
        return;
    }
    kp_buf_printf(out, "value_%u = ", i);
    if (!alone) {
        add_value(out, item);
        return;
    }
    bool most = kp_str_equal_nocase(item->function, KP_STR("max"));
    kp_buf_text(out, most ? "arg_max(" : "arg_min(");
    kpi_iq_add_name(out, item->field);
    kp_buf_text(out, ", ts)");
}

/* The instant a row's step begins. */
static void add_step(struct kp_buf *out, const struct kpi_select *select)
{
    kp_buf_printf(out, "bin_at(ts, %" PRId64 "ns, datetime(1970-01-01) + %" PRId64 "ns)",
                  select->step, select->offset);
}

/* Without steps, a value of many rows stands where the range begins. */
static void add_begin(struct kp_buf *out, const struct kpi_select *select)
{
    const struct kpi_iq *iq = select->iq;
    kp_buf_printf(out, " | extend ts = datetime(1970-01-01) + %" PRId64 "ns",
                  iq->has_from && !iq->either ? iq->from : 0);
}

static void add_aggregates(struct kp_buf *out, const struct kpi_select *select)
{
    add_edges(out, select);
    kp_buf_text(out, " | summarize ");
    for (uint32_t i = 0; i < select->items_count; i++) {
        kp_buf_text(out, i > 0 ? ", " : "");
        add_aggregate(out, select, i);
    }
    for (uint32_t i = 0; i < select->tags_count; i++) {
        kp_buf_text(out, i == 0 ? " by " : ", ");
        kpi_iq_add_name(out, select->tags[i]);
    }
    if (select->step > 0) {
        kp_buf_text(out, select->tags_count > 0 ? ", ts = " : " by ts = ");
        add_step(out, select);
    } else if (!is_selector(select)) {
        add_begin(out, select);
    }
}

/* Where nothing was seen there is no row, also none of a count. */
static void add_seen(struct kp_buf *out, const struct kpi_select *select)
{
    for (uint32_t i = 0; i < select->items_count; i++) {
        bool count = kp_str_equal_nocase(select->items[i].function, KP_STR("count"));
        kp_buf_text(out, i == 0 ? " | where " : " or ");
        if (is_edge(&select->items[i]))
            kp_buf_printf(out, "isnotnull(edge_%u)", i);
        else if (count)
            kp_buf_printf(out, "value_%u != 0", i);
        else
            kp_buf_printf(out, "isnotnull(value_%u)", i);
    }
}

static void add_order(struct kp_buf *out, const struct kpi_select *select)
{
    kp_buf_text(out, " | sort by ");
    for (uint32_t i = 0; i < select->tags_count; i++) {
        kpi_iq_add_name(out, select->tags[i]);
        kp_buf_text(out, " asc, ");
    }
    kp_buf_text(out, select->descending ? "ts desc" : "ts asc");
    if (select->picks && select->items[0].rows == 0)
        kp_buf_text(out, ", since asc");
}

/* The row before is of the same series. */
static void add_same(struct kp_buf *out, const struct kpi_select *select, uint64_t rows)
{
    kp_buf_text(out, "true");
    for (uint32_t i = 0; i < select->tags_count; i++) {
        kp_buf_text(out, " and prev(");
        kpi_iq_add_name(out, select->tags[i]);
        kp_buf_printf(out, ", %" PRIu64 ") == ", rows);
        kpi_iq_add_name(out, select->tags[i]);
    }
}

/* --- rows that are picked --- */

/* The tags and the step that rows are picked among, each with `order` behind it. */
static void add_among(struct kp_buf *out, const struct kpi_select *select, const char *order)
{
    for (uint32_t i = 0; i < select->tags_count; i++) {
        kpi_iq_add_name(out, select->tags[i]);
        kp_buf_printf(out, "%s, ", order);
    }
    if (select->step > 0)
        kp_buf_printf(out, "step%s, ", order);
}

/* Keeps the first rows of each group, in the order that was made. */
static void add_first(struct kp_buf *out, const struct kpi_select *select, uint64_t rows)
{
    kp_buf_text(out, " | extend place = row_number(1, not(");
    add_same(out, select, 1);
    if (select->step > 0)
        kp_buf_text(out, " and prev(step) == step");
    kp_buf_printf(out, ")) | where place <= %" PRIu64, rows);
}

/* distinct, mode: the values there are, with how often and since when. */
static void add_values(struct kp_buf *out, const struct kpi_select *select)
{
    kp_buf_text(out, " | summarize times = count(), since = min(ts) by ");
    add_among(out, select, "");
    kp_buf_text(out, "value_0");
    if (kp_str_equal_nocase(select->items[0].function, KP_STR("mode"))) {
        kp_buf_text(out, " | sort by ");
        add_among(out, select, " asc");
        kp_buf_text(out, "times desc, since asc");
        add_first(out, select, 1);
    }
    if (select->step > 0)
        kp_buf_text(out, " | extend ts = step");
    else
        add_begin(out, select);
}

static void add_picks(struct kp_buf *out, const struct kpi_select *select)
{
    const struct kpi_item *item = &select->items[0];
    kp_buf_text(out, " | extend value_0 = ");
    kpi_iq_add_name(out, item->field);
    if (select->step > 0) {
        kp_buf_text(out, ", step = ");
        add_step(out, select);
    }
    kp_buf_text(out, " | where isnotnull(value_0)");
    if (item->rows == 0) {
        add_values(out, select);
        return;
    }
    kp_buf_text(out, " | sort by ");
    add_among(out, select, " asc");
    bool top = kp_str_equal_nocase(item->function, KP_STR("top"));
    kp_buf_printf(out, "value_0 %s, ts asc", top ? "desc" : "asc");
    add_first(out, select, item->rows);
}

/* What a change makes of `value` (a name) and the rows before it. */
static void add_formula(struct kp_buf *out, const struct kpi_select *select,
                        const struct kpi_item *item, const char *value)
{
    kp_dur unit = item->unit != 0 ? item->unit : select->step > 0 ? select->step : KP_SEC;
    if (kp_str_equal_nocase(item->change, KP_STR("moving_average"))) {
        kp_buf_printf(out, "(%s", value);
        for (uint64_t i = 1; i < item->rows; i++)
            kp_buf_printf(out, " + prev(%s, %" PRIu64 ")", value, i);
        kp_buf_printf(out, ") / %" PRIu64, item->rows);
    } else if (kp_str_equal_nocase(item->change, KP_STR("elapsed"))) {
        kp_buf_printf(out, "todouble(tolong(ts - prev(ts)) / %" PRId64 ")",
                      item->unit != 0 ? item->unit : 1);
    } else {
        bool rate =
            item->change.len >= 10 &&
            kp_str_equal_nocase((struct kp_str){item->change.ptr + item->change.len - 10, 10},
                                KP_STR("derivative"));
        kp_buf_printf(out, "(%s - prev(%s))", value, value);
        if (rate)
            kp_buf_printf(out, " / (todouble(tolong(ts - prev(ts))) / %" PRId64 ")", unit);
    }
}

/* The items that compare neighbouring rows, over rows in order; where none has a value there is no
 * row. */
static void add_changes(struct kp_buf *out, const struct kpi_select *select)
{
    for (uint32_t i = 0; i < select->items_count; i++) {
        const struct kpi_item *item = &select->items[i];
        char value[24];
        if (item->change.len == 0)
            continue;
        snprintf(value, sizeof(value), is_edge(item) ? "edge_%u" : "value_%u", i);
        kp_buf_printf(out, " | extend %s = todouble(%s) | extend %s = ", value, value, value);
        if (kp_str_equal_nocase(item->change, KP_STR("cumulative_sum"))) {
            kp_buf_printf(out, "row_cumsum(%s, not(", value);
            add_same(out, select, 1);
            kp_buf_text(out, "))");
            continue;
        }
        kp_buf_text(out, "iff(");
        add_same(out, select, item->rows > 1 ? item->rows - 1 : 1);
        kp_buf_text(out, ", ");
        add_formula(out, select, item, value);
        kp_buf_text(out, ", real(null))");
        if (kp_str_equal_nocase((struct kp_str){item->change.ptr, KP_MIN(item->change.len, 12u)},
                                KP_STR("non_negative")))
            kp_buf_printf(out, " | extend %s = iff(%s >= 0, %s, real(null))", value, value, value);
    }
    for (uint32_t i = 0; i < select->items_count; i++)
        kp_buf_printf(out, "%sisnotnull(%s_%u)", i == 0 ? " | where " : " or ",
                      is_edge(&select->items[i]) ? "edge" : "value", i);
}

static void add_project(struct kp_buf *out, const struct kpi_select *select)
{
    if (select->all && select->tags_count == 0)
        return;
    kp_buf_text(out, select->all ? " | project-reorder ts" : " | project ts");
    for (uint32_t i = 0; i < select->tags_count; i++) {
        kp_buf_text(out, ", ");
        kpi_iq_add_name(out, select->tags[i]);
    }
    for (uint32_t i = 0; i < select->items_count; i++) {
        const struct kpi_item *item = &select->items[i];
        kp_buf_text(out, ", ");
        kpi_iq_add_name(out, kp_str_from(item->name));
        kp_buf_text(out, " = ");
        if (is_edge(item) || item->change.len > 0) {
            kp_buf_printf(out, is_edge(item) ? "edge_%u" : "value_%u", i);
            kp_buf_str(out, item->math);
        } else if (select->aggregates || select->changes)
            kp_buf_printf(out, "value_%u", i);
        else
            add_value(out, item);
    }
}

/* What filling has to know. */
static void note_steps(const struct kpi_select *select, struct kpi_inquiry *out)
{
    const struct kpi_iq *iq = select->iq;
    out->step_offset = select->step > 0 ? select->offset % select->step : 0;
    out->has_from = iq->has_from && !iq->either;
    out->has_to = iq->has_to && !iq->either;
    out->from = iq->from;
    out->to = iq->to;
    for (uint32_t i = 0; i < select->items_count; i++)
        if (kp_str_equal_nocase(select->items[i].function, KP_STR("count")))
            out->counts |= (uint64_t)1 << i;
}

void kpi_iq_write(struct kpi_select *select, struct kpi_inquiry *out)
{
    kp_buf_str(&out->text, select->from);
    if (select->where.size > 0)
        kp_buf_printf(&out->text, " | where %s", kp_buf_cstr(&select->where));
    if (select->picks)
        add_picks(&out->text, select);
    else if (select->aggregates)
        add_aggregates(&out->text, select);
    if (select->aggregates && !select->picks && select->step == 0)
        add_seen(&out->text, select);
    for (uint32_t i = 0; select->changes && !select->aggregates && i < select->items_count; i++) {
        kp_buf_printf(&out->text, " | extend value_%u = ", i);
        add_value(&out->text, &select->items[i]);
    }
    add_order(&out->text, select);
    if (select->changes)
        add_changes(&out->text, select);
    out->tags = select->tags_count;
    bool as_is = select->changes || (select->picks && select->items[0].rows > 0);
    out->step = out->fill == KPI_FILL_NONE || as_is ? 0 : select->step;
    out->descending = select->descending;
    if (out->limit > 0 && out->tags == 0 && out->step == 0) /* the first of one series */
        kp_buf_printf(&out->text, " | take %" PRIu64, out->limit + out->offset);
    add_project(&out->text, select);
    note_steps(select, out);
    snprintf(out->name, sizeof(out->name), "%.*s", (int)KP_MIN(select->from.len, KPI_NAME_MAX - 1u),
             select->from.ptr);
}
