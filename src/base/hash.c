/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t kp_hash64(const void *bytes, size_t size_bytes, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes, size_bytes, seed);
}

struct kp_hash128 kp_hash128(const void *bytes, size_t size_bytes, uint64_t seed)
{
    XXH128_hash_t h = XXH3_128bits_withSeed(bytes, size_bytes, seed);
    return (struct kp_hash128){h.low64, h.high64};
}
