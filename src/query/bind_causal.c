/* SPDX-License-Identifier: Apache-2.0
 *
 * Causal verbs: roots, options and tables of transactions to a bound verb. A root or an option that
 * a verb cannot have is refused at its place, with what it can have.
 */
#include <stdio.h>

#include "base/assert.h"
#include "build/gen/query.h"
#include "query/plan.h"
#include "query/verb.h"

#define DEPTH_MAX 64

/* ---------- roots ---------- */

/* Bits of kinds of roots. */
#define ROOT(kind)   (1u << KP_ROOT_##kind)
#define ROOTS_WALKED (ROOT(TXN) | ROOT(SPAN) | ROOT(THREAD) | ROOT(WAIT))

static const struct {
    int word;
    enum kp_root_kind kind;
    const char *name;
} root_words[] = {
    {TXN, KP_ROOT_TXN, "txn"},     {SPAN, KP_ROOT_SPAN, "span"}, {THREAD, KP_ROOT_THREAD, "thread"},
    {PID, KP_ROOT_PROCESS, "pid"}, {WAIT, KP_ROOT_WAIT, "wait"}, {EVENT, KP_ROOT_EVENT, "event"},
    {IO, KP_ROOT_IO, "io"},
};

static const struct verb_word {
    enum kpi_source_kind source;
    enum kpi_verb_kind verb;
    uint32_t roots;
    const char *hint;
} verb_words[] = {
    {KPI_SOURCE_CAUSES, KPI_VERB_CAUSES, ROOTS_WALKED | ROOT(EVENT),
     "CAUSES OF txn, span, thread, wait or event"},
    {KPI_SOURCE_EVIDENCE, KPI_VERB_EVIDENCE, ROOTS_WALKED, "EVIDENCE OF txn, span, thread or wait"},
    {KPI_SOURCE_CHAIN, KPI_VERB_CHAIN, ROOTS_WALKED, "CHAIN OF txn, span, thread or wait"},
    {KPI_SOURCE_BLOCKERS, KPI_VERB_BLOCKERS, ROOTS_WALKED, "BLOCKERS OF txn, span, thread or wait"},
    {KPI_SOURCE_EFFECTS, KPI_VERB_EFFECTS, ROOT(EVENT) | ROOT(IO) | ROOT(THREAD) | ROOT(PROCESS),
     "EFFECTS OF event, io, thread or pid; CAUSES goes the other way"},
    {KPI_SOURCE_CULPRITS, KPI_VERB_CULPRITS, 0, ""},
    {KPI_SOURCE_DIFF, KPI_VERB_DIFF, ROOT(TXN) | ROOT(SPAN), "DIFF CAUSES OF txn A VS txn B"},
};

static const struct verb_word *verb_of(const struct kpi_source *source)
{
    const struct verb_word *word = verb_words;
    while (word->source != source->kind)
        word++;
    return word;
}

static int64_t number_of(struct kp_str text)
{
    int64_t value = 0;
    for (uint32_t i = 0; i < text.len; i++)
        if (text.ptr[i] < '0' || text.ptr[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, text.ptr[i] - '0', &value))
            return 0;
    return value;
}

static bool bind_between(struct kpi_bind *bind, const struct kpi_root *root,
                         struct kp_causes_req *req)
{
    struct kpi_value from, to;
    bool timed = req->root == KP_ROOT_THREAD || req->root == KP_ROOT_PROCESS;
    req->from = KP_TIME_MAX;
    req->to = KP_TIME_MIN;
    if (root->from == NULL)
        return true;
    if (!timed) {
        kpi_fail(bind->ctx, KP_INVALID, root->from->place, "BETWEEN belongs to thread and pid");
        kpi_hint(bind->ctx, "this root has a time of its own; leave it out");
        return false;
    }
    if (!kpi_bind_constant(bind, root->from, KP_TYPE_TIME, "BETWEEN", &from) ||
        !kpi_bind_constant(bind, root->to, KP_TYPE_TIME, "AND", &to))
        return false;
    if (from.i64 > to.i64) {
        kpi_fail(bind->ctx, KP_INVALID, root->to->place, "BETWEEN ends before it begins");
        return false;
    }
    req->from = from.i64;
    req->to = to.i64;
    return true;
}

static bool bind_root(struct kpi_bind *bind, const struct verb_word *verb,
                      const struct kpi_root *root, struct kp_causes_req *req)
{
    size_t at = 0;
    while (root_words[at].word != root->word)
        at++;
    if ((verb->roots & 1u << root_words[at].kind) == 0) {
        kpi_fail(bind->ctx, KP_INVALID, root->place, "%s has no root '%s'",
                 kpi_verb_name(verb->verb), root_words[at].name);
        kpi_hint(bind->ctx, "%s", verb->hint);
        return false;
    }
    req->root = root_words[at].kind;
    req->txn = root->name;
    if (req->root == KP_ROOT_THREAD || req->root == KP_ROOT_PROCESS)
        req->number = number_of(root->name);
    if (!bind_between(bind, root, req))
        return false;
    if (req->root == KP_ROOT_THREAD && verb->verb != KPI_VERB_EFFECTS && root->from == NULL) {
        kpi_fail(bind->ctx, KP_INVALID, root->place, "from when to when?");
        kpi_hint(bind->ctx, "write: %s OF thread %.*s BETWEEN 2026-11-23T03:47:00Z AND ...",
                 kpi_verb_name(verb->verb), (int)root->name.len, root->name.ptr);
        return false;
    }
    return true;
}

/* ---------- options ---------- */

static bool bind_dur(struct kpi_bind *bind, const struct kpi_node *node, const char *what,
                     kp_dur *out)
{
    struct kpi_value value;
    if (node == NULL)
        return true;
    if (!kpi_bind_constant(bind, node, KP_TYPE_DUR, what, &value))
        return false;
    if (value.i64 < 0) {
        kpi_fail(bind->ctx, KP_INVALID, node->place, "%s is negative", what);
        return false;
    }
    *out = value.i64;
    return true;
}

static bool bind_number(struct kpi_bind *bind, const struct kpi_node *node, const char *what,
                        int64_t max, uint32_t *out)
{
    struct kpi_value value;
    if (node == NULL)
        return true;
    if (!kpi_bind_constant(bind, node, KP_TYPE_I64, what, &value))
        return false;
    if (value.i64 < 1 || value.i64 > max) {
        kpi_fail(bind->ctx, KP_INVALID, node->place,
                 max == UINT32_MAX ? "%s counts from 1" : "%s is a number from 1 to 64", what);
        return false;
    }
    *out = (uint32_t)value.i64;
    return true;
}

static bool bind_edges(struct kpi_bind *bind, const struct kpi_source *source,
                       struct kp_causes_req *req)
{
    if (source->edges.text.ptr == NULL)
        return true;
    if (kp_str_equal_nocase(source->edges.text, KP_STR("strong"))) {
        req->strong = true;
        return true;
    }
    kpi_fail(bind->ctx, KP_INVALID, source->edges.place, "EDGES knows 'strong' only");
    kpi_hint(bind->ctx,
             "without EDGES weak edges are followed too, and told of in column strength");
    return false;
}

/* The rules of another tool tell how one root is walked, and know nothing of usual times. */
static bool bind_oracle(struct kpi_bind *bind, const struct kpi_source *source,
                        struct kpi_verb *verb)
{
    const struct kpi_token *word = &source->oracle;
    bool walked = verb->kind == KPI_VERB_CAUSES || verb->kind == KPI_VERB_EVIDENCE ||
                  verb->kind == KPI_VERB_CHAIN || verb->kind == KPI_VERB_BLOCKERS;
    bool compared = source->last != NULL || source->baseline != NULL;
    if (word->text.ptr == NULL)
        return true;
    if (!walked || verb->req.root == KP_ROOT_EVENT || compared) {
        kpi_fail(bind->ctx, KP_INVALID, word->place, "ORACLE belongs to %s",
                 compared ? "an answer without BASELINE" : "a walk");
        kpi_hint(bind->ctx, "write: CAUSES OF txn 98721 ORACLE perfetto");
        return false;
    }
    char known[128];
    size_t used = 0;
    for (int oracle = KP_ORACLE_NONE + 1; oracle < KP_ORACLES; oracle++) {
        if (kp_str_equal_nocase(word->text, kp_str_from(kp_oracle_name(oracle))))
            verb->req.oracle = oracle;
        int n = snprintf(known + used, sizeof(known) - used, " %s", kp_oracle_name(oracle));
        used = KP_MIN(used + (size_t)KP_MAX(n, 0), sizeof(known) - 1);
    }
    if (verb->req.oracle != KP_ORACLE_NONE)
        return true;
    kpi_fail(bind->ctx, KP_INVALID, word->place, "ORACLE knows no rules of '%.*s'",
             (int)word->text.len, word->text.ptr);
    kpi_hint(bind->ctx, "it knows%s", known);
    return false;
}

/* Options that only some verbs have: refused elsewhere, at their place. */
static bool allow(struct kpi_bind *bind, const struct kpi_node *node, bool allowed,
                  const char *what, const char *verb)
{
    if (node == NULL || allowed)
        return true;
    kpi_fail(bind->ctx, KP_INVALID, node->place, "%s belongs to %s", what, verb);
    return false;
}

static bool bind_options(struct kpi_bind *bind, const struct kpi_source *source,
                         struct kpi_verb *verb)
{
    struct kp_causes_req *req = &verb->req;
    bool ranked = verb->kind == KPI_VERB_CAUSES || verb->kind == KPI_VERB_EVIDENCE ||
                  verb->kind == KPI_VERB_BLOCKERS || verb->kind == KPI_VERB_DIFF;
    req->baseline_none = source->baseline_none;
    req->parts = source->parts;
    if (source->host.text.ptr != NULL)
        req->host = source->host.value.str;
    if (!allow(bind, source->row, verb->kind == KPI_VERB_EVIDENCE, "ROW", "EVIDENCE")) {
        kpi_hint(bind->ctx, "write: EVIDENCE OF txn %.*s ROW n", (int)source->name.len,
                 source->name.ptr);
        return false;
    }
    return allow(bind, source->last, ranked, "BASELINE", "CAUSES, EVIDENCE, BLOCKERS and DIFF") &&
           bind_dur(bind, source->within, "WITHIN", &req->within) &&
           bind_dur(bind, source->min, "MIN", &req->min) &&
           bind_dur(bind, source->last, "BASELINE LAST", &req->baseline_last) &&
           bind_number(bind, source->pick, "#", UINT32_MAX, &req->pick) &&
           bind_number(bind, source->row, "ROW", UINT32_MAX, &verb->row) &&
           bind_number(bind, source->depth, "DEPTH", DEPTH_MAX, &req->depth) &&
           bind_edges(bind, source, req) && bind_oracle(bind, source, verb);
}

/* AT chooses a transaction, or is the instant that CHAIN shows. */
static bool bind_at(struct kpi_bind *bind, const struct kpi_source *source, struct kpi_verb *verb)
{
    struct kpi_value at;
    if (source->at == NULL && verb->kind == KPI_VERB_CHAIN) {
        kpi_fail(bind->ctx, KP_INVALID, source->place, "CHAIN of which instant?");
        kpi_hint(bind->ctx, "write: CHAIN OF txn %.*s AT 2026-11-23T03:47:00.1Z",
                 (int)source->name.len, source->name.ptr);
        return false;
    }
    if (source->at == NULL)
        return true;
    if (!kpi_bind_constant(bind, source->at, KP_TYPE_TIME, "AT", &at))
        return false;
    if (verb->kind == KPI_VERB_CHAIN)
        verb->instant = at.i64;
    else
        verb->req.at = at.i64;
    return true;
}

/* ---------- tables of transactions ---------- */

static bool bind_txns(struct kpi_bind *bind, const struct kpi_pipe *pipe, struct kpi_verb *verb)
{
    struct kpi_op *input = kpi_bind_pipe(bind, pipe);
    if (input == NULL)
        return false;
    int txn = kp_schema_find(&input->schema, KP_STR("txn"));
    if (txn < 0 || input->schema.fields[txn].type != KP_TYPE_STR) {
        kpi_fail(bind->ctx, KP_INVALID, pipe->source->place,
                 "the table in brackets has no column 'txn' that names transactions");
        kpi_hint(bind->ctx, "write: (txn | where dur > 100ms)");
        return false;
    }
    verb->inputs[verb->inputs_count++] = input;
    return true;
}

static bool bind_tables(struct kpi_bind *bind, const struct kpi_source *source,
                        struct kpi_verb *verb)
{
    for (const struct kpi_pipe *pipe = source->pipes; pipe != NULL; pipe = pipe->next)
        if (!bind_txns(bind, pipe, verb))
            return false;
    return source->baseline == NULL || source->kind == KPI_SOURCE_CULPRITS ||
           bind_txns(bind, source->baseline, verb);
}

struct kpi_op *kpi_bind_verb(struct kpi_bind *bind, const struct kpi_source *source)
{
    const struct verb_word *word = verb_of(source);
    struct kpi_verb verb = {.kind = word->verb,
                            .req = {.within = -1, .at = KP_TIME_MIN},
                            .other = {.within = -1, .at = KP_TIME_MIN}};
    if (word->roots != 0 && !bind_root(bind, word, &source->root, &verb.req))
        return NULL;
    if (!bind_options(bind, source, &verb) || !bind_at(bind, source, &verb))
        return NULL;
    if (verb.kind == KPI_VERB_DIFF) {
        verb.other = verb.req;
        if (!bind_root(bind, word, &source->other, &verb.other))
            return NULL;
    }
    if (!bind_tables(bind, source, &verb))
        return NULL;
    if (verb.kind == KPI_VERB_CAUSES && verb.req.root == KP_ROOT_EVENT)
        verb.kind = KPI_VERB_ENABLERS;
    struct kpi_op *op = kpi_op_verb(bind->run, &verb);
    if (op != NULL)
        op->place = source->place;
    return op;
}
