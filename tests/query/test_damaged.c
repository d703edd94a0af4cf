/* SPDX-License-Identifier: Apache-2.0
 *
 * One byte of a store is wrong, and a question is asked that needs no rows: counts by footers, by
 * bins, by actors and by rollups. It must say of the damage what the same question says that reads
 * every row, and answer with the same bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "query/query.h"
#include "rows.h"
#include "storage/io_sim.h"
#include "storage/snapshot.h"

#define DIR   "/store"
#define BEGIN (1700000000ll * KP_SEC)

static const char *const streams[] = {"syscall", "sched_switch", "spans"};
static const char *const questions[] = {
    "syscall | count",
    "syscall | summarize count() by pid",
    "syscall | summarize sum(dur), max(dur) by comm",
    "syscall | summarize count() by bin(ts, 1ms)",
    "sched_switch | summarize count() by pid",
    "spans | summarize count() by comm",
    "events | count",
    "events | summarize count() by comm",
    "events | summarize count() by kind",
    "events | summarize count() by bin(ts, 1s), kind",
};

static struct kp_sim *whole;

static int setup(void **state)
{
    (void)state;
    struct kp_store *store = NULL;
    assert_int_equal(kp_sim_open(3, &whole), KP_OK);
    struct kp_store_opts opts = {.io = kp_sim_io(whole),
                                 .manual = true,
                                 .memory_bytes_max = 1 << 20,
                                 .wal_file_bytes = 512 << 10,
                                 .id_seed = 7};
    assert_int_equal(kp_store_open(DIR, &opts, &store, NULL), KP_OK);
    struct rows_gen gen = {.seed = 8,
                           .actors = kp_store_actors(store),
                           .now = BEGIN,
                           .cpus = 3,
                           .threads = 30,
                           .names = 10};
    for (uint32_t i = 0; i < 6; i++) {
        for (size_t s = 0; s < KP_ARRAY_LEN(streams); s++) {
            struct kp_builder builder;
            const struct kp_stream *stream = kp_stream_by_name(kp_str_from(streams[s]));
            assert_int_equal(kp_builder_init(&builder, stream, gen.actors, 200), KP_OK);
            rows_fill(&gen, &builder, 200);
            int dur = kp_stream_stored(stream, "dur");
            struct kp_batch *batch = (struct kp_batch *)(uintptr_t)kp_builder_batch(&builder);
            for (uint32_t r = 0; dur >= 0 && r < batch->rows; r++)
                batch->cols[dur].i64[r] %= KP_SEC;
            assert_int_equal(kp_store_append(store, batch, NULL), KP_OK);
            kp_builder_deinit(&builder);
        }
        assert_int_equal(kp_store_tick(store, i + 1, i % 2 == 1), KP_OK);
    }
    return kp_store_close(store, NULL) == KP_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    kp_sim_close(whole);
    return 0;
}

static bool begins(struct kp_str text, struct kp_str with)
{
    return text.len >= with.len && memcmp(text.ptr, with.ptr, with.len) == 0;
}

/* The answer and what is said beside it, on a snapshot of its own. */
static void ask(struct kp_sim *sim, const char *text, uint32_t off, struct kp_buf *out,
                bool *out_damage)
{
    const struct kp_query_opts opts = {.threads = 1, .off = off};
    struct kp_snapshot *snapshot = NULL;
    struct kp_query *query = NULL;
    const struct kp_batch *batch;
    const struct kp_str *notes;
    struct kp_error err = {0};
    assert_int_equal(kp_snapshot_open(DIR, kp_sim_io(sim), &snapshot, NULL), KP_OK);
    kp_status status = kp_query_open(snapshot, kp_str_from(text), &opts, &query, &err);
    while (status == KP_OK && (status = kp_query_next(query, &batch, &err)) == KP_OK)
        for (uint32_t i = 0; i < kp_batch_count(batch); i++)
            for (uint32_t c = 0; c < batch->cols_count; c++) {
                const struct kp_vec *vec = &batch->cols[c];
                uint32_t row = kp_batch_row(batch, i);
                if (kp_type_phys(vec->type) == KP_PHYS_STR)
                    kp_buf_str(out, kp_vec_str(vec, row));
                else
                    kp_buf_printf(out, "%lld", (long long)vec->i64[row]);
                kp_buf_char(out, c + 1 == batch->cols_count ? '\n' : ' ');
            }
    if (status != KP_END)
        fail_msg("%s: %s", text, err.text);
    *out_damage = false;
    uint32_t count = kp_query_notes(query, &notes);
    for (uint32_t i = 0; i < count; i++) {
        kp_buf_printf(out, "note: %.*s\n", (int)notes[i].len, notes[i].ptr);
        *out_damage |= begins(notes[i], KP_STR("damage was skipped"));
    }
    kp_query_close(query);
    kp_snapshot_close(snapshot);
}

/* True when the question meets the damage. */
static bool agrees(struct kp_sim *sim, const char *text, const char *what)
{
    struct kp_buf read = {0}, counted = {0};
    bool read_tells, counted_tells;
    ask(sim, text, KP_OFF_METADATA | KP_OFF_ROLLUPS, &read, &read_tells);
    ask(sim, text, 0, &counted, &counted_tells);
    if (strcmp(kp_buf_cstr(&read), kp_buf_cstr(&counted)) != 0)
        fail_msg("%s, %s\nread\n%.900s\ncounted\n%.900s", text, what, kp_buf_cstr(&read),
                 kp_buf_cstr(&counted));
    kp_buf_deinit(&read);
    kp_buf_deinit(&counted);
    return counted_tells;
}

struct places {
    uint64_t offsets[256];
    uint32_t sizes[256];
    uint32_t count;
};

/* Where the blocks of the second segment lie. */
static void places_find(struct places *out)
{
    struct kp_snapshot *snapshot = NULL;
    struct kp_io_queue *queue = NULL;
    const struct kp_io *io = kp_sim_io(whole);
    assert_int_equal(kp_snapshot_open(DIR, io, &snapshot, NULL), KP_OK);
    assert_int_equal(io->queue_open(io, 2, &queue), 0);
    const struct kpi_segment *segment = kpi_snapshot_segment(snapshot, 1, queue);
    assert_non_null(segment);
    for (uint32_t b = 0; b < segment->footer.blocks_count && b < 256; b++) {
        out->offsets[b] = segment->footer.blocks[b].offset;
        out->sizes[b] = segment->footer.blocks[b].size;
        out->count++;
    }
    io->queue_close(queue);
    kp_snapshot_close(snapshot);
}

static void flipped_bytes_are_told_of(void **state)
{
    (void)state;
    struct places places = {0};
    uint32_t told[KP_ARRAY_LEN(questions)] = {0};
    places_find(&places);
    assert_true(places.count >= 4);
    for (uint32_t b = 0; b < places.count; b++) {
        struct kp_sim *sim = kp_sim_clone(whole, b);
        char what[80];
        size_t size = 0;
        uint8_t *bytes = kp_sim_file(sim, DIR "/seg/0000000000000002.kps", &size);
        assert_non_null(bytes);
        bytes[places.offsets[b] + places.sizes[b] / 2] ^= 4;
        snprintf(what, sizeof(what), "block %u", b);
        for (size_t q = 0; q < KP_ARRAY_LEN(questions); q++)
            told[q] += agrees(sim, questions[q], what);
        kp_sim_close(sim);
    }
    for (size_t q = 0; q < KP_ARRAY_LEN(questions); q++)
        if (told[q] == 0)
            fail_msg("%s never tells of damage", questions[q]);
    assert_true(told[0] < places.count); /* of other streams' blocks it need not */
}

/* What is not read because it cannot be: the same. */
static void sectors_that_do_not_read_are_told_of(void **state)
{
    (void)state;
    struct places places = {0};
    uint32_t told = 0;
    places_find(&places);
    for (uint32_t b = 0; b < places.count; b++)
        for (size_t q = 0; q < KP_ARRAY_LEN(questions); q++) {
            struct kp_buf out = {0};
            struct kp_sim *sim = kp_sim_clone(whole, b);
            bool tells;
            kp_sim_rot(sim, DIR "/seg/0000000000000002.kps",
                       places.offsets[b] + places.sizes[b] / 2, 1);
            ask(sim, questions[q], 0, &out, &tells);
            told += tells;
            kp_buf_deinit(&out);
            kp_sim_close(sim);
        }
    assert_true(told >= places.count * 2);
}

/* More than a snapshot checks is counted, and that is said. */
static void what_is_not_checked_is_told(void **state)
{
    (void)state;
    struct kp_snapshot *snapshot = NULL;
    assert_int_equal(kp_snapshot_open(DIR, kp_sim_io(whole), &snapshot, NULL), KP_OK);
    assert_int_equal(kp_snapshot_unchecked(snapshot), 0);
    atomic_store(&snapshot->sound_left, 0);
    struct kp_query *query = NULL;
    const struct kp_batch *batch;
    const struct kp_str *notes;
    assert_int_equal(
        kp_query_open(snapshot, KP_STR("syscall | summarize count() by pid"), NULL, &query, NULL),
        KP_OK);
    while (kp_query_next(query, &batch, NULL) == KP_OK)
        continue;
    assert_int_equal(kp_snapshot_unchecked(snapshot), 3);
    assert_int_equal(kp_query_notes(query, &notes), 1);
    assert_true(begins(notes[0], KP_STR("rows of 3 segments were counted as recorded")));
    kp_query_close(query);
    kp_snapshot_close(snapshot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flipped_bytes_are_told_of),
        cmocka_unit_test(sectors_that_do_not_read_are_told_of),
        cmocka_unit_test(what_is_not_checked_is_told),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
