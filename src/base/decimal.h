/* SPDX-License-Identifier: Apache-2.0
 *
 * Exact decimal numbers: up to 34 digits, of which up to 34 stand after the point. One number is
 * 128 bits, a signed coefficient above an eight-bit scale:
 *
 *     127                                8 7      0
 *    +-----------------------------------+--------+     value = coefficient / 10^scale
 *    |            coefficient            | scale  |     |coefficient| < 10^34
 *    +-----------------------------------+--------+
 *
 * The scale is part of the number: 1.50 stays 1.50, and equals 1.5 (kp_dec_compare). Zero bits are
 * zero. Nothing is ever rounded but by kp_dec_div and kp_dec_round, half to even; what does not fit
 * is false, and the answer untouched.
 */
#ifndef KP_BASE_DECIMAL_H
#define KP_BASE_DECIMAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

typedef __int128 kp_dec;

#define KP_DEC_DIGITS    34
#define KP_DEC_SCALE_MAX 34
#define KP_DEC_QUOTIENT  18 /* digits after the point that a division computes */
#define KP_DEC_TEXT_MAX  40 /* sign, 34 digits, "0." and the terminating 0 */

static inline __int128 kp_dec_coefficient(kp_dec d)
{
    return d >> 8;
}

static inline uint32_t kp_dec_scale(kp_dec d)
{
    return (uint32_t)(d & 0xff);
}

/* Trailing zeros after the point are dropped when there are too many digits. */
bool kp_dec_make(__int128 coefficient, uint32_t scale, kp_dec *out);
kp_dec kp_dec_from_i64(int64_t value);
/* The fewest digits that read back to the same number; false for what is not finite. */
bool kp_dec_from_real(double value, kp_dec *out);
/* The whole part. */
bool kp_dec_to_i64(kp_dec d, int64_t *out);
double kp_dec_to_real(kp_dec d);

/* Sign, digits with a point or not, exponent or not. */
bool kp_dec_parse(struct kp_str text, kp_dec *out);
/* All digits, without exponent; its length. */
size_t kp_dec_format(kp_dec d, char out[KP_DEC_TEXT_MAX]);

/* By value: 1.5 equals 1.50. */
int kp_dec_compare(kp_dec a, kp_dec b);
/* The same value with the fewest digits: equal values have equal bits then. */
kp_dec kp_dec_canonical(kp_dec d);

bool kp_dec_add(kp_dec a, kp_dec b, kp_dec *out);
bool kp_dec_sub(kp_dec a, kp_dec b, kp_dec *out);
bool kp_dec_mul(kp_dec a, kp_dec b, kp_dec *out);
/* Exact when the quotient ends within KP_DEC_QUOTIENT digits after the point (or as many as a has,
 * if more), rounded to these otherwise, and to fewer when it has more than 34 in all. b is not 0.
 */
bool kp_dec_div(kp_dec a, kp_dec b, kp_dec *out);
/* 0 <= result < |b|; b is not 0. */
bool kp_dec_mod(kp_dec a, kp_dec b, kp_dec *out);
/* With exactly so many digits after the point (0 <= digits <= KP_DEC_SCALE_MAX). */
bool kp_dec_round(kp_dec d, uint32_t digits, kp_dec *out);
/* Largest whole number not above. */
kp_dec kp_dec_floor(kp_dec d);

static inline kp_dec kp_dec_negate(kp_dec d)
{
    return -kp_dec_coefficient(d) * 256 + kp_dec_scale(d);
}

#endif
