/* SPDX-License-Identifier: Apache-2.0
 *
 * The manifest's writer: base record (the whole state), then one record per new segment, drop or
 * hold. Records stand on sector borders, so that writing one never touches a sector of another, and
 * each is bound to its place and chained to the one before. Two superblocks, written in turn, name
 * the file and say how much of it was durable.
 *
 * Every start, and every failed write, begins a new file with the whole state: one routine for
 * making, compacting and repairing. So does the first drop or hold of a store: its file is of
 * version 2, which older programs refuse.
 */
#include "storage/manifest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"

#define DROPS_MAX 1024u /* tombstones kept one by one; older ones are folded at the next start */

struct kpi_manifest_log {
    const struct kp_io *io;
    const char *dir;
    uint64_t seed;
    struct kpi_manifest state;
    uint32_t capacity;       /* of state.segments */
    struct kp_io_file *file; /* NULL: poisoned or not begun */
    uint64_t file_no;
    uint64_t length;
    uint16_t version; /* of the file's records */
    struct kp_hash128 prev;
    uint64_t generation;
};

static kp_status manifest_error(struct kp_error *err, int64_t result, const char *what,
                                const char *dir)
{
    int error = result < 0 ? (int)-result : EIO; /* a short result is an I/O error too */
    return kp_error_os(err, kp_status_from_errno(error), error, "cannot %s the manifest in %s",
                       what, dir);
}

/* Appends a record to buf, which holds the bytes of the file from `origin` on. */
static void record_put(struct kpi_manifest_log *log, struct kp_buf *buf, uint64_t origin,
                       enum kpi_manifest_type type, const void *payload, uint32_t size)
{
    struct kpi_manifest_header header = {.magic = KPI_MANIFEST_MAGIC,
                                         .version = log->version,
                                         .type = (uint16_t)type,
                                         .file_no = log->file_no,
                                         .offset = origin + buf->size,
                                         .manifest_version = ++log->state.version,
                                         .prev = log->prev,
                                         .payload_size = size};
    size_t start = buf->size;
    uint64_t whole = kpi_manifest_record_size(&header);
    uint8_t *bytes = kp_buf_reserve(buf, whole);
    if (bytes == NULL)
        return;
    memset(bytes, 0, whole);
    memcpy(bytes, &header, sizeof(header));
    memcpy(bytes + sizeof(header), payload, size);
    size_t covered = sizeof(header) - sizeof(header.hash) + size;
    header.hash = kp_hash128(bytes + sizeof(header.hash), covered, log->seed);
    memcpy(bytes, &header.hash, sizeof(header.hash));
    buf->size = start + whole;
    log->prev = header.hash;
}

static void segment_put(struct kpi_manifest_log *log, struct kp_buf *buf, uint64_t origin,
                        const struct kpi_segment_meta *meta)
{
    uint8_t payload[sizeof(struct kpi_manifest_segment) + KP_STREAM_MAX * 8];
    struct kpi_manifest_segment s = {.id = meta->id,
                                     .wal_first = meta->wal_first,
                                     .wal_last = meta->wal_last,
                                     .ts_min = meta->ts_min,
                                     .ts_max = meta->ts_max,
                                     .rows = meta->rows,
                                     .bytes = meta->bytes,
                                     .footer_hash = meta->footer_hash,
                                     .seq_next = log->state.seq_next,
                                     .wal_hash = log->state.wal_hash};
    for (uint64_t n = 0; n < KP_STREAM_MAX; n++) {
        if (meta->rows_by_stream[n] == 0)
            continue;
        kp_store_u64(payload + sizeof(s) + s.streams * 8, meta->rows_by_stream[n] << 8 | n);
        s.streams++;
    }
    memcpy(payload, &s, sizeof(s));
    record_put(log, buf, origin, meta->cold ? KPI_MANIFEST_COLD : KPI_MANIFEST_SEGMENT, payload,
               (uint32_t)(sizeof(s) + s.streams * 8));
}

static void hold_put(struct kpi_manifest_log *log, struct kp_buf *buf, uint64_t origin,
                     const struct kp_hold *hold)
{
    uint8_t payload[KPI_HOLD_PAYLOAD_MAX];
    uint32_t size = kpi_manifest_hold_write(hold, payload);
    record_put(log, buf, origin, KPI_MANIFEST_HOLD, payload, size);
}

static void run_put(struct kpi_manifest_log *log, struct kp_buf *buf, uint64_t origin,
                    const struct kpi_run_meta *meta)
{
    struct kpi_manifest_run run = {.id = meta->id,
                                   .first = meta->first,
                                   .last = meta->last,
                                   .segments = meta->segments,
                                   .entries = meta->entries,
                                   .bytes = meta->bytes,
                                   .hash = meta->hash};
    record_put(log, buf, origin, KPI_MANIFEST_RUN, &run, sizeof(run));
}

static int64_t write_and_sync(const struct kpi_manifest_log *log, struct kp_io_queue *queue,
                              struct kp_io_file *file, void *bytes, size_t size, uint64_t offset)
{
    int64_t done = kp_io_once(log->io, queue, KP_IO_WRITE, file, bytes, size, offset);
    if (done != (int64_t)size)
        return done < 0 ? done : -EIO;
    return kp_io_once(log->io, queue, KP_IO_SYNC, file, NULL, 0, 0);
}

static void super_fill(struct kpi_manifest_log *log, uint8_t sector[KPI_SECTOR])
{
    struct kpi_super super = {.magic = KPI_SUPER_MAGIC,
                              .version = log->version,
                              .generation = ++log->generation,
                              .file_no = log->file_no,
                              .length = log->length,
                              .manifest_version = log->state.version};
    memcpy(super.store_id, log->state.store_id, KPI_ID_SIZE);
    super.hash = kp_hash128(&super, offsetof(struct kpi_super, hash), 0);
    memset(sector, 0, KPI_SECTOR);
    memcpy(sector, &super, sizeof(super));
}

/* In place, into the older of the two slots. */
static int64_t super_update(struct kpi_manifest_log *log, struct kp_io_queue *queue)
{
    char path[KPI_MANIFEST_PATH];
    uint8_t sector[KPI_SECTOR];
    snprintf(path, sizeof(path), "%s/super", log->dir);
    struct kp_io_file *file = NULL;
    int64_t result = log->io->open(log->io, path, KP_IO_RDWR, &file);
    if (result != 0)
        return result;
    super_fill(log, sector);
    uint64_t offset = log->generation % 2 * KPI_SUPER_SPACING;
    result = write_and_sync(log, queue, file, sector, sizeof(sector), offset);
    log->io->close(log->io, file);
    return result;
}

/* A new file under the name: for a new store, and when writing in place failed. */
static int64_t super_replace(struct kpi_manifest_log *log, struct kp_io_queue *queue)
{
    char from[KPI_MANIFEST_PATH], to[KPI_MANIFEST_PATH];
    uint8_t both[KPI_SUPER_SPACING + KPI_SECTOR] = {0};
    snprintf(from, sizeof(from), "%s/super.tmp", log->dir);
    snprintf(to, sizeof(to), "%s/super", log->dir);
    log->io->unlink(log->io, from);
    struct kp_io_file *file = NULL;
    int64_t result = log->io->open(log->io, from, KP_IO_RDWR | KP_IO_CREATE, &file);
    if (result != 0)
        return result;
    super_fill(log, both);
    super_fill(log, both + KPI_SUPER_SPACING);
    result = write_and_sync(log, queue, file, both, sizeof(both), 0);
    log->io->close(log->io, file);
    if (result == 0)
        result = log->io->rename(log->io, from, to);
    if (result == 0)
        result = log->io->sync_dir(log->io, log->dir);
    return result;
}

static int64_t super_write(struct kpi_manifest_log *log, struct kp_io_queue *queue)
{
    int64_t result = super_update(log, queue);
    return result == 0 ? 0 : super_replace(log, queue);
}

static int64_t file_create(struct kpi_manifest_log *log, struct kp_io_queue *queue,
                           struct kp_buf *buf)
{
    char path[KPI_MANIFEST_PATH];
    kpi_manifest_path(path, log->dir, log->file_no);
    int64_t result = log->io->open(log->io, path, KP_IO_RDWR | KP_IO_CREATE, &log->file);
    if (result != 0)
        return result;
    result = write_and_sync(log, queue, log->file, buf->data, buf->size, 0);
    if (result == 0)
        result = log->io->sync_dir(log->io, log->dir);
    if (result == 0) {
        log->length = buf->size;
        return 0;
    }
    log->io->close(log->io, log->file);
    log->file = NULL;
    log->io->unlink(log->io, path);
    return result;
}

/* Version that a file with this state needs: an old program must not take a drop for damage. */
static uint16_t version_needed(const struct kpi_manifest *state)
{
    for (uint32_t i = 0; i < state->count; i++)
        if (state->segments[i].cold)
            return KPI_MANIFEST_VERSION;
    if (state->runs_count > 0)
        return KPI_MANIFEST_VERSION_RUNS;
    bool life = state->drops_count + state->holds_count > 0;
    return life ? KPI_MANIFEST_VERSION_LIFE : KPI_FORMAT_VERSION;
}

static void state_put(struct kpi_manifest_log *log, struct kp_buf *buf)
{
    const struct kpi_manifest *state = &log->state;
    struct kpi_manifest_base base = {.sealed_through = state->sealed_through,
                                     .seq_next = state->seq_next,
                                     .wal_hash = state->wal_hash,
                                     .segments = state->count,
                                     .others = (uint64_t)state->drops_count + state->holds_count +
                                               state->runs_count};
    memcpy(base.store_id, state->store_id, KPI_ID_SIZE);
    size_t size = log->version == KPI_FORMAT_VERSION ? offsetof(struct kpi_manifest_base, others)
                                                     : sizeof(base);
    record_put(log, buf, 0, KPI_MANIFEST_BASE, &base, (uint32_t)size);
    for (uint32_t i = 0; i < state->count; i++)
        segment_put(log, buf, 0, &state->segments[i]);
    for (uint32_t i = 0; i < state->drops_count; i++)
        record_put(log, buf, 0, KPI_MANIFEST_DROP, &state->drops[i], sizeof(state->drops[i]));
    for (uint32_t i = 0; i < state->holds_count; i++)
        hold_put(log, buf, 0, &state->holds[i]);
    for (uint32_t i = 0; i < state->runs_count; i++)
        run_put(log, buf, 0, &state->runs[i]);
}

/* The whole state into the next file; then super; then the old file goes. */
static int64_t manifest_rewrite(struct kpi_manifest_log *log, struct kp_io_queue *queue)
{
    char old[KPI_MANIFEST_PATH];
    kpi_manifest_path(old, log->dir, log->file_no);
    if (log->file != NULL)
        log->io->close(log->io, log->file);
    log->file = NULL;
    log->file_no++;
    log->version = version_needed(&log->state);
    struct kp_buf buf = {0};
    log->prev = (struct kp_hash128){0, 0};
    state_put(log, &buf);
    int64_t result = buf.failed ? -ENOMEM : file_create(log, queue, &buf);
    kp_buf_deinit(&buf);
    if (result == 0)
        result = super_write(log, queue);
    if (result == 0)
        log->io->unlink(log->io, old);
    return result;
}

static void file_poison(struct kpi_manifest_log *log)
{
    if (log->file != NULL)
        log->io->close(log->io, log->file);
    log->file = NULL;
}

static int64_t manifest_append(struct kpi_manifest_log *log, struct kp_io_queue *queue,
                               struct kp_buf *record)
{
    int64_t result = write_and_sync(log, queue, log->file, record->data, record->size, log->length);
    log->length += record->size;
    if (result != 0) {
        file_poison(log);
        return result;
    }
    /* The record is the commit point; super only says how far damage must be looked for. */
    if (super_write(log, queue) != 0)
        file_poison(log);
    return 0;
}

/* Makes a change of the state durable: its record behind the others, or else everything anew. Takes
 * the record's buffer. */
static int64_t change_write(struct kpi_manifest_log *log, struct kp_io_queue *queue,
                            struct kp_buf *record)
{
    int64_t result = -EIO;
    if (log->file != NULL && !record->failed && log->version >= version_needed(&log->state))
        result = manifest_append(log, queue, record);
    kp_buf_deinit(record);
    if (result != 0)
        result = manifest_rewrite(log, queue);
    if (result != 0)
        file_poison(log);
    return result;
}

kp_status kpi_manifest_add(struct kpi_manifest_log *log, struct kp_io_queue *queue,
                           const struct kpi_segment_meta *segment, uint64_t seq_next,
                           struct kp_hash128 wal_hash, struct kp_error *err)
{
    struct kpi_segment_meta *slot = kpi_manifest_slot(&log->state, &log->capacity);
    if (slot == NULL)
        return kp_error_set(err, KP_NO_MEMORY, "no memory for the manifest");
    uint64_t sealed_before = log->state.sealed_through;
    struct kp_hash128 hash_before = log->state.wal_hash;
    *slot = *segment;
    log->state.sealed_through = segment->wal_last;
    log->state.seq_next = KP_MAX(log->state.seq_next, seq_next);
    log->state.wal_hash = wal_hash;
    log->state.count++;
    struct kp_buf record = {0};
    segment_put(log, &record, log->length, segment);
    int64_t result = change_write(log, queue, &record);
    if (result == 0)
        return KP_OK;
    log->state.count--;
    log->state.sealed_through = sealed_before;
    log->state.wal_hash = hash_before;
    return manifest_error(err, result, "write", log->dir);
}

kp_status kpi_manifest_drop(struct kpi_manifest_log *log, struct kp_io_queue *queue, uint64_t id,
                            enum kpi_drop_reason reason, kp_time at, struct kp_error *err)
{
    struct kpi_manifest *state = &log->state;
    uint32_t place = 0;
    while (place < state->count && state->segments[place].id != id)
        place++;
    kp_assert(place < state->count);
    struct kpi_segment_meta meta = state->segments[place];
    struct kpi_manifest_drop drop = {.id_first = id,
                                     .id_last = id,
                                     .segments = 1,
                                     .wal_first = meta.wal_first,
                                     .wal_last = meta.wal_last,
                                     .ts_min = meta.ts_min,
                                     .ts_max = meta.ts_max,
                                     .rows = meta.rows,
                                     .bytes = meta.bytes,
                                     .footer_hash = meta.footer_hash,
                                     .at = at,
                                     .reason = reason};
    if (!kpi_manifest_take_drop(state, &drop))
        return kp_error_set(err, KP_NO_MEMORY, "no memory for the manifest");
    struct kp_buf record = {0};
    record_put(log, &record, log->length, KPI_MANIFEST_DROP, &drop, sizeof(drop));
    int64_t result = change_write(log, queue, &record);
    if (result == 0)
        return KP_OK;
    state->drops_count--;
    memmove(&state->segments[place + 1], &state->segments[place],
            (state->count - place) * sizeof(meta));
    state->segments[place] = meta;
    state->count++;
    return manifest_error(err, result, "write", log->dir);
}

/* After a change that failed: the state is what it was, but the version goes on, since what was
 * tried may be on the disk. Frees `before`. */
static kp_status change_end(struct kpi_manifest_log *log, struct kpi_manifest *before,
                            int64_t result, struct kp_error *err)
{
    if (result != 0) {
        before->version = log->state.version;
        struct kpi_manifest tried = log->state;
        log->state = *before;
        *before = tried;
        log->capacity = log->state.count;
    }
    kpi_manifest_deinit(before);
    return result == 0 ? KP_OK : manifest_error(err, result, "write", log->dir);
}

kp_status kpi_manifest_hold(struct kpi_manifest_log *log, struct kp_io_queue *queue,
                            const struct kp_hold *hold, struct kp_error *err)
{
    struct kpi_manifest before;
    if (!kpi_manifest_copy(&log->state, &before))
        return kp_error_set(err, KP_NO_MEMORY, "no memory for the manifest");
    int64_t result = -ENOMEM;
    if (kpi_manifest_take_hold(&log->state, hold)) {
        struct kp_buf record = {0};
        hold_put(log, &record, log->length, hold);
        result = change_write(log, queue, &record);
    }
    return change_end(log, &before, result, err);
}

kp_status kpi_manifest_cold(struct kpi_manifest_log *log, struct kp_io_queue *queue,
                            const struct kpi_segment_meta *segment, struct kp_error *err)
{
    struct kpi_manifest before;
    if (!kpi_manifest_copy(&log->state, &before))
        return kp_error_set(err, KP_NO_MEMORY, "no memory for the manifest");
    int64_t result = -ENOMEM;
    if (kpi_manifest_take_cold(&log->state, segment, &log->capacity)) {
        struct kp_buf record = {0};
        segment_put(log, &record, log->length, segment);
        result = change_write(log, queue, &record);
    }
    return change_end(log, &before, result, err);
}

/* What is not known to be in the manifest is not in the state: a run costs nothing to lose. */
kp_status kpi_manifest_run(struct kpi_manifest_log *log, struct kp_io_queue *queue,
                           const struct kpi_run_meta *run, struct kp_error *err)
{
    const struct kpi_run_meta none = {.first = run->first, .last = run->last};
    if (!kpi_manifest_take_run(&log->state, run))
        return kp_error_set(err, KP_NO_MEMORY, "no memory for the manifest");
    struct kp_buf record = {0};
    run_put(log, &record, log->length, run);
    int64_t result = change_write(log, queue, &record);
    if (result == 0)
        return KP_OK;
    bool taken = kpi_manifest_take_run(&log->state, &none);
    kp_assert(taken);
    return manifest_error(err, result, "write", log->dir);
}

static bool state_copy(struct kpi_manifest_log *log, const struct kpi_manifest *state)
{
    log->capacity = state->count;
    bool copied = kpi_manifest_copy(state, &log->state);
    if (copied)
        kpi_manifest_fold(&log->state, DROPS_MAX);
    return copied;
}

kp_status kpi_manifest_open(const struct kp_io *io, struct kp_io_queue *queue, const char *dir,
                            const struct kpi_manifest *state, struct kpi_manifest_log **out,
                            struct kp_error *err)
{
    struct kpi_manifest_log *log = calloc(1, sizeof(*log));
    if (log == NULL || !state_copy(log, state)) {
        free(log);
        return kp_error_set(err, KP_NO_MEMORY, "no memory for the manifest");
    }
    log->io = io;
    log->dir = dir;
    log->seed = kpi_store_seed(state->store_id);
    kpi_manifest_numbers(io, queue, dir, &log->file_no, &log->generation);
    int64_t result = manifest_rewrite(log, queue);
    if (result != 0) {
        kpi_manifest_close(log);
        return manifest_error(err, result, "write", dir);
    }
    *out = log;
    return KP_OK;
}

const struct kpi_manifest *kpi_manifest_state(const struct kpi_manifest_log *log)
{
    return &log->state;
}

uint64_t kpi_manifest_file_no(const struct kpi_manifest_log *log)
{
    return log->file_no;
}

void kpi_manifest_close(struct kpi_manifest_log *log)
{
    if (log == NULL)
        return;
    if (log->file != NULL)
        log->io->close(log->io, log->file);
    kpi_manifest_deinit(&log->state);
    free(log);
}
