// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Life of threads and control groups. Our own are in it too: other rows name them.
 */
#include "task.h"

#define GROUP_TASKS_MAX 65536 /* threads followed when a whole process moves between groups */

enum { CGROUP_MKDIR = 1, CGROUP_RMDIR, CGROUP_RENAME, CGROUP_ATTACH };

SEC("tp_btf/sched_process_fork")
int BPF_PROG(kp_fork, struct task_struct *parent, struct task_struct *child)
{
    struct kp_record_TASK *rec = task_open(child, TASK_FORK);

    if (!rec)
        return 0;
    rec->parent = parent->pid;
    kp_submit(rec);
    return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(kp_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
    struct kp_record_TASK *rec = task_open(task, TASK_EXEC);

    if (!rec)
        return 0;
    bpf_probe_read_kernel_str(rec->exe, sizeof(rec->exe), BPF_CORE_READ(bprm, filename));
    kp_submit(rec);
    return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(kp_exit, struct task_struct *task)
{
    struct kp_record_TASK *rec = task_open(task, TASK_EXIT);

    if (!rec)
        return 0;
    rec->exit_code = task->exit_code;
    kp_submit(rec);
    return 0;
}

SEC("tp_btf/task_rename")
int BPF_PROG(kp_rename, struct task_struct *task, const char *comm)
{
    struct kp_record_TASK *rec = task_open(task, TASK_RENAME);

    if (!rec)
        return 0;
    bpf_probe_read_kernel_str(rec->name, sizeof(rec->name), comm);
    kp_submit(rec);
    return 0;
}

/* Start scan: the same records, read from the iterator's file. */
SEC("iter/task")
int kp_scan(struct bpf_iter__task *ctx)
{
    struct task_struct *task = ctx->task;
    struct kp_record_TASK rec = {};

    own_tgid = bpf_get_current_pid_tgid() >> 32;
    if (!task)
        return 0;
    rec.head.mono = bpf_ktime_get_ns();
    rec.head.tid = task->pid;
    rec.head.tgid = task->tgid;
    rec.head.kind = KP_STREAM_TASK;
    rec.head.version = KP_RECORD_VERSION;
    task_describe(&rec, task);
    rec.op = TASK_SCAN;
    bpf_seq_write(ctx->meta->seq, &rec, sizeof(rec));
    return 0;
}

static __always_inline bool has_controller(struct cgroup *group, u64 id)
{
    u64 at = bpf_core_field_offset(struct cgroup, subsys) + sizeof(void *) * id;
    void *css = NULL;

    bpf_probe_read_kernel(&css, sizeof(css), (void *)group + at);
    return css != NULL;
}

#define CONTROLLER(group, name)                                 \
    (bpf_core_enum_value_exists(enum cgroup_subsys_id, name) && \
     has_controller(group, bpf_core_enum_value(enum cgroup_subsys_id, name)))

static __always_inline void cgroup_record(struct cgroup *group, const char *path, u8 op, u32 tid,
                                          u32 tgid)
{
    struct kp_record_CGROUP *rec = kp_open(CGROUP, tid, tgid);

    if (!rec)
        return;
    rec->id = BPF_CORE_READ(group, kn, id);
    rec->hierarchy = BPF_CORE_READ(group, root, hierarchy_id);
    rec->level = (u16)BPF_CORE_READ(group, level);
    rec->op = op;
    rec->controllers = CONTROLLER(group, cpu_cgrp_id) | CONTROLLER(group, memory_cgrp_id) << 1 |
                       CONTROLLER(group, io_cgrp_id) << 2;
    bpf_probe_read_kernel_str(rec->path, sizeof(rec->path), path);
    kp_submit(rec);
}

static __always_inline int cgroup_life(struct cgroup *group, const char *path, u8 op)
{
    u64 actor = bpf_get_current_pid_tgid();

    cgroup_record(group, path, op, (u32)actor, actor >> 32);
    return 0;
}

SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(kp_cgroup_mkdir, struct cgroup *group, const char *path)
{
    return cgroup_life(group, path, CGROUP_MKDIR);
}

SEC("tp_btf/cgroup_rmdir")
int BPF_PROG(kp_cgroup_rmdir, struct cgroup *group, const char *path)
{
    return cgroup_life(group, path, CGROUP_RMDIR);
}

SEC("tp_btf/cgroup_rename")
int BPF_PROG(kp_cgroup_rename, struct cgroup *group, const char *path)
{
    return cgroup_life(group, path, CGROUP_RENAME);
}

/* The threads of a process that moves as a whole: the kernel tells of the leader only. */
struct group_walk {
    struct cgroup *group;
    const char *path;
    struct list_head *head, *node;
};

static long group_walk_step(u32 index, struct group_walk *walk)
{
    struct list_head *node = walk->node;
    struct task_struct *task;

    node = BPF_CORE_READ(node, next);
    if (!node || node == walk->head)
        return 1;
    walk->node = node;
    task = (void *)node - bpf_core_field_offset(struct task_struct, thread_node);
    cgroup_record(walk->group, walk->path, CGROUP_ATTACH, BPF_CORE_READ(task, pid),
                  BPF_CORE_READ(task, tgid));
    return 0;
}

SEC("tp_btf/cgroup_attach_task")
int BPF_PROG(kp_cgroup_attach, struct cgroup *group, const char *path, struct task_struct *task,
             bool threadgroup)
{
    struct group_walk walk = {.group = group, .path = path};

    if (!threadgroup) {
        cgroup_record(group, path, CGROUP_ATTACH, task->pid, task->tgid);
        return 0;
    }
    walk.head = (void *)BPF_CORE_READ(task, signal) +
                bpf_core_field_offset(struct signal_struct, thread_head);
    walk.node = walk.head;
    bpf_loop(GROUP_TASKS_MAX, group_walk_step, &walk, 0);
    return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
