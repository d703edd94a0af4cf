/* SPDX-License-Identifier: Apache-2.0
 *
 * HTTP/1.1 as small as two programs of one demo need it: one request and one answer a connection,
 * bodies with Content-Length. Every wait goes through ppoll with what is left of the caller's
 * limit, so that giving up is a timer of the kernel and not a loop of ours.
 */
#include "demo/common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct server {
    int fd;
    kpi_handle_fn handle;
};

/* --- bytes --- */

/* 0 when fd is ready, -ETIMEDOUT after the deadline; deadline < 0 = none. */
static int wait_ready(int fd, short events, int64_t deadline)
{
    struct pollfd p = {.fd = fd, .events = events};
    struct timespec limit;
    if (deadline >= 0) {
        int64_t left = deadline - kpi_now_mono();
        if (left <= 0)
            return -ETIMEDOUT;
        limit = (struct timespec){left / (1000 * KPI_MS), left % (1000 * KPI_MS)};
    }
    int n = ppoll(&p, 1, deadline >= 0 ? &limit : NULL, NULL);
    return n > 0 ? 0 : n == 0 ? -ETIMEDOUT : -errno;
}

static int send_all(int fd, const char *data, size_t size, int64_t deadline)
{
    while (size > 0) {
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) {
            int r = wait_ready(fd, POLLOUT, deadline);
            if (r != 0)
                return r;
            continue;
        }
        if (n < 0)
            return -errno;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

/* Value of a header in an HTTP head, or NULL; *out_size excludes the line end. */
static const char *find_header(const char *head, const char *name, size_t *out_size)
{
    size_t len = strlen(name);
    for (const char *line = head; line != NULL; line = strstr(line, "\r\n")) {
        line += line == head ? 0 : 2;
        if (strncasecmp(line, name, len) == 0 && line[len] == ':') {
            const char *value = line + len + 1 + strspn(line + len + 1, " ");
            *out_size = strcspn(value, "\r\n");
            return value;
        }
    }
    return NULL;
}

static void copy_header(const char *head, const char *name, char *out, size_t size)
{
    size_t len = 0;
    const char *value = find_header(head, name, &len);
    snprintf(out, size, "%.*s", (int)len, value == NULL ? "" : value);
}

static int64_t number_header(const char *head, const char *name)
{
    char text[24];
    copy_header(head, name, text, sizeof(text));
    return strtoll(text, NULL, 10);
}

/* Reads one message; the rest of the head's buffer is moved into the body. */
static int read_msg(int fd, struct kpi_msg *msg, int64_t deadline)
{
    char raw[KPI_HEAD_MAX + KPI_BODY_MAX];
    size_t used = 0, head = 0, want = 0;
    while (head == 0 || used < head + want) {
        int r = wait_ready(fd, POLLIN, deadline);
        ssize_t n = r != 0 ? 0 : recv(fd, raw + used, sizeof(raw) - 1 - used, 0);
        if (r != 0 || n <= 0)
            return r != 0 ? r : n == 0 ? -ECONNRESET : -errno;
        used += (size_t)n;
        raw[used] = '\0';
        char *end = head == 0 ? strstr(raw, "\r\n\r\n") : NULL;
        if (end != NULL) {
            head = (size_t)(end - raw) + 4;
            end[2] = '\0';
            want = (size_t)number_header(raw, "content-length");
        }
        if (head > sizeof(msg->head) || want >= sizeof(msg->body) || used == sizeof(raw) - 1)
            return -EMSGSIZE;
    }
    memcpy(msg->head, raw, head - 1);
    memcpy(msg->body, raw + head, want);
    msg->body[want] = '\0';
    return 0;
}

/* --- client side --- */

static int connect_to(int64_t port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
        int e = errno;
        close(fd);
        return -e;
    }
    return fd >= 0 ? fd : -errno;
}

/* Sends head and body, reads the answer into out, closes. Returns its status or -errno. */
static int exchange(int64_t port, const char *head, const char *body, size_t size, int64_t limit_ms,
                    struct kpi_msg *out)
{
    int64_t deadline = limit_ms < 0 ? -1 : kpi_now_mono() + limit_ms * KPI_MS;
    int fd = connect_to(port);
    if (fd < 0)
        return fd;
    int r = send_all(fd, head, strlen(head), deadline);
    r = r == 0 ? send_all(fd, body, size, deadline) : r;
    r = r == 0 ? read_msg(fd, out, deadline) : r;
    close(fd);
    int status = 0;
    if (r == 0 && sscanf(out->head, "HTTP/1.%*1d %d", &status) != 1)
        r = -EPROTO;
    return r == 0 ? status : r;
}

int kpi_call(int64_t port, const char *path, const struct kpi_payment *payment, int64_t limit_ms,
             struct kpi_msg *out)
{
    char head[KPI_HEAD_MAX];
    snprintf(head, sizeof(head),
             "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%lld\r\nTraceparent: 00-%s-%s-01\r\n"
             "X-Txn-Id: %s\r\nX-Amount-Minor: %lld\r\nX-Currency: %s\r\nX-Legs: %lld\r\n"
             "X-Hold-Ms: %lld\r\nX-Book-Hash: %lld\r\nContent-Length: 0\r\n"
             "Connection: close\r\n\r\n",
             path, (long long)port, payment->trace_id, payment->parent_id, payment->txn,
             (long long)payment->amount, payment->currency, (long long)payment->legs,
             (long long)payment->hold_ms, (long long)payment->hash);
    return exchange(port, head, "", 0, limit_ms, out);
}

int kpi_post_json(int64_t port, const char *path, const char *json, size_t size, int64_t limit_ms)
{
    struct kpi_msg answer;
    char head[256];
    snprintf(head, sizeof(head),
             "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%lld\r\nContent-Type: application/json\r\n"
             "Content-Length: %zu\r\nConnection: close\r\n\r\n",
             path, (long long)port, size);
    return exchange(port, head, json, size, limit_ms, &answer);
}

/* --- server side --- */

static bool read_payment(const struct kpi_msg *msg, struct kpi_payment *out)
{
    char parent[64];
    copy_header(msg->head, "traceparent", parent, sizeof(parent));
    copy_header(msg->head, "x-txn-id", out->txn, sizeof(out->txn));
    copy_header(msg->head, "x-currency", out->currency, sizeof(out->currency));
    out->amount = number_header(msg->head, "x-amount-minor");
    out->legs = number_header(msg->head, "x-legs");
    out->hold_ms = number_header(msg->head, "x-hold-ms");
    out->hash = number_header(msg->head, "x-book-hash");
    return sscanf(parent, "00-%32[0-9a-f]-%16[0-9a-f]-", out->trace_id, out->parent_id) == 2 &&
           out->txn[0] != '\0';
}

static void serve_one(const struct server *server, int fd)
{
    struct kpi_msg request;
    struct kpi_payment payment;
    char answer[KPI_BODY_MAX] = "";
    if (read_msg(fd, &request, kpi_now_mono() + 5000 * KPI_MS) != 0)
        return;
    int status =
        read_payment(&request, &payment) ? server->handle(&payment, &request, answer) : 400;
    char text[KPI_BODY_MAX + 128];
    snprintf(text, sizeof(text),
             "HTTP/1.1 %d %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", status,
             status == 200 ? "OK" : "Error", strlen(answer), answer);
    /* The caller may have given up: that is its business, the work here is done. */
    (void)send_all(fd, text, strlen(text), kpi_now_mono() + 1000 * KPI_MS);
}

static void *worker(void *arg)
{
    const struct server *server = arg;
    for (;;) {
        int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) {
            serve_one(server, fd);
            close(fd);
        } else if (errno != EINTR && errno != ECONNABORTED) {
            kpi_die("accept");
        }
    }
    return NULL;
}

void kpi_serve(const char *service, kpi_handle_fn handle)
{
    static struct server server;
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(addr);
    server.handle = handle;
    server.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (server.fd < 0 || bind(server.fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 ||
        listen(server.fd, 64) != 0 || getsockname(server.fd, (struct sockaddr *)&addr, &size) != 0)
        kpi_die("cannot listen");
    for (int i = 0; i < KPI_WORKERS; i++)
        kpi_thread(service, worker, &server);
    printf("ready %u\n", ntohs(addr.sin_port));
    fflush(stdout);
}
