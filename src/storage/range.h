/* SPDX-License-Identifier: Apache-2.0
 *
 * RANGE and DIRECT chunks: numbers under adaptive models, for cold segments. Their readers pay
 * about 500 and 120 ns a number.
 */
#ifndef KP_STORAGE_RANGE_H
#define KP_STORAGE_RANGE_H

#include "base/bytes.h"
#include "storage/storage_int.h"

/* Appends the body of a chunk. kinds: what is known of each number when it is read, below 65,536;
 * numbers of a kind are expected to be alike. NULL: all are of one kind. count >= 1. */
kp_status kpi_range_encode(const int64_t *values, const uint16_t *kinds, uint32_t count,
                           struct kp_buf *out) KP_MUST;
/* Fills exactly count values, given the same kinds, or says CORRUPT. */
kp_status kpi_range_decode(struct kp_reader *in, const uint16_t *kinds, uint32_t count,
                           int64_t *out) KP_MUST;

/* The same as codecs of columns; LIMIT below the level of cold chunks. */
kp_status kpi_range_body_encode(const int64_t *values, uint32_t count, enum kpi_level level,
                                struct kp_buf *out) KP_MUST;
kp_status kpi_range_body_decode(struct kp_reader *in, uint32_t count, int64_t *out) KP_MUST;

/* The same with one model (codec_direct.c): nothing but the kind is known of a number. */
kp_status kpi_direct_encode(const int64_t *values, const uint16_t *kinds, uint32_t count,
                            struct kp_buf *out) KP_MUST;
kp_status kpi_direct_decode(struct kp_reader *in, const uint16_t *kinds, uint32_t count,
                            int64_t *out) KP_MUST;
kp_status kpi_direct_body_encode(const int64_t *values, uint32_t count, enum kpi_level level,
                                 struct kp_buf *out) KP_MUST;
kp_status kpi_direct_body_decode(struct kp_reader *in, uint32_t count, int64_t *out) KP_MUST;

#endif
