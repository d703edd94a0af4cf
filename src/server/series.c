/* SPDX-License-Identifier: Apache-2.0
 *
 * The rules that Grafana's decoder has: the time is column 0, called "time", and a number when an
 * epoch was asked for; every row is as wide as the columns; a cell is text, number, boolean or
 * null, never an object; what a double cannot hold is text. Nanoseconds would be cut there, so that
 * answers in our language carry them once more as text, in ts_ns.
 *
 * A series is a run of rows with equal name and tags; LIMIT and fill() are of each. The end of a
 * document is written late: only the next row tells whether a chunk was the last.
 */
#include "server/series.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

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
    size_t length = strlen(text); /* InfluxDB has no zeros at the end */
    while (length > 2 && text[length - 2] == '0' && strchr(text, '.') != NULL)
        length--;
    length -= length > 2 && text[length - 2] == '.';
    kp_buf_printf(out, "%.*sZ", (int)length - 1, text);
}

/* --- documents and series --- */

static bool is_tag(const struct kpi_series *series, uint32_t column)
{
    return column >= 1 && column <= series->inquiry->tags;
}

bool kpi_series_plain(const struct kpi_series *series, uint32_t column)
{
    bool name = series->inquiry->named && column == 0;
    return !name && !is_tag(series, column) && (int)column != series->time;
}

struct kp_str kpi_series_name(const struct kp_field *field, char spare[KPI_NAME_MAX])
{
    if (!kp_str_equal_nocase(field->name, KP_STR("time")))
        return field->name;
    snprintf(spare, KPI_NAME_MAX, "%.*s_", (int)field->name.len, field->name.ptr);
    return kp_str_from(spare);
}

static void add_columns(struct kpi_series *series, struct kp_buf *out)
{
    char name[KPI_NAME_MAX];
    bool first = series->time < 0;
    kp_buf_text(out, "\"columns\":[");
    if (series->time >= 0)
        kp_buf_text(out, "\"time\"");
    for (uint32_t c = 0; c < series->schema->count; c++) {
        if (!kpi_series_plain(series, c))
            continue;
        kp_buf_text(out, first ? "" : ",");
        kp_json_str(out, kpi_series_name(&series->schema->fields[c], name));
        first = false;
    }
    if (series->stamps)
        kp_buf_text(out, ",\"ts_ns\"");
    kp_buf_text(out, "],\"values\":[");
}

/* "name":"...","tags":{...}, of the series a row belongs to. */
static void make_key(struct kpi_series *series, const struct kp_batch *batch, uint32_t row,
                     struct kp_buf *key)
{
    const struct kpi_inquiry *inquiry = series->inquiry;
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

/* The beginning of this statement's result: the document's too, unless others stand before it. */
static void open_result(const struct kpi_series *series, struct kp_buf *out)
{
    const struct kpi_series_opts *opts = &series->opts;
    kp_buf_printf(out, "%s{\"statement_id\":%u",
                  opts->statement == 0 || opts->chunk > 0 ? "{\"results\":[" : ",",
                  opts->statement);
}

static void close_result(const struct kpi_series *series, struct kp_buf *out)
{
    kp_buf_text(out, series->opts.last || series->opts.chunk > 0 ? "}]}\n" : "}");
}

static void open_series(struct kpi_series *series, struct kp_buf *out)
{
    if (!series->document) {
        open_result(series, out);
        kp_buf_text(out, ",\"series\":[{");
    } else {
        kp_buf_text(out, ",{");
    }
    kp_buf_add(out, series->key.data, series->key.size);
    add_columns(series, out);
    series->document = true;
    series->open = true;
}

static void close_series(struct kpi_series *series, bool partial, struct kp_buf *out)
{
    if (series->open)
        kp_buf_text(out, partial ? "],\"partial\":true}" : "]}");
    series->open = false;
}

/* Behind the series, as InfluxDB has it. */
static void add_messages(const struct kpi_series *series, struct kp_buf *out)
{
    if (series->messages.size == 0)
        return;
    kp_buf_text(out, ",\"messages\":[");
    kp_buf_add(out, series->messages.data, series->messages.size);
    kp_buf_char(out, ']');
    out->failed |= series->messages.failed;
}

static void close_document(struct kpi_series *series, bool partial, struct kp_buf *out)
{
    close_series(series, partial, out);
    kp_buf_char(out, ']');
    if (partial)
        kp_buf_text(out, ",\"partial\":true");
    else
        add_messages(series, out);
    close_result(series, out);
    series->document = false;
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

/* The rows of a series beyond LIMIT, and the series beyond SLIMIT, are not given. */
static bool is_wanted(const struct kpi_series *series)
{
    const struct kpi_inquiry *inquiry = series->inquiry;
    uint64_t row = series->row_number, number = series->series_number;
    return row >= inquiry->offset && number >= inquiry->soffset &&
           (inquiry->limit == 0 || row - inquiry->offset < inquiry->limit) &&
           (inquiry->slimit == 0 || number - inquiry->soffset < inquiry->slimit);
}

static void give_row(struct kpi_series *series, kp_time time, const struct kp_buf *cells,
                     struct kp_buf *out)
{
    if (is_wanted(series))
        (series->opts.form == KPI_FORM_CSV ? kpi_csv_row : add_row)(series, time, cells, out);
    series->row_number++;
}

/* --- filling --- */

static void add_number(struct kp_buf *out, double value)
{
    char text[32];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    kp_buf_text(out, text);
}

/* The cells of a row that filling makes at `at`; next: the row behind it is read already. */
static void make_filler(struct kpi_series *series, kp_time at, const kp_time *next,
                        struct kp_buf *cells)
{
    const struct kpi_inquiry *inquiry = series->inquiry;
    kp_buf_clear(cells);
    if (inquiry->fill == KPI_FILL_PREVIOUS && series->has_last) {
        kp_buf_add(cells, series->last_cells.data, series->last_cells.size);
        return;
    }
    for (uint32_t c = 0, i = 0; c < series->schema->count; c++) {
        if (!kpi_series_plain(series, c))
            continue;
        kp_buf_char(cells, ',');
        bool between = inquiry->fill == KPI_FILL_LINEAR && series->has_last && next != NULL &&
                       i < KPI_SERIES_NUMBERS && isfinite(series->last_numbers[i]) &&
                       isfinite(series->numbers[i]);
        if (inquiry->fill == KPI_FILL_VALUE)
            kp_buf_text(cells, inquiry->fill_value);
        else if (between)
            add_number(cells,
                       series->last_numbers[i] +
                           (series->numbers[i] - series->last_numbers[i]) *
                               ((double)(at - series->last) / (double)(*next - series->last)));
        else if (inquiry->fill == KPI_FILL_NULL && i < 64 && (inquiry->counts >> i & 1) != 0)
            kp_buf_char(cells, '0');
        else if (series->opts.form == KPI_FORM_JSON)
            kp_buf_text(cells, "null");
        i++;
    }
}

/* First instant of the step that `time` is in. */
static kp_time step_of(const struct kpi_inquiry *inquiry, kp_time time)
{
    kp_time from = 0;
    if (__builtin_sub_overflow(time, inquiry->step_offset, &from))
        return time;
    kp_dur rest = from % inquiry->step;
    return time - (rest < 0 ? rest + inquiry->step : rest);
}

/* The rows that are missing from `at` up to, and without, `end`. */
static void fill(struct kpi_series *series, kp_time at, kp_time end, const kp_time *next,
                 struct kp_buf *out)
{
    const struct kpi_inquiry *inquiry = series->inquiry;
    kp_dur step = inquiry->descending ? -inquiry->step : inquiry->step;
    struct kp_buf cells = {0};
    while (inquiry->descending ? at > end : at < end) {
        bool enough = inquiry->limit > 0 && series->row_number >= inquiry->offset + inquiry->limit;
        if (enough || series->filled++ >= FILL_MAX)
            break;
        make_filler(series, at, next, &cells);
        give_row(series, at, &cells, out);
        if (__builtin_add_overflow(at, step, &at))
            break;
    }
    out->failed |= cells.failed;
    kp_buf_deinit(&cells);
}

/* What is missing before a row: since the last one, or since the range asked for begins. */
static void fill_before(struct kpi_series *series, kp_time time, struct kp_buf *out)
{
    const struct kpi_inquiry *inquiry = series->inquiry;
    kp_dur step = inquiry->descending ? -inquiry->step : inquiry->step;
    kp_time at = 0;
    if (inquiry->step <= 0)
        return;
    if (series->has_last) {
        if (!__builtin_add_overflow(series->last, step, &at))
            fill(series, at, time, &time, out);
    } else if (inquiry->descending ? inquiry->has_to : inquiry->has_from) {
        fill(series, step_of(inquiry, inquiry->descending ? inquiry->to : inquiry->from), time,
             &time, out);
    }
}

/* What is missing between the last row of a series and the end of the range asked for. */
static void fill_after(struct kpi_series *series, struct kp_buf *out)
{
    const struct kpi_inquiry *inquiry = series->inquiry;
    kp_dur step = inquiry->descending ? -inquiry->step : inquiry->step;
    kp_time at = 0, end = 0;
    bool bounded = inquiry->descending ? inquiry->has_from : inquiry->has_to;
    if (inquiry->step <= 0 || !series->has_last || !bounded ||
        __builtin_add_overflow(series->last, step, &at) ||
        __builtin_add_overflow(step_of(inquiry, inquiry->descending ? inquiry->from : inquiry->to),
                               step, &end))
        return;
    fill(series, at, end, NULL, out);
}

/* --- rows --- */

static void make_cells(struct kpi_series *series, const struct kp_batch *batch, uint32_t row)
{
    bool comma = series->time >= 0 || series->opts.form == KPI_FORM_CSV;
    kp_buf_clear(&series->cells);
    for (uint32_t c = 0; c < batch->cols_count; c++) {
        if (!kpi_series_plain(series, c))
            continue;
        if (comma)
            kp_buf_char(&series->cells, ',');
        comma = true;
        if (series->opts.form == KPI_FORM_CSV)
            kpi_csv_cell(series, c, &batch->cols[c], row, &series->cells);
        else
            add_cell(&series->schema->fields[c], &batch->cols[c], row, &series->cells);
    }
}

/* The numbers of a row, between which FILL(linear) draws a line. */
static void take_numbers(struct kpi_series *series, const struct kp_batch *batch, uint32_t row)
{
    memcpy(series->last_numbers, series->numbers, sizeof(series->numbers));
    for (uint32_t c = 0, i = 0; c < batch->cols_count && i < KPI_SERIES_NUMBERS; c++) {
        const struct kp_vec *vec = &batch->cols[c];
        if (!kpi_series_plain(series, c))
            continue;
        enum kp_phys phys = kp_type_phys(series->schema->fields[c].type);
        bool null = kpi_series_null(&series->schema->fields[c], vec, row);
        series->numbers[i++] = null                  ? NAN
                               : phys == KP_PHYS_F64 ? vec->f64[row]
                               : phys == KP_PHYS_I64 ? (double)vec->i64[row]
                                                     : NAN;
    }
}

static void swap(struct kp_buf *a, struct kp_buf *b)
{
    struct kp_buf c = *a;
    *a = *b;
    *b = c;
}

/* A row of another series than the one before ends that one. */
static void change_series(struct kpi_series *series, const struct kp_batch *batch, uint32_t row,
                          struct kp_buf *out)
{
    struct kp_buf *next = &series->next_key;
    kp_buf_clear(next);
    (series->opts.form == KPI_FORM_CSV ? kpi_csv_key : make_key)(series, batch, row, next);
    if (series->begun && series->key.size == next->size &&
        (next->size == 0 || memcmp(series->key.data, next->data, next->size) == 0))
        return;
    if (series->begun) {
        fill_after(series, out);
        close_series(series, false, out);
        series->series_number++;
    }
    series->begun = true;
    series->has_last = false;
    series->row_number = 0;
    swap(&series->key, next);
}

static void take_row(struct kpi_series *series, const struct kp_batch *batch, uint32_t row,
                     struct kp_buf *out)
{
    kp_time time = 0; /* a row without a time stands at 0: a cell that is no number breaks all */
    if (series->time >= 0 && !kp_vec_null(&batch->cols[series->time], row))
        time = batch->cols[series->time].i64[row];
    change_series(series, batch, row, out);
    make_cells(series, batch, row);
    if (series->inquiry->fill == KPI_FILL_LINEAR)
        take_numbers(series, batch, row);
    fill_before(series, time, out);
    give_row(series, time, &series->cells, out);
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
    kp_buf_deinit(&series->messages);
}

void kpi_series_batch(struct kpi_series *series, const struct kp_batch *batch, struct kp_buf *out)
{
    if (series->opts.form == KPI_FORM_ANNOTATED) {
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

void kpi_series_remark(struct kpi_series *series, struct kp_str text)
{
    if (series->opts.form != KPI_FORM_JSON)
        return;
    kp_buf_text(&series->messages, series->messages.size > 0 ? "," : "");
    kp_buf_text(&series->messages, "{\"level\":\"warning\",\"text\":");
    kp_json_str(&series->messages, text);
    kp_buf_char(&series->messages, '}');
}

void kpi_series_end(struct kpi_series *series, const struct kp_error *err, struct kp_buf *out)
{
    if (err == NULL && series->opts.form != KPI_FORM_ANNOTATED)
        fill_after(series, out);
    if (series->opts.form != KPI_FORM_JSON) {
        kpi_csv_end(series, err, out);
        return;
    }
    if (series->document && err == NULL) {
        close_document(series, false, out);
        return;
    }
    close_series(series, false, out);
    if (series->document)
        kp_buf_char(out, ']');
    else
        open_result(series, out);
    add_messages(series, out);
    if (err != NULL) {
        struct kp_buf message = {0};
        kpi_series_message(err, &message);
        kp_buf_text(out, ",\"error\":");
        kp_json_str(out, (struct kp_str){kp_buf_cstr(&message), (uint32_t)message.size});
        kp_buf_deinit(&message);
    }
    close_result(series, out);
}

void kpi_series_failed(const struct kpi_series_opts *opts, const struct kp_error *err,
                       struct kp_buf *out)
{
    static const struct kpi_inquiry nothing;
    struct kpi_series none = {.opts = *opts, .inquiry = &nothing};
    kpi_series_end(&none, err, out);
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
