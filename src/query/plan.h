/* SPDX-License-Identifier: Apache-2.0
 *
 * Tree to operators (bind.c, bind_pipe.c, bind_summarize.c) and operators to plan (plan.c).
 */
#ifndef KP_QUERY_PLAN_H
#define KP_QUERY_PLAN_H

#include "query/aggregate.h"
#include "query/op.h"

/* Names in force while a text is bound. */
struct kpi_bind {
    struct kpi_run *run;
    struct kpi_ctx *ctx;
    const struct kp_schema *schema;  /* columns in scope; NULL = none */
    const struct kpi_item *lets;     /* scalars named by let */
    const struct kpi_item *lets_end; /* first one not in force; NULL = all are */
    uint32_t let_depth;
    struct kpi_expr **let_values; /* NULL entries: tables */
    /* inside summarize: aggregates found are added here and become columns of its answer, after
     * `keys` columns of groups; schema is then that of the keys, `input` that of the rows */
    struct kpi_aggregates *aggregates;
    const struct kp_schema *input;
    uint32_t keys;
};

/* A tree to a typed expression, constants folded; NULL with the error set. */
struct kpi_expr *kpi_bind_expr(struct kpi_bind *bind, const struct kpi_node *node);
/* The same, and it must be a constant of this type (after implicit casts). */
bool kpi_bind_constant(struct kpi_bind *bind, const struct kpi_node *node, enum kp_type type,
                       const char *what, struct kpi_value *out);
/* Implicit cast; NULL with the error set. */
struct kpi_expr *kpi_bind_cast(struct kpi_bind *bind, struct kpi_expr *expr, enum kp_type type);
/* A call by name over bound arguments: casts and overloads as if it had been written. */
struct kpi_expr *kpi_bind_named(struct kpi_bind *bind, const char *name, struct kpi_place place,
                                struct kpi_expr **args, uint32_t count);
/* An expression that reads column i. */
struct kpi_expr *kpi_bind_column(struct kpi_bind *bind, uint32_t i, struct kpi_place place);
struct kpi_expr *kpi_bind_value(struct kpi_bind *bind, struct kpi_value value,
                                struct kpi_place place);
/* Index of a column, or -1 with the error set and a suggestion. */
int kpi_bind_find(struct kpi_bind *bind, struct kp_str name, struct kpi_place place);

/* One pipe; NULL with the error set. */
struct kpi_op *kpi_bind_pipe(struct kpi_bind *bind, const struct kpi_pipe *pipe);
/* Pipes side by side, columns met by name. `first` (may be NULL) comes before them. */
struct kpi_op *kpi_bind_union(struct kpi_bind *bind, struct kpi_op *first,
                              const struct kpi_pipe *pipes, struct kpi_place place);
/* join, lookup, asof join (bind_join.c). */
struct kpi_op *kpi_bind_join(struct kpi_bind *bind, struct kpi_op *input,
                             const struct kpi_stage *stage);
/* mv-expand, parse, parse-kv (bind_shape.c). */
struct kpi_op *kpi_bind_shape(struct kpi_bind *bind, struct kpi_op *input,
                              const struct kpi_stage *stage);
/* intersect, subtract, within, flatten, coverage (bind_interval.c). */
struct kpi_op *kpi_bind_interval(struct kpi_bind *bind, struct kpi_op *input,
                                 const struct kpi_stage *stage);
/* A whole statement; NULL with the error set. */
struct kpi_op *kpi_bind_statement(struct kpi_run *run, const struct kpi_statement *statement);
/* A call of an aggregate: a column of the answer of bind->aggregates. */
struct kpi_expr *kpi_bind_aggregate(struct kpi_bind *bind, const struct kpi_node *node);
/* summarize, distinct and count. */
struct kpi_op *kpi_bind_summarize(struct kpi_bind *bind, struct kpi_op *input,
                                  const struct kpi_items *items, const struct kpi_items *by);
/* A list of output columns under construction: names made unique. */
struct kpi_outputs {
    struct kp_field *fields;
    struct kpi_expr **exprs;
    uint32_t count, capacity;
};
bool kpi_outputs_add(struct kpi_bind *bind, struct kpi_outputs *outputs, struct kp_str name,
                     struct kpi_expr *expr);
/* The same, but a column of this name that is there is replaced where it stands. */
bool kpi_outputs_put(struct kpi_bind *bind, struct kpi_outputs *outputs, struct kp_str name,
                     struct kpi_expr *expr);
/* Name of an unnamed expression: its column, what bin() rounds, or `prefix` and a number. */
struct kp_str kpi_auto_name(struct kpi_bind *bind, const struct kpi_node *node, const char *prefix,
                            uint32_t number);

/* The type of a name as written in datatable, typeof() and parse; false with the error set. */
bool kpi_type_named(struct kpi_bind *bind, struct kp_str name, struct kpi_place place,
                    enum kp_type *out);
/* The operator a source stands for. */
struct kpi_op *kpi_source_open(struct kpi_bind *bind, const struct kpi_source *source);
/* Names and one-line docs of all tables, for show tables and completion; NULL past the last. */
const char *kpi_table_name(uint32_t index, const char **out_kind, const char **out_doc);

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
