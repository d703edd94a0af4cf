/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of src/causal share: lists, the world (kernel events of a time range as interval
 * timelines, and the spans beside them), the walk and its slices, result tables.
 *
 *   list.c rows.c    growing lists in an arena; result tables
 *   cursor.c         one stream read row by row
 *   world.c          threads, CPUs and hosts; reading a time range into the world
 *   timeline.c       state machine: switches and wakeups become intervals; questions about them
 *   work.c           irq, syscall, lock, reclaim and block rows, sorted for lookup
 *   clock.c span.c   wall clock to kernel clock; spans and the threads they ran on
 *   txn.c            the transaction of an id, its root and window
 *   walk.c blame.c   the path and the leaf rules; every ns becomes a part of one slice
 *   cause.c          slices summed into rows;  baseline.c rank.c: what is unusual about them
 *   evidence.c notes.c answer.c state.c        what the public calls return
 */
#ifndef KP_CAUSAL_CAUSAL_INT_H
#define KP_CAUSAL_CAUSAL_INT_H

#include "base/arena.h"
#include "causal/causal.h"

#define KPI_NONE UINT32_MAX

/* Stamps beyond +-146 years of the epoch are pulled in, so that differences cannot overflow. */
#define KPI_TIME_SANE ((kp_time)1 << 62)
static inline kp_time kpi_time_sane(kp_time t)
{
    return t > KPI_TIME_SANE ? KPI_TIME_SANE : t < -KPI_TIME_SANE ? -KPI_TIME_SANE : t;
}
/* t + d, at most the ends of time. */
static inline kp_time kpi_time_add(kp_time t, kp_dur d)
{
    kp_time sum = 0;
    if (__builtin_add_overflow(t, d, &sum))
        return d < 0 ? KP_TIME_MIN : KP_TIME_MAX;
    return sum;
}

/* ---------- lists (list.c) ---------- */

#define KPI_LIST_PAGE  KP_VECTOR_ROWS
#define KPI_LIST_SPARE 256 /* bytes of the largest item */

/* Paged growing list in an arena. Out of memory sets `failed` and hands out a spare item, so that
 * writers need no checks; whoever owns the list checks once at the end. */
struct kpi_list {
    struct kp_arena *arena;
    void **pages;
    uint32_t pages_capacity;
    uint32_t item_bytes;
    uint32_t count;
    bool failed;
    _Alignas(16) char spare[KPI_LIST_SPARE];
};

void kpi_list_init(struct kpi_list *list, struct kp_arena *arena, uint32_t item_bytes);
/* A zeroed new item. */
void *kpi_list_add(struct kpi_list *list);
static inline void *kpi_list_at(const struct kpi_list *list, uint32_t i)
{
    return (char *)list->pages[i / KPI_LIST_PAGE] + (size_t)(i % KPI_LIST_PAGE) * list->item_bytes;
}
/* All items in one array (NULL when empty or out of memory: then failed is set). */
void *kpi_list_flat(struct kpi_list *list);
/* printf into the arena; "" when out of memory. */
struct kp_str kpi_text(struct kp_arena *arena, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* ---------- result tables (rows.c) ---------- */

/* A table for a schema; rows are added one by one, values default to 0 and "". Strings are
 * borrowed: they must live as long as the arena. */
kp_status kpi_rows_open(struct kp_arena *arena, const struct kp_schema *schema,
                        struct kp_rows **out) KP_MUST;
void kpi_rows_add(struct kp_rows *rows);
void kpi_rows_i64(struct kp_rows *rows, uint32_t column, int64_t value);
void kpi_rows_f64(struct kp_rows *rows, uint32_t column, double value);
void kpi_rows_str(struct kp_rows *rows, uint32_t column, struct kp_str value);
void kpi_rows_null(struct kp_rows *rows, uint32_t column);
void kpi_rows_note(struct kp_rows *rows, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* OK, or LIMIT when the arena ran out while rows were added. */
kp_status kpi_rows_check(const struct kp_rows *rows, struct kp_error *err) KP_MUST;

/* ---------- reading one stream (cursor.c) ---------- */

#define KPI_CURSOR_COLS 20

struct kpi_cursor {
    struct kp_scan *scan;
    const struct kp_batch *batch; /* NULL before the first row and after the last */
    uint32_t at;
};

struct kpi_cursor_req {
    enum kp_stream_no stream;
    kp_time from, to;
    const char *const *cols; /* stored names, NULL-terminated */
    const char *key;         /* stored STR column that must be one of strs; NULL = none */
    const struct kp_str *strs;
    uint32_t strs_count;
    const char *key2; /* a second one with a single value */
    struct kp_str str2;
    bool descending;
};

kp_status kpi_cursor_open(struct kp_snapshot *snapshot, const struct kpi_cursor_req *req,
                          struct kpi_cursor *out, struct kp_error *err) KP_MUST;
/* Moves to the next row: OK or END. */
kp_status kpi_cursor_next(struct kpi_cursor *cursor, struct kp_error *err) KP_MUST;
void kpi_cursor_close(struct kpi_cursor *cursor);
static inline int64_t kpi_cursor_i64(const struct kpi_cursor *cursor, uint32_t column)
{
    return cursor->batch->cols[column].i64[kp_batch_row(cursor->batch, cursor->at)];
}
static inline struct kp_str kpi_cursor_str(const struct kpi_cursor *cursor, uint32_t column)
{
    return kp_vec_str(&cursor->batch->cols[column], kp_batch_row(cursor->batch, cursor->at));
}

/* ---------- the world (world.c) ---------- */

struct kpi_host {
    struct kp_str name;
    kp_time first, last;  /* scheduler rows seen; first > last = none */
    uint32_t *cpu_index;  /* CPU number -> index into cpus, KPI_NONE = not seen */
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
    KPI_FLAG_PREEMPT = 1,    /* runnable because it was switched out */
    KPI_FLAG_THROTTLED = 2,  /* ... by its quota, as the kernel says */
    KPI_FLAG_IOWAIT = 4,
    KPI_FLAG_BEFORE = 8,     /* began before the first row that was read */
    KPI_FLAG_LOST = 16,      /* neighbouring rows contradict: something is missing */
    KPI_FLAG_NO_WAKER = 32,  /* blocked, then seen running without a wakeup */
    KPI_FLAG_TO_IDLE = 64,   /* it left the CPU to the idle thread */
    KPI_FLAG_OPEN = 128,     /* still so at the last row that was read */
};

/* One life of a thread id. */
struct kpi_thread {
    uint32_t host, tid, pid;
    int64_t start;
    kp_actor_id actor; /* newest attributes */
    bool kthread, idle, ended;
    kp_time born; /* first row that mentions it */
    uint32_t older_life; /* of the same tid, or KPI_NONE */
    uint32_t first, count; /* intervals: world->order[first .. first + count) */
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
    KPI_WORK_SYSCALL, /* grouped by thread */
    KPI_WORK_LOCK,    /* grouped by thread; other = owner, a = address, b = kind */
    KPI_WORK_RECLAIM, /* grouped by thread; a = op, b = pages */
    KPI_WORK_BLOCK,   /* grouped by host; a = device, b = sector, c = bytes, code = op */
    KPI_WORK_SIGNAL,  /* grouped by target thread; code = signal */
    KPI_WORK_GAP,     /* grouped by host; code = cpu or -1 */
    KPI_WORK_QUOTA,   /* grouped by host; a = throttled ns, b = quota, name = path */
    KPI_WORKS
};

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
    int64_t a, b, c;
    kp_dur queue_dur;
    struct kp_str name;
};

struct kpi_work_set {
    struct kpi_list list;
    struct kpi_work *rows; /* sorted by (group, from, to, seq) */
    uint32_t count;
};

/* One anchor: add `delta` to a wall-clock stamp at or after `real` to get a kernel stamp. */
struct kpi_anchor {
    uint32_t host;
    kp_time real;
    kp_dur delta, bound;
    bool step;
};

struct kpi_span {
    kp_time from, to; /* on the kernel's clock */
    kp_dur skew;      /* bound of that mapping; -1 = no anchor */
    uint64_t seq;
    struct kp_str id, parent, trace, txn, service, name, status_msg;
    kp_actor_id actor;
    uint32_t host, thread; /* KPI_NONE = not bound */
    uint32_t up;           /* index of the parent, KPI_NONE */
    uint8_t status, link, kind;
    bool guess; /* thread chosen among several of the process */
};

struct kpi_world {
    struct kp_snapshot *snapshot;
    struct kp_arena *arena;
    const struct kp_actors *actors;
    kp_time from, to; /* rows read */
    struct kpi_list hosts, cpus, threads, events, intervals, anchors, span_list;
    uint32_t *order;     /* intervals by thread */
    uint32_t *cpu_order; /* switch events by CPU */
    struct kpi_work_set works[KPI_WORKS];
    struct kpi_span *spans; /* sorted by (from, trace, id) */
    uint32_t spans_count;
    uint32_t *thread_slots; /* hash (host, tid) -> newest life */
    uint32_t thread_slots_capacity;
    uint32_t *actor_thread; /* actor id -> thread, KPI_NONE = look it up */
    uint32_t actor_thread_count;
    uint32_t lives; /* threads that are a second life of their tid */
    uint64_t ignored; /* rows that could not be placed */
};

#define KPI_WORLD_GET(world, field, type, i) ((type *)kpi_list_at(&(world)->field, (i)))
#define kpi_thread_of(world, i)   KPI_WORLD_GET(world, threads, struct kpi_thread, i)
#define kpi_event_of(world, i)    KPI_WORLD_GET(world, events, struct kpi_event, i)
#define kpi_interval_of(world, i) KPI_WORLD_GET(world, intervals, struct kpi_interval, i)
#define kpi_cpu_of(world, i)      KPI_WORLD_GET(world, cpus, struct kpi_cpu, i)
#define kpi_host_of(world, i)     KPI_WORLD_GET(world, hosts, struct kpi_host, i)

/* A world without any rows. */
kp_status kpi_world_bare(struct kp_snapshot *snapshot, struct kp_arena *arena,
                         struct kpi_world **out, struct kp_error *err) KP_MUST;
/* Reads the scheduler streams of [from, to], and joined rows that end up to `ahead` later (< 0:
 * none of those). */
kp_status kpi_world_load(struct kp_snapshot *snapshot, struct kp_arena *arena, kp_time from,
                         kp_time to, kp_dur ahead, struct kpi_world **out,
                         struct kp_error *err) KP_MUST;
uint32_t kpi_world_host(struct kpi_world *world, struct kp_str name);
uint32_t kpi_world_cpu(struct kpi_world *world, uint32_t host, uint32_t number);
/* Thread an actor id means while rows arrive in order; makes it on first sight. */
uint32_t kpi_world_thread(struct kpi_world *world, kp_actor_id actor, kp_time ts);
/* The thread an actor id meant at ts, or KPI_NONE; after loading. */
uint32_t kpi_world_thread_at(const struct kpi_world *world, kp_actor_id actor, kp_time ts);
/* fork and exit as the lives of a tid see them. */
void kpi_world_fork(struct kpi_world *world, kp_actor_id actor, kp_time ts);
void kpi_world_exit(struct kpi_world *world, kp_actor_id actor, kp_time ts);
bool kpi_world_failed(const struct kpi_world *world);

/* ---------- timelines (timeline.c) ---------- */

void kpi_timeline_switch(struct kpi_world *world, uint32_t event);
void kpi_timeline_waking(struct kpi_world *world, uint32_t event);
/* Closes what is open at world->to and builds the per-thread and per-CPU orders. */
void kpi_timeline_finish(struct kpi_world *world);

/* Index of the first interval of the thread that ends after t, within [0, thread->count]. */
uint32_t kpi_timeline_find(const struct kpi_world *world, const struct kpi_thread *thread,
                           kp_time t);
static inline const struct kpi_interval *kpi_timeline_at(const struct kpi_world *world,
                                                         const struct kpi_thread *thread,
                                                         uint32_t i)
{
    return kpi_interval_of(world, world->order[thread->first + i]);
}
/* Who held the CPU at t, until when (*out_until, at most limit) and by which switch (KPI_NONE before
 * the first); KPI_NONE when that is not known. */
uint32_t kpi_timeline_occupant(const struct kpi_world *world, uint32_t cpu, kp_time t,
                               kp_time limit, kp_time *out_until, uint32_t *out_event);

/* ---------- joined rows (work.c) ---------- */

kp_status kpi_works_load(struct kpi_world *world, kp_dur ahead, struct kp_error *err) KP_MUST;
/* First row of the group that could overlap [from, to); walk on with kpi_work_next. */
const struct kpi_work *kpi_work_first(const struct kpi_work_set *set, uint32_t group, kp_time from,
                                      kp_time to);
const struct kpi_work *kpi_work_next(const struct kpi_work_set *set, const struct kpi_work *row,
                                     kp_time from, kp_time to);
/* Innermost (latest begun) row of the group that covers t, or NULL. */
const struct kpi_work *kpi_work_covering(const struct kpi_work_set *set, uint32_t group,
                                         kp_time t);
/* ns of [from, to) for which events of this CPU (KPI_NONE: any of the host) may be missing. */
kp_dur kpi_gap_in(const struct kpi_world *world, uint32_t host, uint32_t cpu, kp_time from,
                  kp_time to);

/* ---------- clocks and spans (clock.c, span.c) ---------- */

kp_status kpi_clocks_load(struct kpi_world *world, kp_time from, kp_time to,
                          struct kp_error *err) KP_MUST;
/* Kernel stamp of a wall-clock stamp of a host. *out_bound < 0: no anchor, stamp taken as it is. */
kp_time kpi_clock_map(const struct kpi_world *world, uint32_t host, kp_time wall,
                      kp_dur *out_bound);

/* Adds the spans of [from, to] (ts) whose trace is one of traces (0 = any), without duplicates. */
kp_status kpi_spans_load(struct kpi_world *world, kp_time from, kp_time to,
                         const struct kp_str *traces, uint32_t traces_count,
                         struct kp_error *err) KP_MUST;
/* Sorts, drops duplicates, maps stamps, finds parents and threads. Once, after all loads. */
void kpi_spans_finish(struct kpi_world *world);
/* Innermost span bound to the thread that covers t (KPI_NONE); of this trace when given. */
uint32_t kpi_span_at(const struct kpi_world *world, uint32_t thread, kp_time t,
                     const struct kp_str *trace);

/* ---------- transactions (txn.c) ---------- */

struct kpi_txn {
    struct kp_str id, trace, root_id, service, name, status_msg;
    kp_time from, to; /* wall clock until the world maps it */
    uint8_t status;
    kp_actor_id actor;
    kp_time last; /* end of its last span */
    uint32_t spans_count;
    uint32_t orphans; /* spans whose parent is missing, beside the root */
};

/* The one transaction a request means. */
kp_status kpi_txn_find(struct kp_snapshot *snapshot, const struct kp_causes_req *req,
                       struct kp_arena *arena, struct kpi_txn *out, struct kp_error *err) KP_MUST;

/* ---------- slices (walk.c, blame.c) ---------- */

enum kpi_kind {
#define KPI_KIND(ID, name) KPI_##ID,
#include "causal/kind.def"
#undef KPI_KIND
    KPI_KINDS
};

enum kpi_rule {
#define KPI_RULE(ID, name, text) KPI_RULE_##ID,
#include "causal/rule.def"
#undef KPI_RULE
    KPI_RULES
};

enum kpi_strength { KPI_WEAK, KPI_STRONG, KPI_STRONG_COUNTER };

const char *kpi_kind_name(enum kpi_kind kind);
const char *kpi_rule_name(enum kpi_rule rule);

#define KPI_SLICE_EVIDENCE 3

/* One row behind a slice: a scheduler event, or a joined row. */
struct kpi_ref {
    uint32_t event; /* KPI_NONE = see work */
    const struct kpi_work *work;
};

struct kpi_slice {
    kp_time from, to;
    enum kpi_kind kind;
    enum kpi_rule rule, edge; /* edge: how the walk came to this thread */
    enum kpi_strength strength;
    uint32_t thread; /* victim, KPI_NONE = none known */
    kp_actor_id actor;
    uint32_t cpu;    /* KPI_NONE = off CPU */
    uint32_t span;   /* KPI_NONE */
    uint32_t culprit;
    kp_actor_id culprit_actor;
    struct kp_str subkind, object;
    kp_dur gap, idle_elsewhere;
    const char *stop; /* "" or horizon, cycle, depth, lost */
    struct kpi_ref refs[KPI_SLICE_EVIDENCE];
    uint32_t refs_count;
    bool timeout; /* explains a wait that a timer ended */
};

struct kpi_walk {
    const struct kpi_world *world;
    struct kp_arena *arena;
    const struct kpi_txn *txn;
    void (*emit)(void *ctx, const struct kpi_slice *slice);
    void *ctx;
    kp_time cursor; /* everything before it has been given out */
};

/* Gives out slices that partition [from, to) exactly, in order of time. */
void kpi_walk_run(struct kpi_walk *walk, uint32_t thread, uint32_t span, kp_time from, kp_time to);

/* One thread being explained over one window; frames of one walk form a chain. */
struct kpi_frame {
    const struct kpi_frame *parent;
    uint32_t thread;
    kp_time from, to;
    enum kpi_rule edge;
    enum kpi_strength strength;
    const struct kpi_work *lock; /* the wait for this lock is being explained */
    bool timeout;
    unsigned depth;
};

/* blame.c, blame_wait.c: leaf rules. Each gives out all of [from, to). */
void kpi_blame_running(struct kpi_walk *walk, const struct kpi_frame *frame,
                       const struct kpi_interval *iv, kp_time from, kp_time to);
void kpi_blame_runnable(struct kpi_walk *walk, const struct kpi_frame *frame,
                        const struct kpi_interval *iv, kp_time from, kp_time to);
void kpi_blame_unknown(struct kpi_walk *walk, const struct kpi_frame *frame, const char *reason,
                       kp_time from, kp_time to);
void kpi_blame_reclaim(struct kpi_walk *walk, const struct kpi_frame *frame,
                       const struct kpi_interval *iv, const struct kpi_work *row, kp_time from,
                       kp_time to);
void kpi_blame_lock(struct kpi_walk *walk, const struct kpi_frame *frame,
                    const struct kpi_interval *iv, const struct kpi_work *row, kp_time from,
                    kp_time to);
/* A wait that a device, a timer, the network or nothing known ended. */
void kpi_blame_wait(struct kpi_walk *walk, const struct kpi_frame *frame,
                    const struct kpi_interval *iv, kp_time from, kp_time to);
/* The request whose completion ended the wait, or NULL. */
const struct kpi_work *kpi_block_match(const struct kpi_world *world,
                                       const struct kpi_interval *iv);
void kpi_blame_block(struct kpi_walk *walk, const struct kpi_frame *frame,
                     const struct kpi_interval *iv, const struct kpi_work *row, kp_time from,
                     kp_time to);
/* A message on its way between this frame's thread and the one that asked. */
void kpi_blame_handover(struct kpi_walk *walk, const struct kpi_frame *frame, const char *stop,
                        kp_time from, kp_time to);
/* What a wakeup's context says about its source. */
bool kpi_wake_is_timer(const struct kpi_event *event);
bool kpi_wake_is_net(const struct kpi_event *event);
/* The system call the thread was in when it fell asleep (NULL), and whether it can only sleep. */
const struct kpi_work *kpi_wait_syscall(const struct kpi_world *world,
                                        const struct kpi_interval *iv);
bool kpi_syscall_sleeps(const struct kpi_work *syscall);
bool kpi_syscall_sends(const struct kpi_work *syscall);

/* Calls inside for the parts of [from, to) that rows of the group cover and outside for the rest,
 * in order of time; of overlapping rows the earlier begun wins. */
typedef void (*kpi_outside_fn)(struct kpi_walk *walk, const struct kpi_frame *frame,
                               const struct kpi_interval *iv, kp_time from, kp_time to);
typedef void (*kpi_inside_fn)(struct kpi_walk *walk, const struct kpi_frame *frame,
                              const struct kpi_interval *iv, const struct kpi_work *row,
                              kp_time from, kp_time to);
struct kpi_cut {
    enum kpi_works set;
    kpi_inside_fn inside;
    kpi_outside_fn outside;
};
void kpi_cut_run(struct kpi_walk *walk, const struct kpi_frame *frame,
                 const struct kpi_interval *iv, const struct kpi_cut *cut, uint32_t group,
                 kp_time from, kp_time to);

/* A slice of the frame's thread, prefilled; iv may be NULL. */
struct kpi_slice kpi_slice_make(const struct kpi_walk *walk, const struct kpi_frame *frame,
                                const struct kpi_interval *iv, kp_time from, kp_time to);
/* Gives a slice out; empty ones are dropped. Slices must come in order without holes. */
void kpi_slice_emit(struct kpi_walk *walk, struct kpi_slice *slice);
void kpi_slice_event(struct kpi_slice *slice, uint32_t event);
void kpi_slice_work(struct kpi_slice *slice, const struct kpi_work *work);

/* ---------- rows of the answer (cause.c, baseline.c, rank.c, answer.c) ---------- */

#define KPI_CAUSE_REFS 200 /* events kept for EVIDENCE OF one row */

struct kpi_ref_node {
    struct kpi_ref ref;
    struct kpi_ref_node *next;
};

/* All slices of one (kind, culprit process, object, victim thread, span). */
struct kpi_cause {
    struct kpi_slice largest;
    kp_time start; /* of the first slice */
    kp_dur dur, weak, gap, idle_elsewhere, skew;
    kp_dur excess; /* valid when there is a baseline */
    bool root;
    bool timeout;
    uint32_t slices;
    uint32_t order; /* of first appearance */
    struct kp_str object_class;
    struct kpi_ref_node *refs, *refs_last;
    uint32_t refs_count;
    struct kpi_cause *next; /* in the hash chain */
};

#define KPI_CAUSE_SLOTS 512

struct kpi_causes {
    struct kp_arena *arena;
    const struct kpi_world *world;
    struct kpi_list list; /* struct kpi_cause * */
    struct kpi_cause *slots[KPI_CAUSE_SLOTS];
    kp_dur wall;
    bool keep_refs;
};

void kpi_causes_init(struct kpi_causes *causes, struct kp_arena *arena,
                     const struct kpi_world *world, bool keep_refs);
/* An emit function: ctx is the struct kpi_causes. */
void kpi_causes_add(void *ctx, const struct kpi_slice *slice);
static inline struct kpi_cause *kpi_cause_at(const struct kpi_causes *causes, uint32_t i)
{
    return *(struct kpi_cause **)kpi_list_at(&causes->list, i);
}
/* True when there is somebody or something to name. */
bool kpi_cause_named(const struct kpi_cause *cause);
/* Strong unless more than a tenth of the row's time is weak. */
const char *kpi_cause_strength(const struct kpi_cause *cause);

/* One (kind, object class, rule) of a class of transactions. */
struct kpi_norm {
    enum kpi_kind kind;
    enum kpi_rule rule;
    struct kp_str object_class;
    kp_dur median;
};

struct kpi_baseline {
    uint32_t used; /* transactions compared with; 0 = none */
    kp_dur wall_median, wall_p95;
    struct kpi_norm *norms;
    uint32_t norms_count;
};

kp_status kpi_baseline_make(struct kp_snapshot *snapshot, const struct kp_causes_req *req,
                            const struct kpi_txn *txn, struct kp_arena *arena,
                            struct kpi_baseline *out, struct kp_error *err) KP_MUST;
/* Why there is a root, or none. */
enum kpi_verdict {
    KPI_VERDICT_ROOT,
    KPI_VERDICT_NOT_SLOW,    /* within what its class usually takes */
    KPI_VERDICT_UNEXPLAINED, /* most of the excess has no cause that can be named */
    KPI_VERDICT_SPREAD,      /* no single cause is large enough */
};
/* Gives every cause its excess, sorts them and marks the root. NULL when out of memory. */
struct kpi_cause **kpi_rank(struct kpi_causes *causes, const struct kpi_baseline *baseline,
                            enum kpi_verdict *out_verdict);

/* Reads clocks and spans into a loaded world. Traces: those of the transactions to walk. */
kp_status kpi_world_spans(struct kpi_world *world, const struct kp_str *traces,
                          uint32_t traces_count, kp_time from, kp_time to,
                          struct kp_error *err) KP_MUST;
/* Index of a span by (trace, id), or KPI_NONE. */
uint32_t kpi_span_find(const struct kpi_world *world, struct kp_str trace, struct kp_str id);

/* Everything one answer is made from. */
struct kpi_answer {
    struct kpi_txn txn;
    struct kpi_world *world;
    uint32_t root; /* span */
    kp_time from, to;
    struct kpi_causes causes;
    struct kpi_baseline baseline;
    enum kpi_verdict verdict;
    struct kpi_cause **ranked;
};

/* The remarks above an answer (notes.c). */
kp_status kpi_notes_add(const struct kpi_answer *answer, const struct kp_causes_req *req,
                        struct kp_rows *rows, struct kp_error *err) KP_MUST;
/* EVIDENCE rows of answer's row (0 = all) (evidence.c). */
kp_status kpi_evidence_rows(const struct kpi_answer *answer, uint32_t row, struct kp_arena *arena,
                            struct kp_rows **out, struct kp_error *err) KP_MUST;
/* "host/cpu/seq" of a row behind a slice. */
struct kp_str kpi_ref_text(const struct kpi_world *world, const struct kpi_ref *ref,
                           struct kp_arena *arena);

#endif
