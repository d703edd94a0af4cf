/* SPDX-License-Identifier: Apache-2.0
 *
 * Little-endian load and store, and a bounded reader for untrusted bytes.
 */
#ifndef KP_BASE_BYTES_H
#define KP_BASE_BYTES_H

#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "files are little-endian; port load/store");

static inline uint16_t kp_load_u16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static inline uint32_t kp_load_u32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static inline uint64_t kp_load_u64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static inline void kp_store_u16(void *p, uint16_t v)
{
    memcpy(p, &v, sizeof(v));
}

static inline void kp_store_u32(void *p, uint32_t v)
{
    memcpy(p, &v, sizeof(v));
}

static inline void kp_store_u64(void *p, uint64_t v)
{
    memcpy(p, &v, sizeof(v));
}

static inline uint64_t kp_zigzag(int64_t v)
{
    return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}

static inline int64_t kp_unzigzag(uint64_t v)
{
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

/* Reader over untrusted bytes: past the end it returns zeros and sets `bad` for good. */
struct kp_reader {
    const uint8_t *at;
    const uint8_t *end;
    bool bad;
};

static inline struct kp_reader kp_reader_init(const void *bytes, size_t size)
{
    return (struct kp_reader){bytes, (const uint8_t *)bytes + size, false};
}

static inline size_t kp_reader_left(const struct kp_reader *r)
{
    return (size_t)(r->end - r->at);
}

/* The next `size` bytes, or NULL (and bad) when they are not there. */
static inline const uint8_t *kp_read_bytes(struct kp_reader *r, size_t size)
{
    if (r->bad || size > kp_reader_left(r)) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *at = r->at;
    r->at += size;
    return at;
}

static inline uint8_t kp_read_u8(struct kp_reader *r)
{
    const uint8_t *p = kp_read_bytes(r, 1);
    return p == NULL ? 0 : *p;
}

static inline uint16_t kp_read_u16(struct kp_reader *r)
{
    const uint8_t *p = kp_read_bytes(r, 2);
    return p == NULL ? 0 : kp_load_u16(p);
}

static inline uint32_t kp_read_u32(struct kp_reader *r)
{
    const uint8_t *p = kp_read_bytes(r, 4);
    return p == NULL ? 0 : kp_load_u32(p);
}

static inline uint64_t kp_read_u64(struct kp_reader *r)
{
    const uint8_t *p = kp_read_bytes(r, 8);
    return p == NULL ? 0 : kp_load_u64(p);
}

/* LEB128, at most 10 bytes; overlong input is bad. */
uint64_t kp_read_varint(struct kp_reader *r);
/* Writes LEB128 into out (room for 10 bytes); returns the bytes used. */
size_t kp_store_varint(uint8_t *out, uint64_t v);

#endif
