/* SPDX-License-Identifier: Apache-2.0
 *
 * The JSON door against the rules of OTLP/HTTP: what is a request, what is a span, what is refused
 * and how it is said. Real documents of other projects are read when they are at hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <dirent.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "fake_store.h"
#include "ingest/ingest.h"

#define TRACE "\"traceId\":\"5B8EFFF798038103D269B633813FC60C\","
#define IDS   TRACE "\"spanId\":\"EEE19B7EC3C1B174\""
#define TIMES \
    "\"startTimeUnixNano\":\"1544712660000000000\",\"endTimeUnixNano\":\"1544712661000000000\""
#define SPANS(list)   "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[" list "]}]}]}"
#define SPAN(members) SPANS("{" IDS "," TIMES "," members "}")
#define ATTR(value)   SPAN("\"attributes\":[{\"key\":\"a\",\"value\":" value "}]")

static struct kp_store *store;

static int set_up(void **state)
{
    (void)state;
    store = fake_open();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_close(store);
    return 0;
}

static kp_status post(const char *body, struct kp_otlp_result *out, struct kp_error *err)
{
    memset(out, 0, sizeof(*out));
    return kp_otlp_json(store, NULL, kp_str_from(body), out, err);
}

/* What the receiver must answer to what. */
static const struct {
    const char *what, *body;
    kp_status status;
    uint64_t spans, rejected, warnings;
} answers[] = {
    {"empty request", "{}", KP_OK, 0, 0, 0},
    {"no spans", "{\"resourceSpans\":[]}", KP_OK, 0, 0, 0},
    {"null list", "{\"resourceSpans\":null}", KP_OK, 0, 0, 0},
    {"empty lists", "{\"resourceSpans\":[{},{\"scopeSpans\":[{}]}]}", KP_OK, 0, 0, 0},
    {"a span", SPANS("{" IDS "," TIMES "}"), KP_OK, 1, 0, 0},
    {"two, one bad", SPANS("{" IDS "},{" TRACE "\"spanId\":\"00\"}"), KP_OK, 1, 1, 0},
    {"unknown fields",
     "{\"new\":1,\"resourceSpans\":[{\"schemaUrl\":\"x\",\"scopeSpans\":[{\"scope\":{"
     "\"name\":\"s\"},\"spans\":[{\"later\":{\"x\":[]}," IDS "," TIMES
     ",\"flags\":257,\"links\":[]}]}]}]}",
     KP_OK, 1, 0, 0},
    {"numbers as numbers",
     SPANS("{" IDS ",\"startTimeUnixNano\":1544712660000000000,"
           "\"endTimeUnixNano\":1544712661000000001}"),
     KP_OK, 1, 0, 0},
    {"end before start", SPANS("{" IDS ",\"startTimeUnixNano\":\"9\",\"endTimeUnixNano\":\"8\"}"),
     KP_OK, 1, 0, 1},
    {"enum names",
     SPAN("\"kind\":\"SPAN_KIND_CLIENT\",\"status\":{\"code\":\"STATUS_CODE_ERROR\"}"), KP_OK, 1, 0,
     0},
    {"later enum number", SPAN("\"kind\":99"), KP_OK, 1, 0, 0},
    {"unknown enum name", SPAN("\"kind\":\"SPAN_KIND_DANCER\""), KP_OK, 0, 1, 0},
    {"negative enum", SPAN("\"kind\":-1"), KP_OK, 0, 1, 0},
    {"null parent", SPAN("\"parentSpanId\":null"), KP_OK, 1, 0, 0},
    {"empty parent", SPAN("\"parentSpanId\":\"\""), KP_OK, 1, 0, 0},
    {"bad parent", SPAN("\"parentSpanId\":\"xyz\""), KP_OK, 0, 1, 0},
    {"no trace id", SPANS("{\"spanId\":\"EEE19B7EC3C1B174\"," TIMES "}"), KP_OK, 0, 1, 0},
    {"zero trace id",
     SPANS("{\"traceId\":\"00000000000000000000000000000000\",\"spanId\":\"EEE19B7EC3C1B174\"}"),
     KP_OK, 0, 1, 0},
    {"zero span id", SPANS("{" TRACE "\"spanId\":\"0000000000000000\"}"), KP_OK, 0, 1, 0},
    {"long span id", SPANS("{" TRACE "\"spanId\":\"EEE19B7EC3C1B17400\"}"), KP_OK, 0, 1, 0},
    {"base64 id", SPANS("{\"traceId\":\"W47/95gDgQPSabYzgT/GDA==\",\"spanId\":\"7uGbfsPBsXQ=\"}"),
     KP_OK, 0, 1, 0},
    {"id as number", SPANS("{\"traceId\":5,\"spanId\":6}"), KP_OK, 0, 1, 0},
    {"time out of range", SPANS("{" IDS ",\"startTimeUnixNano\":\"9223372036854775808\"}"), KP_OK,
     0, 1, 0},
    {"negative time", SPANS("{" IDS ",\"startTimeUnixNano\":\"-1\"}"), KP_OK, 0, 1, 0},
    {"time as word", SPANS("{" IDS ",\"startTimeUnixNano\":\"now\"}"), KP_OK, 0, 1, 0},
    {"name as list", SPAN("\"name\":[]"), KP_OK, 0, 1, 0},
    {"status as word", SPAN("\"status\":\"ok\""), KP_OK, 0, 1, 0},
    {"attributes as object", SPAN("\"attributes\":{}"), KP_OK, 0, 1, 0},
    {"attribute without key", SPAN("\"attributes\":[{\"key\":7}]"), KP_OK, 0, 1, 0},
    {"events as word", SPAN("\"events\":\"x\""), KP_OK, 0, 1, 0},
    {"nul in a string", SPAN("\"name\":\"a\\u0000b\""), KP_OK, 1, 0, 0},
    {"nothing", "", KP_INVALID, 0, 0, 0},
    {"not JSON", "spans!", KP_INVALID, 0, 0, 0},
    {"cut off", "{\"resourceSpans\":[{", KP_INVALID, 0, 0, 0},
    {"more than one", "{}{}", KP_INVALID, 0, 0, 0},
    {"not UTF-8", "{\"a\":\"\xff\"}", KP_INVALID, 0, 0, 0},
    {"a list", "[]", KP_INVALID, 0, 0, 0},
    {"resourceSpans as object", "{\"resourceSpans\":{}}", KP_INVALID, 0, 0, 0},
    {"resource as list", "{\"resourceSpans\":[{\"resource\":[]}]}", KP_INVALID, 0, 0, 0},
    {"scopeSpans as word", "{\"resourceSpans\":[{\"scopeSpans\":\"x\"}]}", KP_INVALID, 0, 0, 0},
    {"span as number", SPANS("{" IDS "},7"), KP_INVALID, 0, 0, 0},
};

static void every_body_has_its_answer(void **state)
{
    (void)state;
    for (size_t i = 0; i < KP_ARRAY_LEN(answers); i++) {
        struct kp_otlp_result result;
        struct kp_error err = {0};
        set_up(NULL);
        kp_status status = post(answers[i].body, &result, &err);
        if (status != answers[i].status || result.spans != answers[i].spans ||
            result.rejected != answers[i].rejected || result.warnings != answers[i].warnings)
            fail_msg("%s: %s, %" PRIu64 " stored, %" PRIu64 " rejected, \"%s%s\"", answers[i].what,
                     kp_status_name(status), result.spans, result.rejected, result.message,
                     err.text);
        assert_int_equal(fake_count(store, KP_S_SPANS), answers[i].spans);
        assert_int_equal(result.message[0] != '\0', result.rejected + result.warnings > 0);
        assert_int_equal(err.text[0] != '\0', status != KP_OK);
        assert_int_equal(result.ticket, answers[i].spans > 0);
        tear_down(NULL);
    }
}

/* Attribute values as JSON. */
static const struct {
    const char *body, *attrs;
} values[] = {
    {ATTR("{\"stringValue\":\"q\\\"\\\\\\n\\u00e9\"}"), "{\"a\":\"q\\\"\\\\\\u000a\xc3\xa9\"}"},
    {ATTR("{\"intValue\":\"-9223372036854775808\"}"), "{\"a\":-9223372036854775808}"},
    {ATTR("{\"intValue\":98721}"), "{\"a\":98721}"},
    {ATTR("{\"boolValue\":true}"), "{\"a\":true}"},
    {ATTR("{\"doubleValue\":0.5}"), "{\"a\":0.5}"},
    {ATTR("{\"doubleValue\":\"NaN\"}"), "{\"a\":\"NaN\"}"},
    {ATTR("{\"bytesValue\":\"AAE=\"}"), "{\"a\":\"AAE=\"}"},
    {ATTR("{}"), "{\"a\":null}"},
    {ATTR("{\"arrayValue\":{\"values\":[{\"intValue\":\"1\"},{\"stringValue\":\"b\"}]}}"),
     "{\"a\":[1,\"b\"]}"},
    {ATTR("{\"arrayValue\":{}}"), "{\"a\":[]}"},
    {ATTR("{\"kvlistValue\":{\"values\":[{\"key\":\"k\",\"value\":{\"boolValue\":false}}]}}"),
     "{\"a\":{\"k\":false}}"},
};

static void attribute_values_become_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < KP_ARRAY_LEN(values); i++) {
        struct kp_otlp_result result;
        set_up(NULL);
        assert_int_equal(post(values[i].body, &result, NULL), KP_OK);
        assert_int_equal(result.spans, 1);
        const char *attrs = fake_str(fake_row(store, KP_S_SPANS, 0), "attrs");
        assert_string_equal(attrs, values[i].attrs);
        json_t *json = json_loads(attrs, 0, NULL);
        assert_non_null(json);
        json_decref(json);
        tear_down(NULL);
    }
}

static void wrong_values_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        ATTR("7"),
        ATTR("{\"intValue\":\"x\"}"),
        ATTR("{\"intValue\":\"9223372036854775808\"}"),
        ATTR("{\"intValue\":0.5}"),
        ATTR("{\"boolValue\":\"yes\"}"),
        ATTR("{\"stringValue\":5}"),
        ATTR("{\"doubleValue\":true}"),
        ATTR("{\"arrayValue\":{\"values\":5}}"),
        ATTR("{\"kvlistValue\":{\"values\":[{\"key\":1}]}}"),
        ATTR("{\"kvlistValue\":{\"values\":[7]}}"),
    };
    for (size_t i = 0; i < KP_ARRAY_LEN(wrong); i++) {
        struct kp_otlp_result result;
        assert_int_equal(post(wrong[i], &result, NULL), KP_OK);
        assert_int_equal(result.rejected, 1);
    }
}

static void nesting_is_bounded(void **state)
{
    (void)state;
    for (int depth = 10; depth <= 1000; depth *= 10) {
        struct kp_buf body = {0};
        struct kp_otlp_result result = {0};
        kp_buf_text(&body, "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{" IDS "," TIMES
                           ",\"attributes\":[{\"key\":\"a\",\"value\":");
        for (int i = 0; i < depth; i++)
            kp_buf_text(&body, "{\"arrayValue\":{\"values\":[");
        for (int i = 0; i < depth; i++)
            kp_buf_text(&body, "]}}");
        kp_buf_text(&body, "}]}]}]}]}");
        kp_status status =
            kp_otlp_json(store, NULL, kp_str_from(kp_buf_cstr(&body)), &result, NULL);
        kp_buf_deinit(&body);
        assert_int_equal(status, depth == 1000 ? KP_INVALID : KP_OK); /* the parser's own bound */
        assert_int_equal(result.spans, depth == 10);
        assert_int_equal(result.rejected, depth == 100);
    }
}

static void attributes_beyond_the_bound_are_cut(void **state)
{
    (void)state;
    struct kp_buf body = {0};
    struct kp_otlp_result result;
    kp_buf_text(&body,
                "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{" IDS ",\"attributes\":[");
    for (int i = 0; i < 300; i++)
        kp_buf_printf(&body, "%s{\"key\":\"k%d\",\"value\":{\"intValue\":%d}}", i > 0 ? "," : "", i,
                      i);
    kp_buf_text(&body, "]}]}]}]}");
    assert_int_equal(post(kp_buf_cstr(&body), &result, NULL), KP_OK);
    kp_buf_deinit(&body);
    assert_int_equal(result.spans, 1);
    assert_int_equal(result.warnings, 1);
    const char *attrs = fake_str(fake_row(store, KP_S_SPANS, 0), "attrs");
    json_t *json = json_loads(attrs, 0, NULL);
    assert_int_equal(json_object_size(json), 256);
    json_decref(json);
}

static void a_body_may_be_too_large(void **state)
{
    (void)state;
    struct kp_span_opts opts = {.body_bytes_max = 10};
    struct kp_otlp_result result;
    struct kp_error err;
    assert_int_equal(kp_otlp_json(store, &opts, KP_STR("{        }"), &result, &err), KP_OK);
    assert_int_equal(kp_otlp_json(store, &opts, KP_STR("{         }"), &result, &err), KP_LIMIT);
}

static void events_and_status_are_kept(void **state)
{
    (void)state;
    struct kp_otlp_result result;
    assert_int_equal(post(SPAN("\"status\":{\"code\":2,\"message\":\"timed out\"},\"events\":[{"
                               "\"timeUnixNano\":\"5\",\"name\":\"retry\",\"attributes\":[{\"key\":"
                               "\"n\",\"value\":{\"intValue\":\"2\"}}]},{}]"),
                          &result, NULL),
                     KP_OK);
    const struct fake_row *row = fake_row(store, KP_S_SPANS, 0);
    assert_int_equal(fake_i64(row, "status"), 2);
    assert_string_equal(fake_str(row, "status_msg"), "timed out");
    assert_string_equal(fake_str(row, "events"),
                        "[{\"ts\":5,\"name\":\"retry\",\"attrs\":{\"n\":2}},"
                        "{\"ts\":0,\"name\":\"\",\"attrs\":{}}]");
}

static void a_busy_store_is_told(void **state)
{
    (void)state;
    struct kp_otlp_result result;
    struct kp_error err;
    store->fail = KP_LIMIT;
    store->fail_count = 1;
    assert_int_equal(post(SPAN("\"name\":\"x\""), &result, &err), KP_LIMIT);
    assert_int_equal(post(SPAN("\"name\":\"x\""), &result, &err), KP_OK);
    assert_int_equal(result.spans, 1);
}

/* --- documents of others --- */

static char *read_whole(const char *path)
{
    struct kp_buf text = {0};
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return NULL;
    char chunk[4096];
    size_t got;
    while ((got = fread(chunk, 1, sizeof(chunk), file)) > 0)
        kp_buf_add(&text, chunk, got);
    fclose(file);
    kp_buf_char(&text, '\0');
    return text.data;
}

static bool shared_path(char out[1024], const char *name)
{
    const char *shared = getenv("KP_SHARED");
    snprintf(out, 1024, "%s/data/spans/%s", shared != NULL ? shared : "../shared", name);
    return true;
}

static void the_example_of_the_protocol_is_read(void **state)
{
    (void)state;
    char path[1024];
    shared_path(path, "otlp/proto-example-trace.json");
    char *body = read_whole(path);
    if (body == NULL) {
        print_message("absent: %s\n", path);
        skip();
    }
    struct kp_otlp_result result;
    assert_int_equal(post(body, &result, NULL), KP_OK);
    free(body);
    const struct fake_row *row = fake_row(store, KP_S_SPANS, 0);
    assert_int_equal(result.spans, 1);
    assert_string_equal(fake_str(row, "trace_id"), "5b8efff798038103d269b633813fc60c");
    assert_string_equal(fake_str(row, "parent_id"), "eee19b7ec3c1b173");
    assert_string_equal(fake_str(row, "service"), "my.service");
    assert_string_equal(fake_str(row, "name"), "I'm a server span");
    assert_int_equal(fake_i64(row, "dur"), KP_SEC);
    assert_int_equal(fake_i64(row, "kind"), 2);
    shared_path(path, "otlp/jaeger-otlp2jaeger-in.json");
    body = read_whole(path);
    assert_non_null(body);
    assert_int_equal(post(body, &result, NULL), KP_OK);
    free(body);
    assert_int_equal(result.spans, 1); /* the document holds the same span twice */
    assert_int_equal(result.duplicates, 1);
    shared_path(path, "otlp/proto-example-logs.json");
    body = read_whole(path);
    assert_non_null(body);
    assert_int_equal(post(body, &result, NULL), KP_OK); /* logs: no span in it */
    assert_int_equal(result.spans, 0);
    free(body);
}

/* Spans that the fixtures hold, counted without our parser. */
static uint64_t spans_in(const json_t *value)
{
    uint64_t count = 0;
    size_t i;
    const char *key;
    json_t *inner;
    if (json_is_array(value)) {
        json_array_foreach(value, i, inner) count += spans_in(inner);
    } else if (json_is_object(value)) {
        json_object_foreach((json_t *)(uintptr_t)value, key, inner)
        {
            count += strcmp(key, "spans") == 0 ? json_array_size(inner) : spans_in(inner);
        }
    }
    return count;
}

static void fixtures_of_jaeger_are_read(void **state)
{
    (void)state;
    char dir[1024];
    shared_path(dir, "jaeger-storage-fixtures");
    DIR *listing = opendir(dir);
    if (listing == NULL) {
        print_message("absent: %s\n", dir);
        skip();
    }
    uint32_t files = 0, documents = 0;
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        char path[2048];
        if (strstr(entry->d_name, ".json") == NULL || strcmp(entry->d_name, "queries.json") == 0)
            continue;
        files++;
        snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
        char *body = read_whole(path);
        assert_non_null(body);
        json_t *json = json_loads(body, 0, NULL);
        struct kp_otlp_result result = {0};
        set_up(NULL);
        kp_status status = post(body, &result, NULL);
        assert_int_equal(status, json_is_object(json) ? KP_OK : KP_INVALID);
        if (status == KP_OK && json_object_get(json, "resourceSpans") != NULL) {
            documents++;
            assert_int_equal(result.spans + result.rejected + result.duplicates, spans_in(json));
        }
        tear_down(NULL);
        json_decref(json);
        free(body);
    }
    closedir(listing);
    print_message("%u files, %u of them OTLP\n", files, documents);
    assert_true(files > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_body_has_its_answer),
        cmocka_unit_test(attribute_values_become_json),
        cmocka_unit_test_setup_teardown(wrong_values_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nesting_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(attributes_beyond_the_bound_are_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_body_may_be_too_large, set_up, tear_down),
        cmocka_unit_test_setup_teardown(events_and_status_are_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_busy_store_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_example_of_the_protocol_is_read, set_up, tear_down),
        cmocka_unit_test(fixtures_of_jaeger_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
