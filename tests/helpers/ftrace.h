/* SPDX-License-Identifier: Apache-2.0
 *
 * Recordings of others as text (the kernel's trace file, trace-cmd's report, systrace) into a
 * made-up world: its switches and wakeups. Each thread is taken for a process of its own, for the
 * text does not tell.
 */
#ifndef KP_TESTS_FTRACE_H
#define KP_TESTS_FTRACE_H

#include "world.h"

#define FTRACE_SWITCHES 16384
#define FTRACE_WAKEUPS  16384

struct ftrace_wakeup {
    kp_time ts;
    uint32_t tid;
};

struct ftrace_switch {
    kp_time ts;
    uint32_t next;
};

struct ftrace {
    const char *wakeup;  /* the event that is a wakeup: sched_waking or sched_wakeup */
    kp_time first, last; /* of all lines that are events, in the text's ns */
    uint32_t rows, switches, wakeups;
    struct ftrace_switch switched[FTRACE_SWITCHES];
    struct ftrace_wakeup woken[FTRACE_WAKEUPS];
};
/* Reads the file (or what a .gz holds) and commits. w->zero is added to its stamps. */
void ftrace_load(struct world *w, const char *path, const char *wakeup, struct ftrace *out);

#endif
