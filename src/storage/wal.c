/* SPDX-License-Identifier: Apache-2.0
 *
 * The log's writer. A commit is: write the record, check the length, sync, then copy its header
 * into the table at the file's start. The copy says "this record was durable": recovery tells by it
 * a torn tail (no copy) from damage (a copy, but no record). It needs no sync of its own, because
 * it claims nothing that is not true when it is written.
 *
 * Files are written with zeros and synced before they get a name, and recycled afterwards, because
 * a sync into allocated and written blocks needs no journal commit (half the time, see
 * docs/decisions). A file is never continued after a restart: a torn tail stays where it is.
 */
#include "storage/wal.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define SPARES_MAX    2u /* released files beyond this many are removed */
#define ZERO_BYTES    (256u << 10)
#define SEQUENCE_JUMP (1ull << 32)
#define PATH_SIZE     4096u

enum file_state { FILE_BUSY, FILE_SPARE };

struct log_file {
    uint64_t id;   /* of its name; spares made ahead have a number of their own */
    bool named;    /* false: spare-ID.tmp, never used */
    bool poisoned; /* failed once: removed, not recycled */
    enum file_state state;
    uint64_t last; /* highest sequence in it */
};

struct kpi_wal {
    struct kpi_wal_opts opts;
    uint64_t seed;
    /* the committing thread's */
    struct kp_io_file *file; /* NULL: the next commit takes a new one */
    uint64_t file_id;
    uint32_t block;  /* next free one */
    uint32_t record; /* number of records in the file */
    uint64_t sequence, durable;
    struct kp_hash128 hash; /* of record `durable` */
    kp_dur sync_max;
    uint8_t *table; /* the table block being filled */
    /* shared */
    pthread_mutex_t lock;
    struct log_file *files;
    uint32_t files_count, files_capacity;
    bool half_used; /* the current file is */
    uint64_t next_id, next_spare;
};

uint32_t kpi_wal_table_blocks(uint64_t file_bytes)
{
    uint64_t twins = KP_MAX(KPI_WAL_TWINS_PER_BLOCK, file_bytes / (4 * KPI_BLOCK));
    return (uint32_t)(kpi_round_up(twins, KPI_WAL_TWINS_PER_BLOCK) / KPI_WAL_TWINS_PER_BLOCK);
}

uint64_t kpi_wal_payload_max(uint64_t file_bytes)
{
    uint64_t head = (1 + (uint64_t)kpi_wal_table_blocks(file_bytes)) * KPI_BLOCK;
    return file_bytes - head - sizeof(struct kpi_wal_header);
}

void kpi_wal_path(char *out, size_t size, const char *dir, uint64_t id)
{
    snprintf(out, size, "%s/wal/%016llx.kpw", dir, (unsigned long long)id);
}

static void file_path(const struct kpi_wal *wal, const struct log_file *file, char *out)
{
    if (file->named)
        kpi_wal_path(out, PATH_SIZE, wal->opts.dir, file->id);
    else
        snprintf(out, PATH_SIZE, "%s/wal/spare-%llu.tmp", wal->opts.dir,
                 (unsigned long long)file->id);
}

static int wal_sync_dir(const struct kpi_wal *wal)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof(path), "%s/wal", wal->opts.dir);
    return wal->opts.io->sync_dir(wal->opts.io, path);
}

/* ---------- the set of files (under the lock) ---------- */

static bool files_add(struct kpi_wal *wal, const struct log_file *file)
{
    if (wal->files_count == wal->files_capacity) {
        uint32_t capacity = wal->files_capacity == 0 ? 16 : wal->files_capacity * 2;
        struct log_file *files = realloc(wal->files, capacity * sizeof(*files));
        if (files == NULL)
            return false;
        wal->files = files;
        wal->files_capacity = capacity;
    }
    wal->files[wal->files_count++] = *file;
    return true;
}

static struct log_file *files_find(struct kpi_wal *wal, uint64_t id)
{
    for (uint32_t i = 0; i < wal->files_count; i++)
        if (wal->files[i].named && wal->files[i].id == id)
            return &wal->files[i];
    return NULL;
}

static uint32_t spares_count(const struct kpi_wal *wal)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < wal->files_count; i++)
        count += wal->files[i].state == FILE_SPARE;
    return count;
}

static bool spare_take(struct kpi_wal *wal, struct log_file *out)
{
    bool found = false;
    pthread_mutex_lock(&wal->lock);
    for (uint32_t i = 0; i < wal->files_count && !found; i++) {
        if (wal->files[i].state != FILE_SPARE)
            continue;
        *out = wal->files[i];
        wal->files[i] = wal->files[--wal->files_count];
        found = true;
    }
    pthread_mutex_unlock(&wal->lock);
    return found;
}

uint64_t kpi_wal_bytes(struct kpi_wal *wal)
{
    pthread_mutex_lock(&wal->lock);
    uint64_t bytes = (wal->files_count - spares_count(wal)) * wal->opts.file_bytes;
    pthread_mutex_unlock(&wal->lock);
    return bytes;
}

void kpi_wal_release(struct kpi_wal *wal, uint64_t through)
{
    char path[PATH_SIZE];
    pthread_mutex_lock(&wal->lock);
    for (uint32_t i = 0; i < wal->files_count;) {
        struct log_file *file = &wal->files[i];
        bool done = file->state == FILE_BUSY && file->id != wal->file_id && file->last <= through;
        if (done && !file->poisoned && spares_count(wal) < SPARES_MAX) {
            file->state = FILE_SPARE;
        } else if (done) {
            file_path(wal, file, path);
            /* a file that cannot be removed now is found free, or removed, at the next start */
            wal->opts.io->unlink(wal->opts.io, path);
            *file = wal->files[--wal->files_count];
            continue;
        }
        i++;
    }
    pthread_mutex_unlock(&wal->lock);
}

/* ---------- making files ---------- */

static void file_header_fill(const struct kpi_wal *wal, struct kpi_wal_file_header *header)
{
    memset(header, 0, sizeof(*header));
    header->magic = KPI_WAL_FILE_MAGIC;
    header->version = KPI_FORMAT_VERSION;
    memcpy(header->store_id, wal->opts.store_id, KPI_ID_SIZE);
    header->file_bytes = wal->opts.file_bytes;
    header->table_blocks = kpi_wal_table_blocks(wal->opts.file_bytes);
    header->hash = kp_hash128(header, offsetof(struct kpi_wal_file_header, hash), wal->seed);
}

static int file_prewrite(const struct kpi_wal *wal, struct kp_io_queue *queue,
                         struct kp_io_file *file)
{
    uint8_t *zeros = aligned_alloc(KPI_BLOCK, ZERO_BYTES);
    if (zeros == NULL)
        return -ENOMEM;
    memset(zeros, 0, ZERO_BYTES);
    const struct kp_io *io = wal->opts.io;
    int64_t result = 0;
    for (uint64_t at = 0; at < wal->opts.file_bytes && result == 0; at += ZERO_BYTES) {
        size_t size = KP_MIN(ZERO_BYTES, wal->opts.file_bytes - at);
        struct kpi_wal_file_header header;
        file_header_fill(wal, &header);
        memcpy(zeros, &header, at == 0 ? sizeof(header) : 0);
        int64_t done = kp_io_once(io, queue, KP_IO_WRITE, file, zeros, size, at);
        memset(zeros, 0, sizeof(header));
        if (done != (int64_t)size)
            result = done < 0 ? done : -ENOSPC; /* a short write of zeros means a full disk */
    }
    free(zeros);
    return result != 0 ? (int)result : (int)kp_io_once(io, queue, KP_IO_SYNC, file, NULL, 0, 0);
}

/* A new, written and synced file under a spare's name. */
static int spare_make(struct kpi_wal *wal, struct kp_io_queue *queue, struct log_file *out)
{
    char path[PATH_SIZE];
    struct log_file spare = {.state = FILE_SPARE};
    pthread_mutex_lock(&wal->lock);
    spare.id = ++wal->next_spare;
    pthread_mutex_unlock(&wal->lock);
    file_path(wal, &spare, path);
    const struct kp_io *io = wal->opts.io;
    struct kp_io_file *file = NULL;
    int result = io->open(io, path, KP_IO_RDWR | KP_IO_CREATE | KP_IO_DIRECT, &file);
    if (result != 0)
        return result;
    result = file_prewrite(wal, queue, file);
    io->close(io, file);
    if (result != 0)
        io->unlink(io, path);
    else
        *out = spare;
    return result;
}

bool kpi_wal_low(struct kpi_wal *wal)
{
    pthread_mutex_lock(&wal->lock);
    bool low = wal->half_used && spares_count(wal) == 0;
    pthread_mutex_unlock(&wal->lock);
    return low;
}

kp_status kpi_wal_spare(struct kpi_wal *wal, struct kp_io_queue *queue)
{
    struct log_file spare;
    int result = spare_make(wal, queue, &spare);
    if (result != 0)
        return kp_status_from_errno(-result);
    pthread_mutex_lock(&wal->lock);
    bool added = files_add(wal, &spare);
    pthread_mutex_unlock(&wal->lock);
    return added ? KP_OK : KP_NO_MEMORY;
}

/* ---------- the current file ---------- */

/* Gives a spare the next id and opens it. The id is used up even when this fails. */
static int file_begin(struct kpi_wal *wal, const struct log_file *spare)
{
    char from[PATH_SIZE], to[PATH_SIZE];
    const struct kp_io *io = wal->opts.io;
    struct log_file file = {.id = wal->next_id++, .named = true, .state = FILE_BUSY};
    file_path(wal, spare, from);
    file_path(wal, &file, to);
    int result = io->rename(io, from, to);
    if (result != 0) {
        io->unlink(io, from);
        return result;
    }
    result = wal_sync_dir(wal);
    if (result == 0)
        result = io->open(io, to, KP_IO_RDWR | KP_IO_DIRECT, &wal->file);
    if (result != 0) {
        io->unlink(io, to);
        return result;
    }
    pthread_mutex_lock(&wal->lock);
    bool added = files_add(wal, &file);
    wal->file_id = file.id;
    wal->half_used = false;
    pthread_mutex_unlock(&wal->lock);
    wal->block = 1 + kpi_wal_table_blocks(wal->opts.file_bytes);
    wal->record = 0;
    memset(wal->table, 0, KPI_BLOCK);
    return added ? 0 : -ENOMEM;
}

/* The current file gets no further record; poisoned: its device failed a write or sync. */
static void file_end(struct kpi_wal *wal, bool poisoned)
{
    if (wal->file == NULL)
        return;
    wal->opts.io->close(wal->opts.io, wal->file);
    wal->file = NULL;
    pthread_mutex_lock(&wal->lock);
    struct log_file *file = files_find(wal, wal->file_id);
    if (file != NULL)
        file->poisoned = poisoned;
    wal->file_id = 0;
    pthread_mutex_unlock(&wal->lock);
}

static int file_ready(struct kpi_wal *wal, struct kp_io_queue *queue, uint64_t size)
{
    uint64_t left = wal->opts.file_bytes - (uint64_t)wal->block * KPI_BLOCK;
    uint32_t twins = kpi_wal_table_blocks(wal->opts.file_bytes) * KPI_WAL_TWINS_PER_BLOCK;
    if (wal->file != NULL && size <= left && wal->record < twins)
        return 0;
    file_end(wal, false);
    struct log_file spare;
    if (!spare_take(wal, &spare)) {
        int result = spare_make(wal, queue, &spare);
        if (result != 0)
            return result;
    }
    return file_begin(wal, &spare);
}

/* ---------- commit ---------- */

static void header_fill(const struct kpi_wal *wal, const struct kpi_wal_entry *entry,
                        struct kpi_wal_header *header)
{
    memset(header, 0, sizeof(*header));
    header->magic = KPI_WAL_RECORD_MAGIC;
    header->version = KPI_FORMAT_VERSION;
    header->file_id = wal->file_id;
    header->block = wal->block;
    header->payload_size = entry->payload_size;
    header->sequence = wal->sequence + 1;
    header->durable = wal->durable;
    header->seq_next = entry->seq_next;
    header->ts_min = entry->ts_min;
    header->ts_max = entry->ts_max;
    header->rows = entry->rows;
    header->note = entry->note;
    header->prev = wal->hash;
    header->payload_hash =
        kp_hash128(entry->bytes + sizeof(*header), entry->payload_size, wal->seed);
    header->hash = kp_hash128(header, offsetof(struct kpi_wal_header, hash), wal->seed);
}

static int record_write(struct kpi_wal *wal, struct kp_io_queue *queue,
                        const struct kpi_wal_entry *entry, uint64_t size)
{
    const struct kp_io *io = wal->opts.io;
    uint64_t offset = (uint64_t)wal->block * KPI_BLOCK;
    pthread_mutex_lock(&wal->lock);
    struct log_file *file = files_find(wal, wal->file_id);
    if (file != NULL)
        file->last = wal->sequence + 1; /* counts from here on, whatever reaches the disk */
    wal->half_used = offset > wal->opts.file_bytes / 2;
    pthread_mutex_unlock(&wal->lock);
    int64_t done = kp_io_once(io, queue, KP_IO_WRITE, wal->file, entry->bytes, size, offset);
    if (done != (int64_t)size)
        return done < 0 ? (int)done : -EIO;
    int64_t start = kp_time_monotonic();
    int result = (int)kp_io_once(io, queue, KP_IO_SYNC, wal->file, NULL, 0, 0);
    wal->sync_max = KP_MAX(wal->sync_max, kp_time_monotonic() - start);
    return result;
}

/* Copies the header of the record that just became durable into the table. */
static int twin_write(struct kpi_wal *wal, struct kp_io_queue *queue,
                      const struct kpi_wal_header *header)
{
    uint32_t slot = wal->record % KPI_WAL_TWINS_PER_BLOCK;
    uint64_t block = 1 + wal->record / KPI_WAL_TWINS_PER_BLOCK;
    if (slot == 0)
        memset(wal->table, 0, KPI_BLOCK);
    memcpy(wal->table + (size_t)slot * sizeof(*header), header, sizeof(*header));
    int64_t done = kp_io_once(wal->opts.io, queue, KP_IO_WRITE, wal->file, wal->table, KPI_BLOCK,
                              block * KPI_BLOCK);
    return done == KPI_BLOCK ? 0 : -EIO;
}

static int commit_once(struct kpi_wal *wal, struct kp_io_queue *queue,
                       const struct kpi_wal_entry *entry, uint64_t size)
{
    int result = file_ready(wal, queue, size);
    if (result != 0)
        return result;
    struct kpi_wal_header header;
    header_fill(wal, entry, &header);
    memcpy(entry->bytes, &header, sizeof(header));
    result = record_write(wal, queue, entry, size);
    if (result != 0)
        return result;
    wal->durable = header.sequence;
    wal->hash = header.hash;
    if (twin_write(wal, queue, &header) != 0)
        file_end(wal, true);
    wal->block += (uint32_t)(size / KPI_BLOCK);
    wal->record++;
    return 0;
}

kp_status kpi_wal_commit(struct kpi_wal *wal, struct kp_io_queue *queue,
                         const struct kpi_wal_entry *entry)
{
    uint64_t used = sizeof(struct kpi_wal_header) + (uint64_t)entry->payload_size;
    uint64_t size = kpi_round_up(used, KPI_BLOCK);
    kp_assert(entry->payload_size <= kpi_wal_payload_max(wal->opts.file_bytes));
    memset(entry->bytes + used, 0, size - used);
    int result = commit_once(wal, queue, entry, size);
    if (result != 0) {
        file_end(wal, true);
        result = commit_once(wal, queue, entry, size);
    }
    if (result != 0)
        file_end(wal, true);
    wal->sequence++; /* a number that failed is not used again: it may be on the disk */
    return result == 0 ? KP_OK : kp_status_from_errno(-result);
}

uint64_t kpi_wal_sequence(const struct kpi_wal *wal)
{
    return wal->durable;
}

struct kp_hash128 kpi_wal_hash(const struct kpi_wal *wal)
{
    return wal->hash;
}

kp_dur kpi_wal_sync_max(const struct kpi_wal *wal)
{
    return wal->sync_max;
}

void kpi_wal_finish(struct kpi_wal *wal, struct kp_io_queue *queue)
{
    if (wal->file == NULL)
        return;
    /* makes the last table entry durable; without it the last record would look like a torn tail
     * should it be damaged later, so a failure here loses nothing that was acknowledged */
    int64_t result = kp_io_once(wal->opts.io, queue, KP_IO_SYNC, wal->file, NULL, 0, 0);
    file_end(wal, result != 0);
}

/* ---------- life ---------- */

kp_status kpi_wal_open(const struct kpi_wal_opts *opts, const struct kpi_wal_end *end,
                       struct kpi_wal **out)
{
    kp_assert(opts->file_bytes % KPI_BLOCK == 0 && opts->file_bytes >= KPI_WAL_FILE_MIN);
    struct kpi_wal *wal = calloc(1, sizeof(*wal));
    if (wal == NULL)
        return KP_NO_MEMORY;
    pthread_mutex_init(&wal->lock, NULL);
    wal->opts = *opts;
    wal->seed = kpi_store_seed(opts->store_id);
    wal->sequence = wal->durable = end->sequence;
    /* What cannot be read today may be readable tomorrow: its numbers must not meet ours. */
    if (end->uncertain)
        wal->sequence += SEQUENCE_JUMP;
    wal->hash = end->hash;
    wal->table = aligned_alloc(KPI_BLOCK, KPI_BLOCK);
    bool ok = wal->table != NULL;
    wal->next_id = 1;
    for (uint32_t i = 0; i < end->files_count && ok; i++) {
        const struct kpi_wal_file *old = &end->files[i];
        struct log_file file = {.id = old->id, .named = true, .last = old->last};
        file.poisoned = !old->whole || old->size != opts->file_bytes;
        ok = files_add(wal, &file);
        wal->next_id = KP_MAX(wal->next_id, old->id + 1);
    }
    if (!ok) {
        kpi_wal_close(wal);
        return KP_NO_MEMORY;
    }
    *out = wal;
    return KP_OK;
}

void kpi_wal_close(struct kpi_wal *wal)
{
    if (wal == NULL)
        return;
    file_end(wal, false);
    pthread_mutex_destroy(&wal->lock);
    free(wal->table);
    free(wal->files);
    free(wal);
}
