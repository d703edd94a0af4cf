/* SPDX-License-Identifier: Apache-2.0
 *
 * Decimal arithmetic on 128-bit integers. Sums align their scales, products add them; both are
 * exact, and only when the digits do not fit are trailing zeros given up. Division goes digit by
 * digit, as on paper, so that its remainder decides how it rounds.
 */
#include "base/decimal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned __int128 u128;

/* 10^n for n <= 34; 10^38 is the last that fits. */
static __int128 power(uint32_t n)
{
    static const uint64_t small[] = {1,
                                     10,
                                     100,
                                     1000,
                                     10000,
                                     100000,
                                     1000000,
                                     10000000,
                                     100000000,
                                     1000000000,
                                     10000000000,
                                     100000000000,
                                     1000000000000,
                                     10000000000000,
                                     100000000000000,
                                     1000000000000000,
                                     10000000000000000,
                                     100000000000000000,
                                     1000000000000000000};
    return n <= 18 ? (__int128)small[n] : (__int128)small[18] * (__int128)small[n - 18];
}

static u128 magnitude(__int128 value)
{
    return value < 0 ? -(u128)value : (u128)value;
}

static bool fits(__int128 coefficient)
{
    return magnitude(coefficient) < (u128)power(KP_DEC_DIGITS);
}

bool kp_dec_make(__int128 coefficient, uint32_t scale, kp_dec *out)
{
    while (scale > 0 && (!fits(coefficient) || scale > KP_DEC_SCALE_MAX) && coefficient % 10 == 0) {
        coefficient /= 10;
        scale--;
    }
    if (!fits(coefficient) || scale > KP_DEC_SCALE_MAX)
        return false;
    *out = coefficient * 256 + scale;
    return true;
}

kp_dec kp_dec_from_i64(int64_t value)
{
    return (kp_dec)value * 256;
}

bool kp_dec_from_real(double value, kp_dec *out)
{
    char text[40];
    if (!isfinite(value))
        return false;
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    return kp_dec_parse(kp_str_from(text), out);
}

bool kp_dec_to_i64(kp_dec d, int64_t *out)
{
    __int128 whole = kp_dec_coefficient(d) / power(kp_dec_scale(d));
    if (whole < INT64_MIN || whole > INT64_MAX)
        return false;
    *out = (int64_t)whole;
    return true;
}

double kp_dec_to_real(kp_dec d)
{
    char text[KP_DEC_TEXT_MAX];
    kp_dec_format(d, text);
    return strtod(text, NULL);
}

/* --- text --- */

/* The exponent behind an e; values that no decimal has are cut off. */
static bool parse_exponent(struct kp_str text, int32_t *out)
{
    bool minus = text.len > 0 && text.ptr[0] == '-';
    uint32_t at = text.len > 0 && (minus || text.ptr[0] == '+');
    int32_t value = 0;
    if (at == text.len)
        return false;
    for (; at < text.len; at++) {
        if (text.ptr[at] < '0' || text.ptr[at] > '9')
            return false;
        if (value < 10000)
            value = value * 10 + (text.ptr[at] - '0');
    }
    *out = minus ? -value : value;
    return true;
}

/* Puts the exponent into the scale. */
static bool move_point(__int128 coefficient, int32_t scale, kp_dec *out)
{
    for (; scale < 0; scale++) {
        if (!fits(coefficient) || coefficient == 0)
            break;
        coefficient *= 10;
    }
    if (coefficient == 0 && (scale < 0 || scale > KP_DEC_SCALE_MAX))
        scale = 0;
    return scale >= 0 && kp_dec_make(coefficient, (uint32_t)scale, out);
}

bool kp_dec_parse(struct kp_str text, kp_dec *out)
{
    bool minus = text.len > 0 && text.ptr[0] == '-', point = false, any = false;
    uint32_t at = text.len > 0 && (minus || text.ptr[0] == '+');
    int32_t scale = 0, exponent = 0;
    __int128 coefficient = 0;
    for (; at < text.len; at++) {
        char c = text.ptr[at];
        bool digit = c >= '0' && c <= '9';
        if (c == '.' && !point) {
            point = true;
            continue;
        }
        if (!digit)
            break;
        any = true;
        bool full = magnitude(coefficient) >= (u128)power(36);
        if (full && (!point || c != '0'))
            return false;
        if (full)
            continue;
        coefficient = coefficient * 10 + (c - '0');
        scale += point;
    }
    bool more = at < text.len && (text.ptr[at] | 32) == 'e';
    struct kp_str rest = {text.ptr + at + 1, more ? text.len - at - 1 : 0};
    if (!any || (more ? !parse_exponent(rest, &exponent) : at < text.len))
        return false;
    return move_point(minus ? -coefficient : coefficient, scale - exponent, out);
}

size_t kp_dec_format(kp_dec d, char out[KP_DEC_TEXT_MAX])
{
    u128 left = magnitude(kp_dec_coefficient(d));
    uint32_t scale = kp_dec_scale(d);
    char digits[KP_DEC_TEXT_MAX];
    uint32_t at = sizeof(digits);
    for (uint32_t i = 0; i <= scale || left != 0; i++) {
        if (i == scale && scale > 0)
            digits[--at] = '.';
        digits[--at] = (char)('0' + (int)(left % 10));
        left /= 10;
    }
    if (d < 0)
        digits[--at] = '-';
    size_t length = sizeof(digits) - at;
    memcpy(out, digits + at, length);
    out[length] = '\0';
    return length;
}

/* --- order --- */

int kp_dec_compare(kp_dec a, kp_dec b)
{
    __int128 ca = kp_dec_coefficient(a), cb = kp_dec_coefficient(b);
    uint32_t sa = kp_dec_scale(a), sb = kp_dec_scale(b), scale = sa > sb ? sa : sb;
    if (sa == sb)
        return (ca > cb) - (ca < cb);
    __int128 whole_a = ca / power(sa), whole_b = cb / power(sb);
    if (whole_a != whole_b)
        return whole_a < whole_b ? -1 : 1;
    __int128 part_a = ca % power(sa) * power(scale - sa),
             part_b = cb % power(sb) * power(scale - sb);
    return (part_a > part_b) - (part_a < part_b);
}

kp_dec kp_dec_canonical(kp_dec d)
{
    __int128 coefficient = kp_dec_coefficient(d);
    uint32_t scale = kp_dec_scale(d);
    if (coefficient == 0)
        return 0;
    for (; scale > 0 && coefficient % 10 == 0; scale--)
        coefficient /= 10;
    return coefficient * 256 + scale;
}

/* --- sums and products --- */

static bool add_aligned(kp_dec a, kp_dec b, kp_dec *out)
{
    uint32_t sa = kp_dec_scale(a), sb = kp_dec_scale(b), scale = sa > sb ? sa : sb;
    __int128 ca, cb, sum;
    if (__builtin_mul_overflow(kp_dec_coefficient(a), power(scale - sa), &ca) ||
        __builtin_mul_overflow(kp_dec_coefficient(b), power(scale - sb), &cb) ||
        __builtin_add_overflow(ca, cb, &sum))
        return false;
    return kp_dec_make(sum, scale, out);
}

bool kp_dec_add(kp_dec a, kp_dec b, kp_dec *out)
{
    return add_aligned(a, b, out) || add_aligned(kp_dec_canonical(a), kp_dec_canonical(b), out);
}

bool kp_dec_sub(kp_dec a, kp_dec b, kp_dec *out)
{
    return kp_dec_add(a, kp_dec_negate(b), out);
}

/* Takes a factor 10 out of a product, wherever its 2 and its 5 are; false when it has none. */
static bool tenth(__int128 *a, __int128 *b)
{
    if (*a % 10 == 0) {
        *a /= 10;
    } else if (*b % 10 == 0) {
        *b /= 10;
    } else if (*a % 2 == 0 && *b % 5 == 0) {
        *a /= 2;
        *b /= 5;
    } else if (*a % 5 == 0 && *b % 2 == 0) {
        *a /= 5;
        *b /= 2;
    } else {
        return false;
    }
    return true;
}

bool kp_dec_mul(kp_dec a, kp_dec b, kp_dec *out)
{
    __int128 ca = kp_dec_coefficient(a), cb = kp_dec_coefficient(b), product;
    uint32_t scale = kp_dec_scale(a) + kp_dec_scale(b);
    while (__builtin_mul_overflow(ca, cb, &product)) {
        if (scale == 0 || !tenth(&ca, &cb))
            return false;
        scale--;
    }
    if (product == 0 && scale > KP_DEC_SCALE_MAX)
        scale = KP_DEC_SCALE_MAX;
    return kp_dec_make(product, scale, out);
}

/* --- quotients --- */

/* Half to even, by what is left of the divisor. */
static bool rounds_up(u128 quotient, u128 rest, u128 divisor)
{
    return rest > divisor - rest || (rest == divisor - rest && (quotient & 1) != 0);
}

bool kp_dec_div(kp_dec a, kp_dec b, kp_dec *out)
{
    bool minus = (a < 0) != (b < 0);
    u128 top = magnitude(kp_dec_coefficient(a)), divisor = magnitude(kp_dec_coefficient(b));
    int32_t sa = (int32_t)kp_dec_scale(a), scale = sa - (int32_t)kp_dec_scale(b);
    int32_t last = sa > KP_DEC_QUOTIENT ? sa : KP_DEC_QUOTIENT;
    u128 quotient = top / divisor, rest = top % divisor, full = (u128)power(KP_DEC_DIGITS - 1);
    while (scale < 0 || (rest != 0 && scale < last && quotient < full)) {
        if (quotient >= full)
            return false;
        rest *= 10;
        quotient = quotient * 10 + rest / divisor;
        rest %= divisor;
        scale++;
    }
    quotient += rounds_up(quotient, rest, divisor);
    return kp_dec_make(minus ? -(__int128)quotient : (__int128)quotient, (uint32_t)scale, out);
}

bool kp_dec_mod(kp_dec a, kp_dec b, kp_dec *out)
{
    uint32_t sa = kp_dec_scale(a), sb = kp_dec_scale(b), scale = sa > sb ? sa : sb;
    __int128 ca, cb;
    if (__builtin_mul_overflow(kp_dec_coefficient(a), power(scale - sa), &ca) ||
        __builtin_mul_overflow(kp_dec_coefficient(b), power(scale - sb), &cb))
        return false;
    __int128 rest = ca % cb;
    if (rest < 0)
        rest += cb < 0 ? -cb : cb;
    return kp_dec_make(rest, scale, out);
}

bool kp_dec_round(kp_dec d, uint32_t digits, kp_dec *out)
{
    __int128 coefficient = kp_dec_coefficient(d), padded;
    uint32_t scale = kp_dec_scale(d);
    if (scale <= digits) {
        if (__builtin_mul_overflow(coefficient, power(digits - scale), &padded) || !fits(padded))
            return false;
        *out = padded * 256 + digits;
        return true;
    }
    u128 unit = (u128)power(scale - digits), whole = magnitude(coefficient) / unit;
    whole += rounds_up(whole, magnitude(coefficient) % unit, unit);
    *out = (coefficient < 0 ? -(__int128)whole : (__int128)whole) * 256 + digits;
    return true;
}

kp_dec kp_dec_floor(kp_dec d)
{
    __int128 unit = power(kp_dec_scale(d)), whole = kp_dec_coefficient(d) / unit;
    whole -= kp_dec_coefficient(d) % unit < 0;
    return whole * 256;
}
