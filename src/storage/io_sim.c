/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulator's disk. Inodes hold two images and a dirty bit per sector; the name space is two
 * flat tables of paths (seen, durable) and a log of changes that carries the first to the second.
 * Flat tables and linear search: a test's disk has a dozen files.
 *
 * Requests run in the order they were submitted when they are reaped, so an operation number means
 * the same in every run.
 */
#include "storage/io_sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"

#define SECTOR     512u
#define FAULTS_MAX 8u
#define PATH_SIZE  160u
#define IS_DIR     UINT32_MAX

struct image {
    uint8_t *bytes;
    size_t size, capacity;
};

struct inode {
    struct image seen, durable;
    uint8_t *dirty; /* one byte per sector of seen's capacity */
    size_t dirty_count;
    uint64_t rot_from, rot_to; /* does not read */
};

struct entry {
    char path[PATH_SIZE];
    uint32_t inode; /* IS_DIR */
};

struct table {
    struct entry *entries;
    uint32_t count, capacity;
};

enum change_kind { CHANGE_LINK, CHANGE_UNLINK, CHANGE_RENAME };

struct change {
    enum change_kind kind;
    struct entry entry; /* UNLINK: inode unused; RENAME: the new path */
    char from[PATH_SIZE];
};

struct kp_sim {
    struct kp_io io;
    uint64_t random;
    uint64_t epoch; /* grows at a crash: files opened before are dead */
    struct inode **inodes;
    uint32_t inodes_count;
    struct table seen, durable;
    struct change *log;
    uint32_t log_count, log_capacity;
    char locked[PATH_SIZE];
    struct kp_sim_fault faults[FAULTS_MAX];
    uint32_t faults_count;
    uint64_t hits, ops, capacity_bytes;
    void (*after)(void *ctx, struct kp_sim *sim);
    void *after_ctx;
};

struct kp_io_file {
    struct kp_sim *sim;
    uint32_t inode; /* IS_DIR for the lock */
    uint64_t epoch;
};

struct kp_io_queue {
    struct kp_sim *sim;
    struct kp_io_req *head, **tail;
    unsigned out, depth;
};

/* ---------- small parts ---------- */

static uint64_t sim_random(struct kp_sim *sim)
{
    sim->random += 0x9e3779b97f4a7c15ull;
    return kp_hash_mix(sim->random);
}

static void *grown(void *array, uint32_t count, uint32_t *capacity, size_t item)
{
    if (count < *capacity)
        return array;
    *capacity = *capacity == 0 ? 16 : *capacity * 2;
    array = realloc(array, *capacity * item);
    kp_assert(array != NULL); /* a test's disk that does not fit is a broken test */
    return array;
}

static void image_resize(struct image *image, size_t size)
{
    if (size > image->capacity) {
        size_t capacity = (size + SECTOR - 1) / SECTOR * SECTOR;
        image->bytes = realloc(image->bytes, capacity);
        kp_assert(image->bytes != NULL);
        image->capacity = capacity;
    }
    if (size > image->size)
        memset(image->bytes + image->size, 0, size - image->size);
    image->size = size;
}

static void inode_dirty(struct inode *inode, size_t from, size_t to)
{
    size_t sectors = (inode->seen.size + SECTOR - 1) / SECTOR;
    if (sectors > inode->dirty_count) {
        inode->dirty = realloc(inode->dirty, sectors);
        kp_assert(inode->dirty != NULL);
        memset(inode->dirty + inode->dirty_count, 0, sectors - inode->dirty_count);
        inode->dirty_count = sectors;
    }
    for (size_t s = from / SECTOR; s * SECTOR < to && s < sectors; s++)
        inode->dirty[s] = 1;
}

static void sector_keep(struct inode *inode, size_t sector, size_t bytes)
{
    size_t at = sector * SECTOR;
    if (at >= inode->seen.size || at >= inode->durable.size)
        return;
    size_t end = KP_MIN(at + KP_MIN(bytes, SECTOR), inode->seen.size);
    end = KP_MIN(end, inode->durable.size);
    memcpy(inode->durable.bytes + at, inode->seen.bytes + at, end - at);
}

static void path_copy(char out[PATH_SIZE], const char *path)
{
    kp_assert(strlen(path) < PATH_SIZE);
    memcpy(out, path, strlen(path) + 1);
}

static struct entry *table_find(const struct table *table, const char *path)
{
    for (uint32_t i = 0; i < table->count; i++)
        if (strcmp(table->entries[i].path, path) == 0)
            return &table->entries[i];
    return NULL;
}

static void table_set(struct table *table, const char *path, uint32_t inode)
{
    struct entry *entry = table_find(table, path);
    if (entry == NULL) {
        table->entries =
            grown(table->entries, table->count, &table->capacity, sizeof(*table->entries));
        entry = &table->entries[table->count++];
        path_copy(entry->path, path);
    }
    entry->inode = inode;
}

static void table_remove(struct table *table, const char *path)
{
    struct entry *entry = table_find(table, path);
    if (entry == NULL)
        return;
    size_t after = (size_t)(table->entries + table->count - entry - 1);
    memmove(entry, entry + 1, after * sizeof(*entry));
    table->count--;
}

/* Length of the path of the directory that holds path: "/a/b" -> 2, "/a" -> 1 (the root). */
static size_t parent_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == path ? 1 : (size_t)(slash - path);
}

static bool lies_in(const char *path, const char *dir)
{
    return parent_length(path) == strlen(dir) && strncmp(path, dir, strlen(dir)) == 0 &&
           strcmp(path, dir) != 0;
}

static bool parent_exists(const struct table *table, const char *path)
{
    char dir[PATH_SIZE];
    size_t length = parent_length(path);
    memcpy(dir, path, length);
    dir[length] = '\0';
    const struct entry *entry = table_find(table, dir);
    return length == 1 || (entry != NULL && entry->inode == IS_DIR);
}

static void change_apply(struct table *table, const struct change *change)
{
    if (change->kind == CHANGE_UNLINK)
        table_remove(table, change->entry.path);
    if (change->kind == CHANGE_RENAME)
        table_remove(table, change->from);
    if (change->kind != CHANGE_UNLINK)
        table_set(table, change->entry.path, change->entry.inode);
}

/* Makes the change visible and remembers it until its directory is synced. */
static void change_make(struct kp_sim *sim, enum change_kind kind, const char *from,
                        const char *path, uint32_t inode)
{
    sim->log = grown(sim->log, sim->log_count, &sim->log_capacity, sizeof(*sim->log));
    struct change *change = &sim->log[sim->log_count++];
    memset(change, 0, sizeof(*change));
    change->kind = kind;
    change->entry.inode = inode;
    path_copy(change->entry.path, path);
    path_copy(change->from, from);
    change_apply(&sim->seen, change);
}

/* The fault that is due at this operation, or NULL. */
static const struct kp_sim_fault *fault_due(struct kp_sim *sim, enum kp_sim_point point)
{
    const struct kp_sim_fault *due = NULL;
    for (uint32_t i = 0; i < sim->faults_count; i++) {
        struct kp_sim_fault *fault = &sim->faults[i];
        if ((fault->points & point) == 0 || fault->times == 0)
            continue;
        if (fault->nth > 1) {
            fault->nth--;
            continue;
        }
        if (fault->times != UINT64_MAX)
            fault->times--;
        due = fault;
    }
    sim->hits += due != NULL;
    return due;
}

static void op_done(struct kp_sim *sim)
{
    sim->ops++;
    if (sim->after != NULL)
        sim->after(sim->after_ctx, sim);
}

/* ---------- data ---------- */

static uint64_t sim_used(const struct kp_sim *sim)
{
    uint64_t used = 0;
    for (uint32_t i = 0; i < sim->seen.count; i++)
        if (sim->seen.entries[i].inode != IS_DIR)
            used += sim->inodes[sim->seen.entries[i].inode]->seen.size;
    return used;
}

static void image_write(struct inode *inode, const void *buf, size_t size, uint64_t offset)
{
    if (size == 0)
        return;
    if (offset + size > inode->seen.size)
        image_resize(&inode->seen, offset + size);
    memcpy(inode->seen.bytes + offset, buf, size);
    inode_dirty(inode, offset, offset + size);
    if (offset <= inode->rot_from && inode->rot_to <= offset + size)
        inode->rot_to = inode->rot_from;
}

static int64_t run_write(struct kp_sim *sim, struct inode *inode, const struct kp_io_req *req)
{
    const struct kp_sim_fault *fault = fault_due(sim, KP_SIM_WRITE);
    size_t size = req->size;
    uint64_t offset = req->offset;
    if (fault != NULL && (fault->kind == KP_SIM_SHORT || fault->kind == KP_SIM_ERROR))
        size = sim_random(sim) % (size + 1) / SECTOR * SECTOR;
    if (fault != NULL && fault->kind == KP_SIM_STALE)
        return (int64_t)size;
    if (fault != NULL && fault->kind == KP_SIM_MISDIRECT)
        offset = offset >= 4096 ? offset - 4096 : offset + 4096;
    bool grows = offset + size > inode->seen.size;
    if (grows && sim->capacity_bytes != 0 &&
        sim_used(sim) + (offset + size - inode->seen.size) > sim->capacity_bytes)
        return -ENOSPC;
    image_write(inode, req->buf, size, offset);
    if (fault != NULL && fault->kind == KP_SIM_FLIP && size != 0)
        inode->seen.bytes[offset + sim_random(sim) % size] ^= (uint8_t)(1 << sim_random(sim) % 8);
    if (fault != NULL && fault->kind == KP_SIM_ERROR)
        return -fault->error;
    return (int64_t)size;
}

static int64_t run_read(struct kp_sim *sim, const struct inode *inode, const struct kp_io_req *req)
{
    const struct kp_sim_fault *fault = fault_due(sim, KP_SIM_READ);
    uint64_t offset = req->offset;
    size_t size = req->size;
    if (fault != NULL && fault->kind == KP_SIM_ERROR)
        return -fault->error;
    if (fault != NULL && fault->kind == KP_SIM_MISDIRECT)
        offset = offset >= 4096 ? offset - 4096 : offset + 4096;
    if (fault != NULL && fault->kind == KP_SIM_SHORT)
        size /= 2;
    if (offset >= inode->seen.size)
        return 0;
    size = KP_MIN(size, inode->seen.size - offset);
    if (offset < inode->rot_to && inode->rot_from < offset + size)
        return -EIO;
    memcpy(req->buf, inode->seen.bytes + offset, size);
    if (fault != NULL && fault->kind == KP_SIM_FLIP && size != 0)
        ((uint8_t *)req->buf)[sim_random(sim) % size] ^= (uint8_t)(1 << sim_random(sim) % 8);
    return (int64_t)size;
}

static int64_t run_sync(struct kp_sim *sim, struct inode *inode)
{
    const struct kp_sim_fault *fault = fault_due(sim, KP_SIM_SYNC);
    if (fault == NULL)
        image_resize(&inode->durable, inode->seen.size);
    for (size_t s = 0; s < inode->dirty_count; s++) {
        if (inode->dirty[s] && (fault == NULL || sim_random(sim) % 2 == 0))
            sector_keep(inode, s, SECTOR);
        inode->dirty[s] = 0; /* also after a failure: Linux believes these pages clean */
    }
    return fault != NULL ? -fault->error : 0;
}

static int64_t request_run(struct kp_sim *sim, const struct kp_io_req *req)
{
    if (req->file->epoch != sim->epoch)
        return -EIO;
    struct inode *inode = sim->inodes[req->file->inode];
    if (req->op == KP_IO_READ)
        return run_read(sim, inode, req);
    int64_t result = req->op == KP_IO_WRITE ? run_write(sim, inode, req) : run_sync(sim, inode);
    op_done(sim);
    return result;
}

static kp_status sim_queue_open(const struct kp_io *io, unsigned depth, struct kp_io_queue **out)
{
    struct kp_io_queue *queue = calloc(1, sizeof(*queue));
    if (queue == NULL)
        return KP_NO_MEMORY;
    queue->sim = io->state;
    queue->tail = &queue->head;
    queue->depth = depth;
    *out = queue;
    return KP_OK;
}

static void sim_queue_close(struct kp_io_queue *queue)
{
    free(queue);
}

static kp_status sim_register_buffers(struct kp_io_queue *queue, void *base, size_t size)
{
    (void)queue, (void)base, (void)size;
    return KP_OK;
}

static kp_status sim_submit(struct kp_io_queue *queue, struct kp_io_req *req)
{
    if (queue->out == queue->depth)
        return KP_LIMIT;
    req->done = false;
    req->next = NULL;
    *queue->tail = req;
    queue->tail = &req->next;
    queue->out++;
    return KP_OK;
}

static kp_status sim_reap(struct kp_io_queue *queue)
{
    struct kp_io_req *req = queue->head;
    queue->head = NULL;
    queue->tail = &queue->head;
    queue->out = 0;
    while (req != NULL) {
        struct kp_io_req *next = req->next;
        req->result = request_run(queue->sim, req);
        req->done = true;
        req = next;
    }
    return KP_OK;
}

/* ---------- names ---------- */

static int sim_open_file(struct kp_sim *sim, const char *path, int flags, uint32_t *out)
{
    bool create = (flags & KP_IO_CREATE) != 0;
    const struct kp_sim_fault *fault = fault_due(sim, create ? KP_SIM_CREATE : KP_SIM_OPEN);
    if (fault != NULL)
        return -fault->error;
    const struct entry *entry = table_find(&sim->seen, path);
    if (!create) {
        if (entry == NULL || entry->inode == IS_DIR)
            return entry == NULL ? -ENOENT : -EISDIR;
        *out = entry->inode;
        return 0;
    }
    if (entry != NULL || !parent_exists(&sim->seen, path))
        return entry != NULL ? -EEXIST : -ENOENT;
    sim->inodes = realloc(sim->inodes, (sim->inodes_count + 1) * sizeof(*sim->inodes));
    kp_assert(sim->inodes != NULL);
    sim->inodes[sim->inodes_count] = calloc(1, sizeof(struct inode));
    kp_assert(sim->inodes[sim->inodes_count] != NULL);
    *out = sim->inodes_count++;
    change_make(sim, CHANGE_LINK, "", path, *out);
    op_done(sim);
    return 0;
}

static int file_new(struct kp_sim *sim, uint32_t inode, struct kp_io_file **out)
{
    struct kp_io_file *file = calloc(1, sizeof(*file));
    if (file == NULL)
        return -ENOMEM;
    *file = (struct kp_io_file){.sim = sim, .inode = inode, .epoch = sim->epoch};
    *out = file;
    return 0;
}

static int sim_open(const struct kp_io *io, const char *path, int flags, struct kp_io_file **out)
{
    uint32_t inode = 0;
    if (strlen(path) >= PATH_SIZE)
        return -ENAMETOOLONG;
    int result = sim_open_file(io->state, path, flags, &inode);
    return result != 0 ? result : file_new(io->state, inode, out);
}

static void sim_close(const struct kp_io *io, struct kp_io_file *file)
{
    struct kp_sim *sim = io->state;
    if (file != NULL && file->inode == IS_DIR && file->epoch == sim->epoch)
        sim->locked[0] = '\0';
    free(file);
}

static int64_t sim_size(const struct kp_io *io, struct kp_io_file *file)
{
    struct kp_sim *sim = io->state;
    return file->epoch == sim->epoch ? (int64_t)sim->inodes[file->inode]->seen.size : -EIO;
}

static void sim_expect(const struct kp_io *io, struct kp_io_file *file, uint64_t offset,
                       uint64_t size)
{
    (void)io, (void)file, (void)offset, (void)size; /* this disk has no time to save */
}

static int sim_truncate(const struct kp_io *io, struct kp_io_file *file, uint64_t size)
{
    struct kp_sim *sim = io->state;
    const struct kp_sim_fault *fault = fault_due(sim, KP_SIM_TRUNCATE);
    if (fault != NULL || file->epoch != sim->epoch)
        return fault != NULL ? -fault->error : -EIO;
    struct inode *inode = sim->inodes[file->inode];
    size_t before = inode->seen.size;
    if (size > before && sim->capacity_bytes != 0 &&
        sim_used(sim) + (size - before) > sim->capacity_bytes)
        return -ENOSPC;
    image_resize(&inode->seen, size);
    inode_dirty(inode, KP_MIN(before, size), KP_MAX(before, size));
    op_done(sim);
    return 0;
}

/* Faults and the changes of names have one shape: count, refuse or change, tell the watcher. */
static int name_change(struct kp_sim *sim, enum kp_sim_point point, enum change_kind kind,
                       const char *from, const char *path)
{
    const struct kp_sim_fault *fault = fault_due(sim, point);
    if (fault != NULL)
        return -fault->error;
    if (strlen(path) >= PATH_SIZE || !parent_exists(&sim->seen, path))
        return strlen(path) >= PATH_SIZE ? -ENAMETOOLONG : -ENOENT;
    const struct entry *old = table_find(&sim->seen, kind == CHANGE_RENAME ? from : path);
    if (kind == CHANGE_LINK && old != NULL)
        return -EEXIST;
    if (kind != CHANGE_LINK && old == NULL)
        return -ENOENT;
    change_make(sim, kind, from, path, old == NULL ? IS_DIR : old->inode);
    op_done(sim);
    return 0;
}

static int sim_rename(const struct kp_io *io, const char *from, const char *to)
{
    return name_change(io->state, KP_SIM_RENAME, CHANGE_RENAME, from, to);
}

static int sim_unlink(const struct kp_io *io, const char *path)
{
    return name_change(io->state, KP_SIM_UNLINK, CHANGE_UNLINK, "", path);
}

static int sim_mkdir(const struct kp_io *io, const char *path)
{
    return name_change(io->state, KP_SIM_MKDIR, CHANGE_LINK, "", path);
}

/* Applies the first `limit` changes of a directory to the durable table; forgets all of them. */
static void log_settle(struct kp_sim *sim, const char *dir, uint64_t limit)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < sim->log_count; i++) {
        if (!lies_in(sim->log[i].entry.path, dir))
            sim->log[kept++] = sim->log[i];
        else if (limit > 0) {
            change_apply(&sim->durable, &sim->log[i]);
            limit--;
        }
    }
    sim->log_count = kept;
}

static int sim_sync_dir(const struct kp_io *io, const char *path)
{
    struct kp_sim *sim = io->state;
    const struct kp_sim_fault *fault = fault_due(sim, KP_SIM_SYNC_DIR);
    if (fault != NULL)
        return -fault->error;
    if (strcmp(path, "/") != 0 && table_find(&sim->seen, path) == NULL)
        return -ENOENT;
    log_settle(sim, path, UINT64_MAX);
    op_done(sim);
    return 0;
}

static int sim_list(const struct kp_io *io, const char *path,
                    void (*each)(void *ctx, const char *name), void *ctx)
{
    struct kp_sim *sim = io->state;
    const struct kp_sim_fault *fault = fault_due(sim, KP_SIM_LIST);
    if (fault != NULL)
        return -fault->error;
    if (strcmp(path, "/") != 0 && table_find(&sim->seen, path) == NULL)
        return -ENOENT;
    for (uint32_t i = 0; i < sim->seen.count; i++)
        if (lies_in(sim->seen.entries[i].path, path))
            each(ctx, strrchr(sim->seen.entries[i].path, '/') + 1);
    return 0;
}

static int sim_lock(const struct kp_io *io, const char *dir, struct kp_io_file **out, int *out_pid)
{
    struct kp_sim *sim = io->state;
    if (strcmp(sim->locked, dir) == 0) {
        *out_pid = 1;
        return -EBUSY;
    }
    if (strlen(dir) >= PATH_SIZE)
        return -ENAMETOOLONG;
    path_copy(sim->locked, dir);
    return file_new(sim, IS_DIR, out);
}

/* ---------- life ---------- */

static const struct kp_io sim_table = {
    .name = "sim",
    .queue_open = sim_queue_open,
    .queue_close = sim_queue_close,
    .register_buffers = sim_register_buffers,
    .submit = sim_submit,
    .reap = sim_reap,
    .open = sim_open,
    .close = sim_close,
    .size = sim_size,
    .expect = sim_expect,
    .truncate = sim_truncate,
    .rename = sim_rename,
    .unlink = sim_unlink,
    .mkdir = sim_mkdir,
    .sync_dir = sim_sync_dir,
    .list = sim_list,
    .lock = sim_lock,
};

kp_status kp_sim_open(uint64_t seed, struct kp_sim **out)
{
    struct kp_sim *sim = calloc(1, sizeof(*sim));
    if (sim == NULL)
        return KP_NO_MEMORY;
    sim->io = sim_table;
    sim->io.state = sim;
    sim->random = seed;
    *out = sim;
    return KP_OK;
}

void kp_sim_close(struct kp_sim *sim)
{
    if (sim == NULL)
        return;
    for (uint32_t i = 0; i < sim->inodes_count; i++) {
        free(sim->inodes[i]->seen.bytes);
        free(sim->inodes[i]->durable.bytes);
        free(sim->inodes[i]->dirty);
        free(sim->inodes[i]);
    }
    free(sim->inodes);
    free(sim->seen.entries);
    free(sim->durable.entries);
    free(sim->log);
    free(sim);
}

const struct kp_io *kp_sim_io(struct kp_sim *sim)
{
    return &sim->io;
}

static void image_copy(struct image *to, const struct image *from)
{
    image_resize(to, from->size);
    if (from->size != 0)
        memcpy(to->bytes, from->bytes, from->size);
}

static struct inode *inode_copy(const struct inode *from)
{
    struct inode *to = calloc(1, sizeof(*to));
    kp_assert(to != NULL);
    image_copy(&to->seen, &from->seen);
    image_copy(&to->durable, &from->durable);
    inode_dirty(to, 0, 0);
    size_t known = KP_MIN(to->dirty_count, from->dirty_count);
    if (known != 0)
        memcpy(to->dirty, from->dirty, known);
    return to;
}

static void *array_copy(const void *from, size_t size)
{
    void *to = malloc(size == 0 ? 1 : size);
    kp_assert(to != NULL);
    if (size != 0)
        memcpy(to, from, size);
    return to;
}

static void table_copy(struct table *to, const struct table *from)
{
    to->entries = array_copy(from->entries, from->count * sizeof(*from->entries));
    to->count = to->capacity = from->count;
    if (to->capacity == 0) {
        free(to->entries);
        to->entries = NULL;
    }
}

struct kp_sim *kp_sim_clone(const struct kp_sim *sim, uint64_t seed)
{
    struct kp_sim *copy = NULL;
    if (kp_sim_open(seed, &copy) != KP_OK)
        return NULL;
    copy->inodes = array_copy(NULL, 0);
    copy->inodes = realloc(copy->inodes, (sim->inodes_count + 1) * sizeof(*copy->inodes));
    kp_assert(copy->inodes != NULL);
    for (uint32_t i = 0; i < sim->inodes_count; i++)
        copy->inodes[i] = inode_copy(sim->inodes[i]);
    copy->inodes_count = sim->inodes_count;
    table_copy(&copy->seen, &sim->seen);
    table_copy(&copy->durable, &sim->durable);
    copy->log = array_copy(sim->log, sim->log_count * sizeof(*sim->log));
    copy->log_count = sim->log_count;
    copy->log_capacity = sim->log_count;
    return copy;
}

void kp_sim_fault_add(struct kp_sim *sim, const struct kp_sim_fault *fault)
{
    kp_assert(sim->faults_count < FAULTS_MAX && fault->nth > 0);
    struct kp_sim_fault *added = &sim->faults[sim->faults_count++];
    *added = *fault;
    added->times = fault->times == 0 ? 1 : fault->times;
}

void kp_sim_fault_clear(struct kp_sim *sim)
{
    sim->faults_count = 0;
}

uint64_t kp_sim_hits(const struct kp_sim *sim)
{
    return sim->hits;
}

void kp_sim_capacity(struct kp_sim *sim, uint64_t bytes)
{
    sim->capacity_bytes = bytes;
}

uint64_t kp_sim_ops(const struct kp_sim *sim)
{
    return sim->ops;
}

void kp_sim_watch(struct kp_sim *sim, void (*after)(void *ctx, struct kp_sim *sim), void *ctx)
{
    sim->after = after;
    sim->after_ctx = ctx;
}

static void inode_crash(struct kp_sim *sim, struct inode *inode, enum kp_sim_crash policy)
{
    bool some = policy == KP_SIM_SOME || policy == KP_SIM_TEAR;
    if (policy == KP_SIM_KEEP || (some && sim_random(sim) % 2 == 0))
        image_resize(&inode->durable, inode->seen.size);
    for (size_t s = 0; s < inode->dirty_count; s++) {
        if (!inode->dirty[s] || policy == KP_SIM_DROP)
            continue;
        uint64_t dice = sim_random(sim);
        if (policy == KP_SIM_KEEP || dice % 4 < 2)
            sector_keep(inode, s, SECTOR);
        else if (policy == KP_SIM_TEAR && dice % 4 == 2)
            sector_keep(inode, s, dice / 4 % SECTOR);
    }
    inode->dirty_count = 0;
    free(inode->dirty);
    inode->dirty = NULL;
    inode->seen.size = 0;
    image_copy(&inode->seen, &inode->durable);
}

/* Every directory keeps its first few changes; parents are settled before children. */
static void names_crash(struct kp_sim *sim, enum kp_sim_crash policy)
{
    while (sim->log_count > 0) {
        char dir[PATH_SIZE];
        size_t length = parent_length(sim->log[0].entry.path);
        memcpy(dir, sim->log[0].entry.path, length);
        dir[length] = '\0';
        uint64_t limit = policy == KP_SIM_KEEP   ? UINT64_MAX
                         : policy == KP_SIM_DROP ? 0
                                                 : sim_random(sim) % (sim->log_count + 1);
        log_settle(sim, dir, limit);
    }
    for (uint32_t i = 0; i < sim->durable.count;) {
        if (parent_exists(&sim->durable, sim->durable.entries[i].path)) {
            i++;
            continue;
        }
        table_remove(&sim->durable, sim->durable.entries[i].path);
        i = 0; /* its children may have come before it */
    }
    sim->seen.count = 0;
    for (uint32_t i = 0; i < sim->durable.count; i++)
        table_set(&sim->seen, sim->durable.entries[i].path, sim->durable.entries[i].inode);
}

void kp_sim_crash(struct kp_sim *sim, enum kp_sim_crash policy)
{
    for (uint32_t i = 0; i < sim->inodes_count; i++)
        inode_crash(sim, sim->inodes[i], policy);
    names_crash(sim, policy);
    sim->locked[0] = '\0';
    sim->epoch++;
}

uint8_t *kp_sim_file(struct kp_sim *sim, const char *path, size_t *out_size)
{
    const struct entry *entry = table_find(&sim->seen, path);
    if (entry == NULL || entry->inode == IS_DIR)
        return NULL;
    static uint8_t nothing;
    const struct image *image = &sim->inodes[entry->inode]->seen;
    *out_size = image->size;
    return image->size == 0 ? &nothing : image->bytes;
}

void kp_sim_rot(struct kp_sim *sim, const char *path, uint64_t offset, uint64_t size)
{
    const struct entry *entry = table_find(&sim->seen, path);
    kp_assert(entry != NULL && entry->inode != IS_DIR);
    sim->inodes[entry->inode]->rot_from = offset;
    sim->inodes[entry->inode]->rot_to = offset + size;
}

uint64_t kp_sim_hash(const struct kp_sim *sim)
{
    uint64_t hash = 0;
    for (uint32_t i = 0; i < sim->seen.count; i++) {
        const struct entry *entry = &sim->seen.entries[i];
        hash = kp_hash64(entry->path, strlen(entry->path), hash);
        if (entry->inode == IS_DIR)
            continue;
        const struct image *image = &sim->inodes[entry->inode]->seen;
        hash = kp_hash64(image->size == 0 ? (const uint8_t *)"" : image->bytes, image->size, hash);
    }
    return hash;
}
