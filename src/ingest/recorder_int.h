/* SPDX-License-Identifier: Apache-2.0
 *
 * The recorder's state, shared by its three files: recorder.c (start, stop, figures), feed.c (the
 * ingest thread) and house.c (the housekeeping thread). Each field names the thread that owns it;
 * start and stop own everything while no thread runs.
 *
 * The two threads share the thread table with its cgroups (its lock) and the rows (their own lock).
 * Lock order: the table's publication, the table, the recorder's, rows, the store's.
 */
#ifndef KP_INGEST_RECORDER_INT_H
#define KP_INGEST_RECORDER_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "ingest/decode.h"
#include "ingest/order.h"
#include "ingest/proc.h"
#include "ingest/rows.h"
#include "ingest/source.h"

#define KPI_WATCHED_MAX 1024 /* processes whose every system call is recorded */

/* Events that were refused or came late, summed up until they make one row of gaps. */
struct kpi_note {
    uint64_t count;
    int64_t from, to;
    int64_t reason;
    const char *detail;
};

struct kpi_quota_list {
    struct kpi_cgroup *cgroups; /* without paths */
    char (*dirs)[KPI_CGROUP_MAX];
    char (*paths)[KPI_CGROUP_MAX];
    uint32_t count;
};

struct kp_recorder {
    struct kp_store *store;
    struct kp_recorder_opts opts;
    struct kp_source *source;
    struct kpi_clock clock; /* housekeeping thread; the offset is constant */
    int64_t begin;          /* mono */
    struct kpi_cgroups *cgroups;
    struct kpi_threads *threads;
    struct kpi_order *order;
    struct kpi_decoder *decoder;
    struct kpi_rows *rows;
    struct kpi_note rejected, late, refused; /* ingest thread */
    int64_t newest;                          /* mono of the newest record decoded */
    struct kp_source_stat accounted;         /* housekeeping thread, then stop */
    int64_t accounted_at;
    struct kpi_quota_list quotas;
    uint32_t cgroups_seen; /* when the list of quotas was made */
    struct kp_kind_state *kinds;
    uint32_t kinds_count;
    pthread_t ingest, house;
    bool ingest_runs, house_runs;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t wake;
    bool stopping, heal;
    uint32_t watched[KPI_WATCHED_MAX]; /* pids */
    uint32_t watched_count;
    struct kp_error health;
    _Atomic uint64_t rejected_total;
};

/* Keeps and logs a failure; the first one is the recorder's health. OK is ignored. Any thread. */
void kpi_recorder_failed(struct kp_recorder *recorder, kp_status status, const char *what);

/* Puts one raw record into order. INVALID: not a record. */
kp_status kpi_feed_push(struct kp_recorder *recorder, const void *record,
                        size_t size_bytes) KP_MUST;
/* Body of the ingest thread: until the source ends. arg is the recorder. */
void *kpi_feed_main(void *arg);

/* Body of the housekeeping thread: until recorder->stopping. arg is the recorder. */
void *kpi_house_main(void *arg);
/* Makes gaps of what the source counts beside full rings, since the last time. */
void kpi_house_account(struct kp_recorder *recorder, int64_t now);
/* A process works on transactions: its short system calls count from now on. Any thread. */
void kpi_house_watch(void *recorder, uint32_t pid);

#endif
