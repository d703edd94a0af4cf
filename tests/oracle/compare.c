/* SPDX-License-Identifier: Apache-2.0
 *
 * One query, asked of both engines, and of ours once more without one of its ways. Cells are
 * compared as text; reals may differ in the seventh digit, because sums of reals depend on their
 * order. Rows of unknown order are compared as sets.
 */
#include "oracle.h"

#include <math.h>
#include <stdlib.h>

#include "base/assert.h"
#include "query/query.h"

#define CELL_END '\x1f'

static const uint32_t ways[] = {
    KP_OFF_PRUNING,
    KP_OFF_PARALLEL,
    KP_OFF_METADATA,
    KP_OFF_ROLLUPS,
    KP_OFF_UNORDERED,
    KP_OFF_JOINED,
    KP_OFF_PRUNING | KP_OFF_PARALLEL | KP_OFF_METADATA | KP_OFF_ROLLUPS | KP_OFF_UNORDERED,
    KP_OFF_PRUNING | KP_OFF_PARALLEL | KP_OFF_METADATA | KP_OFF_ROLLUPS | KP_OFF_JOINED,
};

/* --- answers as text --- */

static void add_real(struct kp_buf *out, double value)
{
    kp_buf_printf(out, "~%.9g", value == 0 ? 0.0 : value);
}

static void add_ours(struct kp_buf *out, const struct kp_vec *vec, uint32_t row)
{
    if (kp_vec_null(vec, row))
        kp_buf_text(out, "null");
    else if (kp_type_phys(vec->type) == KP_PHYS_STR)
        kp_buf_str(out, kp_vec_str(vec, row));
    else if (vec->type == KP_TYPE_F64)
        add_real(out, vec->f64[row]);
    else
        kp_buf_printf(out, "%lld", (long long)vec->i64[row]);
    kp_buf_char(out, CELL_END);
}

kp_status ask_ours(const struct universe *universe, const char *text, uint32_t off,
                   uint32_t threads, struct kp_buf *out, struct kp_error *err)
{
    const struct kp_query_opts opts = {.off = off, .threads = threads, .slice_rows = 900};
    struct kp_query *query = NULL;
    const struct kp_batch *batch;
    kp_status status = kp_query_open(universe->snapshot, kp_str_from(text), &opts, &query, err);
    while (status == KP_OK && (status = kp_query_next(query, &batch, err)) == KP_OK)
        for (uint32_t i = 0; i < kp_batch_count(batch); i++) {
            for (uint32_t c = 0; c < batch->cols_count; c++)
                add_ours(out, &batch->cols[c], kp_batch_row(batch, i));
            kp_buf_char(out, '\n');
        }
    kp_query_close(query);
    return status;
}

static void add_theirs(struct kp_buf *out, const struct duck_cell *cell)
{
    if (cell->null)
        kp_buf_text(out, "null");
    else if (cell->type == DUCK_STR)
        kp_buf_str(out, cell->str);
    else if (cell->type == DUCK_F64)
        add_real(out, cell->f64);
    else if (cell->type == DUCK_OTHER)
        kp_buf_text(out, "(type)");
    else
        kp_buf_printf(out, "%lld", (long long)cell->i64);
    kp_buf_char(out, CELL_END);
}

static bool ask_theirs(const struct universe *universe, const char *sql, struct kp_buf *out,
                       char **err)
{
    const struct duck_cell *cells;
    struct duck_rows *rows = duck_query(universe->duck, sql, err);
    if (rows == NULL)
        return false;
    while ((cells = duck_rows_next(rows)) != NULL) {
        for (uint32_t c = 0; c < duck_rows_width(rows); c++)
            add_theirs(out, &cells[c]);
        kp_buf_char(out, '\n');
    }
    duck_rows_close(rows);
    return true;
}

/* --- comparing --- */

struct lines {
    char **at;
    size_t count;
};

static struct lines lines_of(struct kp_buf *text)
{
    struct lines lines = {0};
    char *at = (char *)(uintptr_t)kp_buf_cstr(text);
    lines.at = calloc(text->size + 1, sizeof(*lines.at));
    kp_assert(lines.at != NULL);
    while (*at != '\0') {
        lines.at[lines.count++] = at;
        at += strcspn(at, "\n");
        *at++ = '\0';
    }
    return lines;
}

static int order_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool same_cell(const char *a, size_t a_len, const char *b, size_t b_len)
{
    if (a_len == b_len && memcmp(a, b, a_len) == 0)
        return true;
    if (*a != '~' || *b != '~')
        return false;
    double x = strtod(a + 1, NULL), y = strtod(b + 1, NULL);
    return fabs(x - y) <= 1e-6 * fmax(1, fmax(fabs(x), fabs(y)));
}

static bool same_line(const char *a, const char *b)
{
    while (*a != '\0' && *b != '\0') {
        size_t a_len = strcspn(a, "\x1f"), b_len = strcspn(b, "\x1f");
        if (!same_cell(a, a_len, b, b_len))
            return false;
        a += a_len + 1;
        b += b_len + 1;
    }
    return *a == *b;
}

static void say_line(struct kp_buf *out, const char *who, const char *line)
{
    kp_buf_printf(out, "  %s: ", who);
    for (; line != NULL && *line != '\0'; line++)
        kp_buf_char(out, *line == CELL_END ? '|' : *line);
    kp_buf_text(out, line == NULL ? "(no row)\n" : "\n");
}

bool same_rows(struct kp_buf *ours, struct kp_buf *theirs, bool ordered, struct kp_buf *out)
{
    struct lines a = lines_of(ours), b = lines_of(theirs);
    size_t i = 0;
    if (!ordered) {
        qsort(a.at, a.count, sizeof(*a.at), order_lines);
        qsort(b.at, b.count, sizeof(*b.at), order_lines);
    }
    while (i < a.count && i < b.count && same_line(a.at[i], b.at[i]))
        i++;
    bool same = i == a.count && i == b.count;
    if (!same) {
        kp_buf_printf(out, "  %zu rows and %zu, first difference in row %zu\n", a.count, b.count,
                      i + 1);
        say_line(out, "ours", i < a.count ? a.at[i] : NULL);
        say_line(out, "SQL ", i < b.count ? b.at[i] : NULL);
    }
    free(a.at);
    free(b.at);
    return same;
}

static void ask_again(const struct universe *universe, const char *text, uint32_t way,
                      const struct kp_buf *ours, struct outcome *out)
{
    struct kp_buf again = {0};
    struct kp_error err = {0};
    uint32_t off = ways[way % KP_ARRAY_LEN(ways)];
    uint32_t threads = 1 + way / KP_ARRAY_LEN(ways) % 3;
    kp_status status = ask_ours(universe, text, off, threads, &again, &err);
    if (status != KP_END || again.size != ours->size ||
        (again.size > 0 && memcmp(again.data, ours->data, again.size) != 0)) {
        out->verdict = WAYS_DIFFER;
        kp_buf_printf(&out->detail, "  with off = %u and %u threads: %s\n", off, threads,
                      status == KP_END ? "other bytes" : err.text);
    }
    kp_buf_deinit(&again);
}

void ask(const struct universe *universe, const struct pipe *pipe, uint32_t way,
         struct outcome *out)
{
    struct kp_buf text = {0}, sql = {0}, ours = {0}, theirs = {0};
    struct kp_error err = {0};
    struct columns columns;
    char *message = NULL;
    out->verdict = AGREED;
    kp_buf_clear(&out->detail);
    kp_assert(pipe_columns(pipe, pipe->count, &columns));
    print_ours(universe, pipe, &text);
    print_sql(pipe, &sql);
    if (ask_ours(universe, kp_buf_cstr(&text), 0, 1, &ours, &err) != KP_END) {
        out->verdict = OURS_FAILED;
        kp_buf_printf(&out->detail, "%s", err.text);
    } else if (!ask_theirs(universe, kp_buf_cstr(&sql), &theirs, &message)) {
        out->verdict = SQL_FAILED;
        kp_buf_printf(&out->detail, "%s", message);
    } else {
        ask_again(universe, kp_buf_cstr(&text), way, &ours, out);
        if (out->verdict == AGREED && !same_rows(&ours, &theirs, columns.ordered, &out->detail))
            out->verdict = DIFFERS;
    }
    out->bytes = ours.size;
    free(message);
    kp_buf_deinit(&text);
    kp_buf_deinit(&sql);
    kp_buf_deinit(&ours);
    kp_buf_deinit(&theirs);
}
