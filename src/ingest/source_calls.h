/* SPDX-License-Identifier: Apache-2.0
 *
 * What system calls do with descriptors, by the numbers of this architecture.
 */
#ifndef KP_INGEST_SOURCE_CALLS_H
#define KP_INGEST_SOURCE_CALLS_H

#include <stdint.h>

/* Fills out[number] with an enum kp_call (bpf/config.h) for numbers below count. */
void kpi_calls_fill(uint8_t *out, uint32_t count);

#endif
