/* SPDX-License-Identifier: Apache-2.0
 *
 * The porter of the query port. It peeks at the first bytes of a connection without taking them:
 * HTTP's methods are written in capitals and end in a space, which no statement of ours begins
 * with. One poll() over all sockets; a session whose input is full is not read until its thread has
 * taken some, so a client can make it hold one line and a piece.
 */
#include "server/port.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "server/listen.h"
#include "server/text.h"

#define WAITING_MAX    64 /* connections that have said nothing yet */
#define PIECE_BYTES    (64 * 1024)
#define TURN_MS        500
#define SHORT_TURN_MS  20 /* while a connection's first bytes are too few to tell */
#define ALIVE_EVERY    KP_SEC
#define SESSION_STACK  (1024 * 1024)
#define POLL_FDS_FIRST 2 /* the wake-up, the listener */

struct waiting {
    int fd;
    int64_t since;
    bool unsure; /* what it said may still become either */
};

struct kpi_port {
    struct kpi_port_opts opts;
    int listen_fd, wake_fd;
    uint16_t number;
    pthread_t thread;
    bool running;
    _Atomic bool stop;
    _Atomic int64_t deadline;
    struct waiting waiting[WAITING_MAX];
    uint32_t waiting_count;
    struct kpi_session *sessions[KPI_TEXT_CLIENTS_MAX];
    uint32_t sessions_count;
    struct pollfd fds[POLL_FDS_FIRST + WAITING_MAX + KPI_TEXT_CLIENTS_MAX];
};

/* --- sessions --- */

static void free_session(struct kpi_session *session)
{
    close(session->fd);
    pthread_mutex_destroy(&session->lock);
    pthread_cond_destroy(&session->change);
    kp_buf_deinit(&session->in);
    free(session);
}

static struct kpi_session *make_session(struct kpi_port *port, int fd)
{
    pthread_condattr_t clock;
    pthread_attr_t attr;
    struct kpi_session *session = calloc(1, sizeof(*session));
    if (session == NULL)
        return NULL;
    session->opts = &port->opts;
    session->fd = fd;
    session->wake_fd = port->wake_fd;
    session->format = KP_FORMAT_LINE;
    pthread_mutex_init(&session->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&session->change, &clock);
    pthread_condattr_destroy(&clock);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, SESSION_STACK);
    int failed = pthread_create(&session->thread, &attr, kpi_text_serve, session);
    pthread_attr_destroy(&attr);
    if (failed == 0)
        return session;
    session->fd = -1; /* stays the caller's */
    free_session(session);
    return NULL;
}

static void refuse(struct kpi_port *port, int fd, const char *why)
{
    struct kp_error err;
    struct kp_buf text = {0};
    atomic_fetch_add(&port->opts.server->port_stat.refused, 1);
    kp_error_set(&err, KP_BUSY, "%s", why);
    kpi_text_error(&err, &text);
    if (send(fd, kp_buf_cstr(&text), text.size, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        kp_log(KP_LOG_DEBUG, "query", "a refused client was gone already");
    kp_buf_deinit(&text);
    close(fd);
}

static void begin_session(struct kpi_port *port, int fd)
{
    struct kpi_port_stat *stat = &port->opts.server->port_stat;
    if (port->sessions_count == KPI_TEXT_CLIENTS_MAX) {
        refuse(port, fd, "too many text clients; try again");
        return;
    }
    struct kpi_session *session = make_session(port, fd);
    if (session == NULL) {
        refuse(port, fd, "no memory for another client; try again");
        return;
    }
    port->sessions[port->sessions_count++] = session;
    atomic_fetch_add(&stat->clients, 1);
    atomic_store(&stat->clients_now, port->sessions_count);
}

static void end_done_sessions(struct kpi_port *port)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < port->sessions_count; i++) {
        struct kpi_session *session = port->sessions[i];
        pthread_mutex_lock(&session->lock);
        bool done = session->done;
        pthread_mutex_unlock(&session->lock);
        if (!done) {
            port->sessions[kept++] = session;
            continue;
        }
        pthread_join(session->thread, NULL);
        free_session(session);
    }
    port->sessions_count = kept;
    atomic_store(&port->opts.server->port_stat.clients_now, kept);
}

/* Looks for .cancel in the lines that are whole by now; it reaches every query sent before it. */
static void find_cancel(struct kpi_session *session)
{
    struct kp_buf *in = &session->in;
    size_t at = session->scanned > session->in_at ? (size_t)(session->scanned - session->in_at) : 0;
    for (;;) {
        char *end = at < in->size ? memchr(in->data + at, '\n', in->size - at) : NULL;
        if (end == NULL)
            break;
        struct kpi_line line;
        size_t size = (size_t)(end - in->data) - at;
        if (size < 64) { /* the word and blanks around it */
            kpi_line_read((struct kp_str){in->data + at, (uint32_t)size}, &line);
            if (line.kind == KPI_LINE_CANCEL) {
                session->cancel_to = session->in_at + at;
                if (session->running)
                    atomic_store(&session->cancel, true);
            }
        }
        at += size + 1;
    }
    session->scanned = session->in_at + at;
}

/* Makes the taken bytes room again. */
static void drop_taken(struct kpi_session *session)
{
    struct kp_buf *in = &session->in;
    if (session->taken == 0)
        return;
    memmove(in->data, in->data + session->taken, in->size - session->taken);
    in->size -= session->taken;
    session->in_at += session->taken;
    session->taken = 0;
}

/* What the socket of a session has to say. */
static void hear(struct kpi_session *session, short events)
{
    pthread_mutex_lock(&session->lock);
    if ((events & (POLLERR | POLLHUP)) != 0)
        session->gone = true;
    if ((events & (POLLIN | POLLRDHUP)) != 0 && !session->gone) {
        drop_taken(session);
        void *at = kp_buf_reserve(&session->in, PIECE_BYTES);
        ssize_t got = at == NULL ? -1 : recv(session->fd, at, PIECE_BYTES, MSG_DONTWAIT);
        if (got > 0)
            session->in.size += (size_t)got;
        else if (got == 0)
            session->eof = true;
        else if (at == NULL || (errno != EAGAIN && errno != EINTR))
            session->gone = true;
        find_cancel(session);
    }
    if (session->gone)
        atomic_store(&session->cancel, true);
    pthread_cond_signal(&session->change);
    pthread_mutex_unlock(&session->lock);
}

/* A client that closed its sending half may wait for the answer or be gone: only bytes tell. They
 * are a remark, and none goes out once the answer has begun. */
static void show_life(struct kpi_session *session, int64_t now)
{
    char text[64];
    pthread_mutex_lock(&session->lock);
    if (session->eof && session->running && !session->answered &&
        now - session->alive_at >= ALIVE_EVERY) {
        snprintf(text, sizeof(text), "# running\n");
        session->alive_at = now;
        if (!kpi_text_send_now(session, kp_str_from(text))) {
            session->gone = true;
            atomic_store(&session->cancel, true);
        }
    }
    pthread_mutex_unlock(&session->lock);
}

/* --- connections that have said nothing yet --- */

static void accept_all(struct kpi_port *port)
{
    for (;;) {
        int fd = accept4(port->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
                kp_log(KP_LOG_WARN, "query", "cannot accept: error %d", errno);
            return;
        }
        if (port->waiting_count == WAITING_MAX) {
            refuse(port, fd, "too many connections; try again");
            continue;
        }
        port->waiting[port->waiting_count++] =
            (struct waiting){.fd = fd, .since = kp_time_monotonic()};
    }
}

/* Looks at the first bytes; true when the connection went on or away. */
static bool sort_out(struct kpi_port *port, struct waiting *waiting, short events, int64_t now)
{
    char begin[KPI_SNIFF_BYTES];
    kp_dur idle = port->opts.idle != 0 ? port->opts.idle : KPI_TEXT_IDLE;
    ssize_t got = recv(waiting->fd, begin, sizeof(begin), MSG_PEEK | MSG_DONTWAIT);
    if (got > 0) {
        enum kpi_sniff kind = kpi_sniff((struct kp_str){begin, (uint32_t)got});
        waiting->unsure = kind == KPI_SNIFF_MORE && (events & POLLRDHUP) == 0;
        if (kind == KPI_SNIFF_HTTP)
            kpi_http_add(port->opts.http, waiting->fd);
        else if (!waiting->unsure)
            begin_session(port, waiting->fd);
        if (!waiting->unsure)
            return true;
    }
    bool over =
        got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR) || now - waiting->since > idle;
    if (over)
        close(waiting->fd);
    return over;
}

/* --- the loop --- */

static void add_fd(struct kpi_port *port, uint32_t *count, int fd, short events)
{
    port->fds[(*count)++] = (struct pollfd){.fd = fd, .events = events};
}

/* A socket that is gone is left out by a negative descriptor, so that places stay the same. */
static void add_session(struct kpi_port *port, uint32_t *count, struct kpi_session *session)
{
    pthread_mutex_lock(&session->lock);
    bool room = session->in.size - session->taken <= KPI_LINE_BYTES_MAX + PIECE_BYTES;
    short events = session->eof || !room ? 0 : POLLIN | POLLRDHUP;
    add_fd(port, count, session->gone ? -1 : session->fd, events);
    pthread_mutex_unlock(&session->lock);
}

/* Waits for something to happen; returns the number of places in port->fds. */
static uint32_t wait_events(struct kpi_port *port)
{
    uint32_t count = 0;
    uint64_t wakes;
    int timeout = TURN_MS;
    bool stop = atomic_load(&port->stop);
    add_fd(port, &count, port->wake_fd, POLLIN);
    add_fd(port, &count, stop ? -1 : port->listen_fd, POLLIN);
    for (uint32_t i = 0; i < port->waiting_count; i++) {
        bool unsure = port->waiting[i].unsure;
        add_fd(port, &count, port->waiting[i].fd, unsure ? POLLRDHUP : POLLIN | POLLRDHUP);
        if (unsure)
            timeout = SHORT_TURN_MS;
    }
    for (uint32_t i = 0; i < port->sessions_count; i++)
        add_session(port, &count, port->sessions[i]);
    if (poll(port->fds, count, stop ? SHORT_TURN_MS : timeout) < 0)
        count = 0;
    if (count > 0 && port->fds[0].revents != 0 && read(port->wake_fd, &wakes, sizeof(wakes)) < 0)
        kp_log(KP_LOG_DEBUG, "query", "woken for nothing");
    return count;
}

static void serve_events(struct kpi_port *port)
{
    int64_t now = kp_time_monotonic();
    uint32_t sessions = port->sessions_count, kept = 0;
    const struct pollfd *at = port->fds + POLL_FDS_FIRST;
    for (uint32_t i = 0; i < sessions; i++) {
        short events = at[port->waiting_count + i].revents;
        if (events != 0)
            hear(port->sessions[i], events);
        show_life(port->sessions[i], now);
    }
    for (uint32_t i = 0; i < port->waiting_count; i++) {
        struct waiting waiting = port->waiting[i];
        if (!sort_out(port, &waiting, at[i].revents, now))
            port->waiting[kept++] = waiting;
    }
    port->waiting_count = kept;
    end_done_sessions(port);
    if (port->fds[1].revents != 0)
        accept_all(port);
}

static void end_sessions(struct kpi_port *port)
{
    bool late = kp_time_monotonic() >= atomic_load(&port->deadline);
    for (uint32_t i = 0; i < port->sessions_count; i++) {
        struct kpi_session *session = port->sessions[i];
        pthread_mutex_lock(&session->lock);
        session->stop = true;
        if (late) {
            session->gone = true;
            atomic_store(&session->cancel, true);
        }
        pthread_cond_signal(&session->change);
        pthread_mutex_unlock(&session->lock);
    }
}

static void *serve(void *ctx)
{
    struct kpi_port *port = ctx;
    while (!atomic_load(&port->stop) || port->sessions_count > 0) {
        if (atomic_load(&port->stop))
            end_sessions(port);
        if (wait_events(port) > 0)
            serve_events(port);
    }
    for (uint32_t i = 0; i < port->waiting_count; i++)
        close(port->waiting[i].fd);
    return NULL;
}

/* --- life --- */

kp_status kpi_port_start(const struct kpi_port_opts *opts, struct kpi_port **out,
                         struct kp_error *err)
{
    struct kpi_port *port = calloc(1, sizeof(*port));
    if (port == NULL)
        return kp_error_set(err, KP_NO_MEMORY, "no memory for the query port");
    port->opts = *opts;
    port->listen_fd = -1;
    port->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    kp_status status = KP_OK;
    if (port->wake_fd < 0)
        status = kp_error_os(err, KP_NO_MEMORY, errno, "cannot start the query port");
    if (status == KP_OK)
        status = kpi_listen_tcp(opts->listen, &port->listen_fd, &port->number, err);
    if (status == KP_OK && pthread_create(&port->thread, NULL, serve, port) != 0)
        status = kp_error_set(err, KP_NO_MEMORY, "cannot start a thread");
    port->running = status == KP_OK;
    if (status != KP_OK) {
        kpi_port_stop(port, 0);
        return status;
    }
    *out = port;
    return KP_OK;
}

uint16_t kpi_port_number(const struct kpi_port *port)
{
    return port->number;
}

void kpi_port_stop(struct kpi_port *port, int64_t deadline)
{
    if (port == NULL)
        return;
    atomic_store(&port->deadline, deadline);
    atomic_store(&port->stop, true);
    if (port->running)
        pthread_join(port->thread, NULL);
    if (port->listen_fd >= 0)
        close(port->listen_fd);
    if (port->wake_fd >= 0)
        close(port->wake_fd);
    free(port);
}
