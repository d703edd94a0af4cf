/* SPDX-License-Identifier: Apache-2.0
 *
 * Kept rows found by key: a rowset whose last columns are the keys, a hash table over them, and for
 * each key its rows chained in order of arrival. Used by joins and interval operators.
 */
#ifndef KP_QUERY_KEYED_H
#define KP_QUERY_KEYED_H

#include "query/rowset.h"

#define KPI_LINKS_ROWS 1024u

struct kpi_links {
    uint32_t next[KPI_LINKS_ROWS];   /* row + 1 of the next one of the same key; 0 = none */
    uint32_t last[KPI_LINKS_ROWS];   /* of a first row: last row of its chain */
    uint64_t hashes[KPI_LINKS_ROWS]; /* of a first row */
};

struct kpi_keyed {
    struct kpi_rowset rows;
    uint32_t keys_at, keys_count; /* columns of rows */
    uint32_t *slots;              /* first row of a chain + 1; 0 = free */
    uint32_t capacity;            /* of slots, a power of two */
    uint32_t chains;
    struct kpi_links **links; /* KPI_LINKS_ROWS rows each: growing moves and clears nothing */
    uint32_t links_count, links_room;
};

/* cols columns, the last keys_count of them keys; keep as for a rowset. */
void kpi_keyed_init(struct kpi_keyed *keyed, struct kpi_ctx *ctx, const enum kp_type *types,
                    const bool *keep, uint32_t cols, uint32_t keys_count);
/* First row + 1 of a key, 0 when there is none. vecs: the key columns. */
uint32_t kpi_keyed_find(const struct kpi_keyed *keyed, const struct kp_vec *const *keys,
                        uint32_t row);
/* Row + 1 of the next one of the same key, 0 behind the last. */
static inline uint32_t kpi_keyed_next(const struct kpi_keyed *keyed, uint32_t row)
{
    return keyed->links[row / KPI_LINKS_ROWS]->next[row % KPI_LINKS_ROWS];
}
/* Appends a row to its chain. vecs: all columns. False with the error set on no memory. */
bool kpi_keyed_add(struct kpi_keyed *keyed, const struct kp_vec *const *vecs, uint32_t row);
/* Is one of the keys of a row null? Such rows meet nothing. */
bool kpi_keyed_null(const struct kp_vec *const *keys, uint32_t count, uint32_t row);

#endif
