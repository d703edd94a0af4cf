/* SPDX-License-Identifier: Apache-2.0
 *
 * Arrays and property bags: JSON text in, JSON text out. Values are carried over as they are
 * written; two are equal when their plain texts are. What is no array gives null.
 */
#include <stdlib.h>

#include "query/elements.h"

bool kpi_array_read(struct kpi_call *call, struct kp_str json, struct kpi_elements *out)
{
    struct kpi_json_walk walk;
    struct kp_str value;
    int64_t count = 0;
    if (!kpi_json_array(json, &walk))
        return false;
    while (kpi_json_next(&walk, &value) && kpi_go_on(call->eval->ctx, value.len + 8))
        count++;
    out->values = (struct kp_str *)kpi_scratch(call->eval, ((size_t)count + 1) * sizeof(value));
    out->count = 0;
    kpi_json_array(json, &walk);
    while (out->values != NULL && out->count < count && kpi_json_next(&walk, &value) &&
           kpi_go_on(call->eval->ctx, value.len + 8))
        out->values[out->count++] = value;
    return out->values != NULL && call->eval->ctx->status == KP_OK;
}

void kpi_array_begin(struct kp_buf *out, char bracket)
{
    kp_buf_clear(out);
    kp_buf_char(out, bracket);
}

void kpi_array_add(struct kp_buf *out, struct kp_str value)
{
    if (out->size > 1)
        kp_buf_char(out, ',');
    kp_buf_str(out, value.len == 0 ? KP_STR("null") : value);
}

void kpi_bag_add(struct kp_buf *out, struct kp_str key, struct kp_str value)
{
    kp_buf_text(out, out->size > 1 ? ",\"" : "\"");
    kp_buf_str(out, key);
    kp_buf_text(out, "\":");
    kp_buf_str(out, value.len == 0 ? KP_STR("null") : value);
}

/* Ends the array or bag and makes it the answer. */
void kpi_array_finish(struct kpi_call *call, uint32_t row, struct kp_buf *out, char bracket)
{
    kp_buf_char(out, bracket);
    kpi_set_buf(call, row, out);
}

struct kp_str kpi_text_arg(const struct kpi_call *call, uint32_t arg, uint32_t row)
{
    return kp_vec_str(call->args[arg], row);
}

int64_t kpi_long_arg(const struct kpi_call *call, uint32_t arg, uint32_t row, int64_t otherwise)
{
    bool given = arg < call->args_count && !kp_vec_null(call->args[arg], row);
    return given ? call->args[arg]->i64[row] : otherwise;
}

/* An argument of any type as JSON, in scratch memory. */
struct kp_str kpi_json_arg(struct kpi_call *call, uint32_t arg, uint32_t row)
{
    struct kp_buf text = kpi_buf(call->eval);
    struct kpi_value value = kpi_vec_value(call->args[arg], row);
    kpi_json_value(&value, &text);
    char *copy = kpi_scratch(call->eval, text.size + 1);
    struct kp_str json = {copy, copy == NULL ? 0 : (uint32_t)text.size};
    if (copy != NULL)
        memcpy(copy, kp_buf_cstr(&text), text.size);
    kp_buf_deinit(&text);
    return json;
}

static bool same(struct kpi_call *call, struct kp_str a, struct kp_str b)
{
    return kp_str_equal(kpi_json_plain(call->eval, a), kpi_json_plain(call->eval, b));
}

bool kpi_array_holds(struct kpi_call *call, const struct kpi_elements *set, struct kp_str value)
{
    for (int64_t i = 0; i < set->count && kpi_go_on(call->eval->ctx, 8); i++)
        if (same(call, set->values[i], value))
            return true;
    return false;
}

/* Value text is not terminated, so it is copied before the C library reads it. */
bool kpi_json_number(struct kp_str text, double *out)
{
    char copy[64], *end;
    uint32_t length = KP_MIN(text.len, (uint32_t)sizeof(copy) - 1);
    if (length > 0)
        memcpy(copy, text.ptr, length);
    copy[length] = '\0';
    *out = strtod(copy, &end);
    return end > copy;
}

/* --- parts and order --- */

static void array_concat(struct kpi_call *call, uint32_t row)
{
    struct kp_buf out = kpi_buf(call->eval);
    struct kpi_elements all;
    kpi_array_begin(&out, '[');
    for (uint32_t a = 0; a < call->args_count; a++)
        if (kpi_array_read(call, kpi_text_arg(call, a, row), &all))
            for (int64_t i = 0; i < all.count; i++)
                kpi_array_add(&out, all.values[i]);
    kpi_array_finish(call, row, &out, ']');
}

static void array_slice(struct kpi_call *call, uint32_t row)
{
    struct kp_buf out = kpi_buf(call->eval);
    struct kpi_elements all;
    if (!kpi_array_read(call, kpi_text_arg(call, 0, row), &all)) {
        kpi_set_str(call, row, "", 0);
        return;
    }
    int64_t from = kpi_long_arg(call, 1, row, 0), to = kpi_long_arg(call, 2, row, -1);
    from = from < 0 ? KP_MAX(from + all.count, 0) : from;
    to = to < 0 ? to + all.count : KP_MIN(to, all.count - 1);
    kpi_array_begin(&out, '[');
    for (int64_t i = from; i <= to; i++)
        kpi_array_add(&out, all.values[i]);
    kpi_array_finish(call, row, &out, ']');
}

/* Rotates (or, with a filler, shifts) by n to the left. */
static void move(struct kpi_call *call, uint32_t row, int64_t sign, bool rotate)
{
    struct kp_buf out = kpi_buf(call->eval);
    struct kpi_elements all;
    if (!kpi_array_read(call, kpi_text_arg(call, 0, row), &all)) {
        kpi_set_str(call, row, "", 0);
        return;
    }
    int64_t by = kpi_long_arg(call, 1, row, 0);
    struct kp_str filler = call->args_count > 2 ? kpi_json_arg(call, 2, row) : KP_STR("null");
    by = rotate && all.count > 0 ? by % all.count : KP_MAX(KP_MIN(by, all.count), -all.count);
    kpi_array_begin(&out, '[');
    for (int64_t i = 0; i < all.count; i++) {
        int64_t from = i + sign * by;
        bool inside = from >= 0 && from < all.count;
        if (rotate)
            kpi_array_add(&out, all.values[(from + all.count) % all.count]);
        else
            kpi_array_add(&out, inside ? all.values[from] : filler);
    }
    kpi_array_finish(call, row, &out, ']');
}

static void array_reverse(struct kpi_call *call, uint32_t row)
{
    struct kp_buf out = kpi_buf(call->eval);
    struct kpi_elements all;
    if (!kpi_array_read(call, kpi_text_arg(call, 0, row), &all)) {
        kpi_set_str(call, row, "", 0);
        return;
    }
    kpi_array_begin(&out, '[');
    for (int64_t i = all.count; i > 0; i--)
        kpi_array_add(&out, all.values[i - 1]);
    kpi_array_finish(call, row, &out, ']');
}

/* Numbers by value, before texts by their bytes. */
int kpi_json_order(const void *left, const void *right)
{
    const struct kp_str *a = left, *b = right;
    bool text_a = a->len > 0 && a->ptr[0] == '"', text_b = b->len > 0 && b->ptr[0] == '"';
    if (text_a != text_b)
        return text_a - text_b;
    if (text_a)
        return kp_str_compare(*a, *b);
    double x, y;
    kpi_json_number(*a, &x);
    kpi_json_number(*b, &y);
    return x != y ? (x > y) - (x < y) : kp_str_compare(*a, *b);
}

static void array_sort(struct kpi_call *call, uint32_t row, bool ascending)
{
    struct kp_buf out = kpi_buf(call->eval);
    struct kpi_elements all;
    if (!kpi_array_read(call, kpi_text_arg(call, 0, row), &all)) {
        kpi_set_str(call, row, "", 0);
        return;
    }
    int64_t values = 0;
    for (int64_t i = 0; i < all.count; i++) /* nulls come last either way */
        if (!kp_str_equal(all.values[i], KP_STR("null")))
            all.values[values++] = all.values[i];
    if (values > 0)
        kpi_sort(call->eval, all.values, (size_t)values, sizeof(*all.values), kpi_json_order);
    kpi_array_begin(&out, '[');
    for (int64_t i = 0; i < values; i++)
        kpi_array_add(&out, all.values[ascending ? i : values - 1 - i]);
    for (int64_t i = values; i < all.count; i++)
        kpi_array_add(&out, KP_STR("null"));
    kpi_array_finish(call, row, &out, ']');
}

/* --- questions --- */

static int64_t array_index_of(struct kpi_call *call, uint32_t row)
{
    struct kpi_elements all;
    struct kp_str wanted = kpi_json_arg(call, 1, row);
    if (!kpi_array_read(call, kpi_text_arg(call, 0, row), &all))
        return -1;
    int64_t from = kpi_long_arg(call, 2, row, 0), length = kpi_long_arg(call, 3, row, -1);
    int64_t nth = kpi_long_arg(call, 4, row, 1);
    from = from < 0 ? KP_MAX(from + all.count, 0) : from;
    int64_t to = length < 0 || length > all.count - from ? all.count : from + length;
    for (int64_t i = from; i < to; i++)
        if (same(call, all.values[i], wanted) && --nth <= 0)
            return i;
    return -1;
}

static bool set_has(struct kpi_call *call, uint32_t row)
{
    struct kpi_elements all;
    struct kp_str wanted = kpi_json_arg(call, 1, row);
    return kpi_array_read(call, kpi_text_arg(call, 0, row), &all) &&
           kpi_array_holds(call, &all, wanted);
}

static void array_sum(struct kpi_call *call, uint32_t row)
{
    struct kpi_elements all;
    call->out->f64[row] = 0;
    if (!kpi_array_read(call, kpi_text_arg(call, 0, row), &all)) {
        kpi_set_null(call, row);
        return;
    }
    for (int64_t i = 0; i < all.count; i++) {
        double value;
        if (kpi_json_number(all.values[i], &value))
            call->out->f64[row] += value;
        else
            kpi_set_null(call, row);
    }
}

static void strcat_array(struct kpi_call *call, uint32_t row)
{
    struct kp_buf out = kpi_buf(call->eval);
    struct kpi_elements all = {NULL, 0};
    kpi_array_read(call, kpi_text_arg(call, 0, row), &all);
    for (int64_t i = 0; i < all.count; i++) {
        if (i > 0)
            kp_buf_str(&out, kpi_text_arg(call, 1, row));
        kp_buf_str(&out, kpi_json_plain(call->eval, all.values[i]));
    }
    kpi_set_buf(call, row, &out);
}

/* --- sets --- */

enum { SET_UNION, SET_INTERSECT, SET_DIFFERENCE };

static bool wanted_in_set(struct kpi_call *call, uint32_t row, int op, struct kp_str value)
{
    for (uint32_t a = 1; op != SET_UNION && a < call->args_count; a++) {
        struct kpi_elements other = {NULL, 0};
        kpi_array_read(call, kpi_text_arg(call, a, row), &other);
        if (kpi_array_holds(call, &other, value) != (op == SET_INTERSECT))
            return false;
    }
    return true;
}

static void set_op(struct kpi_call *call, uint32_t row, int op)
{
    struct kp_buf out = kpi_buf(call->eval);
    uint32_t sources = op == SET_UNION ? call->args_count : 1;
    kpi_array_begin(&out, '[');
    for (uint32_t a = 0; a < sources; a++) {
        struct kpi_elements all = {NULL, 0}, so_far = {NULL, 0};
        kpi_array_read(call, kpi_text_arg(call, a, row), &all);
        for (int64_t i = 0; i < all.count && call->eval->ctx->status == KP_OK; i++) {
            struct kp_str text = {out.data, (uint32_t)out.size};
            bool seen = kpi_array_read(call, text, &so_far) &&
                        kpi_array_holds(call, &so_far, all.values[i]);
            if (!seen && wanted_in_set(call, row, op, all.values[i]))
                kpi_array_add(&out, all.values[i]);
        }
    }
    kpi_array_finish(call, row, &out, ']');
}

/* --- making arrays and bags --- */

static void pack_array(struct kpi_call *call, uint32_t row)
{
    struct kp_buf out = kpi_buf(call->eval);
    kpi_array_begin(&out, '[');
    for (uint32_t a = 0; a < call->args_count; a++)
        kpi_array_add(&out, kpi_json_arg(call, a, row));
    kpi_array_finish(call, row, &out, ']');
}

static void bag_pack(struct kpi_call *call, uint32_t row)
{
    struct kp_buf out = kpi_buf(call->eval);
    kpi_array_begin(&out, '{');
    for (uint32_t a = 0; a + 1 < call->args_count; a += 2) {
        struct kp_str key = kpi_json_arg(call, a, row);
        bool quoted = key.len >= 2 && key.ptr[0] == '"';
        if (quoted)
            key = (struct kp_str){key.ptr + 1, key.len - 2};
        kpi_bag_add(&out, key, kpi_json_arg(call, a + 1, row));
    }
    kpi_array_finish(call, row, &out, '}');
}

static void bag_keys(struct kpi_call *call, uint32_t row)
{
    struct kp_buf out = kpi_buf(call->eval);
    struct kpi_json_walk walk;
    struct kp_str key, value;
    if (!kpi_json_object(kpi_text_arg(call, 0, row), &walk)) {
        kpi_set_str(call, row, "", 0);
        return;
    }
    kpi_array_begin(&out, '[');
    while (kpi_json_next_member(&walk, &key, &value)) {
        kp_buf_text(&out, out.size > 1 ? ",\"" : "\"");
        kp_buf_str(&out, key);
        kp_buf_char(&out, '"');
    }
    kpi_array_finish(call, row, &out, ']');
}

/* Members of all bags; the first bag that has a key gives its value. */
static void bag_merge(struct kpi_call *call, uint32_t row)
{
    struct kp_buf out = kpi_buf(call->eval);
    kpi_array_begin(&out, '{');
    for (uint32_t a = 0; a < call->args_count; a++) {
        struct kpi_json_walk walk;
        struct kp_str key, value;
        bool more = kpi_json_object(kpi_text_arg(call, a, row), &walk);
        while (more && kpi_json_next_member(&walk, &key, &value)) {
            bool taken = false;
            for (uint32_t b = 0; b < a && !taken; b++)
                taken = !kpi_go_on(call->eval->ctx, kpi_text_arg(call, b, row).len) ||
                        kpi_json_member(kpi_text_arg(call, b, row), key).ptr != NULL;
            if (!taken)
                kpi_bag_add(&out, key, value);
        }
    }
    kpi_array_finish(call, row, &out, '}');
}

static void bag_remove_keys(struct kpi_call *call, uint32_t row)
{
    struct kp_buf out = kpi_buf(call->eval);
    struct kpi_elements keys = {NULL, 0};
    struct kpi_json_walk walk;
    struct kp_str key, value;
    kpi_array_read(call, kpi_text_arg(call, 1, row), &keys);
    bool more = kpi_json_object(kpi_text_arg(call, 0, row), &walk);
    kpi_array_begin(&out, '{');
    while (more && kpi_json_next_member(&walk, &key, &value)) {
        bool removed = false;
        for (int64_t i = 0; i < keys.count && !removed; i++)
            removed = !kpi_go_on(call->eval->ctx, 8) ||
                      kp_str_equal(kpi_json_plain(call->eval, keys.values[i]), key);
        if (!removed)
            kpi_bag_add(&out, key, value);
    }
    kpi_array_finish(call, row, &out, '}');
}

/* zip([1,2], [3]) is [[1,3],[2,null]]. */
static void zip(struct kpi_call *call, uint32_t row)
{
    struct kp_buf out = kpi_buf(call->eval);
    struct kpi_elements arrays[KPI_ARGS_MAX];
    int64_t longest = 0;
    for (uint32_t a = 0; a < call->args_count; a++) {
        arrays[a] = (struct kpi_elements){NULL, 0};
        kpi_array_read(call, kpi_text_arg(call, a, row), &arrays[a]);
        longest = KP_MAX(longest, arrays[a].count);
    }
    kpi_array_begin(&out, '[');
    for (int64_t i = 0; i < longest; i++) {
        kp_buf_text(&out, i > 0 ? ",[" : "[");
        for (uint32_t a = 0; a < call->args_count; a++) {
            kp_buf_text(&out, a > 0 ? "," : "");
            kp_buf_str(&out, i < arrays[a].count ? arrays[a].values[i] : KP_STR("null"));
        }
        kp_buf_char(&out, ']');
    }
    kpi_array_finish(call, row, &out, ']');
}

/* --- kernels --- */

#define KERNEL(name, body)                  \
    static void name(struct kpi_call *call) \
    {                                       \
        KPI_EACH(call, row, body);          \
    }

KERNEL(k_concat, array_concat(call, row))
KERNEL(k_slice, array_slice(call, row))
KERNEL(k_rotate_left, move(call, row, 1, true))
KERNEL(k_rotate_right, move(call, row, -1, true))
KERNEL(k_shift_left, move(call, row, 1, false))
KERNEL(k_shift_right, move(call, row, -1, false))
KERNEL(k_reverse, array_reverse(call, row))
KERNEL(k_sort_asc, array_sort(call, row, true))
KERNEL(k_sort_desc, array_sort(call, row, false))
KERNEL(k_index_of, call->out->i64[row] = array_index_of(call, row))
KERNEL(k_sum, array_sum(call, row))
KERNEL(k_strcat_array, strcat_array(call, row))
KERNEL(k_set_has, call->out->i64[row] = set_has(call, row))
KERNEL(k_set_union, set_op(call, row, SET_UNION))
KERNEL(k_set_intersect, set_op(call, row, SET_INTERSECT))
KERNEL(k_set_difference, set_op(call, row, SET_DIFFERENCE))
KERNEL(k_pack_array, pack_array(call, row))
KERNEL(k_bag_pack, bag_pack(call, row))
KERNEL(k_bag_keys, bag_keys(call, row))
KERNEL(k_bag_merge, bag_merge(call, row))
KERNEL(k_bag_has_key,
       call->out->i64[row] =
           kpi_json_member(kpi_text_arg(call, 0, row), kpi_text_arg(call, 1, row)).ptr != NULL)
KERNEL(k_bag_remove_keys, bag_remove_keys(call, row))
KERNEL(k_zip, zip(call, row))

#define NULLS KPI_FUNC_NULLS
static const struct kpi_func funcs[] = {
    {"array_concat", "yy*", 'y', NULLS, k_concat, "elements of all arrays"},
    {"array_slice", "yll", 'y', 0, k_slice,
     "elements from a position to another; negative from the end"},
    {"array_rotate_left", "yl", 'y', 0, k_rotate_left, "elements moved round to the left"},
    {"array_rotate_right", "yl", 'y', 0, k_rotate_right, "elements moved round to the right"},
    {"array_shift_left", "yl", 'y', 0, k_shift_left, "elements moved to the left, nulls follow"},
    {"array_shift_left", "yl.", 'y', NULLS, k_shift_left, NULL},
    {"array_shift_right", "yl", 'y', 0, k_shift_right, "elements moved to the right"},
    {"array_shift_right", "yl.", 'y', NULLS, k_shift_right, NULL},
    {"array_reverse", "y", 'y', 0, k_reverse, "elements in reverse order"},
    {"array_sort_asc", "y", 'y', 0, k_sort_asc, "elements in order, numbers before texts"},
    {"array_sort_desc", "y", 'y', 0, k_sort_desc, "elements in descending order"},
    {"array_index_of", "y.", 'l', NULLS, k_index_of, "position of a value, -1 when absent"},
    {"array_index_of", "y.l", 'l', NULLS, k_index_of, NULL},
    {"array_index_of", "y.ll", 'l', NULLS, k_index_of, NULL},
    {"array_index_of", "y.lll", 'l', NULLS, k_index_of, NULL},
    {"array_sum", "y", 'r', 0, k_sum, "sum of the numbers of an array"},
    {"strcat_array", "ys", 's', 0, k_strcat_array, "elements joined by a text"},
    {"set_has_element", "y.", 'b', NULLS, k_set_has, "is the value in the array?"},
    {"set_union", "yy*", 'y', 0, k_set_union, "different elements of all arrays"},
    {"set_intersect", "yyy*", 'y', 0, k_set_intersect, "different elements that all arrays have"},
    {"set_difference", "yyy*", 'y', 0, k_set_difference,
     "different elements of the first array that no other has"},
    {"pack_array", ".*", 'y', NULLS, k_pack_array, "an array of the arguments"},
    {"bag_pack", "...*", 'y', NULLS, k_bag_pack, "a bag of names and values in turn"},
    {"pack", "...*", 'y', NULLS, k_bag_pack, "same as bag_pack()"},
    {"bag_keys", "y", 'y', 0, k_bag_keys, "names of the members of a bag"},
    {"bag_merge", "yy*", 'y', 0, k_bag_merge, "members of all bags, the first one's win"},
    {"bag_has_key", "ys", 'b', 0, k_bag_has_key, "has the bag a member of this name?"},
    {"bag_remove_keys", "yy", 'y', 0, k_bag_remove_keys, "a bag without these members"},
    {"pack_dictionary", "...*", 'y', NULLS, k_bag_pack, "same as bag_pack()"},
    {"zip", "yyy*", 'y', NULLS, k_zip, "arrays of the elements at the same position"},
};

const struct kpi_func_table kpi_funcs_array = {funcs, KP_ARRAY_LEN(funcs)};
