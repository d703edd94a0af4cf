/* SPDX-License-Identifier: Apache-2.0
 *
 * What every nanosecond of the transaction was for, told by what the simulator did: who had the
 * lock at that instant, which message the thread waited for and who had yet to send it, who was on
 * the CPU. Nothing here reads the rows, but those of page faults, which say when one began.
 */
#include <stddef.h>

#include "base/assert.h"
#include "sim/sim.h"

struct truth {
    const struct sim *sim;
    struct sim_list *out;
};

struct path {
    const struct path *parent;
    uint32_t thread;
    bool lock; /* it is here as a lock's holder */
};

static void walk(struct truth *truth, const struct path *path, kp_time from, kp_time to);

static void put(struct truth *truth, const char *kind, uint32_t culprit, kp_time from, kp_time to)
{
    if (from >= to)
        return;
    struct sim_piece *piece = sim_add(truth->out, sizeof(*piece));
    *piece = (struct sim_piece){from, to, kind, culprit};
}

static void enter(struct truth *truth, const struct path *path, uint32_t thread, bool lock,
                  kp_time from, kp_time to)
{
    const struct path child = {path, thread, lock};
    for (const struct path *p = path; p != NULL; p = p->parent)
        if (p->thread == thread) {
            put(truth, "", SIM_NONE, from, to);
            return;
        }
    if (from < to)
        walk(truth, &child, from, to);
}

/* ---------- on a CPU, or wanting to be ---------- */

typedef void (*rest_fn)(struct truth *truth, const struct path *path, const struct sim_stretch *s,
                        kp_time from, kp_time to);

/* What interrupts took of [from, to) on the stretch's CPU; the rest is for `rest`. */
static void cut_irqs(struct truth *truth, const struct path *path, const struct sim_stretch *s,
                     kp_time from, kp_time to, rest_fn rest)
{
    uint32_t host = truth->sim->threads[path->thread].host;
    const struct sim_list *irqs = &truth->sim->cpu[host][s->cpu].irqs;
    for (uint32_t i = 0; i < irqs->count; i++) {
        const struct sim_stretch *irq = SIM_AT(*irqs, struct sim_stretch, i);
        kp_time begin = KP_MAX(irq->from, from), end = KP_MIN(irq->to, to);
        if (begin >= end)
            continue;
        if (from < begin)
            rest(truth, path, s, from, begin);
        put(truth, irq->ref == SIM_NONE ? "irq" : "softirq", SIM_NONE, begin, end);
        from = end;
    }
    if (from < to)
        rest(truth, path, s, from, to);
}

/* A page fault or a job that the thread is in at `from`, or NULL; *to: no later than that changes.
 */
static const char *within(const struct sim *sim, uint32_t thread, kp_time from, kp_time *to)
{
    for (uint32_t i = 0; i < sim->rows.count; i++) {
        const struct sim_row *row = SIM_AT(sim->rows, struct sim_row, i);
        if (row->thread != thread || row->t <= from || row->from >= *to ||
            (row->type != SIM_ROW_FAULT && row->type != SIM_ROW_WORK))
            continue;
        *to = KP_MIN(*to, row->from > from ? row->from : row->t);
        if (row->from <= from)
            return row->type == SIM_ROW_FAULT ? "page_fault" : "kworker";
    }
    return NULL;
}

static void running(struct truth *truth, const struct path *path, const struct sim_stretch *s,
                    kp_time from, kp_time to)
{
    (void)s;
    while (from < to) {
        kp_time until = to;
        const char *kind = within(truth->sim, path->thread, from, &until);
        if (kind == NULL)
            kind = path->lock ? "lock" : "running";
        put(truth, kind, path->thread, from, until);
        from = until;
    }
}

static const struct sim_stretch *occupant(const struct sim *sim, uint32_t host, uint32_t cpu,
                                          kp_time t)
{
    const struct sim_list *spans = &sim->cpu[host][cpu].spans;
    uint32_t low = 0, high = spans->count;
    while (low + 1 < high) {
        uint32_t mid = (low + high) / 2;
        if (SIM_AT(*spans, struct sim_stretch, mid)->from <= t)
            low = mid;
        else
            high = mid;
    }
    return SIM_AT(*spans, struct sim_stretch, low);
}

static const char *queue_kind(const struct sim *sim, const struct path *path,
                              const struct sim_stretch *s, uint32_t who)
{
    const struct sim_thread *thread = &sim->threads[path->thread], *other = &sim->threads[who];
    if (other->prio < thread->prio)
        return "runnable.preempted";
    if (s->taker == SIM_NONE)
        return "runnable.queued";
    bool taken = s->taker == who || (sim->threads[s->taker].pid == other->pid && !other->kthread);
    return taken ? "runnable.preempted" : "runnable.queued";
}

static void queued(struct truth *truth, const struct path *path, const struct sim_stretch *s,
                   kp_time from, kp_time to)
{
    const struct sim *sim = truth->sim;
    uint32_t host = sim->threads[path->thread].host;
    while (from < to) {
        const struct sim_stretch *on = occupant(sim, host, s->cpu, from);
        kp_time until = KP_MIN(to, on->to);
        const char *kind = "idle_exit";
        if (on->ref != SIM_NONE) {
            kind = queue_kind(sim, path, s, on->ref);
            const struct sim_stretch *there =
                s->ran == SIM_NONE || s->ran == s->cpu ? NULL : occupant(sim, host, s->ran, from);
            if (there != NULL)
                until = KP_MIN(until, there->to);
            if (there != NULL && there->ref == SIM_NONE)
                kind = "runnable.misplaced";
        }
        put(truth, kind, on->ref, from, until);
        from = until;
    }
}

/* ---------- asleep ---------- */

static void locked(struct truth *truth, const struct path *path, uint32_t lock, kp_time from,
                   kp_time to)
{
    const struct sim_list *holds = &truth->sim->locks[lock].holds;
    for (uint32_t i = 0; i < holds->count && from < to; i++) {
        const struct sim_hold *hold = SIM_AT(*holds, struct sim_hold, i);
        kp_time end = i + 1 < holds->count ? hold[1].from : KP_TIME_MAX;
        if (end <= from)
            continue;
        end = KP_MIN(end, to);
        if (hold->thread == SIM_NONE)
            put(truth, "", SIM_NONE, from, end);
        else
            enter(truth, path, hold->thread, true, from, end);
        from = end;
    }
}

static const char *way(const struct sim *sim, uint32_t a, uint32_t b)
{
    return sim->threads[a].host == sim->threads[b].host ? "net.local" : "net.wire";
}

static void message(struct truth *truth, const struct path *path, uint32_t number, kp_time from,
                    kp_time to)
{
    const struct sim *sim = truth->sim;
    if (number == SIM_NONE) {
        put(truth, "", SIM_NONE, from, to);
        return;
    }
    const struct sim_message *m = SIM_AT(sim->messages, struct sim_message, number);
    kp_time sent = KP_MIN(KP_MAX(m->sent, from), to);
    enter(truth, path, m->sender, false, from, sent);
    put(truth, way(sim, m->sender, m->receiver), SIM_NONE, sent, to);
}

static void disk(struct truth *truth, uint32_t number, bool fault, kp_time from, kp_time to)
{
    const struct sim_request *r = SIM_AT(truth->sim->requests, struct sim_request, number);
    kp_time issued = KP_MIN(KP_MAX(r->issued, from), to);
    put(truth, fault ? "page_fault" : "block_io.queue", SIM_NONE, from, issued);
    put(truth, fault ? "page_fault" : "block_io.device", SIM_NONE, issued, to);
}

/* What it waited for came while it was kept from waiting: nobody woke it then. */
static bool is_missed(const struct sim_stretch *s)
{
    return s->cut && s->why != SIM_WHY_SLEEP && s->why != SIM_WHY_TIMEOUT;
}

static void asleep(struct truth *truth, const struct path *path, const struct sim_stretch *s,
                   kp_time from, kp_time to)
{
    const struct sim *sim = truth->sim;
    if (is_missed(s)) {
        put(truth, "", SIM_NONE, from, to);
        return;
    }
    switch (s->why) {
    case SIM_WHY_LOCK:
        locked(truth, path, s->ref, from, to);
        return;
    case SIM_WHY_SLEEP:
        put(truth, "timer.sleep", path->thread, from, to);
        return;
    case SIM_WHY_TIMEOUT:
        put(truth, "timer.timeout", path->thread, from, to);
        return;
    case SIM_WHY_DISK:
    case SIM_WHY_FAULT:
        disk(truth, s->ref, s->why == SIM_WHY_FAULT, from, to);
        return;
    case SIM_WHY_MESSAGE:
        message(truth, path, s->ref, from, to);
        return;
    case SIM_WHY_REQUEST: /* what it is asked is on its way to it */
        put(truth, path->parent == NULL ? "" : way(sim, path->parent->thread, path->thread),
            SIM_NONE, from, to);
        return;
    case SIM_WHY_SIGNAL:
    case SIM_WHY_CHILD:
        enter(truth, path, s->ref, false, from, to);
        return;
    case SIM_WHY_WORK:
        enter(truth, path, SIM_AT(sim->jobs, struct sim_job, s->ref)->worker, false, from, to);
        return;
    case SIM_WHY_STOP:
        put(truth, "stopped", s->ref, from, to);
        return;
    case SIM_WHY_FROZEN:
        put(truth, "frozen", SIM_NONE, from, to);
        return;
    case SIM_WHY_NONE:
        put(truth, "", SIM_NONE, from, to);
        return;
    }
}

/* ---------- one thread, one window ---------- */

/* The last try of the wait that the stretch is part of: what ended that one had been waited for all
 * along. */
static const struct sim_stretch *last_try(const struct sim_list *list, uint32_t i)
{
    const struct sim_stretch *s = SIM_AT(*list, struct sim_stretch, i), *last = s;
    if (s->why == SIM_WHY_STOP || s->why == SIM_WHY_FROZEN)
        return s;
    for (; i < list->count && s->wait == last->wait; s = SIM_AT(*list, struct sim_stretch, i++))
        if (s->state == SIM_BLOCKED && s->why != SIM_WHY_STOP && s->why != SIM_WHY_FROZEN)
            last = s;
    return last;
}

static void walk(struct truth *truth, const struct path *path, kp_time from, kp_time to)
{
    const struct sim_list *list = &truth->sim->threads[path->thread].stretches;
    for (uint32_t i = 0; i < list->count && from < to; i++) {
        const struct sim_stretch *s = SIM_AT(*list, struct sim_stretch, i);
        if (s->to <= from || s->from > from)
            continue;
        kp_time end = KP_MIN(s->to, to);
        if (s->state == SIM_RUNNING)
            cut_irqs(truth, path, s, from, end, running);
        else if (s->state == SIM_RUNNABLE && s->throttled)
            put(truth, "runnable.throttled", SIM_NONE, from, end);
        else if (s->state == SIM_RUNNABLE)
            cut_irqs(truth, path, s, from, end, queued);
        else if (s->state == SIM_BLOCKED)
            asleep(truth, path, last_try(list, i), from, end);
        else
            put(truth, "", SIM_NONE, from, end);
        from = end;
    }
    put(truth, "", SIM_NONE, from, to);
}

void sim_truth(const struct sim *sim, struct sim_list *out)
{
    struct truth truth = {sim, out};
    const struct path root = {NULL, sim->root, false};
    walk(&truth, &root, sim->begin, sim->end);
}
