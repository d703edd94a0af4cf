/* SPDX-License-Identifier: Apache-2.0
 *
 * From RAM to the log: one buffer is being written while the other fills. A commit starts when the
 * oldest row has waited commit_after, when commit_bytes are there, or when someone waits.
 *
 * Loss mode: when a record could be written neither to its file nor to a new one, its rows are
 * lost; rows that come are counted, not kept. Every second a fresh file is tried with a record that
 * tells of the loss; when that is durable the store takes rows again. So a loss is always on the
 * disk before anything that came after it.
 */
#include "storage/epoch.h"
#include "storage/store_int.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"

#define LOSS_RETRY KP_SEC

/* When the oldest row has waited long enough; INT64_MAX: there is none. */
static int64_t commit_at(const struct kp_store *store)
{
    const struct kpi_fill *fill = &store->fills[store->filling];
    int64_t opened = INT64_MAX - store->opts.commit_after;
    if (fill->rows > 0)
        opened = KP_MIN(opened, fill->opened);
    if (store->staged.rows > 0)
        opened = KP_MIN(opened, store->staged.opened);
    return opened + store->opts.commit_after;
}

bool kpi_commit_due(const struct kp_store *store, int64_t now)
{
    const struct kpi_fill *fill = &store->fills[store->filling];
    const struct kpi_stage *staged = &store->staged;
    if (store->loss_mode)
        return now >= store->loss_retry || store->stop;
    if (fill->rows == 0 && staged->rows == 0)
        return store->loss_rows > 0;
    uint64_t first =
        fill->ticket_first != 0 || fill->rows > 0 ? fill->ticket_first : staged->ticket_first;
    return store->stop || fill->payload >= store->opts.commit_bytes ||
           store->ticket_wanted >= first || now >= commit_at(store);
}

bool kpi_commit_pending(const struct kp_store *store)
{
    return store->fills[store->filling].rows > 0 || store->staged.rows > 0 || store->loss_rows > 0;
}

/* ---------- rows of gaps ---------- */

kp_status kpi_gap_encode(struct kp_store *store, kp_time from, kp_time to, kp_time at,
                         int64_t count, int64_t reason, const char *detail, struct kp_buf *out)
{
    const struct kp_stream *stream = kp_stream_by_number(KP_S_GAPS);
    struct kp_builder builder;
    kp_status status = kp_builder_init(&builder, stream, store->actors, 1);
    if (status != KP_OK)
        return status;
    bool known = from <= to;
    kp_dur dur = 0;
    if (known && __builtin_sub_overflow(to, from, &dur))
        dur = INT64_MAX;
    kp_builder_row(&builder, known ? to : at, kp_store_seq(store, 1), 0, KP_ACTOR_UNKNOWN);
    kp_builder_i64(&builder, (uint32_t)kp_stream_stored(stream, "dur"), dur);
    kp_builder_i64(&builder, (uint32_t)kp_stream_stored(stream, "count"), count);
    kp_builder_i64(&builder, (uint32_t)kp_stream_stored(stream, "reason"), reason);
    status =
        kp_builder_str(&builder, (uint32_t)kp_stream_stored(stream, "detail"), kp_str_from(detail));
    if (status == KP_OK)
        status = kpi_block_encode(kp_builder_batch(&builder), KPI_LEVEL_HOT, out);
    kp_builder_deinit(&builder);
    return status;
}

/* Puts the row that tells of the loss into the filling buffer. Without room or memory it waits for
 * the next commit. */
static void loss_tell(struct kp_store *store, int64_t now)
{
    struct kpi_fill *fill = &store->fills[store->filling];
    if (store->loss_rows == 0)
        return;
    struct kp_buf block = {0};
    char detail[96];
    snprintf(detail, sizeof(detail), "the log could not be written: %s",
             kp_status_text(store->loss_why));
    kp_status status =
        kpi_gap_encode(store, store->loss_from, store->loss_to, store->loss_to,
                       (int64_t)store->loss_rows, KPI_GAP_STORE_ERROR, detail, &block);
    if (status == KP_OK && kpi_fill_add(store, &block, 1, store->loss_from, store->loss_to, now)) {
        fill->gap_rows++;
        fill->gap_count = store->loss_rows;
    }
    kp_buf_deinit(&block);
}

/* ---------- outcome of a commit ---------- */

static void lost_add(struct kp_store *store, uint64_t first, uint64_t last, kp_status why)
{
    if (store->lost_count ==
        KPI_LOST_MAX) { /* the two oldest become one: never a false "durable" */
        store->lost[0].last = store->lost[1].last;
        memmove(&store->lost[1], &store->lost[2], (KPI_LOST_MAX - 2) * sizeof(store->lost[0]));
        store->lost_count--;
    }
    store->lost[store->lost_count++] = (struct kpi_lost){first, last, why};
}

static void commit_lost(struct kp_store *store, const struct kpi_fill *fill, kp_status why,
                        int64_t now)
{
    /* rows about losses and damage are made anew */
    uint64_t rows = fill->rows - (fill->gap_count > 0) - fill->damage_rows;
    if (store->loss_rows == 0 && rows > 0) {
        store->loss_from = fill->ts_min;
        store->loss_to = fill->ts_max;
    } else if (rows > 0) {
        store->loss_from = KP_MIN(store->loss_from, fill->ts_min);
        store->loss_to = KP_MAX(store->loss_to, fill->ts_max);
    }
    store->loss_rows += rows;
    store->stat.rows_refused += rows;
    store->loss_mode = true;
    store->loss_why = why;
    store->loss_retry = now + LOSS_RETRY;
    if (fill->damage_rows > 0)
        store->telling.count = 0;
    if (fill->ticket_last != 0)
        lost_add(store, fill->ticket_first, fill->ticket_last, why);
}

/* Rows about damage are durable: the sealer may pass over it. */
static void damage_told(struct kp_store *store)
{
    for (uint32_t i = 0; i < store->telling.count; i++)
        if (!kpi_notes_add(&store->notes, store->telling.items[i]))
            break; /* told again at the next try: twice is better than never */
    store->telling.count = 0;
    pthread_cond_signal(&store->seal_work);
}

static void commit_done(struct kp_store *store, const struct kpi_fill *fill, int64_t now)
{
    store->durable = kpi_wal_sequence(store->wal);
    store->stat.commits++;
    store->stat.commit_bytes += fill->payload;
    store->stat.rows_durable += fill->rows - fill->gap_rows;
    store->stat.gaps += fill->gap_rows;
    bool first = store->unsealed == 0;
    if (first)
        store->unsealed_since = now;
    store->unsealed += fill->payload;
    store->loss_rows -= fill->gap_count;
    store->loss_mode = false;
    if (fill->damage_rows > 0)
        damage_told(store);
    /* the sealer sleeps until unsealed rows are old: the first of them sets that clock */
    if (first || kpi_seal_due(store, now) || kpi_wal_low(store->wal))
        pthread_cond_signal(&store->seal_work);
}

static void fill_reset(struct kpi_fill *fill)
{
    uint8_t *bytes = fill->bytes;
    memset(fill, 0, sizeof(*fill));
    fill->bytes = bytes;
}

/* ---------- what is staged ---------- */

kp_status kpi_stage_encode(struct kp_store *store)
{
    if (store->joined.size > 0 || kpi_join_rows(store->join) == 0)
        return KP_OK;
    kp_status status = kpi_join_encode(store->join, &store->joined);
    if (status == KP_OK && store->joined.failed)
        status = KP_NO_MEMORY;
    return status;
}

/* Rows that were accepted and cannot be written are lost as if the disk had refused them. Their
 * tickets are settled with the fill, which gets the row that tells of them. */
static void stage_lost(struct kp_store *store, kp_status why, int64_t now)
{
    struct kpi_fill *fill = &store->fills[store->filling];
    struct kpi_fill lost = {.rows = store->staged.rows,
                            .ts_min = store->staged.ts_min,
                            .ts_max = store->staged.ts_max,
                            .ticket_first = store->staged.ticket_first,
                            .ticket_last = store->staged.ticket_last};
    commit_lost(store, &lost, why, now);
    if (fill->ticket_first == 0)
        fill->ticket_first = lost.ticket_first;
    fill->ticket_last = lost.ticket_last;
    store->staged = (struct kpi_stage){0};
    kp_buf_deinit(&store->joined);
}

kp_status kpi_stage_move(struct kp_store *store, kp_status encoded, int64_t now)
{
    struct kpi_fill *fill = &store->fills[store->filling];
    struct kpi_stage *staged = &store->staged;
    if (staged->rows == 0)
        return KP_OK;
    if (encoded == KP_OK && store->joined.size > store->fill_size - sizeof(struct kpi_wal_header))
        encoded = KP_LIMIT;
    if (encoded != KP_OK) {
        stage_lost(store, encoded, now);
        return KP_OK;
    }
    if (!kpi_fill_add(store, &store->joined, staged->rows, staged->ts_min, staged->ts_max,
                      staged->opened))
        return KP_LIMIT;
    fill->opened = KP_MIN(fill->opened, staged->opened);
    if (fill->ticket_first == 0)
        fill->ticket_first = staged->ticket_first;
    fill->ticket_last = staged->ticket_last;
    *staged = (struct kpi_stage){0};
    kp_buf_clear(&store->joined);
    return KP_OK;
}

/* Gives up the lock meanwhile. Without room what is staged waits for the next commit. */
static void stage_take(struct kp_store *store, int64_t now)
{
    if (store->staged.rows == 0)
        return;
    pthread_mutex_unlock(&store->lock);
    pthread_mutex_lock(&store->encode_lock);
    kp_status encoded = kpi_stage_encode(store);
    pthread_mutex_lock(&store->lock);
    kp_status status = kpi_stage_move(store, encoded, now);
    (void)status;
    pthread_mutex_unlock(&store->encode_lock);
}

/* ---------- a commit ---------- */

/* What waits for them learns of it: they are durable, or in the list of what is lost. */
static void tickets_settle(struct kp_store *store, struct kpi_fill *fill)
{
    if (fill->ticket_last != 0)
        store->ticket_settled = fill->ticket_last;
    fill->ticket_first = fill->ticket_last = 0;
    pthread_cond_broadcast(&store->changed);
}

void kpi_commit_run(struct kp_store *store, int64_t now)
{
    kp_assert(!store->committing);
    stage_take(store, now);
    loss_tell(store, now);
    struct kpi_fill *fill = &store->fills[store->filling];
    if (fill->rows == 0) {
        store->loss_retry = now + LOSS_RETRY; /* no room or memory even for the gap's row */
        tickets_settle(store, fill);
        return;
    }
    store->filling ^= 1;
    store->committing = true;
    pthread_mutex_unlock(&store->lock);
    struct kpi_wal_entry entry = {.bytes = fill->bytes,
                                  .payload_size = fill->payload,
                                  .rows = fill->rows,
                                  .ts_min = fill->ts_min,
                                  .ts_max = fill->ts_max,
                                  .seq_next = atomic_load(&store->seq_next)};
    kp_status status = kpi_wal_commit(store->wal, store->commit_queue, &entry);
    if (status == KP_OK)
        kpi_evidence_logged(store, &entry);
    pthread_mutex_lock(&store->lock);
    store->stat.sync_max = kpi_wal_sync_max(store->wal);
    if (status == KP_OK)
        commit_done(store, fill, now);
    else
        commit_lost(store, fill, status, now);
    tickets_settle(store, fill);
    fill_reset(fill);
    store->committing = false;
}

/* ---------- the thread ---------- */

static int64_t next_commit(const struct kp_store *store)
{
    return store->loss_mode ? store->loss_retry : commit_at(store);
}

void *kpi_commit_main(void *arg)
{
    struct kp_store *store = arg;
    kp_status status = store->io->queue_open(store->io, 8, &store->commit_queue);
    if (status == KP_OK)
        status = store->io->register_buffers(store->commit_queue, store->memory,
                                             2 * (size_t)store->fill_size);
    pthread_mutex_lock(&store->lock);
    store->commit_started = status == KP_OK;
    store->stop = store->stop || status != KP_OK;
    store->seal_status = status;
    pthread_cond_broadcast(&store->changed);
    while (!store->stop) {
        int64_t now = kp_time_monotonic();
        if (kpi_commit_due(store, now))
            kpi_commit_run(store, now);
        else
            kpi_wait_until(&store->commit_work, &store->lock, next_commit(store));
    }
    /* the end: what is left, and what was lost, once */
    for (int i = 0; i < 2 && status == KP_OK && kpi_commit_pending(store); i++)
        kpi_commit_run(store, kp_time_monotonic());
    pthread_mutex_unlock(&store->lock);
    if (store->commit_queue != NULL) {
        kpi_wal_finish(store->wal, store->commit_queue);
        store->io->queue_close(store->commit_queue);
    }
    store->commit_queue = NULL;
    return NULL;
}
