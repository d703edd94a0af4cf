/* SPDX-License-Identifier: Apache-2.0
 *
 * Keeps the transaction index up with the segments, by the sealer between two seals. One step takes
 * the oldest segments that no run covers, merges their lists with the run before them as long as
 * that one is of the same level or below, writes the result and then its manifest record, which is
 * the commit point. A crash leaves either a file that no record names (removed at the next start)
 * or files that a record has taken out (likewise).
 *
 * Runs are read through once after each start. One that is missing or damaged is taken out of the
 * manifest and made again from the segments: it holds nothing that they do not.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "storage/store_int.h"
#include "storage/run_file.h"

#define RETRY        KP_SEC
#define SEGMENTS_MAX 16u /* opened at once */
#define SOURCES_MAX  (SEGMENTS_MAX * KPI_EXACT_MAX + 8u)
#define RUNS_MAX     8u /* merged at once; levels fall from run to run, so more cannot be */

/* Sorted entries: an exact list of a segment, or a run. */
struct source {
    struct kpi_run_entry head; /* segment: of the new table */
    bool ended;
    const struct kpi_run_entry *entries; /* of a segment: all its count */
    uint32_t count;
    const struct kpi_run *run;
    const uint32_t *map; /* of a run: its segments in the new table, UINT32_MAX = not there */
    struct kpi_run_page *page;
    uint32_t segment, at, pages;
};

struct merge {
    struct kp_store *store;
    const struct kpi_manifest *state;
    struct kpi_segment segments[SEGMENTS_MAX];
    uint32_t segments_count;
    struct kpi_run runs[RUNS_MAX];
    uint32_t runs_count;
    struct source sources[SOURCES_MAX];
    uint32_t sources_count;
    uint64_t (*table)[2];
    uint32_t table_count;
    struct kpi_run_meta meta;
    struct kp_arena arena;
};

/* ---------- what is to be done ---------- */

/* True when a segment has rows in a stream with an EXACT column. */
static bool segment_matters(const struct kpi_segment_meta *meta)
{
    for (uint32_t s = 1; s < KP_STREAM_MAX; s++) {
        const struct kp_stream *stream =
            meta->rows_by_stream[s] == 0 ? NULL : kp_stream_by_number(s);
        for (uint32_t c = 0; stream != NULL && c < stream->stored_count; c++)
            if (stream->stored[c].index == KP_INDEX_EXACT)
                return true;
    }
    return false;
}

static const struct kpi_run_meta *run_of(const struct kpi_manifest *state, uint64_t segment)
{
    for (uint32_t i = 0; i < state->runs_count; i++)
        if (segment >= state->runs[i].first && segment <= state->runs[i].last)
            return &state->runs[i];
    return NULL;
}

static uint32_t level_of(uint64_t segments)
{
    return segments <= KPI_RUN_FANOUT ? 1 : segments <= KPI_RUN_FANOUT * KPI_RUN_FANOUT ? 2 : 3;
}

bool kpi_merge_due(const struct kp_store *store, int64_t now)
{
    return store->txn_work && now >= store->txn_retry && !store->sealing;
}

/* ---------- sources ---------- */

static void exact_step(struct source *source)
{
    if (source->at == source->count) {
        source->ended = true;
        return;
    }
    source->head = source->entries[source->at++];
    source->head.segment = source->segment;
}

/* Entries of segments that are gone are passed over. */
static kp_status run_step(struct merge *merge, struct source *source)
{
    for (;;) {
        if (source->at == source->page->count) {
            if (source->pages == source->run->pages) {
                source->ended = true;
                return KP_OK;
            }
            kp_status status = kpi_runfile_page_read(source->run, merge->store->seal_queue,
                                                     source->pages++, source->page);
            if (status != KP_OK)
                return status;
            source->at = 0;
        }
        struct kpi_run_entry entry = kpi_run_page_entry(source->page, source->at++);
        if (entry.segment >= source->run->segments)
            return KP_CORRUPT;
        if (source->map[entry.segment] == UINT32_MAX)
            continue;
        entry.segment = source->map[entry.segment];
        source->head = entry;
        return KP_OK;
    }
}

static kp_status source_step(struct merge *merge, struct source *source)
{
    if (source->run != NULL)
        return run_step(merge, source);
    exact_step(source);
    return KP_OK;
}

static void table_add(struct merge *merge, uint64_t id, uint64_t footer_hash)
{
    merge->table[merge->table_count][0] = id;
    merge->table[merge->table_count++][1] = footer_hash;
}

/* The segment's list of one column. */
static kp_status list_take(struct merge *merge, const struct kpi_segment *segment,
                           const struct kpi_exact *index)
{
    struct kpi_run_entry *entries;
    kp_status status =
        kpi_exact_load(segment, merge->store->seal_queue, index, &merge->arena, &entries);
    if (status == KP_OK)
        merge->sources[merge->sources_count++] = (struct source){
            .entries = entries, .count = index->count, .segment = merge->table_count};
    return status;
}

static kp_status segment_take(struct merge *merge, const struct kpi_segment_meta *meta)
{
    struct kp_store *store = merge->store;
    struct kpi_segment *segment = &merge->segments[merge->segments_count];
    struct kp_buf path = {0};
    kpi_segment_path(store->dir, meta->id, &path);
    kp_status status = path.failed ? KP_NO_MEMORY
                                   : kpi_segment_open(store->io, store->seal_queue,
                                                      kp_buf_cstr(&path), meta->id, segment, NULL);
    kp_buf_deinit(&path);
    if (status != KP_OK)
        return status;
    merge->segments_count++;
    if (segment->footer_hash.lo != meta->footer_hash.lo ||
        segment->footer_hash.hi != meta->footer_hash.hi)
        return KP_CORRUPT;
    uint32_t sources = merge->sources_count;
    for (uint32_t i = 0; i < segment->footer.exact_count && status == KP_OK; i++)
        status = list_take(merge, segment, &segment->footer.exact[i]);
    if (status == KP_OK)
        table_add(merge, meta->id, meta->footer_hash.lo);
    else
        merge->sources_count = sources;
    return status;
}

static const struct kpi_segment_meta *meta_of(const struct kpi_manifest *state, uint64_t id)
{
    uint32_t low = 0, high = state->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (state->segments[mid].id < id)
            low = mid + 1;
        else
            high = mid;
    }
    return low < state->count && state->segments[low].id == id ? &state->segments[low] : NULL;
}

static kp_status run_take(struct merge *merge, const struct kpi_run_meta *meta)
{
    struct kp_store *store = merge->store;
    struct kpi_run *run = &merge->runs[merge->runs_count];
    struct kp_buf path = {0};
    kpi_runfile_path(store->dir, meta->id, &path);
    kp_status status =
        path.failed ? KP_NO_MEMORY
                    : kpi_runfile_open(store->io, store->seal_queue, kp_buf_cstr(&path), meta, run);
    kp_buf_deinit(&path);
    if (status != KP_OK)
        return status;
    merge->runs_count++;
    uint32_t *map = kp_arena_alloc(&merge->arena, (size_t)run->segments * sizeof(*map) + 1);
    struct kpi_run_page *page = kp_arena_zalloc(&merge->arena, 1, sizeof(*page));
    if (map == NULL || page == NULL)
        return KP_NO_MEMORY;
    for (uint32_t i = 0; i < run->segments; i++) {
        const struct kpi_segment_meta *live = meta_of(merge->state, kpi_runfile_segment_id(run, i));
        map[i] = live != NULL && kpi_runfile_covers(run, i, live) ? merge->table_count : UINT32_MAX;
        if (map[i] != UINT32_MAX)
            table_add(merge, live->id, live->footer_hash.lo);
    }
    merge->sources[merge->sources_count++] = (struct source){.run = run, .map = map, .page = page};
    merge->meta.first = KP_MIN(merge->meta.first, meta->first);
    return KP_OK;
}

static void merge_deinit(struct merge *merge)
{
    for (uint32_t i = 0; i < merge->segments_count; i++)
        kpi_segment_close(&merge->segments[i]);
    for (uint32_t i = 0; i < merge->runs_count; i++)
        kpi_runfile_close(&merge->runs[i]);
    free(merge->table);
    kp_arena_deinit(&merge->arena);
    free(merge);
}

/* ---------- merging ---------- */

/* Few sources: a look at each is as good as a heap. */
static struct source *source_least(struct merge *merge)
{
    struct source *least = NULL;
    for (uint32_t i = 0; i < merge->sources_count; i++) {
        struct source *source = &merge->sources[i];
        if (!source->ended && (least == NULL || source->head.key < least->head.key))
            least = source;
    }
    return least;
}

static kp_status entries_write(struct merge *merge, struct kpi_run_writer *writer)
{
    kp_status status = KP_OK;
    for (uint32_t i = 0; i < merge->sources_count && status == KP_OK; i++)
        status = source_step(merge, &merge->sources[i]);
    while (status == KP_OK) {
        struct source *source = source_least(merge);
        if (source == NULL)
            return KP_OK;
        status = kpi_runfile_add(writer, &source->head);
        if (status == KP_OK)
            status = source_step(merge, source);
    }
    return status;
}

static kp_status merge_write(struct merge *merge)
{
    struct kp_store *store = merge->store;
    struct kpi_run_writer *writer;
    merge->meta.id = store->run_next++;
    merge->meta.segments = merge->table_count;
    kp_status status =
        kpi_runfile_create(store->io, store->seal_queue, store->dir, merge->meta.id,
                           (const uint64_t(*)[2])merge->table, merge->table_count, &writer);
    if (status != KP_OK)
        return status;
    status = entries_write(merge, writer);
    if (status != KP_OK) {
        kpi_runfile_abandon(writer);
        return status;
    }
    status = kpi_runfile_finish(writer, &merge->meta);
    if (status == KP_OK)
        status = kpi_manifest_run(store->manifest, store->seal_queue, &merge->meta, NULL);
    return status;
}

/* The run before a place, when it is of a level that goes into the new one. */
static const struct kpi_run_meta *run_below(const struct merge *merge)
{
    const struct kpi_run_meta *before = NULL;
    for (uint32_t i = 0; i < merge->state->runs_count; i++)
        if (merge->state->runs[i].last < merge->meta.first)
            before = &merge->state->runs[i];
    bool goes = before != NULL && level_of(before->segments) <= level_of(merge->table_count) &&
                merge->runs_count < RUNS_MAX;
    return goes ? before : NULL;
}

/* A damaged segment has no list: it stays out, and readers ask it themselves. */
static kp_status merge_from(struct merge *merge, uint32_t place)
{
    const struct kpi_manifest *state = merge->state;
    kp_status status = KP_OK;
    merge->meta.first = merge->meta.last = state->segments[place].id;
    for (uint32_t i = place; i < state->count && merge->segments_count < SEGMENTS_MAX; i++) {
        const struct kpi_segment_meta *meta = &state->segments[i];
        if (run_of(state, meta->id) != NULL)
            break;
        if (segment_matters(meta))
            status = segment_take(merge, meta);
        if (status == KP_NO_MEMORY)
            return status;
        merge->meta.last = meta->id;
        status = KP_OK;
    }
    for (const struct kpi_run_meta *run; (run = run_below(merge)) != NULL;) {
        status = run_take(merge, run);
        if (status != KP_OK)
            return status;
    }
    return merge_write(merge);
}

static kp_status merge_step(struct kp_store *store, uint32_t place)
{
    const struct kpi_manifest *state = kpi_manifest_state(store->manifest);
    struct merge *merge = calloc(1, sizeof(*merge));
    if (merge == NULL)
        return KP_NO_MEMORY;
    merge->store = store;
    merge->state = state;
    merge->table = calloc(state->count + 1, sizeof(*merge->table));
    kp_status status = merge->table == NULL ? KP_NO_MEMORY : merge_from(merge, place);
    merge_deinit(merge);
    if (status == KP_CORRUPT || status == KP_NOT_FOUND) { /* a run: look at all of them again */
        store->runs_checked = 0;
        store->runs_check = store->run_next;
    }
    kpi_merge_tidy(store);
    return status;
}

/* ---------- runs that cannot be believed ---------- */

static kp_status run_read_through(struct kp_store *store, const struct kpi_run_meta *meta)
{
    struct kpi_run run = {0};
    struct kp_buf path = {0};
    kpi_runfile_path(store->dir, meta->id, &path);
    kp_status status = path.failed ? KP_NO_MEMORY
                                   : kpi_runfile_open(store->io, store->seal_queue,
                                                      kp_buf_cstr(&path), meta, &run);
    kp_buf_deinit(&path);
    if (status != KP_OK)
        return status;
    status = kpi_runfile_check(&run, store->seal_queue);
    kpi_runfile_close(&run);
    return status;
}

static kp_status run_examine(struct kp_store *store, const struct kpi_run_meta *run)
{
    kp_status status = run_read_through(store, run);
    if (status != KP_CORRUPT && status != KP_NOT_FOUND && status != KP_VERSION)
        return status;
    kp_log(KP_LOG_WARN, "store", "run %016" PRIx64 " of the transaction index is %s: made again",
           run->id, status == KP_NOT_FOUND ? "missing" : "damaged");
    struct kpi_run_meta none = {.first = run->first, .last = run->last};
    status = kpi_manifest_run(store->manifest, store->seal_queue, &none, NULL);
    kpi_merge_tidy(store);
    return status;
}

/* ---------- one step ---------- */

static const struct kpi_run_meta *run_unchecked(const struct kp_store *store,
                                                const struct kpi_manifest *state)
{
    const struct kpi_run_meta *next = NULL;
    for (uint32_t i = 0; i < state->runs_count; i++) {
        const struct kpi_run_meta *run = &state->runs[i];
        bool wanted = run->id > store->runs_checked && run->id < store->runs_check;
        if (wanted && (next == NULL || run->id < next->id))
            next = run;
    }
    return next;
}

/* The first segment that has entries and no run. */
static uint32_t uncovered(const struct kpi_manifest *state)
{
    uint32_t i = 0;
    while (i < state->count &&
           (run_of(state, state->segments[i].id) != NULL || !segment_matters(&state->segments[i])))
        i++;
    return i;
}

static kp_status step(struct kp_store *store, bool *out_more)
{
    const struct kpi_manifest *state = kpi_manifest_state(store->manifest);
    const struct kpi_run_meta *run = run_unchecked(store, state);
    uint32_t place = uncovered(state);
    *out_more = true;
    if (run != NULL) {
        uint64_t id = run->id;
        kp_status status = run_examine(store, run);
        if (status == KP_OK)
            store->runs_checked = id;
        return status;
    }
    if (place < state->count)
        return merge_step(store, place);
    *out_more = false;
    return KP_OK;
}

void kpi_merge_run(struct kp_store *store, int64_t now)
{
    bool more = false;
    store->sealing = true;
    store->txn_work = false;
    pthread_mutex_unlock(&store->lock);
    kp_status status = step(store, &more);
    pthread_mutex_lock(&store->lock);
    store->sealing = false;
    store->txn_work |= more || status != KP_OK;
    if (status != KP_OK)
        store->txn_retry = now + RETRY;
    pthread_cond_broadcast(&store->changed);
}

/* ---------- files ---------- */

struct tidying {
    struct kp_store *store;
    const struct kpi_manifest *state;
    struct kp_buf names;
};

static void file_find(void *ctx, const char *name)
{
    struct tidying *t = ctx;
    uint64_t id = strtoull(name, NULL, 16);
    bool named = false;
    t->store->run_next = KP_MAX(t->store->run_next, id + 1);
    for (uint32_t i = 0; i < t->state->runs_count; i++)
        named |= t->state->runs[i].id == id;
    if (!named || strcmp(name + strspn(name, "0123456789abcdef"), ".kpt") != 0)
        kp_buf_add(&t->names, name, strlen(name) + 1);
}

void kpi_merge_tidy(struct kp_store *store)
{
    struct tidying t = {.store = store, .state = kpi_manifest_state(store->manifest)};
    struct kp_buf folder = {0}, path = {0};
    kp_buf_printf(&folder, "%s/txn", store->dir);
    int result = store->io->list(store->io, kp_buf_cstr(&folder), file_find, &t);
    for (size_t at = 0; result == 0 && !t.names.failed && at < t.names.size;
         at += strlen(t.names.data + at) + 1) {
        kp_buf_clear(&path);
        kp_buf_printf(&path, "%s/%s", kp_buf_cstr(&folder), (const char *)t.names.data + at);
        store->io->unlink(store->io, kp_buf_cstr(&path));
    }
    for (uint32_t i = 0; i < t.state->runs_count; i++)
        store->run_next = KP_MAX(store->run_next, t.state->runs[i].id + 1);
    kp_buf_deinit(&t.names);
    kp_buf_deinit(&folder);
    kp_buf_deinit(&path);
}
