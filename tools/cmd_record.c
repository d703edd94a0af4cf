/* SPDX-License-Identifier: Apache-2.0
 *
 * `kpq record`: opens the store, attaches, then waits for Ctrl-C, the time limit or the end of the
 * command. Signals are taken in one place (sigtimedwait) so that no event of ours is lost or
 * doubled; the command is started only after everything is attached. The exit code is that of the
 * recording; the command's own is printed.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "cmd.h"
#include "ingest/ingest.h"
#include "progress.h"
#include "seal_key.h"
#include "session.h"

static const char help[] =
    "usage: kpq record --data DIR [--for D] [flags] [-- COMMAND...]\n\n"
    "  sudo kpq record --data /tmp/rec --for 10s\n"
    "  sudo kpq record --data /tmp/rec -- make -j8       until the command ends\n"
    "  sudo kpq record --data /tmp/rec --kinds sched     scheduler only\n\n"
    "Without --for and without a command it records until Ctrl-C.\n\n";

#define RING_MIN (UINT64_C(64) << 10)
#define RING_MAX (UINT64_C(1) << 30)

struct recording {
    struct kp_store *store;
    struct kp_recorder *recorder;
    struct kpi_progress progress;
    int64_t until; /* monotonic; INT64_MAX = no limit */
    pid_t child;   /* 0 = no command */
    int child_status;
    sigset_t signals;
    sigset_t signals_before;
};

static kp_status start_command(struct recording *rec, char **command, struct kp_error *err)
{
    if (command == NULL)
        return KP_OK;
    int report[2];
    if (pipe2(report, O_CLOEXEC) != 0)
        return kp_error_os(err, KP_IO, errno, "cannot start '%s'", command[0]);
    rec->child = fork();
    if (rec->child == 0) {
        sigprocmask(SIG_SETMASK, &rec->signals_before, NULL);
        signal(SIGPIPE, SIG_DFL);
        execvp(command[0], command);
        int failed = errno;
        ssize_t written = write(report[1], &failed, sizeof(failed));
        _exit(written == sizeof(failed) ? 127 : 126);
    }
    int failed = 0;
    close(report[1]);
    ssize_t got = rec->child > 0 ? read(report[0], &failed, sizeof(failed)) : 0;
    close(report[0]);
    if (rec->child < 0 || got == sizeof(failed)) {
        int os_errno = rec->child < 0 ? errno : failed;
        if (rec->child > 0)
            waitpid(rec->child, NULL, 0);
        rec->child = 0;
        return kp_error_os(err, KP_USAGE, os_errno, "cannot start '%s'", command[0]);
    }
    return KP_OK;
}

static void show_progress(struct recording *rec)
{
    if (!kpi_progress_due(&rec->progress))
        return;
    struct kp_recorder_stat stat;
    struct kp_store_stat stored;
    struct kp_buf text = {0};
    kp_recorder_stat(rec->recorder, &stat);
    kp_store_stat(rec->store, &stored);
    kp_dur elapsed = KP_MAX(kp_time_monotonic() - rec->progress.begin, KP_MS);
    kp_buf_text(&text, "recording: ");
    kp_text_count(&text, (int64_t)stat.rows);
    kp_buf_text(&text, " events, ");
    kp_text_count(&text,
                  (int64_t)((unsigned __int128)stat.rows * (uint64_t)KP_SEC / (uint64_t)elapsed));
    kp_buf_text(&text, "/s, ");
    kp_text_count(&text, (int64_t)stat.lost);
    kp_buf_text(&text, " lost, ");
    kpi_text_bytes(&text, stored.commit_bytes);
    char lag[KP_DUR_TEXT_MAX];
    kp_dur_format((kp_dur)stat.lag_ns, lag);
    kp_buf_printf(&text, ", lag %s (Ctrl-C stops)", lag);
    kpi_progress_line(&rec->progress, &text);
    kp_buf_deinit(&text);
}

/* Returns when the recording should stop. */
static void wait_for_end(struct recording *rec)
{
    for (;;) {
        int64_t left = rec->until - kp_time_monotonic();
        if (left <= 0)
            return;
        struct timespec wait = {.tv_nsec = (long)KP_MIN(left, KP_SEC / 5)};
        int got = sigtimedwait(&rec->signals, NULL, &wait);
        if (got == SIGINT || got == SIGTERM)
            return;
        if (rec->child > 0 && waitpid(rec->child, &rec->child_status, WNOHANG) == rec->child)
            return;
        show_progress(rec);
    }
}

/* The command outlived the recording: end it, and wait for it. */
static void end_command(struct recording *rec)
{
    if (rec->child <= 0 || waitpid(rec->child, &rec->child_status, WNOHANG) != 0)
        return;
    kill(rec->child, SIGTERM);
    for (int i = 0; i < 20; i++) {
        struct timespec wait = {.tv_nsec = KP_SEC / 10};
        if (waitpid(rec->child, &rec->child_status, WNOHANG) != 0)
            return;
        nanosleep(&wait, NULL);
    }
    kill(rec->child, SIGKILL);
    waitpid(rec->child, &rec->child_status, 0);
}

static void tell_missing_kinds(struct recording *rec, uint64_t asked)
{
    const struct kp_kind_state *kinds = NULL;
    uint32_t count = kp_recorder_kinds(rec->recorder, &kinds);
    for (uint32_t i = 0; i < count; i++) {
        bool wanted = asked == 0 ? kinds[i].stream->on_by_default
                                 : (asked >> kinds[i].stream->number & 1) != 0;
        if (wanted && !kinds[i].on)
            fprintf(stderr, "kpq: note: %s is not recorded: %s\n", kinds[i].stream->name,
                    kinds[i].why);
    }
}

static void tell_command(const struct recording *rec)
{
    if (rec->child <= 0)
        return;
    if (WIFSIGNALED(rec->child_status))
        fprintf(stderr, "kpq: the command was ended by signal %d (%s)\n",
                WTERMSIG(rec->child_status), strsignal(WTERMSIG(rec->child_status)));
    else
        fprintf(stderr, "kpq: the command ended with exit code %d\n",
                WEXITSTATUS(rec->child_status));
}

static void tell_summary(const struct kp_recorder_stat *stat, uint64_t bytes, kp_dur elapsed)
{
    struct kp_buf text = {0};
    kp_buf_text(&text, "recorded ");
    kp_text_count(&text, (int64_t)stat->rows);
    kp_buf_printf(&text, " events in %lld.%lld s, ", (long long)(elapsed / KP_SEC),
                  (long long)(elapsed % KP_SEC / (KP_SEC / 10)));
    kp_text_count(&text, (int64_t)stat->lost);
    kp_buf_text(&text, " lost, ");
    if (stat->rejected > 0) {
        kp_text_count(&text, (int64_t)stat->rejected);
        kp_buf_text(&text, " rejected, ");
    }
    kpi_text_bytes(&text, bytes);
    fprintf(stderr, "%s\n", kp_buf_cstr(&text));
    kp_buf_deinit(&text);
}

/* Waits until all that was appended is written, two seconds at most: then the size is whole. */
static void wait_written(struct recording *rec, struct kp_store_stat *out)
{
    for (int i = 0; i < 200; i++) {
        struct timespec wait = {.tv_nsec = KP_SEC / 100};
        kp_store_stat(rec->store, out);
        if (out->rows_durable >= out->rows_appended)
            return;
        nanosleep(&wait, NULL);
    }
}

static kp_status stop(struct recording *rec, struct kp_error *err)
{
    struct kp_recorder_stat stat = {0};
    struct kp_store_stat stored;
    struct kp_error health = {0}, closing = {0};
    kp_status healthy = kp_recorder_health(rec->recorder, &health);
    kp_status status = kp_recorder_stop(rec->recorder, &stat, err);
    kp_dur elapsed = kpi_progress_end(&rec->progress);
    end_command(rec);
    wait_written(rec, &stored);
    kp_status closed = kp_store_close(rec->store, &closing);
    tell_command(rec);
    tell_summary(&stat, stored.commit_bytes, elapsed);
    if (status == KP_OK && healthy != KP_OK) {
        *err = health;
        status = healthy;
    }
    if (status == KP_OK && closed != KP_OK) {
        *err = closing;
        status = closed;
    }
    return status;
}

static kp_status record(const struct kpi_opts *opts, const struct kp_recorder_opts *how,
                        kp_dur limit, struct kp_error *err)
{
    struct recording rec = {.until = INT64_MAX};
    struct kp_store_opts storing = {0};
    struct kp_error closing;
    sigemptyset(&rec.signals);
    sigaddset(&rec.signals, SIGINT);
    sigaddset(&rec.signals, SIGTERM);
    sigaddset(&rec.signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &rec.signals, &rec.signals_before); /* before any thread is made */
    kp_status status = kpi_opts_store(opts, &storing, err);
    if (status == KP_OK)
        status = kp_store_open(opts->value[KPI_OPT_DATA], &storing, &rec.store, err);
    if (status == KP_OK)
        status = kpi_seal_key_write(rec.store, opts->value[KPI_OPT_SEAL_KEY_OUT], err);
    if (status == KP_OK)
        status = kp_recorder_start(rec.store, how, &rec.recorder, err);
    if (status != KP_OK) {
        if (kp_store_close(rec.store, &closing) != KP_OK)
            fprintf(stderr, "kpq: %s\n", closing.text);
        return status;
    }
    tell_missing_kinds(&rec, how->kinds);
    kpi_progress_begin(&rec.progress);
    if (limit > 0)
        rec.until = rec.progress.begin + limit;
    kp_status started = start_command(&rec, opts->rest, err);
    if (started == KP_OK)
        wait_for_end(&rec);
    struct kp_error stopping = {0};
    status = stop(&rec, &stopping);
    if (started == KP_OK)
        *err = stopping;
    return started != KP_OK ? started : status;
}

static kp_status read_opts(const struct kpi_opts *opts, struct kp_recorder_opts *out,
                           kp_dur *out_limit, struct kp_error *err)
{
    *out = (struct kp_recorder_opts){.syscall_min = -1, .lock_min = -1, .irq_min = -1};
    out->no_realtime = opts->value[KPI_OPT_NO_REALTIME] != NULL;
    if (opts->value[KPI_OPT_DATA] == NULL || opts->args_count > 0) {
        kp_error_set(err, KP_USAGE,
                     opts->args_count > 0 ? "'%s' is not a flag"
                                          : "where to? --data DIR is missing",
                     opts->args[0]);
        kp_error_hint(err, "kpq record --data DIR [--for D] [-- COMMAND...]");
        return KP_USAGE;
    }
    if (opts->rest != NULL && opts->rest[0] == NULL)
        return kp_error_set(err, KP_USAGE, "no command after --");
    uint64_t ring = 0;
    kp_status status = kpi_opts_dur(opts, KPI_OPT_FOR, 0, out_limit, err);
    if (status == KP_OK)
        status = kpi_opts_bytes(opts, KPI_OPT_RING, &ring, err);
    if (status == KP_OK && (ring < RING_MIN || ring > RING_MAX))
        status = kp_error_set(err, KP_USAGE, "--ring: between 64K and 1G, please");
    out->ring_bytes = (uint32_t)ring;
    if (status == KP_OK)
        status = kpi_opts_dur(opts, KPI_OPT_SYSCALL_MIN, -1, &out->syscall_min, err);
    if (status == KP_OK && opts->value[KPI_OPT_KINDS] != NULL) {
        status = kp_kinds_parse(kp_str_from(opts->value[KPI_OPT_KINDS]), &out->kinds, err);
        if (status == KP_INVALID)
            status = err->code = KP_USAGE;
    }
    return status;
}

int kp_cmd_record(int argc, char **argv)
{
    struct kpi_opts opts = {0};
    struct kp_recorder_opts how;
    struct kp_error err = {0};
    kp_dur limit = 0;
    kp_status status = kpi_opts_parse(argc, argv, KPI_RECORD, &opts, &err);
    if (status == KP_OK && kpi_opts_answered(&opts, help))
        return 0;
    if (status == KP_OK)
        status = read_opts(&opts, &how, &limit, &err);
    if (status == KP_OK)
        status = record(&opts, &how, limit, &err);
    err.code = status;
    return status == KP_OK ? 0 : kpi_tool_fail(&err, (struct kp_str){NULL, 0});
}
