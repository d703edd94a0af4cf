/* SPDX-License-Identifier: Apache-2.0
 *
 * Files of OTLP JSON lines: good and bad lines, lines across read chunks, one printed document.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>

#include "fake_store.h"
#include "ingest/ingest.h"

static struct kp_store *store;
static char path[256];
static FILE *file;

static int set_up(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(path, sizeof(path), "%s/kp-import-XXXXXX", tmp != NULL ? tmp : "/tmp");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    file = fdopen(fd, "w");
    assert_non_null(file);
    store = fake_open();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_close(store);
    return unlink(path);
}

static void line(unsigned number, size_t padding, const char *end)
{
    fprintf(file,
            "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"traceId\":\"%032x\",\"spanId\":"
            "\"%016x\",\"startTimeUnixNano\":\"1\",\"endTimeUnixNano\":\"2\",\"name\":\"%0*u\"}]}]"
            "}]}%s",
            number, number, (int)padding, number, end);
}

struct seen {
    uint64_t done, total, calls;
};

static void progress(void *ctx, uint64_t done, uint64_t total)
{
    struct seen *seen = ctx;
    assert_true(done >= seen->done);
    *seen = (struct seen){done, total, seen->calls + 1};
}

static kp_status run(const struct kp_span_opts *opts, struct kp_otlp_result *out,
                     struct kp_error *err, struct seen *seen)
{
    memset(seen, 0, sizeof(*seen));
    memset(err, 0, sizeof(*err));
    memset(out, 0, sizeof(*out));
    fclose(file);
    return kp_import_otlp_lines(store, opts, path, progress, seen, out, err);
}

static void lines_are_stored(void **state)
{
    (void)state;
    struct kp_otlp_result result;
    struct kp_error err;
    struct seen seen;
    for (unsigned i = 1; i <= 3000; i++)
        line(i, i % 997, i % 5 == 0 ? "\r\n" : i % 7 == 0 ? "\n\n" : "\n");
    line(3001, 300000, ""); /* longer than a read, and no newline at the end */
    assert_int_equal(run(NULL, &result, &err, &seen), KP_OK);
    assert_int_equal(result.spans, 3001);
    assert_int_equal(result.rejected, 0);
    assert_int_equal(result.ticket, store->ticket);
    assert_int_equal(seen.done, seen.total);
    assert_true(seen.calls > 3);
    assert_int_equal(strlen(fake_str(fake_row(store, KP_S_SPANS, 3000), "name")), 300000);
}

static void bad_lines_are_counted_and_named(void **state)
{
    (void)state;
    struct kp_otlp_result result;
    struct kp_error err;
    struct seen seen;
    line(1, 1, "\n");
    fputs("not json\n", file);
    line(2, 1, "\n");
    fputs("{\"resourceSpans\":[{\"scop", file); /* cut off */
    assert_int_equal(run(NULL, &result, &err, &seen), KP_OK);
    assert_int_equal(result.spans, 2);
    assert_int_equal(result.rejected, 2);
    assert_non_null(strstr(result.message, "line 2"));
}

static void one_printed_document_is_read(void **state)
{
    (void)state;
    struct kp_otlp_result result;
    struct kp_error err;
    struct seen seen;
    fputs("{\n  \"resourceSpans\": [\n", file);
    fputs("{\"scopeSpans\":[{\"spans\":[\n{\"traceId\":\"5B8EFFF798038103D269B633813FC60C\",\n"
          "\"spanId\":\"EEE19B7EC3C1B174\"}]}]}\n]\n}\n",
          file);
    assert_int_equal(run(NULL, &result, &err, &seen), KP_OK);
    assert_int_equal(result.spans, 1);
    assert_int_equal(result.rejected, 0);
    assert_string_equal(result.message, "");
}

static void what_is_no_such_file_is_told(void **state)
{
    (void)state;
    struct kp_otlp_result result;
    struct kp_error err;
    struct seen seen;
    fputs("hello\nworld\n", file);
    assert_int_equal(run(NULL, &result, &err, &seen), KP_INVALID);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(kp_import_otlp_lines(store, NULL, "/nonexistent/x", NULL, NULL, &result, &err),
                     KP_NOT_FOUND);
    assert_int_equal(kp_import_otlp_lines(store, NULL, "/tmp", NULL, NULL, &result, &err), KP_IO);
}

static void an_empty_file_is_fine(void **state)
{
    (void)state;
    struct kp_otlp_result result;
    struct kp_error err;
    struct seen seen;
    assert_int_equal(run(NULL, &result, &err, &seen), KP_OK);
    assert_int_equal(result.spans, 0);
}

static void a_line_may_be_too_long(void **state)
{
    (void)state;
    struct kp_span_opts opts = {.body_bytes_max = 1000};
    struct kp_otlp_result result;
    struct kp_error err;
    struct seen seen;
    line(1, 1, "\n");
    line(2, 600000, "\n");
    assert_int_equal(run(&opts, &result, &err, &seen), KP_LIMIT);
    assert_non_null(strstr(err.text, "line 2"));
    assert_int_equal(result.spans, 1);
}

static void a_busy_store_is_waited_for(void **state)
{
    (void)state;
    struct kp_otlp_result result;
    struct kp_error err;
    struct seen seen;
    line(1, 1, "\n");
    line(2, 1, "\n");
    store->fail = KP_LIMIT;
    store->fail_count = 3;
    assert_int_equal(run(NULL, &result, &err, &seen), KP_OK);
    assert_int_equal(result.spans, 2);
    assert_int_equal(result.duplicates, 0);
}

static void a_broken_store_ends_it(void **state)
{
    (void)state;
    struct kp_otlp_result result;
    struct kp_error err;
    struct seen seen;
    line(1, 1, "\n");
    store->fail = KP_NO_SPACE;
    store->fail_count = 1;
    assert_int_equal(run(NULL, &result, &err, &seen), KP_NO_SPACE);
    assert_non_null(strstr(err.text, "line 1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lines_are_stored, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_lines_are_counted_and_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_printed_document_is_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_such_file_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_empty_file_is_fine, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_line_may_be_too_long, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_busy_store_is_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_broken_store_ends_it, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
