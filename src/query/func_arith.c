/* SPDX-License-Identifier: Apache-2.0
 *
 * Arithmetic. Integers, datetimes and timespans are exact int64; a result that does not fit is null
 * and counted, because one odd row must not end an answer about millions.
 */
#include <math.h>

#include "query/func.h"

#define A64 const int64_t *a = call->args[0]->i64
#define B64 const int64_t *b = call->args[1]->i64
#define AF  const double *a = call->args[0]->f64
#define BF  const double *b = call->args[1]->f64
#define O64 int64_t *out = call->out->i64
#define OF  double *out = call->out->f64

#define CHECKED(name, builtin)                                                                    \
    static void name(struct kpi_call *call)                                                       \
    {                                                                                             \
        A64;                                                                                      \
        B64;                                                                                      \
        O64;                                                                                      \
        KPI_EACH(call, row, if (builtin(a[row], b[row], &out[row])) kpi_set_overflow(call, row)); \
    }
CHECKED(add_i64, __builtin_add_overflow)
CHECKED(sub_i64, __builtin_sub_overflow)
CHECKED(mul_i64, __builtin_mul_overflow)

#define REAL2(name, expr)                       \
    static void name(struct kpi_call *call)     \
    {                                           \
        AF;                                     \
        BF;                                     \
        OF;                                     \
        KPI_EACH(call, row, out[row] = (expr)); \
    }
REAL2(add_f64, a[row] + b[row])
REAL2(sub_f64, a[row] - b[row])
REAL2(mul_f64, a[row] * b[row])
REAL2(div_f64, a[row] / b[row])
REAL2(mod_f64, fmod(a[row], b[row]) + (fmod(a[row], b[row]) < 0 ? fabs(b[row]) : 0))
REAL2(pow_f64, pow(a[row], b[row]))
REAL2(bin_f64, floor(a[row] / b[row]) * b[row])
REAL2(atan2_f64, atan2(a[row], b[row]))

#define REAL1(name, expr)                       \
    static void name(struct kpi_call *call)     \
    {                                           \
        AF;                                     \
        OF;                                     \
        KPI_EACH(call, row, out[row] = (expr)); \
    }
REAL1(neg_f64, -a[row])
REAL1(abs_f64, fabs(a[row]))
REAL1(sqrt_f64, sqrt(a[row]))
REAL1(log_f64, log(a[row]))
REAL1(log2_f64, log2(a[row]))
REAL1(log10_f64, log10(a[row]))
REAL1(exp_f64, exp(a[row]))
REAL1(exp2_f64, exp2(a[row]))
REAL1(sin_f64, sin(a[row]))
REAL1(cos_f64, cos(a[row]))
REAL1(tan_f64, tan(a[row]))
REAL1(asin_f64, asin(a[row]))
REAL1(acos_f64, acos(a[row]))
REAL1(atan_f64, atan(a[row]))
REAL1(cot_f64, 1 / tan(a[row]))
REAL1(degrees_f64, a[row] * 180 / M_PI)
REAL1(radians_f64, a[row] * M_PI / 180)
REAL1(ceil_f64, ceil(a[row]))
REAL1(round_f64, round(a[row]))

static void div_i64(struct kpi_call *call)
{
    A64;
    B64;
    O64;
    KPI_EACH(call, row, if (b[row] == 0) kpi_set_null(call, row);
             else if (a[row] == INT64_MIN && b[row] == -1) kpi_set_overflow(call, row);
             else out[row] = a[row] / b[row]);
}

/* Kusto's: 0 <= result < |divisor|. */
static int64_t modulo(int64_t a, int64_t b)
{
    if (b == -1)
        return 0;
    int64_t rest = a % b;
    if (rest < 0)
        rest = b < 0 ? rest - b : rest + b;
    return rest;
}

static void mod_i64(struct kpi_call *call)
{
    A64;
    B64;
    O64;
    KPI_EACH(call, row, if (b[row] == 0) kpi_set_null(call, row);
             else out[row] = modulo(a[row], b[row]));
}

/* timespan / timespan is a ratio. */
static void ratio_i64(struct kpi_call *call)
{
    A64;
    B64;
    OF;
    KPI_EACH(call, row, if (b[row] == 0) kpi_set_null(call, row);
             else out[row] = (double)a[row] / (double)b[row]);
}

static void store_rounded(struct kpi_call *call, uint32_t row, double value)
{
    if (!(value >= -0x1p63 && value < 0x1p63))
        kpi_set_overflow(call, row);
    else
        call->out->i64[row] = (int64_t)value;
}

/* timespan * real and timespan / real; rounds half away from zero to whole ns. */
static void scale_up(struct kpi_call *call)
{
    A64;
    BF;
    KPI_EACH(call, row, store_rounded(call, row, round((double)a[row] * b[row])));
}

static void scale_up_swapped(struct kpi_call *call)
{
    AF;
    B64;
    KPI_EACH(call, row, store_rounded(call, row, round(a[row] * (double)b[row])));
}

static void scale_down(struct kpi_call *call)
{
    A64;
    BF;
    KPI_EACH(call, row, store_rounded(call, row, round((double)a[row] / b[row])));
}

static void neg_i64(struct kpi_call *call)
{
    A64;
    O64;
    KPI_EACH(call, row,
             if (__builtin_sub_overflow((int64_t)0, a[row], &out[row]))
                 kpi_set_overflow(call, row));
}

static void abs_i64(struct kpi_call *call)
{
    A64;
    O64;
    KPI_EACH(call, row, if (a[row] == INT64_MIN) kpi_set_overflow(call, row);
             else out[row] = a[row] < 0 ? -a[row] : a[row]);
}

static void sign_i64(struct kpi_call *call)
{
    A64;
    O64;
    KPI_EACH(call, row, out[row] = (a[row] > 0) - (a[row] < 0));
}

static void sign_f64(struct kpi_call *call)
{
    AF;
    O64;
    KPI_EACH(call, row, out[row] = (a[row] > 0) - (a[row] < 0));
}

/* Largest multiple of step at or below value; false when it does not fit or step <= 0. */
static bool bin_down(int64_t value, int64_t step, int64_t origin, int64_t *out)
{
    int64_t offset, rest;
    if (step <= 0 || __builtin_sub_overflow(value, origin, &offset))
        return false;
    rest = modulo(offset, step);
    return !__builtin_sub_overflow(value, rest, out);
}

static void bin_i64(struct kpi_call *call)
{
    A64;
    B64;
    O64;
    KPI_EACH(call, row, if (b[row] <= 0) kpi_set_null(call, row);
             else if (!bin_down(a[row], b[row], 0, &out[row])) kpi_set_overflow(call, row));
}

static void bin_at_i64(struct kpi_call *call)
{
    A64;
    B64;
    O64;
    const int64_t *c = call->args[2]->i64;
    KPI_EACH(call, row, if (b[row] <= 0) kpi_set_null(call, row);
             else if (!bin_down(a[row], b[row], c[row], &out[row])) kpi_set_overflow(call, row));
}

static void bin_at_f64(struct kpi_call *call)
{
    AF;
    BF;
    OF;
    const double *c = call->args[2]->f64;
    KPI_EACH(call, row, out[row] = floor((a[row] - c[row]) / b[row]) * b[row] + c[row]);
}

static void round_digits(struct kpi_call *call)
{
    AF;
    B64;
    OF;
    KPI_EACH(call, row, double scale = pow(10, (double)b[row]);
             out[row] = isfinite(scale) && scale != 0 ? round(a[row] * scale) / scale : a[row]);
}

static void is_nan(struct kpi_call *call)
{
    AF;
    O64;
    KPI_EACH(call, row, out[row] = isnan(a[row]) != 0);
}

static void is_inf(struct kpi_call *call)
{
    AF;
    O64;
    KPI_EACH(call, row, out[row] = isinf(a[row]) != 0);
}

static void is_finite(struct kpi_call *call)
{
    AF;
    O64;
    KPI_EACH(call, row, out[row] = isfinite(a[row]) != 0);
}

static void pi_f64(struct kpi_call *call)
{
    OF;
    KPI_EACH(call, row, out[row] = M_PI);
}

#define BITS(name, expr)                                 \
    static void name(struct kpi_call *call)              \
    {                                                    \
        A64;                                             \
        B64;                                             \
        O64;                                             \
        KPI_EACH(call, row, out[row] = (int64_t)(expr)); \
    }
BITS(and_bits, a[row] & b[row])
BITS(or_bits, a[row] | b[row])
BITS(xor_bits, a[row] ^ b[row])
BITS(shift_left, (uint64_t)a[row] << (b[row] & 63))
BITS(shift_right, (uint64_t)a[row] >> (b[row] & 63))

static const struct kpi_func funcs[] = {
    {"+", "ll", 'l', 0, add_i64, "sum; a result that does not fit is null"},
    {"+", "rr", 'r', 0, add_f64, NULL},
    {"+", "td", 't', 0, add_i64, NULL},
    {"+", "dt", 't', 0, add_i64, NULL},
    {"+", "dd", 'd', 0, add_i64, NULL},
    {"-", "ll", 'l', 0, sub_i64, "difference"},
    {"-", "rr", 'r', 0, sub_f64, NULL},
    {"-", "tt", 'd', 0, sub_i64, NULL},
    {"-", "td", 't', 0, sub_i64, NULL},
    {"-", "dd", 'd', 0, sub_i64, NULL},
    {"*", "ll", 'l', 0, mul_i64, "product"},
    {"*", "rr", 'r', 0, mul_f64, NULL},
    {"*", "dl", 'd', 0, mul_i64, NULL},
    {"*", "ld", 'd', 0, mul_i64, NULL},
    {"*", "dr", 'd', 0, scale_up, NULL},
    {"*", "rd", 'd', 0, scale_up_swapped, NULL},
    {"/", "ll", 'l', 0, div_i64,
     "quotient; of longs the whole part; by zero null (real: infinite)"},
    {"/", "rr", 'r', 0, div_f64, NULL},
    {"/", "dd", 'r', 0, ratio_i64, NULL},
    {"/", "dl", 'd', 0, div_i64, NULL},
    {"/", "dr", 'd', 0, scale_down, NULL},
    {"%", "ll", 'l', 0, mod_i64, "rest of a division, never negative"},
    {"%", "rr", 'r', 0, mod_f64, NULL},
    {"%", "dd", 'd', 0, mod_i64, NULL},
    {"negate", "l", 'l', 0, neg_i64, NULL},
    {"negate", "r", 'r', 0, neg_f64, NULL},
    {"negate", "d", 'd', 0, neg_i64, NULL},
    {"abs", "l", 'l', 0, abs_i64, "absolute value"},
    {"abs", "r", 'r', 0, abs_f64, NULL},
    {"abs", "d", 'd', 0, abs_i64, NULL},
    {"sign", "l", 'l', 0, sign_i64, "-1, 0 or 1"},
    {"sign", "d", 'l', 0, sign_i64, NULL},
    {"sign", "r", 'l', 0, sign_f64, NULL},
    {"bin", "ll", 'l', 0, bin_i64, "rounds down to a multiple of the step"},
    {"bin", "rr", 'r', 0, bin_f64, NULL},
    {"bin", "td", 't', 0, bin_i64, NULL},
    {"bin", "dd", 'd', 0, bin_i64, NULL},
    {"floor", "ll", 'l', 0, bin_i64, "same as bin()"},
    {"floor", "rr", 'r', 0, bin_f64, NULL},
    {"floor", "td", 't', 0, bin_i64, NULL},
    {"floor", "dd", 'd', 0, bin_i64, NULL},
    {"bin_at", "lll", 'l', 0, bin_at_i64, "rounds down to a step counted from a fixed point"},
    {"bin_at", "rrr", 'r', 0, bin_at_f64, NULL},
    {"bin_at", "tdt", 't', 0, bin_at_i64, NULL},
    {"bin_at", "ddd", 'd', 0, bin_at_i64, NULL},
    {"ceiling", "r", 'r', 0, ceil_f64, "smallest whole number not below"},
    {"round", "r", 'r', 0, round_f64, "nearest whole number, or with so many digits"},
    {"round", "rl", 'r', 0, round_digits, NULL},
    {"pow", "rr", 'r', 0, pow_f64, "power"},
    {"sqrt", "r", 'r', 0, sqrt_f64, "square root"},
    {"log", "r", 'r', 0, log_f64, "natural logarithm"},
    {"log2", "r", 'r', 0, log2_f64, "logarithm to base 2"},
    {"log10", "r", 'r', 0, log10_f64, "logarithm to base 10"},
    {"exp", "r", 'r', 0, exp_f64, "e to the power"},
    {"exp2", "r", 'r', 0, exp2_f64, "2 to the power"},
    {"asin", "r", 'r', 0, asin_f64, "angle of a sine"},
    {"acos", "r", 'r', 0, acos_f64, "angle of a cosine"},
    {"atan", "r", 'r', 0, atan_f64, "angle of a tangent"},
    {"cot", "r", 'r', 0, cot_f64, "cotangent"},
    {"degrees", "r", 'r', 0, degrees_f64, "radians in degrees"},
    {"radians", "r", 'r', 0, radians_f64, "degrees in radians"},
    {"sin", "r", 'r', 0, sin_f64, "sine"},
    {"cos", "r", 'r', 0, cos_f64, "cosine"},
    {"tan", "r", 'r', 0, tan_f64, "tangent"},
    {"atan2", "rr", 'r', 0, atan2_f64, "angle of a point"},
    {"pi", "", 'r', 0, pi_f64, "3.14..."},
    {"isnan", "r", 'b', 0, is_nan, "not a number?"},
    {"isinf", "r", 'b', 0, is_inf, "infinite?"},
    {"isfinite", "r", 'b', 0, is_finite, "neither infinite nor not a number?"},
    {"binary_and", "ll", 'l', 0, and_bits, "bits set in both"},
    {"binary_or", "ll", 'l', 0, or_bits, "bits set in either"},
    {"binary_xor", "ll", 'l', 0, xor_bits, "bits set in one"},
    {"binary_shift_left", "ll", 'l', 0, shift_left, "bits moved up"},
    {"binary_shift_right", "ll", 'l', 0, shift_right, "bits moved down"},
};

const struct kpi_func_table kpi_funcs_arith = {funcs, KP_ARRAY_LEN(funcs)};
