/* SPDX-License-Identifier: Apache-2.0
 *
 * The places in the order in which they are tried. A place counts when a connection is made: a
 * socket that a dead kpd left behind does not.
 */
#include "meeting.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"

#define MACHINE_DIR    "/run/kprobe"
#define MACHINE_SOCKET MACHINE_DIR "/kpd.sock"
#define PORT           7433 /* the default of --listen */
#define PATIENCE_MS    500  /* with this machine's own port */

/* This user's own place; false = none. */
static bool user_socket(char out[KPI_MEETING_MAX])
{
    const char *dir = getenv("XDG_RUNTIME_DIR");
    if (dir == NULL || dir[0] != '/')
        return false;
    int length = snprintf(out, KPI_MEETING_MAX, "%s/kprobe.sock", dir);
    return length > 0 && length < KPI_MEETING_MAX;
}

void kpi_meeting_serve(char out[KPI_MEETING_MAX])
{
    if (user_socket(out))
        return;
    mkdir(MACHINE_DIR, 0755); /* if it cannot be made, the socket's own error says so */
    snprintf(out, KPI_MEETING_MAX, "%s", MACHINE_SOCKET);
}

/* What became of a connection that was begun. */
static int await_connect(int fd)
{
    struct pollfd out = {.fd = fd, .events = POLLOUT};
    int failed = 0;
    socklen_t size = sizeof(failed);
    if (poll(&out, 1, PATIENCE_MS) != 1)
        return ETIMEDOUT;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &size) == 0 ? failed : errno;
}

/* 0 = somebody listens there, else errno. One whose queue is full (EAGAIN) is there too. */
static int try_connect(const void *address, socklen_t size, int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int failed = fd < 0 || connect(fd, address, size) != 0 ? errno : 0;
    if (failed == EINPROGRESS)
        failed = await_connect(fd);
    if (fd >= 0)
        close(fd);
    return failed == EAGAIN ? 0 : failed;
}

static int try_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path));
    return try_connect(&address, sizeof(address), AF_UNIX);
}

static int try_port(void)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return try_connect(&address, sizeof(address), AF_INET);
}

kp_status kpi_meeting_find(char out[KPI_MEETING_MAX], struct kp_error *err)
{
    char user[KPI_MEETING_MAX], tried[KP_ERROR_TEXT_MAX] = "";
    const char *places[] = {user_socket(user) ? user : NULL, MACHINE_SOCKET, NULL};
    size_t used = 0;
    for (size_t i = 0; i < KP_ARRAY_LEN(places); i++) {
        bool port = i + 1 == KP_ARRAY_LEN(places);
        if (!port && places[i] == NULL)
            continue;
        char target[KPI_MEETING_MAX];
        if (port)
            snprintf(target, sizeof(target), "http://127.0.0.1:%d", PORT);
        else
            snprintf(target, sizeof(target), "unix:%.500s", places[i]);
        int failed = port ? try_port() : try_socket(places[i]);
        if (failed == 0) {
            snprintf(out, KPI_MEETING_MAX, "%s", target);
            return KP_OK;
        }
        used = KP_MIN(used, sizeof(tried) - 1);
        used += (size_t)snprintf(tried + used, sizeof(tried) - used, "%s%s (%s)",
                                 used > 0 ? ", " : "", target, strerror(failed));
    }
    kp_error_set(err, KP_CONNECT, "no kpd answers here: tried %.400s", tried);
    kp_error_hint(err,
                  "kpq DIR reads a recording, sudo kpq record --data DIR makes one, kpq URL asks "
                  "another server; see kpq --help");
    return KP_CONNECT;
}
