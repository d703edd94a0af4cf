/* SPDX-License-Identifier: Apache-2.0
 *
 * Random kernels: a seeded scheduler of three CPUs and a dozen threads emits switches, wakeups,
 * joined rows and spans, and sometimes loses some. Whatever it emits, an answer sums to the wall
 * time, comes out the same twice, and does not change when the clock is shifted, threads are
 * renumbered or strangers are added.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "world.h"

#define WORLDS  1500
#define THREADS 10
#define CPUS    3
#define STEPS   120

struct random {
    uint64_t state;
};

static uint64_t below(struct random *r, uint64_t limit)
{
    r->state += 0x9e3779b97f4a7c15ull;
    return kp_hash_mix(r->state) % limit;
}

/* ---------- a scheduler ---------- */

enum sim_state { SIM_BLOCKED, SIM_QUEUED, SIM_RUNNING };

struct sim {
    struct world *w;
    struct random r;
    kp_actor_id idle, threads[THREADS];
    enum sim_state states[THREADS];
    int on[CPUS];        /* thread, -1 = idle */
    int queued[THREADS]; /* CPU it waits for */
    kp_time t;
    unsigned lose; /* one scheduler row in so many is lost; 0 = none */
};

static bool lost(struct sim *sim)
{
    return sim->lose > 0 && below(&sim->r, sim->lose) == 0;
}

static kp_actor_id actor(const struct sim *sim, int thread)
{
    return thread < 0 ? sim->idle : sim->threads[thread];
}

static void sim_switch(struct sim *sim, uint32_t cpu, int state, int next)
{
    int prev = sim->on[cpu];
    if (!lost(sim))
        world_switch(sim->w, sim->t, cpu, actor(sim, prev), state, actor(sim, next));
    if (prev >= 0)
        sim->states[prev] = state == RP || state == R ? SIM_QUEUED : SIM_BLOCKED;
    if (prev >= 0)
        sim->queued[prev] = (int)cpu;
    if (next >= 0)
        sim->states[next] = SIM_RUNNING;
    sim->on[cpu] = next;
}

static int sim_waiter(struct sim *sim, uint32_t cpu)
{
    for (int i = 0; i < THREADS; i++)
        if (sim->states[i] == SIM_QUEUED && sim->queued[i] == (int)cpu)
            return i;
    return -1;
}

static int sim_blocked(struct sim *sim)
{
    int first = (int)below(&sim->r, THREADS);
    for (int i = 0; i < THREADS; i++)
        if (sim->states[(first + i) % THREADS] == SIM_BLOCKED)
            return (first + i) % THREADS;
    return -1;
}

static void sim_wake(struct sim *sim, uint32_t cpu)
{
    static const int vecs[] = {VEC_TIMER, VEC_NET_RX, VEC_BLOCK};
    int thread = sim_blocked(sim);
    uint32_t target = (uint32_t)below(&sim->r, CPUS);
    if (thread < 0)
        return;
    int how = sim->on[cpu] < 0 ? 1 + (int)below(&sim->r, 2) : (int)below(&sim->r, 3);
    if (!lost(sim))
        world_wake_irq(sim->w, sim->t, cpu, actor(sim, sim->on[cpu]), sim->threads[thread],
                       (enum world_context)how,
                       how == IN_SOFTIRQ ? vecs[below(&sim->r, 3)] : VEC_NONE,
                       how == IN_HARDIRQ && below(&sim->r, 2) == 0 ? 24 : -1, target);
    sim->states[thread] = SIM_QUEUED;
    sim->queued[thread] = (int)target;
}

/* A row that leads from one thread to another, true or not. */
static void sim_edge(struct sim *sim, uint32_t cpu, kp_actor_id who, kp_time to)
{
    kp_actor_id other = sim->threads[below(&sim->r, THREADS)];
    int end = (int)below(&sim->r, 2);
    struct world_sock sock = {.from = sim->t,
                              .to = to,
                              .cpu = cpu,
                              .thread = who,
                              .op = (int)below(&sim->r, 4),
                              .local = 1 + end,
                              .local_port = 1 + end,
                              .peer = 2 - end,
                              .peer_port = 2 - end,
                              .bytes = (int64_t)below(&sim->r, 3) * 100,
                              .seq = 100 + (int64_t)below(&sim->r, 5) * 100};
    switch (below(&sim->r, 12)) {
    case 0:
        world_resent(sim->w, to, &sock, sock.seq - 100);
        return;
    case 1:
        world_closed(sim->w, to, &sock);
        return;
    case 2:
        world_fault(sim->w, sim->t, to, cpu, who, 7);
        return;
    case 3:
        world_writeback(sim->w, sim->t, to, cpu, who, (int)below(&sim->r, 2));
        return;
    case 4:
        world_work(sim->w, sim->t - KP_MS, sim->t, to, cpu, who, other, "work");
        return;
    case 5:
        world_boost(sim->w, sim->t, cpu, other, who, 120, 49);
        return;
    case 6:
        world_move(sim->w, sim->t, other, cpu, (uint32_t)below(&sim->r, CPUS));
        return;
    case 7:
        world_fork(sim->w, sim->t, cpu, other, who);
        return;
    case 8:
        world_signal(sim->w, sim->t, cpu, who, other, 10);
        return;
    default:
        world_sock(sim->w, &sock);
        return;
    }
}

static void sim_work(struct sim *sim, uint32_t cpu)
{
    static const char *const calls[] = {"poll", "nanosleep", "fsync", "sendto", "futex"};
    kp_actor_id who = actor(sim, sim->on[cpu]);
    kp_time to = sim->t + (kp_time)below(&sim->r, 3 * KP_MS);
    switch (below(&sim->r, 8)) {
    case 0:
        world_syscall(sim->w, sim->t, to, cpu, who, calls[below(&sim->r, 5)], 0);
        return;
    case 1:
        world_irq(sim->w, sim->t, to, cpu, who, 24, "nic");
        return;
    case 2:
        world_softirq(sim->w, sim->t, to, cpu, who, VEC_NET_RX);
        return;
    case 3:
        world_reclaim(sim->w, sim->t, to, cpu, who);
        return;
    case 4:
        world_lock(sim->w, sim->t, to, cpu, who, sim->threads[below(&sim->r, THREADS)], 0x1000);
        return;
    case 5:
    case 6:
        sim_edge(sim, cpu, who, to);
        return;
    default:
        world_block(sim->w, sim->t, sim->t + (to - sim->t) / 3, to, cpu, who, 8);
        return;
    }
}

static void sim_step(struct sim *sim)
{
    uint32_t cpu = (uint32_t)below(&sim->r, CPUS);
    int waiter = sim_waiter(sim, cpu);
    sim->t += below(&sim->r, 8) == 0 ? 0 : 1 + (kp_time)below(&sim->r, KP_MS);
    switch (below(&sim->r, 5)) {
    case 0:
    case 1:
        sim_wake(sim, cpu);
        return;
    case 2:
        sim_work(sim, cpu);
        return;
    case 3:
        if (waiter >= 0)
            sim_switch(sim, cpu, sim->on[cpu] < 0 ? R : RP, waiter);
        return;
    default:
        if (sim->on[cpu] >= 0 || waiter >= 0)
            sim_switch(sim, cpu, sim->on[cpu] < 0 ? R : below(&sim->r, 3) == 0 ? D : S, waiter);
        return;
    }
}

/* ---------- a world ---------- */

struct shape {
    uint64_t seed;
    unsigned lose;
    bool strangers; /* another host beside it, and an interrupt elsewhere */
    unsigned number;
};

/* Spans over random threads: a root and some children below one another. */
static kp_dur sim_spans(struct sim *sim, kp_time begin, kp_time end, unsigned number)
{
    char id[16], trace[32], parent[16], ids[8][16];
    kp_time from[8], to[8];
    unsigned count = 1 + (unsigned)below(&sim->r, 7);
    snprintf(trace, sizeof(trace), "trace%u", number);
    snprintf(id, sizeof(id), "%u", number);
    for (unsigned i = 0; i < count; i++) {
        unsigned up = i == 0 ? 0 : (unsigned)below(&sim->r, i);
        kp_time a = i == 0 ? begin : from[up], b = i == 0 ? end : to[up];
        from[i] = a + (kp_time)below(&sim->r, (uint64_t)(b - a) / 4 + 1);
        to[i] = b - (kp_time)below(&sim->r, (uint64_t)(b - a) / 4 + 1);
        if (i > 0 && below(&sim->r, 4) == 0)
            to[i] += 3 * KP_MS; /* outlives its parent */
        snprintf(ids[i], sizeof(ids[i]), "s%u", i);
        snprintf(parent, sizeof(parent), "%s", i == 0 ? "" : ids[up]);
        world_span(sim->w, &(struct world_span){.from = from[i],
                                                .to = to[i],
                                                .thread = sim->threads[below(&sim->r, THREADS)],
                                                .trace = trace,
                                                .id = ids[i],
                                                .parent = parent,
                                                .txn = id,
                                                .service = "sim",
                                                .name = ids[i],
                                                .kind = 2 + (int)below(&sim->r, 2)});
    }
    return to[0] - from[0];
}

static void strangers(struct world *w, kp_time from, kp_time to)
{
    const char *host = w->host;
    w->host = "elsewhere";
    kp_actor_id idle = world_idle(w), a = world_thread(w, 7000, 7000, "stranger");
    for (kp_time t = from; t < to; t += 2 * KP_MS) {
        world_wake(w, t, 0, idle, a, 0);
        world_switch(w, t + 1000, 0, idle, R, a);
        world_switch(w, t + KP_MS, 0, a, S, idle);
    }
    w->host = host;
}

/* Emits one world from w->zero on; returns the wall time of its transaction. */
static kp_dur world_make(struct world *w, const struct shape *shape)
{
    struct sim sim = {.w = w, .r = {shape->seed}, .lose = shape->lose};
    sim.idle = world_idle(w);
    for (int i = 0; i < THREADS; i++) {
        char comm[16];
        snprintf(comm, sizeof(comm), "thread-%c", 'a' + i);
        sim.threads[i] = world_thread(w, 1000 + (uint32_t)i / 2, 2000 + (uint32_t)i, comm);
        w->prio[sim.threads[i]] = (int16_t)(i % 4 == 0 ? 49 : 120);
    }
    for (uint32_t cpu = 0; cpu < CPUS; cpu++) {
        sim.on[cpu] = -1;
        world_switch(w, sim.t, cpu, sim.threads[cpu], S, sim.idle);
    }
    for (int i = 0; i < STEPS; i++)
        sim_step(&sim);
    kp_dur wall = sim_spans(&sim, sim.t / 8, sim.t - sim.t / 8, shape->number);
    if (shape->lose > 0)
        world_gap(w, sim.t / 3, sim.t / 2, (uint32_t)below(&sim.r, CPUS));
    if (shape->strangers)
        strangers(w, 0, sim.t);
    return wall;
}

/* What must not depend on clocks, numbers and neighbours. */
static char *digest(const struct world *w, const struct answer *answer)
{
    static const char *const texts[] = {"kind",   "subkind", "comm",     "span", "culprit_comm",
                                        "object", "rule",    "strength", "stop"};
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    for (uint32_t i = 0; i < answer->count; i++) {
        fprintf(out, "%lld +%lld %lld", (long long)cell_i64(answer, i, "root"),
                (long long)(cell_i64(answer, i, "start") - w->zero),
                (long long)cell_i64(answer, i, "dur"));
        for (size_t f = 0; f < KP_ARRAY_LEN(texts); f++)
            fprintf(out, " [%s]", cell_str(answer, i, texts[f]));
        fprintf(out, "\n");
    }
    fclose(out);
    return text;
}

static char *ask(struct world *w, unsigned number, kp_dur wall)
{
    char id[16];
    struct answer answer;
    snprintf(id, sizeof(id), "%u", number);
    struct kp_causes_req req = world_req(id);
    req.baseline_none = true; /* the worlds of a store have nothing in common */
    world_causes_req(w, &req, &answer);
    assert_int_equal(answer.status, KP_OK);
    answer_check(&answer, wall);
    char *text = digest(w, &answer);
    answer_deinit(&answer);
    return text;
}

/* ---------- tests ---------- */

/* Worlds follow each other in one store, far enough apart not to see each other. */
static void every_answer_sums_to_the_wall(void **state)
{
    (void)state;
    struct world w;
    static kp_dur walls[WORLDS];
    world_open(&w);
    for (unsigned i = 0; i < WORLDS; i++) {
        w.zero = WORLD_ZERO + (kp_time)i * 60 * KP_SEC;
        walls[i] = world_make(&w, &(struct shape){.seed = i,
                                                  .lose = i % 3 == 0   ? 0
                                                          : i % 3 == 1 ? 10
                                                                       : 40,
                                                  .number = i});
    }
    world_commit(&w);
    for (unsigned i = 0; i < WORLDS; i++) {
        w.zero = WORLD_ZERO + (kp_time)i * 60 * KP_SEC;
        free(ask(&w, i, walls[i]));
    }
    world_close(&w);
}

/* Worlds of the same seeds, plain and varied, in one store; their digests are equal in pairs. */
static void compare(void (*vary)(struct world *w, struct shape *shape), unsigned worlds)
{
    struct world w;
    static kp_dur walls[2 * WORLDS];
    static kp_time zeros[2 * WORLDS];
    world_open(&w);
    for (unsigned i = 0; i < 2 * worlds; i++) {
        struct shape shape = {.seed = 77 + i / 2, .lose = i % 4 < 2 ? 0 : 30, .number = i};
        w.zero = WORLD_ZERO + (kp_time)i * 60 * KP_SEC;
        w.pid_shift = 0;
        if (i % 2 == 1)
            vary(&w, &shape);
        zeros[i] = w.zero;
        walls[i] = world_make(&w, &shape);
    }
    world_commit(&w);
    for (unsigned i = 0; i < 2 * worlds; i += 2) {
        w.zero = zeros[i];
        char *plain = ask(&w, i, walls[i]);
        w.zero = zeros[i + 1];
        char *varied = ask(&w, i + 1, walls[i + 1]);
        assert_string_equal(plain, varied);
        free(plain);
        free(varied);
    }
    world_close(&w);
}

/* Reading on demand gives the same bytes as reading everything first. */
static void reading_late_changes_nothing(void **state)
{
    (void)state;
    struct world w;
    unsigned worlds = 30; /* each compared with those before it */
    world_open(&w);
    for (unsigned i = 0; i < worlds; i++) {
        w.zero = WORLD_ZERO + (kp_time)i * 60 * KP_SEC;
        world_make(&w, &(struct shape){.seed = 4000 + i, .lose = i % 3 * 15, .number = i});
    }
    world_commit(&w);
    for (unsigned i = 0; i < worlds; i++) {
        char id[16], *text[2];
        snprintf(id, sizeof(id), "%u", i);
        for (int eager = 0; eager < 2; eager++) {
            struct answer answer;
            struct kp_causes_req req = world_req(id);
            req.eager = eager == 1;
            world_causes_req(&w, &req, &answer);
            assert_int_equal(answer.status, KP_OK);
            text[eager] = answer_text(&w, &answer);
            answer_deinit(&answer);
        }
        assert_string_equal(text[0], text[1]);
        free(text[0]);
        free(text[1]);
    }
    world_close(&w);
}

static void same(struct world *w, struct shape *shape)
{
    (void)w;
    (void)shape;
}

static void shifted(struct world *w, struct shape *shape)
{
    (void)shape;
    w->zero += 123456789123ll;
}

static void renumbered(struct world *w, struct shape *shape)
{
    (void)shape;
    w->pid_shift = 30000;
}

static void with_strangers(struct world *w, struct shape *shape)
{
    (void)w;
    shape->strangers = true;
}

static void same_store_same_answer(void **state)
{
    (void)state;
    compare(same, 100);
}

static void shifting_the_clock_changes_nothing(void **state)
{
    (void)state;
    compare(shifted, 300);
}

static void renumbering_threads_changes_nothing(void **state)
{
    (void)state;
    compare(renumbered, 300);
}

static void strangers_change_nothing(void **state)
{
    (void)state;
    compare(with_strangers, 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_answer_sums_to_the_wall),
        cmocka_unit_test(same_store_same_answer),
        cmocka_unit_test(shifting_the_clock_changes_nothing),
        cmocka_unit_test(renumbering_threads_changes_nothing),
        cmocka_unit_test(strangers_change_nothing),
        cmocka_unit_test(reading_late_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
