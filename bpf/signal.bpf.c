// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Signals, where they are generated.
 */
#include "base.h"

#define SI_USER   0
#define SI_KERNEL 0x80

/* info is a struct or one of two small numbers: 0 = by a process without more, 1 = by the kernel.
 */
static __always_inline s32 signal_code(struct kernel_siginfo *info)
{
    if ((u64)info == 0)
        return SI_USER;
    if ((u64)info == 1)
        return SI_KERNEL;
    return BPF_CORE_READ(info, si_code);
}

SEC("tp_btf/signal_generate")
int BPF_PROG(kp_signal, int sig, struct kernel_siginfo *info, struct task_struct *task, int group,
             int result)
{
    u64 actor = bpf_get_current_pid_tgid();
    struct kp_record_SIGNAL *rec;

    if (kp_own(actor))
        return 0;
    rec = kp_open_by(SIGNAL, actor);
    if (!rec)
        return 0;
    rec->target = group ? task->tgid : task->pid;
    rec->sig = sig;
    rec->code = signal_code(info);
    rec->result = result;
    kp_submit(rec);
    return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
