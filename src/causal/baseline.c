/* SPDX-License-Identifier: Apache-2.0
 *
 * The usual: recent transactions of the same class (service and name of the root span) that ended
 * well before this one began and did not fail, attributed by the same walk. Per (kind, object
 * class, rule) the median over them is what this class normally spends there.
 *
 * Time is cut into stretches, by the clock and not by the question: transactions that end within
 * one share a reading of the kernel streams, which depends on nothing else, and what each was found
 * to cost is kept with the snapshot (memo.c). So a question walks only those that none before it
 * has met, and its answer is the same as if it were the first. The number compared with is capped
 * by count and by the time they cover, newest first, so the answer depends on the store and not on
 * how fast the machine is.
 *
 * Readings have nothing in common but the snapshot: several threads share them, each with memory of
 * its own, and what they found is put together in the order of the samples.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "causal/cause.h"
#include "causal/cursor.h"
#include "causal/memo.h"

#define USED_MAX     200           /* transactions compared with */
#define COVERED_MAX  (30 * KP_SEC) /* sum of their durations */
#define USED_GOOD    50            /* so many are enough when they cover ... */
#define COVERED_GOOD (5 * KP_SEC)  /* ... so much */
#define STRETCH_MIN  (KP_SEC / 16) /* what is read together ends within this, or more: */
#define STRETCH_MAX  KP_SEC        /* ... a power of two of the least, about a fourth ... */
#define STRETCHES    4             /* ... of the time in which the transactions ended */
#define MARGIN       (20 * KP_MS)  /* read around a stretch */
#define AHEAD        (500 * KP_MS) /* joined rows and spans that end later */
#define GROUP_BYTES  ((size_t)256 << 20)
#define TEAM_MAX     4 /* threads */

enum { STATUS_ERROR = 2 }; /* catalogue: SPAN_STATUS */

/* One normal transaction. */
struct sample {
    struct kpi_txn txn;
    kp_dur wall;
    int64_t stretch; /* in which it ended, by number */
    kp_dur lead;     /* it began at most so long before that */
    bool known;      /* what it cost was kept */
    struct kpi_list costs;
};

/* ns of each transaction under one key. */
struct tally {
    struct kpi_norm norm;
    kp_dur *ns; /* used items */
};

struct collect {
    struct kpi_reader *reader;
    struct kp_arena *arena;
    struct sample *samples;
    uint32_t count;
    uint32_t threads;
    kp_dur stretch;
    struct kpi_list tallies; /* struct tally */
};

/* ---------- choosing ---------- */

static const char *const root_cols[] = {"ts",      "seq",       "cpu", "actor",  "dur", "trace_id",
                                        "span_id", "parent_id", "txn", "status", NULL};
enum { ROOT_DUR = KP_COL_FIRST, ROOT_TRACE, ROOT_ID, ROOT_PARENT, ROOT_TXN, ROOT_STATUS };

static bool is_normal(const struct kpi_cursor *cursor, const struct kpi_txn *txn)
{
    return kpi_cursor_i64(cursor, ROOT_STATUS) != STATUS_ERROR &&
           kpi_cursor_i64(cursor, KP_COL_TS) < txn->from &&
           kpi_cursor_str(cursor, ROOT_PARENT).len == 0 && kpi_cursor_i64(cursor, ROOT_DUR) > 0 &&
           !kp_str_equal(kpi_cursor_str(cursor, ROOT_TRACE), txn->trace);
}

static void sample_add(struct collect *collect, const struct kpi_cursor *cursor)
{
    struct sample *sample = &collect->samples[collect->count++];
    memset(sample, 0, sizeof(*sample));
    sample->txn.trace = kp_arena_str(collect->arena, kpi_cursor_str(cursor, ROOT_TRACE));
    sample->txn.root_id = kp_arena_str(collect->arena, kpi_cursor_str(cursor, ROOT_ID));
    sample->txn.to = kpi_time_sane(kpi_cursor_i64(cursor, KP_COL_TS));
    sample->wall = kpi_time_sane(kpi_cursor_i64(cursor, ROOT_DUR));
    sample->txn.from = sample->txn.to - sample->wall;
}

static kp_status samples_find(struct collect *collect, const struct kp_causes_req *req,
                              const struct kpi_txn *txn, struct kp_error *err)
{
    struct kpi_cursor_req scan = {.stream = KP_S_SPANS,
                                  .from = KP_TIME_MIN,
                                  .to = txn->from - 1,
                                  .cols = root_cols,
                                  .key = "service",
                                  .strs = &txn->service,
                                  .strs_count = 1,
                                  .key2 = "name",
                                  .str2 = txn->name,
                                  .descending = true};
    struct kpi_cursor cursor;
    kp_dur covered = 0;
    if (req->baseline_last > 0)
        scan.from = kpi_time_add(txn->from, -req->baseline_last);
    kp_status status = kpi_cursor_open(collect->reader, &scan, &cursor, err);
    if (status != KP_OK)
        return status;
    while (collect->count < USED_MAX && covered < COVERED_MAX &&
           (collect->count < USED_GOOD || covered < COVERED_GOOD) &&
           (status = kpi_cursor_next(&cursor, err)) == KP_OK) {
        if (!is_normal(&cursor, txn))
            continue;
        sample_add(collect, &cursor);
        covered += collect->samples[collect->count - 1].wall;
    }
    kpi_cursor_close(&cursor);
    return status == KP_END ? KP_OK : status;
}

/* The transactions of BASELINE (table), the newest first, without the one asked about. */
static kp_status samples_given(struct collect *collect, const struct kp_causes_req *req,
                               const struct kpi_txn *txn, struct kp_error *err)
{
    struct kpi_txn *txns;
    uint32_t count;
    if (req->baseline->count == 0)
        return KP_OK;
    kp_status status =
        kpi_txns_find(collect->reader, req->baseline, collect->arena, &txns, &count, err);
    if (status != KP_OK)
        return status;
    for (uint32_t i = count; i-- > 0 && collect->count < USED_MAX;) {
        if (kp_str_equal(txns[i].trace, txn->trace) && kp_str_equal(txns[i].root_id, txn->root_id))
            continue;
        collect->samples[collect->count++] =
            (struct sample){.txn = txns[i], .wall = txns[i].to - txns[i].from};
    }
    return KP_OK;
}

/* ---------- attributing ---------- */

static struct tally *tally_of(struct collect *collect, const struct kpi_cost *cost)
{
    for (uint32_t i = 0; i < collect->tallies.count; i++) {
        struct tally *tally = kpi_list_at(&collect->tallies, i);
        if (tally->norm.kind == cost->kind && tally->norm.rule == cost->rule &&
            kp_str_equal(tally->norm.object_class, cost->object_class))
            return tally;
    }
    struct tally *tally = kpi_list_add(&collect->tallies);
    tally->norm.kind = cost->kind;
    tally->norm.rule = cost->rule;
    tally->norm.object_class = kp_arena_str(collect->arena, cost->object_class);
    tally->ns = kp_arena_zalloc(collect->arena, collect->count, sizeof(*tally->ns));
    collect->tallies.failed |= tally->ns == NULL;
    return tally;
}

static void costs_add(struct collect *collect, uint32_t sample, const struct kpi_list *costs)
{
    for (uint32_t i = 0; i < costs->count && !collect->tallies.failed; i++) {
        const struct kpi_cost *cost = kpi_list_at(costs, i);
        struct tally *tally = tally_of(collect, cost);
        if (tally->ns != NULL)
            tally->ns[sample] += cost->dur;
    }
    collect->tallies.failed |= costs->failed;
}

/* Samples [first, end), which ended in one stretch. */
struct group {
    struct sample *samples;
    uint32_t count;
    kp_time from, to; /* of the stretch and what leads to it */
};

struct team {
    const struct group *groups; /* not walked before */
    uint32_t count;
    atomic_uint next;
    atomic_bool stop; /* somebody failed */
};

/* One thread that walks groups. */
struct member {
    struct team *team;
    struct kpi_reader reader;
    struct kp_stop others;
    struct kp_arena arena, kept; /* of the group; of what it found */
    struct kp_buf key;
    pthread_t thread;
    bool started, told; /* told: it ended because others had */
    uint32_t failed_at; /* group */
    kp_status status;
    struct kp_error err;
};

/* Causes that differ only in who and where count together. */
static void cost_add(struct kpi_list *costs, const struct kpi_cause *cause)
{
    enum kpi_kind kind = cause->largest.kind;
    enum kpi_rule rule = cause->largest.rule;
    for (uint32_t i = 0; i < costs->count; i++) {
        struct kpi_cost *cost = kpi_list_at(costs, i);
        if (cost->kind == kind && cost->rule == rule &&
            kp_str_equal(cost->object_class, cause->object_class)) {
            cost->dur += cause->dur;
            return;
        }
    }
    *(struct kpi_cost *)kpi_list_add(costs) =
        (struct kpi_cost){kind, rule, cause->object_class, cause->dur};
}

static void sample_walk(struct member *member, struct kpi_world *world, struct sample *sample)
{
    uint32_t root = kpi_span_find(world, sample->txn.trace, sample->txn.root_id);
    if (root == KPI_NONE)
        return;
    struct kpi_causes *causes = kp_arena_alloc(&member->arena, sizeof(*causes));
    if (causes == NULL) {
        sample->costs.failed = true;
        return;
    }
    kpi_causes_init(causes, &member->arena, world, false);
    struct kpi_walk walk = {.world = world,
                            .arena = &member->arena,
                            .txn = &sample->txn,
                            .emit = kpi_causes_add,
                            .ctx = causes};
    const struct kpi_span *span = &world->spans[root];
    kpi_walk_run(&walk, span->thread, root, span->from, span->to);
    sample->costs.failed |= causes->list.failed;
    for (uint32_t i = 0; i < causes->list.count; i++)
        cost_add(&sample->costs, kpi_cause_at(causes, i));
}

/* All that the walk of a sample depends on, beside the snapshot. False: no memory. */
static bool sample_key(const struct kpi_reader *reader, const struct group *group,
                       const struct sample *sample, struct kp_buf *out)
{
    const struct kpi_txn *txn = &sample->txn;
    out->size = 0;
    kp_buf_printf(out, "%.*s %lld %lld %u ", (int)reader->axis.len, reader->axis.ptr,
                  (long long)group->from, (long long)group->to, txn->trace.len);
    kp_buf_str(out, txn->trace);
    kp_buf_str(out, txn->root_id);
    return !out->failed;
}

/* Takes what was kept of the group's samples; true: of all. */
static bool group_recall(struct kpi_reader *reader, const struct group *group, struct kp_buf *key,
                         struct kp_arena *arena)
{
    bool all = true;
    for (uint32_t i = 0; i < group->count; i++) {
        struct sample *sample = &group->samples[i];
        kpi_list_init(&sample->costs, arena, sizeof(struct kpi_cost));
        sample->known =
            !reader->eager && sample_key(reader, group, sample, key) &&
            kpi_memo_get(reader->snapshot, (struct kp_str){key->data, (uint32_t)key->size}, arena,
                         &sample->costs);
        all &= sample->known;
    }
    return all;
}

/* Names outlive the group's world. */
static void costs_keep(struct member *member, struct kpi_list *costs)
{
    for (uint32_t i = 0; i < costs->count; i++) {
        struct kpi_cost *cost = kpi_list_at(costs, i);
        cost->object_class = kp_arena_str(&member->kept, cost->object_class);
        costs->failed |= cost->object_class.ptr == NULL;
    }
}

/* Attributes the samples that nothing was kept of over one reading of the events. */
static kp_status group_walk(struct member *member, const struct group *group)
{
    struct kpi_reader *reader = &member->reader;
    struct kp_error *err = &member->err;
    struct kpi_world *world;
    kp_time until = kpi_time_add(group->to, MARGIN);
    kp_status status = kpi_world_load(reader, &member->arena, kpi_time_add(group->from, -MARGIN),
                                      until, AHEAD, &world, err);
    if (status == KP_OK)
        status = kpi_world_spans(world, NULL, 0, group->from, kpi_time_add(until, AHEAD), err);
    for (uint32_t i = 0; i < group->count && status == KP_OK; i++) {
        struct sample *sample = &group->samples[i];
        if (sample->known)
            continue;
        kpi_list_init(&sample->costs, &member->kept, sizeof(struct kpi_cost));
        sample_walk(member, world, sample);
        costs_keep(member, &sample->costs);
        status = kpi_reader_check(reader, err);
        if (status == KP_OK && !reader->eager && sample_key(reader, group, sample, &member->key))
            kpi_memo_put(reader->snapshot,
                         (struct kp_str){member->key.data, (uint32_t)member->key.size},
                         &sample->costs);
    }
    return status;
}

/* ---------- sharing them out ---------- */

static kp_status others_stopped(void *ctx, struct kp_error *err)
{
    struct member *member = ctx;
    if (!atomic_load(&member->team->stop))
        return KP_OK;
    member->told = true;
    return kp_error_set(err, KP_CANCELLED, "another thread of the baseline failed");
}

static void *member_main(void *of)
{
    struct member *member = of;
    struct team *team = member->team;
    while (member->status == KP_OK && !atomic_load(&team->stop)) {
        uint32_t at = atomic_fetch_add(&team->next, 1);
        if (at >= team->count)
            break;
        kp_arena_init(&member->arena, GROUP_BYTES);
        member->arena.owner = "baseline of CAUSES";
        member->failed_at = at;
        member->status = group_walk(member, &team->groups[at]);
        kp_arena_deinit(&member->arena);
    }
    if (member->status != KP_OK)
        atomic_store(&team->stop, true);
    return NULL;
}

/* Only this thread may ask whether the question is to end; the others hear of it. */
static void member_init(struct member *member, struct team *team, const struct kpi_reader *reader,
                        bool first)
{
    member->team = team;
    member->reader.snapshot = reader->snapshot;
    member->reader.axis = reader->axis;
    member->reader.eager = reader->eager;
    member->others = (struct kp_stop){others_stopped, member};
    member->reader.stop = first ? reader->stop : &member->others;
    kp_arena_init(&member->kept, GROUP_BYTES);
}

static kp_status team_finish(struct collect *collect, struct member *members, uint32_t count,
                             struct kp_error *err)
{
    const struct member *failed = NULL;
    for (uint32_t i = 0; i < count; i++) {
        struct member *member = &members[i];
        if (member->started)
            pthread_join(member->thread, NULL);
        kpi_reader_add(collect->reader, &member->reader);
        if (member->status != KP_OK && !member->told &&
            (failed == NULL || member->failed_at < failed->failed_at))
            failed = member;
    }
    if (failed == NULL)
        return KP_OK;
    if (err != NULL)
        *err = failed->err;
    return failed->status;
}

/* Walks the groups on as many threads as there may be. */
static kp_status team_run(struct collect *collect, const struct group *groups,
                          uint32_t groups_count, struct kp_error *err)
{
    struct team team = {.groups = groups, .count = groups_count};
    uint32_t count = KP_MIN(KP_MIN(collect->threads, groups_count), (uint32_t)TEAM_MAX);
    struct member *members = kp_arena_zalloc(collect->arena, count, sizeof(*members));
    if (members == NULL)
        return kp_arena_error(collect->arena, err);
    for (uint32_t i = 0; i < count; i++)
        member_init(&members[i], &team, collect->reader, i == 0);
    for (uint32_t i = 1; i < count; i++)
        members[i].started =
            pthread_create(&members[i].thread, NULL, member_main, &members[i]) == 0;
    if (count > 0)
        member_main(&members[0]);
    kp_status status = team_finish(collect, members, count, err);
    for (uint32_t i = 0; i < collect->count && status == KP_OK; i++)
        costs_add(collect, i, &collect->samples[i].costs);
    for (uint32_t i = 0; i < count; i++) {
        kp_buf_deinit(&members[i].key);
        kp_arena_deinit(&members[i].kept);
    }
    return status;
}

/* ---------- stretches ---------- */

/* Length of the stretches: from the time between the first sample and the last. */
static kp_dur stretch_of(const struct collect *collect)
{
    kp_time from = KP_TIME_MAX, to = KP_TIME_MIN;
    kp_dur stretch = STRETCH_MIN;
    for (uint32_t i = 0; i < collect->count; i++) {
        from = KP_MIN(from, collect->samples[i].txn.from);
        to = KP_MAX(to, collect->samples[i].txn.to);
    }
    while (stretch < STRETCH_MAX && collect->count > 0 && stretch < (to - from) / STRETCHES)
        stretch *= 2;
    return stretch;
}

/* Few values, so that samples of about one length share a reading. */
static kp_dur lead_of(const struct collect *collect, kp_dur wall)
{
    kp_dur lead = collect->stretch / 4;
    while (lead < wall)
        lead *= 4;
    return lead;
}

static void stretches_set(struct collect *collect)
{
    collect->stretch = stretch_of(collect);
    for (uint32_t i = 0; i < collect->count; i++) {
        struct sample *sample = &collect->samples[i];
        int64_t at = sample->txn.to / collect->stretch;
        sample->stretch = at - (at * collect->stretch > sample->txn.to);
        sample->lead = lead_of(collect, sample->wall);
    }
}

static int sample_compare(const void *a, const void *b)
{
    const struct sample *x = a, *y = b;
    if (x->stretch != y->stretch)
        return x->stretch < y->stretch ? -1 : 1;
    if (x->lead != y->lead)
        return x->lead < y->lead ? -1 : 1;
    if (x->txn.from != y->txn.from)
        return x->txn.from < y->txn.from ? -1 : 1;
    return kp_str_compare(x->txn.trace, y->txn.trace);
}

/* The group that begins with this sample. */
static struct group group_of(const struct collect *collect, uint32_t first)
{
    struct sample *sample = &collect->samples[first];
    uint32_t end = first + 1;
    while (end < collect->count && collect->samples[end].stretch == sample->stretch &&
           collect->samples[end].lead == sample->lead)
        end++;
    return (struct group){.samples = sample,
                          .count = end - first,
                          .from = sample->stretch * collect->stretch - sample->lead,
                          .to = (sample->stretch + 1) * collect->stretch};
}

static kp_status samples_walk(struct collect *collect, struct kp_error *err)
{
    struct group groups[USED_MAX];
    struct kp_buf key = {0};
    struct kp_arena recalled;
    uint32_t count = 0;
    kp_arena_init(&recalled, GROUP_BYTES);
    stretches_set(collect);
    qsort(collect->samples, collect->count, sizeof(*collect->samples), sample_compare);
    for (uint32_t first = 0; first < collect->count;) {
        groups[count] = group_of(collect, first);
        first += groups[count].count;
        count += !group_recall(collect->reader, &groups[count], &key, &recalled);
    }
    kp_buf_deinit(&key);
    kp_status status = team_run(collect, groups, count, err);
    kp_arena_deinit(&recalled);
    return status;
}

/* ---------- summing up ---------- */

static int dur_compare(const void *a, const void *b)
{
    kp_dur x = *(const kp_dur *)a, y = *(const kp_dur *)b;
    return x < y ? -1 : x > y;
}

static kp_dur median_of(kp_dur *ns, uint32_t count)
{
    qsort(ns, count, sizeof(*ns), dur_compare);
    return ns[(count - 1) / 2];
}

static bool sum_up(struct collect *collect, struct kpi_baseline *out)
{
    struct kpi_baseline made = {.used = collect->count, .norms_count = collect->tallies.count};
    kp_dur *walls = kp_arena_alloc(collect->arena, collect->count * sizeof(*walls));
    made.norms = kp_arena_zalloc(collect->arena, collect->tallies.count + 1, sizeof(*made.norms));
    if (walls == NULL || made.norms == NULL)
        return false;
    for (uint32_t i = 0; i < collect->count; i++)
        walls[i] = collect->samples[i].wall;
    made.wall_median = median_of(walls, collect->count);
    made.wall_p95 = walls[(collect->count - 1) * 95 / 100];
    for (uint32_t i = 0; i < collect->tallies.count; i++) {
        struct tally *tally = kpi_list_at(&collect->tallies, i);
        made.norms[i] = tally->norm;
        made.norms[i].median = median_of(tally->ns, collect->count);
    }
    *out = made;
    return true;
}

kp_status kpi_baseline_make(struct kpi_reader *reader, const struct kp_causes_req *req,
                            const struct kpi_txn *txn, struct kp_arena *arena,
                            struct kpi_baseline *out, struct kp_error *err)
{
    long cpus = req->threads != 0 ? (long)req->threads : sysconf(_SC_NPROCESSORS_ONLN);
    struct collect collect = {
        .reader = reader, .arena = arena, .threads = cpus < 1 ? 1 : (uint32_t)cpus};
    kpi_reader_part(reader, "the baseline", -1);
    struct kpi_baseline none = {0};
    if (req->baseline_none) {
        *out = none;
        return KP_OK;
    }
    collect.samples = kp_arena_alloc(arena, USED_MAX * sizeof(*collect.samples));
    if (collect.samples == NULL)
        return kp_arena_error(arena, err);
    kpi_list_init(&collect.tallies, arena, sizeof(struct tally));
    kp_status status = req->baseline != NULL ? samples_given(&collect, req, txn, err)
                                             : samples_find(&collect, req, txn, err);
    if (status == KP_OK)
        status = samples_walk(&collect, err);
    if (status != KP_OK)
        return status;
    if (collect.count == 0) {
        *out = none;
        return KP_OK;
    }
    if (collect.tallies.failed || !sum_up(&collect, out))
        return kp_arena_error(arena, err);
    return KP_OK;
}
