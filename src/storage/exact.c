/* SPDX-License-Identifier: Apache-2.0
 *
 * Exact indexes of a segment. The one question is which blocks hold a value; which row is first in
 * them is not kept, since a block is read as a whole. So an entry is 40 bits of the hash, of which
 * sorting saves the upper ones, and a block number: 5 bytes instead of 16.
 *
 * Invariant: one entry per value and block; an entry too many costs a block read in vain, one too
 * few would lose rows, which verify looks for.
 */
#include "storage/exact.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"
#include "storage/segment.h"

uint64_t kpi_exact_hash(uint32_t stream, uint32_t column, struct kp_str value)
{
    return kp_hash64(value.ptr, value.len, KPI_EXACT_SEED ^ (uint64_t)stream << 8 ^ column);
}

static struct kpi_run_entry old_entry(const uint8_t *at)
{
    return (struct kpi_run_entry){.key = kpi_run_key(kp_load_u64(at)),
                                  .block = kp_load_u32(at + 8)};
}

/* ---------- writing ---------- */

struct packing {
    struct kpi_run_packer packer;
    struct kpi_exact *index;
    uint64_t id;
    size_t begin; /* of the pages in out */
    struct kp_buf *fences, *out;
};

static void page_add(struct packing *packing, bool last)
{
    struct kpi_exact *index = packing->index;
    uint8_t *page = kp_buf_reserve(packing->out, KPI_RUN_PAGE);
    if (page == NULL)
        return;
    uint64_t place = index->offset + (packing->out->size - packing->begin);
    packing->out->size +=
        kpi_run_packer_flush(&packing->packer, packing->id, place, !last, page, packing->fences);
    index->pages++;
}

kp_status kpi_exact_pack(const uint8_t *entries, uint32_t count, uint64_t id, uint64_t offset,
                         struct kpi_exact *index, struct kp_buf *fences, struct kp_buf *out)
{
    struct packing packing = {
        .index = index, .id = id, .begin = out->size, .fences = fences, .out = out};
    kp_status status = kpi_run_packer_init(&packing.packer);
    if (status != KP_OK)
        return status;
    index->count = count;
    index->offset = offset;
    for (uint32_t i = 0; i < count && !out->failed; i++) {
        struct kpi_run_entry entry = old_entry(entries + (size_t)i * KPI_EXACT_ENTRY);
        if (!kpi_run_packer_takes(&packing.packer, &entry))
            page_add(&packing, false);
        kpi_run_packer_add(&packing.packer, &entry);
    }
    if (packing.packer.count > 0)
        page_add(&packing, true);
    kpi_run_packer_deinit(&packing.packer);
    if (out->failed || fences->failed)
        return KP_NO_MEMORY;
    index->size = (uint32_t)(out->size - packing.begin);
    index->sum = kpi_section_sum(out->data + packing.begin, index->size, id, offset);
    return KP_OK;
}

void kpi_exact_head_add(const struct kpi_exact *index, const struct kp_buf *fences,
                        struct kp_buf *out)
{
    uint8_t head[KPI_EXACT_HEAD] = {index->stream, index->column};
    kp_store_u32(head + 4, index->count);
    kp_store_u64(head + 8, index->offset);
    kp_store_u32(head + 16, index->pages);
    kp_store_u32(head + 20, index->size);
    kp_store_u64(head + 24, index->sum);
    kp_buf_add(out, head, sizeof(head));
    kp_buf_add(out, fences->data, fences->size);
}

/* ---------- parsing ---------- */

static kp_status pages_parse(struct kp_reader *in, uint64_t data_end, struct kpi_exact *out)
{
    out->offset = kp_read_u64(in);
    out->pages = kp_read_u32(in);
    out->size = kp_read_u32(in);
    out->sum = kp_read_u64(in);
    if (in->bad || out->pages > kp_reader_left(in) / KPI_RUN_FENCE)
        return KP_CORRUPT;
    out->fences = kp_read_bytes(in, (size_t)out->pages * KPI_RUN_FENCE);
    uint64_t most = (uint64_t)out->pages * KPI_RUN_PAGE;
    if (out->count > (uint64_t)out->pages * KPI_RUN_ENTRIES_MAX || out->size > most ||
        (out->pages > 0 && out->size <= most - KPI_RUN_PAGE) || out->offset < KPI_SEGMENT_HEADER ||
        out->offset > data_end || out->size > data_end - out->offset)
        return KP_CORRUPT;
    return KP_OK;
}

kp_status kpi_exact_parse(struct kp_reader *in, uint32_t version, uint64_t data_end,
                          struct kpi_exact *out)
{
    *out = (struct kpi_exact){.stream = kp_read_u8(in), .column = kp_read_u8(in)};
    kp_read_u16(in);
    out->count = kp_read_u32(in);
    if (version >= KPI_SEGMENT_VERSION_PAGES)
        return pages_parse(in, data_end, out);
    out->entries = kp_read_bytes(in, (size_t)out->count * KPI_EXACT_ENTRY);
    return out->entries == NULL ? KP_CORRUPT : KP_OK;
}

/* ---------- pages ---------- */

struct place {
    const struct kpi_segment *segment;
    const struct kpi_exact *index;
};

static kp_status page_read(const void *from, struct kp_io_queue *queue, uint32_t number,
                           struct kpi_run_page *out)
{
    const struct place *place = from;
    const struct kpi_segment *segment = place->segment;
    uint32_t begin = number * KPI_RUN_PAGE;
    uint32_t size = KP_MIN(place->index->size - begin, KPI_RUN_PAGE);
    uint64_t offset = place->index->offset + begin;
    int64_t got =
        kp_io_once(segment->io, queue, KP_IO_READ, segment->file, out->bytes, size, offset);
    if (got < 0)
        return kp_status_from_errno((int)-got);
    return got == size ? kpi_run_page_open(out, size, segment->id, offset) : KP_CORRUPT;
}

static struct kpi_run_pages pages_of(const struct place *place)
{
    return (struct kpi_run_pages){.fences = place->index->fences,
                                  .count = place->index->pages,
                                  .read = page_read,
                                  .from = place};
}

/* ---------- all of them ---------- */

static kp_status pages_check(const struct place *place, struct kp_io_queue *queue)
{
    const struct kpi_section whole = {
        .offset = place->index->offset, .size = place->index->size, .sum = place->index->sum};
    void *bytes = malloc(whole.size + 1);
    kp_status status =
        bytes == NULL ? KP_NO_MEMORY : kpi_segment_section(place->segment, queue, &whole, bytes);
    free(bytes);
    return status;
}

struct loading {
    struct kpi_run_entry *entries;
    uint32_t count, capacity;
    bool more; /* entries than were told of */
};

static void entry_load(void *ctx, const struct kpi_run_entry *entry)
{
    struct loading *loading = ctx;
    if (loading->count == loading->capacity)
        loading->more = true;
    else
        loading->entries[loading->count++] = *entry;
}

kp_status kpi_exact_load(const struct kpi_segment *segment, struct kp_io_queue *queue,
                         const struct kpi_exact *index, struct kp_arena *arena,
                         struct kpi_run_entry **out)
{
    struct place place = {segment, index};
    struct kpi_run_pages pages = pages_of(&place);
    struct loading loading = {.capacity = index->count};
    loading.entries = kp_arena_alloc(arena, ((size_t)index->count + 1) * sizeof(*loading.entries));
    kp_status status = loading.entries == NULL ? KP_NO_MEMORY : KP_OK;
    for (uint32_t i = 0; status == KP_OK && index->entries != NULL && i < index->count; i++)
        loading.entries[loading.count++] = old_entry(index->entries + (size_t)i * KPI_EXACT_ENTRY);
    if (status == KP_OK && index->entries == NULL)
        status = pages_check(&place, queue);
    if (status == KP_OK && index->entries == NULL)
        status = kpi_run_pages_walk(&pages, queue, entry_load, &loading);
    if (status == KP_OK && (loading.more || loading.count != index->count))
        status = KP_CORRUPT;
    if (status == KP_OK)
        *out = loading.entries;
    return status;
}

/* ---------- finding ---------- */

struct marking {
    bool *blocks;
    uint32_t count;
};

static void entry_mark(void *ctx, const struct kpi_run_entry *entry)
{
    struct marking *marking = ctx;
    if (entry->block < marking->count)
        marking->blocks[entry->block] = true;
}

/* First entry whose key is not below. */
static uint32_t old_lower(const struct kpi_exact *index, uint64_t key)
{
    uint32_t low = 0, high = index->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (old_entry(index->entries + (size_t)mid * KPI_EXACT_ENTRY).key < key)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void old_find(const struct kpi_exact *index, uint64_t key, struct marking *marking)
{
    for (uint32_t i = old_lower(index, key); i < index->count; i++) {
        struct kpi_run_entry entry = old_entry(index->entries + (size_t)i * KPI_EXACT_ENTRY);
        if (entry.key != key)
            return;
        entry_mark(marking, &entry);
    }
}

kp_status kpi_exact_find(const struct kpi_segment *segment, struct kp_io_queue *queue,
                         uint32_t stream, uint32_t column, struct kp_str value, bool *blocks)
{
    const struct kpi_footer *footer = &segment->footer;
    const struct kpi_exact *index = NULL;
    for (uint32_t i = 0; i < footer->exact_count; i++)
        if (footer->exact[i].stream == stream && footer->exact[i].column == column)
            index = &footer->exact[i];
    if (index == NULL || value.len == 0)
        return KP_NOT_FOUND;
    uint64_t key = kpi_run_key(kpi_exact_hash(stream, column, value));
    struct marking marking = {blocks, footer->blocks_count};
    struct place place = {segment, index};
    struct kpi_run_pages pages = pages_of(&place);
    if (index->entries == NULL)
        return kpi_run_pages_find(&pages, queue, key, entry_mark, &marking);
    old_find(index, key, &marking);
    return KP_OK;
}
