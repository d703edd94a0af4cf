/* SPDX-License-Identifier: Apache-2.0
 *
 * Rollups: what a segment's rows add up to for each actor and stream, so that counts and sums over
 * hours are not decoded row by row. A segment whose rows all lie in the range is answered from its
 * rollup; the rest is left to a scan with `rolled` set, which leaves out exactly those segments.
 */
#ifndef KP_STORAGE_ROLLUP_H
#define KP_STORAGE_ROLLUP_H

#include "column/batch.h"

struct kp_snapshot;
struct kp_rollup;

/* All rows of one actor in one segment. */
struct kp_rollup_row {
    kp_actor_id actor; /* of kp_snapshot_actors; KP_ACTOR_UNKNOWN for rows without one */
    int64_t count;
    kp_dur sum, min, max; /* of column dur; 0 in streams that have none */
};

/* The snapshot must outlive it; one thread. */
kp_status kp_rollup_open(struct kp_snapshot *snapshot, const struct kp_stream *stream, kp_time from,
                         kp_time to, struct kp_rollup **out, struct kp_error *err) KP_MUST;
/* The rows of the next segment or END. Valid until the next call. */
kp_status kp_rollup_next(struct kp_rollup *rollup, const struct kp_rollup_row **out_rows,
                         uint32_t *out_count, struct kp_error *err) KP_MUST;
void kp_rollup_close(struct kp_rollup *rollup);

#endif
