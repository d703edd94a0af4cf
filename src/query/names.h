/* SPDX-License-Identifier: Apache-2.0
 *
 * Names that a text gives by itself: let, parameters of its functions, `as`. They form a chain,
 * newest first; each knows what was in force where it was made, so a name means the same wherever
 * it is used.
 */
#ifndef KP_QUERY_NAMES_H
#define KP_QUERY_NAMES_H

#include "query/bind.h"

struct kpi_name {
    struct kp_str name;
    struct kpi_place place;
    struct kpi_expr *value;              /* a scalar; else NULL */
    const struct kpi_pipe *pipe;         /* a table; else NULL */
    const struct kpi_function *function; /* else NULL */
    const struct kpi_name *scope;        /* in force inside pipe or function */
    const void *rows;                    /* whose columns value reads; NULL = a constant */
    const struct kpi_name *before;
};

/* A new name, in force from now on; NULL with the error set. */
struct kpi_name *kpi_name_add(struct kpi_bind *bind, struct kp_str name, struct kpi_place place);
/* The newest name of this text; NULL when there is none. */
const struct kpi_name *kpi_name_find(const struct kpi_bind *bind, struct kp_str name);
/* Puts all of a list of lets in force. */
bool kpi_names_let(struct kpi_bind *bind, const struct kpi_items *lets);
/* A call of a function of the text as a value. */
struct kpi_expr *kpi_name_call(struct kpi_bind *bind, const struct kpi_name *name,
                               const struct kpi_node *node);
/* The table that a node stands for (a pipe, a name, a call); NULL, without an error, when it is a
 * value. */
const struct kpi_pipe *kpi_name_table(struct kpi_bind *bind, const struct kpi_node *node);
/* A call as a table: of a function of the text, table('name'), materialize(T). */
struct kpi_op *kpi_name_open(struct kpi_bind *bind, const struct kpi_node *node);

/* --- queries inside a query (subquery.c), run while the text is bound --- */

/* First value of a table; null when it has no row. */
struct kpi_expr *kpi_subquery_value(struct kpi_bind *bind, const struct kpi_pipe *pipe,
                                    struct kpi_place place);
/* Values of its first column as an array. */
struct kpi_expr *kpi_subquery_array(struct kpi_bind *bind, const struct kpi_pipe *pipe,
                                    struct kpi_place place);
/* Runs a bound table, row by row. The rows end with false from `each`. */
typedef bool kpi_each_row(void *ctx, const struct kp_batch *batch, uint32_t row);
bool kpi_subquery_run(struct kpi_op *op, kpi_each_row *each, void *ctx);

#endif
