/* SPDX-License-Identifier: Apache-2.0
 *
 * The chain of switches of each CPU: who leaves it is who came last. A kernel may keep what runs in
 * some context from every tracing program (seen: the threads of process 1 of a virtual machine);
 * nothing counts such events as lost, but the chain shows it: the thread that runs now is not the
 * one that was switched in. The interval in between is a gap like any other.
 *
 * Invariant: on a CPU whose every switch is seen no gap is ever reported. Not thread-safe.
 */
#ifndef KP_INGEST_CHAIN_H
#define KP_INGEST_CHAIN_H

#include <stdbool.h>
#include <stdint.h>

/* Who runs on a CPU as far as its records say; zeroed = not known. */
struct kpi_chain {
    bool known;
    uint32_t tid;
    int64_t since; /* mono of the last record that agreed */
};

/* tid made an event at mono, so it runs. True: another thread was switched in last, *out_from is
 * the last instant at which the chain was right. */
bool kpi_chain_ran(struct kpi_chain *chain, uint32_t tid, int64_t mono, int64_t *out_from);
/* The thread that ran left for next. */
void kpi_chain_switch(struct kpi_chain *chain, uint32_t next);
/* The running thread has the number tid from now on: a thread that executes a program while it does
 * not lead its group takes the leader's. */
void kpi_chain_rename(struct kpi_chain *chain, uint32_t tid);
/* Events of this CPU were lost: nothing is known until the next switch. */
void kpi_chain_break(struct kpi_chain *chain);

#endif
