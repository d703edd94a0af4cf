/* SPDX-License-Identifier: Apache-2.0
 *
 * A small store with everything in it for fuzzers of what lies on the disk: a cold segment, sealed
 * ones, runs of the transaction index, a log, and seals over all of it. Fuzzers edit copies of its
 * disk and make sums right again, as somebody would who knows the format.
 */
#ifndef KP_TESTS_FUZZ_SMALL_H
#define KP_TESTS_FUZZ_SMALL_H

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/log.h"
#include "fuzz_sums.h"
#include "storage/chain.h"
#include "storage/io_sim.h"
#include "storage/manifest.h"
#include "storage/run_file.h"
#include "storage/segment.h"
#include "storage/wal.h"

#define SMALL_DIR   "/s"
#define SMALL_FILES 24u
#define SMALL_ROWS  24u /* of a batch */

static struct kp_sim *small;
static char small_paths[SMALL_FILES][48];
static uint32_t small_count;
static const char *small_folder;
static struct kp_buf small_key, small_head; /* what an auditor keeps */

static inline void small_must(kp_status status)
{
    kp_assert(status == KP_OK);
}

static inline struct kp_store_opts small_opts(struct kp_sim *sim)
{
    return (struct kp_store_opts){.io = kp_sim_io(sim),
                                  .manual = true,
                                  .segment_after = KP_DAY,
                                  .memory_bytes_max = 256 << 10,
                                  .wal_file_bytes = 64 << 10,
                                  .id_seed = 1,
                                  .seal_every = 10 * KP_SEC};
}

static inline void small_strings(struct kp_builder *builder, const struct kp_stream *stream,
                                 uint64_t seq)
{
    char text[40];
    snprintf(text, sizeof(text), "%032llx", (unsigned long long)seq / 3);
    struct kp_str value = kp_str_from(text);
    small_must(kp_builder_str(builder, (uint32_t)kp_stream_stored(stream, "trace_id"), value));
    value.ptr += 28;
    value.len = 4;
    small_must(kp_builder_str(builder, (uint32_t)kp_stream_stored(stream, "txn"), value));
}

static inline void small_append(struct kp_store *store, uint8_t number)
{
    static const char *const names[] = {"postgres", "nginx", "kworker"};
    const struct kp_stream *stream = kp_stream_by_number(number);
    struct kp_builder builder;
    uint64_t ticket;
    small_must(kp_builder_init(&builder, stream, kp_store_actors(store), SMALL_ROWS));
    for (uint32_t i = 0; i < SMALL_ROWS; i++) {
        uint64_t seq = kp_store_seq(store, 1);
        struct kp_actor actor = {
            .tid = 10 + i % 3, .pid = 10, .host = KP_STR("h"), .comm = kp_str_from(names[i % 3])};
        kp_builder_row(&builder, (kp_time)(seq * 1000), seq, i % 2, kp_store_actor(store, &actor));
        if (kp_stream_stored(stream, "dur") >= 0)
            kp_builder_i64(&builder, (uint32_t)kp_stream_stored(stream, "dur"), 100 + i * i);
        if (number == KP_S_SPANS)
            small_strings(&builder, stream, seq);
    }
    small_must(kp_store_append(store, kp_builder_batch(&builder), &ticket));
    small_must(kp_store_wait(store, ticket, NULL));
    kp_builder_deinit(&builder);
}

static inline void small_file(void *ctx, const char *name)
{
    size_t size = 0;
    (void)ctx;
    char path[48];
    snprintf(path, sizeof(path), "%s/%.30s", small_folder, name);
    if (small_count < SMALL_FILES && kp_sim_file(small, path, &size) != NULL && size > 0)
        memcpy(small_paths[small_count++], path, sizeof(path));
}

static inline void small_make(void)
{
    static const char *const folders[] = {SMALL_DIR, SMALL_DIR "/wal", SMALL_DIR "/seg",
                                          SMALL_DIR "/txn", SMALL_DIR "/evidence"};
    struct kp_store *store = NULL;
    uint8_t id[KPI_ID_SIZE];
    int64_t now = 0;
    size_t size = 0;
    if (small != NULL)
        return;
    kp_log_level_set(KP_LOG_ERROR);
    small_must(kp_sim_open(1, &small));
    struct kp_store_opts opts = small_opts(small);
    small_must(kp_store_open(SMALL_DIR, &opts, &store, NULL));
    small_must(kp_store_seal_key(store, &small_key, NULL));
    for (int i = 0; i < 4; i++) {
        small_append(store, KP_S_SYSCALL);
        small_append(store, KP_S_SCHED_SWITCH);
        small_append(store, KP_S_SPANS);
        small_must(kp_store_tick(store, now += 10 * KP_SEC, i < 3));
        if (i == 1)
            small_must(kp_store_compact(store, NULL));
    }
    small_must(kp_store_close(store, NULL));
    const struct kp_io *io = kp_sim_io(small);
    small_must(kpi_manifest_store_id(io, SMALL_DIR, id, NULL));
    sums_seed = kpi_store_seed(id);
    const void *head = kp_sim_file(small, SMALL_DIR "/checkpoint", &size);
    kp_buf_add(&small_head, head, size);
    for (size_t i = 0; i < KP_ARRAY_LEN(folders); i++) {
        small_folder = folders[i];
        int listed = io->list(io, small_folder, small_file, NULL);
        kp_assert(listed == 0);
    }
}

/* The path of the nth file of a folder; NULL: there are fewer. */
static inline const char *small_path(const char *folder, uint32_t nth)
{
    size_t length = strlen(folder);
    for (uint32_t i = 0; i < small_count; i++)
        if (strncmp(small_paths[i], folder, length) == 0 && nth-- == 0)
            return small_paths[i];
    return NULL;
}

/* ---------- sums ---------- */

/* Sums of all records, and each one's link to the one before. */
static inline void manifest_sums_fix(uint8_t *bytes, size_t size)
{
    struct kp_hash128 prev = {0};
    for (size_t at = 0; at + KPI_SECTOR <= size; at += KPI_SECTOR) {
        struct kpi_manifest_header header;
        memcpy(&header, bytes + at, sizeof(header));
        size_t head = sizeof(header) - sizeof(header.hash);
        if (header.magic != KPI_MANIFEST_MAGIC || header.payload_size > size - at - sizeof(header))
            continue;
        header.prev = prev;
        memcpy(bytes + at, &header, sizeof(header));
        prev = kp_hash128(bytes + at + sizeof(header.hash), head + header.payload_size, sums_seed);
        memcpy(bytes + at, &prev, sizeof(prev));
    }
}

/* Sums and links; the tags need keys that are gone. */
static inline void chain_sums_fix(uint8_t *bytes, size_t size)
{
    struct kpi_sha prev = {0};
    for (size_t at = 0; at + KPI_CHAIN_RECORD <= size; at += KPI_CHAIN_RECORD) {
        struct kpi_chain_record record;
        memcpy(&record, bytes + at, sizeof(record));
        record.prev = prev;
        record.sum = kp_hash128(&record, offsetof(struct kpi_chain_record, sum), sums_seed);
        memcpy(bytes + at, &record, sizeof(record));
        small_must(kpi_merkle_leaf(&record, sizeof(record), &prev));
    }
}

static inline void key_sums_fix(uint8_t *bytes, size_t size)
{
    enum { SLOT = 96, SUM = 80 };
    for (size_t at = 0; at + SLOT <= size; at += KPI_BLOCK) {
        struct kp_hash128 sum = kp_hash128(bytes + at, SUM, 0);
        memcpy(bytes + at + SUM, &sum, sizeof(sum));
    }
}

/* Pages, then table, fences and trailer, as long as the file can hold what the trailer says. */
static inline void run_sums_fix(uint8_t *bytes, size_t size)
{
    if (size < KPI_RUN_TRAILER)
        return;
    uint8_t *trailer = bytes + size - KPI_RUN_TRAILER;
    uint64_t id = kp_load_u64(trailer + KPI_RUN_AT_ID);
    for (uint64_t page = 0; (page + 1) * KPI_RUN_PAGE <= size - KPI_RUN_TRAILER; page++) {
        uint8_t *at = bytes + page * KPI_RUN_PAGE;
        uint64_t seed = kp_hash_mix(id ^ kp_hash_mix(page + 1));
        kp_store_u64(at, kp_hash64(at + 8, KPI_RUN_PAGE - 8, seed));
    }
    uint64_t pages = kp_load_u64(trailer + KPI_RUN_AT_PAGES);
    uint64_t from = KP_MIN(pages, size / KPI_RUN_PAGE) * KPI_RUN_PAGE;
    if (from > size - KPI_RUN_TRAILER)
        return;
    struct kp_hash128 hash =
        kp_hash128(bytes + from, size - KPI_RUN_TRAILER - from + KPI_RUN_AT_HASH, kp_hash_mix(id));
    kp_store_u64(trailer + KPI_RUN_AT_HASH, hash.lo);
    kp_store_u64(trailer + KPI_RUN_AT_HASH + 8, hash.hi);
}

static inline void small_sums_fix(const char *path, uint8_t *bytes, size_t size)
{
    static const struct {
        const char *folder;
        void (*fix)(uint8_t *bytes, size_t size);
    } kinds[] = {
        {SMALL_DIR "/wal/", wal_sums_fix},         {SMALL_DIR "/seg/", segment_sums_fix},
        {SMALL_DIR "/txn/", run_sums_fix},         {SMALL_DIR "/evidence/chain", chain_sums_fix},
        {SMALL_DIR "/evidence/key", key_sums_fix}, {SMALL_DIR "/manifest", manifest_sums_fix},
        {SMALL_DIR "/super", super_sums_fix}};
    for (size_t k = 0; k < KP_ARRAY_LEN(kinds); k++)
        if (strncmp(path, kinds[k].folder, strlen(kinds[k].folder)) == 0)
            kinds[k].fix(bytes, size);
}

/* Edits: a file (or `path` alone), offset in two bytes, length, that many bytes. With the upper bit
 * of the length the sums of the file are made right afterwards. */
static inline void small_edit(struct kp_sim *sim, const char *path, struct kp_reader *input)
{
    while (!input->bad && kp_reader_left(input) > 3) {
        const char *to = path != NULL ? path : small_paths[kp_read_u8(input) % small_count];
        size_t at = kp_read_u16(input), length = kp_read_u8(input), size = 0;
        bool fix = (length & 128) != 0;
        length = KP_MIN(length & 127, kp_reader_left(input));
        const uint8_t *bytes = kp_read_bytes(input, length);
        uint8_t *file = kp_sim_file(sim, to, &size);
        if (input->bad || file == NULL || size == 0 || length == 0)
            continue;
        at %= size;
        memcpy(file + at, bytes, KP_MIN(length, size - at));
        if (fix)
            small_sums_fix(to, file, size);
    }
}

static inline void small_cut(struct kp_sim *sim, const char *path, uint64_t size)
{
    const struct kp_io *io = kp_sim_io(sim);
    struct kp_io_file *file = NULL;
    if (io->open(io, path, KP_IO_RDWR, &file) != 0)
        return;
    if ((int64_t)size < io->size(io, file)) {
        int cut = io->truncate(io, file, size);
        kp_assert(cut == 0);
    }
    io->close(io, file);
}

#endif
