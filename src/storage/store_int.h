/* SPDX-License-Identifier: Apache-2.0
 *
 * The open store, shared by store.c (the door), commit.c (RAM to log), seal.c (log to segments),
 * run_merge.c (segments to runs) and recover.c (what a restart finds).
 *
 * Three threads: the committer owns the log's queue, the sealer the manifest's; a third writes cold
 * files. In manual mode both queues belong to the caller's thread and kp_store_tick does all work.
 *
 * `lock` guards everything below it; encoding and I/O happen outside of it. `encode_lock` guards
 * what is encoded, and is taken before `lock`.
 */
#ifndef KP_STORAGE_STORE_INT_H
#define KP_STORAGE_STORE_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "storage/joined.h"
#include "storage/manifest.h"
#include "storage/wal.h"

/* Rows that wait for a commit, already encoded behind room for the record's header. */
struct kpi_fill {
    uint8_t *bytes;
    uint32_t payload;
    uint32_t rows;
    uint32_t gap_rows;    /* of these, written by the store itself */
    uint32_t damage_rows; /* of these, about damage that the sealer met */
    uint64_t gap_count;   /* losses that they tell of */
    kp_time ts_min, ts_max;
    uint64_t ticket_first, ticket_last; /* 0 = none */
    int64_t opened;                     /* mono time of the first row */
};

/* Rows that were accepted and are not in a fill yet: in `join`, or encoded in `joined`. */
struct kpi_stage {
    uint32_t rows;
    kp_time ts_min, ts_max;
    uint64_t ticket_first, ticket_last;
    int64_t opened;
};

/* Tickets that were accepted and then lost. Kept merged, newest last. */
#define KPI_LOST_MAX 32u
struct kpi_lost {
    uint64_t first, last;
    kp_status why;
};

struct kpi_notes {
    uint64_t *items;
    uint32_t count, capacity;
};

struct kpi_evidence; /* epoch.h */
struct kpi_cold;     /* cold.c, like gone */
struct kpi_gone;

struct kp_store {
    char *dir;
    const struct kp_io *io;
    struct kp_store_opts opts; /* defaults filled in */
    struct kp_io_file *dir_lock;
    uint8_t store_id[KPI_ID_SIZE];
    struct kpi_wal *wal;
    struct kpi_manifest_log *manifest; /* the sealer's */
    struct kp_io_queue *commit_queue, *seal_queue;
    pthread_t commit_thread, seal_thread, cold_thread;
    bool commit_started, seal_started, cold_started;
    uint8_t *memory;      /* the two fills */
    uint32_t fill_size;   /* of one, with header */
    uint32_t stage_size;  /* of rows that wait for a commit as they came */
    uint8_t *seal_memory; /* the log's payload on its way to a segment */
    uint64_t seal_size;
    struct kpi_evidence *evidence; /* NULL: a store without seals */
    struct kpi_notes notes; /* damage already written down; changed while nothing is sealed */
    _Atomic uint64_t segment_next; /* id */

    _Atomic uint64_t seq_next;
    pthread_mutex_t actors_lock;
    struct kp_actors *actors;
    pthread_mutex_t encode_lock;
    struct kp_buf encoded;
    struct kpi_join *join;
    struct kp_buf joined; /* not empty: `join` takes no rows until these have found room */

    pthread_mutex_t lock;
    pthread_cond_t commit_work, seal_work, cold_work, changed;
    struct kpi_fill fills[2];
    struct kpi_stage staged; /* go into the fill that fills before anything later does */
    unsigned filling;        /* index */
    bool committing;         /* the other one is being written */
    bool stop;
    uint64_t ticket_next;    /* the next one to be given */
    uint64_t ticket_wanted;  /* someone waits for it */
    uint64_t ticket_settled; /* up to here: durable or lost */
    struct kpi_lost lost[KPI_LOST_MAX];
    uint32_t lost_count;
    bool loss_mode;
    kp_status loss_why;
    uint64_t loss_rows; /* lost and not yet written down */
    kp_time loss_from, loss_to;
    int64_t loss_retry; /* mono time */
    uint64_t durable;   /* sequence of the last durable record */
    uint64_t unsealed;  /* payload bytes behind sealed_through */
    int64_t unsealed_since;
    uint64_t sealed_through;
    bool seal_forced, sealing;
    struct kpi_notes telling; /* damage on its way to the log (damage.h): until then nothing is
                               * sealed */
    int64_t seal_retry;       /* mono time before which nothing is sealed: the last try failed */
    int64_t spare_retry;
    kp_status seal_status;
    bool txn_work;         /* the transaction index may lack something */
    int64_t txn_retry;     /* mono time before which nothing is merged: the last try failed */
    uint64_t run_next;     /* id; the sealer's */
    uint64_t runs_checked; /* ids of runs up to here were read through, ... */
    uint64_t runs_check;   /* ... those below this are to be */
    struct kpi_hold_request *hold_request; /* one at a time; the sealer's to answer */
    int64_t retain_next;                   /* mono time before which nothing is dropped */
    struct kpi_cold *cold;                 /* a cold file that waits for the sealer */
    int64_t cold_next;                     /* mono time before which no segment is old enough */
    bool cold_forced;                      /* all of them, now */
    kp_status cold_status;                 /* of the last try */
    uint64_t cold_refused;                 /* log records up to here lie in damaged segments */
    struct kpi_gone *gone;                 /* files whose place a cold one took */
    uint32_t gone_count;
    int64_t gone_next; /* mono time to remove the first */
    struct {
        int64_t at;       /* mono time of the next step */
        uint64_t segment; /* read from here on; 0 = a pass begins */
        uint32_t block;   /* ... of it */
    } scrub;              /* the sealer's */
    struct kp_store_stat stat;
};

/* recover.c: fills store from its directory, or makes one. Called without threads. */
kp_status kpi_recover(struct kp_store *store, struct kp_error *err) KP_MUST;

/* commit.c */
bool kpi_commit_due(const struct kp_store *store, int64_t now);
/* Rows or a loss that are not on the disk. */
bool kpi_commit_pending(const struct kp_store *store);
/* Commits what is filling. Called and returns with the lock held; it is given up meanwhile. */
void kpi_commit_run(struct kp_store *store, int64_t now);
void *kpi_commit_main(void *arg);
/* One row of `gaps` as an encoded block. from > to = unknown; then ts is `at`. */
kp_status kpi_gap_encode(struct kp_store *store, kp_time from, kp_time to, kp_time at,
                         int64_t count, int64_t reason, const char *detail,
                         struct kp_buf *out) KP_MUST;
#define KPI_GAP_STORE_ERROR 4
#define KPI_GAP_DAMAGED     5

/* store.c: takes encoded blocks into the filling buffer, under the lock. False: no room. */
bool kpi_fill_add(struct kp_store *store, const struct kp_buf *blocks, uint32_t rows, kp_time from,
                  kp_time to, int64_t now);

/* Encodes what is staged and puts it into the filling buffer. Called with both locks or, unlocked,
 * with encode_lock alone. LIMIT: no room now. Rows that cannot be encoded are lost and counted. */
kp_status kpi_stage_encode(struct kp_store *store);
kp_status kpi_stage_move(struct kp_store *store, kp_status encoded, int64_t now);

/* seal.c */
bool kpi_seal_due(const struct kp_store *store, int64_t now);
/* Seals once. Called and returns with the lock held; it is given up meanwhile. */
void kpi_seal_run(struct kp_store *store, int64_t now);
void *kpi_seal_main(void *arg);

/* retain.c. Run: called and returns with the lock held; it is given up meanwhile. */
bool kpi_retain_due(const struct kp_store *store, int64_t now);
void kpi_retain_run(struct kp_store *store, int64_t now); /* drops at most one segment */
/* Mono time to look again; INT64_MAX: nothing is to be retained. */
int64_t kpi_retain_next(const struct kp_store *store);
/* Answers the request about a hold that waits. */
void kpi_hold_run(struct kp_store *store);

/* run_merge.c: the transaction index follows the segments. Run: as kpi_retain_run, one step. */
bool kpi_merge_due(const struct kp_store *store, int64_t now);
void kpi_merge_run(struct kp_store *store, int64_t now);
/* Removes files of runs that the manifest does not name; sets run_next. */
void kpi_merge_tidy(struct kp_store *store);

bool kpi_notes_add(struct kpi_notes *notes, uint64_t note);
bool kpi_notes_has(const struct kpi_notes *notes, uint64_t note);

/* Waits for a condition until mono time `until` (INT64_MAX = no limit). */
void kpi_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t until);

#endif
