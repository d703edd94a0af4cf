/* SPDX-License-Identifier: Apache-2.0
 *
 * Choosing between values: iff, case, coalesce, min_of, max_of, and questions about null. Both
 * sides of a choice are computed; nothing in the language has side effects.
 */
#include "query/func.h"

static void copy_value(struct kpi_call *call, uint32_t row, const struct kp_vec *from)
{
    switch (kp_type_phys(call->out->type)) {
    case KP_PHYS_STR:
        call->out->strs[row] = kp_vec_str(from, row);
        break;
    case KP_PHYS_F64:
        call->out->f64[row] = from->f64[row];
        break;
    case KP_PHYS_I128:
        call->out->i128[row] = from->i128[row];
        break;
    default:
        call->out->i64[row] = from->i64[row];
        break;
    }
    if (kp_vec_null(from, row))
        kpi_set_null(call, row);
}

static bool holds(const struct kp_vec *condition, uint32_t row)
{
    return !kp_vec_null(condition, row) && condition->i64[row] != 0;
}

static void k_iff(struct kpi_call *call)
{
    KPI_EACH(call, row, copy_value(call, row, call->args[holds(call->args[0], row) ? 1 : 2]));
}

static bool is_absent(const struct kp_vec *vec, uint32_t row)
{
    if (kp_type_phys(vec->type) == KP_PHYS_STR)
        return kp_vec_str(vec, row).len == 0;
    return kp_vec_null(vec, row);
}

static void k_coalesce(struct kpi_call *call)
{
    KPI_EACH(call, row, uint32_t i = 0;
             while (i + 1 < call->args_count && is_absent(call->args[i], row)) i++;
             copy_value(call, row, call->args[i]));
}

static int compare(const struct kp_vec *a, const struct kp_vec *b, uint32_t row)
{
    switch (kp_type_phys(a->type)) {
    case KP_PHYS_STR:
        return kp_str_compare(kp_vec_str(a, row), kp_vec_str(b, row));
    case KP_PHYS_F64:
        return (a->f64[row] > b->f64[row]) - (a->f64[row] < b->f64[row]);
    case KP_PHYS_I128:
        return kp_dec_compare(a->i128[row], b->i128[row]);
    default:
        return (a->i64[row] > b->i64[row]) - (a->i64[row] < b->i64[row]);
    }
}

/* Smallest (sign 1) or largest (sign -1) of the arguments that are not null. */
static void extreme(struct kpi_call *call, uint32_t row, int sign)
{
    const struct kp_vec *best = call->args[0];
    for (uint32_t i = 1; i < call->args_count; i++) {
        const struct kp_vec *next = call->args[i];
        if (kp_vec_null(next, row))
            continue;
        if (kp_vec_null(best, row) || sign * compare(next, best, row) < 0)
            best = next;
    }
    copy_value(call, row, best);
}

static void k_min_of(struct kpi_call *call)
{
    KPI_EACH(call, row, extreme(call, row, 1));
}

static void k_max_of(struct kpi_call *call)
{
    KPI_EACH(call, row, extreme(call, row, -1));
}

static void k_isnull(struct kpi_call *call)
{
    KPI_EACH(call, row, call->out->i64[row] = kp_vec_null(call->args[0], row));
}

static void k_isnull_dynamic(struct kpi_call *call)
{
    KPI_EACH(call, row, struct kp_str text = kp_vec_str(call->args[0], row);
             call->out->i64[row] = text.len == 0 || kp_str_equal(text, KP_STR("null")));
}

static void k_isnotnull(struct kpi_call *call)
{
    KPI_EACH(call, row, call->out->i64[row] = !kp_vec_null(call->args[0], row));
}

static void k_isnotnull_dynamic(struct kpi_call *call)
{
    k_isnull_dynamic(call);
    KPI_EACH(call, row, call->out->i64[row] = !call->out->i64[row]);
}

static void k_gettype(struct kpi_call *call)
{
    struct kp_str name = kp_str_from(kp_type_name(call->args[0]->type));
    KPI_EACH(call, row, call->out->strs[row] = name);
}

static const struct kpi_func funcs[] = {
    {"iff", "bTT", 'T', KPI_FUNC_NULLS, k_iff, "the second when the first holds, else the third"},
    {"iif", "bTT", 'T', KPI_FUNC_NULLS, k_iff, "same as iff()"},
    /* bind.c turns case() of more arguments into a chain of these */
    {"case", "bTT", 'T', KPI_FUNC_NULLS, k_iff,
     "value after the first condition that holds, or else"},
    {"coalesce", "TTT*", 'T', KPI_FUNC_NULLS, k_coalesce, "first that is neither null nor empty"},
    {"min_of", "TT*", 'T', KPI_FUNC_NULLS, k_min_of, "smallest of the arguments"},
    {"max_of", "TT*", 'T', KPI_FUNC_NULLS, k_max_of, "largest of the arguments"},
    {"isnull", "y", 'b', KPI_FUNC_NULLS, k_isnull_dynamic, "null? (strings never are)"},
    {"isnull", ".", 'b', KPI_FUNC_NULLS, k_isnull, NULL},
    {"isnotnull", "y", 'b', KPI_FUNC_NULLS, k_isnotnull_dynamic, "not null?"},
    {"isnotnull", ".", 'b', KPI_FUNC_NULLS, k_isnotnull, NULL},
    {"notnull", "y", 'b', KPI_FUNC_NULLS, k_isnotnull_dynamic, "same as isnotnull()"},
    {"notnull", ".", 'b', KPI_FUNC_NULLS, k_isnotnull, NULL},
    {"gettype", ".", 's', KPI_FUNC_NULLS, k_gettype, "name of the type"},
};

const struct kpi_func_table kpi_funcs_flow = {funcs, KP_ARRAY_LEN(funcs)};
