/* SPDX-License-Identifier: Apache-2.0
 *
 * Inspect: any file of a store as text. Works on files that readers refuse: a segment without a
 * footer is searched for blocks, and each block says for itself what it is and whether its sum
 * holds.
 */
#include "storage/chain.h"
#include "storage/inspect.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "storage/format.h"
#include "storage/run_file.h"
#include "storage/spine.h"

#define FILE_BYTES_MAX ((int64_t)1 << 30)

static void add_time(struct kp_buf *out, kp_time t)
{
    char text[KP_TIME_TEXT_MAX];
    kp_time_format(t, text);
    kp_buf_text(out, text);
}

void kpi_inspect_block(const struct kpi_block *block, uint64_t offset, const char *remark,
                       struct kp_buf *out)
{
    kp_buf_printf(out, "block at %" PRIu64 ": %s, %u rows, %u bytes, %u actors, ", offset,
                  block->info.stream->name, block->info.rows, block->info.size, block->actors);
    add_time(out, block->info.ts_min);
    kp_buf_text(out, " .. ");
    add_time(out, block->info.ts_max);
    kp_buf_printf(out, ", seq %" PRIu64 "..%" PRIu64 "%s\n", block->info.seq_min,
                  block->info.seq_max, remark);
}

/* ---------- what columns cost ---------- */

struct column_cost {
    uint64_t bytes;
    uint64_t blocks;
    uint8_t code; /* of the last block seen */
    bool mixed;   /* blocks differ in codec */
};

struct stream_cost {
    uint64_t rows, bytes, actors_bytes;
    struct column_cost columns[KP_STORED_MAX];
};

static void cost_add(struct stream_cost *cost, const struct kpi_block *block)
{
    cost->rows += block->info.rows;
    cost->bytes += block->info.size;
    cost->actors_bytes += block->actors_chunk.size;
    for (uint32_t c = 0; c < block->columns; c++) {
        struct column_cost *column = &cost->columns[c];
        if (block->chunks[c].size == 0)
            continue; /* in the spine */
        uint8_t code = block->chunks[c].bytes[0];
        column->mixed |= column->blocks > 0 && column->code != code;
        column->code = code;
        column->bytes += block->chunks[c].size;
        column->blocks++;
    }
}

/* "1.234": bytes per row without floating point. */
static void add_per_row(struct kp_buf *out, uint64_t bytes, uint64_t rows)
{
    uint64_t milli = rows == 0 ? 0 : bytes * 1000 / rows;
    kp_buf_printf(out, "%" PRIu64 ".%03" PRIu64, milli / 1000, milli % 1000);
}

static void cost_print(const struct stream_cost *costs, struct kp_buf *out)
{
    for (uint32_t s = 0; s < KP_STREAM_MAX; s++) {
        const struct stream_cost *cost = &costs[s];
        const struct kp_stream *stream = kpi_stream_by_number(s);
        if (cost->rows == 0 || stream == NULL)
            continue;
        kp_buf_printf(out, "\n%s: %" PRIu64 " rows, %" PRIu64 " bytes, ", stream->name, cost->rows,
                      cost->bytes);
        add_per_row(out, cost->bytes, cost->rows);
        kp_buf_printf(out, " bytes a row; actor tables %" PRIu64 " bytes\n", cost->actors_bytes);
        for (uint32_t c = 0; c < stream->stored_count; c++) {
            const struct column_cost *column = &cost->columns[c];
            if (column->blocks == 0)
                continue;
            kp_buf_printf(out, "  %-16s ", stream->stored[c].name);
            add_per_row(out, column->bytes, cost->rows);
            kp_buf_printf(out, "  %s%s%s\n", kpi_chunk_name(column->code),
                          (column->code & KPI_CHUNK_ZSTD) != 0 ? "+zstd" : "",
                          column->mixed ? " (blocks differ)" : "");
        }
    }
}

/* ---------- segments ---------- */

static void segment_block(const struct kpi_inspect_file *file, const struct kpi_segment *segment,
                          const struct kpi_block_ref *ref, struct stream_cost *costs,
                          struct kp_buf *out)
{
    struct kpi_block block;
    kp_status status = ref->offset + ref->size > file->size
                           ? KP_CORRUPT
                           : kpi_block_open(file->bytes + ref->offset, ref->size, &block);
    if (status != KP_OK) {
        kp_buf_printf(out, "block at %" PRIu64 ": DAMAGED, %u rows of %s, %u bytes lost\n",
                      ref->offset, ref->rows,
                      ref->stream == NULL ? "an unknown stream" : ref->stream->name, ref->size);
        return;
    }
    bool in_place = ref->sum == kpi_place_sum(block.sum, segment->id, ref->offset);
    kpi_inspect_block(&block, ref->offset, in_place ? "" : ", DOES NOT BELONG HERE", out);
    cost_add(&costs[block.info.stream->number], &block);
}

static void segment_footer(const struct kpi_inspect_file *file, const struct kpi_segment *segment,
                           struct stream_cost *costs, struct kp_buf *out)
{
    const struct kpi_footer *footer = &segment->footer;
    kp_buf_printf(out, "footer whole: %u pages, %u blocks, hash %016" PRIx64 "%016" PRIx64 "\n",
                  footer->pages, footer->blocks_count, segment->footer_hash.hi,
                  segment->footer_hash.lo);
    for (uint32_t i = 0; i < footer->exact_count; i++) {
        const struct kp_stream *stream = kp_stream_by_number(footer->exact[i].stream);
        bool known = stream != NULL && footer->exact[i].column < stream->stored_count;
        kp_buf_printf(out, "exact index of %s.%s: %u entries\n", known ? stream->name : "unknown",
                      known ? stream->stored[footer->exact[i].column].name : "unknown",
                      footer->exact[i].count);
    }
    if (footer->rollup.size > 0)
        kp_buf_printf(out, "rollups at %" PRIu64 ": %" PRIu64 " bytes\n", footer->rollup.offset,
                      footer->rollup.size);
    uint32_t page = UINT32_MAX;
    for (uint32_t b = 0; b < footer->blocks_count; b++) {
        if (footer->blocks[b].page != page) {
            page = footer->blocks[b].page;
            kp_buf_printf(out, "page %u\n", page);
        }
        kp_buf_text(out, "  ");
        segment_block(file, segment, &footer->blocks[b], costs, out);
    }
}

/* Without a footer: whatever looks like a block and has the right sum is one. */
static void segment_search(const struct kpi_inspect_file *file, struct stream_cost *costs,
                           struct kp_buf *out)
{
    size_t lost = 0;
    for (size_t at = KPI_SEGMENT_HEADER; at + KPI_BLOCK_HEADER <= file->size;) {
        struct kpi_block block;
        if (kp_load_u32(file->bytes + at) != KPI_BLOCK_MAGIC ||
            kpi_block_open(file->bytes + at, file->size - at, &block) != KP_OK) {
            at += KPI_BLOCK_ALIGN;
            lost += KPI_BLOCK_ALIGN;
            continue;
        }
        kpi_inspect_block(&block, at, "", out);
        cost_add(&costs[block.info.stream->number], &block);
        at += block.info.size;
    }
    kp_buf_printf(out, "%zu bytes belong to no whole block (the footer included)\n", lost);
}

static void inspect_segment(const struct kpi_inspect_file *file, const struct kp_io *io,
                            struct kp_io_queue *queue, struct kp_buf *out)
{
    struct kpi_segment segment;
    struct kp_error err;
    struct stream_cost *costs = calloc(KP_STREAM_MAX, sizeof(*costs));
    if (costs == NULL) {
        out->failed = true;
        return;
    }
    if (kpi_segment_open(io, queue, file->path, 0, &segment, &err) == KP_OK) {
        kp_buf_printf(out, "segment %016" PRIx64 ", format %u, %zu bytes\n", segment.id,
                      segment.version, file->size);
        segment_footer(file, &segment, costs, out);
        kpi_segment_close(&segment);
    } else {
        kp_buf_printf(out, "segment, %zu bytes, DAMAGED: %s\n", file->size, err.text);
        segment_search(file, costs, out);
    }
    cost_print(costs, out);
    free(costs);
}

/* ---------- runs ---------- */

static void inspect_run(const struct kpi_inspect_file *file, const struct kp_io *io,
                        struct kp_io_queue *queue, struct kp_buf *out)
{
    struct kpi_run run;
    kp_status status = kpi_runfile_open(io, queue, file->path, NULL, &run);
    if (status != KP_OK) {
        kp_buf_printf(out, "run of the transaction index, %zu bytes, DAMAGED: %s\n", file->size,
                      kp_status_text(status));
        return;
    }
    kp_buf_printf(out,
                  "run %016" PRIx64 " of the transaction index, %" PRIu64 " entries on %u pages, %"
                  "u segments, %zu bytes: %s\n",
                  run.id, run.entries, run.pages, run.segments, file->size,
                  kpi_runfile_check(&run, queue) == KP_OK ? "whole" : "DAMAGED");
    for (uint32_t p = 0; p < run.pages; p++) {
        struct kpi_run_page page;
        if (kpi_runfile_page_read(&run, queue, p, &page) != KP_OK)
            kp_buf_printf(out, "page %u: DAMAGED\n", p);
        else
            kp_buf_printf(out, "page %u: %u entries of %u + %u + %u bits\n", p, page.count,
                          page.bits[0], page.bits[1], page.bits[2]);
    }
    for (uint32_t i = 0; i < run.segments; i++)
        kp_buf_printf(out, "segment %016" PRIx64 "\n", kpi_runfile_segment_id(&run, i));
    kpi_runfile_close(&run);
}

/* ---------- any file ---------- */

static kp_status file_load(const struct kp_io *io, struct kp_io_queue *queue, const char *path,
                           struct kp_buf *out, struct kp_error *err)
{
    struct kp_io_file *file;
    int result = io->open(io, path, KP_IO_RDONLY, &file);
    if (result != 0)
        return kp_error_os(err, kp_status_from_errno(-result), -result, "cannot open %s", path);
    kp_status status = KP_OK;
    int64_t size = io->size(io, file), got = 0;
    void *to = size < 0 || size > FILE_BYTES_MAX ? NULL : kp_buf_reserve(out, (size_t)size + 1);
    if (to != NULL)
        got = kp_io_once(io, queue, KP_IO_READ, file, to, (size_t)size, 0);
    if (size > FILE_BYTES_MAX)
        status = kp_error_set(err, KP_LIMIT, "%s is larger than any file of a store", path);
    else if (to == NULL && size >= 0)
        status = kp_error_set(err, KP_NO_MEMORY, "cannot read %s: out of memory", path);
    else if (size < 0 || got < 0)
        status = kp_error_os(err, KP_IO, (int)-(size < 0 ? size : got), "cannot read %s", path);
    else
        out->size = (size_t)got;
    io->close(io, file);
    return status;
}

static bool ends_like_segment(const struct kpi_inspect_file *file)
{
    return file->size >= KPI_SEGMENT_TRAILER &&
           kp_load_u64(file->bytes + file->size - KPI_SEGMENT_TRAILER) == KPI_SEGMENT_END_MAGIC;
}

static bool name_ends(const char *path, const char *end)
{
    size_t length = strlen(path), end_length = strlen(end);
    return length >= end_length && strcmp(path + length - end_length, end) == 0;
}

static bool name_begins(const char *path, const char *begin)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    return strncmp(name, begin, strlen(begin)) == 0;
}

static uint32_t magic32(const struct kpi_inspect_file *file, size_t at)
{
    return file->size >= at + 4 ? kp_load_u32(file->bytes + at) : 0;
}

/* By content where it tells, else by name: a damaged head must not hide what a file was. */
static kp_status inspect_any(const struct kpi_inspect_file *file, const struct kp_io *io,
                             struct kp_io_queue *queue, struct kp_buf *out, struct kp_error *err)
{
    size_t manifest_magic = offsetof(struct kpi_manifest_header, magic);
    if ((file->size >= 8 && kp_load_u64(file->bytes) == KPI_SEGMENT_MAGIC) ||
        ends_like_segment(file) || name_ends(file->path, ".kps"))
        inspect_segment(file, io, queue, out);
    else if (name_ends(file->path, ".kpt"))
        inspect_run(file, io, queue, out);
    else if (magic32(file, 0) == KPI_WAL_FILE_MAGIC || name_ends(file->path, ".kpw"))
        kpi_inspect_wal(file, out);
    else if (magic32(file, 0) == KPI_SUPER_MAGIC || name_ends(file->path, "/super"))
        kpi_inspect_super(file, out);
    else if (magic32(file, manifest_magic) == KPI_MANIFEST_MAGIC ||
             name_begins(file->path, "manifest."))
        kpi_inspect_manifest(file, out);
    else if (magic32(file, 0) == KPI_CHAIN_MAGIC || name_ends(file->path, "/evidence/chain"))
        kpi_inspect_chain(file, out);
    else if (name_ends(file->path, "/evidence/key"))
        kpi_inspect_key(file, out);
    else if (name_ends(file->path, "/checkpoint"))
        kpi_inspect_checkpoint(file, out);
    else
        return kp_error_set(err, KP_INVALID, "%s is not a file of a kprobe store", file->path);
    return out->failed ? kp_error_set(err, KP_NO_MEMORY, "out of memory") : KP_OK;
}

kp_status kp_inspect(const char *path, struct kp_buf *out, struct kp_error *err)
{
    const struct kp_io *io = kp_io_threads();
    struct kp_io_queue *queue;
    struct kp_buf bytes = {0};
    kp_status status = io->queue_open(io, 2, &queue);
    if (status != KP_OK)
        return kp_error_set(err, status, "cannot read %s: no I/O queue", path);
    status = file_load(io, queue, path, &bytes, err);
    if (status == KP_OK) {
        struct kpi_inspect_file file = {path, (const uint8_t *)bytes.data, bytes.size};
        status = inspect_any(&file, io, queue, out, err);
    }
    io->queue_close(queue);
    kp_buf_deinit(&bytes);
    return status;
}
