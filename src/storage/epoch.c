/* SPDX-License-Identifier: Apache-2.0
 *
 * Sealing while the store runs. At the end of each epoch the sealer writes one seal: which log
 * record was the last, the digest of the log up to it, how many rows, the state of the manifest,
 * both clocks; bound to all records before it by the chain and authenticated with the key of its
 * number, which is then destroyed. An epoch without a row gets its seal like any other.
 *
 * What cannot be written now is kept and tried again at the end of the next epoch, whose seal then
 * says that it covers several: recording never waits for evidence.
 */
#include "storage/epoch.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "storage/segment.h"

#define DESCRIBE_TRIES 3 /* a disk may fail to read once */

/* ---------- small parts ---------- */

static bool room_for_one(void **items, uint32_t count, uint32_t *capacity, size_t item)
{
    if (count < *capacity)
        return true;
    uint32_t wanted = *capacity == 0 ? 16 : *capacity * 2;
    void *more = realloc(*items, wanted * item);
    if (more == NULL)
        return false;
    *items = more;
    *capacity = wanted;
    return true;
}

struct kpi_chain_record *kpi_evidence_add(struct kpi_evidence *evidence, enum kpi_chain_type type)
{
    void *items = evidence->pending;
    bool room = room_for_one(&items, evidence->pending_count, &evidence->pending_capacity,
                             sizeof(*evidence->pending));
    evidence->pending = items;
    if (!room) {
        evidence->broken = true;
        return NULL;
    }
    struct kpi_chain_record *record = &evidence->pending[evidence->pending_count++];
    memset(record, 0, sizeof(*record));
    record->type = (uint16_t)type;
    return record;
}

bool kpi_evidence_register(struct kpi_evidence *evidence, const struct kpi_chain_segment *segment)
{
    void *items = evidence->segments;
    bool room = room_for_one(&items, evidence->segments_count, &evidence->segments_capacity,
                             sizeof(*evidence->segments));
    evidence->segments = items;
    if (!room)
        return false;
    evidence->segments[evidence->segments_count++] =
        (struct kpi_registered){.id = segment->id,
                                .rows = segment->rows,
                                .bytes = segment->bytes,
                                .wal_first = segment->wal_first,
                                .wal_last = segment->wal_last,
                                .root = segment->root,
                                .content = segment->content};
    evidence->segment_last = KP_MAX(evidence->segment_last, segment->id);
    evidence->sealed = (struct kpi_log_digest){.sequence = segment->wal_last,
                                               .rows = segment->log_rows,
                                               .head = segment->wal_head,
                                               .set = segment->log_set};
    uint32_t kept = 0;
    for (uint32_t i = 0; i < evidence->marks.count; i++)
        if (evidence->marks.items[i].wal_seq > segment->wal_last)
            evidence->marks.items[kept++] = evidence->marks.items[i];
    evidence->marks.count = kept;
    return true;
}

void kpi_evidence_unregister(struct kpi_evidence *evidence, uint64_t id)
{
    for (uint32_t i = 0; i < evidence->segments_count; i++) {
        if (evidence->segments[i].id != id)
            continue;
        evidence->segments_count--;
        memmove(&evidence->segments[i], &evidence->segments[i + 1],
                (evidence->segments_count - i) * sizeof(*evidence->segments));
        return;
    }
}

bool kpi_marks_add(struct kpi_marks *marks, const struct kpi_mark *mark)
{
    void *items = marks->items;
    bool room = room_for_one(&items, marks->count, &marks->capacity, sizeof(*mark));
    marks->items = items;
    if (room)
        marks->items[marks->count++] = *mark;
    return room;
}

void kpi_marks_check(struct kpi_evidence *evidence, const struct kpi_log_digest *digest)
{
    for (uint32_t i = 0; i < evidence->marks.count; i++) {
        const struct kpi_mark *mark = &evidence->marks.items[i];
        if (mark->wal_seq != digest->sequence || kpi_sha_equal(&mark->head, &digest->head))
            continue;
        kp_log(KP_LOG_ERROR, "store", "the log was altered: it does not match seal %llu",
               (unsigned long long)mark->seal);
        struct kpi_chain_record *record = kpi_evidence_add(evidence, KPI_CHAIN_ALTERED);
        if (record != NULL)
            record->altered =
                (struct kpi_chain_altered){.seal = mark->seal, .wal_seq = mark->wal_seq};
        evidence->marks.count = 0; /* later seals of the same log do not match either */
        return;
    }
}

void kpi_evidence_stamp(const struct kp_store *store, int64_t now, struct kpi_chain_record *record,
                        kp_dur *out_bound)
{
    kp_dur bound = 0;
    record->wall = record->mono = now;
    if (!store->opts.manual)
        kp_time_anchor(&record->mono, &record->wall, &bound);
    memcpy(record->boot, store->evidence->boot, sizeof(record->boot));
    if (out_bound != NULL)
        *out_bound = bound;
}

kp_status kpi_evidence_flush(struct kpi_evidence *evidence, struct kp_io_queue *queue)
{
    if (evidence->pending_count == 0)
        return KP_OK;
    kp_status status = kpi_chain_append(&evidence->chain, queue, evidence->pending,
                                        evidence->pending_count, &evidence->key.secret);
    if (status != KP_OK)
        return status;
    evidence->pending_count = 0;
    evidence->flushed = evidence->sealed.sequence;
    return KP_OK;
}

uint64_t kpi_evidence_covers(const struct kp_store *store)
{
    const struct kpi_evidence *evidence = store->evidence;
    bool behind = evidence != NULL && (evidence->broken || evidence->pending_count > 0);
    if (!behind || kpi_wal_bytes(store->wal) > store->opts.wal_bytes_max / 2)
        return store->sealed_through;
    return KP_MIN(evidence->flushed, store->sealed_through);
}

/* ---------- the log ---------- */

void kpi_evidence_logged(struct kp_store *store, const struct kpi_wal_entry *entry)
{
    struct kpi_evidence *evidence = store->evidence;
    if (evidence == NULL)
        return;
    struct kpi_wal_record record = {.sequence = kpi_wal_sequence(store->wal),
                                    .payload = entry->bytes + sizeof(struct kpi_wal_header),
                                    .payload_size = entry->payload_size,
                                    .rows = entry->rows,
                                    .ts_min = entry->ts_min,
                                    .ts_max = entry->ts_max};
    struct kpi_log_digest digest = evidence->durable; /* changed by this thread only */
    kp_status status = kpi_log_digest_add(&digest, &record);
    pthread_mutex_lock(&evidence->lock);
    evidence->durable = digest;
    evidence->broken |= status != KP_OK;
    pthread_mutex_unlock(&evidence->lock);
}

void kpi_evidence_begin(struct kp_store *store)
{
    if (store->evidence != NULL)
        store->evidence->taking = store->evidence->sealed;
}

void kpi_evidence_take(struct kp_store *store, const struct kpi_wal_record *record)
{
    struct kpi_evidence *evidence = store->evidence;
    if (evidence == NULL || evidence->broken || record->sequence <= evidence->taking.sequence)
        return; /* from before the genesis */
    evidence->broken |= kpi_log_digest_add(&evidence->taking, record) != KP_OK;
    kpi_marks_check(evidence, &evidence->taking);
}

/* ---------- segments ---------- */

kp_status kpi_evidence_describe(const struct kp_store *store, struct kp_io_queue *queue,
                                const struct kpi_segment_meta *meta,
                                const struct kpi_log_digest *digest, struct kpi_chain_segment *out)
{
    struct kp_buf path = {0};
    struct kpi_segment_digest file;
    kpi_segment_path(store->dir, meta->id, &path);
    kp_status status = path.failed
                           ? KP_NO_MEMORY
                           : kpi_segment_digest(store->io, queue, kp_buf_cstr(&path), &file);
    kp_buf_deinit(&path);
    if (status != KP_OK)
        return status;
    *out = (struct kpi_chain_segment){.id = meta->id,
                                      .wal_first = meta->wal_first,
                                      .wal_last = meta->wal_last,
                                      .rows = meta->rows,
                                      .bytes = file.bytes,
                                      .root = file.root,
                                      .clock = file.clock,
                                      .wal_head = digest->head,
                                      .log_rows = digest->rows,
                                      .log_set = digest->set};
    return KP_OK;
}

void kpi_evidence_segment(struct kp_store *store, const struct kpi_segment_meta *meta,
                          const struct kpi_block_run *run)
{
    struct kpi_evidence *evidence = store->evidence;
    if (evidence == NULL || evidence->broken)
        return; /* the next start makes up for it, in order */
    struct kpi_chain_segment segment;
    struct kpi_content content = {0};
    kp_status status = KP_IO;
    for (int i = 0; status != KP_OK && i < DESCRIBE_TRIES; i++)
        status = kpi_evidence_describe(store, store->seal_queue, meta, &evidence->taking, &segment);
    if (status == KP_OK)
        status = kpi_content_blocks(&content, run->bytes, run->size);
    if (status == KP_OK) {
        segment.content = content.sum;
        struct kpi_chain_record *record = kpi_evidence_add(evidence, KPI_CHAIN_SEGMENT);
        status = record != NULL && kpi_evidence_register(evidence, &segment) ? KP_OK : KP_NO_MEMORY;
        if (record != NULL) {
            kpi_evidence_stamp(store, evidence->last_mono, record, NULL);
            record->segment = segment;
        }
    }
    kpi_content_deinit(&content);
    evidence->broken |= status != KP_OK; /* later digests would begin where this one did not end */
    if (status == KP_OK)
        status = kpi_evidence_flush(evidence, store->seal_queue);
    if (status != KP_OK)
        kp_log(KP_LOG_WARN, "store", "segment %llu has no record of evidence yet: %s",
               (unsigned long long)meta->id, kp_status_text(status));
}

void kpi_evidence_drop(struct kp_store *store, const struct kpi_segment_meta *gone,
                       enum kpi_drop_reason reason)
{
    struct kpi_evidence *evidence = store->evidence;
    if (evidence == NULL)
        return;
    struct kpi_chain_drop drop = {
        .id = gone->id, .rows = gone->rows, .bytes = gone->bytes, .reason = reason};
    for (uint32_t i = 0; i < evidence->segments_count; i++)
        if (evidence->segments[i].id == gone->id)
            drop.root = evidence->segments[i].root;
    struct kpi_chain_record *record = kpi_evidence_add(evidence, KPI_CHAIN_DROP);
    if (record == NULL)
        return;
    kpi_evidence_stamp(store, evidence->last_mono, record, NULL);
    record->drop = drop;
    kpi_evidence_unregister(evidence, gone->id);
    kp_status status = kpi_evidence_flush(evidence, store->seal_queue);
    if (status != KP_OK)
        kp_log(KP_LOG_WARN, "store", "the drop of segment %llu is not in the evidence yet: %s",
               (unsigned long long)gone->id, kp_status_text(status));
}

/* ---------- epochs ---------- */

bool kpi_evidence_due(const struct kp_store *store, int64_t now)
{
    return store->evidence != NULL && now >= store->evidence->next && !store->sealing;
}

int64_t kpi_evidence_next(const struct kp_store *store)
{
    return store->evidence == NULL ? INT64_MAX : store->evidence->next;
}

/* How many epochs a seal made now covers; 0: none has ended. */
static uint64_t epochs_ended(const struct kpi_evidence *evidence,
                             const struct kpi_chain_record *record)
{
    bool same_boot = memcmp(evidence->last_boot, record->boot, sizeof(record->boot)) == 0;
    kp_dur elapsed = same_boot ? kpi_clocks_apart(evidence->last_mono, record->mono)
                               : kpi_clocks_apart(evidence->last_wall, record->wall);
    uint64_t epochs = elapsed > 0 ? (uint64_t)(elapsed / evidence->every) : 0;
    return same_boot ? epochs : KP_MAX(epochs, 1); /* the wall clock may have been put back */
}

/* Seal n is durable: key n goes. */
static void key_advance(struct kp_store *store)
{
    struct kpi_evidence *evidence = store->evidence;
    struct kpi_key next = evidence->key;
    kp_status status = kpi_key_next(&next);
    if (status == KP_OK) {
        pthread_mutex_lock(&evidence->lock);
        evidence->key = next;
        pthread_mutex_unlock(&evidence->lock);
        status = kpi_key_replace(store->io, store->seal_queue, store->dir, &next);
        if (status != KP_OK)
            status = kpi_key_create(store->io, store->seal_queue, store->dir, &next, NULL);
    }
    evidence->broken |= evidence->key.number != evidence->seals + 1;
    kpi_wipe(&next, sizeof(next));
    if (status != KP_OK)
        kp_log(KP_LOG_ERROR, "store", "the used sealing key could not be destroyed: %s",
               kp_status_text(status));
}

static void seal_done(struct kp_store *store, const struct kpi_chain_record *record)
{
    struct kpi_evidence *evidence = store->evidence;
    struct kpi_mark mark = {record->seal.seal, record->seal.wal_seq, record->seal.wal_head};
    evidence->seals = record->seal.seal;
    evidence->epochs = record->seal.last;
    evidence->last_wall = record->wall;
    evidence->last_mono = record->mono;
    memcpy(evidence->last_boot, record->boot, sizeof(record->boot));
    evidence->first = false;
    if (mark.wal_seq > evidence->sealed.sequence)
        evidence->broken |= !kpi_marks_add(&evidence->marks, &mark);
    key_advance(store);
    kp_status status =
        kpi_checkpoint_write(store->io, store->seal_queue, store->dir, store->store_id,
                             &evidence->chain.tree, evidence->key.sign_seed);
    if (status != KP_OK)
        kp_log(KP_LOG_WARN, "store", "no checkpoint: %s", kp_status_text(status));
}

static void seal_fill(struct kp_store *store, struct kpi_chain_record *record, uint64_t epochs,
                      bool close)
{
    struct kpi_evidence *evidence = store->evidence;
    pthread_mutex_lock(&evidence->lock);
    struct kpi_log_digest log = evidence->durable;
    pthread_mutex_unlock(&evidence->lock);
    record->seal =
        (struct kpi_chain_seal){.seal = evidence->seals + 1,
                                .first = evidence->epochs + 1,
                                .last = evidence->epochs + epochs,
                                .wal_seq = log.sequence,
                                .rows = log.rows,
                                .manifest = kpi_manifest_state(store->manifest)->version,
                                .wal_head = log.head,
                                .wal_set = log.set,
                                .clock_bound = record->seal.clock_bound,
                                .reason = close                                    ? KPI_SEAL_CLOSE
                                          : evidence->first && evidence->seals > 0 ? KPI_SEAL_DOWN
                                          : epochs > 1                             ? KPI_SEAL_LATE
                                                       : KPI_SEAL_EPOCH};
}

static kp_status seal_write(struct kp_store *store, int64_t now, bool close)
{
    struct kpi_evidence *evidence = store->evidence;
    struct kpi_chain_record *record = kpi_evidence_add(evidence, KPI_CHAIN_SEAL);
    if (record == NULL)
        return KP_NO_MEMORY;
    kp_dur bound;
    kpi_evidence_stamp(store, now, record, &bound);
    record->seal.clock_bound = bound;
    uint64_t epochs = epochs_ended(evidence, record);
    evidence->next = now + evidence->every;
    if (epochs == 0 && !close) {
        kp_dur run = kpi_clocks_apart(evidence->last_mono, record->mono);
        evidence->next -= run > 0 ? run : 0;
        evidence->pending_count--;
        return KP_OK;
    }
    seal_fill(store, record, KP_MAX(epochs, 1), close);
    struct kpi_chain_record made = *record;
    kp_status status = kpi_evidence_flush(evidence, store->seal_queue);
    if (status == KP_OK)
        seal_done(store, &made);
    else
        evidence->pending_count--; /* the next seal covers this epoch too */
    return status;
}

static void seal_try(struct kp_store *store, int64_t now, bool close)
{
    struct kpi_evidence *evidence = store->evidence;
    kp_status status = evidence->broken ? KP_NO_MEMORY : seal_write(store, now, close);
    if (status != KP_OK) {
        evidence->next = now + evidence->every;
        kp_log(KP_LOG_WARN, "store", "epoch %llu is not sealed yet: %s",
               (unsigned long long)evidence->epochs + 1, kp_status_text(status));
    }
}

void kpi_evidence_run(struct kp_store *store, int64_t now)
{
    store->sealing = true;
    pthread_mutex_unlock(&store->lock);
    seal_try(store, now, false);
    pthread_mutex_lock(&store->lock);
    store->sealing = false;
    store->stat.seals = store->evidence->seals;
    kpi_wal_release(store->wal, kpi_evidence_covers(store));
    pthread_cond_broadcast(&store->changed);
}

void kpi_evidence_close(struct kp_store *store, bool seal)
{
    struct kpi_evidence *evidence = store->evidence;
    if (evidence == NULL)
        return;
    if (seal) /* the simulator has no clock of its own */
        seal_try(store, store->opts.manual ? evidence->last_mono : kp_time_monotonic(), true);
    kpi_chain_close(&evidence->chain);
    kpi_wipe(&evidence->key, sizeof(evidence->key));
    pthread_mutex_destroy(&evidence->lock);
    free(evidence->marks.items);
    free(evidence->segments);
    free(evidence->pending);
    free(evidence);
    store->evidence = NULL;
}
