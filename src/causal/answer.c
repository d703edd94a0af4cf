/* SPDX-License-Identifier: Apache-2.0
 *
 * CAUSES OF and EVIDENCE OF: find the root, walk it (root.c), compare with its class, rank, and put
 * the result into columns.
 */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "causal/cause.h"
#include "causal/cursor.h"

enum { STATUS_ERROR = 2 }; /* catalogue: SPAN_STATUS */

enum causes_column {
    C_RANK,
    C_ROOT,
    C_KIND,
    C_SUBKIND,
    C_START,
    C_DUR,
    C_EXCESS,
    C_SHARE,
    C_HOST,
    C_CPU,
    C_TID,
    C_PID,
    C_COMM,
    C_CGROUP,
    C_SPAN,
    C_TXN,
    C_CULPRIT_PID,
    C_CULPRIT_TID,
    C_CULPRIT_COMM,
    C_CULPRIT_CGROUP,
    C_OBJECT,
    C_RULE,
    C_STRENGTH,
    C_GAP,
    C_SKEW,
    C_STOP,
    C_NOTE,
    C_EVIDENCE
};

static const struct kp_field causes_fields[] = {
    [C_RANK] = {KP_STR("rank"), KP_TYPE_I64, KP_UNIT_NONE},
    [C_ROOT] = {KP_STR("root"), KP_TYPE_BOOL, KP_UNIT_NONE},
    [C_KIND] = {KP_STR("kind"), KP_TYPE_STR, KP_UNIT_NONE},
    [C_SUBKIND] = {KP_STR("subkind"), KP_TYPE_STR, KP_UNIT_NONE},
    [C_START] = {KP_STR("start"), KP_TYPE_TIME, KP_UNIT_NS},
    [C_DUR] = {KP_STR("dur"), KP_TYPE_DUR, KP_UNIT_NS},
    [C_EXCESS] = {KP_STR("excess_ns"), KP_TYPE_DUR, KP_UNIT_NS},
    [C_SHARE] = {KP_STR("share"), KP_TYPE_F64, KP_UNIT_PERCENT},
    [C_HOST] = {KP_STR("host"), KP_TYPE_STR, KP_UNIT_NONE},
    [C_CPU] = {KP_STR("cpu"), KP_TYPE_I64, KP_UNIT_ID},
    [C_TID] = {KP_STR("tid"), KP_TYPE_I64, KP_UNIT_ID},
    [C_PID] = {KP_STR("pid"), KP_TYPE_I64, KP_UNIT_ID},
    [C_COMM] = {KP_STR("comm"), KP_TYPE_STR, KP_UNIT_NONE},
    [C_CGROUP] = {KP_STR("cgroup"), KP_TYPE_STR, KP_UNIT_NONE},
    [C_SPAN] = {KP_STR("span"), KP_TYPE_STR, KP_UNIT_NONE},
    [C_TXN] = {KP_STR("txn"), KP_TYPE_STR, KP_UNIT_ID},
    [C_CULPRIT_PID] = {KP_STR("culprit_pid"), KP_TYPE_I64, KP_UNIT_ID},
    [C_CULPRIT_TID] = {KP_STR("culprit_tid"), KP_TYPE_I64, KP_UNIT_ID},
    [C_CULPRIT_COMM] = {KP_STR("culprit_comm"), KP_TYPE_STR, KP_UNIT_NONE},
    [C_CULPRIT_CGROUP] = {KP_STR("culprit_cgroup"), KP_TYPE_STR, KP_UNIT_NONE},
    [C_OBJECT] = {KP_STR("object"), KP_TYPE_STR, KP_UNIT_NONE},
    [C_RULE] = {KP_STR("rule"), KP_TYPE_STR, KP_UNIT_NONE},
    [C_STRENGTH] = {KP_STR("strength"), KP_TYPE_STR, KP_UNIT_NONE},
    [C_GAP] = {KP_STR("gap_ns"), KP_TYPE_DUR, KP_UNIT_NS},
    [C_SKEW] = {KP_STR("skew_ns"), KP_TYPE_DUR, KP_UNIT_NS},
    [C_STOP] = {KP_STR("stop"), KP_TYPE_STR, KP_UNIT_NONE},
    [C_NOTE] = {KP_STR("note"), KP_TYPE_STR, KP_UNIT_NONE},
    [C_EVIDENCE] = {KP_STR("evidence"), KP_TYPE_STR, KP_UNIT_NONE},
};
static const struct kp_schema causes_schema = {causes_fields, KP_ARRAY_LEN(causes_fields)};

const struct kp_schema *kp_causes_schema(void)
{
    return &causes_schema;
}

/* ---------- making the answer ---------- */

static bool has_class(const struct kpi_answer *answer)
{
    return answer->root != KPI_NONE;
}

kp_status kpi_answer_make(struct kpi_reader *reader, const struct kp_causes_req *req,
                          struct kp_arena *arena, struct kpi_answer **out, struct kp_error *err)
{
    struct kpi_answer *answer = kp_arena_zalloc(arena, 1, sizeof(*answer));
    if (answer == NULL)
        return kp_arena_error(arena, err);
    reader->eager = req->eager;
    kp_status status = kpi_root_explain(reader, req, arena, answer, err);
    if (status == KP_OK && has_class(answer) && req->oracle == KP_ORACLE_NONE)
        status = kpi_baseline_make(reader, req, &answer->wall_clock, arena, &answer->baseline, err);
    if (status != KP_OK)
        return status;
    answer->ranked = kpi_rank(&answer->causes, &answer->baseline,
                              answer->txn.status == STATUS_ERROR, &answer->verdict);
    if (answer->ranked == NULL)
        return kp_arena_error(arena, err);
    for (uint32_t i = 0; i < answer->causes.list.count; i++)
        answer->ranked[i]->rank = i + 1;
    *out = answer;
    return KP_OK;
}

/* ---------- columns ---------- */

static struct kp_str span_text(const struct kpi_answer *answer, const struct kpi_slice *slice)
{
    return slice->span == KPI_NONE ? KP_STR("") : answer->world->spans[slice->span].name;
}

/* The transaction whose work this was. */
static struct kp_str txn_text(const struct kpi_answer *answer, const struct kpi_slice *slice)
{
    if (slice->span == KPI_NONE)
        return answer->txn.id;
    const struct kpi_span *span = &answer->world->spans[slice->span];
    if (span->txn.len > 0)
        return span->txn;
    return kp_str_equal(span->trace, answer->txn.trace) ? answer->txn.id : KP_STR("");
}

static void put_victim(struct kp_rows *rows, const struct kpi_answer *answer,
                       const struct kpi_slice *slice)
{
    const struct kpi_world *world = answer->world;
    if (slice->thread == KPI_NONE) {
        const struct kp_actor *actor = kp_actors_get(world->actors, answer->txn.actor);
        kpi_rows_str(rows, C_HOST, actor->host);
        kpi_rows_null(rows, C_TID);
        kpi_rows_null(rows, C_PID);
        return;
    }
    const struct kpi_thread *thread = kpi_thread_of(world, slice->thread);
    const struct kp_actor *actor = kp_actors_get(world->actors, slice->actor);
    kpi_rows_str(rows, C_HOST, kpi_host_of(world, thread->host)->name);
    kpi_rows_i64(rows, C_TID, thread->tid);
    kpi_rows_i64(rows, C_PID, thread->pid);
    kpi_rows_str(rows, C_COMM, actor->comm);
    kpi_rows_str(rows, C_CGROUP, actor->cgroup);
}

static void put_culprit(struct kp_rows *rows, const struct kpi_answer *answer,
                        const struct kpi_slice *slice)
{
    const struct kp_actor *actor = kp_actors_get(answer->world->actors, slice->culprit_actor);
    if (slice->kind == KPI_THROTTLED || slice->kind == KPI_FROZEN)
        kpi_rows_str(rows, C_CULPRIT_CGROUP, slice->object);
    if (slice->culprit_actor == KP_ACTOR_UNKNOWN) {
        kpi_rows_null(rows, C_CULPRIT_PID);
        kpi_rows_null(rows, C_CULPRIT_TID);
        return;
    }
    kpi_rows_i64(rows, C_CULPRIT_PID, actor->pid);
    kpi_rows_i64(rows, C_CULPRIT_TID, actor->tid);
    kpi_rows_str(rows, C_CULPRIT_COMM, actor->comm);
    kpi_rows_str(rows, C_CULPRIT_CGROUP, actor->cgroup);
}

struct kp_str kpi_kind_text(struct kp_arena *arena, const struct kpi_slice *slice)
{
    if (slice->kind != KPI_UNKNOWN)
        return kp_str_from(kpi_kind_name(slice->kind));
    return kpi_text(arena, "unknown(%.*s)", (int)slice->subkind.len, slice->subkind.ptr);
}

static struct kp_str note_text(const struct kpi_answer *answer, const struct kpi_cause *cause,
                               struct kp_arena *arena)
{
    const struct kpi_slice *slice = &cause->largest;
    struct kp_str txn = txn_text(answer, slice);
    char text[384] = "", idle[KP_DUR_TEXT_MAX];
    size_t used = 0;
    kp_dur_format(cause->idle_elsewhere, idle);
#define NOTE_ADD(...)                                                                   \
    do {                                                                                \
        int n = snprintf(text + used, sizeof(text) - used, "%s", used > 0 ? "; " : ""); \
        used = KP_MIN(used + (size_t)KP_MAX(n, 0), sizeof(text) - 1);                   \
        n = snprintf(text + used, sizeof(text) - used, __VA_ARGS__);                    \
        used = KP_MIN(used + (size_t)KP_MAX(n, 0), sizeof(text) - 1);                   \
    } while (0)
    if (slice->edge != KPI_RULE_ROOT)
        NOTE_ADD("by %s", kpi_rule_name(slice->edge));
    if (cause->slices > 1)
        NOTE_ADD("%u parts", cause->slices);
    if (cause->timeout)
        NOTE_ADD("a time limit ran out on it");
    if (answer->txn.id.len > 0 && txn.len > 0 && !kp_str_equal(txn, answer->txn.id))
        NOTE_ADD("via=txn %.*s", (int)txn.len, txn.ptr);
    if (cause->idle_elsewhere > cause->dur / 10)
        NOTE_ADD("misplaced? another CPU was idle %s of it", idle);
    if (slice->note.len > 0)
        NOTE_ADD("%.*s", (int)slice->note.len, slice->note.ptr);
    if (cause->because.len > 0)
        NOTE_ADD("%.*s", (int)cause->because.len, cause->because.ptr);
#undef NOTE_ADD
    return kp_arena_str(arena, kp_str_from(text));
}

static struct kp_str evidence_text(const struct kpi_answer *answer, const struct kpi_cause *cause,
                                   struct kp_arena *arena)
{
    struct kp_str text = KP_STR("");
    for (uint32_t i = 0; i < cause->largest.refs_count; i++) {
        struct kp_str ref = kpi_ref_text(answer->world, &cause->largest.refs[i], arena);
        text = kpi_text(arena, "%.*s%s%.*s", (int)text.len, text.ptr, i > 0 ? " " : "",
                        (int)ref.len, ref.ptr);
    }
    return text;
}

static double percent(kp_dur part, kp_dur whole)
{
    return whole <= 0 ? 0 : (double)((__int128)part * 10000 / whole) / 100;
}

static void put_cause(struct kp_rows *rows, const struct kpi_answer *answer,
                      const struct kpi_cause *cause, struct kp_arena *arena)
{
    const struct kpi_slice *slice = &cause->largest;
    kpi_rows_add(rows);
    kpi_rows_i64(rows, C_RANK, cause->rank);
    kpi_rows_i64(rows, C_ROOT, cause->root);
    kpi_rows_str(rows, C_KIND, kpi_kind_text(arena, slice));
    kpi_rows_str(rows, C_SUBKIND, slice->kind == KPI_UNKNOWN ? KP_STR("") : slice->subkind);
    kpi_rows_i64(rows, C_START, cause->start);
    kpi_rows_i64(rows, C_DUR, cause->dur);
    if (answer->baseline.used > 0)
        kpi_rows_i64(rows, C_EXCESS, cause->excess);
    else
        kpi_rows_null(rows, C_EXCESS);
    kpi_rows_f64(rows, C_SHARE, percent(cause->dur, answer->causes.wall));
    put_victim(rows, answer, slice);
    if (slice->cpu == KPI_NONE)
        kpi_rows_null(rows, C_CPU);
    else
        kpi_rows_i64(rows, C_CPU, kpi_cpu_of(answer->world, slice->cpu)->number);
    kpi_rows_str(rows, C_SPAN, span_text(answer, slice));
    kpi_rows_str(rows, C_TXN, txn_text(answer, slice));
    put_culprit(rows, answer, slice);
    kpi_rows_str(rows, C_OBJECT, slice->object);
    kpi_rows_str(rows, C_RULE, kp_str_from(kpi_rule_name(slice->rule)));
    kpi_rows_str(rows, C_STRENGTH, kp_str_from(kpi_cause_strength(cause)));
    kpi_rows_i64(rows, C_GAP, cause->gap);
    kpi_rows_i64(rows, C_SKEW, cause->skew);
    kpi_rows_str(rows, C_STOP, kp_str_from(slice->stop));
    kpi_rows_str(rows, C_NOTE, note_text(answer, cause, arena));
    kpi_rows_str(rows, C_EVIDENCE, evidence_text(answer, cause, arena));
}

/* Rows shorter than MIN, which are told of. */
struct hidden {
    uint32_t rows;
    kp_dur sum;
};

static void put_or_hide(struct kp_rows *rows, const struct kpi_answer *answer,
                        const struct kpi_cause *cause, struct kp_arena *arena,
                        struct hidden *hidden)
{
    if (cause->dur >= answer->req->min) {
        put_cause(rows, answer, cause, arena);
        return;
    }
    hidden->sum += cause->dur;
    hidden->rows++;
}

/* A stretch as a row of its own, with the rank of the row it is a part of. */
static struct kpi_cause part_row(const struct kpi_part *part)
{
    const struct kpi_slice *slice = &part->slice;
    struct kpi_cause row = *part->cause;
    row.largest = *slice;
    row.start = slice->from;
    row.dur = slice->to - slice->from;
    row.excess = row.dur;
    if (part->cause->dur > 0)
        row.excess = (kp_dur)((__int128)part->cause->excess * row.dur / part->cause->dur);
    row.weak = slice->strength == KPI_WEAK ? row.dur : 0;
    row.gap = slice->gap;
    row.idle_elsewhere = slice->idle_elsewhere;
    row.timeout = slice->timeout;
    row.slices = 1;
    return row;
}

static void put_rows(struct kp_rows *rows, const struct kpi_answer *answer, struct kp_arena *arena)
{
    struct hidden hidden = {0};
    for (uint32_t i = 0; i < answer->parts.count; i++) {
        struct kpi_cause row = part_row(kpi_list_at(&answer->parts, i));
        put_or_hide(rows, answer, &row, arena, &hidden);
    }
    for (uint32_t i = 0; i < answer->causes.list.count && !answer->req->parts; i++)
        put_or_hide(rows, answer, answer->ranked[i], arena, &hidden);
    if (hidden.rows > 0)
        kpi_rows_note(rows, "%u rows below MIN are not shown; they sum to %lld ns", hidden.rows,
                      (long long)hidden.sum);
}

kp_status kp_causes_open(struct kp_snapshot *snapshot, const struct kp_causes_req *req,
                         struct kp_arena *arena, struct kp_rows **out, struct kp_error *err)
{
    struct kpi_reader reader = {.snapshot = snapshot, .stop = arena->stop};
    struct kpi_answer *answer;
    struct kp_rows *rows = NULL;
    arena->owner = "CAUSES";
    kp_status status = kpi_answer_make(&reader, req, arena, &answer, err);
    if (status != KP_OK)
        return status;
    if (kpi_rows_open(arena, &causes_schema, &rows) != KP_OK)
        return kp_arena_error(arena, err);
    kpi_reader_part(&reader, "remarks", -1);
    status = kpi_remarks_add(answer, req, rows, err);
    put_rows(rows, answer, arena);
    kpi_rows_read(rows, &reader);
    if (status == KP_OK)
        status = kpi_rows_check(rows, err);
    if (status == KP_OK)
        *out = rows;
    return status;
}

kp_status kp_evidence_open(struct kp_snapshot *snapshot, const struct kp_causes_req *req,
                           uint32_t row, struct kp_arena *arena, struct kp_rows **out,
                           struct kp_error *err)
{
    struct kpi_reader reader = {.snapshot = snapshot, .stop = arena->stop};
    struct kp_causes_req kept = *req;
    struct kpi_answer *answer;
    arena->owner = "EVIDENCE";
    kept.evidence = true;
    kp_status status = kpi_answer_make(&reader, &kept, arena, &answer, err);
    if (status != KP_OK)
        return status;
    if (row > answer->causes.list.count)
        return kp_error_set(err, KP_NOT_FOUND, "this answer has %u rows, there is no row %u",
                            answer->causes.list.count, row);
    status = kpi_evidence_rows(answer, row, arena, out, err);
    if (status == KP_OK)
        kpi_rows_read(*out, &reader);
    return status;
}
