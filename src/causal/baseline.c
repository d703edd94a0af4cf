/* SPDX-License-Identifier: Apache-2.0
 *
 * The usual: recent transactions of the same class (service and name of the root span) that ended
 * well before this one began and did not fail, attributed by the same walk. Per (kind, object
 * class, rule) the median over them is what this class normally spends there.
 *
 * Neighbouring transactions share one reading of the kernel streams. The number compared with is
 * capped by count and by the time they cover, newest first, so the answer depends on the store and
 * not on how fast the machine is.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "causal/cause.h"
#include "causal/cursor.h"

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

static struct tally *tally_of(struct collect *collect, const struct kpi_cause *cause)
{
    for (uint32_t i = 0; i < collect->tallies.count; i++) {
        struct tally *tally = kpi_list_at(&collect->tallies, i);
        if (tally->norm.kind == cause->largest.kind && tally->norm.rule == cause->largest.rule &&
            kp_str_equal(tally->norm.object_class, cause->object_class))
            return tally;
    }
    struct tally *tally = kpi_list_add(&collect->tallies);
    tally->norm.kind = cause->largest.kind;
    tally->norm.rule = cause->largest.rule;
    tally->norm.object_class = kp_arena_str(collect->arena, cause->object_class);
    tally->ns = kp_arena_zalloc(collect->arena, collect->count, sizeof(*tally->ns));
    collect->tallies.failed |= tally->ns == NULL;
    return tally;
}

static void sample_walk(struct collect *collect, struct kpi_world *world, struct kp_arena *arena,
                        uint32_t at)
{
    struct sample *sample = &collect->samples[at];
    uint32_t root = kpi_span_find(world, sample->txn.trace, sample->txn.root_id);
    if (root == KPI_NONE)
        return;
    struct kpi_causes *causes = kp_arena_alloc(arena, sizeof(*causes));
    if (causes == NULL) {
        collect->tallies.failed = true;
        return;
    }
    kpi_causes_init(causes, arena, world, false);
    struct kpi_walk walk = {
        .world = world, .arena = arena, .txn = &sample->txn, .emit = kpi_causes_add, .ctx = causes};
    const struct kpi_span *span = &world->spans[root];
    kpi_walk_run(&walk, span->thread, root, span->from, span->to);
    for (uint32_t i = 0; i < causes->list.count && !collect->tallies.failed; i++) {
        struct tally *tally = tally_of(collect, kpi_cause_at(causes, i));
        if (tally->ns != NULL)
            tally->ns[at] += kpi_cause_at(causes, i)->dur;
    }
}

/* Attributes samples [first, end), which lie close together, over one reading of the events. */
static kp_status group_walk(struct collect *collect, uint32_t first, uint32_t end,
                            struct kp_error *err)
{
    struct kp_str traces[USED_MAX];
    struct kp_arena arena;
    struct kpi_world *world;
    kp_time from = KP_TIME_MAX, to = KP_TIME_MIN;
    for (uint32_t i = first; i < end; i++) {
        traces[i - first] = collect->samples[i].txn.trace;
        from = KP_MIN(from, collect->samples[i].txn.from);
        to = KP_MAX(to, collect->samples[i].txn.to);
    }
    kp_arena_init(&arena, GROUP_BYTES);
    arena.owner = "baseline of CAUSES";
    kp_status status = kpi_world_load(collect->reader, &arena, kpi_time_add(from, -MARGIN),
                                      kpi_time_add(to, MARGIN), AHEAD, &world, err);
    if (status == KP_OK)
        status = kpi_world_spans(world, traces, end - first, from, kpi_time_add(to, MARGIN), err);
    for (uint32_t i = first; status == KP_OK && i < end; i++)
        sample_walk(collect, world, &arena, i);
    kp_arena_deinit(&arena);
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
        status = group_walk(collect, first, end, err);
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
