/* SPDX-License-Identifier: Apache-2.0
 *
 * The query port: one listener; the first bytes of a connection decide whether it speaks HTTP
 * (influx.c) or the text protocol (session.c).
 *
 * One thread, the porter, accepts, tells the two apart and reads what text clients send; a thread
 * that answers is given to a text client while it has lines. So a .cancel, or a client that leaves,
 * is seen while its query runs, and a thousand clients that say nothing cost nothing.
 */
#ifndef KP_SERVER_PORT_H
#define KP_SERVER_PORT_H

#include "render/render.h"
#include "server/server_int.h"

#define KPI_TEXT_CLIENTS_MAX 2000           /* and connections that have said nothing yet */
#define KPI_TEXT_BUSY_MAX    64             /* answered at once; more wait their turn */
#define KPI_TEXT_IDLE        (300 * KP_SEC) /* without a line */
#define KPI_TEXT_STALL       (30 * KP_SEC)  /* a reader that takes nothing */

struct kpi_port_opts {
    struct kp_server *server;
    const char *listen;
    struct kpi_http *http; /* takes the connections that speak HTTP; not owned */
    kp_dur idle, stall;    /* 0 = the above */
};

kp_status kpi_port_start(const struct kpi_port_opts *opts, struct kpi_port **out,
                         struct kp_error *err) KP_MUST;
uint16_t kpi_port_number(const struct kpi_port *port);
/* Accepts nothing more, lets running queries end until `deadline` (monotonic), closes all. */
void kpi_port_stop(struct kpi_port *port, int64_t deadline);

/* --- port.c and session.c --- */

/* A connection; once it is sorted, a text client. Fields of the first group belong to the porter,
 * of the second to the client's thread while it has one, of the third to `lock`. */
struct kpi_session {
    struct kpi_session *next, **link, *next_waiting;
    bool sorted, waiting, working; /* a text client; waits for a thread; has one */
    int64_t since;                 /* it was heard of, or its thread ended */
    pthread_t thread;
    struct kpi_port *port;
    const struct kpi_port_opts *opts;
    int fd;

    enum kp_format format;
    kp_dur timeout;
    struct kp_buf statement;
    bool let_in; /* no token is asked for, or the right one was given */

    pthread_mutex_t lock;
    struct kp_buf in; /* read; its first `taken` bytes were taken */
    size_t taken;
    uint64_t in_at;         /* position of in's first byte in all that came */
    uint64_t scanned;       /* position up to which .cancel was looked for */
    uint64_t cancel_to;     /* queries that began before this position are cancelled */
    uint64_t query_at;      /* of the running query */
    bool running, answered; /* a query runs; its first byte is out */
    bool eof;               /* the client sends nothing more */
    bool gone, stop;        /* the client takes nothing more; the server ends */
    bool full;              /* not read until there is room */
    bool done;              /* the session is over */
    struct kpi_session *next_told;
    int64_t alive_at; /* last sign of life sent while a query ran */
    _Atomic bool cancel;
};

/* The thread of a session: answers what lines there are and ends. */
void *kpi_text_serve(void *session);
/* Under the lock: there is something for a thread to do. */
bool kpi_text_ready(const struct kpi_session *session);
/* Under the lock: input was taken. */
void kpi_port_room(struct kpi_session *session);
/* The thread of the session ends; the session is the porter's again. */
void kpi_port_tell(struct kpi_session *session);
/* Sends what the socket takes at once; false when the client is gone. */
bool kpi_text_send_now(struct kpi_session *session, struct kp_str text);

#endif
