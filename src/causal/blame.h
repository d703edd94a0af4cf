/* SPDX-License-Identifier: Apache-2.0
 *
 * Leaf rules: who is to blame for a stretch of one thread's time.
 *
 *   blame.c        on a CPU, or waiting for one
 *   blame_quota.c  held back by the quota of a control group
 *   blame_wait.c   waiting for anything else
 */
#ifndef KP_CAUSAL_BLAME_H
#define KP_CAUSAL_BLAME_H

#include "causal/net.h"
#include "causal/slice.h"

/* Leaf rules. Each gives out all of [from, to). */
void kpi_blame_running(struct kpi_walk *walk, const struct kpi_frame *frame,
                       const struct kpi_interval *iv, kp_time from, kp_time to);
void kpi_blame_runnable(struct kpi_walk *walk, const struct kpi_frame *frame,
                        const struct kpi_interval *iv, kp_time from, kp_time to);
/* Gives out what a quota held it back for, from `from` on, and returns the end of that. False in
 * *out_sure: that end is doubtful. */
kp_time kpi_blame_quota(struct kpi_walk *walk, const struct kpi_frame *frame,
                        const struct kpi_interval *iv, kp_time from, kp_time to, bool *out_sure);
void kpi_blame_unknown(struct kpi_walk *walk, const struct kpi_frame *frame, const char *reason,
                       kp_time from, kp_time to);
void kpi_blame_reclaim(struct kpi_walk *walk, const struct kpi_frame *frame,
                       const struct kpi_interval *iv, const struct kpi_work *row, kp_time from,
                       kp_time to);
void kpi_blame_lock(struct kpi_walk *walk, const struct kpi_frame *frame,
                    const struct kpi_interval *iv, const struct kpi_work *row, kp_time from,
                    kp_time to);
void kpi_blame_fault(struct kpi_walk *walk, const struct kpi_frame *frame,
                     const struct kpi_interval *iv, const struct kpi_work *row, kp_time from,
                     kp_time to);
void kpi_blame_pause(struct kpi_walk *walk, const struct kpi_frame *frame,
                     const struct kpi_interval *iv, const struct kpi_work *row, kp_time from,
                     kp_time to);
/* A message on its way, told from the calls that sent and received it. */
void kpi_blame_message(struct kpi_walk *walk, const struct kpi_frame *frame,
                       const struct kpi_interval *iv, const struct kpi_message *message,
                       kp_time from, kp_time to);
/* Time before a thread was made, by a parent that is being explained already. */
void kpi_blame_fork(struct kpi_walk *walk, const struct kpi_frame *frame,
                    const struct kpi_work *row, kp_time from, kp_time to);
void kpi_blame_remote(struct kpi_walk *walk, const struct kpi_frame *frame, uint32_t span,
                      kp_time from, kp_time to);
/* A wait that a device, a timer, the network or nothing known ended. */
void kpi_blame_wait(struct kpi_walk *walk, const struct kpi_frame *frame,
                    const struct kpi_interval *iv, kp_time from, kp_time to);
/* The request whose completion ended the wait, or NULL. */
const struct kpi_work *kpi_block_match(const struct kpi_world *world,
                                       const struct kpi_interval *iv);
void kpi_blame_block(struct kpi_walk *walk, const struct kpi_frame *frame,
                     const struct kpi_interval *iv, const struct kpi_work *row, kp_time from,
                     kp_time to);
/* Names of a lock that is waited for: a row of the kernel's lock stream, or of a futex call. */
struct kp_str kpi_lock_kind(const struct kpi_work *lock);
struct kp_str kpi_lock_name(const struct kpi_walk *walk, const struct kpi_work *lock);
/* A message on its way between this frame's thread and the one that asked. */
void kpi_blame_handover(struct kpi_walk *walk, const struct kpi_frame *frame, const char *stop,
                        kp_time from, kp_time to);
/* What a wakeup's context says about its source. */
bool kpi_wake_is_timer(const struct kpi_event *event);
bool kpi_wake_is_net(const struct kpi_event *event);
/* A signal or a tracer stopped the thread, or its control group was frozen. */
bool kpi_is_stop(const struct kpi_interval *iv);
/* The system call the thread was in when it fell asleep (NULL), and whether it can only sleep. */
const struct kpi_work *kpi_wait_syscall(const struct kpi_world *world,
                                        const struct kpi_interval *iv);
bool kpi_syscall_sleeps(const struct kpi_work *syscall);
bool kpi_syscall_sends(const struct kpi_work *syscall);

/* Notes of a slice that is time of a lock's holder, or of a wait for it: convoy, inversion. */
void kpi_slice_lock(struct kpi_walk *walk, const struct kpi_frame *frame,
                    const struct kpi_interval *iv, struct kpi_slice *slice);

#endif
