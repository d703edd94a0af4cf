/* SPDX-License-Identifier: Apache-2.0
 *
 * A spine that is being read, as its readers share it: spine.c decodes the parts, spine_order.c
 * puts places in order, spine_rows.c picks rows of all streams, spine_durs.c tells durations.
 */
#ifndef KP_STORAGE_SPINE_INT_H
#define KP_STORAGE_SPINE_INT_H

#include "storage/spine_durs.h"

struct kpi_lane {
    int64_t cpu;
    uint32_t first, end; /* its places */
};

/* A part is NULL (or unset) until it is read; read parts never change. */
struct kpi_spine {
    struct kpi_block block; /* where it comes from; the actor table is in its bytes */
    struct kp_arena *arena;
    uint32_t rows;
    struct kpi_lane *lanes;
    uint32_t lanes_count;
    uint8_t *kind;
    uint32_t counts[KP_STREAM_MAX], first[KP_STREAM_MAX]; /* of a stream's rows in places */
    uint32_t *places;                                     /* stream by stream */
    bool ordered[KP_STREAM_MAX];                          /* its places are in order of the page */
    int64_t *ts, *seq;
    uint32_t *actor, *peer; /* local numbers, checked; peer: where the stream has one */
    uint16_t *lane_of;
    int64_t *durs[KP_STREAM_MAX]; /* in the order of the stream's rows */
};

/* What is left of two runs of places, and where their merge goes. */
struct kpi_merge {
    const uint32_t *a, *a_end, *b, *b_end;
    uint32_t *to;
};

/* Merges two ascending runs of places by (time, place). */
void kpi_runs_merge(const int64_t *ts, struct kpi_merge merge);
/* Puts places that ascend into the order of the page; times were decoded. */
kp_status kpi_places_order(const struct kpi_spine *spine, uint32_t *places, uint32_t count) KP_MUST;

/* Times, and the places of the stream's rows in order. */
kp_status kpi_spine_order_read(struct kpi_spine *spine, uint32_t stream) KP_MUST;
kp_status kpi_spine_threads_read(struct kpi_spine *spine) KP_MUST;
/* Durations of a stream (spine_durs.c). */
kp_status kpi_spine_durs_read(struct kpi_spine *spine, uint32_t stream) KP_MUST;

#endif
