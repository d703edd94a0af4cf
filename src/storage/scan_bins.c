/* SPDX-License-Identifier: Apache-2.0
 *
 * Counting by bins of time. A page of a busy machine holds less than a second, so most lie in one
 * bin or a few: the first are counted by the footer, of the others a bin is a stretch of each CPU's
 * times, found by two searches. Only a page with about as many bins as rows is walked row by row.
 */
#include "base/assert.h"
#include "storage/scan_int.h"

#define ROWS_A_BIN 16u /* searching costs about as much as walking so many rows */

struct bins {
    struct kp_scan *scan;
    kp_dur width;
    bool (*each)(void *ctx, kp_time begin, uint64_t rows);
    void *ctx;
    bool stop;
};

static kp_time bin_of(const struct bins *bins, kp_time ts)
{
    return ts - ts % bins->width;
}

/* The last instant of a bin. */
static kp_time bin_end(const struct bins *bins, kp_time begin)
{
    return begin > KP_TIME_MAX - bins->width ? KP_TIME_MAX : begin + bins->width - 1;
}

static void bin_give(struct bins *bins, kp_time begin, uint64_t rows)
{
    if (rows > 0 && !bins->stop)
        bins->stop = !bins->each(bins->ctx, begin, rows);
}

/* Neighbours mostly share a bin. */
static kp_status rows_walk(struct bins *bins, struct kpi_page *page)
{
    const struct kpi_filter *filter = &bins->scan->filter;
    const struct kp_vec *ts;
    kp_status status = kpi_page_column(bins->scan->snapshot, page, KP_COL_TS, &ts);
    if (status != KP_OK)
        return status;
    kp_time begin = 0;
    uint64_t rows = 0;
    for (uint32_t i = 0; i < page->rows && !bins->stop; i++) {
        kp_time at = ts->i64[i];
        if (at < filter->from || at > filter->to)
            continue;
        if (rows > 0 && (at < begin || at > bin_end(bins, begin))) {
            bin_give(bins, begin, rows);
            rows = 0;
        }
        begin = rows == 0 ? bin_of(bins, at) : begin;
        rows++;
    }
    bin_give(bins, begin, rows);
    return KP_OK;
}

static kp_status rows_search(struct bins *bins, struct kpi_page *page, kp_time low, kp_time high)
{
    kp_status status = KP_OK;
    for (kp_time begin = bin_of(bins, low); status == KP_OK && !bins->stop;) {
        kp_time end = KP_MIN(bin_end(bins, begin), high);
        uint32_t rows = 0;
        status = kpi_page_count(bins->scan->snapshot, page, KP_MAX(begin, low), end, &rows);
        if (status == KP_OK)
            bin_give(bins, begin, rows);
        if (end == high)
            break;
        begin = end + 1;
    }
    return status;
}

static kp_status unit_bins(struct bins *bins, struct kpi_unit *unit)
{
    struct kp_scan *scan = bins->scan;
    kp_time first = KP_MIN(unit->first, unit->last), last = KP_MAX(unit->first, unit->last);
    kp_time low = KP_MAX(first, scan->filter.from), high = KP_MIN(last, scan->filter.to);
    uint32_t rows = unit->held;
    if (low > high)
        return KP_OK;
    if (bin_of(bins, low) == bin_of(bins, high) && kpi_filter_whole(&scan->filter, first, last)) {
        scan->stat.pages_counted++;
        bin_give(bins, bin_of(bins, low), rows);
        return KP_OK;
    }
    kp_status status = kpi_unit_page(scan, unit);
    if (status == KP_OK) {
        bool few = (high - low) / bins->width < rows / ROWS_A_BIN;
        kpi_scan_read(scan, rows);
        status = few && unit->page->bound != NULL ? rows_search(bins, unit->page, low, high)
                                                  : rows_walk(bins, unit->page);
    }
    kpi_unit_leave(scan, unit);
    return status == KP_CORRUPT ? KP_OK : status;
}

kp_status kp_scan_bins(struct kp_scan *scan, kp_dur width,
                       bool (*each)(void *ctx, kp_time begin, uint64_t rows), void *ctx,
                       struct kp_error *err)
{
    struct bins bins = {.scan = scan, .width = width, .each = each, .ctx = ctx};
    kp_status status = KP_OK;
    kp_assert(width > 0 && scan->cols_count == 0 && scan->filter.keys_count == 0);
    while (scan->next < scan->units_count && status == KP_OK && !bins.stop)
        status = unit_bins(&bins, &scan->units[scan->next++]);
    if (status != KP_OK)
        return kp_error_set(err, status, "cannot count %s: %s", scan->filter.stream->name,
                            kp_status_text(status));
    return KP_OK;
}
