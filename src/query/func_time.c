/* SPDX-License-Identifier: Apache-2.0
 *
 * Datetimes and timespans: all UTC, all int64 ns. The civil calendar is Howard Hinnant's
 * "chrono-compatible low-level date algorithms" (howardhinnant.github.io/date_algorithms.html).
 */
#include <inttypes.h>
#include <stdio.h>

#include "query/func.h"

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static int64_t day_number(int64_t y, unsigned m, unsigned d)
{
    y -= m <= 2;
    int64_t era = floor_div(y, 400);
    unsigned yoe = (unsigned)(y - era * 400);
    unsigned doy = (153 * (m + (m > 2 ? -3u : 9u)) + 2) / 5 + d - 1;
    return era * 146097 + (int64_t)(yoe * 365 + yoe / 4 - yoe / 100 + doy) - 719468;
}

static void civil(int64_t days, struct kpi_date *out)
{
    int64_t z = days + 719468, era = floor_div(z, 146097);
    unsigned doe = (unsigned)(z - era * 146097);
    unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    unsigned mp = (5 * doy + 2) / 153;
    out->day = doy - (153 * mp + 2) / 5 + 1;
    out->month = mp < 10 ? mp + 3 : mp - 9;
    out->year = (int64_t)yoe + era * 400 + (out->month <= 2);
}

struct kpi_date kpi_date_of(kp_time t)
{
    struct kpi_date date;
    int64_t days = floor_div(t, KP_DAY);
    int64_t rest = t - days * KP_DAY;
    civil(days, &date);
    date.hour = (unsigned)(rest / KP_HOUR);
    date.minute = (unsigned)(rest / KP_MIN_NS % 60);
    date.second = (unsigned)(rest / KP_SEC % 60);
    date.ns = (unsigned)(rest % KP_SEC);
    date.weekday = (unsigned)(((days + 4) % 7 + 7) % 7);
    date.yearday = (unsigned)(days - day_number(date.year, 1, 1)) + 1;
    return date;
}

bool kpi_date_time(int64_t year, int64_t month, int64_t day, kp_time *out)
{
    if (year < 1600 || year > 2300 || month < -12000 || month > 12000 || day < -400000 ||
        day > 400000)
        return false;
    int64_t months = year * 12 + (month - 1);
    int64_t days =
        day_number(floor_div(months, 12), (unsigned)(months - floor_div(months, 12) * 12) + 1, 1);
    return !__builtin_mul_overflow(days + day - 1, (int64_t)KP_DAY, out);
}

void kpi_timespan_text(kp_dur d, struct kp_buf *out)
{
    uint64_t abs = d < 0 ? (uint64_t)0 - (uint64_t)d : (uint64_t)d;
    uint64_t days = abs / (uint64_t)KP_DAY, ns = abs % (uint64_t)KP_SEC;
    if (d < 0)
        kp_buf_char(out, '-');
    if (days > 0)
        kp_buf_printf(out, "%" PRIu64 ".", days);
    kp_buf_printf(out, "%02u:%02u:%02u", (unsigned)(abs / (uint64_t)KP_HOUR % 24),
                  (unsigned)(abs / (uint64_t)KP_MIN_NS % 60),
                  (unsigned)(abs / (uint64_t)KP_SEC % 60));
    if (ns > 0)
        kp_buf_printf(out, ".%09" PRIu64, ns);
}

/* --- now --- */

static void k_now(struct kpi_call *call)
{
    KPI_EACH(call, row, call->out->i64[row] = call->eval->ctx->now);
}

static void k_now_plus(struct kpi_call *call)
{
    KPI_EACH(call, row,
             if (__builtin_add_overflow(call->eval->ctx->now, call->args[0]->i64[row],
                                        &call->out->i64[row])) kpi_set_overflow(call, row));
}

static void k_ago(struct kpi_call *call)
{
    KPI_EACH(call, row,
             if (__builtin_sub_overflow(call->eval->ctx->now, call->args[0]->i64[row],
                                        &call->out->i64[row])) kpi_set_overflow(call, row));
}

/* --- parts --- */

#define PART(name, expr)                                            \
    static void name(struct kpi_call *call)                         \
    {                                                               \
        KPI_EACH(call, row, kp_time t = call->args[0]->i64[row];    \
                 struct kpi_date date = kpi_date_of(t); (void)date; \
                 call->out->i64[row] = (int64_t)(expr));            \
    }
PART(k_year, date.year)
PART(k_month, date.month)
PART(k_day, date.day)
PART(k_hour, date.hour)
PART(k_yearday, date.yearday)
PART(k_weekday, date.weekday *KP_DAY)
PART(k_week, (date.yearday + 9 - (date.weekday + 6) % 7 - 1) / 7)

enum part {
    YEAR,
    QUARTER,
    MONTH,
    WEEK,
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    MILLI,
    MICRO,
    NANO,
    WEEK_OF_YEAR,
    DAY_OF_YEAR,
    PARTS
};

static const struct {
    const char *name;
    int64_t ns; /* 0 = calendar */
} parts[PARTS] = {{"year", 0},
                  {"quarter", 0},
                  {"month", 0},
                  {"week", 7 * KP_DAY},
                  {"day", KP_DAY},
                  {"hour", KP_HOUR},
                  {"minute", KP_MIN_NS},
                  {"second", KP_SEC},
                  {"millisecond", KP_MS},
                  {"microsecond", KP_US},
                  {"nanosecond", 1},
                  {"week_of_year", 7 * KP_DAY},
                  {"dayofyear", KP_DAY}};

static enum part part_of(struct kp_str name)
{
    for (int i = 0; i < PARTS; i++)
        if (kp_str_equal_nocase(name, kp_str_from(parts[i].name)))
            return (enum part)i;
    return PARTS;
}

static int64_t part_value(enum part part, kp_time t)
{
    struct kpi_date date = kpi_date_of(t);
    switch (part) {
    case YEAR:
        return date.year;
    case QUARTER:
        return (date.month + 2) / 3;
    case MONTH:
        return date.month;
    case DAY_OF_YEAR:
        return date.yearday;
    case WEEK:
    case WEEK_OF_YEAR:
        return (date.yearday + 9 - (date.weekday + 6) % 7 - 1) / 7;
    case DAY:
        return date.day;
    case HOUR:
        return date.hour;
    case MINUTE:
        return date.minute;
    case SECOND:
        return date.second;
    default:
        return date.ns / parts[part].ns;
    }
}

static void k_part(struct kpi_call *call)
{
    KPI_EACH(call, row, enum part part = part_of(kp_vec_str(call->args[0], row));
             call->out->i64[row] = 0; if (part == PARTS) kpi_set_null(call, row);
             else call->out->i64[row] = part_value(part, call->args[1]->i64[row]));
}

/* Number of period borders between two instants. */
static int64_t borders(enum part part, kp_time t)
{
    struct kpi_date date = kpi_date_of(t);
    if (part == YEAR)
        return date.year;
    if (part == QUARTER)
        return date.year * 4 + (date.month - 1) / 3;
    if (part == MONTH)
        return date.year * 12 + date.month;
    int64_t shift =
        part == WEEK ? 3 * KP_DAY : 0; /* 1970-01-01 was a Thursday; weeks start Sunday */
    return floor_div(t, parts[part].ns) + (shift != 0 && t % parts[part].ns >= shift);
}

static void k_diff(struct kpi_call *call)
{
    KPI_EACH(call, row, enum part part = part_of(kp_vec_str(call->args[0], row));
             call->out->i64[row] = 0; if (part == PARTS) kpi_set_null(call, row);
             else call->out->i64[row] =
                 borders(part, call->args[1]->i64[row]) - borders(part, call->args[2]->i64[row]));
}

static bool month_added(kp_time t, int64_t months, kp_time *out)
{
    struct kpi_date date = kpi_date_of(t);
    kp_time first, next;
    if (months > 12000 || months < -12000 ||
        !kpi_date_time(date.year, (int64_t)date.month + months, 1, &first) ||
        !kpi_date_time(date.year, (int64_t)date.month + months + 1, 1, &next))
        return false;
    int64_t days = (next - first) / KP_DAY;
    kp_time day = first + (KP_MIN((int64_t)date.day, days) - 1) * KP_DAY;
    *out = day + (t - floor_div(t, KP_DAY) * KP_DAY);
    return true;
}

static bool period_added(enum part part, int64_t count, kp_time t, kp_time *out)
{
    int64_t months = part == YEAR ? 12 : part == QUARTER ? 3 : 1, ns;
    if (parts[part].ns == 0)
        return !__builtin_mul_overflow(count, months, &months) && month_added(t, months, out);
    return !__builtin_mul_overflow(count, parts[part].ns, &ns) &&
           !__builtin_add_overflow(t, ns, out);
}

static void k_add(struct kpi_call *call)
{
    KPI_EACH(call, row, enum part part = part_of(kp_vec_str(call->args[0], row));
             if (part == PARTS) kpi_set_null(call, row);
             else if (!period_added(part, call->args[1]->i64[row], call->args[2]->i64[row],
                                    &call->out->i64[row])) kpi_set_overflow(call, row));
}

/* --- starts and ends of periods --- */

static kp_time period_start(enum part part, kp_time t)
{
    struct kpi_date date = kpi_date_of(t);
    kp_time start = t - (t - floor_div(t, KP_DAY) * KP_DAY);
    if (part == WEEK)
        return start - (int64_t)date.weekday * KP_DAY;
    if (part == MONTH)
        return start - (int64_t)(date.day - 1) * KP_DAY;
    if (part == YEAR)
        return start - (int64_t)(date.yearday - 1) * KP_DAY;
    return floor_div(t, parts[part].ns) * parts[part].ns;
}

/* The start of a period, or of the one so many further on that a second argument says. */
static bool moved_start(const struct kpi_call *call, uint32_t row, enum part part, kp_time *out)
{
    *out = period_start(part, call->args[0]->i64[row]);
    return call->args_count < 2 || period_added(part, call->args[1]->i64[row], *out, out);
}

#define START(name, part)                                                               \
    static void name(struct kpi_call *call)                                             \
    {                                                                                   \
        KPI_EACH(call, row, kp_time start;                                              \
                 if (moved_start(call, row, part, &start)) call->out->i64[row] = start; \
                 else kpi_set_overflow(call, row));                                     \
    }
START(k_start_year, YEAR)
START(k_start_month, MONTH)
START(k_start_week, WEEK)
START(k_start_day, DAY)
START(k_start_hour, HOUR)
START(k_start_minute, MINUTE)
START(k_start_second, SECOND)

#define END(name, part)                                                                         \
    static void name(struct kpi_call *call)                                                     \
    {                                                                                           \
        KPI_EACH(call, row, kp_time next;                                                       \
                 if (moved_start(call, row, part, &next) && period_added(part, 1, next, &next)) \
                     call->out->i64[row] = next - 1;                                            \
                 else kpi_set_overflow(call, row));                                             \
    }
END(k_end_year, YEAR)
END(k_end_month, MONTH)
END(k_end_week, WEEK)
END(k_end_day, DAY)

/* --- making --- */

static bool clock_ns(int64_t hour, int64_t minute, double second, int64_t *out)
{
    if (hour < 0 || hour > 24 * 10000 || minute < 0 || minute > 59 || !(second >= 0 && second < 60))
        return false;
    *out = hour * KP_HOUR + minute * KP_MIN_NS + (int64_t)(second * 1e9 + 0.5);
    return true;
}

static void k_make_date(struct kpi_call *call)
{
    KPI_EACH(call, row,
             if (!kpi_date_time(call->args[0]->i64[row], call->args[1]->i64[row],
                                call->args[2]->i64[row], &call->out->i64[row]))
                 kpi_set_overflow(call, row));
}

static void k_make_datetime(struct kpi_call *call)
{
    const struct kp_vec *second = call->args_count > 5 ? call->args[5] : NULL;
    KPI_EACH(call, row, kp_time day; int64_t clock;
             if (kpi_date_time(call->args[0]->i64[row], call->args[1]->i64[row],
                               call->args[2]->i64[row], &day) &&
                 clock_ns(call->args[3]->i64[row], call->args[4]->i64[row],
                          second == NULL ? 0 : second->f64[row], &clock)) call->out->i64[row] =
                 day + clock;
             else kpi_set_overflow(call, row));
}

static void k_make_timespan(struct kpi_call *call)
{
    const struct kp_vec *second = call->args_count > 2 ? call->args[2] : NULL;
    KPI_EACH(call, row,
             if (!clock_ns(call->args[0]->i64[row], call->args[1]->i64[row],
                           second == NULL ? 0 : second->f64[row], &call->out->i64[row]))
                 kpi_set_overflow(call, row));
}

static void k_make_timespan_days(struct kpi_call *call)
{
    KPI_EACH(call, row, int64_t days, clock;
             if (__builtin_mul_overflow(call->args[0]->i64[row], KP_DAY, &days) ||
                 !clock_ns(call->args[1]->i64[row], call->args[2]->i64[row],
                           call->args[3]->f64[row], &clock) ||
                 __builtin_add_overflow(days, clock, &call->out->i64[row]))
                 kpi_set_overflow(call, row));
}

#define UNIX(name, unit)                                                                         \
    static void name(struct kpi_call *call)                                                      \
    {                                                                                            \
        KPI_EACH(call, row,                                                                      \
                 if (__builtin_mul_overflow(call->args[0]->i64[row], (int64_t)(unit),            \
                                            &call->out->i64[row])) kpi_set_overflow(call, row)); \
    }
UNIX(k_unix_s, KP_SEC)
UNIX(k_unix_ms, KP_MS)
UNIX(k_unix_us, KP_US)
UNIX(k_unix_ns, 1)

/* --- formatting: y M d H h m s f F with their usual meanings, anything else as it is --- */

static void format_field(char letter, uint32_t width, const struct kpi_date *date,
                         struct kp_buf *out)
{
    unsigned hour12 = date->hour % 12 == 0 ? 12 : date->hour % 12;
    switch (letter) {
    case 'y':
        kp_buf_printf(out, "%0*" PRId64, (int)width, width <= 2 ? date->year % 100 : date->year);
        break;
    case 'M':
        kp_buf_printf(out, "%0*u", (int)width, date->month);
        break;
    case 'd':
        kp_buf_printf(out, "%0*u", (int)width, date->day);
        break;
    case 'H':
        kp_buf_printf(out, "%0*u", (int)width, date->hour);
        break;
    case 'h':
        kp_buf_printf(out, "%0*u", (int)width, hour12);
        break;
    case 'm':
        kp_buf_printf(out, "%0*u", (int)width, date->minute);
        break;
    case 's':
        kp_buf_printf(out, "%0*u", (int)width, date->second);
        break;
    default: {
        char digits[16];
        snprintf(digits, sizeof(digits), "%09u", date->ns);
        kp_buf_add(out, digits, KP_MIN(width, 9u));
        break;
    }
    }
}

static void format_row(struct kpi_call *call, uint32_t row, const struct kpi_date *date,
                       struct kp_buf *out)
{
    struct kp_str format = kp_vec_str(call->args[1], row);
    for (uint32_t i = 0; i < format.len;) {
        char letter = format.ptr[i];
        uint32_t width = 1;
        if (letter == 't') {
            kp_buf_text(out, date->hour < 12 ? "AM" : "PM");
            i += i + 1 < format.len && format.ptr[i + 1] == 't' ? 2 : 1;
            continue;
        }
        if (letter == '\0' || strchr("yMdHhmsfF", letter) == NULL) {
            kp_buf_char(out, letter);
            i++;
            continue;
        }
        while (i + width < format.len && format.ptr[i + width] == letter && width < 9)
            width++;
        format_field(letter, width, date, out);
        i += width;
    }
    kpi_set_copy(call, row, out->data, out->failed ? 0 : out->size);
    kp_buf_clear(out);
}

static void k_format_datetime(struct kpi_call *call)
{
    struct kp_buf out = kpi_buf(call->eval);
    KPI_EACH(call, row, struct kpi_date date = kpi_date_of(call->args[0]->i64[row]);
             format_row(call, row, &date, &out));
    kp_buf_deinit(&out);
}

static void k_format_timespan(struct kpi_call *call)
{
    struct kp_buf out = kpi_buf(call->eval);
    KPI_EACH(call, row, int64_t d = call->args[0]->i64[row]; struct kpi_date date = kpi_date_of(d);
             date.day = (unsigned)(d / KP_DAY); date.year = date.month = 0;
             format_row(call, row, &date, &out));
    kp_buf_deinit(&out);
}

static const struct kpi_func funcs[] = {
    {"now", "", 't', 0, k_now, "instant the query began, or that plus a timespan"},
    {"now", "d", 't', 0, k_now_plus, NULL},
    {"ago", "d", 't', 0, k_ago, "so long before now"},
    {"getyear", "t", 'l', 0, k_year, "year"},
    {"getmonth", "t", 'l', 0, k_month, "month, 1 to 12"},
    {"monthofyear", "t", 'l', 0, k_month, "month, 1 to 12"},
    {"dayofmonth", "t", 'l', 0, k_day, "day of the month"},
    {"dayofyear", "t", 'l', 0, k_yearday, "day of the year"},
    {"dayofweek", "t", 'd', 0, k_weekday, "days since Sunday, a timespan"},
    {"hourofday", "t", 'l', 0, k_hour, "hour, 0 to 23"},
    {"week_of_year", "t", 'l', 0, k_week, "ISO 8601 week (of the days inside one year)"},
    {"datetime_part", "st", 'l', 0, k_part, "part of a datetime by name"},
    {"datetime_diff", "stt", 'l', 0, k_diff, "borders of a period between two datetimes"},
    {"datetime_add", "slt", 't', 0, k_add, "so many periods later"},
    {"startofyear", "t", 't', 0, k_start_year, "first instant of the year"},
    {"startofyear", "tl", 't', 0, k_start_year, NULL},
    {"startofmonth", "t", 't', 0, k_start_month, "first instant of the month"},
    {"startofmonth", "tl", 't', 0, k_start_month, NULL},
    {"startofweek", "t", 't', 0, k_start_week, "first instant of the week (Sunday)"},
    {"startofweek", "tl", 't', 0, k_start_week, NULL},
    {"startofday", "t", 't', 0, k_start_day, "first instant of the day"},
    {"startofday", "tl", 't', 0, k_start_day, NULL},
    {"startofhour", "t", 't', 0, k_start_hour, "first instant of the hour"},
    {"startofminute", "t", 't', 0, k_start_minute, "first instant of the minute"},
    {"startofsecond", "t", 't', 0, k_start_second, "first instant of the second"},
    {"endofyear", "t", 't', 0, k_end_year, "last nanosecond of the year"},
    {"endofyear", "tl", 't', 0, k_end_year, NULL},
    {"endofmonth", "t", 't', 0, k_end_month, "last nanosecond of the month"},
    {"endofmonth", "tl", 't', 0, k_end_month, NULL},
    {"endofweek", "t", 't', 0, k_end_week, "last nanosecond of the week"},
    {"endofweek", "tl", 't', 0, k_end_week, NULL},
    {"endofday", "t", 't', 0, k_end_day, "last nanosecond of the day"},
    {"endofday", "tl", 't', 0, k_end_day, NULL},
    {"make_datetime", "lll", 't', 0, k_make_date, "datetime from numbers"},
    {"make_datetime", "lllll", 't', 0, k_make_datetime, NULL},
    {"make_datetime", "lllllr", 't', 0, k_make_datetime, NULL},
    {"datetime", "lll", 't', 0, k_make_date, NULL},
    {"make_timespan", "lllr", 'd', 0, k_make_timespan_days, NULL},
    {"make_timespan", "ll", 'd', 0, k_make_timespan, "timespan from hours, minutes, seconds"},
    {"make_timespan", "llr", 'd', 0, k_make_timespan, NULL},
    {"unixtime_seconds_todatetime", "l", 't', 0, k_unix_s, "seconds since 1970"},
    {"unixtime_milliseconds_todatetime", "l", 't', 0, k_unix_ms, "milliseconds since 1970"},
    {"unixtime_microseconds_todatetime", "l", 't', 0, k_unix_us, "microseconds since 1970"},
    {"unixtime_nanoseconds_todatetime", "l", 't', 0, k_unix_ns, "nanoseconds since 1970"},
    {"format_datetime", "ts", 's', 0, k_format_datetime,
     "text by pattern: yyyy-MM-dd HH:mm:ss.fff tt"},
    {"format_timespan", "ds", 's', 0, k_format_timespan, "text by pattern: d.HH:mm:ss.fffffffff"},
};

const struct kpi_func_table kpi_funcs_time = {funcs, KP_ARRAY_LEN(funcs)};
