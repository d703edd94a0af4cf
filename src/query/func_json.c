/* SPDX-License-Identifier: Apache-2.0
 *
 * Dynamic values: JSON text, walked in place. Nothing is parsed into a tree; a member is found by
 * scanning, which for the short attribute objects of spans costs less than building one. Malformed
 * text has no members.
 */
#include <math.h>
#include <stdlib.h>

#include "query/func.h"

#define JSON_DEPTH_MAX 64

struct cursor {
    const char *at, *end;
};

static void skip_blanks(struct cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || (*c->at >= '\t' && *c->at <= '\r')))
        c->at++;
}

static bool take(struct cursor *c, char wanted)
{
    skip_blanks(c);
    if (c->at == c->end || *c->at != wanted)
        return false;
    c->at++;
    return true;
}

/* A string with its quotes; single quotes as in KQL literals are accepted. */
static bool skip_string(struct cursor *c)
{
    char quote = *c->at++;
    while (c->at < c->end && *c->at != quote)
        c->at += *c->at == '\\' && c->at + 1 < c->end ? 2 : 1;
    if (c->at >= c->end)
        return false;
    c->at++;
    return true;
}

static bool at_quote(const struct cursor *c)
{
    return c->at < c->end && (*c->at == '"' || *c->at == '\'');
}

/* Any value; brackets are matched by count, strings respected. */
static bool skip_value(struct cursor *c, struct kp_str *out)
{
    skip_blanks(c);
    const char *from = c->at;
    int depth = 0;
    while (c->at < c->end) {
        char ch = *c->at;
        if (at_quote(c)) {
            if (!skip_string(c))
                return false;
            if (depth == 0)
                break;
            continue;
        }
        if (depth == 0 && (ch == ',' || ch == ']' || ch == '}'))
            break;
        depth += ch == '[' || ch == '{';
        depth -= ch == ']' || ch == '}';
        c->at++;
        if ((depth == 0 && (ch == ']' || ch == '}')) || depth > JSON_DEPTH_MAX)
            break;
    }
    const char *to = c->at;
    while (to > from && (to[-1] == ' ' || (to[-1] >= '\t' && to[-1] <= '\r')))
        to--;
    *out = (struct kp_str){from, (uint32_t)(to - from)};
    return to > from && depth == 0;
}

struct kp_str kpi_json_member(struct kp_str json, struct kp_str key)
{
    struct cursor c = {json.ptr, json.ptr + json.len};
    struct kp_str none = {NULL, 0}, value;
    if (!take(&c, '{'))
        return none;
    for (;;) {
        skip_blanks(&c);
        const char *from = c.at;
        if (!at_quote(&c) || !skip_string(&c))
            return none;
        struct kp_str name = {from + 1, (uint32_t)(c.at - from) - 2};
        if (!take(&c, ':') || !skip_value(&c, &value))
            return none;
        if (kp_str_equal(name, key))
            return value;
        if (!take(&c, ','))
            return none;
    }
}

static int64_t element_count(struct kp_str json)
{
    struct cursor c = {json.ptr, json.ptr + json.len};
    struct kp_str value;
    int64_t count = 0;
    if (!take(&c, '['))
        return -1;
    while (skip_value(&c, &value)) {
        count++;
        if (!take(&c, ','))
            break;
    }
    return take(&c, ']') ? count : -1;
}

struct kp_str kpi_json_element(struct kp_str json, int64_t index)
{
    struct cursor c = {json.ptr, json.ptr + json.len};
    struct kp_str none = {NULL, 0}, value;
    if (index < 0)
        index += KP_MAX(element_count(json), 0);
    if (index < 0 || !take(&c, '['))
        return none;
    while (skip_value(&c, &value)) {
        if (index-- == 0)
            return value;
        if (!take(&c, ','))
            return none;
    }
    return none;
}

static bool hex4(const char *at, const char *end, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < 4; i++) {
        if (at + i >= end)
            return false;
        char c = at[i];
        unsigned digit = c >= '0' && c <= '9'                 ? (unsigned)(c - '0')
                         : (c | 32) >= 'a' && (c | 32) <= 'f' ? (unsigned)((c | 32) - 'a' + 10)
                                                              : 16;
        if (digit > 15)
            return false;
        *out = *out * 16 + digit;
    }
    return true;
}

static uint32_t put_code(char *to, uint32_t code)
{
    if (code < 0x80) {
        to[0] = (char)code;
        return 1;
    }
    uint32_t tails = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const unsigned char heads[] = {0, 0xc0, 0xe0, 0xf0};
    to[0] = (char)(heads[tails] | code >> (6 * tails));
    for (uint32_t i = 1; i <= tails; i++)
        to[i] = (char)(0x80 | (code >> (6 * (tails - i)) & 63));
    return tails + 1;
}

/* \uXXXX at *at (past the u), with its low surrogate when there is one. */
static uint32_t put_escape(char *to, const char **at, const char *end)
{
    uint32_t code, low;
    if (!hex4(*at, end, &code)) {
        to[0] = '?';
        return 1;
    }
    *at += 4;
    if (code >= 0xd800 && code < 0xdc00 && *at + 6 <= end && (*at)[0] == '\\' && (*at)[1] == 'u' &&
        hex4(*at + 2, end, &low) && low >= 0xdc00 && low < 0xe000) {
        *at += 6;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    return put_code(to, code);
}

struct kp_str kpi_json_plain(struct kpi_eval *eval, struct kp_str json)
{
    struct cursor c = {json.ptr, json.ptr + json.len};
    skip_blanks(&c);
    if (!at_quote(&c))
        return kp_str_equal(json, KP_STR("null")) ? KP_STR("") : json;
    const char *at = c.at + 1, *end = c.end - 1;
    if (end < at || *end != *c.at)
        return json;
    if (memchr(at, '\\', (size_t)(end - at)) == NULL)
        return (struct kp_str){at, (uint32_t)(end - at)};
    char *copy = kpi_scratch(eval, (size_t)(end - at) + 4);
    uint32_t used = 0;
    if (copy == NULL)
        return KP_STR("");
    while (at < end) {
        char ch = *at++;
        if (ch != '\\' || at == end) {
            copy[used++] = ch;
            continue;
        }
        ch = *at++;
        static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
        const char *known = memchr(from, ch, 5);
        if (ch == 'u')
            used += put_escape(copy + used, &at, end);
        else
            copy[used++] = known != NULL ? to[known - from] : ch;
    }
    return (struct kp_str){copy, used};
}

void kpi_json_quote(struct kp_str text, struct kp_buf *out)
{
    kp_buf_char(out, '"');
    for (uint32_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c == '"' || c == '\\')
            kp_buf_printf(out, "\\%c", c);
        else if (c < 0x20)
            kp_buf_printf(out, "\\u%04x", c);
        else
            kp_buf_char(out, (char)c);
    }
    kp_buf_char(out, '"');
}

/* --- walking --- */

bool kpi_json_array(struct kp_str json, struct kpi_json_walk *out)
{
    struct cursor c = {json.ptr, json.ptr + json.len};
    bool good = take(&c, '[');
    *out = (struct kpi_json_walk){c.at, c.end};
    return good;
}

bool kpi_json_next(struct kpi_json_walk *walk, struct kp_str *out_value)
{
    struct cursor c = {walk->at, walk->end};
    if (!skip_value(&c, out_value))
        return false;
    take(&c, ',');
    walk->at = c.at;
    return true;
}

bool kpi_json_object(struct kp_str json, struct kpi_json_walk *out)
{
    struct cursor c = {json.ptr, json.ptr + json.len};
    bool good = take(&c, '{');
    *out = (struct kpi_json_walk){c.at, c.end};
    return good;
}

bool kpi_json_next_member(struct kpi_json_walk *walk, struct kp_str *out_key,
                          struct kp_str *out_value)
{
    struct cursor c = {walk->at, walk->end};
    skip_blanks(&c);
    const char *from = c.at;
    if (!at_quote(&c) || !skip_string(&c))
        return false;
    struct kp_str key = {from + 1, (uint32_t)(c.at - from) - 2};
    if (!take(&c, ':') || !skip_value(&c, out_value))
        return false;
    take(&c, ',');
    *out_key = key;
    walk->at = c.at;
    return true;
}

void kpi_json_value(const struct kpi_value *value, struct kp_buf *out)
{
    struct kp_buf text = {0};
    char instant[KP_TIME_TEXT_MAX];
    switch (value->null ? KP_TYPE_NULL : value->type) {
    case KP_TYPE_STR:
        kpi_json_quote(value->str, out);
        break;
    case KP_TYPE_DYN:
        kp_buf_str(out, value->str.len == 0 ? KP_STR("null") : value->str);
        break;
    case KP_TYPE_TIME:
        kp_time_format(value->i64, instant);
        kp_buf_printf(out, "\"%s\"", instant);
        break;
    case KP_TYPE_DUR:
        kpi_timespan_text(value->i64, &text);
        kp_buf_printf(out, "\"%s\"", kp_buf_cstr(&text));
        break;
    case KP_TYPE_NULL:
        kp_buf_text(out, "null");
        break;
    case KP_TYPE_F64:
        if (!isfinite(value->f64)) {
            kp_buf_text(out, "null"); /* JSON has no such numbers */
            break;
        }
        kpi_value_text(value, out);
        break;
    default:
        kpi_value_text(value, out);
        break;
    }
    kp_buf_deinit(&text);
}

/* --- functions --- */

static void answer(struct kpi_call *call, uint32_t row, struct kp_str value)
{
    if (kp_str_equal(value, KP_STR("null")))
        value.len = 0;
    kpi_set_str(call, row, value.ptr, value.len);
}

static void k_member_name(struct kpi_call *call)
{
    KPI_EACH(
        call, row,
        answer(call, row,
               kpi_json_member(kp_vec_str(call->args[0], row), kp_vec_str(call->args[1], row))));
}

static void k_member_index(struct kpi_call *call)
{
    KPI_EACH(call, row,
             answer(call, row,
                    kpi_json_element(kp_vec_str(call->args[0], row), call->args[1]->i64[row])));
}

static void k_same(struct kpi_call *call)
{
    KPI_EACH(call, row, call->out->strs[row] = kp_vec_str(call->args[0], row));
}

static void k_length(struct kpi_call *call)
{
    KPI_EACH(call, row, int64_t count = element_count(kp_vec_str(call->args[0], row));
             call->out->i64[row] = count; if (count < 0) kpi_set_null(call, row));
}

/* Follows $.a.b[2]['c d']; stops with nothing at the first step that is not there. */
static struct kp_str follow(struct kp_str path, struct kp_str json)
{
    struct cursor c = {path.ptr, path.ptr + path.len};
    if (c.at < c.end && *c.at == '$')
        c.at++;
    while (c.at < c.end && json.ptr != NULL) {
        const char *from = c.at + 1;
        if (*c.at == '.') {
            for (c.at++; c.at < c.end && *c.at != '.' && *c.at != '[';)
                c.at++;
            json = kpi_json_member(json, (struct kp_str){from, (uint32_t)(c.at - from)});
        } else if (*c.at == '[') {
            const char *close = memchr(from, ']', (size_t)(c.end - from));
            if (close == NULL)
                return (struct kp_str){NULL, 0};
            bool quoted = close - from >= 2 && (*from == '\'' || *from == '"');
            struct kp_str name = {from + 1, quoted ? (uint32_t)(close - from) - 2 : 0};
            json = quoted ? kpi_json_member(json, name) : kpi_json_element(json, atoll(from));
            c.at = close + 1;
        } else {
            return (struct kp_str){NULL, 0};
        }
    }
    return json;
}

static void k_extract_json(struct kpi_call *call)
{
    KPI_EACH(call, row,
             struct kp_str found =
                 follow(kp_vec_str(call->args[0], row), kp_vec_str(call->args[1], row));
             found = kpi_json_plain(call->eval, found);
             kpi_set_str(call, row, found.ptr, found.len));
}

static const struct kpi_func funcs[] = {
    {"member", "ys", 'y', 0, k_member_name, NULL},
    {"member", "yl", 'y', 0, k_member_index, NULL},
    {"member", "ss", 'y', 0, k_member_name, NULL},
    {"member", "sl", 'y', 0, k_member_index, NULL},
    {"parse_json", "s", 'y', 0, k_same, "JSON text as dynamic: .name and [n] reach into it"},
    {"parse_json", "y", 'y', 0, k_same, NULL},
    {"todynamic", "s", 'y', 0, k_same, "same as parse_json()"},
    {"todynamic", "y", 'y', 0, k_same, NULL},
    {"extract_json", "ss", 's', 0, k_extract_json, "value at a path ($.a.b[0]) of a JSON text"},
    {"extract_json", "sy", 's', 0, k_extract_json, NULL},
    {"parsejson", "s", 'y', 0, k_same, "same as parse_json()"},
    {"dynamic_to_json", "y", 's', 0, k_same, "a dynamic as JSON text"},
    {"extractjson", "ss", 's', 0, k_extract_json, "same as extract_json()"},
    {"array_length", "y", 'l', 0, k_length, "elements of an array"},
};

const struct kpi_func_table kpi_funcs_json = {funcs, KP_ARRAY_LEN(funcs)};
