/* SPDX-License-Identifier: Apache-2.0
 *
 * Expressions: names to columns, calls to overloads, literals to values; implicit casts made
 * visible and everything constant computed once.
 *
 * Order of the rules for a call: aggregates (inside summarize), the special forms (case, in, typed
 * literals beside datetimes), then the table of functions.
 */
#include <stdio.h>

#include "query/func.h"
#include "query/names.h"
#include "query/shape.h"

static struct kpi_expr *expr_new(struct kpi_bind *bind, enum kpi_expr_kind kind,
                                 struct kpi_place place)
{
    struct kpi_expr *expr = kpi_new(bind->ctx, 1, sizeof(*expr));
    if (expr == NULL)
        return NULL;
    expr->kind = kind;
    expr->place = place;
    return expr;
}

static enum kp_unit unit_of_type(enum kp_type type)
{
    return type == KP_TYPE_TIME || type == KP_TYPE_DUR ? KP_UNIT_NS : KP_UNIT_NONE;
}

struct kpi_expr *kpi_bind_value(struct kpi_bind *bind, struct kpi_value value,
                                struct kpi_place place)
{
    struct kpi_expr *expr = expr_new(bind, KPI_EXPR_CONST, place);
    if (expr == NULL)
        return NULL;
    expr->value = value;
    expr->type = value.type;
    expr->unit = unit_of_type(value.type);
    return expr;
}

struct kpi_expr *kpi_bind_column(struct kpi_bind *bind, uint32_t i, struct kpi_place place)
{
    struct kpi_expr *expr = expr_new(bind, KPI_EXPR_COLUMN, place);
    if (expr == NULL)
        return NULL;
    expr->column = i;
    expr->type = bind->schema->fields[i].type;
    expr->unit = bind->schema->fields[i].unit;
    expr->name = bind->schema->fields[i].name;
    return expr;
}

/* --- names --- */

static int find_quiet(const struct kpi_bind *bind, struct kp_str name)
{
    if (bind->schema == NULL)
        return -1;
    int found = kp_schema_find(bind->schema, name);
    if (found < 0 && kp_str_equal(name, KP_STR("time"))) /* what Grafana calls it */
        found = kp_schema_find(bind->schema, KP_STR("ts"));
    return found;
}

static void hint_columns(struct kpi_bind *bind)
{
    struct kp_buf list = {0};
    for (uint32_t i = 0; i < bind->schema->count && list.size < 300; i++)
        kp_buf_printf(&list, "%s%.*s", i > 0 ? " " : "", (int)bind->schema->fields[i].name.len,
                      bind->schema->fields[i].name.ptr);
    kpi_hint(bind->ctx, "columns here: %s", kp_buf_cstr(&list));
    kp_buf_deinit(&list);
}

int kpi_bind_find(struct kpi_bind *bind, struct kp_str name, struct kpi_place place)
{
    int found = find_quiet(bind, name);
    if (found >= 0)
        return found;
    if (bind->aggregates != NULL && kp_schema_find(bind->input, name) >= 0) {
        kpi_fail(bind->ctx, KP_INVALID, place, "column '%.*s' stands outside any aggregate",
                 (int)name.len, name.ptr);
        kpi_hint(bind->ctx, "write take_any(%.*s), or put it after `by`", (int)name.len, name.ptr);
        return -1;
    }
    struct kpi_nearest nearest = {.wanted = name};
    for (uint32_t i = 0; bind->schema != NULL && i < bind->schema->count; i++)
        kpi_nearest_offer(&nearest, bind->schema->fields[i].name);
    kpi_fail(bind->ctx, KP_INVALID, place, "unknown column '%.*s'", (int)KP_MIN(name.len, 60u),
             name.ptr);
    if (nearest.best.len != 0)
        kpi_hint(bind->ctx, "did you mean '%.*s'?", (int)nearest.best.len, nearest.best.ptr);
    else if (bind->schema != NULL && bind->schema->count > 0)
        hint_columns(bind);
    else if (bind->aggregates != NULL)
        kpi_hint(bind->ctx, "summarize sees aggregates and what stands after `by`; compute further "
                            "with | extend");
    else
        kpi_hint(bind->ctx, "a constant is needed here: write a value, or name it with let");
    return -1;
}

/* let name, or a parameter. A value that reads columns is good only where they are. */
static struct kpi_expr *named_value(struct kpi_bind *bind, const struct kpi_name *name,
                                    const struct kpi_node *node)
{
    if (name->value != NULL && (name->rows == NULL || name->rows == bind->rows)) {
        struct kpi_expr *value = name->value;
        struct kpi_expr *copy =
            value->kind != KPI_EXPR_CONST ? value : kpi_bind_value(bind, value->value, node->place);
        if (copy != NULL)
            copy->unit = value->unit;
        return copy;
    }
    if (name->function != NULL) {
        struct kpi_node call = {.kind = KPI_NODE_CALL, .place = node->place, .name = node->name};
        return kpi_name_call(bind, name, &call);
    }
    kpi_fail(bind->ctx, KP_INVALID, node->place,
             name->value != NULL ? "'%.*s' reads a column, which this table has not"
                                 : "'%.*s' is a table, a value is needed here",
             (int)node->name.len, node->name.ptr);
    kpi_hint(bind->ctx,
             name->value != NULL ? "join the tables" : "toscalar(T) takes its first value");
    return NULL;
}

static struct kpi_expr *bind_name(struct kpi_bind *bind, const struct kpi_node *node)
{
    int found = find_quiet(bind, node->name);
    if (found >= 0)
        return kpi_bind_column(bind, (uint32_t)found, node->place);
    const struct kpi_name *name = kpi_name_find(bind, node->name);
    if (name != NULL)
        return named_value(bind, name, node);
    static const struct {
        const char *name;
        int64_t value;
    } words[] = {{"true", 1}, {"false", 0}};
    for (size_t w = 0; w < KP_ARRAY_LEN(words); w++) {
        struct kpi_value value = {.type = KP_TYPE_BOOL, .i64 = words[w].value};
        if (kp_str_equal(node->name, kp_str_from(words[w].name)))
            return kpi_bind_value(bind, value, node->place);
    }
    if (kp_str_equal(node->name, KP_STR("null"))) {
        struct kpi_value value = {.type = KP_TYPE_NULL, .null = true};
        return kpi_bind_value(bind, value, node->place);
    }
    kpi_bind_find(bind, node->name, node->place);
    return NULL;
}

/* --- calls --- */

static struct kpi_expr *make_call(struct kpi_bind *bind, const struct kpi_func *func,
                                  struct kpi_expr **args, uint32_t count, enum kp_type type,
                                  struct kpi_place place)
{
    struct kpi_expr *expr = expr_new(bind, KPI_EXPR_CALL, place);
    struct kpi_expr **copy = kpi_new(bind->ctx, count, sizeof(*copy));
    if (expr == NULL || copy == NULL)
        return NULL;
    bool constant = (func->flags & KPI_FUNC_VARYING) == 0;
    for (uint32_t i = 0; i < count; i++) {
        copy[i] = args[i];
        expr->depth = KP_MAX(expr->depth, args[i]->depth + 1);
        constant &= args[i]->kind == KPI_EXPR_CONST;
    }
    if (expr->depth > KPI_DEPTH_BOUND_MAX) {
        kpi_fail(bind->ctx, KP_LIMIT, place, "the expression is nested too deeply");
        kpi_hint(bind->ctx, "split it with extend");
        return NULL;
    }
    expr->func = func;
    expr->args = copy;
    expr->args_count = count;
    expr->type = type;
    if (!constant)
        return expr;
    struct kpi_value value;
    if (!kpi_expr_constant(bind->ctx, expr, &value))
        return NULL;
    return kpi_bind_value(bind, value, place);
}

struct kpi_expr *kpi_bind_cast(struct kpi_bind *bind, struct kpi_expr *expr, enum kp_type type)
{
    if (expr == NULL || expr->type == type || type == KP_TYPE_NULL)
        return expr;
    if (expr->kind == KPI_EXPR_CONST && expr->type == KP_TYPE_NULL) {
        struct kpi_value null = {.type = type, .null = true};
        null.null = kp_type_phys(type) != KP_PHYS_STR;
        if (!null.null)
            null.str = KP_STR("");
        return kpi_bind_value(bind, null, expr->place);
    }
    const struct kpi_func *func = kpi_func_cast(expr->type, type);
    if (func == NULL) {
        kpi_fail(bind->ctx, KP_INVALID, expr->place, "%s is needed here, not %s",
                 kp_type_name(type), kp_type_name(expr->type));
        return NULL;
    }
    return make_call(bind, func, &expr, 1, type, expr->place);
}

/* Units pass through what keeps the scale of its first argument. */
static enum kp_unit call_unit(const struct kpi_func *func, struct kpi_expr *const *args,
                              uint32_t count, enum kp_type type)
{
    static const char *const keep[] = {"+",      "-",      "%",      "bin",    "floor",
                                       "abs",    "negate", "min_of", "max_of", "coalesce",
                                       "tolong", "toreal", "bin_at", "round"};
    if (unit_of_type(type) != KP_UNIT_NONE)
        return KP_UNIT_NS;
    if (count == 0 || (type != KP_TYPE_I64 && type != KP_TYPE_F64))
        return KP_UNIT_NONE;
    for (size_t i = 0; i < KP_ARRAY_LEN(keep); i++)
        if (strcmp(func->name, keep[i]) == 0 && args[0]->unit != KP_UNIT_ID)
            return args[0]->unit;
    return KP_UNIT_NONE;
}

/* Beside a datetime a bare number, duration or string is an instant (Grafana, InfluxQL); beside a
 * timespan a bare number is nanoseconds. */
static struct kpi_expr *as_instant(struct kpi_bind *bind, struct kpi_expr *expr, enum kp_type type)
{
    struct kpi_value value = expr->value;
    if (expr->kind != KPI_EXPR_CONST || value.null)
        return expr;
    bool number = value.type == KP_TYPE_I64 || (value.type == KP_TYPE_DUR && type == KP_TYPE_TIME);
    if (!number && !(value.type == KP_TYPE_STR && type == KP_TYPE_TIME &&
                     kpi_literal_datetime(value.str, &value.i64)))
        return expr;
    value.type = type;
    return kpi_bind_value(bind, value, expr->place);
}

/* Beside a decimal a real that was written out is one too. */
static void adjust_decimals(struct kpi_bind *bind, struct kpi_expr **args, uint32_t count)
{
    bool decimal = false;
    for (uint32_t i = 0; i < count; i++)
        decimal |= args[i] != NULL && args[i]->type == KP_TYPE_DEC;
    for (uint32_t i = 0; i < count && decimal; i++) {
        struct kpi_value value = {.type = KP_TYPE_DEC};
        bool real = args[i] != NULL && args[i]->kind == KPI_EXPR_CONST &&
                    args[i]->type == KP_TYPE_F64 && !args[i]->value.null &&
                    kp_dec_from_real(args[i]->value.f64, &value.dec);
        if (real)
            args[i] = kpi_bind_value(bind, value, args[i]->place);
    }
}

static bool is_comparison(struct kp_str name)
{
    static const char *const names[] = {"==", "!=", "<", "<=", ">", ">=", "in", "!in"};
    for (size_t i = 0; i < KP_ARRAY_LEN(names); i++)
        if (kp_str_equal(name, kp_str_from(names[i])))
            return true;
    return false;
}

static void adjust_times(struct kpi_bind *bind, struct kp_str name, struct kpi_expr **args,
                         uint32_t count)
{
    bool between = kp_str_equal(name, KP_STR("between")) || kp_str_equal(name, KP_STR("!between"));
    if (!is_comparison(name) && !between)
        return;
    enum kp_type type = KP_TYPE_NULL;
    for (uint32_t i = 0; i < count; i++)
        if (args[i]->type == KP_TYPE_TIME || (args[i]->type == KP_TYPE_DUR && type == KP_TYPE_NULL))
            type = args[i]->type;
    if (type == KP_TYPE_NULL)
        return;
    for (uint32_t i = 0; i < count; i++) {
        bool length = between && i == 2 && args[i]->type == KP_TYPE_DUR &&
                      args[1]->type == KP_TYPE_TIME; /* between (t .. 5s) */
        if (args[i]->type != type && !length)
            args[i] = as_instant(bind, args[i], type);
    }
}

/* case(c1, v1, c2, v2, e) is iff(c1, v1, iff(c2, v2, e)). */
static struct kpi_expr *bind_case(struct kpi_bind *bind, const struct kpi_node *node, uint32_t at)
{
    if (at + 1 == node->args_count)
        return kpi_bind_expr(bind, node->args[at]);
    struct kpi_expr *args[3] = {kpi_bind_expr(bind, node->args[at]),
                                kpi_bind_expr(bind, node->args[at + 1]), NULL};
    if (args[0] != NULL && args[1] != NULL)
        args[2] = bind_case(bind, node, at + 2);
    enum kp_type type, generic;
    if (args[2] == NULL)
        return NULL;
    adjust_decimals(bind, args, 3);
    const struct kpi_func *func =
        kpi_func_resolve(bind->ctx, KP_STR("iff"), node->place, args, 3, &type, &generic);
    if (func == NULL)
        return NULL;
    for (uint32_t i = 0; i < 3; i++)
        args[i] = kpi_bind_cast(bind, args[i], kpi_func_arg_type(func, i, generic));
    bool good = args[0] != NULL && args[1] != NULL && args[2] != NULL;
    return good ? make_call(bind, func, args, 3, type, node->place) : NULL;
}

/* "name" == 'value': InfluxQL quotes names with ", so a quoted name of a column means the column.
 */
static bool quoted_column(const struct kpi_bind *bind, const struct kpi_node *node, uint32_t arg)
{
    const struct kpi_node *left = node->args[0];
    return arg == 0 && node->args_count == 2 && left->quoted_double &&
           left->kind == KPI_NODE_VALUE && node->args[1]->kind == KPI_NODE_VALUE &&
           (kp_str_equal(node->name, KP_STR("=")) || is_comparison(node->name)) &&
           find_quiet(bind, left->value.str) >= 0;
}

static struct kpi_expr *bind_argument(struct kpi_bind *bind, const struct kpi_node *node,
                                      uint32_t arg)
{
    const struct kpi_node *child = node->args[arg];
    if (child->kind == KPI_NODE_STAR) {
        kpi_fail(bind->ctx, KP_INVALID, child->place, "'*' cannot be an argument of '%.*s'",
                 (int)KP_MIN(node->name.len, 60u), node->name.ptr);
        return NULL;
    }
    if (!quoted_column(bind, node, arg))
        return kpi_bind_expr(bind, child);
    int found = find_quiet(bind, child->value.str);
    return kpi_bind_column(bind, (uint32_t)found, child->place);
}

static struct kp_str canonical(struct kp_str name)
{
    static const struct {
        const char *from, *to;
    } names[] = {{"=", "=="},
                 {"<>", "!="},
                 {"notcontains", "!contains"},
                 {"notcontains_cs", "!contains_cs"},
                 {"matches", "matches regex"}};
    for (size_t i = 0; i < KP_ARRAY_LEN(names); i++)
        if (kp_str_equal(name, kp_str_from(names[i].from)))
            return kp_str_from(names[i].to);
    return name;
}

static struct kpi_expr *call_of(struct kpi_bind *bind, struct kp_str name, struct kpi_place place,
                                struct kpi_expr **args, uint32_t count)
{
    enum kp_type type = KP_TYPE_NULL, generic = KP_TYPE_NULL;
    adjust_times(bind, name, args, count);
    adjust_decimals(bind, args, count);
    for (uint32_t i = 0; i < count; i++)
        if (args[i] == NULL)
            return NULL;
    if (kp_str_equal(name, KP_STR("strcat")) || kp_str_equal(name, KP_STR("strcat_delim")))
        for (uint32_t i = 0; i < count; i++)
            if ((args[i] = kpi_bind_cast(bind, args[i], KP_TYPE_STR)) == NULL)
                return NULL;
    const struct kpi_func *func =
        kpi_func_resolve(bind->ctx, name, place, args, count, &type, &generic);
    if (func == NULL)
        return NULL;
    for (uint32_t i = 0; i < count; i++) {
        args[i] = kpi_bind_cast(bind, args[i], kpi_func_arg_type(func, i, generic));
        if (args[i] == NULL)
            return NULL;
    }
    struct kpi_expr *expr = make_call(bind, func, args, count, type, place);
    if (expr != NULL && expr->unit == KP_UNIT_NONE)
        expr->unit = call_unit(func, args, count, type);
    return expr;
}

struct kpi_expr *kpi_bind_named(struct kpi_bind *bind, const char *name, struct kpi_place place,
                                struct kpi_expr **args, uint32_t count)
{
    return call_of(bind, kp_str_from(name), place, args, count);
}

/* Calls with more arguments than a kernel takes, in groups that another function joins. */
static const struct grouping {
    const char *name, *join;
    bool keyed; /* the first argument belongs to every group */
} groupings[] = {{"and", "and", false}, {"or", "or", false},     {"strcat", "strcat", false},
                 {"in", "or", true},    {"!in", "and", true},    {"in~", "or", true},
                 {"!in~", "and", true}, {"has_any", "or", true}, {"has_all", "and", true}};

static struct kpi_expr *bind_group(struct kpi_bind *bind, const struct kpi_node *node,
                                   const struct grouping *grouping, uint32_t *at)
{
    struct kpi_expr *args[KPI_ARGS_MAX];
    uint32_t count = 0;
    if (grouping->keyed)
        args[count++] = bind_argument(bind, node, 0);
    while (count < KPI_ARGS_MAX && *at < node->args_count)
        args[count++] = bind_argument(bind, node, (*at)++);
    for (uint32_t i = 0; i < count; i++)
        if (args[i] == NULL)
            return NULL;
    if (count == 1)
        return args[0];
    return call_of(bind, kp_str_from(grouping->name), node->place, args, count);
}

static struct kpi_expr *bind_many(struct kpi_bind *bind, const struct kpi_node *node,
                                  struct kp_str name)
{
    struct kpi_expr *groups[KPI_ARGS_MAX];
    uint32_t count = 0;
    for (size_t i = 0; i < KP_ARRAY_LEN(groupings); i++) {
        const struct grouping *grouping = &groupings[i];
        if (!kp_str_equal(name, kp_str_from(grouping->name)))
            continue;
        uint32_t at = grouping->keyed;
        while (at < node->args_count && count < KPI_ARGS_MAX)
            if ((groups[count++] = bind_group(bind, node, grouping, &at)) == NULL)
                return NULL;
        if (at == node->args_count)
            return call_of(bind, kp_str_from(grouping->join), node->place, groups, count);
    }
    kpi_fail(bind->ctx, KP_LIMIT, node->place, "'%.*s' has too many arguments",
             (int)KP_MIN(name.len, 60u), name.ptr);
    return NULL;
}

/* extract(regex, group, text, typeof(long)): the text converted. */
static struct kpi_expr *bind_extract(struct kpi_bind *bind, const struct kpi_node *node)
{
    struct kpi_expr *args[KPI_ARGS_MAX];
    uint32_t count = node->args_count - 1;
    const struct kpi_node *last = node->args[count];
    enum kp_type type;
    bool typed = last->args_count == 1 && last->args[0]->kind == KPI_NODE_NAME;
    if (!typed) {
        kpi_fail(bind->ctx, KP_INVALID, last->place, "the type is written typeof(long)");
        return NULL;
    }
    if (!kpi_type_named(bind, last->args[0]->name, last->args[0]->place, &type))
        return NULL;
    for (uint32_t i = 0; i < count; i++)
        if ((args[i] = bind_argument(bind, node, i)) == NULL)
            return NULL;
    struct kpi_expr *text = call_of(bind, node->name, node->place, args, count);
    if (text != NULL && text->type != KP_TYPE_STR && type != KP_TYPE_F64) /* a number, as ns */
        text = kpi_bind_cast(bind, text, KP_TYPE_I64);
    if (type == KP_TYPE_DYN)
        return text == NULL ? NULL : call_of(bind, KP_STR("parse_json"), node->place, &text, 1);
    return kpi_bind_cast(bind, text, type);
}

static bool is_call(const struct kpi_node *node, const char *name)
{
    return node->kind == KPI_NODE_CALL && kp_str_equal(node->name, kp_str_from(name));
}

/* * has 'text': any column does. */
static struct kpi_expr *bind_any_column(struct kpi_bind *bind, const struct kpi_node *node,
                                        struct kp_str name)
{
    struct kpi_expr *parts[KPI_ARGS_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; bind->schema != NULL && i < bind->schema->count; i++) {
        struct kpi_expr *args[2] = {
            kpi_bind_cast(bind, kpi_bind_column(bind, i, node->place), KP_TYPE_STR),
            kpi_bind_cast(bind, kpi_bind_expr(bind, node->args[1]), KP_TYPE_STR)};
        if (args[0] == NULL || args[1] == NULL)
            return NULL;
        if (count == KPI_ARGS_MAX) {
            parts[0] = call_of(bind, KP_STR("or"), node->place, parts, count);
            count = 1;
        }
        parts[count] = call_of(bind, name, node->place, args, 2);
        if (parts[0] == NULL || parts[count++] == NULL)
            return NULL;
    }
    if (count > 1)
        return call_of(bind, KP_STR("or"), node->place, parts, count);
    if (count == 0)
        kpi_fail(bind->ctx, KP_INVALID, node->place, "'*' means all columns, there are none here");
    return count == 0 ? NULL : parts[0];
}

/* Decimals are equal by value, not as text: each is compared by itself. */
static struct kpi_expr *bind_in_decimals(struct kpi_bind *bind, const struct kpi_node *node,
                                         struct kp_str name, struct kpi_expr *array)
{
    struct kpi_expr *args[KPI_ARGS_MAX];
    struct kpi_json_walk walk;
    struct kp_str element;
    uint32_t count = 0;
    bool more = kpi_json_array(array->value.str, &walk);
    args[count++] = kpi_bind_expr(bind, node->args[0]);
    while (more && kpi_json_next(&walk, &element)) {
        struct kpi_value value = {.type = KP_TYPE_DEC};
        if (!kp_dec_parse(element, &value.dec))
            continue;
        if (count == KPI_ARGS_MAX) {
            kpi_fail(bind->ctx, KP_LIMIT, node->place, "more than %d decimals to look among",
                     KPI_ARGS_MAX - 1);
            kpi_hint(bind->ctx, "join kind=leftsemi (T) on key");
            return NULL;
        }
        args[count++] = kpi_bind_value(bind, value, node->place);
    }
    struct kpi_value none = {.type = KP_TYPE_DEC, .null = true};
    while (count < 3)
        args[count++] = kpi_bind_value(bind, none, node->place);
    return call_of(bind, name, node->place, args, count);
}

/* x in (T): the values of T's first column, looked up as text. */
static struct kpi_expr *bind_in_table(struct kpi_bind *bind, const struct kpi_node *node,
                                      struct kp_str name, struct kpi_expr *array)
{
    bool negated = name.ptr[0] == '!', nocase = name.ptr[name.len - 1] == '~';
    struct kpi_expr *value = kpi_bind_expr(bind, node->args[0]);
    if (value != NULL && value->type == KP_TYPE_DEC && !nocase)
        return bind_in_decimals(bind, node, name, array);
    struct kpi_expr *args[2] = {kpi_bind_cast(bind, value, KP_TYPE_STR), array};
    if (args[0] == NULL || args[1] == NULL)
        return NULL;
    args[0] =
        call_of(bind, nocase ? KP_STR("in_array~") : KP_STR("in_array"), node->place, args, 2);
    return negated && args[0] != NULL ? call_of(bind, KP_STR("not"), node->place, args, 1)
                                      : args[0];
}

static bool is_in(struct kp_str name)
{
    static const char *const names[] = {"in", "!in", "in~", "!in~"};
    for (size_t i = 0; i < KP_ARRAY_LEN(names); i++)
        if (kp_str_equal(name, kp_str_from(names[i])))
            return true;
    return false;
}

/* in ([...]) with one array instead of values. */
static struct kpi_expr *in_array(struct kpi_bind *bind, const struct kpi_node *node)
{
    const struct kpi_pipe *pipe = kpi_name_table(bind, node->args[1]);
    if (pipe != NULL)
        return kpi_subquery_array(bind, pipe, node->args[1]->place);
    const struct kpi_node *list = node->args[1];
    bool maybe = list->kind == KPI_NODE_VALUE
                     ? list->value.type == KP_TYPE_DYN
                     : list->kind == KPI_NODE_NAME || list->kind == KPI_NODE_CALL;
    struct kpi_expr *expr = maybe ? kpi_bind_expr(bind, list) : NULL;
    bool array = expr != NULL && expr->kind == KPI_EXPR_CONST && expr->type == KP_TYPE_DYN &&
                 expr->value.str.len > 0 && expr->value.str.ptr[0] == '[';
    return array ? expr : NULL;
}

/* pack_all(): a bag of all columns; pack_all(true) leaves out what is null or empty. */
static struct kpi_expr *bind_pack_all(struct kpi_bind *bind, const struct kpi_node *node)
{
    struct kpi_expr *args[KPI_ARGS_MAX], *parts[KPI_ARGS_MAX];
    uint32_t count = 0, parts_count = 0, columns = bind->schema == NULL ? 0 : bind->schema->count;
    struct kpi_value set = {.i64 = 0};
    if (node->args_count == 1 &&
        !kpi_bind_constant(bind, node->args[0], KP_TYPE_BOOL, "what to leave out", &set))
        return NULL;
    struct kp_str pack = set.i64 != 0 ? KP_STR("bag_pack_set") : KP_STR("bag_pack");
    for (uint32_t c = 0; c < columns; c++) {
        struct kpi_value name = {.type = KP_TYPE_STR, .str = bind->schema->fields[c].name};
        args[count++] = kpi_bind_value(bind, name, node->place);
        args[count++] = kpi_bind_column(bind, c, node->place);
        if (count + 2 <= KPI_ARGS_MAX && c + 1 < columns)
            continue;
        parts[parts_count++] = call_of(bind, pack, node->place, args, count);
        count = 0;
    }
    if (parts_count > 1)
        return call_of(bind, KP_STR("bag_merge"), node->place, parts, parts_count);
    if (parts_count == 0)
        kpi_fail(bind->ctx, KP_INVALID, node->place, "there are no columns here");
    return parts_count == 0 ? NULL : parts[0];
}

/* bag_pack_columns(a, b): a bag of these columns by their names. */
static struct kpi_expr *bind_pack_columns(struct kpi_bind *bind, const struct kpi_node *node)
{
    struct kpi_expr *args[KPI_ARGS_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < node->args_count && count + 2 <= KPI_ARGS_MAX; i++) {
        struct kpi_value name = {.type = KP_TYPE_STR, .str = node->args[i]->name};
        if (node->args[i]->kind != KPI_NODE_NAME) {
            kpi_fail(bind->ctx, KP_INVALID, node->args[i]->place,
                     "bag_pack_columns takes columns by name");
            kpi_hint(bind->ctx, "bag_pack('name', value)");
            return NULL;
        }
        args[count++] = kpi_bind_value(bind, name, node->args[i]->place);
        args[count++] = kpi_bind_expr(bind, node->args[i]);
    }
    return call_of(bind, KP_STR("bag_pack"), node->place, args, count);
}

/* f(*): a call over all columns, in groups that are added. */
static struct kpi_expr *bind_all_columns(struct kpi_bind *bind, const struct kpi_node *node)
{
    struct kpi_expr *sum = NULL;
    uint32_t columns = bind->schema == NULL ? 0 : bind->schema->count;
    for (uint32_t c = 0; c < columns;) {
        struct kpi_expr *args[KPI_ARGS_MAX];
        uint32_t count = 0;
        while (c < columns && count < KPI_ARGS_MAX)
            args[count++] = kpi_bind_column(bind, c++, node->place);
        struct kpi_expr *both[2] = {sum, call_of(bind, node->name, node->place, args, count)};
        if (both[1] == NULL)
            return NULL;
        sum = sum == NULL ? both[1] : call_of(bind, KP_STR("+"), node->place, both, 2);
    }
    if (columns == 0)
        kpi_fail(bind->ctx, KP_INVALID, node->place, "there are no columns here");
    return sum;
}

/* column_ifexists('name', otherwise) */
static struct kpi_expr *bind_column_or(struct kpi_bind *bind, const struct kpi_node *node)
{
    struct kpi_value name;
    if (node->args[0]->kind == KPI_NODE_NAME)
        name.str = node->args[0]->name;
    else if (!kpi_bind_constant(bind, node->args[0], KP_TYPE_STR, "the name of a column", &name))
        return NULL;
    int found = find_quiet(bind, name.str);
    return found >= 0 ? kpi_bind_column(bind, (uint32_t)found, node->place)
                      : kpi_bind_expr(bind, node->args[1]);
}

/* step.column inside scan: a column of that name. */
static bool bind_step_column(struct kpi_bind *bind, const struct kpi_node *node,
                             struct kpi_expr **out)
{
    char text[200];
    bool member = is_call(node, "member") && node->args_count == 2 &&
                  node->args[0]->kind == KPI_NODE_NAME && node->args[1]->kind == KPI_NODE_VALUE &&
                  node->args[1]->value.type == KP_TYPE_STR;
    if (!member || find_quiet(bind, node->args[0]->name) >= 0)
        return false;
    struct kp_str step = node->args[0]->name, column = node->args[1]->value.str;
    int length = snprintf(text, sizeof(text), "%.*s.%.*s", (int)KP_MIN(step.len, 60u), step.ptr,
                          (int)KP_MIN(column.len, 120u), column.ptr);
    int found = find_quiet(bind, (struct kp_str){text, (uint32_t)length});
    if (found >= 0)
        *out = kpi_bind_column(bind, (uint32_t)found, node->place);
    return found >= 0;
}

/* Calls that are no rows of the tables of functions. False: it is an ordinary call. */
static bool bind_special(struct kpi_bind *bind, const struct kpi_node *node, struct kp_str name,
                         struct kpi_expr **out)
{
    const struct kpi_name *named = kpi_name_find(bind, name);
    if (named != NULL && named->function != NULL) {
        *out = kpi_name_call(bind, named, node);
        return true;
    }
    if (node->args_count == 2 && node->args[0]->kind == KPI_NODE_STAR) {
        *out = bind_any_column(bind, node, name);
        return true;
    }
    if (is_call(node, "pack_all") && node->args_count <= 1) {
        *out = bind_pack_all(bind, node);
        return true;
    }
    if (is_call(node, "bag_pack_columns") && node->args_count > 0) {
        *out = bind_pack_columns(bind, node);
        return true;
    }
    if (is_call(node, "estimate_data_size") && node->args_count == 1 &&
        node->args[0]->kind == KPI_NODE_STAR) {
        *out = bind_all_columns(bind, node);
        return true;
    }
    bool maybe = is_call(node, "column_ifexists") || is_call(node, "columnifexists");
    if (maybe && node->args_count == 2) {
        *out = bind_column_or(bind, node);
        return true;
    }
    if (bind_step_column(bind, node, out))
        return true;
    if (is_call(node, "toscalar") && node->args_count == 1) {
        const struct kpi_pipe *pipe = kpi_name_table(bind, node->args[0]);
        *out = pipe == NULL ? kpi_bind_expr(bind, node->args[0])
                            : kpi_subquery_value(bind, pipe, node->place);
        return true;
    }
    if (is_call(node, "column_names_of") && node->args_count == 1) {
        *out = kpi_bind_column_names(bind, node);
        return true;
    }
    if (node->args_count != 2 || !is_in(name))
        return bind->ctx->status != KP_OK;
    struct kpi_expr *array = in_array(bind, node);
    if (array != NULL)
        *out = bind_in_table(bind, node, name, array);
    return array != NULL || bind->ctx->status != KP_OK;
}

static struct kpi_expr *bind_call(struct kpi_bind *bind, const struct kpi_node *node)
{
    struct kpi_expr *args[KPI_ARGS_MAX];
    struct kp_str name = canonical(node->name);
    bool pairs = kp_str_equal(name, KP_STR("case")) && node->args_count % 2 == 1;
    if (pairs && node->args_count >= 3 && node->args_count <= KPI_DEPTH_MAX)
        return bind_case(bind, node, 0);
    struct kpi_expr *special = NULL;
    if (bind_special(bind, node, name, &special))
        return special;
    if (!kpi_func_known(bind->ctx, name, node->place))
        return NULL;
    bool typed = kp_str_equal(name, KP_STR("extract")) ||
                 kp_str_equal(name, KP_STR("extract_json")) ||
                 kp_str_equal(name, KP_STR("percentile_tdigest"));
    if (typed && node->args_count > 2 && is_call(node->args[node->args_count - 1], "typeof"))
        return bind_extract(bind, node);
    if (node->args_count > KPI_ARGS_MAX)
        return bind_many(bind, node, name);
    for (uint32_t i = 0; i < node->args_count; i++)
        if ((args[i] = bind_argument(bind, node, i)) == NULL)
            return NULL;
    return call_of(bind, name, node->place, args, node->args_count);
}

struct kpi_expr *kpi_bind_expr(struct kpi_bind *bind, const struct kpi_node *node)
{
    if (bind->ctx->status != KP_OK || node == NULL)
        return NULL;
    switch (node->kind) {
    case KPI_NODE_VALUE:
        return kpi_bind_value(bind, node->value, node->place);
    case KPI_NODE_NAME:
        return bind_name(bind, node);
    case KPI_NODE_STAR:
        kpi_fail(bind->ctx, KP_INVALID, node->place, "'*' cannot stand here");
        return NULL;
    case KPI_NODE_TABLE:
        kpi_fail(bind->ctx, KP_INVALID, node->place, "a value is needed here, not a table");
        kpi_hint(bind->ctx, "toscalar(T) takes its first value");
        return NULL;
    default:
        break;
    }
    if (kpi_aggregate_known(node->name))
        return kpi_bind_aggregate(bind, node);
    if (kpi_window_known(node->name))
        return kpi_bind_window(bind, node);
    return bind_call(bind, node);
}

bool kpi_bind_constant(struct kpi_bind *bind, const struct kpi_node *node, enum kp_type type,
                       const char *what, struct kpi_value *out)
{
    struct kpi_bind alone = *bind;
    alone.schema = NULL;
    alone.aggregates = NULL;
    struct kpi_expr *expr = kpi_bind_expr(&alone, node);
    if (expr == NULL)
        return false;
    bool instant = type == KP_TYPE_TIME && expr->kind == KPI_EXPR_CONST;
    if (instant)
        expr = as_instant(&alone, expr, type);
    bool fits = expr != NULL && expr->kind == KPI_EXPR_CONST && !expr->value.null &&
                (expr->type == type ||
                 (expr->type == KP_TYPE_I64 && (type == KP_TYPE_F64 || type == KP_TYPE_DEC)));
    if (!fits) {
        kpi_fail(bind->ctx, KP_INVALID, node->place, "%s must be a constant %s", what,
                 kp_type_name(type));
        return false;
    }
    expr = kpi_bind_cast(&alone, expr, type);
    if (expr == NULL)
        return false;
    *out = expr->value;
    return true;
}
