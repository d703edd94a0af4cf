/* SPDX-License-Identifier: Apache-2.0
 *
 * mv-expand, parse, parse-where and parse-kv. Parsing needs no operator of its own: a pattern
 * becomes one regular expression, each of its columns a group, and the whole an extend (with a
 * filter before it for parse-where).
 */
#include <stdio.h>

#include "query/expand.h"
#include "query/plan.h"

static struct kpi_expr *text_value(struct kpi_bind *bind, struct kp_str text,
                                   struct kpi_place place)
{
    struct kpi_value value = {.type = KP_TYPE_STR, .str = kp_arena_str(bind->ctx->arena, text)};
    if (value.str.ptr == NULL)
        kpi_fail_memory(bind->ctx);
    return kpi_bind_value(bind, value, place);
}

static bool input_columns(struct kpi_bind *bind, struct kpi_outputs *outputs)
{
    struct kpi_place nowhere = {0};
    for (uint32_t i = 0; i < bind->schema->count; i++)
        if (!kpi_outputs_add(bind, outputs, bind->schema->fields[i].name,
                             kpi_bind_column(bind, i, nowhere)))
            return false;
    return true;
}

static struct kpi_expr *bind_text(struct kpi_bind *bind, const struct kpi_node *node)
{
    return kpi_bind_cast(bind, kpi_bind_expr(bind, node), KP_TYPE_STR);
}

/* A text as the type its column was given; string when it has none. */
static struct kpi_expr *typed(struct kpi_bind *bind, struct kpi_expr *text,
                              const struct kpi_item *item)
{
    enum kp_type type;
    if (text == NULL || item->type.ptr == NULL)
        return text;
    if (!kpi_type_named(bind, item->type, item->place, &type))
        return NULL;
    if (type == KP_TYPE_DYN)
        return kpi_bind_named(bind, "parse_json", item->place, &text, 1);
    return kpi_bind_cast(bind, text, type);
}

/* --- parse --- */

enum parse_kind { PARSE_SIMPLE, PARSE_REGEX, PARSE_RELAXED };

/* What kind= and flags= say. */
struct parse_mode {
    enum parse_kind kind;
    bool nocase, lazy; /* lazy: columns reach as little as they can, not as much */
};

/* flags=Ui: letters of the regular expression's own options. */
static bool parse_flags(const struct kpi_item *item, struct parse_mode *out)
{
    bool known = true;
    struct kp_str flags = item->expr->name;
    for (uint32_t i = 0; i < flags.len; i++) {
        out->nocase |= flags.ptr[i] == 'i';
        out->lazy |= flags.ptr[i] == 'U';
        known &= strchr("iUms", flags.ptr[i]) != NULL;
    }
    return known && flags.len > 0 && kp_str_equal(item->name, KP_STR("flags"));
}

static bool parse_mode(struct kpi_bind *bind, const struct kpi_stage *stage, struct parse_mode *out)
{
    static const char *const names[] = {"simple", "regex", "relaxed"};
    *out = (struct parse_mode){.kind = PARSE_SIMPLE};
    for (const struct kpi_item *item = stage->params.first; item != NULL; item = item->next) {
        bool known = false;
        for (uint32_t i = 0; i < KP_ARRAY_LEN(names); i++) {
            if (!kp_str_equal(item->expr->name, kp_str_from(names[i])))
                continue;
            out->kind = (enum parse_kind)i;
            known = kp_str_equal(item->name, KP_STR("kind"));
        }
        if (known || parse_flags(item, out))
            continue;
        kpi_fail(bind->ctx, KP_INVALID, item->place, "parse does not take this parameter");
        kpi_hint(bind->ctx, "kind=simple, kind=regex or kind=relaxed; flags=i");
        return false;
    }
    out->lazy |= out->kind != PARSE_REGEX;
    return true;
}

static void quote_regex(struct kp_str text, struct kp_buf *out)
{
    for (uint32_t i = 0; i < text.len; i++) {
        if (text.ptr[i] != '\0' && strchr("\\^$.|?*+()[]{}#-", text.ptr[i]) != NULL)
            kp_buf_char(out, '\\');
        kp_buf_char(out, text.ptr[i]);
    }
}

/* What a column of a type may look like; anything for those that are read by the conversion. */
static const char *type_pattern(enum kp_type type, bool lazy)
{
    return type == KP_TYPE_I64 ? "[-+]?[0-9]+"
           : type == KP_TYPE_F64 || type == KP_TYPE_DEC
               ? "[-+]?[0-9]+(?:\\.[0-9]+)?(?:[eE][-+]?[0-9]+)?"
           : type == KP_TYPE_BOOL ? "true|false|True|False|0|1"
           : lazy                 ? ".*?"
                                  : ".*";
}

static bool pattern_text(struct kpi_bind *bind, const struct kpi_stage *stage,
                         const struct parse_mode *mode, struct kp_buf *out)
{
    uint32_t column = 0;
    kp_buf_text(out, mode->nocase ? "(?i)" : "");
    kp_buf_text(out, "(?sn)\\A"); /* n: only the columns' groups, which have names, count */
    for (const struct kpi_item *part = stage->items.first; part != NULL; part = part->next) {
        enum kp_type type = KP_TYPE_STR;
        if (part->name.ptr != NULL) {
            if (part->type.ptr != NULL && !kpi_type_named(bind, part->type, part->place, &type))
                return false;
            kp_buf_printf(out, "(?<c%u>%s%s)", ++column, type_pattern(type, mode->lazy),
                          mode->kind == PARSE_RELAXED ? "|.*?" : "");
        } else if (part->expr->kind == KPI_NODE_STAR) {
            kp_buf_text(out, ".*?");
        } else if (mode->kind == PARSE_REGEX) {
            kp_buf_text(out, "(?:");
            kp_buf_str(out, part->expr->value.str);
            kp_buf_char(out, ')');
        } else {
            quote_regex(part->expr->value.str, out);
        }
    }
    kp_buf_text(out, "\\z");
    return !out->failed;
}

/* The regular expression of the whole; NULL with the error set. */
static struct kpi_expr *parse_pattern(struct kpi_bind *bind, const struct kpi_stage *stage,
                                      const struct parse_mode *mode)
{
    struct kp_buf regex = {0};
    struct kpi_expr *whole = NULL;
    if (pattern_text(bind, stage, mode, &regex)) {
        struct kp_str pattern = {kp_buf_cstr(&regex), (uint32_t)regex.size};
        whole = text_value(bind, pattern, stage->place);
    }
    kp_buf_deinit(&regex);
    return whole;
}

/* Columns that a text of the pattern can still fail to be: those are read by the conversion. Their
 * conditions in `out`, how many; UINT32_MAX with the error set. */
static uint32_t readable(struct kpi_bind *bind, const struct kpi_item *part, struct kpi_expr *found,
                         uint32_t count, struct kpi_expr **out)
{
    bool read = found != NULL && (found->type == KP_TYPE_TIME || found->type == KP_TYPE_DUR ||
                                  found->type == KP_TYPE_DEC);
    if (found == NULL)
        return UINT32_MAX;
    if (!read || count == KPI_ARGS_MAX)
        return count;
    out[count] = kpi_bind_named(bind, "isnotnull", part->place, &found, 1);
    return out[count] == NULL ? UINT32_MAX : count + 1;
}

static struct kpi_expr *all_of(struct kpi_bind *bind, struct kpi_place place,
                               struct kpi_expr **conditions, uint32_t count)
{
    return count == 1 ? conditions[0] : kpi_bind_named(bind, "and", place, conditions, count);
}

/* Nothing of a text that does not fit: each column null unless all can be read. */
static struct kpi_expr *null_unless(struct kpi_bind *bind, struct kpi_expr *condition,
                                    struct kpi_expr *value)
{
    struct kpi_value none = {
        .type = value->type, .null = kp_type_phys(value->type) != KP_PHYS_STR, .str = KP_STR("")};
    struct kpi_expr *args[3] = {condition, value, kpi_bind_value(bind, none, value->place)};
    return kpi_bind_named(bind, "iff", value->place, args, 3);
}

static struct kpi_op *bind_parse(struct kpi_bind *bind, struct kpi_op *input,
                                 const struct kpi_stage *stage)
{
    struct parse_mode mode;
    struct kpi_outputs outputs = {0};
    struct kpi_expr *found[KPI_COLUMNS_MAX], *conditions[KPI_ARGS_MAX], *fits = NULL;
    uint32_t columns = 0, count = 0;
    struct kpi_expr *text = bind_text(bind, stage->expr);
    struct kpi_expr *whole =
        text != NULL && parse_mode(bind, stage, &mode) ? parse_pattern(bind, stage, &mode) : NULL;
    if (whole == NULL || !input_columns(bind, &outputs))
        return NULL;
    for (const struct kpi_item *part = stage->items.first; part != NULL; part = part->next) {
        if (part->name.ptr == NULL || columns == KPI_COLUMNS_MAX)
            continue;
        struct kpi_value group = {.type = KP_TYPE_I64, .i64 = columns + 1};
        struct kpi_expr *args[3] = {whole, kpi_bind_value(bind, group, part->place), text};
        found[columns] = typed(bind, kpi_bind_named(bind, "extract", part->place, args, 3), part);
        if (mode.kind != PARSE_RELAXED)
            count = readable(bind, part, found[columns], count, conditions);
        if (found[columns++] == NULL || count == UINT32_MAX)
            return NULL;
    }
    if (count > 0 && (fits = all_of(bind, stage->place, conditions, count)) == NULL)
        return NULL;
    columns = 0;
    for (const struct kpi_item *part = stage->items.first; part != NULL; part = part->next) {
        if (part->name.ptr == NULL || columns == KPI_COLUMNS_MAX)
            continue;
        struct kpi_expr *value = found[columns++];
        if (fits != NULL && stage->kind == KPI_STAGE_PARSE)
            value = null_unless(bind, fits, value);
        if (!kpi_outputs_put(bind, &outputs, part->name, value))
            return NULL;
    }
    if (stage->kind == KPI_STAGE_PARSE_WHERE) {
        struct kpi_expr *args[2] = {text, whole};
        args[0] = kpi_bind_named(bind, "matches regex", stage->place, args, 2);
        args[1] = fits;
        struct kpi_expr *good =
            args[0] == NULL ? NULL : all_of(bind, stage->place, args, fits == NULL ? 1 : 2);
        input = good == NULL ? NULL : kpi_op_filter(input, good);
    }
    return input == NULL
               ? NULL
               : kpi_op_project(input, "parse", outputs.fields, outputs.exprs, outputs.count);
}

/* --- parse-kv --- */

enum { KV_PAIR, KV_VALUE, KV_QUOTE, KV_SETTINGS };

static bool kv_settings(struct kpi_bind *bind, const struct kpi_stage *stage, struct kpi_expr **out)
{
    static const struct {
        const char *name;
        struct kp_str otherwise;
    } settings[KV_SETTINGS] = {
        {"pair_delimiter", KP_STR(" ")}, {"kv_delimiter", KP_STR("=")}, {"quote", KP_STR("")}};
    for (uint32_t i = 0; i < KV_SETTINGS; i++)
        out[i] = text_value(bind, settings[i].otherwise, stage->place);
    for (const struct kpi_item *item = stage->params.first; item != NULL; item = item->next) {
        bool known = false;
        for (uint32_t i = 0; i < KV_SETTINGS; i++) {
            bool is = kp_str_equal(item->name, kp_str_from(settings[i].name)) &&
                      item->expr->kind == KPI_NODE_VALUE && item->expr->value.type == KP_TYPE_STR;
            if (is)
                out[i] = text_value(bind, item->expr->value.str, item->place);
            known |= is;
        }
        if (known)
            continue;
        kpi_fail(bind->ctx, KP_UNSUPPORTED, item->place, "parse-kv does not take '%.*s'",
                 (int)KP_MIN(item->name.len, 60u), item->name.ptr);
        kpi_hint(bind->ctx, "pair_delimiter='...', kv_delimiter='...', quote='...'");
        return false;
    }
    return bind->ctx->status == KP_OK;
}

static struct kpi_op *bind_parse_kv(struct kpi_bind *bind, struct kpi_op *input,
                                    const struct kpi_stage *stage)
{
    struct kpi_outputs outputs = {0};
    struct kpi_expr *args[2 + KV_SETTINGS] = {bind_text(bind, stage->expr)};
    if (args[0] == NULL || !kv_settings(bind, stage, args + 2) || !input_columns(bind, &outputs))
        return NULL;
    for (const struct kpi_item *item = stage->items.first; item != NULL; item = item->next) {
        struct kpi_item column = *item;
        column.type = item->expr->name;
        args[1] = text_value(bind, item->name, item->place);
        struct kpi_expr *found =
            kpi_bind_named(bind, "parse_kv_value", item->place, args, 2 + KV_SETTINGS);
        if (!kpi_outputs_put(bind, &outputs, item->name, typed(bind, found, &column)))
            return NULL;
    }
    return kpi_op_project(input, "parse-kv", outputs.fields, outputs.exprs, outputs.count);
}

/* --- mv-expand --- */

struct expanding {
    struct kpi_expand expand;
    struct kpi_outputs outputs; /* columns of mv-expand itself: elements are dynamic */
    struct kpi_expand_output *from;
    const struct kpi_item *typed[KPI_COLUMNS_MAX]; /* per column: what says its type */
};

/* The elements replace the column of the same name, or make a new one. */
static bool add_expansion(struct kpi_bind *bind, struct expanding *e, const struct kpi_item *item)
{
    struct kpi_expr *expr = kpi_bind_expr(bind, item->expr);
    if (expr == NULL)
        return false;
    if (e->expand.count == KPI_ARGS_MAX || e->outputs.count + 1 >= KPI_COLUMNS_MAX) {
        kpi_fail(bind->ctx, KP_LIMIT, item->place, "mv-expand of too many columns");
        return false;
    }
    if (expr->type != KP_TYPE_DYN && expr->type != KP_TYPE_STR && expr->type != KP_TYPE_NULL) {
        kpi_fail(bind->ctx, KP_INVALID, expr->place, "mv-expand needs a dynamic, this is a %s",
                 kp_type_name(expr->type));
        return false;
    }
    if (expr->type != KP_TYPE_DYN) {
        expr = kpi_bind_cast(bind, expr, KP_TYPE_STR);
        expr = expr == NULL ? NULL : kpi_bind_named(bind, "parse_json", item->place, &expr, 1);
    }
    struct kp_str name = item->name.ptr != NULL
                             ? item->name
                             : kpi_auto_name(bind, item->expr, "Column", e->expand.count + 1);
    if (!kpi_outputs_put(bind, &e->outputs, name, expr))
        return false;
    struct kp_schema so_far = {e->outputs.fields, e->outputs.count};
    int at = kp_schema_find(&so_far, name);
    if (at < 0)
        return false;
    e->from[at] = (struct kpi_expand_output){KPI_EXPAND_ITEM, e->expand.count};
    e->typed[at] = item;
    e->expand.items[e->expand.count++] = expr;
    return true;
}

static bool expand_params(struct kpi_bind *bind, struct expanding *e, const struct kpi_stage *stage)
{
    for (const struct kpi_item *item = stage->params.first; item != NULL; item = item->next) {
        if (!kp_str_equal(item->name, KP_STR("with_itemindex"))) { /* bagexpansion=, kind= */
            e->expand.bags_as_arrays = kp_str_equal(item->expr->name, KP_STR("array"));
            continue;
        }
        struct kpi_value zero = {.type = KP_TYPE_I64};
        e->from[e->outputs.count] = (struct kpi_expand_output){KPI_EXPAND_NUMBER, 0};
        if (!kpi_outputs_add(bind, &e->outputs, item->expr->name,
                             kpi_bind_value(bind, zero, item->place)))
            return false;
    }
    return true;
}

/* Elements as the types they were given: a projection above. */
static struct kpi_op *convert(struct kpi_bind *bind, struct kpi_op *op, const struct expanding *e)
{
    struct kpi_bind above = *bind;
    struct kpi_outputs outputs = {0};
    struct kpi_place nowhere = {0};
    bool any = false;
    above.schema = &op->schema;
    for (uint32_t c = 0; c < op->schema.count; c++) {
        struct kpi_expr *expr = kpi_bind_column(&above, c, nowhere);
        bool give = e->typed[c] != NULL && e->typed[c]->type.ptr != NULL;
        if (give && kp_str_equal(e->typed[c]->type, KP_STR("dynamic")))
            give = false;
        if (!kpi_outputs_add(&above, &outputs, op->schema.fields[c].name,
                             give ? typed(&above, expr, e->typed[c]) : expr))
            return NULL;
        any |= give;
    }
    return any ? kpi_op_project(op, "mv-expand", outputs.fields, outputs.exprs, outputs.count) : op;
}

static struct kpi_op *bind_expand(struct kpi_bind *bind, struct kpi_op *input,
                                  const struct kpi_stage *stage)
{
    struct expanding *e = kpi_new(bind->ctx, 1, sizeof(*e));
    if (e == NULL)
        return NULL;
    e->from = kpi_new(bind->ctx, KPI_COLUMNS_MAX, sizeof(*e->from));
    e->expand.items = kpi_new(bind->ctx, KPI_ARGS_MAX, sizeof(struct kpi_expr *));
    if (e->from == NULL || e->expand.items == NULL || !input_columns(bind, &e->outputs))
        return NULL;
    for (uint32_t c = 0; c < e->outputs.count; c++)
        e->from[c] = (struct kpi_expand_output){KPI_EXPAND_COLUMN, c};
    for (const struct kpi_item *item = stage->items.first; item != NULL; item = item->next)
        if (!add_expansion(bind, e, item))
            return NULL;
    if (e->outputs.count + 1 >= KPI_COLUMNS_MAX || !expand_params(bind, e, stage))
        return NULL;
    e->expand.outputs = e->from;
    struct kpi_op *op = kpi_op_expand(input, e->outputs.fields, e->outputs.count, &e->expand);
    return op == NULL ? NULL : convert(bind, op, e);
}

struct kpi_op *kpi_bind_shape(struct kpi_bind *bind, struct kpi_op *input,
                              const struct kpi_stage *stage)
{
    if (stage->kind == KPI_STAGE_MV_EXPAND)
        return bind_expand(bind, input, stage);
    if (stage->kind == KPI_STAGE_PARSE_KV)
        return bind_parse_kv(bind, input, stage);
    return bind_parse(bind, input, stage);
}
