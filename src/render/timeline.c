/* SPDX-License-Identifier: Apache-2.0
 *
 * A drawing of intervals in text: one row each, bars on a common axis that spans the earliest start
 * to the latest end, offsets relative to that start with ns exactness.
 *
 *   axis: 802.113 ms from 2026-11-23T03:47:00.000000000Z, one column = 12.533 ms
 *     settle write            |  ######################      |  +12,000,417 ns  388.204 ms
 *   * runqueue <- batch(4721) |      ############            |  +61,220,008 ns  202.113 ms
 *
 * A label that does not fit loses its thread before it loses who is to blame. Needs `start` (or
 * `ts`, taken as the end) and `dur`. Rows are kept until the end, ROWS_MAX of them.
 */
#include <inttypes.h>

#include "base/assert.h"
#include "render/render_int.h"

#define ROWS_MAX   4096
#define LABEL_MAX  60
#define LABEL_MIN  8
#define WIDTH_PIPE 140 /* drawing width where there is no terminal */
#define BAR_MIN    16
/* columns of the two numbers right of the bar where there is no terminal */
#define OFFSET_PIPE 20
#define DUR_PIPE    12

/* Columns that make a label, in this order, as far as they are there and not empty. */
static const char *const label_names[] = {"kind", "subkind", "state", "service", "name", "comm"};

/* Of a label: all of it; where another thread is to blame, without the bar's own; without numbers.
 */
enum { LABEL_ALL, LABEL_BLAME, LABEL_NAME, LABELS };

struct bar {
    kp_time start;
    kp_dur dur;
    struct kp_str labels[LABELS]; /* arena; the first that fits is drawn */
    bool root;
};

struct timeline {
    int start, ts, dur, root;
    int label[sizeof(label_names) / sizeof(label_names[0])];
    int who, culprit_comm, culprit_who; /* numbers: of threads, else of processes */
    struct bar *bars;
    uint32_t bars_count;
    uint64_t skipped; /* rows beyond ROWS_MAX or without an interval */
    struct kp_buf label_text;
};

static int number_column(const struct kp_schema *schema, const char *thread, const char *process)
{
    int at = kpi_column_find(schema, thread, KP_TYPE_I64);
    return at >= 0 ? at : kpi_column_find(schema, process, KP_TYPE_I64);
}

static kp_status timeline_begin(struct kp_render *render)
{
    const struct kp_schema *schema = render->schema;
    struct timeline *line = kp_arena_zalloc(&render->arena, 1, sizeof(*line));
    if (line == NULL)
        return KP_NO_MEMORY;
    line->start = kpi_column_find(schema, "start", KP_TYPE_TIME);
    line->ts = kpi_column_find(schema, "ts", KP_TYPE_TIME);
    line->dur = kpi_column_find(schema, "dur", KP_TYPE_DUR);
    line->root = kpi_column_find(schema, "root", KP_TYPE_BOOL);
    line->who = number_column(schema, "tid", "pid");
    line->culprit_comm = kpi_column_find(schema, "culprit_comm", KP_TYPE_STR);
    line->culprit_who = number_column(schema, "culprit_tid", "culprit_pid");
    for (size_t i = 0; i < KP_ARRAY_LEN(label_names); i++)
        line->label[i] = kpi_column_find(schema, label_names[i], KP_TYPE_STR);
    if (line->dur < 0 || (line->start < 0 && line->ts < 0))
        return KP_INVALID;
    line->bars = kp_arena_zalloc(&render->arena, ROWS_MAX, sizeof(*line->bars));
    if (line->bars == NULL)
        return KP_NO_MEMORY;
    render->state = line;
    return KP_OK;
}

static void add_who(struct timeline *line, const struct kp_batch *batch, uint32_t row, int comm,
                    int number)
{
    kpi_text_escape(&line->label_text, kp_vec_str(&batch->cols[comm], row));
    if (kpi_cell_there(batch, number, row) && batch->cols[number].i64[row] > 0)
        kp_buf_printf(&line->label_text, "(%" PRId64 ")", batch->cols[number].i64[row]);
}

/* The thread kept itself busy: naming it twice says nothing. */
static bool own_fault(const struct timeline *line, const struct kp_batch *batch, uint32_t row)
{
    return kpi_cell_there(batch, line->who, row) && kpi_cell_there(batch, line->culprit_who, row) &&
           batch->cols[line->who].i64[row] == batch->cols[line->culprit_who].i64[row];
}

/* Appends the columns of the label; the thread is the last of them. */
static void add_what(struct timeline *line, const struct kp_batch *batch, uint32_t row, bool whose)
{
    for (size_t i = 0; i < KP_ARRAY_LEN(label_names); i++) {
        int column = line->label[i];
        bool comm = strcmp(label_names[i], "comm") == 0;
        if (!kpi_cell_there(batch, column, row) || kp_vec_str(&batch->cols[column], row).len == 0 ||
            (comm && !whose))
            continue;
        if (line->label_text.size > 0)
            kp_buf_char(&line->label_text, ' ');
        add_who(line, batch, row, column, comm ? line->who : -1);
    }
}

static bool has_culprit(const struct timeline *line, const struct kp_batch *batch, uint32_t row)
{
    return kpi_cell_there(batch, line->culprit_comm, row) && !own_fault(line, batch, row) &&
           kp_vec_str(&batch->cols[line->culprit_comm], row).len > 0;
}

static struct kp_str make_label(struct kp_render *render, const struct kp_batch *batch,
                                uint32_t row, int kind)
{
    struct timeline *line = render->state;
    bool blames = has_culprit(line, batch, row);
    kp_buf_clear(&line->label_text);
    add_what(line, batch, row, kind == LABEL_ALL || !blames);
    if (blames) {
        kp_buf_text(&line->label_text, " <- ");
        add_who(line, batch, row, line->culprit_comm, kind == LABEL_NAME ? -1 : line->culprit_who);
    }
    return kp_arena_str(&render->arena,
                        (struct kp_str){line->label_text.data, (uint32_t)line->label_text.size});
}

static void timeline_batch(struct kp_render *render, const struct kp_batch *batch)
{
    struct timeline *line = render->state;
    for (uint32_t i = 0; i < kp_batch_count(batch); i++) {
        uint32_t row = kp_batch_row(batch, i);
        int from = line->start >= 0 ? line->start : line->ts;
        if (line->bars_count == ROWS_MAX || !kpi_cell_there(batch, from, row) ||
            !kpi_cell_there(batch, line->dur, row)) {
            line->skipped++;
            continue;
        }
        struct bar *bar = &line->bars[line->bars_count++];
        bar->dur = KP_MAX(batch->cols[line->dur].i64[row], 0);
        bar->start = batch->cols[from].i64[row] - (line->start >= 0 ? 0 : bar->dur);
        bar->root = kpi_cell_there(batch, line->root, row) && batch->cols[line->root].i64[row] != 0;
        for (int kind = 0; kind < LABELS; kind++)
            bar->labels[kind] = make_label(render, batch, row, kind);
    }
}

/* --- drawing --- */

struct axis {
    kp_time from;
    kp_dur length;
    uint32_t columns; /* of the bar area */
    uint32_t label;   /* of the label area */
    uint32_t offset, dur;
};

static void put_offset(const struct axis *axis, const struct bar *bar, struct kp_buf *out)
{
    kp_buf_char(out, '+');
    kp_text_count(out, bar->start - axis->from);
    kp_buf_text(out, " ns");
}

/* On a terminal the numbers take only what they need, and labels give way to bars and numbers. */
static void measure_numbers(const struct timeline *line, struct axis *axis)
{
    struct kp_buf offset = {0};
    char dur[KP_DUR_TEXT_MAX];
    axis->offset = axis->dur = 0;
    for (uint32_t i = 0; i < line->bars_count; i++) {
        kp_buf_clear(&offset);
        put_offset(axis, &line->bars[i], &offset);
        kp_dur_format(line->bars[i].dur, dur);
        axis->offset = KP_MAX(axis->offset, (uint32_t)offset.size);
        axis->dur = KP_MAX(axis->dur, (uint32_t)strlen(dur));
    }
    kp_buf_deinit(&offset);
}

static struct axis find_axis(const struct kp_render *render)
{
    const struct timeline *line = render->state;
    struct axis axis = {
        .from = line->bars[0].start, .label = 4, .offset = OFFSET_PIPE, .dur = DUR_PIPE};
    kp_time to = line->bars[0].start;
    for (uint32_t i = 0; i < line->bars_count; i++) {
        const struct bar *bar = &line->bars[i];
        axis.from = KP_MIN(axis.from, bar->start);
        to = KP_MAX(to, bar->start + bar->dur);
        axis.label = KP_MAX(axis.label, kpi_text_width(bar->labels[LABEL_ALL]));
    }
    uint32_t width = render->term.width > 0 ? render->term.width : WIDTH_PIPE;
    axis.label = KP_MIN(axis.label, KP_MIN(LABEL_MAX, KP_MAX(width * 2 / 5, BAR_MIN)));
    axis.length = KP_MAX(to - axis.from, 1);
    if (render->term.width > 0)
        measure_numbers(line, &axis);
    uint32_t least = axis.offset + axis.dur + 8 + BAR_MIN;
    if (render->term.width > 0)
        axis.label = KP_MIN(axis.label, width > least + LABEL_MIN ? width - least : LABEL_MIN);
    uint32_t taken = axis.label + axis.offset + axis.dur + 8;
    axis.columns = width > taken + BAR_MIN ? width - taken : BAR_MIN;
    return axis;
}

static uint32_t column_of(const struct axis *axis, kp_time at)
{
    __int128 offset = (__int128)(at - axis->from) * axis->columns;
    return (uint32_t)(offset / axis->length);
}

static void draw_bar(struct kp_render *render, const struct axis *axis, const struct bar *bar)
{
    uint32_t from = KP_MIN(column_of(axis, bar->start), axis->columns - 1);
    uint32_t to = KP_MAX(column_of(axis, bar->start + bar->dur), from + 1);
    const char *block = render->term.utf8 ? "\xE2\x96\x88" : "#";
    const char *thin = render->term.utf8 ? "\xE2\x96\x8F" : ":"; /* shorter than one column */
    bool tiny = (__int128)bar->dur * axis->columns < axis->length;
    if (render->term.color)
        kp_buf_text(&render->out, bar->root ? "\033[1;31m" : "\033[36m");
    for (uint32_t i = 0; i < axis->columns; i++)
        kp_buf_text(&render->out, i < from || i >= to ? " " : tiny ? thin : block);
    if (render->term.color)
        kp_buf_text(&render->out, "\033[0m");
}

static void draw_row(struct kp_render *render, const struct axis *axis, const struct bar *bar)
{
    struct kp_buf offset = {0};
    char dur[KP_DUR_TEXT_MAX];
    kp_dur_format(bar->dur, dur);
    put_offset(axis, bar, &offset);
    kp_buf_text(&render->out, bar->root ? "* " : "  ");
    int label = LABEL_ALL;
    while (label + 1 < LABELS && kpi_text_width(bar->labels[label]) > axis->label)
        label++;
    kpi_text_pad(&render->out, bar->labels[label], axis->label, false, render->term.utf8);
    kp_buf_text(&render->out, " |");
    draw_bar(render, axis, bar);
    kp_buf_text(&render->out, "| ");
    kpi_text_pad(&render->out, (struct kp_str){offset.data, (uint32_t)offset.size}, axis->offset,
                 true, true);
    kp_buf_char(&render->out, ' ');
    kpi_text_pad(&render->out, kp_str_from(dur), axis->dur, true, true);
    kp_buf_char(&render->out, '\n');
    kp_buf_deinit(&offset);
}

static void draw_axis(struct kp_render *render, const struct axis *axis)
{
    char from[KP_TIME_TEXT_MAX], length[KP_DUR_TEXT_MAX], column[KP_DUR_TEXT_MAX];
    kp_time_format(axis->from, from);
    kp_dur_format(axis->length, length);
    kp_dur_format(axis->length / axis->columns, column);
    kp_buf_printf(&render->out, "axis: %s from %s, one column = %s\n", length, from, column);
}

static void timeline_end(struct kp_render *render)
{
    struct timeline *line = render->state;
    kpi_render_notes(render);
    if (line->bars_count == 0) {
        kp_buf_text(&render->out, "(no rows)\n");
        return;
    }
    struct axis axis = find_axis(render);
    draw_axis(render, &axis);
    for (uint32_t i = 0; i < line->bars_count; i++)
        draw_row(render, &axis, &line->bars[i]);
    if (line->skipped > 0)
        kp_buf_printf(&render->out, "(%" PRIu64 " more rows are not drawn)\n", line->skipped);
}

static void timeline_deinit(struct kp_render *render)
{
    struct timeline *line = render->state;
    kp_buf_deinit(&line->label_text);
}

const struct kpi_format kpi_format_timeline = {
    "timeline",     "text/plain; charset=utf-8", true, timeline_begin, timeline_batch, timeline_end,
    timeline_deinit};
