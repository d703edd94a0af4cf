/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes to the query port of a whole server, over a socket: first bytes, text sessions, HTTP,
 * InfluxQL, line protocol and gzip together, with the threads they have. What comes back is HTTP,
 * or text that ends as answers do.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "server/server.h"
#include "server/text.h"

#define MOST_BYTES 8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct kp_store *store;
static struct kp_server *server;
static char dir[] = "/tmp/kp_fuzz_port_XXXXXX";

static void stop(void)
{
    char command[sizeof(dir) + 16];
    kp_server_stop(server, KP_SEC);
    kp_status closed = kp_store_close(store, NULL);
    kp_assert(closed == KP_OK);
    snprintf(command, sizeof(command), "rm -r %s", dir);
    int removed = system(command);
    kp_assert(removed == 0);
}

static void start(void)
{
    struct kp_error err = {0};
    char *made = mkdtemp(dir);
    kp_assert(made != NULL);
    struct kp_store_opts store_opts = {.memory_bytes_max = 8 << 20, .wal_file_bytes = 1 << 20};
    kp_status status = kp_store_open(dir, &store_opts, &store, &err);
    kp_assert(status == KP_OK);
    struct kp_server_opts opts = {
        .dir = dir,
        .query_listen = "127.0.0.1:0",
        .spans.body_bytes_max = 1 << 20,
        .query = {.memory_bytes_max = 16 << 20, .timeout = 50 * KP_MS, .threads = 1}};
    status = kp_server_start(store, &opts, &server, &err);
    kp_assert(status == KP_OK);
    atexit(stop);
}

static int dial(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(kp_server_port(server, KP_DOOR_QUERY)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int failed = fd < 0 ? -1 : connect(fd, (struct sockaddr *)&address, sizeof(address));
    kp_assert(failed == 0);
    return fd;
}

/* Everything up to the end of the connection. */
static void hear(int fd, struct kp_buf *out)
{
    for (;;) {
        void *at = kp_buf_reserve(out, 65536);
        ssize_t got = at != NULL ? recv(fd, at, 65536, 0) : -1;
        if (got <= 0)
            return;
        out->size += (size_t)got;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kp_buf answer = {0};
    if (size == 0 || size > MOST_BYTES)
        return 0;
    if (server == NULL)
        start();
    int fd = dial();
    ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
    if (sent == (ssize_t)size)
        shutdown(fd, SHUT_WR);
    hear(fd, &answer);
    close(fd);
    struct kp_str begin = {(const char *)data, (uint32_t)KP_MIN(size, KPI_SNIFF_BYTES)};
    bool http = kpi_sniff(begin) == KPI_SNIFF_HTTP;
    if (answer.size > 0 && http)
        kp_assert(answer.size > 7 && memcmp(answer.data, "HTTP/1.", 7) == 0);
    if (answer.size > 0 && !http)
        kp_assert(answer.size > 1 && memcmp(answer.data + answer.size - 2, "\n\n", 2) == 0);
    kp_buf_deinit(&answer);
    return 0;
}
