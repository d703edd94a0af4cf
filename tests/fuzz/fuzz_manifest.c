/* SPDX-License-Identifier: Apache-2.0
 *
 * Forged manifests: edits of a real one, and records of any type behind it, all with their sums and
 * links made right. Input: a count of edits, edits (offset in two bytes, length, bytes), then
 * records (type, size, bytes; the rest of a record of that type is 0).
 *
 * Nothing crashes; no segment is there twice; a store that opens opens
 * again, and its snapshot and its check come to an end.
 */
#include "fuzz_small.h"

#define RECORDS 16u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *manifest_path(void)
{
    return small_path(SMALL_DIR "/manifest.", 0);
}

static size_t records_end(const uint8_t *bytes, size_t size)
{
    size_t at = 0;
    while (at + KPI_SECTOR <= size && kp_load_u32(bytes + at + 16) == KPI_MANIFEST_MAGIC)
        at += kpi_manifest_record_size(
            (const struct kpi_manifest_header *)(const void *)(bytes + at));
    return KP_MIN(at, size);
}

/* A record of any type; the version of the state goes on. */
static size_t record_make(struct kp_reader *input, uint64_t at, uint64_t version, uint8_t *out)
{
    static const uint32_t sizes[] = {0, 56, 112, 104, 44, 64, 112};
    uint8_t type = kp_read_u8(input), given = kp_read_u8(input);
    uint32_t size = sizes[type % KP_ARRAY_LEN(sizes)];
    struct kpi_manifest_header header = {.magic = KPI_MANIFEST_MAGIC,
                                         .version = 4,
                                         .type = type % 8,
                                         .file_no = 2,
                                         .offset = at,
                                         .manifest_version = version};
    size_t length = KP_MIN(given, kp_reader_left(input));
    const uint8_t *bytes = kp_read_bytes(input, length);
    memset(out, 0, 2 * KPI_SECTOR);
    header.payload_size = KP_MAX(size, (uint32_t)length);
    header.payload_size = KP_MIN(header.payload_size, (uint32_t)(2 * KPI_SECTOR - sizeof(header)));
    memcpy(out, &header, sizeof(header));
    if (!input->bad && length > 0)
        memcpy(out + sizeof(header), bytes, KP_MIN(length, header.payload_size));
    return kpi_manifest_record_size(&header);
}

static void records_add(struct kp_sim *sim, struct kp_reader *input)
{
    const struct kp_io *io = kp_sim_io(sim);
    struct kp_io_queue *queue;
    struct kp_io_file *file;
    uint8_t record[2 * KPI_SECTOR];
    size_t size;
    uint8_t *bytes = kp_sim_file(sim, manifest_path(), &size);
    uint64_t at = records_end(bytes, size);
    int opened = io->open(io, manifest_path(), KP_IO_RDWR, &file);
    kp_assert(opened == 0);
    small_must(io->queue_open(io, 1, &queue));
    for (uint32_t i = 0; i < RECORDS && !input->bad && kp_reader_left(input) > 2; i++) {
        size_t length = record_make(input, at, 100 + i, record);
        int64_t put = kp_io_once(io, queue, KP_IO_WRITE, file, record, length, at);
        kp_assert(put == (int64_t)length);
        at += length;
    }
    io->queue_close(queue);
    io->close(io, file);
    bytes = kp_sim_file(sim, manifest_path(), &size);
    manifest_sums_fix(bytes, size);
}

static void edits(struct kp_sim *sim, struct kp_reader *input)
{
    size_t size;
    uint8_t *bytes = kp_sim_file(sim, manifest_path(), &size), count = kp_read_u8(input);
    for (uint32_t i = 0; i < count && !input->bad && kp_reader_left(input) > 2; i++) {
        size_t at = kp_read_u16(input) % size, length = kp_read_u8(input);
        length = KP_MIN(length, kp_reader_left(input));
        const uint8_t *from = kp_read_bytes(input, length);
        if (!input->bad && length > 0)
            memcpy(bytes + at, from, KP_MIN(length, size - at));
    }
    manifest_sums_fix(bytes, size);
}

static void state_check(struct kp_sim *sim)
{
    struct kpi_manifest state;
    struct kp_snapshot *snapshot;
    struct kp_verify_report report;
    if (kpi_manifest_read(kp_sim_io(sim), SMALL_DIR, &state, NULL, NULL, NULL) != KP_OK)
        return;
    for (uint32_t i = 0; i < state.count; i++)
        for (uint32_t other = 0; other < i; other++)
            kp_assert(state.segments[i].id != state.segments[other].id);
    kpi_manifest_deinit(&state);
    kp_status verified = kp_verify(SMALL_DIR, kp_sim_io(sim), NULL, NULL, NULL, &report, NULL);
    kp_assert(verified != KP_OK || report.damaged == 0);
    if (kp_snapshot_open(SMALL_DIR, kp_sim_io(sim), &snapshot, NULL) == KP_OK)
        kp_snapshot_close(snapshot);
}

static kp_status reopen(struct kp_sim *sim)
{
    struct kp_store_opts opts = small_opts(sim);
    struct kp_store *store = NULL;
    kp_status status = kp_store_open(SMALL_DIR, &opts, &store, NULL);
    return status == KP_OK ? kp_store_close(store, NULL) : status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    small_make();
    kp_assert(manifest_path() != NULL);
    struct kp_reader input = kp_reader_init(data, size);
    struct kp_sim *sim = kp_sim_clone(small, 1);
    kp_assert(sim != NULL);
    edits(sim, &input);
    records_add(sim, &input);
    state_check(sim);
    if (reopen(sim) == KP_OK)
        small_must(reopen(sim));
    kp_sim_close(sim);
    return 0;
}
