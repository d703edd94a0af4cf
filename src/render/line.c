/* SPDX-License-Identifier: Apache-2.0
 *
 * InfluxDB line protocol: measurement,tags fields timestamp. The few columns worth indexing there
 * (tag_names) become tags, everything else a field; `ts`, or else `start`, is the timestamp.
 * Integers carry the i suffix, durations and other times become integer fields named *_ns. Nulls
 * and empty tags are left out; remarks are # lines, which the protocol allows anywhere. Escapes:
 * https://docs.influxdata.com/influxdb/v1/write_protocols/line_protocol_reference/
 */
#include <inttypes.h>
#include <math.h>

#include "render/render_int.h"

static const char *const tag_names[] = {"comm", "cpu", "host", "kind", "service"};

struct line_state {
    bool *tag;
    int time; /* column of the timestamp, -1 = none */
};

/* Adds text with backslashes before every character of `special`; line breaks become \n. */
static void add_escaped(struct kp_buf *out, struct kp_str text, const char *special)
{
    for (uint32_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '\n' || c == '\r' || c == '\0') {
            kp_buf_text(out, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\0");
            continue;
        }
        if (strchr(special, c) != NULL)
            kp_buf_char(out, '\\');
        kp_buf_char(out, c);
    }
}

static bool is_null(const struct kp_vec *vec, const struct kp_field *field, uint32_t row)
{
    return vec->type == KP_TYPE_NULL || field->type == KP_TYPE_NULL || kp_vec_null(vec, row) ||
           (field->type == KP_TYPE_F64 && !isfinite(vec->f64[row]));
}

/* A tag cannot be empty and cannot end in a backslash (it would escape what follows). */
static bool tag_possible(const struct kp_field *field, const struct kp_vec *vec, uint32_t row)
{
    if (field->type != KP_TYPE_STR)
        return true;
    struct kp_str text = kp_vec_str(vec, row);
    return text.len > 0 && text.ptr[text.len - 1] != '\\';
}

static void add_tags(struct kp_render *render, const struct kp_batch *batch, uint32_t row)
{
    const struct line_state *state = render->state;
    for (uint32_t c = 0; c < batch->cols_count; c++) {
        const struct kp_field *field = &render->schema->fields[c];
        const struct kp_vec *vec = &batch->cols[c];
        if (!state->tag[c] || is_null(vec, field, row) || !tag_possible(field, vec, row))
            continue;
        kp_buf_char(&render->out, ',');
        add_escaped(&render->out, field->name, ",= ");
        kp_buf_char(&render->out, '=');
        if (field->type == KP_TYPE_STR)
            add_escaped(&render->out, kp_vec_str(vec, row), ",= ");
        else
            kp_value_text(field, vec, row, true, &render->out);
    }
}

static void add_field_name(struct kp_buf *out, const struct kp_field *field)
{
    add_escaped(out, field->name, ",= ");
    bool ns = field->type == KP_TYPE_DUR || field->type == KP_TYPE_TIME;
    bool named =
        field->name.len > 3 && memcmp(field->name.ptr + field->name.len - 3, "_ns", 3) == 0;
    if (ns && !named)
        kp_buf_text(out, "_ns");
}

static void add_field_value(struct kp_buf *out, const struct kp_field *field,
                            const struct kp_vec *vec, uint32_t row)
{
    switch (field->type) {
    case KP_TYPE_BOOL:
    case KP_TYPE_F64:
        kp_value_text(field, vec, row, true, out);
        break;
    case KP_TYPE_STR:
    case KP_TYPE_DYN:
        kp_buf_char(out, '"');
        add_escaped(out, kp_vec_str(vec, row), "\"\\");
        kp_buf_char(out, '"');
        break;
    case KP_TYPE_DEC:
        kp_buf_char(out, '"');
        kp_value_text(field, vec, row, true, out);
        kp_buf_char(out, '"');
        break;
    default:
        kp_buf_printf(out, "%" PRId64 "i", vec->i64[row]);
        break;
    }
}

static void add_fields(struct kp_render *render, const struct kp_batch *batch, uint32_t row)
{
    const struct line_state *state = render->state;
    char before = ' ';
    for (uint32_t c = 0; c < batch->cols_count; c++) {
        const struct kp_field *field = &render->schema->fields[c];
        const struct kp_vec *vec = &batch->cols[c];
        if ((int)c == state->time || is_null(vec, field, row))
            continue;
        if (state->tag[c] && (tag_possible(field, vec, row) || kp_vec_str(vec, row).len == 0))
            continue;
        kp_buf_char(&render->out, before);
        add_field_name(&render->out, field);
        kp_buf_char(&render->out, '=');
        add_field_value(&render->out, field, vec, row);
        before = ',';
    }
    if (before == ' ')
        kp_buf_text(&render->out, " rows=1i"); /* a line needs a field */
}

static kp_status line_begin(struct kp_render *render)
{
    struct line_state *state = kp_arena_zalloc(&render->arena, 1, sizeof(*state));
    bool *tag = kp_arena_zalloc(&render->arena, render->schema->count + 1, sizeof(bool));
    if (state == NULL || tag == NULL)
        return KP_NO_MEMORY;
    state->tag = tag;
    for (uint32_t c = 0; c < render->schema->count; c++) {
        const struct kp_field *field = &render->schema->fields[c];
        for (size_t i = 0; i < sizeof(tag_names) / sizeof(tag_names[0]); i++)
            tag[c] |= (field->type == KP_TYPE_STR || field->type == KP_TYPE_I64) &&
                      kp_str_equal(field->name, kp_str_from(tag_names[i]));
    }
    state->time = kp_schema_find(render->schema, KP_STR("ts"));
    if (state->time < 0)
        state->time = kp_schema_find(render->schema, KP_STR("start"));
    if (state->time >= 0 && render->schema->fields[state->time].type != KP_TYPE_TIME)
        state->time = -1;
    render->state = state;
    return KP_OK;
}

static void line_batch(struct kp_render *render, const struct kp_batch *batch)
{
    const struct line_state *state = render->state;
    for (uint32_t i = 0; i < kp_batch_count(batch); i++) {
        uint32_t row = kp_batch_row(batch, i);
        add_escaped(&render->out, kp_str_from(render->name), ", ");
        add_tags(render, batch, row);
        add_fields(render, batch, row);
        if (state->time >= 0 && !kp_vec_null(&batch->cols[state->time], row))
            kp_buf_printf(&render->out, " %" PRId64, batch->cols[state->time].i64[row]);
        kp_buf_char(&render->out, '\n');
        kpi_render_flush(render, false);
    }
}

static void line_end(struct kp_render *render)
{
    for (uint32_t i = 0; i < render->notes_count; i++) {
        kp_buf_text(&render->out, "# note: ");
        kpi_text_escape(&render->out, render->notes[i]);
        kp_buf_char(&render->out, '\n');
    }
    if (render->failure != NULL) {
        kp_buf_printf(&render->out, "# error line=%u col=%u ", render->failure->line,
                      render->failure->column);
        kpi_text_escape(&render->out, kp_str_from(render->failure->text));
        kp_buf_char(&render->out, '\n');
    }
}

const struct kpi_format kpi_format_line = {
    "line", "text/plain; charset=utf-8", true, line_begin, line_batch, line_end, NULL};
