/* SPDX-License-Identifier: Apache-2.0
 *
 * The drain thread of a source: moves finished frames from the rings to the queue by the clock, and
 * what the taking thread sees of that. Knows how a BPF ring buffer lies in memory, but not libbpf.
 */
#ifndef KP_INGEST_SOURCE_DRAIN_H
#define KP_INGEST_SOURCE_DRAIN_H

#include <pthread.h>

#include "ingest/source.h"
#include "ingest/source_queue.h"

#define KPI_RINGS_MAX 64

struct kpi_ring {
    uint64_t *consumer;       /* position, ours */
    const uint64_t *producer; /* position, the kernel's */
    const uint8_t *frames;    /* mapped twice in a row by the kernel */
    size_t size_bytes;
};

struct kp_cpu;

struct kpi_drain {
    /* set before start */
    struct kpi_ring rings[KPI_RINGS_MAX];
    uint32_t rings_count;
    const struct kp_cpu *cpus; /* of the programs: their interrupt sums are read at the end */
    uint32_t cpus_count;
    kp_dur every;
    bool realtime;

    struct kpi_queue queue;
    int64_t complete; /* the thread stores, the taker loads */
    uint64_t seen;    /* taker: queue position handed out so far */
    int wakeup;       /* eventfd: something was put, or it is over */
    bool ended;       /* nothing will be put any more */
    bool stopping;    /* asks the thread to finish ... */
    bool abandoned;   /* ... without waiting for a taker */

    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* of stat; only the figures of the thread are filled */
    struct kp_source_stat stat;
};

/* Makes the queue and starts the thread. After a failure stop and deinit are legal. */
kp_status kpi_drain_start(struct kpi_drain *drain, size_t queue_bytes,
                          struct kp_error *err) KP_MUST;
/* The programs are detached: move the rest and end. */
void kpi_drain_stop(struct kpi_drain *drain);
/* Stops, joins, frees the queue. Zeroed drain is legal. */
void kpi_drain_deinit(struct kpi_drain *drain);

#endif
