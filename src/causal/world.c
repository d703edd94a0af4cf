/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads, CPUs and hosts of a time range, and the merge of the scheduler streams into it.
 *
 * A thread is one life of a tid: rows carry actors, whose start time tells lives apart; where it is
 * unknown the life that was running at the time is meant. Rows of all streams are taken in the one
 * total order (ts, host, cpu, seq), so equal stores give equal worlds.
 */
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "causal/cursor.h"
#include "causal/span.h"
#include "causal/timeline.h"

#define CPU_NUMBER_MAX 65536

/* ---------- hosts and CPUs ---------- */

uint32_t kpi_world_host(struct kpi_world *world, struct kp_str name)
{
    for (uint32_t i = 0; i < world->hosts.count; i++)
        if (kp_str_equal(kpi_host_of(world, i)->name, name))
            return i;
    struct kpi_host *host = kpi_list_add(&world->hosts);
    host->name = name;
    host->first = KP_TIME_MAX;
    host->last = KP_TIME_MIN;
    host->skew = -1;
    return world->hosts.failed ? 0 : world->hosts.count - 1; /* host 0, "", always exists */
}

static bool cpu_index_grow(struct kpi_world *world, struct kpi_host *host, uint32_t number)
{
    uint32_t count = KP_MAX(number + 1, host->cpu_index_count * 2);
    uint32_t *index = kp_arena_alloc(world->arena, (size_t)count * sizeof(*index));
    if (index == NULL) {
        world->cpus.failed = true;
        return false;
    }
    for (uint32_t i = 0; i < count; i++)
        index[i] = i < host->cpu_index_count ? host->cpu_index[i] : KPI_NONE;
    host->cpu_index = index;
    host->cpu_index_count = count;
    return true;
}

uint32_t kpi_world_cpu(struct kpi_world *world, uint32_t host_index, uint32_t number)
{
    struct kpi_host *host = kpi_host_of(world, host_index);
    if (number >= CPU_NUMBER_MAX)
        return KPI_NONE;
    if (number >= host->cpu_index_count && !cpu_index_grow(world, host, number))
        return KPI_NONE;
    if (host->cpu_index[number] == KPI_NONE) {
        struct kpi_cpu *cpu = kpi_list_add(&world->cpus);
        cpu->host = host_index;
        cpu->number = number;
        cpu->occupant = KPI_NONE;
        host->cpu_index[number] = world->cpus.failed ? KPI_NONE : world->cpus.count - 1;
    }
    return host->cpu_index[number];
}

/* ---------- threads ---------- */

static uint32_t *thread_slot(struct kpi_world *world, uint32_t host, uint32_t tid)
{
    uint32_t mask = world->thread_slots_capacity - 1;
    uint32_t at = (uint32_t)kp_hash_mix((uint64_t)host << 32 | tid) & mask;
    while (world->thread_slots[at] != KPI_NONE) {
        const struct kpi_thread *thread = kpi_thread_of(world, world->thread_slots[at]);
        if (thread->host == host && thread->tid == tid)
            break;
        at = (at + 1) & mask;
    }
    return &world->thread_slots[at];
}

static bool slots_grow(struct kpi_world *world)
{
    uint32_t old_capacity = world->thread_slots_capacity;
    uint32_t *old = world->thread_slots;
    uint32_t capacity = old_capacity == 0 ? 1024 : old_capacity * 2;
    uint32_t *slots = kp_arena_alloc(world->arena, capacity * sizeof(*slots));
    if (slots == NULL) {
        world->threads.failed = true;
        return false;
    }
    memset(slots, 0xff, capacity * sizeof(*slots));
    world->thread_slots = slots;
    world->thread_slots_capacity = capacity;
    for (uint32_t i = 0; i < old_capacity; i++) {
        if (old[i] == KPI_NONE)
            continue;
        const struct kpi_thread *thread = kpi_thread_of(world, old[i]);
        *thread_slot(world, thread->host, thread->tid) = old[i];
    }
    return true;
}

static uint32_t life_add(struct kpi_world *world, uint32_t *slot, uint32_t host, kp_actor_id id,
                         kp_time ts)
{
    const struct kp_actor *actor = kp_actors_get(world->actors, id);
    struct kpi_thread *thread = kpi_list_add(&world->threads);
    if (world->threads.failed)
        return KPI_NONE;
    thread->host = host;
    thread->tid = actor->tid;
    thread->pid = actor->pid;
    thread->boot = actor->boot;
    thread->start = actor->start;
    thread->actor = id;
    thread->kthread = actor->kthread;
    thread->idle = actor->tid == 0;
    thread->born = ts;
    thread->settled = KP_TIME_MAX;
    thread->older_life = *slot;
    thread->begin = thread->pending_wake = thread->cpu = KPI_NONE;
    world->lives += *slot != KPI_NONE;
    *slot = world->threads.count - 1;
    return *slot;
}

static bool boot_matches(const struct kpi_thread *thread, const struct kp_actor *actor)
{
    return thread->boot.len == 0 || actor->boot.len == 0 || kp_str_equal(thread->boot, actor->boot);
}

/* Whether an actor can be this life: boots and starts agree, or one of them is not known. */
static bool life_matches(const struct kpi_thread *thread, const struct kp_actor *actor)
{
    if (!boot_matches(thread, actor))
        return false;
    if (actor->start == KP_ACTOR_START_UNKNOWN)
        return true;
    return thread->start == KP_ACTOR_START_UNKNOWN ? !thread->ended : thread->start == actor->start;
}

static void life_touch(struct kpi_world *world, uint32_t index, kp_actor_id id)
{
    struct kpi_thread *thread = kpi_thread_of(world, index);
    const struct kp_actor *actor = kp_actors_get(world->actors, id);
    thread->actor = id;
    if (thread->boot.len == 0)
        thread->boot = actor->boot;
    thread->unsure |=
        (thread->start == KP_ACTOR_START_UNKNOWN) != (actor->start == KP_ACTOR_START_UNKNOWN);
    if (thread->start == KP_ACTOR_START_UNKNOWN)
        thread->start = actor->start;
    if (actor->pid != 0)
        thread->pid = actor->pid;
}

static uint32_t life_resolve(struct kpi_world *world, kp_actor_id id, kp_time ts)
{
    const struct kp_actor *actor = kp_actors_get(world->actors, id);
    if ((world->threads.count + 1) * 2 >= world->thread_slots_capacity && !slots_grow(world))
        return KPI_NONE;
    uint32_t host = kpi_world_host(world, actor->host);
    uint32_t *slot = thread_slot(world, host, actor->tid);
    for (uint32_t i = *slot; i != KPI_NONE; i = kpi_thread_of(world, i)->older_life)
        if (life_matches(kpi_thread_of(world, i), actor)) {
            life_touch(world, i, id);
            return i;
        }
    return life_add(world, slot, host, id, ts);
}

static void actor_cache_grow(struct kpi_world *world, kp_actor_id id)
{
    uint32_t count = KP_MAX(kp_actors_count(world->actors), id + 1) * 2;
    uint32_t *cache = kp_arena_alloc(world->arena, (size_t)count * sizeof(*cache));
    if (cache == NULL) {
        world->threads.failed = true;
        return;
    }
    memset(cache, 0xff, (size_t)count * sizeof(*cache));
    if (world->actor_thread_count > 0)
        memcpy(cache, world->actor_thread, world->actor_thread_count * sizeof(*cache));
    world->actor_thread = cache;
    world->actor_thread_count = count;
}

uint32_t kpi_world_thread(struct kpi_world *world, kp_actor_id id, kp_time ts)
{
    if (id == KP_ACTOR_UNKNOWN)
        return KPI_NONE;
    if (id >= world->actor_thread_count)
        actor_cache_grow(world, id);
    if (id >= world->actor_thread_count)
        return KPI_NONE;
    if (world->actor_thread[id] != KPI_NONE) {
        uint32_t cached = world->actor_thread[id];
        kpi_thread_of(world, cached)->actor = id;
        return cached;
    }
    uint32_t thread = life_resolve(world, id, ts);
    if (kp_actors_get(world->actors, id)->start != KP_ACTOR_START_UNKNOWN)
        world->actor_thread[id] = thread;
    return thread;
}

uint32_t kpi_world_thread_at(const struct kpi_world *world, kp_actor_id id, kp_time ts)
{
    const struct kp_actor *actor = kp_actors_get(world->actors, id);
    if (id == KP_ACTOR_UNKNOWN || world->thread_slots_capacity == 0)
        return KPI_NONE;
    for (uint32_t host = 0; host < world->hosts.count; host++) {
        if (!kp_str_equal(kpi_host_of(world, host)->name, actor->host))
            continue;
        uint32_t mask = world->thread_slots_capacity - 1;
        uint32_t at = (uint32_t)kp_hash_mix((uint64_t)host << 32 | actor->tid) & mask;
        for (; world->thread_slots[at] != KPI_NONE; at = (at + 1) & mask) {
            uint32_t life = world->thread_slots[at];
            const struct kpi_thread *thread = kpi_thread_of(world, life);
            if (thread->host != host || thread->tid != actor->tid)
                continue;
            bool known = actor->start != KP_ACTOR_START_UNKNOWN;
            for (uint32_t i = life; i != KPI_NONE; i = thread->older_life) {
                thread = kpi_thread_of(world, i);
                if (!boot_matches(thread, actor))
                    continue;
                if (known ? thread->start == actor->start || thread->start == 0
                          : thread->born <= ts || thread->older_life == KPI_NONE) {
                    if (!known && thread->forked && thread->born > ts)
                        kpi_miss_before(world); /* an older life is meant */
                    return i;
                }
            }
            return KPI_NONE;
        }
    }
    return KPI_NONE;
}

void kpi_world_fork(struct kpi_world *world, kp_actor_id id, kp_time ts)
{
    uint32_t index = kpi_world_thread(world, id, ts);
    if (index == KPI_NONE)
        return;
    struct kpi_thread *thread = kpi_thread_of(world, index);
    /* the tid was in use before, by a life whose start nobody knew */
    if (thread->born != ts && thread->ended) {
        index =
            life_add(world, thread_slot(world, thread->host, thread->tid), thread->host, id, ts);
        if (index == KPI_NONE)
            return;
    }
    thread = kpi_thread_of(world, index);
    thread->forked = true;
    if (thread->born == ts)
        thread->settled = ts;
}

void kpi_world_exit(struct kpi_world *world, kp_actor_id id, kp_time ts)
{
    uint32_t thread = kpi_world_thread(world, id, ts);
    if (thread != KPI_NONE)
        kpi_thread_of(world, thread)->ended = true;
}

/* ---------- merging the scheduler streams ---------- */

enum {
    SWITCH_NEXT = 4,
    SWITCH_STATE,
    SWITCH_PREV_PRIO,
    SWITCH_NEXT_PRIO,
    SWITCH_PREEMPT,
    SWITCH_IOWAIT,
    SWITCH_THROTTLED
};
enum {
    WAKING_WAKEE = 4,
    WAKING_IRQ,
    WAKING_TARGET,
    WAKING_PRIO,
    WAKING_CONTEXT,
    WAKING_VEC,
    WAKING_NEW
};
enum { TASK_OP = 4 };
enum { OP_FORK = 1, OP_EXIT = 3 }; /* catalogue: TASK_OP */
enum { CAPTURE_START = 0 };        /* catalogue: CAPTURE_OP */

static const char *const switch_cols[] = {"ts",      "seq",        "cpu",       "actor",
                                          "next",    "prev_state", "prev_prio", "next_prio",
                                          "preempt", "iowait",     "throttled", NULL};
static const char *const waking_cols[] = {"ts",      "seq", "cpu",        "actor",
                                          "wakee",   "irq", "target_cpu", "wakee_prio",
                                          "context", "vec", "is_new",     NULL};
static const char *const task_cols[] = {"ts", "seq", "cpu", "actor", "op", NULL};

enum { IN_SWITCH, IN_WAKING, IN_TASK, IN_COUNT };

static const struct {
    enum kp_stream_no stream;
    const char *const *cols;
} inputs[IN_COUNT] = {
    [IN_SWITCH] = {KP_S_SCHED_SWITCH, switch_cols},
    [IN_WAKING] = {KP_S_SCHED_WAKING, waking_cols},
    [IN_TASK] = {KP_S_TASK, task_cols},
};

struct merge {
    struct kpi_world *world;
    struct kpi_cursor cursors[IN_COUNT];
};

/* Host of a row: of its actor, else of the other thread it names. */
static struct kp_str row_host(const struct merge *merge, int input)
{
    const struct kpi_cursor *cursor = &merge->cursors[input];
    kp_actor_id id = (kp_actor_id)kpi_cursor_i64(cursor, KP_COL_ACTOR);
    if (id == KP_ACTOR_UNKNOWN && input != IN_TASK)
        id = (kp_actor_id)kpi_cursor_i64(cursor, SWITCH_NEXT);
    return kp_actors_get(merge->world->actors, id)->host;
}

/* Total order of the heads of two inputs: (ts, host, cpu, seq). */
static bool row_before(const struct merge *merge, int a, int b)
{
    const struct kpi_cursor *x = &merge->cursors[a], *y = &merge->cursors[b];
    int64_t ts_x = kpi_cursor_i64(x, KP_COL_TS), ts_y = kpi_cursor_i64(y, KP_COL_TS);
    if (ts_x != ts_y)
        return ts_x < ts_y;
    int order = kp_str_compare(row_host(merge, a), row_host(merge, b));
    if (order != 0)
        return order < 0;
    int64_t cpu_x = kpi_cursor_i64(x, KP_COL_CPU), cpu_y = kpi_cursor_i64(y, KP_COL_CPU);
    if (cpu_x != cpu_y)
        return cpu_x < cpu_y;
    return kpi_cursor_i64(x, KP_COL_SEQ) < kpi_cursor_i64(y, KP_COL_SEQ);
}

static struct kpi_event *event_add(struct merge *merge, int input)
{
    struct kpi_world *world = merge->world;
    const struct kpi_cursor *cursor = &merge->cursors[input];
    uint32_t host = kpi_world_host(world, row_host(merge, input));
    struct kpi_event *event = kpi_list_add(&world->events);
    event->ts = kpi_world_stamp(world, host, kpi_cursor_i64(cursor, KP_COL_TS));
    event->seq = (uint64_t)kpi_cursor_i64(cursor, KP_COL_SEQ);
    event->cpu = kpi_world_cpu(world, host, (uint32_t)kpi_cursor_i64(cursor, KP_COL_CPU));
    event->actor_a = (kp_actor_id)kpi_cursor_i64(cursor, KP_COL_ACTOR);
    event->actor_b = (kp_actor_id)kpi_cursor_i64(cursor, SWITCH_NEXT);
    event->a = kpi_world_thread(world, event->actor_a, event->ts);
    event->b = kpi_world_thread(world, event->actor_b, event->ts);
    event->stream = (uint8_t)inputs[input].stream;
    struct kpi_host *seen = kpi_host_of(world, host);
    seen->first = KP_MIN(seen->first, event->ts);
    seen->last = KP_MAX(seen->last, event->ts);
    return event;
}

static void switch_add(struct merge *merge)
{
    const struct kpi_cursor *cursor = &merge->cursors[IN_SWITCH];
    struct kpi_event *event = event_add(merge, IN_SWITCH);
    event->state = (uint16_t)kpi_cursor_i64(cursor, SWITCH_STATE);
    event->prio_a = (int16_t)kpi_cursor_i64(cursor, SWITCH_PREV_PRIO);
    event->prio_b = (int16_t)kpi_cursor_i64(cursor, SWITCH_NEXT_PRIO);
    event->flags = (uint8_t)((kpi_cursor_i64(cursor, SWITCH_PREEMPT) ? KPI_FLAG_PREEMPT : 0) |
                             (kpi_cursor_i64(cursor, SWITCH_IOWAIT) ? KPI_FLAG_IOWAIT : 0) |
                             (kpi_cursor_i64(cursor, SWITCH_THROTTLED) ? KPI_FLAG_THROTTLED : 0));
    if (event->cpu == KPI_NONE)
        merge->world->ignored++;
    else if (!merge->world->events.failed)
        kpi_timeline_switch(merge->world, merge->world->events.count - 1);
}

static void waking_add(struct merge *merge)
{
    const struct kpi_cursor *cursor = &merge->cursors[IN_WAKING];
    struct kpi_event *event = event_add(merge, IN_WAKING);
    event->irq = (int32_t)kpi_cursor_i64(cursor, WAKING_IRQ);
    event->target_cpu = (uint16_t)kpi_cursor_i64(cursor, WAKING_TARGET);
    event->prio_b = (int16_t)kpi_cursor_i64(cursor, WAKING_PRIO);
    event->context = (uint8_t)kpi_cursor_i64(cursor, WAKING_CONTEXT);
    event->vec = (uint8_t)kpi_cursor_i64(cursor, WAKING_VEC);
    event->state = (uint16_t)kpi_cursor_i64(cursor, WAKING_NEW);
    if (event->cpu == KPI_NONE || event->b == KPI_NONE)
        merge->world->ignored++;
    else if (!merge->world->events.failed)
        kpi_timeline_waking(merge->world, merge->world->events.count - 1);
}

static void task_add(struct merge *merge)
{
    const struct kpi_cursor *cursor = &merge->cursors[IN_TASK];
    kp_actor_id actor = (kp_actor_id)kpi_cursor_i64(cursor, KP_COL_ACTOR);
    kp_time ts =
        kpi_world_stamp(merge->world, kpi_world_host(merge->world, row_host(merge, IN_TASK)),
                        kpi_cursor_i64(cursor, KP_COL_TS));
    int64_t op = kpi_cursor_i64(cursor, TASK_OP);
    if (op == OP_FORK)
        kpi_world_fork(merge->world, actor, ts);
    else if (op == OP_EXIT)
        kpi_world_exit(merge->world, actor, ts);
}

/* The row's stamp lies in the range that was asked for. */
static bool row_inside(const struct merge *merge, int input)
{
    uint32_t host = kpi_world_host(merge->world, row_host(merge, input));
    kp_time ts =
        kpi_world_stamp(merge->world, host, kpi_cursor_i64(&merge->cursors[input], KP_COL_TS));
    return ts >= merge->world->floor && ts <= merge->world->to;
}

static kp_status merge_run(struct merge *merge, struct kp_error *err)
{
    static void (*const add[IN_COUNT])(struct merge *) = {switch_add, waking_add, task_add};
    bool more[IN_COUNT];
    for (int i = 0; i < IN_COUNT; i++) {
        kp_status status = kpi_cursor_next(&merge->cursors[i], err);
        if (status != KP_OK && status != KP_END)
            return status;
        more[i] = status == KP_OK;
    }
    for (;;) {
        int head = -1;
        for (int i = 0; i < IN_COUNT; i++)
            if (more[i] && (head < 0 || row_before(merge, i, head)))
                head = i;
        if (head < 0)
            return KP_OK;
        if (merge->world->slack == 0 || row_inside(merge, head))
            add[head](merge);
        if (kpi_world_failed(merge->world))
            return kp_arena_error(merge->world->arena, err);
        kp_status status = kpi_cursor_next(&merge->cursors[head], err);
        if (status != KP_OK && status != KP_END)
            return status;
        more[head] = status == KP_OK;
    }
}

static kp_status sched_load(struct kpi_world *world, struct kp_error *err)
{
    struct merge merge = {.world = world};
    kp_status status = KP_OK;
    for (int i = 0; i < IN_COUNT && status == KP_OK; i++) {
        struct kpi_cursor_req req = {.stream = inputs[i].stream,
                                     .from = kpi_time_add(world->floor, -world->slack),
                                     .to = kpi_time_add(world->to, world->slack),
                                     .cols = inputs[i].cols};
        status = kpi_cursor_open(world->reader, &req, &merge.cursors[i], err);
    }
    if (status == KP_OK)
        status = merge_run(&merge, err);
    for (int i = 0; i < IN_COUNT; i++)
        kpi_cursor_close(&merge.cursors[i]);
    return status;
}

/* CPUs that the last begin of a recording on the host says are online; 0 = it does not. */
static int64_t cpus_online(const struct kpi_world *world, uint32_t host, struct kp_error *err)
{
    static const char *const cols[] = {"ts", "seq", "cpu", "actor", "op", "cpus", NULL};
    struct kpi_cursor_req req = {.stream = KP_S_CAPTURE,
                                 .from = KP_TIME_MIN,
                                 .to = kpi_time_add(world->to, world->slack),
                                 .cols = cols,
                                 .descending = true};
    struct kpi_cursor cursor;
    int64_t cpus = 0;
    if (kpi_cursor_open(world->reader, &req, &cursor, err) != KP_OK)
        return 0;
    while (cpus == 0 && kpi_cursor_next(&cursor, err) == KP_OK) {
        kp_actor_id actor = (kp_actor_id)kpi_cursor_i64(&cursor, KP_COL_ACTOR);
        struct kp_str name = kp_actors_get(world->actors, actor)->host;
        if (kpi_cursor_i64(&cursor, KP_COL_FIRST) == CAPTURE_START &&
            kp_str_equal(name, kpi_host_of(world, host)->name))
            cpus = kpi_cursor_i64(&cursor, KP_COL_FIRST + 1);
    }
    kpi_cursor_close(&cursor);
    return cpus;
}

void kpi_world_cpus_check(const struct kpi_world *world, uint32_t host)
{
    struct kp_error err;
    int64_t seen = 0;
    if (world->reach == NULL || world->reach->missed_before)
        return;
    for (uint32_t i = 0; i < world->cpus.count; i++)
        seen += kpi_cpu_of(world, i)->host == host && kpi_cpu_of(world, i)->count > 0;
    if (world->reach->cpus_host != host) {
        world->reach->cpus = cpus_online(world, host, &err);
        world->reach->cpus_host = host;
    }
    if (world->reach->cpus == 0 || seen < world->reach->cpus)
        kpi_miss_before(world);
}

bool kpi_world_failed(const struct kpi_world *world)
{
    return world->hosts.failed || world->cpus.failed || world->threads.failed ||
           world->events.failed || world->intervals.failed || world->anchor_list.failed ||
           world->span_list.failed;
}

static void world_init(struct kpi_world *world, struct kpi_reader *reader, struct kp_arena *arena)
{
    world->reader = reader;
    world->arena = arena;
    world->actors = kp_snapshot_actors(reader->snapshot);
    kpi_list_init(&world->hosts, arena, sizeof(struct kpi_host));
    kpi_list_init(&world->cpus, arena, sizeof(struct kpi_cpu));
    kpi_list_init(&world->threads, arena, sizeof(struct kpi_thread));
    kpi_list_init(&world->events, arena, sizeof(struct kpi_event));
    kpi_list_init(&world->intervals, arena, sizeof(struct kpi_interval));
    kpi_list_init(&world->anchor_list, arena, sizeof(struct kpi_anchor));
    kpi_list_init(&world->span_list, arena, sizeof(struct kpi_span));
    kpi_world_host(world, KP_STR(""));
}

kp_status kpi_world_bare(struct kpi_reader *reader, struct kp_arena *arena, struct kpi_world **out,
                         struct kp_error *err)
{
    struct kpi_world *world = kp_arena_zalloc(arena, 1, sizeof(*world));
    if (world == NULL)
        return kp_arena_error(arena, err);
    world_init(world, reader, arena);
    if (kpi_world_failed(world))
        return kp_arena_error(arena, err);
    *out = world;
    return KP_OK;
}

/* A host that only rows tell of may be known by others that were not read. */
static void hosts_check(const struct kpi_world *world, uint32_t by_clocks)
{
    if (world->hosts.count > by_clocks && world->hosts.count > 2)
        kpi_miss_before(world);
}

kp_status kpi_world_load_part(struct kpi_reader *reader, struct kp_arena *arena, kp_time from,
                              kp_time to, kp_dur ahead, struct kpi_reach *reach,
                              struct kpi_world **out, struct kp_error *err)
{
    struct kpi_world *world;
    kp_status status = kpi_world_bare(reader, arena, &world, err);
    if (status != KP_OK)
        return status;
    world->from = from;
    world->to = to;
    world->floor = reach == NULL ? from : KP_MAX(reach->floor, from);
    world->reach = reach;
    if (reach != NULL)
        reach->world = world;
    world->ahead = ahead;
    if (ahead >= 0)
        status = kpi_clocks_load(world, from, to, err);
    kpi_clocks_align(world, reader->axis);
    uint32_t hosts = world->hosts.count;
    if (status == KP_OK)
        status = sched_load(world, err);
    if (status != KP_OK)
        return status;
    hosts_check(world, hosts);
    status = kpi_works_open(world, err);
    kpi_timeline_finish(world);
    if (status == KP_OK && kpi_world_failed(world))
        status = kp_arena_error(arena, err);
    if (status == KP_OK)
        *out = world;
    return status;
}

kp_status kpi_world_load(struct kpi_reader *reader, struct kp_arena *arena, kp_time from,
                         kp_time to, kp_dur ahead, struct kpi_world **out, struct kp_error *err)
{
    return kpi_world_load_part(reader, arena, from, to, ahead, NULL, out, err);
}
