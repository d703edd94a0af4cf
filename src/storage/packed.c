/* SPDX-License-Identifier: Apache-2.0
 *
 * Packing: the least number is taken off, what is left of the greatest says how many bytes an item
 * has. Arithmetic is modulo 2^64, so no range is too wide. Two passes over numbers that were just
 * decoded; the loops are compiled for each vector unit (codec_wide.h).
 */
#include "storage/packed.h"

#include "base/assert.h"

struct range {
    int64_t least, greatest;
};

static inline __attribute__((always_inline)) struct range range_of(const int64_t *values,
                                                                   uint32_t count)
{
    int64_t least = values[0], greatest = least;
    for (uint32_t i = 0; i < count; i++) {
        least = KP_MIN(least, values[i]);
        greatest = KP_MAX(greatest, values[i]);
    }
    return (struct range){least, greatest};
}

#define FILL(type)                       \
    for (uint32_t i = 0; i < count; i++) \
    ((type *)items)[i] = (type)((uint64_t)values[i] - base)

static inline __attribute__((always_inline)) void fill(const int64_t *restrict values,
                                                       uint32_t count, uint64_t base, uint8_t bytes,
                                                       void *restrict items)
{
    if (bytes == 1)
        FILL(uint8_t);
    else if (bytes == 2)
        FILL(uint16_t);
    else if (bytes == 4)
        FILL(uint32_t);
    else
        FILL(uint64_t);
}

#define PACKERS(name, attributes)                                                            \
    static attributes struct range range_##name(const int64_t *values, uint32_t count)       \
    {                                                                                        \
        return range_of(values, count);                                                      \
    }                                                                                        \
    static attributes void fill_##name(const int64_t *values, uint32_t count, uint64_t base, \
                                       uint8_t bytes, void *items)                           \
    {                                                                                        \
        fill(values, count, base, bytes, items);                                             \
    }

PACKERS(none, KPI_WIDE_NONE)
PACKERS(avx2, KPI_WIDE_AVX2)
PACKERS(avx512, KPI_WIDE_AVX512)

static const struct {
    struct range (*range)(const int64_t *values, uint32_t count);
    void (*fill)(const int64_t *values, uint32_t count, uint64_t base, uint8_t bytes, void *items);
} packers[KPI_WIDE_UNITS] = {
    [KPI_WIDE_UNIT_NONE] = {range_none, fill_none},
    [KPI_WIDE_UNIT_AVX2] = {range_avx2, fill_avx2},
    [KPI_WIDE_UNIT_AVX512] = {range_avx512, fill_avx512},
};

static uint8_t bytes_for(uint64_t span)
{
    if (span <= UINT8_MAX)
        return span == 0 ? 0 : 1;
    return span <= UINT16_MAX ? 2 : span <= UINT32_MAX ? 4 : 8;
}

kp_status kpi_pack_on(enum kpi_wide_unit unit, const int64_t *values, uint32_t count,
                      struct kp_arena *arena, struct kpi_packed *out)
{
    struct range range = count == 0 ? (struct range){0, 0} : packers[unit].range(values, count);
    uint8_t bytes = bytes_for((uint64_t)range.greatest - (uint64_t)range.least);
    void *items = NULL;
    if (bytes > 0) {
        items = kp_arena_alloc(arena, (size_t)count * bytes);
        if (items == NULL)
            return KP_NO_MEMORY;
        packers[unit].fill(values, count, (uint64_t)range.least, bytes, items);
    }
    *out = (struct kpi_packed){.items = items, .base = range.least, .bytes = bytes};
    return KP_OK;
}

kp_status kpi_pack(const int64_t *values, uint32_t count, struct kp_arena *arena,
                   struct kpi_packed *out)
{
    return kpi_pack_on(kpi_wide_unit(), values, count, arena, out);
}

#define TAKE(type)                                                        \
    do {                                                                  \
        const type *items = packed->items;                                \
        for (uint32_t i = 0; i < count; i++)                              \
            out[i] = (int64_t)(base + items[list ? list[i] : first + i]); \
    } while (0)

void kpi_packed_take(const struct kpi_packed *packed, const uint32_t *list, uint32_t first,
                     uint32_t count, int64_t *out)
{
    uint64_t base = (uint64_t)packed->base;
    if (packed->bytes == 0)
        for (uint32_t i = 0; i < count; i++)
            out[i] = packed->base;
    else if (packed->bytes == 1)
        TAKE(uint8_t);
    else if (packed->bytes == 2)
        TAKE(uint16_t);
    else if (packed->bytes == 4)
        TAKE(uint32_t);
    else
        TAKE(uint64_t);
}
