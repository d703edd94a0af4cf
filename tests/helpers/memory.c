/* SPDX-License-Identifier: Apache-2.0 */
#include "memory.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/big.h"
#include "storage/io.h"

static _Atomic int64_t left; /* allocations until one fails; 0 = none will */
static atomic_bool lasts, failed;
static _Thread_local int spared;

void memory_fail(uint64_t nth, bool lasting)
{
    lasts = lasting;
    failed = false;
    left = (int64_t)nth;
}

bool memory_back(void)
{
    left = 0;
    return failed;
}

static bool fails(void)
{
    if (spared > 0 || left == 0)
        return false;
    if (left > 1) {
        left--;
        return false;
    }
    left = lasts ? 1 : 0;
    failed = true;
    return true;
}

/* ---------- what the linker puts in the place of malloc and so on ---------- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t unit, size_t size);
char *__real_strdup(const char *text);
void *__real_kp_big_alloc(size_t bytes);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t unit, size_t size);
char *__wrap_strdup(const char *text);
void *__wrap_kp_big_alloc(size_t bytes);

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}

void *__wrap_aligned_alloc(size_t unit, size_t size)
{
    return fails() ? NULL : __real_aligned_alloc(unit, size);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

/* Once however many regions it makes. */
void *__wrap_kp_big_alloc(size_t bytes)
{
    if (fails())
        return NULL;
    spared++;
    void *piece = __real_kp_big_alloc(bytes);
    spared--;
    return piece;
}

/* ---------- a backend that is spared ---------- */

static const struct kp_io *base;

#define SPARED(type, name, params, args) \
    static type spared_##name params     \
    {                                    \
        spared++;                        \
        type result = base->name args;   \
        spared--;                        \
        return result;                   \
    }

SPARED(kp_status, submit, (struct kp_io_queue * queue, struct kp_io_req *req), (queue, req))
SPARED(kp_status, reap, (struct kp_io_queue * queue), (queue))
SPARED(int, open, (const struct kp_io *io, const char *path, int flags, struct kp_io_file **out),
       (io, path, flags, out))
SPARED(int, truncate, (const struct kp_io *io, struct kp_io_file *file, uint64_t size),
       (io, file, size))
SPARED(int, rename, (const struct kp_io *io, const char *from, const char *to), (io, from, to))
SPARED(int, unlink, (const struct kp_io *io, const char *path), (io, path))
SPARED(int, mkdir, (const struct kp_io *io, const char *path), (io, path))
SPARED(int, sync_dir, (const struct kp_io *io, const char *path), (io, path))
SPARED(int, lock, (const struct kp_io *io, const char *dir, struct kp_io_file **out, int *out_pid),
       (io, dir, out, out_pid))

const struct kp_io *memory_spares(const struct kp_io *io)
{
    static struct kp_io table;
    base = io;
    table = *io;
    table.submit = spared_submit;
    table.reap = spared_reap;
    table.open = spared_open;
    table.truncate = spared_truncate;
    table.rename = spared_rename;
    table.unlink = spared_unlink;
    table.mkdir = spared_mkdir;
    table.sync_dir = spared_sync_dir;
    table.lock = spared_lock;
    return &table;
}
