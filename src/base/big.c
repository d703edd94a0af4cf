/* SPDX-License-Identifier: Apache-2.0
 *
 * Regions of 32 MiB, aligned to their size, so that a piece's address tells its region. A region is
 * divided into grains; a piece is the first run of free grains that is long enough, which keeps
 * what is in use in few huge pages. What does not fit a region gets one of its own.
 *
 *   region:   [ struct region | piece | piece | free | piece | free ... ]
 *
 * Invariant: a grain is marked in `used` exactly while a piece covers it; sizes[g] is the length of
 * the piece that begins at g. One region without pieces is kept, others go back.
 */
#include "base/big.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define REGION_BYTES ((size_t)32 << 20)
#define GRAINS       (REGION_BYTES / KP_BIG_GRAIN)

struct region {
    struct region *next, **link;
    uint32_t free;     /* grains */
    uint32_t hint;     /* no grain before this one is free */
    bool alone;        /* made for one piece, in no list */
    bool used[GRAINS]; /* the first grain is this struct */
    uint16_t sizes[GRAINS];
};

static struct {
    pthread_mutex_t lock;
    struct region *first; /* of all that are shared, newest first */
    uint32_t empty;       /* of them without a piece */
} big = {.lock = PTHREAD_MUTEX_INITIALIZER};

static size_t grains_of(size_t bytes)
{
    return bytes / KP_BIG_GRAIN + (bytes % KP_BIG_GRAIN != 0 || bytes == 0);
}

size_t kp_big_round(size_t bytes)
{
    return grains_of(bytes) * KP_BIG_GRAIN;
}

/* Sanitizers see borders between pieces only where malloc made them. */
#if defined(__SANITIZE_ADDRESS__) || defined(KP_BIG_PLAIN)

void *kp_big_alloc(size_t bytes)
{
    return bytes > SIZE_MAX / 4 ? NULL : aligned_alloc(KP_BIG_GRAIN, kp_big_round(bytes));
}

void kp_big_free(void *piece)
{
    free(piece);
}

#else

/* Huge pages are a wish: without them all is as it would be with malloc. */
static struct region *region_make(size_t bytes)
{
    struct region *region = aligned_alloc(REGION_BYTES, bytes);
    if (region == NULL)
        return NULL;
    madvise(region, bytes, MADV_HUGEPAGE);
    memset(region, 0, sizeof(*region));
    region->used[0] = true;
    region->free = GRAINS - 1;
    region->hint = 1;
    return region;
}

static struct region *region_of(void *piece)
{
    return (struct region *)((char *)piece - ((uintptr_t)piece & (REGION_BYTES - 1)));
}

static void *piece_at(struct region *region, size_t grain)
{
    return (char *)region + grain * KP_BIG_GRAIN;
}

/* The first run of so many free grains; 0: there is none. */
static size_t run_find(const struct region *region, size_t grains)
{
    size_t run = 0;
    for (size_t g = region->hint; g < GRAINS && region->free >= grains; g++) {
        run = region->used[g] ? 0 : run + 1;
        if (run == grains)
            return g + 1 - grains;
    }
    return 0;
}

static void *run_take(struct region *region, size_t at, size_t grains)
{
    memset(region->used + at, true, grains);
    region->sizes[at] = (uint16_t)grains;
    big.empty -= region->free == GRAINS - 1;
    region->free -= (uint32_t)grains;
    if (at == region->hint)
        region->hint += (uint32_t)grains;
    return piece_at(region, at);
}

/* The lock is held. */
static void *shared_alloc(size_t grains)
{
    for (struct region *region = big.first; region != NULL; region = region->next) {
        size_t at = run_find(region, grains);
        if (at != 0)
            return run_take(region, at, grains);
    }
    struct region *region = region_make(REGION_BYTES);
    if (region == NULL)
        return NULL;
    region->next = big.first;
    region->link = &big.first;
    if (region->next != NULL)
        region->next->link = &region->next;
    big.first = region;
    big.empty++;
    return run_take(region, 1, grains);
}

static void *alone_alloc(size_t grains)
{
    size_t bytes = (grains + 1) * KP_BIG_GRAIN;
    bytes = (bytes + REGION_BYTES - 1) / REGION_BYTES * REGION_BYTES; /* aligned_alloc's rule */
    struct region *region = region_make(bytes);
    if (region == NULL)
        return NULL;
    region->alone = true;
    return piece_at(region, 1);
}

void *kp_big_alloc(size_t bytes)
{
    size_t grains = grains_of(bytes);
    if (bytes > SIZE_MAX / 4)
        return NULL;
    if (grains > GRAINS / 2)
        return alone_alloc(grains);
    pthread_mutex_lock(&big.lock);
    void *piece = shared_alloc(grains);
    pthread_mutex_unlock(&big.lock);
    return piece;
}

/* True when the region shall go. The lock is held. */
static bool shared_free(struct region *region, size_t at)
{
    memset(region->used + at, false, region->sizes[at]);
    region->free += region->sizes[at];
    if (at < region->hint)
        region->hint = (uint32_t)at;
    if (region->free < GRAINS - 1)
        return false;
    if (big.empty++ == 0)
        return false;
    big.empty--;
    *region->link = region->next;
    if (region->next != NULL)
        region->next->link = region->link;
    return true;
}

void kp_big_free(void *piece)
{
    if (piece == NULL)
        return;
    struct region *region = region_of(piece);
    bool goes = region->alone;
    if (!goes) {
        pthread_mutex_lock(&big.lock);
        goes = shared_free(region, (size_t)((char *)piece - (char *)region) / KP_BIG_GRAIN);
        pthread_mutex_unlock(&big.lock);
    }
    if (goes)
        free(region);
}

#endif
