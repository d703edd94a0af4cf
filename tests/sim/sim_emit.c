/* SPDX-License-Identifier: Apache-2.0
 *
 * The rows of a simulated world into a store, as a recorder with some fault would have left them.
 * A view changes what must not matter (names, order, others) or takes evidence away; what was lost
 * is told in `gaps`, between the rows of that CPU before and after it, as the real rings do.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "sim/sim.h"

#define KERNEL_AHEAD (5 * KP_SEC) /* the second host's kernel clock */
#define BOUND        200          /* ns that a good clock may be wrong by */
#define OLD_LIFE     (20 * KP_MS)
#define ASIDE        300 /* ns that a bystander runs before and after an interrupt */

struct emit {
    const struct sim *sim;
    const struct sim_view *view;
    struct world *w;
    kp_actor_id actors[SIM_THREADS], idle[SIM_HOSTS], bystander[SIM_HOSTS];
    kp_time lost_since[SIM_HOSTS][SIM_CPUS]; /* KP_TIME_MIN = nothing is missing */
    kp_time last[SIM_HOSTS][SIM_CPUS];
};

static const char *host_name(const struct sim_view *view, uint32_t host)
{
    return (host != 0) == view->swap_hosts ? "web1" : "db1";
}

static void at_host(struct emit *e, uint32_t host)
{
    e->w->host = host_name(e->view, host);
}

/* A true stamp on the kernel clock of the host. */
static kp_time stamp(uint32_t host, kp_time t)
{
    return host == 0 ? t : t + KERNEL_AHEAD;
}

static kp_actor_id actor(const struct emit *e, uint32_t host, uint32_t thread)
{
    return thread == SIM_NONE ? e->idle[host] : e->actors[thread];
}

/* ---------- who there is ---------- */

static void actors_make(struct emit *e)
{
    for (uint32_t h = 0; h < e->sim->hosts; h++) {
        at_host(e, h);
        e->idle[h] = world_idle(e->w);
        e->bystander[h] = world_thread(e->w, 9000, 9000, "bystander");
    }
    for (uint32_t i = 0; i < e->sim->threads_count; i++) {
        const struct sim_thread *t = &e->sim->threads[i];
        at_host(e, t->host);
        e->actors[i] = world_thread_in(e->w, t->pid, t->tid, t->comm, (int64_t)t->tid * 1000,
                                       t->kthread ? "" : e->sim->groups[t->group].path, t->kthread);
        e->w->prio[e->actors[i]] = (int16_t)t->prio;
    }
}

/* The ids of the threads had been those of others, which had come to an end. */
static void old_lives(struct emit *e)
{
    for (uint32_t i = 0; i < e->sim->threads_count; i++) {
        const struct sim_thread *t = &e->sim->threads[i];
        at_host(e, t->host);
        kp_time from = stamp(t->host, -OLD_LIFE + (kp_time)i * KP_US * 10);
        kp_actor_id old = world_thread_in(e->w, t->pid, t->tid, "former", (int64_t)t->tid * 500,
                                          "/former", false);
        world_switch(e->w, from, 0, e->idle[t->host], R, old);
        world_task(e->w, from + 4000, 0, old, 3);
        world_switch(e->w, from + 5000, 0, old, X, e->idle[t->host]);
    }
}

static void clocks(struct emit *e)
{
    for (uint32_t h = 0; h < e->sim->hosts; h++) {
        kp_dur wrong = h == 0 ? 0 : e->view->skew;
        at_host(e, h);
        for (kp_time t = 0; t <= SIM_END; t += SIM_END)
            world_clock(e->w, stamp(h, t), t + wrong - stamp(h, t), BOUND + wrong, 0);
    }
}

/* A process on CPUs of its own that has nothing to do with anything. */
static void unrelated(struct emit *e)
{
    at_host(e, 0);
    kp_actor_id other = world_thread(e->w, 8000, 8000, "unrelated");
    for (kp_time t = 0; t < e->sim->end; t += KP_MS) {
        world_switch(e->w, t, 9, e->idle[0], R, other);
        world_syscall(e->w, t + 100, t + 50000, 9, other, "write", 1);
        world_switch(e->w, t + 60000, 9, other, S, e->idle[0]);
        world_wake_irq(e->w, t + 900000, 8, e->idle[0], other, IN_HARDIRQ, VEC_NONE, -1, 9);
    }
}

/* ---------- rows ---------- */

static void put_sock(struct emit *e, const struct sim_row *row, kp_actor_id thread)
{
    const struct sim_thread *client = &e->sim->threads[row->b];
    bool server = row->c != 0;
    struct world_sock sock = {.from = stamp(row->host, row->from),
                              .to = stamp(row->host, row->t),
                              .cpu = row->cpu,
                              .thread = thread,
                              .op = (int)row->a,
                              .local = 1 + (int)client->host,
                              .local_port = 40000 + (int)row->b,
                              .peer = 8,
                              .peer_port = 5000,
                              .bytes = row->d,
                              .seq = row->e};
    if (server) {
        sock.peer = sock.local;
        sock.peer_port = sock.local_port;
        sock.local = 8;
        sock.local_port = 5000;
    }
    world_sock(e->w, &sock);
}

static void put_call(struct emit *e, const struct sim_row *row, kp_actor_id thread)
{
    kp_time from = stamp(row->host, row->from), to = stamp(row->host, row->t);
    bool retried = e->view->retried && row->was != NULL;
    const char *name = retried ? row->was : row->name;
    if (row->c != 0 && (retried || row->was == NULL))
        world_futex(e->w, from, to, row->cpu, thread, row->c, row->d, row->e, row->b);
    else
        world_syscall(e->w, from, to, row->cpu, thread, name, row->b);
}

static void put_wake(struct emit *e, const struct sim_row *row, kp_actor_id thread)
{
    kp_time t = stamp(row->host, row->t);
    bool aside = e->view->bystander && row->thread == SIM_NONE && row->e != row->cpu &&
                 row->t - e->last[row->host][row->cpu] > 2 * ASIDE;
    if (aside) {
        thread = e->bystander[row->host];
        world_switch(e->w, t - ASIDE, row->cpu, e->idle[row->host], R, thread);
    }
    world_wake_irq(e->w, t, row->cpu, thread, e->actors[row->a], (enum world_context)row->b,
                   (int)row->c, (int)row->d, (uint32_t)row->e);
    if (aside)
        world_switch(e->w, t, row->cpu, thread, S, e->idle[row->host]);
}

static void put_row(struct emit *e, const struct sim_row *row)
{
    kp_time from = stamp(row->host, row->from), t = stamp(row->host, row->t);
    kp_actor_id thread = actor(e, row->host, row->thread);
    struct world *w = e->w;
    at_host(e, row->host);
    switch (row->type) {
    case SIM_ROW_SWITCH:
        if (row->c != 0)
            world_throttle(w, t, row->cpu, thread, actor(e, row->host, (uint32_t)row->a));
        else
            world_switch(w, t, row->cpu, thread, (int)row->b,
                         actor(e, row->host, (uint32_t)row->a));
        return;
    case SIM_ROW_WAKE:
        put_wake(e, row, thread);
        return;
    case SIM_ROW_CALL:
        put_call(e, row, thread);
        return;
    case SIM_ROW_IRQ:
        world_irq(w, from, t, row->cpu, thread, (int)row->a, "nvme0q1");
        return;
    case SIM_ROW_SOFTIRQ:
        world_softirq(w, from, t, row->cpu, thread, (int)row->a);
        return;
    case SIM_ROW_BLOCK:
        world_block(w, from, from + row->a, t, row->cpu, thread, row->b);
        return;
    case SIM_ROW_FAULT:
        world_fault(w, from, t, row->cpu, thread, 77);
        return;
    case SIM_ROW_WORK:
        world_work(w, stamp(row->host, row->b), from, t, row->cpu, thread, e->actors[row->a],
                   "flush_work");
        return;
    case SIM_ROW_SOCK:
        put_sock(e, row, thread);
        return;
    case SIM_ROW_MOVE:
        world_move_by(w, t, row->cpu, thread, (uint32_t)row->a, (uint32_t)row->b);
        return;
    case SIM_ROW_FORK:
        world_fork(w, t, row->cpu, thread, e->actors[row->a]);
        return;
    case SIM_ROW_EXIT:
        world_task(w, t, row->cpu, thread, 3);
        return;
    case SIM_ROW_SIGNAL:
        world_signal(w, t, row->cpu, thread, e->actors[row->a], (int)row->b);
        return;
    }
}

/* ---------- losses ---------- */

static void gap_close(struct emit *e, uint32_t host, uint32_t cpu, kp_time t)
{
    kp_time *since = &e->lost_since[host][cpu];
    if (*since == KP_TIME_MIN)
        return;
    at_host(e, host);
    world_gap(e->w, stamp(host, *since), stamp(host, t), cpu);
    *since = KP_TIME_MIN;
}

/* xorshift of its own: what is lost depends on the seed and the view, not on the world's course. */
static bool is_lost(const struct emit *e, uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return (double)(*random >> 11) < e->view->loss * 9007199254740992.0;
}

static void rows_put(struct emit *e)
{
    uint64_t random = (e->sim->seed + 7) * 0x9e3779b97f4a7c15ull;
    uint32_t count = e->sim->rows.count, pieces = KP_MAX(e->view->commits, 1u);
    for (uint32_t i = 0; i < count; i++) {
        const struct sim_row *row = SIM_AT(e->sim->rows, struct sim_row, i);
        kp_time *since = &e->lost_since[row->host][row->cpu];
        if (is_lost(e, &random)) {
            if (*since == KP_TIME_MIN)
                *since = e->last[row->host][row->cpu];
        } else {
            gap_close(e, row->host, row->cpu, row->t);
            put_row(e, row);
            e->last[row->host][row->cpu] = row->t;
        }
        if (pieces > 1 && i % (count / pieces + 1) == count / pieces)
            world_commit(e->w);
    }
    for (uint32_t i = 0; i < e->sim->hosts * SIM_CPUS; i++)
        gap_close(e, i / SIM_CPUS, i % SIM_CPUS, e->sim->end);
}

static void groups_put(struct emit *e)
{
    at_host(e, 0);
    for (uint32_t i = 0; i < SIM_GROUPS; i++) {
        const struct sim_group *group = &e->sim->groups[i];
        if (group->quota == 0)
            continue;
        world_quota(e->w, 0, group->path, group->quota, 0);
        world_quota(e->w, e->sim->end + KP_MS, group->path, group->quota, group->throttled_for);
    }
}

void sim_emit(const struct sim *sim, const struct sim_view *view, struct world *out)
{
    struct emit e = {.sim = sim, .view = view, .w = out};
    out->zero += view->shift;
    out->pid_shift = view->pid_shift;
    for (uint32_t i = 0; i < SIM_HOSTS * SIM_CPUS; i++)
        e.lost_since[i / SIM_CPUS][i % SIM_CPUS] = KP_TIME_MIN;
    actors_make(&e);
    clocks(&e);
    if (view->reuse)
        old_lives(&e);
    if (view->unrelated)
        unrelated(&e);
    rows_put(&e);
    groups_put(&e);
    at_host(&e, 0);
    world_span(out, &(struct world_span){.from = sim->begin,
                                         .to = sim->end,
                                         .thread = e.actors[sim->root],
                                         .trace = sim->txn,
                                         .id = sim->txn,
                                         .parent = "",
                                         .txn = sim->txn,
                                         .service = "pay",
                                         .name = "POST /pay",
                                         .kind = 2});
    world_commit(out);
}
