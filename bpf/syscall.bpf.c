// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * System calls, enter and exit joined in the thread's storage. Only calls that last, or that a
 * bound process makes, become records: the others are counted. A thread that is inside a call when
 * the recording starts has no begin, and gets no record for that call.
 */
#include "base.h"

#define TS_COMPAT 2          /* thread_info.status on x86: 32-bit call, other table of numbers */
#define NR_COMPAT 0x80000000 /* marks its number */
#define BOUND_MAX 4096

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, BOUND_MAX);
    __type(key, u32);
    __type(value, u8);
} bound SEC(".maps");

u32 bound_count; /* saves the look-up when it is 0; written by user space */

SEC("tp_btf/sys_enter")
int BPF_PROG(kp_sys_enter, struct pt_regs *regs, long nr)
{
    struct kp_task *task;

    if (kp_own(bpf_get_current_pid_tgid()))
        return 0;
    task = kp_task_make();
    if (!task)
        return 0;
    task->sys_nr = nr;
    task->sys_start = bpf_ktime_get_ns();
    return 0;
}

static __always_inline bool is_bound(u64 actor)
{
    u32 tgid = actor >> 32;

    return bound_count && bpf_map_lookup_elem(&bound, &tgid);
}

static __always_inline bool is_compat(void)
{
    struct task_struct *task = bpf_get_current_task_btf();

    return bpf_core_field_exists(task->thread_info.status) &&
           (task->thread_info.status & TS_COMPAT);
}

/* The argument registers still hold what they held at enter. */
static __always_inline void record_call(struct pt_regs *regs, u64 actor, u64 start, u32 nr, s64 ret)
{
    struct kp_record_SYSCALL *rec = kp_open_by(SYSCALL, actor);

    if (!rec)
        return;
    rec->dur = rec->head.mono - start;
    rec->ret = ret;
    rec->arg0 = PT_REGS_PARM1_SYSCALL(regs);
    rec->arg1 = PT_REGS_PARM2_SYSCALL(regs);
    rec->arg2 = PT_REGS_PARM3_SYSCALL(regs);
    rec->arg3 = PT_REGS_PARM4_SYSCALL(regs);
    rec->nr = is_compat() ? nr | NR_COMPAT : nr;
    kp_submit(rec);
}

SEC("tp_btf/sys_exit")
int BPF_PROG(kp_sys_exit, struct pt_regs *regs, long ret)
{
    u64 actor = bpf_get_current_pid_tgid(), start;
    struct kp_task *task;
    struct kp_cpu *cpu;

    if (kp_own(actor))
        return 0;
    task = kp_task_find();
    if (!task || !task->sys_start)
        return 0;
    start = task->sys_start;
    task->sys_start = 0;
    if (bpf_ktime_get_ns() - start >= config.syscall_min || is_bound(actor)) {
        record_call(regs, actor, start, (u32)task->sys_nr, ret);
        return 0;
    }
    cpu = kp_cpu();
    if (cpu)
        cpu->syscalls_short++; /* this program alone writes it, and does not nest */
    return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
