/* SPDX-License-Identifier: Apache-2.0
 *
 * Arena: bump allocation with a hard cap and one release. Every query owns one; its tree, plan,
 * hash tables and strings live there. Not thread-safe.
 */
#ifndef KP_BASE_ARENA_H
#define KP_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct kp_arena_chunk;

/* Ends the work that an arena is for before it is done. */
struct kp_stop {
    /* OK: go on. Else why not, in *err. Called every now and then by whoever works long. */
    kp_status (*check)(void *ctx, struct kp_error *err);
    void *ctx;
};

struct kp_arena {
    struct kp_arena_chunk *chunk; /* newest first */
    size_t used_bytes;            /* handed out since init, rounded to alignment */
    size_t cap_bytes;             /* hard limit over all chunks; 0 = none */
    size_t refused_bytes;         /* last asked for in vain */
    bool columns;                 /* holds columns: chunks of huge pages (big.h); set when empty */
    const char *owner;            /* who asked last; names the operator in a LIMIT error */
    const struct kp_stop *stop;   /* NULL = nothing does */
};

void kp_arena_init(struct kp_arena *arena, size_t cap_bytes);
/* Frees everything; the arena is usable again afterwards with the same cap. Zeroed arena is legal.
 */
void kp_arena_deinit(struct kp_arena *arena);
/* 16-byte aligned, not zeroed; NULL when the cap or the machine's memory is exceeded. */
void *kp_arena_alloc(struct kp_arena *arena, size_t size_bytes);
/* The same, zeroed, with multiplication overflow checked. */
void *kp_arena_zalloc(struct kp_arena *arena, size_t count, size_t item_bytes);
/* Copies text; the copy is NUL-terminated. {NULL,0} with len > 0 asked means out of memory. */
struct kp_str kp_arena_str(struct kp_arena *arena, struct kp_str text);
/* Fills err with LIMIT or NO_MEMORY naming arena->owner. Returns the code. */
kp_status kp_arena_error(const struct kp_arena *arena, struct kp_error *err);

#endif
