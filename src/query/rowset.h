/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows kept in memory: columns in chunks of 1,024 rows, so that growing never copies and a chunk is
 * a batch. Equal strings are stored once as long as there are not too many different ones.
 */
#ifndef KP_QUERY_ROWSET_H
#define KP_QUERY_ROWSET_H

#include "query/expr.h"

struct kpi_intern {
    struct kp_str *slots;
    uint32_t capacity, used;
};
/* The stored copy of a text; ptr NULL with the error set on no memory. */
struct kp_str kpi_intern(struct kpi_ctx *ctx, struct kpi_intern *table, struct kp_str text);

struct kpi_rowset {
    struct kpi_ctx *ctx;
    const enum kp_type *types;
    const bool *keep; /* columns to store; NULL = all */
    uint32_t cols;
    uint32_t rows;
    struct kp_vec **chunks; /* [row >> 10][col] */
    uint64_t ***nulls;      /* [row >> 10][col]: room for vec.nulls */
    uint32_t chunks_count, chunks_capacity;
    struct kpi_intern strings;
};

void kpi_rowset_init(struct kpi_rowset *set, struct kpi_ctx *ctx, const enum kp_type *types,
                     const bool *keep, uint32_t cols);
/* Makes one more row and returns its number; UINT32_MAX with the error set. */
uint32_t kpi_rowset_grow(struct kpi_rowset *set);
/* Copies row `from` of vectors into row `row`. */
bool kpi_rowset_put(struct kpi_rowset *set, uint32_t row, const struct kp_vec *const *vecs,
                    uint32_t from);
bool kpi_rowset_set(struct kpi_rowset *set, uint32_t row, uint32_t col, struct kpi_value value);
static inline const struct kp_vec *kpi_rowset_vec(const struct kpi_rowset *set, uint32_t row,
                                                  uint32_t col)
{
    return &set->chunks[row >> 10][col];
}
/* Chunk i as vectors of up to 1,024 rows. */
uint32_t kpi_rowset_chunk(const struct kpi_rowset *set, uint32_t i, struct kp_vec **out);
/* Chunk *at as a batch of all columns, kept in `batch`, and on to the next; END behind the last. */
kp_status kpi_rowset_give(const struct kpi_rowset *set, uint32_t *at, struct kp_batch *batch,
                          const struct kp_batch **out);

/* Order of two values of one type, nulls aside: < 0, 0, > 0. */
int kpi_compare(const struct kp_vec *a, uint32_t row_a, const struct kp_vec *b, uint32_t row_b);
/* Equality for grouping: nulls are equal to each other. */
bool kpi_same(const struct kp_vec *a, uint32_t row_a, const struct kp_vec *b, uint32_t row_b);
/* Hash for grouping, from `seed`. */
uint64_t kpi_hash(const struct kp_vec *vec, uint32_t row, uint64_t seed);

#endif
