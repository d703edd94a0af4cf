/* SPDX-License-Identifier: Apache-2.0
 *
 * A seed makes a world: a payment service and what may be around it. The transaction's thread does
 * some of the things that payments wait for, in an order that the seed decides; others use the same
 * CPUs, locks, disk and servers meanwhile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/assert.h"
#include "sim/sim_int.h"

#define WARM_UP (25 * KP_MS) /* before the transaction begins */
#define SIGNALS 10           /* of a sampler */

enum { PAY, BATCH };               /* groups */
enum { ORDERS, GOODS, CONDITION }; /* pipes */

struct cast {
    struct sim *sim;
    uint32_t root, server, vault, producer, worker;
    uint32_t next_pid;
};

static bool chance(struct cast *cast, unsigned percent)
{
    return sim_below(cast->sim, 100) < percent;
}

static kp_dur between(struct cast *cast, kp_dur least, kp_dur most)
{
    return least + (kp_dur)sim_below(cast->sim, (uint64_t)(most - least));
}

static uint32_t thread_new(struct cast *cast, uint32_t host, uint32_t pid, const char *comm)
{
    struct sim *sim = cast->sim;
    uint32_t index = sim->threads_count++;
    assert_true(index < SIM_THREADS);
    struct sim_thread *thread = &sim->threads[index];
    thread->host = host;
    thread->pid = pid == 0 ? cast->next_pid++ * 10 : pid;
    thread->tid = thread->pid + (pid == 0 ? 0 : index + 1000);
    thread->prio = 120;
    thread->group = BATCH;
    thread->mask = UINT32_MAX;
    thread->cpu = (uint32_t)sim_below(sim, sim->cpus);
    thread->taker = thread->partner = SIM_NONE;
    snprintf(thread->comm, sizeof(thread->comm), "%s", comm);
    if (chance(cast, 40))
        thread->mask = 1u << thread->cpu | (uint32_t)sim_below(sim, 1u << sim->cpus);
    return index;
}

static void step(struct cast *cast, uint32_t thread, enum sim_op op, int64_t a, int64_t b)
{
    struct sim_thread *t = &cast->sim->threads[thread];
    assert_true(t->steps_count < SIM_OPS);
    t->steps[t->steps_count++] = (struct sim_step){op, a, b};
}

static void compute(struct cast *cast, uint32_t thread, kp_dur least, kp_dur most)
{
    enum sim_op op = chance(cast, 30) ? SIM_SYSCALL : SIM_COMPUTE;
    step(cast, thread, op, between(cast, least, most), 0);
}

/* ---------- others ---------- */

static void add_batch(struct cast *cast, uint32_t host)
{
    uint32_t t = thread_new(cast, host, 0, "batch");
    cast->sim->threads[t].batch = true;
    compute(cast, t, 4 * KP_MS, 25 * KP_MS);
    step(cast, t, SIM_SLEEP, between(cast, KP_MS, 8 * KP_MS), 0);
    step(cast, t, SIM_LOOP, 0, 0);
}

static void add_real_time(struct cast *cast, uint32_t host)
{
    uint32_t t = thread_new(cast, host, 0, "audio");
    cast->sim->threads[t].prio = 50;
    step(cast, t, SIM_SLEEP, between(cast, 3 * KP_MS, 9 * KP_MS), 0);
    compute(cast, t, 500 * KP_US, 3 * KP_MS);
    step(cast, t, SIM_LOOP, 0, 0);
}

static void add_writer(struct cast *cast, uint32_t host)
{
    uint32_t t = thread_new(cast, host, 0, "writer");
    compute(cast, t, 50 * KP_US, 400 * KP_US);
    step(cast, t, SIM_READ, between(cast, KP_MS, 5 * KP_MS), 0);
    step(cast, t, SIM_LOOP, 0, 0);
}

static void add_locker(struct cast *cast, uint32_t lock)
{
    uint32_t t = thread_new(cast, 0, 200, "pay-worker");
    cast->sim->threads[t].group = PAY;
    step(cast, t, SIM_SLEEP, between(cast, 200 * KP_US, 3 * KP_MS), 0);
    step(cast, t, SIM_LOCK, lock, 0);
    compute(cast, t, 200 * KP_US, 4 * KP_MS);
    if (chance(cast, 30))
        step(cast, t, SIM_READ, between(cast, 500 * KP_US, 2 * KP_MS), 0);
    step(cast, t, SIM_UNLOCK, lock, 0);
    compute(cast, t, 100 * KP_US, KP_MS);
    step(cast, t, SIM_LOOP, 0, 0);
}

static void add_client(struct cast *cast, uint32_t host)
{
    uint32_t t = thread_new(cast, host, 0, "client");
    compute(cast, t, 500 * KP_US, 4 * KP_MS);
    step(cast, t, SIM_CALL, cast->server, 0);
    step(cast, t, SIM_LOOP, 0, 0);
}

static void add_signaller(struct cast *cast)
{
    uint32_t t = thread_new(cast, 0, 200, "pay-notify");
    step(cast, t, SIM_SLEEP, between(cast, 2 * KP_MS, 9 * KP_MS), 0);
    compute(cast, t, 100 * KP_US, 2 * KP_MS);
    step(cast, t, SIM_GIVE, CONDITION, 0);
    step(cast, t, SIM_LOOP, 0, 0);
}

/* Whom it may hit: the transaction, or those that it may wait for. */
static uint32_t victim(struct cast *cast)
{
    const uint32_t all[] = {cast->root, cast->root, cast->server, cast->producer};
    return all[sim_below(cast->sim, KP_ARRAY_LEN(all))];
}

static void add_stopper(struct cast *cast, const char *comm, enum sim_op op)
{
    uint32_t other = victim(cast);
    uint32_t t = thread_new(cast, cast->sim->threads[other].host, 0, comm);
    step(cast, t, SIM_SLEEP, WARM_UP + between(cast, 2 * KP_MS, 20 * KP_MS), 0);
    step(cast, t, op, other, between(cast, KP_MS, 9 * KP_MS));
    step(cast, t, SIM_EXIT, 0, 0);
}

static void add_sampler(struct cast *cast)
{
    uint32_t other = victim(cast);
    uint32_t t = thread_new(cast, cast->sim->threads[other].host, 0, "sampler");
    step(cast, t, SIM_SLEEP, WARM_UP, 0);
    for (unsigned i = 0; i < SIGNALS; i++) {
        step(cast, t, SIM_SLEEP, between(cast, 200 * KP_US, 4 * KP_MS), 0);
        step(cast, t, SIM_SIGNAL, other, between(cast, 10 * KP_US, 300 * KP_US));
    }
    step(cast, t, SIM_EXIT, 0, 0);
}

static uint32_t add_server(struct cast *cast, uint32_t host, const char *comm, uint32_t behind)
{
    uint32_t t = thread_new(cast, host, 0, comm);
    step(cast, t, SIM_SERVE, 0, 0);
    compute(cast, t, 100 * KP_US, 3 * KP_MS);
    if (behind != SIM_NONE)
        step(cast, t, SIM_CALL, behind, 0);
    else if (chance(cast, 50))
        step(cast, t, SIM_READ, between(cast, 500 * KP_US, 4 * KP_MS), 0);
    step(cast, t, SIM_REPLY, 0, 0);
    step(cast, t, SIM_LOOP, 0, 0);
    return t;
}

static void add_peers(struct cast *cast)
{
    uint32_t far = cast->sim->hosts - 1;
    if (chance(cast, 50))
        cast->vault = add_server(cast, (uint32_t)sim_below(cast->sim, far + 1), "vault", SIM_NONE);
    cast->server = add_server(cast, far, "ledger", cast->vault);
    cast->producer = thread_new(cast, 0, 0, "producer");
    step(cast, cast->producer, SIM_TAKE, ORDERS, 0);
    compute(cast, cast->producer, 200 * KP_US, 3 * KP_MS);
    if (chance(cast, 30))
        step(cast, cast->producer, SIM_SLEEP, between(cast, 300 * KP_US, 3 * KP_MS), 0);
    step(cast, cast->producer, SIM_GIVE, GOODS, 0);
    step(cast, cast->producer, SIM_LOOP, 0, 0);
    cast->worker = thread_new(cast, 0, 0, "kworker/u8:1");
    cast->sim->threads[cast->worker].kthread = true;
    step(cast, cast->worker, SIM_SERVE, 0, 0);
}

static void add_others(struct cast *cast)
{
    struct sim *sim = cast->sim;
    for (unsigned i = (unsigned)sim_below(sim, 5); i > 0; i--)
        add_batch(cast, (uint32_t)sim_below(sim, sim->hosts));
    for (unsigned i = (unsigned)sim_below(sim, 4); i > 0; i--)
        add_locker(cast, (uint32_t)sim_below(sim, 2));
    for (unsigned i = (unsigned)sim_below(sim, 3); i > 0; i--)
        add_client(cast, (uint32_t)sim_below(sim, sim->hosts));
    if (chance(cast, 50))
        add_writer(cast, (uint32_t)sim_below(sim, sim->hosts));
    if (chance(cast, 30))
        add_real_time(cast, (uint32_t)sim_below(sim, sim->hosts));
    if (chance(cast, 40))
        add_signaller(cast);
    if (chance(cast, 10))
        add_stopper(cast, "debugger", SIM_STOP);
    if (chance(cast, 10))
        add_stopper(cast, "manager", SIM_FREEZE);
    if (chance(cast, 15))
        add_sampler(cast);
}

/* Interrupts that take long enough to be recorded one by one. */
static void add_interrupts(struct cast *cast)
{
    struct sim *sim = cast->sim;
    static const uint32_t vectors[] = {0, 1 + VEC_NET_RX, 1 + VEC_TIMER, 1 + VEC_BLOCK};
    if (!chance(cast, 40))
        return;
    uint32_t host = (uint32_t)sim_below(sim, sim->hosts);
    uint32_t cpu = host * SIM_CPUS + (uint32_t)sim_below(sim, sim->cpus);
    kp_dur every = between(cast, 500 * KP_US, 5 * KP_MS);
    for (kp_time t = 0; t < SIM_END / 2; t += between(cast, every / 2, every * 2)) {
        uint32_t us = (uint32_t)between(cast, 25, 400);
        sim_event_add(sim, t, EVENT_IRQ, cpu, us << 4 | vectors[sim_below(sim, 4)]);
    }
}

/* ---------- the transaction ---------- */

static uint32_t child_new(struct cast *cast)
{
    uint32_t t = thread_new(cast, 0, 0, "helper");
    cast->sim->threads[t].state = SIM_ABSENT;
    compute(cast, t, 300 * KP_US, 4 * KP_MS);
    if (chance(cast, 50))
        step(cast, t, SIM_READ, between(cast, 300 * KP_US, 2 * KP_MS), 0);
    step(cast, t, SIM_EXIT, 0, 0);
    return t;
}

static void act(struct cast *cast, unsigned what)
{
    uint32_t r = cast->root, lock = (uint32_t)sim_below(cast->sim, 2), child;
    switch (what) {
    case 0:
        step(cast, r, SIM_LOCK, lock, 0);
        compute(cast, r, 50 * KP_US, 500 * KP_US);
        step(cast, r, SIM_UNLOCK, lock, 0);
        return;
    case 1:
        step(cast, r, SIM_SLEEP, between(cast, 300 * KP_US, 4 * KP_MS), 0);
        return;
    case 2:
        step(cast, r, SIM_READ, between(cast, 300 * KP_US, 3 * KP_MS), 0);
        return;
    case 3:
        step(cast, r, SIM_FAULT, between(cast, 300 * KP_US, 3 * KP_MS), 0);
        return;
    case 4:
        step(cast, r, SIM_CALL, cast->server, 0);
        return;
    case 5:
        step(cast, r, SIM_GIVE, ORDERS, 0);
        step(cast, r, SIM_TAKE, GOODS, 0);
        return;
    case 6:
        child = child_new(cast);
        step(cast, r, SIM_FORK, child, 0);
        step(cast, r, SIM_WAIT, child, 0);
        return;
    case 7:
        step(cast, r, SIM_WORK, between(cast, 200 * KP_US, 3 * KP_MS), cast->worker);
        return;
    case 8:
        step(cast, r, SIM_POLL, cast->server, between(cast, KP_MS, 8 * KP_MS));
        return;
    default:
        step(cast, r, SIM_AWAIT, CONDITION, between(cast, KP_MS, 6 * KP_MS));
        return;
    }
}

static void add_root(struct cast *cast)
{
    struct sim *sim = cast->sim;
    cast->root = sim->root = thread_new(cast, 0, 200, "pay");
    sim->threads[cast->root].group = PAY;
}

static void root_steps(struct cast *cast)
{
    step(cast, cast->root, SIM_SLEEP, WARM_UP, 0);
    step(cast, cast->root, SIM_BEGIN, 0, 0);
    for (unsigned i = 2 + (unsigned)sim_below(cast->sim, 4); i > 0; i--) {
        compute(cast, cast->root, 50 * KP_US, 3 * KP_MS);
        act(cast, (unsigned)sim_below(cast->sim, 10));
    }
    compute(cast, cast->root, 50 * KP_US, 500 * KP_US);
    step(cast, cast->root, SIM_FINISH, 0, 0);
}

void sim_story(struct sim *sim)
{
    struct cast cast = {sim, .vault = SIM_NONE, .next_pid = 30};
    sim->hosts = chance(&cast, 40) ? 2 : 1;
    sim->cpus = 2 + (uint32_t)sim_below(sim, SIM_CPUS - 1);
    sim->wire = between(&cast, 100 * KP_US, 2 * KP_MS);
    snprintf(sim->groups[PAY].path, sizeof(sim->groups[PAY].path), "/pay");
    snprintf(sim->groups[BATCH].path, sizeof(sim->groups[BATCH].path), "/batch");
    if (chance(&cast, 25))
        sim->groups[PAY].quota = between(&cast, 5 * KP_MS, 30 * KP_MS);
    add_root(&cast);
    add_peers(&cast);
    add_others(&cast);
    add_interrupts(&cast);
    uint32_t alive = sim->threads_count; /* children come later */
    root_steps(&cast);
    for (uint32_t i = 0; i < alive; i++)
        sim_start(sim, i, SIM_NONE);
}
