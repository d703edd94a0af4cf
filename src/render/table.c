/* SPDX-License-Identifier: Apache-2.0
 *
 * The aligned table. Rows are kept as text in chunks of CHUNK_ROWS, so that widths fit what is
 * shown while a long answer still streams. A pipe gets every column in full. On a terminal an
 * answer that is too wide gives way in four steps, each only if the one before was not enough:
 *
 *   1. columns that are empty in the whole chunk go, and are named below the table
 *   2. columns with one value in the whole chunk go, and are named once with their value
 *   3. long text columns are cut, with an ellipsis
 *   4. the columns fold into several tables below each other, the first column repeated
 *
 * Nothing disappears without being said. A single row that must fold is shown one line a column.
 */
#include "base/assert.h"
#include "render/render_int.h"

#define CHUNK_ROWS 1024
#define CUT_WIDTH  24 /* a text column is never cut below this */
#define GAP        2  /* spaces between columns */

struct cell {
    size_t offset; /* into text */
    uint32_t len;
    uint32_t width;
};

struct column {
    uint32_t width;   /* as shown */
    uint32_t natural; /* of the widest cell */
    bool empty, same; /* in this chunk */
    bool hidden;
};

struct table {
    struct kp_buf text;  /* of this chunk's cells */
    struct kp_buf cells; /* struct cell, row by row */
    struct kp_buf marks; /* one byte a row: 1 = root row */
    struct column *columns;
    uint32_t rows; /* in this chunk */
    int root;      /* column that marks the root row, -1 = none */
    bool headed;   /* the header was printed */
};

static kp_status table_begin(struct kp_render *render)
{
    struct table *table = kp_arena_zalloc(&render->arena, 1, sizeof(*table));
    if (table == NULL)
        return KP_NO_MEMORY;
    uint32_t count = render->schema->count;
    table->columns = kp_arena_zalloc(&render->arena, count + 1, sizeof(*table->columns));
    if (table->columns == NULL)
        return KP_NO_MEMORY;
    for (uint32_t c = 0; c < count; c++)
        table->columns[c].width = kpi_text_width(render->schema->fields[c].name);
    table->root = kp_schema_find(render->schema, KP_STR("root"));
    if (table->root >= 0 && render->schema->fields[table->root].type != KP_TYPE_BOOL)
        table->root = -1;
    render->state = table;
    return KP_OK;
}

static const struct cell *cell_at(const struct table *table, const struct kp_render *render,
                                  uint32_t row, uint32_t column)
{
    const struct cell *cells = (const void *)table->cells.data;
    return &cells[(size_t)row * render->schema->count + column];
}

static struct kp_str cell_text(const struct table *table, const struct cell *cell)
{
    return (struct kp_str){table->text.data + cell->offset, cell->len};
}

static void add_row(struct kp_render *render, const struct kp_batch *batch, uint32_t row)
{
    struct table *table = render->state;
    for (uint32_t c = 0; c < batch->cols_count; c++) {
        struct cell cell = {.offset = table->text.size};
        kpi_value_shown(render, &render->schema->fields[c], &batch->cols[c], row, &table->text);
        if (table->text.failed)
            break;
        cell.len = (uint32_t)(table->text.size - cell.offset);
        cell.width = cell.len == 0 ? 0 : kpi_text_width(cell_text(table, &cell));
        kp_buf_add(&table->cells, &cell, sizeof(cell));
    }
    bool root = table->root >= 0 && !kp_vec_null(&batch->cols[table->root], row) &&
                batch->cols[table->root].i64[row] != 0;
    kp_buf_char(&table->marks, root ? 1 : 0);
    table->rows++;
    render->out.failed |= table->text.failed || table->cells.failed || table->marks.failed;
}

/* --- what of a chunk is shown, and how wide --- */

static void measure(struct kp_render *render)
{
    struct table *table = render->state;
    for (uint32_t c = 0; c < render->schema->count; c++) {
        struct column *column = &table->columns[c];
        column->empty = column->same = true;
        column->hidden = false;
        if (render->term.width > 0)
            column->width =
                table->headed ? column->width : kpi_text_width(render->schema->fields[c].name);
        for (uint32_t row = 0; row < table->rows; row++) {
            const struct cell *cell = cell_at(table, render, row, c);
            column->width = KP_MAX(column->width, cell->width);
            column->empty &= cell->len == 0;
            column->same &= kp_str_equal(cell_text(table, cell),
                                         cell_text(table, cell_at(table, render, 0, c)));
        }
    }
}

static uint32_t total_width(const struct kp_render *render)
{
    const struct table *table = render->state;
    uint32_t total = 0;
    for (uint32_t c = 0; c < render->schema->count; c++)
        if (!table->columns[c].hidden)
            total += table->columns[c].width + (total > 0 ? GAP : 0);
    return total;
}

/* Before folding: full widths again, as far as one table's line can hold them. */
static void uncut_columns(struct kp_render *render)
{
    struct table *table = render->state;
    uint32_t most = render->term.width;
    if (most > table->columns[0].width + GAP + CUT_WIDTH)
        most -= table->columns[0].width + GAP;
    for (uint32_t c = 1; c < render->schema->count; c++)
        table->columns[c].width = KP_MIN(table->columns[c].natural, most);
}

static void cut_columns(struct kp_render *render)
{
    struct table *table = render->state;
    for (uint32_t c = 0; c < render->schema->count; c++) {
        enum kp_type type = render->schema->fields[c].type;
        struct column *column = &table->columns[c];
        uint32_t total = total_width(render);
        if (total <= render->term.width || (type != KP_TYPE_STR && type != KP_TYPE_DYN))
            continue;
        uint32_t over = total - render->term.width;
        uint32_t least = KP_MAX(CUT_WIDTH, kpi_text_width(render->schema->fields[c].name));
        if (column->width > least)
            column->width = column->width - least > over ? column->width - over : least;
    }
}

/* Steps 1 to 3; true when the columns then fit into one table. */
static bool make_fit(struct kp_render *render)
{
    struct table *table = render->state;
    uint32_t limit = render->term.width;
    if (limit == 0 || total_width(render) <= limit)
        return true;
    for (uint32_t c = 1; c < render->schema->count && table->rows > 0; c++)
        table->columns[c].hidden = table->columns[c].empty;
    if (total_width(render) <= limit)
        return true;
    for (uint32_t c = 1; c < render->schema->count && table->rows > 1; c++)
        table->columns[c].hidden |= table->columns[c].same && (int)c != table->root;
    for (uint32_t c = 0; c < render->schema->count; c++)
        table->columns[c].natural = table->columns[c].width;
    cut_columns(render);
    if (total_width(render) <= limit)
        return true;
    uncut_columns(render);
    return false;
}

/* --- printing --- */

static void add_rule(struct kp_render *render, uint32_t width)
{
    for (uint32_t i = 0; i < width; i++)
        kp_buf_text(&render->out,
                    render->term.utf8 && render->term.width > 0 ? "\xE2\x94\x80" : "-");
}

static bool in_block(const struct table *table, uint32_t c, uint32_t from, uint32_t to)
{
    return !table->columns[c].hidden && (c == 0 || (c >= from && c < to));
}

/* True when column c is the last shown one of its line: it needs no padding. */
static bool last_in_block(const struct table *table, uint32_t c, uint32_t from, uint32_t to)
{
    for (uint32_t next = c + 1; next < to; next++)
        if (in_block(table, next, from, to))
            return false;
    return true;
}

static void add_cell(struct kp_render *render, struct kp_str text, uint32_t c, bool last)
{
    const struct table *table = render->state;
    bool right = kpi_type_right(render->schema->fields[c].type);
    uint32_t width = table->columns[c].width;
    uint32_t natural = kpi_text_width(text);
    if (render->term.width == 0)
        width = KP_MAX(width, natural); /* never cut in a pipe */
    if (last && !right && natural <= width)
        kp_buf_str(&render->out, text);
    else
        kpi_text_pad(&render->out, text, width, right, render->term.utf8);
}

static void add_header(struct kp_render *render, uint32_t from, uint32_t to)
{
    struct table *table = render->state;
    bool first = true;
    kp_buf_text(&render->out, render->term.color ? "\033[1m" : "");
    for (uint32_t c = 0; c < to; c++) {
        if (!in_block(table, c, from, to))
            continue;
        kp_buf_text(&render->out, first ? "" : "  ");
        add_cell(render, render->schema->fields[c].name, c, last_in_block(table, c, from, to));
        first = false;
    }
    kp_buf_text(&render->out, render->term.color ? "\033[0m\n" : "\n");
    first = true;
    for (uint32_t c = 0; c < to; c++) {
        if (!in_block(table, c, from, to))
            continue;
        kp_buf_text(&render->out, first ? "" : "  ");
        add_rule(render, table->columns[c].width);
        first = false;
    }
    kp_buf_char(&render->out, '\n');
}

static void add_lines(struct kp_render *render, uint32_t from, uint32_t to)
{
    struct table *table = render->state;
    for (uint32_t row = 0; row < table->rows; row++) {
        bool first = true, mark = render->term.color && table->marks.data[row] != 0;
        kp_buf_text(&render->out, mark ? "\033[1;31m" : "");
        for (uint32_t c = 0; c < to; c++) {
            if (!in_block(table, c, from, to))
                continue;
            kp_buf_text(&render->out, first ? "" : "  ");
            add_cell(render, cell_text(table, cell_at(table, render, row, c)), c,
                     last_in_block(table, c, from, to));
            first = false;
        }
        while (render->out.size > 0 && render->out.data[render->out.size - 1] == ' ')
            render->out.size--;
        kp_buf_text(&render->out, mark ? "\033[0m\n" : "\n");
        kpi_render_flush(render, false);
    }
}

/* The end (exclusive) of the block of columns that starts at `from` and fits the terminal. */
static uint32_t block_end(const struct kp_render *render, uint32_t from)
{
    const struct table *table = render->state;
    uint32_t used = from > 0 ? table->columns[0].width : 0;
    uint32_t to = from;
    for (; to < render->schema->count; to++) {
        if (table->columns[to].hidden)
            continue;
        uint32_t width = table->columns[to].width + (used > 0 ? GAP : 0);
        if (used + width > render->term.width && used > 0 && to > from)
            break;
        used += width;
    }
    return to;
}

static void add_folded(struct kp_render *render)
{
    bool first = true;
    for (uint32_t from = 0; from < render->schema->count; first = false) {
        uint32_t to = block_end(render, from);
        if (!first)
            kp_buf_char(&render->out, '\n');
        add_header(render, from, to);
        add_lines(render, from, to);
        from = to;
    }
}

/* Every column of one row on a line of its own. */
static void add_vertical(struct kp_render *render)
{
    struct table *table = render->state;
    uint32_t width = 0;
    for (uint32_t c = 0; c < render->schema->count; c++) {
        table->columns[c].hidden = table->columns[c].empty;
        width = KP_MAX(width, kpi_text_width(render->schema->fields[c].name));
    }
    for (uint32_t c = 0; c < render->schema->count; c++) {
        if (table->columns[c].hidden)
            continue;
        kpi_text_pad(&render->out, render->schema->fields[c].name, width, false, true);
        kp_buf_text(&render->out, "  ");
        kp_buf_str(&render->out, cell_text(table, cell_at(table, render, 0, c)));
        kp_buf_char(&render->out, '\n');
    }
}

/* Names the columns that steps 1 or 2 took out, with their value when they have one. */
static void add_hidden_line(struct kp_render *render, const char *head, bool empty)
{
    struct table *table = render->state;
    struct kp_buf text = {0};
    for (uint32_t c = 0; c < render->schema->count; c++) {
        if (!table->columns[c].hidden || table->columns[c].empty != empty)
            continue;
        kp_buf_text(&text, text.size > 0 ? ", " : head);
        kp_buf_str(&text, render->schema->fields[c].name);
        if (empty)
            continue;
        kp_buf_text(&text, " = ");
        kp_buf_str(&text, cell_text(table, cell_at(table, render, 0, c)));
    }
    if (text.size > 0)
        kpi_text_wrap(&render->out, (struct kp_str){text.data, (uint32_t)text.size},
                      render->term.width, 2);
    render->out.failed |= text.failed;
    kp_buf_deinit(&text);
}

static void print_chunk(struct kp_render *render)
{
    struct table *table = render->state;
    measure(render);
    bool fits = make_fit(render);
    bool reduced = total_width(render) < 1;
    for (uint32_t c = 0; c < render->schema->count; c++)
        reduced |= table->columns[c].hidden;
    if (!fits && table->rows == 1) {
        add_vertical(render);
        reduced = true;
    } else if (!fits) {
        add_folded(render);
    } else {
        if (!table->headed || reduced)
            add_header(render, 0, render->schema->count);
        add_lines(render, 0, render->schema->count);
    }
    table->headed = fits && !reduced;
    add_hidden_line(render, "same in every row: ", false);
    add_hidden_line(render, "empty: ", true);
    kp_buf_clear(&table->text);
    kp_buf_clear(&table->cells);
    kp_buf_clear(&table->marks);
    table->rows = 0;
}

static void table_batch(struct kp_render *render, const struct kp_batch *batch)
{
    struct table *table = render->state;
    for (uint32_t i = 0; i < kp_batch_count(batch) && !render->out.failed; i++) {
        add_row(render, batch, kp_batch_row(batch, i));
        if (table->rows == CHUNK_ROWS && !render->out.failed)
            print_chunk(render);
    }
}

static void table_end(struct kp_render *render)
{
    struct table *table = render->state;
    bool first_chunk = render->rows <= table->rows;
    if (first_chunk)
        kpi_render_notes(render); /* above the answer while nothing was printed yet */
    if (!render->out.failed && (first_chunk || table->rows > 0))
        print_chunk(render);
    if (render->rows == 0)
        kp_buf_text(&render->out, "(no rows)\n");
    if (!first_chunk)
        kpi_render_notes(render);
}

static void table_deinit(struct kp_render *render)
{
    struct table *table = render->state;
    kp_buf_deinit(&table->text);
    kp_buf_deinit(&table->cells);
    kp_buf_deinit(&table->marks);
}

const struct kpi_format kpi_format_table = {
    "table", "text/plain; charset=utf-8", true, table_begin, table_batch, table_end, table_deinit};
