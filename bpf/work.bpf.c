// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Work for kernel workers: queued, begun, done; joined by the work's address until it begins, since
 * it can be queued once at a time, and then in the worker's storage, since it may be freed or
 * queued again by its own function. Delayed work is queued by the timer: nobody's.
 */
#include "base.h"

#define WORKS_MAX 8192
#define NAMES_MAX 1024

struct queued {
    u64 at;
    u64 submitter; /* 0 = an interrupt */
    u32 context;
};

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, WORKS_MAX);
    __type(key, u64);
    __type(value, struct queued);
} works SEC(".maps");

struct name {
    char text[32];
};

/* Names of functions: the kernel needs microseconds to find one. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, NAMES_MAX);
    __type(key, u64);
    __type(value, struct name);
} names SEC(".maps");

SEC("tp_btf/workqueue_queue_work")
int BPF_PROG(kp_work_queue, int cpu, void *pool, struct work_struct *work)
{
    struct kp_cpu *state = kp_cpu();
    struct queued queued = {.at = bpf_ktime_get_ns()};
    u64 key = (u64)work;

    if (!state)
        return 0;
    queued.context = kp_context(state);
    if (queued.context == KP_IN_TASK)
        queued.submitter = bpf_get_current_pid_tgid();
    if (bpf_map_update_elem(&works, &key, &queued, BPF_ANY))
        kp_lose_join();
    return 0;
}

SEC("tp_btf/workqueue_execute_start")
int BPF_PROG(kp_work_begin, struct work_struct *work)
{
    u64 key = (u64)work;
    struct queued *queued = bpf_map_lookup_elem(&works, &key);
    struct kp_task *task;

    if (!queued) /* older than the recording, or pushed out */
        return 0;
    task = kp_own(queued->submitter) ? NULL : kp_task_make();
    if (task) {
        task->work.queued = queued->at;
        task->work.submitter = queued->submitter;
        task->work.context = queued->context;
        task->work.function = (u64)BPF_CORE_READ(work, func);
        task->work.start = bpf_ktime_get_ns();
    }
    bpf_map_delete_elem(&works, &key);
    return 0;
}

static __always_inline void name_function(u64 function, struct name *out)
{
    static const char symbol[] = "%ps";
    struct name *known = bpf_map_lookup_elem(&names, &function);

    if (known) {
        *out = *known;
        return;
    }
    bpf_snprintf(out->text, sizeof(out->text), symbol, &function, sizeof(function));
    bpf_map_update_elem(&names, &function, out, BPF_ANY);
}

SEC("tp_btf/workqueue_execute_end")
int BPF_PROG(kp_work_end, struct work_struct *work)
{
    struct name name = {};
    struct kp_task *task = kp_task_find();
    struct kp_record_WORKQUEUE *rec;
    u64 start;

    if (!task || !task->work.start)
        return 0;
    start = task->work.start;
    task->work.start = 0;
    rec = kp_open_by(WORKQUEUE, bpf_get_current_pid_tgid());
    if (!rec)
        return 0;
    rec->dur = rec->head.mono - start;
    rec->queue_dur = start - task->work.queued;
    rec->work = (u64)work; /* its address only: it may be gone */
    rec->function = task->work.function;
    rec->submitter = (u32)task->work.submitter;
    rec->context = (u8)task->work.context;
    name_function(task->work.function, &name);
    __builtin_memcpy(rec->name, name.text, sizeof(rec->name));
    kp_submit(rec);
    return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
