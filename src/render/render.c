/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of a rendering and the table of formats. Text collects in one buffer that goes to the
 * reader in pieces of FLUSH_BYTES; a reader that left turns the rest into no work, not into an
 * error.
 */
#include "render/render_int.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

#define FLUSH_BYTES (64 * 1024)

static const struct kpi_format *const formats[KP_FORMAT_COUNT] = {
    [KP_FORMAT_TABLE] = &kpi_format_table,       [KP_FORMAT_VERTICAL] = &kpi_format_vertical,
    [KP_FORMAT_JSON] = &kpi_format_json,         [KP_FORMAT_NDJSON] = &kpi_format_ndjson,
    [KP_FORMAT_CSV] = &kpi_format_csv,           [KP_FORMAT_TSV] = &kpi_format_tsv,
    [KP_FORMAT_MARKDOWN] = &kpi_format_markdown, [KP_FORMAT_LINE] = &kpi_format_line,
    [KP_FORMAT_TIMELINE] = &kpi_format_timeline, [KP_FORMAT_GRAPH] = &kpi_format_graph,
    [KP_FORMAT_DOT] = &kpi_format_dot,           [KP_FORMAT_SVG] = &kpi_format_svg,
    [KP_FORMAT_CHART] = &kpi_format_chart,       [KP_FORMAT_CHROME] = &kpi_format_chrome,
};

/* Kusto's names for what is drawn as bars here. */
static const char *const charts[] = {"timechart", "barchart",         "columnchart", "linechart",
                                     "areachart", "stackedareachart", "piechart",    "histogram"};

bool kp_format_parse(struct kp_str name, enum kp_format *out)
{
    for (int i = 0; i < KP_FORMAT_COUNT; i++) {
        if (kp_str_equal(name, kp_str_from(formats[i]->name))) {
            *out = (enum kp_format)i;
            return true;
        }
    }
    for (size_t i = 0; i < KP_ARRAY_LEN(charts); i++) {
        if (kp_str_equal(name, kp_str_from(charts[i]))) {
            *out = KP_FORMAT_CHART;
            return true;
        }
    }
    return false;
}

void kp_format_hint(struct kp_str name, struct kp_error *err)
{
    const char *nearest = NULL;
    uint32_t best = 3; /* further away is no mistyping */
    for (int i = 0; i < KP_FORMAT_COUNT; i++) {
        uint32_t distance = kp_str_distance(name, kp_str_from(formats[i]->name));
        if (distance >= best)
            continue;
        best = distance;
        nearest = formats[i]->name;
    }
    if (nearest != NULL) {
        kp_error_hint(err, "did you mean %s?", nearest);
        return;
    }
    struct kp_buf list = {0};
    for (int i = 0; i < KP_FORMAT_COUNT; i++)
        kp_buf_printf(&list, "%s%s", i > 0 ? ", " : "", formats[i]->name);
    kp_error_hint(err, "formats are %s", kp_buf_cstr(&list));
    kp_buf_deinit(&list);
}

const char *kp_format_name(enum kp_format format)
{
    return formats[format]->name;
}

const char *kp_format_mime(enum kp_format format)
{
    return formats[format]->mime;
}

const char *kp_format_needs(enum kp_format format)
{
    switch (format) {
    case KP_FORMAT_TIMELINE:
    case KP_FORMAT_CHROME:
        return "the columns start and dur";
    case KP_FORMAT_CHART:
        return "a column of numbers";
    case KP_FORMAT_GRAPH:
    case KP_FORMAT_DOT:
        return "the columns kind, culprit_comm and dur";
    case KP_FORMAT_SVG:
        return "the columns dur, and kind or start";
    default:
        return "";
    }
}

bool kp_format_has_notes(enum kp_format format)
{
    return formats[format]->has_notes;
}

static kp_status render_status(const struct kp_render *render)
{
    if (render->out.failed)
        return KP_NO_MEMORY;
    return render->gone ? KP_END : KP_OK;
}

kp_status kp_render_open(enum kp_format format, const struct kp_schema *schema, const char *name,
                         const struct kp_term *term, kp_write_fn write, void *ctx,
                         struct kp_render **out)
{
    kp_assert((unsigned)format < KP_FORMAT_COUNT);
    struct kp_render *render = calloc(1, sizeof(*render));
    if (render == NULL)
        return KP_NO_MEMORY;
    kp_arena_init(&render->arena, 0);
    render->format = formats[format];
    render->schema = schema;
    snprintf(render->name, sizeof(render->name), "%s", name);
    render->term = *term;
    render->write = write;
    render->ctx = ctx;
    kp_status status = render->format->begin(render);
    if (status != KP_OK) {
        kp_render_close(render);
        return status;
    }
    *out = render;
    return KP_OK;
}

void kpi_render_flush(struct kp_render *render, bool force)
{
    if (render->out.size == 0 || (!force && render->out.size < FLUSH_BYTES))
        return;
    if (!render->gone && !render->out.failed)
        render->gone = !render->write(render->ctx, render->out.data, render->out.size);
    render->out.size = 0;
}

kp_status kp_render_batch(struct kp_render *render, const struct kp_batch *batch)
{
    kp_assert(batch->cols_count == render->schema->count);
    if (!render->gone) {
        render->format->batch(render, batch);
        render->rows += kp_batch_count(batch);
        kpi_render_flush(render, false);
    }
    return render_status(render);
}

static kp_status render_finish(struct kp_render *render)
{
    if (!render->gone)
        render->format->end(render);
    kpi_render_flush(render, true);
    kp_status status = render_status(render);
    return status == KP_END ? KP_OK : status;
}

kp_status kp_render_end(struct kp_render *render, const struct kp_str *notes, uint32_t notes_count)
{
    render->notes = notes;
    render->notes_count = notes_count;
    return render_finish(render);
}

kp_status kp_render_fail(struct kp_render *render, const struct kp_error *err)
{
    render->failure = err;
    return render_finish(render);
}

void kp_render_close(struct kp_render *render)
{
    if (render == NULL)
        return;
    if (render->format->deinit != NULL && render->state != NULL)
        render->format->deinit(render);
    kp_buf_deinit(&render->out);
    kp_arena_deinit(&render->arena);
    free(render);
}

static bool word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

void kp_render_name(struct kp_str query_text, char out[KP_RENDER_NAME_MAX])
{
    uint32_t at = 0, length = 0;
    while (at < query_text.len && !word_char(query_text.ptr[at]))
        at++;
    for (; at < query_text.len && word_char(query_text.ptr[at]); at++) {
        char c = query_text.ptr[at];
        if (length + 1 < KP_RENDER_NAME_MAX)
            out[length++] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    out[length] = '\0';
    if (length == 0)
        memcpy(out, "rows", sizeof("rows"));
}

static void add_note(struct kp_render *render, struct kp_str note)
{
    struct kp_buf text = {0};
    uint32_t width = render->term.width > 40 ? render->term.width - 6 : 0;
    kpi_text_escape(&text, note);
    kp_buf_text(&render->out, render->term.color ? "\033[2mnote:\033[0m " : "note: ");
    kpi_text_wrap(&render->out, (struct kp_str){text.data, (uint32_t)text.size}, width, 6);
    render->out.failed |= text.failed;
    kp_buf_deinit(&text);
}

void kpi_render_notes(struct kp_render *render)
{
    for (uint32_t i = 0; i < render->notes_count; i++)
        add_note(render, render->notes[i]);
    if (render->failure != NULL)
        kp_buf_text(&render->out, "(incomplete: the query ended with an error)\n");
}

int kpi_column_find(const struct kp_schema *schema, const char *name, enum kp_type type)
{
    int at = kp_schema_find(schema, kp_str_from(name));
    return at >= 0 && schema->fields[at].type == type ? at : -1;
}

bool kpi_cell_there(const struct kp_batch *batch, int column, uint32_t row)
{
    return column >= 0 && !kp_vec_null(&batch->cols[column], row);
}
