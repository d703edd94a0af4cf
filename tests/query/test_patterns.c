/* SPDX-License-Identifier: Apache-2.0
 *
 * evaluate basket against counting everything: on small random tables each
 * combination of values of each choice of columns is counted by itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "query/query.h"

#define COLUMNS   4
#define ROWS_MAX  24
#define LINES_MAX 4096
#define LINE_MAX_ 64
#define ROUNDS    300

struct table {
    int cells[ROWS_MAX][COLUMNS]; /* -1 = null */
    int count;
};

struct lines {
    char text[LINES_MAX][LINE_MAX_];
    int count;
};

static struct lines expected, got;
static unsigned state;

static int below(int n)
{
    state = state * 1664525u + 1013904223u;
    return (int)((state >> 8) % (unsigned)n);
}

static struct table random_table(void)
{
    struct table table = {.count = 1 + below(ROWS_MAX)};
    int values = 1 + below(3);
    for (int r = 0; r < table.count; r++) {
        for (int c = 0; c < COLUMNS; c++)
            table.cells[r][c] = below(10) == 0 ? -1 : below(values + 1);
        if (below(2) == 0) /* columns that go together */
            table.cells[r][1] = table.cells[r][0];
    }
    return table;
}

static bool fits(const struct table *table, int row, const int *pattern)
{
    for (int c = 0; c < COLUMNS; c++)
        if (pattern[c] >= 0 && table->cells[row][c] != pattern[c])
            return false;
    return true;
}

static int count_rows(const struct table *table, const int *pattern)
{
    int count = 0;
    for (int r = 0; r < table->count; r++)
        count += fits(table, r, pattern);
    return count;
}

/* Does a further value hold for all rows of the pattern? */
static bool is_closed(const struct table *table, const int *pattern)
{
    for (int c = 0; c < COLUMNS; c++) {
        int first = -2;
        bool same = pattern[c] < 0;
        for (int r = 0; r < table->count && same; r++) {
            if (!fits(table, r, pattern))
                continue;
            first = first == -2 ? table->cells[r][c] : first;
            same = table->cells[r][c] == first && first >= 0;
        }
        if (same && first >= 0)
            return false;
    }
    return true;
}

static void add_line(struct lines *lines, int count, const int *pattern)
{
    assert_true(lines->count < LINES_MAX);
    char *text = lines->text[lines->count++];
    int used = snprintf(text, LINE_MAX_, "%d:", count);
    for (int c = 0; c < COLUMNS; c++)
        used += snprintf(text + used, LINE_MAX_ - (size_t)used, " %d", pattern[c]);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Sorted, each line once. */
static void settle(struct lines *lines)
{
    int kept = 0;
    qsort(lines->text, (size_t)lines->count, LINE_MAX_, by_text);
    for (int i = 0; i < lines->count; i++)
        if (kept == 0 || strcmp(lines->text[i], lines->text[kept - 1]) != 0)
            memmove(lines->text[kept++], lines->text[i], LINE_MAX_);
    lines->count = kept;
}

/* Every choice of columns of every row is a pattern to count. */
static void model(const struct table *table, int percent)
{
    expected.count = 0;
    for (int r = 0; r < table->count; r++)
        for (int mask = 1; mask < 1 << COLUMNS; mask++) {
            int pattern[COLUMNS];
            bool whole = true;
            for (int c = 0; c < COLUMNS; c++) {
                pattern[c] = (mask >> c & 1) != 0 ? table->cells[r][c] : -1;
                whole &= (mask >> c & 1) == 0 || pattern[c] >= 0;
            }
            int count = whole ? count_rows(table, pattern) : 0;
            if (whole && count * 100 >= percent * table->count && is_closed(table, pattern))
                add_line(&expected, count, pattern);
        }
    settle(&expected);
}

static void add_table(const struct table *table, struct kp_buf *out)
{
    kp_buf_text(out, "datatable(a:long, b:long, c:long, d:long)[");
    for (int r = 0; r < table->count; r++)
        for (int c = 0; c < COLUMNS; c++) {
            kp_buf_text(out, r + c > 0 ? ", " : "");
            if (table->cells[r][c] < 0)
                kp_buf_text(out, "long(null)");
            else
                kp_buf_printf(out, "%d", table->cells[r][c]);
        }
    kp_buf_char(out, ']');
}

static void ask(const char *text)
{
    struct kp_error err = {0};
    struct kp_query *query = NULL;
    struct kp_query_opts opts = {0};
    const struct kp_batch *batch;
    kp_status status = kp_query_open(NULL, kp_str_from(text), &opts, &query, &err);
    if (status != KP_OK)
        fail_msg("%s\n%s", text, err.text);
    got.count = 0;
    while ((status = kp_query_next(query, &batch, &err)) == KP_OK)
        for (uint32_t i = 0; i < kp_batch_count(batch); i++) {
            uint32_t row = kp_batch_row(batch, i);
            int pattern[COLUMNS];
            for (uint32_t c = 0; c < COLUMNS; c++)
                pattern[c] =
                    kp_vec_null(&batch->cols[3 + c], row) ? -1 : (int)batch->cols[3 + c].i64[row];
            add_line(&got, (int)batch->cols[1].i64[row], pattern);
        }
    assert_int_equal(status, KP_END);
    kp_query_close(query);
    int told = got.count;
    settle(&got);
    assert_int_equal(told, got.count); /* none is told twice */
}

static void baskets_are_all_closed_patterns(void **test)
{
    (void)test;
    struct kp_buf text = {0};
    for (int round = 0; round < ROUNDS; round++) {
        state = (unsigned)round * 2654435761u + 11;
        struct table table = random_table();
        int percent = 5 + below(60);
        kp_buf_clear(&text);
        add_table(&table, &text);
        kp_buf_printf(&text, " | evaluate basket(0.%02d)", percent);
        model(&table, percent);
        ask(kp_buf_cstr(&text));
        bool same = got.count == expected.count;
        for (int i = 0; i < got.count && same; i++)
            same = strcmp(got.text[i], expected.text[i]) == 0;
        if (!same)
            fail_msg("%s: %d patterns, not %d", kp_buf_cstr(&text), got.count, expected.count);
    }
    kp_buf_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(baskets_are_all_closed_patterns)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
