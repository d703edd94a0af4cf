/* SPDX-License-Identifier: Apache-2.0
 *
 * A table for a chat or an incident report, as GitHub and its like draw it. Values look as they do
 * for people; a pipe in a text is escaped and a line end is already shown as \n.
 */
#include "render/render_int.h"

static void add_cell(struct kp_buf *out, struct kp_str text)
{
    for (uint32_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '|')
            kp_buf_char(out, '\\');
        kp_buf_char(out, text.ptr[i]);
    }
}

static kp_status markdown_begin(struct kp_render *render)
{
    kp_buf_char(&render->out, '|');
    for (uint32_t i = 0; i < render->schema->count; i++) {
        kp_buf_char(&render->out, ' ');
        add_cell(&render->out, render->schema->fields[i].name);
        kp_buf_text(&render->out, " |");
    }
    kp_buf_text(&render->out, "\n|");
    for (uint32_t i = 0; i < render->schema->count; i++)
        kp_buf_text(&render->out,
                    kpi_type_right(render->schema->fields[i].type) ? " ---: |" : " --- |");
    kp_buf_char(&render->out, '\n');
    return KP_OK;
}

static void markdown_batch(struct kp_render *render, const struct kp_batch *batch)
{
    struct kp_buf cell = {0};
    for (uint32_t i = 0; i < kp_batch_count(batch); i++) {
        kp_buf_char(&render->out, '|');
        for (uint32_t c = 0; c < batch->cols_count; c++) {
            kp_buf_clear(&cell);
            kpi_value_shown(render, &render->schema->fields[c], &batch->cols[c],
                            kp_batch_row(batch, i), &cell);
            kp_buf_char(&render->out, ' ');
            add_cell(&render->out, (struct kp_str){cell.data, (uint32_t)cell.size});
            kp_buf_text(&render->out, " |");
        }
        kp_buf_char(&render->out, '\n');
        kpi_render_flush(render, false);
    }
    render->out.failed |= cell.failed;
    kp_buf_deinit(&cell);
}

static void markdown_end(struct kp_render *render)
{
    if (render->notes_count > 0 || render->failure != NULL)
        kp_buf_char(&render->out, '\n'); /* a line right below would be a row */
    kpi_render_notes(render);
}

const struct kpi_format kpi_format_markdown = {
    "markdown", "text/markdown; charset=utf-8", true, markdown_begin, markdown_batch, markdown_end,
    NULL};
