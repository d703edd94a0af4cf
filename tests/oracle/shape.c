/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators that choose rows within groups or make other rows of them, as SQL says them: arg_max,
 * arg_min, partition, top-nested, mv-expand, make-series. They work on columns as they are.
 */
#include "oracle.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"

const char *const shape_types[SHAPE_KINDS] = {
    [SHAPE_ARG_MAX] = "LSTDB", [SHAPE_ARG_MIN] = "LSTDB", [SHAPE_PARTITION] = "LSTDB",
    [SHAPE_NESTED] = "LSTD",   [SHAPE_EXPAND] = "S",      [SHAPE_SERIES] = "L"};

static void add(struct columns *out, const char *name, char type)
{
    kp_assert(out->count < COLUMNS_MAX);
    snprintf(out->at[out->count].name, NAME_MAX, "%s", name);
    out->at[out->count++].type = type;
}

bool shape_columns(const struct stage *stage, const struct columns *in, struct columns *out)
{
    const struct column *key = column_named(in, stage->key);
    const struct column *left = column_named(in, stage->left);
    const struct column *right = column_named(in, stage->right);
    if (key == NULL || left == NULL || right == NULL || strchr("RY", key->type) != NULL ||
        strchr(shape_types[stage->shape], left->type) == NULL || right->type == 'Y')
        return false;
    bool rows = stage->shape == SHAPE_PARTITION || stage->shape == SHAPE_EXPAND;
    *out = rows ? *in : (struct columns){.count = 0};
    out->ordered = in->ordered && stage->shape == SHAPE_EXPAND;
    if (stage->shape == SHAPE_PARTITION)
        return in->ordered;
    if (stage->shape == SHAPE_EXPAND) {
        if (out->count == COLUMNS_MAX)
            return false;
        add(out, stage->names[0], 'S');
        return true;
    }
    add(out, stage->names[0], key->type);
    add(out, stage->names[1], stage->shape < SHAPE_PARTITION ? left->type : 'L');
    add(out, stage->names[2],
        stage->shape < SHAPE_PARTITION ? right->type
        : stage->shape == SHAPE_NESTED ? left->type
                                       : 'L');
    if (stage->shape == SHAPE_NESTED)
        add(out, stage->names[3], 'L');
    return in->ordered || stage->shape == SHAPE_SERIES;
}

#define FIRST 100 /* make-series: from, to, step; n widens the step */
#define LAST  130

static uint32_t step_of(const struct stage *stage)
{
    return 1 + stage->n % 9;
}

void shape_ours(const struct stage *stage, struct kp_buf *out)
{
    const char(*names)[NAME_MAX] = stage->names;
    switch (stage->shape) {
    case SHAPE_ARG_MAX:
    case SHAPE_ARG_MIN:
        kp_buf_printf(out, "summarize (%s, %s) = %s(%s, %s) by %s = %s", names[1], names[2],
                      stage->shape == SHAPE_ARG_MAX ? "arg_max" : "arg_min", stage->left,
                      stage->right, names[0], stage->key);
        break;
    case SHAPE_PARTITION:
        kp_buf_printf(out, "partition by %s (top %u by %s %s nulls last)", stage->key, stage->n % 5,
                      stage->left, stage->negated ? "desc" : "asc");
        break;
    case SHAPE_NESTED:
        kp_buf_printf(out,
                      "top-nested %u of %s = %s by %s = count(), "
                      "top-nested %u of %s = %s by %s = dcount(%s) %s",
                      stage->n % 7, names[0], stage->key, names[1], 1 + stage->n % 3, names[2],
                      stage->left, names[3], stage->right, stage->negated ? "desc" : "asc");
        break;
    case SHAPE_EXPAND:
        kp_buf_printf(out, "extend %s = split(%s, 'o') | mv-expand %s to typeof(string)", names[0],
                      stage->left, names[0]);
        break;
    default:
        kp_buf_printf(out,
                      "make-series %s = count() on %s = %s from %u to %u step %u by %s = %s "
                      "| mv-expand %s to typeof(long), %s to typeof(long)",
                      names[1], names[2], stage->left, FIRST, LAST, step_of(stage), names[0],
                      stage->key, names[1], names[2]);
    }
}

static void sql_arg(const struct stage *stage, uint32_t from, struct kp_buf *out)
{
    const char *order = stage->shape == SHAPE_ARG_MAX ? "DESC" : "ASC";
    kp_buf_printf(out, "SELECT \"%s\" AS \"%s\"", stage->key, stage->names[0]);
    for (uint32_t i = 0; i < 2; i++)
        kp_buf_printf(out, ", first(\"%s\" ORDER BY \"%s\" %s NULLS LAST, _o) AS \"%s\"",
                      i == 0 ? stage->left : stage->right, stage->left, order, stage->names[1 + i]);
    kp_buf_printf(out, ", min(_o) AS _o FROM s%u GROUP BY \"%s\"", from, stage->key);
}

/* The first values of the key, then for each of them the first of the other. */
static void sql_nested(const struct stage *stage, uint32_t from, struct kp_buf *out)
{
    kp_buf_printf(out,
                  "SELECT a.k AS \"%s\", a.n AS \"%s\", b.v AS \"%s\", b.c AS \"%s\", b._o FROM "
                  "(SELECT \"%s\" AS k, count(*) AS n FROM s%u GROUP BY 1 QUALIFY row_number() "
                  "OVER (ORDER BY count(*) DESC, min(_o)) <= %u) a JOIN "
                  "(SELECT \"%s\" AS k, \"%s\" AS v, count(DISTINCT \"%s\") AS c, min(_o) AS _o "
                  "FROM s%u GROUP BY 1, 2 QUALIFY row_number() OVER (PARTITION BY \"%s\" ORDER BY "
                  "count(DISTINCT \"%s\") %s, min(_o)) <= %u) b ON a.k IS NOT DISTINCT FROM b.k",
                  stage->names[0], stage->names[1], stage->names[2], stage->names[3], stage->key,
                  from, stage->n % 7, stage->key, stage->left, stage->right, from, stage->key,
                  stage->right, stage->negated ? "DESC" : "ASC", 1 + stage->n % 3);
}

/* Every step of every key that has a row in the range. */
static void sql_series(const struct stage *stage, uint32_t from, struct kp_buf *out)
{
    uint32_t step = step_of(stage);
    struct kp_buf range = {0};
    kp_buf_printf(&range, "FROM s%u WHERE \"%s\" >= %u AND \"%s\" < %u", from, stage->left, FIRST,
                  stage->left, LAST);
    kp_buf_printf(out,
                  "SELECT k.k AS \"%s\", coalesce(c.n, 0)::BIGINT AS \"%s\", k.g AS \"%s\", "
                  "row_number() OVER () AS _o FROM (SELECT k, g FROM "
                  "(SELECT DISTINCT \"%s\" AS k %s) CROSS JOIN range(%u, %u, %u) steps(g)) k "
                  "LEFT JOIN (SELECT \"%s\" AS k, %u + ((\"%s\" - %u) // %u) * %u AS g, "
                  "count(*) AS n %s GROUP BY 1, 2) c "
                  "ON c.k IS NOT DISTINCT FROM k.k AND c.g = k.g",
                  stage->names[0], stage->names[1], stage->names[2], stage->key,
                  kp_buf_cstr(&range), FIRST, LAST, step, stage->key, FIRST, stage->left, FIRST,
                  step, step, kp_buf_cstr(&range));
    kp_buf_deinit(&range);
}

void shape_sql(const struct stage *stage, uint32_t from, struct kp_buf *out)
{
    switch (stage->shape) {
    case SHAPE_ARG_MAX:
    case SHAPE_ARG_MIN:
        sql_arg(stage, from, out);
        break;
    case SHAPE_PARTITION:
        kp_buf_printf(out,
                      "SELECT * FROM s%u QUALIFY row_number() OVER (PARTITION BY \"%s\" ORDER BY "
                      "\"%s\" %s NULLS LAST, _o) <= %u",
                      from, stage->key, stage->left, stage->negated ? "DESC" : "ASC", stage->n % 5);
        break;
    case SHAPE_NESTED:
        sql_nested(stage, from, out);
        break;
    case SHAPE_EXPAND:
        kp_buf_printf(
            out,
            "SELECT * EXCLUDE (_o, _l, _i), row_number() OVER (ORDER BY _o, _i) AS _o FROM "
            "(SELECT * , unnest(_l) AS \"%s\", generate_subscripts(_l, 1) AS _i FROM "
            "(SELECT *, string_split(\"%s\", 'o') AS _l FROM s%u))",
            stage->names[0], stage->left, from);
        break;
    default:
        sql_series(stage, from, out);
    }
}
