/* SPDX-License-Identifier: Apache-2.0
 *
 * An answer's bytes depend on neither the number of threads nor the ways to it that are open:
 * questions are asked with several threads and with each way turned off, and compared with one
 * thread that has them all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <string.h>

#include "base/assert.h"
#include "asked.h"
#include "world.h"

#define ROWS 20000

static struct world world;

static kp_status run(const char *text, const struct kp_query_opts *opts, struct kp_buf *out,
                     struct kp_error *err)
{
    return asked_text(world.snapshot, text, opts, out, NULL, err);
}

static const char *const questions[] = {
    "events | summarize count() by kind",
    "events | count",
    "events | project ts, kind, cpu, host, tid, pid, comm, cgroup, seq",
    "events | where kind != 'sched_switch' | project ts, kind, cpu, seq",
    "events | where kind in ('sched_waking', 'syscall') and cpu == 1 | project ts, kind, tid",
    "events | where comm == 'worker3' | project ts, kind, cpu, pid, tid",
    "events | top 700 by ts desc | project ts, kind, cpu, seq",
    "events | where seq == 40 | project ts, kind, detail",
    "events | summarize count() by comm, kind",
    "events | where kind in ('sched_switch', 'syscall') | summarize n = count() by tid % 7",
    "events | where comm == 'worker3' | summarize count(), count() by strcat(comm, kind)",
    "sched_waking | where pid != 3 | summarize count() by comm",
    "sched_waking | where tid == 1003 | summarize count() by comm, tid",
    "sched_switch | count",
    "events | where kind == 'sched_waking' | summarize count() by kind",
    "events | summarize count(), min(ts), max(seq) by comm",
    "events | where comm != 'worker3' | summarize count() by bin(ts, 1ms), kind",
    "events | summarize count() by bin(ts, 1ms), kind",
    "events | summarize count() by kind, bin(ts, 700ns)",
    "events | where kind == 'sched_switch' | summarize n = count(), count() by bin(ts, 10ms)",
    "sched_waking | project at = ts, comm | summarize count() by bin(at, 333us)",
    "sched_switch | summarize count() by bin(ts, 365d)",
    "sched_switch | summarize countif(cpu == 1) by bin(ts, 1ms)",
    "events | where comm == 'worker3' | summarize n = count() by tid, cpu",
    "sched_switch | summarize n = count(), last = max(ts) by pid | top 3 by n",
    "sched_switch | where preempt or prev_state == 'S' "
    "| summarize count() by next_comm, prev_state",
    "sched_switch | summarize percentile(seq, 50), percentile(seq, 99), sum(cpu), avg(cpu) by comm",
    "sched_switch | summarize dcount(next_tid), dcount(comm), countif(cpu == 0) by cpu",
    "sched_switch | summarize binary_all_or(seq), binary_all_xor(tid), dcountif(tid, cpu == 1)",
    "sched_switch | distinct comm, next_comm",
    "sched_switch | extend k = strcat(comm, '-', next_comm) | summarize count() by k, cpu",
    "sched_waking | project ts, t = wakee_tid, c = tolower(comm) | summarize max(t), min(t) by c",
    "sched_switch | summarize make_list(tid) by comm | extend list_tid = strlen(list_tid)",
    "sched_switch | summarize take_any(tid), arg_max(ts, next_comm) by comm",
    "sched_switch | where cpu == 7 | summarize count()",
    "sched_switch | where cpu == 7 | summarize count() by comm",
    "sched_switch | summarize n = count() by tid | join kind=inner "
    "(sched_waking | summarize w = count() by tid = wakee_tid) on tid | sort by tid asc",
    "union sched_switch, sched_waking | summarize count() by comm",
};

static void same_bytes(const char *text, const struct kp_query_opts *opts)
{
    struct kp_buf plain = {0}, other = {0};
    struct kp_error err = {0};
    const struct kp_query_opts alone = {.threads = 1};
    if (run(text, &alone, &plain, &err) != KP_END || run(text, opts, &other, &err) != KP_END)
        fail_msg("%s: %s", text, err.text);
    if (strcmp(kp_buf_cstr(&plain), kp_buf_cstr(&other)) != 0)
        fail_msg("%s\n%.600s\ndiffers with threads %u, off %u\n%.600s", text, kp_buf_cstr(&plain),
                 opts->threads, opts->off, kp_buf_cstr(&other));
    kp_buf_deinit(&plain);
    kp_buf_deinit(&other);
}

static void threads_do_not_show(void **state)
{
    (void)state;
    for (size_t i = 0; i < KP_ARRAY_LEN(questions); i++)
        for (uint32_t threads = 2; threads <= 5; threads++) {
            const struct kp_query_opts opts = {.threads = threads, .slice_rows = 500 * threads};
            same_bytes(questions[i], &opts);
        }
}

static void ways_do_not_show(void **state)
{
    (void)state;
    static const uint32_t ways[] = {
        KP_OFF_PRUNING,   KP_OFF_PARALLEL, KP_OFF_METADATA,
        KP_OFF_UNORDERED, KP_OFF_ROLLUPS,  KP_OFF_PRUNING | KP_OFF_METADATA | KP_OFF_UNORDERED,
        KP_OFF_JOINED};
    for (size_t i = 0; i < KP_ARRAY_LEN(questions); i++)
        for (size_t w = 0; w < KP_ARRAY_LEN(ways); w++) {
            const struct kp_query_opts opts = {.threads = 2, .slice_rows = 1000, .off = ways[w]};
            same_bytes(questions[i], &opts);
        }
}

/* A worker has only a share of the memory; what does not fit is done again by one. */
static void little_memory_is_shared(void **state)
{
    (void)state;
    static const char text[] =
        "sched_switch | summarize count(), percentile(seq, 90) by seq % 5000";
    const struct kp_query_opts enough = {
        .threads = 4, .slice_rows = 1000, .memory_bytes_max = 4 << 20};
    const struct kp_query_opts tiny = {
        .threads = 4, .slice_rows = 1000, .memory_bytes_max = 512 << 10};
    struct kp_buf out = {0};
    struct kp_error err = {0};
    same_bytes(text, &enough);
    assert_int_equal(run(text, &tiny, &out, &err), KP_LIMIT);
    assert_non_null(strstr(err.text, "summarize"));
    kp_buf_deinit(&out);
}

static void cancel_reaches_all_threads(void **state)
{
    (void)state;
    _Atomic bool cancel = true;
    const struct kp_query_opts opts = {.threads = 4, .slice_rows = 1000, .cancel = &cancel};
    struct kp_buf out = {0};
    struct kp_error err = {0};
    assert_int_equal(run(questions[4], &opts, &out, &err), KP_CANCELLED);
    kp_buf_deinit(&out);
}

static int open_world(void **state)
{
    static const char *const names[] = {"worker0", "worker1", "worker2", "worker3", "Batch"};
    kp_actor_id actors[64];
    uint64_t seed = 1;
    (void)state;
    world_open(&world);
    for (uint32_t i = 0; i < KP_ARRAY_LEN(actors); i++)
        actors[i] = world_thread(&world, 100 + i / 4, 100 + i, names[i * 7 % 5]);
    for (uint32_t i = 0; i < ROWS; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint32_t a = seed >> 33 & 63, b = seed >> 40 & 63;
        kp_time t = (kp_time)i * 5 * KP_US + (kp_time)(seed >> 60) * KP_US / 4;
        if (i % 3 == 0)
            world_wake(&world, t, i % 2, actors[a], actors[b], i % 2);
        else
            world_switch(&world, t, i % 2, actors[a], (seed >> 50 & 3) == 0 ? RP : S, actors[b]);
    }
    world_commit(&world);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    world_close(&world);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_do_not_show),
        cmocka_unit_test(ways_do_not_show),
        cmocka_unit_test(little_memory_is_shared),
        cmocka_unit_test(cancel_reaches_all_threads),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
