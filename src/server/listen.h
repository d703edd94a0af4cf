/* SPDX-License-Identifier: Apache-2.0
 *
 * Listening sockets of the server.
 */
#ifndef KP_SERVER_LISTEN_H
#define KP_SERVER_LISTEN_H

#include <sys/types.h>

#include "base/status.h"

/* text "127.0.0.1:7433" or "[::1]:0". USAGE: not an address, not the loopback; CONNECT: taken. */
kp_status kpi_listen_tcp(const char *text, int *out_fd, uint16_t *out_port,
                         struct kp_error *err) KP_MUST;
/* A socket at path with this mode; one that nobody listens at is replaced. CONNECT: somebody does,
 * or something else is in its place. */
kp_status kpi_listen_unix(const char *path, mode_t mode, int *out_fd, struct kp_error *err) KP_MUST;

#endif
