/* SPDX-License-Identifier: Apache-2.0
 *
 * The backslash commands of the shell: one table, from which \? and the completion are made. A
 * command gets what follows its name, without the ";" people end it with.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "column/catalogue.h"
#include "query/query.h"
#include "shell.h"

#define WATCH_EVERY   (2 * KP_SEC)
#define SCRIPT_BYTES  (16u * 1024 * 1024)
#define COMMAND_BYTES 4096
#define NEAR          3 /* this far away is no mistyping */

static void fail(const struct kp_error *err)
{
    kpi_tool_fail(err, (struct kp_str){NULL, 0});
}

/* The name that a mistyped word was meant to be. */
struct near {
    const char *wanted, *best; /* NULL = none is near */
    uint32_t distance;         /* of the best, or what is too far */
};

static void offer_near(struct near *near, const char *name)
{
    uint32_t distance = kp_str_distance(kp_str_from(near->wanted), kp_str_from(name));
    if (distance >= near->distance)
        return;
    near->distance = distance;
    near->best = name;
}

static void hint_near(const struct near *near, const char *otherwise, struct kp_error *err)
{
    if (near->best != NULL)
        kp_error_hint(err, "did you mean %s?", near->best);
    else
        kp_error_hint(err, "%s", otherwise);
}

/* --- tables --- */

/* A name and what it is, within the screen. */
static void print_name(const struct kpi_session *session, const char *name, const char *what)
{
    int indent = 19, column = printf("  %-16s", name);
    int width = session->term.width > 40 ? (int)session->term.width : INT_MAX;
    while (*what != '\0') {
        int length = (int)strcspn(what, " ");
        if (column + 1 + length > width) {
            printf("\n%*s", indent - 1, "");
            column = indent - 1;
        }
        column += printf(" %.*s", length, what);
        what += length + (what[length] == ' ');
    }
    printf("\n");
}

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
    fail(&err);
}

static void command_describe(struct kpi_shell *shell, const char *word)
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
        print_name(shell->session, streams[i].name, streams[i].doc);
    printf("\n  made from these: thread_state, cpu_state, txn, events\n"
           "  \\d TABLE shows its columns\n");
}

/* Goes on with another directory or server, if it answers. */
static void command_open(struct kpi_shell *shell, const char *word)
{
    char shown[KPI_TARGET_SHOWN];
    struct kp_error err = {0};
    char *target = NULL;
    kp_status status = KP_OK;
    atomic_store(&kpi_cancel, false);
    if (word[0] != '\0') {
        target = strdup(word);
        status = target == NULL ? kp_error_set(&err, KP_NO_MEMORY, "no memory for the name")
                                : kpi_session_open(shell->session, target, &err);
    }
    if (status != KP_OK) {
        free(target);
        fail(&err);
    } else if (target != NULL) {
        free(shell->target);
        shell->target = target;
    }
    kpi_target_shown(shell->session->target, shown);
    printf("on %s\n", shown);
}

static void command_hosts(struct kpi_shell *shell, const char *word)
{
    (void)word;
    atomic_store(&kpi_cancel, false);
    kpi_session_run(shell->session,
                    KP_STR("capture | where op == 'start' | summarize recordings = count(), "
                           "first = min(ts), last = max(ts) by host, kernel, cpus, boot "
                           "| sort by first asc"));
}

/* --- how answers look and where they go --- */

static void command_format(struct kpi_shell *shell, const char *word)
{
    struct kp_error err;
    if (word[0] == '\0') {
        printf("format is %s\n", kp_format_name(shell->session->format));
    } else if (!kp_format_parse(kp_str_from(word), &shell->session->format)) {
        kp_error_set(&err, KP_USAGE, "unknown format '%s'", word);
        kp_format_hint(kp_str_from(word), &err);
        fail(&err);
    }
}

static void command_expand(struct kpi_shell *shell, const char *word)
{
    (void)word;
    bool on = shell->session->format != KP_FORMAT_VERTICAL;
    shell->session->format = on ? KP_FORMAT_VERTICAL : KP_FORMAT_TABLE;
    printf("one line a column is %s\n", on ? "on" : "off");
}

static void command_timing(struct kpi_shell *shell, const char *word)
{
    (void)word;
    shell->session->timing = !shell->session->timing;
    printf("timing is %s\n", shell->session->timing ? "on" : "off");
}

static void command_output(struct kpi_shell *shell, const char *word)
{
    struct kpi_session *session = shell->session;
    if (session->out != NULL)
        fclose(session->out);
    session->out = NULL;
    if (word[0] == '\0') {
        printf("answers go to the screen\n");
        return;
    }
    session->out = fopen(word, "we");
    struct kp_error err;
    if (session->out != NULL) {
        printf("answers go to %s; \\o brings them back\n", word);
        return;
    }
    kp_error_os(&err, KP_USAGE, errno, "cannot write '%s'", word);
    fail(&err);
}

/* A length of time as it may be typed. */
static void put_dur(kp_dur dur, const char *none, struct kp_buf *out)
{
    static const struct {
        kp_dur length;
        const char *name;
    } units[] = {{KP_DAY, "d"}, {KP_HOUR, "h"}, {KP_MIN_NS, "m"}, {KP_SEC, "s"},
                 {KP_MS, "ms"}, {KP_US, "us"},  {1, "ns"}};
    size_t i = 0;
    while (dur != 0 && dur % units[i].length != 0)
        i++;
    if (dur == 0)
        kp_buf_text(out, none);
    else
        kp_buf_printf(out, "%lld%s", (long long)(dur / units[i].length), units[i].name);
}

static void put_memory(uint64_t bytes, struct kp_buf *out)
{
    unsigned shift = bytes % (1u << 30) == 0 ? 30 : bytes % (1u << 20) == 0 ? 20 : 0;
    kp_buf_printf(out, "%llu%s", (unsigned long long)(bytes >> shift),
                  shift == 30   ? "G"
                  : shift == 20 ? "M"
                                : "");
}

/* What a setting is now, as it may be typed. */
static void put_setting(const struct kpi_session *session, enum kpi_opt_id id, struct kp_buf *out)
{
    const char *zone = getenv("TZ");
    if (id == KPI_OPT_FORMAT)
        kp_buf_text(out, kp_format_name(session->format));
    else if (id == KPI_OPT_SINCE)
        put_dur(session->since, "all of it", out);
    else if (id == KPI_OPT_TIMEOUT)
        put_dur(session->timeout, "none", out);
    else if (id == KPI_OPT_MEMORY)
        put_memory(session->memory, out);
    else if (id == KPI_OPT_THREADS && session->threads == 0)
        kp_buf_text(out, "one a processor");
    else if (id == KPI_OPT_THREADS)
        kp_buf_printf(out, "%u", session->threads);
    else if (id == KPI_OPT_RAW)
        kp_buf_text(out, session->raw ? "true" : "false");
    else if (id == KPI_OPT_TZ)
        kp_buf_text(out, !session->local ? "UTC" : zone != NULL ? zone : "local");
    else
        kp_buf_text(out, kpi_watch_name(session->progress));
}

static void list_settings(const struct kpi_session *session)
{
    struct kp_buf value = {0};
    for (size_t i = 0; i < KPI_SESSION_FLAGS; i++) {
        const struct kpi_opt *opt = &kpi_opt_table[kpi_session_flags[i]];
        kp_buf_clear(&value);
        put_setting(session, kpi_session_flags[i], &value);
        printf("  %-9s %s\n", opt->name, kp_buf_cstr(&value));
    }
    kp_buf_deinit(&value);
}

static void command_set(struct kpi_shell *shell, const char *words)
{
    char name[32] = "", value[64] = "";
    struct kpi_opts opts = {.command = KPI_QUERY, .args = {shell->session->target}};
    struct kp_error err = {0};
    if (sscanf(words, "%31s %63s", name, value) < 1) {
        list_settings(shell->session);
        return;
    }
    for (size_t i = 0; i < KPI_SESSION_FLAGS; i++) {
        if (strcmp(name, kpi_opt_table[kpi_session_flags[i]].name) != 0)
            continue;
        bool off = kpi_opt_table[kpi_session_flags[i]].arg[0] == '\0' && strcmp(value, "true") != 0;
        opts.value[kpi_session_flags[i]] = value[0] != '\0' && !off ? value : NULL;
        if (kpi_session_set(shell->session, kpi_session_flags[i], &opts, &err) != KP_OK)
            fail(&err);
        return;
    }
    struct near near = {.wanted = name, .distance = NEAR};
    for (size_t i = 0; i < KPI_SESSION_FLAGS; i++)
        offer_near(&near, kpi_opt_table[kpi_session_flags[i]].name);
    kp_error_set(&err, KP_USAGE, "there is no setting '%s'", name);
    hint_near(&near, "\\set lists them", &err);
    fail(&err);
}

/* --- statements from elsewhere --- */

static kp_status read_script(const char *path, struct kp_buf *out, struct kp_error *err)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return kp_error_os(err, KP_USAGE, errno, "cannot read '%s'", path);
    char *at = NULL;
    size_t got = 1;
    while (got > 0 && out->size <= SCRIPT_BYTES && (at = kp_buf_reserve(out, 65536)) != NULL)
        out->size += got = fread(at, 1, 65536, file);
    fclose(file);
    if (out->failed)
        return kp_error_set(err, KP_NO_MEMORY, "no memory for '%s'", path);
    if (out->size > SCRIPT_BYTES)
        return kp_error_set(err, KP_LIMIT, "'%s' is larger than 16 MiB of statements", path);
    return KP_OK;
}

static void command_include(struct kpi_shell *shell, const char *path)
{
    struct kp_buf text = {0};
    struct kp_error err = {0};
    if (path[0] == '\0')
        kp_error_set(&err, KP_USAGE, "which file? \\i FILE runs its statements");
    else if (read_script(path, &text, &err) == KP_OK)
        kpi_session_run(shell->session, (struct kp_str){kp_buf_cstr(&text), (uint32_t)text.size});
    if (err.code != KP_OK)
        fail(&err);
    kp_buf_deinit(&text);
}

static bool run_editor(const char *path)
{
    const char *visual = getenv("VISUAL"), *editor = getenv("EDITOR");
    char command[COMMAND_BYTES];
    int length = snprintf(command, sizeof(command), "%s '%s'",
                          visual != NULL && visual[0] != '\0'   ? visual
                          : editor != NULL && editor[0] != '\0' ? editor
                                                                : "vi",
                          path);
    if (length < 0 || (size_t)length >= sizeof(command))
        return false;
    signal(SIGPIPE, SIG_DFL);     /* as for the pager, see sink.c */
    int status = system(command); /* the user's own editor, as the user wrote it */
    signal(SIGPIPE, SIG_IGN);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* The last statement in the editor; what is saved there is run. */
static void command_edit(struct kpi_shell *shell, const char *word)
{
    (void)word;
    char path[] = "/tmp/kpq-XXXXXX";
    struct kp_buf text = {0};
    struct kp_error err = {0};
    int fd = mkstemp(path); /* mode 0600 */
    ssize_t put = fd < 0 ? -1 : write(fd, shell->last.data, shell->last.size);
    if (fd >= 0)
        close(fd);
    if (put < 0 || (size_t)put != shell->last.size)
        kp_error_os(&err, KP_IO, errno, "cannot write '%s'", path);
    else if (!run_editor(path))
        kp_error_set(&err, KP_CANCELLED, "the editor failed; nothing was run");
    else
        (void)!read_script(path, &text, &err);
    if (fd >= 0)
        unlink(path);
    if (err.code != KP_OK)
        fail(&err);
    else if (text.size > 0)
        kpi_shell_run(shell, (struct kp_str){text.data, (uint32_t)text.size});
    kp_buf_deinit(&text);
}

/* Sleeps; false = Ctrl-C. */
static bool pause_for(kp_dur every)
{
    int64_t end = kp_time_monotonic() + every;
    while (!atomic_load(&kpi_cancel)) {
        int64_t left = end - kp_time_monotonic();
        if (left <= 0)
            return true;
        poll(NULL, 0, (int)(KP_MIN(left, KP_SEC) / KP_MS) + 1);
    }
    return false;
}

static void command_watch(struct kpi_shell *shell, const char *word)
{
    kp_dur every = WATCH_EVERY;
    struct kp_error err = {0};
    if (word[0] != '\0' && (!kp_dur_parse(kp_str_from(word), &every) || every < 10 * KP_MS))
        kp_error_set(&err, KP_USAGE, "how often? \\watch 2s; at most every 10ms");
    else if (shell->last.size == 0)
        kp_error_set(&err, KP_USAGE, "nothing to watch: no statement has run yet");
    if (err.code != KP_OK) {
        fail(&err);
        return;
    }
    struct kp_str text = {shell->last.data, (uint32_t)shell->last.size};
    bool paging = shell->session->interactive;
    shell->session->interactive = false; /* no pager, no timing */
    atomic_store(&kpi_cancel, false);
    do {
        char now[KP_TIME_TEXT_MAX], length[KP_DUR_TEXT_MAX];
        kp_time_format(kp_time_now(), now);
        kp_dur_format(every, length);
        printf("\n%s, every %s; Ctrl-C ends\n", now, length);
    } while (kpi_session_run(shell->session, text) == 0 && pause_for(every));
    shell->session->interactive = paging;
    atomic_store(&kpi_cancel, false);
}

/* --- the table --- */

static void command_quit(struct kpi_shell *shell, const char *word)
{
    (void)word;
    shell->leave = true;
}

static void command_help(struct kpi_shell *shell, const char *word);

static const struct {
    const char *name;
    const char *arg;
    void (*run)(struct kpi_shell *shell, const char *words);
    const char *what;
} commands[] = {
    {"\\d", "[TABLE]", command_describe, "the tables, or the columns of one"},
    {"\\l", "", command_hosts, "the hosts that were recorded"},
    {"\\open", "[TARGET]", command_open, "go on with another directory or server"},
    {"\\format", "[NAME]", command_format, "how answers look: table json csv timeline ..."},
    {"\\x", "", command_expand, "one line a column, on and off"},
    {"\\timing", "", command_timing, "the line below an answer, on and off"},
    {"\\o", "[FILE]", command_output, "answers go to a file, or back to the screen"},
    {"\\set", "[NAME V]", command_set, "the settings, or change one: \\set timeout 10s"},
    {"\\i", "FILE", command_include, "run the statements of a file"},
    {"\\e", "", command_edit, "edit the last statement ($VISUAL, $EDITOR) and run it"},
    {"\\watch", "[D]", command_watch, "run the last statement again and again [2s]"},
    {"\\help", "[WORD]", command_help, "this, or what a word of the language means"},
    {"\\?", "", command_help, "this"},
    {"\\q", "", command_quit, "leave (so does Ctrl-D)"},
};

static void help_word(const char *word)
{
    struct kp_buf text = {0};
    struct kp_error err;
    struct kp_str name = {word, (uint32_t)strlen(word)};
    if (kp_query_help(name, &text)) {
        fputs(kp_buf_cstr(&text), stdout);
    } else {
        kp_error_set(&err, KP_NOT_FOUND, "there is no statement, operator or function '%s'", word);
        struct near near = {.best = kp_query_help_near(name)};
        hint_near(&near, "Tab offers what can stand at a place; \\d lists tables", &err);
        fail(&err);
    }
    kp_buf_deinit(&text);
}

static void command_help(struct kpi_shell *shell, const char *word)
{
    (void)shell;
    if (word[0] != '\0') {
        help_word(word);
        return;
    }
    for (size_t i = 0; i < KP_ARRAY_LEN(commands); i++)
        printf("  %-8s %-8s %s\n", commands[i].name, commands[i].arg, commands[i].what);
    printf("\n  CAUSES OF txn 98721 WITHIN 2s        why a payment was slow\n"
           "  sched_switch | where comm == 'nginx' | take 5\n"
           "  syscall | summarize n = count(), sum(dur) by comm | sort by n desc\n\n"
           "  A statement ends with ; or a complete line. Tab completes, Ctrl-C cancels.\n");
}

void kpi_shell_command(struct kpi_shell *shell, struct kp_str line)
{
    char text[COMMAND_BYTES];
    while (line.len > 0 && strchr(" \t;", line.ptr[line.len - 1]) != NULL)
        line.len--;
    snprintf(text, sizeof(text), "%.*s", (int)line.len, line.ptr);
    char *words = text + strcspn(text, " \t");
    if (*words != '\0')
        *words++ = '\0';
    words += strspn(words, " \t");
    for (size_t i = 0; i < KP_ARRAY_LEN(commands); i++) {
        if (strcmp(text, commands[i].name) == 0) {
            commands[i].run(shell, words);
            return;
        }
    }
    struct kp_error err;
    struct near near = {.wanted = text, .distance = NEAR};
    for (size_t i = 0; i < KP_ARRAY_LEN(commands); i++)
        if (strlen(commands[i].name) > 3) /* all of one letter are near to each other */
            offer_near(&near, commands[i].name);
    kp_error_set(&err, KP_USAGE, "unknown command '%s'", text);
    hint_near(&near, "\\? lists them", &err);
    fail(&err);
}

static bool begins(struct kp_str text, const char *head)
{
    size_t len = strlen(head);
    return text.len > len && memcmp(text.ptr, head, len) == 0;
}

/* Files of the folder that is typed so far, a folder with a slash behind it. Of a name that begins
 * as it is typed, the editor replaces the last run of letters and digits only. */
static void offer_files(struct kp_str typed,
                        void (*each)(void *each_ctx, struct kp_str name, const char *what),
                        void *each_ctx)
{
    char folder[COMMAND_BYTES];
    uint32_t base = typed.len, word = typed.len;
    while (base > 0 && typed.ptr[base - 1] != '/')
        base--;
    while (word > base &&
           (isalnum((unsigned char)typed.ptr[word - 1]) || typed.ptr[word - 1] == '_'))
        word--;
    snprintf(folder, sizeof(folder), "%.*s", base > 0 ? (int)base : 1, base > 0 ? typed.ptr : ".");
    DIR *dir = opendir(folder);
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        struct kp_str name = kp_str_from(entry->d_name);
        char shown[sizeof(entry->d_name) + 1];
        if (name.len <= typed.len - base || (name.ptr[0] == '.' && base == typed.len) ||
            memcmp(name.ptr, typed.ptr + base, word - base) != 0)
            continue;
        snprintf(shown, sizeof(shown), "%s%s", name.ptr + (word - base),
                 entry->d_type == DT_DIR ? "/" : "");
        each(each_ctx, kp_str_from(shown), "");
    }
    if (dir != NULL)
        closedir(dir);
}

/* What of a line follows a command that takes a file; text NULL = it is no such line. */
static struct kp_str file_typed(struct kp_str text)
{
    static const char *const heads[] = {"\\open ", "\\i ", "\\o "};
    for (size_t i = 0; i < KP_ARRAY_LEN(heads); i++) {
        uint32_t skip = (uint32_t)strlen(heads[i]);
        if (text.len >= skip && memcmp(text.ptr, heads[i], skip) == 0)
            return (struct kp_str){text.ptr + skip, text.len - skip};
    }
    return (struct kp_str){NULL, 0};
}

void kpi_shell_complete_command(struct kp_str text,
                                void (*each)(void *each_ctx, struct kp_str name, const char *what),
                                void *each_ctx)
{
    uint32_t count;
    const struct kp_stream *streams = kp_streams(&count);
    struct kp_str file = file_typed(text);
    if (file.ptr != NULL) {
        offer_files(file, each, each_ctx);
    } else if (begins(text, "\\d ")) {
        for (uint32_t i = 0; i < count; i++)
            each(each_ctx, kp_str_from(streams[i].name), streams[i].doc);
    } else if (begins(text, "\\format ") || begins(text, "\\set format ")) {
        for (int i = 0; i < KP_FORMAT_COUNT; i++)
            each(each_ctx, kp_str_from(kp_format_name((enum kp_format)i)), "");
    } else if (begins(text, "\\set ")) {
        for (size_t i = 0; i < KPI_SESSION_FLAGS; i++)
            each(each_ctx, kp_str_from(kpi_opt_table[kpi_session_flags[i]].name),
                 kpi_opt_table[kpi_session_flags[i]].help);
    } else {
        for (size_t i = 0; i < KP_ARRAY_LEN(commands); i++)
            each(each_ctx, kp_str_from(commands[i].name), commands[i].what);
    }
}
