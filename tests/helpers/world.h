/* SPDX-License-Identifier: Apache-2.0
 *
 * Made-up worlds with known truth, in a real store: threads, switches, wakeups, joined rows and
 * spans, stamped relative to the world's zero. Questions to the causal engine and their answers as
 * cells. Any failure fails the running test.
 */
#ifndef KP_TESTS_WORLD_H
#define KP_TESTS_WORLD_H

#include "causal/causal.h"
#include "folder.h"
#include "storage/storage.h"

#define WORLD_ACTORS 4096
#define WORLD_ZERO   ((kp_time)1700000000 * KP_SEC)

struct world {
    char dir[FOLDER_PATH];
    struct kp_store *store;
    struct kp_snapshot *snapshot;
    struct kp_builder builders[KP_STREAM_MAX];
    bool used[KP_STREAM_MAX];
    uint64_t seq;
    kp_time zero;               /* added to every stamp */
    const char *host;           /* of threads made from now on */
    const char *boot;           /* of those and of clock anchors; NULL = not known */
    int16_t prio[WORLD_ACTORS]; /* by actor id */
    uint32_t pid_shift;         /* added to every pid and tid */
};

enum world_context { IN_TASK, IN_SOFTIRQ, IN_HARDIRQ };
enum { VEC_NONE = 255, VEC_TIMER = 1, VEC_NET_RX = 3, VEC_BLOCK = 4 };
enum { R = 0, S = 1, D = 2, T = 4, X = 16, RP = 256, F = 512 }; /* prev_state; RP = preempted */

void world_open(struct world *w);
void world_close(struct world *w);
/* Everything so far as a snapshot (the one before is closed). */
void world_commit(struct world *w);

/* A thread, prio 120. start 0 = not known. */
kp_actor_id world_thread(struct world *w, uint32_t pid, uint32_t tid, const char *comm);
kp_actor_id world_thread_in(struct world *w, uint32_t pid, uint32_t tid, const char *comm,
                            int64_t start, const char *cgroup, bool kthread);
kp_actor_id world_idle(struct world *w);

void world_switch(struct world *w, kp_time t, uint32_t cpu, kp_actor_id prev, int state,
                  kp_actor_id next);
/* ... and prev waits for a device. */
void world_switch_io(struct world *w, kp_time t, uint32_t cpu, kp_actor_id prev, int state,
                     kp_actor_id next);
void world_throttle(struct world *w, kp_time t, uint32_t cpu, kp_actor_id prev, kp_actor_id next);
void world_wake(struct world *w, kp_time t, uint32_t cpu, kp_actor_id waker, kp_actor_id wakee,
                uint32_t target_cpu);
void world_wake_irq(struct world *w, kp_time t, uint32_t cpu, kp_actor_id current,
                    kp_actor_id wakee, enum world_context context, int vec, int irq,
                    uint32_t target_cpu);
void world_task(struct world *w, kp_time t, uint32_t cpu, kp_actor_id thread, int op);
void world_syscall(struct world *w, kp_time from, kp_time to, uint32_t cpu, kp_actor_id thread,
                   const char *name, int64_t ret);
void world_futex(struct world *w, kp_time from, kp_time to, uint32_t cpu, kp_actor_id thread,
                 int64_t addr, int64_t op, int64_t value, int64_t ret);
void world_irq(struct world *w, kp_time from, kp_time to, uint32_t cpu, kp_actor_id current,
               int irq, const char *name);
void world_softirq(struct world *w, kp_time from, kp_time to, uint32_t cpu, kp_actor_id current,
                   int vec);
void world_block(struct world *w, kp_time from, kp_time issued, kp_time to, uint32_t cpu,
                 kp_actor_id submitter, int64_t sector);
void world_reclaim(struct world *w, kp_time from, kp_time to, uint32_t cpu, kp_actor_id thread);
void world_reclaim_op(struct world *w, kp_time from, kp_time to, uint32_t cpu, kp_actor_id thread,
                      int64_t pages, int op);
void world_lock(struct world *w, kp_time from, kp_time to, uint32_t cpu, kp_actor_id thread,
                kp_actor_id owner, int64_t addr);
/* A page fault; a pause of a writer; a commit of a journal (op 0, 1 of writeback). */
void world_fault(struct world *w, kp_time from, kp_time to, uint32_t cpu, kp_actor_id thread,
                 int64_t inode);
void world_writeback(struct world *w, kp_time from, kp_time to, uint32_t cpu, kp_actor_id thread,
                     int op);
/* Work queued by `submitter` at `queued`, done by a worker in [from, to). */
void world_work(struct world *w, kp_time queued, kp_time from, kp_time to, uint32_t cpu,
                kp_actor_id worker, kp_actor_id submitter, const char *function);
void world_boost(struct world *w, kp_time t, uint32_t cpu, kp_actor_id holder, kp_actor_id donor,
                 int old_prio, int new_prio);
void world_move(struct world *w, kp_time t, kp_actor_id thread, uint32_t from_cpu, uint32_t to_cpu);
/* The same, decided on a given CPU (of the waker; world_move: by the CPU it comes to). */
void world_move_by(struct world *w, kp_time t, uint32_t cpu, kp_actor_id thread, uint32_t from_cpu,
                   uint32_t to_cpu);
void world_fork(struct world *w, kp_time t, uint32_t cpu, kp_actor_id thread, kp_actor_id parent);
/* The thread executes a program; it may run on the CPUs of mask. */
void world_exec(struct world *w, kp_time t, uint32_t cpu, kp_actor_id thread, int64_t mask);
void world_signal(struct world *w, kp_time t, uint32_t cpu, kp_actor_id sender, kp_actor_id target,
                  int sig);

/* A socket call of one end of a TCP connection 10.0.0.<local>:<port> > 10.0.0.<peer>:<port>. */
struct world_sock {
    kp_time from, to;
    uint32_t cpu;
    kp_actor_id thread;
    int op; /* 0 send, 1 receive, 2 connect, 3 accept */
    int local, local_port, peer, peer_port;
    int64_t bytes, seq; /* seq: number after the last byte */
};
void world_sock(struct world *w, const struct world_sock *sock);
/* The end's segment from byte seq was sent again. */
void world_resent(struct world *w, kp_time t, const struct world_sock *end, int64_t seq);
void world_closed(struct world *w, kp_time t, const struct world_sock *end);
void world_gap(struct world *w, kp_time from, kp_time to, uint32_t cpu);
/* The CPU ran a thread that was not seen coming. */
void world_gap_hidden(struct world *w, kp_time from, kp_time to, uint32_t cpu);
void world_quota(struct world *w, kp_time t, const char *path, kp_dur quota, kp_dur throttled);
/* An anchor: at kernel stamp t the wall clock showed t + offset. */
void world_clock(struct world *w, kp_time t, kp_dur offset, kp_dur bound, kp_dur step);

struct world_span {
    kp_time from, to; /* wall clock */
    kp_actor_id thread;
    const char *trace, *id, *parent, *txn, *service, *name;
    const char *status_msg;
    int status; /* 0 unset, 1 ok, 2 error */
    int kind;   /* 2 server, 3 client */
    int link;   /* 0 = thread, else as in the catalogue; -1 = none */
};
void world_span(struct world *w, const struct world_span *span);
/* A thread that serves transaction 98721, from 0 for so long: it runs on CPU 0 from -1 ms on. */
void world_payment(struct world *w, kp_actor_id idle, kp_actor_id thread, kp_dur dur);

/* --- questions --- */

struct answer {
    struct kp_arena arena;
    struct kp_rows *rows;
    const struct kp_schema *schema;
    const struct kp_batch *batches[64];
    struct kp_batch copies[64];
    uint32_t batches_count;
    uint32_t count; /* rows */
    kp_status status;
    struct kp_error err;
};

void world_causes(struct world *w, const char *txn, struct answer *out);
void world_causes_req(struct world *w, const struct kp_causes_req *req, struct answer *out);
struct kp_causes_req world_req(const char *txn);
void world_evidence(struct world *w, const char *txn, uint32_t row, struct answer *out);
/* Wraps rows that were opened by the caller into answer->arena. */
void answer_take(struct answer *answer, struct kp_rows *rows, const struct kp_schema *schema);
void answer_deinit(struct answer *answer);

int64_t cell_i64(const struct answer *answer, uint32_t row, const char *column);
bool cell_null(const struct answer *answer, uint32_t row, const char *column);
const char *cell_str(const struct answer *answer, uint32_t row, const char *column);
/* Sum of dur of the rows of a kind; all of them when kind is NULL. */
kp_dur answer_sum(const struct answer *answer, const char *kind);
/* First row of a kind, or -1. */
int answer_find(const struct answer *answer, const char *kind);
/* Row marked root, or -1. */
int answer_root(const struct answer *answer);
/* True when a note contains the text. */
bool answer_noted(const struct answer *answer, const char *text);
/* All cells as text, one line a row, stamps relative to the world's zero. Freed by the caller. */
char *answer_text(const struct world *w, const struct answer *answer);
/* Sum(dur) == wall and every row is well formed. */
void answer_check(const struct answer *answer, kp_dur wall);

#endif
