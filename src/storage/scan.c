/* SPDX-License-Identifier: Apache-2.0
 *
 * Scans: pages that may hold wanted rows are sorted by where they begin in time and entered when
 * the answer gets there. Rows of entered pages are merged by the row order; as long as one page has
 * the floor alone, its rows are taken in runs without comparing.
 *
 *   units:   [ done ][ active: merged ][ waiting, by begin ]
 *
 * Invariant: a row is given out only when every waiting unit begins after it.
 *
 * A page is decoded no further than its part asks: not at all when rows are only counted and all of
 * them pass; without times when no other page overlaps; as stretches of rows as long as only time
 * selects; as they lie, without the spine of the page, when any order will do.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/big.h"
#include "storage/order.h"
#include "storage/scan_int.h"
#include "storage/spine.h"
#include "storage/spine_rows.h"

#define AHEAD_FROM \
    1u /* units entered before reading ahead: what ends early has ended by then ... */
#define AHEAD_BACK 2u /* ... and backwards, where it is often the newest row that is wanted */

/* ---------- opening ---------- */

static enum kp_type colref_type(const struct kp_stream *stream, struct kp_colref ref)
{
    switch (ref.attr) {
    case KP_ATTR_SELF:
        return stream->stored[ref.stored].type;
    case KP_ATTR_TID:
    case KP_ATTR_PID:
        return KP_TYPE_I64;
    case KP_ATTR_START:
        return KP_TYPE_TIME;
    default:
        return KP_TYPE_STR;
    }
}

/* Names of streams come as codes where they can be several. */
static kp_status kinds_room(struct kp_scan *scan, struct kp_vec *out)
{
    out->i64 = NULL;
    out->dict = &scan->snapshot->kinds;
    out->codes = kp_arena_alloc(&scan->arena, KP_VECTOR_ROWS * sizeof(*out->codes));
    return out->codes == NULL ? KP_NO_MEMORY : KP_OK;
}

static kp_status batch_init(struct kp_scan *scan, const struct kp_scan_req *req)
{
    struct kp_vec *cols = kp_arena_zalloc(&scan->arena, req->cols_count, sizeof(*cols));
    scan->cols = kp_arena_alloc(&scan->arena, req->cols_count * sizeof(*scan->cols));
    if (cols == NULL || scan->cols == NULL)
        return KP_NO_MEMORY;
    scan->cols_count = req->cols_count;
    for (uint32_t i = 0; i < req->cols_count; i++) {
        scan->cols[i] = req->cols[i];
        cols[i].type = colref_type(req->stream, req->cols[i]);
        if (scan->events && scan->cols[i].attr == KP_ATTR_KIND) {
            kp_status status = kinds_room(scan, &cols[i]);
            if (status != KP_OK)
                return status;
            continue;
        }
        bool is_str = kp_type_phys(cols[i].type) == KP_PHYS_STR;
        cols[i].i64 = kp_arena_alloc(
            &scan->arena, KP_VECTOR_ROWS * (is_str ? sizeof(struct kp_str) : sizeof(int64_t)));
        if (cols[i].i64 == NULL)
            return KP_NO_MEMORY;
    }
    scan->batch = (struct kp_batch){
        .actors = scan->snapshot->actors, .cols = cols, .cols_count = req->cols_count};
    return KP_OK;
}

/* Which streams are wanted, when it is all of the kernel's or some. */
static void take_kinds(struct kp_scan *scan, const struct kp_scan_req *req)
{
    uint32_t count;
    const struct kp_stream *streams = kp_streams(&count);
    scan->events = req->stream == kp_stream_events();
    scan->kinds_now = scan->kinds;
    for (uint32_t i = 0; i < count && scan->events; i++) {
        uint32_t number = streams[i].number;
        bool kernel = streams[i].family == KP_FAMILY_KERNEL;
        scan->kinds[number] = kernel && (req->kinds == NULL || req->kinds[number]);
    }
}

/* True when all columns and keys of the request lie in one order in paged blocks. */
static bool req_lies(const struct kp_scan_req *req)
{
    const struct kp_stream *stream = req->stream;
    uint32_t key = 0;
    bool lies =
        req->any_order && !req->no_prune && req->cols_count > 0 && stream != kp_stream_events();
    for (uint32_t i = 0; i < req->cols_count + req->keys_count && lies; i++) {
        struct kp_colref ref =
            i < req->cols_count ? req->cols[i] : req->keys[i - req->cols_count].column;
        if (ref.attr == KP_ATTR_KIND)
            continue;
        lies = ref.attr == KP_ATTR_SELF && kpi_block_lies(stream, ref.stored) &&
               (key == 0 || key == kpi_spine_key(stream, ref.stored));
        key = kpi_spine_key(stream, ref.stored);
    }
    return lies && key != 0;
}

kp_status kp_scan_open(struct kp_snapshot *snapshot, const struct kp_scan_req *req,
                       struct kp_scan **out, struct kp_error *err)
{
    struct kp_scan *scan = calloc(1, sizeof(*scan));
    if (scan == NULL)
        return kp_error_set(err, KP_NO_MEMORY, "cannot scan %s: out of memory", req->stream->name);
    scan->snapshot = snapshot;
    scan->descending = req->descending;
    scan->no_prune = req->no_prune;
    scan->rolled = req->rolled;
    scan->rolled_from = req->rolled_from;
    scan->rolled_to = req->rolled_to;
    scan->reads_ahead = req->ahead;
    scan->any_order = req->any_order && !req->no_prune;
    take_kinds(scan, req);
    kp_arena_init(&scan->arena, 0);
    kp_status status = kpi_filter_init(&scan->filter, req, &scan->arena, err);
    if (status != KP_OK) {
        kp_scan_close(scan);
        return status;
    }
    scan->lying = req_lies(req);
    status = batch_init(scan, req);
    if (status == KP_OK)
        status = kpi_scan_plan(scan);
    if (status == KP_BUSY) {
        kp_scan_close(scan);
        kp_error_set(err, status, "retention dropped a part of %s while it was being read",
                     req->stream->name);
        kp_error_hint(err, "ask again: the answer will begin behind what was dropped");
        return status;
    }
    if (status != KP_OK) {
        kp_scan_close(scan);
        return kp_error_set(err, status, "cannot scan %s: %s", req->stream->name,
                            kp_status_text(status));
    }
    *out = scan;
    return KP_OK;
}

void kpi_unit_leave(struct kp_scan *scan, struct kpi_unit *unit)
{
    if (unit->page != NULL)
        kpi_page_release(scan->snapshot, unit->page);
    kpi_rows_free(&unit->rows);
    unit->page = NULL;
}

void kp_scan_close(struct kp_scan *scan)
{
    if (scan == NULL)
        return;
    kpi_ahead_stop(scan);
    for (uint32_t i = 0; i < scan->active_count; i++)
        kpi_unit_leave(scan, scan->active[i]);
    if (scan->queue != NULL)
        scan->snapshot->io->queue_close(scan->queue);
    free(scan->active);
    free(scan->units);
    kp_arena_deinit(&scan->arena);
    free(scan);
}

void kp_scan_stat(const struct kp_scan *scan, struct kp_scan_stat *out)
{
    *out = scan->stat;
    kpi_ahead_stat(scan, out);
}

/* ---------- entering pages ---------- */

kp_status kpi_unit_page(struct kp_scan *scan, struct kpi_unit *unit)
{
    if (unit->segment == KPI_FROM_LOG) {
        scan->stat.pages_cached++;
        unit->page = scan->snapshot->logs[unit->stream].pages[unit->number];
        kpi_page_hold(scan->snapshot, unit->page);
        return kpi_page_sort(scan->snapshot, unit->page);
    }
    unit->page = kpi_page_cached(scan->snapshot, unit->segment, unit->number);
    if (unit->page != NULL) {
        scan->stat.pages_cached++;
        return KP_OK;
    }
    kpi_scan_expect(scan, unit);
    kp_status status = kpi_scan_queue(scan);
    if (status == KP_OK)
        status =
            kpi_page_read(scan->snapshot, scan->queue, unit->segment, unit->number, &unit->page);
    if (status != KP_OK)
        return status;
    scan->stat.pages_read++;
    scan->stat.bytes_read += unit->page->size;
    atomic_fetch_add_explicit(&scan->snapshot->bytes_read, unit->page->size, memory_order_relaxed);
    return KP_OK;
}

void kpi_scan_read(struct kp_scan *scan, uint32_t rows)
{
    scan->stat.rows_read += rows;
    atomic_fetch_add_explicit(&scan->snapshot->rows_read, rows, memory_order_relaxed);
}

static kp_status rows_reverse(struct kpi_rows *rows)
{
    uint32_t count = rows->count;
    uint32_t *list = kp_big_alloc(((size_t)count + 1) * sizeof(*list));
    if (list == NULL)
        return KP_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++)
        list[i] = kpi_row_at(rows, count - 1 - i);
    kpi_rows_free(rows);
    *rows = (struct kpi_rows){.list = list, .count = count};
    return KP_OK;
}

static kp_status unit_filter(struct kp_scan *scan, struct kpi_unit *unit)
{
    struct kpi_page *page = unit->page;
    uint32_t rows = page->rows;
    unit->lying = scan->lying && page->bound != NULL &&
                  KP_MIN(unit->first, unit->last) >= scan->filter.from &&
                  KP_MAX(unit->first, unit->last) <= scan->filter.to;
    kp_status status =
        page->spine != NULL
            ? kpi_filter_spine(&scan->filter, scan->snapshot, page, unit->kinds,
                               scan->any_order || scan->cols_count == 0, &unit->rows)
            : kpi_filter_page(&scan->filter, scan->snapshot, page, unit->lying, &unit->rows);
    if (status != KP_OK)
        return status;
    kpi_scan_read(scan, rows);
    return scan->descending ? rows_reverse(&unit->rows) : KP_OK;
}

/* Common columns of all rows of a page. */
static kp_status spine_columns(struct kp_scan *scan, struct kpi_page *page)
{
    uint32_t columns = 0;
    for (uint32_t i = 0; i < scan->cols_count; i++)
        if (scan->cols[i].attr != KP_ATTR_KIND)
            columns |= 1u << scan->cols[i].stored;
    kp_status status = kpi_page_common(scan->snapshot, page, columns);
    for (uint32_t i = 0; i < scan->cols_count && status == KP_OK; i++) {
        enum kp_attr attr = scan->cols[i].attr;
        bool is_attr = attr != KP_ATTR_SELF && attr != KP_ATTR_KIND;
        if (is_attr && kpi_page_attr(scan->snapshot, page, attr) == NULL)
            status = KP_NO_MEMORY;
    }
    return status;
}

/* All columns the answer takes from the page, so that nothing can fail while rows are given out. */
static kp_status unit_columns(struct kp_scan *scan, struct kpi_unit *unit)
{
    const struct kp_vec *vec;
    const int64_t *ts;
    kp_status status = KP_OK;
    if (unit->page->spine != NULL)
        return spine_columns(scan, unit->page);
    for (uint32_t i = 0; i < scan->cols_count && status == KP_OK; i++) {
        struct kp_colref ref = scan->cols[i];
        if (ref.attr == KP_ATTR_KIND)
            continue;
        status = unit->lying ? kpi_page_lying(scan->snapshot, unit->page, ref.stored, &vec)
                             : kpi_page_decode(scan->snapshot, unit->page, ref.stored);
        if (status == KP_OK && ref.attr == KP_ATTR_START)
            status = kpi_page_times(scan->snapshot, unit->page, &ts);
        bool is_attr = ref.attr != KP_ATTR_SELF && ref.attr != KP_ATTR_START;
        if (status == KP_OK && is_attr &&
            kpi_page_attr(scan->snapshot, unit->page, ref.attr) == NULL)
            status = KP_NO_MEMORY;
    }
    return status;
}

static bool reached(const struct kp_scan *scan, kp_time ts, kp_time mark)
{
    return scan->descending ? ts <= mark : ts >= mark;
}

static bool unit_live(const struct kpi_unit *unit)
{
    return unit->at < unit->rows.count;
}

/* True when rows of other pages may come between those of the unit that is entered now. */
static bool unit_overlaps(const struct kp_scan *scan, const struct kpi_unit *unit)
{
    bool overlaps =
        scan->next < scan->units_count && reached(scan, unit->last, scan->units[scan->next].first);
    for (uint32_t i = 0; i < scan->active_count; i++)
        overlaps |= unit_live(scan->active[i]);
    return overlaps && scan->cols_count > 0 && !scan->any_order;
}

static kp_status unit_times(struct kp_scan *scan, struct kpi_unit *unit)
{
    if (!unit_overlaps(scan, unit))
        return KP_OK;
    if (unit->page->spine != NULL) {
        kp_status done = kpi_page_common(scan->snapshot, unit->page, 1u << KP_COL_TS);
        unit->ts = kpi_spine_times(unit->page->spine);
        return done;
    }
    return kpi_page_times(scan->snapshot, unit->page, &unit->ts);
}

/* Columns that decide between rows of equal time; only overlapping pages need them. */
static kp_status unit_ties(struct kp_scan *scan, struct kpi_unit *unit)
{
    const uint32_t common = 1u << KP_COL_SEQ | 1u << KP_COL_ACTOR | 1u << KP_COL_CPU;
    if (unit->tied)
        return KP_OK;
    kp_status status = unit->page->spine != NULL
                           ? kpi_page_common(scan->snapshot, unit->page, common)
                           : kpi_page_ties(scan->snapshot, unit->page);
    unit->tied = status == KP_OK;
    return status;
}

static kp_status active_reserve(struct kp_scan *scan)
{
    if (scan->active_count < scan->active_capacity)
        return KP_OK;
    uint32_t capacity = scan->active_capacity == 0 ? 8 : scan->active_capacity * 2;
    struct kpi_unit **more = realloc(scan->active, capacity * sizeof(*more));
    if (more == NULL)
        return KP_NO_MEMORY;
    scan->active = more;
    scan->active_capacity = capacity;
    return KP_OK;
}

/* Rows that are only counted need no page when all of them pass. */
static bool unit_counted(struct kp_scan *scan, struct kpi_unit *unit)
{
    kp_time low = KP_MIN(unit->first, unit->last), high = KP_MAX(unit->first, unit->last);
    if (scan->cols_count > 0 || !kpi_filter_whole(&scan->filter, low, high))
        return false;
    unit->rows.count = unit->held;
    scan->stat.pages_counted++;
    return true;
}

kp_status kpi_unit_prepare(struct kp_scan *scan, struct kpi_unit *unit)
{
    if (unit_counted(scan, unit))
        return KP_OK;
    kp_status status = kpi_unit_page(scan, unit);
    if (status == KP_OK)
        status = unit_filter(scan, unit);
    if (status == KP_OK && unit->rows.count > 0)
        status = unit_columns(scan, unit);
    return status;
}

/* With several pages active all of them need what decides ties. Damage found only now ends a page.
 */
static kp_status active_ties(struct kp_scan *scan)
{
    uint32_t live = 0;
    for (uint32_t i = 0; i < scan->active_count; i++)
        live += unit_live(scan->active[i]);
    for (uint32_t i = 0; live > 1 && i < scan->active_count; i++) {
        if (!unit_live(scan->active[i]) || scan->active[i]->ts == NULL)
            continue;
        kp_status status = unit_ties(scan, scan->active[i]);
        if (status == KP_CORRUPT)
            scan->active[i]->at = scan->active[i]->rows.count;
        else if (status != KP_OK)
            return status;
    }
    return KP_OK;
}

/* Enters the next waiting unit. CORRUPT from pages means: reported as damage, passed over. */
static kp_status unit_enter(struct kp_scan *scan)
{
    if (scan->reads_ahead && scan->next == (scan->descending ? AHEAD_BACK : AHEAD_FROM))
        kpi_ahead_start(scan);
    struct kpi_unit *unit = &scan->units[scan->next++];
    kp_status status;
    if (!kpi_ahead_take(scan, unit, &status))
        status = kpi_unit_prepare(scan, unit);
    if (status == KP_OK)
        status = active_reserve(scan);
    if (status == KP_OK && unit->rows.count > 0)
        status = unit_times(scan, unit);
    if (status == KP_OK && unit->rows.count > 0) {
        scan->active[scan->active_count++] = unit;
        return active_ties(scan);
    }
    kpi_unit_leave(scan, unit);
    return status == KP_CORRUPT ? KP_OK : status;
}

/* ---------- merging ---------- */

static kp_time unit_time(const struct kpi_unit *unit)
{
    return unit->ts[kpi_row_at(&unit->rows, unit->at)];
}

static int64_t spine_value(const struct kpi_unit *unit, uint32_t column, uint32_t place)
{
    int64_t value;
    kpi_spine_take(unit->page->spine, column, &place, 1, &value);
    return value;
}

static struct kpi_row_key unit_key(const struct kpi_unit *unit)
{
    uint32_t row = kpi_row_at(&unit->rows, unit->at);
    struct kpi_row_key key = {.ts = unit->ts[row]};
    if (!unit->tied)
        return key;
    if (unit->page->spine == NULL)
        return kpi_page_key(unit->page, unit->ts, row);
    key.cpu = (uint32_t)spine_value(unit, KP_COL_CPU, row);
    key.seq = (uint64_t)spine_value(unit, KP_COL_SEQ, row);
    key.actor = unit->page->ids[spine_value(unit, KP_COL_ACTOR, row)];
    return key;
}

/* True when a's next row comes before b's in this scan. */
static bool unit_before(const struct kp_scan *scan, const struct kpi_unit *a,
                        const struct kpi_unit *b)
{
    kp_time from = unit_time(a), to = unit_time(b);
    if (from != to)
        return scan->descending ? from > to : from < to;
    struct kpi_row_key x = unit_key(a), y = unit_key(b);
    int order = kpi_row_compare(scan->snapshot->actors, &x, &y);
    if (order == 0)
        order = kpi_unit_compare(a, b);
    return scan->descending ? order > 0 : order < 0;
}

static struct kpi_unit *first_active(const struct kp_scan *scan, const struct kpi_unit *except)
{
    struct kpi_unit *best = NULL;
    for (uint32_t i = 0; i < scan->active_count; i++) {
        struct kpi_unit *unit = scan->active[i];
        if (unit == except || !unit_live(unit))
            continue;
        if (best == NULL || unit_before(scan, unit, best))
            best = unit;
    }
    return best;
}

/* True when a waiting unit may have rows before the unit's next one. */
static bool waiting_first(const struct kp_scan *scan, const struct kpi_unit *unit)
{
    return scan->next < scan->units_count && unit->ts != NULL &&
           reached(scan, unit_time(unit), scan->units[scan->next].first);
}

/* What was found is given out before more pages are read: who wants the newest row, or a few of
 * those that rare keys pass, must not wait until a batch is full. */
static bool gives_early(const struct kp_scan *scan)
{
    return scan->batch.rows > 0 && (scan->descending || scan->filter.keys_count > 0);
}

/* The active unit with the next row, once every unit that begins before it has been entered. NULL
 * at the end, or of the batch. */
static kp_status next_unit(struct kp_scan *scan, struct kpi_unit **out)
{
    for (;;) {
        struct kpi_unit *unit = first_active(scan, NULL);
        bool waiting = scan->next < scan->units_count;
        if (!waiting || (unit != NULL && !waiting_first(scan, unit))) {
            *out = unit;
            return KP_OK;
        }
        if (gives_early(scan)) {
            *out = NULL;
            return KP_OK;
        }
        kp_status status = unit_enter(scan);
        if (status != KP_OK)
            return status;
    }
}

/* How many rows the unit may give before another active or waiting unit has a say; at least one. */
static uint32_t run_length(const struct kp_scan *scan, struct kpi_unit *unit, uint32_t room)
{
    const struct kpi_unit *rival = first_active(scan, unit);
    uint32_t begin = unit->at, end = begin + KP_MIN(room, unit->rows.count - begin);
    uint32_t at = end;
    if (unit->ts != NULL && (rival != NULL || scan->next < scan->units_count)) {
        at = begin;
        do
            unit->at = ++at;
        while (at < end && (rival == NULL || unit_before(scan, unit, rival)) &&
               !waiting_first(scan, unit));
        unit->at = begin;
    }
    return at - begin;
}

/* ---------- giving out ---------- */

/* `count` rows of the unit go to row `at` of the batch; list NULL: they lie together from first. */
struct gift {
    const struct kpi_unit *unit;
    const uint32_t *list;
    uint32_t first, count, at;
};

static void give_starts(const struct gift *gift, int64_t *to)
{
    const int64_t *ts = gift->unit->page->cols[KP_COL_TS].i64;
    for (uint32_t i = 0; i < gift->count; i++) {
        uint32_t row = gift->list != NULL ? gift->list[i] : gift->first + i;
        to[i] = kpi_start_of(ts[row], to[i]);
    }
}

/* local: of the rows of the gift. */
static void give_actor(const struct gift *gift, enum kp_attr attr, const int64_t *local,
                       struct kp_vec *to)
{
    const struct kpi_page *page = gift->unit->page;
    const struct kpi_page *owner = page->bound != NULL ? page->bound : page;
    const int64_t *numbers = owner->attrs[attr];
    const struct kp_str *texts = owner->attrs[attr];
    if (attr == KP_ATTR_SELF)
        for (uint32_t i = 0; i < gift->count; i++)
            to->i64[gift->at + i] = page->ids[local[i]];
    else if (attr == KP_ATTR_TID || attr == KP_ATTR_PID)
        for (uint32_t i = 0; i < gift->count; i++)
            to->i64[gift->at + i] = numbers[local[i]];
    else
        for (uint32_t i = 0; i < gift->count; i++)
            to->strs[gift->at + i] = texts[local[i]];
}

static void give_strs(const struct gift *gift, const struct kp_vec *from, struct kp_str *to)
{
    for (uint32_t i = 0; i < gift->count; i++)
        to[i] = kp_vec_str(from, gift->list != NULL ? gift->list[i] : gift->first + i);
}

/* Which stream each row is of. */
static void give_kinds(const struct kp_scan *scan, const struct gift *gift, struct kp_vec *to)
{
    const struct kpi_page *page = gift->unit->page;
    if (page->spine != NULL) {
        kpi_spine_kinds(page->spine, gift->list, gift->count, to->codes + gift->at);
        return;
    }
    for (uint32_t i = 0; i < gift->count; i++)
        if (scan->events)
            to->codes[gift->at + i] = page->stream->number;
        else
            to->strs[gift->at + i] = kp_str_from(page->stream->name);
}

static void give_common(const struct gift *gift, struct kp_colref ref, struct kp_vec *to)
{
    const struct kpi_spine *spine = gift->unit->page->spine;
    int64_t local[KP_VECTOR_ROWS];
    bool is_actor = ref.stored == KP_COL_ACTOR;
    kpi_spine_take(spine, ref.stored, gift->list, gift->count,
                   is_actor ? local : to->i64 + gift->at);
    if (is_actor)
        give_actor(gift, ref.attr, local, to);
}

static void give_column(struct kp_scan *scan, const struct gift *gift, uint32_t column)
{
    struct kp_colref ref = scan->cols[column];
    struct kp_vec *to = &scan->batch.cols[column];
    const struct kpi_page *page = gift->unit->page;
    int64_t local[KP_VECTOR_ROWS];
    if (ref.attr == KP_ATTR_KIND) {
        give_kinds(scan, gift, to);
    } else if (page->spine != NULL) {
        give_common(gift, ref, to);
    } else if (kp_type_phys(page->stream->stored[ref.stored].type) == KP_PHYS_STR) {
        give_strs(gift, &page->cols[ref.stored], to->strs + gift->at);
    } else {
        struct kpi_packed from = kpi_page_numbers(page, ref.stored, gift->unit->lying);
        bool is_actor = page->stream->stored[ref.stored].type == KP_TYPE_ACTOR;
        int64_t *numbers = is_actor ? local : to->i64 + gift->at;
        kpi_packed_take(&from, gift->list, gift->first, gift->count, numbers);
        if (is_actor)
            give_actor(gift, ref.attr, local, to);
        else if (ref.attr == KP_ATTR_START)
            give_starts(gift, numbers);
    }
}

static void give_rows(struct kp_scan *scan, struct kpi_unit *unit, uint32_t count)
{
    const struct kpi_rows *rows = &unit->rows;
    struct gift gift = {.unit = unit,
                        .list = rows->list == NULL ? NULL : rows->list + unit->at,
                        .first = rows->first + unit->at,
                        .count = count,
                        .at = scan->batch.rows};
    for (uint32_t c = 0; c < scan->cols_count; c++)
        give_column(scan, &gift, c);
    scan->batch.rows += count;
    scan->stat.rows_out += count;
    unit->at += count;
}

static void active_remove(struct kp_scan *scan, uint32_t number)
{
    kpi_unit_leave(scan, scan->active[number]);
    scan->active[number] = scan->active[--scan->active_count];
}

/* Pages whose rows were all given out by the call before: their strings were valid until now. */
static void leave_finished(struct kp_scan *scan)
{
    for (uint32_t i = scan->active_count; i-- > 0;)
        if (!unit_live(scan->active[i]))
            active_remove(scan, i);
}

kp_status kp_scan_next(struct kp_scan *scan, const struct kp_batch **out, struct kp_error *err)
{
    leave_finished(scan);
    scan->batch.rows = 0;
    while (scan->batch.rows < KP_VECTOR_ROWS) {
        struct kpi_unit *unit = NULL;
        kp_status status = next_unit(scan, &unit);
        if (status != KP_OK)
            return kp_error_set(err, status, "cannot scan %s: %s", scan->filter.stream->name,
                                kp_status_text(status));
        if (unit == NULL)
            break;
        give_rows(scan, unit, run_length(scan, unit, KP_VECTOR_ROWS - scan->batch.rows));
    }
    if (scan->batch.rows == 0)
        return KP_END;
    *out = &scan->batch;
    return KP_OK;
}
