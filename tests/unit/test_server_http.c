/* SPDX-License-Identifier: Apache-2.0
 *
 * One listener with handlers of its own: what a client that leaves, a server that stops and a body
 * that is too large do to a request.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "server/server_int.h"

struct door {
    struct kpi_http *http;
    struct kpi_http_stat stat;
    _Atomic bool draining;
    _Atomic int waiting, cancelled, closed;
    int pieces; /* of a stream */
};

static void nap(void)
{
    struct timespec wait = {.tv_nsec = 5 * KP_MS};
    nanosleep(&wait, NULL);
}

/* Waits up to ten seconds for *value to become wanted. */
static bool becomes(const _Atomic int *value, int wanted)
{
    for (int i = 0; i < 2000 && atomic_load(value) != wanted; i++)
        nap();
    return atomic_load(value) == wanted;
}

static bool stream_more(void *ctx, struct kp_buf *out, struct kpi_answer *answer)
{
    struct door *door = ctx;
    kp_buf_printf(out, "piece %d\n", door->pieces);
    if (door->pieces-- > 1)
        return true;
    kpi_answer_trailer(answer, "X-Kprobe-Rows", KP_STR("3\r\nX-Evil: 1"));
    return false;
}

static void stream_close(void *ctx)
{
    atomic_fetch_add(&((struct door *)ctx)->closed, 1);
}

/* /echo answers the body, /wait waits for its cancel flag, /stream sends three pieces. */
static void handle(void *ctx, const struct kpi_request *request, struct kpi_answer *answer)
{
    struct door *door = ctx;
    answer->type = "text/plain";
    if (strcmp(request->path, "/wait") == 0) {
        atomic_fetch_add(&door->waiting, 1);
        while (!atomic_load(request->cancel))
            nap();
        atomic_fetch_add(&door->cancelled, 1);
        kp_buf_text(&answer->body, "cancelled");
    } else if (strcmp(request->path, "/stream") == 0) {
        door->pieces = 3;
        answer->stream = (struct kpi_stream){stream_more, stream_close, door};
    } else {
        kp_buf_printf(&answer->body, "%s:", request->method);
        kp_buf_str(&answer->body, kpi_request_param(request, "p"));
        kp_buf_char(&answer->body, ':');
        kp_buf_str(&answer->body, request->body);
    }
}

static int setup(void **state)
{
    struct door *door = calloc(1, sizeof(*door));
    struct kpi_http_opts opts = {.name = "test",
                                 .listen = "127.0.0.1:0",
                                 .body_bytes_max = 1000,
                                 .handler = handle,
                                 .refuse = kpi_api_refuse,
                                 .ctx = door,
                                 .stat = &door->stat,
                                 .draining = &door->draining};
    *state = door;
    return kpi_http_start(&opts, &door->http, NULL) == KP_OK ? 0 : -1;
}

static int teardown(void **state)
{
    struct door *door = *state;
    kpi_http_stop(door->http, 0);
    free(door);
    return 0;
}

static int dial(const struct door *door, const char *text)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(kpi_http_port(door->http))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    return fd;
}

/* Sends a request that ends with "Connection: close" and gives the whole answer; the caller frees.
 */
static char *talk(const struct door *door, const char *text)
{
    struct kp_buf answer = {0};
    char piece[4096];
    ssize_t got;
    int fd = dial(door, text);
    while ((got = recv(fd, piece, sizeof(piece), 0)) > 0)
        kp_buf_add(&answer, piece, (size_t)got);
    close(fd);
    char *copy = strdup(kp_buf_cstr(&answer));
    kp_buf_deinit(&answer);
    return copy;
}

static void requests_are_answered(void **state)
{
    char *text =
        talk(*state, "POST /echo?p=a%20b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                     "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    assert_non_null(strstr(text, "200 OK"));
    assert_non_null(strstr(text, "POST:a b:abcde"));
    free(text);
}

static void streams_end_with_trailers(void **state)
{
    struct door *door = *state;
    char *text = talk(door, "GET /stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_non_null(strstr(text, "piece 3\n"));
    assert_non_null(strstr(text, "piece 2\n"));
    assert_non_null(strstr(text, "piece 1\n"));
    assert_non_null(strstr(text, "X-Kprobe-Rows: 3  X-Evil: 1\r\n")); /* no line of its own */
    assert_true(becomes(&door->closed, 1));
    free(text);
}

static void large_bodies_are_refused(void **state)
{
    struct door *door = *state;
    char request[4096], body[1200];
    memset(body, 'x', sizeof(body));
    snprintf(request, sizeof(request),
             "POST /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
             "Transfer-Encoding: chunked\r\n\r\n4b0\r\n%.*s\r\n0\r\n\r\n",
             (int)sizeof(body), body);
    char *text = talk(door, request);
    assert_non_null(strstr(text, " 413 "));
    free(text);
    text = talk(door, "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n"
                      "Expect: 100-continue\r\nConnection: close\r\n\r\n");
    assert_non_null(strstr(text, " 413 "));
    assert_null(strstr(text, "100 Continue"));
    free(text);
    assert_int_equal(atomic_load(&door->stat.bodies_now), 0);
    assert_int_equal(atomic_load(&door->stat.refused), 2);
}

static void a_client_that_leaves_is_noticed(void **state)
{
    struct door *door = *state;
    int fd = dial(door, "GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_true(becomes(&door->waiting, 1));
    close(fd);
    assert_true(becomes(&door->cancelled, 1));
    assert_int_equal(atomic_load(&door->stat.disconnects), 1);
}

static void a_stopping_server_refuses(void **state)
{
    struct door *door = *state;
    atomic_store(&door->draining, true);
    char *text = talk(door, "GET /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_non_null(strstr(text, " 503 "));
    assert_non_null(strstr(text, "Retry-After: 1"));
    assert_non_null(strstr(text, "stopping"));
    free(text);
}

static void a_stop_cancels_what_does_not_end(void **state)
{
    struct door *door = *state;
    int fd = dial(door, "GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_true(becomes(&door->waiting, 1));
    int64_t begin = kp_time_monotonic();
    kpi_http_stop(door->http, begin + 200 * KP_MS);
    int64_t took = kp_time_monotonic() - begin;
    door->http = NULL;
    close(fd);
    assert_int_equal(atomic_load(&door->cancelled), 1);
    assert_true(took >= 200 * KP_MS && took < 10 * KP_SEC);
}

static void names_that_are_not_ours_are_refused(void **state)
{
    static const struct {
        const char *host;
        bool good;
    } cases[] = {{"localhost", true},       {"LocalHost:80", true},
                 {"127.0.0.1:1", true},     {"[::1]:7433", true},
                 {"evil.example", false},   {"localhost.evil", false},
                 {"127.0.0.1.evil", false}, {"127.evil:80", false},
                 {"192.168.1.1", false},    {"", false}};
    for (size_t i = 0; i < KP_ARRAY_LEN(cases); i++) {
        char request[200];
        snprintf(request, sizeof(request),
                 "GET /echo HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", cases[i].host);
        char *text = talk(*state, request);
        assert_non_null(strstr(text, cases[i].good ? " 200 " : " 403 "));
        free(text);
    }
}

static void half_requests_do_no_harm(void **state)
{
    static const char *const halves[] = {
        "",
        "GET",
        "GET / HTTP/1.1\r\nHost",
        "\xff\xfe\x00\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nab"};
    for (size_t i = 0; i < KP_ARRAY_LEN(halves); i++)
        close(dial(*state, halves[i]));
    requests_are_answered(state);
}

int main(void)
{
#define DOOR_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        DOOR_TEST(requests_are_answered),
        DOOR_TEST(streams_end_with_trailers),
        DOOR_TEST(large_bodies_are_refused),
        DOOR_TEST(a_client_that_leaves_is_noticed),
        DOOR_TEST(a_stopping_server_refuses),
        DOOR_TEST(a_stop_cancels_what_does_not_end),
        DOOR_TEST(names_that_are_not_ours_are_refused),
        DOOR_TEST(half_requests_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
