/* SPDX-License-Identifier: Apache-2.0
 *
 * Counting by actor. Who asks only how often each thread, process or command occurs needs no rows:
 * the actors of a page are few, so its rows are counted in a table of them, which then stands for
 * the page.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "storage/scan_int.h"
#include "storage/spine.h"
#include "storage/spine_rows.h"

#define TALLIES 512u /* given at a time */

struct tally {
    struct kp_scan *scan;
    bool by_kind;
    bool (*each)(void *ctx, const struct kp_tally *tallies, uint32_t count);
    void *ctx;
    struct kp_tally rows[TALLIES];
    uint32_t count;
    bool stop;
};

static void tally_flush(struct tally *tally)
{
    if (tally->count > 0 && !tally->stop)
        tally->stop = !tally->each(tally->ctx, tally->rows, tally->count);
    tally->count = 0;
}

/* What the actors of a page come to; passes NULL: all of them count. */
static void tally_page(struct tally *tally, const struct kpi_page *page, uint32_t kind,
                       const bool *passes, const uint32_t *counts)
{
    for (uint32_t i = 0; i <= page->actors && !tally->stop; i++) {
        if (counts[i] == 0 || (passes != NULL && !passes[i]))
            continue;
        tally->rows[tally->count++] =
            (struct kp_tally){page->ids[i], tally->by_kind ? kind : 0, counts[i]};
        if (tally->count == TALLIES)
            tally_flush(tally);
    }
}

/* Tables of counts by actor. Rows of streams that are not wanted go to the first. */
struct tables {
    uint32_t slots[UINT8_MAX + 1]; /* of a stream; all 0: any is wanted and goes to either */
    uint32_t kinds[KP_STREAM_MAX]; /* of a table */
    uint32_t count;
    bool either;
};

static void tables_make(const struct tally *tally, const struct kpi_unit *unit, struct tables *out)
{
    memset(out, 0, sizeof(*out));
    out->either = unit->kinds == NULL && !tally->by_kind;
    out->count = out->either ? 2 : 1;
    for (uint32_t s = 0; s < KP_STREAM_MAX && !out->either; s++) {
        bool wanted = unit->kinds == NULL || unit->kinds[s];
        if (!wanted || kpi_spine_held(unit->page->spine, s) == 0)
            continue;
        if (tally->by_kind || out->count == 1)
            out->kinds[out->count++] = s;
        out->slots[s] = out->count - 1;
    }
}

static kp_status spine_tally(struct tally *tally, struct kpi_unit *unit)
{
    struct kp_scan *scan = tally->scan;
    struct kpi_page *page = unit->page;
    struct kpi_spine_pick pick = {.from = scan->filter.from, .to = scan->filter.to};
    size_t stride = (size_t)page->actors + 1;
    struct tables tables;
    bool *passes = NULL;
    kp_status status = kpi_page_common(scan->snapshot, page, 1u << KP_COL_TS | 1u << KP_COL_ACTOR);
    if (status == KP_OK)
        status = kpi_filter_actors(&scan->filter, scan->snapshot, page, &passes);
    if (status != KP_OK)
        return status;
    tables_make(tally, unit, &tables);
    uint32_t *counts = calloc(tables.count * stride, sizeof(*counts));
    if (counts != NULL) {
        kpi_spine_tally(page->spine, &pick, tables.either ? NULL : tables.slots, counts);
        for (size_t i = 0; i < stride && tables.either; i++)
            counts[stride + i] += counts[i];
        for (uint32_t t = 1; t < tables.count; t++)
            tally_page(tally, page, tables.kinds[t], passes, counts + t * stride);
    }
    free(passes);
    free(counts);
    return counts == NULL ? KP_NO_MEMORY : KP_OK;
}

/* A page of one stream: of the log, or without a spine. */
static kp_status stream_tally(struct tally *tally, struct kpi_unit *unit)
{
    struct kp_scan *scan = tally->scan;
    struct kpi_page *page = unit->page;
    const struct kpi_packed *actors = &page->packed[KP_COL_ACTOR];
    struct kpi_rows rows = {0};
    uint32_t *counts = NULL;
    kp_status status = kpi_page_decode(scan->snapshot, page, KP_COL_ACTOR);
    if (status == KP_OK)
        status = kpi_filter_page(&scan->filter, scan->snapshot, page, false, &rows);
    if (status == KP_OK) {
        counts = calloc((size_t)page->actors + 1, sizeof(*counts));
        status = counts == NULL ? KP_NO_MEMORY : KP_OK;
    }
    for (uint32_t i = 0; i < rows.count && status == KP_OK; i++)
        counts[kpi_packed_at(actors, kpi_row_at(&rows, i))]++;
    if (status == KP_OK)
        tally_page(tally, page, page->stream->number, NULL, counts);
    kpi_rows_free(&rows);
    free(counts);
    return status;
}

static kp_status unit_tally(struct tally *tally, struct kpi_unit *unit)
{
    kp_status status = kpi_unit_page(tally->scan, unit);
    if (status == KP_OK) {
        kpi_scan_read(tally->scan, unit->page->rows);
        status = unit->page->spine != NULL ? spine_tally(tally, unit) : stream_tally(tally, unit);
    }
    kpi_unit_leave(tally->scan, unit);
    return status == KP_CORRUPT ? KP_OK : status;
}

kp_status kp_scan_tally(struct kp_scan *scan, bool by_kind,
                        bool (*each)(void *ctx, const struct kp_tally *tallies, uint32_t count),
                        void *ctx, struct kp_error *err)
{
    struct tally tally = {.scan = scan, .by_kind = by_kind, .each = each, .ctx = ctx};
    kp_status status = KP_OK;
    kp_assert(scan->events && scan->cols_count == 0 && !scan->no_prune);
    while (scan->next < scan->units_count && status == KP_OK && !tally.stop)
        status = unit_tally(&tally, &scan->units[scan->next++]);
    tally_flush(&tally);
    if (status != KP_OK)
        return kp_error_set(err, status, "cannot count events: %s", kp_status_text(status));
    return KP_OK;
}
