// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Interrupts, entry and exit joined in the CPU's state; the same state tells the waking programs in
 * which interrupt they are. Long ones become records of their own, short ones are summed up per
 * vector or line and recorded when the sum is old enough, by the last of them, so that a sum ends
 * exactly at its stamp. What no later one records is left in the CPU's state for user space.
 * Time of a soft interrupt is without the hard ones that came in between. The kernel skips a
 * program that one of its own interrupts, so a begin or an end can be missing: what is left of the
 * time is never less than none.
 */
#include "base.h"

/* Adds one short interrupt that ended now; true when the sum is due to be recorded. */
static __always_inline bool sum_add(struct kp_irq_sum *sum, s32 id, u64 start, u64 now, u64 dur,
                                    u64 actor)
{
    if (!sum->count) {
        sum->since = start;
        sum->dur = 0;
        sum->id = id;
        sum->tid = (u32)actor;
        sum->tgid = actor >> 32;
    } else if (sum->tid != (u32)actor) {
        sum->tid = 0;
        sum->tgid = 0;
    }
    sum->dur += dur;
    sum->count++;
    return sum->count > 1 && now - sum->since >= config.irq_window;
}

static __always_inline bool softirq_record(const struct kp_irq_sum *sum, bool single)
{
    struct kp_record_SOFTIRQ *rec = kp_open(SOFTIRQ, sum->tid, sum->tgid);

    if (!rec)
        return false;
    rec->dur = sum->dur;
    rec->window = single ? 0 : rec->head.mono - sum->since;
    rec->count = sum->count;
    rec->vec = (u8)sum->id;
    kp_submit(rec);
    return true;
}

static __always_inline bool irq_record(const struct kp_irq_sum *sum, bool single)
{
    struct kp_record_IRQ *rec = kp_open(IRQ, sum->tid, sum->tgid);

    if (!rec)
        return false;
    rec->dur = sum->dur;
    rec->window = single ? 0 : rec->head.mono - sum->since;
    rec->count = sum->count;
    rec->irq = sum->id;
    __builtin_memcpy(rec->name, sum->name, sizeof(rec->name));
    kp_submit(rec);
    return true;
}

SEC("tp_btf/softirq_entry")
int BPF_PROG(kp_softirq_entry, u32 vec)
{
    struct kp_cpu *cpu = kp_cpu();

    if (!cpu)
        return 0;
    cpu->vec = vec;
    cpu->softirq_inner = 0;
    cpu->softirq_start = bpf_ktime_get_ns();
    return 0;
}

SEC("tp_btf/softirq_exit")
int BPF_PROG(kp_softirq_exit, u32 vec)
{
    struct kp_cpu *cpu = kp_cpu();
    u64 now = bpf_ktime_get_ns(), start, dur, actor;
    struct kp_irq_sum one = {}, *sum;

    if (!cpu || !cpu->softirq_start)
        return 0;
    start = cpu->softirq_start;
    dur = now - start;
    dur -= dur < cpu->softirq_inner ? dur : cpu->softirq_inner;
    cpu->softirq_start = 0;
    if (!kp_wanted(KP_STREAM_SOFTIRQ) || vec >= KP_SOFTIRQS_MAX)
        return 0;
    actor = bpf_get_current_pid_tgid();
    if (dur >= config.irq_min) {
        sum_add(&one, (s32)vec, start, now, dur, actor);
        softirq_record(&one, true);
        return 0;
    }
    sum = &cpu->softirqs[vec];
    if (sum_add(sum, (s32)vec, start, now, dur, actor) && softirq_record(sum, false))
        sum->count = 0;
    return 0;
}

static __always_inline int hardirq_enter(s32 irq)
{
    struct kp_cpu *cpu = kp_cpu();

    if (!cpu)
        return 0;
    cpu->irq = irq;
    cpu->irq_start = bpf_ktime_get_ns();
    return 0;
}

/* The line's sum, else an empty one, else NULL. */
static __always_inline struct kp_irq_sum *irq_sum(struct kp_cpu *cpu, s32 irq)
{
    struct kp_irq_sum *empty = NULL;

    for (u32 i = 0; i < KP_IRQS_MAX; i++) {
        struct kp_irq_sum *sum = &cpu->irqs[i];
        if (!sum->count)
            empty = empty ? empty : sum;
        else if (sum->id == irq)
            return sum;
    }
    return empty;
}

static __always_inline int hardirq_exit(s32 irq, const char *name)
{
    struct kp_cpu *cpu = kp_cpu();
    u64 now = bpf_ktime_get_ns(), start, actor;
    struct kp_irq_sum one = {}, *sum;

    if (!cpu || !cpu->irq_start)
        return 0;
    start = cpu->irq_start;
    cpu->irq_start = 0;
    if (start >= cpu->softirq_start) /* else its beginning was not seen */
        cpu->softirq_inner += now - start;
    if (!kp_wanted(KP_STREAM_IRQ))
        return 0;
    actor = bpf_get_current_pid_tgid();
    sum = now - start < config.irq_min ? irq_sum(cpu, irq) : NULL;
    if (!sum) {
        sum_add(&one, irq, start, now, now - start, actor);
        bpf_probe_read_kernel_str(one.name, sizeof(one.name), name);
        irq_record(&one, true);
        return 0;
    }
    if (!sum->count)
        bpf_probe_read_kernel_str(sum->name, sizeof(sum->name), name);
    if (sum_add(sum, irq, start, now, now - start, actor) && irq_record(sum, false))
        sum->count = 0;
    return 0;
}

SEC("tp_btf/irq_handler_entry")
int BPF_PROG(kp_irq_entry, int irq)
{
    return hardirq_enter(irq);
}

SEC("tp_btf/irq_handler_exit")
int BPF_PROG(kp_irq_exit, int irq, struct irqaction *action)
{
    return hardirq_exit(irq, BPF_CORE_READ(action, name));
}

/* Interrupts of the CPU itself have a vector and no line: known as minus the vector. The timer ends
 * most sleeps, the others are how CPUs ask things of each other (flush your TLB, run this). */
#define OWN_VECTOR(NAME)                           \
    static const char NAME##_name[] = #NAME;       \
    SEC("tp_btf/" #NAME "_entry")                  \
    int BPF_PROG(kp_##NAME##_entry, int vector)    \
    {                                              \
        return hardirq_enter(-vector);             \
    }                                              \
    SEC("tp_btf/" #NAME "_exit")                   \
    int BPF_PROG(kp_##NAME##_exit, int vector)     \
    {                                              \
        return hardirq_exit(-vector, NAME##_name); \
    }

OWN_VECTOR(local_timer)
OWN_VECTOR(call_function)
OWN_VECTOR(call_function_single)
OWN_VECTOR(irq_work)

char LICENSE[] SEC("license") = "Dual BSD/GPL";
