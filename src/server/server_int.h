/* SPDX-License-Identifier: Apache-2.0
 *
 * What the doors share: a request as the handlers see it, an answer as they give it, and the
 * counters of the whole server. Handlers know nothing of the HTTP library; http.c knows nothing of
 * kprobe.
 */
#ifndef KP_SERVER_SERVER_INT_H
#define KP_SERVER_SERVER_INT_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "server/recent.h"
#include "server/server.h"

/* --- limits --- */
#define KPI_HEADER_BYTES_MAX    (64 * 1024)          /* of one request; more is 431 */
#define KPI_CONNECTIONS_MAX     64                   /* of one listener */
#define KPI_INFLUX_CLIENTS_MAX  1200                 /* HTTP connections of the query port */
#define KPI_QUERIES_MAX         96                   /* at once, of all doors; more wait */
#define KPI_QUERY_PATIENCE      (10 * KP_SEC)        /* that long; then 503 */
#define KPI_IDLE_SECONDS        30                   /* without a byte moving */
#define KPI_BODY_BYTES_DEFAULT  (64u * 1024 * 1024)  /* OTLP, also after inflation; more is 413 */
#define KPI_QUERY_BYTES_MAX     (1024u * 1024)       /* body of /api/query */
#define KPI_BODIES_BYTES_MAX    (256u * 1024 * 1024) /* of all requests together; more is 503 */
#define KPI_RETRY_AFTER_SECONDS "1"

struct kpi_request {
    const char *method;
    const char *path;
    struct kp_str body;
    void *connection;     /* of http.c, for the look-ups below */
    _Atomic bool *cancel; /* becomes true when the client is gone or the server must end */
};

/* A header or a parameter of the URL; {NULL,0} when it is not there. Valid during the request. */
struct kp_str kpi_request_header(const struct kpi_request *request, const char *name);
struct kp_str kpi_request_param(const struct kpi_request *request, const char *name);

struct kpi_answer;
/* Body in pieces: appends to out (which is empty) and returns true, or false after the last piece.
 * Trailers may be added until it returned false. broken: the answer must not look complete. */
struct kpi_stream {
    bool (*more)(void *ctx, struct kp_buf *out, struct kpi_answer *answer);
    void (*close)(void *ctx);
    void *ctx;
};

#define KPI_HEADS_MAX 8
struct kpi_answer {
    unsigned status;    /* HTTP */
    const char *type;   /* MIME */
    bool retry;         /* Retry-After goes with it */
    bool gzip;          /* may be sent as gzip to who takes that */
    const char *allow;  /* for 405, else NULL */
    struct kp_buf body; /* the whole body, when stream.more is NULL */
    struct kpi_stream stream;
    void *response; /* of http.c while streaming, for trailers */
    struct {
        const char *name;
        char value[1024];
    } heads[KPI_HEADS_MAX]; /* further headers; the first without a name ends them */
};

/* Adds a header; one more than KPI_HEADS_MAX is left out. */
void kpi_answer_header(struct kpi_answer *answer, const char *name, const char *value);

/* Adds X-Kprobe-... to the trailers of a streaming answer. */
void kpi_answer_trailer(struct kpi_answer *answer, const char *name, struct kp_str value);
/* Makes the body {"error":{...}} and the status that fits. */
void kpi_answer_error(struct kpi_answer *answer, const struct kp_error *err);
/* Parameter `name` of the URL or of a form in the body into out; false when it is not there. */
bool kpi_request_field(const struct kpi_request *request, const char *name, struct kp_buf *out);

typedef void (*kpi_handler)(void *ctx, const struct kpi_request *request,
                            struct kpi_answer *answer);

/* --- http.c: one listener --- */

struct kpi_http;
struct kpi_http_stat {
    _Atomic uint64_t requests, refused, body_bytes, disconnects;
    _Atomic uint64_t denied;     /* requests and sessions without the right token */
    _Atomic uint64_t bodies_now; /* bytes of request bodies in memory, over all listeners */
};

struct kpi_http_opts {
    const char *name;      /* in logs: "api", "otlp" */
    const char *listen;    /* ADDR:PORT, or */
    const char *unix_path; /* a unix socket, or neither: connections come by kpi_http_add */
    mode_t unix_mode;
    size_t body_bytes_max;
    unsigned connections; /* at once; 0 = KPI_CONNECTIONS_MAX */
    kpi_handler handler;
    void (*refuse)(const struct kpi_request *request, struct kpi_answer *answer,
                   const struct kp_error *err); /* its error shape */
    void *ctx;
    struct kpi_http_stat *stat;
    const _Atomic bool *draining;
};

kp_status kpi_http_start(const struct kpi_http_opts *opts, struct kpi_http **out,
                         struct kp_error *err) KP_MUST;
uint16_t kpi_http_port(const struct kpi_http *http);
/* Serves a connection that somebody else accepted; owns fd from now on. */
void kpi_http_add(struct kpi_http *http, int fd);
/* Stops accepting, waits until `deadline` (monotonic) for running requests, cancels what is left.
 */
void kpi_http_stop(struct kpi_http *http, int64_t deadline);

/* --- the query port --- */

struct kpi_port;
struct kpi_port_stat {
    _Atomic uint64_t clients_now, clients, refused, queries, cancelled, slow;
};

/* --- the handlers --- */

struct kp_server {
    struct kp_store *store;
    struct kp_server_opts opts;
    char local_path[PATH_MAX];
    struct kpi_http *api, *local, *shared, *otlp, *influx;
    struct kpi_port *port;
    struct kpi_auth *otlp_auth, *query_auth;
    struct kpi_port_stat port_stat;
    struct kpi_recent recent;
    pthread_mutex_t run_lock;
    pthread_cond_t run_ended;
    uint32_t runs; /* queries now, under run_lock */
    struct kpi_http_stat http;
    _Atomic bool draining;
    int64_t started;
    _Atomic uint64_t queries, query_errors, query_rows;
    _Atomic uint64_t otlp_spans, otlp_rejected, otlp_errors;
};

void kpi_api_refuse(const struct kpi_request *request, struct kpi_answer *answer,
                    const struct kp_error *err);
void kpi_api_handle(void *ctx, const struct kpi_request *request, struct kpi_answer *answer);
/* The HTTP half of the query port: InfluxDB's API. */
void kpi_influx_handle(void *ctx, const struct kpi_request *request, struct kpi_answer *answer);
/* The error as {"error":"..."}, or as the second generation of the API has it. */
void kpi_influx_error(const struct kpi_request *request, struct kpi_answer *answer,
                      const struct kp_error *err);
/* The API and POST /api/hold: for the socket in the data directory only. */
void kpi_local_handle(void *ctx, const struct kpi_request *request, struct kpi_answer *answer);
void kpi_otlp_handle(void *ctx, const struct kpi_request *request, struct kpi_answer *answer);
/* The error as google.rpc.Status, in the encoding of the request. */
void kpi_otlp_error(const struct kpi_request *request, struct kpi_answer *answer,
                    const struct kp_error *err);
/* The Prometheus text of this server. */
void kpi_metrics_text(struct kp_server *server, struct kp_buf *out);
#endif
