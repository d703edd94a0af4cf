/* SPDX-License-Identifier: Apache-2.0
 *
 * OTLP/HTTP protobuf (opentelemetry-proto, ExportTraceServiceRequest) into kpi_span, by a walk over
 * the wire format: no generated code, nothing is built that is not kept. Field numbers are those of
 * the .proto files; a field of another wire type is an unknown one, and unknown ones are skipped.
 *
 * As with JSON: bytes that are no message at all are INVALID and nothing is stored, a span that
 * cannot be kept is rejected alone, and all is understood before the first span is stored.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/assert.h"
#include "ingest/spans.h"
#include "ingest/utf8.h"

#define BODY_BYTES_MAX  ((size_t)64 << 20)
#define ARENA_BYTES_MAX ((size_t)512 << 20)
#define VALUE_DEPTH_MAX 32 /* nesting of attribute values */
#define REQUEST_SPANS   (1u << 20)

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct wire {
    const unsigned char *at, *end;
    bool bad; /* what stood there is no field */
};

struct field {
    uint64_t number;
    enum wire_type type;
    uint64_t value;      /* VARINT, 64 and 32 */
    struct kp_str bytes; /* BYTES */
};

struct walk {
    struct kp_arena arena;
    struct kp_buf text; /* JSON being written */
    struct kpi_span *spans;
    uint32_t count;
    bool malformed, no_memory;
};

/* --- the wire --- */

static struct wire wire_of(struct kp_str bytes)
{
    const unsigned char *at = (const unsigned char *)(bytes.ptr == NULL ? "" : bytes.ptr);
    return (struct wire){.at = at, .end = at + bytes.len};
}

/* At most ten bytes, of which the last adds one bit. */
static bool read_varint(struct wire *wire, uint64_t *out)
{
    uint64_t value = 0;
    for (uint32_t shift = 0; shift < 70 && wire->at < wire->end; shift += 7) {
        uint64_t piece = *wire->at++;
        if (shift == 63 && piece > 1)
            return false;
        value |= (piece & 0x7f) << shift;
        if ((piece & 0x80) == 0) {
            *out = value;
            return true;
        }
    }
    return false;
}

static bool read_fixed(struct wire *wire, uint32_t size, uint64_t *out)
{
    uint64_t value = 0;
    if ((size_t)(wire->end - wire->at) < size)
        return false;
    for (uint32_t i = 0; i < size; i++)
        value |= (uint64_t)wire->at[i] << (8 * i);
    wire->at += size;
    *out = value;
    return true;
}

static bool read_bytes(struct wire *wire, struct kp_str *out)
{
    uint64_t size = 0;
    if (!read_varint(wire, &size) || size > (uint64_t)(wire->end - wire->at))
        return false;
    *out = (struct kp_str){(const char *)wire->at, (uint32_t)size};
    wire->at += size;
    return true;
}

/* The next field; false at the end and where there is none (bad). */
static bool next_field(struct wire *wire, struct field *out)
{
    uint64_t tag = 0;
    bool good = false;
    *out = (struct field){.bytes = KP_STR("")};
    if (wire->at == wire->end)
        return false;
    if (read_varint(wire, &tag)) {
        out->number = tag >> 3;
        out->type = (enum wire_type)(tag & 7);
        if (out->type == WIRE_VARINT)
            good = read_varint(wire, &out->value);
        else if (out->type == WIRE_BYTES)
            good = read_bytes(wire, &out->bytes);
        else if (out->type == WIRE_64 || out->type == WIRE_32)
            good = read_fixed(wire, out->type == WIRE_64 ? 8 : 4, &out->value);
    }
    wire->bad = !good || out->number == 0;
    return !wire->bad;
}

static bool is_bytes(const struct field *field, uint64_t number)
{
    return field->number == number && field->type == WIRE_BYTES;
}

static bool is_number(const struct field *field, uint64_t number, enum wire_type type)
{
    return field->number == number && field->type == type;
}

/* How often the message has this field. */
static uint32_t count_fields(struct kp_str message, uint64_t number)
{
    struct wire wire = wire_of(message);
    struct field field;
    uint32_t count = 0;
    while (next_field(&wire, &field))
        count += is_bytes(&field, number);
    return count;
}

/* --- attribute values as JSON --- */

static bool write_value(struct walk *walk, struct kp_str value, int depth);

static void write_base64(struct kp_buf *text, struct kp_str bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *from = (const unsigned char *)bytes.ptr;
    kp_buf_char(text, '"');
    for (uint32_t at = 0; at < bytes.len; at += 3) {
        uint32_t left = KP_MIN(bytes.len - at, 3u);
        uint32_t group = (uint32_t)from[at] << 16;
        group |= left > 1 ? (uint32_t)from[at + 1] << 8 : 0;
        group |= left > 2 ? from[at + 2] : 0;
        for (uint32_t i = 0; i < 4; i++)
            kp_buf_char(text, i <= left ? digits[group >> (18 - 6 * i) & 63] : '=');
    }
    kp_buf_char(text, '"');
}

static void write_double(struct kp_buf *text, uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof(value));
    if (isfinite(value))
        kp_buf_printf(text, "%.17g", value);
    else
        kp_buf_text(text, isnan(value) ? "\"NaN\"" : value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
}

/* ArrayValue {1: values}. */
static bool write_list(struct walk *walk, struct kp_str message, int depth)
{
    struct wire wire = wire_of(message);
    struct field field;
    bool first = true, good = true;
    kp_buf_char(&walk->text, '[');
    while (good && next_field(&wire, &field)) {
        if (!is_bytes(&field, 1))
            continue;
        kp_buf_text(&walk->text, first ? "" : ",");
        first = false;
        good = write_value(walk, field.bytes, depth + 1);
    }
    kp_buf_char(&walk->text, ']');
    return good && !wire.bad;
}

/* KeyValue {1: key, 2: value}; false: it is malformed. */
static bool read_pair(struct kp_str message, struct kp_str *out_key, struct kp_str *out_value)
{
    struct wire wire = wire_of(message);
    struct field field;
    *out_key = *out_value = KP_STR("");
    while (next_field(&wire, &field)) {
        if (is_bytes(&field, 1))
            *out_key = field.bytes;
        else if (is_bytes(&field, 2))
            *out_value = field.bytes;
    }
    return !wire.bad;
}

/* The KeyValues in field `number` of a message, as an object. */
static bool write_map(struct walk *walk, struct kp_str message, uint64_t number, int depth)
{
    struct wire wire = wire_of(message);
    struct field field;
    bool first = true, good = true;
    kp_buf_char(&walk->text, '{');
    while (good && next_field(&wire, &field)) {
        struct kp_str key, value;
        if (!is_bytes(&field, number))
            continue;
        kp_buf_text(&walk->text, first ? "" : ",");
        first = false;
        good = read_pair(field.bytes, &key, &value);
        kpi_json_text(&walk->text, key);
        kp_buf_char(&walk->text, ':');
        good = good && write_value(walk, value, depth + 1);
    }
    kp_buf_char(&walk->text, '}');
    return good && !wire.bad;
}

/* The field of an AnyValue that counts: the last of its oneof; number 0 when it is empty. */
static bool find_value(struct kp_str message, struct field *out)
{
    struct wire wire = wire_of(message);
    struct field field;
    *out = (struct field){0};
    while (next_field(&wire, &field)) {
        bool known = field.type == WIRE_BYTES
                         ? field.number == 1 || (field.number >= 5 && field.number <= 7)
                     : field.type == WIRE_VARINT ? field.number == 2 || field.number == 3
                                                 : is_number(&field, 4, WIRE_64);
        if (known)
            *out = field;
    }
    return !wire.bad;
}

/* An AnyValue {1 text, 2 bool, 3 int, 4 double, 5 list, 6 map, 7 bytes}; an empty one is null. */
static bool write_value(struct walk *walk, struct kp_str value, int depth)
{
    struct kp_buf *text = &walk->text;
    struct field field;
    if (depth > VALUE_DEPTH_MAX || !find_value(value, &field))
        return false;
    switch (field.number) {
    case 1:
        kpi_json_text(text, field.bytes);
        return true;
    case 2:
        kp_buf_text(text, field.value != 0 ? "true" : "false");
        return true;
    case 3:
        kp_buf_printf(text, "%" PRId64, (int64_t)field.value);
        return true;
    case 4:
        write_double(text, field.value);
        return true;
    case 5:
        return write_list(walk, field.bytes, depth);
    case 6:
        return write_map(walk, field.bytes, 1, depth);
    case 7:
        write_base64(text, field.bytes);
        return true;
    default:
        kp_buf_text(text, "null");
        return true;
    }
}

/* Keeps what was written to walk->text since `from` in the arena. */
static struct kp_str keep_text(struct walk *walk, size_t from)
{
    struct kp_str kept = {"", 0};
    if (walk->text.failed || walk->text.size - from > UINT32_MAX) {
        walk->no_memory = true;
        return kept;
    }
    struct kp_str written = {kp_buf_cstr(&walk->text) + from, (uint32_t)(walk->text.size - from)};
    kept = kp_arena_str(&walk->arena, written);
    walk->no_memory |= kept.ptr == NULL && written.len > 0;
    return kept.ptr == NULL ? KP_STR("") : kept;
}

/* One KeyValue as an attribute. NULL, or what is wrong with it. */
static const char *read_attr(struct walk *walk, struct kp_str message, struct kpi_attr *attr)
{
    struct kp_str value;
    struct field field;
    if (!read_pair(message, &attr->key, &value) || !find_value(value, &field))
        return "an attribute is not a key and a value";
    bool text = field.number == 1;
    if (!kpi_utf8_valid(attr->key) || (text && !kpi_utf8_valid(field.bytes)))
        return "an attribute is not UTF-8";
    kp_buf_clear(&walk->text);
    kpi_json_text(&walk->text, attr->key);
    kp_buf_char(&walk->text, ':');
    size_t value_at = walk->text.size;
    if (!write_value(walk, value, 0))
        return "an attribute value is malformed or nested too deep";
    attr->member = keep_text(walk, 0);
    attr->scalar = text || field.number == 3;
    if (attr->scalar)
        attr->text = text ? field.bytes : keep_text(walk, value_at);
    return NULL;
}

/* The KeyValues in field `number` of a message. NULL, or what is wrong with one. */
static const char *read_attrs(struct walk *walk, struct kp_str message, uint64_t number,
                              struct kpi_attrs *out)
{
    struct wire wire = wire_of(message);
    struct field field;
    uint32_t all = count_fields(message, number), count = 0;
    uint32_t most = KP_MIN(all, (uint32_t)KPI_ATTRS_MAX);
    struct kpi_attr *items = kp_arena_zalloc(&walk->arena, most + 1, sizeof(*items));
    const char *bad = NULL;
    if (items == NULL) {
        walk->no_memory = true;
        return NULL;
    }
    while (bad == NULL && count < most && next_field(&wire, &field))
        if (is_bytes(&field, number))
            bad = read_attr(walk, field.bytes, &items[count++]);
    *out = (struct kpi_attrs){.items = items, .count = count, .cut = all > most};
    return bad;
}

/* --- spans --- */

/* The bytes of an id in hexadecimal. */
static struct kp_str hex(struct walk *walk, struct kp_str id)
{
    kp_buf_clear(&walk->text);
    for (uint32_t i = 0; i < KP_MIN(id.len, 32u); i++) /* longer than that is refused anyway */
        kp_buf_printf(&walk->text, "%02x", (unsigned char)id.ptr[i]);
    return keep_text(walk, 0);
}

/* Status {2 message, 3 code}. */
static bool read_status(struct kp_str message, struct kpi_span *span)
{
    struct wire wire = wire_of(message);
    struct field field;
    while (next_field(&wire, &field)) {
        if (is_bytes(&field, 2))
            span->status_msg = field.bytes;
        else if (is_number(&field, 3, WIRE_VARINT))
            span->status = (int64_t)field.value;
    }
    return !wire.bad;
}

/* Event {1 time, 2 name, 3 attributes}: {"ts":ns,"name":"...","attrs":{...}} */
static bool write_event(struct walk *walk, struct kp_str message)
{
    struct wire wire = wire_of(message);
    struct field field;
    struct kp_str name = KP_STR("");
    uint64_t at = 0;
    while (next_field(&wire, &field)) {
        if (is_number(&field, 1, WIRE_64))
            at = field.value;
        else if (is_bytes(&field, 2))
            name = field.bytes;
    }
    if (wire.bad || at > INT64_MAX)
        return false;
    kp_buf_printf(&walk->text, "{\"ts\":%" PRIu64 ",\"name\":", at);
    kpi_json_text(&walk->text, name);
    kp_buf_text(&walk->text, ",\"attrs\":");
    bool good = write_map(walk, message, 3, 0);
    kp_buf_char(&walk->text, '}');
    return good;
}

static const char *read_events(struct walk *walk, struct kp_str message, struct kpi_span *span)
{
    struct wire wire = wire_of(message);
    struct field field;
    bool good = true;
    kp_buf_clear(&walk->text);
    while (good && next_field(&wire, &field)) {
        if (!is_bytes(&field, 11))
            continue;
        kp_buf_char(&walk->text, walk->text.size == 0 ? '[' : ',');
        good = write_event(walk, field.bytes);
    }
    if (!good)
        return "an event is malformed";
    if (walk->text.size > 0) {
        kp_buf_char(&walk->text, ']');
        span->events = keep_text(walk, 0);
    }
    return NULL;
}

/* A field of the span that is a number or a text. */
static void read_span_field(struct walk *walk, const struct field *field, struct kpi_span *span)
{
    if (is_bytes(field, 1))
        span->trace_id = hex(walk, field->bytes);
    else if (is_bytes(field, 2))
        span->span_id = hex(walk, field->bytes);
    else if (is_bytes(field, 4))
        span->parent_id = hex(walk, field->bytes);
    else if (is_bytes(field, 5))
        span->name = field->bytes;
    else if (is_number(field, 6, WIRE_VARINT))
        span->kind = (int64_t)field->value;
    else if (is_number(field, 7, WIRE_64))
        span->start = (kp_time)field->value; /* beyond 2^63 it is negative, and refused */
    else if (is_number(field, 8, WIRE_64))
        span->end = (kp_time)field->value;
    else if (is_bytes(field, 15) && !read_status(field->bytes, span))
        span->bad = "the status is malformed";
}

static const char *check_fields(const struct kpi_span *span)
{
    if (span->start < 0 || span->end < 0)
        return "a time lies beyond the year 2262";
    if (span->kind < 0 || span->kind > INT32_MAX)
        return "kind is not a span kind";
    if (span->status < 0 || span->status > INT32_MAX)
        return "status.code is not a status";
    return kpi_utf8_valid(span->name) && kpi_utf8_valid(span->status_msg) ? NULL
                                                                          : "a text is not UTF-8";
}

/* Span {1 trace, 2 span, 4 parent, 5 name, 6 kind, 7 start, 8 end, 9 attributes, 11 events, 15
 * status}. */
static void read_span(struct walk *walk, struct kp_str message, const struct kpi_attrs *resource)
{
    struct kpi_span *span = &walk->spans[walk->count++];
    struct wire wire = wire_of(message);
    struct field field;
    *span = (struct kpi_span){.resource = resource,
                              .trace_id = KP_STR(""),
                              .span_id = KP_STR(""),
                              .parent_id = KP_STR(""),
                              .name = KP_STR(""),
                              .status_msg = KP_STR(""),
                              .events = KP_STR("")};
    while (next_field(&wire, &field))
        read_span_field(walk, &field, span);
    walk->malformed |= wire.bad;
    if (span->bad == NULL)
        span->bad = check_fields(span);
    if (span->bad == NULL)
        span->bad = read_attrs(walk, message, 9, &span->attrs);
    if (span->bad == NULL)
        span->bad = read_events(walk, message, span);
}

/* --- the request --- */

/* The message in field `number` of another: what the last one says; empty when there is none. */
static struct kp_str find_message(struct kp_str message, uint64_t number)
{
    struct wire wire = wire_of(message);
    struct field field;
    struct kp_str found = KP_STR("");
    while (next_field(&wire, &field))
        if (is_bytes(&field, number))
            found = field.bytes;
    return found;
}

typedef void (*visit_fn)(struct walk *walk, struct kp_str message,
                         const struct kpi_attrs *resource);

static void visit_all(struct walk *walk, struct kp_str message, uint64_t number,
                      const struct kpi_attrs *resource, visit_fn visit)
{
    struct wire wire = wire_of(message);
    struct field field;
    while (!walk->malformed && !walk->no_memory && next_field(&wire, &field))
        if (is_bytes(&field, number))
            visit(walk, field.bytes, resource);
    walk->malformed |= wire.bad;
}

static void count_scope(struct walk *walk, struct kp_str message, const struct kpi_attrs *resource)
{
    (void)resource;
    uint32_t count = count_fields(message, 2);
    walk->count = count > REQUEST_SPANS - walk->count ? REQUEST_SPANS + 1 : walk->count + count;
    walk->no_memory |= walk->count > REQUEST_SPANS;
}

static void count_resource(struct walk *walk, struct kp_str message,
                           const struct kpi_attrs *resource)
{
    visit_all(walk, message, 2, resource, count_scope);
}

static void read_scope(struct walk *walk, struct kp_str message, const struct kpi_attrs *resource)
{
    visit_all(walk, message, 2, resource, read_span);
}

/* ResourceSpans {1 resource {1 attributes}, 2 scope_spans}, in any order. */
static void read_resource(struct walk *walk, struct kp_str message,
                          const struct kpi_attrs *resource)
{
    struct kpi_attrs *attrs = kp_arena_zalloc(&walk->arena, 1, sizeof(*attrs));
    (void)resource;
    if (attrs == NULL)
        walk->no_memory = true;
    else if (read_attrs(walk, find_message(message, 1), 1, attrs) != NULL)
        walk->malformed = true;
    else
        visit_all(walk, message, 2, attrs, read_scope);
}

static kp_status read_request(struct walk *walk, struct kp_str body, struct kp_error *err)
{
    visit_all(walk, body, 1, NULL, count_resource);
    if (walk->count > REQUEST_SPANS)
        return kp_error_set(err, KP_LIMIT, "the request has more than %u spans", REQUEST_SPANS);
    walk->spans = kp_arena_zalloc(&walk->arena, walk->count + 1, sizeof(*walk->spans));
    walk->count = 0;
    if (walk->spans == NULL)
        return kp_arena_error(&walk->arena, err);
    visit_all(walk, body, 1, NULL, read_resource);
    if (walk->malformed)
        return kp_error_set(err, KP_INVALID,
                            "not an OTLP trace request: the protobuf is malformed");
    return walk->no_memory ? kp_arena_error(&walk->arena, err) : KP_OK;
}

kp_status kp_otlp_proto(struct kp_store *store, const struct kp_span_opts *opts, struct kp_str body,
                        struct kp_otlp_result *out, struct kp_error *err)
{
    struct kp_otlp_result result = {0};
    size_t limit = opts != NULL && opts->body_bytes_max > 0 ? opts->body_bytes_max : BODY_BYTES_MAX;
    if (body.len > limit)
        return kp_error_set(err, KP_LIMIT, "the request has %" PRIu32 " bytes, more than %zu",
                            body.len, limit);
    struct walk walk = {0};
    kp_arena_init(&walk.arena, ARENA_BYTES_MAX);
    walk.arena.owner = "OTLP request";
    kp_status status = read_request(&walk, body, err);
    if (status == KP_OK) {
        status = kpi_spans_store(store, opts, walk.spans, walk.count, &result);
        if (status != KP_OK)
            kp_error_set(err, status, "the spans could not be stored: %s", kp_status_text(status));
        *out = result;
    }
    kp_buf_deinit(&walk.text);
    kp_arena_deinit(&walk.arena);
    return status;
}
