/* SPDX-License-Identifier: Apache-2.0
 *
 * Which pages a scan reads. A segment is passed over by its times, by the index of transactions
 * (before it is opened) and by the actors of its rollup; a page by its times, by the threads and
 * values its footer lists.
 *
 * Rollups name every actor of a stream's rows in the segment, so a key on the name of a command
 * becomes a list of threads first, and those the footer lists page by page.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "storage/run_find.h"
#include "storage/scan_int.h"
#include "storage/spine.h"

/* True when the scan reads the stream of this number. */
static bool wants(const struct kp_scan *scan, uint32_t stream)
{
    return scan->events ? scan->kinds_now[stream] : stream == scan->filter.stream->number;
}

/* ---------- which pages ---------- */

kp_status kpi_scan_queue(struct kp_scan *scan)
{
    if (scan->queue != NULL)
        return KP_OK;
    return scan->snapshot->io->queue_open(scan->snapshot->io, 4, &scan->queue);
}

static kp_status unit_add(struct kp_scan *scan, struct kpi_unit unit, kp_time ts_min,
                          kp_time ts_max)
{
    if (scan->units_count == scan->units_capacity) {
        uint32_t capacity = scan->units_capacity == 0 ? 64 : scan->units_capacity * 2;
        struct kpi_unit *more = realloc(scan->units, capacity * sizeof(*more));
        if (more == NULL)
            return KP_NO_MEMORY;
        scan->units = more;
        scan->units_capacity = capacity;
    }
    unit.first = scan->descending ? ts_max : ts_min;
    unit.last = scan->descending ? ts_min : ts_max;
    scan->units[scan->units_count++] = unit;
    return KP_OK;
}

static void index_damage(struct kp_scan *scan, uint32_t number)
{
    const struct kpi_snapshot_segment *from = &scan->snapshot->segments[number];
    struct kp_damage damage = {.file = from->path,
                               .offset = from->segment.footer.exact[0].offset,
                               .from = 0,
                               .to = -1,
                               .what = "a list of transactions of the segment is damaged; all of "
                                       "its pages were read instead"};
    kpi_snapshot_add_damage(scan->snapshot, &damage);
}

/* Marks the blocks of one key by the segment's own index; false: it cannot tell. */
static bool key_blocks(struct kp_scan *scan, uint32_t number, const struct kpi_filter_key *key,
                       bool *wanted)
{
    for (uint32_t i = 0; i < key->count; i++) {
        kp_status status =
            kpi_exact_find(&scan->snapshot->segments[number].segment, scan->queue,
                           scan->filter.stream->number, key->column.stored, key->strs[i], wanted);
        if (status == KP_CORRUPT)
            index_damage(scan, number);
        if (status != KP_OK)
            return false;
    }
    return true;
}

/* Blocks that an EXACT key leaves; NULL when no key has an index here. */
static bool *exact_blocks(struct kp_scan *scan, uint32_t number)
{
    uint32_t blocks = scan->snapshot->segments[number].segment.footer.blocks_count;
    for (uint32_t k = 0; k < scan->filter.keys_count; k++) {
        const struct kpi_filter_key *key = &scan->filter.keys[k];
        if (key->strs == NULL || key->column.attr != KP_ATTR_SELF)
            continue;
        bool *wanted = calloc(blocks + 1, sizeof(*wanted));
        if (wanted != NULL && key_blocks(scan, number, key, wanted))
            return wanted;
        free(wanted);
    }
    return NULL;
}

/* The same as a run has said it; NULL: it speaks not for this segment. */
static bool *places_blocks(const struct kp_scan *scan, const struct kpi_run_places *places,
                           uint32_t number)
{
    uint32_t blocks = scan->snapshot->segments[number].segment.footer.blocks_count;
    if (places == NULL || places->segments[number] != KPI_RUN_PRESENT)
        return NULL;
    bool *wanted = calloc(blocks + 1, sizeof(*wanted));
    for (uint32_t i = 0; i < places->count && wanted != NULL; i++)
        if (places->places[i].segment == number && places->places[i].block < blocks)
            wanted[places->places[i].block] = true;
    return wanted;
}

/* What the merged index says, asked before a segment is opened; *out NULL: it has nothing to say.
 */
static kp_status run_places(struct kp_scan *scan, struct kpi_run_places **out)
{
    *out = NULL;
    for (uint32_t k = 0; k < scan->filter.keys_count && !scan->no_prune; k++) {
        const struct kpi_filter_key *key = &scan->filter.keys[k];
        const struct kp_stream *stream = scan->filter.stream;
        if (key->strs == NULL || key->column.attr != KP_ATTR_SELF ||
            stream->stored[key->column.stored].index != KP_INDEX_EXACT)
            continue;
        kp_status status = kpi_scan_queue(scan);
        if (status != KP_OK)
            return status;
        return kpi_runs_find(scan->snapshot, scan->queue, stream->number, key->column.stored,
                             key->strs, key->count, &scan->arena, out);
    }
    return KP_OK;
}

/* ---------- actors ---------- */

/* Threads of one segment that keys on actors leave; all: nothing is known. */
struct actor_tids {
    bool all;
    int64_t *tids; /* ascending */
    uint32_t count;
};

/* Threads alone are looked up in the footer as they are. */
static bool wants_actors(const struct kpi_filter *filter)
{
    bool wants = false;
    for (uint32_t k = 0; k < filter->keys_count; k++) {
        struct kp_colref column = filter->keys[k].column;
        wants |= column.stored == KP_COL_ACTOR && column.attr != KP_ATTR_TID &&
                 column.attr != KP_ATTR_KIND;
    }
    return wants;
}

static bool wants_tids(const struct kpi_filter *filter)
{
    bool wants = false;
    for (uint32_t k = 0; k < filter->keys_count; k++)
        wants |= filter->keys[k].column.attr == KP_ATTR_TID;
    return wants;
}

static int compare_tids(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* Adds the threads of a rollup's actors that pass. asked: by actor, 0 = not yet. */
static void rollup_tids(const struct kp_scan *scan, const struct kp_rollup_row *rows,
                        uint32_t count, uint8_t *asked, struct actor_tids *out)
{
    for (uint32_t i = 0; i < count; i++) {
        kp_actor_id id = rows[i].actor;
        if (asked[id] != 0)
            continue;
        asked[id] = 1;
        const struct kp_actor *actor = kp_actors_get(scan->snapshot->actors, id);
        if (kpi_filter_actor(&scan->filter, id, actor))
            out->tids[out->count++] = actor->tid;
    }
}

/* How many actors the rollup lists for the wanted streams; 0: it does not speak for one. */
static uint32_t rollup_actors(const struct kp_scan *scan, uint32_t number,
                              const struct kpi_rollup *rollup)
{
    const uint64_t *held = scan->snapshot->segments[number].meta.rows_by_stream;
    uint32_t count = 0;
    for (uint32_t s = 1; s < KP_STREAM_MAX; s++) {
        if (!wants(scan, s) || held[s] == 0)
            continue;
        if (rollup->rows[s] == NULL)
            return 0;
        count += rollup->counts[s];
    }
    return count;
}

/* The actors of the segment's rows are asked one by one; rows of nobody are an actor too. */
static kp_status actor_tids(struct kp_scan *scan, uint32_t number, struct actor_tids *out)
{
    struct kp_snapshot *snapshot = scan->snapshot;
    const struct kpi_rollup *rollup = NULL;
    uint32_t count = 0;
    *out = (struct actor_tids){.all = true};
    if (!scan->no_prune && wants_actors(&scan->filter))
        rollup = kpi_snapshot_rollup(snapshot, number, scan->queue);
    if (rollup != NULL)
        count = rollup_actors(scan, number, rollup);
    if (count == 0)
        return KP_OK;
    uint8_t *asked = calloc(kp_actors_count(snapshot->actors) + 1, sizeof(*asked));
    out->tids = malloc(count * sizeof(*out->tids));
    for (uint32_t s = 1; s < KP_STREAM_MAX && asked != NULL && out->tids != NULL; s++)
        if (rollup->rows[s] != NULL && wants(scan, s))
            rollup_tids(scan, rollup->rows[s], rollup->counts[s], asked, out);
    bool whole = asked != NULL && out->tids != NULL;
    free(asked);
    if (!whole)
        return KP_NO_MEMORY;
    qsort(out->tids, out->count, sizeof(*out->tids), compare_tids);
    out->all = false;
    return KP_OK;
}

/* ---------- units ---------- */

/* What tells that a page has no wanted row. */
enum pruned { PASSES, BY_TIME, BY_THREAD, BY_VALUE };

static enum pruned block_pruned(const struct kp_scan *scan, const struct kpi_block_ref *ref,
                                const struct actor_tids *actors)
{
    const struct kpi_filter *filter = &scan->filter;
    if (scan->no_prune)
        return PASSES;
    if (ref->ts_max < filter->from || ref->ts_min > filter->to)
        return BY_TIME;
    bool passes =
        kpi_filter_may_pass(filter, ref) &&
        (actors->all || kpi_block_ref_has_tid(ref, KP_COL_ACTOR, actors->tids, actors->count));
    return passes ? PASSES : BY_THREAD;
}

static void page_count(struct kp_scan *scan, enum pruned pruned)
{
    scan->stat.pages += pruned == PASSES;
    scan->stat.pages_pruned += pruned != PASSES;
    scan->stat.pages_by_time += pruned == BY_TIME;
    scan->stat.pages_by_thread += pruned == BY_THREAD;
    scan->stat.pages_by_value += pruned == BY_VALUE;
}

/* The page of the spine at block b for all streams of it that may have wanted rows. *out_end: first
 * block behind the page. */
static kp_status spine_unit(struct kp_scan *scan, uint32_t number, const struct kpi_footer *footer,
                            uint32_t b, const struct actor_tids *actors, uint32_t *out_end)
{
    struct kpi_unit unit = {.segment = number, .number = b};
    kp_time from = KP_TIME_MAX, to = KP_TIME_MIN;
    const struct kpi_block_ref *spine = &footer->blocks[b], *ref = spine + 1;
    enum pruned pruned = BY_TIME;
    bool all = true;
    for (; ref < footer->blocks + footer->blocks_count && ref->page == spine->page; ref++) {
        if (ref->stream == &kpi_spine_stream)
            break;
        all &= wants(scan, ref->stream->number);
        if (!wants(scan, ref->stream->number))
            continue;
        enum pruned block = pruned == PASSES ? PASSES : block_pruned(scan, ref, actors);
        pruned = block == BY_TIME ? pruned : block;
        unit.held += ref->rows;
        from = KP_MIN(from, ref->ts_min);
        to = KP_MAX(to, ref->ts_max);
    }
    *out_end = (uint32_t)(ref - footer->blocks);
    unit.kinds = all ? NULL : scan->kinds_now;
    if (unit.held == 0)
        return KP_OK;
    page_count(scan, pruned);
    return pruned == PASSES ? unit_add(scan, unit, from, to) : KP_OK;
}

static kp_status blocks_units(struct kp_scan *scan, uint32_t number,
                              const struct kpi_run_places *places, const struct actor_tids *actors)
{
    const struct kpi_footer *footer = &scan->snapshot->segments[number].segment.footer;
    bool *wanted = scan->no_prune ? NULL : places_blocks(scan, places, number);
    if (wanted == NULL && !scan->no_prune)
        wanted = exact_blocks(scan, number);
    kp_status status = KP_OK;
    uint32_t next;
    for (uint32_t b = 0; b < footer->blocks_count && status == KP_OK; b = next) {
        const struct kpi_block_ref *ref = &footer->blocks[b];
        next = b + 1;
        if (scan->events && ref->stream == &kpi_spine_stream) {
            status = spine_unit(scan, number, footer, b, actors, &next);
            continue;
        }
        if (!wants(scan, ref->stream->number))
            continue;
        bool valued = wanted == NULL || wanted[b];
        enum pruned pruned = valued ? block_pruned(scan, ref, actors) : BY_VALUE;
        page_count(scan, pruned);
        if (pruned != PASSES)
            continue;
        struct kpi_unit unit = {.segment = number, .number = b, .held = ref->rows};
        status = unit_add(scan, unit, ref->ts_min, ref->ts_max);
    }
    free(wanted);
    return status;
}

static kp_status segment_units(struct kp_scan *scan, uint32_t number,
                               const struct kpi_run_places *places)
{
    struct actor_tids actors;
    kp_status status = actor_tids(scan, number, &actors);
    if (status == KP_OK && (!actors.all || wants_tids(&scan->filter)))
        kpi_snapshot_sets(scan->snapshot, number, scan->queue);
    if (status == KP_OK)
        status = blocks_units(scan, number, places, &actors);
    free(actors.tids);
    return status;
}

static bool segment_wanted(const struct kp_scan *scan, const struct kpi_segment_meta *meta)
{
    bool wanted = false;
    for (uint32_t s = 0; s < KP_STREAM_MAX; s++)
        wanted |= meta->rows_by_stream[s] > 0 && wants(scan, s);
    return wanted && meta->ts_max >= scan->filter.from && meta->ts_min <= scan->filter.to;
}

static bool segment_pruned(const struct kp_scan *scan, const struct kpi_run_places *places,
                           uint32_t number)
{
    if (places != NULL && places->segments[number] == KPI_RUN_ABSENT)
        return true;
    return !scan->no_prune && !segment_wanted(scan, &scan->snapshot->segments[number].meta);
}

/* Sets aside the streams of a segment that rollups answer; *out_left: some are left to read. */
static kp_status leave_rolled(struct kp_scan *scan, uint32_t number, bool *out_left)
{
    struct kp_snapshot *snapshot = scan->snapshot;
    bool rolled[KP_STREAM_MAX], any = false;
    *out_left = !scan->rolled;
    for (uint32_t s = 0; s < KP_STREAM_MAX && scan->rolled; s++) {
        rolled[s] = wants(scan, s) && kpi_snapshot_rolled(snapshot, number, scan->queue, s,
                                                          scan->rolled_from, scan->rolled_to);
        any |= rolled[s];
        *out_left |= wants(scan, s) && !rolled[s];
    }
    if (!any || !scan->events)
        return KP_OK;
    bool *kinds = kp_arena_alloc(&scan->arena, sizeof(scan->kinds));
    for (uint32_t s = 0; s < KP_STREAM_MAX && kinds != NULL; s++)
        kinds[s] = scan->kinds[s] && !rolled[s];
    scan->kinds_now = kinds == NULL ? scan->kinds : kinds;
    return kinds == NULL ? KP_NO_MEMORY : KP_OK;
}

/* The pages of a segment that is not left out. BUSY: it was dropped. */
static kp_status segment_plan(struct kp_scan *scan, uint32_t number,
                              const struct kpi_run_places *places)
{
    bool left;
    kp_status status = kpi_scan_queue(scan);
    if (status == KP_OK)
        status = leave_rolled(scan, number, &left);
    if (status != KP_OK || !left)
        return status;
    if (kpi_snapshot_segment(scan->snapshot, number, scan->queue) != NULL)
        return segment_units(scan, number, places);
    return kpi_snapshot_missing(scan->snapshot, number);
}

static kp_status segments_units(struct kp_scan *scan)
{
    struct kpi_run_places *places;
    kp_status status = run_places(scan, &places);
    if (status != KP_OK)
        return status;
    for (uint32_t i = 0; i < scan->snapshot->segments_count; i++) {
        if (segment_pruned(scan, places, i)) {
            scan->stat.segments_pruned++;
            continue;
        }
        scan->stat.segments++;
        status = segment_plan(scan, i, places);
        scan->kinds_now = scan->kinds;
        if (status != KP_OK)
            return status;
    }
    return KP_OK;
}

static kp_status log_units(struct kp_scan *scan, uint8_t stream)
{
    const struct kpi_log *log = &scan->snapshot->logs[stream];
    for (uint32_t i = 0; i < log->count; i++) {
        const struct kpi_page *page = log->pages[i];
        if (!scan->no_prune && (page->ts_max < scan->filter.from || page->ts_min > scan->filter.to))
            continue;
        scan->stat.wal_blocks += page->parts_count;
        struct kpi_unit unit = {
            .segment = KPI_FROM_LOG, .number = i, .stream = stream, .held = page->rows};
        kp_status status = unit_add(scan, unit, page->ts_min, page->ts_max);
        if (status != KP_OK)
            return status;
    }
    return KP_OK;
}

int kpi_unit_compare(const void *a, const void *b)
{
    const struct kpi_unit *x = a, *y = b;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    if (x->segment != y->segment)
        return x->segment < y->segment ? -1 : 1;
    if (x->stream != y->stream)
        return x->stream < y->stream ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

static int compare_units_down(const void *a, const void *b)
{
    return kpi_unit_compare(b, a);
}

kp_status kpi_scan_plan(struct kp_scan *scan)
{
    if (scan->filter.nothing || scan->filter.from > scan->filter.to)
        return KP_OK;
    kp_status status = segments_units(scan);
    for (uint32_t s = 0; s < KP_STREAM_MAX && status == KP_OK; s++)
        if (wants(scan, s))
            status = log_units(scan, (uint8_t)s);
    if (status == KP_OK && scan->units_count > 0)
        qsort(scan->units, scan->units_count, sizeof(*scan->units),
              scan->descending ? compare_units_down : kpi_unit_compare);
    return status;
}

/* ---------- parts ---------- */

static uint32_t units_split(const struct kp_scan *scan, uint32_t parts, kp_time *out_from)
{
    uint64_t all = 0, rows = 0;
    uint32_t count = 1;
    for (uint32_t i = 0; i < scan->units_count; i++)
        all += scan->units[i].held;
    for (uint32_t i = 0; i < scan->units_count && count < parts; i++) {
        const struct kpi_unit *unit = &scan->units[i];
        if (rows >= all / parts * count && unit->first > out_from[count - 1])
            out_from[count++] = unit->first;
        rows += unit->held;
    }
    return count;
}

kp_status kp_scan_split(struct kp_snapshot *snapshot, const struct kp_scan_req *req, uint32_t parts,
                        kp_time *out_from, uint32_t *out_count, struct kp_error *err)
{
    struct kp_scan_req plan = *req;
    struct kp_scan *scan;
    kp_assert(parts >= 1);
    plan.cols_count = 0;
    plan.descending = false;
    kp_status status = kp_scan_open(snapshot, &plan, &scan, err);
    if (status != KP_OK)
        return status;
    out_from[0] = req->from;
    *out_count = units_split(scan, parts, out_from);
    kp_scan_close(scan);
    return KP_OK;
}

/* ---------- what is not in memory ---------- */

/* The part of a segment's rows that lie in the time, as if they came evenly. */
static uint64_t segment_part(const struct kpi_segment_meta *meta, kp_time from, kp_time to)
{
    uint64_t rows = 0;
    uint32_t count;
    const struct kp_stream *streams = kp_streams(&count);
    for (uint32_t s = 0; s < count; s++)
        if (streams[s].family == KP_FAMILY_KERNEL)
            rows += meta->rows_by_stream[streams[s].number];
    double whole = (double)meta->ts_max - (double)meta->ts_min + 1;
    double part = (double)KP_MIN(to, meta->ts_max) - (double)KP_MAX(from, meta->ts_min) + 1;
    return (uint64_t)((double)rows * (part / whole));
}

/* A spine stands for its page; without one each block stands for itself. */
static bool is_read_whole(const struct kpi_segment *segment, const struct kpi_block_ref *ref)
{
    if (ref->stream == &kpi_spine_stream)
        return true;
    return ref->stream->family == KP_FAMILY_KERNEL && kpi_segment_spine(segment, ref) == NULL;
}

static uint64_t segment_unread(struct kp_snapshot *snapshot, uint32_t number, kp_time from,
                               kp_time to)
{
    const struct kpi_segment *segment = &snapshot->segments[number].segment;
    uint64_t rows = 0;
    for (uint32_t b = 0; b < segment->footer.blocks_count; b++) {
        const struct kpi_block_ref *ref = &segment->footer.blocks[b];
        if (ref->ts_max >= from && ref->ts_min <= to && is_read_whole(segment, ref) &&
            !kpi_page_there(snapshot, number, b))
            rows += ref->rows;
    }
    return rows;
}

uint64_t kp_scan_unread(struct kp_snapshot *snapshot, kp_time from, kp_time to)
{
    uint64_t rows = 0;
    for (uint32_t i = 0; i < snapshot->segments_count; i++) {
        const struct kpi_segment_meta *meta = &snapshot->segments[i].meta;
        if (meta->ts_max < from || meta->ts_min > to)
            continue;
        pthread_mutex_lock(&snapshot->lock);
        enum kpi_segment_state state = snapshot->segments[i].state;
        pthread_mutex_unlock(&snapshot->lock);
        if (state == KPI_SEGMENT_UNOPENED)
            rows += segment_part(meta, from, to);
        else if (state == KPI_SEGMENT_OPEN)
            rows += segment_unread(snapshot, i, from, to);
    }
    return rows;
}
