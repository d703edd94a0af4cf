/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * Waits for I/O that only the scheduler sees end: a page fault has no event for its end, the pause
 * of a writer neither. A thread that leaves its CPU waiting for I/O, in one of them, is remembered;
 * when it runs again the record is made. Part of the switch program: a second program on that
 * tracepoint would cost every switch, this one costs a look at two flags.
 */
#ifndef KP_BPF_WAIT_H
#define KP_BPF_WAIT_H

#include "base.h"

#define WAITS_MAX 4096

struct wait {
    u64 start;
    struct kp_fault fault; /* start = 0: no file is known */
    u32 pause_dev;
    bool pause;
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, WAITS_MAX);
    __type(key, u32);
    __type(value, struct wait);
} waits SEC(".maps");

static u32 waits_count; /* saves the look-up when it is 0 */

/* In the kernel by an exception of user code, which the entry code marks with a negative number of
 * system call. */
static __always_inline bool in_exception(struct task_struct *task, u64 *out_ip)
{
    struct pt_regs *regs;

    if (!task->mm)
        return false;
    regs = (struct pt_regs *)bpf_task_pt_regs(task);
    *out_ip = BPF_CORE_READ(regs, ip);
    return (s64)BPF_CORE_READ(regs, orig_ax) < 0;
}

static __always_inline void wait_begin(struct task_struct *task)
{
    struct kp_task *known = bpf_task_storage_get(&tasks, task, NULL, 0);
    struct wait wait = {.start = bpf_ktime_get_ns()};
    u32 tid = task->pid;
    u64 ip = 0;

    if (task->tgid == own_tgid)
        return;
    if (known && known->pause) {
        known->pause = 0;
        wait.pause = true;
        wait.pause_dev = known->pause_dev;
    } else {
        if (!kp_wanted(KP_STREAM_FAULT) || !in_exception(task, &ip))
            return;
        if (known && known->fault.start && known->fault.ip == ip) {
            wait.fault = known->fault;
            wait.start = known->fault.start;
            known->fault.start = 0;
        }
        wait.fault.ip = ip;
    }
    if (bpf_map_update_elem(&waits, &tid, &wait, BPF_NOEXIST))
        kp_lose_join();
    else
        __sync_fetch_and_add(&waits_count, 1);
}

static __always_inline void pause_record(struct task_struct *task, const struct wait *wait)
{
    struct kp_record_WRITEBACK *rec = kp_open(WRITEBACK, task->pid, task->tgid);

    if (!rec)
        return;
    rec->dur = rec->head.mono - wait->start;
    rec->id = 0;
    rec->dev = wait->pause_dev;
    rec->op = 0; /* dirty_pause */
    kp_submit(rec);
}

static __always_inline void fault_record(struct task_struct *task, const struct wait *wait)
{
    struct kp_record_FAULT *rec = kp_open(FAULT, task->pid, task->tgid);

    if (!rec)
        return;
    rec->dur = rec->head.mono - wait->start;
    rec->obj = wait->fault.obj;
    rec->offset = wait->fault.offset;
    rec->ip = wait->fault.ip;
    rec->obj_dev = wait->fault.dev;
    kp_submit(rec);
}

static __always_inline void wait_end(struct task_struct *task)
{
    u32 tid = task->pid;
    struct wait *known = bpf_map_lookup_elem(&waits, &tid), wait;

    if (!known)
        return;
    wait = *known;
    if (bpf_map_delete_elem(&waits, &tid))
        return;
    __sync_fetch_and_sub(&waits_count, 1);
    if (wait.pause)
        pause_record(task, &wait);
    else
        fault_record(task, &wait);
}

/* At a switch. iowait: prev sleeps until some I/O is done. */
static __always_inline void kp_waits(struct task_struct *prev, struct task_struct *next,
                                     bool iowait)
{
    if (iowait)
        wait_begin(prev);
    if (waits_count)
        wait_end(next);
}

#endif
