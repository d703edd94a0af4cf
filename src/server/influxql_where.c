/* SPDX-License-Identifier: Apache-2.0
 *
 * Conditions of InfluxQL as ours: AND and OR in small letters, = as ==, 'text' beside time as a
 * datetime, text beside a number as that number (a tag is always text for Grafana). /Regular
 * expressions/ as Grafana writes them for its variables, alternatives of plain text, become
 * comparisons, which prune; all others stay what they are. Bounds of the time are also kept as
 * numbers: filling goes from the one to the other.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "server/influxql.h"

#define REGEX_BYTES_MAX 4096

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

/* --- regular expressions --- */

static bool is_integer(struct kp_str text)
{
    uint32_t at = text.len > 0 && text.ptr[0] == '-' ? 1 : 0;
    bool any = at < text.len && text.len - at <= 18;
    for (; at < text.len; at++)
        any = any && text.ptr[at] >= '0' && text.ptr[at] <= '9';
    return any;
}

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

/* A pattern without (?i), ^, $ and the brackets around all of it. */
struct pattern {
    bool nocase, begin, whole;
    bool open; /* ^a|b$: the anchors are of single alternatives */
    struct kp_str body;
};

static struct pattern take_apart(struct kp_str text)
{
    struct pattern pattern = {.body = text};
    struct kp_str *body = &pattern.body;
    pattern.nocase = text.len >= 4 && memcmp(text.ptr, "(?i)", 4) == 0;
    body->ptr += pattern.nocase ? 4 : 0;
    body->len -= pattern.nocase ? 4 : 0;
    pattern.whole = strip(body, '^', '$');
    pattern.begin = !pattern.whole && body->len > 0 && body->ptr[0] == '^';
    body->ptr += pattern.begin;
    body->len -= pattern.begin;
    bool bracketed = strip(body, '(', ')');
    pattern.open = (pattern.begin || pattern.whole) && !bracketed && body->len > 0 &&
                   memchr(body->ptr, '|', body->len) != NULL;
    return pattern;
}

static bool is_anything(const struct pattern *pattern)
{
    return pattern->body.len == 0 || kp_str_equal(pattern->body, KP_STR(".*"));
}

/* The alternative that begins at *at, which is moved behind the | after it. */
static struct kp_str next_alternative(const struct pattern *pattern, uint32_t *at)
{
    struct kp_str body = pattern->body;
    uint32_t from = *at, end = from;
    while (end < body.len && body.ptr[end] != '|')
        end += body.ptr[end] == '\\' ? 2 : 1;
    end = KP_MIN(end, body.len);
    *at = end + 1;
    return (struct kp_str){body.ptr + from, end - from};
}

/* Adds name == 7 for an alternative of a number, else its text beside what is compared as it
 * prints. */
static bool add_alternative(struct kp_buf *out, struct kp_str name, const char *op,
                            struct kp_str part)
{
    enum kp_type type = type_of(name);
    bool text = type == KP_TYPE_STR;
    if (!text && type != KP_TYPE_NULL && strcmp(op, "==") == 0 && is_integer(part)) {
        kpi_iq_add_name(out, name);
        kp_buf_printf(out, " == %.*s", (int)part.len, part.ptr);
        return true;
    }
    kp_buf_text(out, text ? "" : "tostring(");
    kpi_iq_add_name(out, name);
    kp_buf_printf(out, text ? " %s '" : ") %s '", op);
    bool plain = plain_text(part, out);
    kp_buf_char(out, '\'');
    return plain;
}

/* Adds name op ('a') or name op 'a' or ... for the alternatives. */
static bool add_alternatives(struct kp_buf *out, struct kp_str name, const struct pattern *pattern)
{
    static const char *const ops[2][3] = {{"==", "startswith_cs", "contains_cs"},
                                          {"=~", "startswith", "contains"}};
    const char *op = ops[pattern->nocase][pattern->whole ? 0 : pattern->begin ? 1 : 2];
    for (uint32_t at = 0; at <= pattern->body.len;) {
        kp_buf_text(out, at > 0 ? " or " : "");
        if (!add_alternative(out, name, op, next_alternative(pattern, &at)))
            return false;
    }
    return true;
}

static bool matches_plain(const struct pattern *pattern, struct kp_str name, struct kp_str part)
{
    uint32_t last =
        pattern->whole || pattern->begin || part.len > name.len ? 0 : name.len - part.len;
    if (part.len > name.len || (pattern->whole && part.len != name.len))
        return false;
    for (uint32_t at = 0; at <= last; at++) {
        struct kp_str here = {name.ptr + at, part.len};
        if (pattern->nocase ? kp_str_equal_nocase(here, part) : kp_str_equal(here, part))
            return true;
    }
    return false;
}

kp_status kpi_iq_matches(struct kpi_iq *iq, struct kp_str name, bool *out)
{
    struct pattern pattern = take_apart(iq->token.text);
    bool good = iq->token.kind == KPI_IQ_REGEX && !pattern.open, found = is_anything(&pattern);
    for (uint32_t at = 0; good && !found && at <= pattern.body.len;) {
        struct kp_buf part = {0};
        good = plain_text(next_alternative(&pattern, &at), &part) && !part.failed;
        found = good && matches_plain(&pattern, name,
                                      (struct kp_str){kp_buf_cstr(&part), (uint32_t)part.size});
        kp_buf_deinit(&part);
    }
    if (!good)
        return kpi_iq_fail(iq, KP_UNSUPPORTED, "names are matched as by /^(a|b)$/ only; not");
    *out = found;
    return KP_OK;
}

/* name matches regex '...'; what is no text is compared as it prints. */
static void add_regex(struct kp_buf *out, struct kp_str name, struct kp_str pattern)
{
    struct kp_buf plain = {0};
    bool text = type_of(name) == KP_TYPE_STR;
    for (uint32_t i = 0; i < pattern.len; i++) /* only here a slash needs a backslash */
        if (!(pattern.ptr[i] == '\\' && i + 1 < pattern.len && pattern.ptr[i + 1] == '/'))
            kp_buf_char(&plain, pattern.ptr[i]);
    kp_buf_text(out, text ? "" : "tostring(");
    kpi_iq_add_name(out, name);
    kp_buf_text(out, text ? " matches regex @'" : ") matches regex @'");
    for (const char *c = kp_buf_cstr(&plain); *c != '\0'; c++)
        kp_buf_text(out, *c == '\'' ? "''" : (char[]){*c, '\0'});
    kp_buf_char(out, '\'');
    out->failed |= plain.failed;
    kp_buf_deinit(&plain);
}

kp_status kpi_iq_regex(struct kpi_iq *iq, struct kp_str name, bool negative, struct kp_buf *out)
{
    struct kp_str text = iq->token.text;
    if (iq->token.kind != KPI_IQ_REGEX || text.len > REGEX_BYTES_MAX)
        return kpi_iq_fail(iq, KP_INVALID, "a /regular expression/ is missing or too long");
    struct pattern pattern = take_apart(text);
    kp_buf_text(out, negative ? "not(" : "(");
    size_t from = out->size;
    if (is_anything(&pattern)) {
        kp_buf_text(out, "true");
    } else if (pattern.open || !add_alternatives(out, name, &pattern)) {
        out->size = from;
        add_regex(out, name, text);
    }
    kp_buf_char(out, ')');
    kpi_iq_next(iq);
    return KP_OK;
}

/* --- values --- */

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

/* --- bounds of time --- */

bool kpi_iq_duration(struct kpi_iq *iq, kp_dur *out)
{
    char text[32];
    struct kp_str token = iq->token.text;
    if (iq->token.kind != KPI_IQ_NUMBER || token.len == 0 || token.len > 24)
        return false;
    char last = token.ptr[token.len - 1];
    bool week = last == 'w';
    snprintf(text, sizeof(text), "%.*s%s", (int)(token.len - week), token.ptr,
             week          ? "d"
             : last == 'u' ? "s"
                           : "");
    kpi_iq_next(iq);
    return kp_dur_parse(kp_str_from(text), out) && (!week || !__builtin_mul_overflow(*out, 7, out));
}

/* 'text', a number (of ns, or with a unit), or now(). */
static bool read_term(struct kpi_iq *iq, kp_time *out)
{
    char text[32];
    char *end = NULL;
    if (iq->token.kind == KPI_IQ_TEXT) {
        bool good = kp_time_parse(iq->token.text, out);
        kpi_iq_next(iq);
        return good;
    }
    if (kpi_iq_take(iq, "now")) {
        *out = kp_time_now();
        return kpi_iq_take(iq, "(") && kpi_iq_take(iq, ")");
    }
    if (iq->token.kind != KPI_IQ_NUMBER || iq->token.text.len >= sizeof(text))
        return false;
    snprintf(text, sizeof(text), "%.*s", (int)iq->token.text.len, iq->token.text.ptr);
    *out = strtoll(text, &end, 10);
    if (*end != '\0')
        return kpi_iq_duration(iq, out);
    kpi_iq_next(iq);
    return true;
}

/* A sum of such, which ends at AND, a bracket or the end. */
static bool read_instant(struct kpi_iq *iq, kp_time *out)
{
    kp_time sum = 0, term = 0;
    if (!read_term(iq, &sum))
        return false;
    while (kpi_iq_is(iq, "+") || kpi_iq_is(iq, "-")) {
        bool minus = kpi_iq_take(iq, "-");
        if ((!minus && !kpi_iq_take(iq, "+")) || !read_term(iq, &term) ||
            (minus ? __builtin_sub_overflow(sum, term, &sum)
                   : __builtin_add_overflow(sum, term, &sum)))
            return false;
    }
    *out = sum;
    return true;
}

/* Keeps `time op ...`, which the current token begins, when it binds the whole condition. */
static void keep_bound(struct kpi_iq *iq, const char *op)
{
    struct kpi_iq ahead = *iq;
    kp_time at = 0;
    if (iq->depth > 0 || !read_instant(&ahead, &at))
        return;
    kp_time from = at, to = at;
    if (op[1] == '\0' &&
        (__builtin_add_overflow(at, 1, &from) || __builtin_sub_overflow(at, 1, &to)))
        return;
    if (op[0] == '>' || op[0] == '=') {
        iq->from = iq->has_from ? KP_MAX(iq->from, from) : from;
        iq->has_from = true;
    }
    if (op[0] == '<' || op[0] == '=') {
        iq->to = iq->has_to ? KP_MIN(iq->to, to) : to;
        iq->has_to = true;
    }
}

static void add_instant(struct kp_buf *out, struct kp_str name, const char *op, struct kp_str text)
{
    kpi_iq_add_name(out, name);
    kp_buf_printf(out, " %s ", op);
    add_time(out, text);
}

/* Nanoseconds since 1970, as a cell of ts_ns has them. */
static bool is_stamp(struct kp_str text)
{
    return is_integer(text) || (text.len == 19 && is_integer((struct kp_str){text.ptr, 18}) &&
                                is_integer((struct kp_str){text.ptr + 18, 1}) &&
                                memcmp(text.ptr, "9223372036854775807", 19) <= 0);
}

/* name op 'text': as a number where it is one, else what is no text is compared as it is shown.
 * ts_ns, which answers have besides their columns, is the time. */
static void add_text_comparison(struct kpi_iq *iq, struct kp_str name, const char *op,
                                struct kp_buf *out)
{
    struct kp_str text = iq->token.text;
    enum kp_type type = type_of(name);
    bool equal = strcmp(op, "==") == 0 || strcmp(op, "!=") == 0;
    bool number = type != KP_TYPE_STR && is_integer(text) && (type != KP_TYPE_NULL || !equal);
    bool stamp = type == KP_TYPE_NULL && kp_str_equal(name, KP_STR("ts_ns")) && is_stamp(text);
    bool printed = equal && !number && type != KP_TYPE_STR;
    if (stamp) {
        kp_buf_printf(out, "tolong(%s) %s ", iq->time != NULL ? iq->time : "ts", op);
    } else {
        kp_buf_text(out, printed ? "tostring(" : "");
        kpi_iq_add_name(out, name);
        kp_buf_printf(out, printed ? ") %s " : " %s ", op);
    }
    if (number || stamp)
        kp_buf_str(out, text);
    else
        kpi_iq_add_text(out, text);
}

/* name op value, the operator taken already. */
static kp_status add_comparison(struct kpi_iq *iq, struct kp_str name, const char *op,
                                struct kp_buf *out)
{
    struct kp_str text = iq->token.text;
    bool time = kp_str_equal_nocase(name, KP_STR("time")) || kp_str_equal(name, KP_STR("ts")) ||
                kp_str_equal(name, KP_STR("start"));
    if (time)
        keep_bound(iq, op);
    if (iq->token.kind != KPI_IQ_TEXT) { /* a number, now() - 1h: the condition's loop goes on */
        kpi_iq_add_name(out, name);
        kp_buf_printf(out, " %s ", op);
        return KP_OK;
    }
    if (time)
        add_instant(out, name, op, text);
    else
        add_text_comparison(iq, name, op, out);
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
        iq->either |= kpi_iq_is(iq, "or") && iq->depth == 0;
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
    iq->depth = 0;
    if (ends_condition(iq))
        return kpi_iq_fail(iq, KP_INVALID, "a condition is missing");
    while (status == KP_OK && (iq->depth > 0 || !ends_condition(iq)) &&
           iq->token.kind != KPI_IQ_END) {
        if (iq->token.kind == KPI_IQ_WORD || iq->token.kind == KPI_IQ_NAME) {
            status = add_word(iq, out);
            iq->depth += out->size > 0 && out->data[out->size - 1] == '(';
            continue;
        }
        iq->depth += kpi_iq_is(iq, "(");
        iq->depth -= kpi_iq_is(iq, ")");
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
