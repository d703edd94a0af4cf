// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * System calls, enter and exit joined in the thread's storage. Only calls that last, or that a
 * bound process makes, become records: the others are counted. A thread that is inside a call when
 * the recording starts has no begin, and gets no record for that call. A record names what stands
 * behind the call's descriptor; a call on a socket has a second record, of its connection.
 */
#include "object.h"
#include "sock.h"
#include "task.h"

#define TS_COMPAT 2          /* thread_info.status on x86: 32-bit call, other table of numbers */
#define NR_COMPAT 0x80000000 /* marks its number */
#define BOUND_MAX 4096

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, BOUND_MAX);
    __type(key, u32);
    __type(value, u8);
} bound SEC(".maps");

extern struct task_struct *bpf_task_from_pid(s32 pid) __ksym __weak; /* since 6.2 */
extern void bpf_task_release(struct task_struct *task) __ksym __weak;

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

struct pollfd {
    s32 fd;
};

/* What stands behind the call's descriptor: of poll only when it is a single one. */
static __always_inline void call_object(struct pt_regs *regs, enum kp_call call,
                                        struct kp_object *out)
{
    u64 fd = PT_REGS_PARM1_SYSCALL(regs);
    struct pollfd pollfd = {.fd = -1};
    struct file *file;

    if (call == KP_CALL_NO_FD || call == KP_CALL_AFFINITY)
        return;
    if (call == KP_CALL_POLL) {
        if (PT_REGS_PARM2_SYSCALL(regs) != 1 ||
            bpf_probe_read_user(&pollfd, sizeof(pollfd), (void *)fd))
            return;
        fd = (u32)pollfd.fd;
    }
    file = kp_file((u32)fd);
    if (file)
        kp_object_of(file, out);
}

/* The argument registers still hold what they held at enter. */
static __always_inline void record_call(struct pt_regs *regs, u64 actor, u64 start, u32 nr, s64 ret,
                                        const struct kp_object *object)
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
    rec->nr = nr;
    rec->obj_dev = object->dev;
    rec->obj = object->id;
    rec->obj_kind = object->kind;
    kp_submit(rec);
}

static __always_inline u64 socket_inode(const struct socket *socket)
{
    struct socket_alloc *alloc = (struct socket_alloc *)socket; /* its first member */

    return socket ? BPF_CORE_READ(alloc, vfs_inode.i_ino) : 0;
}

static __always_inline void record_sock(struct socket *socket, u64 actor, u64 start, s64 ret,
                                        enum kp_call call)
{
    struct sock *sk = BPF_CORE_READ(socket, sk), *peer;
    struct kp_record_SOCK *rec;

    rec = sk ? kp_open_by(SOCK, actor) : NULL;
    if (!rec)
        return;
    kp_sock_ends(rec, sk);
    rec->dur = rec->head.mono - start;
    rec->op = call - KP_CALL_SEND;
    rec->bytes = call == KP_CALL_ACCEPT ? 0 : ret;
    rec->obj = socket_inode(socket);
    rec->peer = 0;
    rec->tcp_seq = 0;
    rec->proto = (u8)BPF_CORE_READ(sk, sk_protocol);
    if (rec->ip_family == FAMILY_UNIX) {
        peer = BPF_CORE_READ((struct unix_sock *)sk, peer);
        rec->peer = peer ? socket_inode(BPF_CORE_READ(peer, sk_socket)) : 0;
    } else if (rec->proto == PROTO_TCP) {
        rec->tcp_seq = call == KP_CALL_RECEIVE ? BPF_CORE_READ((struct tcp_sock *)sk, copied_seq)
                                               : BPF_CORE_READ((struct tcp_sock *)sk, write_seq);
    }
    kp_submit(rec);
}

static __always_inline void keep_call(struct pt_regs *regs, u64 actor, u64 start, u32 nr, s64 ret)
{
    bool compat = is_compat();
    enum kp_call call = compat || nr >= KP_CALLS_MAX ? KP_CALL_NO_FD : config.calls[nr];
    struct kp_object object = {};
    struct file *file;

    call_object(regs, call, &object);
    if (kp_wanted(KP_STREAM_SYSCALL))
        record_call(regs, actor, start, compat ? nr | NR_COMPAT : nr, ret, &object);
    if (!kp_wanted(KP_STREAM_SOCK) || call < KP_CALL_SEND || call > KP_CALL_ACCEPT)
        return;
    if (object.kind != OBJ_SOCKET || (call == KP_CALL_ACCEPT && ret < 0))
        return;
    /* the connection, not the socket that listens */
    file = call == KP_CALL_ACCEPT ? kp_file((u32)ret) : object.file;
    if (file)
        record_sock(BPF_CORE_READ(file, private_data), actor, start, ret, call);
}

/* The thread's CPUs after the call. Of a thread other than the caller only where the kernel lets it
 * be found. */
static __always_inline void record_affinity(struct pt_regs *regs)
{
    s32 tid = (s32)PT_REGS_PARM1_SYSCALL(regs);
    struct task_struct *other;
    struct kp_record_TASK *rec;

    if (!tid || tid == (s32)bpf_get_current_pid_tgid()) {
        rec = task_open(bpf_get_current_task_btf(), TASK_AFFINITY);
        if (rec)
            kp_submit(rec);
        return;
    }
    if (!bpf_task_from_pid)
        return;
    other = bpf_task_from_pid(tid);
    if (!other)
        return;
    rec = task_open(other, TASK_AFFINITY);
    if (rec)
        kp_submit(rec);
    bpf_task_release(other);
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
    if (kp_wanted(KP_STREAM_TASK) && !ret && (u32)task->sys_nr < KP_CALLS_MAX &&
        config.calls[(u32)task->sys_nr] == KP_CALL_AFFINITY && !is_compat())
        record_affinity(regs);
    if (bpf_ktime_get_ns() - start >= config.syscall_min || is_bound(actor)) {
        keep_call(regs, actor, start, (u32)task->sys_nr, ret);
        return 0;
    }
    cpu = kp_cpu();
    if (cpu)
        cpu->syscalls_short++; /* this program alone writes it, and does not nest */
    return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
