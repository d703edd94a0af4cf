/* SPDX-License-Identifier: Apache-2.0
 *
 * Tree to operators (bind.c, bind_pipe.c, bind_summarize.c) and operators to plan (plan.c).
 */
#ifndef KP_QUERY_PLAN_H
#define KP_QUERY_PLAN_H

#include "query/bind.h"

/* One pipe; NULL with the error set. */
struct kpi_op *kpi_bind_pipe(struct kpi_bind *bind, const struct kpi_pipe *pipe);
/* Pipes side by side, columns met by name. `first` (may be NULL) comes before them. search (NULL =
 * everything): what is kept of each. */
struct kpi_search;
struct kpi_op *kpi_bind_union(struct kpi_bind *bind, struct kpi_op *first,
                              const struct kpi_pipe *pipes, const struct kpi_items *params,
                              const struct kpi_search *search, struct kpi_place place);
/* join, lookup, asof join (bind_join.c). */
struct kpi_op *kpi_bind_join(struct kpi_bind *bind, struct kpi_op *input,
                             const struct kpi_stage *stage);
/* mv-expand, parse, parse-kv (bind_shape.c). */
struct kpi_op *kpi_bind_shape(struct kpi_bind *bind, struct kpi_op *input,
                              const struct kpi_stage *stage);
/* intersect, subtract, within, flatten, coverage, self_time (bind_interval.c). */
struct kpi_op *kpi_bind_interval(struct kpi_bind *bind, struct kpi_op *input,
                                 const struct kpi_stage *stage);
/* EMIT nodes, edges, spans, flame, states (op_frame.c). */
struct kpi_op *kpi_bind_frame(struct kpi_bind *bind, struct kpi_op *input,
                              const struct kpi_stage *stage);
/* Names of the frames; NULL past the last. */
const char *kpi_frame_name(uint32_t index);
/* The operators of a pipe over a table that is there; its source is not looked at. */
struct kpi_op *kpi_bind_over(struct kpi_bind *bind, struct kpi_op *op, const struct kpi_pipe *pipe);
/* A copy of the pipe that is bound, up to its operator at hand. */
struct kpi_pipe *kpi_pipe_before(struct kpi_bind *bind);
/* sample, sample-distinct, top-hitters, partition, mv-apply, invoke (bind_apply.c). */
struct kpi_op *kpi_bind_apply(struct kpi_bind *bind, struct kpi_op *input,
                              const struct kpi_stage *stage);
/* make-series (bind_series.c), scan (bind_steps.c), evaluate (bind_plugin.c). */
struct kpi_op *kpi_bind_series(struct kpi_bind *bind, struct kpi_op *input,
                               const struct kpi_stage *stage);
struct kpi_op *kpi_bind_steps(struct kpi_bind *bind, struct kpi_op *input,
                              const struct kpi_stage *stage);
struct kpi_op *kpi_bind_plugin(struct kpi_bind *bind, struct kpi_op *input,
                               const struct kpi_stage *stage);
/* A whole statement; NULL with the error set. */
struct kpi_op *kpi_bind_statement(struct kpi_run *run, const struct kpi_statement *statement);
/* summarize, distinct and count. */
struct kpi_op *kpi_bind_summarize(struct kpi_bind *bind, struct kpi_op *input,
                                  const struct kpi_items *items, const struct kpi_items *by);
/* The operator of a causal verb (bind_causal.c). */
struct kpi_op *kpi_bind_verb(struct kpi_bind *bind, const struct kpi_source *source);
/* The operator a source stands for. */
struct kpi_op *kpi_source_open(struct kpi_bind *bind, const struct kpi_source *source);
/* Names and one-line docs of all tables, for show tables and completion; NULL past the last. */
const char *kpi_table_name(uint32_t index, const char **out_kind, const char **out_doc);
bool kpi_table_known(struct kp_str name);
/* Pushes time range, keys and needed columns into the sources below and drops needless sorts; the
 * new root, or NULL with the error set. */
struct kpi_op *kpi_plan(struct kpi_op *root);
/* True when some source below reads stored data. */
bool kpi_plan_reads(const struct kpi_op *op);
/* The table that describes a planned (analyze: finished) query. */
struct kpi_op *kpi_explain(struct kpi_run *run, const struct kpi_op *planned, bool analyze);
/* Remarks on what the query touched: gaps, damage, kinds that were not recorded. */
void kpi_answer_notes(struct kpi_run *run);

#endif
