/* SPDX-License-Identifier: Apache-2.0
 *
 * The causal graph as text, for Graphviz and as SVG, on rows as CAUSES gives them: exact trees,
 * texts that would break the document escaped, rows that cannot be drawn refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/assert.h"
#include "render/render.h"

#define ROWS 4

static const struct kp_field fields[] = {
    {KP_STR("kind"), KP_TYPE_STR, KP_UNIT_NONE},
    {KP_STR("start"), KP_TYPE_TIME, KP_UNIT_NS},
    {KP_STR("dur"), KP_TYPE_DUR, KP_UNIT_NS},
    {KP_STR("root"), KP_TYPE_BOOL, KP_UNIT_NONE},
    {KP_STR("comm"), KP_TYPE_STR, KP_UNIT_NONE},
    {KP_STR("tid"), KP_TYPE_I64, KP_UNIT_ID},
    {KP_STR("culprit_comm"), KP_TYPE_STR, KP_UNIT_NONE},
    {KP_STR("culprit_tid"), KP_TYPE_I64, KP_UNIT_ID},
    {KP_STR("strength"), KP_TYPE_STR, KP_UNIT_NONE},
};
static const struct kp_schema schema = {fields, KP_ARRAY_LEN(fields)};

static struct kp_str kind[ROWS] = {KP_STR("runnable.preempted"), KP_STR("running"),
                                   KP_STR("running"), KP_STR("net.local")};
static int64_t start[ROWS] = {1000, 0, 500, 4000};
static int64_t dur[ROWS] = {3000, 1000, 500, 500};
static int64_t root[ROWS] = {1, 0, 0, 0};
static struct kp_str comm[ROWS] = {KP_STR("ledger"), KP_STR("pay"), KP_STR("ledger"),
                                   KP_STR("ledger")};
static int64_t tid[ROWS] = {7, 5, 7, 7};
static struct kp_str who[ROWS] = {KP_STR("<b&\"\\\x01>"), KP_STR("pay"), KP_STR("ledger"),
                                  KP_STR("")};
static int64_t who_tid[ROWS] = {9, 5, 7, 0};
static struct kp_str strength[ROWS] = {KP_STR("strong"), KP_STR("strong"), KP_STR("strong"),
                                       KP_STR("weak")};

static struct kp_vec cols[] = {
    {.type = KP_TYPE_STR, .strs = kind},     {.type = KP_TYPE_TIME, .i64 = start},
    {.type = KP_TYPE_DUR, .i64 = dur},       {.type = KP_TYPE_BOOL, .i64 = root},
    {.type = KP_TYPE_STR, .strs = comm},     {.type = KP_TYPE_I64, .i64 = tid},
    {.type = KP_TYPE_STR, .strs = who},      {.type = KP_TYPE_I64, .i64 = who_tid},
    {.type = KP_TYPE_STR, .strs = strength},
};
static const struct kp_batch batch = {.cols = cols, .cols_count = KP_ARRAY_LEN(cols), .rows = ROWS};

static bool keep(void *ctx, const char *text, size_t size)
{
    kp_buf_add(ctx, text, size);
    return true;
}

static char *draw_at(enum kp_format format, const struct kp_batch *rows, bool utf8, uint32_t width)
{
    static const struct kp_str notes[] = {KP_STR("a < note & \"more\"")};
    struct kp_term term = {.utf8 = utf8, .width = width};
    struct kp_buf out = {0};
    struct kp_render *render = NULL;
    assert_int_equal(kp_render_open(format, &schema, "causes", &term, keep, &out, &render), KP_OK);
    if (rows != NULL)
        assert_int_equal(kp_render_batch(render, rows), KP_OK);
    assert_int_equal(kp_render_end(render, notes, 1), KP_OK);
    kp_render_close(render);
    char *text = strdup(kp_buf_cstr(&out));
    kp_buf_deinit(&out);
    return text;
}

static char *draw(enum kp_format format, const struct kp_batch *rows, bool utf8)
{
    return draw_at(format, rows, utf8, 0);
}

static void the_tree_sums_upwards(void **state)
{
    (void)state;
    char *text = draw(KP_FORMAT_GRAPH, &batch, false);
    assert_string_equal(text, "note: a < note & \"more\"\n"
                              "  5.000 us  100.00 %  all of it\n"
                              "  4.000 us   80.00 %  |- ledger(7)\n"
                              "  3.000 us   60.00 %  |  |- runnable.preempted <- "
                              "<b&\"\\\\x01>(9)  * root cause\n"
                              "    500 ns   10.00 %  |  |- net.local  (weak)\n"
                              "    500 ns   10.00 %  |  `- running\n"
                              "  1.000 us   20.00 %  `- pay(5)\n"
                              "  1.000 us   20.00 %     `- running\n");
    free(text);
    text = draw(KP_FORMAT_GRAPH, NULL, false);
    assert_non_null(strstr(text, "(no rows)\n"));
    free(text);
}

static void graphviz_text_stays_in_its_quotes(void **state)
{
    (void)state;
    char *text = draw(KP_FORMAT_DOT, &batch, true);
    assert_non_null(strstr(text, "digraph causes {"));
    assert_non_null(strstr(text, "n3 [label=\"runnable.preempted\\n<b&\\\"\\\\\\\\x01>(9)\\n"
                                 "3.000 us\" color=\"#c8382e\" penwidth=3];"));
    assert_non_null(strstr(text, "n3 -> n1 [label=\"60.00 %\" penwidth=5];"));
    assert_non_null(strstr(text, "n1 -> n0 [label=\"80.00 %\""));
    free(text);
}

static uint32_t count_of(const char *text, const char *what)
{
    uint32_t count = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at += strlen(what))
        count++;
    return count;
}

static void svg_escapes_and_draws_both(void **state)
{
    (void)state;
    char *text = draw(KP_FORMAT_SVG, &batch, true);
    assert_int_equal(strncmp(text, "<svg xmlns=\"http://www.w3.org/2000/svg\"", 39), 0);
    assert_non_null(strstr(text, "a &lt; note &amp; &quot;more&quot;"));
    assert_non_null(strstr(text, "&lt;b&amp;&quot;\\\xEF\xBF\xBD&gt;(9)"));
    assert_null(strchr(text, '\x01'));
    assert_int_equal(count_of(text, "class=\"node\""), 7);
    assert_int_equal(count_of(text, "class=\"edge\""), 6);
    assert_int_equal(count_of(text, " ns</title><rect"), 4); /* a bar for each row */
    assert_non_null(strstr(text, "+1,000 ns  3,000 ns</title>"));
    assert_int_equal(count_of(text, "<g>"), count_of(text, "</g>"));
    assert_non_null(strstr(text, "</svg>\n"));
    char *again = draw(KP_FORMAT_SVG, &batch, true);
    assert_string_equal(text, again);
    free(again);
    free(text);
    text = draw(KP_FORMAT_SVG, NULL, true);
    assert_non_null(strstr(text, ">no rows</text>\n</svg>\n"));
    free(text);
}

/* Of a chain every row waits for the next, and says how that is known. */
static void a_chain_tells_its_edges(void **state)
{
    static const struct kp_field chain_fields[] = {
        {KP_STR("level"), KP_TYPE_I64, KP_UNIT_NONE}, {KP_STR("edge"), KP_TYPE_STR, KP_UNIT_NONE},
        {KP_STR("state"), KP_TYPE_STR, KP_UNIT_NONE}, {KP_STR("dur"), KP_TYPE_DUR, KP_UNIT_NS},
        {KP_STR("comm"), KP_TYPE_STR, KP_UNIT_NONE},
    };
    static const struct kp_schema chain = {chain_fields, KP_ARRAY_LEN(chain_fields)};
    int64_t levels[] = {0, 1}, durs[] = {70, 50};
    struct kp_str edges[] = {KP_STR("root"), KP_STR("net")};
    struct kp_str states[] = {KP_STR("blocked"), KP_STR("running")};
    struct kp_str comms[] = {KP_STR("pay"), KP_STR("ledger")};
    struct kp_vec vecs[] = {{.type = KP_TYPE_I64, .i64 = levels},
                            {.type = KP_TYPE_STR, .strs = edges},
                            {.type = KP_TYPE_STR, .strs = states},
                            {.type = KP_TYPE_DUR, .i64 = durs},
                            {.type = KP_TYPE_STR, .strs = comms}};
    const struct kp_batch rows = {.cols = vecs, .cols_count = KP_ARRAY_LEN(vecs), .rows = 2};
    struct kp_term term = {0};
    struct kp_buf out = {0};
    struct kp_render *render = NULL;
    (void)state;
    assert_int_equal(kp_render_open(KP_FORMAT_GRAPH, &chain, "q", &term, keep, &out, &render),
                     KP_OK);
    assert_int_equal(kp_render_batch(render, &rows), KP_OK);
    assert_int_equal(kp_render_end(render, NULL, 0), KP_OK);
    kp_render_close(render);
    assert_string_equal(kp_buf_cstr(&out), "     70 ns  pay  blocked\n"
                                           "     50 ns  `- ledger  running  by net\n");
    kp_buf_deinit(&out);
}

#define MANY 200

/* MANY stretches of 1, 2, 3 ... ns with names of wide characters: each a lane, or causes of one. */
static char *draw_many(enum kp_format format, bool lanes)
{
    static struct kp_str kinds[MANY], comms[MANY], whos[MANY], strengths[MANY];
    static int64_t starts[MANY], durs[MANY], roots[MANY], tids[MANY], who_tids[MANY];
    static struct kp_vec many[] = {
        {.type = KP_TYPE_STR, .strs = kinds},     {.type = KP_TYPE_TIME, .i64 = starts},
        {.type = KP_TYPE_DUR, .i64 = durs},       {.type = KP_TYPE_BOOL, .i64 = roots},
        {.type = KP_TYPE_STR, .strs = comms},     {.type = KP_TYPE_I64, .i64 = tids},
        {.type = KP_TYPE_STR, .strs = whos},      {.type = KP_TYPE_I64, .i64 = who_tids},
        {.type = KP_TYPE_STR, .strs = strengths},
    };
    for (int i = 0; i < MANY; i++) {
        kinds[i] = KP_STR("lock");
        comms[i] = KP_STR("支付服务处理线程名称很长很长很长很长很长很长");
        whos[i] = KP_STR("größer");
        strengths[i] = KP_STR("strong");
        starts[i] = i;
        durs[i] = i + 1;
        roots[i] = i == 0; /* the smallest of all */
        tids[i] = lanes ? i + 1 : 1;
        who_tids[i] = 1000 + i;
    }
    const struct kp_batch rows = {.cols = many, .cols_count = KP_ARRAY_LEN(many), .rows = MANY};
    return draw(format, &rows, true);
}

/* What is too small to be drawn alone is drawn together: the sums stay, and so does the root. */
static void many_causes_become_few(void **state)
{
    (void)state;
    char *text = draw_many(KP_FORMAT_GRAPH, false);
    assert_int_equal(count_of(text, "\n"), 1 + 2 + 39 + 2);
    assert_non_null(strstr(text, " 20.100 us  100.00 %  all of it\n"));
    assert_non_null(strstr(text, "160 smaller\n"));
    assert_non_null(strstr(text, "größer(1000)  * root cause\n"));
    free(text);
    text = draw_many(KP_FORMAT_SVG, false);
    assert_int_equal(count_of(text, "class=\"node\""), 2 + 39 + 2);
    free(text);
}

/* Of more than a screen of causes, those that have next to no share go together. */
static void next_to_no_share_is_drawn_together(void **state)
{
    static const int counts[] = {21, 20};
    static struct kp_str kinds[21], comms[21], whos[21], strengths[21];
    static int64_t starts[21], durs[21], roots[21], tids[21], who_tids[21];
    (void)state;
    for (int i = 0; i < 21; i++) {
        kinds[i] = KP_STR("lock");
        comms[i] = whos[i] = KP_STR("pay");
        strengths[i] = KP_STR("strong");
        durs[i] = i == 0 ? KP_SEC : 1000 + i;
        tids[i] = 1;
        who_tids[i] = 1000 + i;
    }
    for (size_t i = 0; i < KP_ARRAY_LEN(counts); i++) {
        struct kp_vec few[] = {
            {.type = KP_TYPE_STR, .strs = kinds},     {.type = KP_TYPE_TIME, .i64 = starts},
            {.type = KP_TYPE_DUR, .i64 = durs},       {.type = KP_TYPE_BOOL, .i64 = roots},
            {.type = KP_TYPE_STR, .strs = comms},     {.type = KP_TYPE_I64, .i64 = tids},
            {.type = KP_TYPE_STR, .strs = whos},      {.type = KP_TYPE_I64, .i64 = who_tids},
            {.type = KP_TYPE_STR, .strs = strengths},
        };
        const struct kp_batch rows = {
            .cols = few, .cols_count = KP_ARRAY_LEN(few), .rows = (uint32_t)counts[i]};
        char *text = draw(KP_FORMAT_GRAPH, &rows, true);
        assert_int_equal(count_of(text, "20 smaller\n"), i == 0);
        assert_int_equal(count_of(text, "<0.01 %"), i == 0 ? 1 : 19);
        free(text);
    }
}

/* A narrow timeline cuts off whose time it was, not who is to blame. */
static void labels_keep_who_is_to_blame(void **state)
{
    (void)state;
    kind[0] = KP_STR("runnable.preempted");
    who[0] = KP_STR("batch-job");
    char *text = draw_at(KP_FORMAT_TIMELINE, &batch, true, 140);
    assert_non_null(strstr(text, "* runnable.preempted ledger(7) <- batch-job(9) "));
    free(text);
    text = draw_at(KP_FORMAT_TIMELINE, &batch, true, 100);
    assert_non_null(strstr(text, "* runnable.preempted <- batch-job(9) "));
    free(text);
    text = draw_at(KP_FORMAT_TIMELINE, &batch, true, 80);
    assert_non_null(strstr(text, "* runnable.preempted <- batch-job "));
    assert_non_null(strstr(text, "  running pay(5) "));
    free(text);
}

static void many_lanes_become_few(void **state)
{
    (void)state;
    char *text = draw_many(KP_FORMAT_GRAPH, true);
    assert_non_null(strstr(text, "161 smaller\n"));
    assert_non_null(strstr(text, " 20.100 us  100.00 %  all of it\n"));
    free(text);
    text = draw_many(KP_FORMAT_SVG, true);
    assert_int_equal(count_of(text, " ns</title><rect"), MANY); /* every stretch has its bar */
    assert_non_null(strstr(text, ">161 smaller</text>"));
    assert_non_null(strstr(text, ">支付服务处理线程名称很长很长很长很长…</text>"));
    free(text);
}

static void rows_that_cannot_be_drawn_are_refused(void **state)
{
    (void)state;
    static const struct kp_schema no_dur = {fields, 2};
    static const struct kp_schema no_kind = {fields + 1, 2};
    static const enum kp_format formats[] = {KP_FORMAT_GRAPH, KP_FORMAT_DOT, KP_FORMAT_SVG};
    for (size_t i = 0; i < KP_ARRAY_LEN(formats); i++) {
        struct kp_term term = {0};
        struct kp_buf out = {0};
        struct kp_render *render = NULL;
        kp_status status = kp_render_open(formats[i], &no_dur, "q", &term, keep, &out, &render);
        assert_int_equal(status, KP_INVALID);
        status = kp_render_open(formats[i], &no_kind, "q", &term, keep, &out, &render);
        assert_int_equal(status, KP_INVALID);
        assert_true(kp_format_needs(formats[i])[0] != '\0');
    }
    assert_string_equal(kp_format_needs(KP_FORMAT_CSV), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tree_sums_upwards),
        cmocka_unit_test(graphviz_text_stays_in_its_quotes),
        cmocka_unit_test(svg_escapes_and_draws_both),
        cmocka_unit_test(a_chain_tells_its_edges),
        cmocka_unit_test(many_causes_become_few),
        cmocka_unit_test(next_to_no_share_is_drawn_together),
        cmocka_unit_test(many_lanes_become_few),
        cmocka_unit_test(labels_keep_who_is_to_blame),
        cmocka_unit_test(rows_that_cannot_be_drawn_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
