/* SPDX-License-Identifier: Apache-2.0
 *
 * The sort operator's inside, for plan.c: a sort that the source's order already gives is dropped.
 */
#ifndef KP_QUERY_SORT_H
#define KP_QUERY_SORT_H

#include "query/op.h"
#include "query/rowset.h"

struct item;

struct kpi_sort_op {
    struct kpi_op base;
    const struct kpi_sort_key *keys;
    uint32_t keys_count;
    uint64_t limit;         /* 0 = sort */
    struct kpi_rowset rows; /* needed columns, then keys */
    const struct kp_vec **vecs;
    struct item *items;
    uint32_t items_count, items_capacity;
    uint64_t arrived;
    uint32_t spare;
    bool spare_made, done;
    uint32_t given;
    struct kp_batch out;
    uint64_t **nulls;
};

/* The sort or top, or NULL when op is another operator. */
struct kpi_sort_op *kpi_sort_of(struct kpi_op *op);

#endif
