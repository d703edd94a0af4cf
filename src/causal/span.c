/* SPDX-License-Identifier: Apache-2.0
 *
 * Spans of a world: on the kernel's clock, with their parents and the threads they ran on. Only the
 * traces of the transaction matter for the path; spans of others on the same threads tell when such
 * a thread was at work for somebody else.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "causal/cursor.h"
#include "causal/span.h"
#include "causal/timeline.h"

enum { LINK_NONE, LINK_PROCESS }; /* catalogue: SPAN_LINK; above are thread links */

static const char *const span_cols[] = {
    "ts",  "seq",     "cpu",  "actor",  "dur",        "trace_id", "span_id", "parent_id",
    "txn", "service", "name", "status", "status_msg", "link",     "kind",    NULL};
enum {
    SPAN_DUR = KP_COL_FIRST,
    SPAN_TRACE,
    SPAN_ID,
    SPAN_PARENT,
    SPAN_TXN,
    SPAN_SERVICE,
    SPAN_NAME,
    SPAN_STATUS,
    SPAN_STATUS_MSG,
    SPAN_LINK,
    SPAN_KIND
};

static uint64_t key_of(struct kp_str trace, struct kp_str id)
{
    return kp_hash64(id.ptr, id.len, kp_hash64(trace.ptr, trace.len, 0));
}

static void span_add(struct kpi_world *world, const struct kpi_cursor *cursor)
{
    struct kp_arena *arena = world->arena;
    struct kpi_span *span = kpi_list_add(&world->span_list);
    kp_dur dur = KP_MAX(kpi_time_sane(kpi_cursor_i64(cursor, SPAN_DUR)), 0);
    span->to = kpi_time_sane(kpi_cursor_i64(cursor, KP_COL_TS));
    span->from = kpi_time_sane(span->to - dur);
    span->seq = (uint64_t)kpi_cursor_i64(cursor, KP_COL_SEQ);
    span->actor = (kp_actor_id)kpi_cursor_i64(cursor, KP_COL_ACTOR);
    span->trace = kp_arena_str(arena, kpi_cursor_str(cursor, SPAN_TRACE));
    span->id = kp_arena_str(arena, kpi_cursor_str(cursor, SPAN_ID));
    span->parent = kp_arena_str(arena, kpi_cursor_str(cursor, SPAN_PARENT));
    span->txn = kp_arena_str(arena, kpi_cursor_str(cursor, SPAN_TXN));
    span->service = kp_arena_str(arena, kpi_cursor_str(cursor, SPAN_SERVICE));
    span->name = kp_arena_str(arena, kpi_cursor_str(cursor, SPAN_NAME));
    span->status_msg = kp_arena_str(arena, kpi_cursor_str(cursor, SPAN_STATUS_MSG));
    span->status = (uint8_t)kpi_cursor_i64(cursor, SPAN_STATUS);
    span->link = (uint8_t)kpi_cursor_i64(cursor, SPAN_LINK);
    span->kind = (uint8_t)kpi_cursor_i64(cursor, SPAN_KIND);
    span->key = key_of(span->trace, span->id);
    span->thread = span->up = span->child = span->next = KPI_NONE;
    world->span_list.failed |= span->name.ptr == NULL;
}

/* It began after the last row of the world: nothing is asked of it. */
static bool is_beyond(struct kpi_world *world, const struct kpi_cursor *cursor)
{
    kp_actor_id actor = (kp_actor_id)kpi_cursor_i64(cursor, KP_COL_ACTOR);
    uint32_t host = kpi_world_host(world, kp_actors_get(world->actors, actor)->host);
    kp_dur dur = KP_MAX(kpi_time_sane(kpi_cursor_i64(cursor, SPAN_DUR)), 0), bound;
    kp_time from = kpi_time_sane(kpi_time_sane(kpi_cursor_i64(cursor, KP_COL_TS)) - dur);
    return kpi_clock_map(world, host, from, &bound) > world->to;
}

static kp_status spans_read(struct kpi_world *world, const struct kpi_cursor_req *req, bool near,
                            struct kp_error *err)
{
    struct kpi_cursor cursor;
    kp_status status = kpi_cursor_open(world->reader, req, &cursor, err);
    if (status != KP_OK)
        return status;
    while ((status = kpi_cursor_next(&cursor, err)) == KP_OK && !world->span_list.failed)
        if (!near || !is_beyond(world, &cursor))
            span_add(world, &cursor);
    kpi_cursor_close(&cursor);
    if (world->span_list.failed)
        return kp_arena_error(world->arena, err);
    return status == KP_END ? KP_OK : status;
}

kp_status kpi_spans_load(struct kpi_world *world, kp_time from, kp_time to,
                         const struct kp_str *traces, uint32_t traces_count, struct kp_error *err)
{
    struct kpi_cursor_req req = {
        .stream = KP_S_SPANS,
        .from = from,
        .to = to,
        .cols = span_cols,
        .key = traces_count > 0 ? "trace_id" : NULL,
        .strs = traces,
        .strs_count = traces_count,
    };
    return spans_read(world, &req, false, err);
}

/* ---------- order, duplicates, parents ---------- */

static int name_compare(const struct kpi_span *x, const struct kpi_span *y)
{
    int order = kp_str_compare(x->trace, y->trace);
    return order != 0 ? order : kp_str_compare(x->id, y->id);
}

/* Some total order by trace and id. */
static int key_compare(const struct kpi_span *x, const struct kpi_span *y)
{
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return name_compare(x, y);
}

static int id_compare(const void *a, const void *b)
{
    const struct kpi_span *x = *(struct kpi_span *const *)a, *y = *(struct kpi_span *const *)b;
    int order = key_compare(x, y);
    if (order != 0)
        return order;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static int start_compare(const void *a, const void *b)
{
    const struct kpi_span *x = a, *y = b;
    if (x->from != y->from)
        return x->from < y->from ? -1 : 1;
    if (x->to != y->to)
        return x->to > y->to ? -1 : 1;
    return name_compare(x, y);
}

static void map_stamps(struct kpi_world *world, struct kpi_span *span)
{
    kp_dur bound_from, bound_to;
    span->host = kpi_world_host(world, kp_actors_get(world->actors, span->actor)->host);
    kp_time from = kpi_clock_map(world, span->host, span->from, &bound_from);
    kp_time to = kpi_clock_map(world, span->host, span->to, &bound_to);
    span->skew = KP_MAX(bound_from, bound_to);
    span->from = from;
    span->to = KP_MAX(from, to);
}

/* Pointers to the spans in the order of their keys; repeats of a span keep the first. */
static struct kpi_span **ids_make(struct kpi_world *world, uint32_t count)
{
    struct kpi_span **ids = kp_arena_alloc(world->arena, (size_t)count * sizeof(struct kpi_span *));
    for (uint32_t i = 0; ids != NULL && i < count; i++)
        ids[i] = &world->spans[i];
    if (ids != NULL)
        qsort(ids, count, sizeof(struct kpi_span *), id_compare);
    return ids;
}

static uint32_t drop_repeats(struct kpi_world *world, struct kpi_span **ids, uint32_t count)
{
    uint32_t kept = 0;
    struct kpi_span *copy = kp_arena_alloc(world->arena, (size_t)count * sizeof(*copy));
    for (uint32_t i = 0; copy != NULL && i < count; i++)
        if (i == 0 || key_compare(ids[i - 1], ids[i]) != 0)
            copy[kept++] = *ids[i];
    world->spans = copy;
    return kept;
}

static void find_parents(struct kpi_world *world, struct kpi_span **ids, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct kpi_span want = {.trace = world->spans[i].trace, .id = world->spans[i].parent};
        want.key = key_of(want.trace, want.id);
        uint32_t low = 0, high = want.id.len == 0 ? 0 : count;
        while (low < high) {
            uint32_t mid = low + (high - low) / 2;
            if (key_compare(ids[mid], &want) < 0)
                low = mid + 1;
            else
                high = mid;
        }
        if (want.id.len > 0 && low < count && key_compare(ids[low], &want) == 0 &&
            ids[low] != &world->spans[i])
            world->spans[i].up = (uint32_t)(ids[low] - world->spans);
    }
}

/* ---------- threads ---------- */

/* ns of [from, to) the thread was running or wanted to. */
static kp_dur busy_in(const struct kpi_world *world, uint32_t index, kp_time from, kp_time to)
{
    const struct kpi_thread *thread = kpi_thread_of(world, index);
    kp_dur busy = 0;
    for (uint32_t i = kpi_timeline_find(world, thread, from); i < thread->count; i++) {
        const struct kpi_interval *iv = kpi_timeline_at(world, thread, i);
        if (iv->from >= to)
            break;
        if (iv->state == KPI_STATE_RUNNING || iv->state == KPI_STATE_RUNNABLE)
            busy += KP_MIN(iv->to, to) - KP_MAX(iv->from, from);
    }
    return busy;
}

/* Only the process is known: its thread that did the most during the span. */
static void bind_process(const struct kpi_world *world, struct kpi_span *span, uint32_t pid)
{
    kp_dur most = -1;
    unsigned busy_threads = 0;
    for (uint32_t i = 0; i < world->threads.count; i++) {
        const struct kpi_thread *thread = kpi_thread_of(world, i);
        if (thread->pid != pid || thread->host != span->host || thread->idle)
            continue;
        kp_dur busy = busy_in(world, i, span->from, span->to);
        busy_threads += busy > 0;
        if (busy > most) {
            most = busy;
            span->thread = i;
        }
    }
    span->guess = busy_threads > 1;
}

static void bind_thread(const struct kpi_world *world, struct kpi_span *span)
{
    const struct kp_actor *actor = kp_actors_get(world->actors, span->actor);
    if (span->link == LINK_NONE || actor->pid == 0)
        return;
    if (span->link != LINK_PROCESS)
        span->thread = kpi_world_thread_at(world, span->actor, span->from);
    /* a thread id that was taken on trust must lie in the process that the span names */
    if (span->link == LINK_PROCESS ||
        (span->thread != KPI_NONE && kpi_thread_of(world, span->thread)->pid != actor->pid)) {
        span->thread = KPI_NONE;
        span->unsure = true;
        bind_process(world, span, actor->pid);
    }
}

/* ---------- what is asked again and again ---------- */

/* Children in the order of the spans. */
static void link_children(struct kpi_world *world)
{
    for (uint32_t i = world->spans_count; i-- > 0;) {
        struct kpi_span *span = &world->spans[i];
        if (span->up == KPI_NONE)
            continue;
        span->next = world->spans[span->up].child;
        world->spans[span->up].child = i;
    }
}

/* The spans of each thread, by where they begin. */
static bool sort_by_thread(struct kpi_world *world)
{
    uint32_t first = 0;
    world->thread_spans = kp_arena_alloc(world->arena, ((size_t)world->spans_count + 1) *
                                                           sizeof(*world->thread_spans));
    if (world->thread_spans == NULL)
        return false;
    for (uint32_t i = 0; i < world->spans_count; i++)
        if (world->spans[i].thread != KPI_NONE)
            kpi_thread_of(world, world->spans[i].thread)->spans_count++;
    for (uint32_t t = 0; t < world->threads.count; t++) {
        struct kpi_thread *thread = kpi_thread_of(world, t);
        thread->spans_first = first;
        first += thread->spans_count;
        thread->spans_count = 0;
    }
    for (uint32_t i = 0; i < world->spans_count; i++) {
        const struct kpi_span *span = &world->spans[i];
        if (span->thread == KPI_NONE)
            continue;
        struct kpi_thread *thread = kpi_thread_of(world, span->thread);
        struct kpi_thread_span *own = &world->thread_spans[thread->spans_first];
        kp_time before = thread->spans_count == 0 ? span->to : own[thread->spans_count - 1].reach;
        own[thread->spans_count++] = (struct kpi_thread_span){i, KP_MAX(before, span->to)};
    }
    return true;
}

void kpi_spans_finish(struct kpi_world *world)
{
    uint32_t count = world->span_list.count;
    world->spans = kpi_list_flat(&world->span_list);
    struct kpi_span **ids = world->spans == NULL ? NULL : ids_make(world, count);
    if (ids == NULL) {
        world->span_list.failed |= count > 0;
        return;
    }
    count = drop_repeats(world, ids, count);
    for (uint32_t i = 0; world->spans != NULL && i < count; i++)
        map_stamps(world, &world->spans[i]);
    if (world->spans != NULL)
        qsort(world->spans, count, sizeof(*world->spans), start_compare);
    ids = world->spans == NULL ? NULL : ids_make(world, count);
    if (ids == NULL) {
        world->span_list.failed = true;
        return;
    }
    world->spans_count = count;
    find_parents(world, ids, count);
    for (uint32_t i = 0; i < count; i++)
        bind_thread(world, &world->spans[i]);
    link_children(world);
    world->span_list.failed |= !sort_by_thread(world);
}

const struct kpi_thread_span *kpi_spans_of(const struct kpi_world *world, uint32_t thread,
                                           uint32_t *out_count)
{
    const struct kpi_thread *of = thread == KPI_NONE ? NULL : kpi_thread_of(world, thread);
    bool any = of != NULL && of->spans_count > 0;
    *out_count = any ? of->spans_count : 0;
    return any ? world->thread_spans + of->spans_first : NULL;
}

uint32_t kpi_span_at(const struct kpi_world *world, uint32_t thread, kp_time t,
                     const struct kp_str *trace)
{
    uint32_t count, low = 0;
    const struct kpi_thread_span *own = kpi_spans_of(world, thread, &count);
    for (uint32_t high = count; low < high;) {
        uint32_t mid = low + (high - low) / 2;
        if (world->spans[own[mid].span].from <= t)
            low = mid + 1;
        else
            high = mid;
    }
    while (low-- > 0 && own[low].reach > t) { /* the latest begun is the innermost */
        const struct kpi_span *span = &world->spans[own[low].span];
        if (span->to > t && (trace == NULL || kp_str_equal(span->trace, *trace)))
            return own[low].span;
    }
    return KPI_NONE;
}

uint32_t kpi_span_find(const struct kpi_world *world, struct kp_str trace, struct kp_str id)
{
    uint64_t key = key_of(trace, id);
    for (uint32_t i = 0; i < world->spans_count; i++)
        if (world->spans[i].key == key && kp_str_equal(world->spans[i].id, id) &&
            kp_str_equal(world->spans[i].trace, trace))
            return i;
    return KPI_NONE;
}

kp_status kpi_world_spans(struct kpi_world *world, const struct kp_str *traces,
                          uint32_t traces_count, kp_time from, kp_time to, struct kp_error *err)
{
    struct kpi_cursor_req around = {
        .stream = KP_S_SPANS, .from = from, .to = to, .cols = span_cols};
    kp_status status = KP_OK;
    if (traces_count > 0)
        status = kpi_spans_load(world, KP_TIME_MIN, KP_TIME_MAX, traces, traces_count, err);
    if (status == KP_OK)
        status = spans_read(world, &around, true, err);
    if (status != KP_OK)
        return status;
    kpi_spans_finish(world);
    return kpi_world_failed(world) ? kp_arena_error(world->arena, err) : KP_OK;
}
