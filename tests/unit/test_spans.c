/* SPDX-License-Identifier: Apache-2.0
 *
 * Spans as rows: whose they are, which transaction they carry, and that none is stored twice.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_store.h"
#include "ingest/proc.h"
#include "ingest/spans.h"
#include "ingest/threads.h"

#define ATTRS_MAX 8

/* A span with its texts. */
struct made {
    struct kpi_attr attrs[ATTRS_MAX], resource_attrs[ATTRS_MAX];
    struct kpi_attrs resource;
    struct kpi_span span;
    char trace_id[33], span_id[17];
    char members[2 * ATTRS_MAX][80];
};

static void make(struct made *made, uint64_t number)
{
    memset(made, 0, sizeof(*made));
    snprintf(made->trace_id, sizeof(made->trace_id), "%016llX%016llx", 0xABCull,
             (unsigned long long)number + 1);
    snprintf(made->span_id, sizeof(made->span_id), "%016llx", (unsigned long long)number + 1);
    made->span = (struct kpi_span){.trace_id = kp_str_from(made->trace_id),
                                   .span_id = kp_str_from(made->span_id),
                                   .parent_id = KP_STR(""),
                                   .name = KP_STR("settle"),
                                   .status_msg = KP_STR(""),
                                   .events = KP_STR(""),
                                   .start = kp_time_now(),
                                   .kind = 2,
                                   .status = 1,
                                   .resource = &made->resource};
    made->span.end = made->span.start + 1000;
    made->span.attrs.items = made->attrs;
    made->resource.items = made->resource_attrs;
}

static struct kpi_attr attr(char member[80], const char *key, const char *text)
{
    snprintf(member, 80, "\"%s\":\"%s\"", key, text);
    return (struct kpi_attr){.key = kp_str_from(key),
                             .member = kp_str_from(member),
                             .text = kp_str_from(text),
                             .scalar = true};
}

static void on_span(struct made *made, const char *key, const char *text)
{
    uint32_t i = made->span.attrs.count++;
    made->attrs[i] = attr(made->members[i], key, text);
}

static void on_resource(struct made *made, const char *key, const char *text)
{
    uint32_t i = made->resource.count++;
    made->resource_attrs[i] = attr(made->members[ATTRS_MAX + i], key, text);
}

static struct kp_store *store;

static int set_up(void **state)
{
    (void)state;
    store = fake_open();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_close(store);
    return 0;
}

static struct kp_otlp_result put(const struct made *made)
{
    struct kp_otlp_result result;
    assert_int_equal(kpi_spans_store(store, NULL, &made->span, 1, &result), KP_OK);
    return result;
}

static void a_span_is_a_row(void **state)
{
    (void)state;
    struct made made;
    make(&made, 1);
    on_span(&made, "txn.id", "98721");
    on_span(&made, "shared", "of span");
    on_resource(&made, "service.name", "ledger");
    on_resource(&made, "shared", "of resource");
    made.span.parent_id = KP_STR("00000000000000AA");
    struct kp_otlp_result result = put(&made);
    assert_int_equal(result.spans, 1);
    assert_int_equal(result.rejected, 0);
    assert_int_equal(result.ticket, 1);
    const struct fake_row *row = fake_row(store, KP_S_SPANS, 0);
    assert_int_equal(fake_i64(row, "ts"), made.span.end);
    assert_int_equal(fake_i64(row, "dur"), 1000);
    assert_int_equal(fake_i64(row, "kind"), 2);
    assert_int_equal(fake_i64(row, "status"), 1);
    assert_string_equal(fake_str(row, "trace_id"), "0000000000000abc0000000000000002");
    assert_string_equal(fake_str(row, "span_id"), "0000000000000002");
    assert_string_equal(fake_str(row, "parent_id"), "00000000000000aa");
    assert_string_equal(fake_str(row, "txn"), "98721");
    assert_string_equal(fake_str(row, "service"), "ledger");
    assert_string_equal(fake_str(row, "name"), "settle");
    assert_string_equal(
        fake_str(row, "attrs"),
        "{\"txn.id\":\"98721\",\"shared\":\"of span\",\"service.name\":\"ledger\"}");
}

static void the_first_key_that_matches_is_the_transaction(void **state)
{
    (void)state;
    static const char *const keys[] = {"order", "txn.id"};
    struct kp_span_opts opts = {.txn_keys = keys, .txn_keys_count = 2};
    struct kp_otlp_result result;
    struct made made;
    make(&made, 1);
    on_span(&made, "txn.id", "7");
    on_resource(&made, "order", "8");
    assert_int_equal(kpi_spans_store(store, &opts, &made.span, 1, &result), KP_OK);
    assert_string_equal(fake_str(fake_row(store, KP_S_SPANS, 0), "txn"), "7"); /* the span's own */
    make(&made, 2);
    on_resource(&made, "order", "8");
    assert_int_equal(kpi_spans_store(store, &opts, &made.span, 1, &result), KP_OK);
    assert_string_equal(fake_str(fake_row(store, KP_S_SPANS, 1), "txn"), "8");
    make(&made, 3);
    on_span(&made, "order", "9");
    made.attrs[0].scalar = false; /* a list, say */
    assert_int_equal(kpi_spans_store(store, &opts, &made.span, 1, &result), KP_OK);
    assert_string_equal(fake_str(fake_row(store, KP_S_SPANS, 2), "txn"), "");
}

enum { NONE, PROCESS, THREAD };

static void spans_are_bound_to_threads(void **state)
{
    (void)state;
    char self[16], other[16];
    snprintf(self, sizeof(self), "%d", getpid());
    snprintf(other, sizeof(other), "%d", getppid());
    const struct {
        const char *host, *pid, *kernel_tid, *thread_id;
        int link;
        const char *tid;
    } cases[] = {
        {NULL, NULL, NULL, NULL, NONE, "0"},
        {NULL, self, NULL, NULL, PROCESS, self},
        {NULL, self, self, NULL, THREAD, self},
        {NULL, self, NULL, self, THREAD, self},
        {NULL, NULL, self, NULL, THREAD, self},
        {NULL, self, other, NULL, PROCESS, self}, /* a thread of another process */
        {NULL, self, NULL, "1", PROCESS, self},   /* the runtime's own number */
        {NULL, self, "junk", NULL, PROCESS, self},
        {NULL, "999999999", NULL, NULL, PROCESS, "999999999"}, /* ended before its span came */
        {NULL, "999999999", "999999998", NULL, THREAD, "999999998"},
        {"elsewhere", NULL, NULL, NULL, NONE, "0"},
        {"elsewhere", "55", NULL, NULL, PROCESS, "55"},
        {"elsewhere", "55", "56", NULL, THREAD, "56"},
        {"elsewhere", "55", NULL, "7", PROCESS, "55"}, /* cannot be checked from here */
        {"elsewhere", "55", NULL, "55", THREAD, "55"},
    };
    for (uint32_t i = 0; i < KP_ARRAY_LEN(cases); i++) {
        struct made made;
        make(&made, i);
        on_resource(&made, "host.name", cases[i].host != NULL ? cases[i].host : kp_host_name());
        if (cases[i].pid != NULL)
            on_resource(&made, "process.pid", cases[i].pid);
        if (cases[i].kernel_tid != NULL)
            on_span(&made, "linux.tid", cases[i].kernel_tid);
        if (cases[i].thread_id != NULL)
            on_span(&made, "thread.id", cases[i].thread_id);
        put(&made);
        const struct fake_row *row = fake_row(store, KP_S_SPANS, i);
        const struct kp_actor *actor = fake_actor(store, row, "actor");
        assert_int_equal(fake_i64(row, "link"), cases[i].link);
        assert_int_equal(actor->tid, strtoul(cases[i].tid, NULL, 10));
        assert_true(kp_str_equal(
            actor->host, kp_str_from(cases[i].host != NULL ? cases[i].host : kp_host_name())));
    }
}

static void this_host_is_known_by_id_or_name(void **state)
{
    (void)state;
    struct made made;
    make(&made, 1);
    if (kpi_machine_id()[0] != '\0')
        on_resource(&made, "host.id", kpi_machine_id());
    else
        print_message("no machine id here\n");
    on_resource(&made, "host.name", kpi_machine_id()[0] != '\0' ? "alias" : kp_host_name());
    put(&made);
    const struct kp_actor *actor = fake_actor(store, fake_row(store, KP_S_SPANS, 0), "actor");
    assert_true(kp_str_equal(actor->host, kp_str_from(kp_host_name())));
    make(&made, 2);
    on_resource(&made, "host.id", "i-0abc");
    put(&made);
    actor = fake_actor(store, fake_row(store, KP_S_SPANS, 1), "actor");
    assert_true(kp_str_equal(actor->host, KP_STR("i-0abc")));
}

/* A process in a pid namespace of its own, with a second thread. */
struct contained {
    pid_t pid; /* as seen here; it knows itself as 1 */
    uint32_t inner_tid;
    int hold; /* it ends when this is closed */
};

static void *tell_tid(void *fd)
{
    uint32_t tid = (uint32_t)syscall(SYS_gettid);
    if (write(*(int *)fd, &tid, sizeof(tid)) != sizeof(tid))
        _exit(1);
    return pause() == 0 ? NULL : NULL;
}

static void live_contained(int hold, int tell)
{
    pthread_t thread;
    char byte;
    prctl(PR_SET_NAME, "contained-one");
    if (pthread_create(&thread, NULL, tell_tid, &tell) != 0)
        _exit(1);
    _exit(read(hold, &byte, 1) == 0 ? 0 : 1);
}

/* False: this machine gives us no pid namespace. */
static bool contain(struct contained *out)
{
    int hold[2], tell[2], own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
    assert_true(own >= 0 && pipe(hold) == 0 && pipe(tell) == 0);
    bool may = unshare(CLONE_NEWPID) == 0;
    pid_t pid = may ? fork() : -1;
    if (pid == 0) {
        close(hold[1]);
        live_contained(hold[0], tell[1]);
    }
    if (may) {
        assert_int_equal(setns(own, CLONE_NEWPID), 0);
        assert_int_equal(read(tell[0], &out->inner_tid, sizeof(out->inner_tid)),
                         sizeof(out->inner_tid));
    }
    out->pid = pid;
    out->hold = hold[1];
    close(own);
    close(hold[0]);
    close(tell[0]);
    close(tell[1]);
    return may;
}

static void a_process_in_a_container_is_found(void **state)
{
    (void)state;
    struct contained contained;
    if (!contain(&contained)) {
        print_message("not permitted to make a pid namespace\n");
        skip();
    }
    char tid[16], old[KP_TIME_TEXT_MAX];
    snprintf(tid, sizeof(tid), "%u", contained.inner_tid);
    kp_time_format(kp_time_now() - KP_HOUR, old);
    const struct {
        const char *exe, *container, *created, *tid;
        int link;
        bool found;
    } cases[] = {
        {"contained-one", NULL, NULL, NULL, PROCESS, true},
        {"contained-one", NULL, NULL, tid, THREAD, true},
        /* number 1 is there, but not in that container, nor of that age */
        {"contained-one", "0123456789abcdef", NULL, NULL, NONE, false},
        {"contained-one", NULL, old, NULL, NONE, false},
    };
    for (uint32_t i = 0; i < KP_ARRAY_LEN(cases); i++) {
        struct made made;
        make(&made, i);
        on_resource(&made, "process.pid", "1");
        on_resource(&made, "process.executable.name", cases[i].exe);
        if (cases[i].container != NULL)
            on_resource(&made, "container.id", cases[i].container);
        if (cases[i].created != NULL)
            on_resource(&made, "process.creation.time", cases[i].created);
        if (cases[i].tid != NULL)
            on_span(&made, "linux.tid", cases[i].tid);
        put(&made);
        const struct fake_row *row = fake_row(store, KP_S_SPANS, i);
        assert_int_equal(fake_i64(row, "link"), cases[i].link);
        assert_int_equal(fake_actor(store, row, "actor")->pid == (uint32_t)contained.pid,
                         cases[i].found);
    }
    close(contained.hold);
    assert_int_equal(waitpid(contained.pid, NULL, 0), contained.pid);
}

static uint32_t watched;

static void on_watch(void *ctx, uint32_t pid)
{
    (void)ctx;
    watched = pid;
}

static void a_recorded_thread_has_one_identity(void **state)
{
    (void)state;
    struct kpi_cgroups *cgroups;
    struct kpi_threads *threads;
    uint32_t self = (uint32_t)getpid();
    assert_int_equal(kpi_cgroups_init(&cgroups), KP_OK);
    assert_int_equal(kpi_threads_init(store, cgroups, &threads), KP_OK);
    struct kpi_task task = {.tid = self, .pid = self, .start = 12345, .comm = KP_STR("me")};
    kpi_threads_task(threads, &task);
    kpi_threads_publish(threads, on_watch, NULL);
    char pid[16];
    struct made made;
    snprintf(pid, sizeof(pid), "%u", self);
    make(&made, 1);
    on_resource(&made, "process.pid", pid);
    on_span(&made, "kprobe.tid", pid);
    put(&made);
    const struct fake_row *row = fake_row(store, KP_S_SPANS, 0);
    assert_int_equal(fake_i64(row, "actor"), kpi_threads_actor(threads, self, self, 10));
    assert_int_equal(fake_actor(store, row, "actor")->start, 12345);
    assert_int_equal(watched, 0); /* no transaction yet */
    make(&made, 2);
    on_resource(&made, "process.pid", pid);
    on_span(&made, "txn.id", "1");
    put(&made);
    assert_int_equal(watched, self);
    kpi_threads_publish(NULL, NULL, NULL);
    kpi_threads_deinit(threads);
    kpi_cgroups_deinit(cgroups);
}

static void a_span_is_stored_once(void **state)
{
    (void)state;
    struct made made;
    make(&made, 1);
    assert_int_equal(put(&made).spans, 1);
    struct kp_otlp_result again = put(&made);
    assert_int_equal(again.spans, 0);
    assert_int_equal(again.duplicates, 1);
    assert_int_equal(again.rejected, 0);
    assert_int_equal(again.ticket, 1); /* of the first: not to be acknowledged before it */
    assert_int_equal(fake_count(store, KP_S_SPANS), 1);
    /* another store has seen nothing */
    struct kp_store *first = store;
    store = fake_open();
    assert_int_equal(put(&made).spans, 1);
    fake_close(store);
    store = first;
}

static void what_was_not_taken_may_come_again(void **state)
{
    (void)state;
    struct made made;
    struct kp_otlp_result result;
    make(&made, 1);
    store->fail = KP_LIMIT;
    store->fail_count = 1;
    assert_int_equal(kpi_spans_store(store, NULL, &made.span, 1, &result), KP_LIMIT);
    assert_int_equal(result.spans, 0);
    assert_int_equal(put(&made).spans, 1);
    assert_int_equal(put(&made).duplicates, 1);
}

/* The window holds the newest 65536; older ones are forgotten, and undoing leaves no trace. */
static void the_window_is_bounded(void **state)
{
    (void)state;
    enum { BATCH = 1000, BATCHES = 80 };
    struct made *made = calloc(BATCH, sizeof(*made));
    struct kpi_span *spans = calloc(BATCH, sizeof(*spans));
    struct kp_otlp_result result;
    assert_non_null(made);
    assert_non_null(spans);
    for (uint64_t round = 0; round < BATCHES; round++) {
        for (uint64_t i = 0; i < BATCH; i++) {
            make(&made[i], round * BATCH + i);
            spans[i] = made[i].span;
        }
        if (round % 7 == 3) {
            store->fail = KP_LIMIT;
            store->fail_count = 1;
            assert_int_equal(kpi_spans_store(store, NULL, spans, BATCH, &result), KP_LIMIT);
        }
        assert_int_equal(kpi_spans_store(store, NULL, spans, BATCH, &result), KP_OK);
        assert_int_equal(result.spans, BATCH);
        assert_int_equal(kpi_spans_store(store, NULL, spans, BATCH, &result), KP_OK);
        assert_int_equal(result.duplicates, BATCH);
        fake_clear(store);
    }
    make(&made[0], 0);
    assert_int_equal(put(&made[0]).spans, 1);
    free(made);
    free(spans);
}

static void odd_times_are_kept_and_told(void **state)
{
    (void)state;
    struct made made;
    make(&made, 1);
    made.span.end = made.span.start - 5;
    struct kp_otlp_result result = put(&made);
    assert_int_equal(result.spans, 1);
    assert_int_equal(result.warnings, 1);
    assert_string_not_equal(result.message, "");
    const struct fake_row *row = fake_row(store, KP_S_SPANS, 0);
    assert_int_equal(fake_i64(row, "ts"), made.span.end);
    assert_int_equal(fake_i64(row, "dur"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_span_is_a_row, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_first_key_that_matches_is_the_transaction, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(spans_are_bound_to_threads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(this_host_is_known_by_id_or_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_process_in_a_container_is_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_recorded_thread_has_one_identity, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_span_is_stored_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_not_taken_may_come_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_window_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(odd_times_are_kept_and_told, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
