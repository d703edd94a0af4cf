/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows as InfluxDB answers them: JSON documents of series, and CSV (of /query, or annotated as the
 * second generation of its API has it).
 */
#ifndef KP_SERVER_SERIES_H
#define KP_SERVER_SERIES_H

#include "column/batch.h"
#include "server/flux.h"
#include "server/influxql.h"

enum kpi_form { KPI_FORM_JSON, KPI_FORM_CSV, KPI_FORM_ANNOTATED };

#define KPI_SERIES_NUMBERS 32 /* columns that fill(linear) knows */

struct kpi_series_opts {
    enum kpi_form form;
    kp_dur epoch;               /* unit of times; 0 = RFC 3339 text */
    uint32_t chunk;             /* JSON: rows of a document, 0 = one document */
    uint32_t statement;         /* number of it in the document */
    bool last;                  /* no other statement follows */
    struct kpi_dialect dialect; /* of annotated CSV */
};

struct kpi_series {
    struct kpi_series_opts opts;
    const struct kp_schema *schema;
    const struct kpi_inquiry *inquiry;
    int time;    /* column, -1 = none */
    bool stamps; /* ts_ns is added */
    bool document, open;
    bool begun;             /* a row was seen */
    uint64_t rows;          /* of the document */
    uint64_t series_number; /* of the current series, and its rows so far */
    uint64_t row_number;
    uint64_t filled;        /* rows that filling made */
    struct kp_buf messages; /* JSON: remarks on the answer, between commas */
    struct kp_buf key;      /* name and tags of the current series */
    struct kp_buf next_key; /* of this row */
    bool has_last;          /* of the current series, for filling: */
    kp_time last;
    struct kp_buf last_cells, cells;
    double last_numbers[KPI_SERIES_NUMBERS], numbers[KPI_SERIES_NUMBERS];
};

/* schema and inquiry must outlive it. */
void kpi_series_init(struct kpi_series *series, const struct kpi_series_opts *opts,
                     const struct kp_schema *schema, const struct kpi_inquiry *inquiry);
void kpi_series_deinit(struct kpi_series *series);
/* Adds the rows of a batch. */
void kpi_series_batch(struct kpi_series *series, const struct kp_batch *batch, struct kp_buf *out);
/* Adds a remark on the answer, as long as it is not ended; where the form has a place for it. */
void kpi_series_remark(struct kpi_series *series, struct kp_str text);
/* Ends the document; err: the query failed after rows were given, NULL when it did not. */
void kpi_series_end(struct kpi_series *series, const struct kp_error *err, struct kp_buf *out);
/* The result of a statement that could not be asked. */
void kpi_series_failed(const struct kpi_series_opts *opts, const struct kp_error *err,
                       struct kp_buf *out);
/* "line 1 column 8: message (hint)". */
void kpi_series_message(const struct kp_error *err, struct kp_buf *out);
/* Adds JSON text with indents of four blanks. */
void kpi_json_indent(struct kp_str json, struct kp_buf *out);

/* --- series.c and series_csv.c --- */

bool kpi_series_null(const struct kp_field *field, const struct kp_vec *vec, uint32_t row);
/* In units of the epoch, or RFC 3339 without quotes. */
void kpi_series_time(const struct kpi_series *series, kp_time time, struct kp_buf *out);
/* A column that is written as such behind the time: no name, no tag. */
bool kpi_series_plain(const struct kpi_series *series, uint32_t column);
/* Its name; one called time that is not the time becomes time_. May use spare. */
struct kp_str kpi_series_name(const struct kp_field *field, char spare[KPI_NAME_MAX]);
/* The cells "name,tags" of a row of CSV. */
void kpi_csv_key(struct kpi_series *series, const struct kp_batch *batch, uint32_t row,
                 struct kp_buf *out);
void kpi_csv_cell(const struct kpi_series *series, uint32_t column, const struct kp_vec *vec,
                  uint32_t row, struct kp_buf *out);
void kpi_csv_row(struct kpi_series *series, kp_time time, const struct kp_buf *cells,
                 struct kp_buf *out);
/* Annotated CSV. */
void kpi_csv_batch(struct kpi_series *series, const struct kp_batch *batch, struct kp_buf *out);
/* An error as a table of one cell. */
void kpi_csv_error(struct kp_str message, struct kp_buf *out);
void kpi_csv_end(struct kpi_series *series, const struct kp_error *err, struct kp_buf *out);

#endif
