/* SPDX-License-Identifier: Apache-2.0
 *
 * The thread table of this host: tid -> who that is now. Fed by TASK records, healed from the tgid
 * that every record carries and, for threads whose beginning was not seen, from /proc. An actor is
 * interned only when something about the thread changed.
 *
 * Invariant: an entry is one thread. When a tid is seen again with another start, after a fork or
 * after its exit has aged, the entry begins anew; events of the two never share an actor.
 *
 * The decoder holds the lock for a whole pass; bind and heal take it themselves.
 */
#ifndef KP_INGEST_THREADS_H
#define KP_INGEST_THREADS_H

#include "ingest/cgroups.h"
#include "storage/storage.h"

#define KPI_THREAD_GRACE (2 * KP_SEC) /* a dead thread may still make events this long */

struct kpi_threads;

/* What a TASK record says, in host order. */
struct kpi_task {
    int64_t mono;
    uint32_t tid, pid;
    int64_t start;
    uint64_t cgroup_v2, cgroup_v1;
    int64_t op; /* number of the catalogue's TASK_OP */
    bool kthread;
    struct kp_str comm;
};

/* cgroups must outlive the table and is used under its lock only. */
kp_status kpi_threads_init(struct kp_store *store, struct kpi_cgroups *cgroups,
                           struct kpi_threads **out) KP_MUST;
void kpi_threads_deinit(struct kpi_threads *threads);

void kpi_threads_lock(struct kpi_threads *threads);
void kpi_threads_unlock(struct kpi_threads *threads);

/* The following need the lock. */
void kpi_threads_task(struct kpi_threads *threads, const struct kpi_task *task);
/* A thread moved to another cgroup of the unified hierarchy or of v1 cpu. */
void kpi_threads_attach(struct kpi_threads *threads, uint32_t tid, bool v2, uint64_t cgroup);
/* Actor of a thread at mono. pid 0 = the record does not say. KP_ACTOR_UNKNOWN only without memory.
 */
kp_actor_id kpi_threads_actor(struct kpi_threads *threads, uint32_t tid, uint32_t pid,
                              int64_t mono);
/* Actor of the idle thread of a CPU. */
kp_actor_id kpi_threads_idle(struct kpi_threads *threads, uint32_t cpu);
/* Drops threads that ended more than the grace before mono. */
void kpi_threads_sweep(struct kpi_threads *threads, int64_t mono);
/* Threads seen but not yet known: work for kpi_threads_heal. */
uint32_t kpi_threads_pending(const struct kpi_threads *threads);
uint32_t kpi_threads_count(const struct kpi_threads *threads);

/* Looks pending threads up in /proc; takes the lock for short moments. Not the decoder's thread. */
void kpi_threads_heal(struct kpi_threads *threads);

/* Makes this table the one spans of the same store are bound with; NULL ends that. watch is called
 * for every process a transaction was seen in, under a lock of this module. */
typedef void (*kpi_watch_fn)(void *ctx, uint32_t pid);
void kpi_threads_publish(struct kpi_threads *threads, kpi_watch_fn watch, void *ctx);
/* Tells the recorder of store, if there is one, that process pid works on transactions. */
void kpi_threads_watch(struct kp_store *store, uint32_t pid);
/* The actor that kernel events of thread tid carry (published table first, then /proc). False: no
 * such thread, not of process pid (0 = any), or it began after `not_after`. Any thread. */
bool kpi_threads_bind(struct kp_store *store, uint32_t tid, uint32_t pid, kp_time not_after,
                      kp_actor_id *out);

#endif
