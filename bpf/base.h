/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * State that all programs share, and the way a record is made:
 *
 *     struct kp_record_OOM *rec = kp_open(OOM, tid, tgid);
 *     if (!rec)
 *         return 0;        // counted as lost
 *     rec->uid = ...;
 *     kp_submit(rec);
 *
 * The maps live in base.bpf.c; the objects of all subjects are linked into one.
 */
#ifndef KP_BPF_BASE_H
#define KP_BPF_BASE_H

#include "core.h"
#include "event.h"
#include "config.h"

/* What a thread is in the middle of. */
struct kp_task {
    u64 sys_start; /* 0 = none, as in the others */
    u64 sys_nr;
    struct kp_lock_wait lock;
    u64 scan_start;
    u32 scan_gfp;
    s32 scan_order;
    u64 compact_start;
    u64 kswapd_start;
    s32 kswapd_order;
    s32 scan_op;
    struct kp_fault fault;
    struct kp_work work;
    u64 commit_start;
    u32 pause_dev;
    u32 pause; /* the next wait for I/O is the pause of a writer */
};

struct kp_ring {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 4096);
};

struct kp_rings {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, 1);
    __type(key, u32);
    __array(values, struct kp_ring);
};

struct kp_cpus {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, u32);
    __type(value, struct kp_cpu);
};

struct kp_tasks {
    __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct kp_task);
};

extern const volatile struct kp_config config;
extern u32 own_tgid;
extern struct kp_rings rings SEC(".maps");
extern struct kp_cpus cpus SEC(".maps");
extern struct kp_tasks tasks SEC(".maps");

static __always_inline bool kp_wanted(u32 kind)
{
    return config.kinds & (1ULL << kind);
}

static __always_inline bool kp_own(u64 pid_tgid)
{
    return pid_tgid >> 32 == own_tgid;
}

static __always_inline struct kp_cpu *kp_cpu(void)
{
    u32 cpu = bpf_get_smp_processor_id();
    return bpf_map_lookup_elem(&cpus, &cpu);
}

static __always_inline void kp_lose_join(void)
{
    struct kp_cpu *cpu = kp_cpu();
    if (cpu)
        __sync_fetch_and_add(&cpu->joins, 1);
}

/* Room for a record with its head filled in; NULL is counted as lost. The stamp is taken after the
 * room: a reader of the ring that does not see the record's place yet will see a later stamp. */
static __always_inline void *kp_record_open(u8 kind, u32 size, u32 tid, u32 tgid)
{
    u32 cpu = bpf_get_smp_processor_id();
    u32 shard = cpu >> config.shard_shift;
    struct kp_cpu *state = bpf_map_lookup_elem(&cpus, &cpu);
    void *ring = bpf_map_lookup_elem(&rings, &shard);
    struct kp_record *rec;

    if (!state || !ring)
        return NULL;
    rec = bpf_ringbuf_reserve(ring, size, 0);
    if (!rec) {
        __sync_fetch_and_add(&state->lost, 1);
        __sync_fetch_and_add(&state->by_kind[kind], 1);
        return NULL;
    }
    rec->mono = bpf_ktime_get_ns();
    rec->tid = tid;
    rec->tgid = tgid;
    rec->lost = (u32)state->lost;
    rec->cpu = (u16)cpu;
    rec->kind = kind;
    rec->version = KP_RECORD_VERSION;
    return rec;
}

#define kp_open(ID, tid, tgid)                                                                   \
    ((struct kp_record_##ID *)kp_record_open(KP_STREAM_##ID, sizeof(struct kp_record_##ID), tid, \
                                             tgid))
/* The same, the actor being a pid_tgid pair as bpf_get_current_pid_tgid gives it. */
#define kp_open_by(ID, pid_tgid) kp_open(ID, (u32)(pid_tgid), (u32)((pid_tgid) >> 32))
/* User space drains by the clock: no wakeup per record. */
#define kp_submit(rec) bpf_ringbuf_submit(rec, BPF_RB_NO_WAKEUP)

/* State of the current thread, or NULL when it has none. */
static __always_inline struct kp_task *kp_task_find(void)
{
    return bpf_task_storage_get(&tasks, bpf_get_current_task_btf(), NULL, 0);
}

/* The same, made if need be; no memory for it is counted as a lost join. */
static __always_inline struct kp_task *kp_task_make(void)
{
    struct kp_task *task = bpf_task_storage_get(&tasks, bpf_get_current_task_btf(), NULL,
                                                BPF_LOCAL_STORAGE_GET_F_CREATE);
    if (!task)
        kp_lose_join();
    return task;
}

enum kp_context { KP_IN_TASK, KP_IN_SOFTIRQ, KP_IN_HARDIRQ };

/* Where the code that hit a tracepoint runs, from what the interrupt programs saw. The preemption
 * count would know, but its address is only there on kernels with CONFIG_KALLSYMS_ALL. */
static __always_inline enum kp_context kp_context(const struct kp_cpu *cpu)
{
    if (cpu->irq_start)
        return KP_IN_HARDIRQ;
    return cpu->softirq_start ? KP_IN_SOFTIRQ : KP_IN_TASK;
}

#endif
