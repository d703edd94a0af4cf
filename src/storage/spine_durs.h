/* SPDX-License-Identifier: Apache-2.0
 *
 * Durations of cold pages lie in the spine (spine_durs.c), not in the blocks of their streams.
 */
#ifndef KP_STORAGE_SPINE_DURS_H
#define KP_STORAGE_SPINE_DURS_H

#include "storage/spine.h"

/* The column of durations, which cold blocks leave to the spine; 0 when it has none. */
uint32_t kpi_spine_dur(const struct kp_stream *stream);
/* Appends the durations of all batches that have any (spine_durs.c), for a cold page. period: of
 * the clock's ticks (ticks.h), 0 = none. */
kp_status kpi_spine_durs_encode(const struct kp_batch *batches, uint32_t count,
                                struct kpi_actor_set *actors, uint64_t period,
                                struct kp_buf *out) KP_MUST;

/* The other way round than kpi_spine_restore (spine.c): values in the order of rows become values
 * thread by thread. */
kp_status kpi_spine_lay(const struct kpi_block *block, uint32_t column, struct kp_arena *arena,
                        const int64_t *values, int64_t *out) KP_MUST;

#endif
