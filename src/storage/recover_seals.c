/* SPDX-License-Identifier: Apache-2.0
 *
 * What a start finds of the evidence. A crash can leave, in this order of the writer's steps:
 *
 *   a segment or a drop in the manifest that the chain does not have yet: it is described now, a
 *     segment from the log records it replaces, which are still there;
 *   a seal whose key is still in the key file: the key is advanced;
 *   a torn record behind the last whole one: it was not acknowledged and is written over.
 *
 * The epochs in which nobody recorded are covered by the first seal of the new process, explicitly
 * and with the key that was due: who removes seals cannot pretend that the machine was off, because
 * for that he needs a key that no longer exists.
 *
 * The log is digested anew and compared with the seals made over it: what was altered or cut off
 * while nobody recorded becomes a record of its own.
 */
#include "storage/epoch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "storage/segment.h"

#define PATH_SIZE 4096u

struct resuming {
    struct kp_store *store;
    struct kpi_evidence *evidence;
    struct kp_io_queue *queue;
    const struct kpi_manifest *manifest;
    uint32_t segment;   /* next one of the manifest that the chain lacks */
    struct kp_buf held; /* records that do not verify, until one follows that does */
    kp_status status;
};

/* ---------- the machine ---------- */

static void boot_read(const struct kp_store *store, uint8_t out[16])
{
    char text[64] = {0};
    memset(out, 0, 16);
    int fd =
        store->opts.manual ? -1 : open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    uint32_t digits = 0;
    for (ssize_t i = 0; i < got && digits < 32; i++) {
        const char *hex = "0123456789abcdef";
        const char *found = text[i] == '\0' ? NULL : strchr(hex, text[i]);
        if (found == NULL)
            continue;
        out[digits / 2] = (uint8_t)(out[digits / 2] << 4 | (found - hex));
        digits++;
    }
}

/* ---------- the chain so far ---------- */

static void genesis_resume(struct resuming *r, const struct kpi_chain_record *record)
{
    struct kpi_evidence *evidence = r->evidence;
    evidence->every = record->genesis.every;
    evidence->seals = evidence->epochs = 0;
    evidence->marks.count = 0;
    if (evidence->chain.count == 0) { /* not one that begins anew */
        evidence->sealed = (struct kpi_log_digest){.sequence = record->genesis.wal_seq};
        evidence->segment_last = evidence->segment_genesis = record->genesis.segment_last;
        evidence->wal_genesis = record->genesis.wal_seq;
    }
}

static kp_status seal_resume(struct kpi_evidence *evidence, const struct kpi_chain_seal *seal)
{
    struct kpi_mark mark = {seal->seal, seal->wal_seq, seal->wal_head};
    evidence->seals = seal->seal;
    evidence->epochs = seal->last;
    if (mark.wal_seq <= evidence->sealed.sequence)
        return KP_OK;
    return kpi_marks_add(&evidence->marks, &mark) ? KP_OK : KP_NO_MEMORY;
}

static kp_status record_resume(struct resuming *r, const struct kpi_chain_record *record)
{
    struct kpi_evidence *evidence = r->evidence;
    kp_status status = KP_OK;
    if (record->type == KPI_CHAIN_GENESIS)
        genesis_resume(r, record);
    else if (record->type == KPI_CHAIN_SEAL)
        status = seal_resume(evidence, &record->seal);
    else if (record->type == KPI_CHAIN_SEGMENT)
        status = kpi_evidence_register(evidence, &record->segment) ? KP_OK : KP_NO_MEMORY;
    else if (record->type == KPI_CHAIN_COLD)
        status = kpi_evidence_register_cold(evidence, &record->cold) ? KP_OK : KP_NO_MEMORY;
    else if (record->type == KPI_CHAIN_DROP)
        kpi_evidence_unregister(evidence, record->drop.id);
    if (record->type == KPI_CHAIN_GENESIS || record->type == KPI_CHAIN_SEAL) {
        evidence->last_wall = record->wall;
        evidence->last_mono = record->mono;
        memcpy(evidence->last_boot, record->boot, sizeof(record->boot));
    }
    return status == KP_OK ? kpi_chain_take(&evidence->chain, record) : status;
}

/* What does not verify is kept where it stands when something whole follows it. */
static bool on_chain_record(void *ctx, uint64_t place, const struct kpi_chain_record *record,
                            bool valid)
{
    struct resuming *r = ctx;
    (void)place;
    if (!valid) {
        kp_buf_add(&r->held, record, sizeof(*record));
        r->status = r->held.failed ? KP_NO_MEMORY : r->status;
        return r->status == KP_OK;
    }
    for (size_t at = 0; at < r->held.size && r->status == KP_OK; at += KPI_CHAIN_RECORD) {
        struct kpi_chain_record bad;
        memcpy(&bad, r->held.data + at, sizeof(bad));
        r->status = kpi_chain_take(&r->evidence->chain, &bad);
    }
    kp_buf_clear(&r->held);
    if (r->status == KP_OK)
        r->status = record_resume(r, record);
    return r->status == KP_OK;
}

/* ---------- what the chain lacks ---------- */

static kp_status segment_resume(struct resuming *r, const struct kpi_segment_meta *meta,
                                const struct kpi_log_digest *digest)
{
    struct kpi_chain_segment segment;
    struct kpi_content content = {0};
    struct kp_buf path = {0};
    kp_status status = kpi_evidence_describe(r->store, r->queue, meta, digest, &segment);
    kpi_segment_path(r->store->dir, meta->id, &path);
    if (status == KP_OK)
        status = kpi_content_segment(&content, r->store->io, r->queue, kp_buf_cstr(&path));
    kp_buf_deinit(&path);
    segment.content = content.sum;
    kpi_content_deinit(&content);
    if (status == KP_NO_MEMORY)
        return status;
    if (status != KP_OK)
        return KP_OK; /* it does not read: verify says that it is not in the chain */
    struct kpi_chain_record *record = kpi_evidence_add(r->evidence, KPI_CHAIN_SEGMENT);
    if (record == NULL || !kpi_evidence_register(r->evidence, &segment))
        return KP_NO_MEMORY;
    kpi_evidence_stamp(r->store, r->evidence->last_mono, record, NULL);
    record->segment = segment;
    return KP_OK;
}

/* Segments of the manifest whose log records end here. */
static kp_status segments_resume(struct resuming *r, const struct kpi_log_digest *digest)
{
    const struct kpi_manifest *manifest = r->manifest;
    kp_status status = KP_OK;
    while (r->segment < manifest->count && status == KP_OK &&
           (manifest->segments[r->segment].cold ||
            manifest->segments[r->segment].wal_last <= digest->sequence)) {
        const struct kpi_segment_meta *meta = &manifest->segments[r->segment++];
        if (!meta->cold) /* cold_resume's */
            status = segment_resume(r, meta, digest);
    }
    return status;
}

static bool registered(const struct kpi_evidence *evidence, uint64_t id)
{
    for (uint32_t i = 0; i < evidence->segments_count; i++)
        if (evidence->segments[i].id == id)
            return true;
    return false;
}

/* Cold segments that the chain does not have: it has those they were made of. */
static kp_status cold_resume(struct resuming *r)
{
    kp_status status = KP_OK;
    for (uint32_t i = 0; i < r->manifest->count && status == KP_OK; i++) {
        const struct kpi_segment_meta *meta = &r->manifest->segments[i];
        struct kpi_content content = {0};
        struct kp_buf path = {0};
        if (!meta->cold || meta->id <= r->evidence->segment_genesis ||
            registered(r->evidence, meta->id))
            continue;
        kpi_segment_path(r->store->dir, meta->id, &path);
        status = kpi_content_segment(&content, r->store->io, r->queue, kp_buf_cstr(&path));
        if (status == KP_OK)
            status = kpi_evidence_add_cold(r->store, r->queue, meta, content.sum);
        kp_buf_deinit(&path);
        kpi_content_deinit(&content);
        status = status == KP_NO_MEMORY ? status : KP_OK; /* else verify says what is wrong */
    }
    return status;
}

static bool on_log_record(void *ctx, const struct kpi_wal_record *record)
{
    struct resuming *r = ctx;
    struct kpi_evidence *evidence = r->evidence;
    if (record->sequence <= evidence->durable.sequence)
        return true;
    r->status = kpi_log_digest_add(&evidence->durable, record);
    kpi_marks_check(evidence, &evidence->durable);
    if (r->status == KP_OK)
        r->status = segments_resume(r, &evidence->durable);
    return r->status == KP_OK;
}

/* Seals over log records that are not there any more. */
static void log_check_end(struct kpi_evidence *evidence)
{
    for (uint32_t i = 0; i < evidence->marks.count; i++) {
        const struct kpi_mark *mark = &evidence->marks.items[i];
        if (mark->wal_seq <= evidence->durable.sequence)
            continue;
        struct kpi_chain_record *record = kpi_evidence_add(evidence, KPI_CHAIN_ALTERED);
        if (record != NULL)
            record->altered =
                (struct kpi_chain_altered){.seal = mark->seal, .wal_seq = mark->wal_seq};
        kp_log(KP_LOG_ERROR, "store", "the log ends before record %llu, which seal %llu covers",
               (unsigned long long)mark->wal_seq, (unsigned long long)mark->seal);
        evidence->marks.count = i;
    }
}

static kp_status log_resume(struct resuming *r, struct kp_error *err)
{
    struct kpi_evidence *evidence = r->evidence;
    const struct kpi_manifest *manifest = r->manifest;
    evidence->durable = evidence->sealed;
    while (r->segment < manifest->count &&
           manifest->segments[r->segment].id <= evidence->segment_last)
        r->segment++;
    r->status = segments_resume(r, &evidence->durable); /* all of it from before the genesis */
    bool behind = r->segment < manifest->count;
    struct kpi_wal_scan scan = {.io = r->store->io,
                                .dir = r->store->dir,
                                .store_id = r->store->store_id,
                                .after =
                                    behind ? evidence->sealed.sequence : manifest->sealed_through,
                                .each = on_log_record,
                                .ctx = r};
    struct kpi_wal_end end;
    kp_status status = kpi_wal_scan(&scan, &end, err);
    if (status != KP_OK)
        return status;
    kpi_wal_end_deinit(&end);
    if (r->status == KP_OK && r->segment < manifest->count) { /* came without its log records */
        struct kpi_log_digest unproved = {.sequence = manifest->sealed_through};
        r->status = segments_resume(r, &unproved);
        evidence->durable = unproved;
    }
    log_check_end(evidence);
    return r->status;
}

/* True when it is gone; or the cold segment that was made of it is, which the chain never had. */
static bool dropped(const struct kpi_manifest *manifest, const struct kpi_registered *segment,
                    uint32_t *out_reason)
{
    for (uint32_t i = 0; i < manifest->count; i++)
        if (manifest->segments[i].id == segment->id)
            return false;
    for (uint32_t i = 0; i < manifest->drops_count; i++) {
        const struct kpi_manifest_drop *drop = &manifest->drops[i];
        bool own = segment->id >= drop->id_first && segment->id <= drop->id_last;
        bool part = segment->id < drop->id_last && segment->wal_first >= drop->wal_first &&
                    segment->wal_last <= drop->wal_last;
        if (own || part) {
            *out_reason = drop->reason;
            return true;
        }
    }
    return false;
}

static kp_status drops_resume(struct resuming *r)
{
    struct kpi_evidence *evidence = r->evidence;
    uint32_t reason;
    for (uint32_t i = 0; i < evidence->segments_count;) {
        struct kpi_registered gone = evidence->segments[i];
        if (!dropped(r->manifest, &gone, &reason)) {
            i++;
            continue;
        }
        struct kpi_chain_record *record = kpi_evidence_add(evidence, KPI_CHAIN_DROP);
        if (record == NULL)
            return KP_NO_MEMORY;
        kpi_evidence_stamp(r->store, evidence->last_mono, record, NULL);
        record->drop = (struct kpi_chain_drop){.id = gone.id,
                                               .rows = gone.rows,
                                               .bytes = gone.bytes,
                                               .root = gone.root,
                                               .reason = reason};
        kpi_evidence_unregister(evidence, gone.id);
    }
    return KP_OK;
}

/* ---------- beginning ---------- */

static kp_status genesis_fill(struct resuming *r, struct kpi_chain_record *record)
{
    struct kpi_evidence *evidence = r->evidence;
    const struct kpi_manifest *manifest = r->manifest;
    record->type = KPI_CHAIN_GENESIS;
    kpi_evidence_stamp(r->store, evidence->last_mono, record, NULL);
    record->genesis = (struct kpi_chain_genesis){
        .every = evidence->every,
        .wal_seq = r->store->durable,
        .segment_last = manifest->count > 0 ? manifest->segments[manifest->count - 1].id : 0};
    for (uint32_t i = 0; i < manifest->drops_count; i++)
        record->genesis.segment_last =
            KP_MAX(record->genesis.segment_last, manifest->drops[i].id_last);
    kp_status status = kpi_key_id(&evidence->key.secret, &record->genesis.key_id);
    return status == KP_OK ? kpi_sign_public(evidence->key.sign_seed, record->genesis.public_key)
                           : status;
}

static kp_status folder_make(const struct kp_store *store, struct kp_error *err)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof(path), "%s/evidence", store->dir);
    int result = store->io->mkdir(store->io, path);
    if (result == 0 || result == -EEXIST)
        result = store->io->sync_dir(store->io, store->dir);
    return result == 0
               ? KP_OK
               : kp_error_os(err, kp_status_from_errno(-result), -result, "cannot make %s", path);
}

static kp_status begin(struct resuming *r, struct kp_error *err)
{
    struct kpi_evidence *evidence = r->evidence;
    struct kp_store *store = r->store;
    struct kpi_chain_record genesis = {0};
    evidence->every = store->opts.seal_every;
    kp_status status = folder_make(store, err);
    if (status == KP_OK)
        status = kpi_key_make(store->opts.id_seed, &evidence->key);
    if (status == KP_OK)
        status = genesis_fill(r, &genesis);
    if (status == KP_OK)
        status = kpi_key_create(store->io, r->queue, store->dir, &evidence->key, err);
    struct kpi_chain_record made = genesis;
    if (status == KP_OK)
        genesis_resume(r, &made);
    if (status == KP_OK)
        status = kpi_chain_create(&evidence->chain, r->queue, &made, err);
    evidence->last_wall = made.wall;
    evidence->last_mono = made.mono;
    memcpy(evidence->last_boot, made.boot, sizeof(made.boot));
    evidence->durable = evidence->sealed;
    return status;
}

/* Another key, because the one that was due is gone: verify says that sealing began anew. */
static kp_status begin_anew(struct resuming *r, struct kp_error *err)
{
    struct kpi_evidence *evidence = r->evidence;
    kp_log(KP_LOG_ERROR, "store", "the sealing key of %s is lost; sealing begins anew",
           r->store->dir);
    kp_status status = kpi_key_make(0, &evidence->key);
    struct kpi_chain_record *record = kpi_evidence_add(evidence, KPI_CHAIN_GENESIS);
    if (record == NULL)
        status = KP_NO_MEMORY;
    if (status == KP_OK)
        status = genesis_fill(r, record);
    if (status == KP_OK)
        status = kpi_key_create(r->store->io, r->queue, r->store->dir, &evidence->key, err);
    if (status == KP_OK)
        genesis_resume(r, record);
    return status;
}

/* ---------- going on ---------- */

static kp_status key_resume(struct resuming *r, struct kp_error *err)
{
    struct kpi_evidence *evidence = r->evidence;
    const struct kp_store *store = r->store;
    kp_status status = kpi_key_read(store->io, r->queue, store->dir, &evidence->key);
    if (status == KP_NO_MEMORY || status == KP_IO)
        return kp_error_set(err, status, "cannot read the sealing key of %s", store->dir);
    if (status == KP_OK && evidence->key.number == evidence->seals + 1)
        return KP_OK;
    if (status != KP_OK || evidence->key.number != evidence->seals)
        return begin_anew(r, err);
    status = kpi_key_next(&evidence->key); /* the writer died between seal and key */
    if (status == KP_OK)
        status = kpi_key_replace(store->io, r->queue, store->dir, &evidence->key);
    return status == KP_OK
               ? KP_OK
               : kp_error_set(err, status, "cannot replace the sealing key of %s", store->dir);
}

static kp_status resume(struct resuming *r, struct kp_error *err)
{
    struct kpi_evidence *evidence = r->evidence;
    if (evidence->every <= 0)
        return kp_error_set(err, KP_CORRUPT, "the chain of seals of %s has no beginning",
                            r->store->dir);
    kp_status status = key_resume(r, err);
    if (status == KP_OK)
        status = log_resume(r, err);
    if (status == KP_OK)
        status = cold_resume(r);
    if (status == KP_OK)
        status = drops_resume(r);
    if (status == KP_OK)
        status = kpi_chain_open(&evidence->chain, err);
    if (status == KP_OK)
        status = kpi_evidence_flush(evidence, r->queue);
    return status;
}

/* What a crash left; one of them may hold a key. */
static void tmp_remove(const struct kp_store *store)
{
    static const char *const names[] = {"key.tmp", "chain.tmp"};
    char path[PATH_SIZE];
    for (size_t i = 0; i < KP_ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s/evidence/%s", store->dir, names[i]);
        store->io->unlink(store->io, path);
    }
}

kp_status kpi_evidence_open(struct kp_store *store, struct kp_io_queue *queue,
                            const struct kpi_manifest *manifest, struct kp_error *err)
{
    struct kpi_evidence *evidence = calloc(1, sizeof(*evidence));
    if (evidence == NULL)
        return kp_error_set(err, KP_NO_MEMORY, "no memory for the seals");
    pthread_mutex_init(&evidence->lock, NULL);
    store->evidence = evidence;
    evidence->first = true;
    evidence->chain.io = store->io;
    evidence->chain.dir = store->dir;
    evidence->chain.seed = kpi_store_seed(store->store_id);
    boot_read(store, evidence->boot);
    tmp_remove(store);
    struct resuming r = {
        .store = store, .evidence = evidence, .queue = queue, .manifest = manifest};
    uint64_t records;
    kp_status status = kpi_chain_read(store->io, queue, store->dir, evidence->chain.seed,
                                      on_chain_record, &r, &records, err);
    if (status == KP_OK)
        status = r.status;
    kp_buf_deinit(&r.held);
    if (status == KP_OK)
        status = resume(&r, err);
    else if (status == KP_NOT_FOUND && store->opts.seal_every > 0)
        status = begin(&r, err);
    if (status != KP_OK)
        kpi_evidence_close(store, false);
    if (status == KP_NOT_FOUND && store->opts.seal_every <= 0)
        return KP_OK; /* a store without seals stays one */
    if (status != KP_OK && (err == NULL || err->code == KP_OK))
        return kp_error_set(err, status, "cannot go on with the seals of %s: %s", store->dir,
                            kp_status_text(status));
    return status;
}
