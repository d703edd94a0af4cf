/* SPDX-License-Identifier: Apache-2.0
 *
 * Filtering rows of all streams by the spine of their page: time cuts each lane to a stretch, then
 * kinds and actors are tables of bytes, and only what is left is put in order.
 */
#include "storage/filter.h"
#include "storage/spine.h"
#include "storage/spine_rows.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/big.h"

static bool is_actor_key(const struct kpi_filter_key *key)
{
    return key->column.stored == KP_COL_ACTOR && key->column.attr != KP_ATTR_KIND;
}

static uint32_t columns_needed(const struct kpi_filter *filter, const struct kpi_page *page,
                               bool any_order)
{
    bool inside = page->ts_min >= filter->from && page->ts_max <= filter->to;
    uint32_t columns = inside && any_order && !filter->exact ? 0 : 1u << KP_COL_TS;
    for (uint32_t k = 0; k < filter->keys_count; k++)
        if (filter->keys[k].column.attr != KP_ATTR_KIND)
            columns |= 1u << filter->keys[k].column.stored;
    return columns;
}

kp_status kpi_filter_actors(const struct kpi_filter *filter, struct kp_snapshot *snapshot,
                            struct kpi_page *page, bool **out)
{
    size_t count = (size_t)page->actors + 1;
    bool *all = NULL, *one = NULL;
    kp_status status = KP_OK;
    for (uint32_t k = 0; k < filter->keys_count && status == KP_OK; k++) {
        if (!is_actor_key(&filter->keys[k]))
            continue;
        one = malloc(count);
        status =
            one == NULL ? KP_NO_MEMORY : kpi_filter_locals(&filter->keys[k], snapshot, page, one);
        for (size_t i = 0; all != NULL && i < count && status == KP_OK; i++)
            one[i] &= all[i];
        free(all);
        all = one;
    }
    if (status == KP_OK)
        *out = all;
    else
        free(all);
    return status;
}

/* Keys on columns that are numbers as they stand: a CPU, an event's number. */
static void keep_values(const struct kpi_filter_key *key, const struct kpi_spine *spine,
                        struct kpi_rows *rows)
{
    int64_t values[KP_VECTOR_ROWS];
    uint32_t kept = 0;
    for (uint32_t at = 0; at < rows->count; at += KP_VECTOR_ROWS) {
        uint32_t count = KP_MIN(rows->count - at, (uint32_t)KP_VECTOR_ROWS);
        kpi_spine_take(spine, key->column.stored, rows->list + at, count, values);
        for (uint32_t i = 0; i < count; i++) {
            rows->list[kept] = rows->list[at + i];
            kept += kpi_filter_number(key, values[i]);
        }
    }
    rows->count = kept;
}

static void keep_exact(const struct kpi_filter *filter, const int64_t *ts, struct kpi_rows *rows)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < rows->count; i++) {
        kp_time at = ts[rows->list[i]];
        rows->list[kept] = rows->list[i];
        kept += at >= filter->from && at <= filter->to;
    }
    rows->count = kept;
}

static kp_status rows_pick(const struct kpi_filter *filter, struct kpi_page *page,
                           const bool *kinds, const bool *actors, bool any_order,
                           struct kpi_rows *rows)
{
    const struct kpi_spine *spine = page->spine;
    struct kpi_spine_pick pick = {filter->from, filter->to, kinds, actors};
    if (filter->exact) {
        pick.from = KP_TIME_MIN;
        pick.to = KP_TIME_MAX;
    }
    rows->list = kp_big_alloc(((size_t)page->rows + 1) * sizeof(*rows->list));
    if (rows->list == NULL)
        return KP_NO_MEMORY;
    rows->count = kpi_spine_select(spine, &pick, rows->list);
    if (filter->exact)
        keep_exact(filter, kpi_spine_times(spine), rows);
    for (uint32_t k = 0; k < filter->keys_count; k++)
        if (!is_actor_key(&filter->keys[k]) && filter->keys[k].column.attr == KP_ATTR_SELF)
            keep_values(&filter->keys[k], spine, rows);
    return any_order ? KP_OK : kpi_spine_arrange(spine, rows->list, rows->count);
}

kp_status kpi_filter_spine(const struct kpi_filter *filter, struct kp_snapshot *snapshot,
                           struct kpi_page *page, const bool *kinds, bool any_order,
                           struct kpi_rows *out)
{
    struct kpi_rows rows = {0};
    bool *actors = NULL;
    kp_status status = kpi_page_common(snapshot, page, columns_needed(filter, page, any_order));
    if (status == KP_OK)
        status = kpi_filter_actors(filter, snapshot, page, &actors);
    if (status == KP_OK)
        status = rows_pick(filter, page, kinds, actors, any_order, &rows);
    free(actors);
    if (status == KP_OK)
        *out = rows;
    else
        kpi_rows_free(&rows);
    return status;
}
