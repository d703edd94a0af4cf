/* SPDX-License-Identifier: Apache-2.0
 *
 * TICKS chunks (codec_ticks.c): differences of times whose clock ticks slower than a nanosecond.
 */
#ifndef KP_STORAGE_TICKS_H
#define KP_STORAGE_TICKS_H

#include "base/bytes.h"
#include "storage/storage_int.h"

/* How long a tick is, in 2^-32 ns, as differences of times tell; 0: nothing like it. */
uint64_t kpi_ticks_period(const int64_t *values, uint32_t count);
enum kpi_ticks {
    KPI_TICKS_CHAINED = 1, /* values are steps, each from where the one before ended */
    KPI_TICKS_SIGNED = 2,  /* some may be negative */
};
/* Appends the body of a chunk; kinds as in range.h. LIMIT: some values are beyond 2^60, or negative
 * and not said to be. */
kp_status kpi_ticks_encode(const int64_t *values, const uint16_t *kinds, uint32_t count,
                           uint64_t period, unsigned how, struct kp_buf *out) KP_MUST;
/* Fills exactly count values, given the same kinds, or says CORRUPT. */
kp_status kpi_ticks_decode(struct kp_reader *in, const uint16_t *kinds, uint32_t count,
                           int64_t *out) KP_MUST;

/* As a codec of columns: LIMIT, since a column does not tell the period; and its reader. */
kp_status kpi_ticks_body_encode(const int64_t *values, uint32_t count, enum kpi_level level,
                                struct kp_buf *out) KP_MUST;
kp_status kpi_ticks_body_decode(struct kp_reader *in, uint32_t count, int64_t *out) KP_MUST;

#endif
