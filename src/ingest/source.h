/* SPDX-License-Identifier: Apache-2.0
 *
 * The source: raw records of the running kernel.
 *
 * The BPF programs of bpf/ write records (bpf/event.h) into ring buffers; a drain thread moves
 * them, whole and unread, into one bounded byte queue, from which a single ingest thread takes
 * spans. When the queue is full the records stay in the rings, when a ring is full the kernel
 * counts the loss: it is counted in one place only, per CPU, and every record carries the count of
 * its CPU.
 *
 *   kernel: program -> ring -+                       (rings are shared by groups of 8 CPUs)
 *   kernel: program -> ring -+-> drain thread -> queue -> kp_source_take -> order.c
 *
 * Fed by bpf/, feeds order.c. source_ring.c is the only implementation and the only libbpf user.
 */
#ifndef KP_INGEST_SOURCE_H
#define KP_INGEST_SOURCE_H

#include <stddef.h>

#include "ingest/ingest.h"

struct kp_source;

/* Precedes every record of a span: size bytes of record follow, then 0..7 bytes of padding. The
 * padding is not part of size; `reserved` is the kernel's and has no meaning. */
struct kp_source_frame {
    uint32_t size;
    uint32_t reserved;
};

/* Bytes from one frame to the next. */
#define KP_SOURCE_STEP(size) (((size_t)(size) + sizeof(struct kp_source_frame) + 7) & ~(size_t)7)

/* Whole frames in order of arrival: nearly in order of time for one CPU, unordered between CPUs. */
struct kp_source_span {
    const void *bytes;
    size_t size_bytes;
    /* Every record stamped before this monotonic ns has now been handed out, this span included.
     * Never goes back. */
    int64_t complete;
};

#define KP_SOURCE_KINDS_MAX 64 /* stream numbers below come from the kernel */

/* Counters of one CPU since open. */
struct kp_source_loss {
    uint64_t records; /* not delivered; the low 32 bits are what kp_record.lost counts */
    uint64_t by_kind[KP_SOURCE_KINDS_MAX]; /* the same by stream number */
    uint64_t joins; /* ends whose begin was not seen: in flight at the start, or pushed out */
    uint64_t syscalls_short; /* below the threshold: counted, not recorded */
};

struct kp_source_stat {
    uint64_t records, bytes;   /* moved to the queue */
    uint64_t lost, joins_lost; /* sums of kp_source_loss */
    uint64_t missed;           /* program runs the kernel refused because they nested */
    uint64_t syscalls_short;
    uint64_t drains;          /* passes of the drain thread */
    uint64_t queue_full;      /* passes that had to leave records in a ring */
    uint64_t budget_overruns; /* seconds in which the drain thread fell back to normal priority */
    kp_dur drain_cpu;         /* CPU time of the drain thread */
    uint64_t lag_ns;          /* age of the newest record when it was moved */
};

/* Probes, loads and attaches the programs of opts->kinds and starts the drain thread. A kind that
 * cannot be had is told by kp_source_kinds, not by an error. DENIED (which right is missing and how
 * to get it), UNSUPPORTED (no BTF, no ring buffer, or built without capture). Records flow at once:
 * take soon. */
kp_status kp_source_open(const struct kp_recorder_opts *opts, struct kp_source **out,
                         struct kp_error *err) KP_MUST;

/* Calls sink with a TASK record (op scan, stamped now) for every thread that exists, on the calling
 * thread, before it returns. After open, so that no thread is missed; a thread can show up both
 * here and in the rings. */
typedef void (*kp_source_sink)(void *ctx, const void *record, size_t size_bytes);
kp_status kp_source_scan(struct kp_source *source, kp_source_sink sink, void *ctx,
                         struct kp_error *err) KP_MUST;

/* Waits at most timeout for records. OK: *out holds what there is (size_bytes 0 on a timeout: only
 * `complete` advanced). END: stopped and everything was taken. One taking thread; the span is valid
 * until release, and a second take before release gives the same bytes again and what came since.
 */
kp_status kp_source_take(struct kp_source *source, kp_dur timeout,
                         struct kp_source_span *out) KP_MUST;
/* Gives back the first size_bytes (a whole number of frames) of the span taken last. */
void kp_source_release(struct kp_source *source, size_t size_bytes);

/* From now on records every system call of this process, short ones too (or no more). pid is as in
 * kp_record.tgid. LIMIT when too many processes are bound (4096). Any thread. */
kp_status kp_source_bind(struct kp_source *source, uint32_t pid, bool bound) KP_MUST;

/* Fills out[cpu] for the first out_max CPUs; returns the number of CPUs. Any thread, also after
 * stop, when the figures are final. */
uint32_t kp_source_lost(struct kp_source *source, struct kp_source_loss *out, uint32_t out_max);
/* One entry per stream the programs can make, valid until close. */
uint32_t kp_source_kinds(struct kp_source *source, const struct kp_kind_state **out);
void kp_source_stat(struct kp_source *source, struct kp_source_stat *out);

/* Detaches; the drain thread moves what is left and the pending interrupt sums, then take ends.
 * Keep taking until END. */
void kp_source_stop(struct kp_source *source);
/* Stops if need be, frees all. NULL is allowed. */
void kp_source_close(struct kp_source *source);

#endif
