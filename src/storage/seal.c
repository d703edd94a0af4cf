/* SPDX-License-Identifier: Apache-2.0
 *
 * From the log to segments, beside ingest: the records behind sealed_through are read back from the
 * log (they are checked once more on the way), handed to kpi_segment_write as one run of blocks,
 * and the manifest record makes the segment part of the store. Only then are log files given back.
 *
 * A step that fails leaves the log as it is and is tried again a second later under a new segment
 * id: after a failed manifest write nobody knows whether the old id is taken.
 */
#include "storage/cold.h"
#include "storage/damage.h"
#include "storage/epoch.h"
#include "storage/store_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define SEAL_RETRY KP_SEC

struct sealing {
    struct kp_store *store;
    uint64_t to; /* last sequence that may be taken */
    uint64_t used;
    uint64_t last;
    struct kp_hash128 last_hash;
    uint64_t seq_next;
    kp_time ts_last;
    struct kpi_damage_rows damage; /* met on the way */
};

bool kpi_seal_due(const struct kp_store *store, int64_t now)
{
    if (store->unsealed == 0 || store->sealing || now < store->seal_retry ||
        store->telling.count > 0)
        return false;
    return store->seal_forced || store->unsealed >= store->opts.segment_bytes_max ||
           now - store->unsealed_since >= store->opts.segment_after;
}

static bool take_record(void *ctx, const struct kpi_wal_record *record)
{
    struct sealing *s = ctx;
    if (record->sequence > s->to || record->payload_size > s->store->seal_size - s->used)
        return false;
    memcpy(s->store->seal_memory + s->used, record->payload, record->payload_size);
    s->used += record->payload_size;
    s->last = record->sequence;
    s->last_hash = record->hash;
    s->seq_next = record->seq_next;
    s->ts_last = KP_MAX(s->ts_last, record->ts_max);
    kpi_evidence_take(s->store, record);
    return true;
}

/* Damage that recovery did not see came later: it is written down before the segment that passes
 * over it. */
static void take_damage(void *ctx, const struct kp_damage *damage)
{
    struct sealing *s = ctx;
    kpi_damage_add(s->store, &s->damage, s->ts_last, damage);
}

static kp_status records_take(struct sealing *s)
{
    struct kp_store *store = s->store;
    struct kpi_wal_scan scan = {.io = store->io,
                                .dir = store->dir,
                                .store_id = store->store_id,
                                .after = store->sealed_through, /* changed by this thread only */
                                .each = take_record,
                                .damage = take_damage,
                                .ctx = s};
    struct kpi_wal_end end;
    kpi_evidence_begin(store);
    kp_status status = kpi_wal_scan(&scan, &end, NULL);
    if (status != KP_OK)
        return status;
    kpi_wal_end_deinit(&end);
    return s->damage.status;
}

static kp_status segment_make(struct sealing *s)
{
    struct kp_store *store = s->store;
    struct kpi_block_run run = {store->seal_memory, (size_t)s->used};
    struct kpi_segment_meta meta = {0};
    uint64_t id = store->segment_next++;
    kp_status status = kpi_segment_write(store->io, store->dir, id, &run, 1, &meta, NULL);
    if (status != KP_OK)
        return status;
    meta.id = id;
    meta.wal_first = store->sealed_through + 1;
    meta.wal_last = s->last;
    status = kpi_manifest_add(store->manifest, store->seal_queue, &meta, s->seq_next, s->last_hash,
                              NULL);
    if (status == KP_OK)
        kpi_evidence_segment(store, &meta, &run);
    return status;
}

static void seal_done(struct sealing *s, int64_t now)
{
    struct kp_store *store = s->store;
    const struct kpi_manifest *state = kpi_manifest_state(store->manifest);
    store->sealed_through = s->last;
    store->unsealed -= KP_MIN(s->used, store->unsealed);
    store->unsealed_since = now;
    store->stat.segments = state->count;
    store->stat.segments_bytes += state->segments[state->count - 1].bytes;
    store->retain_next = 0;
    store->txn_work = true;
    kpi_wal_release(store->wal, kpi_evidence_covers(store));
    if (store->durable == s->last) {
        store->unsealed = 0;
        store->seal_forced = false;
    }
}

void kpi_seal_run(struct kp_store *store, int64_t now)
{
    struct sealing s = {.store = store, .to = store->durable, .last = store->sealed_through};
    store->sealing = true;
    pthread_mutex_unlock(&store->lock);
    kp_status status = records_take(&s);
    bool sealed = false;
    if (status == KP_OK && s.damage.rows == 0 && s.used > 0) {
        status = segment_make(&s);
        sealed = status == KP_OK;
    }
    pthread_mutex_lock(&store->lock);
    store->sealing = false;
    store->seal_status = status;
    if (status == KP_OK && s.damage.rows > 0)
        kpi_damage_tell(store, &s.damage, s.ts_last,
                        now); /* no room: the next try meets it again */
    if (sealed)
        seal_done(&s, now);
    else
        store->seal_retry = now + SEAL_RETRY;
    kpi_damage_rows_deinit(&s.damage);
    pthread_cond_broadcast(&store->changed);
}

static int64_t next_work(const struct kp_store *store)
{
    int64_t other = KP_MIN(kpi_retain_next(store), kpi_evidence_next(store));
    other = KP_MIN(other, KP_MIN(store->gone_next, kpi_scrub_next(store)));
    if (store->txn_work)
        other = KP_MIN(other, store->txn_retry);
    if (store->unsealed == 0)
        return other;
    int64_t seal = KP_MAX(store->seal_retry, store->unsealed_since + store->opts.segment_after);
    return KP_MIN(other, seal);
}

/* Best effort: without a spare the next commit that needs one makes it, and reports. */
static void spare_make(struct kp_store *store, int64_t now)
{
    pthread_mutex_unlock(&store->lock);
    kp_status status = kpi_wal_spare(store->wal, store->seal_queue);
    pthread_mutex_lock(&store->lock);
    store->spare_retry = status == KP_OK ? 0 : now + SEAL_RETRY;
}

static void seal_loop(struct kp_store *store)
{
    while (!store->stop) {
        int64_t now = kp_time_monotonic();
        if (store->hold_request != NULL)
            kpi_hold_run(store);
        else if (kpi_evidence_due(store, now))
            kpi_evidence_run(store, now);
        else if (kpi_seal_due(store, now))
            kpi_seal_run(store, now);
        else if (store->cold != NULL)
            kpi_cold_take(store, now);
        else if (kpi_retain_due(store, now))
            kpi_retain_run(store, now);
        else if (kpi_merge_due(store, now))
            kpi_merge_run(store, now);
        else if (kpi_scrub_due(store, now))
            kpi_scrub_run(store, now);
        else if (now >= store->gone_next)
            kpi_cold_tidy(store, now, false);
        else if (kpi_wal_low(store->wal) && now >= store->spare_retry)
            spare_make(store, now);
        else
            kpi_wait_until(&store->seal_work, &store->lock, next_work(store));
    }
}

void *kpi_seal_main(void *arg)
{
    struct kp_store *store = arg;
    kp_status status = store->io->queue_open(store->io, 8, &store->seal_queue);
    pthread_mutex_lock(&store->lock);
    store->seal_started = status == KP_OK;
    store->stop = store->stop || status != KP_OK;
    pthread_cond_broadcast(&store->changed);
    seal_loop(store);
    pthread_mutex_unlock(&store->lock);
    if (store->seal_queue != NULL)
        store->io->queue_close(store->seal_queue);
    store->seal_queue = NULL;
    return NULL;
}
