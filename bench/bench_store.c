/* SPDX-License-Identifier: Apache-2.0
 *
 * What stored events cost. The rows of a data directory go once more through a store of their own,
 * in slices of 20 ms as a recorder hands them over: bytes in the log and sealed, by stream and
 * column, cold at last, and the time to append, seal, rewrite and scan. No limits are asserted:
 * times of one machine say little, and bytes depend on what was recorded.
 *
 *   bench_store [DATA]     DATA from `kpq record`; else KP_BENCH_DATA; else the demo's recording
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/time.h"
#include "storage/storage.h"

#define SLICE (20 * KP_MS)

/* One stream of the recording as it is read; rows [at, batch->rows) are not taken yet. */
struct tap {
    const struct kp_stream *stream;
    struct kp_scan *scan;
    const struct kp_batch *batch; /* NULL at the end */
    uint32_t at;
};

struct bench {
    struct kp_snapshot *from;
    struct kp_store *to;
    struct tap taps[KP_STREAM_MAX];
    uint32_t taps_count;
    kp_actor_id *actors; /* of the recording -> of the store */
    uint32_t actors_count;
    uint64_t rows, events;     /* events: what the kernel told, see KP_EVENTS */
    double append, seal, cold; /* CPU seconds */
};

static void fail(const char *what, const struct kp_error *err)
{
    fprintf(stderr, "bench_store: %s: %s\n", what, err == NULL ? "failed" : err->text);
    exit(1);
}

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---------- reading the recording ---------- */

static void tap_next(struct tap *tap)
{
    struct kp_error err;
    tap->at = 0;
    kp_status status = kp_scan_next(tap->scan, &tap->batch, &err);
    if (status != KP_OK)
        tap->batch = NULL;
    if (status != KP_OK && status != KP_END)
        fail(tap->stream->name, &err);
}

static struct kp_scan *scan_all(struct kp_snapshot *snapshot, const struct kp_stream *stream)
{
    struct kp_colref cols[KP_STORED_MAX];
    struct kp_scan *scan;
    struct kp_error err;
    for (uint32_t c = 0; c < stream->stored_count; c++)
        cols[c] = (struct kp_colref){.stored = (uint8_t)c, .attr = KP_ATTR_SELF};
    struct kp_scan_req req = {.stream = stream,
                              .from = KP_TIME_MIN,
                              .to = KP_TIME_MAX,
                              .cols = cols,
                              .cols_count = stream->stored_count};
    if (kp_scan_open(snapshot, &req, &scan, &err) != KP_OK)
        fail(stream->name, &err);
    return scan;
}

static void taps_open(struct bench *bench)
{
    uint32_t count;
    const struct kp_stream *streams = kp_streams(&count);
    for (uint32_t s = 0; s < count; s++) {
        if (kp_snapshot_rows(bench->from, &streams[s]) == 0)
            continue;
        struct tap *tap = &bench->taps[bench->taps_count++];
        *tap = (struct tap){.stream = &streams[s], .scan = scan_all(bench->from, &streams[s])};
        tap_next(tap);
    }
}

/* ---------- into the store ---------- */

static int64_t actor_map(struct bench *bench, int64_t id)
{
    if (id >= bench->actors_count) {
        uint32_t count = kp_actors_count(kp_snapshot_actors(bench->from));
        bench->actors = realloc(bench->actors, count * sizeof(*bench->actors));
        if (bench->actors == NULL)
            fail("actors", NULL);
        for (uint32_t i = bench->actors_count; i < count; i++)
            bench->actors[i] =
                i == 0
                    ? KP_ACTOR_UNKNOWN
                    : kp_store_actor(bench->to, kp_actors_get(kp_snapshot_actors(bench->from), i));
        bench->actors_count = count;
    }
    return bench->actors[id];
}

static uint64_t events_count(const struct kp_stream *stream, const struct kp_vec *cols,
                             uint32_t rows)
{
    uint64_t events = (uint64_t)rows * stream->events;
    for (uint32_t i = 0; stream->events_more != 0 && i < rows; i++)
        events += cols[stream->events_more].i64[i] != 0;
    return events;
}

/* `rows` rows of the tap as a batch of the store; actors in own memory. */
static void append_rows(struct bench *bench, const struct tap *tap, uint32_t rows)
{
    static int64_t mapped[KP_STORED_MAX][KP_VECTOR_ROWS];
    struct kp_vec cols[KP_STORED_MAX];
    for (uint32_t c = 0; c < tap->stream->stored_count; c++) {
        cols[c] = tap->batch->cols[c];
        cols[c].type = tap->stream->stored[c].type;
        if (kp_type_phys(cols[c].type) == KP_PHYS_STR) {
            cols[c].strs += tap->at;
            continue;
        }
        cols[c].i64 += tap->at;
        if (cols[c].type != KP_TYPE_ACTOR)
            continue;
        for (uint32_t i = 0; i < rows; i++)
            mapped[c][i] = actor_map(bench, cols[c].i64[i]);
        cols[c].i64 = mapped[c];
    }
    struct kp_batch batch = {.stream = tap->stream,
                             .actors = kp_store_actors(bench->to),
                             .cols = cols,
                             .cols_count = tap->stream->stored_count,
                             .rows = rows};
    double before = cpu_seconds();
    kp_status status = kp_store_append(bench->to, &batch, NULL);
    bench->append += cpu_seconds() - before;
    if (status != KP_OK)
        fail(kp_status_text(status), NULL);
    bench->rows += rows;
    bench->events += events_count(tap->stream, cols, rows);
}

static void tap_drain(struct bench *bench, struct tap *tap, kp_time until)
{
    while (tap->batch != NULL) {
        const int64_t *ts = tap->batch->cols[KP_COL_TS].i64;
        uint32_t end = tap->at;
        while (end < tap->batch->rows && ts[end] < until)
            end++;
        if (end > tap->at)
            append_rows(bench, tap, end - tap->at);
        tap->at = end;
        if (end < tap->batch->rows)
            return;
        tap_next(tap);
    }
}

static void tick(struct bench *bench, int64_t now, bool flush, double *cpu)
{
    double before = cpu_seconds();
    kp_status status = kp_store_tick(bench->to, now, flush);
    *cpu += cpu_seconds() - before;
    if (status != KP_OK)
        fail(kp_status_text(status), NULL);
}

static void rows_store(struct bench *bench)
{
    kp_time first, last;
    int64_t now = 1;
    kp_snapshot_range(bench->from, &first, &last);
    for (kp_time until = first + SLICE;; until += SLICE, now += SLICE) {
        for (uint32_t t = 0; t < bench->taps_count; t++)
            tap_drain(bench, &bench->taps[t], until > last ? KP_TIME_MAX : until);
        tick(bench, now, false, &bench->append);
        tick(bench, now + SLICE / 2, false, &bench->append);
        if (until > last)
            break;
    }
    for (uint32_t t = 0; t < bench->taps_count; t++)
        kp_scan_close(bench->taps[t].scan);
}

/* ---------- what it came to ---------- */

static void columns_print(const char *path)
{
    struct kp_buf text = {0};
    struct kp_error err;
    if (kp_inspect(path, &text, &err) != KP_OK)
        fail(path, &err);
    for (const char *line = kp_buf_cstr(&text); *line != '\0';) {
        size_t length = strcspn(line, "\n");
        if (strncmp(line, "page ", 5) != 0 && strncmp(line, "  block at ", 11) != 0)
            printf("    %.*s\n", (int)length, line);
        line += length + (line[length] != '\0');
    }
    kp_buf_deinit(&text);
}

/* Every segment by column; they are removed with the rest of the directory. */
static void segments_print(const char *dir)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/seg", dir);
    DIR *seg = opendir(path);
    for (struct dirent *entry; seg != NULL && (entry = readdir(seg)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/seg/%s", dir, entry->d_name);
        columns_print(path);
    }
    if (seg != NULL)
        closedir(seg);
}

static double scan_seconds(const char *dir)
{
    struct kp_snapshot *snapshot;
    struct kp_error err;
    uint32_t count;
    const struct kp_stream *streams = kp_streams(&count);
    double before = cpu_seconds();
    if (kp_snapshot_open(dir, NULL, &snapshot, &err) != KP_OK)
        fail(dir, &err);
    for (uint32_t s = 0; s < count; s++) {
        struct tap tap = {.stream = &streams[s], .scan = scan_all(snapshot, &streams[s])};
        do
            tap_next(&tap);
        while (tap.batch != NULL);
        kp_scan_close(tap.scan);
    }
    kp_snapshot_close(snapshot);
    return cpu_seconds() - before;
}

static void dir_remove(const char *dir)
{
    static const char *const parts[] = {"/seg", "/wal", "/txn", ""};
    char path[512];
    for (size_t i = 0; i < KP_ARRAY_LEN(parts); i++) {
        snprintf(path, sizeof(path), "%s%s", dir, parts[i]);
        DIR *part = opendir(path);
        for (struct dirent *entry; part != NULL && (entry = readdir(part)) != NULL;) {
            snprintf(path, sizeof(path), "%s%s/%s", dir, parts[i], entry->d_name);
            unlink(path);
        }
        if (part != NULL)
            closedir(part);
        snprintf(path, sizeof(path), "%s%s", dir, parts[i]);
        rmdir(path);
    }
}

/* A row may join several events of the kernel: both are said. */
static void report_tier(const struct bench *bench, const char *tier, uint64_t bytes,
                        const char *step, double cpu)
{
    printf("%-7s %7.3f B/row %7.3f B/event  %-20s %6.0f ns CPU/row\n", tier,
           (double)bytes / (double)bench->rows,
           (double)bytes / (double)KP_MAX(bench->events, UINT64_C(1)), step,
           cpu / (double)bench->rows * 1e9);
}

static void report(const struct bench *bench, const struct kp_store_stat *stat, uint64_t sealed,
                   double scan)
{
    double rows = (double)bench->rows;
    printf("events %llu, rows %llu, commits %llu\n", (unsigned long long)bench->events,
           (unsigned long long)bench->rows, (unsigned long long)stat->commits);
    report_tier(bench, "log", stat->commit_bytes, "append until durable", bench->append);
    report_tier(bench, "sealed", sealed, "seal", bench->seal);
    report_tier(bench, "cold", stat->segments_bytes, "rewrite", bench->cold);
    printf("scan of cold rows %43.0f ns CPU/row\n", scan / rows * 1e9);
}

int main(int argc, char **argv)
{
    const char *data = argc > 1 ? argv[1] : getenv("KP_BENCH_DATA");
    char dir[] = "/tmp/kprobe-bench-XXXXXX";
    struct bench bench = {0};
    struct kp_store_stat stat;
    struct kp_error err;
    struct kp_store_opts opts = {.manual = true,
                                 .segment_after = INT64_MAX / 2,
                                 .memory_bytes_max = (uint64_t)512 << 20,
                                 .segment_bytes_max = (uint64_t)256 << 20};
    data = data != NULL ? data : "demo/recording/data";
    if (mkdtemp(dir) == NULL || kp_snapshot_open(data, NULL, &bench.from, &err) != KP_OK)
        fail(data, &err);
    if (kp_store_open(dir, &opts, &bench.to, &err) != KP_OK)
        fail(dir, &err);
    printf("store: the events of %s once more\n", data);
    taps_open(&bench);
    rows_store(&bench);
    tick(&bench, INT64_MAX / 4, true, &bench.seal);
    kp_store_stat(bench.to, &stat);
    uint64_t sealed = stat.segments_bytes;
    double before = cpu_seconds();
    if (kp_store_compact(bench.to, &err) != KP_OK)
        fail(dir, &err);
    bench.cold = cpu_seconds() - before;
    kp_store_stat(bench.to, &stat);
    if (kp_store_close(bench.to, &err) != KP_OK)
        fail(dir, &err);
    report(&bench, &stat, sealed, scan_seconds(dir));
    segments_print(dir);
    free(bench.actors);
    kp_snapshot_close(bench.from);
    dir_remove(dir);
    return 0;
}
