/* SPDX-License-Identifier: Apache-2.0
 *
 * A block taken apart: what scans use to decode one column at a time and to intern actors under
 * their own lock. kpi_block_decode (storage_int.h) is these steps in one call.
 */
#ifndef KP_STORAGE_BLOCK_H
#define KP_STORAGE_BLOCK_H

#include "storage/codec.h"

struct kpi_chunk_span {
    const uint8_t *bytes;
    uint32_t size;
};

/* A checked block; borrows the bytes. */
struct kpi_block {
    struct kpi_block_info info;
    enum kpi_level level;
    uint64_t sum;     /* of the content, not of the place */
    uint32_t actors;  /* entries of the local table; local number 0 = unknown is not stored */
    uint32_t columns; /* chunks present; columns of the stream beyond them are 0 or empty */
    struct kpi_chunk_span actors_chunk;
    struct kpi_chunk_span chunks[KP_STORED_MAX];
};

/* Checks header, sum and directory. CORRUPT when they lie; VERSION when a newer program wrote it.
 */
kp_status kpi_block_open(const void *bytes, size_t size, struct kpi_block *out) KP_MUST;
/* The local actor table: block->actors + 1 entries, entry 0 unknown. Memory from arena. */
kp_status kpi_block_actors(const struct kpi_block *block, struct kp_arena *arena,
                           struct kp_actor **out) KP_MUST;
/* One stored column; ACTOR columns as local numbers (checked: <= block->actors). Memory from arena.
 */
kp_status kpi_block_column(const struct kpi_block *block, uint32_t column, struct kp_arena *arena,
                           struct kp_vec *out) KP_MUST;

#endif
