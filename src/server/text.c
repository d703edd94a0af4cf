/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines of the text protocol. A statement is one line, unless its text can only be unfinished
 * (open bracket or string, a pipe at the end): then lines are added until it is whole, a ; ends it,
 * or a blank line says that nothing more comes. Session words begin with a dot, which no statement
 * does; # begins a remark, so that an answer that is sent back does no harm.
 */
#include "server/text.h"

#include "base/assert.h"
#include "query/query.h"

static struct kp_str trim(struct kp_str text)
{
    while (text.len > 0 && strchr(" \t\r\n", text.ptr[text.len - 1]) != NULL &&
           text.ptr[text.len - 1] != '\0')
        text.len--;
    while (text.len > 0 && (text.ptr[0] == ' ' || text.ptr[0] == '\t')) {
        text.ptr++;
        text.len--;
    }
    return text;
}

static void read_format(struct kp_str value, struct kpi_line *out)
{
    static const enum kp_format allowed[] = {KP_FORMAT_LINE, KP_FORMAT_JSON, KP_FORMAT_CSV,
                                             KP_FORMAT_NDJSON};
    if (kp_format_parse(value, &out->format)) {
        for (size_t i = 0; i < KP_ARRAY_LEN(allowed); i++)
            if (allowed[i] == out->format)
                return;
    }
    out->kind = KPI_LINE_WRONG;
    kp_error_set(&out->err, KP_INVALID, "unknown format '%.*s'", (int)KP_MIN(value.len, 40u),
                 value.ptr);
    kp_error_hint(&out->err, ".format is line, json, csv or ndjson");
}

static void read_timeout(struct kp_str value, struct kpi_line *out)
{
    if (kp_str_equal(value, KP_STR("0")) || kp_str_equal(value, KP_STR("off")))
        return;
    if (kp_dur_parse(value, &out->timeout) && out->timeout > 0)
        return;
    out->kind = KPI_LINE_WRONG;
    kp_error_set(&out->err, KP_INVALID, "'%.*s' is not a duration", (int)KP_MIN(value.len, 40u),
                 value.ptr);
    kp_error_hint(&out->err, ".timeout 5s, .timeout 300ms or .timeout off");
}

static void read_word(struct kp_str text, struct kpi_line *out)
{
    static const struct {
        struct kp_str name;
        enum kpi_line_kind kind;
        bool value;
    } words[] = {{KP_STR(".format"), KPI_LINE_FORMAT, true},
                 {KP_STR(".timeout"), KPI_LINE_TIMEOUT, true},
                 {KP_STR(".auth"), KPI_LINE_AUTH, true},
                 {KP_STR(".cancel"), KPI_LINE_CANCEL, false},
                 {KP_STR(".quit"), KPI_LINE_QUIT, false}};
    uint32_t end = 0;
    while (end < text.len && text.ptr[end] != ' ' && text.ptr[end] != '\t')
        end++;
    struct kp_str word = {text.ptr, end};
    struct kp_str value = trim((struct kp_str){text.ptr + end, text.len - end});
    out->kind = KPI_LINE_WRONG;
    for (size_t i = 0; i < KP_ARRAY_LEN(words); i++)
        if (kp_str_equal(word, words[i].name) && (words[i].value || value.len == 0))
            out->kind = words[i].kind;
    out->text = value;
    if (out->kind == KPI_LINE_FORMAT) {
        read_format(value, out);
    } else if (out->kind == KPI_LINE_TIMEOUT) {
        read_timeout(value, out);
    } else if (out->kind == KPI_LINE_WRONG) {
        kp_error_set(&out->err, KP_INVALID, "unknown session word '%.*s'",
                     (int)KP_MIN(text.len, 40u), text.ptr);
        kp_error_hint(&out->err, "there are .format .timeout .auth .cancel .quit");
    }
    if (out->kind == KPI_LINE_WRONG)
        kp_error_place(&out->err, 1, 1, text.len);
}

void kpi_line_read(struct kp_str line, struct kpi_line *out)
{
    struct kp_str text = trim(line);
    *out = (struct kpi_line){.kind = KPI_LINE_EMPTY};
    if (text.len == 0 || text.ptr[0] == '#')
        return;
    if (text.ptr[0] == '.') {
        read_word(text, out);
        return;
    }
    out->kind = KPI_LINE_QUERY;
    out->text = line;
}

bool kpi_statement_add(struct kp_buf *statement, const struct kpi_line *line)
{
    if (line->kind != KPI_LINE_QUERY)
        return statement->size > 0;
    kp_buf_str(statement, line->text);
    struct kp_str all = {kp_buf_cstr(statement), (uint32_t)statement->size};
    if (statement->failed || !kp_query_unfinished(all))
        return true;
    kp_buf_char(statement, '\n');
    return statement->size > KPI_LINE_BYTES_MAX;
}

/* Text of one line: what would end it becomes a space. */
static void add_flat(struct kp_buf *out, struct kp_str text)
{
    for (uint32_t i = 0; i < text.len; i++)
        kp_buf_char(out,
                    (unsigned char)text.ptr[i] < 0x20 || text.ptr[i] == 0x7f ? ' ' : text.ptr[i]);
}

void kpi_text_note(struct kp_str note, struct kp_buf *out)
{
    kp_buf_text(out, "# note: ");
    add_flat(out, note);
    kp_buf_char(out, '\n');
}

void kpi_text_error(const struct kp_error *err, struct kp_buf *out)
{
    kp_buf_printf(out, "# error line=%u col=%u ", err->line, err->column);
    add_flat(out, kp_str_from(err->text[0] != '\0' ? err->text : kp_status_text(err->code)));
    if (err->hint[0] != '\0') {
        kp_buf_text(out, " (");
        add_flat(out, kp_str_from(err->hint));
        kp_buf_char(out, ')');
    }
    kp_buf_text(out, "\n\n");
}

enum kpi_sniff kpi_sniff(struct kp_str begin)
{
    static const struct kp_str methods[] = {
        KP_STR("GET "),    KP_STR("POST "),    KP_STR("HEAD "),  KP_STR("PUT "),
        KP_STR("DELETE "), KP_STR("OPTIONS "), KP_STR("PATCH "), KP_STR("TRACE "),
    };
    for (size_t i = 0; i < KP_ARRAY_LEN(methods); i++) {
        uint32_t length = KP_MIN(begin.len, methods[i].len);
        if (memcmp(begin.ptr, methods[i].ptr, length) == 0)
            return length == methods[i].len ? KPI_SNIFF_HTTP : KPI_SNIFF_MORE;
    }
    return KPI_SNIFF_TEXT;
}
