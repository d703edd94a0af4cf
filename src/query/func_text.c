/* SPDX-License-Identifier: Apache-2.0
 *
 * Strings. Positions and lengths count UTF-8 characters; case is ASCII only. `has` looks for whole
 * terms: runs of letters, digits and bytes above ASCII.
 */
#include <stdio.h>

#include "base/hash.h"
#include "query/func.h"

static char lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

static char upper(char c)
{
    return (char)(c >= 'a' && c <= 'z' ? c - 32 : c);
}

static bool same(char a, char b, bool nocase)
{
    return nocase ? lower(a) == lower(b) : a == b;
}

static bool match_at(struct kp_str text, uint32_t at, struct kp_str part, bool nocase)
{
    if (part.len > text.len - at)
        return false;
    for (uint32_t i = 0; i < part.len; i++)
        if (!same(text.ptr[at + i], part.ptr[i], nocase))
            return false;
    return true;
}

/* The same for parts of any length, which count as work where they begin to fit. */
#define SHORT_PART 64
static bool long_match_at(struct kpi_ctx *ctx, struct kp_str text, uint32_t at, struct kp_str part,
                          bool nocase)
{
    if (part.len > SHORT_PART &&
        (!same(text.ptr[at], part.ptr[0], nocase) || !kpi_go_on(ctx, part.len)))
        return false;
    return match_at(text, at, part, nocase);
}

static int64_t find_long(struct kpi_ctx *ctx, struct kp_str text, struct kp_str part, uint32_t from,
                         bool nocase)
{
    for (uint32_t at = from; at <= text.len && part.len <= text.len - at; at++)
        if (long_match_at(ctx, text, at, part, nocase))
            return at;
    return -1;
}

/* Byte position of part at or after `from`, or -1. */
static int64_t find(struct kpi_ctx *ctx, struct kp_str text, struct kp_str part, uint32_t from,
                    bool nocase)
{
    if (part.len > SHORT_PART)
        return find_long(ctx, text, part, from, nocase);
    for (uint32_t at = from; at <= text.len && part.len <= text.len - at; at++)
        if (match_at(text, at, part, nocase))
            return at;
    return -1;
}

static bool in_term(char c)
{
    return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') ||
           (unsigned char)c >= 0x80;
}

enum { EDGE_LEFT = 1, EDGE_RIGHT = 2 };

static bool has_term(struct kpi_ctx *ctx, struct kp_str text, struct kp_str part, bool nocase,
                     int edges)
{
    if (part.len == 0)
        return true;
    for (int64_t at = find(ctx, text, part, 0, nocase); at >= 0;
         at = find(ctx, text, part, (uint32_t)at + 1, nocase)) {
        uint32_t end = (uint32_t)at + part.len;
        bool left = at == 0 || !in_term(text.ptr[at - 1]) || !in_term(part.ptr[0]);
        bool right = end == text.len || !in_term(text.ptr[end]) || !in_term(part.ptr[part.len - 1]);
        if ((left || (edges & EDGE_LEFT) == 0) && (right || (edges & EDGE_RIGHT) == 0))
            return true;
    }
    return false;
}

static bool starts(struct kp_str text, struct kp_str part, bool nocase)
{
    return match_at(text, 0, part, nocase);
}

static bool ends(struct kp_str text, struct kp_str part, bool nocase)
{
    return part.len <= text.len && match_at(text, text.len - part.len, part, nocase);
}

/* Each test in four forms: ignoring case and exact, plain and negated. */
#define TEST(name, expr)                                                    \
    static void name(struct kpi_call *call)                                 \
    {                                                                       \
        const struct kp_vec *va = call->args[0], *vb = call->args[1];       \
        int64_t *out = call->out->i64;                                      \
        KPI_EACH(call, row, struct kp_str a = kp_vec_str(va, row);          \
                 struct kp_str b = kp_vec_str(vb, row); out[row] = (expr)); \
    }
#define CTX call->eval->ctx
#define TESTS(name, test)               \
    TEST(name, test(a, b, true))        \
    TEST(name##_cs, test(a, b, false))  \
    TEST(not_##name, !test(a, b, true)) \
    TEST(not_##name##_cs, !test(a, b, false))
#define TERM(a, b, nocase)   has_term(CTX, a, b, nocase, EDGE_LEFT | EDGE_RIGHT)
#define PREFIX(a, b, nocase) has_term(CTX, a, b, nocase, EDGE_LEFT)
#define SUFFIX(a, b, nocase) has_term(CTX, a, b, nocase, EDGE_RIGHT)
#define INSIDE(a, b, nocase) (find(CTX, a, b, 0, nocase) >= 0)
TESTS(k_has, TERM)
TESTS(k_hasprefix, PREFIX)
TESTS(k_hassuffix, SUFFIX)
TESTS(k_contains, INSIDE)
TESTS(k_starts, starts)
TESTS(k_ends, ends)

static void has_any(struct kpi_call *call)
{
    KPI_EACH(call, row, bool found = false;
             for (uint32_t i = 1; i < call->args_count && !found; i++) found =
                 TERM(kp_vec_str(call->args[0], row), kp_vec_str(call->args[i], row), true);
             call->out->i64[row] = found);
}

static void has_all(struct kpi_call *call)
{
    KPI_EACH(call, row, bool found = true;
             for (uint32_t i = 1; i < call->args_count && found; i++) found =
                 TERM(kp_vec_str(call->args[0], row), kp_vec_str(call->args[i], row), true);
             call->out->i64[row] = found);
}

/* --- characters --- */

static bool continues(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

static int64_t characters(struct kp_str text)
{
    int64_t count = 0;
    for (uint32_t i = 0; i < text.len; i++)
        count += !continues(text.ptr[i]);
    return count;
}

/* Byte offset of character n, or the end. */
static uint32_t byte_of(struct kp_str text, int64_t n)
{
    uint32_t at = 0;
    for (; at < text.len; at++)
        if (!continues(text.ptr[at]) && n-- <= 0)
            break;
    return at;
}

#define TEXT0(name, body)                                                 \
    static void name(struct kpi_call *call)                               \
    {                                                                     \
        const struct kp_vec *va = call->args[0];                          \
        KPI_EACH(call, row, struct kp_str a = kp_vec_str(va, row); body); \
    }
TEXT0(k_strlen, call->out->i64[row] = characters(a))
TEXT0(k_string_size, call->out->i64[row] = a.len)
TEXT0(k_isempty, call->out->i64[row] = a.len == 0)
TEXT0(k_isnotempty, call->out->i64[row] = a.len != 0)
TEXT0(k_hash, call->out->i64[row] = (int64_t)kp_hash64(a.ptr, a.len, 0))

static void mapped(struct kpi_call *call, uint32_t row, struct kp_str a, char (*map)(char))
{
    char *text = a.len == 0 ? NULL : kpi_scratch(call->eval, a.len);
    for (uint32_t i = 0; text != NULL && i < a.len; i++)
        text[i] = map(a.ptr[i]);
    kpi_set_str(call, row, text, text == NULL ? 0 : a.len);
}
TEXT0(k_tolower, mapped(call, row, a, lower))
TEXT0(k_toupper, mapped(call, row, a, upper))

/* Reverses characters, keeping the bytes of each in order. */
static void reversed(struct kpi_call *call, uint32_t row, struct kp_str a)
{
    char *text = a.len == 0 ? NULL : kpi_scratch(call->eval, a.len);
    uint32_t to = a.len;
    for (uint32_t i = 0; text != NULL && i < a.len;) {
        uint32_t width = 1;
        while (i + width < a.len && continues(a.ptr[i + width]))
            width++;
        to -= width;
        memcpy(text + to, a.ptr + i, width);
        i += width;
    }
    kpi_set_str(call, row, text, text == NULL ? 0 : a.len);
}
TEXT0(k_reverse, reversed(call, row, a))

static void cut(struct kpi_call *call, uint32_t row, int64_t from, int64_t length)
{
    struct kp_str a = kp_vec_str(call->args[0], row);
    int64_t total = characters(a);
    from = from < 0 ? KP_MAX(total + from, 0) : KP_MIN(from, total);
    if (length < 0)
        length = 0;
    uint32_t start = byte_of(a, from);
    struct kp_str tail = {a.ptr + start, a.len - start};
    uint32_t end = length > total ? tail.len : byte_of(tail, length);
    kpi_set_str(call, row, tail.ptr, length == 0 ? 0 : end);
}

static void k_substring2(struct kpi_call *call)
{
    KPI_EACH(call, row, cut(call, row, call->args[1]->i64[row], INT64_MAX));
}

static void k_substring3(struct kpi_call *call)
{
    KPI_EACH(call, row, cut(call, row, call->args[1]->i64[row], call->args[2]->i64[row]));
}

static void k_indexof(struct kpi_call *call)
{
    KPI_EACH(call, row, struct kp_str a = kp_vec_str(call->args[0], row);
             int64_t at = find(CTX, a, kp_vec_str(call->args[1], row), 0, false);
             call->out->i64[row] = at < 0 ? -1 : characters((struct kp_str){a.ptr, (uint32_t)at}));
}

static void k_countof(struct kpi_call *call)
{
    KPI_EACH(
        call, row, struct kp_str a = kp_vec_str(call->args[0], row);
        struct kp_str b = kp_vec_str(call->args[1], row); int64_t count = 0, at = 0;
        while (b.len > 0 && (at = find(CTX, a, b, (uint32_t)at, false)) >= 0) {
            count++;
            at++;
        } call->out->i64[row] = count);
}

static bool is_blank(char c, struct kp_str set)
{
    return set.ptr == NULL ? c == ' ' || (c >= '\t' && c <= '\r')
                           : memchr(set.ptr, c, set.len) != NULL;
}

static void trimmed(struct kpi_call *call, uint32_t row, struct kp_str a, struct kp_str set,
                    int sides)
{
    while ((sides & EDGE_LEFT) != 0 && a.len > 0 && is_blank(a.ptr[0], set)) {
        a.ptr++;
        a.len--;
    }
    while ((sides & EDGE_RIGHT) != 0 && a.len > 0 && is_blank(a.ptr[a.len - 1], set))
        a.len--;
    kpi_set_str(call, row, a.ptr, a.len);
}
TEXT0(k_trim_ws, trimmed(call, row, a, (struct kp_str){NULL, 0}, EDGE_LEFT | EDGE_RIGHT))

/* replace_string(text, from, to) */
static void replaced(struct kpi_call *call, uint32_t row)
{
    struct kp_str a = kp_vec_str(call->args[0], row), from = kp_vec_str(call->args[1], row);
    struct kp_str to = kp_vec_str(call->args[2], row);
    size_t hits = 0, used = 0;
    for (int64_t at = 0; from.len > 0 && (at = find(CTX, a, from, (uint32_t)at, false)) >= 0;
         at += from.len)
        hits++;
    size_t size = a.len - hits * from.len + hits * to.len;
    char *text = size == 0 ? NULL : kpi_scratch(call->eval, size);
    for (uint32_t i = 0; text != NULL && i < a.len;) {
        bool hit = from.len > 0 && long_match_at(CTX, a, i, from, false);
        memcpy(text + used, hit ? to.ptr : a.ptr + i, hit ? to.len : 1);
        used += hit ? to.len : 1;
        i += hit ? from.len : 1;
    }
    kpi_set_str(call, row, text, text == NULL ? 0 : used);
}

static void k_replace(struct kpi_call *call)
{
    KPI_EACH(call, row, replaced(call, row));
}

/* Joins arguments first..count with a separator between them. */
static void joined(struct kpi_call *call, uint32_t row, struct kp_str between, uint32_t first)
{
    size_t size = 0, used = 0;
    for (uint32_t i = first; i < call->args_count; i++)
        size += kp_vec_str(call->args[i], row).len + (i > first ? between.len : 0);
    char *text = size == 0 ? NULL : kpi_scratch(call->eval, size);
    for (uint32_t i = first; text != NULL && i < call->args_count; i++) {
        struct kp_str part = kp_vec_str(call->args[i], row);
        if (i > first && between.len > 0)
            memcpy(text + used, between.ptr, between.len);
        used += i > first ? between.len : 0;
        if (part.len > 0)
            memcpy(text + used, part.ptr, part.len);
        used += part.len;
    }
    kpi_set_str(call, row, text, text == NULL ? 0 : used);
}

static void k_strcat(struct kpi_call *call)
{
    KPI_EACH(call, row, joined(call, row, KP_STR(""), 0));
}

static void k_strcat_delim(struct kpi_call *call)
{
    KPI_EACH(call, row, joined(call, row, kp_vec_str(call->args[0], row), 1));
}

#define REPEAT_BYTES_MAX (1024 * 1024)

static void repeated(struct kpi_call *call, uint32_t row)
{
    struct kp_str a = kp_vec_str(call->args[0], row);
    int64_t times = KP_MAX(call->args[1]->i64[row], 0);
    if (a.len > 0 && times > REPEAT_BYTES_MAX / (int64_t)a.len)
        times = REPEAT_BYTES_MAX / (int64_t)a.len;
    size_t size = a.len * (size_t)times;
    char *text = size == 0 ? NULL : kpi_scratch(call->eval, size);
    for (int64_t i = 0; text != NULL && i < times; i++)
        memcpy(text + (size_t)i * a.len, a.ptr, a.len);
    kpi_set_str(call, row, text, text == NULL ? 0 : size);
}

static void k_strrep(struct kpi_call *call)
{
    KPI_EACH(call, row, repeated(call, row));
}

/* split(text, separator): a JSON array of strings. */
static void split_row(struct kpi_call *call, uint32_t row)
{
    struct kp_str a = kp_vec_str(call->args[0], row), by = kp_vec_str(call->args[1], row);
    struct kp_buf json = kpi_buf(call->eval);
    kp_buf_char(&json, '[');
    uint32_t from = 0;
    for (;;) {
        int64_t at = by.len == 0 ? -1 : find(CTX, a, by, from, false);
        uint32_t end = at < 0 ? a.len : (uint32_t)at;
        kpi_json_quote((struct kp_str){a.ptr + from, end - from}, &json);
        if (at < 0)
            break;
        kp_buf_char(&json, ',');
        from = end + by.len;
    }
    kp_buf_char(&json, ']');
    kpi_set_buf(call, row, &json);
}

static void k_split(struct kpi_call *call)
{
    KPI_EACH(call, row, split_row(call, row));
}

/* split(text, separator, n): the n-th part, without JSON. */
static void split_part(struct kpi_call *call, uint32_t row)
{
    struct kp_str a = kp_vec_str(call->args[0], row), by = kp_vec_str(call->args[1], row);
    int64_t wanted = call->args[2]->i64[row];
    uint32_t from = 0;
    for (;; wanted--) {
        int64_t at = by.len == 0 ? -1 : find(CTX, a, by, from, false);
        uint32_t end = at < 0 ? a.len : (uint32_t)at;
        if (wanted == 0 || at < 0) {
            kpi_set_str(call, row, a.ptr + from, wanted == 0 ? end - from : 0);
            return;
        }
        from = end + by.len;
    }
}

static void k_split_part(struct kpi_call *call)
{
    KPI_EACH(call, row, split_part(call, row));
}

static void hex_text(struct kpi_call *call, uint32_t row)
{
    char text[24];
    int length = snprintf(text, sizeof(text), "%llx", (unsigned long long)call->args[0]->i64[row]);
    kpi_set_copy(call, row, text, (size_t)length);
}

static void k_tohex(struct kpi_call *call)
{
    KPI_EACH(call, row, hex_text(call, row));
}

static void k_hash_i64(struct kpi_call *call)
{
    KPI_EACH(call, row, int64_t value = call->args[0]->i64[row];
             call->out->i64[row] = (int64_t)kp_hash64(&value, sizeof(value), 0));
}

bool kpi_text_has(struct kpi_ctx *ctx, struct kp_str text, struct kp_str term)
{
    return has_term(ctx, text, term, true, EDGE_LEFT | EDGE_RIGHT);
}

#define FORMS(word, kernel, doc)                                                            \
    {word, "ss", 'b', 0, kernel, doc}, {"!" word, "ss", 'b', 0, not_##kernel, "not: " doc}, \
        {word "_cs", "ss", 'b', 0, kernel##_cs, doc ", exact case"},                        \
    {                                                                                       \
        "!" word "_cs", "ss", 'b', 0, not_##kernel##_cs, "not: " doc ", exact case"         \
    }

/* --- parse-kv --- */

static bool at_text(struct kp_str text, uint32_t at, struct kp_str part)
{
    return part.len > 0 && part.len <= text.len - at &&
           memcmp(text.ptr + at, part.ptr, part.len) == 0;
}

/* End of a run that ends at `stop` or the end of the text; quotes hide what they hold. A quote is
 * one character for both ends, or two. */
static uint32_t run_end(struct kp_str text, uint32_t at, struct kp_str stop, struct kp_str quote)
{
    bool hidden = false;
    for (; at < text.len; at++) {
        char wanted = quote.len == 0 ? '\0' : hidden ? quote.ptr[quote.len - 1] : quote.ptr[0];
        if (quote.len > 0 && text.ptr[at] == wanted)
            hidden = !hidden;
        else if (!hidden && at_text(text, at, stop))
            break;
    }
    return at;
}

static bool is_quoted(struct kp_str text, struct kp_str quote)
{
    return quote.len > 0 && text.len >= 2 && text.ptr[0] == quote.ptr[0] &&
           text.ptr[text.len - 1] == quote.ptr[quote.len - 1];
}

/* The value of a key in `key<kv>value<pair>key<kv>value`; the first one counts. */
static void kv_value(struct kpi_call *call, uint32_t row)
{
    struct kp_str text = kp_vec_str(call->args[0], row), key = kp_vec_str(call->args[1], row);
    struct kp_str pair = kp_vec_str(call->args[2], row), kv = kp_vec_str(call->args[3], row);
    struct kp_str quote = kp_vec_str(call->args[4], row), none = {NULL, 0};
    kpi_set_str(call, row, "", 0);
    for (uint32_t at = 0; at < text.len;) {
        uint32_t end = run_end(text, at, pair, quote);
        struct kp_str both = {text.ptr + at, end - at};
        uint32_t split = run_end(both, 0, kv, quote);
        struct kp_str name = {both.ptr, split};
        while (name.len > 0 && is_blank(name.ptr[0], none)) {
            name.ptr++;
            name.len--;
        }
        if (is_quoted(name, quote))
            name = (struct kp_str){name.ptr + 1, name.len - 2};
        if (split < both.len && kp_str_equal(name, key)) {
            struct kp_str value = {both.ptr + split + kv.len, both.len - split - kv.len};
            if (is_quoted(value, quote))
                kpi_set_str(call, row, value.ptr + 1, value.len - 2);
            else
                trimmed(call, row, value, none, EDGE_LEFT | EDGE_RIGHT);
            return;
        }
        at = end + KP_MAX(pair.len, 1u);
    }
}

static void k_kv_value(struct kpi_call *call)
{
    KPI_EACH(call, row, kv_value(call, row));
}

static const struct kpi_func funcs[] = {
    FORMS("has", k_has, "holds the whole term"),
    FORMS("hasprefix", k_hasprefix, "holds a term beginning so"),
    FORMS("hassuffix", k_hassuffix, "holds a term ending so"),
    FORMS("contains", k_contains, "holds the text anywhere"),
    FORMS("startswith", k_starts, "begins with the text"),
    FORMS("endswith", k_ends, "ends with the text"),
    {"notcontains", "ss", 'b', 0, not_k_contains, NULL},
    {"notcontains_cs", "ss", 'b', 0, not_k_contains_cs, NULL},
    {"has_any", "ss*", 'b', 0, has_any, "holds one of the terms"},
    {"has_all", "ss*", 'b', 0, has_all, "holds all of the terms"},
    {"strlen", "s", 'l', 0, k_strlen, "length in characters"},
    {"string_size", "s", 'l', 0, k_string_size, "length in bytes"},
    {"isempty", "s", 'b', 0, k_isempty, "empty string?"},
    {"isnotempty", "s", 'b', 0, k_isnotempty, "not an empty string?"},
    {"notempty", "s", 'b', 0, k_isnotempty, "same as isnotempty()"},
    {"tolower", "s", 's', 0, k_tolower, "lower case (ASCII)"},
    {"toupper", "s", 's', 0, k_toupper, "upper case (ASCII)"},
    {"reverse", "s", 's', 0, k_reverse, "characters in reverse order"},
    {"substring", "sl", 's', 0, k_substring2,
     "part from a position (0 first; negative from the end)"},
    {"substring", "sll", 's', 0, k_substring3, NULL},
    {"indexof", "ss", 'l', 0, k_indexof, "position of a text, -1 when absent"},
    {"countof", "ss", 'l', 0, k_countof, "occurrences of a text"},
    {"trim_ws", "s", 's', 0, k_trim_ws, "without blanks at both ends"},
    {"replace_string", "sss", 's', 0, k_replace, "every occurrence replaced"},
    {"strcat", "ss*", 's', 0, k_strcat, "values one after the other"},
    {"strcat_delim", "sss*", 's', 0, k_strcat_delim, "values joined by the first argument"},
    {"strrep", "sl", 's', 0, k_strrep, "repeated (at most 1 MiB)"},
    {"split", "ss", 'y', 0, k_split, "parts between separators; with a number, that part alone"},
    {"split", "ssl", 's', 0, k_split_part, NULL},
    {"parse_kv_value", "sssss", 's', 0, k_kv_value, NULL}, /* of parse-kv */
    {"tohex", "l", 's', 0, k_tohex, "hexadecimal digits"},
    {"hash", "s", 'l', 0, k_hash, "64-bit hash (XXH3)"},
    {"hash", "l", 'l', 0, k_hash_i64, NULL},
    {"hash", "t", 'l', 0, k_hash_i64, NULL},
    {"hash", "d", 'l', 0, k_hash_i64, NULL},
};

const struct kpi_func_table kpi_funcs_text = {funcs, KP_ARRAY_LEN(funcs)};
