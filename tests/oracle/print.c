/* SPDX-License-Identifier: Apache-2.0
 *
 * A pipe as text in both languages. In SQL each stage is a common table expression with the
 * columns so far and _o. What SQL says otherwise is written out here: strings are never null, a
 * join's rows come in the order of its left side, groups keep no order.
 */
#include "oracle.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"

const char *const oracle_macros[] = {
#define MACRO(sql) "CREATE MACRO " sql,
#include "forms.def"
};
const uint32_t oracle_macros_count = KP_ARRAY_LEN(oracle_macros);

const char *const join_kinds[] = {"inner",       "leftouter", "rightouter", "fullouter",
                                  "leftsemi",    "leftanti",  "rightsemi",  "rightanti",
                                  "innerunique", "inner",     "leftouter"};
enum {
    INNER,
    LEFTOUTER,
    RIGHTOUTER,
    FULLOUTER,
    LEFTSEMI,
    LEFTANTI,
    RIGHTSEMI,
    RIGHTANTI,
    UNIQUE,
    LOOKUP_INNER, /* lookup: the key of the right side is left out */
    LOOKUP,
};

/* --- columns --- */

const struct column *column_named(const struct columns *in, const char *name)
{
    for (uint32_t i = 0; i < in->count; i++)
        if (strcmp(in->at[i].name, name) == 0)
            return &in->at[i];
    return NULL;
}

static bool node_fits(const struct node *node, const struct columns *in)
{
    if (node->constant != NULL)
        return true;
    if (node->form == NULL) {
        const struct column *column = column_named(in, node->column);
        return column != NULL && column->type == node->type;
    }
    for (uint32_t i = 0; node->form->args[i] != '\0'; i++)
        if (!node_fits(node->args[i], in))
            return false;
    return true;
}

static bool add_column(struct columns *out, const char *name, char type)
{
    if (out->count == COLUMNS_MAX || column_named(out, name) != NULL)
        return false;
    snprintf(out->at[out->count].name, NAME_MAX, "%s", name);
    out->at[out->count++].type = type;
    return true;
}

static bool add_items(const struct item *items, uint32_t count, const struct columns *in,
                      struct columns *out)
{
    for (uint32_t i = 0; i < count; i++)
        if (!node_fits(items[i].node, in) || !add_column(out, items[i].name, items[i].node->type))
            return false;
    return true;
}

static bool items_fit(const struct stage *stage, const struct columns *in)
{
    for (uint32_t i = 0; i < stage->items_count; i++)
        if (!node_fits(stage->items[i].node, in))
            return false;
    return true;
}

/* Sorted straight from a stream, descending times are the reverse of the total order: equal times
 * too. Any other sort keeps the order of what is equal. */
static bool reverses_ties(const struct stage *stage)
{
    for (uint32_t i = 0; i < stage->items_count; i++)
        if (stage->items[i].desc && strcmp(stage->items[i].node->column, "ts") == 0)
            return stage->kind == STAGE_SORT || stage->kind == STAGE_TOP;
    return false;
}

static bool after_extend(const struct stage *stage, const struct columns *in, struct columns *out)
{
    *out = *in;
    for (uint32_t i = 0; i < stage->items_count; i++) {
        const struct item *item = &stage->items[i];
        struct column *old = (struct column *)(uintptr_t)column_named(out, item->name);
        if (!node_fits(item->node, in))
            return false;
        if (old != NULL)
            old->type = item->node->type;
        else if (!add_column(out, item->name, item->node->type))
            return false;
    }
    return true;
}

static bool after_join(const struct stage *stage, const struct columns *in, struct columns *out)
{
    struct columns right;
    const struct column *a = column_named(in, stage->left), *b;
    if (!pipe_columns(stage->other, stage->other->count, &right))
        return false;
    b = column_named(&right, stage->right);
    if (a == NULL || b == NULL || a->type != b->type)
        return false;
    bool left_rows = stage->n != RIGHTSEMI && stage->n != RIGHTANTI;
    bool right_rows = stage->n != LEFTSEMI && stage->n != LEFTANTI;
    *out = *in;
    if (stage->kind == STAGE_WHERE_IN)
        return true;
    if (!left_rows)
        out->count = 0;
    for (uint32_t i = 0; right_rows && i < right.count; i++)
        if (stage->n >= LOOKUP_INNER && strcmp(right.at[i].name, stage->right) == 0)
            continue;
        else if (!add_column(out, right.at[i].name, right.at[i].type))
            return false;
    out->ordered = (in->ordered || !left_rows) && (right.ordered || !right_rows);
    return stage->n != UNIQUE || in->ordered;
}

static bool after_union(const struct stage *stage, const struct columns *in, struct columns *out)
{
    struct columns right;
    if (!pipe_columns(stage->other, stage->other->count, &right))
        return false;
    for (uint32_t i = 0; i < right.count; i++) {
        const struct column *column = column_named(in, right.at[i].name);
        if (column == NULL || column->type != right.at[i].type)
            return false;
    }
    *out = *in;
    out->ordered = false;
    return true;
}

/* Some aggregates say the rows in their order. */
static bool looks_at_order(const struct stage *stage)
{
    for (uint32_t i = 0; i < stage->items_count; i++)
        if (strstr(stage->items[i].node->form->sql, "ORDER BY _o") != NULL)
            return true;
    return false;
}

static bool after(const struct stage *stage, const struct columns *in, struct columns *out)
{
    out->count = 0;
    out->ordered = in->ordered;
    switch (stage->kind) {
    case STAGE_PROJECT:
        return add_items(stage->items, stage->items_count, in, out) && out->count > 0;
    case STAGE_SUMMARIZE:
        out->ordered = stage->keys_count == 0;
        return (in->ordered || !looks_at_order(stage)) &&
               add_items(stage->keys, stage->keys_count, in, out) &&
               add_items(stage->items, stage->items_count, in, out) && out->count > 0;
    case STAGE_DISTINCT:
        out->ordered = false;
        return add_items(stage->items, stage->items_count, in, out) && out->count > 0;
    case STAGE_COUNT:
        out->ordered = true;
        return add_column(out, "Count", 'L');
    case STAGE_EXTEND:
        return after_extend(stage, in, out);
    case STAGE_SERIALIZE:
        return in->ordered && after_extend(stage, in, out);
    case STAGE_WHERE_IN:
    case STAGE_JOIN:
        return after_join(stage, in, out);
    case STAGE_UNION:
        return after_union(stage, in, out);
    case STAGE_INTERVAL:
        return interval_columns(stage, in, out);
    case STAGE_SHAPE:
        return shape_columns(stage, in, out);
    default:
        *out = *in;
        out->ordered = stage->kind == STAGE_SORT_ALL || (in->ordered && !reverses_ties(stage));
        return items_fit(stage, in) && (stage->kind != STAGE_TOP || out->ordered) &&
               (in->ordered || (stage->kind != STAGE_TOP && stage->kind != STAGE_TAKE));
    }
}

bool pipe_columns(const struct pipe *pipe, uint32_t count, struct columns *out)
{
    struct columns columns = pipe->table->columns;
    for (uint32_t i = 0; i < count; i++) {
        struct columns next;
        if (!after(pipe->stages[i], &columns, &next))
            return false;
        columns = next;
    }
    *out = columns;
    return true;
}

/* --- expressions --- */

static void print_node(const struct node *node, bool sql, struct kp_buf *out)
{
    if (node->constant != NULL) {
        kp_buf_text(out, sql ? node->constant->sql : node->constant->ours);
        return;
    }
    if (node->form == NULL) {
        kp_buf_printf(out, sql ? "\"%s\"" : "%s", node->column);
        return;
    }
    for (const char *at = sql ? node->form->sql : node->form->ours; *at != '\0'; at++) {
        if (at[0] == '$')
            print_node(node->args[*++at - '1'], sql, out);
        else
            kp_buf_char(out, *at);
    }
}

void print_condition(const struct node *condition, struct kp_buf *out)
{
    print_node(condition, false, out);
}

static void print_items(const struct item *items, uint32_t count, struct kp_buf *out)
{
    for (uint32_t i = 0; i < count; i++) {
        kp_buf_printf(out, "%s%s = ", i == 0 ? "" : ", ", items[i].name);
        print_node(items[i].node, false, out);
    }
}

/* --- our language --- */

static void print_pipe(const struct pipe *pipe, struct kp_buf *out);

static void print_sort_keys(const struct stage *stage, struct kp_buf *out)
{
    for (uint32_t i = 0; i < stage->items_count; i++) {
        kp_buf_text(out, i == 0 ? "" : ", ");
        print_node(stage->items[i].node, false, out);
        kp_buf_printf(out, " %s nulls %s", stage->items[i].desc ? "desc" : "asc",
                      stage->items[i].nulls_first ? "first" : "last");
    }
}

static void print_names(const struct columns *columns, const char *end, struct kp_buf *out)
{
    for (uint32_t i = 0; i < columns->count; i++)
        kp_buf_printf(out, "%s%s%s", i == 0 ? "" : ", ", columns->at[i].name, end);
}

static void print_other(const struct stage *stage, struct kp_buf *out)
{
    switch (stage->kind) {
    case STAGE_WHERE_IN:
        kp_buf_printf(out, "where %s %s (", stage->left, stage->negated ? "!in" : "in");
        print_pipe(stage->other, out);
        kp_buf_printf(out, " | project %s)", stage->right);
        break;
    case STAGE_JOIN:
        kp_buf_printf(out, "%s kind=%s (", stage->n >= LOOKUP_INNER ? "lookup" : "join",
                      join_kinds[stage->n]);
        print_pipe(stage->other, out);
        kp_buf_printf(out, ") on $left.%s == $right.%s", stage->left, stage->right);
        break;
    case STAGE_INTERVAL:
        kp_buf_printf(out, "%s ", interval_kinds[stage->n]);
        if (stage->other == NULL) {
            kp_buf_printf(out, "by %s", stage->left);
            break;
        }
        kp_buf_char(out, '(');
        print_pipe(stage->other, out);
        kp_buf_printf(out, ") on %s", stage->left);
        break;
    default:
        kp_buf_text(out, "union (");
        print_pipe(stage->other, out);
        kp_buf_char(out, ')');
    }
}

static void print_stage(const struct stage *stage, const struct columns *in, struct kp_buf *out)
{
    static const char *const words[STAGE_KINDS] = {
        [STAGE_WHERE] = "where ",       [STAGE_EXTEND] = "extend ",
        [STAGE_PROJECT] = "project ",   [STAGE_SUMMARIZE] = "summarize ",
        [STAGE_DISTINCT] = "distinct ", [STAGE_SORT] = "sort by ",
        [STAGE_SORT_ALL] = "sort by ",  [STAGE_SERIALIZE] = "extend ",
        [STAGE_COUNT] = "count"};
    kp_buf_text(out, words[stage->kind] == NULL ? "" : words[stage->kind]);
    switch (stage->kind) {
    case STAGE_WHERE:
        print_node(stage->items[0].node, false, out);
        break;
    case STAGE_DISTINCT:
        for (uint32_t i = 0; i < stage->items_count; i++)
            kp_buf_printf(out, "%s%s", i == 0 ? "" : ", ", stage->items[i].name);
        break;
    case STAGE_SORT_ALL:
        print_names(in, " asc", out);
        break;
    case STAGE_SORT:
        print_sort_keys(stage, out);
        break;
    case STAGE_TOP:
        kp_buf_printf(out, "top %u by ", stage->n);
        print_sort_keys(stage, out);
        break;
    case STAGE_TAKE:
        kp_buf_printf(out, "take %u", stage->n);
        break;
    case STAGE_COUNT:
        break;
    case STAGE_WHERE_IN:
    case STAGE_JOIN:
    case STAGE_UNION:
    case STAGE_INTERVAL:
        print_other(stage, out);
        break;
    case STAGE_SHAPE:
        shape_ours(stage, out);
        break;
    default:
        print_items(stage->items, stage->items_count, out);
        if (stage->keys_count > 0)
            kp_buf_text(out, " by ");
        print_items(stage->keys, stage->keys_count, out);
    }
}

/* A stream has more columns than the oracle knows; where those could be seen they are left out. */
static bool shows_columns(const struct pipe *pipe)
{
    bool shows = pipe->sub;
    for (uint32_t i = 0; i < pipe->count; i++)
        shows |= pipe->stages[i]->kind >= STAGE_JOIN;
    return shows;
}

static void print_pipe(const struct pipe *pipe, struct kp_buf *out)
{
    struct columns in;
    kp_buf_text(out, pipe->table->ours);
    if (shows_columns(pipe)) {
        kp_buf_text(out, " | project ");
        print_names(&pipe->table->columns, "", out);
    }
    for (uint32_t i = 0; i < pipe->count; i++) {
        kp_assert(pipe_columns(pipe, i, &in));
        kp_buf_text(out, " | ");
        print_stage(pipe->stages[i], &in, out);
    }
}

static bool uses_lets(const struct pipe *pipe)
{
    bool uses = strcmp(pipe->table->ours, "nu") == 0;
    for (uint32_t i = 0; i < pipe->count; i++)
        uses |= pipe->stages[i]->other != NULL && uses_lets(pipe->stages[i]->other);
    return uses;
}

void print_ours(const struct universe *universe, const struct pipe *pipe, struct kp_buf *out)
{
    struct columns columns;
    kp_assert(pipe_columns(pipe, pipe->count, &columns));
    if (uses_lets(pipe))
        kp_buf_add(out, universe->lets.data, universe->lets.size);
    print_pipe(pipe, out);
    kp_buf_text(out, " | project ");
    print_names(&columns, "", out);
}

/* --- SQL --- */

static const char *sql_type(char type)
{
    switch (type) {
    case 'R':
        return "DOUBLE";
    case 'B':
        return "BOOLEAN";
    case 'S':
    case 'Y':
        return "VARCHAR";
    default:
        return "BIGINT";
    }
}

static void sql_node(const struct node *node, struct kp_buf *out)
{
    kp_buf_text(out, "(");
    print_node(node, true, out);
    kp_buf_printf(out, ")::%s", sql_type(node->type));
}

static void sql_items(const struct item *items, uint32_t count, struct kp_buf *out)
{
    for (uint32_t i = 0; i < count; i++) {
        sql_node(items[i].node, out);
        kp_buf_printf(out, " AS \"%s\", ", items[i].name);
    }
}

static const struct item *item_named(const struct stage *stage, const char *name)
{
    for (uint32_t i = 0; i < stage->items_count; i++)
        if (strcmp(stage->items[i].name, name) == 0)
            return &stage->items[i];
    return NULL;
}

static void sql_extend(const struct stage *stage, const struct columns *in, uint32_t from,
                       struct kp_buf *out)
{
    struct columns all;
    kp_assert(after_extend(stage, in, &all));
    kp_buf_text(out, "SELECT ");
    for (uint32_t i = 0; i < all.count; i++) {
        const struct item *item = item_named(stage, all.at[i].name);
        if (item != NULL)
            sql_items(item, 1, out);
        else
            kp_buf_printf(out, "\"%s\", ", all.at[i].name);
    }
    kp_buf_printf(out, "_o FROM s%u", from);
    if (stage->kind == STAGE_SERIALIZE)
        kp_buf_text(out, " WINDOW w AS (ORDER BY _o)");
}

static void sql_groups(const struct stage *stage, const struct item *keys, uint32_t count,
                       uint32_t from, struct kp_buf *out)
{
    kp_buf_text(out, "SELECT ");
    sql_items(keys, count, out);
    if (stage->kind == STAGE_SUMMARIZE)
        sql_items(stage->items, stage->items_count, out);
    kp_buf_printf(out, "coalesce(min(_o), 1) AS _o FROM s%u", from);
    for (uint32_t i = 0; i < count; i++)
        kp_buf_printf(out, "%s%u", i == 0 ? " GROUP BY " : ", ", i + 1);
}

static void sql_sort(const struct stage *stage, const struct columns *in, uint32_t from,
                     struct kp_buf *out)
{
    kp_buf_text(out, "SELECT * EXCLUDE (_o), row_number() OVER (ORDER BY ");
    for (uint32_t i = 0; stage->kind != STAGE_SORT_ALL && i < stage->items_count; i++) {
        sql_node(stage->items[i].node, out);
        kp_buf_printf(out, " %s NULLS %s, ", stage->items[i].desc ? "DESC" : "ASC",
                      stage->items[i].nulls_first ? "FIRST" : "LAST");
    }
    for (uint32_t i = 0; stage->kind == STAGE_SORT_ALL && i < in->count; i++)
        kp_buf_printf(out, "\"%s\" ASC NULLS FIRST, ", in->at[i].name);
    kp_buf_printf(out, "_o) AS _o FROM s%u", from);
    if (stage->kind == STAGE_TOP)
        kp_buf_printf(out, " ORDER BY _o LIMIT %u", stage->n);
}

static void sql_column(const struct column *column, char side, struct kp_buf *out)
{
    if (column->type == 'S' || column->type == 'Y')
        kp_buf_printf(out, "coalesce(%c.\"%s\", '') AS \"%s\", ", side, column->name, column->name);
    else
        kp_buf_printf(out, "%c.\"%s\", ", side, column->name);
}

static void sql_join(const struct stage *stage, const struct columns *in, uint32_t from,
                     uint32_t other, struct kp_buf *out)
{
    static const char *const words[] = {"JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"};
    struct columns right;
    kp_assert(pipe_columns(stage->other, stage->other->count, &right));
    if (stage->n >= LEFTSEMI && stage->n <= RIGHTANTI) {
        bool left = stage->n == LEFTSEMI || stage->n == LEFTANTI;
        bool anti = stage->n == LEFTANTI || stage->n == RIGHTANTI;
        kp_buf_printf(out,
                      "SELECT * FROM s%u a WHERE %s EXISTS (SELECT 1 FROM s%u b "
                      "WHERE a.\"%s\" = b.\"%s\")",
                      left ? from : other, anti ? "NOT" : "", left ? other : from,
                      left ? stage->left : stage->right, left ? stage->right : stage->left);
        return;
    }
    kp_buf_text(out, "SELECT ");
    for (uint32_t i = 0; i < in->count; i++)
        sql_column(&in->at[i], 'a', out);
    for (uint32_t i = 0; i < right.count; i++)
        if (stage->n < LOOKUP_INNER || strcmp(right.at[i].name, stage->right) != 0)
            sql_column(&right.at[i], 'b', out);
    kp_buf_text(out, "row_number() OVER (ORDER BY a._o NULLS LAST, b._o NULLS LAST) AS _o FROM ");
    if (stage->n == UNIQUE)
        kp_buf_printf(out,
                      "(SELECT * FROM s%u QUALIFY row_number() OVER "
                      "(PARTITION BY \"%s\" ORDER BY _o) = 1) a JOIN",
                      from, stage->left);
    else
        kp_buf_printf(out, "s%u a %s", from,
                      words[stage->n >= LOOKUP_INNER ? stage->n - LOOKUP_INNER : stage->n]);
    kp_buf_printf(out, " s%u b ON a.\"%s\" = b.\"%s\"", other, stage->left, stage->right);
}

static void sql_union(const struct stage *stage, const struct columns *in, uint32_t from,
                      uint32_t other, struct kp_buf *out)
{
    struct columns right;
    kp_assert(pipe_columns(stage->other, stage->other->count, &right));
    kp_buf_printf(out, "SELECT * FROM s%u UNION ALL SELECT ", from);
    for (uint32_t i = 0; i < in->count; i++) {
        if (column_named(&right, in->at[i].name) != NULL)
            kp_buf_printf(out, "\"%s\", ", in->at[i].name);
        else
            kp_buf_printf(out, "%s, ", strchr("SY", in->at[i].type) != NULL ? "''" : "NULL");
    }
    kp_buf_printf(out, "_o FROM s%u", other);
}

static void sql_stage(const struct stage *stage, const struct columns *in, uint32_t from,
                      uint32_t other, struct kp_buf *out)
{
    switch (stage->kind) {
    case STAGE_WHERE:
        kp_buf_printf(out, "SELECT * FROM s%u WHERE ", from);
        sql_node(stage->items[0].node, out);
        break;
    case STAGE_WHERE_IN:
        kp_buf_printf(out,
                      "SELECT * FROM s%u WHERE %s coalesce(\"%s\" IN (SELECT \"%s\" FROM s%u "
                      "WHERE \"%s\" IS NOT NULL), false)",
                      from, stage->negated ? "NOT" : "", stage->left, stage->right, other,
                      stage->right);
        break;
    case STAGE_EXTEND:
    case STAGE_SERIALIZE:
        sql_extend(stage, in, from, out);
        break;
    case STAGE_PROJECT:
        kp_buf_text(out, "SELECT ");
        sql_items(stage->items, stage->items_count, out);
        kp_buf_printf(out, "_o FROM s%u", from);
        break;
    case STAGE_SUMMARIZE:
        sql_groups(stage, stage->keys, stage->keys_count, from, out);
        break;
    case STAGE_DISTINCT:
        sql_groups(stage, stage->items, stage->items_count, from, out);
        break;
    case STAGE_TAKE:
        kp_buf_printf(out, "SELECT * FROM s%u ORDER BY _o LIMIT %u", from, stage->n);
        break;
    case STAGE_COUNT:
        kp_buf_printf(out, "SELECT count(*) AS \"Count\", 1::BIGINT AS _o FROM s%u", from);
        break;
    case STAGE_JOIN:
        sql_join(stage, in, from, other, out);
        break;
    case STAGE_UNION:
        sql_union(stage, in, from, other, out);
        break;
    case STAGE_INTERVAL:
        interval_sql(stage, in, from, other, out);
        break;
    case STAGE_SHAPE:
        shape_sql(stage, from, out);
        break;
    default:
        sql_sort(stage, in, from, out);
    }
}

/* Writes the pipe's table expressions; returns the number of the last. */
static uint32_t sql_pipe(const struct pipe *pipe, uint32_t *numbers, struct kp_buf *out)
{
    uint32_t from = (*numbers)++, other = 0;
    kp_buf_printf(out, "%ss%u AS (SELECT * FROM %s)", from == 0 ? "WITH " : ", ", from,
                  pipe->table->name);
    for (uint32_t i = 0; i < pipe->count; i++) {
        struct columns in;
        kp_assert(pipe_columns(pipe, i, &in));
        if (pipe->stages[i]->other != NULL)
            other = sql_pipe(pipe->stages[i]->other, numbers, out);
        kp_buf_printf(out, ", s%u AS (", *numbers);
        sql_stage(pipe->stages[i], &in, from, other, out);
        kp_buf_char(out, ')');
        from = (*numbers)++;
    }
    return from;
}

void print_sql(const struct pipe *pipe, struct kp_buf *out)
{
    uint32_t numbers = 0;
    uint32_t last = sql_pipe(pipe, &numbers, out);
    kp_buf_printf(out, " SELECT * EXCLUDE (_o) FROM s%u ORDER BY _o", last);
}
