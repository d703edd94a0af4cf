/* SPDX-License-Identifier: Apache-2.0
 *
 * The door: append encodes a batch, copies it into the buffer that fills, and gives a ticket;
 * commit.c and seal.c do the rest. Order of events in the store is the order of tickets.
 *
 * Everything that can grow is fixed at open: two buffers for the log, one for sealing. When they
 * are full append says LIMIT and takes nothing; the caller decides whether to wait or to count a
 * loss.
 */
#include "storage/cold.h"
#include "storage/damage.h"
#include "storage/epoch.h"
#include "storage/store_int.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"

#define FILL_MAX       (8u << 20)
#define FILL_MIN       (16u << 10)
#define STAGE_MAX      (4u << 20)
#define TELL_MAX       8u /* a disk that reads nothing back is damaged wherever it is written */
#define CLOSE_SEAL_MIN (64u << 10) /* fewer bytes stay in the log at close */

/* ---------- small parts ---------- */

void kpi_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t until)
{
    if (until == INT64_MAX) {
        pthread_cond_wait(cond, lock);
        return;
    }
    struct timespec ts = {.tv_sec = until / KP_SEC, .tv_nsec = until % KP_SEC};
    pthread_cond_timedwait(cond, lock, &ts);
}

bool kpi_notes_has(const struct kpi_notes *notes, uint64_t note)
{
    for (uint32_t i = 0; i < notes->count; i++)
        if (notes->items[i] == note)
            return true;
    return false;
}

bool kpi_notes_add(struct kpi_notes *notes, uint64_t note)
{
    if (notes->count == notes->capacity) {
        uint32_t capacity = notes->capacity == 0 ? 16 : notes->capacity * 2;
        uint64_t *items = realloc(notes->items, capacity * sizeof(*items));
        if (items == NULL)
            return false;
        notes->items = items;
        notes->capacity = capacity;
    }
    notes->items[notes->count++] = note;
    return true;
}

const char *kpi_store_dir(const struct kp_store *store)
{
    return store->dir;
}

const struct kp_io *kpi_store_io(const struct kp_store *store)
{
    return store->io;
}

/* ---------- append ---------- */

static void batch_times(const struct kp_batch *batch, kp_time *out_min, kp_time *out_max)
{
    kp_time min = KP_TIME_MAX, max = KP_TIME_MIN;
    const int64_t *ts = batch->cols[KP_COL_TS].i64;
    for (uint32_t i = 0; i < kp_batch_count(batch); i++) {
        min = KP_MIN(min, ts[kp_batch_row(batch, i)]);
        max = KP_MAX(max, ts[kp_batch_row(batch, i)]);
    }
    *out_min = min;
    *out_max = max;
}

bool kpi_fill_add(struct kp_store *store, const struct kp_buf *blocks, uint32_t rows, kp_time from,
                  kp_time to, int64_t now)
{
    struct kpi_fill *fill = &store->fills[store->filling];
    size_t room = store->fill_size - sizeof(struct kpi_wal_header) - fill->payload;
    if (blocks->size > room)
        return false;
    memcpy(fill->bytes + sizeof(struct kpi_wal_header) + fill->payload, blocks->data, blocks->size);
    if (fill->rows == 0) {
        fill->opened = now;
        fill->ts_min = from;
        fill->ts_max = to;
    }
    fill->payload += (uint32_t)blocks->size;
    fill->rows += rows;
    fill->ts_min = KP_MIN(fill->ts_min, from);
    fill->ts_max = KP_MAX(fill->ts_max, to);
    return true;
}

static void loss_count(struct kp_store *store, uint32_t rows, kp_time from, kp_time to)
{
    store->loss_from = store->loss_rows == 0 ? from : KP_MIN(store->loss_from, from);
    store->loss_to = store->loss_rows == 0 ? to : KP_MAX(store->loss_to, to);
    store->loss_rows += rows;
    store->stat.rows_refused += rows;
}

/* Whether rows are taken at all, under the lock. */
static kp_status batch_admit(struct kp_store *store, const struct kp_batch *batch, kp_time from,
                             kp_time to)
{
    if (store->loss_mode) {
        loss_count(store, kp_batch_count(batch), from, to);
        return store->loss_why == KP_NO_SPACE ? KP_NO_SPACE : KP_IO;
    }
    return kpi_wal_bytes(store->wal) >= store->opts.wal_bytes_max ? KP_LIMIT : KP_OK;
}

static int64_t append_clock(const struct kp_store *store)
{
    return store->opts.manual ? 0 : kp_time_monotonic();
}

/* Takes the encoded batch, under the lock. */
static kp_status encoded_take(struct kp_store *store, uint32_t rows, kp_time from, kp_time to,
                              uint64_t *ticket)
{
    struct kpi_fill *fill = &store->fills[store->filling];
    bool first = fill->rows == 0;
    bool small = fill->payload < store->opts.commit_bytes;
    if (!kpi_fill_add(store, &store->encoded, rows, from, to, append_clock(store))) {
        pthread_cond_signal(&store->commit_work);
        return KP_LIMIT;
    }
    *ticket = store->ticket_next++;
    if (fill->ticket_first == 0)
        fill->ticket_first = *ticket;
    fill->ticket_last = *ticket;
    if (first || (small && fill->payload >= store->opts.commit_bytes))
        pthread_cond_signal(&store->commit_work);
    return KP_OK;
}

/* Takes the rows as they are, under both locks. */
static kp_status batch_stage(struct kp_store *store, const struct kp_batch *batch, kp_time from,
                             kp_time to, uint64_t *ticket)
{
    struct kpi_stage *staged = &store->staged;
    if (store->joined.size > 0 || !kpi_join_add(store->join, batch))
        return KP_END;
    *ticket = store->ticket_next++;
    if (staged->rows == 0) {
        *staged = (struct kpi_stage){
            .ts_min = from, .ts_max = to, .ticket_first = *ticket, .opened = append_clock(store)};
        if (store->fills[store->filling].rows == 0)
            pthread_cond_signal(&store->commit_work);
    }
    staged->rows += batch->rows;
    staged->ts_min = KP_MIN(staged->ts_min, from);
    staged->ts_max = KP_MAX(staged->ts_max, to);
    staged->ticket_last = *ticket;
    return KP_OK;
}

/* With encode_lock: what is staged goes first, so that tickets keep their order. */
static kp_status stage_flush(struct kp_store *store)
{
    kp_status encoded = kpi_stage_encode(store);
    pthread_mutex_lock(&store->lock);
    kp_status status = kpi_stage_move(store, encoded, append_clock(store));
    if (status == KP_LIMIT || store->fills[store->filling].payload >= store->opts.commit_bytes)
        pthread_cond_signal(&store->commit_work);
    pthread_mutex_unlock(&store->lock);
    return status;
}

static kp_status batch_encode(struct kp_store *store, const struct kp_batch *batch)
{
    kp_buf_clear(&store->encoded);
    kp_status status = kpi_block_encode(batch, KPI_LEVEL_HOT, &store->encoded);
    if (status == KP_OK && store->encoded.failed)
        status = KP_NO_MEMORY;
    if (status == KP_OK && store->encoded.size > store->fill_size - sizeof(struct kpi_wal_header))
        status = KP_INVALID;
    return status;
}

static kp_status stage_try(struct kp_store *store, const struct kp_batch *batch, kp_time from,
                           kp_time to, uint64_t *ticket)
{
    pthread_mutex_lock(&store->lock);
    kp_status status = batch_admit(store, batch, from, to);
    if (status == KP_OK)
        status = batch_stage(store, batch, from, to, ticket);
    pthread_mutex_unlock(&store->lock);
    return status;
}

/* With encode_lock. Kernel rows wait for the commit as they are; all others, and what is too large
 * to wait, are encoded at once. */
static kp_status batch_take(struct kp_store *store, const struct kp_batch *batch, uint64_t *ticket)
{
    kp_time from, to;
    batch_times(batch, &from, &to);
    kp_status status = stage_try(store, batch, from, to, ticket);
    if (status != KP_END)
        return status;
    status = stage_flush(store);
    if (status == KP_OK && batch->stream->family == KP_FAMILY_KERNEL) {
        status = stage_try(store, batch, from, to, ticket);
        if (status != KP_END)
            return status;
        status = KP_OK;
    }
    if (status == KP_OK)
        status = batch_encode(store, batch);
    if (status != KP_OK)
        return status;
    pthread_mutex_lock(&store->lock);
    status = batch_admit(store, batch, from, to);
    if (status == KP_OK)
        status = encoded_take(store, batch->rows, from, to, ticket);
    pthread_mutex_unlock(&store->lock);
    return status;
}

kp_status kp_store_append(struct kp_store *store, const struct kp_batch *batch,
                          uint64_t *out_ticket)
{
    kp_assert(batch->stream != NULL && batch->cols_count == batch->stream->stored_count);
    uint64_t ticket = 0;
    pthread_mutex_lock(&store->encode_lock);
    kp_status status = kp_batch_count(batch) == 0 ? KP_OK : batch_take(store, batch, &ticket);
    if (status == KP_OK) {
        pthread_mutex_lock(&store->lock);
        store->stat.rows_appended += kp_batch_count(batch);
        pthread_mutex_unlock(&store->lock);
    }
    pthread_mutex_unlock(&store->encode_lock);
    if (status == KP_OK && out_ticket != NULL)
        *out_ticket = ticket;
    return status;
}

/* ---------- waiting ---------- */

static const struct kpi_lost *lost_find(const struct kp_store *store, uint64_t first, uint64_t last)
{
    for (uint32_t i = 0; i < store->lost_count; i++)
        if (last >= store->lost[i].first && first <= store->lost[i].last)
            return &store->lost[i];
    return NULL;
}

static kp_status tickets_status(const struct kp_store *store, uint64_t first, uint64_t last,
                                struct kp_error *err)
{
    const struct kpi_lost *lost = lost_find(store, first, last);
    if (lost == NULL)
        return KP_OK;
    return kp_error_set(err, lost->why == KP_NO_SPACE ? KP_NO_SPACE : KP_IO,
                        "the rows could not be written to %s and are lost: %s", store->dir,
                        kp_status_text(lost->why));
}

kp_status kp_store_wait(struct kp_store *store, uint64_t ticket, struct kp_error *err)
{
    return kp_store_wait_all(store, ticket, ticket, err);
}

kp_status kp_store_wait_all(struct kp_store *store, uint64_t first, uint64_t last,
                            struct kp_error *err)
{
    pthread_mutex_lock(&store->lock);
    kp_assert(first <= last && last < store->ticket_next);
    while (store->opts.manual && store->ticket_settled < last) {
        store->ticket_wanted = KP_MAX(store->ticket_wanted, last);
        kpi_commit_run(store, store->fills[store->filling].opened);
    }
    while (store->ticket_settled < last) {
        if (store->ticket_wanted < last) {
            store->ticket_wanted = last;
            pthread_cond_signal(&store->commit_work);
        }
        pthread_cond_wait(&store->changed, &store->lock);
    }
    kp_status status = tickets_status(store, first, last, err);
    store->stat.waits += status == KP_OK;
    pthread_mutex_unlock(&store->lock);
    return status;
}

/* ---------- tick ---------- */

static void tick_manual(struct kp_store *store, int64_t now, bool flush)
{
    struct kpi_fill *fill = &store->fills[store->filling];
    if (fill->rows > 0 && fill->opened == 0)
        fill->opened = now; /* append has no clock in manual mode */
    if (store->staged.rows > 0 && store->staged.opened == 0)
        store->staged.opened = now;
    if (kpi_commit_due(store, now) || (flush && kpi_commit_pending(store)))
        kpi_commit_run(store, now);
    while (flush && !store->loss_mode && kpi_commit_pending(store))
        kpi_commit_run(store, now); /* what found no room beside the rest */
    store->seal_forced = flush && store->unsealed > 0;
    if (flush)
        store->seal_retry = 0;
    for (unsigned told = 0; told < TELL_MAX && !store->loss_mode && kpi_seal_due(store, now);) {
        uint64_t before = store->sealed_through;
        kpi_seal_run(store, now);
        if (store->telling.count > 0) /* damage met: written down, then again */
            kpi_commit_run(store, now), store->seal_retry = 0, told++;
        else if (store->sealed_through == before)
            break;
    }
    store->seal_forced = false;
    if (kpi_evidence_due(store, now))
        kpi_evidence_run(store, now);
    while (kpi_retain_due(store, now)) {
        uint64_t before = store->stat.dropped_segments;
        kpi_retain_run(store, now);
        if (store->stat.dropped_segments == before)
            break;
    }
    while (kpi_cold_due(store, now) && kpi_cold_make(store, now))
        if (store->cold != NULL)
            kpi_cold_take(store, now);
    while (kpi_merge_due(store, now))
        kpi_merge_run(store, now);
    for (unsigned told = 0; told < TELL_MAX && kpi_scrub_due(store, now);) {
        kpi_scrub_run(store, now);
        if (store->telling.count > 0)
            kpi_commit_run(store, now), told++;
    }
    kpi_cold_tidy(store, now, false);
}

/* What was appended before the call is in segments afterwards; what comes meanwhile may not be. */
static void flush_threaded(struct kp_store *store)
{
    uint64_t ticket = store->ticket_next - 1;
    while (store->ticket_settled < ticket) {
        store->ticket_wanted = KP_MAX(store->ticket_wanted, ticket);
        pthread_cond_signal(&store->commit_work);
        pthread_cond_wait(&store->changed, &store->lock);
    }
    uint64_t through = store->durable;
    store->seal_retry = 0;
    store->seal_status = KP_OK;
    while (store->sealed_through < through && store->seal_status == KP_OK) {
        store->seal_forced = true;
        pthread_cond_signal(&store->seal_work);
        pthread_cond_wait(&store->changed, &store->lock);
    }
    store->seal_forced = false;
}

kp_status kp_store_tick(struct kp_store *store, int64_t now_mono, bool flush)
{
    pthread_mutex_lock(&store->lock);
    if (store->opts.manual)
        tick_manual(store, now_mono, flush);
    else if (flush)
        flush_threaded(store);
    kp_status status = store->loss_mode ? store->loss_why : store->seal_status;
    pthread_mutex_unlock(&store->lock);
    return status;
}

/* ---------- numbers and actors ---------- */

void kp_store_stat(struct kp_store *store, struct kp_store_stat *out)
{
    pthread_mutex_lock(&store->lock);
    *out = store->stat;
    out->wal_bytes = kpi_wal_bytes(store->wal);
    pthread_mutex_unlock(&store->lock);
}

uint64_t kp_store_seq(struct kp_store *store, uint32_t count)
{
    return atomic_fetch_add(&store->seq_next, count);
}

struct kp_actors *kp_store_actors(struct kp_store *store)
{
    return store->actors;
}

kp_actor_id kp_store_actor(struct kp_store *store, const struct kp_actor *actor)
{
    pthread_mutex_lock(&store->actors_lock);
    kp_actor_id id = kp_actors_intern(store->actors, actor);
    pthread_mutex_unlock(&store->actors_lock);
    return id;
}

/* ---------- open ---------- */

static void opts_fill(struct kp_store_opts *o)
{
    static const uint64_t mib = 1u << 20;
    o->io = o->io != NULL ? o->io : kp_io_default();
    o->commit_after = o->commit_after > 0 ? o->commit_after : 5 * KP_MS;
    o->commit_bytes = o->commit_bytes != 0 ? o->commit_bytes : 1u << 20;
    o->segment_bytes_max = o->segment_bytes_max != 0 ? o->segment_bytes_max : 64 * mib;
    o->segment_after = o->segment_after > 0 ? o->segment_after : 10 * KP_MIN_NS;
    o->memory_bytes_max = o->memory_bytes_max != 0 ? o->memory_bytes_max : 64 * mib;
    o->wal_file_bytes = o->wal_file_bytes != 0 ? o->wal_file_bytes : 64 * mib;
    o->wal_file_bytes = kpi_round_up(KP_MAX(o->wal_file_bytes, KPI_WAL_FILE_MIN), KPI_BLOCK);
    o->wal_bytes_max = o->wal_bytes_max != 0 ? o->wal_bytes_max : 1024 * mib;
    o->wal_bytes_max = KP_MAX(o->wal_bytes_max, 4 * o->wal_file_bytes);
}

/* Two buffers for the log, rows that wait for it, the rest for sealing; a sealing takes at least
 * one whole record. */
static kp_status memory_fix(struct kp_store *store, struct kp_error *err)
{
    struct kp_store_opts *o = &store->opts;
    uint64_t record = kpi_wal_payload_max(o->wal_file_bytes) + sizeof(struct kpi_wal_header);
    uint64_t fill = KP_MIN(KP_MIN((uint64_t)FILL_MAX, o->memory_bytes_max / 8), record);
    store->fill_size = (uint32_t)(KP_MAX(fill, (uint64_t)FILL_MIN) / KPI_BLOCK * KPI_BLOCK);
    store->stage_size = KP_MIN(store->fill_size / 2, STAGE_MAX);
    uint64_t buffers = 2 * (uint64_t)store->fill_size;
    uint64_t fixed = buffers + kpi_join_memory(store->stage_size);
    if (fixed + store->fill_size > o->memory_bytes_max)
        return kp_error_set(err, KP_INVALID, "a store needs at least %llu bytes of memory",
                            (unsigned long long)(fixed + store->fill_size));
    o->commit_bytes = KP_MIN(o->commit_bytes, store->fill_size / 2);
    o->segment_bytes_max = KP_MIN(o->segment_bytes_max, o->memory_bytes_max - fixed);
    store->seal_size = KP_MAX(o->segment_bytes_max, store->fill_size);
    store->memory = aligned_alloc(KPI_BLOCK, buffers);
    store->seal_memory = malloc(store->seal_size);
    if (store->memory == NULL || store->seal_memory == NULL)
        return kp_error_set(err, KP_NO_MEMORY, "no memory for the buffers of the store");
    store->fills[0].bytes = store->memory;
    store->fills[1].bytes = store->memory + store->fill_size;
    store->stat.memory_bytes = fixed + store->seal_size;
    return KP_OK;
}

static void cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

static struct kp_store *store_new(const char *dir, const struct kp_store_opts *opts)
{
    struct kp_store *store = calloc(1, sizeof(*store));
    if (store == NULL)
        return NULL;
    pthread_mutex_init(&store->lock, NULL);
    pthread_mutex_init(&store->encode_lock, NULL);
    pthread_mutex_init(&store->actors_lock, NULL);
    cond_init(&store->commit_work);
    cond_init(&store->seal_work);
    cond_init(&store->cold_work);
    cond_init(&store->changed);
    store->ticket_next = 1;
    store->gone_next = INT64_MAX;
    if (opts != NULL)
        store->opts = *opts;
    opts_fill(&store->opts);
    store->io = store->opts.io;
    store->dir = strdup(dir);
    return store;
}

static void store_free(struct kp_store *store)
{
    kpi_cold_tidy(store, 0, true);
    kpi_evidence_close(store, false);
    if (store->seal_queue != NULL)
        store->io->queue_close(store->seal_queue);
    if (store->commit_queue != NULL)
        store->io->queue_close(store->commit_queue);
    kpi_wal_close(store->wal);
    kpi_manifest_close(store->manifest);
    if (store->dir_lock != NULL)
        store->io->close(store->io, store->dir_lock);
    kp_actors_deinit(store->actors);
    kpi_join_free(store->join);
    kp_buf_deinit(&store->encoded);
    kp_buf_deinit(&store->joined);
    free(store->notes.items);
    free(store->telling.items);
    free(store->memory);
    free(store->seal_memory);
    free(store->dir);
    pthread_cond_destroy(&store->changed);
    pthread_cond_destroy(&store->seal_work);
    pthread_cond_destroy(&store->cold_work);
    pthread_cond_destroy(&store->commit_work);
    pthread_mutex_destroy(&store->actors_lock);
    pthread_mutex_destroy(&store->encode_lock);
    pthread_mutex_destroy(&store->lock);
    free(store);
}

static void threads_stop(struct kp_store *store, bool commit_made, bool seal_made)
{
    pthread_mutex_lock(&store->lock);
    store->stop = true;
    pthread_cond_broadcast(&store->commit_work);
    pthread_cond_broadcast(&store->seal_work);
    pthread_cond_broadcast(&store->cold_work);
    pthread_cond_broadcast(&store->changed);
    pthread_mutex_unlock(&store->lock);
    if (store->cold_started)
        pthread_join(store->cold_thread, NULL);
    if (seal_made)
        pthread_join(store->seal_thread, NULL);
    if (commit_made)
        pthread_join(store->commit_thread, NULL);
}

/* Signals are for the program's own threads. */
static bool thread_make(pthread_t *out, void *(*run)(void *), struct kp_store *store)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool made = pthread_create(out, NULL, run, store) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return made;
}

static kp_status threads_start(struct kp_store *store, struct kp_error *err)
{
    if (store->opts.manual) {
        kp_status status = store->io->queue_open(store->io, 8, &store->commit_queue);
        if (status == KP_OK)
            status = store->io->queue_open(store->io, 8, &store->seal_queue);
        return status == KP_OK ? KP_OK : kp_error_set(err, status, "no I/O queues for the store");
    }
    bool commit = thread_make(&store->commit_thread, kpi_commit_main, store);
    bool seal = commit && thread_make(&store->seal_thread, kpi_seal_main, store);
    pthread_mutex_lock(&store->lock);
    while (seal && !store->stop && !(store->commit_started && store->seal_started))
        pthread_cond_wait(&store->changed, &store->lock);
    bool works = seal && !store->stop;
    pthread_mutex_unlock(&store->lock);
    store->cold_started = works && thread_make(&store->cold_thread, kpi_cold_main, store);
    if (store->cold_started)
        return KP_OK;
    threads_stop(store, commit, seal);
    return kp_error_set(err, KP_NO_MEMORY, "the store's threads could not be started");
}

kp_status kp_store_open(const char *dir, const struct kp_store_opts *opts, struct kp_store **out,
                        struct kp_error *err)
{
    struct kp_store *store = store_new(dir, opts);
    if (store == NULL || store->dir == NULL) {
        if (store != NULL)
            store_free(store);
        return kp_error_set(err, KP_NO_MEMORY, "no memory for a store");
    }
    kp_status status = memory_fix(store, err);
    if (status == KP_OK && kp_actors_init(&store->actors) != KP_OK)
        status = kp_error_set(err, KP_NO_MEMORY, "no memory for a store");
    if (status == KP_OK &&
        kpi_join_new(store->actors, store->stage_size,
                     store->fill_size - sizeof(struct kpi_wal_header), &store->join) != KP_OK)
        status = kp_error_set(err, KP_NO_MEMORY, "no memory for a store");
    if (status == KP_OK)
        status = kpi_recover(store, err);
    kpi_scrub_begin(store, kp_time_monotonic());
    if (status == KP_OK)
        status = threads_start(store, err);
    if (status != KP_OK) {
        store_free(store);
        return status;
    }
    *out = store;
    return KP_OK;
}

/* ---------- close ---------- */

static kp_status close_status(const struct kp_store *store, struct kp_error *err)
{
    if (store->loss_rows == 0)
        return KP_OK;
    kp_status code = store->loss_why == KP_NO_SPACE ? KP_NO_SPACE : KP_IO;
    kp_error_set(err, code, "%llu rows could not be written to %s and are lost: %s",
                 (unsigned long long)store->loss_rows, store->dir, kp_status_text(store->loss_why));
    kp_error_hint(err, "free some space or replace the disk; what was acknowledged before is safe");
    return code;
}

kp_status kp_store_close(struct kp_store *store, struct kp_error *err)
{
    if (store == NULL)
        return KP_OK;
    if (!store->opts.manual) {
        threads_stop(store, true, true);
        /* the ring of a thread that is gone cannot be used: one of our own for the last seal */
        if (store->io->queue_open(store->io, 8, &store->seal_queue) != KP_OK)
            store->seal_queue = NULL;
    }
    pthread_mutex_lock(&store->lock);
    for (int i = 0; store->opts.manual && i < 2 && kpi_commit_pending(store); i++)
        kpi_commit_run(store, 0); /* twice when what is staged finds no room beside the rest */
    /* what a seal cannot take now the log keeps: not an error */
    if (store->seal_queue != NULL && store->unsealed >= CLOSE_SEAL_MIN)
        kpi_seal_run(store, 0);
    kp_status status = close_status(store, err);
    pthread_mutex_unlock(&store->lock);
    kpi_evidence_close(store, store->seal_queue != NULL);
    if (store->commit_queue != NULL)
        kpi_wal_finish(store->wal, store->commit_queue);
    store_free(store);
    return status;
}
