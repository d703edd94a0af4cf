/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * What a record says of a thread.
 */
#ifndef KP_BPF_TASK_H
#define KP_BPF_TASK_H

#include "base.h"

#define PF_KTHREAD 0x00200000

enum { TASK_SCAN, TASK_FORK, TASK_EXEC, TASK_EXIT, TASK_RENAME, TASK_AFFINITY };

/* Id of the task's group in the v1 hierarchy of the cpu controller; 0 when that is the unified one.
 */
static __always_inline u64 cpu_cgroup_v1(struct task_struct *task)
{
    struct css_set *set = BPF_CORE_READ(task, cgroups);
    u32 at = bpf_core_field_offset(struct css_set, subsys);
    struct cgroup_subsys_state *css = NULL;
    struct cgroup *group;

    if (!bpf_core_enum_value_exists(enum cgroup_subsys_id, cpu_cgrp_id))
        return 0;
    at += sizeof(void *) * bpf_core_enum_value(enum cgroup_subsys_id, cpu_cgrp_id);
    bpf_probe_read_kernel(&css, sizeof(css), (void *)set + at);
    group = BPF_CORE_READ(css, cgroup);
    if (BPF_CORE_READ(group, root, hierarchy_id) == 0)
        return 0;
    return BPF_CORE_READ(group, kn, id);
}

/* Everything but the head, op and exe. */
static __always_inline void task_describe(struct kp_record_TASK *rec, struct task_struct *task)
{
    rec->start_boot = BPF_CORE_READ(task, start_boottime);
    rec->cgroup_v2 = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
    rec->cgroup_v1 = cpu_cgroup_v1(task);
    rec->parent = BPF_CORE_READ(task, real_parent, tgid);
    rec->exit_code = 0;
    rec->prio = (s16)BPF_CORE_READ(task, prio);
    rec->kthread = (BPF_CORE_READ(task, flags) & PF_KTHREAD) != 0;
    bpf_core_read_str(rec->name, sizeof(rec->name), &task->comm);
    __builtin_memset(rec->exe, 0, sizeof(rec->exe));
    rec->cpus = (u32)BPF_CORE_READ(task, nr_cpus_allowed);
    rec->cpu_mask = BPF_CORE_READ(task, cpus_ptr, bits[0]);
}

static __always_inline struct kp_record_TASK *task_open(struct task_struct *task, u8 op)
{
    struct kp_record_TASK *rec = kp_open(TASK, BPF_CORE_READ(task, pid), BPF_CORE_READ(task, tgid));
    if (!rec)
        return NULL;
    task_describe(rec, task);
    rec->op = op;
    return rec;
}

#endif
