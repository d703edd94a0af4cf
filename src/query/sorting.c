/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs that the C library sorts in about a millisecond are merged pairwise; limits are looked at
 * between runs and while merging. Ranks are found by Hoare's quickselect ("Algorithm 65: find",
 * 1961) with the median of three, and by sorting when the halves turn out badly.
 */
#include "query/sorting.h"

#include <stdlib.h>

#define RUN_ITEMS   ((size_t)16 * 1024)
#define CHECK_ITEMS 65536u /* merged between two looks at the limits */

struct sorter {
    struct kpi_run *run;
    size_t item_bytes;
    int (*compare)(const void *a, const void *b, void *arg);
    void *arg;
    size_t until_check;
};

static bool merge(struct sorter *sorter, const char *from, size_t left, size_t right, char *to)
{
    size_t size = sorter->item_bytes;
    const char *a = from, *a_end = from + left * size, *b = a_end, *b_end = b + right * size;
    while (a < a_end && b < b_end) {
        bool second = sorter->compare(a, b, sorter->arg) > 0;
        memcpy(to, second ? b : a, size);
        a += second ? 0 : size;
        b += second ? size : 0;
        to += size;
        if (--sorter->until_check > 0)
            continue;
        sorter->until_check = CHECK_ITEMS;
        if (kpi_run_check(sorter->run) != KP_OK)
            return false;
    }
    memcpy(to, a, (size_t)(a_end - a));
    memcpy(to + (a_end - a), b, (size_t)(b_end - b));
    return true;
}

/* One pass: runs of `width` items in pairs from one buffer into the other. */
static bool merge_pass(struct sorter *sorter, const char *from, char *to, size_t count,
                       size_t width)
{
    for (size_t at = 0; at < count; at += 2 * width) {
        size_t left = KP_MIN(width, count - at);
        size_t right = KP_MIN(width, count - at - left);
        size_t offset = at * sorter->item_bytes;
        if (!merge(sorter, from + offset, left, right, to + offset))
            return false;
    }
    return true;
}

bool kpi_sort_items(struct kpi_run *run, void *items, size_t count, size_t item_bytes,
                    int (*compare)(const void *a, const void *b, void *arg), void *arg)
{
    struct sorter sorter = {run, item_bytes, compare, arg, CHECK_ITEMS};
    for (size_t at = 0; at < count; at += RUN_ITEMS) {
        qsort_r((char *)items + at * item_bytes, KP_MIN(RUN_ITEMS, count - at), item_bytes, compare,
                arg);
        if (kpi_run_check(run) != KP_OK)
            return false;
    }
    if (count <= RUN_ITEMS)
        return true;
    char *room = malloc(count * item_bytes); /* as much as the items, for the time of sorting */
    if (room == NULL) {
        kpi_fail_memory(&run->ctx);
        return false;
    }
    char *from = items, *to = room;
    bool good = true;
    for (size_t width = RUN_ITEMS; good && width < count; width *= 2) {
        good = merge_pass(&sorter, from, to, count, width);
        char *swap = from;
        from = to;
        to = swap;
    }
    if (good && from != (char *)items)
        memcpy(items, from, count * item_bytes);
    free(room);
    return good;
}

/* --- ranks --- */

static int compare_numbers(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int64_t median(int64_t a, int64_t b, int64_t c)
{
    int64_t low = KP_MIN(a, b), high = KP_MAX(a, b);
    return KP_MAX(low, KP_MIN(high, c));
}

int64_t kpi_pick_rank(int64_t *values, size_t count, size_t rank)
{
    int64_t low = 0, high = (int64_t)count - 1, wanted = (int64_t)rank;
    for (int rounds = 0; low < high; rounds++) {
        if (rounds == 64) {
            qsort(values + low, (size_t)(high - low + 1), sizeof(*values), compare_numbers);
            break;
        }
        int64_t pivot = median(values[low], values[low + (high - low) / 2], values[high]);
        int64_t i = low, j = high;
        while (i <= j) {
            while (values[i] < pivot)
                i++;
            while (values[j] > pivot)
                j--;
            if (i > j)
                break;
            int64_t swap = values[i];
            values[i++] = values[j];
            values[j--] = swap;
        }
        if (wanted <= j)
            high = j;
        else if (wanted >= i)
            low = i;
        else
            break;
    }
    return values[rank];
}
