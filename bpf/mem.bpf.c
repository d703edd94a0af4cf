// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Memory pressure: what threads do to get memory back, begin and end joined in the thread's
 * storage, and whom the out-of-memory killer chose. The beginning of page faults: wait.h has the
 * rest.
 */
#include "base.h"

#define PAGE_SHIFT 12

/* VMSCAN_OP of the catalogue */
enum { SCAN_DIRECT, SCAN_MEMCG, SCAN_NODE, SCAN_THROTTLED, SCAN_COMPACTION, SCAN_KSWAPD };

static __always_inline void scan_record(u64 start, u64 reclaimed, u32 gfp, s32 order, u8 op)
{
    struct kp_record_VMSCAN *rec = kp_open_by(VMSCAN, bpf_get_current_pid_tgid());

    if (!rec)
        return;
    rec->dur = rec->head.mono - start;
    rec->reclaimed = reclaimed;
    rec->gfp = gfp;
    rec->order = (s16)order;
    rec->op = op;
    kp_submit(rec);
}

static __always_inline int scan_begin(s32 order, u32 gfp, s32 op)
{
    struct kp_task *task;

    if (kp_own(bpf_get_current_pid_tgid()))
        return 0;
    task = kp_task_make();
    if (!task)
        return 0;
    task->scan_order = order;
    task->scan_gfp = gfp;
    task->scan_op = op;
    task->scan_start = bpf_ktime_get_ns();
    return 0;
}

static __always_inline int scan_end(u64 reclaimed, s32 op)
{
    struct kp_task *task = kp_task_find();
    u64 start;

    if (!task || !task->scan_start || task->scan_op != op)
        return 0;
    start = task->scan_start;
    task->scan_start = 0;
    scan_record(start, reclaimed, task->scan_gfp, task->scan_order, (u8)op);
    return 0;
}

SEC("tp_btf/mm_vmscan_direct_reclaim_begin")
int BPF_PROG(kp_direct_begin, int order, u32 gfp)
{
    return scan_begin(order, gfp, SCAN_DIRECT);
}

SEC("tp_btf/mm_vmscan_direct_reclaim_end")
int BPF_PROG(kp_direct_end, unsigned long reclaimed)
{
    return scan_end(reclaimed, SCAN_DIRECT);
}

SEC("tp_btf/mm_vmscan_memcg_reclaim_begin")
int BPF_PROG(kp_memcg_begin, int order, u32 gfp)
{
    return scan_begin(order, gfp, SCAN_MEMCG);
}

SEC("tp_btf/mm_vmscan_memcg_reclaim_end")
int BPF_PROG(kp_memcg_end, unsigned long reclaimed)
{
    return scan_end(reclaimed, SCAN_MEMCG);
}

SEC("tp_btf/mm_vmscan_node_reclaim_begin")
int BPF_PROG(kp_node_begin, int nid, int order, u32 gfp)
{
    return scan_begin(order, gfp, SCAN_NODE);
}

SEC("tp_btf/mm_vmscan_node_reclaim_end")
int BPF_PROG(kp_node_end, unsigned long reclaimed)
{
    return scan_end(reclaimed, SCAN_NODE);
}

/* Told at the end of the pause, with its length. */
SEC("tp_btf/mm_vmscan_throttled")
int BPF_PROG(kp_throttled, int nid, int timeout_us, int delayed_us, int reason)
{
    u64 delayed = delayed_us > 0 ? (u64)delayed_us * 1000 : 0;

    if (!kp_own(bpf_get_current_pid_tgid()))
        scan_record(bpf_ktime_get_ns() - delayed, 0, 0, 0, SCAN_THROTTLED);
    return 0;
}

SEC("tp_btf/mm_vmscan_kswapd_wake")
int BPF_PROG(kp_kswapd_wake, int nid, int zone, int order)
{
    struct kp_task *task = kp_task_make();

    if (!task || task->kswapd_start)
        return 0;
    task->kswapd_order = order;
    task->kswapd_start = bpf_ktime_get_ns();
    return 0;
}

SEC("tp_btf/mm_vmscan_kswapd_sleep")
int BPF_PROG(kp_kswapd_sleep, int nid)
{
    struct kp_task *task = kp_task_find();
    u64 start;

    if (!task || !task->kswapd_start)
        return 0;
    start = task->kswapd_start;
    task->kswapd_start = 0;
    scan_record(start, 0, 0, task->kswapd_order, SCAN_KSWAPD);
    return 0;
}

SEC("tp_btf/mm_compaction_begin")
int BPF_PROG(kp_compaction_begin, struct compact_control *cc)
{
    struct kp_task *task;

    if (kp_own(bpf_get_current_pid_tgid()))
        return 0;
    task = kp_task_make();
    if (task)
        task->compact_start = bpf_ktime_get_ns();
    return 0;
}

SEC("tp_btf/mm_compaction_end")
int BPF_PROG(kp_compaction_end, struct compact_control *cc)
{
    struct kp_task *task = kp_task_find();
    u64 start;

    if (!task || !task->compact_start)
        return 0;
    start = task->compact_start;
    task->compact_start = 0;
    scan_record(start, 0, cc->gfp_mask, cc->order, SCAN_COMPACTION);
    return 0;
}

static __always_inline void victim_record(u64 total_vm, u32 tid, u32 uid)
{
    struct kp_record_OOM *rec = kp_open_by(OOM, bpf_get_current_pid_tgid());

    if (!rec)
        return;
    rec->total_vm = total_vm;
    rec->victim = tid;
    rec->uid = uid;
    kp_submit(rec);
}

/* Since 6.8 */
SEC("tp_btf/mark_victim")
int BPF_PROG(kp_victim, struct task_struct *task, u32 uid)
{
    victim_record(BPF_CORE_READ(task, mm, total_vm), task->pid, uid);
    return 0;
}

/* Before: the thread's number is all there is. */
SEC("tp_btf/mark_victim")
int BPF_PROG(kp_victim_pid, int tid)
{
    victim_record(0, (u32)tid, 0);
    return 0;
}

/* A page of a mapped file is not mapped yet; it may be in memory all the same. */
SEC("tp_btf/mm_filemap_fault")
int BPF_PROG(kp_filemap_fault, struct address_space *mapping, unsigned long index)
{
    struct task_struct *current = bpf_get_current_task_btf();
    struct inode *inode = BPF_CORE_READ(mapping, host);
    struct kp_task *task;

    if (kp_own(bpf_get_current_pid_tgid()))
        return 0;
    task = kp_task_make();
    if (!task)
        return 0;
    task->fault.ip = BPF_CORE_READ((struct pt_regs *)bpf_task_pt_regs(current), ip);
    task->fault.obj = BPF_CORE_READ(inode, i_ino);
    task->fault.dev = BPF_CORE_READ(inode, i_sb, s_dev);
    task->fault.offset = (u64)index << PAGE_SHIFT;
    task->fault.start = bpf_ktime_get_ns();
    return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
