/* SPDX-License-Identifier: Apache-2.0
 *
 * Queries with their answers as text: the records of tests/query/ *.test and every example of
 * docs/language.md, on the sample recording. `test_records QUERY` prints the answer of one query.
 *
 * A record is query lines, a line `----`, and the answer up to a blank line; lines that begin with
 * # before a query are remarks. An example is a ```kql fence followed by a ```text fence.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "query/plan.h"
#include "query/query.h"
#include "render/render.h"
#include "sample.h"

static struct world world;

static bool write_text(void *ctx, const char *text, size_t size)
{
    kp_buf_add(ctx, text, size);
    return true;
}

static void add_error(struct kp_buf *out, const struct kp_error *err)
{
    if (err->line != 0)
        kp_buf_printf(out, "error at %u:%u+%u: %s\n", err->line, err->column, err->width,
                      err->text);
    else
        kp_buf_printf(out, "error: %s\n", err->text);
    if (err->hint[0] != '\0')
        kp_buf_printf(out, "hint: %s\n", err->hint);
}

static kp_status render(struct kp_query *query, struct kp_buf *out, struct kp_error *err)
{
    struct kp_term term = {0};
    struct kp_render *rendering = NULL;
    const struct kp_batch *batch;
    const struct kp_str *notes;
    kp_status status = kp_render_open(KP_FORMAT_TABLE, kp_query_schema(query), "q", &term,
                                      write_text, out, &rendering);
    assert_int_equal(status, KP_OK);
    while ((status = kp_query_next(query, &batch, err)) == KP_OK)
        assert_int_equal(kp_render_batch(rendering, batch), KP_OK);
    if (status == KP_END)
        assert_int_equal(kp_render_end(rendering, NULL, 0), KP_OK);
    kp_render_close(rendering);
    uint32_t count = kp_query_notes(query, &notes);
    for (uint32_t i = 0; i < count; i++)
        kp_buf_printf(out, "note: %.*s\n", (int)notes[i].len, notes[i].ptr);
    return status;
}

/* The answer of a query as text, blanks at line ends removed. */
static void answer(struct kp_str text, struct kp_buf *out)
{
    struct kp_buf raw = {0};
    struct kp_error err = {0};
    struct kp_query *query = NULL;
    kp_status status = kp_query_open(world.snapshot, text, NULL, &query, &err);
    if (status == KP_OK)
        status = render(query, &raw, &err);
    if (status != KP_END)
        add_error(&raw, &err);
    if (query != NULL)
        kp_query_close(query);
    const char *at = kp_buf_cstr(&raw);
    while (*at != '\0') {
        size_t line = strcspn(at, "\n"), kept = line;
        while (kept > 0 && at[kept - 1] == ' ')
            kept--;
        kp_buf_add(out, at, kept);
        kp_buf_char(out, '\n');
        at += line + (at[line] == '\n');
    }
    kp_buf_deinit(&raw);
}

static void check(const char *file, unsigned line, struct kp_buf *query, struct kp_buf *expected)
{
    struct kp_buf got = {0};
    struct kp_str text = {kp_buf_cstr(query), (uint32_t)query->size};
    answer(text, &got);
    if (strcmp(kp_buf_cstr(&got), kp_buf_cstr(expected)) != 0)
        fail_msg("%s:%u\n%s\n--- expected\n%s--- got\n%s", file, line, text.ptr,
                 kp_buf_cstr(expected), kp_buf_cstr(&got));
    kp_buf_deinit(&got);
    kp_buf_clear(query);
    kp_buf_clear(expected);
}

static unsigned run_records(const char *path)
{
    char line[4096];
    unsigned number = 0, records = 0;
    struct kp_buf query = {0}, expected = {0};
    bool in_answer = false;
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        number++;
        bool blank = line[0] == '\n', rule = strcmp(line, "----\n") == 0;
        if (blank && in_answer) {
            check(path, number, &query, &expected);
            records++;
            in_answer = false;
        } else if (rule) {
            in_answer = true;
        } else if (in_answer) {
            kp_buf_text(&expected, line);
        } else if (!blank && !(line[0] == '#' && query.size == 0)) {
            kp_buf_text(&query, line);
        }
    }
    if (in_answer) {
        check(path, number, &query, &expected);
        records++;
    }
    fclose(file);
    kp_buf_deinit(&query);
    kp_buf_deinit(&expected);
    return records;
}

static void records_answer_as_written(void **state)
{
    (void)state;
    glob_t found;
    assert_int_equal(glob("tests/query/*.test", 0, NULL, &found), 0);
    unsigned records = 0;
    for (size_t i = 0; i < found.gl_pathc; i++)
        records += run_records(found.gl_pathv[i]);
    globfree(&found);
    print_message("%u records\n", records);
    assert_true(records > 40);
}

static void examples_answer_as_documented(void **state)
{
    (void)state;
    static const char path[] = "docs/language.md";
    char line[4096];
    unsigned number = 0, examples = 0;
    enum { PROSE, QUERY, BETWEEN, ANSWER } at = PROSE;
    struct kp_buf query = {0}, expected = {0};
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        number++;
        bool fence = strncmp(line, "```", 3) == 0;
        if (at == PROSE && strcmp(line, "```kql\n") == 0) {
            at = QUERY;
        } else if (at == QUERY && fence) {
            at = BETWEEN;
        } else if (at == BETWEEN && strcmp(line, "```text\n") == 0) {
            at = ANSWER;
        } else if (at == BETWEEN && line[0] != '\n') {
            fail_msg("%s:%u: an example has no answer", path, number);
        } else if (at == ANSWER && fence) {
            check(path, number, &query, &expected);
            examples++;
            at = PROSE;
        } else if (at == QUERY || at == ANSWER) {
            kp_buf_text(at == QUERY ? &query : &expected, line);
        }
    }
    fclose(file);
    assert_int_equal(at, PROSE);
    kp_buf_deinit(&query);
    kp_buf_deinit(&expected);
    print_message("%u examples\n", examples);
    assert_true(examples > 30);
}

/* --- docs/functions.md: the tables of the engine as a page --- */

static const char *result_name(char letter)
{
    return letter == 'T' ? "as given" : kp_type_name(kpi_letter_type(letter));
}

static bool is_word(const char *name)
{
    return (name[0] >= 'a' && name[0] <= 'z') && strchr(name, ' ') == NULL;
}

/* All overloads of a name on one line. */
static void add_function(const struct kpi_func *func, uint32_t first, struct kp_buf *out)
{
    const struct kpi_func *other;
    kp_buf_printf(out, "| `%s` | ", func->name);
    for (uint32_t i = first, shown = 0; (other = kpi_func_at(i)) != NULL; i++) {
        if (strcmp(other->name, func->name) != 0)
            continue;
        kp_buf_text(out, shown++ > 0 ? "; " : "");
        kpi_letters_text(other->args, out);
    }
    kp_buf_printf(out, " | %s | %s |\n", result_name(func->result), func->doc);
}

static void add_aggregate(const struct kpi_aggregate_func *func, uint32_t first, struct kp_buf *out)
{
    const struct kpi_aggregate_func *other;
    kp_buf_printf(out, "| `%s` | ", func->name);
    for (uint32_t i = first, shown = 0; (other = kpi_aggregate_at(i)) != NULL; i++) {
        if (strcmp(other->name, func->name) != 0)
            continue;
        kp_buf_text(out, shown++ > 0 ? "; " : "");
        kpi_letters_text(other->args, out);
    }
    kp_buf_printf(out, " | %s | %s |\n", result_name(func->result), func->doc);
}

static void write_functions(struct kp_buf *out)
{
    const struct kpi_func *func;
    const struct kpi_aggregate_func *aggregate;
    kp_buf_text(out, "# Functions\n\nMade from the tables of the engine; a test keeps this page as "
                     "they are. docs/language.md shows them at work.\n\n## Of values\n\n"
                     "| name | arguments | gives | meaning |\n|---|---|---|---|\n");
    for (uint32_t i = 0; (func = kpi_func_at(i)) != NULL; i++)
        if (func->doc != NULL && is_word(func->name))
            add_function(func, i, out);
    kp_buf_text(out, "\n## Of groups\n\nEach has a form with a condition behind its arguments: "
                     "`sumif`, `make_list_if`.\n\n"
                     "| name | arguments | gives | meaning |\n|---|---|---|---|\n");
    for (uint32_t i = 0; (aggregate = kpi_aggregate_at(i)) != NULL; i++)
        if (aggregate->doc != NULL)
            add_aggregate(aggregate, i, out);
}

/* Every word has an example, and it runs. */
static void examples_of_words_run(void **state)
{
    (void)state;
    struct kp_buf wrong = {0};
    for (int place = KPI_WORD_START; place <= KPI_WORD_OPERATOR; place++) {
        const char *doc, *name;
        for (uint32_t i = 0; (name = kpi_word_name(place, i, &doc)) != NULL; i++) {
            const char *example = kp_query_example(kp_str_from(name));
            if (example == NULL || strstr(example, name) == NULL) {
                kp_buf_printf(&wrong, "no example of %s\n", name);
                continue;
            }
            struct kp_buf got = {0};
            answer(kp_str_from(example), &got);
            if (strncmp(kp_buf_cstr(&got), "error", 5) == 0 ||
                strstr(kp_buf_cstr(&got), "\nerror") != NULL)
                kp_buf_printf(&wrong, "%s\n%s", example, kp_buf_cstr(&got));
            kp_buf_deinit(&got);
        }
    }
    assert_string_equal(kp_buf_cstr(&wrong), "");
    kp_buf_deinit(&wrong);
}

static void functions_page_is_current(void **state)
{
    (void)state;
    struct kp_buf wanted = {0}, page = {0};
    char line[4096];
    FILE *file = fopen("docs/functions.md", "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL)
        kp_buf_text(&page, line);
    fclose(file);
    write_functions(&wanted);
    if (strcmp(kp_buf_cstr(&page), kp_buf_cstr(&wanted)) != 0)
        fail_msg("docs/functions.md is not as the engine: test_records --functions writes it");
    kp_buf_deinit(&wanted);
    kp_buf_deinit(&page);
}

/* No name is both refused and there. */
static void refused_names_are_absent(void **state)
{
    (void)state;
    static const char *const refused[] = {
#define REFUSED_FUNCTION(name, instead) name,
#include "query/refused.def"
    };
    const struct kpi_func *func;
    for (size_t r = 0; r < KP_ARRAY_LEN(refused); r++) {
        for (uint32_t i = 0; (func = kpi_func_at(i)) != NULL; i++)
            if (strcmp(func->name, refused[r]) == 0)
                fail_msg("%s is refused and works", refused[r]);
        if (kpi_aggregate_known(kp_str_from(refused[r])))
            fail_msg("%s is refused and works", refused[r]);
    }
}

/* Every operator and verb stands in the manual. */
static void manual_is_complete(void **state)
{
    (void)state;
    static char manual[256 * 1024];
    FILE *file = fopen("docs/language.md", "re");
    assert_non_null(file);
    size_t size = fread(manual, 1, sizeof(manual) - 1, file);
    fclose(file);
    manual[size] = '\0';
    const char *name, *doc;
    for (enum kpi_word_place place = KPI_WORD_START; place <= KPI_WORD_VERB; place++)
        for (uint32_t i = 0; (name = kpi_word_name(place, i, &doc)) != NULL; i++)
            if (strstr(manual, name) == NULL)
                fail_msg("%s is not in docs/language.md", name);
}

static int open_world(void **state)
{
    (void)state;
    sample_open(&world);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    world_close(&world);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_answer_as_written),
        cmocka_unit_test(examples_answer_as_documented),
        cmocka_unit_test(manual_is_complete),
        cmocka_unit_test(examples_of_words_run),
        cmocka_unit_test(functions_page_is_current),
        cmocka_unit_test(refused_names_are_absent),
    };
    if (argc < 2)
        return cmocka_run_group_tests(tests, open_world, close_world);
    struct kp_buf out = {0};
    if (strcmp(argv[1], "--functions") == 0) {
        write_functions(&out);
        fputs(kp_buf_cstr(&out), stdout);
        kp_buf_deinit(&out);
        return 0;
    }
    sample_open(&world);
    answer(kp_str_from(argv[1]), &out);
    fputs(kp_buf_cstr(&out), stdout);
    kp_buf_deinit(&out);
    world_close(&world);
    return 0;
}
