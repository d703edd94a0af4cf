/* SPDX-License-Identifier: Apache-2.0
 *
 * The text protocol of the query port: what a line means. Knows neither sockets nor threads.
 */
#ifndef KP_SERVER_TEXT_H
#define KP_SERVER_TEXT_H

#include "render/render.h"

#define KPI_LINE_BYTES_MAX (1024u * 1024) /* of a line, and of a statement over lines */

enum kpi_line_kind {
    KPI_LINE_EMPTY,   /* blank, or a # remark */
    KPI_LINE_QUERY,   /* text, or a piece of it */
    KPI_LINE_FORMAT,  /* .format json */
    KPI_LINE_TIMEOUT, /* .timeout 5s */
    KPI_LINE_AUTH,    /* .auth TOKEN */
    KPI_LINE_CANCEL,  /* .cancel */
    KPI_LINE_QUIT,    /* .quit */
    KPI_LINE_WRONG    /* a . word that there is not, or a wrong value */
};

struct kpi_line {
    enum kpi_line_kind kind;
    struct kp_str text;    /* QUERY: without the line's end; AUTH: the token */
    enum kp_format format; /* FORMAT */
    kp_dur timeout;        /* TIMEOUT; 0 = none */
    struct kp_error err;   /* WRONG */
};

/* What one line says. text borrows from it. */
void kpi_line_read(struct kp_str line, struct kpi_line *out);
/* Adds a line of a query to `statement`; true when the statement is complete: at a ; or when it
 * needs no further line. A blank line completes whatever is there. */
bool kpi_statement_add(struct kp_buf *statement, const struct kpi_line *line);
/* Adds "# note: ...", a line. */
void kpi_text_note(struct kp_str note, struct kp_buf *out);
/* Adds "# error line=1 col=8 message (hint)" and the blank line that ends an answer. */
void kpi_text_error(const struct kp_error *err, struct kp_buf *out);

/* How a connection begins: with one of HTTP's methods, with something else, or too short to tell.
 */
enum kpi_sniff { KPI_SNIFF_MORE, KPI_SNIFF_HTTP, KPI_SNIFF_TEXT };
#define KPI_SNIFF_BYTES 8 /* never needs more */
enum kpi_sniff kpi_sniff(struct kp_str begin);

#endif
