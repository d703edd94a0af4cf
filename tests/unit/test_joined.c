/* SPDX-License-Identifier: Apache-2.0
 *
 * Joined blocks give back the rows of all batches in the order they came, whatever the numbers are;
 * what does not fit is not taken; forged ones do no harm.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "rows.h"
#include "storage/joined.h"
#include "storage/snapshot.h"

#define BATCHES_MAX 40u

enum shape {
    SHAPE_ORDERED,  /* as ingest makes them */
    SHAPE_LATE,     /* some too late for lanes: blocks of their own */
    SHAPE_EXTREMES, /* numbers and times over the whole range */
    SHAPE_SPARSE,   /* far apart values that repeat */
    SHAPE_COUNT
};

static const uint32_t streams[] = {KP_S_SCHED_SWITCH, KP_S_SCHED_WAKING, KP_S_SYSCALL, KP_S_TASK,
                                   KP_S_IRQ};

struct fix {
    struct rows_gen gen;
    struct kpi_join *join;
    struct kp_builder batches[BATCHES_MAX]; /* taken, in order */
    uint32_t count;
};

static void fix_init(struct fix *fix, uint64_t seed, size_t memory, size_t limit)
{
    *fix = (struct fix){
        .gen = {.seed = seed, .now = 1700000000ll * KP_SEC, .cpus = 4, .threads = 40, .names = 6}};
    assert_int_equal(kp_actors_init(&fix->gen.actors), KP_OK);
    assert_int_equal(kpi_join_new(fix->gen.actors, memory, limit, &fix->join), KP_OK);
}

static void fix_deinit(struct fix *fix)
{
    for (uint32_t i = 0; i < fix->count; i++)
        kp_builder_deinit(&fix->batches[i]);
    kpi_join_free(fix->join);
    kp_actors_deinit(fix->gen.actors);
}

static int64_t odd_number(struct rows_gen *gen, enum shape shape)
{
    static const int64_t extremes[] = {INT64_MIN, INT64_MIN + 1, -1,       0,
                                       1,         INT64_MAX - 1, INT64_MAX};
    return shape == SHAPE_EXTREMES ? extremes[rows_below(gen, KP_ARRAY_LEN(extremes))]
                                   : (int64_t)(rows_below(gen, 9) * 0x123456789abcdefull);
}

static int compare_i64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static void rows_shape(struct rows_gen *gen, enum shape shape, struct kp_builder *builder)
{
    const struct kp_stream *stream = builder->batch.stream;
    uint32_t rows = builder->batch.rows;
    for (uint32_t c = KP_COL_FIRST; c < stream->stored_count && shape >= SHAPE_EXTREMES; c++)
        for (uint32_t row = 0; row < rows && stream->stored[c].type != KP_TYPE_ACTOR &&
                               kp_type_phys(stream->stored[c].type) != KP_PHYS_STR;
             row++)
            builder->cols[c].i64[row] = odd_number(gen, shape);
    int64_t *ts = builder->cols[KP_COL_TS].i64;
    for (uint32_t row = 0; row < rows && shape == SHAPE_EXTREMES; row++)
        ts[row] = odd_number(gen, shape);
    if (shape == SHAPE_LATE)
        return;
    qsort(ts, rows, sizeof(*ts), compare_i64);
    for (uint32_t row = 1; row < rows; row++) /* lanes tell no order at one instant */
        for (uint32_t c = KP_COL_CPU; c <= KP_COL_ACTOR && ts[row] == ts[row - 1]; c++)
            builder->cols[c].i64[row] = builder->cols[c].i64[row - 1];
}

static bool batch_offer(struct fix *fix, uint32_t stream, uint32_t rows, enum shape shape)
{
    struct kp_builder *builder = &fix->batches[fix->count];
    assert_int_equal(kp_builder_init(builder, kp_stream_by_number(stream), fix->gen.actors, rows),
                     KP_OK);
    rows_fill(&fix->gen, builder, rows);
    rows_shape(&fix->gen, shape, builder);
    if (kpi_join_add(fix->join, kp_builder_batch(builder))) {
        fix->count++;
        return true;
    }
    kp_builder_deinit(builder);
    return false;
}

/* Rows of one stream that were read, against those that were added. */
static uint32_t stream_check(const struct fix *fix, const struct kp_batch *back)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < fix->count; i++) {
        const struct kp_batch *batch = &fix->batches[i].batch;
        for (uint32_t row = 0; batch->stream == back->stream && row < batch->rows; row++)
            assert_true(rows_equal(batch, row, back, at++));
    }
    assert_int_equal(at, back->rows);
    return at;
}

/* Copies without slack: reading too far shows under the address sanitizer. */
static uint8_t *tight_copy(const struct kp_buf *bytes)
{
    uint8_t *copy = malloc(bytes->size);
    assert_non_null(copy);
    memcpy(copy, bytes->data, bytes->size);
    return copy;
}

static void join_check(struct fix *fix, bool joined)
{
    struct kp_buf bytes = {0};
    struct kp_arena arena = {0};
    struct kp_actors *actors;
    struct kp_batch back[KP_STREAM_MAX];
    uint32_t rows = kpi_join_rows(fix->join), count, size, blocks = 0;
    assert_int_equal(kp_actors_init(&actors), KP_OK);
    assert_int_equal(kpi_join_encode(fix->join, &bytes), KP_OK);
    assert_int_equal(kpi_join_rows(fix->join), 0);
    uint8_t *copy = tight_copy(&bytes);
    for (size_t at = 0; at < bytes.size; at += size, blocks++) {
        assert_int_equal(
            kpi_block_batches(copy + at, bytes.size - at, actors, &arena, back, &count, &size),
            KP_OK);
        for (uint32_t i = 0; i < count; i++)
            rows -= stream_check(fix, &back[i]);
    }
    assert_int_equal(rows, 0);
    if (joined)
        assert_int_equal(blocks, 1);
    free(copy);
    kp_actors_deinit(actors);
    kp_arena_deinit(&arena);
    kp_buf_deinit(&bytes);
}

static void every_shape_comes_back(void **state)
{
    static const uint32_t sizes[] = {1, 2, 63, 300, 1024, 2100, 5000};
    (void)state;
    for (int shape = 0; shape < SHAPE_COUNT; shape++)
        for (size_t i = 0; i < KP_ARRAY_LEN(sizes); i++) {
            struct fix fix;
            fix_init(&fix, (uint64_t)shape * 100 + i, 8u << 20, 16u << 20);
            fix.gen.late_every = shape == SHAPE_LATE ? 20 : 0;
            for (size_t s = 0; s < KP_ARRAY_LEN(streams); s++)
                if (sizes[i] > s)
                    assert_true(batch_offer(&fix, streams[s], sizes[i] / (uint32_t)(s + 1),
                                            (enum shape)shape));
            join_check(&fix, shape != SHAPE_LATE);
            fix_deinit(&fix);
        }
}

/* The second commit knows nothing of the first. */
static void many_batches_of_a_stream_are_one(void **state)
{
    struct fix fix;
    (void)state;
    fix_init(&fix, 7, 4u << 20, 8u << 20);
    for (int commit = 0; commit < 3; commit++) {
        while (fix.count > 0)
            kp_builder_deinit(&fix.batches[--fix.count]);
        for (uint32_t i = 0; i < 12; i++)
            assert_true(batch_offer(&fix, streams[i % 3], 100 + i, SHAPE_ORDERED));
        join_check(&fix, false);
    }
    fix_deinit(&fix);
}

/* ---------- in a snapshot ---------- */

static void record_take(struct fix *fix, struct kp_snapshot *snapshot)
{
    struct kp_buf bytes = {0};
    struct kpi_wal_record record = {.sequence = 1, .rows = kpi_join_rows(fix->join), .file = "log"};
    assert_int_equal(kpi_join_encode(fix->join, &bytes), KP_OK);
    record.payload = bytes.data;
    record.payload_size = (uint32_t)bytes.size;
    assert_int_equal(kpi_snapshot_take_record(snapshot, &record), KP_OK);
    kp_buf_deinit(&bytes);
}

static void scan_check(const struct fix *fix, struct kp_snapshot *snapshot,
                       const struct kp_stream *stream)
{
    struct kp_colref cols[KP_STORED_MAX] = {0};
    const struct kp_batch *back;
    struct kp_scan *scan;
    uint32_t batch = 0, row = 0;
    for (uint32_t c = 0; c < stream->stored_count; c++)
        cols[c] = (struct kp_colref){.stored = (uint8_t)c, .attr = KP_ATTR_SELF};
    struct kp_scan_req req = {.stream = stream,
                              .from = KP_TIME_MIN,
                              .to = KP_TIME_MAX,
                              .cols = cols,
                              .cols_count = stream->stored_count};
    assert_int_equal(kp_scan_open(snapshot, &req, &scan, NULL), KP_OK);
    while (kp_scan_next(scan, &back, NULL) == KP_OK)
        for (uint32_t i = 0; i < kp_batch_count(back); i++, row++) {
            while (fix->batches[batch].batch.stream != stream ||
                   row == fix->batches[batch].batch.rows) {
                batch++;
                row = 0;
            }
            uint32_t at = kp_batch_row(back, i);
            for (uint32_t c = KP_COL_FIRST; c < stream->stored_count; c++)
                if (stream->stored[c].type != KP_TYPE_ACTOR &&
                    kp_type_phys(stream->stored[c].type) != KP_PHYS_STR)
                    assert_int_equal(back->cols[c].i64[at],
                                     fix->batches[batch].batch.cols[c].i64[row]);
            assert_int_equal(back->cols[KP_COL_TS].i64[at],
                             fix->batches[batch].batch.cols[KP_COL_TS].i64[row]);
        }
    kp_scan_close(scan);
}

/* A page of a snapshot is made of several records; all columns of all streams are read. */
static void a_page_spans_records(void **state)
{
    struct fix fix;
    struct kp_snapshot *snapshot;
    (void)state;
    fix_init(&fix, 11, 4u << 20, 8u << 20);
    assert_int_equal(kpi_snapshot_new(kp_io_default(), &snapshot), KP_OK);
    for (int commit = 0; commit < 5; commit++) {
        for (size_t s = 0; s < KP_ARRAY_LEN(streams); s++)
            assert_true(batch_offer(&fix, streams[s], 200, SHAPE_ORDERED));
        record_take(&fix, snapshot);
    }
    for (size_t s = 0; s < KP_ARRAY_LEN(streams); s++) {
        const struct kp_stream *stream = kp_stream_by_number(streams[s]);
        assert_int_equal(kp_snapshot_rows(snapshot, stream), 1000);
        scan_check(&fix, snapshot, stream);
    }
    kp_snapshot_close(snapshot);
    fix_deinit(&fix);
}

static void what_does_not_fit_is_not_taken(void **state)
{
    struct fix fix;
    (void)state;
    fix_init(&fix, 9, 64u << 10, 24u << 10);
    assert_false(batch_offer(&fix, KP_S_CLOCK, 1, SHAPE_ORDERED)); /* not of the kernel */
    assert_false(batch_offer(&fix, KP_S_SYSCALL, 2000, SHAPE_ORDERED));
    uint32_t rows = 0;
    while (fix.count < BATCHES_MAX && batch_offer(&fix, KP_S_SYSCALL, 20, SHAPE_ORDERED))
        rows += 20;
    assert_in_range(rows, 20, 400);
    assert_int_equal(kpi_join_rows(fix.join), rows);
    join_check(&fix, false);
    fix_deinit(&fix);
}

/* ---------- forged ---------- */

static void resum(uint8_t *block, size_t size)
{
    kp_store_u64(block + KPI_BLOCK_AT_SUM, kp_hash64(block + KPI_BLOCK_AT_SIZE,
                                                     size - KPI_BLOCK_AT_SIZE, kp_load_u64(block)));
}

static void damaged_read(struct rows_gen *gen, const struct kp_buf *whole)
{
    struct kp_batch back[KP_STREAM_MAX];
    struct kp_arena arena = {0};
    struct kp_actors *actors;
    uint32_t count, taken;
    uint8_t *copy = tight_copy(whole);
    for (uint64_t n = rows_below(gen, 4) + 1; n > 0; n--)
        copy[KPI_BLOCK_AT_SIZE + rows_below(gen, whole->size - KPI_BLOCK_AT_SIZE)] =
            (uint8_t)rows_random(gen);
    kp_store_u32(copy + KPI_BLOCK_AT_SIZE, (uint32_t)whole->size);
    resum(copy, whole->size);
    assert_int_equal(kp_actors_init(&actors), KP_OK);
    kp_status status = kpi_block_batches(copy, whole->size, actors, &arena, back, &count, &taken);
    assert_true(status == KP_OK || status == KP_CORRUPT || status == KP_VERSION);
    kp_actors_deinit(actors);
    kp_arena_deinit(&arena);
    free(copy);
}

static void forged_blocks_do_no_harm(void **state)
{
    static const uint32_t sizes[] = {30, 900};
    (void)state;
    for (size_t i = 0; i < KP_ARRAY_LEN(sizes); i++) {
        struct fix fix;
        struct kp_buf bytes = {0};
        fix_init(&fix, i, 4u << 20, 8u << 20);
        for (size_t s = 0; s < KP_ARRAY_LEN(streams); s++)
            assert_true(batch_offer(&fix, streams[s], sizes[i], SHAPE_ORDERED));
        assert_int_equal(kpi_join_encode(fix.join, &bytes), KP_OK);
        for (int n = 0; n < 400; n++)
            damaged_read(&fix.gen, &bytes);
        kp_buf_deinit(&bytes);
        fix_deinit(&fix);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape_comes_back),
        cmocka_unit_test(many_batches_of_a_stream_are_one),
        cmocka_unit_test(a_page_spans_records),
        cmocka_unit_test(what_does_not_fit_is_not_taken),
        cmocka_unit_test(forged_blocks_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
