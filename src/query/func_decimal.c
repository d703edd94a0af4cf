/* SPDX-License-Identifier: Apache-2.0
 *
 * Decimals: exact arithmetic for money. What does not fit into 34 digits ends the query, at its
 * place in the text: an amount that is silently null or rounded is worse than no answer.
 */
#include <math.h>

#include "query/func.h"

#define A128 const kp_dec *a = call->args[0]->i128
#define B128 const kp_dec *b = call->args[1]->i128
#define O128 kp_dec *out = call->out->i128

/* A row that is null anyway was computed from nothing. */
static void fail_digits(struct kpi_call *call, uint32_t row)
{
    struct kpi_ctx *ctx = call->eval->ctx;
    call->out->i128[row] = 0;
    if (kp_vec_null(call->out, row) || ctx->status != KP_OK)
        return;
    kpi_fail(ctx, KP_LIMIT, call->expr->place, "the result has more than %d digits", KP_DEC_DIGITS);
    kpi_hint(ctx, "round(x, digits) before, or toreal(x) where it need not be exact");
}

#define EXACT(name, function)                                                                  \
    static void name(struct kpi_call *call)                                                    \
    {                                                                                          \
        A128;                                                                                  \
        B128;                                                                                  \
        O128;                                                                                  \
        KPI_EACH(call, row, if (!function(a[row], b[row], &out[row])) fail_digits(call, row)); \
    }
EXACT(add, kp_dec_add)
EXACT(subtract, kp_dec_sub)
EXACT(multiply, kp_dec_mul)

#define BY_DIVISOR(name, function)                                                       \
    static void name(struct kpi_call *call)                                              \
    {                                                                                    \
        A128;                                                                            \
        B128;                                                                            \
        O128;                                                                            \
        KPI_EACH(call, row, out[row] = 0;                                                \
                 if (kp_dec_coefficient(b[row]) == 0) kpi_set_null(call, row);           \
                 else if (!function(a[row], b[row], &out[row])) fail_digits(call, row)); \
    }
BY_DIVISOR(divide, kp_dec_div)
BY_DIVISOR(modulo, kp_dec_mod)

/* Largest multiple of a positive step at or below. */
static void bin_down(struct kpi_call *call)
{
    A128;
    B128;
    O128;
    KPI_EACH(call, row, kp_dec rest; out[row] = 0;
             if (kp_dec_coefficient(b[row]) <= 0) kpi_set_null(call, row);
             else if (!kp_dec_mod(a[row], b[row], &rest) || !kp_dec_sub(a[row], rest, &out[row]))
                 fail_digits(call, row));
}

static void negate(struct kpi_call *call)
{
    A128;
    O128;
    KPI_EACH(call, row, out[row] = kp_dec_negate(a[row]));
}

static void absolute(struct kpi_call *call)
{
    A128;
    O128;
    KPI_EACH(call, row, out[row] = a[row] < 0 ? kp_dec_negate(a[row]) : a[row]);
}

static void sign(struct kpi_call *call)
{
    A128;
    KPI_EACH(call, row,
             call->out->i64[row] =
                 (kp_dec_coefficient(a[row]) > 0) - (kp_dec_coefficient(a[row]) < 0));
}

static void floor_of(struct kpi_call *call)
{
    A128;
    O128;
    KPI_EACH(call, row, out[row] = kp_dec_floor(a[row]));
}

static void ceiling_of(struct kpi_call *call)
{
    A128;
    O128;
    KPI_EACH(call, row, out[row] = kp_dec_negate(kp_dec_floor(kp_dec_negate(a[row]))));
}

static void round_whole(struct kpi_call *call)
{
    A128;
    O128;
    KPI_EACH(call, row, if (!kp_dec_round(a[row], 0, &out[row])) fail_digits(call, row));
}

static void round_digits(struct kpi_call *call)
{
    A128;
    O128;
    const int64_t *digits = call->args[1]->i64;
    KPI_EACH(call, row, out[row] = 0;
             if (digits[row] < 0 || digits[row] > KP_DEC_SCALE_MAX) kpi_set_null(call, row);
             else if (!kp_dec_round(a[row], (uint32_t)digits[row], &out[row]))
                 fail_digits(call, row));
}

/* --- from and to other types --- */

static void same(struct kpi_call *call)
{
    A128;
    O128;
    KPI_EACH(call, row, out[row] = a[row]);
}

static void from_long(struct kpi_call *call)
{
    O128;
    KPI_EACH(call, row, out[row] = kp_dec_from_i64(call->args[0]->i64[row]));
}

static void from_real(struct kpi_call *call)
{
    O128;
    KPI_EACH(call, row, out[row] = 0;
             if (!kp_dec_from_real(call->args[0]->f64[row], &out[row])) kpi_set_null(call, row));
}

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

static void from_text(struct kpi_call *call)
{
    O128;
    bool json = call->args[0]->type == KP_TYPE_DYN;
    KPI_EACH(call, row, struct kp_str text = kp_vec_str(call->args[0], row); out[row] = 0;
             if (json) text = kpi_json_plain(call->eval, text);
             if (!kp_dec_parse(trimmed(text), &out[row])) kpi_set_null(call, row));
}

static void to_long(struct kpi_call *call)
{
    A128;
    KPI_EACH(call, row, call->out->i64[row] = 0;
             if (!kp_dec_to_i64(a[row], &call->out->i64[row])) kpi_set_overflow(call, row));
}

static void to_real(struct kpi_call *call)
{
    A128;
    KPI_EACH(call, row, call->out->f64[row] = kp_dec_to_real(a[row]));
}

static void to_bool(struct kpi_call *call)
{
    A128;
    KPI_EACH(call, row, call->out->i64[row] = kp_dec_coefficient(a[row]) != 0);
}

static const struct kpi_func funcs[] = {
    {"+", "mm", 'm', 0, add, NULL},
    {"-", "mm", 'm', 0, subtract, NULL},
    {"*", "mm", 'm', 0, multiply, NULL},
    {"/", "mm", 'm', 0, divide, NULL},
    {"%", "mm", 'm', 0, modulo, NULL},
    {"negate", "m", 'm', 0, negate, NULL},
    {"abs", "m", 'm', 0, absolute, NULL},
    {"sign", "m", 'l', 0, sign, NULL},
    {"bin", "mm", 'm', 0, bin_down, NULL},
    {"floor", "mm", 'm', 0, bin_down, NULL},
    {"floor", "m", 'm', 0, floor_of, NULL},
    {"ceiling", "m", 'm', 0, ceiling_of, NULL},
    {"round", "m", 'm', 0, round_whole, NULL},
    {"round", "ml", 'm', 0, round_digits, NULL},
    {"todecimal", "m", 'm', 0, same, "a decimal; a text that is none is null"},
    {"todecimal", "l", 'm', 0, from_long, NULL},
    {"todecimal", "r", 'm', 0, from_real, NULL},
    {"todecimal", "s", 'm', 0, from_text, NULL},
    {"todecimal", "y", 'm', 0, from_text, NULL},
    {"decimal", "m", 'm', 0, same, "same as todecimal()"},
    {"decimal", "l", 'm', 0, from_long, NULL},
    {"decimal", "r", 'm', 0, from_real, NULL},
    {"decimal", "s", 'm', 0, from_text, NULL},
    {"decimal", "y", 'm', 0, from_text, NULL},
    {"tolong", "m", 'l', 0, to_long, NULL},
    {"toint", "m", 'l', 0, to_long, NULL},
    {"toreal", "m", 'r', 0, to_real, NULL},
    {"todouble", "m", 'r', 0, to_real, NULL},
    {"tobool", "m", 'b', 0, to_bool, NULL},
};

const struct kpi_func_table kpi_funcs_decimal = {funcs, KP_ARRAY_LEN(funcs)};
