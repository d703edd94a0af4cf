/* SPDX-License-Identifier: Apache-2.0
 *
 * Random but realistic rows for storage tests: few threads, few names, times that mostly walk on,
 * some late, some equal. Same seed, same rows.
 */
#ifndef KP_TESTS_ROWS_H
#define KP_TESTS_ROWS_H

#include "column/batch.h"

struct rows_gen {
    uint64_t seed;
    struct kp_actors *actors;
    kp_time now;
    uint64_t seq;
    uint32_t cpus, threads, names;
    uint32_t late_every; /* one row in so many is late; 0 = none */
};

uint64_t rows_random(struct rows_gen *gen);
/* Value below limit. */
uint64_t rows_below(struct rows_gen *gen, uint64_t limit);
/* Fills builder (fresh or reset) with count rows of its stream, any order of ts. */
void rows_fill(struct rows_gen *gen, struct kp_builder *builder, uint32_t count);
/* Spans of traces: two to five rows each, among each other; most parents are there, ids are of
 * hexadecimal digits, and attributes hold the transaction. */
void rows_spans(struct rows_gen *gen, struct kp_builder *builder, uint32_t count);
/* True when the rows of both stored batches mean the same: numbers, strings, actors by content. */
bool rows_equal(const struct kp_batch *a, uint32_t row_a, const struct kp_batch *b, uint32_t row_b);

#endif
