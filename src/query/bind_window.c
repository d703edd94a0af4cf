/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls of row functions: each becomes a column of a window operator below the one it stands in.
 */
#include "query/plan.h"
#include "query/window.h"

static bool is(const struct kpi_node *node, const char *name)
{
    return kp_str_equal(node->name, kp_str_from(name));
}

bool kpi_window_known(struct kp_str name)
{
    static const char *const names[] = {
        "prev",         "next",           "row_number",        "row_cumsum",
        "row_rank_min", "row_rank_dense", "row_window_session"};
    for (size_t i = 0; i < KP_ARRAY_LEN(names); i++)
        if (kp_str_equal(name, kp_str_from(names[i])))
            return true;
    return false;
}

static bool count_fits(struct kpi_bind *bind, const struct kpi_node *node)
{
    bool shift = is(node, "prev") || is(node, "next"), number = is(node, "row_number");
    bool session = is(node, "row_window_session");
    uint32_t least = number ? 0 : session ? 3 : 1, most = session ? 4 : shift ? 3 : 2;
    if (node->args_count >= least && node->args_count <= most)
        return true;
    kpi_fail(bind->ctx, KP_INVALID, node->place, "'%.*s' does not take %u arguments",
             (int)node->name.len, node->name.ptr, node->args_count);
    if (session)
        kpi_hint(bind->ctx, "row_window_session(instant, longest, gap, restart)");
    kpi_hint(bind->ctx,
             shift    ? "%s(column, rows, otherwise)"
             : number ? "%s(first number, restart)"
                      : "%s(number, restart)",
             is(node, "prev")             ? "prev"
             : is(node, "next")           ? "next"
             : number                     ? "row_number"
             : is(node, "row_rank_min")   ? "row_rank_min"
             : is(node, "row_rank_dense") ? "row_rank_dense"
                                          : "row_cumsum");
    return false;
}

/* prev(column, rows = 1, otherwise = null) */
static bool bind_shift(struct kpi_bind *bind, const struct kpi_node *node, struct kpi_window *out)
{
    struct kpi_value rows = {.type = KP_TYPE_I64, .i64 = 1};
    struct kpi_expr *value = kpi_bind_expr(bind, node->args[0]);
    if (value == NULL)
        return false;
    if (node->args_count > 1 &&
        !kpi_bind_constant(bind, node->args[1], KP_TYPE_I64, "the number of rows", &rows))
        return false;
    if (rows.i64 < 0 || rows.i64 > INT32_MAX) {
        kpi_fail(bind->ctx, KP_INVALID, node->args[1]->place, "the number of rows is out of range");
        return false;
    }
    if (value->type == KP_TYPE_NULL)
        value = kpi_bind_cast(bind, value, KP_TYPE_STR);
    *out = (struct kpi_window){.kind = KPI_WINDOW_SHIFT, .value = value};
    out->by = is(node, "prev") ? -rows.i64 : rows.i64;
    out->type = value->type;
    out->otherwise = (struct kpi_value){.type = value->type, .null = true, .str = KP_STR("")};
    return node->args_count < 3 || kpi_bind_constant(bind, node->args[2], value->type,
                                                     "the value where no row is", &out->otherwise);
}

static bool bind_restart(struct kpi_bind *bind, const struct kpi_node *node,
                         struct kpi_window *window)
{
    if (node->args_count < 2)
        return true;
    window->restart = kpi_bind_cast(bind, kpi_bind_expr(bind, node->args[1]), KP_TYPE_BOOL);
    return window->restart != NULL;
}

static bool bind_rank(struct kpi_bind *bind, const struct kpi_node *node, struct kpi_window *out)
{
    struct kpi_expr *value = kpi_bind_expr(bind, node->args[0]);
    bool dense = is(node, "row_rank_dense");
    if (value == NULL)
        return false;
    *out = (struct kpi_window){.kind = dense ? KPI_WINDOW_RANK_DENSE : KPI_WINDOW_RANK_MIN,
                               .value = value,
                               .type = KP_TYPE_I64};
    return bind_restart(bind, node, out);
}

/* row_window_session(instant, longest, gap, restart) */
static bool bind_session(struct kpi_bind *bind, const struct kpi_node *node, struct kpi_window *out)
{
    struct kpi_value longest, gap;
    struct kpi_expr *value = kpi_bind_cast(bind, kpi_bind_expr(bind, node->args[0]), KP_TYPE_TIME);
    if (value == NULL ||
        !kpi_bind_constant(bind, node->args[1], KP_TYPE_DUR, "how long a session lasts",
                           &longest) ||
        !kpi_bind_constant(bind, node->args[2], KP_TYPE_DUR, "the gap between its rows", &gap))
        return false;
    *out = (struct kpi_window){.kind = KPI_WINDOW_SESSION,
                               .value = value,
                               .by = longest.i64,
                               .gap = gap.i64,
                               .type = KP_TYPE_TIME};
    if (node->args_count < 4)
        return true;
    out->restart = kpi_bind_cast(bind, kpi_bind_expr(bind, node->args[3]), KP_TYPE_BOOL);
    return out->restart != NULL;
}

static bool bind_running(struct kpi_bind *bind, const struct kpi_node *node, struct kpi_window *out)
{
    struct kpi_value first = {.type = KP_TYPE_I64, .i64 = 1};
    if (is(node, "row_window_session"))
        return bind_session(bind, node, out);
    if (is(node, "row_rank_min") || is(node, "row_rank_dense"))
        return bind_rank(bind, node, out);
    if (is(node, "row_number")) {
        if (node->args_count > 0 &&
            !kpi_bind_constant(bind, node->args[0], KP_TYPE_I64, "the first number", &first))
            return false;
        *out = (struct kpi_window){.kind = KPI_WINDOW_NUMBER, .by = first.i64, .type = KP_TYPE_I64};
        return bind_restart(bind, node, out);
    }
    struct kpi_expr *value = kpi_bind_expr(bind, node->args[0]);
    bool number = value != NULL && (value->type == KP_TYPE_I64 || value->type == KP_TYPE_F64 ||
                                    value->type == KP_TYPE_DUR);
    if (value != NULL && !number)
        kpi_fail(bind->ctx, KP_INVALID, value->place, "row_cumsum adds numbers, this is a %s",
                 kp_type_name(value->type));
    if (!number)
        return false;
    *out = (struct kpi_window){.kind = KPI_WINDOW_CUMSUM, .value = value, .type = value->type};
    return bind_restart(bind, node, out);
}

struct kpi_expr *kpi_bind_window(struct kpi_bind *bind, const struct kpi_node *node)
{
    struct kpi_windows *windows = bind->windows;
    if (windows == NULL) {
        kpi_fail(bind->ctx, KP_INVALID, node->place, "'%.*s' cannot stand here",
                 (int)node->name.len, node->name.ptr);
        kpi_hint(bind->ctx, "row functions go into extend, project or where");
        return NULL;
    }
    if (!count_fits(bind, node))
        return NULL;
    struct kpi_bind inside = *bind;
    if (windows->below == NULL)
        windows->below = kpi_windows_new(bind, windows->columns);
    inside.windows = windows->below;
    struct kpi_window window;
    bool shift = is(node, "prev") || is(node, "next");
    if (shift ? !bind_shift(&inside, node, &window) : !bind_running(&inside, node, &window))
        return NULL;
    if (windows->count == KPI_WINDOWS_MAX) {
        kpi_fail(bind->ctx, KP_LIMIT, node->place, "more than %d row functions", KPI_WINDOWS_MAX);
        return NULL;
    }
    struct kpi_expr *expr = kpi_new(bind->ctx, 1, sizeof(*expr));
    if (expr == NULL)
        return NULL;
    *expr = (struct kpi_expr){.kind = KPI_EXPR_COLUMN,
                              .type = window.type,
                              .unit = window.value != NULL && window.type == window.value->type
                                          ? window.value->unit
                                          : KP_UNIT_NONE,
                              .place = node->place,
                              .name = node->name,
                              .column = windows->columns + windows->count};
    windows->exprs[windows->count] = expr;
    windows->items[windows->count++] = window;
    return expr;
}

struct kpi_windows *kpi_windows_new(struct kpi_bind *bind, uint32_t columns)
{
    struct kpi_windows *windows = kpi_new(bind->ctx, 1, sizeof(*windows));
    if (windows != NULL)
        windows->columns = columns;
    return windows;
}

/* The innermost calls come first; the columns of those above them move up by their number. */
static struct kpi_op *stack(struct kpi_op *input, struct kpi_windows *windows)
{
    if (windows == NULL || windows->count == 0)
        return input;
    struct kpi_op *below = stack(input, windows->below);
    if (below == NULL)
        return NULL;
    uint32_t moved = below->schema.count - windows->columns;
    for (uint32_t i = 0; i < windows->count; i++)
        windows->exprs[i]->column += moved;
    windows->columns = below->schema.count;
    return kpi_op_window(below, windows);
}

struct kpi_op *kpi_window_below(struct kpi_bind *bind, struct kpi_op *input)
{
    return stack(input, bind->windows);
}
