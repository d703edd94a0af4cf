/* SPDX-License-Identifier: Apache-2.0
 *
 * Whatever an operator is busy with, a query ends within 50 ms of being cancelled or late. What it
 * takes is measured in CPU time, so that a busy machine does not show: of the thread that runs the
 * query, from the instant at which it should end.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/time.h"
#include "query/query.h"

#define LATENCY (50 * KP_MS)

/* Each takes seconds, in one operator that gives nothing until its end or makes much of little. */
static const char *const busy[] = {
    "range x from 1 to 9000000000000 step 1 | count",
    "range x from 1 to 9000000000000 step 1 | where x % 7 == 9",
    "range x from 1 to 9000000000000 step 1 | summarize sum(x), percentile(x, 90) by x % 1000",
    "range x from 1 to 1000000 step 1 | sort by x % 7919 desc, x asc | count",
    "range x from 1 to 20000000 step 1 | top 500000 by x % 1000003 asc",
    "range x from 1 to 1000000000 step 1 | where prev(x) == x | count",
    "range x from 1 to 20000000 step 1 | summarize make_list(x)",
    "range x from 1 to 20000000 step 1 | summarize make_set(x) by x % 3",
    "range x from 1 to 20000000 step 1 | summarize dcount(x), count() by x % 5",
    "range x from 1 to 20000000 step 1 | distinct x",
    "range x from 1 to 20000000 step 1 | serialize n = row_number(), s = row_cumsum(x) | count",
    "range x from 1 to 9000000 step 1 | extend k = x % 3 | join kind=inner "
    "(range y from 1 to 9000000 step 1 | extend k = y % 3) on k | count",
    "range x from 1 to 200000 step 1 | extend k = 1 | join kind=inner "
    "(range y from 1 to 200000 step 1 | extend k = 1) on k | count",
    "range x from 1 to 9000000 step 1 | join kind=leftanti (range x from 1 to 9000000 step 2) on x",
    "range x from 1 to 9000000 step 1 | extend a = range(1, 1000, 1) | mv-expand a | count",
    "range x from 1 to 90000000 step 1 | extend s = strcat(x, 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa') "
    "| where s matches regex '(a+)+b' | count",
    "range x from 1 to 1000 step 1 | where strcat(strcat_array(repeat('a', 100000), ''), x) "
    "matches regex 'a+[bc]'",
    "range x from 1 to 90000000 step 1 | where strcat(strcat_array(repeat('a', 60), ''), x) "
    "matches regex 'a+a+[bc]' | count",
    "range x from 1 to 1000000 step 1 | where replace_regex(strcat(x, strcat_array(repeat('a', "
    "1000000), '')), '[ab]', strcat('b', x)) == ''",
    "range x from 1 to 1000000 step 1 | where countof(strcat_array(repeat('a', 1000000), ''), "
    "strcat('a', x)) > 5",
    "print strcat_array(repeat('a', 1000000), '') has strcat_array(repeat('A', 100000), '')",
    "range x from 1 to 1000 step 1 | extend a = range(x, 1000000, 1)",
    "range x from 1 to 1000 step 1 | extend a = array_sort_desc(range(x, 500000, 1))",
    "range x from 1 to 1000 step 1 | extend a = set_union(range(1, 50000, 1), range(x, 90000, 1))",
    "range x from 1 to 1000 step 1 | extend a = jaccard_index(range(1, 50000, 1), range(x, 90000, "
    "1))",
    "range x from 1 to 1000 step 1 | extend a = series_fir(range(x, 100000, 1), range(1, 100000, "
    "1))",
    "range x from 1 to 9000000 step 1 | extend a = bag_keys(parse_json(strcat('{\"', "
    "strcat_array(range(x, 100000, 1), '\":1,\"'), '\":1}')))",
    "range x from 1 to 90000000 step 1 | extend s = strcat_array(range(1, 300, 1), ',') | count",
    "range x from 1 to 90000000 step 1 | parse strcat('a=', x, ' b=', x) with 'a=' a ' b=' b "
    "| where a == b | summarize count() by tostring(a)",
    "union (range x from 1 to 90000000 step 1), (range x from 1 to 90000000 step 1) | count",
    "range x from 1 to 90000000 step 1 | extend t = datetime(2026-01-01) + x * 1ms "
    "| make-series n = count() on t from datetime(2026-01-01) to datetime(2026-01-02) step 1s",
};

struct asked {
    _Atomic bool cancel, done;
    pthread_t thread; /* that runs the query */
    kp_dur wanted;    /* CPU time of it at which it should end */
    kp_dur at;        /* that it had used when it was told to */
};

static kp_dur cpu_time(pthread_t thread)
{
    clockid_t clock;
    struct timespec now;
    assert_int_equal(pthread_getcpuclockid(thread, &clock), 0);
    clock_gettime(clock, &now);
    return now.tv_sec * KP_SEC + now.tv_nsec;
}

static void *end_soon(void *ctx)
{
    struct asked *asked = ctx;
    while (!asked->done && cpu_time(asked->thread) < asked->wanted)
        nanosleep(&(struct timespec){.tv_nsec = KP_MS / 2}, NULL);
    asked->at = cpu_time(asked->thread);
    asked->cancel = true;
    return NULL;
}

static kp_status run(const char *text, const struct kp_query_opts *opts, struct kp_error *err)
{
    struct kp_query *query = NULL;
    const struct kp_batch *batch;
    kp_status status = kp_query_open(NULL, kp_str_from(text), opts, &query, err);
    while (status == KP_OK)
        status = kp_query_next(query, &batch, err);
    kp_query_close(query);
    return status;
}

static void cancel_at(const char *text, kp_dur used)
{
    struct asked asked = {.thread = pthread_self()};
    struct kp_query_opts opts = {.cancel = &asked.cancel, .memory_bytes_max = 1u << 30};
    struct kp_error err = {0};
    pthread_t thread;
    asked.wanted = cpu_time(asked.thread) + used;
    assert_int_equal(pthread_create(&thread, NULL, end_soon, &asked), 0);
    kp_status status = run(text, &opts, &err);
    kp_dur ended = cpu_time(asked.thread);
    asked.done = true;
    pthread_join(thread, NULL);
    kp_dur late = ended - asked.at;
    if (status != KP_CANCELLED || late > LATENCY)
        fail_msg("%s: status %d (%s), %lld us after it was cancelled", text, (int)status, err.text,
                 (long long)late / 1000);
}

static void cancel_ends_every_operator_soon(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(busy) / sizeof(busy[0]); i++) {
        cancel_at(busy[i], 5 * KP_MS);
        cancel_at(busy[i], 60 * KP_MS);
    }
}

/* Until the deadline CPU time cannot pass faster than time. */
static void a_deadline_ends_every_operator_soon(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(busy) / sizeof(busy[0]); i++) {
        struct kp_query_opts opts = {.timeout = 15 * KP_MS, .memory_bytes_max = 1u << 30};
        struct kp_error err = {0};
        kp_dur before = cpu_time(pthread_self());
        kp_status status = run(busy[i], &opts, &err);
        kp_dur took = cpu_time(pthread_self()) - before;
        if (status != KP_LIMIT || took > opts.timeout + LATENCY)
            fail_msg("%s: status %d (%s) after %lld us", busy[i], (int)status, err.text,
                     (long long)took / 1000);
    }
}

/* Without a deadline a search ends by its steps, each of which may go over the whole text. */
static void a_search_ends_by_its_steps(void **state)
{
    (void)state;
    static const char text[] = "range x from 1 to 1000 step 1 | where strcat(strcat_array(repeat("
                               "'a', 3000), ''), 'b', x) matches regex '^(a+)+(a+)+(a+)+$'";
    struct kp_query_opts opts = {0};
    struct kp_error err = {0};
    kp_dur before = cpu_time(pthread_self());
    kp_status status = run(text, &opts, &err);
    kp_dur took = cpu_time(pthread_self()) - before;
    if (status != KP_LIMIT || strstr(err.text, "steps on one text") == NULL || took > KP_SEC)
        fail_msg("status %d (%s) after %lld us", (int)status, err.text, (long long)took / 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cancel_ends_every_operator_soon),
        cmocka_unit_test(a_deadline_ends_every_operator_soon),
        cmocka_unit_test(a_search_ends_by_its_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
