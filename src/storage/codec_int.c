/* SPDX-License-Identifier: Apache-2.0
 *
 * Integer codecs. Kernel event columns are mostly one of five shapes: always the same, few values,
 * runs, a slow walk (time, seq), or small numbers with a few large ones. Each shape has a codec;
 * the choice is made per column by encoding a sample with every one and keeping the smallest, which
 * is never wrong about its own sizes (BtrBlocks, Kuschewski et al. 2023, samples the same way).
 *
 *   CONST         zigzag varint of the value; empty body = 0
 *   RAW           8 bytes a value
 *   PACK          per vector of 1024: base, width, exceptions; the rest bit-packed (patched FOR)
 *   DELTA         the same over differences, first value per vector kept
 *   RLE           nested chunks of run values and run lengths
 *   DICT          nested chunks of sorted distinct values and of codes
 *   PLANES        values - base in whole bytes, all lowest bytes first: what zstd likes
 *   DELTA_PLANES  the same over differences
 *   CLASS         codec_class.c
 *   RANGE         codec_range.c
 *   DIRECT        codec_direct.c
 *
 * Arithmetic is modulo 2^64, so the full range of int64 works everywhere.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"
#include "storage/codec_wide.h"
#include "storage/range.h"
#include "storage/ticks.h"

#define VECTORS_MAX     (KPI_BLOCK_ROWS_MAX / KPI_VECTOR_ROWS)
#define PATCHED         0x80u /* flag in a width byte */
#define DICT_VALUES_MAX 4096u
#define ALL_ROWS_MAX    512u /* so few values that every codec is tried */
#define SAMPLE_HOT      2u   /* vectors tried per column */
#define SAMPLE_SEALED   8u
#define COLD_GOOD       32u /* bytes: models are not tried against so few */

static void add_varint(struct kp_buf *out, uint64_t value)
{
    uint8_t bytes[10];
    kp_buf_add(out, bytes, kp_store_varint(bytes, value));
}

static void add_signed(struct kp_buf *out, uint64_t value)
{
    add_varint(out, kp_zigzag((int64_t)value));
}

static uint64_t read_signed(struct kp_reader *in)
{
    return (uint64_t)kp_unzigzag(kp_read_varint(in));
}

static kp_status buf_status(const struct kp_buf *buf)
{
    return buf->failed ? KP_NO_MEMORY : KP_OK;
}

/* ---------- const and raw ---------- */

/* In strides without branches: most columns that are not one value show it early. */
bool kpi_ints_same(const int64_t *values, uint32_t count)
{
    uint64_t differ = 0;
    for (uint32_t at = 0; at < count && differ == 0; at += 256)
        for (uint32_t i = at; i < KP_MIN(at + 256, count); i++)
            differ |= (uint64_t)values[i] ^ (uint64_t)values[0];
    return differ == 0;
}

static kp_status const_encode(const int64_t *values, uint32_t count, enum kpi_level level,
                              struct kp_buf *out)
{
    (void)level;
    if (!kpi_ints_same(values, count))
        return KP_LIMIT;
    if (values[0] != 0)
        add_signed(out, (uint64_t)values[0]);
    return buf_status(out);
}

static kp_status const_decode(struct kp_reader *in, uint32_t count, int64_t *out)
{
    int64_t value = kp_reader_left(in) == 0 ? 0 : (int64_t)read_signed(in);
    for (uint32_t i = 0; i < count; i++)
        out[i] = value;
    return KP_OK;
}

static kp_status raw_encode(const int64_t *values, uint32_t count, enum kpi_level level,
                            struct kp_buf *out)
{
    (void)level;
    kp_buf_add(out, values, count * sizeof(*values));
    return buf_status(out);
}

static kp_status raw_decode(struct kp_reader *in, uint32_t count, int64_t *out)
{
    const uint8_t *bytes = kp_read_bytes(in, count * sizeof(*out));
    if (bytes == NULL)
        return KP_CORRUPT;
    memcpy(out, bytes, count * sizeof(*out));
    return KP_OK;
}

/* ---------- pack and delta ---------- */

/* What precedes the data: one per vector. */
struct vector_head {
    uint64_t first; /* DELTA: first value */
    uint64_t base;
    uint8_t width; /* bits of a packed value */
    uint8_t extra; /* bytes of what an exception has above width */
    uint16_t exceptions;
};

static size_t packed_bytes(uint32_t rows, unsigned width)
{
    return ((size_t)rows * width + 7) / 8;
}

/* Chooses the width that makes bits and exceptions cheapest. */
static void head_choose(const uint64_t *values, uint32_t rows, struct vector_head *head)
{
    uint32_t counts[65] = {0};
    unsigned widest = 0;
    for (uint32_t i = 0; i < rows; i++) {
        unsigned bits = kpi_bits_of(values[i]);
        counts[bits]++;
        widest = KP_MAX(widest, bits);
    }
    size_t best = packed_bytes(rows, widest);
    uint32_t above = 0;
    *head =
        (struct vector_head){.base = head->base, .first = head->first, .width = (uint8_t)widest};
    for (unsigned width = widest; width-- > 0;) {
        above += counts[width + 1];
        unsigned extra = (widest - width + 7) / 8;
        size_t cost = packed_bytes(rows, width) + (size_t)above * (2 + extra) + 3;
        if (cost >= best)
            continue;
        best = cost;
        head->width = (uint8_t)width;
        head->extra = (uint8_t)extra;
        head->exceptions = (uint16_t)above;
    }
}

/* values -> values - their minimum; the minimum is returned. */
static uint64_t subtract_min(const int64_t *values, uint32_t rows, uint64_t *out)
{
    int64_t min = values[0];
    for (uint32_t i = 1; i < rows; i++)
        min = KP_MIN(min, values[i]);
    for (uint32_t i = 0; i < rows; i++)
        out[i] = (uint64_t)values[i] - (uint64_t)min;
    return (uint64_t)min;
}

/* out[i] = values[i] - values[i-1]; the first difference repeats the second so that it adds
 * nothing. */
static void differences(const int64_t *values, uint32_t rows, int64_t *out)
{
    for (uint32_t i = 1; i < rows; i++)
        out[i] = (int64_t)((uint64_t)values[i] - (uint64_t)values[i - 1]);
    out[0] = rows > 1 ? out[1] : 0;
}

static void vector_data_add(uint64_t *values, uint32_t rows, const struct vector_head *head,
                            struct kp_buf *data)
{
    uint8_t *bits = kp_buf_reserve(data, packed_bytes(rows, head->width));
    if (bits == NULL)
        return;
    uint16_t places[KPI_VECTOR_ROWS];
    uint64_t highs[KPI_VECTOR_ROWS];
    uint32_t exceptions = 0;
    for (uint32_t i = 0; head->exceptions > 0 && i < rows; i++) {
        if (kpi_bits_of(values[i]) <= head->width)
            continue;
        places[exceptions] = (uint16_t)i;
        highs[exceptions++] = values[i] >> head->width;
        values[i] &= ((uint64_t)1 << head->width) - 1;
    }
    kp_assert(exceptions == head->exceptions);
    if (rows == KPI_VECTOR_ROWS)
        kpi_bits_pack(values, head->width, bits);
    else
        kpi_bits_pack_tail(values, rows, head->width, bits);
    data->size += packed_bytes(rows, head->width);
    kp_buf_add(data, places, exceptions * sizeof(places[0]));
    for (uint32_t i = 0; i < exceptions; i++)
        kp_buf_add(data, &highs[i], head->extra);
}

static void vector_head_add(const struct vector_head *head, const struct vector_head *before,
                            bool delta, struct kp_buf *out)
{
    if (delta)
        add_signed(out, head->first - before->first);
    add_signed(out, head->base - before->base);
    kp_buf_char(out, (char)(head->width | (head->exceptions > 0 ? PATCHED : 0)));
    if (head->exceptions > 0) {
        kp_buf_char(out, (char)head->extra);
        add_varint(out, head->exceptions);
    }
}

static kp_status vectors_encode(const int64_t *values, uint32_t count, bool delta,
                                struct kp_buf *out)
{
    struct kp_buf data = {0};
    struct vector_head before = {0};
    int64_t steps[KPI_VECTOR_ROWS];
    uint64_t offsets[KPI_VECTOR_ROWS];
    for (uint32_t at = 0; at < count; at += KPI_VECTOR_ROWS) {
        uint32_t rows = KP_MIN(count - at, KPI_VECTOR_ROWS);
        struct vector_head head = {.first = (uint64_t)values[at]};
        if (delta)
            differences(values + at, rows, steps);
        head.base = subtract_min(delta ? steps : values + at, rows, offsets);
        head_choose(offsets, rows, &head);
        vector_head_add(&head, &before, delta, out);
        vector_data_add(offsets, rows, &head, &data);
        before = head;
    }
    kp_buf_add(out, data.data, data.size);
    kp_status status = data.failed ? KP_NO_MEMORY : buf_status(out);
    kp_buf_deinit(&data);
    return status;
}

static bool vector_head_read(struct kp_reader *in, const struct vector_head *before, bool delta,
                             uint32_t rows, struct vector_head *out)
{
    *out = (struct vector_head){0};
    if (delta)
        out->first = before->first + read_signed(in);
    out->base = before->base + read_signed(in);
    uint8_t width = kp_read_u8(in);
    out->width = width & (PATCHED - 1);
    if ((width & PATCHED) != 0) {
        out->extra = kp_read_u8(in);
        uint64_t exceptions = kp_read_varint(in);
        if (exceptions > rows || out->extra == 0 || out->extra > 8 || out->width >= 64)
            return false;
        out->exceptions = (uint16_t)exceptions;
    }
    return !in->bad && out->width <= 64;
}

static bool exceptions_read(struct kp_reader *in, const struct vector_head *head, uint32_t rows,
                            uint64_t *values)
{
    const uint8_t *places = kp_read_bytes(in, (size_t)head->exceptions * 2);
    const uint8_t *highs = kp_read_bytes(in, (size_t)head->exceptions * head->extra);
    if (places == NULL || highs == NULL)
        return false;
    for (uint32_t i = 0; i < head->exceptions; i++) {
        uint32_t place = kp_load_u16(places + (size_t)i * 2);
        if (place >= rows)
            return false;
        uint64_t high = 0;
        memcpy(&high, highs + (size_t)i * head->extra, head->extra);
        values[place] += high << head->width;
    }
    return true;
}

static bool vector_data_read(struct kp_reader *in, const struct vector_head *head, uint32_t rows,
                             uint64_t *values)
{
    const uint8_t *bits = kp_read_bytes(in, packed_bytes(rows, head->width));
    if (bits == NULL)
        return false;
    if (rows == KPI_VECTOR_ROWS)
        kpi_bits_unpack(bits, head->width, values);
    else
        kpi_bits_unpack_tail(bits, rows, head->width, values);
    return head->exceptions == 0 || exceptions_read(in, head, rows, values);
}

static void vector_rebuild(const struct vector_head *head, bool delta, uint32_t rows,
                           uint64_t *values)
{
    if (!delta) {
        for (uint32_t i = 0; i < rows; i++)
            values[i] += head->base;
        return;
    }
    uint64_t value = head->first;
    uint64_t step = head->base;
    values[0] = value;
    for (uint32_t i = 1; i < rows; i++) {
        value += values[i] + step;
        values[i] = value;
    }
}

static kp_status vectors_decode(struct kp_reader *in, uint32_t count, bool delta, int64_t *out)
{
    struct vector_head heads[VECTORS_MAX];
    struct vector_head before = {0};
    uint32_t vectors = (count + KPI_VECTOR_ROWS - 1) / KPI_VECTOR_ROWS;
    kp_assert(vectors <= VECTORS_MAX);
    for (uint32_t v = 0; v < vectors; v++) {
        uint32_t rows = KP_MIN(count - v * KPI_VECTOR_ROWS, KPI_VECTOR_ROWS);
        if (!vector_head_read(in, &before, delta, rows, &heads[v]))
            return KP_CORRUPT;
        before = heads[v];
    }
    for (uint32_t v = 0; v < vectors; v++) {
        uint32_t rows = KP_MIN(count - v * KPI_VECTOR_ROWS, KPI_VECTOR_ROWS);
        uint64_t *values = (uint64_t *)(out + (size_t)v * KPI_VECTOR_ROWS);
        if (!vector_data_read(in, &heads[v], rows, values))
            return KP_CORRUPT;
        vector_rebuild(&heads[v], delta, rows, values);
    }
    return KP_OK;
}

static kp_status pack_encode(const int64_t *values, uint32_t count, enum kpi_level level,
                             struct kp_buf *out)
{
    (void)level;
    return vectors_encode(values, count, false, out);
}

static kp_status pack_decode(struct kp_reader *in, uint32_t count, int64_t *out)
{
    return vectors_decode(in, count, false, out);
}

static kp_status delta_encode(const int64_t *values, uint32_t count, enum kpi_level level,
                              struct kp_buf *out)
{
    (void)level;
    return vectors_encode(values, count, true, out);
}

static kp_status delta_decode(struct kp_reader *in, uint32_t count, int64_t *out)
{
    return vectors_decode(in, count, true, out);
}

/* ---------- planes ---------- */

static void planes_add(const uint64_t *values, uint32_t count, struct kp_buf *out)
{
    uint64_t all = 0;
    for (uint32_t i = 0; i < count; i++)
        all |= values[i];
    unsigned planes = (kpi_bits_of(all) + 7) / 8;
    kp_buf_char(out, (char)planes);
    uint8_t *to = kp_buf_reserve(out, (size_t)planes * count);
    if (to == NULL)
        return;
    for (unsigned plane = 0; plane < planes; plane++)
        for (uint32_t i = 0; i < count; i++)
            *to++ = (uint8_t)(values[i] >> (8 * plane));
    out->size += (size_t)planes * count;
}

static kp_status planes_encode_any(const int64_t *values, uint32_t count, bool delta,
                                   struct kp_buf *out)
{
    uint64_t *offsets = malloc((size_t)count * sizeof(*offsets) * 2);
    if (offsets == NULL)
        return KP_NO_MEMORY;
    int64_t *steps = (int64_t *)(offsets + count);
    if (delta) {
        add_signed(out, (uint64_t)values[0]);
        differences(values, count, steps);
    }
    add_signed(out, subtract_min(delta ? steps : values, count, offsets));
    planes_add(offsets, count, out);
    free(offsets);
    return buf_status(out);
}

static kp_status planes_decode_any(struct kp_reader *in, uint32_t count, bool delta, int64_t *out)
{
    struct vector_head head = {.first = delta ? read_signed(in) : 0, .base = read_signed(in)};
    unsigned planes = kp_read_u8(in);
    const uint8_t *from = planes > 8 ? NULL : kp_read_bytes(in, (size_t)planes * count);
    if (from == NULL)
        return KP_CORRUPT;
    uint64_t *values = (uint64_t *)out;
    kpi_planes_join(from, planes, count, delta ? 0 : head.base, values);
    if (delta)
        vector_rebuild(&head, true, count, values);
    return KP_OK;
}

static kp_status planes_encode(const int64_t *values, uint32_t count, enum kpi_level level,
                               struct kp_buf *out)
{
    (void)level;
    return planes_encode_any(values, count, false, out);
}

static kp_status planes_decode(struct kp_reader *in, uint32_t count, int64_t *out)
{
    return planes_decode_any(in, count, false, out);
}

static kp_status delta_planes_encode(const int64_t *values, uint32_t count, enum kpi_level level,
                                     struct kp_buf *out)
{
    (void)level;
    return planes_encode_any(values, count, true, out);
}

static kp_status delta_planes_decode(struct kp_reader *in, uint32_t count, int64_t *out)
{
    return planes_decode_any(in, count, true, out);
}

/* ---------- runs and dictionaries: two nested chunks ---------- */

/* Nested chunks use one plain codec; the choice among codecs happens once, outside. */
static kp_status nest(const int64_t *values, uint32_t count, bool delta, enum kpi_level level,
                      struct kp_buf *out)
{
    struct kp_buf body = {0};
    bool planes = level != KPI_LEVEL_HOT && !delta;
    kp_buf_char(&body, planes ? KPI_CHUNK_PLANES : delta ? KPI_CHUNK_DELTA : KPI_CHUNK_PACK);
    kp_status status = planes ? planes_encode_any(values, count, false, &body)
                              : vectors_encode(values, count, delta, &body);
    if (status == KP_OK) {
        add_varint(out, body.size);
        kp_buf_add(out, body.data, body.size);
        status = buf_status(out);
    }
    kp_buf_deinit(&body);
    return status;
}

static kp_status rle_encode(const int64_t *values, uint32_t count, enum kpi_level level,
                            struct kp_buf *out)
{
    uint32_t runs = 1;
    for (uint32_t i = 1; i < count; i++)
        runs += values[i] != values[i - 1];
    if (runs > count / 3)
        return KP_LIMIT;
    int64_t *heads = malloc((size_t)runs * sizeof(*heads) * 2);
    if (heads == NULL)
        return KP_NO_MEMORY;
    int64_t *lengths = heads + runs;
    uint32_t run = 0;
    for (uint32_t i = 0, begin = 0; i < count; i++) {
        if (i + 1 < count && values[i + 1] == values[i])
            continue;
        heads[run] = values[i];
        lengths[run++] = i + 1 - begin;
        begin = i + 1;
    }
    add_varint(out, runs);
    kp_status status = nest(heads, runs, false, level, out);
    if (status == KP_OK)
        status = nest(lengths, runs, false, level, out);
    free(heads);
    return status;
}

static kp_status rle_fill(const int64_t *heads, const int64_t *lengths, uint32_t runs,
                          uint32_t count, int64_t *out)
{
    uint32_t at = 0;
    for (uint32_t run = 0; run < runs; run++) {
        if (lengths[run] < 1 || lengths[run] > (int64_t)(count - at))
            return KP_CORRUPT;
        for (uint32_t end = at + (uint32_t)lengths[run]; at < end; at++)
            out[at] = heads[run];
    }
    return at == count ? KP_OK : KP_CORRUPT;
}

static kp_status rle_decode(struct kp_reader *in, uint32_t count, int64_t *out)
{
    uint64_t runs = kp_read_varint(in);
    if (in->bad || runs == 0 || runs > count)
        return KP_CORRUPT;
    int64_t *heads = malloc((size_t)runs * sizeof(*heads) * 2);
    if (heads == NULL)
        return KP_NO_MEMORY;
    kp_status status = kpi_ints_unnest(in, (uint32_t)runs, heads);
    if (status == KP_OK)
        status = kpi_ints_unnest(in, (uint32_t)runs, heads + runs);
    if (status == KP_OK)
        status = rle_fill(heads, heads + runs, (uint32_t)runs, count, out);
    free(heads);
    return status;
}

static int compare_values(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* Open-addressing set of distinct values; slot -> index into values. */
struct value_set {
    int64_t values[DICT_VALUES_MAX];
    uint16_t slots[DICT_VALUES_MAX * 2]; /* index + 1; 0 = free */
    uint32_t count;
};

static uint16_t *set_slot(struct value_set *set, int64_t value)
{
    uint32_t at = (uint32_t)kp_hash_mix((uint64_t)value) & (DICT_VALUES_MAX * 2 - 1);
    while (set->slots[at] != 0 && set->values[set->slots[at] - 1] != value)
        at = (at + 1) & (DICT_VALUES_MAX * 2 - 1);
    return &set->slots[at];
}

static bool set_add(struct value_set *set, int64_t value, uint32_t limit)
{
    uint16_t *slot = set_slot(set, value);
    if (*slot != 0)
        return true;
    if (set->count == limit)
        return false;
    set->values[set->count++] = value;
    *slot = (uint16_t)set->count;
    return true;
}

static bool set_collect(struct value_set *set, const int64_t *values, uint32_t count)
{
    uint32_t limit = KP_MIN(count / 2, DICT_VALUES_MAX);
    for (uint32_t i = 0; i < count; i++)
        if ((i == 0 || values[i] != values[i - 1]) && !set_add(set, values[i], limit))
            return false;
    return true;
}

/* Sorts the set and points its slots at the sorted places. */
static void set_sort(struct value_set *set)
{
    qsort(set->values, set->count, sizeof(set->values[0]), compare_values);
    memset(set->slots, 0, sizeof(set->slots));
    for (uint32_t i = 0; i < set->count; i++)
        *set_slot(set, set->values[i]) = (uint16_t)(i + 1);
}

static kp_status dict_encode(const int64_t *values, uint32_t count, enum kpi_level level,
                             struct kp_buf *out)
{
    struct value_set *set = calloc(1, sizeof(*set));
    int64_t *codes = malloc((size_t)count * sizeof(*codes));
    kp_status status = set == NULL || codes == NULL ? KP_NO_MEMORY : KP_OK;
    if (status == KP_OK && !set_collect(set, values, count))
        status = KP_LIMIT;
    if (status == KP_OK) {
        set_sort(set);
        for (uint32_t i = 0; i < count; i++)
            codes[i] = *set_slot(set, values[i]) - 1;
        add_varint(out, set->count);
        status = nest(set->values, set->count, true, level, out);
    }
    if (status == KP_OK)
        status = nest(codes, count, false, level, out);
    free(codes);
    free(set);
    return status;
}

static kp_status dict_decode(struct kp_reader *in, uint32_t count, int64_t *out)
{
    uint64_t distinct = kp_read_varint(in);
    if (in->bad || distinct == 0 || distinct > KP_MIN(count, DICT_VALUES_MAX))
        return KP_CORRUPT;
    int64_t values[DICT_VALUES_MAX];
    kp_status status = kpi_ints_unnest(in, (uint32_t)distinct, values);
    if (status == KP_OK)
        status = kpi_ints_unnest(in, count, out);
    for (uint32_t i = 0; status == KP_OK && i < count; i++) {
        if ((uint64_t)out[i] >= distinct)
            return KP_CORRUPT;
        out[i] = values[out[i]];
    }
    return status;
}

/* ---------- the table and the choice ---------- */

static const struct kpi_codec codecs[] = {
    {"const", KPI_CHUNK_CONST, false, const_encode, const_decode},
    {"pack", KPI_CHUNK_PACK, false, pack_encode, pack_decode},
    {"delta", KPI_CHUNK_DELTA, false, delta_encode, delta_decode},
    {"rle", KPI_CHUNK_RLE, false, rle_encode, rle_decode},
    {"dict", KPI_CHUNK_DICT, false, dict_encode, dict_decode},
    {"planes", KPI_CHUNK_PLANES, true, planes_encode, planes_decode},
    {"delta-planes", KPI_CHUNK_DELTA_PLANES, true, delta_planes_encode, delta_planes_decode},
    {"class", KPI_CHUNK_CLASS, true, kpi_class_encode, kpi_class_decode},
    {"range", KPI_CHUNK_RANGE, true, kpi_range_body_encode, kpi_range_body_decode},
    {"direct", KPI_CHUNK_DIRECT, true, kpi_direct_body_encode, kpi_direct_body_decode},
    {"ticks", KPI_CHUNK_TICKS, true, kpi_ticks_body_encode, kpi_ticks_body_decode},
    {"raw", KPI_CHUNK_RAW, false, raw_encode, raw_decode},
};

static const struct kpi_codec *codec_find(uint8_t code)
{
    for (size_t i = 0; i < KP_ARRAY_LEN(codecs); i++)
        if (codecs[i].code == code)
            return &codecs[i];
    return NULL;
}

/* Of chunks that are no column of integers. */
static const char *const other_names[] = {
    [KPI_CHUNK_STR_CONST] = "const",  [KPI_CHUNK_STR_DICT] = "dict",
    [KPI_CHUNK_STR_RAW] = "raw",      [KPI_CHUNK_RECENT] = "recent",
    [KPI_CHUNK_ROW] = "row",          [KPI_CHUNK_FILLED] = "filled",
    [KPI_CHUNK_ACTORS] = "actors",    [KPI_CHUNK_LANES] = "lanes",
    [KPI_CHUNK_GROUPS] = "by-stream", [KPI_CHUNK_ACTORS_BOOT] = "actors",
    [KPI_CHUNK_STEPS] = "steps",      [KPI_CHUNK_DIRECT_STEPS] = "steps",
    [KPI_CHUNK_TICK_STEPS] = "ticks", [KPI_CHUNK_TICK_DURS] = "ticks",
};

const char *kpi_chunk_name(uint8_t code)
{
    uint8_t plain = code & (uint8_t)~KPI_CHUNK_ZSTD;
    const struct kpi_codec *codec = codec_find(plain);
    if (codec != NULL)
        return codec->name;
    bool known = plain < KP_ARRAY_LEN(other_names) && other_names[plain] != NULL;
    return known ? other_names[plain] : "unknown";
}

/* Evenly spread whole vectors, or the column itself when it is short. */
static uint32_t sample_take(const int64_t *values, uint32_t count, enum kpi_level level,
                            int64_t *scratch, const int64_t **out)
{
    uint32_t wanted = level == KPI_LEVEL_HOT ? SAMPLE_HOT : SAMPLE_SEALED;
    uint32_t vectors = count / KPI_VECTOR_ROWS;
    *out = values;
    if (vectors <= wanted)
        return count;
    for (uint32_t i = 0; i < wanted; i++)
        memcpy(scratch + (size_t)i * KPI_VECTOR_ROWS,
               values + (size_t)(i * vectors / wanted) * KPI_VECTOR_ROWS,
               KPI_VECTOR_ROWS * sizeof(*values));
    *out = scratch;
    return wanted * KPI_VECTOR_ROWS;
}

/* Bytes the codec needs for the sample; SIZE_MAX when it does not apply. */
static size_t codec_cost(const struct kpi_codec *codec, const int64_t *sample, uint32_t count,
                         enum kpi_level level, struct kp_buf *scratch)
{
    if (codec->sealed_only && level != KPI_LEVEL_SEALED)
        return SIZE_MAX;
    kp_buf_clear(scratch);
    if (codec->encode(sample, count, level, scratch) != KP_OK)
        return SIZE_MAX;
    if (level == KPI_LEVEL_HOT || codec->code == KPI_CHUNK_CLASS)
        return scratch->size;
    return kpi_zstd_size(scratch->data, scratch->size);
}

static const struct kpi_codec *codec_choose(const int64_t *values, uint32_t count,
                                            enum kpi_level level)
{
    int64_t scratch[SAMPLE_SEALED * KPI_VECTOR_ROWS];
    const int64_t *sample;
    uint32_t sample_count = sample_take(values, count, level, scratch, &sample);
    struct kp_buf bytes = {0};
    const struct kpi_codec *best = &codecs[KP_ARRAY_LEN(codecs) - 1];
    size_t best_cost = SIZE_MAX;
    struct kpi_shape shape = kpi_shape_of(sample, sample_count);
    bool few = kpi_few_values(sample, sample_count);
    bool all = level == KPI_LEVEL_HOT || count < ALL_ROWS_MAX;
    for (size_t i = 1; i < KP_ARRAY_LEN(codecs); i++) {
        if (!all && !kpi_codec_hopeful(codecs[i].code, &shape, sample_count, few))
            continue;
        size_t cost = codec_cost(&codecs[i], sample, sample_count, level, &bytes);
        if (cost < best_cost) {
            best = &codecs[i];
            best_cost = cost;
        }
    }
    kp_buf_deinit(&bytes);
    return best;
}

static kp_status chunk_add(const struct kpi_codec *codec, const int64_t *values, uint32_t count,
                           enum kpi_level level, struct kp_buf *out)
{
    size_t at = out->size;
    kp_buf_char(out, (char)codec->code);
    kp_status status = codec->encode(values, count, level, out);
    if (status == KP_OK && codec->code < KPI_CHUNK_CLASS) /* they have done so where it pays */
        status = kpi_zstd_shrink(out, at, level);
    if (status != KP_OK && !out->failed)
        out->size = at;
    return status;
}

static kp_status light_encode(const int64_t *values, uint32_t count, enum kpi_level level,
                              struct kp_buf *out)
{
    const struct kpi_codec *codec = codec_find(kpi_light_choose(values, count));
    kp_status status = chunk_add(codec, values, count, level, out);
    if (status == KP_LIMIT) /* more values than a dictionary takes */
        status = chunk_add(codec_find(KPI_CHUNK_CLASS), values, count, level, out);
    return status;
}

static const struct {
    uint8_t code;
    uint8_t price; /* a byte for so many values */
} models[] = {{KPI_CHUNK_DIRECT, 100}, {KPI_CHUNK_RANGE, 24}};

/* What a sealed chunk would be, compressed harder, or under a model, which must pay for what its
 * reader takes. */
static kp_status cold_encode(const int64_t *values, uint32_t count, struct kp_buf *out)
{
    const struct kpi_codec *plain = codec_choose(values, count, KPI_LEVEL_SEALED);
    size_t at = out->size;
    kp_status status = chunk_add(plain, values, count, KPI_LEVEL_COLD, out);
    if (status == KP_LIMIT)
        status = chunk_add(codec_find(KPI_CHUNK_PACK), values, count, KPI_LEVEL_COLD, out);
    size_t cost = out->size - at;
    for (size_t i = 0; status == KP_OK && i < KP_ARRAY_LEN(models) && cost > COLD_GOOD; i++) {
        struct kp_buf chunk = {0};
        kp_status fits =
            chunk_add(codec_find(models[i].code), values, count, KPI_LEVEL_COLD, &chunk);
        if (fits == KP_OK && chunk.size + count / models[i].price < cost) {
            out->size = at;
            kp_buf_add(out, chunk.data, chunk.size);
            cost = chunk.size + count / models[i].price;
        }
        kp_buf_deinit(&chunk);
        status = fits == KP_NO_MEMORY ? fits : status;
    }
    return out->failed ? KP_NO_MEMORY : status;
}

kp_status kpi_ints_encode(const int64_t *values, uint32_t count, enum kpi_level level,
                          struct kp_buf *out)
{
    kp_assert(count > 0 && count <= KPI_BLOCK_ROWS_MAX);
    if (level == KPI_LEVEL_FAST || level == KPI_LEVEL_BARE)
        return light_encode(values, count, level, out);
    kp_status status = chunk_add(&codecs[0], values, count, level, out);
    if (status != KP_LIMIT)
        return status;
    if (level == KPI_LEVEL_COLD)
        return cold_encode(values, count, out);
    status = chunk_add(codec_choose(values, count, level), values, count, level, out);
    if (status == KP_LIMIT) /* the whole does not suit what the sample suited */
        status = chunk_add(codec_find(KPI_CHUNK_PACK), values, count, level, out);
    return status;
}

kp_status kpi_ints_decode(const void *chunk, size_t size, uint32_t count, int64_t *out)
{
    uint8_t code;
    struct kp_reader body;
    void *owned;
    kp_status status = kpi_chunk_body(chunk, size, NULL, &code, &body, &owned);
    if (status != KP_OK)
        return status;
    const struct kpi_codec *codec = codec_find(code);
    status = codec == NULL ? KP_CORRUPT : codec->decode(&body, count, out);
    if (status == KP_OK && (body.bad || kp_reader_left(&body) != 0))
        status = KP_CORRUPT;
    free(owned);
    return status;
}

kp_status kpi_ints_nest(const int64_t *values, uint32_t count, enum kpi_level level,
                        struct kp_buf *out)
{
    return nest(values, count, false, level, out);
}

kp_status kpi_ints_unnest(struct kp_reader *in, uint32_t count, int64_t *out)
{
    uint64_t size = kp_read_varint(in);
    const uint8_t *chunk = size > kp_reader_left(in) ? NULL : kp_read_bytes(in, size);
    if (chunk == NULL || size == 0)
        return KP_CORRUPT;
    uint8_t code = chunk[0];
    struct kp_reader body = kp_reader_init(chunk + 1, size - 1);
    kp_status status = KP_CORRUPT;
    if (code == KPI_CHUNK_PACK || code == KPI_CHUNK_DELTA)
        status = vectors_decode(&body, count, code == KPI_CHUNK_DELTA, out);
    else if (code == KPI_CHUNK_PLANES)
        status = planes_decode_any(&body, count, false, out);
    if (status == KP_OK && (body.bad || kp_reader_left(&body) != 0))
        status = KP_CORRUPT;
    return status;
}
