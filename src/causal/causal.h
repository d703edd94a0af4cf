/* SPDX-License-Identifier: Apache-2.0
 *
 * Causes: where the time of one transaction went, nanosecond by nanosecond, and whose fault it was.
 *
 *   spans -> transaction and its critical path over threads          (txn.c)
 *   kernel events -> per-thread and per-CPU interval timelines       (timeline.c)
 *   walk the path backwards through wakeups, window by window        (walk.c)
 *   split every window by the attribution rules, one leaf per ns     (blame.c)
 *   compare with like transactions, rank, name the root              (baseline.c, rank.c)
 *   other verbs over the same walk    (chain.c blockers.c effects.c culprits.c diff.c)
 *
 * Files in reading order: list.c table.c cursor.c world.c timeline.c hidden.c lead.c work.c gap.c
 * clock.c span.c txn.c futex.c walk.c blame.c blame_wait.c oracle.c cause.c memo.c baseline.c
 * rank.c root.c answer.c remark.c evidence.c chain.c enablers.c blockers.c cohort.c effects.c
 * culprits.c diff.c state.c value.c; kind.def, rule.def and oracle.def list what `kind`, `rule` and
 * ORACLE can say.
 *
 * The rules, with their names as they appear in the `rule` column, are in docs/causality.md.
 * Reads through kp_scan only; has no storage of its own. Answers are result batches, so that the
 * language can pipe them. Everything is integer and ordered by (ts, host, cpu, seq): the same store
 * and query give the same bytes.
 */
#ifndef KP_CAUSAL_CAUSAL_H
#define KP_CAUSAL_CAUSAL_H

#include "causal/verb.h" /* what can be asked */

/* A table made by the causal engine: batches of result columns with a schema and remarks. */
struct kp_rows;

/* CAUSES OF root: one row per cause, see docs/causality.md for the columns. NOT_FOUND names the
 * range searched and the nearest ids. */
kp_status kp_causes_open(struct kp_snapshot *snapshot, const struct kp_causes_req *req,
                         struct kp_arena *arena, struct kp_rows **out,
                         struct kp_error *err) KP_MUST;
/* EVIDENCE OF txn [ROW n]: the events behind each row of CAUSES. row 0 = all rows. */
kp_status kp_evidence_open(struct kp_snapshot *snapshot, const struct kp_causes_req *req,
                           uint32_t row, struct kp_arena *arena, struct kp_rows **out,
                           struct kp_error *err) KP_MUST;

/* Derived interval tables: each reads the kernel streams of [from, to] and gives rows whose
 * interval meets it, in order of start. keys as in scans: tid (numbers) or cpu; count 0 = all. */
struct kp_intervals_req {
    kp_time from, to;
    const int64_t *tids;
    uint32_t tids_count;
};
kp_status kp_thread_state_open(struct kp_snapshot *snapshot, const struct kp_intervals_req *req,
                               struct kp_arena *arena, struct kp_rows **out,
                               struct kp_error *err) KP_MUST;
kp_status kp_cpu_state_open(struct kp_snapshot *snapshot, const struct kp_intervals_req *req,
                            struct kp_arena *arena, struct kp_rows **out,
                            struct kp_error *err) KP_MUST;
/* The `txn` table: one row per transaction (all spans that carry the id, and their traces). */
kp_status kp_txn_open(struct kp_snapshot *snapshot, kp_time from, kp_time to,
                      struct kp_arena *arena, struct kp_rows **out, struct kp_error *err) KP_MUST;

/* Fixed schemas, known before anything is read (binder, completion, docs). */
const struct kp_schema *kp_causes_schema(void);
const struct kp_schema *kp_evidence_schema(void);
const struct kp_schema *kp_thread_state_schema(void);
const struct kp_schema *kp_cpu_state_schema(void);
const struct kp_schema *kp_txn_schema(void);

/* The values a column of these tables can have, by index; empty past the last, and for a column
 * that can have any. One that ends with "(" stands for all that begin so. */
struct kp_str kp_rows_value(const struct kp_schema *schema, uint32_t column, uint32_t index);

/* Next batch (<= KP_VECTOR_ROWS rows) or END; valid until the next call. Memory is the arena's. */
kp_status kp_rows_next(struct kp_rows *rows, const struct kp_batch **out) KP_MUST;
/* Lines to show above the answer (coverage, gaps, clocks, baseline, fate of the transaction). */
uint32_t kp_rows_notes(const struct kp_rows *rows, const struct kp_str **out);
/* What was read from the store to make the table, all scans together. */
void kp_rows_stat(const struct kp_rows *rows, struct kp_scan_stat *out);
/* The same by what it was read for, in the order in which that was begun; only what met pages. */
struct kp_rows_step {
    struct kp_str part, stream;
    uint32_t scans;
    struct kp_scan_stat stat;
};
uint32_t kp_rows_steps(const struct kp_rows *rows, const struct kp_rows_step **out);

#endif
