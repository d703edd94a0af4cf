/* SPDX-License-Identifier: Apache-2.0
 *
 * Renderers: result batches in, text out. One table of formats; a new one is one file and one line.
 * Knows columns and types only; terminal facts are passed in.
 *
 * How values look. For people (table, vertical, markdown, timeline): times in RFC 3339 with nine
 * decimals, durations with a unit ("388.204 ms"), addresses in hex, control characters escaped, so
 * that recorded text cannot drive the terminal. For machines (json, ndjson, csv, tsv, line): times
 * in the same RFC 3339 form, durations as integer nanoseconds, integers in full, decimals as text
 * in JSON; line protocol carries times as integer nanoseconds.
 *
 * Files in reading order: render.h render_int.h render.c value.c utf8.c table.c vertical.c
 * markdown.c json.c csv.c tsv.c line.c timeline.c chart.c chrome.c picture.h picture.c graph.c
 * svg.c error.c term.c. Fed by src/query, shown by tools and src/server.
 */
#ifndef KP_RENDER_RENDER_H
#define KP_RENDER_RENDER_H

#include "column/batch.h"

enum kp_format {
    KP_FORMAT_TABLE,    /* aligned columns for people */
    KP_FORMAT_VERTICAL, /* one line a column, for wide rows */
    KP_FORMAT_JSON,     /* {"columns":[...],"rows":[[...]],"notes":[...]} */
    KP_FORMAT_NDJSON,   /* one object a row */
    KP_FORMAT_CSV,      /* RFC 4180, header line; null = nothing, empty text = "" */
    KP_FORMAT_TSV,      /* header line; tab, line end and backslash as \t \n \\, null = \N */
    KP_FORMAT_MARKDOWN, /* a table for a chat or a report */
    KP_FORMAT_LINE,     /* InfluxDB line protocol */
    KP_FORMAT_TIMELINE, /* text drawing of rows with start (or ts), dur and a label */
    KP_FORMAT_GRAPH,    /* causes as a tree in text: rows with dur and kind */
    KP_FORMAT_DOT,      /* the same for Graphviz */
    KP_FORMAT_SVG,      /* the same and the timeline as a picture */
    KP_FORMAT_CHART,    /* bars of the first number of each row */
    KP_FORMAT_CHROME,   /* trace events for chrome://tracing and Perfetto */
    KP_FORMAT_COUNT
};

struct kp_term {
    uint32_t width; /* columns of the terminal; 0 = unlimited (not a terminal) */
    bool color;
    bool utf8;
    bool raw;   /* tables hold durations and numbers in full: nanoseconds, no units */
    bool local; /* tables hold times of the process's zone (TZ), with its offset */
};

struct kp_render; /* one rendering in progress */

/* Where text goes; returns false when the reader is gone (closed pipe): rendering stops quietly. */
typedef bool (*kp_write_fn)(void *ctx, const char *text, size_t size);

/* name for line protocol's measurement ("causes"), copied; schema must outlive the rendering.
 * INVALID: this format cannot show this schema (timeline without start and dur). */
kp_status kp_render_open(enum kp_format format, const struct kp_schema *schema, const char *name,
                         const struct kp_term *term, kp_write_fn write, void *ctx,
                         struct kp_render **out) KP_MUST;
/* END: the reader is gone, nothing more need be asked for. */
kp_status kp_render_batch(struct kp_render *render, const struct kp_batch *batch) KP_MUST;
/* Ends the document; notes are shown where the format has a place for them. */
kp_status kp_render_end(struct kp_render *render, const struct kp_str *notes,
                        uint32_t notes_count) KP_MUST;
/* Ends a document that is incomplete: the rows so far, and the error where the format has a place.
 */
kp_status kp_render_fail(struct kp_render *render, const struct kp_error *err) KP_MUST;
void kp_render_close(struct kp_render *render);

/* Format by name ("table", "json", ...); false when unknown. */
bool kp_format_parse(struct kp_str name, enum kp_format *out);
/* Hints at the format that a name which is none may mean, or lists them. */
void kp_format_hint(struct kp_str name, struct kp_error *err);
const char *kp_format_name(enum kp_format format);
/* MIME type of a format; whether notes have a place in it. */
const char *kp_format_mime(enum kp_format format);
/* The columns it cannot do without, in words; "" = any will do. */
const char *kp_format_needs(enum kp_format format);
bool kp_format_has_notes(enum kp_format format);
/* Text of one value as all human formats print it (no padding); exact = machine form. */
void kp_value_text(const struct kp_field *field, const struct kp_vec *vec, uint32_t row, bool exact,
                   struct kp_buf *out);
/* Decides colour once: NO_COLOR, TERM, whether fd is a terminal. The locale must be set before. */
struct kp_term kp_term_detect(int fd);
/* Prints an error as people read it: the message, the query line with a caret, the hint. */
void kp_render_error(const struct kp_error *err, struct kp_str query_text, const char *program,
                     const struct kp_term *term, struct kp_buf *out);
/* The same for programs: {"code":"invalid","message":...,"line":1,"column":8,"width":3,"hint":...}.
 */
void kp_render_error_json(const struct kp_error *err, struct kp_buf *out);
/* A JSON string literal of text; invalid UTF-8 becomes U+FFFD. */
void kp_json_str(struct kp_buf *out, struct kp_str text);
/* Name of an answer, from the first word of its statement, lower-case ("causes"): the measurement.
 */
#define KP_RENDER_NAME_MAX 32
void kp_render_name(struct kp_str query_text, char out[KP_RENDER_NAME_MAX]);
/* A count for people: 1204331 -> "1,204,331". */
void kp_text_count(struct kp_buf *out, int64_t value);

#endif
