/* SPDX-License-Identifier: Apache-2.0
 *
 * Tab-separated values for cut, awk and spreadsheets: a header line, one line a row, nothing
 * quoted. Tab, line end and backslash inside a text are \t, \n, \r and \\; a null is \N.
 * PostgreSQL's COPY and ClickHouse's TabSeparated read the same form.
 */
#include "render/render_int.h"

static void add_cell(struct kp_buf *out, struct kp_str text)
{
    static const char plain[] = "\t\n\r\\", letters[] = "tnr\\";
    for (uint32_t i = 0; i < text.len; i++) {
        const char *at = text.ptr[i] == '\0' ? NULL : strchr(plain, text.ptr[i]);
        if (at != NULL)
            kp_buf_char(out, '\\');
        kp_buf_char(out, at != NULL ? letters[at - plain] : text.ptr[i]);
    }
}

static void add_value(struct kp_buf *out, const struct kp_field *field, const struct kp_vec *vec,
                      uint32_t row)
{
    if (vec->type == KP_TYPE_NULL || kp_vec_null(vec, row))
        kp_buf_text(out, "\\N");
    else if (kp_type_phys(field->type) == KP_PHYS_STR)
        add_cell(out, kp_vec_str(vec, row));
    else
        kp_value_text(field, vec, row, true, out);
}

static kp_status tsv_begin(struct kp_render *render)
{
    for (uint32_t i = 0; i < render->schema->count; i++) {
        kp_buf_text(&render->out, i > 0 ? "\t" : "");
        add_cell(&render->out, render->schema->fields[i].name);
    }
    kp_buf_char(&render->out, '\n');
    return KP_OK;
}

static void tsv_batch(struct kp_render *render, const struct kp_batch *batch)
{
    for (uint32_t i = 0; i < kp_batch_count(batch); i++) {
        for (uint32_t c = 0; c < batch->cols_count; c++) {
            kp_buf_text(&render->out, c > 0 ? "\t" : "");
            add_value(&render->out, &render->schema->fields[c], &batch->cols[c],
                      kp_batch_row(batch, i));
        }
        kp_buf_char(&render->out, '\n');
        kpi_render_flush(render, false);
    }
}

static void tsv_end(struct kp_render *render)
{
    (void)render;
}

const struct kpi_format kpi_format_tsv = {
    "tsv", "text/tab-separated-values; charset=utf-8", false, tsv_begin, tsv_batch, tsv_end, NULL};
