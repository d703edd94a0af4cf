/* SPDX-License-Identifier: Apache-2.0
 *
 * Literals: text of a token to its value. All integer arithmetic is checked; a value that does not
 * fit is refused, never wrapped.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/assert.h"
#include "query/func.h"
#include "query/parse.h"

static bool digit_value(char c, unsigned base, unsigned *out)
{
    unsigned value = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                     : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                     : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10)
                                            : 99;
    *out = value;
    return value < base;
}

/* Decimal must fit int64; hexadecimal may use all 64 bits (addresses). */
bool kpi_literal_long(struct kp_str text, struct kpi_value *out)
{
    bool minus = text.len > 1 && text.ptr[0] == '-';
    uint32_t at = minus;
    unsigned base = 10;
    if (text.len > at + 2 && text.ptr[at] == '0' && (text.ptr[at + 1] | 32) == 'x') {
        base = 16;
        at += 2;
    }
    uint64_t value = 0;
    if (at == text.len)
        return false;
    for (; at < text.len; at++) {
        unsigned digit;
        if (!digit_value(text.ptr[at], base, &digit) ||
            __builtin_mul_overflow(value, (uint64_t)base, &value) ||
            __builtin_add_overflow(value, (uint64_t)digit, &value))
            return false;
    }
    if (base == 10 && value > (uint64_t)INT64_MAX + minus)
        return false;
    *out = (struct kpi_value){.type = KP_TYPE_I64,
                              .i64 = (int64_t)(minus ? (uint64_t)0 - value : value)};
    return true;
}

bool kpi_literal_real(struct kp_str text, struct kpi_value *out)
{
    char copy[64], *end;
    if (text.len == 0 || text.len >= sizeof(copy))
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    if ((copy[0] | 32) == 'n' && !kp_str_equal_nocase(text, KP_STR("nan")))
        return false;
    double value = strtod(copy, &end);
    if (*end != '\0' || end == copy)
        return false;
    *out = (struct kpi_value){.type = KP_TYPE_F64, .f64 = value};
    return true;
}

static bool unit_ns(struct kp_str name, int64_t *out)
{
    static const struct {
        const char *names; /* space-separated, singular; a final s is accepted */
        int64_t ns;
    } units[] = {
        {" d day days ", KP_DAY},
        {" h hr hrs hour hours ", KP_HOUR},
        {" m min minute minutes ", KP_MIN_NS},
        {" s sec secs second seconds ", KP_SEC},
        {" ms milli millis millisec millisecond milliseconds ", KP_MS},
        {" us micro micros microsec microsecond microseconds ", KP_US},
        {" ns nano nanos nanosec nanosecond nanoseconds ", 1},
        {" tick ticks ", 100},
    };
    char wanted[20];
    if (name.len == 0 || name.len > sizeof(wanted) - 3)
        return false;
    int length = snprintf(wanted, sizeof(wanted), " %.*s ", (int)name.len, name.ptr);
    for (size_t i = 0; i < KP_ARRAY_LEN(units); i++) {
        if (length > 2 && strstr(units[i].names, wanted) != NULL) {
            *out = units[i].ns;
            return true;
        }
    }
    return false;
}

bool kpi_literal_duration(struct kp_str text, struct kpi_value *out)
{
    int64_t whole = 0, unit = 0;
    __int128 fraction = 0, scale = 1;
    uint32_t at = 0;
    for (; at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9'; at++)
        if (__builtin_mul_overflow(whole, 10, &whole) ||
            __builtin_add_overflow(whole, text.ptr[at] - '0', &whole))
            return false;
    if (at == 0)
        return false;
    if (at < text.len && text.ptr[at] == '.') {
        for (at++; at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9'; at++) {
            if (scale < (__int128)KP_SEC * KP_SEC) {
                fraction = fraction * 10 + (text.ptr[at] - '0');
                scale *= 10;
            }
        }
    }
    if (!unit_ns((struct kp_str){text.ptr + at, text.len - at}, &unit))
        return false;
    int64_t total;
    if (__builtin_mul_overflow(whole, unit, &total) ||
        __builtin_add_overflow(total, (int64_t)(fraction * unit / scale), &total))
        return false;
    *out = (struct kpi_value){.type = KP_TYPE_DUR, .i64 = total};
    return true;
}

static size_t put_utf8(char *at, uint32_t code)
{
    if (code < 0x80) {
        at[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        at[0] = (char)(0xc0 | code >> 6);
        at[1] = (char)(0x80 | (code & 63));
        return 2;
    }
    at[0] = (char)(0xe0 | code >> 12);
    at[1] = (char)(0x80 | (code >> 6 & 63));
    at[2] = (char)(0x80 | (code & 63));
    return 3;
}

/* \xHH and \uHHHH; returns false when the digits are missing. */
static bool read_hex_escape(struct kp_str text, uint32_t *at, unsigned digits, uint32_t *out)
{
    uint32_t code = 0;
    for (unsigned i = 0; i < digits; i++) {
        unsigned digit;
        if (*at + 1 >= text.len || !digit_value(text.ptr[*at + 1], 16, &digit))
            return false;
        code = code * 16 + digit;
        (*at)++;
    }
    *out = code;
    return true;
}

static bool unescape(struct kp_str body, char *copy, uint32_t *out_len)
{
    uint32_t used = 0;
    for (uint32_t i = 0; i < body.len; i++) {
        char c = body.ptr[i];
        if (c != '\\') {
            copy[used++] = c;
            continue;
        }
        c = body.ptr[++i];
        uint32_t code;
        if (c == 'x' || c == 'u') {
            if (!read_hex_escape(body, &i, c == 'x' ? 2 : 4, &code))
                return false;
            used += (uint32_t)put_utf8(copy + used, code);
            continue;
        }
        static const char from[] = "ntrabfv0\\'\"", to[] = "\n\t\r\a\b\f\v\0\\'\"";
        const char *known = memchr(from, c, sizeof(from) - 1);
        if (known == NULL)
            return false;
        copy[used++] = to[known - from];
    }
    *out_len = used;
    return true;
}

static bool set_str(struct kpi_value *out, const char *ptr, uint32_t len)
{
    *out = (struct kpi_value){.type = KP_TYPE_STR, .str = {ptr, len}};
    return true;
}

bool kpi_literal_string(struct kpi_ctx *ctx, struct kp_str text, struct kpi_value *out)
{
    struct kp_str body = {text.ptr + 1, text.len - 2};
    if (memchr(body.ptr, '\\', body.len) == NULL)
        return set_str(out, body.ptr, body.len);
    char *copy = kpi_new(ctx, body.len + 1, 1);
    uint32_t len = 0;
    return copy != NULL && unescape(body, copy, &len) && set_str(out, copy, len);
}

bool kpi_literal_raw(struct kpi_ctx *ctx, struct kp_str text, struct kpi_value *out)
{
    char quote = text.ptr[1];
    struct kp_str body = {text.ptr + 2, text.len - 3};
    char *copy = kpi_new(ctx, body.len + 1, 1);
    uint32_t used = 0;
    if (copy == NULL)
        return false;
    for (uint32_t i = 0; i < body.len; i++) {
        copy[used++] = body.ptr[i];
        if (body.ptr[i] == quote)
            i++;
    }
    return set_str(out, copy, used);
}

static struct kp_str trim(struct kp_str text)
{
    while (text.len > 0 && strchr(" \t\r\n", text.ptr[0]) != NULL) {
        text.ptr++;
        text.len--;
    }
    while (text.len > 0 && strchr(" \t\r\n", text.ptr[text.len - 1]) != NULL)
        text.len--;
    return text;
}

/* A string of a dynamic literal, quotes included, as JSON; what was read. */
static uint32_t json_string(struct kp_str text, char *to, uint32_t *used)
{
    char quote = text.ptr[0];
    uint32_t at = 1;
    to[(*used)++] = '"';
    for (; at < text.len && text.ptr[at] != quote; at++) {
        if (text.ptr[at] == '"')
            to[(*used)++] = '\\';
        if (text.ptr[at] == '\\' && at + 1 < text.len && text.ptr[at + 1] == '\'')
            at++;
        else if (text.ptr[at] == '\\' && at + 1 < text.len)
            to[(*used)++] = text.ptr[at++];
        to[(*used)++] = text.ptr[at];
    }
    to[(*used)++] = '"';
    return KP_MIN(at + 1, text.len);
}

/* JSON as KQL writes it (single quotes, blanks) to plain JSON; needs twice the room and two. */
static uint32_t compact_json(struct kp_str text, char *to)
{
    static const char blanks[] = " \t\r\n";
    uint32_t used = 0, at = 0;
    while (at < text.len) {
        struct kp_str rest = {text.ptr + at, text.len - at};
        uint32_t run = 0;
        while (run < rest.len && memchr(blanks, rest.ptr[run], 4) != NULL)
            run++;
        if (run > 0) {
            bool opened = used > 0 && memchr("[{,:", to[used - 1], 4) != NULL;
            bool closes = run == rest.len || memchr("]},:", rest.ptr[run], 4) != NULL;
            if (!opened && !closes)
                to[used++] = ' ';
            at += run;
        } else if (rest.ptr[0] == '"' || rest.ptr[0] == '\'') {
            at += json_string(rest, to, &used);
        } else {
            to[used++] = rest.ptr[0];
            at++;
        }
    }
    return used;
}

bool kpi_literal_dynamic(struct kpi_ctx *ctx, struct kp_str text, struct kpi_value *out)
{
    struct kp_str body = trim(text);
    if (body.len == 0)
        return false;
    if (kp_str_equal(body, KP_STR("null"))) {
        *out = (struct kpi_value){.type = KP_TYPE_DYN, .str = {"", 0}};
        return true;
    }
    char *copy = kpi_new(ctx, (size_t)body.len * 2 + 3, 1);
    if (copy == NULL)
        return false;
    *out = (struct kpi_value){.type = KP_TYPE_DYN, .str = {copy, compact_json(body, copy)}};
    return true;
}

/* [-][d.]hh:mm:ss[.fraction] */
static bool clock_text(struct kp_str text, int64_t *out_ns)
{
    char copy[64];
    long days = 0;
    unsigned hours, minutes, seconds = 0;
    int used = 0;
    if (text.len == 0 || text.len >= sizeof(copy))
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    bool minus = copy[0] == '-';
    const char *at = copy + minus;
    const char *colon = strchr(at, ':'), *point = strchr(at, '.');
    if (colon == NULL)
        return false;
    if (point != NULL && point < colon) {
        char *end;
        days = strtol(at, &end, 10);
        if (end != point || days < 0 || days > 100000)
            return false;
        at = point + 1;
    }
    if (sscanf(at, "%2u:%2u%n", &hours, &minutes, &used) < 2)
        return false;
    at += used;
    if (*at == ':' && sscanf(at, ":%2u%n", &seconds, &used) == 1)
        at += used;
    if (hours > 23 || minutes > 59 || seconds > 59)
        return false;
    int64_t ns = ((days * 24 + hours) * 60 + minutes) * KP_MIN_NS + seconds * KP_SEC;
    if (*at == '.') {
        int64_t unit = KP_SEC;
        for (at++; *at >= '0' && *at <= '9'; at++) {
            unit /= 10;
            ns += (*at - '0') * unit;
        }
    }
    *out_ns = minus ? -ns : ns;
    return *at == '\0';
}

bool kpi_literal_timespan(struct kp_str text, int64_t *out_ns)
{
    struct kpi_value value;
    text = trim(text);
    bool minus = text.len > 0 && text.ptr[0] == '-';
    struct kp_str positive = {text.ptr + minus, text.len - minus};
    if (kpi_literal_duration(positive, &value)) {
        *out_ns = minus ? -value.i64 : value.i64;
        return true;
    }
    if (kpi_literal_long(text, &value) && text.len < 6) { /* timespan(2) is two days */
        *out_ns = value.i64 * KP_DAY;
        return true;
    }
    return clock_text(text, out_ns);
}

/* Day, time: "08:40:01.25 PM", or nothing. */
static bool time_of_day(const char *at, int64_t *out_ns)
{
    unsigned hours = 0, minutes = 0, seconds = 0;
    int used = 0;
    int64_t ns = 0, unit = KP_SEC;
    while (*at == ' ' || *at == 'T')
        at++;
    if (*at != '\0' && sscanf(at, "%2u:%2u%n", &hours, &minutes, &used) < 2)
        return false;
    at += used;
    if (*at == ':' && sscanf(at, ":%2u%n", &seconds, &used) == 1)
        at += used;
    for (at += *at == '.'; *at >= '0' && *at <= '9'; at++) {
        unit /= 10;
        ns += (*at - '0') * unit;
    }
    while (*at == ' ')
        at++;
    bool pm = strcasecmp(at, "pm") == 0, am = strcasecmp(at, "am") == 0;
    if ((pm || am) && hours > 12)
        return false;
    hours = pm && hours < 12 ? hours + 12 : am && hours == 12 ? 0 : hours;
    *out_ns = ((int64_t)hours * 60 + minutes) * KP_MIN_NS + seconds * KP_SEC + ns;
    return hours < 24 && minutes < 60 && seconds < 60 && (pm || am || *at == '\0' || *at == 'Z');
}

/* 2026-11-3, 2026 - 11 - 03, 11/23/2026, each with a time of day or not. */
static bool loose_date(struct kp_str text, int64_t *out)
{
    char copy[64];
    int first, second, third, used = 0;
    kp_time day;
    int64_t ns;
    if (text.len >= sizeof(copy))
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    bool american = sscanf(copy, "%2d/%2d/%4d%n", &first, &second, &third, &used) == 3 && used > 0;
    bool ordered = !american &&
                   sscanf(copy, "%4d - %2d - %2d%n", &first, &second, &third, &used) == 3 &&
                   used > 0;
    if (!american && !ordered)
        return false;
    int year = american ? third : first, month = american ? first : second;
    int date = american ? second : third;
    if (year < 1600 || month < 1 || month > 12 || date < 1 || date > 31 ||
        !kpi_date_time(year, month, date, &day) || !time_of_day(copy + used, &ns) ||
        (int)kpi_date_of(day).day != date)
        return false;
    return !__builtin_add_overflow(day, ns, out);
}

bool kpi_literal_datetime(struct kp_str text, int64_t *out_ns)
{
    return kp_time_parse(text, out_ns) || loose_date(text, out_ns);
}

static bool is_bool_text(struct kp_str body, int64_t *out)
{
    *out = kp_str_equal(body, KP_STR("true")) || kp_str_equal(body, KP_STR("1"));
    return *out || kp_str_equal(body, KP_STR("false")) || kp_str_equal(body, KP_STR("0"));
}

static enum kp_type literal_type(struct kp_str word)
{
    static const struct {
        const char *name;
        enum kp_type type;
    } types[] = {{"long", KP_TYPE_I64},      {"int", KP_TYPE_I64},    {"real", KP_TYPE_F64},
                 {"double", KP_TYPE_F64},    {"bool", KP_TYPE_BOOL},  {"boolean", KP_TYPE_BOOL},
                 {"datetime", KP_TYPE_TIME}, {"date", KP_TYPE_TIME},  {"timespan", KP_TYPE_DUR},
                 {"time", KP_TYPE_DUR},      {"string", KP_TYPE_STR}, {"decimal", KP_TYPE_DEC}};
    for (size_t i = 0; i < KP_ARRAY_LEN(types); i++)
        if (kp_str_equal(word, kp_str_from(types[i].name)))
            return types[i].type;
    return KP_TYPE_STR;
}

static bool typed_value(enum kp_type type, struct kp_str body, struct kpi_value *out)
{
    struct kpi_value value = {.type = type};
    bool good = false;
    if (type == KP_TYPE_I64)
        good = kpi_literal_long(body, &value);
    else if (type == KP_TYPE_F64)
        good = kpi_literal_real(body, &value);
    else if (type == KP_TYPE_BOOL)
        good = is_bool_text(body, &value.i64);
    else if (type == KP_TYPE_TIME)
        good = kpi_literal_datetime(body, &value.i64);
    else if (type == KP_TYPE_DUR)
        good = kpi_literal_timespan(body, &value.i64);
    else if (type == KP_TYPE_DEC)
        good = kp_dec_parse(body, &value.dec);
    if (good)
        *out = value;
    return good;
}

/* A lone name in the brackets is an argument, unless the name is itself a value (nan, inf). */
static bool is_name(struct kp_str body)
{
    if (body.len == 0 || !((body.ptr[0] | 32) >= 'a' && (body.ptr[0] | 32) <= 'z'))
        return body.len == 0 || body.ptr[0] == '_';
    return true;
}

int kpi_literal_typed(struct kp_str text, struct kpi_value *out)
{
    const char *open = memchr(text.ptr, '(', text.len);
    struct kp_str word = trim((struct kp_str){text.ptr, (uint32_t)(open - text.ptr)});
    uint32_t head = (uint32_t)(open - text.ptr) + 1;
    struct kp_str body = trim((struct kp_str){open + 1, text.len - head - 1});
    enum kp_type type = literal_type(word);
    if (kp_str_equal(body, KP_STR("null")) && type != KP_TYPE_STR) {
        *out = (struct kpi_value){.type = type, .null = true};
        return 1;
    }
    if (typed_value(type, body, out))
        return 1;
    bool number = body.len > 0 && body.ptr[0] >= '0' && body.ptr[0] <= '9';
    bool calculated = type != KP_TYPE_TIME && type != KP_TYPE_DUR &&
                      (type != KP_TYPE_DEC || !number || memchr(body.ptr, ' ', body.len) != NULL);
    return is_name(body) || calculated || type == KP_TYPE_STR ? 0 : -1;
}
