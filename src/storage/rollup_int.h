/* SPDX-License-Identifier: Apache-2.0
 *
 * Rollups inside storage: how a segment gets one, and how it is read.
 */
#ifndef KP_STORAGE_ROLLUP_INT_H
#define KP_STORAGE_ROLLUP_INT_H

#include "storage/actors.h"
#include "storage/rollup.h"

struct kpi_rollup_sum {
    int64_t count, sum, min, max;
};

/* Sums of one stream by actor of the builder's registry. */
struct kpi_rollup_stream {
    struct kpi_rollup_sum *sums;
    uint32_t capacity;
    uint32_t rows; /* != 0: it occurs */
    bool left_out; /* a sum does not fit: the stream has no rollup here */
};

/* Zero-initialised is valid. */
struct kpi_rollup_builder {
    struct kp_actors *actors;     /* its own: that of the batches may go first */
    const struct kp_actors *from; /* registry that map is for */
    kp_actor_id *map;             /* of from -> of actors, + 1 */
    uint32_t map_capacity;
    struct kpi_rollup_stream streams[KP_STREAM_MAX];
};

kp_status kpi_rollup_add(struct kpi_rollup_builder *builder, const struct kp_batch *batch) KP_MUST;
/* Appends the section; nothing when there is nothing to say, or there are too many actors. */
kp_status kpi_rollup_encode(const struct kpi_rollup_builder *builder, struct kp_buf *out) KP_MUST;
void kpi_rollup_builder_deinit(struct kpi_rollup_builder *builder);

/* A section as read; actors are places in `actors`, 0 = nobody. */
struct kpi_rollup {
    struct kp_actor *actors; /* 1..actors_count */
    uint32_t actors_count;
    struct kp_rollup_row *rows[KP_STREAM_MAX]; /* NULL: no rollup of that stream */
    uint32_t counts[KP_STREAM_MAX];
};

kp_status kpi_rollup_parse(const void *bytes, size_t size, struct kp_arena *arena,
                           struct kpi_rollup *out) KP_MUST;
/* True when the section says what the builder found in the rows. Interns into the builder. */
bool kpi_rollup_agrees(struct kpi_rollup_builder *own, const struct kpi_rollup *rollup);
/* The column of the duration, 0 = none. */
uint32_t kpi_rollup_column(const struct kp_stream *stream);

#endif
