/* SPDX-License-Identifier: Apache-2.0
 *
 * Counting by bins of time and stream. A page of a busy machine holds less than a second, so most
 * lie in one bin or a few: the first are counted by the footer, of the others a bin is a stretch of
 * each CPU's times, found by a search, whose kinds are counted. Who ran is not decoded for it, nor
 * is anything put in order.
 */
#include "base/assert.h"
#include "storage/scan_int.h"
#include "storage/spine.h"
#include "storage/spine_rows.h"

#define STRETCH_MIN 16u /* rows of a bin; fewer are given one by one */

struct bins {
    struct kp_scan *scan;
    kp_dur width;
    bool (*each)(void *ctx, kp_time begin, uint32_t stream, uint64_t rows);
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

static void bin_give(struct bins *bins, kp_time begin, uint32_t stream, uint64_t rows)
{
    if (rows > 0 && !bins->stop)
        bins->stop = !bins->each(bins->ctx, begin, stream, rows);
}

/* Neighbours mostly share a bin. */
static kp_status rows_walk(struct bins *bins, struct kpi_page *page)
{
    const struct kpi_filter *filter = &bins->scan->filter;
    const int64_t *ts;
    kp_status status = kpi_page_times(bins->scan->snapshot, page, &ts);
    if (status != KP_OK)
        return status;
    kp_time begin = 0;
    uint64_t rows = 0;
    for (uint32_t i = 0; i < page->rows && !bins->stop; i++) {
        kp_time at = ts[i];
        if (at < filter->from || at > filter->to)
            continue;
        if (rows > 0 && (at < begin || at > bin_end(bins, begin))) {
            bin_give(bins, begin, page->stream->number, rows);
            rows = 0;
        }
        begin = rows == 0 ? bin_of(bins, at) : begin;
        rows++;
    }
    bin_give(bins, begin, page->stream->number, rows);
    return KP_OK;
}

/* Rows of the wanted streams in places [first, end), all of one bin. */
static void stretch_give(struct bins *bins, const struct kpi_unit *unit, kp_time begin,
                         uint32_t first, uint32_t end)
{
    uint32_t counts[UINT8_MAX + 1];
    kpi_spine_kinds_count(unit->page->spine, first, end, counts);
    for (uint32_t s = 0; s < KP_STREAM_MAX; s++)
        if (unit->kinds == NULL || unit->kinds[s])
            bin_give(bins, begin, s, counts[s]);
}

static void few_give(struct bins *bins, const struct kpi_unit *unit, kp_time begin, uint32_t first,
                     uint32_t end)
{
    for (uint32_t p = first; p < end; p++) {
        uint32_t kind;
        kpi_spine_kinds(unit->page->spine, &p, 1, &kind);
        if (unit->kinds == NULL || unit->kinds[kind])
            bin_give(bins, begin, kind, 1);
    }
}

static kp_status spine_bins(struct bins *bins, struct kpi_unit *unit, kp_time low, kp_time high)
{
    struct kpi_page *page = unit->page;
    uint32_t first, end;
    kp_status status = kpi_page_common(bins->scan->snapshot, page, 1u << KP_COL_TS);
    if (status != KP_OK)
        return status;
    const int64_t *ts = kpi_spine_times(page->spine);
    for (uint32_t lane = 0; kpi_spine_lane(page->spine, lane, low, high, &first, &end); lane++)
        while (first < end && !bins->stop) {
            uint32_t lane_first, next;
            kp_time begin = bin_of(bins, ts[first]);
            kpi_spine_lane(page->spine, lane, begin, KP_MIN(bin_end(bins, begin), high),
                           &lane_first, &next);
            if (next - first < STRETCH_MIN)
                few_give(bins, unit, begin, first, next);
            else
                stretch_give(bins, unit, begin, first, next);
            first = next;
        }
    return KP_OK;
}

/* A page that lies in one bin, by the footer. */
static void footer_give(struct bins *bins, const struct kpi_unit *unit, kp_time begin)
{
    const struct kp_scan *scan = bins->scan;
    if (unit->segment == KPI_FROM_LOG) {
        bin_give(bins, begin, unit->stream, unit->held);
        return;
    }
    const struct kpi_footer *footer = &scan->snapshot->segments[unit->segment].segment.footer;
    const struct kpi_block_ref *ref = &footer->blocks[unit->number];
    if (ref->stream != &kpi_spine_stream) {
        bin_give(bins, begin, ref->stream->number, ref->rows);
        return;
    }
    uint32_t page = ref->page;
    for (ref++; ref < footer->blocks + footer->blocks_count && ref->page == page; ref++)
        if (unit->kinds == NULL || unit->kinds[ref->stream->number])
            bin_give(bins, begin, ref->stream->number, ref->rows);
}

static kp_status unit_bins(struct bins *bins, struct kpi_unit *unit)
{
    struct kp_scan *scan = bins->scan;
    kp_time first = KP_MIN(unit->first, unit->last), last = KP_MAX(unit->first, unit->last);
    kp_time low = KP_MAX(first, scan->filter.from), high = KP_MIN(last, scan->filter.to);
    if (low > high)
        return KP_OK;
    if (bin_of(bins, low) == bin_of(bins, high) && kpi_filter_whole(&scan->filter, first, last)) {
        scan->stat.pages_counted++;
        footer_give(bins, unit, bin_of(bins, low));
        return KP_OK;
    }
    kp_status status = kpi_unit_page(scan, unit);
    if (status == KP_OK) {
        kpi_scan_read(scan, unit->held);
        status = unit->page->spine != NULL ? spine_bins(bins, unit, low, high)
                                           : rows_walk(bins, unit->page);
    }
    kpi_unit_leave(scan, unit);
    return status == KP_CORRUPT ? KP_OK : status;
}

kp_status kp_scan_bins(struct kp_scan *scan, kp_dur width,
                       bool (*each)(void *ctx, kp_time begin, uint32_t stream, uint64_t rows),
                       void *ctx, struct kp_error *err)
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
