/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers are compared as text: every row becomes cells between tabs, numbers that stand for names
 * become the names, and the rows' hashes are added, so that order does not matter where a question
 * gives none. Rows of spans, which `events` does not have but the peers' one table does, are left
 * out on that side.
 */
#include "bench/system.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "query/query.h"

static const struct kpi_dialect duck = {"events", "txns", "wakes", "quantile_disc(wait, 0.99)"};
static const struct kpi_dialect click = {"kp.events", "kp.txns", "kp.wakes",
                                         "quantileExact(0.99)(wait)"};
static const struct kpi_dialect duck_small = {"few", "few", "few", "quantile_disc(wait, 0.99)"};
static const struct kpi_dialect click_small = {"kp.few", "kp.few", "kp.few",
                                               "quantileExact(0.99)(wait)"};

/* How far back a bounded hop looks, one after the other. */
static const kp_dur backs[] = {KP_MS, 100 * KP_MS, 10 * KP_SEC, KP_TIME_MAX};

void kpi_system_dir(enum kpi_system_kind kind, const char *data, const char *work, char out[400])
{
    static const char *const names[] = {"", "duckdb", "clickhouse", "clickhouse-tuned"};
    if (kind == KPI_OURS)
        snprintf(out, 400, "%s", data);
    else
        snprintf(out, 400, "%s/%s", work, names[kind]);
}

static bool read_names(struct kp_buf *out, const char *work)
{
    char path[400], line[1000];
    snprintf(path, sizeof(path), "%s/names", work);
    FILE *file = fopen(path, "r");
    kp_buf_char(out, '\n'); /* every name stands between newlines */
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        kp_buf_text(out, line);
    kp_buf_cstr(out);
    return file != NULL && fclose(file) == 0;
}

bool kpi_system_open(struct kpi_system *system, enum kpi_system_kind kind, const char *data,
                     const char *work, unsigned threads, const char **out_why)
{
    static struct kp_error err;
    char dir[400];
    memset(system, 0, sizeof(*system));
    system->kind = kind;
    system->threads = threads;
    kpi_system_dir(kind, data, work, dir);
    if (kind == KPI_OURS) {
        *out_why = err.text;
        return kp_snapshot_open(dir, NULL, &system->snapshot, &err) == KP_OK &&
               kp_snapshot_open("demo/recording/data", NULL, &system->small, &err) == KP_OK;
    }
    *out_why = "the names of numbers are missing";
    if (!read_names(&system->names, work))
        return false;
    system->peer =
        kpi_peer_open(kind == KPI_DUCK ? KPI_DUCKDB : KPI_CLICKHOUSE, dir, threads, out_why);
    return system->peer != NULL;
}

void kpi_system_close(struct kpi_system *system)
{
    if (system->snapshot != NULL)
        kp_snapshot_close(system->snapshot);
    if (system->small != NULL)
        kp_snapshot_close(system->small);
    if (system->peer != NULL)
        kpi_peer_close(system->peer);
    kp_buf_deinit(&system->names);
}

/* ---------- asking this system ---------- */

static void put_cell(struct kp_buf *out, const struct kp_vec *vec, uint32_t row)
{
    if (kp_vec_null(vec, row))
        return;
    if (kp_type_phys(vec->type) == KP_PHYS_STR)
        kp_buf_str(out, kp_vec_str(vec, row));
    else if (kp_type_phys(vec->type) == KP_PHYS_F64)
        kp_buf_printf(out, "%.17g", vec->f64[row]);
    else
        kp_buf_printf(out, "%" PRId64, vec->i64[row]);
}

static void put_batch(struct kp_buf *out, const struct kp_batch *batch)
{
    for (uint32_t i = 0; i < kp_batch_count(batch); i++) {
        for (uint32_t c = 0; c < batch->cols_count; c++) {
            if (c > 0)
                kp_buf_char(out, '\t');
            put_cell(out, &batch->cols[c], kp_batch_row(batch, i));
        }
        kp_buf_char(out, '\n');
    }
}

bool kpi_system_ours(struct kp_snapshot *snapshot, const char *kql, unsigned threads,
                     struct kp_buf *out, const char **out_why)
{
    static struct kp_error err;
    const struct kp_query_opts opts = {.memory_bytes_max = (size_t)4 << 30, .threads = threads};
    const struct kp_batch *batch;
    struct kp_query *query;
    kp_status status = kp_query_open(snapshot, kp_str_from(kql), &opts, &query, &err);
    *out_why = err.text;
    if (status != KP_OK)
        return false;
    while ((status = kp_query_next(query, &batch, &err)) == KP_OK)
        if (out != NULL)
            put_batch(out, batch);
    kp_query_close(query);
    return status == KP_END;
}

/* ---------- answers ---------- */

static struct kp_str name_of(const struct kpi_system *system, char letter, struct kp_str number)
{
    char key[32];
    if (letter == 'k') {
        const struct kp_stream *stream =
            kp_stream_by_number((uint32_t)strtoul(number.ptr, NULL, 10));
        return stream == NULL ? number : kp_str_from(stream->name);
    }
    int length = snprintf(key, sizeof(key), "\n%c%.*s\t", letter, (int)number.len, number.ptr);
    const char *at = system->names.size == 0 ? NULL : strstr(system->names.data, key);
    at = at == NULL ? NULL : at + length;
    return at == NULL ? number : (struct kp_str){at, (uint32_t)strcspn(at, "\n")};
}

/* Adds one row (without its newline); cells as kpi_question says. */
static void add_row(const struct kpi_system *system, const char *cells, struct kp_str row,
                    struct kpi_answer *answer)
{
    uint64_t hash = 0;
    for (uint32_t c = 0, at = 0; at <= row.len; c++) {
        struct kp_str cell = {row.ptr + at, 0};
        while (at + cell.len < row.len && cell.ptr[cell.len] != '\t')
            cell.len++;
        at += cell.len + 1;
        char letter = c < strlen(cells) ? cells[c] : '.';
        if (system->kind != KPI_OURS && strchr("kgc", letter) != NULL)
            cell = name_of(system, letter, cell);
        if (system->kind != KPI_OURS && kp_str_equal(cell, KP_STR("spans")))
            return;
        if (letter != '-')
            hash = kp_hash_mix(hash * 31 + kp_hash64(cell.ptr, cell.len, c));
    }
    answer->rows++;
    answer->sum += hash;
}

static void add_rows(const struct kpi_system *system, const char *cells, struct kp_buf *rows,
                     struct kpi_answer *answer)
{
    for (const char *line = kp_buf_cstr(rows); *line != '\0';) {
        uint32_t length = (uint32_t)strcspn(line, "\n");
        add_row(system, cells, (struct kp_str){line, length}, answer);
        line += length + (line[length] != '\0');
    }
}

/* ---------- asking anyone ---------- */

static bool ask_text(struct kpi_system *system, const char *text, bool small, struct kp_buf *out,
                     const char **out_why)
{
    if (system->kind != KPI_OURS)
        return kpi_peer_run(system->peer, text, out, out_why);
    return kpi_system_ours(small ? system->small : system->snapshot, text, system->threads, out,
                           out_why);
}

static bool ask_once(struct kpi_system *system, const char *pattern,
                     const struct kpi_values *values, bool small, kp_time since, struct kp_buf *out,
                     const char **out_why)
{
    const struct kpi_dialect *dialects[KPI_SYSTEMS][2] = {
        {NULL, NULL}, {&duck, &duck_small}, {&click, &click_small}, {&click, &click_small}};
    struct kp_buf text = {0};
    kpi_question_text(pattern, values, dialects[system->kind][small], since, &text);
    bool done = ask_text(system, kp_buf_cstr(&text), small, out, out_why);
    kp_buf_deinit(&text);
    return done;
}

/* The last row before values->at, looked for further and further back when the text has a bound. */
static bool ask_hop(struct kpi_system *system, const char *pattern, const struct kpi_values *values,
                    bool small, struct kp_buf *out, const char **out_why)
{
    bool bounded = strstr(pattern, "$since") != NULL;
    for (size_t i = bounded ? 0 : KP_ARRAY_LEN(backs) - 1; i < KP_ARRAY_LEN(backs); i++) {
        kp_time since = backs[i] == KP_TIME_MAX ? 0 : values->at - backs[i];
        if (!ask_once(system, pattern, values, small, since, out, out_why))
            return false;
        if (out->size > 0)
            break;
    }
    return true;
}

static bool ask_hops(struct kpi_system *system, const char *pattern,
                     const struct kpi_values *values, bool small, struct kp_buf *out,
                     const char **out_why)
{
    struct kpi_values hop = *values;
    struct kp_buf row = {0};
    bool done = true;
    for (uint32_t i = 0; i < KPI_HOPS; i++) {
        kp_buf_clear(&row);
        done = ask_hop(system, pattern, &hop, small, &row, out_why);
        if (!done || row.size == 0 ||
            sscanf(kp_buf_cstr(&row), "%" SCNd64 "\t%" SCNd64, &hop.at, &hop.tid) != 2)
            break;
        kp_buf_text(out, kp_buf_cstr(&row));
    }
    kp_buf_deinit(&row);
    return done;
}

bool kpi_system_ask(struct kpi_system *system, const struct kpi_question *question, uint32_t way,
                    const struct kpi_values *values, bool small, int64_t *out_ns,
                    struct kpi_answer *answer, const char **out_why)
{
    const char *pattern = system->kind == KPI_OURS ? question->kql : question->ways[way].sql;
    struct kp_buf rows = {0};
    int64_t start = kp_time_monotonic();
    bool done = question->loop ? ask_hops(system, pattern, values, small, &rows, out_why)
                               : ask_once(system, pattern, values, small, 0,
                                          answer == NULL ? NULL : &rows, out_why);
    *out_ns = kp_time_monotonic() - start;
    if (done && answer != NULL) {
        memset(answer, 0, sizeof(*answer));
        add_rows(system, question->cells, &rows, answer);
    }
    kp_buf_deinit(&rows);
    return done;
}
