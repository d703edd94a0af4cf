/* SPDX-License-Identifier: Apache-2.0
 *
 * What may be counted without reading it. The answers stay the same for the whole life of the
 * snapshot. Queue: the caller's.
 */
#ifndef KP_STORAGE_SOUND_H
#define KP_STORAGE_SOUND_H

#include "storage/snapshot.h"

/* True when what the rows of a stream in an open segment, or those of one block, are read from has
 * the sums it should have: they may be counted without reading. Else a scan reads what can be read
 * and tells of the rest. */
bool kpi_sound_stream(struct kp_snapshot *snapshot, uint32_t number, struct kp_io_queue *queue,
                      const struct kp_stream *stream);
bool kpi_sound_block(struct kp_snapshot *snapshot, uint32_t number, struct kp_io_queue *queue,
                     uint32_t block);

#endif
