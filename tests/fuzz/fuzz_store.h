/* SPDX-License-Identifier: Apache-2.0
 *
 * A store on the simulator's disk for fuzzers of ingest, renewed before it grows.
 */
#ifndef KP_TESTS_FUZZ_STORE_H
#define KP_TESTS_FUZZ_STORE_H

#include "base/assert.h"
#include "storage/io_sim.h"
#include "storage/storage.h"

#define FUZZ_STORE_RUNS 512

static struct kp_sim *fuzz_sim;
static struct kp_store *fuzz_kept;
static unsigned fuzz_runs;

static struct kp_store *fuzz_store(void)
{
    if (fuzz_kept != NULL && fuzz_runs++ < FUZZ_STORE_RUNS)
        return fuzz_kept;
    if (fuzz_kept != NULL) {
        kp_status closed = kp_store_close(fuzz_kept, NULL);
        kp_assert(closed == KP_OK);
        kp_sim_close(fuzz_sim);
    }
    kp_status status = kp_sim_open(1, &fuzz_sim);
    kp_assert(status == KP_OK);
    struct kp_store_opts opts = {.io = kp_sim_io(fuzz_sim),
                                 .manual = true,
                                 .memory_bytes_max = 4 << 20,
                                 .wal_file_bytes = 256 << 10,
                                 .id_seed = 1};
    status = kp_store_open("/fuzz", &opts, &fuzz_kept, NULL);
    kp_assert(status == KP_OK);
    fuzz_runs = 0;
    return fuzz_kept;
}

#endif
