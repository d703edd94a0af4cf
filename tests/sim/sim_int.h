/* SPDX-License-Identifier: Apache-2.0
 *
 * Between the kernel of the simulator and what its threads do.
 */
#ifndef KP_TESTS_SIM_INT_H
#define KP_TESTS_SIM_INT_H

#include "sim/sim.h"

enum {
    EVENT_STEP,
    EVENT_SLICE,
    EVENT_LEAVE_IDLE,
    EVENT_TIMER,
    EVENT_DISK,
    EVENT_ARRIVE,
    EVENT_PERIOD,
    EVENT_IRQ,
    EVENT_IRQ_END,
    EVENT_CONTINUE
};

/* Where a wakeup comes from. */
struct sim_source {
    uint32_t host, cpu;
    uint32_t current; /* SIM_NONE = idle */
    enum world_context context;
    int vec, irq;
};

void sim_event_add(struct sim *sim, kp_time t, int type, uint32_t a, uint32_t b);
struct sim_row *sim_row_add(struct sim *sim, enum sim_row_type type, kp_time from, uint32_t host,
                            uint32_t cpu, uint32_t thread);
struct sim_cpu *sim_cpu_of(struct sim *sim, const struct sim_thread *thread);
/* The running thread goes to sleep: leaves its CPU. */
void sim_block(struct sim *sim, uint32_t thread, enum sim_why why, uint32_t ref, int letter);
/* A sleeping thread wants to run again. */
void sim_wake(struct sim *sim, uint32_t thread, const struct sim_source *source);
/* The thread's own wakeup of another. */
struct sim_source sim_by(const struct sim *sim, uint32_t thread);
/* A wakeup from an interrupt on some CPU of the host. */
struct sim_source sim_by_irq(struct sim *sim, uint32_t host, enum world_context context, int vec,
                             int irq);
/* A thread begins to exist, made by another or before the world began (SIM_NONE). */
void sim_start(struct sim *sim, uint32_t thread, uint32_t parent);
void sim_exit(struct sim *sim, uint32_t thread);

/* The running thread's phase is over: goes on to the next; leaves `need` set, or it sleeps. */
void sim_step(struct sim *sim, uint32_t thread);
void sim_timer(struct sim *sim, uint32_t thread, uint32_t number);
void sim_disk_done(struct sim *sim, uint32_t host);
void sim_arrive(struct sim *sim, uint32_t message);
void sim_story(struct sim *sim);

#endif
