/* SPDX-License-Identifier: Apache-2.0
 *
 * The chain of seals, read from its beginning. Each record is held against its number, the hash of
 * the one before, the epochs and clocks of the seal before, and, with the auditor's secret, the key
 * of its number. What does not fit is named by the first thing that is wrong; what follows from it
 * is not told again.
 *
 * The two published breaks of another sealed log (entries sealed anew with a younger key; epochs
 * without entries left unsealed, so that a tail could go) are findings here: a seal must verify
 * with the key of its own number, and numbers and epochs have no holes.
 */
#include "storage/prove.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"

#define KEYS_AHEAD  (1u << 20)    /* of the last key that is known: 121 days of seals */
#define CLOCK_SLACK (100 * KP_MS) /* a clock that is not touched does not run away further */

bool kpi_room_for_one(void **items, uint64_t count, uint64_t *capacity, size_t item)
{
    if (count < *capacity)
        return true;
    uint64_t wanted = *capacity == 0 ? 64 : *capacity * 2;
    void *more = realloc(*items, wanted * item);
    if (more == NULL)
        return false;
    *items = more;
    *capacity = wanted;
    return true;
}

/* ---------- the secret ---------- */

static bool word_next(struct kp_str *text, const char *name, struct kp_str *out)
{
    size_t length = strlen(name);
    if (text->len <= length || memcmp(text->ptr, name, length) != 0)
        return false;
    const char *begin = text->ptr + length;
    const char *end = memchr(begin, '\n', text->len - length);
    if (end == NULL)
        return false;
    *out = (struct kp_str){begin, (uint32_t)(end - begin)};
    text->len -= (uint32_t)(end + 1 - text->ptr);
    text->ptr = end + 1;
    return true;
}

static bool hex_read(struct kp_str text, uint8_t *out, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    if (text.len != size * 2)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        const char *found = text.ptr[i] == '\0' ? NULL : strchr(digits, text.ptr[i]);
        if (found == NULL)
            return false;
        out[i / 2] = (uint8_t)(out[i / 2] << 4 | (found - digits));
    }
    return true;
}

bool kpi_secret_parse(struct kp_str text, const uint8_t store_id[KPI_ID_SIZE],
                      struct kpi_secret *out)
{
    struct kp_str title, store, seal, key, signer;
    struct kpi_secret secret = {.given = true};
    uint8_t id[KPI_ID_SIZE] = {0};
    if (!word_next(&text, "kprobe seal key", &title) || !word_next(&text, "store ", &store) ||
        !word_next(&text, "seal ", &seal) || !word_next(&text, "key ", &key) ||
        !word_next(&text, "signer ", &signer) || signer.len >= sizeof(secret.signer))
        return false;
    for (uint32_t i = 0; i < seal.len; i++)
        if (seal.ptr[i] < '0' || seal.ptr[i] > '9' || i > 18)
            return false;
        else
            secret.number = secret.number * 10 + (uint64_t)(seal.ptr[i] - '0');
    memcpy(secret.signer, signer.ptr, signer.len);
    if (!hex_read(store, id, sizeof(id)) || !hex_read(key, secret.secret.bytes, KPI_SHA_SIZE) ||
        memcmp(id, store_id, KPI_ID_SIZE) != 0 || secret.number == 0)
        return false;
    *out = secret;
    return true;
}

/* Key `number` from the one that is at hand; it only goes forward. */
static bool key_at(struct kpi_prover *p, struct kpi_secret *key, uint64_t number)
{
    struct kpi_key step = {.number = key->number, .secret = key->secret};
    while (step.number < number && p->status == KP_OK)
        p->status = kpi_key_next(&step);
    key->number = step.number;
    key->secret = step.secret;
    return p->status == KP_OK && key->number == number;
}

/* ---------- tags ---------- */

static bool tag_fits(struct kpi_prover *p, const struct kpi_sha *secret,
                     const struct kpi_chain_record *record)
{
    struct kpi_sha tag;
    kp_status status = kpi_hmac_sha256(secret, record, KPI_CHAIN_TAGGED, &tag);
    p->status = p->status == KP_OK ? status : p->status;
    return status == KP_OK && kpi_sha_equal(&tag, &record->tag);
}

/* The number of a later key that made this tag, 0 = none up to the last that can exist. */
static uint64_t tag_maker(struct kpi_prover *p, const struct kpi_chain_record *record)
{
    struct kpi_secret key = p->key;
    struct kpi_key own;
    uint64_t last = p->size + 1;
    if (kpi_key_read(p->io, p->queue, p->dir, &own) == KP_OK && own.number < last + KEYS_AHEAD)
        last = KP_MAX(last, own.number);
    for (uint64_t n = key.number + 1; n <= last && key_at(p, &key, n); n++)
        if (tag_fits(p, &key.secret, record))
            return n;
    return 0;
}

static bool same_boot(const struct kpi_chain_record *a, const struct kpi_chain_record *b)
{
    return memcmp(a->boot, b->boot, sizeof(a->boot)) == 0;
}

/* True when the two clocks of this seal do not go together as in the seal before. */
static bool clock_jumps(const struct kpi_prover *p, const struct kpi_chain_record *record)
{
    kp_dur before = kpi_clocks_apart(p->last.mono, p->last.wall);
    kp_dur now = kpi_clocks_apart(record->mono, record->wall);
    kp_dur run = KP_MAX(kpi_clocks_apart(before, now), kpi_clocks_apart(now, before));
    return same_boot(&p->last, record) &&
           kpi_clocks_apart(record->seal.clock_bound, run) > CLOCK_SLACK;
}

/* Epochs that must have ended since the seal before. */
static uint64_t epochs_ended(const struct kpi_prover *p, const struct kpi_chain_record *record)
{
    bool same = same_boot(&p->last, record);
    kp_dur elapsed = same ? kpi_clocks_apart(p->last.mono, record->mono)
                          : kpi_clocks_apart(p->last.wall, record->wall);
    uint64_t ended = elapsed > 0 ? (uint64_t)(elapsed / p->genesis.genesis.every) : 0;
    return same && record->seal.reason != KPI_SEAL_CLOSE ? ended : KP_MAX(ended, 1);
}

static void tag_check(struct kpi_prover *p, const struct kpi_chain_record *record)
{
    uint64_t seal = record->seal.seal;
    if (!p->key.given || p->tags_lost || seal < p->key.number)
        return;
    if (seal - p->key.number > KEYS_AHEAD) {
        p->tags_lost = true;
        kpi_found(p, KP_FINDING_EDITED, p->last.wall, record->wall,
                  "seal %" PRIu64 " cannot follow seal %" PRIu64 "; what follows is unproved", seal,
                  p->proof.seals);
        return;
    }
    if (!key_at(p, &p->key, seal))
        return;
    if (tag_fits(p, &p->key.secret, record)) {
        p->seals_tagged++;
        return;
    }
    p->tags_lost = true;
    uint64_t maker = tag_maker(p, record);
    if (maker != 0)
        kpi_found(p, KP_FINDING_RESEALED, p->last.wall, record->wall,
                  "seal %" PRIu64 " was made with key %" PRIu64
                  ": this and what follows was written by who took the machine later",
                  seal, maker);
    else if (record->seal.last - record->seal.first + 1 < epochs_ended(p, record))
        kpi_found(p, KP_FINDING_UNSEALED, p->last.wall, record->wall,
                  "seals were taken out before seal %" PRIu64
                  ": more epochs passed than are sealed, and it does not verify",
                  seal);
    else if (clock_jumps(p, record))
        kpi_found(p, KP_FINDING_CLOCK, p->last.wall, record->wall,
                  "the clocks in seal %" PRIu64 " are not those it was made with", seal);
    else
        kpi_found(p, KP_FINDING_EDITED, p->last.wall, record->wall,
                  "seal %" PRIu64 " does not verify: it, or a record since the seal before, was "
                  "changed; what follows is unproved",
                  seal);
}

/* ---------- seals ---------- */

static void time_check(struct kpi_prover *p, const struct kpi_chain_record *record)
{
    const struct kpi_chain_seal *seal = &record->seal;
    uint64_t covered = seal->last - seal->first + 1, ended = epochs_ended(p, record);
    bool back = same_boot(&p->last, record) && record->mono < p->last.mono;
    if (covered < ended)
        kpi_found(p, KP_FINDING_UNSEALED, p->last.wall, record->wall,
                  "between seals %" PRIu64 " and %" PRIu64 " %" PRIu64 " epochs passed and %" PRIu64
                  " are sealed",
                  seal->seal - 1, seal->seal, ended, covered);
    else if (covered > ended || back)
        kpi_found(p, KP_FINDING_CLOCK, p->last.wall, record->wall,
                  "seal %" PRIu64 " covers %" PRIu64 " epochs, its clock says %" PRIu64, seal->seal,
                  covered, ended);
}

static bool seal_keep(struct kpi_prover *p, const struct kpi_chain_record *record)
{
    void *items = p->seals;
    uint64_t capacity = p->seals_capacity;
    bool room = kpi_room_for_one(&items, p->seals_count, &capacity, sizeof(*p->seals));
    p->seals = items;
    p->seals_capacity = (uint32_t)capacity;
    if (room)
        p->seals[p->seals_count++] = *record;
    return room;
}

static void seal_check(struct kpi_prover *p, const struct kpi_chain_record *record, bool follows)
{
    const struct kpi_chain_seal *seal = &record->seal;
    if (seal->last < seal->first) {
        kpi_found(p, KP_FINDING_EDITED, p->last.wall, record->wall,
                  "seal %" PRIu64 " makes no sense", seal->seal);
        return;
    }
    uint64_t before = p->proof.findings;
    tag_check(p, record);
    bool told = p->proof.findings != before;
    if (!told && seal->seal != p->proof.seals + 1 && follows)
        kpi_found(p, KP_FINDING_DELETED, p->last.wall, record->wall,
                  "seal %" PRIu64 " follows seal %" PRIu64, seal->seal, p->proof.seals);
    else if (!told && seal->first != p->proof.epochs + 1 && follows)
        kpi_found(p, KP_FINDING_UNSEALED, p->last.wall, record->wall,
                  "epochs %" PRIu64 " to %" PRIu64 " have no seal", p->proof.epochs + 1,
                  seal->first - 1);
    else if (!told && follows)
        time_check(p, record);
    p->proof.seals = seal->seal;
    p->proof.epochs = seal->last;
    if (seal->reason == KPI_SEAL_DOWN)
        p->proof.epochs_down += seal->last - seal->first + 1;
    p->proof.closed = seal->reason == KPI_SEAL_CLOSE;
    p->last = *record;
    if (!seal_keep(p, record))
        p->status = KP_NO_MEMORY;
}

/* ---------- the other records ---------- */

/* Before any seal, so that one finding tells it. */
static void key_id_check(struct kpi_prover *p, const struct kpi_chain_record *record)
{
    struct kpi_sha id;
    if (!p->key.given || p->key.number != 1)
        return;
    kp_status status = kpi_key_id(&p->key.secret, &id);
    p->status = status == KP_OK ? p->status : status;
    if (status != KP_OK || kpi_sha_equal(&id, &record->genesis.key_id))
        return;
    kpi_found(p, KP_FINDING_KEY, record->wall, record->wall,
              "the chain began with another key than the one given");
    p->tags_lost = true;
}

static void genesis_check(struct kpi_prover *p, const struct kpi_chain_record *record)
{
    if (record->genesis.every <= 0) {
        kpi_found(p, KP_FINDING_EDITED, record->wall, record->wall,
                  "the beginning of the chain makes no sense");
        p->genesis_known = false;
        return;
    }
    if (p->genesis_known) {
        kpi_found(p, KP_FINDING_KEY, p->last.wall, record->wall,
                  "sealing began anew behind seal %" PRIu64 ": its key was lost or taken away",
                  p->proof.seals);
        p->tags_lost = true; /* the secret is of the first key */
    } else {
        p->log = (struct kpi_log_digest){.sequence = record->genesis.wal_seq};
        p->proof.from = record->wall;
        key_id_check(p, record);
    }
    p->genesis_known = true;
    p->genesis = *record;
    p->proof.seals = p->proof.epochs = 0;
    p->last = *record;
}

static struct kpi_proved_segment *segment_find(struct kpi_prover *p, uint64_t id)
{
    for (uint32_t i = p->segments_count; i-- > 0;)
        if (p->segments[i].segment.id == id)
            return &p->segments[i];
    return NULL;
}

/* Seals whose records are in segments now. One that stands where the segment ends must agree. */
static void seals_pass(struct kpi_prover *p, const struct kpi_chain_segment *segment)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < p->seals_count; i++) {
        const struct kpi_chain_seal *seal = &p->seals[i].seal;
        if (seal->wal_seq == segment->wal_last &&
            !kpi_sha_equal(&seal->wal_head, &segment->wal_head))
            kpi_found(p, KP_FINDING_EDITED, p->last.wall, p->last.wall,
                      "segment %" PRIu64 " was made of other log records than seal %" PRIu64
                      " covers",
                      segment->id, seal->seal);
        if (seal->wal_seq > segment->wal_last)
            p->seals[kept++] = p->seals[i];
    }
    p->seals_count = kept;
}

struct kpi_proved_segment *kpi_proved_add(struct kpi_prover *p,
                                          const struct kpi_chain_segment *segment, kp_time written)
{
    void *items = p->segments;
    uint64_t capacity = p->segments_capacity;
    if (!kpi_room_for_one(&items, p->segments_count, &capacity, sizeof(*p->segments))) {
        p->status = KP_NO_MEMORY;
        return NULL;
    }
    p->segments = items;
    p->segments_capacity = (uint32_t)capacity;
    p->segments[p->segments_count++] =
        (struct kpi_proved_segment){.segment = *segment, .from = p->last.wall, .to = written};
    return &p->segments[p->segments_count - 1];
}

static void segment_check(struct kpi_prover *p, const struct kpi_chain_record *record)
{
    static const struct kpi_sha none;
    const struct kpi_chain_segment *segment = &record->segment;
    if (kpi_proved_add(p, segment, record->wall) == NULL)
        return;
    if (kpi_sha_equal(&segment->wal_head, &none) && segment->wal_last > p->genesis.genesis.wal_seq)
        kpi_found(p, KP_FINDING_INSERTED, p->last.wall, record->wall,
                  "segment %" PRIu64 " was found at a start without the log records it was made of",
                  segment->id);
    else
        seals_pass(p, segment);
    p->log = (struct kpi_log_digest){.sequence = segment->wal_last,
                                     .rows = segment->log_rows,
                                     .head = segment->wal_head,
                                     .set = segment->log_set};
}

static void drop_check(struct kpi_prover *p, const struct kpi_chain_record *record)
{
    struct kpi_proved_segment *segment = segment_find(p, record->drop.id);
    if (segment != NULL && kpi_sha_equal(&segment->segment.root, &record->drop.root))
        segment->dropped = true;
    else if (record->drop.id > p->genesis.genesis.segment_last)
        kpi_found(p, KP_FINDING_EDITED, p->last.wall, record->wall,
                  "the tombstone of segment %" PRIu64 " names another root than was sealed",
                  record->drop.id);
}

static void record_check(struct kpi_prover *p, const struct kpi_chain_record *record, bool follows)
{
    if (!p->genesis_known && record->type != KPI_CHAIN_GENESIS)
        return; /* told: the chain has no beginning */
    switch (record->type) {
    case KPI_CHAIN_GENESIS:
        genesis_check(p, record);
        break;
    case KPI_CHAIN_SEAL:
        seal_check(p, record, follows);
        break;
    case KPI_CHAIN_SEGMENT:
        segment_check(p, record);
        break;
    case KPI_CHAIN_COLD:
        kpi_prove_cold(p, record);
        break;
    case KPI_CHAIN_DROP:
        drop_check(p, record);
        break;
    case KPI_CHAIN_ALTERED:
        kpi_found(p, KP_FINDING_EDITED, p->last.wall, record->wall,
                  "the recorder itself found the log altered or cut against seal %" PRIu64,
                  record->altered.seal);
        break;
    default:
        kpi_found(p, KP_FINDING_INSERTED, p->last.wall, record->wall,
                  "record %" PRIu64 " of the chain is of no known kind", record->number);
    }
    p->proof.to = record->wall;
}

/* ---------- numbers and links ---------- */

static void leaf_add(struct kpi_prover *p, const struct kpi_chain_record *record)
{
    struct kpi_sha leaf;
    void *items = p->leaves;
    bool room = kpi_room_for_one(&items, p->tree.size, &p->leaves_capacity, sizeof(leaf));
    p->leaves = items;
    kp_status status = room ? kpi_merkle_leaf(record, sizeof(*record), &leaf) : KP_NO_MEMORY;
    if (status == KP_OK) {
        p->leaves[p->tree.size] = leaf;
        p->prev = leaf;
        status = kpi_merkle_add(&p->tree, &leaf);
    }
    struct kpi_head *heads[] = {&p->head, &p->own};
    for (size_t i = 0; i < KP_ARRAY_LEN(heads) && status == KP_OK; i++)
        if (heads[i]->given && heads[i]->head.size == p->tree.size) {
            status = kpi_merkle_root(&p->tree, &heads[i]->root);
            heads[i]->reached = true;
        }
    p->status = status == KP_OK ? p->status : status;
}

static bool leaf_known(const struct kpi_prover *p, const struct kpi_chain_record *record)
{
    struct kpi_sha leaf;
    if (kpi_merkle_leaf(record, sizeof(*record), &leaf) != KP_OK)
        return false;
    for (uint64_t i = 0; i < p->tree.size; i++)
        if (kpi_sha_equal(&p->leaves[i], &leaf))
            return true;
    return false;
}

static bool missing_take(struct kpi_prover *p, uint64_t number)
{
    for (uint32_t i = 0; i < p->missing_count; i++)
        if (p->missing[i] == number) {
            p->missing[i] = p->missing[--p->missing_count];
            return true;
        }
    return false;
}

/* Numbers passed over: gone, or further back. Of very many only the first are looked for. */
static void missing_add(struct kpi_prover *p, uint64_t from, uint64_t to)
{
    for (uint64_t n = from; n < to && n - from < 4096; n++) {
        void *items = p->missing;
        uint64_t capacity = p->missing_capacity;
        if (!kpi_room_for_one(&items, p->missing_count, &capacity, sizeof(*p->missing))) {
            p->status = KP_NO_MEMORY;
            return;
        }
        p->missing = items;
        p->missing_capacity = (uint32_t)capacity;
        p->missing[p->missing_count++] = n;
    }
}

/* A record that is not the next one. True: what it says still counts. */
static bool number_wrong(struct kpi_prover *p, const struct kpi_chain_record *record)
{
    if (record->number > p->number_next) {
        missing_add(p, p->number_next, record->number);
        p->number_next = record->number;
        return true;
    }
    if (missing_take(p, record->number))
        kpi_found(p, KP_FINDING_REORDERED, p->last.wall, record->wall,
                  "record %" PRIu64 " of the chain stands behind a later one", record->number);
    else if (leaf_known(p, record))
        kpi_found(p, KP_FINDING_REPLAYED, p->last.wall, record->wall,
                  "record %" PRIu64 " of the chain stands there twice", record->number);
    else
        kpi_found(p, KP_FINDING_INSERTED, p->last.wall, record->wall,
                  "two records of the chain have number %" PRIu64, record->number);
    return false;
}

static void whole_take(struct kpi_prover *p, const struct kpi_chain_record *record)
{
    bool follows = record->number == p->number_next;
    bool linked = !p->prev_known || kpi_sha_equal(&p->prev, &record->prev);
    bool known = p->prev_known;
    bool counts = follows || number_wrong(p, record);
    if (follows && !linked)
        kpi_found(p, KP_FINDING_EDITED, p->last.wall, record->wall,
                  "record %" PRIu64 " of the chain is not the one that record %" PRIu64 " follows",
                  record->number - 1, record->number);
    if (counts) {
        p->number_next++;
        record_check(p, record, follows && linked && known);
    }
    leaf_add(p, record);
    p->prev_known = counts;
}

static bool on_record(void *ctx, uint64_t place, const struct kpi_chain_record *record, bool valid)
{
    struct kpi_prover *p = ctx;
    if (!valid) {
        kp_buf_add(&p->held, record, sizeof(*record));
        p->status = p->held.failed ? KP_NO_MEMORY : p->status;
        return p->status == KP_OK;
    }
    for (size_t at = 0; at < p->held.size; at += KPI_CHAIN_RECORD) {
        struct kpi_chain_record bad;
        memcpy(&bad, p->held.data + at, sizeof(bad));
        kpi_found(p, KP_FINDING_EDITED, p->last.wall, record->wall,
                  "record %" PRIu64 " of the chain does not verify",
                  place - (p->held.size - at) / KPI_CHAIN_RECORD);
        leaf_add(p, &bad);
        p->number_next++;
        p->prev_known = false;
    }
    kp_buf_clear(&p->held);
    whole_take(p, record);
    return p->status == KP_OK;
}

kp_status kpi_prove_chain(struct kpi_prover *p, struct kp_error *err)
{
    kp_status status = kpi_chain_read(p->io, p->queue, p->dir, kpi_store_seed(p->manifest.store_id),
                                      on_record, p, &p->size, err);
    if (status != KP_OK)
        return status;
    for (uint32_t i = 0; i < p->missing_count; i++)
        kpi_found(p, KP_FINDING_DELETED, p->genesis.wall, p->last.wall,
                  "record %" PRIu64 " of the chain is gone", p->missing[i]);
    if (!p->genesis_known)
        kpi_found(p, KP_FINDING_CUT, 1, 0, "the chain of seals has no beginning");
    p->proof.records = p->tree.size;
    return p->status;
}
