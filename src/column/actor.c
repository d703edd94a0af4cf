/* SPDX-License-Identifier: Apache-2.0
 *
 * Actors live in fixed blocks that never move, so ids and pointers stay valid while the registry
 * grows; an open-addressing table maps an actor to its id. Strings are interned once.
 */
#include "column/actor.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/hash.h"

#define BLOCK_BITS 12
#define BLOCK_ROWS (1u << BLOCK_BITS)
#define BLOCKS_MAX 65536u /* 2^28 actors */

struct string_table {
    struct kp_str *slots; /* len 0 and ptr NULL = free */
    uint32_t capacity;
    uint32_t count;
};

struct kp_actors {
    struct kp_actor *blocks[BLOCKS_MAX];
    _Atomic uint32_t count;
    kp_actor_id *slots; /* 0 = free: id 0 is never in the table */
    uint32_t slots_capacity;
    struct string_table strings;
    struct kp_arena arena;
};

static struct kp_actor *actor_at(const struct kp_actors *actors, kp_actor_id id)
{
    return &actors->blocks[id >> BLOCK_BITS][id & (BLOCK_ROWS - 1)];
}

static kp_actor_id actor_add(struct kp_actors *actors, const struct kp_actor *actor)
{
    uint32_t id = atomic_load_explicit(&actors->count, memory_order_relaxed);
    uint32_t block = id >> BLOCK_BITS;
    if (block >= BLOCKS_MAX)
        return KP_ACTOR_UNKNOWN;
    if (actors->blocks[block] == NULL) {
        actors->blocks[block] = calloc(BLOCK_ROWS, sizeof(struct kp_actor));
        if (actors->blocks[block] == NULL)
            return KP_ACTOR_UNKNOWN;
    }
    *actor_at(actors, id) = *actor;
    /* pairs with the acquire in kp_actors_count: a reader that sees the id sees the actor */
    atomic_store_explicit(&actors->count, id + 1, memory_order_release);
    return id;
}

kp_status kp_actors_init(struct kp_actors **out)
{
    struct kp_actors *actors = calloc(1, sizeof(*actors));
    if (actors == NULL)
        return KP_NO_MEMORY;
    kp_arena_init(&actors->arena, 0);
    struct kp_actor unknown = {0};
    actor_add(actors, &unknown);
    if (atomic_load(&actors->count) != 1) {
        kp_actors_deinit(actors);
        return KP_NO_MEMORY;
    }
    *out = actors;
    return KP_OK;
}

void kp_actors_deinit(struct kp_actors *actors)
{
    if (actors == NULL)
        return;
    for (uint32_t i = 0; i < BLOCKS_MAX && actors->blocks[i] != NULL; i++)
        free(actors->blocks[i]);
    free(actors->slots);
    free(actors->strings.slots);
    kp_arena_deinit(&actors->arena);
    free(actors);
}

static uint64_t str_hash(struct kp_str text)
{
    return kp_hash64(text.ptr == NULL ? "" : text.ptr, text.len, 0);
}

static bool strings_grow(struct string_table *table)
{
    uint32_t capacity = table->capacity == 0 ? 256 : table->capacity * 2;
    struct kp_str *slots = calloc(capacity, sizeof(*slots));
    if (slots == NULL)
        return false;
    for (uint32_t i = 0; i < table->capacity; i++) {
        if (table->slots[i].ptr == NULL)
            continue;
        uint32_t at = (uint32_t)str_hash(table->slots[i]) & (capacity - 1);
        while (slots[at].ptr != NULL)
            at = (at + 1) & (capacity - 1);
        slots[at] = table->slots[i];
    }
    free(table->slots);
    table->slots = slots;
    table->capacity = capacity;
    return true;
}

static bool string_intern(struct kp_actors *actors, struct kp_str text, struct kp_str *out)
{
    struct string_table *table = &actors->strings;
    if (text.len == 0) {
        *out = (struct kp_str){"", 0};
        return true;
    }
    if (table->count * 2 >= table->capacity && !strings_grow(table))
        return false;
    uint32_t at = (uint32_t)str_hash(text) & (table->capacity - 1);
    while (table->slots[at].ptr != NULL) {
        if (kp_str_equal(table->slots[at], text)) {
            *out = table->slots[at];
            return true;
        }
        at = (at + 1) & (table->capacity - 1);
    }
    table->slots[at] = kp_arena_str(&actors->arena, text);
    if (table->slots[at].ptr == NULL)
        return false;
    table->count++;
    *out = table->slots[at];
    return true;
}

/* After interning, equal strings have equal pointers. */
static uint64_t actor_hash(const struct kp_actor *a)
{
    uint64_t h = kp_hash_mix(((uint64_t)a->tid << 32 | a->pid) ^ (uint64_t)a->start);
    h = kp_hash_mix(h ^ (uint64_t)(uintptr_t)a->comm.ptr);
    h = kp_hash_mix(h ^ (uint64_t)(uintptr_t)a->cgroup.ptr);
    h = kp_hash_mix(h ^ (uint64_t)(uintptr_t)a->boot.ptr);
    return kp_hash_mix(h ^ (uint64_t)(uintptr_t)a->host.ptr ^ (uint64_t)a->kthread);
}

static bool actor_equal(const struct kp_actor *a, const struct kp_actor *b)
{
    return a->tid == b->tid && a->pid == b->pid && a->start == b->start &&
           a->comm.ptr == b->comm.ptr && a->cgroup.ptr == b->cgroup.ptr &&
           a->host.ptr == b->host.ptr && a->boot.ptr == b->boot.ptr && a->kthread == b->kthread;
}

static bool slots_grow(struct kp_actors *actors)
{
    uint32_t capacity = actors->slots_capacity == 0 ? 1024 : actors->slots_capacity * 2;
    kp_actor_id *slots = calloc(capacity, sizeof(*slots));
    if (slots == NULL)
        return false;
    uint32_t count = kp_actors_count(actors);
    for (kp_actor_id id = 1; id < count; id++) {
        uint32_t at = (uint32_t)actor_hash(actor_at(actors, id)) & (capacity - 1);
        while (slots[at] != 0)
            at = (at + 1) & (capacity - 1);
        slots[at] = id;
    }
    free(actors->slots);
    actors->slots = slots;
    actors->slots_capacity = capacity;
    return true;
}

kp_actor_id kp_actors_intern(struct kp_actors *actors, const struct kp_actor *actor)
{
    struct kp_actor key = *actor;
    if (!string_intern(actors, actor->host, &key.host) ||
        !string_intern(actors, actor->boot, &key.boot) ||
        !string_intern(actors, actor->comm, &key.comm) ||
        !string_intern(actors, actor->cgroup, &key.cgroup))
        return KP_ACTOR_UNKNOWN;
    if (kp_actors_count(actors) * 2 >= actors->slots_capacity && !slots_grow(actors))
        return KP_ACTOR_UNKNOWN;
    uint32_t at = (uint32_t)actor_hash(&key) & (actors->slots_capacity - 1);
    while (actors->slots[at] != 0) {
        if (actor_equal(actor_at(actors, actors->slots[at]), &key))
            return actors->slots[at];
        at = (at + 1) & (actors->slots_capacity - 1);
    }
    kp_actor_id id = actor_add(actors, &key);
    actors->slots[at] = id;
    return id;
}

const struct kp_actor *kp_actors_get(const struct kp_actors *actors, kp_actor_id id)
{
    return actor_at(actors, id < kp_actors_count(actors) ? id : KP_ACTOR_UNKNOWN);
}

uint32_t kp_actors_count(const struct kp_actors *actors)
{
    return atomic_load_explicit(&actors->count, memory_order_acquire);
}

bool kp_actor_same_boot(const struct kp_actor *a, const struct kp_actor *b)
{
    return a->boot.len == 0 || b->boot.len == 0 || kp_str_equal(a->boot, b->boot);
}

bool kp_actor_same_thread(const struct kp_actor *a, const struct kp_actor *b)
{
    bool starts_agree = a->start == b->start || a->start == KP_ACTOR_START_UNKNOWN ||
                        b->start == KP_ACTOR_START_UNKNOWN;
    return a->tid == b->tid && starts_agree && kp_str_equal(a->host, b->host) &&
           kp_actor_same_boot(a, b);
}
