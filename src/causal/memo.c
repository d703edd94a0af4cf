/* SPDX-License-Identifier: Apache-2.0
 *
 * Questions about one class of transactions compare with nearly the same neighbours. What one
 * of them cost depends only on the snapshot and on the key, which names everything the walk was
 * told: so it is walked once, and an answer is the same with and without the memo.
 *
 * The memo lives and dies with the snapshot. It is emptied when it is full: what is asked for again
 * comes back, and nothing needs to know what is old.
 */
#include "causal/memo.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define SLOTS     16384u
#define BYTES_MAX ((size_t)48 << 20)

struct entry {
    struct entry *next;
    struct kp_str key;
    uint32_t count;
    struct kpi_cost costs[];
};

struct memo {
    pthread_mutex_t lock;
    struct kp_arena arena;
    struct entry *slots[SLOTS];
};

static void *memo_make(void)
{
    struct memo *memo = calloc(1, sizeof(*memo));
    if (memo == NULL)
        return NULL;
    pthread_mutex_init(&memo->lock, NULL);
    kp_arena_init(&memo->arena, 0);
    return memo;
}

static void memo_free(void *of)
{
    struct memo *memo = of;
    pthread_mutex_destroy(&memo->lock);
    kp_arena_deinit(&memo->arena);
    free(memo);
}

static struct entry **slot_of(struct memo *memo, struct kp_str key)
{
    return &memo->slots[kp_hash64(key.ptr, key.len, 0) % SLOTS];
}

static const struct entry *entry_find(struct memo *memo, struct kp_str key)
{
    const struct entry *entry = *slot_of(memo, key);
    while (entry != NULL && !kp_str_equal(entry->key, key))
        entry = entry->next;
    return entry;
}

bool kpi_memo_get(struct kp_snapshot *snapshot, struct kp_str key, struct kp_arena *arena,
                  struct kpi_list *out)
{
    struct memo *memo = kp_snapshot_memo(snapshot, memo_make, memo_free);
    if (memo == NULL)
        return false;
    pthread_mutex_lock(&memo->lock);
    const struct entry *entry = entry_find(memo, key);
    for (uint32_t i = 0; entry != NULL && i < entry->count; i++) {
        struct kpi_cost *cost = kpi_list_add(out);
        *cost = entry->costs[i];
        cost->object_class = kp_arena_str(arena, cost->object_class);
    }
    pthread_mutex_unlock(&memo->lock);
    return entry != NULL;
}

/* Room for an entry; empties the memo when it is full. */
static struct entry *entry_make(struct memo *memo, struct kp_str key, const struct kpi_list *costs)
{
    if (memo->arena.used_bytes > BYTES_MAX) {
        kp_arena_deinit(&memo->arena);
        kp_arena_init(&memo->arena, 0);
        memset(memo->slots, 0, sizeof(memo->slots));
    }
    struct entry *entry = kp_arena_alloc(
        &memo->arena, sizeof(*entry) + (size_t)costs->count * sizeof(entry->costs[0]));
    if (entry == NULL)
        return NULL;
    entry->count = costs->count;
    entry->key = kp_arena_str(&memo->arena, key);
    for (uint32_t i = 0; i < costs->count; i++) {
        struct kpi_cost *cost = &entry->costs[i];
        *cost = *(const struct kpi_cost *)kpi_list_at(costs, i);
        cost->object_class = kp_arena_str(&memo->arena, cost->object_class);
        if (cost->object_class.ptr == NULL)
            return NULL;
    }
    return entry->key.ptr == NULL ? NULL : entry;
}

void kpi_memo_put(struct kp_snapshot *snapshot, struct kp_str key, const struct kpi_list *costs)
{
    struct memo *memo = kp_snapshot_memo(snapshot, memo_make, memo_free);
    if (memo == NULL || costs->failed)
        return;
    pthread_mutex_lock(&memo->lock);
    struct entry *entry = entry_find(memo, key) == NULL ? entry_make(memo, key, costs) : NULL;
    if (entry != NULL) {
        struct entry **slot = slot_of(memo, key);
        entry->next = *slot;
        *slot = entry;
    }
    pthread_mutex_unlock(&memo->lock);
}
