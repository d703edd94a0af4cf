/* SPDX-License-Identifier: Apache-2.0
 *
 * Single values as text: decimals to the last digit, the shortest floating point that reads back,
 * and the width and cutting of text on a terminal.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <locale.h>
#include <stdlib.h>

#include "base/assert.h"
#include "render/render_int.h"

static void expect_text(const struct kp_field *field, const struct kp_vec *vec, bool exact,
                        const char *wanted)
{
    struct kp_buf out = {0};
    kp_value_text(field, vec, 0, exact, &out);
    assert_string_equal(kp_buf_cstr(&out), wanted);
    kp_buf_deinit(&out);
}

static void decimals_are_exact(void **state)
{
    (void)state;
    static const struct {
        int64_t high, low; /* value = high * 10^18 + low */
        uint8_t scale;
        const char *text;
    } cases[] = {
        {0, 0, 0, "0"},
        {0, 0, 2, "0.00"},
        {0, 5, 2, "0.05"},
        {0, -5, 2, "-0.05"},
        {0, 5000000, 2, "50000.00"},
        {0, 123, 3, "0.123"},
        {0, -123456, 3, "-123.456"},
        {12, 345678901234567890, 4, "1234567890123456.7890"},
    };
    struct kp_field field = {KP_STR("amount"), KP_TYPE_DEC, KP_UNIT_NONE};
    for (size_t i = 0; i < KP_ARRAY_LEN(cases); i++) {
        kp_dec value = (__int128)cases[i].high * 1000000000000000000ll + cases[i].low;
        assert_true(kp_dec_make(value, cases[i].scale, &value));
        struct kp_vec vec = {.type = KP_TYPE_DEC, .i128 = &value};
        expect_text(&field, &vec, true, cases[i].text);
    }
    kp_dec least;
    assert_true(kp_dec_parse(KP_STR("-9999999999999999999999999999999999"), &least));
    struct kp_vec vec = {.type = KP_TYPE_DEC, .i128 = &least};
    expect_text(&field, &vec, true, "-9999999999999999999999999999999999");
}

static void floats_read_back(void **state)
{
    (void)state;
    static const double values[] = {0.1, 1.0 / 3, 1e300, -2.5, 5e-324, 123456789.125};
    struct kp_field field = {KP_STR("x"), KP_TYPE_F64, KP_UNIT_NONE};
    for (size_t i = 0; i < KP_ARRAY_LEN(values); i++) {
        double value = values[i];
        struct kp_vec vec = {.type = KP_TYPE_F64, .f64 = &value};
        struct kp_buf out = {0};
        kp_value_text(&field, &vec, 0, true, &out);
        assert_true(strtod(kp_buf_cstr(&out), NULL) == value);
        kp_buf_deinit(&out);
    }
    double tenth = 0.1;
    struct kp_vec vec = {.type = KP_TYPE_F64, .f64 = &tenth};
    expect_text(&field, &vec, true, "0.1");
    field.unit = KP_UNIT_PERCENT;
    expect_text(&field, &vec, true, "0.1");
    expect_text(&field, &vec, false, "0.1 %");
}

static void durations_for_people_and_machines(void **state)
{
    (void)state;
    int64_t value = 388204117;
    struct kp_field field = {KP_STR("dur"), KP_TYPE_DUR, KP_UNIT_NS};
    struct kp_vec vec = {.type = KP_TYPE_DUR, .i64 = &value};
    expect_text(&field, &vec, true, "388204117");
    expect_text(&field, &vec, false, "388.204 ms");
}

static void text_is_disarmed_for_people_only(void **state)
{
    (void)state;
    struct kp_str text = KP_STR("a\x1b]0;x\x07\xC2\x9B\xFF\t");
    struct kp_field field = {KP_STR("comm"), KP_TYPE_STR, KP_UNIT_NONE};
    struct kp_vec vec = {.type = KP_TYPE_STR, .strs = &text};
    expect_text(&field, &vec, true, "a\x1b]0;x\x07\xC2\x9B\xFF\t");
    expect_text(&field, &vec, false, "a\\x1b]0;x\\x07\\x9b\\xff\\t");
}

static void utf8_is_checked(void **state)
{
    (void)state;
    static const struct kp_str bad[] = {
        KP_STR("\xC0\x80"), KP_STR("\xED\xA0\x80"), KP_STR("\xF5\x80\x80\x80"),
        KP_STR("\xE7\xAC"), KP_STR("\x80"),         KP_STR("\xE0\x80\x80")};
    uint32_t code;
    for (size_t i = 0; i < KP_ARRAY_LEN(bad); i++)
        assert_int_equal(kpi_utf8_next(bad[i], 0, &code), 0);
    assert_int_equal(kpi_utf8_next(KP_STR("\xF0\x9F\x98\x80"), 0, &code), 4);
    assert_int_equal(code, 0x1F600);
}

static void cells_are_cut_at_columns(void **state)
{
    (void)state;
    struct kp_str wide = KP_STR("\xE7\xAC\xAC\xE7\xAC\xAC\xE7\xAC\xAC"); /* three of two columns */
    uint32_t width;
    assert_int_equal(kpi_text_width(wide), 6);
    assert_int_equal(kpi_text_cut(wide, 3, &width).len, 3);
    assert_int_equal(width, 2);
    for (uint32_t columns = 1; columns < 9; columns++) {
        struct kp_buf out = {0};
        kpi_text_pad(&out, wide, columns, columns % 2 == 0, true);
        assert_int_equal(kpi_text_width((struct kp_str){out.data, (uint32_t)out.size}), columns);
        kp_buf_deinit(&out);
    }
}

static void notes_break_at_words(void **state)
{
    (void)state;
    struct kp_buf out = {0};
    kpi_text_wrap(&out, KP_STR("one two  three averylongword x"), 9, 2);
    assert_string_equal(kp_buf_cstr(&out), "one two \n  three\n  averylongword\n  x\n");
    kp_buf_clear(&out);
    kpi_text_wrap(&out, KP_STR("one two  three"), 0, 2);
    assert_string_equal(kp_buf_cstr(&out), "one two  three\n");
    kp_buf_deinit(&out);
}

static void counts_have_commas(void **state)
{
    (void)state;
    struct kp_buf out = {0};
    kp_text_count(&out, 1204331);
    kp_buf_char(&out, ' ');
    kp_text_count(&out, 0);
    kp_buf_char(&out, ' ');
    kp_text_count(&out, INT64_MIN);
    assert_string_equal(kp_buf_cstr(&out), "1,204,331 0 -9,223,372,036,854,775,808");
    kp_buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decimals_are_exact),
        cmocka_unit_test(floats_read_back),
        cmocka_unit_test(durations_for_people_and_machines),
        cmocka_unit_test(text_is_disarmed_for_people_only),
        cmocka_unit_test(utf8_is_checked),
        cmocka_unit_test(cells_are_cut_at_columns),
        cmocka_unit_test(notes_break_at_words),
        cmocka_unit_test(counts_have_commas),
    };
    setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
