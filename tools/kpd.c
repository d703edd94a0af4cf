/* SPDX-License-Identifier: Apache-2.0
 *
 * kpd: the server. Reads its configuration, opens the store, starts the capture if asked, opens the
 * doors, says READY, and waits for SIGTERM or SIGINT. Then, in this order and within STOP_GRACE:
 * the doors close, the capture stops and drains, the store flushes.
 */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/version.h"
#include "meeting.h"
#include "settings.h"
#include "render/render.h"
#include "seal_key.h"
#include "server/server.h"
#include "txn_keys.h"

#define STOP_GRACE (5 * KP_SEC)

static const char help[] =
    "usage: kpd --data DIR [flags]\n\n"
    "  kpd --data /var/lib/kprobe                       spans in, queries out\n"
    "  sudo kpd --data /var/lib/kprobe --capture        and record this kernel\n"
    "  kpd --config /etc/kprobe/kpd.conf --check-config\n\n"
    "Every flag is also a line of the file (otlp-listen = 127.0.0.1:4318) and a variable of the\n"
    "environment (KPD_OTLP_LISTEN). SIGTERM or SIGINT: stop intake, flush, leave with 0.\n\n";

/* The configuration as values. */
struct settings {
    const char *dir, *seal_key_out;
    char socket[KPI_MEETING_MAX]; /* when it is not named */
    bool capture, capture_auto;
    struct kp_store_opts store;
    struct kp_recorder_opts recorder;
    struct kp_server_opts server;
    struct kpi_txn_keys keys;
};

struct daemon {
    struct settings settings;
    struct kp_store *store;
    struct kp_recorder *recorder;
    struct kp_server *server;
    sigset_t signals;
};

/* --- settings --- */

static kp_status read_capture(const struct kpi_opts *opts, struct settings *out,
                              struct kp_error *err)
{
    const char *capture = opts->value[KPI_OPT_CAPTURE];
    out->capture_auto = strcmp(capture, "auto") == 0;
    out->capture = out->capture_auto || capture[0] == '\0' || strcmp(capture, "on") == 0;
    if (!out->capture && strcmp(capture, "off") != 0)
        return kp_error_set(err, KP_USAGE, "capture is on, off or auto, not '%s'", capture);
    out->recorder = (struct kp_recorder_opts){.lock_min = -1, .irq_min = -1};
    out->recorder.no_realtime = opts->value[KPI_OPT_NO_REALTIME] != NULL;
    kp_status status = kpi_opts_dur(opts, KPI_OPT_SYSCALL_MIN, -1, &out->recorder.syscall_min, err);
    if (status != KP_OK)
        return status;
    status = kp_kinds_parse(kp_str_from(opts->value[KPI_OPT_KINDS]), &out->recorder.kinds, err);
    return status == KP_INVALID ? (err->code = KP_USAGE) : status;
}

/* auto: where kpq looks; that somebody else is there already is no reason not to serve. */
static void read_socket(const char *value, struct settings *out)
{
    out->server.socket_optional = strcmp(value, "auto") == 0;
    out->server.socket = strcmp(value, "off") == 0     ? NULL
                         : out->server.socket_optional ? out->socket
                                                       : value;
}

static kp_status read_settings(const struct kpi_opts *opts, struct settings *out,
                               struct kp_error *err)
{
    uint64_t memory = 0;
    *out = (struct settings){.dir = opts->value[KPI_OPT_DATA],
                             .seal_key_out = opts->value[KPI_OPT_SEAL_KEY_OUT]};
    if (out->dir == NULL) {
        kp_error_set(err, KP_USAGE, "where is the data? --data DIR is missing");
        kp_error_hint(err, "kpd --data DIR; the directory is made if it is not there");
        return KP_USAGE;
    }
    if (opts->args_count > 0 || opts->rest != NULL)
        return kp_error_set(err, KP_USAGE, "'%s' is not a flag",
                            opts->args_count > 0 ? opts->args[0] : "--");
    kp_status status = read_capture(opts, out, err);
    if (status == KP_OK)
        status = kpi_opts_dur(opts, KPI_OPT_TIMEOUT, 0, &out->server.query.timeout, err);
    if (status == KP_OK)
        status = kpi_opts_store(opts, &out->store, err);
    if (status == KP_OK)
        status = kpi_opts_bytes(opts, KPI_OPT_MEMORY, &memory, err);
    if (status == KP_OK)
        status = kpi_opts_threads(opts, &out->server.query.threads, err);
    if (status == KP_OK)
        status = kpi_txn_keys_parse(opts->value[KPI_OPT_TXN_KEYS], &out->keys, err);
    read_socket(opts->value[KPI_OPT_SOCKET], out);
    const char *api = opts->value[KPI_OPT_LISTEN];
    const char *otlp = opts->value[KPI_OPT_OTLP_LISTEN];
    const char *query = opts->value[KPI_OPT_QUERY_LISTEN];
    out->server.query.memory_bytes_max = memory;
    out->server.dir = out->dir;
    out->server.listen = strcmp(api, "off") == 0 ? NULL : api;
    out->server.otlp_listen = strcmp(otlp, "off") == 0 ? NULL : otlp;
    out->server.query_listen = strcmp(query, "off") == 0 ? NULL : query;
    out->server.otlp_auth = opts->value[KPI_OPT_OTLP_AUTH];
    out->server.query_auth = opts->value[KPI_OPT_QUERY_AUTH];
    out->server.spans.txn_keys = out->keys.names;
    out->server.spans.txn_keys_count = out->keys.count;
    return status;
}

/* --- start --- */

static void log_kinds(struct daemon *daemon)
{
    const struct kp_kind_state *kinds = NULL;
    uint32_t count = kp_recorder_kinds(daemon->recorder, &kinds);
    for (uint32_t i = 0; i < count; i++)
        kp_log(KP_LOG_INFO, "capture", "kind=%s state=%s %s", kinds[i].stream->name,
               kinds[i].on ? "on" : "off", kinds[i].why);
}

static kp_status start_capture(struct daemon *daemon, struct kp_error *err)
{
    if (!daemon->settings.capture)
        return KP_OK;
    kp_status status =
        kp_recorder_start(daemon->store, &daemon->settings.recorder, &daemon->recorder, err);
    if (status == KP_OK) {
        log_kinds(daemon);
        return KP_OK;
    }
    if (!daemon->settings.capture_auto)
        return status;
    kp_log(KP_LOG_WARN, "capture", "goes on without: %s (%s)", err->text, err->hint);
    return KP_OK;
}

static void log_start(struct daemon *daemon)
{
    struct kp_store_stat stat;
    kp_store_stat(daemon->store, &stat);
    kp_log(KP_LOG_INFO, "kpd", "version=%s data=%s segments=%llu store_memory_bytes=%llu",
           kp_version(), daemon->settings.dir, (unsigned long long)stat.segments,
           (unsigned long long)stat.memory_bytes);
    kp_log(KP_LOG_INFO, "kpd", "socket=%s/kpd.sock", daemon->settings.dir);
    if (daemon->settings.server.listen != NULL)
        kp_log(KP_LOG_INFO, "kpd", "api=http://%s (port %u)", daemon->settings.server.listen,
               kp_server_port(daemon->server, KP_DOOR_API));
    const char *socket = kp_server_socket(daemon->server);
    if (socket != NULL)
        kp_log(KP_LOG_INFO, "kpd", "socket=%s for kpq without a target", socket);
    if (daemon->settings.server.otlp_listen != NULL)
        kp_log(KP_LOG_INFO, "kpd", "otlp=http://%s/v1/traces (port %u)",
               daemon->settings.server.otlp_listen, kp_server_port(daemon->server, KP_DOOR_OTLP));
    if (daemon->settings.server.query_listen != NULL)
        kp_log(KP_LOG_INFO, "kpd", "query=%s (port %u)", daemon->settings.server.query_listen,
               kp_server_port(daemon->server, KP_DOOR_QUERY));
}

static kp_status start(struct daemon *daemon, struct kp_error *err)
{
    kp_status status =
        kp_store_open(daemon->settings.dir, &daemon->settings.store, &daemon->store, err);
    if (status == KP_OK)
        status = kpi_seal_key_write(daemon->store, daemon->settings.seal_key_out, err);
    if (status == KP_OK)
        status = start_capture(daemon, err);
    daemon->settings.server.recorder = daemon->recorder;
    if (daemon->settings.server.socket_optional)
        kpi_meeting_serve(daemon->settings.socket);
    if (status == KP_OK)
        status = kp_server_start(daemon->store, &daemon->settings.server, &daemon->server, err);
    return status;
}

/* Tells the service manager, if there is one (sd_notify's protocol: one datagram). */
static void notify(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (path == NULL || (path[0] != '/' && path[0] != '@') ||
        strlen(path) >= sizeof(address.sun_path))
        return;
    memcpy(address.sun_path, path, strlen(path));
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&address, size) < 0)
        kp_log(KP_LOG_WARN, "kpd", "cannot tell the service manager: %s", strerror(errno));
    close(fd);
}

/* --- run and stop --- */

static void run(struct daemon *daemon)
{
    bool told = false;
    for (;;) {
        struct timespec wait = {.tv_sec = 1};
        struct kp_error err = {0};
        int got = sigtimedwait(&daemon->signals, NULL, &wait);
        if (got == SIGTERM || got == SIGINT) {
            kp_log(KP_LOG_INFO, "kpd", "signal %s: stopping", got == SIGTERM ? "TERM" : "INT");
            return;
        }
        kp_server_tick(daemon->server);
        if (!told && daemon->recorder != NULL &&
            kp_recorder_health(daemon->recorder, &err) != KP_OK) {
            kp_log(KP_LOG_ERROR, "capture", "%s %s", err.text, err.hint);
            told = true;
        }
    }
}

static kp_status stop(struct daemon *daemon, struct kp_error *err)
{
    kp_status worst = KP_OK;
    struct kp_recorder_stat stat = {0};
    struct kp_error cause = {0};
    kp_server_stop(daemon->server, STOP_GRACE);
    if (daemon->recorder != NULL) {
        worst = kp_recorder_stop(daemon->recorder, &stat, &cause);
        kp_log(KP_LOG_INFO, "capture", "rows=%llu lost=%llu rejected=%llu",
               (unsigned long long)stat.rows, (unsigned long long)stat.lost,
               (unsigned long long)stat.rejected);
        if (worst != KP_OK)
            *err = cause;
    }
    if (daemon->store != NULL) {
        kp_status closed = kp_store_close(daemon->store, &cause);
        if (closed != KP_OK && worst == KP_OK) {
            worst = closed;
            *err = cause;
        }
    }
    return worst;
}

static int fail(const struct kp_error *err)
{
    struct kp_buf text = {0};
    struct kp_term term = kp_term_detect(STDERR_FILENO);
    kp_render_error(err, (struct kp_str){NULL, 0}, "kpd", &term, &text);
    fputs(kp_buf_cstr(&text), stderr);
    kp_buf_deinit(&text);
    return kp_status_exit(err->code);
}

static int serve(struct daemon *daemon)
{
    struct kp_error err = {0}, stopping = {0};
    sigemptyset(&daemon->signals);
    sigaddset(&daemon->signals, SIGTERM);
    sigaddset(&daemon->signals, SIGINT);
    sigprocmask(SIG_BLOCK, &daemon->signals, NULL); /* before any thread is made */
    kp_status status = start(daemon, &err);
    if (status == KP_OK) {
        log_start(daemon);
        notify("READY=1\nSTATUS=serving\n");
        run(daemon);
        notify("STOPPING=1\n");
    }
    kp_status stopped = stop(daemon, &stopping);
    if (status == KP_OK && stopped != KP_OK)
        err = stopping;
    if (status != KP_OK || stopped != KP_OK)
        return fail(&err);
    kp_log(KP_LOG_INFO, "kpd", "stopped");
    return 0;
}

/* A thousand clients need a descriptor each; the usual 1,024 are for programs that use select(). */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        kp_log(KP_LOG_WARN, "kpd", "cannot raise the limit of descriptors: error %d", errno);
}

int main(int argc, char **argv)
{
    struct kpi_opts opts = {0};
    struct daemon daemon = {0};
    struct kp_error err = {0};
    struct kp_arena arena;
    int code = 0;
    setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_IGN);
    raise_descriptors();
    kp_arena_init(&arena, 1024 * 1024);
    kp_status status = kpi_opts_parse(argc, argv, KPI_KPD, &opts, &err);
    if (status == KP_OK && kpi_opts_answered(&opts, help))
        return 0;
    if (status == KP_OK)
        status = kpi_settings_kpd(&opts, &arena, &err);
    if (status == KP_OK)
        status = read_settings(&opts, &daemon.settings, &err);
    if (status != KP_OK)
        code = fail(&err);
    else if (opts.value[KPI_OPT_PRINT_CONFIG] != NULL)
        kpi_settings_print(&opts);
    else if (opts.value[KPI_OPT_CHECK_CONFIG] != NULL)
        printf("the configuration is good\n");
    else
        code = serve(&daemon);
    kp_arena_deinit(&arena);
    return code;
}
