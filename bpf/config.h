/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * What the programs and source_ring.c share besides records: the settings, fixed at load, and the
 * state of each CPU, which user space maps read-only.
 */
#ifndef KP_BPF_CONFIG_H
#define KP_BPF_CONFIG_H

#define KP_KINDS_MAX    64 /* stream numbers below come from the kernel */
#define KP_SOFTIRQS_MAX 10
#define KP_IRQS_MAX     8   /* interrupt lines summed at the same time on one CPU */
#define KP_CALLS_MAX    512 /* system calls that are told apart */
#define KP_CONTEXTS     3   /* task, softirq, hardirq */
#define KP_VEC_NONE     255
#define KP_IRQ_NONE     (-1)

/* Constants of a load: the verifier removes the branches they switch off. */
struct kp_config {
    u64 kinds;       /* bit n = records of stream n are wanted */
    u64 syscall_min; /* ns, as the next two */
    u64 lock_min;
    u64 irq_min;
    u64 irq_window;         /* short interrupts are summed up for at least so long */
    u32 shard_shift;        /* ring number = cpu >> shard_shift */
    u8 calls[KP_CALLS_MAX]; /* enum kp_call of a number, for this architecture */
};

/* What a system call does with a descriptor. The four of sockets are 1 + their SOCK_OP. */
enum kp_call {
    KP_CALL_NO_FD,
    KP_CALL_SEND,
    KP_CALL_RECEIVE,
    KP_CALL_CONNECT,
    KP_CALL_ACCEPT,
    KP_CALL_FD,      /* the first argument is one */
    KP_CALL_POLL,    /* the first argument points to some, the second says how many */
    KP_CALL_AFFINITY /* has none; says which CPUs a thread may run on */
};

/* Short interrupts of one vector or line, not yet recorded. */
struct kp_irq_sum {
    u64 since; /* start of the first, ns */
    u64 dur;
    u32 count;
    s32 id;  /* vector of a soft one, line of a hard one (or minus the CPU's own vector) */
    u32 tid; /* interrupted thread when it was the same for all, else 0 */
    u32 tgid;
    char name[16];
};

struct kp_lock_wait {
    u64 start; /* 0 = none */
    u64 addr;
    u32 owner;
    u32 flags;
};

/* A page of a file that a thread did not find mapped. */
struct kp_fault {
    u64 start; /* 0 = none */
    u64 ip;    /* of the user's instruction */
    u64 obj;
    u64 offset;
    u32 dev;
};

/* Work that a kernel worker is in the middle of. */
struct kp_work {
    u64 start; /* 0 = none */
    u64 queued;
    u64 submitter; /* pid_tgid, 0 = an interrupt */
    u64 function;
    u32 context;
};

/* One per CPU, written by the programs on it only. Programs nest (an interrupt in the middle of
 * another program), so counters that several programs touch are added to atomically. */
struct kp_cpu {
    u64 lost; /* records that found no room */
    u64 by_kind[KP_KINDS_MAX];
    u64 joins; /* begins that could not be remembered, ends without a begin */
    u64 syscalls_short;
    s32 irq; /* line being handled, valid while irq_start != 0 */
    u32 vec; /* vector being handled; valid while softirq_start != 0 */
    u64 irq_start;
    u64 softirq_start;
    u64 softirq_inner; /* of it, time in hard interrupts */
    struct kp_lock_wait spins[KP_CONTEXTS];
    struct kp_irq_sum softirqs[KP_SOFTIRQS_MAX];
    struct kp_irq_sum irqs[KP_IRQS_MAX];
} __attribute__((aligned(64)));

#endif
