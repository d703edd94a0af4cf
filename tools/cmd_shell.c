/* SPDX-License-Identifier: Apache-2.0
 *
 * The shell: a statement ends with ";" or with a line that completes it. Ctrl-C cancels what runs
 * or clears what is typed and never leaves; Ctrl-D leaves. Backslash commands are about the shell
 * itself.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/version.h"
#include "query/query.h"
#include "shell.h"
#include "shell_values.h"

/* --- completion --- */

static void complete(void *ctx, struct kp_str text, uint32_t at,
                     void (*each)(void *each_ctx, struct kp_str name, const char *what),
                     void *each_ctx)
{
    struct kpi_shell *shell = ctx;
    if (text.len > 0 && text.ptr[0] == '\\')
        kpi_shell_complete_command(text, each, each_ctx);
    else if (!kpi_shell_values(shell->session, text, each, each_ctx))
        kp_query_complete(text, at, each, each_ctx);
}

/* --- colours --- */

static const char *const colors[] = {
    [KP_MARK_VERB] = "\033[1;35m",   [KP_MARK_OPERATOR] = "\033[1;34m",
    [KP_MARK_FUNCTION] = "\033[36m", [KP_MARK_NUMBER] = "\033[33m",
    [KP_MARK_STRING] = "\033[32m",   [KP_MARK_COMMENT] = "\033[2m",
};

struct painting {
    struct kp_str line;
    uint32_t done; /* bytes painted */
    struct kp_buf *out;
};

static void paint_mark(void *ctx, uint32_t from, uint32_t len, enum kp_mark mark)
{
    struct painting *painting = ctx;
    if (from < painting->done || from + len > painting->line.len)
        return;
    kp_buf_add(painting->out, painting->line.ptr + painting->done, from - painting->done);
    kp_buf_text(painting->out, colors[mark]);
    kp_buf_add(painting->out, painting->line.ptr + from, len);
    kp_buf_text(painting->out, "\033[0m");
    painting->done = from + len;
}

static void paint(void *ctx, struct kp_str line, struct kp_buf *out)
{
    (void)ctx;
    struct painting painting = {.line = line, .out = out};
    if (line.ptr[0] != '\\')
        kp_query_highlight(line, paint_mark, &painting);
    kp_buf_add(out, line.ptr + painting.done, line.len - painting.done);
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

static bool starts_with_pipe(struct kp_str line)
{
    while (line.len > 0 && isspace((unsigned char)line.ptr[0]))
        line = (struct kp_str){line.ptr + 1, line.len - 1};
    return line.len > 0 && line.ptr[0] == '|';
}

/* What begins with a blank is not kept, and no password: \open http://name:word@host. */
static void remember(struct kpi_shell *shell, struct kp_str text)
{
    static const char open[] = "\\open ";
    const size_t skip = sizeof(open) - 1;
    struct kp_buf line = {0};
    char shown[KPI_TARGET_SHOWN];
    if (text.len == 0 || text.ptr[0] == ' ')
        return;
    if (text.len > skip && memcmp(text.ptr, open, skip) == 0) {
        kp_buf_add(&line, text.ptr + skip, text.len - skip);
        kpi_target_shown(kp_buf_cstr(&line), shown);
        kp_buf_clear(&line);
        kp_buf_printf(&line, "%s%s", open, shown);
    } else {
        kp_buf_str(&line, text);
    }
    if (!line.failed)
        kpi_lineedit_remember(shell->edit, (struct kp_str){line.data, (uint32_t)line.size});
    kp_buf_deinit(&line);
}

void kpi_shell_run(struct kpi_shell *shell, struct kp_str text)
{
    while (text.len > 0 && isspace((unsigned char)text.ptr[text.len - 1]))
        text.len--;
    remember(shell, text);
    kp_buf_clear(&shell->last);
    kp_buf_str(&shell->last, text);
    atomic_store(&kpi_cancel, false);
    kpi_session_run(shell->session, text);
    atomic_store(&kpi_cancel, false);
}

static void run_statement(struct kpi_shell *shell)
{
    kpi_shell_run(shell,
                  (struct kp_str){kp_buf_cstr(&shell->statement), (uint32_t)shell->statement.size});
    kp_buf_clear(&shell->statement);
    shell->held = false;
}

/* let a = 1; asks for the query that uses it. */
static bool waits_for_query(struct kp_str text)
{
    return text.len > 4 && memcmp(text.ptr, "let ", 4) == 0 && kp_query_unfinished(text);
}

/* A statement is run when it ends with ";", with an empty line, or when nothing in it asks for
 * more. Pasted lines that begin with a pipe belong to the statement before them. */
static void take_line(struct kpi_shell *shell, struct kp_str line)
{
    struct kp_buf *statement = &shell->statement;
    if (shell->held && !starts_with_pipe(line))
        run_statement(shell);
    shell->held = false;
    if (statement->size == 0 && line.len > 0 && line.ptr[0] == '\\') {
        remember(shell, line);
        kpi_shell_command(shell, line);
        return;
    }
    if (statement->size == 0 && blank(line))
        return;
    kp_buf_str(statement, line);
    kp_buf_char(statement, '\n');
    struct kp_str text = {kp_buf_cstr(statement), (uint32_t)statement->size};
    if (blank(line) || (ends_in_semicolon(text) && !waits_for_query(text)))
        run_statement(shell);
    else if (!kp_query_unfinished(text))
        shell->held = true;
    if (shell->held && !kpi_lineedit_more(shell->edit))
        run_statement(shell);
}

static void loop(struct kpi_shell *shell)
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
            kpi_session_detect(shell->session);
            take_line(shell, (struct kp_str){kp_buf_cstr(&line), (uint32_t)line.size});
        }
        fflush(stdout);
    }
    kp_buf_deinit(&line);
}

int kpi_shell(struct kpi_session *session)
{
    struct kpi_shell shell = {.session = session};
    struct kp_error err = {0};
    char path[600]; /* of the history, then what is asked */
    session->interactive = true;
    const char *history = history_path(path, sizeof(path)) ? path : NULL;
    kp_status status = kpi_lineedit_open(history, &kpi_cancel, complete, &shell, &shell.edit);
    if (status != KP_OK) {
        kp_error_set(&err, status, "cannot open the line editor");
        return kpi_tool_fail(&err, (struct kp_str){NULL, 0});
    }
    if (session->term.color)
        kpi_lineedit_paint(shell.edit, paint);
    kpi_target_shown(session->target, path);
    printf("kprobe %s on %s   \\? for help, Ctrl-D to leave\n", kp_version(), path);
    loop(&shell);
    kpi_lineedit_close(shell.edit);
    kp_buf_deinit(&shell.statement);
    kp_buf_deinit(&shell.last);
    free(shell.target);
    if (session->out != NULL)
        fclose(session->out);
    return 0;
}
