/* SPDX-License-Identifier: Apache-2.0
 *
 * What the two models of cold segments share (codec_range.c, codec_direct.c): how a number is
 * split, and the binary arithmetic coder (carry-less, 32 bits).
 *
 *   zigzag varint base, varint size, coded bits, plain bits
 *
 * A number is split as CLASS does (codec_class.c): a symbol for its size and two bits below the
 * highest, then the rest, of which the first bits are coded and the others lie plain behind.
 */
#ifndef KP_STORAGE_RANGE_INT_H
#define KP_STORAGE_RANGE_INT_H

#include "base/assert.h"
#include "storage/codec.h"
#include "storage/range.h"

#define KPI_RANGE_EXACT 8u  /* numbers below are their own symbol */
#define KPI_RANGE_WIDE  61u /* bits of a rest at most */
#define KPI_RANGE_SLACK 4u  /* bytes a reader may want behind the coded bits */

/* ---------- numbers ---------- */

static inline uint8_t kpi_range_symbol(uint64_t value)
{
    if (value < KPI_RANGE_EXACT)
        return (uint8_t)value;
    unsigned high = kpi_bits_of(value) - 1;
    return (uint8_t)(KPI_RANGE_EXACT + (high - 3) * 4 + ((value >> (high - 2)) & 3));
}

/* Bits behind a symbol, and the number when all of them are 0. */
static inline unsigned kpi_range_rest(uint8_t symbol, uint64_t *out_floor)
{
    if (symbol < KPI_RANGE_EXACT) {
        *out_floor = symbol;
        return 0;
    }
    unsigned rest = (symbol - KPI_RANGE_EXACT) / 4u + 1;
    *out_floor = rest > KPI_RANGE_WIDE ? 0 : (uint64_t)(4 + (symbol - KPI_RANGE_EXACT) % 4) << rest;
    return rest;
}

/* How many of the bits of a rest are coded. */
typedef unsigned (*kpi_range_coded)(unsigned rest);

static inline unsigned kpi_range_plain(uint64_t value, kpi_range_coded coded)
{
    uint64_t floor;
    unsigned rest = kpi_range_rest(kpi_range_symbol(value), &floor);
    return rest - coded(rest);
}

static inline void kpi_range_plain_add(const int64_t *values, uint32_t count, uint64_t base,
                                       kpi_range_coded coded, struct kp_buf *out)
{
    uint8_t *to = kp_buf_reserve(out, (size_t)count * 8 + 8), *begin = to;
    unsigned __int128 pending = 0;
    unsigned held = 0;
    if (to == NULL)
        return;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t value = (uint64_t)values[i] - base;
        unsigned bits = kpi_range_plain(value, coded);
        pending |= (unsigned __int128)(value & (((uint64_t)1 << bits) - 1)) << held;
        for (held += bits; held >= 8; held -= 8, pending >>= 8)
            *to++ = (uint8_t)pending;
    }
    if (held > 0)
        *to++ = (uint8_t)pending;
    out->size += (size_t)(to - begin);
}

/* Adds the plain bits to values and the base to all. */
static inline kp_status kpi_range_plain_read(struct kp_reader *in, uint64_t base, uint32_t count,
                                             kpi_range_coded coded, int64_t *out)
{
    unsigned __int128 pending = 0;
    unsigned held = 0;
    for (uint32_t i = 0; i < count; i++) {
        unsigned bits = kpi_range_plain((uint64_t)out[i], coded);
        for (; held < bits; held += 8)
            pending |= (unsigned __int128)kp_read_u8(in) << held;
        uint64_t low = (uint64_t)pending & (((uint64_t)1 << bits) - 1);
        out[i] = (int64_t)((uint64_t)out[i] + low + base);
        pending >>= bits;
        held -= bits;
    }
    return in->bad ? KP_CORRUPT : KP_OK;
}

static inline int64_t kpi_range_base(const int64_t *values, uint32_t count)
{
    int64_t base = values[0];
    for (uint32_t i = 1; i < count; i++)
        base = KP_MIN(base, values[i]);
    return base;
}

/* ---------- bits ---------- */

struct kpi_coder {
    uint32_t low, high, code; /* code: reader */
    const uint8_t *in, *end;
    uint32_t beyond; /* bytes wanted behind the end */
    struct kp_buf *out;
};

static inline uint8_t kpi_coder_byte(struct kpi_coder *coder)
{
    if (coder->in < coder->end)
        return *coder->in++;
    coder->beyond++;
    return 0;
}

static inline struct kpi_coder kpi_coder_reader(const uint8_t *bytes, size_t size)
{
    struct kpi_coder coder = {.high = UINT32_MAX, .in = bytes, .end = bytes + size};
    for (int i = 0; i < 4; i++)
        coder.code = coder.code << 8 | kpi_coder_byte(&coder);
    return coder;
}

/* One bit, written or read; chance: of a 1, in 4096ths. */
static inline uint32_t kpi_coder_bit(struct kpi_coder *coder, uint32_t chance, uint32_t bit)
{
    uint32_t mid = coder->low + (uint32_t)((uint64_t)(coder->high - coder->low) * chance >> 12);
    if (coder->out == NULL)
        bit = coder->code <= mid;
    if (bit)
        coder->high = mid;
    else
        coder->low = mid + 1;
    while (((coder->low ^ coder->high) & 0xff000000u) == 0) {
        if (coder->out != NULL)
            kp_buf_char(coder->out, (char)(coder->high >> 24));
        else
            coder->code = coder->code << 8 | kpi_coder_byte(coder);
        coder->low <<= 8;
        coder->high = coder->high << 8 | 0xff;
    }
    return bit;
}

/* The last byte: any number between low and high. */
static inline void kpi_coder_end(struct kpi_coder *coder)
{
    kp_buf_char(coder->out, (char)(coder->low >> 24) + 1);
}

/* ---------- the chunk around a model ---------- */

struct kpi_model {
    /* Appends the coded bits of values - base. LIMIT: one of them is wider than 63 bits. */
    kp_status (*write)(const int64_t *values, const uint16_t *kinds, uint32_t count, uint64_t base,
                       struct kp_buf *out);
    /* Fills numbers whose plain bits are 0. */
    kp_status (*read)(struct kpi_coder *coder, const uint16_t *kinds, uint32_t count, int64_t *out);
    kpi_range_coded coded;
};

/* Inline for the models to be known where they are called. */
static inline kp_status kpi_model_encode(const struct kpi_model *model, const int64_t *values,
                                         const uint16_t *kinds, uint32_t count, struct kp_buf *out)
{
    struct kp_buf coded = {0};
    uint8_t number[10];
    int64_t base = kpi_range_base(values, count);
    kp_status status = model->write(values, kinds, count, (uint64_t)base, &coded);
    kp_buf_add(out, number, kp_store_varint(number, kp_zigzag(base)));
    kp_buf_add(out, number, kp_store_varint(number, coded.size));
    kp_buf_add(out, coded.data, coded.size);
    if (status == KP_OK)
        kpi_range_plain_add(values, count, (uint64_t)base, model->coded, out);
    kp_buf_deinit(&coded);
    return status == KP_OK && out->failed ? KP_NO_MEMORY : status;
}

static inline kp_status kpi_model_decode(const struct kpi_model *model, struct kp_reader *in,
                                         const uint16_t *kinds, uint32_t count, int64_t *out)
{
    uint64_t base = (uint64_t)kp_unzigzag(kp_read_varint(in));
    uint64_t size = kp_read_varint(in);
    const uint8_t *coded = size > kp_reader_left(in) ? NULL : kp_read_bytes(in, size);
    if (coded == NULL)
        return KP_CORRUPT;
    struct kpi_coder coder = kpi_coder_reader(coded, size);
    kp_status status = model->read(&coder, kinds, count, out);
    return status == KP_OK ? kpi_range_plain_read(in, base, count, model->coded, out) : status;
}

#endif
