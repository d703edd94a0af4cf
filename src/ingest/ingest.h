/* SPDX-License-Identifier: Apache-2.0
 *
 * Ingest: every way in ends in kp_store_append.
 *
 *   live kernel  source_ring.c -> order.c (merge by time) -> decode.c (raw record -> row; threads.c
 *                and cgroups.c give it an actor) -> builders -> kp_store_append     feed.c
 *   spans        otlp_json.c, otlp_proto.c, span_lines.c -> spans.c (transaction id, binding to a
 *                thread) -> kp_store_append
 *
 * Files in reading order: ingest.h source.h source_queue.c source_drain.c source_ring.c order.c
 * proc.c cgroups.c threads.c decode.c rows.c clock.c kinds.c recorder.c feed.c house.c spans.h
 * spans.c utf8.h otlp_json.c otlp_proto.c span_lines.c import.c. (source_none.c stands in for
 * source_ring.c in a build without capture.)
 */
#ifndef KP_INGEST_INGEST_H
#define KP_INGEST_INGEST_H

#include "column/batch.h"
#include "storage/storage.h"

/* Name of this machine in every actor of ours: its host name when the process began. Any thread. */
const char *kp_host_name(void);

/* --- recording the kernel of this machine --- */

struct kp_recorder;

#define KP_SYSCALL_MIN_DEFAULT (10 * KP_US)
#define KP_LOCK_MIN_DEFAULT    (20 * KP_US)
#define KP_IRQ_MIN_DEFAULT     (20 * KP_US)

struct kp_recorder_opts {
    uint64_t kinds;     /* bit n = stream number n on; 0 = catalogue defaults */
    kp_dur syscall_min; /* shorter calls are counted only; < 0 = default */
    kp_dur lock_min;
    kp_dur irq_min;
    uint32_t ring_bytes; /* of all rings together; 0 = 32 MiB */
    kp_dur drain_every;  /* 0 = 5 ms */
    bool no_realtime;    /* drain without SCHED_FIFO */
};

/* What each kind is doing, for people and /metrics. */
struct kp_kind_state {
    const struct kp_stream *stream;
    bool on;
    char why[128]; /* the program attached, or why it is not there */
};

struct kp_recorder_stat {
    uint64_t records, rows, lost, rejected, bytes;
    uint64_t lag_ns; /* age of the newest record when it was drained */
    uint64_t drains, budget_overruns;
    kp_dur drain_cpu;
};

/* Parses "sched,syscall,-lock" style lists of stream names and groups (sched = sched_switch,
 * sched_waking, task, cgroup; all; default) into a mask; errors name the word. */
kp_status kp_kinds_parse(struct kp_str text, uint64_t *out_mask, struct kp_error *err) KP_MUST;

/* Probes, loads and attaches; DENIED (no privileges) and UNSUPPORTED (no BTF, no ring buffer) say
 * what is missing and how to get it. Rows flow into store from a thread of the recorder until stop.
 */
kp_status kp_recorder_start(struct kp_store *store, const struct kp_recorder_opts *opts,
                            struct kp_recorder **out, struct kp_error *err) KP_MUST;
/* Detaches, drains what is left, appends it, frees. Fills *out_stat when not NULL. */
kp_status kp_recorder_stop(struct kp_recorder *recorder, struct kp_recorder_stat *out_stat,
                           struct kp_error *err) KP_MUST;
void kp_recorder_stat(struct kp_recorder *recorder, struct kp_recorder_stat *out);
uint32_t kp_recorder_kinds(struct kp_recorder *recorder, const struct kp_kind_state **out);
/* First failure since start, or OK: the recorder goes on as far as it can. */
kp_status kp_recorder_health(struct kp_recorder *recorder, struct kp_error *err);

/* --- spans --- */

struct kp_span_opts {
    const char *const
        *txn_keys;           /* attribute names that carry the transaction id, first match wins */
    uint32_t txn_keys_count; /* 0 = txn.id, transaction.id, payment.id */
    size_t body_bytes_max;   /* 0 = 64 MiB */
};

struct kp_otlp_result {
    uint64_t spans; /* stored */
    uint64_t rejected;
    uint64_t duplicates;   /* sent before by (trace id, span id); not stored again */
    uint64_t warnings;     /* stored, but repaired: end before start, too many attributes */
    char message[256];     /* why, when rejected or warnings > 0; else empty */
    uint64_t ticket;       /* kp_store_wait_all before acknowledging; 0 = nothing stored */
    uint64_t ticket_first; /* to wait for from */
};

/* One OTLP/JSON ExportTraceServiceRequest. INVALID: not such a document, nothing was stored. Errors
 * of the store (LIMIT: busy): *out counts what was stored before, and the same request may be sent
 * again. Any thread. */
kp_status kp_otlp_json(struct kp_store *store, const struct kp_span_opts *opts, struct kp_str body,
                       struct kp_otlp_result *out, struct kp_error *err) KP_MUST;
/* The same request in protobuf. */
kp_status kp_otlp_proto(struct kp_store *store, const struct kp_span_opts *opts, struct kp_str body,
                        struct kp_otlp_result *out, struct kp_error *err) KP_MUST;
/* Lines of InfluxDB's line protocol whose measurement is "spans", as the text protocol of the query
 * port writes them; unit of their stamps in ns. Other lines, and wrong ones, are rejected and
 * counted. Errors as above. */
kp_status kp_span_lines(struct kp_store *store, const struct kp_span_opts *opts, struct kp_str body,
                        kp_dur unit, struct kp_otlp_result *out, struct kp_error *err) KP_MUST;
/* A file of OTLP JSON documents, one a line (the collector's file exporter). progress may be NULL.
 */
kp_status kp_import_otlp_lines(struct kp_store *store, const struct kp_span_opts *opts,
                               const char *path,
                               void (*progress)(void *ctx, uint64_t done, uint64_t total),
                               void *ctx, struct kp_otlp_result *out, struct kp_error *err) KP_MUST;

#endif
