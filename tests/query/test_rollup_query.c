/* SPDX-License-Identifier: Apache-2.0
 *
 * Questions that rollups can answer, with them and without: the same bytes, for ranges that cut
 * segments and rows that are still in the log, by one thread and by several. Explain names them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "asked.h"
#include "rows.h"
#include "storage/io_sim.h"

#define DIR   "/store"
#define BEGIN (1700000000ll * KP_SEC)

static struct kp_sim *sim;
static struct kp_snapshot *snapshot;

static int setup(void **state)
{
    (void)state;
    static const char *const streams[] = {"syscall", "sched_switch", "spans"};
    struct kp_store *store = NULL;
    assert_int_equal(kp_sim_open(3, &sim), KP_OK);
    struct kp_store_opts opts = {.io = kp_sim_io(sim),
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
                           .names = 10,
                           .late_every = 40};
    for (uint32_t i = 0; i <= 24; i++) {
        for (size_t s = 0; s < KP_ARRAY_LEN(streams); s++) {
            struct kp_builder builder;
            const struct kp_stream *stream = kp_stream_by_name(kp_str_from(streams[s]));
            assert_int_equal(kp_builder_init(&builder, stream, gen.actors, 300), KP_OK);
            rows_fill(&gen, &builder, 300);
            int dur = kp_stream_stored(stream, "dur");
            struct kp_batch *batch = (struct kp_batch *)(uintptr_t)kp_builder_batch(&builder);
            for (uint32_t r = 0; dur >= 0 && r < batch->rows && i < 20; r++)
                batch->cols[dur].i64[r] %= KP_SEC; /* the last sums do not fit */
            assert_int_equal(kp_store_append(store, batch, NULL), KP_OK);
            kp_builder_deinit(&builder);
        }
        assert_int_equal(kp_store_tick(store, i + 1, i % 4 == 3), KP_OK);
    }
    assert_int_equal(kp_store_close(store, NULL), KP_OK);
    return kp_snapshot_open(DIR, kp_sim_io(sim), &snapshot, NULL) == KP_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    kp_snapshot_close(snapshot);
    kp_sim_close(sim);
    return 0;
}

/* The answer as text; rows that were read one by one. */
static uint64_t run(const char *text, uint32_t off, uint32_t threads, struct kp_buf *out)
{
    const struct kp_query_opts opts = {.threads = threads, .slice_rows = 700, .off = off};
    struct kp_error err = {0};
    struct kp_query_stat stat = {0};
    if (asked_text(snapshot, text, &opts, out, &stat, &err) != KP_END)
        fail_msg("%s: %s", text, err.text);
    return stat.rows_read;
}

/* True when rollups took part. */
static bool rolls(const char *text)
{
    bool took_part = false;
    struct kp_buf plain = {0}, rolled = {0};
    uint64_t all = run(text, KP_OFF_ROLLUPS, 1, &plain);
    for (uint32_t threads = 1; threads <= 3; threads++) {
        kp_buf_clear(&rolled);
        uint64_t rest = run(text, 0, threads, &rolled);
        if (strcmp(kp_buf_cstr(&plain), kp_buf_cstr(&rolled)) != 0)
            fail_msg("%s with %u threads\n%.900s\nrolled\n%.900s", text, threads,
                     kp_buf_cstr(&plain), kp_buf_cstr(&rolled));
        if (threads == 1)
            took_part = rest < all;
    }
    kp_buf_deinit(&plain);
    kp_buf_deinit(&rolled);
    return took_part;
}

static void answers_are_the_same(void **state)
{
    (void)state;
    static const char *const streams[] = {"syscall", "spans"};
    static const char *const rest[] = {
        "summarize count() by comm",
        "summarize sum(dur) by pid",
        "summarize n = count(), total = sum(dur), least = min(dur), most = max(dur) by cgroup",
        "summarize sum(dur), count()",
        "summarize count() by host, comm, tid",
        "summarize max(dur) by strcat(comm, '/', tid), pid % 2",
        "summarize count(), sum(dur) by comm | where count_ > 20 | sort by comm desc",
    };
    uint32_t cuts_rolled = 0;
    for (size_t s = 0; s < KP_ARRAY_LEN(streams); s++)
        for (size_t r = 0; r < KP_ARRAY_LEN(rest); r++) {
            char text[300];
            snprintf(text, sizeof(text), "%s | %s", streams[s], rest[r]);
            assert_true(rolls(text));
            for (int cut = 0; cut < 6; cut++) {
                long long from = BEGIN + cut * 3100000ll, to = BEGIN + 18000000ll + cut * 1700000ll;
                snprintf(text, sizeof(text),
                         "%s | where ts between (datetime(2023-11-14T22:13:20.%09lldZ) .. "
                         "datetime(2023-11-14T22:13:20.%09lldZ)) | %s",
                         streams[s], from - BEGIN, to - BEGIN, rest[r]);
                cuts_rolled += rolls(text);
            }
        }
    assert_true(rolls("sched_switch | summarize count() by comm"));
    assert_true(cuts_rolled > 20);
}

static void other_questions_read_rows(void **state)
{
    (void)state;
    assert_false(rolls("syscall | summarize count() by cpu"));
    assert_false(rolls("syscall | where cpu == 1 | summarize count() by comm"));
    assert_false(rolls("syscall | where comm == 'worker-1' | summarize sum(dur) by pid"));
    assert_false(rolls("syscall | summarize avg(dur) by comm"));
    assert_false(rolls("syscall | summarize countif(dur > 5ms) by comm"));
    assert_false(rolls("syscall | summarize count(), min(ts) by comm"));
    assert_false(rolls("syscall | extend x = dur * 2 | summarize sum(x) by comm"));
    assert_false(rolls("sched_switch | summarize count() by next_comm"));
    assert_false(rolls("syscall | summarize count() by comm, bin(dur, 1ms)"));
}

/* Bins are counted by searching times, also where a range or a window cuts a page; late rows lie in
 * segments that overlap, the last ones in the log. */
static void bins_are_counted(void **state)
{
    (void)state;
    static const char *const widths[] = {"1us", "90us", "1ms", "7ms", "1s"};
    struct kp_buf plain = {0}, counted = {0};
    for (size_t i = 0; i < 60; i++) {
        char text[300];
        snprintf(text, sizeof(text),
                 "%s | where ts between (datetime(2023-11-14T22:13:20.%09zuZ) .. %zums) "
                 "| summarize count() by bin(ts, %s)%s",
                 i % 2 == 0 ? "events" : "syscall", i * 371017, 1 + i * i % 31,
                 widths[i % KP_ARRAY_LEN(widths)], i % 4 == 0 ? ", kind" : "");
        kp_buf_clear(&plain);
        kp_buf_clear(&counted);
        run(text, KP_OFF_METADATA, 1, &plain);
        run(text, 0, 1 + (uint32_t)i % 3, &counted);
        assert_true(plain.size > 0);
        if (strcmp(kp_buf_cstr(&plain), kp_buf_cstr(&counted)) != 0)
            fail_msg("%s\n%.900s\ncounted\n%.900s", text, kp_buf_cstr(&plain),
                     kp_buf_cstr(&counted));
    }
    kp_buf_deinit(&plain);
    kp_buf_deinit(&counted);
}

static void explain_names_them(void **state)
{
    (void)state;
    struct kp_buf out = {0};
    run("explain syscall | summarize sum(dur) by comm", 0, 1, &out);
    assert_non_null(strstr(kp_buf_cstr(&out), "whole segments from rollups"));
    kp_buf_clear(&out);
    run("explain syscall | summarize sum(dur) by comm", KP_OFF_ROLLUPS, 1, &out);
    assert_null(strstr(kp_buf_cstr(&out), "rollups"));
    kp_buf_clear(&out);
    run("explain events | summarize count() by bin(ts, 1ms), kind", 0, 1, &out);
    assert_non_null(strstr(kp_buf_cstr(&out), "bins found by search"));
    kp_buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_the_same),
        cmocka_unit_test(other_questions_read_rows),
        cmocka_unit_test(bins_are_counted),
        cmocka_unit_test(explain_names_them),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
