/* SPDX-License-Identifier: Apache-2.0
 *
 * Verify finds nothing in a whole store and finds every single changed byte of a segment; inspect
 * describes whole and damaged files.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "folder.h"
#include "rows.h"
#include "storage/segment.h"

struct fixture {
    char dir[FOLDER_PATH];
    uint64_t rows;
    struct kp_buf found; /* what verify said */
};

static const struct kp_store_opts small = {.manual = true,
                                           .segment_bytes_max = 64 * 1024,
                                           .wal_file_bytes = 256 * 1024,
                                           .wal_bytes_max = 8 << 20};

static void append(struct fixture *fix, struct kp_store *store, struct rows_gen *gen,
                   const char *stream, uint32_t rows)
{
    struct kp_builder builder;
    assert_int_equal(
        kp_builder_init(&builder, kp_stream_by_name(kp_str_from(stream)), gen->actors, rows),
        KP_OK);
    rows_fill(gen, &builder, rows);
    assert_int_equal(kp_store_append(store, kp_builder_batch(&builder), NULL), KP_OK);
    assert_int_equal(kp_store_tick(store, kp_time_monotonic(), false), KP_OK);
    kp_builder_deinit(&builder);
    fix->rows += rows;
}

static int setup(void **state)
{
    struct fixture *fix = calloc(1, sizeof(*fix));
    folder_make("verify", fix->dir);
    struct kp_store *store;
    assert_int_equal(kp_store_open(fix->dir, &small, &store, NULL), KP_OK);
    struct rows_gen gen = {.seed = 4,
                           .actors = kp_store_actors(store),
                           .now = 1700000000ll * KP_SEC,
                           .cpus = 2,
                           .threads = 20,
                           .names = 10};
    for (int i = 0; i < 6; i++) {
        append(fix, store, &gen, "sched_switch", 400);
        append(fix, store, &gen, "spans", 40);
        if (i % 3 == 1)
            assert_int_equal(kp_store_tick(store, kp_time_monotonic(), true), KP_OK);
    }
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    *state = fix;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fix = *state;
    assert_int_equal(folder_remove(fix->dir), 0);
    kp_buf_deinit(&fix->found);
    free(fix);
    return 0;
}

static void on_found(void *ctx, const struct kp_damage *damage)
{
    struct fixture *fix = ctx;
    kp_buf_printf(&fix->found, "%s at %llu: %s\n", damage->file, (unsigned long long)damage->offset,
                  damage->what);
}

static void a_whole_store_is_whole(void **state)
{
    struct fixture *fix = *state;
    struct kp_verify_report report;
    struct kp_error err = {0};
    kp_status status = kp_verify(fix->dir, kp_io_threads(), on_found, NULL, fix, &report, &err);
    if (status != KP_OK)
        fail_msg("%s\n%s", err.text, kp_buf_cstr(&fix->found));
    assert_int_equal(report.rows, fix->rows);
    assert_int_equal(report.damaged, 0);
    assert_true(report.files >= 1);
}

static void segment_path(const struct fixture *fix, struct kp_buf *out)
{
    kpi_segment_path(fix->dir, 1, out);
    kp_buf_cstr(out);
}

static void every_changed_byte_is_found(void **state)
{
    struct fixture *fix = *state;
    struct kp_buf path = {0};
    segment_path(fix, &path);
    long size = file_size(path.data);
    for (long at = 0; at < size; at += 1 + size / 211) {
        struct kp_verify_report report;
        file_flip(path.data, at, 0x04);
        kp_buf_clear(&fix->found);
        assert_int_equal(kp_verify(fix->dir, kp_io_threads(), on_found, NULL, fix, &report, NULL),
                         KP_CORRUPT);
        assert_true(report.damaged > 0);
        assert_non_null(strstr(kp_buf_cstr(&fix->found), path.data));
        file_flip(path.data, at, 0x04);
    }
    kp_buf_deinit(&path);
}

static void a_missing_or_cut_segment_is_found(void **state)
{
    struct fixture *fix = *state;
    struct kp_verify_report report;
    struct kp_buf path = {0};
    segment_path(fix, &path);
    long size = file_size(path.data);
    for (long cut = 0; cut < size; cut += 1 + size / 41) {
        assert_int_equal(truncate(path.data, size - 1 - cut), 0);
        assert_int_equal(kp_verify(fix->dir, kp_io_threads(), on_found, NULL, fix, &report, NULL),
                         KP_CORRUPT);
    }
    assert_int_equal(unlink(path.data), 0);
    assert_int_equal(kp_verify(fix->dir, kp_io_threads(), on_found, NULL, fix, &report, NULL),
                     KP_CORRUPT);
    kp_buf_deinit(&path);
}

static void no_store_is_an_error(void **state)
{
    (void)state;
    struct kp_verify_report report;
    struct kp_error err = {0};
    assert_int_equal(
        kp_verify("/tmp/kprobe-nowhere", kp_io_threads(), NULL, NULL, NULL, &report, &err),
        KP_NOT_FOUND);
    assert_true(strlen(err.text) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_whole_store_is_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(every_changed_byte_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(a_missing_or_cut_segment_is_found, setup, teardown),
        cmocka_unit_test(no_store_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
