/* SPDX-License-Identifier: Apache-2.0
 *
 * The documented examples of Kusto against this engine: each passes, differs on purpose, or is
 * refused, as tests/query/kql_docs.expect says by name; anything else fails, in either direction.
 * Every documented query parses or is refused by name.
 *
 * `test_kql_docs --list` prints the list as it is now, `--queries` the queries that do not parse,
 * `test_kql_docs NAME` one example.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#include "query/parse.h"
#include "query/query.h"

#define LINE_BYTES_MAX (256 * 1024)
#define CELL_BYTES_MAX 4096
#define NAME_BYTES_MAX 120
#define ROWS_MAX       1000

enum outcome { PASSED, DIFFERS, REFUSED, FAILED };
static const char *const outcome_names[] = {"passed", "differs", "refused", "failed"};

/* --- comparing --- */

static bool same_json(const char *expected, struct kp_str got)
{
    if (got.len == 0)
        return expected[0] == '\0' || strcmp(expected, "null") == 0;
    json_t *a = json_loads(expected, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
    json_t *b = json_loadb(got.ptr, got.len, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
    bool same = a != NULL && b != NULL && json_equal(a, b) != 0;
    if (!same && b != NULL && json_is_string(b))
        same = strcmp(json_string_value(b), expected) == 0;
    json_decref(a);
    json_decref(b);
    return same || (strlen(expected) == got.len && memcmp(expected, got.ptr, got.len) == 0);
}

static bool same_number(const char *expected, double got)
{
    char *end;
    double wanted = strtod(expected, &end);
    if (end == expected)
        return false;
    return wanted == got || (isnan(wanted) && isnan(got)) ||
           fabs(wanted - got) <= 1e-9 * fmax(1, fabs(wanted));
}

/* The pages write large decimals with commas. */
static bool same_decimal(const char *expected, kp_dec got)
{
    char text[CELL_BYTES_MAX];
    size_t used = 0;
    kp_dec wanted;
    for (; *expected != '\0'; expected++)
        if (*expected != ',')
            text[used++] = *expected;
    text[used] = '\0';
    return kp_dec_parse(kp_str_from(text), &wanted) && kp_dec_compare(wanted, got) == 0;
}

static bool same_cell(const char *expected, const struct kp_vec *vec, uint32_t row)
{
    struct kp_str text = kp_str_from(expected);
    int64_t value;
    if (kp_vec_null(vec, row))
        return text.len == 0 || strcmp(expected, "null") == 0;
    switch (vec->type) {
    case KP_TYPE_BOOL:
        return strcasecmp(expected, vec->i64[row] != 0 ? "true" : "false") == 0 ||
               strcmp(expected, vec->i64[row] != 0 ? "1" : "0") == 0;
    case KP_TYPE_I64:
        return same_number(expected, (double)vec->i64[row]);
    case KP_TYPE_F64:
        return same_number(expected, vec->f64[row]);
    case KP_TYPE_DEC:
        return same_decimal(expected, vec->i128[row]);
    case KP_TYPE_TIME:
        return kp_time_parse(text, &value) && value == vec->i64[row];
    case KP_TYPE_DUR:
        return kpi_literal_timespan(text, &value) && value == vec->i64[row];
    case KP_TYPE_DYN:
        return same_json(expected, kp_vec_str(vec, row));
    default:
        return kp_str_equal(text, kp_vec_str(vec, row));
    }
}

/* A documented text without the backquotes and HTML of its page. */
static void plain(const char *text, char *out)
{
    size_t used = 0;
    while (text != NULL && *text != '\0' && used + 1 < CELL_BYTES_MAX) {
        if (strncmp(text, "<br>", 4) == 0)
            text += 4;
        else if (strncmp(text, "&nbsp;", 6) == 0)
            text += 6;
        else if (*text == '`')
            text++;
        else
            out[used++] = *text++;
    }
    out[used] = '\0';
}

/* Cells beyond a documented row are empty: the pages leave trailing ones out. */
static bool same_row(const json_t *expected, const struct kp_batch *batch, uint32_t row)
{
    if (json_array_size(expected) > batch->cols_count)
        return false;
    for (uint32_t c = 0; c < batch->cols_count; c++) {
        char cell[CELL_BYTES_MAX];
        plain(json_string_value(json_array_get(expected, c)), cell);
        if (!same_cell(cell, &batch->cols[c], row))
            return false;
    }
    return true;
}

/* Marks the expected row that this one is: tables have no order of their own. */
static bool take_row(const json_t *rows, bool *taken, const struct kp_batch *batch, uint32_t row)
{
    for (size_t i = 0; i < json_array_size(rows) && i < ROWS_MAX; i++) {
        if (taken[i] || !same_row(json_array_get(rows, i), batch, row))
            continue;
        taken[i] = true;
        return true;
    }
    return false;
}

static bool same_names(const json_t *columns, const struct kp_schema *schema)
{
    bool same = json_array_size(columns) == schema->count;
    for (uint32_t c = 0; same && c < schema->count; c++) {
        char name[CELL_BYTES_MAX];
        plain(json_string_value(json_array_get(columns, c)), name);
        same = kp_str_equal(kp_str_from(name), schema->fields[c].name);
    }
    return same;
}

/* --- running --- */

static enum outcome run_example(const json_t *example, struct kp_error *err)
{
    const char *text = json_string_value(json_object_get(example, "query"));
    const json_t *rows = json_object_get(example, "rows");
    struct kp_query *query = NULL;
    const struct kp_batch *batch;
    bool taken[ROWS_MAX] = {false};
    kp_status status = kp_query_open(NULL, kp_str_from(text), NULL, &query, err);
    if (status != KP_OK)
        return REFUSED;
    bool same = same_names(json_object_get(example, "columns"), kp_query_schema(query));
    size_t count = 0;
    while ((status = kp_query_next(query, &batch, err)) == KP_OK)
        for (uint32_t i = 0; i < kp_batch_count(batch); i++, count++)
            same = same && take_row(rows, taken, batch, kp_batch_row(batch, i));
    kp_query_close(query);
    if (status != KP_END)
        return FAILED;
    return same && count == json_array_size(rows) ? PASSED : DIFFERS;
}

/* page, or page-2 and so on for the further examples of a page. */
static void name_of(const json_t *example, char *last, unsigned *number, char *out)
{
    const char *page = json_string_value(json_object_get(example, "page"));
    *number = strcmp(page, last) == 0 ? *number + 1 : 1;
    snprintf(last, NAME_BYTES_MAX, "%s", page);
    if (*number == 1)
        snprintf(out, NAME_BYTES_MAX, "%s", page);
    else
        snprintf(out, NAME_BYTES_MAX, "%.100s-%u", page, *number);
}

static const char *shared_path(const char *name)
{
    static char path[512];
    const char *shared = getenv("KP_SHARED");
    snprintf(path, sizeof(path), "%s/data/kql/%s", shared == NULL ? "../shared" : shared, name);
    return path;
}

/* What the list says of an example: its outcome, or FAILED when it is not there. */
static enum outcome expected_outcome(const char *name)
{
    char line[400], listed[NAME_BYTES_MAX], word[40];
    enum outcome found = FAILED;
    FILE *file = fopen("tests/query/kql_docs.expect", "re");
    assert_non_null(file);
    while (found == FAILED && fgets(line, sizeof(line), file) != NULL) {
        if (line[0] == '#' || sscanf(line, "%119s %39s", listed, word) != 2 ||
            strcmp(listed, name) != 0)
            continue;
        for (enum outcome i = PASSED; i < FAILED; i++)
            if (strcmp(word, outcome_names[i]) == 0)
                found = i;
    }
    fclose(file);
    return found;
}

typedef void on_example(const char *name, enum outcome outcome, const json_t *example,
                        const struct kp_error *err, void *ctx);

static bool each_example(on_example *each, void *ctx)
{
    static char line[LINE_BYTES_MAX];
    char name[NAME_BYTES_MAX], last[NAME_BYTES_MAX] = "";
    unsigned number = 0;
    FILE *file = fopen(shared_path("docs-examples-a.jsonl"), "re");
    if (file == NULL)
        return false;
    while (fgets(line, sizeof(line), file) != NULL) {
        struct kp_error err = {0};
        json_t *example = json_loads(line, 0, NULL);
        assert_non_null(example);
        name_of(example, last, &number, name);
        each(name, run_example(example, &err), example, &err, ctx);
        json_decref(example);
    }
    fclose(file);
    return true;
}

/* --- tests --- */

struct tally {
    unsigned count[FAILED + 1], wrong;
};

static void check_example(const char *name, enum outcome outcome, const json_t *example,
                          const struct kp_error *err, void *ctx)
{
    struct tally *tally = ctx;
    enum outcome expected = expected_outcome(name);
    (void)example;
    tally->count[outcome]++;
    if (outcome == expected && outcome != FAILED)
        return;
    tally->wrong++;
    print_message("%s: %s, the list says %s: %s\n", name, outcome_names[outcome],
                  expected == FAILED ? "nothing" : outcome_names[expected], err->text);
}

static void examples_do_as_listed(void **state)
{
    (void)state;
    struct tally tally = {0};
    if (!each_example(check_example, &tally)) {
        print_message("skipped: %s is absent\n", shared_path("docs-examples-a.jsonl"));
        skip();
    }
    print_message("documented examples: %u passed, %u differ on purpose, %u refused\n",
                  tally.count[PASSED], tally.count[DIFFERS], tally.count[REFUSED]);
    assert_int_equal(tally.wrong, 0);
    assert_int_equal(tally.count[FAILED], 0);
}

/* docs/kusto.md has a row for each that differs or is refused: | `name` | outcome | why | */
static void the_page_gives_every_reason(void **state)
{
    (void)state;
    char line[400], name[NAME_BYTES_MAX], word[40], row[600];
    static char page[64 * 1024];
    unsigned missing = 0;
    FILE *file = fopen("docs/kusto.md", "re");
    assert_non_null(file);
    page[fread(page, 1, sizeof(page) - 1, file)] = '\0';
    fclose(file);
    file = fopen("tests/query/kql_docs.expect", "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        int used = 0;
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '#' || sscanf(line, "%119s %39s %n", name, word, &used) != 2 ||
            strcmp(word, outcome_names[PASSED]) == 0)
            continue;
        snprintf(row, sizeof(row), "| `%s` | %s | %s |\n", name, word, line + used);
        if (line[used] != '\0' && strstr(page, row) != NULL)
            continue;
        print_message("docs/kusto.md lacks %s", row);
        missing++;
    }
    fclose(file);
    assert_int_equal(missing, 0);
}

/* What becomes of one documented query, with its error. */
static enum outcome parse_query(const json_t *entry, struct kp_error *err)
{
    struct kp_arena arena;
    kp_arena_init(&arena, 64 * 1024 * 1024);
    struct kp_str text = kp_str_from(json_string_value(json_object_get(entry, "query")));
    struct kpi_ctx ctx = {.arena = &arena, .err = err, .text = kp_arena_str(&arena, text)};
    bool parsed = kpi_parse(&ctx) != NULL;
    enum outcome outcome = parsed ? PASSED : ctx.status == KP_UNSUPPORTED ? REFUSED : FAILED;
    kp_arena_deinit(&arena);
    return outcome;
}

typedef void on_query(const json_t *entry, enum outcome outcome, const struct kp_error *err,
                      void *ctx);

static bool each_query(on_query *each, void *ctx)
{
    static char line[LINE_BYTES_MAX];
    gzFile file = gzopen(shared_path("docs-queries-a.jsonl.gz"), "re");
    if (file == NULL)
        return false;
    while (gzgets(file, line, sizeof(line)) != NULL) {
        struct kp_error err = {0};
        json_t *entry = json_loads(line, 0, NULL);
        assert_non_null(entry);
        each(entry, parse_query(entry, &err), &err, ctx);
        json_decref(entry);
    }
    gzclose(file);
    return true;
}

static void check_query(const json_t *entry, enum outcome outcome, const struct kp_error *err,
                        void *ctx)
{
    struct tally *tally = ctx;
    tally->count[outcome]++;
    if (outcome == FAILED)
        print_message("%s\n%s\n", json_string_value(json_object_get(entry, "query")), err->text);
}

static void queries_parse_or_are_refused(void **state)
{
    (void)state;
    struct tally tally = {0};
    if (!each_query(check_query, &tally)) {
        print_message("skipped: %s is absent\n", shared_path("docs-queries-a.jsonl.gz"));
        skip();
    }
    print_message("documented queries: %u parse, %u refused by name, %u refused as syntax\n",
                  tally.count[PASSED], tally.count[REFUSED], tally.count[FAILED]);
    assert_true(tally.count[PASSED] > 0);
    assert_int_equal(tally.count[FAILED], 0);
}

static void list_query(const json_t *entry, enum outcome outcome, const struct kp_error *err,
                       void *ctx)
{
    (void)ctx;
    if (outcome != PASSED)
        printf("--- %s: %s\n%s\n", outcome_names[outcome], err->text,
               json_string_value(json_object_get(entry, "query")));
}

static void list_example(const char *name, enum outcome outcome, const json_t *example,
                         const struct kp_error *err, void *ctx)
{
    const char *only = ctx;
    if (only == NULL)
        printf("%s %s\n", name, outcome_names[outcome]);
    else if (strcmp(only, name) == 0)
        printf("%s\n%s\n%s: %s\n%s\n", name, json_string_value(json_object_get(example, "query")),
               outcome_names[outcome], err->text, json_dumps(json_object_get(example, "rows"), 0));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_do_as_listed),
        cmocka_unit_test(the_page_gives_every_reason),
        cmocka_unit_test(queries_parse_or_are_refused),
    };
    if (argc < 2)
        return cmocka_run_group_tests(tests, NULL, NULL);
    if (strcmp(argv[1], "--queries") == 0)
        return each_query(list_query, NULL) ? 0 : 1;
    return each_example(list_example, strcmp(argv[1], "--list") == 0 ? NULL : argv[1]) ? 0 : 1;
}
