/* SPDX-License-Identifier: Apache-2.0
 *
 * Files are read for ever. tests/golden/N is a store as a program of segment format N wrote it:
 * cold and sealed segments and a log, with rows of every stream; tests/golden/N.csv is what it
 * held, row by row, columns that are 0 or empty left out. A column that is added to the catalogue
 * later is absent in both.
 *
 * Columns that the writer lacked are 0 or empty; those it has more are passed over.
 *
 * KP_GOLDEN=FOLDER makes FOLDER and FOLDER.csv with the present program, for the next format.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "rows.h"
#include "storage/format_page.h"
#include "storage/storage.h"
#include "storage/storage_int.h"

#define GOLDEN  "tests/golden"
#define OLDEST  3u /* the first that was released */
#define ROWS    10u
#define TICKING 2000u

/* ---------- a store as text ---------- */

static void value_text(const struct kp_stored_column *column, const struct kp_batch *batch,
                       uint32_t col, uint32_t row, struct kp_buf *out)
{
    const struct kp_vec *vec = &batch->cols[col];
    if (kp_type_phys(column->type) == KP_PHYS_STR) {
        struct kp_str text = kp_vec_str(vec, row);
        if (text.len > 0)
            kp_buf_printf(out, ",%s=%.*s", column->name, (int)text.len, text.ptr);
    } else if (column->type == KP_TYPE_ACTOR) {
        const struct kp_actor *who = kp_actors_get(batch->actors, (kp_actor_id)vec->i64[row]);
        if (vec->i64[row] != KP_ACTOR_UNKNOWN)
            kp_buf_printf(out, ",%s=%.*s/%" PRId64 "/%" PRId64 "/%" PRId64 "/%.*s/%.*s/%d",
                          column->name, (int)who->host.len, who->host.ptr, (int64_t)who->tid,
                          (int64_t)who->pid, (int64_t)who->start, (int)who->comm.len, who->comm.ptr,
                          (int)who->cgroup.len, who->cgroup.ptr, who->kthread);
    } else if (vec->i64[row] != 0) {
        kp_buf_printf(out, ",%s=%" PRId64, column->name, vec->i64[row]);
    }
}

static void stream_text(struct kp_snapshot *snapshot, const struct kp_stream *stream,
                        struct kp_buf *out)
{
    struct kp_colref cols[KP_STORED_MAX];
    struct kp_scan_req req = {.stream = stream,
                              .from = KP_TIME_MIN,
                              .to = KP_TIME_MAX,
                              .cols = cols,
                              .cols_count = stream->stored_count};
    struct kp_scan *scan;
    const struct kp_batch *found;
    for (uint32_t c = 0; c < stream->stored_count; c++)
        cols[c] = (struct kp_colref){.stored = (uint8_t)c, .attr = KP_ATTR_SELF};
    assert_int_equal(kp_scan_open(snapshot, &req, &scan, NULL), KP_OK);
    while (kp_scan_next(scan, &found, NULL) == KP_OK) {
        struct kp_batch batch = *found;
        batch.actors = kp_snapshot_actors(snapshot);
        for (uint32_t row = 0; row < batch.rows; row++) {
            kp_buf_printf(out, "%s", stream->name);
            for (uint32_t c = 0; c < stream->stored_count; c++)
                value_text(&stream->stored[c], &batch, c, row, out);
            kp_buf_char(out, '\n');
        }
    }
    kp_scan_close(scan);
}

static void store_text(const char *dir, struct kp_buf *out)
{
    struct kp_snapshot *snapshot;
    const struct kp_damage *damage;
    uint32_t count;
    const struct kp_stream *streams = kp_streams(&count);
    assert_int_equal(kp_snapshot_open(dir, NULL, &snapshot, NULL), KP_OK);
    for (uint32_t s = 0; s < count; s++)
        stream_text(snapshot, &streams[s], out);
    assert_int_equal(kp_snapshot_damage(snapshot, &damage), 0);
    kp_snapshot_close(snapshot);
}

/* ---------- old stores ---------- */

static void file_text(const char *path, struct kp_buf *out)
{
    char part[4096];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (size_t got; (got = fread(part, 1, sizeof(part), file)) > 0;)
        kp_buf_add(out, part, got);
    fclose(file);
}

static void texts_equal(const char *a, const char *b)
{
    for (uint32_t line = 1; *a != '\0' || *b != '\0'; line++) {
        size_t x = strcspn(a, "\n"), y = strcspn(b, "\n");
        if (x != y || memcmp(a, b, x) != 0)
            fail_msg("line %u: stored \"%.*s\", expected \"%.*s\"", line, (int)x, a, (int)y, b);
        a += x + (a[x] != '\0');
        b += y + (b[y] != '\0');
    }
}

static void every_format_reads_as_it_was_written(void **state)
{
    (void)state;
    for (uint32_t version = OLDEST; version <= KPI_SEGMENT_VERSION; version++) {
        struct kp_buf stored = {0}, expected = {0};
        struct kp_verify_report report;
        char dir[64], csv[80];
        snprintf(dir, sizeof(dir), GOLDEN "/%u", version);
        snprintf(csv, sizeof(csv), "%s.csv", dir);
        store_text(dir, &stored);
        file_text(csv, &expected);
        texts_equal(kp_buf_cstr(&stored), kp_buf_cstr(&expected));
        assert_int_equal(kp_verify(dir, NULL, NULL, NULL, NULL, &report, NULL), KP_OK);
        assert_true(report.rows > 0);
        kp_buf_deinit(&stored);
        kp_buf_deinit(&expected);
    }
}

/* ---------- catalogues that differ ---------- */

/* Rows of a stream as a program wrote them whose catalogue has `columns` stored columns of it. */
static void write_and_read(uint32_t columns, struct kp_arena *arena, struct kp_batch *out)
{
    const struct kp_stream *stream = kp_stream_by_number(KP_S_SYSCALL);
    struct kp_stored_column stored[KP_STORED_MAX];
    struct kp_stream other = *stream;
    struct kp_vec cols[KP_STORED_MAX];
    struct kp_builder builder;
    struct kp_buf bytes = {0};
    struct kp_actors *actors;
    assert_int_equal(kp_actors_init(&actors), KP_OK);
    assert_int_equal(kp_builder_init(&builder, stream, actors, ROWS), KP_OK);
    for (uint32_t row = 0; row < ROWS; row++) {
        kp_builder_row(&builder, row, row, 0, KP_ACTOR_UNKNOWN);
        for (uint32_t c = KP_COL_FIRST; c < stream->stored_count; c++)
            kp_builder_i64(&builder, c, 100 * c + row);
    }
    struct kp_batch batch = *kp_builder_batch(&builder);
    for (uint32_t c = 0; c < columns; c++) {
        cols[c] = batch.cols[KP_MIN(c, stream->stored_count - 1)];
        stored[c] = stream->stored[KP_MIN(c, stream->stored_count - 1)];
    }
    other.stored = stored;
    other.stored_count = batch.cols_count = columns;
    batch.stream = &other;
    batch.cols = cols;
    assert_int_equal(kpi_block_encode(&batch, KPI_LEVEL_SEALED, &bytes), KP_OK);
    assert_int_equal(kpi_block_decode(bytes.data, bytes.size, UINT64_MAX, actors, arena, out),
                     KP_OK);
    assert_ptr_equal(out->stream, stream);
    assert_int_equal(out->rows, ROWS);
    kp_buf_deinit(&bytes);
    kp_builder_deinit(&builder);
    kp_actors_deinit(actors);
}

static void columns_of_other_catalogues(void **state)
{
    (void)state;
    uint32_t known = kp_stream_by_number(KP_S_SYSCALL)->stored_count;
    for (uint32_t columns = KP_COL_FIRST; columns <= known + 2; columns++) {
        struct kp_arena arena = {0};
        struct kp_batch batch;
        write_and_read(columns, &arena, &batch);
        assert_int_equal(batch.cols_count, known);
        for (uint32_t c = KP_COL_FIRST; c < known; c++) /* what the writer lacked is 0 */
            for (uint32_t row = 0; row < ROWS; row++)
                assert_int_equal(batch.cols[c].i64[row], c < columns ? 100 * c + row : 0);
        kp_arena_deinit(&arena);
    }
}

/* A stream that this program does not know is told of as a newer program's, not as damage. */
static void streams_of_newer_catalogues(void **state)
{
    (void)state;
    struct kp_builder builder;
    struct kp_buf bytes = {0};
    struct kp_actors *actors;
    struct kpi_block_info info;
    assert_int_equal(kp_actors_init(&actors), KP_OK);
    assert_int_equal(kp_builder_init(&builder, kp_stream_by_number(KP_S_SIGNAL), actors, 1), KP_OK);
    kp_builder_row(&builder, 1, 1, 0, KP_ACTOR_UNKNOWN);
    struct kp_batch batch = *kp_builder_batch(&builder);
    struct kp_stream newer = *batch.stream;
    newer.number = KP_STREAM_MAX - 1;
    batch.stream = &newer;
    assert_int_equal(kpi_block_encode(&batch, KPI_LEVEL_SEALED, &bytes), KP_OK);
    assert_int_equal(kpi_block_peek(bytes.data, bytes.size, &info), KP_VERSION);
    kp_buf_deinit(&bytes);
    kp_builder_deinit(&builder);
    kp_actors_deinit(actors);
}

/* ---------- a new one ---------- */

static void rows_append(struct kp_store *store, struct rows_gen *gen)
{
    uint32_t count;
    const struct kp_stream *streams = kp_streams(&count);
    for (uint32_t s = 0; s < count; s++) {
        struct kp_builder builder;
        assert_int_equal(kp_builder_init(&builder, &streams[s], gen->actors, ROWS), KP_OK);
        gen->seq = kp_store_seq(store, ROWS);
        if (streams[s].number == KP_S_SPANS)
            rows_spans(gen, &builder, ROWS);
        else
            rows_fill(gen, &builder, ROWS);
        assert_int_equal(kp_store_append(store, kp_builder_batch(&builder), NULL), KP_OK);
        kp_builder_deinit(&builder);
    }
}

/* Calls on one CPU whose clock ticks every 10.015 ns. */
static void ticks_append(struct kp_store *store, struct rows_gen *gen)
{
    const struct kp_stream *calls = kp_stream_by_number(KP_S_SYSCALL);
    struct kp_builder builder;
    uint64_t tick = 100000;
    assert_int_equal(kp_builder_init(&builder, calls, gen->actors, TICKING), KP_OK);
    gen->seq = kp_store_seq(store, TICKING);
    for (uint32_t row = 0; row < TICKING; row++) {
        tick += 1 + rows_below(gen, row % 3 == 0 ? 2000 : 40);
        uint64_t end = tick * 10015 / 1000;
        uint64_t begin = (tick - 1 - rows_below(gen, 900)) * 10015 / 1000;
        kp_builder_row(&builder, gen->now + (kp_time)end, gen->seq++, 0, KP_ACTOR_UNKNOWN);
        kp_builder_i64(&builder, (uint32_t)kp_stream_stored(calls, "dur"), (int64_t)(end - begin));
    }
    assert_int_equal(kp_store_append(store, kp_builder_batch(&builder), NULL), KP_OK);
    kp_builder_deinit(&builder);
}

/* Cold, sealed twice with what lies in the index of transactions, and a log. */
static void store_make(const char *dir)
{
    struct kp_store_opts opts = {
        .manual = true, .id_seed = 7, .wal_file_bytes = 1 << 18, .memory_bytes_max = 16 << 20};
    struct kp_store *store;
    struct kp_error err;
    assert_int_equal(kp_store_open(dir, &opts, &store, &err), KP_OK);
    struct rows_gen gen = {.seed = 11,
                           .actors = kp_store_actors(store),
                           .now = 1700000000ll * KP_SEC,
                           .cpus = 3,
                           .threads = 40,
                           .names = 12};
    for (int64_t part = 0; part < 3; part++) {
        rows_append(store, &gen);
        if (part == 0)
            ticks_append(store, &gen);
        assert_int_equal(kp_store_tick(store, 2 * part * KP_SEC, true), KP_OK);
        assert_int_equal(kp_store_tick(store, (2 * part + 1) * KP_SEC, false), KP_OK);
        if (part == 0)
            assert_int_equal(kp_store_compact(store, &err), KP_OK);
    }
    rows_append(store, &gen);
    assert_int_equal(kp_store_close(store, &err), KP_OK);
}

static int golden_make(const char *dir)
{
    struct kp_buf text = {0};
    char csv[200];
    store_make(dir);
    store_text(dir, &text);
    snprintf(csv, sizeof(csv), "%s.csv", dir);
    FILE *file = fopen(csv, "w");
    bool whole = file != NULL && fwrite(text.data, 1, text.size, file) == text.size;
    whole = file != NULL && fclose(file) == 0 && whole;
    kp_buf_deinit(&text);
    return whole ? 0 : 1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_of_other_catalogues),
        cmocka_unit_test(streams_of_newer_catalogues),
        cmocka_unit_test(every_format_reads_as_it_was_written),
    };
    if (getenv("KP_GOLDEN") != NULL)
        return golden_make(getenv("KP_GOLDEN"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
