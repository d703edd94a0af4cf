/* SPDX-License-Identifier: Apache-2.0
 *
 * The footer tells the truth about its blocks: exactly the threads that occur, every indexed value,
 * and nothing at all when it was cut or forged.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "rows.h"
#include "storage/io_sim.h"
#include "storage/segment.h"

#define BLOCKS   6
#define DATA_END ((uint64_t)1 << 40)
#define INDEXES  (KPI_SEGMENT_HEADER + BLOCKS * 1000ull) /* where they lie */

struct fixture {
    struct rows_gen gen;
    struct kp_builder rows[BLOCKS]; /* spans and wakeups in turn */
    struct kp_buf footer;
    struct kpi_segment segment; /* of which there are only the indexes and the footer */
    struct kp_sim *sim;
    struct kp_io_queue *queue;
};

static void indexes_write(struct fixture *fix, struct kp_buf *bytes)
{
    struct kpi_segment *segment = &fix->segment;
    assert_int_equal(kp_sim_open(1, &fix->sim), KP_OK);
    segment->io = kp_sim_io(fix->sim);
    segment->id = 1;
    assert_int_equal(segment->io->queue_open(segment->io, 2, &fix->queue), KP_OK);
    assert_int_equal(
        segment->io->open(segment->io, "/segment", KP_IO_RDWR | KP_IO_CREATE, &segment->file), 0);
    assert_int_equal(kp_io_once(segment->io, fix->queue, KP_IO_WRITE, segment->file, bytes->data,
                                bytes->size, INDEXES),
                     bytes->size);
}

static int setup(void **state)
{
    struct fixture *fix = calloc(1, sizeof(*fix));
    struct kpi_footer_builder builder = {0};
    fix->gen = (struct rows_gen){
        .seed = 3, .now = 1700000000ll * KP_SEC, .cpus = 2, .threads = 300, .names = 30};
    assert_int_equal(kp_actors_init(&fix->gen.actors), KP_OK);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        const char *name = i % 2 == 0 ? "spans" : "sched_waking";
        assert_int_equal(kp_builder_init(&fix->rows[i], kp_stream_by_name(kp_str_from(name)),
                                         fix->gen.actors, 100),
                         KP_OK);
        rows_fill(&fix->gen, &fix->rows[i], 100);
        const struct kp_batch *batch = kp_builder_batch(&fix->rows[i]);
        struct kpi_block_ref ref = {.stream = batch->stream,
                                    .offset = KPI_SEGMENT_HEADER + (uint64_t)i * 1000,
                                    .sum = i,
                                    .ts_min = -5,
                                    .ts_max = i,
                                    .seq_max = UINT64_MAX,
                                    .size = 1000,
                                    .rows = batch->rows,
                                    .page = i / 2};
        assert_int_equal(kpi_footer_add(&builder, &ref, batch), KP_OK);
    }
    struct kp_buf indexes = {0};
    assert_int_equal(kpi_footer_sets(&builder, 1, INDEXES, &indexes), KP_OK);
    assert_int_equal(kpi_footer_indexes(&builder, 1, INDEXES, &indexes), KP_OK);
    assert_int_equal(kpi_footer_encode(&builder, &fix->footer), KP_OK);
    kpi_footer_builder_deinit(&builder);
    assert_int_equal(kpi_footer_parse(fix->footer.data, fix->footer.size, KPI_SEGMENT_VERSION,
                                      DATA_END, &fix->segment.footer),
                     KP_OK);
    indexes_write(fix, &indexes);
    int64_t tid = 9999;
    assert_true(kpi_block_ref_has_tid(&fix->segment.footer.blocks[0], KP_COL_ACTOR, &tid, 1));
    assert_int_equal(kpi_segment_sets(&fix->segment, fix->queue), KP_OK);
    assert_false(kpi_block_ref_has_tid(&fix->segment.footer.blocks[0], KP_COL_ACTOR, &tid, 1));
    kp_buf_deinit(&indexes);
    *state = fix;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fix = *state;
    for (uint32_t i = 0; i < BLOCKS; i++)
        kp_builder_deinit(&fix->rows[i]);
    fix->segment.io->queue_close(fix->queue);
    kpi_segment_close(&fix->segment);
    kp_sim_close(fix->sim);
    kp_buf_deinit(&fix->footer);
    kp_actors_deinit(fix->gen.actors);
    free(fix);
    return 0;
}

static void entries_come_back(void **state)
{
    struct fixture *fix = *state;
    assert_int_equal(fix->segment.footer.blocks_count, BLOCKS);
    assert_int_equal(fix->segment.footer.pages, BLOCKS / 2);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        const struct kpi_block_ref *ref = &fix->segment.footer.blocks[i];
        assert_ptr_equal(ref->stream, fix->rows[i].batch.stream);
        assert_true(ref->ts_min == -5 && ref->ts_max == i && ref->seq_max == UINT64_MAX);
        assert_true(ref->sum == i && ref->size == 1000 && ref->rows == 100 && ref->page == i / 2);
        assert_int_equal(ref->sets_count, i % 2 == 0 ? 1 : 2); /* actor; and wakee */
    }
}

static bool occurs(const struct kp_batch *batch, uint32_t column, int64_t tid)
{
    for (uint32_t row = 0; row < batch->rows; row++) {
        kp_actor_id id = (kp_actor_id)batch->cols[column].i64[row];
        if (kp_actors_get(batch->actors, id)->tid == tid)
            return true;
    }
    return false;
}

static void thread_sets_are_exact(void **state)
{
    struct fixture *fix = *state;
    for (uint32_t i = 0; i < BLOCKS; i++) {
        const struct kp_batch *batch = &fix->rows[i].batch;
        const struct kpi_block_ref *ref = &fix->segment.footer.blocks[i];
        for (int64_t tid = -1; tid <= 301; tid++)
            for (uint32_t s = 0; s < ref->sets_count; s++) {
                uint32_t column = ref->sets[s].column;
                assert_int_equal(kpi_block_ref_has_tid(ref, column, &tid, 1),
                                 occurs(batch, column, tid));
            }
    }
    int64_t tids[2] = {-1, 5000};
    assert_false(kpi_block_ref_has_tid(&fix->segment.footer.blocks[0], KP_COL_ACTOR, tids, 2));
    assert_true(kpi_block_ref_has_tid(&fix->segment.footer.blocks[0], KP_COL_FIRST, tids, 2));
}

static void every_value_is_found_in_its_block(void **state)
{
    struct fixture *fix = *state;
    const struct kp_stream *spans = fix->rows[0].batch.stream;
    uint32_t txn = (uint32_t)kp_stream_stored(spans, "txn");
    for (uint32_t i = 0; i < BLOCKS; i += 2)
        for (uint32_t row = 0; row < 100; row++) {
            bool marks[BLOCKS] = {false};
            struct kp_str value = kp_vec_str(&fix->rows[i].batch.cols[txn], row);
            kp_status found =
                kpi_exact_find(&fix->segment, fix->queue, spans->number, txn, value, marks);
            assert_int_equal(found, value.len > 0 ? KP_OK : KP_NOT_FOUND);
            assert_int_equal(marks[i], value.len > 0);
        }
    bool marks[BLOCKS] = {false};
    assert_int_equal(
        kpi_exact_find(&fix->segment, fix->queue, spans->number, txn, KP_STR("nowhere"), marks),
        KP_OK);
    for (uint32_t i = 0; i < BLOCKS; i++)
        assert_false(marks[i]);
    assert_int_equal(
        kpi_exact_find(&fix->segment, fix->queue, spans->number, KP_COL_CPU, KP_STR("x"), marks),
        KP_NOT_FOUND);
}

static void count_entry(const struct kpi_run_entry *entries, uint32_t count,
                        uint32_t blocks[BLOCKS])
{
    for (uint32_t i = 0; i < count; i++) {
        assert_true(i == 0 || entries[i].key >= entries[i - 1].key);
        assert_int_equal(entries[i].segment, 0);
        blocks[entries[i].block]++;
    }
}

/* A flipped bit anywhere in the pages is found, by who reads all and by who needs that page. */
static void damaged_pages_are_told(void **state)
{
    struct fixture *fix = *state;
    const struct kpi_segment *segment = &fix->segment;
    const struct kpi_exact *index = &segment->footer.exact[0];
    struct kp_arena arena = {0};
    struct kpi_run_entry *entries;
    uint32_t blocks[BLOCKS] = {0};
    assert_int_equal(kpi_exact_load(segment, fix->queue, index, &arena, &entries), KP_OK);
    count_entry(entries, index->count, blocks);
    assert_true(blocks[0] > 0 && blocks[1] == 0 && blocks[2] > 0);
    for (uint32_t at = 0; at < index->size; at += 37) {
        uint8_t byte = 0;
        uint64_t place = index->offset + at;
        kp_io_once(segment->io, fix->queue, KP_IO_READ, segment->file, &byte, 1, place);
        byte ^= 0x10;
        kp_io_once(segment->io, fix->queue, KP_IO_WRITE, segment->file, &byte, 1, place);
        bool marks[BLOCKS];
        assert_int_equal(kpi_exact_load(segment, fix->queue, index, &arena, &entries), KP_CORRUPT);
        assert_int_equal(kpi_exact_find(segment, fix->queue, index->stream, index->column,
                                        KP_STR("name-1"), marks),
                         KP_CORRUPT);
        byte ^= 0x10;
        kp_io_once(segment->io, fix->queue, KP_IO_WRITE, segment->file, &byte, 1, place);
    }
    kp_arena_deinit(&arena);
}

static kp_status parse_copy(const struct fixture *fix, size_t size, size_t at, uint8_t flip,
                            uint64_t data_end)
{
    uint8_t *tight = malloc(size == 0 ? 1 : size);
    memcpy(tight, fix->footer.data, size);
    if (at < size)
        tight[at] ^= flip;
    struct kpi_footer footer;
    kp_status status = kpi_footer_parse(tight, size, KPI_SEGMENT_VERSION, data_end, &footer);
    if (status == KP_OK)
        kpi_footer_deinit(&footer);
    free(tight);
    return status;
}

static void cut_footers_are_corrupt(void **state)
{
    struct fixture *fix = *state;
    for (size_t size = 0; size < fix->footer.size; size++)
        assert_int_equal(parse_copy(fix, size, SIZE_MAX, 0, DATA_END), KP_CORRUPT);
    assert_int_equal(parse_copy(fix, fix->footer.size, SIZE_MAX, 0, 4000), KP_CORRUPT);
}

/* The file's sum catches these; the parser must hold by itself all the same. */
static void forged_footers_do_no_harm(void **state)
{
    struct fixture *fix = *state;
    uint32_t refused = 0;
    for (size_t at = 0; at < fix->footer.size; at++) {
        kp_status status = parse_copy(fix, fix->footer.size, at, 0xff, DATA_END);
        assert_true(status == KP_OK || status == KP_CORRUPT);
        refused += status == KP_CORRUPT;
    }
    assert_true(refused > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_come_back),
        cmocka_unit_test(thread_sets_are_exact),
        cmocka_unit_test(every_value_is_found_in_its_block),
        cmocka_unit_test(damaged_pages_are_told),
        cmocka_unit_test(cut_footers_are_corrupt),
        cmocka_unit_test(forged_footers_do_no_harm),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
