/* SPDX-License-Identifier: Apache-2.0
 *
 * Files of runs: pages (run_page.h) one behind the other, then what is kept in memory of them.
 */
#include "storage/run_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"

#define CHUNK_PAGES 16u /* written and read together */

void kpi_runfile_path(const char *dir, uint64_t id, struct kp_buf *out)
{
    kp_buf_printf(out, "%s/txn/%016" PRIx64 ".kpt", dir, id);
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
    struct kpi_run_packer packer; /* the page in work */
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
    kpi_run_packer_deinit(&writer->packer);
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
    writer->chunk = malloc(CHUNK_PAGES * KPI_RUN_PAGE + 8);
    if (kpi_run_packer_init(&writer->packer) != KP_OK || writer->chunk == NULL ||
        writer->path.failed || writer->temporary.failed || writer->table.failed)
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

static kp_status page_flush(struct kpi_run_writer *writer)
{
    if (writer->packer.count == 0)
        return KP_OK;
    uint8_t *page = writer->chunk + (size_t)writer->chunk_pages * KPI_RUN_PAGE;
    writer->entries += writer->packer.count;
    kpi_run_packer_flush(&writer->packer, writer->id, writer->pages, true, page, &writer->fences);
    writer->pages++;
    writer->chunk_pages++;
    if (writer->fences.failed)
        return KP_NO_MEMORY;
    return writer->chunk_pages == CHUNK_PAGES ? chunk_write(writer) : KP_OK;
}

kp_status kpi_runfile_add(struct kpi_run_writer *writer, const struct kpi_run_entry *entry)
{
    kp_status status = KP_OK;
    if (!kpi_run_packer_takes(&writer->packer, entry))
        status = page_flush(writer);
    kpi_run_packer_add(&writer->packer, entry);
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
    return status == KP_OK ? kpi_run_page_open(out, KPI_RUN_PAGE, run->id, number) : status;
}

static kp_status page_get(const void *from, struct kp_io_queue *queue, uint32_t number,
                          struct kpi_run_page *out)
{
    return kpi_runfile_page_read(from, queue, number, out);
}

static struct kpi_run_pages pages_of(const struct kpi_run *run)
{
    return (struct kpi_run_pages){
        .fences = run->fences, .count = run->pages, .read = page_get, .from = run};
}

/* What is told only when its segment is one of the run's. */
struct telling {
    const struct kpi_run *run;
    void (*each)(void *ctx, const struct kpi_run_entry *entry);
    void *ctx;
    uint64_t entries;
    bool strange; /* an entry of no segment */
};

static void entry_tell(void *ctx, const struct kpi_run_entry *entry)
{
    struct telling *telling = ctx;
    telling->entries++;
    if (entry->segment >= telling->run->segments)
        telling->strange = true;
    else if (telling->each != NULL)
        telling->each(telling->ctx, entry);
}

kp_status kpi_runfile_find(const struct kpi_run *run, struct kp_io_queue *queue, uint64_t key,
                           void (*each)(void *ctx, const struct kpi_run_entry *entry), void *ctx)
{
    struct kpi_run_pages pages = pages_of(run);
    struct telling telling = {.run = run, .each = each, .ctx = ctx};
    kp_status status = kpi_run_pages_find(&pages, queue, key, entry_tell, &telling);
    return status == KP_OK && telling.strange ? KP_CORRUPT : status;
}

kp_status kpi_runfile_check(const struct kpi_run *run, struct kp_io_queue *queue)
{
    struct kpi_run_pages pages = pages_of(run);
    struct telling telling = {.run = run};
    kp_status status = kpi_run_pages_walk(&pages, queue, entry_tell, &telling);
    if (status != KP_OK)
        return status;
    return telling.strange || telling.entries != run->entries ? KP_CORRUPT : KP_OK;
}
