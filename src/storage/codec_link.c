/* SPDX-License-Identifier: Apache-2.0
 *
 * Strings told by other rows and columns of their block. Identifiers are noise, and noise does not
 * compress; but most of a span's are there already: the trace in the rows of its other spans, the
 * parent as the id of one of them, the transaction wherever the trace is, and once more in the
 * attributes that it was taken from.
 *
 *   RECENT  how many rows above the value stands; the texts of those that stand nowhere. Through a
 *           column: whether it is where that column's value stands
 *   ROW     which of the rows with the same value in one column has this text in another
 *   FILLED  texts in which a byte stands for the text of another column
 *
 * Hexadecimal texts of one length are kept as the bytes they mean. A block takes a link only when
 * the column by itself would be larger.
 *
 * Invariant: columns are told by those before them, and not by ROW or FILLED ones, so that reading
 * ends and no bytes make it long.
 */
#include "storage/codec_link.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "storage/codec_str.h"

#define HOLE        '\x1a'
#define HOLE_MIN    4u /* shorter texts are not looked for */
#define HEX_MAX     64u
#define ROW_FAR_MAX 32 /* rows of its group, up and down, that an encoder looks at */
#define NO_COLUMN   0u

/* Columns of spans that may be linked; what they are told by. */
static const struct rule {
    const char *column;
    enum kpi_chunk code;
    const char *of, *by;
} rules[] = {
    {"trace_id", KPI_CHUNK_RECENT, NULL, NULL},
    {"span_id", KPI_CHUNK_RECENT, NULL, NULL},
    {"parent_id", KPI_CHUNK_ROW, "span_id", "trace_id"},
    {"txn", KPI_CHUNK_RECENT, "trace_id", NULL},
    {"attrs", KPI_CHUNK_FILLED, "txn", NULL},
};

/* ---------- texts one after the other ---------- */

/* Bytes that each text means as hexadecimal digits; 0: they are not all such, or differ in length.
 */
static uint32_t hex_width(const struct kp_str *texts, uint32_t count)
{
    uint32_t chars = texts[0].len;
    if (chars % 2 != 0 || chars > 2 * HEX_MAX)
        return 0;
    for (uint32_t i = 0; i < count; i++) {
        if (texts[i].len != chars)
            return 0;
        for (uint32_t c = 0; c < chars; c++) {
            char digit = texts[i].ptr[c];
            if (!(digit >= '0' && digit <= '9') && !(digit >= 'a' && digit <= 'f'))
                return 0;
        }
    }
    return chars / 2;
}

static uint8_t hex_value(char digit)
{
    return (uint8_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

static void ints_add(struct kp_buf *out, const struct kp_buf *chunk)
{
    kpi_str_add(out, (struct kp_str){chunk->data, (uint32_t)chunk->size});
}

static kp_status numbers_add(const int64_t *values, uint32_t count, enum kpi_level level,
                             struct kp_buf *out)
{
    struct kp_buf chunk = {0};
    kp_status status = kpi_ints_encode(values, count, level, &chunk);
    if (status == KP_OK)
        ints_add(out, &chunk);
    kp_buf_deinit(&chunk);
    return status;
}

static kp_status numbers_read(struct kp_reader *in, uint32_t count, int64_t *out)
{
    struct kp_str chunk = kpi_str_read(in);
    return in->bad ? KP_CORRUPT : kpi_ints_decode(chunk.ptr, chunk.len, count, out);
}

/* No text leaves no byte. */
static kp_status texts_add(const struct kp_str *texts, uint32_t count, enum kpi_level level,
                           struct kp_arena *arena, struct kp_buf *out)
{
    if (count == 0)
        return KP_OK;
    uint32_t width = hex_width(texts, count);
    int64_t *lengths = kp_arena_alloc(arena, count * sizeof(*lengths));
    if (lengths == NULL)
        return KP_NO_MEMORY;
    kp_buf_char(out, (char)width);
    for (uint32_t i = 0; i < count; i++)
        lengths[i] = texts[i].len;
    kp_status status = width > 0 ? KP_OK : numbers_add(lengths, count, level, out);
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t c = 0; c < 2 * width; c += 2)
            kp_buf_char(out,
                        (char)(hex_value(texts[i].ptr[c]) << 4 | hex_value(texts[i].ptr[c + 1])));
    for (uint32_t i = 0; i < count && width == 0; i++)
        kp_buf_str(out, texts[i]);
    return status;
}

static kp_status hex_read(struct kp_reader *in, uint32_t width, uint32_t count,
                          struct kp_arena *arena, struct kp_str *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *bytes = width > HEX_MAX ? NULL : kp_read_bytes(in, (size_t)width * count);
    char *to = bytes == NULL ? NULL : kp_arena_alloc(arena, (size_t)width * count * 2);
    if (bytes == NULL || to == NULL)
        return bytes == NULL ? KP_CORRUPT : KP_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        out[i] = (struct kp_str){to, 2 * width};
        for (uint32_t b = 0; b < width; b++, bytes++) {
            *to++ = digits[*bytes >> 4];
            *to++ = digits[*bytes & 15];
        }
    }
    return KP_OK;
}

/* Texts that are not hexadecimal point into the body. */
static kp_status texts_read(struct kp_reader *in, uint32_t count, struct kp_arena *arena,
                            struct kp_str *out)
{
    if (count == 0)
        return KP_OK;
    uint8_t width = kp_read_u8(in);
    if (width > 0 || in->bad)
        return in->bad ? KP_CORRUPT : hex_read(in, width, count, arena, out);
    int64_t *lengths = kp_arena_alloc(arena, count * sizeof(*lengths));
    kp_status status = lengths == NULL ? KP_NO_MEMORY : numbers_read(in, count, lengths);
    for (uint32_t i = 0; i < count && status == KP_OK; i++) {
        if (lengths[i] < 0 || (uint64_t)lengths[i] > kp_reader_left(in))
            return KP_CORRUPT;
        const uint8_t *bytes = kp_read_bytes(in, (size_t)lengths[i]);
        out[i] = (struct kp_str){(const char *)bytes, (uint32_t)lengths[i]};
    }
    return status;
}

/* ---------- recent: how far above ---------- */

/* out[i]: rows from i up to the one before with the same text; 0 = there is none. */
static kp_status distances_find(const struct kp_vec *vec, uint32_t rows, struct kp_arena *arena,
                                int64_t *out)
{
    struct kpi_str_set set;
    uint32_t *next = kp_arena_zalloc(arena, rows, sizeof(*next)); /* last row + 1, by code */
    kp_status status = next == NULL ? KP_NO_MEMORY : kpi_str_set_collect(&set, vec, rows);
    if (status != KP_OK)
        return status;
    for (uint32_t i = 0; i < rows; i++) {
        uint32_t *above = &next[set.codes[i]];
        out[i] = *above == 0 ? 0 : i + 1 - (int64_t)*above;
        *above = i + 1;
    }
    kpi_str_set_deinit(&set);
    return KP_OK;
}

static kp_status recent_encode(const struct kp_batch *batch, uint32_t column, uint32_t through,
                               enum kpi_level level, struct kp_arena *arena, struct kp_buf *out)
{
    const struct kp_vec *vec = &batch->cols[column];
    uint32_t rows = batch->rows, fresh = 0;
    int64_t *distances = kp_arena_alloc(arena, rows * sizeof(*distances));
    int64_t *others = kp_arena_alloc(arena, rows * sizeof(*others));
    struct kp_str *texts = kp_arena_alloc(arena, rows * sizeof(*texts));
    kp_status status = distances == NULL || others == NULL || texts == NULL
                           ? KP_NO_MEMORY
                           : distances_find(vec, rows, arena, distances);
    if (status == KP_OK && through != NO_COLUMN)
        status = distances_find(&batch->cols[through], rows, arena, others);
    for (uint32_t i = 0; i < rows && status == KP_OK; i++) {
        if (distances[i] == 0)
            texts[fresh++] = kp_vec_str(vec, i);
        if (through != NO_COLUMN)
            distances[i] = distances[i] == others[i] ? 0 : distances[i] + 1;
    }
    kp_buf_char(out, (char)through);
    if (status == KP_OK)
        status = numbers_add(distances, rows, level, out);
    return status == KP_OK ? texts_add(texts, fresh, level, arena, out) : status;
}

static kp_status source_column(const struct kpi_block *block, uint32_t column, uint32_t source,
                               struct kp_arena *arena, struct kp_vec *out);
static kp_status distances_read(const struct kpi_block *block, uint32_t column,
                                struct kp_reader *body, struct kp_arena *arena, int64_t *out);
static kp_status body_read(const struct kpi_block *block, uint32_t column, struct kp_arena *arena,
                           uint8_t *out_code, struct kp_reader *out_body);

/* Of a column that another one is told by; its texts are read only when it is no RECENT one. */
static kp_status source_distances(const struct kpi_block *block, uint32_t column, uint32_t source,
                                  struct kp_arena *arena, int64_t *out)
{
    uint8_t code;
    struct kp_reader body;
    struct kp_vec vec;
    if (source >= column)
        return KP_CORRUPT;
    kp_status status = body_read(block, source, arena, &code, &body);
    if (status == KP_OK && code == KPI_CHUNK_RECENT)
        return distances_read(block, source, &body, arena, out);
    if (status == KP_OK)
        status = source_column(block, column, source, arena, &vec);
    return status == KP_OK ? distances_find(&vec, block->info.rows, arena, out) : status;
}

/* The reader is then at the texts. */
static kp_status distances_read(const struct kpi_block *block, uint32_t column,
                                struct kp_reader *body, struct kp_arena *arena, int64_t *out)
{
    uint32_t through = kp_read_u8(body), rows = block->info.rows;
    int64_t *others = NULL;
    kp_status status = body->bad ? KP_CORRUPT : numbers_read(body, rows, out);
    if (status == KP_OK && through != NO_COLUMN) {
        others = kp_arena_alloc(arena, rows * sizeof(*others));
        status =
            others == NULL ? KP_NO_MEMORY : source_distances(block, column, through, arena, others);
    }
    for (uint32_t i = 0; i < rows && status == KP_OK; i++) {
        if (others != NULL)
            out[i] = out[i] == 0 ? others[i] : out[i] - 1;
        if (out[i] < 0 || out[i] > (int64_t)i)
            return KP_CORRUPT;
    }
    return status;
}

static kp_status recent_decode(const struct kpi_block *block, uint32_t column,
                               struct kp_reader *body, struct kp_arena *arena, struct kp_vec *out)
{
    uint32_t rows = block->info.rows, fresh = 0;
    int64_t *distances = kp_arena_alloc(arena, rows * sizeof(*distances));
    struct kp_str *values;
    kp_status status =
        distances == NULL ? KP_NO_MEMORY : distances_read(block, column, body, arena, distances);
    if (status != KP_OK)
        return status;
    for (uint32_t i = 0; i < rows; i++)
        fresh += distances[i] == 0;
    status = kpi_vec_dict(arena, fresh, rows, &values, out);
    if (status == KP_OK)
        status = texts_read(body, fresh, arena, values);
    for (uint32_t i = 0, code = 0; i < rows && status == KP_OK; i++)
        out->codes[i] = distances[i] == 0 ? code++ : out->codes[i - (uint32_t)distances[i]];
    return status;
}

/* ---------- row: which one of the group ---------- */

enum { ROW_EMPTY, ROW_TEXT, ROW_FIRST }; /* then the distance in rows of the group, as zigzag */

/* Rows by the value of a column: a group's lie one behind the other, in order. */
struct groups {
    uint32_t *first; /* of each group's rows in `rows` */
    uint32_t *rows;
    uint32_t *place; /* of a row in `rows` */
    uint32_t *of;    /* group of a row */
};

static kp_status groups_make(const struct kp_vec *vec, uint32_t rows, struct kp_arena *arena,
                             struct groups *out)
{
    struct kpi_str_set set;
    out->first = kp_arena_zalloc(arena, (size_t)rows + 1, sizeof(*out->first));
    out->rows = kp_arena_alloc(arena, rows * sizeof(*out->rows));
    out->place = kp_arena_alloc(arena, rows * sizeof(*out->place));
    out->of = kp_arena_alloc(arena, rows * sizeof(*out->of));
    if (out->first == NULL || out->rows == NULL || out->place == NULL || out->of == NULL)
        return KP_NO_MEMORY;
    kp_status status = kpi_str_set_collect(&set, vec, rows);
    if (status != KP_OK)
        return status;
    for (uint32_t i = 0; i < rows; i++) {
        out->of[i] = (uint32_t)set.codes[i];
        out->first[out->of[i] + 1]++;
    }
    for (uint32_t g = 0; g < set.count; g++)
        out->first[g + 1] += out->first[g];
    memset(set.slots, 0, set.count * sizeof(*set.slots)); /* of no more use: rows so far */
    for (uint32_t i = 0; i < rows; i++) {
        out->place[i] = out->first[out->of[i]] + set.slots[out->of[i]]++;
        out->rows[out->place[i]] = i;
    }
    kpi_str_set_deinit(&set);
    return KP_OK;
}

/* Whether the row at a place of the group is the one, and how far it is. */
static bool row_is(const struct groups *groups, const struct kp_vec *ids, uint32_t row, int64_t far,
                   struct kp_str text)
{
    int64_t at = (int64_t)groups->place[row] + far;
    uint32_t group = groups->of[row];
    return at >= groups->first[group] && at < groups->first[group + 1] &&
           kp_str_equal(kp_vec_str(ids, groups->rows[at]), text);
}

/* What stands for a text: the nearest row of its group that has it. */
static int64_t row_value(const struct groups *groups, const struct kp_vec *ids, uint32_t row,
                         struct kp_str text)
{
    if (text.len == 0)
        return ROW_EMPTY;
    for (int64_t far = 0; far <= ROW_FAR_MAX; far++)
        for (int64_t side = far; side >= -far; side -= KP_MAX(2 * far, INT64_C(1)))
            if (row_is(groups, ids, row, side, text))
                return ROW_FIRST + (int64_t)kp_zigzag(side);
    return ROW_TEXT;
}

static kp_status row_encode(const struct kp_batch *batch, uint32_t column, uint32_t of, uint32_t by,
                            enum kpi_level level, struct kp_arena *arena, struct kp_buf *out)
{
    uint32_t rows = batch->rows, own = 0;
    struct groups groups;
    int64_t *values = kp_arena_alloc(arena, rows * sizeof(*values));
    struct kp_str *texts = kp_arena_alloc(arena, rows * sizeof(*texts));
    kp_status status = values == NULL || texts == NULL
                           ? KP_NO_MEMORY
                           : groups_make(&batch->cols[by], rows, arena, &groups);
    for (uint32_t i = 0; i < rows && status == KP_OK; i++) {
        struct kp_str text = kp_vec_str(&batch->cols[column], i);
        values[i] = row_value(&groups, &batch->cols[of], i, text);
        if (values[i] == ROW_TEXT)
            texts[own++] = text;
    }
    kp_buf_char(out, (char)of);
    kp_buf_char(out, (char)by);
    if (status == KP_OK)
        status = numbers_add(values, rows, level, out);
    return status == KP_OK ? texts_add(texts, own, level, arena, out) : status;
}

static kp_status rows_fill(const struct groups *groups, const struct kp_vec *ids,
                           const int64_t *values, uint32_t rows, const struct kp_str *texts,
                           struct kp_str *out)
{
    for (uint32_t i = 0; i < rows; i++) {
        uint32_t group = groups->of[i];
        int64_t far = kp_unzigzag((uint64_t)values[i] - ROW_FIRST);
        if (values[i] == ROW_EMPTY) {
            out[i] = (struct kp_str){"", 0};
        } else if (values[i] == ROW_TEXT) {
            out[i] = *texts++;
        } else if (far < (int64_t)groups->first[group] - groups->place[i] ||
                   far >= (int64_t)groups->first[group + 1] - groups->place[i]) {
            return KP_CORRUPT;
        } else {
            out[i] = kp_vec_str(ids, groups->rows[groups->place[i] + far]);
        }
    }
    return KP_OK;
}

static kp_status row_decode(const struct kpi_block *block, uint32_t column, struct kp_reader *body,
                            struct kp_arena *arena, struct kp_vec *out)
{
    uint32_t rows = block->info.rows, of = kp_read_u8(body), by = kp_read_u8(body), own = 0;
    struct kp_vec ids, keys;
    struct groups groups;
    int64_t *values = kp_arena_alloc(arena, rows * sizeof(*values));
    struct kp_str *texts = kp_arena_alloc(arena, rows * sizeof(*texts));
    out->strs = kp_arena_alloc(arena, rows * sizeof(*out->strs));
    kp_status status = values == NULL || texts == NULL || out->strs == NULL
                           ? KP_NO_MEMORY
                           : numbers_read(body, rows, values);
    for (uint32_t i = 0; i < rows && status == KP_OK; i++)
        own += values[i] == ROW_TEXT;
    if (status == KP_OK)
        status = texts_read(body, own, arena, texts);
    if (status == KP_OK)
        status = source_column(block, column, of, arena, &ids);
    if (status == KP_OK)
        status = source_column(block, column, by, arena, &keys);
    if (status == KP_OK)
        status = groups_make(&keys, rows, arena, &groups);
    return status == KP_OK ? rows_fill(&groups, &ids, values, rows, texts, out->strs) : status;
}

/* ---------- filled: a byte stands for another column ---------- */

/* The text with holes where `part` was. */
static kp_status hollow(struct kp_str text, struct kp_str part, struct kp_arena *arena,
                        struct kp_str *out)
{
    char *to = kp_arena_alloc(arena, (size_t)text.len + 1);
    if (to == NULL)
        return KP_NO_MEMORY;
    if (text.len > 0 && memchr(text.ptr, HOLE, text.len) != NULL)
        return KP_LIMIT;
    *out = (struct kp_str){to, 0};
    for (uint32_t at = 0; at < text.len;) {
        bool is = part.len >= HOLE_MIN && text.len - at >= part.len &&
                  memcmp(text.ptr + at, part.ptr, part.len) == 0;
        to[out->len++] = is ? HOLE : text.ptr[at];
        at += is ? part.len : 1;
    }
    return KP_OK;
}

static kp_status filled_encode(const struct kp_batch *batch, uint32_t column, uint32_t of,
                               enum kpi_level level, struct kp_arena *arena, struct kp_buf *out)
{
    uint32_t rows = batch->rows;
    struct kp_vec vec = {.type = KP_TYPE_STR,
                         .strs = kp_arena_alloc(arena, rows * sizeof(*vec.strs))};
    struct kp_buf chunk = {0};
    kp_status status = vec.strs == NULL ? KP_NO_MEMORY : KP_OK;
    for (uint32_t i = 0; i < rows && status == KP_OK; i++)
        status = hollow(kp_vec_str(&batch->cols[column], i), kp_vec_str(&batch->cols[of], i), arena,
                        &vec.strs[i]);
    if (status == KP_OK)
        status = kpi_strs_encode(&vec, rows, level, &chunk);
    kp_buf_char(out, (char)of);
    if (status == KP_OK)
        ints_add(out, &chunk);
    kp_buf_deinit(&chunk);
    return status;
}

/* Texts with their holes filled, one behind the other in one piece of memory. */
static kp_status holes_fill(const struct kp_vec *texts, const struct kp_vec *parts, uint32_t rows,
                            struct kp_arena *arena, struct kp_str *out)
{
    uint64_t total = 1;
    for (uint32_t i = 0; i < rows && total <= KPI_CHUNK_BYTES_MAX; i++) {
        struct kp_str text = kp_vec_str(texts, i), part = kp_vec_str(parts, i);
        for (uint32_t c = 0; c < text.len; c++)
            total += text.ptr[c] == HOLE ? part.len : 1;
    }
    if (total > KPI_CHUNK_BYTES_MAX)
        return KP_CORRUPT;
    char *to = kp_arena_alloc(arena, total);
    for (uint32_t i = 0; i < rows && to != NULL; i++) {
        struct kp_str text = kp_vec_str(texts, i), part = kp_vec_str(parts, i);
        out[i].ptr = to;
        for (uint32_t c = 0; c < text.len; c++) {
            if (text.ptr[c] != HOLE)
                *to++ = text.ptr[c];
            else if (part.len > 0)
                to = (char *)memcpy(to, part.ptr, part.len) + part.len;
        }
        out[i].len = (uint32_t)(to - out[i].ptr);
    }
    return to == NULL ? KP_NO_MEMORY : KP_OK;
}

static kp_status filled_decode(const struct kpi_block *block, uint32_t column,
                               struct kp_reader *body, struct kp_arena *arena, struct kp_vec *out)
{
    uint32_t rows = block->info.rows, of = kp_read_u8(body);
    struct kp_str chunk = kpi_str_read(body);
    struct kp_vec texts, parts;
    out->strs = kp_arena_alloc(arena, rows * sizeof(*out->strs));
    kp_status status = body->bad ? KP_CORRUPT : out->strs == NULL ? KP_NO_MEMORY : KP_OK;
    if (status == KP_OK)
        status = kpi_strs_decode(chunk.ptr, chunk.len, rows, arena, &texts);
    if (status == KP_OK)
        status = source_column(block, column, of, arena, &parts);
    return status == KP_OK ? holes_fill(&texts, &parts, rows, arena, out->strs) : status;
}

/* ---------- writing ---------- */

static uint32_t column_named(const struct kp_stream *stream, const char *name)
{
    int column = name == NULL ? -1 : kp_stream_stored(stream, name);
    return column < 0 ? NO_COLUMN : (uint32_t)column;
}

static const struct rule *rule_find(const struct kp_stream *stream, uint32_t column)
{
    if (stream->number != KP_S_SPANS)
        return NULL;
    for (size_t i = 0; i < KP_ARRAY_LEN(rules); i++)
        if (strcmp(rules[i].column, stream->stored[column].name) == 0)
            return &rules[i];
    return NULL;
}

/* The linked chunk. LIMIT: these texts do not suit it. */
static kp_status linked_add(const struct kp_batch *batch, uint32_t column, const struct rule *rule,
                            enum kpi_level level, struct kp_buf *out)
{
    struct kp_arena arena = {0};
    uint32_t of = column_named(batch->stream, rule->of);
    kp_buf_char(out, (char)rule->code);
    kp_status status;
    if (rule->code == KPI_CHUNK_RECENT)
        status = recent_encode(batch, column, of, level, &arena, out);
    else if (rule->code == KPI_CHUNK_ROW)
        status = row_encode(batch, column, of, column_named(batch->stream, rule->by), level, &arena,
                            out);
    else
        status = filled_encode(batch, column, of, level, &arena, out);
    kp_arena_deinit(&arena);
    if (status == KP_OK && out->size > KPI_CHUNK_BYTES_MAX)
        return KP_LIMIT;
    return status == KP_OK ? kpi_zstd_shrink(out, 0, level) : status;
}

kp_status kpi_link_encode(const struct kp_batch *batch, uint32_t column, enum kpi_level level,
                          bool *out_linked, struct kp_buf *out)
{
    const struct rule *rule = rule_find(batch->stream, column);
    size_t at = out->size;
    struct kp_buf linked = {0};
    kp_status status = kpi_strs_encode(&batch->cols[column], batch->rows, level, out);
    *out_linked = false;
    if (rule == NULL || status != KP_OK)
        return status;
    status = linked_add(batch, column, rule, level, &linked);
    if (status == KP_OK && linked.failed)
        status = KP_NO_MEMORY;
    if (status == KP_OK && linked.size < out->size - at) {
        out->size = at;
        kp_buf_add(out, linked.data, linked.size);
        *out_linked = true;
    }
    kp_buf_deinit(&linked);
    return status == KP_LIMIT ? KP_OK : status;
}

/* ---------- reading ---------- */

/* The body of a column's chunk, in memory that stays. */
static kp_status body_read(const struct kpi_block *block, uint32_t column, struct kp_arena *arena,
                           uint8_t *out_code, struct kp_reader *out_body)
{
    void *owned;
    const struct kpi_chunk_span *chunk = &block->chunks[column];
    if (column >= block->columns || chunk->size == 0)
        return KP_CORRUPT;
    return kpi_chunk_body(chunk->bytes, chunk->size, arena, out_code, out_body, &owned);
}

/* A column that `column` is told by. */
static kp_status source_column(const struct kpi_block *block, uint32_t column, uint32_t source,
                               struct kp_arena *arena, struct kp_vec *out)
{
    const struct kp_stream *stream = block->info.stream;
    if (source >= KP_MIN(column, block->columns) || block->chunks[source].size == 0 ||
        kp_type_phys(stream->stored[source].type) != KP_PHYS_STR)
        return KP_CORRUPT;
    uint8_t code = block->chunks[source].bytes[0] & (uint8_t)~KPI_CHUNK_ZSTD;
    if (code == KPI_CHUNK_ROW || code == KPI_CHUNK_FILLED)
        return KP_CORRUPT;
    return kpi_link_decode(block, source, arena, out);
}

kp_status kpi_link_decode(const struct kpi_block *block, uint32_t column, struct kp_arena *arena,
                          struct kp_vec *out)
{
    const struct kpi_chunk_span *chunk = &block->chunks[column];
    uint8_t code = chunk->bytes[0] & (uint8_t)~KPI_CHUNK_ZSTD;
    struct kp_vec vec = {.type = KP_TYPE_STR};
    struct kp_reader body;
    if (code != KPI_CHUNK_RECENT && code != KPI_CHUNK_ROW && code != KPI_CHUNK_FILLED)
        return kpi_strs_decode(chunk->bytes, chunk->size, block->info.rows, arena, out);
    kp_status status = body_read(block, column, arena, &code, &body);
    if (status != KP_OK)
        return status;
    if (code == KPI_CHUNK_RECENT)
        status = recent_decode(block, column, &body, arena, &vec);
    else if (code == KPI_CHUNK_ROW)
        status = row_decode(block, column, &body, arena, &vec);
    else
        status = filled_decode(block, column, &body, arena, &vec);
    if (status == KP_OK && (body.bad || kp_reader_left(&body) != 0))
        status = KP_CORRUPT;
    if (status == KP_OK)
        *out = vec;
    return status;
}
