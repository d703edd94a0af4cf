/* SPDX-License-Identifier: Apache-2.0
 *
 * The question is made from the text itself: what stands before the last `|` is the table, the word
 * before the comparison is the column. Text that is no such thing fails quietly and completes
 * nothing. Values come with the most frequent or newest first. Groups of actors are counted without
 * reading rows; what takes too long even so is answered from the first rows instead.
 */
#include "shell_values.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUES_MAX  200
#define VALUES_ROWS 50000 /* looked at when there is no time for all */
#define VALUES_WAIT (150 * KP_MS)

/* Where the text stands at its end. */
struct spot {
    bool quoted;
    uint32_t quote; /* of the open string */
    uint32_t pipe;  /* the last `|` outside strings, or where the statement begins */
};

static struct spot find_spot(struct kp_str text)
{
    struct spot spot = {0};
    for (uint32_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (spot.quoted && c == '\\')
            i++;
        else if (spot.quoted && c == text.ptr[spot.quote])
            spot.quoted = false;
        else if (!spot.quoted && (c == '\'' || c == '"'))
            spot = (struct spot){true, i, spot.pipe};
        else if (!spot.quoted && (c == '|' || c == ';'))
            spot.pipe = i + (c == ';');
    }
    return spot;
}

static bool in_name(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* The word that ends before byte `end`, blanks and comparison signs skipped. */
static struct kp_str word_before(struct kp_str text, uint32_t end)
{
    while (end > 0 && text.ptr[end - 1] != '\0' && strchr(" \t\n=!~(", text.ptr[end - 1]) != NULL)
        end--;
    uint32_t from = end;
    while (from > 0 && in_name(text.ptr[from - 1]))
        from--;
    return (struct kp_str){text.ptr + from, end - from};
}

/* in ('a', 'b: back to the bracket. */
static uint32_t list_start(struct kp_str text, uint32_t at)
{
    uint32_t end = at;
    while (end > 0 && strchr(" \t\n", text.ptr[end - 1]) != NULL)
        end--;
    if (end == 0 || text.ptr[end - 1] != ',')
        return at;
    while (end > 0 && text.ptr[end - 1] != '(')
        end--;
    return end;
}

/* The column that an open string is compared with; empty = none. */
static struct kp_str find_column(struct kp_str text, uint32_t quote)
{
    static const char *const words[] = {"has",    "contains",   "startswith", "endswith",
                                        "in",     "has_any",    "has_all",    "hasprefix",
                                        "has_cs", "contains_cs"};
    struct kp_str word = word_before(text, list_start(text, quote));
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (kp_str_equal(word, kp_str_from(words[i])))
            return word_before(text, (uint32_t)(word.ptr - text.ptr));
    return word;
}

/* Runs a query of one text column and offers its values, each without its first `skip` bytes.
 * False: there was no answer in time. */
static bool offer(struct kpi_session *session, struct kp_buf *query, uint32_t skip,
                  void (*each)(void *each_ctx, struct kp_str name, const char *what),
                  void *each_ctx)
{
    char *answer = NULL;
    size_t size = 0;
    FILE *out = query->failed ? NULL : open_memstream(&answer, &size);
    if (out == NULL)
        return true;
    bool good = kpi_session_ask(session, (struct kp_str){query->data, (uint32_t)query->size},
                                VALUES_WAIT, out);
    fclose(out);
    char *save = NULL, *line = good ? strtok_r(answer, "\n", &save) : NULL;
    while (line != NULL && (line = strtok_r(NULL, "\n", &save)) != NULL) /* after the header */
        if (strlen(line) > skip && strchr(line, '\\') == NULL)
            each(each_ctx, kp_str_from(line + skip), "");
    free(answer);
    return good;
}

static void add_quoted(struct kp_buf *out, struct kp_str text)
{
    kp_buf_char(out, '\'');
    for (uint32_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\'' || text.ptr[i] == '\\')
            kp_buf_char(out, '\\');
        kp_buf_char(out, text.ptr[i]);
    }
    kp_buf_char(out, '\'');
}

static void offer_strings(struct kpi_session *session, struct kp_str text, const struct spot *spot,
                          void (*each)(void *each_ctx, struct kp_str name, const char *what),
                          void *each_ctx)
{
    struct kp_str column = find_column(text, spot->quote);
    struct kp_str typed = {text.ptr + spot->quote + 1, text.len - spot->quote - 1};
    struct kp_buf query = {0};
    bool done = column.len == 0 || column.ptr < text.ptr + spot->pipe;
    for (int all = 1; !done && all >= 0; all--) {
        kp_buf_clear(&query);
        kp_buf_add(&query, text.ptr, spot->pipe);
        if (!all)
            kp_buf_printf(&query, " | take %d", VALUES_ROWS);
        kp_buf_printf(&query,
                      " | summarize kpq_rows = count() by kpq_value = %.*s"
                      " | where kpq_value startswith ",
                      (int)column.len, column.ptr);
        add_quoted(&query, typed);
        kp_buf_printf(&query, " | top %d by kpq_rows | project kpq_value", VALUES_MAX);
        done = offer(session, &query, 0, each, each_ctx);
    }
    kp_buf_deinit(&query);
}

/* Bytes of the transaction's id typed so far, as `... txn 98`; -1 = none belongs here. */
static int typed_txn(struct kp_str text)
{
    uint32_t from = text.len;
    while (from > 0 && !isspace((unsigned char)text.ptr[from - 1]))
        from--;
    if (from == 0 || memchr(text.ptr, '|', from) != NULL)
        return -1;
    struct kp_str word = word_before(text, from);
    return kp_str_equal_nocase(word, KP_STR("txn")) && word.ptr > text.ptr ? (int)(text.len - from)
                                                                           : -1;
}

static void offer_txns(struct kpi_session *session, struct kp_str typed,
                       void (*each)(void *each_ctx, struct kp_str name, const char *what),
                       void *each_ctx)
{
    struct kp_buf query = {0};
    uint32_t skip = typed.len; /* the editor replaces the last run of letters and digits only */
    while (skip > 0 && in_name(typed.ptr[skip - 1]))
        skip--;
    kp_buf_text(&query, "spans | summarize kpq_last = max(ts) by txn | where txn startswith ");
    add_quoted(&query, typed);
    kp_buf_printf(&query, " | top %d by kpq_last | project txn", VALUES_MAX);
    bool done = offer(session, &query, skip, each, each_ctx);
    kp_buf_clear(&query);
    kp_buf_text(&query, "spans | where isnotempty(txn) and txn startswith ");
    add_quoted(&query, typed);
    kp_buf_printf(&query, " | take %d | distinct txn", VALUES_ROWS / VALUES_MAX);
    if (!done)
        offer(session, &query, skip, each, each_ctx);
    kp_buf_deinit(&query);
}

bool kpi_shell_values(struct kpi_session *session, struct kp_str text,
                      void (*each)(void *each_ctx, struct kp_str name, const char *what),
                      void *each_ctx)
{
    struct spot spot = find_spot(text);
    int typed = spot.quoted ? -1 : typed_txn(text);
    if (spot.quoted)
        offer_strings(session, text, &spot, each, each_ctx);
    else if (typed >= 0)
        offer_txns(session, (struct kp_str){text.ptr + text.len - typed, (uint32_t)typed}, each,
                   each_ctx);
    return spot.quoted || typed >= 0;
}
