/* SPDX-License-Identifier: Apache-2.0
 *
 * Which transaction an id means. The spans that carry the id lead to their traces; in each trace
 * the transaction is the tree below one root. A trace that carries one id belongs to it as a whole
 * (its root may lie above the span with the attribute); a trace that carries several, such as a
 * batch, is cut at the topmost spans of each. Several traces or several roots are several
 * transactions of one id: they are never merged, the request has to say which.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "causal/cursor.h"
#include "causal/span.h"
#include "causal/table.h"

#define TRACES_MAX   64 /* of one id */
#define LISTED_MAX   6  /* candidates named in an error */
#define NEAREST_MAX  3
#define NEAREST_ROWS 1000000 /* newest spans searched for similar ids */
#define TXN_MARGIN   KP_MIN_NS

/* Spans of one trace. */
struct trace {
    struct kpi_span **spans;
    uint32_t count;
};

/* ---------- roots ---------- */

static bool carries(const struct kpi_span *span, struct kp_str id)
{
    return span->txn.len > 0 && kp_str_equal(span->txn, id);
}

static bool trace_is_shared(const struct trace *trace, struct kp_str id)
{
    for (uint32_t i = 0; i < trace->count; i++)
        if (trace->spans[i]->txn.len > 0 && !carries(trace->spans[i], id))
            return true;
    return false;
}

static bool ancestor_carries(const struct kpi_world *world, const struct kpi_span *span,
                             struct kp_str id)
{
    uint32_t steps = 0;
    for (uint32_t up = span->up; up != KPI_NONE && steps < world->spans_count; steps++) {
        if (carries(&world->spans[up], id))
            return true;
        up = world->spans[up].up;
    }
    return false;
}

static bool is_root(const struct kpi_world *world, const struct trace *trace, uint32_t i,
                    struct kp_str id, bool shared)
{
    const struct kpi_span *span = trace->spans[i];
    if (shared)
        return carries(span, id) && !ancestor_carries(world, span, id);
    return span->up == KPI_NONE;
}

/* True when a is the better root: nobody above it, then earlier, longer, smaller id. */
static bool better_root(const struct kpi_span *a, const struct kpi_span *b)
{
    if ((a->parent.len == 0) != (b->parent.len == 0))
        return a->parent.len == 0;
    if (a->from != b->from)
        return a->from < b->from;
    if (a->to != b->to)
        return a->to > b->to;
    return kp_str_compare(a->id, b->id) < 0;
}

/* An orphan does not compete with a root that surrounds its start, or that has no parent at all. */
static bool is_orphan_of(const struct kpi_span *span, const struct kpi_span *root)
{
    return (root->parent.len == 0 && span->parent.len > 0) ||
           (span->from >= root->from && span->from < root->to && span->parent.len > 0);
}

static void txn_fill(struct kpi_txn *txn, const struct trace *trace, const struct kpi_span *root,
                     struct kp_str id, uint32_t orphans)
{
    *txn = (struct kpi_txn){.id = id,
                            .trace = root->trace,
                            .root_id = root->id,
                            .service = root->service,
                            .name = root->name,
                            .status_msg = root->status_msg,
                            .from = root->from,
                            .to = root->to,
                            .status = root->status,
                            .actor = root->actor,
                            .last = root->to,
                            .spans_count = trace->count,
                            .orphans = orphans};
    for (uint32_t i = 0; i < trace->count; i++)
        txn->last = KP_MAX(txn->last, trace->spans[i]->to);
}

/* Adds the transactions of this id in one trace to list (struct kpi_txn). */
static void trace_txns(const struct kpi_world *world, const struct trace *trace, struct kp_str id,
                       struct kpi_list *list)
{
    bool shared = trace_is_shared(trace, id);
    const struct kpi_span *best = NULL;
    uint32_t orphans = 0;
    for (uint32_t i = 0; i < trace->count; i++)
        if (is_root(world, trace, i, id, shared) &&
            (best == NULL || better_root(trace->spans[i], best)))
            best = trace->spans[i];
    for (uint32_t i = 0; best != NULL && i < trace->count; i++)
        orphans += trace->spans[i] != best && is_root(world, trace, i, id, shared) &&
                   is_orphan_of(trace->spans[i], best);
    for (uint32_t i = 0; best != NULL && i < trace->count; i++) {
        const struct kpi_span *span = trace->spans[i];
        if (span == best || (is_root(world, trace, i, id, shared) && !is_orphan_of(span, best)))
            txn_fill(kpi_list_add(list), trace, span, id, orphans);
    }
}

static int trace_compare(const void *a, const void *b)
{
    const struct kpi_span *x = *(struct kpi_span *const *)a, *y = *(struct kpi_span *const *)b;
    int order = kp_str_compare(x->trace, y->trace);
    if (order != 0)
        return order;
    return x < y ? -1 : x > y; /* world->spans is sorted by start */
}

static struct kpi_span **spans_by_trace(struct kpi_world *world)
{
    size_t bytes = (size_t)world->spans_count * sizeof(struct kpi_span *);
    struct kpi_span **spans = kp_arena_alloc(world->arena, bytes);
    for (uint32_t i = 0; spans != NULL && i < world->spans_count; i++)
        spans[i] = &world->spans[i];
    if (spans != NULL)
        qsort(spans, world->spans_count, sizeof(struct kpi_span *), trace_compare);
    return spans;
}

/* The next trace at or after *at of the sorted spans; false at the end. */
static bool trace_next(struct kpi_span **spans, uint32_t count, uint32_t *at, struct trace *out)
{
    if (*at >= count)
        return false;
    uint32_t first = *at;
    while (*at < count && kp_str_equal(spans[*at]->trace, spans[first]->trace))
        (*at)++;
    *out = (struct trace){spans + first, *at - first};
    return true;
}

static int txn_compare(const void *a, const void *b)
{
    const struct kpi_txn *x = a, *y = b;
    if (x->from != y->from)
        return x->from < y->from ? -1 : 1;
    int order = kp_str_compare(x->trace, y->trace);
    return order != 0 ? order : kp_str_compare(x->root_id, y->root_id);
}

/* ---------- an id that is not there ---------- */

struct nearest {
    struct kp_str id;
    uint64_t distance;
};

static bool as_number(struct kp_str id, int64_t *out)
{
    int64_t value = 0;
    for (uint32_t i = 0; i < id.len; i++) {
        if (id.ptr[i] < '0' || id.ptr[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, id.ptr[i] - '0', &value))
            return false;
    }
    *out = value;
    return id.len > 0;
}

/* Numbers are near numbers; everything else comes after them, by edit distance. */
static uint64_t id_distance(struct kp_str a, struct kp_str b)
{
    int64_t x, y;
    if (as_number(a, &x) && as_number(b, &y))
        return x > y ? (uint64_t)(x - y) : (uint64_t)(y - x);
    return (uint64_t)INT64_MAX + kp_str_distance(a, b);
}

static void nearest_add(struct nearest *nearest, uint32_t *count, struct kp_str wanted,
                        struct kp_str id, struct kp_arena *arena)
{
    uint64_t distance = id_distance(wanted, id);
    uint32_t at = *count;
    for (uint32_t i = 0; i < *count; i++)
        if (kp_str_equal(nearest[i].id, id))
            return;
    while (at > 0 &&
           (nearest[at - 1].distance > distance ||
            (nearest[at - 1].distance == distance && kp_str_compare(nearest[at - 1].id, id) > 0)))
        at--;
    if (at >= NEAREST_MAX)
        return;
    uint32_t last = KP_MIN(*count, (uint32_t)NEAREST_MAX - 1);
    memmove(&nearest[at + 1], &nearest[at], (last - at) * sizeof(*nearest));
    nearest[at] = (struct nearest){kp_arena_str(arena, id), distance};
    *count = last + 1;
}

static kp_status nearest_find(struct kpi_reader *reader, struct kp_str wanted,
                              struct kp_arena *arena, struct nearest *nearest, uint32_t *out_count,
                              struct kp_error *err)
{
    static const char *const cols[] = {"ts", "seq", "cpu", "actor", "txn", NULL};
    struct kpi_cursor_req req = {.stream = KP_S_SPANS,
                                 .from = KP_TIME_MIN,
                                 .to = KP_TIME_MAX,
                                 .cols = cols,
                                 .descending = true};
    struct kpi_cursor cursor;
    uint32_t count = 0;
    kp_status status = kpi_cursor_open(reader, &req, &cursor, err);
    if (status != KP_OK)
        return status;
    for (uint32_t rows = 0; rows < NEAREST_ROWS; rows++) {
        status = kpi_cursor_next(&cursor, err);
        if (status != KP_OK)
            break;
        struct kp_str id = kpi_cursor_str(&cursor, KP_COL_FIRST);
        if (id.len > 0)
            nearest_add(nearest, &count, wanted, id, arena);
    }
    kpi_cursor_close(&cursor);
    *out_count = count;
    return status == KP_END ? KP_OK : status;
}

static void hosts_text(struct kp_snapshot *snapshot, char *out, size_t size)
{
    const struct kp_actors *actors = kp_snapshot_actors(snapshot);
    struct kp_str shown[4];
    uint32_t count = 0;
    size_t used = 0;
    out[0] = '\0';
    for (kp_actor_id id = 1; id < kp_actors_count(actors) && count < KP_ARRAY_LEN(shown); id++) {
        struct kp_str host = kp_actors_get(actors, id)->host;
        bool known = host.len == 0;
        for (uint32_t i = 0; i < count; i++)
            known |= kp_str_equal(shown[i], host);
        if (known)
            continue;
        shown[count++] = host;
        int n = snprintf(out + used, size - used, "%s%.*s", used > 0 ? "," : "", (int)host.len,
                         host.ptr);
        used = n < 0 ? used : KP_MIN(used + (size_t)n, size - 1);
    }
}

/* Why there is nothing older: it was never recorded, or retention took it. */
static void floor_text(const struct kp_snapshot *snapshot, char *out, size_t size)
{
    struct kp_dropped dropped;
    char to[KP_TIME_TEXT_MAX];
    kp_snapshot_dropped(snapshot, &dropped);
    if (dropped.segments == 0) {
        snprintf(out, size, "nothing older is kept");
        return;
    }
    kp_time_format(dropped.to, to);
    snprintf(out, size, "retention floor %s: %llu rows up to there were dropped", to,
             (unsigned long long)dropped.rows);
}

static kp_status no_such_txn(struct kpi_reader *reader, struct kp_str id, struct kp_arena *arena,
                             struct kp_error *err)
{
    struct nearest nearest[NEAREST_MAX + 1];
    uint32_t count = 0;
    kp_status status = nearest_find(reader, id, arena, nearest, &count, err);
    if (status != KP_OK)
        return status;
    kp_time from, to;
    char from_text[KP_TIME_TEXT_MAX], to_text[KP_TIME_TEXT_MAX], hosts[128], floor[128];
    kp_snapshot_range(reader->snapshot, &from, &to);
    hosts_text(reader->snapshot, hosts, sizeof(hosts));
    if (from > to) {
        kp_error_set(err, KP_NOT_FOUND, "no such txn %.*s: the store is empty", (int)id.len,
                     id.ptr);
        return KP_NOT_FOUND;
    }
    kp_time_format(from, from_text);
    kp_time_format(to, to_text);
    floor_text(reader->snapshot, floor, sizeof(floor));
    kp_error_set(err, KP_NOT_FOUND, "no such txn %.*s: searched %s .. %s (%s)%s%s", (int)id.len,
                 id.ptr, from_text, to_text, floor, hosts[0] == '\0' ? "" : ", hosts ", hosts);
    char text[KP_ERROR_TEXT_MAX] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < count && used + 1 < sizeof(text); i++) {
        int n = snprintf(text + used, sizeof(text) - used, "%s%.*s", i > 0 ? ", " : "",
                         (int)nearest[i].id.len, nearest[i].id.ptr);
        used += n < 0 ? 0 : (size_t)n;
    }
    if (count == 0)
        kp_error_hint(err, "no span in this store carries a transaction id");
    else
        kp_error_hint(err, "nearest ids: %s", text);
    return KP_NOT_FOUND;
}

/* ---------- finding ---------- */

/* Traces with a span whose column (txn, span_id) is this id. */
static kp_status traces_of(struct kpi_reader *reader, const char *column, struct kp_str id,
                           struct kp_arena *arena, struct kp_str *traces, uint32_t *out_count,
                           struct kp_error *err)
{
    static const char *const cols[] = {"ts", "seq", "cpu", "actor", "trace_id", NULL};
    struct kpi_cursor_req req = {.stream = KP_S_SPANS,
                                 .from = KP_TIME_MIN,
                                 .to = KP_TIME_MAX,
                                 .cols = cols,
                                 .key = column,
                                 .strs = &id,
                                 .strs_count = 1};
    struct kpi_cursor cursor;
    uint32_t count = 0;
    kp_status status = kpi_cursor_open(reader, &req, &cursor, err);
    if (status != KP_OK)
        return status;
    while ((status = kpi_cursor_next(&cursor, err)) == KP_OK && count < TRACES_MAX) {
        struct kp_str trace = kpi_cursor_str(&cursor, KP_COL_FIRST);
        bool known = false;
        for (uint32_t i = 0; i < count; i++)
            known |= kp_str_equal(traces[i], trace);
        if (!known)
            traces[count++] = kp_arena_str(arena, trace);
    }
    kpi_cursor_close(&cursor);
    *out_count = count;
    return status == KP_END ? KP_OK : status;
}

static kp_status ambiguous(const struct kpi_txn *txns, uint32_t count,
                           const struct kp_causes_req *req, struct kp_error *err)
{
    const char *word = req->root == KP_ROOT_SPAN ? "span" : "txn";
    char list[KP_ERROR_TEXT_MAX] = "";
    size_t used = 0;
    if (req->pick > count)
        kp_error_set(err, KP_NOT_FOUND, "%s %.*s has %u transactions, there is no #%u", word,
                     (int)req->txn.len, req->txn.ptr, count, req->pick);
    else if (req->at != KP_TIME_MIN)
        kp_error_set(err, KP_NOT_FOUND, "no single %s %.*s covers that instant", word,
                     (int)req->txn.len, req->txn.ptr);
    else
        kp_error_set(err, KP_INVALID, "%s %.*s means %u transactions: say which", word,
                     (int)req->txn.len, req->txn.ptr, count);
    for (uint32_t i = 0; i < KP_MIN(count, (uint32_t)LISTED_MAX) && used + 1 < sizeof(list); i++) {
        char start[KP_TIME_TEXT_MAX], dur[KP_DUR_TEXT_MAX];
        kp_time_format(txns[i].from, start);
        kp_dur_format(txns[i].to - txns[i].from, dur);
        int n = snprintf(list + used, sizeof(list) - used, "%s#%u %s %.*s %s", i > 0 ? "; " : "",
                         i + 1, start, (int)txns[i].name.len, txns[i].name.ptr, dur);
        used += n < 0 ? 0 : (size_t)n;
    }
    kp_error_hint(err, "%s", list);
    return req->pick > count || req->at != KP_TIME_MIN ? KP_NOT_FOUND : KP_INVALID;
}

static bool is_on_host(const struct kpi_world *world, const struct kpi_txn *txn,
                       const struct kp_causes_req *req)
{
    return req->host.len == 0 ||
           kp_str_equal(kp_actors_get(world->actors, txn->actor)->host, req->host);
}

/* Keeps those that ran on the host asked for; the new count. */
static uint32_t keep_host(const struct kpi_world *world, struct kpi_txn *txns, uint32_t count,
                          const struct kp_causes_req *req)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++)
        if (is_on_host(world, &txns[i], req))
            txns[kept++] = txns[i];
    return kept;
}

static const struct kpi_txn *choose(const struct kpi_txn *txns, uint32_t count,
                                    const struct kp_causes_req *req)
{
    if (req->pick > 0)
        return req->pick <= count ? &txns[req->pick - 1] : NULL;
    const struct kpi_txn *found = NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (req->at != KP_TIME_MIN && (txns[i].from > req->at || txns[i].to < req->at))
            continue;
        if (found != NULL)
            return NULL;
        found = &txns[i];
    }
    return found;
}

kp_status kpi_txn_find(struct kpi_reader *reader, const struct kp_causes_req *req,
                       struct kp_arena *arena, struct kpi_txn *out, struct kp_error *err)
{
    struct kp_str traces[TRACES_MAX];
    uint32_t traces_count = 0, at = 0;
    kp_status status = traces_of(reader, "txn", req->txn, arena, traces, &traces_count, err);
    if (status != KP_OK)
        return status;
    if (traces_count == 0)
        return no_such_txn(reader, req->txn, arena, err);
    struct kpi_world *world;
    status = kpi_world_bare(reader, arena, &world, err);
    if (status == KP_OK)
        status = kpi_spans_load(world, KP_TIME_MIN, KP_TIME_MAX, traces, traces_count, err);
    if (status != KP_OK)
        return status;
    kpi_spans_finish(world);
    struct kpi_list list;
    struct trace trace;
    kpi_list_init(&list, arena, sizeof(struct kpi_txn));
    struct kpi_span **spans = spans_by_trace(world);
    while (spans != NULL && trace_next(spans, world->spans_count, &at, &trace))
        trace_txns(world, &trace, kp_arena_str(arena, req->txn), &list);
    struct kpi_txn *txns = kpi_list_flat(&list);
    if (spans == NULL || kpi_world_failed(world) || list.failed)
        return kp_arena_error(arena, err);
    if (txns == NULL) /* the id is there, but in a loop of parents: no span is a root */
        return kp_error_set(err, KP_INVALID, "txn %.*s: its spans have no root", (int)req->txn.len,
                            req->txn.ptr);
    qsort(txns, list.count, sizeof(*txns), txn_compare);
    uint32_t count = keep_host(world, txns, list.count, req);
    if (count == 0)
        return kp_error_set(err, KP_NOT_FOUND, "txn %.*s did not begin on host %.*s",
                            (int)req->txn.len, req->txn.ptr, (int)req->host.len, req->host.ptr);
    const struct kpi_txn *chosen = choose(txns, count, req);
    if (chosen == NULL)
        return ambiguous(txns, count, req, err);
    *out = *chosen;
    return KP_OK;
}

/* ---------- spans ---------- */

static const struct kpi_span *span_of(const struct kpi_world *world, const struct trace *trace,
                                      const struct kp_causes_req *req)
{
    for (uint32_t i = 0; i < trace->count; i++) {
        struct kp_str host = kp_actors_get(world->actors, trace->spans[i]->actor)->host;
        if (kp_str_equal(trace->spans[i]->id, req->txn) &&
            (req->host.len == 0 || kp_str_equal(host, req->host)))
            return trace->spans[i];
    }
    return NULL;
}

kp_status kpi_txn_of_span(struct kpi_reader *reader, const struct kp_causes_req *req,
                          struct kp_arena *arena, struct kpi_txn *out, struct kp_error *err)
{
    struct kp_str traces[TRACES_MAX];
    uint32_t traces_count = 0, at = 0;
    struct kpi_world *world;
    struct kpi_list list;
    struct trace trace;
    kp_status status = traces_of(reader, "span_id", req->txn, arena, traces, &traces_count, err);
    if (status == KP_OK)
        status = kpi_world_bare(reader, arena, &world, err);
    if (status == KP_OK && traces_count > 0)
        status = kpi_spans_load(world, KP_TIME_MIN, KP_TIME_MAX, traces, traces_count, err);
    if (status != KP_OK)
        return status;
    kpi_spans_finish(world);
    kpi_list_init(&list, arena, sizeof(struct kpi_txn));
    struct kpi_span **spans = traces_count == 0 ? NULL : spans_by_trace(world);
    while (spans != NULL && trace_next(spans, world->spans_count, &at, &trace)) {
        const struct kpi_span *span = span_of(world, &trace, req);
        if (span != NULL)
            txn_fill(kpi_list_add(&list), &trace, span, span->txn, 0);
    }
    struct kpi_txn *txns = kpi_list_flat(&list);
    if (kpi_world_failed(world) || list.failed)
        return kp_arena_error(arena, err);
    if (txns == NULL) {
        kp_error_set(err, KP_NOT_FOUND, "no such span %.*s", (int)KP_MIN(req->txn.len, 60u),
                     req->txn.ptr);
        kp_error_hint(err, "spans | where trace_id == '...' | project span_id, service, name, dur");
        return KP_NOT_FOUND;
    }
    qsort(txns, list.count, sizeof(*txns), txn_compare);
    const struct kpi_txn *chosen = choose(txns, list.count, req);
    if (chosen == NULL)
        return ambiguous(txns, list.count, req, err);
    *out = *chosen;
    return KP_OK;
}

/* ---------- the table ---------- */

enum txn_column {
    TXN_TS,
    TXN_START,
    TXN_DUR,
    TXN_TXN,
    TXN_TRACE,
    TXN_SERVICE,
    TXN_NAME,
    TXN_STATUS,
    TXN_STATUS_MSG,
    TXN_SPANS,
    TXN_HOST,
    TXN_PID,
    TXN_TID
};

static const struct kp_field txn_fields[] = {
    [TXN_TS] = {KP_STR("ts"), KP_TYPE_TIME, KP_UNIT_NS},
    [TXN_START] = {KP_STR("start"), KP_TYPE_TIME, KP_UNIT_NS},
    [TXN_DUR] = {KP_STR("dur"), KP_TYPE_DUR, KP_UNIT_NS},
    [TXN_TXN] = {KP_STR("txn"), KP_TYPE_STR, KP_UNIT_ID},
    [TXN_TRACE] = {KP_STR("trace_id"), KP_TYPE_STR, KP_UNIT_ID},
    [TXN_SERVICE] = {KP_STR("service"), KP_TYPE_STR, KP_UNIT_NONE},
    [TXN_NAME] = {KP_STR("name"), KP_TYPE_STR, KP_UNIT_NONE},
    [TXN_STATUS] = {KP_STR("status"), KP_TYPE_STR, KP_UNIT_NONE},
    [TXN_STATUS_MSG] = {KP_STR("status_msg"), KP_TYPE_STR, KP_UNIT_NONE},
    [TXN_SPANS] = {KP_STR("spans_count"), KP_TYPE_I64, KP_UNIT_COUNT},
    [TXN_HOST] = {KP_STR("host"), KP_TYPE_STR, KP_UNIT_NONE},
    [TXN_PID] = {KP_STR("pid"), KP_TYPE_I64, KP_UNIT_ID},
    [TXN_TID] = {KP_STR("tid"), KP_TYPE_I64, KP_UNIT_ID},
};
static const struct kp_schema txn_schema = {txn_fields, KP_ARRAY_LEN(txn_fields)};

const struct kp_schema *kp_txn_schema(void)
{
    return &txn_schema;
}

struct kp_str kpi_txn_status(const struct kpi_txn *txn)
{
    const struct kp_stream *spans = kp_stream_by_number(KP_S_SPANS);
    return kp_enum_name(&spans->stored[kp_stream_stored(spans, "status")], txn->status);
}

static void txn_row(const struct kpi_world *world, const struct kpi_txn *txn, struct kp_rows *rows)
{
    const struct kp_actor *actor = kp_actors_get(world->actors, txn->actor);
    kpi_rows_add(rows);
    kpi_rows_i64(rows, TXN_TS, txn->to);
    kpi_rows_i64(rows, TXN_START, txn->from);
    kpi_rows_i64(rows, TXN_DUR, txn->to - txn->from);
    kpi_rows_str(rows, TXN_TXN, txn->id);
    kpi_rows_str(rows, TXN_TRACE, txn->trace);
    kpi_rows_str(rows, TXN_SERVICE, txn->service);
    kpi_rows_str(rows, TXN_NAME, txn->name);
    kpi_rows_str(rows, TXN_STATUS, kpi_txn_status(txn));
    kpi_rows_str(rows, TXN_STATUS_MSG, txn->status_msg);
    kpi_rows_i64(rows, TXN_SPANS, txn->spans_count);
    kpi_rows_str(rows, TXN_HOST, actor->host);
    kpi_rows_i64(rows, TXN_PID, actor->pid);
    kpi_rows_i64(rows, TXN_TID, actor->tid);
}

/* Every id that the trace carries, once. */
static void trace_ids(const struct kpi_world *world, const struct trace *trace,
                      struct kpi_list *list)
{
    for (uint32_t i = 0; i < trace->count; i++) {
        bool known = trace->spans[i]->txn.len == 0;
        for (uint32_t j = 0; j < i && !known; j++)
            known = carries(trace->spans[j], trace->spans[i]->txn);
        if (!known)
            trace_txns(world, trace, trace->spans[i]->txn, list);
    }
}

/* ---------- many at once ---------- */

#define SET_KEYS_MAX                                                            \
    64 /* ids looked up one by one; more are picked from all spans of the range \
        */

/* Ids of a set by hash, open addressing. */
struct id_set {
    const struct kp_str *ids;
    uint32_t *slots; /* 1 + index */
    uint32_t capacity;
};

static bool id_set_make(struct id_set *set, const struct kp_txn_set *from, struct kp_arena *arena)
{
    set->ids = from->ids;
    for (set->capacity = 16; set->capacity < from->count * 2;)
        set->capacity *= 2;
    set->slots = kp_arena_zalloc(arena, set->capacity, sizeof(*set->slots));
    for (uint32_t i = 0; set->slots != NULL && i < from->count; i++) {
        uint64_t at = kp_hash64(from->ids[i].ptr, from->ids[i].len, 0);
        while (set->slots[at & (set->capacity - 1)] != 0)
            at++;
        set->slots[at & (set->capacity - 1)] = i + 1;
    }
    return set->slots != NULL;
}

static bool id_set_has(const struct id_set *set, struct kp_str id)
{
    uint64_t at = kp_hash64(id.ptr, id.len, 0);
    for (;; at++) {
        uint32_t slot = set->slots[at & (set->capacity - 1)];
        if (slot == 0)
            return false;
        if (kp_str_equal(set->ids[slot - 1], id))
            return true;
    }
}

/* The spans that can belong to the set: of the traces of a few ids, or all of its range. */
static kp_status set_spans(struct kpi_world *world, const struct kp_txn_set *set,
                           struct kp_error *err)
{
    struct kp_str *traces;
    uint32_t count = 0;
    if (set->ids == NULL || set->count > SET_KEYS_MAX)
        return kpi_spans_load(world, kpi_time_add(set->from, -TXN_MARGIN),
                              kpi_time_add(set->to, TXN_MARGIN), NULL, 0, err);
    traces = kp_arena_alloc(world->arena, (size_t)(set->count + 1) * TRACES_MAX * sizeof(*traces));
    if (traces == NULL)
        return kp_arena_error(world->arena, err);
    for (uint32_t i = 0; i < set->count; i++) {
        uint32_t more = 0;
        kp_status status =
            traces_of(world->reader, "txn", set->ids[i], world->arena, traces + count, &more, err);
        if (status != KP_OK)
            return status;
        count += more;
    }
    if (count == 0)
        return KP_OK;
    return kpi_spans_load(world, KP_TIME_MIN, KP_TIME_MAX, traces, count, err);
}

kp_status kpi_txns_find(struct kpi_reader *reader, const struct kp_txn_set *set,
                        struct kp_arena *arena, struct kpi_txn **out, uint32_t *out_count,
                        struct kp_error *err)
{
    struct kpi_world *world;
    struct id_set ids;
    struct kpi_list list;
    struct trace trace;
    uint32_t at = 0, kept = 0;
    kp_status status = kpi_world_bare(reader, arena, &world, err);
    if (status == KP_OK)
        status = set_spans(world, set, err);
    if (status != KP_OK)
        return status;
    kpi_spans_finish(world);
    kpi_list_init(&list, arena, sizeof(struct kpi_txn));
    struct kpi_span **spans = spans_by_trace(world);
    if (spans == NULL || !id_set_make(&ids, set, arena))
        return kp_arena_error(arena, err);
    while (trace_next(spans, world->spans_count, &at, &trace))
        trace_ids(world, &trace, &list);
    struct kpi_txn *txns = kpi_list_flat(&list);
    if (kpi_world_failed(world) || list.failed)
        return kp_arena_error(arena, err);
    for (uint32_t i = 0; i < list.count; i++)
        if (set->ids == NULL ? txns[i].to >= set->from && txns[i].from <= set->to
                             : id_set_has(&ids, txns[i].id))
            txns[kept++] = txns[i];
    if (kept > 1)
        qsort(txns, kept, sizeof(*txns), txn_compare);
    *out = txns;
    *out_count = kept;
    return KP_OK;
}

kp_status kp_txn_open(struct kp_snapshot *snapshot, kp_time from, kp_time to,
                      struct kp_arena *arena, struct kp_rows **out, struct kp_error *err)
{
    struct kpi_reader reader = {.snapshot = snapshot, .stop = arena->stop};
    struct kpi_world *world;
    struct kp_rows *rows = NULL;
    kp_status status = kpi_world_bare(&reader, arena, &world, err);
    if (status == KP_OK)
        status = kpi_spans_load(world, kpi_time_add(from, -TXN_MARGIN),
                                kpi_time_add(to, TXN_MARGIN), NULL, 0, err);
    if (status != KP_OK)
        return status;
    kpi_spans_finish(world);
    struct kpi_list list;
    struct trace trace;
    uint32_t at = 0;
    kpi_list_init(&list, arena, sizeof(struct kpi_txn));
    struct kpi_span **spans = spans_by_trace(world);
    if (spans == NULL || kpi_rows_open(arena, &txn_schema, &rows) != KP_OK)
        return kp_arena_error(arena, err);
    while (trace_next(spans, world->spans_count, &at, &trace))
        trace_ids(world, &trace, &list);
    struct kpi_txn *txns = kpi_list_flat(&list);
    if (txns != NULL)
        qsort(txns, list.count, sizeof(*txns), txn_compare);
    for (uint32_t i = 0; txns != NULL && i < list.count; i++)
        if (txns[i].to >= from && txns[i].to <= to)
            txn_row(world, &txns[i], rows);
    if (kpi_world_failed(world) || list.failed)
        return kp_arena_error(arena, err);
    kpi_rows_read(rows, &reader);
    status = kpi_rows_check(rows, err);
    if (status == KP_OK)
        *out = rows;
    return status;
}
