/* SPDX-License-Identifier: Apache-2.0
 *
 * `kpq DIR|URL`: statements from -c, -f or stdin; the shell when stdin is a terminal.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "meeting.h"
#include "settings.h"
#include "session.h"
#include "shell.h"

#define TEXT_BYTES_MAX (16u * 1024 * 1024)

static const char help[] = "usage: kpq [DIR|URL] [-c QUERY | -f FILE] [flags]\n\n"
                           "  kpq /tmp/rec -c 'CAUSES OF txn 98721 WITHIN 2s'\n"
                           "  echo 'sched_switch | take 5' | kpq /tmp/rec --format csv\n\n";

static kp_status read_all(int fd, const char *name, struct kp_buf *out, struct kp_error *err)
{
    for (;;) {
        char *at = kp_buf_reserve(out, 65536);
        if (at == NULL)
            return kp_error_set(err, KP_NO_MEMORY, "no memory for '%s'", name);
        ssize_t got = read(fd, at, 65536);
        if (got < 0)
            return kp_error_os(err, errno == EINTR ? KP_CANCELLED : KP_IO, errno,
                               "cannot read '%s'", name);
        if (got == 0)
            return KP_OK;
        out->size += (size_t)got;
        if (out->size > TEXT_BYTES_MAX)
            return kp_error_set(err, KP_LIMIT, "'%s' is larger than 16 MiB of statements", name);
    }
}

static kp_status read_file(const char *path, struct kp_buf *out, struct kp_error *err)
{
    if (strcmp(path, "-") == 0)
        return read_all(STDIN_FILENO, "stdin", out, err);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return kp_error_os(err, KP_USAGE, errno, "cannot read '%s'", path);
    kp_status status = read_all(fd, path, out, err);
    close(fd);
    return status;
}

static int run_texts(struct kpi_session *session, const struct kpi_opts *opts)
{
    struct kp_buf text = {0};
    struct kp_error err = {0};
    const char *command = opts->value[KPI_OPT_COMMAND], *file = opts->value[KPI_OPT_FILE];
    kp_status status = KP_OK;
    if (command != NULL)
        kp_buf_text(&text, command);
    else
        status = read_file(file != NULL ? file : "-", &text, &err);
    struct kp_str statements = {kp_buf_cstr(&text), (uint32_t)text.size};
    struct kp_str first;
    uint32_t at = 0;
    int code = 0;
    if (status != KP_OK)
        code = kpi_tool_fail(&err, (struct kp_str){NULL, 0});
    else if (!kpi_statement_next(statements, &at, &first)) {
        kp_error_set(&err, KP_INVALID, "there is no statement to run");
        code = kpi_tool_fail(&err, (struct kp_str){NULL, 0});
    } else {
        code = kpi_session_run(session, statements);
    }
    kp_buf_deinit(&text);
    return code;
}

static bool wants_shell(const struct kpi_opts *opts)
{
    return opts->value[KPI_OPT_COMMAND] == NULL && opts->value[KPI_OPT_FILE] == NULL &&
           isatty(STDIN_FILENO);
}

/* The target: the word on the command line, the setting, or the kpd of this machine. The shell and
 * whoever looks on are told which one that is. */
static kp_status find_target(struct kpi_opts *opts, char meeting[KPI_MEETING_MAX],
                             struct kp_error *err)
{
    if (opts->args_count == 0 && opts->value[KPI_OPT_URL] != NULL)
        opts->args[opts->args_count++] = opts->value[KPI_OPT_URL];
    if (opts->args_count > 1 || opts->rest != NULL) {
        kp_error_set(err, KP_USAGE, "one data directory or URL at a time");
        kp_error_hint(err, "kpq DIR -c QUERY, or kpq --help");
        return KP_USAGE;
    }
    if (opts->args_count == 1)
        return KP_OK;
    kp_status status = kpi_meeting_find(meeting, err);
    if (status != KP_OK)
        return status;
    opts->args[opts->args_count++] = meeting;
    if (isatty(STDERR_FILENO) && !wants_shell(opts))
        fprintf(stderr, "kpq: note: asking %s\n", meeting);
    return KP_OK;
}

static int run(struct kpi_opts *opts, struct kp_arena *arena)
{
    struct kpi_session session;
    char meeting[KPI_MEETING_MAX];
    struct kp_error err = {0};
    kp_status status = KP_OK;
    if (opts->value[KPI_OPT_COMMAND] != NULL && opts->value[KPI_OPT_FILE] != NULL)
        status = kp_error_set(&err, KP_USAGE, "-c and -f exclude each other");
    if (status == KP_OK)
        status = kpi_settings_query(opts, arena, &err);
    if (status == KP_OK)
        status = find_target(opts, meeting, &err);
    if (status == KP_OK)
        status = kpi_session_init(&session, opts, &err);
    if (status != KP_OK)
        return kpi_tool_fail(&err, (struct kp_str){NULL, 0});
    bool shell = wants_shell(opts);
    kpi_cancel_on_sigint(!shell);
    return shell ? kpi_shell(&session) : run_texts(&session, opts);
}

int kp_cmd_query(int argc, char **argv)
{
    struct kpi_opts opts = {0};
    struct kp_arena arena;
    struct kp_error err = {0};
    if (kpi_opts_parse(argc, argv, KPI_QUERY, &opts, &err) != KP_OK)
        return kpi_tool_fail(&err, (struct kp_str){NULL, 0});
    if (kpi_opts_answered(&opts, help))
        return 0;
    kp_arena_init(&arena, 0);
    int code = run(&opts, &arena);
    kp_arena_deinit(&arena);
    return code;
}
