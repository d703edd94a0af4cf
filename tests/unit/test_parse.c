/* SPDX-License-Identifier: Apache-2.0
 *
 * What a shell asks of the language: is a text unfinished, what can stand here. And the limits that
 * keep hostile texts from costing more than an error.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "query/query.h"

static void unfinished_texts_wait_for_more(void **state)
{
    (void)state;
    static const char *const open[] = {"sched_switch |",
                                       "sched_switch | where",
                                       "sched_switch | where (cpu == 1",
                                       "print 'abc",
                                       "print dynamic({",
                                       "let x = 5;",
                                       "CAUSES OF txn",
                                       "sched_switch | summarize count(), // more",
                                       "print 1 +"};
    static const char *const closed[] = {"",         "  \n",        "sched_switch",
                                         "print 1;", "print )",     "sched_switch | wher x",
                                         "print 5q", "show tables", "CAUSES OF txn 5 WITHIN 2s"};
    for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++)
        if (!kp_query_unfinished(kp_str_from(open[i])))
            fail_msg("taken for finished: %s", open[i]);
    for (size_t i = 0; i < sizeof(closed) / sizeof(closed[0]); i++)
        if (kp_query_unfinished(kp_str_from(closed[i])))
            fail_msg("taken for unfinished: %s", closed[i]);
}

static void collect(void *ctx, struct kp_str name, const char *what)
{
    struct kp_buf *out = ctx;
    assert_non_null(what);
    kp_buf_char(out, ' ');
    kp_buf_str(out, name);
    kp_buf_char(out, ' ');
}

/* Completes at the end of text; every name of `yes` must be offered and none of `no`. */
static void offers(const char *text, const char *yes, const char *no)
{
    struct kp_buf out = {0};
    char word[64];
    kp_query_complete(kp_str_from(text), (uint32_t)strlen(text), collect, &out);
    const char *got = kp_buf_cstr(&out);
    for (int want = 1; want >= 0; want--) {
        char names[256], *save = NULL;
        snprintf(names, sizeof(names), "%s", want ? yes : no);
        for (char *name = strtok_r(names, " ", &save); name != NULL;
             name = strtok_r(NULL, " ", &save)) {
            snprintf(word, sizeof(word), " %s ", name);
            if ((strstr(got, word) != NULL) != (want == 1))
                fail_msg("after '%s': %s is %s in:%s", text, name, want ? "missing" : "wrong", got);
        }
    }
    kp_buf_deinit(&out);
}

static void completion_knows_the_place(void **state)
{
    (void)state;
    offers("", "sched_switch print CAUSES explain txn", "where strlen cpu");
    offers("sched_s", "sched_switch", "sched_waking print");
    offers("sched_switch | ", "where project-away summarize join", "sched_switch cpu facet");
    offers("sched_switch | project-a", "project-away", "project");
    offers("sched_switch | where ", "cpu next_comm and", "strlen count sched_switch");
    offers("sched_switch | where str", "strlen", "cpu sched_switch");
    offers("sched_switch | where next_c", "next_comm next_cgroup", "comm");
    offers("sched_switch | summarize n = count() by comm | where ", "comm n", "cpu next_comm");
    offers("sched_switch | summarize ", "count avg percentile cpu by", "where");
    offers("sched_switch | where prev_state == ", "'S' 'D'", "cpu");
    offers("sched_switch | where prev_state == '", "S D R+", "cpu");
    offers("sched_switch | sort by cpu ", "asc desc", "");
    offers("sched_switch | union ", "irq spans", "cpu");
    offers("CAUSES ", "OF", "txn WITHIN");
    offers("causes of ", "txn", "OF");
    offers("CAUSES OF txn 98721 ", "WITHIN BASELINE AT MIN", "txn");
    offers("CAUSES OF txn 98721 WITHIN ", "2s 100ms", "WITHIN");
    offers("CAUSES OF txn 98721 | where ", "rank culprit_comm strength", "cpu_state");
    offers("CHAIN ", "OF", "txn");
    offers("CAUSES OF ", "txn span thread wait event", "pid io OF");
    offers("EFFECTS OF ", "event io thread pid", "txn span");
    offers("DIFF ", "CAUSES", "OF txn");
    offers("DIFF CAUSES ", "OF", "txn");
    offers("DIFF CAUSES OF txn 1 VS ", "txn", "WITHIN");
    offers("CAUSES OF txn 1 EDGES ", "strong", "txn");
    offers("CAUSES OF txn 1 ORACLE ", "perfetto tracecompass offwaketime", "strong");
    offers("CAUSES OF txn 1 AT ", "host", "WITHIN");
    offers("CHAIN OF txn 1 AT 2026-11-23 | where ", "level edge kind", "rank");
    offers("CAUSES OF txn 1 | EMIT ", "nodes edges spans flame states", "graph");
    offers("CAUSES OF txn 1 | render ", "graph svg", "nodes");
    offers("explain ", "analyze sched_switch", "");
    offers("show ", "tables columns", "sched_switch");
    offers("show columns ", "spans", "tables");
    offers("let T = irq | where cpu == 0; T | project ", "name dur", "next_comm");
    offers("print strl", "strlen", "");
    offers("nonsense | where s", "strlen", "cpu");
}

static kp_status open_only(const char *text, struct kp_error *err)
{
    struct kp_query *query = NULL;
    kp_status status = kp_query_open(NULL, kp_str_from(text), NULL, &query, err);
    if (status == KP_OK)
        kp_query_close(query);
    return status;
}

static char *repeated(const char *head, const char *part, size_t times, const char *tail)
{
    struct kp_buf out = {0};
    kp_buf_text(&out, head);
    for (size_t i = 0; i < times; i++)
        kp_buf_text(&out, part);
    kp_buf_text(&out, tail);
    kp_buf_char(&out, '\0');
    return out.data;
}

static void hostile_texts_end_by_limit(void **state)
{
    (void)state;
    static const struct {
        const char *head, *part;
        size_t times;
        const char *tail;
        kp_status status;
    } texts[] = {{"print ", "(", 100000, "1", KP_LIMIT},
                 {"print ", "-", 100000, "1", KP_LIMIT},
                 {"print 1", " + 1", 1000, "", KP_LIMIT},
                 {"print 1", " + 1", 100, "", KP_OK},
                 {"print true", " and true", 1000, "", KP_OK},
                 {"print 5 in (0", ", 1", 1000, ")", KP_OK},
                 {"print 5 in (0", ", 1", 20000, ")", KP_LIMIT},
                 {"print 1", " | extend x = 1", 1000, "", KP_LIMIT},
                 {"print strcat('a'", ", 'b'", 100, ")", KP_OK},
                 {"print case(", "false, 1, ", 5000, "2)", KP_LIMIT},
                 {"print a", ".b", 5000, "", KP_LIMIT},
                 {"print 1 //", " ", 300000, "", KP_LIMIT},
                 {"print 1", ", 1", 2000, "", KP_LIMIT},
                 {"let a = print 1; ", "let a = a | union a; ", 60, "a | count", KP_LIMIT}};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct kp_error err = {0};
        char *text = repeated(texts[i].head, texts[i].part, texts[i].times, texts[i].tail);
        kp_status status = open_only(text, &err);
        if (status != texts[i].status)
            fail_msg("text %zu (%.40s): %s, %s", i, text, kp_status_name(status), err.text);
        free(text);
    }
}

/* case() in case(): each is short, all together they nest 10,000 deep. */
static void written_out_forms_are_bounded(void **state)
{
    (void)state;
    struct kp_buf text = {0};
    struct kp_error err = {0};
    kp_buf_text(&text, "explain irq | extend x = ");
    for (int level = 0; level < 150; level++) {
        kp_buf_text(&text, "case(");
        for (int pair = 0; pair < 70; pair++)
            kp_buf_text(&text, "cpu == 1, 1, ");
    }
    kp_buf_text(&text, "0");
    for (int level = 0; level < 150; level++)
        kp_buf_char(&text, ')');
    assert_int_equal(open_only(kp_buf_cstr(&text), &err), KP_LIMIT);
    kp_buf_deinit(&text);
}

static void control_characters_and_zeros_are_refused(void **state)
{
    (void)state;
    struct kp_error err;
    struct kp_query *query = NULL;
    struct kp_str zero = {"print 1\0 2", 10};
    assert_int_equal(kp_query_open(NULL, zero, NULL, &query, &err), KP_INVALID);
    assert_int_equal(err.column, 8);
    assert_int_equal(open_only("print \x01", &err), KP_INVALID);
    assert_int_equal(open_only("print '\xff\xfe'", &err), KP_OK);
    assert_int_equal(open_only("sched_switch", &err), KP_UNSUPPORTED);
    assert_int_equal(open_only("explain sched_switch", NULL), KP_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unfinished_texts_wait_for_more),
        cmocka_unit_test(completion_knows_the_place),
        cmocka_unit_test(hostile_texts_end_by_limit),
        cmocka_unit_test(written_out_forms_are_bounded),
        cmocka_unit_test(control_characters_and_zeros_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
