/* SPDX-License-Identifier: Apache-2.0
 *
 * search and find: a condition over tables of different columns (bind_search.c).
 */
#ifndef KP_QUERY_SEARCH_H
#define KP_QUERY_SEARCH_H

#include "query/plan.h"

/* What a union keeps of each of its tables; columns that a table has not are null there. */
struct kpi_search {
    const struct kpi_node *condition;
};

/* Rows of one table, called `name`, that meet the condition. */
struct kpi_op *kpi_search_side(struct kpi_bind *bind, struct kpi_op *op, struct kp_str name,
                               const struct kpi_search *search);
/* search and find that begin a query, and search after a table. */
struct kpi_op *kpi_bind_search(struct kpi_bind *bind, const struct kpi_source *source);
struct kpi_op *kpi_bind_search_in(struct kpi_bind *bind, struct kpi_op *input,
                                  const struct kpi_stage *stage);

#endif
