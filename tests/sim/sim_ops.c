/* SPDX-License-Identifier: Apache-2.0
 *
 * What threads do, one phase after the other: a phase is some time on the CPU, after which the
 * thread goes on, goes to sleep, or wakes others. A lock is a word as in the usual mutex: 0 free, 1
 * held, 2 held and somebody may wait; who was woken for it can be overtaken.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/assert.h"
#include "sim/sim_int.h"

#define ENTRY (2 * KP_US) /* of a system call, before it waits */
#define FORK  (40 * KP_US)
#define BYTES 100 /* of a message */

#define LOCK_WORDS     INT64_C(0x7f0000001000)
#define CONDITION_WORD INT64_C(0x7f0000008000)

enum { FUTEX_WAIT = 128, FUTEX_WAIT_BITSET = 137, CONTENDED = 2, TIMED_OUT = -110 };
enum { BEGIN_AGAIN = -512, BEGIN_REST_AGAIN = -516 }; /* results of interrupted calls */
enum { SIGNAL_USER = 10, SIGNAL_STOP = 19 };
enum { SEND, RECEIVE };

/* ---------- helpers ---------- */

static void next(struct sim_thread *thread)
{
    thread->at++;
    thread->phase = 0;
    thread->need = 0;
}

static void phase(struct sim_thread *thread, unsigned number, kp_dur need)
{
    thread->phase = number;
    thread->need = need;
}

static void enter(struct sim *sim, struct sim_thread *thread)
{
    thread->call_from = sim->now;
    thread->wait++;
    thread->deadline = 0;
    phase(thread, 1, ENTRY);
}

static struct sim_row *call_row(struct sim *sim, uint32_t index, const char *name, int64_t result)
{
    struct sim_thread *thread = &sim->threads[index];
    struct sim_row *row =
        sim_row_add(sim, SIM_ROW_CALL, thread->call_from, thread->host, thread->cpu, index);
    row->name = thread->restarted ? "restart_syscall" : name;
    row->was = thread->restarted ? name : NULL;
    row->b = result;
    thread->restarted = false;
    return row;
}

/* A call of futex; only its first try says on which word. */
static void futex_row(struct sim *sim, uint32_t index, int64_t word, int64_t op, int64_t value,
                      int64_t result)
{
    struct sim_row *row = call_row(sim, index, "futex", result);
    row->c = word;
    row->d = op;
    row->e = value;
}

/* One end's call on the connection of a client. */
static void sock_row(struct sim *sim, uint32_t index, uint32_t client, int op, uint32_t last)
{
    const struct sim_thread *thread = &sim->threads[index];
    struct sim_row *row =
        sim_row_add(sim, SIM_ROW_SOCK, thread->call_from, thread->host, thread->cpu, index);
    row->a = op;
    row->b = client;
    row->c = index != client;
    row->d = BYTES;
    row->e = last;
}

/* ---------- locks ---------- */

static void hold_add(struct sim *sim, struct sim_lock *lock, uint32_t thread, bool given)
{
    struct sim_hold *hold = sim_add(&lock->holds, sizeof(*hold));
    *hold = (struct sim_hold){sim->now, thread, given};
}

static void lock_take(struct sim *sim, uint32_t index, struct sim_lock *lock, int word)
{
    lock->word = word;
    lock->holder = index;
    hold_add(sim, lock, index, false);
    next(&sim->threads[index]);
}

static void lock_wait(struct sim *sim, uint32_t index, uint32_t number)
{
    struct sim_lock *lock = &sim->locks[number];
    if (lock->word == 0) {
        lock_take(sim, index, lock, CONTENDED);
        return;
    }
    lock->word = CONTENDED;
    lock->waiters[lock->waiting++] = index;
    phase(&sim->threads[index], 2, ENTRY);
    sim_block(sim, index, SIM_WHY_LOCK, number, S);
}

static void lock_woken(struct sim *sim, uint32_t index, uint32_t number)
{
    struct sim_lock *lock = &sim->locks[number];
    futex_row(sim, index, LOCK_WORDS + number * 64, FUTEX_WAIT, CONTENDED, 0);
    if (lock->woken == index)
        lock->woken = SIM_NONE;
    if (lock->word == 0)
        lock_take(sim, index, lock, CONTENDED);
    else
        enter(sim, &sim->threads[index]);
}

static void op_lock(struct sim *sim, uint32_t index, uint32_t number)
{
    struct sim_thread *thread = &sim->threads[index];
    struct sim_lock *lock = &sim->locks[number];
    if (thread->phase == 0 && lock->word == 0)
        lock_take(sim, index, lock, 1);
    else if (thread->phase == 0)
        enter(sim, thread);
    else if (thread->phase == 1)
        lock_wait(sim, index, number);
    else
        lock_woken(sim, index, number);
}

static void waiter_drop(struct sim_lock *lock, uint32_t thread)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < lock->waiting; i++)
        if (lock->waiters[i] != thread)
            lock->waiters[kept++] = lock->waiters[i];
    lock->waiting = kept;
}

static void op_unlock(struct sim *sim, uint32_t index, struct sim_lock *lock)
{
    bool wakes = lock->word == CONTENDED && lock->waiting > 0;
    lock->word = 0;
    lock->holder = SIM_NONE;
    if (wakes) {
        lock->woken = lock->waiters[0];
        waiter_drop(lock, lock->woken);
    }
    hold_add(sim, lock, lock->woken, true);
    next(&sim->threads[index]);
    if (wakes) {
        struct sim_source source = sim_by(sim, index);
        sim->threads[index].need = KP_US;
        sim_wake(sim, lock->woken, &source);
    }
}

/* ---------- timers and pipes ---------- */

void sim_timer(struct sim *sim, uint32_t index, uint32_t number)
{
    struct sim_thread *thread = &sim->threads[index];
    if (thread->timer != number || thread->state != SIM_BLOCKED)
        return;
    struct sim_source source = {thread->host, thread->cpu, sim_cpu_of(sim, thread)->current,
                                IN_HARDIRQ,   VEC_NONE,    -1};
    thread->timed_out = true;
    if (thread->why == SIM_WHY_SIGNAL || thread->why == SIM_WHY_MESSAGE)
        thread->why = SIM_WHY_TIMEOUT;
    sim_wake(sim, index, &source);
}

/* The timer of a wait of so long; one that was interrupted goes on with the rest. False: it is
 * over.
 */
static bool timer_start(struct sim *sim, uint32_t index, kp_dur dur)
{
    struct sim_thread *thread = &sim->threads[index];
    if (thread->deadline == 0)
        thread->deadline = sim->now + dur;
    thread->timed_out = thread->deadline <= sim->now;
    if (!thread->timed_out)
        sim_event_add(sim, thread->deadline, EVENT_TIMER, index, ++thread->timer);
    return !thread->timed_out;
}

static void op_sleep(struct sim *sim, uint32_t index, kp_dur dur)
{
    struct sim_thread *thread = &sim->threads[index];
    if (thread->phase == 0) {
        enter(sim, thread);
    } else if (thread->phase == 1 && timer_start(sim, index, dur)) {
        phase(thread, 2, ENTRY);
        sim_block(sim, index, SIM_WHY_SLEEP, SIM_NONE, S);
    } else {
        call_row(sim, index, "clock_nanosleep", 0);
        next(thread);
    }
}

static void take_row(struct sim *sim, uint32_t index, bool timed, int64_t result)
{
    if (timed)
        futex_row(sim, index, CONDITION_WORD, FUTEX_WAIT_BITSET, 7, result);
    else
        call_row(sim, index, "read", result);
}

/* Takes one message of a pipe; limit 0 = waits without end, else it is a condition. */
static void op_take(struct sim *sim, uint32_t index, struct sim_pipe *pipe, kp_dur limit)
{
    struct sim_thread *thread = &sim->threads[index];
    if (thread->phase == 0) {
        enter(sim, thread);
    } else if (thread->phase == 1 && pipe->full == 0 &&
               (limit == 0 || timer_start(sim, index, limit))) {
        pipe->reader = index;
        phase(thread, 2, ENTRY);
        sim_block(sim, index, SIM_WHY_SIGNAL, SIM_NONE, S);
    } else {
        if (pipe->full > 0)
            pipe->full--;
        thread->timer++;
        pipe->reader = SIM_NONE;
        take_row(sim, index, limit > 0, limit == 0 ? 1 : thread->timed_out ? TIMED_OUT : 0);
        thread->timed_out = false;
        next(thread);
    }
}

static void op_give(struct sim *sim, uint32_t index, struct sim_pipe *pipe)
{
    uint32_t reader = pipe->reader;
    pipe->full++;
    next(&sim->threads[index]);
    sim->threads[index].need = KP_US;
    if (reader != SIM_NONE && sim->threads[reader].state == SIM_BLOCKED) {
        struct sim_source source = sim_by(sim, index);
        sim->threads[reader].ref = index;
        sim->threads[reader].timer++;
        sim_wake(sim, reader, &source);
    }
}

/* ---------- the disk ---------- */

static void disk_next(struct sim *sim, uint32_t host)
{
    if (sim->disk_busy[host] || sim->disk_next[host] == sim->disk[host].count)
        return;
    uint32_t number = *SIM_AT(sim->disk[host], uint32_t, sim->disk_next[host]);
    struct sim_request *request = SIM_AT(sim->requests, struct sim_request, number);
    request->issued = sim->now;
    sim->disk_busy[host] = true;
    sim_event_add(sim, sim->now + request->service, EVENT_DISK, host, 0);
}

void sim_disk_done(struct sim *sim, uint32_t host)
{
    uint32_t number = *SIM_AT(sim->disk[host], uint32_t, sim->disk_next[host]++);
    struct sim_request *request = SIM_AT(sim->requests, struct sim_request, number);
    struct sim_source source = sim_by_irq(sim, host, IN_SOFTIRQ, VEC_BLOCK, -1);
    struct sim_row *row =
        sim_row_add(sim, SIM_ROW_BLOCK, request->from, host, source.cpu, request->thread);
    request->to = sim->now;
    row->a = request->issued - request->from;
    row->b = 1000 + number * 8;
    sim->disk_busy[host] = false;
    if (sim->threads[request->thread].state == SIM_BLOCKED)
        sim_wake(sim, request->thread, &source);
    disk_next(sim, host);
}

static void op_read(struct sim *sim, uint32_t index, kp_dur service, bool fault)
{
    struct sim_thread *thread = &sim->threads[index];
    if (thread->phase == 0) {
        enter(sim, thread);
    } else if (thread->phase == 1) {
        uint32_t number = sim->requests.count;
        struct sim_request *request = sim_add(&sim->requests, sizeof(*request));
        *request = (struct sim_request){index, sim->now, KP_TIME_MAX, KP_TIME_MAX, service};
        *(uint32_t *)sim_add(&sim->disk[thread->host], sizeof(uint32_t)) = number;
        disk_next(sim, thread->host);
        phase(thread, 2, ENTRY);
        sim_block(sim, index, fault ? SIM_WHY_FAULT : SIM_WHY_DISK, number, D);
    } else {
        if (fault)
            sim_row_add(sim, SIM_ROW_FAULT, thread->call_from, thread->host, thread->cpu, index);
        else
            call_row(sim, index, "pread64", 4096);
        next(thread);
    }
}

/* ---------- messages ---------- */

static void deliver(struct sim *sim, uint32_t number, const struct sim_source *source)
{
    struct sim_message *message = SIM_AT(sim->messages, struct sim_message, number);
    struct sim_thread *to = &sim->threads[message->receiver];
    enum sim_why why = message->reply ? SIM_WHY_MESSAGE : SIM_WHY_REQUEST;
    message->arrived = sim->now;
    if (message->reply && to->gave_up)
        return;
    if (message->reply)
        to->reply = number;
    else
        *(uint32_t *)sim_add(&to->inbox, sizeof(uint32_t)) = number;
    if (to->state != SIM_BLOCKED || to->why != why)
        return;
    to->ref = number;
    sim_wake(sim, message->receiver, source);
}

void sim_arrive(struct sim *sim, uint32_t number)
{
    uint32_t to = SIM_AT(sim->messages, struct sim_message, number)->receiver;
    struct sim_source source = sim_by_irq(sim, sim->threads[to].host, IN_SOFTIRQ, VEC_NET_RX, -1);
    deliver(sim, number, &source);
}

static bool is_near(const struct sim *sim, uint32_t a, uint32_t b)
{
    return sim->threads[a].host == sim->threads[b].host;
}

/* On one host a message is there while the call that sends it goes on; to another host it leaves
 * when the call ends. */
static void message_send(struct sim *sim, uint32_t from, uint32_t to, bool reply)
{
    uint32_t number = sim->messages.count;
    struct sim_message *message = sim_add(&sim->messages, sizeof(*message));
    *message = (struct sim_message){from, to, sim->now, KP_TIME_MAX, reply};
    if (is_near(sim, from, to)) {
        struct sim_source source = sim_by(sim, from);
        source.context = IN_SOFTIRQ;
        source.vec = VEC_NET_RX;
        deliver(sim, number, &source);
    } else {
        kp_dur way = sim->wire + (kp_dur)sim_below(sim, 50 * KP_US);
        sim_event_add(sim, sim->now + way, EVENT_ARRIVE, number, 0);
    }
}

static bool inbox_has(const struct sim_thread *thread)
{
    return thread->inbox_read < thread->inbox.count;
}

/* Asks: the phases up to 2. */
static void ask(struct sim *sim, uint32_t index, uint32_t server)
{
    struct sim_thread *thread = &sim->threads[index];
    bool near = is_near(sim, index, server);
    if (thread->phase == 0 && thread->gave_up) {
        next(thread);
        thread->need = KP_US;
    } else if (thread->phase == 0) {
        enter(sim, thread);
    } else if (thread->phase == 1) {
        thread->asked += BYTES;
        thread->reply = SIM_NONE;
        phase(thread, 2, KP_US);
        if (near)
            message_send(sim, index, server, false);
    } else {
        if (!near)
            message_send(sim, index, server, false);
        sock_row(sim, index, index, SEND, thread->asked);
        thread->call_from = sim->now;
        phase(thread, 3, ENTRY);
    }
}

static void reply_take(struct sim *sim, uint32_t index)
{
    struct sim_thread *thread = &sim->threads[index];
    thread->answered += BYTES;
    call_row(sim, index, "recvfrom", BYTES);
    sock_row(sim, index, index, RECEIVE, thread->answered);
    next(thread);
}

static void op_call(struct sim *sim, uint32_t index, uint32_t server)
{
    struct sim_thread *thread = &sim->threads[index];
    if (thread->phase < 3) {
        ask(sim, index, server);
    } else if (thread->phase == 3) {
        phase(thread, 4, ENTRY);
        if (thread->reply == SIM_NONE)
            sim_block(sim, index, SIM_WHY_MESSAGE, SIM_NONE, S);
    } else {
        reply_take(sim, index);
    }
}

static void op_poll(struct sim *sim, uint32_t index, uint32_t server, kp_dur limit)
{
    struct sim_thread *thread = &sim->threads[index];
    if (thread->phase < 3) {
        ask(sim, index, server);
    } else if (thread->phase == 3) {
        phase(thread, 4, ENTRY);
        if (thread->reply == SIM_NONE && timer_start(sim, index, limit))
            sim_block(sim, index, SIM_WHY_MESSAGE, SIM_NONE, S);
    } else if (thread->phase == 4) {
        thread->timer++;
        thread->gave_up = thread->reply == SIM_NONE;
        call_row(sim, index, "poll", thread->gave_up ? 0 : 1);
        thread->call_from = sim->now;
        phase(thread, 5, ENTRY);
    } else if (thread->gave_up) {
        next(thread);
    } else {
        reply_take(sim, index);
    }
}

static void op_serve(struct sim *sim, uint32_t index)
{
    struct sim_thread *thread = &sim->threads[index];
    switch (thread->phase) {
    case 0:
        enter(sim, thread);
        return;
    case 1:
        phase(thread, 2, ENTRY);
        if (!inbox_has(thread))
            sim_block(sim, index, SIM_WHY_REQUEST, SIM_NONE, S);
        return;
    case 2:
        call_row(sim, index, "epoll_wait", 1);
        thread->call_from = sim->now;
        phase(thread, 3, ENTRY);
        return;
    default:
        thread->message = *SIM_AT(thread->inbox, uint32_t, thread->inbox_read++);
        thread->partner = SIM_AT(sim->messages, struct sim_message, thread->message)->sender;
        sock_row(sim, index, thread->partner, RECEIVE, sim->threads[thread->partner].asked);
        next(thread);
        return;
    }
}

static void op_reply(struct sim *sim, uint32_t index)
{
    struct sim_thread *thread = &sim->threads[index];
    if (thread->phase == 0) {
        enter(sim, thread);
    } else if (thread->phase == 1) {
        thread->last = sim->threads[thread->partner].answered + BYTES;
        phase(thread, 2, KP_US);
        if (is_near(sim, index, thread->partner))
            message_send(sim, index, thread->partner, true);
    } else {
        if (!is_near(sim, index, thread->partner))
            message_send(sim, index, thread->partner, true);
        sock_row(sim, index, thread->partner, SEND, thread->last);
        next(thread);
    }
}

/* ---------- children and workers ---------- */

static void op_fork(struct sim *sim, uint32_t index, uint32_t child)
{
    struct sim_thread *thread = &sim->threads[index];
    if (thread->phase == 0) {
        phase(thread, 1, FORK);
    } else {
        next(thread);
        thread->need = KP_US;
        sim_start(sim, child, index);
    }
}

static void op_wait(struct sim *sim, uint32_t index, uint32_t child)
{
    struct sim_thread *thread = &sim->threads[index];
    if (thread->phase == 0) {
        enter(sim, thread);
    } else if (thread->phase == 1 && sim->threads[child].state != SIM_ENDED) {
        phase(thread, 2, ENTRY);
        sim_block(sim, index, SIM_WHY_CHILD, child, S);
    } else {
        call_row(sim, index, "wait4", sim->threads[child].tid);
        next(thread);
    }
}

static void op_exit(struct sim *sim, uint32_t index)
{
    for (uint32_t i = 0; i < sim->threads_count; i++) {
        struct sim_thread *thread = &sim->threads[i];
        if (thread->state == SIM_BLOCKED && thread->why == SIM_WHY_CHILD && thread->ref == index) {
            struct sim_source source = sim_by(sim, index);
            sim_wake(sim, i, &source);
        }
    }
    sim_exit(sim, index);
}

static void op_work(struct sim *sim, uint32_t index, kp_dur dur, uint32_t worker)
{
    struct sim_thread *thread = &sim->threads[index];
    if (thread->phase == 0) {
        enter(sim, thread);
    } else if (thread->phase == 1) {
        uint32_t number = sim->jobs.count;
        struct sim_thread *w = &sim->threads[worker];
        struct sim_job *job = sim_add(&sim->jobs, sizeof(*job));
        *job = (struct sim_job){.submitter = index, .worker = worker, .need = dur};
        job->queued = sim->now;
        job->from = job->to = KP_TIME_MAX;
        *(uint32_t *)sim_add(&w->inbox, sizeof(uint32_t)) = number;
        if (w->state == SIM_BLOCKED) {
            struct sim_source source = sim_by(sim, index);
            sim_wake(sim, worker, &source);
        }
        phase(thread, 2, ENTRY);
        sim_block(sim, index, SIM_WHY_WORK, number, D);
    } else {
        call_row(sim, index, "fsync", 0);
        next(thread);
    }
}

/* A kernel worker: does what is queued, one after the other. */
static void op_worker(struct sim *sim, uint32_t index)
{
    struct sim_thread *thread = &sim->threads[index];
    if (thread->phase == 1) {
        struct sim_job *job = SIM_AT(sim->jobs, struct sim_job, thread->message);
        struct sim_source source = sim_by(sim, index);
        phase(thread, 2, KP_US);
        sim_wake(sim, job->submitter, &source);
    } else if (thread->phase == 2) {
        struct sim_job *job = SIM_AT(sim->jobs, struct sim_job, thread->message);
        job->to = sim->now;
        struct sim_row *row =
            sim_row_add(sim, SIM_ROW_WORK, job->from, thread->host, thread->cpu, index);
        row->a = job->submitter;
        row->b = job->queued;
        phase(thread, 0, KP_US);
    } else if (inbox_has(thread)) {
        thread->message = *SIM_AT(thread->inbox, uint32_t, thread->inbox_read++);
        struct sim_job *job = SIM_AT(sim->jobs, struct sim_job, thread->message);
        job->from = sim->now;
        phase(thread, 1, job->need);
    } else {
        phase(thread, 0, KP_US);
        sim_block(sim, index, SIM_WHY_REQUEST, SIM_NONE, S);
    }
}

/* ---------- signals and the freezer ---------- */

/* The row of the call that the thread waited in and was interrupted. */
static void interrupted_row(struct sim *sim, uint32_t index)
{
    const struct sim_thread *thread = &sim->threads[index];
    const struct sim_step *step = &thread->steps[thread->at];
    switch (step->op) {
    case SIM_SLEEP:
        call_row(sim, index, "clock_nanosleep", BEGIN_REST_AGAIN);
        return;
    case SIM_LOCK:
        futex_row(sim, index, LOCK_WORDS + step->a * 64, FUTEX_WAIT, CONTENDED, BEGIN_AGAIN);
        return;
    case SIM_AWAIT:
    case SIM_TAKE:
        take_row(sim, index, step->b > 0, step->b > 0 ? BEGIN_REST_AGAIN : BEGIN_AGAIN);
        return;
    case SIM_POLL:
        call_row(sim, index, "poll", BEGIN_REST_AGAIN);
        return;
    default:
        call_row(sim, index, step->op == SIM_CALL ? "recvfrom" : "wait4", BEGIN_AGAIN);
        return;
    }
}

/* A running thread is stopped, or frozen, for so long. */
static void keep_back(struct sim *sim, uint32_t index, enum sim_op how, uint32_t by, kp_dur dur)
{
    sim_event_add(sim, sim->now + dur, EVENT_CONTINUE, index, 0);
    if (how == SIM_STOP)
        sim_block(sim, index, SIM_WHY_STOP, by, T);
    else
        sim_block(sim, index, SIM_WHY_FROZEN, SIM_NONE, F);
}

/* It runs again, because it was interrupted: the handler computes, or it is kept from going on.
 * After that the call begins again. */
static void serve_hit(struct sim *sim, uint32_t index)
{
    struct sim_thread *thread = &sim->threads[index];
    enum sim_op op = thread->steps[thread->at].op;
    if (thread->served) {
        thread->restarted =
            thread->hit != SIM_SIGNAL && (op == SIM_SLEEP || op == SIM_AWAIT || op == SIM_POLL);
        thread->served = false;
        thread->hit = SIM_COMPUTE;
        thread->call_from = sim->now;
        phase(thread, op == SIM_CALL || op == SIM_POLL ? 3 : 1, ENTRY);
        return;
    }
    interrupted_row(sim, index);
    thread->served = true;
    thread->need = thread->hit_for;
    if (thread->hit == SIM_SIGNAL)
        return;
    thread->need = KP_US;
    keep_back(sim, index, thread->hit, thread->hitter, thread->hit_for);
}

static bool waits_interruptibly(const struct sim_thread *thread)
{
    return thread->state == SIM_BLOCKED &&
           (thread->why == SIM_WHY_LOCK || thread->why == SIM_WHY_SLEEP ||
            thread->why == SIM_WHY_SIGNAL || thread->why == SIM_WHY_MESSAGE ||
            thread->why == SIM_WHY_CHILD);
}

/* The wait ends for now; what it was for may happen meanwhile. */
static void interrupt_wait(struct sim *sim, uint32_t index, uint32_t target,
                           const struct sim_step *step)
{
    struct sim_thread *other = &sim->threads[target];
    const struct sim_step *waits = &other->steps[other->at];
    struct sim_source source = sim_by(sim, index);
    other->hit = step->op;
    other->hit_for = step->b;
    other->hitter = index;
    other->timer++;
    if (waits->op == SIM_LOCK)
        waiter_drop(&sim->locks[waits->a], target);
    else if (waits->op == SIM_AWAIT || waits->op == SIM_TAKE)
        sim->pipes[waits->a].reader = SIM_NONE;
    sim_wake(sim, target, &source);
}

/* The other has to be in a wait that can be interrupted or, to be stopped, runs on another CPU. */
static void op_hit(struct sim *sim, uint32_t index, const struct sim_step *step)
{
    struct sim_thread *thread = &sim->threads[index];
    uint32_t target = (uint32_t)step->a;
    struct sim_thread *other = &sim->threads[target];
    bool waits = other->hit == SIM_COMPUTE && waits_interruptibly(other);
    bool runs = step->op != SIM_SIGNAL && other->hit == SIM_COMPUTE &&
                other->state == SIM_RUNNING && other != thread &&
                sim_cpu_of(sim, other)->busy_until <= sim->now;
    if (!waits && !runs && step->op == SIM_SIGNAL) {
        next(thread);
        return;
    }
    if (!waits && !runs) {
        phase(thread, 0, 100 * KP_US);
        return;
    }
    if (step->op != SIM_FREEZE) {
        struct sim_row *row =
            sim_row_add(sim, SIM_ROW_SIGNAL, sim->now, thread->host, thread->cpu, index);
        row->a = target;
        row->b = step->op == SIM_STOP ? SIGNAL_STOP : SIGNAL_USER;
    }
    next(thread);
    thread->need = KP_US;
    if (waits) {
        interrupt_wait(sim, index, target, step);
        return;
    }
    other->need = KP_MAX(other->need - (sim->now - sim_cpu_of(sim, other)->resumed), KP_US);
    keep_back(sim, target, step->op, index, step->b);
}

/* ---------- one step ---------- */

static void op_compute(struct sim *sim, uint32_t index, kp_dur dur, bool call)
{
    struct sim_thread *thread = &sim->threads[index];
    if (thread->phase == 0) {
        thread->call_from = sim->now;
        phase(thread, 1, dur);
        return;
    }
    if (call)
        call_row(sim, index, "write", 4096);
    next(thread);
}

static void op_finish(struct sim *sim)
{
    sim->end = sim->now;
    sim->over = true;
}

static void step_rare(struct sim *sim, uint32_t index, const struct sim_step *step)
{
    struct sim_thread *thread = &sim->threads[index];
    switch (step->op) {
    case SIM_FORK:
        op_fork(sim, index, (uint32_t)step->a);
        return;
    case SIM_WAIT:
        op_wait(sim, index, (uint32_t)step->a);
        return;
    case SIM_WORK:
        op_work(sim, index, step->a, (uint32_t)step->b);
        return;
    case SIM_POLL:
        op_poll(sim, index, (uint32_t)step->a, step->b);
        return;
    case SIM_STOP:
    case SIM_FREEZE:
    case SIM_SIGNAL:
        op_hit(sim, index, step);
        return;
    case SIM_BEGIN:
        sim->begin = sim->now;
        next(thread);
        return;
    case SIM_FINISH:
        op_finish(sim);
        return;
    case SIM_LOOP:
        thread->at = 0;
        thread->need = KP_US;
        return;
    default:
        op_exit(sim, index);
        return;
    }
}

void sim_step(struct sim *sim, uint32_t index)
{
    struct sim_thread *thread = &sim->threads[index];
    const struct sim_step step = thread->at < thread->steps_count
                                     ? thread->steps[thread->at]
                                     : (struct sim_step){SIM_EXIT, 0, 0};
    uint32_t a = (uint32_t)step.a;
    if (thread->hit != SIM_COMPUTE) {
        serve_hit(sim, index);
        return;
    }
    switch (step.op) {
    case SIM_COMPUTE:
    case SIM_SYSCALL:
        op_compute(sim, index, step.a, step.op == SIM_SYSCALL);
        return;
    case SIM_LOCK:
        op_lock(sim, index, a);
        return;
    case SIM_UNLOCK:
        op_unlock(sim, index, &sim->locks[a]);
        return;
    case SIM_SLEEP:
        op_sleep(sim, index, step.a);
        return;
    case SIM_AWAIT:
    case SIM_TAKE:
        op_take(sim, index, &sim->pipes[a], step.b);
        return;
    case SIM_GIVE:
        op_give(sim, index, &sim->pipes[a]);
        return;
    case SIM_READ:
    case SIM_FAULT:
        op_read(sim, index, step.a, step.op == SIM_FAULT);
        return;
    case SIM_CALL:
        op_call(sim, index, a);
        return;
    case SIM_SERVE:
        if (thread->kthread)
            op_worker(sim, index);
        else
            op_serve(sim, index);
        return;
    case SIM_REPLY:
        op_reply(sim, index);
        return;
    default:
        step_rare(sim, index, &step);
        return;
    }
}
