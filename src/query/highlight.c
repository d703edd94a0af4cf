/* SPDX-License-Identifier: Apache-2.0
 *
 * What the words of an unfinished text are, for shells that colour it. The lexer splits the text;
 * a word is an operator behind `|`, part of a verb or of a statement where such words stand, a
 * function before "(". What the lexer refuses (an open string, a stray character) ends the marks.
 */
#include "build/gen/query.h"
#include "query/plan.h"

struct marks {
    struct kp_str text;
    void (*each)(void *ctx, uint32_t from, uint32_t len, enum kp_mark mark);
    void *ctx;
    int before; /* token before the one at hand; 0 = the text begins */
};

static bool known(enum kpi_word_place place, struct kp_str word)
{
    const char *doc, *name;
    for (uint32_t i = 0; (name = kpi_word_name(place, i, &doc)) != NULL; i++)
        if (kp_str_equal(word, kp_str_from(name)))
            return true;
    return false;
}

/* Comments lie between tokens. */
static void mark_comments(const struct marks *marks, uint32_t from, uint32_t to)
{
    for (uint32_t at = from; at + 1 < to; at++) {
        if (marks->text.ptr[at] != '/' || marks->text.ptr[at + 1] != '/')
            continue;
        uint32_t end = at;
        while (end < to && marks->text.ptr[end] != '\n')
            end++;
        marks->each(marks->ctx, at, end - at, KP_MARK_COMMENT);
        at = end;
    }
}

static bool upper(struct kp_str word)
{
    for (uint32_t i = 0; i < word.len; i++)
        if (word.ptr[i] < 'A' || word.ptr[i] > 'Z')
            return false;
    return word.len > 1;
}

static void mark_word(const struct marks *marks, const struct kpi_token *token)
{
    uint32_t end = token->place.at + token->place.len;
    if (marks->before == PIPE && known(KPI_WORD_OPERATOR, token->text))
        marks->each(marks->ctx, token->place.at, token->place.len, KP_MARK_OPERATOR);
    else if ((marks->before == 0 && known(KPI_WORD_START, token->text)) || upper(token->text))
        marks->each(marks->ctx, token->place.at, token->place.len, KP_MARK_VERB);
    else if (end < marks->text.len && marks->text.ptr[end] == '(')
        marks->each(marks->ctx, token->place.at, token->place.len, KP_MARK_FUNCTION);
}

static void mark_token(const struct marks *marks, const struct kpi_token *token)
{
    if (token->code == IDENT && !token->quoted_double)
        mark_word(marks, token);
    else if (token->code == STRING)
        marks->each(marks->ctx, token->place.at, token->place.len, KP_MARK_STRING);
    else if (token->text.len > 0 && token->text.ptr[0] >= '0' && token->text.ptr[0] <= '9')
        marks->each(marks->ctx, token->place.at, token->place.len, KP_MARK_NUMBER);
}

/* Behind a pipe an operator may hold hyphens, which elsewhere are signs. */
static void next_token(struct kpi_lexer *lexer, int before, struct kpi_token *out)
{
    struct kpi_lexer start = *lexer;
    if (before == PIPE) {
        kpi_lex_operator(lexer, out);
        if (out->code != 0)
            return;
        *lexer = start;
    }
    kpi_lex(lexer, out);
}

void kp_query_highlight(struct kp_str text,
                        void (*each)(void *ctx, uint32_t from, uint32_t len, enum kp_mark mark),
                        void *ctx)
{
    struct kp_arena arena;
    kp_arena_init(&arena, 1024 * 1024);
    struct kpi_ctx run = {.arena = &arena};
    run.text = text.len <= KPI_TEXT_BYTES_MAX ? kp_arena_str(&arena, text) : (struct kp_str){0};
    struct marks marks = {.text = run.text, .each = each, .ctx = ctx};
    struct kpi_lexer lexer = run.text.ptr != NULL ? kpi_lexer_init(&run) : (struct kpi_lexer){0};
    uint32_t end = 0; /* of the last token */
    while (run.text.ptr != NULL) {
        struct kpi_token token;
        next_token(&lexer, marks.before, &token);
        mark_comments(&marks, end, token.code > 0 ? token.place.at : text.len);
        if (token.code <= 0)
            break;
        mark_token(&marks, &token);
        marks.before = token.code == SEMI ? 0 : token.code;
        end = token.place.at + token.place.len;
    }
    kp_arena_deinit(&arena);
}
