/* SPDX-License-Identifier: Apache-2.0
 *
 * A thread that slept since before the rows that were read: the first row it has is its wakeup.
 * Most threads of a path are like that, servers that waited for their request. Reading the whole
 * range for them would cost more than everything else, so the one row is looked up that put the
 * thread to sleep: the last switch by which it left a CPU. If it slept by then, and neither came
 * back nor was woken before the rows read begin, then the timeline says the same as if all had been
 * read, and the thread is settled from there on.
 */
#include "causal/cursor.h"
#include "causal/timeline.h"

enum {
    SWITCH_NEXT = KP_COL_FIRST,
    SWITCH_STATE,
    SWITCH_PREV_PRIO,
    SWITCH_NEXT_PRIO,
    SWITCH_PREEMPT,
    SWITCH_IOWAIT,
    SWITCH_THROTTLED
};

static const char *const switch_cols[] = {"ts",      "seq",        "cpu",       "actor",
                                          "next",    "prev_state", "prev_prio", "next_prio",
                                          "preempt", "iowait",     "throttled", NULL};
static const char *const waking_cols[] = {"ts", "seq", "cpu", "actor", "wakee", NULL};

struct lead {
    struct kpi_world *world;
    struct kpi_thread *thread;
    struct kpi_cursor cursor;
    uint32_t column; /* names the thread */
};

enum answer { ANSWER_NONE, ANSWER_FOUND, ANSWER_DOUBT };

/* Whether the row is of this life of the thread. */
static enum answer row_of(const struct lead *lead, kp_time from)
{
    const struct kpi_world *world = lead->world;
    const struct kpi_thread *thread = lead->thread;
    kp_actor_id id = (kp_actor_id)kpi_cursor_i64(&lead->cursor, lead->column);
    const struct kp_actor *actor = kp_actors_get(world->actors, id);
    kp_time ts = kpi_world_stamp(world, thread->host, kpi_cursor_i64(&lead->cursor, KP_COL_TS));
    if (!kp_str_equal(actor->host, kpi_host_of(world, thread->host)->name) || ts < from ||
        ts >= world->floor)
        return ANSWER_NONE;
    if (actor->start != thread->start || !kp_str_equal(actor->boot, thread->boot))
        return ANSWER_DOUBT;
    return ANSWER_FOUND;
}

/* The last row of the stream before the floor and not before `from` that names the thread. */
static enum answer row_find(struct lead *lead, enum kp_stream_no stream, const char *const *cols,
                            uint32_t column, kp_time from)
{
    struct kpi_world *world = lead->world;
    struct kpi_reader *reader = world->reader;
    int64_t tid = lead->thread->tid;
    struct kpi_cursor_req req = {.stream = stream,
                                 .from = kpi_time_add(from, -world->slack),
                                 .to = kpi_time_add(world->floor, world->slack),
                                 .cols = cols,
                                 .tids = &tid,
                                 .tids_count = 1,
                                 .tids_of = column,
                                 .descending = true};
    enum answer answer = ANSWER_NONE;
    lead->column = column;
    if (reader->failed == KP_OK)
        reader->failed = kpi_cursor_open(reader, &req, &lead->cursor, &reader->failed_err);
    if (reader->failed != KP_OK)
        return ANSWER_DOUBT;
    kp_status status = KP_OK;
    while (answer == ANSWER_NONE &&
           (status = kpi_cursor_next(&lead->cursor, &reader->failed_err)) == KP_OK)
        answer = row_of(lead, from);
    if (status == KP_OK || status == KP_END)
        return answer;
    reader->failed = status;
    return ANSWER_DOUBT;
}

static bool has_row(struct lead *lead, enum kp_stream_no stream, const char *const *cols,
                    kp_time from)
{
    enum answer answer = row_find(lead, stream, cols, KP_COL_FIRST, from);
    kpi_cursor_close(&lead->cursor);
    return answer != ANSWER_NONE;
}

/* The switch the cursor stands on, as the merge of the streams would have made it. */
static void event_fill(const struct lead *lead, struct kpi_event *event)
{
    struct kpi_world *world = lead->world;
    const struct kpi_cursor *cursor = &lead->cursor;
    uint32_t host = lead->thread->host;
    event->ts = kpi_world_stamp(world, host, kpi_cursor_i64(cursor, KP_COL_TS));
    event->seq = (uint64_t)kpi_cursor_i64(cursor, KP_COL_SEQ);
    event->cpu = kpi_world_cpu(world, host, (uint32_t)kpi_cursor_i64(cursor, KP_COL_CPU));
    event->actor_a = (kp_actor_id)kpi_cursor_i64(cursor, KP_COL_ACTOR);
    event->actor_b = (kp_actor_id)kpi_cursor_i64(cursor, SWITCH_NEXT);
    event->b = kpi_world_thread_at(world, event->actor_b, event->ts);
    event->stream = KP_S_SCHED_SWITCH;
    event->state = (uint16_t)kpi_cursor_i64(cursor, SWITCH_STATE);
    event->prio_a = (int16_t)kpi_cursor_i64(cursor, SWITCH_PREV_PRIO);
    event->prio_b = (int16_t)kpi_cursor_i64(cursor, SWITCH_NEXT_PRIO);
    event->flags = (uint8_t)((kpi_cursor_i64(cursor, SWITCH_PREEMPT) ? KPI_FLAG_PREEMPT : 0) |
                             (kpi_cursor_i64(cursor, SWITCH_IOWAIT) ? KPI_FLAG_IOWAIT : 0) |
                             (kpi_cursor_i64(cursor, SWITCH_THROTTLED) ? KPI_FLAG_THROTTLED : 0));
}

/* The interval that was assumed gets its begin. */
static void sleep_set(struct lead *lead, struct kpi_interval *sleep, const struct kpi_event *off)
{
    struct kpi_world *world = lead->world;
    const struct kp_actor *next = kp_actors_get(world->actors, off->actor_b);
    struct kpi_event *event = kpi_list_add(&world->events);
    *event = *off;
    event->a = sleep->thread;
    sleep->from = off->ts;
    sleep->begin = world->events.count - 1;
    sleep->cpu = off->cpu;
    sleep->letter = off->state;
    sleep->flags = off->flags & (KPI_FLAG_THROTTLED | KPI_FLAG_IOWAIT);
    if (off->actor_b != KP_ACTOR_UNKNOWN && next->tid == 0)
        sleep->flags |= KPI_FLAG_TO_IDLE;
    lead->thread->settled = off->ts;
}

/* The thread's first interval, if it is a sleep before the wakeup that is its first row. */
static struct kpi_interval *sleep_of(struct kpi_world *world, const struct kpi_thread *thread)
{
    if (thread->count == 0 || thread->forked || thread->unsure)
        return NULL;
    struct kpi_interval *iv = kpi_interval_of(world, world->order[thread->first]);
    bool assumed = iv->state == KPI_STATE_BLOCKED && iv->begin == KPI_NONE && iv->end != KPI_NONE &&
                   (iv->flags & KPI_FLAG_BEFORE) != 0;
    return assumed && kpi_event_of(world, iv->end)->stream == KP_S_SCHED_WAKING ? iv : NULL;
}

void kpi_lead_in(struct kpi_world *world, struct kpi_thread *thread)
{
    struct lead lead = {.world = world, .thread = thread};
    struct kpi_interval *sleep = thread->led ? NULL : sleep_of(world, thread);
    struct kpi_event off = {0};
    thread->led = true;
    if (sleep == NULL)
        return;
    enum answer answer = row_find(&lead, KP_S_SCHED_SWITCH, switch_cols, KP_COL_ACTOR, world->from);
    if (answer == ANSWER_FOUND)
        event_fill(&lead, &off);
    kpi_cursor_close(&lead.cursor);
    if (answer != ANSWER_FOUND || off.cpu == KPI_NONE || !kpi_leaves_asleep(&off) ||
        has_row(&lead, KP_S_SCHED_SWITCH, switch_cols, off.ts) ||
        has_row(&lead, KP_S_SCHED_WAKING, waking_cols, off.ts))
        return;
    sleep_set(&lead, sleep, &off);
}
