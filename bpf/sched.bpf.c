// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Who ran where, and who was made runnable by whom. These two streams are complete: our own threads
 * are in them too, because a run queue cannot be explained with a hole in the CPU's history.
 */
#include "wait.h"

/* Bits of task_struct.__state and exit_state; the same since 4.14. */
#define TASK_REPORT      0x7f  /* those that users are shown */
#define TASK_NOLOAD_D    0x402 /* TASK_UNINTERRUPTIBLE that does not count as load: idle */
#define TASK_RTLOCK_WAIT 0x1000
#define TASK_FROZEN      0x8000 /* since 6.1: the freezer of cgroup version 1, and of suspend */
#define SHOWN_D          0x02
#define SHOWN_IDLE       0x80
#define SHOWN_PREEMPTED  0x100
#define SHOWN_FROZEN     0x200

/* The freezer of cgroup version 2 lets threads sleep like any others, and marks them. */
static __always_inline bool is_frozen(const struct task_struct *prev, u32 state)
{
    if (state & TASK_FROZEN)
        return true;
    return (state & TASK_REPORT) == 1 && bpf_core_field_exists(prev->frozen) &&
           BPF_CORE_READ_BITFIELD(prev, frozen);
}

/* The one letter users know, as the kernel's own trace event shows it, but F for frozen threads:
 * there they look like runnable or sleeping ones. */
static __always_inline u16 shown_state(const struct task_struct *prev, u32 state, bool preempt)
{
    u32 bits = (state | (u32)prev->exit_state) & TASK_REPORT;

    if (preempt) /* stays on the run queue even when it was about to sleep */
        return SHOWN_PREEMPTED;
    if (is_frozen(prev, state))
        return SHOWN_FROZEN;
    if ((state & TASK_NOLOAD_D) == TASK_NOLOAD_D)
        return SHOWN_IDLE;
    if (state & TASK_RTLOCK_WAIT)
        return SHOWN_D;
    bits |= bits >> 1; /* keep the highest bit only */
    bits |= bits >> 2;
    bits |= bits >> 4;
    return (u16)(bits - (bits >> 1));
}

/* Did prev leave because its group had used up its quota? Since 6.18 a flag of the thread says so;
 * before, its run queue is throttled while it is still runnable. */
static __always_inline bool is_throttled(const struct task_struct *prev, u32 state)
{
    if (bpf_core_field_exists(prev->throttled))
        return prev->throttled;
    if (state != 0 || !bpf_core_field_exists(struct cfs_rq, throttle_count))
        return false;
    return prev->se.cfs_rq && prev->se.cfs_rq->throttle_count > 0;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(kp_switch, bool preempt, struct task_struct *prev, struct task_struct *next, u32 state)
{
    struct kp_record_SCHED_SWITCH *rec;

    if (kp_wanted(KP_STREAM_FAULT) || kp_wanted(KP_STREAM_WRITEBACK))
        kp_waits(prev, next, !preempt && BPF_CORE_READ_BITFIELD(prev, in_iowait));
    if (!kp_wanted(KP_STREAM_SCHED_SWITCH))
        return 0;
    rec = kp_open(SCHED_SWITCH, prev->pid, prev->tgid);
    if (!rec)
        return 0;
    rec->next = next->pid;
    rec->prev_state = shown_state(prev, state, preempt);
    rec->prev_prio = (s16)prev->prio;
    rec->next_prio = (s16)next->prio;
    rec->preempt = preempt;
    rec->iowait = BPF_CORE_READ_BITFIELD(prev, in_iowait);
    rec->memstall =
        bpf_core_field_exists(prev->in_memstall) ? BPF_CORE_READ_BITFIELD(prev, in_memstall) : 0;
    rec->throttled = is_throttled(prev, state);
    kp_submit(rec);
    return 0;
}

static __always_inline int waking(struct task_struct *wakee, bool is_new)
{
    u64 actor = bpf_get_current_pid_tgid();
    struct kp_cpu *cpu = kp_cpu();
    struct kp_record_SCHED_WAKING *rec;
    enum kp_context context;

    rec = cpu ? kp_open_by(SCHED_WAKING, actor) : NULL;
    if (!rec)
        return 0;
    context = kp_context(cpu);
    rec->wakee = wakee->pid;
    rec->irq = context == KP_IN_HARDIRQ ? cpu->irq : KP_IRQ_NONE;
    rec->target_cpu = (u16)wakee->thread_info.cpu;
    rec->wakee_prio = (s16)wakee->prio;
    rec->context = context;
    rec->vec = context == KP_IN_SOFTIRQ ? (u8)cpu->vec : KP_VEC_NONE;
    rec->is_new = is_new;
    kp_submit(rec);
    return 0;
}

SEC("tp_btf/sched_waking")
int BPF_PROG(kp_waking, struct task_struct *wakee)
{
    return waking(wakee, false);
}

SEC("tp_btf/sched_wakeup_new")
int BPF_PROG(kp_wakeup_new, struct task_struct *wakee)
{
    return waking(wakee, true);
}

SEC("tp_btf/sched_migrate_task")
int BPF_PROG(kp_migrate, struct task_struct *task, int cpu)
{
    struct kp_record_MIGRATE *rec = kp_open_by(MIGRATE, bpf_get_current_pid_tgid());

    if (!rec)
        return 0;
    rec->thread = task->pid;
    rec->from_cpu = (u16)task->thread_info.cpu;
    rec->to_cpu = (u16)cpu;
    kp_submit(rec);
    return 0;
}

SEC("tp_btf/sched_pi_setprio")
int BPF_PROG(kp_setprio, struct task_struct *task, struct task_struct *donor)
{
    struct kp_record_PI *rec = kp_open_by(PI, bpf_get_current_pid_tgid());
    s32 prio, lent;

    if (!rec)
        return 0;
    prio = task->normal_prio;
    rec->target = task->pid;
    rec->donor = 0;
    rec->old_prio = (s16)task->prio;
    if (donor) {
        lent = donor->prio;
        prio = lent < prio ? lent : prio;
        rec->donor = (u32)donor->pid;
    }
    rec->new_prio = (s16)prio;
    kp_submit(rec);
    return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
