/* SPDX-License-Identifier: Apache-2.0
 *
 * CSV as RFC 4180 has it: a header line, CRLF line ends, quotes doubled. A null is nothing between
 * two commas, an empty text is "".
 */
#include "render/render_int.h"

static void add_cell(struct kp_buf *out, struct kp_str text)
{
    bool quote = text.len == 0 || text.ptr[0] == ' ' || text.ptr[text.len - 1] == ' ';
    for (uint32_t i = 0; i < text.len && !quote; i++)
        quote =
            text.ptr[i] == ',' || text.ptr[i] == '"' || text.ptr[i] == '\n' || text.ptr[i] == '\r';
    if (!quote) {
        kp_buf_str(out, text);
        return;
    }
    kp_buf_char(out, '"');
    for (uint32_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '"')
            kp_buf_char(out, '"');
        kp_buf_char(out, text.ptr[i]);
    }
    kp_buf_char(out, '"');
}

static void add_value(struct kp_buf *out, const struct kp_field *field, const struct kp_vec *vec,
                      uint32_t row)
{
    if (vec->type == KP_TYPE_NULL || kp_vec_null(vec, row))
        return;
    if (kp_type_phys(field->type) == KP_PHYS_STR)
        add_cell(out, kp_vec_str(vec, row));
    else
        kp_value_text(field, vec, row, true, out);
}

static kp_status csv_begin(struct kp_render *render)
{
    for (uint32_t i = 0; i < render->schema->count; i++) {
        if (i > 0)
            kp_buf_char(&render->out, ',');
        add_cell(&render->out, render->schema->fields[i].name);
    }
    kp_buf_text(&render->out, "\r\n");
    return KP_OK;
}

static void csv_batch(struct kp_render *render, const struct kp_batch *batch)
{
    for (uint32_t i = 0; i < kp_batch_count(batch); i++) {
        for (uint32_t c = 0; c < batch->cols_count; c++) {
            if (c > 0)
                kp_buf_char(&render->out, ',');
            add_value(&render->out, &render->schema->fields[c], &batch->cols[c],
                      kp_batch_row(batch, i));
        }
        kp_buf_text(&render->out, "\r\n");
        kpi_render_flush(render, false);
    }
}

static void csv_end(struct kp_render *render)
{
    (void)render;
}

const struct kpi_format kpi_format_csv = {
    "csv", "text/csv; charset=utf-8; header=present", false, csv_begin, csv_batch, csv_end, NULL};
