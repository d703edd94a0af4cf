/* SPDX-License-Identifier: Apache-2.0
 *
 * InfluxDB's line protocol (docs.influxdata.com, "Line protocol syntax") into kpi_span:
 *
 *   spans,service=batch,host=node1 name="step 1",dur_ns=1200i,txn="98721",rows=7i
 * 1700000000000000000
 *
 * The stamp is the end of the span. What the stream has a column for goes there, everything else
 * becomes an attribute. A line without ids gets some that are made of its bytes, so that one that
 * is sent again is the same span. A wrong line is rejected alone.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/hash.h"
#include "ingest/spans.h"
#include "ingest/utf8.h"

#define ARENA_BYTES_MAX ((size_t)256 << 20)
#define LINES_MAX       (1u << 20)

struct lines {
    struct kp_arena arena;
    struct kp_buf text; /* JSON being written */
    kp_dur unit;
    kp_time now; /* of lines without a stamp */
    struct kp_str txn_key;
    struct kpi_span *spans;
    uint32_t count;
};

/* One line being read. */
struct line {
    struct kp_str text;
    uint32_t at;
    struct kpi_span *span;
    struct kpi_attr attrs[KPI_ATTRS_MAX], resource[KPI_ATTRS_MAX];
    uint32_t attrs_count, resource_count;
    int64_t dur;
    bool cut;
};

enum value_type { VALUE_TEXT, VALUE_INTEGER, VALUE_OTHER };

struct value {
    enum value_type type;
    struct kp_str text; /* without quotes and escapes; of a number without the i */
    int64_t number;     /* INTEGER */
};

/* --- tokens --- */

static bool is_end(const struct line *line)
{
    return line->at >= line->text.len;
}

static bool is_in(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

/* Up to one of `stops` that no backslash precedes; a backslash before one of `escaped` is dropped.
 * NULL: no memory. */
static struct kp_str read_name(struct lines *lines, struct line *line, const char *stops,
                               const char *escaped)
{
    const char *from = line->text.ptr + line->at;
    uint32_t left = line->text.len - line->at, size = 0, length = 0;
    while (size < left && !is_in(from[size], stops))
        size += from[size] == '\\' && size + 1 < left && is_in(from[size + 1], escaped) ? 2 : 1;
    char *out = kp_arena_alloc(&lines->arena, size + 1);
    if (out == NULL)
        return (struct kp_str){NULL, 0};
    for (uint32_t i = 0; i < size; i++) {
        i += from[i] == '\\' && i + 1 < size && is_in(from[i + 1], escaped);
        out[length++] = from[i];
    }
    line->at += size;
    return (struct kp_str){out, length};
}

static bool take(struct line *line, char c)
{
    bool is = !is_end(line) && line->text.ptr[line->at] == c;
    line->at += is;
    return is;
}

static bool read_integer(struct kp_str text, int64_t *out)
{
    char digits[24];
    char *end = NULL;
    if (text.len == 0 || text.len >= sizeof(digits))
        return false;
    snprintf(digits, sizeof(digits), "%.*s", (int)text.len, text.ptr);
    long long value = strtoll(digits, &end, 10);
    char again[24];
    snprintf(again, sizeof(again), "%lld", value);
    *out = value;
    return *end == '\0' && strcmp(again, digits) == 0; /* canonical, and in range */
}

static bool is_boolean(struct kp_str text, bool *out)
{
    static const char *const words[] = {"t",     "T", "true", "True",  "TRUE",
                                        "false", "f", "F",    "False", "FALSE"};
    for (size_t i = 0; i < KP_ARRAY_LEN(words); i++) {
        if (!kp_str_equal(text, kp_str_from(words[i])))
            continue;
        *out = i < 5;
        return true;
    }
    return false;
}

static bool is_real(struct kp_str text)
{
    char digits[64];
    char *end = NULL;
    if (text.len == 0 || text.len >= sizeof(digits))
        return false;
    for (uint32_t i = 0; i < text.len; i++)
        if (strchr("0123456789+-.eE", text.ptr[i]) == NULL || text.ptr[i] == '\0')
            return false;
    snprintf(digits, sizeof(digits), "%.*s", (int)text.len, text.ptr);
    return isfinite(strtod(digits, &end)) && *end == '\0';
}

/* A field's value; false: it is none. */
static bool read_value(struct lines *lines, struct line *line, struct value *out)
{
    bool ignored;
    *out = (struct value){.type = VALUE_TEXT};
    if (take(line, '"')) {
        out->text = read_name(lines, line, "\"", "\"\\");
        return out->text.ptr != NULL && take(line, '"');
    }
    out->text = read_name(lines, line, ", ", "");
    if (out->text.ptr == NULL || out->text.len == 0)
        return false;
    if (out->text.ptr[out->text.len - 1] == 'i') {
        out->text.len--;
        out->type = VALUE_INTEGER;
        return read_integer(out->text, &out->number);
    }
    out->type = VALUE_OTHER;
    return is_boolean(out->text, &ignored) || is_real(out->text);
}

/* --- what becomes of a tag or a field --- */

/* "key":value */
static bool write_member(struct lines *lines, struct kp_str key, const struct value *value,
                         struct kp_str *out)
{
    struct kp_buf *text = &lines->text;
    bool yes = false;
    kp_buf_clear(text);
    kpi_json_text(text, key);
    kp_buf_char(text, ':');
    if (value->type == VALUE_TEXT) {
        kpi_json_text(text, value->text);
    } else if (value->type == VALUE_INTEGER) {
        kp_buf_str(text, value->text);
    } else if (is_boolean(value->text, &yes)) {
        kp_buf_text(text, yes ? "true" : "false");
    } else {
        char digits[64];
        snprintf(digits, sizeof(digits), "%.*s", (int)value->text.len, value->text.ptr);
        kp_buf_printf(text, "%.17g", strtod(digits, NULL));
    }
    *out = kp_arena_str(&lines->arena, (struct kp_str){kp_buf_cstr(text), (uint32_t)text->size});
    return !text->failed && out->ptr != NULL;
}

static bool add_attr(struct lines *lines, struct line *line, bool resource, struct kp_str key,
                     const struct value *value)
{
    uint32_t *count = resource ? &line->resource_count : &line->attrs_count;
    if (*count == KPI_ATTRS_MAX) {
        line->cut = true;
        return true;
    }
    struct kpi_attr *attr = &(resource ? line->resource : line->attrs)[*count];
    *attr =
        (struct kpi_attr){.key = key, .text = value->text, .scalar = value->type != VALUE_OTHER};
    (*count)++;
    return write_member(lines, key, value, &attr->member);
}

/* The number of an enumerated column by its name; false: it has none such. */
static bool find_enum(const char *column, struct kp_str name, int64_t *out)
{
    const struct kp_stream *stream = kp_stream_by_number(KP_S_SPANS);
    const struct kp_stored_column *stored = &stream->stored[kp_stream_stored(stream, column)];
    for (uint32_t i = 0; i < stored->names_count; i++) {
        if (!kp_str_equal(name, kp_str_from(stored->names[i].name)))
            continue;
        *out = stored->names[i].value;
        return true;
    }
    return false;
}

/* Columns that the store fills itself; an answer that is written back carries them too. */
static bool is_stores_own(struct kp_str key)
{
    static const char *const names[] = {"attrs", "cgroup", "comm", "cpu",  "events",
                                        "link",  "seq",    "ts",   "start"};
    for (size_t i = 0; i < KP_ARRAY_LEN(names); i++)
        if (kp_str_equal(key, kp_str_from(names[i])))
            return true;
    return false;
}

/* Texts that are fields of the span. */
static struct kp_str *find_text(struct kpi_span *span, struct kp_str key)
{
    const struct {
        struct kp_str name;
        struct kp_str *text;
    } texts[] = {{KP_STR("name"), &span->name},
                 {KP_STR("trace_id"), &span->trace_id},
                 {KP_STR("span_id"), &span->span_id},
                 {KP_STR("parent_id"), &span->parent_id},
                 {KP_STR("status_msg"), &span->status_msg}};
    for (size_t i = 0; i < KP_ARRAY_LEN(texts); i++)
        if (kp_str_equal(key, texts[i].name))
            return texts[i].text;
    return NULL;
}

/* NULL, or what is wrong. */
static const char *set_value(struct lines *lines, struct line *line, struct kp_str key,
                             const struct value *value)
{
    static const struct {
        struct kp_str name, attribute;
        bool resource;
    } attributes[] = {{KP_STR("service"), KP_STR("service.name"), true},
                      {KP_STR("host"), KP_STR("host.name"), true},
                      {KP_STR("pid"), KP_STR("process.pid"), true},
                      {KP_STR("tid"), KP_STR("linux.tid"), false}};
    struct kp_str *text = find_text(line->span, key);
    if (text != NULL) {
        *text = value->text;
        return value->type != VALUE_TEXT      ? "an id, a name or a message is not text"
               : !kpi_utf8_valid(value->text) ? "a text is not UTF-8"
                                              : NULL;
    }
    if (kp_str_equal(key, KP_STR("dur_ns"))) {
        line->dur = value->number;
        return value->type == VALUE_INTEGER && value->number >= 0 ? NULL
                                                                  : "dur_ns is not an integer";
    }
    if (kp_str_equal(key, KP_STR("kind")))
        return find_enum("kind", value->text, &line->span->kind) ? NULL : "kind is no span kind";
    if (kp_str_equal(key, KP_STR("status")))
        return find_enum("status", value->text, &line->span->status) ? NULL : "status is none";
    if (is_stores_own(key))
        return NULL;
    for (size_t i = 0; i < KP_ARRAY_LEN(attributes); i++)
        if (kp_str_equal(key, attributes[i].name))
            return add_attr(lines, line, attributes[i].resource, attributes[i].attribute, value)
                       ? NULL
                       : "no memory";
    if (!kpi_utf8_valid(key) || (value->type == VALUE_TEXT && !kpi_utf8_valid(value->text)))
        return "a text is not UTF-8";
    bool txn = kp_str_equal(key, KP_STR("txn"));
    return add_attr(lines, line, false, txn ? lines->txn_key : key, value) ? NULL : "no memory";
}

/* --- lines --- */

/* ,key=value,key=value or, fields, the same behind a blank. */
static const char *read_pairs(struct lines *lines, struct line *line, bool tags)
{
    do {
        struct value value = {.type = VALUE_TEXT};
        struct kp_str key = read_name(lines, line, ",= ", ",= \\");
        if (key.ptr == NULL || key.len == 0 || !take(line, '='))
            return tags ? "a tag without a value" : "missing fields";
        if (tags)
            value.text = read_name(lines, line, ", ", ",= \\");
        else if (!read_value(lines, line, &value))
            return "a field's value is no text, number or boolean";
        if (tags && value.text.len == 0)
            return "a tag without a value";
        const char *bad = set_value(lines, line, key, &value);
        if (bad != NULL)
            return bad;
    } while (take(line, ','));
    return NULL;
}

static const char *read_stamp(struct lines *lines, struct line *line)
{
    struct kp_str rest = {line->text.ptr + line->at, line->text.len - line->at};
    int64_t stamp = 0;
    while (rest.len > 0 && rest.ptr[0] == ' ') {
        rest.ptr++;
        rest.len--;
    }
    while (rest.len > 0 && (rest.ptr[rest.len - 1] == ' ' || rest.ptr[rest.len - 1] == '\r'))
        rest.len--;
    if (rest.len == 0)
        line->span->end = lines->now;
    else if (!read_integer(rest, &stamp) || stamp < 0 ||
             __builtin_mul_overflow(stamp, lines->unit, &line->span->end))
        return "bad timestamp";
    if (__builtin_sub_overflow(line->span->end, line->dur, &line->span->start) ||
        line->span->start < 0)
        return "dur_ns is longer than the time since 1970";
    return NULL;
}

/* Ids of what has none. */
static const char *make_ids(struct lines *lines, struct line *line)
{
    struct kp_hash128 hash = kp_hash128(line->text.ptr, line->text.len, (uint64_t)line->span->end);
    struct kpi_span *span = line->span;
    kp_buf_clear(&lines->text);
    kp_buf_printf(&lines->text, "%016" PRIx64 "%016" PRIx64, hash.hi, hash.lo | 1);
    struct kp_str made = kp_arena_str(
        &lines->arena, (struct kp_str){kp_buf_cstr(&lines->text), (uint32_t)lines->text.size});
    if (made.ptr == NULL || made.len != KPI_TRACE_ID_CHARS)
        return "no memory";
    if (span->trace_id.len == 0)
        span->trace_id = made;
    if (span->span_id.len == 0)
        span->span_id = (struct kp_str){made.ptr + KPI_SPAN_ID_CHARS, KPI_SPAN_ID_CHARS};
    return NULL;
}

/* Copies what was gathered to where it lasts. */
static const char *keep_attrs(struct lines *lines, struct line *line)
{
    struct kpi_attr *attrs = kp_arena_zalloc(&lines->arena, line->attrs_count + 1, sizeof(*attrs));
    struct kpi_attr *from = kp_arena_zalloc(&lines->arena, line->resource_count + 1, sizeof(*from));
    struct kpi_attrs *resource = kp_arena_zalloc(&lines->arena, 1, sizeof(*resource));
    if (attrs == NULL || from == NULL || resource == NULL)
        return "no memory";
    memcpy(attrs, line->attrs, line->attrs_count * sizeof(*attrs));
    memcpy(from, line->resource, line->resource_count * sizeof(*from));
    *resource = (struct kpi_attrs){.items = from, .count = line->resource_count};
    line->span->attrs =
        (struct kpi_attrs){.items = attrs, .count = line->attrs_count, .cut = line->cut};
    line->span->resource = resource;
    return NULL;
}

static const char *read_line(struct lines *lines, struct line *line)
{
    struct kp_str name = read_name(lines, line, ", ", ", \\");
    if (name.ptr == NULL)
        return "no memory";
    if (!kp_str_equal(name, KP_STR("spans")))
        return "only the measurement spans is stored";
    const char *bad = take(line, ',') ? read_pairs(lines, line, true) : NULL;
    while (bad == NULL && take(line, ' '))
        continue;
    if (bad == NULL)
        bad = read_pairs(lines, line, false);
    if (bad == NULL && !is_end(line) && line->text.ptr[line->at] != ' ')
        bad = "what follows the fields is no timestamp";
    if (bad == NULL)
        bad = read_stamp(lines, line);
    if (bad == NULL)
        bad = make_ids(lines, line);
    return bad != NULL ? bad : keep_attrs(lines, line);
}

/* The end of a line: a newline that is in no quoted value; values are quoted behind the blank that
 * ends the tags. */
static uint32_t line_end(struct kp_str body, uint32_t at)
{
    bool fields = false, quoted = false, remark = at < body.len && body.ptr[at] == '#';
    for (; at < body.len; at++) {
        char c = body.ptr[at];
        if (c == '\n' && !quoted)
            break;
        fields |= c == ' ' && !remark;
        if (c == '\\' && at + 1 < body.len && body.ptr[at + 1] != '\n')
            at++;
        else if (c == '"' && fields)
            quoted = !quoted;
    }
    return KP_MIN(at, body.len);
}

static uint32_t count_lines(struct kp_str body)
{
    uint32_t count = 1;
    for (uint32_t i = 0; i < body.len; i++)
        count += body.ptr[i] == '\n';
    return count;
}

static bool is_nothing(struct kp_str text)
{
    for (uint32_t i = 0; i < text.len; i++)
        if (text.ptr[i] != ' ' && text.ptr[i] != '\t' && text.ptr[i] != '\r')
            return text.ptr[i] == '#';
    return true;
}

static kp_status read_lines(struct lines *lines, struct kp_str body, struct kp_error *err)
{
    static const struct kpi_attrs nothing;
    struct line *line = kp_arena_zalloc(&lines->arena, 1, sizeof(*line));
    uint32_t most = count_lines(body);
    if (most > LINES_MAX)
        return kp_error_set(err, KP_LIMIT, "more than %u lines at once", LINES_MAX);
    lines->spans = kp_arena_zalloc(&lines->arena, most, sizeof(*lines->spans));
    if (lines->spans == NULL || line == NULL)
        return kp_arena_error(&lines->arena, err);
    for (uint32_t at = 0; at < body.len;) {
        uint32_t end = line_end(body, at);
        struct kp_str text = {body.ptr + at, end - at};
        at = end + 1;
        if (is_nothing(text))
            continue;
        struct kpi_span *span = &lines->spans[lines->count++];
        line->text = text;
        line->at = line->attrs_count = line->resource_count = 0;
        line->dur = 0;
        line->cut = false;
        line->span = span;
        span->resource = &nothing;
        span->bad = read_line(lines, line);
    }
    return KP_OK;
}

kp_status kp_span_lines(struct kp_store *store, const struct kp_span_opts *opts, struct kp_str body,
                        kp_dur unit, struct kp_otlp_result *out, struct kp_error *err)
{
    bool given = opts != NULL && opts->txn_keys_count > 0;
    struct kp_otlp_result result = {0};
    struct lines lines = {.unit = unit,
                          .now = kp_time_now(),
                          .txn_key = kp_str_from(given ? opts->txn_keys[0] : "txn.id")};
    kp_arena_init(&lines.arena, ARENA_BYTES_MAX);
    lines.arena.owner = "line protocol";
    kp_status status = read_lines(&lines, body, err);
    if (status == KP_OK) {
        status = kpi_spans_store(store, opts, lines.spans, lines.count, &result);
        if (status != KP_OK)
            kp_error_set(err, status, "the spans could not be stored: %s", kp_status_text(status));
        *out = result;
    }
    kp_buf_deinit(&lines.text);
    kp_arena_deinit(&lines.arena);
    return status;
}
