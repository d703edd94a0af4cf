/* SPDX-License-Identifier: Apache-2.0
 *
 * Bit-packing in the interleaved layout of FastLanes (Afroozeh and Boncz, VLDB 2023) on sixteen
 * 64-bit lanes: neighbouring values sit in neighbouring lanes, so the inner loop runs the same
 * shift over sixteen words and a compiler turns it into vector code without intrinsics. One
 * function per width is generated so that shifts and word numbers are constants, and each is
 * compiled for every vector unit there may be (codec_wide.h). Vectors shorter than 1024 values
 * would waste up to the whole vector in this layout and are written as one plain stream of bits.
 */
#include "storage/codec_wide.h"

#define LANES  16u
#define ROUNDS (KPI_VECTOR_ROWS / LANES)

_Static_assert(ROUNDS == 64, "a lane holds 64 values, so width words of it are full");

static inline uint64_t width_mask(unsigned width)
{
    return width == 64 ? UINT64_MAX : ((uint64_t)1 << width) - 1;
}

static inline __attribute__((always_inline)) void pack(const uint64_t *values, const unsigned width,
                                                       uint8_t *out)
{
    uint64_t word[LANES] = {0};
    unsigned filled = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        const uint64_t *in = values + round * LANES;
        for (unsigned lane = 0; lane < LANES; lane++)
            word[lane] |= in[lane] << filled;
        filled += width;
        if (filled < 64)
            continue;
        memcpy(out, word, sizeof(word));
        out += sizeof(word);
        filled -= 64;
        for (unsigned lane = 0; lane < LANES; lane++)
            word[lane] = filled == 0 ? 0 : in[lane] >> (width - filled);
    }
}

static inline __attribute__((always_inline)) void unpack(const uint8_t *in, const unsigned width,
                                                         uint64_t *out)
{
    const uint64_t mask = width_mask(width);
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned bit = round * width;
        unsigned shift = bit % 64;
        uint64_t low[LANES], high[LANES];
        memcpy(low, in + (size_t)(bit / 64) * sizeof(low), sizeof(low));
        uint64_t *to = out + round * LANES;
        if (shift + width <= 64) {
            for (unsigned lane = 0; lane < LANES; lane++)
                to[lane] = low[lane] >> shift & mask;
            continue;
        }
        memcpy(high, in + (size_t)(bit / 64 + 1) * sizeof(high), sizeof(high));
        for (unsigned lane = 0; lane < LANES; lane++)
            to[lane] = (low[lane] >> shift | high[lane] << (64 - shift)) & mask;
    }
}

/* It never settles on this macro. */
/* clang-format off */
#define WIDTHS(X)                                                                                 \
    X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) X(16)        \
    X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30)           \
    X(31) X(32) X(33) X(34) X(35) X(36) X(37) X(38) X(39) X(40) X(41) X(42) X(43) X(44)           \
    X(45) X(46) X(47) X(48) X(49) X(50) X(51) X(52) X(53) X(54) X(55) X(56) X(57) X(58)           \
    X(59) X(60) X(61) X(62) X(63) X(64)
/* clang-format on */

#define PACK_FUNCTION(w)                                       \
    static void pack_##w(const uint64_t *values, uint8_t *out) \
    {                                                          \
        pack(values, w, out);                                  \
    }
WIDTHS(PACK_FUNCTION)

#define UNPACK_FUNCTION(unit, w)                                                      \
    static KPI_WIDE_##unit void unpack_##unit##_##w(const uint8_t *in, uint64_t *out) \
    {                                                                                 \
        unpack(in, w, out);                                                           \
    }
#define UNPACK_NONE(w)   UNPACK_FUNCTION(NONE, w)
#define UNPACK_AVX2(w)   UNPACK_FUNCTION(AVX2, w)
#define UNPACK_AVX512(w) UNPACK_FUNCTION(AVX512, w)
WIDTHS(UNPACK_NONE)
WIDTHS(UNPACK_AVX2)
WIDTHS(UNPACK_AVX512)

#define PACK_ENTRY(w)          pack_##w,
#define UNPACK_NONE_ENTRY(w)   unpack_NONE_##w,
#define UNPACK_AVX2_ENTRY(w)   unpack_AVX2_##w,
#define UNPACK_AVX512_ENTRY(w) unpack_AVX512_##w,
static void (*const pack_by_width[])(const uint64_t *, uint8_t *) = {NULL, WIDTHS(PACK_ENTRY)};
static void (*const unpack_by_width[][65])(const uint8_t *, uint64_t *) = {
    [KPI_WIDE_UNIT_NONE] = {NULL, WIDTHS(UNPACK_NONE_ENTRY)},
    [KPI_WIDE_UNIT_AVX2] = {NULL, WIDTHS(UNPACK_AVX2_ENTRY)},
    [KPI_WIDE_UNIT_AVX512] = {NULL, WIDTHS(UNPACK_AVX512_ENTRY)},
};

void kpi_bits_pack(const uint64_t *values, unsigned width, uint8_t *out)
{
    if (width != 0)
        pack_by_width[width](values, out);
}

void kpi_bits_unpack_on(enum kpi_wide_unit unit, const uint8_t *in, unsigned width, uint64_t *out)
{
    if (width == 0)
        memset(out, 0, KPI_VECTOR_ROWS * sizeof(*out));
    else
        unpack_by_width[unit][width](in, out);
}

void kpi_bits_unpack(const uint8_t *in, unsigned width, uint64_t *out)
{
    kpi_bits_unpack_on(kpi_wide_unit(), in, width, out);
}

void kpi_bits_pack_tail(const uint64_t *values, uint32_t count, unsigned width, uint8_t *out)
{
    unsigned __int128 pending = 0;
    unsigned filled = 0;
    for (uint32_t i = 0; i < count; i++) {
        pending |= (unsigned __int128)values[i] << filled;
        for (filled += width; filled >= 8; filled -= 8) {
            *out++ = (uint8_t)pending;
            pending >>= 8;
        }
    }
    if (filled > 0)
        *out = (uint8_t)pending;
}

void kpi_bits_unpack_tail(const uint8_t *in, uint32_t count, unsigned width, uint64_t *out)
{
    const uint64_t mask = width == 0 ? 0 : width_mask(width);
    unsigned __int128 pending = 0;
    unsigned filled = 0;
    for (uint32_t i = 0; i < count; i++) {
        for (; filled < width; filled += 8)
            pending |= (unsigned __int128)*in++ << filled;
        out[i] = (uint64_t)pending & mask;
        pending >>= width;
        filled -= width;
    }
}
