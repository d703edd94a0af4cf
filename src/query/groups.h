/* SPDX-License-Identifier: Apache-2.0
 *
 * Groups: rows with equal keys get one number. Numbers are given in order of first appearance; who
 * needs another order asks for kpi_groups_sorted.
 */
#ifndef KP_QUERY_GROUPS_H
#define KP_QUERY_GROUPS_H

#include "query/rowset.h"

struct kpi_run;

/* What was found before, by values that are cheap to compare: numbers, and codes of dictionaries
 * that last. It stands before the table and is emptied when a dictionary changes. */
struct kpi_groups_memo {
    const struct kp_dict **dicts; /* per key; NULL = a number */
    int64_t *keys;                /* slot by slot, a row of keys each */
    uint32_t *groups;             /* of a slot: group + 1; 0 = free */
    uint32_t capacity, used;
    uint32_t *by_code; /* the only key is a code: its group + 1 */
    uint32_t by_code_capacity;
    int64_t *values;  /* of a batch: its keys, row by row */
    uint64_t *hashes; /* of a batch */
};

struct kpi_groups {
    struct kpi_ctx *ctx;
    uint32_t keys_count;
    struct kpi_rowset rows; /* the keys */
    uint64_t *hashes;
    uint32_t *slots; /* group + 1 */
    uint32_t capacity;
    struct kpi_groups_memo memo;
};

/* types: of the keys; they must outlive it. False with the error set, as below. */
bool kpi_groups_init(struct kpi_groups *groups, struct kpi_ctx *ctx, const enum kp_type *types,
                     uint32_t keys_count);
/* The group of one row, made when it is new; UINT32_MAX with the error set. */
uint32_t kpi_groups_find(struct kpi_groups *groups, const struct kp_vec *const *keys, uint32_t row);
/* A group without looking for it (no keys, no rows). */
uint32_t kpi_groups_new(struct kpi_groups *groups);
/* The groups of the rows of a batch, in their order. */
bool kpi_groups_assign(struct kpi_groups *groups, const struct kp_vec *const *keys,
                       const struct kp_batch *batch, uint32_t *group_of);
/* Group numbers in ascending order of their keys, nulls last; NULL with the error set. */
uint32_t *kpi_groups_sorted(struct kpi_groups *groups, struct kpi_run *run);

#endif
