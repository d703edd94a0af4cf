/* SPDX-License-Identifier: Apache-2.0
 *
 * Files of runs. Pages have a fixed size so that a fence is a page number; within a page the widths
 * fit what is there, about 5 bytes an entry. Hashes are spread evenly, so nothing cleverer than
 * packed differences to the first key pays.
 */
#include "storage/run_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"

#define CHUNK_PAGES 16u /* written and read together */
#define FENCE_SHIFT (KPI_RUN_KEY_BITS - 32u)
#define ROOM_BITS   ((KPI_RUN_PAGE - KPI_RUN_HEAD) * 8u)
#define ENTRIES_MAX 8192u /* of a page */

void kpi_runfile_path(const char *dir, uint64_t id, struct kp_buf *out)
{
    kp_buf_printf(out, "%s/txn/%016" PRIx64 ".kpt", dir, id);
}

static uint64_t page_seed(uint64_t id, uint64_t number)
{
    return kp_hash_mix(id ^ kp_hash_mix(number + 1));
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

struct kpi_run_writer {
    const struct kp_io *io;
    struct kp_io_queue *queue;
    const char *dir;
    uint64_t id;
    struct kp_io_file *file;
    struct kp_buf path, temporary, table, fences;
    uint32_t segments, pages;
    uint64_t entries, offset;
    struct kpi_run_entry *filling; /* of the page in work */
    uint32_t count;
    uint32_t segment_max, block_max;
    uint8_t *chunk;
    uint32_t chunk_pages;
};

static void writer_free(struct kpi_run_writer *writer)
{
    if (writer->file != NULL)
        writer->io->close(writer->io, writer->file);
    kp_buf_deinit(&writer->path);
    kp_buf_deinit(&writer->temporary);
    kp_buf_deinit(&writer->table);
    kp_buf_deinit(&writer->fences);
    free(writer->filling);
    free(writer->chunk);
    free(writer);
}

void kpi_runfile_abandon(struct kpi_run_writer *writer)
{
    writer->io->unlink(writer->io, writer->temporary.data);
    writer_free(writer);
}

static kp_status writer_open(struct kpi_run_writer *writer)
{
    kpi_runfile_path(writer->dir, writer->id, &writer->path);
    kp_buf_printf(&writer->temporary, "%s.tmp", kp_buf_cstr(&writer->path));
    kp_buf_cstr(&writer->temporary);
    writer->filling = malloc(ENTRIES_MAX * sizeof(*writer->filling));
    writer->chunk = malloc(CHUNK_PAGES * KPI_RUN_PAGE + 8);
    if (writer->filling == NULL || writer->chunk == NULL || writer->path.failed ||
        writer->temporary.failed || writer->table.failed)
        return KP_NO_MEMORY;
    writer->io->unlink(writer->io, writer->temporary.data);
    int result = writer->io->open(writer->io, writer->temporary.data, KP_IO_RDWR | KP_IO_CREATE,
                                  &writer->file);
    return result == 0 ? KP_OK : kp_status_from_errno(-result);
}

kp_status kpi_runfile_create(const struct kp_io *io, struct kp_io_queue *queue, const char *dir,
                             uint64_t id, const uint64_t (*table)[2], uint32_t segments,
                             struct kpi_run_writer **out)
{
    struct kpi_run_writer *writer = calloc(1, sizeof(*writer));
    if (writer == NULL)
        return KP_NO_MEMORY;
    *writer = (struct kpi_run_writer){
        .io = io, .queue = queue, .dir = dir, .id = id, .segments = segments};
    for (uint32_t i = 0; i < segments; i++) {
        uint8_t row[16];
        kp_store_u64(row, table[i][0]);
        kp_store_u64(row + 8, table[i][1]);
        kp_buf_add(&writer->table, row, sizeof(row));
    }
    kp_status status = writer_open(writer);
    if (status == KP_OK)
        *out = writer;
    else
        writer_free(writer);
    return status;
}

static kp_status bytes_write(struct kpi_run_writer *writer, void *bytes, size_t size)
{
    int64_t done = kp_io_once(writer->io, writer->queue, KP_IO_WRITE, writer->file, bytes, size,
                              writer->offset);
    writer->offset += size;
    if (done < 0)
        return kp_status_from_errno((int)-done);
    return (size_t)done == size ? KP_OK : KP_IO;
}

static kp_status chunk_write(struct kpi_run_writer *writer)
{
    size_t size = (size_t)writer->chunk_pages * KPI_RUN_PAGE;
    writer->chunk_pages = 0;
    return size == 0 ? KP_OK : bytes_write(writer, writer->chunk, size);
}

static void page_pack(const struct kpi_run_writer *writer, uint8_t *page)
{
    const struct kpi_run_entry *e = writer->filling;
    uint32_t count = writer->count;
    uint8_t bits[3] = {bits_of(e[count - 1].key - e[0].key), bits_of(writer->segment_max),
                       bits_of(writer->block_max)};
    memset(page, 0, KPI_RUN_PAGE);
    kp_store_u64(page + KPI_RUN_PAGE_AT_BASE, e[0].key);
    kp_store_u16(page + KPI_RUN_PAGE_AT_COUNT, (uint16_t)count);
    memcpy(page + KPI_RUN_PAGE_AT_KEY, bits, sizeof(bits));
    /* packed aside: the last value may reach beyond the page in its 8 bytes, with zeros */
    uint8_t columns[KPI_RUN_PAGE + 8] = {0};
    uint32_t segments_at = count * bits[0], blocks_at = segments_at + count * bits[1];
    for (uint32_t i = 0; i < count; i++) {
        bits_put(columns, i * bits[0], e[i].key - e[0].key);
        bits_put(columns, segments_at + i * bits[1], e[i].segment);
        bits_put(columns, blocks_at + i * bits[2], e[i].block);
    }
    memcpy(page + KPI_RUN_HEAD, columns, KPI_RUN_PAGE - KPI_RUN_HEAD);
    kp_store_u64(page, kp_hash64(page + 8, KPI_RUN_PAGE - 8, page_seed(writer->id, writer->pages)));
}

static kp_status page_flush(struct kpi_run_writer *writer)
{
    if (writer->count == 0)
        return KP_OK;
    page_pack(writer, writer->chunk + (size_t)writer->chunk_pages * KPI_RUN_PAGE);
    uint8_t fence[4];
    kp_store_u32(fence, (uint32_t)(writer->filling[0].key >> FENCE_SHIFT));
    kp_buf_add(&writer->fences, fence, sizeof(fence));
    writer->entries += writer->count;
    writer->count = writer->segment_max = writer->block_max = 0;
    writer->pages++;
    writer->chunk_pages++;
    if (writer->fences.failed)
        return KP_NO_MEMORY;
    return writer->chunk_pages == CHUNK_PAGES ? chunk_write(writer) : KP_OK;
}

static bool entry_fits(const struct kpi_run_writer *writer, const struct kpi_run_entry *entry)
{
    uint64_t span = entry->key - writer->filling[0].key;
    uint32_t each = bits_of(span) + bits_of(KP_MAX(writer->segment_max, entry->segment)) +
                    bits_of(KP_MAX(writer->block_max, entry->block));
    return writer->count < ENTRIES_MAX && (writer->count + 1) * each <= ROOM_BITS;
}

kp_status kpi_runfile_add(struct kpi_run_writer *writer, const struct kpi_run_entry *entry)
{
    kp_status status = KP_OK;
    if (writer->count > 0) {
        const struct kpi_run_entry *last = &writer->filling[writer->count - 1];
        kp_assert(entry->key >= last->key);
        if (!entry_fits(writer, entry))
            status = page_flush(writer);
    }
    writer->filling[writer->count++] = *entry;
    writer->segment_max = KP_MAX(writer->segment_max, entry->segment);
    writer->block_max = KP_MAX(writer->block_max, entry->block);
    return status;
}

static kp_status tail_write(struct kpi_run_writer *writer, struct kpi_run_meta *out)
{
    uint8_t trailer[KPI_RUN_TRAILER] = {0};
    struct kp_buf *tail = &writer->table;
    kp_store_u64(trailer + KPI_RUN_AT_MAGIC, KPI_RUN_MAGIC);
    kp_store_u32(trailer + KPI_RUN_AT_VERSION, KPI_RUN_VERSION);
    kp_store_u32(trailer + KPI_RUN_AT_SEGMENTS, writer->segments);
    kp_store_u64(trailer + KPI_RUN_AT_ID, writer->id);
    kp_store_u64(trailer + KPI_RUN_AT_PAGES, writer->pages);
    kp_store_u64(trailer + KPI_RUN_AT_ENTRIES, writer->entries);
    kp_buf_add(tail, writer->fences.data, writer->fences.size);
    kp_buf_add(tail, trailer, KPI_RUN_AT_HASH);
    if (tail->failed)
        return KP_NO_MEMORY;
    struct kp_hash128 hash = kp_hash128(tail->data, tail->size, kp_hash_mix(writer->id));
    kp_buf_add(tail, &hash, sizeof(hash));
    if (tail->failed)
        return KP_NO_MEMORY;
    kp_status status = bytes_write(writer, tail->data, tail->size);
    out->entries = writer->entries;
    out->bytes = writer->offset;
    out->hash = hash;
    return status;
}

static kp_status file_name(const struct kpi_run_writer *writer)
{
    struct kp_buf folder = {0};
    kp_buf_printf(&folder, "%s/txn", writer->dir);
    int result = folder.failed ? -ENOMEM : 0;
    if (result == 0)
        result = writer->io->rename(writer->io, writer->temporary.data, writer->path.data);
    if (result == 0) {
        result = writer->io->sync_dir(writer->io, kp_buf_cstr(&folder));
        if (result != 0)
            writer->io->unlink(writer->io, writer->path.data);
    }
    kp_buf_deinit(&folder);
    return result == 0 ? KP_OK : kp_status_from_errno(-result);
}

kp_status kpi_runfile_finish(struct kpi_run_writer *writer, struct kpi_run_meta *out)
{
    kp_status status = page_flush(writer);
    if (status == KP_OK)
        status = chunk_write(writer);
    if (status == KP_OK)
        status = tail_write(writer, out);
    if (status == KP_OK) {
        int64_t synced =
            kp_io_once(writer->io, writer->queue, KP_IO_SYNC, writer->file, NULL, 0, 0);
        status = synced < 0 ? kp_status_from_errno((int)-synced) : KP_OK;
    }
    if (status == KP_OK)
        status = file_name(writer);
    if (status == KP_OK)
        writer_free(writer);
    else
        kpi_runfile_abandon(writer);
    return status;
}

/* ---------- reading ---------- */

static kp_status read_exactly(const struct kpi_run *run, struct kp_io_queue *queue, void *buf,
                              size_t size, uint64_t offset)
{
    int64_t got = kp_io_once(run->io, queue, KP_IO_READ, run->file, buf, size, offset);
    if (got < 0)
        return kp_status_from_errno((int)-got);
    return (size_t)got == size ? KP_OK : KP_CORRUPT;
}

static kp_status trailer_take(struct kpi_run *run, const uint8_t *trailer)
{
    if (kp_load_u64(trailer + KPI_RUN_AT_MAGIC) != KPI_RUN_MAGIC)
        return KP_CORRUPT;
    if (kp_load_u32(trailer + KPI_RUN_AT_VERSION) != KPI_RUN_VERSION)
        return KP_VERSION;
    uint64_t pages = kp_load_u64(trailer + KPI_RUN_AT_PAGES);
    run->id = kp_load_u64(trailer + KPI_RUN_AT_ID);
    run->segments = kp_load_u32(trailer + KPI_RUN_AT_SEGMENTS);
    run->entries = kp_load_u64(trailer + KPI_RUN_AT_ENTRIES);
    run->hash = (struct kp_hash128){kp_load_u64(trailer + KPI_RUN_AT_HASH),
                                    kp_load_u64(trailer + KPI_RUN_AT_HASH + 8)};
    if (pages > run->size / KPI_RUN_PAGE ||
        run->size != pages * (KPI_RUN_PAGE + 4) + (uint64_t)run->segments * 16 + KPI_RUN_TRAILER)
        return KP_CORRUPT;
    run->pages = (uint32_t)pages;
    return KP_OK;
}

static kp_status tail_load(struct kpi_run *run, struct kp_io_queue *queue)
{
    uint64_t from = (uint64_t)run->pages * KPI_RUN_PAGE;
    size_t size = run->size - from;
    run->bytes = malloc(size);
    if (run->bytes == NULL)
        return KP_NO_MEMORY;
    kp_status status = read_exactly(run, queue, run->bytes, size, from);
    if (status != KP_OK)
        return status;
    struct kp_hash128 hash = kp_hash128(run->bytes, size - sizeof(hash), kp_hash_mix(run->id));
    if (hash.lo != run->hash.lo || hash.hi != run->hash.hi)
        return KP_CORRUPT;
    run->table = run->bytes;
    run->fences = run->bytes + (size_t)run->segments * 16;
    return KP_OK;
}

static kp_status run_load(struct kpi_run *run, struct kp_io_queue *queue,
                          const struct kpi_run_meta *meta)
{
    uint8_t trailer[KPI_RUN_TRAILER];
    int64_t size = run->io->size(run->io, run->file);
    if (size < 0)
        return kp_status_from_errno((int)-size);
    if (size < (int64_t)KPI_RUN_TRAILER)
        return KP_CORRUPT;
    run->size = (uint64_t)size;
    kp_status status =
        read_exactly(run, queue, trailer, sizeof(trailer), run->size - sizeof(trailer));
    if (status == KP_OK)
        status = trailer_take(run, trailer);
    if (status == KP_OK && meta != NULL &&
        (run->id != meta->id || run->size != meta->bytes || run->hash.lo != meta->hash.lo ||
         run->hash.hi != meta->hash.hi))
        status = KP_CORRUPT;
    return status == KP_OK ? tail_load(run, queue) : status;
}

kp_status kpi_runfile_open(const struct kp_io *io, struct kp_io_queue *queue, const char *path,
                           const struct kpi_run_meta *meta, struct kpi_run *out)
{
    struct kpi_run run = {.io = io};
    int result = io->open(io, path, KP_IO_RDONLY, &run.file);
    if (result != 0)
        return result == -ENOENT ? KP_NOT_FOUND : kp_status_from_errno(-result);
    kp_status status = run_load(&run, queue, meta);
    if (status == KP_OK)
        *out = run;
    else
        kpi_runfile_close(&run);
    return status;
}

void kpi_runfile_close(struct kpi_run *run)
{
    if (run->file != NULL)
        run->io->close(run->io, run->file);
    free(run->bytes);
    *run = (struct kpi_run){0};
}

uint64_t kpi_runfile_segment_id(const struct kpi_run *run, uint32_t segment)
{
    return kp_load_u64(run->table + (size_t)segment * 16);
}

bool kpi_runfile_covers(const struct kpi_run *run, uint32_t segment,
                        const struct kpi_segment_meta *meta)
{
    return kpi_runfile_segment_id(run, segment) == meta->id &&
           kp_load_u64(run->table + (size_t)segment * 16 + 8) == meta->footer_hash.lo;
}

/* ---------- pages ---------- */

kp_status kpi_runfile_page_read(const struct kpi_run *run, struct kp_io_queue *queue,
                                uint32_t number, struct kpi_run_page *out)
{
    kp_status status =
        read_exactly(run, queue, out->bytes, KPI_RUN_PAGE, (uint64_t)number * KPI_RUN_PAGE);
    if (status != KP_OK)
        return status;
    if (kp_load_u64(out->bytes) !=
        kp_hash64(out->bytes + 8, KPI_RUN_PAGE - 8, page_seed(run->id, number)))
        return KP_CORRUPT;
    memset(out->bytes + KPI_RUN_PAGE, 0, 8);
    out->count = kp_load_u16(out->bytes + KPI_RUN_PAGE_AT_COUNT);
    memcpy(out->bits, out->bytes + KPI_RUN_PAGE_AT_KEY, sizeof(out->bits));
    uint32_t at = KPI_RUN_HEAD * 8;
    for (uint32_t c = 0; c < 3; c++) {
        if (out->bits[c] > KPI_RUN_KEY_BITS)
            return KP_CORRUPT;
        out->at[c] = at;
        at += out->count * out->bits[c];
    }
    return out->count == 0 || at > KPI_RUN_PAGE * 8 ? KP_CORRUPT : KP_OK;
}

static uint64_t page_key(const struct kpi_run_page *page, uint32_t at)
{
    return kp_load_u64(page->bytes + KPI_RUN_PAGE_AT_BASE) +
           bits_get(page->bytes, page->at[0] + at * page->bits[0], page->bits[0]);
}

struct kpi_run_entry kpi_runfile_page_entry(const struct kpi_run_page *page, uint32_t at)
{
    return (struct kpi_run_entry){
        .key = page_key(page, at),
        .segment = (uint32_t)bits_get(page->bytes, page->at[1] + at * page->bits[1], page->bits[1]),
        .block = (uint32_t)bits_get(page->bytes, page->at[2] + at * page->bits[2], page->bits[2])};
}

/* The first page that can hold the key: the last one that begins below it, or the first. */
static uint32_t first_page(const struct kpi_run *run, uint64_t key)
{
    uint32_t fence = (uint32_t)(key >> FENCE_SHIFT), low = 0, high = run->pages;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (kp_load_u32(run->fences + (size_t)mid * 4) < fence)
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

kp_status kpi_runfile_find(const struct kpi_run *run, struct kp_io_queue *queue, uint64_t key,
                           void (*each)(void *ctx, const struct kpi_run_entry *entry), void *ctx)
{
    uint32_t fence = (uint32_t)(key >> FENCE_SHIFT);
    for (uint32_t p = first_page(run, key); p < run->pages; p++) {
        struct kpi_run_page page;
        if (kp_load_u32(run->fences + (size_t)p * 4) > fence)
            break;
        kp_status status = kpi_runfile_page_read(run, queue, p, &page);
        if (status != KP_OK)
            return status;
        for (uint32_t i = page_lower(&page, key); i < page.count; i++) {
            struct kpi_run_entry entry = kpi_runfile_page_entry(&page, i);
            if (entry.key != key)
                return KP_OK;
            if (entry.segment >= run->segments)
                return KP_CORRUPT;
            each(ctx, &entry);
        }
    }
    return KP_OK;
}

kp_status kpi_runfile_check(const struct kpi_run *run, struct kp_io_queue *queue)
{
    uint64_t last = 0, entries = 0;
    for (uint32_t p = 0; p < run->pages; p++) {
        struct kpi_run_page page;
        kp_status status = kpi_runfile_page_read(run, queue, p, &page);
        if (status != KP_OK)
            return status;
        if (kp_load_u32(run->fences + (size_t)p * 4) !=
            (uint32_t)(page_key(&page, 0) >> FENCE_SHIFT))
            return KP_CORRUPT;
        for (uint32_t i = 0; i < page.count; i++) {
            struct kpi_run_entry entry = kpi_runfile_page_entry(&page, i);
            if (entry.key < last || entry.segment >= run->segments)
                return KP_CORRUPT;
            last = entry.key;
        }
        entries += page.count;
    }
    return entries == run->entries ? KP_OK : KP_CORRUPT;
}
