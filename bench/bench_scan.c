/* SPDX-License-Identifier: Apache-2.0
 *
 * What reading costs, in ns per row that is answered: each step on a snapshot that has read nothing
 * yet (cold: files out of the page cache as well, by the clock; first: files in it) and again on
 * one that has (warm: what is decoded is kept while it fits). First and warm are CPU time of the
 * thread that reads, the best of several. No limits are asserted: times of one machine say little.
 *
 *   bench_scan [DATA [WORD]]     DATA from `kpq record`; else KP_BENCH_DATA; else the demo's
 *                                recording. WORD: only steps with it in their name
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/time.h"
#include "storage/storage.h"

#define WINDOW (2 * KP_SEC)
#define SLICE  (KP_SEC / 4)
#define ROUNDS 3

enum columns { COLUMNS_NONE, COLUMNS_ONE, COLUMNS_COMMON, COLUMNS_ALL };

struct step {
    const char *name;
    const char *stream; /* NULL: all kernel streams, one after the other */
    enum columns columns;
    const char *column; /* COLUMNS_ONE: its name as a query has it */
    const char *key;    /* a row passes when this column is `value` */
    int64_t value;
    bool window; /* WINDOW out of the middle */
    bool any_order;
};

static const struct step steps[] = {
    {.name = "count everything"},
    {.name = "count in 2 s", .window = true},
    {.name = "count switches", .stream = "sched_switch"},
    {.name = "group switches by next_comm",
     .stream = "sched_switch",
     .columns = COLUMNS_ONE,
     .column = "next_comm",
     .any_order = true},
    {.name = "group system calls by nr",
     .stream = "syscall",
     .columns = COLUMNS_ONE,
     .column = "nr",
     .any_order = true},
    {.name = "sum system calls of nr 0",
     .stream = "syscall",
     .columns = COLUMNS_ONE,
     .column = "ret",
     .key = "nr",
     .any_order = true},
    {.name = "filter switches by state",
     .stream = "sched_switch",
     .columns = COLUMNS_ONE,
     .column = "ts",
     .key = "prev_state",
     .value = 1},
    {.name = "filter system calls by nr 0",
     .stream = "syscall",
     .columns = COLUMNS_ONE,
     .column = "ts",
     .key = "nr",
     .value = 0},
    {.name = "times of everything", .columns = COLUMNS_ONE, .column = "ts"},
    {.name = "2 s, common columns", .columns = COLUMNS_COMMON, .window = true},
    {.name = "2 s, all columns", .columns = COLUMNS_ALL, .window = true},
    {.name = "everything, common columns", .columns = COLUMNS_COMMON},
    {.name = "everything, all columns", .columns = COLUMNS_ALL},
};

static void fail(const char *what, const struct kp_error *err)
{
    fprintf(stderr, "bench_scan: %s: %s\n", what, err == NULL ? "failed" : err->text);
    exit(1);
}

static uint32_t columns_of(const struct step *step, const struct kp_stream *stream,
                           struct kp_colref *out)
{
    static const char *const common[] = {"ts",  "cpu",  "host",   "tid",
                                         "pid", "comm", "cgroup", "seq"};
    uint32_t count = 0;
    if (step->columns == COLUMNS_ONE)
        out[count++] = kp_stream_column(stream, kp_str_from(step->column))->ref;
    for (size_t i = 0; step->columns == COLUMNS_COMMON && i < KP_ARRAY_LEN(common); i++)
        out[count++] = kp_stream_column(stream, kp_str_from(common[i]))->ref;
    for (uint32_t i = 0; step->columns == COLUMNS_ALL && i < stream->columns_count; i++)
        out[count++] = stream->columns[i].ref;
    return count;
}

/* Rows of one stream that the step answers in [from, to]. */
static uint64_t scan_stream(struct kp_snapshot *snapshot, const struct step *step,
                            const struct kp_stream *stream, kp_time from, kp_time to)
{
    struct kp_colref cols[KP_STORED_MAX * 6];
    struct kp_scan_req req = {
        .stream = stream, .from = from, .to = to, .cols = cols, .any_order = step->any_order};
    struct kp_error err;
    struct kp_scan *scan;
    const struct kp_batch *batch;
    kp_status status;
    uint64_t rows = 0;
    req.cols_count = columns_of(step, stream, cols);
    if (step->key != NULL)
        req.keys[req.keys_count++] =
            (struct kp_scan_key){.column = kp_stream_column(stream, kp_str_from(step->key))->ref,
                                 .numbers = &step->value,
                                 .count = 1};
    if (kp_scan_open(snapshot, &req, &scan, &err) != KP_OK)
        fail(step->name, &err);
    while ((status = kp_scan_next(scan, &batch, &err)) == KP_OK)
        rows += batch->rows;
    if (status != KP_END)
        fail(step->name, &err);
    kp_scan_close(scan);
    return rows;
}

static uint64_t scan_all(struct kp_snapshot *snapshot, const struct step *step, kp_time from,
                         kp_time to)
{
    uint64_t rows = 0;
    uint32_t count;
    const struct kp_stream *streams = kp_streams(&count);
    for (uint32_t s = 0; s < count; s++) {
        bool named = step->stream != NULL && strcmp(streams[s].name, step->stream) == 0;
        if (named || (step->stream == NULL && streams[s].family == KP_FAMILY_KERNEL))
            rows += scan_stream(snapshot, step, &streams[s], from, to);
    }
    return rows;
}

/* All streams together move on slice by slice, as a merge of them does. */
static uint64_t scan_step(struct kp_snapshot *snapshot, const struct step *step)
{
    kp_time from, to;
    uint64_t rows = 0;
    kp_snapshot_range(snapshot, &from, &to);
    if (step->window) {
        from += (to - from) / 2;
        to = from + WINDOW;
    }
    if (step->stream != NULL || step->columns == COLUMNS_NONE)
        return scan_all(snapshot, step, from, to);
    for (; from <= to; from += SLICE)
        rows += scan_all(snapshot, step, from, KP_MIN(from + SLICE - 1, to));
    return rows;
}

/* Asks the kernel to forget what it holds of the segments. */
static void drop_files(const char *dir)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/seg", dir);
    DIR *seg = opendir(path);
    for (struct dirent *entry; seg != NULL && (entry = readdir(seg)) != NULL;) {
        snprintf(path, sizeof(path), "%s/seg/%s", dir, entry->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
    }
    if (seg != NULL)
        closedir(seg);
}

static struct kp_snapshot *snapshot_of(const char *dir)
{
    struct kp_snapshot *snapshot;
    struct kp_error err;
    if (kp_snapshot_open(dir, NULL, &snapshot, &err) != KP_OK)
        fail(dir, &err);
    return snapshot;
}

static int64_t cpu_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * KP_SEC + now.tv_nsec;
}

static int64_t measure(struct kp_snapshot *snapshot, const struct step *step, uint64_t *out_rows)
{
    int64_t since = cpu_time();
    *out_rows = scan_step(snapshot, step);
    return cpu_time() - since;
}

static void step_run(const char *dir, const struct step *step)
{
    uint64_t rows = 0;
    int64_t first = INT64_MAX, warm = INT64_MAX;
    drop_files(dir);
    struct kp_snapshot *snapshot = snapshot_of(dir);
    int64_t cold = kp_time_monotonic();
    measure(snapshot, step, &rows);
    cold = kp_time_monotonic() - cold;
    kp_snapshot_close(snapshot);
    for (int i = 0; i < ROUNDS; i++) {
        snapshot = snapshot_of(dir);
        first = KP_MIN(first, measure(snapshot, step, &rows));
        for (int again = 0; again < ROUNDS; again++)
            warm = KP_MIN(warm, measure(snapshot, step, &rows));
        kp_snapshot_close(snapshot);
    }
    double per = rows == 0 ? 1 : (double)rows;
    printf("%-28s %9llu %9.2f %9.2f %9.2f %9.2f\n", step->name, (unsigned long long)rows,
           (double)cold / per, (double)first / per, (double)warm / per, (double)warm / 1e6);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    const char *dir = argc > 1 ? argv[1] : getenv("KP_BENCH_DATA");
    if (dir == NULL)
        dir = "demo/recording/data";
    printf("%-28s %9s %9s %9s %9s %9s\n", "ns/row", "rows", "cold", "first", "warm", "warm ms");
    for (size_t i = 0; i < KP_ARRAY_LEN(steps); i++)
        if (argc < 3 || strstr(steps[i].name, argv[2]) != NULL)
            step_run(dir, &steps[i]);
    return 0;
}
