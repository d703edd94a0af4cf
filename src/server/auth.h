/* SPDX-License-Identifier: Apache-2.0
 *
 * Who may ask at a door: tokens and user:password pairs of a file. Without TLS both go over the
 * wire as they are: a proxy in front brings it.
 */
#ifndef KP_SERVER_AUTH_H
#define KP_SERVER_AUTH_H

#include "server/server_int.h"

#define KPI_AUTH_MAX       64  /* lines of a file */
#define KPI_AUTH_BYTES_MAX 512 /* of one */

struct kpi_auth;

/* Reads the file: a token or user:password a line, # begins a remark. DENIED when others may read
 * it, INVALID for what is no such file. path NULL: *out is NULL, which lets everyone in. */
kp_status kpi_auth_open(const char *path, struct kpi_auth **out, struct kp_error *err) KP_MUST;
void kpi_auth_close(struct kpi_auth *auth);

enum kpi_auth_result { KPI_AUTH_GOOD, KPI_AUTH_MISSING, KPI_AUTH_WRONG };
/* "TOKEN", "USER:PASSWORD", or a password that is a token behind any user. Takes as long whatever
 * is wrong. */
enum kpi_auth_result kpi_auth_secret(const struct kpi_auth *auth, struct kp_str secret);
/* Authorization: Basic, Bearer or Token; or InfluxDB's u and p, in the URL or a form. */
enum kpi_auth_result kpi_auth_request(const struct kpi_auth *auth,
                                      const struct kpi_request *request);

#endif
