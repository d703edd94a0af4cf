/* SPDX-License-Identifier: Apache-2.0
 *
 * BLOCKERS OF root: the causes of a root summed by who is behind them (a process, a lock, a device,
 * a host that is not traced, a control group, an interrupt, the thread itself) and by how they
 * reached it. Every nanosecond of the root is in one row, so the rows sum to its wall time.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "causal/cause.h"
#include "causal/cursor.h"

enum blockers_column {
    B_BLOCKER,
    B_WHO,
    B_KIND,
    B_EDGE,
    B_DUR,
    B_EXCESS,
    B_SHARE,
    B_ROWS,
    B_HOST,
    B_CULPRIT_PID,
    B_CULPRIT_COMM,
    B_CULPRIT_CGROUP,
    B_OBJECT,
    B_STRENGTH
};

static const struct kp_field blockers_fields[] = {
    [B_BLOCKER] = {KP_STR("blocker"), KP_TYPE_STR, KP_UNIT_NONE},
    [B_WHO] = {KP_STR("who"), KP_TYPE_STR, KP_UNIT_NONE},
    [B_KIND] = {KP_STR("kind"), KP_TYPE_STR, KP_UNIT_NONE},
    [B_EDGE] = {KP_STR("edge"), KP_TYPE_STR, KP_UNIT_NONE},
    [B_DUR] = {KP_STR("dur"), KP_TYPE_DUR, KP_UNIT_NS},
    [B_EXCESS] = {KP_STR("excess_ns"), KP_TYPE_DUR, KP_UNIT_NS},
    [B_SHARE] = {KP_STR("share"), KP_TYPE_F64, KP_UNIT_PERCENT},
    [B_ROWS] = {KP_STR("causes"), KP_TYPE_I64, KP_UNIT_COUNT},
    [B_HOST] = {KP_STR("host"), KP_TYPE_STR, KP_UNIT_NONE},
    [B_CULPRIT_PID] = {KP_STR("culprit_pid"), KP_TYPE_I64, KP_UNIT_ID},
    [B_CULPRIT_COMM] = {KP_STR("culprit_comm"), KP_TYPE_STR, KP_UNIT_NONE},
    [B_CULPRIT_CGROUP] = {KP_STR("culprit_cgroup"), KP_TYPE_STR, KP_UNIT_NONE},
    [B_OBJECT] = {KP_STR("object"), KP_TYPE_STR, KP_UNIT_NONE},
    [B_STRENGTH] = {KP_STR("strength"), KP_TYPE_STR, KP_UNIT_NONE},
};
static const struct kp_schema blockers_schema = {blockers_fields, KP_ARRAY_LEN(blockers_fields)};

const struct kp_schema *kp_blockers_schema(void)
{
    return &blockers_schema;
}

struct blocker {
    const char *sort;
    struct kp_str who, host, object;
    const struct kpi_cause *largest;
    kp_dur dur, excess, weak;
    uint32_t causes, order;
};

/* ---------- who ---------- */

static const char *sort_of(const struct kpi_world *world, const struct kpi_slice *slice)
{
    switch (slice->kind) {
    case KPI_UNKNOWN:
        return "unknown";
    case KPI_THROTTLED:
    case KPI_FROZEN:
        return "cgroup";
    case KPI_BLOCK_QUEUE:
    case KPI_BLOCK_DEVICE:
        return "device";
    case KPI_REMOTE:
        return "remote";
    case KPI_NET_LOCAL:
    case KPI_NET_WIRE:
        return "network";
    case KPI_IRQ:
    case KPI_SOFTIRQ:
        return "irq";
    case KPI_TIMER_SLEEP:
    case KPI_TIMER_TIMEOUT:
        return "timer";
    case KPI_IDLE_EXIT:
        return "cpu";
    case KPI_LOCK:
        return slice->culprit == KPI_NONE ? "lock" : "thread";
    default:
        break;
    }
    if (slice->culprit_actor == KP_ACTOR_UNKNOWN)
        return "unknown";
    if (slice->culprit != KPI_NONE && slice->thread != KPI_NONE &&
        kpi_thread_of(world, slice->culprit)->pid == kpi_thread_of(world, slice->thread)->pid)
        return "self";
    return "thread";
}

static bool by_object(const char *sort)
{
    return sort[0] == 'c' || sort[0] == 'd' || sort[0] == 'r' || sort[0] == 'i' || sort[0] == 'l';
}

static struct kp_str who_of(const struct kpi_world *world, const char *sort,
                            const struct kpi_slice *slice, struct kp_arena *arena)
{
    const struct kp_actor *actor = kp_actors_get(world->actors, slice->culprit_actor);
    if (by_object(sort) && slice->object.len > 0)
        return slice->object;
    if (slice->culprit_actor != KP_ACTOR_UNKNOWN)
        return kpi_text(arena, "%.*s(%u)", (int)actor->comm.len, actor->comm.ptr, actor->pid);
    return slice->object;
}

static struct blocker *blocker_of(struct kpi_list *list, const struct kpi_world *world,
                                  const struct kpi_cause *cause, struct kp_arena *arena)
{
    const struct kpi_slice *slice = &cause->largest;
    const char *sort = sort_of(world, slice);
    struct kp_str who = who_of(world, sort, slice, arena);
    struct kp_str host = slice->thread == KPI_NONE
                             ? KP_STR("")
                             : kpi_host_of(world, kpi_thread_of(world, slice->thread)->host)->name;
    for (uint32_t i = 0; i < list->count; i++) {
        struct blocker *blocker = kpi_list_at(list, i);
        const struct kpi_slice *other = &blocker->largest->largest;
        if (blocker->sort == sort && other->kind == slice->kind && other->edge == slice->edge &&
            kp_str_equal(blocker->who, who) && kp_str_equal(blocker->host, host))
            return blocker;
    }
    struct blocker *made = kpi_list_add(list);
    *made = (struct blocker){
        .sort = sort, .who = who, .host = host, .largest = cause, .order = list->count};
    return made;
}

/* ---------- rows ---------- */

static int blocker_compare(const void *a, const void *b)
{
    const struct blocker *x = a, *y = b;
    if (x->dur != y->dur)
        return x->dur > y->dur ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static const char *strength_of(const struct blocker *blocker)
{
    if (blocker->largest->largest.kind == KPI_UNKNOWN)
        return "-";
    return blocker->weak > blocker->dur / 10 ? "weak" : "strong";
}

static void put_blocker(struct kp_rows *rows, const struct kpi_answer *answer,
                        const struct blocker *blocker, struct kp_arena *arena)
{
    const struct kpi_slice *slice = &blocker->largest->largest;
    const struct kp_actor *actor = kp_actors_get(answer->world->actors, slice->culprit_actor);
    kp_dur wall = KP_MAX(answer->causes.wall, 1);
    kpi_rows_add(rows);
    kpi_rows_str(rows, B_BLOCKER, kp_str_from(blocker->sort));
    kpi_rows_str(rows, B_WHO, blocker->who);
    kpi_rows_str(rows, B_KIND, kpi_kind_text(arena, slice));
    kpi_rows_str(rows, B_EDGE, kp_str_from(kpi_rule_name(slice->edge)));
    kpi_rows_i64(rows, B_DUR, blocker->dur);
    kpi_rows_i64(rows, B_EXCESS, blocker->excess);
    if (answer->baseline.used == 0)
        kpi_rows_null(rows, B_EXCESS);
    kpi_rows_f64(rows, B_SHARE, (double)((__int128)blocker->dur * 10000 / wall) / 100);
    kpi_rows_i64(rows, B_ROWS, blocker->causes);
    kpi_rows_str(rows, B_HOST, blocker->host);
    kpi_rows_str(rows, B_OBJECT, slice->object);
    kpi_rows_str(rows, B_STRENGTH, kp_str_from(strength_of(blocker)));
    if (slice->culprit_actor == KP_ACTOR_UNKNOWN) {
        kpi_rows_null(rows, B_CULPRIT_PID);
        return;
    }
    kpi_rows_i64(rows, B_CULPRIT_PID, actor->pid);
    kpi_rows_str(rows, B_CULPRIT_COMM, actor->comm);
    kpi_rows_str(rows, B_CULPRIT_CGROUP, actor->cgroup);
}

/* The blockers of an answer, largest first. NULL: none, or list->failed. */
static struct blocker *sum_up(const struct kpi_answer *answer, struct kpi_list *list,
                              struct kp_arena *arena)
{
    for (uint32_t i = 0; i < answer->causes.list.count; i++) {
        const struct kpi_cause *cause = answer->ranked[i];
        struct blocker *blocker = blocker_of(list, answer->world, cause, arena);
        blocker->dur += cause->dur;
        blocker->excess += cause->excess;
        blocker->weak += cause->weak;
        blocker->causes++;
    }
    struct blocker *blockers = kpi_list_flat(list);
    if (blockers != NULL)
        qsort(blockers, list->count, sizeof(*blockers), blocker_compare);
    return blockers;
}

kp_status kp_blockers_open(struct kp_snapshot *snapshot, const struct kp_causes_req *req,
                           struct kp_arena *arena, struct kp_rows **out, struct kp_error *err)
{
    struct kpi_reader reader = {.snapshot = snapshot, .stop = arena->stop};
    struct kpi_answer *answer;
    struct kp_rows *rows = NULL;
    struct kpi_list list;
    arena->owner = "BLOCKERS";
    kp_status status = kpi_answer_make(&reader, req, arena, &answer, err);
    if (status != KP_OK)
        return status;
    kpi_list_init(&list, arena, sizeof(struct blocker));
    const struct blocker *blockers = sum_up(answer, &list, arena);
    if (list.failed || kpi_rows_open(arena, &blockers_schema, &rows) != KP_OK)
        return kp_arena_error(arena, err);
    status = kpi_remarks_add(answer, req, rows, err);
    for (uint32_t i = 0; i < list.count; i++)
        if (blockers[i].dur >= req->min)
            put_blocker(rows, answer, &blockers[i], arena);
    kpi_rows_read(rows, &reader);
    if (status == KP_OK)
        status = kpi_rows_check(rows, err);
    if (status == KP_OK)
        *out = rows;
    return status;
}
