/* SPDX-License-Identifier: Apache-2.0
 *
 * Verify: reads every byte that counts and checks everything a reader relies on: sums at their
 * places, the order of rows, the ranges and thread sets that pruning trusts, the exact indexes and
 * the runs merged of them, the row counts, and that segments and log follow each other without a
 * hole. Findings are collected, never the end of the run: the report is about the whole store.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "storage/manifest.h"
#include "storage/order.h"
#include "storage/run_find.h"
#include "storage/segment.h"
#include "storage/joined.h"

#define TRIES 16

struct verifier {
    const struct kp_io *io;
    struct kp_io_queue *queue;
    const char *dir;
    void (*found)(void *ctx, const struct kp_damage *damage);
    void (*progress)(void *ctx, uint64_t done, uint64_t total);
    void *ctx;
    uint64_t total;      /* bytes of the segments */
    uint64_t checked_id; /* segments up to here are done */
    struct kp_verify_report report;
    kp_status status; /* of callbacks: out of memory */
};

/* The segment in work. */
struct checking {
    struct verifier *verifier;
    const char *path;
    const struct kpi_segment_meta *meta;
    struct kpi_segment segment;
    struct kp_actors *actors;
    const struct kpi_block_ref *ref;
    const struct kp_batch *batch;
    struct kpi_run_entry *lists[KPI_EXACT_MAX]; /* of the exact indexes; NULL: it does not read */
    struct kp_arena lists_arena;
    struct kpi_rollup_builder rollup;       /* of the rows so far */
    struct kpi_row_key last[KP_STREAM_MAX]; /* of the stream so far */
    bool seen[KP_STREAM_MAX];
    uint64_t rows_by_stream[KP_STREAM_MAX];
    struct kpi_spine *spine; /* of the page at work; NULL: it has none, or none that reads */
    uint32_t spine_page;
    struct kp_arena spine_arena;
};

static void report_damage(struct verifier *verifier, const struct kp_damage *damage)
{
    verifier->report.damaged++;
    if (verifier->found != NULL)
        verifier->found(verifier->ctx, damage);
}

static void on_damage(void *ctx, const struct kp_damage *damage)
{
    report_damage(ctx, damage);
}

static void segment_damage(const struct checking *checking, const char *what)
{
    const struct kpi_segment_meta *meta = checking->meta;
    struct kp_damage damage = {.file = checking->path,
                               .size = meta->bytes,
                               .from = meta->ts_min,
                               .to = meta->ts_max,
                               .rows = (int64_t)meta->rows,
                               .what = what};
    report_damage(checking->verifier, &damage);
}

static void block_damage(const struct checking *checking, const char *what)
{
    const struct kpi_block_ref *ref = checking->ref;
    struct kp_damage damage = {.file = checking->path,
                               .offset = ref->offset,
                               .size = ref->size,
                               .from = ref->ts_min,
                               .to = ref->ts_max,
                               .rows = ref->stream == &kpi_spine_stream ? 0 : ref->rows,
                               .what = what};
    report_damage(checking->verifier, &damage);
}

static void section_damage(const struct checking *checking, const struct kpi_section *section,
                           const char *what)
{
    struct kp_damage damage = {.file = checking->path,
                               .offset = section->offset,
                               .size = section->size,
                               .from = 0,
                               .to = -1,
                               .what = what};
    report_damage(checking->verifier, &damage);
}

/* ---------- one block: order, ranges, indexes ---------- */

static struct kpi_row_key batch_key(const struct kp_batch *batch, uint32_t row)
{
    return (struct kpi_row_key){.ts = batch->cols[KP_COL_TS].i64[row],
                                .seq = (uint64_t)batch->cols[KP_COL_SEQ].i64[row],
                                .cpu = (uint32_t)batch->cols[KP_COL_CPU].i64[row],
                                .actor = (kp_actor_id)batch->cols[KP_COL_ACTOR].i64[row]};
}

static bool rows_in_order(struct checking *checking)
{
    const struct kp_batch *batch = checking->batch;
    uint8_t stream = batch->stream->number;
    for (uint32_t row = 0; row < batch->rows; row++) {
        struct kpi_row_key key = batch_key(batch, row);
        if (checking->seen[stream] &&
            kpi_row_compare(checking->actors, &checking->last[stream], &key) > 0)
            return false;
        checking->last[stream] = key;
        checking->seen[stream] = true;
    }
    return true;
}

static bool ranges_hold(const struct checking *checking)
{
    const struct kpi_block_ref *ref = checking->ref;
    for (uint32_t row = 0; row < checking->batch->rows; row++) {
        struct kpi_row_key key = batch_key(checking->batch, row);
        if (key.ts < ref->ts_min || key.ts > ref->ts_max || key.seq < ref->seq_min ||
            key.seq > ref->seq_max)
            return false;
    }
    return true;
}

static bool sets_hold(const struct checking *checking)
{
    const struct kp_batch *batch = checking->batch;
    for (uint32_t s = 0; s < checking->ref->sets_count; s++) {
        uint32_t column = checking->ref->sets[s].column;
        if (column >= batch->cols_count || batch->cols[column].type != KP_TYPE_ACTOR)
            return false;
        for (uint32_t row = 0; row < batch->rows; row++) {
            int64_t id = batch->cols[column].i64[row];
            int64_t tid = kp_actors_get(batch->actors, (kp_actor_id)id)->tid;
            if ((row == 0 || id != batch->cols[column].i64[row - 1]) &&
                !kpi_block_ref_has_tid(checking->ref, column, &tid, 1))
                return false;
        }
    }
    return true;
}

static bool list_has(const struct kpi_run_entry *list, uint32_t count, uint64_t key, uint32_t block)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (list[mid].key < key)
            low = mid + 1;
        else
            high = mid;
    }
    while (low < count && list[low].key == key && list[low].block != block)
        low++;
    return low < count && list[low].key == key;
}

static bool column_is_indexed(const struct checking *checking, uint32_t number)
{
    const struct kpi_exact *index = &checking->segment.footer.exact[number];
    const struct kp_batch *batch = checking->batch;
    uint32_t block = (uint32_t)(checking->ref - checking->segment.footer.blocks);
    for (uint32_t row = 0; row < batch->rows; row++) {
        struct kp_str value = kp_vec_str(&batch->cols[index->column], row);
        uint64_t key = kpi_run_key(kpi_exact_hash(index->stream, index->column, value));
        if (value.len > 0 && !list_has(checking->lists[number], index->count, key, block))
            return false;
    }
    return true;
}

/* The place of a column's index; exact_count: there is none. */
static uint32_t index_of(const struct kpi_footer *footer, uint32_t stream, uint32_t column)
{
    uint32_t i = 0;
    while (i < footer->exact_count &&
           (footer->exact[i].stream != stream || footer->exact[i].column != column))
        i++;
    return i;
}

static bool exact_holds(const struct checking *checking)
{
    const struct kpi_footer *footer = &checking->segment.footer;
    const struct kp_stream *stream = checking->batch->stream;
    for (uint32_t c = 0; c < checking->batch->cols_count; c++) {
        uint32_t number = index_of(footer, stream->number, c);
        if (stream->stored[c].index != KP_INDEX_EXACT)
            continue;
        if (number == footer->exact_count)
            return false;
        if (checking->lists[number] != NULL && !column_is_indexed(checking, number))
            return false;
    }
    return true;
}

static void lists_load(struct checking *checking)
{
    const struct kpi_footer *footer = &checking->segment.footer;
    for (uint32_t i = 0; i < footer->exact_count; i++) {
        const struct kpi_exact *index = &footer->exact[i];
        const struct kpi_section place = {.offset = index->offset, .size = index->size};
        kp_status status = kpi_exact_load(&checking->segment, checking->verifier->queue, index,
                                          &checking->lists_arena, &checking->lists[i]);
        if (status == KP_NO_MEMORY)
            checking->verifier->status = status;
        else if (status != KP_OK)
            section_damage(checking, &place, "a list of the exact index does not read");
    }
}

static void block_content(struct checking *checking, const struct kp_batch *batch)
{
    checking->batch = batch;
    if (kpi_rollup_add(&checking->rollup, batch) != KP_OK)
        checking->verifier->status = KP_NO_MEMORY;
    if (!rows_in_order(checking))
        block_damage(checking, "rows are out of order");
    if (!ranges_hold(checking))
        block_damage(checking, "rows lie outside the ranges of the page index");
    if (!sets_hold(checking))
        block_damage(checking, "the page index lacks a thread that occurs");
    if (!exact_holds(checking))
        block_damage(checking, "the exact index lacks a value that occurs");
}

/* Decoded with the blocks of its page: one that reads as a spine may still not fit them. */
static void spine_take(struct checking *checking, const uint8_t *bytes)
{
    struct kpi_block block;
    kp_arena_deinit(&checking->spine_arena);
    checking->spine = NULL;
    checking->spine_page = checking->ref->page;
    void *copy = kp_arena_alloc(&checking->spine_arena, checking->ref->size);
    kp_status status = copy == NULL ? KP_NO_MEMORY : KP_OK;
    if (status == KP_OK) {
        memcpy(copy, bytes, checking->ref->size);
        status = kpi_block_open(copy, checking->ref->size, &block);
    }
    if (status == KP_OK)
        status = kpi_spine_open(&block, &checking->spine_arena, &checking->spine);
    if (status == KP_NO_MEMORY)
        checking->verifier->status = status;
}

static kp_status spine_give(const struct checking *checking, struct kp_arena *arena,
                            struct kpi_block *block)
{
    if (!block->paged)
        return KP_OK;
    if (checking->spine == NULL || checking->spine_page != checking->ref->page)
        return KP_CORRUPT;
    return kpi_spine_bind(checking->spine, arena, block);
}

static void block_read(struct checking *checking, uint8_t *bytes)
{
    struct verifier *verifier = checking->verifier;
    const struct kpi_block_ref *ref = checking->ref;
    struct kpi_block block;
    kp_status status = kpi_segment_read(&checking->segment, verifier->queue, ref, bytes, &block);
    if (status == KP_NO_MEMORY) {
        verifier->status = status;
        return;
    }
    if (status != KP_OK) {
        block_damage(checking, status == KP_CORRUPT ? "block does not match its sum"
                                                    : kp_status_text(status));
        return;
    }
    if (ref->stream == &kpi_spine_stream) {
        spine_take(checking, bytes);
        return;
    }
    struct kp_arena arena = {0};
    struct kp_batch batch;
    status = spine_give(checking, &arena, &block);
    if (status == KP_OK)
        status = kpi_block_batch(&block, UINT64_MAX, checking->actors, &arena, &batch);
    if (status == KP_OK)
        block_content(checking, &batch);
    else if (status == KP_NO_MEMORY)
        verifier->status = status;
    else
        block_damage(checking, "a column of the block does not decode");
    kp_arena_deinit(&arena);
}

/* ---------- one segment ---------- */

static bool header_holds(const struct checking *checking)
{
    uint8_t header[KPI_SEGMENT_HEADER];
    const struct kpi_segment *segment = &checking->segment;
    int64_t got = kp_io_once(segment->io, checking->verifier->queue, KP_IO_READ, segment->file,
                             header, sizeof(header), 0);
    return got == (int64_t)sizeof(header) &&
           kp_load_u64(header + KPI_SEGMENT_AT_MAGIC) == KPI_SEGMENT_MAGIC &&
           kp_load_u64(header + KPI_SEGMENT_AT_ID) == checking->meta->id &&
           kp_load_u64(header + KPI_SEGMENT_AT_SUM) == kp_hash64(header, KPI_SEGMENT_AT_SUM, 0);
}

static void blocks_check(struct checking *checking)
{
    struct verifier *verifier = checking->verifier;
    const struct kpi_footer *footer = &checking->segment.footer;
    uint64_t expected = KPI_SEGMENT_HEADER;
    for (uint32_t b = 0; b < footer->blocks_count && verifier->status == KP_OK; b++) {
        checking->ref = &footer->blocks[b];
        uint8_t *bytes = malloc(checking->ref->size);
        if (bytes == NULL) {
            verifier->status = KP_NO_MEMORY;
            return;
        }
        if (checking->ref->offset != expected)
            block_damage(checking, "blocks leave a hole or overlap");
        block_read(checking, bytes);
        free(bytes);
        expected = checking->ref->offset + checking->ref->size;
        bool has_rows = checking->ref->stream != &kpi_spine_stream;
        if (checking->ref->stream != NULL && has_rows)
            checking->rows_by_stream[checking->ref->stream->number] += checking->ref->rows;
        verifier->report.blocks++;
        verifier->report.rows += has_rows ? checking->ref->rows : 0;
        verifier->report.bytes += checking->ref->size;
        if (verifier->progress != NULL)
            verifier->progress(verifier->ctx, verifier->report.bytes, verifier->total);
    }
    verifier->report.pages += footer->pages;
}

/* The rollups, when there are any, are those of the rows. */
static void rollup_check(struct checking *checking)
{
    const struct kpi_section *section = &checking->segment.footer.rollup;
    struct kp_arena arena = {0};
    struct kpi_rollup rollup;
    void *bytes = malloc(section->size + 1);
    kp_status status = bytes == NULL ? KP_NO_MEMORY : KP_OK;
    if (status == KP_OK)
        status = kpi_segment_section(&checking->segment, checking->verifier->queue, section, bytes);
    if (status == KP_OK)
        status = kpi_rollup_parse(bytes, section->size, &arena, &rollup);
    if (status == KP_NO_MEMORY)
        checking->verifier->status = status;
    else if (status != KP_OK)
        section_damage(checking, section, "the rollups of the segment do not read");
    else if (!kpi_rollup_agrees(&checking->rollup, &rollup))
        section_damage(checking, section, "the rollups of the segment disagree with its rows");
    free(bytes);
    kp_arena_deinit(&arena);
}

static void segment_content(struct checking *checking)
{
    const struct kpi_segment_meta *meta = checking->meta;
    const struct kpi_segment *segment = &checking->segment;
    if (segment->size != meta->bytes)
        segment_damage(checking, "the file has another size than the manifest says");
    if (segment->footer_hash.lo != meta->footer_hash.lo ||
        segment->footer_hash.hi != meta->footer_hash.hi)
        segment_damage(checking, "the file is not the one the manifest names");
    if (!header_holds(checking))
        segment_damage(checking, "the header is damaged");
    uint64_t before = checking->verifier->report.damaged;
    kp_status sets = kpi_segment_sets(&checking->segment, checking->verifier->queue);
    if (sets == KP_NO_MEMORY)
        checking->verifier->status = sets;
    else if (sets != KP_OK)
        section_damage(checking, &segment->footer.sets, "the threads of its pages do not read");
    lists_load(checking);
    blocks_check(checking);
    if (segment->footer.rollup.size > 0 && checking->verifier->report.damaged == before)
        rollup_check(checking); /* rows that do not read are not in any sum */
    if (memcmp(checking->rows_by_stream, meta->rows_by_stream, sizeof(meta->rows_by_stream)) != 0)
        segment_damage(checking, "row counts differ from the manifest's");
}

static kp_status segment_check(struct verifier *verifier, const struct kpi_segment_meta *meta)
{
    struct kp_buf path = {0};
    kpi_segment_path(verifier->dir, meta->id, &path);
    struct checking *checking = calloc(1, sizeof(*checking));
    kp_status status = checking == NULL || path.failed ? KP_NO_MEMORY : KP_OK;
    if (status == KP_OK) {
        *checking =
            (struct checking){.verifier = verifier, .path = kp_buf_cstr(&path), .meta = meta};
        status = kp_actors_init(&checking->actors);
    }
    if (status == KP_OK) {
        status = kpi_segment_open(verifier->io, verifier->queue, checking->path, meta->id,
                                  &checking->segment, NULL);
        if (status == KP_OK)
            segment_content(checking);
        else if (status != KP_NO_MEMORY && !kpi_manifest_dropped(verifier->io, verifier->dir, meta))
            segment_damage(checking, "segment does not open: missing or cut off");
        status = status == KP_NO_MEMORY ? status : verifier->status;
        kpi_segment_close(&checking->segment);
        kp_actors_deinit(checking->actors);
        kpi_rollup_builder_deinit(&checking->rollup);
        kp_arena_deinit(&checking->spine_arena);
        kp_arena_deinit(&checking->lists_arena);
    }
    verifier->report.files++;
    free(checking);
    kp_buf_deinit(&path);
    return status;
}

/* ---------- the chain of segments and the log ---------- */

static void link_damage(struct verifier *verifier, const struct kpi_segment_meta *meta)
{
    struct kp_buf path = {0};
    kpi_segment_path(verifier->dir, meta->id, &path);
    struct kp_damage damage = {.file = kp_buf_cstr(&path),
                               .from = 1,
                               .to = 0,
                               .rows = -1,
                               .what = "log records are missing between two segments"};
    report_damage(verifier, &damage);
    kp_buf_deinit(&path);
}

/* True when tombstones account for the log records first..last. They are in order of dropping. */
static bool drops_cover(const struct kpi_manifest *manifest, uint64_t first, uint64_t last)
{
    for (bool more = true; more && first <= last;) {
        more = false;
        for (uint32_t i = 0; i < manifest->drops_count && !more; i++) {
            const struct kpi_manifest_drop *drop = &manifest->drops[i];
            more = drop->wal_first <= first && drop->wal_last >= first;
            if (more)
                first = KP_MIN(drop->wal_last, last) + 1;
        }
    }
    return first == last + 1; /* beyond: two segments hold the same records */
}

static kp_status segments_check(struct verifier *verifier, const struct kpi_manifest *manifest)
{
    verifier->total = 0;
    for (uint32_t i = 0; i < manifest->count; i++)
        verifier->total += manifest->segments[i].bytes;
    for (uint32_t i = 0; i < manifest->count; i++) {
        const struct kpi_segment_meta *meta = &manifest->segments[i];
        if (meta->id <= verifier->checked_id)
            continue;
        kp_status status = segment_check(verifier, meta);
        if (status != KP_OK)
            return status;
        verifier->checked_id = meta->id;
    }
    return KP_OK;
}

static int compare_logs(const void *a, const void *b)
{
    const struct kpi_segment_meta *x = a, *y = b;
    return x->wal_first < y->wal_first ? -1 : x->wal_first > y->wal_first;
}

/* Cold segments have later numbers than what follows them: in the order of their log records. */
static void links_check(struct verifier *verifier, struct kpi_manifest *manifest)
{
    if (manifest->count > 1)
        qsort(manifest->segments, manifest->count, sizeof(*manifest->segments), compare_logs);
    for (uint32_t i = 1; i < manifest->count; i++) {
        const struct kpi_segment_meta *before = &manifest->segments[i - 1];
        const struct kpi_segment_meta *meta = &manifest->segments[i];
        if (!drops_cover(manifest, before->wal_last + 1, meta->wal_first - 1))
            link_damage(verifier, meta);
    }
}

static void record_damage(struct verifier *verifier, const struct kpi_wal_record *record,
                          const char *what)
{
    struct kp_damage damage = {.file = record->file,
                               .offset = record->offset,
                               .size = record->payload_size,
                               .from = record->ts_min,
                               .to = record->ts_max,
                               .rows = record->rows,
                               .what = what};
    report_damage(verifier, &damage);
}

/* Decodes the blocks of a record; returns the rows in them. */
static uint64_t record_blocks(struct verifier *verifier, const struct kpi_wal_record *record,
                              struct kp_actors *actors)
{
    const uint8_t *at = record->payload;
    size_t left = record->payload_size;
    uint64_t rows = 0;
    struct kp_batch batches[KP_STREAM_MAX];
    while (left > 0) {
        struct kp_arena arena = {0};
        uint32_t count = 0, size;
        kp_status status = kpi_block_batches(at, left, actors, &arena, batches, &count, &size);
        kp_arena_deinit(&arena);
        if (status == KP_NO_MEMORY)
            verifier->status = status;
        if (status != KP_OK)
            break;
        verifier->report.blocks++;
        for (uint32_t i = 0; i < count; i++)
            rows += batches[i].rows;
        at += size;
        left -= size;
    }
    return rows;
}

static bool on_record(void *ctx, const struct kpi_wal_record *record)
{
    struct verifier *verifier = ctx;
    struct kp_actors *actors;
    if (kp_actors_init(&actors) != KP_OK) {
        verifier->status = KP_NO_MEMORY;
        return false;
    }
    uint64_t rows = record_blocks(verifier, record, actors);
    kp_actors_deinit(actors);
    if (rows != record->rows && verifier->status == KP_OK)
        record_damage(verifier, record, "blocks of the log record do not read or lack rows");
    verifier->report.rows += rows;
    verifier->report.bytes += record->payload_size;
    return verifier->status == KP_OK;
}

/* One pass; BUSY when a writer recycled the log underneath. Findings of an undone pass are undone.
 */
static kp_status store_check(struct verifier *verifier, struct kp_error *err)
{
    struct kpi_manifest manifest;
    kp_status status =
        kpi_manifest_read(verifier->io, verifier->dir, &manifest, on_damage, verifier, err);
    if (status != KP_OK)
        return status;
    status = segments_check(verifier, &manifest);
    if (status == KP_OK)
        status = kpi_runs_verify(verifier->io, verifier->queue, verifier->dir, &manifest, on_damage,
                                 verifier);
    struct kp_verify_report before = verifier->report;
    uint64_t last = 0;
    if (status == KP_OK)
        status = kpi_wal_read(verifier->io, verifier->dir, manifest.sealed_through, on_record,
                              on_damage, verifier, &last, err);
    if (status == KP_BUSY)
        verifier->report = before;
    if (status == KP_OK)
        status = verifier->status;
    if (status == KP_OK)
        links_check(verifier, &manifest);
    kpi_manifest_deinit(&manifest);
    return status;
}

kp_status kp_verify(const char *dir, const struct kp_io *io,
                    void (*found)(void *ctx, const struct kp_damage *damage),
                    void (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx,
                    struct kp_verify_report *out, struct kp_error *err)
{
    struct verifier verifier = {.io = io == NULL ? kp_io_default() : io,
                                .dir = dir,
                                .found = found,
                                .progress = progress,
                                .ctx = ctx};
    kp_status status = verifier.io->queue_open(verifier.io, 4, &verifier.queue);
    if (status != KP_OK)
        return kp_error_set(err, status, "cannot verify %s: no I/O queue", dir);
    status = KP_BUSY;
    for (int i = 0; i < TRIES && status == KP_BUSY; i++)
        status = store_check(&verifier, err);
    verifier.io->queue_close(verifier.queue);
    if (status != KP_OK && status != KP_CORRUPT)
        return status == KP_NO_MEMORY
                   ? kp_error_set(err, status, "cannot verify %s: out of memory", dir)
                   : status;
    *out = verifier.report;
    if (status == KP_OK && verifier.report.damaged > 0) {
        kp_error_set(err, KP_CORRUPT, "%s has %" PRIu64 " damaged places", dir,
                     verifier.report.damaged);
        kp_error_hint(err, "what is listed cannot be read; everything else is whole");
        return KP_CORRUPT;
    }
    return status;
}
