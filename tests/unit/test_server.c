/* SPDX-License-Identifier: Apache-2.0
 *
 * The server's parts that need no store: inflating request bodies, listening addresses, error
 * bodies. The doors as a whole are tested on a running kpd in tests/cli.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include "base/assert.h"
#include "server/listen.h"
#include "server/gzip.h"

/* Compresses text as one gzip member at the end of out. */
static void gzip(const char *text, size_t size, struct kp_buf *out)
{
    z_stream stream = {.next_in = (unsigned char *)(uintptr_t)text, .avail_in = (uInt)size};
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t room = deflateBound(&stream, size) + 64;
    stream.next_out = kp_buf_reserve(out, room);
    stream.avail_out = (uInt)room;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    out->size += room - stream.avail_out;
    deflateEnd(&stream);
}

static kp_status gunzip(const struct kp_buf *body, size_t most, struct kp_buf *out)
{
    return kpi_gunzip((struct kp_str){body->data, (uint32_t)body->size}, most, out, NULL);
}

static void bodies_inflate(void **state)
{
    (void)state;
    struct kp_buf packed = {0}, out = {0};
    gzip("hello, ", 7, &packed);
    gzip("world", 5, &packed); /* two members are one body */
    assert_int_equal(gunzip(&packed, 1000, &out), KP_OK);
    assert_string_equal(kp_buf_cstr(&out), "hello, world");
    kp_buf_deinit(&packed);
    kp_buf_deinit(&out);
}

static void a_bomb_stops_at_the_limit(void **state)
{
    (void)state;
    size_t size = 32 * 1024 * 1024;
    char *zeros = calloc(1, size);
    struct kp_buf packed = {0}, out = {0};
    gzip(zeros, size, &packed);
    free(zeros);
    assert_true(packed.size < 64 * 1024);
    assert_int_equal(gunzip(&packed, 1024 * 1024, &out), KP_LIMIT);
    assert_true(out.capacity <= 4 * 1024 * 1024);
    kp_buf_deinit(&packed);
    kp_buf_deinit(&out);
}

static void cuts_and_flips_never_pass_as_data(void **state)
{
    (void)state;
    struct kp_buf packed = {0};
    static const char text[] = "{\"resourceSpans\":[]} and some more text to compress";
    gzip(text, sizeof(text) - 1, &packed);
    for (size_t cut = 0; cut < packed.size; cut++) {
        struct kp_buf out = {0};
        struct kp_str body = {packed.data, (uint32_t)cut};
        assert_int_equal(kpi_gunzip(body, 1000, &out, NULL), KP_INVALID);
        kp_buf_deinit(&out);
    }
    for (size_t bit = 10 * 8; bit < packed.size * 8; bit++) {
        struct kp_buf out = {0};
        packed.data[bit / 8] = (char)(packed.data[bit / 8] ^ 1 << bit % 8);
        if (gunzip(&packed, 1000, &out) != KP_INVALID) /* a padding bit changes nothing */
            assert_string_equal(kp_buf_cstr(&out), text);
        packed.data[bit / 8] = (char)(packed.data[bit / 8] ^ 1 << bit % 8);
        kp_buf_deinit(&out);
    }
    kp_buf_deinit(&packed);
}

static void answers_are_packed_in_pieces(void **state)
{
    static const struct {
        const char *header;
        bool taken;
    } cases[] = {{"gzip", true},           {"deflate, GZIP;q=0.5", true},
                 {"br;q=1, gzip", true},   {"", false},
                 {"deflate, br", false},   {"gzip;q=0", false},
                 {"gzip; q=0.000", false}, {"gzipped", false},
                 {"identity", false},      {"gzip;q=0.001", true},
                 {",, gzip,,", true}};
    (void)state;
    for (size_t i = 0; i < KP_ARRAY_LEN(cases); i++)
        if (kpi_gzip_accepted(kp_str_from(cases[i].header)) != cases[i].taken)
            fail_msg("%s", cases[i].header);
    struct kp_buf packed = {0}, out = {0}, text = {0};
    struct kpi_gzip *writer = kpi_gzip_open();
    for (int i = 0; i < 5000; i++) {
        char piece[32];
        snprintf(piece, sizeof(piece), "row %d of many\n", i * i);
        kp_buf_text(&text, piece);
        assert_true(kpi_gzip_add(writer, kp_str_from(piece), i == 4999, &packed));
        if (i == 100) { /* what was given so far can be read */
            z_stream stream = {.next_in = (unsigned char *)packed.data,
                               .avail_in = (uInt)packed.size};
            unsigned char plain[8192];
            stream.next_out = plain;
            stream.avail_out = sizeof(plain);
            assert_int_equal(inflateInit2(&stream, 15 + 16), Z_OK);
            assert_int_equal(inflate(&stream, Z_SYNC_FLUSH), Z_OK);
            assert_int_equal(sizeof(plain) - stream.avail_out, text.size);
            inflateEnd(&stream);
        }
    }
    kpi_gzip_close(writer);
    kpi_gzip_close(NULL);
    assert_int_equal(gunzip(&packed, 1 << 20, &out), KP_OK);
    assert_int_equal(out.size, text.size);
    assert_memory_equal(out.data, text.data, out.size);
    kp_buf_deinit(&packed);
    kp_buf_deinit(&out);
    kp_buf_deinit(&text);
}

static void only_loopback_addresses_are_taken(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *hint; /* NULL = good */
    } cases[] = {
        {"127.0.0.1:0", NULL},       {"localhost:0", NULL},     {"0.0.0.0:0", "proxy"},
        {"192.168.1.1:80", "proxy"}, {"[::]:0", "proxy"},       {"127.0.0.1", "ADDR:PORT"},
        {":80", "ADDR:PORT"},        {"127.0.0.1:x", "ADDR:P"}, {"127.0.0.1:70000", "ADDR:P"},
        {"", "ADDR:PORT"},           {"[::1:80", "ADDR:PORT"},  {"host.example:80", "ADDR:PORT"},
    };
    for (size_t i = 0; i < KP_ARRAY_LEN(cases); i++) {
        struct kp_error err = {0};
        uint16_t port = 0;
        int fd = -1;
        kp_status status = kpi_listen_tcp(cases[i].text, &fd, &port, &err);
        assert_int_equal(status, cases[i].hint == NULL ? KP_OK : KP_USAGE);
        if (status == KP_OK) {
            assert_true(port > 0);
            close(fd);
        } else {
            assert_non_null(strstr(err.hint, cases[i].hint));
        }
    }
}

static void a_taken_port_is_named(void **state)
{
    (void)state;
    char text[32];
    struct kp_error err = {0};
    uint16_t port = 0, other = 0;
    int fd = -1, second = -1;
    assert_int_equal(kpi_listen_tcp("127.0.0.1:0", &fd, &port, NULL), KP_OK);
    snprintf(text, sizeof(text), "127.0.0.1:%u", port);
    assert_int_equal(kpi_listen_tcp(text, &second, &other, &err), KP_CONNECT);
    assert_non_null(strstr(err.text, text));
    close(fd);
}

static void errors_are_json(void **state)
{
    (void)state;
    struct kpi_answer answer = {0};
    struct kp_error err;
    kp_error_set(&err, KP_INVALID, "unknown column \"x\"");
    kp_error_place(&err, 1, 8, 3);
    kpi_answer_error(&answer, &err);
    assert_int_equal(answer.status, 400);
    assert_string_equal(kp_buf_cstr(&answer.body),
                        "{\"error\":{\"code\":\"invalid\",\"message\":\"unknown column "
                        "\\\"x\\\"\",\"line\":1,\"column\":8,\"width\":3,\"hint\":\"\"}}\n");
    kp_error_set(&err, KP_BUSY, "draining");
    const struct kpi_request request = {.path = "/v1/traces"};
    kpi_otlp_error(&request, &answer, &err);
    assert_int_equal(answer.status, 503);
    assert_true(answer.retry);
    assert_string_equal(kp_buf_cstr(&answer.body), "{\"code\":14,\"message\":\"draining\"}\n");
    kp_buf_deinit(&answer.body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_inflate),
        cmocka_unit_test(a_bomb_stops_at_the_limit),
        cmocka_unit_test(cuts_and_flips_never_pass_as_data),
        cmocka_unit_test(answers_are_packed_in_pieces),
        cmocka_unit_test(only_loopback_addresses_are_taken),
        cmocka_unit_test(a_taken_port_is_named),
        cmocka_unit_test(errors_are_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
