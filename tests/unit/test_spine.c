/* SPDX-License-Identifier: Apache-2.0
 *
 * Pages with a spine give back the rows they were made of, however little these resemble what a
 * kernel does, and forged ones do no harm.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/assert.h"
#include "rows.h"
#include "storage/pager.h"
#include "storage/spine_durs.h"

/* What the rows of a page are like, beyond what rows.h makes. */
enum shape {
    SHAPE_PLAIN,
    SHAPE_SCHEDULED, /* threads follow each other on a CPU as switches say */
    SHAPE_ONE_STAMP, /* all at one instant */
    SHAPE_EXTREMES,  /* times and numbers over the whole range */
    SHAPE_UNKNOWN,   /* nobody is known */
    SHAPE_MANY_CPUS,
    SHAPE_CALLS, /* durations as calls, sockets and requests have them */
    SHAPE_TICKS, /* the same of a clock that ticks every 10.015 ns */
    SHAPE_COUNT
};

static const uint32_t streams[] = {KP_S_SCHED_SWITCH, KP_S_SCHED_WAKING, KP_S_SYSCALL, KP_S_TASK,
                                   KP_S_IRQ,          KP_S_SOCK,         KP_S_BLOCK_RQ};

static int64_t extreme(struct rows_gen *gen)
{
    static const int64_t values[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, INT64_MAX - 1, INT64_MAX};
    return values[rows_below(gen, KP_ARRAY_LEN(values))];
}

static void shape_extremes(struct rows_gen *gen, struct kp_builder *builder)
{
    const struct kp_stream *stream = builder->batch.stream;
    for (uint32_t row = 0; row < builder->batch.rows; row++)
        for (uint32_t c = 0; c < stream->stored_count; c++)
            if (kp_type_phys(stream->stored[c].type) != KP_PHYS_STR && c != KP_COL_CPU &&
                stream->stored[c].type != KP_TYPE_ACTOR)
                builder->cols[c].i64[row] = extreme(gen);
}

/* The actor is whoever the last switch on its CPU brought in. */
static void shape_scheduled(struct kp_builder *builder, int64_t *running)
{
    bool is_switch = builder->batch.stream->number == KP_S_SCHED_SWITCH;
    for (uint32_t row = 0; row < builder->batch.rows; row++) {
        int64_t *on_cpu = &running[builder->cols[KP_COL_CPU].i64[row]];
        builder->cols[KP_COL_ACTOR].i64[row] = *on_cpu;
        if (is_switch)
            *on_cpu = builder->cols[KP_COL_FIRST].i64[row];
    }
}

/* A call begins soon after the thread's call before, what is on a socket with the call, a request
 * soon after the request before. known: by thread, the end, the beginning of its last call. */
static void shape_calls(struct rows_gen *gen, struct kp_builder *builder, int64_t *known)
{
    const struct kp_stream *stream = builder->batch.stream;
    uint32_t dur = kpi_spine_dur(stream);
    int64_t last[1024] = {0};
    for (uint32_t row = 0; dur != 0 && row < builder->batch.rows; row++) {
        int64_t actor = builder->cols[KP_COL_ACTOR].i64[row] % 1024;
        int64_t ts = builder->cols[KP_COL_TS].i64[row], soon = (int64_t)rows_below(gen, 200);
        int64_t begin = ts - 5;
        if (stream->number == KP_S_SYSCALL && last[actor] != 0)
            begin = last[actor] + soon;
        else if (stream->number == KP_S_SOCK && known[actor] != 0)
            begin = known[actor];
        else if (stream->number == KP_S_BLOCK_RQ && last[actor] != 0)
            begin = last[actor] - 100 + soon;
        last[actor] = stream->number == KP_S_SYSCALL ? ts : begin;
        if (stream->number == KP_S_SYSCALL)
            known[actor] = begin;
        builder->cols[dur].i64[row] = ts - begin;
    }
}

static int64_t ticked(int64_t ts)
{
    return ts * 1000 / 10015 * 10015 / 1000;
}

/* Times within a second of 0, for all of them to be ticks. */
static void shape_ticks(struct kp_builder *builder)
{
    uint32_t dur = kpi_spine_dur(builder->batch.stream);
    int queued = kp_stream_stored(builder->batch.stream, "queue_dur");
    for (uint32_t row = 0; row < builder->batch.rows; row++) {
        int64_t *ts = &builder->cols[KP_COL_TS].i64[row], *length = &builder->cols[dur].i64[row];
        int64_t begin = *ts - 1700000000ll * KP_SEC - (dur == 0 ? 0 : *length);
        *ts = ticked(*ts - 1700000000ll * KP_SEC);
        if (dur != 0)
            *length = *ts - ticked(begin);
        if (queued > 0) /* half of what it lasted */
            builder->cols[queued].i64[row] = ticked(begin + *length / 2) - ticked(begin);
    }
}

static void shape_rows(struct rows_gen *gen, enum shape shape, struct kp_builder *builder,
                       int64_t *running)
{
    const struct kp_stream *stream = builder->batch.stream;
    for (uint32_t row = 0; row < builder->batch.rows && shape == SHAPE_ONE_STAMP; row++)
        builder->cols[KP_COL_TS].i64[row] = 77;
    for (uint32_t c = 0; c < stream->stored_count && shape == SHAPE_UNKNOWN; c++)
        for (uint32_t row = 0; row < builder->batch.rows; row++)
            if (stream->stored[c].type == KP_TYPE_ACTOR)
                builder->cols[c].i64[row] = KP_ACTOR_UNKNOWN;
    if (shape == SHAPE_EXTREMES)
        shape_extremes(gen, builder);
    if (shape == SHAPE_CALLS || shape == SHAPE_TICKS)
        shape_calls(gen, builder, running);
    if (shape == SHAPE_TICKS)
        shape_ticks(builder);
    if (shape == SHAPE_SCHEDULED)
        shape_scheduled(builder, running);
}

/* Log blocks of a page. */
static void make_run(struct rows_gen *gen, enum shape shape, uint32_t rows, struct kp_buf *out)
{
    int64_t running[2048] = {0};
    gen->cpus = shape == SHAPE_MANY_CPUS ? 300 : 4;
    for (size_t s = 0; s < KP_ARRAY_LEN(streams); s++) {
        struct kp_builder builder;
        uint32_t count = rows == 1 ? s == 0 : rows / (uint32_t)(s + 1);
        if (count == 0)
            continue;
        assert_int_equal(
            kp_builder_init(&builder, kp_stream_by_number(streams[s]), gen->actors, count), KP_OK);
        rows_fill(gen, &builder, count);
        shape_rows(gen, shape, &builder, running);
        assert_int_equal(kpi_block_encode(kp_builder_batch(&builder), KPI_LEVEL_HOT, out), KP_OK);
        kp_builder_deinit(&builder);
    }
}

static struct rows_gen generator(uint64_t seed)
{
    struct rows_gen gen = {
        .seed = seed, .now = 1700000000ll * KP_SEC, .threads = 40, .names = 6, .late_every = 50};
    assert_int_equal(kp_actors_init(&gen.actors), KP_OK);
    return gen;
}

/* ---------- there and back ---------- */

/* A page as it lies in a segment: the spine, then a block per batch. */
static kp_status page_encode(const struct kp_batch *batches, uint32_t count, enum kpi_level level,
                             struct kp_buf *out)
{
    struct kpi_actor_set actors;
    assert_int_equal(kpi_actor_set_init(&actors, KPI_BLOCK_ROWS_MAX * 2), KP_OK);
    uint64_t period = 0;
    kp_status status = kpi_spine_encode(batches, count, level, &actors, &period, out);
    for (uint32_t b = 0; b < count && status == KP_OK; b++)
        status = kpi_block_encode_paged(&batches[b], level, &actors, period, out);
    kpi_actor_set_deinit(&actors);
    return status;
}

/* A copy without slack: reading too far shows under the address sanitizer. */
static uint8_t *tight_copy(const void *bytes, size_t size)
{
    uint8_t *copy = malloc(size);
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    return copy;
}

static kp_status block_read(const struct kpi_block *spine, const uint8_t *bytes, size_t size,
                            struct kp_actors *actors, struct kp_arena *arena, struct kp_batch *out)
{
    struct kpi_block block;
    struct kpi_spine *opened;
    kp_status status = kpi_block_open(bytes, size, &block);
    if (status == KP_OK)
        status = kpi_spine_open(spine, arena, &opened);
    if (status == KP_OK)
        status = kpi_spine_bind(opened, arena, &block);
    return status == KP_OK ? kpi_block_batch(&block, UINT64_MAX, actors, arena, out) : status;
}

static void block_check(const struct kpi_block *spine, const uint8_t *bytes, size_t size,
                        const struct kp_batch *batch)
{
    struct kp_arena arena = {0};
    struct kp_actors *actors;
    struct kp_batch back;
    assert_int_equal(kp_actors_init(&actors), KP_OK);
    assert_int_equal(block_read(spine, bytes, size, actors, &arena, &back), KP_OK);
    assert_ptr_equal(back.stream, batch->stream);
    assert_int_equal(back.rows, batch->rows);
    for (uint32_t row = 0; row < batch->rows; row++)
        assert_true(rows_equal(batch, row, &back, row));
    kp_actors_deinit(actors);
    kp_arena_deinit(&arena);
}

static void level_check(const struct kp_batch *batches, uint32_t count, enum kpi_level level)
{
    struct kp_buf bytes = {0};
    struct kpi_block spine, block;
    assert_int_equal(page_encode(batches, count, level, &bytes), KP_OK);
    uint8_t *copy = tight_copy(bytes.data, bytes.size);
    assert_int_equal(kpi_block_open(copy, bytes.size, &spine), KP_OK);
    assert_ptr_equal(spine.info.stream, &kpi_spine_stream);
    size_t at = spine.info.size;
    for (uint32_t b = 0; b < count; b++) {
        assert_int_equal(kpi_block_open(copy + at, bytes.size - at, &block), KP_OK);
        block_check(&spine, copy + at, block.info.size, &batches[b]);
        at += block.info.size;
    }
    assert_int_equal(at, bytes.size);
    free(copy);
    kp_buf_deinit(&bytes);
}

static kp_status page_check(void *ctx, uint32_t page, const struct kp_batch *batches,
                            uint32_t count)
{
    (void)page;
    level_check(batches, count, KPI_LEVEL_SEALED);
    level_check(batches, count, KPI_LEVEL_COLD);
    ++*(uint32_t *)ctx;
    return KP_OK;
}

/* Their times and the durations of two streams are ticks. */
static kp_status page_ticks(void *ctx, uint32_t page, const struct kp_batch *batches,
                            uint32_t count)
{
    struct kp_buf bytes = {0};
    struct kpi_block spine;
    uint32_t ticking = 0;
    (void)page;
    assert_int_equal(page_encode(batches, count, KPI_LEVEL_COLD, &bytes), KP_OK);
    assert_int_equal(kpi_block_open(bytes.data, bytes.size, &spine), KP_OK);
    assert_int_equal(spine.chunks[KPI_SPINE_TS].bytes[0], KPI_CHUNK_TICK_STEPS);
    const struct kpi_chunk_span *durs = &spine.chunks[KPI_SPINE_DURS];
    struct kp_reader in = kp_reader_init(durs->bytes, durs->size);
    while (kp_reader_left(&in) > 0) {
        kp_read_u8(&in);
        struct kp_str chunk = kpi_str_read(&in);
        assert_true(chunk.len > 1);
        ticking += chunk.ptr[1] == KPI_CHUNK_TICK_DURS;
    }
    assert_true(ticking >= 2);
    kp_buf_deinit(&bytes);
    ++*(uint32_t *)ctx;
    return KP_OK;
}

static void ticks_are_kept_as_ticks(void **state)
{
    (void)state;
    struct rows_gen gen = generator(12);
    struct kp_buf run = {0};
    uint32_t pages = 0;
    gen.late_every = 0;
    make_run(&gen, SHAPE_TICKS, 8192, &run);
    assert_int_equal(
        kpi_pages_make(&(struct kpi_block_run){run.data, run.size}, 1, page_ticks, &pages), KP_OK);
    assert_int_equal(pages, 1);
    kp_buf_deinit(&run);
    kp_actors_deinit(gen.actors);
}

static kp_status durs_are_small(void *ctx, uint32_t page, const struct kp_batch *batches,
                                uint32_t count)
{
    struct kpi_actor_set actors;
    struct kp_buf bytes = {0};
    struct kpi_block spine;
    uint32_t rows = 0;
    (void)page;
    assert_int_equal(kpi_actor_set_init(&actors, KPI_BLOCK_ROWS_MAX * 2), KP_OK);
    uint64_t period;
    assert_int_equal(kpi_spine_encode(batches, count, KPI_LEVEL_COLD, &actors, &period, &bytes),
                     KP_OK);
    assert_int_equal(kpi_block_open(bytes.data, bytes.size, &spine), KP_OK);
    for (uint32_t b = 0; b < count; b++)
        rows += kpi_spine_dur(batches[b].stream) == 0 ? 0 : batches[b].rows;
    assert_true(spine.chunks[KPI_SPINE_DURS].size < rows * 3 / 2); /* of 3 bytes and more */
    kpi_actor_set_deinit(&actors);
    kp_buf_deinit(&bytes);
    *(uint32_t *)ctx += rows;
    return KP_OK;
}

static void beginnings_are_foreseen(void **state)
{
    (void)state;
    struct rows_gen gen = generator(9);
    struct kp_buf run = {0};
    uint32_t rows = 0;
    gen.late_every = 0;
    make_run(&gen, SHAPE_CALLS, 8192, &run);
    assert_int_equal(
        kpi_pages_make(&(struct kpi_block_run){run.data, run.size}, 1, durs_are_small, &rows),
        KP_OK);
    assert_true(rows > 5000);
    kp_buf_deinit(&run);
    kp_actors_deinit(gen.actors);
}

static void every_shape_comes_back(void **state)
{
    static const uint32_t sizes[] = {1, 2, 7, 900, 3000};
    (void)state;
    for (int shape = 0; shape < SHAPE_COUNT; shape++)
        for (size_t i = 0; i < KP_ARRAY_LEN(sizes); i++) {
            struct rows_gen gen = generator((uint64_t)shape * 100 + i);
            struct kp_buf run = {0};
            uint32_t pages = 0;
            make_run(&gen, (enum shape)shape, sizes[i], &run);
            assert_int_equal(
                kpi_pages_make(&(struct kpi_block_run){run.data, run.size}, 1, page_check, &pages),
                KP_OK);
            assert_int_equal(pages, 1);
            kp_buf_deinit(&run);
            kp_actors_deinit(gen.actors);
        }
}

/* ---------- what does not fit ---------- */

static void one_stream(struct rows_gen *gen, uint32_t rows, struct kp_builder *out)
{
    assert_int_equal(
        kp_builder_init(out, kp_stream_by_number(KP_S_SCHED_SWITCH), gen->actors, rows), KP_OK);
    rows_fill(gen, out, rows);
}

static void rows_out_of_order_are_refused(void **state)
{
    (void)state;
    struct rows_gen gen = generator(3);
    struct kp_builder builder;
    struct kp_buf bytes = {0};
    gen.cpus = 2;
    one_stream(&gen, 100, &builder);
    builder.cols[KP_COL_TS].i64[50] = 5;
    assert_int_equal(page_encode(kp_builder_batch(&builder), 1, KPI_LEVEL_SEALED, &bytes),
                     KP_LIMIT);
    assert_int_equal(bytes.size, 0);
    kp_buf_deinit(&bytes);
    kp_builder_deinit(&builder);
    kp_actors_deinit(gen.actors);
}

static void more_cpus_than_lanes_are_refused(void **state)
{
    (void)state;
    struct rows_gen gen = generator(4);
    struct kp_builder builder;
    struct kp_buf bytes = {0};
    gen.cpus = 1;
    gen.late_every = 0;
    one_stream(&gen, KPI_SPINE_LANES_MAX + 1, &builder);
    for (uint32_t row = 0; row <= KPI_SPINE_LANES_MAX; row++) {
        builder.cols[KP_COL_TS].i64[row] = row;
        builder.cols[KP_COL_CPU].i64[row] = row;
    }
    assert_int_equal(page_encode(kp_builder_batch(&builder), 1, KPI_LEVEL_COLD, &bytes), KP_LIMIT);
    kp_buf_deinit(&bytes);
    kp_builder_deinit(&builder);
    kp_actors_deinit(gen.actors);
}

/* ---------- forged ---------- */

struct forgery {
    struct rows_gen gen;
    uint32_t refused;
};

static void resum(uint8_t *block, size_t size)
{
    kp_store_u64(block + KPI_BLOCK_AT_SUM, kp_hash64(block + KPI_BLOCK_AT_SIZE,
                                                     size - KPI_BLOCK_AT_SIZE, kp_load_u64(block)));
}

static void damage(struct rows_gen *gen, uint8_t *block, uint32_t size)
{
    for (uint64_t n = rows_below(gen, 3) + 1; n > 0; n--)
        block[rows_below(gen, size)] = (uint8_t)rows_random(gen);
    kp_store_u32(block + KPI_BLOCK_AT_MAGIC, KPI_BLOCK_MAGIC);
    kp_store_u32(block + KPI_BLOCK_AT_SIZE, size);
    resum(block, size);
}

static void forge_once(struct forgery *forgery, const struct kp_buf *page, uint32_t spine_size,
                       uint32_t block_size)
{
    struct kp_arena arena = {0};
    struct kp_actors *actors;
    struct kp_batch batch;
    struct kpi_block spine;
    uint8_t *head = tight_copy(page->data, spine_size);
    uint8_t *body = tight_copy(page->data + spine_size, block_size);
    bool in_spine = rows_below(&forgery->gen, 3) > 0;
    damage(&forgery->gen, in_spine ? head : body, in_spine ? spine_size : block_size);
    assert_int_equal(kp_actors_init(&actors), KP_OK);
    kp_status status = kpi_block_open(head, spine_size, &spine);
    if (status == KP_OK)
        status = block_read(&spine, body, block_size, actors, &arena, &batch);
    assert_true(status == KP_OK || status == KP_CORRUPT || status == KP_VERSION);
    forgery->refused += status != KP_OK;
    kp_actors_deinit(actors);
    kp_arena_deinit(&arena);
    free(head);
    free(body);
}

static kp_status page_forge(void *ctx, uint32_t page, const struct kp_batch *batches,
                            uint32_t count)
{
    struct kp_buf bytes = {0};
    struct kpi_block_info spine, block;
    (void)page;
    assert_int_equal(page_encode(batches, count, KPI_LEVEL_COLD, &bytes), KP_OK);
    assert_int_equal(kpi_block_peek(bytes.data, bytes.size, &spine), KP_OK);
    assert_int_equal(kpi_block_peek(bytes.data + spine.size, bytes.size - spine.size, &block),
                     KP_OK);
    for (uint32_t round = 0; round < 1500; round++)
        forge_once(ctx, &bytes, spine.size, block.size);
    kp_buf_deinit(&bytes);
    return KP_OK;
}

static void forged_pages_do_no_harm(void **state)
{
    (void)state;
    struct forgery forgery = {.gen = generator(9)};
    struct kp_buf run = {0};
    make_run(&forgery.gen, SHAPE_SCHEDULED, 120, &run);
    assert_int_equal(
        kpi_pages_make(&(struct kpi_block_run){run.data, run.size}, 1, page_forge, &forgery),
        KP_OK);
    assert_true(forgery.refused > 500);
    kp_buf_deinit(&run);
    kp_actors_deinit(forgery.gen.actors);
}

/* ---------- belonging together ---------- */

static kp_status page_mix(void *ctx, uint32_t page, const struct kp_batch *batches, uint32_t count)
{
    struct kp_buf bytes = {0};
    struct kp_arena arena = {0};
    struct kpi_block spine, block;
    (void)ctx;
    (void)page;
    assert_int_equal(page_encode(batches, count, KPI_LEVEL_SEALED, &bytes), KP_OK);
    assert_int_equal(kpi_block_open(bytes.data, bytes.size, &spine), KP_OK);
    size_t at = spine.info.size;
    assert_int_equal(kpi_block_open(bytes.data + at, bytes.size - at, &block), KP_OK);
    struct kp_vec vec;
    assert_int_equal(kpi_block_column(&block, KP_COL_TS, &arena, &vec), KP_CORRUPT);
    struct kpi_block self = spine, fewer = block;
    struct kpi_spine *opened;
    assert_int_equal(kpi_spine_open(&block, &arena, &opened), KP_CORRUPT);
    assert_int_equal(kpi_spine_open(&spine, &arena, &opened), KP_OK);
    assert_int_equal(kpi_spine_bind(opened, &arena, &self), KP_CORRUPT);
    fewer.info.rows--;
    assert_int_equal(kpi_spine_bind(opened, &arena, &fewer), KP_OK);
    assert_int_equal(kpi_block_column(&fewer, KP_COL_TS, &arena, &vec), KP_CORRUPT);
    kp_arena_deinit(&arena);
    kp_buf_deinit(&bytes);
    return KP_OK;
}

static void a_block_needs_its_own_spine(void **state)
{
    (void)state;
    struct rows_gen gen = generator(10);
    struct kp_buf run = {0};
    make_run(&gen, SHAPE_PLAIN, 50, &run);
    assert_int_equal(kpi_pages_make(&(struct kpi_block_run){run.data, run.size}, 1, page_mix, NULL),
                     KP_OK);
    kp_buf_deinit(&run);
    kp_actors_deinit(gen.actors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape_comes_back),
        cmocka_unit_test(beginnings_are_foreseen),
        cmocka_unit_test(ticks_are_kept_as_ticks),
        cmocka_unit_test(rows_out_of_order_are_refused),
        cmocka_unit_test(more_cpus_than_lanes_are_refused),
        cmocka_unit_test(forged_pages_do_no_harm),
        cmocka_unit_test(a_block_needs_its_own_spine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
