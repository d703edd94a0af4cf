/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions over regular expressions. A call keeps its compiled pattern in expr->state and compiles
 * again only when the pattern is another one; in practice patterns are constants.
 */
#include "query/func.h"
#include "query/parse.h"
#include "query/regex.h"

struct slot {
    struct kp_str pattern; /* own copy */
    struct kpi_regex *regex;
};

/* The pattern of a call between a fixed head and tail; two slots, for trim(). NULL after an error.
 */
static struct kpi_regex *compiled(struct kpi_call *call, uint32_t which, struct kp_str pattern,
                                  const char *head, const char *tail)
{
    struct kpi_ctx *ctx = call->eval->ctx;
    struct slot *slots = call->expr->state;
    if (slots == NULL)
        slots = call->expr->state = kpi_new(ctx, 2, sizeof(*slots));
    if (slots == NULL)
        return NULL;
    struct slot *slot = &slots[which];
    if (slot->regex != NULL && kp_str_equal(slot->pattern, pattern))
        return slot->regex;
    struct kp_buf text = kpi_buf(call->eval);
    kp_buf_text(&text, head);
    kp_buf_str(&text, pattern);
    kp_buf_text(&text, tail);
    struct kp_str whole = {kp_buf_cstr(&text), (uint32_t)text.size};
    slot->pattern = kp_arena_str(ctx->arena, pattern);
    slot->regex = kpi_regex_compile(ctx, whole, call->expr->place);
    kp_buf_deinit(&text);
    return slot->regex;
}

static struct kp_str group_text(const struct kpi_regex *regex, struct kp_str text, uint32_t group)
{
    uint32_t from, to;
    if (!kpi_regex_group(regex, group, &from, &to))
        return KP_STR("");
    return (struct kp_str){text.ptr + from, to - from};
}

/* Where to search on after a match: an empty one moves on by a character. */
static uint32_t after_match(const struct kpi_regex *regex, struct kp_str text)
{
    uint32_t from = 0, to = text.len;
    kpi_regex_group(regex, 0, &from, &to);
    if (to > from)
        return to;
    for (to++; to < text.len && ((unsigned char)text.ptr[to] & 0xc0) == 0x80;)
        to++;
    return to;
}

static bool matches(struct kpi_call *call, struct kp_str text, struct kp_str pattern)
{
    struct kpi_regex *regex = compiled(call, 0, pattern, "", "");
    return regex != NULL && kpi_regex_search(call->eval->ctx, regex, text, 0) > 0;
}

static void k_matches(struct kpi_call *call)
{
    KPI_EACH(call, row,
             call->out->i64[row] =
                 matches(call, kp_vec_str(call->args[0], row), kp_vec_str(call->args[1], row)));
}

static struct kp_str extracted(struct kpi_call *call, struct kp_str pattern, int64_t group,
                               struct kp_str text)
{
    struct kpi_regex *regex = compiled(call, 0, pattern, "", "");
    if (regex == NULL || group < 0 || group > kpi_regex_groups(regex) ||
        kpi_regex_search(call->eval->ctx, regex, text, 0) == 0)
        return KP_STR("");
    return group_text(regex, text, (uint32_t)group);
}

static void k_extract(struct kpi_call *call)
{
    KPI_EACH(call, row,
             call->out->strs[row] =
                 extracted(call, kp_vec_str(call->args[0], row), call->args[1]->i64[row],
                           kp_vec_str(call->args[2], row)));
}

/* --- extract_all --- */

/* Groups to give: those of a list, or all of the pattern, or the whole match when it has none. */
static uint32_t wanted_groups(const struct kpi_regex *regex, struct kp_str list, uint32_t *out)
{
    uint32_t count = 0, all = kpi_regex_groups(regex);
    struct kpi_json_walk walk;
    struct kp_str value;
    if (list.len > 0 && kpi_json_array(list, &walk)) {
        while (kpi_json_next(&walk, &value) && count < KPI_ARGS_MAX) {
            struct kpi_value number;
            if (kpi_literal_long(value, &number) && number.i64 <= (int64_t)all)
                out[count++] = (uint32_t)number.i64;
            else if (value.len > 2 && value.ptr[0] == '"')
                out[count++] =
                    kpi_regex_named(regex, (struct kp_str){value.ptr + 1, value.len - 2});
        }
        return count;
    }
    for (uint32_t g = 1; g <= all && count < KPI_ARGS_MAX; g++)
        out[count++] = g;
    if (count == 0)
        out[count++] = 0;
    return count;
}

static void add_match(const struct kpi_regex *regex, struct kp_str text, const uint32_t *groups,
                      uint32_t count, struct kp_buf *out)
{
    kp_buf_text(out, out->size > 1 ? "," : "");
    kp_buf_text(out, count > 1 ? "[" : "");
    for (uint32_t i = 0; i < count; i++) {
        kp_buf_text(out, i > 0 ? "," : "");
        kpi_json_quote(group_text(regex, text, groups[i]), out);
    }
    kp_buf_text(out, count > 1 ? "]" : "");
}

static void extract_all(struct kpi_call *call, uint32_t row, struct kp_str pattern,
                        struct kp_str list, struct kp_str text)
{
    struct kp_buf json = kpi_buf(call->eval);
    uint32_t groups[KPI_ARGS_MAX], at = 0;
    struct kpi_regex *regex = compiled(call, 0, pattern, "", "");
    uint32_t count = regex == NULL ? 0 : wanted_groups(regex, list, groups);
    kp_buf_char(&json, '[');
    while (count > 0 && at <= text.len && kpi_regex_search(call->eval->ctx, regex, text, at) > 0) {
        add_match(regex, text, groups, count, &json);
        at = after_match(regex, text);
    }
    bool none = json.size == 1;
    kp_buf_char(&json, ']');
    if (none)
        kpi_set_str(call, row, "", 0);
    else
        kpi_set_buf(call, row, &json);
}

static void k_extract_all(struct kpi_call *call)
{
    KPI_EACH(call, row,
             extract_all(call, row, kp_vec_str(call->args[0], row), KP_STR(""),
                         kp_vec_str(call->args[1], row)));
}

static void k_extract_groups(struct kpi_call *call)
{
    KPI_EACH(call, row,
             extract_all(call, row, kp_vec_str(call->args[0], row), kp_vec_str(call->args[1], row),
                         kp_vec_str(call->args[2], row)));
}

/* --- replace_regex --- */

/* The replacement: \0 to \9 are groups, \\ a backslash. */
static void rewrite(const struct kpi_regex *regex, struct kp_str text, struct kp_str pattern,
                    struct kp_buf *out)
{
    for (uint32_t i = 0; i < pattern.len; i++) {
        char c = pattern.ptr[i], next = i + 1 < pattern.len ? pattern.ptr[i + 1] : '\0';
        if (c != '\\' || (next != '\\' && (next < '0' || next > '9'))) {
            kp_buf_char(out, c);
            continue;
        }
        i++;
        if (next == '\\')
            kp_buf_char(out, '\\');
        else
            kp_buf_str(out, group_text(regex, text, (uint32_t)(next - '0')));
    }
}

static void replace(struct kpi_call *call, uint32_t row, struct kp_str text, struct kp_str pattern,
                    struct kp_str with)
{
    struct kp_buf out = kpi_buf(call->eval);
    struct kpi_regex *regex = compiled(call, 0, pattern, "", "");
    uint32_t at = 0, copied = 0, from, to;
    while (regex != NULL && at <= text.len &&
           kpi_regex_search(call->eval->ctx, regex, text, at) > 0 &&
           kpi_regex_group(regex, 0, &from, &to)) {
        kp_buf_add(&out, text.ptr + copied, from - copied);
        rewrite(regex, text, with, &out);
        copied = to;
        at = after_match(regex, text);
    }
    if (copied < text.len)
        kp_buf_add(&out, text.ptr + copied, text.len - copied);
    kpi_set_buf(call, row, &out);
}

static void k_replace(struct kpi_call *call)
{
    KPI_EACH(call, row,
             replace(call, row, kp_vec_str(call->args[0], row), kp_vec_str(call->args[1], row),
                     kp_vec_str(call->args[2], row)));
}

/* --- regex_quote, indexof_regex --- */

static void quote(struct kpi_call *call, uint32_t row)
{
    struct kp_str text = kp_vec_str(call->args[0], row);
    struct kp_buf out = kpi_buf(call->eval);
    for (uint32_t i = 0; i < text.len; i++) {
        if (strchr("\\^$.|?*+()[]{}-", text.ptr[i]) != NULL && text.ptr[i] != '\0')
            kp_buf_char(&out, '\\');
        kp_buf_char(&out, text.ptr[i]);
    }
    kpi_set_buf(call, row, &out);
}

static void k_quote(struct kpi_call *call)
{
    KPI_EACH(call, row, quote(call, row));
}

/* Bytes of the first so many characters. */
static uint32_t bytes_of(struct kp_str text, int64_t characters)
{
    uint32_t at = 0;
    for (; at < text.len; at++)
        if (((unsigned char)text.ptr[at] & 0xc0) != 0x80 && characters-- == 0)
            break;
    return at;
}

static int64_t characters_of(struct kp_str text, uint32_t bytes)
{
    int64_t count = 0;
    for (uint32_t i = 0; i < bytes; i++)
        count += ((unsigned char)text.ptr[i] & 0xc0) != 0x80;
    return count;
}

static int64_t number_arg(const struct kpi_call *call, uint32_t arg, uint32_t row, int64_t none)
{
    return arg < call->args_count ? call->args[arg]->i64[row] : none;
}

/* indexof_regex(text, pattern, start, length, occurrence): a match that lies in this part. */
static int64_t index_of(struct kpi_call *call, uint32_t row)
{
    struct kp_str text = kp_vec_str(call->args[0], row);
    struct kpi_regex *regex = compiled(call, 0, kp_vec_str(call->args[1], row), "", "");
    int64_t start = number_arg(call, 2, row, 0), length = number_arg(call, 3, row, -1);
    int64_t left = number_arg(call, 4, row, 1);
    uint32_t at = bytes_of(text, KP_MAX(start, 0)), from, to;
    if (length >= 0 && !__builtin_add_overflow(KP_MAX(start, 0), length, &length))
        text.len = bytes_of(text, length);
    while (regex != NULL && left > 0 && at <= text.len &&
           kpi_regex_search(call->eval->ctx, regex, text, at) > 0 &&
           kpi_regex_group(regex, 0, &from, &to)) {
        if (--left == 0)
            return characters_of(text, from);
        at = after_match(regex, text);
    }
    return -1;
}

static void k_index_of(struct kpi_call *call)
{
    KPI_EACH(call, row, call->out->i64[row] = index_of(call, row));
}

/* --- trim --- */

enum { TRIM_START = 1, TRIM_END = 2 };

static void trim(struct kpi_call *call, uint32_t row, int sides)
{
    struct kp_str pattern = kp_vec_str(call->args[0], row), text = kp_vec_str(call->args[1], row);
    struct kpi_ctx *ctx = call->eval->ctx;
    uint32_t from, to;
    struct kpi_regex *regex =
        (sides & TRIM_START) != 0 ? compiled(call, 0, pattern, "\\A(?:", ")") : NULL;
    if (regex != NULL && kpi_regex_search(ctx, regex, text, 0) > 0 &&
        kpi_regex_group(regex, 0, &from, &to)) {
        text.ptr += to;
        text.len -= to;
    }
    regex = (sides & TRIM_END) != 0 ? compiled(call, 1, pattern, "(?:", ")\\z") : NULL;
    if (regex != NULL && kpi_regex_search(ctx, regex, text, 0) > 0 &&
        kpi_regex_group(regex, 0, &from, &to))
        text.len = from;
    kpi_set_str(call, row, text.ptr, text.len);
}

static void k_trim(struct kpi_call *call)
{
    KPI_EACH(call, row, trim(call, row, TRIM_START | TRIM_END));
}

static void k_trim_start(struct kpi_call *call)
{
    KPI_EACH(call, row, trim(call, row, TRIM_START));
}

static void k_trim_end(struct kpi_call *call)
{
    KPI_EACH(call, row, trim(call, row, TRIM_END));
}

static const struct kpi_func funcs[] = {
    {"matches regex", "ss", 'b', 0, k_matches, "holds a match of a regular expression"},
    {"extract", "sls", 's', 0, k_extract, "group of the first match; 0 is all of it"},
    {"extract_all", "ss", 'y', 0, k_extract_all, "groups of every match; or those of a list"},
    {"extract_all", "sys", 'y', 0, k_extract_groups, NULL},
    {"replace_regex", "sss", 's', 0, k_replace, "every match replaced; \\1 is its first group"},
    {"regex_quote", "s", 's', 0, k_quote, "a regular expression that matches just this text"},
    {"indexof_regex", "ss", 'l', 0, k_index_of,
     "position of a match, from a start, within a length, the nth; -1 when there is none"},
    {"indexof_regex", "ssl", 'l', 0, k_index_of, NULL},
    {"indexof_regex", "ssll", 'l', 0, k_index_of, NULL},
    {"indexof_regex", "sslll", 'l', 0, k_index_of, NULL},
    {"trim", "ss", 's', 0, k_trim, "without a match at both ends"},
    {"trim_start", "ss", 's', 0, k_trim_start, "without a match at the start"},
    {"trim_end", "ss", 's', 0, k_trim_end, "without a match at the end"},
};

const struct kpi_func_table kpi_funcs_regex = {funcs, KP_ARRAY_LEN(funcs)};
