/* SPDX-License-Identifier: Apache-2.0
 *
 * Tampering: a small sealed store on the simulated disk, changed in one of many ways by somebody
 * who knows the format and makes every sum fit, then proved. The first finding must have the right
 * name. The helpers of the attacks are in tamper.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/assert.h"
#include "tamper.h"
#include "trial.h"

#ifdef KP_ASSERT_SLOW /* sanitizers cost twenty times as much */
#define SEEDS 4
#else
#define SEEDS 200
#endif

/* ---------- segments ---------- */

static void seg_flip(struct tamper *t, int part)
{
    size_t size;
    uint8_t *bytes = kp_sim_file(t->sim, tamper_segment(t, 2), &size);
    const size_t places[] = {20, 64 + tamper_random(t, 200), size - 64 - tamper_random(t, 60) - 1,
                             size - 1 - tamper_random(t, 60)};
    bytes[places[part]] ^= (uint8_t)(1u << tamper_random(t, 8));
}

static void seg_rows(struct tamper *t, int change)
{
    uint64_t id = 1 + tamper_random(t, 3);
    tamper_segment_rewrite(t, id, id, (enum tamper_change)change);
}

static void seg_rows_raw(struct tamper *t, int change)
{
    tamper_segment_rewrite(t, 2, 2, (enum tamper_change)change);
    tamper_manifest_restore(t);
}

static void seg_copy(struct tamper *t, int to)
{
    tamper_file_copy(t, tamper_segment(t, 2), tamper_segment(t, (uint64_t)to));
}

static void seg_reissue(struct tamper *t, int to)
{
    tamper_segment_rewrite(t, 2, (uint64_t)to, TAMPER_SAME);
}

static void seg_exchange(struct tamper *t, int with)
{
    tamper_file_copy(t, tamper_segment(t, (uint64_t)with), "/aside");
    tamper_file_copy(t, tamper_segment(t, 2), tamper_segment(t, (uint64_t)with));
    tamper_file_copy(t, "/aside", tamper_segment(t, 2));
}

static void seg_remove(struct tamper *t, int id)
{
    tamper_remove(t, tamper_segment(t, (uint64_t)id));
}

static void seg_insert(struct tamper *t, int unused)
{
    (void)unused;
    tamper_segment_insert(t);
}

/* ---------- the manifest ---------- */

static void manifest_forget(struct tamper *t, int id)
{
    tamper_manifest_change(t, TAMPER_FORGET, (uint64_t)id);
}

static void manifest_forget_and_remove(struct tamper *t, int id)
{
    tamper_manifest_change(t, TAMPER_FORGET, (uint64_t)id);
    seg_remove(t, id);
}

static void manifest_bury(struct tamper *t, int id)
{
    tamper_manifest_change(t, TAMPER_BURY, (uint64_t)id);
    seg_remove(t, id);
}

static void manifest_lie(struct tamper *t, int what)
{
    tamper_manifest_change(t, (enum tamper_manifest)what, 2);
}

static void manifest_older(struct tamper *t, int unused)
{
    (void)unused;
    tamper_manifest_old(t);
}

/* ---------- the log ---------- */

static void log_change(struct tamper *t, int change)
{
    tamper_log_rewrite(t, (enum tamper_change)change);
}

static void log_cut(struct tamper *t, int records)
{
    tamper_log_cut(t, (uint32_t)records);
}

static void log_cut_and_go_on(struct tamper *t, int records)
{
    tamper_log_cut(t, (uint32_t)records);
    tamper_go_on(t);
}

static void log_change_and_go_on(struct tamper *t, int change)
{
    tamper_log_rewrite(t, (enum tamper_change)change);
    tamper_go_on(t);
}

/* ---------- the chain ---------- */

static void chain_flip(struct tamper *t, int type)
{
    struct kpi_chain_record *record = tamper_record(t, (enum kpi_chain_type)type, 1);
    record->body[tamper_random(t, 100)] ^= 4;
    tamper_chain_write(t, TAMPER_RAW);
}

static void chain_edit_summed(struct tamper *t, int type)
{
    struct kpi_chain_record *record = tamper_record(t, (enum kpi_chain_type)type, 1);
    record->body[40 + tamper_random(t, 30)] ^= 4;
    tamper_chain_write(t, TAMPER_SUMMED);
}

static void chain_edit_linked(struct tamper *t, int type)
{
    struct kpi_chain_record *record = tamper_record(t, (enum kpi_chain_type)type, 1);
    record->body[48 + tamper_random(t, 30)] ^= 4;
    tamper_chain_write(t, TAMPER_LINKED);
}

static void chain_edit_resealed(struct tamper *t, int type)
{
    struct kpi_chain_record *record = tamper_record(t, (enum kpi_chain_type)type, 1);
    record->body[48 + tamper_random(t, 30)] ^= 4;
    tamper_chain_write(t, TAMPER_RESEALED);
}

/* Its key would be reached in ten thousand years. */
static void chain_far_seal(struct tamper *t, int how)
{
    tamper_record(t, KPI_CHAIN_SEAL, 2 + tamper_random(t, 3))->seal.seal += 1ull << 40;
    tamper_chain_write(t, (enum tamper_sums)how);
}

static void chain_clock(struct tamper *t, int how)
{
    struct kpi_chain_record *record = tamper_record(t, KPI_CHAIN_SEAL, 2 + tamper_random(t, 3));
    record->wall += 3 * KP_SEC;
    tamper_chain_write(t, (enum tamper_sums)how);
}

static void chain_delete(struct tamper *t, int how)
{
    tamper_chain_delete(t, 3 + (uint32_t)tamper_random(t, 4), 1);
    tamper_chain_write(t, (enum tamper_sums)how);
}

static void chain_delete_many(struct tamper *t, int how)
{
    tamper_chain_delete(t, 3, 3);
    tamper_chain_write(t, (enum tamper_sums)how);
}

/* Epochs in which nothing was recorded lose their seals. */
static void chain_empty_epochs(struct tamper *t, int how)
{
    tamper_chain_empty_epochs(t, how != TAMPER_RAW);
    tamper_chain_write(t, (enum tamper_sums)how);
}

/* The record there and the one behind it. */
static void exchange_at(struct tamper *t, uint32_t at, int how)
{
    struct kpi_chain_record first = t->chain[at];
    t->chain[at] = t->chain[at + 1];
    t->chain[at + 1] = first;
    tamper_chain_write(t, (enum tamper_sums)how);
}

static void chain_exchange(struct tamper *t, int how)
{
    exchange_at(t, 3 + (uint32_t)tamper_random(t, 4), how);
}

static void chain_repeat(struct tamper *t, int unused)
{
    (void)unused;
    tamper_chain_insert(t, 6, &t->chain[4]);
    tamper_chain_write(t, TAMPER_RAW);
}

static void chain_insert(struct tamper *t, int unused)
{
    (void)unused;
    struct kpi_chain_record forged = t->chain[4];
    forged.wall++;
    tamper_chain_insert(t, 5, &forged);
    tamper_chain_write(t, TAMPER_SUMMED);
}

static void chain_cut(struct tamper *t, int records)
{
    t->chain_count -= (uint32_t)records;
    tamper_chain_write(t, TAMPER_RAW);
    tamper_remove(t, "/store/checkpoint");
}

static void chain_cut_with_number(struct tamper *t, int records)
{
    chain_cut(t, records);
    tamper_key_number(t);
}

/* The second break: the tail goes, and what is left is sealed on as if the machine had been off. */
static void chain_cut_and_sealed_on(struct tamper *t, int records)
{
    t->chain_count -= (uint32_t)records;
    tamper_chain_seal_on(t);
    tamper_chain_write(t, TAMPER_RESEALED);
    tamper_remove(t, "/store/checkpoint");
}

static void chain_cut_half(struct tamper *t, int unused)
{
    (void)unused;
    chain_cut(t, (int)t->chain_count - 2);
}

static void chain_remove(struct tamper *t, int with_folder)
{
    tamper_remove(t, "/store/evidence/chain");
    if (with_folder != 0)
        tamper_remove(t, "/store/checkpoint");
}

static void checkpoint_flip(struct tamper *t, int from_end)
{
    size_t size;
    uint8_t *bytes = kp_sim_file(t->sim, "/store/checkpoint", &size);
    size_t at = from_end != 0 ? size - 6 : 44;
    bytes[at] = bytes[at] == 'A' ? 'B' : 'A';
}

static void checkpoint_other_signer(struct tamper *t, int unused)
{
    (void)unused;
    tamper_checkpoint_sign(t);
}

static void key_flip(struct tamper *t, int unused)
{
    (void)unused;
    tamper_key_replace(t);
}

static void all_older(struct tamper *t, int unused)
{
    (void)unused;
    tamper_all_old(t);
}

static void all_anew(struct tamper *t, int unused)
{
    (void)unused;
    tamper_all_anew(t);
}

static void begin_anew(struct tamper *t, int unused)
{
    (void)unused;
    tamper_remove(t, "/store/evidence/key");
    tamper_go_on(t);
}

static void nothing(struct tamper *t, int unused)
{
    (void)t, (void)unused;
}

/* ---------- a cold segment ---------- */

static void cold_flip(struct tamper *t, int part)
{
    size_t size;
    uint8_t *bytes = kp_sim_file(t->sim, tamper_segment(t, TAMPER_COLD), &size);
    const size_t places[] = {20, 64 + tamper_random(t, 200), size - 64 - tamper_random(t, 60) - 1};
    bytes[places[part]] ^= (uint8_t)(1u << tamper_random(t, 8));
}

static void cold_rows(struct tamper *t, int change)
{
    tamper_segment_rewrite(t, TAMPER_COLD, TAMPER_COLD, (enum tamper_change)change);
}

static void cold_cut(struct tamper *t, int unused)
{
    (void)unused;
    const struct kp_io *io = kp_sim_io(t->sim);
    struct kp_io_file *file;
    kp_assert(io->open(io, tamper_segment(t, TAMPER_COLD), KP_IO_RDWR, &file) == 0);
    kp_assert(io->truncate(io, file, 100 + tamper_random(t, 300)) == 0);
    io->close(io, file);
}

static void cold_replace(struct tamper *t, int with)
{
    tamper_file_copy(t, tamper_segment(t, (uint64_t)with), tamper_segment(t, TAMPER_COLD));
}

static void cold_exchange(struct tamper *t, int with)
{
    tamper_file_copy(t, tamper_segment(t, (uint64_t)with), "/aside");
    tamper_file_copy(t, tamper_segment(t, TAMPER_COLD), tamper_segment(t, (uint64_t)with));
    tamper_file_copy(t, "/aside", tamper_segment(t, TAMPER_COLD));
}

static uint32_t cold_place(struct tamper *t)
{
    return (uint32_t)(tamper_record(t, KPI_CHAIN_COLD, 0) - t->chain);
}

static void cold_record_delete(struct tamper *t, int how)
{
    tamper_chain_delete(t, cold_place(t), 1);
    tamper_chain_write(t, (enum tamper_sums)how);
}

static void cold_record_exchange(struct tamper *t, int how)
{
    exchange_at(t, cold_place(t), how);
}

static void cold_record_repeat(struct tamper *t, int unused)
{
    (void)unused;
    uint32_t at = cold_place(t);
    tamper_chain_insert(t, at + 2, &t->chain[at]);
    tamper_chain_write(t, TAMPER_RAW);
}

static void cold_record_insert(struct tamper *t, int unused)
{
    (void)unused;
    uint32_t at = cold_place(t);
    struct kpi_chain_record forged = t->chain[at];
    forged.cold.id += 9;
    tamper_chain_insert(t, at + 1, &forged);
    tamper_chain_write(t, TAMPER_SUMMED);
}

/* What it says that it was made of. */
static void cold_lineage(struct tamper *t, int how)
{
    struct kpi_chain_record *record = tamper_record(t, KPI_CHAIN_COLD, 0);
    record->cold.lineage.bytes[tamper_random(t, KPI_SHA_SIZE)] ^= 4;
    tamper_chain_write(t, (enum tamper_sums)how);
}

static void cold_count(struct tamper *t, int how)
{
    tamper_record(t, KPI_CHAIN_COLD, 0)->cold.segments++;
    tamper_chain_write(t, (enum tamper_sums)how);
}

static void cold_clock(struct tamper *t, int how)
{
    tamper_record(t, KPI_CHAIN_COLD, 0)->cold.clock.bytes[tamper_random(t, KPI_SHA_SIZE)] ^= 4;
    tamper_chain_write(t, (enum tamper_sums)how);
}

static void cold_content(struct tamper *t, int how)
{
    tamper_record(t, KPI_CHAIN_COLD, 0)->cold.content.lo ^= 1;
    tamper_chain_write(t, (enum tamper_sums)how);
}

/* ---------- the cases ---------- */

#define KEY  1u
#define HEAD 2u
#define NONE KP_FINDING_COUNT

static const struct attack {
    const char *name;
    void (*act)(struct tamper *t, int arg);
    int arg;
    unsigned given;
    enum kp_finding_kind wanted;
} attacks[] = {
    {"nothing at all", nothing, 0, KEY | HEAD, NONE},
    {"nothing, without key and head", nothing, 0, 0, NONE},
    {"a bit of a segment's header", seg_flip, 0, KEY, KP_FINDING_EDITED},
    {"a bit of a page", seg_flip, 1, KEY, KP_FINDING_EDITED},
    {"a bit of a footer", seg_flip, 2, KEY, KP_FINDING_EDITED},
    {"a bit of a trailer", seg_flip, 3, KEY, KP_FINDING_EDITED},
    {"a value, all sums right", seg_rows, TAMPER_VALUE, KEY, KP_FINDING_EDITED},
    {"a value, no key given", seg_rows, TAMPER_VALUE, 0, KP_FINDING_EDITED},
    {"a time, all sums right", seg_rows, TAMPER_TIME, KEY, KP_FINDING_EDITED},
    {"a value, the manifest as it was", seg_rows_raw, TAMPER_VALUE, KEY, KP_FINDING_EDITED},
    {"a row deleted, all sums right", seg_rows, TAMPER_DELETE, KEY, KP_FINDING_DELETED},
    {"a row inserted, all sums right", seg_rows, TAMPER_INSERT, KEY, KP_FINDING_INSERTED},
    {"a clock anchor forged", seg_rows, TAMPER_CLOCK, KEY, KP_FINDING_CLOCK},
    {"an older segment's file", seg_copy, 3, KEY, KP_FINDING_REPLAYED},
    {"a younger segment's file", seg_copy, 1, KEY, KP_FINDING_REPLAYED},
    {"an older segment made anew with this id", seg_reissue, 3, KEY, KP_FINDING_REPLAYED},
    {"a younger segment made anew with this id", seg_reissue, 1, KEY, KP_FINDING_REPLAYED},
    {"two segments exchanged", seg_exchange, 1, KEY, KP_FINDING_REORDERED},
    {"two other segments exchanged", seg_exchange, 3, KEY, KP_FINDING_REORDERED},
    {"the first segment's file removed", seg_remove, 1, KEY, KP_FINDING_DELETED},
    {"the last segment's file removed", seg_remove, 3, KEY, KP_FINDING_DELETED},
    {"a segment that was never recorded", seg_insert, 0, KEY, KP_FINDING_INSERTED},
    {"the manifest forgets a segment", manifest_forget, 2, KEY, KP_FINDING_MANIFEST},
    {"the manifest forgets the last one", manifest_forget, 3, KEY, KP_FINDING_MANIFEST},
    {"... and its file is gone", manifest_forget_and_remove, 2, KEY, KP_FINDING_DELETED},
    {"a tombstone that was not sealed", manifest_bury, 2, KEY, KP_FINDING_DELETED},
    {"the manifest lies about rows", manifest_lie, TAMPER_ROWS, KEY, KP_FINDING_MANIFEST},
    {"the manifest lies about the log", manifest_lie, TAMPER_RANGE, KEY, KP_FINDING_MANIFEST},
    {"an older manifest", manifest_older, 0, KEY, KP_FINDING_MANIFEST},
    {"a value in the log, all sums right", log_change, TAMPER_VALUE, KEY, KP_FINDING_EDITED},
    {"a log record deleted", log_change, TAMPER_DELETE, KEY, KP_FINDING_DELETED},
    {"a log record inserted", log_change, TAMPER_INSERT, KEY, KP_FINDING_INSERTED},
    {"log records exchanged", log_change, TAMPER_EXCHANGE, KEY, KP_FINDING_REORDERED},
    {"the last log record cut", log_cut, 1, KEY, KP_FINDING_CUT},
    {"two log records cut", log_cut, 2, KEY, KP_FINDING_CUT},
    {"the whole log removed", log_cut, 1000, KEY, KP_FINDING_CUT},
    {"the log cut, then recorded on", log_cut_and_go_on, 1, KEY, KP_FINDING_EDITED},
    {"the log edited, then recorded on", log_change_and_go_on, TAMPER_VALUE, KEY,
     KP_FINDING_EDITED},
    {"a bit of a seal", chain_flip, KPI_CHAIN_SEAL, KEY, KP_FINDING_EDITED},
    {"a bit of a segment's record", chain_flip, KPI_CHAIN_SEGMENT, 0, KP_FINDING_EDITED},
    {"a seal, its sum right", chain_edit_summed, KPI_CHAIN_SEAL, 0, KP_FINDING_EDITED},
    {"a segment's record, its sum right", chain_edit_summed, KPI_CHAIN_SEGMENT, 0,
     KP_FINDING_EDITED},
    {"a seal, all links right", chain_edit_linked, KPI_CHAIN_SEAL, KEY, KP_FINDING_EDITED},
    {"a segment's record, all links right", chain_edit_linked, KPI_CHAIN_SEGMENT, KEY,
     KP_FINDING_EDITED},
    {"the same, no key but a head", chain_edit_linked, KPI_CHAIN_SEGMENT, HEAD, KP_FINDING_EDITED},
    {"old seals made anew with the newest key", chain_edit_resealed, KPI_CHAIN_SEAL, KEY,
     KP_FINDING_RESEALED},
    {"old entries made anew with the newest key", chain_edit_resealed, KPI_CHAIN_SEGMENT, KEY,
     KP_FINDING_RESEALED},
    {"a seal with a number out of reach", chain_far_seal, TAMPER_LINKED, KEY, KP_FINDING_EDITED},
    {"a seal's clock forged, its sum right", chain_clock, TAMPER_SUMMED, KEY, KP_FINDING_CLOCK},
    {"a seal's clock forged, all links right", chain_clock, TAMPER_LINKED, KEY, KP_FINDING_CLOCK},
    {"a record of the chain deleted", chain_delete, TAMPER_RAW, KEY, KP_FINDING_DELETED},
    {"three of them, without a key", chain_delete_many, TAMPER_RAW, 0, KP_FINDING_DELETED},
    {"seals of empty epochs deleted", chain_empty_epochs, TAMPER_RAW, KEY, KP_FINDING_DELETED},
    {"... and the others numbered anew", chain_empty_epochs, TAMPER_LINKED, KEY,
     KP_FINDING_UNSEALED},
    {"... without a key", chain_empty_epochs, TAMPER_LINKED, 0, KP_FINDING_UNSEALED},
    {"... and sealed with the newest key", chain_empty_epochs, TAMPER_RESEALED, KEY,
     KP_FINDING_RESEALED},
    {"two records of the chain exchanged", chain_exchange, TAMPER_RAW, KEY, KP_FINDING_REORDERED},
    {"a record of the chain twice", chain_repeat, 0, KEY, KP_FINDING_REPLAYED},
    {"a record of the chain inserted", chain_insert, 0, KEY, KP_FINDING_INSERTED},
    {"the last seal cut", chain_cut, 1, KEY, KP_FINDING_CUT},
    {"the last seal cut, without key and head", chain_cut, 1, 0, KP_FINDING_CUT},
    {"three seals cut, the key's number put back", chain_cut_with_number, 3, KEY, KP_FINDING_CUT},
    {"the same, but with the head", chain_cut_with_number, 3, HEAD, KP_FINDING_CUT},
    {"a tail cut and sealed on", chain_cut_and_sealed_on, 3, KEY, KP_FINDING_RESEALED},
    {"all but the beginning cut", chain_cut_half, 0, KEY, KP_FINDING_CUT},
    {"the chain removed", chain_remove, 0, 0, KP_FINDING_CUT},
    {"chain and checkpoint removed", chain_remove, 1, KEY, KP_FINDING_CUT},
    {"the checkpoint's root", checkpoint_flip, 0, 0, KP_FINDING_CHECKPOINT},
    {"the checkpoint's signature", checkpoint_flip, 1, 0, KP_FINDING_CHECKPOINT},
    {"the checkpoint signed by another", checkpoint_other_signer, 0, 0, KP_FINDING_CHECKPOINT},
    {"the key exchanged", key_flip, 0, KEY, KP_FINDING_CUT},
    {"the key lost, then recorded on", begin_anew, 0, KEY, KP_FINDING_KEY},
    {"an older copy of the whole store", all_older, 0, HEAD, KP_FINDING_CUT},
    {"the whole store made anew", all_anew, 0, KEY, KP_FINDING_KEY},
    {"the whole store made anew, a head", all_anew, 0, HEAD, KP_FINDING_CHECKPOINT},
};

static const struct attack cold_attacks[] = {
    {"nothing at all", nothing, 0, KEY | HEAD, NONE},
    {"a bit of its header", cold_flip, 0, KEY, KP_FINDING_EDITED},
    {"a bit of its pages", cold_flip, 1, KEY, KP_FINDING_EDITED},
    {"a bit of its footer", cold_flip, 2, KEY, KP_FINDING_EDITED},
    {"a value, all sums right", cold_rows, TAMPER_VALUE, KEY, KP_FINDING_EDITED},
    {"a time, all sums right", cold_rows, TAMPER_TIME, KEY, KP_FINDING_EDITED},
    {"a row deleted, all sums right", cold_rows, TAMPER_DELETE, KEY, KP_FINDING_DELETED},
    {"a row inserted, all sums right", cold_rows, TAMPER_INSERT, KEY, KP_FINDING_INSERTED},
    {"cut off", cold_cut, 0, KEY, KP_FINDING_EDITED},
    {"its file removed", seg_remove, TAMPER_COLD, KEY, KP_FINDING_DELETED},
    {"the manifest forgets it", manifest_forget, TAMPER_COLD, KEY, KP_FINDING_MANIFEST},
    {"a tombstone that was not sealed", manifest_bury, TAMPER_COLD, KEY, KP_FINDING_DELETED},
    {"another segment in its place", cold_replace, TAMPER_COLD + 1, KEY, KP_FINDING_REPLAYED},
    {"exchanged with another", cold_exchange, TAMPER_COLD + 1, KEY, KP_FINDING_REORDERED},
    {"the manifest of before it", manifest_older, 0, KEY, KP_FINDING_MANIFEST},
    {"a bit of its record", cold_content, TAMPER_RAW, 0, KP_FINDING_EDITED},
    {"its record deleted", cold_record_delete, TAMPER_RAW, KEY, KP_FINDING_DELETED},
    {"its record exchanged with the next", cold_record_exchange, TAMPER_RAW, KEY,
     KP_FINDING_REORDERED},
    {"its record twice", cold_record_repeat, 0, KEY, KP_FINDING_REPLAYED},
    {"a record like it inserted", cold_record_insert, 0, KEY, KP_FINDING_INSERTED},
    {"its lineage, all links right", cold_lineage, TAMPER_LINKED, 0, KP_FINDING_EDITED},
    {"its count, all links right", cold_count, TAMPER_LINKED, 0, KP_FINDING_EDITED},
    {"its content, all links right", cold_content, TAMPER_LINKED, 0, KP_FINDING_EDITED},
    {"its clock, all links right", cold_clock, TAMPER_LINKED, KEY, KP_FINDING_EDITED},
    {"its clock, made anew with the newest key", cold_clock, TAMPER_RESEALED, KEY,
     KP_FINDING_RESEALED},
};

/* ---------- the test ---------- */

struct told {
    uint32_t count;
    struct kp_finding first;
};

static void on_finding(void *ctx, const struct kp_finding *finding)
{
    struct told *told = ctx;
    if (told->count++ == 0)
        told->first = *finding;
}

static uint32_t attack_run(const struct tamper_base *base, const struct attack *attack,
                           uint64_t seed, bool full)
{
    struct tamper t;
    struct told told = {0};
    struct kp_proof proof;
    struct kp_error err = {0};
    tamper_begin(&t, base, seed);
    attack->act(&t, attack->arg);
    struct kp_prove_opts opts = {.full = full};
    opts.secret = (attack->given & KEY) != 0 ? tamper_text(&base->key) : (struct kp_str){NULL, 0};
    opts.head = (attack->given & HEAD) != 0 ? tamper_text(&base->head) : (struct kp_str){NULL, 0};
    kp_status status = kp_prove("/store", kp_sim_io(t.sim), &opts, on_finding, &told, &proof, &err);
    enum kp_finding_kind got = told.count > 0 ? told.first.kind : NONE;
    bool wrong = status != (attack->wanted == NONE ? KP_OK : KP_CORRUPT) || got != attack->wanted;
    if (wrong)
        print_error("%s, seed %llu: %s, %u findings, first: %s: %s\n", attack->name,
                    (unsigned long long)seed, kp_status_text(status), told.count,
                    got == NONE ? "none" : kp_finding_word(got),
                    got == NONE ? err.text : told.first.text);
    tamper_end(&t);
    return wrong;
}

static void every_attack_is_named(void **state)
{
    uint32_t wrong = 0;
    uint64_t first = trial_seed(), stores = trial_count(SEEDS);
    (void)state;
    for (uint64_t seed = first; seed < first + stores && wrong == 0; seed++) {
        struct tamper_base base;
        tamper_base_make(&base, seed);
        for (size_t i = 0; i < KP_ARRAY_LEN(attacks); i++)
            wrong += attack_run(&base, &attacks[i], seed, seed % 8 == 0);
        tamper_base_deinit(&base);
    }
    assert_int_equal(wrong, 0);
    print_message("%zu attacks, %llu stores\n", KP_ARRAY_LEN(attacks), (unsigned long long)stores);
    assert_true(KP_ARRAY_LEN(attacks) >= 60);
}

static void every_attack_on_a_cold_segment_is_named(void **state)
{
    uint32_t wrong = 0;
    uint64_t first = trial_seed(), stores = trial_count(SEEDS);
    (void)state;
    for (uint64_t seed = first; seed < first + stores && wrong == 0; seed++) {
        struct tamper_base base;
        tamper_base_make_cold(&base, seed);
        for (size_t i = 0; i < KP_ARRAY_LEN(cold_attacks); i++)
            wrong += attack_run(&base, &cold_attacks[i], seed, true);
        tamper_base_deinit(&base);
    }
    assert_int_equal(wrong, 0);
    print_message("%zu attacks, %llu stores\n", KP_ARRAY_LEN(cold_attacks),
                  (unsigned long long)stores);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_attack_is_named),
        cmocka_unit_test(every_attack_on_a_cold_segment_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
