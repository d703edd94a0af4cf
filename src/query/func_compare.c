/* SPDX-License-Identifier: Apache-2.0
 *
 * Comparisons and logic with Kusto's nulls: null == x is false and null != x is true when x is not
 * null, both null when x is; < <= > >= with a null are null; and/or are three-valued.
 */
#include <stdlib.h>

#include "query/func.h"

/* After an equality over all rows: rows with one null get `one`, rows with two become null. */
static void equality_nulls(struct kpi_call *call, int64_t one)
{
    const struct kp_vec *a = call->args[0], *b = call->args[1];
    if (a->nulls == NULL && b->nulls == NULL)
        return;
    KPI_EACH(call, row, {
        bool null_a = kp_vec_null(a, row), null_b = kp_vec_null(b, row);
        if (null_a && null_b)
            kpi_set_null(call, row);
        else if (null_a || null_b)
            call->out->i64[row] = one;
    });
}

#define COMPARE(name, ctype, member, op)                                    \
    static void name(struct kpi_call *call)                                 \
    {                                                                       \
        const ctype *a = call->args[0]->member, *b = call->args[1]->member; \
        int64_t *out = call->out->i64;                                      \
        KPI_EACH(call, row, out[row] = a[row] op b[row]);                   \
    }
COMPARE(eq_all_i64, int64_t, i64, ==)
COMPARE(ne_all_i64, int64_t, i64, !=)
COMPARE(eq_all_f64, double, f64, ==)
COMPARE(ne_all_f64, double, f64, !=)
COMPARE(lt_i64, int64_t, i64, <)
COMPARE(le_i64, int64_t, i64, <=)
COMPARE(gt_i64, int64_t, i64, >)
COMPARE(ge_i64, int64_t, i64, >=)
COMPARE(lt_f64, double, f64, <)
COMPARE(le_f64, double, f64, <=)
COMPARE(gt_f64, double, f64, >)
COMPARE(ge_f64, double, f64, >=)

#define EQUALITY(name, all, one)            \
    static void name(struct kpi_call *call) \
    {                                       \
        all(call);                          \
        equality_nulls(call, one);          \
    }
EQUALITY(eq_i64, eq_all_i64, 0)
EQUALITY(ne_i64, ne_all_i64, 1)
EQUALITY(eq_f64, eq_all_f64, 0)
EQUALITY(ne_f64, ne_all_f64, 1)

#define COMPARE_DEC(name, op)                                                \
    static void name(struct kpi_call *call)                                  \
    {                                                                        \
        const kp_dec *a = call->args[0]->i128, *b = call->args[1]->i128;     \
        int64_t *out = call->out->i64;                                       \
        KPI_EACH(call, row, out[row] = kp_dec_compare(a[row], b[row]) op 0); \
    }
COMPARE_DEC(eq_all_dec, ==)
COMPARE_DEC(ne_all_dec, !=)
COMPARE_DEC(lt_dec, <)
COMPARE_DEC(le_dec, <=)
COMPARE_DEC(gt_dec, >)
COMPARE_DEC(ge_dec, >=)
EQUALITY(eq_dec, eq_all_dec, 0)
EQUALITY(ne_dec, ne_all_dec, 1)

#define COMPARE_STR(name, expr)                                             \
    static void name(struct kpi_call *call)                                 \
    {                                                                       \
        const struct kp_vec *va = call->args[0], *vb = call->args[1];       \
        int64_t *out = call->out->i64;                                      \
        KPI_EACH(call, row, struct kp_str a = kp_vec_str(va, row);          \
                 struct kp_str b = kp_vec_str(vb, row); out[row] = (expr)); \
    }
COMPARE_STR(eq_str, kp_str_equal(a, b))
COMPARE_STR(ne_str, !kp_str_equal(a, b))
COMPARE_STR(eq_nocase, kp_str_equal_nocase(a, b))
COMPARE_STR(ne_nocase, !kp_str_equal_nocase(a, b))
COMPARE_STR(lt_str, kp_str_compare(a, b) < 0)
COMPARE_STR(le_str, kp_str_compare(a, b) <= 0)
COMPARE_STR(gt_str, kp_str_compare(a, b) > 0)
COMPARE_STR(ge_str, kp_str_compare(a, b) >= 0)
COMPARE_STR(strcmp_str, kp_str_compare(a, b) < 0 ? -1 : kp_str_compare(a, b) > 0)

static void between_i64(struct kpi_call *call)
{
    const int64_t *a = call->args[0]->i64, *b = call->args[1]->i64, *c = call->args[2]->i64;
    int64_t *out = call->out->i64;
    KPI_EACH(call, row, out[row] = a[row] >= b[row] && a[row] <= c[row]);
}

static void between_f64(struct kpi_call *call)
{
    const double *a = call->args[0]->f64, *b = call->args[1]->f64, *c = call->args[2]->f64;
    int64_t *out = call->out->i64;
    KPI_EACH(call, row, out[row] = a[row] >= b[row] && a[row] <= c[row]);
}

/* datetime between (a .. timespan): the end counts from the beginning. */
static void between_span(struct kpi_call *call)
{
    const int64_t *a = call->args[0]->i64, *b = call->args[1]->i64, *c = call->args[2]->i64;
    int64_t *out = call->out->i64;
    KPI_EACH(call, row, int64_t end;
             if (__builtin_add_overflow(b[row], c[row], &end)) kpi_set_overflow(call, row);
             else out[row] = a[row] >= b[row] && a[row] <= end);
}

static void between_dec(struct kpi_call *call)
{
    const kp_dec *a = call->args[0]->i128, *b = call->args[1]->i128, *c = call->args[2]->i128;
    int64_t *out = call->out->i64;
    KPI_EACH(call, row,
             out[row] = kp_dec_compare(a[row], b[row]) >= 0 && kp_dec_compare(a[row], c[row]) <= 0);
}

/* around(x, center, distance): at most so far away. */
static void around_i64(struct kpi_call *call)
{
    const int64_t *a = call->args[0]->i64, *b = call->args[1]->i64, *c = call->args[2]->i64;
    int64_t *out = call->out->i64;
    KPI_EACH(call, row, __int128 off = (__int128)a[row] - b[row];
             out[row] = (off < 0 ? -off : off) <= c[row]);
}

static void around_f64(struct kpi_call *call)
{
    const double *a = call->args[0]->f64, *b = call->args[1]->f64, *c = call->args[2]->f64;
    int64_t *out = call->out->i64;
    KPI_EACH(call, row, double off = a[row] - b[row]; out[row] = (off < 0 ? -off : off) <= c[row]);
}

static void invert(struct kpi_call *call)
{
    KPI_EACH(call, row, call->out->i64[row] = !call->out->i64[row]);
}

static void not_between_i64(struct kpi_call *call)
{
    between_i64(call);
    invert(call);
}

static void not_between_f64(struct kpi_call *call)
{
    between_f64(call);
    invert(call);
}

static void not_between_dec(struct kpi_call *call)
{
    between_dec(call);
    invert(call);
}

static void not_between_span(struct kpi_call *call)
{
    between_span(call);
    invert(call);
}

/* --- in: sorted list when all elements are constant, so that long lists stay cheap --- */

struct in_list {
    uint32_t count;
    int64_t *numbers;
    struct kp_str *strs;
};

static int order_i64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int order_str(const void *a, const void *b)
{
    return kp_str_compare(*(const struct kp_str *)a, *(const struct kp_str *)b);
}

static struct in_list *in_list_make(struct kpi_call *call)
{
    struct kpi_expr *expr = call->expr;
    struct kpi_ctx *ctx = call->eval->ctx;
    struct in_list *list = kpi_new(ctx, 1, sizeof(*list));
    uint32_t count = expr->args_count - 1;
    bool str = kp_type_phys(expr->args[0]->type) == KP_PHYS_STR;
    void *items = kpi_new(ctx, count, str ? sizeof(struct kp_str) : sizeof(int64_t));
    if (list == NULL || items == NULL)
        return NULL;
    list->strs = str ? items : NULL;
    list->numbers = str ? NULL : items;
    for (uint32_t i = 0; i < count; i++) {
        const struct kpi_value *value = &expr->args[i + 1]->value;
        if (str)
            list->strs[list->count++] = value->str;
        else if (!value->null)
            list->numbers[list->count++] = value->i64;
    }
    qsort(items, list->count, str ? sizeof(struct kp_str) : sizeof(int64_t),
          str ? order_str : order_i64);
    expr->state = list;
    return list;
}

static bool list_has(const struct in_list *list, const struct kp_vec *vec, uint32_t row)
{
    if (list->strs != NULL) {
        struct kp_str key = kp_vec_str(vec, row);
        return bsearch(&key, list->strs, list->count, sizeof(key), order_str) != NULL;
    }
    return bsearch(&vec->i64[row], list->numbers, list->count, sizeof(int64_t), order_i64) != NULL;
}

static bool value_equal(const struct kp_vec *a, const struct kp_vec *b, uint32_t row)
{
    switch (kp_type_phys(a->type)) {
    case KP_PHYS_STR:
        return kp_str_equal(kp_vec_str(a, row), kp_vec_str(b, row));
    case KP_PHYS_F64:
        return a->f64[row] == b->f64[row];
    case KP_PHYS_I128:
        return kp_dec_compare(a->i128[row], b->i128[row]) == 0;
    default:
        return a->i64[row] == b->i64[row];
    }
}

static bool any_equal(struct kpi_call *call, uint32_t row)
{
    for (uint32_t i = 1; i < call->args_count; i++)
        if (!kp_vec_null(call->args[i], row) && value_equal(call->args[0], call->args[i], row))
            return true;
    return false;
}

static bool list_is_constant(const struct kpi_call *call)
{
    for (uint32_t i = 1; i < call->args_count; i++)
        if (call->expr->args[i]->kind != KPI_EXPR_CONST)
            return false;
    enum kp_phys phys = kp_type_phys(call->expr->args[0]->type);
    return phys == KP_PHYS_I64 || phys == KP_PHYS_STR;
}

static void in_any(struct kpi_call *call)
{
    int64_t *out = call->out->i64;
    const struct kp_vec *a = call->args[0];
    struct in_list *list = call->expr->state;
    if (list == NULL && list_is_constant(call))
        list = in_list_make(call);
    KPI_EACH(call, row,
             out[row] = !kp_vec_null(a, row) &&
                        (list != NULL ? list_has(list, a, row) : any_equal(call, row)));
}

static void not_in_any(struct kpi_call *call)
{
    in_any(call);
    invert(call);
}

static void in_nocase(struct kpi_call *call)
{
    int64_t *out = call->out->i64;
    KPI_EACH(call, row, bool found = false;
             for (uint32_t i = 1; i < call->args_count && !found; i++) found = kp_str_equal_nocase(
                 kp_vec_str(call->args[0], row), kp_vec_str(call->args[i], row));
             out[row] = found);
}

static void not_in_nocase(struct kpi_call *call)
{
    in_nocase(call);
    invert(call);
}

/* --- logic --- */

/* deciding = the value that settles the answer whatever the others are. */
static void logic(struct kpi_call *call, int64_t deciding)
{
    int64_t *out = call->out->i64;
    KPI_EACH(call, row, {
        bool decided = false, unknown = false;
        for (uint32_t i = 0; i < call->args_count && !decided; i++) {
            if (kp_vec_null(call->args[i], row))
                unknown = true;
            else
                decided = (call->args[i]->i64[row] != 0) == (deciding != 0);
        }
        out[row] = decided ? deciding : !deciding;
        if (!decided && unknown)
            kpi_set_null(call, row);
    });
}

static void and_bool(struct kpi_call *call)
{
    logic(call, 0);
}

static void or_bool(struct kpi_call *call)
{
    logic(call, 1);
}

static void not_bool(struct kpi_call *call)
{
    KPI_EACH(call, row, call->out->i64[row] = !call->args[0]->i64[row]);
}

#define ORDERED(op, i64, f64, dec, str, doc)                                                    \
    {op, "ll", 'b', 0, i64, doc}, {op, "rr", 'b', 0, f64, NULL}, {op, "tt", 'b', 0, i64, NULL}, \
        {op, "dd", 'b', 0, i64, NULL}, {op, "ss", 'b', 0, str, NULL},                           \
        {op, "bb", 'b', 0, i64, NULL},                                                          \
    {                                                                                           \
        op, "mm", 'b', 0, dec, NULL                                                             \
    }
#define EQUAL(op, i64, f64, dec, str, doc)                                                      \
    {op, "ll", 'b', KPI_FUNC_NULLS, i64, doc}, {op, "rr", 'b', KPI_FUNC_NULLS, f64, NULL},      \
        {op, "tt", 'b', KPI_FUNC_NULLS, i64, NULL}, {op, "dd", 'b', KPI_FUNC_NULLS, i64, NULL}, \
        {op, "bb", 'b', KPI_FUNC_NULLS, i64, NULL}, {op, "ss", 'b', 0, str, NULL},              \
        {op, "yy", 'b', 0, str, NULL},                                                          \
    {                                                                                           \
        op, "mm", 'b', KPI_FUNC_NULLS, dec, NULL                                                \
    }

static const struct kpi_func funcs[] = {
    EQUAL("==", eq_i64, eq_f64, eq_dec, eq_str, "equal"),
    EQUAL("!=", ne_i64, ne_f64, ne_dec, ne_str, "not equal"),
    ORDERED("<", lt_i64, lt_f64, lt_dec, lt_str, "less"),
    ORDERED("<=", le_i64, le_f64, le_dec, le_str, "less or equal"),
    ORDERED(">", gt_i64, gt_f64, gt_dec, gt_str, "greater"),
    ORDERED(">=", ge_i64, ge_f64, ge_dec, ge_str, "greater or equal"),
    {"=~", "ss", 'b', 0, eq_nocase, "equal, ASCII case ignored"},
    {"!~", "ss", 'b', 0, ne_nocase, "not equal, ASCII case ignored"},
    {"between", "lll", 'b', 0, between_i64, "x between (a .. b): both ends included"},
    {"between", "rrr", 'b', 0, between_f64, NULL},
    {"between", "ttt", 'b', 0, between_i64, NULL},
    {"between", "ttd", 'b', 0, between_span, NULL},
    {"between", "ddd", 'b', 0, between_i64, NULL},
    {"between", "mmm", 'b', 0, between_dec, NULL},
    {"!between", "lll", 'b', 0, not_between_i64, "outside both ends"},
    {"!between", "rrr", 'b', 0, not_between_f64, NULL},
    {"!between", "ttt", 'b', 0, not_between_i64, NULL},
    {"!between", "ttd", 'b', 0, not_between_span, NULL},
    {"!between", "ddd", 'b', 0, not_between_i64, NULL},
    {"!between", "mmm", 'b', 0, not_between_dec, NULL},
    {"around", "lll", 'b', 0, around_i64, "at most so far from a center"},
    {"around", "rrr", 'b', 0, around_f64, NULL},
    {"around", "ttd", 'b', 0, around_i64, NULL},
    {"around", "ddd", 'b', 0, around_i64, NULL},
    {"in", "TTT*", 'b', KPI_FUNC_NULLS, in_any, "x in (a, b, c): equal to one of them"},
    {"!in", "TTT*", 'b', KPI_FUNC_NULLS, not_in_any, "equal to none of them"},
    {"in~", "sss*", 'b', 0, in_nocase, "in, ASCII case ignored"},
    {"!in~", "sss*", 'b', 0, not_in_nocase, "!in, ASCII case ignored"},
    {"and", "bbb*", 'b', KPI_FUNC_NULLS, and_bool, "both"},
    {"or", "bbb*", 'b', KPI_FUNC_NULLS, or_bool, "either"},
    {"not", "b", 'b', 0, not_bool, "the opposite"},
    {"strcmp", "ss", 'l', 0, strcmp_str, "-1, 0 or 1: order of two strings"},
};

const struct kpi_func_table kpi_funcs_compare = {funcs, KP_ARRAY_LEN(funcs)};
