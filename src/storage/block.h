/* SPDX-License-Identifier: Apache-2.0
 *
 * A block taken apart: what scans use to decode one column at a time and to intern actors under
 * their own lock. kpi_block_decode (storage_int.h) is these steps in one call.
 */
#ifndef KP_STORAGE_BLOCK_H
#define KP_STORAGE_BLOCK_H

#include "storage/actors.h"

struct kpi_spine_rows; /* spine.h */

struct kpi_chunk_span {
    const uint8_t *bytes;
    uint32_t size;
};

/* A checked block; borrows the bytes. */
struct kpi_block {
    struct kpi_block_info info;
    enum kpi_level level;
    bool joined;                  /* the blocks of several streams in one, see joined.h */
    bool paged;                   /* columns without a chunk lie in the spine of the page */
    struct kpi_spine_rows *spine; /* paged: set by kpi_spine_bind */
    uint64_t sum;                 /* of the content, not of the place */
    uint32_t actors;  /* entries of the local table; local number 0 = unknown is not stored */
    uint32_t columns; /* chunks present; columns of the stream beyond them are 0 or empty */
    struct kpi_chunk_span actors_chunk; /* joined: its streams; chunks[0] is then the body */
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
/* The same of a column of numbers. out: room for its rows; arena keeps what other columns need. */
kp_status kpi_block_numbers(const struct kpi_block *block, uint32_t column, struct kp_arena *arena,
                            int64_t *out) KP_MUST;

/* True when rows of a bound block can be read as they lie, without the spine, in this column. All
 * such columns of one kpi_spine_key lie in the same order. */
bool kpi_block_lies(const struct kp_stream *stream, uint32_t column);
/* Such a column as it lies. Memory from arena. */
kp_status kpi_block_lying(const struct kpi_block *block, uint32_t column, struct kp_arena *arena,
                          struct kp_vec *out) KP_MUST;

/* The columns of an open block as a batch, like kpi_block_decode. A paged block is bound before. */
kp_status kpi_block_batch(const struct kpi_block *block, uint64_t wanted, struct kp_actors *actors,
                          struct kp_arena *arena, struct kp_batch *out) KP_MUST;

/* The same for blocks that share an actor table: the first one makes *ids. */
kp_status kpi_block_batch_ids(const struct kpi_block *block, uint64_t wanted,
                              struct kp_actors *actors, kp_actor_id **ids, struct kp_arena *arena,
                              struct kp_batch *out) KP_MUST;

/* ---------- writing pages ---------- */

/* Version of a block's format that chunks of a level need. */
uint8_t kpi_block_version(enum kpi_level level);
/* A sealed or cold block without the columns that the page's spine holds; actors of the page.
 * period: of the clock's ticks as the spine found it, 0 = none. */
kp_status kpi_block_encode_paged(const struct kp_batch *batch, enum kpi_level level,
                                 struct kpi_actor_set *actors, uint64_t period,
                                 struct kp_buf *out) KP_MUST;

/* The chunks of the columns that a spine does not hold, one behind the other. The set may map by
 * identity: then columns hold local numbers. */
kp_status kpi_block_columns(const struct kp_batch *batch, struct kpi_actor_set *actors,
                            enum kpi_level level, uint32_t *out_sizes, struct kp_buf *out) KP_MUST;

/* What a block's header and directory say. Ranges as stored; empty: least above greatest. */
struct kpi_block_parts {
    uint8_t version, stream, level;
    uint32_t columns_count, rows, actors;
    uint64_t ts_min, ts_max, seq_min, seq_max;
    uint32_t sizes[KP_STORED_MAX]; /* of the column chunks */
    uint64_t period;               /* of cold times: their clock's tick (ticks.h), 0 = none */
};
#define KPI_BLOCK_PARTS_EMPTY  \
    ((struct kpi_block_parts){ \
        .ts_min = (uint64_t)INT64_MAX, .ts_max = (uint64_t)INT64_MIN, .seq_min = UINT64_MAX})
/* Widens a range by values, taken as signed or unsigned. */
void kpi_range_add(const int64_t *values, uint32_t rows, bool is_unsigned, uint64_t *min,
                   uint64_t *max);
/* Appends a block of a directory and what lies behind it. */
kp_status kpi_block_finish(const struct kpi_block_parts *parts, const void *directory,
                           size_t directory_size, const struct kp_buf *body,
                           struct kp_buf *out) KP_MUST;
/* Appends the finished block; the actors' buffer is used up. */
kp_status kpi_block_assemble(const struct kpi_block_parts *parts, struct kp_buf *actors_chunk,
                             const struct kp_buf *columns, struct kp_buf *out) KP_MUST;

#endif
