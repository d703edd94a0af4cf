/* SPDX-License-Identifier: Apache-2.0
 *
 * Filtering works on what a block stores once: a key on an actor's attribute is answered per entry
 * of the block's actor table and a key on a dictionary column per dictionary value; rows then only
 * look up a byte. Time comes first, because most pages of a scan are cut by it or not at all.
 */
#include "storage/filter.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/big.h"

/* ---------- preparing ---------- */

static int compare_numbers(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static bool attr_is_text(enum kp_attr attr)
{
    return attr == KP_ATTR_HOST || attr == KP_ATTR_COMM || attr == KP_ATTR_CGROUP ||
           attr == KP_ATTR_KIND;
}

static bool key_is_text(const struct kp_stored_column *stored, enum kp_attr attr)
{
    if (attr == KP_ATTR_SELF)
        return kp_type_phys(stored->type) == KP_PHYS_STR;
    return attr_is_text(attr);
}

static bool attr_fits(const struct kp_stream *stream, struct kp_colref ref)
{
    if (ref.stored >= stream->stored_count || ref.attr > KP_ATTR_KIND)
        return false;
    if (ref.attr == KP_ATTR_SELF || ref.attr == KP_ATTR_KIND)
        return true;
    if (ref.attr == KP_ATTR_START)
        return strcmp(stream->stored[ref.stored].name, "dur") == 0;
    return stream->stored[ref.stored].type == KP_TYPE_ACTOR;
}

static kp_status key_init(struct kpi_filter *filter, const struct kp_scan_key *from,
                          struct kp_arena *arena, struct kp_error *err)
{
    const struct kp_stream *stream = filter->stream;
    if (!attr_fits(stream, from->column))
        return kp_error_set(err, KP_INVALID, "a scan key names no column of %s", stream->name);
    const struct kp_stored_column *stored = &stream->stored[from->column.stored];
    bool is_text = key_is_text(stored, from->column.attr);
    if (is_text ? from->strs == NULL : from->numbers == NULL)
        return kp_error_set(err, KP_INVALID, "the scan key on %s of %s has values of another type",
                            stored->name, stream->name);
    struct kpi_filter_key key = {
        .column = from->column, .type = stored->type, .strs = from->strs, .count = from->count};
    if (!is_text) {
        int64_t *sorted = kp_arena_alloc(arena, from->count * sizeof(*sorted));
        if (sorted == NULL)
            return kp_arena_error(arena, err);
        memcpy(sorted, from->numbers, from->count * sizeof(*sorted));
        qsort(sorted, from->count, sizeof(*sorted), compare_numbers);
        key.numbers = sorted;
    }
    filter->keys[filter->keys_count++] = key;
    return KP_OK;
}

static bool str_passes(const struct kpi_filter_key *key, struct kp_str value)
{
    for (uint32_t i = 0; i < key->count; i++)
        if (kp_str_equal(key->strs[i], value))
            return true;
    return false;
}

kp_status kpi_filter_init(struct kpi_filter *filter, const struct kp_scan_req *req,
                          struct kp_arena *arena, struct kp_error *err)
{
    *filter = (struct kpi_filter){
        .stream = req->stream, .from = req->from, .to = req->to, .exact = req->no_prune};
    if (req->keys_count > KP_SCAN_KEYS_MAX)
        return kp_error_set(err, KP_INVALID, "a scan takes at most %d keys", KP_SCAN_KEYS_MAX);
    for (uint32_t i = 0; i < req->keys_count; i++) {
        if (req->keys[i].count == 0)
            continue;
        kp_status status = key_init(filter, &req->keys[i], arena, err);
        if (status != KP_OK)
            return status;
        const struct kpi_filter_key *key = &filter->keys[filter->keys_count - 1];
        if (key->column.attr == KP_ATTR_KIND && !str_passes(key, kp_str_from(req->stream->name)))
            filter->nothing = true;
    }
    for (uint32_t i = 0; i < req->cols_count; i++)
        if (!attr_fits(req->stream, req->cols[i]))
            return kp_error_set(err, KP_INVALID, "a scan asks for no column of %s",
                                req->stream->name);
    return KP_OK;
}

/* seq: one of the numbers looked for lies among the block's. */
static bool seq_may_pass(const struct kpi_filter_key *key, const struct kpi_block_ref *ref)
{
    bool passes = false;
    for (uint32_t i = 0; i < key->count; i++)
        passes |=
            (uint64_t)key->numbers[i] >= ref->seq_min && (uint64_t)key->numbers[i] <= ref->seq_max;
    return passes;
}

bool kpi_filter_may_pass(const struct kpi_filter *filter, const struct kpi_block_ref *ref)
{
    if (ref->ts_max < filter->from || ref->ts_min > filter->to)
        return false;
    for (uint32_t i = 0; i < filter->keys_count; i++) {
        const struct kpi_filter_key *key = &filter->keys[i];
        if (key->column.attr == KP_ATTR_TID &&
            !kpi_block_ref_has_tid(ref, key->column.stored, key->numbers, key->count))
            return false;
        if (key->column.stored == KP_COL_SEQ && !seq_may_pass(key, ref))
            return false;
    }
    return true;
}

bool kpi_filter_whole(const struct kpi_filter *filter, kp_time ts_min, kp_time ts_max)
{
    return filter->keys_count == 0 && !filter->exact && ts_min >= filter->from &&
           ts_max <= filter->to;
}

/* ---------- rows ---------- */

#define NUMBERS_FEW 8u /* up to here comparing with each is the fastest */

bool kpi_filter_number(const struct kpi_filter_key *key, int64_t value)
{
    bool passes = false;
    if (key->count <= NUMBERS_FEW) {
        for (uint32_t i = 0; i < key->count; i++)
            passes |= key->numbers[i] == value;
        return passes;
    }
    return bsearch(&value, key->numbers, key->count, sizeof(value), compare_numbers) != NULL;
}

struct kp_str kpi_actor_text(const struct kp_actor *actor, enum kp_attr attr)
{
    return attr == KP_ATTR_HOST ? actor->host : attr == KP_ATTR_COMM ? actor->comm : actor->cgroup;
}

bool kpi_filter_actor(const struct kpi_filter *filter, kp_actor_id id, const struct kp_actor *actor)
{
    bool passes = true;
    for (uint32_t i = 0; i < filter->keys_count && passes; i++) {
        const struct kpi_filter_key *key = &filter->keys[i];
        enum kp_attr attr = key->column.attr;
        if (key->column.stored != KP_COL_ACTOR || attr == KP_ATTR_KIND)
            continue;
        if (attr_is_text(attr))
            passes = str_passes(key, kpi_actor_text(actor, attr));
        else
            passes = kpi_filter_number(key, attr == KP_ATTR_SELF  ? (int64_t)id
                                            : attr == KP_ATTR_TID ? actor->tid
                                                                  : actor->pid);
    }
    return passes;
}

/* Which local numbers pass. */
kp_status kpi_filter_locals(const struct kpi_filter_key *key, struct kp_snapshot *snapshot,
                            struct kpi_page *page, bool *passes)
{
    if (key->column.attr == KP_ATTR_SELF) {
        for (uint32_t i = 0; i <= page->actors; i++)
            passes[i] = kpi_filter_number(key, page->ids[i]);
        return KP_OK;
    }
    const void *values = kpi_page_attr(snapshot, page, key->column.attr);
    if (values == NULL)
        return KP_NO_MEMORY;
    bool is_number = key->column.attr == KP_ATTR_TID || key->column.attr == KP_ATTR_PID;
    for (uint32_t i = 0; i <= page->actors; i++)
        passes[i] = is_number ? kpi_filter_number(key, ((const int64_t *)values)[i])
                              : str_passes(key, ((const struct kp_str *)values)[i]);
    return KP_OK;
}

/* Rows in some order; those that are kept move to the front. */
struct sieve {
    const struct kpi_filter_key *key;
    const bool *passes; /* actors: by local number */
    const int64_t *ts;  /* begins: times of the rows */
    uint32_t *rows;
    uint32_t kept;
};

static void keep_passing(struct sieve *sieve, const uint32_t *rows, const int64_t *values,
                         uint32_t count)
{
    uint32_t kept = sieve->kept;
    for (uint32_t i = 0; i < count; i++) {
        sieve->rows[kept] = rows[i];
        kept += sieve->passes[values[i]];
    }
    sieve->kept = kept;
}

static void keep_starts(struct sieve *sieve, const uint32_t *rows, const int64_t *durs,
                        uint32_t count)
{
    uint32_t kept = sieve->kept;
    for (uint32_t i = 0; i < count; i++) {
        bool passes = kpi_filter_number(sieve->key, kpi_start_of(sieve->ts[rows[i]], durs[i]));
        sieve->rows[kept] = rows[i];
        kept += passes;
    }
    sieve->kept = kept;
}

static void keep_equal(struct sieve *sieve, const uint32_t *rows, const int64_t *values,
                       uint32_t count)
{
    uint32_t kept = sieve->kept;
    int64_t one = sieve->key->numbers[0];
    for (uint32_t i = 0; i < count; i++) {
        sieve->rows[kept] = rows[i];
        kept += values[i] == one;
    }
    sieve->kept = kept;
}

static void keep_among(struct sieve *sieve, const uint32_t *rows, const int64_t *values,
                       uint32_t count)
{
    uint32_t kept = sieve->kept;
    for (uint32_t i = 0; i < count; i++) {
        sieve->rows[kept] = rows[i];
        kept += kpi_filter_number(sieve->key, values[i]);
    }
    sieve->kept = kept;
}

/* Numbers of rows are taken out of their column a piece at a time. */
static uint32_t sift(struct sieve *sieve, const struct kpi_packed *column, uint32_t count,
                     void (*keep)(struct sieve *, const uint32_t *, const int64_t *, uint32_t))
{
    int64_t values[KP_VECTOR_ROWS];
    for (uint32_t at = 0; at < count; at += KP_VECTOR_ROWS) {
        uint32_t piece = KP_MIN(count - at, (uint32_t)KP_VECTOR_ROWS);
        kpi_packed_take(column, sieve->rows + at, 0, piece, values);
        keep(sieve, sieve->rows + at, values, piece);
    }
    return sieve->kept;
}

static kp_status keep_actors(const struct kpi_filter_key *key, struct kp_snapshot *snapshot,
                             struct kpi_page *page, uint32_t *rows, uint32_t *count)
{
    bool *passes = malloc((size_t)page->actors + 1);
    struct sieve sieve = {.key = key, .passes = passes, .rows = rows};
    kp_status status =
        passes == NULL ? KP_NO_MEMORY : kpi_filter_locals(key, snapshot, page, passes);
    if (status == KP_OK)
        *count = sift(&sieve, &page->packed[key->column.stored], *count, keep_passing);
    free(passes);
    return status;
}

/* Ids that follow each other differ at their end: a look at the last byte spares most comparisons.
 */
static bool dict_code(const struct kp_dict *dict, struct kp_str value, uint32_t *out)
{
    for (uint32_t i = 0; i < dict->count; i++) {
        struct kp_str text = dict->values[i];
        if (text.len == value.len &&
            (text.len == 0 || text.ptr[text.len - 1] == value.ptr[text.len - 1]) &&
            kp_str_equal(text, value)) {
            *out = i;
            return true;
        }
    }
    return false;
}

#define STRIDE 32u

/* Of rows that follow each other none, mostly, has the code: a stretch is passed over at once. */
static void keep_code(const uint32_t *codes, uint32_t code, uint32_t *rows, uint32_t *count)
{
    uint32_t kept = 0;
    for (uint32_t i = 0, end; i < *count; i = end) {
        uint32_t hits = 1;
        end = KP_MIN(i + STRIDE, *count);
        if (end - i == STRIDE && rows[end - 1] - rows[i] == STRIDE - 1) {
            hits = 0;
            for (uint32_t at = rows[i]; at < rows[i] + STRIDE; at++)
                hits |= codes[at] == code;
        }
        for (uint32_t at = i; hits != 0 && at < end; at++) {
            rows[kept] = rows[at];
            kept += codes[rows[at]] == code;
        }
    }
    *count = kept;
}

static kp_status keep_strs(const struct kpi_filter_key *key, const struct kp_vec *vec,
                           uint32_t *rows, uint32_t *count)
{
    uint32_t kept = 0;
    if (vec->dict == NULL) {
        for (uint32_t i = 0; i < *count; i++) {
            rows[kept] = rows[i];
            kept += str_passes(key, vec->strs[rows[i]]);
        }
        *count = kept;
        return KP_OK;
    }
    uint32_t code;
    if (key->count == 1) {
        if (dict_code(vec->dict, key->strs[0], &code))
            keep_code(vec->codes, code, rows, count);
        else
            *count = 0;
        return KP_OK;
    }
    bool *passes = malloc(vec->dict->count);
    if (passes == NULL)
        return KP_NO_MEMORY;
    for (uint32_t i = 0; i < vec->dict->count; i++)
        passes[i] = str_passes(key, vec->dict->values[i]);
    for (uint32_t i = 0; i < *count; i++) {
        rows[kept] = rows[i];
        kept += passes[vec->codes[rows[i]]];
    }
    *count = kept;
    free(passes);
    return KP_OK;
}

static kp_status keep_key(const struct kpi_filter_key *key, struct kp_snapshot *snapshot,
                          struct kpi_page *page, bool lying, uint32_t *rows, uint32_t *count)
{
    uint32_t column = key->column.stored;
    const struct kp_vec *vec;
    struct sieve sieve = {.key = key, .rows = rows};
    if (key->column.attr == KP_ATTR_KIND)
        return KP_OK; /* decided once for the whole scan */
    kp_status status = lying ? kpi_page_lying(snapshot, page, column, &vec)
                             : kpi_page_decode(snapshot, page, column);
    if (status == KP_OK && key->column.attr == KP_ATTR_START)
        status = kpi_page_times(snapshot, page, &sieve.ts);
    if (status != KP_OK)
        return status;
    if (key->type == KP_TYPE_ACTOR)
        return keep_actors(key, snapshot, page, rows, count);
    if (kp_type_phys(key->type) == KP_PHYS_STR)
        return keep_strs(key, &page->cols[column], rows, count);
    struct kpi_packed numbers = kpi_page_numbers(page, column, lying);
    *count = sift(&sieve, &numbers, *count,
                  sieve.ts != NULL  ? keep_starts
                  : key->count == 1 ? keep_equal
                                    : keep_among);
    return KP_OK;
}

/* First row whose time is at or after t (or after t) in times that ascend. */
static uint32_t times_bound(const int64_t *ts, uint32_t rows, kp_time t, bool after)
{
    uint32_t low = 0, high = rows;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (ts[mid] < t || (after && ts[mid] == t))
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool times_hold(const struct kpi_filter *filter, const int64_t *ts, uint32_t rows)
{
    bool out = false;
    for (uint32_t i = 0; i < rows; i++)
        out |= (ts[i] < filter->from) | (ts[i] > filter->to);
    return !out;
}

static kp_status rows_list(const struct kpi_page *page, struct kpi_rows *rows)
{
    rows->list = kp_big_alloc((size_t)page->rows * sizeof(*rows->list));
    for (uint32_t i = 0; rows->list != NULL && i < rows->count; i++)
        rows->list[i] = rows->first + i;
    return rows->list == NULL ? KP_NO_MEMORY : KP_OK;
}

/* Every row by its own time, in the order that was made for a page whose rows do not lie in it. */
static kp_status times_walk(const struct kpi_filter *filter, const struct kpi_page *page,
                            const int64_t *ts, struct kpi_rows *rows)
{
    kp_status status = rows_list(page, rows);
    rows->count = 0;
    for (uint32_t i = 0; i < page->rows && status == KP_OK; i++) {
        uint32_t row = page->order == NULL ? i : page->order[i];
        rows->list[rows->count] = row;
        rows->count += ts[row] >= filter->from && ts[row] <= filter->to;
    }
    return status;
}

/* Rows lie in order, so the wanted ones are a stretch that two searches find. Were a file's rows
 * out of order (verify tells), the walk would still give none outside of the window. */
static kp_status keep_times(const struct kpi_filter *filter, struct kp_snapshot *snapshot,
                            struct kpi_page *page, struct kpi_rows *rows)
{
    const int64_t *ts;
    bool inside = page->ts_min >= filter->from && page->ts_max <= filter->to;
    *rows = (struct kpi_rows){.count = page->rows};
    if (inside && page->order == NULL && !filter->exact)
        return KP_OK;
    kp_status status = kpi_page_times(snapshot, page, &ts);
    if (status != KP_OK || page->order != NULL || filter->exact)
        return status == KP_OK ? times_walk(filter, page, ts, rows) : status;
    rows->first = times_bound(ts, page->rows, filter->from, false);
    uint32_t end = times_bound(ts, page->rows, filter->to, true);
    rows->count = end > rows->first ? end - rows->first : 0;
    return times_hold(filter, ts + rows->first, rows->count) ? KP_OK
                                                             : times_walk(filter, page, ts, rows);
}

kp_status kpi_filter_page(const struct kpi_filter *filter, struct kp_snapshot *snapshot,
                          struct kpi_page *page, bool lying, struct kpi_rows *out)
{
    struct kpi_rows rows = {.count = page->rows};
    kp_status status = lying ? KP_OK : keep_times(filter, snapshot, page, &rows);
    if (status == KP_OK && filter->keys_count > 0 && rows.list == NULL && rows.count > 0)
        status = rows_list(page, &rows);
    for (uint32_t i = 0; i < filter->keys_count && rows.count > 0 && status == KP_OK; i++)
        status = keep_key(&filter->keys[i], snapshot, page, lying, rows.list, &rows.count);
    if (status == KP_OK)
        *out = rows;
    else
        kpi_rows_free(&rows);
    return status;
}

void kpi_rows_free(struct kpi_rows *rows)
{
    kp_big_free(rows->list);
    *rows = (struct kpi_rows){0};
}
