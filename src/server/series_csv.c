/* SPDX-License-Identifier: Apache-2.0
 *
 * CSV of /query ("name,tags,time,..." and a row a line) and annotated CSV of /api/v2/query (types
 * before the header, times in full nanoseconds, a table for each series). Long numbers need no care
 * in either: a reader of CSV knows the type before the value.
 */
#include <inttypes.h>

#include "render/render.h"
#include "server/series.h"

static void add_cell(struct kp_str text, char delimiter, struct kp_buf *out)
{
    bool quote = false;
    for (uint32_t i = 0; i < text.len && !quote; i++)
        quote = text.ptr[i] == delimiter || text.ptr[i] == '"' || text.ptr[i] == '\n' ||
                text.ptr[i] == '\r' || (i == 0 && text.ptr[i] == '#');
    if (!quote) {
        kp_buf_str(out, text);
        return;
    }
    kp_buf_char(out, '"');
    for (uint32_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '"')
            kp_buf_char(out, '"');
        kp_buf_char(out, text.ptr[i]);
    }
    kp_buf_char(out, '"');
}

static void add_text(struct kp_str text, struct kp_buf *out)
{
    add_cell(text, ',', out);
}

static char delimiter_of(const struct kpi_series *series)
{
    return series->opts.form == KPI_FORM_ANNOTATED ? series->opts.dialect.delimiter : ',';
}

void kpi_csv_cell(const struct kpi_series *series, uint32_t column, const struct kp_vec *vec,
                  uint32_t row, struct kp_buf *out)
{
    const struct kp_field *field = &series->schema->fields[column];
    if (kpi_series_null(field, vec, row))
        return;
    if (kp_type_phys(field->type) == KP_PHYS_STR)
        add_cell(kp_vec_str(vec, row), delimiter_of(series), out);
    else
        kp_value_text(field, vec, row, true, out);
}

/* --- of /query --- */

void kpi_csv_error(struct kp_str message, struct kp_buf *out)
{
    kp_buf_text(out, "error\n");
    add_text(message, out);
    kp_buf_char(out, '\n');
}

static void plain_header(const struct kpi_series *series, struct kp_buf *out)
{
    char name[KPI_NAME_MAX];
    kp_buf_text(out, series->opts.statement > 0 ? "\nname,tags" : "name,tags");
    if (series->time >= 0)
        kp_buf_text(out, ",time");
    for (uint32_t c = 0; c < series->schema->count; c++) {
        if (!kpi_series_plain(series, c))
            continue;
        kp_buf_char(out, ',');
        add_text(kpi_series_name(&series->schema->fields[c], name), out);
    }
    kp_buf_text(out, series->stamps ? ",ts_ns\n" : "\n");
}

/* host=a,comm=b in one cell. */
static void add_tags(const struct kpi_series *series, const struct kp_batch *batch, uint32_t row,
                     struct kp_buf *out)
{
    struct kp_buf tags = {0};
    for (uint32_t c = 1; c <= series->inquiry->tags && c < batch->cols_count; c++) {
        const struct kp_field *field = &series->schema->fields[c];
        size_t from = tags.size;
        kp_buf_printf(&tags, "%s%.*s=", from > 0 ? "," : "", (int)field->name.len, field->name.ptr);
        size_t begin = tags.size;
        if (!kpi_series_null(field, &batch->cols[c], row))
            kp_value_text(field, &batch->cols[c], row, true, &tags);
        if (tags.size == begin) /* a tag without a value is none */
            tags.size = from;
    }
    add_text((struct kp_str){kp_buf_cstr(&tags), (uint32_t)tags.size}, out);
    out->failed |= tags.failed;
    kp_buf_deinit(&tags);
}

void kpi_csv_key(struct kpi_series *series, const struct kp_batch *batch, uint32_t row,
                 struct kp_buf *out)
{
    const struct kpi_inquiry *inquiry = series->inquiry;
    add_text(inquiry->named ? kp_vec_str(&batch->cols[0], row) : kp_str_from(inquiry->name), out);
    kp_buf_char(out, ',');
    add_tags(series, batch, row, out);
}

void kpi_csv_row(struct kpi_series *series, kp_time time, const struct kp_buf *cells,
                 struct kp_buf *out)
{
    if (!series->document)
        plain_header(series, out);
    series->document = true;
    kp_buf_add(out, series->key.data, series->key.size);
    if (series->time >= 0) { /* here nanoseconds are the default */
        kp_buf_char(out, ',');
        if (series->opts.epoch > 0)
            kpi_series_time(series, time, out);
        else
            kp_buf_printf(out, "%" PRId64, time);
    }
    kp_buf_add(out, cells->data, cells->size);
    if (series->stamps)
        kp_buf_printf(out, ",%" PRId64, time);
    kp_buf_char(out, '\n');
}

/* --- annotated --- */

static const char *type_name(const struct kpi_series *series, const struct kp_field *field)
{
    switch (field->type) {
    case KP_TYPE_I64:
    case KP_TYPE_DUR:
        return "long";
    case KP_TYPE_F64:
        return "double";
    case KP_TYPE_BOOL:
        return "boolean";
    case KP_TYPE_TIME:
        return series->opts.dialect.seconds ? "dateTime:RFC3339" : "dateTime:RFC3339Nano";
    default:
        return "string";
    }
}

/* A line of annotations, whose cells begin behind the two of every table. */
static void begin_annotation(const struct kpi_series *series, const char *name, const char *first,
                             const char *second, struct kp_buf *out)
{
    const struct kpi_dialect *dialect = &series->opts.dialect;
    kp_buf_printf(out, "%c%s%c%s%c%s", dialect->comment, name, dialect->delimiter, first,
                  dialect->delimiter, second);
}

static void add_annotations(const struct kpi_series *series, struct kp_buf *out)
{
    const struct kpi_dialect *dialect = &series->opts.dialect;
    uint32_t count = series->schema->count, tags = series->inquiry->tags;
    if (dialect->datatype) {
        begin_annotation(series, "datatype", "string", "long", out);
        for (uint32_t c = 0; c < count; c++)
            kp_buf_printf(out, "%c%s", dialect->delimiter,
                          type_name(series, &series->schema->fields[c]));
        kp_buf_text(out, "\r\n");
    }
    if (dialect->group) {
        begin_annotation(series, "group", "false", "false", out);
        for (uint32_t c = 0; c < count; c++)
            kp_buf_printf(out, "%c%s", dialect->delimiter, c >= 1 && c <= tags ? "true" : "false");
        kp_buf_text(out, "\r\n");
    }
    if (dialect->defaults) {
        begin_annotation(series, "default", "_result", "", out);
        for (uint32_t c = 0; c < count; c++)
            kp_buf_char(out, dialect->delimiter);
        kp_buf_text(out, "\r\n");
    }
}

static void annotated_header(const struct kpi_series *series, struct kp_buf *out)
{
    char delimiter = series->opts.dialect.delimiter;
    add_annotations(series, out);
    if (!series->opts.dialect.header)
        return;
    kp_buf_printf(out, "%cresult%ctable", delimiter, delimiter);
    for (uint32_t c = 0; c < series->schema->count; c++) {
        kp_buf_char(out, delimiter);
        add_cell(series->schema->fields[c].name, delimiter, out);
    }
    kp_buf_text(out, "\r\n");
}

/* The rows of other tags are another table, under the same header. */
static void count_table(struct kpi_series *series, const struct kp_batch *batch, uint32_t row)
{
    struct kp_buf *next = &series->next_key;
    if (series->inquiry->tags == 0)
        return;
    kp_buf_clear(next);
    add_tags(series, batch, row, next);
    if (series->begun &&
        kp_str_equal((struct kp_str){kp_buf_cstr(next), (uint32_t)next->size},
                     (struct kp_str){kp_buf_cstr(&series->key), (uint32_t)series->key.size}))
        return;
    series->series_number += series->begun;
    series->begun = true;
    struct kp_buf spare = series->key;
    series->key = *next;
    *next = spare;
}

static void annotated_row(struct kpi_series *series, const struct kp_batch *batch, uint32_t row,
                          struct kp_buf *out)
{
    char delimiter = series->opts.dialect.delimiter;
    count_table(series, batch, row);
    kp_buf_char(out, delimiter);
    if (!series->opts.dialect.defaults) /* else the annotation says it */
        kp_buf_text(out, "_result");
    kp_buf_printf(out, "%c%" PRIu64, delimiter, series->series_number);
    for (uint32_t c = 0; c < batch->cols_count; c++) {
        kp_buf_char(out, delimiter);
        kpi_csv_cell(series, c, &batch->cols[c], row, out);
    }
    kp_buf_text(out, "\r\n");
}

/* --- both --- */

void kpi_csv_batch(struct kpi_series *series, const struct kp_batch *batch, struct kp_buf *out)
{
    if (!series->document)
        annotated_header(series, out);
    series->document = true;
    for (uint32_t i = 0; i < kp_batch_count(batch); i++)
        annotated_row(series, batch, kp_batch_row(batch, i), out);
}

void kpi_csv_end(struct kpi_series *series, const struct kp_error *err, struct kp_buf *out)
{
    struct kp_buf message = {0};
    bool annotated = series->opts.form == KPI_FORM_ANNOTATED;
    if (err == NULL) {
        kp_buf_text(out, annotated && series->document ? "\r\n" : "");
        return;
    }
    kpi_series_message(err, &message);
    struct kp_str text = {kp_buf_cstr(&message), (uint32_t)message.size};
    kp_buf_text(out, annotated ? "\r\n#datatype,string,string\r\n#group,true,true\r\n"
                                 "#default,,\r\n,error,reference\r\n,"
                               : "\n");
    if (annotated) {
        add_text(text, out);
        kp_buf_text(out, ",\r\n\r\n");
    } else {
        kpi_csv_error(text, out);
    }
    kp_buf_deinit(&message);
}
