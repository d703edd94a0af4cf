/* SPDX-License-Identifier: Apache-2.0
 *
 * Bars in text: one row each, the first number of the row drawn to the scale of the largest. What
 * stands before the number (a bin of time, a name, both) is the label. Kusto's names for charts all
 * mean this one here.
 *
 *   2026-11-23T03:47:00.000000000Z nginx  ██████████████▌          1,204
 *   2026-11-23T03:47:01.000000000Z nginx  ███▏                       260
 *
 * Rows are kept until the end, ROWS_MAX of them. Values below zero have no bar, only their number.
 */
#include <inttypes.h>

#include "base/assert.h"
#include "render/render_int.h"

#define ROWS_MAX   4096
#define LABEL_MAX  60
#define LABEL_MIN  8
#define WIDTH_PIPE 120 /* where there is no terminal */
#define BAR_MIN    10
#define EIGHTHS    8

struct bar {
    struct kp_str label, number; /* arena */
    double value;
};

struct chart {
    int value; /* column drawn */
    struct bar *bars;
    uint32_t bars_count;
    uint64_t skipped; /* rows beyond ROWS_MAX or without a number */
    struct kp_buf text;
};

static bool is_number(enum kp_type type)
{
    return type == KP_TYPE_I64 || type == KP_TYPE_F64 || type == KP_TYPE_DUR || type == KP_TYPE_DEC;
}

/* The first number that is no id, and not what the rows are of (the first column), if another is.
 */
static int find_value(const struct kp_schema *schema)
{
    int found = -1;
    for (uint32_t i = schema->count; i-- > 0;)
        if (is_number(schema->fields[i].type) && schema->fields[i].unit != KP_UNIT_ID &&
            (i > 0 || found < 0))
            found = (int)i;
    return found;
}

static kp_status chart_begin(struct kp_render *render)
{
    struct chart *chart = kp_arena_zalloc(&render->arena, 1, sizeof(*chart));
    if (chart == NULL)
        return KP_NO_MEMORY;
    chart->value = find_value(render->schema);
    if (chart->value < 0)
        return KP_INVALID;
    chart->bars = kp_arena_zalloc(&render->arena, ROWS_MAX, sizeof(*chart->bars));
    if (chart->bars == NULL)
        return KP_NO_MEMORY;
    render->state = chart;
    return KP_OK;
}

static struct kp_str keep(struct kp_render *render)
{
    struct chart *chart = render->state;
    struct kp_str text = {chart->text.data, (uint32_t)chart->text.size};
    struct kp_str kept = kp_arena_str(&render->arena, text);
    render->out.failed |= chart->text.failed || kept.ptr == NULL;
    kp_buf_clear(&chart->text);
    return kept.ptr == NULL ? KP_STR("") : kept;
}

static void add_bar(struct kp_render *render, const struct kp_batch *batch, uint32_t row)
{
    struct chart *chart = render->state;
    struct bar *bar = &chart->bars[chart->bars_count++];
    const struct kp_vec *vec = &batch->cols[chart->value];
    const struct kp_field *field = &render->schema->fields[chart->value];
    for (int c = 0; c < chart->value; c++) {
        kp_buf_text(&chart->text, c > 0 ? " " : "");
        kpi_value_shown(render, &render->schema->fields[c], &batch->cols[c], row, &chart->text);
    }
    bar->label = keep(render);
    bar->value = field->type == KP_TYPE_F64   ? vec->f64[row]
                 : field->type == KP_TYPE_DEC ? kp_dec_to_real(vec->i128[row])
                                              : (double)vec->i64[row];
    if (field->type == KP_TYPE_I64 && field->unit != KP_UNIT_HEX)
        kp_text_count(&chart->text, vec->i64[row]);
    else
        kpi_value_shown(render, field, vec, row, &chart->text);
    bar->number = keep(render);
}

static void chart_batch(struct kp_render *render, const struct kp_batch *batch)
{
    struct chart *chart = render->state;
    for (uint32_t i = 0; i < kp_batch_count(batch); i++) {
        uint32_t row = kp_batch_row(batch, i);
        if (chart->bars_count == ROWS_MAX || kp_vec_null(&batch->cols[chart->value], row))
            chart->skipped++;
        else
            add_bar(render, batch, row);
    }
}

struct scale {
    uint32_t label, number, columns; /* widths */
    double most;
};

static struct scale find_scale(const struct kp_render *render)
{
    const struct chart *chart = render->state;
    struct scale scale = {0};
    for (uint32_t i = 0; i < chart->bars_count; i++) {
        scale.label = KP_MAX(scale.label, kpi_text_width(chart->bars[i].label));
        scale.number = KP_MAX(scale.number, kpi_text_width(chart->bars[i].number));
        if (chart->bars[i].value > scale.most)
            scale.most = chart->bars[i].value;
    }
    uint32_t width = render->term.width > 0 ? render->term.width : WIDTH_PIPE;
    scale.label = KP_MIN(scale.label, (uint32_t)LABEL_MAX);
    uint32_t least = scale.number + 4 + BAR_MIN; /* labels give way to bars and numbers */
    scale.label = KP_MIN(scale.label, width > least + LABEL_MIN ? width - least : LABEL_MIN);
    uint32_t taken = scale.label + scale.number + 4;
    scale.columns = width > taken + BAR_MIN ? width - taken : BAR_MIN;
    return scale;
}

/* Whole columns and one of eighths; where there are none of these, whole ones only. */
static void draw_bar(struct kp_render *render, const struct scale *scale, double value)
{
    static const char *const eighths[EIGHTHS] = {"",
                                                 "\xE2\x96\x8F",
                                                 "\xE2\x96\x8E",
                                                 "\xE2\x96\x8D",
                                                 "\xE2\x96\x8C",
                                                 "\xE2\x96\x8B",
                                                 "\xE2\x96\x8A",
                                                 "\xE2\x96\x89"};
    double part = scale->most > 0 && value > 0 ? value / scale->most : 0;
    uint32_t units = (uint32_t)(part * scale->columns * EIGHTHS + 0.5);
    uint32_t whole = units / EIGHTHS, rest = render->term.utf8 ? units % EIGHTHS : 0;
    kp_buf_text(&render->out, render->term.color ? "\033[36m" : "");
    for (uint32_t i = 0; i < whole; i++)
        kp_buf_text(&render->out, render->term.utf8 ? "\xE2\x96\x88" : "#");
    kp_buf_text(&render->out, eighths[rest]);
    kp_buf_text(&render->out, render->term.color ? "\033[0m" : "");
    for (uint32_t i = whole + (rest > 0); i < scale->columns; i++)
        kp_buf_char(&render->out, ' ');
}

static void chart_end(struct kp_render *render)
{
    struct chart *chart = render->state;
    kpi_render_notes(render);
    if (chart->bars_count == 0)
        kp_buf_text(&render->out, "(no rows)\n");
    struct scale scale = find_scale(render);
    for (uint32_t i = 0; i < chart->bars_count; i++) {
        const struct bar *bar = &chart->bars[i];
        kpi_text_pad(&render->out, bar->label, scale.label, false, render->term.utf8);
        kp_buf_text(&render->out, "  ");
        draw_bar(render, &scale, bar->value);
        kp_buf_char(&render->out, ' ');
        kpi_text_pad(&render->out, bar->number, scale.number, true, render->term.utf8);
        kp_buf_char(&render->out, '\n');
    }
    if (chart->skipped > 0)
        kp_buf_printf(&render->out, "(%" PRIu64 " more rows are not drawn)\n", chart->skipped);
}

static void chart_deinit(struct kp_render *render)
{
    struct chart *chart = render->state;
    kp_buf_deinit(&chart->text);
}

const struct kpi_format kpi_format_chart = {
    "chart", "text/plain; charset=utf-8", true, chart_begin, chart_batch, chart_end, chart_deinit};
