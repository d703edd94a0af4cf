/* SPDX-License-Identifier: Apache-2.0
 *
 * Listening sockets: "ADDR:PORT" of the loopback, or a socket in the file system. Anything wider
 * than the loopback is refused: this version has no TLS; a proxy in front brings it.
 */
#include "server/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 128

static bool parse_port(const char *text, uint16_t *out)
{
    char *end = NULL;
    unsigned long value = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || value > 65535)
        return false;
    *out = (uint16_t)value;
    return true;
}

static bool parse_v4(const char *host, uint16_t port, struct sockaddr_storage *out, socklen_t *size)
{
    struct sockaddr_in *in = (void *)out;
    if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &in->sin_addr) != 1)
        return false;
    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    *size = sizeof(*in);
    return true;
}

static bool parse_v6(const char *host, uint16_t port, struct sockaddr_storage *out, socklen_t *size)
{
    struct sockaddr_in6 *in = (void *)out;
    char bare[64];
    size_t length = strlen(host);
    if (length < 3 || length - 2 >= sizeof(bare) || host[0] != '[' || host[length - 1] != ']')
        return false;
    memcpy(bare, host + 1, length - 2);
    bare[length - 2] = '\0';
    if (inet_pton(AF_INET6, bare, &in->sin6_addr) != 1)
        return false;
    in->sin6_family = AF_INET6;
    in->sin6_port = htons(port);
    *size = sizeof(*in);
    return true;
}

static bool is_loopback(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    const struct sockaddr_in6 *in6 = (const void *)address;
    return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

static kp_status parse_address(const char *text, struct sockaddr_storage *out, socklen_t *out_size,
                               struct kp_error *err)
{
    char host[64];
    uint16_t port = 0;
    const char *colon = strrchr(text, ':');
    memset(out, 0, sizeof(*out));
    bool good = colon != NULL && colon > text && (size_t)(colon - text) < sizeof(host) &&
                parse_port(colon + 1, &port);
    if (good) {
        memcpy(host, text, (size_t)(colon - text));
        host[colon - text] = '\0';
        good = parse_v4(host, port, out, out_size) || parse_v6(host, port, out, out_size);
    }
    if (!good) {
        kp_error_set(err, KP_USAGE, "'%s' is not an address to listen on", text);
        kp_error_hint(err, "ADDR:PORT, as 127.0.0.1:7433 or [::1]:7433");
        return KP_USAGE;
    }
    if (!is_loopback(out)) {
        kp_error_set(err, KP_USAGE, "'%s' is not a loopback address", text);
        kp_error_hint(err, "this version has no TLS and no tokens; put a proxy that has in front");
        return KP_USAGE;
    }
    return KP_OK;
}

kp_status kpi_listen_tcp(const char *text, int *out_fd, uint16_t *out_port, struct kp_error *err)
{
    struct sockaddr_storage address;
    socklen_t size = 0;
    int one = 1;
    kp_status status = parse_address(text, &address, &size, err);
    if (status != KP_OK)
        return status;
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return kp_error_os(err, KP_CONNECT, errno, "cannot make a socket for %s", text);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&address, size) != 0 || listen(fd, BACKLOG) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        kp_error_os(err, KP_CONNECT, errno, "cannot listen on %s", text);
        kp_error_hint(err,
                      "is another kpd running? --listen, --otlp-listen and --query-listen choose "
                      "other ports");
        close(fd);
        return KP_CONNECT;
    }
    *out_port = ntohs(address.ss_family == AF_INET ? ((struct sockaddr_in *)&address)->sin_port
                                                   : ((struct sockaddr_in6 *)&address)->sin6_port);
    *out_fd = fd;
    return KP_OK;
}

/* Whether a socket is in the way that nobody listens at. A file is refused in the same words. */
static bool is_stale(const struct sockaddr_un *address)
{
    struct stat info;
    if (stat(address->sun_path, &info) != 0 || !S_ISSOCK(info.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool refused = fd >= 0 &&
                   connect(fd, (const struct sockaddr *)address, sizeof(*address)) != 0 &&
                   errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    return refused;
}

/* Binds through /proc/self/fd, because a socket's path may have 107 bytes only and ours may be
 * deep. The directory is locked from the look at the name to listen: of two servers that find a
 * stale socket at once, the second must see the first one's. Returns errno. */
static int bind_in(int dir_fd, const char *name, mode_t mode, int fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length =
        snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", dir_fd, name);
    if (length < 0 || (size_t)length >= sizeof(address.sun_path))
        return ENAMETOOLONG;
    while (flock(dir_fd, LOCK_EX) != 0)
        if (errno != EINTR)
            return errno;
    if (is_stale(&address))
        unlinkat(dir_fd, name, 0);
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        fchmodat(dir_fd, name, mode, 0) != 0 || listen(fd, BACKLOG) != 0)
        return errno;
    return 0;
}

kp_status kpi_listen_unix(const char *path, mode_t mode, int *out_fd, struct kp_error *err)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int length = snprintf(dir, sizeof(dir), "%.*s", slash != NULL ? (int)(slash - path) + 1 : 1,
                          slash != NULL ? path : ".");
    if (length < 0 || (size_t)length >= sizeof(dir))
        return kp_error_set(err, KP_USAGE, "the path of the socket is too long");
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0)
        return kp_error_os(err, kp_status_from_errno(errno), errno, "cannot open '%s'", dir);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int failed = fd < 0 ? errno : bind_in(dir_fd, slash != NULL ? slash + 1 : path, mode, fd);
    close(dir_fd); /* ends the lock */
    if (failed != 0) {
        if (fd >= 0)
            close(fd);
        kp_error_os(err, KP_CONNECT, failed, "cannot listen on %s", path);
        if (failed == EADDRINUSE)
            kp_error_hint(err, "another kpd answers there, or it is no socket");
        return KP_CONNECT;
    }
    *out_fd = fd;
    return KP_OK;
}
