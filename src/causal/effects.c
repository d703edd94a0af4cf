/* SPDX-License-Identifier: Apache-2.0
 *
 * EFFECTS OF: forward from an event, a block request, a thread or a process to the transactions
 * that lost time to it. Every transaction that was open in the time looked at is divided into its
 * causes by the walk that CAUSES uses; what counts is the part of its partition that names the
 * thread as the culprit, or rests on the event. A transaction is one row and a partition has no
 * overlaps, so nothing counts twice.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "causal/cohort.h"
#include "causal/cursor.h"

#define WITHIN_DEFAULT (2 * KP_SEC)
#define TXNS_MAX       20000 /* transactions looked at */

enum effects_column {
    F_RANK,
    F_TXN,
    F_TRACE,
    F_SERVICE,
    F_NAME,
    F_STATUS,
    F_HOST,
    F_START,
    F_WALL,
    F_DUR,
    F_OWN,
    F_SHARE,
    F_KIND,
    F_OBJECT,
    F_STRENGTH
};

static const struct kp_field effects_fields[] = {
    [F_RANK] = {KP_STR("rank"), KP_TYPE_I64, KP_UNIT_NONE},
    [F_TXN] = {KP_STR("txn"), KP_TYPE_STR, KP_UNIT_ID},
    [F_TRACE] = {KP_STR("trace_id"), KP_TYPE_STR, KP_UNIT_ID},
    [F_SERVICE] = {KP_STR("service"), KP_TYPE_STR, KP_UNIT_NONE},
    [F_NAME] = {KP_STR("name"), KP_TYPE_STR, KP_UNIT_NONE},
    [F_STATUS] = {KP_STR("status"), KP_TYPE_STR, KP_UNIT_NONE},
    [F_HOST] = {KP_STR("host"), KP_TYPE_STR, KP_UNIT_NONE},
    [F_START] = {KP_STR("start"), KP_TYPE_TIME, KP_UNIT_NS},
    [F_WALL] = {KP_STR("wall"), KP_TYPE_DUR, KP_UNIT_NS},
    [F_DUR] = {KP_STR("dur"), KP_TYPE_DUR, KP_UNIT_NS},
    [F_OWN] = {KP_STR("own"), KP_TYPE_DUR, KP_UNIT_NS},
    [F_SHARE] = {KP_STR("share"), KP_TYPE_F64, KP_UNIT_PERCENT},
    [F_KIND] = {KP_STR("kind"), KP_TYPE_STR, KP_UNIT_NONE},
    [F_OBJECT] = {KP_STR("object"), KP_TYPE_STR, KP_UNIT_NONE},
    [F_STRENGTH] = {KP_STR("strength"), KP_TYPE_STR, KP_UNIT_NONE},
};
static const struct kp_schema effects_schema = {effects_fields, KP_ARRAY_LEN(effects_fields)};

const struct kp_schema *kp_effects_schema(void)
{
    return &effects_schema;
}

/* What one transaction lost. */
struct effect {
    uint32_t txn;
    kp_dur dur, own, weak;
    struct kp_str kind, object; /* of the largest cause */
};

struct effects {
    const struct kp_causes_req *req;
    struct kpi_place_of place; /* event, io */
    kp_time from, to;          /* that counts */
    struct kpi_cohort cohort;
    struct kp_arena *arena;
    struct kpi_list list; /* struct effect */
    bool gap;             /* events may be missing in the transaction being walked */
    uint32_t gaps;        /* transactions of which that is so */
};

/* ---------- what counts ---------- */

static bool is_place(const struct effects *effects, const struct kpi_world *world,
                     const struct kpi_ref *ref)
{
    bool event = ref->event != KPI_NONE;
    const struct kpi_event *e = event ? kpi_event_of(world, ref->event) : NULL;
    uint64_t seq = event ? e->seq : ref->work->seq;
    uint32_t cpu = event ? e->cpu : ref->work->cpu;
    uint8_t stream = event ? e->stream : ref->work->stream;
    if (seq != effects->place.seq || stream != effects->place.stream || cpu == KPI_NONE)
        return false;
    const struct kpi_cpu *on = kpi_cpu_of(world, cpu);
    return on->number == effects->place.cpu &&
           kp_str_equal(kpi_host_of(world, on->host)->name, effects->place.host);
}

static bool rests_on(const struct effects *effects, const struct kpi_world *world,
                     const struct kpi_slice *slice)
{
    for (uint32_t i = 0; i < slice->refs_count; i++)
        if (is_place(effects, world, &slice->refs[i]))
            return true;
    return false;
}

static bool is_culprit(const struct effects *effects, const struct kpi_world *world,
                       const struct kpi_slice *slice)
{
    const struct kp_causes_req *req = effects->req;
    const struct kp_actor *actor = kp_actors_get(world->actors, slice->culprit_actor);
    if (slice->culprit_actor == KP_ACTOR_UNKNOWN || actor->tid == 0 ||
        (req->host.len > 0 && !kp_str_equal(actor->host, req->host)))
        return false;
    if (req->number > 0)
        return req->number == (req->root == KP_ROOT_PROCESS ? actor->pid : actor->tid);
    return kp_str_equal(actor->comm, req->txn);
}

static bool effects_keep(void *ctx, const struct kpi_world *world, struct kpi_slice *slice)
{
    struct effects *effects = ctx;
    slice->from = KP_MAX(slice->from, effects->from);
    slice->to = KP_MIN(slice->to, effects->to);
    if (slice->from >= slice->to)
        return false;
    effects->gap |= slice->gap > 0;
    bool one = effects->req->root == KP_ROOT_EVENT || effects->req->root == KP_ROOT_IO;
    return one ? rests_on(effects, world, slice) : is_culprit(effects, world, slice);
}

static bool is_own(const struct kpi_cause *cause)
{
    return cause->largest.rule == KPI_RULE_RUN && cause->largest.culprit == cause->largest.thread;
}

static void effects_each(void *ctx, const struct kpi_causes *causes, uint32_t index)
{
    struct effects *effects = ctx;
    const struct kpi_cause *largest = NULL;
    struct effect effect = {.txn = index};
    effects->gaps += effects->gap;
    effects->gap = false;
    for (uint32_t i = 0; i < causes->list.count; i++) {
        const struct kpi_cause *cause = kpi_cause_at(causes, i);
        effect.dur += cause->dur;
        effect.own += is_own(cause) ? cause->dur : 0;
        effect.weak += cause->weak;
        if (largest == NULL || cause->dur > largest->dur)
            largest = cause;
    }
    if (largest == NULL)
        return;
    effect.kind = kpi_kind_text(effects->arena, &largest->largest);
    effect.object = kp_arena_str(effects->arena, largest->largest.object);
    *(struct effect *)kpi_list_add(&effects->list) = effect;
}

/* ---------- rows ---------- */

static int effect_compare(const void *a, const void *b)
{
    const struct effect *x = a, *y = b;
    if (x->dur != y->dur)
        return x->dur > y->dur ? -1 : 1;
    return x->txn < y->txn ? -1 : x->txn > y->txn;
}

static void put_effect(struct kp_rows *rows, const struct effects *effects,
                       const struct effect *effect, uint32_t rank)
{
    const struct kpi_txn *txn = &effects->cohort.txns[effect->txn];
    const struct kp_actors *actors = kp_snapshot_actors(effects->cohort.reader->snapshot);
    kp_dur wall = txn->to - txn->from;
    kpi_rows_add(rows);
    kpi_rows_i64(rows, F_RANK, rank);
    kpi_rows_str(rows, F_TXN, txn->id);
    kpi_rows_str(rows, F_TRACE, txn->trace);
    kpi_rows_str(rows, F_SERVICE, txn->service);
    kpi_rows_str(rows, F_NAME, txn->name);
    kpi_rows_str(rows, F_STATUS, kpi_txn_status(txn));
    kpi_rows_str(rows, F_HOST, kp_actors_get(actors, txn->actor)->host);
    kpi_rows_i64(rows, F_START, txn->from);
    kpi_rows_i64(rows, F_WALL, wall);
    kpi_rows_i64(rows, F_DUR, effect->dur);
    kpi_rows_i64(rows, F_OWN, effect->own);
    kpi_rows_f64(rows, F_SHARE, (double)((__int128)effect->dur * 10000 / KP_MAX(wall, 1)) / 100);
    kpi_rows_str(rows, F_KIND, effect->kind);
    kpi_rows_str(rows, F_OBJECT, effect->object);
    kpi_rows_str(rows, F_STRENGTH,
                 effect->weak > effect->dur / 10 ? KP_STR("weak") : KP_STR("strong"));
}

/* Somebody of that name or number is in what was read. */
static bool is_known(const struct effects *effects)
{
    const struct kp_causes_req *req = effects->req;
    const struct kp_actors *actors = kp_snapshot_actors(effects->cohort.reader->snapshot);
    if (req->root == KP_ROOT_EVENT || req->root == KP_ROOT_IO)
        return true;
    for (kp_actor_id id = 1; id < kp_actors_count(actors); id++) {
        const struct kp_actor *actor = kp_actors_get(actors, id);
        int64_t number = req->root == KP_ROOT_PROCESS ? actor->pid : actor->tid;
        if ((req->host.len == 0 || kp_str_equal(actor->host, req->host)) &&
            (req->number > 0 ? number == req->number : kp_str_equal(actor->comm, req->txn)))
            return true;
    }
    return false;
}

static void put_notes(struct kp_rows *rows, const struct effects *effects, bool cut)
{
    kp_dur sum = 0;
    char text[KP_DUR_TEXT_MAX];
    for (uint32_t i = 0; i < effects->list.count; i++)
        sum += ((const struct effect *)kpi_list_at(&effects->list, i))->dur;
    kp_dur_format(sum, text);
    kpi_rows_note(rows, "%u of the %u transactions open in that time lost %s (%lld ns) to it",
                  effects->list.count, effects->cohort.count, text, (long long)sum);
    if (effects->gaps > 0)
        kpi_rows_note(rows, "gaps: in %u of them events may be missing", effects->gaps);
    if (effects->list.count == 0 && !is_known(effects))
        kpi_rows_note(rows, "no %s %.*s was seen while they were open",
                      effects->req->root == KP_ROOT_PROCESS ? "process" : "thread",
                      (int)effects->req->txn.len, effects->req->txn.ptr);
    if (cut)
        kpi_rows_note(rows, "only the first %d transactions were looked at: narrow it by BETWEEN",
                      TXNS_MAX);
}

/* ---------- the time looked at ---------- */

static kp_status window_find(struct effects *effects, struct kp_error *err)
{
    const struct kp_causes_req *req = effects->req;
    struct kpi_reader *reader = effects->cohort.reader;
    kp_dur within = req->within < 0 ? WITHIN_DEFAULT : req->within;
    if (req->root == KP_ROOT_EVENT || req->root == KP_ROOT_IO) {
        kp_status status = kpi_event_find(reader, req, effects->arena, &effects->place, err);
        if (status != KP_OK)
            return status;
        if (req->root == KP_ROOT_IO && effects->place.stream != KP_S_BLOCK_RQ) {
            kp_error_set(err, KP_INVALID, "%.*s is a row of %s, not a block request",
                         (int)req->txn.len, req->txn.ptr,
                         kp_stream_by_number(effects->place.stream)->name);
            kp_error_hint(err, "block_rq lists them; EFFECTS OF event takes any row");
            return KP_INVALID;
        }
        effects->from = effects->place.start - within;
        effects->to = kpi_time_add(effects->place.ts, within);
        return KP_OK;
    }
    kp_snapshot_range(reader->snapshot, &effects->from, &effects->to);
    if (req->from <= req->to) {
        effects->from = kpi_time_sane(req->from);
        effects->to = kpi_time_add(kpi_time_sane(req->to), within);
    }
    return KP_OK;
}

kp_status kp_effects_open(struct kp_snapshot *snapshot, const struct kp_causes_req *req,
                          struct kp_arena *arena, struct kp_rows **out, struct kp_error *err)
{
    struct kpi_reader reader = {.snapshot = snapshot, .stop = arena->stop};
    struct effects effects = {.req = req, .arena = arena};
    struct kp_rows *rows = NULL;
    arena->owner = "EFFECTS";
    effects.cohort = (struct kpi_cohort){.reader = &reader,
                                         .arena = arena,
                                         .keep = effects_keep,
                                         .each = effects_each,
                                         .ctx = &effects};
    kpi_list_init(&effects.list, arena, sizeof(struct effect));
    kp_status status = window_find(&effects, err);
    struct kp_txn_set all = {NULL, 0, effects.from, effects.to};
    if (status == KP_OK)
        status =
            kpi_txns_find(&reader, &all, arena, &effects.cohort.txns, &effects.cohort.count, err);
    bool cut = effects.cohort.count > TXNS_MAX;
    effects.cohort.count = KP_MIN(effects.cohort.count, (uint32_t)TXNS_MAX);
    if (status == KP_OK)
        status = kpi_cohort_walk(&effects.cohort, err);
    if (status != KP_OK)
        return status;
    struct effect *sorted = kpi_list_flat(&effects.list);
    if (effects.list.failed || kpi_rows_open(arena, &effects_schema, &rows) != KP_OK)
        return kp_arena_error(arena, err);
    if (sorted != NULL)
        qsort(sorted, effects.list.count, sizeof(*sorted), effect_compare);
    for (uint32_t i = 0; i < effects.list.count; i++)
        if (sorted[i].dur >= req->min)
            put_effect(rows, &effects, &sorted[i], i + 1);
    put_notes(rows, &effects, cut);
    kpi_rows_read(rows, &reader);
    status = kpi_rows_check(rows, err);
    if (status == KP_OK)
        *out = rows;
    return status;
}
