/* SPDX-License-Identifier: Apache-2.0
 *
 * A directory is read in this process through a snapshot, also beside a running kpd; a URL is asked
 * over HTTP. Both end in the same text, exit codes and messages.
 */
#include "session.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "client.h"
#include "query/query.h"
#include "sink.h"

#define OPEN_PATIENCE (5 * KP_SEC)

const enum kpi_opt_id kpi_session_flags[KPI_SESSION_FLAGS] = {
    KPI_OPT_FORMAT,  KPI_OPT_SINCE, KPI_OPT_TIMEOUT, KPI_OPT_MEMORY,
    KPI_OPT_THREADS, KPI_OPT_RAW,   KPI_OPT_TZ,      KPI_OPT_PROGRESS};

_Atomic bool kpi_cancel;
static bool cancel_hard;

static void on_sigint(int signal_no)
{
    (void)signal_no;
    if (atomic_exchange(&kpi_cancel, true) && cancel_hard)
        _exit(kp_status_exit(KP_CANCELLED));
}

void kpi_cancel_on_sigint(bool hard)
{
    struct sigaction action = {.sa_handler = on_sigint};
    sigemptyset(&action.sa_mask);
    cancel_hard = hard;
    sigaction(SIGINT, &action, NULL); /* no SA_RESTART: a read at the prompt must end too */
}

int kpi_tool_fail(const struct kp_error *err, struct kp_str query_text)
{
    struct kp_buf text = {0};
    struct kp_term term = kp_term_detect(STDERR_FILENO);
    fflush(stdout);
    kp_render_error(err, query_text, "kpq", &term, &text);
    fputs(kp_buf_cstr(&text), stderr);
    kp_buf_deinit(&text);
    return kp_status_exit(err->code);
}

static kp_status check_directory(const char *dir, struct kp_error *err)
{
    struct stat info;
    if (stat(dir, &info) != 0) {
        kp_error_os(err, errno == EACCES ? KP_DENIED : KP_CONNECT, errno,
                    "cannot open data directory '%s'", dir);
        kp_error_hint(err, "kpq record --data DIR makes one; a server is http://HOST:PORT");
        return err->code;
    }
    if (!S_ISDIR(info.st_mode)) {
        kp_error_set(err, KP_USAGE, "'%s' is a file, not a data directory", dir);
        kp_error_hint(err, "kpq inspect FILE describes a file, kpq import FILE takes in spans");
        return KP_USAGE;
    }
    return KP_OK;
}

static kp_status parse_format(const char *name, enum kp_format *out, struct kp_error *err)
{
    if (kp_format_parse(kp_str_from(name), out))
        return KP_OK;
    kp_error_set(err, KP_USAGE, "unknown format '%s'", name);
    kp_format_hint(kp_str_from(name), err);
    return KP_USAGE;
}

/* libc takes any name for UTC, so what is no file of the zone database is refused here. */
static kp_status set_zone(struct kpi_session *session, const char *name, struct kp_error *err)
{
    char path[256];
    session->local = strcmp(name, "UTC") != 0;
    if (!session->local || strcmp(name, "local") == 0)
        return KP_OK;
    int length = snprintf(path, sizeof(path), "/usr/share/zoneinfo/%s", name);
    if (session->remote) {
        kp_error_set(err, KP_USAGE, "a server answers in UTC");
        kp_error_hint(err, "--tz is for a data directory");
        return KP_USAGE;
    }
    if (length < 0 || (size_t)length >= sizeof(path) || strstr(name, "..") != NULL ||
        access(path, R_OK) != 0) {
        kp_error_set(err, KP_USAGE, "there is no time zone '%s' here", name);
        kp_error_hint(err, "names are those of /usr/share/zoneinfo, as Europe/Berlin; or local");
        return KP_USAGE;
    }
    setenv("TZ", name, 1);
    tzset();
    return KP_OK;
}

kp_status kpi_session_set(struct kpi_session *session, enum kpi_opt_id id,
                          const struct kpi_opts *opts, struct kp_error *err)
{
    const char *value = opts->value[id];
    switch (id) {
    case KPI_OPT_FORMAT:
        return parse_format(value != NULL ? value : "table", &session->format, err);
    case KPI_OPT_TIMEOUT:
        return kpi_opts_dur(opts, id, 0, &session->timeout, err);
    case KPI_OPT_SINCE:
        return kpi_opts_dur(opts, id, 0, &session->since, err);
    case KPI_OPT_MEMORY:
        return kpi_opts_bytes(opts, id, &session->memory, err);
    case KPI_OPT_THREADS:
        return kpi_opts_threads(opts, &session->threads, err);
    case KPI_OPT_PROGRESS:
        return kpi_watch_parse(value != NULL ? value : "auto", &session->progress, err);
    case KPI_OPT_RAW:
        session->raw = value != NULL;
        return KP_OK;
    case KPI_OPT_TZ:
        return set_zone(session, value != NULL ? value : "UTC", err);
    default:
        kp_assert(false);
    }
}

void kpi_session_detect(struct kpi_session *session)
{
    session->term =
        session->out == NULL ? kp_term_detect(STDOUT_FILENO) : (struct kp_term){.utf8 = true};
    session->term.raw = session->raw;
    session->term.local = session->local;
}

static bool is_remote(const char *target)
{
    return strstr(target, "://") != NULL || strncmp(target, "unix:", 5) == 0;
}

void kpi_target_shown(const char *target, char out[KPI_TARGET_SHOWN])
{
    const char *host = strstr(target, "://"), *end, *at;
    snprintf(out, KPI_TARGET_SHOWN, "%s", target);
    if (host == NULL)
        return;
    host += strlen("://");
    end = host + strcspn(host, "/?#");
    at = memrchr(host, '@', (size_t)(end - host));
    if (at != NULL)
        snprintf(out, KPI_TARGET_SHOWN, "%.*s%s", (int)(host - target), target, at + 1);
}

kp_status kpi_session_init(struct kpi_session *session, const struct kpi_opts *opts,
                           struct kp_error *err)
{
    *session = (struct kpi_session){.target = opts->args[0], .timing = true};
    session->remote = is_remote(session->target);
    kp_status status = KP_OK;
    for (size_t i = 0; status == KP_OK && i < KP_ARRAY_LEN(kpi_session_flags); i++)
        status = kpi_session_set(session, kpi_session_flags[i], opts, err);
    kpi_session_detect(session);
    if (status == KP_OK && !session->remote)
        status = check_directory(session->target, err);
    return status;
}

/* --- one statement --- */

static void show_notes(const struct kp_str *notes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        fprintf(stderr, "kpq: note: %.*s\n", (int)notes[i].len, notes[i].ptr);
}

/* Renders the batch at hand and all that follow; status is what brought the first. */
static kp_status pull_rows(struct kp_query *query, struct kp_render *render, kp_status status,
                           const struct kp_batch *batch, struct kp_error *err)
{
    while (status == KP_OK) {
        status = kp_render_batch(render, batch);
        if (status == KP_END)
            return KP_END; /* the reader is gone: no more work */
        if (status != KP_OK)
            return kp_error_set(err, status, "no memory for the answer");
        status = kp_query_next(query, &batch, err);
    }
    return status == KP_END ? KP_OK : status;
}

static kp_status show_query(struct kpi_session *session, struct kp_query *query, const char *name,
                            struct kpi_sink *sink, struct kp_error *err)
{
    struct kp_render *render = NULL;
    const struct kp_batch *batch = NULL;
    kp_status first = kp_query_next(query, &batch, err);
    if (first != KP_OK && first != KP_END)
        return first; /* nothing is shown of an answer that never began */
    kp_status status = kp_render_open(session->format, kp_query_schema(query), name, &session->term,
                                      kpi_sink_write, sink, &render);
    if (status == KP_INVALID)
        return kp_error_set(err, KP_INVALID, "format %s needs %s", kp_format_name(session->format),
                            kp_format_needs(session->format));
    if (status != KP_OK)
        return kp_error_set(err, status, "no memory for the answer");
    status = pull_rows(query, render, first, batch, err);
    const struct kp_str *notes = NULL;
    uint32_t notes_count = kp_query_notes(query, &notes);
    kp_status end = KP_OK;
    if (status == KP_OK)
        end = kp_render_end(render, notes, notes_count);
    else if (status != KP_END)
        end = kp_render_fail(render, err);
    kpi_watch_end(&session->watch);
    if (!kp_format_has_notes(session->format) && !session->quiet)
        show_notes(notes, notes_count);
    if (end != KP_OK && status == KP_OK)
        status = kp_error_set(err, end, "no memory for the answer");
    kp_render_close(render);
    return status == KP_END ? KP_OK : status;
}

static void fill_answer(struct kp_snapshot *snapshot, struct kp_query *query,
                        struct kpi_outcome *answer)
{
    struct kp_query_stat stat;
    kp_query_stat(query, &stat);
    answer->rows = stat.rows_out;
    answer->rows_read = stat.rows_read;
    const struct kp_damage *damage = NULL;
    answer->damaged = kp_snapshot_damage(snapshot, &damage);
    if (answer->damaged > 0)
        snprintf(answer->damage, sizeof(answer->damage), "%s at byte %llu: %s", damage[0].file,
                 (unsigned long long)damage[0].offset, damage[0].what);
    kp_time min, max;
    kp_snapshot_range(snapshot, &min, &max);
    answer->empty_store = min > max;
}

static kp_status run_local(struct kpi_session *session, struct kp_str statement,
                           struct kpi_sink *sink, struct kpi_outcome *answer, struct kp_error *err)
{
    struct kp_snapshot *snapshot = NULL;
    struct kp_query *query = NULL;
    char name[KP_RENDER_NAME_MAX];
    kp_render_name(statement, name);
    kp_status status = kp_snapshot_open(session->target, NULL, &snapshot, err);
    if (status != KP_OK)
        return status;
    kpi_watch_snapshot(&session->watch, snapshot);
    struct kp_query_opts opts = {.memory_bytes_max = session->memory,
                                 .timeout = session->timeout,
                                 .default_window = session->since,
                                 .threads = session->threads,
                                 .cancel = &kpi_cancel};
    status = kp_query_open(snapshot, statement, &opts, &query, err);
    if (status == KP_OK) {
        status = show_query(session, query, name, sink, err);
        fill_answer(snapshot, query, answer);
        kp_query_close(query);
    }
    kpi_watch_end(&session->watch);
    kp_snapshot_close(snapshot);
    return status;
}

static kp_status run_remote(struct kpi_session *session, struct kp_str statement,
                            struct kpi_sink *sink, struct kpi_outcome *answer, struct kp_error *err)
{
    struct kpi_ask ask = {.url = session->target,
                          .query = statement,
                          .format = session->format,
                          .term = session->term,
                          .timeout = session->timeout,
                          .since = session->since,
                          .patience = session->quiet ? session->timeout : 0,
                          .quiet = session->quiet,
                          .cancel = &kpi_cancel,
                          .watch = &session->watch,
                          .write = kpi_sink_write,
                          .ctx = sink};
    return kpi_client_query(&ask, answer, err);
}

/* --- what surrounds an answer --- */

static void show_timing(const struct kpi_outcome *answer)
{
    struct kp_buf text = {0};
    char elapsed[KP_DUR_TEXT_MAX];
    kp_dur_format(answer->elapsed, elapsed);
    kp_buf_char(&text, '(');
    kp_text_count(&text, (int64_t)answer->rows);
    kp_buf_printf(&text, answer->rows == 1 ? " row in %s" : " rows in %s", elapsed);
    if (answer->rows_read > 0) {
        kp_buf_text(&text, ", ");
        kp_text_count(&text, (int64_t)answer->rows_read);
        kp_buf_text(&text, " read");
    }
    kp_buf_text(&text, ")\n");
    fputs(kp_buf_cstr(&text), stdout);
    fflush(stdout);
    kp_buf_deinit(&text);
}

/* Places of an error in a statement become places in the whole text. */
static void place_in_text(struct kp_error *err, struct kp_str text, struct kp_str statement)
{
    uint32_t lines = 0, column = 0;
    for (const char *at = text.ptr; at < statement.ptr; at++) {
        column = *at == '\n' ? 0 : column + 1;
        lines += *at == '\n';
    }
    if (err->line == 1)
        err->column += column;
    if (err->line > 0)
        err->line += lines;
}

static int show_end(struct kpi_session *session, const struct kpi_outcome *answer)
{
    if (session->interactive && session->timing)
        show_timing(answer);
    if (answer->empty_store && answer->damaged == 0)
        fprintf(stderr, "kpq: note: '%s' holds no rows yet\n", session->target);
    if (answer->damaged == 0)
        return 0;
    struct kp_error err;
    kp_error_set(&err, KP_CORRUPT,
                 "%llu damaged place%s skipped; the answer lacks what was there (%s)",
                 (unsigned long long)answer->damaged, answer->damaged == 1 ? " was" : "s were",
                 answer->damage);
    kp_error_hint(&err, "kpq verify %s lists every one", session->target);
    return kpi_tool_fail(&err, (struct kp_str){NULL, 0});
}

/* `| render svg` at the end of a statement goes before --format, for that statement. */
static kp_status choose_format(struct kpi_session *session, struct kp_str statement,
                               struct kp_error *err)
{
    char name[KP_RENDERING_MAX];
    if (!kp_query_rendering(statement, name))
        return KP_OK;
    if (parse_format(name, &session->format, err) == KP_OK)
        return KP_OK;
    return err->code = KP_INVALID;
}

static int run_statement(struct kpi_session *session, struct kp_str text, struct kp_str statement)
{
    struct kpi_sink sink;
    struct kpi_outcome answer = {0};
    struct kp_error err = {0}, written = {0};
    int64_t begin = kp_time_monotonic();
    enum kp_format format = session->format;
    if (choose_format(session, statement, &err) != KP_OK)
        return kpi_tool_fail(&err, text);
    kpi_watch_begin(&session->watch, session->progress);
    kpi_sink_begin(&sink, session->out, session->interactive, &session->watch);
    kp_status status = session->remote ? run_remote(session, statement, &sink, &answer, &err)
                                       : run_local(session, statement, &sink, &answer, &err);
    session->format = format;
    answer.elapsed = kp_time_monotonic() - begin;
    kpi_watch_end(&session->watch);
    kp_status sunk = kpi_sink_end(&sink, &written);
    if (status != KP_OK) {
        err.code = status;
        if (status == KP_CANCELLED)
            err.line = 0; /* nothing in the text is wrong */
        place_in_text(&err, text, statement);
        return kpi_tool_fail(&err, text);
    }
    if (sunk != KP_OK)
        return kpi_tool_fail(&written, text);
    return show_end(session, &answer);
}

int kpi_session_run(struct kpi_session *session, struct kp_str text)
{
    struct kp_str statement;
    uint32_t at = 0;
    int worst = 0;
    while (kpi_statement_next(text, &at, &statement)) {
        int code = run_statement(session, text, statement);
        if (code != 0 && code != kp_status_exit(KP_CORRUPT))
            return code;
        worst = KP_MAX(worst, code);
    }
    return worst;
}

/* Rows as tsv to out, remarks to nobody. */
static kp_status ask_quietly(const struct kpi_session *session, struct kp_str statement,
                             kp_dur timeout, FILE *out, struct kp_error *err)
{
    struct kpi_session quiet = {.target = session->target,
                                .remote = session->remote,
                                .quiet = true,
                                .format = KP_FORMAT_TSV,
                                .timeout = timeout,
                                .memory = session->memory,
                                .threads = session->threads,
                                .progress = KPI_WATCH_NEVER};
    struct kpi_sink sink;
    struct kpi_outcome answer = {0};
    kpi_watch_begin(&quiet.watch, quiet.progress);
    kpi_sink_begin(&sink, out, false, NULL);
    kp_status status = quiet.remote ? run_remote(&quiet, statement, &sink, &answer, err)
                                    : run_local(&quiet, statement, &sink, &answer, err);
    kpi_watch_end(&quiet.watch);
    struct kp_error written = {0};
    kp_status sunk = kpi_sink_end(&sink, &written);
    if (status == KP_OK && sunk != KP_OK)
        *err = written;
    return status == KP_OK ? sunk : status;
}

bool kpi_session_ask(const struct kpi_session *session, struct kp_str statement, kp_dur timeout,
                     FILE *out)
{
    struct kp_error err = {0};
    return ask_quietly(session, statement, timeout, out, &err) == KP_OK;
}

kp_status kpi_session_open(struct kpi_session *session, const char *target, struct kp_error *err)
{
    struct kpi_session next = *session;
    next.target = target;
    next.remote = is_remote(target);
    kp_status status = next.remote ? KP_OK : check_directory(target, err);
    if (status != KP_OK)
        return status;
    FILE *nowhere = fopen("/dev/null", "we");
    if (nowhere == NULL)
        return kp_error_os(err, KP_IO, errno, "cannot open /dev/null");
    status = ask_quietly(&next, KP_STR("print x = 1"), OPEN_PATIENCE, nowhere, err);
    fclose(nowhere);
    if (status != KP_OK)
        return status;
    session->target = target;
    session->remote = next.remote;
    session->local &= !next.remote; /* servers answer in UTC */
    return KP_OK;
}

static void print_schema(const struct kp_schema *schema)
{
    for (uint32_t i = 0; i < schema->count; i++)
        printf("  %-16.*s %-9s %s\n", (int)schema->fields[i].name.len, schema->fields[i].name.ptr,
               kp_type_name(schema->fields[i].type),
               schema->fields[i].unit == KP_UNIT_NONE ? "" : kp_unit_name(schema->fields[i].unit));
}

kp_status kpi_session_describe(struct kpi_session *session, const char *table, struct kp_error *err)
{
    struct kp_snapshot *snapshot = NULL;
    struct kp_query *query = NULL;
    struct kp_query_opts opts = {.memory_bytes_max = session->memory, .cancel = &kpi_cancel};
    if (session->remote)
        return kp_error_set(err, KP_NOT_FOUND, "there is no stored table '%s'", table);
    kp_status status = kp_snapshot_open(session->target, NULL, &snapshot, err);
    if (status != KP_OK)
        return status;
    status = kp_query_open(snapshot, kp_str_from(table), &opts, &query, err);
    if (status == KP_OK) {
        print_schema(kp_query_schema(query));
        kp_query_close(query);
    }
    kp_snapshot_close(snapshot);
    return status;
}

/* --- statements of a text --- */

/* The byte after a string or comment that starts at `at`, or at itself when none does. */
static uint32_t skip_quoted(struct kp_str text, uint32_t at)
{
    char c = text.ptr[at];
    if (c == '/' && at + 1 < text.len && text.ptr[at + 1] == '/') {
        while (at < text.len && text.ptr[at] != '\n')
            at++;
        return at;
    }
    if (c != '\'' && c != '"')
        return at;
    for (at++; at < text.len && text.ptr[at] != c && text.ptr[at] != '\n'; at++)
        if (text.ptr[at] == '\\' && at + 1 < text.len)
            at++;
    return at < text.len ? at + 1 : at;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* True when the statement that begins here is a let, whose ; does not end it. */
static bool begins_let(struct kp_str text, uint32_t at, uint32_t end)
{
    while (at < end && (is_space(text.ptr[at]) || skip_quoted(text, at) > at))
        at = is_space(text.ptr[at]) ? at + 1 : skip_quoted(text, at);
    return at + 3 < end && memcmp(text.ptr + at, "let", 3) == 0 && is_space(text.ptr[at + 3]);
}

/* Where the statement from `from` on ends: at a ; that is in no string, remark or braces. */
static uint32_t statement_end(struct kp_str text, uint32_t from, bool *out_content)
{
    uint32_t at = from, part = from, braces = 0;
    *out_content = false;
    while (at < text.len) {
        uint32_t next = skip_quoted(text, at);
        char c = text.ptr[at];
        *out_content |= c != ';' && !is_space(c) && !(next > at && c == '/');
        if (c == ';' && braces == 0) {
            if (!begins_let(text, part, at))
                return at;
            part = at + 1;
        }
        braces += c == '{' ? 1 : c == '}' && braces > 0 ? -1u : 0;
        at = next > at ? next : at + 1;
    }
    return at;
}

bool kpi_statement_next(struct kp_str text, uint32_t *at, struct kp_str *out)
{
    while (*at < text.len) {
        bool content;
        uint32_t from = *at, end = statement_end(text, from, &content);
        *at = end < text.len ? end + 1 : end;
        while (from < end && is_space(text.ptr[from]))
            from++;
        while (end > from && is_space(text.ptr[end - 1]))
            end--;
        if (content) {
            *out = (struct kp_str){text.ptr + from, end - from};
            return true;
        }
    }
    return false;
}
