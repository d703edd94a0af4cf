/* SPDX-License-Identifier: Apache-2.0
 *
 * The proof: what the chain says against what the directory holds. Nothing here trusts the XXH3
 * sums of the files, which anybody can make fit; what counts is SHA-256 roots under seals.
 *
 * Beside a writer the chain may grow between two steps. Then findings may be none: the proof is
 * made again until the chain stood still, and only then told.
 */
#include "storage/prove.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "storage/epoch.h"
#include "storage/segment.h"

#define TRIES    16
#define TEXT_MAX 65536 /* bytes of a checkpoint */

const char *kp_finding_word(enum kp_finding_kind kind)
{
    static const char *const words[] = {
#define KP_FINDING(ID, word, text) word,
#include "storage/finding.def"
#undef KP_FINDING
    };
    return words[kind];
}

void kpi_found(struct kpi_prover *p, enum kp_finding_kind kind, kp_time from, kp_time to,
               const char *fmt, ...)
{
    void *items = p->findings;
    uint64_t capacity = p->findings_capacity;
    p->proof.findings++;
    if (!kpi_room_for_one(&items, p->findings_count, &capacity, sizeof(*p->findings))) {
        p->status = KP_NO_MEMORY;
        return;
    }
    p->findings = items;
    p->findings_capacity = (uint32_t)capacity;
    struct kp_finding *finding = &p->findings[p->findings_count++];
    *finding = (struct kp_finding){.kind = kind, .from = from, .to = to};
    va_list args;
    va_start(args, fmt);
    vsnprintf(finding->text, sizeof(finding->text), fmt, args);
    va_end(args);
}

/* ---------- segments ---------- */

/* Without memory nothing is known, and nobody is accused: the proof ends. */
kp_status kpi_prover_noted(struct kpi_prover *p, kp_status status)
{
    if (status == KP_NO_MEMORY)
        p->status = status;
    return status;
}

const char *kpi_prover_path(struct kpi_prover *p, uint64_t id, struct kp_buf *out)
{
    kpi_segment_path(p->dir, id, out);
    const char *path = kp_buf_cstr(out);
    if (out->failed)
        p->status = KP_NO_MEMORY;
    return path;
}

static bool file_exists(struct kpi_prover *p, const char *path)
{
    struct kp_io_file *file = NULL;
    int result = p->io->open(p->io, path, KP_IO_RDONLY, &file);
    bool exists = result == 0;
    if (result == -ENOMEM)
        p->status = KP_NO_MEMORY;
    if (exists)
        p->io->close(p->io, file);
    return exists;
}

static const struct kpi_chain_segment *other_content(const struct kpi_prover *p,
                                                     const struct kpi_chain_segment *own,
                                                     const struct kp_hash128 *content,
                                                     const struct kpi_sha *root)
{
    for (uint32_t i = 0; i < p->segments_count; i++) {
        const struct kpi_chain_segment *other = &p->segments[i].segment;
        bool known = content != NULL && !p->segments[i].replaced; /* a copy has its rows */
        if (other->id != own->id && ((known && kpi_hash_equal(other->content, *content)) ||
                                     (root != NULL && kpi_sha_equal(&other->root, root))))
            return other;
    }
    return NULL;
}

/* True when the other file stands where this one should: they were exchanged. */
static bool exchanged(struct kpi_prover *p, const struct kpi_chain_segment *own,
                      const struct kpi_chain_segment *other)
{
    struct kp_buf path = {0};
    struct kpi_segment_digest file;
    const char *name = kpi_prover_path(p, other->id, &path);
    kp_status status = kpi_prover_noted(p, kpi_segment_digest(p->io, p->queue, name, &file));
    kp_buf_deinit(&path);
    return status == KP_OK && kpi_sha_equal(&file.root, &own->root);
}

/* Rows that do not read are not told apart. */
static void rows_differ(struct kpi_prover *p, const struct kpi_proved_segment *proved,
                        const struct kpi_segment_digest *file, const struct kpi_content *content)
{
    const struct kpi_chain_segment *own = &proved->segment;
    bool more = content->rows > own->rows;
    uint64_t rows = more ? content->rows - own->rows : own->rows - content->rows;
    if (rows != 0)
        kpi_found(p, more ? KP_FINDING_INSERTED : KP_FINDING_DELETED, proved->from, proved->to,
                  "segment %" PRIu64 " has %" PRIu64 " rows %s than the %" PRIu64
                  " that were sealed",
                  own->id, rows, more ? "more" : "fewer", own->rows);
    else if (!kpi_sha_equal(&file->clock, &own->clock))
        kpi_found(p, KP_FINDING_CLOCK, proved->from, proved->to,
                  "the clock anchors in segment %" PRIu64 " are not those that were sealed",
                  own->id);
    else
        kpi_found(p, KP_FINDING_EDITED, proved->from, proved->to,
                  "segment %" PRIu64 " is not what was sealed: its rows are %s", own->id,
                  kpi_hash_equal(content->sum, own->content) ? "the same, its other bytes are not"
                                                             : "others");
}

/* The file is not the one that was sealed: in which way? */
static void segment_differs(struct kpi_prover *p, const struct kpi_proved_segment *proved,
                            const struct kpi_segment_digest *file, const char *path)
{
    const struct kpi_chain_segment *own = &proved->segment;
    struct kpi_content content = {0};
    kp_status status = kpi_content_segment(&content, p->io, p->queue, path);
    bool read = status == KP_OK && content.rows > 0;
    const struct kpi_chain_segment *other =
        other_content(p, own, read ? &content.sum : NULL, &file->root);
    p->status = status == KP_NO_MEMORY ? status : p->status;
    if (other != NULL && exchanged(p, own, other))
        kpi_found(p, KP_FINDING_REORDERED, proved->from, proved->to,
                  "segments %" PRIu64 " and %" PRIu64 " were exchanged", own->id, other->id);
    else if (other != NULL)
        kpi_found(p, KP_FINDING_REPLAYED, proved->from, proved->to,
                  "segment %" PRIu64 " holds the rows of segment %" PRIu64, own->id, other->id);
    else if (file->id != own->id)
        kpi_found(p, KP_FINDING_REPLAYED, proved->from, proved->to,
                  "segment %" PRIu64 " is a file that was segment %" PRIu64, own->id, file->id);
    else if (read)
        rows_differ(p, proved, file, &content);
    else
        kpi_found(p, KP_FINDING_EDITED, proved->from, proved->to,
                  "segment %" PRIu64 " is not what was sealed: it does not read", own->id);
    kpi_content_deinit(&content);
}

static void lineage_check(struct kpi_prover *p, const struct kpi_proved_segment *proved,
                          const char *path)
{
    struct kpi_content content = {0};
    kp_status status = kpi_content_segment(&content, p->io, p->queue, path);
    if (status == KP_NO_MEMORY)
        p->status = status;
    else if (status != KP_OK || !kpi_hash_equal(content.sum, proved->segment.content))
        kpi_found(p, KP_FINDING_EDITED, proved->from, proved->to,
                  "segment %" PRIu64 " has other rows than the log records it was made of",
                  proved->segment.id);
    kpi_content_deinit(&content);
}

static void file_check(struct kpi_prover *p, const struct kpi_proved_segment *proved)
{
    struct kp_buf path = {0};
    struct kpi_segment_digest file;
    const char *name = kpi_prover_path(p, proved->segment.id, &path);
    kp_status status = kpi_prover_noted(p, kpi_segment_digest(p->io, p->queue, name, &file));
    if (status != KP_OK && !file_exists(p, name))
        kpi_found(p, KP_FINDING_DELETED, proved->from, proved->to,
                  "segment %" PRIu64 " is gone: its file is missing", proved->segment.id);
    else if (status != KP_OK)
        kpi_found(p, KP_FINDING_EDITED, proved->from, proved->to,
                  "segment %" PRIu64 " does not read", proved->segment.id);
    else if (!kpi_sha_equal(&file.root, &proved->segment.root))
        segment_differs(p, proved, &file, name);
    else if (p->opts->full)
        lineage_check(p, proved, name);
    kp_buf_deinit(&path);
}

/* ---------- the manifest ---------- */

static struct kpi_proved_segment *proved_find(struct kpi_prover *p, uint64_t id)
{
    for (uint32_t i = p->segments_count; i-- > 0;)
        if (p->segments[i].segment.id == id)
            return &p->segments[i];
    return NULL;
}

static void named_check(struct kpi_prover *p, const struct kpi_segment_meta *meta,
                        struct kpi_proved_segment *proved)
{
    const struct kpi_chain_segment *segment = &proved->segment;
    uint64_t before = p->proof.findings;
    proved->seen = true;
    if (!proved->dropped && !proved->replaced)
        file_check(p, proved);
    if (p->proof.findings != before)
        return;
    if (proved->dropped || proved->replaced)
        kpi_found(p, KP_FINDING_MANIFEST, proved->from, proved->to,
                  "the manifest names segment %" PRIu64 ", which %s", meta->id,
                  proved->dropped ? "retention dropped" : "another took the place of");
    else if (meta->wal_first != segment->wal_first || meta->wal_last != segment->wal_last ||
             meta->rows != segment->rows || meta->bytes != segment->bytes)
        kpi_found(p, KP_FINDING_MANIFEST, proved->from, proved->to,
                  "the manifest tells of segment %" PRIu64 " what was not sealed", meta->id);
}

struct coverage {
    uint64_t last; /* log record wanted */
    bool reached;
    struct kpi_content content;
    kp_status status;
};

static bool on_covered(void *ctx, const struct kpi_wal_record *record)
{
    struct coverage *c = ctx;
    if (record->sequence > c->last)
        return false;
    c->reached = record->sequence == c->last;
    c->status = kpi_content_blocks(&c->content, record->payload, record->payload_size);
    return !c->reached && c->status == KP_OK;
}

/* A segment behind the chain is honest while the log records it was made of are still there and say
 * the same. */
static bool log_covers(struct kpi_prover *p, const struct kpi_segment_meta *meta)
{
    struct coverage c = {.last = meta->wal_last};
    struct kpi_content rows = {0};
    struct kp_buf path = {0};
    struct kpi_wal_end end;
    struct kpi_wal_scan scan = {.io = p->io,
                                .dir = p->dir,
                                .store_id = p->manifest.store_id,
                                .after = meta->wal_first - 1,
                                .each = on_covered,
                                .ctx = &c};
    kp_status status = kpi_wal_scan(&scan, &end, NULL);
    if (status == KP_OK)
        kpi_wal_end_deinit(&end);
    const char *name = kpi_prover_path(p, meta->id, &path);
    kpi_prover_noted(p, c.status);
    if (kpi_prover_noted(p, status) == KP_OK && c.status == KP_OK)
        status = kpi_prover_noted(p, kpi_content_segment(&rows, p->io, p->queue, name));
    bool covers = status == KP_OK && c.status == KP_OK && c.reached &&
                  kpi_hash_equal(rows.sum, c.content.sum);
    kpi_content_deinit(&rows);
    kpi_content_deinit(&c.content);
    kp_buf_deinit(&path);
    return covers;
}

static void unnamed_check(struct kpi_prover *p, const struct kpi_segment_meta *meta)
{
    uint64_t after = p->log.sequence;
    bool newer = p->segments_count == 0 || meta->id > p->segments[p->segments_count - 1].segment.id;
    if (meta->id <= p->genesis.genesis.segment_last)
        p->proof.segments_before++;
    else if (meta->cold && kpi_prove_parts_cover(p, meta))
        p->proof.segments++;
    else if (newer && meta->wal_first > after && log_covers(p, meta))
        p->proof.segments_after++;
    else
        kpi_found(p, KP_FINDING_INSERTED, meta->ts_min, meta->ts_max,
                  "segment %" PRIu64 " was never sealed", meta->id);
}

static bool buried(const struct kpi_prover *p, uint64_t id)
{
    for (uint32_t i = 0; i < p->manifest.drops_count; i++)
        if (id >= p->manifest.drops[i].id_first && id <= p->manifest.drops[i].id_last)
            return true;
    return false;
}

/* Sealed, not dropped, and not in the manifest. A writer that died between a tombstone and its
 * record in the chain left the file. */
static void unseen_check(struct kpi_prover *p, const struct kpi_proved_segment *proved)
{
    struct kp_buf path = {0};
    uint64_t id = proved->segment.id;
    if (proved->seen || proved->dropped || proved->replaced)
        return;
    bool there = file_exists(p, kpi_prover_path(p, id, &path));
    if (there && buried(p, id))
        p->proof.drops_after++;
    else if (there)
        kpi_found(p, KP_FINDING_MANIFEST, proved->from, proved->to,
                  "the manifest does not name segment %" PRIu64 ", whose file is there", id);
    else
        kpi_found(p, KP_FINDING_DELETED, proved->from, proved->to,
                  "segment %" PRIu64 " is gone, with no tombstone in the chain", id);
    kp_buf_deinit(&path);
}

static void manifest_check(struct kpi_prover *p)
{
    if (p->last.type == KPI_CHAIN_SEAL && p->manifest.version < p->last.seal.manifest)
        kpi_found(p, KP_FINDING_MANIFEST, p->last.wall, p->last.wall,
                  "the manifest is of version %" PRIu64 ", seal %" PRIu64 " was made at %" PRIu64,
                  p->manifest.version, p->last.seal.seal, p->last.seal.manifest);
    for (uint32_t i = 0; i < p->manifest.count && p->status == KP_OK; i++) {
        struct kpi_proved_segment *proved = proved_find(p, p->manifest.segments[i].id);
        if (proved != NULL)
            named_check(p, &p->manifest.segments[i], proved);
        else
            unnamed_check(p, &p->manifest.segments[i]);
    }
    for (uint32_t i = 0; i < p->segments_count && p->status == KP_OK; i++) {
        unseen_check(p, &p->segments[i]);
        p->proof.segments += !p->segments[i].dropped && !p->segments[i].replaced;
        p->proof.dropped += p->segments[i].dropped;
    }
}

/* ---------- the log ---------- */

struct log_one {
    uint64_t sequence, rows;
    struct kp_hash128 set; /* of this record */
};

struct log_check {
    struct kpi_prover *p;
    uint32_t seal;                 /* next one to meet */
    struct kpi_log_digest at_last; /* at the seal (or segment) before */
    struct kpi_log_digest base;    /* at the segment */
    struct log_one *records;
    uint64_t count, capacity;
    const struct kpi_chain_record *differs; /* first seal that the log does not match */
    struct kpi_log_digest before;           /* at_last then */
    uint64_t rows;                          /* between them */
};

static struct kpi_log_digest seal_digest(const struct kpi_chain_seal *seal)
{
    return (struct kpi_log_digest){.sequence = seal->wal_seq,
                                   .rows = seal->rows,
                                   .head = seal->wal_head,
                                   .set = seal->wal_set};
}

/* Sum of the payloads of the records up to a sequence. */
static struct kp_hash128 set_to(const struct log_check *c, uint64_t sequence)
{
    struct kp_hash128 set = c->base.set;
    for (uint64_t i = 0; i < c->count && c->records[i].sequence <= sequence; i++)
        set = kpi_sum128(set, c->records[i].set);
    return set;
}

/* True when taking one record out gives the log that was sealed. */
static bool one_too_many(const struct log_check *c, const struct kpi_chain_seal *last)
{
    struct kp_hash128 extra = kpi_difference128(set_to(c, last->wal_seq + 1), last->wal_set);
    for (uint64_t i = 0; i < c->count; i++)
        if (kpi_hash_equal(c->records[i].set, extra))
            return true;
    return false;
}

/* In which way is the log not what it was? Known only when all of it was read. */
static enum kp_finding_kind log_differs(const struct log_check *c)
{
    const struct kpi_prover *p = c->p;
    const struct kpi_chain_seal *last = &p->seals[p->seals_count - 1].seal;
    uint64_t end = c->count > 0 ? c->records[c->count - 1].sequence : c->base.sequence;
    uint64_t wanted = c->differs->seal.rows - c->before.rows;
    if (end < last->wal_seq)
        return KP_FINDING_DELETED;
    if (kpi_hash_equal(set_to(c, last->wal_seq), last->wal_set))
        return KP_FINDING_REORDERED;
    if (one_too_many(c, last))
        return KP_FINDING_INSERTED;
    if (c->rows != wanted)
        return c->rows < wanted ? KP_FINDING_DELETED : KP_FINDING_INSERTED;
    return KP_FINDING_EDITED;
}

static void log_differs_tell(const struct log_check *c)
{
    struct kpi_prover *p = c->p;
    const struct kpi_chain_record *seal = c->differs;
    kpi_found(p, log_differs(c), kpi_epoch_begin(p, seal), seal->wall,
              "log records %" PRIu64 " to %" PRIu64 " are not those that seal %" PRIu64
              " covers: %" PRIu64 " rows, sealed were %" PRIu64,
              c->before.sequence + 1, seal->seal.wal_seq, seal->seal.seal, c->rows,
              seal->seal.rows - c->before.rows);
}

static void seal_meet(struct log_check *c, const struct kpi_chain_record *record)
{
    struct kpi_prover *p = c->p;
    if (c->differs == NULL && !kpi_sha_equal(&p->log.head, &record->seal.wal_head)) {
        c->differs = record;
        c->before = c->at_last;
        c->rows = p->log.rows - c->at_last.rows;
    }
    p->log = c->at_last = seal_digest(&record->seal); /* a finding does not follow from another */
}

/* Seals whose last record is not there although one with a higher number is. */
static void seals_skip(struct log_check *c, uint64_t sequence)
{
    struct kpi_prover *p = c->p;
    for (; c->seal < p->seals_count && p->seals[c->seal].seal.wal_seq < sequence; c->seal++) {
        const struct kpi_chain_record *record = &p->seals[c->seal];
        if (record->seal.wal_seq <= c->at_last.sequence)
            continue; /* an epoch without a record */
        kpi_found(p, KP_FINDING_DELETED, kpi_epoch_begin(p, record), record->wall,
                  "log record %" PRIu64 ", the last that seal %" PRIu64 " covers, is gone",
                  record->seal.wal_seq, record->seal.seal);
        p->log = c->at_last = seal_digest(&record->seal);
    }
}

static bool record_keep(struct log_check *c, const struct kpi_wal_record *record,
                        struct kp_hash128 before)
{
    void *items = c->records;
    bool room = kpi_room_for_one(&items, c->count, &c->capacity, sizeof(*c->records));
    c->records = items;
    if (room)
        c->records[c->count++] = (struct log_one){.sequence = record->sequence,
                                                  .rows = record->rows,
                                                  .set = kpi_difference128(c->p->log.set, before)};
    return room;
}

static bool on_log_record(void *ctx, const struct kpi_wal_record *record)
{
    struct log_check *c = ctx;
    struct kpi_prover *p = c->p;
    if (record->sequence <= p->log.sequence)
        return true;
    seals_skip(c, record->sequence);
    struct kp_hash128 before = p->log.set;
    kp_status status = kpi_log_digest_add(&p->log, record);
    if (status == KP_OK && !record_keep(c, record, before))
        status = KP_NO_MEMORY;
    p->status = p->status == KP_OK ? status : p->status;
    p->proof.log_records_after++;
    while (c->seal < p->seals_count && p->seals[c->seal].seal.wal_seq == record->sequence) {
        seal_meet(c, &p->seals[c->seal++]);
        p->proof.log_records_after = 0;
    }
    return p->status == KP_OK;
}

/* Seals that the log does not reach: one finding. */
static void log_end_check(struct log_check *c)
{
    struct kpi_prover *p = c->p;
    const struct kpi_chain_record *last = p->seals_count > 0 ? &p->seals[p->seals_count - 1] : NULL;
    if (c->differs != NULL)
        log_differs_tell(c);
    else if (last != NULL && last->seal.wal_seq > p->log.sequence)
        kpi_found(p, KP_FINDING_CUT, kpi_epoch_begin(p, last), last->wall,
                  "the log ends at record %" PRIu64 ", seal %" PRIu64 " covers it up to %" PRIu64,
                  p->log.sequence, last->seal.seal, last->seal.wal_seq);
}

static kp_status log_check(struct kpi_prover *p, struct kp_error *err)
{
    struct log_check c = {.p = p, .at_last = p->log, .base = p->log};
    bool behind =
        p->proof.segments_after > 0; /* segments that are not sealed: the log proves them */
    struct kpi_wal_scan scan = {.io = p->io,
                                .dir = p->dir,
                                .store_id = p->manifest.store_id,
                                .after = behind ? p->log.sequence : p->manifest.sealed_through,
                                .each = on_log_record,
                                .ctx = &c};
    if (!behind && scan.after > p->log.sequence && p->proof.findings > 0)
        return KP_OK; /* the manifest is not that of the chain: told */
    struct kpi_wal_end end;
    kp_status status = kpi_wal_scan(&scan, &end, err);
    if (status == KP_OK) {
        kpi_wal_end_deinit(&end);
        log_end_check(&c);
    }
    free(c.records);
    return status == KP_OK ? p->status : status;
}

/* ---------- heads and keys ---------- */

static void root_text(struct kpi_prover *p)
{
    struct kpi_sha root;
    kp_status status = kpi_merkle_root(&p->tree, &root);
    p->status = status == KP_OK ? p->status : status;
    for (size_t i = 0; i < KPI_SHA_SIZE && status == KP_OK; i++)
        snprintf(p->proof.root + 2 * i, 3, "%02x", root.bytes[i]);
}

/* A root that was known before. */
static bool head_check(struct kpi_prover *p, const struct kpi_head *head, const char *name)
{
    if (!head->given)
        return false;
    if (!head->reached)
        kpi_found(p, KP_FINDING_CUT, p->proof.to, p->proof.to,
                  "%s tells of %" PRIu64 " records, the chain has %" PRIu64, name, head->head.size,
                  p->tree.size);
    else if (!kpi_sha_equal(&head->root, &head->head.root))
        kpi_found(p, KP_FINDING_EDITED, p->proof.from, p->proof.to,
                  "the first %" PRIu64 " records of the chain are not those that %s signs",
                  head->head.size, name);
    else
        return true;
    return false;
}

static void own_check(struct kpi_prover *p)
{
    struct kpi_checkpoint signed_one;
    struct kp_str text = {p->own_text.data, (uint32_t)p->own_text.size};
    if (p->own_text.size == 0)
        return;
    if (kpi_checkpoint_parse(text, p->manifest.store_id, p->genesis.genesis.public_key,
                             &signed_one) != KP_OK)
        kpi_found(p, KP_FINDING_CHECKPOINT, p->proof.to, p->proof.to,
                  "the file checkpoint is not signed by the key of this chain");
    else
        head_check(p, &p->own, "the file checkpoint");
}

static void given_check(struct kpi_prover *p)
{
    struct kp_buf signer = {0};
    struct kpi_checkpoint signed_one;
    kp_status status = kpi_checkpoint_parse(p->opts->head, p->manifest.store_id,
                                            p->genesis.genesis.public_key, &signed_one);
    if (p->opts->head.len > 0 && status == KP_CORRUPT)
        kpi_found(p, KP_FINDING_CHECKPOINT, p->proof.to, p->proof.to,
                  "the head that was given is not signed by the key of this chain");
    p->proof.headed = head_check(p, &p->head, "the head that was given") && status == KP_OK;
    status = kpi_checkpoint_signer(p->manifest.store_id, p->genesis.genesis.public_key, &signer);
    if (p->key.given && status == KP_OK && strcmp(kp_buf_cstr(&signer), p->key.signer) != 0)
        kpi_found(p, KP_FINDING_KEY, p->proof.from, p->proof.to,
                  "the chain names another signer than the key file: it is not the same chain");
    kp_buf_deinit(&signer);
}

/* The key that lies in the directory must be the next one. A copy of a store may be without. */
static void next_key_check(struct kpi_prover *p)
{
    struct kpi_key own;
    struct kpi_key step = {.number = p->key.number, .secret = p->key.secret};
    uint64_t seals = p->proof.seals;
    if (kpi_key_read(p->io, p->queue, p->dir, &own) != KP_OK)
        return;
    if (own.number > seals + 1) {
        kpi_found(p, KP_FINDING_CUT, p->proof.to, p->proof.to,
                  "the chain ends with seal %" PRIu64 ", the key is that of seal %" PRIu64, seals,
                  own.number);
        return;
    }
    if (own.number < seals) {
        kpi_found(p, KP_FINDING_KEY, p->proof.to, p->proof.to,
                  "the key is that of seal %" PRIu64 ", the chain ends with seal %" PRIu64,
                  own.number, seals);
        return;
    }
    if (!p->key.given || p->tags_lost || step.number > own.number)
        return;
    while (step.number < own.number && p->status == KP_OK)
        p->status = kpi_key_next(&step);
    p->proof.key_follows = kpi_sha_equal(&step.secret, &own.secret);
    if (!p->proof.key_follows)
        kpi_found(p, KP_FINDING_CUT, p->proof.to, p->proof.to,
                  "the key in the directory does not follow seal %" PRIu64
                  ": seals behind it were taken away",
                  seals);
}

/* ---------- one proof ---------- */

static void prover_reset(struct kpi_prover *p)
{
    kpi_manifest_deinit(&p->manifest);
    kp_buf_deinit(&p->held);
    kp_buf_deinit(&p->own_text);
    free(p->findings);
    free(p->leaves);
    free(p->missing);
    free(p->segments);
    free(p->seals);
    struct kpi_prover clean = {.io = p->io, .queue = p->queue, .dir = p->dir, .opts = p->opts};
    *p = clean;
}

static kp_status texts_read(struct kpi_prover *p, struct kp_error *err)
{
    struct kp_buf signer = {0};
    const uint8_t *id = p->manifest.store_id;
    kp_status status = kp_checkpoint_read(p->dir, p->io, &p->own_text, &signer, NULL);
    struct kp_str own = {p->own_text.data, (uint32_t)p->own_text.size};
    kp_buf_deinit(&signer);
    p->own.given = status == KP_OK && kpi_checkpoint_parse(own, id, NULL, &p->own.head) == KP_OK;
    status = p->opts->head.len == 0 ? KP_OK
                                    : kpi_checkpoint_parse(p->opts->head, id, NULL, &p->head.head);
    p->head.given = p->opts->head.len > 0;
    if (status == KP_INVALID)
        return kp_error_set(err, KP_INVALID, "the head is not the text of a checkpoint");
    if (status == KP_NOT_FOUND)
        return kp_error_set(err, KP_INVALID, "the head is of another store than %s", p->dir);
    if (p->opts->secret.len > 0 && !kpi_secret_parse(p->opts->secret, id, &p->key))
        return kp_error_set(err, KP_INVALID, "the seal key is not one of %s", p->dir);
    return status;
}

static kp_status chain_missing(struct kpi_prover *p)
{
    if (p->head.given || p->key.given || p->own_text.size > 0)
        kpi_found(p, KP_FINDING_CUT, 1, 0, "the whole chain of seals is gone");
    p->proof.segments_before = p->manifest.count;
    return p->status;
}

static kp_status prove_once(struct kpi_prover *p, struct kp_error *err)
{
    kp_status status = kpi_manifest_read(p->io, p->dir, &p->manifest, NULL, NULL, err);
    if (status == KP_OK)
        status = texts_read(p, err);
    if (status != KP_OK)
        return status;
    status = kpi_prove_chain(p, err);
    if (status == KP_NOT_FOUND)
        return chain_missing(p);
    if (status != KP_OK || !p->genesis_known)
        return status;
    p->proof.sealed = true;
    root_text(p);
    own_check(p);
    given_check(p);
    next_key_check(p);
    p->proof.keyed = p->key.given && !p->tags_lost && p->seals_tagged > 0;
    manifest_check(p);
    return p->status == KP_OK ? log_check(p, err) : p->status;
}

static bool count_only(void *ctx, uint64_t place, const struct kpi_chain_record *record, bool valid)
{
    (void)ctx, (void)place, (void)record, (void)valid;
    return true;
}

/* True when a writer appended meanwhile. */
static bool chain_moved(struct kpi_prover *p)
{
    uint64_t now = 0;
    kp_status status = kpi_chain_read(p->io, p->queue, p->dir, kpi_store_seed(p->manifest.store_id),
                                      count_only, NULL, &now, NULL);
    return status == KP_OK && now != p->size;
}

kp_status kp_prove(const char *dir, const struct kp_io *io, const struct kp_prove_opts *opts,
                   void (*found)(void *ctx, const struct kp_finding *finding), void *ctx,
                   struct kp_proof *out, struct kp_error *err)
{
    struct kpi_prover p = {.io = io != NULL ? io : kp_io_default(), .dir = dir, .opts = opts};
    kp_status status = p.io->queue_open(p.io, 4, &p.queue);
    if (status != KP_OK)
        return kp_error_set(err, status, "cannot prove %s: no I/O queue", dir);
    for (int i = 0; i < TRIES; i++) {
        prover_reset(&p);
        status = prove_once(&p, err);
        status = p.status == KP_NO_MEMORY ? p.status : status;
        bool settled = status != KP_BUSY && (status != KP_OK || p.proof.findings == 0);
        if (settled || (status == KP_OK && !chain_moved(&p)))
            break;
    }
    for (uint32_t i = 0; i < p.findings_count && status == KP_OK && found != NULL; i++)
        found(ctx, &p.findings[i]);
    if (status == KP_OK) {
        *out = p.proof;
        if (p.proof.findings > 0)
            status =
                kp_error_set(err, KP_CORRUPT, "%s is not what was sealed: %" PRIu64 " findings",
                             dir, p.proof.findings);
    } else if (status == KP_NO_MEMORY) {
        kp_error_set(err, status, "cannot prove %s: out of memory", dir);
    }
    prover_reset(&p);
    p.io->queue_close(p.queue);
    return status;
}

/* ---------- texts for people and witnesses ---------- */

static kp_status note_read(const struct kp_io *io, struct kp_io_queue *queue, const char *dir,
                           struct kp_buf *out)
{
    struct kp_buf path = {0};
    struct kp_io_file *file = NULL;
    kp_buf_printf(&path, "%s/checkpoint", dir);
    int result = path.failed ? -ENOMEM : io->open(io, kp_buf_cstr(&path), KP_IO_RDONLY, &file);
    kp_buf_deinit(&path);
    if (result != 0)
        return kp_status_from_errno(-result);
    void *room = kp_buf_reserve(out, TEXT_MAX);
    int64_t got =
        room == NULL ? -ENOMEM : kp_io_once(io, queue, KP_IO_READ, file, room, TEXT_MAX, 0);
    io->close(io, file);
    out->size += got > 0 ? (size_t)got : 0;
    return got >= 0 ? KP_OK : kp_status_from_errno((int)-got);
}

static bool on_first(void *ctx, uint64_t place, const struct kpi_chain_record *record, bool valid)
{
    if (place == 0 && valid && record->type == KPI_CHAIN_GENESIS)
        *(struct kpi_chain_record *)ctx = *record;
    return false;
}

static kp_status signer_read(const struct kp_io *io, struct kp_io_queue *queue, const char *dir,
                             struct kp_buf *out, struct kp_error *err)
{
    uint8_t id[KPI_ID_SIZE];
    struct kpi_chain_record first = {0};
    uint64_t records;
    kp_status status = kpi_manifest_store_id(io, dir, id, err);
    if (status == KP_OK)
        status =
            kpi_chain_read(io, queue, dir, kpi_store_seed(id), on_first, &first, &records, err);
    return status == KP_OK ? kpi_checkpoint_signer(id, first.genesis.public_key, out) : status;
}

kp_status kp_checkpoint_read(const char *dir, const struct kp_io *io, struct kp_buf *out_note,
                             struct kp_buf *out_signer, struct kp_error *err)
{
    struct kp_io_queue *queue = NULL;
    io = io != NULL ? io : kp_io_default();
    kp_status status = io->queue_open(io, 2, &queue);
    if (status != KP_OK)
        return kp_error_set(err, status, "cannot read %s: no I/O queue", dir);
    status = note_read(io, queue, dir, out_note);
    if (status == KP_NOT_FOUND)
        kp_error_set(err, status, "%s has no checkpoint: it is not sealed, or has no seal yet",
                     dir);
    else if (status != KP_OK)
        kp_error_set(err, status, "cannot read the checkpoint of %s", dir);
    else
        status = signer_read(io, queue, dir, out_signer, err);
    io->queue_close(queue);
    return status;
}

static void hex_add(struct kp_buf *out, const char *name, const uint8_t *bytes, size_t size)
{
    kp_buf_text(out, name);
    for (size_t i = 0; i < size; i++)
        kp_buf_printf(out, "%02x", bytes[i]);
    kp_buf_char(out, '\n');
}

kp_status kp_store_seal_key(struct kp_store *store, struct kp_buf *out, struct kp_error *err)
{
    struct kpi_evidence *evidence = store->evidence;
    uint8_t public_key[KPI_SIGN_KEY_SIZE];
    if (evidence == NULL)
        return kp_error_set(err, KP_UNSUPPORTED, "%s has no seals", store->dir);
    pthread_mutex_lock(&evidence->lock);
    struct kpi_key key = evidence->key;
    pthread_mutex_unlock(&evidence->lock);
    kp_status status = kpi_sign_public(key.sign_seed, public_key);
    kp_buf_printf(out, "kprobe seal key 1\n");
    hex_add(out, "store ", store->store_id, KPI_ID_SIZE);
    kp_buf_printf(out, "seal %" PRIu64 "\n", key.number);
    hex_add(out, "key ", key.secret.bytes, KPI_SHA_SIZE);
    kp_buf_text(out, "signer ");
    if (status == KP_OK)
        status = kpi_checkpoint_signer(store->store_id, public_key, out);
    kp_buf_char(out, '\n');
    kpi_wipe(&key, sizeof(key));
    return status == KP_OK && out->failed ? KP_NO_MEMORY : status;
}
