/* SPDX-License-Identifier: Apache-2.0
 *
 * How data leaves a store: retention drops whole segments, oldest first; a legal hold keeps those
 * that touch its time range. Both are records of the manifest, so they are as durable as the data.
 *
 * A drop is durable as a tombstone (which segment, its times, rows, size and footer hash, when and
 * why) before the file is removed. Rows still in the log are never dropped.
 *
 * Between both, segments of some age are rewritten once as cold ones: smaller, and joined with
 * their neighbours. What is held stays as it is.
 *
 * Age is the machine's wall clock minus the time of a segment's newest row.
 */
#ifndef KP_STORAGE_LIFE_H
#define KP_STORAGE_LIFE_H

#include "base/str.h"
#include "base/status.h"
#include "base/time.h"

struct kp_io;
struct kp_store;
struct kp_snapshot;

#define KP_HOLD_REASON_MAX 200 /* bytes, with the NUL */
#define KP_HOLDS_MAX       4096u

struct kp_hold {
    uint64_t id;
    kp_time from, to; /* inclusive; segments with any row time between are kept */
    kp_time added;
    kp_time released; /* 0 = in force */
    char reason[KP_HOLD_REASON_MAX];
};

/* Puts a range under hold; returns when that is durable. Any thread. INVALID: from > to, or a
 * reason that is empty, too long or not printable; LIMIT: more than KP_HOLDS_MAX. What was dropped
 * before stays dropped. */
kp_status kp_store_hold_add(struct kp_store *store, kp_time from, kp_time to, struct kp_str reason,
                            uint64_t *out_id, struct kp_error *err) KP_MUST;
/* Ends a hold; it stays in the list with the time of its release. NOT_FOUND: no such hold in force.
 */
kp_status kp_store_hold_release(struct kp_store *store, uint64_t id, struct kp_error *err) KP_MUST;
/* Every hold of a directory, released ones too, ascending id. io NULL = default. No lock. */
kp_status kp_holds_read(const char *dir, const struct kp_io *io,
                        void (*each)(void *ctx, const struct kp_hold *hold), void *ctx,
                        struct kp_error *err) KP_MUST;

/* Rewrites all sealed segments that are not held as cold ones now, whatever their age. Any thread.
 * CORRUPT: some do not read, and stay as they are. */
kp_status kp_store_compact(struct kp_store *store, struct kp_error *err) KP_MUST;

/* What retention took from a store since it was made. */
struct kp_dropped {
    uint64_t segments, rows, bytes;
    kp_time from, to; /* times of those rows; from > to = nothing was dropped */
};
void kp_snapshot_dropped(const struct kp_snapshot *snapshot, struct kp_dropped *out);

#endif
