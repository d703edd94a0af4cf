/* SPDX-License-Identifier: Apache-2.0
 *
 * Kept rows found by key: a rowset whose last columns are the keys, a hash table over them, and for
 * each key its rows chained in order of arrival. Used by joins and interval operators.
 */
#ifndef KP_QUERY_KEYED_H
#define KP_QUERY_KEYED_H

#include "query/rowset.h"

struct kpi_keyed {
    struct kpi_rowset rows;
    uint32_t keys_at, keys_count; /* columns of rows */
    uint32_t *slots;              /* first row of a chain + 1; 0 = free */
    uint32_t capacity;            /* of slots, a power of two */
    uint32_t chains;
    /* per row */
    uint32_t *next;   /* row + 1 of the next one of the same key; 0 = none */
    uint32_t *last;   /* of a first row: last row of its chain */
    uint64_t *hashes; /* of a first row */
    uint32_t room;
};

/* cols columns, the last keys_count of them keys; keep as for a rowset. */
void kpi_keyed_init(struct kpi_keyed *keyed, struct kpi_ctx *ctx, const enum kp_type *types,
                    const bool *keep, uint32_t cols, uint32_t keys_count);
/* First row + 1 of a key, 0 when there is none. vecs: the key columns. */
uint32_t kpi_keyed_find(const struct kpi_keyed *keyed, const struct kp_vec *const *keys,
                        uint32_t row);
/* Appends a row to its chain. vecs: all columns. False with the error set on no memory. */
bool kpi_keyed_add(struct kpi_keyed *keyed, const struct kp_vec *const *vecs, uint32_t row);
/* Is one of the keys of a row null? Such rows meet nothing. */
bool kpi_keyed_null(const struct kp_vec *const *keys, uint32_t count, uint32_t row);

#endif
