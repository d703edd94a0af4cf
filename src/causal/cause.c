/* SPDX-License-Identifier: Apache-2.0
 *
 * Slices become rows: those with the same kind, culprit process, object, victim thread and span
 * name are one row, so a preemption made of many slices reads as one. Nothing else is merged.
 */
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "causal/cause.h"

void kpi_causes_init(struct kpi_causes *causes, struct kp_arena *arena,
                     const struct kpi_world *world, bool keep_refs)
{
    memset(causes, 0, sizeof(*causes));
    causes->arena = arena;
    causes->world = world;
    causes->keep_refs = keep_refs;
    kpi_list_init(&causes->list, arena, sizeof(struct kpi_cause *));
}

uint64_t kpi_culprit_key(const struct kpi_world *world, const struct kpi_slice *slice)
{
    if (slice->culprit == KPI_NONE)
        return slice->culprit_actor == KP_ACTOR_UNKNOWN ? 0 : (1ull << 63 | slice->culprit_actor);
    const struct kpi_thread *thread = kpi_thread_of(world, slice->culprit);
    if (thread->pid == 0)
        return 1ull << 62 | slice->culprit;
    return (uint64_t)(thread->host + 1) << 33 | thread->pid;
}

static uint64_t slice_hash(const struct kpi_world *world, const struct kpi_slice *slice)
{
    uint64_t hash =
        kp_hash_mix((uint64_t)slice->kind << 40 ^ (uint64_t)slice->rule << 32 ^ slice->thread);
    return kp_hash_mix(hash ^ kpi_culprit_key(world, slice));
}

/* Spans of one name, as the legs of one payment have, are told of in one row. */
static bool span_same(const struct kpi_world *world, uint32_t a, uint32_t b)
{
    if (a == b || a == KPI_NONE || b == KPI_NONE)
        return a == b;
    const struct kpi_span *x = &world->spans[a], *y = &world->spans[b];
    return kp_str_equal(x->name, y->name) && kp_str_equal(x->service, y->service) &&
           kp_str_equal(x->trace, y->trace) && kp_str_equal(x->txn, y->txn);
}

static bool slice_same(const struct kpi_world *world, const struct kpi_slice *a,
                       const struct kpi_slice *b)
{
    return a->kind == b->kind && a->rule == b->rule && a->thread == b->thread &&
           span_same(world, a->span, b->span) &&
           kpi_culprit_key(world, a) == kpi_culprit_key(world, b) &&
           kp_str_equal(a->object, b->object) && kp_str_equal(a->subkind, b->subkind);
}

struct kp_str kpi_pool_name(struct kp_str comm)
{
    while (comm.len > 1 && strchr("0123456789-_/:#.", comm.ptr[comm.len - 1]) != NULL)
        comm.len--;
    return comm;
}

static struct kp_str object_class(struct kpi_causes *causes, const struct kpi_slice *slice)
{
    struct kp_str comm = kpi_pool_name(kp_actors_get(causes->world->actors, slice->actor)->comm);
    struct kp_str detail = slice->subkind;
    switch (slice->kind) {
    case KPI_BLOCK_QUEUE:
    case KPI_BLOCK_DEVICE:
    case KPI_IRQ:
    case KPI_SOFTIRQ:
    case KPI_REMOTE:
    case KPI_THROTTLED:
    case KPI_FROZEN:
        detail = slice->object;
        break;
    default:
        break;
    }
    return kpi_text(causes->arena, "%.*s|%.*s", (int)comm.len, comm.ptr, (int)detail.len,
                    detail.ptr == NULL ? "" : detail.ptr);
}

static struct kpi_cause *cause_new(struct kpi_causes *causes, const struct kpi_slice *slice,
                                   struct kpi_cause **slot)
{
    struct kpi_cause *cause = kp_arena_zalloc(causes->arena, 1, sizeof(*cause));
    if (cause == NULL) {
        causes->list.failed = true;
        return NULL;
    }
    *(struct kpi_cause **)kpi_list_add(&causes->list) = cause;
    cause->largest = *slice;
    cause->largest.frame = NULL;
    cause->start = slice->from;
    cause->order = causes->list.count;
    cause->object_class = object_class(causes, slice);
    cause->next = *slot;
    *slot = cause;
    return cause;
}

static void ref_keep(struct kpi_causes *causes, struct kpi_cause *cause,
                     const struct kpi_ref_node *of)
{
    if (cause->refs_count == KPI_CAUSE_REFS)
        return;
    struct kpi_ref_node *node = kp_arena_alloc(causes->arena, sizeof(*node));
    if (node == NULL) {
        causes->list.failed = true;
        return;
    }
    *node = *of;
    node->next = NULL;
    if (cause->refs == NULL)
        cause->refs = node;
    else
        cause->refs_last->next = node;
    cause->refs_last = node;
    cause->refs_count++;
}

/* The rows that led the walk from one thread to the next, the last step first. */
static void edges_keep(struct kpi_causes *causes, struct kpi_cause *cause,
                       const struct kpi_frame *frame)
{
    const struct kpi_world *world = causes->world;
    for (; frame != NULL && frame->parent != NULL; frame = frame->parent) {
        struct kpi_ref_node node = {.rule = frame->edge, .strength = frame->strength};
        uint32_t thread = frame->parent->thread;
        if (thread != KPI_NONE) {
            uint32_t host = kpi_thread_of(world, thread)->host;
            node.gap = kpi_gap_in(world, host, KPI_NONE, true, frame->from, frame->to);
            node.skew = KP_MAX(kpi_host_of(world, host)->skew, 0);
        }
        node.ref = (struct kpi_ref){frame->by_event, NULL};
        if (frame->by_event != KPI_NONE)
            ref_keep(causes, cause, &node);
        node.ref = (struct kpi_ref){KPI_NONE, frame->by_work};
        if (frame->by_work != NULL)
            ref_keep(causes, cause, &node);
    }
}

static void refs_keep(struct kpi_causes *causes, struct kpi_cause *cause,
                      const struct kpi_slice *slice)
{
    for (uint32_t i = 0; i < slice->refs_count; i++) {
        struct kpi_ref_node node = {.ref = slice->refs[i],
                                    .rule = slice->rule,
                                    .strength = slice->strength,
                                    .gap = slice->gap,
                                    .skew = slice->skew};
        ref_keep(causes, cause, &node);
    }
    const struct kpi_frame *frame = slice->frame;
    if (frame == NULL || (cause->slices > 1 && cause->last_edge.event == frame->by_event &&
                          cause->last_edge.work == frame->by_work))
        return; /* the same way as the stretch before */
    cause->last_edge = (struct kpi_ref){frame->by_event, frame->by_work};
    edges_keep(causes, cause, frame);
}

void kpi_causes_add(void *ctx, const struct kpi_slice *slice)
{
    kpi_causes_put(ctx, slice);
}

struct kpi_cause *kpi_causes_put(struct kpi_causes *causes, const struct kpi_slice *slice)
{
    struct kpi_cause **slot = &causes->slots[slice_hash(causes->world, slice) % KPI_CAUSE_SLOTS];
    struct kpi_cause *cause = *slot;
    kp_dur dur = slice->to - slice->from;
    causes->wall += dur;
    while (cause != NULL && !slice_same(causes->world, &cause->largest, slice))
        cause = cause->next;
    if (cause == NULL)
        cause = cause_new(causes, slice, slot);
    if (cause == NULL)
        return NULL;
    if (dur > cause->largest.to - cause->largest.from)
        cause->largest = *slice;
    cause->largest.frame = NULL;
    cause->dur += dur;
    cause->weak += slice->strength == KPI_WEAK ? dur : 0;
    cause->gap += slice->gap;
    cause->idle_elsewhere += slice->idle_elsewhere;
    cause->timeout |= slice->timeout;
    cause->slices++;
    cause->skew = KP_MAX(cause->skew, slice->skew);
    if (slice->span != KPI_NONE)
        cause->skew = KP_MAX(cause->skew, causes->world->spans[slice->span].skew);
    if (causes->keep_refs)
        refs_keep(causes, cause, slice);
    return cause;
}

bool kpi_cause_named(const struct kpi_cause *cause)
{
    switch (cause->largest.kind) {
    case KPI_UNKNOWN:
    case KPI_IDLE_EXIT:
    case KPI_NET_LOCAL:
    case KPI_FORK_WAIT:
        return false;
    case KPI_NET_WIRE: /* measured on a connection, or only supposed */
        return cause->weak == 0 && cause->largest.object.len > 0;
    default:
        return true;
    }
}

const char *kpi_cause_strength(const struct kpi_cause *cause)
{
    if (cause->largest.kind == KPI_UNKNOWN)
        return "-";
    if (cause->weak > cause->dur / 10)
        return "weak";
    return cause->largest.strength == KPI_STRONG_COUNTER ? "strong(counter)" : "strong";
}
