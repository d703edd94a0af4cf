/* SPDX-License-Identifier: Apache-2.0
 *
 * Closed frequent patterns by extension that keeps a prefix (T. Uno et al., LCM, 2003): from a
 * closed pattern, each value of a later column is tried; what it closes to is new exactly when no
 * value of an earlier column joins. So every pattern is found once, and nothing is remembered but
 * the path to it.
 */
#include "query/patterns.h"

#include "query/op.h"

#define PATTERNS_MAX 10000

static void intersect(const struct kpi_mine *mine, const uint64_t *a, const uint64_t *b,
                      uint64_t *out)
{
    for (size_t w = 0; w < mine->words; w++)
        out[w] = a[w] & b[w];
}

static void count_rows(const struct kpi_mine *mine, const uint64_t *rows, uint64_t out[KPI_SIDES])
{
    out[0] = out[1] = 0;
    for (size_t w = 0; w < mine->words; w++) {
        uint64_t second = mine->side == NULL ? 0 : rows[w] & mine->side[w];
        out[0] += (uint64_t)__builtin_popcountll(rows[w] & ~second);
        out[1] += (uint64_t)__builtin_popcountll(second);
    }
}

static bool is_frequent(const struct kpi_mine *mine, const uint64_t count[KPI_SIDES])
{
    return count[0] >= mine->least[0] || (mine->side != NULL && count[1] >= mine->least[1]);
}

static bool holds_all(const struct kpi_mine *mine, const struct kpi_item_rows *item,
                      const uint64_t *rows)
{
    for (size_t w = 0; w < mine->words; w++)
        if ((rows[w] & ~item->rows[w]) != 0)
            return false;
    return true;
}

/* Adds the values that all rows have; false when one of them is of a column before `from`. */
static bool close_pattern(const struct kpi_mine *mine, struct kpi_pattern *pattern, uint32_t from)
{
    for (uint32_t i = 0; i < mine->items_count; i++) {
        const struct kpi_item_rows *item = &mine->items[i];
        if (pattern->values[item->column] != NULL || !holds_all(mine, item, pattern->rows))
            continue;
        if (item->column < from)
            return false;
        pattern->values[item->column] = item;
        pattern->values_count++;
    }
    return true;
}

static struct kpi_pattern *new_pattern(struct kpi_mine *mine, const struct kpi_pattern *like)
{
    struct kpi_pattern *pattern = kpi_new(mine->ctx, 1, sizeof(*pattern));
    const struct kpi_item_rows **values =
        kpi_new(mine->ctx, mine->columns, sizeof(struct kpi_item_rows *));
    uint64_t *rows = kpi_new(mine->ctx, mine->words, sizeof(*rows));
    if (pattern == NULL || values == NULL || rows == NULL)
        return NULL;
    *pattern = (struct kpi_pattern){.values = values, .rows = rows};
    if (like != NULL) {
        memcpy(values, like->values, mine->columns * sizeof(*values));
        pattern->values_count = like->values_count;
    }
    return pattern;
}

static bool keep_pattern(struct kpi_mine *mine, struct kpi_pattern *pattern)
{
    if (mine->count == PATTERNS_MAX) {
        kpi_fail(mine->ctx, KP_LIMIT, mine->place, "more than %d patterns", PATTERNS_MAX);
        kpi_hint(mine->ctx, "raise the threshold, or project fewer columns before");
        return false;
    }
    if (mine->count == mine->capacity) {
        uint32_t capacity = mine->capacity == 0 ? 64 : mine->capacity * 2;
        struct kpi_pattern **list = kpi_new(mine->ctx, capacity, sizeof(struct kpi_pattern *));
        if (list == NULL)
            return false;
        for (uint32_t i = 0; i < mine->count; i++)
            list[i] = mine->patterns[i];
        mine->patterns = list;
        mine->capacity = capacity;
    }
    pattern->number = mine->count;
    mine->patterns[mine->count++] = pattern;
    return kpi_run_check(mine->run) == KP_OK;
}

/* One more value; NULL when that is no pattern, or one found elsewhere. `spare` is used up only
 * when it is one. */
static bool extend(struct kpi_mine *mine, const struct kpi_pattern *pattern,
                   const struct kpi_item_rows *item, struct kpi_pattern *spare)
{
    intersect(mine, pattern->rows, item->rows, spare->rows);
    count_rows(mine, spare->rows, spare->count);
    if (!is_frequent(mine, spare->count))
        return false;
    memcpy(spare->values, pattern->values, mine->columns * sizeof(*spare->values));
    spare->values[item->column] = item;
    spare->values_count = pattern->values_count + 1;
    return close_pattern(mine, spare, item->column);
}

/* Depth is at most the number of columns. */
static bool grow(struct kpi_mine *mine, const struct kpi_pattern *pattern, uint32_t from)
{
    struct kpi_pattern *spare = NULL;
    for (uint32_t i = 0; i < mine->items_count; i++) {
        const struct kpi_item_rows *item = &mine->items[i];
        if (item->column < from || pattern->values[item->column] != NULL)
            continue;
        if (spare == NULL && (spare = new_pattern(mine, pattern)) == NULL)
            return false;
        if (!extend(mine, pattern, item, spare))
            continue;
        if (!keep_pattern(mine, spare) || !grow(mine, spare, item->column + 1))
            return false;
        spare = NULL;
    }
    return true;
}

bool kpi_mine_patterns(struct kpi_mine *mine)
{
    struct kpi_pattern *all = new_pattern(mine, NULL);
    if (all == NULL)
        return false;
    for (uint32_t i = 0; i < mine->items_count; i++)
        for (size_t w = 0; w < mine->words; w++)
            all->rows[w] |= mine->items[i].rows[w];
    if (mine->items_count == 0)
        return true;
    count_rows(mine, all->rows, all->count);
    close_pattern(mine, all, 0);
    if (all->values_count > 0 && !keep_pattern(mine, all))
        return false;
    return grow(mine, all, 0);
}
