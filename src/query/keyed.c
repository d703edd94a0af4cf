/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows by key: open addressing over the first rows of chains, at most half full.
 */
#include "query/keyed.h"

#define SLOTS_MIN 256u
#define SLOT_WORK 16u /* ns to move one */

void kpi_keyed_init(struct kpi_keyed *keyed, struct kpi_ctx *ctx, const enum kp_type *types,
                    const bool *keep, uint32_t cols, uint32_t keys_count)
{
    *keyed = (struct kpi_keyed){.keys_at = cols - keys_count, .keys_count = keys_count};
    kpi_rowset_init(&keyed->rows, ctx, types, keep, cols);
}

static uint64_t hash_keys(const struct kp_vec *const *keys, uint32_t count, uint32_t row)
{
    uint64_t hash = 0;
    for (uint32_t k = 0; k < count; k++)
        hash = kpi_hash(keys[k], row, hash);
    return hash;
}

static bool same_keys(const struct kpi_keyed *keyed, uint32_t at, const struct kp_vec *const *keys,
                      uint32_t row)
{
    for (uint32_t k = 0; k < keyed->keys_count; k++)
        if (!kpi_same(kpi_rowset_vec(&keyed->rows, at, keyed->keys_at + k), at & 1023, keys[k],
                      row))
            return false;
    return true;
}

static uint64_t *hash_of(const struct kpi_keyed *keyed, uint32_t first)
{
    return &keyed->links[first / KPI_LINKS_ROWS]->hashes[first % KPI_LINKS_ROWS];
}

static uint32_t *last_of(const struct kpi_keyed *keyed, uint32_t first)
{
    return &keyed->links[first / KPI_LINKS_ROWS]->last[first % KPI_LINKS_ROWS];
}

static uint32_t *next_of(const struct kpi_keyed *keyed, uint32_t row)
{
    return &keyed->links[row / KPI_LINKS_ROWS]->next[row % KPI_LINKS_ROWS];
}

/* The slot of a key: its chain's, or the free one where it belongs. */
static uint32_t slot_of(const struct kpi_keyed *keyed, const struct kp_vec *const *keys,
                        uint32_t row, uint64_t hash)
{
    uint32_t mask = keyed->capacity - 1, at = (uint32_t)hash & mask;
    for (; keyed->slots[at] != 0; at = (at + 1) & mask) {
        uint32_t first = keyed->slots[at] - 1;
        if (*hash_of(keyed, first) == hash && same_keys(keyed, first, keys, row))
            break;
    }
    return at;
}

uint32_t kpi_keyed_find(const struct kpi_keyed *keyed, const struct kp_vec *const *keys,
                        uint32_t row)
{
    if (keyed->chains == 0)
        return 0;
    return keyed->slots[slot_of(keyed, keys, row, hash_keys(keys, keyed->keys_count, row))];
}

static bool grow_slots(struct kpi_keyed *keyed)
{
    uint32_t capacity = keyed->capacity == 0 ? SLOTS_MIN : keyed->capacity * 2;
    uint32_t *slots = kpi_new(keyed->rows.ctx, capacity, sizeof(*slots));
    if (slots == NULL)
        return false;
    for (uint32_t i = 0; i < keyed->capacity; i++) {
        if (!kpi_go_on(keyed->rows.ctx, SLOT_WORK))
            return false;
        if (keyed->slots[i] == 0)
            continue;
        uint32_t at = (uint32_t)*hash_of(keyed, keyed->slots[i] - 1) & (capacity - 1);
        while (slots[at] != 0)
            at = (at + 1) & (capacity - 1);
        slots[at] = keyed->slots[i];
    }
    keyed->slots = slots;
    keyed->capacity = capacity;
    return true;
}

static bool grow_links(struct kpi_keyed *keyed)
{
    struct kpi_ctx *ctx = keyed->rows.ctx;
    if (keyed->links_count == keyed->links_room) {
        uint32_t room = keyed->links_room == 0 ? 16 : keyed->links_room * 2;
        struct kpi_links **links = kpi_new(ctx, room, sizeof(struct kpi_links *));
        if (links == NULL)
            return false;
        for (uint32_t i = 0; i < keyed->links_count; i++)
            links[i] = keyed->links[i];
        keyed->links = links;
        keyed->links_room = room;
    }
    struct kpi_links *page = kpi_new(ctx, 1, sizeof(*page));
    if (page != NULL)
        keyed->links[keyed->links_count++] = page;
    return page != NULL;
}

bool kpi_keyed_add(struct kpi_keyed *keyed, const struct kp_vec *const *vecs, uint32_t row)
{
    if (keyed->chains * 2 >= keyed->capacity && !grow_slots(keyed))
        return false;
    if (keyed->rows.rows == keyed->links_count * KPI_LINKS_ROWS && !grow_links(keyed))
        return false;
    const struct kp_vec *const *keys = vecs + keyed->keys_at;
    uint64_t hash = hash_keys(keys, keyed->keys_count, row);
    uint32_t slot = slot_of(keyed, keys, row, hash);
    uint32_t at = kpi_rowset_grow(&keyed->rows);
    if (at == UINT32_MAX || !kpi_rowset_put(&keyed->rows, at, vecs, row))
        return false;
    if (keyed->slots[slot] == 0) {
        keyed->slots[slot] = at + 1;
        *hash_of(keyed, at) = hash;
        *last_of(keyed, at) = at;
        keyed->chains++;
        return true;
    }
    uint32_t first = keyed->slots[slot] - 1;
    *next_of(keyed, *last_of(keyed, first)) = at + 1;
    *last_of(keyed, first) = at;
    return true;
}

bool kpi_keyed_null(const struct kp_vec *const *keys, uint32_t count, uint32_t row)
{
    for (uint32_t k = 0; k < count; k++)
        if (kp_vec_null(keys[k], row))
            return true;
    return false;
}
