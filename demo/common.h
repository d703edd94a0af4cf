/* SPDX-License-Identifier: Apache-2.0
 *
 * What the demo's programs share: start-up, HTTP/1.1 over loopback, payments and spans.
 *
 *   common.c        options, clocks, threads, the CPU work of a payment
 *   common_http.c   one request and one answer a connection, with a time limit
 *   common_otlp.c   spans of the process, exported as OTLP/JSON by a thread of its own
 *
 * The programs are meant to look like services a payments company runs: they know nothing of
 * kprobe and use libc only.
 */
#ifndef KP_DEMO_COMMON_H
#define KP_DEMO_COMMON_H

#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>

#define KPI_MS            INT64_C(1000000)
#define KPI_HEAD_MAX      1024
#define KPI_BODY_MAX      512
#define KPI_WORKERS       4
#define KPI_LINKS_PER_LEG UINT64_C(5000000) /* about 8 ms on a 3 GHz core */

/* One payment as it travels between the services, in headers of each request. */
struct kpi_payment {
    char txn[32];
    char trace_id[33];  /* W3C trace context, 32 hex digits */
    char parent_id[17]; /* span that made the call, 16 hex digits */
    char currency[4];
    int64_t amount;  /* minor units: paise, cents */
    int64_t legs;    /* ledger entries the settlement makes */
    int64_t hold_ms; /* time settlement-svc sleeps before it starts; 0 = none */
    int64_t hash;    /* of the account's book up to this ledger entry */
};

struct kpi_options {
    const char *service; /* service.name and the name of the threads */
    const char *file;    /* --file: the ledger's file */
    const char *policy;  /* --policy: fifo, nice or other */
    int64_t otlp_port;   /* --otlp: 0 = do not export */
    int64_t next_port;   /* --next: the service to call */
    int64_t limit_ms;    /* --limit-ms: how long to wait for it */
    int64_t cpu;         /* --cpu: pin the whole process; -1 = do not */
    int64_t duty;        /* --duty: percent of the time that `load` burns */
};

/* --- common.c --- */

/* Parses the options (exits 2 with a message on a wrong one), names and pins the process, blocks
 * the signals that end it. Call before any thread is made. */
void kpi_start(struct kpi_options *options, const char *service, int argc, char **argv);
/* Waits for SIGTERM. */
void kpi_wait_stop(void);
/* Lets SIGTERM end the process at once: for programs with nothing to put in order. */
void kpi_unblock_stop(void);
/* Prints `service: message: errno text` and exits 1. */
_Noreturn void kpi_die(const char *what);
/* Starts a detached thread called name. Exits the process when that fails. */
void kpi_thread(const char *name, void *(*run)(void *), void *arg);
int64_t kpi_now_mono(void);
int64_t kpi_now_real(void);
/* Hashes `links` links of a chain over the account book: the honest CPU work of a payment. */
uint64_t kpi_work(uint64_t links, uint64_t seed);
/* Fills out with `digits` random hex digits and a NUL; never all zero. */
void kpi_random_hex(char *out, size_t digits);

/* --- common_http.c --- */

struct kpi_msg {
    char head[KPI_HEAD_MAX]; /* start line and headers, NUL-terminated */
    char body[KPI_BODY_MAX]; /* NUL-terminated */
};

/* Listens on 127.0.0.1 at a free port, prints "ready PORT" and serves each request with handle on
 * one of KPI_WORKERS threads: handle returns the status code and fills answer (KPI_BODY_MAX). */
typedef int (*kpi_handle_fn)(const struct kpi_payment *payment, const struct kpi_msg *request,
                             char *answer);
void kpi_serve(const char *service, kpi_handle_fn handle);
/* Sends the payment to a service and reads its answer. limit_ms < 0 = wait for ever. Returns the
 * HTTP status, or -errno (-ETIMEDOUT when the limit passed). */
int kpi_call(int64_t port, const char *path, const struct kpi_payment *payment, int64_t limit_ms,
             struct kpi_msg *out);
/* Posts a JSON document; returns the HTTP status or -errno. */
int kpi_post_json(int64_t port, const char *path, const char *json, size_t size, int64_t limit_ms);

/* --- common_otlp.c --- */

enum kpi_kind { KPI_INTERNAL = 1, KPI_SERVER = 2, KPI_CLIENT = 3 }; /* OTLP SpanKind */

struct kpi_span {
    struct kpi_payment payment; /* parent_id is the parent of this span */
    char id[17];
    char name[32];
    enum kpi_kind kind;
    int64_t start, end; /* ns since the epoch */
    int64_t tid;
    const char *state; /* initiated, authorised, settled, failed, limbo: static text */
    bool failed;
    char message[96]; /* why, when failed */
};

/* Starts the exporting thread; without a port the spans are only counted. */
void kpi_export_start(const struct kpi_options *options);
/* Sends what is left, for at most two seconds, and reports what could not be sent. */
void kpi_export_stop(void);
/* Begins a span of the calling thread. *out_inner is the payment to pass on to what the span calls.
 */
void kpi_span_begin(struct kpi_span *span, const struct kpi_payment *payment, const char *name,
                    enum kpi_kind kind, struct kpi_payment *out_inner);
/* Ends it and hands it to the exporter. failure: NULL = it went well, else why not. */
void kpi_span_end(struct kpi_span *span, const char *state, const char *failure);

#endif
