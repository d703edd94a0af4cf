/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/big.h"

#define CHUNK_BYTES_MIN ((size_t)64 * 1024)
#define CHUNK_BYTES_MAX ((size_t)4 * 1024 * 1024)
#define CHUNK_BYTES_BIG ((size_t)128 * 1024) /* of an arena of columns: from here on big pieces */
#define ALIGN_BYTES     ((size_t)16)

struct kp_arena_chunk {
    struct kp_arena_chunk *next;
    size_t capacity; /* bytes after this header */
    size_t used;
    size_t pad; /* keeps the payload 16-byte aligned */
};

void kp_arena_init(struct kp_arena *arena, size_t cap_bytes)
{
    memset(arena, 0, sizeof(*arena));
    arena->cap_bytes = cap_bytes;
}

static bool chunk_is_big(const struct kp_arena *arena, size_t capacity)
{
    return arena->columns && capacity >= CHUNK_BYTES_BIG;
}

void kp_arena_deinit(struct kp_arena *arena)
{
    struct kp_arena_chunk *chunk = arena->chunk;
    while (chunk != NULL) {
        struct kp_arena_chunk *next = chunk->next;
        if (chunk_is_big(arena, chunk->capacity))
            kp_big_free(chunk);
        else
            free(chunk);
        chunk = next;
    }
    arena->chunk = NULL;
    arena->used_bytes = 0;
}

/* A chunk with room for size, larger than the one before. */
static struct kp_arena_chunk *chunk_make(const struct kp_arena *arena, size_t size)
{
    size_t grown = arena->chunk == NULL ? CHUNK_BYTES_MIN : arena->chunk->capacity * 2;
    size_t capacity = KP_MAX(size, KP_MIN(grown, CHUNK_BYTES_MAX));
    struct kp_arena_chunk *chunk;
    if (chunk_is_big(arena, capacity)) {
        capacity = kp_big_round(sizeof(*chunk) + capacity) - sizeof(*chunk);
        chunk = kp_big_alloc(sizeof(*chunk) + capacity);
    } else {
        chunk = malloc(sizeof(*chunk) + capacity);
    }
    if (chunk == NULL)
        return NULL;
    *chunk = (struct kp_arena_chunk){.next = arena->chunk, .capacity = capacity};
    return chunk;
}

static void *refuse(struct kp_arena *arena, size_t size_bytes)
{
    arena->refused_bytes = size_bytes;
    return NULL;
}

void *kp_arena_alloc(struct kp_arena *arena, size_t size_bytes)
{
    if (size_bytes > SIZE_MAX / 4)
        return refuse(arena, size_bytes);
    size_t size = (size_bytes + ALIGN_BYTES - 1) & ~(ALIGN_BYTES - 1);
    if (arena->cap_bytes != 0 && size > arena->cap_bytes - arena->used_bytes)
        return refuse(arena, size_bytes);
    struct kp_arena_chunk *chunk = arena->chunk;
    if (chunk == NULL || chunk->capacity - chunk->used < size) {
        chunk = chunk_make(arena, size);
        if (chunk == NULL)
            return refuse(arena, size_bytes);
        arena->chunk = chunk;
    }
    void *at = (char *)(chunk + 1) + chunk->used;
    chunk->used += size;
    arena->used_bytes += size;
    return at;
}

void *kp_arena_zalloc(struct kp_arena *arena, size_t count, size_t item_bytes)
{
    size_t size = 0;
    if (__builtin_mul_overflow(count, item_bytes, &size))
        return NULL;
    void *at = kp_arena_alloc(arena, size);
    if (at != NULL)
        memset(at, 0, size);
    return at;
}

struct kp_str kp_arena_str(struct kp_arena *arena, struct kp_str text)
{
    char *copy = kp_arena_alloc(arena, (size_t)text.len + 1);
    if (copy == NULL)
        return (struct kp_str){NULL, 0};
    if (text.len > 0)
        memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    return (struct kp_str){copy, text.len};
}

kp_status kp_arena_error(const struct kp_arena *arena, struct kp_error *err)
{
    const char *owner = arena->owner == NULL ? "query" : arena->owner;
    kp_error_set(
        err, KP_LIMIT,
        "%s needs more memory than the query's limit of %zu bytes: %zu more than the %zu that "
        "it has",
        owner, arena->cap_bytes, arena->refused_bytes, arena->used_bytes);
    kp_error_hint(err, "narrow the time range or the grouping, or raise the memory limit");
    return KP_LIMIT;
}
