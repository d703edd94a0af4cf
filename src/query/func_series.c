/* SPDX-License-Identifier: Apache-2.0
 *
 * Series: arrays of numbers, as make-series gives them. An element that is no number is a gap: it
 * is left out of statistics, and an operation with it is null.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "query/func.h"

/* About as many steps as reading or writing a number takes. */
#define ELEMENT_WORK 64

struct series {
    double *values; /* NaN = a gap */
    int64_t count;
};

static bool number_of(struct kp_str text, double *out)
{
    char copy[64], *end;
    if (text.len == 0 || text.len >= sizeof(copy) || text.ptr[0] == '"')
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    *out = strtod(copy, &end);
    return end > copy && *end == '\0';
}

static bool read_series(struct kpi_call *call, uint32_t arg, uint32_t row, struct series *out)
{
    struct kpi_json_walk walk;
    struct kp_str json = KP_STR(""), value;
    int64_t count = 0;
    *out = (struct series){NULL, 0};
    if (call->args[arg]->type == KP_TYPE_DYN)
        json = kp_vec_str(call->args[arg], row);
    if (!kpi_json_array(json, &walk))
        return false;
    while (kpi_json_next(&walk, &value) && kpi_go_on(call->eval->ctx, ELEMENT_WORK))
        count++;
    out->values = (double *)kpi_scratch(call->eval, ((size_t)count + 1) * sizeof(double));
    kpi_json_array(json, &walk);
    while (out->values != NULL && kpi_json_next(&walk, &value)) {
        if (!kpi_go_on(call->eval->ctx, ELEMENT_WORK))
            return false;
        if (!number_of(value, &out->values[out->count]))
            out->values[out->count] = NAN;
        out->count++;
    }
    return out->values != NULL;
}

static void add_number(struct kp_buf *out, double value)
{
    struct kpi_value number = {.type = KP_TYPE_F64, .f64 = value, .null = isnan(value)};
    if (out->size > 1)
        kp_buf_char(out, ',');
    kpi_json_value(&number, out);
}

/* --- filters --- */

static bool flag_arg(const struct kpi_call *call, uint32_t arg, uint32_t row, bool none)
{
    return arg < call->args_count ? call->args[arg]->i64[row] != 0 : none;
}

/* Each element becomes the weighted sum of itself and those before it (or around it, centered);
 * gaps and what lies outside count nothing. Normalized, the weights are divided by their sum. */
static void fir(struct kpi_call *call, uint32_t row)
{
    struct series s, weights;
    struct kp_buf out = kpi_buf(call->eval);
    double sum = 0;
    if (!read_series(call, 0, row, &s) || !read_series(call, 1, row, &weights)) {
        kpi_set_str(call, row, "", 0);
        return;
    }
    for (int64_t k = 0; k < weights.count; k++)
        sum += isnan(weights.values[k]) ? 0 : weights.values[k];
    bool normalize = flag_arg(call, 2, row, sum > 0) && sum != 0;
    int64_t shift = flag_arg(call, 3, row, false) ? weights.count / 2 : 0;
    kp_buf_char(&out, '[');
    for (int64_t i = 0; i < s.count; i++) {
        double total = 0;
        if (!kpi_go_on(call->eval->ctx, (uint64_t)weights.count + ELEMENT_WORK))
            break;
        for (int64_t k = 0; k < weights.count; k++) {
            int64_t at = i + shift - k;
            bool there = at >= 0 && at < s.count && !isnan(s.values[at]);
            total += there && !isnan(weights.values[k]) ? s.values[at] * weights.values[k] : 0;
        }
        add_number(&out, normalize ? total / sum : total);
    }
    kp_buf_char(&out, ']');
    kpi_set_buf(call, row, &out);
}

/* out[i] = (sum of b[k] x[i - k] - sum of a[k] out[i - k], k > 0) / a[0] */
static void iir(struct kpi_call *call, uint32_t row)
{
    struct series x, b, a;
    struct kp_buf out = kpi_buf(call->eval);
    if (!read_series(call, 0, row, &x) || !read_series(call, 1, row, &b) ||
        !read_series(call, 2, row, &a) || a.count == 0 || isnan(a.values[0]) || a.values[0] == 0) {
        kpi_set_str(call, row, "", 0);
        return;
    }
    double *answers =
        (double *)(void *)kpi_scratch(call->eval, ((size_t)x.count + 1) * sizeof(double));
    if (answers == NULL)
        return;
    kp_buf_char(&out, '[');
    for (int64_t i = 0; i < x.count; i++) {
        double total = 0;
        if (!kpi_go_on(call->eval->ctx, (uint64_t)(a.count + b.count) + ELEMENT_WORK))
            break;
        for (int64_t k = 0; k < b.count && k <= i; k++)
            total += isnan(x.values[i - k]) ? 0 : b.values[k] * x.values[i - k];
        for (int64_t k = 1; k < a.count && k <= i; k++)
            total -= a.values[k] * answers[i - k];
        answers[i] = total / a.values[0];
        add_number(&out, answers[i]);
    }
    kp_buf_char(&out, ']');
    kpi_set_buf(call, row, &out);
}

/* --- element by element --- */

typedef double one_fn(double a);
typedef double two_fn(double a, double b);

static void each_one(struct kpi_call *call, uint32_t row, one_fn *fn)
{
    struct series s;
    struct kp_buf out = kpi_buf(call->eval);
    if (!read_series(call, 0, row, &s)) {
        kpi_set_str(call, row, "", 0);
        return;
    }
    kp_buf_char(&out, '[');
    for (int64_t i = 0; i < s.count; i++)
        add_number(&out, isnan(s.values[i]) ? NAN : fn(s.values[i]));
    kp_buf_char(&out, ']');
    kpi_set_buf(call, row, &out);
}

/* An argument that is a number by itself, or a dynamic that holds one. */
static bool lone_number(const struct kpi_call *call, uint32_t arg, uint32_t row, double *out)
{
    const struct kp_vec *vec = call->args[arg];
    if (vec->type == KP_TYPE_DYN)
        return number_of(kp_vec_str(vec, row), out);
    *out = vec->f64[row];
    return true;
}

/* The longer one decides the length; a lone number goes with every element. */
static void each_two(struct kpi_call *call, uint32_t row, two_fn *fn, bool condition)
{
    struct series a, b;
    struct kp_buf out = kpi_buf(call->eval);
    double lone = NAN;
    bool left = read_series(call, 0, row, &a), right = read_series(call, 1, row, &b);
    if (!left && !lone_number(call, 0, row, &lone))
        left = right = false;
    if (!right && left && !lone_number(call, 1, row, &lone))
        left = false;
    if (!left && !right) {
        kpi_set_str(call, row, "", 0);
        return;
    }
    kp_buf_char(&out, '[');
    int64_t count = KP_MAX(left ? a.count : 0, right ? b.count : 0);
    for (int64_t i = 0; i < count; i++) {
        double x = !left ? lone : i < a.count ? a.values[i] : NAN;
        double y = !right ? lone : i < b.count ? b.values[i] : NAN;
        double value = isnan(x) || isnan(y) ? NAN : fn(x, y);
        if (!condition) {
            add_number(&out, value);
            continue;
        }
        kp_buf_text(&out, out.size > 1 ? "," : "");
        kp_buf_text(&out, isnan(value) ? "null" : value != 0 ? "true" : "false");
    }
    kp_buf_char(&out, ']');
    kpi_set_buf(call, row, &out);
}

static double plus(double a, double b)
{
    return a + b;
}

static double minus(double a, double b)
{
    return a - b;
}

static double times(double a, double b)
{
    return a * b;
}

static double over(double a, double b)
{
    return a / b;
}

static double is_less(double a, double b)
{
    return a < b;
}

static double is_less_equal(double a, double b)
{
    return a <= b;
}

static double is_greater(double a, double b)
{
    return a > b;
}

static double is_greater_equal(double a, double b)
{
    return a >= b;
}

static double is_equal(double a, double b)
{
    return a == b;
}

static double is_other(double a, double b)
{
    return a != b;
}

static double sign_of(double a)
{
    return (a > 0) - (a < 0);
}

/* --- statistics --- */

struct facts {
    double min, max, sum, mean, variance;
    int64_t min_at, max_at, count;
};

static struct facts facts_of(const struct series *s)
{
    struct facts f = {.min = NAN, .max = NAN, .mean = NAN, .min_at = -1, .max_at = -1};
    double mean = 0, squares = 0;
    for (int64_t i = 0; i < s->count; i++) {
        double x = s->values[i];
        if (isnan(x))
            continue;
        if (f.count == 0 || x < f.min) {
            f.min = x;
            f.min_at = i;
        }
        if (f.count == 0 || x > f.max) {
            f.max = x;
            f.max_at = i;
        }
        f.sum += x;
        double delta = x - mean;
        mean += delta / (double)++f.count;
        squares += delta * (x - mean);
    }
    f.mean = f.count == 0 ? NAN : mean;
    f.variance = f.count < 2 ? 0 : squares / (double)(f.count - 1);
    return f;
}

static void stats(struct kpi_call *call, uint32_t row, bool bag)
{
    static const char *const names[] = {"min", "min_idx", "max",     "max_idx",
                                        "avg", "stdev",   "variance"};
    struct series s;
    struct kp_buf out = kpi_buf(call->eval);
    if (!read_series(call, 0, row, &s)) {
        kpi_set_str(call, row, "", 0);
        return;
    }
    struct facts f = facts_of(&s);
    const double values[] = {f.min,  (double)f.min_at, f.max,     (double)f.max_at,
                             f.mean, sqrt(f.variance), f.variance};
    kp_buf_char(&out, bag ? '{' : '[');
    for (size_t i = 0; i < KP_ARRAY_LEN(names); i++) {
        if (!bag) {
            add_number(&out, values[i]);
            continue;
        }
        struct kpi_value number = {.type = KP_TYPE_F64, .f64 = values[i], .null = isnan(values[i])};
        kp_buf_printf(&out, "%s\"%s\":", i > 0 ? "," : "", names[i]);
        kpi_json_value(&number, &out);
    }
    kp_buf_char(&out, bag ? '}' : ']');
    kpi_set_buf(call, row, &out);
}

static void set_real(struct kpi_call *call, uint32_t row, double value)
{
    call->out->f64[row] = value;
    if (isnan(value))
        kpi_set_null(call, row);
}

static double folded(struct kpi_call *call, uint32_t row, two_fn *fn, double start)
{
    struct series s;
    if (!read_series(call, 0, row, &s))
        return NAN;
    for (int64_t i = 0; i < s.count; i++)
        start = isnan(s.values[i]) ? start : fn(start, s.values[i]);
    return start;
}

static double dot(struct kpi_call *call, uint32_t row, uint32_t x, uint32_t y)
{
    struct series a, b;
    double sum = 0;
    if (!read_series(call, x, row, &a) || !read_series(call, y, row, &b))
        return NAN;
    for (int64_t i = 0; i < KP_MIN(a.count, b.count); i++)
        sum += isnan(a.values[i]) || isnan(b.values[i]) ? 0 : a.values[i] * b.values[i];
    return sum;
}

static double correlation(struct kpi_call *call, uint32_t row)
{
    struct series a, b;
    if (!read_series(call, 0, row, &a) || !read_series(call, 1, row, &b) || a.count != b.count)
        return NAN;
    struct facts x = facts_of(&a), y = facts_of(&b);
    double sum = 0;
    for (int64_t i = 0; i < a.count; i++)
        sum += (a.values[i] - x.mean) * (b.values[i] - y.mean);
    return sum / (double)(x.count - 1) / sqrt(x.variance * y.variance);
}

/* --- gaps --- */

enum { FILL_CONST, FILL_FORWARD, FILL_BACKWARD, FILL_LINEAR };

static void fill_gap(struct series *s, int64_t from, int64_t to, int how, double constant)
{
    double before = from > 0 ? s->values[from - 1] : NAN;
    double after = to < s->count ? s->values[to] : NAN;
    for (int64_t i = from; i < to; i++) {
        double part = (double)(i - from + 1) / (double)(to - from + 1);
        double line = isnan(before)  ? after
                      : isnan(after) ? before
                                     : before + (after - before) * part;
        s->values[i] = how == FILL_CONST      ? constant
                       : how == FILL_FORWARD  ? before
                       : how == FILL_BACKWARD ? after
                                              : line;
    }
}

static void fill(struct kpi_call *call, uint32_t row, int how)
{
    struct series s;
    struct kp_buf out = kpi_buf(call->eval);
    if (!read_series(call, 0, row, &s)) {
        kpi_set_str(call, row, "", 0);
        return;
    }
    double constant = how == FILL_CONST ? call->args[1]->f64[row] : 0;
    for (int64_t i = 0; i < s.count; i++) {
        int64_t end = i;
        while (end < s.count && isnan(s.values[end]))
            end++;
        if (end > i)
            fill_gap(&s, i, end, how, constant);
        i = KP_MAX(end, i);
    }
    kp_buf_char(&out, '[');
    for (int64_t i = 0; i < s.count; i++)
        add_number(&out, s.values[i]);
    kp_buf_char(&out, ']');
    kpi_set_buf(call, row, &out);
}

/* --- a straight line through the points (least squares over the positions) --- */

static void fit_line(struct kpi_call *call, uint32_t row, bool bag)
{
    struct series s;
    struct kp_buf out = kpi_buf(call->eval), line = kpi_buf(call->eval);
    if (!read_series(call, 0, row, &s)) {
        kpi_set_str(call, row, "", 0);
        return;
    }
    double n = 0, sx = 0, sy = 0, sxx = 0, sxy = 0, rest = 0;
    struct facts f = facts_of(&s);
    for (int64_t i = 0; i < s.count; i++) {
        double x = (double)i, y = s.values[i];
        if (isnan(y))
            continue;
        n++;
        sx += x;
        sy += y;
        sxx += x * x;
        sxy += x * y;
    }
    double slope = (n * sxy - sx * sy) / (n * sxx - sx * sx), at_zero = (sy - slope * sx) / n;
    kp_buf_char(&line, '[');
    for (int64_t i = 0; i < s.count; i++) {
        double guess = at_zero + slope * (double)i;
        rest += isnan(s.values[i]) ? 0 : (s.values[i] - guess) * (s.values[i] - guess);
        add_number(&line, guess);
    }
    kp_buf_char(&line, ']');
    double residual = n < 2 ? 0 : rest / (n - 1);
    const struct {
        const char *name;
        double value;
    } parts[] = {{"rsquare", f.variance == 0 ? 1 : 1 - residual / f.variance},
                 {"slope", slope},
                 {"variance", f.variance},
                 {"rvariance", residual},
                 {"interception", at_zero}};
    kp_buf_char(&out, bag ? '{' : '[');
    for (size_t i = 0; i < KP_ARRAY_LEN(parts); i++) {
        struct kpi_value number = {
            .type = KP_TYPE_F64, .f64 = parts[i].value, .null = isnan(parts[i].value)};
        if (bag)
            kp_buf_printf(&out, "%s\"%s\":", i > 0 ? "," : "", parts[i].name);
        else if (i > 0)
            kp_buf_char(&out, ',');
        kpi_json_value(&number, &out);
    }
    kp_buf_text(&out, bag ? ",\"line_fit\":" : ",");
    kp_buf_text(&out, kp_buf_cstr(&line));
    kp_buf_deinit(&line);
    kp_buf_char(&out, bag ? '}' : ']');
    kpi_set_buf(call, row, &out);
}

/* --- outliers: Tukey's fences, 0 inside, else how many times 1.5 box heights beyond --- */

static int order_real(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const double *sorted, int64_t count, double p)
{
    double at = p * (double)(count - 1);
    int64_t low = (int64_t)at, high = KP_MIN(low + 1, count - 1);
    return sorted[low] + (sorted[high] - sorted[low]) * (at - (double)low);
}

static void outliers(struct kpi_call *call, uint32_t row)
{
    struct series s;
    struct kp_buf out = kpi_buf(call->eval);
    int64_t count = 0;
    if (!read_series(call, 0, row, &s)) {
        kpi_set_str(call, row, "", 0);
        return;
    }
    double *sorted = (double *)kpi_scratch(call->eval, ((size_t)s.count + 1) * sizeof(double));
    for (int64_t i = 0; sorted != NULL && i < s.count; i++)
        if (!isnan(s.values[i]))
            sorted[count++] = s.values[i];
    kp_buf_char(&out, '[');
    if (count > 0) {
        qsort(sorted, (size_t)count, sizeof(double), order_real);
        double low = quantile(sorted, count, 0.25), high = quantile(sorted, count, 0.75);
        double box = 1.5 * (high - low);
        for (int64_t i = 0; i < s.count; i++) {
            double x = s.values[i];
            double beyond = x > high ? x - high : x < low ? x - low : 0;
            double score = box == 0 ? 0 : beyond / box;
            add_number(&out, isnan(x) ? NAN : fabs(score) <= 1 ? 0 : score);
        }
    }
    kp_buf_char(&out, ']');
    kpi_set_buf(call, row, &out);
}

/* --- kernels --- */

#define KERNEL(name, body)                  \
    static void name(struct kpi_call *call) \
    {                                       \
        KPI_EACH(call, row, body);          \
    }

KERNEL(k_add, each_two(call, row, plus, false))
KERNEL(k_subtract, each_two(call, row, minus, false))
KERNEL(k_multiply, each_two(call, row, times, false))
KERNEL(k_divide, each_two(call, row, over, false))
KERNEL(k_pow, each_two(call, row, pow, false))
KERNEL(k_less, each_two(call, row, is_less, true))
KERNEL(k_less_equals, each_two(call, row, is_less_equal, true))
KERNEL(k_greater, each_two(call, row, is_greater, true))
KERNEL(k_greater_equals, each_two(call, row, is_greater_equal, true))
KERNEL(k_equals, each_two(call, row, is_equal, true))
KERNEL(k_not_equals, each_two(call, row, is_other, true))
KERNEL(k_fir, fir(call, row))
KERNEL(k_iir, iir(call, row))
KERNEL(k_abs, each_one(call, row, fabs))
KERNEL(k_sign, each_one(call, row, sign_of))
KERNEL(k_ceiling, each_one(call, row, ceil))
KERNEL(k_floor, each_one(call, row, floor))
KERNEL(k_exp, each_one(call, row, exp))
KERNEL(k_log, each_one(call, row, log))
KERNEL(k_sin, each_one(call, row, sin))
KERNEL(k_cos, each_one(call, row, cos))
KERNEL(k_tan, each_one(call, row, tan))
KERNEL(k_asin, each_one(call, row, asin))
KERNEL(k_acos, each_one(call, row, acos))
KERNEL(k_atan, each_one(call, row, atan))
KERNEL(k_stats, stats(call, row, false))
KERNEL(k_stats_bag, stats(call, row, true))
KERNEL(k_sum, set_real(call, row, folded(call, row, plus, 0)))
KERNEL(k_product, set_real(call, row, folded(call, row, times, 1)))
KERNEL(k_dot, set_real(call, row, dot(call, row, 0, 1)))
KERNEL(k_magnitude, set_real(call, row, sqrt(dot(call, row, 0, 0))))
KERNEL(k_cosine, set_real(call, row,
                          dot(call, row, 0, 1) / sqrt(dot(call, row, 0, 0) * dot(call, row, 1, 1))))
KERNEL(k_pearson, set_real(call, row, correlation(call, row)))
KERNEL(k_fill_const, fill(call, row, FILL_CONST))
KERNEL(k_fill_forward, fill(call, row, FILL_FORWARD))
KERNEL(k_fill_backward, fill(call, row, FILL_BACKWARD))
KERNEL(k_fill_linear, fill(call, row, FILL_LINEAR))
KERNEL(k_line, fit_line(call, row, false))
KERNEL(k_line_bag, fit_line(call, row, true))
KERNEL(k_outliers, outliers(call, row))

/* Of two series, or of one and a number. */
#define TWO(name, kernel, doc)                                             \
    {name, "yy", 'y', 0, kernel, doc}, {name, "yr", 'y', 0, kernel, NULL}, \
    {                                                                      \
        name, "ry", 'y', 0, kernel, NULL                                   \
    }

static const struct kpi_func funcs[] = {
    TWO("series_add", k_add, "sums, element by element"),
    TWO("series_subtract", k_subtract, "differences, element by element"),
    TWO("series_multiply", k_multiply, "products, element by element"),
    TWO("series_divide", k_divide, "quotients, element by element"),
    TWO("series_pow", k_pow, "powers, element by element"),
    TWO("series_less", k_less, "a < b, element by element"),
    TWO("series_less_equals", k_less_equals, "a <= b, element by element"),
    TWO("series_greater", k_greater, "a > b, element by element"),
    TWO("series_greater_equals", k_greater_equals, "a >= b, element by element"),
    TWO("series_equals", k_equals, "a == b, element by element"),
    TWO("series_not_equals", k_not_equals, "a != b, element by element"),
    {"series_abs", "y", 'y', 0, k_abs, "abs() of each element"},
    {"series_sign", "y", 'y', 0, k_sign, "sign() of each element"},
    {"series_ceiling", "y", 'y', 0, k_ceiling, "ceiling() of each element"},
    {"series_floor", "y", 'y', 0, k_floor, "the next integer at or below each element"},
    {"series_exp", "y", 'y', 0, k_exp, "exp() of each element"},
    {"series_log", "y", 'y', 0, k_log, "log() of each element"},
    {"series_sin", "y", 'y', 0, k_sin, "sin() of each element"},
    {"series_cos", "y", 'y', 0, k_cos, "cos() of each element"},
    {"series_tan", "y", 'y', 0, k_tan, "tan() of each element"},
    {"series_asin", "y", 'y', 0, k_asin, "asin() of each element"},
    {"series_acos", "y", 'y', 0, k_acos, "acos() of each element"},
    {"series_atan", "y", 'y', 0, k_atan, "atan() of each element"},
    {"series_fir", "yy", 'y', 0, k_fir,
     "weighted sums of elements and those before or around them"},
    {"series_fir", "yyb", 'y', 0, k_fir, NULL},
    {"series_fir", "yybb", 'y', 0, k_fir, NULL},
    {"series_iir", "yyy", 'y', 0, k_iir, "a recursive filter: numerators, denominators"},
    {"series_stats", "y", 'y', 0, k_stats,
     "min, its position, max, its position, mean, stdev, variance as an array"},
    {"series_stats_dynamic", "y", 'y', 0, k_stats_bag, "the same as a bag"},
    {"series_sum", "y", 'r', 0, k_sum, "sum of the elements"},
    {"series_product", "y", 'r', 0, k_product, "product of the elements"},
    {"series_dot_product", "yy", 'r', 0, k_dot, "sum of the products"},
    {"series_magnitude", "y", 'r', 0, k_magnitude, "root of the sum of squares"},
    {"series_cosine_similarity", "yy", 'r', 0, k_cosine, "cosine of the angle between two"},
    {"series_pearson_correlation", "yy", 'r', 0, k_pearson, "correlation of two"},
    {"series_fill_const", "yr", 'y', 0, k_fill_const, "gaps filled with a number"},
    {"series_fill_forward", "y", 'y', 0, k_fill_forward, "gaps filled with what is before them"},
    {"series_fill_backward", "y", 'y', 0, k_fill_backward, "gaps filled with what comes after"},
    {"series_fill_linear", "y", 'y', 0, k_fill_linear, "gaps filled along a straight line"},
    {"series_fit_line", "y", 'y', 0, k_line,
     "rsquare, slope, variance, rvariance, interception and the line as an array"},
    {"series_fit_line_dynamic", "y", 'y', 0, k_line_bag, "the same as a bag"},
    {"series_outliers", "y", 'y', 0, k_outliers, "how far beyond Tukey's fences each element is"},
};

const struct kpi_func_table kpi_funcs_series = {funcs, KP_ARRAY_LEN(funcs)};
