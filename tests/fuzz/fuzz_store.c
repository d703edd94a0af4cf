/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes anywhere in a small store, with sums made right where the input says so. Input: a byte
 * of flags, with CUT a file and a length, then edits (fuzz_small.h).
 *
 * Nothing crashes or hangs. Verify and the proof with the auditor's key and head name a finding, or
 * the rows are those that were recorded. A store that opens opens again.
 */
#include "fuzz_small.h"

#include "column/catalogue.h"

enum { CUT = 1, START = 2 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Hash over all rows of a stream in the order they come; 0 where the store does not open. */
static uint64_t stream_hash(struct kp_snapshot *snapshot, uint8_t number)
{
    const struct kp_stream *stream = kp_stream_by_number(number);
    struct kp_colref cols[3] = {{.stored = KP_COL_TS},
                                {.stored = KP_COL_SEQ},
                                {.stored = KP_COL_ACTOR, .attr = KP_ATTR_TID}};
    struct kp_scan_req req = {.stream = stream,
                              .from = KP_TIME_MIN,
                              .to = KP_TIME_MAX,
                              .cols = cols,
                              .cols_count = KP_ARRAY_LEN(cols)};
    struct kp_scan *scan = NULL;
    const struct kp_batch *batch;
    uint64_t hash = number;
    small_must(kp_scan_open(snapshot, &req, &scan, NULL));
    while (kp_scan_next(scan, &batch, NULL) == KP_OK)
        for (uint32_t i = 0; i < kp_batch_count(batch); i++)
            for (uint32_t c = 0; c < KP_ARRAY_LEN(cols); c++)
                hash = kp_hash_mix(hash ^ (uint64_t)batch->cols[c].i64[kp_batch_row(batch, i)]);
    kp_scan_close(scan);
    return hash;
}

static uint64_t rows_hash(struct kp_sim *sim)
{
    static const uint8_t streams[] = {KP_S_SYSCALL, KP_S_SCHED_SWITCH, KP_S_SPANS};
    struct kp_snapshot *snapshot = NULL;
    const struct kp_damage *damage;
    uint64_t hash = 1;
    if (kp_snapshot_open(SMALL_DIR, kp_sim_io(sim), &snapshot, NULL) != KP_OK)
        return 0;
    for (size_t s = 0; s < KP_ARRAY_LEN(streams); s++)
        hash = kp_hash_mix(hash ^ stream_hash(snapshot, streams[s]));
    kp_snapshot_damage(snapshot, &damage);
    kp_snapshot_close(snapshot);
    return hash;
}

static bool named(struct kp_sim *sim)
{
    const struct kp_prove_opts opts = {.full = true,
                                       .head = {small_head.data, (uint32_t)small_head.size},
                                       .secret = {small_key.data, (uint32_t)small_key.size}};
    struct kp_verify_report report;
    struct kp_proof proof;
    kp_status verified = kp_verify(SMALL_DIR, kp_sim_io(sim), NULL, NULL, NULL, &report, NULL);
    kp_status proved = kp_prove(SMALL_DIR, kp_sim_io(sim), &opts, NULL, NULL, &proof, NULL);
    return verified != KP_OK || proved != KP_OK;
}

static kp_status reopen(struct kp_sim *sim)
{
    struct kp_store_opts opts = small_opts(sim);
    struct kp_store *store = NULL;
    kp_status status = kp_store_open(SMALL_DIR, &opts, &store, NULL);
    if (status != KP_OK)
        return status;
    kp_status ticked = kp_store_tick(store, 1, true);
    kp_status closed = kp_store_close(store, NULL);
    return ticked == KP_OK ? closed : KP_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint64_t whole;
    small_make();
    if (whole == 0) {
        kp_assert(!named(small));
        whole = rows_hash(small);
    }
    struct kp_reader input = kp_reader_init(data, size);
    uint8_t flags = kp_read_u8(&input);
    struct kp_sim *sim = kp_sim_clone(small, 1);
    kp_assert(sim != NULL);
    if ((flags & CUT) != 0) {
        const char *path = small_paths[kp_read_u8(&input) % small_count];
        small_cut(sim, path, kp_read_u16(&input));
    }
    small_edit(sim, NULL, &input);
    uint64_t rows = rows_hash(sim);
    if (rows != whole)
        kp_assert(named(sim));
    if ((flags & START) != 0 && reopen(sim) == KP_OK)
        small_must(reopen(sim));
    kp_sim_close(sim);
    return 0;
}
