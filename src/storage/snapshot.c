/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshots: one consistent state of a directory. The manifest is read first, then the log after
 * what the manifest calls sealed. A writer beside may seal and recycle in between; the log reader
 * notices (BUSY), or the manifest has moved on when something was amiss, and the work starts over.
 * Log blocks are copied into memory because their files are recycled; segments are immutable.
 */
#include "storage/page.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "storage/joined.h"
#include "storage/manifest.h"
#include "storage/run_find.h"

#define OPEN_TRIES 16

/* ---------- damage ---------- */

static const char *keep_text(struct kp_snapshot *snapshot, const char *text)
{
    struct kp_str copy = kp_arena_str(&snapshot->arena, kp_str_from(text == NULL ? "" : text));
    return copy.ptr == NULL ? "" : copy.ptr;
}

static bool damage_known(const struct kp_snapshot *snapshot, const struct kp_damage *damage)
{
    for (uint32_t i = 0; i < snapshot->damage_count; i++)
        if (snapshot->damage[i].offset == damage->offset &&
            strcmp(snapshot->damage[i].file, damage->file) == 0)
            return true;
    return false;
}

/* Out of memory: it cannot be said what is missing, but that something is. */
static void damage_unlisted(struct kp_snapshot *snapshot)
{
    if (snapshot->damage_count > 0) {
        snapshot->damage[snapshot->damage_count - 1].rows = -1;
        return;
    }
    snapshot->damage_unlisted = (struct kp_damage){
        .file = "", .from = 0, .to = -1, .rows = -1, .what = "no memory to list what is damaged"};
    snapshot->damage = &snapshot->damage_unlisted;
    snapshot->damage_count = snapshot->damage_capacity = 1;
}

static void damage_add(struct kp_snapshot *snapshot, const struct kp_damage *damage)
{
    if (damage_known(snapshot, damage))
        return;
    if (snapshot->damage_count == snapshot->damage_capacity) {
        uint32_t capacity = snapshot->damage_capacity == 0 ? 16 : snapshot->damage_capacity * 2;
        struct kp_damage *more = kp_arena_zalloc(&snapshot->arena, capacity, sizeof(*more));
        if (more == NULL) {
            damage_unlisted(snapshot);
            return;
        }
        if (snapshot->damage_count > 0)
            memcpy(more, snapshot->damage, snapshot->damage_count * sizeof(*more));
        snapshot->damage = more;
        snapshot->damage_capacity = capacity;
    }
    struct kp_damage *kept = &snapshot->damage[snapshot->damage_count];
    *kept = *damage;
    kept->file = keep_text(snapshot, damage->file);
    kept->what = keep_text(snapshot, damage->what);
    snapshot->damage_count++;
}

void kpi_snapshot_add_damage(struct kp_snapshot *snapshot, const struct kp_damage *damage)
{
    pthread_mutex_lock(&snapshot->lock);
    damage_add(snapshot, damage);
    pthread_mutex_unlock(&snapshot->lock);
}

uint32_t kp_snapshot_damage(const struct kp_snapshot *snapshot, const struct kp_damage **out)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&snapshot->lock;
    pthread_mutex_lock(lock);
    *out = snapshot->damage;
    uint32_t count = snapshot->damage_count;
    pthread_mutex_unlock(lock);
    return count;
}

/* ---------- loading; nobody else sees the snapshot yet ---------- */

struct loader {
    struct kp_snapshot *snapshot;
    kp_status status; /* of the callbacks */
};

static void loader_damage(void *ctx, const struct kp_damage *damage)
{
    damage_add(((struct loader *)ctx)->snapshot, damage);
}

static kp_status log_page_new(struct kpi_log *log, const struct kp_stream *stream)
{
    if (log->count == log->capacity) {
        uint32_t capacity = log->capacity == 0 ? 16 : log->capacity * 2;
        struct kpi_page **more = realloc(log->pages, capacity * sizeof(*more));
        if (more == NULL)
            return KP_NO_MEMORY;
        log->pages = more;
        log->capacity = capacity;
    }
    kp_status status = kpi_page_new(stream, &log->pages[log->count]);
    if (status == KP_OK)
        log->pages[log->count++]->from_log = true;
    return status;
}

/* Ingest drains its rings often, so log blocks are small; pages of many are cheaper to scan. */
static kp_status log_block_add(struct kp_snapshot *snapshot, const struct kpi_block *block,
                               const struct kpi_chunk_span *joined, const char *file,
                               uint64_t offset)
{
    struct kpi_log *log = &snapshot->logs[block->info.stream->number];
    struct kpi_page *last = log->count == 0 ? NULL : log->pages[log->count - 1];
    if (last == NULL || last->rows + block->info.rows > KPI_LOG_PAGE_ROWS) {
        kp_status status = log_page_new(log, block->info.stream);
        if (status != KP_OK)
            return status;
        last = log->pages[log->count - 1];
        last->file = file;
        last->offset = offset;
    }
    return kpi_page_add(last, block, joined->bytes, joined->size);
}

/* A block of the log, which may be one for each of several streams. CORRUPT: it does not read. */
static kp_status log_bytes_add(struct kp_snapshot *snapshot, const uint8_t *bytes, size_t size,
                               const char *file, uint64_t offset, uint32_t *out_size)
{
    struct kpi_block block, part;
    uint32_t at = 0;
    kp_status status = kpi_block_open(bytes, size, &block);
    if (status != KP_OK)
        return KP_CORRUPT;
    *out_size = block.info.size;
    if (!block.joined)
        return log_block_add(snapshot, &block, &(struct kpi_chunk_span){0}, file, offset);
    struct kpi_chunk_span joined = {bytes, block.info.size};
    while ((status = kpi_joined_next(&block, &at, &part)) == KP_OK) {
        status = log_block_add(snapshot, &part, &joined, file, offset);
        if (status != KP_OK)
            return status;
    }
    return status == KP_END ? KP_OK : KP_CORRUPT;
}

/* A record whose own sum holds but whose blocks do not read: a newer writer, or a fault of ours. */
static void record_damage(struct kp_snapshot *snapshot, const struct kpi_wal_record *record,
                          size_t at)
{
    struct kp_damage damage = {.file = record->file,
                               .offset = record->offset + at,
                               .size = record->payload_size - at,
                               .from = record->ts_min,
                               .to = record->ts_max,
                               .rows = -1,
                               .what = "a block of the log record does not read"};
    damage_add(snapshot, &damage);
}

kp_status kpi_snapshot_take_record(struct kp_snapshot *snapshot,
                                   const struct kpi_wal_record *record)
{
    uint8_t *payload = kp_arena_alloc(&snapshot->arena, record->payload_size);
    if (payload == NULL)
        return KP_NO_MEMORY;
    memcpy(payload, record->payload, record->payload_size);
    const char *file = keep_text(snapshot, record->file);
    kp_status status = KP_OK;
    uint32_t size = 0;
    for (size_t at = 0; at < record->payload_size && status == KP_OK; at += size) {
        status = log_bytes_add(snapshot, payload + at, record->payload_size - at, file,
                               record->offset + at, &size);
        if (status == KP_CORRUPT)
            record_damage(snapshot, record, at);
    }
    return status == KP_CORRUPT ? KP_OK : status;
}

static bool loader_record(void *ctx, const struct kpi_wal_record *record)
{
    struct loader *loader = ctx;
    loader->status = kpi_snapshot_take_record(loader->snapshot, record);
    return loader->status == KP_OK;
}

kp_status kpi_snapshot_take_segments(struct kp_snapshot *snapshot, const char *dir,
                                     const struct kpi_manifest *manifest)
{
    snapshot->segments =
        kp_arena_zalloc(&snapshot->arena, manifest->count, sizeof(*snapshot->segments));
    if (snapshot->segments == NULL)
        return KP_NO_MEMORY;
    for (uint32_t i = 0; i < manifest->count; i++) {
        struct kp_buf path = {0};
        kpi_segment_path(dir, manifest->segments[i].id, &path);
        snapshot->segments[i].meta = manifest->segments[i];
        snapshot->segments[i].path = keep_text(snapshot, kp_buf_cstr(&path));
        bool failed = path.failed || snapshot->segments[i].path[0] == '\0';
        kp_buf_deinit(&path);
        if (failed)
            return KP_NO_MEMORY;
    }
    snapshot->segments_count = manifest->count;
    return kpi_runs_take(snapshot, dir, manifest);
}

/* True when the directory has moved on since `version`. */
static bool manifest_moved(const struct kp_io *io, const char *dir, uint64_t version)
{
    struct kpi_manifest now;
    if (kpi_manifest_read(io, dir, &now, NULL, NULL, NULL) != KP_OK)
        return false;
    bool moved = now.version != version;
    kpi_manifest_deinit(&now);
    return moved;
}

static void drops_sum(const struct kpi_manifest *manifest, struct kp_dropped *out)
{
    *out = (struct kp_dropped){.from = KP_TIME_MAX, .to = KP_TIME_MIN};
    for (uint32_t i = 0; i < manifest->drops_count; i++) {
        const struct kpi_manifest_drop *drop = &manifest->drops[i];
        out->segments += drop->segments;
        out->rows += drop->rows;
        out->bytes += drop->bytes;
        out->from = KP_MIN(out->from, drop->ts_min);
        out->to = KP_MAX(out->to, drop->ts_max);
    }
}

static kp_status snapshot_load(struct kp_snapshot *snapshot, const char *dir, struct kp_error *err)
{
    struct loader loader = {.snapshot = snapshot};
    struct kpi_manifest manifest;
    kp_status status = kpi_manifest_read(snapshot->io, dir, &manifest, loader_damage, &loader, err);
    if (status != KP_OK)
        return status;
    uint64_t last = 0;
    status = kpi_snapshot_take_segments(snapshot, dir, &manifest);
    if (status == KP_OK)
        status = kpi_wal_read(snapshot->io, dir, manifest.sealed_through, loader_record,
                              loader_damage, &loader, &last, err);
    if (status == KP_OK)
        status = loader.status;
    if (status == KP_OK && snapshot->damage_count > 0 &&
        manifest_moved(snapshot->io, dir, manifest.version))
        status = KP_BUSY;
    snapshot->as_of = KP_MAX(last, manifest.sealed_through);
    snapshot->dir = keep_text(snapshot, dir);
    drops_sum(&manifest, &snapshot->dropped);
    kpi_manifest_deinit(&manifest);
    return status;
}

static void log_free(struct kpi_log *log)
{
    for (uint32_t i = 0; i < log->count; i++)
        kpi_page_free(log->pages[i]);
    free(log->pages);
}

static void snapshot_free(struct kp_snapshot *snapshot)
{
    if (snapshot->memo != NULL)
        snapshot->memo_free(snapshot->memo);
    kpi_runs_leave(snapshot);
    for (uint32_t i = 0; i < snapshot->segments_count; i++)
        if (snapshot->segments[i].state == KPI_SEGMENT_OPEN)
            kpi_segment_close(&snapshot->segments[i].segment);
    for (struct kpi_page *page = snapshot->newest; page != NULL;) {
        struct kpi_page *older = page->older;
        if (!page->from_log)
            kpi_page_free(page);
        page = older;
    }
    for (uint32_t s = 0; s < KP_STREAM_MAX; s++)
        log_free(&snapshot->logs[s]);
    kp_actors_deinit(snapshot->actors);
    kp_arena_deinit(&snapshot->arena);
    pthread_mutex_destroy(&snapshot->lock);
    free(snapshot);
}

static kp_status kinds_name(struct kp_snapshot *snapshot)
{
    struct kp_str *names = kp_arena_zalloc(&snapshot->arena, KP_STREAM_MAX, sizeof(*names));
    uint32_t count;
    const struct kp_stream *streams = kp_streams(&count);
    for (uint32_t i = 0; i < count && names != NULL; i++)
        names[streams[i].number] = kp_str_from(streams[i].name);
    snapshot->kinds = (struct kp_dict){names, KP_STREAM_MAX, true};
    return names == NULL ? KP_NO_MEMORY : KP_OK;
}

kp_status kpi_snapshot_new(const struct kp_io *io, struct kp_snapshot **out)
{
    struct kp_snapshot *snapshot = calloc(1, sizeof(*snapshot));
    if (snapshot == NULL)
        return KP_NO_MEMORY;
    if (pthread_mutex_init(&snapshot->lock, NULL) != 0) {
        free(snapshot);
        return KP_NO_MEMORY;
    }
    snapshot->io = io;
    snapshot->dropped = (struct kp_dropped){.from = KP_TIME_MAX, .to = KP_TIME_MIN};
    snapshot->cache_limit = snapshot->cache_max = KPI_CACHE_BYTES;
    kp_arena_init(&snapshot->arena, 0);
    snapshot->arena.columns = true;
    if (kinds_name(snapshot) != KP_OK || kp_actors_init(&snapshot->actors) != KP_OK) {
        snapshot_free(snapshot);
        return KP_NO_MEMORY;
    }
    *out = snapshot;
    return KP_OK;
}

static kp_status snapshot_open(const char *dir, const struct kp_io *io, struct kp_snapshot **out,
                               struct kp_error *err)
{
    for (int attempt = 0; attempt < OPEN_TRIES; attempt++) {
        struct kp_snapshot *snapshot;
        kp_status status = kpi_snapshot_new(io, &snapshot);
        if (status != KP_OK)
            return kp_error_set(err, status, "cannot open %s: out of memory", dir);
        status = snapshot_load(snapshot, dir, err);
        if (status == KP_OK) {
            *out = snapshot;
            return KP_OK;
        }
        snapshot_free(snapshot);
        if (status == KP_NO_MEMORY)
            return kp_error_set(err, status, "cannot open %s: out of memory", dir);
        if (status != KP_BUSY)
            return status;
    }
    kp_error_set(err, KP_BUSY, "%s changes faster than it can be read", dir);
    kp_error_hint(err, "try again; larger segments (segment_bytes_max) make seals rarer");
    return KP_BUSY;
}

/* A sixteenth of the machine's memory, within bounds. */
static size_t cache_room(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), bytes = sysconf(_SC_PAGESIZE);
    size_t room = pages <= 0 || bytes <= 0 ? 0 : (size_t)pages / 16 * (size_t)bytes;
    return KP_MIN(KP_MAX(room, KPI_CACHE_BYTES), KPI_CACHE_BYTES_MAX);
}

kp_status kp_snapshot_open(const char *dir, const struct kp_io *io, struct kp_snapshot **out,
                           struct kp_error *err)
{
    kp_status status = snapshot_open(dir, io == NULL ? kp_io_default() : io, out, err);
    if (status == KP_OK)
        (*out)->cache_max = cache_room();
    return status;
}

kp_status kp_store_snapshot(struct kp_store *store, struct kp_snapshot **out, struct kp_error *err)
{
    return snapshot_open(kpi_store_dir(store), kpi_store_io(store), out, err);
}

void kp_snapshot_close(struct kp_snapshot *snapshot)
{
    if (snapshot != NULL)
        snapshot_free(snapshot);
}

/* ---------- what it holds ---------- */

struct kp_actors *kp_snapshot_actors(struct kp_snapshot *snapshot)
{
    return snapshot->actors;
}

void kp_snapshot_range(const struct kp_snapshot *snapshot, kp_time *out_min, kp_time *out_max)
{
    kp_time min = KP_TIME_MAX, max = KP_TIME_MIN;
    for (uint32_t i = 0; i < snapshot->segments_count; i++) {
        min = KP_MIN(min, snapshot->segments[i].meta.ts_min);
        max = KP_MAX(max, snapshot->segments[i].meta.ts_max);
    }
    for (uint32_t s = 0; s < KP_STREAM_MAX; s++)
        for (uint32_t i = 0; i < snapshot->logs[s].count; i++) {
            min = KP_MIN(min, snapshot->logs[s].pages[i]->ts_min);
            max = KP_MAX(max, snapshot->logs[s].pages[i]->ts_max);
        }
    *out_min = min;
    *out_max = max;
}

uint64_t kp_snapshot_rows(const struct kp_snapshot *snapshot, const struct kp_stream *stream)
{
    uint64_t rows = 0;
    for (uint32_t i = 0; i < snapshot->segments_count; i++)
        rows += snapshot->segments[i].meta.rows_by_stream[stream->number];
    const struct kpi_log *log = &snapshot->logs[stream->number];
    for (uint32_t i = 0; i < log->count; i++)
        rows += log->pages[i]->rows;
    return rows;
}

void *kp_snapshot_memo(struct kp_snapshot *snapshot, void *(*make)(void), void (*drop)(void *memo))
{
    pthread_mutex_lock(&snapshot->lock);
    if (snapshot->memo == NULL) {
        snapshot->memo = make();
        snapshot->memo_free = drop;
    }
    void *memo = snapshot->memo;
    pthread_mutex_unlock(&snapshot->lock);
    return memo;
}

uint64_t kp_snapshot_as_of(const struct kp_snapshot *snapshot)
{
    return snapshot->as_of;
}

void kp_snapshot_read(const struct kp_snapshot *snapshot, uint64_t *out_rows, uint64_t *out_bytes)
{
    *out_rows = atomic_load_explicit(&snapshot->rows_read, memory_order_relaxed);
    *out_bytes = atomic_load_explicit(&snapshot->bytes_read, memory_order_relaxed);
}

void kp_snapshot_dropped(const struct kp_snapshot *snapshot, struct kp_dropped *out)
{
    *out = snapshot->dropped;
}

static bool segment_dropped(const struct kp_snapshot *snapshot, const struct kpi_segment_meta *meta)
{
    return snapshot->dir != NULL && kpi_manifest_dropped(snapshot->io, snapshot->dir, meta);
}

static kp_status segment_open(struct kp_snapshot *snapshot, struct kpi_snapshot_segment *from,
                              struct kp_io_queue *queue)
{
    kp_status status =
        kpi_segment_open(snapshot->io, queue, from->path, from->meta.id, &from->segment, NULL);
    if (status != KP_OK)
        return status;
    if (from->segment.footer_hash.lo == from->meta.footer_hash.lo &&
        from->segment.footer_hash.hi == from->meta.footer_hash.hi)
        return KP_OK;
    kpi_segment_close(&from->segment);
    return KP_CORRUPT;
}

const struct kpi_segment *kpi_snapshot_segment(struct kp_snapshot *snapshot, uint32_t number,
                                               struct kp_io_queue *queue)
{
    struct kpi_snapshot_segment *from = &snapshot->segments[number];
    pthread_mutex_lock(&snapshot->lock);
    if (from->state == KPI_SEGMENT_UNOPENED) {
        kp_status status = segment_open(snapshot, from, queue);
        from->state = status == KP_OK                          ? KPI_SEGMENT_OPEN
                      : status == KP_NO_MEMORY                 ? KPI_SEGMENT_UNOPENED
                      : segment_dropped(snapshot, &from->meta) ? KPI_SEGMENT_DROPPED
                                                               : KPI_SEGMENT_FAILED;
        struct kp_damage damage = {.file = from->path,
                                   .size = from->meta.bytes,
                                   .from = from->meta.ts_min,
                                   .to = from->meta.ts_max,
                                   .rows = (int64_t)from->meta.rows,
                                   .what = "segment does not open: missing, cut off, or not the "
                                           "file the manifest names"};
        if (from->state == KPI_SEGMENT_FAILED)
            damage_add(snapshot, &damage);
    }
    bool usable = from->state == KPI_SEGMENT_OPEN;
    pthread_mutex_unlock(&snapshot->lock);
    return usable ? &from->segment : NULL;
}

kp_status kpi_snapshot_missing(const struct kp_snapshot *snapshot, uint32_t number)
{
    enum kpi_segment_state state = snapshot->segments[number].state;
    return state == KPI_SEGMENT_DROPPED    ? KP_BUSY
           : state == KPI_SEGMENT_UNOPENED ? KP_NO_MEMORY
                                           : KP_OK;
}

void kpi_snapshot_sets(struct kp_snapshot *snapshot, uint32_t number, struct kp_io_queue *queue)
{
    struct kpi_snapshot_segment *from = &snapshot->segments[number];
    pthread_mutex_lock(&snapshot->lock);
    kp_status status = from->sets_tried ? KP_OK : kpi_segment_sets(&from->segment, queue);
    if (status != KP_OK && status != KP_NO_MEMORY) {
        const struct kpi_section *section = &from->segment.footer.sets;
        struct kp_damage damage = {.file = from->path,
                                   .offset = section->offset,
                                   .size = section->size,
                                   .from = 0,
                                   .to = -1,
                                   .what = "the threads of the segment's pages do not read; all "
                                           "its pages were looked into instead"};
        damage_add(snapshot, &damage);
    }
    from->sets_tried = status != KP_NO_MEMORY;
    pthread_mutex_unlock(&snapshot->lock);
}
