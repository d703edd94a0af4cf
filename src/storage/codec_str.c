/* SPDX-License-Identifier: Apache-2.0
 *
 * String columns: one value, a dictionary with codes, or raw bytes with lengths. Whichever is
 * smaller before compression wins; most string columns of events have a handful of values.
 *
 *   STR_CONST  varint length, bytes (nothing = the empty string)
 *   STR_DICT   varint count, the values, nested codes
 *   STR_RAW    nested lengths, bytes
 */
#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"
#include "storage/codec_str.h"

void kpi_str_add(struct kp_buf *out, struct kp_str text)
{
    uint8_t bytes[10];
    kp_buf_add(out, bytes, kp_store_varint(bytes, text.len));
    kp_buf_add(out, text.ptr, text.len);
}

struct kp_str kpi_str_read(struct kp_reader *in)
{
    uint64_t len = kp_read_varint(in);
    const uint8_t *bytes = len > kp_reader_left(in) ? NULL : kp_read_bytes(in, len);
    if (bytes == NULL) {
        in->bad = true;
        return (struct kp_str){"", 0};
    }
    return (struct kp_str){(const char *)bytes, (uint32_t)len};
}

void kpi_str_set_deinit(struct kpi_str_set *set)
{
    free(set->values);
    free(set->slots);
    free(set->codes);
}

static uint32_t str_set_code(struct kpi_str_set *set, struct kp_str text)
{
    uint32_t at = (uint32_t)kp_hash64(text.len == 0 ? "" : text.ptr, text.len, 0) & set->mask;
    while (set->slots[at] != 0 && !kp_str_equal(set->values[set->slots[at] - 1], text))
        at = (at + 1) & set->mask;
    if (set->slots[at] == 0) {
        set->values[set->count++] = text;
        set->slots[at] = set->count;
        set->distinct_bytes += text.len;
    }
    return set->slots[at] - 1;
}

kp_status kpi_str_set_collect(struct kpi_str_set *set, const struct kp_vec *vec, uint32_t count)
{
    uint32_t capacity = 16;
    while (capacity < count * 2)
        capacity *= 2;
    *set = (struct kpi_str_set){.mask = capacity - 1,
                                .values = malloc((size_t)count * sizeof(*set->values)),
                                .slots = calloc(capacity, sizeof(*set->slots)),
                                .codes = malloc((size_t)count * sizeof(*set->codes))};
    if (set->values == NULL || set->slots == NULL || set->codes == NULL) {
        kpi_str_set_deinit(set);
        return KP_NO_MEMORY;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct kp_str text = kp_vec_str(vec, i);
        set->bytes += text.len;
        set->codes[i] = str_set_code(set, text);
    }
    return KP_OK;
}

static void dict_add(const struct kpi_str_set *set, struct kp_buf *out)
{
    uint8_t bytes[10];
    kp_buf_add(out, bytes, kp_store_varint(bytes, set->count));
    for (uint32_t i = 0; i < set->count; i++)
        kpi_str_add(out, set->values[i]);
}

static kp_status raw_add(const struct kp_vec *vec, uint32_t count, enum kpi_level level,
                         int64_t *lengths, struct kp_buf *out)
{
    for (uint32_t i = 0; i < count; i++)
        lengths[i] = kp_vec_str(vec, i).len;
    kp_status status = kpi_ints_nest(lengths, count, level, out);
    for (uint32_t i = 0; i < count; i++)
        kp_buf_str(out, kp_vec_str(vec, i));
    return status;
}

kp_status kpi_strs_encode(const struct kp_vec *vec, uint32_t count, enum kpi_level level,
                          struct kp_buf *out)
{
    struct kpi_str_set set;
    size_t at = out->size;
    kp_status status = kpi_str_set_collect(&set, vec, count);
    if (status != KP_OK)
        return status;
    size_t dict_cost =
        set.distinct_bytes + set.count + (size_t)count * kpi_bits_of(set.count - 1) / 8;
    if (set.count == 1) {
        kp_buf_char(out, KPI_CHUNK_STR_CONST);
        kp_buf_str(out, set.values[0]);
    } else if (dict_cost < set.bytes + count) {
        kp_buf_char(out, KPI_CHUNK_STR_DICT);
        dict_add(&set, out);
        status = kpi_ints_nest(set.codes, count, level, out);
    } else {
        kp_buf_char(out, KPI_CHUNK_STR_RAW);
        status = raw_add(vec, count, level, set.codes, out);
    }
    kpi_str_set_deinit(&set);
    if (status == KP_OK && out->size - at > KPI_CHUNK_BYTES_MAX)
        return KP_LIMIT;
    if (status == KP_OK)
        status = kpi_zstd_shrink(out, at, level);
    return out->failed ? KP_NO_MEMORY : status;
}

/* ---------- decoding ---------- */

kp_status kpi_vec_dict(struct kp_arena *arena, uint32_t values, uint32_t rows,
                       struct kp_str **out_values, struct kp_vec *out)
{
    struct kp_dict *dict = kp_arena_alloc(arena, sizeof(*dict));
    *out_values = kp_arena_zalloc(arena, values, sizeof(**out_values));
    out->codes = kp_arena_zalloc(arena, rows, sizeof(*out->codes));
    if (dict == NULL || *out_values == NULL || out->codes == NULL)
        return KP_NO_MEMORY;
    *dict = (struct kp_dict){.values = *out_values, .count = values};
    out->dict = dict;
    return KP_OK;
}

static kp_status const_read(struct kp_reader *in, uint32_t count, struct kp_arena *arena,
                            struct kp_vec *out)
{
    struct kp_str *values;
    kp_status status = kpi_vec_dict(arena, 1, count, &values, out);
    if (status != KP_OK)
        return status;
    values[0] = (struct kp_str){(const char *)in->at, (uint32_t)kp_reader_left(in)};
    in->at = in->end;
    return KP_OK;
}

static kp_status dict_read(struct kp_reader *in, uint32_t count, int64_t *codes,
                           struct kp_arena *arena, struct kp_vec *out)
{
    uint64_t distinct = kp_read_varint(in);
    if (in->bad || distinct == 0 || distinct > count)
        return KP_CORRUPT;
    struct kp_str *values;
    kp_status status = kpi_vec_dict(arena, (uint32_t)distinct, count, &values, out);
    if (status != KP_OK)
        return status;
    for (uint64_t i = 0; i < distinct; i++)
        values[i] = kpi_str_read(in);
    status = in->bad ? KP_CORRUPT : kpi_ints_unnest(in, count, codes);
    for (uint32_t i = 0; status == KP_OK && i < count; i++) {
        if ((uint64_t)codes[i] >= distinct)
            return KP_CORRUPT;
        out->codes[i] = (uint32_t)codes[i];
    }
    return status;
}

static kp_status raw_read(struct kp_reader *in, uint32_t count, int64_t *lengths,
                          struct kp_arena *arena, struct kp_vec *out)
{
    out->strs = kp_arena_zalloc(arena, count, sizeof(*out->strs));
    if (out->strs == NULL)
        return KP_NO_MEMORY;
    kp_status status = kpi_ints_unnest(in, count, lengths);
    for (uint32_t i = 0; status == KP_OK && i < count; i++) {
        if (lengths[i] < 0 || (uint64_t)lengths[i] > kp_reader_left(in))
            return KP_CORRUPT;
        const uint8_t *bytes = kp_read_bytes(in, (size_t)lengths[i]);
        out->strs[i] = (struct kp_str){(const char *)bytes, (uint32_t)lengths[i]};
    }
    return status;
}

/* The body in memory of the arena, so that decoded strings may point into it. */
static kp_status body_in_arena(const void *chunk, size_t size, struct kp_arena *arena,
                               uint8_t *out_code, struct kp_reader *out_body)
{
    void *owned;
    kp_status status = kpi_chunk_body(chunk, size, arena, out_code, out_body, &owned);
    if (status != KP_OK || (*(const uint8_t *)chunk & KPI_CHUNK_ZSTD) != 0)
        return status;
    size_t left = kp_reader_left(out_body);
    void *copy = kp_arena_alloc(arena, left + 1);
    if (copy == NULL)
        return KP_NO_MEMORY;
    memcpy(copy, out_body->at, left);
    *out_body = kp_reader_init(copy, left);
    return KP_OK;
}

kp_status kpi_strs_decode(const void *chunk, size_t size, uint32_t count, struct kp_arena *arena,
                          struct kp_vec *out)
{
    uint8_t code;
    struct kp_reader body;
    kp_status status = body_in_arena(chunk, size, arena, &code, &body);
    if (status != KP_OK)
        return status;
    int64_t *numbers = malloc((size_t)count * sizeof(*numbers));
    if (numbers == NULL)
        return KP_NO_MEMORY;
    struct kp_vec vec = {.type = KP_TYPE_STR};
    if (code == KPI_CHUNK_STR_CONST)
        status = const_read(&body, count, arena, &vec);
    else if (code == KPI_CHUNK_STR_DICT)
        status = dict_read(&body, count, numbers, arena, &vec);
    else if (code == KPI_CHUNK_STR_RAW)
        status = raw_read(&body, count, numbers, arena, &vec);
    else
        status = KP_CORRUPT;
    free(numbers);
    if (status == KP_OK && kp_reader_left(&body) != 0)
        status = KP_CORRUPT;
    if (status == KP_OK)
        *out = vec;
    return status;
}
