/* SPDX-License-Identifier: Apache-2.0
 *
 * The seam to xxHash: XXH3-64 for tables and page checksums, XXH3-128 for WAL blocks.
 * Source of the algorithm: https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md.
 */
#ifndef KP_BASE_HASH_H
#define KP_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

struct kp_hash128 {
    uint64_t lo;
    uint64_t hi;
};

uint64_t kp_hash64(const void *bytes, size_t size_bytes, uint64_t seed);
struct kp_hash128 kp_hash128(const void *bytes, size_t size_bytes, uint64_t seed);

/* Mixes one 64-bit value (splitmix64 finaliser, Steele et al. 2014): for integer hash tables. */
static inline uint64_t kp_hash_mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9ull;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

#endif
