/* SPDX-License-Identifier: Apache-2.0
 *
 * Adaptive chances in a table, as DIRECT (codec_direct.c) and TICKS (codec_ticks.c) keep them: one
 * for each context and node of the tree of bits that a number is.
 */
#ifndef KP_STORAGE_DIRECT_INT_H
#define KP_STORAGE_DIRECT_INT_H

#include "storage/range_int.h"

#define KPI_DIRECT_COUNT_BITS 6u
#define KPI_DIRECT_COUNT_MAX  40u /* a chance moves by a fortieth at least */

struct kpi_direct {
    uint32_t *slots; /* chance of a 1 in 26 bits, then how often it was asked */
    uint32_t mask;
    uint32_t base;                              /* of the present context */
    uint16_t step[1u << KPI_DIRECT_COUNT_BITS]; /* 65536 / (n + 1.5) */
};

/* For so many numbers. Freed by kpi_direct_deinit, also after a failure. */
kp_status kpi_direct_init(struct kpi_direct *direct, uint32_t count) KP_MUST;
void kpi_direct_deinit(struct kpi_direct *direct);

static inline uint32_t kpi_direct_base(uint32_t context)
{
    uint32_t x = (context + 1) * 0x85ebca6bu;
    return x ^ x >> 15;
}

/* One bit at a node, written or read, and what it teaches. */
static inline uint32_t kpi_direct_bit(struct kpi_coder *coder, struct kpi_direct *direct,
                                      uint32_t node, uint32_t bit)
{
    uint32_t place = direct->base ^ node * 0x9e3779b1u;
    uint32_t *slot = &direct->slots[(place ^ place >> 16) & direct->mask];
    uint32_t now = *slot, n = now & ((1u << KPI_DIRECT_COUNT_BITS) - 1), chance = now >> 20;
    bit = kpi_coder_bit(coder, KP_MAX(1u, KP_MIN(4094u, chance)), bit);
    int64_t aim = bit ? (1 << 26) - 1 : 0, is = now >> KPI_DIRECT_COUNT_BITS;
    uint32_t next = (uint32_t)(is + ((aim - is) * direct->step[n] >> 16));
    *slot = next << KPI_DIRECT_COUNT_BITS | (n + (n < KPI_DIRECT_COUNT_MAX));
    return bit;
}

/* The bits of a tree from its node on, highest first; returns the leaf. */
static inline uint32_t kpi_direct_bits(struct kpi_coder *coder, struct kpi_direct *direct,
                                       uint32_t node, unsigned count, uint32_t bits)
{
    while (count-- > 0)
        node = node << 1 | kpi_direct_bit(coder, direct, node, bits >> count & 1);
    return node;
}

#endif
