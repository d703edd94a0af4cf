/* SPDX-License-Identifier: Apache-2.0
 *
 * What a start finds: lock, manifest, then the log behind what is sealed. Recovery only reads,
 * until it knows everything; then it writes, in an order that makes a crash in the middle harmless:
 *
 *   1. a row of `gaps` for each damaged place, each in a log record that carries the place's note,
 *      so that the next recovery knows it is written down;
 *   2. the manifest anew, without its damaged records;
 *   3. files that nothing names are removed. When the manifest was damaged a segment may be unnamed
 *      because its record is gone: then segments are set aside (.lost), never removed.
 */
#include "storage/epoch.h"
#include "storage/damage.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/assert.h"

#define PATH_SIZE  4096u
#define DAMAGE_MAX 4096u /* places remembered; more than that is told as one */

struct place {
    struct kp_damage damage;
    char file[64];
};

struct recovery {
    struct kp_store *store;
    struct kpi_manifest manifest;
    struct kpi_wal_end end;
    struct kp_io_queue *queue;
    struct place *places;
    uint32_t places_count, places_capacity;
    bool manifest_damaged;
    bool failed;
    bool fresh;
};

/* ---------- directory ---------- */

static void path_join(char *out, const char *dir, const char *name)
{
    if (snprintf(out, PATH_SIZE, "%s/%s", dir, name) >= (int)PATH_SIZE)
        out[0] = '\0'; /* no such file: reported by whoever uses it */
}

static void count_foreign(void *ctx, const char *name)
{
    static const char *const ours[] = {
        "lock",     "super",      "super.tmp",      "wal",     "seg", "txn",
        "evidence", "checkpoint", "checkpoint.tmp", "kpd.sock"};
    uint64_t file_no;
    for (size_t i = 0; i < KP_ARRAY_LEN(ours); i++)
        if (strcmp(name, ours[i]) == 0)
            return;
    if (!kpi_manifest_name(name, &file_no))
        ++*(uint32_t *)ctx;
}

static void parent_path(const char *dir, char *out)
{
    snprintf(out, PATH_SIZE, "%s", dir);
    size_t length = strlen(out);
    while (length > 1 && out[length - 1] == '/')
        out[--length] = '\0';
    char *slash = strrchr(out, '/');
    if (slash == NULL)
        snprintf(out, PATH_SIZE, ".");
    else
        slash[slash == out] = '\0';
}

static int make_dir(const struct kp_io *io, const char *path, const char *parent)
{
    int result = io->mkdir(io, path);
    if (result != 0 && result != -EEXIST)
        return result;
    return io->sync_dir(io, parent);
}

/* Makes the directory and its folders; also after a crash that left only some of them. */
static kp_status dirs_make(struct kp_store *store, struct kp_error *err)
{
    char path[PATH_SIZE];
    const struct kp_io *io = store->io;
    int result = 0;
    static const char *const folders[] = {"wal", "seg", "txn"};
    for (size_t i = 0; i < KP_ARRAY_LEN(folders) && result == 0; i++) {
        path_join(path, store->dir, folders[i]);
        result = io->mkdir(io, path);
        if (result == -EEXIST)
            result = 0;
    }
    if (result == 0)
        result = io->sync_dir(io, store->dir);
    return result == 0 ? KP_OK
                       : kp_error_os(err, kp_status_from_errno(-result), -result,
                                     "cannot make the folders of %s", store->dir);
}

static kp_status dir_lock(struct kp_store *store, struct kp_error *err)
{
    int pid = 0;
    int result = store->io->lock(store->io, store->dir, &store->dir_lock, &pid);
    if (result == 0)
        return KP_OK;
    if (result != -EBUSY)
        return kp_error_os(err, kp_status_from_errno(-result), -result, "cannot lock %s",
                           store->dir);
    kp_error_set(err, KP_BUSY, "%s is being written by process %d", store->dir, pid);
    kp_error_hint(err, "stop that process, or only read: readers need no lock");
    return KP_BUSY;
}

static kp_status dir_open(struct kp_store *store, struct kp_error *err)
{
    const struct kp_io *io = store->io;
    char parent[PATH_SIZE];
    uint32_t foreign = 0;
    int result = io->list(io, store->dir, count_foreign, &foreign);
    if (result == -ENOENT && !store->opts.read_only_ok) {
        parent_path(store->dir, parent);
        result = make_dir(io, store->dir, parent);
    }
    if (result != 0)
        return kp_error_os(err, kp_status_from_errno(-result), -result, "cannot open store %s",
                           store->dir);
    char super[PATH_SIZE];
    path_join(super, store->dir, "super");
    struct kp_io_file *file = NULL;
    bool exists = io->open(io, super, KP_IO_RDONLY, &file) == 0;
    if (exists)
        io->close(io, file);
    if (!exists && foreign > 0)
        return kp_error_set(err, KP_INVALID, "%s holds other files and is not a kprobe store",
                            store->dir);
    return dir_lock(store, err);
}

/* ---------- what is there ---------- */

static void damage_keep(void *ctx, const struct kp_damage *damage)
{
    struct recovery *r = ctx;
    if (r->places_count == DAMAGE_MAX) {
        struct kp_damage *last = &r->places[DAMAGE_MAX - 1].damage;
        last->rows = -1;
        last->what = "this and further places damaged";
        return;
    }
    if (r->places_count == r->places_capacity) {
        uint32_t capacity = r->places_capacity == 0 ? 16 : r->places_capacity * 2;
        struct place *places = realloc(r->places, capacity * sizeof(*places));
        if (places == NULL) {
            r->failed = true;
            return;
        }
        r->places = places;
        r->places_capacity = capacity;
    }
    struct place *place = &r->places[r->places_count++];
    place->damage = *damage;
    snprintf(place->file, sizeof(place->file), "%s", damage->file);
}

static void note_keep(void *ctx, uint64_t note)
{
    struct recovery *r = ctx;
    if (!kpi_notes_add(&r->store->notes, note))
        r->failed = true;
}

static void store_id_make(struct kp_store *store)
{
    uint64_t seed = store->opts.id_seed;
    if (seed == 0 && getrandom(store->store_id, KPI_ID_SIZE, 0) == KPI_ID_SIZE)
        return;
    if (seed == 0)
        seed = (uint64_t)kp_time_now();
    struct kp_hash128 id = kp_hash128(&seed, sizeof(seed), 0);
    memcpy(store->store_id, &id, KPI_ID_SIZE);
}

static bool ends_with(const char *name, const char *end)
{
    size_t a = strlen(name), b = strlen(end);
    return a >= b && strcmp(name + a - b, end) == 0;
}

static void data_find(void *ctx, const char *name)
{
    *(bool *)ctx |= ends_with(name, ".kpw") || ends_with(name, ".kps");
}

/* A store without a manifest must be new; log files and segments come only after it. */
static bool data_exists(const struct recovery *r)
{
    char path[PATH_SIZE];
    bool found = false;
    path_join(path, r->store->dir, "wal");
    r->store->io->list(r->store->io, path, data_find, &found);
    path_join(path, r->store->dir, "seg");
    r->store->io->list(r->store->io, path, data_find, &found);
    return found;
}

static kp_status state_read(struct recovery *r, struct kp_error *err)
{
    struct kp_store *store = r->store;
    kp_status status = kpi_manifest_read(store->io, store->dir, &r->manifest, damage_keep, r, err);
    r->manifest_damaged = r->places_count > 0;
    r->fresh = status == KP_NOT_FOUND && !store->opts.read_only_ok;
    if (status != KP_OK && !r->fresh)
        return status;
    if (r->fresh && data_exists(r))
        return kp_error_set(err, KP_CORRUPT, "%s holds data but its manifest is gone", store->dir);
    if (r->fresh) {
        store_id_make(store);
        memcpy(r->manifest.store_id, store->store_id, KPI_ID_SIZE);
    }
    memcpy(store->store_id, r->manifest.store_id, KPI_ID_SIZE);
    struct kpi_wal_scan scan = {.io = store->io,
                                .dir = store->dir,
                                .store_id = store->store_id,
                                .after = r->manifest.sealed_through,
                                .after_hash = r->manifest.wal_hash,
                                .damage = damage_keep,
                                .note = note_keep,
                                .ctx = r};
    status = kpi_wal_scan(&scan, &r->end, err);
    if (status == KP_OK && r->failed)
        return kp_error_set(err, KP_NO_MEMORY, "no memory to recover %s", store->dir);
    return status;
}

static void state_take(struct recovery *r)
{
    struct kp_store *store = r->store;
    store->durable = r->end.sequence;
    store->sealed_through = r->manifest.sealed_through;
    store->unsealed = r->end.payload_bytes;
    store->unsealed_since = store->opts.manual ? 0 : kp_time_monotonic();
    atomic_store(&store->seq_next, KP_MAX(1, KP_MAX(r->manifest.seq_next, r->end.seq_next)));
    store->stat.segments = r->manifest.count;
    store->segment_next = 1;
    for (uint32_t i = 0; i < r->manifest.count; i++) {
        store->stat.segments_bytes += r->manifest.segments[i].bytes;
        store->segment_next = KP_MAX(store->segment_next, r->manifest.segments[i].id + 1);
    }
    for (uint32_t i = 0; i < r->manifest.drops_count; i++)
        store->segment_next = KP_MAX(store->segment_next, r->manifest.drops[i].id_last + 1);
    for (uint32_t i = 0; i < r->manifest.holds_count; i++)
        store->stat.holds += r->manifest.holds[i].released == 0;
}

/* ---------- writing down what is missing ---------- */

static kp_time newest_time(const struct recovery *r)
{
    kp_time newest = r->end.ts_max;
    for (uint32_t i = 0; i < r->manifest.count; i++)
        newest = KP_MAX(newest, r->manifest.segments[i].ts_max);
    for (uint32_t i = 0; i < r->manifest.drops_count; i++)
        newest = KP_MAX(newest, r->manifest.drops[i].ts_max);
    return newest == KP_TIME_MIN ? kp_time_now() : newest;
}

static kp_status gap_write(struct recovery *r, const struct kp_damage *damage, uint64_t note)
{
    struct kp_store *store = r->store;
    struct kp_buf block = {0};
    kp_time at = damage->from <= damage->to ? damage->to : newest_time(r);
    kp_status status = kpi_gap_damage(store, damage, at, &block);
    if (status == KP_OK && block.size > store->fill_size - sizeof(struct kpi_wal_header))
        status = KP_LIMIT;
    if (status == KP_OK) {
        memcpy(store->memory + sizeof(struct kpi_wal_header), block.data, block.size);
        struct kpi_wal_entry entry = {.bytes = store->memory,
                                      .payload_size = (uint32_t)block.size,
                                      .rows = 1,
                                      .ts_min = at,
                                      .ts_max = at,
                                      .seq_next = atomic_load(&store->seq_next),
                                      .note = note};
        status = kpi_wal_commit(store->wal, r->queue, &entry);
    }
    if (status == KP_OK) {
        store->unsealed += block.size;
        store->stat.gaps++;
    }
    kp_buf_deinit(&block);
    return status;
}

static kp_status gaps_write(struct recovery *r, struct kp_error *err)
{
    struct kp_store *store = r->store;
    kp_status status = KP_OK;
    for (uint32_t i = 0; i < r->places_count && status == KP_OK; i++) {
        struct kp_damage *damage = &r->places[i].damage;
        damage->file = r->places[i].file;
        uint64_t note = kpi_damage_note(damage);
        if (damage->rows == 0 || kpi_notes_has(&store->notes, note))
            continue;
        status = gap_write(r, damage, note);
        if (status == KP_OK && !kpi_notes_add(&store->notes, note))
            status = KP_NO_MEMORY;
    }
    kpi_wal_finish(store->wal, r->queue);
    store->durable = kpi_wal_sequence(store->wal);
    return status == KP_OK
               ? KP_OK
               : kp_error_set(err, status, "cannot write what was found damaged in %s", store->dir);
}

/* ---------- cleaning up ---------- */

enum leftover { LEFT_MANIFEST, LEFT_WAL, LEFT_SEG };

struct cleaning {
    struct recovery *r;
    enum leftover kind;
    struct kp_buf names; /* NUL-terminated, one after the other */
};

static bool segment_known(const struct recovery *r, uint64_t id)
{
    for (uint32_t i = 0; i < r->manifest.count; i++)
        if (r->manifest.segments[i].id == id)
            return true;
    return false;
}

static void leftover_find(void *ctx, const char *name)
{
    struct cleaning *c = ctx;
    uint64_t number = 0;
    bool left = ends_with(name, ".tmp");
    if (c->kind == LEFT_MANIFEST && kpi_manifest_name(name, &number))
        left = number != kpi_manifest_file_no(c->r->store->manifest);
    if (c->kind == LEFT_SEG && strlen(name) >= 16) {
        number = strtoull(name, NULL, 16);
        c->r->store->segment_next = KP_MAX(c->r->store->segment_next, number + 1);
        if (ends_with(name, ".kps"))
            left = !segment_known(c->r, number);
    }
    if (left)
        kp_buf_add(&c->names, name, strlen(name) + 1);
}

/* Removing is tidying: what cannot be removed now is found again at the next start. */
static void leftovers_remove(struct recovery *r, enum leftover kind)
{
    static const char *const folders[] = {"", "/wal", "/seg"};
    char folder[PATH_SIZE], path[PATH_SIZE], aside[PATH_SIZE];
    struct cleaning c = {.r = r, .kind = kind};
    const struct kp_io *io = r->store->io;
    snprintf(folder, sizeof(folder), "%s%s", r->store->dir, folders[kind]);
    if (io->list(io, folder, leftover_find, &c) != 0 || c.names.failed) {
        kp_buf_deinit(&c.names);
        return;
    }
    for (size_t at = 0; at < c.names.size; at += strlen(c.names.data + at) + 1) {
        path_join(path, folder, c.names.data + at);
        if (kind == LEFT_SEG && r->manifest_damaged && ends_with(path, ".kps")) {
            snprintf(aside, sizeof(aside), "%.*s.lost", (int)(sizeof(aside) - 8), path);
            io->rename(io, path, aside);
        } else {
            io->unlink(io, path);
        }
    }
    kp_buf_deinit(&c.names);
}

/* ---------- public ---------- */

static kp_status wal_begin(struct recovery *r, struct kp_error *err)
{
    struct kp_store *store = r->store;
    struct kpi_wal_opts opts = {.io = store->io,
                                .dir = store->dir,
                                .store_id = store->store_id,
                                .file_bytes = store->opts.wal_file_bytes};
    kp_status status = kpi_wal_open(&opts, &r->end, &store->wal);
    return status == KP_OK ? KP_OK : kp_error_set(err, status, "no memory for the log");
}

static kp_status recover_write(struct recovery *r, struct kp_error *err)
{
    struct kp_store *store = r->store;
    kp_status status = wal_begin(r, err);
    /* a new store needs its manifest before its first record; any other keeps the damaged one until
     * the damage is written down */
    if (status == KP_OK && r->fresh)
        status =
            kpi_manifest_open(store->io, r->queue, store->dir, &r->manifest, &store->manifest, err);
    if (status == KP_OK)
        status = gaps_write(r, err);
    if (status == KP_OK && !r->fresh)
        status =
            kpi_manifest_open(store->io, r->queue, store->dir, &r->manifest, &store->manifest, err);
    if (status != KP_OK)
        return status;
    status = kpi_evidence_open(store, r->queue, &r->manifest, err);
    if (status != KP_OK)
        return status;
    leftovers_remove(r, LEFT_MANIFEST);
    leftovers_remove(r, LEFT_WAL);
    leftovers_remove(r, LEFT_SEG);
    kpi_merge_tidy(store);
    store->txn_work = true;
    store->runs_check = store->run_next;
    kpi_wal_release(store->wal, kpi_evidence_covers(store));
    return KP_OK;
}

kp_status kpi_recover(struct kp_store *store, struct kp_error *err)
{
    struct recovery r = {.store = store};
    kp_status status = dir_open(store, err);
    if (status == KP_OK)
        status = dirs_make(store, err);
    if (status == KP_OK)
        status = store->io->queue_open(store->io, 8, &r.queue);
    if (status == KP_OK)
        status = state_read(&r, err);
    if (status == KP_OK) {
        state_take(&r);
        status = recover_write(&r, err);
    }
    if (r.queue != NULL)
        store->io->queue_close(r.queue);
    kpi_manifest_deinit(&r.manifest);
    kpi_wal_end_deinit(&r.end);
    free(r.places);
    return status;
}
