/* SPDX-License-Identifier: Apache-2.0
 *
 * The HTTP side of kpq: one statement to a kpd, its answer streamed to a sink. The only libcurl
 * user.
 */
#ifndef KP_TOOLS_CLIENT_H
#define KP_TOOLS_CLIENT_H

#include "session.h"

struct kpi_ask {
    const char *url; /* http://HOST:PORT or unix:PATH of a kpd.sock */
    struct kp_str query;
    enum kp_format format;
    struct kp_term term;
    kp_dur timeout;  /* the server's for the query; 0 = none */
    kp_dur since;    /* see struct kpi_session */
    kp_dur patience; /* ours with the server, at least 1 ms; 0 = endless */
    bool quiet;      /* no remarks */
    const _Atomic bool *cancel;
    struct kpi_watch *watch; /* ended before a remark is shown */
    kp_write_fn write;
    void *ctx;
};

/* Asks and waits. CONNECT: nobody there. Errors of the query come back with their place and hint.
 */
kp_status kpi_client_query(const struct kpi_ask *ask, struct kpi_outcome *out,
                           struct kp_error *err) KP_MUST;

struct kpi_param {
    const char *name;
    struct kp_str value;
};

/* POSTs a form to a path ("/api/hold") of the server at url; the body of the answer goes to out. */
kp_status kpi_client_post(const char *url, const char *path, const struct kpi_param *params,
                          uint32_t count, struct kp_buf *out, struct kp_error *err) KP_MUST;

#endif
