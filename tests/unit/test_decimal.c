/* SPDX-License-Identifier: Apache-2.0
 *
 * Decimals: text and back, rounding at its borders, what does not fit, and random numbers against
 * integers scaled by hand and against the laws of arithmetic.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/decimal.h"

#define ROUNDS 200000

static uint64_t state = 88172645463325252ull;

static uint64_t draw(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static kp_dec dec(const char *text)
{
    kp_dec d = 0;
    if (!kp_dec_parse(kp_str_from(text), &d))
        fail_msg("%s is no decimal", text);
    return d;
}

static void expect(kp_dec d, const char *text)
{
    char got[KP_DEC_TEXT_MAX];
    size_t length = kp_dec_format(d, got);
    assert_int_equal(length, strlen(got));
    assert_string_equal(got, text);
}

#define LARGEST "9999999999999999999999999999999999"

static void texts_are_kept(void **test)
{
    (void)test;
    static const char *const same[] = {
        "0",      "0.00",  "1.50",      "-0.05",
        "12.345", LARGEST, "-" LARGEST, "0.0000000000000000000000000000000001"};
    static const struct {
        const char *text, *is;
    } others[] = {
        {"+7", "7"},
        {".5", "0.5"},
        {"5.", "5"},
        {"-0", "0"},
        {"1e3", "1000"},
        {"1.25E1", "12.5"},
        {"2.5e-3", "0.0025"},
        {"0e99", "0"},
        {"00012", "12"},
        {"1.0000000000000000000000000000000000000000", "1.000000000000000000000000000000000"},
        {"1e33", "1000000000000000000000000000000000"}};
    static const char *const none[] = {"",          "-",
                                       ".",         "1e",
                                       "1e+",       "abc",
                                       "1.2.3",     "1 2",
                                       "1e34",      "1e99999999999",
                                       LARGEST "9", "0.00000000000000000000000000000000001"};
    for (size_t i = 0; i < KP_ARRAY_LEN(same); i++)
        expect(dec(same[i]), same[i]);
    for (size_t i = 0; i < KP_ARRAY_LEN(others); i++)
        expect(dec(others[i].text), others[i].is);
    for (size_t i = 0; i < KP_ARRAY_LEN(none); i++) {
        kp_dec d = 77;
        if (kp_dec_parse(kp_str_from(none[i]), &d))
            fail_msg("%s is a decimal", none[i]);
        assert_true(d == 77);
    }
}

static void divisions_round_half_to_even(void **test)
{
    (void)test;
    static const struct {
        const char *a, *b, *is;
    } cases[] = {{"1", "4", "0.25"},
                 {"1.00", "4", "0.25"},
                 {"6.00", "2", "3.00"},
                 {"6", "0.02", "300"},
                 {"10", "3", "3.333333333333333333"},
                 {"-10", "3", "-3.333333333333333333"},
                 {"20", "3", "6.666666666666666667"},
                 {"1", "3e18", "0.000000000000000000"},
                 {"2", "3e18", "0.000000000000000001"},
                 {"0.000000000000000001", "2", "0.000000000000000000"}, /* a half: even is 0 */
                 {"0.000000000000000003", "2", "0.000000000000000002"},
                 {"-0.000000000000000003", "2", "-0.000000000000000002"},
                 {"0.0000000000000000000001", "2", "0.0000000000000000000000"},
                 {"1000000000000000000000000", "3", "333333333333333333333333.3333333333"},
                 {LARGEST, "1", LARGEST},
                 {LARGEST, LARGEST, "1"}};
    for (size_t i = 0; i < KP_ARRAY_LEN(cases); i++) {
        kp_dec q;
        assert_true(kp_dec_div(dec(cases[i].a), dec(cases[i].b), &q));
        expect(q, cases[i].is);
    }
    kp_dec q;
    assert_false(kp_dec_div(dec(LARGEST), dec("0.1"), &q));
    assert_false(kp_dec_div(dec("1"), dec("1e-34"), &q));
}

static void rounding_pads_and_cuts(void **test)
{
    (void)test;
    static const struct {
        const char *a;
        uint32_t digits;
        const char *is;
    } cases[] = {{"1.005", 2, "1.00"},  {"1.015", 2, "1.02"}, {"-1.005", 2, "-1.00"},
                 {"2.5", 0, "2"},       {"3.5", 0, "4"},      {"1.5", 2, "1.50"},
                 {"9.999", 2, "10.00"}, {"0", 3, "0.000"}};
    kp_dec d;
    for (size_t i = 0; i < KP_ARRAY_LEN(cases); i++) {
        assert_true(kp_dec_round(dec(cases[i].a), cases[i].digits, &d));
        expect(d, cases[i].is);
    }
    assert_false(kp_dec_round(dec(LARGEST), 1, &d));
    expect(kp_dec_floor(dec("-1.5")), "-2");
    expect(kp_dec_floor(dec("1.5")), "1");
    expect(kp_dec_floor(dec("-2.00")), "-2");
}

static void what_does_not_fit_is_refused(void **test)
{
    (void)test;
    kp_dec d = 77;
    assert_false(kp_dec_add(dec(LARGEST), dec("1"), &d));
    assert_false(kp_dec_add(dec(LARGEST), dec("0.1"), &d));
    assert_false(kp_dec_mul(dec(LARGEST), dec("1.1"), &d));
    assert_false(kp_dec_mul(dec("1e-20"), dec("1e-20"), &d));
    assert_true(d == 77);
    assert_true(kp_dec_mul(dec("0.00000000000000002"), dec("5e17"), &d));
    expect(d, "10.00000000000000000");
    assert_true(kp_dec_mul(dec("1.0000000000000000000000000000000000"), dec("5.00"), &d));
    assert_int_equal(kp_dec_compare(d, dec("5")), 0);
    assert_true(kp_dec_add(dec("100000000000000000000000"), dec("1.000000000000000000"), &d));
    assert_int_equal(kp_dec_compare(d, dec("100000000000000000000001")), 0);
    int64_t n;
    assert_true(kp_dec_to_i64(dec("-9223372036854775808.9"), &n));
    assert_true(n == INT64_MIN);
    assert_false(kp_dec_to_i64(dec("9223372036854775808"), &n));
    assert_false(kp_dec_from_real(INFINITY, &d));
    assert_true(kp_dec_from_real(0.1, &d));
    expect(d, "0.1");
    assert_true(kp_dec_to_real(dec("0.30")) == 0.3);
}

static kp_dec random_dec(uint32_t digits, uint32_t *out_scale)
{
    __int128 coefficient = 0;
    for (uint32_t i = (uint32_t)(draw() % digits) + 1; i > 0; i--)
        coefficient = coefficient * 10 + (int)(draw() % 10);
    *out_scale = (uint32_t)(draw() % 13);
    kp_dec d;
    assert_true(kp_dec_make(draw() % 2 == 0 ? coefficient : -coefficient, *out_scale, &d));
    return d;
}

/* a and b as integers of one scale: sums, order and remainders are those of the integers. */
static void small_numbers_are_integers(void **test)
{
    (void)test;
    for (int i = 0; i < ROUNDS; i++) {
        uint32_t sa, sb;
        kp_dec a = random_dec(12, &sa), b = random_dec(12, &sb), d, e;
        uint32_t scale = KP_MAX(sa, sb);
        __int128 ia = kp_dec_coefficient(a), ib = kp_dec_coefficient(b);
        __int128 product = ia * ib;
        for (; sa < scale; sa++)
            ia *= 10;
        for (; sb < scale; sb++)
            ib *= 10;
        assert_int_equal(kp_dec_compare(a, b), (ia > ib) - (ia < ib));
        assert_true(kp_dec_canonical(a) == kp_dec_canonical(b) ? ia == ib : ia != ib);
        assert_true(kp_dec_add(a, b, &d) && kp_dec_make(ia + ib, scale, &e) && d == e);
        assert_true(kp_dec_sub(a, b, &d) && kp_dec_make(ia - ib, scale, &e) && d == e);
        assert_true(kp_dec_mul(a, b, &d));
        assert_true(kp_dec_make(product, kp_dec_scale(a) + kp_dec_scale(b), &e) && d == e);
        if (ib == 0)
            continue;
        __int128 rest = ia % ib;
        rest += rest < 0 ? (ib < 0 ? -ib : ib) : 0;
        assert_true(kp_dec_mod(a, b, &d) && kp_dec_make(rest, scale, &e) && d == e);
    }
}

/* |a - q * b| is at most half of b's share of the last digit. */
static void quotients_are_near(void **test)
{
    (void)test;
    for (int i = 0; i < ROUNDS; i++) {
        uint32_t sa, sb;
        kp_dec a = random_dec(9, &sa), b = random_dec(6, &sb), q, back, off, half;
        if (kp_dec_coefficient(b) == 0 || !kp_dec_div(a, b, &q) || !kp_dec_mul(q, b, &back))
            continue;
        assert_true(kp_dec_sub(a, back, &off));
        assert_true(kp_dec_make(5, kp_dec_scale(q) + 1, &half) && kp_dec_mul(half, b, &half));
        off = off < 0 ? kp_dec_negate(off) : off;
        half = half < 0 ? kp_dec_negate(half) : half;
        assert_true(kp_dec_compare(off, half) <= 0);
    }
}

static void wide_numbers_keep_the_laws(void **test)
{
    (void)test;
    for (int i = 0; i < ROUNDS; i++) {
        uint32_t scale;
        char text[KP_DEC_TEXT_MAX];
        kp_dec a = random_dec(34, &scale), b = random_dec(34, &scale), sum, d, e;
        kp_dec_format(a, text);
        assert_true(dec(text) == a);
        assert_true(kp_dec_negate(kp_dec_negate(a)) == a);
        assert_int_equal(kp_dec_compare(a, b), -kp_dec_compare(b, a));
        bool added = kp_dec_add(a, b, &sum);
        assert_int_equal(added, kp_dec_add(b, a, &d));
        if (added) {
            assert_true(d == sum);
            assert_true(kp_dec_sub(sum, b, &d));
            assert_int_equal(kp_dec_compare(d, a), 0);
        }
        bool multiplied = kp_dec_mul(a, b, &d);
        assert_int_equal(multiplied, kp_dec_mul(b, a, &e));
        if (multiplied && kp_dec_coefficient(b) != 0 && kp_dec_scale(a) <= KP_DEC_QUOTIENT) {
            assert_int_equal(kp_dec_compare(d, e), 0);
            if (kp_dec_div(d, b, &e))
                assert_int_equal(kp_dec_compare(e, a), 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(texts_are_kept),
                                       cmocka_unit_test(divisions_round_half_to_even),
                                       cmocka_unit_test(rounding_pads_and_cuts),
                                       cmocka_unit_test(what_does_not_fit_is_refused),
                                       cmocka_unit_test(small_numbers_are_integers),
                                       cmocka_unit_test(quotients_are_near),
                                       cmocka_unit_test(wide_numbers_keep_the_laws)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
