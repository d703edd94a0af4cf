/* SPDX-License-Identifier: Apache-2.0
 *
 * Text to tokens (grammar/lex.re) to tree (grammar/query.y, driven by parse.c). The lexer knows no
 * keywords: whether a word is one depends on its place, and parse.c decides that.
 */
#ifndef KP_QUERY_PARSE_H
#define KP_QUERY_PARSE_H

#include "query/query_int.h"

struct kpi_statement;

struct kpi_token {
    int code; /* of build/gen/query.h; 0 = end of text, < 0 = refused (error is set) */
    struct kpi_place place;
    struct kp_str text;     /* as written; strings: unescaped */
    struct kpi_value value; /* literals */
    bool quoted_double;     /* "...": an identifier to InfluxQL writers */
};

struct kpi_lexer {
    struct kpi_ctx *ctx;
    const unsigned char *at, *end; /* *end == 0 */
};

struct kpi_lexer kpi_lexer_init(struct kpi_ctx *ctx);
/* Next token; code 0 at the end, -1 after an error. Words come as IDENT. */
void kpi_lex(struct kpi_lexer *lexer, struct kpi_token *out);
/* The next run of bytes up to a blank, `|`, `;`, `,` or bracket as one IDENT (transaction ids).
 * Code 0 when there is none. A quoted string is read as by kpi_lex. */
void kpi_lex_word(struct kpi_lexer *lexer, struct kpi_token *out);
/* The next operator name: a word that may hold hyphens. Code 0 when there is none. */
void kpi_lex_operator(struct kpi_lexer *lexer, struct kpi_token *out);

/* --- literals (literal.c): text to value; false when it is none --- */

bool kpi_literal_long(struct kp_str text, struct kpi_value *out);
bool kpi_literal_real(struct kp_str text, struct kpi_value *out);
/* 5ms, 1.5h, 3minutes, 1tick (100 ns). */
bool kpi_literal_duration(struct kp_str text, struct kpi_value *out);
/* 'text' and "text" with escapes; @'text' with doubled quotes. */
bool kpi_literal_string(struct kpi_ctx *ctx, struct kp_str text, struct kpi_value *out);
bool kpi_literal_raw(struct kpi_ctx *ctx, struct kp_str text, struct kpi_value *out);
/* What stands inside dynamic( ): JSON, kept as compact text. */
bool kpi_literal_dynamic(struct kpi_ctx *ctx, struct kp_str text, struct kpi_value *out);
/* type(text): 1 = a value, 0 = a function call after all, -1 = a value of this type it cannot be.
 */
int kpi_literal_typed(struct kp_str text, struct kpi_value *out);
/* RFC 3339, or 2026-1-2, 1/2/2026 (month first) with 03:04:05.6 and AM or PM behind it or not. */
bool kpi_literal_datetime(struct kp_str text, int64_t *out_ns);
/* 1.02:03:04.5, 02:03:04, or as kpi_literal_duration. */
bool kpi_literal_timespan(struct kp_str text, int64_t *out_ns);

/* --- parser --- */

/* Text to tree; NULL with the error set. */
struct kpi_statement *kpi_parse(struct kpi_ctx *ctx);

enum kpi_word_place { KPI_WORD_START, KPI_WORD_OPERATOR, KPI_WORD_VERB };
/* Names that can start a statement, follow `|`, or go on a causal verb; NULL past the last. */
const char *kpi_word_name(enum kpi_word_place place, uint32_t index, const char **out_doc);
/* CAUSE OF txn 1: hints at the verb when token is an OF out of place behind what is nearly one. */
bool kpi_hint_verb(struct kpi_ctx *ctx, const struct kpi_token *token);

/* The parser's state, handed to every grammar action. */
struct kpi_parse {
    struct kpi_ctx *ctx;
    struct kpi_statement *statement;
};
/* Syntax error at a token; expected = display names, repeats allowed. */
void kpi_parse_unexpected(struct kpi_parse *parse, const struct kpi_token *token,
                          const char *const *expected, uint32_t expected_count);

#endif
