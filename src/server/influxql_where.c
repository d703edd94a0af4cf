/* SPDX-License-Identifier: Apache-2.0
 *
 * Conditions of InfluxQL as ours: AND and OR in small letters, = as ==, 'text' beside time as a
 * datetime, text beside a number as that number (a tag is always text for Grafana), and /regular
 * expressions/ as far as Grafana writes them for its variables: alternatives of plain text.
 */
#include "base/assert.h"
#include "server/influxql.h"

#define ALTERNATIVES_BYTES_MAX 4096

/* --- regular expressions --- */

/* The plain text of one alternative; false when it is more than that. */
static bool plain_text(struct kp_str pattern, struct kp_buf *out)
{
    for (uint32_t i = 0; i < pattern.len; i++) {
        char c = pattern.ptr[i];
        if (c == '\\' && i + 1 < pattern.len) {
            c = pattern.ptr[++i];
            if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
                return false; /* \d and the like */
        } else if (c == '\0' || strchr(".*+?[]{}()^$|", c) != NULL) {
            return false;
        }
        if (c == '\'' || c == '\\')
            kp_buf_char(out, '\\');
        kp_buf_char(out, c);
    }
    return true;
}

static bool strip(struct kp_str *text, char begin, char end)
{
    bool has_end =
        text->len >= 2 && text->ptr[text->len - 1] == end && text->ptr[text->len - 2] != '\\';
    if (text->len < 2 || text->ptr[0] != begin || !has_end)
        return false;
    text->ptr++;
    text->len -= 2;
    return true;
}

/* Adds name op ('a') or name op 'a' or ... for the alternatives. */
static bool add_alternatives(struct kp_buf *out, struct kp_str name, const char *op,
                             struct kp_str pattern)
{
    uint32_t from = 0;
    for (uint32_t at = 0; at <= pattern.len; at++) {
        if (at < pattern.len && pattern.ptr[at] == '\\')
            at++;
        if (at < pattern.len && pattern.ptr[at] != '|')
            continue;
        uint32_t end = KP_MIN(at, pattern.len);
        if (from > 0)
            kp_buf_text(out, " or ");
        kpi_iq_add_name(out, name);
        kp_buf_printf(out, " %s '", op);
        if (!plain_text((struct kp_str){pattern.ptr + from, end - from}, out))
            return false;
        kp_buf_char(out, '\'');
        from = end + 1;
    }
    return true;
}

kp_status kpi_iq_regex(struct kpi_iq *iq, struct kp_str name, bool negative, struct kp_buf *out)
{
    static const char *const ops[2][3] = {{"==", "startswith_cs", "contains_cs"},
                                          {"=~", "startswith", "contains"}};
    struct kp_str pattern = iq->token.text;
    if (iq->token.kind != KPI_IQ_REGEX || pattern.len > ALTERNATIVES_BYTES_MAX)
        return kpi_iq_fail(iq, KP_INVALID, "a /regular expression/ is missing or too long");
    bool nocase = pattern.len >= 4 && memcmp(pattern.ptr, "(?i)", 4) == 0;
    pattern.ptr += nocase ? 4 : 0;
    pattern.len -= nocase ? 4 : 0;
    bool whole = strip(&pattern, '^', '$');
    bool begin = !whole && pattern.len > 0 && pattern.ptr[0] == '^';
    pattern.ptr += begin;
    pattern.len -= begin;
    strip(&pattern, '(', ')');
    kp_buf_text(out, negative ? "not(" : "(");
    if (pattern.len == 0 || kp_str_equal(pattern, KP_STR(".*")))
        kp_buf_text(out, "true");
    else if (!add_alternatives(out, name, ops[nocase][whole ? 0 : begin ? 1 : 2], pattern))
        return kpi_iq_fail(iq, KP_UNSUPPORTED,
                           "only alternatives of plain text can be matched, as /^(a|b)$/; not");
    kp_buf_char(out, ')');
    kpi_iq_next(iq);
    return KP_OK;
}

/* --- values --- */

static enum kp_type type_of(struct kp_str name)
{
    uint32_t count = 0;
    const struct kp_stream *streams = kp_streams(&count);
    for (uint32_t i = 0; i < count; i++) {
        const struct kp_query_column *column = kp_stream_column(&streams[i], name);
        if (column != NULL)
            return column->type;
    }
    return KP_TYPE_NULL; /* of a table that is no stream, or made in the query */
}

static bool is_integer(struct kp_str text)
{
    uint32_t at = text.len > 0 && text.ptr[0] == '-' ? 1 : 0;
    bool any = at < text.len && text.len - at <= 18;
    for (; at < text.len; at++)
        any = any && text.ptr[at] >= '0' && text.ptr[at] <= '9';
    return any;
}

static void add_time(struct kp_buf *out, struct kp_str text)
{
    kp_buf_text(out, "datetime(");
    for (uint32_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if ((c >= '0' && c <= '9') || c == '-' || c == ':' || c == '.' || c == '+' || c == 'Z')
            kp_buf_char(out, c);
        else
            kp_buf_char(out, c == 'T' || c == ' ' ? 'T' : '?'); /* '?' is refused with its place */
    }
    kp_buf_char(out, ')');
}

/* name op value, the operator taken already. */
static kp_status add_comparison(struct kpi_iq *iq, struct kp_str name, const char *op,
                                struct kp_buf *out)
{
    struct kp_str text = iq->token.text;
    if (iq->token.kind != KPI_IQ_TEXT) { /* a number, now() - 1h: the condition's loop goes on */
        kpi_iq_add_name(out, name);
        kp_buf_printf(out, " %s ", op);
        return KP_OK;
    }
    bool time = kp_str_equal_nocase(name, KP_STR("time")) || kp_str_equal(name, KP_STR("ts")) ||
                kp_str_equal(name, KP_STR("start"));
    enum kp_type type = type_of(name);
    bool number = type != KP_TYPE_STR && is_integer(text);
    if (number && type == KP_TYPE_NULL) {
        kp_buf_text(out, "tostring(");
        kpi_iq_add_name(out, name);
        kp_buf_char(out, ')');
    } else {
        kpi_iq_add_name(out, name);
    }
    kp_buf_printf(out, " %s ", op);
    if (time)
        add_time(out, text);
    else if (number && type != KP_TYPE_NULL)
        kp_buf_str(out, text);
    else
        kpi_iq_add_text(out, text);
    kpi_iq_next(iq);
    return KP_OK;
}

/* --- the condition --- */

/* Durations of InfluxQL that ours spells otherwise: 5u and 1w. */
static void add_number(struct kp_buf *out, struct kp_str text)
{
    char last = text.len > 0 ? text.ptr[text.len - 1] : '\0';
    uint32_t digits = 0;
    while (digits < text.len && text.ptr[digits] >= '0' && text.ptr[digits] <= '9')
        digits++;
    bool plain = digits + 1 == text.len;
    kp_buf_str(out, (struct kp_str){text.ptr, plain && last == 'w' ? digits : text.len});
    if (plain && last == 'u')
        kp_buf_char(out, 's');
    else if (plain && last == 'w')
        kp_buf_text(out, "d * 7");
}

static const char *comparison(const struct kpi_iq *iq)
{
    static const char *const ops[][2] = {{"=", "=="}, {"==", "=="}, {"!=", "!="}, {"<>", "!="},
                                         {"<", "<"},  {"<=", "<="}, {">", ">"},   {">=", ">="}};
    for (size_t i = 0; i < KP_ARRAY_LEN(ops); i++)
        if (kpi_iq_is(iq, ops[i][0]))
            return ops[i][1];
    return NULL;
}

static bool ends_condition(const struct kpi_iq *iq)
{
    return iq->token.kind == KPI_IQ_END || kpi_iq_is(iq, "group") || kpi_iq_is(iq, "order") ||
           kpi_iq_is(iq, "limit") || kpi_iq_is(iq, "fill") || kpi_iq_is(iq, "offset") ||
           kpi_iq_is(iq, "slimit") || kpi_iq_is(iq, "soffset") || kpi_iq_is(iq, "tz") ||
           kpi_iq_is(iq, "|") || kpi_iq_is(iq, ";");
}

/* A name, or a word that stays as it is: and, or, now(), true, a word operator of ours. */
static kp_status add_word(struct kpi_iq *iq, struct kp_buf *out)
{
    struct kp_str name = iq->token.text;
    struct kpi_iq ahead = *iq;
    kpi_iq_next(&ahead);
    if (iq->token.kind == KPI_IQ_WORD && (kpi_iq_is(iq, "and") || kpi_iq_is(iq, "or"))) {
        kp_buf_text(out, kpi_iq_is(iq, "and") ? " and " : " or ");
        kpi_iq_next(iq);
        return KP_OK;
    }
    bool compares = kpi_iq_is(&ahead, "::") || kpi_iq_is(&ahead, "=~") || kpi_iq_is(&ahead, "!~") ||
                    comparison(&ahead) != NULL;
    if (!compares && iq->token.kind == KPI_IQ_WORD) {
        kp_buf_char(out, ' ');
        kp_buf_str(out, name);
        kp_buf_char(out, kpi_iq_is(&ahead, "(") ? '(' : ' ');
        *iq = ahead;
        kpi_iq_take(iq, "(");
        return KP_OK;
    }
    kp_status status = kpi_iq_name(iq, &name);
    if (status != KP_OK)
        return status;
    if (iq->time != NULL && kp_str_equal_nocase(name, KP_STR("time")))
        name = kp_str_from(iq->time);
    const char *op = comparison(iq);
    bool negative = kpi_iq_is(iq, "!~");
    bool regex = negative || kpi_iq_is(iq, "=~");
    if (op == NULL && !regex) {
        kpi_iq_add_name(out, name);
        return KP_OK;
    }
    kpi_iq_next(iq);
    return regex && iq->token.kind == KPI_IQ_REGEX
               ? kpi_iq_regex(iq, name, negative, out)
               : add_comparison(iq, name, regex ? negative ? "!~" : "=~" : op, out);
}

kp_status kpi_iq_where(struct kpi_iq *iq, struct kp_buf *out)
{
    kp_status status = KP_OK;
    int depth = 0;
    if (ends_condition(iq))
        return kpi_iq_fail(iq, KP_INVALID, "a condition is missing");
    while (status == KP_OK && (depth > 0 || !ends_condition(iq)) && iq->token.kind != KPI_IQ_END) {
        if (iq->token.kind == KPI_IQ_WORD || iq->token.kind == KPI_IQ_NAME) {
            status = add_word(iq, out);
            depth += out->size > 0 && out->data[out->size - 1] == '(';
            continue;
        }
        depth += kpi_iq_is(iq, "(");
        depth -= kpi_iq_is(iq, ")");
        if (iq->token.kind == KPI_IQ_TEXT)
            kpi_iq_add_text(out, iq->token.text);
        else if (iq->token.kind == KPI_IQ_NUMBER)
            add_number(out, iq->token.text);
        else if (iq->token.kind == KPI_IQ_REGEX)
            return kpi_iq_fail(iq, KP_INVALID, "a regular expression cannot stand here");
        else if (comparison(iq) != NULL)
            kp_buf_printf(out, " %s ", comparison(iq));
        else
            kp_buf_str(out, iq->token.text);
        kpi_iq_next(iq);
    }
    return status;
}
