/* SPDX-License-Identifier: Apache-2.0
 *
 * Joined blocks: what a commit of the log holds of the kernel's streams, in one block. It has one
 * spine, one table of actors and one directory for all streams, because a commit is often a few
 * rows of each of many streams, and then headers, times and actors of their own are most of its
 * bytes.
 */
#ifndef KP_STORAGE_JOINED_H
#define KP_STORAGE_JOINED_H

#include "storage/spine.h"

/* ---------- writing (join.c) ---------- */

/* Rows of a commit that are not encoded yet. Used by one thread at a time. */
struct kpi_join;

/* `memory` bytes for rows, fixed; rows that may need more than `limit` bytes encoded are not taken.
 * actors: the registry of all batches, borrowed. */
kp_status kpi_join_new(const struct kp_actors *actors, size_t memory, size_t limit,
                       struct kpi_join **out) KP_MUST;
void kpi_join_free(struct kpi_join *join);
/* Bytes that kpi_join_new takes for itself. */
size_t kpi_join_memory(size_t memory);
/* Copies a stored batch of a kernel stream. False: it finds no room behind what is there, or (when
 * nothing is there) at all; nothing was taken. */
bool kpi_join_add(struct kpi_join *join, const struct kp_batch *batch);
uint32_t kpi_join_rows(const struct kpi_join *join);
/* Appends the rows as blocks: a joined one, or those of each stream when their order does not suit
 * a spine. The join is empty afterwards, whatever happens. */
kp_status kpi_join_encode(struct kpi_join *join, struct kp_buf *out) KP_MUST;

/* ---------- reading (joined.c) ---------- */

/* The streams of an open joined block, one after the other: stream, rows and ranges are set in
 * *out, nothing can be decoded of it. END: no more. *at is 0 before the first. */
kp_status kpi_joined_next(const struct kpi_block *joined, uint32_t *at,
                          struct kpi_block *out) KP_MUST;
/* All of them, bound to the block's spine; memory from arena, the block's bytes stay borrowed. */
kp_status kpi_joined_open(const struct kpi_block *joined, struct kp_arena *arena,
                          struct kpi_block **out, uint32_t *out_count) KP_MUST;
/* The rows of the block of the log at the start of bytes, whichever it is: a batch for each of its
 * streams (room for KP_STREAM_MAX). */
kp_status kpi_block_batches(const void *bytes, size_t size, struct kp_actors *actors,
                            struct kp_arena *arena, struct kp_batch *out, uint32_t *out_count,
                            uint32_t *out_size) KP_MUST;

#endif
