/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading a spine, no more of it than is asked for. Everything is kept by *place*: lane by lane, as
 * it is written; the order of the page is the order of (time, place).
 *
 *   kinds    and how many rows each stream has
 *   times    steps of all streams, added up along each lane
 *   order    places of one stream: those of its lanes merged by time
 *   threads  the model walks each lane, and from lane to lane only where it must: at switches and
 *            wakings, which tell where a thread went
 *   seq      steps in the order of the whole page
 *
 * Invariant: every number is checked before it is used as an index, so forged bytes give wrong rows
 * or CORRUPT, nothing worse.
 */
#include "storage/spine_int.h"
#include "storage/spine_rows.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/big.h"
#include "storage/range.h"
#include "storage/ticks.h"

/* ---------- what is in a spine ---------- */

static const struct kp_stored_column spine_columns[] = {
    {.name = "lanes"}, {.name = "kind"}, {.name = "ts"},   {.name = "seq"},
    {.name = "actor"}, {.name = "peer"}, {.name = "durs"},
};

const struct kp_stream kpi_spine_stream = {.name = "spine",
                                           .number = KPI_SPINE_STREAM,
                                           .family = KP_FAMILY_KERNEL,
                                           .stored = spine_columns,
                                           .stored_count = KP_ARRAY_LEN(spine_columns),
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

/* ---------- what is read ---------- */

/* The stream's rows, and how its numbers lie thread by thread. */
struct kpi_spine_rows {
    struct kpi_spine *spine;
    uint32_t *by_actor, *by_peer; /* NULL: not made yet */
};

static void *part_alloc(const struct kpi_spine *spine, size_t item_bytes)
{
    return kp_arena_alloc(spine->arena, spine->rows * item_bytes);
}

static kp_status chunk_read(const struct kpi_spine *spine, enum kpi_spine_column column,
                            uint32_t count, int64_t *out)
{
    const struct kpi_chunk_span *chunk = &spine->block.chunks[column];
    return kpi_ints_decode(chunk->bytes, chunk->size, count, out);
}

/* ---------- lanes ---------- */

static kp_status lanes_fill(struct kpi_spine *spine, const int64_t *numbers)
{
    uint32_t first = 0;
    for (uint32_t i = 0; i < spine->lanes_count; i++) {
        int64_t rows = numbers[spine->lanes_count + i];
        if (rows < 1 || rows > (int64_t)(spine->rows - first))
            return KP_CORRUPT;
        uint32_t end = first + (uint32_t)rows;
        spine->lanes[i] = (struct kpi_lane){.cpu = numbers[i], .first = first, .end = end};
        first = end;
    }
    return first == spine->rows ? KP_OK : KP_CORRUPT;
}

static kp_status lanes_read(struct kpi_spine *spine)
{
    const struct kpi_chunk_span *chunk = &spine->block.chunks[KPI_SPINE_LANES];
    struct kp_reader in = kp_reader_init(chunk->bytes, chunk->size);
    uint8_t code = kp_read_u8(&in);
    uint64_t count = kp_read_varint(&in);
    int64_t numbers[2 * KPI_SPINE_LANES_MAX];
    if (in.bad || code != KPI_CHUNK_LANES || count == 0 || count > KPI_SPINE_LANES_MAX)
        return KP_CORRUPT;
    spine->lanes_count = (uint32_t)count;
    spine->lanes = kp_arena_zalloc(spine->arena, count, sizeof(*spine->lanes));
    kp_status status = spine->lanes == NULL ? KP_NO_MEMORY : KP_OK;
    if (status == KP_OK)
        status = kpi_ints_unnest(&in, spine->lanes_count, numbers);
    if (status == KP_OK)
        status = kpi_ints_unnest(&in, spine->lanes_count, numbers + count);
    if (status == KP_OK)
        status = kp_reader_left(&in) != 0 ? KP_CORRUPT : lanes_fill(spine, numbers);
    return status;
}

static kp_status lane_of_read(struct kpi_spine *spine)
{
    if (spine->lane_of != NULL)
        return KP_OK;
    uint16_t *lane_of = part_alloc(spine, sizeof(*lane_of));
    if (lane_of == NULL)
        return KP_NO_MEMORY;
    for (uint32_t lane = 0; lane < spine->lanes_count; lane++)
        for (uint32_t p = spine->lanes[lane].first; p < spine->lanes[lane].end; p++)
            lane_of[p] = (uint16_t)lane;
    spine->lane_of = lane_of;
    return KP_OK;
}

/* ---------- kinds ---------- */

static kp_status kinds_take(struct kpi_spine *spine, const int64_t *kinds, uint8_t *out)
{
    uint64_t all = 0;
    for (uint32_t i = 0; i < spine->rows; i++) {
        all |= (uint64_t)kinds[i];
        out[i] = (uint8_t)kinds[i];
    }
    if (all > UINT8_MAX)
        return KP_CORRUPT;
    uint32_t counts[4][UINT8_MAX + 1] = {0}, first = 0; /* four: neighbours are often alike */
    for (uint32_t i = 0; i < spine->rows; i++)
        counts[i % 4][out[i]]++;
    for (uint32_t stream = 0; stream < KP_STREAM_MAX; stream++) {
        spine->first[stream] = first;
        spine->counts[stream] = 0;
        for (uint32_t i = 0; i < KP_ARRAY_LEN(counts); i++)
            spine->counts[stream] += counts[i][stream];
        first += spine->counts[stream];
    }
    return first == spine->rows ? KP_OK : KP_CORRUPT; /* less: a number beyond all streams */
}

static kp_status kinds_read(struct kpi_spine *spine)
{
    if (spine->kind != NULL)
        return KP_OK;
    int64_t *kinds = kp_big_alloc(spine->rows * sizeof(*kinds));
    uint8_t *kind = part_alloc(spine, sizeof(*kind));
    kp_status status = kinds == NULL || kind == NULL ? KP_NO_MEMORY : KP_OK;
    if (status == KP_OK)
        status = chunk_read(spine, KPI_SPINE_KIND, spine->rows, kinds);
    if (status == KP_OK)
        status = kinds_take(spine, kinds, kind);
    if (status == KP_OK)
        spine->kind = kind;
    kp_big_free(kinds);
    return status;
}

kp_status kpi_spine_open(const struct kpi_block *block, struct kp_arena *arena,
                         struct kpi_spine **out)
{
    if (block->info.stream != &kpi_spine_stream || block->columns < KPI_SPINE_COLUMNS)
        return KP_CORRUPT;
    struct kpi_spine *spine = kp_arena_zalloc(arena, 1, sizeof(*spine));
    if (spine == NULL)
        return KP_NO_MEMORY;
    spine->block = *block;
    spine->arena = arena;
    spine->rows = block->info.rows;
    kp_status status = lanes_read(spine);
    if (status == KP_OK)
        *out = spine;
    return status;
}

/* ---------- times ---------- */

/* Steps of a cold spine lie as the rows do; steps_sum takes them stream by stream. */
static kp_status pairs_read(const struct kpi_spine *spine, uint8_t code, struct kp_reader *in,
                            int64_t *steps)
{
    uint32_t at[KP_STREAM_MAX];
    uint16_t *pairs = kp_big_alloc(spine->rows * sizeof(*pairs));
    int64_t *lying = kp_big_alloc(spine->rows * sizeof(*lying));
    for (uint32_t lane = 0; lane < spine->lanes_count && pairs != NULL; lane++)
        for (uint32_t p = spine->lanes[lane].first; p < spine->lanes[lane].end; p++)
            pairs[p] = kpi_spine_pair(p == spine->lanes[lane].first ? 0 : spine->kind[p - 1],
                                      spine->kind[p]);
    kp_status status = KP_NO_MEMORY;
    if (pairs != NULL && lying != NULL)
        status = code == KPI_CHUNK_STEPS          ? kpi_range_decode(in, pairs, spine->rows, lying)
                 : code == KPI_CHUNK_DIRECT_STEPS ? kpi_direct_decode(in, pairs, spine->rows, lying)
                                                  : kpi_ticks_decode(in, pairs, spine->rows, lying);
    memcpy(at, spine->first, sizeof(at));
    for (uint32_t p = 0; p < spine->rows && status == KP_OK; p++)
        steps[at[spine->kind[p]]++] = lying[p];
    kp_big_free(pairs);
    kp_big_free(lying);
    return status == KP_OK && (in->bad || kp_reader_left(in) != 0) ? KP_CORRUPT : status;
}

/* The steps of all rows, stream by stream. */
static kp_status groups_read(const struct kpi_spine *spine, int64_t *steps)
{
    const struct kpi_chunk_span *span = &spine->block.chunks[KPI_SPINE_TS];
    struct kp_reader in = kp_reader_init(span->bytes, span->size);
    uint8_t code = kp_read_u8(&in);
    if (code == KPI_CHUNK_STEPS || code == KPI_CHUNK_DIRECT_STEPS || code == KPI_CHUNK_TICK_STEPS)
        return pairs_read(spine, code, &in, steps);
    kp_status status = code == KPI_CHUNK_GROUPS ? KP_OK : KP_CORRUPT;
    for (uint32_t stream = 0; stream < KP_STREAM_MAX && status == KP_OK; stream++) {
        if (spine->counts[stream] == 0)
            continue;
        struct kp_str chunk = kpi_str_read(&in);
        status = in.bad ? KP_CORRUPT
                        : kpi_ints_decode(chunk.ptr, chunk.len, spine->counts[stream],
                                          steps + spine->first[stream]);
    }
    return status == KP_OK && kp_reader_left(&in) != 0 ? KP_CORRUPT : status;
}

/* Gives every place its time. */
static kp_status steps_sum(const struct kpi_spine *spine, const int64_t *steps, int64_t *ts)
{
    uint32_t at[KP_STREAM_MAX];
    bool falls = false;
    memcpy(at, spine->first, sizeof(at));
    for (uint32_t lane = 0; lane < spine->lanes_count; lane++) {
        int64_t now = spine->block.info.ts_min;
        for (uint32_t p = spine->lanes[lane].first; p < spine->lanes[lane].end; p++) {
            int64_t before = now;
            now = (int64_t)((uint64_t)now + (uint64_t)steps[at[spine->kind[p]]++]);
            falls |= now < before;
            ts[p] = now;
        }
    }
    return falls ? KP_CORRUPT : KP_OK;
}

static kp_status times_read(struct kpi_spine *spine)
{
    if (spine->ts != NULL)
        return KP_OK;
    kp_status status = kinds_read(spine);
    if (status != KP_OK)
        return status;
    int64_t *steps = kp_big_alloc(spine->rows * sizeof(*steps));
    int64_t *ts = part_alloc(spine, sizeof(*ts));
    status = steps != NULL && ts != NULL ? groups_read(spine, steps) : KP_NO_MEMORY;
    if (status == KP_OK)
        status = steps_sum(spine, steps, ts);
    kp_big_free(steps);
    if (status == KP_OK)
        spine->ts = ts;
    return status;
}

/* ---------- the order of the page ---------- */

/* Gives every stream its places. */
static kp_status places_read(struct kpi_spine *spine)
{
    uint32_t at[KP_STREAM_MAX];
    if (spine->places != NULL)
        return KP_OK;
    uint32_t *places = part_alloc(spine, sizeof(*places));
    if (places == NULL)
        return KP_NO_MEMORY;
    memcpy(at, spine->first, sizeof(at));
    for (uint32_t p = 0; p < spine->rows; p++)
        places[at[spine->kind[p]]++] = p;
    spine->places = places;
    return KP_OK;
}

kp_status kpi_spine_order_read(struct kpi_spine *spine, uint32_t stream)
{
    kp_status status = times_read(spine);
    if (status == KP_OK)
        status = places_read(spine);
    if (status == KP_OK && !spine->ordered[stream])
        status =
            kpi_places_order(spine, spine->places + spine->first[stream], spine->counts[stream]);
    if (status == KP_OK)
        spine->ordered[stream] = true;
    return status;
}

/* ---------- threads ---------- */

/* What walking the model needs. Codes: 0 = as expected, else local number + 1. */
struct walk {
    const struct kpi_spine *spine;
    struct kpi_foresight model;
    int64_t *codes;       /* of who ran, by place */
    int64_t *peer_codes;  /* of switches and wakings, as they lie */
    uint32_t *actor;      /* the last code since the row met before; then local numbers */
    uint32_t *peer;       /* codes, then local numbers, where the row has one */
    uint32_t *met, count; /* switches and wakings, as they lie, then in the order of the page */
};

/* Codes of one column; CORRUPT when one names no actor. */
static kp_status codes_read(const struct kpi_spine *spine, enum kpi_spine_column column,
                            uint32_t count, int64_t *out)
{
    kp_status status = chunk_read(spine, column, count, out);
    uint64_t most = 0;
    for (uint32_t i = 0; i < count && status == KP_OK; i++)
        most = KP_MAX(most, (uint64_t)out[i]);
    return status == KP_OK && most > (uint64_t)spine->block.actors + 1 ? KP_CORRUPT : status;
}

static bool is_met(uint8_t kind)
{
    return (kind == KP_S_SCHED_SWITCH) | (kind == KP_S_SCHED_WAKING);
}

/* Finds switches and wakings, and what a walk from one to the next must know of rows between. */
static void lane_meet(struct walk *walk, const struct kpi_lane *lane)
{
    uint32_t last = 0, count = walk->count;
    for (uint32_t p = lane->first; p < lane->end; p++) {
        uint32_t code = (uint32_t)walk->codes[p];
        bool met = is_met(walk->spine->kind[p]);
        last = code != 0 ? code : last;
        walk->actor[p] = last;
        walk->met[count] = p;
        count += met;
        last = met ? 0 : last;
    }
    walk->count = count;
}

static kp_status walk_codes(struct walk *walk)
{
    const struct kpi_spine *spine = walk->spine;
    kp_status status = codes_read(spine, KPI_SPINE_ACTOR, spine->rows, walk->codes);
    for (uint32_t lane = 0; lane < spine->lanes_count && status == KP_OK; lane++)
        lane_meet(walk, &spine->lanes[lane]);
    if (status == KP_OK && walk->count == 0)
        return spine->block.chunks[KPI_SPINE_PEER].size == 0 ? KP_OK : KP_CORRUPT;
    if (status == KP_OK)
        status = codes_read(spine, KPI_SPINE_PEER, walk->count, walk->peer_codes);
    for (uint32_t i = 0; i < walk->count && status == KP_OK; i++)
        walk->peer[walk->met[i]] = (uint32_t)walk->peer_codes[i];
    return status;
}

/* Who the peer of a row is. Its own thread is who ran, unless a code since then says otherwise. */
static void walk_peer(struct walk *walk, uint32_t place)
{
    uint32_t stream = walk->spine->kind[place], lane = walk->spine->lane_of[place];
    uint32_t last = walk->actor[place], code = walk->peer[place];
    uint32_t actor = last == 0 ? walk->model.running[lane] : last - 1;
    uint32_t peer = code == 0 ? kpi_foresee_peer(&walk->model, stream, actor) : code - 1;
    walk->peer[place] = peer;
    kpi_foresight_row(&walk->model, stream, lane, actor, peer);
}

/* Now that switches know who came, every row gets who ran. */
static void walk_lane(struct walk *walk, const struct kpi_lane *lane)
{
    uint32_t running = 0;
    for (uint32_t p = lane->first; p < lane->end; p++) {
        uint32_t code = (uint32_t)walk->codes[p], next = walk->peer[p];
        running = code == 0 ? running : code - 1;
        walk->actor[p] = running;
        running = walk->spine->kind[p] == KP_S_SCHED_SWITCH ? next : running;
    }
}

static kp_status walk_all(struct walk *walk)
{
    const struct kpi_spine *spine = walk->spine;
    kp_status status = walk_codes(walk);
    if (status == KP_OK)
        status = kpi_places_order(spine, walk->met, walk->count);
    if (status != KP_OK)
        return status;
    for (uint32_t i = 0; i < walk->count; i++)
        walk_peer(walk, walk->met[i]);
    for (uint32_t lane = 0; lane < spine->lanes_count; lane++)
        walk_lane(walk, &spine->lanes[lane]);
    return KP_OK;
}

static kp_status walk_init(struct walk *walk)
{
    const struct kpi_spine *spine = walk->spine;
    uint32_t met = spine->counts[KP_S_SCHED_SWITCH] + spine->counts[KP_S_SCHED_WAKING];
    walk->actor = part_alloc(spine, sizeof(*walk->actor));
    walk->peer = part_alloc(spine, sizeof(*walk->peer));
    walk->codes = kp_big_alloc(spine->rows * sizeof(*walk->codes));
    walk->peer_codes = kp_big_alloc(((size_t)met + 1) * sizeof(*walk->peer_codes));
    walk->met = kp_big_alloc(((size_t)met + 1) * sizeof(*walk->met));
    if (walk->actor == NULL || walk->peer == NULL || walk->codes == NULL ||
        walk->peer_codes == NULL || walk->met == NULL)
        return KP_NO_MEMORY;
    memset(walk->peer, 0, spine->rows * sizeof(*walk->peer));
    return kpi_foresight_init(&walk->model, spine->lanes_count, spine->block.actors);
}

kp_status kpi_spine_threads_read(struct kpi_spine *spine)
{
    struct walk walk = {.spine = spine};
    if (spine->actor != NULL)
        return KP_OK;
    kp_status status = times_read(spine);
    if (status == KP_OK)
        status = lane_of_read(spine);
    if (status == KP_OK)
        status = walk_init(&walk);
    if (status == KP_OK)
        status = walk_all(&walk);
    if (status == KP_OK) {
        spine->actor = walk.actor;
        spine->peer = walk.peer;
    }
    kpi_foresight_deinit(&walk.model);
    kp_big_free(walk.codes);
    kp_big_free(walk.peer_codes);
    kp_big_free(walk.met);
    return status;
}

/* ---------- event numbers ---------- */

static kp_status seq_sum(const struct kpi_spine *spine, const int64_t *steps, int64_t *seq)
{
    uint32_t *order = kp_big_alloc(spine->rows * sizeof(*order));
    if (order == NULL)
        return KP_NO_MEMORY;
    for (uint32_t p = 0; p < spine->rows; p++)
        order[p] = p;
    kp_status status = kpi_places_order(spine, order, spine->rows);
    uint64_t next = spine->block.info.seq_min;
    for (uint32_t i = 0; i < spine->rows && status == KP_OK; i++, next++) {
        next += (uint64_t)steps[i];
        seq[order[i]] = (int64_t)next;
    }
    kp_big_free(order);
    return status;
}

static kp_status seq_read(struct kpi_spine *spine)
{
    if (spine->seq != NULL)
        return KP_OK;
    int64_t *steps = kp_big_alloc(spine->rows * sizeof(*steps));
    int64_t *seq = part_alloc(spine, sizeof(*seq));
    kp_status status = steps == NULL || seq == NULL ? KP_NO_MEMORY : times_read(spine);
    if (status == KP_OK)
        status = chunk_read(spine, KPI_SPINE_SEQ, spine->rows, steps);
    if (status == KP_OK)
        status = seq_sum(spine, steps, seq);
    kp_big_free(steps);
    if (status == KP_OK)
        spine->seq = seq;
    return status;
}

/* ---------- parts ---------- */

kp_status kpi_spine_decode(struct kpi_spine *spine, uint32_t columns)
{
    kp_status status = columns == 0 ? kinds_read(spine) : times_read(spine);
    if (status == KP_OK && (columns >> KP_COL_CPU & 1) != 0)
        status = lane_of_read(spine);
    if (status == KP_OK && (columns >> KP_COL_ACTOR & 1) != 0)
        status = kpi_spine_threads_read(spine);
    if (status == KP_OK && (columns >> KP_COL_SEQ & 1) != 0)
        status = seq_read(spine);
    return status;
}

/* ---------- one stream of it ---------- */

kp_status kpi_spine_bind(struct kpi_spine *spine, struct kp_arena *arena, struct kpi_block *block)
{
    const struct kp_stream *stream = block->info.stream;
    if (stream == &kpi_spine_stream || !block->paged || block->actors != spine->block.actors)
        return KP_CORRUPT;
    struct kpi_spine_rows *rows = kp_arena_zalloc(arena, 1, sizeof(*rows));
    if (rows == NULL)
        return KP_NO_MEMORY;
    rows->spine = spine;
    block->spine = rows;
    block->actors_chunk = spine->block.actors_chunk;
    return KP_OK;
}

/* Numbers that lie thread by thread need the threads. */
kp_status kpi_spine_need(struct kpi_spine *spine, const struct kp_stream *stream, uint32_t column)
{
    kp_status status = kpi_spine_order_read(spine, stream->number);
    if (status != KP_OK || column == KP_COL_TS)
        return status;
    if (column == KP_COL_CPU)
        return lane_of_read(spine);
    if (column == KP_COL_SEQ)
        return seq_read(spine);
    bool durs = column >= KP_COL_FIRST && column == kpi_spine_dur(stream) &&
                spine->block.columns > KPI_SPINE_DURS;
    return durs ? kpi_spine_durs_read(spine, stream->number) : kpi_spine_threads_read(spine);
}

static void column_pick(const struct kpi_spine *spine, const struct kp_stream *stream,
                        uint32_t column, int64_t *out)
{
    const uint32_t *places = spine->places + spine->first[stream->number];
    uint32_t count = spine->counts[stream->number];
    const int64_t *wide = column == KP_COL_TS ? spine->ts : spine->seq;
    const int64_t *durs = spine->durs[stream->number];
    const uint32_t *narrow = column == KP_COL_ACTOR ? spine->actor : spine->peer;
    if (column == KP_COL_CPU)
        for (uint32_t i = 0; i < count; i++)
            out[i] = spine->lanes[spine->lane_of[places[i]]].cpu;
    else if (column == KP_COL_TS || column == KP_COL_SEQ)
        for (uint32_t i = 0; i < count; i++)
            out[i] = wide[places[i]];
    else if (!kpi_spine_has(stream, column))
        memcpy(out, durs, count * sizeof(*out));
    else
        for (uint32_t i = 0; i < count; i++)
            out[i] = narrow[places[i]];
}

kp_status kpi_spine_column(const struct kpi_block *block, uint32_t column, int64_t *out)
{
    const struct kp_stream *stream = block->info.stream;
    if (block->spine == NULL)
        return KP_CORRUPT;
    const struct kpi_spine *spine = block->spine->spine;
    bool durs = column == kpi_spine_dur(stream) && spine->block.columns > KPI_SPINE_DURS;
    if (!kpi_spine_has(stream, column) && !durs)
        return KP_CORRUPT;
    kp_status status = kpi_spine_need(block->spine->spine, stream, column);
    if (status == KP_OK && spine->counts[stream->number] != block->info.rows)
        status = KP_CORRUPT; /* they do not belong together after all */
    if (status == KP_OK)
        column_pick(spine, stream, column, out);
    return status;
}

/* ---------- thread by thread ---------- */

/* out[i] = row that lies at place i among those of the stream. */
static kp_status by_thread_read(const struct kpi_block *block, uint32_t key, struct kp_arena *arena,
                                uint32_t **out)
{
    int64_t *locals = kp_big_alloc(block->info.rows * sizeof(*locals));
    uint32_t *order = kp_arena_alloc(arena, block->info.rows * sizeof(*order));
    kp_status status = locals == NULL || order == NULL ? KP_NO_MEMORY : KP_OK;
    if (status == KP_OK)
        status = kpi_spine_column(block, key, locals);
    if (status == KP_OK)
        status = kpi_spine_order(locals, block->info.rows, block->actors, order);
    kp_big_free(locals);
    if (status == KP_OK)
        *out = order;
    return status;
}

static kp_status by_thread(const struct kpi_block *block, uint32_t column, struct kp_arena *arena,
                           const uint32_t **out)
{
    uint32_t key = kpi_spine_key(block->info.stream, column);
    if (block->spine == NULL)
        return KP_CORRUPT;
    uint32_t **order = key == KP_COL_ACTOR ? &block->spine->by_actor : &block->spine->by_peer;
    kp_status status = *order == NULL ? by_thread_read(block, key, arena, order) : KP_OK;
    *out = *order;
    return status;
}

kp_status kpi_spine_restore(const struct kpi_block *block, uint32_t column, struct kp_arena *arena,
                            const int64_t *lying, int64_t *out)
{
    const uint32_t *order;
    kp_status status = by_thread(block, column, arena, &order);
    for (uint32_t i = 0; i < block->info.rows && status == KP_OK; i++)
        out[order[i]] = lying[i];
    return status;
}

kp_status kpi_spine_lay(const struct kpi_block *block, uint32_t column, struct kp_arena *arena,
                        const int64_t *values, int64_t *out)
{
    const uint32_t *order;
    kp_status status = by_thread(block, column, arena, &order);
    for (uint32_t i = 0; i < block->info.rows && status == KP_OK; i++)
        out[i] = values[order[i]];
    return status;
}
