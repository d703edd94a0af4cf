/* SPDX-License-Identifier: Apache-2.0
 *
 * Renderers: result batches in, text out. One table of formats; a new one is one file and one line.
 * Knows columns and types only; terminal facts are passed in.
 */
#ifndef KP_RENDER_RENDER_H
#define KP_RENDER_RENDER_H

#include "column/batch.h"

enum kp_format {
    KP_FORMAT_TABLE,    /* aligned columns for people */
    KP_FORMAT_JSON,     /* {"columns":[...],"rows":[[...]],"notes":[...]} */
    KP_FORMAT_NDJSON,   /* one object a row */
    KP_FORMAT_CSV,      /* RFC 4180, header line */
    KP_FORMAT_LINE,     /* InfluxDB line protocol */
    KP_FORMAT_TIMELINE, /* text drawing of rows with start, dur and a label */
    KP_FORMAT_COUNT
};

struct kp_term {
    uint32_t width; /* columns of the terminal; 0 = unlimited (not a terminal) */
    bool color;
    bool utf8;
};

struct kp_render; /* one rendering in progress */

/* Where text goes; returns false when the reader is gone (closed pipe): rendering stops quietly. */
typedef bool (*kp_write_fn)(void *ctx, const char *text, size_t size);

/* name for line protocol's measurement ("causes"); schema must outlive the rendering. */
kp_status kp_render_open(enum kp_format format, const struct kp_schema *schema, const char *name,
                         const struct kp_term *term, kp_write_fn write, void *ctx,
                         struct kp_render **out) KP_MUST;
kp_status kp_render_batch(struct kp_render *render, const struct kp_batch *batch) KP_MUST;
/* Ends the document; notes are shown where the format has a place for them. */
kp_status kp_render_end(struct kp_render *render, const struct kp_str *notes,
                        uint32_t notes_count) KP_MUST;
void kp_render_close(struct kp_render *render);

/* Format by name ("table", "json", ...); false when unknown. */
bool kp_format_parse(struct kp_str name, enum kp_format *out);
const char *kp_format_name(enum kp_format format);
/* Text of one value as all human formats print it (no padding); exact = machine form. */
void kp_value_text(const struct kp_field *field, const struct kp_vec *vec, uint32_t row, bool exact,
                   struct kp_buf *out);
/* Decides colour once: NO_COLOR, TERM, whether fd is a terminal. */
struct kp_term kp_term_detect(int fd);
/* Prints an error as people read it: the message, the query line with a caret, the hint. */
void kp_render_error(const struct kp_error *err, struct kp_str query_text, const char *program,
                     const struct kp_term *term, struct kp_buf *out);

#endif
