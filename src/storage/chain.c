/* SPDX-License-Identifier: Apache-2.0
 *
 * The chain's file. Records are small and share disk sectors: an append rewrites the sector with
 * the same bytes in front, so a torn write can only hurt records that were not yet acknowledged.
 * What is behind the last whole record is such a leftover, and is written over.
 */
#include "storage/chain.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

#define PATH_SIZE  4096u
#define READ_SLOTS 256u

static void chain_path(char *out, const char *dir, const char *name)
{
    snprintf(out, PATH_SIZE, "%s/evidence/%s", dir, name);
}

static bool record_valid(const struct kpi_chain_record *record, uint64_t seed)
{
    return record->magic == KPI_CHAIN_MAGIC && record->version == KPI_CHAIN_VERSION &&
           kpi_hash_equal(record->sum,
                          kp_hash128(record, offsetof(struct kpi_chain_record, sum), seed));
}

/* ---------- reading ---------- */

static kp_status slots_read(const struct kp_io *io, struct kp_io_queue *queue,
                            struct kp_io_file *file, uint64_t place, uint8_t *bytes,
                            uint64_t *out_count)
{
    int64_t got = kp_io_once(io, queue, KP_IO_READ, file, bytes,
                             (size_t)READ_SLOTS * KPI_CHAIN_RECORD, place * KPI_CHAIN_RECORD);
    if (got < 0)
        return kp_status_from_errno((int)-got);
    *out_count = (uint64_t)got / KPI_CHAIN_RECORD;
    return KP_OK;
}

static kp_status file_read(const struct kp_io *io, struct kp_io_queue *queue,
                           struct kp_io_file *file, uint64_t seed,
                           bool (*each)(void *ctx, uint64_t place,
                                        const struct kpi_chain_record *record, bool valid),
                           void *ctx, uint64_t *out_records)
{
    uint8_t *bytes = malloc((size_t)READ_SLOTS * KPI_CHAIN_RECORD);
    kp_status status = bytes == NULL ? KP_NO_MEMORY : KP_OK;
    uint64_t place = 0, count = 1;
    bool more = true;
    while (status == KP_OK && more && count > 0) {
        status = slots_read(io, queue, file, place, bytes, &count);
        for (uint64_t i = 0; status == KP_OK && i < count && more; i++) {
            struct kpi_chain_record record;
            memcpy(&record, bytes + i * KPI_CHAIN_RECORD, sizeof(record));
            more = each(ctx, place + i, &record, record_valid(&record, seed));
        }
        place += status == KP_OK ? count : 0;
    }
    free(bytes);
    *out_records = place;
    return status;
}

kp_status kpi_chain_read(const struct kp_io *io, struct kp_io_queue *queue, const char *dir,
                         uint64_t seed,
                         bool (*each)(void *ctx, uint64_t place,
                                      const struct kpi_chain_record *record, bool valid),
                         void *ctx, uint64_t *out_records, struct kp_error *err)
{
    char path[PATH_SIZE];
    chain_path(path, dir, "chain");
    struct kp_io_file *file = NULL;
    int result = io->open(io, path, KP_IO_RDONLY, &file);
    if (result == -ENOENT || result == -ENOTDIR)
        return kp_error_set(err, KP_NOT_FOUND, "%s has no seals", dir);
    if (result != 0)
        return kp_error_os(err, kp_status_from_errno(-result), -result, "cannot open %s", path);
    kp_status status = file_read(io, queue, file, seed, each, ctx, out_records);
    io->close(io, file);
    return status == KP_OK
               ? KP_OK
               : kp_error_set(err, status, "cannot read %s: %s", path, kp_status_text(status));
}

/* ---------- writing ---------- */

static kp_status record_finish(struct kpi_chain *chain, struct kpi_chain_record *record,
                               const struct kpi_sha *key)
{
    record->magic = KPI_CHAIN_MAGIC;
    record->version = KPI_CHAIN_VERSION;
    record->number = chain->count;
    record->prev = chain->prev;
    kp_status status = KP_OK;
    if (record->type == KPI_CHAIN_SEAL)
        status = kpi_hmac_sha256(key, record, KPI_CHAIN_TAGGED, &record->tag);
    record->sum = kp_hash128(record, offsetof(struct kpi_chain_record, sum), chain->seed);
    return status == KP_OK ? kpi_chain_take(chain, record) : status;
}

kp_status kpi_chain_take(struct kpi_chain *chain, const struct kpi_chain_record *record)
{
    struct kpi_sha leaf;
    kp_status status = kpi_merkle_leaf(record, sizeof(*record), &leaf);
    if (status == KP_OK)
        status = kpi_merkle_add(&chain->tree, &leaf);
    if (status != KP_OK)
        return status;
    chain->prev = leaf;
    chain->count++;
    return KP_OK;
}

static kp_status write_and_sync(const struct kpi_chain *chain, struct kp_io_queue *queue,
                                const void *bytes, size_t size, uint64_t offset)
{
    /* the table takes requests of both directions: a write does not change the bytes */
    int64_t done = kp_io_once(chain->io, queue, KP_IO_WRITE, chain->file, (void *)(uintptr_t)bytes,
                              size, offset);
    if (done != (int64_t)size)
        return done < 0 ? kp_status_from_errno((int)-done) : KP_IO;
    int64_t result = kp_io_once(chain->io, queue, KP_IO_SYNC, chain->file, NULL, 0, 0);
    return result == 0 ? KP_OK : kp_status_from_errno((int)-result);
}

static kp_status tmp_make(struct kpi_chain *chain, struct kp_error *err)
{
    char path[PATH_SIZE];
    chain_path(path, chain->dir, "chain.tmp");
    chain->io->unlink(chain->io, path);
    int result = chain->io->open(chain->io, path, KP_IO_RDWR | KP_IO_CREATE, &chain->file);
    return result == 0
               ? KP_OK
               : kp_error_os(err, kp_status_from_errno(-result), -result, "cannot make %s", path);
}

static kp_status tmp_place(struct kpi_chain *chain)
{
    char from[PATH_SIZE], to[PATH_SIZE], folder[PATH_SIZE];
    chain_path(from, chain->dir, "chain.tmp");
    chain_path(to, chain->dir, "chain");
    snprintf(folder, sizeof(folder), "%s/evidence", chain->dir);
    int result = chain->io->rename(chain->io, from, to);
    if (result == 0)
        result = chain->io->sync_dir(chain->io, folder);
    return result == 0 ? KP_OK : kp_status_from_errno(-result);
}

static kp_status slots_copy(const struct kpi_chain *chain, struct kp_io_queue *queue,
                            struct kp_io_file *from, uint8_t *bytes)
{
    uint64_t place = 0, count = 1;
    kp_status status = KP_OK;
    while (place < chain->count && status == KP_OK) {
        status = slots_read(chain->io, queue, from, place, bytes, &count);
        count = KP_MIN(count, chain->count - place);
        if (status == KP_OK && count == 0)
            status = KP_IO;
        if (status == KP_OK)
            status = write_and_sync(chain, queue, bytes, (size_t)count * KPI_CHAIN_RECORD,
                                    place * KPI_CHAIN_RECORD);
        place += count;
    }
    return status;
}

/* A file that failed a write or sync is not written again: what is known to be good goes into a
 * new one. */
static kp_status file_renew(struct kpi_chain *chain, struct kp_io_queue *queue)
{
    char path[PATH_SIZE];
    chain_path(path, chain->dir, "chain");
    struct kp_io_file *from = NULL;
    int result = chain->io->open(chain->io, path, KP_IO_RDONLY, &from);
    if (result != 0)
        return kp_status_from_errno(-result);
    uint8_t *bytes = malloc((size_t)READ_SLOTS * KPI_CHAIN_RECORD);
    kp_status status = bytes == NULL ? KP_NO_MEMORY : tmp_make(chain, NULL);
    if (status == KP_OK)
        status = slots_copy(chain, queue, from, bytes);
    if (status == KP_OK)
        status = tmp_place(chain);
    if (status != KP_OK)
        kpi_chain_close(chain);
    chain->io->close(chain->io, from);
    free(bytes);
    return status;
}

kp_status kpi_chain_append(struct kpi_chain *chain, struct kp_io_queue *queue,
                           struct kpi_chain_record *records, uint32_t count,
                           const struct kpi_sha *key)
{
    kp_status status = chain->file == NULL ? file_renew(chain, queue) : KP_OK;
    struct kpi_chain grown = *chain;
    for (uint32_t i = 0; i < count && status == KP_OK; i++)
        status = record_finish(&grown, &records[i], key);
    if (status != KP_OK)
        return status;
    status = write_and_sync(chain, queue, records, count * sizeof(*records),
                            chain->count * KPI_CHAIN_RECORD);
    if (status == KP_OK)
        *chain = grown;
    else
        kpi_chain_close(chain);
    return status;
}

kp_status kpi_chain_open(struct kpi_chain *chain, struct kp_error *err)
{
    char path[PATH_SIZE];
    chain_path(path, chain->dir, "chain");
    int result = chain->io->open(chain->io, path, KP_IO_RDWR, &chain->file);
    if (result != 0)
        return kp_error_os(err, kp_status_from_errno(-result), -result, "cannot open %s", path);
    /* what a crash left behind the last record; written over where it cannot be cut */
    chain->io->truncate(chain->io, chain->file, chain->count * KPI_CHAIN_RECORD);
    return KP_OK;
}

kp_status kpi_chain_create(struct kpi_chain *chain, struct kp_io_queue *queue,
                           struct kpi_chain_record *genesis, struct kp_error *err)
{
    kp_status status = tmp_make(chain, err);
    if (status != KP_OK)
        return status;
    status = kpi_chain_append(chain, queue, genesis, 1, NULL);
    if (status == KP_OK)
        status = tmp_place(chain);
    return status == KP_OK ? KP_OK
                           : kp_error_set(err, status, "cannot write the chain of seals of %s: %s",
                                          chain->dir, kp_status_text(status));
}

void kpi_chain_close(struct kpi_chain *chain)
{
    if (chain->file != NULL)
        chain->io->close(chain->io, chain->file);
    chain->file = NULL;
}
