/* SPDX-License-Identifier: Apache-2.0
 *
 * Joined rows (interrupts, system calls, lock waits, reclaim, block requests, signals, gaps, quota
 * samples) as arrays sorted by (group, from): a group is what a question asks about, a CPU, a
 * thread or a host. `reach` is the running maximum of the ends, so a search can step back over
 * rows that began earlier and still overlap, however they nest.
 *
 * A set is read when it is first asked for: most questions need few of them. Reading one thread of
 * it alone was tried and costs more: a scan for each thread and set instead of one for the set.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "causal/cursor.h"
#include "causal/net.h"
#include "causal/timeline.h"

#define QUOTA_MARGIN (3 * KP_SEC) /* counters are sampled about once a second */
#define GAP_AHEAD    (10 * KP_SEC)

enum { LETTER_IDLE = 128 }; /* catalogue: TASK_STATE */

struct work_row {
    struct kpi_world *world;
    struct kpi_cursor *cursor;
    struct kpi_work *work;
    uint32_t host;
};

/* ---------- one filler per stream; columns after the four common ones ---------- */

static void end_after(struct work_row *row, int64_t dur)
{
    row->work->from = kpi_time_sane(row->work->to - KP_MAX(kpi_time_sane(dur), 0));
}

static bool fill_irq(struct work_row *row)
{
    if (kpi_cursor_i64(row->cursor, 5) > 1)
        return false; /* a sum over a period: it cannot be placed */
    end_after(row, kpi_cursor_i64(row->cursor, 4));
    row->work->group = row->work->cpu;
    row->work->code = (int32_t)kpi_cursor_i64(row->cursor, 6);
    return row->work->cpu != KPI_NONE;
}

static bool fill_hardirq(struct work_row *row)
{
    row->work->name = kp_arena_str(row->world->arena, kpi_cursor_str(row->cursor, 7));
    return fill_irq(row);
}

static bool fill_syscall(struct work_row *row)
{
    end_after(row, kpi_cursor_i64(row->cursor, 4));
    row->work->group = row->work->thread;
    row->work->code = (int32_t)kpi_cursor_i64(row->cursor, 5);
    row->work->a = kpi_cursor_i64(row->cursor, 6);
    row->work->b = kpi_cursor_i64(row->cursor, 7);
    row->work->c = kpi_cursor_i64(row->cursor, 8);
    row->work->d = kpi_cursor_i64(row->cursor, 9);
    return row->work->thread != KPI_NONE;
}

enum { LOCK_RWLOCK_READ = 2, LOCK_RWSEM_READ = 5 }; /* catalogue: LOCK_KIND */

static bool fill_lock(struct work_row *row)
{
    end_after(row, kpi_cursor_i64(row->cursor, 4));
    row->work->group = row->work->thread;
    row->work->a = kpi_cursor_i64(row->cursor, 5);
    row->work->other_actor = (kp_actor_id)kpi_cursor_i64(row->cursor, 6);
    row->work->b = kpi_cursor_i64(row->cursor, 7);
    row->work->other = kpi_world_thread_at(row->world, row->work->other_actor, row->work->from);
    return row->work->thread != KPI_NONE;
}

/* Shared holders do not take turns: a reader that got it says nothing about who holds it. */
static bool fill_got(struct work_row *row)
{
    int64_t kind = kpi_cursor_i64(row->cursor, 7);
    row->work->from = row->work->to;
    row->work->a = kpi_cursor_i64(row->cursor, 5);
    row->work->group = kpi_lock_group(row->host, row->work->a);
    return row->work->thread != KPI_NONE && kind != LOCK_RWLOCK_READ && kind != LOCK_RWSEM_READ;
}

static bool fill_reclaim(struct work_row *row)
{
    end_after(row, kpi_cursor_i64(row->cursor, 4));
    row->work->group = row->work->thread;
    row->work->b = kpi_cursor_i64(row->cursor, 5);
    row->work->a = kpi_cursor_i64(row->cursor, 6);
    return row->work->thread != KPI_NONE;
}

static bool fill_block(struct work_row *row)
{
    end_after(row, kpi_cursor_i64(row->cursor, 4));
    row->work->group = row->host;
    row->work->queue_dur = kpi_time_sane(kpi_cursor_i64(row->cursor, 5));
    row->work->b = kpi_cursor_i64(row->cursor, 6);
    row->work->c = kpi_cursor_i64(row->cursor, 7);
    row->work->a = kpi_cursor_i64(row->cursor, 8);
    row->work->code = (int32_t)kpi_cursor_i64(row->cursor, 9);
    return true;
}

static bool fill_ended(struct work_row *row)
{
    return fill_block(row) && row->work->to <= row->world->to;
}

static bool fill_flight(struct work_row *row)
{
    return fill_block(row) && row->work->to > row->world->to;
}

static bool fill_signal(struct work_row *row)
{
    row->work->from = row->work->to;
    row->work->other_actor = (kp_actor_id)kpi_cursor_i64(row->cursor, 4);
    row->work->other = kpi_world_thread_at(row->world, row->work->other_actor, row->work->to);
    row->work->group = row->work->other;
    row->work->code = (int32_t)kpi_cursor_i64(row->cursor, 5);
    return row->work->group != KPI_NONE;
}

enum { GAP_JOIN_LOST = 7 }; /* catalogue: GAP_REASON */

static bool fill_gap(struct work_row *row)
{
    end_after(row, kpi_cursor_i64(row->cursor, 4));
    struct kp_str stream = kpi_cursor_str(row->cursor, 5);
    row->work->group = row->host;
    row->work->code = (int32_t)kpi_cursor_i64(row->cursor, KP_COL_CPU);
    row->work->a = kpi_cursor_i64(row->cursor, 6);
    if (row->work->a == GAP_JOIN_LOST) {
        row->world->joins_lost += KP_MAX(kpi_cursor_i64(row->cursor, 7), 0);
        return false;
    }
    /* only what the timelines are made of makes them doubtful */
    return stream.len == 0 || kp_str_equal(stream, KP_STR("sched_switch")) ||
           kp_str_equal(stream, KP_STR("sched_waking"));
}

static bool fill_quota(struct work_row *row)
{
    row->work->from = row->work->to;
    row->work->group = row->host;
    row->work->name = kp_arena_str(row->world->arena, kpi_cursor_str(row->cursor, 4));
    row->work->b = kpi_cursor_i64(row->cursor, 5);
    row->work->a = kpi_cursor_i64(row->cursor, 6);
    return true;
}

/* ---------- the network: one row, by thread for who waits and by ends for who is waited for -----
 */

enum { SOCK_SEND, SOCK_RECEIVE, SOCK_CONNECT, SOCK_ACCEPT }; /* catalogue: SOCK_OP */
enum { EPHEMERAL_MIN = 32768 }; /* where the kernel's own choice of ports begins by default */
enum { TCP_FIN_WAIT1 = 4, TCP_CLOSE = 7, TCP_LAST_ACK = 9 }; /* catalogue: TCP_STATE */

/* The end that asks gets its port from the kernel, the one that is asked has a port of its own. */
static enum kpi_side side_of(const struct kpi_ends *ends)
{
    bool own = ends->sport >= EPHEMERAL_MIN, peer = ends->dport >= EPHEMERAL_MIN;
    return own == peer ? KPI_SIDE_UNKNOWN : own ? KPI_SIDE_CLIENT : KPI_SIDE_SERVER;
}

/* Columns 4..9 of all rows about a connection. */
static void fill_ends(struct work_row *row)
{
    struct kpi_ends ends = {
        .host = row->host,
        .net = kpi_cursor_i64(row->cursor, 4),
        .saddr = kpi_cursor_str(row->cursor, 5),
        .daddr = kpi_cursor_str(row->cursor, 6),
        .sport = kpi_cursor_i64(row->cursor, 7),
        .dport = kpi_cursor_i64(row->cursor, 8),
        .family = kpi_cursor_i64(row->cursor, 9),
    };
    kpi_ends_keys(&ends, &row->work->a, &row->work->b);
    row->work->side = side_of(&ends);
    row->work->name = kpi_ends_text(&ends, row->world->arena);
    row->work->group = (uint32_t)row->work->a;
}

static bool fill_sock(struct work_row *row)
{
    end_after(row, kpi_cursor_i64(row->cursor, 10));
    fill_ends(row);
    row->work->d = kpi_cursor_i64(row->cursor, 11);
    row->work->c = kpi_cursor_i64(row->cursor, 12);
    row->work->code = (int32_t)kpi_cursor_i64(row->cursor, 13);
    row->work->flow = kpi_cursor_i64(row->cursor, 14) == KPI_PROTO_TCP;
    if (kpi_cursor_i64(row->cursor, 9) == KPI_FAMILY_UNIX) {
        row->work->a = kpi_cursor_i64(row->cursor, 15);
        row->work->b = kpi_cursor_i64(row->cursor, 16);
        row->work->group = (uint32_t)row->work->a;
        row->work->side = KPI_SIDE_UNKNOWN;
        row->work->name = KP_STR("unix");
    }
    return row->work->thread != KPI_NONE;
}

static bool fill_receive(struct work_row *row)
{
    if (!fill_sock(row))
        return false;
    row->work->group = row->work->thread;
    return row->work->code != SOCK_SEND && row->work->d >= 0;
}

static bool fill_send(struct work_row *row)
{
    if (!fill_sock(row))
        return false;
    return row->work->code == SOCK_CONNECT || (row->work->code == SOCK_SEND && row->work->d > 0);
}

/* Who closed its side; changes made by packets and timers are nobody's. */
static bool fill_close(struct work_row *row)
{
    int64_t state = kpi_cursor_i64(row->cursor, 10);
    row->work->from = row->work->to;
    fill_ends(row);
    row->work->flow = true;
    return row->work->thread != KPI_NONE && kpi_cursor_i64(row->cursor, 11) == 0 &&
           (state == TCP_FIN_WAIT1 || state == TCP_LAST_ACK || state == TCP_CLOSE);
}

static bool fill_resent(struct work_row *row)
{
    row->work->from = row->work->to;
    fill_ends(row);
    row->work->c = kpi_cursor_i64(row->cursor, 10);
    return true;
}

/* ---------- workers, faults, writing back, priorities, places ---------- */

static bool fill_queued(struct work_row *row)
{
    end_after(row, kpi_cursor_i64(row->cursor, 4));
    row->work->group = row->work->thread;
    row->work->queue_dur = kpi_time_sane(KP_MAX(kpi_cursor_i64(row->cursor, 5), 0));
    row->work->other_actor = (kp_actor_id)kpi_cursor_i64(row->cursor, 6);
    row->work->code = (int32_t)kpi_cursor_i64(row->cursor, 7);
    row->work->name = kp_arena_str(row->world->arena, kpi_cursor_str(row->cursor, 8));
    kp_time queued = kpi_time_sane(row->work->from - row->work->queue_dur);
    row->work->other = kpi_world_thread_at(row->world, row->work->other_actor, queued);
    return row->work->thread != KPI_NONE;
}

static bool fill_fault(struct work_row *row)
{
    end_after(row, kpi_cursor_i64(row->cursor, 4));
    row->work->group = row->work->thread;
    row->work->a = kpi_cursor_i64(row->cursor, 5);
    row->work->b = kpi_cursor_i64(row->cursor, 6);
    row->work->c = kpi_cursor_i64(row->cursor, 7);
    return row->work->thread != KPI_NONE;
}

enum { WRITEBACK_PAUSE, WRITEBACK_COMMIT }; /* catalogue: WRITEBACK_OP */

static bool fill_writeback(struct work_row *row, int64_t op)
{
    end_after(row, kpi_cursor_i64(row->cursor, 4));
    row->work->group = row->work->thread;
    row->work->a = kpi_cursor_i64(row->cursor, 5);
    row->work->b = kpi_cursor_i64(row->cursor, 6);
    row->work->code = (int32_t)op;
    return row->work->thread != KPI_NONE && kpi_cursor_i64(row->cursor, 7) == op;
}

static bool fill_pause(struct work_row *row)
{
    return fill_writeback(row, WRITEBACK_PAUSE);
}

static bool fill_commit(struct work_row *row)
{
    return fill_writeback(row, WRITEBACK_COMMIT);
}

/* The thread in an actor column is what the row is about; nothing lasts. */
static void about(struct work_row *row, uint32_t column)
{
    kp_actor_id actor = (kp_actor_id)kpi_cursor_i64(row->cursor, column);
    row->work->from = row->work->to;
    row->work->group = kpi_world_thread_at(row->world, actor, row->work->to);
}

static bool fill_boost(struct work_row *row)
{
    about(row, 4);
    row->work->other_actor = (kp_actor_id)kpi_cursor_i64(row->cursor, 5);
    row->work->other = kpi_world_thread_at(row->world, row->work->other_actor, row->work->to);
    row->work->a = kpi_cursor_i64(row->cursor, 6);
    row->work->b = kpi_cursor_i64(row->cursor, 7);
    return row->work->group != KPI_NONE;
}

static bool fill_move(struct work_row *row)
{
    about(row, 4);
    row->work->a = kpi_cursor_i64(row->cursor, 5);
    row->work->b = kpi_cursor_i64(row->cursor, 6);
    return row->work->group != KPI_NONE;
}

static bool fill_task(struct work_row *row)
{
    row->work->from = row->work->to;
    row->work->group = row->work->thread;
    row->work->other_actor = (kp_actor_id)kpi_cursor_i64(row->cursor, 4);
    row->work->other = kpi_world_thread_at(row->world, row->work->other_actor, row->work->to);
    row->work->code = (int32_t)kpi_cursor_i64(row->cursor, 5);
    row->work->a = kpi_cursor_i64(row->cursor, 6);
    return row->work->group != KPI_NONE;
}

/* What shows that no row of a group that began by an instant is yet to end. */
enum ending {
    ENDING_NEVER,   /* nothing */
    ENDING_AT_ONCE, /* rows are instants */
    ENDING_CALL,    /* the thread's return from a system call, or from the work it carried out */
    ENDING_TURN,    /* ... or its next row */
    ENDING_SWITCH,  /* a switch on the CPU */
    ENDING_READ,    /* all of the range is read in any case */
};

static const char *const irq_cols[] = {"ts",    "seq", "cpu",  "actor", "dur",
                                       "count", "irq", "name", NULL};
static const char *const softirq_cols[] = {"ts",  "seq",   "cpu", "actor",
                                           "dur", "count", "vec", NULL};
static const char *const syscall_cols[] = {"ts",  "seq",  "cpu",  "actor", "dur", "nr",
                                           "ret", "arg0", "arg1", "arg2",  NULL};
static const char *const lock_cols[] = {"ts",   "seq",   "cpu",  "actor", "dur",
                                        "addr", "owner", "kind", NULL};
static const char *const reclaim_cols[] = {"ts",  "seq",       "cpu", "actor",
                                           "dur", "reclaimed", "op",  NULL};
static const char *const block_cols[] = {"ts",     "seq",   "cpu", "actor", "dur", "queue_dur",
                                         "sector", "bytes", "dev", "op",    NULL};
static const char *const signal_cols[] = {"ts", "seq", "cpu", "actor", "target", "sig", NULL};
static const char *const gap_cols[] = {"ts",     "seq",    "cpu",   "actor", "dur",
                                       "stream", "reason", "count", NULL};
static const char *const quota_cols[] = {"ts",   "seq",   "cpu",           "actor",
                                         "path", "quota", "throttled_dur", NULL};
static const char *const sock_cols[] = {"ts",      "seq",   "cpu",   "actor",     "net",  "saddr",
                                        "daddr",   "sport", "dport", "ip_family", "dur",  "bytes",
                                        "tcp_seq", "op",    "proto", "obj",       "peer", NULL};
static const char *const close_cols[] = {"ts",        "seq",     "cpu",   "actor", "net",
                                         "saddr",     "daddr",   "sport", "dport", "ip_family",
                                         "tcp_state", "context", NULL};
static const char *const resent_cols[] = {"ts",    "seq",       "cpu",     "actor",
                                          "net",   "saddr",     "daddr",   "sport",
                                          "dport", "ip_family", "tcp_seq", NULL};
static const char *const queued_cols[] = {"ts",        "seq",       "cpu",     "actor", "dur",
                                          "queue_dur", "submitter", "context", "name",  NULL};
static const char *const fault_cols[] = {"ts",      "seq", "cpu",    "actor", "dur",
                                         "obj_dev", "obj", "offset", NULL};
static const char *const writeback_cols[] = {"ts",  "seq", "cpu", "actor", "dur",
                                             "dev", "id",  "op",  NULL};
static const char *const boost_cols[] = {"ts",    "seq",      "cpu",      "actor", "target",
                                         "donor", "old_prio", "new_prio", NULL};
static const char *const move_cols[] = {"ts",     "seq",      "cpu",    "actor",
                                        "thread", "from_cpu", "to_cpu", NULL};
static const char *const task_cols[] = {"ts",     "seq", "cpu",      "actor",
                                        "parent", "op",  "cpu_mask", NULL};

static const struct {
    enum kp_stream_no stream;
    const char *const *cols;
    bool (*fill)(struct work_row *row);
    kp_dur before, ahead; /* beyond the world's range; ahead 0 = the load's own */
    enum ending ending;
    bool by_thread; /* asked for by threads that have rows */
} sets[KPI_WORKS] = {
    [KPI_WORK_IRQ] = {KP_S_IRQ, irq_cols, fill_hardirq, 0, 0, ENDING_SWITCH, false},
    [KPI_WORK_SOFTIRQ] = {KP_S_SOFTIRQ, softirq_cols, fill_irq, 0, 0, ENDING_SWITCH, false},
    [KPI_WORK_SYSCALL] = {KP_S_SYSCALL, syscall_cols, fill_syscall, 0, 0, ENDING_TURN, true},
    [KPI_WORK_LOCK] = {KP_S_LOCK, lock_cols, fill_lock, 0, 0, ENDING_CALL, true},
    [KPI_WORK_GOT] = {KP_S_LOCK, lock_cols, fill_got, 0, 0, ENDING_AT_ONCE, false},
    [KPI_WORK_RECLAIM] = {KP_S_VMSCAN, reclaim_cols, fill_reclaim, 0, 0, ENDING_CALL, true},
    [KPI_WORK_BLOCK] = {KP_S_BLOCK_RQ, block_cols, fill_ended, 0, 0, ENDING_AT_ONCE, false},
    [KPI_WORK_FLIGHT] = {KP_S_BLOCK_RQ, block_cols, fill_flight, 0, 0, ENDING_READ, false},
    [KPI_WORK_SIGNAL] = {KP_S_SIGNAL, signal_cols, fill_signal, 0, 0, ENDING_AT_ONCE, false},
    [KPI_WORK_GAP] = {KP_S_GAPS, gap_cols, fill_gap, 0, GAP_AHEAD, ENDING_READ, false},
    [KPI_WORK_QUOTA] = {KP_S_CGROUP_STAT, quota_cols, fill_quota, QUOTA_MARGIN, QUOTA_MARGIN,
                        ENDING_READ, false},
    [KPI_WORK_RECEIVE] = {KP_S_SOCK, sock_cols, fill_receive, 0, 0, ENDING_CALL, true},
    [KPI_WORK_SEND] = {KP_S_SOCK, sock_cols, fill_send, 0, 0, ENDING_NEVER, false},
    [KPI_WORK_CLOSE] = {KP_S_TCP_STATE, close_cols, fill_close, 0, 0, ENDING_AT_ONCE, false},
    [KPI_WORK_RESENT] = {KP_S_TCP_RETRANSMIT, resent_cols, fill_resent, 0, 0, ENDING_AT_ONCE,
                         false},
    [KPI_WORK_QUEUED] = {KP_S_WORKQUEUE, queued_cols, fill_queued, 0, 0, ENDING_TURN, true},
    [KPI_WORK_FAULT] = {KP_S_FAULT, fault_cols, fill_fault, 0, 0, ENDING_CALL, true},
    [KPI_WORK_PAUSE] = {KP_S_WRITEBACK, writeback_cols, fill_pause, 0, 0, ENDING_CALL, true},
    [KPI_WORK_COMMIT] = {KP_S_WRITEBACK, writeback_cols, fill_commit, 0, 0, ENDING_TURN, true},
    [KPI_WORK_BOOST] = {KP_S_PI, boost_cols, fill_boost, 0, 0, ENDING_AT_ONCE, true},
    [KPI_WORK_MOVE] = {KP_S_MIGRATE, move_cols, fill_move, 0, 0, ENDING_AT_ONCE, true},
    [KPI_WORK_TASK] = {KP_S_TASK, task_cols, fill_task, 0, 0, ENDING_AT_ONCE, true},
};

/* ---------- loading ---------- */

/* The host of a row without an actor: the only one there is, else the nameless one. */
static uint32_t host_of_actor(struct kpi_world *world, kp_actor_id actor)
{
    if (actor == KP_ACTOR_UNKNOWN)
        return world->hosts.count == 2 ? 1 : 0;
    return kpi_world_host(world, kp_actors_get(world->actors, actor)->host);
}

/* It names a thread that has no rows of the scheduler among those that were read. */
static bool is_unseen(const struct kpi_work *work)
{
    enum kp_stream_no stream = (enum kp_stream_no)work->stream;
    if (stream == KP_S_IRQ || stream == KP_S_SOFTIRQ || stream == KP_S_GAPS ||
        stream == KP_S_CGROUP_STAT)
        return false;
    return (work->actor != KP_ACTOR_UNKNOWN && work->thread == KPI_NONE) ||
           (work->other_actor != KP_ACTOR_UNKNOWN && work->other == KPI_NONE);
}

static void work_add(struct kpi_world *world, enum kpi_works kind, struct kpi_cursor *cursor,
                     struct kpi_list *list, bool *out_dropped)
{
    struct kpi_work work = {
        .seq = (uint64_t)kpi_cursor_i64(cursor, KP_COL_SEQ),
        .actor = (kp_actor_id)kpi_cursor_i64(cursor, KP_COL_ACTOR),
        .stream = (uint8_t)sets[kind].stream,
        .other = KPI_NONE,
    };
    struct work_row row = {world, cursor, &work, host_of_actor(world, work.actor)};
    work.to = kpi_world_stamp(world, row.host, kpi_cursor_i64(cursor, KP_COL_TS));
    work.thread = kpi_world_thread_at(world, work.actor, work.to);
    work.cpu = sets[kind].stream == KP_S_GAPS
                   ? KPI_NONE
                   : kpi_world_cpu(world, row.host, (uint32_t)kpi_cursor_i64(cursor, KP_COL_CPU));
    if (sets[kind].fill(&row)) {
        work.unseen = is_unseen(&work);
        *(struct kpi_work *)kpi_list_add(list) = work;
    } else {
        world->ignored++;
        *out_dropped |= is_unseen(&work) && work.from <= world->to;
    }
}

static int work_compare(const void *a, const void *b)
{
    const struct kpi_work *x = a, *y = b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    if (x->from != y->from)
        return x->from < y->from ? -1 : 1;
    if (x->to != y->to)
        return x->to < y->to ? -1 : 1;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* The last item of the list is the one behind the rows. */
static bool rows_sort(struct kpi_list *list, struct kpi_work_rows *out)
{
    struct kpi_work *end = kpi_list_add(list);
    end->group = KPI_NONE;
    end->from = end->to = KP_TIME_MAX;
    struct kpi_work *rows = kpi_list_flat(list);
    if (list->failed || rows == NULL)
        return false;
    uint32_t count = list->count - 1;
    if (count > 1)
        qsort(rows, count, sizeof(*rows), work_compare);
    for (uint32_t i = 0; i < count; i++) {
        bool same = i > 0 && rows[i - 1].group == rows[i].group;
        rows[i].reach = same ? KP_MAX(rows[i - 1].reach, rows[i].to) : rows[i].to;
    }
    out->rows = rows;
    out->count = count;
    return true;
}

/* The times of the rows of a set: of the whole range, or of the part of the world. */
static struct kpi_cursor_req rows_req(const struct kpi_world *world, enum kpi_works kind, bool part)
{
    kp_time from = part ? world->floor : world->from;
    kp_dur ahead = sets[kind].ahead == 0 ? world->ahead : sets[kind].ahead;
    if (part && (world->reach->ahead >> kind & 1) == 0)
        ahead = 0;
    if (kind == KPI_WORK_FLIGHT)
        from = world->to;
    return (struct kpi_cursor_req){
        .stream = sets[kind].stream,
        .from = kpi_time_add(from, -sets[kind].before - world->slack),
        .to = kpi_time_add(world->to, ahead + world->slack),
        .cols = sets[kind].cols,
    };
}

static kp_status rows_read(struct kpi_world *world, enum kpi_works kind, struct kpi_work_rows *out,
                           struct kp_error *err)
{
    bool part = world->reach != NULL && sets[kind].ending != ENDING_READ, dropped = false;
    struct kpi_cursor_req req = rows_req(world, kind, part);
    struct kpi_cursor cursor;
    struct kpi_list list;
    kp_status status = kpi_cursor_open(world->reader, &req, &cursor, err);
    if (status != KP_OK)
        return status;
    kpi_list_init(&list, world->arena, sizeof(struct kpi_work));
    while ((status = kpi_cursor_next(&cursor, err)) == KP_OK && !list.failed)
        work_add(world, kind, &cursor, &list, &dropped);
    kpi_cursor_close(&cursor);
    if (status != KP_OK && status != KP_END)
        return status;
    out->dropped = dropped && part && !sets[kind].by_thread;
    return rows_sort(&list, out) ? KP_OK : kp_arena_error(world->arena, err);
}

/* ---------- reading on demand ---------- */

struct kpi_work_reads {
    struct kpi_world *world;
    enum kpi_works kind;
    bool done;
    bool looked, stored; /* of parts: whether the store has rows in all of the range */
    struct kpi_work_rows rows;
};

static const struct kpi_work_rows nothing;

/* A failure is remembered and told at the end of the question, which sees no rows until then. */
const struct kpi_work_rows *kpi_work_all(const struct kpi_work_set *set)
{
    struct kpi_work_reads *reads = set->reads;
    if (reads == NULL)
        return &nothing;
    struct kpi_reader *reader = reads->world->reader;
    if (!reads->done && reader->failed == KP_OK) {
        reader->failed = rows_read(reads->world, reads->kind, &reads->rows, &reader->failed_err);
        reads->done = true;
    }
    return &reads->rows;
}

/* Whether the store has a row of that kind. A failure is kept for the end of the question. */
static bool is_stored(struct kpi_reader *reader, struct kpi_cursor_req *req)
{
    static const char *const none[] = {NULL};
    struct kpi_cursor cursor;
    req->cols = none;
    if (reader->failed != KP_OK)
        return false;
    kp_status status = kpi_cursor_open(reader, req, &cursor, &reader->failed_err);
    if (status == KP_OK) {
        if (kpi_cursor_pages(&cursor) == 0)
            status = KP_END;
        else
            status = kpi_cursor_next(&cursor, &reader->failed_err);
        kpi_cursor_close(&cursor);
    }
    if (status != KP_OK && status != KP_END)
        reader->failed = status;
    return status == KP_OK;
}

/* No row of the set lies in the question's range, read or not. */
static bool is_empty(const struct kpi_work_set *set)
{
    struct kpi_work_reads *reads = set->reads;
    if (reads == NULL || kpi_work_all(set)->count > 0)
        return reads == NULL;
    if (reads->world->reach != NULL && !reads->looked) {
        struct kpi_cursor_req req = rows_req(reads->world, reads->kind, false);
        reads->stored = is_stored(reads->world->reader, &req);
        reads->looked = true;
    }
    return !reads->stored;
}

const struct kpi_work_rows *kpi_work_since(const struct kpi_work_set *set, kp_time t)
{
    const struct kpi_work_rows *rows = kpi_work_all(set);
    if (set->reads != NULL && set->reads->world->reach != NULL && !is_empty(set)) {
        kpi_reach_back(set->reads->world, t);
        if (rows->dropped)
            kpi_miss_before(set->reads->world);
    }
    return rows;
}

bool kpi_work_any(const struct kpi_work_set *set)
{
    if (is_empty(set))
        return false;
    if (kpi_work_all(set)->count > 0)
        return true;
    kpi_miss_before(set->reads->world); /* whether those would count is not known */
    return false;
}

void kpi_work_check_before(const struct kpi_work_set *set, uint32_t thread)
{
    const struct kpi_world *world = set->reads == NULL ? NULL : set->reads->world;
    if (world == NULL || world->reach == NULL || world->floor <= world->from)
        return;
    int64_t tid = kpi_thread_of(world, thread)->tid;
    struct kpi_cursor_req req = rows_req(world, set->reads->kind, false);
    req.to = kpi_time_add(world->floor, world->slack);
    req.tids = &tid;
    req.tids_count = 1;
    if (is_stored(world->reader, &req))
        kpi_miss_before(world);
}

kp_status kpi_works_load(struct kpi_world *world, struct kp_error *err)
{
    for (int kind = 0; kind < KPI_WORKS; kind++)
        kpi_work_all(&world->works[kind]);
    return kpi_reader_check(world->reader, err);
}

kp_status kpi_works_open(struct kpi_world *world, struct kp_error *err)
{
    struct kpi_work_reads *reads = kp_arena_zalloc(world->arena, KPI_WORKS, sizeof(*reads));
    if (reads == NULL)
        return kp_arena_error(world->arena, err);
    for (int kind = 0; kind < KPI_WORKS; kind++) {
        reads[kind].world = world;
        reads[kind].kind = (enum kpi_works)kind;
        world->works[kind].reads = &reads[kind];
    }
    if (world->reader->eager)
        return kpi_works_load(world, err);
    kpi_work_all(&world->works[KPI_WORK_GAP]);
    return kpi_reader_check(world->reader, err);
}

/* ---------- questions ---------- */

/* First row at or after (group, from) in sort order. */
static uint32_t lower_bound(const struct kpi_work_rows *set, uint32_t group, kp_time from)
{
    uint32_t low = 0, high = set->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        const struct kpi_work *row = &set->rows[mid];
        if (row->group < group || (row->group == group && row->from < from))
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static const struct kpi_work *skip_to_overlap(const struct kpi_world *world,
                                              const struct kpi_work *row, uint32_t group,
                                              kp_time from, kp_time to)
{
    for (; row->group == group && row->from < to; row++)
        if (row->to > from) {
            if (row->unseen)
                kpi_miss_before(world);
            return row;
        }
    return NULL;
}

/* A row of the group ends, or begins, at or after t. */
static bool has_later(const struct kpi_work_set *set, uint32_t group, kp_time t)
{
    const struct kpi_work_rows *rows = kpi_work_all(set);
    uint32_t at = lower_bound(rows, group, t);
    return (at < rows->count && rows->rows[at].group == group) ||
           (at > 0 && rows->rows[at - 1].group == group && rows->rows[at - 1].reach >= t);
}

static bool is_switched(const struct kpi_world *world, uint32_t index, kp_time t)
{
    const struct kpi_cpu *cpu = index < world->cpus.count ? kpi_cpu_of(world, index) : NULL;
    return cpu != NULL && cpu->count > 0 &&
           kpi_event_of(world, world->cpu_order[cpu->first + cpu->count - 1])->ts >= t;
}

/* The kernel thread slept for want of work; who waits for a lock sleeps otherwise. */
static bool is_idle_after(const struct kpi_world *world, uint32_t index, kp_time t)
{
    const struct kpi_thread *thread = kpi_thread_of(world, index);
    for (uint32_t i = kpi_timeline_find(world, thread, t); i < thread->count; i++) {
        const struct kpi_interval *iv = kpi_timeline_at(world, thread, i);
        if (iv->from >= t && iv->state == KPI_STATE_BLOCKED && iv->letter == LETTER_IDLE)
            return true;
    }
    return false;
}

/* The thread came back from the kernel to where no row of it goes on. Kernel threads make no calls
 * and fault in no pages; what they do for others is a row itself. */
static bool is_back(const struct kpi_world *world, enum kpi_works kind, uint32_t index, kp_time t)
{
    const struct kpi_work_set *works = world->works;
    if (kpi_thread_of(world, index)->kthread)
        return is_idle_after(world, index, t) || kind == KPI_WORK_SYSCALL ||
               kind == KPI_WORK_RECEIVE || kind == KPI_WORK_FAULT ||
               has_later(&works[KPI_WORK_QUEUED], index, t) ||
               has_later(&works[KPI_WORK_COMMIT], index, t);
    return has_later(&works[KPI_WORK_SYSCALL], index, t);
}

/* All rows of the group that began before t have ended within the rows read. */
static bool is_ended(const struct kpi_work_set *set, uint32_t group, kp_time t)
{
    const struct kpi_world *world = set->reads->world;
    enum kpi_works kind = set->reads->kind;
    switch (sets[kind].ending) {
    case ENDING_NEVER:
        return false;
    case ENDING_AT_ONCE:
        return t <= world->to + 1;
    case ENDING_TURN:
        return has_later(set, group, t) || is_back(world, kind, group, t);
    case ENDING_CALL:
        return is_back(world, kind, group, t);
    case ENDING_SWITCH:
        return is_switched(world, group, t) || has_later(set, group, t);
    case ENDING_READ:
        return true;
    }
    return false;
}

const struct kpi_work *kpi_work_seen(const struct kpi_work_set *set, uint32_t group, kp_time from,
                                     kp_time to)
{
    const struct kpi_work_rows *rows = kpi_work_all(set);
    uint32_t at = lower_bound(rows, group, from);
    while (at > 0 && rows->rows[at - 1].group == group && rows->rows[at - 1].reach > from)
        at--;
    if (at == rows->count)
        return NULL;
    return skip_to_overlap(set->reads->world, &rows->rows[at], group, from, to);
}

const struct kpi_work *kpi_work_first(const struct kpi_work_set *set, uint32_t group, kp_time from,
                                      kp_time to)
{
    const struct kpi_world *world = set->reads == NULL ? NULL : set->reads->world;
    if (world != NULL && world->reach != NULL && sets[set->reads->kind].ending != ENDING_READ &&
        !is_empty(set)) {
        enum kpi_works kind = set->reads->kind;
        kpi_work_since(set, from);
        if ((world->reach->ahead >> kind & 1) == 0 && !is_ended(set, group, to))
            kpi_miss_after(world, kind);
    }
    return kpi_work_seen(set, group, from, to);
}

const struct kpi_work *kpi_work_next(const struct kpi_work_set *set, const struct kpi_work *row,
                                     kp_time from, kp_time to)
{
    if (set->reads == NULL)
        return NULL;
    return skip_to_overlap(set->reads->world, row + 1, row->group, from, to);
}

const struct kpi_work *kpi_work_covering(const struct kpi_work_set *set, uint32_t group, kp_time t)
{
    const struct kpi_work *found = NULL;
    const struct kpi_work *row = kpi_work_first(set, group, t, t + 1);
    for (; row != NULL; row = kpi_work_next(set, row, t, t + 1))
        found = row;
    return found;
}

const struct kpi_work *kpi_job_at(const struct kpi_world *world, uint32_t worker, kp_time t)
{
    return kpi_work_covering(&world->works[KPI_WORK_QUEUED], worker, t);
}
