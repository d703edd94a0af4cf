/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing a spine: rows of all streams are merged by (time, lane, event number); whatever a reader
 * derives from lanes alone must give the same order, so batches that are not in that order are
 * refused and go into blocks of their own.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "storage/range.h"
#include "storage/spine_durs.h"
#include "storage/ticks.h"

struct lane {
    struct kp_str host;
    int64_t cpu;
    uint32_t rows, first; /* its rows begin here in what is stored lane by lane */
    int64_t ts;           /* of its last row */
};

/* One row in the order of the page. */
struct merged {
    uint64_t since; /* the page's first time */
    uint32_t row;
    uint16_t batch, lane;
};

struct spine_writer {
    const struct kp_batch *batches;
    uint32_t count;
    enum kpi_level level;
    struct kpi_actor_set *actors;
    struct kpi_block_parts *parts;
    struct lane *lanes;
    uint32_t lanes_count;
    uint16_t *lane_of; /* by batch, then row */
    struct merged *merged, *spare;
    /* kind, ts, actor and peer lane by lane; seq in the order of the page */
    int64_t *values[KPI_SPINE_COLUMNS];
    struct kpi_foresight model;
    struct kp_buf *columns;
};

static int64_t value_at(const struct kp_batch *batch, uint32_t column, uint32_t row)
{
    return batch->cols[column].i64[row];
}

static uint32_t local_at(struct spine_writer *w, uint32_t batch, uint32_t column, uint32_t row)
{
    int64_t id = value_at(&w->batches[batch], column, row);
    return kpi_actor_set_local(w->actors, (kp_actor_id)id);
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
    for (uint32_t i = 0; i < w->parts->rows; i++)
        w->lane_of[i] = moved[w->lane_of[i]];
    free(moved);
    return KP_OK;
}

/* Rows of one thread mostly follow each other: its host is looked up when it changes. */
static kp_status lanes_make(struct spine_writer *w)
{
    uint32_t at = 0, lane = 0, last = UINT32_MAX;
    struct kp_str host = {0};
    for (uint32_t b = 0; b < w->count; b++) {
        const struct kp_batch *batch = &w->batches[b];
        for (uint32_t row = 0; row < batch->rows; row++) {
            uint32_t actor = local_at(w, b, KP_COL_ACTOR, row);
            kp_actor_id id = actor == 0 ? KP_ACTOR_UNKNOWN : w->actors->ids[actor - 1];
            if (actor != last)
                host = kp_actors_get(batch->actors, id)->host;
            last = actor;
            kp_status status = lane_find(w, host, value_at(batch, KP_COL_CPU, row), lane, &lane);
            if (status != KP_OK)
                return status;
            w->lanes[lane].rows++;
            w->lane_of[at++] = (uint16_t)lane;
        }
    }
    return lanes_sort(w);
}

/* ---------- order ---------- */

/* Gives every row its place in time. LIMIT: a batch is not in the order lanes can tell. */
static kp_status rows_number(struct spine_writer *w)
{
    uint32_t at = 0;
    for (uint32_t b = 0; b < w->count; b++) {
        struct merged before = {0};
        for (uint32_t row = 0; row < w->batches[b].rows; row++, at++) {
            uint64_t since = (uint64_t)value_at(&w->batches[b], KP_COL_TS, row) - w->parts->ts_min;
            struct merged now = {since, row, (uint16_t)b, w->lane_of[at]};
            if (now.since < before.since || (now.since == before.since && now.lane < before.lane))
                return KP_LIMIT;
            before = w->merged[at] = now;
        }
    }
    return KP_OK;
}

#define DIGIT_BITS 11u
#define DIGITS     (1u << DIGIT_BITS)

/* One pass of a radix sort: by lane, or by the digit of the time at `shift`. */
static void digit_sort(struct spine_writer *w, bool by_lane, unsigned shift)
{
    uint32_t places[DIGITS] = {0}, rows = w->parts->rows;
    for (uint32_t i = 0; i < rows; i++)
        places[by_lane ? w->merged[i].lane : w->merged[i].since >> shift & (DIGITS - 1)]++;
    for (uint32_t digit = 0, place = 0; digit < DIGITS; digit++) {
        uint32_t count = places[digit];
        places[digit] = place;
        place += count;
    }
    for (uint32_t i = 0; i < rows; i++) {
        const struct merged *row = &w->merged[i];
        w->spare[places[by_lane ? row->lane : row->since >> shift & (DIGITS - 1)]++] = *row;
    }
    struct merged *sorted = w->spare;
    w->spare = w->merged;
    w->merged = sorted;
}

/* Rows of a page span few bits of time, so three or four passes do what a merge needs a comparison
 * per row and doubling of the batches for. Equal rows keep the order of batches. */
static void rows_sort(struct spine_writer *w)
{
    unsigned bits = kpi_bits_of(w->parts->ts_max - w->parts->ts_min);
    if (w->lanes_count > 1)
        digit_sort(w, true, 0);
    for (unsigned shift = 0; shift < bits; shift += DIGIT_BITS)
        digit_sort(w, false, shift);
}

static uint64_t seq_at(const struct spine_writer *w, const struct merged *at)
{
    return (uint64_t)value_at(&w->batches[at->batch], KP_COL_SEQ, at->row);
}

/* True when b, behind a, is as early but has the lower number. A batch keeps its order. */
static bool tie_turns(const struct spine_writer *w, const struct merged *a, const struct merged *b)
{
    return a->since == b->since && a->lane == b->lane && a->batch != b->batch &&
           seq_at(w, b) < seq_at(w, a);
}

static void ties_order(struct spine_writer *w)
{
    for (uint32_t i = 1; i < w->parts->rows; i++) {
        struct merged row = w->merged[i];
        uint32_t at = i;
        for (; at > 0 && tie_turns(w, &w->merged[at - 1], &row); at--)
            w->merged[at] = w->merged[at - 1];
        w->merged[at] = row;
    }
}

static kp_status rows_order(struct spine_writer *w)
{
    kp_status status = rows_number(w);
    if (status == KP_OK) {
        rows_sort(w);
        ties_order(w);
    }
    return status;
}

/* ---------- values ---------- */

static void row_put(struct spine_writer *w, const struct merged *at, uint32_t place)
{
    const struct kp_batch *batch = &w->batches[at->batch];
    uint32_t stream = batch->stream->number, column = kpi_spine_peer(stream);
    uint32_t actor = local_at(w, at->batch, KP_COL_ACTOR, at->row), peer = 0;
    struct lane *lane = &w->lanes[at->lane];
    int64_t ts = value_at(batch, KP_COL_TS, at->row);
    w->values[KPI_SPINE_KIND][place] = stream;
    w->values[KPI_SPINE_TS][place] = (int64_t)((uint64_t)ts - (uint64_t)lane->ts);
    lane->ts = ts;
    w->values[KPI_SPINE_ACTOR][place] =
        actor == w->model.running[at->lane] ? 0 : (int64_t)actor + 1;
    if (column != 0) {
        peer = local_at(w, at->batch, column, at->row);
        uint32_t expected = kpi_foresee_peer(&w->model, stream, actor);
        w->values[KPI_SPINE_PEER][place] = peer == expected ? 0 : (int64_t)peer + 1;
    }
    kpi_foresight_row(&w->model, stream, at->lane, actor, peer);
}

static void rows_put(struct spine_writer *w)
{
    uint64_t expected = w->parts->seq_min;
    for (uint32_t i = 0; i < w->lanes_count; i++) {
        w->lanes[i].ts = (int64_t)w->parts->ts_min;
        w->lanes[i].rows = 0; /* counted again: rows put so far */
    }
    for (uint32_t i = 0; i < w->parts->rows; i++) {
        const struct merged *at = &w->merged[i];
        struct lane *lane = &w->lanes[at->lane];
        uint64_t seq = seq_at(w, at);
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
    kp_buf_char(w->columns, KPI_CHUNK_LANES);
    kp_buf_add(w->columns, number, kp_store_varint(number, w->lanes_count));
    kp_status status = kpi_ints_nest(numbers, w->lanes_count, KPI_LEVEL_HOT, w->columns);
    if (status == KP_OK)
        status = kpi_ints_nest(numbers + w->lanes_count, w->lanes_count, KPI_LEVEL_HOT, w->columns);
    free(numbers);
    return status;
}

/* One chunk for each stream: how long after the row before depends on what happened. */
static kp_status groups_add(struct spine_writer *w, const int64_t *values, int64_t *scratch)
{
    const int64_t *kinds = w->values[KPI_SPINE_KIND];
    uint32_t ends[KP_STREAM_MAX] = {0};
    struct kp_buf chunk = {0};
    kp_status status = KP_OK;
    kp_buf_char(w->columns, KPI_CHUNK_GROUPS);
    for (uint32_t i = 0; i < w->parts->rows; i++)
        ends[kinds[i]]++;
    for (uint32_t stream = 0, end = 0; stream < KP_STREAM_MAX; stream++) {
        uint32_t rows = ends[stream];
        ends[stream] = end;
        end += rows;
    }
    for (uint32_t i = 0; i < w->parts->rows; i++)
        scratch[ends[kinds[i]]++] = values[i];
    for (uint32_t stream = 0, begin = 0; stream < KP_STREAM_MAX && status == KP_OK; stream++) {
        if (ends[stream] == begin)
            continue;
        kp_buf_clear(&chunk);
        status = kpi_ints_encode(scratch + begin, ends[stream] - begin, w->level, &chunk);
        kpi_str_add(w->columns, (struct kp_str){chunk.data, (uint32_t)chunk.size});
        begin = ends[stream];
    }
    kp_buf_deinit(&chunk);
    return status;
}

/* All steps as they lie, each under the stream of its row and of the row before in its lane. */
static kp_status steps_add(struct spine_writer *w)
{
    const int64_t *kinds = w->values[KPI_SPINE_KIND];
    uint16_t *pairs = malloc(w->parts->rows * sizeof(*pairs));
    if (pairs == NULL)
        return KP_NO_MEMORY;
    for (uint32_t lane = 0; lane < w->lanes_count; lane++) {
        uint32_t first = w->lanes[lane].first, end = first + w->lanes[lane].rows;
        for (uint32_t p = first; p < end; p++)
            pairs[p] = kpi_spine_pair(p == first ? 0 : (uint32_t)kinds[p - 1], (uint32_t)kinds[p]);
    }
    const int64_t *steps = w->values[KPI_SPINE_TS];
    size_t at = w->columns->size;
    kp_status status = KP_LIMIT;
    w->parts->period = kpi_ticks_period(steps, w->parts->rows);
    if (w->parts->period > 0) {
        kp_buf_char(w->columns, KPI_CHUNK_TICK_STEPS);
        status = kpi_ticks_encode(steps, pairs, w->parts->rows, w->parts->period, KPI_TICKS_CHAINED,
                                  w->columns);
    }
    if (status == KP_LIMIT) {
        w->columns->size = at;
        kp_buf_char(w->columns, KPI_CHUNK_DIRECT_STEPS);
        status = kpi_direct_encode(steps, pairs, w->parts->rows, w->columns);
    }
    free(pairs);
    return status;
}

/* Only rows that have a peer. */
static kp_status peers_add(struct spine_writer *w, int64_t *scratch)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < w->parts->rows; i++)
        if (kpi_spine_peer((uint32_t)w->values[KPI_SPINE_KIND][i]) != 0)
            scratch[count++] = w->values[KPI_SPINE_PEER][i];
    return count == 0 ? KP_OK : kpi_ints_encode(scratch, count, w->level, w->columns);
}

static kp_status column_add(struct spine_writer *w, uint32_t column)
{
    int64_t *scratch = w->values[KPI_SPINE_LANES];
    switch (column) {
    case KPI_SPINE_LANES:
        return lanes_add(w);
    case KPI_SPINE_TS:
        return w->level == KPI_LEVEL_COLD ? steps_add(w)
                                          : groups_add(w, w->values[column], scratch);
    case KPI_SPINE_PEER:
        return peers_add(w, scratch);
    default:
        return kpi_ints_encode(w->values[column], w->parts->rows, w->level, w->columns);
    }
}

static kp_status columns_add(struct spine_writer *w)
{
    for (uint32_t c = 0; c < KPI_SPINE_COLUMNS; c++) {
        size_t before = w->columns->size;
        kp_status status = column_add(w, c);
        if (status != KP_OK)
            return status;
        w->parts->sizes[c] = (uint32_t)(w->columns->size - before);
    }
    return KP_OK;
}

/* ---------- the whole ---------- */

/* Ranges, and every actor of the page before the first number is written. */
static void batches_survey(struct spine_writer *w)
{
    struct kpi_block_parts *parts = w->parts;
    *parts = KPI_BLOCK_PARTS_EMPTY;
    for (uint32_t b = 0; b < w->count; b++) {
        const struct kp_batch *batch = &w->batches[b];
        parts->rows += batch->rows;
        kpi_range_add(batch->cols[KP_COL_TS].i64, batch->rows, false, &parts->ts_min,
                      &parts->ts_max);
        kpi_range_add(batch->cols[KP_COL_SEQ].i64, batch->rows, true, &parts->seq_min,
                      &parts->seq_max);
        for (uint32_t c = 0; c < batch->cols_count && !w->actors->identity; c++)
            for (uint32_t i = 0; batch->cols[c].type == KP_TYPE_ACTOR && i < batch->rows; i++)
                kpi_actor_set_local(w->actors, (kp_actor_id)batch->cols[c].i64[i]);
    }
    parts->actors = w->actors->count;
}

static kp_status memory_get(struct spine_writer *w)
{
    uint32_t rows = w->parts->rows;
    w->lanes = calloc(KPI_SPINE_LANES_MAX, sizeof(*w->lanes));
    w->lane_of = malloc(rows * sizeof(*w->lane_of));
    w->merged = malloc(rows * sizeof(*w->merged));
    w->spare = malloc(rows * sizeof(*w->spare));
    bool whole = w->lanes != NULL && w->lane_of != NULL && w->merged != NULL && w->spare != NULL;
    for (uint32_t c = 0; c < KPI_SPINE_COLUMNS; c++) {
        w->values[c] = calloc(rows, sizeof(**w->values));
        whole = whole && w->values[c] != NULL;
    }
    return whole ? KP_OK : KP_NO_MEMORY;
}

static kp_status columns_encode(struct spine_writer *w)
{
    if (w->parts->rows > KPI_BLOCK_ROWS_MAX)
        return KP_LIMIT;
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
    return columns_add(w);
}

kp_status kpi_spine_columns(const struct kp_batch *batches, uint32_t count,
                            struct kpi_actor_set *actors, enum kpi_level level,
                            struct kpi_block_parts *out_parts, struct kp_buf *out)
{
    struct spine_writer w = {.batches = batches,
                             .count = count,
                             .level = level,
                             .actors = actors,
                             .parts = out_parts,
                             .columns = out};
    batches_survey(&w);
    kp_status status = columns_encode(&w);
    kpi_foresight_deinit(&w.model);
    for (uint32_t c = 0; c < KPI_SPINE_COLUMNS; c++)
        free(w.values[c]);
    free(w.merged);
    free(w.spare);
    free(w.lane_of);
    free(w.lanes);
    return status;
}

kp_status kpi_spine_encode(const struct kp_batch *batches, uint32_t count, enum kpi_level level,
                           struct kpi_actor_set *actors, uint64_t *out_period, struct kp_buf *out)
{
    struct kpi_block_parts parts;
    struct kp_buf columns = {0}, table = {0};
    kp_status status = kpi_spine_columns(batches, count, actors, level, &parts, &columns);
    parts.version = kpi_block_version(level);
    parts.stream = KPI_SPINE_STREAM;
    parts.level = KPI_BLOCK_LEVEL_PAGED;
    parts.columns_count = KPI_SPINE_COLUMNS;
    if (status == KP_OK && level == KPI_LEVEL_COLD) {
        size_t before = columns.size;
        status = kpi_spine_durs_encode(batches, count, actors, parts.period, &columns);
        parts.sizes[parts.columns_count++] = (uint32_t)(columns.size - before);
    }
    if (status == KP_OK)
        status = kpi_actor_set_encode(actors, batches[0].actors, level, &table);
    if (status == KP_OK)
        status = kpi_block_assemble(&parts, &table, &columns, out);
    if (status == KP_OK)
        *out_period = parts.period;
    kp_buf_deinit(&columns);
    kp_buf_deinit(&table);
    return status;
}
