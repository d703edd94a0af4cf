/* SPDX-License-Identifier: Apache-2.0
 *
 * Our walk beside the same walk by the published rules of other tools (ORACLE): first small worlds
 * of which those descriptions say what must come out, then simulated worlds and recordings, where
 * every nanosecond on which they disagree must fall into a class that has a name. The time of each
 * class is printed; docs/accuracy.md tells what the classes mean.
 *
 * KP_SIM_SEEDS=n: so many worlds (make truth-sim N=n). KP_WALKS=dir: the transactions of that
 * store, as `make truth TRUTH='--keep ...'` leaves some.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "ftrace.h"
#include "shared.h"
#include "sim/sim.h"

#define APART     (4 * KP_HOUR) /* worlds of one store: further than anything is looked back */
#define SEEDS     40
#define LEVELS    80
#define PARTS_MAX 65536

enum walk_class {
#define WALK_CLASS(ID, name, text) CLASS_##ID,
#include "walk_class.def"
#undef WALK_CLASS
    CLASSES
};

static const struct {
    const char *name, *text;
} classes[] = {
#define WALK_CLASS(ID, name, text) {name, text},
#include "walk_class.def"
#undef WALK_CLASS
};

static struct world w;

/* ---------- asking ---------- */

struct part {
    kp_time from, to;
    int64_t tid, culprit; /* -1 = none */
    char host[16], kind[32], rule[16], note[128], subkind[24];
};

static struct part ours[PARTS_MAX], theirs[PARTS_MAX];

static int64_t cell_or_none(const struct answer *answer, uint32_t row, const char *column)
{
    return cell_null(answer, row, column) ? -1 : cell_i64(answer, row, column);
}

static uint32_t parts_ask(struct kp_causes_req req, enum kp_oracle oracle, struct part *out)
{
    struct answer answer;
    kp_dur sum = 0;
    req.parts = true;
    req.baseline_none = true;
    req.oracle = oracle;
    world_causes_req(&w, &req, &answer);
    if (answer.status != KP_OK)
        fail_msg("%s", answer.err.text);
    assert_in_range(answer.count, 0, PARTS_MAX);
    for (uint32_t i = 0; i < answer.count; i++) {
        struct part *part = &out[i];
        part->from = cell_i64(&answer, i, "start");
        part->to = part->from + cell_i64(&answer, i, "dur");
        part->tid = cell_or_none(&answer, i, "tid");
        part->culprit = cell_or_none(&answer, i, "culprit_tid");
        snprintf(part->host, sizeof(part->host), "%.15s", cell_str(&answer, i, "host"));
        snprintf(part->kind, sizeof(part->kind), "%.31s", cell_str(&answer, i, "kind"));
        snprintf(part->subkind, sizeof(part->subkind), "%.23s", cell_str(&answer, i, "subkind"));
        snprintf(part->rule, sizeof(part->rule), "%.15s", cell_str(&answer, i, "rule"));
        snprintf(part->note, sizeof(part->note), "%.127s", cell_str(&answer, i, "note"));
        if (oracle != KP_ORACLE_NONE)
            assert_string_not_equal(cell_str(&answer, i, "strength"), "strong");
        assert_true(i == 0 || out[i - 1].to == part->from);
        sum += part->to - part->from;
    }
    assert_int_equal(sum, answer.count == 0 ? 0 : out[answer.count - 1].to - out[0].from);
    uint32_t count = answer.count;
    answer_deinit(&answer);
    return count;
}

/* The frames at an instant: who waited for whom, and by what edge. */
struct chain {
    uint32_t levels;
    int64_t tids[LEVELS];
    char edges[LEVELS][16];
};

static void chain_ask(struct kp_causes_req req, enum kp_oracle oracle, kp_time at,
                      struct chain *out)
{
    struct kp_error err = {0};
    struct answer answer = {0};
    struct kp_rows *rows = NULL;
    req.oracle = oracle;
    kp_arena_init(&answer.arena, 0);
    if (kp_chain_open(w.snapshot, &req, at, &answer.arena, &rows, &err) != KP_OK)
        fail_msg("%s", err.text);
    answer_take(&answer, rows, kp_chain_schema());
    out->levels = answer.count;
    assert_in_range(out->levels, 1, LEVELS);
    for (uint32_t i = 0; i < out->levels; i++) {
        out->tids[i] = cell_or_none(&answer, i, "tid");
        snprintf(out->edges[i], sizeof(out->edges[0]), "%.15s", cell_str(&answer, i, "edge"));
    }
    answer_deinit(&answer);
}

/* ---------- what the descriptions say ---------- */

static kp_actor_id idle, pay, peer, third, bystander;

static void threads_make(void)
{
    idle = world_idle(&w);
    pay = world_thread(&w, 10, 10, "pay");
    peer = world_thread(&w, 20, 20, "peer");
    third = world_thread(&w, 30, 30, "third");
    bystander = world_thread(&w, 40, 40, "bystander");
    world_switch(&w, 0, 0, idle, R, pay);
}

/* "kind of thread@from-to ..." of pay's time from 0 to `to`, neighbours of one sort as one. */
static void path_is(kp_time to, enum kp_oracle oracle, const char *wanted)
{
    struct kp_causes_req req = world_req("");
    char text[1024] = "";
    size_t used = 0;
    req.root = KP_ROOT_THREAD;
    req.number = 10;
    req.from = w.zero;
    req.to = w.zero + to;
    uint32_t count = parts_ask(req, oracle, ours);
    for (uint32_t i = 0, next; i < count; i = next) {
        for (next = i + 1; next < count; next++)
            if (strcmp(ours[next].kind, ours[i].kind) != 0 || ours[next].tid != ours[i].tid)
                break;
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s of %lld@%lld-%lld",
                                 i > 0 ? ", " : "", ours[i].kind, (long long)ours[i].tid,
                                 (long long)(ours[i].from - w.zero),
                                 (long long)(ours[next - 1].to - w.zero));
    }
    if (strcmp(text, wanted) != 0)
        fail_msg("%s:\nwanted %s\ngot    %s", kp_oracle_name(oracle), wanted, text);
}

/* A waker explains a wait over the wait's window only; what it waited for in turn is followed, and
 * its time on a run queue is its own. */
static void wakers_are_followed(void **state)
{
    (void)state;
    threads_make();
    world_switch(&w, 5, 1, idle, R, bystander);
    world_wake(&w, 8, 1, bystander, peer, 1);
    world_switch(&w, 10, 0, pay, S, idle);
    world_switch(&w, 20, 1, bystander, S, peer);
    world_switch(&w, 30, 1, peer, S, idle);
    world_switch(&w, 31, 2, idle, R, third);
    world_wake(&w, 50, 2, third, peer, 1);
    world_switch(&w, 60, 1, idle, R, peer);
    world_wake(&w, 80, 1, peer, pay, 0);
    world_switch(&w, 90, 0, idle, R, pay);
    world_switch(&w, 100, 0, pay, S, idle);
    world_commit(&w);
    for (int oracle = KP_ORACLE_PERFETTO; oracle <= KP_ORACLE_TRACECOMPASS; oracle++)
        path_is(100, (enum kp_oracle)oracle,
                "running of 10@0-10, runnable.queued of 20@10-20, running of 20@20-30, "
                "unknown(before-trace) of 30@30-31, running of 30@31-50, "
                "runnable.queued of 20@50-60, running of 20@60-80, runnable.queued of 10@80-90, "
                "running of 10@90-100");
    path_is(100, KP_ORACLE_OFFWAKETIME,
            "running of 10@0-10, unknown(waker) of 10@10-80, runnable.queued of 10@80-90, "
            "running of 10@90-100");
}

/* An interrupt ends the path where only threads count, and is named where kinds are told apart;
 * whoever ran there is blamed only by those who do not look. */
static void interrupts_end_the_path(void **state)
{
    (void)state;
    threads_make();
    world_switch(&w, 5, 1, idle, R, bystander);
    world_switch(&w, 10, 0, pay, S, idle);
    world_wake_irq(&w, 40, 1, bystander, pay, IN_HARDIRQ, 8, -1, 0);
    world_switch(&w, 50, 0, idle, R, pay);
    world_switch(&w, 60, 0, pay, D, idle);
    world_wake_irq(&w, 80, 1, bystander, pay, IN_SOFTIRQ, VEC_BLOCK, -1, 0);
    world_switch(&w, 90, 0, idle, R, pay);
    world_switch(&w, 100, 0, pay, S, idle);
    world_commit(&w);
    path_is(100, KP_ORACLE_PERFETTO,
            "running of 10@0-10, unknown(irq) of 10@10-40, runnable.queued of 10@40-50, "
            "running of 10@50-60, unknown(irq) of 10@60-80, runnable.queued of 10@80-90, "
            "running of 10@90-100");
    path_is(100, KP_ORACLE_TRACECOMPASS,
            "running of 10@0-10, timer.sleep of 10@10-40, runnable.queued of 10@40-50, "
            "running of 10@50-60, block_io.device of 10@60-80, runnable.queued of 10@80-90, "
            "running of 10@90-100");
    parts_ask((struct kp_causes_req){.root = KP_ROOT_THREAD,
                                     .number = 10,
                                     .from = w.zero,
                                     .to = w.zero + 100,
                                     .within = -1,
                                     .at = KP_TIME_MIN},
              KP_ORACLE_OFFWAKETIME, ours);
    assert_int_equal(ours[1].culprit, 40);
}

/* A packet leads to the host that sent it, where packets are followed. */
static void packets_are_followed(void **state)
{
    (void)state;
    threads_make();
    world_switch(&w, 5, 1, idle, R, peer);
    world_sock(&w, &(struct world_sock){.from = 8,
                                        .to = 45,
                                        .thread = pay,
                                        .op = 1,
                                        .local = 1,
                                        .local_port = 40000,
                                        .peer = 2,
                                        .peer_port = 80,
                                        .bytes = 10,
                                        .seq = 110});
    world_switch(&w, 10, 0, pay, S, idle);
    world_sock(&w, &(struct world_sock){.from = 24,
                                        .to = 26,
                                        .cpu = 1,
                                        .thread = peer,
                                        .op = 0,
                                        .local = 2,
                                        .local_port = 80,
                                        .peer = 1,
                                        .peer_port = 40000,
                                        .bytes = 10,
                                        .seq = 110});
    world_wake_irq(&w, 40, 1, peer, pay, IN_SOFTIRQ, VEC_NET_RX, -1, 0);
    world_switch(&w, 42, 0, idle, R, pay);
    world_switch(&w, 50, 0, pay, S, idle);
    world_commit(&w);
    path_is(50, KP_ORACLE_PERFETTO,
            "running of 10@0-10, unknown(irq) of 10@10-40, runnable.queued of 10@40-42, "
            "running of 10@42-50");
    path_is(50, KP_ORACLE_TRACECOMPASS,
            "running of 10@0-10, running of 20@10-26, net.wire of 10@26-40, "
            "runnable.queued of 10@40-42, running of 10@42-50");
}

/* Taken off its CPU it waits for itself, whoever took it. */
static void the_run_queue_is_the_waiters(void **state)
{
    (void)state;
    threads_make();
    world_switch(&w, 10, 0, pay, RP, bystander);
    world_switch(&w, 40, 0, bystander, S, pay);
    world_switch(&w, 50, 0, pay, S, idle);
    world_commit(&w);
    for (int oracle = KP_ORACLE_PERFETTO; oracle <= KP_ORACLE_OFFWAKETIME; oracle++)
        path_is(50, (enum kp_oracle)oracle,
                "running of 10@0-10, runnable.preempted of 10@10-40, running of 10@40-50");
}

/* A child's life begins with its parent. */
static void a_child_leads_to_its_parent(void **state)
{
    (void)state;
    threads_make();
    world_switch(&w, 5, 1, idle, R, third);
    world_switch(&w, 10, 0, pay, S, idle);
    world_fork(&w, 20, 1, peer, third);
    world_wake(&w, 20, 1, third, peer, 2);
    world_switch(&w, 25, 2, idle, R, peer);
    world_wake(&w, 40, 2, peer, pay, 0);
    world_switch(&w, 45, 0, idle, R, pay);
    world_switch(&w, 50, 0, pay, S, idle);
    world_commit(&w);
    for (int oracle = KP_ORACLE_PERFETTO; oracle <= KP_ORACLE_TRACECOMPASS; oracle++)
        path_is(50, (enum kp_oracle)oracle,
                "running of 10@0-10, running of 30@10-20, runnable.queued of 20@20-25, "
                "running of 20@25-40, runnable.queued of 10@40-45, running of 10@45-50");
}

/* ---------- classes ---------- */

static bool is_any(const char *text, const char *const *list)
{
    for (; *list != NULL; list++)
        if (strcmp(text, *list) == 0)
            return true;
    return false;
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* The same thread is on both paths: what ours calls its time. */
static enum walk_class class_of_leaf(const struct part *a, const struct part *b)
{
    static const char *const memory[] = {"reclaim", "fault", "writeback", NULL};
    static const char *const own[] = {"running", "syscall", NULL};
    if (strcmp(a->kind, "lock") == 0 && a->culprit == a->tid)
        return CLASS_HOLDER;
    if (strcmp(b->kind, "running") == 0)
        return is_any(a->kind, own) ? CLASS_SAME : CLASS_INSIDE;
    if (begins(b->kind, "runnable"))
        return CLASS_QUEUE;
    if (strcmp(a->rule, "none") == 0 && strcmp(b->subkind, "irq") != 0)
        return begins(b->kind, "unknown") ? CLASS_SAME : CLASS_GAP;
    if (strcmp(a->rule, "stop") == 0)
        return CLASS_STOPPED;
    if (is_any(a->rule, memory))
        return CLASS_MEMORY;
    if (strcmp(a->rule, "block") == 0)
        return CLASS_REQUEST;
    if (strcmp(a->rule, "net") == 0)
        return CLASS_MESSAGE;
    if (strcmp(a->rule, "lock-owner") == 0)
        return CLASS_HOLDER;
    if (strcmp(a->rule, "timer") == 0)
        return CLASS_INTERRUPT;
    if (strcmp(a->rule, "span") == 0)
        return CLASS_SPAN;
    if (begins(a->kind, "unknown"))
        return CLASS_GAP;
    return CLASSES;
}

/* Ours goes into another thread than theirs, or goes on where theirs ends. */
static enum walk_class class_of_edge(const char *edge)
{
    static const struct {
        const char *edge;
        enum walk_class class;
    } edges[] = {{"lock-owner", CLASS_HOLDER},
                 {"net", CLASS_MESSAGE},
                 {"work", CLASS_WORK},
                 {"block", CLASS_REQUEST},
                 {"span", CLASS_SPAN}};
    static const char *const wakes[] = {"wake", "child", "signal", NULL};
    for (size_t i = 0; i < KP_ARRAY_LEN(edges); i++)
        if (strcmp(edge, edges[i].edge) == 0)
            return edges[i].class;
    return is_any(edge, wakes) ? CLASS_AGAIN : CLASSES; /* theirs ends with this try */
}

/* The paths part somewhere above: at the first level where they do. */
static enum walk_class class_of_path(const struct kp_causes_req *req, enum kp_oracle oracle,
                                     const struct part *a, const struct part *b, kp_time at)
{
    struct chain x, y;
    uint32_t level = 0;
    chain_ask(*req, KP_ORACLE_NONE, at, &x);
    chain_ask(*req, oracle, at, &y);
    while (level < x.levels && level < y.levels && x.tids[level] == y.tids[level])
        level++;
    if (level == x.levels && level < y.levels && strcmp(a->rule, "timer") == 0)
        return CLASS_AGAIN;
    if (level == x.levels)
        return class_of_leaf(a, b);
    if (strstr(a->note, "a time limit ran out") != NULL && strcmp(x.edges[level], "span") == 0)
        return CLASS_LIMIT;
    return class_of_edge(x.edges[level]);
}

/* offwaketime has no path: all it says of a wait is who ended it. */
static enum walk_class class_of_bystander(const struct kp_causes_req *req, const struct part *a,
                                          const struct part *b, kp_time at)
{
    struct chain x;
    if (begins(b->kind, "runnable"))
        return CLASS_QUEUE;
    chain_ask(*req, KP_ORACLE_NONE, at, &x);
    if (x.levels == 1 && strcmp(a->rule, "none") == 0)
        return CLASS_SAME;
    for (uint32_t i = 1; i < x.levels; i++)
        if (x.tids[i] == b->culprit)
            return CLASS_ONE_HOP;
    return x.levels > 1 ? class_of_edge(x.edges[1]) : CLASS_BYSTANDER;
}

static enum walk_class class_of(const struct kp_causes_req *req, enum kp_oracle oracle,
                                const struct part *a, const struct part *b, kp_time at)
{
    bool same_thread = a->tid == b->tid && strcmp(a->host, b->host) == 0;
    if (same_thread && strcmp(a->kind, b->kind) == 0 && a->culprit == b->culprit)
        return CLASS_SAME;
    if (oracle == KP_ORACLE_OFFWAKETIME && strcmp(b->kind, "running") != 0)
        return class_of_bystander(req, a, b, at);
    return same_thread ? class_of_leaf(a, b) : class_of_path(req, oracle, a, b, at);
}

/* ---------- comparing ---------- */

static kp_dur spent[KP_ORACLES][CLASSES];

/* Both lists partition the same time. */
static void compare(const struct kp_causes_req *req, enum kp_oracle oracle, uint32_t count_a,
                    const char *name)
{
    uint32_t count_b = parts_ask(*req, oracle, theirs);
    for (uint32_t i = 0, j = 0; i < count_a && j < count_b;) {
        const struct part *a = &ours[i], *b = &theirs[j];
        kp_time from = KP_MAX(a->from, b->from), to = KP_MIN(a->to, b->to);
        enum walk_class class = class_of(req, oracle, a, b, from + (to - from) / 2);
        if (class == CLASSES)
            fail_msg("%s, %s: no name for %lld ns at +%lld: ours %s (%s) of %lld by %lld %s, "
                     "theirs %s of %lld by %lld",
                     name, kp_oracle_name(oracle), (long long)(to - from),
                     (long long)(from - w.zero), a->kind, a->rule, (long long)a->tid,
                     (long long)a->culprit, a->note, b->kind, (long long)b->tid,
                     (long long)b->culprit);
        spent[oracle][class] += to - from;
        i += a->to == to;
        j += b->to == to;
    }
}

static void compare_all(const struct kp_causes_req *req, const char *name)
{
    uint32_t count = parts_ask(*req, KP_ORACLE_NONE, ours);
    for (int oracle = KP_ORACLE_NONE + 1; oracle < KP_ORACLES; oracle++)
        compare(req, (enum kp_oracle)oracle, count, name);
}

static void spent_print(const char *of)
{
    print_message("%-16s %14s %14s %14s\n", of, "perfetto", "tracecompass", "offwaketime");
    for (int class = 0; class < CLASSES; class ++) {
        double part[KP_ORACLES];
        bool any = false;
        for (int oracle = KP_ORACLE_NONE + 1; oracle < KP_ORACLES; oracle++) {
            kp_dur sum = 0;
            for (int i = 0; i < CLASSES; i++)
                sum += spent[oracle][i];
            part[oracle] = 100.0 * (double)spent[oracle][class] / (double)KP_MAX(sum, 1);
            any |= spent[oracle][class] > 0;
        }
        if (any)
            print_message("%-16s %13.2f%% %13.2f%% %13.2f%%\n", classes[class].name,
                          part[KP_ORACLE_PERFETTO], part[KP_ORACLE_TRACECOMPASS],
                          part[KP_ORACLE_OFFWAKETIME]);
    }
    memset(spent, 0, sizeof(spent));
}

static void worlds(const struct sim_view *view, const char *of)
{
    const char *many = getenv("KP_SIM_SEEDS");
    uint64_t seeds = many == NULL ? SEEDS : strtoull(many, NULL, 10);
    static struct sim sim;
    for (uint64_t seed = 0; seed < seeds; seed++) {
        char name[32];
        w.zero = WORLD_ZERO + (kp_dur)(seed + 1) * APART;
        sim_run(&sim, seed, seed + 1);
        sim_emit(&sim, view, &w);
        struct kp_causes_req req = world_req(sim.txn);
        snprintf(name, sizeof(name), "world %llu", (unsigned long long)seed);
        compare_all(&req, name);
        sim_free(&sim);
    }
    spent_print(of);
}

static void simulated_worlds(void **state)
{
    const struct sim_view view = {0};
    (void)state;
    worlds(&view, "all recorded");
}

static void worlds_with_losses(void **state)
{
    const struct sim_view view = {.loss = 0.05};
    (void)state;
    worlds(&view, "5 % lost");
}

/* ---------- recordings of others ---------- */

#define THREADS 4             /* of each recording: those that ran most */
#define WINDOW  (200 * KP_MS) /* around the middle of what they did */

/* The instant in the middle of its comings onto a CPU. */
static kp_time middle_of(const struct ftrace *text, int64_t tid)
{
    uint32_t count = 0, seen = 0, i = 0;
    for (uint32_t j = 0; j < text->switches; j++)
        count += text->switched[j].next == tid;
    assert_true(count > 0);
    while (text->switched[i].next != tid || seen++ < count / 2)
        i++;
    return text->switched[i].ts;
}

static void recording(const char *file, const char *wakeup)
{
    static struct ftrace text;
    json_t *all = shared_json(shared_path("answers/sched-oracle.json"));
    const json_t *of = json_object_get(json_object_get(all, "files"), file);
    const json_t *top = json_object_get(of, "top_run");
    ftrace_load(&w, shared_path("%s", file), wakeup, &text);
    for (size_t i = 0; i < KP_MIN(json_array_size(top), (size_t)THREADS); i++) {
        struct kp_causes_req req = world_req("");
        req.root = KP_ROOT_THREAD;
        req.number = json_integer_value(json_object_get(json_array_get(top, i), "tid"));
        kp_time middle = middle_of(&text, req.number);
        req.from = w.zero + KP_MAX(text.first, middle - WINDOW / 2);
        req.to = w.zero + KP_MIN(text.last, middle + WINDOW / 2);
        compare_all(&req, file);
    }
    json_decref(all);
}

static void recordings(void **state)
{
    static const char *const files[][2] = {
        {"ftrace-text/catapult-android-systrace.ftrace.txt.gz", "sched_wakeup"},
        {"ftrace-text/lisa-juno-ramp.report.txt", "sched_wakeup"},
        {"ftrace-text/tc-android-sched-irq.ftrace.txt", "sched_wakeup"},
        {"ftrace-text/tc-critical-path.ftrace.txt", "sched_waking"},
        {"ftrace-text/tc-syscalls.ftrace.txt", "sched_waking"},
        {"perfetto/ms-android11.ftrace.txt.gz", "sched_wakeup"},
    };
    if (!shared_there())
        skip();
    for (size_t i = 0; i < KP_ARRAY_LEN(files); i++) {
        recording(files[i][0], files[i][1]);
        world_close(&w);
        world_open(&w);
    }
    (void)state;
    spent_print("recordings");
}

static void a_store_of_ones_own(void **state)
{
    const char *dir = getenv("KP_WALKS");
    struct kp_snapshot *made_up = w.snapshot, *snapshot;
    struct answer txns = {0};
    struct kp_error err = {0};
    struct kp_rows *rows;
    (void)state;
    if (dir == NULL)
        skip();
    if (kp_snapshot_open(dir, NULL, &snapshot, &err) != KP_OK)
        fail_msg("%s", err.text);
    kp_arena_init(&txns.arena, 0);
    assert_int_equal(kp_txn_open(snapshot, KP_TIME_MIN, KP_TIME_MAX, &txns.arena, &rows, &err),
                     KP_OK);
    answer_take(&txns, rows, kp_txn_schema());
    w.snapshot = snapshot;
    for (uint32_t i = 0; i < txns.count; i++) {
        char id[64];
        snprintf(id, sizeof(id), "%.63s", cell_str(&txns, i, "txn"));
        struct kp_causes_req req = world_req(id);
        compare_all(&req, id);
    }
    w.snapshot = made_up;
    spent_print(dir);
    answer_deinit(&txns);
    kp_snapshot_close(snapshot);
}

/* Every class has its line in the table. */
static void classes_are_documented(void **state)
{
    static char page[1 << 16];
    FILE *file = fopen("docs/accuracy.md", "re");
    (void)state;
    assert_non_null(file);
    page[fread(page, 1, sizeof(page) - 1, file)] = '\0';
    fclose(file);
    for (int class = CLASS_SAME + 1; class < CLASSES; class ++) {
        char line[256];
        snprintf(line, sizeof(line), "\n| `%s` | %s |", classes[class].name, classes[class].text);
        if (strstr(page, line) == NULL)
            fail_msg("docs/accuracy.md lacks:%s", line);
    }
}

static int setup(void **state)
{
    (void)state;
    world_open(&w);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_close(&w);
    return 0;
}

int main(void)
{
    if (access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 0);
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(wakers_are_followed),
        CASE(interrupts_end_the_path),
        CASE(packets_are_followed),
        CASE(the_run_queue_is_the_waiters),
        CASE(a_child_leads_to_its_parent),
        CASE(classes_are_documented),
        CASE(simulated_worlds),
        CASE(worlds_with_losses),
        CASE(recordings),
        CASE(a_store_of_ones_own),
    };
#undef CASE
    return cmocka_run_group_tests(tests, NULL, NULL);
}
