/* SPDX-License-Identifier: Apache-2.0
 *
 * The rows of a recording as one flat table, for systems that know nothing of streams: one row an
 * event, in order of time, in ClickHouse's RowBinary (little endian, packed, strings after their
 * length).
 *
 *   ts i64, kind u8, cpu u16, pid u32, tid u32, cgroup u64, comm string, arg0..3 i64, txn u64
 *
 * Numbers stand for texts: kind is the stream's, cgroup and (in arg3 of switches) the next comm
 * count from 1 as they are met, txn is a hash of 63 bits or 0. Spans are rows too, with comm
 * "spans" and their duration in arg0.
 */
#ifndef KP_BENCH_FLAT_H
#define KP_BENCH_FLAT_H

#include "storage/storage.h"

struct kpi_flat {
    uint64_t rows, spans, bytes;
    struct kp_buf names; /* for each number "g" or "c", the number, a tab, the text, a newline */
};

/* The structure in ClickHouse's words. */
#define KPI_FLAT_TYPES                                                                       \
    "ts Int64, kind UInt8, cpu UInt16, pid UInt32, tid UInt32, cgroup UInt64, comm String, " \
    "arg0 Int64, arg1 Int64, arg2 Int64, arg3 Int64, txn UInt64"

/* What a transaction's id is in the column txn. */
uint64_t kpi_flat_txn(struct kp_str txn);
/* Writes all rows of the snapshot to a file; names are the caller's to free. */
kp_status kpi_flat_write(struct kp_snapshot *snapshot, const char *path, struct kpi_flat *out,
                         struct kp_error *err) KP_MUST;

#endif
