/* SPDX-License-Identifier: Apache-2.0
 *
 * The recorder from a source that the test plays to a store in memory: order, identity, gaps, the
 * rows about the recording itself, and stores that fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "bpf/event.h"
#include "fake_store.h"
#include "ingest/source.h"

/* --- the source: spans the test queued, handed out one by one --- */

#define SPANS_MAX 64

struct kp_source {
    pthread_mutex_t lock;
    struct kp_buf spans[SPANS_MAX];
    uint32_t count, taken;
    int64_t complete;
    bool stopped;
    struct kp_source_loss losses[2];
    struct kp_source_stat stat;
    struct kp_kind_state kinds[2];
    uint32_t bound;
};

static struct kp_source source;
static kp_status open_status;

kp_status kp_source_open(const struct kp_recorder_opts *opts, struct kp_source **out,
                         struct kp_error *err)
{
    if (open_status != KP_OK)
        return kp_error_set(err, open_status, "no right to load programs");
    bool waking = (opts->kinds >> KP_S_SCHED_WAKING & 1) != 0;
    source.kinds[0] = (struct kp_kind_state){kp_stream_by_number(KP_S_SCHED_SWITCH), true, "ok"};
    source.kinds[1] = (struct kp_kind_state){.stream = kp_stream_by_number(KP_S_SCHED_WAKING)};
    snprintf(source.kinds[1].why, sizeof(source.kinds[1].why), "%s",
             waking ? "no such tracepoint" : "switched off");
    *out = &source;
    return KP_OK;
}

kp_status kp_source_scan(struct kp_source *src, kp_source_sink sink, void *ctx,
                         struct kp_error *err)
{
    (void)src;
    (void)err;
    struct kp_record_TASK task = {.head = {.mono = (u64)kp_time_monotonic(),
                                           .tid = 7,
                                           .tgid = 7,
                                           .kind = KP_STREAM_TASK,
                                           .version = KP_RECORD_VERSION},
                                  .start_boot = 99};
    snprintf(task.name, sizeof(task.name), "ledger");
    sink(ctx, &task, sizeof(task));
    sink(ctx, &task, 5);
    return KP_OK;
}

kp_status kp_source_take(struct kp_source *src, kp_dur timeout, struct kp_source_span *out)
{
    pthread_mutex_lock(&src->lock);
    bool empty = src->taken == src->count, end = empty && src->stopped;
    struct kp_buf *span = &src->spans[src->taken];
    *out = (struct kp_source_span){.bytes = empty ? NULL : span->data,
                                   .size_bytes = empty ? 0 : span->size,
                                   .complete = src->taken + 1 >= src->count ? src->complete : 0};
    pthread_mutex_unlock(&src->lock);
    if (empty && !end)
        nanosleep(&(struct timespec){.tv_nsec = KP_MIN(timeout, KP_MS)}, NULL);
    return end ? KP_END : KP_OK;
}

void kp_source_release(struct kp_source *src, size_t size_bytes)
{
    pthread_mutex_lock(&src->lock);
    if (size_bytes > 0)
        kp_buf_deinit(&src->spans[src->taken++]);
    pthread_mutex_unlock(&src->lock);
}

kp_status kp_source_bind(struct kp_source *src, uint32_t pid, bool bound)
{
    (void)pid;
    src->bound += bound;
    return KP_OK;
}

uint32_t kp_source_lost(struct kp_source *src, struct kp_source_loss *out, uint32_t out_max)
{
    assert_true(out_max >= 2);
    memcpy(out, src->losses, sizeof(src->losses));
    return 2;
}

uint32_t kp_source_kinds(struct kp_source *src, const struct kp_kind_state **out)
{
    *out = src->kinds;
    return 2;
}

void kp_source_stat(struct kp_source *src, struct kp_source_stat *out)
{
    pthread_mutex_lock(&src->lock);
    *out = src->stat;
    pthread_mutex_unlock(&src->lock);
}

void kp_source_stop(struct kp_source *src)
{
    pthread_mutex_lock(&src->lock);
    src->stopped = true;
    pthread_mutex_unlock(&src->lock);
}

void kp_source_close(struct kp_source *src)
{
    (void)src;
}

/* --- the test --- */

static struct kp_store *store;

static int set_up(void **state)
{
    (void)state;
    memset(&source, 0, sizeof(source));
    pthread_mutex_init(&source.lock, NULL);
    source.complete = INT64_MAX;
    open_status = KP_OK;
    store = fake_open();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < source.count; i++)
        kp_buf_deinit(&source.spans[i]);
    fake_close(store);
    return 0;
}

static void frame(struct kp_buf *span, const void *record, size_t size)
{
    struct kp_source_frame head = {.size = (uint32_t)size};
    static const uint8_t zeros[8];
    size_t before = span->size;
    kp_buf_add(span, &head, sizeof(head));
    kp_buf_add(span, record, size);
    kp_buf_add(span, zeros, before + KP_SOURCE_STEP(size) - span->size);
}

static struct kp_record_SCHED_SWITCH a_switch(int64_t mono, uint32_t cpu, uint32_t lost)
{
    return (struct kp_record_SCHED_SWITCH){.head = {.mono = (u64)mono,
                                                    .tid = 7,
                                                    .tgid = 7,
                                                    .lost = lost,
                                                    .cpu = (u16)cpu,
                                                    .kind = KP_STREAM_SCHED_SWITCH,
                                                    .version = KP_RECORD_VERSION},
                                           .next = 7};
}

static void add_switch(struct kp_buf *span, int64_t mono, uint32_t cpu, uint32_t lost)
{
    struct kp_record_SCHED_SWITCH record = a_switch(mono, cpu, lost);
    frame(span, &record, sizeof(record));
}

static void queue(struct kp_buf *span)
{
    pthread_mutex_lock(&source.lock);
    source.spans[source.count++] = *span;
    pthread_mutex_unlock(&source.lock);
    memset(span, 0, sizeof(*span));
}

static struct kp_recorder *start(void)
{
    struct kp_recorder *recorder;
    struct kp_error err = {0};
    assert_int_equal(kp_recorder_start(store, NULL, &recorder, &err), KP_OK);
    return recorder;
}

static struct kp_recorder_stat stop(struct kp_recorder *recorder, kp_status expected)
{
    struct kp_recorder_stat stat;
    struct kp_error err = {0};
    assert_int_equal(kp_recorder_stop(recorder, &stat, &err), expected);
    assert_int_equal(err.code, expected);
    return stat;
}

static void a_recording_tells_of_itself(void **state)
{
    (void)state;
    stop(start(), KP_OK);
    const struct fake_row *row = fake_row(store, KP_S_CAPTURE, 0);
    assert_int_equal(fake_i64(row, "op"), 0);
    assert_string_not_equal(fake_str(row, "kernel"), "");
    assert_true(fake_i64(row, "cpus") > 0);
    static const struct {
        const char *stream;
        int64_t state;
    } kinds[] = {{"sched_switch", 1}, {"sched_waking", 2}, {"cgroup_stat", 1}};
    for (uint32_t i = 0; i < KP_ARRAY_LEN(kinds); i++) {
        row = fake_row(store, KP_S_CAPTURE, 1 + i);
        assert_int_equal(fake_i64(row, "op"), 2);
        assert_string_equal(fake_str(row, "stream"), kinds[i].stream);
        assert_int_equal(fake_i64(row, "state"), kinds[i].state);
        assert_string_not_equal(fake_str(row, "why"), "");
    }
    assert_int_equal(fake_i64(fake_row(store, KP_S_CAPTURE, 4), "op"), 1);
    assert_null(fake_row(store, KP_S_CAPTURE, 5));
    assert_int_equal(fake_actor(store, row, "actor")->pid, getpid());
    assert_true(fake_count(store, KP_S_CLOCK) >= 2);
    row = fake_row(store, KP_S_CLOCK, 0);
    assert_int_equal(fake_i64(row, "ts"), fake_i64(row, "real"));
    assert_int_equal(fake_count(store, KP_S_TASK), 1); /* the scan; its short record is not one */
    assert_string_equal(fake_str(fake_row(store, KP_S_TASK, 0), "name"), "ledger");
    assert_int_equal(fake_count(store, KP_S_GAPS), 0);
}

static void events_arrive_in_order_with_their_actor(void **state)
{
    (void)state;
    struct kp_buf span = {0};
    int64_t now = kp_time_monotonic();
    enum { EVENTS = 10000 };
    source.complete = 0;
    struct kp_recorder *recorder = start();
    for (uint32_t cpu = 0; cpu < 2; cpu++) {
        for (int64_t i = 0; i < EVENTS / 2; i++)
            add_switch(&span, now + i * 10 + cpu, cpu, 0);
        queue(&span);
    }
    struct kp_recorder_stat stat = stop(recorder, KP_OK);
    assert_int_equal(fake_count(store, KP_S_SCHED_SWITCH), EVENTS);
    int64_t ts = 0;
    for (uint32_t i = 0; i < store->count; i++) {
        const struct fake_row *row = &store->rows[i];
        if (row->stream->number != KP_S_SCHED_SWITCH)
            continue;
        assert_true(fake_i64(row, "ts") > ts);
        ts = fake_i64(row, "ts");
        assert_int_equal(fake_actor(store, row, "actor")->start, 99);
    }
    int64_t offset = fake_i64(fake_row(store, KP_S_CLOCK, 0), "real") -
                     fake_i64(fake_row(store, KP_S_CLOCK, 0), "mono");
    assert_int_equal(ts, now + (EVENTS / 2 - 1) * 10 + 1 + offset);
    assert_int_equal(stat.rows, store->count);
    assert_int_equal(stat.rejected, 0);
}

static const struct fake_row *gap(int64_t reason, uint32_t index)
{
    for (uint32_t i = 0; i < store->count; i++)
        if (store->rows[i].stream->number == KP_S_GAPS &&
            fake_i64(&store->rows[i], "reason") == reason && index-- == 0)
            return &store->rows[i];
    return NULL;
}

enum { RING_FULL, BATCH_DROPPED, REJECTED, LATE, STORE_ERROR, JOIN_LOST = 7 };

static void losses_become_gaps(void **state)
{
    (void)state;
    struct kp_recorder *recorder = start();
    struct kp_buf span = {0};
    int64_t now = kp_time_monotonic();
    add_switch(&span, now, 0, 0);
    add_switch(&span, now + 100, 0, 3);
    struct kp_record_SCHED_SWITCH wrong = a_switch(now + 200, 0, 3);
    wrong.head.version = 9;
    frame(&span, &wrong, sizeof(wrong));
    frame(&span, "?", 1);
    kp_buf_add(&span, "\xff\xff\xff\xff\0\0\0\0", 8); /* a frame longer than the span */
    queue(&span);
    pthread_mutex_lock(&source.lock);
    source.losses[0].records = 5;
    source.losses[1].records = 2;
    source.stat.joins_lost = 4;
    pthread_mutex_unlock(&source.lock);
    struct kp_recorder_stat stat = stop(recorder, KP_OK);
    assert_int_equal(fake_i64(gap(RING_FULL, 0), "count"), 3);
    assert_int_equal(fake_i64(gap(RING_FULL, 0), "dur"), 100);
    assert_int_equal(fake_i64(gap(RING_FULL, 1), "count"), 2);
    assert_int_equal(fake_i64(gap(RING_FULL, 1), "cpu"), 0);
    assert_int_equal(fake_i64(gap(RING_FULL, 2), "count"), 2);
    assert_int_equal(fake_i64(gap(RING_FULL, 2), "cpu"), 1);
    assert_int_equal(fake_i64(gap(JOIN_LOST, 0), "count"), 4);
    assert_string_not_equal(fake_str(gap(JOIN_LOST, 0), "stream"), ""); /* not any stream */
    int64_t rejected = 0;
    for (uint32_t i = 0; gap(REJECTED, i) != NULL; i++) {
        rejected += fake_i64(gap(REJECTED, i), "count");
        assert_string_not_equal(fake_str(gap(REJECTED, i), "detail"), "");
    }
    assert_int_equal(rejected, 3);
    assert_int_equal(stat.rejected, 3);
    assert_int_equal(fake_count(store, KP_S_SCHED_SWITCH), 2);
}

static void wait_for_rows(uint32_t stream, uint32_t rows)
{
    for (int i = 0; i < 2000; i++) {
        pthread_mutex_lock(&store->lock);
        bool there = fake_count(store, stream) >= rows;
        pthread_mutex_unlock(&store->lock);
        if (there)
            return;
        nanosleep(&(struct timespec){.tv_nsec = KP_MS}, NULL);
    }
    fail_msg("the rows did not come");
}

static void late_events_are_stored_and_told(void **state)
{
    (void)state;
    struct kp_recorder *recorder = start();
    struct kp_buf span = {0};
    int64_t now = kp_time_monotonic();
    add_switch(&span, now, 0, 0);
    queue(&span);
    wait_for_rows(KP_S_SCHED_SWITCH, 1);
    add_switch(&span, now - 50, 1, 0);
    queue(&span);
    stop(recorder, KP_OK);
    assert_int_equal(fake_count(store, KP_S_SCHED_SWITCH), 2);
    assert_int_equal(fake_i64(gap(LATE, 0), "count"), 1);
    assert_int_equal(fake_i64(gap(LATE, 0), "dur"), 0);
}

static void record_and_fail(kp_status fail, uint32_t times)
{
    struct kp_recorder *recorder = start();
    struct kp_buf span = {0};
    int64_t now = kp_time_monotonic();
    for (int64_t i = 0; i < 10; i++)
        add_switch(&span, now + i, 0, 0);
    pthread_mutex_lock(&store->lock);
    store->fail = fail;
    store->fail_count = times;
    pthread_mutex_unlock(&store->lock);
    queue(&span);
    stop(recorder, times > 3 || fail != KP_LIMIT ? fail : KP_OK);
}

static void a_busy_store_is_waited_for(void **state)
{
    (void)state;
    record_and_fail(KP_LIMIT, 3);
    assert_int_equal(fake_count(store, KP_S_SCHED_SWITCH), 10);
    assert_int_equal(fake_count(store, KP_S_GAPS), 0);
}

static void a_dropped_batch_is_a_gap(void **state)
{
    (void)state;
    record_and_fail(KP_LIMIT, 51);
    const struct fake_row *row = gap(BATCH_DROPPED, 0);
    assert_non_null(row);
    /* the start scan's batch or that of the switches came first */
    uint32_t kept = fake_count(store, KP_S_SCHED_SWITCH) + fake_count(store, KP_S_TASK);
    assert_int_equal(fake_i64(row, "count") + kept, 11);
    assert_null(gap(BATCH_DROPPED, 1));
}

static void a_failing_store_is_a_gap(void **state)
{
    (void)state;
    record_and_fail(KP_NO_MEMORY, 1);
    const struct fake_row *row = gap(STORE_ERROR, 0);
    assert_non_null(row);
    uint32_t kept = fake_count(store, KP_S_SCHED_SWITCH) + fake_count(store, KP_S_TASK);
    assert_int_equal(fake_i64(row, "count") + kept, 11);
}

static void refused_rows_about_the_recording_are_a_gap(void **state)
{
    (void)state;
    store->fail = KP_LIMIT;
    store->fail_count = 51;
    stop(start(), KP_LIMIT);
    const struct fake_row *row = gap(BATCH_DROPPED, 0);
    assert_non_null(row);
    assert_string_equal(fake_str(row, "stream"), "capture");
    assert_int_equal(fake_i64(row, "count"), 4);
    assert_int_equal(fake_count(store, KP_S_CAPTURE), 1); /* the end */
}

static void what_cannot_start_says_why(void **state)
{
    (void)state;
    struct kp_recorder *recorder = NULL;
    struct kp_error err = {0};
    open_status = KP_DENIED;
    assert_int_equal(kp_recorder_start(store, NULL, &recorder, &err), KP_DENIED);
    assert_string_equal(err.text, "no right to load programs");
    assert_null(recorder);
    assert_int_equal(store->count, 0);
}

#define BIT(ID) (1ull << KP_S_##ID)

static void lists_of_kinds_are_read(void **state)
{
    (void)state;
    uint64_t all, usual, mask;
    struct kp_error err;
    assert_int_equal(kp_kinds_parse(KP_STR("all"), &all, &err), KP_OK);
    assert_int_equal(kp_kinds_parse(KP_STR("default"), &usual, &err), KP_OK);
    assert_int_equal(usual, all & ~BIT(MIGRATE));
    const struct {
        const char *text;
        uint64_t mask;
    } good[] = {
        {"sched", BIT(SCHED_SWITCH) | BIT(SCHED_WAKING) | BIT(TASK) | BIT(CGROUP) | BIT(PI)},
        {"syscall,lock", BIT(SYSCALL) | BIT(LOCK)},
        {"sched,syscall,-task",
         BIT(SCHED_SWITCH) | BIT(SCHED_WAKING) | BIT(CGROUP) | BIT(PI) | BIT(SYSCALL)},
        {"-lock", usual & ~BIT(LOCK)},
        {"", usual},
        {"default", usual},
        {"all,-sched,sched_switch", all & ~(BIT(SCHED_WAKING) | BIT(TASK) | BIT(CGROUP) | BIT(PI))},
    };
    for (size_t i = 0; i < KP_ARRAY_LEN(good); i++) {
        assert_int_equal(kp_kinds_parse(kp_str_from(good[i].text), &mask, &err), KP_OK);
        assert_int_equal(mask, good[i].mask);
    }
    static const char *const bad[] = {"spans", "sched,,lock", "sched,", "lokc", "-all", "--lock"};
    for (size_t i = 0; i < KP_ARRAY_LEN(bad); i++)
        assert_int_equal(kp_kinds_parse(kp_str_from(bad[i]), &mask, &err), KP_USAGE);
    assert_int_equal(kp_kinds_parse(KP_STR("sched,sycall"), &mask, &err), KP_USAGE);
    assert_non_null(strstr(err.text, "sycall"));
    assert_non_null(strstr(err.hint, "syscall"));
    assert_int_equal(kp_kinds_parse(KP_STR("shed,-lock"), &mask, &err), KP_USAGE);
    assert_string_equal(err.hint, "did you mean sched?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_recording_tells_of_itself, set_up, tear_down),
        cmocka_unit_test_setup_teardown(events_arrive_in_order_with_their_actor, set_up, tear_down),
        cmocka_unit_test_setup_teardown(losses_become_gaps, set_up, tear_down),
        cmocka_unit_test_setup_teardown(late_events_are_stored_and_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_busy_store_is_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_dropped_batch_is_a_gap, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failing_store_is_a_gap, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refused_rows_about_the_recording_are_a_gap, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_start_says_why, set_up, tear_down),
        cmocka_unit_test(lists_of_kinds_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
