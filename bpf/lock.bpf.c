// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Waits for contended kernel locks, begin and end joined. A wait that can sleep belongs to the
 * thread; a spinning one to the CPU and its context, since an interrupt can spin on top of another
 * spin, and since memory must not be asked for with a spin lock in hand. Mutexes begin up to three
 * times for one end (spin, sleep, spin as first waiter): the first begin counts.
 */
#include "base.h"

/* LCB_F_* of the kernel's trace/events/lock.h */
enum {
    FLAG_SPIN = 1,
    FLAG_READ = 2,
    FLAG_WRITE = 4,
    FLAG_RT = 8,
    FLAG_PERCPU = 16,
    FLAG_MUTEX = 32
};
/* low bits of an owner word */
enum { OWNER_FLAGS = 7, RWSEM_READER_OWNED = 1 };
/* LOCK_KIND of the catalogue */
enum {
    KIND_UNKNOWN,
    SPINLOCK,
    RWLOCK_READ,
    RWLOCK_WRITE,
    MUTEX,
    RWSEM_READ,
    RWSEM_WRITE,
    RTMUTEX,
    PERCPU_RWSEM
};

static __always_inline bool is_spin(u32 flags)
{
    return (flags & FLAG_SPIN) && !(flags & FLAG_MUTEX);
}

static __always_inline u8 lock_kind(u32 flags)
{
    if (flags & FLAG_MUTEX)
        return MUTEX;
    if (flags & FLAG_SPIN)
        return flags & FLAG_READ ? RWLOCK_READ : flags & FLAG_WRITE ? RWLOCK_WRITE : SPINLOCK;
    if (flags & FLAG_RT)
        return RTMUTEX;
    if (flags & FLAG_PERCPU)
        return PERCPU_RWSEM;
    return flags & FLAG_READ ? RWSEM_READ : flags & FLAG_WRITE ? RWSEM_WRITE : KIND_UNKNOWN;
}

/* Thread that holds the lock, 0 = not known. Readers of an rwsem leave a stale word: not used. */
static __always_inline u32 lock_owner(void *lock, u32 flags)
{
    u64 word = 0;

    if (flags & (FLAG_RT | FLAG_PERCPU))
        return 0;
    if (flags & FLAG_MUTEX)
        word = BPF_CORE_READ((struct mutex *)lock, owner.counter);
    else if (flags & (FLAG_READ | FLAG_WRITE))
        word = BPF_CORE_READ((struct rw_semaphore *)lock, owner.counter);
    if (!(flags & FLAG_MUTEX) && (word & RWSEM_READER_OWNED))
        return 0;
    word &= ~(u64)OWNER_FLAGS;
    return word ? BPF_CORE_READ((struct task_struct *)word, pid) : 0;
}

static __always_inline struct kp_lock_wait *spin_wait(struct kp_cpu *cpu)
{
    return cpu ? &cpu->spins[kp_context(cpu)] : NULL;
}

static __always_inline void wait_begin(struct kp_lock_wait *wait, void *lock, u32 flags, u32 owner)
{
    if (wait->start && wait->addr == (u64)lock) {
        if (!wait->owner)
            wait->owner = owner;
        return;
    }
    wait->addr = (u64)lock;
    wait->flags = flags;
    wait->owner = owner;
    wait->start = bpf_ktime_get_ns();
}

SEC("tp_btf/contention_begin")
int BPF_PROG(kp_contention_begin, void *lock, u32 flags)
{
    struct kp_lock_wait *wait;
    struct kp_task *task;

    if (kp_own(bpf_get_current_pid_tgid()))
        return 0;
    if (is_spin(flags)) {
        wait = spin_wait(kp_cpu());
        if (wait)
            wait_begin(wait, lock, flags, 0);
        return 0;
    }
    task = kp_task_make();
    if (task)
        wait_begin(&task->lock, lock, flags, lock_owner(lock, flags));
    return 0;
}

static __always_inline int wait_end(struct kp_lock_wait *wait)
{
    struct kp_lock_wait done = *wait;
    struct kp_record_LOCK *rec;

    wait->start = 0;
    wait->owner = 0;
    if (bpf_ktime_get_ns() - done.start < config.lock_min)
        return 0;
    rec = kp_open_by(LOCK, bpf_get_current_pid_tgid());
    if (!rec)
        return 0;
    rec->dur = rec->head.mono - done.start;
    rec->addr = done.addr;
    rec->owner = done.owner;
    rec->flags = done.flags;
    rec->kind = lock_kind(done.flags);
    kp_submit(rec);
    return 0;
}

SEC("tp_btf/contention_end")
int BPF_PROG(kp_contention_end, void *lock)
{
    struct kp_lock_wait *wait;
    struct kp_task *task;

    if (kp_own(bpf_get_current_pid_tgid()))
        return 0;
    wait = spin_wait(kp_cpu());
    if (wait && wait->start && wait->addr == (u64)lock)
        return wait_end(wait);
    task = kp_task_find();
    if (task && task->lock.start && task->lock.addr == (u64)lock)
        return wait_end(&task->lock);
    return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
