/* SPDX-License-Identifier: Apache-2.0
 *
 * The only user of libmicrohttpd: one listener, one thread a connection, so that a handler may
 * simply wait (for a disk, for a query). Bodies are collected up to a limit of each and of all
 * together; answers stream. A watcher looks at the sockets of running requests every 20 ms: when
 * the client hangs up, the request's cancel flag is set and its query ends.
 */
#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "server/gzip.h"
#include "server/listen.h"
#include "server/server_int.h"

#define WATCH_EVERY    (20 * KP_MS) /* while a request runs */
#define BLOCK_BYTES    (64 * 1024)  /* of a streaming answer */
#define GZIP_BYTES_MIN 512          /* of a whole one; packing less is not worth its head */

/* One request from its headers to its end. */
struct exchange {
    struct kpi_http *http;
    struct exchange *next; /* in http->running */
    int fd;
    _Atomic bool cancel;
    struct kp_buf body;
    size_t charged;  /* bytes of bodies_now that are ours */
    unsigned refuse; /* HTTP status decided before the handler, 0 = none */
    struct kpi_answer answer;
    struct kp_buf piece; /* streaming: what more() gave and was not sent yet */
    size_t piece_at;
    struct kpi_gzip *gzip; /* NULL = sent as it is */
    bool ended;            /* more() returned false */
    bool broken;
};

struct kpi_http {
    struct kpi_http_opts opts;
    struct MHD_Daemon *daemon;
    uint16_t port;
    pthread_t watcher;
    bool watching;
    pthread_mutex_t lock; /* of the two below */
    pthread_cond_t begun; /* a request, or the end */
    struct exchange *running;
    bool stop;
    char listen[64];
};

/* --- requests in progress --- */

static void link_exchange(struct kpi_http *http, struct exchange *ex)
{
    pthread_mutex_lock(&http->lock);
    ex->next = http->running;
    http->running = ex;
    pthread_cond_signal(&http->begun);
    pthread_mutex_unlock(&http->lock);
}

static void unlink_exchange(struct kpi_http *http, struct exchange *ex)
{
    pthread_mutex_lock(&http->lock);
    struct exchange **at = &http->running;
    while (*at != NULL && *at != ex)
        at = &(*at)->next;
    if (*at != NULL)
        *at = ex->next;
    pthread_mutex_unlock(&http->lock);
}

static bool client_gone(int fd)
{
    struct pollfd entry = {.fd = fd, .events = POLLRDHUP};
    return poll(&entry, 1, 0) == 1 && (entry.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

static void look(struct kpi_http *http)
{
    for (struct exchange *ex = http->running; ex != NULL; ex = ex->next) {
        if (!atomic_load(&ex->cancel) && client_gone(ex->fd)) {
            atomic_store(&ex->cancel, true);
            atomic_fetch_add(&http->opts.stat->disconnects, 1);
        }
    }
}

static void *watch(void *ctx)
{
    struct kpi_http *http = ctx;
    pthread_mutex_lock(&http->lock);
    while (!http->stop) {
        struct timespec wait = {.tv_nsec = WATCH_EVERY};
        if (http->running == NULL) {
            pthread_cond_wait(&http->begun, &http->lock);
            continue;
        }
        look(http);
        pthread_mutex_unlock(&http->lock);
        nanosleep(&wait, NULL);
        pthread_mutex_lock(&http->lock);
    }
    pthread_mutex_unlock(&http->lock);
    return NULL;
}

/* --- what handlers may ask and say --- */

static struct kp_str lookup(const struct kpi_request *request, enum MHD_ValueKind kind,
                            const char *name)
{
    const char *value = MHD_lookup_connection_value(request->connection, kind, name);
    return kp_str_from(value);
}

struct kp_str kpi_request_header(const struct kpi_request *request, const char *name)
{
    return lookup(request, MHD_HEADER_KIND, name);
}

struct kp_str kpi_request_param(const struct kpi_request *request, const char *name)
{
    return lookup(request, MHD_GET_ARGUMENT_KIND, name);
}

void kpi_answer_trailer(struct kpi_answer *answer, const char *name, struct kp_str value)
{
    struct kp_buf text = {0};
    for (uint32_t i = 0; i < value.len; i++)
        kp_buf_char(&text, (unsigned char)value.ptr[i] < 0x20 ? ' ' : value.ptr[i]);
    if (!text.failed && answer->response != NULL &&
        MHD_add_response_footer(answer->response, name, kp_buf_cstr(&text)) != MHD_YES)
        kp_log(KP_LOG_DEBUG, "http", "trailer %s was refused", name);
    kp_buf_deinit(&text);
}

void kpi_answer_header(struct kpi_answer *answer, const char *name, const char *value)
{
    for (int i = 0; i < KPI_HEADS_MAX; i++) {
        if (answer->heads[i].name != NULL)
            continue;
        answer->heads[i].name = name;
        snprintf(answer->heads[i].value, sizeof(answer->heads[i].value), "%s", value);
        return;
    }
}

/* --- bodies --- */

/* A web page whose name was made to point at 127.0.0.1 would be let in by the browser; it gives
 * itself away by the Host header. On a unix socket there is no such danger. */
static bool host_is_ours(const struct kpi_http *http, const char *host)
{
    size_t length = 0;
    if (host == NULL || http->opts.unix_path != NULL)
        return true;
    if (strncasecmp(host, "localhost", 9) == 0)
        length = 9;
    else if (strncmp(host, "[::1]", 5) == 0)
        length = 5;
    else if (strncmp(host, "127.", 4) == 0)
        length = strspn(host, "0123456789.");
    return length > 0 && (host[length] == '\0' || host[length] == ':');
}

static struct exchange *begin_exchange(struct kpi_http *http, struct MHD_Connection *connection)
{
    struct exchange *ex = calloc(1, sizeof(*ex));
    if (ex == NULL)
        return NULL;
    ex->http = http;
    ex->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    atomic_fetch_add(&http->opts.stat->requests, 1);
    const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");
    if (length != NULL && strtoull(length, NULL, 10) > http->opts.body_bytes_max)
        ex->refuse = MHD_HTTP_CONTENT_TOO_LARGE;
    else if (atomic_load(http->opts.draining))
        ex->refuse = MHD_HTTP_SERVICE_UNAVAILABLE;
    else if (!host_is_ours(http, MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host")))
        ex->refuse = MHD_HTTP_FORBIDDEN;
    return ex;
}

static void free_body(struct exchange *ex)
{
    atomic_fetch_sub(&ex->http->opts.stat->bodies_now, ex->charged);
    ex->charged = 0;
    kp_buf_deinit(&ex->body);
}

/* Takes a piece of the body; one that is over a limit is refused, and the rest read and dropped. */
static void take_body(struct exchange *ex, const char *bytes, size_t size)
{
    struct kpi_http_stat *stat = ex->http->opts.stat;
    if (ex->refuse != 0)
        return;
    if (ex->body.size + size > ex->http->opts.body_bytes_max) {
        ex->refuse = MHD_HTTP_CONTENT_TOO_LARGE;
    } else if (atomic_fetch_add(&stat->bodies_now, size) + size > KPI_BODIES_BYTES_MAX) {
        atomic_fetch_sub(&stat->bodies_now, size);
        ex->refuse = MHD_HTTP_SERVICE_UNAVAILABLE;
    } else {
        ex->charged += size;
        kp_buf_add(&ex->body, bytes, size);
        if (ex->body.failed)
            ex->refuse = MHD_HTTP_SERVICE_UNAVAILABLE;
    }
    atomic_fetch_add(&stat->body_bytes, size);
    if (ex->refuse != 0)
        free_body(ex);
}

/* --- answers --- */

/* The bytes of buf as gzip; false without memory. */
static bool pack(struct exchange *ex, struct kp_buf *buf, bool last)
{
    struct kp_buf packed = {0};
    struct kp_str plain = {kp_buf_cstr(buf), (uint32_t)buf->size};
    bool good = !buf->failed && kpi_gzip_add(ex->gzip, plain, last, &packed);
    if (good) {
        kp_buf_deinit(buf);
        *buf = packed;
    } else {
        kp_buf_deinit(&packed);
    }
    return good;
}

/* An answer that may be packed is, for who takes that. */
static void begin_gzip(struct exchange *ex, const struct kpi_request *request)
{
    struct kpi_answer *answer = &ex->answer;
    bool whole = answer->stream.more == NULL;
    if (!answer->gzip || (whole && answer->body.size < GZIP_BYTES_MIN) ||
        !kpi_gzip_accepted(kpi_request_header(request, "Accept-Encoding")))
        return;
    ex->gzip = kpi_gzip_open();
    if (ex->gzip == NULL || (whole && !pack(ex, &answer->body, true)))
        return; /* it goes as it is */
    kpi_answer_header(answer, "Content-Encoding", "gzip");
    kpi_answer_header(answer, "Vary", "Accept-Encoding");
}

static ssize_t read_stream(void *ctx, uint64_t position, char *out, size_t most)
{
    struct exchange *ex = ctx;
    (void)position;
    while (ex->piece_at == ex->piece.size) {
        if (ex->ended)
            return ex->broken ? MHD_CONTENT_READER_END_WITH_ERROR
                              : MHD_CONTENT_READER_END_OF_STREAM;
        kp_buf_clear(&ex->piece);
        ex->piece_at = 0;
        ex->ended = !ex->answer.stream.more(ex->answer.stream.ctx, &ex->piece, &ex->answer);
        if (ex->gzip != NULL && !pack(ex, &ex->piece, ex->ended))
            ex->ended = ex->broken = true;
        ex->broken |= ex->piece.failed;
    }
    size_t size = KP_MIN(most, ex->piece.size - ex->piece_at);
    memcpy(out, ex->piece.data + ex->piece_at, size);
    ex->piece_at += size;
    return (ssize_t)size;
}

static struct MHD_Response *make_response(struct exchange *ex)
{
    struct kpi_answer *answer = &ex->answer;
    struct MHD_Response *response;
    if (answer->stream.more != NULL)
        response =
            MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, read_stream, ex, NULL);
    else
        response = MHD_create_response_from_buffer(answer->body.size,
                                                   (void *)(uintptr_t)kp_buf_cstr(&answer->body),
                                                   MHD_RESPMEM_MUST_COPY);
    if (response == NULL)
        return NULL;
    answer->response = response;
    MHD_add_response_header(response, "Content-Type", answer->type);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "Cache-Control", "no-store");
    if (answer->retry)
        MHD_add_response_header(response, "Retry-After", KPI_RETRY_AFTER_SECONDS);
    if (answer->allow != NULL)
        MHD_add_response_header(response, "Allow", answer->allow);
    for (int i = 0; i < KPI_HEADS_MAX && answer->heads[i].name != NULL; i++)
        MHD_add_response_header(response, answer->heads[i].name, answer->heads[i].value);
    return response;
}

static enum MHD_Result send_answer(struct exchange *ex, struct MHD_Connection *connection)
{
    struct MHD_Response *response = make_response(ex);
    if (response == NULL)
        return MHD_NO;
    enum MHD_Result result = MHD_queue_response(connection, ex->answer.status, response);
    MHD_destroy_response(response);
    return result;
}

static void refuse(struct exchange *ex, const struct kpi_request *request)
{
    struct kp_error err;
    atomic_fetch_add(&ex->http->opts.stat->refused, 1);
    if (ex->refuse == MHD_HTTP_CONTENT_TOO_LARGE)
        kp_error_set(&err, KP_LIMIT, "the body is larger than %zu bytes",
                     ex->http->opts.body_bytes_max);
    else if (ex->refuse == MHD_HTTP_FORBIDDEN)
        kp_error_set(&err, KP_DENIED, "the Host header must name the loopback, as localhost");
    else
        kp_error_set(&err, KP_BUSY, "the server is %s; try again",
                     atomic_load(ex->http->opts.draining) ? "stopping" : "out of room for bodies");
    ex->http->opts.refuse(request, &ex->answer, &err);
    ex->answer.status = ex->refuse;
    ex->answer.retry = ex->refuse == MHD_HTTP_SERVICE_UNAVAILABLE;
}

static enum MHD_Result answer_request(struct exchange *ex, struct MHD_Connection *connection,
                                      const char *url, const char *method)
{
    ex->answer.status = MHD_HTTP_OK;
    ex->answer.type = "application/json";
    struct kpi_request request = {.method = method,
                                  .path = url,
                                  .body = {kp_buf_cstr(&ex->body), (uint32_t)ex->body.size},
                                  .connection = connection,
                                  .cancel = &ex->cancel};
    if (ex->refuse != 0)
        refuse(ex, &request);
    else
        ex->http->opts.handler(ex->http->opts.ctx, &request, &ex->answer);
    begin_gzip(ex, &request);
    free_body(ex);
    return send_answer(ex, connection);
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **request_ctx)
{
    struct kpi_http *http = ctx;
    struct exchange *ex = *request_ctx;
    (void)version;
    if (ex == NULL) {
        ex = begin_exchange(http, connection);
        if (ex == NULL)
            return MHD_NO;
        *request_ctx = ex;
        link_exchange(http, ex);
        const char *expect = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Expect");
        return ex->refuse != 0 && expect != NULL ? answer_request(ex, connection, url, method)
                                                 : MHD_YES;
    }
    if (*upload_size > 0) {
        take_body(ex, upload, *upload_size);
        *upload_size = 0;
        return MHD_YES;
    }
    return answer_request(ex, connection, url, method);
}

static void on_completed(void *ctx, struct MHD_Connection *connection, void **request_ctx,
                         enum MHD_RequestTerminationCode code)
{
    struct kpi_http *http = ctx;
    struct exchange *ex = *request_ctx;
    (void)connection;
    if (ex == NULL)
        return;
    unlink_exchange(http, ex);
    if (code != MHD_REQUEST_TERMINATED_COMPLETED_OK && !atomic_load(&ex->cancel) &&
        client_gone(ex->fd)) /* a write met it before the watch did */
        atomic_fetch_add(&http->opts.stat->disconnects, 1);
    if (ex->answer.stream.close != NULL)
        ex->answer.stream.close(ex->answer.stream.ctx);
    free_body(ex);
    kp_buf_deinit(&ex->answer.body);
    kp_buf_deinit(&ex->piece);
    kpi_gzip_close(ex->gzip);
    free(ex);
    *request_ctx = NULL;
}

__attribute__((format(printf, 2, 0))) static void on_log(void *ctx, const char *fmt, va_list args)
{
    char line[256];
    (void)ctx;
    vsnprintf(line, sizeof(line), fmt, args);
    kp_log(KP_LOG_DEBUG, "http", "%s", line);
}

/* --- life --- */

static kp_status start_daemon(struct kpi_http *http, int fd, struct kp_error *err)
{
    unsigned most = http->opts.connections != 0 ? http->opts.connections : KPI_CONNECTIONS_MAX;
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION |
                     MHD_USE_POLL | MHD_USE_ERROR_LOG | MHD_USE_ITC;
    if (fd < 0)
        flags |= MHD_USE_NO_LISTEN_SOCKET;
    struct MHD_OptionItem listen[] = {
        {fd < 0 ? MHD_OPTION_END : MHD_OPTION_LISTEN_SOCKET, fd, NULL}, {MHD_OPTION_END, 0, NULL}};
    http->daemon =
        MHD_start_daemon(flags, 0, NULL, NULL, on_request, http, MHD_OPTION_EXTERNAL_LOGGER, on_log,
                         NULL, MHD_OPTION_ARRAY, listen, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
                         http, MHD_OPTION_CONNECTION_LIMIT, most, MHD_OPTION_CONNECTION_TIMEOUT,
                         (unsigned)KPI_IDLE_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                         (size_t)KPI_HEADER_BYTES_MAX, MHD_OPTION_THREAD_STACK_SIZE,
                         (size_t)(1024 * 1024), MHD_OPTION_END);
    if (http->daemon == NULL) {
        if (fd >= 0)
            close(fd);
        return kp_error_set(err, KP_NO_MEMORY, "cannot start the HTTP listener '%s'",
                            http->opts.name);
    }
    if (pthread_create(&http->watcher, NULL, watch, http) != 0)
        return kp_error_set(err, KP_NO_MEMORY, "cannot start a thread");
    http->watching = true;
    return KP_OK;
}

kp_status kpi_http_start(const struct kpi_http_opts *opts, struct kpi_http **out,
                         struct kp_error *err)
{
    int fd = -1;
    uint16_t port = 0;
    kp_status status = KP_OK;
    if (opts->unix_path != NULL)
        status = kpi_listen_unix(opts->unix_path, opts->unix_mode, &fd, err);
    else if (opts->listen != NULL)
        status = kpi_listen_tcp(opts->listen, &fd, &port, err);
    if (status != KP_OK)
        return status;
    struct kpi_http *http = calloc(1, sizeof(*http));
    if (http == NULL) {
        if (fd >= 0)
            close(fd);
        return kp_error_set(err, KP_NO_MEMORY, "no memory for the HTTP listener");
    }
    http->opts = *opts;
    http->port = port;
    pthread_mutex_init(&http->lock, NULL);
    pthread_cond_init(&http->begun, NULL);
    status = start_daemon(http, fd, err);
    if (status != KP_OK) {
        kpi_http_stop(http, 0);
        return status;
    }
    *out = http;
    return KP_OK;
}

uint16_t kpi_http_port(const struct kpi_http *http)
{
    return http->port;
}

void kpi_http_add(struct kpi_http *http, int fd)
{
    struct sockaddr_storage peer = {0};
    socklen_t size = sizeof(peer);
    if (getpeername(fd, (struct sockaddr *)&peer, &size) != 0) {
        close(fd); /* it left again */
        return;
    }
    if (MHD_add_connection(http->daemon, fd, (struct sockaddr *)&peer, size) != MHD_YES)
        kp_log(KP_LOG_DEBUG, "http", "a connection was refused: %s", strerror(errno));
}

static bool any_running(struct kpi_http *http)
{
    pthread_mutex_lock(&http->lock);
    bool any = http->running != NULL;
    pthread_mutex_unlock(&http->lock);
    return any;
}

static void cancel_all(struct kpi_http *http)
{
    pthread_mutex_lock(&http->lock);
    for (struct exchange *ex = http->running; ex != NULL; ex = ex->next)
        atomic_store(&ex->cancel, true);
    pthread_mutex_unlock(&http->lock);
}

void kpi_http_stop(struct kpi_http *http, int64_t deadline)
{
    if (http == NULL)
        return;
    if (http->opts.unix_path != NULL)
        unlink(http->opts.unix_path); /* while it is listened at: it cannot be another server's */
    if (http->daemon != NULL) {
        MHD_socket fd = MHD_quiesce_daemon(http->daemon);
        if (fd != MHD_INVALID_SOCKET)
            close(fd);
        struct timespec wait = {.tv_nsec = 10 * KP_MS};
        while (any_running(http) && kp_time_monotonic() < deadline)
            nanosleep(&wait, NULL);
        cancel_all(http);
        MHD_stop_daemon(http->daemon);
    }
    pthread_mutex_lock(&http->lock);
    http->stop = true;
    pthread_cond_signal(&http->begun);
    pthread_mutex_unlock(&http->lock);
    if (http->watching)
        pthread_join(http->watcher, NULL);
    pthread_cond_destroy(&http->begun);
    pthread_mutex_destroy(&http->lock);
    free(http);
}
