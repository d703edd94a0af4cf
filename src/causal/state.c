/* SPDX-License-Identifier: Apache-2.0
 *
 * The interval tables of the language: thread_state (what each thread was doing) and cpu_state
 * (who held each CPU), straight from the timelines.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "causal/cursor.h"
#include "causal/table.h"
#include "causal/timeline.h"

#define MARGIN KP_SEC /* read around the range, to know what began before and ends after */

enum thread_column {
    T_TS,
    T_START,
    T_DUR,
    T_HOST,
    T_CPU,
    T_TID,
    T_PID,
    T_COMM,
    T_CGROUP,
    T_STATE,
    T_WAIT,
    T_THROTTLED,
    T_IOWAIT,
    T_WAKER_TID,
    T_WAKER_PID,
    T_WAKER_COMM,
    T_CONTEXT,
    T_VEC,
    T_NOTE
};

static const struct kp_field thread_fields[] = {
    [T_TS] = {KP_STR("ts"), KP_TYPE_TIME, KP_UNIT_NS},
    [T_START] = {KP_STR("start"), KP_TYPE_TIME, KP_UNIT_NS},
    [T_DUR] = {KP_STR("dur"), KP_TYPE_DUR, KP_UNIT_NS},
    [T_HOST] = {KP_STR("host"), KP_TYPE_STR, KP_UNIT_NONE},
    [T_CPU] = {KP_STR("cpu"), KP_TYPE_I64, KP_UNIT_ID},
    [T_TID] = {KP_STR("tid"), KP_TYPE_I64, KP_UNIT_ID},
    [T_PID] = {KP_STR("pid"), KP_TYPE_I64, KP_UNIT_ID},
    [T_COMM] = {KP_STR("comm"), KP_TYPE_STR, KP_UNIT_NONE},
    [T_CGROUP] = {KP_STR("cgroup"), KP_TYPE_STR, KP_UNIT_NONE},
    [T_STATE] = {KP_STR("state"), KP_TYPE_STR, KP_UNIT_NONE},
    [T_WAIT] = {KP_STR("wait"), KP_TYPE_STR, KP_UNIT_NONE},
    [T_THROTTLED] = {KP_STR("throttled"), KP_TYPE_BOOL, KP_UNIT_NONE},
    [T_IOWAIT] = {KP_STR("iowait"), KP_TYPE_BOOL, KP_UNIT_NONE},
    [T_WAKER_TID] = {KP_STR("waker_tid"), KP_TYPE_I64, KP_UNIT_ID},
    [T_WAKER_PID] = {KP_STR("waker_pid"), KP_TYPE_I64, KP_UNIT_ID},
    [T_WAKER_COMM] = {KP_STR("waker_comm"), KP_TYPE_STR, KP_UNIT_NONE},
    [T_CONTEXT] = {KP_STR("context"), KP_TYPE_STR, KP_UNIT_NONE},
    [T_VEC] = {KP_STR("vec"), KP_TYPE_STR, KP_UNIT_NONE},
    [T_NOTE] = {KP_STR("note"), KP_TYPE_STR, KP_UNIT_NONE},
};
static const struct kp_schema thread_schema = {thread_fields, KP_ARRAY_LEN(thread_fields)};

enum cpu_column {
    P_TS,
    P_START,
    P_DUR,
    P_HOST,
    P_CPU,
    P_STATE,
    P_TID,
    P_PID,
    P_COMM,
    P_CGROUP,
    P_PRIO
};

static const struct kp_field cpu_fields[] = {
    [P_TS] = {KP_STR("ts"), KP_TYPE_TIME, KP_UNIT_NS},
    [P_START] = {KP_STR("start"), KP_TYPE_TIME, KP_UNIT_NS},
    [P_DUR] = {KP_STR("dur"), KP_TYPE_DUR, KP_UNIT_NS},
    [P_HOST] = {KP_STR("host"), KP_TYPE_STR, KP_UNIT_NONE},
    [P_CPU] = {KP_STR("cpu"), KP_TYPE_I64, KP_UNIT_ID},
    [P_STATE] = {KP_STR("state"), KP_TYPE_STR, KP_UNIT_NONE},
    [P_TID] = {KP_STR("tid"), KP_TYPE_I64, KP_UNIT_ID},
    [P_PID] = {KP_STR("pid"), KP_TYPE_I64, KP_UNIT_ID},
    [P_COMM] = {KP_STR("comm"), KP_TYPE_STR, KP_UNIT_NONE},
    [P_CGROUP] = {KP_STR("cgroup"), KP_TYPE_STR, KP_UNIT_NONE},
    [P_PRIO] = {KP_STR("prio"), KP_TYPE_I64, KP_UNIT_NONE},
};
static const struct kp_schema cpu_schema = {cpu_fields, KP_ARRAY_LEN(cpu_fields)};

const struct kp_schema *kp_thread_state_schema(void)
{
    return &thread_schema;
}

const struct kp_schema *kp_cpu_state_schema(void)
{
    return &cpu_schema;
}

/* ---------- shared ---------- */

/* One interval of either table, in the order rows come out. */
struct row {
    kp_time from, to;
    const struct kpi_host *host;
    uint32_t cpu, tid;
    uint32_t index; /* interval, or switch that began it (KPI_NONE = before the first) */
    uint32_t thread;
};

static int row_compare(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (x->from != y->from)
        return x->from < y->from ? -1 : 1;
    int order = kp_str_compare(x->host->name, y->host->name);
    if (order != 0)
        return order;
    if (x->cpu != y->cpu)
        return x->cpu < y->cpu ? -1 : 1;
    return x->tid < y->tid ? -1 : x->tid > y->tid;
}

static bool is_asked(const struct kp_intervals_req *req, kp_time from, kp_time to, int64_t key)
{
    if (to <= req->from || from > req->to)
        return false;
    for (uint32_t i = 0; i < req->tids_count; i++)
        if (req->tids[i] == key)
            return true;
    return req->tids_count == 0;
}

static kp_status world_read(struct kpi_reader *reader, const struct kp_intervals_req *req,
                            struct kp_arena *arena, struct kpi_world **out, struct kp_error *err)
{
    kp_time first, last;
    kp_snapshot_range(reader->snapshot, &first, &last);
    kp_time from = KP_MAX(kpi_time_add(req->from, -MARGIN), first);
    kp_time to = KP_MIN(kpi_time_add(req->to, MARGIN), last);
    return kpi_world_load(reader, arena, from, to, -1, out, err);
}

static struct row *rows_sorted(struct kpi_list *list)
{
    struct row *rows = kpi_list_flat(list);
    if (rows != NULL)
        qsort(rows, list->count, sizeof(*rows), row_compare);
    return rows;
}

/* ---------- threads ---------- */

struct kp_str kpi_state_text(const struct kpi_interval *iv)
{
    static const char *const names[] = {
        [KPI_STATE_NONE] = "unknown",    [KPI_STATE_UNKNOWN] = "unknown",
        [KPI_STATE_RUNNING] = "running", [KPI_STATE_RUNNABLE] = "runnable",
        [KPI_STATE_BLOCKED] = "blocked", [KPI_STATE_DEAD] = "dead",
    };
    return kp_str_from(names[iv->state]);
}

static struct kp_str flag_text(const struct kpi_interval *iv)
{
    if ((iv->flags & KPI_FLAG_LOST) != 0)
        return KP_STR("lost");
    if ((iv->flags & KPI_FLAG_NO_WAKER) != 0)
        return KP_STR("no-waker");
    if ((iv->flags & KPI_FLAG_BEFORE) != 0)
        return KP_STR("before-trace");
    return (iv->flags & KPI_FLAG_OPEN) != 0 ? KP_STR("open") : KP_STR("");
}

static struct kp_str enum_text(enum kp_stream_no stream, const char *column, int64_t value)
{
    const struct kp_stream *s = kp_stream_by_number(stream);
    return kp_enum_name(&s->stored[kp_stream_stored(s, column)], value);
}

/* The wakeup that ended a wait or began a stretch on the run queue. */
static const struct kpi_event *wakeup_of(const struct kpi_world *world,
                                         const struct kpi_interval *iv)
{
    uint32_t at = iv->state == KPI_STATE_BLOCKED ? iv->end : iv->begin;
    if (at == KPI_NONE || kpi_event_of(world, at)->stream != KP_S_SCHED_WAKING)
        return NULL;
    return kpi_event_of(world, at);
}

static void put_waker(struct kp_rows *rows, const struct kpi_world *world,
                      const struct kpi_event *wake)
{
    if (wake == NULL) {
        kpi_rows_null(rows, T_WAKER_TID);
        kpi_rows_null(rows, T_WAKER_PID);
        return;
    }
    const struct kp_actor *waker = kp_actors_get(world->actors, wake->actor_a);
    kpi_rows_i64(rows, T_WAKER_TID, waker->tid);
    kpi_rows_i64(rows, T_WAKER_PID, waker->pid);
    kpi_rows_str(rows, T_WAKER_COMM, waker->comm);
    kpi_rows_str(rows, T_CONTEXT, enum_text(KP_S_SCHED_WAKING, "context", wake->context));
    kpi_rows_str(rows, T_VEC, enum_text(KP_S_SCHED_WAKING, "vec", wake->vec));
}

static void put_thread(struct kp_rows *rows, const struct kpi_world *world, const struct row *row)
{
    const struct kpi_interval *iv = kpi_interval_of(world, row->index);
    const struct kpi_thread *thread = kpi_thread_of(world, iv->thread);
    const struct kp_actor *actor = kp_actors_get(world->actors, thread->actor);
    kpi_rows_add(rows);
    kpi_rows_i64(rows, T_TS, iv->to);
    kpi_rows_i64(rows, T_START, iv->from);
    kpi_rows_i64(rows, T_DUR, iv->to - iv->from);
    kpi_rows_str(rows, T_HOST, row->host->name);
    if (iv->cpu == KPI_NONE)
        kpi_rows_null(rows, T_CPU);
    else
        kpi_rows_i64(rows, T_CPU, row->cpu);
    kpi_rows_i64(rows, T_TID, thread->tid);
    kpi_rows_i64(rows, T_PID, thread->pid);
    kpi_rows_str(rows, T_COMM, actor->comm);
    kpi_rows_str(rows, T_CGROUP, actor->cgroup);
    kpi_rows_str(rows, T_STATE, kpi_state_text(iv));
    if (iv->state != KPI_STATE_RUNNING && iv->begin != KPI_NONE &&
        (iv->state == KPI_STATE_BLOCKED || (iv->flags & KPI_FLAG_PREEMPT) != 0))
        kpi_rows_str(rows, T_WAIT, enum_text(KP_S_SCHED_SWITCH, "prev_state", iv->letter));
    kpi_rows_i64(rows, T_THROTTLED, (iv->flags & KPI_FLAG_THROTTLED) != 0);
    kpi_rows_i64(rows, T_IOWAIT, (iv->flags & KPI_FLAG_IOWAIT) != 0);
    put_waker(rows, world, wakeup_of(world, iv));
    kpi_rows_str(rows, T_NOTE, flag_text(iv));
}

kp_status kp_thread_state_open(struct kp_snapshot *snapshot, const struct kp_intervals_req *req,
                               struct kp_arena *arena, struct kp_rows **out, struct kp_error *err)
{
    struct kpi_reader reader = {.snapshot = snapshot, .stop = arena->stop};
    struct kpi_world *world;
    struct kpi_list list;
    struct kp_rows *rows = NULL;
    arena->owner = "thread_state";
    kp_status status = world_read(&reader, req, arena, &world, err);
    if (status != KP_OK)
        return status;
    kpi_list_init(&list, arena, sizeof(struct row));
    for (uint32_t i = 0; i < world->intervals.count; i++) {
        const struct kpi_interval *iv = kpi_interval_of(world, i);
        const struct kpi_thread *thread = kpi_thread_of(world, iv->thread);
        if (!is_asked(req, iv->from, iv->to, thread->tid))
            continue;
        *(struct row *)kpi_list_add(&list) =
            (struct row){iv->from,
                         iv->to,
                         kpi_host_of(world, thread->host),
                         iv->cpu == KPI_NONE ? 0 : kpi_cpu_of(world, iv->cpu)->number,
                         thread->tid,
                         i,
                         iv->thread};
    }
    struct row *sorted = rows_sorted(&list);
    if (list.failed || kpi_rows_open(arena, &thread_schema, &rows) != KP_OK)
        return kp_arena_error(arena, err);
    for (uint32_t i = 0; i < list.count; i++)
        put_thread(rows, world, &sorted[i]);
    kpi_rows_read(rows, &reader);
    status = kpi_rows_check(rows, err);
    if (status == KP_OK)
        *out = rows;
    return status;
}

/* ---------- CPUs ---------- */

static void cpu_rows(const struct kpi_world *world, uint32_t index,
                     const struct kp_intervals_req *req, struct kpi_list *list)
{
    const struct kpi_cpu *cpu = kpi_cpu_of(world, index);
    const struct kpi_host *host = kpi_host_of(world, cpu->host);
    kp_time until;
    uint32_t came;
    for (kp_time t = host->first; cpu->count > 0 && t < world->to; t = until) {
        uint32_t who = kpi_timeline_occupant(world, index, t, world->to, &until, &came);
        if (is_asked(req, t, until, cpu->number))
            *(struct row *)kpi_list_add(list) =
                (struct row){t, until, host, cpu->number, 0, came, who};
    }
}

static void put_cpu(struct kp_rows *rows, const struct kpi_world *world, const struct row *row)
{
    kpi_rows_add(rows);
    kpi_rows_i64(rows, P_TS, row->to);
    kpi_rows_i64(rows, P_START, row->from);
    kpi_rows_i64(rows, P_DUR, row->to - row->from);
    kpi_rows_str(rows, P_HOST, row->host->name);
    kpi_rows_i64(rows, P_CPU, row->cpu);
    if (row->thread == KPI_NONE) {
        kpi_rows_str(rows, P_STATE, KP_STR("unknown"));
        kpi_rows_null(rows, P_TID);
        kpi_rows_null(rows, P_PID);
        kpi_rows_null(rows, P_PRIO);
        return;
    }
    const struct kpi_thread *thread = kpi_thread_of(world, row->thread);
    const struct kpi_event *came = row->index == KPI_NONE ? NULL : kpi_event_of(world, row->index);
    const struct kp_actor *actor = kp_actors_get(
        world->actors, came == NULL ? thread->actor : kpi_event_actor(came, row->thread));
    kpi_rows_str(rows, P_STATE, thread->idle ? KP_STR("idle") : KP_STR("busy"));
    kpi_rows_i64(rows, P_TID, thread->tid);
    kpi_rows_i64(rows, P_PID, thread->pid);
    kpi_rows_str(rows, P_COMM, actor->comm);
    kpi_rows_str(rows, P_CGROUP, actor->cgroup);
    if (came == NULL)
        kpi_rows_null(rows, P_PRIO);
    else
        kpi_rows_i64(rows, P_PRIO, kpi_event_prio(came, row->thread));
}

kp_status kp_cpu_state_open(struct kp_snapshot *snapshot, const struct kp_intervals_req *req,
                            struct kp_arena *arena, struct kp_rows **out, struct kp_error *err)
{
    struct kpi_reader reader = {.snapshot = snapshot, .stop = arena->stop};
    struct kpi_world *world;
    struct kpi_list list;
    struct kp_rows *rows = NULL;
    arena->owner = "cpu_state";
    kp_status status = world_read(&reader, req, arena, &world, err);
    if (status != KP_OK)
        return status;
    kpi_list_init(&list, arena, sizeof(struct row));
    for (uint32_t i = 0; i < world->cpus.count; i++)
        cpu_rows(world, i, req, &list);
    struct row *sorted = rows_sorted(&list);
    if (list.failed || kpi_rows_open(arena, &cpu_schema, &rows) != KP_OK)
        return kp_arena_error(arena, err);
    for (uint32_t i = 0; i < list.count; i++)
        put_cpu(rows, world, &sorted[i]);
    kpi_rows_read(rows, &reader);
    status = kpi_rows_check(rows, err);
    if (status == KP_OK)
        *out = rows;
    return status;
}
