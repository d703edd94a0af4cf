/* SPDX-License-Identifier: Apache-2.0
 *
 * The aggregates. Nulls are skipped. Sums are 128-bit inside, so only the answer can overflow;
 * percentiles and distinct counts are exact, bounded by the query's memory limit.
 */
#include "query/aggregate.h"

#include <math.h>
#include <stdlib.h>

#include "query/func.h"
#include "query/sorting.h"

/* Runs body for each row of a fold with its group's state; argument 0 not null. */
#define FOLD(fold, type, s, row, ...)                                               \
    for (uint32_t i_ = 0; i_ < (fold)->count; i_++) {                               \
        uint32_t row = (fold)->sel != NULL ? (fold)->sel[i_] : i_;                  \
        if ((fold)->aggregate->args_count > 0 && kp_vec_null((fold)->args[0], row)) \
            continue;                                                               \
        type *s = kpi_aggregate_state((fold)->aggregate, (fold)->groups[i_]);       \
        __VA_ARGS__;                                                                \
    }

/* --- count, sum, avg --- */

struct count_state {
    int64_t count;
};

static void fold_count(struct kpi_fold *fold)
{
    if (fold->aggregate->states_count != 1) {
        FOLD(fold, struct count_state, s, row, (void)row; s->count++);
        return;
    }
    struct count_state *states = (struct count_state *)(void *)fold->aggregate->states[0];
    for (uint32_t i = 0; i < fold->count; i++)
        states[fold->groups[i]].count++;
}

static void finish_count(struct kpi_aggregate *aggregate, void *state, struct kpi_value *out)
{
    (void)aggregate;
    out->i64 = ((struct count_state *)state)->count;
}

struct sum_state {
    __int128 sum;
    double real;
    int64_t count;
};

static void fold_sum_i64(struct kpi_fold *fold)
{
    const int64_t *values = fold->args[0]->i64;
    FOLD(fold, struct sum_state, s, row, s->sum += values[row]; s->count++);
}

static void fold_sum_f64(struct kpi_fold *fold)
{
    const double *values = fold->args[0]->f64;
    FOLD(fold, struct sum_state, s, row, s->real += values[row]; s->count++);
}

static void finish_sum_i64(struct kpi_aggregate *aggregate, void *state, struct kpi_value *out)
{
    __int128 sum = ((struct sum_state *)state)->sum;
    out->null = sum > INT64_MAX || sum < INT64_MIN;
    aggregate->ctx->overflows += out->null;
    out->i64 = out->null ? 0 : (int64_t)sum;
}

static void finish_sum_f64(struct kpi_aggregate *aggregate, void *state, struct kpi_value *out)
{
    (void)aggregate;
    out->f64 = ((struct sum_state *)state)->real;
}

static void finish_avg_long(struct kpi_aggregate *aggregate, void *state, struct kpi_value *out)
{
    struct sum_state *s = state;
    (void)aggregate;
    out->null = s->count == 0;
    out->f64 = s->count == 0 ? 0 : (double)s->sum / (double)s->count;
}

static void finish_avg_f64(struct kpi_aggregate *aggregate, void *state, struct kpi_value *out)
{
    struct sum_state *s = state;
    (void)aggregate;
    out->null = s->count == 0;
    out->f64 = s->count == 0 ? 0 : s->real / (double)s->count;
}

/* datetimes and timespans: whole ns, rounded towards zero. */
static void finish_avg_ns(struct kpi_aggregate *aggregate, void *state, struct kpi_value *out)
{
    struct sum_state *s = state;
    (void)aggregate;
    out->null = s->count == 0;
    out->i64 = s->count == 0 ? 0 : (int64_t)(s->sum / s->count);
}

/* Decimals: exact, or the query ends. */
struct dec_state {
    kp_dec sum;
    int64_t count;
};

static void fail_sum(struct kpi_aggregate *aggregate)
{
    kpi_fail(aggregate->ctx, KP_LIMIT, aggregate->args[0]->place, "the sum has more than %d digits",
             KP_DEC_DIGITS);
    kpi_hint(aggregate->ctx, "round(x, digits) what is added, or sum toreal(x)");
}

static void fold_sum_dec(struct kpi_fold *fold)
{
    const kp_dec *values = fold->args[0]->i128;
    FOLD(fold, struct dec_state, s, row, s->count++;
         if (!kp_dec_add(s->sum, values[row], &s->sum)) fail_sum(fold->aggregate));
}

static void finish_sum_dec(struct kpi_aggregate *aggregate, void *state, struct kpi_value *out)
{
    (void)aggregate;
    out->dec = ((struct dec_state *)state)->sum;
}

static void finish_avg_dec(struct kpi_aggregate *aggregate, void *state, struct kpi_value *out)
{
    struct dec_state *s = state;
    out->dec = 0;
    out->null = s->count == 0;
    if (!out->null && !kp_dec_div(s->sum, kp_dec_from_i64(s->count), &out->dec))
        fail_sum(aggregate);
}

/* --- stdev, variance: Welford, "Note on a method for calculating corrected sums" (1962) --- */

struct spread_state {
    double mean, squares;
    int64_t count;
};

static void spread_add(struct spread_state *s, double value)
{
    double delta = value - s->mean;
    s->count++;
    s->mean += delta / (double)s->count;
    s->squares += delta * (value - s->mean);
}

static void fold_spread(struct kpi_fold *fold)
{
    const double *values = fold->args[0]->f64;
    FOLD(fold, struct spread_state, s, row, spread_add(s, values[row]));
}

static void finish_variance(struct kpi_aggregate *aggregate, void *state, struct kpi_value *out)
{
    struct spread_state *s = state;
    (void)aggregate;
    out->f64 = s->count < 2 ? 0 : s->squares / (double)(s->count - 1);
}

static void finish_stdev(struct kpi_aggregate *aggregate, void *state, struct kpi_value *out)
{
    finish_variance(aggregate, state, out);
    out->f64 = sqrt(out->f64);
}

static void finish_variancep(struct kpi_aggregate *aggregate, void *state, struct kpi_value *out)
{
    struct spread_state *s = state;
    (void)aggregate;
    out->f64 = s->count == 0 ? 0 : s->squares / (double)s->count;
}

static void finish_stdevp(struct kpi_aggregate *aggregate, void *state, struct kpi_value *out)
{
    finish_variancep(aggregate, state, out);
    out->f64 = sqrt(out->f64);
}

/* --- bits of all values --- */

struct bits_state {
    uint64_t both, either, odd;
    int64_t count;
};

static void bits_add(struct bits_state *s, uint64_t value)
{
    s->both = s->count++ == 0 ? value : s->both & value;
    s->either |= value;
    s->odd ^= value;
}

static void fold_bits(struct kpi_fold *fold)
{
    const int64_t *values = fold->args[0]->i64;
    FOLD(fold, struct bits_state, s, row, bits_add(s, (uint64_t)values[row]));
}

static void finish_bits(const struct bits_state *s, uint64_t bits, struct kpi_value *out)
{
    out->null = s->count == 0;
    out->i64 = (int64_t)bits;
}

static void finish_and(struct kpi_aggregate *aggregate, void *state, struct kpi_value *out)
{
    (void)aggregate;
    finish_bits(state, ((struct bits_state *)state)->both, out);
}

static void finish_or(struct kpi_aggregate *aggregate, void *state, struct kpi_value *out)
{
    (void)aggregate;
    finish_bits(state, ((struct bits_state *)state)->either, out);
}

static void finish_xor(struct kpi_aggregate *aggregate, void *state, struct kpi_value *out)
{
    (void)aggregate;
    finish_bits(state, ((struct bits_state *)state)->odd, out);
}

/* --- rows kept: min, max, arg_min, arg_max, take_any --- */

struct kept_state {
    uint32_t row; /* in aggregate->rows, + 1; 0 = none yet */
};

static void keep_row(struct kpi_fold *fold, struct kept_state *s, uint32_t row)
{
    struct kpi_rowset *rows = &fold->aggregate->rows;
    uint32_t at = s->row != 0 ? s->row - 1 : kpi_rowset_grow(rows);
    if (at != UINT32_MAX && kpi_rowset_put(rows, at, fold->args, row))
        s->row = at + 1;
}

static int against_kept(struct kpi_fold *fold, const struct kept_state *s, uint32_t row)
{
    uint32_t at = s->row - 1;
    const struct kp_vec *kept = kpi_rowset_vec(&fold->aggregate->rows, at, 0);
    return kpi_compare(fold->args[0], row, kept, at & 1023);
}

static void fold_min(struct kpi_fold *fold)
{
    FOLD(fold, struct kept_state, s, row,
         if (s->row == 0 || against_kept(fold, s, row) < 0) keep_row(fold, s, row));
}

static void fold_max(struct kpi_fold *fold)
{
    FOLD(fold, struct kept_state, s, row,
         if (s->row == 0 || against_kept(fold, s, row) > 0) keep_row(fold, s, row));
}

/* arg_min, arg_max: a row whose value is null is kept until one with a value comes. */
static void fold_arg(struct kpi_fold *fold, int sign)
{
    for (uint32_t i = 0; i < fold->count; i++) {
        uint32_t row = fold->sel != NULL ? fold->sel[i] : i;
        struct kept_state *s = kpi_aggregate_state(fold->aggregate, fold->groups[i]);
        bool null = kp_vec_null(fold->args[0], row);
        bool kept_null =
            s->row != 0 &&
            kp_vec_null(kpi_rowset_vec(&fold->aggregate->rows, s->row - 1, 0), (s->row - 1) & 1023);
        bool better =
            s->row == 0 || (!null && (kept_null || sign * against_kept(fold, s, row) < 0));
        if (better)
            keep_row(fold, s, row);
    }
}

static void fold_arg_min(struct kpi_fold *fold)
{
    fold_arg(fold, 1);
}

static void fold_arg_max(struct kpi_fold *fold)
{
    fold_arg(fold, -1);
}

static void fold_any(struct kpi_fold *fold)
{
    FOLD(fold, struct kept_state, s, row, if (s->row == 0) keep_row(fold, s, row));
}

static void fold_nothing(struct kpi_fold *fold)
{
    (void)fold; /* reads what its lead kept */
}

static void finish_kept(struct kpi_aggregate *aggregate, void *state, struct kpi_value *out)
{
    struct kept_state *s = state;
    out->null = s->row == 0;
    out->str = KP_STR("");
    if (s->row != 0)
        *out = kpi_vec_value(kpi_rowset_vec(&aggregate->rows, s->row - 1, 0), (s->row - 1) & 1023);
}

/* min and max of numbers need no row store: the usual case is fast. */
struct extreme_state {
    int64_t value;
    int64_t count;
};

static void fold_min_i64(struct kpi_fold *fold)
{
    const int64_t *values = fold->args[0]->i64;
    FOLD(fold, struct extreme_state, s, row,
         if (s->count++ == 0 || values[row] < s->value) s->value = values[row]);
}

static void fold_max_i64(struct kpi_fold *fold)
{
    const int64_t *values = fold->args[0]->i64;
    FOLD(fold, struct extreme_state, s, row,
         if (s->count++ == 0 || values[row] > s->value) s->value = values[row]);
}

static void finish_extreme(struct kpi_aggregate *aggregate, void *state, struct kpi_value *out)
{
    struct extreme_state *s = state;
    (void)aggregate;
    out->null = s->count == 0;
    out->i64 = s->value;
}

/* --- lists: percentile, make_list, make_set --- */

#define BLOCK_VALUES 62

struct block {
    struct block *next;
    uint32_t count;
    struct kpi_value values[];
};

struct list_state {
    struct block *first, *last;
    int64_t count;
};

static void list_add(struct kpi_fold *fold, struct list_state *s, struct kpi_value value)
{
    struct kpi_ctx *ctx = fold->aggregate->ctx;
    uint32_t capacity = s->count < 4 ? 4 : BLOCK_VALUES;
    uint32_t last_capacity = s->count <= 4 ? 4 : BLOCK_VALUES;
    if (s->last == NULL || s->last->count == last_capacity) {
        struct block *block =
            kp_arena_alloc(ctx->arena, sizeof(*block) + capacity * sizeof(struct kpi_value));
        if (block == NULL) {
            kpi_fail_memory(ctx);
            return;
        }
        block->next = NULL;
        block->count = 0;
        if (s->last == NULL)
            s->first = block;
        else
            s->last->next = block;
        s->last = block;
    }
    if (kp_type_phys(value.type) == KP_PHYS_STR)
        value.str = kpi_intern(ctx, &fold->aggregate->rows.strings, value.str);
    s->last->values[s->last->count++] = value;
    s->count++;
}

static void fold_all(struct kpi_fold *fold)
{
    FOLD(fold, struct list_state, s, row, list_add(fold, s, kpi_vec_value(fold->args[0], row)));
}

/* The parameter bounds the list. */
static void fold_list(struct kpi_fold *fold)
{
    double most = fold->aggregate->parameter;
    FOLD(fold, struct list_state, s, row,
         if (most <= 0 || (double)s->count < most)
             list_add(fold, s, kpi_vec_value(fold->args[0], row)));
}

static int order_reals(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The values of a list, 8 bytes each; NULL with the error set. */
static int64_t *flatten(struct kpi_aggregate *aggregate, const struct list_state *s)
{
    int64_t *flat = kpi_new(aggregate->ctx, (size_t)s->count, sizeof(*flat));
    size_t used = 0;
    for (const struct block *b = s->first; flat != NULL && b != NULL; b = b->next)
        for (uint32_t i = 0; i < b->count; i++)
            flat[used++] = b->values[i].i64; /* reals too: the bits are copied */
    return flat;
}

/* Nearest rank: the smallest value with at least p percent of the values at or below it. */
static void finish_percentile(struct kpi_aggregate *aggregate, void *state, struct kpi_value *out)
{
    struct list_state *s = state;
    out->null = s->count == 0;
    int64_t *flat = s->count == 0 ? NULL : flatten(aggregate, s);
    if (flat == NULL)
        return;
    size_t used = (size_t)s->count;
    double rank = ceil(aggregate->parameter / 100 * (double)used);
    size_t at = rank < 1 ? 0 : rank > (double)used ? used - 1 : (size_t)rank - 1;
    if (aggregate->args[0]->type == KP_TYPE_F64)
        qsort(flat, used, sizeof(*flat), order_reals);
    out->i64 = aggregate->args[0]->type == KP_TYPE_F64 ? flat[at] : kpi_pick_rank(flat, used, at);
}

static void finish_list(struct kpi_aggregate *aggregate, void *state, struct kpi_value *out)
{
    struct list_state *s = state;
    struct kp_buf json = {0};
    kp_buf_char(&json, '[');
    bool first = true;
    for (struct block *b = s->first; b != NULL; b = b->next) {
        for (uint32_t i = 0; i < b->count; i++) {
            if (!first)
                kp_buf_char(&json, ',');
            first = false;
            kpi_json_value(&b->values[i], &json);
        }
    }
    kp_buf_char(&json, ']');
    out->str = kp_arena_str(aggregate->ctx->arena, (struct kp_str){json.data, (uint32_t)json.size});
    if (out->str.ptr == NULL || json.failed)
        kpi_fail_memory(aggregate->ctx);
    kp_buf_deinit(&json);
}

/* --- sets: dcount, make_set --- */

static bool set_grow(struct kpi_aggregate *aggregate, struct kpi_value_set *set)
{
    uint32_t capacity = set->capacity == 0 ? 1024 : set->capacity * 2;
    uint32_t *slots = kpi_new(aggregate->ctx, capacity, sizeof(*slots));
    uint32_t *groups = kpi_new(aggregate->ctx, capacity, sizeof(*groups));
    uint64_t *hashes = kpi_new(aggregate->ctx, capacity, sizeof(*hashes));
    if (slots == NULL || groups == NULL || hashes == NULL)
        return false;
    for (uint32_t i = 0; i < set->values.rows; i++) {
        groups[i] = set->groups[i];
        hashes[i] = set->hashes[i];
        uint32_t at = (uint32_t)hashes[i] & (capacity - 1);
        while (slots[at] != 0)
            at = (at + 1) & (capacity - 1);
        slots[at] = i + 1;
    }
    set->slots = slots;
    set->groups = groups;
    set->hashes = hashes;
    set->capacity = capacity;
    return true;
}

/* True when the value is new to the group. */
static bool set_insert(struct kpi_fold *fold, uint32_t group, uint32_t row)
{
    struct kpi_aggregate *aggregate = fold->aggregate;
    struct kpi_value_set *set = &aggregate->set;
    if (set->values.rows * 2 >= set->capacity && !set_grow(aggregate, set))
        return false;
    uint64_t hash = kpi_hash(fold->args[0], row, group);
    uint32_t at = (uint32_t)hash & (set->capacity - 1);
    for (; set->slots[at] != 0; at = (at + 1) & (set->capacity - 1)) {
        uint32_t i = set->slots[at] - 1;
        if (set->hashes[i] == hash && set->groups[i] == group &&
            kpi_same(kpi_rowset_vec(&set->values, i, 0), i & 1023, fold->args[0], row))
            return false;
    }
    uint32_t i = kpi_rowset_grow(&set->values);
    if (i == UINT32_MAX || !kpi_rowset_put(&set->values, i, fold->args, row))
        return false;
    set->slots[at] = i + 1;
    set->groups[i] = group;
    set->hashes[i] = hash;
    return true;
}

static void fold_dcount(struct kpi_fold *fold)
{
    FOLD(fold, struct count_state, s, row, if (set_insert(fold, fold->groups[i_], row)) s->count++);
}

static void fold_set(struct kpi_fold *fold)
{
    double most = fold->aggregate->parameter;
    FOLD(fold, struct list_state, s, row,
         if ((most <= 0 || (double)s->count < most) && set_insert(fold, fold->groups[i_], row))
             list_add(fold, s, kpi_vec_value(fold->args[0], row)));
}

/* --- merging --- */

/* Runs body for each group of `from` with its state and the state it goes to. */
#define MERGE(type, to_state, from_state, ...)                             \
    do {                                                                   \
        for (uint32_t g_ = 0; g_ < groups; g_++) {                         \
            const struct type *from_state = kpi_aggregate_state(from, g_); \
            struct type *to_state = kpi_aggregate_state(to, group_of[g_]); \
            __VA_ARGS__;                                                   \
        }                                                                  \
        return true;                                                       \
    } while (0)

static bool merge_count(struct kpi_aggregate *to, struct kpi_aggregate *from,
                        const uint32_t *group_of, uint32_t groups)
{
    MERGE(count_state, a, b, a->count += b->count);
}

static bool merge_sum(struct kpi_aggregate *to, struct kpi_aggregate *from,
                      const uint32_t *group_of, uint32_t groups)
{
    MERGE(sum_state, a, b, a->sum += b->sum; a->count += b->count);
}

static bool merge_bits(struct kpi_aggregate *to, struct kpi_aggregate *from,
                       const uint32_t *group_of, uint32_t groups)
{
    MERGE(
        bits_state, a, b, if (b->count > 0) {
            a->both = a->count == 0 ? b->both : a->both & b->both;
            a->either |= b->either;
            a->odd ^= b->odd;
            a->count += b->count;
        });
}

static bool merge_min(struct kpi_aggregate *to, struct kpi_aggregate *from,
                      const uint32_t *group_of, uint32_t groups)
{
    MERGE(
        extreme_state, a, b, if (b->count > 0) {
            a->value = a->count == 0 ? b->value : KP_MIN(a->value, b->value);
            a->count += b->count;
        });
}

static bool merge_max(struct kpi_aggregate *to, struct kpi_aggregate *from,
                      const uint32_t *group_of, uint32_t groups)
{
    MERGE(
        extreme_state, a, b, if (b->count > 0) {
            a->value = a->count == 0 ? b->value : KP_MAX(a->value, b->value);
            a->count += b->count;
        });
}

/* The blocks stay where they are: nothing is added to a merged list. */
static bool merge_all(struct kpi_aggregate *to, struct kpi_aggregate *from,
                      const uint32_t *group_of, uint32_t groups)
{
    MERGE(
        list_state, a, b, if (b->count > 0) {
            if (a->last == NULL)
                a->first = b->first;
            else
                a->last->next = b->first;
            a->last = b->last;
            a->count += b->count;
        });
}

static bool merge_dcount(struct kpi_aggregate *to, struct kpi_aggregate *from,
                         const uint32_t *group_of, uint32_t groups)
{
    struct kpi_fold fold = {.aggregate = to};
    for (uint32_t i = 0; i < from->set.values.rows; i++) {
        kp_assert(from->set.groups[i] < groups);
        uint32_t group = group_of[from->set.groups[i]];
        fold.args[0] = kpi_rowset_vec(&from->set.values, i, 0);
        if (set_insert(&fold, group, i & 1023))
            ((struct count_state *)kpi_aggregate_state(to, group))->count++;
    }
    return to->ctx->status == KP_OK;
}

/* Lists, first values and sums of reals depend on the order of rows. */
kpi_aggregate_merge kpi_aggregate_merger(const struct kpi_aggregate *aggregate)
{
    static const struct {
        void (*fold)(struct kpi_fold *fold);
        kpi_aggregate_merge merge;
    } mergers[] = {{fold_count, merge_count},  {fold_sum_i64, merge_sum}, {fold_bits, merge_bits},
                   {fold_min_i64, merge_min},  {fold_max_i64, merge_max}, {fold_all, merge_all},
                   {fold_dcount, merge_dcount}};
    bool real = aggregate->args_count > 0 && aggregate->args[0]->type == KP_TYPE_F64;
    for (size_t i = 0; !real && i < KP_ARRAY_LEN(mergers); i++)
        if (mergers[i].fold == aggregate->func->fold)
            return mergers[i].merge;
    return NULL;
}

/* --- table --- */

#define SIZE(type) sizeof(struct type)
static const struct kpi_aggregate_func funcs[] = {
    {"count", "", 'l', SIZE(count_state), true, fold_count, finish_count, "number of rows"},
    {"count", ".", 'l', SIZE(count_state), true, fold_count, finish_count, NULL},
    {"sum", "l", 'l', SIZE(sum_state), false, fold_sum_i64, finish_sum_i64, "sum"},
    {"sum", "r", 'r', SIZE(sum_state), false, fold_sum_f64, finish_sum_f64, NULL},
    {"sum", "d", 'd', SIZE(sum_state), false, fold_sum_i64, finish_sum_i64, NULL},
    {"sum", "m", 'm', SIZE(dec_state), false, fold_sum_dec, finish_sum_dec, NULL},
    {"avg", "l", 'r', SIZE(sum_state), false, fold_sum_i64, finish_avg_long, "mean"},
    {"avg", "r", 'r', SIZE(sum_state), false, fold_sum_f64, finish_avg_f64, NULL},
    {"avg", "d", 'd', SIZE(sum_state), false, fold_sum_i64, finish_avg_ns, NULL},
    {"avg", "t", 't', SIZE(sum_state), false, fold_sum_i64, finish_avg_ns, NULL},
    {"avg", "m", 'm', SIZE(dec_state), false, fold_sum_dec, finish_avg_dec, NULL},
    {"min", "l", 'l', SIZE(extreme_state), false, fold_min_i64, finish_extreme, "smallest value"},
    {"min", "t", 't', SIZE(extreme_state), false, fold_min_i64, finish_extreme, NULL},
    {"min", "d", 'd', SIZE(extreme_state), false, fold_min_i64, finish_extreme, NULL},
    {"min", ".", 'T', SIZE(kept_state), false, fold_min, finish_kept, NULL},
    {"max", "l", 'l', SIZE(extreme_state), false, fold_max_i64, finish_extreme, "largest value"},
    {"max", "t", 't', SIZE(extreme_state), false, fold_max_i64, finish_extreme, NULL},
    {"max", "d", 'd', SIZE(extreme_state), false, fold_max_i64, finish_extreme, NULL},
    {"max", ".", 'T', SIZE(kept_state), false, fold_max, finish_kept, NULL},
    {"dcount", ".", 'l', SIZE(count_state), true, fold_dcount, finish_count,
     "number of different values, exact"},
    {"dcount", ".c", 'l', SIZE(count_state), true, fold_dcount, finish_count, NULL},
    {"count_distinct", ".", 'l', SIZE(count_state), true, fold_dcount, finish_count,
     "same as dcount()"},
    {"percentile", "lc", 'l', SIZE(list_state), false, fold_all, finish_percentile,
     "value at a percentage of the order, nearest rank, exact"},
    {"percentile", "dc", 'd', SIZE(list_state), false, fold_all, finish_percentile, NULL},
    {"percentile", "tc", 't', SIZE(list_state), false, fold_all, finish_percentile, NULL},
    {"percentile", "rc", 'r', SIZE(list_state), false, fold_all, finish_percentile, NULL},
    {"stdev", "r", 'r', SIZE(spread_state), false, fold_spread, finish_stdev,
     "standard deviation of a sample"},
    {"variance", "r", 'r', SIZE(spread_state), true, fold_spread, finish_variance,
     "variance of a sample"},
    {"stdevp", "r", 'r', SIZE(spread_state), false, fold_spread, finish_stdevp,
     "standard deviation of a whole population"},
    {"variancep", "r", 'r', SIZE(spread_state), true, fold_spread, finish_variancep,
     "variance of a whole population"},
    {"binary_all_and", "l", 'l', SIZE(bits_state), true, fold_bits, finish_and,
     "bits set in all values"},
    {"binary_all_or", "l", 'l', SIZE(bits_state), true, fold_bits, finish_or,
     "bits set in any value"},
    {"binary_all_xor", "l", 'l', SIZE(bits_state), true, fold_bits, finish_xor,
     "bits set in an odd number of values"},
    {"make_list", ".", 'y', SIZE(list_state), true, fold_list, finish_list,
     "all values as an array, or the first so many"},
    {"make_list", ".c", 'y', SIZE(list_state), true, fold_list, finish_list, NULL},
    {"make_set", ".", 'y', SIZE(list_state), true, fold_set, finish_list,
     "different values as an array, or the first so many"},
    {"make_set", ".c", 'y', SIZE(list_state), true, fold_set, finish_list, NULL},
    {"take_any", ".", 'T', SIZE(kept_state), false, fold_any, finish_kept, "the first value"},
    {"any", ".", 'T', SIZE(kept_state), false, fold_any, finish_kept, "same as take_any()"},
    {"arg_min", "..*", 'T', SIZE(kept_state), false, fold_arg_min, finish_kept,
     "other columns of the row with the smallest value"},
    {"arg_max", "..*", 'T', SIZE(kept_state), false, fold_arg_max, finish_kept,
     "other columns of the row with the largest value"},
    {"(column of arg)", ".", 'T', SIZE(kept_state), false, fold_nothing, finish_kept, NULL},
};

const struct kpi_aggregate_func *kpi_aggregate_at(uint32_t index)
{
    uint32_t count = KP_ARRAY_LEN(funcs);
    return index < count ? &funcs[index] : kpi_aggregate_state_at(index - count);
}

/* The plain name of a conditional form (sumif -> sum, make_list_if -> make_list). */
static bool strip_if(struct kp_str *name)
{
    if (name->len > 3 && memcmp(name->ptr + name->len - 3, "_if", 3) == 0)
        name->len -= 3;
    else if (name->len > 2 && memcmp(name->ptr + name->len - 2, "if", 2) == 0)
        name->len -= 2;
    else
        return false;
    return true;
}

static bool named(struct kp_str name)
{
    const struct kpi_aggregate_func *func;
    for (uint32_t i = 0; (func = kpi_aggregate_at(i)) != NULL; i++)
        if (kp_str_equal(name, kp_str_from(func->name)))
            return true;
    return false;
}

bool kpi_aggregate_known(struct kp_str name)
{
    struct kp_str plain = name;
    return named(name) || (strip_if(&plain) && named(plain) && plain.ptr[0] != 'a') ||
           kp_str_equal(name, KP_STR("avgif")) || kp_str_equal(name, KP_STR("percentiles")) ||
           kp_str_equal(name, KP_STR("percentilesw")) ||
           kp_str_equal(name, KP_STR("percentiles_array")) ||
           kp_str_equal(name, KP_STR("percentilesw_array"));
}

static bool fits(const struct kpi_aggregate_func *func, const enum kp_type *types, uint32_t count)
{
    uint32_t i = 0;
    for (const char *at = func->args; *at != '\0'; at++) {
        if (*at == '*')
            return true;
        if (i == count && at[1] == '*')
            return true;
        if (i == count)
            return false;
        bool number = types[i] == KP_TYPE_I64 || types[i] == KP_TYPE_F64;
        bool good = *at == '.' || *at == kpi_type_letter(types[i]) || (*at == 'c' && number) ||
                    (*at == 'r' && number) || (*at == 'l' && types[i] == KP_TYPE_BOOL);
        if (!good)
            return false;
        i++;
    }
    return i == count;
}

const struct kpi_aggregate_func *kpi_aggregate_resolve(struct kp_str name,
                                                       const enum kp_type *types, uint32_t count,
                                                       bool *out_if_form)
{
    bool if_form = !named(name) && strip_if(&name);
    if (if_form && (count == 0 || types[count - 1] != KP_TYPE_BOOL))
        return NULL;
    const struct kpi_aggregate_func *func;
    for (uint32_t i = 0; (func = kpi_aggregate_at(i)) != NULL; i++) {
        if (!kp_str_equal(name, kp_str_from(func->name)) || !fits(func, types, count - if_form))
            continue;
        *out_if_form = if_form;
        return func;
    }
    return NULL;
}
