/* SPDX-License-Identifier: Apache-2.0
 *
 * How fast the disk under a directory makes writes durable, and what that means for group commit.
 */
#ifndef KP_STORAGE_DISK_H
#define KP_STORAGE_DISK_H

#include <stdint.h>

#include "base/status.h"
#include "base/time.h"

struct kp_io;

#define KP_DISK_SIZES      3u /* 4 KiB, 64 KiB, 1 MiB */
#define KP_DISK_ROWS_MAX   6u /* sizes times backends */
#define KP_DISK_WRITES_MAX 2048u

/* Time from the submission of one write to the end of the sync behind it. */
struct kp_disk_row {
    const char *backend;
    uint32_t bytes;  /* of each write */
    uint32_t writes; /* measured */
    kp_dur p50, p99, max;
};

struct kp_disk_report {
    struct kp_disk_row rows[KP_DISK_ROWS_MAX];
    uint32_t rows_count;
    /* for kp_store_opts, from the rows of the backend that a store would use */
    uint32_t commit_bytes;
    kp_dur commit_after;
};

/* Writes into a file of its own in dir (made, written through once, synced, measured, removed): per
 * row at most `writes` times and, after the first eight, for at most `limit`. io NULL: every
 * backend that works here. DENIED, NO_SPACE, NOT_FOUND, IO with the place. */
kp_status kp_disk_measure(const char *dir, const struct kp_io *io, uint32_t writes, kp_dur limit,
                          struct kp_disk_report *out, struct kp_error *err) KP_MUST;
/* Fills in commit_bytes and commit_after from the last KP_DISK_SIZES rows. */
void kp_disk_choose(struct kp_disk_report *report);

#endif
