/* SPDX-License-Identifier: Apache-2.0
 *
 * What a store's directory holds, read below snapshots and scans: segments in order, then the log.
 * Rows for it are made by feed_*: the event number is the row's name, its value is derived from
 * that name, its time ascends with it. So a reader can tell without a model whether a row is whole,
 * and a list of names says whether something is missing, invented, doubled or out of order.
 */
#ifndef KP_TESTS_SEEN_H
#define KP_TESTS_SEEN_H

#include "storage/store_int.h"

struct seen {
    uint64_t *seqs; /* in order of storage */
    uint32_t count, capacity;
    uint32_t wrong;           /* rows that nobody can have appended */
    uint32_t damaged;         /* places told of */
    uint32_t gap_rows;        /* rows of `gaps` */
    uint64_t gap_count;       /* sum of their counts where known */
    uint64_t dropped;         /* rows that tombstones account for */
    uint64_t next;            /* event numbers handed out, as the store remembers */
    struct kp_actors *actors; /* while it is read */
    struct kp_arena arena;
};

kp_status seen_read(const struct kp_io *io, const char *dir, struct seen *out);
void seen_deinit(struct seen *seen);
/* Position of an event number, or -1. */
int64_t seen_find(const struct seen *seen, uint64_t seq);
/* True when names ascend: nothing doubled, nothing out of order. */
bool seen_ordered(const struct seen *seen);

struct feed {
    struct kp_store *store;
    struct kp_builder builder;
};

void feed_init(struct feed *feed, struct kp_store *store);
void feed_deinit(struct feed *feed);
/* Appends rows with fresh event numbers; *out_first is the first of them. */
kp_status feed_append(struct feed *feed, uint32_t rows, uint64_t *out_first, uint64_t *out_ticket);

#endif
