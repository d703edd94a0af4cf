/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads SELECT as Grafana's editor writes it:
 *
 *   SELECT mean("dur") AS "m", "f"::field * 2 FROM "db"."rp"."m" WHERE ...
 *   GROUP BY time(10s), "host"::tag fill(null) ORDER BY time DESC LIMIT 10
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "server/influxql_select.h"

#define AVERAGE_MAX 100 /* rows of moving_average */

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

static const char *const picks[] = {"distinct", "mode", "top", "bottom"};

bool kpi_iq_is_pick(struct kp_str name)
{
    for (size_t i = 0; i < KP_ARRAY_LEN(picks); i++)
        if (kp_str_equal_nocase(name, kp_str_from(picks[i])))
            return true;
    return false;
}

const char *kpi_iq_function(struct kp_str name, bool *out_known)
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
static void name_item(struct kpi_select *select, struct kpi_item *item, struct kp_str alias)
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

/* field) behind the brackets of a function in a function. */
static kp_status read_closed(struct kpi_iq *iq, struct kp_str *out)
{
    kp_status status = kpi_iq_name(iq, out);
    if (status == KP_OK && !kpi_iq_take(iq, ")"))
        return kpi_iq_fail(iq, KP_UNSUPPORTED, "one column and ) belong here, not more");
    return status;
}

/* top(field, 3), distinct(field). */
static kp_status read_pick(struct kpi_iq *iq, struct kpi_item *item)
{
    bool many = kp_str_equal_nocase(item->field, KP_STR("top")) ||
                kp_str_equal_nocase(item->field, KP_STR("bottom"));
    item->function = item->field;
    kpi_iq_next(iq);
    if (!many)
        return read_closed(iq, &item->field);
    kp_status status = kpi_iq_name(iq, &item->field);
    if (status == KP_OK && !kpi_iq_take(iq, ","))
        return kpi_iq_fail(iq, KP_INVALID, "a number of rows is missing");
    if (status == KP_OK)
        status = kpi_iq_count(iq, &item->rows);
    if (status == KP_OK && item->rows == 0)
        return kpi_iq_fail(iq, KP_INVALID, "at least one row is asked for; not 0");
    if (status == KP_OK && !kpi_iq_take(iq, ")"))
        return kpi_iq_fail(iq, KP_UNSUPPORTED, "one column, a number and ) belong here, not more");
    return status;
}

/* (field) or (field, 95) behind a function. */
static kp_status read_call(struct kpi_iq *iq, struct kpi_item *item)
{
    bool known = false;
    item->function = item->field;
    kpi_iq_function(item->function, &known);
    if (!known) {
        kp_error_set(iq->err, KP_UNSUPPORTED, "InfluxQL: function '%.*s' is not supported",
                     (int)KP_MIN(item->function.len, 40u), item->function.ptr);
        kp_error_hint(
            iq->err,
            "there are mean median mode percentile count sum min max spread stddev first last "
            "distinct top bottom, derivative and its like; or write it in kprobe's language");
        return KP_UNSUPPORTED;
    }
    kpi_iq_next(iq);
    if (kpi_iq_is(iq, "*"))
        return kpi_iq_fail(iq, KP_UNSUPPORTED, "name the column; a function takes no");
    kp_status status = kpi_iq_name(iq, &item->field);
    item->distinct = status == KP_OK && kp_str_equal_nocase(item->function, KP_STR("count")) &&
                     kp_str_equal_nocase(item->field, KP_STR("distinct")) && kpi_iq_take(iq, "(");
    if (item->distinct)
        status = read_closed(iq, &item->field);
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
static kp_status read_change(struct kpi_iq *iq, struct kpi_item *item)
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

static kp_status read_item(struct kpi_select *select)
{
    struct kpi_iq *iq = select->iq;
    struct kpi_item item = {0};
    struct kp_str alias = {NULL, 0};
    if (kpi_iq_take(iq, "*")) {
        select->all = true;
        return KP_OK;
    }
    if (select->items_count == KPI_ITEMS_MAX)
        return kpi_iq_fail(iq, KP_LIMIT, "too many columns");
    kp_status status = kpi_iq_name(iq, &item.field);
    if (status == KP_OK && kpi_iq_is(iq, "("))
        status = is_change(item.field)        ? read_change(iq, &item)
                 : kpi_iq_is_pick(item.field) ? read_pick(iq, &item)
                                              : read_call(iq, &item);
    if (status == KP_OK)
        status = read_math(iq, &item.math);
    if (status == KP_OK && kpi_iq_take(iq, "as"))
        status = kpi_iq_name(iq, &alias);
    if (status != KP_OK)
        return status;
    name_item(select, &item, alias);
    select->picks |= kpi_iq_is_pick(item.function);
    select->aggregates |= item.function.len > 0;
    select->changes |= item.change.len > 0;
    select->items[select->items_count++] = item;
    return KP_OK;
}

static kp_status read_from(struct kpi_select *select)
{
    struct kpi_iq *iq = select->iq;
    struct kpi_iq_from from;
    if (!kpi_iq_take(iq, "from"))
        return kpi_iq_fail(iq, KP_INVALID, "FROM is missing");
    struct kpi_iq_token token = iq->token;
    kp_status status = kpi_iq_from(iq, &from);
    if (status == KP_OK && from.count != 1) {
        iq->token = token;
        return kpi_iq_fail(iq, KP_UNSUPPORTED,
                           from.count == 0 ? "no measurement matches"
                                           : "one measurement at a time; several match");
    }
    select->from = from.names[0];
    return status;
}

static kp_status read_group(struct kpi_select *select)
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
            if (select->tags_count == KPI_TAGS_MAX)
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

static kp_status read_order(struct kpi_select *select)
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

/* tz('UTC') changes nothing. */
static kp_status read_zone(struct kpi_iq *iq)
{
    if (!kpi_iq_take(iq, "("))
        return kpi_iq_fail(iq, KP_INVALID, "( is missing behind tz");
    if (iq->token.kind != KPI_IQ_TEXT || (!kp_str_equal_nocase(iq->token.text, KP_STR("UTC")) &&
                                          !kp_str_equal_nocase(iq->token.text, KP_STR("Etc/UTC"))))
        return kpi_iq_fail(iq, KP_UNSUPPORTED, "times are UTC; there is no time zone");
    kpi_iq_next(iq);
    return kpi_iq_take(iq, ")") ? KP_OK : kpi_iq_fail(iq, KP_INVALID, ") is missing");
}

static kp_status read_clauses(struct kpi_select *select, struct kpi_inquiry *out)
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
        else if (kpi_iq_take(iq, "tz"))
            status = read_zone(iq);
        else if (!kpi_iq_take(iq, ";"))
            status = kpi_iq_fail(iq, KP_UNSUPPORTED, "this is not supported");
    }
    return status;
}

static kp_status check(const struct kpi_select *select, const struct kpi_inquiry *out)
{
    bool mixed = select->all && select->items_count > 0;
    for (uint32_t i = 0; i < select->items_count; i++)
        mixed |= select->aggregates && select->items[i].function.len == 0;
    if (mixed)
        return kp_error_set(select->iq->err, KP_UNSUPPORTED,
                            "InfluxQL: columns and aggregates cannot be mixed, nor * with others");
    if (select->changes && (select->descending || out->fill > KPI_FILL_NULL))
        return kp_error_set(select->iq->err, KP_UNSUPPORTED,
                            "InfluxQL: functions of neighbouring rows take fill(null), fill(none) "
                            "and ascending times only");
    if (select->picks && (select->items_count > 1 || select->items[0].math.len > 0))
        return kp_error_set(select->iq->err, KP_UNSUPPORTED,
                            "InfluxQL: distinct, mode, top and bottom stand alone");
    if (select->step > 0 && !select->aggregates)
        return kp_error_set(select->iq->err, KP_INVALID,
                            "InfluxQL: GROUP BY time needs a function, as mean(\"dur\")");
    return KP_OK;
}

kp_status kpi_iq_select(struct kpi_iq *iq, struct kpi_inquiry *out)
{
    struct kpi_select *select = calloc(1, sizeof(*select));
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
        kpi_iq_write(select, out);
    out->text.failed |= select->where.failed;
    kp_buf_deinit(&select->where);
    free(select);
    return status;
}
