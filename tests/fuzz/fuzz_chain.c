/* SPDX-License-Identifier: Apache-2.0
 *
 * Forged evidence: edits of the chain of seals, of the key and of the signed root, with sums and
 * links made right where the input says so. Input: a byte of flags, then edits (fuzz_small.h).
 *
 * Nothing crashes. With the auditor's key and head every change of a record of the chain is named.
 * A writer starts and goes on, and what it seals then is proved as far as it was before.
 */
#include "fuzz_small.h"

#define CHAIN SMALL_DIR "/evidence/chain"

enum { KEYED = 1, HEADED = 2, FULL = 4, START = 8, CUT = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_finding(void *ctx, const struct kp_finding *finding)
{
    uint32_t *count = ctx;
    kp_assert(finding->kind < KP_FINDING_COUNT && finding->text[0] != '\0');
    ++*count;
}

static kp_status prove(struct kp_sim *sim, uint8_t flags)
{
    struct kp_prove_opts opts = {.full = (flags & FULL) != 0};
    struct kp_proof proof;
    uint32_t count = 0;
    if ((flags & KEYED) != 0)
        opts.secret = (struct kp_str){small_key.data, (uint32_t)small_key.size};
    if ((flags & HEADED) != 0)
        opts.head = (struct kp_str){small_head.data, (uint32_t)small_head.size};
    kp_status status = kp_prove(SMALL_DIR, kp_sim_io(sim), &opts, on_finding, &count, &proof, NULL);
    kp_assert(status != KP_OK || count == 0);
    kp_assert(status != KP_CORRUPT || count > 0);
    return status;
}

static bool chain_differs(struct kp_sim *sim)
{
    size_t size = 0, whole_size = 0;
    const uint8_t *whole = kp_sim_file(small, CHAIN, &whole_size);
    const uint8_t *bytes = kp_sim_file(sim, CHAIN, &size);
    return size != whole_size || memcmp(bytes, whole, size) != 0;
}

static void start(struct kp_sim *sim)
{
    struct kp_store_opts opts = small_opts(sim);
    struct kp_store *store = NULL;
    struct kp_buf key = {0};
    if (kp_store_open(SMALL_DIR, &opts, &store, NULL) != KP_OK)
        return;
    small_append(store, KP_S_SYSCALL);
    for (int64_t i = 1; i < 4; i++)
        small_must(kp_store_tick(store, i * 10 * KP_SEC, i == 2));
    kp_status given = kp_store_seal_key(store, &key, NULL);
    kp_assert(given == KP_OK || given == KP_UNSUPPORTED);
    kp_buf_deinit(&key);
    kp_status closed = kp_store_close(store, NULL);
    kp_assert(closed == KP_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const paths[] = {CHAIN, SMALL_DIR "/evidence/key", SMALL_DIR "/checkpoint"};
    small_make();
    struct kp_reader input = kp_reader_init(data, size);
    uint8_t flags = kp_read_u8(&input), file = kp_read_u8(&input);
    struct kp_sim *sim = kp_sim_clone(small, 1);
    kp_assert(sim != NULL);
    if ((flags & CUT) != 0)
        small_cut(sim, paths[file % KP_ARRAY_LEN(paths)], kp_read_u16(&input));
    small_edit(sim, file % 4 == 3 ? NULL : paths[file % 4], &input);
    kp_status status = prove(sim, flags);
    if (chain_differs(sim) && (flags & KEYED) != 0 && (flags & HEADED) != 0)
        kp_assert(status != KP_OK);
    if ((flags & START) != 0) {
        start(sim);
        prove(sim, flags & FULL);
    }
    kp_sim_close(sim);
    return 0;
}
