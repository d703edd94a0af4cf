/* SPDX-License-Identifier: Apache-2.0
 *
 * Sorting that can be stopped, and picking one rank without sorting.
 */
#ifndef KP_QUERY_SORTING_H
#define KP_QUERY_SORTING_H

#include "query/op.h"

/* Sorts items by a total order; minds cancel and deadline. False with the error set. */
bool kpi_sort_items(struct kpi_run *run, void *items, size_t count, size_t item_bytes,
                    int (*compare)(const void *a, const void *b, void *arg), void *arg);
/* The value that would stand at `rank` (< count) were the values sorted; moves them about. */
int64_t kpi_pick_rank(int64_t *values, size_t count, size_t rank);

#endif
