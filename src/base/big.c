/* SPDX-License-Identifier: Apache-2.0
 *
 * Regions of 32 MiB, divided into grains; a piece is the first run of free grains that is long
 * enough, which keeps what is in use in few huge pages. Two regions at most, so that a cold
 * question finds its memory in them: a machine that gives free memory back to its host pays for
 * each byte of a new huge page, used or not, and a cache that grows to a GiB paid a second for
 * that. What has no room in them is malloc's.
 *
 *   region:   [ struct region | piece | piece | free | piece | free ... ]
 *
 * Invariant: a grain is marked in `used` exactly while a piece covers it; sizes[g] is the length of
 * the piece that begins at g. One region without pieces is kept, the other goes back.
 */
#include "base/big.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"

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
    return bytes > SIZE_MAX / 4 ? NULL : malloc(kp_big_round(bytes));
}

void kp_big_free(void *piece)
{
    free(piece);
}

#else

#define REGION_BYTES ((size_t)32 << 20)
#define GRAINS       (REGION_BYTES / KP_BIG_GRAIN)

#define REGIONS_MAX 2u

struct region {
    uint32_t free;     /* grains */
    uint32_t hint;     /* no grain before this one is free */
    bool used[GRAINS]; /* the first grain is this struct */
    uint16_t sizes[GRAINS];
};

static struct {
    pthread_mutex_t lock;
    struct region *regions[REGIONS_MAX]; /* NULL = not made */
} big = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Huge pages are a wish: without them all is as it would be with malloc. */
static struct region *region_make(void)
{
    struct region *region = aligned_alloc(REGION_BYTES, REGION_BYTES);
    if (region == NULL)
        return NULL;
    madvise(region, REGION_BYTES, MADV_HUGEPAGE);
    memset(region, 0, sizeof(*region));
    region->used[0] = true;
    region->free = GRAINS - 1;
    region->hint = 1;
    return region;
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
    region->free -= (uint32_t)grains;
    if (at == region->hint)
        region->hint += (uint32_t)grains;
    return piece_at(region, at);
}

/* NULL: no room. The lock is held. */
static void *shared_alloc(size_t grains)
{
    for (size_t i = 0; i < REGIONS_MAX; i++) {
        if (big.regions[i] == NULL)
            big.regions[i] = region_make();
        size_t at = big.regions[i] == NULL ? 0 : run_find(big.regions[i], grains);
        if (at != 0)
            return run_take(big.regions[i], at, grains);
    }
    return NULL;
}

void *kp_big_alloc(size_t bytes)
{
    size_t grains = grains_of(bytes);
    void *piece = NULL;
    if (bytes > SIZE_MAX / 4)
        return NULL;
    if (grains <= GRAINS / 2) {
        pthread_mutex_lock(&big.lock);
        piece = shared_alloc(grains);
        pthread_mutex_unlock(&big.lock);
    }
    return piece != NULL ? piece : malloc(kp_big_round(bytes));
}

/* The place of the region that holds the piece; REGIONS_MAX: malloc's. The lock is held. */
static size_t region_of(const void *piece)
{
    size_t i = 0;
    while (i < REGIONS_MAX && (uintptr_t)piece - (uintptr_t)big.regions[i] >= REGION_BYTES)
        i++;
    return i;
}

static bool is_empty(const struct region *region)
{
    return region != NULL && region->free == GRAINS - 1;
}

/* What is to be given back: a second region without pieces. The lock is held. */
static struct region *shared_free(size_t number, void *piece)
{
    struct region *region = big.regions[number];
    size_t at = (size_t)((char *)piece - (char *)region) / KP_BIG_GRAIN;
    memset(region->used + at, false, region->sizes[at]);
    region->free += region->sizes[at];
    region->hint = KP_MIN(region->hint, (uint32_t)at);
    for (size_t i = 0; is_empty(region) && i < REGIONS_MAX; i++)
        if (i != number && is_empty(big.regions[i])) {
            big.regions[number] = NULL;
            return region;
        }
    return NULL;
}

void kp_big_free(void *piece)
{
    if (piece == NULL)
        return;
    pthread_mutex_lock(&big.lock);
    size_t number = region_of(piece);
    void *rest = piece;
    if (number < REGIONS_MAX)
        rest = shared_free(number, piece);
    pthread_mutex_unlock(&big.lock);
    free(rest);
}

#endif
