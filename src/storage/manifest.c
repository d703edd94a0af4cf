/* SPDX-License-Identifier: Apache-2.0
 *
 * The manifest: base record (the whole state), then one record per new segment. Records stand on
 * sector borders, so that writing one never touches a sector of another, and each is bound to its
 * place and chained to the one before. Two superblocks, written in turn, name the file and say how
 * much of it was durable: an invalid record below that length is damage, one above is a torn tail.
 *
 * Every start, and every failed write, begins a new file with the whole state: one routine for
 * making, compacting and repairing.
 */
#include "storage/manifest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"

#define PATH_SIZE     4096u
#define FILE_MAX      (1u << 30) /* a larger manifest is not one of ours */
#define SUPER_SPACING 4096u
#define RETRIES       8u

struct kpi_manifest_log {
    const struct kp_io *io;
    const char *dir;
    uint64_t seed;
    struct kpi_manifest state;
    uint32_t capacity;       /* of state.segments */
    struct kp_io_file *file; /* NULL: poisoned or not begun */
    uint64_t file_no;
    uint64_t length;
    struct kp_hash128 prev;
    uint64_t generation;
};

static void manifest_path(char *out, const char *dir, uint64_t file_no)
{
    snprintf(out, PATH_SIZE, "%s/manifest.%08" PRIx64, dir, file_no);
}

bool kpi_manifest_name(const char *name, uint64_t *out_file_no)
{
    static const char prefix[] = "manifest.";
    if (strncmp(name, prefix, sizeof(prefix) - 1) != 0)
        return false;
    char *end = NULL;
    const char *digits = name + sizeof(prefix) - 1;
    if (strspn(digits, "0123456789abcdef") != strlen(digits) || strlen(digits) != 8)
        return false;
    *out_file_no = strtoull(digits, &end, 16);
    return true;
}

void kpi_manifest_deinit(struct kpi_manifest *manifest)
{
    free(manifest->segments);
    manifest->segments = NULL;
    manifest->count = 0;
}

static kp_status manifest_error(struct kp_error *err, int64_t result, const char *what,
                                const char *dir)
{
    int error = result < 0 ? (int)-result : EIO; /* a short result is an I/O error too */
    return kp_error_os(err, kp_status_from_errno(error), error, "cannot %s the manifest in %s",
                       what, dir);
}

/* ---------- reading ---------- */

struct reading {
    const struct kp_io *io;
    const char *dir;
    struct kp_io_queue *queue;
    void (*damage)(void *ctx, const struct kp_damage *damage);
    void *ctx;
    struct kpi_manifest *out;
    uint32_t capacity;
    uint64_t file_no;
    uint64_t seed;
    const uint8_t *bytes;
    size_t size;
    struct kp_hash128 prev;
    bool failed;
};

/* A whole file in memory (malloc'd). A failed read is tried once more. */
static int64_t file_load(const struct reading *r, const char *path, uint8_t **out)
{
    struct kp_io_file *file = NULL;
    int64_t result = r->io->open(r->io, path, KP_IO_RDONLY, &file);
    if (result != 0)
        return result;
    int64_t size = r->io->size(r->io, file);
    uint8_t *bytes = size < 0 || size > FILE_MAX ? NULL : malloc((size_t)size + 1);
    result = size < 0 ? size : size > FILE_MAX ? -EFBIG : -ENOMEM;
    for (int i = 0; i < 2 && bytes != NULL && result != size; i++)
        result = kp_io_once(r->io, r->queue, KP_IO_READ, file, bytes, (size_t)size, 0);
    r->io->close(r->io, file);
    if (bytes == NULL || result < 0) {
        free(bytes);
        return result;
    }
    *out = bytes;
    return result;
}

static void damage_tell(const struct reading *r, const char *file, uint64_t offset, uint64_t size,
                        const char *what)
{
    struct kp_damage damage = {.file = file,
                               .offset = offset,
                               .size = size,
                               .from = 0,
                               .to = -1,
                               .rows = -1,
                               .what = what};
    if (r->damage != NULL)
        r->damage(r->ctx, &damage);
}

static void manifest_damage(const struct reading *r, uint64_t offset, uint64_t size,
                            const char *what)
{
    char name[40];
    snprintf(name, sizeof(name), "manifest.%08" PRIx64, r->file_no);
    damage_tell(r, name, offset, size, what);
}

/* The newest valid superblock; NOT_FOUND: no file, CORRUPT: none valid. */
static kp_status super_read(const struct reading *r, struct kpi_super *out)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof(path), "%s/super", r->dir);
    uint8_t *bytes = NULL;
    int64_t size = file_load(r, path, &bytes);
    if (size == -ENOENT || size == -ENOTDIR)
        return KP_NOT_FOUND;
    if (size < 0)
        return size == -ENOMEM ? KP_NO_MEMORY : KP_CORRUPT;
    struct kpi_super best = {0};
    for (uint64_t at = 0; at + sizeof(best) <= (uint64_t)size && at <= SUPER_SPACING;
         at += SUPER_SPACING) {
        struct kpi_super super;
        memcpy(&super, bytes + at, sizeof(super));
        struct kp_hash128 hash = kp_hash128(&super, offsetof(struct kpi_super, hash), 0);
        if (super.magic == KPI_SUPER_MAGIC && kpi_hash_equal(super.hash, hash) &&
            super.generation > best.generation)
            best = super;
    }
    free(bytes);
    if (best.generation == 0)
        return KP_CORRUPT;
    *out = best;
    return best.version == KPI_FORMAT_VERSION ? KP_OK : KP_VERSION;
}

static bool record_at(const struct reading *r, uint64_t offset, struct kpi_manifest_header *out)
{
    if (offset + sizeof(*out) > r->size)
        return false;
    memcpy(out, r->bytes + offset, sizeof(*out));
    if (out->magic != KPI_MANIFEST_MAGIC || out->version != KPI_FORMAT_VERSION ||
        out->file_no != r->file_no || out->offset != offset ||
        out->payload_size > r->size - offset - sizeof(*out))
        return false;
    size_t covered = sizeof(*out) - sizeof(out->hash) + out->payload_size;
    return kpi_hash_equal(out->hash,
                          kp_hash128(r->bytes + offset + sizeof(out->hash), covered, r->seed));
}

static struct kpi_segment_meta *segment_slot(struct kpi_manifest *state, uint32_t *capacity)
{
    if (state->count == *capacity) {
        uint32_t wanted = *capacity == 0 ? 16 : *capacity * 2;
        void *segments = realloc(state->segments, wanted * sizeof(*state->segments));
        if (segments == NULL)
            return NULL;
        state->segments = segments;
        *capacity = wanted;
    }
    return &state->segments[state->count];
}

/* Payload of a SEGMENT record into the state; false when it makes no sense. */
static bool segment_take(struct reading *r, const uint8_t *payload, uint32_t size)
{
    struct kpi_manifest_segment s;
    if (size < sizeof(s))
        return false;
    memcpy(&s, payload, sizeof(s));
    struct kpi_manifest *out = r->out;
    if (s.streams > KP_STREAM_MAX || size != sizeof(s) + s.streams * 8 ||
        (out->count > 0 && s.id <= out->segments[out->count - 1].id))
        return false;
    struct kpi_segment_meta *meta = segment_slot(out, &r->capacity);
    if (meta == NULL) {
        r->failed = true;
        return false;
    }
    memset(meta, 0, sizeof(*meta));
    meta->id = s.id, meta->wal_first = s.wal_first, meta->wal_last = s.wal_last;
    meta->ts_min = s.ts_min, meta->ts_max = s.ts_max;
    meta->rows = s.rows, meta->bytes = s.bytes;
    meta->footer_hash = s.footer_hash;
    for (uint64_t i = 0; i < s.streams; i++) {
        uint64_t pair = kp_load_u64(payload + sizeof(s) + i * 8);
        if ((pair & 0xff) < KP_STREAM_MAX)
            meta->rows_by_stream[pair & 0xff] = pair >> 8;
    }
    out->count++;
    if (s.wal_last >= out->sealed_through) {
        out->sealed_through = s.wal_last;
        out->wal_hash = s.wal_hash;
    }
    out->seq_next = KP_MAX(out->seq_next, s.seq_next);
    return true;
}

static bool base_take(struct reading *r, const uint8_t *payload, uint32_t size, uint64_t *segments)
{
    struct kpi_manifest_base base;
    if (size != sizeof(base))
        return false;
    memcpy(&base, payload, sizeof(base));
    if (memcmp(base.store_id, r->out->store_id, KPI_ID_SIZE) != 0)
        return false;
    r->out->sealed_through = base.sealed_through;
    r->out->seq_next = base.seq_next;
    r->out->wal_hash = base.wal_hash;
    *segments = base.segments;
    return true;
}

static uint64_t record_size(const struct kpi_manifest_header *header)
{
    return kpi_round_up(sizeof(*header) + (uint64_t)header->payload_size, KPI_SECTOR);
}

static uint64_t next_record(const struct reading *r, uint64_t offset)
{
    struct kpi_manifest_header header;
    for (; offset < r->size; offset += KPI_SECTOR)
        if (record_at(r, offset, &header))
            return offset;
    return UINT64_MAX;
}

/* Reads records up to the torn tail. durable: bytes that must be good. Gives how many segments the
 * base promised, so that a base that was never finished is seen. */
static uint64_t records_read(struct reading *r, uint64_t durable)
{
    uint64_t promised = 0, offset = 0;
    while (!r->failed) {
        struct kpi_manifest_header header;
        if (!record_at(r, offset, &header)) {
            uint64_t next = next_record(r, offset + KPI_SECTOR);
            uint64_t end = next != UINT64_MAX ? next : KP_MAX(offset, durable);
            if (end > offset)
                manifest_damage(r, offset, end - offset, "manifest records damaged or missing");
            if (next == UINT64_MAX)
                break;
            offset = next;
            continue;
        }
        const uint8_t *payload = r->bytes + offset + sizeof(header);
        bool good = header.type == KPI_MANIFEST_BASE
                        ? offset == 0 && base_take(r, payload, header.payload_size, &promised)
                        : header.type == KPI_MANIFEST_SEGMENT &&
                              segment_take(r, payload, header.payload_size);
        if (!good && !r->failed)
            manifest_damage(r, offset, record_size(&header), "manifest record makes no sense");
        r->out->version = KP_MAX(r->out->version, header.manifest_version);
        offset += record_size(&header);
    }
    return promised;
}

static kp_status file_read(struct reading *r, uint64_t file_no, uint64_t durable,
                           const uint8_t *store_id, uint64_t *out_promised)
{
    char path[PATH_SIZE];
    manifest_path(path, r->dir, file_no);
    uint8_t *bytes = NULL;
    int64_t size = file_load(r, path, &bytes);
    if (size < 0)
        return size == -ENOENT ? KP_NOT_FOUND : size == -ENOMEM ? KP_NO_MEMORY : KP_CORRUPT;
    kpi_manifest_deinit(r->out);
    memset(r->out, 0, sizeof(*r->out));
    r->capacity = 0;
    r->file_no = file_no;
    r->bytes = bytes;
    r->size = (size_t)size;
    size_t id_at = sizeof(struct kpi_manifest_header); /* the base starts with the id */
    if (store_id == NULL && r->size >= id_at + KPI_ID_SIZE)
        store_id = bytes + id_at;
    if (store_id != NULL)
        memcpy(r->out->store_id, store_id, KPI_ID_SIZE);
    r->seed = kpi_store_seed(r->out->store_id);
    *out_promised = records_read(r, durable);
    free(bytes);
    if (r->failed)
        return KP_NO_MEMORY;
    return r->out->version == 0 ? KP_CORRUPT : KP_OK; /* not one record was good */
}

struct names {
    uint64_t newest; /* below `below` */
    uint64_t below;
};

static void name_newest(void *ctx, const char *name)
{
    struct names *names = ctx;
    uint64_t file_no;
    if (kpi_manifest_name(name, &file_no) && file_no < names->below && file_no > names->newest)
        names->newest = file_no;
}

/* Without a superblock: the newest manifest file whose base is whole. */
static kp_status fallback_read(struct reading *r)
{
    struct names names = {.below = UINT64_MAX};
    void (*damage)(void *, const struct kp_damage *) = r->damage;
    for (;;) {
        names.newest = 0;
        if (r->io->list(r->io, r->dir, name_newest, &names) != 0 || names.newest == 0)
            return KP_NOT_FOUND;
        uint64_t promised = 0;
        r->damage = NULL;
        kp_status status = file_read(r, names.newest, 0, NULL, &promised);
        r->damage = damage;
        if (status == KP_NO_MEMORY)
            return status;
        if (status == KP_OK && r->out->version != 0 && r->out->count >= promised)
            return KP_OK;
        names.below = names.newest;
    }
}

static kp_status manifest_try(struct reading *r)
{
    struct kpi_super super;
    uint64_t promised;
    kp_status found = super_read(r, &super);
    if (found == KP_VERSION || found == KP_NO_MEMORY)
        return found;
    kp_status status = KP_CORRUPT;
    if (found == KP_OK) {
        status = file_read(r, super.file_no, super.length, super.store_id, &promised);
        if (status != KP_CORRUPT)
            return status == KP_NOT_FOUND ? KP_BUSY : status;
    }
    status = fallback_read(r);
    /* a store that was just being made has neither segments nor a superblock */
    bool unborn = found == KP_NOT_FOUND && (status == KP_NOT_FOUND || r->out->version == 1);
    if (unborn)
        return KP_NOT_FOUND;
    if (status == KP_OK)
        damage_tell(r, "super", 0, SUPER_SPACING + KPI_SECTOR,
                    "superblocks missing or damaged; the newest whole manifest file was used");
    return status == KP_NOT_FOUND ? KP_CORRUPT : status;
}

kp_status kpi_manifest_read(const struct kp_io *io, const char *dir, struct kpi_manifest *out,
                            void (*damage)(void *ctx, const struct kp_damage *damage), void *ctx,
                            struct kp_error *err)
{
    struct kpi_manifest state = {0};
    struct reading r = {.io = io, .dir = dir, .damage = damage, .ctx = ctx, .out = &state};
    kp_status status = io->queue_open(io, 2, &r.queue);
    if (status != KP_OK)
        return kp_error_set(err, status, "no I/O queue for reading the manifest of %s", dir);
    status = KP_BUSY;
    /* a writer may put a new manifest file in place of the one that super named a moment ago */
    for (unsigned i = 0; i < RETRIES && status == KP_BUSY; i++)
        status = manifest_try(&r);
    io->queue_close(r.queue);
    if (status == KP_OK) {
        *out = state;
        return KP_OK;
    }
    kpi_manifest_deinit(&state);
    if (status == KP_NOT_FOUND)
        return kp_error_set(err, status, "%s is not a kprobe store", dir);
    if (status == KP_VERSION)
        return kp_error_set(err, status, "%s was written by a newer kprobe", dir);
    return kp_error_set(err, status == KP_BUSY ? KP_CORRUPT : status,
                        "the manifest of %s cannot be read", dir);
}

kp_status kpi_manifest_store_id(const struct kp_io *io, const char *dir, uint8_t out[KPI_ID_SIZE],
                                struct kp_error *err)
{
    struct kpi_manifest state;
    kp_status status = kpi_manifest_read(io, dir, &state, NULL, NULL, err);
    if (status != KP_OK)
        return status;
    memcpy(out, state.store_id, KPI_ID_SIZE);
    kpi_manifest_deinit(&state);
    return KP_OK;
}

/* ---------- writing ---------- */

/* Appends a record to buf, which holds the bytes of the file from `origin` on. */
static void record_put(struct kpi_manifest_log *log, struct kp_buf *buf, uint64_t origin,
                       enum kpi_manifest_type type, const void *payload, uint32_t size)
{
    struct kpi_manifest_header header = {.magic = KPI_MANIFEST_MAGIC,
                                         .version = KPI_FORMAT_VERSION,
                                         .type = (uint16_t)type,
                                         .file_no = log->file_no,
                                         .offset = origin + buf->size,
                                         .manifest_version = ++log->state.version,
                                         .prev = log->prev,
                                         .payload_size = size};
    size_t start = buf->size;
    uint64_t whole = record_size(&header);
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
    record_put(log, buf, origin, KPI_MANIFEST_SEGMENT, payload,
               (uint32_t)(sizeof(s) + s.streams * 8));
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
                              .version = KPI_FORMAT_VERSION,
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
    char path[PATH_SIZE];
    uint8_t sector[KPI_SECTOR];
    snprintf(path, sizeof(path), "%s/super", log->dir);
    struct kp_io_file *file = NULL;
    int64_t result = log->io->open(log->io, path, KP_IO_RDWR, &file);
    if (result != 0)
        return result;
    super_fill(log, sector);
    uint64_t offset = log->generation % 2 * SUPER_SPACING;
    result = write_and_sync(log, queue, file, sector, sizeof(sector), offset);
    log->io->close(log->io, file);
    return result;
}

/* A new file under the name: for a new store, and when writing in place failed. */
static int64_t super_replace(struct kpi_manifest_log *log, struct kp_io_queue *queue)
{
    char from[PATH_SIZE], to[PATH_SIZE];
    uint8_t both[SUPER_SPACING + KPI_SECTOR] = {0};
    snprintf(from, sizeof(from), "%s/super.tmp", log->dir);
    snprintf(to, sizeof(to), "%s/super", log->dir);
    log->io->unlink(log->io, from);
    struct kp_io_file *file = NULL;
    int64_t result = log->io->open(log->io, from, KP_IO_RDWR | KP_IO_CREATE, &file);
    if (result != 0)
        return result;
    super_fill(log, both);
    super_fill(log, both + SUPER_SPACING);
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
    char path[PATH_SIZE];
    manifest_path(path, log->dir, log->file_no);
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

/* The whole state into the next file; then super; then the old file goes. */
static int64_t manifest_rewrite(struct kpi_manifest_log *log, struct kp_io_queue *queue)
{
    char old[PATH_SIZE];
    manifest_path(old, log->dir, log->file_no);
    if (log->file != NULL)
        log->io->close(log->io, log->file);
    log->file = NULL;
    log->file_no++;
    struct kpi_manifest_base base = {.sealed_through = log->state.sealed_through,
                                     .seq_next = log->state.seq_next,
                                     .wal_hash = log->state.wal_hash,
                                     .segments = log->state.count};
    memcpy(base.store_id, log->state.store_id, KPI_ID_SIZE);
    struct kp_buf buf = {0};
    log->prev = (struct kp_hash128){0, 0};
    record_put(log, &buf, 0, KPI_MANIFEST_BASE, &base, sizeof(base));
    for (uint32_t i = 0; i < log->state.count; i++)
        segment_put(log, &buf, 0, &log->state.segments[i]);
    int64_t result = buf.failed ? -ENOMEM : file_create(log, queue, &buf);
    kp_buf_deinit(&buf);
    if (result == 0)
        result = super_write(log, queue);
    if (result == 0)
        log->io->unlink(log->io, old);
    return result;
}

static int64_t manifest_append(struct kpi_manifest_log *log, struct kp_io_queue *queue,
                               const struct kpi_segment_meta *segment)
{
    struct kp_buf buf = {0};
    segment_put(log, &buf, log->length, segment);
    int64_t result = buf.failed
                         ? -ENOMEM
                         : write_and_sync(log, queue, log->file, buf.data, buf.size, log->length);
    log->length += buf.size;
    kp_buf_deinit(&buf);
    if (result != 0) {
        log->io->close(log->io, log->file);
        log->file = NULL;
        return result;
    }
    /* The record is the commit point; super only says how far damage must be looked for. */
    if (super_write(log, queue) != 0) {
        log->io->close(log->io, log->file);
        log->file = NULL;
    }
    return 0;
}

kp_status kpi_manifest_add(struct kpi_manifest_log *log, struct kp_io_queue *queue,
                           const struct kpi_segment_meta *segment, uint64_t seq_next,
                           struct kp_hash128 wal_hash, struct kp_error *err)
{
    struct kpi_segment_meta *slot = segment_slot(&log->state, &log->capacity);
    if (slot == NULL)
        return kp_error_set(err, KP_NO_MEMORY, "no memory for the manifest");
    uint64_t sealed_before = log->state.sealed_through;
    struct kp_hash128 hash_before = log->state.wal_hash;
    *slot = *segment;
    log->state.sealed_through = segment->wal_last;
    log->state.seq_next = KP_MAX(log->state.seq_next, seq_next);
    log->state.wal_hash = wal_hash;
    int64_t result = -EIO;
    if (log->file != NULL)
        result = manifest_append(log, queue, segment);
    if (result == 0) {
        log->state.count++;
        return KP_OK;
    }
    log->state.count++;
    result = manifest_rewrite(log, queue);
    if (result == 0)
        return KP_OK;
    log->state.count--;
    log->state.sealed_through = sealed_before;
    log->state.wal_hash = hash_before;
    if (log->file != NULL)
        log->io->close(log->io, log->file);
    log->file = NULL;
    return manifest_error(err, result, "write", log->dir);
}

static bool state_copy(struct kpi_manifest_log *log, const struct kpi_manifest *state)
{
    log->state = *state;
    log->capacity = state->count;
    if (state->count == 0) {
        log->state.segments = NULL;
        return true;
    }
    size_t size = state->count * sizeof(*state->segments);
    log->state.segments = malloc(size);
    if (log->state.segments != NULL)
        memcpy(log->state.segments, state->segments, size);
    return log->state.segments != NULL;
}

/* File number and generation to go on from: above everything that is there, whatever it holds. */
static void numbers_find(struct kpi_manifest_log *log, struct kp_io_queue *queue)
{
    struct names names = {.below = UINT64_MAX};
    log->io->list(log->io, log->dir, name_newest, &names);
    struct reading r = {.io = log->io, .dir = log->dir, .queue = queue};
    struct kpi_super super = {0};
    if (super_read(&r, &super) != KP_OK)
        super.generation = 0;
    log->file_no = KP_MAX(names.newest, super.file_no);
    log->generation = super.generation;
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
    numbers_find(log, queue);
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
