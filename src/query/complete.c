/* SPDX-License-Identifier: Apache-2.0
 *
 * Completion for shells: what can stand at a byte of an unfinished text. The columns in reach are
 * found by binding everything before the last `|`, so completion never knows more or less than the
 * binder.
 */
#include <stdio.h>

#include "query/func.h"
#include "query/plan.h"

struct complete {
    struct kp_str text;   /* up to the cursor */
    struct kp_str prefix; /* of the word under the cursor */
    struct kp_str before; /* text before that word */
    void (*each)(void *ctx, struct kp_str name, const char *what);
    void *ctx;
};

static bool in_word(char c)
{
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '_';
}

static void offer(const struct complete *c, const char *name, const char *what)
{
    struct kp_str text = kp_str_from(name);
    struct kp_str head = {text.ptr, KP_MIN(text.len, c->prefix.len)};
    if (text.len >= c->prefix.len && kp_str_equal_nocase(head, c->prefix))
        c->each(c->ctx, text, what);
}

static void offer_all(const struct complete *c, const char *const *names, size_t count,
                      const char *what)
{
    for (size_t i = 0; i < count; i++)
        offer(c, names[i], what);
}

static void offer_words(const struct complete *c, enum kpi_word_place place)
{
    const char *name, *doc;
    for (uint32_t i = 0; (name = kpi_word_name(place, i, &doc)) != NULL; i++)
        offer(c, name, doc);
}

static void offer_tables(const struct complete *c)
{
    const char *name, *kind, *doc;
    for (uint32_t i = 0; (name = kpi_table_name(i, &kind, &doc)) != NULL; i++)
        offer(c, name, doc);
}

static void offer_aggregates(const struct complete *c)
{
    const struct kpi_aggregate_func *aggregate;
    for (uint32_t i = 0; (aggregate = kpi_aggregate_at(i)) != NULL; i++)
        if (aggregate->doc != NULL)
            offer(c, aggregate->name, aggregate->doc);
}

/* There are hundreds: nobody looks for one among them all. */
static void offer_functions(const struct complete *c)
{
    const struct kpi_func *func;
    for (uint32_t i = 0; c->prefix.len > 0 && (func = kpi_func_at(i)) != NULL; i++)
        if (func->doc != NULL && in_word(func->name[0]) && strchr(func->name, ' ') == NULL)
            offer(c, func->name, func->doc);
}

/* --- where the cursor is --- */

static struct kp_str trim(struct kp_str text)
{
    while (text.len > 0 && (unsigned char)text.ptr[text.len - 1] <= ' ')
        text.len--;
    while (text.len > 0 && (unsigned char)text.ptr[0] <= ' ') {
        text.ptr++;
        text.len--;
    }
    return text;
}

/* Position after the last c outside quotes and comments; 0 when there is none. */
static uint32_t after_last(struct kp_str text, char wanted)
{
    uint32_t found = 0;
    char quote = 0;
    for (uint32_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (quote != 0) {
            i += c == '\\';
            quote = c == quote ? 0 : quote;
        } else if (c == '\'' || c == '"') {
            quote = c;
        } else if (c == '/' && i + 1 < text.len && text.ptr[i + 1] == '/') {
            while (i < text.len && text.ptr[i] != '\n')
                i++;
        } else if (c == wanted) {
            found = i + 1;
        }
    }
    return found;
}

static struct kp_str last_word(struct kp_str text)
{
    text = trim(text);
    uint32_t from = text.len;
    while (from > 0 && in_word(text.ptr[from - 1]))
        from--;
    return (struct kp_str){text.ptr + from, text.len - from};
}

static struct kp_str first_word(struct kp_str text)
{
    text = trim(text);
    uint32_t len = 0;
    while (len < text.len && (in_word(text.ptr[len]) || text.ptr[len] == '-'))
        len++;
    return (struct kp_str){text.ptr, len};
}

static bool is(struct kp_str word, const char *name)
{
    return kp_str_equal_nocase(word, kp_str_from(name));
}

/* --- columns in reach --- */

/* Binds the pipe before the cursor; the operator whose columns are in reach, or NULL. */
static struct kpi_op *bind_before(struct kpi_run *run, struct kp_str text)
{
    run->ctx = (struct kpi_ctx){.arena = &run->arena};
    run->ctx.text = kp_arena_str(&run->arena, text);
    if (run->ctx.text.ptr == NULL)
        return NULL;
    struct kpi_statement *statement = kpi_parse(&run->ctx);
    return statement == NULL ? NULL : kpi_bind_statement(run, statement);
}

static void offer_columns(const struct complete *c, const struct kpi_op *op)
{
    for (uint32_t i = 0; op != NULL && i < op->schema.count; i++) {
        struct kp_str name = op->schema.fields[i].name;
        struct kp_str head = {name.ptr, KP_MIN(name.len, c->prefix.len)};
        if (name.len >= c->prefix.len && kp_str_equal_nocase(head, c->prefix))
            c->each(c->ctx, name, kp_type_name(op->schema.fields[i].type));
    }
}

/* After `column == ` or `column in (`: the names an ENUM column can have. */
static bool offer_values(const struct complete *c, struct kp_str segment, struct kp_str source)
{
    const struct kp_stream *stream = kp_stream_by_name(source);
    struct kp_str left = trim(segment);
    bool quoted = left.len > 0 && (left.ptr[left.len - 1] == '\'' || left.ptr[left.len - 1] == '"');
    left.len -= quoted;
    left = trim(left);
    uint32_t end = left.len;
    while (end > 0 && strchr("=!~(", left.ptr[end - 1]) != NULL)
        end--;
    if (end == left.len || stream == NULL)
        return false;
    struct kp_str name = last_word((struct kp_str){left.ptr, end});
    if (is(name, "in"))
        name = last_word((struct kp_str){left.ptr, (uint32_t)(name.ptr - left.ptr)});
    const struct kp_query_column *column = kp_stream_column(stream, name);
    if (column == NULL || column->ref.attr != KP_ATTR_SELF)
        return false;
    const struct kp_stored_column *stored = &stream->stored[column->ref.stored];
    for (uint32_t i = 0; i < stored->names_count; i++) {
        char value[80];
        int length = snprintf(value, sizeof(value), "'%s'", stored->names[i].name);
        if (!quoted && c->prefix.len == 0 && length > 0)
            c->each(c->ctx, kp_str_from(value), stored->doc);
        else
            offer(c, stored->names[i].name, stored->doc);
    }
    return stored->names_count > 0;
}

/* --- contexts --- */

static bool offer_durations(const struct complete *c, struct kp_str previous)
{
    static const char *const durations[] = {"10us", "1ms", "100ms", "1s", "2s", "10s", "1m", "1h"};
    if (!is(previous, "WITHIN") && !is(previous, "MIN") && !is(previous, "LAST"))
        return false;
    offer_all(c, durations, KP_ARRAY_LEN(durations), "duration");
    return true;
}

/* The verb that the statement begins with takes tables, or roots. */
static void offer_roots(const struct complete *c, struct kp_str verb)
{
    static const char *const roots[] = {"txn", "span", "thread", "wait"};
    static const char *const events[] = {"event", "io"};
    bool effects = is(verb, "EFFECTS");
    if (is(verb, "CULPRITS")) {
        offer(c, "(txn", "a table of transactions: (txn | where ...)");
        return;
    }
    for (size_t i = effects ? 2 : 0; i < (effects ? 3 : KP_ARRAY_LEN(roots)); i++)
        offer(c, roots[i], "what the question is about");
    if (effects)
        offer(c, "pid", "a process");
    for (size_t i = 0; i < KP_ARRAY_LEN(events); i++)
        if (effects || (i == 0 && is(verb, "CAUSES")))
            offer(c, events[i], "host/cpu/seq, as column evidence shows it");
}

static bool names_root(struct kp_str word)
{
    static const char *const words[] = {"txn",  "span",  "thread", "pid",
                                        "wait", "event", "io",     "host"};
    for (size_t i = 0; i < KP_ARRAY_LEN(words); i++)
        if (is(word, words[i]))
            return true;
    return false;
}

static void complete_verb(const struct complete *c, struct kp_str statement)
{
    static const char *const baselines[] = {"none", "LAST"};
    struct kp_str previous = last_word(statement), verb = first_word(statement);
    if (previous.ptr == verb.ptr && is(verb, "DIFF"))
        offer(c, "CAUSES", "two partitions side by side");
    else if (previous.ptr == verb.ptr || (is(verb, "DIFF") && is(previous, "CAUSES")))
        offer(c, "OF", "of what");
    else if (is(previous, "OF") || is(previous, "VS"))
        offer_roots(c, verb);
    else if (is(previous, "BASELINE"))
        offer_all(c, baselines, KP_ARRAY_LEN(baselines), "what to compare with");
    else if (is(previous, "EDGES"))
        offer(c, "strong", "strong edges only");
    else if (is(previous, "ORACLE"))
        for (int oracle = KP_ORACLE_NONE + 1; oracle < KP_ORACLES; oracle++)
            offer(c, kp_oracle_name(oracle), kp_oracle_text(oracle));
    else if (is(previous, "AT"))
        offer(c, "host", "where it ran");
    else if (!offer_durations(c, previous) && !names_root(previous))
        offer_words(c, KPI_WORD_VERB);
}

static bool is_verb(struct kp_str word)
{
    static const char *const verbs[] = {"CAUSES",  "EVIDENCE", "CHAIN", "BLOCKERS",
                                        "EFFECTS", "CULPRITS", "DIFF"};
    for (size_t i = 0; i < KP_ARRAY_LEN(verbs); i++)
        if (is(word, verbs[i]))
            return true;
    return false;
}

static void complete_start(const struct complete *c, struct kp_str statement)
{
    static const char *const show[] = {"tables", "columns"};
    struct kp_str first = first_word(statement), previous = last_word(statement);
    if (statement.len == 0 || is(previous, "explain") || is(previous, "analyze")) {
        offer_words(c, KPI_WORD_START);
        offer_tables(c);
        if (is(previous, "explain"))
            offer(c, "analyze", "run it and show what each operator did");
    } else if (is_verb(first)) {
        complete_verb(c, statement);
    } else if (is(first, "explain")) {
        statement.ptr += first.len;
        statement.len -= first.len;
        complete_start(c, trim(statement));
    } else if (is(first, "show")) {
        if (is(previous, "columns"))
            offer_tables(c);
        else if (is(previous, "show"))
            offer_all(c, show, KP_ARRAY_LEN(show), "what to show");
    } else if (is(first, "union")) {
        offer_tables(c);
    } else if (is(first, "print") || is(first, "let") || is(first, "range")) {
        offer_functions(c);
    }
}

static void offer_keywords(const struct complete *c, struct kp_str operator_name)
{
    static const char *const conditions[] = {"and", "or",       "in",         "between",
                                             "has", "contains", "startswith", "endswith"};
    bool sorts =
        is(operator_name, "sort") || is(operator_name, "order") || is(operator_name, "top");
    if (sorts || is(operator_name, "summarize"))
        offer(c, "by", "keyword");
    if (sorts) {
        offer(c, "asc", "smallest first");
        offer(c, "desc", "largest first");
    }
    if (is(operator_name, "where") && c->before.len > 0)
        offer_all(c, conditions, KP_ARRAY_LEN(conditions), "keyword");
}

/* Names after EMIT and render. */
static void offer_ends(const struct complete *c, bool frame)
{
    static const char *const drawings[] = {"graph", "timeline", "chart",   "svg",
                                           "dot",   "table",    "vertical"};
    const char *name;
    for (uint32_t i = 0; frame && (name = kpi_frame_name(i)) != NULL; i++)
        offer(c, name, "a frame for Grafana");
    if (!frame)
        offer_all(c, drawings, KP_ARRAY_LEN(drawings), "how the shell draws it");
}

static void complete_operator(const struct complete *c, struct kp_str above, struct kp_str segment)
{
    struct kp_str name = first_word(segment);
    if (segment.len == 0) {
        offer_words(c, KPI_WORD_OPERATOR);
        return;
    }
    if (is(name, "union")) {
        offer_tables(c);
        return;
    }
    if (is(name, "EMIT") || is(name, "render")) {
        offer_ends(c, is(name, "EMIT"));
        return;
    }
    uint32_t pipe = after_last(above, ';');
    struct kp_str source = first_word((struct kp_str){above.ptr + pipe, above.len - pipe});
    if (offer_values(c, segment, source))
        return;
    struct kpi_run run = {0};
    kp_arena_init(&run.arena, 16 * 1024 * 1024);
    offer_columns(c, bind_before(&run, above));
    kp_arena_deinit(&run.arena);
    offer_keywords(c, name);
    if (is(name, "summarize"))
        offer_aggregates(c);
    if (!is(name, "project-away") && !is(name, "project-keep") && !is(name, "project-reorder"))
        offer_functions(c);
}

/* Where the word under the cursor begins; names of operators hold hyphens. */
static uint32_t word_start(struct kp_str text, uint32_t pipe)
{
    uint32_t plain = text.len, dashed = text.len;
    while (plain > 0 && in_word(text.ptr[plain - 1]))
        plain--;
    while (dashed > pipe && (in_word(text.ptr[dashed - 1]) || text.ptr[dashed - 1] == '-'))
        dashed--;
    struct kp_str between = {text.ptr + pipe, dashed - pipe};
    return pipe > 0 && trim(between).len == 0 ? dashed : plain;
}

void kp_query_complete(struct kp_str text, uint32_t at,
                       void (*each)(void *ctx, struct kp_str name, const char *what), void *ctx)
{
    if (at > text.len || text.len > KPI_TEXT_BYTES_MAX)
        return;
    text.len = at;
    uint32_t pipe = after_last(text, '|'), statement = after_last(text, ';');
    if (pipe < statement)
        pipe = 0;
    uint32_t from = word_start(text, pipe);
    struct complete c = {.text = text,
                         .prefix = {text.ptr + from, at - from},
                         .before = {text.ptr, from},
                         .each = each,
                         .ctx = ctx};
    if (pipe == 0) {
        complete_start(&c, trim((struct kp_str){text.ptr + statement, from - statement}));
        return;
    }
    struct kp_str above = {text.ptr, pipe - 1};
    complete_operator(&c, above, trim((struct kp_str){text.ptr + pipe, from - pipe}));
}

bool kp_query_unfinished(struct kp_str text)
{
    if (trim(text).len == 0 || text.len > KPI_TEXT_BYTES_MAX)
        return false;
    struct kp_arena arena;
    kp_arena_init(&arena, 64 * 1024 * 1024);
    struct kpi_ctx ctx = {.arena = &arena};
    ctx.text = kp_arena_str(&arena, text);
    bool unfinished = ctx.text.ptr != NULL && kpi_parse(&ctx) == NULL && ctx.ended_early;
    kp_arena_deinit(&arena);
    return unfinished;
}

bool kp_query_rendering(struct kp_str text, char out[KP_RENDERING_MAX])
{
    struct kp_arena arena;
    if (text.len > KPI_TEXT_BYTES_MAX)
        return false;
    kp_arena_init(&arena, 64 * 1024 * 1024);
    struct kpi_ctx ctx = {.arena = &arena};
    ctx.text = kp_arena_str(&arena, text);
    const struct kpi_statement *statement = ctx.text.ptr == NULL ? NULL : kpi_parse(&ctx);
    const struct kpi_pipe *pipe = statement == NULL ? NULL : statement->pipe;
    bool found = pipe != NULL && pipe->last != NULL && pipe->last->kind == KPI_STAGE_RENDER &&
                 pipe->last->expr != NULL && pipe->last->expr->name.len < KP_RENDERING_MAX;
    if (found)
        snprintf(out, KP_RENDERING_MAX, "%.*s", (int)pipe->last->expr->name.len,
                 pipe->last->expr->name.ptr);
    kp_arena_deinit(&arena);
    return found;
}
