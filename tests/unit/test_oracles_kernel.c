/* SPDX-License-Identifier: Apache-2.0
 *
 * What threads and CPUs were doing, in recordings that others made: our tables beside what Perfetto
 * answers for its test cases, and beside sums that a script independent of this project made of the
 * texts. Where ours differs on purpose the case is listed with the class of the difference.
 *
 * The inputs are not part of this project; without the folder KP_SHARED nothing is compared.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/assert.h"
#include "ftrace.h"
#include "shared.h"
#include "world.h"

static struct world w;
static struct answer answer;

static int setup(void **state)
{
    (void)state;
    memset(&answer, 0, sizeof(answer));
    world_open(&w);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    answer_deinit(&answer);
    world_close(&w);
    return 0;
}

/* ---------- asking ---------- */

static void states_ask(void)
{
    const struct kp_intervals_req req = {.from = w.zero - 1, .to = KP_TIME_MAX};
    struct kp_rows *rows;
    kp_arena_init(&answer.arena, 0);
    assert_int_equal(kp_thread_state_open(w.snapshot, &req, &answer.arena, &rows, NULL), KP_OK);
    answer_take(&answer, rows, kp_thread_state_schema());
}

static bool is_state(uint32_t row, const char *state)
{
    return strcmp(cell_str(&answer, row, "state"), state) == 0;
}

/* Not cut off by either end of the recording. */
static bool is_whole(uint32_t row)
{
    return cell_str(&answer, row, "note")[0] == '\0';
}

static long long number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/* ---------- sums over a whole recording ---------- */

struct sum {
    long long ns, count;
};

/* What a thread ran, or (tid < 0) what all ran on a CPU. */
static struct sum ran(int64_t tid, int64_t cpu)
{
    struct sum sum = {0, 0};
    for (uint32_t row = 0; row < answer.count; row++) {
        if (!is_state(row, "running") || !is_whole(row) ||
            (tid >= 0 ? cell_i64(&answer, row, "tid") != tid
                      : cell_i64(&answer, row, "cpu") != cpu))
            continue;
        sum.ns += cell_i64(&answer, row, "dur");
        sum.count++;
    }
    return sum;
}

/* How often it left its CPU for the run queue. The script reads states as letters: where a text has
 * numbers it found the 0 of R, and not the one that is R+ (numbers). */
static long long preempted(int64_t tid, bool numbers)
{
    long long count = 0;
    for (uint32_t row = 0; row < answer.count; row++)
        if (cell_i64(&answer, row, "tid") == tid && is_state(row, "runnable")) {
            const char *wait = cell_str(&answer, row, "wait");
            count += strcmp(wait, "R") == 0 || (!numbers && strcmp(wait, "R+") == 0);
        }
    return count;
}

static int compare_numbers(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* A thread that wants to run and is woken: for us nothing changes, the script counts from there. */
static kp_time woken_on_queue(const struct ftrace *text, int64_t tid, kp_time from, kp_time to)
{
    for (uint32_t i = 0; i < text->wakeups; i++)
        if (text->woken[i].tid == tid && text->woken[i].ts >= from && text->woken[i].ts < to)
            return text->woken[i].ts;
    return to;
}

/* From a wakeup to the switch that follows it. */
static void latencies_equal(const struct ftrace *text, const json_t *published)
{
    int64_t *list = malloc(answer.count * sizeof(*list)), sum = 0;
    size_t count = 0;
    for (uint32_t row = 0; row < answer.count; row++) {
        if (!is_state(row, "runnable") || !is_whole(row))
            continue;
        kp_time from = cell_i64(&answer, row, "start") - w.zero;
        kp_time to = from + cell_i64(&answer, row, "dur");
        if (cell_null(&answer, row, "waker_tid"))
            from = woken_on_queue(text, cell_i64(&answer, row, "tid"), from, to);
        if (from == to)
            continue;
        list[count] = to - from;
        sum += list[count++];
    }
    qsort(list, count, sizeof(*list), compare_numbers);
    assert_int_equal(count, number_of(published, "n"));
    assert_int_equal(list[0], number_of(published, "min"));
    assert_int_equal(list[count - 1], number_of(published, "max"));
    assert_int_equal(sum, number_of(published, "sum"));
    free(list);
}

static void recording(const char *file)
{
    json_t *all = shared_json(shared_path("answers/sched-oracle.json")), *one;
    const json_t *of = json_object_get(json_object_get(all, "files"), file);
    static struct ftrace text;
    const char *cpu;
    size_t i;
    ftrace_load(&w, shared_path("%s", file), "sched_wakeup", &text);
    assert_int_equal(text.rows, number_of(of, "lines"));
    assert_int_equal(text.first, number_of(of, "first_ns"));
    assert_int_equal(text.last, number_of(of, "last_ns"));
    assert_int_equal(text.switches, number_of(json_object_get(of, "events"), "sched_switch"));
    states_ask();
    json_array_foreach(json_object_get(of, "top_run"), i, one)
    {
        struct sum sum = ran(number_of(one, "tid"), -1);
        assert_int_equal(sum.ns, number_of(one, "run_ns"));
        assert_int_equal(sum.count, number_of(one, "slices"));
    }
    json_object_foreach(json_object_get(of, "busy_ns_per_cpu"), cpu, one)
        assert_int_equal(ran(-1, atoll(cpu)).ns, json_integer_value(one));
    json_array_foreach(json_object_get(of, "preempted_top"), i, one) assert_int_equal(
        preempted(number_of(one, "tid"), strstr(file, "report") != NULL), number_of(one, "n"));
    if (json_object_get(of, "wake_latency") != NULL)
        latencies_equal(&text, json_object_get(of, "wake_latency"));
    json_decref(all);
}

#define RECORDING(name, file)      \
    static void name(void **state) \
    {                              \
        (void)state;               \
        recording(file);           \
    }
RECORDING(catapult_systrace, "ftrace-text/catapult-android-systrace.ftrace.txt.gz")
RECORDING(lisa_juno, "ftrace-text/lisa-juno-ramp.report.txt")
RECORDING(android_sched_irq, "ftrace-text/tc-android-sched-irq.ftrace.txt")
RECORDING(desktop_critical_path, "ftrace-text/tc-critical-path.ftrace.txt")
RECORDING(desktop_syscalls, "ftrace-text/tc-syscalls.ftrace.txt")
RECORDING(android_11, "perfetto/ms-android11.ftrace.txt.gz")
#undef RECORDING

/* ---------- tables of others ---------- */

#define COLUMNS    16
#define ROWS_MAX   4096
#define CELL_BYTES 24

/* Comma-separated values, whose first line names the columns. */
struct csv {
    char names[COLUMNS][CELL_BYTES], cells[ROWS_MAX][COLUMNS][CELL_BYTES];
    uint32_t columns, rows;
};

static uint32_t split(char *line, char cells[COLUMNS][CELL_BYTES])
{
    uint32_t count = 0;
    for (char *rest = line, *cell; (cell = strsep(&rest, ",\n")) != NULL && rest != NULL;) {
        size_t len = strlen(cell);
        bool quoted = len >= 2 && cell[0] == '"';
        assert_true(count < COLUMNS);
        snprintf(cells[count++], CELL_BYTES, "%.*s", (int)KP_MIN(quoted ? len - 2 : len, 23u),
                 cell + quoted);
    }
    return count;
}

static const struct csv *csv_load(const char *path)
{
    static struct csv csv;
    char line[512];
    gzFile file = gzopen(path, "rb");
    assert_non_null(file);
    assert_non_null(gzgets(file, line, sizeof(line)));
    csv.columns = split(line, csv.names);
    for (csv.rows = 0; gzgets(file, line, sizeof(line)) != NULL; csv.rows++) {
        assert_true(csv.rows < ROWS_MAX);
        assert_int_equal(split(line, csv.cells[csv.rows]), csv.columns);
    }
    gzclose(file);
    return &csv;
}

static const char *csv_cell(const struct csv *csv, uint32_t row, const char *name)
{
    for (uint32_t i = 0; i < csv->columns; i++)
        if (strcmp(csv->names[i], name) == 0)
            return csv->cells[row][i];
    fail_msg("no column %s", name);
    return "";
}

static long long csv_number(const struct csv *csv, uint32_t row, const char *name)
{
    return atoll(csv_cell(csv, row, name));
}

/* ---------- Perfetto's test cases ---------- */

#define CPUS_MAX 8

/* A message in its text form: what of it is about switches. */
struct proto {
    kp_time ts, last;
    uint32_t cpu, prev, next, tid, state;
    kp_actor_id on[CPUS_MAX]; /* task states: who is on each CPU */
    kp_actor_id leaves;       /* ... who left at `last` for somebody else, and the CPU */
    uint32_t leaves_cpu;
    uint32_t leaves_next;
};

enum { CREATED = 1, RUNNING = 3, DEAD = 8 }; /* its states of a task */

static kp_actor_id tid_actor(uint32_t tid)
{
    return tid == 0 ? world_idle(&w) : world_thread(&w, tid, tid, "task");
}

/* Who takes a CPU may come before what became of the one that had it, at the same instant. */
static void proto_leave(struct proto *p, int state)
{
    if (p->leaves != KP_ACTOR_UNKNOWN)
        world_switch(&w, p->last, p->leaves_cpu, p->leaves, state, p->leaves_next);
    p->leaves = KP_ACTOR_UNKNOWN;
}

static void proto_task_state(struct proto *p)
{
    kp_actor_id task = tid_actor(p->tid);
    if (p->leaves != KP_ACTOR_UNKNOWN && task == p->leaves && p->ts == p->last) {
        proto_leave(p, X);
        return;
    }
    proto_leave(p, R);
    if (p->state == CREATED) {
        world_fork(&w, p->ts, 0, task, world_idle(&w));
    } else if (p->state == RUNNING && p->on[p->cpu] != task) {
        p->leaves = p->on[p->cpu] == KP_ACTOR_UNKNOWN ? world_idle(&w) : p->on[p->cpu];
        p->leaves_cpu = p->cpu;
        p->leaves_next = task;
        p->on[p->cpu] = task;
    } else if (p->state == DEAD && p->on[p->cpu] == task) {
        world_switch(&w, p->ts, p->cpu, task, X, world_idle(&w));
        p->on[p->cpu] = KP_ACTOR_UNKNOWN;
    }
    p->last = p->ts;
}

static void proto_value(struct proto *p, const char *key, const char *value)
{
    uint32_t number = (uint32_t)strtoul(value, NULL, 10);
    if (strcmp(key, "timestamp") == 0)
        p->ts = atoll(value);
    else if (strcmp(key, "cpu") == 0)
        p->cpu = number;
    else if (strcmp(key, "prev_pid") == 0)
        p->prev = number;
    else if (strcmp(key, "next_pid") == 0)
        p->next = number;
    else if (strcmp(key, "tid") == 0)
        p->tid = number;
    else if (strcmp(key, "state") == 0)
        p->state = strcmp(value, "TASK_STATE_CREATED") == 0   ? CREATED
                   : strcmp(value, "TASK_STATE_RUNNING") == 0 ? RUNNING
                   : strcmp(value, "TASK_STATE_DEAD") == 0    ? DEAD
                                                              : number;
}

static void proto_end(struct proto *p, const char *block)
{
    if (strcmp(block, "sched_switch") == 0)
        world_switch(&w, p->ts, p->cpu, tid_actor(p->prev), R, tid_actor(p->next));
    if (strcmp(block, "generic_kernel_task_state_event") == 0)
        proto_task_state(p);
}

static void proto_load(const char *name)
{
    struct proto p = {0};
    char line[256], key[64], value[128], blocks[8][64];
    uint32_t depth = 0;
    FILE *file = fopen(shared_path("perfetto-difftests/%s.textproto", name), "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, " %63[a-z_] {", key) == 1 && strchr(line, '{') != NULL) {
            assert_true(depth < KP_ARRAY_LEN(blocks));
            snprintf(blocks[depth++], sizeof(blocks[0]), "%s", key);
        } else if (strchr(line, '}') != NULL) {
            proto_end(&p, blocks[--depth]);
        } else if (sscanf(line, " %63[a-z_]: %127s", key, value) == 2) {
            proto_value(&p, key, value);
        }
    }
    fclose(file);
    proto_leave(&p, R);
    world_quota(&w, p.ts + 1, "/", 0, 0); /* it went on after the last event */
    world_commit(&w);
}

static const struct csv *expected(const char *name)
{
    return csv_load(shared_path("perfetto-difftests/%s.expected.csv", name));
}

static void cpus_ask(void)
{
    const struct kp_intervals_req req = {.from = w.zero - 1, .to = KP_TIME_MAX};
    struct kp_rows *rows;
    kp_arena_init(&answer.arena, 0);
    assert_int_equal(kp_cpu_state_open(w.snapshot, &req, &answer.arena, &rows, NULL), KP_OK);
    answer_take(&answer, rows, kp_cpu_state_schema());
}

/* Theirs is -1 while it goes on. */
static bool same_length(uint32_t row, long long dur, kp_time last)
{
    long long ours = cell_i64(&answer, row, "dur");
    return dur < 0 ? cell_i64(&answer, row, "start") - w.zero + ours == last : ours == dur;
}

/* Every slice of theirs is a row of ours and, if they say all, there is no other; ours has more
 * before the first switch of a CPU, whose `prev` must have been there. */
static void slices_equal(const struct csv *csv, const char *tid, uint32_t shift, bool all)
{
    uint32_t found = 0, ours = 0;
    kp_time first, last;
    kp_snapshot_range(w.snapshot, &first, &last);
    cpus_ask();
    for (uint32_t row = 0; row < answer.count; row++) {
        if (cell_null(&answer, row, "prio"))
            continue;
        ours += shift == 0 || cell_i64(&answer, row, "tid") != 0;
        for (uint32_t i = 0; i < csv->rows; i++)
            found +=
                csv_number(csv, i, "ts") == cell_i64(&answer, row, "start") - w.zero &&
                csv_number(csv, i, "cpu") == cell_i64(&answer, row, "cpu") &&
                (tid == NULL || csv_number(csv, i, tid) + shift == cell_i64(&answer, row, "tid")) &&
                same_length(row, csv_number(csv, i, "dur"), last - w.zero);
    }
    assert_int_equal(found, csv->rows);
    if (all)
        assert_int_equal(found, ours);
}

static void synth_slices(void **state)
{
    (void)state;
    proto_load("synth_1");
    slices_equal(expected("synth_1_smoke"), "tid", 0, true);
    answer_deinit(&answer);
    memset(&answer, 0, sizeof(answer));
    slices_equal(expected("synth_1_filter_sched"), NULL, 0, false);
}

/* How many rows with that state cover the instant. */
static long long covering(const char *state, kp_time at)
{
    long long count = 0;
    for (uint32_t row = 0; row < answer.count; row++) {
        kp_time from = cell_i64(&answer, row, "start") - w.zero;
        count += is_state(row, state) && from <= at && at < from + cell_i64(&answer, row, "dur");
    }
    return count;
}

/* They know of a CPU what its first switch said, we what it must have been before, too: looked at
 * from where both have said something. */
static void synth_counts(void **state)
{
    (void)state;
    proto_load("synth_1");
    cpus_ask();
    const struct csv *csv = expected("active_cpu_count");
    for (uint32_t i = 1; i < csv->rows; i++)
        assert_int_equal(covering("busy", csv_number(csv, i, "ts")),
                         csv_number(csv, i, "active_cpu_count"));
    answer_deinit(&answer);
    memset(&answer, 0, sizeof(answer));
    states_ask();
    csv = expected("runnable_thread_count");
    for (uint32_t i = 0; i < csv->rows; i++)
        assert_int_equal(covering("runnable", csv_number(csv, i, "ts")),
                         csv_number(csv, i, "runnable_thread_count"));
}

static void task_slices(void **state)
{
    (void)state;
    proto_load("sched_switch_simple");
    slices_equal(expected("sched_switch_simple"), "utid", 100, true);
}

static void task_slices_interleaved(void **state)
{
    (void)state;
    proto_load("sched_switch_interleaved");
    slices_equal(expected("sched_switch_interleaved"), "utid", 100, true);
}

/* Their states by our words: `Running`, or the letter it left its CPU with. */
static const char *state_word(const char *state)
{
    return strcmp(state, "Running") == 0                         ? "running"
           : strcmp(state, "X") == 0 || strcmp(state, "Z") == 0  ? "dead"
           : strcmp(state, "R") == 0 || strcmp(state, "R+") == 0 ? "runnable"
           : strcmp(state, "Created") == 0                       ? "unknown"
                                                                 : "blocked";
}

/* Ours has a row, too, for what is not known of a thread before it was first seen. */
static bool is_before(uint32_t row)
{
    return is_state(row, "unknown") && strcmp(cell_str(&answer, row, "note"), "before-trace") == 0;
}

static void states_equal(const char *name)
{
    kp_time first, last;
    uint32_t next = 0;
    proto_load(name);
    states_ask();
    kp_snapshot_range(w.snapshot, &first, &last);
    const struct csv *csv = expected(name);
    for (uint32_t i = 0; i < answer.count; i++) {
        if (is_before(i))
            continue;
        assert_true(next < csv->rows);
        assert_int_equal(cell_i64(&answer, i, "start") - w.zero, csv_number(csv, next, "ts"));
        assert_true(same_length(i, csv_number(csv, next, "dur"), last - w.zero));
        assert_int_equal(cell_i64(&answer, i, "tid"), csv_number(csv, next, "utid") + 100);
        const char *state = csv_cell(csv, next, "state"), *cpu = csv_cell(csv, next, "cpu");
        assert_string_equal(cell_str(&answer, i, "state"), state_word(state));
        if (strcmp(cpu, "[NULL]") != 0)
            assert_int_equal(cell_i64(&answer, i, "cpu"), atoll(cpu));
        next++;
    }
    assert_int_equal(next, csv->rows);
}

static void task_states(void **state)
{
    (void)state;
    states_equal("sched_switch_thread_state_simple");
}
static void task_states_interleaved(void **state)
{
    (void)state;
    states_equal("sched_switch_interleaved_thread_state");
}
static void task_states_running_twice(void **state)
{
    (void)state;
    states_equal("thread_state_consecutive_running_states");
}
/* A thread that is made and dies without having been on a CPU was in no state of ours. */
static void task_states_never_run(void **state)
{
    (void)state;
    proto_load("thread_state_created_and_dead");
    states_ask();
    assert_int_equal(answer.count, 0);
    assert_int_equal(expected("thread_state_created_and_dead")->rows, 2);
}

/* A thread that sleeps is known to wait for a device by what the kernel says next. */
static void io_waits(void **state)
{
    static struct ftrace text;
    (void)state;
    ftrace_load(&w, shared_path("perfetto-difftests/sched_blocked_systrace.systrace"),
                "sched_waking", &text);
    states_ask();
    const struct csv *csv = expected("sched_blocked_systrace_sched_blocked_reason");
    for (uint32_t i = 0; i < csv->rows; i++) {
        uint32_t found = 0;
        for (uint32_t row = 0; row < answer.count; row++)
            found += is_state(row, "blocked") &&
                     cell_i64(&answer, row, "tid") == csv_number(csv, i, "tid") &&
                     cell_i64(&answer, row, "start") - w.zero == csv_number(csv, i, "ts") &&
                     cell_i64(&answer, row, "iowait") == csv_number(csv, i, "io_wait");
        assert_int_equal(found, 1);
    }
}

/* ---------- Perfetto's table of a recording, and what its tests say of another ---------- */

/* The end state of the slice before on that CPU. */
static int slice_state(const char *letters)
{
    return strcmp(letters, "R+") == 0  ? RP
           : strcmp(letters, "R") == 0 ? R
           : strcmp(letters, "D") == 0 ? D
           : strcmp(letters, "S") == 0 ? S
                                       : X;
}

/* The recording itself is not public: switches are made of the table, and must give it again. */
static void systrace_slices(void **state)
{
    static int before[CPUS_MAX];
    const struct csv *csv = csv_load(shared_path("perfetto/systrace-sched-table.csv.gz"));
    (void)state;
    memset(before, 0xff, sizeof(before));
    for (uint32_t i = 0; i < csv->rows; i++) {
        long long cpu = csv_number(csv, i, "cpu");
        assert_in_range(cpu, 0, CPUS_MAX - 1);
        int prev = before[cpu];
        world_switch(&w, csv_number(csv, i, "ts"), (uint32_t)cpu,
                     prev < 0 ? world_idle(&w)
                              : tid_actor((uint32_t)csv_number(csv, (uint32_t)prev, "tid")),
                     prev < 0 ? R : slice_state(csv_cell(csv, (uint32_t)prev, "end_state")),
                     tid_actor((uint32_t)csv_number(csv, i, "tid")));
        before[cpu] = (int)i;
    }
    world_quota(&w, csv_number(csv, csv->rows - 1, "ts") + KP_SEC, "/", 0, 0);
    world_commit(&w);
    slices_equal(csv, "tid", 0, true);
}

/* Who woke the thread that the nth switch of the recording put on a CPU. */
static int64_t waker_of(const struct ftrace *text, uint32_t nth)
{
    for (uint32_t row = 0; row < answer.count; row++)
        if (is_state(row, "runnable") && !cell_null(&answer, row, "waker_tid") &&
            cell_i64(&answer, row, "tid") == text->switched[nth].next &&
            cell_i64(&answer, row, "ts") - w.zero == text->switched[nth].ts)
            return cell_i64(&answer, row, "waker_tid");
    return -1;
}

static void android_11_wakers(void **state)
{
    static struct ftrace text;
    (void)state;
    ftrace_load(&w, shared_path("perfetto/ms-android11.ftrace.txt.gz"), "sched_wakeup", &text);
    states_ask();
    assert_int_equal(text.switches, 15267);
    assert_int_equal(text.switched[0].next, 834);
    assert_int_equal(waker_of(&text, 1), 834);
    assert_int_equal(waker_of(&text, 9581), 19701);
}

int main(void)
{
    if (!shared_there())
        return 77;
    if (access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 0);
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(synth_slices),
        CASE(synth_counts),
        CASE(task_slices),
        CASE(task_slices_interleaved),
        CASE(task_states),
        CASE(task_states_interleaved),
        CASE(task_states_running_twice),
        CASE(task_states_never_run),
        CASE(io_waits),
        CASE(systrace_slices),
        CASE(android_11_wakers),
        CASE(catapult_systrace),
        CASE(lisa_juno),
        CASE(android_sched_irq),
        CASE(desktop_critical_path),
        CASE(desktop_syscalls),
        CASE(android_11),
    };
#undef CASE
    return cmocka_run_group_tests(tests, NULL, NULL);
}
