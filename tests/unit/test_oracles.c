/* SPDX-License-Identifier: Apache-2.0
 *
 * Published answers of other tools on their own small inputs, beside ours on the same events:
 * critical paths of spans (Jaeger UI, CRISP), and what threads and CPUs were doing (Trace Compass).
 * Where ours differs on purpose the case is listed with the class of the difference, and must keep
 * differing.
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

#include "base/assert.h"
#include "shared.h"
#include "world.h"

#define SECTIONS 64

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

/* ---------- spans ---------- */

/* A stretch of the critical path, in microseconds of the input. */
struct section {
    char span[32];
    long long from, to;
};

struct sections {
    struct section list[SECTIONS];
    size_t count;
};

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static long long number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/* The span it is a child of; one that only follows another has no parent. */
static const char *parent_of(const json_t *span)
{
    const json_t *reference = json_array_get(json_object_get(span, "references"), 0);
    if (reference == NULL || strcmp(text_of(reference, "refType"), "CHILD_OF") != 0)
        return "";
    return text_of(reference, "spanID");
}

static void spans_put(const json_t *root)
{
    const json_t *trace = json_array_get(json_object_get(root, "data"), 0);
    const json_t *spans = json_object_get(trace, "spans"), *span;
    kp_actor_id thread = world_thread(&w, 100, 100, "service");
    const char *first = NULL;
    size_t i;
    json_array_foreach(spans, i, span)
    {
        const char *parent = parent_of(span);
        bool root_span = json_array_size(json_object_get(span, "references")) == 0;
        if (root_span && first == NULL)
            first = text_of(span, "spanID");
        world_span(&w,
                   &(struct world_span){
                       .from = number_of(span, "startTime") * KP_US,
                       .to = (number_of(span, "startTime") + number_of(span, "duration")) * KP_US,
                       .thread = thread,
                       .trace = root_span || parent[0] != '\0' ? "t1" : "t2",
                       .id = text_of(span, "spanID"),
                       .parent = parent,
                       .txn = root_span && first == text_of(span, "spanID") ? "98721" : "",
                       .service = text_of(span, "processID"),
                       .name = text_of(span, "spanID"),
                       .kind = 2,
                       .link = -1});
    }
    world_commit(&w);
}

static int section_compare(const void *a, const void *b)
{
    const struct section *x = a, *y = b;
    return x->from < y->from ? -1 : x->from > y->from;
}

static void sections_sort(struct sections *s)
{
    qsort(s->list, s->count, sizeof(s->list[0]), section_compare);
}

/* Ours: the parts of the transaction, neighbours of one span as one. */
static void sections_ask(struct sections *out)
{
    struct kp_causes_req req = world_req("98721");
    req.parts = true;
    req.baseline_none = true;
    world_causes_req(&w, &req, &answer);
    if (answer.status != KP_OK)
        fail_msg("%s", answer.err.text);
    out->count = 0;
    for (uint32_t i = 0; i < answer.count; i++) {
        struct section next = {.from = (cell_i64(&answer, i, "start") - w.zero) / KP_US};
        next.to = next.from + cell_i64(&answer, i, "dur") / KP_US;
        snprintf(next.span, sizeof(next.span), "%.31s", cell_str(&answer, i, "span"));
        struct section *last = out->count == 0 ? NULL : &out->list[out->count - 1];
        if (last != NULL && strcmp(last->span, next.span) == 0 && last->to == next.from)
            last->to = next.to;
        else
            out->list[out->count++] = next;
    }
}

static void jaeger_case(int number)
{
    struct sections ours, theirs = {.count = 0};
    json_t *root =
        shared_json(shared_path("spans/jaeger-ui-critical-path/case%d.jaeger.json", number));
    json_t *expected =
        shared_json(shared_path("spans/jaeger-ui-critical-path/case%d.expected.json", number));
    const json_t *section;
    size_t i;
    spans_put(root);
    sections_ask(&ours);
    json_array_foreach(json_object_get(expected, "criticalPathSections"), i, section)
    {
        struct section *s = &theirs.list[theirs.count++];
        snprintf(s->span, sizeof(s->span), "%.31s", text_of(section, "spanID"));
        s->from = number_of(section, "sectionStart");
        s->to = number_of(section, "sectionEnd");
    }
    sections_sort(&theirs);
    assert_int_equal(ours.count, theirs.count);
    for (i = 0; i < ours.count; i++) {
        assert_string_equal(ours.list[i].span, theirs.list[i].span);
        assert_int_equal(ours.list[i].from, theirs.list[i].from);
        assert_int_equal(ours.list[i].to, theirs.list[i].to);
    }
    json_decref(root);
    json_decref(expected);
}

static void jaeger_1(void **state)
{
    (void)state;
    jaeger_case(1);
}
static void jaeger_2(void **state)
{
    (void)state;
    jaeger_case(2);
}
static void jaeger_4(void **state)
{
    (void)state;
    jaeger_case(4);
}
static void jaeger_5(void **state)
{
    (void)state;
    jaeger_case(5);
}

/* Time on the path by span against CRISP's exclusive times: the largest difference. */
static long long crisp_difference(const char *file, json_t *exclusive)
{
    struct sections ours;
    const char *span;
    json_t *root = shared_json(shared_path("spans/crisp/%s", file)), *theirs;
    long long most = 0;
    spans_put(root);
    sections_ask(&ours);
    json_object_foreach(exclusive, span, theirs)
    {
        long long sum = 0;
        for (size_t i = 0; i < ours.count; i++)
            if (strcmp(ours.list[i].span, span) == 0)
                sum += ours.list[i].to - ours.list[i].from;
        most = KP_MAX(most, llabs(sum - json_integer_value(theirs)));
    }
    json_decref(root);
    return most;
}

/* Siblings that overlap a little: they count the overlap for both, and not for the parent; ours is
 * a partition, so it counts once. The largest difference is all overlaps of the case together. */
static long long overlap_once(const char *file)
{
    return strcmp(file, "19.json") == 0 || strcmp(file, "21.json") == 0 ? 10 : 0;
}

static void crisp(void **state)
{
    const char *file;
    json_t *answers = shared_json(shared_path("answers/crisp-shared.json")), *one;
    assert_true(json_object_size(answers) >= 13);
    json_object_foreach(answers, file, one)
    {
        assert_int_equal(crisp_difference(file, json_object_get(one, "exclusive_us")),
                         overlap_once(file));
        teardown(state);
        setup(state);
    }
    json_decref(answers);
}

/* ---------- Trace Compass ---------- */

/* Its XML has one value a line; events are switches. */
static void xml_switches(const char *path)
{
    char line[256], key[32], value[64];
    int64_t at = 0, cpu = 0, prev = 0, state = 0;
    kp_actor_id threads[8];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (uint32_t i = 0; i < KP_ARRAY_LEN(threads); i++)
        threads[i] = world_thread(&w, 100 + i, i, "proc");
    while (fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "<event timestamp=\"%63[0-9]\"", value) == 1)
            at = atoll(value);
        if (sscanf(line, "<field name=\"%31[a-z_]\" value=\"%63[0-9]\"", key, value) != 2)
            continue;
        if (strcmp(key, "cpu") == 0)
            cpu = atoll(value);
        if (strcmp(key, "prev_tid") == 0)
            prev = atoll(value);
        if (strcmp(key, "prev_state") == 0)
            state = atoll(value) == 3 ? D : atoll(value); /* any sleep: both bits set */
        if (strcmp(key, "next_tid") == 0)
            world_switch(&w, at, (uint32_t)cpu, threads[prev], (int)state, threads[atoll(value)]);
    }
    fclose(file);
    world_commit(&w);
}

static void states_ask(int64_t tid)
{
    struct kp_intervals_req req = {
        .from = w.zero - 1, .to = w.zero + 100, .tids = &tid, .tids_count = 1};
    struct kp_rows *rows;
    kp_arena_init(&answer.arena, 0);
    assert_int_equal(kp_thread_state_open(w.snapshot, &req, &answer.arena, &rows, NULL), KP_OK);
    answer_take(&answer, rows, kp_thread_state_schema());
}

/* "state@from-to ..." */
static void states_expect(int64_t tid, const char *wanted)
{
    char text[512] = "";
    size_t used = 0;
    states_ask(tid);
    for (uint32_t i = 0; i < answer.count; i++) {
        long long from = cell_i64(&answer, i, "start") - w.zero;
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s@%lld-%lld", i ? " " : "",
                                 cell_str(&answer, i, "state"), from,
                                 from + (long long)cell_i64(&answer, i, "dur"));
    }
    assert_string_equal(text, wanted);
    answer_deinit(&answer);
    memset(&answer, 0, sizeof(answer));
}

static void trace_compass_states(void **state)
{
    (void)state;
    xml_switches(shared_path("tracecompass-xml/sched_only.xml"));
    states_expect(1, "runnable@10-20 running@20-30 runnable@30-40");
    states_expect(2, "running@10-20 blocked@20-30 running@30-40");
}

/* CPU time of a thread on a CPU within [from, to). */
static long long used(int64_t tid, int64_t cpu, long long from, long long to)
{
    long long sum = 0;
    for (uint32_t i = 0; i < answer.count; i++) {
        long long begin = cell_i64(&answer, i, "start") - w.zero;
        long long end = begin + cell_i64(&answer, i, "dur");
        if (!cell_null(&answer, i, "tid") && cell_i64(&answer, i, "tid") == tid &&
            cell_i64(&answer, i, "cpu") == cpu)
            sum += KP_MAX(KP_MIN(end, to) - KP_MAX(begin, from), 0);
    }
    return sum;
}

static void trace_compass_cpu_time(void **state)
{
    struct kp_intervals_req req = {.from = w.zero - 1, .to = w.zero + 100};
    struct kp_rows *rows;
    (void)state;
    xml_switches(shared_path("tracecompass-xml/cpu_analysis.xml"));
    kp_arena_init(&answer.arena, 0);
    assert_int_equal(kp_cpu_state_open(w.snapshot, &req, &answer.arena, &rows, NULL), KP_OK);
    answer_take(&answer, rows, kp_cpu_state_schema());
    static const struct {
        int64_t tid, cpu;
        long long from, to, ns;
    } published[] = {
        {2, 0, 0, 30, 19}, {3, 0, 0, 30, 5},  {1, 1, 0, 30, 5}, {3, 1, 0, 30, 6}, {4, 1, 0, 30, 13},
        {3, 0, 22, 25, 3}, {4, 1, 22, 25, 3}, {2, 0, 1, 4, 3},  {3, 1, 1, 4, 1},  {4, 1, 1, 4, 2},
        {2, 0, 4, 13, 9},  {3, 1, 4, 13, 5},  {4, 1, 4, 13, 4},
    };
    for (size_t i = 0; i < KP_ARRAY_LEN(published); i++)
        assert_int_equal(
            used(published[i].tid, published[i].cpu, published[i].from, published[i].to),
            published[i].ns);
}

int main(void)
{
    if (!shared_there())
        return 77;
    if (access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 0);
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(jaeger_1),
        CASE(jaeger_2),
        CASE(jaeger_4),
        CASE(jaeger_5),
        CASE(crisp),
        CASE(trace_compass_states),
        CASE(trace_compass_cpu_time),
    };
#undef CASE
    return cmocka_run_group_tests(tests, NULL, NULL);
}
