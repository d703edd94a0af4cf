/* SPDX-License-Identifier: Apache-2.0
 *
 * The rules that Grafana's decoder has: the time is column 0, called "time", and a number when an
 * epoch was asked for; every row is as wide as the columns; a cell is text, number, boolean or
 * null, never an object; what a double cannot hold is text. Nanoseconds would be cut there, so that
 * answers in our language carry them once more as text, in ts_ns.
 *
 * A series is a run of rows with equal name and tags. The end of a document is written late: only
 * the next row tells whether a chunk was the last.
 */
#include "server/series.h"

#include <inttypes.h>
#include <math.h>

#include "render/render.h"

#define EXACT_MAX ((int64_t)1 << 53) /* integers that a double holds */
#define FILL_MAX  100000             /* rows that filling adds to one answer */

/* --- cells --- */

bool kpi_series_null(const struct kp_field *field, const struct kp_vec *vec, uint32_t row)
{
    return field->type == KP_TYPE_NULL || vec->type == KP_TYPE_NULL || kp_vec_null(vec, row) ||
           (field->type == KP_TYPE_F64 && !isfinite(vec->f64[row]));
}

static void add_integer(const struct kp_field *field, int64_t value, struct kp_buf *out)
{
    bool text = field->unit == KP_UNIT_HEX || value > EXACT_MAX || value < -EXACT_MAX;
    kp_buf_printf(out, text ? "\"%" PRId64 "\"" : "%" PRId64, value);
}

static void add_cell(const struct kp_field *field, const struct kp_vec *vec, uint32_t row,
                     struct kp_buf *out)
{
    if (kpi_series_null(field, vec, row)) {
        kp_buf_text(out, "null");
        return;
    }
    switch (field->type) {
    case KP_TYPE_BOOL:
    case KP_TYPE_F64:
        kp_value_text(field, vec, row, true, out);
        break;
    case KP_TYPE_STR:
    case KP_TYPE_DYN:
        kp_json_str(out, kp_vec_str(vec, row));
        break;
    case KP_TYPE_TIME:
    case KP_TYPE_DEC:
        kp_buf_char(out, '"');
        kp_value_text(field, vec, row, true, out);
        kp_buf_char(out, '"');
        break;
    default:
        add_integer(field, vec->i64[row], out);
        break;
    }
}

void kpi_series_time(const struct kpi_series *series, kp_time time, struct kp_buf *out)
{
    char text[KP_TIME_TEXT_MAX];
    if (series->opts.epoch > 0) {
        kp_dur rest = time % series->opts.epoch;
        kp_buf_printf(out, "%" PRId64, time / series->opts.epoch - (rest < 0));
        return;
    }
    kp_time_format(time, text);
    kp_buf_text(out, text);
}

/* --- documents and series --- */

static bool is_tag(const struct kpi_series *series, uint32_t column)
{
    return column >= 1 && column <= series->inquiry->tags;
}

/* Columns that are written as such behind the time. */
static bool is_plain(const struct kpi_series *series, uint32_t column)
{
    bool name = series->inquiry->named && column == 0;
    return !name && !is_tag(series, column) && (int)column != series->time;
}

static void add_columns(struct kpi_series *series, struct kp_buf *out)
{
    bool first = true;
    kp_buf_text(out, "\"columns\":[");
    if (series->time >= 0)
        kp_buf_text(out, "\"time\"");
    first = series->time < 0;
    for (uint32_t c = 0; c < series->schema->count; c++) {
        if (!is_plain(series, c))
            continue;
        kp_buf_text(out, first ? "" : ",");
        kp_json_str(out, series->schema->fields[c].name);
        first = false;
    }
    if (series->stamps)
        kp_buf_text(out, ",\"ts_ns\"");
    kp_buf_text(out, "],\"values\":[");
}

/* "name":"...","tags":{...}, of the series a row belongs to. */
static void make_key(struct kpi_series *series, const struct kp_batch *batch, uint32_t row)
{
    struct kp_buf *key = &series->next_key;
    const struct kpi_inquiry *inquiry = series->inquiry;
    kp_buf_clear(key);
    struct kp_str name =
        inquiry->named ? kp_vec_str(&batch->cols[0], row) : kp_str_from(inquiry->name);
    if (name.len > 0) {
        kp_buf_text(key, "\"name\":");
        kp_json_str(key, name);
    }
    for (uint32_t c = 1; c <= inquiry->tags && c < batch->cols_count; c++) {
        struct kp_buf text = {0};
        if (!kpi_series_null(&series->schema->fields[c], &batch->cols[c], row))
            kp_value_text(&series->schema->fields[c], &batch->cols[c], row, true, &text);
        kp_buf_text(key, c > 1 ? "," : key->size > 0 ? ",\"tags\":{" : "\"tags\":{");
        kp_json_str(key, series->schema->fields[c].name);
        kp_buf_char(key, ':');
        kp_json_str(key, (struct kp_str){kp_buf_cstr(&text), (uint32_t)text.size});
        kp_buf_deinit(&text);
    }
    kp_buf_text(key, inquiry->tags > 0 ? "}," : key->size > 0 ? "," : "");
}

static void open_series(struct kpi_series *series, struct kp_buf *out)
{
    if (!series->document)
        kp_buf_text(out, "{\"results\":[{\"statement_id\":0,\"series\":[{");
    else
        kp_buf_text(out, ",{");
    kp_buf_add(out, series->key.data, series->key.size);
    add_columns(series, out);
    series->document = true;
    series->open = true;
}

static void close_document(struct kpi_series *series, bool partial, struct kp_buf *out)
{
    const char *more = partial ? ",\"partial\":true" : "";
    kp_buf_printf(out, "]%s}]%s}]}\n", more, more);
    series->document = false;
    series->open = false;
    series->rows = 0;
}

/* One row: time, then cells, which begin with a comma when they stand behind a time. */
static void add_row(struct kpi_series *series, kp_time time, const struct kp_buf *cells,
                    struct kp_buf *out)
{
    if (series->opts.chunk > 0 && series->rows == series->opts.chunk)
        close_document(series, true, out);
    bool first = !series->open;
    if (first)
        open_series(series, out);
    kp_buf_text(out, first ? "[" : ",[");
    if (series->time >= 0) {
        const char *quote = series->opts.epoch > 0 ? "" : "\"";
        kp_buf_text(out, quote);
        kpi_series_time(series, time, out);
        kp_buf_text(out, quote);
    }
    kp_buf_add(out, cells->data, cells->size);
    if (series->stamps)
        kp_buf_printf(out, ",\"%" PRId64 "\"", time);
    kp_buf_char(out, ']');
    series->rows++;
}

/* --- filling --- */

static void make_filler(struct kpi_series *series, struct kp_buf *cells)
{
    const struct kpi_inquiry *inquiry = series->inquiry;
    kp_buf_clear(cells);
    if (inquiry->fill == KPI_FILL_PREVIOUS) {
        kp_buf_add(cells, series->last_cells.data, series->last_cells.size);
        return;
    }
    for (uint32_t c = 0; c < series->schema->count; c++) {
        if (!is_plain(series, c))
            continue;
        if (inquiry->fill == KPI_FILL_VALUE)
            kp_buf_printf(cells, ",%" PRId64, inquiry->fill_value);
        else
            kp_buf_text(cells, ",null");
    }
}

/* The rows that are missing between the one before and `time`. */
static void fill_gap(struct kpi_series *series, kp_time time, struct kp_buf *out)
{
    struct kp_buf cells = {0};
    kp_dur step = series->inquiry->step;
    if (step <= 0 || !series->has_last)
        return;
    make_filler(series, &cells);
    for (kp_time at = series->last;
         !__builtin_add_overflow(at, step, &at) && at < time && series->filled < FILL_MAX;
         series->filled++)
        add_row(series, at, &cells, out);
    out->failed |= cells.failed;
    kp_buf_deinit(&cells);
}

/* --- rows --- */

static void make_cells(struct kpi_series *series, const struct kp_batch *batch, uint32_t row)
{
    bool comma = series->time >= 0;
    kp_buf_clear(&series->cells);
    for (uint32_t c = 0; c < batch->cols_count; c++) {
        if (!is_plain(series, c))
            continue;
        if (comma)
            kp_buf_char(&series->cells, ',');
        comma = true;
        add_cell(&series->schema->fields[c], &batch->cols[c], row, &series->cells);
    }
}

static void swap(struct kp_buf *a, struct kp_buf *b)
{
    struct kp_buf c = *a;
    *a = *b;
    *b = c;
}

static bool same_key(const struct kpi_series *series)
{
    return series->key.size == series->next_key.size && series->key.size > 0 &&
           memcmp(series->key.data, series->next_key.data, series->key.size) == 0;
}

static void take_row(struct kpi_series *series, const struct kp_batch *batch, uint32_t row,
                     struct kp_buf *out)
{
    kp_time time = 0; /* a row without a time stands at 0: a cell that is no number breaks all */
    if (series->time >= 0 && !kp_vec_null(&batch->cols[series->time], row))
        time = batch->cols[series->time].i64[row];
    make_key(series, batch, row);
    if (!same_key(series)) {
        if (series->open)
            kp_buf_text(out, "]}");
        series->open = false;
        series->has_last = false;
        swap(&series->key, &series->next_key);
    }
    make_cells(series, batch, row);
    fill_gap(series, time, out);
    add_row(series, time, &series->cells, out);
    series->last = time;
    series->has_last = true;
    swap(&series->cells, &series->last_cells);
    out->failed |= series->key.failed || series->last_cells.failed;
}

/* The time: ts or start, or whatever else is one; none when rows carry a name instead. */
static int find_time(const struct kp_schema *schema, const struct kpi_inquiry *inquiry)
{
    int found = kp_schema_find(schema, KP_STR("ts"));
    if (found < 0)
        found = kp_schema_find(schema, KP_STR("start"));
    if (inquiry->named || (found >= 0 && schema->fields[found].type == KP_TYPE_TIME))
        return inquiry->named ? -1 : found;
    for (uint32_t c = 0; c < schema->count; c++)
        if (schema->fields[c].type == KP_TYPE_TIME)
            return (int)c;
    return -1;
}

void kpi_series_init(struct kpi_series *series, const struct kpi_series_opts *opts,
                     const struct kp_schema *schema, const struct kpi_inquiry *inquiry)
{
    *series = (struct kpi_series){.opts = *opts, .schema = schema, .inquiry = inquiry};
    series->time = find_time(schema, inquiry);
    series->stamps =
        inquiry->ours && series->time >= 0 && kp_schema_find(schema, KP_STR("ts_ns")) < 0;
}

void kpi_series_deinit(struct kpi_series *series)
{
    kp_buf_deinit(&series->key);
    kp_buf_deinit(&series->next_key);
    kp_buf_deinit(&series->cells);
    kp_buf_deinit(&series->last_cells);
}

void kpi_series_batch(struct kpi_series *series, const struct kp_batch *batch, struct kp_buf *out)
{
    if (series->opts.form != KPI_FORM_JSON) {
        kpi_csv_batch(series, batch, out);
        return;
    }
    for (uint32_t i = 0; i < kp_batch_count(batch); i++)
        take_row(series, batch, kp_batch_row(batch, i), out);
}

void kpi_series_message(const struct kp_error *err, struct kp_buf *out)
{
    if (err->line > 0)
        kp_buf_printf(out, "line %u column %u: ", err->line, err->column);
    kp_buf_text(out, err->text[0] != '\0' ? err->text : kp_status_text(err->code));
    if (err->hint[0] != '\0')
        kp_buf_printf(out, " (%s)", err->hint);
}

void kpi_series_end(struct kpi_series *series, const struct kp_error *err, struct kp_buf *out)
{
    if (series->opts.form != KPI_FORM_JSON) {
        kpi_csv_end(series, err, out);
        return;
    }
    if (err == NULL && series->document) {
        close_document(series, false, out);
    } else if (err == NULL) {
        kp_buf_text(out, "{\"results\":[{\"statement_id\":0}]}\n");
    } else {
        struct kp_buf message = {0};
        kpi_series_message(err, &message);
        kp_buf_text(out, series->document ? "]}],\"error\":"
                                          : "{\"results\":[{\"statement_id\":0,\"error\":");
        kp_json_str(out, (struct kp_str){kp_buf_cstr(&message), (uint32_t)message.size});
        kp_buf_text(out, "}]}\n");
        kp_buf_deinit(&message);
    }
}

/* --- indents --- */

static void new_line(struct kp_buf *out, int depth)
{
    kp_buf_char(out, '\n');
    for (int i = 0; i < depth; i++)
        kp_buf_text(out, "    ");
}

void kpi_json_indent(struct kp_str json, struct kp_buf *out)
{
    int depth = 0;
    bool quoted = false;
    for (uint32_t i = 0; i < json.len; i++) {
        char c = json.ptr[i];
        bool opens = !quoted && (c == '{' || c == '[');
        bool closes = !quoted && (c == '}' || c == ']');
        if (closes)
            new_line(out, --depth);
        kp_buf_char(out, c);
        if (opens)
            new_line(out, ++depth);
        else if (c == ',' && !quoted)
            new_line(out, depth);
        else if (c == ':' && !quoted)
            kp_buf_char(out, ' ');
        else if (c == '\\' && quoted && i + 1 < json.len)
            kp_buf_char(out, json.ptr[++i]);
        else if (c == '"')
            quoted = !quoted;
    }
}
