// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Writing back: commits of a file system's journal, begin and end joined in the thread that does
 * them; and the beginning of the pauses that a thread must make because it writes faster than the
 * disk. wait.h has the rest of a pause.
 */
#include "base.h"

#define OP_COMMIT 1 /* WRITEBACK_OP of the catalogue */

SEC("tp_btf/jbd2_start_commit")
int BPF_PROG(kp_commit_begin, journal_t *journal, transaction_t *transaction)
{
    struct kp_task *task = kp_task_make();

    if (task)
        task->commit_start = bpf_ktime_get_ns();
    return 0;
}

SEC("tp_btf/jbd2_end_commit")
int BPF_PROG(kp_commit_end, journal_t *journal, transaction_t *transaction)
{
    struct kp_task *task = kp_task_find();
    struct kp_record_WRITEBACK *rec;
    u64 start;

    if (!task || !task->commit_start)
        return 0;
    start = task->commit_start;
    task->commit_start = 0;
    rec = kp_open_by(WRITEBACK, bpf_get_current_pid_tgid());
    if (!rec)
        return 0;
    rec->dur = rec->head.mono - start;
    rec->id = BPF_CORE_READ(transaction, t_tid);
    rec->dev = BPF_CORE_READ(journal, j_fs_dev, bd_dev);
    rec->op = OP_COMMIT;
    kp_submit(rec);
    return 0;
}

/* Told just before it sleeps; with no pause to come (0 or less) it does not. */
static __always_inline int pause_begin(struct bdi_writeback *wb, s64 pause)
{
    struct kp_task *task;

    if (pause <= 0 || kp_own(bpf_get_current_pid_tgid()))
        return 0;
    task = kp_task_make();
    if (!task)
        return 0;
    task->pause_dev = BPF_CORE_READ(wb, bdi, owner, devt);
    task->pause = 1;
    return 0;
}

/* Since 6.17 the limits come as one struct. */
SEC("tp_btf/balance_dirty_pages")
int BPF_PROG(kp_dirty_pause, struct bdi_writeback *wb, void *limits, u64 dirty_rate, u64 task_rate,
             u64 dirtied, u64 period, s64 pause)
{
    return pause_begin(wb, pause);
}

SEC("tp_btf/balance_dirty_pages")
int BPF_PROG(kp_dirty_pause_12, struct bdi_writeback *wb, u64 limit, u64 bg_limit, u64 dirty,
             u64 bdi_limit, u64 bdi_dirty, u64 dirty_rate, u64 task_rate, u64 dirtied, u64 period,
             s64 pause)
{
    return pause_begin(wb, pause);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
