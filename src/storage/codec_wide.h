/* SPDX-License-Identifier: Apache-2.0
 *
 * Decoder loops that are compiled once for each vector unit an x86 processor may have; the widest
 * one of this machine is taken at run time. There is one source for all: a plain loop that the
 * compiler vectorises for its target, so they can only differ by a fault of the compiler, and tests
 * compare them all.
 */
#ifndef KP_STORAGE_CODEC_WIDE_H
#define KP_STORAGE_CODEC_WIDE_H

#include "storage/codec.h"

enum kpi_wide_unit { KPI_WIDE_UNIT_NONE, KPI_WIDE_UNIT_AVX2, KPI_WIDE_UNIT_AVX512, KPI_WIDE_UNITS };

/* What a function is compiled with, by unit. */
#define KPI_WIDE_NONE __attribute__((optimize("O2")))
#ifdef __x86_64__
#define KPI_WIDE_AVX2   __attribute__((optimize("O3"), target("avx2,bmi2")))
#define KPI_WIDE_AVX512 __attribute__((optimize("O3"), target("avx512f,avx512bw,avx512vl,bmi2")))
#else
#define KPI_WIDE_AVX2
#define KPI_WIDE_AVX512
#endif

/* The widest unit of this machine, or what KP_SIMD (none, avx2) in the environment allows; any
 * thread. */
enum kpi_wide_unit kpi_wide_unit(void);

/* kpi_bits_unpack on a unit that the machine has. */
void kpi_bits_unpack_on(enum kpi_wide_unit unit, const uint8_t *in, unsigned width, uint64_t *out);

/* out[i] = base + the number whose byte b is from[b * count + i], b < planes <= 8. */
void kpi_planes_join(const uint8_t *from, unsigned planes, uint32_t count, uint64_t base,
                     uint64_t *out);
void kpi_planes_join_on(enum kpi_wide_unit unit, const uint8_t *from, unsigned planes,
                        uint32_t count, uint64_t base, uint64_t *out);

#endif
