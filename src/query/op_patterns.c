/* SPDX-License-Identifier: Apache-2.0
 *
 * evaluate basket, autocluster, diffpatterns: the rows are kept, each frequent value becomes the
 * set of its rows, patterns.c finds what goes together, and what is told of it is chosen here:
 * basket tells everything, autocluster what covers most rows with most values, again and again over
 * the rows not yet covered, diffpatterns what the two sides differ in most.
 */
#include <math.h>

#include "query/groups.h"
#include "query/patterns.h"
#include "query/sorting.h"

#define CLUSTERS_MAX 20
#define ROUNDING     1e-6 /* 0.07 of 100 rows are 7 */

struct patterns_op {
    struct kpi_op base;
    struct kpi_op_class class; /* a copy that carries the word for explain */
    struct kpi_patterns patterns;
    const struct kp_vec **vecs;
    struct kpi_rowset rows; /* columns of patterns, then the side */
    struct kpi_mine mine;
    uint64_t total[KPI_SIDES];
    struct kpi_pattern **told;
    uint32_t told_count;
    bool done;
    uint32_t given;
    struct kpi_rowset answer;
    struct kp_batch out;
};

static kp_status patterns_open(struct kpi_op *base)
{
    struct patterns_op *op = (struct patterns_op *)base;
    struct kpi_ctx *ctx = &base->run->ctx;
    uint32_t columns = op->patterns.columns_count;
    enum kp_type *types = kpi_new(ctx, columns + 1, sizeof(*types));
    enum kp_type *answer = kpi_new(ctx, base->schema.count, sizeof(*answer));
    op->vecs = kpi_new(ctx, columns + 1, sizeof(*op->vecs));
    if (ctx->status != KP_OK ||
        (op->patterns.split != NULL && !kpi_expr_prepare(ctx, op->patterns.split, KP_VECTOR_ROWS)))
        return ctx->status;
    for (uint32_t c = 0; c < columns; c++)
        types[c] = base->input->schema.fields[op->patterns.columns[c]].type;
    types[columns] = KP_TYPE_I64;
    for (uint32_t c = 0; c < base->schema.count; c++)
        answer[c] = base->schema.fields[c].type;
    kpi_rowset_init(&op->rows, ctx, types, NULL, columns + (op->patterns.split != NULL));
    kpi_rowset_init(&op->answer, ctx, answer, NULL, base->schema.count);
    return ctx->status;
}

static kp_status keep_rows(struct patterns_op *op)
{
    struct kpi_op *base = &op->base;
    const struct kp_batch *batch;
    uint32_t columns = op->patterns.columns_count;
    kp_status status;
    while ((status = kpi_op_next(base->input, &batch)) == KP_OK) {
        kpi_eval_begin(&base->eval);
        for (uint32_t c = 0; c < columns; c++)
            op->vecs[c] = &batch->cols[op->patterns.columns[c]];
        if (op->patterns.split != NULL)
            op->vecs[columns] = kpi_expr_eval(op->patterns.split, batch, &base->eval);
        for (uint32_t i = 0; i < kp_batch_count(batch); i++) {
            uint32_t row = kp_batch_row(batch, i), at;
            if (op->patterns.split != NULL && kp_vec_null(op->vecs[columns], row))
                continue;
            at = kpi_rowset_grow(&op->rows);
            if (at == UINT32_MAX || !kpi_rowset_put(&op->rows, at, op->vecs, row))
                return base->run->ctx.status;
        }
    }
    return status == KP_END ? base->run->ctx.status : status;
}

/* --- values as sets of rows --- */

static void set_bit(uint64_t *rows, uint32_t row)
{
    rows[row >> 6] |= 1ull << (row & 63);
}

static uint32_t side_of(const struct patterns_op *op, uint32_t row)
{
    uint32_t column = op->patterns.columns_count;
    return op->patterns.split != NULL &&
           kpi_rowset_vec(&op->rows, row, column)->i64[row & 1023] != 0;
}

static bool split_rows(struct patterns_op *op)
{
    struct kpi_mine *mine = &op->mine;
    uint64_t *side = kpi_new(mine->ctx, mine->words, sizeof(*side));
    if (side == NULL)
        return false;
    for (uint32_t row = 0; row < op->rows.rows; row++) {
        uint32_t s = side_of(op, row);
        op->total[s]++;
        if (s != 0)
            set_bit(side, row);
    }
    mine->side = op->patterns.split != NULL ? side : NULL;
    for (uint32_t s = 0; s < KPI_SIDES; s++) {
        mine->least[s] = (uint64_t)ceil(op->patterns.threshold * (double)op->total[s] - ROUNDING);
        mine->least[s] = KP_MAX(mine->least[s], 1u);
    }
    return true;
}

static bool is_nothing(const struct kp_vec *vec, uint32_t row)
{
    return kp_vec_null(vec, row) ||
           (kp_type_phys(vec->type) == KP_PHYS_STR && kp_vec_str(vec, row).len == 0);
}

struct counted {
    uint64_t count[KPI_SIDES];
    uint32_t example;
    uint64_t *rows; /* once it is frequent */
};

static bool add_item(struct patterns_op *op, uint32_t column, const struct counted *value)
{
    struct kpi_mine *mine = &op->mine;
    struct kpi_item_rows *items =
        kpi_new(mine->ctx, mine->items_count + 1, sizeof(struct kpi_item_rows));
    if (items == NULL)
        return false;
    for (uint32_t i = 0; i < mine->items_count; i++)
        items[i] = mine->items[i];
    items[mine->items_count++] = (struct kpi_item_rows){column, value->example, value->rows};
    mine->items = items;
    return true;
}

/* Finds the frequent values of a column; group_of has room for all rows. */
static bool count_column(struct patterns_op *op, uint32_t column, uint32_t *group_of)
{
    struct kpi_mine *mine = &op->mine;
    struct kpi_groups groups;
    if (!kpi_groups_init(&groups, mine->ctx, &op->rows.types[column], 1))
        return false;
    struct counted *values = kpi_new(mine->ctx, op->rows.rows, sizeof(*values));
    uint32_t count = 0;
    for (uint32_t row = 0; values != NULL && row < op->rows.rows; row++) {
        const struct kp_vec *vec = kpi_rowset_vec(&op->rows, row, column);
        group_of[row] =
            is_nothing(vec, row & 1023) ? UINT32_MAX : kpi_groups_find(&groups, &vec, row & 1023);
        if (group_of[row] == UINT32_MAX)
            continue;
        if (group_of[row] == count)
            values[count++].example = row;
        values[group_of[row]].count[side_of(op, row)]++;
    }
    for (uint32_t v = 0; values != NULL && v < count; v++) {
        bool frequent = values[v].count[0] >= mine->least[0] ||
                        (mine->side != NULL && values[v].count[1] >= mine->least[1]);
        if (!frequent)
            continue;
        values[v].rows = kpi_new(mine->ctx, mine->words, sizeof(uint64_t));
        if (values[v].rows == NULL || !add_item(op, column, &values[v]))
            return false;
    }
    for (uint32_t row = 0; mine->ctx->status == KP_OK && row < op->rows.rows; row++)
        if (group_of[row] != UINT32_MAX && values[group_of[row]].rows != NULL)
            set_bit(values[group_of[row]].rows, row);
    return mine->ctx->status == KP_OK && kpi_run_check(op->base.run) == KP_OK;
}

static bool mine_rows(struct patterns_op *op)
{
    struct kpi_ctx *ctx = &op->base.run->ctx;
    op->mine = (struct kpi_mine){.ctx = ctx,
                                 .run = op->base.run,
                                 .columns = op->patterns.columns_count,
                                 .words = op->rows.rows / 64 + 1,
                                 .place = op->base.place};
    uint32_t *group_of = kpi_new(ctx, op->rows.rows, sizeof(*group_of));
    if (group_of == NULL || !split_rows(op))
        return false;
    for (uint32_t c = 0; c < op->patterns.columns_count; c++)
        if (!count_column(op, c, group_of))
            return false;
    return kpi_mine_patterns(&op->mine);
}

/* --- what is told --- */

static double share(const struct patterns_op *op, const struct kpi_pattern *pattern, uint32_t side)
{
    return op->total[side] == 0 ? 0 : (double)pattern->count[side] / (double)op->total[side];
}

static double difference(const struct patterns_op *op, const struct kpi_pattern *pattern)
{
    return share(op, pattern, 0) - share(op, pattern, 1);
}

/* Most rows first (or the largest difference, then most rows), then most values, then as found. */
static int by_weight(const void *left, const void *right, void *arg)
{
    const struct patterns_op *op = arg;
    const struct kpi_pattern *a = *(struct kpi_pattern *const *)left;
    const struct kpi_pattern *b = *(struct kpi_pattern *const *)right;
    uint64_t rows_a = a->count[0] + a->count[1], rows_b = b->count[0] + b->count[1];
    if (op->patterns.kind == KPI_DIFFPATTERNS) {
        double da = fabs(difference(op, a)), db = fabs(difference(op, b));
        if (da != db)
            return da > db ? -1 : 1;
    }
    if (rows_a != rows_b)
        return rows_a > rows_b ? -1 : 1;
    if (a->values_count != b->values_count)
        return a->values_count > b->values_count ? -1 : 1;
    return (a->number > b->number) - (a->number < b->number);
}

/* Is every value of one also one of the other? */
static bool within(const struct patterns_op *op, const struct kpi_pattern *a,
                   const struct kpi_pattern *b)
{
    for (uint32_t c = 0; c < op->mine.columns; c++)
        if (a->values[c] != NULL && a->values[c] != b->values[c])
            return false;
    return true;
}

/* A difference is told once: not of a part or an extension of a pattern that differs more. */
static void choose_differences(struct patterns_op *op)
{
    for (uint32_t i = 0; i < op->mine.count; i++) {
        struct kpi_pattern *pattern = op->mine.patterns[i];
        bool new = fabs(difference(op, pattern)) >= op->patterns.threshold;
        for (uint32_t t = 0; t < op->told_count && new; t++)
            new = (difference(op, op->told[t]) > 0) != (difference(op, pattern) > 0) ||
                  (!within(op, op->told[t], pattern) && !within(op, pattern, op->told[t]));
        if (new)
            op->told[op->told_count++] = pattern;
    }
}

static double cluster_score(const struct patterns_op *op, const struct kpi_pattern *pattern,
                            const uint64_t *left)
{
    uint64_t rows = 0;
    for (size_t w = 0; w < op->mine.words; w++)
        rows += (uint64_t)__builtin_popcountll(pattern->rows[w] & left[w]);
    double size = (double)rows / (double)op->total[0];
    double values = (double)pattern->values_count / (double)op->mine.columns;
    if (size < op->patterns.threshold)
        return 0;
    return pow(size, op->patterns.size_weight) * pow(values, 1 - op->patterns.size_weight);
}

static bool choose_clusters(struct patterns_op *op)
{
    uint64_t *left = kpi_new(op->mine.ctx, op->mine.words, sizeof(*left));
    if (left == NULL)
        return false;
    memset(left, 0xff, op->mine.words * sizeof(*left));
    while (op->told_count < CLUSTERS_MAX) {
        struct kpi_pattern *best = NULL;
        double most = 0;
        for (uint32_t i = 0; i < op->mine.count; i++) {
            double score = cluster_score(op, op->mine.patterns[i], left);
            if (score > most) {
                most = score;
                best = op->mine.patterns[i];
            }
        }
        if (best == NULL || kpi_run_check(op->base.run) != KP_OK)
            break;
        op->told[op->told_count++] = best;
        for (size_t w = 0; w < op->mine.words; w++)
            left[w] &= ~best->rows[w];
    }
    return kpi_sort_items(op->base.run, op->told, op->told_count, sizeof(struct kpi_pattern *),
                          by_weight, op);
}

static bool choose(struct patterns_op *op)
{
    op->told = kpi_new(op->mine.ctx, op->mine.count + CLUSTERS_MAX, sizeof(struct kpi_pattern *));
    if (op->told == NULL || !kpi_sort_items(op->base.run, op->mine.patterns, op->mine.count,
                                            sizeof(struct kpi_pattern *), by_weight, op))
        return false;
    if (op->patterns.kind == KPI_AUTOCLUSTER)
        return choose_clusters(op);
    if (op->patterns.kind == KPI_DIFFPATTERNS) {
        choose_differences(op);
        return true;
    }
    op->told = op->mine.patterns;
    op->told_count = op->mine.count;
    return true;
}

static bool write_pattern(struct patterns_op *op, uint32_t number)
{
    const struct kpi_pattern *pattern = op->told[number];
    bool two = op->patterns.kind == KPI_DIFFPATTERNS;
    uint32_t row = kpi_rowset_grow(&op->answer), col = 0;
    double a = 100 * share(op, pattern, 0), b = 100 * share(op, pattern, 1);
    struct kpi_value one[] = {{.type = KP_TYPE_I64, .i64 = number},
                              {.type = KP_TYPE_I64, .i64 = (int64_t)pattern->count[0]},
                              {.type = KP_TYPE_F64, .f64 = a}};
    struct kpi_value both[] = {{.type = KP_TYPE_I64, .i64 = number},
                               {.type = KP_TYPE_I64, .i64 = (int64_t)pattern->count[0]},
                               {.type = KP_TYPE_I64, .i64 = (int64_t)pattern->count[1]},
                               {.type = KP_TYPE_F64, .f64 = a},
                               {.type = KP_TYPE_F64, .f64 = b},
                               {.type = KP_TYPE_F64, .f64 = fabs(a - b)}};
    for (uint32_t i = 0; row != UINT32_MAX && i < (two ? KP_ARRAY_LEN(both) : KP_ARRAY_LEN(one));
         i++)
        if (!kpi_rowset_set(&op->answer, row, col++, two ? both[i] : one[i]))
            return false;
    for (uint32_t c = 0; row != UINT32_MAX && c < op->mine.columns; c++) {
        const struct kpi_item_rows *item = pattern->values[c];
        struct kpi_value value = {.type = op->rows.types[c], .null = true, .str = KP_STR("")};
        if (item != NULL)
            value =
                kpi_vec_value(kpi_rowset_vec(&op->rows, item->example, c), item->example & 1023);
        if (!kpi_rowset_set(&op->answer, row, col++, value))
            return false;
    }
    return row != UINT32_MAX;
}

static kp_status build(struct patterns_op *op)
{
    kp_status status = keep_rows(op);
    bool good = status == KP_OK && mine_rows(op) && choose(op);
    for (uint32_t i = 0; good && i < op->told_count; i++)
        good = write_pattern(op, i);
    op->done = true;
    return status != KP_OK ? status : op->base.run->ctx.status;
}

static kp_status patterns_next(struct kpi_op *base, const struct kp_batch **out)
{
    struct patterns_op *op = (struct patterns_op *)base;
    kp_status status = op->done ? KP_OK : build(op);
    if (status != KP_OK)
        return status;
    return kpi_rowset_give(&op->answer, &op->given, &op->out, out);
}

static void patterns_need(struct kpi_op *base)
{
    const struct patterns_op *op = (const struct patterns_op *)base;
    for (uint32_t c = 0; c < op->patterns.columns_count; c++)
        base->input->need[op->patterns.columns[c]] = true;
    if (op->patterns.split != NULL)
        kpi_expr_columns(op->patterns.split, base->input->need);
}

struct kpi_op *kpi_op_patterns(struct kpi_op *input, const struct kpi_patterns *patterns)
{
    static const struct kpi_op_class none = {0};
    static const char *const words[] = {"basket", "autocluster", "diffpatterns"};
    static const struct kp_field one[] = {{KP_STR("SegmentId"), KP_TYPE_I64, KP_UNIT_NONE},
                                          {KP_STR("Count"), KP_TYPE_I64, KP_UNIT_NONE},
                                          {KP_STR("Percent"), KP_TYPE_F64, KP_UNIT_PERCENT}};
    static const struct kp_field two[] = {{KP_STR("SegmentId"), KP_TYPE_I64, KP_UNIT_NONE},
                                          {KP_STR("CountA"), KP_TYPE_I64, KP_UNIT_NONE},
                                          {KP_STR("CountB"), KP_TYPE_I64, KP_UNIT_NONE},
                                          {KP_STR("PercentA"), KP_TYPE_F64, KP_UNIT_PERCENT},
                                          {KP_STR("PercentB"), KP_TYPE_F64, KP_UNIT_PERCENT},
                                          {KP_STR("PercentDiffAB"), KP_TYPE_F64, KP_UNIT_PERCENT}};
    bool split = patterns->kind == KPI_DIFFPATTERNS;
    uint32_t first = split ? KP_ARRAY_LEN(two) : KP_ARRAY_LEN(one);
    struct patterns_op *op = (struct patterns_op *)kpi_op_new(input->run, &none, sizeof(*op), input,
                                                              first + patterns->columns_count);
    if (op == NULL)
        return NULL;
    op->class = (struct kpi_op_class){.name = words[patterns->kind],
                                      .open = patterns_open,
                                      .next = patterns_next,
                                      .need = patterns_need};
    op->base.class = &op->class;
    op->patterns = *patterns;
    memcpy(kpi_op_fields(&op->base), split ? two : one, first * sizeof(*one));
    for (uint32_t c = 0; c < patterns->columns_count; c++)
        kpi_op_fields(&op->base)[first + c] = input->schema.fields[patterns->columns[c]];
    return &op->base;
}
