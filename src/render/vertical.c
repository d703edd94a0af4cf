/* SPDX-License-Identifier: Apache-2.0
 *
 * One line a column: for rows wider than a screen, and for `\x` in the shell.
 */
#include "base/assert.h"
#include "render/render_int.h"

static kp_status vertical_begin(struct kp_render *render)
{
    (void)render;
    return KP_OK;
}

static uint32_t name_width(const struct kp_schema *schema)
{
    uint32_t width = 0;
    for (uint32_t c = 0; c < schema->count; c++)
        width = KP_MAX(width, kpi_text_width(schema->fields[c].name));
    return width;
}

static void vertical_batch(struct kp_render *render, const struct kp_batch *batch)
{
    uint32_t width = name_width(render->schema);
    const char *bold = render->term.color ? "\033[1m" : "";
    const char *plain = render->term.color ? "\033[0m" : "";
    for (uint32_t i = 0; i < kp_batch_count(batch); i++) {
        kp_buf_printf(&render->out, "%s-- row %llu --%s\n", bold,
                      (unsigned long long)(render->rows + i + 1), plain);
        for (uint32_t c = 0; c < batch->cols_count; c++) {
            const struct kp_field *field = &render->schema->fields[c];
            kp_buf_text(&render->out, "  ");
            kpi_text_pad(&render->out, field->name, width, false, render->term.utf8);
            kp_buf_text(&render->out, "  ");
            kpi_value_shown(render, field, &batch->cols[c], kp_batch_row(batch, i), &render->out);
            kp_buf_char(&render->out, '\n');
        }
        kpi_render_flush(render, false);
    }
}

static void vertical_end(struct kp_render *render)
{
    if (render->rows == 0)
        kp_buf_text(&render->out, "(no rows)\n");
    kpi_render_notes(render);
}

const struct kpi_format kpi_format_vertical = {
    "vertical", "text/plain; charset=utf-8", true, vertical_begin, vertical_batch, vertical_end,
    NULL};
