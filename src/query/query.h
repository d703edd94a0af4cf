/* SPDX-License-Identifier: Apache-2.0
 *
 * A query: text in, result batches out.
 *
 *   text -> tokens (grammar/lex.re) -> tree (grammar/query.y, ast.c) -> names, types, units
 * (bind.c)
 *        -> operator chain with time range, keys and columns pushed into the scan (plan.c)
 *        -> batches (op_*.c, expr.c, func.c), pulled by exec.c under row, time and memory limits
 *
 * No query path knows who asked: tools, server and tests use these calls and hand the batches to
 * src/render.
 */
#ifndef KP_QUERY_QUERY_H
#define KP_QUERY_QUERY_H

#include "column/batch.h"
#include "storage/storage.h"

struct kp_query;

struct kp_query_opts {
    size_t memory_bytes_max; /* arena cap; 0 = 256 MiB */
    kp_dur timeout;          /* 0 = none */
    kp_dur
        default_window; /* time bound of a query without one, back from the newest row; 0 = all */
    const _Atomic bool *cancel; /* checked per batch; NULL = never */
    uint32_t threads;           /* that may work at it; 0 = one per CPU */
    uint32_t slice_rows;        /* that a thread takes at a time; 0 = 250,000 */
    uint32_t off;               /* enum kp_query_off: what it must do without, for comparison */
};

/* Ways to an answer that can be turned off one by one; the answer's bytes stay the same. */
enum kp_query_off {
    KP_OFF_PRUNING = 1,   /* pages and segments left out by their ranges and indexes */
    KP_OFF_PARALLEL = 2,  /* several threads */
    KP_OFF_METADATA = 4,  /* counts taken from page headers */
    KP_OFF_ROLLUPS = 16,  /* whole segments from what they add up to */
    KP_OFF_UNORDERED = 8, /* rows of events that are aggregated come in any order */
    KP_OFF_JOINED = 32,   /* events read from what pages of all streams share */
};

struct kp_query_stat {
    uint64_t rows_out, rows_read, bytes_read;
    uint32_t segments, segments_pruned, pages, pages_pruned;
    uint32_t pages_counted;                                  /* of pages: not read */
    uint32_t pages_by_time, pages_by_thread, pages_by_value; /* of pages_pruned: what told */
    size_t memory_bytes;
    kp_dur elapsed;
    uint64_t as_of;
};

/* Parses, binds and plans one statement. snapshot may be NULL: then only statements that need no
 * data (print, explain, show) can be opened and others give UNSUPPORTED. text is copied.
 * Errors carry line, column and width of the offending token, and a suggestion as hint. */
kp_status kp_query_open(struct kp_snapshot *snapshot, struct kp_str text,
                        const struct kp_query_opts *opts, struct kp_query **out,
                        struct kp_error *err) KP_MUST;
const struct kp_schema *kp_query_schema(const struct kp_query *query);
/* Next batch or END. Valid until the next call. */
kp_status kp_query_next(struct kp_query *query, const struct kp_batch **out,
                        struct kp_error *err) KP_MUST;
/* Remarks that belong to the answer (default time bound, gaps touched, disabled kinds, notes of the
 * causal verbs). Complete after END; the causal notes are there after the first next. */
uint32_t kp_query_notes(const struct kp_query *query, const struct kp_str **out);
void kp_query_stat(const struct kp_query *query, struct kp_query_stat *out);
void kp_query_close(struct kp_query *query);

/* --- for shells --- */

/* Names that can stand at byte `at` of an unfinished text: calls each(ctx, candidate, what). */
void kp_query_complete(struct kp_str text, uint32_t at,
                       void (*each)(void *ctx, struct kp_str name, const char *what), void *ctx);
/* The name after `render` at the end of a statement, into out; false when there is none. */
#define KP_RENDERING_MAX 24
bool kp_query_rendering(struct kp_str text, char out[KP_RENDERING_MAX]);
/* What parts of a text are, for shells that colour it, in their order; what is not named is plain.
 */
enum kp_mark {
    KP_MARK_VERB,     /* CAUSES, OF, let */
    KP_MARK_OPERATOR, /* where, summarize */
    KP_MARK_FUNCTION,
    KP_MARK_NUMBER, /* 5ms too */
    KP_MARK_STRING,
    KP_MARK_COMMENT,
};
void kp_query_highlight(struct kp_str text,
                        void (*each)(void *ctx, uint32_t from, uint32_t len, enum kp_mark mark),
                        void *ctx);
/* What a word of the language means, as lines of text; false when it is none. */
bool kp_query_help(struct kp_str word, struct kp_buf *out);
/* The word with a meaning that is spelt nearly so; NULL = none. */
const char *kp_query_help_near(struct kp_str word);
/* A query that shows a statement or an operator at work; NULL = no such word. */
const char *kp_query_example(struct kp_str word);
/* True when the text can only be an unfinished statement (open bracket, string, trailing pipe). */
bool kp_query_unfinished(struct kp_str text);

#endif
