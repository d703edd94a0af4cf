/* SPDX-License-Identifier: Apache-2.0
 *
 * Hops. Segments are tried from the newest that begins before t; as segments may overlap (late
 * rows), older ones count until none of them can reach beyond the best row found. Within a segment
 * blocks are in order: the first one from behind that has a row has the last one.
 */
#include "storage/hop.h"

#include <stdlib.h>

#include "base/assert.h"
#include "storage/order.h"
#include "storage/page.h"

/* Rows of a page by thread of one ACTOR column; those of a thread in order. */
struct kpi_threads {
    uint32_t *starts; /* by local number: where its rows begin; one more at the end */
    uint32_t *rows;
    uint32_t *locals; /* with rows, by tid */
    int64_t *tids;    /* of these */
    uint32_t count;
};

/* Blocks of one stream in a segment. */
struct stream_blocks {
    uint32_t count;
    uint32_t numbers[];
};

struct segment_view {
    uint32_t number; /* of the snapshot */
    kp_time ts_min;
    kp_time reach; /* greatest ts of this and all before it in the list */
    struct stream_blocks **streams;
};

struct kp_hop {
    struct kp_snapshot *snapshot;
    struct kp_io_queue *queue;
    struct segment_view *segments; /* by ts_min */
    struct kp_arena arena;
};

struct search {
    struct kp_hop *hop;
    const struct kp_hop_req *req;
    bool found;
    struct kp_hop_row best;
};

/* ---------- rows by thread ---------- */

struct local_tid {
    int64_t tid;
    uint32_t local;
};

static int compare_locals(const void *a, const void *b)
{
    const struct local_tid *x = a, *y = b;
    if (x->tid != y->tid)
        return x->tid < y->tid ? -1 : 1;
    return x->local < y->local ? -1 : x->local > y->local;
}

/* The threads that occur, by tid, so that a tid leads to its local numbers. */
static kp_status tids_make(const int64_t *tid_of, uint32_t locals, struct kp_arena *arena,
                           struct kpi_threads *threads)
{
    struct local_tid *sorted = malloc(((size_t)locals + 1) * sizeof(*sorted));
    threads->locals = kp_arena_alloc(arena, ((size_t)locals + 1) * sizeof(*threads->locals));
    threads->tids = kp_arena_alloc(arena, ((size_t)locals + 1) * sizeof(*threads->tids));
    if (sorted == NULL || threads->locals == NULL || threads->tids == NULL) {
        free(sorted);
        return KP_NO_MEMORY;
    }
    for (uint32_t i = 1; i < locals; i++) /* 0 is nobody */
        if (threads->starts[i + 1] > threads->starts[i])
            sorted[threads->count++] = (struct local_tid){tid_of[i], i};
    if (threads->count > 0)
        qsort(sorted, threads->count, sizeof(*sorted), compare_locals);
    for (uint32_t i = 0; i < threads->count; i++) {
        threads->locals[i] = sorted[i].local;
        threads->tids[i] = sorted[i].tid;
    }
    free(sorted);
    return KP_OK;
}

/* Counting sort of the rows, in the order of the page. */
static kp_status threads_make(const struct kpi_page *page, uint32_t column, const int64_t *tid_of,
                              uint32_t locals, struct kp_arena *arena, struct kpi_threads **out)
{
    const struct kpi_packed *local_of = &page->packed[column];
    struct kpi_threads *threads = kp_arena_zalloc(arena, 1, sizeof(*threads));
    uint32_t *starts = kp_arena_zalloc(arena, (size_t)locals + 2, sizeof(*starts));
    uint32_t *rows = kp_arena_alloc(arena, ((size_t)page->rows + 1) * sizeof(*rows));
    if (threads == NULL || starts == NULL || rows == NULL)
        return KP_NO_MEMORY;
    for (uint32_t row = 0; row < page->rows; row++)
        starts[kpi_packed_at(local_of, row) + 2]++;
    for (uint32_t i = 2; i < locals + 2; i++)
        starts[i] += starts[i - 1];
    for (uint32_t i = 0; i < page->rows; i++) {
        uint32_t row = page->order == NULL ? i : page->order[i];
        rows[starts[kpi_packed_at(local_of, row) + 1]++] = row;
    }
    threads->starts = starts;
    threads->rows = rows;
    *out = threads;
    return tids_make(tid_of, locals, arena, threads);
}

static kp_status page_threads(struct kp_snapshot *snapshot, struct kpi_page *page, uint32_t column,
                              const struct kpi_threads **out)
{
    kp_status status = kpi_page_decode(snapshot, page, column);
    if (status != KP_OK)
        return status;
    const int64_t *tid_of = kpi_page_attr(snapshot, page, KP_ATTR_TID);
    if (tid_of == NULL)
        return KP_NO_MEMORY;
    uint32_t locals = (page->bound != NULL ? page->bound->actors : page->actors) + 1;
    pthread_mutex_lock(&page->lock);
    if (page->threads[column] == NULL) {
        size_t before = page->arena.used_bytes;
        struct kpi_threads *threads;
        status = threads_make(page, column, tid_of, locals, &page->arena, &threads);
        if (status == KP_OK)
            page->threads[column] = threads;
        kpi_page_charge(snapshot, page, before);
    }
    *out = page->threads[column];
    pthread_mutex_unlock(&page->lock);
    return status;
}

/* ---------- one page ---------- */

static bool thread_wanted(const struct search *search, kp_actor_id id)
{
    const struct kp_actor *same = search->req->same;
    if (same == NULL)
        return true;
    const struct kp_actor *actor = kp_actors_get(search->hop->snapshot->actors, id);
    return actor->start == same->start && kp_str_equal(actor->host, same->host) &&
           kp_str_equal(actor->boot, same->boot);
}

static kp_status row_take(struct search *search, struct kpi_page *page, uint32_t row,
                          kp_actor_id thread)
{
    struct kp_snapshot *snapshot = search->hop->snapshot;
    const int64_t *ts;
    kp_status status = kpi_page_times(snapshot, page, &ts);
    if (status == KP_OK)
        status = kpi_page_ties(snapshot, page);
    if (status != KP_OK)
        return status;
    const struct kp_hop_row *best = &search->best;
    struct kpi_row_key a = {best->ts, best->seq, best->cpu, best->actor};
    struct kpi_row_key b = kpi_page_key(page, ts, row);
    if (!search->found || kpi_row_compare(snapshot->actors, &a, &b) < 0)
        search->best = (struct kp_hop_row){
            .ts = b.ts, .seq = b.seq, .cpu = b.cpu, .actor = b.actor, .thread = thread};
    search->found = true;
    return KP_OK;
}

/* The last of a thread's rows before t; UINT32_MAX: none. */
static uint32_t last_before(const struct kpi_threads *threads, uint32_t local, const int64_t *ts,
                            kp_time before)
{
    uint32_t begin = threads->starts[local], low = begin, high = threads->starts[local + 1];
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (ts[threads->rows[mid]] < before)
            low = mid + 1;
        else
            high = mid;
    }
    return low == begin ? UINT32_MAX : threads->rows[low - 1];
}

static uint32_t first_of_tid(const struct kpi_threads *threads, int64_t tid)
{
    uint32_t low = 0, high = threads->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (threads->tids[mid] < tid)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static kp_status page_search(struct search *search, struct kpi_page *page)
{
    struct kp_snapshot *snapshot = search->hop->snapshot;
    const struct kp_hop_req *req = search->req;
    const struct kpi_threads *threads;
    const int64_t *ts;
    kp_status status = kpi_page_times(snapshot, page, &ts);
    if (status == KP_OK)
        status = page_threads(snapshot, page, req->column, &threads);
    if (status != KP_OK)
        return status;
    for (uint32_t i = first_of_tid(threads, req->tid);
         i < threads->count && threads->tids[i] == req->tid && status == KP_OK; i++) {
        kp_actor_id thread = page->ids[threads->locals[i]];
        uint32_t row = thread_wanted(search, thread)
                           ? last_before(threads, threads->locals[i], ts, req->before)
                           : UINT32_MAX;
        if (row != UINT32_MAX)
            status = row_take(search, page, row, thread);
    }
    return status;
}

/* ---------- segments ---------- */

static const struct stream_blocks *blocks_of(struct kp_hop *hop, struct segment_view *view,
                                             const struct kpi_segment *segment,
                                             const struct kp_stream *stream)
{
    const struct kpi_footer *footer = &segment->footer;
    if (view->streams == NULL)
        view->streams = kp_arena_zalloc(&hop->arena, KP_STREAM_MAX, sizeof(*view->streams));
    if (view->streams == NULL || view->streams[stream->number] != NULL)
        return view->streams == NULL ? NULL : view->streams[stream->number];
    uint32_t count = 0;
    for (uint32_t i = 0; i < footer->blocks_count; i++)
        count += footer->blocks[i].stream == stream;
    struct stream_blocks *blocks =
        kp_arena_alloc(&hop->arena, sizeof(*blocks) + count * sizeof(blocks->numbers[0]));
    if (blocks == NULL)
        return NULL;
    blocks->count = 0;
    for (uint32_t i = 0; i < footer->blocks_count; i++)
        if (footer->blocks[i].stream == stream)
            blocks->numbers[blocks->count++] = i;
    view->streams[stream->number] = blocks;
    return blocks;
}

static kp_status block_search(struct search *search, uint32_t segment, uint32_t block)
{
    struct kp_hop *hop = search->hop;
    struct kpi_page *page = kpi_page_cached(hop->snapshot, segment, block);
    kp_status status = KP_OK;
    if (page == NULL)
        status = kpi_page_read(hop->snapshot, hop->queue, segment, block, &page);
    if (status != KP_OK)
        return status;
    status = page_search(search, page);
    kpi_page_release(hop->snapshot, page);
    return status;
}

/* Blocks that begin before t. */
static uint32_t blocks_before(const struct kpi_segment *segment, const struct stream_blocks *blocks,
                              kp_time before)
{
    uint32_t low = 0, high = blocks->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (segment->footer.blocks[blocks->numbers[mid]].ts_min < before)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static kp_status segment_search(struct search *search, struct segment_view *view)
{
    struct kp_hop *hop = search->hop;
    const struct kp_hop_req *req = search->req;
    const struct kpi_segment *segment =
        kpi_snapshot_segment(hop->snapshot, view->number, hop->queue);
    if (segment == NULL)
        return kpi_snapshot_missing(hop->snapshot, view->number);
    kpi_snapshot_sets(hop->snapshot, view->number, hop->queue);
    const struct stream_blocks *blocks = blocks_of(hop, view, segment, req->stream);
    if (blocks == NULL)
        return KP_NO_MEMORY;
    struct search own = {.hop = hop, .req = req};
    for (uint32_t i = blocks_before(segment, blocks, req->before); i-- > 0 && !own.found;) {
        const struct kpi_block_ref *ref = &segment->footer.blocks[blocks->numbers[i]];
        if (search->found && ref->ts_max < search->best.ts)
            return KP_OK;
        if (!kpi_block_ref_has_tid(ref, req->column, &req->tid, 1))
            continue;
        kp_status status = block_search(&own, view->number, blocks->numbers[i]);
        if (status != KP_OK && status != KP_CORRUPT)
            return status;
    }
    if (!own.found)
        return KP_OK;
    struct kpi_row_key a = {search->best.ts, search->best.seq, search->best.cpu,
                            search->best.actor};
    struct kpi_row_key b = {own.best.ts, own.best.seq, own.best.cpu, own.best.actor};
    if (!search->found || kpi_row_compare(hop->snapshot->actors, &a, &b) < 0)
        search->best = own.best;
    search->found = true;
    return KP_OK;
}

static kp_status segments_search(struct search *search)
{
    struct kp_hop *hop = search->hop;
    uint32_t low = 0, high = hop->snapshot->segments_count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (hop->segments[mid].ts_min < search->req->before)
            low = mid + 1;
        else
            high = mid;
    }
    kp_status status = KP_OK;
    for (uint32_t i = low; i-- > 0 && status == KP_OK;) {
        struct segment_view *view = &hop->segments[i];
        if (search->found && view->reach < search->best.ts)
            break;
        const struct kpi_segment_meta *meta = &hop->snapshot->segments[view->number].meta;
        if (meta->rows_by_stream[search->req->stream->number] > 0 &&
            !(search->found && meta->ts_max < search->best.ts))
            status = segment_search(search, view);
    }
    return status;
}

/* ---------- the log ---------- */

static kp_status log_search(struct search *search)
{
    struct kp_snapshot *snapshot = search->hop->snapshot;
    const struct kpi_log *log = &snapshot->logs[search->req->stream->number];
    kp_status status = KP_OK;
    for (uint32_t i = log->count; i-- > 0 && status == KP_OK;) {
        struct kpi_page *page = log->pages[i];
        if (page->ts_min >= search->req->before ||
            (search->found && page->ts_max < search->best.ts))
            continue;
        kpi_page_hold(snapshot, page);
        status = kpi_page_sort(snapshot, page);
        if (status == KP_OK)
            status = page_search(search, page);
        kpi_page_release(snapshot, page);
        if (status == KP_CORRUPT)
            status = KP_OK;
    }
    return status;
}

/* ---------- public ---------- */

static int compare_views(const void *a, const void *b)
{
    const struct segment_view *x = a, *y = b;
    if (x->ts_min != y->ts_min)
        return x->ts_min < y->ts_min ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

static void views_make(struct kp_hop *hop)
{
    const struct kp_snapshot *snapshot = hop->snapshot;
    for (uint32_t i = 0; i < snapshot->segments_count; i++)
        hop->segments[i] =
            (struct segment_view){.number = i, .ts_min = snapshot->segments[i].meta.ts_min};
    if (snapshot->segments_count > 0)
        qsort(hop->segments, snapshot->segments_count, sizeof(*hop->segments), compare_views);
    kp_time reach = KP_TIME_MIN;
    for (uint32_t i = 0; i < snapshot->segments_count; i++) {
        reach = KP_MAX(reach, snapshot->segments[hop->segments[i].number].meta.ts_max);
        hop->segments[i].reach = reach;
    }
}

kp_status kp_hop_open(struct kp_snapshot *snapshot, struct kp_hop **out, struct kp_error *err)
{
    struct kp_hop *hop = calloc(1, sizeof(*hop));
    if (hop == NULL)
        return kp_error_set(err, KP_NO_MEMORY, "cannot look back in time: out of memory");
    hop->snapshot = snapshot;
    kp_arena_init(&hop->arena, 0);
    hop->segments =
        kp_arena_zalloc(&hop->arena, (size_t)snapshot->segments_count + 1, sizeof(*hop->segments));
    kp_status status = hop->segments == NULL ? KP_NO_MEMORY : KP_OK;
    if (status == KP_OK)
        status = snapshot->io->queue_open(snapshot->io, 2, &hop->queue);
    if (status != KP_OK) {
        kp_hop_close(hop);
        return kp_error_set(err, status, "cannot look back in time: %s", kp_status_text(status));
    }
    views_make(hop);
    *out = hop;
    return KP_OK;
}

kp_status kp_hop_before(struct kp_hop *hop, const struct kp_hop_req *req, struct kp_hop_row *out,
                        struct kp_error *err)
{
    struct search search = {.hop = hop, .req = req};
    if (req->column >= req->stream->stored_count ||
        req->stream->stored[req->column].type != KP_TYPE_ACTOR)
        return kp_error_set(err, KP_INVALID, "%s has no such column of threads", req->stream->name);
    kp_status status = log_search(&search);
    if (status == KP_OK)
        status = segments_search(&search);
    if (status != KP_OK)
        return kp_error_set(err, status, "cannot look back in %s: %s", req->stream->name,
                            kp_status_text(status));
    if (!search.found)
        return KP_END;
    *out = search.best;
    return KP_OK;
}

void kp_hop_close(struct kp_hop *hop)
{
    if (hop == NULL)
        return;
    if (hop->queue != NULL)
        hop->snapshot->io->queue_close(hop->queue);
    kp_arena_deinit(&hop->arena);
    free(hop);
}
