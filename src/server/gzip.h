/* SPDX-License-Identifier: Apache-2.0
 *
 * gzip of bodies: those of requests, bounded, and those of answers, also in pieces.
 */
#ifndef KP_SERVER_GZIP_H
#define KP_SERVER_GZIP_H

#include "server/server_int.h"

/* Inflates a gzip body into out, at most `most` bytes: LIMIT beyond, INVALID for broken data. */
kp_status kpi_gunzip(struct kp_str body, size_t most, struct kp_buf *out,
                     struct kp_error *err) KP_MUST;
/* The body of a request, inflated into `plain` when it was gzip. BUSY: all bodies together are too
 * large. plain is to be ended in any case. */
kp_status kpi_request_plain(struct kp_server *server, const struct kpi_request *request,
                            struct kp_buf *plain, struct kp_str *out, struct kp_error *err) KP_MUST;
void kpi_request_plain_end(struct kp_server *server, struct kp_buf *plain);

/* Whether an Accept-Encoding header takes gzip. */
bool kpi_gzip_accepted(struct kp_str header);
struct kpi_gzip;
/* NULL without memory. */
struct kpi_gzip *kpi_gzip_open(void);
/* Adds what a piece becomes, so that the reader can inflate all of it at once. False without
 * memory. */
bool kpi_gzip_add(struct kpi_gzip *gzip, struct kp_str piece, bool last, struct kp_buf *out);
/* NULL is taken. */
void kpi_gzip_close(struct kpi_gzip *gzip);

#endif
