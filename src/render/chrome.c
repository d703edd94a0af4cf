/* SPDX-License-Identifier: Apache-2.0
 *
 * The trace event format that chrome://tracing and Perfetto's page open: {"traceEvents":[...]}, one
 * complete event ("ph":"X") a row. Stamps there are microseconds since a zero of the file: here the
 * start of the first row, written with its nanoseconds as decimals; the zero itself is in
 * "otherData". Every column is among the "args".
 */
#include <inttypes.h>

#include "base/assert.h"
#include "render/render_int.h"

/* The first of these that is there and not empty names the event. */
static const char *const name_columns[] = {"kind", "name", "state", "nr", "comm"};

struct chrome {
    int start, ts, dur, pid, tid;
    int names[KP_ARRAY_LEN(name_columns)];
    bool begun;
    kp_time zero;
};

static kp_status chrome_begin(struct kp_render *render)
{
    const struct kp_schema *schema = render->schema;
    struct chrome *chrome = kp_arena_zalloc(&render->arena, 1, sizeof(*chrome));
    if (chrome == NULL)
        return KP_NO_MEMORY;
    chrome->start = kpi_column_find(schema, "start", KP_TYPE_TIME);
    chrome->ts = kpi_column_find(schema, "ts", KP_TYPE_TIME);
    chrome->dur = kpi_column_find(schema, "dur", KP_TYPE_DUR);
    chrome->pid = kpi_column_find(schema, "pid", KP_TYPE_I64);
    chrome->tid = kpi_column_find(schema, "tid", KP_TYPE_I64);
    for (size_t i = 0; i < KP_ARRAY_LEN(name_columns); i++)
        chrome->names[i] = kpi_column_find(schema, name_columns[i], KP_TYPE_STR);
    if (chrome->dur < 0 || (chrome->start < 0 && chrome->ts < 0))
        return KP_INVALID;
    render->state = chrome;
    kp_buf_text(&render->out, "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[");
    return KP_OK;
}

static struct kp_str event_name(const struct chrome *chrome, const struct kp_batch *batch,
                                uint32_t row)
{
    for (size_t i = 0; i < KP_ARRAY_LEN(name_columns); i++)
        if (kpi_cell_there(batch, chrome->names[i], row) &&
            kp_vec_str(&batch->cols[chrome->names[i]], row).len > 0)
            return kp_vec_str(&batch->cols[chrome->names[i]], row);
    return KP_STR("row");
}

static void add_us(struct kp_buf *out, const char *name, int64_t ns)
{
    uint64_t size = ns < 0 ? -(uint64_t)ns : (uint64_t)ns;
    kp_buf_printf(out, ",\"%s\":%s%" PRIu64 ".%03" PRIu64, name, ns < 0 ? "-" : "", size / 1000,
                  size % 1000);
}

static void add_event(struct kp_render *render, const struct kp_batch *batch, uint32_t row)
{
    struct chrome *chrome = render->state;
    struct kp_buf *out = &render->out;
    int64_t dur = kpi_cell_there(batch, chrome->dur, row) ? batch->cols[chrome->dur].i64[row] : 0;
    int64_t start = chrome->start >= 0 ? batch->cols[chrome->start].i64[row]
                                       : batch->cols[chrome->ts].i64[row] - dur;
    if (!chrome->begun)
        chrome->zero = start;
    kp_buf_text(out, chrome->begun ? ",\n" : "\n");
    chrome->begun = true;
    kp_buf_text(out, "{\"ph\":\"X\",\"name\":");
    kp_json_str(out, event_name(chrome, batch, row));
    add_us(out, "ts", start - chrome->zero);
    add_us(out, "dur", dur);
    kp_buf_printf(out, ",\"pid\":%" PRId64 ",\"tid\":%" PRId64 ",\"args\":{",
                  kpi_cell_there(batch, chrome->pid, row) ? batch->cols[chrome->pid].i64[row] : 0,
                  kpi_cell_there(batch, chrome->tid, row) ? batch->cols[chrome->tid].i64[row] : 0);
    for (uint32_t c = 0; c < batch->cols_count; c++) {
        kp_buf_text(out, c > 0 ? "," : "");
        kp_json_str(out, render->schema->fields[c].name);
        kp_buf_char(out, ':');
        kpi_json_cell(out, &render->schema->fields[c], &batch->cols[c], row);
    }
    kp_buf_text(out, "}}");
    kpi_render_flush(render, false);
}

static void chrome_batch(struct kp_render *render, const struct kp_batch *batch)
{
    const struct chrome *chrome = render->state;
    int from = chrome->start >= 0 ? chrome->start : chrome->ts;
    for (uint32_t i = 0; i < kp_batch_count(batch); i++)
        if (kpi_cell_there(batch, from, kp_batch_row(batch, i)))
            add_event(render, batch, kp_batch_row(batch, i));
}

static void chrome_end(struct kp_render *render)
{
    const struct chrome *chrome = render->state;
    char zero[KP_TIME_TEXT_MAX];
    kp_time_format(chrome->zero, zero);
    kp_buf_printf(&render->out, "\n],\"otherData\":{\"zero\":\"%s\"", zero);
    for (uint32_t i = 0; i < render->notes_count; i++) {
        kp_buf_printf(&render->out, ",\"note %u\":", i + 1);
        kp_json_str(&render->out, render->notes[i]);
    }
    if (render->failure != NULL) {
        kp_buf_text(&render->out, ",\"incomplete\":");
        kp_json_str(&render->out, kp_str_from(render->failure->text));
    }
    kp_buf_text(&render->out, "}}\n");
}

const struct kpi_format kpi_format_chrome = {"chrome-trace", "application/json", true, chrome_begin,
                                             chrome_batch,   chrome_end,         NULL};
