/* SPDX-License-Identifier: Apache-2.0
 *
 * From one type to another. What cannot be read becomes null.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "query/func.h"
#include "query/parse.h"

static struct kp_str trimmed(struct kp_str text)
{
    while (text.len > 0 && text.ptr[0] == ' ') {
        text.ptr++;
        text.len--;
    }
    while (text.len > 0 && text.ptr[text.len - 1] == ' ')
        text.len--;
    return text;
}

static struct kp_str plain(struct kpi_call *call, uint32_t row)
{
    struct kp_str text = kp_vec_str(call->args[0], row);
    if (call->args[0]->type == KP_TYPE_DYN)
        text = kpi_json_plain(call->eval, text);
    return trimmed(text);
}

static void same_i64(struct kpi_call *call)
{
    KPI_EACH(call, row, call->out->i64[row] = call->args[0]->i64[row]);
}

static void same_f64(struct kpi_call *call)
{
    KPI_EACH(call, row, call->out->f64[row] = call->args[0]->f64[row]);
}

static void same_str(struct kpi_call *call)
{
    KPI_EACH(call, row, call->out->strs[row] = kp_vec_str(call->args[0], row));
}

static void long_of_real(struct kpi_call *call)
{
    KPI_EACH(call, row, double value = call->args[0]->f64[row];
             if (!(value >= -0x1p63 && value < 0x1p63)) kpi_set_null(call, row);
             else call->out->i64[row] = (int64_t)value);
}

static void read_long(struct kpi_call *call, uint32_t row)
{
    struct kpi_value value;
    struct kp_str text = plain(call, row);
    call->out->i64[row] = 0;
    if (kpi_literal_long(text, &value))
        call->out->i64[row] = value.i64;
    else if (kpi_literal_real(text, &value) && value.f64 >= -0x1p63 && value.f64 < 0x1p63)
        call->out->i64[row] = (int64_t)value.f64;
    else
        kpi_set_null(call, row);
}

static void long_of_text(struct kpi_call *call)
{
    KPI_EACH(call, row, read_long(call, row));
}

static void real_of_i64(struct kpi_call *call)
{
    KPI_EACH(call, row, call->out->f64[row] = (double)call->args[0]->i64[row]);
}

static void read_real(struct kpi_call *call, uint32_t row)
{
    struct kpi_value value = {.f64 = 0};
    struct kp_str text = plain(call, row);
    if (!kpi_literal_real(text, &value))
        kpi_set_null(call, row);
    call->out->f64[row] = value.f64;
}

static void real_of_text(struct kpi_call *call)
{
    KPI_EACH(call, row, read_real(call, row));
}

static void bool_of_i64(struct kpi_call *call)
{
    KPI_EACH(call, row, call->out->i64[row] = call->args[0]->i64[row] != 0);
}

static void read_bool(struct kpi_call *call, uint32_t row)
{
    struct kp_str text = plain(call, row);
    struct kpi_value value;
    bool yes = kp_str_equal_nocase(text, KP_STR("true"));
    call->out->i64[row] = yes;
    if (yes || kp_str_equal_nocase(text, KP_STR("false")))
        return;
    if (kpi_literal_long(text, &value))
        call->out->i64[row] = value.i64 != 0;
    else
        kpi_set_null(call, row);
}

static void bool_of_text(struct kpi_call *call)
{
    KPI_EACH(call, row, read_bool(call, row));
}

static void time_of_text(struct kpi_call *call)
{
    KPI_EACH(call, row, call->out->i64[row] = 0;
             if (!kpi_literal_datetime(plain(call, row), &call->out->i64[row]))
                 kpi_set_null(call, row));
}

static void span_of_text(struct kpi_call *call)
{
    KPI_EACH(call, row, call->out->i64[row] = 0;
             if (!kpi_literal_timespan(plain(call, row), &call->out->i64[row]))
                 kpi_set_null(call, row));
}

static void set_buf(struct kpi_call *call, uint32_t row, struct kp_buf *text)
{
    kpi_set_copy(call, row, text->data, text->failed ? 0 : text->size);
    kp_buf_clear(text);
}

static void text_of_row(struct kpi_call *call, uint32_t row, struct kp_buf *text)
{
    const struct kp_vec *vec = call->args[0];
    char instant[KP_TIME_TEXT_MAX];
    if (kp_vec_null(vec, row)) {
        kpi_set_str(call, row, "", 0);
        return;
    }
    struct kpi_value value = kpi_vec_value(vec, row);
    if (vec->type == KP_TYPE_TIME) {
        kp_time_format(value.i64, instant);
        kp_buf_text(text, instant);
    } else if (vec->type == KP_TYPE_DUR) {
        kpi_timespan_text(value.i64, text);
    } else {
        kpi_value_text(&value, text);
    }
    set_buf(call, row, text);
}

static void text_of_value(struct kpi_call *call)
{
    struct kp_buf text = kpi_buf(call->eval);
    KPI_EACH(call, row, text_of_row(call, row, &text));
    kp_buf_deinit(&text);
}

static void text_of_dynamic(struct kpi_call *call)
{
    KPI_EACH(call, row, struct kp_str json = kp_vec_str(call->args[0], row);
             call->out->strs[row] = kpi_json_plain(call->eval, json));
}

static void span_text_row(struct kpi_call *call, uint32_t row, struct kp_buf *text)
{
    char human[KP_DUR_TEXT_MAX];
    kp_dur_format(call->args[0]->i64[row], human);
    kp_buf_text(text, human);
    set_buf(call, row, text);
}

static void human_span(struct kpi_call *call)
{
    struct kp_buf text = kpi_buf(call->eval);
    KPI_EACH(call, row, span_text_row(call, row, &text));
    kp_buf_deinit(&text);
}

/* Does a wanted unit stop the division here? Without one it goes on to the largest that fits. */
static bool unit_reached(const struct kpi_call *call, uint32_t row, double value, const char *unit)
{
    if (call->args_count > 2)
        return kp_str_equal(kp_vec_str(call->args[2], row), kp_str_from(unit));
    return value < 1024 && value > -1024;
}

/* format_bytes(size, decimals, unit) */
static void human_bytes_row(struct kpi_call *call, uint32_t row)
{
    static const char *const units[] = {"Bytes", "KB", "MB", "GB", "TB", "PB", "EB"};
    double value = (double)call->args[0]->i64[row];
    int64_t decimals = call->args_count > 1 ? call->args[1]->i64[row] : 0;
    size_t unit = 0;
    for (; unit + 1 < KP_ARRAY_LEN(units) && !unit_reached(call, row, value, units[unit]); unit++)
        value /= 1024;
    char text[60];
    int length = snprintf(text, sizeof(text), "%.*f", (int)KP_MAX(KP_MIN(decimals, 12), 0), value);
    while (memchr(text, '.', (size_t)length) != NULL && text[length - 1] == '0')
        length--;
    length -= text[length - 1] == '.';
    length += snprintf(text + length, sizeof(text) - (size_t)length, " %s", units[unit]);
    kpi_set_copy(call, row, text, (size_t)length);
}

static void human_bytes(struct kpi_call *call)
{
    KPI_EACH(call, row, human_bytes_row(call, row));
}

static const struct kpi_func funcs[] = {
    {"tolong", "l", 'l', 0, same_i64, "as long; datetimes and timespans in ns"},
    {"tolong", "b", 'l', 0, same_i64, NULL},
    {"tolong", "r", 'l', 0, long_of_real, NULL},
    {"tolong", "s", 'l', 0, long_of_text, NULL},
    {"tolong", "y", 'l', 0, long_of_text, NULL},
    {"tolong", "t", 'l', 0, same_i64, NULL},
    {"tolong", "d", 'l', 0, same_i64, NULL},
    {"toint", "l", 'l', 0, same_i64, "same as tolong(): all integers have 64 bits"},
    {"toint", "r", 'l', 0, long_of_real, NULL},
    {"toint", "s", 'l', 0, long_of_text, NULL},
    {"toint", "y", 'l', 0, long_of_text, NULL},
    {"toint", "t", 'l', 0, same_i64, NULL},
    {"toint", "d", 'l', 0, same_i64, NULL},
    {"toreal", "r", 'r', 0, same_f64, "as real; datetimes and timespans in ns"},
    {"toreal", "l", 'r', 0, real_of_i64, NULL},
    {"toreal", "b", 'r', 0, real_of_i64, NULL},
    {"toreal", "t", 'r', 0, real_of_i64, NULL},
    {"toreal", "d", 'r', 0, real_of_i64, NULL},
    {"toreal", "s", 'r', 0, real_of_text, NULL},
    {"toreal", "y", 'r', 0, real_of_text, NULL},
    {"todouble", "r", 'r', 0, same_f64, "same as toreal()"},
    {"todouble", "l", 'r', 0, real_of_i64, NULL},
    {"todouble", "d", 'r', 0, real_of_i64, NULL},
    {"todouble", "s", 'r', 0, real_of_text, NULL},
    {"todouble", "y", 'r', 0, real_of_text, NULL},
    {"tobool", "b", 'b', 0, same_i64, "as bool"},
    {"tobool", "l", 'b', 0, bool_of_i64, NULL},
    {"tobool", "s", 'b', 0, bool_of_text, NULL},
    {"tobool", "y", 'b', 0, bool_of_text, NULL},
    {"tostring", "s", 's', 0, same_str, "as string; null gives an empty one"},
    {"tostring", "y", 's', 0, text_of_dynamic, NULL},
    {"tostring", ".", 's', KPI_FUNC_NULLS, text_of_value, NULL},
    {"todatetime", "t", 't', 0, same_i64, "as datetime; longs are ns since 1970"},
    {"todatetime", "l", 't', 0, same_i64, NULL},
    {"todatetime", "s", 't', 0, time_of_text, NULL},
    {"todatetime", "y", 't', 0, time_of_text, NULL},
    {"datetime", "s", 't', 0, time_of_text, "same as todatetime()"},
    {"totimespan", "d", 'd', 0, same_i64, "as timespan; longs are ns"},
    {"totimespan", "l", 'd', 0, same_i64, NULL},
    {"totimespan", "s", 'd', 0, span_of_text, NULL},
    {"totimespan", "y", 'd', 0, span_of_text, NULL},
    {"timespan", "s", 'd', 0, span_of_text, "same as totimespan()"},
    {"format_duration", "d", 's', 0, human_span, "timespan for people: 388.204 ms"},
    {"format_bytes", "l", 's', 0, human_bytes, "size for people: 2 KB; with decimals and unit"},
    {"format_bytes", "ll", 's', 0, human_bytes, NULL},
    {"format_bytes", "lls", 's', 0, human_bytes, NULL},
};

const struct kpi_func_table kpi_funcs_convert = {funcs, KP_ARRAY_LEN(funcs)};
