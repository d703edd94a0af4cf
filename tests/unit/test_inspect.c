/* SPDX-License-Identifier: Apache-2.0
 *
 * Inspect tells what is in any file of a store, says so when something in it is damaged, and still
 * tells of the rest.
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
    char names[16][64]; /* files below dir */
    uint32_t names_count;
    const char *folder; /* being listed */
};

static void add_name(void *ctx, const char *name)
{
    struct fixture *fix = ctx;
    if (strcmp(name, "seg") == 0 || strcmp(name, "wal") == 0 || strcmp(name, "txn") == 0)
        return;
    assert_true(fix->names_count < KP_ARRAY_LEN(fix->names));
    snprintf(fix->names[fix->names_count++], sizeof(fix->names[0]), "%s%s", fix->folder, name);
}

static void list_all(struct fixture *fix)
{
    static const char *const folders[] = {"", "seg/", "wal/", "txn/"};
    const struct kp_io *io = kp_io_threads();
    for (size_t i = 0; i < KP_ARRAY_LEN(folders); i++) {
        char path[96];
        snprintf(path, sizeof(path), "%s/%s", fix->dir, folders[i]);
        fix->folder = folders[i];
        assert_int_equal(io->list(io, path, add_name, fix), 0);
    }
}

static int setup(void **state)
{
    static const struct kp_store_opts small = {
        .manual = true, .segment_bytes_max = 16 * 1024, .wal_file_bytes = 128 * 1024};
    struct fixture *fix = calloc(1, sizeof(*fix));
    folder_make("inspect", fix->dir);
    struct kp_store *store;
    assert_int_equal(kp_store_open(fix->dir, &small, &store, NULL), KP_OK);
    struct rows_gen gen = {.seed = 4,
                           .actors = kp_store_actors(store),
                           .now = 1700000000ll * KP_SEC,
                           .cpus = 2,
                           .threads = 20,
                           .names = 10};
    for (int i = 0; i < 4; i++) {
        struct kp_builder builder;
        assert_int_equal(
            kp_builder_init(&builder, kp_stream_by_name(KP_STR("spans")), gen.actors, 200), KP_OK);
        rows_fill(&gen, &builder, 200);
        assert_int_equal(kp_store_append(store, kp_builder_batch(&builder), NULL), KP_OK);
        assert_int_equal(kp_store_tick(store, kp_time_monotonic(), i < 3), KP_OK);
        kp_builder_deinit(&builder);
    }
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    list_all(fix);
    *state = fix;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fix = *state;
    assert_int_equal(folder_remove(fix->dir), 0);
    free(fix);
    return 0;
}

/* First file whose name contains part. */
static void path_of(const struct fixture *fix, const char *part, char out[160])
{
    for (uint32_t i = 0; i < fix->names_count; i++) {
        if (strstr(fix->names[i], part) == NULL)
            continue;
        snprintf(out, 160, "%s/%s", fix->dir, fix->names[i]);
        return;
    }
    fail_msg("no file with %s in its name", part);
}

static char *inspect(const char *path)
{
    struct kp_buf out = {0};
    struct kp_error err = {0};
    kp_status status = kp_inspect(path, &out, &err);
    if (status != KP_OK)
        fail_msg("%s: %s", path, err.text);
    kp_buf_cstr(&out);
    return out.data;
}

static void assert_tells(const char *path, const char *what)
{
    char *text = inspect(path);
    if (strstr(text, what) == NULL)
        fail_msg("%s does not tell \"%s\":\n%s", path, what, text);
    free(text);
}

static void every_kind_of_file_is_told(void **state)
{
    struct fixture *fix = *state;
    char path[160];
    path_of(fix, ".kpt", path);
    assert_tells(path, "of the transaction index");
    assert_tells(path, ": whole");
    path_of(fix, "manifest.", path);
    assert_tells(path, "of the transaction index: segments");
    path_of(fix, ".kps", path);
    assert_tells(path, "footer whole");
    assert_tells(path, "exact index of spans.txn");
    assert_tells(path, "bytes a row");
    path_of(fix, ".kpw", path);
    assert_tells(path, "log file");
    path_of(fix, "manifest.", path);
    assert_tells(path, "segment 0000000000000001: log records 1..");
    path_of(fix, "super", path);
    assert_tells(path, "generation");
}

static void damage_is_said_and_the_rest_told(void **state)
{
    struct fixture *fix = *state;
    char path[160];
    path_of(fix, ".kps", path);
    file_flip(path, KPI_SEGMENT_HEADER + 200, 0x40);
    assert_tells(path, "DAMAGED");
    assert_tells(path, "exact index of spans.txn");
    file_flip(path, KPI_SEGMENT_HEADER + 200, 0x40);
    path_of(fix, "manifest.", path);
    file_flip(path, 600, 0x40);
    assert_tells(path, "DAMAGED");
    assert_tells(path, "base of store");
    file_flip(path, 600, 0x40);
    path_of(fix, "super", path);
    file_flip(path, 20, 0x40);
    assert_tells(path, "DAMAGED");
    file_flip(path, 20, 0x40);
}

static void a_segment_without_footer_shows_its_blocks(void **state)
{
    struct fixture *fix = *state;
    char path[160];
    path_of(fix, ".kps", path);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    fclose(file);
    assert_int_equal(truncate(path, size - 10), 0);
    assert_tells(path, "DAMAGED");
    assert_tells(path, ": spans, ");
}

static void no_length_is_too_short(void **state)
{
    struct fixture *fix = *state;
    for (uint32_t i = 0; i < fix->names_count; i++) {
        char path[160];
        snprintf(path, sizeof(path), "%s/%s", fix->dir, fix->names[i]);
        static const long sizes[] = {5000, 4097, 4096, 600, 128, 64, 63, 56, 17, 1, 0};
        for (size_t s = 0; s < KP_ARRAY_LEN(sizes); s++) {
            struct kp_buf out = {0};
            struct kp_error err = {0};
            assert_int_equal(truncate(path, sizes[s]), 0);
            kp_status status = kp_inspect(path, &out, &err);
            assert_true(status == KP_OK || (status == KP_INVALID && strlen(err.text) > 0));
            kp_buf_deinit(&out);
        }
    }
}

static void other_files_are_refused(void **state)
{
    (void)state;
    struct kp_buf out = {0};
    struct kp_error err = {0};
    assert_int_equal(kp_inspect("/proc/self/cmdline", &out, &err), KP_INVALID);
    assert_int_equal(kp_inspect("/tmp/kprobe-nowhere", &out, &err), KP_NOT_FOUND);
    assert_true(strlen(err.text) > 0);
    kp_buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_kind_of_file_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_is_said_and_the_rest_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_segment_without_footer_shows_its_blocks, setup, teardown),
        cmocka_unit_test_setup_teardown(no_length_is_too_short, setup, teardown),
        cmocka_unit_test(other_files_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
