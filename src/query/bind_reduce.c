/* SPDX-License-Identifier: Apache-2.0
 *
 * reduce by text with threshold=0.1, characters='...'
 */
#include "query/shape.h"

static bool take_settings(struct kpi_bind *bind, const struct kpi_items *params,
                          struct kpi_reduce *out)
{
    for (const struct kpi_item *p = params->first; p != NULL; p = p->next) {
        const struct kpi_value *value = &p->expr->value;
        bool given = p->expr->kind == KPI_NODE_VALUE;
        bool number = given && (value->type == KP_TYPE_F64 || value->type == KP_TYPE_I64);
        if (kp_str_equal(p->name, KP_STR("characters")) && given && value->type == KP_TYPE_STR) {
            out->separators = value->str;
        } else if (kp_str_equal(p->name, KP_STR("threshold")) && number) {
            out->threshold = value->type == KP_TYPE_F64 ? value->f64 : (double)value->i64;
        } else {
            kpi_fail(bind->ctx, KP_INVALID, p->place, "reduce does not take this '%.*s'",
                     (int)KP_MIN(p->name.len, 60u), p->name.ptr);
            kpi_hint(bind->ctx, "with threshold=0.1, characters='-_'");
            return false;
        }
    }
    return true;
}

struct kpi_op *kpi_bind_reduce(struct kpi_bind *bind, struct kpi_op *input,
                               const struct kpi_stage *stage)
{
    struct kpi_reduce reduce = {.threshold = 0.1, .separators = KP_STR("")};
    if (!take_settings(bind, &stage->params, &reduce))
        return NULL;
    reduce.text = kpi_bind_cast(bind, kpi_bind_expr(bind, stage->expr), KP_TYPE_STR);
    return reduce.text == NULL ? NULL : kpi_op_reduce(input, &reduce);
}
