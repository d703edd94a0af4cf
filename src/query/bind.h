/* SPDX-License-Identifier: Apache-2.0
 *
 * Names to columns and expressions: what the files that bind a text share (bind*.c, source.c).
 */
#ifndef KP_QUERY_BIND_H
#define KP_QUERY_BIND_H

#include "query/aggregate.h"
#include "query/op.h"

struct kpi_windows;
struct kpi_name;

/* Names in force while a text is bound. */
struct kpi_bind {
    struct kpi_run *run;
    struct kpi_ctx *ctx;
    const struct kp_schema *schema; /* columns in scope; NULL = none */
    const struct kpi_name *names;   /* let, parameters, as (names.h), newest first */
    const void *rows;               /* inside a function: the schema its arguments may read */
    uint32_t let_depth;
    const struct kpi_pipe *pipe; /* the one that is bound, and its operator at hand */
    const struct kpi_stage *stage;
    /* inside summarize: aggregates found are added here and become columns of its answer, after
     * `keys` columns of groups; schema is then that of the keys, `input` that of the rows */
    struct kpi_aggregates *aggregates;
    const struct kp_schema *input;
    uint32_t keys;
    struct kpi_windows *windows; /* where row functions go; NULL = none may stand here */
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
/* A call of an aggregate: a column of the answer of bind->aggregates. */
struct kpi_expr *kpi_bind_aggregate(struct kpi_bind *bind, const struct kpi_node *node);
/* A call of a row function (bind_window.c): a column of the operator that kpi_window_below puts
 * between input and the operator that is bound. */
bool kpi_window_known(struct kp_str name);
struct kpi_expr *kpi_bind_window(struct kpi_bind *bind, const struct kpi_node *node);
struct kpi_windows *kpi_windows_new(struct kpi_bind *bind, uint32_t columns);
struct kpi_op *kpi_window_below(struct kpi_bind *bind, struct kpi_op *input);

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

#endif
