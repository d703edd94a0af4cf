/* SPDX-License-Identifier: Apache-2.0
 *
 * Segments: pages are full, in order and complete; sums know their place; a write that fails at any
 * step leaves no segment behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "folder.h"
#include "rows.h"
#include "storage/order.h"
#include "storage/pager.h"
#include "storage/segment.h"
#include "storage/spine.h"

struct fixture {
    char dir[FOLDER_PATH];
    struct rows_gen gen;
    struct kp_buf runs[2];
    uint64_t rows;
};

static int setup(void **state)
{
    struct fixture *fix = calloc(1, sizeof(*fix));
    folder_make("seg", fix->dir);
    char seg[80];
    snprintf(seg, sizeof(seg), "%s/seg", fix->dir);
    assert_int_equal(kp_io_threads()->mkdir(kp_io_threads(), seg), 0);
    fix->gen = (struct rows_gen){.seed = 17,
                                 .now = 1700000000ll * KP_SEC,
                                 .cpus = 4,
                                 .threads = 50,
                                 .names = 300,
                                 .late_every = 60};
    assert_int_equal(kp_actors_init(&fix->gen.actors), KP_OK);
    *state = fix;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fix = *state;
    char path[96];
    for (uint64_t id = 1; id <= 3; id++) {
        snprintf(path, sizeof(path), "%s/seg/%016llx.kps", fix->dir, (unsigned long long)id);
        unlink(path);
    }
    snprintf(path, sizeof(path), "%s/seg", fix->dir);
    assert_int_equal(rmdir(path), 0); /* nothing temporary was left either */
    assert_int_equal(rmdir(fix->dir), 0);
    for (size_t i = 0; i < KP_ARRAY_LEN(fix->runs); i++)
        kp_buf_deinit(&fix->runs[i]);
    kp_actors_deinit(fix->gen.actors);
    free(fix);
    return 0;
}

static void add_block(struct fixture *fix, uint32_t run, const char *stream, uint32_t rows)
{
    struct kp_builder builder;
    assert_int_equal(
        kp_builder_init(&builder, kp_stream_by_name(kp_str_from(stream)), fix->gen.actors, rows),
        KP_OK);
    rows_fill(&fix->gen, &builder, rows);
    assert_int_equal(kpi_block_encode(kp_builder_batch(&builder), KPI_LEVEL_HOT, &fix->runs[run]),
                     KP_OK);
    kp_builder_deinit(&builder);
    fix->rows += rows;
}

static void add_rows(struct fixture *fix)
{
    for (uint32_t i = 0; i < 40; i++) {
        add_block(fix, i / 20, "sched_switch", 3000);
        add_block(fix, i / 20, "sched_waking", 1500);
        add_block(fix, i / 20, "spans", 500);
    }
}

static kp_status write_segment(struct fixture *fix, const struct kp_io *io, uint64_t id,
                               struct kpi_segment_meta *out, struct kp_error *err)
{
    struct kpi_block_run runs[2] = {{fix->runs[0].data, fix->runs[0].size},
                                    {fix->runs[1].data, fix->runs[1].size}};
    return kpi_segment_write(io, fix->dir, id, runs, 2, out, err);
}

/* ---------- pages ---------- */

struct page_check {
    struct fixture *fix;
    const struct kp_actors *actors;
    uint64_t rows;
    uint32_t page;
    uint64_t page_rows, kernel_pages_full;
    bool page_is_kernel;
    struct kpi_row_key last[KP_STREAM_MAX];
};

static void page_done(struct page_check *check)
{
    assert_true(check->page_rows <=
                (check->page_is_kernel ? KPI_PAGE_ROWS_KERNEL : KPI_PAGE_ROWS_OWN));
    check->kernel_pages_full += check->page_is_kernel && check->page_rows == KPI_PAGE_ROWS_KERNEL;
    check->page_rows = 0;
}

static void check_batch(struct page_check *check, const struct kp_batch *batch)
{
    check->page_is_kernel = batch->stream->family == KP_FAMILY_KERNEL;
    struct kpi_row_key *last = &check->last[batch->stream->number];
    for (uint32_t row = 0; row < batch->rows; row++) {
        struct kpi_row_key key = {.ts = batch->cols[KP_COL_TS].i64[row],
                                  .seq = (uint64_t)batch->cols[KP_COL_SEQ].i64[row],
                                  .cpu = (uint32_t)batch->cols[KP_COL_CPU].i64[row],
                                  .actor = (kp_actor_id)batch->cols[KP_COL_ACTOR].i64[row]};
        assert_true(kpi_row_compare(batch->actors, last, &key) <= 0);
        *last = key;
    }
    check->rows += batch->rows;
    check->page_rows += batch->rows;
}

static kp_status check_page(void *ctx, uint32_t page, const struct kp_batch *batches,
                            uint32_t count)
{
    struct page_check *check = ctx;
    assert_int_equal(page, check->page++);
    for (uint32_t b = 0; b < count; b++) {
        assert_true(b == 0 || batches[b].stream->number > batches[b - 1].stream->number);
        check_batch(check, &batches[b]);
    }
    page_done(check);
    return KP_OK;
}

static void pages_are_full_ordered_and_complete(void **state)
{
    struct fixture *fix = *state;
    struct page_check check = {.fix = fix};
    add_rows(fix);
    struct kpi_block_run runs[2] = {{fix->runs[0].data, fix->runs[0].size},
                                    {fix->runs[1].data, fix->runs[1].size}};
    assert_int_equal(kpi_pages_make(runs, 2, check_page, &check), KP_OK);
    assert_int_equal(check.rows, fix->rows);
    assert_int_equal(check.kernel_pages_full, 40 * 4500 / KPI_PAGE_ROWS_KERNEL);
}

/* One early row in each block makes every block overlap with all before it. */
static void blocks_that_all_overlap_keep_their_rows(void **state)
{
    struct fixture *fix = *state;
    struct page_check check = {.fix = fix};
    kp_time begin = fix->gen.now;
    for (uint32_t i = 0; i < 60; i++) {
        struct kp_builder builder;
        assert_int_equal(
            kp_builder_init(&builder, kp_stream_by_name(KP_STR("signal")), fix->gen.actors, 4000),
            KP_OK);
        rows_fill(&fix->gen, &builder, 4000);
        builder.cols[KP_COL_TS].i64[2000] = begin + i % 7;
        assert_int_equal(kpi_block_encode(kp_builder_batch(&builder), KPI_LEVEL_HOT, &fix->runs[0]),
                         KP_OK);
        kp_builder_deinit(&builder);
    }
    struct kpi_block_run run = {fix->runs[0].data, fix->runs[0].size};
    assert_int_equal(kpi_pages_make(&run, 1, check_page, &check), KP_OK);
    assert_int_equal(check.rows, 60 * 4000);
}

static void a_damaged_block_stops_the_seal(void **state)
{
    struct fixture *fix = *state;
    struct kpi_segment_meta meta = {.rows = 77};
    struct kp_error err = {0};
    add_block(fix, 0, "irq", 100);
    add_block(fix, 1, "irq", 100);
    fix->runs[0].data[100] ^= 1;
    assert_int_equal(write_segment(fix, kp_io_threads(), 1, &meta, &err), KP_CORRUPT);
    assert_int_equal(meta.rows, 77);
    assert_non_null(strstr(err.text, "0000000000000001.kps"));
}

/* ---------- files ---------- */

struct opened {
    struct kp_io_queue *queue;
    struct kpi_segment segment;
};

static kp_status open_segment(struct fixture *fix, uint64_t id, struct opened *out)
{
    struct kp_buf path = {0};
    kpi_segment_path(fix->dir, id, &path);
    if (out->queue == NULL)
        assert_int_equal(kp_io_threads()->queue_open(kp_io_threads(), 2, &out->queue), KP_OK);
    kp_status status =
        kpi_segment_open(kp_io_threads(), out->queue, kp_buf_cstr(&path), id, &out->segment, NULL);
    kp_buf_deinit(&path);
    return status;
}

static void close_segment(struct opened *opened)
{
    kpi_segment_close(&opened->segment);
    kp_io_threads()->queue_close(opened->queue);
}

static kp_status read_block(const struct opened *opened, const struct kpi_block_ref *ref)
{
    struct kpi_block block;
    uint8_t *bytes = malloc(ref->size);
    kp_status status = kpi_segment_read(&opened->segment, opened->queue, ref, bytes, &block);
    free(bytes);
    return status;
}

static void the_footer_describes_the_file(void **state)
{
    struct fixture *fix = *state;
    struct kpi_segment_meta meta;
    struct kp_error err;
    struct opened opened = {0};
    add_rows(fix);
    assert_int_equal(write_segment(fix, kp_io_threads(), 1, &meta, &err), KP_OK);
    assert_int_equal(meta.rows, fix->rows);
    assert_int_equal(open_segment(fix, 1, &opened), KP_OK);
    assert_int_equal(opened.segment.size, meta.bytes);
    const struct kpi_footer *footer = &opened.segment.footer;
    uint64_t rows = 0;
    for (uint32_t b = 0; b < footer->blocks_count; b++) {
        assert_int_equal(read_block(&opened, &footer->blocks[b]), KP_OK);
        assert_true(footer->blocks[b].ts_min >= meta.ts_min &&
                    footer->blocks[b].ts_max <= meta.ts_max);
        if (footer->blocks[b].stream != &kpi_spine_stream)
            rows += footer->blocks[b].rows;
    }
    assert_int_equal(rows, fix->rows);
    assert_int_equal(footer->exact_count, 2);
    close_segment(&opened);
}

/* Equal content under another id or at another offset must not pass. */
static void sums_know_their_place(void **state)
{
    struct fixture *fix = *state;
    struct kpi_segment_meta meta;
    struct kp_error err;
    struct opened opened = {0};
    add_block(fix, 0, "irq", 500);
    add_block(fix, 1, "softirq", 500);
    assert_int_equal(write_segment(fix, kp_io_threads(), 2, &meta, &err), KP_OK);
    char from[96], to[96];
    snprintf(from, sizeof(from), "%s/seg/%016x.kps", fix->dir, 2);
    snprintf(to, sizeof(to), "%s/seg/%016x.kps", fix->dir, 3);
    assert_int_equal(rename(from, to), 0);
    assert_int_equal(open_segment(fix, 3, &opened), KP_CORRUPT);
    assert_int_equal(rename(to, from), 0);
    assert_int_equal(open_segment(fix, 2, &opened), KP_OK);
    struct kpi_block_ref moved = opened.segment.footer.blocks[0];
    assert_int_equal(read_block(&opened, &moved), KP_OK);
    moved.offset = opened.segment.footer.blocks[1].offset;
    moved.size = opened.segment.footer.blocks[1].size;
    assert_int_equal(read_block(&opened, &moved), KP_CORRUPT);
    opened.segment.id = 4;
    assert_int_equal(read_block(&opened, &opened.segment.footer.blocks[0]), KP_CORRUPT);
    close_segment(&opened);
}

/* ---------- writes that fail ---------- */

/* The threads backend with a fault at the n-th operation that changes something. */
static struct {
    int left;   /* operations until the fault; < 0 = none */
    int result; /* what the failing one answers */
} fault;

static bool fault_now(void)
{
    return fault.left >= 0 && fault.left-- == 0;
}

static kp_status faulty_submit(struct kp_io_queue *queue, struct kp_io_req *req)
{
    if (req->op != KP_IO_READ && fault_now()) {
        req->done = true;
        req->result = req->op == KP_IO_SYNC && fault.result > 0 ? -EIO : fault.result;
        return KP_OK;
    }
    return kp_io_threads()->submit(queue, req);
}

static int faulty_open(const struct kp_io *io, const char *path, int flags, struct kp_io_file **out)
{
    return fault_now() ? -ENOSPC : kp_io_threads()->open(io, path, flags, out);
}

static int faulty_rename(const struct kp_io *io, const char *from, const char *to)
{
    return fault_now() ? -EIO : kp_io_threads()->rename(io, from, to);
}

static int faulty_sync_dir(const struct kp_io *io, const char *path)
{
    return fault_now() ? -EIO : kp_io_threads()->sync_dir(io, path);
}

static void a_failed_write_leaves_nothing(void **state)
{
    struct fixture *fix = *state;
    struct kp_io io = *kp_io_threads();
    io.submit = faulty_submit;
    io.open = faulty_open;
    io.rename = faulty_rename;
    io.sync_dir = faulty_sync_dir;
    add_rows(fix);
    static const int results[] = {-EIO, -ENOSPC, 100}; /* 100: a short write */
    for (size_t r = 0; r < KP_ARRAY_LEN(results); r++) {
        kp_status status = KP_IO;
        int operations = 0;
        for (; status != KP_OK; operations++) {
            struct kpi_segment_meta meta = {.id = 99};
            struct kp_error err = {0};
            struct opened opened = {0};
            fault.left = operations;
            fault.result = results[r];
            status = write_segment(fix, &io, 1, &meta, &err);
            if (status == KP_OK)
                break;
            assert_int_equal(meta.id, 99);
            assert_true(strlen(err.text) > 0);
            assert_true(status == KP_IO || status == KP_NO_SPACE);
            assert_int_equal(open_segment(fix, 1, &opened), KP_NOT_FOUND);
            close_segment(&opened);
        }
        assert_true(operations >= 5); /* open, writes, sync, rename, directory */
        fault.left = -1;
        char path[96];
        snprintf(path, sizeof(path), "%s/seg/%016x.kps", fix->dir, 1);
        assert_int_equal(unlink(path), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pages_are_full_ordered_and_complete, setup, teardown),
        cmocka_unit_test_setup_teardown(blocks_that_all_overlap_keep_their_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_block_stops_the_seal, setup, teardown),
        cmocka_unit_test_setup_teardown(the_footer_describes_the_file, setup, teardown),
        cmocka_unit_test_setup_teardown(sums_know_their_place, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_write_leaves_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
