/* SPDX-License-Identifier: Apache-2.0
 *
 * Column codecs: how the values of one column of a block become bytes and come back.
 *
 *   chunk = code (1 byte), body          code names the codec of the body
 *   chunk = code | ZSTD, varint raw size of the body, zstd frame of the body
 *
 * The encoder tries the codecs of a level on a sample of the column and keeps the smallest.
 * Decoders trust nothing: every length is checked and every chunk must give exactly the rows asked
 * for. A new codec is one entry in the table of codec_int.c and one number in format_page.h.
 */
#ifndef KP_STORAGE_CODEC_H
#define KP_STORAGE_CODEC_H

#include "base/arena.h"
#include "base/bytes.h"
#include "storage/format_page.h"
#include "storage/storage_int.h"

/* One way to write integers. Stateless. */
struct kpi_codec {
    const char *name;
    uint8_t code;     /* enum kpi_chunk */
    bool sealed_only; /* pays only when zstd follows */
    /* Appends the body. LIMIT: these values do not suit this codec. */
    kp_status (*encode)(const int64_t *values, uint32_t count, enum kpi_level level,
                        struct kp_buf *out);
    /* Fills exactly count values or says CORRUPT. */
    kp_status (*decode)(struct kp_reader *in, uint32_t count, int64_t *out);
};

/* What one look at values tells (codec_shape.c). */
struct kpi_shape {
    uint64_t span, step_span; /* greatest - least, of values and of differences */
    uint32_t changes;         /* values that differ from the one before */
};
struct kpi_shape kpi_shape_of(const int64_t *values, uint32_t count);
/* Whether values spread over the column repeat. */
bool kpi_few_values(const int64_t *values, uint32_t count);
/* False: on such values the codec cannot be the best. few: kpi_few_values. */
bool kpi_codec_hopeful(uint8_t code, const struct kpi_shape *shape, uint32_t count, bool few);
/* The codec to take without trying. */
enum kpi_chunk kpi_light_choose(const int64_t *values, uint32_t count);

/* Whether all values are one. */
bool kpi_ints_same(const int64_t *values, uint32_t count);
/* Appends a chunk with the best codec of the level. count >= 1. */
kp_status kpi_ints_encode(const int64_t *values, uint32_t count, enum kpi_level level,
                          struct kp_buf *out) KP_MUST;
/* Decodes a chunk of exactly count values. */
kp_status kpi_ints_decode(const void *chunk, size_t size, uint32_t count, int64_t *out) KP_MUST;
/* Name of a chunk's codec for inspect ("pack", "dict+zstd" without the suffix); never NULL. */
const char *kpi_chunk_name(uint8_t code);

/* A chunk inside a body: varint size, chunk. level HOT: zstd comes around the whole. */
kp_status kpi_ints_nest(const int64_t *values, uint32_t count, enum kpi_level level,
                        struct kp_buf *out) KP_MUST;
kp_status kpi_ints_unnest(struct kp_reader *in, uint32_t count, int64_t *out) KP_MUST;

/* The same for a STR vector; the result is dictionary-coded or plain, bytes in arena. */
kp_status kpi_strs_encode(const struct kp_vec *vec, uint32_t count, enum kpi_level level,
                          struct kp_buf *out) KP_MUST;
kp_status kpi_strs_decode(const void *chunk, size_t size, uint32_t count, struct kp_arena *arena,
                          struct kp_vec *out) KP_MUST;
/* Strings one after the other: varint length, bytes. Read strings point into the input. */
void kpi_str_add(struct kp_buf *out, struct kp_str text);
struct kp_str kpi_str_read(struct kp_reader *in);

/* Bit-packing (codec_bits.c). One vector of 1024 values below 2^width takes 128 * width bytes:
 * value i lies in 64-bit lane i % 16 at bit (i / 16) * width of that lane, lanes interleaved by
 * word. */
void kpi_bits_pack(const uint64_t *values, unsigned width, uint8_t *out);
void kpi_bits_unpack(const uint8_t *in, unsigned width, uint64_t *out);
/* Short vectors: one plain stream of bits, lowest first; (count * width + 7) / 8 bytes. */
void kpi_bits_pack_tail(const uint64_t *values, uint32_t count, unsigned width, uint8_t *out);
void kpi_bits_unpack_tail(const uint8_t *in, uint32_t count, unsigned width, uint64_t *out);
/* CLASS (codec_class.c): a symbol for the size of each value, then the bits below it. */
kp_status kpi_class_encode(const int64_t *values, uint32_t count, enum kpi_level level,
                           struct kp_buf *out) KP_MUST;
kp_status kpi_class_decode(struct kp_reader *in, uint32_t count, int64_t *out) KP_MUST;

static inline unsigned kpi_bits_of(uint64_t value)
{
    return value == 0 ? 0 : 64 - (unsigned)__builtin_clzll(value);
}

/* The seam to zstd (codec_zstd.c): the only file that knows it. */
/* Replaces the chunk body out->data[at..] (after its code byte) by its compressed form when
 * smaller; sets the flag in the code byte. Level FAST: quickly; HOT, BARE: nothing is done. */
kp_status kpi_zstd_shrink(struct kp_buf *out, size_t chunk_at, enum kpi_level level) KP_MUST;
/* Compressed size of bytes at the level of sealed blocks, for choosing; size itself on any failure.
 */
size_t kpi_zstd_size(const void *bytes, size_t size);
/* A chunk's body in plain form: the input itself, or memory from arena (malloc'd into *out_owned
 * when arena is NULL; free it). */
kp_status kpi_chunk_body(const void *chunk, size_t size, struct kp_arena *arena, uint8_t *out_code,
                         struct kp_reader *out_body, void **out_owned) KP_MUST;

#endif
