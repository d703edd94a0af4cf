/* SPDX-License-Identifier: Apache-2.0
 *
 * Leaf rules for a thread that was on a CPU or wanted to be. Each stretch is cut by layers, the
 * innermost first: what interrupts took is theirs, then what reclaim took, then the system call;
 * of the time on a run queue, quota first, then interrupts on that CPU, then whoever held it.
 */
#include <string.h>

#include "base/assert.h"
#include "causal/blame.h"
#include "column/syscalls.h"

#define PLACED_SOON    (100 * KP_US) /* a woken thread that ran within this was placed there */
#define PLACED_AT_ONCE (2 * KP_US)   /* ... to the CPU of the waker */
#define IDLE_EXIT_MAX  (5 * KP_MS)   /* no idle CPU leaves a thread waiting for longer */
#define SYSCALL_MIN    (10 * KP_US)  /* shorter calls are part of the running around them */
#define CONVOY_MIN     3             /* holders in turn that make a queue a convoy */
#define IDLE_CHECK_MIN (100 * KP_US) /* shorter waits are not checked for idle CPUs elsewhere */

/* ---------- notes ---------- */

static int16_t prio_of_waiter(const struct kpi_world *world, const struct kpi_interval *iv)
{
    if (iv->begin != KPI_NONE) {
        const struct kpi_event *event = kpi_event_of(world, iv->begin);
        return kpi_event_prio(event, iv->thread);
    }
    return iv->end == KPI_NONE ? INT16_MAX : kpi_event_of(world, iv->end)->prio_b;
}

/* A row that says the holder got the priority of the waiter during the wait, or NULL. */
static const struct kpi_work *boost_of(const struct kpi_world *world, const struct kpi_frame *frame)
{
    const struct kpi_work_set *set = &world->works[KPI_WORK_BOOST];
    const struct kpi_interval *wait = frame->waiter;
    const struct kpi_work *row = kpi_work_first(set, frame->thread, wait->from - KP_MS, wait->to);
    for (; row != NULL; row = kpi_work_next(set, row, wait->from - KP_MS, wait->to))
        if (row->other == wait->thread && row->b < row->a)
            return row;
    return NULL;
}

static struct kp_str thread_text(const struct kpi_walk *walk, uint32_t index)
{
    const struct kpi_thread *thread = kpi_thread_of(walk->world, index);
    struct kp_str comm = kp_actors_get(walk->world->actors, thread->actor)->comm;
    return kpi_text(walk->arena, "%.*s/%u", (int)comm.len, comm.ptr, thread->tid);
}

/* The holder wanted to run and did not, though the waiter would have outranked it. */
static void note_inversion(struct kpi_walk *walk, const struct kpi_frame *frame,
                           const struct kpi_interval *iv, struct kpi_slice *slice)
{
    const struct kpi_work *boost = boost_of(walk->world, frame);
    int16_t holder_prio = prio_of_waiter(walk->world, iv);
    if (boost == NULL && holder_prio <= prio_of_waiter(walk->world, frame->waiter))
        return;
    struct kp_str holder = thread_text(walk, frame->thread);
    struct kp_str waiter = thread_text(walk, frame->waiter->thread);
    struct kp_str by =
        slice->culprit != KPI_NONE ? thread_text(walk, slice->culprit) : slice->object;
    slice->note =
        kpi_text(walk->arena, "inversion: %.*s waits for %.*s (prio %lld%s), kept off by %.*s",
                 (int)waiter.len, waiter.ptr, (int)holder.len, holder.ptr,
                 boost != NULL ? (long long)boost->a : (long long)holder_prio,
                 boost != NULL ? ", boosted" : "", (int)by.len, by.ptr);
    kpi_slice_work(slice, boost);
}

void kpi_slice_lock(struct kpi_walk *walk, const struct kpi_frame *frame,
                    const struct kpi_interval *iv, struct kpi_slice *slice)
{
    if (frame->waiter != NULL && iv != NULL && iv->state == KPI_STATE_RUNNABLE)
        note_inversion(walk, frame, iv, slice);
    if (slice->note.len == 0 && frame->holders >= CONVOY_MIN)
        slice->note = kpi_text(walk->arena, "convoy x%u", frame->holders);
}

static void culprit_set(struct kpi_slice *slice, uint32_t thread, kp_actor_id actor)
{
    slice->culprit = thread;
    slice->culprit_actor = actor;
}

static struct kp_str enum_text(enum kp_stream_no stream, const char *column, int64_t value)
{
    const struct kp_stream *s = kp_stream_by_number(stream);
    return kp_enum_name(&s->stored[kp_stream_stored(s, column)], value);
}

/* Threads that leave no rows had this CPU for some of the time: what is said of it is taken from
 * who left the CPU at its end. */
static void note_hidden(struct kpi_walk *walk, struct kpi_slice *slice)
{
    if (slice->note.len == 0)
        slice->note = kpi_text(walk->arena, "gap: hidden threads came and went on cpu %u meanwhile",
                               kpi_cpu_of(walk->world, slice->cpu)->number);
}

void kpi_blame_unknown(struct kpi_walk *walk, const struct kpi_frame *frame, const char *reason,
                       kp_time from, kp_time to)
{
    struct kpi_slice slice = kpi_slice_make(walk, frame, NULL, from, to);
    slice.subkind = kp_str_from(reason);
    slice.strength = KPI_WEAK;
    kpi_slice_emit(walk, &slice);
}

/* ---------- running ---------- */

/* Time the thread spent itself; as holder of a lock it is that lock's time. */
static void own_time(struct kpi_walk *walk, const struct kpi_frame *frame,
                     const struct kpi_interval *iv, const struct kpi_work *syscall, kp_time from,
                     kp_time to)
{
    struct kpi_slice slice = kpi_slice_make(walk, frame, iv, from, to);
    slice.kind = syscall != NULL ? KPI_SYSCALL : KPI_RUNNING;
    slice.rule = KPI_RULE_RUN;
    slice.cpu = iv->cpu;
    slice.stop = "";
    culprit_set(&slice, frame->thread, slice.actor);
    if (syscall != NULL)
        slice.subkind = enum_text(KP_S_SYSCALL, "nr", syscall->code);
    if (frame->lock != NULL) {
        slice.kind = KPI_LOCK;
        slice.rule = KPI_RULE_LOCK;
        slice.subkind = kpi_lock_kind(frame->lock);
        slice.object = kpi_lock_name(walk, frame->lock);
        kpi_slice_work(&slice, frame->lock);
        kpi_slice_lock(walk, frame, NULL, &slice);
    }
    if ((iv->flags & KPI_FLAG_LOST) != 0)
        note_hidden(walk, &slice);
    kpi_slice_event(&slice, iv->begin != KPI_NONE ? iv->begin : iv->end);
    kpi_slice_work(&slice, syscall);
    kpi_slice_emit(walk, &slice);
}

static void running_syscall(struct kpi_walk *walk, const struct kpi_frame *frame,
                            const struct kpi_interval *iv, const struct kpi_work *row, kp_time from,
                            kp_time to)
{
    own_time(walk, frame, iv, row->to - row->from < SYSCALL_MIN ? NULL : row, from, to);
}

static void running_plain(struct kpi_walk *walk, const struct kpi_frame *frame,
                          const struct kpi_interval *iv, kp_time from, kp_time to)
{
    own_time(walk, frame, iv, NULL, from, to);
}

static void running_no_job(struct kpi_walk *walk, const struct kpi_frame *frame,
                           const struct kpi_interval *iv, kp_time from, kp_time to)
{
    static const struct kpi_cut cut = {KPI_WORK_SYSCALL, running_syscall, running_plain};
    kpi_cut_run(walk, frame, iv, &cut, frame->thread, from, to);
}

/* A worker's time is spent for who queued the work; for a thread that waits for its own work it
 * is the worker's. */
static void running_job(struct kpi_walk *walk, const struct kpi_frame *frame,
                        const struct kpi_interval *iv, const struct kpi_work *row, kp_time from,
                        kp_time to)
{
    struct kpi_slice slice = kpi_slice_make(walk, frame, iv, from, to);
    bool other = row->other != KPI_NONE && !kpi_frame_within(frame, row->other);
    slice.kind = KPI_KWORKER;
    slice.rule = KPI_RULE_WORK;
    slice.cpu = iv->cpu;
    slice.stop = "";
    slice.subkind = row->name;
    culprit_set(&slice, other ? row->other : frame->thread, other ? row->other_actor : slice.actor);
    kpi_slice_work(&slice, row);
    kpi_slice_event(&slice, iv->begin);
    kpi_slice_emit(walk, &slice);
}

static void running_no_lock(struct kpi_walk *walk, const struct kpi_frame *frame,
                            const struct kpi_interval *iv, kp_time from, kp_time to)
{
    static const struct kpi_cut cut = {KPI_WORK_QUEUED, running_job, running_no_job};
    kpi_cut_run(walk, frame, iv, &cut, frame->thread, from, to);
}

static void running_no_fault(struct kpi_walk *walk, const struct kpi_frame *frame,
                             const struct kpi_interval *iv, kp_time from, kp_time to)
{
    static const struct kpi_cut cut = {KPI_WORK_LOCK, kpi_blame_lock, running_no_lock};
    kpi_cut_run(walk, frame, iv, &cut, frame->thread, from, to);
}

static void running_no_reclaim(struct kpi_walk *walk, const struct kpi_frame *frame,
                               const struct kpi_interval *iv, kp_time from, kp_time to)
{
    static const struct kpi_cut cut = {KPI_WORK_FAULT, kpi_blame_fault, running_no_fault};
    kpi_cut_run(walk, frame, iv, &cut, frame->thread, from, to);
}

static void irq_slice(struct kpi_walk *walk, const struct kpi_frame *frame,
                      const struct kpi_interval *iv, const struct kpi_work *row, kp_time from,
                      kp_time to)
{
    struct kpi_slice slice = kpi_slice_make(walk, frame, iv, from, to);
    bool soft = row->stream == KP_S_SOFTIRQ;
    slice.kind = soft ? KPI_SOFTIRQ : KPI_IRQ;
    slice.rule = KPI_RULE_IRQ;
    slice.cpu = row->cpu;
    slice.stop = "";
    slice.object = soft ? enum_text(KP_S_SOFTIRQ, "vec", row->code) : row->name;
    if (!soft && row->code >= 0)
        slice.subkind = kpi_text(walk->arena, "irq %d", row->code);
    kpi_slice_work(&slice, row);
    kpi_slice_emit(walk, &slice);
}

static void running_no_softirq(struct kpi_walk *walk, const struct kpi_frame *frame,
                               const struct kpi_interval *iv, kp_time from, kp_time to)
{
    static const struct kpi_cut cut = {KPI_WORK_RECLAIM, kpi_blame_reclaim, running_no_reclaim};
    kpi_cut_run(walk, frame, iv, &cut, frame->thread, from, to);
}

static void running_no_irq(struct kpi_walk *walk, const struct kpi_frame *frame,
                           const struct kpi_interval *iv, kp_time from, kp_time to)
{
    static const struct kpi_cut cut = {KPI_WORK_SOFTIRQ, irq_slice, running_no_softirq};
    kpi_cut_run(walk, frame, iv, &cut, iv->cpu, from, to);
}

void kpi_blame_running(struct kpi_walk *walk, const struct kpi_frame *frame,
                       const struct kpi_interval *iv, kp_time from, kp_time to)
{
    static const struct kpi_cut cut = {KPI_WORK_IRQ, irq_slice, running_no_irq};
    kpi_cut_run(walk, frame, iv, &cut, iv->cpu, from, to);
}

/* ---------- runnable: who held the CPU ---------- */

static uint32_t cpu_numbered(const struct kpi_world *world, uint32_t host_index, int64_t number)
{
    const struct kpi_host *host = kpi_host_of(world, host_index);
    return number >= 0 && number < host->cpu_index_count ? host->cpu_index[number] : KPI_NONE;
}

/* A woken thread is placed by its waker: just after the wakeup, and where that ran. A CPU that goes
 * idle can take it away almost as soon, the waker's own as well once the waker sleeps. */
static bool is_placement(const struct kpi_world *world, const struct kpi_interval *iv,
                         const struct kpi_work *move)
{
    if ((iv->flags & KPI_FLAG_PREEMPT) != 0 || iv->begin == KPI_NONE)
        return move->from <= iv->from;
    const struct kpi_cpu *waker = kpi_cpu_of(world, kpi_event_of(world, iv->begin)->cpu);
    kp_dur soon = move->b == waker->number ? PLACED_AT_ONCE : PLACED_SOON;
    return kpi_cpu_of(world, move->cpu)->number == waker->number && move->from < iv->from + soon;
}

/* By its recorded moves: the CPU it was queued on at t, and until when. KPI_NONE when the moves do
 * not lead to where it ran. */
static uint32_t moved_cpu(const struct kpi_world *world, const struct kpi_interval *iv, kp_time t,
                          uint32_t ran, kp_time *out_until)
{
    const struct kpi_work_set *set = &world->works[KPI_WORK_MOVE];
    uint32_t host = kpi_thread_of(world, iv->thread)->host, at = iv->cpu, last = iv->cpu;
    kp_time limit = *out_until;
    const struct kpi_work *row = kpi_work_first(set, iv->thread, iv->from - 1, iv->to + 1);
    for (; row != NULL; row = kpi_work_next(set, row, iv->from - 1, iv->to + 1)) {
        last = cpu_numbered(world, host, row->b);
        if (row->from <= t || is_placement(world, iv, row))
            at = last;
        else
            *out_until = KP_MIN(*out_until, row->from);
    }
    if (ran == KPI_NONE || last == ran)
        return at;
    *out_until = limit;
    return KPI_NONE;
}

/* CPU the thread was queued on at t, and until when (*out_until: at most what it holds before).
 * Without recorded moves: where it had been when it was switched out, where it finally ran when it
 * was woken. *out_sure is false when it moved in between and nothing says when. */
static uint32_t queue_cpu(const struct kpi_world *world, const struct kpi_interval *iv, kp_time t,
                          kp_time *out_until, bool *out_sure)
{
    uint32_t ran = iv->end == KPI_NONE ? KPI_NONE : kpi_event_of(world, iv->end)->cpu;
    if (kpi_work_any(&world->works[KPI_WORK_MOVE])) {
        uint32_t cpu = moved_cpu(world, iv, t, ran, out_until);
        *out_sure = true;
        if (cpu != KPI_NONE)
            return cpu;
    }
    if ((iv->flags & KPI_FLAG_PREEMPT) != 0 || ran == KPI_NONE) {
        *out_sure = iv->cpu != KPI_NONE && (ran == iv->cpu || ran == KPI_NONE);
        return iv->cpu;
    }
    *out_sure = ran == iv->cpu || iv->to - iv->from <= PLACED_SOON;
    return ran;
}

/* The CPUs the thread may run on, as far as the rows of its life say; 0 = not known. A change of
 * its cpuset has no row, so this can rule a CPU out for a hint and no more. */
static uint64_t allowed_cpus(const struct kpi_world *world, uint32_t thread, kp_time t)
{
    const struct kpi_work_set *set = &world->works[KPI_WORK_TASK];
    uint64_t mask = 0;
    const struct kpi_work *row = kpi_work_seen(set, thread, KP_TIME_MIN, t + 1);
    for (; row != NULL; row = kpi_work_next(set, row, KP_TIME_MIN, t + 1))
        mask = row->a != 0 ? (uint64_t)row->a : mask;
    if (mask == 0)
        kpi_work_check_before(set, thread);
    return mask;
}

static bool is_allowed(uint64_t mask, uint32_t number)
{
    return mask == 0 || number >= 64 || (mask >> number & 1) != 0;
}

/* Longest time a single other CPU that the thread may use sat idle within [from, to). */
static kp_dur idle_elsewhere(const struct kpi_world *world, uint32_t thread, uint32_t cpu,
                             kp_time from, kp_time to)
{
    kp_dur most = 0;
    uint32_t host = kpi_cpu_of(world, cpu)->host;
    if (to - from < IDLE_CHECK_MIN)
        return 0;
    uint64_t mask = allowed_cpus(world, thread, from);
    kpi_world_cpus_check(world, host);
    for (uint32_t other = 0; other < world->cpus.count; other++) {
        kp_dur idle = 0;
        kp_time until = from;
        if (other == cpu || kpi_cpu_of(world, other)->host != host ||
            !is_allowed(mask, kpi_cpu_of(world, other)->number))
            continue;
        for (kp_time t = from; t < to; t = until) {
            uint32_t event;
            uint32_t who = kpi_timeline_occupant(world, other, t, to, &until, &event);
            if (who != KPI_NONE && kpi_thread_of(world, who)->idle)
                idle += until - t;
        }
        most = KP_MAX(most, idle);
    }
    return most;
}

/* The occupant outranks the waiter, or is of the process that took the CPU away from it. */
static bool preempts(const struct kpi_world *world, const struct kpi_interval *iv, uint32_t who,
                     uint32_t came)
{
    if (came != KPI_NONE &&
        kpi_event_prio(kpi_event_of(world, came), who) < prio_of_waiter(world, iv))
        return true;
    if ((iv->flags & KPI_FLAG_PREEMPT) == 0 || iv->begin == KPI_NONE ||
        (iv->flags & KPI_FLAG_THROTTLED) != 0) /* its quota took the CPU away, not the next one */
        return false;
    uint32_t taker = kpi_event_of(world, iv->begin)->b;
    if (taker == KPI_NONE)
        return false;
    const struct kpi_thread *a = kpi_thread_of(world, taker), *b = kpi_thread_of(world, who);
    return taker == who || (a->pid == b->pid && a->host == b->host && !a->kthread);
}

static kp_actor_id occupant_actor(const struct kpi_world *world, uint32_t who, uint32_t came)
{
    return came == KPI_NONE ? kpi_thread_of(world, who)->actor
                            : kpi_event_actor(kpi_event_of(world, came), who);
}

/* Since when the thread had been on the queue it was on at t. */
static kp_time queued_since(const struct kpi_world *world, const struct kpi_interval *iv, kp_time t)
{
    const struct kpi_work_set *set = &world->works[KPI_WORK_MOVE];
    kp_time since = iv->from;
    const struct kpi_work *row = kpi_work_first(set, iv->thread, iv->from - 1, t + 1);
    for (; row != NULL; row = kpi_work_next(set, row, iv->from - 1, t + 1))
        if (row->from <= t)
            since = KP_MAX(since, row->from);
    return since;
}

/* How long the CPU sat idle around t with the thread on its queue; interrupts do not end that. */
static kp_dur idle_around(const struct kpi_world *world, const struct kpi_interval *iv,
                          uint32_t cpu, kp_time t)
{
    kp_time until, since = queued_since(world, iv, t);
    uint32_t came;
    kpi_timeline_occupant(world, cpu, t, iv->to, &until, &came);
    if (came != KPI_NONE)
        since = KP_MAX(since, kpi_event_of(world, came)->ts);
    return until - since;
}

/* Where the thread was queued, and who was there. */
struct place {
    uint32_t cpu, who, came; /* came: by which switch */
    bool misplaced;          /* another CPU it could have run on was idle */
};

static void occupant_slice(struct kpi_walk *walk, const struct kpi_frame *frame,
                           const struct kpi_interval *iv, const struct place *place, kp_time from,
                           kp_time to)
{
    const struct kpi_world *world = walk->world;
    struct kpi_slice slice = kpi_slice_make(walk, frame, iv, from, to);
    uint32_t who = place->who, came = place->came;
    slice.cpu = place->cpu;
    slice.rule = KPI_RULE_OCCUPANT;
    if (who == KPI_NONE || who == frame->thread) {
        slice.rule = KPI_RULE_NONE;
        slice.strength = KPI_WEAK;
        slice.subkind = from < kpi_host_of(world, kpi_cpu_of(world, place->cpu)->host)->first
                            ? KP_STR("before-trace")
                            : KP_STR("lost");
    } else if (kpi_thread_of(world, who)->idle) {
        slice.kind = KPI_IDLE_EXIT;
        slice.rule = KPI_RULE_IDLE;
        if (idle_around(world, iv, place->cpu, from) > IDLE_EXIT_MAX)
            slice.strength = KPI_WEAK; /* it must have been queued on another CPU */
    } else {
        slice.kind = preempts(world, iv, who, came) ? KPI_PREEMPTED : KPI_QUEUED;
        slice.idle_elsewhere = idle_elsewhere(world, frame->thread, place->cpu, from, to);
        if (place->misplaced) {
            slice.kind = KPI_MISPLACED;
            slice.rule = KPI_RULE_MISPLACED;
            slice.idle_elsewhere = 0;
        }
        culprit_set(&slice, who, occupant_actor(world, who, came));
        kpi_slice_lock(walk, frame, iv, &slice);
        if (came != KPI_NONE && kpi_event_of(world, came)->a == who &&
            kpi_gap_in(world, kpi_thread_of(world, who)->host, place->cpu, false, from, to) > 0)
            note_hidden(walk, &slice);
    }
    kpi_slice_event(&slice, came != KPI_NONE && came != iv->begin ? came : iv->begin);
    kpi_slice_event(&slice, iv->begin);
    kpi_slice_event(&slice, iv->end);
    kpi_slice_emit(walk, &slice);
}

/* It ended up on a CPU that was idle at t: it could have run there. Cuts *until where that ends. */
static bool misplaced(const struct kpi_world *world, const struct kpi_interval *iv, uint32_t cpu,
                      bool sure, kp_time t, kp_time *until)
{
    uint32_t ran = iv->end == KPI_NONE ? KPI_NONE : kpi_event_of(world, iv->end)->cpu, came;
    if (!sure || ran == KPI_NONE || ran == cpu)
        return false;
    uint32_t who = kpi_timeline_occupant(world, ran, t, *until, until, &came);
    return who != KPI_NONE && kpi_thread_of(world, who)->idle;
}

/* The frame is the caller's, with the strength that the choice of the queue allows. */
static void runnable_no_softirq(struct kpi_walk *walk, const struct kpi_frame *frame,
                                const struct kpi_interval *iv, kp_time from, kp_time to)
{
    bool sure;
    kp_time limit = to;
    uint32_t cpu = queue_cpu(walk->world, iv, from, &limit, &sure);
    for (kp_time t = from; t < to;) {
        struct place place = {.cpu = cpu};
        kp_time until;
        place.who = kpi_timeline_occupant(walk->world, cpu, t, to, &until, &place.came);
        place.misplaced = misplaced(walk->world, iv, cpu, sure, t, &until);
        occupant_slice(walk, frame, iv, &place, t, until);
        t = until;
    }
}

static void runnable_no_irq(struct kpi_walk *walk, const struct kpi_frame *frame,
                            const struct kpi_interval *iv, kp_time from, kp_time to)
{
    static const struct kpi_cut cut = {KPI_WORK_SOFTIRQ, irq_slice, runnable_no_softirq};
    bool sure;
    kp_time limit = to;
    uint32_t cpu = queue_cpu(walk->world, iv, from, &limit, &sure);
    kpi_cut_run(walk, frame, iv, &cut, cpu, from, to);
}

void kpi_blame_runnable(struct kpi_walk *walk, const struct kpi_frame *frame,
                        const struct kpi_interval *iv, kp_time from, kp_time to)
{
    static const struct kpi_cut cut = {KPI_WORK_IRQ, irq_slice, runnable_no_irq};
    bool sure, told = true;
    from = kpi_blame_quota(walk, frame, iv, from, to, &told);
    for (kp_time until; from < to; from = until) {
        struct kpi_frame queued = *frame;
        until = to;
        uint32_t cpu = queue_cpu(walk->world, iv, from, &until, &sure);
        if (!sure || !told)
            queued.strength = KPI_WEAK;
        if (cpu == KPI_NONE)
            kpi_blame_unknown(walk, frame, "no-cpu", from, until);
        else
            kpi_cut_run(walk, &queued, iv, &cut, cpu, from, until);
    }
}
