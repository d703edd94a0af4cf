/* SPDX-License-Identifier: Apache-2.0
 *
 * let, functions of the text, and tables where a value may stand. A function is written out at each
 * call: its parameters become names, its body is bound as if it stood there. So nothing has to be
 * known about a function before it is used, and constants fold through it.
 */
#include "query/names.h"

#include "query/plan.h"

struct kpi_name *kpi_name_add(struct kpi_bind *bind, struct kp_str name, struct kpi_place place)
{
    struct kpi_name *added = kpi_new(bind->ctx, 1, sizeof(*added));
    if (added == NULL)
        return NULL;
    *added = (struct kpi_name){
        .name = name, .place = place, .scope = bind->names, .before = bind->names};
    bind->names = added;
    return added;
}

const struct kpi_name *kpi_name_find(const struct kpi_bind *bind, struct kp_str name)
{
    const struct kpi_name *found = bind->names;
    while (found != NULL && !kp_str_equal(found->name, name))
        found = found->before;
    return found;
}

static bool deeper(struct kpi_bind *bind, struct kpi_place place)
{
    if (++bind->let_depth <= KPI_LET_DEPTH_MAX)
        return true;
    kpi_fail(bind->ctx, KP_LIMIT, place, "names of let are nested too deeply");
    return false;
}

/* --- let --- */

static bool let_value(struct kpi_bind *bind, const struct kpi_item *let)
{
    struct kpi_expr *value = kpi_bind_expr(bind, let->expr);
    if (value == NULL)
        return false;
    if (value->kind != KPI_EXPR_CONST && bind->rows == NULL) {
        kpi_fail(bind->ctx, KP_INVALID, let->place, "let needs a value");
        return false;
    }
    struct kpi_name *name = kpi_name_add(bind, let->name, let->place);
    if (name == NULL)
        return false;
    name->value = value;
    name->rows = value->kind == KPI_EXPR_CONST ? NULL : bind->rows;
    return true;
}

bool kpi_names_let(struct kpi_bind *bind, const struct kpi_items *lets)
{
    for (const struct kpi_item *let = lets->first; let != NULL; let = let->next) {
        const struct kpi_pipe *pipe = let->pipe;
        if (pipe == NULL && let->function == NULL)
            pipe = kpi_name_table(bind, let->expr);
        if (bind->ctx->status != KP_OK)
            return false;
        if (pipe == NULL && let->function == NULL) {
            if (!let_value(bind, let))
                return false;
            continue;
        }
        struct kpi_name *name = kpi_name_add(bind, let->name, let->place);
        if (name == NULL)
            return false;
        name->pipe = pipe;
        name->function = let->function;
    }
    return true;
}

/* --- calls --- */

/* The argument for a parameter: by its name, else by its position among those without one. */
static const struct kpi_node *argument_of(const struct kpi_node *call, const struct kpi_item *param,
                                          uint32_t position)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < call->args_count; i++) {
        if (call->args[i]->label.ptr != NULL && kp_str_equal(call->args[i]->label, param->name))
            return call->args[i];
        if (call->args[i]->label.ptr == NULL && at++ == position)
            return call->args[i];
    }
    return param->expr;
}

static bool bind_parameter(struct kpi_bind *caller, struct kpi_bind *inside,
                           const struct kpi_item *param, const struct kpi_node *arg)
{
    enum kp_type type;
    struct kpi_name *name = kpi_name_add(inside, param->name, param->place);
    if (name == NULL)
        return false;
    name->scope = caller->names;
    if (param->type.ptr == NULL) {
        name->pipe = kpi_name_table(caller, arg);
        if (name->pipe == NULL)
            kpi_fail(caller->ctx, KP_INVALID, arg->place, "'%.*s' must be a table",
                     (int)param->name.len, param->name.ptr);
        return name->pipe != NULL;
    }
    if (!kpi_type_named(caller, param->type, param->place, &type))
        return false;
    struct kpi_expr *value = kpi_bind_expr(caller, arg);
    if (value != NULL && type == KP_TYPE_DYN && value->type == KP_TYPE_STR)
        value = kpi_bind_named(caller, "parse_json", arg->place, &value, 1);
    name->value = kpi_bind_cast(caller, value, type);
    if (name->value != NULL && name->value->kind != KPI_EXPR_CONST)
        name->rows = caller->rows != NULL ? caller->rows : caller->schema;
    return name->value != NULL;
}

/* The names in force inside a function for one call of it. */
static bool enter(struct kpi_bind *bind, const struct kpi_name *name, const struct kpi_node *call,
                  struct kpi_bind *out)
{
    const struct kpi_item *param = name->function->params.first;
    uint32_t count = name->function->params.count;
    *out = *bind;
    out->names = name->scope;
    if (!deeper(out, call->place))
        return false;
    if (call->args_count > count) {
        kpi_fail(bind->ctx, KP_INVALID, call->place, "'%.*s' takes %u argument%s, not %u",
                 (int)name->name.len, name->name.ptr, count, count == 1 ? "" : "s",
                 call->args_count);
        return false;
    }
    for (uint32_t i = 0; param != NULL; param = param->next, i++) {
        const struct kpi_node *arg = argument_of(call, param, i);
        if (arg == NULL) {
            kpi_fail(bind->ctx, KP_INVALID, call->place, "'%.*s' needs its argument '%.*s'",
                     (int)name->name.len, name->name.ptr, (int)param->name.len, param->name.ptr);
            return false;
        }
        if (!bind_parameter(bind, out, param, arg))
            return false;
    }
    out->rows = bind->rows != NULL ? bind->rows : bind->schema;
    out->schema = NULL;
    out->aggregates = NULL;
    out->windows = NULL;
    return kpi_names_let(out, &name->function->lets);
}

struct kpi_expr *kpi_name_call(struct kpi_bind *bind, const struct kpi_name *name,
                               const struct kpi_node *node)
{
    struct kpi_bind inside;
    if (!enter(bind, name, node, &inside))
        return NULL;
    const struct kpi_pipe *pipe = kpi_name_table(&inside, name->function->body);
    if (pipe != NULL) {
        kpi_fail(bind->ctx, KP_INVALID, node->place, "'%.*s' gives a table, a value is needed here",
                 (int)name->name.len, name->name.ptr);
        kpi_hint(bind->ctx, "take its first value: toscalar(%.*s(...))", (int)name->name.len,
                 name->name.ptr);
        return NULL;
    }
    return kpi_bind_expr(&inside, name->function->body);
}

/* --- tables --- */

static bool is(const struct kpi_node *node, const char *name)
{
    return kp_str_equal(node->name, kp_str_from(name));
}

static const struct kpi_pipe *pipe_of(struct kpi_bind *bind, struct kpi_source *source)
{
    return kpi_pipe_new(bind->ctx, source);
}

/* Does the body of a function give a table? Its own lets may be what it gives. */
static bool gives_table(struct kpi_bind *bind, const struct kpi_name *name)
{
    const struct kpi_node *body = name->function->body;
    if (body->kind == KPI_NODE_TABLE)
        return true;
    if (body->kind == KPI_NODE_VALUE || bind->let_depth > KPI_LET_DEPTH_MAX)
        return false;
    for (const struct kpi_item *p = name->function->params.first; p != NULL; p = p->next)
        if (kp_str_equal(p->name, body->name))
            return p->type.ptr == NULL && body->kind == KPI_NODE_NAME;
    struct kpi_bind inside = *bind;
    inside.names = name->scope;
    inside.let_depth++;
    for (const struct kpi_item *let = name->function->lets.first; let != NULL; let = let->next)
        if (kp_str_equal(let->name, body->name))
            return let->pipe != NULL || (let->expr != NULL && is(let->expr, "materialize"));
    return kpi_name_table(&inside, body) != NULL;
}

const struct kpi_pipe *kpi_name_table(struct kpi_bind *bind, const struct kpi_node *node)
{
    if (node == NULL || bind->ctx->status != KP_OK)
        return NULL;
    struct kpi_token word = {.text = node->name, .place = node->place};
    const struct kpi_name *name = kpi_name_find(bind, node->name);
    switch (node->kind) {
    case KPI_NODE_TABLE:
        return node->pipe;
    case KPI_NODE_NAME:
        if (bind->schema != NULL && kp_schema_find(bind->schema, node->name) >= 0)
            return NULL;
        if (name != NULL ? name->pipe != NULL || (name->function != NULL && gives_table(bind, name))
                         : kpi_table_known(node->name))
            return pipe_of(bind, kpi_source_table(bind->ctx, &word));
        return NULL;
    case KPI_NODE_CALL:
        if (is(node, "materialize") || is(node, "table") ||
            (name != NULL && name->function != NULL && gives_table(bind, name))) {
            struct kpi_node *call = kpi_new(bind->ctx, 1, sizeof(*call));
            if (call == NULL)
                return NULL;
            *call = *node;
            return pipe_of(bind, kpi_source_call(bind->ctx, call));
        }
        return NULL;
    default:
        return NULL;
    }
}

static struct kpi_op *open_named(struct kpi_bind *bind, const struct kpi_node *node)
{
    struct kpi_value name;
    struct kpi_token word = {.place = node->place};
    bool one = node->args_count == 1;
    if (!one)
        kpi_fail(bind->ctx, KP_INVALID, node->place, "table() takes the name of a table");
    if (!one || !kpi_bind_constant(bind, node->args[0], KP_TYPE_STR, "the name of a table", &name))
        return NULL;
    word.text = name.str;
    return kpi_source_open(bind, kpi_source_table(bind->ctx, &word));
}

struct kpi_op *kpi_name_open(struct kpi_bind *bind, const struct kpi_node *node)
{
    const struct kpi_name *name = kpi_name_find(bind, node->name);
    struct kpi_bind inside;
    if (name == NULL && is(node, "table"))
        return open_named(bind, node);
    const struct kpi_pipe *pipe = NULL;
    if (name == NULL && is(node, "materialize") && node->args_count == 1) {
        inside = *bind; /* tables are repeatable: what is asked for twice is the same twice */
        pipe = kpi_name_table(&inside, node->args[0]);
    } else if (name != NULL && name->function != NULL) {
        if (!enter(bind, name, node, &inside))
            return NULL;
        inside.rows = NULL;
        pipe = kpi_name_table(&inside, name->function->body);
    }
    if (pipe != NULL)
        return kpi_bind_pipe(&inside, pipe);
    if (bind->ctx->status == KP_OK) {
        kpi_fail(bind->ctx, KP_INVALID, node->place, "'%.*s(...)' is no table",
                 (int)KP_MIN(node->name.len, 60u), node->name.ptr);
        kpi_hint(bind->ctx, "for a value write: print %.*s(...)", (int)KP_MIN(node->name.len, 60u),
                 node->name.ptr);
    }
    return NULL;
}
