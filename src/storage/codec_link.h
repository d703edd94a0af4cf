/* SPDX-License-Identifier: Apache-2.0
 *
 * Strings of a block that are told by other rows and columns of it (codec_link.c).
 */
#ifndef KP_STORAGE_CODEC_LINK_H
#define KP_STORAGE_CODEC_LINK_H

#include "storage/block.h"

/* Appends a STR column of a sealed or cold block of its own: linked where that takes fewer bytes,
 * else as kpi_strs_encode does. *out_linked: whether it is. */
kp_status kpi_link_encode(const struct kp_batch *batch, uint32_t column, enum kpi_level level,
                          bool *out_linked, struct kp_buf *out) KP_MUST;
/* The other way, for both; memory from arena. */
kp_status kpi_link_decode(const struct kpi_block *block, uint32_t column, struct kp_arena *arena,
                          struct kp_vec *out) KP_MUST;

#endif
