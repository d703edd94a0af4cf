/* SPDX-License-Identifier: Apache-2.0
 *
 * More of arrays and bags: choosing, cutting, sorting several at once, comparing as sets, making
 * them, and looking a value up in one.
 */
#include <stdlib.h>

#include "query/elements.h"

/* --- choosing and cutting --- */

/* Element i of an array, or the value itself for every i; null behind the end. */
static struct kp_str element_or_self(struct kpi_call *call, uint32_t arg, uint32_t row, int64_t i)
{
    struct kp_str json = kpi_json_arg(call, arg, row);
    if (json.len == 0 || json.ptr[0] != '[')
        return json;
    struct kp_str element = kpi_json_element(json, i);
    return element.ptr == NULL ? KP_STR("null") : element;
}

/* array_iff([conditions], then, else): numbers count as conditions when they are not 0. */
static void array_iff(struct kpi_call *call, uint32_t row)
{
    struct kp_buf out = kpi_buf(call->eval);
    struct kpi_elements all;
    if (!kpi_array_read(call, kpi_text_arg(call, 0, row), &all)) {
        kpi_set_str(call, row, "", 0);
        return;
    }
    kpi_array_begin(&out, '[');
    for (int64_t i = 0; i < all.count; i++) {
        double number;
        bool yes = kp_str_equal(all.values[i], KP_STR("true"));
        bool no = kp_str_equal(all.values[i], KP_STR("false"));
        if (!yes && !no && all.values[i].ptr[0] != '"' && kpi_json_number(all.values[i], &number)) {
            yes = number != 0;
            no = !yes;
        }
        kpi_array_add(&out, yes  ? element_or_self(call, 1, row, i)
                            : no ? element_or_self(call, 2, row, i)
                                 : KP_STR("null"));
    }
    kpi_array_finish(call, row, &out, ']');
}

/* Parts [0, at), [at, next), ...; positions below 0 count from the end. */
static void array_split(struct kpi_call *call, uint32_t row)
{
    struct kp_buf out = kpi_buf(call->eval);
    struct kpi_elements all, positions = {NULL, 0};
    if (!kpi_array_read(call, kpi_text_arg(call, 0, row), &all)) {
        kpi_set_str(call, row, "", 0);
        return;
    }
    bool lone = call->args[1]->type != KP_TYPE_DYN;
    if (!lone)
        kpi_array_read(call, kpi_text_arg(call, 1, row), &positions);
    int64_t from = 0, parts = lone ? 1 : positions.count;
    kpi_array_begin(&out, '[');
    for (int64_t part = 0; part <= parts; part++) {
        int64_t to = all.count;
        double number = 0;
        if (part < parts) {
            if (!lone)
                kpi_json_number(positions.values[part], &number);
            to = lone ? call->args[1]->i64[row] : (int64_t)number;
            to = to < 0 ? to + all.count : to;
            to = KP_MAX(KP_MIN(to, all.count), from);
        }
        kp_buf_text(&out, part > 0 ? ",[" : "[");
        for (int64_t i = from; i < to; i++) {
            kp_buf_text(&out, i > from ? "," : "");
            kp_buf_str(&out, all.values[i]);
        }
        kp_buf_char(&out, ']');
        from = to;
    }
    kpi_array_finish(call, row, &out, ']');
}

/* array_sort_asc(a, b, ...): a in order, the others moved along; the last argument may say where
 * nulls go. The answer is an array of the arrays, or one array when only one came. */
struct placed {
    struct kp_str value;
    int64_t from;
};

static int by_placed(const void *left, const void *right)
{
    const struct placed *a = left, *b = right;
    int order = kpi_json_order(&a->value, &b->value);
    return order != 0 ? order : (a->from > b->from) - (a->from < b->from);
}

/* Positions of the elements in their new order. */
static struct placed *sorted_places(struct kpi_call *call, const struct kpi_elements *all,
                                    bool ascending, bool nulls_last)
{
    struct placed *order =
        (struct placed *)kpi_scratch(call->eval, ((size_t)all->count + 1) * sizeof(*order));
    int64_t values = 0, nulls = 0;
    if (order == NULL)
        return NULL;
    for (int64_t i = 0; i < all->count; i++) {
        bool null = kp_str_equal(all->values[i], KP_STR("null"));
        nulls += null;
        order[null ? all->count - nulls : values++] = (struct placed){all->values[i], i};
    }
    if (values > 0)
        kpi_sort(call->eval, order, (size_t)values, sizeof(*order), by_placed);
    for (int64_t i = 0; !ascending && i < values / 2; i++) {
        struct placed held = order[i];
        order[i] = order[values - 1 - i];
        order[values - 1 - i] = held;
    }
    for (int64_t i = values; i < values + nulls / 2; i++) { /* in the order they came */
        struct placed held = order[i];
        int64_t other = all->count - 1 - (i - values);
        order[i] = order[other];
        order[other] = held;
    }
    if (nulls_last || nulls == 0 || values == 0)
        return order;
    struct placed *moved =
        (struct placed *)kpi_scratch(call->eval, ((size_t)all->count + 1) * sizeof(*order));
    if (moved == NULL)
        return NULL;
    memcpy(moved, order + values, (size_t)nulls * sizeof(*order));
    memcpy(moved + nulls, order, (size_t)values * sizeof(*order));
    return moved;
}

static void array_sort_many(struct kpi_call *call, uint32_t row, bool ascending)
{
    struct kp_buf out = kpi_buf(call->eval);
    struct kpi_elements all;
    uint32_t arrays = call->args_count;
    bool flag = call->args[arrays - 1]->type == KP_TYPE_BOOL;
    bool nulls_last = !flag || call->args[arrays - 1]->i64[row] != 0;
    arrays -= flag;
    struct placed *order = NULL;
    if (kpi_array_read(call, kpi_text_arg(call, 0, row), &all))
        order = sorted_places(call, &all, ascending, nulls_last);
    if (order == NULL) {
        kpi_set_str(call, row, "", 0);
        return;
    }
    int64_t count = all.count;
    kp_buf_text(&out, arrays > 1 ? "[" : "");
    for (uint32_t a = 0; a < arrays; a++) {
        kp_buf_text(&out, a > 0 ? ",[" : "[");
        for (int64_t i = 0; i < count; i++) {
            kp_buf_text(&out, i > 0 ? "," : "");
            if (kpi_go_on(call->eval->ctx, kpi_text_arg(call, a, row).len))
                kp_buf_str(&out, element_or_self(call, a, row, order[i].from));
        }
        kp_buf_char(&out, ']');
    }
    if (arrays > 1)
        kp_buf_char(&out, ']');
    kpi_set_buf(call, row, &out);
}

static int64_t distinct_count(struct kpi_call *call, const struct kpi_elements *a)
{
    int64_t count = 0;
    for (int64_t i = 0; i < a->count; i++) {
        struct kpi_elements before = {a->values, i};
        count += !kpi_array_holds(call, &before, a->values[i]);
    }
    return count;
}

static void jaccard_index(struct kpi_call *call, uint32_t row)
{
    struct kpi_elements a, b;
    int64_t common = 0;
    call->out->f64[row] = 0;
    if (!kpi_array_read(call, kpi_text_arg(call, 0, row), &a) ||
        !kpi_array_read(call, kpi_text_arg(call, 1, row), &b)) {
        kpi_set_null(call, row);
        return;
    }
    for (int64_t i = 0; i < a.count; i++) {
        struct kpi_elements before = {a.values, i};
        common +=
            kpi_array_holds(call, &b, a.values[i]) && !kpi_array_holds(call, &before, a.values[i]);
    }
    int64_t all = distinct_count(call, &a) + distinct_count(call, &b) - common;
    call->out->f64[row] = all == 0 ? 0 : (double)common / (double)all;
}

static bool set_equals(struct kpi_call *call, uint32_t row)
{
    struct kpi_elements a, b;
    if (!kpi_array_read(call, kpi_text_arg(call, 0, row), &a) ||
        !kpi_array_read(call, kpi_text_arg(call, 1, row), &b))
        return false;
    for (int64_t i = 0; i < a.count; i++)
        if (!kpi_array_holds(call, &b, a.values[i]))
            return false;
    for (int64_t i = 0; i < b.count; i++)
        if (!kpi_array_holds(call, &a, b.values[i]))
            return false;
    return true;
}

/* --- making more --- */

#define MADE_MAX (1024 * 1024)

/* range(from, to, step), both ends included; at most so many elements, as in Kusto. */
static void made_range(struct kpi_call *call, uint32_t row)
{
    struct kp_buf out = kpi_buf(call->eval);
    struct kpi_value at = kpi_vec_value(call->args[0], row), to = kpi_vec_value(call->args[1], row);
    struct kpi_value step = {.type = KP_TYPE_I64, .i64 = 1};
    if (call->args_count > 2)
        step = kpi_vec_value(call->args[2], row);
    bool real = at.type == KP_TYPE_F64;
    double real_step = step.f64, start = at.f64;
    bool up = real ? real_step > 0 : step.i64 > 0;
    kpi_array_begin(&out, '[');
    for (int64_t i = 0; i < MADE_MAX && (real ? real_step != 0 : step.i64 != 0); i++) {
        if (real ? (up ? at.f64 > to.f64 : at.f64 < to.f64)
                 : (up ? at.i64 > to.i64 : at.i64 < to.i64))
            break;
        if (!kpi_go_on(call->eval->ctx, 64))
            break;
        kp_buf_text(&out, i > 0 ? "," : "");
        kpi_json_value(&at, &out);
        if (real)
            at.f64 = start + (double)(i + 1) * real_step;
        else if (__builtin_add_overflow(at.i64, step.i64, &at.i64))
            break;
    }
    kpi_array_finish(call, row, &out, ']');
}

static void repeat(struct kpi_call *call, uint32_t row)
{
    struct kp_buf out = kpi_buf(call->eval);
    struct kp_str value = kpi_json_arg(call, 0, row);
    int64_t times = call->args[1]->i64[row];
    kpi_array_begin(&out, '[');
    for (int64_t i = 0;
         i < times && i < MADE_MAX && out.size < MADE_MAX && kpi_go_on(call->eval->ctx, 16); i++)
        kpi_array_add(&out, value);
    kpi_array_finish(call, row, &out, ']');
}

/* bag_zip([keys], [values]) */
static void bag_zip(struct kpi_call *call, uint32_t row)
{
    struct kp_buf out = kpi_buf(call->eval);
    struct kpi_elements keys = {NULL, 0}, values = {NULL, 0};
    kpi_array_read(call, kpi_text_arg(call, 0, row), &keys);
    kpi_array_read(call, kpi_text_arg(call, 1, row), &values);
    kpi_array_begin(&out, '{');
    for (int64_t i = 0; i < keys.count; i++)
        if (keys.values[i].ptr[0] == '"')
            kpi_bag_add(&out, kpi_json_plain(call->eval, keys.values[i]),
                        i < values.count ? values.values[i] : KP_STR("null"));
    kpi_array_finish(call, row, &out, '}');
}

static void bag_set_key(struct kpi_call *call, uint32_t row)
{
    struct kp_buf out = kpi_buf(call->eval);
    struct kpi_json_walk walk;
    struct kp_str key, value, wanted = kpi_text_arg(call, 1, row);
    bool more = kpi_json_object(kpi_text_arg(call, 0, row), &walk), done = false;
    kpi_array_begin(&out, '{');
    while (more && kpi_json_next_member(&walk, &key, &value)) {
        bool is = kp_str_equal(key, wanted);
        kpi_bag_add(&out, key, is ? kpi_json_arg(call, 2, row) : value);
        done |= is;
    }
    if (!done)
        kpi_bag_add(&out, wanted, kpi_json_arg(call, 2, row));
    kpi_array_finish(call, row, &out, '}');
}

/* pack_all(true): members that are null or empty are left out. */
static void bag_pack_set(struct kpi_call *call, uint32_t row)
{
    struct kp_buf out = kpi_buf(call->eval);
    kpi_array_begin(&out, '{');
    for (uint32_t a = 0; a + 1 < call->args_count; a += 2) {
        struct kpi_value value = kpi_vec_value(call->args[a + 1], row);
        bool text = kp_type_phys(value.type) == KP_PHYS_STR;
        if (!value.null && (!text || value.str.len > 0))
            kpi_bag_add(&out, kpi_text_arg(call, a, row), kpi_json_arg(call, a + 1, row));
    }
    kpi_array_finish(call, row, &out, '}');
}

/* Bytes of the values: texts by their length, everything else 8, a bool 1. */
static int64_t data_size(const struct kpi_call *call, uint32_t row)
{
    int64_t size = 0;
    for (uint32_t a = 0; a < call->args_count; a++) {
        bool text = kp_type_phys(call->args[a]->type) == KP_PHYS_STR;
        size += text ? kpi_text_arg(call, a, row).len : call->args[a]->type == KP_TYPE_BOOL ? 1 : 8;
    }
    return size;
}

/* Paths of all values of a bag: ["a"], ["a"]["b"]. */
static void add_paths(struct kpi_call *call, struct kp_str json, struct kp_str path, int depth,
                      struct kp_buf *out)
{
    struct kpi_json_walk walk;
    struct kp_str key, value;
    bool more = depth < 32 && kpi_json_object(json, &walk);
    while (more && kpi_json_next_member(&walk, &key, &value)) {
        struct kp_buf inner = {0};
        kp_buf_str(&inner, path);
        kp_buf_printf(&inner, "['%.*s']", (int)key.len, key.ptr);
        kp_buf_text(out, out->size > 1 ? "," : "");
        struct kp_str whole = kp_str_from(kp_buf_cstr(&inner));
        kpi_json_quote(whole, out);
        add_paths(call, value, whole, depth + 1, out);
        kp_buf_deinit(&inner);
    }
}

static void treepath(struct kpi_call *call, uint32_t row)
{
    struct kp_buf out = kpi_buf(call->eval);
    kpi_array_begin(&out, '[');
    add_paths(call, kpi_text_arg(call, 0, row), KP_STR(""), 0, &out);
    kpi_array_finish(call, row, &out, ']');
}

/* --- in (T), in ([...]): a constant array as a sorted list of texts, made once --- */

struct text_list {
    struct kp_str *texts;
    uint32_t count;
};

static int by_text(const void *a, const void *b)
{
    return kp_str_compare(*(const struct kp_str *)a, *(const struct kp_str *)b);
}

static struct kp_str folded_case(struct kpi_call *call, struct kp_str text, bool nocase)
{
    char *copy = nocase && text.len > 0 ? kpi_scratch(call->eval, text.len) : NULL;
    if (copy == NULL)
        return text;
    for (uint32_t i = 0; i < text.len; i++)
        copy[i] = (char)(text.ptr[i] >= 'A' && text.ptr[i] <= 'Z' ? text.ptr[i] + 32 : text.ptr[i]);
    return (struct kp_str){copy, text.len};
}

static struct text_list *make_list(struct kpi_call *call, uint32_t row, bool nocase)
{
    struct kpi_ctx *ctx = call->eval->ctx;
    struct kpi_elements all = {NULL, 0};
    struct text_list *list = kpi_new(ctx, 1, sizeof(*list));
    if (list == NULL || !kpi_array_read(call, kpi_text_arg(call, 1, row), &all))
        return list;
    list->texts = kpi_new(ctx, (size_t)all.count + 1, sizeof(*list->texts));
    for (int64_t i = 0; list->texts != NULL && i < all.count; i++) {
        struct kp_str text = folded_case(call, kpi_json_plain(call->eval, all.values[i]), nocase);
        list->texts[list->count] = kp_arena_str(ctx->arena, text);
        if (list->texts[list->count++].ptr == NULL)
            kpi_fail_memory(ctx);
    }
    if (list->count > 0)
        qsort(list->texts, list->count, sizeof(*list->texts), by_text);
    return list;
}

static void in_array(struct kpi_call *call, bool nocase)
{
    bool constant = call->expr->args[1]->kind == KPI_EXPR_CONST;
    KPI_EACH(call, row, struct text_list *list = constant ? call->expr->state : NULL;
             if (list == NULL) list = make_list(call, row, nocase);
             if (list == NULL || call->eval->ctx->status != KP_OK) return;
             if (constant) call->expr->state = list;
             struct kp_str key = folded_case(call, kpi_text_arg(call, 0, row), nocase);
             call->out->i64[row] = list->count > 0 && bsearch(&key, list->texts, list->count,
                                                              sizeof(key), by_text) != NULL);
}

static void k_in_array(struct kpi_call *call)
{
    in_array(call, false);
}

static void k_in_array_nocase(struct kpi_call *call)
{
    in_array(call, true);
}

/* --- kernels --- */

#define KERNEL(name, body)                  \
    static void name(struct kpi_call *call) \
    {                                       \
        KPI_EACH(call, row, body);          \
    }

KERNEL(k_iff, array_iff(call, row))
KERNEL(k_array_split, array_split(call, row))
KERNEL(k_sort_many_asc, array_sort_many(call, row, true))
KERNEL(k_sort_many_desc, array_sort_many(call, row, false))
KERNEL(k_jaccard, jaccard_index(call, row))
KERNEL(k_set_equals, call->out->i64[row] = set_equals(call, row))
KERNEL(k_range, made_range(call, row))
KERNEL(k_repeat, repeat(call, row))
KERNEL(k_bag_zip, bag_zip(call, row))
KERNEL(k_bag_set_key, bag_set_key(call, row))
KERNEL(k_bag_pack_set, bag_pack_set(call, row))
KERNEL(k_data_size, call->out->i64[row] = data_size(call, row))
KERNEL(k_treepath, treepath(call, row))

#define NULLS KPI_FUNC_NULLS
static const struct kpi_func funcs[] = {
    {"array_iff", "y..", 'y', NULLS, k_iff, "iff() for each element of an array"},
    {"array_iif", "y..", 'y', NULLS, k_iff, "same as array_iff()"},
    {"array_split", "yl", 'y', 0, k_array_split, "an array cut at positions"},
    {"array_split", "yy", 'y', 0, k_array_split, NULL},
    {"array_sort_asc", "yyy*", 'y', NULLS, k_sort_many_asc, NULL},
    {"array_sort_asc", "yb", 'y', 0, k_sort_many_asc, NULL},
    {"array_sort_asc", "yyb", 'y', 0, k_sort_many_asc, NULL},
    {"array_sort_desc", "yyy*", 'y', NULLS, k_sort_many_desc, NULL},
    {"array_sort_desc", "yb", 'y', 0, k_sort_many_desc, NULL},
    {"array_sort_desc", "yyb", 'y', 0, k_sort_many_desc, NULL},
    {"jaccard_index", "yy", 'r', 0, k_jaccard, "how much two sets have in common, 0 to 1"},
    {"set_equals", "yy", 'b', 0, k_set_equals, "the same elements, in any order?"},
    {"range", "ll", 'y', 0, k_range, "an array of evenly spaced values"},
    {"range", "lll", 'y', 0, k_range, NULL},
    {"range", "rrr", 'y', 0, k_range, NULL},
    {"range", "ttd", 'y', 0, k_range, NULL},
    {"range", "ddd", 'y', 0, k_range, NULL},
    {"repeat", ".l", 'y', NULLS, k_repeat, "an array of one value, so many times"},
    {"bag_zip", "yy", 'y', 0, k_bag_zip, "a bag of keys and values from two arrays"},
    {"bag_set_key", "ys.", 'y', NULLS, k_bag_set_key, "a bag with one member set"},
    {"bag_pack_set", "...*", 'y', NULLS, k_bag_pack_set, NULL}, /* of pack_all */
    {"estimate_data_size", "..*", 'l', NULLS, k_data_size, "bytes of the values; * is all columns"},
    {"treepath", "y", 'y', 0, k_treepath, "paths of all members of a bag"},
    {"in_array", "sy", 'b', 0, k_in_array, NULL}, /* of in (T) */
    {"in_array~", "sy", 'b', 0, k_in_array_nocase, NULL},
};

const struct kpi_func_table kpi_funcs_set = {funcs, KP_ARRAY_LEN(funcs)};
