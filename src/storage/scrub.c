/* SPDX-License-Identifier: Apache-2.0
 *
 * The scrub: every sealed segment is read again now and then, slowly, and its blocks' sums are
 * checked. Answers that read rows meet damage themselves; counts of footers and rollups do not, nor
 * does anybody who has not asked yet. What the scrub finds becomes a row of `gaps`, which every
 * later answer about that time shows, whoever gives it.
 *
 * A step reads some MiB of one segment. The sealer does it between its other work, so a segment
 * that is read is not dropped meanwhile; what a step finds is durable before the next one begins.
 * A restart begins anew with the oldest segment.
 *
 * Invariant: one place is told of once, also over restarts: the row is looked for first.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "storage/damage.h"
#include "storage/segment.h"

#define STEP_BYTES   (4u << 20)
#define RATE_BYTES   (16u << 20) /* a second */
#define FIRST_AFTER  KP_MIN_NS
#define TROUBLE_WAIT (10 * KP_SEC)

struct step {
    struct kp_store *store;
    const struct kpi_segment_meta *meta;
    struct kpi_segment segment;
    const char *path;
    uint8_t *bytes; /* of one block */
    size_t room;
    uint64_t read;
    uint32_t next; /* block */
    struct kpi_damage_rows found;
};

bool kpi_scrub_due(const struct kp_store *store, int64_t now)
{
    return store->opts.scrub_every > 0 && !store->sealing && store->telling.count == 0 &&
           !store->loss_mode && now >= store->scrub.at;
}

int64_t kpi_scrub_next(const struct kp_store *store)
{
    return store->opts.scrub_every > 0 && store->telling.count == 0 && !store->loss_mode
               ? store->scrub.at
               : INT64_MAX;
}

void kpi_scrub_begin(struct kp_store *store, int64_t now)
{
    store->scrub.at = store->opts.manual ? 0 : now + FIRST_AFTER;
}

/* ---------- telling ---------- */

/* True when `gaps` has the row that damage would make. */
static bool is_told(struct kp_store *store, const struct kp_damage *damage)
{
    char detail[KPI_GAP_DETAIL_MAX];
    const struct kp_stream *gaps = kp_stream_by_name(KP_STR("gaps"));
    struct kp_colref column = {(uint8_t)kp_stream_stored(gaps, "detail"), KP_ATTR_SELF};
    struct kp_scan_req req = {
        .stream = gaps, .cols = &column, .cols_count = 1, .from = damage->to, .to = damage->to};
    struct kp_snapshot *snapshot = NULL;
    struct kp_scan *scan = NULL;
    const struct kp_batch *batch;
    bool told = false;
    kpi_gap_detail(damage, detail);
    kp_status status = kp_snapshot_open(store->dir, store->io, &snapshot, NULL);
    if (status == KP_OK)
        status = kp_scan_open(snapshot, &req, &scan, NULL);
    while (status == KP_OK && !told && (status = kp_scan_next(scan, &batch, NULL)) == KP_OK)
        for (uint32_t i = 0; i < batch->rows && !told; i++)
            told = kp_str_equal(kp_vec_str(&batch->cols[0], i), kp_str_from(detail));
    if (scan != NULL)
        kp_scan_close(scan);
    if (snapshot != NULL)
        kp_snapshot_close(snapshot);
    return told;
}

/* The first block behind those that cannot be read without this one: a spine's are its page's. */
static uint32_t blocks_end(const struct kpi_footer *footer, uint32_t number)
{
    const struct kpi_block_ref *ref = &footer->blocks[number];
    uint32_t b = number + 1;
    while (ref->stream == &kpi_spine_stream && b < footer->blocks_count &&
           footer->blocks[b].page == ref->page)
        b++;
    return b;
}

static void tell(struct step *step, const struct kp_damage *damage)
{
    if (!is_told(step->store, damage))
        kpi_damage_add(step->store, &step->found, step->meta->ts_max, damage);
}

/* Blocks [number, end) are lost with the first of them. */
static void blocks_damaged(struct step *step, uint32_t number, uint32_t end, kp_status why)
{
    const struct kpi_block_ref *ref = &step->segment.footer.blocks[number];
    uint64_t rows = 0;
    for (uint32_t b = number; b < end; b++)
        if (step->segment.footer.blocks[b].stream != &kpi_spine_stream)
            rows += step->segment.footer.blocks[b].rows;
    struct kp_damage damage = {.file = step->path,
                               .offset = ref->offset,
                               .size = ref->size,
                               .from = ref->ts_min,
                               .to = ref->ts_max,
                               .rows = (int64_t)rows,
                               .what = kp_status_text(why)};
    tell(step, &damage);
}

static void segment_damaged(struct step *step, kp_status why)
{
    struct kp_damage damage = {.file = step->path,
                               .size = step->meta->bytes,
                               .from = step->meta->ts_min,
                               .to = step->meta->ts_max,
                               .rows = (int64_t)step->meta->rows,
                               .what = kp_status_text(why)};
    tell(step, &damage);
}

/* ---------- reading ---------- */

/* Not a lack of memory, and no newer format. */
static bool is_damage(kp_status status)
{
    return status == KP_CORRUPT || status == KP_IO || status == KP_NOT_FOUND;
}

static bool room_make(struct step *step, size_t size)
{
    if (size <= step->room)
        return true;
    uint8_t *more = realloc(step->bytes, size);
    if (more == NULL)
        return false;
    step->bytes = more;
    step->room = size;
    return true;
}

static kp_status blocks_read(struct step *step, struct kp_io_queue *queue)
{
    const struct kpi_footer *footer = &step->segment.footer;
    while (step->next < footer->blocks_count && step->read < STEP_BYTES) {
        uint32_t number = step->next;
        const struct kpi_block_ref *ref = &footer->blocks[number];
        struct kpi_block block;
        if (!room_make(step, ref->size))
            return KP_NO_MEMORY;
        kp_status status = kpi_segment_read(&step->segment, queue, ref, step->bytes, &block);
        if (status != KP_OK && !is_damage(status))
            return status;
        step->read += ref->size;
        step->next = status == KP_OK ? number + 1 : blocks_end(footer, number);
        if (status != KP_OK)
            blocks_damaged(step, number, step->next, status);
    }
    return KP_OK;
}

/* Reads on in the segment; *out_done: all of it is read. */
static kp_status segment_read(struct step *step, bool *out_done)
{
    struct kp_store *store = step->store;
    kp_status status = kpi_segment_open(store->io, store->seal_queue, step->path, step->meta->id,
                                        &step->segment, NULL);
    *out_done = true;
    if (is_damage(status))
        segment_damaged(step, status);
    if (status != KP_OK)
        return is_damage(status) || status == KP_UNSUPPORTED ? step->found.status : status;
    status = blocks_read(step, store->seal_queue);
    *out_done = step->next >= step->segment.footer.blocks_count;
    kpi_segment_close(&step->segment);
    return status == KP_OK ? step->found.status : status;
}

/* ---------- a step ---------- */

/* The segment to go on with: the one at work, else the next one; NULL: a pass is over. */
static const struct kpi_segment_meta *segment_choose(struct kp_store *store)
{
    const struct kpi_manifest *state = kpi_manifest_state(store->manifest);
    for (uint32_t i = 0; i < state->count; i++) {
        const struct kpi_segment_meta *meta = &state->segments[i];
        if (meta->id < store->scrub.segment)
            continue;
        if (meta->id > store->scrub.segment)
            store->scrub.block = 0;
        store->scrub.segment = meta->id;
        return meta;
    }
    return NULL;
}

static void pass_end(struct kp_store *store, int64_t now)
{
    store->scrub.segment = 0;
    store->scrub.block = 0;
    store->scrub.at = now + store->opts.scrub_every;
    store->stat.scrub_passes++;
}

/* What was found is handed to the committer, and the step is done again once it is durable: then
 * nothing of it is new. */
static void step_settle(struct step *step, kp_status status, bool done, int64_t now)
{
    struct kp_store *store = step->store;
    uint32_t rows = step->found.rows;
    if (status == KP_OK && rows > 0) {
        store->scrub.at = now;
        status = kpi_damage_tell(store, &step->found, step->meta->ts_max, now) ? KP_OK : KP_LIMIT;
        store->stat.scrub_damaged += status == KP_OK ? rows : 0;
        kp_log(KP_LOG_WARN, "store", "scrub: damage in %s, %u places: see gaps", step->path, rows);
    } else if (status == KP_OK) {
        int64_t paced = (int64_t)(step->read * (KP_SEC / (RATE_BYTES >> 20)) >> 20);
        store->scrub.at = store->opts.manual ? now : now + paced;
        store->scrub.block = done ? 0 : step->next;
        store->scrub.segment += done;
        store->stat.scrub_bytes += step->read;
    }
    if (status != KP_OK)
        store->scrub.at = now + TROUBLE_WAIT;
}

void kpi_scrub_run(struct kp_store *store, int64_t now)
{
    struct step step = {.store = store, .meta = segment_choose(store)};
    struct kp_buf path = {0};
    bool done = true;
    if (step.meta == NULL) {
        pass_end(store, now);
        return;
    }
    step.next = store->scrub.block;
    store->sealing = true;
    pthread_mutex_unlock(&store->lock);
    kpi_segment_path(store->dir, step.meta->id, &path);
    step.path = kp_buf_cstr(&path);
    kp_status status = path.failed ? KP_NO_MEMORY : segment_read(&step, &done);
    pthread_mutex_lock(&store->lock);
    store->sealing = false;
    step_settle(&step, status, done, now);
    kpi_damage_rows_deinit(&step.found);
    free(step.bytes);
    kp_buf_deinit(&path);
}
