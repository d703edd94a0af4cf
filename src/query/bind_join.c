/* SPDX-License-Identifier: Apache-2.0
 *
 * join, lookup and asof join: which columns must meet, and what the answer's columns are called.
 */
#include "query/join.h"
#include "query/plan.h"

struct kind_name {
    const char *name;
    enum kpi_join_kind kind;
    bool swapped; /* the same with left and right exchanged */
};

static const struct kind_name kinds[] = {{"inner", KPI_JOIN_INNER, false},
                                         {"innerunique", KPI_JOIN_INNERUNIQUE, false},
                                         {"leftouter", KPI_JOIN_LEFTOUTER, false},
                                         {"rightouter", KPI_JOIN_RIGHTOUTER, false},
                                         {"fullouter", KPI_JOIN_FULLOUTER, false},
                                         {"leftsemi", KPI_JOIN_LEFTSEMI, false},
                                         {"leftanti", KPI_JOIN_LEFTANTI, false},
                                         {"anti", KPI_JOIN_LEFTANTI, false},
                                         {"leftantisemi", KPI_JOIN_LEFTANTI, false},
                                         {"rightsemi", KPI_JOIN_LEFTSEMI, true},
                                         {"rightanti", KPI_JOIN_LEFTANTI, true},
                                         {"rightantisemi", KPI_JOIN_LEFTANTI, true},
                                         {"asof", KPI_JOIN_ASOF, false}};

/* A join while it is bound; scopes[1] is the right table's. */
struct joining {
    struct kpi_join join;
    struct kpi_bind scopes[2];
    struct kpi_outputs outputs;
    bool lookup, swapped;
};

/* --- parameters --- */

static bool find_kind(struct kpi_bind *bind, struct joining *joining, const struct kpi_item *item)
{
    struct kp_str wanted = item->expr->name;
    struct kpi_nearest nearest = {.wanted = wanted};
    for (size_t i = 0; i < KP_ARRAY_LEN(kinds); i++) {
        kpi_nearest_offer(&nearest, kp_str_from(kinds[i].name));
        if (!kp_str_equal(wanted, kp_str_from(kinds[i].name)))
            continue;
        joining->join.kind = kinds[i].kind;
        joining->swapped = kinds[i].swapped;
        bool fits = kinds[i].kind == KPI_JOIN_INNER || kinds[i].kind == KPI_JOIN_LEFTOUTER;
        if (!joining->lookup || fits)
            return true;
    }
    kpi_fail(bind->ctx, KP_INVALID, item->expr->place, "unknown kind of %s '%.*s'",
             joining->lookup ? "lookup" : "join", (int)KP_MIN(wanted.len, 60u), wanted.ptr);
    if (joining->lookup)
        kpi_hint(bind->ctx, "lookup is leftouter or inner");
    else if (nearest.best.len != 0)
        kpi_hint(bind->ctx, "did you mean '%s'?", nearest.best.ptr);
    else
        kpi_hint(bind->ctx, "inner innerunique leftouter rightouter fullouter leftsemi leftanti "
                            "rightsemi rightanti asof");
    return false;
}

static bool bind_params(struct kpi_bind *bind, struct joining *joining,
                        const struct kpi_stage *stage)
{
    bool named = joining->lookup || joining->join.kind == KPI_JOIN_ASOF;
    for (const struct kpi_item *item = stage->params.first; item != NULL; item = item->next) {
        if (item->hint) /* hint.strategy and its kin: advice to other engines */
            continue;
        if (!kp_str_equal(item->name, KP_STR("kind"))) {
            kpi_fail(bind->ctx, KP_INVALID, item->place, "unknown parameter '%.*s'",
                     (int)KP_MIN(item->name.len, 60u), item->name.ptr);
            kpi_hint(bind->ctx, "join takes kind=");
            return false;
        }
        if (!find_kind(bind, joining, item))
            return false;
        named = true;
    }
    if (!named)
        kpi_note(bind->run, "join without kind= is innerunique: of the left table only the first "
                            "row of each key; write kind=inner for all of them");
    return true;
}

/* --- keys --- */

static struct kpi_expr *key_column(struct joining *joining, uint32_t side, struct kp_str name,
                                   struct kpi_place place)
{
    int found = kpi_bind_find(&joining->scopes[side], name, place);
    return found < 0 ? NULL : kpi_bind_column(&joining->scopes[side], (uint32_t)found, place);
}

/* $left.name or $right.name: its side, or -1. */
static int sided(const struct kpi_node *node)
{
    bool member = node->kind == KPI_NODE_CALL && kp_str_equal(node->name, KP_STR("member")) &&
                  node->args[0]->kind == KPI_NODE_NAME && node->args[1]->value.type == KP_TYPE_STR;
    if (!member)
        return -1;
    return kp_str_equal(node->args[0]->name, KP_STR("$left"))    ? 0
           : kp_str_equal(node->args[0]->name, KP_STR("$right")) ? 1
                                                                 : -1;
}

static bool add_key(struct kpi_bind *bind, struct joining *joining, struct kpi_expr *left,
                    struct kpi_expr *right, struct kpi_place place)
{
    struct kpi_join *join = &joining->join;
    if (left == NULL || right == NULL)
        return false;
    bool numbers = (left->type == KP_TYPE_I64 && right->type == KP_TYPE_F64) ||
                   (left->type == KP_TYPE_F64 && right->type == KP_TYPE_I64);
    if (left->type != right->type && !numbers) {
        kpi_fail(bind->ctx, KP_INVALID, place, "the keys are %s on the left and %s on the right",
                 kp_type_name(left->type), kp_type_name(right->type));
        kpi_hint(bind->ctx, "convert one with extend before the join");
        return false;
    }
    if (join->keys_count == KPI_ARGS_MAX) {
        kpi_fail(bind->ctx, KP_LIMIT, place, "more than %d keys", KPI_ARGS_MAX);
        return false;
    }
    enum kp_type type = numbers ? KP_TYPE_F64 : left->type;
    join->keys[0][join->keys_count] = kpi_bind_cast(&joining->scopes[0], left, type);
    join->keys[1][join->keys_count++] = kpi_bind_cast(&joining->scopes[1], right, type);
    return bind->ctx->status == KP_OK;
}

/* One condition: a name, $left.a == $right.b, or several of them joined by `and`. */
static bool bind_condition(struct kpi_bind *bind, struct joining *joining,
                           const struct kpi_node *node)
{
    if (node->kind == KPI_NODE_NAME)
        return add_key(bind, joining, key_column(joining, 0, node->name, node->place),
                       key_column(joining, 1, node->name, node->place), node->place);
    bool call = node->kind == KPI_NODE_CALL;
    if (call && kp_str_equal(node->name, KP_STR("and"))) {
        for (uint32_t i = 0; i < node->args_count; i++)
            if (!bind_condition(bind, joining, node->args[i]))
                return false;
        return true;
    }
    bool equal = call && kp_str_equal(node->name, KP_STR("==")) && node->args_count == 2;
    int first = equal ? sided(node->args[0]) : -1, second = equal ? sided(node->args[1]) : -1;
    if (first < 0 || second < 0 || first == second) {
        kpi_fail(bind->ctx, KP_INVALID, node->place, "a join meets by columns");
        kpi_hint(bind->ctx, "write: on name, or on $left.a == $right.b");
        return false;
    }
    const struct kpi_node *left = node->args[first == 0 ? 0 : 1];
    const struct kpi_node *right = node->args[first == 0 ? 1 : 0];
    return add_key(bind, joining, key_column(joining, 0, left->args[1]->value.str, left->place),
                   key_column(joining, 1, right->args[1]->value.str, right->place), node->place);
}

static bool bind_conditions(struct kpi_bind *bind, struct joining *joining,
                            const struct kpi_stage *stage)
{
    for (uint32_t side = 0; side < 2; side++) {
        joining->join.keys[side] = kpi_new(bind->ctx, KPI_ARGS_MAX, sizeof(struct kpi_expr *));
        if (joining->join.keys[side] == NULL)
            return false;
    }
    for (const struct kpi_item *item = stage->items.first; item != NULL; item = item->next)
        if (!bind_condition(bind, joining, item->expr))
            return false;
    return true;
}

/* --- columns of the answer --- */

static bool is_key(const struct joining *joining, uint32_t side, uint32_t column)
{
    for (uint32_t k = 0; k < joining->join.keys_count; k++) {
        const struct kpi_expr *key = joining->join.keys[side][k];
        if (key->kind == KPI_EXPR_COLUMN && key->column == column)
            return true;
    }
    return false;
}

static bool add_side(struct kpi_bind *bind, struct joining *joining, uint32_t side,
                     struct kpi_join_output *outputs)
{
    struct kpi_bind *scope = &joining->scopes[side];
    bool skip_keys = side == 1 && joining->lookup;
    struct kpi_place nowhere = {0};
    for (uint32_t c = 0; c < scope->schema->count; c++) {
        if (skip_keys && is_key(joining, side, c))
            continue;
        outputs[joining->outputs.count] = (struct kpi_join_output){side, c};
        if (!kpi_outputs_add(scope, &joining->outputs, scope->schema->fields[c].name,
                             kpi_bind_column(scope, c, nowhere)))
            return false;
    }
    return bind->ctx->status == KP_OK;
}

static bool find_times(struct kpi_bind *bind, struct joining *joining, struct kpi_place place)
{
    for (uint32_t side = 0; side < 2; side++) {
        int found = kpi_bind_find(&joining->scopes[side], KP_STR("ts"), place);
        if (found < 0)
            return false;
        if (joining->scopes[side].schema->fields[found].type != KP_TYPE_TIME) {
            kpi_fail(bind->ctx, KP_INVALID, place, "asof join needs ts to be a datetime");
            return false;
        }
        joining->join.ts[side] = (uint32_t)found;
    }
    return true;
}

struct kpi_op *kpi_bind_join(struct kpi_bind *bind, struct kpi_op *input,
                             const struct kpi_stage *stage)
{
    struct joining joining = {.lookup = stage->kind == KPI_STAGE_LOOKUP};
    joining.join.kind = joining.lookup                       ? KPI_JOIN_LEFTOUTER
                        : stage->kind == KPI_STAGE_ASOF_JOIN ? KPI_JOIN_ASOF
                                                             : KPI_JOIN_INNERUNIQUE;
    struct kpi_op *other = kpi_bind_pipe(bind, stage->pipes);
    if (other == NULL || !bind_params(bind, &joining, stage))
        return NULL;
    joining.scopes[0] = joining.scopes[1] = *bind;
    joining.scopes[1].schema = &other->schema;
    if (!bind_conditions(bind, &joining, stage))
        return NULL;
    struct kpi_join *join = &joining.join;
    join->inputs[0] = input;
    join->inputs[1] = other;
    if (joining.swapped) { /* rightsemi is leftsemi seen from the other side */
        struct kpi_bind scope = joining.scopes[0];
        struct kpi_expr **keys = join->keys[0];
        joining.scopes[0] = joining.scopes[1];
        joining.scopes[1] = scope;
        join->keys[0] = join->keys[1];
        join->keys[1] = keys;
        join->inputs[0] = other;
        join->inputs[1] = input;
    }
    uint32_t cols = input->schema.count + other->schema.count;
    struct kpi_join_output *outputs = kpi_new(bind->ctx, cols, sizeof(*outputs));
    bool one_side = join->kind == KPI_JOIN_LEFTSEMI || join->kind == KPI_JOIN_LEFTANTI;
    if (outputs == NULL || !add_side(bind, &joining, 0, outputs) ||
        (!one_side && !add_side(bind, &joining, 1, outputs)))
        return NULL;
    if (join->kind == KPI_JOIN_ASOF && !find_times(bind, &joining, stage->place))
        return NULL;
    join->fields = joining.outputs.fields;
    join->outputs = outputs;
    join->outputs_count = joining.outputs.count;
    return join->kind == KPI_JOIN_ASOF ? kpi_op_asof(bind->run, join)
                                       : kpi_op_join(bind->run, join);
}
