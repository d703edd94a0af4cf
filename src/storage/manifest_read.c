/* SPDX-License-Identifier: Apache-2.0
 *
 * The manifest's reader. The superblock says how much of which file was durable: an invalid record
 * below that length is damage, one above is a torn tail. Without a superblock the newest file whose
 * base is whole counts. A record of a type that is not known ends the reading: the store is a newer
 * program's.
 */
#include "storage/manifest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"

#define FILE_MAX  (1u << 30) /* a larger manifest is not one of ours */
#define RETRIES   8u
#define NAME_ROOM 40u

void kpi_manifest_path(char *out, const char *dir, uint64_t file_no)
{
    snprintf(out, KPI_MANIFEST_PATH, "%s/manifest.%08" PRIx64, dir, file_no);
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
    uint64_t records; /* behind the base */
    bool failed;
    bool newer; /* a record of a later format */
};

static bool version_known(uint16_t version)
{
    return version >= KPI_FORMAT_VERSION && version <= KPI_MANIFEST_VERSION;
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

/* Sector by sector, when the disk does not give all of a file at once: what does not read is 0 and
 * is told of. */
static void sectors_load(const struct reading *r, struct kp_io_file *file, const char *name,
                         uint8_t *bytes, size_t size)
{
    for (size_t at = 0; at < size; at += KPI_SECTOR) {
        size_t length = KP_MIN(size - at, (size_t)KPI_SECTOR);
        int64_t got = kp_io_once(r->io, r->queue, KP_IO_READ, file, bytes + at, length, at);
        if (got == (int64_t)length)
            continue;
        memset(bytes + at, 0, length);
        damage_tell(r, name, at, length, "the disk does not read this place");
    }
}

/* A whole file of the directory in memory (malloc'd). A failed read is tried once more. */
static int64_t file_load(const struct reading *r, const char *name, uint8_t **out)
{
    char path[KPI_MANIFEST_PATH];
    struct kp_io_file *file = NULL;
    snprintf(path, sizeof(path), "%s/%s", r->dir, name);
    int64_t result = r->io->open(r->io, path, KP_IO_RDONLY, &file);
    if (result != 0)
        return result;
    int64_t size = r->io->size(r->io, file);
    uint8_t *bytes = size < 0 || size > FILE_MAX ? NULL : malloc((size_t)size + 1);
    result = size < 0 ? size : size > FILE_MAX ? -EFBIG : -ENOMEM;
    for (int i = 0; i < 2 && bytes != NULL && result != size; i++)
        result = kp_io_once(r->io, r->queue, KP_IO_READ, file, bytes, (size_t)size, 0);
    if (bytes != NULL && result == -EIO) {
        sectors_load(r, file, name, bytes, (size_t)size);
        result = size;
    }
    r->io->close(r->io, file);
    if (bytes == NULL || result < 0) {
        free(bytes);
        return result;
    }
    *out = bytes;
    return result;
}

static void manifest_damage(const struct reading *r, uint64_t offset, uint64_t size,
                            const char *what)
{
    char name[NAME_ROOM];
    snprintf(name, sizeof(name), "manifest.%08" PRIx64, r->file_no);
    damage_tell(r, name, offset, size, what);
}

/* The newest valid superblock; NOT_FOUND: no file, CORRUPT: none valid. */
static kp_status super_read(const struct reading *r, struct kpi_super *out)
{
    uint8_t *bytes = NULL;
    int64_t size = file_load(r, "super", &bytes);
    if (size == -ENOENT || size == -ENOTDIR)
        return KP_NOT_FOUND;
    if (size < 0)
        return size == -ENOMEM ? KP_NO_MEMORY : KP_CORRUPT;
    struct kpi_super best = {0};
    for (uint64_t at = 0; at + sizeof(best) <= (uint64_t)size && at <= KPI_SUPER_SPACING;
         at += KPI_SUPER_SPACING) {
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
    return version_known(best.version) ? KP_OK : KP_VERSION;
}

static bool record_at(const struct reading *r, uint64_t offset, struct kpi_manifest_header *out)
{
    if (offset + sizeof(*out) > r->size)
        return false;
    memcpy(out, r->bytes + offset, sizeof(*out));
    if (out->magic != KPI_MANIFEST_MAGIC || !version_known(out->version) ||
        out->file_no != r->file_no || out->offset != offset ||
        out->payload_size > r->size - offset - sizeof(*out))
        return false;
    size_t covered = sizeof(*out) - sizeof(out->hash) + out->payload_size;
    return kpi_hash_equal(out->hash,
                          kp_hash128(r->bytes + offset + sizeof(out->hash), covered, r->seed));
}

struct kpi_segment_meta *kpi_manifest_slot(struct kpi_manifest *state, uint32_t *capacity)
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

static bool segment_put(struct reading *r, const struct kpi_segment_meta *meta)
{
    struct kpi_manifest *out = r->out;
    bool room = kpi_manifest_slot(out, &r->capacity) != NULL;
    if (room && meta->cold)
        room = kpi_manifest_take_cold(out, meta, &r->capacity);
    else if (room)
        out->segments[out->count++] = *meta;
    r->failed |= !room;
    return room;
}

/* Payload of a SEGMENT or COLD record into the state; false when it makes no sense. */
static bool segment_take(struct reading *r, bool cold, const uint8_t *payload, uint32_t size)
{
    struct kpi_manifest_segment s;
    if (size < sizeof(s))
        return false;
    memcpy(&s, payload, sizeof(s));
    struct kpi_manifest *out = r->out;
    if (s.streams > KP_STREAM_MAX || size != sizeof(s) + s.streams * 8 ||
        (!cold && out->count > 0 && s.id <= out->segments[out->count - 1].id))
        return false;
    struct kpi_segment_meta meta = {.id = s.id,
                                    .wal_first = s.wal_first,
                                    .wal_last = s.wal_last,
                                    .ts_min = s.ts_min,
                                    .ts_max = s.ts_max,
                                    .rows = s.rows,
                                    .bytes = s.bytes,
                                    .footer_hash = s.footer_hash,
                                    .cold = cold};
    for (uint64_t i = 0; i < s.streams; i++) {
        uint64_t pair = kp_load_u64(payload + sizeof(s) + i * 8);
        if ((pair & 0xff) < KP_STREAM_MAX)
            meta.rows_by_stream[pair & 0xff] = pair >> 8;
    }
    if (!segment_put(r, &meta))
        return false;
    if (s.wal_last >= out->sealed_through) {
        out->sealed_through = s.wal_last;
        out->wal_hash = s.wal_hash;
    }
    out->seq_next = KP_MAX(out->seq_next, s.seq_next);
    return true;
}

static bool base_take(struct reading *r, const uint8_t *payload, uint32_t size, uint64_t *promised)
{
    struct kpi_manifest_base base = {0};
    if (size != sizeof(base) && size != offsetof(struct kpi_manifest_base, others))
        return false;
    memcpy(&base, payload, size);
    if (memcmp(base.store_id, r->out->store_id, KPI_ID_SIZE) != 0)
        return false;
    r->out->sealed_through = base.sealed_through;
    r->out->seq_next = base.seq_next;
    r->out->wal_hash = base.wal_hash;
    *promised = base.segments + base.others;
    return true;
}

static bool life_take(struct reading *r, uint16_t type, const uint8_t *payload, uint32_t size)
{
    struct kpi_manifest_drop drop;
    struct kp_hold hold;
    struct kpi_run_meta run;
    bool taken;
    if (type == KPI_MANIFEST_RUN) {
        if (!kpi_manifest_run_read(payload, size, &run))
            return false;
        taken = kpi_manifest_take_run(r->out, &run);
    } else if (type == KPI_MANIFEST_DROP) {
        if (!kpi_manifest_drop_read(payload, size, &drop))
            return false;
        taken = kpi_manifest_take_drop(r->out, &drop);
    } else {
        if (!kpi_manifest_hold_read(payload, size, &hold))
            return false;
        taken = kpi_manifest_take_hold(r->out, &hold);
    }
    r->failed |= !taken;
    return taken;
}

/* A record behind the base; false when it makes no sense. */
static bool record_take(struct reading *r, const struct kpi_manifest_header *header,
                        const uint8_t *payload)
{
    r->records++;
    switch (header->type) {
    case KPI_MANIFEST_SEGMENT:
    case KPI_MANIFEST_COLD:
        return segment_take(r, header->type == KPI_MANIFEST_COLD, payload, header->payload_size);
    case KPI_MANIFEST_DROP:
    case KPI_MANIFEST_HOLD:
    case KPI_MANIFEST_RUN:
        return life_take(r, header->type, payload, header->payload_size);
    default:
        r->newer |= header->type != KPI_MANIFEST_BASE;
        return false;
    }
}

static uint64_t next_record(const struct reading *r, uint64_t offset)
{
    struct kpi_manifest_header header;
    for (; offset < r->size; offset += KPI_SECTOR)
        if (record_at(r, offset, &header))
            return offset;
    return UINT64_MAX;
}

/* Reads records up to the torn tail. durable: bytes that must be good. Gives how many records the
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
        bool good = header.type == KPI_MANIFEST_BASE && offset == 0
                        ? base_take(r, payload, header.payload_size, &promised)
                        : record_take(r, &header, payload);
        if (!good && !r->failed && !r->newer)
            manifest_damage(r, offset, kpi_manifest_record_size(&header),
                            "manifest record makes no sense");
        r->out->version = KP_MAX(r->out->version, header.manifest_version);
        offset += kpi_manifest_record_size(&header);
    }
    return promised;
}

static kp_status file_read(struct reading *r, uint64_t file_no, uint64_t durable,
                           const uint8_t *store_id, uint64_t *out_promised)
{
    char name[NAME_ROOM];
    uint8_t *bytes = NULL;
    snprintf(name, sizeof(name), "manifest.%08" PRIx64, file_no);
    int64_t size = file_load(r, name, &bytes);
    if (size < 0)
        return size == -ENOENT ? KP_NOT_FOUND : size == -ENOMEM ? KP_NO_MEMORY : KP_CORRUPT;
    kpi_manifest_deinit(r->out);
    memset(r->out, 0, sizeof(*r->out));
    r->capacity = 0;
    r->records = 0;
    r->newer = false;
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
    if (r->newer)
        return KP_VERSION;
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
        if (status == KP_NO_MEMORY || status == KP_VERSION)
            return status;
        if (status == KP_OK && r->out->version != 0 && r->records >= promised)
            return KP_OK;
        names.below = names.newest;
    }
}

/* The file that counts is not known, or is not there. */
static kp_status newest_read(struct reading *r)
{
    kp_status status = fallback_read(r);
    if (status == KP_OK)
        damage_tell(r, "super", 0, KPI_SUPER_SPACING + KPI_SECTOR,
                    "superblocks missing or damaged; the newest whole manifest file was used");
    return status == KP_NOT_FOUND ? KP_CORRUPT : status;
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
        if (status == KP_CORRUPT && super.length <= KPI_SECTOR) {
            r->out->version = super.manifest_version; /* there were no segments; it was told */
            return KP_OK;
        }
        if (status != KP_CORRUPT)
            return status == KP_NOT_FOUND ? KP_BUSY : status;
    }
    /* a store that was just being made has neither segments nor a superblock */
    bool unborn =
        found == KP_NOT_FOUND && (fallback_read(r) == KP_NOT_FOUND || r->out->version == 1);
    return unborn ? KP_NOT_FOUND : newest_read(r);
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
    if (status == KP_BUSY) /* there is none: the newer superblock is damaged, the older is old */
        status = newest_read(&r);
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
    if (status == KP_NO_MEMORY)
        return kp_error_set(err, status, "the manifest of %s cannot be read: out of memory", dir);
    kp_error_set(err, KP_CORRUPT,
                 "not one record of the manifest of %s verifies; nothing was changed", dir);
    kp_error_hint(err,
                  "put back %s/super and %s/manifest.* from a copy; kpq inspect FILE shows what "
                  "the files in seg and wal still hold",
                  dir, dir);
    return KP_CORRUPT;
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

void kpi_manifest_numbers(const struct kp_io *io, struct kp_io_queue *queue, const char *dir,
                          uint64_t *out_file_no, uint64_t *out_generation)
{
    struct names names = {.below = UINT64_MAX};
    io->list(io, dir, name_newest, &names);
    struct reading r = {.io = io, .dir = dir, .queue = queue};
    struct kpi_super super = {0};
    if (super_read(&r, &super) != KP_OK)
        super.generation = 0;
    *out_file_no = KP_MAX(names.newest, super.file_no);
    *out_generation = super.generation;
}

bool kpi_manifest_dropped(const struct kp_io *io, const char *dir,
                          const struct kpi_segment_meta *meta)
{
    struct kpi_manifest now;
    if (kpi_manifest_read(io, dir, &now, NULL, NULL, NULL) != KP_OK)
        return false;
    bool named = false, gone = false;
    for (uint32_t i = 0; i < now.count; i++) {
        named |= now.segments[i].id == meta->id;
        gone |= now.segments[i].cold && kpi_manifest_made_of(&now.segments[i], meta);
    }
    for (uint32_t i = 0; i < now.drops_count; i++) {
        const struct kpi_manifest_drop *drop = &now.drops[i];
        gone |= meta->id >= drop->id_first && meta->id <= drop->id_last;
        gone |= meta->wal_first >= drop->wal_first && meta->wal_last <= drop->wal_last;
    }
    kpi_manifest_deinit(&now);
    return gone && !named;
}

bool kpi_manifest_names_run(const struct kp_io *io, const char *dir, uint64_t id)
{
    struct kpi_manifest now;
    bool named = false;
    if (kpi_manifest_read(io, dir, &now, NULL, NULL, NULL) != KP_OK)
        return true; /* nothing is known: what is wrong with the run is to be told */
    for (uint32_t i = 0; i < now.runs_count; i++)
        named |= now.runs[i].id == id;
    kpi_manifest_deinit(&now);
    return named;
}
