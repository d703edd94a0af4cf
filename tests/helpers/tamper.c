/* SPDX-License-Identifier: Apache-2.0 */
#include "tamper.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "seen.h"
#include "storage/manifest.h"
#include "storage/pager.h"
#include "storage/segment.h"
#include "storage/spine.h"
#include "storage/wal.h"

#define DIR   "/store"
#define EPOCH (10 * KP_SEC)

#define MUST(expr) kp_assert((expr) == KP_OK)

/* ---------- the store ---------- */

static struct kp_store *store_open(struct kp_sim *sim, uint64_t seed)
{
    struct kp_store_opts opts = {.io = kp_sim_io(sim),
                                 .manual = true,
                                 .segment_after = KP_DAY,
                                 .memory_bytes_max = 128 << 10,
                                 .wal_file_bytes = 64 << 10,
                                 .id_seed = seed,
                                 .seal_every = EPOCH};
    struct kp_store *store = NULL;
    MUST(kp_store_open(DIR, &opts, &store, NULL));
    return store;
}

static void clock_append(struct kp_store *store, int64_t now)
{
    const struct kp_stream *stream = kp_stream_by_number(KP_S_CLOCK);
    struct kp_builder builder;
    MUST(kp_builder_init(&builder, stream, kp_store_actors(store), 1));
    kp_builder_row(&builder, now, kp_store_seq(store, 1), 0, 0);
    kp_builder_i64(&builder, (uint32_t)kp_stream_stored(stream, "mono"), now + 5);
    MUST(kp_store_append(store, kp_builder_batch(&builder), NULL));
    kp_builder_deinit(&builder);
}

static void rows_append(struct feed *feed, uint64_t *random)
{
    uint64_t first, ticket;
    *random = kp_hash_mix(*random + 0x9e3779b97f4a7c15ull);
    MUST(feed_append(feed, 3 + (uint32_t)(*random % 9), &first, &ticket));
    MUST(kp_store_wait(feed->store, ticket, NULL));
}

static void segments_make(struct tamper_base *base, struct feed *feed, int64_t *now, bool cold)
{
    uint64_t random = base->seed;
    for (int i = 0; i < 3; i++) {
        rows_append(feed, &random);
        clock_append(feed->store, *now);
        rows_append(feed, &random);
        MUST(kp_store_tick(feed->store, *now += EPOCH, true));
        MUST(kp_store_tick(feed->store, *now += EPOCH, false));
        MUST(kp_store_tick(feed->store, *now += EPOCH, false));
        if (i == 1)
            base->old = kp_sim_clone(base->sim, base->seed);
        if (i == 1 && cold)
            MUST(kp_store_compact(feed->store, NULL));
    }
    for (int i = 0; i < 3; i++) {
        rows_append(feed, &random);
        rows_append(feed, &random);
        MUST(kp_store_tick(feed->store, *now += EPOCH, false));
    }
}

static void file_get(struct kp_sim *sim, const char *path, struct kp_buf *out)
{
    size_t size;
    const uint8_t *bytes = kp_sim_file(sim, path, &size);
    kp_assert(bytes != NULL);
    kp_buf_add(out, bytes, size);
    kp_assert(!out->failed);
}

static void base_make(struct tamper_base *base, uint64_t seed, bool cold)
{
    struct feed feed;
    int64_t now = 0;
    *base = (struct tamper_base){.seed = seed};
    MUST(kp_sim_open(seed, &base->sim));
    struct kp_store *store = store_open(base->sim, seed);
    MUST(kp_store_seal_key(store, &base->key, NULL));
    feed_init(&feed, store);
    segments_make(base, &feed, &now, cold);
    feed_deinit(&feed);
    MUST(kp_store_close(store, NULL));
    file_get(base->sim, DIR "/checkpoint", &base->head);
}

void tamper_base_make(struct tamper_base *base, uint64_t seed)
{
    base_make(base, seed, false);
}

void tamper_base_make_cold(struct tamper_base *base, uint64_t seed)
{
    base_make(base, seed, true);
}

void tamper_base_deinit(struct tamper_base *base)
{
    kp_sim_close(base->sim);
    kp_sim_close(base->old);
    kp_buf_deinit(&base->key);
    kp_buf_deinit(&base->head);
}

struct kp_str tamper_text(const struct kp_buf *buf)
{
    return (struct kp_str){buf->data, (uint32_t)buf->size};
}

/* ---------- files ---------- */

void tamper_remove(struct tamper *t, const char *path)
{
    const struct kp_io *io = kp_sim_io(t->sim);
    io->unlink(io, path);
}

static struct kp_io_queue *queue_open(struct tamper *t)
{
    struct kp_io_queue *queue;
    const struct kp_io *io = kp_sim_io(t->sim);
    MUST(io->queue_open(io, 8, &queue));
    return queue;
}

static void file_put(struct tamper *t, const char *path, void *bytes, size_t size)
{
    const struct kp_io *io = kp_sim_io(t->sim);
    struct kp_io_queue *queue = queue_open(t);
    struct kp_io_file *file;
    tamper_remove(t, path);
    kp_assert(io->open(io, path, KP_IO_RDWR | KP_IO_CREATE, &file) == 0);
    kp_assert(kp_io_once(io, queue, KP_IO_WRITE, file, bytes, size, 0) == (int64_t)size);
    io->close(io, file);
    io->queue_close(queue);
}

const char *tamper_segment(struct tamper *t, uint64_t id)
{
    char *path = t->paths[t->path++ % 2];
    snprintf(path, sizeof(t->paths[0]), DIR "/seg/%016llx.kps", (unsigned long long)id);
    return path;
}

static void copy_between(struct tamper *t, struct kp_sim *from, const char *source,
                         const char *target)
{
    struct kp_buf bytes = {0};
    file_get(from, source, &bytes);
    file_put(t, target, bytes.data, bytes.size);
    kp_buf_deinit(&bytes);
}

void tamper_file_copy(struct tamper *t, const char *from, const char *to)
{
    copy_between(t, t->sim, from, to);
}

/* ---------- a run of attacks ---------- */

static bool on_chain(void *ctx, uint64_t place, const struct kpi_chain_record *record, bool valid)
{
    struct tamper *t = ctx;
    kp_assert(valid && place == t->chain_count && place < TAMPER_CHAIN_MAX - 8);
    t->chain[t->chain_count++] = *record;
    return true;
}

void tamper_begin(struct tamper *t, const struct tamper_base *base, uint64_t seed)
{
    uint64_t records;
    *t = (struct tamper){.base = base, .random = seed, .touched = TAMPER_CHAIN_MAX};
    t->sim = kp_sim_clone(base->sim, seed);
    kp_assert(t->sim != NULL);
    const struct kp_io *io = kp_sim_io(t->sim);
    MUST(kpi_manifest_store_id(io, DIR, t->store_id, NULL));
    struct kp_io_queue *queue = queue_open(t);
    MUST(kpi_chain_read(io, queue, DIR, kpi_store_seed(t->store_id), on_chain, t, &records, NULL));
    io->queue_close(queue);
}

void tamper_end(struct tamper *t)
{
    kp_sim_close(t->sim);
}

uint64_t tamper_random(struct tamper *t, uint64_t below)
{
    t->random += 0x9e3779b97f4a7c15ull;
    return kp_hash_mix(t->random) % below;
}

/* ---------- rows ---------- */

static void batch_change(struct tamper *t, struct kp_batch *batch, enum tamper_change change)
{
    uint64_t row = tamper_random(t, batch->rows);
    const struct kp_stream *stream = batch->stream;
    if (change == TAMPER_VALUE)
        batch->cols[kp_stream_stored(stream, "dur")].i64[row] ^= 64;
    else if (change == TAMPER_TIME)
        batch->cols[KP_COL_TS].i64[row]++;
    else if (change == TAMPER_CLOCK)
        batch->cols[kp_stream_stored(stream, "mono")].i64[row] += 1000;
    else if (change == TAMPER_DELETE)
        batch->rows--;
}

static void batch_put(struct tamper *t, struct kp_batch *batch, enum tamper_change change,
                      bool *done, struct kp_buf *out)
{
    uint8_t wanted = change == TAMPER_CLOCK ? KP_S_CLOCK : KP_S_SYSCALL;
    bool now =
        !*done && batch->stream->number == wanted && batch->rows > 1 - (wanted != KP_S_SYSCALL);
    if (now)
        batch_change(t, batch, change);
    *done |= now;
    MUST(kpi_block_encode(batch, KPI_LEVEL_HOT, out));
    if (now && change == TAMPER_INSERT)
        MUST(kpi_block_encode(batch, KPI_LEVEL_HOT, out));
}

static void segment_rows(struct tamper *t, uint64_t id, enum tamper_change change,
                         struct kp_buf *out)
{
    const struct kp_io *io = kp_sim_io(t->sim);
    struct kp_io_queue *queue = queue_open(t);
    struct kpi_segment segment;
    struct kp_actors *actors;
    struct kp_arena arena = {0};
    bool done = false;
    MUST(kp_actors_init(&actors));
    MUST(kpi_segment_open(io, queue, tamper_segment(t, id), id, &segment, NULL));
    for (uint32_t i = 0; i < segment.footer.blocks_count; i++) {
        const struct kpi_block_ref *ref = &segment.footer.blocks[i];
        struct kpi_block block;
        struct kp_batch batch;
        if (ref->stream == &kpi_spine_stream)
            continue;
        void *bytes = kp_arena_alloc(&arena, ref->size);
        MUST(kpi_segment_read(&segment, queue, ref, bytes, &block));
        MUST(kpi_segment_bind(&segment, queue, ref, &arena, &block));
        MUST(kpi_block_batch(&block, UINT64_MAX, actors, &arena, &batch));
        batch_put(t, &batch, change, &done, out);
    }
    kpi_segment_close(&segment);
    kp_actors_deinit(actors);
    kp_arena_deinit(&arena);
    io->queue_close(queue);
}

static void manifest_load(struct tamper *t, struct kpi_manifest *out)
{
    MUST(kpi_manifest_read(kp_sim_io(t->sim), DIR, out, NULL, NULL, NULL));
}

/* With every sum right, as a writer would. */
static void manifest_store(struct tamper *t, struct kpi_manifest *state)
{
    struct kp_io_queue *queue = queue_open(t);
    struct kpi_manifest_log *log;
    MUST(kpi_manifest_open(kp_sim_io(t->sim), queue, DIR, state, &log, NULL));
    kpi_manifest_close(log);
    kpi_manifest_deinit(state);
    kp_sim_io(t->sim)->queue_close(queue);
}

static struct kpi_segment_meta *meta_of(struct kpi_manifest *manifest, uint64_t id)
{
    uint32_t i = 0;
    while (i < manifest->count && manifest->segments[i].id != id)
        i++;
    kp_assert(i < manifest->count);
    return &manifest->segments[i];
}

static void meta_take(struct kpi_segment_meta *meta, const struct kpi_segment_meta *written)
{
    uint64_t first = meta->wal_first, last = meta->wal_last, id = meta->id;
    bool cold = meta->cold;
    *meta = *written;
    meta->cold = cold;
    meta->id = id;
    meta->wal_first = first;
    meta->wal_last = last;
}

#define PIECES 64u

struct pieces {
    const char *bytes[PIECES];
    struct kpi_block_info infos[PIECES];
};

static kp_status piece_load(void *ctx, uint32_t number, struct kp_actors *actors,
                            struct kp_arena *arena, struct kp_batch *out, uint32_t *out_count)
{
    const struct pieces *pieces = ctx;
    *out_count = 1;
    return kpi_block_decode(pieces->bytes[number], pieces->infos[number].size, UINT64_MAX, actors,
                            arena, out);
}

/* As the rewriter of cold segments does. */
static void cold_write(struct tamper *t, uint64_t id, const struct kp_buf *rows,
                       struct kpi_segment_meta *out)
{
    struct pieces pieces;
    struct kpi_page_source source = {.infos = pieces.infos, .load = piece_load, .ctx = &pieces};
    for (size_t at = 0; at < rows->size; at += pieces.infos[source.count++].size) {
        struct kpi_block block;
        kp_assert(source.count < PIECES);
        MUST(kpi_block_open(rows->data + at, rows->size - at, &block));
        pieces.bytes[source.count] = rows->data + at;
        pieces.infos[source.count] = block.info;
    }
    MUST(kpi_segment_rewrite(kp_sim_io(t->sim), DIR, id, &source, out, NULL));
}

void tamper_segment_rewrite(struct tamper *t, uint64_t from, uint64_t to, enum tamper_change change)
{
    struct kp_buf rows = {0};
    struct kpi_segment_meta written = {0};
    struct kpi_manifest manifest;
    segment_rows(t, from, change, &rows);
    manifest_load(t, &manifest);
    struct kpi_block_run run = {rows.data, rows.size};
    if (meta_of(&manifest, to)->cold)
        cold_write(t, to, &rows, &written);
    else
        MUST(kpi_segment_write(kp_sim_io(t->sim), DIR, to, &run, 1, &written, NULL));
    meta_take(meta_of(&manifest, to), &written);
    manifest_store(t, &manifest);
    kp_buf_deinit(&rows);
}

void tamper_segment_insert(struct tamper *t)
{
    struct kp_buf rows = {0};
    struct kpi_manifest manifest;
    segment_rows(t, 2, TAMPER_VALUE, &rows);
    manifest_load(t, &manifest);
    uint32_t capacity = manifest.count;
    struct kpi_segment_meta *slot = kpi_manifest_slot(&manifest, &capacity);
    kp_assert(slot != NULL);
    *slot = (struct kpi_segment_meta){0};
    struct kpi_block_run run = {rows.data, rows.size};
    MUST(kpi_segment_write(kp_sim_io(t->sim), DIR, 4, &run, 1, slot, NULL));
    slot->id = 4;
    slot->wal_first = manifest.sealed_through + 1;
    slot->wal_last = manifest.sealed_through = slot->wal_first + tamper_random(t, 2);
    manifest.count++;
    manifest_store(t, &manifest);
    kp_buf_deinit(&rows);
}

/* ---------- the log ---------- */

struct log_copy {
    struct kp_buf bytes[16];
    struct kpi_wal_record records[16];
    uint32_t count;
};

static bool on_log(void *ctx, const struct kpi_wal_record *record)
{
    struct log_copy *log = ctx;
    kp_assert(log->count < 16);
    log->records[log->count] = *record;
    kp_buf_add(&log->bytes[log->count++], record->payload, record->payload_size);
    return true;
}

static void log_value(struct tamper *t, struct kp_buf *bytes)
{
    struct kp_actors *actors;
    struct kp_arena arena = {0};
    struct kp_batch batches[KP_STREAM_MAX];
    struct kp_buf changed = {0};
    uint32_t count = 0, size;
    bool done = false;
    MUST(kp_actors_init(&actors));
    MUST(kpi_block_batches(bytes->data, bytes->size, actors, &arena, batches, &count, &size));
    kp_assert(count == 1 && size == bytes->size);
    batch_put(t, &batches[0], TAMPER_VALUE, &done, &changed);
    kp_actors_deinit(actors);
    kp_arena_deinit(&arena);
    kp_buf_deinit(bytes);
    *bytes = changed;
}

static void log_place(struct log_copy *log, uint32_t to, uint32_t from)
{
    log->records[to] = log->records[from];
    log->bytes[to] = log->bytes[from];
}

static void log_change(struct tamper *t, struct log_copy *log, enum tamper_change change)
{
    /* of the last epoch only the last record is under a seal: one cut is like another there */
    uint32_t at = (uint32_t)tamper_random(t, log->count - 2);
    if (change == TAMPER_VALUE) {
        log_value(t, &log->bytes[at]);
    } else if (change == TAMPER_DELETE) {
        kp_buf_deinit(&log->bytes[at]);
        for (uint32_t i = at; i + 1 < log->count; i++)
            log_place(log, i, i + 1);
        log->bytes[--log->count] = (struct kp_buf){0};
    } else if (change == TAMPER_EXCHANGE) {
        log_place(log, 15, at);
        log_place(log, at, at + 1);
        log_place(log, at + 1, 15);
        log->bytes[15] = (struct kp_buf){0};
    } else if (change == TAMPER_INSERT) {
        for (uint32_t i = log->count++; i > at; i--)
            log_place(log, i, i - 1);
        log->bytes[at] = (struct kp_buf){0};
        kp_buf_add(&log->bytes[at], log->bytes[at + 1].data, log->bytes[at + 1].size);
        log_value(t, &log->bytes[at]);
    }
}

static void name_remove(void *ctx, const char *name)
{
    char path[64];
    snprintf(path, sizeof(path), DIR "/wal/%s", name);
    kp_buf_add(ctx, path, strlen(path) + 1);
}

static void log_remove(struct tamper *t)
{
    const struct kp_io *io = kp_sim_io(t->sim);
    struct kp_buf names = {0};
    kp_assert(io->list(io, DIR "/wal", name_remove, &names) == 0);
    for (size_t at = 0; at < names.size; at += strlen(names.data + at) + 1)
        tamper_remove(t, names.data + at);
    kp_buf_deinit(&names);
}

static void record_put(struct kpi_wal *wal, struct kp_io_queue *queue,
                       const struct kpi_wal_record *record, const struct kp_buf *bytes)
{
    size_t room = kpi_round_up(sizeof(struct kpi_wal_header) + bytes->size, KPI_BLOCK);
    uint8_t *whole = aligned_alloc(KPI_BLOCK, room);
    kp_assert(whole != NULL);
    memcpy(whole + sizeof(struct kpi_wal_header), bytes->data, bytes->size);
    struct kpi_wal_entry entry = {.bytes = whole,
                                  .payload_size = (uint32_t)bytes->size,
                                  .rows = record->rows,
                                  .ts_min = record->ts_min,
                                  .ts_max = record->ts_max,
                                  .seq_next = record->seq_next};
    MUST(kpi_wal_commit(wal, queue, &entry));
    free(whole);
}

static void log_write(struct tamper *t, const struct log_copy *log)
{
    struct kpi_manifest manifest;
    struct kpi_wal *wal;
    struct kp_io_queue *queue = queue_open(t);
    struct kpi_wal_opts opts = {
        .io = kp_sim_io(t->sim), .dir = DIR, .store_id = t->store_id, .file_bytes = 64 << 10};
    manifest_load(t, &manifest);
    struct kpi_wal_end end = {.sequence = manifest.sealed_through, .hash = manifest.wal_hash};
    log_remove(t);
    MUST(kpi_wal_open(&opts, &end, &wal));
    for (uint32_t i = 0; i < log->count; i++)
        record_put(wal, queue, &log->records[i], &log->bytes[i]);
    kpi_wal_finish(wal, queue);
    kpi_wal_close(wal);
    kpi_manifest_deinit(&manifest);
    kp_sim_io(t->sim)->queue_close(queue);
}

static void log_load(struct tamper *t, struct log_copy *log)
{
    struct kpi_manifest manifest;
    uint64_t last;
    *log = (struct log_copy){0};
    manifest_load(t, &manifest);
    MUST(kpi_wal_read(kp_sim_io(t->sim), DIR, manifest.sealed_through, on_log, NULL, log, &last,
                      NULL));
    kp_assert(log->count == 6);
    kpi_manifest_deinit(&manifest);
}

static void log_free(struct log_copy *log)
{
    for (uint32_t i = 0; i < 16; i++)
        kp_buf_deinit(&log->bytes[i]);
}

void tamper_log_rewrite(struct tamper *t, enum tamper_change change)
{
    struct log_copy log;
    log_load(t, &log);
    log_change(t, &log, change);
    log_write(t, &log);
    log_free(&log);
}

void tamper_log_cut(struct tamper *t, uint32_t records)
{
    struct log_copy log;
    log_load(t, &log);
    log.count -= KP_MIN(records, log.count);
    log_write(t, &log);
    log_free(&log);
}

/* ---------- the manifest ---------- */

void tamper_manifest_change(struct tamper *t, enum tamper_manifest change, uint64_t id)
{
    struct kpi_manifest manifest;
    manifest_load(t, &manifest);
    struct kpi_segment_meta *meta = meta_of(&manifest, id);
    struct kpi_manifest_drop drop = {.id_first = id,
                                     .id_last = id,
                                     .segments = 1,
                                     .wal_first = meta->wal_first,
                                     .wal_last = meta->wal_last,
                                     .ts_min = meta->ts_min,
                                     .ts_max = meta->ts_max,
                                     .rows = meta->rows,
                                     .bytes = meta->bytes,
                                     .footer_hash = meta->footer_hash,
                                     .reason = KPI_DROP_AGE};
    if (change == TAMPER_ROWS)
        meta->rows++;
    else if (change == TAMPER_RANGE)
        meta->wal_first--;
    else if (change == TAMPER_BURY)
        kp_assert(kpi_manifest_take_drop(&manifest, &drop));
    else
        memmove(meta, meta + 1,
                (size_t)(manifest.segments + manifest.count-- - meta - 1) * sizeof(*meta));
    manifest_store(t, &manifest);
}

struct names {
    struct tamper *t;
    struct kp_sim *from;
    struct kp_buf paths;
};

static void name_find(void *ctx, const char *name)
{
    struct names *names = ctx;
    char path[64];
    uint64_t number;
    if (!kpi_manifest_name(name, &number) && strcmp(name, "super") != 0)
        return;
    snprintf(path, sizeof(path), DIR "/%s", name);
    kp_buf_add(&names->paths, path, strlen(path) + 1);
}

static void manifest_from(struct tamper *t, struct kp_sim *from)
{
    struct names names = {.t = t, .from = from};
    const struct kp_io *io = kp_sim_io(from), *own = kp_sim_io(t->sim);
    kp_assert(own->list(own, DIR, name_find, &names) == 0);
    for (size_t at = 0; at < names.paths.size; at += strlen(names.paths.data + at) + 1)
        tamper_remove(t, names.paths.data + at);
    kp_buf_clear(&names.paths);
    kp_assert(io->list(io, DIR, name_find, &names) == 0);
    for (size_t at = 0; at < names.paths.size; at += strlen(names.paths.data + at) + 1)
        copy_between(t, from, names.paths.data + at, names.paths.data + at);
    kp_buf_deinit(&names.paths);
}

void tamper_manifest_restore(struct tamper *t)
{
    manifest_from(t, t->base->sim);
}

void tamper_manifest_old(struct tamper *t)
{
    manifest_from(t, t->base->old);
}

/* ---------- the chain ---------- */

struct kpi_chain_record *tamper_record(struct tamper *t, enum kpi_chain_type type, uint64_t n)
{
    for (uint32_t i = 0; i < t->chain_count; i++)
        if (t->chain[i].type == type && n-- == 0) {
            t->touched = i;
            return &t->chain[i];
        }
    kp_assert(false);
    return NULL;
}

void tamper_chain_delete(struct tamper *t, uint32_t at, uint32_t count)
{
    t->touched = at;
    t->chain_count -= count;
    memmove(&t->chain[at], &t->chain[at + count], (t->chain_count - at) * sizeof(t->chain[0]));
}

void tamper_chain_insert(struct tamper *t, uint32_t at, const struct kpi_chain_record *record)
{
    struct kpi_chain_record copy = *record;
    memmove(&t->chain[at + 1], &t->chain[at], (t->chain_count - at) * sizeof(t->chain[0]));
    t->chain[at] = copy;
    t->chain_count++;
    t->touched = at;
}

void tamper_chain_empty_epochs(struct tamper *t, bool renumber)
{
    uint32_t first = 3; /* the seals of the two epochs behind the first segment */
    kp_assert(t->chain[first].type == KPI_CHAIN_SEAL &&
              t->chain[first + 1].type == KPI_CHAIN_SEAL &&
              t->chain[first].seal.wal_seq == t->chain[first - 1].seal.wal_seq);
    tamper_chain_delete(t, first, 2);
    for (uint32_t i = first; i < t->chain_count && renumber; i++) {
        struct kpi_chain_record *record = &t->chain[i];
        record->number -= 2;
        if (record->type != KPI_CHAIN_SEAL)
            continue;
        record->seal.seal -= 2;
        record->seal.first -= 2;
        record->seal.last -= 2;
    }
}

void tamper_chain_seal_on(struct tamper *t)
{
    struct kpi_chain_record *last = &t->chain[t->chain_count - 1], seal = *last;
    uint64_t epochs = 3;
    kp_assert(last->type == KPI_CHAIN_SEAL);
    seal.number++;
    seal.wall += (kp_dur)epochs * EPOCH;
    seal.mono += (kp_dur)epochs * EPOCH;
    seal.seal.seal++;
    seal.seal.first = last->seal.last + 1;
    seal.seal.last = last->seal.last + epochs;
    seal.seal.reason = KPI_SEAL_DOWN;
    t->touched = t->chain_count;
    t->chain[t->chain_count++] = seal;
}

static void key_load(struct tamper *t, struct kpi_key *out)
{
    struct kp_io_queue *queue = queue_open(t);
    MUST(kpi_key_read(kp_sim_io(t->sim), queue, DIR, out));
    kp_sim_io(t->sim)->queue_close(queue);
}

static void key_store(struct tamper *t, const struct kpi_key *key)
{
    struct kp_io_queue *queue = queue_open(t);
    tamper_remove(t, DIR "/evidence/key");
    MUST(kpi_key_create(kp_sim_io(t->sim), queue, DIR, key, NULL));
    kp_sim_io(t->sim)->queue_close(queue);
}

static void record_fit(struct tamper *t, uint32_t at, enum tamper_sums how,
                       const struct kpi_key *key)
{
    struct kpi_chain_record *record = &t->chain[at];
    if (how >= TAMPER_LINKED && at > 0)
        MUST(kpi_merkle_leaf(&t->chain[at - 1], sizeof(*record), &record->prev));
    if (how == TAMPER_RESEALED && record->type == KPI_CHAIN_SEAL)
        MUST(kpi_hmac_sha256(&key->secret, record, KPI_CHAIN_TAGGED, &record->tag));
    record->sum =
        kp_hash128(record, offsetof(struct kpi_chain_record, sum), kpi_store_seed(t->store_id));
}

void tamper_chain_write(struct tamper *t, enum tamper_sums how)
{
    struct kpi_key key;
    key_load(t, &key);
    for (uint32_t i = t->touched; i < t->chain_count && how != TAMPER_RAW; i++)
        if (how >= TAMPER_LINKED || i == t->touched)
            record_fit(t, i, how, &key);
    file_put(t, DIR "/evidence/chain", t->chain, t->chain_count * sizeof(t->chain[0]));
}

/* ---------- keys and all ---------- */

void tamper_key_number(struct tamper *t)
{
    struct kpi_key key;
    key_load(t, &key);
    for (uint32_t i = 0; i < t->chain_count; i++)
        if (t->chain[i].type == KPI_CHAIN_SEAL)
            key.number = t->chain[i].seal.seal + 1;
    key_store(t, &key);
}

void tamper_key_replace(struct tamper *t)
{
    struct kpi_key key;
    key_load(t, &key);
    key.secret.bytes[tamper_random(t, KPI_SHA_SIZE)] ^= 1;
    key_store(t, &key);
}

void tamper_checkpoint_sign(struct tamper *t)
{
    struct kpi_key key;
    struct kpi_merkle tree = {0};
    struct kp_io_queue *queue = queue_open(t);
    MUST(kpi_key_make(t->random + 1000, &key));
    for (uint32_t i = 0; i < t->chain_count; i++) {
        struct kpi_sha leaf;
        MUST(kpi_merkle_leaf(&t->chain[i], sizeof(t->chain[i]), &leaf));
        MUST(kpi_merkle_add(&tree, &leaf));
    }
    MUST(kpi_checkpoint_write(kp_sim_io(t->sim), queue, DIR, t->store_id, &tree, key.sign_seed));
    kp_sim_io(t->sim)->queue_close(queue);
}

static void record_on(struct tamper *t, uint64_t seed)
{
    struct kp_store *store = store_open(t->sim, seed);
    struct feed feed;
    uint64_t random = t->random;
    int64_t now = t->chain[t->chain_count - 1].mono + 3 * EPOCH;
    feed_init(&feed, store);
    MUST(kp_store_tick(store, now, false));
    rows_append(&feed, &random);
    MUST(kp_store_tick(store, now + EPOCH, false));
    feed_deinit(&feed);
    MUST(kp_store_close(store, NULL));
}

void tamper_go_on(struct tamper *t)
{
    record_on(t, t->base->seed);
}

void tamper_all_old(struct tamper *t)
{
    kp_sim_close(t->sim);
    t->sim = kp_sim_clone(t->base->old, t->random);
    kp_assert(t->sim != NULL);
}

void tamper_all_anew(struct tamper *t)
{
    tamper_remove(t, DIR "/evidence/chain");
    tamper_remove(t, DIR "/evidence/key");
    tamper_remove(t, DIR "/checkpoint");
    record_on(t, t->base->seed + 5000);
}
