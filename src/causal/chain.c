/* SPDX-License-Identifier: Apache-2.0
 *
 * CHAIN OF root AT instant: the frames of the walk at one nanosecond, root first. Every row but the
 * last is a thread that waited for the next one; the last row says what that nanosecond was.
 */
#include "base/assert.h"
#include "causal/cause.h"
#include "causal/cursor.h"

#define LEVELS_MAX 80 /* above what the walk nests */

enum chain_column {
    H_LEVEL,
    H_EDGE,
    H_STATE,
    H_KIND,
    H_START,
    H_DUR,
    H_HOST,
    H_CPU,
    H_TID,
    H_PID,
    H_COMM,
    H_CGROUP,
    H_SPAN,
    H_TXN,
    H_CULPRIT_PID,
    H_CULPRIT_TID,
    H_CULPRIT_COMM,
    H_OBJECT,
    H_RULE,
    H_STRENGTH,
    H_STOP,
    H_EVIDENCE
};

static const struct kp_field chain_fields[] = {
    [H_LEVEL] = {KP_STR("level"), KP_TYPE_I64, KP_UNIT_NONE},
    [H_EDGE] = {KP_STR("edge"), KP_TYPE_STR, KP_UNIT_NONE},
    [H_STATE] = {KP_STR("state"), KP_TYPE_STR, KP_UNIT_NONE},
    [H_KIND] = {KP_STR("kind"), KP_TYPE_STR, KP_UNIT_NONE},
    [H_START] = {KP_STR("start"), KP_TYPE_TIME, KP_UNIT_NS},
    [H_DUR] = {KP_STR("dur"), KP_TYPE_DUR, KP_UNIT_NS},
    [H_HOST] = {KP_STR("host"), KP_TYPE_STR, KP_UNIT_NONE},
    [H_CPU] = {KP_STR("cpu"), KP_TYPE_I64, KP_UNIT_ID},
    [H_TID] = {KP_STR("tid"), KP_TYPE_I64, KP_UNIT_ID},
    [H_PID] = {KP_STR("pid"), KP_TYPE_I64, KP_UNIT_ID},
    [H_COMM] = {KP_STR("comm"), KP_TYPE_STR, KP_UNIT_NONE},
    [H_CGROUP] = {KP_STR("cgroup"), KP_TYPE_STR, KP_UNIT_NONE},
    [H_SPAN] = {KP_STR("span"), KP_TYPE_STR, KP_UNIT_NONE},
    [H_TXN] = {KP_STR("txn"), KP_TYPE_STR, KP_UNIT_ID},
    [H_CULPRIT_PID] = {KP_STR("culprit_pid"), KP_TYPE_I64, KP_UNIT_ID},
    [H_CULPRIT_TID] = {KP_STR("culprit_tid"), KP_TYPE_I64, KP_UNIT_ID},
    [H_CULPRIT_COMM] = {KP_STR("culprit_comm"), KP_TYPE_STR, KP_UNIT_NONE},
    [H_OBJECT] = {KP_STR("object"), KP_TYPE_STR, KP_UNIT_NONE},
    [H_RULE] = {KP_STR("rule"), KP_TYPE_STR, KP_UNIT_NONE},
    [H_STRENGTH] = {KP_STR("strength"), KP_TYPE_STR, KP_UNIT_NONE},
    [H_STOP] = {KP_STR("stop"), KP_TYPE_STR, KP_UNIT_NONE},
    [H_EVIDENCE] = {KP_STR("evidence"), KP_TYPE_STR, KP_UNIT_NONE},
};
static const struct kp_schema chain_schema = {chain_fields, KP_ARRAY_LEN(chain_fields)};

const struct kp_schema *kp_chain_schema(void)
{
    return &chain_schema;
}

/* The frames over the slice that covers the instant, innermost first, kept past the walk. */
struct stack {
    kp_time instant;
    struct kpi_slice slice;
    struct kpi_frame frames[LEVELS_MAX];
    uint32_t count; /* 0 = no slice seen */
};

static void stack_take(void *ctx, const struct kpi_slice *slice)
{
    struct stack *stack = ctx;
    if (slice->from > stack->instant || slice->to <= stack->instant)
        return;
    stack->slice = *slice;
    stack->count = 0;
    for (const struct kpi_frame *frame = slice->frame; frame != NULL; frame = frame->parent)
        if (stack->count < LEVELS_MAX && (slice->stop[0] != 'w' || frame->strength != KPI_WEAK))
            stack->frames[stack->count++] = *frame;
}

static const struct kpi_interval *interval_at(const struct kpi_world *world, uint32_t index,
                                              kp_time t)
{
    const struct kpi_thread *thread = kpi_thread_of(world, index);
    uint32_t at = kpi_timeline_find(world, thread, t);
    if (at >= thread->count || kpi_timeline_at(world, thread, at)->from > t)
        return NULL;
    return kpi_timeline_at(world, thread, at);
}

static void put_thread(struct kp_rows *rows, const struct kpi_answer *answer, uint32_t index,
                       kp_time t)
{
    const struct kpi_world *world = answer->world;
    if (index == KPI_NONE) {
        kpi_rows_null(rows, H_TID);
        kpi_rows_null(rows, H_PID);
        kpi_rows_str(rows, H_HOST, kp_actors_get(world->actors, answer->txn.actor)->host);
        return;
    }
    const struct kpi_thread *thread = kpi_thread_of(world, index);
    const struct kp_actor *actor = kp_actors_get(world->actors, thread->actor);
    uint32_t span = kpi_span_at(world, index, t, NULL);
    kpi_rows_str(rows, H_HOST, kpi_host_of(world, thread->host)->name);
    kpi_rows_i64(rows, H_TID, thread->tid);
    kpi_rows_i64(rows, H_PID, thread->pid);
    kpi_rows_str(rows, H_COMM, actor->comm);
    kpi_rows_str(rows, H_CGROUP, actor->cgroup);
    if (span == KPI_NONE)
        return;
    kpi_rows_str(rows, H_SPAN, world->spans[span].name);
    kpi_rows_str(rows, H_TXN, world->spans[span].txn);
}

/* What the thread was doing, as far as the frame's window shows it. */
static void put_state(struct kp_rows *rows, const struct kpi_world *world,
                      const struct kpi_frame *frame, kp_time t)
{
    const struct kpi_interval *iv =
        frame->thread == KPI_NONE ? NULL : interval_at(world, frame->thread, t);
    kpi_rows_null(rows, H_CPU);
    kpi_rows_i64(rows, H_START, frame->from);
    kpi_rows_i64(rows, H_DUR, frame->to - frame->from);
    if (iv == NULL) {
        kpi_rows_str(rows, H_STATE, KP_STR("unknown"));
        return;
    }
    kpi_rows_str(rows, H_STATE, kpi_state_text(iv));
    kpi_rows_i64(rows, H_START, KP_MAX(iv->from, frame->from));
    kpi_rows_i64(rows, H_DUR, KP_MIN(iv->to, frame->to) - KP_MAX(iv->from, frame->from));
}

static void put_leaf(struct kp_rows *rows, const struct kpi_answer *answer,
                     const struct kpi_slice *slice, struct kp_arena *arena)
{
    const struct kp_actor *culprit = kp_actors_get(answer->world->actors, slice->culprit_actor);
    struct kp_str evidence = KP_STR("");
    kpi_rows_str(rows, H_KIND, kpi_kind_text(arena, slice));
    kpi_rows_i64(rows, H_START, slice->from);
    kpi_rows_i64(rows, H_DUR, slice->to - slice->from);
    kpi_rows_str(rows, H_OBJECT, slice->object);
    kpi_rows_str(rows, H_RULE, kp_str_from(kpi_rule_name(slice->rule)));
    kpi_rows_str(rows, H_STOP, kp_str_from(slice->stop));
    for (uint32_t i = 0; i < slice->refs_count; i++) {
        struct kp_str ref = kpi_ref_text(answer->world, &slice->refs[i], arena);
        evidence = kpi_text(arena, "%.*s%s%.*s", (int)evidence.len, evidence.ptr, i > 0 ? " " : "",
                            (int)ref.len, ref.ptr);
    }
    kpi_rows_str(rows, H_EVIDENCE, evidence);
    if (slice->culprit_actor == KP_ACTOR_UNKNOWN)
        return;
    kpi_rows_i64(rows, H_CULPRIT_PID, culprit->pid);
    kpi_rows_i64(rows, H_CULPRIT_TID, culprit->tid);
    kpi_rows_str(rows, H_CULPRIT_COMM, culprit->comm);
}

static const char *strength_text(const struct kpi_slice *slice, const struct kpi_frame *frame,
                                 bool leaf)
{
    if (!leaf)
        return frame->strength == KPI_WEAK ? "weak" : "strong";
    if (slice->kind == KPI_UNKNOWN)
        return "-";
    if (slice->strength == KPI_WEAK)
        return "weak";
    return slice->strength == KPI_STRONG_COUNTER ? "strong(counter)" : "strong";
}

static void put_level(struct kp_rows *rows, const struct kpi_answer *answer,
                      const struct stack *stack, uint32_t level, struct kp_arena *arena)
{
    const struct kpi_frame *frame = &stack->frames[stack->count - 1 - level];
    const struct kpi_slice *slice = &stack->slice;
    bool leaf = level + 1 == stack->count;
    kpi_rows_add(rows);
    kpi_rows_i64(rows, H_LEVEL, level);
    kpi_rows_str(rows, H_EDGE, kp_str_from(kpi_rule_name(frame->edge)));
    put_thread(rows, answer, frame->thread, stack->instant);
    put_state(rows, answer->world, frame, stack->instant);
    if (!leaf || slice->culprit_actor == KP_ACTOR_UNKNOWN) {
        kpi_rows_null(rows, H_CULPRIT_PID);
        kpi_rows_null(rows, H_CULPRIT_TID);
    }
    kpi_rows_str(rows, H_STRENGTH, kp_str_from(strength_text(slice, frame, leaf)));
    if (leaf)
        put_leaf(rows, answer, slice, arena);
}

static kp_status outside(const struct kpi_answer *answer, kp_time instant, struct kp_error *err)
{
    char at[KP_TIME_TEXT_MAX], from[KP_TIME_TEXT_MAX], to[KP_TIME_TEXT_MAX];
    kp_time_format(instant, at);
    kp_time_format(answer->from, from);
    kp_time_format(answer->to, to);
    kp_error_set(err, KP_NOT_FOUND, "%s lies outside what is asked about", at);
    kp_error_hint(err, "it lasted from %s to %s", from, to);
    return KP_NOT_FOUND;
}

kp_status kp_chain_open(struct kp_snapshot *snapshot, const struct kp_causes_req *req,
                        kp_time instant, struct kp_arena *arena, struct kp_rows **out,
                        struct kp_error *err)
{
    struct kpi_reader reader = {.snapshot = snapshot, .stop = arena->stop};
    struct kpi_answer *answer = kp_arena_zalloc(arena, 1, sizeof(*answer));
    struct stack *stack = kp_arena_zalloc(arena, 1, sizeof(*stack));
    struct kp_rows *rows = NULL;
    arena->owner = "CHAIN";
    if (answer == NULL || stack == NULL || kpi_rows_open(arena, &chain_schema, &rows) != KP_OK)
        return kp_arena_error(arena, err);
    stack->instant = instant;
    answer->watch = stack_take;
    answer->watch_ctx = stack;
    kp_status status = kpi_root_open(&reader, req, arena, answer, err);
    if (status == KP_OK)
        status = kpi_root_walk(answer, arena, err);
    if (status != KP_OK)
        return status;
    if (stack->count == 0)
        return outside(answer, instant, err);
    for (uint32_t level = 0; level < stack->count; level++)
        put_level(rows, answer, stack, level, arena);
    kpi_rows_read(rows, &reader);
    status = kpi_rows_check(rows, err);
    if (status == KP_OK)
        *out = rows;
    return status;
}
