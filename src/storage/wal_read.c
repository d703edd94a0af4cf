/* SPDX-License-Identifier: Apache-2.0
 *
 * The log's reader, in two passes. The survey collects every record header it can prove, from the
 * tables and by walking; then the chain is followed from the newest record back to `after` by the
 * hash of each predecessor, which picks the right one of several tries and shows what is missing;
 * then the records of the chain are read forward.
 *
 * Why backwards: a record names its predecessor by hash, so what a failed try or an older life of
 * the file left behind can never be mistaken for data, and a number that is in nobody's chain was
 * never acknowledged. A record in the chain that cannot be read was acknowledged: that is damage.
 * Only the newest record may be torn, and only when the table has no copy of its header.
 */
#include "storage/manifest.h"
#include "storage/wal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define CHUNK_BYTES  (256u << 10)
#define SEARCH_BYTES (1u << 20) /* how far behind a bad header a good one is looked for */
#define PATH_SIZE    4096u
#define RETRIES      8u

struct place {
    struct kpi_wal_header header;
    bool twin; /* the table has it: it was durable */
};

struct survey {
    const struct kpi_wal_scan *scan;
    uint64_t seed;
    struct kp_io_queue *queue;
    struct kpi_wal_file *files;
    uint32_t files_count, files_capacity;
    struct place *places; /* ascending by (sequence, file id) once sorted */
    uint32_t places_count, places_capacity;
    uint32_t *chain; /* indexes of places, newest first */
    uint32_t chain_count;
    uint64_t damaged;
    kp_time ts_before; /* highest of the records handed out so far */
    int error;         /* -errno of the machine, not of the data: no memory, no descriptors */
    /* the open file */
    struct kp_io_file *file;
    uint64_t file_id, file_size;
    uint8_t *chunk;
    uint64_t chunk_at;
    size_t chunk_size;
    uint8_t *record;
    size_t record_capacity;
};

/* ---------- files ---------- */

static bool id_parse(const char *name, uint64_t *out)
{
    if (strlen(name) != 20 || strcmp(name + 16, ".kpw") != 0)
        return false;
    uint64_t id = 0;
    for (int i = 0; i < 16; i++) {
        const char *digits = "0123456789abcdef";
        const char *digit = strchr(digits, name[i]);
        if (digit == NULL)
            return false;
        id = id << 4 | (uint64_t)(digit - digits);
    }
    *out = id;
    return id != 0;
}

static void file_found(void *ctx, const char *name)
{
    struct survey *s = ctx;
    uint64_t id;
    if (!id_parse(name, &id))
        return;
    if (s->files_count == s->files_capacity) {
        uint32_t capacity = s->files_capacity == 0 ? 16 : s->files_capacity * 2;
        struct kpi_wal_file *files = realloc(s->files, capacity * sizeof(*files));
        if (files == NULL) {
            s->error = -ENOMEM;
            return;
        }
        s->files = files;
        s->files_capacity = capacity;
    }
    s->files[s->files_count++] = (struct kpi_wal_file){.id = id};
}

static int file_order(const void *a, const void *b)
{
    const struct kpi_wal_file *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static int files_list(struct survey *s)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof(path), "%s/wal", s->scan->dir);
    s->files_count = 0;
    int result = s->scan->io->list(s->scan->io, path, file_found, s);
    if (s->files_count > 1)
        qsort(s->files, s->files_count, sizeof(*s->files), file_order);
    return result;
}

static void file_close(struct survey *s)
{
    if (s->file != NULL)
        s->scan->io->close(s->scan->io, s->file);
    s->file = NULL;
    s->file_id = 0;
}

static int file_open(struct survey *s, uint64_t id)
{
    if (s->file != NULL && s->file_id == id)
        return 0;
    file_close(s);
    char path[PATH_SIZE];
    kpi_wal_path(path, sizeof(path), s->scan->dir, id);
    int result = s->scan->io->open(s->scan->io, path, KP_IO_RDONLY | KP_IO_DIRECT, &s->file);
    if (result != 0)
        return result;
    int64_t size = s->scan->io->size(s->scan->io, s->file);
    s->file_id = id;
    s->file_size = size < 0 ? 0 : (uint64_t)size;
    s->chunk_size = 0;
    return size < 0 ? (int)size : 0;
}

/* Bytes read at offset; a failed or short read is tried once more before it counts as damage. */
static size_t file_read(struct survey *s, void *buf, size_t size, uint64_t offset)
{
    if (offset >= s->file_size)
        return 0;
    /* whole blocks are asked for (O_DIRECT), so the end of a file cut short comes back short */
    size_t wanted = KP_MIN(size, s->file_size - offset);
    int64_t done = 0;
    for (int i = 0; i < 2 && done != (int64_t)wanted; i++) {
        done = kp_io_once(s->scan->io, s->queue, KP_IO_READ, s->file, buf, size, offset);
        done = KP_MIN(done, (int64_t)wanted);
    }
    return done < 0 ? 0 : (size_t)done;
}

/* One block through the chunk buffer, or NULL. */
static const uint8_t *file_block(struct survey *s, uint64_t block)
{
    uint64_t at = block * KPI_BLOCK;
    bool here = at >= s->chunk_at && at + KPI_BLOCK <= s->chunk_at + s->chunk_size;
    if (!here) {
        s->chunk_at = at;
        s->chunk_size = file_read(s, s->chunk, CHUNK_BYTES, at);
        if (s->chunk_size < KPI_BLOCK) {
            s->chunk_size = 0;
            return NULL;
        }
    }
    return s->chunk + (at - s->chunk_at);
}

/* ---------- survey ---------- */

static uint32_t record_blocks(const struct kpi_wal_header *header)
{
    uint64_t size = sizeof(*header) + (uint64_t)header->payload_size;
    return (uint32_t)(kpi_round_up(size, KPI_BLOCK) / KPI_BLOCK);
}

/* What verifies and is not known was written by a newer program: no torn tail, and no damage. */
static bool header_valid(struct survey *s, const void *bytes, struct kpi_wal_header *out)
{
    memcpy(out, bytes, sizeof(*out));
    if (out->magic != KPI_WAL_RECORD_MAGIC || out->file_id != s->file_id ||
        !kpi_hash_equal(out->hash,
                        kp_hash128(bytes, offsetof(struct kpi_wal_header, hash), s->seed)))
        return false;
    bool known = out->version == KPI_FORMAT_VERSION && out->flags == 0;
    if (!known)
        s->error = -EPROTO;
    return known && out->payload_size <= KPI_WAL_RECORD_MAX;
}

static void place_add(struct survey *s, const struct kpi_wal_header *header, bool twin)
{
    if (s->places_count == s->places_capacity) {
        uint32_t capacity = s->places_capacity == 0 ? 256 : s->places_capacity * 2;
        struct place *places = realloc(s->places, capacity * sizeof(*places));
        if (places == NULL) {
            s->error = -ENOMEM;
            return;
        }
        s->places = places;
        s->places_capacity = capacity;
    }
    s->places[s->places_count++] = (struct place){*header, twin};
}

static void damage_tell(struct survey *s, uint64_t file_id, const struct kp_damage *damage)
{
    char name[40];
    snprintf(name, sizeof(name), "wal/%016" PRIx64 ".kpw", file_id);
    struct kp_damage told = *damage;
    told.file = name;
    s->damaged++;
    if (s->scan->damage != NULL)
        s->scan->damage(s->scan->ctx, &told);
}

static void damage_unknown(struct survey *s, uint64_t offset, uint64_t size, const char *what)
{
    struct kp_damage damage = {
        .offset = offset, .size = size, .from = 0, .to = -1, .rows = -1, .what = what};
    damage_tell(s, s->file_id, &damage);
}

/* The file's header: how long its table is, and whether the file is all there. */
static uint32_t file_check(struct survey *s, struct kpi_wal_file *file)
{
    struct kpi_wal_file_header header = {0};
    const uint8_t *block = file_block(s, 0);
    if (block != NULL)
        memcpy(&header, block, sizeof(header));
    struct kp_hash128 hash =
        kp_hash128(&header, offsetof(struct kpi_wal_file_header, hash), s->seed);
    if (header.magic == KPI_WAL_FILE_MAGIC && kpi_hash_equal(header.hash, hash) &&
        header.version != KPI_FORMAT_VERSION)
        s->error = -EPROTO;
    if (header.magic != KPI_WAL_FILE_MAGIC || !kpi_hash_equal(header.hash, hash) ||
        header.table_blocks != kpi_wal_table_blocks(header.file_bytes)) {
        damage_unknown(s, 0, KPI_BLOCK, "log file header damaged or of another store");
        return kpi_wal_table_blocks(s->file_size);
    }
    if (s->file_size < header.file_bytes)
        damage_unknown(s, s->file_size, header.file_bytes - s->file_size, "log file cut short");
    file->whole = s->file_size == header.file_bytes;
    return header.table_blocks;
}

static void table_read(struct survey *s, uint32_t table_blocks)
{
    for (uint32_t b = 0; b < table_blocks; b++) {
        const uint8_t *block = file_block(s, 1 + (uint64_t)b);
        uint32_t found = 0;
        for (uint32_t i = 0; block != NULL && i < KPI_WAL_TWINS_PER_BLOCK; i++) {
            struct kpi_wal_header header;
            if (!header_valid(s, block + i * sizeof(header), &header))
                continue;
            place_add(s, &header, true);
            found++;
        }
        /* the table fills from the front; a block that cannot be read may hide what follows */
        if (block != NULL && found == 0)
            break;
    }
}

/* First valid header at or behind `block`, at most SEARCH_BYTES on; 0 = none. */
static uint64_t header_search(struct survey *s, uint64_t block, struct kpi_wal_header *out)
{
    for (uint64_t at = block; at < block + SEARCH_BYTES / KPI_BLOCK; at++) {
        const uint8_t *bytes = file_block(s, at);
        if (bytes == NULL && at * KPI_BLOCK >= s->file_size)
            return 0;
        if (bytes != NULL && header_valid(s, bytes, out) && out->block == at)
            return at;
    }
    return 0;
}

/* Adds the records that the table does not have: normally the newest one. */
static void records_walk(struct survey *s, uint32_t first_place, uint32_t table_blocks)
{
    uint64_t at = 1 + (uint64_t)table_blocks;
    uint32_t twins_end = s->places_count;
    for (uint32_t next = first_place; s->error == 0;) {
        while (next < twins_end && s->places[next].header.block < at)
            next++;
        struct kpi_wal_header header;
        if (next < twins_end && s->places[next].header.block == at) {
            at += record_blocks(&s->places[next].header);
            continue;
        }
        uint64_t found = header_search(s, at, &header);
        if (next < twins_end && (found == 0 || found > s->places[next].header.block)) {
            at = s->places[next].header.block;
            continue;
        }
        if (found == 0)
            return;
        place_add(s, &header, false);
        at = found + record_blocks(&header);
    }
}

static int file_survey(struct survey *s, struct kpi_wal_file *file)
{
    int result = file_open(s, file->id);
    if (result != 0)
        return result;
    file->size = s->file_size;
    uint32_t first = s->places_count;
    uint32_t table_blocks = file_check(s, file);
    table_read(s, table_blocks);
    records_walk(s, first, table_blocks);
    for (uint32_t i = first; i < s->places_count; i++)
        file->last = KP_MAX(file->last, s->places[i].header.sequence);
    return 0;
}

static int place_order(const void *a, const void *b)
{
    const struct kpi_wal_header *x = &((const struct place *)a)->header;
    const struct kpi_wal_header *y = &((const struct place *)b)->header;
    if (x->sequence != y->sequence)
        return x->sequence > y->sequence ? 1 : -1;
    return (x->file_id > y->file_id) - (x->file_id < y->file_id);
}

static bool files_changed(struct survey *s)
{
    struct kpi_wal_file *before = s->files;
    uint32_t count = s->files_count;
    s->files = NULL;
    s->files_capacity = 0;
    bool changed = files_list(s) != 0 || s->files_count != count;
    for (uint32_t i = 0; i < count && !changed; i++)
        changed = before[i].id != s->files[i].id;
    free(s->files);
    s->files = before;
    s->files_count = s->files_capacity = count;
    return changed;
}

/* One attempt; -EAGAIN when a writer renamed files meanwhile. Damage is told by the caller's second
 * run, so that an attempt that is repeated tells nothing. */
static int survey_try(struct survey *s)
{
    s->places_count = 0;
    s->damaged = 0;
    file_close(s);
    int result = files_list(s);
    for (uint32_t i = 0; i < s->files_count && result == 0 && s->error == 0; i++)
        result = file_survey(s, &s->files[i]);
    if (result == -ENOENT && s->files_count > 0)
        return -EAGAIN;
    if (result != 0 || s->error != 0)
        return result != 0 ? result : s->error;
    if (s->places_count > 1)
        qsort(s->places, s->places_count, sizeof(*s->places), place_order);
    return files_changed(s) ? -EAGAIN : 0;
}

/* ---------- chain ---------- */

static bool payload_read(struct survey *s, const struct kpi_wal_header *header)
{
    size_t size = (size_t)record_blocks(header) * KPI_BLOCK;
    if (size > s->record_capacity) {
        free(s->record);
        s->record_capacity = size;
        s->record = aligned_alloc(KPI_BLOCK, size);
        if (s->record == NULL) {
            s->record_capacity = 0;
            s->error = -ENOMEM;
            return false;
        }
    }
    int opened = file_open(s, header->file_id);
    if (opened != 0) {
        s->error = opened == -ENOENT ? s->error : opened;
        return false;
    }
    uint64_t offset = (uint64_t)header->block * KPI_BLOCK;
    if (file_read(s, s->record, size, offset) != size)
        return false;
    struct kp_hash128 hash = kp_hash128(s->record + sizeof(*header), header->payload_size, s->seed);
    return kpi_hash_equal(hash, header->payload_hash);
}

/* Index of the newest place with this sequence (and hash, when given), or -1. */
static int64_t place_find(const struct survey *s, uint64_t sequence, const struct kp_hash128 *hash)
{
    uint32_t low = 0, high = s->places_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (s->places[middle].header.sequence <= sequence)
            low = middle + 1;
        else
            high = middle;
    }
    for (uint32_t i = low; i > 0 && s->places[i - 1].header.sequence == sequence; i--)
        if (hash == NULL || kpi_hash_equal(s->places[i - 1].header.hash, *hash))
            return i - 1;
    return -1;
}

/* The newest record that is whole or was durable; -1 = none behind `after`. */
static int64_t chain_newest(struct survey *s)
{
    for (uint32_t i = s->places_count; i > 0; i--) {
        const struct place *place = &s->places[i - 1];
        if (place->header.sequence <= s->scan->after)
            return -1;
        if (place->twin || payload_read(s, &place->header))
            return i - 1;
    }
    return -1;
}

/* The newest place below a sequence that is missing itself. */
static int64_t place_below(const struct survey *s, uint64_t sequence)
{
    for (uint32_t i = s->places_count; i > 0; i--)
        if (s->places[i - 1].header.sequence < sequence)
            return i - 1;
    return -1;
}

static int chain_build(struct survey *s)
{
    s->chain = malloc((s->places_count + 1) * sizeof(*s->chain));
    if (s->chain == NULL)
        return -ENOMEM;
    int64_t at = chain_newest(s);
    while (at >= 0 && s->places[at].header.sequence > s->scan->after) {
        s->chain[s->chain_count++] = (uint32_t)at;
        const struct kpi_wal_header *header = &s->places[at].header;
        if (header->durable <= s->scan->after || header->durable >= header->sequence)
            break;
        at = place_find(s, header->durable, &header->prev);
        if (at < 0)
            at = place_below(s, header->durable);
    }
    return s->error;
}

/* ---------- reading forward ---------- */

/* Tells of acknowledged records that left no trace between the one before and this one. */
static void missing_tell(struct survey *s, uint64_t before, const struct kpi_wal_header *header)
{
    if (header->durable <= before)
        return;
    struct kp_damage damage = {.offset = (uint64_t)header->block * KPI_BLOCK,
                               .from = s->ts_before,
                               .to = header->ts_min,
                               .rows = -1,
                               .what = "log records before this one are missing"};
    if (s->ts_before == KP_TIME_MIN)
        damage.from = 0, damage.to = -1;
    damage_tell(s, header->file_id, &damage);
}

static void record_damaged(struct survey *s, const struct kpi_wal_header *header)
{
    struct kp_damage damage = {.offset = (uint64_t)header->block * KPI_BLOCK,
                               .size = (uint64_t)record_blocks(header) * KPI_BLOCK,
                               .from = header->ts_min,
                               .to = header->ts_max,
                               .rows = header->rows,
                               .what = "log record damaged"};
    damage_tell(s, header->file_id, &damage);
}

/* Hands one record out; false = stop. */
static bool record_give(struct survey *s, const struct place *place)
{
    const struct kpi_wal_header *header = &place->header;
    if (!payload_read(s, header)) {
        if (s->error == 0)
            record_damaged(s, header);
        return s->error == 0;
    }
    char name[40];
    snprintf(name, sizeof(name), "wal/%016" PRIx64 ".kpw", header->file_id);
    if (memcmp(s->record, header, sizeof(*header)) != 0) {
        struct kp_damage damage = {.offset = (uint64_t)header->block * KPI_BLOCK,
                                   .size = sizeof(*header),
                                   .from = 0,
                                   .to = -1,
                                   .what = "log record header damaged; its copy was used"};
        damage_tell(s, header->file_id, &damage);
    }
    struct kpi_wal_record record = {.sequence = header->sequence,
                                    .payload = s->record + sizeof(*header),
                                    .payload_size = header->payload_size,
                                    .rows = header->rows,
                                    .seq_next = header->seq_next,
                                    .ts_min = header->ts_min,
                                    .ts_max = header->ts_max,
                                    .hash = header->hash,
                                    .file = name,
                                    .offset = (uint64_t)header->block * KPI_BLOCK};
    return s->scan->each == NULL || s->scan->each(s->scan->ctx, &record);
}

static int chain_read(struct survey *s, struct kpi_wal_end *end)
{
    uint64_t before = s->scan->after;
    s->ts_before = KP_TIME_MIN;
    bool more = true;
    for (uint32_t i = s->chain_count; i > 0 && more && s->error == 0; i--) {
        const struct place *place = &s->places[s->chain[i - 1]];
        const struct kpi_wal_header *header = &place->header;
        uint64_t damaged = s->damaged;
        missing_tell(s, before, header);
        if (header->note != 0 && s->scan->note != NULL)
            s->scan->note(s->scan->ctx, header->note);
        more = s->scan->each == NULL && s->scan->damage == NULL ? true : record_give(s, place);
        if (s->damaged != damaged && files_changed(s))
            return -EAGAIN;
        before = header->sequence;
        s->ts_before = KP_MAX(s->ts_before, header->ts_max);
        end->sequence = header->sequence;
        end->hash = header->hash;
        end->seq_next = KP_MAX(end->seq_next, header->seq_next);
        end->payload_bytes += header->payload_size;
    }
    end->ts_max = s->ts_before;
    return s->error;
}

/* ---------- public ---------- */

uint64_t kpi_damage_note(const struct kp_damage *damage)
{
    uint64_t hash = kp_hash64(damage->file, strlen(damage->file), damage->offset);
    return hash == 0 ? 1 : hash;
}

void kpi_wal_end_deinit(struct kpi_wal_end *end)
{
    free(end->files);
    end->files = NULL;
    end->files_count = 0;
}

static void survey_deinit(struct survey *s)
{
    file_close(s);
    free(s->files);
    free(s->places);
    free(s->chain);
    free(s->chunk);
    free(s->record);
    s->scan->io->queue_close(s->queue);
}

/* A file without a known record may be used again, unless something is missing: then it is kept
 * until segments hold everything. */
static void end_files(struct survey *s, struct kpi_wal_end *end)
{
    for (uint32_t i = 0; i < s->files_count; i++)
        if (s->files[i].last == 0 && (s->damaged != 0 || !s->files[i].whole))
            s->files[i].last = end->sequence;
    end->uncertain = s->damaged != 0;
    end->files = s->files;
    end->files_count = s->files_count;
    s->files = NULL;
}

static kp_status survey_status(int result, const char *dir, struct kp_error *err)
{
    if (result == -EAGAIN)
        return kp_error_set(err, KP_BUSY, "the log in %s/wal changed while it was read", dir);
    if (result == -EPROTO)
        return kp_error_set(err, KP_VERSION, "the log in %s/wal was written by a newer kprobe",
                            dir);
    return kp_error_os(err, kp_status_from_errno(-result), -result, "cannot read the log in %s/wal",
                       dir);
}

static int survey_quiet(struct survey *s)
{
    const struct kpi_wal_scan *scan = s->scan;
    struct kpi_wal_scan quiet = *scan;
    quiet.damage = NULL;
    s->scan = &quiet;
    int result = -EAGAIN;
    for (unsigned i = 0; i < RETRIES && result == -EAGAIN; i++)
        result = survey_try(s);
    uint64_t damaged = s->damaged;
    file_close(s);
    s->scan = scan;
    if (result == 0 && damaged != 0)
        result = survey_try(s); /* again, aloud */
    return result;
}

kp_status kpi_wal_scan(const struct kpi_wal_scan *scan, struct kpi_wal_end *out,
                       struct kp_error *err)
{
    struct survey s = {.scan = scan, .seed = kpi_store_seed(scan->store_id)};
    kp_status status = scan->io->queue_open(scan->io, 4, &s.queue);
    if (status != KP_OK)
        return kp_error_set(err, status, "no I/O queue for reading the log");
    struct kpi_wal_end end = {.sequence = scan->after, .hash = scan->after_hash};
    s.chunk = aligned_alloc(KPI_BLOCK, CHUNK_BYTES);
    int result = s.chunk == NULL ? -ENOMEM : survey_quiet(&s);
    if (result == 0)
        result = chain_build(&s);
    if (result == 0)
        result = chain_read(&s, &end);
    if (result == 0) {
        end_files(&s, &end);
        *out = end;
    }
    survey_deinit(&s);
    return result == 0 ? KP_OK : survey_status(result, scan->dir, err);
}

kp_status kpi_wal_read(const struct kp_io *io, const char *dir, uint64_t after,
                       bool (*each)(void *ctx, const struct kpi_wal_record *record),
                       void (*damage)(void *ctx, const struct kp_damage *damage), void *ctx,
                       uint64_t *out_last, struct kp_error *err)
{
    uint8_t store_id[KPI_ID_SIZE];
    kp_status status = kpi_manifest_store_id(io, dir, store_id, err);
    if (status != KP_OK)
        return status;
    struct kpi_wal_scan scan = {.io = io,
                                .dir = dir,
                                .store_id = store_id,
                                .after = after,
                                .each = each,
                                .damage = damage,
                                .ctx = ctx};
    struct kpi_wal_end end;
    status = kpi_wal_scan(&scan, &end, err);
    if (status != KP_OK)
        return status;
    *out_last = end.sequence;
    kpi_wal_end_deinit(&end);
    return KP_OK;
}
