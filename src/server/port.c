/* SPDX-License-Identifier: Apache-2.0
 *
 * The porter of the query port. It peeks at the first bytes of a connection without taking them:
 * HTTP's methods are written in capitals and end in a space, which no statement of ours begins
 * with. One epoll over all sockets. A client costs a socket and a few hundred bytes until a whole
 * line of it is there; then it waits its turn for one of KPI_TEXT_BUSY_MAX threads, which it leaves
 * when nothing more is to be answered. A session whose input is full is not read until its thread
 * has taken some, so a client can make it hold one line and a piece.
 */
#include "server/port.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "server/listen.h"
#include "server/text.h"

#define PIECE_BYTES   (64 * 1024)
#define TURN          (500 * KP_MS) /* what only time tells is looked at this often */
#define STOP_TURN     (20 * KP_MS)
#define ALIVE_EVERY   KP_SEC
#define SESSION_STACK (1024 * 1024)
#define EVENTS_MAX    64

struct kpi_port {
    struct kpi_port_opts opts;
    int listen_fd, wake_fd, epoll_fd;
    uint16_t number;
    pthread_t thread;
    bool running;
    _Atomic bool stop;
    _Atomic int64_t deadline;

    /* Of the porter's thread. */
    bool deaf;                    /* callers are not listened to */
    struct kpi_session *sessions; /* all connections, told apart or not */
    uint32_t sessions_count, text_count, busy_count;
    struct kpi_session *first, **last; /* have lines and wait for a thread */

    pthread_mutex_t lock;
    struct kpi_session *told; /* threads that ended, under lock */
};

/* --- sessions --- */

static void watch(struct kpi_port *port, struct kpi_session *session, int op, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = session};
    if (epoll_ctl(port->epoll_fd, op, session->fd, &event) != 0)
        kp_log(KP_LOG_WARN, "query", "cannot watch a client: error %d", errno);
}

static void free_session(struct kpi_session *session)
{
    if (session->fd >= 0)
        close(session->fd);
    pthread_mutex_destroy(&session->lock);
    kp_buf_deinit(&session->in);
    kp_buf_deinit(&session->statement);
    free(session);
}

/* Takes it out of the list and frees it; it has no thread and waits for none. */
static void drop(struct kpi_port *port, struct kpi_session *session)
{
    *session->link = session->next;
    if (session->next != NULL)
        session->next->link = session->link;
    port->sessions_count--;
    if (session->sorted)
        port->text_count--;
    atomic_store(&port->opts.server->port_stat.clients_now, port->text_count);
    free_session(session);
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

static void add_session(struct kpi_port *port, int fd)
{
    struct kpi_session *session = NULL;
    if (port->sessions_count < KPI_TEXT_CLIENTS_MAX)
        session = calloc(1, sizeof(*session));
    if (session == NULL) {
        refuse(port, fd, "too many connections; try again");
        return;
    }
    session->port = port;
    session->opts = &port->opts;
    session->fd = fd;
    session->format = KP_FORMAT_LINE;
    session->since = kp_time_monotonic();
    /* Else the trailer waits until the client's kernel has acknowledged the rows: 40 ms. */
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)) != 0)
        kp_log(KP_LOG_DEBUG, "query", "a client's answers may be slow: error %d", errno);
    pthread_mutex_init(&session->lock, NULL);
    session->next = port->sessions;
    session->link = &port->sessions;
    if (session->next != NULL)
        session->next->link = &session->next;
    port->sessions = session;
    port->sessions_count++;
    watch(port, session, EPOLL_CTL_ADD, EPOLLIN | EPOLLRDHUP | EPOLLET);
}

/* Without descriptors, or at the end, callers are left in the kernel's queue. */
static void listen_again(struct kpi_port *port, bool on)
{
    struct epoll_event call = {.events = EPOLLIN, .data.ptr = port};
    if (port->deaf != on)
        return;
    port->deaf = !on;
    if (epoll_ctl(port->epoll_fd, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, port->listen_fd, &call) != 0)
        kp_log(KP_LOG_WARN, "query", "cannot watch for callers: error %d", errno);
}

static void accept_all(struct kpi_port *port)
{
    for (;;) {
        int fd = accept4(port->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            add_session(port, fd);
            continue;
        }
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
            kp_log(KP_LOG_WARN, "query", "cannot accept: error %d", errno);
            listen_again(port, false); /* until the next turn */
        }
        return;
    }
}

/* --- threads --- */

static bool begin_work(struct kpi_session *session)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, SESSION_STACK);
    int failed = pthread_create(&session->thread, &attr, kpi_text_serve, session);
    pthread_attr_destroy(&attr);
    return failed == 0;
}

/* Gives threads to those that wait for one, in the order in which they came. */
static void begin_waiting(struct kpi_port *port)
{
    while (port->first != NULL && port->busy_count < KPI_TEXT_BUSY_MAX) {
        struct kpi_session *session = port->first;
        if (!begin_work(session)) {
            kp_log(KP_LOG_WARN, "query", "cannot start a thread for a client");
            return; /* the next turn tries again */
        }
        port->first = session->next_waiting;
        if (port->first == NULL)
            port->last = &port->first;
        session->waiting = false;
        session->working = true;
        port->busy_count++;
    }
}

/* Its input has changed: it waits for a thread when there is something to do, or is gone. */
static void consider(struct kpi_port *port, struct kpi_session *session)
{
    if (session->working || session->waiting)
        return;
    pthread_mutex_lock(&session->lock);
    bool gone = session->gone, ready = kpi_text_ready(session);
    if (session->in.size == session->taken && !ready) {
        session->in_at += session->in.size;
        session->taken = 0;
        kp_buf_deinit(&session->in); /* who says nothing keeps no memory */
    }
    pthread_mutex_unlock(&session->lock);
    if (gone) {
        drop(port, session);
    } else if (ready) {
        session->waiting = true;
        session->next_waiting = NULL;
        *port->last = session;
        port->last = &session->next_waiting;
    }
}

void kpi_port_tell(struct kpi_session *session)
{
    struct kpi_port *port = session->port;
    uint64_t one = 1;
    pthread_mutex_lock(&port->lock);
    session->next_told = port->told;
    port->told = session;
    pthread_mutex_unlock(&port->lock);
    if (write(port->wake_fd, &one, sizeof(one)) < 0)
        kp_log(KP_LOG_DEBUG, "query", "the porter is awake");
}

/* Joins the threads that ended. */
static void hear_threads(struct kpi_port *port)
{
    uint64_t wakes;
    if (read(port->wake_fd, &wakes, sizeof(wakes)) < 0)
        return;
    pthread_mutex_lock(&port->lock);
    struct kpi_session *session = port->told;
    port->told = NULL;
    pthread_mutex_unlock(&port->lock);
    while (session != NULL) {
        struct kpi_session *next = session->next_told;
        pthread_join(session->thread, NULL);
        session->working = false;
        session->since = kp_time_monotonic();
        port->busy_count--;
        if (session->done)
            drop(port, session);
        else
            consider(port, session);
        session = next;
    }
}

/* --- what clients send --- */

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

static void set_gone(struct kpi_session *session)
{
    session->gone = true;
    atomic_store(&session->cancel, true);
}

/* Takes what the socket has, under the session's lock. */
static void read_input(struct kpi_session *session)
{
    drop_taken(session);
    void *at = kp_buf_reserve(&session->in, PIECE_BYTES);
    ssize_t got = at == NULL ? -1 : recv(session->fd, at, PIECE_BYTES, MSG_DONTWAIT);
    if (got > 0)
        session->in.size += (size_t)got;
    else if (got == 0)
        session->eof = true;
    else if (at == NULL || (errno != EAGAIN && errno != EINTR))
        set_gone(session);
    find_cancel(session);
}

/* What the socket of a text client has to say. */
static void hear(struct kpi_port *port, struct kpi_session *session, uint32_t events)
{
    pthread_mutex_lock(&session->lock);
    if ((events & (EPOLLERR | EPOLLHUP)) != 0)
        set_gone(session);
    else if ((events & (EPOLLIN | EPOLLRDHUP)) != 0)
        read_input(session);
    session->full = session->in.size - session->taken > KPI_LINE_BYTES_MAX + PIECE_BYTES;
    if (session->gone)
        watch(port, session, EPOLL_CTL_DEL, 0);
    else if (session->eof || session->full)
        watch(port, session, EPOLL_CTL_MOD, 0);
    pthread_mutex_unlock(&session->lock);
    session->since = kp_time_monotonic();
    consider(port, session);
}

void kpi_port_room(struct kpi_session *session)
{
    if (!session->full || session->gone || session->eof)
        return;
    session->full = false;
    watch(session->port, session, EPOLL_CTL_MOD, EPOLLIN | EPOLLRDHUP);
}

/* Looks at the first bytes of a connection. */
static void sort_out(struct kpi_port *port, struct kpi_session *session, uint32_t events)
{
    char begin[KPI_SNIFF_BYTES];
    struct kpi_port_stat *stat = &port->opts.server->port_stat;
    ssize_t got = recv(session->fd, begin, sizeof(begin), MSG_PEEK | MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    enum kpi_sniff kind =
        got > 0 ? kpi_sniff((struct kp_str){begin, (uint32_t)got}) : KPI_SNIFF_MORE;
    if (kind == KPI_SNIFF_MORE && got > 0 && (events & EPOLLRDHUP) == 0)
        return;
    if (got > 0 && kind != KPI_SNIFF_HTTP) {
        session->sorted = true;
        port->text_count++;
        atomic_fetch_add(&stat->clients, 1);
        atomic_store(&stat->clients_now, port->text_count);
        watch(port, session, EPOLL_CTL_MOD, EPOLLIN | EPOLLRDHUP);
        return;
    }
    watch(port, session, EPOLL_CTL_DEL, 0);
    if (got > 0) {
        kpi_http_add(port->opts.http, session->fd);
        session->fd = -1;
    }
    drop(port, session);
}

/* --- what only time tells --- */

/* A client that closed its sending half may wait for the answer or be gone: only bytes tell. They
 * are a remark, and none goes out once the answer has begun. */
static void show_life(struct kpi_session *session, int64_t now)
{
    pthread_mutex_lock(&session->lock);
    if (session->eof && session->running && !session->answered &&
        now - session->alive_at >= ALIVE_EVERY) {
        session->alive_at = now;
        if (!kpi_text_send_now(session, KP_STR("# running\n")))
            set_gone(session);
    }
    pthread_mutex_unlock(&session->lock);
}

static void stop_session(struct kpi_session *session, bool late)
{
    pthread_mutex_lock(&session->lock);
    session->stop = true;
    if (late)
        set_gone(session);
    pthread_mutex_unlock(&session->lock);
}

static void turn(struct kpi_port *port, int64_t now)
{
    kp_dur idle = port->opts.idle != 0 ? port->opts.idle : KPI_TEXT_IDLE;
    bool stop = atomic_load(&port->stop), late = now >= atomic_load(&port->deadline);
    struct kpi_session *next;
    listen_again(port, !stop);
    for (struct kpi_session *session = port->sessions; session != NULL; session = next) {
        next = session->next;
        if (session->working)
            show_life(session, now);
        if (stop)
            stop_session(session, late);
        if (!session->working && !session->waiting && (stop || now - session->since > idle))
            drop(port, session);
    }
}

/* --- the loop --- */

static void serve_events(struct kpi_port *port, const struct epoll_event *events, int count)
{
    bool woken = false, called = false;
    for (int i = 0; i < count; i++) {
        struct kpi_session *session = events[i].data.ptr;
        if (events[i].data.ptr == NULL)
            woken = true;
        else if (events[i].data.ptr == port)
            called = true;
        else if (session->sorted)
            hear(port, session, events[i].events);
        else
            sort_out(port, session, events[i].events);
    }
    if (woken) /* frees sessions, which may have events of their own above */
        hear_threads(port);
    if (called && !atomic_load(&port->stop))
        accept_all(port);
    begin_waiting(port);
}

static void *serve(void *ctx)
{
    struct kpi_port *port = ctx;
    struct epoll_event events[EVENTS_MAX];
    int64_t next_turn = kp_time_monotonic() + TURN;
    while (!atomic_load(&port->stop) || port->sessions != NULL) {
        int64_t now = kp_time_monotonic();
        bool stop = atomic_load(&port->stop);
        if (now >= next_turn || stop) {
            turn(port, now);
            next_turn = now + (stop ? STOP_TURN : TURN);
        }
        int count =
            epoll_wait(port->epoll_fd, events, EVENTS_MAX, (int)((next_turn - now) / KP_MS) + 1);
        serve_events(port, events, count);
    }
    return NULL;
}

/* --- life --- */

static kp_status open_descriptors(struct kpi_port *port, struct kp_error *err)
{
    struct epoll_event wake = {.events = EPOLLIN, .data.ptr = NULL};
    port->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    port->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (port->wake_fd < 0 || port->epoll_fd < 0)
        return kp_error_os(err, KP_NO_MEMORY, errno, "cannot start the query port");
    kp_status status = kpi_listen_tcp(port->opts.listen, &port->listen_fd, &port->number, err);
    if (status != KP_OK)
        return status;
    if (epoll_ctl(port->epoll_fd, EPOLL_CTL_ADD, port->wake_fd, &wake) != 0)
        return kp_error_os(err, KP_NO_MEMORY, errno, "cannot start the query port");
    port->deaf = true;
    listen_again(port, true);
    return KP_OK;
}

kp_status kpi_port_start(const struct kpi_port_opts *opts, struct kpi_port **out,
                         struct kp_error *err)
{
    struct kpi_port *port = calloc(1, sizeof(*port));
    if (port == NULL)
        return kp_error_set(err, KP_NO_MEMORY, "no memory for the query port");
    port->opts = *opts;
    port->listen_fd = port->wake_fd = port->epoll_fd = -1;
    port->last = &port->first;
    pthread_mutex_init(&port->lock, NULL);
    kp_status status = open_descriptors(port, err);
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
    const int fds[] = {port->listen_fd, port->wake_fd, port->epoll_fd};
    for (size_t i = 0; i < KP_ARRAY_LEN(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    pthread_mutex_destroy(&port->lock);
    free(port);
}
