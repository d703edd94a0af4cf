/* SPDX-License-Identifier: Apache-2.0
 *
 * A result table in an arena. Every column is a paged list whose page is as long as a batch, so
 * handing out a batch copies nothing.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "causal/table.h"

#define NULL_WORDS (KP_VECTOR_ROWS / 64)

struct kp_rows {
    struct kp_arena *arena;
    const struct kp_schema *schema;
    struct kpi_list *cols;
    struct kpi_list *nulls; /* uint64_t *: a bit a row of the page; NULL = it has none */
    struct kp_vec *vecs;
    struct kpi_list notes; /* struct kp_str */
    struct kp_batch batch;
    struct kp_scan_stat read;
    struct kp_rows_step *steps;
    uint32_t steps_count;
    uint32_t rows, given;
    bool failed;
};

static uint32_t item_bytes(const struct kp_field *field)
{
    switch (kp_type_phys(field->type)) {
    case KP_PHYS_STR:
        return sizeof(struct kp_str);
    case KP_PHYS_I128:
        return sizeof(__int128);
    case KP_PHYS_I64:
    case KP_PHYS_F64:
        break;
    }
    return sizeof(int64_t);
}

kp_status kpi_rows_open(struct kp_arena *arena, const struct kp_schema *schema,
                        struct kp_rows **out)
{
    struct kp_rows *rows = kp_arena_zalloc(arena, 1, sizeof(*rows));
    if (rows == NULL)
        return KP_LIMIT;
    rows->arena = arena;
    rows->schema = schema;
    rows->cols = kp_arena_zalloc(arena, schema->count, sizeof(*rows->cols));
    rows->nulls = kp_arena_zalloc(arena, schema->count, sizeof(*rows->nulls));
    rows->vecs = kp_arena_zalloc(arena, schema->count, sizeof(*rows->vecs));
    if (rows->cols == NULL || rows->nulls == NULL || rows->vecs == NULL)
        return KP_LIMIT;
    for (uint32_t i = 0; i < schema->count; i++) {
        kpi_list_init(&rows->cols[i], arena, item_bytes(&schema->fields[i]));
        kpi_list_init(&rows->nulls[i], arena, sizeof(uint64_t *));
    }
    kpi_list_init(&rows->notes, arena, sizeof(struct kp_str));
    *out = rows;
    return KP_OK;
}

void kpi_rows_add(struct kp_rows *rows)
{
    for (uint32_t i = 0; i < rows->schema->count; i++) {
        kpi_list_add(&rows->cols[i]);
        if (rows->rows % KP_VECTOR_ROWS == 0)
            kpi_list_add(&rows->nulls[i]);
        rows->failed |= rows->cols[i].failed || rows->nulls[i].failed;
    }
    rows->rows += !rows->failed;
}

static void *last_value(struct kp_rows *rows, uint32_t column)
{
    kp_assert(column < rows->schema->count);
    return rows->failed ? rows->cols[column].spare
                        : kpi_list_at(&rows->cols[column], rows->rows - 1);
}

void kpi_rows_i64(struct kp_rows *rows, uint32_t column, int64_t value)
{
    *(int64_t *)last_value(rows, column) = value;
}

void kpi_rows_f64(struct kp_rows *rows, uint32_t column, double value)
{
    *(double *)last_value(rows, column) = value;
}

void kpi_rows_str(struct kp_rows *rows, uint32_t column, struct kp_str value)
{
    *(struct kp_str *)last_value(rows, column) = value;
}

void kpi_rows_null(struct kp_rows *rows, uint32_t column)
{
    if (rows->failed)
        return;
    uint32_t row = rows->rows - 1;
    uint64_t **words = kpi_list_at(&rows->nulls[column], row / KP_VECTOR_ROWS);
    if (*words == NULL)
        *words = kp_arena_zalloc(rows->arena, NULL_WORDS, sizeof(**words));
    rows->failed = *words == NULL;
    if (!rows->failed)
        (*words)[row % KP_VECTOR_ROWS / 64] |= 1ull << (row % 64);
}

void kpi_rows_note(struct kp_rows *rows, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    struct kp_str *note = kpi_list_add(&rows->notes);
    *note = kp_arena_str(rows->arena, kp_str_from(text));
    rows->failed |= rows->notes.failed || note->ptr == NULL;
}

static struct kp_str part_text(struct kp_rows *rows, const struct kpi_step *step)
{
    char back[KP_DUR_TEXT_MAX];
    if (step->back < 0)
        return kp_str_from(step->part);
    kp_dur_format(step->back, back);
    return kpi_text(rows->arena, "%s, from %s before it", step->part, back);
}

void kpi_rows_read(struct kp_rows *rows, const struct kpi_reader *reader)
{
    rows->read = reader->stat;
    rows->steps =
        kp_arena_zalloc(rows->arena, (size_t)reader->steps_count + 1, sizeof(*rows->steps));
    rows->failed |= rows->steps == NULL;
    for (uint32_t i = 0; i < reader->steps_count && !rows->failed; i++) {
        const struct kpi_step *step = &reader->steps[i];
        if (step->stat.pages_read + step->stat.pages_cached == 0)
            continue;
        rows->steps[rows->steps_count++] = (struct kp_rows_step){
            .part = part_text(rows, step),
            .stream = kp_str_from(kp_stream_by_number(step->stream)->name),
            .scans = step->scans,
            .stat = step->stat,
        };
    }
}

uint32_t kp_rows_steps(const struct kp_rows *rows, const struct kp_rows_step **out)
{
    *out = rows->steps;
    return rows->steps_count;
}

kp_status kpi_rows_check(const struct kp_rows *rows, struct kp_error *err)
{
    return rows->failed ? kp_arena_error(rows->arena, err) : KP_OK;
}

kp_status kp_rows_next(struct kp_rows *rows, const struct kp_batch **out)
{
    if (rows->given >= rows->rows)
        return KP_END;
    uint32_t page = rows->given / KP_VECTOR_ROWS;
    for (uint32_t i = 0; i < rows->schema->count; i++) {
        struct kp_vec *vec = &rows->vecs[i];
        memset(vec, 0, sizeof(*vec));
        vec->type = rows->schema->fields[i].type;
        vec->i64 = kpi_list_at(&rows->cols[i], rows->given);
        vec->nulls = *(uint64_t **)kpi_list_at(&rows->nulls[i], page);
    }
    rows->batch = (struct kp_batch){
        .cols = rows->vecs,
        .cols_count = rows->schema->count,
        .rows = KP_MIN(rows->rows - rows->given, (uint32_t)KP_VECTOR_ROWS),
    };
    rows->given += rows->batch.rows;
    *out = &rows->batch;
    return KP_OK;
}

uint32_t kp_rows_notes(const struct kp_rows *rows, const struct kp_str **out)
{
    /* a table has few notes: they never leave the first page */
    *out = rows->notes.count == 0 ? NULL : rows->notes.pages[0];
    return KP_MIN(rows->notes.count, (uint32_t)KPI_LIST_PAGE);
}

void kp_rows_stat(const struct kp_rows *rows, struct kp_scan_stat *out)
{
    *out = rows->read;
}
