/* SPDX-License-Identifier: Apache-2.0
 *
 * What a wait was for: the way into the next thread, and who filled what had to be shared.
 *
 *   edge.c        a wait, by everything recorded about it
 *   again.c       waits that are interrupted and begin again
 *   edge_span.c   by spans alone
 *   oracle.c      as another tool would have it
 *   crowd.c       who filled a device, or the memory of a control group
 */
#ifndef KP_CAUSAL_EDGE_H
#define KP_CAUSAL_EDGE_H

#include "causal/walk.h"

/* edge.c: all of a wait. */
void kpi_explain_blocked(struct kpi_walk *walk, const struct kpi_frame *frame,
                         const struct kpi_interval *iv, kp_time from, kp_time to);

/* oracle.c: a stretch of a thread's time by the rules that walk->oracle names. */
void kpi_oracle_explain(struct kpi_walk *walk, const struct kpi_frame *frame,
                        const struct kpi_interval *iv, kp_time from, kp_time to);

/* again.c */
/* The last try of the wait that this one is a try of: itself, if nothing interrupted it. */
const struct kpi_interval *kpi_wait_last_try(const struct kpi_world *world,
                                             const struct kpi_interval *iv);
/* Something woke the thread before what it waited for was there. */
bool kpi_wait_cut_short(const struct kpi_world *world, const struct kpi_interval *iv);
/* ... to stop or to freeze it. */
bool kpi_wait_stopped(const struct kpi_world *world, const struct kpi_interval *iv);

/* edge_span.c */
/* The span that this thread's open span waits for, or KPI_NONE; *out_only: there is no other. */
uint32_t kpi_span_partner(const struct kpi_walk *walk, uint32_t thread, kp_time from, kp_time to,
                          const struct kpi_event *wake, bool *out_only);
/* An open client span of this thread that covers the wait and has no server span: its server is
 * not recorded. KPI_NONE when there is none. */
uint32_t kpi_span_lone_client(const struct kpi_walk *walk, uint32_t thread, kp_time from,
                              kp_time to);
/* Explains a wait by the server span; wake: the wakeup that ended it, KPI_NONE = no row. */
void kpi_span_enter(struct kpi_walk *walk, const struct kpi_frame *frame, uint32_t span, bool only,
                    uint32_t wake, kp_time from, kp_time to);

/* crowd.c */
struct kpi_crowd {
    uint32_t thread; /* KPI_NONE = nobody stands out */
    kp_actor_id actor;
    const struct kpi_work *row; /* one of its requests */
};
/* Who a block request is for: its submitter, or who queued the work of the kernel worker that
 * handed it in. */
struct kpi_crowd kpi_crowd_request(const struct kpi_world *world, const struct kpi_work *request);
/* The process, other than the waiter's, that most of the device's time of [from, to) went to. */
struct kpi_crowd kpi_crowd_device(const struct kpi_world *world, uint32_t waiter, int64_t device,
                                  kp_time from, kp_time to);
/* The process of the control group that most of the memory reclaimed around [from, to) was for;
 * what the waiter asks for itself since `asks` only counts if nobody else asked for much. */
struct kpi_crowd kpi_crowd_memory(const struct kpi_world *world, uint32_t waiter, kp_time asks,
                                  kp_time from, kp_time to);

#endif
