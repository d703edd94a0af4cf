/* SPDX-License-Identifier: Apache-2.0
 *
 * What /proc and the machine say: the fallback for threads whose life was not seen, and the names
 * that tell this host from others. Every read may fail: threads end while they are looked at.
 */
#ifndef KP_INGEST_PROC_H
#define KP_INGEST_PROC_H

#include "base/time.h"

#define KPI_COMM_MAX   64  /* 15 bytes of the kernel, each at most 3 after repair, and NUL */
#define KPI_CGROUP_MAX 512 /* path, cut when longer */
#define KPI_BOOT_MAX   40

struct kpi_proc_thread {
    uint32_t tid;
    uint32_t pid;        /* thread group */
    int64_t start_ticks; /* ns since boot, rounded down to a clock tick */
    bool kthread;
    char comm[KPI_COMM_MAX];
    char cgroup_v2[KPI_CGROUP_MAX]; /* "" = not mounted */
    char cgroup_v1[KPI_CGROUP_MAX]; /* of the v1 cpu hierarchy, "" = none */
};

/* Reads thread tid; false when it is gone. Any thread. */
bool kpi_proc_thread(uint32_t tid, struct kpi_proc_thread *out);
/* True when thread tid belongs to process pid right now. */
bool kpi_proc_has_thread(uint32_t pid, uint32_t tid);
/* The number by which thread tid of process pid knows itself: that of its innermost pid namespace.
 * *out_depth: 1 = the namespace of /proc. 0 when it is gone. */
uint32_t kpi_proc_inner(uint32_t pid, uint32_t tid, uint32_t *out_depth);
/* The path that names a thread's cgroup: v2 when it says anything, else the v1 one, else "/". */
struct kp_str kpi_cgroup_choose(struct kp_str v2, struct kp_str v1);
/* Id of this boot ("" when unknown) and of this machine; constant, any thread. */
const char *kpi_boot_id(void);
const char *kpi_machine_id(void);
/* Copies text with every byte that is not UTF-8 replaced by U+FFFD; cut to size - 1 bytes.
 * Returns the length; adds the number of replaced bytes to *bad. */
uint32_t kpi_utf8_repair(char *out, size_t size, const char *text, uint32_t len, uint64_t *bad);

#endif
