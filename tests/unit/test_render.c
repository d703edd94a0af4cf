/* SPDX-License-Identifier: Apache-2.0
 *
 * Every format on the same rows, with the values that are hard to print: nulls, empty text, quotes,
 * control characters, wide characters, the largest integers; and tables on narrow terminals.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <locale.h>
#include <stdlib.h>
#include <wchar.h>

#include "base/assert.h"
#include "render/render.h"

#define ROWS 3

static const struct kp_field fields[] = {
    {KP_STR("ts"), KP_TYPE_TIME, KP_UNIT_NONE},   {KP_STR("dur"), KP_TYPE_DUR, KP_UNIT_NS},
    {KP_STR("root"), KP_TYPE_BOOL, KP_UNIT_NONE}, {KP_STR("comm"), KP_TYPE_STR, KP_UNIT_NONE},
    {KP_STR("pid"), KP_TYPE_I64, KP_UNIT_ID},     {KP_STR("addr"), KP_TYPE_I64, KP_UNIT_HEX},
    {KP_STR("ratio"), KP_TYPE_F64, KP_UNIT_NONE},
};
static const struct kp_schema schema = {fields, KP_ARRAY_LEN(fields)};

static int64_t ts[ROWS] = {1700000000000000000, 1700000000000000001, 1700000000500000000};
static int64_t dur[ROWS] = {388204117, 52, 1000};
static int64_t root[ROWS] = {1, 0, 0};
static int64_t pid[ROWS] = {4721, INT64_MAX, INT64_MIN};
static int64_t addr[ROWS] = {0x1000, -1, 0};
static double ratio[ROWS] = {0.1, 1e300, 3};
static struct kp_str comm[ROWS] = {KP_STR("a,\"b\" c"), KP_STR(""),
                                   KP_STR("\x1b[31m\xE7\xAC\xAC\n")};
static uint64_t pid_nulls[1] = {1 << 2}, ratio_nulls[1] = {1 << 2}, comm_nulls[1] = {0};

static struct kp_vec cols[] = {
    {.type = KP_TYPE_TIME, .i64 = ts},
    {.type = KP_TYPE_DUR, .i64 = dur},
    {.type = KP_TYPE_BOOL, .i64 = root},
    {.type = KP_TYPE_STR, .strs = comm, .nulls = comm_nulls},
    {.type = KP_TYPE_I64, .i64 = pid, .nulls = pid_nulls},
    {.type = KP_TYPE_I64, .i64 = addr},
    {.type = KP_TYPE_F64, .f64 = ratio, .nulls = ratio_nulls},
};
static const struct kp_batch batch = {.cols = cols, .cols_count = KP_ARRAY_LEN(cols), .rows = ROWS};

static bool keep(void *ctx, const char *text, size_t size)
{
    kp_buf_add(ctx, text, size);
    return true;
}

/* The document of `format` on the rows above, given `times` times; the caller frees it. */
static char *render_times(enum kp_format format, struct kp_term term, int times)
{
    static const struct kp_str notes[] = {KP_STR("a note")};
    struct kp_buf out = {0};
    struct kp_render *render = NULL;
    assert_int_equal(kp_render_open(format, &schema, "causes", &term, keep, &out, &render), KP_OK);
    for (int i = 0; i < times; i++)
        assert_int_equal(kp_render_batch(render, &batch), KP_OK);
    assert_int_equal(kp_render_end(render, notes, 1), KP_OK);
    kp_render_close(render);
    char *text = strdup(kp_buf_cstr(&out));
    kp_buf_deinit(&out);
    return text;
}

static void expect(enum kp_format format, const char *wanted)
{
    char *text = render_times(format, (struct kp_term){.utf8 = true}, 1);
    assert_string_equal(text, wanted);
    free(text);
}

/* The next line of *at, ended by NUL; NULL after the last. */
static char *next_line(char **at)
{
    char *line = *at, *end = strchr(line, '\n');
    if (end == NULL)
        return NULL;
    *end = '\0';
    *at = end + 1;
    return line;
}

static void csv_quotes_as_rfc_4180(void **state)
{
    (void)state;
    expect(KP_FORMAT_CSV,
           "ts,dur,root,comm,pid,addr,ratio\r\n"
           "2023-11-14T22:13:20.000000000Z,388204117,true,\"a,\"\"b\"\" c\",4721,4096,0.1\r\n"
           "2023-11-14T22:13:20.000000001Z,52,false,\"\",9223372036854775807,-1,1e+300\r\n"
           "2023-11-14T22:13:20.500000000Z,1000,false,\"\x1b[31m\xE7\xAC\xAC\n\",,0,\r\n");
}

static void tsv_escapes_what_would_split_a_row(void **state)
{
    (void)state;
    expect(KP_FORMAT_TSV,
           "ts\tdur\troot\tcomm\tpid\taddr\tratio\n"
           "2023-11-14T22:13:20.000000000Z\t388204117\ttrue\ta,\"b\" c\t4721\t4096\t0.1\n"
           "2023-11-14T22:13:20.000000001Z\t52\tfalse\t\t9223372036854775807\t-1\t1e+300\n"
           "2023-11-14T22:13:20.500000000Z\t1000\tfalse\t\x1b[31m\xE7\xAC\xAC\\n\t\\N\t0\t\\N\n");
}

static void markdown_is_a_table_with_notes_below(void **state)
{
    (void)state;
    char *text = render_times(KP_FORMAT_MARKDOWN, (struct kp_term){.utf8 = true}, 1), *at = text;
    assert_string_equal(next_line(&at), "| ts | dur | root | comm | pid | addr | ratio |");
    assert_string_equal(next_line(&at), "| --- | ---: | --- | --- | ---: | ---: | ---: |");
    assert_string_equal(
        next_line(&at),
        "| 2023-11-14T22:13:20.000000000Z | 388.204 ms | true | a,\"b\" c | 4721 | 0x1000 | 0.1 |");
    assert_non_null(next_line(&at));
    assert_non_null(strstr(next_line(&at), "| \\x1b[31m\xE7\xAC\xAC\\n |"));
    assert_string_equal(next_line(&at), "");
    assert_string_equal(next_line(&at), "note: a note");
    free(text);
}

static void chart_draws_to_the_scale_of_the_largest(void **state)
{
    (void)state;
    struct kp_term term = {.utf8 = true, .width = 60};
    char *text = render_times(KP_FORMAT_CHART, term, 1), *at = text;
    assert_string_equal(next_line(&at), "note: a note");
    /* the label is the time, 30 columns; the number takes 10; 16 are left for the bar */
    assert_string_equal(next_line(&at),
                        "2023-11-14T22:13:20.000000000Z  "
                        "\xE2\x96\x88\xE2\x96\x88\xE2\x96\x88\xE2\x96\x88\xE2\x96\x88\xE2\x96\x88"
                        "\xE2\x96\x88\xE2\x96\x88\xE2\x96\x88\xE2\x96\x88\xE2\x96\x88\xE2\x96\x88"
                        "\xE2\x96\x88\xE2\x96\x88\xE2\x96\x88\xE2\x96\x88 388.204 ms");
    assert_string_equal(next_line(&at),
                        "2023-11-14T22:13:20.000000001Z                        52 ns");
    free(text);
    enum kp_format format = KP_FORMAT_TABLE;
    assert_true(kp_format_parse(KP_STR("timechart"), &format));
    assert_int_equal(format, KP_FORMAT_CHART);
}

static void trace_events_are_microseconds_from_the_first(void **state)
{
    (void)state;
    char *text = render_times(KP_FORMAT_CHROME, (struct kp_term){.utf8 = true}, 1), *at = text;
    assert_string_equal(next_line(&at), "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[");
    assert_non_null(strstr(next_line(&at), "{\"ph\":\"X\",\"name\":\"a,\\\"b\\\" c\",\"ts\":0.000,"
                                           "\"dur\":388204.117,\"pid\":4721,\"tid\":0,"));
    /* it ends a nanosecond later, and began much later */
    assert_non_null(strstr(next_line(&at), "\"ts\":388204.066,\"dur\":0.052,"));
    assert_non_null(strstr(at, "\"zero\":\"2023-11-14T22:13:19.611795883Z\""));
    free(text);
}

static void ndjson_escapes_and_keeps_integers(void **state)
{
    (void)state;
    expect(KP_FORMAT_NDJSON,
           "{\"ts\":\"2023-11-14T22:13:20.000000000Z\",\"dur\":388204117,\"root\":true,"
           "\"comm\":\"a,\\\"b\\\" c\",\"pid\":4721,\"addr\":4096,\"ratio\":0.1}\n"
           "{\"ts\":\"2023-11-14T22:13:20.000000001Z\",\"dur\":52,\"root\":false,\"comm\":\"\","
           "\"pid\":9223372036854775807,\"addr\":-1,\"ratio\":1e+300}\n"
           "{\"ts\":\"2023-11-14T22:13:20.500000000Z\",\"dur\":1000,\"root\":false,"
           "\"comm\":\"\\u001b[31m\xE7\xAC\xAC\\n\",\"pid\":null,\"addr\":0,\"ratio\":null}\n");
}

static void line_protocol_escapes_tags_and_fields(void **state)
{
    (void)state;
    expect(KP_FORMAT_LINE,
           "causes,comm=a\\,\"b\"\\ c dur_ns=388204117i,root=true,pid=4721i,addr=4096i,ratio=0.1 "
           "1700000000000000000\n"
           "causes dur_ns=52i,root=false,pid=9223372036854775807i,addr=-1i,ratio=1e+300 "
           "1700000000000000001\n"
           "causes,comm=\x1b[31m\xE7\xAC\xAC\\n dur_ns=1000i,root=false,addr=0i "
           "1700000000500000000\n"
           "# note: a note\n");
}

static void table_aligns_and_disarms(void **state)
{
    (void)state;
    char *text = render_times(KP_FORMAT_TABLE, (struct kp_term){0}, 1);
    char *lines[8] = {NULL};
    size_t count = 0;
    for (char *at = text, *line = next_line(&at); line != NULL && count < 8; line = next_line(&at))
        lines[count++] = line;
    assert_int_equal(count, 6);
    assert_string_equal(lines[0], "note: a note");
    /* numbers end where their header ends, text begins where it begins */
    assert_ptr_equal(strstr(lines[3], "388.204 ms") + 10 - lines[3],
                     strstr(lines[1], "dur") + 3 - lines[1]);
    assert_ptr_equal(strstr(lines[3], "a,\"b\"") - lines[3], strstr(lines[1], "comm") - lines[1]);
    assert_ptr_equal(strstr(lines[4], "9223372036854775807") + 19 - lines[4],
                     strstr(lines[1], "pid") + 3 - lines[1]);
    assert_non_null(strstr(lines[4], "0xffffffffffffffff"));
    assert_non_null(strstr(lines[5], "\\x1b[31m\xE7\xAC\xAC\\n"));
    assert_non_null(strstr(lines[5], "2023-11-14T22:13:20.500000000Z"));
    free(text);
}

static void json_is_one_document(void **state)
{
    (void)state;
    char *text = render_times(KP_FORMAT_JSON, (struct kp_term){0}, 0);
    assert_non_null(
        strstr(text, "{\"columns\":[{\"name\":\"ts\",\"type\":\"datetime\",\"unit\":\"\"}"));
    assert_non_null(strstr(text, "\"rows\":[],\n\"notes\":[\"a note\"]}\n"));
    free(text);
}

/* Where any two columns fit the terminal, no line is wider than it; no value is lost. */
static void tables_fit_the_terminal(void **state)
{
    (void)state;
    for (uint32_t width = 52; width <= 160; width += 3) {
        char *text = render_times(KP_FORMAT_TABLE, (struct kp_term){.width = width}, 1);
        for (char *at = text, *line = next_line(&at); line != NULL; line = next_line(&at)) {
            struct kp_str all = kp_str_from(line);
            assert_true(all.len <= width + 2); /* 3 bytes of a wide character take 2 columns */
        }
        free(text);
    }
    char *narrow = render_times(KP_FORMAT_TABLE, (struct kp_term){.width = 60}, 1);
    assert_non_null(strstr(narrow, "388.204 ms"));
    assert_non_null(strstr(narrow, "9223372036854775807"));
    assert_non_null(strstr(narrow, "0x1000"));
    assert_non_null(strstr(narrow, "\\x1b[31m"));
    assert_null(strchr(narrow, 0x1b));
    free(narrow);
}

/* More rows than one chunk: every row comes out once, the header once. */
static void long_tables_stream(void **state)
{
    (void)state;
    char *text = render_times(KP_FORMAT_TABLE, (struct kp_term){0}, 2000);
    size_t lines = 0, headers = 0;
    for (char *at = text, *line = next_line(&at); line != NULL; line = next_line(&at)) {
        lines++;
        headers += memcmp(line, "ts  ", 4) == 0;
    }
    assert_int_equal(headers, 1);
    assert_int_equal(lines, 2 + 1 + ROWS * 2000);
    free(text);
}

static void timeline_draws_on_one_axis(void **state)
{
    (void)state;
    char *text = render_times(KP_FORMAT_TIMELINE, (struct kp_term){.width = 100}, 1);
    assert_non_null(strstr(text, "axis: 888.204 ms from 2023-11-14T22:13:19.611795883Z"));
    assert_non_null(strstr(text, "* a,\"b\" c(4721)"));
    assert_non_null(strstr(text, "+0 ns 388.204 ms"));
    assert_non_null(strstr(text, "+388,204,066 ns      52 ns"));
    free(text);
}

static int columns_of(const char *line)
{
    wchar_t wide[512];
    size_t length = mbstowcs(wide, line, KP_ARRAY_LEN(wide));
    return length >= KP_ARRAY_LEN(wide) ? -1 : wcswidth(wide, length);
}

/* Labels in wide characters, longer than the screen: they are cut, bars and numbers are not. */
static void drawings_fit_the_screen(void **state)
{
    (void)state;
    static const struct kp_schema tail = {fields + 3, KP_ARRAY_LEN(fields) - 3};
    const struct kp_batch tails = {.cols = cols + 3, .cols_count = tail.count, .rows = ROWS};
    struct kp_str kept = comm[1];
    comm[1] =
        KP_STR("\xE6\x94\xAF\xE6\x89\x95 of the shop in \xE6\x97\xA5\xE6\x9C\xAC, by card and "
               "with a voucher for \xE6\x97\xA5\xE6\x9C\xAC, sent as a gift to a friend");
    for (uint32_t width = 70; width < 160; width += 9) {
        struct kp_buf out = {0};
        struct kp_render *chart = NULL;
        struct kp_term term = {.width = width, .utf8 = true};
        assert_int_equal(kp_render_open(KP_FORMAT_CHART, &tail, "x", &term, keep, &out, &chart),
                         KP_OK);
        assert_int_equal(kp_render_batch(chart, &tails), KP_OK);
        assert_int_equal(kp_render_end(chart, NULL, 0), KP_OK);
        kp_render_close(chart);
        char *timeline = render_times(KP_FORMAT_TIMELINE, term, 1);
        char *drawings[] = {(char *)(uintptr_t)kp_buf_cstr(&out), timeline};
        for (size_t i = 0; i < KP_ARRAY_LEN(drawings); i++)
            for (char *at = drawings[i], *line = next_line(&at); line != NULL;
                 line = next_line(&at)) {
                int columns = columns_of(line);
                if (strncmp(line, "axis", 4) != 0)
                    assert_in_range(columns, 1, width);
            }
        free(timeline);
        kp_buf_deinit(&out);
    }
    comm[1] = kept;
}

static void timeline_needs_an_interval(void **state)
{
    (void)state;
    struct kp_schema other = {fields + 2, 2};
    struct kp_term term = {0};
    struct kp_buf out = {0};
    struct kp_render *render = NULL;
    assert_int_equal(kp_render_open(KP_FORMAT_TIMELINE, &other, "x", &term, keep, &out, &render),
                     KP_INVALID);
    assert_null(render);
}

static bool hang_up(void *ctx, const char *text, size_t size)
{
    (void)text, (void)size;
    (*(int *)ctx)++;
    return false;
}

static void a_reader_that_left_ends_the_work(void **state)
{
    (void)state;
    int calls = 0;
    struct kp_term term = {0};
    struct kp_render *render = NULL;
    kp_status status = KP_OK;
    assert_int_equal(kp_render_open(KP_FORMAT_CSV, &schema, "x", &term, hang_up, &calls, &render),
                     KP_OK);
    for (int i = 0; i < 100000 && status == KP_OK; i++)
        status = kp_render_batch(render, &batch);
    assert_int_equal(status, KP_END);
    assert_int_equal(kp_render_end(render, NULL, 0), KP_OK);
    assert_int_equal(calls, 1);
    kp_render_close(render);
}

static void a_broken_answer_says_so(void **state)
{
    (void)state;
    static const enum kp_format with_place[] = {KP_FORMAT_TABLE, KP_FORMAT_JSON, KP_FORMAT_NDJSON,
                                                KP_FORMAT_LINE};
    static const char *const marks[] = {"incomplete", "\"error\":{\"code\":\"limit\"",
                                        "{\"error\":{\"code\":\"limit\"", "# error "};
    struct kp_error err;
    kp_error_set(&err, KP_LIMIT, "the memory cap");
    for (size_t i = 0; i < KP_ARRAY_LEN(marks); i++) {
        struct kp_buf out = {0};
        struct kp_term term = {0};
        struct kp_render *render = NULL;
        assert_int_equal(kp_render_open(with_place[i], &schema, "x", &term, keep, &out, &render),
                         KP_OK);
        assert_int_equal(kp_render_fail(render, &err), KP_OK);
        assert_non_null(strstr(kp_buf_cstr(&out), marks[i]));
        kp_render_close(render);
        kp_buf_deinit(&out);
    }
}

static void errors_point_at_the_place(void **state)
{
    (void)state;
    static const char query[] = "clock\n| where x\tcomn == 1\n";
    struct kp_term term = {0};
    struct kp_buf out = {0};
    struct kp_error err;
    kp_error_set(&err, KP_INVALID, "unknown column 'comn'");
    kp_error_place(&err, 2, 11, 4);
    kp_error_hint(&err, "did you mean comm?");
    kp_render_error(&err, kp_str_from(query), "kpq", &term, &out);
    assert_string_equal(kp_buf_cstr(&out), "kpq: unknown column 'comn' (line 2, column 11)\n"
                                           "  | where x comn == 1\n"
                                           "            ^~~~\n"
                                           "hint: did you mean comm?\n");
    kp_buf_clear(&out);
    kp_error_place(&err, 9, 4000, 4000); /* a place outside the text is no place, but no crash */
    kp_render_error(&err, kp_str_from(query), "kpq", &term, &out);
    assert_non_null(strstr(kp_buf_cstr(&out), "unknown column"));
    kp_error_place(&err, 1, 4000, 4000);
    kp_render_error(&err, kp_str_from(query), "kpq", &term, &out);
    kp_buf_deinit(&out);
}

/* The caret stands below the place whatever stands before it, and the line fits the screen. */
static void carets_know_wide_characters(void **state)
{
    (void)state;
    static const char wide[] = "print '\xE6\x97\xA5\xE6\x9C\xAC e\xCC\x81'\t+ wher(1)";
    struct kp_buf out = {0}, query = {0};
    struct kp_error err;
    kp_error_set(&err, KP_INVALID, "x");
    kp_error_place(&err, 1, 22, 4);
    kp_render_error(&err, kp_str_from(wide), "kpq", &(struct kp_term){0}, &out);
    assert_non_null(strstr(kp_buf_cstr(&out), "'\xE6\x97\xA5\xE6\x9C\xAC e\xCC\x81' + wher(1)\n"
                                              "                   ^~~~\n"));
    kp_buf_clear(&out);
    kp_error_place(&err, 1, 8, 1); /* one byte of a character that takes two columns */
    kp_render_error(&err, kp_str_from(wide), "kpq", &(struct kp_term){0}, &out);
    assert_non_null(strstr(kp_buf_cstr(&out), "print '\xE6\x97\xA5"));
    assert_non_null(strstr(kp_buf_cstr(&out), "\n         ^~\n"));
    for (int i = 0; i < 100; i++)
        kp_buf_text(&query, "a \xE6\x97\xA5 ");
    kp_buf_text(&query, "HERE");
    for (int i = 0; i < 100; i++)
        kp_buf_text(&query, " \xE6\x97\xA5 b");
    for (uint32_t width = 40; width < 100; width++) {
        kp_buf_clear(&out);
        kp_error_place(&err, 1, 601, 4);
        kp_render_error(&err, (struct kp_str){query.data, (uint32_t)query.size}, "kpq",
                        &(struct kp_term){.width = width}, &out);
        char *at = (char *)(uintptr_t)kp_buf_cstr(&out);
        next_line(&at);
        char *line = next_line(&at), *caret = next_line(&at);
        assert_in_range(columns_of(line), width - 6, width - 1);
        char *here = strstr(line, "HERE");
        assert_non_null(here);
        *here = '\0';
        assert_int_equal(columns_of(line), strspn(caret, " "));
    }
    kp_buf_deinit(&query);
    kp_buf_deinit(&out);
}

static void formats_have_names(void **state)
{
    (void)state;
    for (int i = 0; i < KP_FORMAT_COUNT; i++) {
        enum kp_format back;
        assert_true(kp_format_parse(kp_str_from(kp_format_name((enum kp_format)i)), &back));
        assert_int_equal(back, i);
    }
    enum kp_format none;
    assert_false(kp_format_parse(KP_STR("xml"), &none));
    char name[KP_RENDER_NAME_MAX];
    kp_render_name(KP_STR("  CAUSES OF txn 1"), name);
    assert_string_equal(name, "causes");
    kp_render_name(KP_STR("| !"), name);
    assert_string_equal(name, "rows");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv_quotes_as_rfc_4180),
        cmocka_unit_test(tsv_escapes_what_would_split_a_row),
        cmocka_unit_test(markdown_is_a_table_with_notes_below),
        cmocka_unit_test(chart_draws_to_the_scale_of_the_largest),
        cmocka_unit_test(trace_events_are_microseconds_from_the_first),
        cmocka_unit_test(ndjson_escapes_and_keeps_integers),
        cmocka_unit_test(line_protocol_escapes_tags_and_fields),
        cmocka_unit_test(table_aligns_and_disarms),
        cmocka_unit_test(json_is_one_document),
        cmocka_unit_test(tables_fit_the_terminal),
        cmocka_unit_test(long_tables_stream),
        cmocka_unit_test(timeline_draws_on_one_axis),
        cmocka_unit_test(drawings_fit_the_screen),
        cmocka_unit_test(timeline_needs_an_interval),
        cmocka_unit_test(a_reader_that_left_ends_the_work),
        cmocka_unit_test(a_broken_answer_says_so),
        cmocka_unit_test(errors_point_at_the_place),
        cmocka_unit_test(carets_know_wide_characters),
        cmocka_unit_test(formats_have_names),
    };
    setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
