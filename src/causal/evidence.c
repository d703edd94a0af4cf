/* SPDX-License-Identifier: Apache-2.0
 *
 * EVIDENCE OF: the recorded rows behind each row of an answer, with their places in the store.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "causal/cause.h"

enum { STATE_RUNNABLE = 0, STATE_PREEMPTED = 256 }; /* catalogue: TASK_STATE */

enum evidence_column {
    E_ROW,
    E_TS,
    E_STREAM,
    E_HOST,
    E_CPU,
    E_SEQ,
    E_TID,
    E_PID,
    E_COMM,
    E_RULE,
    E_STRENGTH,
    E_GAP,
    E_SKEW,
    E_WHAT
};

static const struct kp_field evidence_fields[] = {
    [E_ROW] = {KP_STR("row"), KP_TYPE_I64, KP_UNIT_NONE},
    [E_TS] = {KP_STR("ts"), KP_TYPE_TIME, KP_UNIT_NS},
    [E_STREAM] = {KP_STR("stream"), KP_TYPE_STR, KP_UNIT_NONE},
    [E_HOST] = {KP_STR("host"), KP_TYPE_STR, KP_UNIT_NONE},
    [E_CPU] = {KP_STR("cpu"), KP_TYPE_I64, KP_UNIT_ID},
    [E_SEQ] = {KP_STR("seq"), KP_TYPE_I64, KP_UNIT_ID},
    [E_TID] = {KP_STR("tid"), KP_TYPE_I64, KP_UNIT_ID},
    [E_PID] = {KP_STR("pid"), KP_TYPE_I64, KP_UNIT_ID},
    [E_COMM] = {KP_STR("comm"), KP_TYPE_STR, KP_UNIT_NONE},
    [E_RULE] = {KP_STR("rule"), KP_TYPE_STR, KP_UNIT_NONE},
    [E_STRENGTH] = {KP_STR("strength"), KP_TYPE_STR, KP_UNIT_NONE},
    [E_GAP] = {KP_STR("gap_ns"), KP_TYPE_DUR, KP_UNIT_NS},
    [E_SKEW] = {KP_STR("skew_ns"), KP_TYPE_DUR, KP_UNIT_NS},
    [E_WHAT] = {KP_STR("what"), KP_TYPE_STR, KP_UNIT_NONE},
};
static const struct kp_schema evidence_schema = {evidence_fields, KP_ARRAY_LEN(evidence_fields)};

const struct kp_schema *kp_evidence_schema(void)
{
    return &evidence_schema;
}

/* A ref with what it is sorted and shown by: its stamp as stored. */
struct item {
    const struct kpi_ref *ref;
    const struct kpi_ref_node *node; /* what it is evidence of */
    kp_time ts;
    uint64_t seq;
    uint32_t cpu;
    kp_actor_id actor;
    uint8_t stream;
};

static struct item item_of(const struct kpi_world *world, const struct kpi_ref *ref)
{
    struct item item;
    if (ref->event == KPI_NONE) {
        const struct kpi_work *work = ref->work;
        item = (struct item){ref, NULL, work->to, work->seq, work->cpu, work->actor, work->stream};
    } else {
        const struct kpi_event *event = kpi_event_of(world, ref->event);
        item = (struct item){ref,        NULL,           event->ts,    event->seq,
                             event->cpu, event->actor_a, event->stream};
    }
    if (item.cpu != KPI_NONE)
        item.ts -= kpi_host_of(world, kpi_cpu_of(world, item.cpu)->host)->shift;
    return item;
}

static struct kp_str host_of(const struct kpi_world *world, const struct item *item)
{
    if (item->cpu != KPI_NONE)
        return kpi_host_of(world, kpi_cpu_of(world, item->cpu)->host)->name;
    return kp_actors_get(world->actors, item->actor)->host;
}

static unsigned cpu_of(const struct kpi_world *world, const struct item *item)
{
    return item->cpu == KPI_NONE ? 0 : kpi_cpu_of(world, item->cpu)->number;
}

struct kp_str kpi_ref_text(const struct kpi_world *world, const struct kpi_ref *ref,
                           struct kp_arena *arena)
{
    struct item item = item_of(world, ref);
    struct kp_str host = host_of(world, &item);
    return kpi_text(arena, "%.*s/%u/%llu", (int)host.len, host.ptr, cpu_of(world, &item),
                    (unsigned long long)item.seq);
}

/* ---------- words ---------- */

static struct kp_str enum_text(enum kp_stream_no stream, const char *column, int64_t value)
{
    const struct kp_stream *s = kp_stream_by_number(stream);
    return kp_enum_name(&s->stored[kp_stream_stored(s, column)], value);
}

static struct kp_str who(const struct kpi_world *world, kp_actor_id id, struct kp_arena *arena)
{
    const struct kp_actor *actor = kp_actors_get(world->actors, id);
    if (id == KP_ACTOR_UNKNOWN)
        return KP_STR("somebody");
    if (actor->tid == 0)
        return KP_STR("idle");
    return kpi_text(arena, "%.*s/%u", (int)actor->comm.len, actor->comm.ptr, actor->tid);
}

static struct kp_str switch_text(const struct kpi_world *world, const struct kpi_event *event,
                                 struct kp_arena *arena)
{
    struct kp_str a = who(world, event->actor_a, arena), b = who(world, event->actor_b, arena);
    struct kp_str state = enum_text(KP_S_SCHED_SWITCH, "prev_state", event->state);
    /* whoever leaves runnable did not leave by itself; without kernel preemption it shows as R */
    bool forced = event->a != KPI_NONE && !kpi_thread_of(world, event->a)->idle &&
                  event->b != KPI_NONE && !kpi_thread_of(world, event->b)->idle &&
                  ((event->flags & KPI_FLAG_PREEMPT) != 0 || event->state == STATE_RUNNABLE ||
                   event->state == STATE_PREEMPTED);
    return kpi_text(arena, "%.*s %s %.*s (left in %.*s%s, prio %d -> %d)", (int)b.len, b.ptr,
                    forced ? "took the CPU from" : "follows", (int)a.len, a.ptr, (int)state.len,
                    state.len > 0 ? state.ptr : "?",
                    (event->flags & KPI_FLAG_THROTTLED) != 0 ? ", quota used up" : "",
                    event->prio_a, event->prio_b);
}

static struct kp_str waking_text(const struct kpi_world *world, const struct kpi_event *event,
                                 struct kp_arena *arena)
{
    struct kp_str b = who(world, event->actor_b, arena);
    struct kp_str vec = enum_text(KP_S_SCHED_WAKING, "vec", event->vec);
    struct kp_str context = enum_text(KP_S_SCHED_WAKING, "context", event->context);
    if (event->context == 0) {
        struct kp_str a = who(world, event->actor_a, arena);
        return kpi_text(arena, "%.*s woke %.*s", (int)a.len, a.ptr, (int)b.len, b.ptr);
    }
    if (event->irq >= 0)
        return kpi_text(arena, "%.*s was woken from %.*s %d", (int)b.len, b.ptr, (int)context.len,
                        context.ptr, event->irq);
    return kpi_text(arena, "%.*s was woken from %.*s %.*s", (int)b.len, b.ptr, (int)context.len,
                    context.ptr, (int)vec.len, vec.ptr);
}

/* Rows that lead from one thread to another, or say what a wait was for. */
static struct kp_str edge_text(const struct kpi_world *world, const struct kpi_work *work,
                               struct kp_arena *arena)
{
    char dur[KP_DUR_TEXT_MAX], queue[KP_DUR_TEXT_MAX];
    kp_dur_format(work->to - work->from, dur);
    kp_dur_format(work->queue_dur, queue);
    struct kp_str name, owner;
    switch (work->stream) {
    case KP_S_SOCK:
    case KP_S_TCP_STATE:
        name =
            work->stream == KP_S_SOCK ? enum_text(KP_S_SOCK, "op", work->code) : KP_STR("closed");
        return kpi_text(arena, "%.*s %.*s, %lld bytes", (int)name.len, name.ptr,
                        (int)work->name.len, work->name.ptr, (long long)work->d);
    case KP_S_TCP_RETRANSMIT:
        return kpi_text(arena, "sent again from byte %lld: %.*s", (long long)work->c,
                        (int)work->name.len, work->name.ptr);
    case KP_S_WORKQUEUE:
        owner = who(world, work->other_actor, arena);
        return kpi_text(arena, "%.*s for %.*s took %s, %s in the queue", (int)work->name.len,
                        work->name.ptr, (int)owner.len, owner.ptr, dur, queue);
    case KP_S_FAULT:
        return kpi_text(arena, "page fault of inode %lld offset %lld took %s", (long long)work->b,
                        (long long)work->c, dur);
    case KP_S_WRITEBACK:
        name = enum_text(KP_S_WRITEBACK, "op", work->code);
        return kpi_text(arena, "%.*s took %s", (int)name.len, name.ptr, dur);
    case KP_S_PI:
        owner = who(world, work->other_actor, arena);
        return kpi_text(arena, "priority %lld -> %lld, from %.*s", (long long)work->a,
                        (long long)work->b, (int)owner.len, owner.ptr);
    case KP_S_MIGRATE:
        return kpi_text(arena, "moved from CPU %lld to CPU %lld", (long long)work->a,
                        (long long)work->b);
    case KP_S_TASK:
        owner = who(world, work->other_actor, arena);
        return kpi_text(arena, "made by %.*s", (int)owner.len, owner.ptr);
    default:
        return KP_STR("");
    }
}

static struct kp_str work_text(const struct kpi_world *world, const struct kpi_work *work,
                               struct kp_arena *arena)
{
    char dur[KP_DUR_TEXT_MAX], queue[KP_DUR_TEXT_MAX];
    kp_dur_format(work->to - work->from, dur);
    kp_dur_format(work->queue_dur, queue);
    struct kp_str name, owner;
    switch (work->stream) {
    case KP_S_SYSCALL:
        name = enum_text(KP_S_SYSCALL, "nr", work->code);
        return kpi_text(arena, "%.*s returned %lld after %s", (int)name.len, name.ptr,
                        (long long)work->a, dur);
    case KP_S_LOCK:
        name = enum_text(KP_S_LOCK, "kind", work->b);
        owner = who(world, work->other_actor, arena);
        return kpi_text(arena, "waited %s for %.*s 0x%llx held by %.*s", dur, (int)name.len,
                        name.ptr, (unsigned long long)work->a, (int)owner.len, owner.ptr);
    case KP_S_VMSCAN:
        name = enum_text(KP_S_VMSCAN, "op", work->a);
        return kpi_text(arena, "%.*s reclaim took %s, %lld pages", (int)name.len, name.ptr, dur,
                        (long long)work->b);
    case KP_S_BLOCK_RQ:
        name = enum_text(KP_S_BLOCK_RQ, "op", work->code);
        return kpi_text(arena, "%.*s of %lld bytes at sector %lld done after %s, %s of it queued",
                        (int)name.len, name.ptr, (long long)work->c, (long long)work->b, dur,
                        queue);
    case KP_S_SOFTIRQ:
        name = enum_text(KP_S_SOFTIRQ, "vec", work->code);
        return kpi_text(arena, "soft interrupt %.*s took %s", (int)name.len, name.ptr, dur);
    case KP_S_IRQ:
        return kpi_text(arena, "interrupt %.*s took %s", (int)work->name.len, work->name.ptr, dur);
    case KP_S_SIGNAL:
        return kpi_text(arena, "sent signal %d", work->code);
    case KP_S_CGROUP_STAT:
        return kpi_text(arena, "%.*s had been throttled for %lld ns", (int)work->name.len,
                        work->name.ptr, (long long)work->a);
    default:
        return edge_text(world, work, arena);
    }
}

static struct kp_str item_text(const struct kpi_world *world, const struct item *item,
                               struct kp_arena *arena)
{
    if (item->ref->event == KPI_NONE)
        return work_text(world, item->ref->work, arena);
    const struct kpi_event *event = kpi_event_of(world, item->ref->event);
    return event->stream == KP_S_SCHED_SWITCH ? switch_text(world, event, arena)
                                              : waking_text(world, event, arena);
}

struct kp_str kpi_ref_what(const struct kpi_world *world, const struct kpi_ref *ref,
                           struct kp_arena *arena)
{
    struct item item = item_of(world, ref);
    return item_text(world, &item, arena);
}

/* ---------- rows ---------- */

static int item_compare(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (x->ts != y->ts)
        return x->ts < y->ts ? -1 : 1;
    if (x->cpu != y->cpu)
        return x->cpu < y->cpu ? -1 : 1;
    if (x->seq != y->seq)
        return x->seq < y->seq ? -1 : 1;
    if (x->stream != y->stream)
        return x->stream < y->stream ? -1 : 1;
    if (x->node->rule != y->node->rule)
        return x->node->rule < y->node->rule ? -1 : 1;
    return x->node->strength < y->node->strength ? -1 : x->node->strength > y->node->strength;
}

static struct kp_str strength_text(const struct kpi_ref_node *node)
{
    static const char *const names[] = {
        [KPI_WEAK] = "weak", [KPI_STRONG] = "strong", [KPI_STRONG_COUNTER] = "strong(counter)"};
    return node->rule == KPI_RULE_NONE ? KP_STR("-") : kp_str_from(names[node->strength]);
}

static void put_item(struct kp_rows *rows, const struct kpi_world *world, uint32_t row,
                     const struct item *item, struct kp_arena *arena)
{
    const struct kp_actor *actor = kp_actors_get(world->actors, item->actor);
    kpi_rows_add(rows);
    kpi_rows_i64(rows, E_ROW, row);
    kpi_rows_i64(rows, E_TS, item->ts);
    kpi_rows_str(rows, E_STREAM, kp_str_from(kp_stream_by_number(item->stream)->name));
    kpi_rows_str(rows, E_HOST, host_of(world, item));
    kpi_rows_i64(rows, E_CPU, cpu_of(world, item));
    kpi_rows_i64(rows, E_SEQ, (int64_t)item->seq);
    kpi_rows_i64(rows, E_TID, actor->tid);
    kpi_rows_i64(rows, E_PID, actor->pid);
    kpi_rows_str(rows, E_COMM, actor->comm);
    kpi_rows_str(rows, E_RULE, kp_str_from(kpi_rule_name(item->node->rule)));
    kpi_rows_str(rows, E_STRENGTH, strength_text(item->node));
    kpi_rows_i64(rows, E_GAP, item->node->gap);
    kpi_rows_i64(rows, E_SKEW, item->node->skew);
    kpi_rows_str(rows, E_WHAT, item_text(world, item, arena));
}

static void put_cause(struct kp_rows *rows, const struct kpi_answer *answer, uint32_t rank,
                      struct kp_arena *arena)
{
    const struct kpi_cause *cause = answer->ranked[rank];
    struct item items[KPI_CAUSE_REFS];
    uint32_t count = 0;
    for (const struct kpi_ref_node *node = cause->refs; node != NULL; node = node->next) {
        items[count] = item_of(answer->world, &node->ref);
        items[count++].node = node;
    }
    qsort(items, count, sizeof(*items), item_compare);
    for (uint32_t i = 0; i < count; i++)
        if (i == 0 || item_compare(&items[i - 1], &items[i]) != 0)
            put_item(rows, answer->world, rank + 1, &items[i], arena);
    if (cause->refs_count == KPI_CAUSE_REFS)
        kpi_rows_note(rows, "row %u: only the first %d events are shown", rank + 1, KPI_CAUSE_REFS);
}

kp_status kpi_evidence_rows(const struct kpi_answer *answer, uint32_t row, struct kp_arena *arena,
                            struct kp_rows **out, struct kp_error *err)
{
    struct kp_rows *rows = NULL;
    if (kpi_rows_open(arena, &evidence_schema, &rows) != KP_OK)
        return kp_arena_error(arena, err);
    for (uint32_t i = 0; i < answer->causes.list.count; i++)
        if (row == 0 || row == i + 1)
            put_cause(rows, answer, i, arena);
    kp_status status = kpi_rows_check(rows, err);
    if (status == KP_OK)
        *out = rows;
    return status;
}
