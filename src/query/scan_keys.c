/* SPDX-License-Identifier: Apache-2.0
 *
 * From conditions to scan keys and back to text, and from stored numbers to names.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "query/parse.h"
#include "query/scan.h"

void kpi_scan_keys_init(struct kpi_scan_keys *keys)
{
    *keys = (struct kpi_scan_keys){.bounds = {KP_TIME_MIN, KP_TIME_MAX, false}};
}

bool kpi_scan_keys_tally(const struct kpi_run *run, const struct kpi_scan_keys *keys,
                         const bool *kinds, kp_time from, kp_time to, struct kp_scan_req *out)
{
    if (keys->empty || (run->opts.off & (KP_OFF_ROLLUPS | KP_OFF_PRUNING | KP_OFF_JOINED)) != 0)
        return false;
    for (uint32_t k = 0; k < keys->count; k++)
        if (keys->keys[k].column.stored != KP_COL_ACTOR)
            return false;
    *out = (struct kp_scan_req){.stream = kp_stream_events(),
                                .kinds = kinds,
                                .from = KP_MAX(from, keys->bounds.from),
                                .to = KP_MIN(to, keys->bounds.to),
                                .keys_count = keys->count,
                                .rolled_from = keys->bounds.from,
                                .rolled_to = keys->bounds.to};
    memcpy(out->keys, keys->keys, sizeof(out->keys));
    return true;
}

void kpi_bounds_push(struct kpi_bounds *bounds, const struct kpi_push *push)
{
    kp_time low = push->values[0].i64, high = low;
    for (uint32_t i = 1; i < push->count; i++) {
        low = KP_MIN(low, push->values[i].i64);
        high = KP_MAX(high, push->values[i].i64);
    }
    if (push->op != '<')
        bounds->from = KP_MAX(bounds->from, low);
    if (push->op != '>')
        bounds->to = KP_MIN(bounds->to, high);
    bounds->set = true;
}

bool kpi_bounds_whole(const struct kpi_run *run, const struct kpi_bounds *bounds)
{
    kp_time oldest, newest;
    kp_snapshot_range(run->snapshot, &oldest, &newest);
    return bounds->from <= oldest && bounds->to >= newest;
}

double kpi_bounds_part(const struct kpi_run *run, const struct kpi_bounds *bounds)
{
    kp_time oldest, newest;
    kp_snapshot_range(run->snapshot, &oldest, &newest);
    kp_time from = KP_MAX(bounds->from, oldest), to = KP_MIN(bounds->to, newest);
    if (from > to)
        return 0;
    return ((double)to - (double)from + 1) / ((double)newest - (double)oldest + 1);
}

/* Number of an ENUM name; names outside the table are numbers. */
static bool enum_number(const struct kp_stored_column *column, struct kp_str name, int64_t *out)
{
    struct kpi_value value;
    if (kp_enum_value(column, name, out))
        return true;
    if (!kpi_literal_long(name, &value) || kp_enum_name(column, value.i64).ptr != NULL)
        return false;
    *out = value.i64;
    return true;
}

static bool add_numbers(struct kpi_run *run, struct kp_scan_key *key,
                        const struct kp_stored_column *column, const struct kpi_push *push)
{
    int64_t *numbers = kpi_new(&run->ctx, push->count, sizeof(*numbers));
    if (numbers == NULL)
        return false;
    for (uint32_t i = 0; i < push->count; i++) {
        if (push->values[i].null)
            continue;
        if (column->type != KP_TYPE_ENUM)
            numbers[key->count++] = push->values[i].i64;
        else if (enum_number(column, push->values[i].str, &numbers[key->count]))
            key->count++;
    }
    key->numbers = numbers;
    return true;
}

static bool add_strs(struct kpi_run *run, struct kp_scan_key *key, const struct kpi_push *push)
{
    struct kp_str *strs = kpi_new(&run->ctx, push->count, sizeof(*strs));
    if (strs == NULL)
        return false;
    for (uint32_t i = 0; i < push->count; i++)
        strs[key->count++] = push->values[i].str;
    key->strs = strs;
    return true;
}

static bool add_key(struct kpi_run *run, struct kpi_scan_keys *keys, const struct kp_stream *stream,
                    const struct kp_query_column *column, const struct kpi_push *push)
{
    const struct kp_stored_column *stored = &stream->stored[column->ref.stored];
    bool number = column->ref.attr == KP_ATTR_TID || column->ref.attr == KP_ATTR_PID ||
                  (column->ref.attr == KP_ATTR_SELF && stored->type != KP_TYPE_STR);
    bool real = column->type == KP_TYPE_F64 || column->type == KP_TYPE_DEC;
    if (keys->count == KP_SCAN_KEYS_MAX || real || column->ref.attr == KP_ATTR_START)
        return false;
    struct kp_scan_key *key = &keys->keys[keys->count];
    *key = (struct kp_scan_key){.column = column->ref};
    if (number ? !add_numbers(run, key, stored, push) : !add_strs(run, key, push))
        return false;
    keys->empty |= key->count == 0;
    keys->count += key->count != 0;
    return true;
}

bool kpi_scan_keys_push(struct kpi_run *run, struct kpi_scan_keys *keys,
                        const struct kp_stream *stream, const struct kp_query_column *column,
                        const struct kpi_push *push)
{
    bool is_ts = column->ref.stored == KP_COL_TS;
    if (column->ref.attr == KP_ATTR_START && push->op != '<') {
        struct kpi_push low = *push; /* ts = start + dur is never before start */
        low.op = '>';
        kpi_bounds_push(&keys->bounds, &low);
        return false;
    }
    if (is_ts) {
        kpi_bounds_push(&keys->bounds, push);
        return push->op != '=' || push->count == 1;
    }
    return push->op == '=' && add_key(run, keys, stream, column, push);
}

void kpi_bounds_text(const struct kpi_bounds *bounds, struct kp_buf *out)
{
    char text[KP_TIME_TEXT_MAX];
    if (bounds->from == KP_TIME_MIN && bounds->to == KP_TIME_MAX) {
        kp_buf_text(out, " time all");
        return;
    }
    kp_buf_text(out, " time ");
    if (bounds->from != KP_TIME_MIN) {
        kp_time_format(bounds->from, text);
        kp_buf_text(out, text);
    }
    kp_buf_text(out, " .. ");
    if (bounds->to != KP_TIME_MAX) {
        kp_time_format(bounds->to, text);
        kp_buf_text(out, text);
    }
}

void kpi_scan_keys_text(const struct kpi_scan_keys *keys, const struct kp_stream *stream,
                        struct kp_buf *out)
{
    for (uint32_t k = 0; k < keys->count; k++) {
        const struct kp_scan_key *key = &keys->keys[k];
        const char *name = "";
        for (uint32_t c = 0; c < stream->columns_count; c++)
            if (stream->columns[c].ref.stored == key->column.stored &&
                stream->columns[c].ref.attr == key->column.attr)
                name = stream->columns[c].name;
        kp_buf_printf(out, "%s%s in (", k == 0 ? " keys " : ", ", name);
        const struct kp_stored_column *stored = &stream->stored[key->column.stored];
        for (uint32_t i = 0; i < key->count; i++) {
            struct kp_str known = {NULL, 0};
            if (stored->type == KP_TYPE_ENUM && key->numbers != NULL)
                known = kp_enum_name(stored, key->numbers[i]);
            if (known.ptr != NULL)
                kp_buf_printf(out, "%s'%.*s'", i > 0 ? ", " : "", (int)known.len, known.ptr);
            else if (key->strs != NULL)
                kp_buf_printf(out, "%s'%.*s'", i > 0 ? ", " : "", (int)key->strs[i].len,
                              key->strs[i].ptr);
            else
                kp_buf_printf(out, "%s%" PRId64, i > 0 ? ", " : "", key->numbers[i]);
        }
        kp_buf_char(out, ')');
    }
    if (keys->empty)
        kp_buf_text(out, " nothing can match");
}

/* --- names of ENUM values --- */

static bool grow_names(struct kpi_ctx *ctx, struct kpi_enum_names *names)
{
    uint32_t capacity = names->capacity == 0 ? 64 : names->capacity * 2;
    struct kp_str *texts = kpi_new(ctx, capacity, sizeof(*texts));
    int64_t *values = kpi_new(ctx, capacity, sizeof(*values));
    if (texts == NULL || values == NULL)
        return false;
    for (uint32_t i = 0; i < names->count; i++) {
        texts[i] = names->names[i];
        values[i] = names->values[i];
    }
    names->names = texts;
    names->values = values;
    names->capacity = capacity;
    return true;
}

/* Code of a value, made on first sight; UINT32_MAX with the error set. */
static uint32_t enum_code(struct kpi_ctx *ctx, struct kpi_enum_names *names, int64_t value)
{
    bool direct = value >= 0 && value < (int64_t)KP_ARRAY_LEN(names->codes);
    if (direct && names->codes[value] != 0)
        return names->codes[value] - 1;
    for (uint32_t i = 0; !direct && i < names->count; i++)
        if (names->values[i] == value)
            return i;
    if (names->count == names->capacity && !grow_names(ctx, names))
        return UINT32_MAX;
    struct kp_str text = kp_enum_name(names->column, value);
    if (text.ptr == NULL) {
        char digits[24];
        snprintf(digits, sizeof(digits), "%" PRId64, value);
        text = kp_arena_str(ctx->arena, kp_str_from(digits));
        if (text.ptr == NULL) {
            kpi_fail_memory(ctx);
            return UINT32_MAX;
        }
    }
    names->names[names->count] = text;
    names->values[names->count] = value;
    if (direct)
        names->codes[value] = names->count + 1;
    return names->count++;
}

bool kpi_enum_vector(struct kpi_ctx *ctx, struct kpi_enum_names *names, const struct kp_vec *from,
                     uint32_t rows, uint32_t *codes, struct kp_vec *out)
{
    for (uint32_t i = 0; i < rows; i++) {
        codes[i] = enum_code(ctx, names, from->i64[i]);
        if (codes[i] == UINT32_MAX)
            return false;
    }
    names->dict = (struct kp_dict){names->names, names->count, true};
    *out = (struct kp_vec){.type = KP_TYPE_STR, .dict = &names->dict, .codes = codes};
    return true;
}

void kpi_stat_account(struct kpi_run *run, const struct kp_scan_stat *stat)
{
    run->stat.rows_read += stat->rows_read;
    run->stat.bytes_read += stat->bytes_read;
    run->stat.segments += stat->segments;
    run->stat.segments_pruned += stat->segments_pruned;
    run->stat.pages += stat->pages;
    run->stat.pages_pruned += stat->pages_pruned;
    run->stat.pages_counted += stat->pages_counted;
    run->stat.pages_by_time += stat->pages_by_time;
    run->stat.pages_by_thread += stat->pages_by_thread;
    run->stat.pages_by_value += stat->pages_by_value;
}

void kpi_scan_account(struct kpi_run *run, const struct kp_scan *scan)
{
    struct kp_scan_stat stat;
    kp_scan_stat(scan, &stat);
    kpi_stat_account(run, &stat);
}
