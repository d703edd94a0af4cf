/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON and NDJSON. Integers and durations are numbers in full (a reader that needs more than 2^53
 * must parse integers as such), times RFC 3339 strings, decimals strings, infinities null, dynamic
 * values nested when they are well-formed JSON and strings otherwise.
 */
#include <math.h>

#include "render/render_int.h"

#define JSON_DEPTH_MAX 64

void kp_json_str(struct kp_buf *out, struct kp_str text)
{
    kp_buf_char(out, '"');
    for (uint32_t at = 0; at < text.len;) {
        uint32_t code = 0, length = kpi_utf8_next(text, at, &code);
        if (length == 0)
            kp_buf_text(out, "\\ufffd");
        else if (code == '"' || code == '\\')
            kp_buf_printf(out, "\\%c", (char)code);
        else if (code == '\n')
            kp_buf_text(out, "\\n");
        else if (code < 0x20 || code == 0x7F)
            kp_buf_printf(out, "\\u%04x", code);
        else
            kp_buf_add(out, text.ptr + at, length);
        at += length == 0 ? 1 : length;
    }
    kp_buf_char(out, '"');
}

/* --- is a text one well-formed JSON value? --- */

static void skip_space(struct kp_str text, uint32_t *at)
{
    while (*at < text.len && strchr(" \t\r\n", text.ptr[*at]) != NULL && text.ptr[*at] != '\0')
        (*at)++;
}

static bool skip_string(struct kp_str text, uint32_t *at)
{
    for ((*at)++; *at < text.len; (*at)++) {
        unsigned char c = (unsigned char)text.ptr[*at];
        if (c < 0x20)
            return false;
        if (c == '\\')
            (*at)++;
        else if (c == '"')
            return ++(*at), true;
    }
    return false;
}

static bool skip_atom(struct kp_str text, uint32_t *at)
{
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < 3; i++) {
        size_t length = strlen(words[i]);
        if (text.len - *at >= length && memcmp(text.ptr + *at, words[i], length) == 0)
            return *at += (uint32_t)length, true;
    }
    uint32_t from = *at;
    bool digit = false;
    while (*at < text.len && text.ptr[*at] != '\0' && strchr("+-.eE0123456789", text.ptr[*at])) {
        digit |= text.ptr[*at] >= '0' && text.ptr[*at] <= '9';
        (*at)++;
    }
    return digit && (text.ptr[from] == '-' || (text.ptr[from] >= '0' && text.ptr[from] <= '9'));
}

static bool skip_value(struct kp_str text, uint32_t *at, uint32_t depth);

/* Members of an object or elements of an array, from the opening bracket on. */
static bool skip_list(struct kp_str text, uint32_t *at, uint32_t depth)
{
    char close = text.ptr[*at] == '{' ? '}' : ']';
    (*at)++;
    for (bool first = true;; first = false) {
        skip_space(text, at);
        if (*at < text.len && first && text.ptr[*at] == close)
            return ++(*at), true;
        if (close == '}') {
            if (*at >= text.len || text.ptr[*at] != '"' || !skip_string(text, at))
                return false;
            skip_space(text, at);
            if (*at >= text.len || text.ptr[(*at)++] != ':')
                return false;
        }
        if (!skip_value(text, at, depth + 1))
            return false;
        skip_space(text, at);
        if (*at >= text.len)
            return false;
        char c = text.ptr[(*at)++];
        if (c == close)
            return true;
        if (c != ',')
            return false;
    }
}

static bool skip_value(struct kp_str text, uint32_t *at, uint32_t depth)
{
    skip_space(text, at);
    if (*at >= text.len || depth > JSON_DEPTH_MAX)
        return false;
    char c = text.ptr[*at];
    if (c == '{' || c == '[')
        return skip_list(text, at, depth);
    return c == '"' ? skip_string(text, at) : skip_atom(text, at);
}

static bool json_valid(struct kp_str text)
{
    uint32_t at = 0;
    if (!skip_value(text, &at, 0))
        return false;
    skip_space(text, &at);
    return at == text.len;
}

/* --- values and documents --- */

void kpi_json_cell(struct kp_buf *out, const struct kp_field *field, const struct kp_vec *vec,
                   uint32_t row)
{
    if (vec->type == KP_TYPE_NULL || field->type == KP_TYPE_NULL || kp_vec_null(vec, row) ||
        (field->type == KP_TYPE_F64 && !isfinite(vec->f64[row]))) {
        kp_buf_text(out, "null");
        return;
    }
    bool quoted = field->type == KP_TYPE_TIME || field->type == KP_TYPE_DEC;
    if (field->type == KP_TYPE_STR ||
        (field->type == KP_TYPE_DYN && !json_valid(kp_vec_str(vec, row)))) {
        kp_json_str(out, kp_vec_str(vec, row));
        return;
    }
    if (quoted)
        kp_buf_char(out, '"');
    kp_value_text(field, vec, row, true, out);
    if (quoted)
        kp_buf_char(out, '"');
}

static kp_status json_begin(struct kp_render *render)
{
    struct kp_buf *out = &render->out;
    kp_buf_text(out, "{\"columns\":[");
    for (uint32_t i = 0; i < render->schema->count; i++) {
        const struct kp_field *field = &render->schema->fields[i];
        kp_buf_text(out, i == 0 ? "{\"name\":" : ",{\"name\":");
        kp_json_str(out, field->name);
        kp_buf_printf(out, ",\"type\":\"%s\",\"unit\":\"%s\"}", kp_type_name(field->type),
                      kp_unit_name(field->unit));
    }
    kp_buf_text(out, "],\n\"rows\":[");
    return KP_OK;
}

static void json_batch(struct kp_render *render, const struct kp_batch *batch)
{
    struct kp_buf *out = &render->out;
    for (uint32_t i = 0; i < kp_batch_count(batch); i++) {
        kp_buf_text(out, render->rows + i == 0 ? "\n[" : ",\n[");
        for (uint32_t c = 0; c < batch->cols_count; c++) {
            if (c > 0)
                kp_buf_char(out, ',');
            kpi_json_cell(out, &render->schema->fields[c], &batch->cols[c], kp_batch_row(batch, i));
        }
        kp_buf_char(out, ']');
        kpi_render_flush(render, false);
    }
}

static void json_end(struct kp_render *render)
{
    struct kp_buf *out = &render->out;
    kp_buf_text(out, "],\n\"notes\":[");
    for (uint32_t i = 0; i < render->notes_count; i++) {
        if (i > 0)
            kp_buf_char(out, ',');
        kp_json_str(out, render->notes[i]);
    }
    kp_buf_char(out, ']');
    if (render->failure != NULL) {
        kp_buf_text(out, ",\n\"error\":");
        kp_render_error_json(render->failure, out);
    }
    kp_buf_text(out, "}\n");
}

static kp_status ndjson_begin(struct kp_render *render)
{
    (void)render;
    return KP_OK;
}

static void ndjson_batch(struct kp_render *render, const struct kp_batch *batch)
{
    struct kp_buf *out = &render->out;
    for (uint32_t i = 0; i < kp_batch_count(batch); i++) {
        for (uint32_t c = 0; c < batch->cols_count; c++) {
            kp_buf_char(out, c == 0 ? '{' : ',');
            kp_json_str(out, render->schema->fields[c].name);
            kp_buf_char(out, ':');
            kpi_json_cell(out, &render->schema->fields[c], &batch->cols[c], kp_batch_row(batch, i));
        }
        kp_buf_text(out, batch->cols_count == 0 ? "{}\n" : "}\n");
        kpi_render_flush(render, false);
    }
}

static void ndjson_end(struct kp_render *render)
{
    if (render->failure == NULL)
        return;
    kp_buf_text(&render->out, "{\"error\":");
    kp_render_error_json(render->failure, &render->out);
    kp_buf_text(&render->out, "}\n");
}

const struct kpi_format kpi_format_json = {"json",     "application/json", true, json_begin,
                                           json_batch, json_end,           NULL};
const struct kpi_format kpi_format_ndjson = {
    "ndjson", "application/x-ndjson", false, ndjson_begin, ndjson_batch, ndjson_end, NULL};
