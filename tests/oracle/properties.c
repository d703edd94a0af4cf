/* SPDX-License-Identifier: Apache-2.0
 *
 * What must hold of any query without a second engine: a condition, its opposite and its being
 * null part the rows; so does their union; take gives the beginning; sorting keeps the order of
 * what is equal.
 */
#include "oracle.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

struct question {
    const struct universe *universe;
    struct kp_str lets, body;
    struct kp_buf text, rows;
    struct outcome *out;
};

/* The answer of lets and the text so far, into rows; false after saying why not. */
static bool answered(struct question *q)
{
    struct kp_error err = {0};
    bool whole = ask_ours(q->universe, kp_buf_cstr(&q->text), 0, 2, &q->rows, &err) == KP_END;
    if (whole)
        return true;
    q->out->verdict = OURS_FAILED;
    kp_buf_printf(&q->out->detail, "%s", err.text);
    return false;
}

static void begin(struct question *q)
{
    kp_buf_clear(&q->text);
    kp_buf_str(&q->text, q->lets);
}

static void disagree(struct question *q, const char *what)
{
    q->out->verdict = PROPERTY_BROKEN;
    kp_buf_printf(&q->out->detail, "  %s: %s\n", what, kp_buf_cstr(&q->text) + q->lets.len);
}

static bool same_set(struct kp_buf *a, struct kp_buf *b)
{
    struct kp_buf why = {0};
    bool same = same_rows(a, b, false, &why);
    kp_buf_deinit(&why);
    return same;
}

/* body | where p, where not(p), where isnull(p): by turns, and as one union. */
static void parts_make_the_whole(struct question *q, struct kp_buf *all, const char *condition)
{
    static const char *const parts[] = {"%s", "not(%s)", "isnull(%s)"};
    struct kp_buf whole = {0}, copy = {0};
    begin(q);
    kp_buf_text(&q->text, "union ");
    for (size_t i = 0; i < KP_ARRAY_LEN(parts); i++) {
        kp_buf_printf(&q->text, "%s(%.*s | where ", i == 0 ? "" : ", ", (int)q->body.len,
                      q->body.ptr);
        const char *hole = strstr(parts[i], "%s");
        kp_buf_add(&q->text, parts[i], (size_t)(hole - parts[i]));
        kp_buf_text(&q->text, condition);
        kp_buf_text(&q->text, hole + 2);
        kp_buf_char(&q->text, ')');
    }
    kp_buf_clear(&q->rows);
    if (answered(q)) {
        kp_buf_add(&whole, all->data, all->size);
        kp_buf_add(&copy, q->rows.data, q->rows.size);
        if (!same_set(&whole, &copy))
            disagree(q, "a condition, its opposite and its null are not all rows");
    }
    kp_buf_deinit(&whole);
    kp_buf_deinit(&copy);
}

static void take_is_the_beginning(struct question *q, const struct kp_buf *all, uint32_t n)
{
    begin(q);
    kp_buf_printf(&q->text, "%.*s | take %u", (int)q->body.len, q->body.ptr, n);
    kp_buf_clear(&q->rows);
    if (!answered(q))
        return;
    size_t lines = 0;
    for (size_t i = 0; i < q->rows.size; i++)
        lines += q->rows.data[i] == '\n';
    bool begins = q->rows.size <= all->size &&
                  (q->rows.size == 0 || memcmp(q->rows.data, all->data, q->rows.size) == 0);
    if (!begins || (lines != n && q->rows.size != all->size))
        disagree(q, "take is not the beginning");
}

/* Numbered rows, sorted: nothing stands out of its order, equals keep their numbers rising. */
static void sorting_is_stable(struct question *q, const struct column *key)
{
    begin(q);
    kp_buf_printf(&q->text,
                  "%.*s | extend zz_n = row_number() | sort by %s asc "
                  "| extend zz_k = prev(%s), zz_m = prev(zz_n) "
                  "| where zz_k > %s or (zz_k == %s and zz_m >= zz_n) | count",
                  (int)q->body.len, q->body.ptr, key->name, key->name, key->name, key->name);
    kp_buf_clear(&q->rows);
    if (answered(q) && strncmp(kp_buf_cstr(&q->rows), "0", 1) != 0)
        disagree(q, "a sort is not stable");
}

void ask_properties(const struct universe *universe, const struct pipe *pipe,
                    const struct node *condition, uint32_t n, struct outcome *out)
{
    struct kp_buf text = {0}, all = {0}, where = {0};
    struct columns columns;
    struct question q = {.universe = universe, .out = out};
    print_ours(universe, pipe, &text);
    kp_assert(pipe_columns(pipe, pipe->count, &columns));
    const char *body = strstr(kp_buf_cstr(&text), "];\n");
    body = body == NULL ? kp_buf_cstr(&text) : body + 3;
    q.lets = (struct kp_str){text.data, (uint32_t)(body - text.data)};
    q.body = kp_str_from(body);
    kp_buf_str(&q.text, (struct kp_str){text.data, (uint32_t)text.size});
    print_condition(condition, &where);
    if (answered(&q)) {
        kp_buf_add(&all, q.rows.data, q.rows.size);
        parts_make_the_whole(&q, &all, kp_buf_cstr(&where));
    }
    if (out->verdict == AGREED)
        take_is_the_beginning(&q, &all, n);
    if (out->verdict == AGREED && columns.at[0].type != 'Y')
        sorting_is_stable(&q, &columns.at[0]);
    kp_buf_deinit(&text);
    kp_buf_deinit(&all);
    kp_buf_deinit(&where);
    kp_buf_deinit(&q.text);
    kp_buf_deinit(&q.rows);
}
