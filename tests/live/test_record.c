/* SPDX-License-Identifier: Apache-2.0
 *
 * The running kernel through the whole way into a store and back: a child renames itself, sleeps,
 * moves to another cgroup, starts a grandchild and ends; a span of it arrives beside.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "folder.h"
#include "ingest/ingest.h"

#define NAPS 20

static char dir[FOLDER_PATH];
static char group[300];   /* cgroup of the child; empty = could not be made */
static char limited[300]; /* cgroup with a CPU quota, of the v1 cpu hierarchy; empty = none */
static pid_t child;
static struct kp_recorder_stat recorded;
static uint64_t sent_spans;
static kp_time began;

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 5 * KP_MS}, NULL);
}

static void naps(int count)
{
    for (int i = 0; i < count; i++)
        nap();
}

static bool write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return good;
}

static bool enter_group(void)
{
    char procs[350], pid[32];
    snprintf(procs, sizeof(procs), "%s/cgroup.procs", group);
    snprintf(pid, sizeof(pid), "%d", getpid());
    return group[0] != '\0' && write_text(procs, pid);
}

/* Before and after each act the child sleeps, so that each state has switches of its own. */
static void child_main(int go)
{
    char byte;
    if (read(go, &byte, 1) != 1)
        _exit(1);
    prctl(PR_SET_NAME, "kp-first");
    naps(NAPS);
    prctl(PR_SET_NAME, "kp-second");
    naps(NAPS);
    if (group[0] != '\0' && !enter_group())
        _exit(2);
    naps(NAPS);
    pid_t grandchild = fork();
    if (grandchild == 0)
        _exit(7);
    waitpid(grandchild, NULL, 0);
    if (read(go, &byte, 1) != 0) /* until the parent has sent the span */
        _exit(3);
    _exit(0);
}

/* Where a cgroup hierarchy is mounted: the unified one, or v1 cpu. */
static bool find_mount(const char *kind, const char *option, char out[256])
{
    char line[1024];
    bool found = false;
    FILE *file = fopen("/proc/self/mountinfo", "re");
    while (file != NULL && !found && fgets(line, sizeof(line), file) != NULL)
        found = strstr(line, kind) != NULL && strstr(line, option) != NULL &&
                sscanf(line, "%*s %*s %*s %*s %255s", out) == 1;
    if (file != NULL)
        fclose(file);
    return found;
}

static void make_group(void)
{
    char mount[256];
    group[0] = '\0';
    if (!find_mount(" - cgroup2 ", "", mount))
        return;
    snprintf(group, sizeof(group), "%s/kp-test-%d", mount, getpid());
    if (mkdir(group, 0755) != 0)
        group[0] = '\0';
}

static void make_limited(void)
{
    char mount[256], file[350];
    limited[0] = '\0';
    if (!find_mount(" - cgroup ", ",cpu\n", mount) && !find_mount(" - cgroup ", ",cpu,", mount))
        return;
    snprintf(limited, sizeof(limited), "%s/kp-test-%d", mount, getpid());
    snprintf(file, sizeof(file), "%s/cpu.cfs_quota_us", limited);
    if (mkdir(limited, 0755) == 0 && write_text(file, "50000"))
        return;
    rmdir(limited);
    limited[0] = '\0';
}

static void send_span(struct kp_store *store, uint32_t pid)
{
    char body[1024];
    struct kp_otlp_result result;
    struct kp_error err;
    kp_time now = kp_time_now();
    snprintf(body, sizeof(body),
             "{\"resourceSpans\":[{\"resource\":{\"attributes\":[{\"key\":\"process.pid\","
             "\"value\":{\"intValue\":\"%u\"}}]},\"scopeSpans\":[{\"spans\":[{\"traceId\":"
             "\"0123456789abcdef0123456789abcdef\",\"spanId\":\"0123456789abcdef\",\"name\":"
             "\"nap\",\"startTimeUnixNano\":\"%" PRId64 "\",\"endTimeUnixNano\":\"%" PRId64
             "\",\"attributes\":[{\"key\":\"txn.id\",\"value\":{\"intValue\":\"98721\"}},{\"key\":"
             "\"linux.tid\",\"value\":{\"intValue\":\"%u\"}}]}]}]}]}",
             pid, now - 50 * KP_MS, now, pid);
    if (kp_otlp_json(store, NULL, kp_str_from(body), &result, &err) != KP_OK)
        fail_msg("%s", err.text);
    sent_spans = result.spans;
    assert_int_equal(kp_store_wait(store, result.ticket, &err), KP_OK);
}

static void record(struct kp_store *store, int go[2])
{
    struct kp_recorder_opts opts = {.syscall_min = -1, .lock_min = -1, .irq_min = -1};
    struct kp_recorder *recorder;
    struct kp_error err = {0};
    kp_status status = kp_recorder_start(store, &opts, &recorder, &err);
    if (status == KP_DENIED || status == KP_UNSUPPORTED) {
        printf("cannot record here: %s\n", err.text);
        exit(77);
    }
    if (status != KP_OK)
        fail_msg("%s", err.text);
    began = kp_time_now();
    assert_int_equal(write(go[1], "g", 1), 1);
    naps(4 * NAPS);
    send_span(store, (uint32_t)child);
    close(go[1]);
    int ended = 0;
    assert_int_equal(waitpid(child, &ended, 0), child);
    assert_int_equal(ended, 0);
    naps(20);
    if (kp_recorder_stop(recorder, &recorded, &err) != KP_OK)
        fail_msg("%s", err.text);
}

static int set_up(void **state)
{
    (void)state;
    int go[2];
    struct kp_error err = {0};
    struct kp_store *store;
    folder_make("record", dir);
    if (pipe(go) != 0)
        return -1;
    make_group();
    make_limited();
    child = fork();
    if (child == 0) {
        close(go[1]);
        child_main(go[0]);
    }
    close(go[0]);
    if (kp_store_open(dir, &(struct kp_store_opts){0}, &store, &err) != KP_OK)
        fail_msg("%s", err.text);
    record(store, go);
    if (kp_store_close(store, &err) != KP_OK)
        fail_msg("%s", err.text);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (group[0] != '\0')
        rmdir(group);
    if (limited[0] != '\0')
        rmdir(limited);
    return folder_remove(dir);
}

/* --- reading back --- */

#define COLS_MAX 12

struct reading {
    const struct kp_stored_column *columns[COLS_MAX];
    struct kp_snapshot *snapshot;
    struct kp_scan *scan;
    const struct kp_batch *batch;
    uint32_t row;
};

static void read_open(struct reading *reading, const char *stream_name, const char *const *names)
{
    struct kp_error err = {0};
    const struct kp_stream *stream = kp_stream_by_name(kp_str_from(stream_name));
    struct kp_colref cols[COLS_MAX];
    memset(reading, 0, sizeof(*reading));
    struct kp_scan_req req = {
        .stream = stream, .from = KP_TIME_MIN, .to = KP_TIME_MAX, .cols = cols};
    for (; names[req.cols_count] != NULL; req.cols_count++) {
        const struct kp_query_column *column =
            kp_stream_column(stream, kp_str_from(names[req.cols_count]));
        if (column == NULL)
            fail_msg("%s has no column %s", stream_name, names[req.cols_count]);
        cols[req.cols_count] = column->ref;
        reading->columns[req.cols_count] = &stream->stored[column->ref.stored];
    }
    if (kp_snapshot_open(dir, NULL, &reading->snapshot, &err) != KP_OK ||
        kp_scan_open(reading->snapshot, &req, &reading->scan, &err) != KP_OK)
        fail_msg("%s", err.text);
}

static bool read_next(struct reading *reading)
{
    struct kp_error err = {0};
    if (reading->batch != NULL && ++reading->row < reading->batch->rows)
        return true;
    kp_status status = kp_scan_next(reading->scan, &reading->batch, &err);
    if (status != KP_OK && status != KP_END)
        fail_msg("%s", err.text);
    reading->row = 0;
    return status == KP_OK;
}

static void read_close(struct reading *reading)
{
    kp_scan_close(reading->scan);
    kp_snapshot_close(reading->snapshot);
}

static int64_t number(const struct reading *reading, uint32_t column)
{
    return reading->batch->cols[column].i64[reading->row];
}

/* The value as a user sees it: numbers of an enum by their name. */
static struct kp_str text(const struct reading *reading, uint32_t column)
{
    if (reading->columns[column]->type == KP_TYPE_ENUM)
        return kp_enum_name(reading->columns[column], number(reading, column));
    return kp_vec_str(&reading->batch->cols[column], reading->row);
}

static bool text_is(const struct reading *reading, uint32_t column, const char *expected)
{
    return kp_str_equal(text(reading, column), kp_str_from(expected));
}

static void switches_carry_the_names_of_their_time(void **state)
{
    (void)state;
    static const char *const cols[] = {"ts", "tid", "comm", "cgroup", "cpu", NULL};
    struct reading reading;
    read_open(&reading, "sched_switch", cols);
    uint32_t first = 0, second = 0, grouped = 0, all = 0;
    kp_time last = KP_TIME_MIN;
    const char *leaf = strrchr(group, '/');
    while (read_next(&reading)) {
        assert_true(number(&reading, 0) >= last);
        last = number(&reading, 0);
        all++;
        if (number(&reading, 1) != child)
            continue;
        bool is_second = text_is(&reading, 2, "kp-second");
        assert_true(second == 0 || is_second); /* a name never comes back */
        first += text_is(&reading, 2, "kp-first");
        second += is_second;
        grouped += leaf != NULL && text_is(&reading, 3, leaf);
    }
    read_close(&reading);
    print_message("%u switches, of the child %u + %u, in its group %u\n", all, first, second,
                  grouped);
    assert_in_range(first, NAPS, 20 * NAPS);
    assert_in_range(second, 2 * NAPS, 20 * NAPS);
    if (leaf != NULL)
        assert_in_range(grouped, NAPS, 10 * NAPS);
    else
        print_message("no unified hierarchy to make a group in\n");
    assert_true(last > began && last < kp_time_now());
}

static void the_life_of_the_grandchild_is_there(void **state)
{
    (void)state;
    static const char *const cols[] = {"op", "tid", "parent_tid", "exit_code", NULL};
    struct reading reading;
    int64_t grandchild = 0, exits = 0, scans = 0;
    read_open(&reading, "task", cols);
    while (read_next(&reading)) {
        scans += text_is(&reading, 0, "scan");
        if (text_is(&reading, 0, "fork") && number(&reading, 2) == child)
            grandchild = number(&reading, 1);
        if (text_is(&reading, 0, "exit") && number(&reading, 1) == grandchild && grandchild != 0) {
            exits++;
            assert_int_equal(number(&reading, 3), 7 << 8);
        }
    }
    read_close(&reading);
    assert_int_not_equal(grandchild, 0);
    assert_int_equal(exits, 1);
    assert_true(scans > 1);
}

static void the_span_is_of_the_same_thread(void **state)
{
    (void)state;
    static const char *const cols[] = {"tid", "txn", "link", "comm", NULL};
    struct reading reading;
    read_open(&reading, "spans", cols);
    assert_true(read_next(&reading));
    assert_int_equal(sent_spans, 1);
    assert_int_equal(number(&reading, 0), child);
    assert_true(text_is(&reading, 1, "98721"));
    assert_true(text_is(&reading, 2, "thread"));
    assert_true(text_is(&reading, 3, "kp-second"));
    assert_false(read_next(&reading));
    /* one identity: every actor of this tid begins at the same time */
    struct kp_actors *actors = kp_snapshot_actors(reading.snapshot);
    for (uint32_t id = 1; id < kp_actors_count(actors); id++)
        if (kp_actors_get(actors, id)->tid == (uint32_t)child)
            assert_int_not_equal(kp_actors_get(actors, id)->start, KP_ACTOR_START_UNKNOWN);
    read_close(&reading);
}

static void quotas_are_sampled(void **state)
{
    (void)state;
    static const char *const cols[] = {"path", "quota", "period", "periods", NULL};
    struct reading reading;
    uint32_t samples = 0;
    if (limited[0] == '\0') {
        print_message("no v1 cpu hierarchy to limit a group in\n");
        skip();
    }
    read_open(&reading, "cgroup_stat", cols);
    while (read_next(&reading)) {
        if (!text_is(&reading, 0, strrchr(limited, '/')))
            continue;
        samples++;
        assert_int_equal(number(&reading, 1), 50 * KP_MS);
        assert_int_equal(number(&reading, 2), 100 * KP_MS);
    }
    read_close(&reading);
    assert_in_range(samples, 1, 10);
}

static void the_recording_tells_of_itself(void **state)
{
    (void)state;
    static const char *const cols[] = {"op", "stream", "state", "why", NULL};
    static const char *const gap_cols[] = {"reason", "count", "detail", NULL};
    struct reading reading;
    uint32_t starts = 0, stops = 0, kinds = 0;
    read_open(&reading, "capture", cols);
    while (read_next(&reading)) {
        starts += text_is(&reading, 0, "start");
        stops += text_is(&reading, 0, "stop");
        if (!text_is(&reading, 0, "kind"))
            continue;
        kinds++;
        print_message("%-16.*s %-12.*s %.*s\n", (int)text(&reading, 1).len, text(&reading, 1).ptr,
                      (int)text(&reading, 2).len, text(&reading, 2).ptr, (int)text(&reading, 3).len,
                      text(&reading, 3).ptr);
    }
    read_close(&reading);
    assert_int_equal(starts, 1);
    assert_int_equal(stops, 1);
    assert_true(kinds >= 13);
    int64_t lost = 0;
    read_open(&reading, "gaps", gap_cols);
    while (read_next(&reading)) {
        print_message("gap: %.*s %d %.*s\n", (int)text(&reading, 0).len, text(&reading, 0).ptr,
                      (int)number(&reading, 1), (int)text(&reading, 2).len, text(&reading, 2).ptr);
        lost += text_is(&reading, 0, "ring_full") ? number(&reading, 1) : 0;
    }
    read_close(&reading);
    assert_int_equal(lost, recorded.lost); /* exact */
    assert_int_equal(recorded.rejected, 0);
    print_message("%" PRIu64 " records, %" PRIu64 " rows, %" PRIu64 " lost\n", recorded.records,
                  recorded.rows, recorded.lost);
    assert_true(recorded.rows > recorded.records);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(switches_carry_the_names_of_their_time),
        cmocka_unit_test(the_life_of_the_grandchild_is_there),
        cmocka_unit_test(the_span_is_of_the_same_thread),
        cmocka_unit_test(quotas_are_sampled),
        cmocka_unit_test(the_recording_tells_of_itself),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
