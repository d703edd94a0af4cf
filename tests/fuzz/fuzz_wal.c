/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes in the log, the manifest and the superblocks of a small store. Input: one byte of
 * flags, then edits (file, offset in two bytes, length, that many bytes). With FIX_SUMS the sums of
 * records are made right again after the edits, so that lies with valid sums get past the first
 * gate.
 *
 * Nothing crashes or hangs; a store that opens opens again; a reader's records ascend.
 */
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "fuzz_sums.h"
#include "storage/io_sim.h"
#include "storage/manifest.h"
#include "storage/wal.h"

#define DIR        "/s"
#define FILE_BYTES (64u << 10)

enum { FIX_SUMS = 1, CUT = 2 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct kp_sim *pattern;

static struct kp_store_opts opts_of(struct kp_sim *sim)
{
    return (struct kp_store_opts){.io = kp_sim_io(sim),
                                  .manual = true,
                                  .memory_bytes_max = 256 << 10,
                                  .wal_file_bytes = FILE_BYTES,
                                  .id_seed = 1};
}

static void must(kp_status status)
{
    kp_assert(status == KP_OK);
}

static void append_row(struct kp_store *store, struct kp_builder *builder, bool seal)
{
    uint64_t ticket = 0;
    uint64_t seq = kp_store_seq(store, 1);
    kp_builder_reset(builder);
    kp_builder_row(builder, (kp_time)seq, seq, 0, KP_ACTOR_UNKNOWN);
    must(kp_store_append(store, kp_builder_batch(builder), &ticket));
    must(kp_store_wait(store, ticket, NULL));
    if (seal)
        must(kp_store_tick(store, 1, true));
}

/* One segment, then 17 records over two files. */
static void pattern_make(void)
{
    struct kp_store *store = NULL;
    struct kp_builder builder;
    must(kp_sim_open(1, &pattern));
    struct kp_store_opts opts = opts_of(pattern);
    must(kp_store_open(DIR, &opts, &store, NULL));
    must(kp_builder_init(&builder, kp_stream_by_number(KP_S_SYSCALL), kp_store_actors(store), 4));
    for (int i = 0; i < 20; i++)
        append_row(store, &builder, i == 2);
    kp_builder_deinit(&builder);
    must(kp_store_close(store, NULL));
    uint8_t id[KPI_ID_SIZE];
    must(kpi_manifest_store_id(kp_sim_io(pattern), DIR, id, NULL));
    sums_seed = kpi_store_seed(id);
}

static const char *const files[] = {DIR "/wal/0000000000000001.kpw",
                                    DIR "/wal/0000000000000002.kpw", DIR "/manifest.00000001",
                                    DIR "/super"};

static void manifest_sums_fix(uint8_t *bytes, size_t size)
{
    for (size_t at = 0; at + KPI_SECTOR <= size; at += KPI_SECTOR) {
        struct kpi_manifest_header header;
        memcpy(&header, bytes + at, sizeof(header));
        size_t head = sizeof(header) - sizeof(header.hash);
        if (header.magic != KPI_MANIFEST_MAGIC || header.payload_size > size - at - sizeof(header))
            continue;
        header.hash =
            kp_hash128(bytes + at + sizeof(header.hash), head + header.payload_size, sums_seed);
        memcpy(bytes + at, &header.hash, sizeof(header.hash));
    }
}

static void edits_apply(struct kp_sim *sim, struct kp_reader *input)
{
    while (!input->bad && kp_reader_left(input) > 0) {
        const char *path = files[kp_read_u8(input) % KP_ARRAY_LEN(files)];
        size_t at = kp_read_u16(input), length = kp_read_u8(input), size = 0;
        const uint8_t *bytes = kp_read_bytes(input, KP_MIN(length, kp_reader_left(input)));
        uint8_t *file = kp_sim_file(sim, path, &size);
        length = input->bad ? 0 : (size_t)(input->at - bytes);
        if (file != NULL && at < size && length > 0)
            memcpy(file + at, bytes, KP_MIN(length, size - at));
    }
}

static void sums_fix(struct kp_sim *sim)
{
    size_t size = 0;
    for (size_t i = 0; i < KP_ARRAY_LEN(files); i++) {
        uint8_t *bytes = kp_sim_file(sim, files[i], &size);
        if (bytes == NULL)
            continue;
        if (i < 2)
            wal_sums_fix(bytes, size);
        else if (i == 2)
            manifest_sums_fix(bytes, size);
        else
            super_sums_fix(bytes, size);
    }
}

static void cut(struct kp_sim *sim, uint8_t which, uint16_t size)
{
    const struct kp_io *io = kp_sim_io(sim);
    struct kp_io_file *file = NULL;
    if (io->open(io, files[which % KP_ARRAY_LEN(files)], KP_IO_RDWR, &file) != 0)
        return;
    if (size < io->size(io, file) && io->truncate(io, file, size) != 0)
        kp_assert(false);
    io->close(io, file);
}

static bool record_check(void *ctx, const struct kpi_wal_record *record)
{
    uint64_t *last = ctx;
    kp_assert(record->sequence > *last);
    *last = record->sequence;
    return true;
}

static void read_all(struct kp_sim *sim)
{
    struct kpi_manifest manifest;
    uint64_t last = 0, end = 0;
    if (kpi_manifest_read(kp_sim_io(sim), DIR, &manifest, NULL, NULL, NULL) != KP_OK)
        return;
    kp_status status = kpi_wal_read(kp_sim_io(sim), DIR, manifest.sealed_through, record_check,
                                    NULL, &last, &end, NULL);
    kp_assert(status == KP_OK && end >= last);
    kpi_manifest_deinit(&manifest);
}

static kp_status reopen(struct kp_sim *sim)
{
    struct kp_store_opts opts = opts_of(sim);
    struct kp_store *store = NULL;
    kp_status status = kp_store_open(DIR, &opts, &store, NULL);
    return status == KP_OK ? kp_store_close(store, NULL) : status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (pattern == NULL)
        pattern_make();
    struct kp_reader input = kp_reader_init(data, size);
    uint8_t flags = kp_read_u8(&input);
    struct kp_sim *sim = kp_sim_clone(pattern, 1);
    kp_assert(sim != NULL);
    if ((flags & CUT) != 0) {
        uint8_t which = kp_read_u8(&input);
        cut(sim, which, kp_read_u16(&input));
    }
    edits_apply(sim, &input);
    if ((flags & FIX_SUMS) != 0)
        sums_fix(sim);
    read_all(sim);
    if (reopen(sim) == KP_OK)
        must(reopen(sim));
    kp_sim_close(sim);
    return 0;
}
