/* SPDX-License-Identifier: Apache-2.0
 *
 * CAUSES OF event: the events that made one possible, backwards: a thread that ran had come onto
 * its CPU, before that something had made it runnable, and whoever did that had to run as well.
 *
 * Events are named as the answers show them, host/cpu/seq. Only times that decrease are followed,
 * so the chain ends.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "causal/cause.h"
#include "causal/cursor.h"

#define WITHIN_DEFAULT (2 * KP_SEC)
#define STEPS_DEFAULT  64
#define AT_MARGIN      (10 * KP_SEC) /* searched on both sides of AT */

enum enablers_column {
    S_STEP,
    S_TS,
    S_BEFORE,
    S_STREAM,
    S_HOST,
    S_CPU,
    S_SEQ,
    S_TID,
    S_PID,
    S_COMM,
    S_EDGE,
    S_WHAT,
    S_STOP
};

static const struct kp_field enablers_fields[] = {
    [S_STEP] = {KP_STR("step"), KP_TYPE_I64, KP_UNIT_NONE},
    [S_TS] = {KP_STR("ts"), KP_TYPE_TIME, KP_UNIT_NS},
    [S_BEFORE] = {KP_STR("before"), KP_TYPE_DUR, KP_UNIT_NS},
    [S_STREAM] = {KP_STR("stream"), KP_TYPE_STR, KP_UNIT_NONE},
    [S_HOST] = {KP_STR("host"), KP_TYPE_STR, KP_UNIT_NONE},
    [S_CPU] = {KP_STR("cpu"), KP_TYPE_I64, KP_UNIT_ID},
    [S_SEQ] = {KP_STR("seq"), KP_TYPE_I64, KP_UNIT_ID},
    [S_TID] = {KP_STR("tid"), KP_TYPE_I64, KP_UNIT_ID},
    [S_PID] = {KP_STR("pid"), KP_TYPE_I64, KP_UNIT_ID},
    [S_COMM] = {KP_STR("comm"), KP_TYPE_STR, KP_UNIT_NONE},
    [S_EDGE] = {KP_STR("edge"), KP_TYPE_STR, KP_UNIT_NONE},
    [S_WHAT] = {KP_STR("what"), KP_TYPE_STR, KP_UNIT_NONE},
    [S_STOP] = {KP_STR("stop"), KP_TYPE_STR, KP_UNIT_NONE},
};
static const struct kp_schema enablers_schema = {enablers_fields, KP_ARRAY_LEN(enablers_fields)};

const struct kp_schema *kp_enablers_schema(void)
{
    return &enablers_schema;
}

/* ---------- an event by its name ---------- */

static bool number_read(struct kp_str text, uint64_t *out)
{
    uint64_t value = 0;
    for (uint32_t i = 0; i < text.len; i++)
        if (text.ptr[i] < '0' || text.ptr[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text.ptr[i] - '0'), &value))
            return false;
    *out = value;
    return text.len > 0;
}

/* The text after the last slash of *text, which is cut off it. */
static struct kp_str tail_cut(struct kp_str *text)
{
    uint32_t at = text->len;
    while (at > 0 && text->ptr[at - 1] != '/')
        at--;
    struct kp_str tail = {text->ptr + at, text->len - at};
    text->len = at > 0 ? at - 1 : 0;
    return tail;
}

static bool place_parse(struct kp_str text, struct kpi_place_of *out)
{
    uint64_t cpu = 0;
    if (!number_read(tail_cut(&text), &out->seq) || !number_read(tail_cut(&text), &cpu) ||
        cpu > UINT16_MAX)
        return false;
    out->cpu = (uint32_t)cpu;
    out->host = text;
    return true;
}

/* Looks for the event among the rows of one stream: OK, or END when it is not there. Footers tell
 * which numbers a page can have, so next to nothing is read. */
static kp_status stream_search(struct kpi_reader *reader, const struct kp_stream *stream,
                               const struct kp_causes_req *req, struct kpi_place_of *place,
                               struct kp_error *err)
{
    bool dur = kp_stream_stored(stream, "dur") >= 0;
    const char *const cols[] = {"ts", "seq", "cpu", "actor", dur ? "dur" : NULL, NULL};
    const char *const keys[] = {"seq", "cpu", NULL};
    const int64_t numbers[] = {(int64_t)place->seq, place->cpu};
    struct kpi_cursor_req scan = {.stream = stream->number,
                                  .from = KP_TIME_MIN,
                                  .to = KP_TIME_MAX,
                                  .cols = cols,
                                  .numbers_of = keys,
                                  .numbers = numbers};
    const struct kp_actors *actors = kp_snapshot_actors(reader->snapshot);
    struct kpi_cursor cursor;
    if (req->at != KP_TIME_MIN) {
        scan.from = kpi_time_add(req->at, -AT_MARGIN);
        scan.to = kpi_time_add(req->at, AT_MARGIN);
    }
    kp_status status = kpi_cursor_open(reader, &scan, &cursor, err);
    while (status == KP_OK && (status = kpi_cursor_next(&cursor, err)) == KP_OK) {
        kp_actor_id actor = (kp_actor_id)kpi_cursor_i64(&cursor, KP_COL_ACTOR);
        if (kp_str_equal(kp_actors_get(actors, actor)->host, place->host))
            break;
    }
    if (status == KP_OK) {
        place->stream = stream->number;
        place->ts = kpi_time_sane(kpi_cursor_i64(&cursor, KP_COL_TS));
        place->start = place->ts;
        if (dur)
            place->start -= KP_MAX(kpi_time_sane(kpi_cursor_i64(&cursor, KP_COL_FIRST)), 0);
    }
    kpi_cursor_close(&cursor);
    return status;
}

kp_status kpi_event_find(struct kpi_reader *reader, const struct kp_causes_req *req,
                         struct kp_arena *arena, struct kpi_place_of *out, struct kp_error *err)
{
    struct kpi_place_of place = {0};
    uint32_t count;
    const struct kp_stream *streams = kp_streams(&count);
    kp_status status = KP_END;
    if (!place_parse(kp_arena_str(arena, req->txn), &place)) {
        kp_error_set(err, KP_INVALID, "'%.*s' names no event", (int)KP_MIN(req->txn.len, 60u),
                     req->txn.ptr);
        kp_error_hint(err, "an event is named host/cpu/seq, as column evidence and EVIDENCE OF "
                           "show it");
        return KP_INVALID;
    }
    for (uint32_t i = 0; i < count && status == KP_END; i++)
        if (streams[i].family == KP_FAMILY_KERNEL)
            status = stream_search(reader, &streams[i], req, &place, err);
    if (status == KP_END) {
        kp_error_set(err, KP_NOT_FOUND, "no such event %.*s", (int)KP_MIN(req->txn.len, 60u),
                     req->txn.ptr);
        kp_error_hint(err, "events | where host == '%.*s' and cpu == %u shows what there is",
                      (int)place.host.len, place.host.ptr, place.cpu);
        return KP_NOT_FOUND;
    }
    if (status == KP_OK)
        *out = place;
    return status;
}

uint32_t kpi_event_index(const struct kpi_world *world, const struct kpi_place_of *place)
{
    uint32_t low = 0, high = world->events.count;
    while (low < high) { /* events are in order of time */
        uint32_t mid = low + (high - low) / 2;
        if (kpi_event_of(world, mid)->ts < place->ts)
            low = mid + 1;
        else
            high = mid;
    }
    for (; low < world->events.count && kpi_event_of(world, low)->ts == place->ts; low++) {
        const struct kpi_event *event = kpi_event_of(world, low);
        if (event->seq != place->seq || event->stream != place->stream || event->cpu == KPI_NONE)
            continue;
        const struct kpi_cpu *cpu = kpi_cpu_of(world, event->cpu);
        if (cpu->number == place->cpu &&
            kp_str_equal(kpi_host_of(world, cpu->host)->name, place->host))
            return low;
    }
    return KPI_NONE;
}

/* ---------- what made it possible ---------- */

struct chain {
    const struct kpi_world *world;
    struct kp_arena *arena;
    struct kp_rows *rows;
    kp_time first; /* ts of the event asked about */
    uint32_t steps;
};

/* The interval of the thread that covers t and the one it comes from, in that state. */
static const struct kpi_interval *state_at(const struct kpi_world *world, uint32_t thread,
                                           kp_time t, enum kpi_state state)
{
    const struct kpi_thread *of = kpi_thread_of(world, thread);
    const struct kpi_interval *found = NULL;
    for (uint32_t i = 0; i < of->count; i++) {
        const struct kpi_interval *iv = kpi_timeline_at(world, of, i);
        if (iv->from <= t && iv->to >= t && iv->state == state)
            found = iv;
    }
    return found;
}

struct step {
    uint32_t event; /* KPI_NONE = the chain ends */
    const char *edge, *stop;
};

static bool is_idle(const struct kpi_world *world, uint32_t thread)
{
    return thread == KPI_NONE || kpi_thread_of(world, thread)->idle;
}

/* A thread did something at t: it had come onto its CPU. */
static struct step ran(const struct kpi_world *world, uint32_t thread, kp_time t)
{
    if (is_idle(world, thread))
        return (struct step){KPI_NONE, "", thread == KPI_NONE ? "lost" : "idle"};
    const struct kpi_interval *iv = state_at(world, thread, t, KPI_STATE_RUNNING);
    if (iv == NULL || iv->begin == KPI_NONE)
        return (struct step){KPI_NONE, "", "before-trace"};
    return (struct step){iv->begin, "ran", ""};
}

/* A thread came onto a CPU: something had made it runnable. */
static struct step came(const struct kpi_world *world, const struct kpi_event *event)
{
    if (is_idle(world, event->b))
        return (struct step){KPI_NONE, "", event->b == KPI_NONE ? "lost" : "idle"};
    const struct kpi_interval *iv = state_at(world, event->b, event->ts, KPI_STATE_RUNNABLE);
    if (iv == NULL || iv->begin == KPI_NONE)
        return (struct step){KPI_NONE, "", iv == NULL ? "no-waker" : "before-trace"};
    bool woken = kpi_event_of(world, iv->begin)->stream == KP_S_SCHED_WAKING;
    return (struct step){iv->begin, woken ? "woken" : "preempted", ""};
}

static struct step before(const struct kpi_world *world, const struct kpi_event *event)
{
    if (event->stream == KP_S_SCHED_SWITCH)
        return came(world, event);
    if (event->context != 0)
        return (struct step){KPI_NONE, "", "irq"};
    return ran(world, event->a, event->ts);
}

static void put_step(struct chain *chain, uint32_t index, const char *edge, const char *stop)
{
    const struct kpi_event *event = kpi_event_of(chain->world, index);
    const struct kpi_cpu *cpu = kpi_cpu_of(chain->world, event->cpu);
    const struct kp_actor *actor = kp_actors_get(chain->world->actors, event->actor_a);
    struct kp_rows *rows = chain->rows;
    struct kpi_ref ref = {index, NULL};
    kpi_rows_add(rows);
    kpi_rows_i64(rows, S_STEP, chain->steps++);
    kpi_rows_i64(rows, S_TS, event->ts);
    kpi_rows_i64(rows, S_BEFORE, chain->first - event->ts);
    kpi_rows_str(rows, S_STREAM, kp_str_from(kp_stream_by_number(event->stream)->name));
    kpi_rows_str(rows, S_HOST, kpi_host_of(chain->world, cpu->host)->name);
    kpi_rows_i64(rows, S_CPU, cpu->number);
    kpi_rows_i64(rows, S_SEQ, (int64_t)event->seq);
    kpi_rows_i64(rows, S_TID, actor->tid);
    kpi_rows_i64(rows, S_PID, actor->pid);
    kpi_rows_str(rows, S_COMM, actor->comm);
    kpi_rows_str(rows, S_EDGE, kp_str_from(edge));
    kpi_rows_str(rows, S_WHAT, kpi_ref_what(chain->world, &ref, chain->arena));
    kpi_rows_str(rows, S_STOP, kp_str_from(stop));
}

/* Follows the chain from an event on; edge is how the event enabled the one before it. */
static void follow(struct chain *chain, uint32_t index, const char *edge, uint32_t limit)
{
    while (index != KPI_NONE && chain->steps < limit) {
        const struct kpi_event *event = kpi_event_of(chain->world, index);
        struct step next = before(chain->world, event);
        if (next.event != KPI_NONE && next.event >= index)
            next = (struct step){KPI_NONE, "", "cycle"};
        if (next.event != KPI_NONE && chain->steps + 1 == limit)
            next.stop = "depth";
        put_step(chain, index, edge, next.stop);
        index = next.event;
        edge = next.edge;
    }
}

/* An event that is no switch or wakeup: the first row is it, the chain is that of its thread. */
static void put_other(struct chain *chain, const struct kpi_place_of *place, const char *stop)
{
    struct kp_rows *rows = chain->rows;
    kpi_rows_add(rows);
    kpi_rows_i64(rows, S_STEP, chain->steps++);
    kpi_rows_i64(rows, S_TS, place->ts);
    kpi_rows_str(rows, S_STREAM, kp_str_from(kp_stream_by_number(place->stream)->name));
    kpi_rows_str(rows, S_HOST, place->host);
    kpi_rows_i64(rows, S_CPU, place->cpu);
    kpi_rows_i64(rows, S_SEQ, (int64_t)place->seq);
    kpi_rows_null(rows, S_TID);
    kpi_rows_null(rows, S_PID);
    kpi_rows_str(rows, S_STOP, kp_str_from(stop));
}

static uint32_t occupant_at(const struct kpi_world *world, const struct kpi_place_of *place)
{
    kp_time until;
    uint32_t event;
    for (uint32_t i = 0; i < world->cpus.count; i++) {
        const struct kpi_cpu *cpu = kpi_cpu_of(world, i);
        if (cpu->number == place->cpu &&
            kp_str_equal(kpi_host_of(world, cpu->host)->name, place->host))
            return kpi_timeline_occupant(world, i, place->ts, world->to, &until, &event);
    }
    return KPI_NONE;
}

kp_status kp_enablers_open(struct kp_snapshot *snapshot, const struct kp_causes_req *req,
                           struct kp_arena *arena, struct kp_rows **out, struct kp_error *err)
{
    struct kpi_reader reader = {.snapshot = snapshot, .stop = arena->stop};
    struct kpi_world *world;
    struct kpi_place_of place;
    struct chain chain = {.arena = arena};
    arena->owner = "CAUSES OF event";
    kp_status status = kpi_event_find(&reader, req, arena, &place, err);
    kp_dur within = req->within < 0 ? WITHIN_DEFAULT : req->within;
    if (status == KP_OK)
        status = kpi_world_load(&reader, arena, kpi_time_add(place.ts, -within), place.ts + 1, -1,
                                &world, err);
    if (status != KP_OK)
        return status;
    if (kpi_rows_open(arena, &enablers_schema, &chain.rows) != KP_OK)
        return kp_arena_error(arena, err);
    chain.world = world;
    chain.first = place.ts;
    uint32_t limit = req->depth == 0 ? STEPS_DEFAULT : req->depth;
    uint32_t index = kpi_event_index(world, &place);
    if (index == KPI_NONE) {
        struct step next = ran(world, occupant_at(world, &place), place.ts);
        put_other(&chain, &place, next.stop);
        follow(&chain, next.event, next.edge, limit);
    } else {
        follow(&chain, index, "", limit);
    }
    kpi_rows_read(chain.rows, &reader);
    status = kpi_rows_check(chain.rows, err);
    if (status == KP_OK)
        *out = chain.rows;
    return status;
}
