/* SPDX-License-Identifier: Apache-2.0
 *
 * The world: the kernel rows of a time range as threads, CPUs, intervals and joined rows, and the
 * spans beside them. Made once per question, in one arena, then only read.
 */
#ifndef KP_CAUSAL_WORLD_H
#define KP_CAUSAL_WORLD_H

#include "causal/list.h"
#include "storage/storage.h"

struct kpi_reader;

#define KPI_SKEW_MAX                                                             \
    KP_SEC /* a message that seems to arrive before it was sent, at most so much \
            */

struct kpi_host {
    struct kp_str name;
    kp_time first, last; /* scheduler rows seen; first > last = none */
    kp_dur shift;        /* added to its stamps, so that all hosts have one axis */
    kp_dur skew;         /* how wrong that may be; -1 = not known */
    uint32_t *cpu_index; /* CPU number -> index into cpus, KPI_NONE = not seen */
    uint32_t cpu_index_count;
};

struct kpi_cpu {
    uint32_t host, number;
    uint32_t first, count; /* its switches: world->cpu_order[first .. first + count) */
    uint32_t occupant;     /* state machine: thread on it */
    bool known;            /* a switch was seen */
};

enum kpi_state {
    KPI_STATE_NONE, /* nothing known yet */
    KPI_STATE_UNKNOWN,
    KPI_STATE_RUNNING,
    KPI_STATE_RUNNABLE,
    KPI_STATE_BLOCKED,
    KPI_STATE_DEAD,
};

enum {
    KPI_FLAG_PREEMPT = 1,   /* runnable because it was switched out */
    KPI_FLAG_THROTTLED = 2, /* ... by its quota, as the kernel says */
    KPI_FLAG_IOWAIT = 4,
    KPI_FLAG_BEFORE = 8,    /* began before the first row that was read */
    KPI_FLAG_LOST = 16,     /* neighbouring rows contradict: something is missing */
    KPI_FLAG_NO_WAKER = 32, /* blocked, then seen running without a wakeup */
    KPI_FLAG_TO_IDLE = 64,  /* it left the CPU to the idle thread */
    KPI_FLAG_OPEN = 128,    /* still so at the last row that was read */
};

/* How much of a question's range was read, and what was asked for beyond. An answer that missed
 * something does not count: it is made again of more rows. */
struct kpi_reach {
    kp_time floor;           /* rows from here on were read */
    struct kpi_world *world; /* that was read */
    uint32_t ahead;          /* bit n: rows of kind n that end after the range were read, too */
    bool missed_before;
    uint32_t missed_after; /* bit n: rows of kind n that end later */
    uint32_t cpus_host;    /* of which cpus are known to be online; 0 = not looked for yet */
    int64_t cpus;
};

/* One life of a thread id. */
struct kpi_thread {
    uint32_t host, tid, pid;
    struct kp_str boot; /* empty = unknown */
    int64_t start;
    kp_actor_id actor; /* newest attributes */
    bool kthread, idle, ended;
    bool led;                          /* what it did before the rows read was looked for */
    bool unsure;                       /* rows that were not read can change any of it */
    bool forked;                       /* its fork was seen: it did not exist before `born` */
    kp_time born;                      /* first row that mentions it */
    kp_time settled;                   /* from here on no earlier row can change what it did */
    uint32_t older_life;               /* of the same tid, or KPI_NONE */
    uint32_t first, count;             /* intervals: world->order[first .. first + count) */
    uint32_t spans_first, spans_count; /* world->thread_spans, by where they begin */
    /* state machine */
    uint8_t state, flags;
    uint16_t letter;
    kp_time since;
    uint32_t cpu, begin, pending_wake;
};

/* A switch (a leaves, b comes) or a wakeup (a wakes b). */
struct kpi_event {
    kp_time ts;
    uint64_t seq;
    uint32_t cpu;
    uint32_t a, b; /* threads, KPI_NONE = unknown */
    kp_actor_id actor_a, actor_b;
    int32_t irq;
    int16_t prio_a, prio_b;
    uint16_t state, target_cpu;
    uint8_t stream, context, vec, flags;
};

struct kpi_interval {
    kp_time from, to;
    uint32_t thread;
    uint32_t cpu;        /* ran on or left; KPI_NONE = unknown */
    uint32_t begin, end; /* events that bound it; KPI_NONE = none */
    uint16_t letter;     /* prev_state of the switch that began it */
    uint8_t state, flags;
};

enum kpi_works {
    KPI_WORK_IRQ,     /* grouped by CPU */
    KPI_WORK_SOFTIRQ, /* grouped by CPU */
    KPI_WORK_SYSCALL, /* grouped by thread; a = result, b, c, d = first three arguments */
    KPI_WORK_LOCK,    /* grouped by thread; other = owner, a = address, b = kind */
    KPI_WORK_GOT,     /* grouped by the lock; a = address: the end of a wait, as an instant */
    KPI_WORK_RECLAIM, /* grouped by thread; a = op, b = pages */
    KPI_WORK_BLOCK,   /* grouped by host; a = device, b = sector, c = bytes, code = op */
    KPI_WORK_FLIGHT,  /* the same of requests that end after the world */
    KPI_WORK_SIGNAL,  /* grouped by target thread; code = signal */
    KPI_WORK_GAP,     /* grouped by host; code = cpu or -1 */
    KPI_WORK_QUOTA,   /* grouped by host; a = throttled ns, b = quota, name = path */
    KPI_WORK_RECEIVE, /* grouped by thread; socket calls that wait for the peer (net.h) */
    KPI_WORK_SEND,    /* grouped by the hash of its ends; socket calls the peer waits for (net.h) */
    KPI_WORK_CLOSE,   /* grouped as SEND; a connection closed by a thread */
    KPI_WORK_RESENT,  /* grouped as SEND; a segment sent again, c = its first byte */
    KPI_WORK_QUEUED,  /* grouped by worker; other = submitter, code = context, name = function */
    KPI_WORK_FAULT,   /* grouped by thread; a = device, b = inode, c = offset */
    KPI_WORK_PAUSE,   /* grouped by thread; a = device: a writer held back */
    KPI_WORK_COMMIT,  /* grouped by thread; a = device, b = number: a journal's commit */
    KPI_WORK_BOOST,   /* grouped by the lock's holder; other = donor, a = old, b = new priority */
    KPI_WORK_MOVE,    /* grouped by the thread moved; a = from, b = to CPU number */
    KPI_WORK_TASK,    /* grouped by thread; code = TASK_OP, other = parent, a = mask of CPUs */
    KPI_WORKS
};

/* Which end asks and which is asked, as their ports say. */
enum kpi_side { KPI_SIDE_UNKNOWN, KPI_SIDE_CLIENT, KPI_SIDE_SERVER };

/* A joined row: something that took from `from` to `to`. */
struct kpi_work {
    kp_time from, to;
    kp_time reach; /* largest `to` of this and all earlier rows of the group */
    uint64_t seq;
    uint32_t group;
    uint32_t thread, other;
    kp_actor_id actor, other_actor;
    uint32_t cpu; /* index */
    int32_t code;
    uint8_t stream;
    bool unseen;  /* a thread of it has no rows in the part that was read */
    bool flow;    /* network: a stream of bytes that are numbered */
    uint8_t side; /* network: enum kpi_side */
    int64_t a, b, c, d;
    kp_dur queue_dur;
    struct kp_str name;
};

/* Rows in the order (group, from, to, seq); behind them lies one that begins at the end of time. */
struct kpi_work_rows {
    struct kpi_work *rows;
    uint32_t count;
    bool dropped; /* some of threads that have no rows in the part that was read */
};

struct kpi_thread_span {
    uint32_t span;
    kp_time reach; /* latest end of this and of those of the thread before it */
};

/* Rows of one kind, read when they are first asked for. */
struct kpi_work_set {
    struct kpi_work_reads *reads; /* work.c; NULL = there are none */
};

/* One anchor: add `delta` to a wall-clock stamp at or after `real` to get a kernel stamp. */
struct kpi_anchor {
    uint32_t host;
    struct kp_str boot;
    kp_time real;
    kp_dur delta, bound;
    uint32_t order; /* in which it was read */
    bool step;
};

struct kpi_span {
    kp_time from, to; /* on the kernel's clock */
    kp_dur skew;      /* bound of that mapping; -1 = no anchor */
    uint64_t seq;
    uint64_t key; /* hash of trace and id */
    struct kp_str id, parent, trace, txn, service, name, status_msg;
    kp_actor_id actor;
    uint32_t host, thread; /* KPI_NONE = not bound */
    uint32_t up;           /* index of the parent, KPI_NONE */
    uint32_t child, next;  /* first child, and the next one of the same parent; KPI_NONE */
    uint8_t status, link, kind;
    bool unsure; /* of its thread, which is the one of its process that did the most */
    bool guess;  /* thread chosen among several of the process */
};

struct kpi_world {
    struct kpi_reader *reader;
    struct kp_arena *arena;
    const struct kp_actors *actors;
    kp_time from, to;        /* the question's range, on the world's axis */
    kp_time floor;           /* rows read begin here */
    struct kpi_reach *reach; /* NULL: all of the range was read */
    kp_dur ahead;            /* joined rows may end so much later */
    kp_dur slack;            /* how far a stored stamp may lie from its place on the axis */
    struct kpi_list hosts, cpus, threads, events, intervals, anchor_list, span_list;
    struct kpi_anchor *anchors; /* sorted by (host, real) */
    uint32_t anchors_count;
    uint32_t *order;     /* intervals by thread */
    uint32_t *cpu_order; /* switch events by CPU */
    struct kpi_work_set works[KPI_WORKS];
    int64_t joins_lost;     /* interval rows known to be missing in the range loaded */
    struct kpi_span *spans; /* sorted by (from, trace, id) */
    uint32_t spans_count;
    struct kpi_thread_span *thread_spans; /* those that are bound to threads, by thread */
    uint32_t *thread_slots;               /* hash (host, tid) -> newest life */
    uint32_t thread_slots_capacity;
    uint32_t *actor_thread; /* actor id -> thread, KPI_NONE = look it up */
    uint32_t actor_thread_count;
    uint32_t lives;   /* threads that are a second life of their tid */
    uint64_t ignored; /* rows that could not be placed */
};

/* Group of a kernel lock's rows. */
static inline uint32_t kpi_lock_group(uint32_t host, int64_t address)
{
    return (uint32_t)((uint64_t)address >> 4) ^ host << 24;
}

#define KPI_WORLD_GET(world, field, type, i) ((type *)kpi_list_at(&(world)->field, (i)))
#define kpi_thread_of(world, i)              KPI_WORLD_GET(world, threads, struct kpi_thread, i)
#define kpi_event_of(world, i)               KPI_WORLD_GET(world, events, struct kpi_event, i)
#define kpi_interval_of(world, i)            KPI_WORLD_GET(world, intervals, struct kpi_interval, i)
#define kpi_cpu_of(world, i)                 KPI_WORLD_GET(world, cpus, struct kpi_cpu, i)
#define kpi_host_of(world, i)                KPI_WORLD_GET(world, hosts, struct kpi_host, i)

/* Priority and attributes of a thread that came or left by this switch, or was woken. */
static inline int16_t kpi_event_prio(const struct kpi_event *event, uint32_t thread)
{
    return event->stream == KP_S_SCHED_SWITCH && event->a == thread ? event->prio_a : event->prio_b;
}
static inline kp_actor_id kpi_event_actor(const struct kpi_event *event, uint32_t thread)
{
    return event->a == thread ? event->actor_a : event->actor_b;
}

/* A world without any rows. */
kp_status kpi_world_bare(struct kpi_reader *reader, struct kp_arena *arena, struct kpi_world **out,
                         struct kp_error *err) KP_MUST;
/* Reads the clocks, unless ahead < 0, and the scheduler streams of [from, to]. Joined rows that end
 * up to `ahead` later (< 0: only gaps) are read as questions need them: reader and arena must
 * last as long, and kpi_reader_check tells afterwards whether that went well. */
kp_status kpi_world_load(struct kpi_reader *reader, struct kp_arena *arena, kp_time from,
                         kp_time to, kp_dur ahead, struct kpi_world **out,
                         struct kp_error *err) KP_MUST;
/* The same, but only the rows that reach says are read (reach.c); it lasts as long as the world. */
kp_status kpi_world_load_part(struct kpi_reader *reader, struct kp_arena *arena, kp_time from,
                              kp_time to, kp_dur ahead, struct kpi_reach *reach,
                              struct kpi_world **out, struct kp_error *err) KP_MUST;
uint32_t kpi_world_host(struct kpi_world *world, struct kp_str name);
uint32_t kpi_world_cpu(struct kpi_world *world, uint32_t host, uint32_t number);
/* Thread an actor id means while rows arrive in order; makes it on first sight. */
uint32_t kpi_world_thread(struct kpi_world *world, kp_actor_id actor, kp_time ts);
/* The thread an actor id meant at ts, or KPI_NONE; after loading. */
uint32_t kpi_world_thread_at(const struct kpi_world *world, kp_actor_id actor, kp_time ts);
/* fork and exit as the lives of a tid see them. */
void kpi_world_fork(struct kpi_world *world, kp_actor_id actor, kp_time ts);
void kpi_world_exit(struct kpi_world *world, kp_actor_id actor, kp_time ts);
/* A stored stamp of a host on the world's axis. */
static inline kp_time kpi_world_stamp(const struct kpi_world *world, uint32_t host, kp_time ts)
{
    return kpi_time_sane(kpi_time_sane(ts) + kpi_host_of(world, host)->shift);
}
/* The CPUs of a host that the world knows are asked for as all there are. */
void kpi_world_cpus_check(const struct kpi_world *world, uint32_t host);
bool kpi_world_failed(const struct kpi_world *world);

/* What was asked depends on rows before those that were read. */
static inline void kpi_miss_before(const struct kpi_world *world)
{
    if (world->reach != NULL)
        world->reach->missed_before = true;
}
/* ... on joined rows of the kind that end later. */
static inline void kpi_miss_after(const struct kpi_world *world, enum kpi_works kind)
{
    if (world->reach != NULL)
        world->reach->missed_after |= 1u << kind;
}
/* Rows since t are asked for. */
static inline void kpi_reach_back(const struct kpi_world *world, kp_time t)
{
    if (t < world->floor)
        kpi_miss_before(world);
}

#endif
