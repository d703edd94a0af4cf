/* SPDX-License-Identifier: Apache-2.0
 *
 * Kinds are switched on and off one by one; what is off has no program attached and costs nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "column/catalogue.h"
#include "tape.h"

/* Streams that programs make: their columns are on the wire. */
static bool from_programs(const struct kp_stream *stream)
{
    return stream->number < KP_SOURCE_KINDS_MAX && stream->stored[KP_COL_FIRST].wire_size != 0;
}

/* How many of our open files are BPF links to a tracepoint of that name. */
static uint32_t links_to(const char *tracepoint)
{
    DIR *dir = opendir("/proc/self/fdinfo");
    struct dirent *entry;
    char want[96];
    uint32_t count = 0;

    assert_non_null(dir);
    snprintf(want, sizeof(want), "tp_name:\t%s\n", tracepoint);
    while ((entry = readdir(dir)) != NULL) {
        char path[300], text[1024] = "";
        snprintf(path, sizeof(path), "/proc/self/fdinfo/%s", entry->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        ssize_t got = read(fd, text, sizeof(text) - 1);
        count += got > 0 && strstr(text, want) != NULL;
        close(fd);
    }
    closedir(dir);
    return count;
}

static int anything(void *arg)
{
    (void)arg;
    for (int i = 0; i < 20; i++) {
        sleep_ns(KP_MS);
        prctl(PR_SET_NAME, i % 2 ? "kp-odd" : "kp-even");
    }
    return 0;
}

static void scheduler_only_leaves_calls_alone(void **state)
{
    (void)state;
    struct tape tape;
    uint64_t sched = KIND(SCHED_SWITCH) | KIND(SCHED_WAKING) | KIND(TASK) | KIND(CGROUP);
    struct kp_recorder_opts opts = tape_opts(sched);

    tape_start(&tape, &opts);
    assert_int_equal(links_to("sys_enter"), 0);
    assert_int_equal(links_to("sys_exit"), 0);
    assert_int_equal(links_to("contention_begin"), 0);
    assert_int_equal(links_to("block_rq_issue"), 0);
    assert_int_equal(links_to("sched_switch"), 1);
    assert_int_equal(links_to("softirq_entry"), 1); /* the context of wakings */
    tape_free(&tape);
    assert_int_equal(links_to("sched_switch"), 0);
}

/* Every kind is told of; those that are on by default are on. */
static void defaults_are_on(void **state)
{
    (void)state;
    struct tape tape;
    struct kp_recorder_opts opts = tape_opts(0);
    const struct kp_kind_state *kinds;
    uint32_t streams_count, expected = 0;
    const struct kp_stream *streams = kp_streams(&streams_count);

    for (uint32_t i = 0; i < streams_count; i++)
        expected += from_programs(&streams[i]);
    tape_start(&tape, &opts);
    uint32_t count = kp_source_kinds(tape.source, &kinds);
    assert_int_equal(count, expected);
    for (uint32_t i = 0; i < count; i++) {
        if (kinds[i].on != kinds[i].stream->on_by_default)
            print_error("%s: %s\n", kinds[i].stream->name, kinds[i].why);
        assert_int_equal(kinds[i].on, kinds[i].stream->on_by_default);
        if (kinds[i].on)
            assert_true(strncmp(kinds[i].why, "tp_btf/", 7) == 0);
    }
    tape_free(&tape);
}

static void one_kind(uint8_t number)
{
    struct kp_recorder_opts opts = tape_opts(1ull << number);
    const struct kp_kind_state *kinds;
    struct work work;
    struct tape tape;

    work_make(&work, anything, NULL);
    tape_start(&tape, &opts);
    uint32_t count = kp_source_kinds(tape.source, &kinds);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(kinds[i].on, kinds[i].stream->number == number);
        if (!kinds[i].on)
            assert_string_equal(kinds[i].why, "switched off");
    }
    work_go(&work);
    assert_int_equal(work_end(&work), 0);
    tape_stop(&tape);
    for (const struct kp_record *rec = tape_next(&tape, 0, NULL); rec;
         rec = tape_next(&tape, 0, rec)) {
        assert_int_equal(rec->kind, number);
        assert_int_equal(rec->version, KP_RECORD_VERSION);
    }
    tape_free(&tape);
}

static void each_kind_alone(void **state)
{
    (void)state;
    uint32_t count;
    const struct kp_stream *streams = kp_streams(&count);

    for (uint32_t i = 0; i < count; i++) {
        if (from_programs(&streams[i]))
            one_kind(streams[i].number);
    }
}

/* Every record has the size of its stream, and nothing comes after it was said to be complete. */
static void records_keep_their_form(void **state)
{
    (void)state;
    struct kp_recorder_opts opts = tape_opts(0);
    struct work work;
    struct tape tape;
    uint64_t records = 0;

    work_make(&work, anything, NULL);
    tape_start(&tape, &opts);
    work_go(&work);
    assert_int_equal(work_end(&work), 0);
    tape_stop(&tape);
    for (const struct kp_record *rec = tape_next(&tape, 0, NULL); rec;
         rec = tape_next(&tape, 0, rec)) {
        const struct kp_source_frame *frame = (const struct kp_source_frame *)(const void *)rec - 1;
        const struct kp_stream *stream = kp_stream_by_number(rec->kind);
        assert_non_null(stream);
        assert_int_equal(frame->size, stream->record_size);
        assert_true(rec->cpu < tape.cpus);
        records++;
    }
    assert_true(records == tape.stat.records);
    assert_int_equal(tape.late, 0);
    assert_int_equal(tape.stat.lost, 0);
    tape_free(&tape);
}

static void *drop_rights(void *arg)
{
    struct kp_recorder_opts opts = tape_opts(0);
    struct kp_source *source = NULL;
    struct kp_error *err = arg;

    if (syscall(SYS_setresuid, -1, 65534, -1) != 0) /* this thread only, and its rights with it */
        return NULL;
    kp_status status = kp_source_open(&opts, &source, err);
    return status == KP_DENIED && source == NULL ? arg : NULL;
}

static void without_rights_it_says_which(void **state)
{
    (void)state;
    struct kp_error err = {0};
    pthread_t thread;
    void *result = NULL;

    if (geteuid() != 0) {
        print_message("not root\n");
        skip();
    }
    assert_int_equal(pthread_create(&thread, NULL, drop_rights, &err), 0);
    pthread_join(thread, &result);
    assert_ptr_equal(result, &err);
    assert_non_null(strstr(err.text, "CAP_BPF and CAP_PERFMON"));
    assert_non_null(strstr(err.hint, "setcap"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_on),
        cmocka_unit_test(scheduler_only_leaves_calls_alone),
        cmocka_unit_test(each_kind_alone),
        cmocka_unit_test(records_keep_their_form),
        cmocka_unit_test(without_rights_it_says_which),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
