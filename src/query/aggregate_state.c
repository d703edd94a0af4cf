/* SPDX-License-Identifier: Apache-2.0
 *
 * Further aggregates: weights, covariance, bags, schemas, and the states of hll() and tdigest(),
 * which are exact: an array of the hashes of the different values, and an array of [value, count]
 * in order. States of groups and of days can be merged later without loss.
 */
#include <math.h>
#include <stdlib.h>

#include "base/hash.h"
#include "query/aggregate.h"
#include "query/func.h"
#include "query/parse.h"

/* A row of a fold with the state of its group; NULL when its first value is null. */
static void *state_at(struct kpi_fold *fold, uint32_t i, uint32_t *out_row)
{
    *out_row = fold->sel != NULL ? fold->sel[i] : i;
    for (uint32_t a = 0; a < fold->aggregate->args_count; a++)
        if (kp_vec_null(fold->args[a], *out_row))
            return NULL;
    return kpi_aggregate_state(fold->aggregate, fold->groups[i]);
}

static void answer(struct kpi_aggregate *aggregate, struct kp_buf *json, struct kpi_value *out)
{
    out->str =
        kp_arena_str(aggregate->ctx->arena,
                     (struct kp_str){json->size == 0 ? "" : json->data, (uint32_t)json->size});
    if (out->str.ptr == NULL || json->failed)
        kpi_fail_memory(aggregate->ctx);
    kp_buf_deinit(json);
}

/* --- covariance: Welford's update for two variables --- */

struct pair_state {
    double mean_x, mean_y, products;
    int64_t count;
};

static void fold_pair(struct kpi_fold *fold)
{
    for (uint32_t i = 0; i < fold->count; i++) {
        uint32_t row;
        struct pair_state *s = state_at(fold, i, &row);
        if (s == NULL)
            continue;
        double x = fold->args[0]->f64[row], y = fold->args[1]->f64[row];
        double delta = x - s->mean_x;
        s->count++;
        s->mean_x += delta / (double)s->count;
        s->mean_y += (y - s->mean_y) / (double)s->count;
        s->products += delta * (y - s->mean_y);
    }
}

static void finish_covariance(struct kpi_aggregate *aggregate, void *state, struct kpi_value *out)
{
    struct pair_state *s = state;
    (void)aggregate;
    out->f64 = s->count < 2 ? 0 : s->products / (double)(s->count - 1);
}

static void finish_covariancep(struct kpi_aggregate *aggregate, void *state, struct kpi_value *out)
{
    struct pair_state *s = state;
    (void)aggregate;
    out->f64 = s->count == 0 ? 0 : s->products / (double)s->count;
}

/* --- growing lists of pairs: weighted percentiles, tdigest, hll --- */

struct entry {
    double value, weight;
    uint64_t hash;
    uint32_t order;
};

struct entries_state {
    struct entry *entries;
    uint32_t count, capacity;
};

static bool add_entry(struct kpi_aggregate *aggregate, struct entries_state *s, struct entry entry)
{
    if (s->count == s->capacity) {
        uint32_t capacity = s->capacity == 0 ? 8 : s->capacity * 2;
        struct entry *more = kpi_new(aggregate->ctx, capacity, sizeof(*more));
        if (more == NULL)
            return false;
        if (s->count > 0)
            memcpy(more, s->entries, s->count * sizeof(*more));
        s->entries = more;
        s->capacity = capacity;
    }
    entry.order = s->count;
    s->entries[s->count++] = entry;
    return true;
}

static int by_value(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return x->value != y->value ? (x->value > y->value) - (x->value < y->value)
                                : (x->order > y->order) - (x->order < y->order);
}

static int by_hash(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return (x->hash > y->hash) - (x->hash < y->hash);
}

static double number_at(const struct kp_vec *vec, uint32_t row)
{
    return vec->type == KP_TYPE_F64 ? vec->f64[row] : (double)vec->i64[row];
}

/* The second argument is the weight, when there is one. */
static void fold_weighted(struct kpi_fold *fold)
{
    bool weights = fold->aggregate->args_count > 1;
    for (uint32_t i = 0; i < fold->count; i++) {
        uint32_t row;
        struct entries_state *s = state_at(fold, i, &row);
        if (s == NULL)
            continue;
        struct entry entry = {.value = number_at(fold->args[0], row), .weight = 1};
        if (weights)
            entry.weight = number_at(fold->args[1], row);
        if (entry.weight > 0 && !add_entry(fold->aggregate, s, entry))
            return;
    }
}

/* Nearest rank over weights: the first value with p percent of the weight at or below it. */
static void finish_weighted(struct kpi_aggregate *aggregate, void *state, struct kpi_value *out)
{
    struct entries_state *s = state;
    double total = 0, seen = 0, value = 0;
    out->null = s->count == 0;
    if (s->count == 0)
        return;
    qsort(s->entries, s->count, sizeof(*s->entries), by_value);
    for (uint32_t i = 0; i < s->count; i++)
        total += s->entries[i].weight;
    double rank = ceil(aggregate->parameter / 100 * total);
    for (uint32_t i = 0; i < s->count && (i == 0 || seen < KP_MAX(rank, 1)); i++) {
        value = s->entries[i].value;
        seen += s->entries[i].weight;
    }
    if (aggregate->type == KP_TYPE_F64)
        out->f64 = value;
    else
        out->i64 = (int64_t)value;
}

/* --- tdigest --- */

static void finish_digest(struct kpi_aggregate *aggregate, void *state, struct kpi_value *out)
{
    struct entries_state *s = state;
    struct kp_buf json = {0};
    if (s->count == 0) {
        out->str = KP_STR("");
        return;
    }
    qsort(s->entries, s->count, sizeof(*s->entries), by_value);
    kp_buf_char(&json, '[');
    for (uint32_t i = 0; i < s->count;) {
        struct kpi_value value = {.type = KP_TYPE_F64, .f64 = s->entries[i].value};
        double weight = 0;
        for (uint32_t first = i; i < s->count && s->entries[i].value == s->entries[first].value;
             i++)
            weight += s->entries[i].weight;
        kp_buf_text(&json, json.size > 1 ? ",[" : "[");
        kpi_json_value(&value, &json);
        kp_buf_printf(&json, ",%.0f]", weight);
    }
    kp_buf_char(&json, ']');
    answer(aggregate, &json, out);
}

static void merge_digest(struct kpi_aggregate *aggregate, struct entries_state *s,
                         struct kp_str json)
{
    struct kpi_json_walk walk;
    struct kp_str pair;
    bool more = kpi_json_array(json, &walk);
    while (more && kpi_json_next(&walk, &pair)) {
        struct kpi_value value = {0}, weight = {0};
        struct kp_str first = kpi_json_element(pair, 0), second = kpi_json_element(pair, 1);
        if (first.ptr == NULL || second.ptr == NULL || !kpi_literal_real(first, &value) ||
            !kpi_literal_real(second, &weight))
            continue;
        struct entry entry = {.value = value.f64, .weight = weight.f64};
        if (!add_entry(aggregate, s, entry))
            return;
    }
}

static void fold_digests(struct kpi_fold *fold)
{
    for (uint32_t i = 0; i < fold->count; i++) {
        uint32_t row;
        struct entries_state *s = state_at(fold, i, &row);
        if (s != NULL)
            merge_digest(fold->aggregate, s, kp_vec_str(fold->args[0], row));
    }
}

/* --- hll: 48-bit hashes, which a JSON number holds exactly --- */

#define HASH_MASK ((1ull << 48) - 1)

static void sort_hashes(struct entries_state *s)
{
    uint32_t kept = 0;
    if (s->count == 0)
        return;
    qsort(s->entries, s->count, sizeof(*s->entries), by_hash);
    for (uint32_t i = 0; i < s->count; i++)
        if (i == 0 || s->entries[i].hash != s->entries[kept - 1].hash)
            s->entries[kept++] = s->entries[i];
    s->count = kept;
}

/* Doubles are thrown out whenever the room is full, so a state holds what is different. */
static bool add_hash(struct kpi_aggregate *aggregate, struct entries_state *s, uint64_t hash)
{
    if (s->count == s->capacity)
        sort_hashes(s);
    return add_entry(aggregate, s, (struct entry){.hash = hash});
}

static void fold_hash(struct kpi_fold *fold)
{
    for (uint32_t i = 0; i < fold->count; i++) {
        uint32_t row;
        struct entries_state *s = state_at(fold, i, &row);
        if (s == NULL)
            continue;
        struct kp_buf text = {0};
        struct kpi_value value = kpi_vec_value(fold->args[0], row);
        kpi_json_value(&value, &text);
        uint64_t hash = kp_hash64(kp_buf_cstr(&text), text.size, 0) & HASH_MASK;
        kp_buf_deinit(&text);
        if (!add_hash(fold->aggregate, s, hash))
            return;
    }
}

static void fold_hashes(struct kpi_fold *fold)
{
    for (uint32_t i = 0; i < fold->count; i++) {
        uint32_t row;
        struct kpi_json_walk walk;
        struct kp_str value;
        struct kpi_value number;
        struct entries_state *s = state_at(fold, i, &row);
        bool more = s != NULL && kpi_json_array(kp_vec_str(fold->args[0], row), &walk);
        while (more && kpi_json_next(&walk, &value))
            if (kpi_literal_long(value, &number) &&
                !add_hash(fold->aggregate, s, (uint64_t)number.i64))
                return;
    }
}

static void finish_hashes(struct kpi_aggregate *aggregate, void *state, struct kpi_value *out)
{
    struct entries_state *s = state;
    struct kp_buf json = {0};
    if (s->count == 0) {
        out->str = KP_STR("");
        return;
    }
    sort_hashes(s);
    for (uint32_t i = 0; i < s->count; i++)
        kp_buf_printf(&json, "%c%llu", i > 0 ? ',' : '[', (unsigned long long)s->entries[i].hash);
    kp_buf_char(&json, ']');
    answer(aggregate, &json, out);
}

/* --- bags and schemas: text that grows in the arena --- */

struct text_state {
    char *text;
    uint32_t size, capacity;
    int64_t count;
};

static bool append(struct kpi_aggregate *aggregate, struct text_state *s, struct kp_str text)
{
    if (text.len > s->capacity - s->size) {
        uint64_t capacity = KP_MAX((uint64_t)s->capacity * 2, (uint64_t)s->size + text.len + 64);
        char *more = capacity > UINT32_MAX ? NULL : kpi_new(aggregate->ctx, capacity, 1);
        if (more == NULL)
            return false;
        if (s->size > 0)
            memcpy(more, s->text, s->size);
        s->text = more;
        s->capacity = (uint32_t)capacity;
    }
    if (text.len > 0)
        memcpy(s->text + s->size, text.ptr, text.len);
    s->size += text.len;
    return true;
}

/* Has the bag under construction, without its last bracket, this member? */
static bool has_member(struct kpi_aggregate *aggregate, struct text_state *s, struct kp_str key)
{
    if (s->size == 0 || !append(aggregate, s, KP_STR("}")))
        return false;
    s->size--;
    return kpi_json_member((struct kp_str){s->text, s->size + 1}, key).ptr != NULL;
}

/* The first value of a key stays; a parameter bounds the number of members. */
static void add_members(struct kpi_aggregate *aggregate, struct text_state *s, struct kp_str bag)
{
    struct kpi_json_walk walk;
    struct kp_str key, value;
    bool more = kpi_json_object(bag, &walk);
    double most = aggregate->parameter;
    while (more && kpi_json_next_member(&walk, &key, &value)) {
        if (has_member(aggregate, s, key) || (most > 0 && (double)s->count >= most))
            continue;
        bool good = append(aggregate, s, s->count++ > 0 ? KP_STR(",\"") : KP_STR("{\"")) &&
                    append(aggregate, s, key) && append(aggregate, s, KP_STR("\":")) &&
                    append(aggregate, s, value);
        if (!good)
            return;
    }
}

static void fold_bag(struct kpi_fold *fold)
{
    for (uint32_t i = 0; i < fold->count; i++) {
        uint32_t row;
        struct text_state *s = state_at(fold, i, &row);
        if (s != NULL)
            add_members(fold->aggregate, s, kp_vec_str(fold->args[0], row));
    }
}

static void finish_bag(struct kpi_aggregate *aggregate, void *state, struct kpi_value *out)
{
    struct text_state *s = state;
    if (s->count == 0)
        out->str = KP_STR("{}");
    else if (append(aggregate, s, KP_STR("}")))
        out->str = (struct kp_str){s->text, s->size};
}

/* --- buildschema: the type of each member, ["long","string"] when there are several --- */

static struct kp_str json_type(struct kp_str json)
{
    char first = json.len == 0 ? 'n' : json.ptr[0];
    if (first == '"' || first == '\'')
        return KP_STR("\"string\"");
    if (first == 't' || first == 'f')
        return KP_STR("\"bool\"");
    if (first == 'n')
        return KP_STR("");
    bool point = memchr(json.ptr, '.', json.len) != NULL || memchr(json.ptr, 'e', json.len) != NULL;
    return point ? KP_STR("\"double\"") : KP_STR("\"long\"");
}

/* Lines "path type" in order of appearance, each once. */
static void add_type(struct kpi_aggregate *aggregate, struct text_state *s, struct kp_str path,
                     struct kp_str json, int depth)
{
    struct kpi_json_walk walk;
    struct kp_str key, value;
    struct kp_buf line = {0};
    char first = json.len == 0 ? 'n' : json.ptr[0];
    bool object = first == '{' && depth < 32 && kpi_json_object(json, &walk);
    bool array = first == '[' && depth < 32 && kpi_json_array(json, &walk);
    while (object && kpi_json_next_member(&walk, &key, &value)) {
        kp_buf_clear(&line);
        kp_buf_printf(&line, "%.*s\"%.*s\"\t", (int)path.len, path.ptr, (int)key.len, key.ptr);
        add_type(aggregate, s, (struct kp_str){line.data, (uint32_t)line.size}, value, depth + 1);
    }
    while (array && kpi_json_next(&walk, &value)) {
        kp_buf_clear(&line);
        kp_buf_printf(&line, "%.*s\"`indexer`\"\t", (int)path.len, path.ptr);
        add_type(aggregate, s, (struct kp_str){line.data, (uint32_t)line.size}, value, depth + 1);
    }
    struct kp_str type = object || array ? KP_STR("") : json_type(json);
    if (type.len > 0) {
        kp_buf_clear(&line);
        kp_buf_printf(&line, "\n%.*s%s\n", (int)path.len, path.ptr, type.ptr);
        bool known = s->size >= line.size && memmem(s->text, s->size, line.data, line.size) != NULL;
        if (!known)
            append(aggregate, s, (struct kp_str){line.data, (uint32_t)line.size});
    }
    kp_buf_deinit(&line);
}

static void fold_schema(struct kpi_fold *fold)
{
    for (uint32_t i = 0; i < fold->count; i++) {
        uint32_t row;
        struct text_state *s = state_at(fold, i, &row);
        if (s != NULL)
            add_type(fold->aggregate, s, KP_STR(""), kp_vec_str(fold->args[0], row), 0);
    }
}

struct lines {
    struct kp_str items[1024];
    uint32_t count;
};

static void read_lines(const struct text_state *s, struct lines *out)
{
    uint32_t from = 0;
    out->count = 0;
    for (uint32_t i = 0; i < s->size; i++) {
        if (s->text[i] != '\n')
            continue;
        if (i > from && out->count < KP_ARRAY_LEN(out->items))
            out->items[out->count++] = (struct kp_str){s->text + from, i - from};
        from = i + 1;
    }
}

/* What lines with this prefix say: a type, several, or an object of members. */
static void write_schema(const struct lines *lines, struct kp_str prefix, struct kp_buf *out)
{
    struct kp_str done[128];
    uint32_t members = 0, types = 0;
    struct kp_buf plain = {0}, object = {0};
    for (uint32_t i = 0; i < lines->count; i++) {
        struct kp_str line = lines->items[i];
        if (line.len < prefix.len || memcmp(line.ptr, prefix.ptr, prefix.len) != 0)
            continue;
        struct kp_str rest = {line.ptr + prefix.len, line.len - prefix.len};
        const char *tab = memchr(rest.ptr, '\t', rest.len);
        if (tab == NULL) {
            kp_buf_text(&plain, types++ > 0 ? "," : "");
            kp_buf_str(&plain, rest);
            continue;
        }
        struct kp_str name = {rest.ptr, (uint32_t)(tab - rest.ptr)};
        bool seen = members == KP_ARRAY_LEN(done);
        for (uint32_t d = 0; d < members && !seen; d++)
            seen = kp_str_equal(done[d], name);
        if (seen)
            continue;
        kp_buf_text(&object, members > 0 ? "," : "");
        done[members++] = name;
        kp_buf_str(&object, name);
        kp_buf_char(&object, ':');
        write_schema(lines, (struct kp_str){line.ptr, prefix.len + name.len + 1}, &object);
    }
    uint32_t kinds = types + (members > 0);
    kp_buf_text(out, kinds > 1 ? "[" : "");
    kp_buf_text(out, kp_buf_cstr(&plain));
    kp_buf_text(out, types > 0 && members > 0 ? ",{" : members > 0 ? "{" : "");
    kp_buf_text(out, kp_buf_cstr(&object));
    kp_buf_text(out, members > 0 ? "}" : "");
    kp_buf_text(out, kinds > 1 ? "]" : "");
    kp_buf_deinit(&plain);
    kp_buf_deinit(&object);
}

static void finish_schema(struct kpi_aggregate *aggregate, void *state, struct kpi_value *out)
{
    struct text_state *s = state;
    struct kp_buf json = {0};
    struct lines *lines = kpi_new(aggregate->ctx, 1, sizeof(*lines));
    out->str = KP_STR("");
    if (lines == NULL || s->size == 0)
        return;
    read_lines(s, lines);
    write_schema(lines, KP_STR(""), &json);
    answer(aggregate, &json, out);
}

/* --- make_list_with_nulls --- */

static void fold_values(struct kpi_fold *fold)
{
    for (uint32_t i = 0; i < fold->count; i++) {
        uint32_t row = fold->sel != NULL ? fold->sel[i] : i;
        struct text_state *s = kpi_aggregate_state(fold->aggregate, fold->groups[i]);
        struct kp_buf text = {0};
        struct kpi_value value = kpi_vec_value(fold->args[0], row);
        kp_buf_char(&text, s->count++ > 0 ? ',' : '[');
        kpi_json_value(&value, &text);
        bool good = append(fold->aggregate, s, (struct kp_str){text.data, (uint32_t)text.size});
        kp_buf_deinit(&text);
        if (!good)
            return;
    }
}

static void finish_values(struct kpi_aggregate *aggregate, void *state, struct kpi_value *out)
{
    struct text_state *s = state;
    if (s->count == 0)
        out->str = KP_STR("[]");
    else if (append(aggregate, s, KP_STR("]")))
        out->str = (struct kp_str){s->text, s->size};
}

#define SIZE(type) sizeof(struct type)
static const struct kpi_aggregate_func funcs[] = {
    {"covariance", "rr", 'r', SIZE(pair_state), true, fold_pair, finish_covariance,
     "covariance of a sample"},
    {"covariancep", "rr", 'r', SIZE(pair_state), true, fold_pair, finish_covariancep,
     "covariance of a whole population"},
    {"percentilew", "llc", 'l', SIZE(entries_state), false, fold_weighted, finish_weighted,
     "value at a percentage of the weight (second argument)"},
    {"percentilew", "dlc", 'd', SIZE(entries_state), false, fold_weighted, finish_weighted, NULL},
    {"percentilew", "rlc", 'r', SIZE(entries_state), false, fold_weighted, finish_weighted, NULL},
    {"tdigest", "l", 'y', SIZE(entries_state), true, fold_weighted, finish_digest,
     "the values in order with their counts, for percentile_tdigest()"},
    {"tdigest", "d", 'y', SIZE(entries_state), true, fold_weighted, finish_digest, NULL},
    {"tdigest", "t", 'y', SIZE(entries_state), true, fold_weighted, finish_digest, NULL},
    {"tdigest", "r", 'y', SIZE(entries_state), true, fold_weighted, finish_digest, NULL},
    {"tdigest", "ll", 'y', SIZE(entries_state), true, fold_weighted, finish_digest, NULL},
    {"tdigest", "rl", 'y', SIZE(entries_state), true, fold_weighted, finish_digest, NULL},
    {"tdigest_merge", "y", 'y', SIZE(entries_state), true, fold_digests, finish_digest,
     "several tdigest() as one"},
    {"merge_tdigest", "y", 'y', SIZE(entries_state), true, fold_digests, finish_digest,
     "same as tdigest_merge()"},
    {"hll", ".", 'y', SIZE(entries_state), true, fold_hash, finish_hashes,
     "the different values as hashes, for dcount_hll()"},
    {"hll", ".c", 'y', SIZE(entries_state), true, fold_hash, finish_hashes, NULL},
    {"hll_merge", "y", 'y', SIZE(entries_state), true, fold_hashes, finish_hashes,
     "several hll() as one"},
    {"make_bag", "y", 'y', SIZE(text_state), true, fold_bag, finish_bag,
     "the members of all bags as one bag, or the first so many"},
    {"make_bag", "yc", 'y', SIZE(text_state), true, fold_bag, finish_bag, NULL},
    {"make_dictionary", "y", 'y', SIZE(text_state), true, fold_bag, finish_bag,
     "same as make_bag()"},
    {"make_list_with_nulls", ".", 'y', SIZE(text_state), true, fold_values, finish_values,
     "all values as an array, nulls too"},
    {"buildschema", "y", 'y', SIZE(text_state), true, fold_schema, finish_schema,
     "the shape of dynamic values: a type for each member"},
};

const struct kpi_aggregate_func *kpi_aggregate_state_at(uint32_t index)
{
    return index < KP_ARRAY_LEN(funcs) ? &funcs[index] : NULL;
}
