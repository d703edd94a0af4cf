/* SPDX-License-Identifier: Apache-2.0
 *
 * Cold segments. Steps, and what a power loss leaves behind after each:
 *
 *   seg/ID.kps.tmp, ID.kps   a file that no record names; the next start removes it
 *   manifest record          the commit point: the new segment is there, its parts are not
 *   record in the chain      a start that finds it missing describes the segment
 *   parts removed            files that no record names, as above
 *
 * Before the record is written the new file is read back: its content hash must be the sum of what
 * was read from its parts, and of what the chain says of them. A part that does not read, or says
 * something else than was sealed, stays as it is for who has to look at it. So does what is held.
 *
 * Segments become cold once. They wait a quarter of --cold-after longer for neighbours to be joined
 * with, unless these fill a file before.
 */
#include "storage/cold.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/assert.h"
#include "base/log.h"
#include "storage/digest.h"
#include "storage/epoch.h"
#include "storage/pager.h"
#include "storage/segment.h"
#include "storage/spine.h"

#define COLD_EVERY KP_MIN_NS
#define COLD_GRACE KP_MIN_NS            /* for readers that know the parts only */
#define COLD_BYTES ((uint64_t)64 << 20) /* of parts joined */
#define COLD_ROWS  ((uint64_t)32 << 20)
#define COLD_PARTS 256u
#define COLD_NICE  19

struct kpi_gone {
    uint64_t id;
    int64_t at; /* mono time to remove it */
};

struct kpi_cold {
    struct kp_store *store;
    struct kpi_segment_meta parts[COLD_PARTS];
    uint32_t count;
    struct kpi_segment_meta meta; /* of the new segment */
    struct kp_hash128 content;
    bool taken; /* the sealer is at it */
};

/* ---------- what is to be done ---------- */

int64_t kpi_cold_next(const struct kp_store *store)
{
    return store->opts.cold_after > 0 ? store->cold_next : INT64_MAX;
}

bool kpi_cold_due(const struct kp_store *store, int64_t now)
{
    bool wanted = store->cold_forced || now >= kpi_cold_next(store);
    return wanted && store->cold == NULL && !store->sealing;
}

static int compare_logs(const void *a, const void *b)
{
    const struct kpi_segment_meta *x = a, *y = b;
    return x->wal_first < y->wal_first ? -1 : x->wal_first > y->wal_first;
}

/* Whether a segment is to be rewritten at all; *out_age: of its newest row. */
static bool eligible(const struct kp_store *store, const struct kpi_manifest *state,
                     const struct kpi_segment_meta *meta, kp_time now, kp_dur *out_age)
{
    if (__builtin_sub_overflow(now, meta->ts_max, out_age))
        *out_age = 0;
    bool old = store->cold_forced || *out_age > store->opts.cold_after;
    return old && !meta->cold && meta->wal_last > store->cold_refused &&
           !kpi_manifest_held(state, meta);
}

static bool joins(const struct kp_store *store, const struct kpi_segment_meta *last,
                  const struct kpi_segment_meta *next, uint64_t bytes, uint64_t rows)
{
    uint64_t border = store->evidence == NULL ? 0 : store->evidence->segment_genesis;
    return next->wal_first == last->wal_last + 1 && bytes + next->bytes <= COLD_BYTES &&
           rows + next->rows <= COLD_ROWS && (last->id <= border) == (next->id <= border);
}

/* The run of neighbours that begins at `from`. False: it may still grow. */
static bool group_take(const struct kp_store *store, const struct kpi_manifest *state,
                       const struct kpi_segment_meta *sorted, uint32_t from, kp_time now,
                       struct kpi_cold *out)
{
    uint64_t bytes = 0, rows = 0;
    kp_dur age, oldest = 0;
    uint32_t at = from;
    out->count = 0;
    for (; at < state->count && out->count < COLD_PARTS; at++) {
        const struct kpi_segment_meta *meta = &sorted[at];
        if (!eligible(store, state, meta, now, &age) ||
            (at > from && !joins(store, &sorted[at - 1], meta, bytes, rows)))
            break;
        out->parts[out->count++] = *meta;
        bytes += meta->bytes;
        rows += meta->rows;
        oldest = KP_MAX(oldest, age);
    }
    bool waits = at == state->count || (!sorted[at].cold && !kpi_manifest_held(state, &sorted[at]));
    bool full = bytes >= COLD_BYTES / 2 || out->count == COLD_PARTS;
    return out->count > 0 && (store->cold_forced || full || !waits ||
                              oldest - store->opts.cold_after > store->opts.cold_after / 4);
}

/* In manual mode there is no clock: time is that of the newest row. */
static kp_time wall_now(const struct kp_store *store, const struct kpi_manifest *state)
{
    kp_time newest = 0;
    if (!store->opts.manual)
        return kp_time_now();
    for (uint32_t i = 0; i < state->count; i++)
        newest = KP_MAX(newest, state->segments[i].ts_max);
    return newest;
}

static bool choose(const struct kp_store *store, struct kpi_cold *out)
{
    const struct kpi_manifest *state = kpi_manifest_state(store->manifest);
    kp_time now = wall_now(store, state);
    struct kpi_segment_meta *sorted = malloc((state->count + 1) * sizeof(*sorted));
    if (sorted == NULL)
        return false;
    memcpy(sorted, state->segments, state->count * sizeof(*sorted));
    qsort(sorted, state->count, sizeof(*sorted), compare_logs);
    bool found = false;
    for (uint32_t from = 0; from < state->count && !found;) {
        found = group_take(store, state, sorted, from, now, out);
        from += KP_MAX(out->count, 1);
    }
    free(sorted);
    return found;
}

/* ---------- reading the parts ---------- */

struct piece { /* a page with a spine, or a block of its own */
    const struct kpi_segment *segment;
    const struct kpi_block_ref *ref;
    uint32_t blocks;
};

struct parts {
    struct kpi_cold *cold;
    struct kp_io_queue *queue;
    struct kpi_segment segments[COLD_PARTS];
    uint32_t opened;
    struct piece *pieces;
    struct kpi_block_info *infos;
    uint32_t count;
    struct kpi_content content;
    uint64_t bytes;
    int64_t began;
};

static kp_status part_open(struct parts *parts, const struct kpi_segment_meta *meta)
{
    const struct kp_store *store = parts->cold->store;
    struct kpi_segment *segment = &parts->segments[parts->opened];
    struct kp_buf path = {0};
    kpi_segment_path(store->dir, meta->id, &path);
    kp_status status = path.failed ? KP_NO_MEMORY
                                   : kpi_segment_open(store->io, parts->queue, kp_buf_cstr(&path),
                                                      meta->id, segment, NULL);
    kp_buf_deinit(&path);
    if (status != KP_OK)
        return status;
    parts->opened++;
    return kpi_hash_equal(segment->footer_hash, meta->footer_hash) ? KP_OK : KP_CORRUPT;
}

static void piece_add(struct parts *parts, const struct kpi_segment *segment, uint32_t number,
                      uint32_t blocks)
{
    const struct kpi_block_ref *ref = &segment->footer.blocks[number];
    parts->infos[parts->count] = (struct kpi_block_info){.stream = ref->stream,
                                                         .rows = ref->rows,
                                                         .size = ref->size,
                                                         .ts_min = ref->ts_min,
                                                         .ts_max = ref->ts_max,
                                                         .seq_min = ref->seq_min,
                                                         .seq_max = ref->seq_max};
    parts->pieces[parts->count++] =
        (struct piece){.segment = segment, .ref = ref, .blocks = blocks};
}

static kp_status pieces_list(struct parts *parts, const struct kpi_segment *segment)
{
    const struct kpi_footer *footer = &segment->footer;
    for (uint32_t i = 0; i < footer->blocks_count;) {
        uint32_t end = i + 1;
        if (footer->blocks[i].stream == NULL)
            return KP_VERSION;
        while (footer->blocks[i].stream == &kpi_spine_stream && end < footer->blocks_count &&
               footer->blocks[end].page == footer->blocks[i].page)
            end++;
        piece_add(parts, segment, i, end - i);
        i = end;
    }
    return KP_OK;
}

static kp_status parts_open(struct parts *parts)
{
    const struct kpi_cold *cold = parts->cold;
    kp_status status = cold->store->io->queue_open(cold->store->io, 4, &parts->queue);
    size_t blocks = 1;
    for (uint32_t i = 0; i < cold->count && status == KP_OK; i++)
        status = part_open(parts, &cold->parts[i]);
    for (uint32_t i = 0; i < parts->opened; i++)
        blocks += parts->segments[i].footer.blocks_count;
    parts->pieces = calloc(blocks, sizeof(*parts->pieces));
    parts->infos = calloc(blocks, sizeof(*parts->infos));
    if (status == KP_OK && (parts->pieces == NULL || parts->infos == NULL))
        status = KP_NO_MEMORY;
    for (uint32_t i = 0; i < parts->opened && status == KP_OK; i++)
        status = pieces_list(parts, &parts->segments[i]);
    return status;
}

static void parts_close(struct parts *parts)
{
    for (uint32_t i = 0; i < parts->opened; i++)
        kpi_segment_close(&parts->segments[i]);
    if (parts->queue != NULL)
        parts->cold->store->io->queue_close(parts->queue);
    kpi_content_deinit(&parts->content);
    free(parts->pieces);
    free(parts->infos);
    free(parts);
}

/* Not more bytes a second than allowed, written ones included. BUSY: the store is closing. */
static kp_status pace(struct parts *parts, uint64_t bytes)
{
    struct kp_store *store = parts->cold->store;
    parts->bytes += 2 * bytes;
    if (store->opts.manual || store->opts.cold_rate == 0)
        return KP_OK;
    int64_t until =
        parts->began + (int64_t)((double)parts->bytes / (double)store->opts.cold_rate * KP_SEC);
    pthread_mutex_lock(&store->lock);
    while (!store->stop && !store->cold_forced && kp_time_monotonic() < until)
        kpi_wait_until(&store->cold_work, &store->lock, until);
    bool stop = store->stop;
    pthread_mutex_unlock(&store->lock);
    return stop ? KP_BUSY : KP_OK;
}

static kp_status block_load(struct parts *parts, const struct piece *piece, uint32_t number,
                            struct kpi_spine **spine, struct kp_actors *actors, kp_actor_id **ids,
                            struct kp_arena *arena, struct kp_batch *out, bool *out_rows)
{
    const struct kpi_block_ref *ref = piece->ref + number;
    struct kpi_block block;
    void *bytes = kp_arena_alloc(arena, ref->size);
    kp_status status = bytes == NULL
                           ? KP_NO_MEMORY
                           : kpi_segment_read(piece->segment, parts->queue, ref, bytes, &block);
    *out_rows = false;
    if (status == KP_OK && ref->stream == &kpi_spine_stream)
        return kpi_spine_open(&block, arena, spine);
    if (status == KP_OK && block.paged)
        status = *spine == NULL ? KP_CORRUPT : kpi_spine_bind(*spine, arena, &block);
    if (status == KP_OK)
        status = kpi_block_batch_ids(&block, UINT64_MAX, actors, ids, arena, out);
    *out_rows = status == KP_OK;
    return status;
}

static kp_status piece_load(void *ctx, uint32_t number, struct kp_actors *actors,
                            struct kp_arena *arena, struct kp_batch *out, uint32_t *out_count)
{
    struct parts *parts = ctx;
    const struct piece *piece = &parts->pieces[number];
    struct kpi_spine *spine = NULL;
    kp_actor_id *ids = NULL;
    uint64_t rows = 0, bytes = 0;
    kp_status status = KP_OK;
    *out_count = 0;
    for (uint32_t i = 0; i < piece->blocks && status == KP_OK; i++) {
        bool has;
        struct kp_batch *batch = &out[*out_count];
        status = *out_count == KP_STREAM_MAX - 1
                     ? KP_CORRUPT
                     : block_load(parts, piece, i, &spine, actors, &ids, arena, batch, &has);
        bytes += piece->ref[i].size;
        if (status != KP_OK || !has)
            continue;
        rows += batch->rows;
        status = kpi_content_add(&parts->content, batch);
        (*out_count)++;
    }
    if (status == KP_OK && rows != piece->ref->rows)
        status = KP_CORRUPT;
    return status == KP_OK ? pace(parts, bytes) : status;
}

/* ---------- writing ---------- */

/* The file says what its parts said, read back from the disk. */
static kp_status content_check(struct parts *parts)
{
    struct kpi_cold *cold = parts->cold;
    struct kpi_content content = {0};
    struct kp_buf path = {0};
    uint64_t rows = 0;
    for (uint32_t i = 0; i < cold->count; i++)
        rows += cold->parts[i].rows;
    kpi_segment_path(cold->store->dir, cold->meta.id, &path);
    kp_status status = path.failed ? KP_NO_MEMORY
                                   : kpi_content_segment(&content, cold->store->io, parts->queue,
                                                         kp_buf_cstr(&path));
    if (status == KP_OK && (content.rows != rows || cold->meta.rows != rows ||
                            !kpi_hash_equal(content.sum, parts->content.sum)))
        status = KP_CORRUPT;
    cold->content = content.sum;
    kpi_content_deinit(&content);
    kp_buf_deinit(&path);
    return status;
}

static void file_remove(const struct kp_store *store, uint64_t id)
{
    struct kp_buf path = {0};
    kpi_segment_path(store->dir, id, &path);
    if (!path.failed)
        store->io->unlink(store->io, kp_buf_cstr(&path));
    kp_buf_deinit(&path);
}

static kp_status cold_write(struct kpi_cold *cold, uint64_t id)
{
    struct parts *parts = calloc(1, sizeof(*parts));
    if (parts == NULL)
        return KP_NO_MEMORY;
    parts->cold = cold;
    parts->began = kp_time_monotonic();
    kp_status status = parts_open(parts);
    if (status == KP_OK) {
        struct kpi_page_source pages = {
            .infos = parts->infos, .count = parts->count, .load = piece_load, .ctx = parts};
        status =
            kpi_segment_rewrite(cold->store->io, cold->store->dir, id, &pages, &cold->meta, NULL);
    }
    if (status == KP_OK) {
        cold->meta.wal_first = cold->parts[0].wal_first;
        cold->meta.wal_last = cold->parts[cold->count - 1].wal_last;
        status = content_check(parts);
        if (status != KP_OK)
            file_remove(cold->store, id);
    }
    parts_close(parts);
    return status;
}

static void cold_refuse(struct kp_store *store, const struct kpi_cold *cold, kp_status status)
{
    if (status == KP_BUSY)
        return;
    kp_log(KP_LOG_WARN, "store", "segments %" PRIu64 "..%" PRIu64 " are not made cold: %s",
           cold->parts[0].id, cold->parts[cold->count - 1].id, kp_status_text(status));
    if (status == KP_CORRUPT || status == KP_VERSION)
        store->cold_refused = cold->parts[cold->count - 1].wal_last;
}

bool kpi_cold_make(struct kp_store *store, int64_t now)
{
    struct kpi_cold *cold = calloc(1, sizeof(*cold));
    store->cold_next = now + COLD_EVERY;
    if (cold == NULL || !choose(store, cold)) {
        free(cold);
        return false;
    }
    cold->store = store;
    uint64_t id = atomic_fetch_add(&store->segment_next, 1);
    pthread_mutex_unlock(&store->lock);
    kp_status status = cold_write(cold, id);
    pthread_mutex_lock(&store->lock);
    store->cold_status = status;
    if (status != KP_OK) {
        cold_refuse(store, cold, status);
        free(cold);
        return status == KP_CORRUPT || status == KP_VERSION;
    }
    store->cold_next = now; /* there may be more */
    store->cold = cold;
    return true;
}

/* ---------- taking its place ---------- */

static bool part_stands(const struct kpi_manifest *state, const struct kpi_segment_meta *part)
{
    for (uint32_t i = 0; i < state->count; i++)
        if (state->segments[i].id == part->id)
            return !kpi_manifest_held(state, part);
    return false;
}

/* True when nothing happened to the parts since they were chosen, and the chain agrees. */
static bool still_right(const struct kp_store *store, const struct kpi_cold *cold)
{
    const struct kpi_manifest *state = kpi_manifest_state(store->manifest);
    struct kp_hash128 content;
    for (uint32_t i = 0; i < cold->count; i++)
        if (!part_stands(state, &cold->parts[i]))
            return false;
    if (store->evidence == NULL || cold->meta.wal_first <= store->evidence->wal_genesis)
        return true;
    return store->evidence->pending_count == 0 &&
           kpi_evidence_content(store, &cold->meta, &content) &&
           kpi_hash_equal(content, cold->content);
}

static void parts_leave(struct kp_store *store, const struct kpi_cold *cold, int64_t now)
{
    struct kpi_gone *gone =
        realloc(store->gone, (store->gone_count + cold->count) * sizeof(*store->gone));
    if (gone == NULL)
        return; /* the next start removes them */
    store->gone = gone;
    for (uint32_t i = 0; i < cold->count; i++)
        store->gone[store->gone_count++] =
            (struct kpi_gone){.id = cold->parts[i].id, .at = now + COLD_GRACE};
    store->gone_next = store->gone[0].at;
}

static void taken(struct kp_store *store, const struct kpi_cold *cold, int64_t now)
{
    const struct kpi_manifest *state = kpi_manifest_state(store->manifest);
    parts_leave(store, cold, now);
    store->stat.segments = state->count;
    store->stat.cold_segments++;
    store->stat.cold_bytes += cold->meta.bytes;
    store->stat.segments_bytes += cold->meta.bytes;
    for (uint32_t i = 0; i < cold->count; i++)
        store->stat.segments_bytes -= KP_MIN(cold->parts[i].bytes, store->stat.segments_bytes);
    store->txn_work = true;
}

void kpi_cold_take(struct kp_store *store, int64_t now)
{
    struct kpi_cold *cold = store->cold;
    cold->taken = true;
    store->sealing = true;
    pthread_mutex_unlock(&store->lock);
    kp_status status = KP_BUSY;
    if (!still_right(store, cold))
        file_remove(store, cold->meta.id);
    else /* when this fails nobody knows whether the manifest names the file: it stays */
        status = kpi_manifest_cold(store->manifest, store->seal_queue, &cold->meta, NULL);
    if (status == KP_OK)
        kpi_evidence_cold(store, &cold->meta, cold->content);
    pthread_mutex_lock(&store->lock);
    store->sealing = false;
    store->cold_status = status;
    if (status == KP_OK) {
        taken(store, cold, now);
    } else {
        store->cold_next = now + COLD_EVERY;
        store->cold_forced = false;
    }
    free(cold);
    store->cold = NULL;
    pthread_cond_broadcast(&store->changed);
}

void kpi_cold_tidy(struct kp_store *store, int64_t now, bool all)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < store->gone_count; i++) {
        if (all || now >= store->gone[i].at)
            file_remove(store, store->gone[i].id);
        else
            store->gone[kept++] = store->gone[i];
    }
    store->gone_count = kept;
    store->gone_next = kept == 0 ? INT64_MAX : store->gone[0].at; /* ascending */
    if (kept == 0) {
        free(store->gone);
        store->gone = NULL;
    }
}

/* ---------- the thread ---------- */

/* The sealer takes the file, unless it stops before. */
static void cold_hand_over(struct kp_store *store)
{
    pthread_cond_signal(&store->seal_work);
    while (store->cold != NULL && (!store->stop || store->cold->taken))
        pthread_cond_wait(&store->changed, &store->lock);
    if (store->cold == NULL)
        return;
    file_remove(store, store->cold->meta.id);
    free(store->cold);
    store->cold = NULL;
}

static void cold_step(struct kp_store *store, int64_t now)
{
    bool more = kpi_cold_make(store, now);
    if (store->cold != NULL)
        cold_hand_over(store);
    else if (!more)
        store->cold_forced = false;
    pthread_cond_broadcast(&store->changed);
}

void *kpi_cold_main(void *arg)
{
    struct kp_store *store = arg;
    setpriority(PRIO_PROCESS, 0, COLD_NICE); /* of this thread */
    pthread_mutex_lock(&store->lock);
    while (!store->stop) {
        int64_t now = kp_time_monotonic();
        if (store->sealing)
            pthread_cond_wait(&store->changed, &store->lock);
        else if (!kpi_cold_due(store, now))
            kpi_wait_until(&store->cold_work, &store->lock, kpi_cold_next(store));
        else
            cold_step(store, now);
    }
    pthread_mutex_unlock(&store->lock);
    return NULL;
}

/* ---------- on demand ---------- */

static void compact_manual(struct kp_store *store)
{
    store->cold_forced = true;
    while (store->cold_forced && kpi_cold_make(store, 0))
        if (store->cold != NULL)
            kpi_cold_take(store, 0);
    store->cold_forced = false;
}

kp_status kp_store_compact(struct kp_store *store, struct kp_error *err)
{
    pthread_mutex_lock(&store->lock);
    store->cold_refused = 0;
    store->cold_status = KP_OK;
    if (store->opts.manual) {
        compact_manual(store);
    } else {
        store->cold_forced = true;
        pthread_cond_signal(&store->cold_work);
        while (store->cold_forced && !store->stop)
            pthread_cond_wait(&store->changed, &store->lock);
    }
    kp_status status = store->cold_status;
    uint64_t refused = store->cold_refused;
    pthread_mutex_unlock(&store->lock);
    if (status == KP_OK && refused == 0)
        return KP_OK;
    return kp_error_set(err, refused > 0 ? KP_CORRUPT : status,
                        "not all segments of %s could be made cold: %s", store->dir,
                        refused > 0 ? "some do not read; see kpq verify" : kp_status_text(status));
}
