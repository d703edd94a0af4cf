/* SPDX-License-Identifier: Apache-2.0
 *
 * Listening sockets of the server.
 */
#ifndef KP_SERVER_LISTEN_H
#define KP_SERVER_LISTEN_H

#include "base/status.h"

/* text "127.0.0.1:7433" or "[::1]:0". USAGE: not an address, not the loopback; CONNECT: taken. */
kp_status kpi_listen_tcp(const char *text, int *out_fd, uint16_t *out_port,
                         struct kp_error *err) KP_MUST;
/* dir/kpd.sock, mode 0600; one left behind by a dead server is replaced. */
kp_status kpi_listen_unix(const char *dir, int *out_fd, struct kp_error *err) KP_MUST;

#endif
