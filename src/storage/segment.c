/* SPDX-License-Identifier: Apache-2.0
 *
 * Segment files: written once under a temporary name, in order and in large requests, then renamed;
 * read from the end. A reader needs the trailer and the footer to find its way; the sum of each
 * block in the footer is bound to the file's id and the block's offset, so a block that was moved,
 * swapped or left over from another file does not pass.
 */
#include "storage/segment.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "storage/pager.h"
#include "storage/spine.h"

#define WRITE_BYTES ((size_t)1 << 20)
#define WRITE_DEPTH 4u

uint64_t kpi_place_sum(uint64_t block_sum, uint64_t segment_id, uint64_t offset)
{
    return kp_hash_mix(block_sum ^ kp_hash_mix(segment_id ^ kp_hash_mix(offset + 1)));
}

void kpi_segment_path(const char *dir, uint64_t id, struct kp_buf *out)
{
    kp_buf_printf(out, "%s/seg/%016" PRIx64 ".kps", dir, id);
}

uint64_t kpi_section_sum(const void *bytes, size_t size, uint64_t segment_id, uint64_t offset)
{
    return kpi_place_sum(kp_hash64(bytes, size, 0), segment_id, offset);
}

static uint64_t footer_seed(uint64_t id, uint64_t offset)
{
    return kp_hash_mix(id ^ kp_hash_mix(offset));
}

/* ---------- sequential output ---------- */

/* Buffers go round: one fills while the others are on their way. */
struct output {
    const struct kp_io *io;
    struct kp_io_queue *queue;
    struct kp_io_file *file;
    uint8_t *memory;
    struct kp_io_req reqs[WRITE_DEPTH];
    bool out[WRITE_DEPTH]; /* submitted, not yet looked at */
    uint32_t current;
    size_t filled;
    uint64_t offset; /* of what comes next */
    int os_errno;    /* of the first failure */
};

static kp_status output_wait(struct output *output, uint32_t number)
{
    struct kp_io_req *req = &output->reqs[number];
    if (!output->out[number])
        return KP_OK;
    while (!req->done)
        if (output->io->reap(output->queue) != KP_OK)
            return KP_IO;
    output->out[number] = false;
    if (req->result == (int64_t)req->size)
        return KP_OK;
    output->os_errno = req->result < 0 ? (int)-req->result : EIO;
    return kp_status_from_errno(output->os_errno);
}

static kp_status output_send(struct output *output)
{
    if (output->filled == 0)
        return KP_OK;
    uint32_t number = output->current;
    output->reqs[number] = (struct kp_io_req){.op = KP_IO_WRITE,
                                              .file = output->file,
                                              .buf = output->memory + number * WRITE_BYTES,
                                              .size = output->filled,
                                              .offset = output->offset - output->filled};
    kp_status status = output->io->submit(output->queue, &output->reqs[number]);
    if (status != KP_OK)
        return status;
    output->out[number] = true;
    output->filled = 0;
    output->current = (number + 1) % WRITE_DEPTH;
    return output_wait(output, output->current);
}

static kp_status output_add(struct output *output, const void *bytes, size_t size)
{
    const uint8_t *from = bytes;
    while (size > 0) {
        size_t part = KP_MIN(size, WRITE_BYTES - output->filled);
        memcpy(output->memory + output->current * WRITE_BYTES + output->filled, from, part);
        output->filled += part;
        output->offset += part;
        from += part;
        size -= part;
        if (output->filled < WRITE_BYTES)
            continue;
        kp_status status = output_send(output);
        if (status != KP_OK)
            return status;
    }
    return KP_OK;
}

/* Everything written and on the device. */
static kp_status output_finish(struct output *output)
{
    kp_status status = output_send(output);
    for (uint32_t i = 0; i < WRITE_DEPTH; i++) {
        kp_status one = output_wait(output, i);
        status = status == KP_OK ? one : status;
    }
    if (status != KP_OK)
        return status;
    int64_t result = kp_io_once(output->io, output->queue, KP_IO_SYNC, output->file, NULL, 0, 0);
    if (result >= 0)
        return KP_OK;
    output->os_errno = (int)-result;
    return kp_status_from_errno(output->os_errno);
}

static kp_status output_open(struct output *output, const struct kp_io *io, const char *path)
{
    *output = (struct output){.io = io};
    output->memory = malloc(WRITE_BYTES * WRITE_DEPTH);
    if (output->memory == NULL)
        return KP_NO_MEMORY;
    kp_status status = io->queue_open(io, WRITE_DEPTH + 1, &output->queue);
    if (status != KP_OK)
        return status;
    int result = io->open(io, path, KP_IO_RDWR | KP_IO_CREATE, &output->file);
    if (result == -EEXIST) { /* left by a crash */
        io->unlink(io, path);
        result = io->open(io, path, KP_IO_RDWR | KP_IO_CREATE, &output->file);
    }
    output->os_errno = -result;
    return result == 0 ? KP_OK : kp_status_from_errno(-result);
}

static void output_close(struct output *output)
{
    for (uint32_t i = 0; i < WRITE_DEPTH; i++)
        if (output_wait(output, i) != KP_OK)
            continue; /* failed already: only the buffer must come back before it is freed */
    if (output->file != NULL)
        output->io->close(output->io, output->file);
    if (output->queue != NULL)
        output->io->queue_close(output->queue);
    free(output->memory);
}

/* ---------- writing ---------- */

struct writer {
    struct output output;
    uint64_t id;
    enum kpi_level level;
    struct kpi_footer_builder footer;
    struct kp_buf block;
    struct kpi_segment_meta meta;
};

static kp_status header_write(struct writer *writer)
{
    uint8_t header[KPI_SEGMENT_HEADER] = {0};
    kp_store_u64(header + KPI_SEGMENT_AT_MAGIC, KPI_SEGMENT_MAGIC);
    kp_store_u32(header + KPI_SEGMENT_AT_VERSION, KPI_SEGMENT_VERSION);
    kp_store_u64(header + KPI_SEGMENT_AT_ID, writer->id);
    kp_store_u64(header + KPI_SEGMENT_AT_SUM, kp_hash64(header, KPI_SEGMENT_AT_SUM, 0));
    return output_add(&writer->output, header, sizeof(header));
}

static void meta_add(struct kpi_segment_meta *meta, const struct kpi_block_info *info)
{
    meta->ts_min = KP_MIN(meta->ts_min, info->ts_min);
    meta->ts_max = KP_MAX(meta->ts_max, info->ts_max);
    meta->rows += info->rows;
    meta->rows_by_stream[info->stream->number] += info->rows;
}

/* Writes the block at *at in writer->block and its entry; moves on. batch NULL: a spine. */
static kp_status block_add(struct writer *writer, uint32_t page, const struct kp_batch *batch,
                           size_t *at)
{
    struct kpi_block block;
    const char *bytes = writer->block.data + *at;
    kp_status status = kpi_block_open(bytes, writer->block.size - *at, &block);
    if (status != KP_OK)
        return status;
    *at += block.info.size;
    uint64_t offset = writer->output.offset;
    struct kpi_block_ref ref = {.stream = block.info.stream,
                                .offset = offset,
                                .sum = kpi_place_sum(block.sum, writer->id, offset),
                                .ts_min = block.info.ts_min,
                                .ts_max = block.info.ts_max,
                                .seq_min = block.info.seq_min,
                                .seq_max = block.info.seq_max,
                                .size = block.info.size,
                                .rows = block.info.rows,
                                .page = page};
    if (batch != NULL)
        meta_add(&writer->meta, &block.info);
    status = kpi_footer_add(&writer->footer, &ref, batch);
    if (status == KP_OK)
        status = output_add(&writer->output, bytes, block.info.size);
    return status;
}

static kp_status batch_add(struct writer *writer, uint32_t page, const struct kp_batch *batch);

/* Half of a batch; used when a whole is too large for one block. */
static kp_status half_add(struct writer *writer, uint32_t page, const struct kp_batch *batch,
                          uint32_t from, uint32_t rows)
{
    struct kp_vec cols[KP_STORED_MAX];
    struct kp_batch half = *batch;
    half.cols = cols;
    half.rows = rows;
    for (uint32_t c = 0; c < batch->cols_count; c++) {
        cols[c] = batch->cols[c];
        if (kp_type_phys(cols[c].type) == KP_PHYS_STR)
            cols[c].strs += from;
        else
            cols[c].i64 += from;
    }
    return batch_add(writer, page, &half);
}

/* A block that needs no spine. */
static kp_status batch_add(struct writer *writer, uint32_t page, const struct kp_batch *batch)
{
    size_t at = 0;
    kp_buf_clear(&writer->block);
    kp_status status = kpi_block_encode(batch, writer->level, &writer->block);
    if (status == KP_OK)
        return block_add(writer, page, batch, &at);
    if (status != KP_LIMIT || batch->rows == 1)
        return status;
    uint32_t half = batch->rows / 2;
    status = half_add(writer, page, batch, 0, half);
    return status == KP_OK ? half_add(writer, page, batch, half, batch->rows - half) : status;
}

/* The spine, then the streams of the page without what it holds. */
static kp_status spined_encode(struct writer *writer, const struct kp_batch *batches,
                               uint32_t count, struct kpi_actor_set *actors)
{
    kp_buf_clear(&writer->block);
    uint64_t period = 0;
    kp_status status =
        kpi_spine_encode(batches, count, writer->level, actors, &period, &writer->block);
    for (uint32_t b = 0; b < count && status == KP_OK; b++)
        status = kpi_block_encode_paged(&batches[b], writer->level, actors, period, &writer->block);
    return status;
}

static kp_status spined_add(struct writer *writer, uint32_t page, const struct kp_batch *batches,
                            uint32_t count)
{
    size_t at = 0;
    kp_status status = block_add(writer, page, NULL, &at);
    for (uint32_t b = 0; b < count && status == KP_OK; b++)
        status = block_add(writer, page, &batches[b], &at);
    return status;
}

static uint32_t actors_max(const struct kp_batch *batches, uint32_t count)
{
    uint32_t sum = 0;
    for (uint32_t b = 0; b < count; b++)
        for (uint32_t c = 0; c < batches[b].cols_count; c++)
            sum += batches[b].cols[c].type == KP_TYPE_ACTOR ? batches[b].rows : 0;
    return sum;
}

/* A spine pays for the kernel's streams, which share threads and times. LIMIT before anything is
 * written means: these rows go into blocks of their own. */
static kp_status page_add(void *ctx, uint32_t page, const struct kp_batch *batches, uint32_t count)
{
    struct writer *writer = ctx;
    kp_status status = KP_LIMIT;
    if (batches[0].stream->family == KP_FAMILY_KERNEL) {
        struct kpi_actor_set actors;
        status = kpi_actor_set_init(&actors, actors_max(batches, count));
        if (status == KP_OK)
            status = spined_encode(writer, batches, count, &actors);
        kpi_actor_set_deinit(&actors);
        if (status == KP_OK)
            return spined_add(writer, page, batches, count);
    }
    if (status == KP_LIMIT)
        status = KP_OK;
    for (uint32_t b = 0; b < count && status == KP_OK; b++)
        status = batch_add(writer, page, &batches[b]);
    return status;
}

/* Between the blocks and the footer, which says where. */
static kp_status rollup_write(struct writer *writer)
{
    struct kp_buf bytes = {0};
    uint64_t offset = writer->output.offset;
    kp_status status = kpi_rollup_encode(&writer->footer.rollup, &bytes);
    if (status == KP_OK && bytes.size > 0) {
        writer->footer.section = (struct kpi_section){
            .offset = offset,
            .size = bytes.size,
            .sum = kpi_section_sum(bytes.data, bytes.size, writer->id, offset)};
        status = output_add(&writer->output, bytes.data, bytes.size);
    }
    kp_buf_deinit(&bytes);
    return status;
}

/* Between the blocks and the footer too. */
static kp_status indexes_write(struct writer *writer)
{
    struct kp_buf bytes = {0};
    uint64_t offset = writer->output.offset;
    kp_status status = kpi_footer_sets(&writer->footer, writer->id, offset, &bytes);
    if (status == KP_OK)
        status = kpi_footer_indexes(&writer->footer, writer->id, offset, &bytes);
    if (status == KP_OK)
        status = output_add(&writer->output, bytes.data, bytes.size);
    kp_buf_deinit(&bytes);
    return status;
}

static kp_status footer_write(struct writer *writer)
{
    struct kp_buf footer = {0};
    uint8_t trailer[KPI_SEGMENT_TRAILER] = {0};
    uint64_t offset = writer->output.offset;
    kp_status status = kpi_footer_encode(&writer->footer, &footer);
    if (status == KP_OK) {
        struct kp_hash128 hash =
            kp_hash128(footer.data, footer.size, footer_seed(writer->id, offset));
        kp_store_u64(trailer + KPI_TRAILER_AT_MAGIC, KPI_SEGMENT_END_MAGIC);
        kp_store_u32(trailer + KPI_TRAILER_AT_VERSION, KPI_SEGMENT_VERSION);
        kp_store_u64(trailer + KPI_TRAILER_AT_ID, writer->id);
        kp_store_u64(trailer + KPI_TRAILER_AT_FOOTER, offset);
        kp_store_u64(trailer + KPI_TRAILER_AT_FOOTER_SIZE, footer.size);
        kp_store_u64(trailer + KPI_TRAILER_AT_FOOTER_HASH, hash.lo);
        kp_store_u64(trailer + KPI_TRAILER_AT_FOOTER_HASH + 8, hash.hi);
        kp_store_u64(trailer + KPI_TRAILER_AT_SUM, kp_hash64(trailer, KPI_TRAILER_AT_SUM, 0));
        writer->meta.footer_hash = hash;
        status = output_add(&writer->output, footer.data, footer.size);
    }
    kp_buf_deinit(&footer);
    if (status == KP_OK)
        status = output_add(&writer->output, trailer, sizeof(trailer));
    writer->meta.bytes = writer->output.offset;
    return status;
}

/* Where the rows of a new segment come from: one of both. */
struct feed {
    const struct kpi_block_run *runs;
    uint32_t runs_count;
    const struct kpi_page_source *pages;
};

static kp_status file_write(struct writer *writer, const struct feed *feed)
{
    kp_status status = header_write(writer);
    if (status == KP_OK)
        status = feed->pages != NULL
                     ? kpi_pages_merge(feed->pages, page_add, writer)
                     : kpi_pages_make(feed->runs, feed->runs_count, page_add, writer);
    if (status == KP_OK)
        status = rollup_write(writer);
    if (status == KP_OK)
        status = indexes_write(writer);
    if (status == KP_OK)
        status = footer_write(writer);
    if (status == KP_OK)
        status = output_finish(&writer->output);
    return status;
}

/* The name is what makes a file part of the store; the directory makes the name last. */
static kp_status file_name(const struct kp_io *io, const char *dir, const char *from,
                           const char *to, int *out_errno)
{
    struct kp_buf seg = {0};
    kp_buf_printf(&seg, "%s/seg", dir);
    int result = io->rename(io, from, to);
    if (result == 0) {
        result = io->sync_dir(io, kp_buf_cstr(&seg));
        if (result != 0)
            io->unlink(io, to);
    }
    kp_buf_deinit(&seg);
    *out_errno = -result;
    return result == 0 ? KP_OK : kp_status_from_errno(-result);
}

static kp_status write_error(kp_status status, int os_errno, const char *path, struct kp_error *err)
{
    if (status == KP_CORRUPT)
        return kp_error_set(err, status, "cannot seal %s: a block of the log does not read", path);
    if (os_errno != 0)
        return kp_error_os(err, status, os_errno, "cannot write segment %s", path);
    return kp_error_set(err, status, "cannot write segment %s: %s", path, kp_status_text(status));
}

static kp_status segment_write(const struct kp_io *io, const char *dir, uint64_t id,
                               enum kpi_level level, const struct feed *feed,
                               struct kpi_segment_meta *out, struct kp_error *err)
{
    struct kp_buf path = {0}, temporary = {0};
    struct writer writer = {
        .id = id, .level = level, .meta = {.id = id, .ts_min = KP_TIME_MAX, .ts_max = KP_TIME_MIN}};
    kpi_segment_path(dir, id, &path);
    kp_buf_printf(&temporary, "%s.tmp", kp_buf_cstr(&path));
    kp_buf_cstr(&temporary);
    bool named = !path.failed && !temporary.failed;
    kp_status status = named ? KP_OK : KP_NO_MEMORY;
    if (status == KP_OK)
        status = output_open(&writer.output, io, temporary.data);
    if (status == KP_OK)
        status = file_write(&writer, feed);
    int os_errno = writer.output.os_errno;
    output_close(&writer.output);
    if (status == KP_OK)
        status = file_name(io, dir, temporary.data, path.data, &os_errno);
    if (status == KP_OK) {
        *out = writer.meta;
    } else {
        if (named)
            io->unlink(io, temporary.data);
        write_error(status, os_errno, kp_buf_cstr(&path), err);
    }
    kpi_footer_builder_deinit(&writer.footer);
    kp_buf_deinit(&writer.block);
    kp_buf_deinit(&path);
    kp_buf_deinit(&temporary);
    return status;
}

kp_status kpi_segment_write(const struct kp_io *io, const char *dir, uint64_t id,
                            const struct kpi_block_run *runs, uint32_t runs_count,
                            struct kpi_segment_meta *out, struct kp_error *err)
{
    const struct feed feed = {.runs = runs, .runs_count = runs_count};
    return segment_write(io, dir, id, KPI_LEVEL_SEALED, &feed, out, err);
}

kp_status kpi_segment_rewrite(const struct kp_io *io, const char *dir, uint64_t id,
                              const struct kpi_page_source *pages, struct kpi_segment_meta *out,
                              struct kp_error *err)
{
    const struct feed feed = {.pages = pages};
    kp_status status = segment_write(io, dir, id, KPI_LEVEL_COLD, &feed, out, err);
    if (status == KP_OK)
        out->cold = true;
    return status;
}

/* ---------- reading ---------- */

static kp_status read_exactly(const struct kpi_segment *segment, struct kp_io_queue *queue,
                              void *buf, size_t size, uint64_t offset)
{
    int64_t got = kp_io_once(segment->io, queue, KP_IO_READ, segment->file, buf, size, offset);
    if (got < 0)
        return kp_status_from_errno((int)-got);
    return (size_t)got == size ? KP_OK : KP_CORRUPT;
}

struct trailer {
    uint32_t version;
    uint64_t id, footer, footer_size;
    struct kp_hash128 hash;
};

static kp_status trailer_parse(const uint8_t *at, uint64_t file_size, struct trailer *out)
{
    if (kp_load_u64(at + KPI_TRAILER_AT_MAGIC) != KPI_SEGMENT_END_MAGIC ||
        kp_load_u64(at + KPI_TRAILER_AT_SUM) != kp_hash64(at, KPI_TRAILER_AT_SUM, 0))
        return KP_CORRUPT;
    uint32_t version = kp_load_u32(at + KPI_TRAILER_AT_VERSION);
    if (version < 1 || version > KPI_SEGMENT_VERSION ||
        kp_load_u32(at + KPI_TRAILER_AT_FEATURES) != 0)
        return KP_VERSION;
    *out = (struct trailer){.version = version,
                            .id = kp_load_u64(at + KPI_TRAILER_AT_ID),
                            .footer = kp_load_u64(at + KPI_TRAILER_AT_FOOTER),
                            .footer_size = kp_load_u64(at + KPI_TRAILER_AT_FOOTER_SIZE),
                            .hash = {kp_load_u64(at + KPI_TRAILER_AT_FOOTER_HASH),
                                     kp_load_u64(at + KPI_TRAILER_AT_FOOTER_HASH + 8)}};
    uint64_t end = file_size - KPI_SEGMENT_TRAILER;
    if (out->footer < KPI_SEGMENT_HEADER || out->footer > end ||
        out->footer_size != end - out->footer || out->footer_size > KPI_SEGMENT_FOOTER_MAX)
        return KP_CORRUPT;
    return KP_OK;
}

/* The last 64 KiB nearly always hold the whole footer. */
static kp_status footer_load(struct kpi_segment *segment, struct kp_io_queue *queue,
                             const struct trailer *trailer, const uint8_t *tail, size_t tail_size)
{
    segment->footer_bytes = malloc(trailer->footer_size + 1);
    if (segment->footer_bytes == NULL)
        return KP_NO_MEMORY;
    size_t in_tail = tail_size - KPI_SEGMENT_TRAILER;
    if (trailer->footer_size <= in_tail) {
        memcpy(segment->footer_bytes, tail + in_tail - trailer->footer_size, trailer->footer_size);
    } else {
        kp_status status = read_exactly(segment, queue, segment->footer_bytes, trailer->footer_size,
                                        trailer->footer);
        if (status != KP_OK)
            return status;
    }
    struct kp_hash128 hash = kp_hash128(segment->footer_bytes, trailer->footer_size,
                                        footer_seed(trailer->id, trailer->footer));
    if (hash.lo != trailer->hash.lo || hash.hi != trailer->hash.hi)
        return KP_CORRUPT;
    segment->id = trailer->id;
    segment->version = trailer->version;
    segment->footer_hash = hash;
    return kpi_footer_parse(segment->footer_bytes, trailer->footer_size, trailer->version,
                            trailer->footer, &segment->footer);
}

static kp_status segment_load(struct kpi_segment *segment, struct kp_io_queue *queue, uint64_t id)
{
    int64_t size = segment->io->size(segment->io, segment->file);
    if (size < 0)
        return kp_status_from_errno((int)-size);
    if (size < (int64_t)(KPI_SEGMENT_HEADER + KPI_SEGMENT_TRAILER))
        return KP_CORRUPT;
    segment->size = (uint64_t)size;
    size_t tail_size = KP_MIN((uint64_t)size, KPI_SEGMENT_TAIL);
    uint8_t *tail = malloc(tail_size);
    if (tail == NULL)
        return KP_NO_MEMORY;
    struct trailer trailer;
    kp_status status = read_exactly(segment, queue, tail, tail_size, segment->size - tail_size);
    if (status == KP_OK)
        status = trailer_parse(tail + tail_size - KPI_SEGMENT_TRAILER, segment->size, &trailer);
    if (status == KP_OK && id != 0 && trailer.id != id)
        status = KP_CORRUPT;
    if (status == KP_OK)
        status = footer_load(segment, queue, &trailer, tail, tail_size);
    free(tail);
    return status;
}

kp_status kpi_segment_open(const struct kp_io *io, struct kp_io_queue *queue, const char *path,
                           uint64_t id, struct kpi_segment *out, struct kp_error *err)
{
    struct kpi_segment segment = {.io = io};
    int result = io->open(io, path, KP_IO_RDONLY, &segment.file);
    if (result != 0)
        return kp_error_os(err, kp_status_from_errno(-result), -result, "cannot open segment %s",
                           path);
    kp_status status = segment_load(&segment, queue, id);
    if (status != KP_OK) {
        kpi_segment_close(&segment);
        return kp_error_set(err, status, "cannot read segment %s: %s", path,
                            status == KP_CORRUPT ? "its footer is damaged or cut off"
                                                 : kp_status_text(status));
    }
    *out = segment;
    return KP_OK;
}

void kpi_segment_close(struct kpi_segment *segment)
{
    if (segment->file != NULL)
        segment->io->close(segment->io, segment->file);
    kpi_footer_deinit(&segment->footer);
    free(segment->footer_bytes);
    memset(segment, 0, sizeof(*segment));
}

kp_status kpi_segment_read(const struct kpi_segment *segment, struct kp_io_queue *queue,
                           const struct kpi_block_ref *ref, void *buf, struct kpi_block *out)
{
    struct kpi_block block;
    kp_status status = read_exactly(segment, queue, buf, ref->size, ref->offset);
    if (status == KP_OK)
        status = kpi_block_open(buf, ref->size, &block);
    if (status != KP_OK)
        return status;
    if (ref->sum != kpi_place_sum(block.sum, segment->id, ref->offset) ||
        block.info.size != ref->size || block.info.rows != ref->rows ||
        block.info.stream != ref->stream || block.info.ts_min != ref->ts_min ||
        block.info.ts_max != ref->ts_max)
        return KP_CORRUPT;
    *out = block;
    return KP_OK;
}

kp_status kpi_segment_section(const struct kpi_segment *segment, struct kp_io_queue *queue,
                              const struct kpi_section *section, void *buf)
{
    kp_status status = read_exactly(segment, queue, buf, section->size, section->offset);
    if (status != KP_OK)
        return status;
    uint64_t sum = kpi_section_sum(buf, section->size, segment->id, section->offset);
    return sum == section->sum ? KP_OK : KP_CORRUPT;
}

kp_status kpi_segment_sets(struct kpi_segment *segment, struct kp_io_queue *queue)
{
    const struct kpi_section *section = &segment->footer.sets;
    if (segment->footer.sets_read || section->size == 0)
        return KP_OK;
    void *bytes = malloc(section->size);
    kp_status status =
        bytes == NULL ? KP_NO_MEMORY : kpi_segment_section(segment, queue, section, bytes);
    if (status == KP_OK)
        status = kpi_footer_sets_parse(&segment->footer, bytes, section->size);
    segment->footer.sets_read = status == KP_OK;
    free(bytes);
    return status;
}

/* The spine lies before the blocks of its page. */
const struct kpi_block_ref *kpi_segment_spine(const struct kpi_segment *segment,
                                              const struct kpi_block_ref *ref)
{
    for (const struct kpi_block_ref *at = ref; at-- > segment->footer.blocks;) {
        if (at->page != ref->page)
            return NULL;
        if (at->stream == &kpi_spine_stream)
            return at;
    }
    return NULL;
}

kp_status kpi_segment_bind(const struct kpi_segment *segment, struct kp_io_queue *queue,
                           const struct kpi_block_ref *ref, struct kp_arena *arena,
                           struct kpi_block *block)
{
    if (!block->paged || block->info.stream == &kpi_spine_stream)
        return KP_OK;
    const struct kpi_block_ref *spine_ref = kpi_segment_spine(segment, ref);
    if (spine_ref == NULL)
        return KP_CORRUPT;
    struct kpi_block head;
    struct kpi_spine *spine;
    void *bytes = kp_arena_alloc(arena, spine_ref->size);
    kp_status status =
        bytes == NULL ? KP_NO_MEMORY : kpi_segment_read(segment, queue, spine_ref, bytes, &head);
    if (status == KP_OK)
        status = kpi_spine_open(&head, arena, &spine);
    if (status == KP_OK)
        status = kpi_spine_bind(spine, arena, block);
    return status;
}
