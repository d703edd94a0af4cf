/* SPDX-License-Identifier: Apache-2.0
 *
 * A process in a container knows itself by a number of its own pid namespace, and that is what its
 * spans say. This finds the process of this host that is meant: the one whose innermost number
 * (NSpid of /proc/PID/status) is the one said, and that agrees with everything else the resource
 * says of it. A process of this namespace goes before those below it; of two below it none is
 * taken: a wrong process would be blamed.
 *
 * Answers are remembered while the process lives; a miss for MISS_NS. Thread-safe.
 */
#ifndef KP_INGEST_PIDNS_H
#define KP_INGEST_PIDNS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"

/* What a sender says of its process; empty = not said. */
struct kpi_process_claim {
    uint32_t pid;            /* its own number, as it sees it */
    struct kp_str container; /* container.id, whole or its first 12 digits */
    struct kp_str cgroup;    /* process.linux.cgroup: the path, or its end */
    struct kp_str exe;       /* process.executable.name */
    kp_time created;         /* process.creation.time; 0 = not said */
};

struct kpi_process {
    uint32_t pid; /* as this host sees it */
    bool inner;   /* lives in a pid namespace below this one: its tids need kpi_pidns_thread */
};

/* False: nobody here agrees, or several in namespaces below. */
bool kpi_pidns_find(const struct kpi_process_claim *claim, struct kpi_process *out);
/* The tid, as this host sees it, of the thread that process pid knows as inner; 0 = none. */
uint32_t kpi_pidns_thread(uint32_t pid, uint32_t inner);

#endif
