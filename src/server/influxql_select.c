/* SPDX-License-Identifier: Apache-2.0
 *
 * SELECT as Grafana's editor writes it:
 *
 *   SELECT mean("dur") AS "m", "f"::field * 2 FROM "db"."rp"."m" WHERE ...
 *   GROUP BY time(10s), "host"::tag fill(null) ORDER BY time DESC LIMIT 10
 *
 * becomes scan, where, summarize or project, sort by tags and time, project in the order time,
 * tags, values, take. Rows with equal tags stand together, so that a series is a run of rows.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "server/influxql.h"

#define ITEMS_MAX   32
#define AVERAGE_MAX 100 /* rows of moving_average */
#define TAGS_MAX    16

struct item {
    struct kp_str field;
    struct kp_str function; /* empty: the column itself */
    struct kp_str argument; /* of percentile */
    struct kp_str math;     /* "* 2" behind it, or empty */
    struct kp_str change;   /* derivative and its like around it, or empty */
    kp_dur unit;            /* of change; 0 = its default */
    uint64_t rows;          /* of moving_average */
    char name[KPI_NAME_MAX];
};

struct select {
    struct kpi_iq *iq;
    struct item items[ITEMS_MAX];
    uint32_t items_count;
    bool all, aggregates, changes;
    struct kp_str from;
    struct kp_buf where;
    struct kp_str tags[TAGS_MAX];
    uint32_t tags_count;
    kp_dur step, offset;
    bool descending;
};

/* Aggregates; %s is the column. first and last need the row and are made apart. */
static const struct {
    const char *name, *ours;
} functions[] = {
    {"mean", "avg(%s)"},
    {"median", "percentile(%s, 50)"},
    {"percentile", "percentile(%s, %s)"},
    {"count", "countif(isnotnull(%s))"},
    {"sum", "sum(%s)"},
    {"min", "min(%s)"},
    {"max", "max(%s)"},
    {"spread", "max(%s) - min(%s)"},
    {"stddev", "stdev(todouble(%s))"},
    {"first", NULL},
    {"last", NULL},
};

static const char *find_function(struct kp_str name, bool *out_known)
{
    *out_known = false;
    for (size_t i = 0; i < KP_ARRAY_LEN(functions); i++) {
        if (kp_str_equal_nocase(name, kp_str_from(functions[i].name))) {
            *out_known = true;
            return functions[i].ours;
        }
    }
    return NULL;
}

/* Functions of neighbouring rows, around a column or an aggregate. */
static const char *const changes[] = {
    "derivative",     "non_negative_derivative", "difference", "non_negative_difference",
    "cumulative_sum", "moving_average",          "elapsed",
};

static bool is_change(struct kp_str name)
{
    for (size_t i = 0; i < KP_ARRAY_LEN(changes); i++)
        if (kp_str_equal_nocase(name, kp_str_from(changes[i])))
            return true;
    return false;
}

/* --- reading --- */

static bool is_arithmetic(const struct kpi_iq *iq)
{
    return iq->token.kind == KPI_IQ_SIGN && strchr("+-*/%", iq->token.text.ptr[0]) != NULL;
}

/* "/ 1000 + 1" behind a column: kept as it stands. */
static kp_status read_math(struct kpi_iq *iq, struct kp_str *out)
{
    uint32_t from = iq->token.at, to = from;
    while (is_arithmetic(iq)) {
        kpi_iq_next(iq);
        iq->value_next = false;
        if (iq->token.kind != KPI_IQ_NUMBER)
            return kpi_iq_fail(iq, KP_UNSUPPORTED, "only numbers can be reckoned with");
        to = iq->token.end;
        kpi_iq_next(iq);
    }
    *out = (struct kp_str){iq->text.ptr + from, to - from};
    return KP_OK;
}

/* Name of a result: the alias, else the function's or the column's, with a number when taken. */
static void name_item(struct select *select, struct item *item, struct kp_str alias)
{
    struct kp_str name = alias.ptr != NULL        ? alias
                         : item->change.len > 0   ? item->change
                         : item->function.len > 0 ? item->function
                                                  : item->field;
    char base[KPI_NAME_MAX - 8];
    snprintf(base, sizeof(base), "%.*s", (int)KP_MIN(name.len, sizeof(base) - 1), name.ptr);
    if (alias.ptr == NULL && item->function.len + item->change.len > 0)
        for (char *c = base; *c != '\0'; c++)
            *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
    snprintf(item->name, sizeof(item->name), "%s", base);
    for (uint32_t number = 1, i = 0; i < select->items_count; i++) {
        if (strcmp(select->items[i].name, item->name) == 0) {
            snprintf(item->name, sizeof(item->name), "%s_%u", base, number++);
            i = UINT32_MAX; /* from the beginning again */
        }
    }
}

/* (field) or (field, 95) behind a function. */
static kp_status read_call(struct kpi_iq *iq, struct item *item)
{
    bool known = false;
    item->function = item->field;
    find_function(item->function, &known);
    if (!known) {
        kp_error_set(iq->err, KP_UNSUPPORTED, "InfluxQL: function '%.*s' is not supported",
                     (int)KP_MIN(item->function.len, 40u), item->function.ptr);
        kp_error_hint(
            iq->err,
            "there are mean median percentile count sum min max spread stddev "
            "first last, derivative and its like; or write the query in kprobe's language");
        return KP_UNSUPPORTED;
    }
    kpi_iq_next(iq);
    kp_status status = kpi_iq_name(iq, &item->field);
    if (status == KP_OK && kpi_iq_take(iq, ",")) {
        item->argument = iq->token.text;
        if (iq->token.kind != KPI_IQ_NUMBER)
            return kpi_iq_fail(iq, KP_INVALID, "a number is missing");
        kpi_iq_next(iq);
    }
    if (status == KP_OK &&
        kp_str_equal_nocase(item->function, KP_STR("percentile")) != (item->argument.len > 0))
        return kpi_iq_fail(iq, KP_INVALID, "percentile takes a number, the others do not,");
    if (status == KP_OK && !kpi_iq_take(iq, ")"))
        return kpi_iq_fail(iq, KP_UNSUPPORTED, "one column and ) belong here, not more");
    return status;
}

/* change(field), change(mean(field)), and its unit or number of rows. */
static kp_status read_change(struct kpi_iq *iq, struct item *item)
{
    item->change = item->field;
    kpi_iq_next(iq);
    kp_status status = kpi_iq_name(iq, &item->field);
    if (status == KP_OK && kpi_iq_is(iq, "("))
        status = read_call(iq, item);
    bool average = kp_str_equal_nocase(item->change, KP_STR("moving_average"));
    bool more = status == KP_OK && kpi_iq_take(iq, ",");
    if (more && average)
        status = kpi_iq_count(iq, &item->rows);
    else if (more && (!kpi_iq_duration(iq, &item->unit) || item->unit <= 0))
        return kpi_iq_fail(iq, KP_INVALID, "the unit must be a duration, as 1s,");
    if (status == KP_OK && average && (item->rows < 2 || item->rows > AVERAGE_MAX))
        return kpi_iq_fail(iq, KP_INVALID, "moving_average needs 2 to 100 rows");
    if (status == KP_OK && !kpi_iq_take(iq, ")"))
        return kpi_iq_fail(iq, KP_INVALID, ") is missing");
    return status;
}

static kp_status read_item(struct select *select)
{
    struct kpi_iq *iq = select->iq;
    struct item item = {0};
    struct kp_str alias = {NULL, 0};
    if (kpi_iq_take(iq, "*")) {
        select->all = true;
        return KP_OK;
    }
    if (select->items_count == ITEMS_MAX)
        return kpi_iq_fail(iq, KP_LIMIT, "too many columns");
    kp_status status = kpi_iq_name(iq, &item.field);
    if (status == KP_OK && kpi_iq_is(iq, "("))
        status = is_change(item.field) ? read_change(iq, &item) : read_call(iq, &item);
    if (status == KP_OK)
        status = read_math(iq, &item.math);
    if (status == KP_OK && kpi_iq_take(iq, "as"))
        status = kpi_iq_name(iq, &alias);
    if (status != KP_OK)
        return status;
    name_item(select, &item, alias);
    select->aggregates |= item.function.len > 0;
    select->changes |= item.change.len > 0;
    select->items[select->items_count++] = item;
    return KP_OK;
}

static kp_status read_from(struct select *select)
{
    struct kpi_iq *iq = select->iq;
    if (!kpi_iq_take(iq, "from"))
        return kpi_iq_fail(iq, KP_INVALID, "FROM is missing");
    kp_status status = kpi_iq_table(iq, &select->from);
    while (status == KP_OK && kpi_iq_take(iq, ".")) { /* "db"."rp"."m", "db".."m" */
        kpi_iq_take(iq, ".");
        status = kpi_iq_table(iq, &select->from);
    }
    if (status == KP_OK && kpi_iq_is(iq, ","))
        return kpi_iq_fail(iq, KP_UNSUPPORTED, "one measurement at a time");
    return status;
}

static kp_status read_group(struct select *select)
{
    struct kpi_iq *iq = select->iq;
    if (!kpi_iq_take(iq, "by"))
        return kpi_iq_fail(iq, KP_INVALID, "BY is missing behind GROUP");
    do {
        struct kp_str name;
        if (kpi_iq_is(iq, "*"))
            return kpi_iq_fail(iq, KP_UNSUPPORTED, "name the tags to group by; not");
        kp_status status = kpi_iq_name(iq, &name);
        if (status != KP_OK)
            return status;
        if (!kp_str_equal_nocase(name, KP_STR("time")) || !kpi_iq_take(iq, "(")) {
            if (select->tags_count == TAGS_MAX)
                return kpi_iq_fail(iq, KP_LIMIT, "too many tags");
            select->tags[select->tags_count++] = name;
            continue;
        }
        if (!kpi_iq_duration(iq, &select->step) || select->step <= 0)
            return kpi_iq_fail(iq, KP_INVALID, "time() needs a duration, as 10s,");
        if (kpi_iq_take(iq, ",") && !kpi_iq_duration(iq, &select->offset))
            return kpi_iq_fail(iq, KP_INVALID, "the offset of time() is not a duration");
        if (!kpi_iq_take(iq, ")"))
            return kpi_iq_fail(iq, KP_INVALID, ") is missing");
    } while (kpi_iq_take(iq, ","));
    return KP_OK;
}

/* As JSON has it: 7 or 1.5. */
static bool is_number(struct kp_str text)
{
    uint32_t points = 0;
    for (uint32_t i = 0; i < text.len; i++) {
        points += text.ptr[i] == '.';
        if (text.ptr[i] != '.' && (text.ptr[i] < '0' || text.ptr[i] > '9'))
            return false;
    }
    bool zero = text.len > 1 && text.ptr[0] == '0' && text.ptr[1] != '.';
    return text.len > 0 && text.len < 24 && points < 2 && !zero && text.ptr[0] != '.' &&
           text.ptr[text.len - 1] != '.';
}

static kp_status read_fill(struct kpi_iq *iq, struct kpi_inquiry *out)
{
    if (!kpi_iq_take(iq, "("))
        return kpi_iq_fail(iq, KP_INVALID, "( is missing behind fill");
    bool minus = kpi_iq_take(iq, "-");
    struct kp_str number = iq->token.text;
    if (iq->token.kind == KPI_IQ_NUMBER && is_number(number)) {
        out->fill = KPI_FILL_VALUE;
        snprintf(out->fill_value, sizeof(out->fill_value), "%s%.*s", minus ? "-" : "",
                 (int)number.len, number.ptr);
    } else if (!minus && kpi_iq_is(iq, "null")) {
        out->fill = KPI_FILL_NULL;
    } else if (!minus && kpi_iq_is(iq, "none")) {
        out->fill = KPI_FILL_NONE;
    } else if (!minus && kpi_iq_is(iq, "previous")) {
        out->fill = KPI_FILL_PREVIOUS;
    } else if (!minus && kpi_iq_is(iq, "linear")) {
        out->fill = KPI_FILL_LINEAR;
    } else {
        return kpi_iq_fail(iq, KP_INVALID, "fill is null, none, previous, linear or a number; not");
    }
    kpi_iq_next(iq);
    return kpi_iq_take(iq, ")") ? KP_OK : kpi_iq_fail(iq, KP_INVALID, ") is missing");
}

static kp_status read_order(struct select *select)
{
    struct kpi_iq *iq = select->iq;
    if (!kpi_iq_take(iq, "by") || !kpi_iq_take(iq, "time"))
        return kpi_iq_fail(iq, KP_UNSUPPORTED, "ORDER BY time is the only order");
    select->descending = kpi_iq_take(iq, "desc");
    kpi_iq_take(iq, "asc");
    return KP_OK;
}

kp_status kpi_iq_count(struct kpi_iq *iq, uint64_t *out)
{
    struct kp_str text = iq->token.text;
    uint64_t count = 0;
    bool good = iq->token.kind == KPI_IQ_NUMBER && text.len < 16;
    for (uint32_t i = 0; good && i < text.len; i++) {
        good = text.ptr[i] >= '0' && text.ptr[i] <= '9';
        count = count * 10 + (uint64_t)(text.ptr[i] - '0');
    }
    if (!good)
        return kpi_iq_fail(iq, KP_INVALID, "a number is missing");
    *out = count;
    kpi_iq_next(iq);
    return KP_OK;
}

static kp_status read_clauses(struct select *select, struct kpi_inquiry *out)
{
    struct kpi_iq *iq = select->iq;
    kp_status status = KP_OK;
    out->fill = KPI_FILL_NULL; /* InfluxDB's default */
    while (status == KP_OK && iq->token.kind != KPI_IQ_END) {
        if (kpi_iq_take(iq, "where") && select->where.size == 0)
            status = kpi_iq_where(iq, &select->where);
        else if (kpi_iq_take(iq, "group"))
            status = read_group(select);
        else if (kpi_iq_take(iq, "fill"))
            status = read_fill(iq, out);
        else if (kpi_iq_take(iq, "order"))
            status = read_order(select);
        else if (kpi_iq_take(iq, "limit"))
            status = kpi_iq_count(iq, &out->limit);
        else if (kpi_iq_take(iq, "offset"))
            status = kpi_iq_count(iq, &out->offset);
        else if (kpi_iq_take(iq, "slimit"))
            status = kpi_iq_count(iq, &out->slimit);
        else if (kpi_iq_take(iq, "soffset"))
            status = kpi_iq_count(iq, &out->soffset);
        else if (!kpi_iq_take(iq, ";"))
            status = kpi_iq_fail(iq, KP_UNSUPPORTED, "this is not supported");
    }
    return status;
}

/* --- writing --- */

static void add_value(struct kp_buf *out, const struct item *item)
{
    struct kp_buf column = {0};
    bool known = false;
    const char *ours = item->function.len > 0 ? find_function(item->function, &known) : "%s";
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

static bool is_edge(const struct item *item)
{
    bool known = false;
    return item->function.len > 0 && find_function(item->function, &known) == NULL;
}

/* first and last keep their column's name in arg_min and arg_max: copies with names of our own. */
static void add_edges(struct kp_buf *out, const struct select *select)
{
    for (uint32_t i = 0; i < select->items_count; i++) {
        if (!is_edge(&select->items[i]))
            continue;
        kp_buf_printf(out, " | extend edge_%u = ", i);
        kpi_iq_add_name(out, select->items[i].field);
    }
}

/* One value that some row has stands at the time of that row. */
static bool is_selector(const struct select *select)
{
    struct kp_str function = select->items[0].function;
    return select->items_count == 1 && select->step == 0 && select->items[0].math.len == 0 &&
           !select->changes &&
           (kp_str_equal_nocase(function, KP_STR("max")) ||
            kp_str_equal_nocase(function, KP_STR("min")) || is_edge(&select->items[0]));
}

/* One value of `summarize`. */
static void add_aggregate(struct kp_buf *out, const struct select *select, uint32_t i)
{
    const struct item *item = &select->items[i];
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

static void add_aggregates(struct kp_buf *out, const struct select *select)
{
    const struct kpi_iq *iq = select->iq;
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
    if (select->step > 0)
        kp_buf_printf(out,
                      "%s ts = bin_at(ts, %" PRId64 "ns, datetime(1970-01-01) + %" PRId64 "ns)",
                      select->tags_count > 0 ? "," : " by", select->step, select->offset);
    else if (!is_selector(select)) /* where the range begins */
        kp_buf_printf(out, " | extend ts = datetime(1970-01-01) + %" PRId64 "ns",
                      iq->has_from && !iq->either ? iq->from : 0);
}

static void add_order(struct kp_buf *out, const struct select *select)
{
    kp_buf_text(out, " | sort by ");
    for (uint32_t i = 0; i < select->tags_count; i++) {
        kpi_iq_add_name(out, select->tags[i]);
        kp_buf_text(out, " asc, ");
    }
    kp_buf_text(out, select->descending ? "ts desc" : "ts asc");
}

/* The row before is of the same series. */
static void add_same(struct kp_buf *out, const struct select *select, uint64_t rows)
{
    kp_buf_text(out, "true");
    for (uint32_t i = 0; i < select->tags_count; i++) {
        kp_buf_text(out, " and prev(");
        kpi_iq_add_name(out, select->tags[i]);
        kp_buf_printf(out, ", %" PRIu64 ") == ", rows);
        kpi_iq_add_name(out, select->tags[i]);
    }
}

/* What a change makes of `value` (a name) and the rows before it. */
static void add_formula(struct kp_buf *out, const struct select *select, const struct item *item,
                        const char *value)
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
static void add_changes(struct kp_buf *out, const struct select *select)
{
    for (uint32_t i = 0; i < select->items_count; i++) {
        const struct item *item = &select->items[i];
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

static void add_project(struct kp_buf *out, const struct select *select)
{
    if (select->all)
        return;
    kp_buf_text(out, " | project ts");
    for (uint32_t i = 0; i < select->tags_count; i++) {
        kp_buf_text(out, ", ");
        kpi_iq_add_name(out, select->tags[i]);
    }
    for (uint32_t i = 0; i < select->items_count; i++) {
        const struct item *item = &select->items[i];
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

static kp_status check(const struct select *select, const struct kpi_inquiry *out)
{
    bool mixed = select->all && (select->items_count > 0 || select->tags_count > 0);
    for (uint32_t i = 0; i < select->items_count; i++)
        mixed |= select->aggregates && select->items[i].function.len == 0;
    if (mixed)
        return kp_error_set(select->iq->err, KP_UNSUPPORTED,
                            "InfluxQL: columns and aggregates cannot be mixed, nor * with others");
    if (select->changes && (select->descending || out->fill > KPI_FILL_NULL))
        return kp_error_set(select->iq->err, KP_UNSUPPORTED,
                            "InfluxQL: functions of neighbouring rows take fill(null), fill(none) "
                            "and ascending times only");
    if (select->step > 0 && !select->aggregates)
        return kp_error_set(select->iq->err, KP_INVALID,
                            "InfluxQL: GROUP BY time needs a function, as mean(\"dur\")");
    return KP_OK;
}

/* What filling has to know. */
static void note_steps(const struct select *select, struct kpi_inquiry *out)
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

static void write_query(struct select *select, struct kpi_inquiry *out)
{
    kp_buf_str(&out->text, select->from);
    if (select->where.size > 0)
        kp_buf_printf(&out->text, " | where %s", kp_buf_cstr(&select->where));
    if (select->aggregates)
        add_aggregates(&out->text, select);
    for (uint32_t i = 0; select->changes && !select->aggregates && i < select->items_count; i++) {
        kp_buf_printf(&out->text, " | extend value_%u = ", i);
        add_value(&out->text, &select->items[i]);
    }
    add_order(&out->text, select);
    if (select->changes)
        add_changes(&out->text, select);
    out->tags = select->tags_count;
    out->step = out->fill == KPI_FILL_NONE || select->changes ? 0 : select->step;
    out->descending = select->descending;
    if (out->limit > 0 && out->tags == 0 && out->step == 0) /* the first of one series */
        kp_buf_printf(&out->text, " | take %" PRIu64, out->limit + out->offset);
    add_project(&out->text, select);
    note_steps(select, out);
    snprintf(out->name, sizeof(out->name), "%.*s", (int)KP_MIN(select->from.len, KPI_NAME_MAX - 1u),
             select->from.ptr);
}

kp_status kpi_iq_select(struct kpi_iq *iq, struct kpi_inquiry *out)
{
    struct select *select = calloc(1, sizeof(*select));
    kp_status status = KP_OK;
    if (select == NULL)
        return kp_error_set(iq->err, KP_NO_MEMORY, "no memory for the statement");
    select->iq = iq;
    kpi_iq_next(iq);
    do {
        status = read_item(select);
    } while (status == KP_OK && kpi_iq_take(iq, ","));
    if (status == KP_OK)
        status = read_from(select);
    if (status == KP_OK)
        status = read_clauses(select, out);
    if (status == KP_OK)
        status = check(select, out);
    if (status == KP_OK)
        write_query(select, out);
    out->text.failed |= select->where.failed;
    kp_buf_deinit(&select->where);
    free(select);
    return status;
}
