/* SPDX-License-Identifier: Apache-2.0
 *
 * Members of a JSON object are found by stepping over values, brackets counted outside of strings,
 * without building anything. Calls of Flux are read with the tokens of InfluxQL, and answered as
 * the SHOW that asks the same; their column is called _value, where Grafana's variables look.
 */
#include "server/flux.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

/* --- JSON --- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ',' || c == ':';
}

static uint32_t skip_blanks(struct kp_str json, uint32_t at)
{
    while (at < json.len && is_blank(json.ptr[at]))
        at++;
    return at;
}

/* Behind the value that begins at `at`. */
static uint32_t skip_value(struct kp_str json, uint32_t at)
{
    int depth = 0;
    bool quoted = false;
    for (; at < json.len; at++) {
        char c = json.ptr[at];
        if (quoted && c == '\\')
            at++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '{' || c == '['))
            depth++;
        else if (!quoted && (c == '}' || c == ']') && --depth < 0)
            return at;
        if (depth == 0 && !quoted && (c == '"' || c == '}' || c == ']'))
            return at + 1;
        if (depth == 0 && !quoted && is_blank(c))
            return at;
    }
    return json.len;
}

/* The text of a member's value, empty when there is none of that name. */
static struct kp_str member(struct kp_str json, const char *name)
{
    uint32_t at = skip_blanks(json, 0);
    if (at == json.len || json.ptr[at] != '{')
        return (struct kp_str){NULL, 0};
    for (at = skip_blanks(json, at + 1); at < json.len && json.ptr[at] == '"';) {
        uint32_t end = skip_value(json, at);
        struct kp_str key = {json.ptr + at + 1, end - at < 2 ? 0 : end - at - 2};
        uint32_t from = skip_blanks(json, end);
        uint32_t to = skip_value(json, from);
        if (kp_str_equal(key, kp_str_from(name)))
            return (struct kp_str){json.ptr + from, to - from};
        at = skip_blanks(json, to);
    }
    return (struct kp_str){NULL, 0};
}

/* Text of a JSON string; false when it is none. */
static bool string_text(struct kp_str value, struct kp_buf *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (value.len < 2 || value.ptr[0] != '"' || value.ptr[value.len - 1] != '"')
        return false;
    uint32_t at = 1;
    for (; at + 1 < value.len; at++) {
        if (value.ptr[at] != '\\') {
            kp_buf_char(out, value.ptr[at]);
            continue;
        }
        const char *plain = value.ptr[++at] != '\0' ? strchr(from, value.ptr[at]) : NULL;
        if (plain != NULL) {
            kp_buf_char(out, to[plain - from]);
            continue;
        }
        char digits[5] = {0};
        if (at + 5 >= value.len || value.ptr[at] != 'u')
            return false;
        memcpy(digits, value.ptr + at + 1, 4);
        unsigned long code = strtoul(digits, NULL, 16);
        if (code == 0 || code > 0x7f) /* clients send letters as UTF-8; < > & come so */
            return false;
        kp_buf_char(out, (char)code);
        at += 4;
    }
    return at + 1 == value.len;
}

/* A sign of one character, as the delimiter. */
static bool read_sign(struct kp_str value, char *out)
{
    struct kp_buf text = {0};
    bool good = value.len == 0;
    if (!good && string_text(value, &text) && text.size == 1 && text.data[0] != '"' &&
        text.data[0] != '\n' && text.data[0] != '\r') {
        *out = text.data[0];
        good = true;
    }
    kp_buf_deinit(&text);
    return good;
}

static bool has_item(struct kp_str list, const char *item)
{
    return list.len > 0 && memmem(list.ptr, list.len, item, strlen(item)) != NULL;
}

static kp_status read_dialect(struct kp_str json, struct kpi_dialect *out, struct kp_error *err)
{
    struct kp_str list = member(json, "annotations");
    struct kp_str format = member(json, "dateTimeFormat");
    struct kp_str header = member(json, "header");
    out->header = !kp_str_equal(header, KP_STR("false"));
    out->datatype = has_item(list, "\"datatype\"");
    out->group = has_item(list, "\"group\"");
    out->defaults = has_item(list, "\"default\"");
    out->seconds = kp_str_equal(format, KP_STR("\"RFC3339\""));
    if (!read_sign(member(json, "delimiter"), &out->delimiter) ||
        !read_sign(member(json, "commentPrefix"), &out->comment))
        return kp_error_set(err, KP_INVALID,
                            "delimiter and commentPrefix of the dialect are one character each");
    if (format.len > 0 && !out->seconds && !kp_str_equal(format, KP_STR("\"RFC3339Nano\"")))
        return kp_error_set(err, KP_INVALID, "dateTimeFormat is RFC3339 or RFC3339Nano");
    return KP_OK;
}

kp_status kpi_flux_read(struct kp_str json, struct kp_buf *query, struct kpi_dialect *dialect,
                        struct kp_error *err)
{
    if (!string_text(member(json, "query"), query) || query->size == 0)
        return kp_error_set(err, KP_INVALID,
                            "the body must be JSON with the text of the query in \"query\"");
    return read_dialect(member(json, "dialect"), dialect, err);
}

/* --- calls --- */

static const struct {
    const char *name, *show;
    bool measurement, tag; /* arguments it takes */
    const char *column;    /* of the SHOW, which becomes _value */
} calls[] = {
    {"measurements", "SHOW MEASUREMENTS", false, false, "name"},
    {"tagKeys", "SHOW TAG KEYS", false, false, "tagKey"},
    {"measurementTagKeys", "SHOW TAG KEYS", true, false, "tagKey"},
    {"fieldKeys", "SHOW FIELD KEYS", false, false, "fieldKey"},
    {"measurementFieldKeys", "SHOW FIELD KEYS", true, false, "fieldKey"},
    {"tagValues", "SHOW TAG VALUES", false, true, "value"},
    {"measurementTagValues", "SHOW TAG VALUES", true, true, "value"},
};

struct call {
    struct kp_str name, measurement, tag;
    uint64_t limit;
};

static kp_status refuse(struct kpi_iq *iq)
{
    kp_error_set(iq->err, KP_UNSUPPORTED, "Flux itself is not spoken: '%.*s'",
                 (int)KP_MIN(iq->token.text.len, 60u), iq->token.text.ptr);
    kp_error_place(iq->err, 1, iq->token.at + 1, iq->token.end - iq->token.at);
    kp_error_hint(iq->err, "write the query in kprobe's language or in InfluxQL; of Flux there are "
                           "buckets(), v1.tagValues(bucket:, tag:) and its like");
    return KP_UNSUPPORTED;
}

/* bucket: "b", tag: "t") behind the bracket of a call. */
static kp_status read_arguments(struct kpi_iq *iq, struct call *call)
{
    struct kp_str ignored;
    while (!kpi_iq_take(iq, ")")) {
        struct kp_str *out = kpi_iq_is(iq, "bucket")        ? &ignored
                             : kpi_iq_is(iq, "measurement") ? &call->measurement
                             : kpi_iq_is(iq, "tag")         ? &call->tag
                                                            : NULL;
        if (out == NULL)
            return refuse(iq);
        kpi_iq_next(iq);
        if (!kpi_iq_take(iq, ":") || iq->token.kind != KPI_IQ_NAME)
            return kpi_iq_fail(iq, KP_INVALID, "a \"text\" is missing behind the argument");
        *out = iq->token.text;
        kpi_iq_next(iq);
        if (!kpi_iq_take(iq, ",") && !kpi_iq_is(iq, ")"))
            return kpi_iq_fail(iq, KP_INVALID, ") is missing");
    }
    return KP_OK;
}

/* |> limit(n: 3) and |> sort() behind a call. */
static kp_status read_pipes(struct kpi_iq *iq, struct call *call)
{
    while (kpi_iq_take(iq, "|")) {
        bool limit = kpi_iq_take(iq, ">") && kpi_iq_take(iq, "limit");
        if ((!limit && !kpi_iq_take(iq, "sort")) || !kpi_iq_take(iq, "("))
            return refuse(iq);
        if (limit && (!kpi_iq_take(iq, "n") || !kpi_iq_take(iq, ":")))
            return refuse(iq);
        kp_status status = limit ? kpi_iq_count(iq, &call->limit) : KP_OK;
        if (status != KP_OK || !kpi_iq_take(iq, ")"))
            return status != KP_OK ? status : refuse(iq);
    }
    return iq->token.kind == KPI_IQ_END ? KP_OK : refuse(iq);
}

/* The query that asks the same. */
static kp_status write_call(struct kpi_iq *iq, const struct call *call, struct kpi_inquiry *out)
{
    size_t i = 0;
    struct kp_buf show = {0};
    while (i < KP_ARRAY_LEN(calls) && !kp_str_equal(call->name, kp_str_from(calls[i].name)))
        i++;
    if (i == KP_ARRAY_LEN(calls) || calls[i].measurement != (call->measurement.ptr != NULL) ||
        calls[i].tag != (call->tag.ptr != NULL))
        return refuse(iq);
    kp_buf_text(&show, calls[i].show);
    if (calls[i].measurement)
        kp_buf_printf(&show, " FROM \"%.*s\"", (int)call->measurement.len, call->measurement.ptr);
    if (calls[i].tag)
        kp_buf_printf(&show, " WITH KEY = \"%.*s\"", (int)call->tag.len, call->tag.ptr);
    kp_status status =
        kpi_influxql((struct kp_str){kp_buf_cstr(&show), (uint32_t)show.size}, out, iq->err);
    kp_buf_deinit(&show);
    kp_buf_printf(&out->text, " | distinct _value = %s | sort by _value asc", calls[i].column);
    if (call->limit > 0)
        kp_buf_printf(&out->text, " | take %llu", (unsigned long long)call->limit);
    out->named = false;
    return status;
}

/* import "influxdata/influxdb/v1" and a call of it, or of schema; *out: it is one. */
static kp_status read_call(struct kpi_iq *iq, struct call *call, bool *out)
{
    while (kpi_iq_take(iq, "import"))
        if (iq->token.kind == KPI_IQ_NAME)
            kpi_iq_next(iq);
    *out = (kpi_iq_take(iq, "v1") || kpi_iq_take(iq, "schema")) && kpi_iq_take(iq, ".");
    call->name = iq->token.text;
    if (!*out)
        *out = kpi_iq_is(iq, "buckets");
    if (!*out)
        return KP_OK;
    kpi_iq_next(iq);
    if (!kpi_iq_take(iq, "("))
        return refuse(iq);
    kp_status status = read_arguments(iq, call);
    return status == KP_OK ? read_pipes(iq, call) : status;
}

bool kpi_flux_call(struct kp_str text, struct kpi_inquiry *out, kp_status *out_status,
                   struct kp_error *err)
{
    struct kpi_iq iq, first;
    struct call call = {.limit = 0};
    bool is = false;
    *out = (struct kpi_inquiry){0};
    kpi_iq_init(&iq, text, err);
    first = iq;
    *out_status = read_call(&iq, &call, &is);
    if (is && *out_status == KP_OK && kp_str_equal(call.name, KP_STR("buckets")))
        kp_buf_text(&out->text, "datatable(name:string,id:string)['kprobe','kprobe']");
    else if (is && *out_status == KP_OK)
        *out_status = write_call(&iq, &call, out);
    struct kpi_iq ahead = first;
    kpi_iq_next(&ahead);
    if (!is &&
        (kpi_iq_is(&first, "import") || (kpi_iq_is(&first, "from") && kpi_iq_is(&ahead, "(")))) {
        *out_status = refuse(&first);
        is = true;
    }
    return is;
}
