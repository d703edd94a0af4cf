/* SPDX-License-Identifier: Apache-2.0
 *
 * The shell: a statement ends with ";" or with a line that completes it. Ctrl-C cancels what runs
 * or clears what is typed and never leaves; Ctrl-D leaves. Backslash commands are about the shell
 * itself.
 */
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/version.h"
#include "column/catalogue.h"
#include "lineedit.h"
#include "query/query.h"
#include "shell.h"

struct shell {
    struct kpi_session *session;
    struct kpi_lineedit *edit;
    struct kp_buf statement; /* lines so far */
    bool held;               /* statement is whole, but pasted lines wait behind it */
    bool leave;
};

/* --- backslash commands --- */

static void print_columns(const struct kp_stream *stream)
{
    printf("%s: %s\n\n", stream->name, stream->doc);
    for (uint32_t i = 0; i < stream->columns_count; i++) {
        const struct kp_query_column *column = &stream->columns[i];
        printf("  %-16s %-9s %-8s %s\n", column->name, kp_type_name(column->type),
               column->unit == KP_UNIT_NONE ? "" : kp_unit_name(column->unit),
               column->doc != NULL ? column->doc : "");
    }
}

/* What the language says of an unknown table, without the place in a text nobody typed. */
static void fail_table(const char *word, const struct kp_error *why)
{
    struct kp_error err;
    kp_error_set(&err, KP_NOT_FOUND, "there is no table '%s'", word);
    kp_error_hint(&err, "%s", why->hint[0] != '\0' ? why->hint : "\\d lists them");
    kpi_tool_fail(&err, (struct kp_str){NULL, 0});
}

static void command_describe(struct shell *shell, const char *word)
{
    uint32_t count;
    const struct kp_stream *streams = kp_streams(&count);
    if (word[0] != '\0') {
        const struct kp_stream *stream = kp_stream_by_name(kp_str_from(word));
        struct kp_error err = {0};
        if (stream != NULL)
            print_columns(stream);
        else if (kpi_session_describe(shell->session, word, &err) != KP_OK)
            fail_table(word, &err);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        printf("  %-16s %s\n", streams[i].name, streams[i].doc);
    printf("\n  made from these: thread_state, cpu_state, txn, events\n"
           "  \\d TABLE shows its columns\n");
}

static void command_format(struct shell *shell, const char *word)
{
    struct kp_error err;
    if (word[0] == '\0') {
        printf("format is %s\n", kp_format_name(shell->session->format));
    } else if (!kp_format_parse(kp_str_from(word), &shell->session->format)) {
        kp_error_set(&err, KP_USAGE, "unknown format '%s'", word);
        kp_format_hint(kp_str_from(word), &err);
        kpi_tool_fail(&err, (struct kp_str){NULL, 0});
    }
}

static void command_expand(struct shell *shell, const char *word)
{
    (void)word;
    bool on = shell->session->format != KP_FORMAT_VERTICAL;
    shell->session->format = on ? KP_FORMAT_VERTICAL : KP_FORMAT_TABLE;
    printf("one line a column is %s\n", on ? "on" : "off");
}

static void command_timing(struct shell *shell, const char *word)
{
    (void)word;
    shell->session->timing = !shell->session->timing;
    printf("timing is %s\n", shell->session->timing ? "on" : "off");
}

static void command_quit(struct shell *shell, const char *word)
{
    (void)word;
    shell->leave = true;
}

static void command_help(struct shell *shell, const char *word);

static const struct {
    const char *name;
    const char *arg;
    void (*run)(struct shell *shell, const char *word);
    const char *what;
} commands[] = {
    {"\\d", "[TABLE]", command_describe, "the tables, or the columns of one"},
    {"\\format", "[NAME]", command_format, "how answers look: table json csv timeline ..."},
    {"\\x", "", command_expand, "one line a column, on and off"},
    {"\\timing", "", command_timing, "the line below an answer, on and off"},
    {"\\?", "", command_help, "this"},
    {"\\q", "", command_quit, "leave (so does Ctrl-D)"},
};

static void command_help(struct shell *shell, const char *word)
{
    (void)shell, (void)word;
    for (size_t i = 0; i < KP_ARRAY_LEN(commands); i++)
        printf("  %-8s %-8s %s\n", commands[i].name, commands[i].arg, commands[i].what);
    printf("\n  CAUSES OF txn 98721 WITHIN 2s        why a payment was slow\n"
           "  sched_switch | where comm == 'nginx' | take 5\n"
           "  syscall | summarize n = count(), sum(dur) by comm | sort by n desc\n\n"
           "  A statement ends with ; or a complete line. Tab completes, Ctrl-C cancels.\n");
}

static void run_command(struct shell *shell, const char *line)
{
    char name[32] = "", word[64] = "";
    sscanf(line, "%31s %63s", name, word);
    size_t end = strlen(word);
    if (end > 0 && word[end - 1] == ';')
        word[end - 1] = '\0';
    for (size_t i = 0; i < KP_ARRAY_LEN(commands); i++) {
        if (strcmp(name, commands[i].name) == 0) {
            commands[i].run(shell, word);
            return;
        }
    }
    fprintf(stderr, "kpq: unknown command '%s'; \\? lists them\n", name);
}

/* --- completion --- */

static void complete_command(struct kp_str text,
                             void (*each)(void *each_ctx, struct kp_str name, const char *what),
                             void *each_ctx)
{
    uint32_t count;
    const struct kp_stream *streams = kp_streams(&count);
    if (text.len > 3 && memcmp(text.ptr, "\\d ", 3) == 0) {
        for (uint32_t i = 0; i < count; i++)
            each(each_ctx, kp_str_from(streams[i].name), streams[i].doc);
    } else if (text.len > 8 && memcmp(text.ptr, "\\format ", 8) == 0) {
        for (int i = 0; i < KP_FORMAT_COUNT; i++)
            each(each_ctx, kp_str_from(kp_format_name((enum kp_format)i)), "");
    } else {
        for (size_t i = 0; i < KP_ARRAY_LEN(commands); i++)
            each(each_ctx, kp_str_from(commands[i].name), commands[i].what);
    }
}

static void complete(void *ctx, struct kp_str text, uint32_t at,
                     void (*each)(void *each_ctx, struct kp_str name, const char *what),
                     void *each_ctx)
{
    (void)ctx;
    if (text.len > 0 && text.ptr[0] == '\\')
        complete_command(text, each, each_ctx);
    else
        kp_query_complete(text, at, each, each_ctx);
}

/* --- the loop --- */

/* $XDG_STATE_HOME/kprobe/history, its folders made; false = there is no place for one. */
static bool history_path(char *out, size_t out_size)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char dir[512];
    if (state != NULL && state[0] == '/')
        snprintf(dir, sizeof(dir), "%s", state);
    else if (home != NULL && home[0] == '/')
        snprintf(dir, sizeof(dir), "%s/.local/state", home);
    else
        return false;
    strncat(dir, "/kprobe", sizeof(dir) - strlen(dir) - 1);
    for (char *slash = strchr(dir + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(dir, 0700);
        *slash = '/';
    }
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return false;
    int length = snprintf(out, out_size, "%s/history", dir);
    return length > 0 && (size_t)length < out_size;
}

static bool blank(struct kp_str text)
{
    for (uint32_t i = 0; i < text.len; i++)
        if (!isspace((unsigned char)text.ptr[i]))
            return false;
    return true;
}

static bool ends_in_semicolon(struct kp_str text)
{
    while (text.len > 0 && isspace((unsigned char)text.ptr[text.len - 1]))
        text.len--;
    return text.len > 0 && text.ptr[text.len - 1] == ';';
}

/* More was typed than one line: a paste, or somebody who types ahead. */
static bool input_waits(void)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&in, 1, 0) == 1 && (in.revents & POLLIN) != 0;
}

static bool starts_with_pipe(struct kp_str line)
{
    while (line.len > 0 && isspace((unsigned char)line.ptr[0]))
        line = (struct kp_str){line.ptr + 1, line.len - 1};
    return line.len > 0 && line.ptr[0] == '|';
}

static void run_statement(struct shell *shell)
{
    struct kp_str text = {kp_buf_cstr(&shell->statement), (uint32_t)shell->statement.size};
    text.len -= text.len > 0; /* the last line end */
    kpi_lineedit_remember(shell->edit, text);
    atomic_store(&kpi_cancel, false);
    kpi_session_run(shell->session, text);
    atomic_store(&kpi_cancel, false);
    kp_buf_clear(&shell->statement);
    shell->held = false;
}

/* A statement is run when it ends with ";", with an empty line, or when nothing in it asks for
 * more. Pasted lines that begin with a pipe belong to the statement before them. */
static void take_line(struct shell *shell, struct kp_str line)
{
    struct kp_buf *statement = &shell->statement;
    if (shell->held && !starts_with_pipe(line))
        run_statement(shell);
    shell->held = false;
    if (statement->size == 0 && line.len > 0 && line.ptr[0] == '\\') {
        kpi_lineedit_remember(shell->edit, line);
        run_command(shell, line.ptr);
        return;
    }
    if (statement->size == 0 && blank(line))
        return;
    kp_buf_str(statement, line);
    kp_buf_char(statement, '\n');
    struct kp_str text = {kp_buf_cstr(statement), (uint32_t)statement->size};
    if (ends_in_semicolon(text) || blank(line))
        run_statement(shell);
    else if (!kp_query_unfinished(text))
        shell->held = true;
    if (shell->held && !input_waits())
        run_statement(shell);
}

static void loop(struct shell *shell)
{
    struct kp_buf line = {0};
    while (!shell->leave) {
        struct kp_str before = {kp_buf_cstr(&shell->statement), (uint32_t)shell->statement.size};
        const char *prompt = before.len == 0 ? "kpq> " : "...> ";
        kp_status status = kpi_lineedit_read(shell->edit, prompt, before, &line);
        if (status == KP_CANCELLED) {
            printf("^C\n");
            kp_buf_clear(&shell->statement);
            shell->held = false;
            atomic_store(&kpi_cancel, false);
        } else if (status != KP_OK) {
            printf("\n");
            if (shell->held)
                run_statement(shell);
            break;
        } else {
            shell->session->term = kp_term_detect(STDOUT_FILENO); /* it may have been resized */
            take_line(shell, (struct kp_str){kp_buf_cstr(&line), (uint32_t)line.size});
        }
        fflush(stdout);
    }
    kp_buf_deinit(&line);
}

int kpi_shell(struct kpi_session *session)
{
    struct shell shell = {.session = session};
    struct kp_error err = {0};
    char path[600];
    session->interactive = true;
    const char *history = history_path(path, sizeof(path)) ? path : NULL;
    kp_status status = kpi_lineedit_open(history, &kpi_cancel, complete, NULL, &shell.edit);
    if (status != KP_OK) {
        kp_error_set(&err, status, "cannot open the line editor");
        return kpi_tool_fail(&err, (struct kp_str){NULL, 0});
    }
    printf("kprobe %s on %s   \\? for help, Ctrl-D to leave\n", kp_version(), session->target);
    loop(&shell);
    kpi_lineedit_close(shell.edit);
    kp_buf_deinit(&shell.statement);
    return 0;
}
