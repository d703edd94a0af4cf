/* SPDX-License-Identifier: Apache-2.0
 *
 * Running queries: limits end them with an error that names the operator, cancel and timeout end
 * them between batches, pushed conditions give what filters give, and larger inputs come out right
 * whatever the batch borders.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "query/query.h"
#include "world.h"

#define ZERO ((kp_time)1795405620 * KP_SEC) /* 2026-11-23T03:47:00Z */

static struct world world;
static uint32_t actors[8];

/* Text of all cells, row by row, to compare answers. */
static kp_status run(const char *text, const struct kp_query_opts *opts, struct kp_buf *out,
                     struct kp_error *err)
{
    struct kp_query *query = NULL;
    const struct kp_batch *batch;
    kp_status status = kp_query_open(world.snapshot, kp_str_from(text), opts, &query, err);
    if (status != KP_OK)
        return status;
    while ((status = kp_query_next(query, &batch, err)) == KP_OK) {
        assert_true(kp_batch_count(batch) <= KP_VECTOR_ROWS);
        for (uint32_t i = 0; i < kp_batch_count(batch); i++) {
            uint32_t row = kp_batch_row(batch, i);
            for (uint32_t c = 0; c < batch->cols_count; c++) {
                const struct kp_vec *vec = &batch->cols[c];
                if (kp_vec_null(vec, row))
                    kp_buf_text(out, "null ");
                else if (kp_type_phys(vec->type) == KP_PHYS_STR)
                    kp_buf_printf(out, "%.*s ", (int)kp_vec_str(vec, row).len,
                                  kp_vec_str(vec, row).ptr);
                else if (vec->type == KP_TYPE_F64)
                    kp_buf_printf(out, "%g ", vec->f64[row]);
                else
                    kp_buf_printf(out, "%lld ", (long long)vec->i64[row]);
            }
            kp_buf_char(out, '\n');
        }
    }
    const struct kp_str *notes;
    uint32_t count = kp_query_notes(query, &notes);
    for (uint32_t i = 0; i < count; i++)
        kp_buf_printf(out, "note %.*s\n", (int)notes[i].len, notes[i].ptr);
    kp_query_close(query);
    return status;
}

static void answers(const char *text, const char *expected)
{
    struct kp_buf out = {0};
    struct kp_error err = {0};
    kp_status status = run(text, NULL, &out, &err);
    if (status != KP_END)
        fail_msg("%s: %s", text, err.text);
    if (strcmp(kp_buf_cstr(&out), expected) != 0)
        fail_msg("%s\n--- expected\n%s--- got\n%s", text, expected, kp_buf_cstr(&out));
    kp_buf_deinit(&out);
}

/* Both texts must give the same rows. */
static void agree(const char *left, const char *right)
{
    struct kp_buf a = {0}, b = {0};
    struct kp_error err = {0};
    if (run(left, NULL, &a, &err) != KP_END || run(right, NULL, &b, &err) != KP_END)
        fail_msg("%s / %s: %s", left, right, err.text);
    assert_true(a.size > 0);
    if (strcmp(kp_buf_cstr(&a), kp_buf_cstr(&b)) != 0)
        fail_msg("%s\n%.600s\ndiffers from %s\n%.600s", left, a.data, right, b.data);
    kp_buf_deinit(&a);
    kp_buf_deinit(&b);
}

static void limits_name_the_operator(void **state)
{
    (void)state;
    static const struct {
        const char *text, *owner;
    } cases[] = {
        {"range x from 1 to 10000000 step 1 | sort by x desc", "sort"},
        {"range x from 1 to 10000000 step 1 | summarize count() by x", "summarize"},
        {"range x from 1 to 10000000 step 1 | summarize make_list(x)", "summarize"},
        {"range x from 1 to 10000000 step 1 | extend s = strcat('key ', x) | distinct s",
         "distinct"},
        {"range x from 1 to 10000000 step 1 | extend s = strrep(strcat('key ', x), 9000)",
         "extend"},
        {"range x from 1 to 10000000 step 1 | top 900000 by x", "top"},
        {"range x from 1 to 10000000 step 1 | summarize dcount(x)", "summarize"},
        {"print x = 1 | join kind=inner (range x from 1 to 10000000 step 1) on x", "join"}};
    const struct kp_query_opts opts = {.memory_bytes_max = 4 * 1024 * 1024};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct kp_buf out = {0};
        struct kp_error err = {0};
        assert_int_equal(run(cases[i].text, &opts, &out, &err), KP_LIMIT);
        if (strncmp(err.text, cases[i].owner, strlen(cases[i].owner)) != 0)
            fail_msg("%s: %s", cases[i].text, err.text);
        assert_true(err.hint[0] != '\0');
        kp_buf_deinit(&out);
    }
}

static void memory_does_not_grow_with_rows_passed(void **state)
{
    (void)state;
    const struct kp_query_opts opts = {.memory_bytes_max = 4 * 1024 * 1024};
    struct kp_buf out = {0};
    struct kp_error err = {0};
    kp_status status = run("range x from 1 to 1000000 step 1 | extend s = strcat('key ', x % 10) "
                           "| where s has '7' | summarize count(), max(x) by s | top 3 by max_x",
                           &opts, &out, &err);
    assert_int_equal(status, KP_END);
    assert_string_equal(kp_buf_cstr(&out), "key 7 100000 999997 \n");
    kp_buf_deinit(&out);
    status = run("range x from 1 to 300000 step 1 | top 5 by x % 1000 asc", &opts, &out, &err);
    assert_int_equal(status, KP_END);
    assert_string_equal(kp_buf_cstr(&out), "1000 \n2000 \n3000 \n4000 \n5000 \n");
    kp_buf_deinit(&out);
}

static void cancel_and_timeout_end_a_query(void **state)
{
    (void)state;
    static const char forever[] = "range x from 1 to 9000000000000 step 1 | count";
    _Atomic bool cancel = true;
    struct kp_query_opts opts = {.cancel = &cancel};
    struct kp_error err = {0};
    struct kp_buf out = {0};
    assert_int_equal(run(forever, &opts, &out, &err), KP_CANCELLED);
    opts = (struct kp_query_opts){.timeout = 20 * KP_MS};
    int64_t start = kp_time_monotonic();
    assert_int_equal(run(forever, &opts, &out, &err), KP_LIMIT);
    assert_true(strstr(err.text, "20.000 ms") != NULL);
    assert_true(kp_time_monotonic() - start < 2 * KP_SEC);
    kp_buf_deinit(&out);
}

static void a_window_is_assumed_and_said(void **state)
{
    (void)state;
    const struct kp_query_opts opts = {.default_window = 2 * KP_MS};
    struct kp_buf out = {0};
    struct kp_error err = {0};
    assert_int_equal(run("irq | count", &opts, &out, &err), KP_END);
    if (strncmp(out.data, "21 \n", 4) != 0 ||
        strstr(out.data, "looks at the last 2.000 ms") == NULL)
        fail_msg("%s", kp_buf_cstr(&out));
    kp_buf_clear(&out);
    assert_int_equal(run("irq | where ts >= datetime(2000-01-01) | count", &opts, &out, &err),
                     KP_END);
    assert_true(strncmp(kp_buf_cstr(&out), "5000 \n", 6) == 0);
    assert_null(strstr(out.data, "looks at"));
    kp_buf_deinit(&out);
}

/* `+ 0` and friends keep a condition in the filter. */
static void pushed_conditions_give_what_filters_give(void **state)
{
    (void)state;
    agree("irq | where pid == 103 | project seq", "irq | where pid + 0 == 103 | project seq");
    agree("irq | where comm in ('w1', 'w5') and irq == 7 | project seq",
          "irq | where strcat(comm, '') in ('w1', 'w5') and irq + 0 == 7 | project seq");
    agree("irq | where ts > datetime(2026-11-23T03:47:00.1) "
          "and ts <= datetime(2026-11-23T03:47:00.2) "
          "| summarize count(), min(ts), max(ts)",
          "irq | where ts + 0ns > datetime(2026-11-23T03:47:00.1) "
          "and ts + 0ns <= datetime(2026-11-23T03:47:00.2) | summarize count(), min(ts), max(ts)");
    agree("irq | where start >= datetime(2026-11-23T03:47:00.4) | summarize count(), sum(dur)",
          "irq | where ts - dur >= datetime(2026-11-23T03:47:00.4) | summarize count(), sum(dur)");
    agree("irq | extend us = dur / 1us | project w = comm, us, seq | where w == 'w2' and us > 1 "
          "| project seq",
          "irq | where strcat(comm, '') == 'w2' and dur > 1us | project seq");
    agree("softirq | where vec == 'NET_RX' | project seq",
          "softirq | where tolower(vec) == 'net_rx' | project seq");
    agree("softirq | where vec in ('NET_RX', '77') | count",
          "softirq | where tolower(vec) in ('net_rx', '77') | count");
    agree("sched_switch | where preempt | project seq",
          "sched_switch | where preempt == true and 1 == 1 | project seq");
    agree("events | where kind == 'irq' and comm == 'w3' | project seq",
          "irq | where comm == 'w3' | project seq");
}

static void orders_agree(void **state)
{
    (void)state;
    agree("irq | sort by ts desc | take 40 | project seq", "irq | top 40 by ts | project seq");
    agree("irq | sort by ts asc | take 40 | project seq", "irq | take 40 | project seq");
    agree("irq | top 40 by ts | project seq", "irq | sort by seq desc | take 40 | project seq");
    agree("irq | top 25 by dur, seq asc | project seq, dur",
          "irq | sort by dur desc, seq asc | take 25 | project seq, dur");
    agree("irq | top 25 by comm asc | project seq",
          "irq | sort by comm asc | take 25 | project seq");
    agree("events | count", "union irq, softirq, sched_switch | count");
    agree("events | top 2000 by ts asc | project seq", "events | take 2000 | project seq");
    agree("events | project seq | sort by seq asc", "events | project seq");
}

static void groups_agree_with_sums(void **state)
{
    (void)state;
    answers("irq | summarize n = count() by comm, irq | summarize sum(n), count()", "5000 56 \n");
    answers("irq | summarize by comm | count", "8 \n");
    agree("irq | summarize sum(dur), dcount(pid), percentile(dur, 90)",
          "irq | extend k = seq % 97 | summarize s = sum(dur) by k | summarize sum_dur = sum(s), "
          "dcount_pid = max(8 + k * 0), percentile_dur_90 = max(totimespan(4500) + s * 0)");
    answers("range x from 1 to 5000 step 1 | summarize c = count() by g = x % 3000 "
            "| summarize count(), sum(c)",
            "3000 5000 \n");
}

/* More rows than one run of the sort, in no order. */
#define SHUFFLED "range x from 0 to 99999 step 1 | project k = x * 7919 % 100000 / 3 "

static void ranks_agree_with_sorts(void **state)
{
    (void)state;
    answers(SHUFFLED "| sort by k asc | where prev(k) > k | count", "0 \n");
    agree(SHUFFLED "| summarize p = percentile(k, 37)",
          SHUFFLED "| sort by k asc | extend n = row_number() | where n == 37000 | project p = k");
    agree(SHUFFLED "| summarize p = percentile(k, 100)", SHUFFLED "| summarize p = max(k)");
    agree(SHUFFLED "| summarize p = percentile(todouble(k), 50)",
          SHUFFLED "| summarize p = todouble(percentile(k, 50))");
}

static void figures_are_kept(void **state)
{
    (void)state;
    struct kp_error err;
    struct kp_query *query = NULL;
    const struct kp_batch *batch;
    struct kp_query_stat stat;
    assert_int_equal(kp_query_open(world.snapshot, KP_STR("irq | where pid == 103 | project seq"),
                                   NULL, &query, &err),
                     KP_OK);
    while (kp_query_next(query, &batch, &err) == KP_OK)
        continue;
    assert_int_equal(kp_query_next(query, &batch, &err), KP_END);
    kp_query_stat(query, &stat);
    assert_int_equal(stat.rows_out, 625);
    assert_true(stat.rows_read >= 625 && stat.elapsed > 0 && stat.memory_bytes > 0);
    assert_int_equal(stat.pages_by_time + stat.pages_by_thread + stat.pages_by_value,
                     stat.pages_pruned);
    kp_query_close(query);
    struct kp_buf out = {0};
    assert_int_equal(run("explain analyze irq | where pid + 0 == 103 | count", NULL, &out, &err),
                     KP_END);
    if (strstr(out.data, "2 where ((pid + 0) == 103) 625 ") == NULL ||
        strstr(out.data, "total") == NULL || strstr(out.data, " by thread, ") == NULL)
        fail_msg("%s", kp_buf_cstr(&out));
    kp_buf_deinit(&out);
}

/* What a verb read, by what for and of which stream; all of the window when it is told to. */
static void explain_tells_what_a_verb_reads(void **state)
{
    (void)state;
    static const char *const steps[] = {
        "read spans for the transaction: pages ",
        "read sched_switch for the walk, from 10.000 ms before it: pages ",
        " CAUSES of txn p1",
    };
    struct kp_buf out = {0};
    struct kp_error err;
    assert_int_equal(run("explain analyze CAUSES OF txn p1 BASELINE none", NULL, &out, &err),
                     KP_END);
    const char *at = kp_buf_cstr(&out);
    for (size_t i = 0; i < KP_ARRAY_LEN(steps) && at != NULL; i++)
        at = strstr(at, steps[i]);
    if (at == NULL || strstr(out.data, "for the baseline") != NULL)
        fail_msg("%s", kp_buf_cstr(&out));
    kp_buf_deinit(&out);
    assert_int_equal(run("explain CAUSES OF txn p1", NULL, &out, &err), KP_END);
    assert_null(strstr(kp_buf_cstr(&out), "pages"));
    kp_buf_deinit(&out);
}

/* Rows read to answer text. */
static uint64_t rows_read(const char *text)
{
    struct kp_error err = {0};
    struct kp_query *query = NULL;
    const struct kp_batch *batch;
    struct kp_query_stat stat;
    kp_status status = kp_query_open(world.snapshot, kp_str_from(text), NULL, &query, &err);
    while (status == KP_OK)
        status = kp_query_next(query, &batch, &err);
    if (status != KP_END)
        fail_msg("%s: %s", text, err.text);
    kp_query_stat(query, &stat);
    kp_query_close(query);
    return stat.rows_read;
}

static void tables_made_by_the_engine_tell_what_they_read(void **state)
{
    (void)state;
    uint64_t timeline = rows_read("sched_switch") + rows_read("sched_waking") + rows_read("task");
    assert_true(timeline >= 1000);
    assert_int_equal(rows_read("thread_state"), timeline);
    assert_int_equal(rows_read("cpu_state | take 3"), timeline);
    assert_int_equal(rows_read("txn"), rows_read("spans"));
    assert_int_equal(rows_read("union (thread_state | project tid), (cpu_state | project tid)"),
                     2 * timeline);
    assert_true(rows_read("CAUSES OF txn p1") > rows_read("spans"));
    assert_int_equal(rows_read("EVIDENCE OF txn p1"), rows_read("CAUSES OF txn p1"));
}

static int open_world(void **state)
{
    (void)state;
    world_open(&world);
    world.zero = ZERO;
    for (uint32_t i = 0; i < 8; i++) {
        char comm[8];
        snprintf(comm, sizeof(comm), "w%u", i);
        actors[i] = world_thread_in(&world, 100 + i, 100 + i, comm, i + 1, "/w", false);
    }
    for (uint32_t i = 0; i < 5000; i++) {
        kp_time t = (kp_time)(i + 1) * 100 * KP_US;
        world_irq(&world, t - 1 - i % 5001, t, i % 2, actors[i % 8], (int)(i % 7) + 1, "dev");
        if (i % 3 == 0)
            world_softirq(&world, t, t + 10, i % 2, actors[i % 8], i % 2 ? VEC_NET_RX : VEC_TIMER);
        if (i % 5 == 0)
            world_switch(&world, t + 20, i % 2, actors[i % 8], i % 10 ? S : RP,
                         actors[(i + 1) % 8]);
    }
    const struct world_span payment = {.from = 10 * KP_MS,
                                       .to = 60 * KP_MS,
                                       .thread = actors[1],
                                       .trace = "a1",
                                       .id = "b1",
                                       .parent = "",
                                       .txn = "p1",
                                       .service = "pay",
                                       .name = "POST /pay"};
    world_span(&world, &payment);
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
        cmocka_unit_test(explain_tells_what_a_verb_reads),
        cmocka_unit_test(limits_name_the_operator),
        cmocka_unit_test(memory_does_not_grow_with_rows_passed),
        cmocka_unit_test(cancel_and_timeout_end_a_query),
        cmocka_unit_test(a_window_is_assumed_and_said),
        cmocka_unit_test(pushed_conditions_give_what_filters_give),
        cmocka_unit_test(orders_agree),
        cmocka_unit_test(groups_agree_with_sums),
        cmocka_unit_test(ranks_agree_with_sorts),
        cmocka_unit_test(figures_are_kept),
        cmocka_unit_test(tables_made_by_the_engine_tell_what_they_read),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
