/* SPDX-License-Identifier: Apache-2.0
 *
 * The order of a page is that of (time, place). Places of a lane ascend in both, so any ascending
 * list of places is a run for each lane, and putting it in order is merging those runs.
 */
#include "storage/spine_int.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/big.h"

static inline bool merge_both(const struct kpi_merge *merge)
{
    return merge->a < merge->a_end && merge->b < merge->b_end;
}

/* Places of the second run may be less only in merges of streams. */
static inline void merge_step(const int64_t *ts, struct kpi_merge *merge)
{
    uint32_t a = *merge->a, b = *merge->b;
    bool second = (ts[b] < ts[a]) | ((ts[b] == ts[a]) & (b < a));
    *merge->to++ = second ? b : a;
    merge->a += !second;
    merge->b += second;
}

static void merge_finish(const int64_t *ts, struct kpi_merge *merge)
{
    while (merge_both(merge))
        merge_step(ts, merge);
    size_t a = (size_t)(merge->a_end - merge->a), b = (size_t)(merge->b_end - merge->b);
    memcpy(merge->to, merge->a, a * sizeof(*merge->to));
    memcpy(merge->to + a, merge->b, b * sizeof(*merge->to));
}

/* How many of the first `half` merged places come from the first run. */
static size_t merge_cut(const int64_t *ts, const struct kpi_merge *merge, size_t half)
{
    size_t b_count = (size_t)(merge->b_end - merge->b);
    size_t low = half > b_count ? half - b_count : 0;
    size_t high = KP_MIN(half, (size_t)(merge->a_end - merge->a));
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        uint32_t a = merge->a[mid], b = merge->b[half - mid - 1];
        bool second = (ts[b] < ts[a]) | ((ts[b] == ts[a]) & (b < a));
        if (second)
            high = mid;
        else
            low = mid + 1;
    }
    return low;
}

/* Merging waits for each comparison before the next; two halves at once wait half as often. */
void kpi_runs_merge(const int64_t *ts, struct kpi_merge merge)
{
    size_t half = ((size_t)(merge.a_end - merge.a) + (size_t)(merge.b_end - merge.b)) / 2;
    size_t cut = merge_cut(ts, &merge, half);
    struct kpi_merge low = merge, high = merge;
    low.a_end = high.a = merge.a + cut;
    low.b_end = high.b = merge.b + (half - cut);
    high.to = merge.to + half;
    while (merge_both(&low) && merge_both(&high)) {
        merge_step(ts, &low);
        merge_step(ts, &high);
    }
    merge_finish(ts, &low);
    merge_finish(ts, &high);
}

/* Where the places of each lane begin among `count` ascending ones; returns how many lanes have
 * any. ends[i] is the end of the i-th. */
static uint32_t runs_find(const struct kpi_spine *spine, const uint32_t *places, uint32_t count,
                          uint32_t *ends)
{
    uint32_t runs = 0, begin = 0;
    for (uint32_t lane = 0; lane < spine->lanes_count && begin < count; lane++) {
        uint32_t low = begin, high = count;
        while (low < high) {
            uint32_t mid = low + (high - low) / 2;
            if (places[mid] < spine->lanes[lane].end)
                low = mid + 1;
            else
                high = mid;
        }
        if (low > begin)
            ends[runs++] = low;
        begin = low;
    }
    return runs;
}

/* Merges runs pair by pair until there is one. */
kp_status kpi_places_order(const struct kpi_spine *spine, uint32_t *places, uint32_t count)
{
    uint32_t ends[KPI_SPINE_LANES_MAX];
    uint32_t runs = runs_find(spine, places, count, ends);
    uint32_t *other = runs > 1 ? kp_big_alloc(count * sizeof(*other)) : NULL;
    uint32_t *from = places, *to = other;
    if (runs > 1 && other == NULL)
        return KP_NO_MEMORY;
    while (runs > 1) {
        uint32_t begin = 0;
        for (uint32_t i = 0; i < runs; i += 2) {
            uint32_t middle = ends[i], end = i + 1 < runs ? ends[i + 1] : middle;
            kpi_runs_merge(spine->ts, (struct kpi_merge){from + begin, from + middle, from + middle,
                                                         from + end, to + begin});
            ends[i / 2] = end;
            begin = end;
        }
        runs = (runs + 1) / 2;
        uint32_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != places)
        memcpy(places, from, count * sizeof(*places));
    kp_big_free(other);
    return KP_OK;
}
