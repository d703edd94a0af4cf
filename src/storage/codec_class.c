/* SPDX-License-Identifier: Apache-2.0
 *
 * CLASS: integers of no fixed width, as times between events and durations are. A value becomes a
 * symbol that tells how many bits it has and its two bits below the highest, and the bits that are
 * left. Symbols repeat and zstd codes them by how often they occur; the bits are noise and are
 * stored as they are, so zstd neither sees nor spoils them (the idea of Elias-gamma codes with an
 * entropy-coded prefix).
 *
 *   zigzag varint base, varint size, chunk of symbols (a byte each, perhaps zstd), bits
 *
 * Invariant: the symbols alone tell how many bits follow; a body of any other length is CORRUPT.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "storage/codec.h"

#define SYMBOLS_EXACT 8u /* values below are their own symbol */
#define TOP_BITS      2u

static uint8_t class_symbol(uint64_t value)
{
    if (value < SYMBOLS_EXACT)
        return (uint8_t)value;
    unsigned high = kpi_bits_of(value) - 1;
    unsigned top = (unsigned)(value >> (high - TOP_BITS)) & 3;
    return (uint8_t)(SYMBOLS_EXACT + (high - 3) * 4 + top);
}

/* Bits behind a symbol, and the value when all of them are zero. */
static unsigned class_rest(uint8_t symbol, uint64_t *out_value)
{
    if (symbol < SYMBOLS_EXACT) {
        *out_value = symbol;
        return 0;
    }
    unsigned rest = (symbol - SYMBOLS_EXACT) / 4 + 3 - TOP_BITS;
    *out_value = (uint64_t)(4 + (symbol - SYMBOLS_EXACT) % 4) << rest;
    return rest;
}

/* ---------- encoding ---------- */

static void symbols_add(const int64_t *values, uint32_t count, uint64_t base, struct kp_buf *out)
{
    uint8_t *to = kp_buf_reserve(out, count);
    if (to == NULL)
        return;
    for (uint32_t i = 0; i < count; i++)
        to[i] = class_symbol((uint64_t)values[i] - base);
    out->size += count;
}

static void rests_add(const int64_t *values, uint32_t count, uint64_t base, struct kp_buf *out)
{
    uint8_t *to = kp_buf_reserve(out, (size_t)count * 8 + 8);
    if (to == NULL)
        return;
    unsigned __int128 pending = 0;
    unsigned held = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t value = (uint64_t)values[i] - base, floor;
        unsigned rest = class_rest(class_symbol(value), &floor);
        pending |= (unsigned __int128)(value - floor) << held;
        for (held += rest; held >= 8; held -= 8, pending >>= 8)
            *to++ = (uint8_t)pending;
    }
    if (held > 0)
        *to++ = (uint8_t)pending;
    out->size = (size_t)((char *)to - out->data);
}

kp_status kpi_class_encode(const int64_t *values, uint32_t count, enum kpi_level level,
                           struct kp_buf *out)
{
    struct kp_buf symbols = {0};
    uint8_t number[10];
    int64_t base = values[0];
    for (uint32_t i = 1; i < count; i++)
        base = KP_MIN(base, values[i]);
    kp_buf_char(&symbols, 0);
    symbols_add(values, count, (uint64_t)base, &symbols);
    kp_status status = kpi_zstd_shrink(&symbols, 0, level);
    kp_buf_add(out, number, kp_store_varint(number, kp_zigzag(base)));
    kp_buf_add(out, number, kp_store_varint(number, symbols.size));
    kp_buf_add(out, symbols.data, symbols.size);
    rests_add(values, count, (uint64_t)base, out);
    kp_buf_deinit(&symbols);
    return status == KP_OK && out->failed ? KP_NO_MEMORY : status;
}

/* ---------- decoding ---------- */

/* What each symbol stands for. */
struct class_table {
    uint64_t floor[UINT8_MAX + 1];
    uint8_t rest[UINT8_MAX + 1];
};

static void table_fill(struct class_table *table)
{
    for (unsigned symbol = 0; symbol <= UINT8_MAX; symbol++)
        table->rest[symbol] = (uint8_t)class_rest((uint8_t)symbol, &table->floor[symbol]);
}

/* `rest` bits at bit `at` when at least 9 bytes follow, and when fewer may. */
static inline uint64_t bits_inside(const uint8_t *bytes, uint64_t at, unsigned rest)
{
    unsigned shift = at % 8;
    uint64_t low;
    memcpy(&low, bytes + at / 8, sizeof(low));
    low >>= shift;
    low |= (uint64_t)bytes[at / 8 + 8] << 1 << (63 - shift);
    return low & (((uint64_t)1 << rest) - 1);
}

static uint64_t bits_near_end(const uint8_t *bytes, size_t size, uint64_t at, unsigned rest)
{
    uint8_t copy[16] = {0};
    if (at / 8 < size)
        memcpy(copy, bytes + at / 8, KP_MIN(size - at / 8, sizeof(copy)));
    return bits_inside(copy, at % 8, rest);
}

/* The caller has checked that the bits are there. */
static void values_fill(const struct class_table *table, const uint8_t *symbols, uint32_t count,
                        const uint8_t *bytes, size_t size, uint64_t base, int64_t *out)
{
    uint64_t at = 0, inside = size < 9 ? 0 : (uint64_t)(size - 8) * 8;
    uint32_t i = 0;
    for (; i < count && at < inside; i++) {
        unsigned rest = table->rest[symbols[i]];
        out[i] = (int64_t)(base + table->floor[symbols[i]] + bits_inside(bytes, at, rest));
        at += rest;
    }
    for (; i < count; i++) {
        unsigned rest = table->rest[symbols[i]];
        out[i] = (int64_t)(base + table->floor[symbols[i]] + bits_near_end(bytes, size, at, rest));
        at += rest;
    }
}

static kp_status values_read(struct kp_reader *in, const uint8_t *symbols, uint32_t count,
                             uint64_t base, int64_t *out)
{
    struct class_table table;
    uint64_t bits = 0;
    table_fill(&table);
    for (uint32_t i = 0; i < count; i++)
        bits += table.rest[symbols[i]];
    size_t size = (size_t)((bits + 7) / 8);
    const uint8_t *bytes = kp_read_bytes(in, size);
    if (bytes == NULL)
        return KP_CORRUPT;
    values_fill(&table, symbols, count, bytes, size, base, out);
    return KP_OK;
}

kp_status kpi_class_decode(struct kp_reader *in, uint32_t count, int64_t *out)
{
    uint64_t base = (uint64_t)kp_unzigzag(kp_read_varint(in));
    uint64_t size = kp_read_varint(in);
    const uint8_t *chunk = size > kp_reader_left(in) ? NULL : kp_read_bytes(in, size);
    if (chunk == NULL)
        return KP_CORRUPT;
    uint8_t code;
    struct kp_reader symbols;
    void *owned;
    kp_status status = kpi_chunk_body(chunk, size, NULL, &code, &symbols, &owned);
    if (status != KP_OK)
        return status;
    status = code == 0 && kp_reader_left(&symbols) == count
                 ? values_read(in, symbols.at, count, base, out)
                 : KP_CORRUPT;
    free(owned);
    return status;
}
