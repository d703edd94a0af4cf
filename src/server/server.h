/* SPDX-License-Identifier: Apache-2.0
 *
 * The server of kpd: HTTP doors around a store. One listener each for the API (7433: /api/query,
 * /healthz, /readyz, /metrics, /version), for OTLP (4318: /v1/traces) and for queries (7434: text,
 * or InfluxDB's HTTP; docs/protocol.md). libmicrohttpd is touched in http.c only. A unix socket
 * `kpd.sock` in the data directory serves the API to kpq; a second one lies where kpq looks without
 * being told.
 */
#ifndef KP_SERVER_SERVER_H
#define KP_SERVER_SERVER_H

#include "ingest/ingest.h"
#include "query/query.h"
#include "storage/storage.h"

struct kp_server;

struct kp_server_opts {
    const char *dir;                    /* data directory */
    const char *listen;                 /* "127.0.0.1:7433"; NULL = the API on sockets only */
    const char *otlp_listen;            /* "127.0.0.1:4318"; NULL = no OTLP door */
    const char *query_listen;           /* "127.0.0.1:7434"; NULL = no query port */
    const char *otlp_auth, *query_auth; /* files of tokens; NULL = whoever reaches it is let in */
    const char *socket;   /* path of a unix socket of the API, mode 0660; NULL = none */
    bool socket_optional; /* that it cannot be had is only logged */
    struct kp_span_opts spans;
    struct kp_query_opts query;   /* limits of each query */
    struct kp_recorder *recorder; /* for /metrics; may be NULL */
};

kp_status kp_server_start(struct kp_store *store, const struct kp_server_opts *opts,
                          struct kp_server **out, struct kp_error *err) KP_MUST;
/* Call it about once a second: lets go of what was held in case of another query. */
void kp_server_tick(struct kp_server *server);
/* Refuses new requests with 503, waits for running ones (bounded by grace), frees. */
void kp_server_stop(struct kp_server *server, kp_dur grace);
enum kp_door { KP_DOOR_API, KP_DOOR_OTLP, KP_DOOR_QUERY };
/* Port actually bound, when the listen string asked for port 0; 0 = no such door. */
uint16_t kp_server_port(const struct kp_server *server, enum kp_door door);
/* The path of opts.socket while it is served, else NULL. */
const char *kp_server_socket(const struct kp_server *server);

#endif
