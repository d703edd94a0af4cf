/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a transaction or trace is: asked of the runs before any segment is opened.
 */
#ifndef KP_STORAGE_RUN_FIND_H
#define KP_STORAGE_RUN_FIND_H

#include "storage/snapshot.h"

enum kpi_run_known {
    KPI_RUN_UNKNOWN, /* no run speaks for the segment: its own lists do */
    KPI_RUN_ABSENT,  /* none of the values is in it */
    KPI_RUN_PRESENT, /* in the blocks that are listed (or, once in 10^7, nearly the same hash) */
};

struct kpi_run_place {
    uint32_t segment; /* of the snapshot */
    uint32_t block;
};

struct kpi_run_places {
    uint8_t *segments; /* enum kpi_run_known of each segment of the snapshot */
    struct kpi_run_place *places;
    uint32_t count, capacity;
};

/* The blocks that may hold one of the values of an EXACT column. Memory from arena. A run that is
 * damaged is reported and not believed: its segments are UNKNOWN. *out NULL: there are no runs. Any
 * thread, queue and arena its own. */
kp_status kpi_runs_find(struct kp_snapshot *snapshot, struct kp_io_queue *queue, uint32_t stream,
                        uint32_t column, const struct kp_str *values, uint32_t count,
                        struct kp_arena *arena, struct kpi_run_places **out) KP_MUST;

/* run_verify.c: reads every run and compares it with the lists of the segments it speaks for. */
kp_status kpi_runs_verify(const struct kp_io *io, struct kp_io_queue *queue, const char *dir,
                          const struct kpi_manifest *manifest,
                          void (*found)(void *ctx, const struct kp_damage *damage),
                          void *ctx) KP_MUST;

/* Of the snapshot's making and end. */
kp_status kpi_runs_take(struct kp_snapshot *snapshot, const char *dir,
                        const struct kpi_manifest *manifest) KP_MUST;
void kpi_runs_leave(struct kp_snapshot *snapshot);

#endif
