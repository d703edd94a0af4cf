/* SPDX-License-Identifier: Apache-2.0
 *
 * Which vector unit there is, and the loop of the PLANES codecs. All planes are read in one pass:
 * pass by pass over 8-byte values costs their memory traffic once for each plane.
 */
#include "storage/codec_wide.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static enum kpi_wide_unit widest;

static void find_widest(void)
{
#ifdef __x86_64__
    const char *most = getenv("KP_SIMD");
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512vl");
    if (most != NULL && strcmp(most, "none") == 0)
        avx2 = avx512 = false;
    if (most != NULL && strcmp(most, "avx2") == 0)
        avx512 = false;
    widest = avx512 ? KPI_WIDE_UNIT_AVX512 : avx2 ? KPI_WIDE_UNIT_AVX2 : KPI_WIDE_UNIT_NONE;
#endif
}

enum kpi_wide_unit kpi_wide_unit(void)
{
    pthread_once(&once, find_widest);
    return widest;
}

static inline __attribute__((always_inline)) void join(const uint8_t *restrict from,
                                                       const unsigned planes, uint32_t count,
                                                       uint64_t base, uint64_t *restrict out)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t value = 0;
        for (unsigned plane = 0; plane < planes; plane++)
            value |= (uint64_t)from[(size_t)plane * count + i] << (8 * plane);
        out[i] = base + value;
    }
}

/* The number of planes is a constant in each loop. */
static inline __attribute__((always_inline)) void
join_any(const uint8_t *from, unsigned planes, uint32_t count, uint64_t base, uint64_t *out)
{
    switch (planes) {
    case 0:
        return join(from, 0, count, base, out);
    case 1:
        return join(from, 1, count, base, out);
    case 2:
        return join(from, 2, count, base, out);
    case 3:
        return join(from, 3, count, base, out);
    case 4:
        return join(from, 4, count, base, out);
    default:
        return join(from, planes, count, base, out);
    }
}

static KPI_WIDE_NONE void join_none(const uint8_t *from, unsigned planes, uint32_t count,
                                    uint64_t base, uint64_t *out)
{
    join_any(from, planes, count, base, out);
}

static KPI_WIDE_AVX2 void join_avx2(const uint8_t *from, unsigned planes, uint32_t count,
                                    uint64_t base, uint64_t *out)
{
    join_any(from, planes, count, base, out);
}

static KPI_WIDE_AVX512 void join_avx512(const uint8_t *from, unsigned planes, uint32_t count,
                                        uint64_t base, uint64_t *out)
{
    join_any(from, planes, count, base, out);
}

void kpi_planes_join_on(enum kpi_wide_unit unit, const uint8_t *from, unsigned planes,
                        uint32_t count, uint64_t base, uint64_t *out)
{
    static void (*const by_unit[])(const uint8_t *, unsigned, uint32_t, uint64_t,
                                   uint64_t *) = {[KPI_WIDE_UNIT_NONE] = join_none,
                                                  [KPI_WIDE_UNIT_AVX2] = join_avx2,
                                                  [KPI_WIDE_UNIT_AVX512] = join_avx512};
    by_unit[unit](from, planes, count, base, out);
}

void kpi_planes_join(const uint8_t *from, unsigned planes, uint32_t count, uint64_t base,
                     uint64_t *out)
{
    kpi_planes_join_on(kpi_wide_unit(), from, planes, count, base, out);
}
