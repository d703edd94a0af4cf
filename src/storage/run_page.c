/* SPDX-License-Identifier: Apache-2.0
 *
 * Pages of the transaction index. They have a fixed size (but the last of a list), so that a fence
 * is a page number; within a page the widths fit what is there. Hashes are spread evenly, so
 * nothing cleverer than packed differences to the first key pays.
 */
#include "storage/run_page.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"

#define FENCE_SHIFT (KPI_RUN_KEY_BITS - 32u)
#define ROOM_BITS   ((KPI_RUN_PAGE - KPI_RUN_HEAD) * 8u)

static uint64_t page_seed(uint64_t id, uint64_t place)
{
    return kp_hash_mix(id ^ kp_hash_mix(place + 1));
}

/* ---------- bits ---------- */

static uint8_t bits_of(uint64_t value)
{
    return value == 0 ? 0 : (uint8_t)(64 - __builtin_clzll(value));
}

/* width <= 40: a value lies within the 8 bytes from its first. */
static uint64_t bits_get(const uint8_t *bytes, uint32_t at, uint8_t width)
{
    uint64_t word = kp_load_u64(bytes + at / 8) >> at % 8;
    return word & (((uint64_t)1 << width) - 1);
}

static void bits_put(uint8_t *bytes, uint32_t at, uint64_t value)
{
    uint8_t *to = bytes + at / 8;
    kp_store_u64(to, kp_load_u64(to) | value << at % 8);
}

/* ---------- writing ---------- */

kp_status kpi_run_packer_init(struct kpi_run_packer *packer)
{
    *packer =
        (struct kpi_run_packer){.entries = malloc(KPI_RUN_ENTRIES_MAX * sizeof(*packer->entries))};
    return packer->entries == NULL ? KP_NO_MEMORY : KP_OK;
}

void kpi_run_packer_deinit(struct kpi_run_packer *packer)
{
    free(packer->entries);
    packer->entries = NULL;
}

bool kpi_run_packer_takes(const struct kpi_run_packer *packer, const struct kpi_run_entry *entry)
{
    if (packer->count == 0)
        return true;
    kp_assert(entry->key >= packer->entries[packer->count - 1].key);
    uint32_t each = bits_of(entry->key - packer->entries[0].key) +
                    bits_of(KP_MAX(packer->segment_max, entry->segment)) +
                    bits_of(KP_MAX(packer->block_max, entry->block));
    return packer->count < KPI_RUN_ENTRIES_MAX && (packer->count + 1) * each <= ROOM_BITS;
}

void kpi_run_packer_add(struct kpi_run_packer *packer, const struct kpi_run_entry *entry)
{
    packer->entries[packer->count++] = *entry;
    packer->segment_max = KP_MAX(packer->segment_max, entry->segment);
    packer->block_max = KP_MAX(packer->block_max, entry->block);
}

/* The bytes that are used. */
static uint32_t columns_pack(const struct kpi_run_packer *packer, const uint8_t bits[3],
                             uint8_t *page)
{
    const struct kpi_run_entry *e = packer->entries;
    uint32_t count = packer->count;
    /* packed aside: the last value may reach beyond the page in its 8 bytes, with zeros */
    uint8_t columns[KPI_RUN_PAGE + 8] = {0};
    uint32_t segments_at = count * bits[0], blocks_at = segments_at + count * bits[1];
    for (uint32_t i = 0; i < count; i++) {
        bits_put(columns, i * bits[0], e[i].key - e[0].key);
        bits_put(columns, segments_at + i * bits[1], e[i].segment);
        bits_put(columns, blocks_at + i * bits[2], e[i].block);
    }
    memcpy(page + KPI_RUN_HEAD, columns, KPI_RUN_PAGE - KPI_RUN_HEAD);
    return KPI_RUN_HEAD + (blocks_at + count * bits[2] + 63) / 64 * 8;
}

uint32_t kpi_run_packer_flush(struct kpi_run_packer *packer, uint64_t id, uint64_t place,
                              bool whole, uint8_t *page, struct kp_buf *fences)
{
    uint64_t first = packer->entries[0].key;
    uint8_t fence[KPI_RUN_FENCE];
    uint8_t bits[3] = {bits_of(packer->entries[packer->count - 1].key - first),
                       bits_of(packer->segment_max), bits_of(packer->block_max)};
    memset(page, 0, KPI_RUN_HEAD);
    kp_store_u64(page + KPI_RUN_PAGE_AT_BASE, first);
    kp_store_u16(page + KPI_RUN_PAGE_AT_COUNT, (uint16_t)packer->count);
    memcpy(page + KPI_RUN_PAGE_AT_KEY, bits, sizeof(bits));
    uint32_t used = columns_pack(packer, bits, page);
    uint32_t size = whole ? KPI_RUN_PAGE : used;
    kp_store_u64(page, kp_hash64(page + 8, size - 8, page_seed(id, place)));
    kp_store_u32(fence, (uint32_t)(first >> FENCE_SHIFT));
    kp_buf_add(fences, fence, sizeof(fence));
    packer->count = packer->segment_max = packer->block_max = 0;
    return size;
}

/* ---------- reading ---------- */

kp_status kpi_run_page_open(struct kpi_run_page *page, uint32_t size, uint64_t id, uint64_t place)
{
    if (size < KPI_RUN_HEAD || size > KPI_RUN_PAGE ||
        kp_load_u64(page->bytes) != kp_hash64(page->bytes + 8, size - 8, page_seed(id, place)))
        return KP_CORRUPT;
    memset(page->bytes + size, 0, sizeof(page->bytes) - size);
    page->count = kp_load_u16(page->bytes + KPI_RUN_PAGE_AT_COUNT);
    memcpy(page->bits, page->bytes + KPI_RUN_PAGE_AT_KEY, sizeof(page->bits));
    uint32_t at = KPI_RUN_HEAD * 8;
    for (uint32_t c = 0; c < 3; c++) {
        if (page->bits[c] > KPI_RUN_KEY_BITS)
            return KP_CORRUPT;
        page->at[c] = at;
        at += page->count * page->bits[c];
    }
    return page->count == 0 || at > size * 8 ? KP_CORRUPT : KP_OK;
}

static uint64_t page_key(const struct kpi_run_page *page, uint32_t at)
{
    return kp_load_u64(page->bytes + KPI_RUN_PAGE_AT_BASE) +
           bits_get(page->bytes, page->at[0] + at * page->bits[0], page->bits[0]);
}

struct kpi_run_entry kpi_run_page_entry(const struct kpi_run_page *page, uint32_t at)
{
    return (struct kpi_run_entry){
        .key = page_key(page, at),
        .segment = (uint32_t)bits_get(page->bytes, page->at[1] + at * page->bits[1], page->bits[1]),
        .block = (uint32_t)bits_get(page->bytes, page->at[2] + at * page->bits[2], page->bits[2])};
}

static uint32_t fence_at(const struct kpi_run_pages *pages, uint32_t number)
{
    return kp_load_u32(pages->fences + (size_t)number * KPI_RUN_FENCE);
}

/* The first page that can hold the key: the last one that begins below it, or the first. */
static uint32_t first_page(const struct kpi_run_pages *pages, uint32_t fence)
{
    uint32_t low = 0, high = pages->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (fence_at(pages, mid) < fence)
            low = mid + 1;
        else
            high = mid;
    }
    return low == 0 ? 0 : low - 1;
}

static uint32_t page_lower(const struct kpi_run_page *page, uint64_t key)
{
    uint32_t low = 0, high = page->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (page_key(page, mid) < key)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

kp_status kpi_run_pages_find(const struct kpi_run_pages *pages, struct kp_io_queue *queue,
                             uint64_t key,
                             void (*each)(void *ctx, const struct kpi_run_entry *entry), void *ctx)
{
    uint32_t fence = (uint32_t)(key >> FENCE_SHIFT);
    for (uint32_t p = first_page(pages, fence); p < pages->count; p++) {
        struct kpi_run_page page;
        if (fence_at(pages, p) > fence)
            break;
        kp_status status = pages->read(pages->from, queue, p, &page);
        if (status != KP_OK)
            return status;
        for (uint32_t i = page_lower(&page, key); i < page.count; i++) {
            struct kpi_run_entry entry = kpi_run_page_entry(&page, i);
            if (entry.key != key)
                return KP_OK;
            each(ctx, &entry);
        }
    }
    return KP_OK;
}

kp_status kpi_run_pages_walk(const struct kpi_run_pages *pages, struct kp_io_queue *queue,
                             void (*each)(void *ctx, const struct kpi_run_entry *entry), void *ctx)
{
    uint64_t last = 0;
    for (uint32_t p = 0; p < pages->count; p++) {
        struct kpi_run_page page;
        kp_status status = pages->read(pages->from, queue, p, &page);
        if (status != KP_OK)
            return status;
        if (fence_at(pages, p) != (uint32_t)(page_key(&page, 0) >> FENCE_SHIFT))
            return KP_CORRUPT;
        for (uint32_t i = 0; i < page.count; i++) {
            struct kpi_run_entry entry = kpi_run_page_entry(&page, i);
            if (entry.key < last)
                return KP_CORRUPT;
            last = entry.key;
            each(ctx, &entry);
        }
    }
    return KP_OK;
}
