/* SPDX-License-Identifier: Apache-2.0
 *
 * One step back in time: the last row of a stream in which a thread has a part before t, such as
 * the last wakeup of a thread, or when it last got a CPU.
 *
 * The thread sets of the footers lead to the page; in the page a list of its rows by thread, made
 * when the page is first asked and kept with it, leads to the row. Such a list costs no bytes in
 * files, is the same for sealed rows and for those in the log, and cannot disagree with the rows.
 */
#ifndef KP_STORAGE_HOP_H
#define KP_STORAGE_HOP_H

#include "column/batch.h"

struct kp_snapshot;
struct kp_hop;

struct kp_hop_req {
    const struct kp_stream *stream;
    uint32_t column; /* stored ACTOR column: KP_COL_ACTOR, sched_waking.wakee, sched_switch.next */
    int64_t tid;
    const struct kp_actor *same; /* of this host, boot and start time; NULL: any thread of the id */
    kp_time before;              /* rows with ts < before */
};

struct kp_hop_row {
    kp_time ts;
    uint64_t seq;
    uint32_t cpu;
    kp_actor_id actor;  /* whose row it is; of kp_snapshot_actors */
    kp_actor_id thread; /* in the column that was asked for */
};

/* The snapshot must outlive it; one thread per hop, any number per snapshot. */
kp_status kp_hop_open(struct kp_snapshot *snapshot, struct kp_hop **out,
                      struct kp_error *err) KP_MUST;
/* The last such row in the order (ts, host, cpu, seq), or END. INVALID: not an ACTOR column.
 * Damaged pages are passed over and listed by kp_snapshot_damage. */
kp_status kp_hop_before(struct kp_hop *hop, const struct kp_hop_req *req, struct kp_hop_row *out,
                        struct kp_error *err) KP_MUST;
void kp_hop_close(struct kp_hop *hop);

#endif
