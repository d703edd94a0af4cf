/* SPDX-License-Identifier: Apache-2.0
 *
 * Questions about a world: what a thread did, who held a CPU, what was going on meanwhile.
 *
 *   timeline.c   switches and wakeups become intervals
 *   hidden.c     the parts of them that can be told without all switches
 *   work.c       joined rows (irq, syscall, lock, reclaim, block, ...), read when asked for
 */
#ifndef KP_CAUSAL_TIMELINE_H
#define KP_CAUSAL_TIMELINE_H

#include "causal/world.h"

void kpi_timeline_switch(struct kpi_world *world, uint32_t event);
void kpi_timeline_waking(struct kpi_world *world, uint32_t event);
/* The thread that leaves by this switch sleeps from there on. */
bool kpi_leaves_asleep(const struct kpi_event *event);
/* Settles a thread that slept since before the rows that were read (lead.c). */
void kpi_lead_in(struct kpi_world *world, struct kpi_thread *thread);
/* Closes what is open at world->to and builds the per-thread and per-CPU orders. */
void kpi_timeline_finish(struct kpi_world *world);
/* Where a gap of hidden threads tells since when a thread was on the CPU it left, its unknown
 * interval becomes what it was doing before, and running. Needs the order by CPU and the gaps. */
void kpi_hidden_repair(struct kpi_world *world);

/* Index of the first interval of the thread that ends after t, within [0, thread->count]. */
uint32_t kpi_timeline_find(const struct kpi_world *world, const struct kpi_thread *thread,
                           kp_time t);
static inline const struct kpi_interval *
kpi_timeline_at(const struct kpi_world *world, const struct kpi_thread *thread, uint32_t i)
{
    const struct kpi_interval *iv = kpi_interval_of(world, world->order[thread->first + i]);
    if (iv->from < thread->settled)
        kpi_miss_before(world);
    return iv;
}
/* Who held the CPU at t, until when (*out_until, at most limit) and by which switch it came, or, if
 * that has no row, left (KPI_NONE before the first); KPI_NONE when that is not known. */
uint32_t kpi_timeline_occupant(const struct kpi_world *world, uint32_t cpu, kp_time t,
                               kp_time limit, kp_time *out_until, uint32_t *out_event);

/* Name of an interval's state (state.c). */
struct kp_str kpi_state_text(const struct kpi_interval *iv);

/* ---------- joined rows (work.c) ---------- */

/* Makes the sets ready to be asked, and reads the gaps. */
kp_status kpi_works_open(struct kpi_world *world, struct kp_error *err) KP_MUST;
/* Reads all sets now: as the oracle of reading late, and for copies of the world. */
kp_status kpi_works_load(struct kpi_world *world, struct kp_error *err) KP_MUST;
/* All rows of a set. */
const struct kpi_work_rows *kpi_work_all(const struct kpi_work_set *set);
/* The same when all rows up to the end of the range are asked for, since t. */
const struct kpi_work_rows *kpi_work_since(const struct kpi_work_set *set, kp_time t);
/* Whether the set has rows in the question's range. */
bool kpi_work_any(const struct kpi_work_set *set);
/* Rows of the thread before those that were read would matter. */
void kpi_work_check_before(const struct kpi_work_set *set, uint32_t thread);
/* First row of the group that could overlap [from, to); walk on with kpi_work_next. */
const struct kpi_work *kpi_work_first(const struct kpi_work_set *set, uint32_t group, kp_time from,
                                      kp_time to);
/* The same for callers that only want rows that end by the world's end, or know themselves what it
 * means if there are none. */
const struct kpi_work *kpi_work_seen(const struct kpi_work_set *set, uint32_t group, kp_time from,
                                     kp_time to);
const struct kpi_work *kpi_work_next(const struct kpi_work_set *set, const struct kpi_work *row,
                                     kp_time from, kp_time to);
/* Innermost (latest begun) row of the group that covers t, or NULL. */
const struct kpi_work *kpi_work_covering(const struct kpi_work_set *set, uint32_t group, kp_time t);
/* The work of a kernel worker at t: who queued it. NULL when not recorded. */
const struct kpi_work *kpi_job_at(const struct kpi_world *world, uint32_t worker, kp_time t);
/* ns of [from, to) for which events of this CPU (KPI_NONE: any of the host) may be missing. What a
 * hidden thread did does not matter to one that was `asleep`: had that one run in between, its own
 * switches would be there. */
kp_dur kpi_gap_in(const struct kpi_world *world, uint32_t host, uint32_t cpu, bool asleep,
                  kp_time from, kp_time to);
/* Until when hidden threads may have been on the CPU within (from, to); KP_TIME_MIN = there is no
 * sign of any. */
kp_time kpi_hidden_until(const struct kpi_world *world, uint32_t cpu, kp_time from, kp_time to);

#endif
