/* SPDX-License-Identifier: Apache-2.0
 *
 * Sums of edited files made right again, as somebody would who knows the format: what a fuzzer
 * changes is met behind the sums too.
 */
#ifndef KP_TESTS_FUZZ_SUMS_H
#define KP_TESTS_FUZZ_SUMS_H

#include <stddef.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "storage/manifest.h"
#include "storage/segment.h"
#include "storage/wal.h"

static uint64_t sums_seed; /* of the store's records: kpi_store_seed */

static inline void wal_sums_fix(uint8_t *bytes, size_t size)
{
    for (size_t at = 0; at + KPI_BLOCK <= size; at += KPI_BLOCK) {
        struct kpi_wal_header header;
        memcpy(&header, bytes + at, sizeof(header));
        if (header.magic != KPI_WAL_RECORD_MAGIC)
            continue;
        if (header.payload_size <= size - at - sizeof(header))
            header.payload_hash =
                kp_hash128(bytes + at + sizeof(header), header.payload_size, sums_seed);
        header.hash = kp_hash128(&header, offsetof(struct kpi_wal_header, hash), sums_seed);
        memcpy(bytes + at, &header, sizeof(header));
    }
}

static inline void super_sums_fix(uint8_t *bytes, size_t size)
{
    for (size_t at = 0; at + sizeof(struct kpi_super) <= size; at += KPI_BLOCK) {
        struct kpi_super super;
        memcpy(&super, bytes + at, sizeof(super));
        super.hash = kp_hash128(&super, offsetof(struct kpi_super, hash), 0);
        memcpy(bytes + at, &super, sizeof(super));
    }
}

/* The footer is where the trailer says, or right before it when that is nonsense. */
static inline void segment_sums_fix(uint8_t *bytes, size_t size)
{
    if (size < KPI_SEGMENT_HEADER + KPI_SEGMENT_TRAILER)
        return;
    uint8_t *trailer = bytes + size - KPI_SEGMENT_TRAILER;
    uint64_t end = size - KPI_SEGMENT_TRAILER;
    uint64_t footer = kp_load_u64(trailer + KPI_TRAILER_AT_FOOTER);
    if (footer < KPI_SEGMENT_HEADER || footer > end)
        footer = KPI_SEGMENT_HEADER;
    uint64_t id = kp_load_u64(trailer + KPI_TRAILER_AT_ID);
    struct kp_hash128 hash =
        kp_hash128(bytes + footer, end - footer, kp_hash_mix(id ^ kp_hash_mix(footer)));
    kp_store_u64(trailer + KPI_TRAILER_AT_MAGIC, KPI_SEGMENT_END_MAGIC);
    kp_store_u64(trailer + KPI_TRAILER_AT_FOOTER, footer);
    kp_store_u64(trailer + KPI_TRAILER_AT_FOOTER_SIZE, end - footer);
    kp_store_u64(trailer + KPI_TRAILER_AT_FOOTER_HASH, hash.lo);
    kp_store_u64(trailer + KPI_TRAILER_AT_FOOTER_HASH + 8, hash.hi);
    kp_store_u64(trailer + KPI_TRAILER_AT_SUM, kp_hash64(trailer, KPI_TRAILER_AT_SUM, 0));
}

#endif
