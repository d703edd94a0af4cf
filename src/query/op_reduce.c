/* SPDX-License-Identifier: Apache-2.0
 *
 * reduce: texts that are alike become one pattern. A text is words (letters and digits) and what
 * stands between them, its shape; texts of one shape are alike when at least half of their words
 * are the same at the same places, and the words in which they differ become `*`. A text joins the
 * pattern it shares most words with, of those the oldest: one pass, the same answer every time.
 */
#include <stdlib.h>

#include "base/hash.h"
#include "query/rowset.h"
#include "query/shape.h"
#include "query/sorting.h"

#define WORDS_MAX    128  /* of a text; what follows is one more word */
#define PATTERNS_MAX 1000 /* of a shape; what resembles none of them is `*` */

struct pattern {
    struct kp_str example;
    struct kp_str *words;
    bool *open; /* per word: the texts differ there */
    uint32_t words_count;
    uint64_t rows;
    uint32_t number;      /* order of appearance */
    struct pattern *next; /* of the same shape */
};

struct shape {
    uint64_t hash;
    struct pattern *first, *last;
    uint32_t count;
};

struct reduce_op {
    struct kpi_op base;
    struct kpi_reduce reduce;
    struct shape *shapes; /* open addressing; first NULL = free */
    uint32_t capacity, used;
    struct pattern **patterns;
    uint32_t patterns_count, patterns_capacity;
    struct pattern others;
    uint64_t rows;
    bool done;
    uint32_t given;
    struct kpi_rowset answer;
    struct kp_batch out;
};

/* --- words --- */

static bool is_word(const struct reduce_op *op, char c)
{
    bool letter = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                  (c & 0x80) != 0;
    return letter && memchr(op->reduce.separators.ptr, c, op->reduce.separators.len) == NULL;
}

static uint32_t split(const struct reduce_op *op, struct kp_str text, struct kp_str *words,
                      uint64_t *out_shape)
{
    uint32_t count = 0, at = 0, from = 0;
    uint64_t shape = 0;
    while (at < text.len) {
        for (from = at; at < text.len && !is_word(op, text.ptr[at]);)
            at++;
        shape = kp_hash64(text.ptr + from, at - from, shape + 1);
        for (from = at; at < text.len && (is_word(op, text.ptr[at]) || count == WORDS_MAX - 1);)
            at++;
        if (at > from)
            words[count++] = (struct kp_str){text.ptr + from, at - from};
    }
    *out_shape = kp_hash64(&count, sizeof(count), shape);
    return count;
}

/* --- patterns --- */

static uint32_t same_words(const struct pattern *pattern, const struct kp_str *words)
{
    uint32_t same = 0;
    for (uint32_t i = 0; i < pattern->words_count; i++)
        same += !pattern->open[i] && kp_str_equal(pattern->words[i], words[i]);
    return same;
}

static struct pattern *nearest(const struct shape *shape, const struct kp_str *words,
                               uint32_t count)
{
    struct pattern *best = NULL;
    uint32_t most = 0;
    for (struct pattern *p = shape->first; p != NULL; p = p->next) {
        uint32_t same = same_words(p, words);
        bool alike = p->words_count == count && same * 2 >= count;
        if (alike && (best == NULL || same > most)) {
            best = p;
            most = same;
        }
    }
    return best;
}

static bool grow_shapes(struct reduce_op *op)
{
    uint32_t capacity = op->capacity == 0 ? 64 : op->capacity * 2;
    struct shape *shapes = kpi_new(&op->base.run->ctx, capacity, sizeof(*shapes));
    for (uint32_t i = 0; shapes != NULL && i < op->capacity; i++) {
        uint32_t at = (uint32_t)op->shapes[i].hash & (capacity - 1);
        if (op->shapes[i].first == NULL)
            continue;
        while (shapes[at].first != NULL)
            at = (at + 1) & (capacity - 1);
        shapes[at] = op->shapes[i];
    }
    if (shapes == NULL)
        return false;
    op->shapes = shapes;
    op->capacity = capacity;
    return true;
}

static struct shape *shape_of(struct reduce_op *op, uint64_t hash)
{
    if (op->used * 2 >= op->capacity && !grow_shapes(op))
        return NULL;
    uint32_t at = (uint32_t)hash & (op->capacity - 1);
    while (op->shapes[at].first != NULL && op->shapes[at].hash != hash)
        at = (at + 1) & (op->capacity - 1);
    op->shapes[at].hash = hash;
    return &op->shapes[at];
}

static bool list_pattern(struct reduce_op *op, struct pattern *pattern)
{
    if (op->patterns_count == op->patterns_capacity) {
        uint32_t capacity = op->patterns_capacity == 0 ? 64 : op->patterns_capacity * 2;
        struct pattern **list = kpi_new(&op->base.run->ctx, capacity, sizeof(struct pattern *));
        if (list == NULL)
            return false;
        for (uint32_t i = 0; i < op->patterns_count; i++)
            list[i] = op->patterns[i];
        op->patterns = list;
        op->patterns_capacity = capacity;
    }
    pattern->number = op->patterns_count;
    op->patterns[op->patterns_count++] = pattern;
    return true;
}

static bool add_pattern(struct reduce_op *op, struct shape *shape, struct kp_str text)
{
    struct kpi_ctx *ctx = &op->base.run->ctx;
    struct kp_str words[WORDS_MAX];
    uint64_t hash;
    struct pattern *pattern = kpi_new(ctx, 1, sizeof(*pattern));
    struct kp_str copy = kp_arena_str(ctx->arena, text);
    if (pattern == NULL || copy.ptr == NULL || !list_pattern(op, pattern)) {
        kpi_fail_memory(ctx);
        return false;
    }
    pattern->example = copy;
    pattern->words_count = split(op, copy, words, &hash);
    pattern->words = kpi_new(ctx, pattern->words_count, sizeof(*words));
    pattern->open = kpi_new(ctx, pattern->words_count, sizeof(bool));
    if (pattern->words == NULL || pattern->open == NULL)
        return false;
    memcpy(pattern->words, words, pattern->words_count * sizeof(*words));
    pattern->rows = 1;
    if (shape->first == NULL)
        shape->first = pattern;
    else
        shape->last->next = pattern;
    op->used += shape->first == pattern;
    shape->last = pattern;
    shape->count++;
    return true;
}

static bool add_text(struct reduce_op *op, struct kp_str text)
{
    struct kp_str words[WORDS_MAX];
    uint64_t hash;
    uint32_t count = split(op, text, words, &hash);
    struct shape *shape = shape_of(op, hash);
    struct pattern *pattern = shape == NULL ? NULL : nearest(shape, words, count);
    op->rows++;
    if (shape == NULL)
        return false;
    if (pattern == NULL && shape->count == PATTERNS_MAX) {
        if (op->others.rows++ == 0)
            op->others.example = kp_arena_str(op->base.run->ctx.arena, text);
        return op->others.example.ptr != NULL;
    }
    if (pattern == NULL)
        return add_pattern(op, shape, text);
    for (uint32_t i = 0; i < count; i++)
        pattern->open[i] |= !kp_str_equal(pattern->words[i], words[i]);
    pattern->rows++;
    return true;
}

/* --- the answer --- */

/* The example with stars for what differs; separators that were asked for and lie beside a star
 * belong to it. */
static void write_pattern(const struct reduce_op *op, const struct pattern *pattern,
                          struct kp_buf *out)
{
    const char *at = pattern->example.ptr, *end = at + pattern->example.len;
    for (uint32_t i = 0; i <= pattern->words_count; i++) {
        bool last = i == pattern->words_count;
        const char *word = last ? end : pattern->words[i].ptr;
        bool open = !last && pattern->open[i], after = i > 0 && pattern->open[i - 1];
        for (; at < word; at++)
            if (memchr(op->reduce.separators.ptr, *at, op->reduce.separators.len) == NULL ||
                (!open && !after))
                kp_buf_char(out, *at);
        bool starred = out->size > 0 && out->data[out->size - 1] == '*';
        if (open && !starred)
            kp_buf_char(out, '*');
        if (!open && !last)
            kp_buf_str(out, pattern->words[i]);
        at = last ? end : word + pattern->words[i].len;
    }
}

static bool write_row(struct reduce_op *op, struct kp_str text, const struct pattern *pattern)
{
    uint32_t row = kpi_rowset_grow(&op->answer);
    struct kpi_value values[3] = {{.type = KP_TYPE_STR, .str = text},
                                  {.type = KP_TYPE_I64, .i64 = (int64_t)pattern->rows},
                                  {.type = KP_TYPE_STR, .str = pattern->example}};
    for (uint32_t c = 0; row != UINT32_MAX && c < 3; c++)
        if (!kpi_rowset_set(&op->answer, row, c, values[c]))
            return false;
    return row != UINT32_MAX;
}

static int by_rows(const void *left, const void *right, void *arg)
{
    const struct pattern *a = *(struct pattern *const *)left, *b = *(struct pattern *const *)right;
    (void)arg;
    if (a->rows != b->rows)
        return a->rows > b->rows ? -1 : 1;
    return (a->number > b->number) - (a->number < b->number);
}

static bool write_answer(struct reduce_op *op)
{
    struct kp_buf text = {0};
    bool good = kpi_sort_items(op->base.run, op->patterns, op->patterns_count,
                               sizeof(struct pattern *), by_rows, NULL);
    for (uint32_t i = 0; good && i < op->patterns_count; i++) {
        const struct pattern *pattern = op->patterns[i];
        if ((double)pattern->rows < op->reduce.threshold * (double)op->rows) {
            if (op->others.rows == 0)
                op->others.example = pattern->example;
            op->others.rows += pattern->rows;
            continue;
        }
        kp_buf_clear(&text);
        write_pattern(op, pattern, &text);
        good =
            !text.failed && write_row(op, (struct kp_str){text.data, (uint32_t)text.size}, pattern);
    }
    if (good && op->others.rows > 0)
        good = write_row(op, KP_STR("*"), &op->others);
    kp_buf_deinit(&text);
    return good;
}

static kp_status build(struct reduce_op *op)
{
    struct kpi_op *base = &op->base;
    const struct kp_batch *batch;
    kp_status status;
    while ((status = kpi_op_next(base->input, &batch)) == KP_OK) {
        kpi_eval_begin(&base->eval);
        const struct kp_vec *text = kpi_expr_eval(op->reduce.text, batch, &base->eval);
        for (uint32_t i = 0; base->run->ctx.status == KP_OK && i < kp_batch_count(batch); i++)
            if (!add_text(op, kp_vec_str(text, kp_batch_row(batch, i))))
                return base->run->ctx.status == KP_OK ? kpi_fail_memory(&base->run->ctx)
                                                      : base->run->ctx.status;
    }
    op->done = true;
    if (status == KP_END && !write_answer(op) && base->run->ctx.status == KP_OK)
        kpi_fail_memory(&base->run->ctx);
    return status == KP_END ? base->run->ctx.status : status;
}

static kp_status reduce_open(struct kpi_op *base)
{
    static const enum kp_type types[] = {KP_TYPE_STR, KP_TYPE_I64, KP_TYPE_STR};
    struct reduce_op *op = (struct reduce_op *)base;
    kpi_rowset_init(&op->answer, &base->run->ctx, types, NULL, 3);
    kpi_expr_prepare(&base->run->ctx, op->reduce.text, KP_VECTOR_ROWS);
    return base->run->ctx.status;
}

static kp_status reduce_next(struct kpi_op *base, const struct kp_batch **out)
{
    struct reduce_op *op = (struct reduce_op *)base;
    kp_status status = op->done ? KP_OK : build(op);
    if (status != KP_OK)
        return status;
    return kpi_rowset_give(&op->answer, &op->given, &op->out, out);
}

static void reduce_need(struct kpi_op *base)
{
    kpi_expr_columns(((struct reduce_op *)base)->reduce.text, base->input->need);
}

static void reduce_describe(const struct kpi_op *base, struct kp_buf *out)
{
    kp_buf_text(out, "by ");
    kpi_expr_text(((const struct reduce_op *)base)->reduce.text, out);
}

static const struct kpi_op_class reduce_class = {"reduce",    reduce_open,     reduce_next, NULL,
                                                 reduce_need, reduce_describe, NULL};

struct kpi_op *kpi_op_reduce(struct kpi_op *input, const struct kpi_reduce *reduce)
{
    static const struct kp_field fields[] = {{KP_STR("Pattern"), KP_TYPE_STR, KP_UNIT_NONE},
                                             {KP_STR("Count"), KP_TYPE_I64, KP_UNIT_NONE},
                                             {KP_STR("Representative"), KP_TYPE_STR, KP_UNIT_NONE}};
    struct reduce_op *op =
        (struct reduce_op *)kpi_op_new(input->run, &reduce_class, sizeof(*op), input, 3);
    if (op == NULL)
        return NULL;
    memcpy(kpi_op_fields(&op->base), fields, sizeof(fields));
    op->reduce = *reduce;
    return &op->base;
}
