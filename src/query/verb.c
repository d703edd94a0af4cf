/* SPDX-License-Identifier: Apache-2.0
 *
 * Asks src/causal for the answer of a verb. Where a verb takes a table of transactions (CULPRITS,
 * BASELINE), that table is run first; its column `txn` names them, and `start` and `ts`, if it has
 * them, say where their spans lie.
 */
#include "query/verb.h"
#include "query/worker.h"

#include <inttypes.h>

#define TXNS_MAX 1000000

static const struct {
    const char *name;
    const struct kp_schema *(*schema)(void);
} verbs[KPI_VERBS] = {
    [KPI_VERB_CAUSES] = {"CAUSES", kp_causes_schema},
    [KPI_VERB_EVIDENCE] = {"EVIDENCE", kp_evidence_schema},
    [KPI_VERB_ENABLERS] = {"CAUSES", kp_enablers_schema},
    [KPI_VERB_CHAIN] = {"CHAIN", kp_chain_schema},
    [KPI_VERB_BLOCKERS] = {"BLOCKERS", kp_blockers_schema},
    [KPI_VERB_EFFECTS] = {"EFFECTS", kp_effects_schema},
    [KPI_VERB_CULPRITS] = {"CULPRITS", kp_culprits_schema},
    [KPI_VERB_DIFF] = {"DIFF", kp_diff_schema},
};

const char *kpi_verb_name(enum kpi_verb_kind kind)
{
    return verbs[kind].name;
}

const struct kp_schema *kpi_verb_schema(enum kpi_verb_kind kind)
{
    return verbs[kind].schema();
}

/* ---------- tables of transactions ---------- */

static int column_of(const struct kpi_op *op, const char *name, enum kp_type type)
{
    int at = kp_schema_find(&op->schema, kp_str_from(name));
    return at >= 0 && op->schema.fields[at].type == type ? at : -1;
}

void kpi_verb_need(const struct kpi_verb *verb)
{
    for (uint32_t i = 0; i < verb->inputs_count; i++) {
        struct kpi_op *input = verb->inputs[i];
        int cols[] = {column_of(input, "txn", KP_TYPE_STR), column_of(input, "start", KP_TYPE_TIME),
                      column_of(input, "ts", KP_TYPE_TIME)};
        for (size_t c = 0; c < KP_ARRAY_LEN(cols); c++)
            if (cols[c] >= 0)
                input->need[cols[c]] = true;
    }
}

struct ids {
    struct kpi_ctx *ctx;
    struct kp_str *list;
    uint32_t count, capacity;
    kp_time from, to;
};

static bool ids_add(struct ids *ids, struct kp_str id)
{
    if (ids->count == TXNS_MAX) {
        struct kpi_place nowhere = {0};
        kpi_fail(ids->ctx, KP_LIMIT, nowhere, "more than %d transactions", TXNS_MAX);
        kpi_hint(ids->ctx, "narrow the table by ts, or take fewer");
        return false;
    }
    if (ids->count == ids->capacity) {
        uint32_t capacity = ids->capacity == 0 ? 256 : ids->capacity * 2;
        struct kp_str *list = kpi_new(ids->ctx, capacity, sizeof(*list));
        if (list == NULL)
            return false;
        if (ids->count > 0)
            memcpy(list, ids->list, ids->count * sizeof(*list));
        ids->list = list;
        ids->capacity = capacity;
    }
    struct kp_str copy = kp_arena_str(ids->ctx->arena, id);
    if (copy.ptr == NULL)
        return kpi_fail_memory(ids->ctx), false;
    ids->list[ids->count++] = copy;
    return true;
}

static void range_add(struct ids *ids, const struct kp_batch *batch, int start, int ts,
                      uint32_t row)
{
    ids->from = start < 0 || kp_vec_null(&batch->cols[start], row)
                    ? KP_TIME_MIN
                    : KP_MIN(ids->from, batch->cols[start].i64[row]);
    ids->to = ts < 0 || kp_vec_null(&batch->cols[ts], row)
                  ? KP_TIME_MAX
                  : KP_MAX(ids->to, batch->cols[ts].i64[row]);
}

/* Runs a table to its end; the transactions it names. */
static kp_status read_txns(struct kpi_run *run, struct kpi_op *input, struct kp_txn_set *out)
{
    struct ids ids = {.ctx = &run->ctx, .from = KP_TIME_MAX, .to = KP_TIME_MIN};
    int txn = column_of(input, "txn", KP_TYPE_STR);
    int start = column_of(input, "start", KP_TYPE_TIME), ts = column_of(input, "ts", KP_TYPE_TIME);
    const struct kp_batch *batch;
    kp_status status;
    while ((status = kpi_op_next(input, &batch)) == KP_OK) {
        for (uint32_t i = 0; i < kp_batch_count(batch); i++) {
            uint32_t row = kp_batch_row(batch, i);
            struct kp_str id = kp_vec_str(&batch->cols[txn], row);
            if (id.len == 0)
                continue;
            if (!ids_add(&ids, id))
                return run->ctx.status;
            range_add(&ids, batch, start, ts, row);
        }
    }
    if (status != KP_END)
        return status;
    static const struct kp_str none[1];
    *out = (struct kp_txn_set){ids.count > 0 ? ids.list : none, ids.count, ids.from, ids.to};
    return KP_OK;
}

/* ---------- open ---------- */

static kp_status open_culprits(struct kpi_run *run, struct kpi_verb *verb, struct kp_rows **out)
{
    struct kp_txn_set sets[2];
    for (uint32_t i = 0; i < verb->inputs_count; i++) {
        kp_status status = read_txns(run, verb->inputs[i], &sets[i]);
        if (status != KP_OK)
            return status;
    }
    return kp_culprits_open(run->snapshot, &sets[0], verb->inputs_count == 2 ? &sets[1] : NULL,
                            &run->arena, out, run->ctx.err);
}

static kp_status read_baseline(struct kpi_run *run, struct kpi_verb *verb)
{
    if (verb->inputs_count == 0)
        return KP_OK;
    verb->req.baseline = verb->other.baseline = &verb->baseline;
    return read_txns(run, verb->inputs[0], &verb->baseline);
}

kp_status kpi_verb_open(struct kpi_run *run, struct kpi_verb *verb, struct kp_rows **out)
{
    struct kp_snapshot *snapshot = run->snapshot;
    struct kp_arena *arena = &run->arena;
    struct kp_error *err = run->ctx.err;
    if (verb->kind == KPI_VERB_CULPRITS)
        return open_culprits(run, verb, out);
    kp_status status = read_baseline(run, verb);
    verb->req.threads = verb->other.threads = kpi_run_threads(run);
    if (status != KP_OK)
        return status;
    switch (verb->kind) {
    case KPI_VERB_EVIDENCE:
        return kp_evidence_open(snapshot, &verb->req, verb->row, arena, out, err);
    case KPI_VERB_ENABLERS:
        return kp_enablers_open(snapshot, &verb->req, arena, out, err);
    case KPI_VERB_CHAIN:
        return kp_chain_open(snapshot, &verb->req, verb->instant, arena, out, err);
    case KPI_VERB_BLOCKERS:
        return kp_blockers_open(snapshot, &verb->req, arena, out, err);
    case KPI_VERB_EFFECTS:
        return kp_effects_open(snapshot, &verb->req, arena, out, err);
    case KPI_VERB_DIFF:
        return kp_diff_open(snapshot, &verb->req, &verb->other, arena, out, err);
    default:
        return kp_causes_open(snapshot, &verb->req, arena, out, err);
    }
}

/* ---------- explain ---------- */

static const char *const root_words[] = {
    [KP_ROOT_TXN] = "txn",     [KP_ROOT_SPAN] = "span", [KP_ROOT_THREAD] = "thread",
    [KP_ROOT_PROCESS] = "pid", [KP_ROOT_WAIT] = "wait", [KP_ROOT_EVENT] = "event",
    [KP_ROOT_IO] = "io",
};

static void describe_time(struct kp_buf *out, const char *text, kp_time time)
{
    char at[KP_TIME_TEXT_MAX];
    kp_time_format(time, at);
    kp_buf_printf(out, "%s%s", text, at);
}

static void describe_dur(struct kp_buf *out, const char *before, kp_dur dur, const char *after)
{
    char text[KP_DUR_TEXT_MAX];
    kp_dur_format(dur, text);
    kp_buf_printf(out, "%s%s%s", before, text, after);
}

static void describe_root(const struct kp_causes_req *req, struct kp_buf *out)
{
    kp_buf_printf(out, "of %s %.*s", root_words[req->root], (int)req->txn.len, req->txn.ptr);
    if (req->host.len > 0)
        kp_buf_printf(out, " on host %.*s", (int)req->host.len, req->host.ptr);
    if (req->from <= req->to && req->root != KP_ROOT_TXN) {
        describe_time(out, " between ", req->from);
        describe_time(out, " and ", req->to);
    }
}

static void describe_compared(const struct kpi_verb *verb, struct kp_buf *out)
{
    const struct kp_causes_req *req = &verb->req;
    bool compared = req->root == KP_ROOT_TXN || req->root == KP_ROOT_SPAN;
    if (!compared || verb->kind == KPI_VERB_CHAIN || req->oracle != KP_ORACLE_NONE)
        return;
    if (verb->inputs_count > 0)
        kp_buf_text(out, ", compared with the transactions of a table");
    else
        kp_buf_text(out,
                    req->baseline_none ? ", no baseline" : ", compared with like transactions");
    if (req->baseline_last > 0)
        describe_dur(out, " of the last ", req->baseline_last, "");
}

static void describe_options(const struct kpi_verb *verb, struct kp_buf *out)
{
    const struct kp_causes_req *req = &verb->req;
    if (req->min > 0)
        describe_dur(out, ", rows of ", req->min, " and more");
    if (req->at != KP_TIME_MIN)
        describe_time(out, ", the one at ", req->at);
    if (req->pick != 0)
        kp_buf_printf(out, ", number %" PRIu32, req->pick);
    if (verb->row != 0)
        kp_buf_printf(out, ", row %" PRIu32, verb->row);
    if (req->depth > 1)
        kp_buf_printf(out, ", to depth %" PRIu32, req->depth);
    if (req->strong)
        kp_buf_text(out, ", over strong edges only");
    if (req->oracle != KP_ORACLE_NONE)
        kp_buf_printf(out, ", by the rules of %s", kp_oracle_name(req->oracle));
    if (req->parts)
        kp_buf_text(out, ", a row for each stretch");
}

void kpi_verb_describe(const struct kpi_verb *verb, struct kp_buf *out)
{
    const struct kp_causes_req *req = &verb->req;
    kp_dur within = req->within < 0 ? 2 * KP_SEC : req->within;
    if (verb->kind == KPI_VERB_CULPRITS) {
        kp_buf_text(out, verb->inputs_count == 2 ? "of the transactions of one table less another"
                                                 : "of the transactions of a table");
        return;
    }
    describe_root(req, out);
    if (verb->kind == KPI_VERB_DIFF) {
        kp_buf_text(out, " against that ");
        describe_root(&verb->other, out);
    }
    if (verb->kind == KPI_VERB_CHAIN)
        describe_time(out, " at ", verb->instant);
    if (verb->kind == KPI_VERB_EFFECTS)
        describe_dur(out, ", on transactions up to ", within, " after it");
    else
        describe_dur(out, ", causes up to ", within, " before it");
    describe_options(verb, out);
    describe_compared(verb, out);
}
