/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers of a column in memory, in as few bytes each as their range needs. Flags, priorities, CPUs
 * and local numbers are most columns of a page: packed, several times as many pages find room, and
 * memory that was never used before, which is what a new page costs most, is asked for less.
 */
#ifndef KP_STORAGE_PACKED_H
#define KP_STORAGE_PACKED_H

#include "base/arena.h"
#include "storage/codec_wide.h"

struct kpi_packed {
    const void *items; /* what is to be added to base; with bytes 0 there are none */
    int64_t base;
    uint8_t bytes; /* of an item: 0, 1, 2, 4 or 8 */
};

/* The numbers as they are, borrowed. */
static inline struct kpi_packed kpi_packed_plain(const int64_t *values)
{
    return (struct kpi_packed){.items = values, .bytes = 8};
}

/* Packs a copy into arena. NO_MEMORY. */
kp_status kpi_pack(const int64_t *values, uint32_t count, struct kp_arena *arena,
                   struct kpi_packed *out) KP_MUST;

/* The same on a unit that the machine has. */
kp_status kpi_pack_on(enum kpi_wide_unit unit, const int64_t *values, uint32_t count,
                      struct kp_arena *arena, struct kpi_packed *out) KP_MUST;

/* Numbers of rows list[0 .. count), or with list NULL of [first, first + count). */
void kpi_packed_take(const struct kpi_packed *packed, const uint32_t *list, uint32_t first,
                     uint32_t count, int64_t *out);

static inline int64_t kpi_packed_at(const struct kpi_packed *packed, uint32_t row)
{
    int64_t value;
    kpi_packed_take(packed, NULL, row, 1, &value);
    return value;
}

#endif
