/* SPDX-License-Identifier: Apache-2.0
 *
 * Time, durations, strings, bytes, the arena's cap and big pieces of memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/big.h"
#include "base/bytes.h"
#include "base/time.h"

static void time_round_trips(void **state)
{
    (void)state;
    static const kp_time cases[] = {0,
                                    1,
                                    -1,
                                    1700000000123456789,
                                    -1700000000123456789,
                                    KP_DAY - 1,
                                    951782400 * KP_SEC,
                                    KP_TIME_MAX,
                                    KP_TIME_MIN + KP_SEC};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[KP_TIME_TEXT_MAX];
        kp_time back = 42;
        kp_time_format(cases[i], text);
        assert_true(kp_time_parse(kp_str_from(text), &back));
        assert_true(back == cases[i]);
    }
    char text[KP_TIME_TEXT_MAX];
    kp_time_format(1700000000123456789, text);
    assert_string_equal(text, "2023-11-14T22:13:20.123456789Z");
}

static void time_refuses_junk(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",         "2023",        "2023-13-01",       "2023-02-29",           "2023-02-30",
        "2023-1-1", "2023-01-01T", "2023-01-01T25:00", "2023-01-01T00:00:00x", "9999-01-01"};
    kp_time t;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(kp_time_parse(kp_str_from(bad[i]), &t));
    assert_true(kp_time_parse(KP_STR("2024-02-29T05:30:00.5+05:30"), &t));
    char text[KP_TIME_TEXT_MAX];
    kp_time_format(t, text);
    assert_string_equal(text, "2024-02-29T00:00:00.500000000Z");
}

static void durations_parse_and_print(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        kp_dur ns;
    } good[] = {{"2s", 2 * KP_SEC},    {"1.5ms", 1500000}, {"250us", 250000},   {"10ns", 10},
                {"3m", 3 * KP_MIN_NS}, {"1d", KP_DAY},     {"0.000001s", 1000}, {"-5ms", -5000000}};
    kp_dur d;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(kp_dur_parse(kp_str_from(good[i].text), &d));
        assert_true(d == good[i].ns);
    }
    assert_false(kp_dur_parse(KP_STR("2"), &d));
    assert_false(kp_dur_parse(KP_STR("s"), &d));
    assert_false(kp_dur_parse(KP_STR("99999999999d"), &d));
    char text[KP_DUR_TEXT_MAX];
    kp_dur_format(388204117, text);
    assert_string_equal(text, "388.204 ms");
    kp_dur_format(INT64_MIN, text);
    assert_string_equal(text, "-9223372036.854 s");
}

static void varints_round_trip_and_refuse_overlong(void **state)
{
    (void)state;
    for (unsigned shift = 0; shift < 64; shift++) {
        uint8_t bytes[10];
        uint64_t value = UINT64_MAX >> shift;
        size_t size = kp_store_varint(bytes, value);
        struct kp_reader r = kp_reader_init(bytes, size);
        assert_true(kp_read_varint(&r) == value);
        assert_false(r.bad);
        r = kp_reader_init(bytes, size - 1);
        kp_read_varint(&r);
        assert_true(r.bad);
    }
    static const uint8_t overlong[11] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 2, 0};
    struct kp_reader r = kp_reader_init(overlong, sizeof(overlong));
    kp_read_varint(&r);
    assert_true(r.bad);
}

static void distance_counts_edits(void **state)
{
    (void)state;
    assert_int_equal(kp_str_distance(KP_STR("sumarize"), KP_STR("summarize")), 1);
    assert_int_equal(kp_str_distance(KP_STR("hwere"), KP_STR("where")), 1);
    assert_int_equal(kp_str_distance(KP_STR(""), KP_STR("abc")), 3);
    assert_int_equal(kp_str_distance(KP_STR("WHERE"), KP_STR("where")), 0);
}

static void arena_keeps_its_cap(void **state)
{
    (void)state;
    struct kp_arena arena;
    kp_arena_init(&arena, 1000);
    assert_non_null(kp_arena_alloc(&arena, 900));
    assert_null(kp_arena_alloc(&arena, 200));
    assert_non_null(kp_arena_alloc(&arena, 80));
    assert_null(kp_arena_zalloc(&arena, SIZE_MAX / 2, 4));
    arena.owner = "summarize";
    struct kp_error err;
    assert_int_equal(kp_arena_error(&arena, &err), KP_LIMIT);
    assert_non_null(strstr(err.text, "summarize"));
    kp_arena_deinit(&arena);
    assert_non_null(kp_arena_alloc(&arena, 900));
    kp_arena_deinit(&arena);
}

#define PIECES 40

/* The piece still holds what was put at both of its ends. */
static void check_piece(const uint8_t *piece, size_t bytes, uint8_t mark)
{
    assert_int_equal(piece[0], mark);
    assert_int_equal(piece[bytes - 1], mark);
}

/* Sizes from less than a grain to more than a region has, in and out in another order. */
static void big_pieces_do_not_overlap(void **state)
{
    (void)state;
    uint8_t *pieces[PIECES];
    size_t sizes[PIECES];
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < PIECES; i++) {
            sizes[i] = i == 7 ? (size_t)40 << 20 : (i * 7919u + round * 104729u) % 3000000u + 1;
            pieces[i] = kp_big_alloc(sizes[i]);
            assert_non_null(pieces[i]);
            memset(pieces[i], (int)i + 1, kp_big_round(sizes[i]));
        }
        for (uint32_t i = 0; i < PIECES; i += 2) {
            check_piece(pieces[i], kp_big_round(sizes[i]), (uint8_t)(i + 1));
            kp_big_free(pieces[i]);
            sizes[i] = sizes[i] / 2 + 1;
            pieces[i] = kp_big_alloc(sizes[i]);
            assert_non_null(pieces[i]);
            memset(pieces[i], (int)i + 1, kp_big_round(sizes[i]));
        }
        for (uint32_t i = 0; i < PIECES; i++) {
            check_piece(pieces[i], kp_big_round(sizes[i]), (uint8_t)(i + 1));
            kp_big_free(pieces[i]);
        }
    }
    kp_big_free(NULL);
    assert_null(kp_big_alloc(SIZE_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_round_trips),
        cmocka_unit_test(time_refuses_junk),
        cmocka_unit_test(durations_parse_and_print),
        cmocka_unit_test(varints_round_trip_and_refuse_overlong),
        cmocka_unit_test(distance_counts_edits),
        cmocka_unit_test(arena_keeps_its_cap),
        cmocka_unit_test(big_pieces_do_not_overlap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
