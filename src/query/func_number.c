/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers beyond plain arithmetic: units, special functions, and the states that hll() and
 * tdigest() give. Both states are exact here: hll() is the set of hashes of the values, tdigest()
 * the sorted values with their counts.
 */
#include <math.h>
#include <stdlib.h>

#include "query/func.h"
#include "query/parse.h"

/* --- units: value in the basis of its kind = number * factor --- */

static const struct unit {
    const char *kind, *name;
    double factor;
} units[] = {
    {"length", "Meter", 1},
    {"length", "Kilometer", 1e3},
    {"length", "Centimeter", 1e-2},
    {"length", "Millimeter", 1e-3},
    {"length", "Micrometer", 1e-6},
    {"length", "Nanometer", 1e-9},
    {"length", "Inch", 0.0254},
    {"length", "Foot", 0.3048},
    {"length", "Yard", 0.9144},
    {"length", "Mile", 1609.344},
    {"length", "NauticalMile", 1852},
    {"mass", "Gram", 1e-3},
    {"mass", "Kilogram", 1},
    {"mass", "Milligram", 1e-6},
    {"mass", "Microgram", 1e-9},
    {"mass", "Tonne", 1e3},
    {"mass", "Pound", 0.45359237},
    {"mass", "Ounce", 0.028349523125},
    {"mass", "Stone", 6.35029318},
    {"mass", "ShortTon", 907.18474},
    {"mass", "LongTon", 1016.0469088},
    {"speed", "MeterPerSecond", 1},
    {"speed", "CentimeterPerHour", 0.01 / 3600},
    {"speed", "CentimeterPerSecond", 0.01},
    {"speed", "MeterPerHour", 1.0 / 3600},
    {"speed", "KilometerPerHour", 1000.0 / 3600},
    {"speed", "KilometerPerSecond", 1000},
    {"speed", "MilePerHour", 1609.344 / 3600},
    {"speed", "FootPerSecond", 0.3048},
    {"speed", "Knot", 1852.0 / 3600},
    {"volume", "CubicMeter", 1},
    {"volume", "CubicCentimeter", 1e-6},
    {"volume", "Liter", 1e-3},
    {"volume", "Milliliter", 1e-6},
    {"volume", "CubicFoot", 0.028316846592},
    {"volume", "CubicInch", 1.6387064e-5},
    {"volume", "UsGallon", 0.003785411784},
    {"volume", "ImperialGallon", 0.00454609},
    {"volume", "AcreFoot", 1233.48183754752},
    {"angle", "Radian", 1},
    {"angle", "Degree", 0.017453292519943295},
    {"angle", "Arcminute", 0.017453292519943295 / 60},
    {"angle", "Arcsecond", 0.017453292519943295 / 3600},
    {"angle", "Gradian", 0.015707963267948967},
    {"angle", "Revolution", 6.283185307179586},
    {"energy", "Joule", 1},
    {"energy", "Kilojoule", 1e3},
    {"energy", "Calorie", 4.184},
    {"energy", "Kilocalorie", 4184},
    {"energy", "WattHour", 3600},
    {"energy", "KilowattHour", 3.6e6},
    {"energy", "BritishThermalUnit", 1055.05585262},
    {"energy", "ElectronVolt", 1.602176634e-19},
    {"force", "Newton", 1},
    {"force", "Kilonewton", 1e3},
    {"force", "Dyn", 1e-5},
    {"force", "KilogramForce", 9.80665},
    {"force", "PoundForce", 4.4482216152605},
};

static const struct unit *find_unit(const char *kind, struct kp_str name)
{
    for (size_t i = 0; i < KP_ARRAY_LEN(units); i++)
        if (strcmp(units[i].kind, kind) == 0 && kp_str_equal(name, kp_str_from(units[i].name)))
            return &units[i];
    return NULL;
}

static void convert(struct kpi_call *call, uint32_t row, const char *kind)
{
    const struct unit *from = find_unit(kind, kp_vec_str(call->args[1], row));
    const struct unit *to = find_unit(kind, kp_vec_str(call->args[2], row));
    call->out->f64[row] = 0;
    if (from == NULL || to == NULL)
        kpi_set_null(call, row);
    else
        call->out->f64[row] = call->args[0]->f64[row] * (from->factor / to->factor);
}

/* Degrees do not all begin at the same point, so temperatures are not a factor apart. */
static void convert_temperature(struct kpi_call *call, uint32_t row)
{
    static const struct {
        const char *name;
        double factor, zero; /* kelvin = (x + zero) * factor */
    } scales[] = {{"Kelvin", 1, 0},
                  {"DegreeCelsius", 1, 273.15},
                  {"DegreeFahrenheit", 5.0 / 9, 459.67},
                  {"DegreeRankine", 5.0 / 9, 0}};
    int from = -1, to = -1;
    for (int i = 0; i < (int)KP_ARRAY_LEN(scales); i++) {
        if (kp_str_equal(kp_vec_str(call->args[1], row), kp_str_from(scales[i].name)))
            from = i;
        if (kp_str_equal(kp_vec_str(call->args[2], row), kp_str_from(scales[i].name)))
            to = i;
    }
    call->out->f64[row] = 0;
    if (from < 0 || to < 0) {
        kpi_set_null(call, row);
        return;
    }
    double kelvin = (call->args[0]->f64[row] + scales[from].zero) * scales[from].factor;
    call->out->f64[row] = kelvin / scales[to].factor - scales[to].zero;
}

/* --- special functions --- */

/* Continued fraction of the incomplete beta function (Abramowitz and Stegun 26.5.8), evaluated by
 * Lentz's method. */
static double beta_fraction(double x, double a, double b)
{
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < tiny ? tiny : d);
    double value = d;
    for (int m = 1; m < 1000; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        double step = 1;
        for (int half = 0; half < 2; half++) {
            double term = half == 0 ? even : odd;
            d = 1 + term * d;
            d = 1 / (fabs(d) < tiny ? tiny : d);
            c = 1 + term / c;
            c = fabs(c) < tiny ? tiny : c;
            step = c * d;
            value *= step;
        }
        if (fabs(step - 1) < 1e-16)
            break;
    }
    return value;
}

static double beta_cdf(double x, double a, double b)
{
    if (!(x >= 0 && x <= 1) || !(a > 0) || !(b > 0))
        return NAN;
    if (x == 0 || x == 1)
        return x;
    double front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x));
    if (x < (a + 1) / (a + b + 2))
        return front * beta_fraction(x, a, b) / a;
    return 1 - front * beta_fraction(1 - x, b, a) / b;
}

static double beta_pdf(double x, double a, double b)
{
    if (!(x >= 0 && x <= 1) || !(a > 0) || !(b > 0))
        return NAN;
    return exp(lgamma(a + b) - lgamma(a) - lgamma(b)) * pow(x, a - 1) * pow(1 - x, b - 1);
}

/* By halving: 200 steps reach the last bit of any double between 0 and 1. */
static double beta_inv(double p, double a, double b)
{
    double low = 0, high = 1;
    if (!(a > 0) || !(b > 0))
        return NAN;
    for (int i = 0; i < 200; i++) {
        double middle = (low + high) / 2;
        if (beta_cdf(middle, a, b) < p)
            low = middle;
        else
            high = middle;
    }
    return (low + high) / 2;
}

static void k_beta_inv(struct kpi_call *call)
{
    KPI_EACH(call, row, double p = call->args[0]->f64[row];
             call->out->f64[row] = beta_inv(p, call->args[1]->f64[row], call->args[2]->f64[row]);
             if (!(p >= 0 && p <= 1)) kpi_set_null(call, row));
}

/* 1.2.3.4 as one number, eight digits a part; false when it is none, or a part has more. */
static bool version_of(struct kp_str text, kp_dec *out)
{
    __int128 value = 0;
    for (int part = 0; part < 4; part++) {
        int64_t number = 0;
        for (; text.len > 0 && text.ptr[0] >= '0' && text.ptr[0] <= '9'; text.len--) {
            number = number * 10 + (*text.ptr++ - '0');
            if (number >= 100000000)
                return false;
        }
        value = value * 100000000 + number;
        bool point = text.len > 0 && text.ptr[0] == '.';
        text.ptr += point;
        text.len -= point;
        if (!point && text.len > 0)
            return false;
    }
    return text.len == 0 && kp_dec_make(value, 0, out);
}

/* --- states of hll() and tdigest() --- */

static int64_t hll_count(struct kp_str state)
{
    struct kpi_json_walk walk;
    struct kp_str value;
    int64_t count = 0;
    bool more = kpi_json_array(state, &walk);
    while (more && kpi_json_next(&walk, &value))
        count++;
    return count;
}

static bool read_pair(struct kp_str pair, double *out_value, double *out_count)
{
    struct kpi_value value = {0}, count = {0};
    struct kp_str first = kpi_json_element(pair, 0), second = kpi_json_element(pair, 1);
    if (first.ptr == NULL || second.ptr == NULL || !kpi_literal_real(first, &value) ||
        !kpi_literal_real(second, &count))
        return false;
    *out_value = value.f64;
    *out_count = count.f64;
    return true;
}

static double digest_total(struct kp_str state)
{
    struct kpi_json_walk walk;
    struct kp_str pair;
    double total = 0, value, count;
    bool more = kpi_json_array(state, &walk);
    while (more && kpi_json_next(&walk, &pair))
        if (read_pair(pair, &value, &count))
            total += count;
    return total;
}

/* Nearest rank, as percentile() has it; false of nothing. */
static bool digest_value(struct kp_str state, double percent, double *out)
{
    struct kp_str pair;
    struct kpi_json_walk walk;
    double value = 0, count, seen = 0;
    double rank = ceil(percent / 100 * digest_total(state));
    bool more = kpi_json_array(state, &walk), found = false;
    while (more && !found && kpi_json_next(&walk, &pair)) {
        if (!read_pair(pair, &value, &count))
            continue;
        seen += count;
        found = seen >= KP_MAX(rank, 1);
    }
    *out = value;
    return found;
}

static void digest_percentile(struct kpi_call *call, uint32_t row)
{
    if (!digest_value(kp_vec_str(call->args[0], row), call->args[1]->f64[row],
                      &call->out->f64[row]))
        kpi_set_null(call, row);
}

static void add_percentile(struct kp_str state, double percent, struct kp_buf *out)
{
    struct kpi_value value = {.type = KP_TYPE_F64};
    value.null = !digest_value(state, percent, &value.f64);
    if (out->size > 1)
        kp_buf_char(out, ',');
    kpi_json_value(&value, out);
}

/* Several percentages, one by one or as an array. */
static void digest_percentiles(struct kpi_call *call, uint32_t row)
{
    struct kp_str state = kp_vec_str(call->args[0], row), element;
    struct kp_buf out = kpi_buf(call->eval);
    struct kpi_json_walk walk;
    kp_buf_char(&out, '[');
    for (uint32_t a = 1; a < call->args_count; a++) {
        struct kpi_value percent;
        if (call->args[a]->type != KP_TYPE_DYN) {
            add_percentile(state, call->args[a]->f64[row], &out);
            continue;
        }
        bool more = kpi_json_array(kp_vec_str(call->args[a], row), &walk);
        while (more && kpi_json_next(&walk, &element))
            if (kpi_literal_real(element, &percent))
                add_percentile(state, percent.f64, &out);
    }
    kp_buf_char(&out, ']');
    kpi_set_buf(call, row, &out);
}

/* Values at or below, or above-from-the-start rank of a value. */
static double digest_rank(struct kp_str state, double wanted)
{
    struct kpi_json_walk walk;
    struct kp_str pair;
    double value, count, rank = 0;
    bool more = kpi_json_array(state, &walk);
    while (more && kpi_json_next(&walk, &pair))
        if (read_pair(pair, &value, &count) && value <= wanted)
            rank += count;
    return rank;
}

/* --- kernels --- */

#define KERNEL(name, body)                  \
    static void name(struct kpi_call *call) \
    {                                       \
        KPI_EACH(call, row, body);          \
    }

#define REAL(i) call->args[i]->f64[row]
KERNEL(k_length, convert(call, row, "length"))
KERNEL(k_mass, convert(call, row, "mass"))
KERNEL(k_speed, convert(call, row, "speed"))
KERNEL(k_volume, convert(call, row, "volume"))
KERNEL(k_angle, convert(call, row, "angle"))
KERNEL(k_energy, convert(call, row, "energy"))
KERNEL(k_force, convert(call, row, "force"))
KERNEL(k_temperature, convert_temperature(call, row))
KERNEL(k_beta_cdf, call->out->f64[row] = beta_cdf(REAL(0), REAL(1), REAL(2)))
KERNEL(k_beta_pdf, call->out->f64[row] = beta_pdf(REAL(0), REAL(1), REAL(2)))
KERNEL(k_gamma, call->out->f64[row] = tgamma(REAL(0)))
KERNEL(k_loggamma, call->out->f64[row] = lgamma(REAL(0)))
KERNEL(k_erf, call->out->f64[row] = erf(REAL(0)))
KERNEL(k_erfc, call->out->f64[row] = erfc(REAL(0)))
KERNEL(k_exp10, call->out->f64[row] = pow(10, REAL(0)))
KERNEL(k_not, call->out->i64[row] = ~call->args[0]->i64[row])
KERNEL(k_ones,
       call->out->i64[row] = __builtin_popcountll((unsigned long long)call->args[0]->i64[row]))
KERNEL(k_version, call->out->i128[row] = 0;
       if (!version_of(kp_vec_str(call->args[0], row), &call->out->i128[row]))
           kpi_set_null(call, row))
KERNEL(k_hll, call->out->i64[row] = hll_count(kp_vec_str(call->args[0], row)))
KERNEL(k_percentile, digest_percentile(call, row))
KERNEL(k_percentiles, digest_percentiles(call, row))
KERNEL(k_percent_rank, double total = digest_total(kp_vec_str(call->args[0], row));
       call->out->f64[row] = 0; if (total == 0) kpi_set_null(call, row);
       else call->out->f64[row] = 100 * digest_rank(kp_vec_str(call->args[0], row), REAL(1)) /
                                  total)
KERNEL(k_rank, call->out->f64[row] = digest_rank(kp_vec_str(call->args[0], row), REAL(1)))

static const struct kpi_func funcs[] = {
    {"convert_length", "rss", 'r', 0, k_length, "a length from one unit to another"},
    {"convert_mass", "rss", 'r', 0, k_mass, "a mass from one unit to another"},
    {"convert_speed", "rss", 'r', 0, k_speed, "a speed from one unit to another"},
    {"convert_volume", "rss", 'r', 0, k_volume, "a volume from one unit to another"},
    {"convert_angle", "rss", 'r', 0, k_angle, "an angle from one unit to another"},
    {"convert_energy", "rss", 'r', 0, k_energy, "an energy from one unit to another"},
    {"convert_force", "rss", 'r', 0, k_force, "a force from one unit to another"},
    {"convert_temperature", "rss", 'r', 0, k_temperature, "a temperature on another scale"},
    {"beta_cdf", "rrr", 'r', 0, k_beta_cdf, "cumulative beta distribution at x, for alpha, beta"},
    {"beta_pdf", "rrr", 'r', 0, k_beta_pdf, "density of the beta distribution"},
    {"beta_inv", "rrr", 'r', 0, k_beta_inv, "where the cumulative beta distribution is p"},
    {"gamma", "r", 'r', 0, k_gamma, "the gamma function"},
    {"loggamma", "r", 'r', 0, k_loggamma, "logarithm of the gamma function"},
    {"erf", "r", 'r', 0, k_erf, "the error function"},
    {"erfc", "r", 'r', 0, k_erfc, "1 - erf(x)"},
    {"exp10", "r", 'r', 0, k_exp10, "10 to the power"},
    {"binary_not", "l", 'l', 0, k_not, "all bits turned over"},
    {"bitset_count_ones", "l", 'l', 0, k_ones, "bits that are set"},
    {"parse_version", "s", 'm', 0, k_version, "up to four numbers with points as one, to compare"},
    {"dcount_hll", "y", 'l', 0, k_hll, "number of different values of an hll()"},
    {"percentile_tdigest", "yr", 'r', 0, k_percentile, "a percentile of a tdigest()"},
    {"percentiles_array_tdigest", "yy", 'y', 0, k_percentiles, "several of them as an array"},
    {"percentiles_array_tdigest", "yrr*", 'y', 0, k_percentiles, NULL},
    {"percentile_array_tdigest", "yy", 'y', 0, k_percentiles,
     "same as percentiles_array_tdigest()"},
    {"percentile_array_tdigest", "yrr*", 'y', 0, k_percentiles, NULL},
    {"percentrank_tdigest", "yr", 'r', 0, k_percent_rank,
     "percentage of the values of a tdigest() at or below a number"},
    {"rank_tdigest", "yr", 'r', 0, k_rank, "values of a tdigest() at or below a number"},
};

const struct kpi_func_table kpi_funcs_number = {funcs, KP_ARRAY_LEN(funcs)};
