/* SPDX-License-Identifier: Apache-2.0
 *
 * The rows of a recording into the peers, each the way it likes best, and what that takes: bytes on
 * disk and CPU time. Each step runs in a process of its own.
 */
#ifndef KP_BENCH_LOAD_H
#define KP_BENCH_LOAD_H

#include <sys/types.h>

#include "bench/system.h"

struct kpi_load {
    char name[48];
    uint64_t bytes;   /* of the table, without the side tables */
    double cpu, wall; /* seconds of the load; CPU of all threads */
};

struct kpi_loads {
    uint64_t rows, spans;
    uint64_t ours_bytes;    /* segments with indexes, as recorded */
    uint64_t flat_bytes;    /* the packed rows */
    uint64_t parquet_bytes; /* Parquet v2, zstd, by DuckDB */
    struct kpi_load peers[KPI_SYSTEMS];
};

/* Runs `step` in a child; `shared` is memory it can answer into (kpi_shared). False: it failed and
 * has said why. */
bool kpi_child(bool (*step)(void *shared), void *shared);
/* Zeroed memory that children share. */
void *kpi_shared(size_t size);
/* Bytes of the files below a folder; with `forget` they leave the page cache too. */
uint64_t kpi_files(const char *dir, bool forget);
/* Loads the recording into all peers below work, or takes what an earlier run of the same recording
 * left there. False: it was said why. */
bool kpi_load(const char *data, const char *work, struct kpi_loads *out);

#endif
