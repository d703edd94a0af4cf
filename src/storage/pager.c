/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks come in the order they were appended; their times overlap where ingest drained several
 * CPUs or a row was late. They are loaded in order of their first time. A row is final once every
 * block not yet loaded begins later than it; pages are cut from final rows only, so order holds
 * over the whole file without ever holding the whole file.
 */
#include "storage/pager.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/assert.h"
#include "storage/joined.h"
#include "storage/order.h"

struct source {
    const uint8_t *bytes; /* NULL: pager->from loads it */
    struct kpi_block_info info;
    uint32_t number; /* in WAL order: breaks ties */
    struct kp_arena arena;
    const struct kp_batch **batches; /* by stream; loaded when rows_left > 0 */
    uint32_t rows_left;
};

struct row_ref {
    struct kpi_row_key key;
    uint32_t source, row;
};

/* Rows of one stream waiting for their page: refs[begin, end), sorted up to `sorted`. */
struct pool {
    struct row_ref *refs;
    uint32_t begin, end, sorted, capacity;
    uint32_t taken; /* of the page being cut */
};

struct pager {
    const struct kpi_page_source *from;
    struct source *sources; /* of all streams, by ts_min */
    uint32_t count;
    struct kp_actors *actors;
    kpi_page_fn each;
    void *ctx;
    uint32_t page;
    struct pool pools[KP_STREAM_MAX];
};

/* Streams that share pages, joined blocks among them, and how many rows a page takes. */
struct group {
    bool has[KP_STREAM_MAX];
    uint8_t members[KP_STREAM_MAX];
    uint32_t members_count;
    uint32_t page_rows;
    uint32_t next;   /* first source not looked at */
    uint32_t pooled; /* rows waiting */
};

/* ---------- sources ---------- */

static kp_status sources_add_run(struct pager *pager, const struct kpi_block_run *run,
                                 uint32_t *capacity)
{
    for (size_t at = 0; at < run->size;) {
        struct source source = {.bytes = (const uint8_t *)run->bytes + at, .number = pager->count};
        kp_status status = kpi_block_peek(source.bytes, run->size - at, &source.info);
        if (status != KP_OK)
            return status;
        if (pager->count == *capacity) {
            uint32_t grown = *capacity == 0 ? 256 : *capacity * 2;
            struct source *more = realloc(pager->sources, grown * sizeof(*more));
            if (more == NULL)
                return KP_NO_MEMORY;
            pager->sources = more;
            *capacity = grown;
        }
        pager->sources[pager->count++] = source;
        at += source.info.size;
    }
    return KP_OK;
}

static int compare_sources(const void *a, const void *b)
{
    const struct source *x = a, *y = b;
    if (x->info.ts_min != y->info.ts_min)
        return x->info.ts_min < y->info.ts_min ? -1 : 1;
    return x->number < y->number ? -1 : 1;
}

static kp_status pool_reserve(struct pool *pool, uint32_t rows)
{
    if (pool->begin > 0) {
        memmove(pool->refs, pool->refs + pool->begin,
                (size_t)(pool->end - pool->begin) * sizeof(*pool->refs));
        pool->end -= pool->begin;
        pool->sorted -= pool->begin;
        pool->begin = 0;
    }
    if (pool->capacity - pool->end >= rows)
        return KP_OK;
    uint32_t capacity = KP_MAX(pool->capacity * 2, pool->end + rows);
    struct row_ref *refs = realloc(pool->refs, (size_t)capacity * sizeof(*refs));
    if (refs == NULL)
        return KP_NO_MEMORY;
    pool->refs = refs;
    pool->capacity = capacity;
    return KP_OK;
}

/* The rows of a batch join those that wait. */
static kp_status batch_pool(struct pager *pager, uint32_t number, const struct kp_batch *batch)
{
    struct pool *pool = &pager->pools[batch->stream->number];
    const struct kp_vec *cols = batch->cols;
    kp_status status = pool_reserve(pool, batch->rows);
    for (uint32_t row = 0; row < batch->rows && status == KP_OK; row++)
        pool->refs[pool->end++] =
            (struct row_ref){.key = {.ts = cols[KP_COL_TS].i64[row],
                                     .seq = (uint64_t)cols[KP_COL_SEQ].i64[row],
                                     .cpu = (uint32_t)cols[KP_COL_CPU].i64[row],
                                     .actor = (kp_actor_id)cols[KP_COL_ACTOR].i64[row]},
                             .source = number,
                             .row = row};
    return status;
}

static kp_status source_load(struct pager *pager, uint32_t number)
{
    struct source *source = &pager->sources[number];
    struct kp_batch *batches = kp_arena_alloc(&source->arena, KP_STREAM_MAX * sizeof(*batches));
    source->batches = kp_arena_zalloc(&source->arena, KP_STREAM_MAX, sizeof(*source->batches));
    uint32_t count = 0, size;
    kp_status status = batches == NULL || source->batches == NULL ? KP_NO_MEMORY : KP_OK;
    if (status == KP_OK && source->bytes == NULL)
        status = pager->from->load(pager->from->ctx, source->number, pager->actors, &source->arena,
                                   batches, &count);
    else if (status == KP_OK)
        status = kpi_block_batches(source->bytes, source->info.size, pager->actors, &source->arena,
                                   batches, &count, &size);
    for (uint32_t i = 0; i < count && status == KP_OK; i++) {
        source->batches[batches[i].stream->number] = &batches[i];
        status = batch_pool(pager, number, &batches[i]);
    }
    source->rows_left = source->info.rows;
    if (status != KP_OK)
        kp_arena_deinit(&source->arena);
    return status;
}

/* ---------- order ---------- */

static int compare_refs(const void *a, const void *b, void *ctx)
{
    const struct pager *pager = ctx;
    const struct row_ref *x = a, *y = b;
    int order = kpi_row_compare(pager->actors, &x->key, &y->key);
    if (order != 0)
        return order;
    uint32_t source_x = pager->sources[x->source].number;
    uint32_t source_y = pager->sources[y->source].number;
    if (source_x != source_y)
        return source_x < source_y ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* Most rows arrive in order: sorting begins at the first that does not. */
static void pool_sort(struct pager *pager, struct pool *pool)
{
    uint32_t at = KP_MAX(pool->sorted, pool->begin + 1);
    while (at < pool->end && compare_refs(&pool->refs[at - 1], &pool->refs[at], pager) < 0)
        at++;
    if (at < pool->end)
        qsort_r(pool->refs + pool->begin, pool->end - pool->begin, sizeof(*pool->refs),
                compare_refs, pager);
    pool->sorted = pool->end;
}

/* ---------- pages ---------- */

static kp_status gather_column(const struct pager *pager, uint32_t stream,
                               const struct row_ref *refs, uint32_t count, uint32_t column,
                               struct kp_arena *arena, struct kp_vec *out)
{
    bool is_str = kp_type_phys(out->type) == KP_PHYS_STR;
    out->i64 = kp_arena_alloc(arena, count * (is_str ? sizeof(*out->strs) : sizeof(*out->i64)));
    if (out->i64 == NULL)
        return KP_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        const struct kp_vec *vec = &pager->sources[refs[i].source].batches[stream]->cols[column];
        if (is_str)
            out->strs[i] = kp_vec_str(vec, refs[i].row);
        else
            out->i64[i] = vec->i64[refs[i].row];
    }
    return KP_OK;
}

/* The rows of one stream; memory from arena. */
static kp_status batch_gather(const struct pager *pager, const struct kp_stream *stream,
                              const struct row_ref *refs, uint32_t count, struct kp_arena *arena,
                              struct kp_batch *out)
{
    struct kp_vec *cols = kp_arena_zalloc(arena, stream->stored_count, sizeof(*cols));
    kp_status status = cols == NULL ? KP_NO_MEMORY : KP_OK;
    for (uint32_t c = 0; status == KP_OK && c < stream->stored_count; c++) {
        cols[c].type = stream->stored[c].type;
        status = gather_column(pager, stream->number, refs, count, c, arena, &cols[c]);
    }
    *out = (struct kp_batch){.stream = stream,
                             .actors = pager->actors,
                             .cols = cols,
                             .cols_count = stream->stored_count,
                             .rows = count};
    return status;
}

static void rows_release(struct pager *pager, const struct row_ref *refs, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct source *source = &pager->sources[refs[i].source];
        if (--source->rows_left == 0)
            kp_arena_deinit(&source->arena);
    }
}

static void page_release(struct pager *pager, struct group *group)
{
    for (uint32_t m = 0; m < group->members_count; m++) {
        struct pool *pool = &pager->pools[group->members[m]];
        if (pool->taken > 0)
            rows_release(pager, pool->refs + pool->begin, pool->taken);
        pool->begin += pool->taken;
        group->pooled -= pool->taken;
        pool->taken = 0;
    }
    pager->page++;
}

static kp_status page_emit(struct pager *pager, struct group *group)
{
    struct kp_arena arena = {0};
    struct kp_batch batches[KP_STREAM_MAX];
    uint32_t count = 0;
    kp_status status = KP_OK;
    for (uint32_t m = 0; m < group->members_count && status == KP_OK; m++) {
        const struct pool *pool = &pager->pools[group->members[m]];
        if (pool->taken > 0)
            status = batch_gather(pager, kp_stream_by_number(group->members[m]),
                                  pool->refs + pool->begin, pool->taken, &arena, &batches[count++]);
    }
    if (status == KP_OK)
        status = pager->each(pager->ctx, pager->page, batches, count);
    if (status == KP_OK)
        page_release(pager, group);
    kp_arena_deinit(&arena);
    return status;
}

/* The member whose next row is oldest and final; NULL when there is none. */
static struct pool *oldest_pool(struct pager *pager, const struct group *group, kp_time horizon,
                                bool all_final)
{
    struct pool *oldest = NULL;
    kp_time oldest_ts = 0;
    for (uint32_t m = 0; m < group->members_count; m++) {
        struct pool *pool = &pager->pools[group->members[m]];
        if (pool->begin + pool->taken == pool->end)
            continue;
        kp_time ts = pool->refs[pool->begin + pool->taken].key.ts;
        if ((all_final || ts < horizon) && (oldest == NULL || ts < oldest_ts)) {
            oldest = pool;
            oldest_ts = ts;
        }
    }
    return oldest;
}

/* Marks rows for the next page; returns how many. */
static uint32_t page_cut(struct pager *pager, const struct group *group)
{
    bool all_final = group->next == pager->count;
    kp_time horizon = all_final ? 0 : pager->sources[group->next].info.ts_min;
    uint32_t rows = 0;
    for (struct pool *pool;
         rows < group->page_rows && (pool = oldest_pool(pager, group, horizon, all_final)) != NULL;
         rows++)
        pool->taken++;
    return rows;
}

static bool group_skip(struct pager *pager, struct group *group)
{
    while (group->next < pager->count &&
           !group->has[pager->sources[group->next].info.stream->number])
        group->next++;
    return group->next < pager->count;
}

/* Loads sources until enough rows wait, or all are loaded. */
static kp_status group_load(struct pager *pager, struct group *group, uint32_t enough)
{
    while (group_skip(pager, group) && group->pooled < enough) {
        kp_status status = source_load(pager, group->next);
        if (status != KP_OK)
            return status;
        group->pooled += pager->sources[group->next++].info.rows;
    }
    for (uint32_t m = 0; m < group->members_count; m++)
        pool_sort(pager, &pager->pools[group->members[m]]);
    return KP_OK;
}

static void page_uncut(struct pager *pager, const struct group *group)
{
    for (uint32_t m = 0; m < group->members_count; m++)
        pager->pools[group->members[m]].taken = 0;
}

static kp_status group_run(struct pager *pager, struct group *group)
{
    uint32_t enough = 2 * group->page_rows;
    for (;;) {
        kp_status status = group_load(pager, group, enough);
        if (status != KP_OK)
            return status;
        if (group->pooled == 0)
            return KP_OK;
        uint32_t rows = page_cut(pager, group);
        if (rows < group->page_rows && group->next < pager->count) {
            page_uncut(pager, group); /* overlapping blocks hold too many rows back */
            enough = group->pooled + group->page_rows;
            continue;
        }
        enough = 2 * group->page_rows;
        status = page_emit(pager, group);
        if (status != KP_OK)
            return status;
    }
}

static void group_add(struct group *group, const struct kp_stream *stream)
{
    group->has[stream->number] = true;
    group->members[group->members_count++] = stream->number;
}

static kp_status groups_run(struct pager *pager)
{
    struct group kernel = {.page_rows = KPI_PAGE_ROWS_KERNEL, .has[KPI_SPINE_STREAM] = true};
    uint32_t count;
    const struct kp_stream *streams = kp_streams(&count);
    for (uint32_t s = 0; s < count; s++)
        if (streams[s].family == KP_FAMILY_KERNEL)
            group_add(&kernel, &streams[s]);
    kp_status status = group_run(pager, &kernel);
    for (uint32_t s = 0; status == KP_OK && s < count; s++) {
        struct group own = {.page_rows = KPI_PAGE_ROWS_OWN};
        if (streams[s].family != KP_FAMILY_OWN)
            continue;
        group_add(&own, &streams[s]);
        status = group_run(pager, &own);
    }
    return status;
}

/* Makes pages of the sources there are; frees everything. */
static kp_status pager_run(struct pager *pager, kp_status status)
{
    if (status == KP_OK)
        status = kp_actors_init(&pager->actors);
    if (status == KP_OK && pager->count > 0) {
        qsort(pager->sources, pager->count, sizeof(*pager->sources), compare_sources);
        status = groups_run(pager);
    }
    for (uint32_t i = 0; i < pager->count; i++)
        kp_arena_deinit(&pager->sources[i].arena);
    for (uint32_t s = 0; s < KP_STREAM_MAX; s++)
        free(pager->pools[s].refs);
    free(pager->sources);
    if (pager->actors != NULL)
        kp_actors_deinit(pager->actors);
    free(pager);
    return status;
}

kp_status kpi_pages_make(const struct kpi_block_run *runs, uint32_t runs_count, kpi_page_fn each,
                         void *ctx)
{
    struct pager *pager = calloc(1, sizeof(*pager));
    if (pager == NULL)
        return KP_NO_MEMORY;
    pager->each = each;
    pager->ctx = ctx;
    uint32_t capacity = 0;
    kp_status status = KP_OK;
    for (uint32_t i = 0; status == KP_OK && i < runs_count; i++)
        status = sources_add_run(pager, &runs[i], &capacity);
    return pager_run(pager, status);
}

kp_status kpi_pages_merge(const struct kpi_page_source *from, kpi_page_fn each, void *ctx)
{
    struct pager *pager = calloc(1, sizeof(*pager));
    if (pager == NULL)
        return KP_NO_MEMORY;
    pager->each = each;
    pager->ctx = ctx;
    pager->from = from;
    pager->sources = calloc((size_t)from->count + 1, sizeof(*pager->sources));
    pager->count = pager->sources == NULL ? 0 : from->count;
    for (uint32_t i = 0; i < pager->count; i++)
        pager->sources[i] = (struct source){.info = from->infos[i], .number = i};
    return pager_run(pager, pager->sources == NULL ? KP_NO_MEMORY : KP_OK);
}
