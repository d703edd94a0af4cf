/* SPDX-License-Identifier: Apache-2.0
 *
 * An open-addressing table over hashed keys decides which rows are equal. Most rows never get
 * there: keys that are numbers or lasting codes are looked up in a memo whose hashes are made
 * column by column, and a single code is an index.
 */
#include "query/groups.h"

#include "base/assert.h"
#include "base/hash.h"
#include "query/sorting.h"

#define CODES_MAX (1u << 18) /* numbers below are looked up in a table of all of them */
#define TABLE_MIN 1024u
#define SLOT_WORK 16u /* ns to move one */

bool kpi_groups_init(struct kpi_groups *groups, struct kpi_ctx *ctx, const enum kp_type *types,
                     uint32_t keys_count)
{
    struct kpi_groups_memo *memo = &groups->memo;
    *groups = (struct kpi_groups){.ctx = ctx, .keys_count = keys_count};
    kpi_rowset_init(&groups->rows, ctx, types, NULL, keys_count);
    memo->dicts = kpi_new(ctx, keys_count, sizeof(*memo->dicts));
    memo->values = kpi_new(ctx, (size_t)keys_count * KP_VECTOR_ROWS, sizeof(*memo->values));
    memo->hashes = kpi_new(ctx, KP_VECTOR_ROWS, sizeof(*memo->hashes));
    return ctx->status == KP_OK;
}

/* --- the table --- */

static bool grow_table(struct kpi_groups *groups)
{
    uint32_t capacity = KP_MAX(groups->capacity * 2, TABLE_MIN);
    uint32_t *slots = kpi_new(groups->ctx, capacity, sizeof(*slots));
    uint64_t *hashes = kpi_new(groups->ctx, capacity, sizeof(*hashes));
    if (slots == NULL || hashes == NULL)
        return false;
    for (uint32_t g = 0; g < groups->rows.rows; g++) {
        if (!kpi_go_on(groups->ctx, SLOT_WORK))
            return false;
        hashes[g] = groups->hashes[g];
        uint32_t at = (uint32_t)hashes[g] & (capacity - 1);
        while (slots[at] != 0)
            at = (at + 1) & (capacity - 1);
        slots[at] = g + 1;
    }
    groups->slots = slots;
    groups->hashes = hashes;
    groups->capacity = capacity;
    return true;
}

static bool group_equals(const struct kpi_groups *groups, uint32_t group,
                         const struct kp_vec *const *keys, uint32_t row)
{
    for (uint32_t k = 0; k < groups->keys_count; k++)
        if (!kpi_same(kpi_rowset_vec(&groups->rows, group, k), group & 1023, keys[k], row))
            return false;
    return true;
}

uint32_t kpi_groups_new(struct kpi_groups *groups)
{
    return kpi_rowset_grow(&groups->rows);
}

uint32_t kpi_groups_find(struct kpi_groups *groups, const struct kp_vec *const *keys, uint32_t row)
{
    if (groups->rows.rows * 2 >= groups->capacity && !grow_table(groups))
        return UINT32_MAX;
    uint64_t hash = 0;
    for (uint32_t k = 0; k < groups->keys_count; k++)
        hash = kpi_hash(keys[k], row, hash);
    uint32_t at = (uint32_t)hash & (groups->capacity - 1);
    for (; groups->slots[at] != 0; at = (at + 1) & (groups->capacity - 1)) {
        uint32_t group = groups->slots[at] - 1;
        if (groups->hashes[group] == hash && group_equals(groups, group, keys, row))
            return group;
    }
    uint32_t group = kpi_groups_new(groups);
    if (group == UINT32_MAX || !kpi_rowset_put(&groups->rows, group, keys, row))
        return UINT32_MAX;
    groups->slots[at] = group + 1;
    groups->hashes[group] = hash;
    return group;
}

/* --- the memo --- */

static bool is_cheap(const struct kp_vec *key)
{
    bool number = kp_type_phys(key->type) == KP_PHYS_I64 && key->dict == NULL;
    return key->nulls == NULL && (number || (key->dict != NULL && key->dict->lasting));
}

/* Empties the memo when the keys come from other dictionaries than before. */
static void memo_check(struct kpi_groups *groups, const struct kp_vec *const *keys)
{
    struct kpi_groups_memo *memo = &groups->memo;
    bool same = true;
    for (uint32_t k = 0; k < groups->keys_count; k++) {
        same &= memo->dicts[k] == keys[k]->dict;
        memo->dicts[k] = keys[k]->dict;
    }
    if (same)
        return;
    if (memo->capacity > 0)
        memset(memo->groups, 0, memo->capacity * sizeof(*memo->groups));
    if (memo->by_code_capacity > 0)
        memset(memo->by_code, 0, memo->by_code_capacity * sizeof(*memo->by_code));
    memo->used = 0;
}

static bool memo_codes(struct kpi_groups *groups, uint32_t count)
{
    struct kpi_groups_memo *memo = &groups->memo;
    if (count <= memo->by_code_capacity)
        return true;
    uint32_t *by_code = kpi_new(groups->ctx, (size_t)count * 2, sizeof(*by_code));
    if (by_code == NULL)
        return false;
    for (uint32_t i = 0; i < memo->by_code_capacity; i++)
        by_code[i] = memo->by_code[i];
    memo->by_code = by_code;
    memo->by_code_capacity = count * 2;
    return true;
}

/* True when all keys are small numbers, which then serve as codes; *out_count: beyond the largest.
 */
static bool are_codes(const struct kp_vec *key, const struct kp_batch *batch, uint32_t *out_count)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < batch->rows && batch->sel == NULL; i++)
        most |= (uint64_t)key->i64[i];
    for (uint32_t i = 0; i < batch->sel_count && batch->sel != NULL; i++)
        most |= (uint64_t)key->i64[batch->sel[i]];
    *out_count = (uint32_t)KP_MIN(most, (uint64_t)CODES_MAX) + 1;
    return most < CODES_MAX;
}

static bool assign_number(struct kpi_groups *groups, const struct kp_vec *const *keys,
                          const struct kp_batch *batch, uint32_t count, uint32_t *group_of)
{
    const int64_t *numbers = keys[0]->i64;
    if (!memo_codes(groups, count))
        return false;
    uint32_t *by_code = groups->memo.by_code;
    for (uint32_t i = 0; i < kp_batch_count(batch); i++) {
        uint32_t row = kp_batch_row(batch, i);
        uint32_t *known = &by_code[numbers[row]];
        if (*known == 0) {
            uint32_t group = kpi_groups_find(groups, keys, row);
            if (group == UINT32_MAX)
                return false;
            *known = group + 1;
        }
        group_of[i] = *known - 1;
    }
    return true;
}

static bool assign_code(struct kpi_groups *groups, const struct kp_vec *const *keys,
                        const struct kp_batch *batch, uint32_t *group_of)
{
    const uint32_t *codes = keys[0]->codes;
    if (!memo_codes(groups, keys[0]->dict->count))
        return false;
    uint32_t *by_code = groups->memo.by_code;
    for (uint32_t i = 0; i < kp_batch_count(batch); i++) {
        uint32_t row = kp_batch_row(batch, i);
        uint32_t *known = &by_code[codes[row]];
        if (*known == 0) {
            uint32_t group = kpi_groups_find(groups, keys, row);
            if (group == UINT32_MAX)
                return false;
            *known = group + 1;
        }
        group_of[i] = *known - 1;
    }
    return true;
}

static uint64_t memo_hash(uint64_t seed, int64_t value)
{
    uint64_t x = (seed ^ (uint64_t)value) * 0x9e3779b97f4a7c15ull;
    return x ^ (x >> 32);
}

/* Keys of the batch row by row, and their hashes. */
static void memo_load(struct kpi_groups *groups, const struct kp_vec *const *keys,
                      const struct kp_batch *batch)
{
    struct kpi_groups_memo *memo = &groups->memo;
    uint32_t count = kp_batch_count(batch), width = groups->keys_count;
    memset(memo->hashes, 0, count * sizeof(*memo->hashes));
    for (uint32_t k = 0; k < width; k++) {
        const struct kp_vec *key = keys[k];
        for (uint32_t i = 0; i < count; i++) {
            uint32_t row = kp_batch_row(batch, i);
            int64_t value = key->dict != NULL ? (int64_t)key->codes[row] : key->i64[row];
            memo->values[i * width + k] = value;
            memo->hashes[i] = memo_hash(memo->hashes[i], value);
        }
    }
}

static bool same_values(const int64_t *a, const int64_t *b, uint32_t count)
{
    for (uint32_t k = 0; k < count; k++)
        if (a[k] != b[k])
            return false;
    return true;
}

/* Room for the groups of one more batch; what was known is found again when it grows. */
static bool memo_reserve(struct kpi_groups *groups)
{
    struct kpi_groups_memo *memo = &groups->memo;
    uint32_t width = groups->keys_count;
    if ((memo->used + KP_VECTOR_ROWS) * 2 <= memo->capacity)
        return true;
    uint32_t capacity = KP_MAX(memo->capacity * 2, TABLE_MIN * 4);
    memo->keys = kpi_new(groups->ctx, (size_t)capacity * width, sizeof(*memo->keys));
    memo->groups = kpi_new(groups->ctx, capacity, sizeof(*memo->groups));
    memo->used = 0;
    memo->capacity = memo->keys == NULL || memo->groups == NULL ? 0 : capacity;
    return memo->capacity > 0;
}

static bool assign_cheap(struct kpi_groups *groups, const struct kp_vec *const *keys,
                         const struct kp_batch *batch, uint32_t *group_of)
{
    struct kpi_groups_memo *memo = &groups->memo;
    uint32_t width = groups->keys_count;
    if (!memo_reserve(groups))
        return false;
    memo_load(groups, keys, batch);
    for (uint32_t i = 0; i < kp_batch_count(batch); i++) {
        const int64_t *values = &memo->values[i * width];
        uint32_t at = (uint32_t)memo->hashes[i] & (memo->capacity - 1);
        while (memo->groups[at] != 0 &&
               !same_values(&memo->keys[(size_t)at * width], values, width))
            at = (at + 1) & (memo->capacity - 1);
        if (memo->groups[at] == 0) {
            uint32_t group = kpi_groups_find(groups, keys, kp_batch_row(batch, i));
            if (group == UINT32_MAX)
                return false;
            memcpy(&memo->keys[(size_t)at * width], values, width * sizeof(*values));
            memo->groups[at] = group + 1;
            memo->used++;
        }
        group_of[i] = memo->groups[at] - 1;
    }
    return true;
}

bool kpi_groups_assign(struct kpi_groups *groups, const struct kp_vec *const *keys,
                       const struct kp_batch *batch, uint32_t *group_of)
{
    bool cheap = true;
    for (uint32_t k = 0; k < groups->keys_count; k++)
        cheap &= is_cheap(keys[k]);
    if (groups->keys_count == 0 && groups->rows.rows == 0 && kpi_groups_new(groups) == UINT32_MAX)
        return false;
    if (groups->keys_count == 0) {
        memset(group_of, 0, kp_batch_count(batch) * sizeof(*group_of));
        return true;
    }
    if (cheap) {
        memo_check(groups, keys);
        uint32_t count;
        if (groups->keys_count == 1 && keys[0]->dict != NULL)
            return assign_code(groups, keys, batch, group_of);
        if (groups->keys_count == 1 && are_codes(keys[0], batch, &count))
            return assign_number(groups, keys, batch, count, group_of);
        return assign_cheap(groups, keys, batch, group_of);
    }
    for (uint32_t i = 0; i < kp_batch_count(batch); i++) {
        group_of[i] = kpi_groups_find(groups, keys, kp_batch_row(batch, i));
        if (group_of[i] == UINT32_MAX)
            return false;
    }
    return true;
}

/* --- order --- */

static int compare_groups(const void *a, const void *b, void *ctx)
{
    const struct kpi_groups *groups = ctx;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    for (uint32_t k = 0; k < groups->keys_count; k++) {
        const struct kp_vec *vec_x = kpi_rowset_vec(&groups->rows, x, k);
        const struct kp_vec *vec_y = kpi_rowset_vec(&groups->rows, y, k);
        bool null_x = kp_vec_null(vec_x, x & 1023), null_y = kp_vec_null(vec_y, y & 1023);
        int order = null_x || null_y ? (int)null_x - (int)null_y
                                     : kpi_compare(vec_x, x & 1023, vec_y, y & 1023);
        if (order != 0)
            return order;
    }
    return (x > y) - (x < y);
}

uint32_t *kpi_groups_sorted(struct kpi_groups *groups, struct kpi_run *run)
{
    uint32_t *order = kpi_new(groups->ctx, groups->rows.rows, sizeof(*order));
    for (uint32_t g = 0; order != NULL && g < groups->rows.rows; g++)
        order[g] = g;
    bool sorted = order != NULL && kpi_sort_items(run, order, groups->rows.rows, sizeof(*order),
                                                  compare_groups, groups);
    return sorted ? order : NULL;
}
