/* SPDX-License-Identifier: Apache-2.0
 *
 * intersect, subtract, within, flatten and coverage as SQL says them: a row is the interval from
 * start (else ts - dur, else ts) to ts, its end excluded; intervals of one key that touch are one.
 */
#include "oracle.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"

const char *const interval_kinds[] = {"intersect", "subtract", "within 3us of", "flatten",
                                      "coverage"};
#define MARGIN "3000"

static bool has(const struct columns *in, const char *name, char type)
{
    const struct column *column = column_named(in, name);
    return column != NULL && column->type == type;
}

/* The columns that make an interval are there, of their types or not at all. */
static bool is_timed(const struct columns *in)
{
    return has(in, "ts", 'T') && (has(in, "start", 'T') || column_named(in, "start") == NULL) &&
           (has(in, "dur", 'D') || column_named(in, "dur") == NULL);
}

static void add(struct columns *out, const char *name, char type)
{
    kp_assert(out->count < COLUMNS_MAX);
    snprintf(out->at[out->count].name, NAME_MAX, "%s", name);
    out->at[out->count++].type = type;
}

bool interval_columns(const struct stage *stage, const struct columns *in, struct columns *out)
{
    struct columns right;
    const struct column *key = column_named(in, stage->left), *other;
    if (key == NULL || !is_timed(in))
        return false;
    *out = *in;
    if (stage->other != NULL) {
        if (!pipe_columns(stage->other, stage->other->count, &right) || !is_timed(&right))
            return false;
        other = column_named(&right, stage->left);
        return other != NULL && other->type == key->type;
    }
    memset(out, 0, sizeof(*out));
    add(out, stage->left, key->type);
    if (stage->n == FLATTEN) {
        add(out, "start", 'T');
        add(out, "ts", 'T');
    }
    add(out, stage->n == FLATTEN ? "dur" : "covered", 'D');
    return strcmp(stage->left, "ts") != 0 && strcmp(stage->left, "start") != 0 &&
           strcmp(stage->left, "dur") != 0;
}

/* SELECT _o, the key, begin f and end t of the rows that have an interval. */
static void sql_times(const struct columns *in, const char *key, uint32_t from, struct kp_buf *out)
{
    const char *begin = has(in, "start", 'T') ? "\"start\""
                        : has(in, "dur", 'D') ? "kp_sub(\"ts\", \"dur\")"
                                              : "\"ts\"";
    kp_buf_printf(out,
                  "(SELECT * FROM (SELECT *, \"%s\" AS k, %s AS f, \"ts\" AS t FROM s%u) "
                  "WHERE f <= t)",
                  key, begin, from);
}

/* The same for disjoint intervals: those that touch are an island. */
static void sql_islands(const struct columns *in, const char *key, uint32_t from, bool instants,
                        struct kp_buf *out)
{
    kp_buf_text(out,
                "(SELECT k, min(f) AS f, max(t) AS t, min(_o) AS _o FROM (SELECT *, "
                "sum(CASE WHEN p >= f THEN 0 ELSE 1 END) OVER (PARTITION BY k ORDER BY f, t, _o "
                "ROWS UNBOUNDED PRECEDING) AS island FROM (SELECT k, f, t, _o, max(t) OVER "
                "(PARTITION BY k ORDER BY f, t, _o ROWS BETWEEN UNBOUNDED PRECEDING AND "
                "1 PRECEDING) AS p FROM ");
    sql_times(in, key, from, out);
    kp_buf_printf(out, "%s)) GROUP BY k, island)", instants ? "" : " WHERE f < t");
}

/* The left columns, those of time taken from the piece f .. t. */
static void sql_piece(const struct columns *in, struct kp_buf *out)
{
    kp_buf_text(out, "SELECT ");
    for (uint32_t i = 0; i < in->count; i++) {
        const char *name = in->at[i].name;
        const char *value = strcmp(name, "start") == 0 ? "f AS "
                            : strcmp(name, "ts") == 0  ? "t AS "
                            : strcmp(name, "dur") == 0 ? "t - f AS "
                                                       : "";
        kp_buf_printf(out, "%s\"%s\", ", value, name);
    }
    kp_buf_text(out, "row_number() OVER (ORDER BY _o, f) AS _o FROM (");
}

static void sql_intersect(const struct stage *stage, const struct columns *in,
                          const struct columns *right, uint32_t from, uint32_t other,
                          struct kp_buf *out)
{
    sql_piece(in, out);
    kp_buf_text(out,
                "SELECT l.* EXCLUDE (f, t), greatest(l.f, r.f) AS f, least(l.t, r.t) AS t FROM ");
    sql_times(in, stage->left, from, out);
    kp_buf_text(out, " l JOIN ");
    sql_islands(right, stage->left, other, false, out);
    kp_buf_text(out,
                " r ON l.k = r.k AND r.t > l.f AND (r.f < l.t OR (l.f = l.t AND r.f <= l.f)))");
}

/* A piece outside begins where the row does or where an island ends in it, and reaches to the next
 * island or the row's end. */
static void sql_subtract(const struct stage *stage, const struct columns *in,
                         const struct columns *right, uint32_t from, uint32_t other,
                         struct kp_buf *out)
{
    sql_piece(in, out);
    kp_buf_text(out,
                "SELECT b.* EXCLUDE (f, t, g), g AS f, least(t, coalesce((SELECT min(r.f) FROM ");
    sql_islands(right, stage->left, other, false, out);
    kp_buf_text(out, " r WHERE r.k = b.k AND r.f >= b.g), t)) AS t FROM (SELECT *, f AS g FROM ");
    sql_times(in, stage->left, from, out);
    kp_buf_text(out, " UNION ALL SELECT l.*, r.t AS g FROM ");
    sql_times(in, stage->left, from, out);
    kp_buf_text(out, " l JOIN ");
    sql_islands(right, stage->left, other, false, out);
    kp_buf_text(out,
                " r ON l.k = r.k AND r.t > l.f AND r.t < l.t) b WHERE NOT EXISTS (SELECT 1 FROM ");
    sql_islands(right, stage->left, other, false, out);
    kp_buf_text(out, " r WHERE r.k = b.k AND r.f <= b.g AND r.t > b.g))");
}

static void sql_within(const struct stage *stage, const struct columns *in,
                       const struct columns *right, uint32_t from, uint32_t other,
                       struct kp_buf *out)
{
    kp_buf_text(out, "SELECT * EXCLUDE (k, f, t) FROM ");
    sql_times(in, stage->left, from, out);
    kp_buf_text(out, " l WHERE EXISTS (SELECT 1 FROM ");
    sql_times(right, stage->left, other, out);
    kp_buf_text(out, " r WHERE r.k = l.k AND r.f - " MARGIN " <= l.t AND r.t + " MARGIN " >= l.f)");
}

void interval_sql(const struct stage *stage, const struct columns *in, uint32_t from,
                  uint32_t other, struct kp_buf *out)
{
    struct columns right = {0};
    if (stage->other != NULL)
        kp_assert(pipe_columns(stage->other, stage->other->count, &right));
    switch (stage->n) {
    case INTERSECT:
        sql_intersect(stage, in, &right, from, other, out);
        break;
    case SUBTRACT:
        sql_subtract(stage, in, &right, from, other, out);
        break;
    case WITHIN:
        sql_within(stage, in, &right, from, other, out);
        break;
    case FLATTEN:
        kp_buf_printf(
            out, "SELECT k AS \"%s\", f AS \"start\", t AS \"ts\", t - f AS \"dur\", 1 AS _o FROM ",
            stage->left);
        sql_islands(in, stage->left, from, true, out);
        break;
    default:
        kp_buf_printf(out, "SELECT k AS \"%s\", sum(t - f)::BIGINT AS \"covered\", 1 AS _o FROM ",
                      stage->left);
        sql_islands(in, stage->left, from, true, out);
        kp_buf_text(out, " GROUP BY k");
    }
}
