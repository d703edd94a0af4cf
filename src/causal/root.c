/* SPDX-License-Identifier: Apache-2.0
 *
 * What a question is about: a transaction, a span, a thread between two instants, or one wait.
 * Finds it, reads the world around it, and walks it.
 *
 * A span is walked as a transaction whose root it is. A thread carries the work of several traces
 * one after another, so its window is walked piece by piece, each piece as a part of the trace
 * whose outermost span is open on the thread; the pieces partition the window.
 */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "causal/cause.h"
#include "causal/cursor.h"

#define WITHIN_DEFAULT (2 * KP_SEC)
#define AFTER          (100 * KP_MS) /* events read after the last span */
#define LATE_MAX       (10 * KP_SEC) /* work that outlives the root is followed this far */
#define AHEAD          (2 * KP_SEC)  /* joined rows that end later */
#define WAIT_AFTER     (10 * KP_SEC) /* how far the end of a wait is looked for */
#define LISTED_MAX     6
#define REACH_FIRST    (10 * KP_MS) /* read before the start at first; more when it matters */
#define REACH_GROWS    8

/* ---------- transactions and spans ---------- */

/* The kernel stamps of the transaction's wall-clock ones, before any event is read. */
static kp_status window_map(struct kpi_reader *reader, struct kp_arena *arena, struct kpi_txn *txn,
                            struct kp_error *err)
{
    struct kpi_world *clocks;
    kp_dur bound;
    kp_status status = kpi_world_bare(reader, arena, &clocks, err);
    if (status == KP_OK)
        status = kpi_clocks_load(clocks, txn->from, txn->to, err);
    if (status != KP_OK)
        return status;
    uint32_t host = kpi_world_host(clocks, kp_actors_get(clocks->actors, txn->actor)->host);
    txn->from = kpi_clock_map(clocks, host, txn->from, &bound);
    txn->to = KP_MAX(txn->from, kpi_clock_map(clocks, host, txn->to, &bound));
    txn->last = KP_MAX(txn->to, kpi_clock_map(clocks, host, txn->last, &bound));
    return KP_OK;
}

static kp_dur within_of(const struct kp_causes_req *req)
{
    return req->within < 0 ? WITHIN_DEFAULT : req->within;
}

static kp_status txn_place(struct kpi_reader *reader, struct kp_arena *arena,
                           struct kpi_answer *answer, struct kp_error *err)
{
    struct kpi_txn *txn = &answer->txn;
    reader->axis = kp_actors_get(kp_snapshot_actors(reader->snapshot), txn->actor)->host;
    return window_map(reader, arena, txn, err);
}

/* Reads the world around the transaction, or a part of it. */
static kp_status txn_read(struct kpi_reader *reader, struct kp_arena *arena,
                          struct kpi_answer *answer, struct kpi_reach *reach, struct kp_error *err)
{
    struct kpi_txn *txn = &answer->txn;
    kp_time from = kpi_time_add(txn->from, -within_of(answer->req));
    kp_time to = kpi_time_add(KP_MIN(txn->last, kpi_time_add(txn->to, LATE_MAX)), AFTER);
    kp_status status =
        kpi_world_load_part(reader, arena, from, to, AHEAD, reach, &answer->world, err);
    if (status == KP_OK)
        status =
            kpi_world_spans(answer->world, &txn->trace, 1, txn->from, kpi_time_add(to, AHEAD), err);
    if (status != KP_OK)
        return status;
    answer->root = kpi_span_find(answer->world, txn->trace, txn->root_id);
    kp_assert(answer->root != KPI_NONE);
    answer->thread = answer->world->spans[answer->root].thread;
    answer->from = answer->world->spans[answer->root].from;
    answer->to = answer->world->spans[answer->root].to;
    return KP_OK;
}

/* ---------- threads ---------- */

static bool is_named(const struct kpi_world *world, const struct kpi_thread *thread,
                     const struct kp_causes_req *req)
{
    if (req->host.len > 0 && !kp_str_equal(kpi_host_of(world, thread->host)->name, req->host))
        return false;
    if (req->number > 0)
        return thread->tid == req->number;
    return kp_str_equal(kp_actors_get(world->actors, thread->actor)->comm, req->txn);
}

static bool did_something(const struct kpi_world *world, const struct kpi_thread *thread,
                          kp_time from, kp_time to)
{
    uint32_t at = kpi_timeline_find(world, thread, from);
    return at < thread->count && kpi_timeline_at(world, thread, at)->from < to;
}

static void root_text(const struct kp_causes_req *req, char *out, size_t size)
{
    if (req->number > 0)
        snprintf(out, size, "%lld", (long long)req->number);
    else
        snprintf(out, size, "'%.*s'", (int)KP_MIN(req->txn.len, 60u), req->txn.ptr);
}

static kp_status no_such_thread(const struct kpi_answer *answer, struct kp_error *err)
{
    char name[80], from[KP_TIME_TEXT_MAX], to[KP_TIME_TEXT_MAX];
    root_text(answer->req, name, sizeof(name));
    kp_time_format(answer->from, from);
    kp_time_format(answer->to, to);
    kp_error_set(err, KP_NOT_FOUND, "no such thread %s: searched %s .. %s%s%.*s", name, from, to,
                 answer->req->host.len > 0 ? " on host " : "", (int)answer->req->host.len,
                 answer->req->host.ptr);
    kp_error_hint(err, "thread_state | where ts between (...) | distinct tid, comm");
    return KP_NOT_FOUND;
}

static kp_status several_threads(const struct kpi_answer *answer, const uint32_t *threads,
                                 uint32_t count, struct kp_error *err)
{
    const struct kpi_world *world = answer->world;
    char name[80], list[KP_ERROR_TEXT_MAX] = "";
    size_t used = 0;
    root_text(answer->req, name, sizeof(name));
    kp_error_set(err, KP_INVALID, "thread %s means %u threads: say which", name, count);
    for (uint32_t i = 0; i < KP_MIN(count, (uint32_t)LISTED_MAX) && used + 1 < sizeof(list); i++) {
        const struct kpi_thread *thread = kpi_thread_of(world, threads[i]);
        struct kp_str host = kpi_host_of(world, thread->host)->name;
        int n =
            snprintf(list + used, sizeof(list) - used, "%s#%u tid %u of pid %u on %.*s",
                     i > 0 ? "; " : "", i + 1, thread->tid, thread->pid, (int)host.len, host.ptr);
        used += n < 0 ? 0 : (size_t)n;
    }
    kp_error_hint(err, "%s", list);
    return KP_INVALID;
}

static kp_status thread_choose(struct kpi_answer *answer, struct kp_error *err)
{
    const struct kpi_world *world = answer->world;
    uint32_t threads[LISTED_MAX], count = 0;
    for (uint32_t i = 0; i < world->threads.count; i++) {
        const struct kpi_thread *thread = kpi_thread_of(world, i);
        if (thread->idle || !is_named(world, thread, answer->req) ||
            !did_something(world, thread, answer->from, answer->to))
            continue;
        if (count < LISTED_MAX)
            threads[count] = i;
        count++;
    }
    if (count == 0)
        return no_such_thread(answer, err);
    uint32_t pick = answer->req->pick;
    if (pick > KP_MIN(count, (uint32_t)LISTED_MAX) || (pick == 0 && count > 1))
        return several_threads(answer, threads, count, err);
    answer->thread = threads[pick == 0 ? 0 : pick - 1];
    return KP_OK;
}

static kp_status window_read(struct kpi_reader *reader, struct kp_arena *arena,
                             struct kpi_answer *answer, kp_time to, struct kp_error *err)
{
    kp_time from = kpi_time_add(answer->from, -within_of(answer->req));
    kp_status status =
        kpi_world_load(reader, arena, from, kpi_time_add(to, AFTER), AHEAD, &answer->world, err);
    if (status == KP_OK)
        status =
            kpi_world_spans(answer->world, NULL, 0, answer->from, kpi_time_add(to, LATE_MAX), err);
    return status;
}

/* Reads the window again with the stamps of all hosts told on the clock of the thread's. */
static kp_status thread_align(struct kpi_reader *reader, struct kp_arena *arena,
                              struct kpi_answer *answer, struct kp_error *err)
{
    const struct kpi_thread chosen = *kpi_thread_of(answer->world, answer->thread);
    reader->axis = kpi_host_of(answer->world, chosen.host)->name;
    kp_status status = window_read(reader, arena, answer, answer->to, err);
    if (status != KP_OK)
        return status;
    const struct kpi_world *world = answer->world;
    for (uint32_t i = 0; i < world->threads.count; i++) {
        const struct kpi_thread *thread = kpi_thread_of(world, i);
        if (thread->tid == chosen.tid && thread->start == chosen.start &&
            kp_str_equal(kpi_host_of(world, thread->host)->name, reader->axis)) {
            answer->thread = i;
            return KP_OK;
        }
    }
    return no_such_thread(answer, err);
}

static kp_status thread_open(struct kpi_reader *reader, struct kp_arena *arena,
                             struct kpi_answer *answer, struct kp_error *err)
{
    answer->root = KPI_NONE;
    answer->from = kpi_time_sane(answer->req->from);
    answer->to = kpi_time_sane(answer->req->to);
    kp_status status = window_read(reader, arena, answer, answer->to, err);
    if (status == KP_OK)
        status = thread_choose(answer, err);
    if (status == KP_OK && answer->world->hosts.count > 1)
        status = thread_align(reader, arena, answer, err);
    return status;
}

/* ---------- waits ---------- */

/* The wait or the stretch on a run queue that the event began or ended. */
static const struct kpi_interval *wait_of(const struct kpi_world *world, uint32_t event)
{
    const struct kpi_event *e = kpi_event_of(world, event);
    bool wake = e->stream == KP_S_SCHED_WAKING;
    uint32_t who = wake ? e->b : e->a;
    const struct kpi_thread *thread = who == KPI_NONE ? NULL : kpi_thread_of(world, who);
    for (uint32_t i = 0; thread != NULL && i < thread->count; i++) {
        const struct kpi_interval *iv = kpi_timeline_at(world, thread, i);
        if ((wake ? iv->end : iv->begin) == event && iv->state != KPI_STATE_RUNNING)
            return iv;
    }
    return NULL;
}

static kp_status wait_open(struct kpi_reader *reader, struct kp_arena *arena,
                           struct kpi_answer *answer, struct kp_error *err)
{
    struct kpi_place_of place;
    kp_status status = kpi_event_find(reader, answer->req, arena, &place, err);
    if (status != KP_OK)
        return status;
    answer->root = KPI_NONE;
    answer->from = place.ts;
    reader->axis = place.host;
    status = window_read(reader, arena, answer, kpi_time_add(place.ts, WAIT_AFTER), err);
    if (status != KP_OK)
        return status;
    uint32_t event = kpi_event_index(answer->world, &place);
    const struct kpi_interval *iv = event == KPI_NONE ? NULL : wait_of(answer->world, event);
    if (iv == NULL) {
        kp_error_set(err, KP_INVALID, "no wait begins or ends with %.*s, which is a row of %s",
                     (int)answer->req->txn.len, answer->req->txn.ptr,
                     kp_stream_by_number(place.stream)->name);
        kp_error_hint(err, "a wait is named by the sched_switch that began it, or by the "
                           "sched_waking that ended it");
        return KP_INVALID;
    }
    answer->thread = iv->thread;
    answer->from = iv->from;
    answer->to = iv->to;
    return KP_OK;
}

/* The transaction or span asked about, on the kernel's clock. */
static kp_status txn_choose(struct kpi_reader *reader, struct kp_arena *arena,
                            struct kpi_answer *answer, struct kp_error *err)
{
    const struct kp_causes_req *req = answer->req;
    kp_status status = req->root == KP_ROOT_SPAN
                           ? kpi_txn_of_span(reader, req, arena, &answer->txn, err)
                           : kpi_txn_find(reader, req, arena, &answer->txn, err);
    answer->wall_clock = answer->txn;
    return status == KP_OK ? txn_place(reader, arena, answer, err) : status;
}

kp_status kpi_root_open(struct kpi_reader *reader, const struct kp_causes_req *req,
                        struct kp_arena *arena, struct kpi_answer *answer, struct kp_error *err)
{
    answer->req = req;
    if (req->root == KP_ROOT_THREAD)
        return thread_open(reader, arena, answer, err);
    if (req->root == KP_ROOT_WAIT)
        return wait_open(reader, arena, answer, err);
    kp_status status = txn_choose(reader, arena, answer, err);
    return status == KP_OK ? txn_read(reader, arena, answer, NULL, err) : status;
}

/* ---------- why an occupant was running ---------- */

static struct kp_str thread_text(const struct kpi_world *world, uint32_t thread,
                                 struct kp_arena *arena)
{
    const struct kpi_thread *t = kpi_thread_of(world, thread);
    struct kp_str comm = kp_actors_get(world->actors, t->actor)->comm;
    return kpi_text(arena, "%.*s(%u)", (int)comm.len, comm.ptr, t->tid);
}

/* The wakeup after which the thread had been running or queued up to t; NULL when not recorded. */
static const struct kpi_event *awake_since(const struct kpi_world *world, uint32_t thread,
                                           kp_time t)
{
    const struct kpi_thread *of = kpi_thread_of(world, thread);
    for (uint32_t i = KP_MIN(kpi_timeline_find(world, of, t) + 1, of->count); i-- > 0;) {
        const struct kpi_interval *iv = kpi_timeline_at(world, of, i);
        if (iv->from > t)
            continue;
        if (iv->state != KPI_STATE_RUNNING && iv->state != KPI_STATE_RUNNABLE)
            return NULL;
        if (iv->begin != KPI_NONE && kpi_event_of(world, iv->begin)->stream == KP_S_SCHED_WAKING)
            return kpi_event_of(world, iv->begin);
    }
    kpi_miss_before(world);
    return NULL;
}

static struct kp_str because_of(const struct kpi_answer *answer, const struct kpi_slice *slice,
                                struct kp_arena *arena)
{
    const struct kpi_world *world = answer->world;
    uint32_t who = slice->culprit;
    kp_time t = slice->from;
    struct kp_str text = KP_STR("");
    for (uint32_t level = 1; level < answer->req->depth && who != KPI_NONE; level++) {
        const struct kpi_event *wake = awake_since(world, who, t);
        if (wake == NULL)
            break;
        bool task =
            wake->context == 0 && wake->a != KPI_NONE && !kpi_thread_of(world, wake->a)->idle;
        struct kp_str by = task ? thread_text(world, wake->a, arena) : KP_STR("an interrupt");
        struct kp_str of = thread_text(world, who, arena);
        text = kpi_text(arena, "%.*s%s%.*s was woken by %.*s", (int)text.len, text.ptr,
                        text.len > 0 ? ", " : "", (int)of.len, of.ptr, (int)by.len, by.ptr);
        who = task ? wake->a : KPI_NONE;
        t = wake->ts;
    }
    return text;
}

/* ---------- the walk ---------- */

/* Where a path of strong edges ends: what lies behind the first weak one is not known. */
static struct kpi_slice cut_weak(const struct kpi_answer *answer, const struct kpi_slice *slice)
{
    const struct kpi_frame *frame = slice->frame;
    struct kpi_slice cut = *slice;
    if (frame == NULL || frame->strength != KPI_WEAK)
        return cut;
    while (frame->parent != NULL && frame->strength == KPI_WEAK)
        frame = frame->parent;
    cut.kind = KPI_UNKNOWN;
    cut.rule = KPI_RULE_NONE;
    cut.edge = frame->edge;
    cut.strength = KPI_WEAK;
    cut.thread = frame->thread;
    cut.actor = frame->thread == KPI_NONE ? KP_ACTOR_UNKNOWN
                                          : kpi_thread_of(answer->world, frame->thread)->actor;
    cut.cpu = cut.span = cut.culprit = KPI_NONE;
    cut.culprit_actor = KP_ACTOR_UNKNOWN;
    cut.subkind = KP_STR("weak-edge");
    cut.object = KP_STR("");
    cut.stop = "weak";
    return cut;
}

static void answer_emit(void *ctx, const struct kpi_slice *given)
{
    struct kpi_answer *answer = ctx;
    struct kpi_slice slice = answer->req->strong ? cut_weak(answer, given) : *given;
    if (answer->watch != NULL)
        answer->watch(answer->watch_ctx, &slice);
    struct kpi_cause *cause = kpi_causes_put(&answer->causes, &slice);
    if (cause == NULL)
        return;
    bool occupied = slice.rule == KPI_RULE_OCCUPANT || slice.rule == KPI_RULE_MISPLACED;
    if (occupied && answer->req->depth > 1 && cause->largest.from == slice.from)
        cause->because = because_of(answer, &slice, answer->causes.arena);
    if (answer->req->parts)
        *(struct kpi_part *)kpi_list_add(&answer->parts) = (struct kpi_part){slice, cause};
}

/* The outermost span open on the thread at `at`, and until when that holds. */
static uint32_t piece_span(const struct kpi_answer *answer, kp_time at, kp_time *out_until)
{
    const struct kpi_world *world = answer->world;
    for (uint32_t i = 0; i < world->spans_count; i++) {
        const struct kpi_span *span = &world->spans[i];
        if (span->thread != answer->thread || span->to <= at)
            continue;
        *out_until = KP_MIN(answer->to, span->from <= at ? span->to : span->from);
        return span->from <= at ? i : KPI_NONE;
    }
    *out_until = answer->to;
    return KPI_NONE;
}

static void thread_walk(struct kpi_answer *answer, struct kpi_walk *walk)
{
    kp_time until;
    for (kp_time at = answer->from; at < answer->to; at = until) {
        uint32_t span = piece_span(answer, at, &until);
        struct kpi_txn txn = {0};
        if (span != KPI_NONE)
            txn.trace = answer->world->spans[span].trace;
        walk->txn = &txn;
        kpi_walk_run(walk, answer->thread, span, at, until);
    }
}

kp_status kpi_root_walk(struct kpi_answer *answer, struct kp_arena *arena, struct kp_error *err)
{
    kpi_causes_init(&answer->causes, arena, answer->world, answer->req->evidence);
    kpi_list_init(&answer->parts, arena, sizeof(struct kpi_part));
    struct kpi_walk walk = {.oracle = answer->req->oracle,
                            .world = answer->world,
                            .arena = arena,
                            .txn = &answer->txn,
                            .emit = answer_emit,
                            .ctx = answer};
    if (answer->root == KPI_NONE)
        thread_walk(answer, &walk);
    else
        kpi_walk_run(&walk, answer->thread, answer->root, answer->from, answer->to);
    if (answer->causes.list.failed || answer->parts.failed)
        return kp_arena_error(arena, err);
    kp_assert(answer->causes.wall == answer->to - answer->from);
    return kpi_reader_check(answer->world->reader, err);
}

/* ---------- no more rows than it takes ---------- */

/* What holds of the world as a whole must not depend on the part that was read. */
static void world_check(const struct kpi_answer *answer)
{
    const struct kpi_world *world = answer->world;
    bool kernel = false;
    for (uint32_t i = 0; i < world->hosts.count; i++)
        kernel |= kpi_host_of(world, i)->first <= kpi_host_of(world, i)->last;
    if (!kernel)
        kpi_miss_before(world);
    for (uint32_t i = 0; i < world->spans_count; i++) {
        const struct kpi_span *span = &world->spans[i];
        bool lost = span->thread == KPI_NONE && span->link != 0 &&
                    kp_str_equal(span->trace, answer->txn.trace);
        if (span->unsure || lost)
            kpi_miss_before(world);
    }
}

/* Reads more; false: all of the range was read. */
static bool reach_widen(struct kpi_reach *reach, const struct kpi_answer *answer, kp_dur *before)
{
    bool back = reach->missed_before && answer->world->floor > answer->world->from;
    uint32_t ahead = reach->missed_after & ~reach->ahead;
    if (!back && ahead == 0)
        return false;
    *before = back ? *before * REACH_GROWS : *before;
    *reach = (struct kpi_reach){.floor = kpi_time_add(answer->txn.from, -*before),
                                .ahead = reach->ahead | ahead};
    return true;
}

kp_status kpi_root_explain(struct kpi_reader *reader, const struct kp_causes_req *req,
                           struct kp_arena *arena, struct kpi_answer *answer, struct kp_error *err)
{
    if (req->eager || req->root == KP_ROOT_THREAD || req->root == KP_ROOT_WAIT) {
        kpi_reader_part(reader, "all of the window", within_of(req));
        kp_status status = kpi_root_open(reader, req, arena, answer, err);
        return status == KP_OK ? kpi_root_walk(answer, arena, err) : status;
    }
    answer->req = req;
    kp_dur before = REACH_FIRST;
    kp_status status = txn_choose(reader, arena, answer, err);
    struct kpi_reach *reach = kp_arena_zalloc(arena, 1, sizeof(*reach));
    if (reach == NULL)
        return kp_arena_error(arena, err);
    reach->floor = kpi_time_add(answer->txn.from, -before);
    while (status == KP_OK) {
        kpi_reader_part(reader, "the walk", before);
        status = txn_read(reader, arena, answer, reach, err);
        if (status == KP_OK)
            status = kpi_root_walk(answer, arena, err);
        if (status == KP_OK)
            world_check(answer);
        if (status == KP_OK && !reach_widen(reach, answer, &before))
            break;
    }
    return status;
}
