/* SPDX-License-Identifier: Apache-2.0
 *
 * Durations in cold spines. What lasted ends at the time of its row; when it began says less that
 * is new: a thread's call soon after its call before, requests one soon after the other, and what a
 * call did on a socket at the very time the call began. So in place of durations lie the distances
 * of beginnings from what is known, as one of these ways tells, whichever takes the fewest bits:
 *
 *   plain   the duration
 *   end     begin - ts of the stream's row before of the same thread
 *   begin   begin - begin of that row
 *   call    begin - begin of the thread's last system call that ended by then
 *
 * Where there is no such row it is the duration. Rows are taken thread by thread. All of these are
 * differences of times, so where the clock ticks they are ticks (codec_ticks.c); a distance from
 * the row before is then told under how long ago that was.
 */
#include "storage/spine_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "storage/codec.h"
#include "storage/ticks.h"

enum way { PLAIN, END, BEGIN, CALL, WAYS };

#define SIGNED                                                                         \
    0x80u /* values are zigzag: some beginnings lie before what they are measured from \
           */

uint32_t kpi_spine_dur(const struct kp_stream *stream)
{
    int column = stream->family == KP_FAMILY_KERNEL ? kp_stream_stored(stream, "dur") : -1;
    return column < 0 ? 0 : (uint32_t)column;
}

/* ---------- what both sides do ---------- */

/* Rows of one stream, thread by thread. */
struct lying {
    uint32_t rows;
    uint32_t *actor;
    int64_t *ts, *dur;
};

static kp_status lying_init(struct lying *lying, uint32_t rows, struct kp_arena *arena)
{
    *lying = (struct lying){.rows = rows,
                            .actor = kp_arena_alloc(arena, rows * sizeof(*lying->actor)),
                            .ts = kp_arena_alloc(arena, rows * sizeof(*lying->ts)),
                            .dur = kp_arena_alloc(arena, rows * sizeof(*lying->dur))};
    bool whole = lying->actor != NULL && lying->ts != NULL && lying->dur != NULL;
    return whole ? KP_OK : KP_NO_MEMORY;
}

static uint64_t begin_of(const struct lying *lying, uint32_t i)
{
    return (uint64_t)lying->ts[i] - (uint64_t)lying->dur[i];
}

/* What the beginning of row i is measured from; false: nothing. *at: goes along with the rows. */
static bool origin(enum way way, const struct lying *lying, const struct lying *calls, uint32_t i,
                   uint32_t *at, uint64_t *out)
{
    uint32_t actor = lying->actor[i];
    if (way == PLAIN)
        return false;
    if (way != CALL) {
        if (i == 0 || lying->actor[i - 1] != actor)
            return false;
        *out = way == END ? (uint64_t)lying->ts[i - 1] : begin_of(lying, i - 1);
        return true;
    }
    while (*at < calls->rows && (calls->actor[*at] < actor ||
                                 (calls->actor[*at] == actor && calls->ts[*at] <= lying->ts[i])))
        ++*at;
    if (*at == 0 || calls->actor[*at - 1] != actor)
        return false;
    *out = begin_of(calls, *at - 1);
    return true;
}

/* What is known of each value: how many bits the time since the thread's row before takes. */
static kp_status gaps_find(enum way way, const struct lying *lying, struct kp_arena *arena,
                           uint16_t **out)
{
    uint16_t *gaps = kp_arena_zalloc(arena, lying->rows, sizeof(*gaps));
    if (gaps == NULL)
        return KP_NO_MEMORY;
    for (uint32_t i = 1; i < lying->rows && (way == END || way == BEGIN); i++)
        if (lying->actor[i - 1] == lying->actor[i])
            gaps[i] =
                (uint16_t)(1 + kpi_bits_of((uint64_t)lying->ts[i] - (uint64_t)lying->ts[i - 1]));
    *out = gaps;
    return KP_OK;
}

/* ---------- writing ---------- */

static kp_status lying_take(const struct kp_batch *batch, struct kpi_actor_set *actors,
                            struct kp_arena *arena, struct lying *out)
{
    uint32_t dur = kpi_spine_dur(batch->stream), rows = batch->rows;
    int64_t *locals = kp_arena_alloc(arena, rows * sizeof(*locals));
    uint32_t *order = kp_arena_alloc(arena, rows * sizeof(*order));
    kp_status status = locals == NULL || order == NULL ? KP_NO_MEMORY : KP_OK;
    for (uint32_t i = 0; i < rows && status == KP_OK; i++)
        locals[i] = kpi_actor_set_local(actors, (kp_actor_id)batch->cols[KP_COL_ACTOR].i64[i]);
    if (status == KP_OK)
        status = kpi_spine_order(locals, rows, actors->count, order);
    if (status == KP_OK)
        status = lying_init(out, rows, arena);
    for (uint32_t i = 0; i < rows && status == KP_OK; i++) {
        out->actor[i] = (uint32_t)locals[order[i]];
        out->ts[i] = batch->cols[KP_COL_TS].i64[order[i]];
        out->dur[i] = batch->cols[dur].i64[order[i]];
    }
    return status;
}

/* The values of one way; returns what they cost, in bits, and whether any is below 0. */
static uint64_t way_fill(enum way way, const struct lying *lying, const struct lying *calls,
                         int64_t *out, bool *out_signed)
{
    uint64_t bits = 0, all = 0;
    uint32_t at = 0;
    for (uint32_t i = 0; i < lying->rows; i++) {
        uint64_t from;
        bool known = origin(way, lying, calls, i, &at, &from);
        out[i] = known ? (int64_t)(begin_of(lying, i) - from) : lying->dur[i];
        all |= (uint64_t)out[i];
        bits += kpi_bits_of(out[i] < 0 ? -(uint64_t)out[i] : (uint64_t)out[i]);
    }
    *out_signed = (int64_t)all < 0;
    return bits + (*out_signed ? lying->rows : 0);
}

/* The way that takes the fewest bits, and its values. */
static enum way way_choose(const struct lying *lying, const struct lying *calls, int64_t *values,
                           bool *out_signed)
{
    enum way best = PLAIN;
    uint64_t least = UINT64_MAX;
    for (enum way way = PLAIN; way < WAYS; way++) {
        if (way == CALL && calls->rows == 0)
            continue;
        uint64_t bits = way_fill(way, lying, calls, values, out_signed);
        if (bits < least) {
            least = bits;
            best = way;
        }
    }
    way_fill(best, lying, calls, values, out_signed);
    return best;
}

/* The chunk as ticks. LIMIT: it is none. */
static kp_status ticks_add(enum way way, const struct lying *lying, const int64_t *values,
                           bool is_signed, uint64_t period, struct kp_buf *out)
{
    struct kp_arena arena = {0};
    uint16_t *gaps;
    if (period == 0 || kpi_ints_same(values, lying->rows))
        return KP_LIMIT;
    kp_status status = gaps_find(way, lying, &arena, &gaps);
    kp_buf_char(out, KPI_CHUNK_TICK_DURS);
    if (status == KP_OK)
        status = kpi_ticks_encode(values, gaps, lying->rows, period,
                                  is_signed ? KPI_TICKS_SIGNED : 0, out);
    kp_arena_deinit(&arena);
    return status;
}

static kp_status durs_add(const struct lying *lying, const struct lying *calls, uint64_t period,
                          int64_t *values, struct kp_buf *out)
{
    struct kp_buf ticks = {0}, chunk = {0};
    bool is_signed;
    enum way way = way_choose(lying, calls, values, &is_signed);
    kp_status ticking = ticks_add(way, lying, values, is_signed, period, &ticks);
    for (uint32_t i = 0; i < lying->rows && is_signed; i++)
        values[i] = (int64_t)kp_zigzag(values[i]);
    /* no other model beats ticks, and they are dear to try */
    enum kpi_level level = ticking == KP_OK ? KPI_LEVEL_SEALED : KPI_LEVEL_COLD;
    kp_status status = kpi_ints_encode(values, lying->rows, level, &chunk);
    const struct kp_buf *best = ticking == KP_OK && ticks.size < chunk.size ? &ticks : &chunk;
    char code = (char)(way | (is_signed ? SIGNED : 0));
    uint8_t number[10];
    kp_buf_add(out, number, kp_store_varint(number, best->size + 1));
    kp_buf_char(out, code);
    kp_buf_add(out, best->data, best->size);
    kp_buf_deinit(&chunk);
    kp_buf_deinit(&ticks);
    return ticking == KP_NO_MEMORY ? ticking : status;
}

kp_status kpi_spine_durs_encode(const struct kp_batch *batches, uint32_t count,
                                struct kpi_actor_set *actors, uint64_t period, struct kp_buf *out)
{
    struct kp_arena arena = {0};
    struct lying calls = {0}, lying;
    kp_status status = KP_OK;
    for (uint32_t b = 0; b < count && status == KP_OK; b++)
        if (batches[b].stream->number == KP_S_SYSCALL)
            status = lying_take(&batches[b], actors, &arena, &calls);
    for (uint32_t b = 0; b < count && status == KP_OK; b++) {
        const struct kp_stream *stream = batches[b].stream;
        if (kpi_spine_dur(stream) == 0)
            continue;
        struct lying none = {0};
        int64_t *values = kp_arena_alloc(&arena, batches[b].rows * sizeof(*values));
        status = values == NULL ? KP_NO_MEMORY : lying_take(&batches[b], actors, &arena, &lying);
        kp_buf_char(out, (char)stream->number);
        if (status == KP_OK)
            status = durs_add(&lying, stream->number == KP_S_SYSCALL ? &none : &calls, period,
                              values, out);
    }
    kp_arena_deinit(&arena);
    return status == KP_OK && out->failed ? KP_NO_MEMORY : status;
}

/* ---------- reading ---------- */

/* The chunk of a stream. */
static kp_status chunk_find(const struct kpi_spine *spine, uint32_t stream, struct kp_str *out)
{
    const struct kpi_chunk_span *span = &spine->block.chunks[KPI_SPINE_DURS];
    struct kp_reader in = kp_reader_init(span->bytes, span->size);
    while (spine->block.columns > KPI_SPINE_DURS && kp_reader_left(&in) > 0) {
        uint8_t number = kp_read_u8(&in);
        *out = kpi_str_read(&in);
        if (in.bad || out->len == 0)
            return KP_CORRUPT;
        if (number == stream)
            return KP_OK;
    }
    return KP_CORRUPT;
}

/* Times and threads as they lie; order[i] = row that lies at place i. */
static kp_status lying_read(struct kpi_spine *spine, uint32_t stream, struct kp_arena *arena,
                            struct lying *out, uint32_t **out_order)
{
    uint32_t rows = spine->counts[stream];
    const uint32_t *places = spine->places + spine->first[stream];
    int64_t *locals = kp_arena_alloc(arena, rows * sizeof(*locals));
    uint32_t *order = kp_arena_alloc(arena, rows * sizeof(*order));
    kp_status status = locals == NULL || order == NULL ? KP_NO_MEMORY : KP_OK;
    for (uint32_t i = 0; i < rows && status == KP_OK; i++)
        locals[i] = spine->actor[places[i]];
    if (status == KP_OK)
        status = kpi_spine_order(locals, rows, spine->block.actors, order);
    if (status == KP_OK)
        status = lying_init(out, rows, arena);
    for (uint32_t i = 0; i < rows && status == KP_OK; i++) {
        out->actor[i] = spine->actor[places[order[i]]];
        out->ts[i] = spine->ts[places[order[i]]];
        out->dur[i] = spine->durs[stream] == NULL ? 0 : spine->durs[stream][order[i]];
    }
    *out_order = order;
    return status;
}

/* Values become durations, each with the help of those before it. */
static void durs_restore(enum way way, struct lying *lying, const struct lying *calls)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < lying->rows; i++) {
        uint64_t from, value = (uint64_t)lying->dur[i];
        if (origin(way, lying, calls, i, &at, &from))
            lying->dur[i] = (int64_t)((uint64_t)lying->ts[i] - (from + value));
    }
}

/* Values as way_fill made them. */
static kp_status values_read(enum way way, bool is_signed, struct kp_str chunk, struct lying *lying,
                             struct kp_arena *arena)
{
    struct kp_reader in = kp_reader_init(chunk.ptr, chunk.len);
    uint16_t *gaps;
    if (kp_read_u8(&in) == KPI_CHUNK_TICK_DURS) {
        kp_status status = gaps_find(way, lying, arena, &gaps);
        if (status == KP_OK)
            status = kpi_ticks_decode(&in, gaps, lying->rows, lying->dur);
        return status == KP_OK && kp_reader_left(&in) != 0 ? KP_CORRUPT : status;
    }
    kp_status status = kpi_ints_decode(chunk.ptr, chunk.len, lying->rows, lying->dur);
    for (uint32_t i = 0; i < lying->rows && is_signed && status == KP_OK; i++)
        lying->dur[i] = kp_unzigzag((uint64_t)lying->dur[i]);
    return status;
}

static kp_status durs_decode(struct kpi_spine *spine, uint32_t stream, struct kp_arena *arena)
{
    struct lying lying, calls = {0};
    struct kp_str chunk;
    uint32_t *order, *of_calls;
    kp_status status = chunk_find(spine, stream, &chunk);
    if (status == KP_OK)
        status = lying_read(spine, stream, arena, &lying, &order);
    if (status != KP_OK)
        return status;
    uint8_t code = (uint8_t)chunk.ptr[0];
    enum way way = (enum way)(code & ~SIGNED);
    if (way >= WAYS || (way == CALL && stream == KP_S_SYSCALL))
        return KP_CORRUPT;
    if (way == CALL && spine->counts[KP_S_SYSCALL] > 0)
        status = kpi_spine_durs_read(spine, KP_S_SYSCALL);
    if (way == CALL && status == KP_OK && spine->counts[KP_S_SYSCALL] > 0)
        status = lying_read(spine, KP_S_SYSCALL, arena, &calls, &of_calls);
    if (status == KP_OK)
        status = values_read(way, (code & SIGNED) != 0,
                             (struct kp_str){chunk.ptr + 1, chunk.len - 1}, &lying, arena);
    int64_t *durs = kp_arena_alloc(spine->arena, lying.rows * sizeof(*durs));
    if (status != KP_OK || durs == NULL)
        return status == KP_OK ? KP_NO_MEMORY : status;
    durs_restore(way, &lying, &calls);
    for (uint32_t i = 0; i < lying.rows; i++)
        durs[order[i]] = lying.dur[i];
    spine->durs[stream] = durs;
    return KP_OK;
}

kp_status kpi_spine_durs_read(struct kpi_spine *spine, uint32_t stream)
{
    struct kp_arena arena = {0};
    if (spine->durs[stream] != NULL)
        return KP_OK;
    kp_status status = kpi_spine_threads_read(spine);
    if (status == KP_OK)
        status = kpi_spine_order_read(spine, stream);
    if (status == KP_OK && spine->counts[stream] == 0)
        status = KP_CORRUPT;
    if (status == KP_OK)
        status = durs_decode(spine, stream, &arena);
    kp_arena_deinit(&arena);
    return status;
}
