/* SPDX-License-Identifier: Apache-2.0
 *
 * OTLP/HTTP JSON (opentelemetry-proto, ExportTraceServiceRequest in the protobuf JSON mapping, with
 * hex ids) into kpi_span. The only user of jansson.
 *
 * Two kinds of wrong: a document that is not a request at all (INVALID, nothing is stored) and a
 * span that cannot be kept (rejected and counted, the rest is stored). The whole document is
 * understood before the first span is stored. Unknown fields are ignored.
 */
#include "ingest/spans.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/assert.h"
#include "ingest/utf8.h"

#define BODY_BYTES_MAX  ((size_t)64 << 20)
#define ARENA_BYTES_MAX ((size_t)512 << 20)
#define VALUE_DEPTH_MAX 32 /* nesting of attribute values */
#define REQUEST_SPANS   (1u << 20)

struct parse {
    struct kp_arena arena;
    struct kp_buf text; /* JSON being written */
    struct kpi_span *spans;
    uint32_t count;
    struct kp_error *err;
};

static kp_status parse_request(struct parse *parse, const json_t *root);
static kp_status parse_resource_spans(struct parse *parse, const json_t *entry);
static kp_status parse_scope_spans(struct parse *parse, const json_t *entry,
                                   const struct kpi_attrs *resource);
static kp_status parse_span(struct parse *parse, const json_t *entry, struct kpi_span *span);
static kp_status parse_attrs(struct parse *parse, const json_t *list, struct kpi_attrs *out,
                             const char **out_bad);
static kp_status parse_events(struct parse *parse, const json_t *list, struct kpi_span *span);
static bool write_value(struct kp_buf *text, const json_t *value, int depth);

kp_status kp_otlp_json(struct kp_store *store, const struct kp_span_opts *opts, struct kp_str body,
                       struct kp_otlp_result *out, struct kp_error *err)
{
    struct kp_otlp_result result = {0};
    size_t limit = opts != NULL && opts->body_bytes_max > 0 ? opts->body_bytes_max : BODY_BYTES_MAX;
    if (body.len > limit)
        return kp_error_set(err, KP_LIMIT, "the request has %" PRIu32 " bytes, more than %zu",
                            body.len, limit);
    json_error_t where;
    json_t *root = json_loadb(body.ptr == NULL ? "" : body.ptr, body.len, JSON_ALLOW_NUL, &where);
    if (root == NULL)
        return kp_error_set(err, KP_INVALID, "the body is not JSON: %s (line %d, column %d)",
                            where.text, where.line, where.column);
    struct parse parse = {.err = err};
    kp_arena_init(&parse.arena, ARENA_BYTES_MAX);
    parse.arena.owner = "OTLP request";
    kp_status status = parse_request(&parse, root);
    if (status == KP_OK) {
        status = kpi_spans_store(store, opts, parse.spans, parse.count, &result);
        if (status != KP_OK)
            kp_error_set(err, status, "the spans could not be stored: %s", kp_status_text(status));
        *out = result;
    }
    kp_buf_deinit(&parse.text);
    kp_arena_deinit(&parse.arena);
    json_decref(root);
    return status;
}

/* --- the request --- */

static kp_status malformed(struct parse *parse, const char *what)
{
    return kp_error_set(parse->err, KP_INVALID, "not an OTLP trace request: %s", what);
}

static uint64_t count_spans(const json_t *root)
{
    uint64_t count = 0;
    size_t i, j;
    json_t *resource, *scope;
    json_array_foreach(json_object_get(root, "resourceSpans"), i, resource)
    {
        json_array_foreach(json_object_get(resource, "scopeSpans"), j, scope)
        {
            count += json_array_size(json_object_get(scope, "spans"));
        }
    }
    return count;
}

static kp_status parse_request(struct parse *parse, const json_t *root)
{
    if (!json_is_object(root))
        return malformed(parse, "the document is not an object");
    const json_t *list = json_object_get(root, "resourceSpans");
    if (list == NULL || json_is_null(list))
        return KP_OK;
    if (!json_is_array(list))
        return malformed(parse, "resourceSpans is not an array");
    uint64_t count = count_spans(root);
    if (count > REQUEST_SPANS)
        return kp_error_set(parse->err, KP_LIMIT, "the request has %" PRIu64 " spans, more than %u",
                            count, REQUEST_SPANS);
    parse->spans = kp_arena_zalloc(&parse->arena, count + 1, sizeof(*parse->spans));
    if (parse->spans == NULL)
        return kp_arena_error(&parse->arena, parse->err);
    kp_status status = KP_OK;
    for (size_t i = 0; status == KP_OK && i < json_array_size(list); i++)
        status = parse_resource_spans(parse, json_array_get(list, i));
    return status;
}

static kp_status parse_resource_spans(struct parse *parse, const json_t *entry)
{
    if (!json_is_object(entry))
        return malformed(parse, "an entry of resourceSpans is not an object");
    const json_t *resource = json_object_get(entry, "resource");
    const json_t *scopes = json_object_get(entry, "scopeSpans");
    struct kpi_attrs *attrs = kp_arena_zalloc(&parse->arena, 1, sizeof(*attrs));
    const char *bad = NULL;
    if (attrs == NULL)
        return kp_arena_error(&parse->arena, parse->err);
    if (resource != NULL && !json_is_null(resource) && !json_is_object(resource))
        return malformed(parse, "resource is not an object");
    kp_status status = parse_attrs(parse, json_object_get(resource, "attributes"), attrs, &bad);
    if (status != KP_OK)
        return status;
    if (bad != NULL)
        return malformed(parse, bad);
    if (scopes == NULL || json_is_null(scopes))
        return KP_OK;
    if (!json_is_array(scopes))
        return malformed(parse, "scopeSpans is not an array");
    for (size_t i = 0; status == KP_OK && i < json_array_size(scopes); i++)
        status = parse_scope_spans(parse, json_array_get(scopes, i), attrs);
    return status;
}

static kp_status parse_scope_spans(struct parse *parse, const json_t *entry,
                                   const struct kpi_attrs *resource)
{
    if (!json_is_object(entry))
        return malformed(parse, "an entry of scopeSpans is not an object");
    const json_t *spans = json_object_get(entry, "spans");
    if (spans == NULL || json_is_null(spans))
        return KP_OK;
    if (!json_is_array(spans))
        return malformed(parse, "spans is not an array");
    kp_status status = KP_OK;
    for (size_t i = 0; status == KP_OK && i < json_array_size(spans); i++) {
        const json_t *span = json_array_get(spans, i);
        if (!json_is_object(span))
            return malformed(parse, "an entry of spans is not an object");
        struct kpi_span *to = &parse->spans[parse->count++];
        to->resource = resource;
        status = parse_span(parse, span, to);
    }
    return status;
}

/* --- scalars of the protobuf JSON mapping --- */

static bool absent(const json_t *value)
{
    return value == NULL || json_is_null(value);
}

/* A string field; absent is empty. False: it is something else. */
static bool get_text(const json_t *object, const char *field, struct kp_str *out)
{
    const json_t *value = json_object_get(object, field);
    *out = KP_STR("");
    if (absent(value))
        return true;
    if (!json_is_string(value))
        return false;
    *out = (struct kp_str){json_string_value(value), (uint32_t)json_string_length(value)};
    return true;
}

static bool parse_decimal(const char *text, int64_t *out)
{
    bool minus = *text == '-';
    int64_t value = 0;
    text += minus;
    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, *text - '0', &value))
            return false;
    }
    return minus ? (*out = value, true) : !__builtin_sub_overflow(0, value, out);
}

/* A 64-bit integer as number or decimal string; absent is 0. A real counts when it is integral. */
static bool value_i64(const json_t *value, int64_t *out)
{
    *out = 0;
    if (absent(value))
        return true;
    if (json_is_integer(value)) {
        *out = json_integer_value(value);
        return true;
    }
    if (json_is_string(value))
        return parse_decimal(json_string_value(value), out);
    if (!json_is_real(value))
        return false;
    double real = json_real_value(value);
    if (!(real > -0x1p63 && real < 0x1p63) || real != (double)(int64_t)real)
        return false;
    *out = (int64_t)real;
    return true;
}

static bool get_time(const json_t *object, const char *field, kp_time *out)
{
    return value_i64(json_object_get(object, field), out) && *out >= 0;
}

/* An enum by number, or by its protobuf name: prefix and the upper-case name of ours. A number that
 * is not known is kept: later versions of the protocol may add some. */
static bool get_enum(const json_t *object, const char *field, const char *prefix,
                     const char *stored_name, int64_t *out)
{
    const json_t *value = json_object_get(object, field);
    *out = 0;
    if (absent(value))
        return true;
    if (json_is_integer(value)) {
        *out = json_integer_value(value);
        return *out >= 0 && *out <= INT32_MAX;
    }
    const char *text = json_string_value(value);
    if (text == NULL || strncmp(text, prefix, strlen(prefix)) != 0)
        return false;
    const struct kp_stream *stream = kp_stream_by_number(KP_S_SPANS);
    const struct kp_stored_column *column = &stream->stored[kp_stream_stored(stream, stored_name)];
    for (uint32_t i = 0; i < column->names_count; i++) {
        *out = column->names[i].value;
        if (kp_str_equal_nocase(kp_str_from(text + strlen(prefix)),
                                kp_str_from(column->names[i].name)))
            return true;
    }
    return false;
}

/* --- spans --- */

static const char *parse_fields(const json_t *entry, struct kpi_span *span)
{
    const json_t *status = json_object_get(entry, "status");
    if (!get_text(entry, "traceId", &span->trace_id) ||
        !get_text(entry, "spanId", &span->span_id) ||
        !get_text(entry, "parentSpanId", &span->parent_id))
        return "an id is not a string";
    if (!get_text(entry, "name", &span->name))
        return "name is not a string";
    if (!get_time(entry, "startTimeUnixNano", &span->start))
        return "startTimeUnixNano is not a time";
    if (!get_time(entry, "endTimeUnixNano", &span->end))
        return "endTimeUnixNano is not a time";
    if (!get_enum(entry, "kind", "SPAN_KIND_", "kind", &span->kind))
        return "kind is not a span kind";
    if (!absent(status) && !json_is_object(status))
        return "status is not an object";
    if (!get_enum(status, "code", "STATUS_CODE_", "status", &span->status))
        return "status.code is not a status";
    return get_text(status, "message", &span->status_msg) ? NULL : "status.message is not a string";
}

static kp_status parse_span(struct parse *parse, const json_t *entry, struct kpi_span *span)
{
    span->bad = parse_fields(entry, span);
    if (span->bad != NULL)
        return KP_OK;
    kp_status status =
        parse_attrs(parse, json_object_get(entry, "attributes"), &span->attrs, &span->bad);
    if (status == KP_OK && span->bad == NULL)
        status = parse_events(parse, json_object_get(entry, "events"), span);
    return status;
}

/* --- attributes --- */

static bool write_list(struct kp_buf *text, const json_t *list, int depth)
{
    size_t i;
    json_t *value;
    if (!absent(list) && !json_is_array(list))
        return false;
    kp_buf_char(text, '[');
    json_array_foreach(list, i, value)
    {
        if (i > 0)
            kp_buf_char(text, ',');
        if (!write_value(text, value, depth + 1))
            return false;
    }
    kp_buf_char(text, ']');
    return true;
}

static bool write_map(struct kp_buf *text, const json_t *list, int depth)
{
    size_t i;
    json_t *pair;
    struct kp_str key;
    if (!absent(list) && !json_is_array(list))
        return false;
    kp_buf_char(text, '{');
    json_array_foreach(list, i, pair)
    {
        if (i > 0)
            kp_buf_char(text, ',');
        if (!json_is_object(pair) || !get_text(pair, "key", &key))
            return false;
        kpi_json_text(text, key);
        kp_buf_char(text, ':');
        if (!write_value(text, json_object_get(pair, "value"), depth + 1))
            return false;
    }
    kp_buf_char(text, '}');
    return true;
}

static bool write_double(struct kp_buf *text, const json_t *value)
{
    if (json_is_string(value)) /* "NaN", "Infinity", "-Infinity", or digits */
        kpi_json_text(text, kp_str_from(json_string_value(value)));
    else if (json_is_number(value))
        kp_buf_printf(text, "%.17g", json_number_value(value));
    else
        return false;
    return true;
}

/* An AnyValue as plain JSON; an empty one is null. False: not an AnyValue, or nested too deep. */
static bool write_value(struct kp_buf *text, const json_t *value, int depth)
{
    const json_t *in;
    struct kp_str string;
    int64_t number;
    if (depth > VALUE_DEPTH_MAX || (!absent(value) && !json_is_object(value)))
        return false;
    if ((in = json_object_get(value, "arrayValue")) != NULL)
        return write_list(text, json_object_get(in, "values"), depth);
    if ((in = json_object_get(value, "kvlistValue")) != NULL)
        return write_map(text, json_object_get(in, "values"), depth);
    if ((in = json_object_get(value, "doubleValue")) != NULL)
        return write_double(text, in);
    if ((in = json_object_get(value, "boolValue")) != NULL) {
        kp_buf_text(text, json_is_true(in) ? "true" : "false");
        return json_is_boolean(in);
    }
    if ((in = json_object_get(value, "intValue")) != NULL) {
        bool good = value_i64(in, &number);
        kp_buf_printf(text, "%" PRId64, number);
        return good;
    }
    const char *field = json_object_get(value, "bytesValue") != NULL ? "bytesValue" : "stringValue";
    if (json_object_get(value, field) == NULL) {
        kp_buf_text(text, "null");
        return true;
    }
    bool good = get_text(value, field, &string);
    kpi_json_text(text, string);
    return good;
}

/* Keeps what was written to parse->text since `from` in the arena. */
static bool keep_text(struct parse *parse, size_t from, struct kp_str *out)
{
    if (parse->text.failed || parse->text.size - from > UINT32_MAX)
        return false;
    struct kp_str written = {parse->text.data + from, (uint32_t)(parse->text.size - from)};
    *out = kp_arena_str(&parse->arena, written);
    return out->ptr != NULL || written.len == 0;
}

static kp_status parse_attr(struct parse *parse, const json_t *entry, struct kpi_attr *attr,
                            const char **out_bad)
{
    const json_t *value = json_object_get(entry, "value");
    struct kp_buf *text = &parse->text;
    if (!json_is_object(entry) || !get_text(entry, "key", &attr->key)) {
        *out_bad = "an attribute is not a key and a value";
        return KP_OK;
    }
    kp_buf_clear(text);
    kpi_json_text(text, attr->key);
    kp_buf_char(text, ':');
    size_t value_at = text->size;
    if (!write_value(text, value, 0)) {
        *out_bad = "an attribute value is malformed or nested too deep";
        return KP_OK;
    }
    bool kept = keep_text(parse, 0, &attr->member);
    if (kept && json_object_get(value, "intValue") != NULL) {
        attr->scalar = true;
        kept = keep_text(parse, value_at, &attr->text);
    } else if (json_object_get(value, "stringValue") != NULL) {
        attr->scalar = get_text(value, "stringValue", &attr->text);
    }
    return kept ? KP_OK : kp_arena_error(&parse->arena, parse->err);
}

static kp_status parse_attrs(struct parse *parse, const json_t *list, struct kpi_attrs *out,
                             const char **out_bad)
{
    if (absent(list))
        return KP_OK;
    if (!json_is_array(list)) {
        *out_bad = "attributes is not an array";
        return KP_OK;
    }
    size_t count = json_array_size(list);
    out->cut = count > KPI_ATTRS_MAX;
    count = KP_MIN(count, (size_t)KPI_ATTRS_MAX);
    struct kpi_attr *items = kp_arena_zalloc(&parse->arena, count + 1, sizeof(*items));
    if (items == NULL)
        return kp_arena_error(&parse->arena, parse->err);
    kp_status status = KP_OK;
    for (size_t i = 0; status == KP_OK && *out_bad == NULL && i < count; i++)
        status = parse_attr(parse, json_array_get(list, i), &items[i], out_bad);
    out->items = items;
    out->count = (uint32_t)count;
    return status;
}

/* --- events of a span: [{"ts":ns,"name":"...","attrs":{...}},...] --- */

static bool write_event(struct kp_buf *text, const json_t *event)
{
    struct kp_str name;
    kp_time at;
    if (!json_is_object(event) || !get_text(event, "name", &name) ||
        !get_time(event, "timeUnixNano", &at))
        return false;
    kp_buf_printf(text, "{\"ts\":%" PRId64 ",\"name\":", at);
    kpi_json_text(text, name);
    kp_buf_text(text, ",\"attrs\":");
    bool good = write_map(text, json_object_get(event, "attributes"), 0);
    kp_buf_char(text, '}');
    return good;
}

static kp_status parse_events(struct parse *parse, const json_t *list, struct kpi_span *span)
{
    if (absent(list) || (json_is_array(list) && json_array_size(list) == 0))
        return KP_OK;
    size_t i;
    json_t *event;
    bool good = json_is_array(list);
    kp_buf_clear(&parse->text);
    kp_buf_char(&parse->text, '[');
    json_array_foreach(list, i, event)
    {
        if (i > 0)
            kp_buf_char(&parse->text, ',');
        good = good && write_event(&parse->text, event);
    }
    kp_buf_char(&parse->text, ']');
    if (!good)
        span->bad = "an event is malformed";
    else if (!keep_text(parse, 0, &span->events))
        return kp_arena_error(&parse->arena, parse->err);
    return KP_OK;
}
