/* SPDX-License-Identifier: Apache-2.0
 *
 * The section with a segment's rollups: one table of actors, then for each stream a column of actor
 * numbers, of counts and, where rows have a duration, of sums, least and greatest ones. Exact: a
 * stream whose sums do not fit into 64 bits has none, and is read row by row.
 *
 *   u32 actors, u32 streams, varint size + chunk of actors,
 *   per stream: u8 number, u8 columns (2 or 5), u16 0, u32 rows, a nested chunk per column
 */
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "storage/rollup_int.h"

#define COLUMNS_COUNTED  2u /* actor, count */
#define COLUMNS_MEASURED 5u /* and sum, min, max */

uint32_t kpi_rollup_column(const struct kp_stream *stream)
{
    int column = kp_stream_stored(stream, "dur");
    return column < 0 ? 0 : (uint32_t)column;
}

/* ---------- building ---------- */

void kpi_rollup_builder_deinit(struct kpi_rollup_builder *builder)
{
    for (uint32_t s = 0; s < KP_STREAM_MAX; s++)
        free(builder->streams[s].sums);
    free(builder->map);
    if (builder->actors != NULL)
        kp_actors_deinit(builder->actors);
    *builder = (struct kpi_rollup_builder){0};
}

/* Room for `wanted` items, new ones zero. */
static bool grow(void **items, uint32_t *capacity, uint32_t wanted, size_t item)
{
    if (wanted <= *capacity)
        return true;
    uint32_t more = KP_MAX(wanted, *capacity * 2);
    char *bytes = realloc(*items, more * item);
    if (bytes == NULL)
        return false;
    memset(bytes + *capacity * item, 0, (more - *capacity) * item);
    *items = bytes;
    *capacity = more;
    return true;
}

/* The builder's id for one of the batch; UINT32_MAX: no memory. */
static kp_actor_id actor_map(struct kpi_rollup_builder *builder, kp_actor_id id)
{
    if (id == KP_ACTOR_UNKNOWN)
        return KP_ACTOR_UNKNOWN;
    void *map = builder->map;
    bool room = grow(&map, &builder->map_capacity, id + 1, sizeof(*builder->map));
    builder->map = map;
    if (!room)
        return UINT32_MAX;
    if (builder->map[id] == 0) {
        kp_actor_id own = kp_actors_intern(builder->actors, kp_actors_get(builder->from, id));
        if (own == KP_ACTOR_UNKNOWN)
            return UINT32_MAX;
        builder->map[id] = own + 1;
    }
    return builder->map[id] - 1;
}

static void sum_add(struct kpi_rollup_stream *to, struct kpi_rollup_sum *sum, int64_t value)
{
    sum->min = sum->count == 0 ? value : KP_MIN(sum->min, value);
    sum->max = sum->count == 0 ? value : KP_MAX(sum->max, value);
    sum->count++;
    to->left_out |= __builtin_add_overflow(sum->sum, value, &sum->sum);
}

static kp_status rows_add(struct kpi_rollup_builder *builder, const struct kp_batch *batch)
{
    struct kpi_rollup_stream *to = &builder->streams[batch->stream->number];
    uint32_t column = kpi_rollup_column(batch->stream);
    const int64_t *ids = batch->cols[KP_COL_ACTOR].i64;
    const int64_t *durations = column == 0 ? NULL : batch->cols[column].i64;
    kp_actor_id last = KP_ACTOR_UNKNOWN, own = KP_ACTOR_UNKNOWN;
    for (uint32_t row = 0; row < batch->rows; row++) {
        kp_actor_id id = (kp_actor_id)ids[row];
        own = row > 0 && id == last ? own : actor_map(builder, id);
        last = id;
        void *sums = to->sums;
        if (own == UINT32_MAX || !grow(&sums, &to->capacity, own + 1, sizeof(*to->sums)))
            return KP_NO_MEMORY;
        to->sums = sums;
        sum_add(to, &to->sums[own], durations == NULL ? 0 : durations[row]);
    }
    to->rows += batch->rows;
    return KP_OK;
}

kp_status kpi_rollup_add(struct kpi_rollup_builder *builder, const struct kp_batch *batch)
{
    if (builder->actors == NULL && kp_actors_init(&builder->actors) != KP_OK)
        return KP_NO_MEMORY;
    if (builder->from != batch->actors && builder->map != NULL)
        memset(builder->map, 0, builder->map_capacity * sizeof(*builder->map));
    builder->from = batch->actors;
    return rows_add(builder, batch);
}

static int64_t sum_field(const struct kpi_rollup_sum *sum, uint32_t field)
{
    return field == 1 ? sum->count : field == 2 ? sum->sum : field == 3 ? sum->min : sum->max;
}

static kp_status stream_encode(const struct kpi_rollup_stream *from, uint8_t number,
                               uint32_t columns, struct kp_buf *out)
{
    uint32_t count = 0;
    int64_t *values = malloc(from->capacity * sizeof(*values));
    if (values == NULL)
        return KP_NO_MEMORY;
    for (uint32_t i = 0; i < from->capacity; i++)
        count += from->sums[i].count > 0;
    uint8_t head[8] = {number, (uint8_t)columns};
    kp_store_u32(head + 4, count);
    kp_buf_add(out, head, sizeof(head));
    kp_status status = KP_OK;
    for (uint32_t field = 0; field < columns && status == KP_OK; field++) {
        uint32_t at = 0;
        for (uint32_t i = 0; i < from->capacity; i++)
            if (from->sums[i].count > 0)
                values[at++] = field == 0 ? (int64_t)i : sum_field(&from->sums[i], field);
        status = kpi_ints_nest(values, count, KPI_LEVEL_SEALED, out);
    }
    free(values);
    return status;
}

/* All actors of the builder's registry: their numbers are their ids. */
static kp_status actors_encode(const struct kpi_rollup_builder *builder, struct kp_buf *out)
{
    uint32_t count = kp_actors_count(builder->actors) - 1;
    struct kpi_actor_set set;
    struct kp_buf chunk = {0};
    kp_status status = kpi_actor_set_init(&set, count + 1);
    for (uint32_t id = 1; status == KP_OK && id <= count; id++)
        kpi_actor_set_local(&set, id);
    if (status == KP_OK)
        status = kpi_actor_set_encode(&set, builder->actors, KPI_LEVEL_SEALED, &chunk);
    if (status == KP_OK)
        kpi_str_add(out, (struct kp_str){chunk.data, (uint32_t)chunk.size});
    kpi_actor_set_deinit(&set);
    kp_buf_deinit(&chunk);
    return status;
}

static bool stream_has(const struct kpi_rollup_builder *builder, uint32_t stream)
{
    return builder->streams[stream].rows > 0 && !builder->streams[stream].left_out;
}

kp_status kpi_rollup_encode(const struct kpi_rollup_builder *builder, struct kp_buf *out)
{
    uint32_t streams = 0;
    for (uint32_t s = 0; s < KP_STREAM_MAX; s++)
        streams += stream_has(builder, s);
    if (streams == 0 || kp_actors_count(builder->actors) > KPI_BLOCK_ACTORS_MAX)
        return KP_OK;
    uint8_t head[8];
    kp_store_u32(head, kp_actors_count(builder->actors) - 1);
    kp_store_u32(head + 4, streams);
    kp_buf_add(out, head, sizeof(head));
    kp_status status = actors_encode(builder, out);
    for (uint32_t s = 0; s < KP_STREAM_MAX && status == KP_OK; s++)
        if (stream_has(builder, s))
            status = stream_encode(
                &builder->streams[s], (uint8_t)s,
                kpi_rollup_column(kp_stream_by_number(s)) == 0 ? COLUMNS_COUNTED : COLUMNS_MEASURED,
                out);
    return out->failed ? KP_NO_MEMORY : status;
}

/* ---------- reading ---------- */

static void row_set(struct kp_rollup_row *row, uint32_t field, int64_t value)
{
    if (field == 0)
        row->actor = (kp_actor_id)value;
    else if (field == 1)
        row->count = value;
    else if (field == 2)
        row->sum = value;
    else if (field == 3)
        row->min = value;
    else
        row->max = value;
}

static kp_status stream_parse(struct kp_reader *in, struct kp_arena *arena, struct kpi_rollup *out)
{
    uint8_t number = kp_read_u8(in), columns = kp_read_u8(in);
    kp_read_u16(in);
    uint32_t count = kp_read_u32(in);
    if (in->bad || number >= KP_STREAM_MAX || out->rows[number] != NULL || count == 0 ||
        count > out->actors_count + 1 ||
        (columns != COLUMNS_COUNTED && columns != COLUMNS_MEASURED))
        return KP_CORRUPT;
    struct kp_rollup_row *rows = kp_arena_zalloc(arena, count, sizeof(*rows));
    int64_t *values = malloc((size_t)count * sizeof(*values));
    kp_status status = rows == NULL || values == NULL ? KP_NO_MEMORY : KP_OK;
    for (uint32_t field = 0; field < columns && status == KP_OK; field++) {
        status = kpi_ints_unnest(in, count, values);
        for (uint32_t i = 0; i < count && status == KP_OK; i++) {
            if (field == 0 && (values[i] < 0 || values[i] > out->actors_count))
                status = KP_CORRUPT;
            row_set(&rows[i], field, values[i]);
        }
    }
    free(values);
    out->rows[number] = rows;
    out->counts[number] = count;
    return status;
}

static kp_status actors_parse(struct kp_reader *in, struct kp_arena *arena, struct kpi_rollup *out)
{
    struct kp_str chunk = kpi_str_read(in);
    if (in->bad || out->actors_count >= KPI_BLOCK_ACTORS_MAX)
        return KP_CORRUPT;
    out->actors = kp_arena_zalloc(arena, (size_t)out->actors_count + 1, sizeof(*out->actors));
    if (out->actors == NULL)
        return KP_NO_MEMORY;
    if (out->actors_count == 0)
        return KP_OK;
    return kpi_actors_decode(chunk.ptr, chunk.len, out->actors_count, arena, out->actors + 1);
}

kp_status kpi_rollup_parse(const void *bytes, size_t size, struct kp_arena *arena,
                           struct kpi_rollup *out)
{
    struct kp_reader in = kp_reader_init(bytes, size);
    struct kpi_rollup rollup = {.actors_count = kp_read_u32(&in)};
    uint32_t streams = kp_read_u32(&in);
    kp_status status = in.bad ? KP_CORRUPT : actors_parse(&in, arena, &rollup);
    for (uint32_t i = 0; i < streams && status == KP_OK; i++)
        status = stream_parse(&in, arena, &rollup);
    if (status == KP_OK && kp_reader_left(&in) != 0)
        status = KP_CORRUPT;
    if (status == KP_OK)
        *out = rollup;
    return status;
}

/* ---------- verify ---------- */

static bool rows_agree(struct kpi_rollup_builder *own, const struct kpi_rollup *rollup,
                       uint32_t stream)
{
    const struct kpi_rollup_stream *from = &own->streams[stream];
    uint64_t rows = 0;
    for (uint32_t i = 0; i < rollup->counts[stream]; i++) {
        const struct kp_rollup_row *row = &rollup->rows[stream][i];
        kp_actor_id id = KP_ACTOR_UNKNOWN;
        if (row->actor != KP_ACTOR_UNKNOWN)
            id = kp_actors_intern(own->actors, &rollup->actors[row->actor]);
        if (id >= from->capacity)
            return false;
        const struct kpi_rollup_sum *sum = &from->sums[id];
        if (row->count != sum->count || row->sum != sum->sum || row->min != sum->min ||
            row->max != sum->max)
            return false;
        rows += (uint64_t)row->count;
    }
    return rows == from->rows;
}

bool kpi_rollup_agrees(struct kpi_rollup_builder *own, const struct kpi_rollup *rollup)
{
    for (uint32_t s = 0; s < KP_STREAM_MAX; s++) {
        if (stream_has(own, s) != (rollup->rows[s] != NULL))
            return false;
        if (rollup->rows[s] != NULL && !rows_agree(own, rollup, s))
            return false;
    }
    return true;
}
