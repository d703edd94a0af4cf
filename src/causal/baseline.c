/* SPDX-License-Identifier: Apache-2.0
 *
 * The usual: recent transactions of the same class (service and name of the root span) that ended
 * well before this one began and did not fail, attributed by the same walk. Per (kind, object
 * class, rule) the median over them is what this class normally spends there.
 *
 * Neighbouring transactions share one reading of the kernel streams, and what a group of them was
 * found to cost is kept with the snapshot (memo.c): the next question about the class meets mostly
 * the same groups. The number compared with is
 * capped by count and by the time they cover, newest first, so the answer depends on the store and
 * not on how fast the machine is.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "causal/cause.h"
#include "causal/cursor.h"
#include "causal/memo.h"

#define USED_MAX    200           /* transactions compared with */
#define COVERED_MAX (30 * KP_SEC) /* sum of their durations */
#define GROUP_MAX   KP_SEC        /* read together when they lie within this */
#define MARGIN      (50 * KP_MS)  /* read around a group */
#define AHEAD       (500 * KP_MS) /* joined rows that end later */
#define GROUP_BYTES ((size_t)256 << 20)

enum { STATUS_ERROR = 2 }; /* catalogue: SPAN_STATUS */

/* One normal transaction. */
struct sample {
    struct kpi_txn txn;
    kp_dur wall;
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

static void costs_add(struct collect *collect, uint32_t first, const struct kpi_list *costs)
{
    for (uint32_t i = 0; i < costs->count && !collect->tallies.failed; i++) {
        const struct kpi_cost *cost = kpi_list_at(costs, i);
        struct tally *tally = tally_of(collect, cost);
        if (tally->ns != NULL)
            tally->ns[first + cost->at] += cost->dur;
    }
    collect->tallies.failed |= costs->failed;
}

/* Samples [first, end), which lie close together. */
struct group {
    struct collect *collect;
    uint32_t first, end;
    kp_time from, to; /* their spans */
    struct kp_arena arena;
    struct kpi_list costs; /* struct kpi_cost */
};

static void sample_walk(struct group *group, struct kpi_world *world, uint32_t at)
{
    const struct sample *sample = &group->collect->samples[group->first + at];
    uint32_t root = kpi_span_find(world, sample->txn.trace, sample->txn.root_id);
    if (root == KPI_NONE)
        return;
    struct kpi_causes *causes = kp_arena_alloc(&group->arena, sizeof(*causes));
    if (causes == NULL) {
        group->costs.failed = true;
        return;
    }
    kpi_causes_init(causes, &group->arena, world, false);
    struct kpi_walk walk = {.world = world,
                            .arena = &group->arena,
                            .txn = &sample->txn,
                            .emit = kpi_causes_add,
                            .ctx = causes};
    const struct kpi_span *span = &world->spans[root];
    kpi_walk_run(&walk, span->thread, root, span->from, span->to);
    for (uint32_t i = 0; i < causes->list.count; i++) {
        const struct kpi_cause *cause = kpi_cause_at(causes, i);
        *(struct kpi_cost *)kpi_list_add(&group->costs) = (struct kpi_cost){
            at, cause->largest.kind, cause->largest.rule, cause->object_class, cause->dur};
    }
}

/* Attributes the samples over one reading of the events. */
static kp_status group_walk(struct group *group, struct kp_error *err)
{
    struct collect *collect = group->collect;
    struct kp_str traces[USED_MAX];
    struct kpi_world *world;
    for (uint32_t i = group->first; i < group->end; i++)
        traces[i - group->first] = collect->samples[i].txn.trace;
    kp_status status =
        kpi_world_load(collect->reader, &group->arena, kpi_time_add(group->from, -MARGIN),
                       kpi_time_add(group->to, MARGIN), AHEAD, &world, err);
    if (status == KP_OK)
        status = kpi_world_spans(world, traces, group->end - group->first, group->from,
                                 kpi_time_add(group->to, MARGIN), err);
    for (uint32_t i = 0; status == KP_OK && i < group->end - group->first; i++)
        sample_walk(group, world, i);
    return status == KP_OK ? kpi_reader_check(collect->reader, err) : status;
}

/* All that the walk of the group depends on, beside the snapshot. */
static void group_key(const struct group *group, struct kp_buf *out)
{
    struct kp_str axis = group->collect->reader->axis;
    kp_buf_printf(out, "%.*s %lld %lld", (int)axis.len, axis.ptr, (long long)group->from,
                  (long long)group->to);
    for (uint32_t i = group->first; i < group->end; i++) {
        const struct kpi_txn *txn = &group->collect->samples[i].txn;
        kp_buf_printf(out, " %u ", txn->trace.len);
        kp_buf_str(out, txn->trace);
        kp_buf_printf(out, " %u ", txn->root_id.len);
        kp_buf_str(out, txn->root_id);
    }
}

/* What the group cost, as found before or by walking it now. */
static kp_status group_cost(struct group *group, struct kp_error *err)
{
    struct kpi_reader *reader = group->collect->reader;
    struct kp_buf key = {0};
    kp_status status = KP_OK;
    group_key(group, &key);
    struct kp_str name = {kp_buf_cstr(&key), (uint32_t)key.size};
    bool kept = !reader->eager && !key.failed;
    if (!kept || !kpi_memo_get(reader->snapshot, name, &group->arena, &group->costs)) {
        status = group_walk(group, err);
        if (status == KP_OK && kept)
            kpi_memo_put(reader->snapshot, name, &group->costs);
    }
    kp_buf_deinit(&key);
    return status;
}

static kp_status group_add(struct collect *collect, uint32_t first, uint32_t end,
                           struct kp_error *err)
{
    struct group group = {
        .collect = collect, .first = first, .end = end, .from = KP_TIME_MAX, .to = KP_TIME_MIN};
    for (uint32_t i = first; i < end; i++) {
        group.from = KP_MIN(group.from, collect->samples[i].txn.from);
        group.to = KP_MAX(group.to, collect->samples[i].txn.to);
    }
    kp_arena_init(&group.arena, GROUP_BYTES);
    group.arena.owner = "baseline of CAUSES";
    kpi_list_init(&group.costs, &group.arena, sizeof(struct kpi_cost));
    kp_status status = group_cost(&group, err);
    if (status == KP_OK)
        costs_add(collect, first, &group.costs);
    kp_arena_deinit(&group.arena);
    return status;
}

static int sample_compare(const void *a, const void *b)
{
    const struct sample *x = a, *y = b;
    if (x->txn.from != y->txn.from)
        return x->txn.from < y->txn.from ? -1 : 1;
    return kp_str_compare(x->txn.trace, y->txn.trace);
}

static kp_status samples_walk(struct collect *collect, struct kp_error *err)
{
    kp_status status = KP_OK;
    qsort(collect->samples, collect->count, sizeof(*collect->samples), sample_compare);
    for (uint32_t first = 0, end; first < collect->count && status == KP_OK; first = end) {
        kp_time begin = collect->samples[first].txn.from;
        for (end = first + 1; end < collect->count; end++)
            if (collect->samples[end].txn.to - begin > GROUP_MAX)
                break;
        status = group_add(collect, first, end, err);
    }
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
    struct collect collect = {.reader = reader, .arena = arena};
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
