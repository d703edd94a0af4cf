/* SPDX-License-Identifier: Apache-2.0 */
#include "base/time.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

static int64_t clock_ns(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * KP_SEC + ts.tv_nsec;
}

kp_time kp_time_now(void)
{
    return clock_ns(CLOCK_REALTIME);
}

int64_t kp_time_monotonic(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

/* Best of several brackets: the narrower the two monotonic reads around the wall read, the better.
 */
void kp_time_anchor(int64_t *out_mono, kp_time *out_real, kp_dur *out_bound)
{
    int64_t best_width = INT64_MAX;
    for (int i = 0; i < 8; i++) {
        int64_t before = clock_ns(CLOCK_MONOTONIC);
        int64_t real = clock_ns(CLOCK_REALTIME);
        int64_t after = clock_ns(CLOCK_MONOTONIC);
        if (after - before >= best_width)
            continue;
        best_width = after - before;
        *out_mono = before + best_width / 2;
        *out_real = real;
        *out_bound = best_width / 2 + 1;
    }
}

/* Days since the epoch of a civil date and back: Howard Hinnant, "chrono-compatible low-level date
 * algorithms", http://howardhinnant.github.io/date_algorithms.html */
static int64_t days_from_civil(int64_t y, unsigned m, unsigned d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    unsigned yoe = (unsigned)(y - era * 400);
    unsigned doy = (153 * (m + (m > 2 ? -3u : 9u)) + 2) / 5 + d - 1;
    unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + (int64_t)doe - 719468;
}

static void civil_from_days(int64_t z, int64_t *y, unsigned *m, unsigned *d)
{
    z += 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    unsigned doe = (unsigned)(z - era * 146097);
    unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    unsigned mp = (5 * doy + 2) / 153;
    *d = doy - (153 * mp + 2) / 5 + 1;
    *m = mp < 10 ? mp + 3 : mp - 9;
    *y = (int64_t)yoe + era * 400 + (*m <= 2);
}

void kp_time_format(kp_time t, char out[KP_TIME_TEXT_MAX])
{
    int64_t sec = t / KP_SEC, ns = t % KP_SEC;
    if (ns < 0) {
        ns += KP_SEC;
        sec--;
    }
    int64_t days = sec / 86400, rest = sec % 86400;
    if (rest < 0) {
        rest += 86400;
        days--;
    }
    int64_t year;
    unsigned month, day;
    civil_from_days(days, &year, &month, &day);
    snprintf(out, KP_TIME_TEXT_MAX,
             "%04" PRId64 "-%02u-%02uT%02" PRId64 ":%02" PRId64 ":%02" PRId64 ".%09" PRId64 "Z",
             year, month, day, rest / 3600, rest / 60 % 60, rest % 60, ns);
}

/* Reads exactly `digits` digits at *at; false when they are not there. */
static bool read_digits(struct kp_str text, uint32_t *at, unsigned digits, int64_t *out)
{
    int64_t value = 0;
    if (text.len - *at < digits)
        return false;
    for (unsigned i = 0; i < digits; i++) {
        char c = text.ptr[*at + i];
        if (c < '0' || c > '9')
            return false;
        value = value * 10 + (c - '0');
    }
    *at += digits;
    *out = value;
    return true;
}

static bool read_char(struct kp_str text, uint32_t *at, char a, char b)
{
    if (*at >= text.len || (text.ptr[*at] != a && text.ptr[*at] != b))
        return false;
    (*at)++;
    return true;
}

static int64_t read_fraction_ns(struct kp_str text, uint32_t *at)
{
    int64_t ns = 0, scale = KP_SEC / 10;
    for (; *at < text.len && text.ptr[*at] >= '0' && text.ptr[*at] <= '9'; (*at)++) {
        ns += (text.ptr[*at] - '0') * scale;
        scale /= 10;
    }
    return ns;
}

static bool read_zone(struct kp_str text, uint32_t *at, int64_t *out_offset_s)
{
    *out_offset_s = 0;
    if (*at == text.len || read_char(text, at, 'Z', 'z'))
        return *at == text.len;
    int64_t hours, minutes;
    bool minus = text.ptr[*at] == '-';
    if (!read_char(text, at, '+', '-') || !read_digits(text, at, 2, &hours))
        return false;
    read_char(text, at, ':', ':');
    if (!read_digits(text, at, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *out_offset_s = (hours * 60 + minutes) * 60 * (minus ? -1 : 1);
    return *at == text.len;
}

bool kp_time_parse(struct kp_str text, kp_time *out)
{
    static const unsigned month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    uint32_t at = 0;
    int64_t year, month, day, hour = 0, minute = 0, second = 0, ns = 0, offset = 0;
    if (!read_digits(text, &at, 4, &year) || !read_char(text, &at, '-', '-') ||
        !read_digits(text, &at, 2, &month) || !read_char(text, &at, '-', '-') ||
        !read_digits(text, &at, 2, &day))
        return false;
    if (month < 1 || month > 12 || day < 1 || day > (int64_t)month_days[month - 1])
        return false;
    if (month == 2 && day == 29 && (year % 4 != 0 || (year % 100 == 0 && year % 400 != 0)))
        return false;
    if (at < text.len) {
        if (!(read_char(text, &at, 'T', 't') || read_char(text, &at, ' ', ' ')) ||
            !read_digits(text, &at, 2, &hour) || !read_char(text, &at, ':', ':') ||
            !read_digits(text, &at, 2, &minute))
            return false;
        if (read_char(text, &at, ':', ':') && !read_digits(text, &at, 2, &second))
            return false;
        if (read_char(text, &at, '.', '.'))
            ns = read_fraction_ns(text, &at);
        if (!read_zone(text, &at, &offset))
            return false;
    }
    if (hour > 23 || minute > 59 || second > 60)
        return false;
    int64_t sec = days_from_civil(year, (unsigned)month, (unsigned)day) * 86400 + hour * 3600 +
                  minute * 60 + second - offset;
    int64_t total;
    if (__builtin_mul_overflow(sec, KP_SEC, &total) || __builtin_add_overflow(total, ns, out))
        return false;
    return true;
}

static const struct {
    const char *name;
    kp_dur ns;
} dur_units[] = {{"d", KP_DAY}, {"h", KP_HOUR}, {"m", KP_MIN_NS}, {"s", KP_SEC},
                 {"ms", KP_MS}, {"us", KP_US},  {"ns", 1},        {"min", KP_MIN_NS}};

void kp_dur_format(kp_dur d, char out[KP_DUR_TEXT_MAX])
{
    uint64_t abs = d < 0 ? -(uint64_t)d : (uint64_t)d;
    const char *sign = d < 0 ? "-" : "";
    if (abs < 1000)
        snprintf(out, KP_DUR_TEXT_MAX, "%s%" PRIu64 " ns", sign, abs);
    else if (abs < 1000 * 1000)
        snprintf(out, KP_DUR_TEXT_MAX, "%s%" PRIu64 ".%03" PRIu64 " us", sign, abs / 1000,
                 abs % 1000);
    else if (abs < (uint64_t)KP_SEC)
        snprintf(out, KP_DUR_TEXT_MAX, "%s%" PRIu64 ".%03" PRIu64 " ms", sign, abs / KP_MS,
                 abs / 1000 % 1000);
    else
        snprintf(out, KP_DUR_TEXT_MAX, "%s%" PRIu64 ".%03" PRIu64 " s", sign, abs / KP_SEC,
                 abs / KP_MS % 1000);
}

void kp_dur_format_exact(kp_dur d, char out[KP_DUR_TEXT_MAX])
{
    snprintf(out, KP_DUR_TEXT_MAX, "%" PRId64 "ns", d);
}

static bool dur_unit(struct kp_str name, kp_dur *out)
{
    for (size_t i = 0; i < sizeof(dur_units) / sizeof(dur_units[0]); i++) {
        if (kp_str_equal(name, kp_str_from(dur_units[i].name))) {
            *out = dur_units[i].ns;
            return true;
        }
    }
    return false;
}

bool kp_dur_parse(struct kp_str text, kp_dur *out)
{
    uint32_t at = 0;
    bool minus = read_char(text, &at, '-', '-');
    uint32_t digits_at = at;
    int64_t whole = 0;
    while (at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9') {
        if (__builtin_mul_overflow(whole, 10, &whole) ||
            __builtin_add_overflow(whole, text.ptr[at] - '0', &whole))
            return false;
        at++;
    }
    int64_t fraction_1e9 = 0;
    if (at == digits_at)
        return false;
    if (read_char(text, &at, '.', '.'))
        fraction_1e9 = read_fraction_ns(text, &at);
    kp_dur unit, total;
    if (!dur_unit((struct kp_str){text.ptr + at, text.len - at}, &unit))
        return false;
    if (__builtin_mul_overflow(whole, unit, &total))
        return false;
    kp_dur part = (kp_dur)((__int128)fraction_1e9 * unit / KP_SEC);
    if (__builtin_add_overflow(total, part, &total))
        return false;
    *out = minus ? -total : total;
    return true;
}
