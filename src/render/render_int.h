/* SPDX-License-Identifier: Apache-2.0
 *
 * What the renderers share: the table row of a format and the rendering in progress.
 */
#ifndef KP_RENDER_RENDER_INT_H
#define KP_RENDER_RENDER_INT_H

#include "base/arena.h"
#include "render/render.h"

struct kpi_format {
    const char *name;
    const char *mime;
    bool has_notes;
    /* All append to render->out; memory comes from render->arena. begin may refuse the schema. */
    kp_status (*begin)(struct kp_render *render);
    void (*batch)(struct kp_render *render, const struct kp_batch *batch);
    void (*end)(struct kp_render *render);
    void (*deinit)(struct kp_render *render); /* may be NULL */
};

struct kp_render {
    const struct kpi_format *format;
    const struct kp_schema *schema;
    char name[KP_RENDER_NAME_MAX];
    struct kp_term term;
    kp_write_fn write;
    void *ctx;
    struct kp_arena arena;
    struct kp_buf out;          /* text not yet written */
    bool gone;                  /* the reader left */
    uint64_t rows;              /* rendered so far */
    void *state;                /* of the format */
    const struct kp_str *notes; /* set for end() */
    uint32_t notes_count;
    const struct kp_error *failure; /* set for end() of an incomplete document, else NULL */
};

extern const struct kpi_format kpi_format_table, kpi_format_vertical, kpi_format_json,
    kpi_format_ndjson, kpi_format_csv, kpi_format_tsv, kpi_format_markdown, kpi_format_line,
    kpi_format_timeline, kpi_format_chart, kpi_format_chrome, kpi_format_graph, kpi_format_dot,
    kpi_format_svg;

/* Writes render->out when it is large, or always with force. */
void kpi_render_flush(struct kp_render *render, bool force);
/* "note: ..." lines, and the failure, for people. */
void kpi_render_notes(struct kp_render *render);

/* One value as tables show it, after the wishes of render->term. */
void kpi_value_shown(const struct kp_render *render, const struct kp_field *field,
                     const struct kp_vec *vec, uint32_t row, struct kp_buf *out);

/* One value as JSON has it. */
void kpi_json_cell(struct kp_buf *out, const struct kp_field *field, const struct kp_vec *vec,
                   uint32_t row);
/* Decodes one UTF-8 character at text[at]; returns its length, 0 when the bytes are not UTF-8. */
uint32_t kpi_utf8_next(struct kp_str text, uint32_t at, uint32_t *out_code);
/* Terminal columns of a text; bytes that are not UTF-8 count one each. */
uint32_t kpi_text_width(struct kp_str text);
/* The longest beginning of text that fits width; *out_width is what it takes. */
struct kp_str kpi_text_cut(struct kp_str text, uint32_t width, uint32_t *out_width);
/* Adds text with control characters and broken UTF-8 as \n, \t, \x1b... */
void kpi_text_escape(struct kp_buf *out, struct kp_str text);
/* text in `width` columns, padded on the left or right, cut with an ellipsis when longer. */
void kpi_text_pad(struct kp_buf *out, struct kp_str text, uint32_t width, bool right, bool utf8);

/* Adds a line of words, broken at spaces where it would pass `width` columns (0 = never); the lines
 * after the first are indented. Ends with a line end. */
void kpi_text_wrap(struct kp_buf *out, struct kp_str text, uint32_t width, uint32_t indent);

/* Column of that name and type, -1 = there is none; whether a row has a value in it. */
int kpi_column_find(const struct kp_schema *schema, const char *name, enum kp_type type);
bool kpi_cell_there(const struct kp_batch *batch, int column, uint32_t row);

/* True for types whose columns stand right-aligned. */
bool kpi_type_right(enum kp_type type);

#endif
