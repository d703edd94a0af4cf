/* SPDX-License-Identifier: Apache-2.0
 *
 * Inspect, second part: log files, manifests and superblocks. Records are looked for at every place
 * where one may begin, so one that is damaged does not hide those behind it.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/assert.h"
#include "storage/inspect.h"
#include "storage/joined.h"
#include "storage/manifest.h"

static void add_range(struct kp_buf *out, kp_time from, kp_time to)
{
    char text[KP_TIME_TEXT_MAX];
    kp_time_format(from, text);
    kp_buf_printf(out, "%s .. ", text);
    kp_time_format(to, text);
    kp_buf_text(out, text);
}

static void add_id(struct kp_buf *out, const uint8_t id[KPI_ID_SIZE])
{
    for (uint32_t i = 0; i < KPI_ID_SIZE; i++)
        kp_buf_printf(out, "%02x", id[i]);
}

/* ---------- log ---------- */

struct wal_file {
    const struct kpi_inspect_file *file;
    uint64_t id; /* of the name, 0 = the name tells none */
    uint64_t seed;
    uint32_t records, stale, damaged;
};

static uint64_t id_of_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *end;
    uint64_t id = strtoull(slash == NULL ? path : slash + 1, &end, 16);
    return strcmp(end, ".kpw") == 0 ? id : 0;
}

/* How many rows of which stream. */
static void joined_parts(const struct kpi_block *block, struct kp_buf *out)
{
    struct kpi_block part;
    uint32_t at = 0;
    while (block->joined && kpi_joined_next(block, &at, &part) == KP_OK)
        kp_buf_printf(out, "    %u rows of %s\n", part.info.rows, part.info.stream->name);
}

static void wal_blocks(const uint8_t *payload, size_t size, uint64_t offset, struct kp_buf *out)
{
    for (size_t at = 0; at < size;) {
        struct kpi_block block;
        if (kpi_block_open(payload + at, size - at, &block) != KP_OK) {
            kp_buf_printf(out, "  block at %" PRIu64 ": does not read\n", offset + at);
            return;
        }
        kp_buf_text(out, "  ");
        kpi_inspect_block(&block, offset + at, block.joined ? ", joined" : "", out);
        joined_parts(&block, out);
        at += block.info.size;
    }
}

/* Tells of the record whose valid header lies at `at`; returns the bytes it takes. */
static size_t wal_record(struct wal_file *wal, const struct kpi_wal_header *header, size_t at,
                         struct kp_buf *out)
{
    const struct kpi_inspect_file *file = wal->file;
    size_t payload = at + sizeof(*header);
    bool whole = header->payload_size <= file->size - payload &&
                 kpi_hash_equal(header->payload_hash,
                                kp_hash128(file->bytes + payload, header->payload_size, wal->seed));
    kp_buf_printf(out, "record %" PRIu64 " at %zu: %u rows, %u bytes, ", header->sequence, at,
                  header->rows, header->payload_size);
    add_range(out, header->ts_min, header->ts_max);
    kp_buf_printf(out, ", next event %" PRIu64 "%s\n", header->seq_next,
                  whole ? "" : ", PAYLOAD TORN OR DAMAGED");
    if (!whole) {
        wal->damaged++;
        return KPI_BLOCK;
    }
    wal->records++;
    wal_blocks(file->bytes + payload, header->payload_size, payload, out);
    return kpi_round_up(sizeof(*header) + header->payload_size, KPI_BLOCK);
}

static void wal_records(struct wal_file *wal, size_t begin, struct kp_buf *out)
{
    const struct kpi_inspect_file *file = wal->file;
    for (size_t at = begin; at + sizeof(struct kpi_wal_header) <= file->size;) {
        struct kpi_wal_header header;
        memcpy(&header, file->bytes + at, sizeof(header));
        bool sum_holds = kpi_hash_equal(
            header.hash, kp_hash128(&header, offsetof(struct kpi_wal_header, hash), wal->seed));
        if (header.magic != KPI_WAL_RECORD_MAGIC) {
            at += KPI_BLOCK;
        } else if (!sum_holds || header.block != at / KPI_BLOCK) {
            kp_buf_printf(out, "record at %zu: header DAMAGED\n", at);
            wal->damaged++;
            at += KPI_BLOCK;
        } else if (wal->id != 0 && header.file_id != wal->id) {
            wal->stale++; /* of an earlier life of the file; its payload may be written over */
            at += KPI_BLOCK;
        } else {
            at += wal_record(wal, &header, at, out);
        }
    }
}

void kpi_inspect_wal(const struct kpi_inspect_file *file, struct kp_buf *out)
{
    struct kpi_wal_file_header header = {0};
    if (file->size < sizeof(header)) {
        kp_buf_printf(out, "log file, %zu bytes: too short for its header\n", file->size);
        return;
    }
    memcpy(&header, file->bytes, sizeof(header));
    struct wal_file wal = {
        .file = file, .id = id_of_name(file->path), .seed = kpi_store_seed(header.store_id)};
    bool whole =
        header.magic == KPI_WAL_FILE_MAGIC &&
        kpi_hash_equal(header.hash,
                       kp_hash128(&header, offsetof(struct kpi_wal_file_header, hash), wal.seed));
    kp_buf_printf(out, "log file %016" PRIx64 " of store ", wal.id);
    add_id(out, header.store_id);
    kp_buf_printf(out, ", %zu bytes%s\n", file->size,
                  whole ? "" : ", header DAMAGED: no record can be proved");
    size_t begin = KPI_BLOCK;
    if (whole && header.table_blocks < file->size / KPI_BLOCK)
        begin = (size_t)(1 + header.table_blocks) * KPI_BLOCK;
    wal_records(&wal, begin, out);
    kp_buf_printf(out, "%u records, %u damaged, %u of earlier lives of the file\n", wal.records,
                  wal.damaged, wal.stale);
}

/* ---------- manifest ---------- */

static void manifest_base(const uint8_t *payload, uint32_t size, struct kp_buf *out)
{
    struct kpi_manifest_base base = {0};
    if (size < offsetof(struct kpi_manifest_base, others)) {
        kp_buf_text(out, "base, too short\n");
        return;
    }
    memcpy(&base, payload, KP_MIN(size, sizeof(base)));
    kp_buf_text(out, "base of store ");
    add_id(out, base.store_id);
    kp_buf_printf(out,
                  ", sealed through record %" PRIu64 ", next event %" PRIu64 ", %" PRIu64
                  " segments, %" PRIu64 " drops and holds\n",
                  base.sealed_through, base.seq_next, base.segments, base.others);
}

static void manifest_segment(const uint8_t *payload, uint32_t size, struct kp_buf *out)
{
    struct kpi_manifest_segment segment;
    if (size < sizeof(segment)) {
        kp_buf_text(out, "segment, too short\n");
        return;
    }
    memcpy(&segment, payload, sizeof(segment));
    kp_buf_printf(out,
                  "segment %016" PRIx64 ": log records %" PRIu64 "..%" PRIu64 ", %" PRIu64
                  " rows, %" PRIu64 " bytes, ",
                  segment.id, segment.wal_first, segment.wal_last, segment.rows, segment.bytes);
    add_range(out, segment.ts_min, segment.ts_max);
    kp_buf_printf(out, ", footer %016" PRIx64 "%016" PRIx64 "\n", segment.footer_hash.hi,
                  segment.footer_hash.lo);
}

static void manifest_drop(const uint8_t *payload, uint32_t size, struct kp_buf *out)
{
    struct kpi_manifest_drop drop;
    if (!kpi_manifest_drop_read(payload, size, &drop)) {
        kp_buf_text(out, "tombstone, makes no sense\n");
        return;
    }
    char at[KP_TIME_TEXT_MAX];
    kp_time_format(drop.at, at);
    kp_buf_printf(out, "tombstone of %" PRIu64 " segments %016" PRIx64 "..%016" PRIx64,
                  drop.segments, drop.id_first, drop.id_last);
    kp_buf_printf(out,
                  ": log records %" PRIu64 "..%" PRIu64 ", %" PRIu64 " rows, %" PRIu64 " bytes, ",
                  drop.wal_first, drop.wal_last, drop.rows, drop.bytes);
    add_range(out, drop.ts_min, drop.ts_max);
    kp_buf_printf(out, ", dropped %s for its %s, footer %016" PRIx64 "%016" PRIx64 "\n", at,
                  drop.reason == KPI_DROP_AGE ? "age" : "size", drop.footer_hash.hi,
                  drop.footer_hash.lo);
}

static void manifest_hold(const uint8_t *payload, uint32_t size, struct kp_buf *out)
{
    struct kp_hold hold;
    if (!kpi_manifest_hold_read(payload, size, &hold)) {
        kp_buf_text(out, "hold, makes no sense\n");
        return;
    }
    char text[KP_TIME_TEXT_MAX];
    kp_time_format(hold.added, text);
    kp_buf_printf(out, "hold %" PRIu64 " of %s: ", hold.id, text);
    add_range(out, hold.from, hold.to);
    kp_time_format(hold.released, text);
    kp_buf_printf(out, ", %s%s, reason: %s\n", hold.released == 0 ? "in force" : "released ",
                  hold.released == 0 ? "" : text, hold.reason);
}

static void manifest_run(const uint8_t *payload, uint32_t size, struct kp_buf *out)
{
    struct kpi_run_meta run;
    if (!kpi_manifest_run_read(payload, size, &run)) {
        kp_buf_text(out, "run, makes no sense\n");
        return;
    }
    if (run.bytes == 0) {
        kp_buf_printf(out, "no run any more for segments %016" PRIx64 " to %016" PRIx64 "\n",
                      run.first, run.last);
        return;
    }
    kp_buf_printf(out,
                  "run %016" PRIx64 " of the transaction index: segments %016" PRIx64
                  " to %016" PRIx64 " (%" PRIu64 "), %" PRIu64 " entries, %" PRIu64 " bytes\n",
                  run.id, run.first, run.last, run.segments, run.entries, run.bytes);
}

/* Bytes the record at `at` takes; 0 when its sum does not hold. The first record gives the seed. */
static size_t manifest_record(const struct kpi_inspect_file *file, size_t at, uint64_t *seed,
                              struct kp_buf *out)
{
    struct kpi_manifest_header header;
    memcpy(&header, file->bytes + at, sizeof(header));
    const uint8_t *payload = file->bytes + at + sizeof(header);
    if (header.magic != KPI_MANIFEST_MAGIC ||
        header.payload_size > file->size - at - sizeof(header))
        return 0;
    if (header.type == KPI_MANIFEST_BASE && header.payload_size >= KPI_ID_SIZE)
        *seed = kpi_store_seed(payload);
    size_t covered = sizeof(header) - sizeof(header.hash) + header.payload_size;
    if (!kpi_hash_equal(header.hash,
                        kp_hash128(file->bytes + at + sizeof(header.hash), covered, *seed)))
        return 0;
    kp_buf_printf(out, "record %" PRIu64 " at %zu: ", header.manifest_version, at);
    if (header.type == KPI_MANIFEST_BASE)
        manifest_base(payload, header.payload_size, out);
    else if (header.type == KPI_MANIFEST_SEGMENT || header.type == KPI_MANIFEST_COLD)
        manifest_segment(payload, header.payload_size, out);
    else if (header.type == KPI_MANIFEST_DROP)
        manifest_drop(payload, header.payload_size, out);
    else if (header.type == KPI_MANIFEST_HOLD)
        manifest_hold(payload, header.payload_size, out);
    else if (header.type == KPI_MANIFEST_RUN)
        manifest_run(payload, header.payload_size, out);
    else
        kp_buf_printf(out, "type %u of a newer kprobe\n", header.type);
    return kpi_round_up(sizeof(header) + header.payload_size, KPI_SECTOR);
}

void kpi_inspect_manifest(const struct kpi_inspect_file *file, struct kp_buf *out)
{
    uint64_t seed = 0;
    uint32_t records = 0, damaged = 0;
    kp_buf_printf(out, "manifest, %zu bytes\n", file->size);
    for (size_t at = 0; at + sizeof(struct kpi_manifest_header) <= file->size;) {
        size_t taken = manifest_record(file, at, &seed, out);
        if (taken > 0)
            records++;
        else if (kp_load_u32(file->bytes + at + offsetof(struct kpi_manifest_header, magic)) != 0) {
            kp_buf_printf(out, "sector at %zu: DAMAGED\n", at);
            damaged++;
        }
        at += taken > 0 ? taken : KPI_SECTOR;
    }
    kp_buf_printf(out, "%u records, %u damaged sectors\n", records, damaged);
}

/* ---------- superblocks ---------- */

void kpi_inspect_super(const struct kpi_inspect_file *file, struct kp_buf *out)
{
    kp_buf_printf(out, "superblocks, %zu bytes\n", file->size);
    for (size_t at = 0; at + sizeof(struct kpi_super) <= file->size; at += KPI_BLOCK) {
        struct kpi_super super;
        memcpy(&super, file->bytes + at, sizeof(super));
        if (!kpi_hash_equal(super.hash, kp_hash128(&super, offsetof(struct kpi_super, hash), 0))) {
            kp_buf_printf(out, "slot at %zu: %s\n", at, super.magic == 0 ? "empty" : "DAMAGED");
            continue;
        }
        kp_buf_printf(out,
                      "slot at %zu: generation %" PRIu64 ", manifest.%08" PRIx64 ", %" PRIu64
                      " bytes of it durable, version %" PRIu64 ", store ",
                      at, super.generation, super.file_no, super.length, super.manifest_version);
        add_id(out, super.store_id);
        kp_buf_char(out, '\n');
    }
}
