/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows kept in memory, and how values are compared, found equal and hashed.
 */
#include "query/rowset.h"

#include "base/hash.h"

#define CHUNK_ROWS       KP_VECTOR_ROWS
#define INTERN_SLOTS_MIN 256u
#define INTERN_USED_MAX  (64u * 1024)

static bool intern_grow(struct kpi_ctx *ctx, struct kpi_intern *table)
{
    uint32_t capacity = table->capacity == 0 ? INTERN_SLOTS_MIN : table->capacity * 4;
    struct kp_str *slots = kpi_new(ctx, capacity, sizeof(*slots));
    if (slots == NULL)
        return false;
    for (uint32_t i = 0; i < table->capacity; i++) {
        struct kp_str text = table->slots[i];
        if (text.ptr == NULL)
            continue;
        uint32_t at = (uint32_t)kp_hash64(text.ptr, text.len, 1) & (capacity - 1);
        while (slots[at].ptr != NULL)
            at = (at + 1) & (capacity - 1);
        slots[at] = text;
    }
    table->slots = slots;
    table->capacity = capacity;
    return true;
}

static struct kp_str copy_text(struct kpi_ctx *ctx, struct kp_str text)
{
    struct kp_str copy = kp_arena_str(ctx->arena, text);
    if (copy.ptr == NULL)
        kpi_fail_memory(ctx);
    return copy;
}

struct kp_str kpi_intern(struct kpi_ctx *ctx, struct kpi_intern *table, struct kp_str text)
{
    if (text.len == 0)
        return KP_STR("");
    if (table->used >= INTERN_USED_MAX)
        return copy_text(ctx, text);
    if (table->used * 2 >= table->capacity && !intern_grow(ctx, table))
        return (struct kp_str){NULL, 0};
    uint32_t at = (uint32_t)kp_hash64(text.ptr, text.len, 1) & (table->capacity - 1);
    while (table->slots[at].ptr != NULL) {
        if (kp_str_equal(table->slots[at], text))
            return table->slots[at];
        at = (at + 1) & (table->capacity - 1);
    }
    struct kp_str copy = copy_text(ctx, text);
    if (copy.ptr != NULL) {
        table->slots[at] = copy;
        table->used++;
    }
    return copy;
}

void kpi_rowset_init(struct kpi_rowset *set, struct kpi_ctx *ctx, const enum kp_type *types,
                     const bool *keep, uint32_t cols)
{
    *set = (struct kpi_rowset){.ctx = ctx, .types = types, .keep = keep, .cols = cols};
}

static bool grow_directory(struct kpi_rowset *set)
{
    uint32_t capacity = set->chunks_capacity == 0 ? 16 : set->chunks_capacity * 2;
    struct kp_vec **chunks = kpi_new(set->ctx, capacity, sizeof(*chunks));
    uint64_t ***nulls = kpi_new(set->ctx, capacity, sizeof(*nulls));
    if (chunks == NULL || nulls == NULL)
        return false;
    for (uint32_t i = 0; i < set->chunks_count; i++) {
        chunks[i] = set->chunks[i];
        nulls[i] = set->nulls[i];
    }
    set->chunks = chunks;
    set->nulls = nulls;
    set->chunks_capacity = capacity;
    return true;
}

static bool add_chunk(struct kpi_rowset *set)
{
    if (set->chunks_count == set->chunks_capacity && !grow_directory(set))
        return false;
    struct kp_vec *vecs = kpi_new(set->ctx, set->cols, sizeof(*vecs));
    uint64_t **nulls = kpi_new(set->ctx, set->cols, sizeof(*nulls));
    if (vecs == NULL || nulls == NULL)
        return false;
    for (uint32_t c = 0; c < set->cols; c++) {
        vecs[c].type = set->types[c];
        if (set->keep != NULL && !set->keep[c])
            continue;
        if (!kpi_vec_alloc(set->ctx, set->types[c], CHUNK_ROWS, &vecs[c], &nulls[c]))
            return false;
    }
    set->chunks[set->chunks_count] = vecs;
    set->nulls[set->chunks_count++] = nulls;
    return true;
}

uint32_t kpi_rowset_grow(struct kpi_rowset *set)
{
    if (set->rows == set->chunks_count * CHUNK_ROWS && !add_chunk(set))
        return UINT32_MAX;
    return set->rows++;
}

static void set_null(struct kpi_rowset *set, uint32_t row, uint32_t col, bool null)
{
    struct kp_vec *vec = &set->chunks[row >> 10][col];
    uint32_t at = row & (CHUNK_ROWS - 1);
    uint64_t *nulls = set->nulls[row >> 10][col];
    if (null)
        nulls[at >> 6] |= 1ull << (at & 63);
    else
        nulls[at >> 6] &= ~(1ull << (at & 63));
    if (null)
        vec->nulls = nulls;
}

bool kpi_rowset_set(struct kpi_rowset *set, uint32_t row, uint32_t col, struct kpi_value value)
{
    struct kp_vec *vec = &set->chunks[row >> 10][col];
    uint32_t at = row & (CHUNK_ROWS - 1);
    if (value.null || vec->nulls != NULL)
        set_null(set, row, col, value.null);
    if (kp_type_phys(vec->type) == KP_PHYS_STR) {
        vec->strs[at] = kpi_intern(set->ctx, &set->strings, value.str);
        return vec->strs[at].ptr != NULL;
    }
    kpi_vec_set(vec, at, &value);
    return true;
}

static bool put_cell(struct kpi_rowset *set, uint32_t row, uint32_t c,
                     const struct kp_vec *from_vec, uint32_t from)
{
    struct kp_vec *vec = &set->chunks[row >> 10][c];
    uint32_t at = row & (CHUNK_ROWS - 1);
    bool null = kp_vec_null(from_vec, from);
    if (null || vec->nulls != NULL)
        set_null(set, row, c, null);
    switch (kp_type_phys(vec->type)) {
    case KP_PHYS_STR:
        vec->strs[at] =
            kpi_intern(set->ctx, &set->strings, null ? KP_STR("") : kp_vec_str(from_vec, from));
        return vec->strs[at].ptr != NULL;
    case KP_PHYS_I128:
        vec->i128[at] = null ? 0 : from_vec->i128[from];
        return true;
    default:
        vec->i64[at] = null ? 0 : from_vec->i64[from]; /* reals too: the bits are copied */
        return true;
    }
}

bool kpi_rowset_put(struct kpi_rowset *set, uint32_t row, const struct kp_vec *const *vecs,
                    uint32_t from)
{
    for (uint32_t c = 0; c < set->cols; c++)
        if ((set->keep == NULL || set->keep[c]) && !put_cell(set, row, c, vecs[c], from))
            return false;
    return true;
}

uint32_t kpi_rowset_chunk(const struct kpi_rowset *set, uint32_t i, struct kp_vec **out)
{
    if (i >= set->chunks_count)
        return 0;
    *out = set->chunks[i];
    return KP_MIN(set->rows - i * CHUNK_ROWS, (uint32_t)CHUNK_ROWS);
}

kp_status kpi_rowset_give(const struct kpi_rowset *set, uint32_t *at, struct kp_batch *batch,
                          const struct kp_batch **out)
{
    struct kp_vec *cols;
    uint32_t rows = kpi_rowset_chunk(set, *at, &cols);
    if (rows == 0)
        return KP_END;
    ++*at;
    *batch = (struct kp_batch){.cols = cols, .cols_count = set->cols, .rows = rows};
    *out = batch;
    return KP_OK;
}

static int compare_real(double a, double b)
{
    if (a != a || b != b) /* NaN sorts last */
        return (a != a) - (b != b);
    return (a > b) - (a < b);
}

int kpi_compare(const struct kp_vec *a, uint32_t row_a, const struct kp_vec *b, uint32_t row_b)
{
    switch (kp_type_phys(a->type)) {
    case KP_PHYS_STR:
        return kp_str_compare(kp_vec_str(a, row_a), kp_vec_str(b, row_b));
    case KP_PHYS_F64:
        return compare_real(a->f64[row_a], b->f64[row_b]);
    case KP_PHYS_I128:
        return kp_dec_compare(a->i128[row_a], b->i128[row_b]);
    default:
        return (a->i64[row_a] > b->i64[row_b]) - (a->i64[row_a] < b->i64[row_b]);
    }
}

bool kpi_same(const struct kp_vec *a, uint32_t row_a, const struct kp_vec *b, uint32_t row_b)
{
    bool null_a = kp_vec_null(a, row_a), null_b = kp_vec_null(b, row_b);
    if (null_a || null_b)
        return null_a && null_b;
    return kpi_compare(a, row_a, b, row_b) == 0;
}

uint64_t kpi_hash(const struct kp_vec *vec, uint32_t row, uint64_t seed)
{
    if (kp_vec_null(vec, row))
        return kp_hash_mix(seed + 0x9e3779b97f4a7c15ull);
    if (kp_type_phys(vec->type) == KP_PHYS_STR) {
        struct kp_str text = kp_vec_str(vec, row);
        return kp_hash64(text.ptr, text.len, seed);
    }
    if (kp_type_phys(vec->type) == KP_PHYS_I128) {
        kp_dec value = kp_dec_canonical(vec->i128[row]); /* 1.5 equals 1.50 */
        return kp_hash64(&value, sizeof(value), seed);
    }
    uint64_t bits = (uint64_t)vec->i64[row];
    if (kp_type_phys(vec->type) == KP_PHYS_F64 && vec->f64[row] == 0)
        bits = 0; /* -0.0 equals 0.0 */
    return kp_hash_mix(bits ^ kp_hash_mix(seed + 1));
}
