/* SPDX-License-Identifier: Apache-2.0
 *
 * Raw records into rows. What a record must look like and where its fields go is derived from the
 * catalogue once, as a plan per stream; a record then costs its fields, no names and no branches on
 * types beyond one switch. Records are untrusted: wrong size, kind or version is refused.
 *
 * Fed by order.c in order of time, fills one builder per stream; recorder.c flushes them.
 */
#ifndef KP_INGEST_DECODE_H
#define KP_INGEST_DECODE_H

#include "column/batch.h"
#include "ingest/threads.h"

#define KPI_KERNEL_STREAMS 64 /* stream numbers below this come from the kernel */

struct kpi_decoder;

/* Numbers of the catalogue's GAP_REASON. */
enum {
    KPI_GAP_RING_FULL,
    KPI_GAP_BATCH_DROPPED,
    KPI_GAP_REJECTED,
    KPI_GAP_LATE,
    KPI_GAP_STORE_ERROR,
    KPI_GAP_JOIN_LOST = 7,
    KPI_GAP_HIDDEN = 9,
};

/* An interval in which events are missing, in monotonic ns. */
struct kpi_gap {
    int64_t from, to;
    int64_t count; /* -1 = unknown */
    uint32_t cpu;
    int64_t reason;
    const char *stream; /* "" = any */
    const char *detail;
};
typedef void (*kpi_gap_fn)(void *ctx, const struct kpi_gap *gap);

struct kpi_decoder_opts {
    struct kp_store *store;
    struct kpi_threads *threads;
    struct kpi_cgroups *cgroups;
    int64_t offset;    /* ts = mono + offset */
    int64_t begin;     /* mono at which recording began: losses before the first record */
    uint32_t rows_max; /* of a builder */
    kpi_gap_fn gap;    /* a loss was seen */
    void *ctx;
};

kp_status kpi_decoder_init(const struct kpi_decoder_opts *opts, struct kpi_decoder **out) KP_MUST;
void kpi_decoder_deinit(struct kpi_decoder *decoder);
/* Adds one record as a row to the builder of its stream, *out_stream its number; the builder must
 * not be full. INVALID: refused, *out_why says why. The lock of threads is held by the caller. */
kp_status kpi_decoder_add(struct kpi_decoder *decoder, const void *record, size_t size_bytes,
                          uint32_t *out_stream, const char **out_why) KP_MUST;
/* Builder of a kernel stream, NULL before its first row. */
struct kp_builder *kpi_decoder_builder(struct kpi_decoder *decoder, uint32_t stream);
/* The final count of lost records of a CPU: reports what no later record could tell. */
void kpi_decoder_lost(struct kpi_decoder *decoder, uint32_t cpu, uint32_t lost, int64_t mono);
/* Bytes of names that were not UTF-8 and were replaced. */
uint64_t kpi_decoder_repaired(const struct kpi_decoder *decoder);
/* When and where a record says it was made; false when it is too short or the stamp impossible. */
bool kpi_record_stamp(const void *record, size_t size_bytes, int64_t *out_mono, uint32_t *out_cpu);
/* Reads a TASK record that is known to be one; strings are borrowed from it. */
bool kpi_task_read(const void *record, size_t size_bytes, struct kpi_task *out);

#endif
