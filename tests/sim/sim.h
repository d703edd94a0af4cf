/* SPDX-License-Identifier: Apache-2.0
 *
 * A small operating system that never was: hosts with CPUs, run queues of two classes, interrupts,
 * a disk, locks that can be overtaken, messages, timers, quota, kernel workers. Threads carry out
 * programs; a seed decides which. It writes down the rows that a recorder would have seen, and
 * beside them, from what it did itself and never from those rows, what every nanosecond was for.
 *
 *   sim_kernel.c  events, CPUs, run queues, interrupts, quota
 *   sim_ops.c     what threads do: locks, messages, disk, timers, children, workers
 *   sim_story.c   a seed makes hosts, threads and their programs
 *   sim_truth.c   the true cause of each nanosecond of a transaction
 *   sim_emit.c    the rows into a store, with losses, wrong clocks, other names
 *   sim_score.c   the engine's answer against the truth
 *
 * Stamps are of one true clock, in nanoseconds from 0. Same seed, same world.
 */
#ifndef KP_TESTS_SIM_H
#define KP_TESTS_SIM_H

#include "world.h"

#define SIM_HOSTS   2
#define SIM_CPUS    4 /* of one host */
#define SIM_THREADS 48
#define SIM_OPS     24
#define SIM_LOCKS   4
#define SIM_PIPES   8
#define SIM_GROUPS  2
#define SIM_NONE    UINT32_MAX
#define SIM_END     (400 * KP_MS) /* no transaction is followed for longer */

/* ---------- programs ---------- */

enum sim_op {
    SIM_COMPUTE, /* a = ns */
    SIM_SYSCALL, /* a = ns of work inside a call */
    SIM_LOCK,    /* a = lock */
    SIM_UNLOCK,  /* a = lock */
    SIM_SLEEP,   /* a = ns */
    SIM_AWAIT,   /* a = pipe, b = ns: waits for a signal on it, at most so long */
    SIM_READ,    /* a = ns the disk takes */
    SIM_FAULT,   /* a = ns the disk takes to bring the page in */
    SIM_TAKE,    /* a = pipe: takes one message, waits for it */
    SIM_GIVE,    /* a = pipe: gives one message */
    SIM_CALL,    /* a = server thread: asks over a connection, and waits for the answer */
    SIM_POLL,    /* the same, b = ns that it waits at most; gives up for good after that */
    SIM_SERVE,   /* waits for the next request */
    SIM_REPLY,   /* answers it */
    SIM_FORK,    /* a = thread that begins */
    SIM_WAIT,    /* a = thread whose end is waited for */
    SIM_WORK,    /* a = ns a kernel worker takes, b = worker */
    SIM_STOP,    /* a = thread that is stopped, b = ns until it goes on */
    SIM_FREEZE,  /* the same by the freezer of control groups */
    SIM_SIGNAL,  /* a = thread whose wait is interrupted, b = ns its handler computes */
    SIM_BEGIN,   /* the transaction begins */
    SIM_FINISH,  /* ... and ends; so does the world */
    SIM_LOOP,    /* from the first op again */
    SIM_EXIT,
};

struct sim_step {
    enum sim_op op;
    int64_t a, b;
};

/* ---------- what happened, for the truth ---------- */

enum sim_state { SIM_ABSENT, SIM_RUNNING, SIM_RUNNABLE, SIM_BLOCKED, SIM_ENDED };

enum sim_why {
    SIM_WHY_NONE,
    SIM_WHY_LOCK,    /* ref = lock */
    SIM_WHY_SLEEP,   /* a timer of its own */
    SIM_WHY_TIMEOUT, /* a time limit that ran out */
    SIM_WHY_DISK,    /* ref = request */
    SIM_WHY_FAULT,   /* ref = request */
    SIM_WHY_MESSAGE, /* ref = message it waited for */
    SIM_WHY_REQUEST, /* ref = message; a server that waited for work */
    SIM_WHY_SIGNAL,  /* ref = thread that ended it */
    SIM_WHY_CHILD,   /* ref = thread that ended */
    SIM_WHY_WORK,    /* ref = job */
    SIM_WHY_STOP,    /* ref = thread that stopped it */
    SIM_WHY_FROZEN,
};

/* A stretch of one thread's life. */
struct sim_stretch {
    kp_time from, to;
    enum sim_state state;
    enum sim_why why;
    uint32_t ref;
    uint32_t cpu;   /* it ran on, or was queued for */
    uint32_t taker; /* who took the CPU from it by force */
    uint32_t ran;   /* CPU it came to in the end */
    uint32_t wait;  /* number of the wait it is part of: one that was interrupted has several */
    bool throttled;
    bool cut; /* a wait that somebody interrupted */
};

struct sim_message {
    uint32_t sender, receiver;
    kp_time sent, arrived;
    bool reply;
};

struct sim_request {
    uint32_t thread;
    kp_time from, issued, to;
    kp_dur service;
};

struct sim_job {
    uint32_t submitter, worker;
    kp_dur need;
    kp_time queued, from, to;
};

/* Who had a lock; given = it was let go and this waiter had been woken for it. */
struct sim_hold {
    kp_time from;
    uint32_t thread; /* SIM_NONE = free and nobody was woken */
    bool given;
};

struct sim_list {
    void *items;
    uint32_t count, capacity;
};
void *sim_add(struct sim_list *list, size_t size);
#define SIM_AT(list, type, i) (&((type *)(list).items)[i])

/* ---------- rows, as the recorder would have them ---------- */

enum sim_row_type {
    SIM_ROW_SWITCH, /* thread leaves for a; b = state, c = throttled */
    SIM_ROW_WAKE,   /* thread wakes a; b = context, c = vector, d = line, e = target CPU */
    SIM_ROW_CALL,   /* a = number, b = result, c = first argument, d, e = the next */
    SIM_ROW_IRQ,
    SIM_ROW_SOFTIRQ, /* a = vector */
    SIM_ROW_BLOCK,   /* a = ns queued, b = sector */
    SIM_ROW_FAULT,
    SIM_ROW_WORK, /* thread = worker, a = submitter, b = instant it was queued */
    SIM_ROW_SOCK, /* a = op, b = connection, c = side, d = bytes, e = number after the last */
    SIM_ROW_MOVE, /* a = from, b = to CPU */
    SIM_ROW_FORK, /* a = parent */
    SIM_ROW_EXIT,
    SIM_ROW_SIGNAL, /* a = target, b = signal */
};

struct sim_row {
    enum sim_row_type type;
    kp_time from, t;            /* t = stamp; from = begin of an interval */
    uint32_t host, cpu, thread; /* SIM_NONE = the idle thread of the host */
    int64_t a, b, c, d, e;
    const char *name, *was; /* of a call; of the one it is begun again for, or NULL */
};

/* ---------- the machine ---------- */

struct sim_thread {
    uint32_t host, pid, tid, prio, group;
    char comm[16];
    bool kthread, batch;
    struct sim_step steps[SIM_OPS];
    uint32_t steps_count, at;
    unsigned phase; /* within a step */
    enum sim_state state;
    kp_time since; /* of the state */
    enum sim_why why;
    uint32_t ref, cpu, taker;
    bool throttled, stop_asked;
    int64_t need;      /* ns of CPU until the phase is over */
    int64_t used;      /* ns of CPU, for fairness */
    kp_time call_from; /* system call it is in */
    uint32_t timer;    /* number of its armed timer; others are void */
    bool timed_out;
    uint32_t message, partner; /* message waited for or taken; who is served */
    uint32_t mask;             /* CPUs it may use */
    struct sim_list inbox;     /* message numbers, servers */
    uint32_t inbox_read;
    struct sim_list stretches;
    uint32_t asked, answered; /* bytes of its connection so far, either way */
    uint32_t reply;           /* message that answers its call, SIM_NONE = not here yet */
    uint32_t last;            /* number after the last byte of its answer */
    bool gave_up;             /* an answer did not come in time: asks no more */
    uint32_t wait;            /* number of its wait */
    kp_time deadline;         /* of the wait, 0 = not known yet */
    enum sim_op hit;          /* what interrupted its wait: SIM_STOP, ..., SIM_COMPUTE = nothing */
    uint32_t hitter;          /* who did */
    kp_dur hit_for;           /* how long it is kept from going on */
    bool served;              /* ... has been */
    bool restarted;           /* the kernel begins its call again */
};

struct sim_cpu {
    uint32_t current; /* SIM_NONE = idle */
    uint32_t queue[SIM_THREADS];
    uint32_t queued;
    kp_time resumed; /* current's work is accounted up to here */
    kp_time slice_from;
    uint32_t generation;   /* of what is expected to happen here */
    kp_time busy_until;    /* an interrupt is being served */
    bool waking;           /* about to leave idle */
    struct sim_list spans; /* struct sim_stretch: who was on it (ref), when */
    struct sim_list irqs;  /* struct sim_stretch: interrupts; ref = vector or SIM_NONE */
};

struct sim_lock {
    int word;               /* 0 free, 1 held, 2 held and somebody may wait */
    uint32_t holder, woken; /* woken: was woken for it and has yet to come */
    uint32_t waiters[SIM_THREADS];
    uint32_t waiting;
    struct sim_list holds;
};

struct sim_pipe {
    uint32_t reader; /* thread that waits, SIM_NONE */
    uint32_t full;   /* messages in it */
};

struct sim_group {
    char path[32];
    kp_dur quota; /* 0 = none */
    kp_dur used;
    bool throttled;
    kp_dur throttled_for;
    kp_time throttled_at;
};

struct sim_event {
    kp_time t;
    uint64_t seq;
    int type;
    uint32_t a, b;
};

struct sim {
    uint64_t seed, random;
    kp_time now;
    uint64_t seq;
    struct sim_list events; /* a heap */
    uint32_t hosts, cpus;   /* cpus of each host */
    struct sim_cpu cpu[SIM_HOSTS][SIM_CPUS];
    struct sim_thread threads[SIM_THREADS];
    uint32_t threads_count;
    struct sim_lock locks[SIM_LOCKS];
    struct sim_pipe pipes[SIM_PIPES];
    struct sim_group groups[SIM_GROUPS];
    struct sim_list messages, requests, jobs, rows;
    struct sim_list disk[SIM_HOSTS]; /* request numbers in order */
    uint32_t disk_next[SIM_HOSTS];
    bool disk_busy[SIM_HOSTS];
    kp_dur wire; /* between the hosts */
    uint32_t root;
    char txn[24];       /* its id */
    kp_time begin, end; /* of the transaction */
    bool over;
};

/* Runs a world; any seed gives one, and any number of them can follow each other in one store.
 * Any failure fails the running test. */
void sim_run(struct sim *out, uint64_t seed, uint64_t nth);
void sim_free(struct sim *sim);
uint64_t sim_below(struct sim *sim, uint64_t limit);

/* ---------- truth ---------- */

struct sim_piece {
    kp_time from, to;
    const char *kind; /* "" = the model itself does not say */
    uint32_t culprit; /* thread, SIM_NONE */
};
/* Pieces that partition [begin, end). */
void sim_truth(const struct sim *sim, struct sim_list *out);

/* ---------- into a store ---------- */

struct sim_view {
    double loss;        /* share of rows lost */
    kp_dur skew;        /* what the second host's wall clock is wrong by, and says it may be */
    kp_dur shift;       /* added to all stamps */
    uint32_t pid_shift; /* added to all pids */
    bool reuse;         /* the tids of the transaction had been others' before */
    bool swap_hosts;    /* names of hosts exchanged */
    bool bystander;     /* somebody unrelated runs where interrupts wake */
    bool unrelated;     /* another process on CPUs of its own */
    bool retried;       /* not the kernel but programs begin interrupted calls again */
    uint32_t commits;   /* the rows come in so many pieces; 0 = one */
};
/* Adds it to an open world, around the world's zero. */
void sim_emit(const struct sim *sim, const struct sim_view *view, struct world *out);

/* ---------- score ---------- */

struct sim_score {
    kp_dur wall, right, wrong, unknown, strong, strong_wrong, skipped;
    kp_dur quota_end; /* of wrong: held back for too long, for nothing says when there is quota */
};
/* Asks for the transaction's parts and adds up. told: print what is wrong. */
void sim_score(const struct sim *sim, struct world *w, struct sim_score *sum, bool told);
/* The parts as text, one line each, times and pids as without a view. Freed by the caller. */
char *sim_answer_text(const struct sim *sim, struct world *w);

#endif
