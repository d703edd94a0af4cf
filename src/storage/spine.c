/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading a spine: lanes, streams and steps give times; merging the lanes by time gives the order
 * of the page; walking that order with the model gives threads. What belongs to one stream is then
 * picked out. Invariant: every number is checked before it is used as an index, so forged bytes
 * give wrong rows or CORRUPT, nothing worse.
 */
#include "storage/spine.h"

#include <stdlib.h>

#include "base/assert.h"

/* ---------- what is in a spine ---------- */

static const struct kp_stored_column spine_columns[KPI_SPINE_COLUMNS] = {
    {.name = "lanes"}, {.name = "kind"},  {.name = "ts"},
    {.name = "seq"},   {.name = "actor"}, {.name = "peer"},
};

const struct kp_stream kpi_spine_stream = {.name = "spine",
                                           .number = KPI_SPINE_STREAM,
                                           .family = KP_FAMILY_KERNEL,
                                           .stored = spine_columns,
                                           .stored_count = KPI_SPINE_COLUMNS,
                                           .doc = "what the rows of a page have in common"};

const struct kp_stream *kpi_stream_by_number(uint32_t number)
{
    return number == KPI_SPINE_STREAM ? &kpi_spine_stream : kp_stream_by_number(number);
}

/* Both are the first column behind the common ones; the formats of all versions rely on it. */
uint32_t kpi_spine_peer(uint32_t stream)
{
    return stream == KP_S_SCHED_SWITCH || stream == KP_S_SCHED_WAKING ? KP_COL_FIRST : 0;
}

bool kpi_spine_has(const struct kp_stream *stream, uint32_t column)
{
    return column < KP_COL_FIRST || column == kpi_spine_peer(stream->number);
}

uint32_t kpi_spine_key(const struct kp_stream *stream, uint32_t column)
{
    uint32_t peer = kpi_spine_peer(stream->number);
    bool of_peer = stream->number == KP_S_SCHED_WAKING ||
                   (stream->number == KP_S_SCHED_SWITCH &&
                    column == (uint32_t)kp_stream_stored(stream, "next_prio"));
    return of_peer ? peer : KP_COL_ACTOR;
}

kp_status kpi_spine_order(const int64_t *locals, uint32_t rows, uint32_t actors, uint32_t *out)
{
    uint32_t *places = calloc((size_t)actors + 2, sizeof(*places));
    if (places == NULL)
        return KP_NO_MEMORY;
    for (uint32_t i = 0; i < rows; i++)
        places[locals[i] + 1]++;
    for (uint32_t actor = 0; actor < actors; actor++)
        places[actor + 1] += places[actor];
    for (uint32_t i = 0; i < rows; i++)
        out[places[locals[i]]++] = i;
    free(places);
    return KP_OK;
}

/* ---------- the model ---------- */

kp_status kpi_foresight_init(struct kpi_foresight *model, uint32_t lanes, uint32_t actors)
{
    model->actors = actors;
    model->running = calloc(lanes, sizeof(*model->running));
    model->next = calloc((size_t)actors + 1, sizeof(*model->next));
    model->wakee = calloc((size_t)actors + 1, sizeof(*model->wakee));
    return model->running == NULL || model->next == NULL || model->wakee == NULL ? KP_NO_MEMORY
                                                                                 : KP_OK;
}

void kpi_foresight_deinit(struct kpi_foresight *model)
{
    free(model->running);
    free(model->next);
    free(model->wakee);
}

/* ---------- lanes and columns ---------- */

struct lane {
    int64_t cpu;
    uint32_t first, end; /* of its rows */
    uint32_t at;         /* next to be merged */
};

struct spine_reader {
    const struct kpi_block *block;
    uint32_t rows;
    struct lane *lanes;
    uint32_t lanes_count;
    int64_t *values[KPI_SPINE_COLUMNS]; /* as written; ts, actor and peer become what they mean */
    uint32_t *heap; /* lanes that have rows left, the one with the least first */
    uint32_t heap_count;
    struct kpi_foresight model;
};

static kp_status lanes_fill(struct spine_reader *r, const int64_t *numbers)
{
    uint32_t first = 0;
    for (uint32_t i = 0; i < r->lanes_count; i++) {
        int64_t rows = numbers[r->lanes_count + i];
        if (rows < 1 || rows > (int64_t)(r->rows - first))
            return KP_CORRUPT;
        uint32_t end = first + (uint32_t)rows;
        r->lanes[i] = (struct lane){.cpu = numbers[i], .first = first, .end = end, .at = first};
        first = end;
    }
    return first == r->rows ? KP_OK : KP_CORRUPT;
}

static kp_status lanes_read(struct spine_reader *r)
{
    const struct kpi_chunk_span *chunk = &r->block->chunks[KPI_SPINE_LANES];
    struct kp_reader in = kp_reader_init(chunk->bytes, chunk->size);
    uint8_t code = kp_read_u8(&in);
    uint64_t count = kp_read_varint(&in);
    if (in.bad || code != KPI_CHUNK_LANES || count == 0 || count > KPI_SPINE_LANES_MAX)
        return KP_CORRUPT;
    r->lanes_count = (uint32_t)count;
    r->lanes = calloc(count, sizeof(*r->lanes));
    r->heap = calloc(count, sizeof(*r->heap));
    int64_t *numbers = malloc(count * 2 * sizeof(*numbers));
    kp_status status =
        r->lanes == NULL || r->heap == NULL || numbers == NULL ? KP_NO_MEMORY : KP_OK;
    if (status == KP_OK)
        status = kpi_ints_unnest(&in, r->lanes_count, numbers);
    if (status == KP_OK)
        status = kpi_ints_unnest(&in, r->lanes_count, numbers + count);
    if (status == KP_OK)
        status = kp_reader_left(&in) != 0 ? KP_CORRUPT : lanes_fill(r, numbers);
    free(numbers);
    return status;
}

static kp_status column_read(const struct spine_reader *r, uint32_t column)
{
    const struct kpi_chunk_span *chunk = &r->block->chunks[column];
    return kpi_ints_decode(chunk->bytes, chunk->size, r->rows, r->values[column]);
}

static kp_status kinds_read(struct spine_reader *r)
{
    kp_status status = column_read(r, KPI_SPINE_KIND);
    for (uint32_t i = 0; i < r->rows && status == KP_OK; i++)
        if ((uint64_t)r->values[KPI_SPINE_KIND][i] >= KP_STREAM_MAX)
            status = KP_CORRUPT;
    return status;
}

static kp_status group_read(struct spine_reader *r, struct kp_reader *in, uint32_t stream,
                            uint32_t count)
{
    const int64_t *kinds = r->values[KPI_SPINE_KIND];
    int64_t *scratch = r->values[KPI_SPINE_LANES];
    struct kp_str chunk = kpi_str_read(in);
    kp_status status = in->bad ? KP_CORRUPT : kpi_ints_decode(chunk.ptr, chunk.len, count, scratch);
    for (uint32_t i = 0; i < r->rows && status == KP_OK; i++)
        if (kinds[i] == stream)
            r->values[KPI_SPINE_TS][i] = *scratch++;
    return status;
}

/* Steps by stream, then added up along each lane. */
static kp_status times_read(struct spine_reader *r)
{
    const struct kpi_chunk_span *chunk = &r->block->chunks[KPI_SPINE_TS];
    struct kp_reader in = kp_reader_init(chunk->bytes, chunk->size);
    uint32_t counts[KP_STREAM_MAX] = {0};
    kp_status status = kp_read_u8(&in) == KPI_CHUNK_GROUPS ? KP_OK : KP_CORRUPT;
    for (uint32_t i = 0; i < r->rows; i++)
        counts[r->values[KPI_SPINE_KIND][i]]++;
    for (uint32_t stream = 0; stream < KP_STREAM_MAX && status == KP_OK; stream++)
        if (counts[stream] > 0)
            status = group_read(r, &in, stream, counts[stream]);
    if (status != KP_OK || kp_reader_left(&in) != 0)
        return status != KP_OK ? status : KP_CORRUPT;
    for (uint32_t lane = 0; lane < r->lanes_count; lane++) {
        uint64_t ts = (uint64_t)r->block->info.ts_min;
        for (uint32_t i = r->lanes[lane].first; i < r->lanes[lane].end; i++) {
            ts += (uint64_t)r->values[KPI_SPINE_TS][i];
            r->values[KPI_SPINE_TS][i] = (int64_t)ts;
        }
    }
    return KP_OK;
}

static kp_status peers_read(struct spine_reader *r)
{
    const struct kpi_chunk_span *chunk = &r->block->chunks[KPI_SPINE_PEER];
    int64_t *scratch = r->values[KPI_SPINE_LANES];
    uint32_t count = 0;
    for (uint32_t i = 0; i < r->rows; i++)
        count += kpi_spine_peer((uint32_t)r->values[KPI_SPINE_KIND][i]) != 0;
    if (count == 0)
        return chunk->size == 0 ? KP_OK : KP_CORRUPT;
    kp_status status = kpi_ints_decode(chunk->bytes, chunk->size, count, scratch);
    for (uint32_t i = 0; i < r->rows && status == KP_OK; i++)
        if (kpi_spine_peer((uint32_t)r->values[KPI_SPINE_KIND][i]) != 0)
            r->values[KPI_SPINE_PEER][i] = *scratch++;
    return status;
}

static kp_status spine_read(struct spine_reader *r)
{
    if (r->block->columns < KPI_SPINE_COLUMNS)
        return KP_CORRUPT;
    for (uint32_t c = 0; c < KPI_SPINE_COLUMNS; c++) {
        r->values[c] = calloc(r->rows, sizeof(**r->values));
        if (r->values[c] == NULL)
            return KP_NO_MEMORY;
    }
    kp_status status = lanes_read(r);
    if (status == KP_OK)
        status = kinds_read(r);
    if (status == KP_OK)
        status = times_read(r);
    if (status == KP_OK)
        status = column_read(r, KPI_SPINE_SEQ);
    if (status == KP_OK)
        status = column_read(r, KPI_SPINE_ACTOR);
    if (status == KP_OK)
        status = peers_read(r);
    if (status == KP_OK)
        status = kpi_foresight_init(&r->model, r->lanes_count, r->block->actors);
    return status;
}

/* ---------- the order of the page ---------- */

static bool lane_before(const struct spine_reader *r, uint32_t a, uint32_t b)
{
    const int64_t *ts = r->values[KPI_SPINE_TS];
    int64_t ts_a = ts[r->lanes[a].at], ts_b = ts[r->lanes[b].at];
    return ts_a != ts_b ? ts_a < ts_b : a < b;
}

static void heap_sink(struct spine_reader *r, uint32_t at)
{
    uint32_t lane = r->heap[at];
    for (uint32_t child; (child = 2 * at + 1) < r->heap_count; at = child) {
        if (child + 1 < r->heap_count && lane_before(r, r->heap[child + 1], r->heap[child]))
            child++;
        if (lane_before(r, lane, r->heap[child]))
            break;
        r->heap[at] = r->heap[child];
    }
    r->heap[at] = lane;
}

static void heap_fill(struct spine_reader *r)
{
    r->heap_count = r->lanes_count;
    for (uint32_t i = 0; i < r->lanes_count; i++)
        r->heap[i] = i;
    for (uint32_t i = r->heap_count / 2; i-- > 0;)
        heap_sink(r, i);
}

/* Place of the next row of the page. */
static uint32_t heap_next(struct spine_reader *r, uint32_t *out_lane)
{
    uint32_t lane = r->heap[0];
    uint32_t place = r->lanes[lane].at++;
    if (r->lanes[lane].at == r->lanes[lane].end)
        r->heap[0] = r->heap[--r->heap_count];
    if (r->heap_count > 0)
        heap_sink(r, 0);
    *out_lane = lane;
    return place;
}

/* ---------- rows ---------- */

/* A code: 0 = as expected, else local number + 1. */
static kp_status code_read(const struct spine_reader *r, int64_t code, uint32_t expected,
                           uint32_t *out)
{
    if ((uint64_t)code > (uint64_t)r->block->actors + 1)
        return KP_CORRUPT;
    *out = code == 0 ? expected : (uint32_t)(code - 1);
    return KP_OK;
}

static kp_status row_read(struct spine_reader *r, uint32_t place, uint32_t lane)
{
    uint32_t actor, peer = 0;
    uint32_t stream = (uint32_t)r->values[KPI_SPINE_KIND][place];
    kp_status status =
        code_read(r, r->values[KPI_SPINE_ACTOR][place], r->model.running[lane], &actor);
    if (status == KP_OK && kpi_spine_peer(stream) != 0)
        status = code_read(r, r->values[KPI_SPINE_PEER][place],
                           kpi_foresee_peer(&r->model, stream, actor), &peer);
    if (status != KP_OK)
        return status;
    kpi_foresight_row(&r->model, stream, lane, actor, peer);
    r->values[KPI_SPINE_ACTOR][place] = actor;
    r->values[KPI_SPINE_PEER][place] = peer;
    return KP_OK;
}

/* All rows in order. */
static kp_status rows_read(struct spine_reader *r, struct kpi_spine *out)
{
    uint64_t seq = r->block->info.seq_min;
    heap_fill(r);
    for (uint32_t i = 0; i < r->rows; i++, seq++) {
        uint32_t lane, place = heap_next(r, &lane);
        kp_status status = row_read(r, place, lane);
        if (status != KP_OK)
            return status;
        seq += (uint64_t)r->values[KPI_SPINE_SEQ][i];
        out->kind[i] = (uint8_t)r->values[KPI_SPINE_KIND][place];
        out->ts[i] = r->values[KPI_SPINE_TS][place];
        out->seq[i] = (int64_t)seq;
        out->cpu[i] = r->lanes[lane].cpu;
        out->actor[i] = (uint32_t)r->values[KPI_SPINE_ACTOR][place];
        out->peer[i] = (uint32_t)r->values[KPI_SPINE_PEER][place];
    }
    return KP_OK;
}

static kp_status spine_alloc(const struct kpi_block *block, struct kp_arena *arena,
                             struct kpi_spine **out)
{
    uint32_t rows = block->info.rows;
    struct kpi_spine *spine = kp_arena_zalloc(arena, 1, sizeof(*spine));
    if (spine == NULL)
        return KP_NO_MEMORY;
    spine->block = *block;
    spine->ts = kp_arena_alloc(arena, rows * sizeof(*spine->ts));
    spine->seq = kp_arena_alloc(arena, rows * sizeof(*spine->seq));
    spine->cpu = kp_arena_alloc(arena, rows * sizeof(*spine->cpu));
    spine->actor = kp_arena_alloc(arena, rows * sizeof(*spine->actor));
    spine->peer = kp_arena_alloc(arena, rows * sizeof(*spine->peer));
    spine->kind = kp_arena_alloc(arena, rows);
    *out = spine;
    return spine->ts == NULL || spine->seq == NULL || spine->cpu == NULL || spine->actor == NULL ||
                   spine->peer == NULL || spine->kind == NULL
               ? KP_NO_MEMORY
               : KP_OK;
}

kp_status kpi_spine_open(const struct kpi_block *block, struct kp_arena *arena,
                         struct kpi_spine **out)
{
    struct kpi_spine *spine;
    struct spine_reader r = {.block = block, .rows = block->info.rows};
    if (block->info.stream != &kpi_spine_stream)
        return KP_CORRUPT;
    kp_status status = spine_alloc(block, arena, &spine);
    if (status == KP_OK)
        status = spine_read(&r);
    if (status == KP_OK)
        status = rows_read(&r, spine);
    if (status == KP_OK)
        *out = spine;
    kpi_foresight_deinit(&r.model);
    for (uint32_t c = 0; c < KPI_SPINE_COLUMNS; c++)
        free(r.values[c]);
    free(r.lanes);
    free(r.heap);
    return status;
}

/* ---------- one stream of it ---------- */

static kp_status rows_alloc(const struct kpi_block *block, struct kp_arena *arena,
                            struct kpi_spine_rows **out)
{
    struct kpi_spine_rows *rows = kp_arena_zalloc(arena, 1, sizeof(*rows));
    if (rows == NULL)
        return KP_NO_MEMORY;
    bool has_peer = kpi_spine_peer(block->info.stream->number) != 0;
    for (uint32_t c = 0; c < KP_COL_FIRST; c++) {
        rows->common[c] = kp_arena_alloc(arena, block->info.rows * sizeof(*rows->common[c]));
        if (rows->common[c] == NULL)
            return KP_NO_MEMORY;
    }
    if (has_peer)
        rows->peer = kp_arena_alloc(arena, block->info.rows * sizeof(*rows->peer));
    if (has_peer && rows->peer == NULL)
        return KP_NO_MEMORY;
    *out = rows;
    return KP_OK;
}

static kp_status rows_pick(const struct kpi_spine *spine, const struct kpi_block *block,
                           struct kpi_spine_rows *out)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < spine->block.info.rows; i++) {
        if (spine->kind[i] != block->info.stream->number)
            continue;
        if (count == block->info.rows)
            return KP_CORRUPT;
        out->common[KP_COL_TS][count] = spine->ts[i];
        out->common[KP_COL_SEQ][count] = spine->seq[i];
        out->common[KP_COL_CPU][count] = spine->cpu[i];
        out->common[KP_COL_ACTOR][count] = spine->actor[i];
        if (out->peer != NULL)
            out->peer[count] = spine->peer[i];
        count++;
    }
    return count == block->info.rows ? KP_OK : KP_CORRUPT;
}

kp_status kpi_spine_bind(const struct kpi_spine *spine, struct kp_arena *arena,
                         struct kpi_block *block)
{
    if (block->info.stream == &kpi_spine_stream || !block->paged ||
        block->actors != spine->block.actors)
        return KP_CORRUPT;
    struct kpi_spine_rows *rows;
    const struct kpi_chunk_span *table = &spine->block.actors_chunk;
    uint8_t *copy = kp_arena_alloc(arena, (size_t)table->size + 1);
    kp_status status = copy == NULL ? KP_NO_MEMORY : rows_alloc(block, arena, &rows);
    if (status == KP_OK)
        status = rows_pick(spine, block, rows);
    if (status != KP_OK)
        return status;
    if (table->size > 0)
        memcpy(copy, table->bytes, table->size);
    block->actors_chunk = (struct kpi_chunk_span){copy, table->size};
    block->spine = rows;
    return KP_OK;
}

kp_status kpi_spine_column(const struct kpi_block *block, uint32_t column, struct kp_vec *out)
{
    if (block->spine == NULL || !kpi_spine_has(block->info.stream, column))
        return KP_CORRUPT;
    *out = (struct kp_vec){.type = block->info.stream->stored[column].type,
                           .i64 = column < KP_COL_FIRST ? block->spine->common[column]
                                                        : block->spine->peer};
    return KP_OK;
}

kp_status kpi_spine_restore(const struct kpi_block *block, uint32_t column, int64_t *values)
{
    uint32_t rows = block->info.rows, key = kpi_spine_key(block->info.stream, column);
    if (block->spine == NULL)
        return KP_CORRUPT;
    const int64_t *locals = key == KP_COL_ACTOR ? block->spine->common[key] : block->spine->peer;
    uint32_t *order = malloc(rows * sizeof(*order));
    int64_t *lying = malloc(rows * sizeof(*lying));
    kp_status status = order == NULL || lying == NULL ? KP_NO_MEMORY : KP_OK;
    if (status == KP_OK)
        status = kpi_spine_order(locals, rows, block->actors, order);
    if (status == KP_OK) {
        memcpy(lying, values, rows * sizeof(*lying));
        for (uint32_t i = 0; i < rows; i++)
            values[order[i]] = lying[i];
    }
    free(order);
    free(lying);
    return status;
}
