/* SPDX-License-Identifier: Apache-2.0
 *
 * The operators on intervals against a model that looks at every nanosecond by itself: random
 * tables of a few short intervals, some empty, some backward, some with nulls, with two keys. The
 * model knows nothing of sorting or merging: it asks, for each row and each nanosecond, who is
 * there.
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

#define ROWS_MAX 9
#define SPAN_NS  24 /* instants 0 .. SPAN_NS */
#define MARGIN   2
#define ROUNDS   1500

struct row {
    int key, from, to; /* from < 0: null; to < from: no interval */
};

struct table {
    struct row rows[ROWS_MAX];
    int count;
};

static unsigned state;

static int below(int n)
{
    state = state * 1664525u + 1013904223u;
    return (int)((state >> 8) % (unsigned)n);
}

static struct table random_table(void)
{
    struct table table = {.count = below(ROWS_MAX + 1)};
    for (int i = 0; i < table.count; i++) {
        int from = below(SPAN_NS), length = below(4) == 0 ? below(SPAN_NS) : below(6);
        table.rows[i] =
            (struct row){below(2), from, from + length > SPAN_NS ? SPAN_NS : from + length};
        if (below(12) == 0)
            table.rows[i].from = -1;
        if (below(12) == 0)
            table.rows[i].to = from - 1;
    }
    return table;
}

static bool is_interval(const struct row *row)
{
    return row->from >= 0 && row->to >= row->from;
}

static bool holds(const struct row *row, int key, int t)
{
    return is_interval(row) && row->key == key && row->from <= t && t < row->to;
}

static bool covered(const struct table *table, int key, int t)
{
    for (int i = 0; i < table->count; i++)
        if (holds(&table->rows[i], key, t))
            return true;
    return false;
}

/* --- the model: an answer as lines of text --- */

/* Runs of the nanoseconds of a row that are covered, or not covered, by the other table. */
static void model_pieces(const struct table *a, const struct table *b, bool inside,
                         struct kp_buf *out)
{
    for (int i = 0; i < a->count; i++) {
        const struct row *row = &a->rows[i];
        if (!is_interval(row))
            continue;
        if (row->from == row->to && covered(b, row->key, row->from) == inside)
            kp_buf_printf(out, "%d %d %d\n", i, row->from, row->to);
        for (int t = row->from, begin = -1; t <= row->to; t++) {
            bool part = t < row->to && covered(b, row->key, t) == inside;
            if (part && begin < 0)
                begin = t;
            if (!part && begin >= 0)
                kp_buf_printf(out, "%d %d %d\n", i, begin, t);
            if (!part)
                begin = -1;
        }
    }
}

static void model_intersect(const struct table *a, const struct table *b, struct kp_buf *out)
{
    model_pieces(a, b, true, out);
}

static void model_subtract(const struct table *a, const struct table *b, struct kp_buf *out)
{
    model_pieces(a, b, false, out);
}

/* Is an instant of one at most MARGIN away from an instant of the other? Ends count here. */
static bool near(const struct row *a, const struct row *b)
{
    for (int t = a->from; t <= a->to; t++)
        for (int u = b->from; u <= b->to; u++)
            if (abs(t - u) <= MARGIN)
                return true;
    return false;
}

static void model_within(const struct table *a, const struct table *b, struct kp_buf *out)
{
    for (int i = 0; i < a->count; i++) {
        bool found = false;
        for (int k = 0; k < b->count && is_interval(&a->rows[i]); k++)
            found |= is_interval(&b->rows[k]) && a->rows[i].key == b->rows[k].key &&
                     near(&a->rows[i], &b->rows[k]);
        if (found)
            kp_buf_printf(out, "%d %d %d\n", i, a->rows[i].from, a->rows[i].to);
    }
}

/* Keys in order of their first interval. */
static int keys_of(const struct table *table, int keys[2])
{
    int count = 0;
    for (int i = 0; i < table->count; i++)
        if (is_interval(&table->rows[i]) && (count == 0 || keys[0] != table->rows[i].key) &&
            count < 2)
            keys[count++] = table->rows[i].key;
    return count;
}

static void model_flatten(const struct table *a, const struct table *b, struct kp_buf *out)
{
    int keys[2], count = keys_of(a, keys);
    (void)b;
    for (int k = 0; k < count; k++)
        for (int t = 0, begin = -1; t <= SPAN_NS; t++) {
            bool part = covered(a, keys[k], t);
            if (part && begin < 0)
                begin = t;
            if (!part && begin >= 0)
                kp_buf_printf(out, "%d %d %d\n", keys[k], begin, t);
            if (!part)
                begin = -1;
        }
}

static void model_coverage(const struct table *a, const struct table *b, struct kp_buf *out)
{
    int keys[2], count = keys_of(a, keys);
    (void)b;
    for (int k = 0; k < count; k++) {
        int sum = 0;
        for (int t = 0; t < SPAN_NS; t++)
            sum += covered(a, keys[k], t);
        kp_buf_printf(out, "%d %d\n", keys[k], sum);
    }
}

/* The row of a key that began last at t: of those the shorter one, of those the later. */
static int owner(const struct table *table, int key, int t)
{
    int found = -1;
    for (int i = 0; i < table->count; i++) {
        const struct row *row = &table->rows[i], *best = &table->rows[found < 0 ? i : found];
        if (holds(row, key, t) &&
            (row->from > best->from || (row->from == best->from && row->to <= best->to)))
            found = i;
    }
    return found;
}

static void model_self(const struct table *a, const struct table *b, struct kp_buf *out)
{
    (void)b;
    for (int i = 0; i < a->count; i++) {
        int sum = 0;
        for (int t = 0; t < SPAN_NS; t++)
            sum += owner(a, a->rows[i].key, t) == i;
        if (is_interval(&a->rows[i]))
            kp_buf_printf(out, "%d %d\n", i, sum);
    }
}

/* --- the engine --- */

static void add_table(const char *name, const struct table *table, struct kp_buf *out)
{
    kp_buf_printf(out, "let %s = datatable(id:long, k:long, a:long, b:long)[", name);
    for (int i = 0; i < table->count; i++) {
        const struct row *row = &table->rows[i];
        kp_buf_printf(out, "%s%d, %d, ", i > 0 ? ", " : "", i, row->key);
        kp_buf_printf(out, row->from < 0 ? "long(null), %d" : "%d, %d",
                      row->from < 0 ? row->to : row->from, row->to);
    }
    kp_buf_text(out, "] | project id, k, start = datetime(1970-01-01) + a * 1ns, "
                     "ts = datetime(1970-01-01) + b * 1ns;\n");
}

static double number(const struct kp_vec *vec, uint32_t row)
{
    return vec->type == KP_TYPE_F64 ? vec->f64[row] : (double)vec->i64[row];
}

static void ask(const char *text, struct kp_buf *out)
{
    struct kp_error err = {0};
    struct kp_query *query = NULL;
    struct kp_query_opts opts = {0};
    const struct kp_batch *batch;
    kp_status status = kp_query_open(NULL, kp_str_from(text), &opts, &query, &err);
    if (status != KP_OK)
        fail_msg("%s\n%s", text, err.text);
    while ((status = kp_query_next(query, &batch, &err)) == KP_OK)
        for (uint32_t i = 0; i < kp_batch_count(batch); i++)
            for (uint32_t c = 0; c < batch->cols_count; c++)
                kp_buf_printf(out, "%.0f%c", number(&batch->cols[c], kp_batch_row(batch, i)),
                              c + 1 < batch->cols_count ? ' ' : '\n');
    assert_int_equal(status, KP_END);
    kp_query_close(query);
}

#define TIMES "f = (start - datetime(1970-01-01)) / 1ns, t = (ts - datetime(1970-01-01)) / 1ns"

static const struct {
    const char *pipe;
    void (*model)(const struct table *a, const struct table *b, struct kp_buf *out);
} operators[] = {
    {"A | intersect (B) on k | project id, " TIMES, model_intersect},
    {"A | subtract (B) on k | project id, " TIMES, model_subtract},
    {"A | within 2ns of (B) on k | project id, " TIMES, model_within},
    {"A | flatten by k | where dur > 0ns | project k, " TIMES, model_flatten},
    {"A | coverage by k | project k, covered / 1ns", model_coverage},
    {"A | self_time by k | project id, self_time / 1ns", model_self},
};

static void operators_are_the_model(void **test)
{
    (void)test;
    struct kp_buf text = {0}, expected = {0}, got = {0};
    for (int round = 0; round < ROUNDS; round++) {
        state = (unsigned)round * 2654435761u + 7;
        struct table a = random_table(), b = random_table();
        for (size_t i = 0; i < KP_ARRAY_LEN(operators); i++) {
            kp_buf_clear(&text);
            kp_buf_clear(&expected);
            kp_buf_clear(&got);
            add_table("A", &a, &text);
            add_table("B", &b, &text);
            kp_buf_text(&text, operators[i].pipe);
            operators[i].model(&a, &b, &expected);
            ask(kp_buf_cstr(&text), &got);
            if (strcmp(kp_buf_cstr(&got), kp_buf_cstr(&expected)) != 0)
                fail_msg("%s\nexpected:\n%s\ngot:\n%s", kp_buf_cstr(&text), kp_buf_cstr(&expected),
                         kp_buf_cstr(&got));
        }
    }
    kp_buf_deinit(&text);
    kp_buf_deinit(&expected);
    kp_buf_deinit(&got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(operators_are_the_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
