/* SPDX-License-Identifier: Apache-2.0
 *
 * Who held a lock while somebody waited: one in user memory, from the futex waits for it and how
 * they ended; one of the kernel, from the ends of the waits for it.
 */
#ifndef KP_CAUSAL_FUTEX_H
#define KP_CAUSAL_FUTEX_H

#include "causal/timeline.h"

/* The futex call of a wait for a lock, or NULL when the wait is none or for something else. */
const struct kpi_work *kpi_futex_lock(const struct kpi_world *world, const struct kpi_interval *iv);

struct kpi_hold {
    uint32_t thread;
    kp_time to; /* when it let go, at most the end of the wait */
    bool sure;  /* it held it from the instant asked for */
};
/* Who held the lock at an instant of a wait for it that a thread ended. */
struct kpi_hold kpi_futex_hold(const struct kpi_world *world, const struct kpi_interval *iv,
                               const struct kpi_work *lock, kp_time at);
/* Who held a kernel lock at an instant of a wait for it (KPI_NONE = not known), and until when. */
struct kpi_hold kpi_lock_hold(const struct kpi_world *world, const struct kpi_work *lock,
                              kp_time at);
/* How many threads got it during the wait, with the one that held it at its begin. */
unsigned kpi_lock_holders(const struct kpi_world *world, const struct kpi_work *lock);

#endif
