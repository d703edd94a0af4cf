/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing a spine: rows of all streams are merged by (time, lane, event number); whatever a reader
 * derives from lanes alone must give the same order, so batches that are not in that order are
 * refused and go into blocks of their own.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "storage/spine.h"

struct lane {
    struct kp_str host;
    int64_t cpu;
    uint32_t rows, first; /* its rows begin here in what is stored lane by lane */
    int64_t ts;           /* of its last row */
};

/* One row in the order of the page. */
struct merged {
    uint32_t batch, row, lane;
};

struct spine_writer {
    const struct kp_batch *batches;
    uint32_t count, rows;
    struct kpi_actor_set *actors;
    struct kpi_block_parts parts;
    struct lane *lanes;
    uint32_t lanes_count;
    uint16_t *lane_of; /* by batch, then row */
    struct merged *merged;
    /* kind, ts, actor and peer lane by lane; seq in the order of the page */
    int64_t *values[KPI_SPINE_COLUMNS];
    struct kpi_foresight model;
    struct kp_buf columns, actors_chunk;
};

static int64_t value_at(const struct kp_batch *batch, uint32_t column, uint32_t row)
{
    return batch->cols[column].i64[row];
}

/* ---------- lanes ---------- */

static kp_status lane_find(struct spine_writer *w, struct kp_str host, int64_t cpu, uint32_t hint,
                           uint32_t *out)
{
    for (uint32_t i = 0; i < w->lanes_count; i++) {
        uint32_t lane = (hint + i) % w->lanes_count;
        if (w->lanes[lane].cpu == cpu && kp_str_equal(w->lanes[lane].host, host)) {
            *out = lane;
            return KP_OK;
        }
    }
    if (w->lanes_count == KPI_SPINE_LANES_MAX)
        return KP_LIMIT;
    w->lanes[w->lanes_count] = (struct lane){.host = host, .cpu = cpu};
    *out = w->lanes_count++;
    return KP_OK;
}

static int compare_lanes(const void *a, const void *b)
{
    const struct lane *x = a, *y = b;
    int order = kp_str_compare(x->host, y->host);
    return order != 0 ? order : x->cpu < y->cpu ? -1 : x->cpu > y->cpu;
}

/* Lanes get their places; rows learn the new numbers. */
static kp_status lanes_sort(struct spine_writer *w)
{
    uint16_t *moved = malloc(KPI_SPINE_LANES_MAX * sizeof(*moved));
    if (moved == NULL)
        return KP_NO_MEMORY;
    for (uint32_t i = 0; i < w->lanes_count; i++)
        w->lanes[i].first = i;
    qsort(w->lanes, w->lanes_count, sizeof(*w->lanes), compare_lanes);
    for (uint32_t i = 0, first = 0; i < w->lanes_count; i++) {
        moved[w->lanes[i].first] = (uint16_t)i;
        w->lanes[i].first = first;
        first += w->lanes[i].rows;
    }
    for (uint32_t i = 0; i < w->rows; i++)
        w->lane_of[i] = moved[w->lane_of[i]];
    free(moved);
    return KP_OK;
}

static kp_status lanes_make(struct spine_writer *w)
{
    uint32_t at = 0, lane = 0;
    for (uint32_t b = 0; b < w->count; b++) {
        const struct kp_batch *batch = &w->batches[b];
        for (uint32_t row = 0; row < batch->rows; row++) {
            kp_actor_id actor = (kp_actor_id)value_at(batch, KP_COL_ACTOR, row);
            kp_status status = lane_find(w, kp_actors_get(batch->actors, actor)->host,
                                         value_at(batch, KP_COL_CPU, row), lane, &lane);
            if (status != KP_OK)
                return status;
            w->lanes[lane].rows++;
            w->lane_of[at++] = (uint16_t)lane;
        }
    }
    return lanes_sort(w);
}

/* ---------- order ---------- */

/* Where the merge stands in each batch. */
struct cursor {
    uint32_t batch, row, first; /* first: of lane_of */
    int64_t ts;
    uint32_t lane;
    uint64_t seq;
};

static void cursor_load(const struct spine_writer *w, struct cursor *cursor)
{
    const struct kp_batch *batch = &w->batches[cursor->batch];
    if (cursor->row == batch->rows)
        return;
    cursor->ts = value_at(batch, KP_COL_TS, cursor->row);
    cursor->seq = (uint64_t)value_at(batch, KP_COL_SEQ, cursor->row);
    cursor->lane = w->lane_of[cursor->first + cursor->row];
}

static bool cursor_before(const struct cursor *a, const struct cursor *b)
{
    if (a->ts != b->ts)
        return a->ts < b->ts;
    return a->lane != b->lane ? a->lane < b->lane : a->seq < b->seq;
}

static kp_status rows_merge(struct spine_writer *w, struct cursor *cursors)
{
    struct cursor before = {.ts = INT64_MIN};
    for (uint32_t i = 0; i < w->rows; i++) {
        struct cursor *least = NULL;
        for (uint32_t b = 0; b < w->count; b++)
            if (cursors[b].row < w->batches[b].rows &&
                (least == NULL || cursor_before(&cursors[b], least)))
                least = &cursors[b];
        if (least->ts < before.ts || (least->ts == before.ts && least->lane < before.lane))
            return KP_LIMIT; /* a batch is not in the order lanes can tell */
        before = *least;
        w->merged[i] = (struct merged){least->batch, least->row, least->lane};
        least->row++;
        cursor_load(w, least);
    }
    return KP_OK;
}

static kp_status rows_order(struct spine_writer *w)
{
    struct cursor *cursors = calloc(w->count, sizeof(*cursors));
    if (cursors == NULL)
        return KP_NO_MEMORY;
    for (uint32_t b = 0, first = 0; b < w->count; first += w->batches[b++].rows) {
        cursors[b] = (struct cursor){.batch = b, .first = first};
        cursor_load(w, &cursors[b]);
    }
    kp_status status = rows_merge(w, cursors);
    free(cursors);
    return status;
}

/* ---------- values ---------- */

static uint32_t local_at(struct spine_writer *w, const struct merged *at, uint32_t column)
{
    int64_t id = value_at(&w->batches[at->batch], column, at->row);
    return kpi_actor_set_local(w->actors, (kp_actor_id)id);
}

static void row_put(struct spine_writer *w, const struct merged *at, uint32_t place)
{
    const struct kp_batch *batch = &w->batches[at->batch];
    uint32_t stream = batch->stream->number, column = kpi_spine_peer(stream);
    uint32_t actor = local_at(w, at, KP_COL_ACTOR), peer = 0;
    struct lane *lane = &w->lanes[at->lane];
    int64_t ts = value_at(batch, KP_COL_TS, at->row);
    w->values[KPI_SPINE_KIND][place] = stream;
    w->values[KPI_SPINE_TS][place] = (int64_t)((uint64_t)ts - (uint64_t)lane->ts);
    lane->ts = ts;
    w->values[KPI_SPINE_ACTOR][place] =
        actor == w->model.running[at->lane] ? 0 : (int64_t)actor + 1;
    if (column != 0) {
        peer = local_at(w, at, column);
        uint32_t expected = kpi_foresee_peer(&w->model, stream, actor);
        w->values[KPI_SPINE_PEER][place] = peer == expected ? 0 : (int64_t)peer + 1;
    }
    kpi_foresight_row(&w->model, stream, at->lane, actor, peer);
}

static void rows_put(struct spine_writer *w)
{
    uint64_t expected = w->parts.seq_min;
    for (uint32_t i = 0; i < w->lanes_count; i++) {
        w->lanes[i].ts = (int64_t)w->parts.ts_min;
        w->lanes[i].rows = 0; /* counted again: rows put so far */
    }
    for (uint32_t i = 0; i < w->rows; i++) {
        const struct merged *at = &w->merged[i];
        struct lane *lane = &w->lanes[at->lane];
        uint64_t seq = (uint64_t)value_at(&w->batches[at->batch], KP_COL_SEQ, at->row);
        w->values[KPI_SPINE_SEQ][i] = (int64_t)(seq - expected);
        expected = seq + 1;
        row_put(w, at, lane->first + lane->rows++);
    }
}

/* ---------- chunks ---------- */

static kp_status lanes_add(struct spine_writer *w)
{
    uint8_t number[10];
    int64_t *numbers = malloc((size_t)w->lanes_count * 2 * sizeof(*numbers));
    if (numbers == NULL)
        return KP_NO_MEMORY;
    for (uint32_t i = 0; i < w->lanes_count; i++) {
        numbers[i] = w->lanes[i].cpu;
        numbers[w->lanes_count + i] = w->lanes[i].rows;
    }
    kp_buf_char(&w->columns, KPI_CHUNK_LANES);
    kp_buf_add(&w->columns, number, kp_store_varint(number, w->lanes_count));
    kp_status status = kpi_ints_nest(numbers, w->lanes_count, KPI_LEVEL_HOT, &w->columns);
    if (status == KP_OK)
        status =
            kpi_ints_nest(numbers + w->lanes_count, w->lanes_count, KPI_LEVEL_HOT, &w->columns);
    free(numbers);
    return status;
}

/* One chunk for each stream: how long after the row before depends on what happened. */
static kp_status groups_add(struct spine_writer *w, const int64_t *values, int64_t *scratch)
{
    const int64_t *kinds = w->values[KPI_SPINE_KIND];
    uint32_t counts[KP_STREAM_MAX] = {0};
    struct kp_buf chunk = {0};
    kp_status status = KP_OK;
    kp_buf_char(&w->columns, KPI_CHUNK_GROUPS);
    for (uint32_t i = 0; i < w->rows; i++)
        counts[kinds[i]]++;
    for (uint32_t stream = 0; stream < KP_STREAM_MAX && status == KP_OK; stream++) {
        uint32_t count = 0;
        if (counts[stream] == 0)
            continue;
        for (uint32_t i = 0; i < w->rows; i++)
            if (kinds[i] == stream)
                scratch[count++] = values[i];
        kp_buf_clear(&chunk);
        status = kpi_ints_encode(scratch, count, KPI_LEVEL_SEALED, &chunk);
        kpi_str_add(&w->columns, (struct kp_str){chunk.data, (uint32_t)chunk.size});
    }
    kp_buf_deinit(&chunk);
    return status;
}

/* Only rows that have a peer. */
static kp_status peers_add(struct spine_writer *w, int64_t *scratch)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < w->rows; i++)
        if (kpi_spine_peer((uint32_t)w->values[KPI_SPINE_KIND][i]) != 0)
            scratch[count++] = w->values[KPI_SPINE_PEER][i];
    return count == 0 ? KP_OK : kpi_ints_encode(scratch, count, KPI_LEVEL_SEALED, &w->columns);
}

static kp_status column_add(struct spine_writer *w, uint32_t column)
{
    int64_t *scratch = w->values[KPI_SPINE_LANES];
    switch (column) {
    case KPI_SPINE_LANES:
        return lanes_add(w);
    case KPI_SPINE_TS:
        return groups_add(w, w->values[column], scratch);
    case KPI_SPINE_PEER:
        return peers_add(w, scratch);
    default:
        return kpi_ints_encode(w->values[column], w->rows, KPI_LEVEL_SEALED, &w->columns);
    }
}

static kp_status columns_add(struct spine_writer *w)
{
    for (uint32_t c = 0; c < KPI_SPINE_COLUMNS; c++) {
        size_t before = w->columns.size;
        kp_status status = column_add(w, c);
        if (status != KP_OK)
            return status;
        w->parts.sizes[c] = (uint32_t)(w->columns.size - before);
    }
    return KP_OK;
}

/* ---------- the whole ---------- */

/* Ranges, and every actor of the page before the first number is written. */
static void batches_survey(struct spine_writer *w)
{
    w->parts = KPI_BLOCK_PARTS_EMPTY;
    for (uint32_t b = 0; b < w->count; b++) {
        const struct kp_batch *batch = &w->batches[b];
        w->rows += batch->rows;
        kpi_range_add(batch->cols[KP_COL_TS].i64, batch->rows, false, &w->parts.ts_min,
                      &w->parts.ts_max);
        kpi_range_add(batch->cols[KP_COL_SEQ].i64, batch->rows, true, &w->parts.seq_min,
                      &w->parts.seq_max);
        for (uint32_t c = 0; c < batch->cols_count; c++)
            for (uint32_t i = 0; batch->cols[c].type == KP_TYPE_ACTOR && i < batch->rows; i++)
                kpi_actor_set_local(w->actors, (kp_actor_id)batch->cols[c].i64[i]);
    }
}

static kp_status memory_get(struct spine_writer *w)
{
    w->lanes = calloc(KPI_SPINE_LANES_MAX, sizeof(*w->lanes));
    w->lane_of = malloc(w->rows * sizeof(*w->lane_of));
    w->merged = malloc(w->rows * sizeof(*w->merged));
    bool whole = w->lanes != NULL && w->lane_of != NULL && w->merged != NULL;
    for (uint32_t c = 0; c < KPI_SPINE_COLUMNS; c++) {
        w->values[c] = calloc(w->rows, sizeof(**w->values));
        whole = whole && w->values[c] != NULL;
    }
    return whole ? KP_OK : KP_NO_MEMORY;
}

static kp_status spine_encode(struct spine_writer *w)
{
    kp_status status = memory_get(w);
    if (status == KP_OK)
        status = lanes_make(w);
    if (status == KP_OK)
        status = rows_order(w);
    if (status == KP_OK)
        status = kpi_foresight_init(&w->model, w->lanes_count, w->actors->count);
    if (status != KP_OK)
        return status;
    rows_put(w);
    status =
        kpi_actor_set_encode(w->actors, w->batches[0].actors, KPI_LEVEL_SEALED, &w->actors_chunk);
    return status == KP_OK ? columns_add(w) : status;
}

kp_status kpi_spine_encode(const struct kp_batch *batches, uint32_t count,
                           struct kpi_actor_set *actors, struct kp_buf *out)
{
    struct spine_writer w = {.batches = batches, .count = count, .actors = actors};
    batches_survey(&w);
    kp_status status = w.rows > KPI_BLOCK_ROWS_MAX ? KP_LIMIT : spine_encode(&w);
    w.parts.version = KPI_BLOCK_VERSION_2;
    w.parts.stream = KPI_SPINE_STREAM;
    w.parts.level = KPI_BLOCK_LEVEL_PAGED;
    w.parts.columns_count = KPI_SPINE_COLUMNS;
    w.parts.rows = w.rows;
    w.parts.actors = actors->count;
    if (status == KP_OK)
        status = kpi_block_assemble(&w.parts, &w.actors_chunk, &w.columns, out);
    kpi_foresight_deinit(&w.model);
    for (uint32_t c = 0; c < KPI_SPINE_COLUMNS; c++)
        free(w.values[c]);
    free(w.merged);
    free(w.lane_of);
    free(w.lanes);
    kp_buf_deinit(&w.columns);
    kp_buf_deinit(&w.actors_chunk);
    return status;
}
