/* SPDX-License-Identifier: Apache-2.0
 *
 * One value as text, in the human and in the machine form. Floating point is printed with the
 * fewest digits that read back to the same number; decimals and integers are exact.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "render/render_int.h"

bool kpi_type_right(enum kp_type type)
{
    return type == KP_TYPE_I64 || type == KP_TYPE_F64 || type == KP_TYPE_DUR || type == KP_TYPE_DEC;
}

static void text_f64(struct kp_buf *out, double value, bool exact)
{
    char text[40];
    if (!exact && isfinite(value)) {
        snprintf(text, sizeof(text), "%.6g", value);
    } else {
        for (int digits = 15; digits <= 17; digits++) {
            snprintf(text, sizeof(text), "%.*g", digits, value);
            if (strtod(text, NULL) == value)
                break;
        }
    }
    kp_buf_text(out, text);
}

static void text_dec(struct kp_buf *out, kp_dec value)
{
    char text[KP_DEC_TEXT_MAX];
    kp_buf_add(out, text, kp_dec_format(value, text));
}

static void text_time(struct kp_buf *out, kp_time value)
{
    char text[KP_TIME_TEXT_MAX];
    kp_time_format(value, text);
    kp_buf_text(out, text);
}

static void text_dur(struct kp_buf *out, kp_dur value, bool exact)
{
    char text[KP_DUR_TEXT_MAX];
    if (exact) {
        kp_buf_printf(out, "%" PRId64, value);
        return;
    }
    kp_dur_format(value, text);
    kp_buf_text(out, text);
}

static void text_i64(struct kp_buf *out, int64_t value, enum kp_unit unit, bool exact)
{
    if (unit == KP_UNIT_HEX && !exact)
        kp_buf_printf(out, "0x%" PRIx64, (uint64_t)value);
    else
        kp_buf_printf(out, "%" PRId64, value);
}

void kp_value_text(const struct kp_field *field, const struct kp_vec *vec, uint32_t row, bool exact,
                   struct kp_buf *out)
{
    if (vec->type == KP_TYPE_NULL || kp_vec_null(vec, row))
        return;
    switch (field->type) {
    case KP_TYPE_BOOL:
        kp_buf_text(out, vec->i64[row] != 0 ? "true" : "false");
        break;
    case KP_TYPE_F64:
        text_f64(out, vec->f64[row], exact);
        if (!exact && field->unit == KP_UNIT_PERCENT)
            kp_buf_text(out, " %");
        break;
    case KP_TYPE_TIME:
        text_time(out, vec->i64[row]);
        break;
    case KP_TYPE_DUR:
        text_dur(out, vec->i64[row], exact);
        break;
    case KP_TYPE_DEC:
        text_dec(out, vec->i128[row]);
        break;
    case KP_TYPE_STR:
    case KP_TYPE_DYN:
        if (exact)
            kp_buf_str(out, kp_vec_str(vec, row));
        else
            kpi_text_escape(out, kp_vec_str(vec, row));
        break;
    case KP_TYPE_NULL:
        break;
    case KP_TYPE_I64:
    case KP_TYPE_ACTOR:
    case KP_TYPE_ENUM:
        text_i64(out, vec->i64[row], field->unit, exact);
        break;
    }
}

/* "2026-11-23T09:17:00.123456789+05:30"; years that struct tm cannot hold stay in UTC. */
static void text_local(struct kp_buf *out, kp_time value)
{
    struct tm local;
    char text[KP_TIME_TEXT_MAX], offset[8];
    int64_t ns = value % KP_SEC, seconds = value / KP_SEC - (ns < 0);
    time_t when = seconds;
    if (localtime_r(&when, &local) == NULL ||
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &local) == 0 ||
        strftime(offset, sizeof(offset), "%z", &local) != 5) {
        text_time(out, value);
        return;
    }
    kp_buf_printf(out, "%s.%09" PRId64 "%.3s:%s", text, ns + (ns < 0) * KP_SEC, offset, offset + 3);
}

void kpi_value_shown(const struct kp_render *render, const struct kp_field *field,
                     const struct kp_vec *vec, uint32_t row, struct kp_buf *out)
{
    bool null = vec->type == KP_TYPE_NULL || kp_vec_null(vec, row);
    bool text =
        kp_type_phys(field->type) == KP_PHYS_STR; /* never in full: it may drive a terminal */
    if (field->type == KP_TYPE_TIME && render->term.local && !null)
        text_local(out, vec->i64[row]);
    else
        kp_value_text(field, vec, row, render->term.raw && !text, out);
}
